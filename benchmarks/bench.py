"""`bench`: compare the pipeline with a floor and the tutorial's design, in rounds on one local cloud."""

from __future__ import annotations

import json
import statistics
import time
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import click
from rich.console import Console

from benchmarks import cloud, designs, own
from benchmarks.designs import DESIGNS
from operations import drift, options, terminal
from operations.program import ROOT

if TYPE_CHECKING:
    from localcloud.stack import Stack

RESULTS = ROOT / "build" / "bench" / "results.json"
DOCUMENT = ROOT / "docs" / "performance.md"
PHOTO = ROOT / "samples" / "eileen-collins.jpg"
PATIENCE_SECONDS = 120.0
QUIET_SECONDS = 20.0
COLUMNS = ("Design", "p50", "p50 to floor", "p95", "p95 to floor", "Photos a second")
# The concurrency of the local cloud's account on two cores; also the pace of the buffer.
CONCURRENCY = 16


@click.command
@click.option("--rounds", type=click.IntRange(5, 1000), default=40, show_default=True)
@click.option("--images", type=click.IntRange(1, 10_000), default=500, show_default=True, help="At once.")
@click.option("--apart", is_flag=True, help="Only what needs no local cloud: calls, own time, imports, cost.")
@options.as_json
def command(rounds: int, images: int, apart: bool, as_json: bool) -> None:
    """Measure latency, throughput, API calls and own time beside a floor; write docs/performance.md."""
    found = (
        own.measure() | {"cost_per_million": _costs()} if apart else measure(rounds, images, quiet=as_json)
    )
    RESULTS.parent.mkdir(parents=True, exist_ok=True)
    RESULTS.write_text(json.dumps(found, indent=2) + "\n", "utf-8")
    write_document(found)
    if as_json:
        options.print_json(found)
        return
    rows = [
        (
            *(name, f"{one['p50']:.3f} s", f"{one['p50_ratio']:.2f} x", f"{one['p95']:.3f} s"),
            *(f"{one['p95_ratio']:.2f} x", f"{found['throughput'][name]:.1f}"),
        )
        for name, one in found.get("latency", {}).items()
    ]
    if rows:
        terminal.console().print(terminal.table(*COLUMNS, rows=rows, numbers=COLUMNS[1:]))
    click.echo(f"{RESULTS.relative_to(ROOT)} and {DOCUMENT.relative_to(ROOT)} are written.")


def measure(rounds: int, images: int, *, quiet: bool = False) -> dict[str, Any]:
    """Everything docs/performance.md shows."""
    apart = own.measure()
    started = time.monotonic()
    total = rounds + len(DESIGNS)
    with (
        terminal.progress("Applying", total=total, hidden=quiet) as update,
        cloud.deployed(CONCURRENCY, f"ingestion = {{ photos_per_second = {CONCURRENCY} }}") as stack,
    ):
        applied = time.monotonic() - started
        started = time.monotonic()
        drift.check(stack.environment, Console(quiet=True))
        planned = time.monotonic() - started
        designs.prepare(stack)
        pace = stack.outputs["ingestion"]["photos_per_second"]
        watcher = Watcher(stack)
        cold = {name: watcher.one(name, -1) for name in DESIGNS}
        samples: dict[str, list[float]] = {name: [] for name in DESIGNS}
        for index in range(rounds):
            update(index, total, "One photo at a time")
            # Rotate the order, so that no design always follows the same one.
            for name in DESIGNS[index % 4 :] + DESIGNS[: index % 4]:
                samples[name].append(watcher.one(name, index))
        burst = {}
        for index, name in enumerate(DESIGNS):
            update(rounds + index, total, f"{images} photos at once, {name}")
            burst[name] = watcher.many(name, images)
    return {
        "rounds": rounds,
        "images": images,
        "pace": pace,
        "apply_seconds": round(applied, 1),
        "plan_seconds": round(planned, 1),
        "cold_seconds": {name: round(seconds, 3) for name, seconds in cold.items()},
        "latency": {name: _summary(values, samples["floor"]) for name, values in samples.items()},
        "samples": samples,
        "throughput": {name: round(notified / seconds, 2) for name, (notified, seconds) in burst.items()},
        "unnotified": {name: images - notified for name, (notified, _) in burst.items()},
        "cost_per_million": _costs(),
        **apart,
    }


