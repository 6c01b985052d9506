"""Bring the lock files of the development environments up to date with pyproject.toml."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent

LOCKS = {
    "dev": "requirements-dev.lock",
    "operator": "requirements-operator.lock",
    "convert_image": "functions/convert_image/requirements.lock",
    "checkov": "requirements-checkov.lock",
}
HEADER = '# Made by "make lock" from pyproject.toml for Python 3.11 and later on every platform.\n'


def lock(group: str, target: Path) -> None:
    """Write the newest versions of dependency group `group`, with the hashes of every platform's files.

    Raises:
        subprocess.CalledProcessError: uv cannot resolve them; it has said why.
    """
    # No address of a package index belongs in the file: pip takes the user's own.
    command = (
        *(sys.executable, "-m", "uv", "pip", "compile", "--quiet", "--universal", "--python-version", "3.11"),
        *("--generate-hashes", "--upgrade", "--no-header", "--no-annotate"),
        *("--no-emit-index-url", "--no-emit-find-links", "--group", group),
    )
    result = subprocess.run(command, cwd=ROOT, stdout=subprocess.PIPE, text=True, check=True)
    target.write_text(HEADER + result.stdout, "utf-8")


def main() -> int:
    for group, name in LOCKS.items():
        try:
            lock(group, ROOT / name)
        except subprocess.CalledProcessError:
            print(f"{name} is as it was: uv could not resolve the group, see above.", file=sys.stderr)
            return 1
        print(name)
    return 0


if __name__ == "__main__":
    sys.exit(main())
