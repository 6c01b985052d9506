"""Going back leads to a version that was not rolled back from."""

from __future__ import annotations

import re
import subprocess
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest

from operations import plan, rollback
from operations.deployment import Deployment
from operations.errors import UserError

if TYPE_CHECKING:
    from pathlib import Path

NAME = "stack-process-image"


class FakeLambda:
    """A function with published versions and aliases."""

    exceptions = SimpleNamespace(PreconditionFailedException=RuntimeError)

    def __init__(self, versions: int) -> None:
        self.versions = versions
        self.aliases: dict[str, dict[str, str]] = {
            "live": {"Name": "live", "FunctionVersion": str(versions), "RevisionId": "1"}
        }

    def get_alias(self, *, FunctionName: str, Name: str) -> dict[str, str]:  # noqa: N803
        assert FunctionName == NAME
        return self.aliases[Name]

    def create_alias(self, *, FunctionName: str, Name: str, FunctionVersion: str, Description: str) -> None:  # noqa: N803
        assert FunctionName == NAME
        assert Name not in self.aliases
        self.aliases[Name] = {"Name": Name, "FunctionVersion": FunctionVersion, "Description": Description}

    def update_alias(self, *, FunctionName: str, Name: str, FunctionVersion: str, **_: Any) -> None:  # noqa: N803
        assert FunctionName == NAME
        self.aliases[Name]["FunctionVersion"] = FunctionVersion

    def delete_alias(self, *, FunctionName: str, Name: str) -> None:  # noqa: N803
        assert FunctionName == NAME
        del self.aliases[Name]

    def get_paginator(self, operation: str) -> Any:
        versions = [{"Version": "$LATEST"}] + [
            {"Version": str(number), "LastModified": "2026-11-24T12:00:00", "Description": f"code {number}"}
            for number in range(1, self.versions + 1)
        ]
        pages = {
            "list_aliases": [{"Aliases": list(self.aliases.values())}],
            "list_versions_by_function": [{"Versions": versions}],
        }
        return SimpleNamespace(paginate=lambda **_: pages[operation])


def deployment(client: FakeLambda) -> Any:
    environment: Any = SimpleNamespace(name="dev", client=lambda _: client)
    return Deployment(environment, {"function_names": {"process_image": NAME}})


def go(client: FakeLambda, version: int | None = None) -> tuple[int, int]:
    step = rollback.prepare(deployment(client), "process_image", version)
    rollback.carry_out(deployment(client), step)
    return step.current, step.target


def test_what_was_rolled_back_from_is_not_offered_after_the_fix() -> None:
    client = FakeLambda(2)
    assert go(client) == (2, 1)
    # Version 3 is the fix, and an apply moves the alias there.
    client.versions = 3
    client.aliases["live"]["FunctionVersion"] = "3"
    assert go(client) == (3, 1), "2 is the one that broke"
    assert "rolled-back-from-2" in client.aliases


def test_a_version_selected_explicitly_is_good_again() -> None:
    client = FakeLambda(2)
    assert go(client) == (2, 1)
    assert go(client, 2) == (1, 2)
    assert list(client.aliases) == ["live"], "going forward marks nothing"
    client.versions = 3
    client.aliases["live"]["FunctionVersion"] = "3"
    assert go(client) == (3, 2)


def test_versions_carry_what_they_are_and_when_they_were_left() -> None:
    client = FakeLambda(2)
    go(client)
    versions = rollback.prepare(deployment(client), "process_image", 2).versions
    assert [one.description for one in versions.values()] == ["code 1", "code 2"]
    assert [bool(one.rolled_back) for one in versions.values()] == [False, True]


def test_when_every_earlier_version_was_left_one_is_to_be_chosen() -> None:
    client = FakeLambda(3)
    go(client)
    go(client)
    client.aliases["live"]["FunctionVersion"] = "3"
    client.aliases["rolled-back-from-1"] = {"Name": "rolled-back-from-1", "FunctionVersion": "1"}
    with pytest.raises(
        UserError, match=r"^Every version of stack-process-image before 3 was rolled back from;"
    ):
        go(client)


@pytest.mark.parametrize(
    ("description", "shown"),
    [
        ("Asks (Rekognition) for faces (code 91b0c4d5e3a2f786)", "code 91b0c4d5e3a2f786"),
        ("Greets (code 91b0c4d5e3a2f786, commit 73bc151)", "code 91b0c4d5e3a2f786, commit 73bc151"),
        ("Greets (code 91b0, commit 73bc151-dirty)", "code 91b0, commit 73bc151-dirty"),
        ("a hotfix (by hand)", "a hotfix (by hand)"),
        ("", ""),
    ],
)
def test_a_version_is_shown_by_its_sources(description: str, shown: str) -> None:
    assert rollback.Version(1, "2026-11-24T12:00:00", description, "").sources == shown


def git(folder: Path, *arguments: str) -> None:
    names = ("-c", "user.name=test", "-c", "user.email=test@example.com", "-c", "commit.gpgsign=false")
    subprocess.run(("git", "-C", folder, *names, *arguments), check=True, capture_output=True)


def test_a_plan_names_the_commit_and_whether_its_functions_are_as_committed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # No checkout that temporary files are in.
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path.parent))
    assert plan.commit(tmp_path) is None, "no checkout"
    git(tmp_path, "init")
    assert plan.commit(tmp_path) is None, "no commit"
    handler = tmp_path / "functions" / "greeting" / "handler.py"
    handler.parent.mkdir(parents=True)
    handler.write_text("", "utf-8")
    git(tmp_path, "add", ".")
    git(tmp_path, "commit", "-m", "Greet")
    clean = plan.commit(tmp_path)
    assert clean
    assert re.fullmatch("[0-9a-f]{7,}", clean)
    (tmp_path / "results.csv").touch()
    assert plan.commit(tmp_path) == clean, "what is in no function is in no version of one"
    (handler.parent / "new.py").touch()
    assert plan.commit(tmp_path) == f"{clean}-dirty"


def test_a_plan_names_no_commit_without_git(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert plan.commit() is None
