"""A real browser for tests, headless, and what looks for barriers in its pages."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests import npm
from tools import screenshots

if TYPE_CHECKING:
    from collections.abc import Iterator

    from playwright.sync_api import Browser


@pytest.fixture(scope="module")  # its event loop would be in the way of others' in the same process
def browser() -> Iterator[Browser]:
    """A browser that works offline; without one the tests of pages are skipped, but not in CI."""
    path = screenshots.installed()
    if path is None:
        npm.missing("There is no chromium (apt-get install chromium): no page was opened in a browser")
    with screenshots.started(path) as started:
        yield started


@pytest.fixture(scope="session")
def axe() -> str:
    """The source of axe-core, which looks for what keeps people from using a page."""
    script = npm.packages() / "axe-core" / "axe.min.js"
    return script.read_text("utf-8")
