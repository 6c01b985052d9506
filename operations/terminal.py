"""The console every command-line program here prints on, and what may be printed on it."""

from __future__ import annotations

import unicodedata

from rich.console import Console

# Controls, formatting (invisible, or turning the reading direction), surrogates, separators of lines.
_UNSEEN = frozenset({"Cc", "Cf", "Cs", "Zl", "Zp"})


def console(*, errors: bool = False) -> Console:
    """Where people read: colours only on a terminal."""
    made = Console(stderr=errors, highlight=False)
    if not made.is_terminal:
        # A program that reads lines wants them whole, keys of 1,024 bytes and all.
        made.width = 2000
    return made


def visible(text: str, *, keep: str = "") -> str:
    r"""Return `text` with what a terminal would obey, not show, written out (ESC as \x1b), but for `keep`.

    Uploaders choose keys, and keys come back in errors' causes: none may move the cursor, set a title or
    begin a line of its own.
    """
    return "".join(
        char.encode("unicode_escape").decode("ascii")
        if unicodedata.category(char) in _UNSEEN and char not in keep
        else char
        for char in text
    )