def _summary(values: list[float], floor: list[float]) -> dict[str, float]:
    """Quantiles, their ratios to the floor's, and the spread of the ratio over the rounds."""

    def at(of: list[float], percent: int) -> float:
        return statistics.quantiles(of, n=100, method="inclusive")[percent - 1]

    found = {f"p{percent}": round(at(values, percent), 4) for percent in (50, 95, 99)}
    ratios = [one / other for one, other in zip(values, floor, strict=True)]
    quarters = statistics.quantiles(ratios, n=4)
    return found | {
        "p50_ratio": round(at(values, 50) / at(floor, 50), 3),
        "p95_ratio": round(at(values, 95) / at(floor, 95), 3),
        "ratio_low": round(quarters[0], 3),
        "ratio_high": round(quarters[2], 3),
        "added_seconds": round(at(values, 50) - at(floor, 50), 4),
    }


class Watcher:
    """Uploads photos and waits for their notifications."""

    def __init__(self, stack: Stack) -> None:
        self.stack = stack
        self.queue = stack.subscribe().url
        self.photo = PHOTO.read_bytes()
        self.arrived: set[str] = set()
        self.last = 0.0

    def one(self, design: str, index: int) -> float:
        """Seconds from the upload of one photo to its notification."""
        started = time.perf_counter()
        image = self._upload(design, index)
        return self._wait({image}) - started

    def many(self, design: str, images: int) -> tuple[int, float]:
        """Upload `images` photos at once; return the number of notifications, and seconds until the last."""
        started = time.perf_counter()
        with ThreadPoolExecutor(4) as pool:
            wanted = set(pool.map(lambda index: self._upload(design, 10_000 + index), range(images)))
            try:
                last = self._wait(wanted, QUIET_SECONDS)
            except click.ClickException:
                # The tutorial's design retries nothing: photos that are throttled are lost.
                last = self.last
        return len(wanted & self.arrived), last - started

    def _upload(self, design: str, index: int) -> str:
        # Bytes after the end of a JPEG are ignored.
        body = self.photo + (index + 1).to_bytes(4, "big")
        return self.stack.upload(f"bench/{design}/{index}.jpg", body)

    def _wait(self, wanted: set[str], patience: float = PATIENCE_SECONDS) -> float:
        """The time when all have arrived; raises ClickException after `patience` seconds without one."""
        sqs = self.stack.client("sqs")
        deadline = time.monotonic() + patience
        while not wanted <= self.arrived:
            if time.monotonic() > deadline:
                missing = sorted(wanted - self.arrived)
                raise click.ClickException(
                    f"{len(missing)} notifications did not come within {patience:.0f} s,"
                    f" that of {missing[0]} among them."
                )
            messages = sqs.receive_message(QueueUrl=self.queue, MaxNumberOfMessages=10).get("Messages", [])
            for message in messages:
                sqs.delete_message(QueueUrl=self.queue, ReceiptHandle=message["ReceiptHandle"])
                content = json.loads(json.loads(message["Body"])["Message"])
                self.arrived.add(content["image_id"])
            if messages:
                self.last, deadline = time.perf_counter(), time.monotonic() + patience
            else:
                time.sleep(0.004)
        return time.perf_counter()


def _costs() -> dict[str, float]:
    from operations.cost import estimate

    return {
        f"{mode} {kind}": round(
            sum(
                line.dollars
                for line in estimate({"workflow_type": kind, "ingestion": {"mode": mode}}, 1_000_000, 0.0, {})
                if line.group == "each image"
            ),
            2,
        )
        for mode in ("direct", "buffered")
        for kind in ("STANDARD", "EXPRESS")
    }


def write_document(found: dict[str, Any]) -> None:
    from benchmarks import plots
    from benchmarks.simulate import rendered

    if "samples" in found:
        plots.latency(found, DOCUMENT.with_name("plots") / "performance-latency.svg")
    DOCUMENT.write_text(rendered("performance.md.jinja", **found), "utf-8")
