"""A generated part of a document, between two marks."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from operations.program import ROOT

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


@dataclass(frozen=True)
class Section:
    """The part of `document`, from the root, between ``<!-- NAME: ... -->`` and ``<!-- end of NAME -->``.

    Attributes:
        text: returns it, as Markdown.
    """

    document: str
    name: str
    text: Callable[[], str]

    @property
    def path(self) -> Path:
        return ROOT / self.document

    def expected(self) -> str:
        """The whole document with the section as it should be.

        Raises:
            ValueError: the marks are missing.
        """
        marks = re.compile(rf"(<!-- {self.name}:.*?-->\n\n).*?(\n\n<!-- end of {self.name} -->)", re.DOTALL)
        new, count = marks.subn(lambda found: found[1] + self.text() + found[2], self.path.read_text("utf-8"))
        if count != 1:
            raise ValueError(f"{self.document} lacks the marks the section {self.name} stands between")
        return new

    def write(self) -> str:
        """Bring the document up to date; return what was done."""
        text = self.expected()
        if text == self.path.read_text("utf-8"):
            return f"{self.document}: {self.name} is up to date."
        self.path.write_text(text, "utf-8")
        return f"{self.document}: {self.name} is written."
