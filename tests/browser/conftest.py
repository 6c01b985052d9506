"""A real browser, headless: Debian's chromium driven by Playwright, which brings none of its own."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from playwright.sync_api import sync_playwright

if TYPE_CHECKING:
    from collections.abc import Iterator

    from playwright.sync_api import Browser

NODE = Path(__file__).parent.parent / "node"
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


def _missing(what: str) -> None:
    # Where the tests are to be complete, a browser that is not there is a failure.
    (pytest.fail if os.environ.get("CI") else pytest.skip)(f"{what}: no page was opened in a browser")


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    """A browser that works offline; the tests of pages are left out where there is none, but not in CI."""
    path = next(filter(None, map(shutil.which, _NAMES)), None)
    if path is None:
        _missing("There is no chromium (apt-get install chromium)")
    with sync_playwright() as playwright:
        started = playwright.chromium.launch(executable_path=path, args=_FLAGS)
        yield started
        started.close()


@pytest.fixture(scope="session")
def axe() -> str:
    """The source of axe-core, which looks for what keeps people from using a page."""
    script = NODE / "node_modules" / "axe-core" / "axe.min.js"
    if not script.exists():
        npm = shutil.which("npm")
        if npm is None:
            _missing("There is no npm to fetch axe-core with")
        subprocess.run([str(npm), "ci", "--ignore-scripts"], cwd=NODE, check=True, capture_output=True)
    return script.read_text("utf-8")
