"""A real browser, headless: Debian's chromium driven by Playwright, which brings none of its own."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING

import pytest
from playwright.sync_api import sync_playwright

from tests import npm

if TYPE_CHECKING:
    from collections.abc import Iterator

    from playwright.sync_api import Browser

_NAMES = ("chromium", "chromium-browser", "google-chrome")
_FLAGS = [
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-gpu",
    "--disable-quic",
    "--disable-sync",
    "--no-first-run",
    # It refuses to run as root otherwise, as in containers.
    "--no-sandbox",
]


@pytest.fixture(scope="module")  # its event loop would be in the way of others' in the same process
def browser() -> Iterator[Browser]:
    """A browser that works offline; the tests of pages are left out where there is none, but not in CI."""
    path = next(filter(None, map(shutil.which, _NAMES)), None)
    if path is None:
        npm.missing("There is no chromium (apt-get install chromium): no page was opened in a browser")
    with sync_playwright() as playwright:
        started = playwright.chromium.launch(executable_path=path, args=_FLAGS)
        yield started
        started.close()


@pytest.fixture(scope="session")
def axe() -> str:
    """The source of axe-core, which looks for what keeps people from using a page."""
    script = npm.packages() / "axe-core" / "axe.min.js"
    return script.read_text("utf-8")
