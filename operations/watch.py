"""`watch`: follow images through the pipeline by listing executions and reading records."""

from __future__ import annotations

import json
import time
from contextlib import nullcontext, suppress
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import click
from rich.console import Group
from rich.live import Live
from rich.text import Text

from operations import buffer, executions, options, records, terminal
from operations.deployment import Deployment

if TYPE_CHECKING:
    from collections.abc import Iterator

# Executions described in one round: DescribeExecution allows 15 calls a second in every region. Those that
# succeed are found by their records instead, in any number.
# https://docs.aws.amazon.com/step-functions/latest/dg/service-quotas.html
MAX_DESCRIBED = 12
# Executions listed in one round, five requests; StartExecution allows 300 a second.
MAX_LISTED = 5_000
ROWS = 20
UNKNOWN = "not looked up"
_POLL_SECONDS = 1.0
# Reading the buffer's state queries CloudWatch, which costs money.
_BUFFER_SECONDS = 10.0
# How long after its start an execution may first be listed; the list is eventually consistent.
_LATE = timedelta(seconds=10)
# How long finished images are kept and executions are found by listing; older ones are described.
_REMEMBERED = timedelta(minutes=2)
# A record's timestamp is its function's start; it is written within the function's timeout of a minute.
_RECORDED_LATE = timedelta(seconds=75)


@dataclass(slots=True)
class TrackedImage:
    """One image's progress: `outcome` is empty until known, `seconds` run to its end or until now."""

    execution: str
    started: datetime
    status: str
    key: str = ""
    outcome: str = ""
    faces: int | None = None
    seconds: float | None = None

    @property
    def done(self) -> bool:
        return self.status != "RUNNING"


@dataclass
class Pipeline:
    """The images whose executions started after `since`.

    A STANDARD workflow's images are visible from their start. An EXPRESS workflow has no list of executions:
    its images are visible once they are recorded, so duplicates and parked ones are not.

    `seen` drops images that are done, reported and too old to be listed again, so that watching for days
    needs no more memory than two minutes. `done` counts them all; `unknown` those shown without their photos;
    `unlisted`: more started at once than could be listed.
    """

    deployment: Deployment
    since: datetime
    seen: dict[str, TrackedImage] = field(default_factory=dict)
    reported: set[str] = field(default_factory=set)
    listed: bool = True
    done: int = 0
    unknown: int = 0
    unlisted: bool = False

    def rounds(self, seconds: float | None) -> Iterator[None]:
        """Poll once a second for `seconds`; None: for ever."""
        deadline = None if seconds is None else time.monotonic() + seconds
        while True:
            self.look()
            yield
            if deadline is not None and time.monotonic() >= deadline:
                return
            time.sleep(_POLL_SECONDS)

    def look(self) -> None:
        if self.listed:
            try:
                self._list()
            except executions.NoHistoryError:
                self.listed = False
        if self.listed:
            ended = [one.started for one in self.waiting() if one.status == "SUCCEEDED"]
            if ended:
                self._read_records(ended[0] - timedelta(seconds=2))
            self._describe()
        else:
            self.since = max(self.since, datetime.now(UTC) - _RECORDED_LATE)
            self._read_records(self.since)

    def report(self, *, last: bool = False) -> list[TrackedImage]:
        """Finished images with a known outcome not reported before, oldest first; all of them if `last`."""
        for image in self.waiting() if last else ():
            image.outcome = UNKNOWN
            self.unknown += not image.key
        known = [one for one in self.newest() if one.done and one.outcome]
        ready = [one for one in known if one.execution not in self.reported]
        self.reported |= {one.execution for one in ready}
        self.done += len(ready)
        for old in self.newest()[ROWS:]:
            if old.execution in self.reported and old.started < self.since:
                self.reported.remove(old.execution)
                del self.seen[old.execution]
        return ready[::-1]

    def shortfall(self) -> str | None:
        """A sentence on what is not shown, if anything is missing."""
        parts = []
        if self.unknown:
            parts.append(f"{self.unknown:,} ended without being looked up, so their photos are not named")
        if self.unlisted:
            parts.append(f"more than {MAX_LISTED:,} started at once, so some are not shown")
        return f"Of the images {' and '.join(parts)}; 'make status' counts them all." if parts else None

    def newest(self) -> list[TrackedImage]:
        """All images in memory, most recently started first."""
        return sorted(self.seen.values(), key=lambda one: one.started, reverse=True)

    def waiting(self) -> list[TrackedImage]:
        """Finished images whose outcome is not known yet, oldest first."""
        return [one for one in self.newest()[::-1] if one.done and not one.outcome]

    def _list(self) -> None:
        if self.seen:
            # Only executions that started about when the last list ended, or are running, can be new.
            last = self.newest()[0].started
            running = min((one.started for one in self.seen.values() if not one.done), default=last)
            self.since = max(self.since, min(last - _LATE, running), last - _REMEMBERED)
        for count, one in enumerate(executions.newest(self.deployment)):
            arn, started = one["executionArn"], one["startDate"].astimezone(UTC)
            if started < self.since:
                break
            if count >= MAX_LISTED:
                self.unlisted |= arn not in self.seen
                break
            image = self.seen.setdefault(arn, TrackedImage(arn, started, "RUNNING"))
            if not image.done:
                image.status, image.seconds = one["status"], _seconds(one)

    def _read_records(self, since: datetime) -> None:
        """Take key and outcome of executions that succeeded from their records, once these are indexed."""
        for outcome in records.OUTCOMES:
            for record in records.since(self.deployment, outcome, since):
                execution = str(record.get("ExecutionId") or record["ImageID"])
                if not self.listed:
                    started = datetime.fromisoformat(str(record["Timestamp"]))
                    self.seen.setdefault(execution, TrackedImage(execution, started, "SUCCEEDED"))
                image = self.seen.get(execution)
                if image and image.done and not image.outcome:
                    image.key, image.outcome = str(record["Key"]), outcome
                    image.faces = record.get("FaceCount")

    def _describe(self) -> None:
        """Describe executions that lists and records do not cover, within Step Functions' rate limit."""
        running = [one for one in self.newest() if not one.done]
        wanted = [
            # Failures first; those that succeeded have no record of their own, or not yet.
            *sorted(self.waiting(), key=lambda one: one.status == "SUCCEEDED"),
            # Those running for too long to be listed.
            *(one for one in self.seen.values() if not one.done and one.started < self.since),
            *(one for one in running[:ROWS] if one.started >= self.since and not one.key),
        ]
        client = self.deployment.client("stepfunctions")
        for image in wanted[:MAX_DESCRIBED]:
            # Move it to the end, so that other long-running ones are described in the next round.
            self.seen[image.execution] = self.seen.pop(image.execution)
            _complete(self.deployment, image, client.describe_execution(executionArn=image.execution))


