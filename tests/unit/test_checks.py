"""`make lint`: what cannot run here is skipped and named with its reason; the rest decides."""

from __future__ import annotations

import re
import subprocess
from typing import Any

import pytest
import yaml  # type: ignore[import-untyped]

from operations.program import ROOT
from tools import checks, fetch

HOOKS = {
    hook["id"]: hook
    for repository in yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text("utf-8"))["repos"]
    for hook in repository["hooks"]
}


@pytest.fixture
def ran(monkeypatch: pytest.MonkeyPatch) -> list[tuple[list[str], dict[str, str]]]:
    """The commands that would have run, with their environments; all end with 3."""
    found: list[tuple[list[str], dict[str, str]]] = []

    def run(command: list[str], *, env: dict[str, str], **_: Any) -> subprocess.CompletedProcess[str]:
        found.append((command, env))
        return subprocess.CompletedProcess(command, 3)

    monkeypatch.setattr(subprocess, "run", run)
    monkeypatch.setattr(checks, "NEEDS", dict.fromkeys(checks.NEEDS, lambda: None))
    return found


def test_what_is_placed_is_for_checks_there_are() -> None:
    assert set(checks.NEEDS) < set(HOOKS)
    assert {hook["language"] for hook in HOOKS.values()} == {"system"}


def test_every_lock_is_audited() -> None:
    locks = [path.relative_to(ROOT).as_posix() for path in ROOT.glob("requirements*.lock")]
    locks += [path.relative_to(ROOT).as_posix() for path in ROOT.glob("functions/*/requirements.lock")]
    assert len(locks) >= 3
    assert [lock for lock in locks if re.search(HOOKS["pip-audit"]["files"], lock) is None] == []


@pytest.mark.parametrize("error", [fetch.FetchError("no network"), OSError("no network")])
def test_a_check_that_cannot_run_is_skipped_and_named(
    error: Exception,
    ran: list[tuple[list[str], dict[str, str]]],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    def fail() -> None:
        raise error

    monkeypatch.setitem(checks.NEEDS, "actionlint", fail)
    assert checks.main([]) == 3
    command, environment = ran[-1]
    assert command[1:] == ["-m", "pre_commit", "run", "--all-files"]
    assert environment["SKIP"] == "actionlint"
    said = capsys.readouterr().out.splitlines()
    assert said == [
        "Not run: actionlint: no network",
        "Not run: tflint, in part: its aws ruleset cannot be fetched; its other rules were checked",
    ]


def test_one_check_needs_nothing_but_its_own(
    ran: list[tuple[list[str], dict[str, str]]],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setitem(checks.NEEDS, "checkov", lambda: pytest.fail("checkov is installed"))
    checks.main(["zizmor"])
    assert ran[-1][0][-1] == "zizmor"
    assert capsys.readouterr().out == ""
