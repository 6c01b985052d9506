"""`drain`: work off a backlog on a local cloud, with a quota of Rekognition calls a second."""

from __future__ import annotations

import json
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from io import BytesIO
from typing import TYPE_CHECKING, Any

import click
import numpy as np
from PIL import Image

from benchmarks import cloud, exact
from benchmarks.scenario import Scenario
from benchmarks.simulate import MEASURED, MODES, TYPES
from operations import buffer, options
from operations.deployment import Deployment
from operations.errors import UserError

if TYPE_CHECKING:
    from benchmarks.scenario import Floats, Mode, Type
    from localcloud.stack import Stack

CONCURRENCY = 25
# The duration of a call here, without network latency.
CALL_SECONDS = 0.1
_GIVE_UP = 3.0  # times the predicted time
# A batch whose worker was throttled reappears after the buffer's visibility timeout.
_RETURN_SECONDS = 800.0
# The local cloud's longest wait between two attempts.
_LONGEST_SECONDS = 60.0


@dataclass(frozen=True)
class Here(Scenario):
    """A scenario on the local cloud, which supports neither JitterStrategy nor MaxDelaySeconds."""

    concurrency: int | None = None
    call_seconds: float = CALL_SECONDS
    jitter: bool = False
    # Photos uploaded in each second, if known: a busy computer may be slower than `rate`.
    uploaded: tuple[int, ...] = ()

    def arriving(self, step: float) -> Floats:
        return np.array(self.uploaded, dtype=np.float64) if self.uploaded else super().arriving(step)

    def retrier(self, error: str) -> dict[str, Any]:
        return super().retrier(error) | {"MaxDelaySeconds": _LONGEST_SECONDS}


@click.command
@click.option("--images", type=click.IntRange(1, 100_000), default=5000, show_default=True)
@click.option("--quota", type=click.IntRange(1, 100), default=20, show_default=True, help="Calls a second.")
@click.option("--mode", type=click.Choice(MODES), default="buffered", show_default=True)
@click.option("--type", "kind", type=click.Choice(TYPES), default="STANDARD", show_default=True)
@click.option(
    "--rate", type=click.FloatRange(0.1), default=30.0, show_default=True, help="Direct: uploads a second."
)
@options.as_json
def command(images: int, quota: int, mode: Mode, kind: Type, rate: float, as_json: bool) -> None:
    """Work IMAGES off on a local cloud that allows QUOTA calls a second, and time the drain.

    Buffered they are uploaded while paused and worked off at the quota; direct they are uploaded at RATE.
    """
    found = run(images, quota, mode, kind, rate)
    before = json.loads(MEASURED.read_text("utf-8")) if MEASURED.exists() else []
    runs = {_key(one): one for one in [*before, found]}
    MEASURED.write_text(json.dumps([runs[key] for key in sorted(runs)], indent=2) + "\n", "utf-8")
    if as_json:
        options.print_json(found)
        return
    click.echo(
        f"{images:,} photos, {mode} {kind}, at {quota} a second: predicted {found['predicted']} s and"
        f" {found['predicted_calls']:,} calls, measured {found['measured']} s and {found['calls']:,};"
        f" {found['parked']} parked, {found['lost']} lost, {found['doubled']} doubled."
    )


def _key(one: dict[str, Any]) -> tuple[str, str, int, int]:
    return one["mode"], one["type"], one["photos"], one["allowed"]


