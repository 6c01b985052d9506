"""`make demo`: real photos through the whole pipeline on this computer, and a page that shows each."""

from __future__ import annotations

import json
import statistics
import sys
import time
import webbrowser
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from operations import page, program, terminal
from operations.program import end_in_order
from operations.terminal import visible

from .cloud import BUILD as BUILDS
from .cloud import LocalCloud, shown
from .photos import SAMPLES, DemoError, find_photos, key_of, unreadable
from .stack import Stack, remove
from .timeline import Timeline, read

# The SDK and the rest of rich are imported where they are used: nobody answers an interrupt meanwhile.
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from rich.console import Console
    from rich.progress import Progress
    from rich.table import Table

BUILD = BUILDS / "demo"
PATIENCE_SECONDS = 60.0
# Photos on their way at once: one for each of two cores, so that the seconds shown are the pipeline's.
IN_FLIGHT = 2
_SHOWN = 5
_STYLES = {"face_detected": "green", "no_face": "cyan", "rejected": "yellow", "parked": "red"}


@dataclass(frozen=True)
class Result:
    """One photo's outcome; `parked` when its event is in the dead-letter queue.

    `seconds` run from the upload's answer to the arrival of the notification; the timeline's milliseconds
    from the upload's beginning.
    """

    key: str
    outcome: str
    face_count: int | None
    seconds: float | None
    notification: str | None
    record: dict[str, Any] | None
    execution: str | None = None
    timeline: Timeline | None = None


def run(stack: Stack, folder: Path, photos: Sequence[Path], progress: Progress) -> list[Result]:
    """Upload the photos and wait until each is accounted for.

    Raises DemoError naming the photos that are not, PATIENCE_SECONDS after their own upload.
    """
    subscription = stack.subscribe()
    task = progress.add_task("Photos", total=len(photos))
    waiting: dict[str, tuple[str, float]] = {}
    began: dict[str, datetime] = {}
    results: dict[str, Result] = {}
    pending = list(photos)
    while pending or waiting:
        while pending and len(waiting) < IN_FLIGHT:
            path = pending.pop(0)
            key = key_of(path, folder)
            progress.update(task, description=visible(key))
            try:
                body = path.read_bytes()
            except OSError as error:
                raise unreadable(error) from error
            began[key] = datetime.now(UTC)
            image_id = stack.upload(key, body)
            waiting[image_id] = (key, time.monotonic())
        for notification in subscription.receive():
            if notification.image_id not in waiting:
                continue
            key, uploaded = waiting.pop(notification.image_id)
            results[key] = Result(
                key=key,
                outcome=notification.facts["outcome"],
                face_count=notification.facts["face_count"],
                seconds=round(time.monotonic() - uploaded, 3),
                notification=notification.headline,
                record=stack.record(notification.image_id),
            )
            progress.advance(task)
        overdue = {
            image_id: key
            for image_id, (key, uploaded) in waiting.items()
            if time.monotonic() - uploaded > PATIENCE_SECONDS
        }
        if overdue:
            _give_up(stack, list(overdue.values()), results, progress, task)
            waiting = {image_id: one for image_id, one in waiting.items() if image_id not in overdue}
        time.sleep(0.01)
    unrecorded = [
        result.key for result in results.values() if result.outcome != "parked" and not result.record
    ]
    if unrecorded:
        raise DemoError(f"Notified, but without a record: {visible(', '.join(unrecorded))}.")
    found = [results[key_of(path, folder)] for path in photos]
    return [replace(one, timeline=_finished(stack, one, began[one.key])) for one in found]


def _finished(stack: Stack, result: Result, began: datetime) -> Timeline | None:
    """The timeline of a photo that is accounted for, so that its execution is about to end."""
    execution = result.execution or (result.record or {}).get("ExecutionId")
    if not execution:
        return None
    deadline = time.monotonic() + PATIENCE_SECONDS
    while True:
        timeline = read(stack.client("stepfunctions"), execution, began)
        if timeline.status != "RUNNING" or time.monotonic() > deadline:
            return timeline
        time.sleep(0.05)


def _give_up(
    stack: Stack, keys: list[str], results: dict[str, Result], progress: Progress, task: Any
) -> None:
    """Account for photos whose event was parked; raise DemoError for those that are nowhere."""
    parked = {
        _key(json.loads(message["Body"])): message.get("MessageAttributes", {})
        for message in stack.dead_letters()
    }
    lost = [key for key in keys if key not in parked]
    if lost:
        raise DemoError(
            f"Not accounted for after {PATIENCE_SECONDS:.0f} s: {visible(', '.join(lost))};"
            f" the logs are in {shown(BUILD / 'localcloud')}."
        )
    for key in keys:
        execution = parked[key].get("EXECUTION_ID", {}).get("StringValue")
        results[key] = Result(key, "parked", None, None, None, None, execution)
        progress.advance(task)


def _key(event: Mapping[str, Any]) -> str:
    return str(event.get("detail", {}).get("object", {}).get("key"))


