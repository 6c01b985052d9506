"""Make .venv from requirements-dev.lock, or as `setup.py operator` from requirements-operator.lock.

Runs on whatever ``python3`` there is: standard library only, and a sentence when that Python will not do.
To say so, any Python must be able to read this file: no annotations, no f-strings, no new module before.
"""

# ruff: noqa: RUF005, UP032

import subprocess
import sys

OLDEST, NEWEST_TESTED = (3, 11), (3, 13)


def problem():
    # type: () -> str | None
    """Return in one sentence why this Python will not do, or None."""
    if sys.version_info[:2] < OLDEST:
        version = ".".join(map(str, sys.version_info[:3]))
        return (
            "{} is Python {}, and 3.11 or newer is needed;"
            " name one, as in 'make setup PYTHON=python3.12'.".format(sys.executable, version)
        )
    from importlib.util import find_spec

    if not all(map(find_spec, ("ensurepip", "venv"))):
        return (
            "{} cannot make virtual environments; install its venv package"
            " (Debian and Ubuntu: apt install python3-venv).".format(sys.executable)
        )
    return None


def main():
    # type: () -> int
    sentence = problem()
    if sentence:
        sys.stderr.write(sentence + "\n")
        return 1
    from pathlib import Path

    root = Path(__file__).resolve().parent.parent
    venv = root / ".venv"
    if venv.is_symlink():
        # Clearing it would empty what it leads to, another checkout's as a rule.
        venv.unlink()
    lock, stamp = ("operator", ".operator") if sys.argv[1:] == ["operator"] else ("dev", ".ready")
    version = ".".join(map(str, sys.version_info[:2]))
    untested = " (untested)" if sys.version_info[:2] > NEWEST_TESTED else ""
    sys.stdout.write("Making .venv with Python {}{} (about a minute, once)\n".format(version, untested))
    sys.stdout.flush()
    python = str(venv / "bin" / "python")
    # Without dependencies: the lock holds them all, less those pyproject.toml leaves out.
    install = "-m pip install --quiet --no-compile --no-deps --require-hashes --requirement"
    commands = (
        [sys.executable, "-m", "venv", "--clear", str(venv)],
        [python] + install.split() + [str(root / "requirements-{}.lock".format(lock))],
    )
    try:
        for command in commands:
            if subprocess.call(command):
                sys.stderr.write(
                    "The environment could not be made with Python {}{}; the reason is above.\n".format(
                        version, untested
                    )
                )
                return 1
        # A verb that needs Terraform says so itself where there is none.
        subprocess.call([python, str(root / "tools" / "fetch.py"), "terraform"])
    except KeyboardInterrupt:
        sys.stderr.write("Interrupted; the next command starts over.\n")
        return 130
    # Written last, so that an interrupted setup starts over.
    (venv / stamp).touch()
    return 0


if __name__ == "__main__":
    sys.exit(main())
