"""The pages of an environment, from the deployed pipeline: its photos, and its day."""

from __future__ import annotations

from typing import TYPE_CHECKING

from localcloud.cloud import SAMPLES
from operations.program import ROOT

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from localcloud.stack import Notification, Stack
    from tests.integration.operating import Operator

    Notified = Callable[..., list[Notification]]


def test_a_gallery_shows_every_upload_of_a_key_and_says_what_is_gone(
    stack: Stack, operator: Operator, notifications: Notified, tmp_path: Path
) -> None:
    key = "pages/<b>portraits</b>.jpg"
    for name in ("coffee.jpg", "two-portraits.jpg"):
        assert notifications(stack.upload(key, (SAMPLES / name).read_bytes()))
    path = tmp_path / "photos.html"
    said = operator.run("results", "--gallery", str(path), key)
    assert said.exit_code == 0, said.stderr
    assert said.stdout.startswith(f"Wrote 2 photos to {path}; ")
    text = path.read_text("utf-8")
    assert text.count("&lt;b&gt;portraits&lt;/b&gt;.jpg</bdi></h3>") == 2
    # Events here name no version, so that only the newest upload of a key can be read.
    assert text.count("data:image/jpeg") == text.count("The photo was replaced since") == 1
    assert text.count("<rect x=") == 2
    assert operator.refused("results", "--gallery", str(path), key).endswith(
        "(File exists); name another file."
    )


def test_a_report_counts_the_day_so_far(stack: Stack, operator: Operator, notifications: Notified) -> None:
    before = operator.json("report")
    for name in ("coffee.jpg", "not-a-photo.jpg"):
        assert notifications(stack.upload(f"pages/report/{name}", (SAMPLES / name).read_bytes()))
    after = operator.json("report")
    added = {name: sum(after["photos"][name]) - sum(before["photos"][name]) for name in after["photos"]}
    if before["day"] == after["day"]:
        assert added == {"face_detected": 0, "no_face": 1, "rejected": 1}
    assert after["rejected_reasons"]["unsupported_format"] >= 1
    assert after["seconds"]["day"]["p50"] > 0
    written = operator.run("report", "--day", after["day"])
    assert written.stdout == f"Wrote build/report-local-{after['day']}.html.\n"
    page = ROOT / "build" / f"report-local-{after['day']}.html"
    assert "unsupported format" in page.read_text("utf-8")
    page.unlink()
