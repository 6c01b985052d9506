"""What the tests need of npm: tests/node/package-lock.json, installed once."""

from __future__ import annotations

import fcntl
import os
import shutil
import subprocess
from pathlib import Path
from typing import NoReturn

import pytest

NODE = Path(__file__).parent / "node"


def packages() -> Path:
    """The folder of the installed packages.

    Where they cannot be had the test is skipped with the reason; in CI, where all must run, it fails.
    """
    installed = NODE / "node_modules" / ".package-lock.json"
    with (NODE / "package.json").open() as turn:
        # One worker at a time.
        fcntl.flock(turn, fcntl.LOCK_EX)
        wanted = (NODE / "package-lock.json").stat().st_mtime
        if not installed.exists() or installed.stat().st_mtime < wanted:
            if shutil.which("npm") is None:
                missing("There is no npm")
            command = ["npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund"]
            result = subprocess.run(command, cwd=NODE, capture_output=True, text=True, check=False)
            if result.returncode:
                missing(f"npm ci: {result.stderr.strip()[-200:]}")
    return NODE / "node_modules"


def missing(reason: str) -> NoReturn:
    """Skip the test, or in CI fail it."""
    (pytest.fail if os.environ.get("CI") else pytest.skip)(reason)
