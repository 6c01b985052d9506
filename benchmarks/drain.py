"""`drain`: a backlog on the local cloud, worked off against a Rekognition of so many calls a second."""

from __future__ import annotations

import json
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from io import BytesIO
from typing import TYPE_CHECKING, Any

import click
from PIL import Image

from benchmarks import cloud, exact
from benchmarks.scenario import Scenario
from benchmarks.simulate import MEASURED
from operations import buffer, options
from operations.deployment import Deployment

if TYPE_CHECKING:
    from localcloud.stack import Stack

CONCURRENCY = 25
# What a call takes here, where nothing is far away.
CALL_SECONDS = 0.1
_GIVE_UP = 3.0  # times the predicted time


@click.command
@click.option("--images", type=click.IntRange(1, 100_000), default=5000, show_default=True)
@click.option("--quota", type=click.IntRange(1, 100), default=20, show_default=True, help="Calls a second.")
@options.as_json
def command(images: int, quota: int, as_json: bool) -> None:
    """Upload IMAGES, paused, to a local cloud that allows QUOTA calls a second; resume and time the drain."""
    found = run(images, quota)
    measured: dict[str, Any] = {"what": WHAT, "runs": []}
    if MEASURED.exists():
        measured = json.loads(MEASURED.read_text("utf-8"))
    runs = {(one["photos"], one["allowed"]): one for one in [*measured["runs"], found]}
    measured["runs"] = [runs[key] for key in sorted(runs)]
    MEASURED.write_text(json.dumps(measured, indent=2) + "\n", "utf-8")
    if as_json:
        options.print_json(found)
        return
    click.echo(
        f"{images:,} photos at {quota} a second: predicted {found['predicted']} s, measured"
        f" {found['measured']} s; {found['parked']} parked, {found['lost']} lost, {found['doubled']} doubled,"
        f" {found['throttled']} calls throttled."
    )


WHAT = (
    "A backlog of tiny photos, uploaded while paused, then worked off on one computer by `make drain`; the"
    " stand-in for Rekognition allows as many calls a second as the pace."
)


def run(images: int, quota: int) -> dict[str, Any]:
    """Seconds from resuming to the last notification, predicted and measured; what went wrong."""
    scenario = Scenario(
        images,
        rate=1e6,
        photos_per_second=quota,
        concurrency=CONCURRENCY,
        call_seconds=CALL_SECONDS,
        rekognition_per_second=quota,
    )
    predicted = exact.simulate(scenario).drained
    settings = f'ingestion = {{ mode = "buffered", photos_per_second = {quota} }}'
    with cloud.deployed(max(CONCURRENCY, quota), settings) as stack:
        deployment = Deployment(stack.environment, stack.outputs)
        subscription = stack.subscribe()
        buffer.switch(deployment, on=False)
        uploaded = _upload(stack, images)
        stack.control_rekognition("POST", "/quota", {"calls_per_second": quota})
        buffer.switch(deployment, on=True)
        started = time.monotonic()
        notified: Counter[str] = Counter()
        measured = 0.0
        while len(notified) < images and time.monotonic() - started < _GIVE_UP * predicted:
            for one in subscription.receive():
                notified[one.image_id] += 1
                measured = time.monotonic() - started
            time.sleep(0.2)
        time.sleep(2)
        notified.update(one.image_id for one in subscription.receive())
        parked = len(stack.dead_letters())
        calls = stack.control_rekognition("GET", "/calls")
    return {
        "photos": images,
        "mode": "buffered",
        "allowed": quota,
        "predicted": round(predicted, 1),
        "measured": round(measured, 1),
        "parked": parked,
        "lost": len(uploaded - notified.keys()) - parked,
        "doubled": sum(count - 1 for count in notified.values()),
        "throttled": calls["DetectFaces"] - calls["answered"],
    }


def _upload(stack: Stack, images: int) -> set[str]:
    """Upload photos that nobody has uploaded; their ImageIDs."""
    file = BytesIO()
    Image.new("RGB", (100, 100), "grey").save(file, "JPEG")
    photo = file.getvalue()
    with ThreadPoolExecutor(4) as pool:
        # What follows the end of a JPEG is ignored.
        return set(
            pool.map(
                lambda index: stack.upload(f"drain/{index}.jpg", photo + index.to_bytes(4, "big")),
                range(images),
            )
        )