def table(results: Sequence[Result]) -> Table:
    """The results for eyes."""
    from rich.table import Table
    from rich.text import Text

    grid = Table(title="Each photo's outcome", title_justify="left")
    grid.add_column("Photo", overflow="fold")
    grid.add_column("Outcome")
    grid.add_column("Faces", justify="right")
    grid.add_column("Seconds", justify="right")
    grid.add_column("Notification", overflow="fold")
    for result in results:
        reason = (result.record or {}).get("Reason")
        grid.add_row(
            Text(visible(result.key)),
            Text(f"{result.outcome}: {reason}" if reason else result.outcome, _STYLES[result.outcome]),
            "" if result.face_count is None else str(result.face_count),
            "" if result.seconds is None else f"{result.seconds:.2f}",
            Text(visible(result.notification or "")),
        )
    return grid


def html(folder: Path, results: Sequence[Result]) -> str:
    """The results as a page that needs nothing but itself."""
    photos = []
    for result in results:
        timeline = result.timeline
        photos.append(
            page.Photo(
                key=result.key,
                outcome=result.outcome,
                record=result.record,
                picture=page.thumbnail(
                    (folder / result.key).read_bytes(),
                    converted=bool((result.record or {}).get("Converted")),
                ),
                absence="Not a picture that can be shown",
                steps=timeline.steps if timeline else (),
                messages=timeline.messages if timeline else {},
            )
        )
    now = datetime.now(UTC)
    lead = f"On this computer's local cloud, {now.day} {now:%B %Y, %H:%M} UTC."
    return page.photos(f"{page.count(len(photos), 'photo')} through the pipeline", lead, photos)


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.option(
    "--photos",
    type=click.Path(path_type=Path),
    default=SAMPLES,
    show_default="samples",
    help="Folder with photos of your own.",
)
@click.option("--json", "as_json", is_flag=True, help="Print the report instead of the table.")
@click.option("--open", "as_page", is_flag=True, help="Open the page in the browser.")
def main(photos: Path, as_json: bool, as_page: bool) -> None:
    """Send photos through the pipeline on this computer, and write a page that shows each."""
    end_in_order()
    console = terminal.console(errors=as_json)
    path, shown_in = BUILD / "report.json", BUILD / "index.html"
    # Those that are there are of this run.
    path.unlink(missing_ok=True)
    shown_in.unlink(missing_ok=True)
    try:
        results = demonstrate(photos, console)
    except KeyboardInterrupt:
        click.echo("Interrupted; nothing is left running.", err=True)
        sys.exit(130)
    report = {"photos": [asdict(result) for result in results]}
    path.write_text(json.dumps(report, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    shown_in.write_text(html(photos, results), encoding="utf-8")
    if as_json:
        click.echo(json.dumps(report))
    else:
        console.print(table(results))
        seconds = [result.seconds for result in results if result.seconds is not None]
        median = f"; median {statistics.median(seconds):.2f} s from upload to notification" if seconds else ""
        console.print(f"{len(results)} photos accounted for{median}.")
        console.print(f"Page: {shown(shown_in)}  Report: {shown(path)}")
    if as_page:
        webbrowser.open(shown_in.resolve().as_uri())


def demonstrate(folder: Path, console: Console) -> list[Result]:
    """Start a local cloud, apply, send the photos through, and take everything down again.

    Raises UserError, of which DemoError, LocalCloudError and TerraformError are kinds.
    """
    from botocore.exceptions import BotoCoreError, ClientError

    photos, left_out = find_photos(folder)
    if left_out:
        names = visible(", ".join(map(str, left_out[:_SHOWN])))
        more = f" and {len(left_out) - _SHOWN} more" if len(left_out) > _SHOWN else ""
        console.print(f"Left out, hidden or no file: {names}{more}", markup=False)
    directory = BUILD / "localcloud"
    console.print(f"Starting the local cloud for {len(photos)} photos")
    try:
        with LocalCloud.start(directory) as cloud:
            console.print("Applying environments/local.tfvars (Terraform itself waits about a minute)")
            stack = Stack.deploy(cloud, console=console)
            with bar(console) as progress:
                results = run(stack, folder, photos, progress)
    except (BotoCoreError, ClientError) as error:
        raise DemoError(f"The local cloud failed: {error}; the logs are in {shown(directory)}.") from error
    if any(result.outcome == "parked" for result in results):
        console.print(f"A photo was parked; its logs are in {shown(directory)}.", markup=False)
    else:
        remove(directory)
    return results


def bar(console: Console) -> Progress:
    """Progress with counts, gone when it is over."""
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        SpinnerColumn,
        TextColumn,
        TimeElapsedColumn,
    )

    return Progress(
        SpinnerColumn(),
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        console=console,
        transient=True,
    )


if __name__ == "__main__":
    verbs = program.Verbs({"demo": "localcloud.demo:main"})
    program.run(verbs, "python -m localcloud.demo", "demo")
