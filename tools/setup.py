"""Make the development environment in .venv from requirements-dev.lock.

Runs on whatever ``python3`` there is: standard library only, and a sentence when that Python will not do.
"""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
VENV = ROOT / ".venv"
LOCK = ROOT / "requirements-dev.lock"
# Written last, so that an interrupted setup starts over.
STAMP = VENV / ".ready"

OLDEST, NEWEST = (3, 11), (3, 13)


def problem() -> str | None:
    """Return in one sentence why this Python will not do, or None."""
    if not OLDEST <= sys.version_info[:2] <= NEWEST:
        version = ".".join(map(str, sys.version_info[:3]))
        return (
            f"{sys.executable} is Python {version}, and 3.11, 3.12 or 3.13 is needed;"
            " name one, as in 'make setup PYTHON=python3.12'."
        )
    if not all(map(importlib.util.find_spec, ("ensurepip", "venv"))):
        return (
            f"{sys.executable} cannot make virtual environments; install its venv package"
            " (Debian and Ubuntu: apt install python3-venv)."
        )
    return None


def main() -> int:
    sentence = problem()
    if sentence:
        print(sentence, file=sys.stderr)
        return 1
    version = ".".join(map(str, sys.version_info[:2]))
    print(f"Making .venv with Python {version} (about a minute, once)", flush=True)
    python = VENV / "bin" / "python"
    commands = (
        (sys.executable, "-m", "venv", "--clear", VENV),
        (
            *(python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-compile"),
            *("--require-hashes", "--requirement", LOCK),
        ),
    )
    try:
        for command in commands:
            if subprocess.call(list(map(str, command))):
                print("The development environment could not be made; the reason is above.", file=sys.stderr)
                return 1
    except KeyboardInterrupt:
        print("Interrupted; the next command starts over.", file=sys.stderr)
        return 130
    STAMP.touch()
    return 0


if __name__ == "__main__":
    sys.exit(main())