def _seconds(execution: dict[str, Any]) -> float:
    started: datetime = execution["startDate"]
    return round(((execution.get("stopDate") or datetime.now(UTC)) - started).total_seconds(), 2)


def _complete(deployment: Deployment, image: TrackedImage, described: dict[str, Any]) -> None:
    """Complete `image` from its execution's description and its record."""
    image.status, image.seconds = described["status"], _seconds(described)
    key, etag = executions.photo(described)
    image.key = key or "(no S3 event)"
    if image.status == "SUCCEEDED":
        ended = json.loads(described["output"])
        if ended.get("ignored"):
            image.outcome = "folder"
        elif ended.get("duplicate"):
            image.outcome = "duplicate"
        elif not (record := records.get(deployment, records.image_id(image.key, etag))):
            image.outcome = "erased since"
        elif record["ExecutionId"] != image.execution:
            image.outcome = "analysed again since"
        else:
            image.outcome, image.faces = record["Outcome"], record.get("FaceCount")
    elif image.done:
        cause = executions.shortened(described.get("cause") or "", 80)
        image.outcome = f"parked: {described.get('error') or image.status} {cause}".strip()


@click.command
@options.environment
@click.option("--seconds", type=click.FloatRange(0, min_open=True), help="Stop after so long; else Ctrl-C.")
@click.option("--json", "as_json", is_flag=True, help="Print a line of JSON for each image that is done.")
def command(env: str, seconds: float | None, as_json: bool) -> None:
    """Follow images through the pipeline until Ctrl-C: those of the last minute and every new one."""
    pipeline = Pipeline(Deployment.load(env), datetime.now(UTC) - timedelta(minutes=1))
    # Ctrl-C is the way to end it.
    with suppress(KeyboardInterrupt):
        show(pipeline, seconds, as_json=as_json)


def show(pipeline: Pipeline, seconds: float | None, *, as_json: bool) -> None:
    """Print a line of JSON for each image that is done, or keep the screen up to date."""
    out, look_at, waiting = terminal.console(), 0.0, ""

    def report(*, last: bool = False) -> None:
        for image in pipeline.report(last=last):
            if as_json:
                click.echo(options.json_text(asdict(image)))

    try:
        with nullcontext() if as_json else Live(console=out, auto_refresh=False) as live:
            for _ in pipeline.rounds(seconds):
                report()
                if not live:
                    continue
                if buffer.is_used(pipeline.deployment) and time.monotonic() >= look_at:
                    look_at = time.monotonic() + _BUFFER_SECONDS
                    state = buffer.look(pipeline.deployment, datetime.now(UTC))
                    waiting = buffer.sentence(pipeline.deployment.environment.name, state)
                live.update(_screen(pipeline, waiting), refresh=out.is_terminal)
    finally:
        if not (as_json or out.is_terminal):
            click.echo("")
        report(last=True)
        if sentence := pipeline.shortfall():
            click.echo(sentence, err=True)


def _screen(pipeline: Pipeline, waiting: str = "") -> Group:
    images = pipeline.newest()
    running, unnamed = sum(not one.done for one in images), len(pipeline.waiting())
    counts = [f"{running:,} on the way", f"{pipeline.done + unnamed:,} done"]
    if not pipeline.listed:
        counts = [f"{pipeline.done:,} recorded (EXPRESS: what is on the way or failed is not listed)"]
    if len(images) > ROWS or pipeline.done + running > ROWS:
        counts.append(f"the newest {ROWS} shown")
    title = Text(f"{pipeline.deployment.environment.name}: {', '.join(counts)}; Ctrl-C ends this")
    rows, failed = [], set()
    for one in images[:ROWS]:
        state = one.outcome or UNKNOWN if one.done else "on its way"
        seconds = "" if one.seconds is None else f"{one.seconds:.1f}"
        faces = "" if one.faces is None else str(one.faces)
        rows.append((f"{one.started:%H:%M:%S}", seconds, state, faces, terminal.shown_key(one.key)))
        if one.status in executions.FAILED:
            failed.add(state)
    columns = ("Started", "Seconds", "State", "Faces", "Key")
    table = terminal.table(*columns, rows=rows, numbers=("Seconds", "Faces"), red=failed)
    return Group(title, *([waiting] if waiting else []), table)
