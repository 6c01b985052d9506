"""Images on their way through the pipeline, live."""

from __future__ import annotations

import json
import time
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import click

from operations import options

if TYPE_CHECKING:
    from collections.abc import Iterator

    from rich.console import RenderableType

    from operations.deployment import Deployment

# Executions looked at in one round: DescribeExecution allows 15 calls a second in every region.
# https://docs.aws.amazon.com/step-functions/latest/dg/service-quotas.html
MAX_DESCRIBED = 12
ROWS = 20
_POLL_SECONDS = 1.0
_DONE = ("SUCCEEDED", "FAILED", "TIMED_OUT", "ABORTED")


@dataclass
class Sight:
    """One image as far as it got. `seconds`: from the start of its execution to its end, or to now."""

    execution: str
    started: datetime
    status: str
    key: str = ""
    outcome: str = ""
    faces: int | None = None
    seconds: float | None = None
    reported: bool = field(default=False, repr=False)

    def as_json(self) -> dict[str, Any]:
        return {
            "execution": self.execution,
            "started": self.started.isoformat(timespec="milliseconds"),
            "status": self.status,
            "key": self.key,
            "outcome": self.outcome,
            "faces": self.faces,
            "seconds": self.seconds,
        }


@click.command
@options.environment
@click.option("--seconds", type=click.FloatRange(0, min_open=True), help="Stop after so long; else Ctrl-C.")
@click.option("--json", "as_json", is_flag=True, help="Print a line of JSON for each image that is done.")
def command(env: str, seconds: float | None, as_json: bool) -> None:
    """Follow images through the pipeline until Ctrl-C: those of the last minute and every new one."""
    from operations.deployment import Deployment

    deployment = Deployment.load(env)
    try:
        if as_json:
            _print_lines(deployment, seconds)
        else:
            _show_live(deployment, seconds)
    except KeyboardInterrupt:
        # The way to end it.
        return


def rounds(deployment: Deployment, since: datetime, seconds: float | None) -> Iterator[list[Sight]]:
    """Yield all images seen, newest first, once a second for `seconds` (None: for ever).

    A STANDARD workflow's images are seen from their start. An EXPRESS workflow has no list of executions: its
    images are seen when they are recorded.
    """
    from operations import executions

    deadline = None if seconds is None else time.monotonic() + seconds
    seen: dict[str, Sight] = {}
    listed = True
    while True:
        if listed:
            try:
                _from_executions(deployment, since, seen)
            except executions.NoHistoryError:
                listed = False
        if not listed:
            _from_records(deployment, since, seen)
        newest = sorted(seen.values(), key=lambda one: one.started, reverse=True)
        # What is done and out of sight is forgotten, so that watching for days costs no memory.
        for old in newest[10 * ROWS :]:
            if old.status in _DONE:
                del seen[old.execution]
                since = max(since, old.started)
        yield newest
        if deadline is not None and time.monotonic() >= deadline:
            return
        time.sleep(_POLL_SECONDS)


def _from_executions(deployment: Deployment, since: datetime, seen: dict[str, Sight]) -> None:
    from operations import executions

    now = datetime.now(UTC)
    client = deployment.client("stepfunctions")
    described = 0
    for one in executions.since(deployment, since, limit=10 * ROWS):
        arn = one["executionArn"]
        sight = seen.setdefault(arn, Sight(arn, one["startDate"].astimezone(UTC), "RUNNING"))
        sight.seconds = round(((one.get("stopDate") or now) - one["startDate"]).total_seconds(), 2)
        if sight.status in _DONE and (sight.outcome or sight.status != "SUCCEEDED"):
            continue
        if described < MAX_DESCRIBED and (not sight.key or one["status"] in _DONE):
            described += 1
            _describe(deployment, sight, client.describe_execution(executionArn=arn))


def _describe(deployment: Deployment, sight: Sight, described: dict[str, Any]) -> None:
    from operations import executions, records

    sight.status = described["status"]
    try:
        stored = json.loads(described["input"])["detail"]["object"]
        sight.key, etag = str(stored["key"]), str(stored["etag"])
    except (KeyError, TypeError, ValueError):
        sight.key, sight.outcome = "(no S3 event)", described.get("error") or "unknown"
        return
    if sight.status == "SUCCEEDED":
        if sight.key.endswith("/"):
            sight.outcome = "folder"
        elif _is_duplicate(described.get("output")):
            sight.outcome = "duplicate"
        else:
            record = records.get(deployment, records.image_id(sight.key, etag))
            if record is None:
                sight.outcome = "erased since"
            elif record.get("ExecutionId") == sight.execution:
                sight.outcome, sight.faces = str(record.get("Outcome") or ""), record.get("FaceCount")
            else:
                sight.outcome = "analysed again since"
    elif sight.status in _DONE:
        cause = executions.shortened(described.get("cause") or "", 80)
        sight.outcome = f"parked: {described.get('error') or sight.status} {cause}".strip()


def _is_duplicate(output: str | None) -> bool:
    try:
        return json.loads(output or "")["duplicate"] is True
    except (KeyError, TypeError, ValueError):
        return False


def _from_records(deployment: Deployment, since: datetime, seen: dict[str, Sight]) -> None:
    from operations import records

    day = datetime.now(UTC).date().isoformat()
    for outcome in records.OUTCOMES:
        page = next(iter(records.by_outcome(deployment, outcome, day, since=since)), [])
        for record in page[: 10 * ROWS]:
            execution = str(record.get("ExecutionId") or record["ImageID"])
            seen.setdefault(
                execution,
                Sight(
                    execution,
                    datetime.fromisoformat(str(record["Timestamp"])),
                    "SUCCEEDED",
                    str(record.get("Key") or ""),
                    outcome,
                    record.get("FaceCount"),
                ),
            )


def _print_lines(deployment: Deployment, seconds: float | None) -> None:
    for sights in rounds(deployment, _from(), seconds):
        for sight in reversed(sights):
            if sight.status in _DONE and sight.outcome and not sight.reported:
                sight.reported = True
                click.echo(json.dumps(sight.as_json(), ensure_ascii=False))


def _show_live(deployment: Deployment, seconds: float | None) -> None:
    from rich.live import Live

    from tools.terminal import console

    out = console()
    with Live(console=out, auto_refresh=False, transient=False) as live:
        for sights in rounds(deployment, _from(), seconds):
            live.update(_screen(deployment, sights), refresh=out.is_terminal)
    if not out.is_terminal:
        click.echo("")


def _from() -> datetime:
    return datetime.now(UTC) - timedelta(minutes=1)


def _screen(deployment: Deployment, sights: list[Sight]) -> RenderableType:
    from rich.console import Group
    from rich.markup import escape
    from rich.table import Table
    from rich.text import Text

    running = sum(one.status not in _DONE for one in sights)
    title = Text(f"{deployment.environment.name}: {running} on the way; Ctrl-C ends this")
    table = Table(box=None, pad_edge=False, header_style="bold", padding=(0, 2, 0, 0))
    for name in ("Started", "Seconds", "State", "Faces", "Key"):
        table.add_column(name, justify="right" if name in ("Seconds", "Faces") else "left", overflow="fold")
    for one in sights[:ROWS]:
        style = "red" if one.status in ("FAILED", "TIMED_OUT", "ABORTED") else ""
        table.add_row(
            f"{one.started:%H:%M:%S}",
            "" if one.seconds is None else f"{one.seconds:.1f}",
            escape(one.outcome) if one.status in _DONE else "on its way",
            "" if one.faces is None else str(one.faces),
            escape(one.key),
            style=style,
        )
    return Group(title, table)
