"""Every environment plans, and its two files lead to the same account."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import hcl2
import pytest

from operations.program import ROOT
from tests.terraform.workspace import ahead, selected

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.terraform.workspace import Workspace

# Terraform takes minutes where the processors are busy with something else.
pytestmark = [pytest.mark.terraform, pytest.mark.timeout(600)]

FOLDER = ROOT / "environments"
ENVIRONMENTS = sorted(path.stem for path in FOLDER.glob("*.tfvars"))
_READING = hcl2.SerializationOptions(with_comments=False, strip_string_quotes=True)


@pytest.fixture(scope="module")
def report(request: pytest.FixtureRequest, workspace: Workspace) -> Iterator[Callable[[str], str]]:
    workspace.terraform()

    def plan(environment: str) -> str:
        variables = f"-var-file=environments/{environment}.tfvars"
        return workspace.test(".", "-test-directory=tests/terraform/environment", variables)

    with ahead(plan, selected(request, "planned")) as result:
        yield result


@pytest.mark.parametrize("planned", ENVIRONMENTS)
def test_environment_plans(planned: str, report: Callable[[str], str]) -> None:
    failures = report(planned)
    assert not failures, failures


@pytest.mark.parametrize(
    ("setting", "sentence"),
    [
        (
            "send_notification={reserved_concurrency=0}",
            "reserved_concurrency of photo-analysis-local-send-notification must be a whole number",
        ),
        ('tags={team="photos","r&d"="x"}', 'tags: "r&d" must hold letters, digits, spaces'),
    ],
)
def test_a_refused_value_is_named(setting: str, sentence: str, workspace: Workspace) -> None:
    file = "-var-file=environments/local.tfvars"
    report = workspace.test(".", "-test-directory=tests/terraform/environment", file, f"-var={setting}")
    assert sentence in " ".join(report.split())


def test_the_four_environments_are_there() -> None:
    assert {"dev", "local", "prod", "staging"} <= set(ENVIRONMENTS)


def test_environment_files_come_in_pairs() -> None:
    backends = {path.name.removesuffix(".s3.tfbackend") for path in FOLDER.glob("*.s3.tfbackend")}
    assert backends == set(ENVIRONMENTS)


@pytest.mark.parametrize("environment", ENVIRONMENTS)
def test_state_lies_in_the_account_that_may_be_applied_to(environment: str) -> None:
    settings = _read(f"{environment}.tfvars")
    backend = _read(f"{environment}.s3.tfbackend")
    assert [backend["bucket"].rpartition("-")[2]] == settings["allowed_account_ids"]
    assert backend["region"] == settings["aws_region"]


@pytest.mark.parametrize("environment", ENVIRONMENTS)
def test_environment_is_named_after_its_files_and_keeps_a_locked_encrypted_state(environment: str) -> None:
    backend = _read(f"{environment}.s3.tfbackend")
    assert _read(f"{environment}.tfvars")["environment"] == environment
    assert environment in backend["key"]
    assert (backend["encrypt"], backend["use_lockfile"]) == (True, True)


def test_environments_share_no_state() -> None:
    backends = [_read(f"{environment}.s3.tfbackend") for environment in ENVIRONMENTS]
    assert len({(backend["bucket"], backend["key"]) for backend in backends}) == len(ENVIRONMENTS)


@pytest.mark.parametrize("environment", ENVIRONMENTS)
def test_environment_sets_declared_variables_only(environment: str) -> None:
    text = (ROOT / "variables.tf").read_text(encoding="utf-8")
    declared = re.findall(r'^variable "(\w+)"', text, re.MULTILINE)
    assert set(_read(f"{environment}.tfvars")) <= set(declared)


def _read(name: str) -> dict[str, Any]:
    return hcl2.loads((FOLDER / name).read_text(encoding="utf-8"), serialization_options=_READING)
