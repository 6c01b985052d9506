"""Update the lock files from the dependency groups in pyproject.toml."""

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
# The files must not contain the address of a package index: pip uses the user's own.
COMMAND = (
    "-m uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --upgrade --no-header"
    " --no-annotate --no-emit-index-url --no-emit-find-links --group"
)


def main() -> int:
    for group, name in LOCKS.items():
        command = [sys.executable, *COMMAND.split(), group]
        result = subprocess.run(command, cwd=ROOT, stdout=subprocess.PIPE, text=True, check=False)
        if result.returncode:
            print(f"{name} is as it was: uv could not resolve the group, see above.", file=sys.stderr)
            return 1
        (ROOT / name).write_text(HEADER + result.stdout, "utf-8")
        print(name)
    return 0


if __name__ == "__main__":
    sys.exit(main())
