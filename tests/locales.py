"""A locale that is not UTF-8, for programs that have to work in it."""

from __future__ import annotations

import shutil
import subprocess
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from pathlib import Path


def latin_1(folder: Path) -> dict[str, str]:
    """The environment of a terminal in ISO-8859-1: the system's own German one, or else one made in `folder`.

    Skips the test where there is neither.
    """
    # Python would take UTF-8 whatever the locale says.
    off = {"PYTHONUTF8": "0", "PYTHONIOENCODING": "", "PYTHONCOERCECLOCALE": "0"}
    listed = subprocess.run(["locale", "-a"], capture_output=True, check=False).stdout.decode("latin-1")
    for name in ("de_DE.ISO8859-1", "de_DE.iso88591"):
        if name in listed.split():
            return off | {"LC_ALL": name}
    name = "de_DE.ISO-8859-1"
    if shutil.which("localedef") is None:
        pytest.skip("there is no localedef to make a locale with")
    made = subprocess.run(
        ["localedef", "-i", "de_DE", "-f", "ISO-8859-1", folder / name], capture_output=True, check=False
    )
    if not (folder / name / "LC_CTYPE").is_file():
        pytest.skip(f"localedef makes no ISO-8859-1 here: {made.stderr.decode(errors='replace')}")
    return off | {"LC_ALL": name, "LOCPATH": str(folder)}
