"""Create .venv from requirements-dev.lock, or with `setup.py operator` from requirements-operator.lock.

Runs on the ``python3`` at hand: standard library only, and a message if that Python is unsuitable. To print
it, Python 3.6 must be able to parse this file.
"""

import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

OLDEST, NEWEST_TESTED = (3, 11), (3, 13)


def problem() -> str:
    """Return one sentence on why this Python is unsuitable; empty if it is suitable."""
    if sys.version_info[:2] < OLDEST:
        version = ".".join(map(str, sys.version_info[:3]))
        return (
            f"{sys.executable} is Python {version}, and 3.11 or newer is needed;"
            " name one, as in 'make setup PYTHON=python3.12'."
        )
    if not all(map(find_spec, ("ensurepip", "venv"))):
        return (
            f"{sys.executable} cannot make virtual environments; install its venv package"
            " (Debian and Ubuntu: apt install python3-venv)."
        )
    return ""


def main() -> int:
    sentence = problem()
    if sentence:
        sys.stderr.write(f"{sentence}\n")
        return 1
    root = Path(__file__).resolve().parent.parent
    venv = root / ".venv"
    if venv.is_symlink():
        # Clearing it would empty its target, usually another checkout's environment.
        venv.unlink()
    lock, stamp = ("operator", ".operator") if sys.argv[1:] == ["operator"] else ("dev", ".ready")
    named = f"Python {sys.version_info[0]}.{sys.version_info[1]}"
    if sys.version_info[:2] > NEWEST_TESTED:
        named += " (untested)"
    print(f"Making .venv with {named} (about a minute, once)", flush=True)
    python = str(venv / "bin" / "python")
    # Without dependencies: the lock has them all, except those that pyproject.toml excludes.
    install = "-m pip install --quiet --no-compile --no-deps --require-hashes --requirement"
    try:
        for command in (
            [sys.executable, "-m", "venv", "--clear", str(venv)],
            [python, *install.split(), str(root / f"requirements-{lock}.lock")],
        ):
            if subprocess.call(command):
                sys.stderr.write(f"The environment could not be made with {named}; the reason is above.\n")
                return 1
        # If this fails, verbs that need Terraform report it themselves.
        subprocess.call([python, str(root / "tools" / "fetch.py"), "terraform"])
    except KeyboardInterrupt:
        sys.stderr.write("Interrupted; the next command starts over.\n")
        return 130
    # Written last, so that an interrupted setup starts over.
    (venv / stamp).touch()
    return 0


if __name__ == "__main__":
    sys.exit(main())