def run(images: int, quota: int, mode: Mode, kind: Type, rate: float) -> dict[str, Any]:
    """Seconds from the first start to the last notification, predicted and measured, and the failures."""
    buffered = mode == "buffered"
    scenario = Here(
        images,
        mode,
        kind,
        arrivals="burst" if buffered else "steady",
        rate=1e6 if buffered else rate,
        photos_per_second=quota,
        rekognition_per_second=quota,
    )
    give_up = _GIVE_UP * exact.simulate(scenario).drained + (_RETURN_SECONDS if buffered else 0.0)
    settings = f'workflow_type = "{kind}"\n'
    settings += f'ingestion = {{ mode = "{mode}", photos_per_second = {quota} }}'
    with cloud.deployed(max(CONCURRENCY, quota), settings) as stack:
        deployment = Deployment(stack.environment, stack.outputs)
        subscription = stack.subscribe()
        _wait_out_every_error(stack, scenario)
        uploaded: dict[str, float] = {}
        if buffered:
            buffer.switch(deployment, on=False)
            uploaded = _upload(stack, images, rate=1e6)
        stack.control_rekognition("POST", "/quota", {"calls_per_second": quota})
        started = time.monotonic()
        if buffered:
            buffer.switch(deployment, on=True)
        else:
            uploaded = _upload(stack, images, rate)
        notified: Counter[str] = Counter()
        measured, parked = 0.0, 0
        while len(notified) + parked < images and time.monotonic() - started < give_up:
            for one in subscription.receive():
                notified[one.image_id] += 1
                measured = time.monotonic() - started
            time.sleep(0.2)
            parked = _parked(stack)
        time.sleep(2)
        notified.update(one.image_id for one in subscription.receive())
        parked = len(stack.dead_letters())
        calls = stack.control_rekognition("GET", "/calls")
        left = len(uploaded.keys() - notified.keys()) - parked
        queue = buffer.look(deployment, datetime.now(UTC))
        if left and (queued := queue["waiting"] + queue["held"]):
            raise UserError(
                f"After {give_up:.0f} s {left:,} photos are not done, {queued:,} of them still buffered;"
                " nothing is recorded."
            )
    if not buffered:
        seconds = Counter(int(at - started) for at in uploaded.values())
        scenario = replace(scenario, uploaded=tuple(seconds[one] for one in range(max(seconds) + 1)))
        rate = round(images / (max(uploaded.values()) - started), 1)
    predicted = exact.simulate(scenario)
    return {
        "photos": images,
        "mode": mode,
        "type": kind,
        "allowed": quota,
        "rate": None if buffered else rate,
        "predicted": round(predicted.drained, 1),
        "measured": round(measured, 1),
        "predicted_calls": round(predicted.calls),
        "calls": calls["DetectFaces"],
        "predicted_parked": round(predicted.parked),
        "parked": parked,
        "lost": left,
        "doubled": sum(count - 1 for count in notified.values()),
    }


def _wait_out_every_error(stack: Stack, scenario: Scenario) -> None:
    """Retry every ProcessImage error like throttling; the local cloud loses the names (docs/quirks.md)."""
    states, machine = stack.client("stepfunctions"), stack.outputs["state_machine_arn"]
    definition = json.loads(states.describe_state_machine(stateMachineArn=machine)["definition"])
    throttled = {**scenario.retrier("ThrottlingException"), "ErrorEquals": ["States.ALL"]}
    throttled.pop("EXPRESS", None)
    busy = scenario.retrier("Lambda.TooManyRequestsException")
    busy.pop("EXPRESS", None)
    definition["States"]["ProcessImage"]["Retry"] = [busy, throttled]
    states.update_state_machine(stateMachineArn=machine, definition=json.dumps(definition))


def _parked(stack: Stack) -> int:
    attributes = stack.client("sqs").get_queue_attributes(
        QueueUrl=stack.outputs["dead_letter_queue_url"], AttributeNames=["ApproximateNumberOfMessages"]
    )["Attributes"]
    return int(attributes["ApproximateNumberOfMessages"])


def _upload(stack: Stack, images: int, rate: float) -> dict[str, float]:
    """Upload unique photos, at most `rate` a second; return the times by ImageID."""
    file = BytesIO()
    Image.new("RGB", (100, 100), "grey").save(file, "JPEG")
    photo = file.getvalue()
    began = time.monotonic()

    def upload(index: int) -> tuple[str, float]:
        time.sleep(max(0.0, began + index / rate - time.monotonic()))
        # Bytes after the end of a JPEG are ignored.
        return stack.upload(f"drain/{index}.jpg", photo + index.to_bytes(4, "big")), time.monotonic()

    with ThreadPoolExecutor(4) as pool:
        return dict(pool.map(upload, range(images)))
