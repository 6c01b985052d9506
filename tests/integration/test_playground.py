"""The playground in a real browser, on the deployed pipeline: drop a photo, watch it, park it, redrive it."""

from __future__ import annotations

import socket
import threading
import time
from typing import TYPE_CHECKING

import pytest
import uvicorn
from playwright.sync_api import FilePayload, expect

from localcloud import play
from localcloud.cloud import SAMPLES
from localcloud.playground import MAX_BYTES, Playground
from tests.browser.chromium import axe, browser

if TYPE_CHECKING:
    from collections.abc import Iterator

    from playwright.sync_api import Browser, Page

    from localcloud.stack import Stack

__all__ = ["axe", "browser"]
PATIENCE = 60_000


@pytest.fixture
def opened(stack: Stack, browser: Browser) -> Iterator[Page]:
    """The playground's page, opened as its address says; the stand-in for Rekognition answers afterwards."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        playground = Playground(stack)
        config = uvicorn.Config(
            play.application(playground, "token"), log_level="warning", timeout_graceful_shutdown=1
        )
        server = uvicorn.Server(config)
        serving = threading.Thread(target=server.run, kwargs={"sockets": [listening]})
        serving.start()
        try:
            while not server.started:
                time.sleep(0.01)
            shown = browser.new_page()
            shown.goto(f"http://127.0.0.1:{listening.getsockname()[1]}/token/")
            yield shown
            shown.close()
        finally:
            playground.set_mode("works")
            server.should_exit = True
            serving.join()


def test_photos_pass_before_ones_eyes_are_parked_and_redriven(opened: Page, axe: str) -> None:
    cards, files = opened.locator(".card"), opened.locator("#files")
    files.set_input_files([SAMPLES / "two-portraits.jpg", SAMPLES / "not-a-photo.jpg"])
    portraits = cards.filter(has_text="two-portraits.jpg")
    expect(portraits).to_have_attribute("data-outcome", "face_detected", timeout=PATIENCE)
    expect(portraits.locator(".picture rect")).to_have_count(2)
    assert [step.split("\n")[0] for step in portraits.locator(".steps li").all_inner_texts()] == [
        *("Uploaded", "Event", "Started", "Analysing", "Recorded", "Notified")
    ]
    rejected = cards.filter(has_text="not-a-photo.jpg")
    expect(rejected).to_have_attribute("data-outcome", "rejected", timeout=PATIENCE)
    portraits.locator("summary", has_text="Notification").click()
    expect(portraits.locator("pre").nth(1)).to_contain_text("Faces: 2")

    opened.check("[value=fails]")
    files.set_input_files(SAMPLES / "coffee.jpg")
    coffee = cards.filter(has_text="coffee.jpg")
    expect(coffee).to_have_attribute("data-outcome", "parked", timeout=PATIENCE)
    expect(coffee.locator(".steps .failed").first).to_contain_text("InternalServerError")
    expect(opened.locator("#parked")).to_have_text("1")
    opened.evaluate(axe)
    assert [one["id"] for one in opened.evaluate("axe.run()")["violations"]] == []

    opened.check("[value=works]")
    opened.click("#redrive")
    expect(coffee).to_have_attribute("data-outcome", "no_face", timeout=PATIENCE)
    expect(opened.locator("#parked")).to_have_text("0")
    expect(opened.locator("#redrive")).to_be_disabled()


def test_what_is_over_the_limits_is_refused_with_the_reason(opened: Page) -> None:
    status, files = opened.locator("#status"), opened.locator("#files")
    files.set_input_files(FilePayload(name="large.jpg", mimeType="image/jpeg", buffer=b"x" * (MAX_BYTES + 1)))
    expect(status).to_contain_text("large.jpg is too large.", timeout=PATIENCE)
    files.set_input_files([FilePayload(name="a.jpg", mimeType="image/jpeg", buffer=b"x")] * 11)
    expect(status).to_contain_text("11 files are too many: 10 at once.")
