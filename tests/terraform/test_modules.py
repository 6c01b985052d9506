"""The modules and the root are formatted, valid, tested and pass their own tests."""

from __future__ import annotations

import re
import subprocess
from typing import TYPE_CHECKING

import pytest

from operations.program import ROOT
from operations.terraform import executable
from tests.terraform.workspace import ahead, selected

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from tests.terraform.workspace import Workspace

# Terraform takes minutes where the processors are busy with something else.
pytestmark = [pytest.mark.terraform, pytest.mark.timeout(600)]

MODULES = sorted(f"modules/{path.parent.name}" for path in ROOT.glob("modules/*/main.tf"))
FOLDERS = [".", "bootstrap", *MODULES]
_ORDER = ("type", "description", "default", "nullable", "validation")


@pytest.fixture(scope="module")
def report(request: pytest.FixtureRequest, workspace: Workspace) -> Iterator[Callable[[str], str]]:
    def test(folder: str) -> str:
        return workspace.test(folder, *(["-test-directory=tests/terraform/root"] if folder == "." else []))

    with ahead(test, selected(request, "tested")) as result:
        yield result


@pytest.mark.parametrize("tested", FOLDERS)
def test_terraform_test_passes(tested: str, report: Callable[[str], str]) -> None:
    failures = report(tested)
    assert not failures, failures


@pytest.mark.parametrize("module", ["bootstrap", *MODULES])
def test_every_module_has_tests(module: str) -> None:
    assert list(ROOT.glob(f"{module}/tests/*.tftest.hcl"))


def test_everything_is_formatted(workspace: Workspace) -> None:
    terraform = workspace.terraform()
    result = subprocess.run(
        [executable(), "fmt", "-check", "-recursive", "-diff"],
        cwd=workspace.folder,
        env=terraform.variables,
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 0, f"{result.stdout}{result.stderr}Run `make fmt`."


@pytest.mark.parametrize("folder", [".", "bootstrap"])
def test_configuration_is_valid(folder: str, workspace: Workspace) -> None:
    problems = workspace.validate(folder)
    assert not problems, problems


@pytest.mark.parametrize("folder", FOLDERS)
@pytest.mark.parametrize("kind", ["variable", "output"])
def test_variables_and_outputs_are_in_alphabetical_order(folder: str, kind: str) -> None:
    names = _names(ROOT / folder / f"{kind}s.tf", kind)
    assert names == sorted(names)


@pytest.mark.parametrize("folder", FOLDERS)
def test_every_variable_is_typed_and_described_in_that_order(folder: str) -> None:
    text = (ROOT / folder / "variables.tf").read_text(encoding="utf-8")
    for block in re.findall(r'^variable "\w+" \{\n(.*?)^\}', text, re.MULTILINE | re.DOTALL):
        arguments = re.findall(r"^  (\w+)\b", block, re.MULTILINE)
        order = [name for name in _ORDER if name in arguments]
        assert order[:2] == ["type", "description"], block
        assert list(dict.fromkeys(arguments)) == order, block


def _names(path: Path, kind: str) -> list[str]:
    return re.findall(rf'^{kind} "(\w+)" \{{', path.read_text(encoding="utf-8"), re.MULTILINE)
