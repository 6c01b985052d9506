"""The console every command-line program here prints on."""

from __future__ import annotations

from rich.console import Console


def console(*, errors: bool = False) -> Console:
    """Where people read: colours only on a terminal."""
    made = Console(stderr=errors, highlight=False)
    if not made.is_terminal:
        # A program that reads lines wants them whole, keys of 1,024 bytes and all.
        made.width = 2000
    return made
