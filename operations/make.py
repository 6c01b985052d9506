"""The variables on the command line of `make VERB NAME=value ...`, exactly as typed.

make expands dollars and drops spaces before a value, but keys may contain both. So the values are read from
make's own command line.
"""

from __future__ import annotations

import contextlib
import difflib
import os
import re
from functools import cache
from typing import TYPE_CHECKING

from operations.errors import UserError

if TYPE_CHECKING:
    from collections.abc import Iterable

_ASSIGNMENT = re.compile(r"(?P<name>[A-Za-z_][A-Za-z0-9_]*):{0,3}=(?P<value>.*)", re.DOTALL)
_MAKES = frozenset({"make", "gmake"})
_SHELLS = frozenset({"bash", "dash", "sh", "zsh"})
# make's own, and those of the Makefile that apply to every verb.
_EVERYWHERE = frozenset({"ENV", "MAKEFLAGS", "PY", "PYTHON", "SHELL", "STAMP", "VENV"})


@cache
def command_line() -> tuple[str, ...]:
    """The command line of the make whose recipe this process is; empty if it is not a recipe.

    A process that a recipe's program starts, such as a test's, does not count as a recipe.
    """
    if "MAKELEVEL" not in os.environ:
        return ()
    import psutil

    with contextlib.suppress(psutil.Error):
        for process in psutil.Process().parents():
            line = process.cmdline()
            name = os.path.basename(line[0]).lstrip("-") if line else ""  # noqa: PTH119
            if name in _MAKES:
                return tuple(line[1:])
            if name not in _SHELLS:
                break
    return ()


def take_variables(known: Iterable[str]) -> None:
    """Set the variables of make's command line in the environment; raises UserError for unknown ones."""
    names = {*known, *_EVERYWHERE}
    for name, value in (match.groups() for match in map(_ASSIGNMENT.fullmatch, command_line()) if match):
        if name not in names:
            alike = difflib.get_close_matches(name.upper(), sorted(names), n=1)
            shown = ", ".join(sorted(names - _EVERYWHERE | {"ENV"}))
            hint = f"did you mean {alike[0]}=?" if alike else f"there are {shown}."
            raise UserError(f"There is no {name}= here; {hint}")
        os.environ[name] = value
