"""Making .venv: from which lock, with which Python."""

from __future__ import annotations

import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from tools import setup

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def commands(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What would have run, in a separate checkout."""
    ran: list[str] = []

    def call(command: list[str]) -> int:
        ran.append(" ".join(command))
        return 0

    (tmp_path / ".venv").mkdir()
    monkeypatch.setattr(setup, "__file__", str(tmp_path / "tools" / "setup.py"))
    monkeypatch.setattr(subprocess, "call", call)
    monkeypatch.setattr(sys, "argv", ["setup.py"])
    return ran


@pytest.mark.parametrize(
    ("arguments", "lock", "stamp"),
    [([], "requirements-dev.lock", ".ready"), (["operator"], "requirements-operator.lock", ".operator")],
)
def test_an_environment_is_made_from_its_lock(
    arguments: list[str],
    lock: str,
    stamp: str,
    commands: list[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(sys, "argv", ["setup.py", *arguments])
    assert setup.main() == 0
    assert commands[0].endswith(f"-m venv --clear {tmp_path}/.venv")
    assert commands[1].endswith(f"--require-hashes --requirement {tmp_path}/{lock}")
    assert commands[2].endswith("tools/fetch.py terraform")
    assert [path.name for path in (tmp_path / ".venv").iterdir()] == [stamp]


def test_a_python_newer_than_tested_is_used_with_a_warning(
    commands: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(setup, "NEWEST_TESTED", (3, 10))
    assert setup.main() == 0
    assert len(commands) == 3
    assert "(untested)" in capsys.readouterr().out


def test_an_environment_that_cannot_be_made_is_not_taken_for_ready(
    commands: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert commands == []
    monkeypatch.setattr(subprocess, "call", lambda _: 1)
    assert setup.main() == 1
    assert capsys.readouterr().err.startswith("The environment could not be made with Python 3.")
    assert list((tmp_path / ".venv").iterdir()) == []
