"""Output of the command lines: one console, one style of table, one progress bar."""

from __future__ import annotations

import unicodedata
from contextlib import contextmanager
from typing import TYPE_CHECKING

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table
from rich.text import Text

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Iterator, Sequence

    # Called with the amount done, and the total if it is known.
    Update = Callable[..., object]

# Controls, formatting (invisible, or changing the reading direction), surrogates, line separators.
_UNSEEN = frozenset({"Cc", "Cf", "Cs", "Zl", "Zp"})
# Minimum width of a table's last column; the columns before it are only folded to make room for that.
_LAST_COLUMN = 15
_GAP = 3


def console(*, errors: bool = False) -> Console:
    """The console to print on, with colours only on a terminal."""
    made = Console(stderr=errors, highlight=False)
    if not made.is_terminal:
        # Other programs need unbroken lines, and keys have up to 1,024 bytes.
        made.width = 2000
    return made


def table(
    *columns: str,
    rows: Iterable[Sequence[str | Text]],
    title: str = "",
    numbers: Collection[str] = ("",),
    red: Collection[str] = (),
    footer: Sequence[str] = (),
) -> Table:
    """Rows under their headings; every cell is plain text, with control characters written out.

    Args:
        numbers: headings of the columns with numbers, which are right-aligned and never folded.
        red: cells whose row is red, unless its second cell is 0.
        footer: a last row in bold.
    """
    shown = [[one if isinstance(one, Text) else Text(visible(one)) for one in row] for row in rows]
    room = console().width - _LAST_COLUMN - _GAP
    made = Table(
        title=title or None,
        title_justify="left",
        title_style="bold",
        box=None,
        pad_edge=False,
        show_header=any(columns),
        show_footer=bool(footer),
        padding=(0, _GAP, 0, 0),
    )
    for index, name in enumerate(columns):
        longest = max((row[index].cell_len for row in shown), default=0)
        number = name in numbers
        made.add_column(
            Text(name),
            footer=footer[index] if footer else "",
            justify="right" if number else "left",
            no_wrap=number or (index < len(columns) - 1 and longest <= room),
            overflow="fold",
        )
    for row in shown:
        bad = any(cell.plain in red for cell in row) and row[1].plain != "0"
        made.add_row(*row, style="red" if bad else "")
    return made


@contextmanager
def progress(description: str, *, total: float | None = None, hidden: bool = False) -> Iterator[Update]:
    """A progress bar, only on a terminal; yields the function `update(done, total, description)`."""
    screen = console(errors=True)
    text = TextColumn("{task.description}", markup=False)
    columns = (text, BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=screen, transient=True, disable=hidden or not screen.is_terminal) as bar:
        task = bar.add_task(visible(description), total=total)

        def update(done: float, total: float | None = None, description: str | None = None) -> None:
            bar.update(task, completed=done, total=total, description=description and visible(description))

        yield update


def no_progress(*_: object) -> None:
    """An `Update` that shows nothing."""


def visible(text: str, *, keep: str = "") -> str:
    r"""Return `text` with invisible characters written out (ESC as \x1b), except those in `keep`.

    Uploaders choose keys, and errors contain them: none may move the cursor, set a title or start a new line.
    """
    return "".join(
        char.encode("unicode_escape").decode("ascii")
        if unicodedata.category(char) in _UNSEEN and char not in keep
        else char
        for char in text
    )


def shown_key(key: str) -> str:
    """A key for people, quoted if it is empty or has spaces at its ends."""
    return f'"{visible(key)}"' if key != key.strip() or not key else visible(key)
