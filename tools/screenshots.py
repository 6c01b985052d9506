"""Takes the README's pictures of the demo's page: `make demo`, then `make screenshots`."""

from __future__ import annotations

import io
import shutil
import sys
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from PIL import Image
from playwright.sync_api import sync_playwright

if TYPE_CHECKING:
    from collections.abc import Iterator

    from playwright.sync_api import Browser, ViewportSize

ROOT = Path(__file__).resolve().parent.parent
PAGE = ROOT / "build" / "demo" / "index.html"
IMAGES = ROOT / "docs" / "images"
# GitHub shows a README 830 pixels wide.
SIZE: ViewportSize = {"width": 1280, "height": 960}

_NAMES = ("chromium", "chromium-browser", "google-chrome")
# In addition to Playwright's own.
_FLAGS = ["--disable-gpu", "--disable-quic", "--disable-sync"]


def installed() -> str | None:
    """The path of the installed chromium; Playwright's own is not downloaded."""
    return next(filter(None, map(shutil.which, _NAMES)), None)


@contextmanager
def started(path: str) -> Iterator[Browser]:
    """The browser at `path`, headless, without network requests of its own."""
    with (
        sync_playwright() as playwright,
        playwright.chromium.launch(executable_path=path, args=_FLAGS) as made,
    ):
        yield made


def main() -> None:
    if (path := installed()) is None:
        sys.exit("There is no chromium; install it (apt-get install chromium).")
    if not PAGE.exists():
        sys.exit("There is no page of the demo yet; run 'make demo' first.")
    IMAGES.mkdir(exist_ok=True)
    with started(path) as browser:
        for scheme in ("light", "dark"):
            page = browser.new_page(viewport=SIZE, color_scheme=scheme)
            page.goto(PAGE.as_uri())
            page.check("[value=face_detected]", force=True)
            image = Image.open(io.BytesIO(page.screenshot()))
            written = IMAGES / f"demo-{scheme}.webp"
            image.save(written, quality=80, method=6)
            print(f"{written.relative_to(ROOT)}: {written.stat().st_size / 1000:.0f} KB")


if __name__ == "__main__":
    main()
