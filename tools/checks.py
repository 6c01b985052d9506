"""Run the checks in .pre-commit-config.yaml on every file, after installing what they need.

Checks that cannot run here are skipped, with the reason printed at the end. No check changes a file.
"""

from __future__ import annotations

import os
import subprocess
import sys
import urllib.error
import urllib.request
import venv
from pathlib import Path
from typing import TYPE_CHECKING

from tools import fetch

if TYPE_CHECKING:
    from collections.abc import Callable, Collection

ROOT = Path(__file__).resolve().parent.parent
CHECKOV = ROOT / ".venv-checkov"

_ADVISORIES = "https://api.osv.dev"
_SECONDS = 10.0


def install_checkov() -> None:
    """Install checkov, whose pinned SDK conflicts with ours, in its own environment; raises OSError."""
    lock, stamp = ROOT / "requirements-checkov.lock", CHECKOV / ".ready"
    wanted = lock.read_text("utf-8")
    if stamp.is_file() and stamp.read_text("utf-8") == wanted:
        return
    print("Installing checkov into .venv-checkov (about a minute, once)", flush=True)
    venv.create(CHECKOV, clear=True, with_pip=True)
    command = [str(CHECKOV / "bin" / "python"), "-m", "pip", "install", "--quiet", "--no-compile"]
    command += ["--disable-pip-version-check", "--require-hashes", "--requirement", str(lock)]
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    if result.returncode:
        raise OSError(f"checkov cannot be installed: {result.stderr.strip().splitlines()[-1]}")
    stamp.write_text(wanted, "utf-8")


def reach_advisories() -> None:
    """Raise OSError if pip-audit's database cannot be reached."""
    try:
        urllib.request.urlopen(_ADVISORIES, timeout=_SECONDS).close()
    except urllib.error.HTTPError:
        pass  # It answers.
    except OSError as error:
        reason = getattr(error, "reason", error)
        raise OSError(f"the database of advisories ({_ADVISORIES}) cannot be reached: {reason}") from error


NEEDS: dict[str, Callable[[], None]] = {
    "actionlint": lambda: fetch.place("actionlint"),
    "checkov": install_checkov,
    "pip-audit": reach_advisories,
    "secrets": install_checkov,
    "terraform-fmt": lambda: fetch.place("terraform"),
    "tflint": lambda: fetch.place("tflint"),
}


def obstacles(names: Collection[str]) -> dict[str, str]:
    """Install what the checks `names`, or all, need; return the reasons why some cannot run, by check id."""
    found = {}
    for check, place in NEEDS.items():
        if not names or check in names:
            try:
                place()
            except (fetch.FetchError, OSError) as error:
                found[check] = str(error)
    return found


def _tflint_rules(environment: dict[str, str]) -> str | None:
    """Choose tflint's configuration; return the reason if AWS's rules are left out."""
    full = ROOT / ".tflint-aws.hcl"
    command = ["tflint", "--init", f"--config={full}"]
    fetched = not subprocess.run(command, env=environment, capture_output=True, check=False).returncode
    environment["TFLINT_CONFIG_FILE"] = str(full if fetched else ROOT / ".tflint.hcl")
    return None if fetched else "its aws ruleset cannot be fetched; its other rules were checked"


def main(names: list[str]) -> int:
    """Run the checks `names`, or all of them."""
    missing = obstacles(names)
    path = f"{fetch.BIN}{os.pathsep}{os.environ.get('PATH', os.defpath)}"
    environment = os.environ | {"PATH": path, "TFLINT_DISABLE_VERSION_CHECK": "1", "LOG_LEVEL": "ERROR"}
    environment |= {"PRE_COMMIT_HOME": str(fetch.BIN.parent / "pre-commit"), "BC_SKIP_MAPPING": "TRUE"}
    environment["SKIP"] = ",".join([*missing, *filter(None, [os.environ.get("SKIP")])])
    runs_tflint = "tflint" not in missing and (not names or "tflint" in names)
    if runs_tflint and (reason := _tflint_rules(environment)):
        missing["tflint, in part"] = reason
    command = [sys.executable, "-m", "pre_commit", "run", "--all-files", *names]
    code = subprocess.run(command, cwd=ROOT, env=environment, check=False).returncode
    for check, reason in missing.items():
        print(f"Not run: {check}: {reason}")
    return code


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
