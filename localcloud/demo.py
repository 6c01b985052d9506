"""`make demo`: real photos through the whole pipeline on this computer, and a page that shows each."""

from __future__ import annotations

import json
import os
import shutil
import statistics
import time
import webbrowser
from collections import deque
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from rich.text import Text

from operations import options, page, program, terminal
from operations.errors import UserError
from operations.terminal import visible

from .cloud import BUILD as BUILDS
from .cloud import SAMPLES, shown
from .stack import deployed
from .timeline import Timeline, read

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rich.console import Console
    from rich.table import Table

    from .stack import Stack

BUILD = BUILDS / "demo"
PATIENCE_SECONDS = 60.0
# Photos in flight at once: one for each of two cores, so that the seconds shown are the pipeline's own.
IN_FLIGHT = 2
_SHOWN = 5
_STYLES = {"face_detected": "green", "no_face": "cyan", "rejected": "yellow", "parked": "red"}


@dataclass(frozen=True)
class Result:
    """One photo's outcome; `parked` when its event is in the dead-letter queue.

    `seconds` run from the end of the upload to the arrival of the notification; the timeline's milliseconds
    run from the start of the upload.
    """

    key: str
    outcome: str
    face_count: int | None = None
    seconds: float | None = None
    notification: str | None = None
    record: dict[str, Any] | None = None
    execution: str | None = None
    timeline: Timeline | None = None


def find_photos(folder: Path) -> tuple[list[Path], list[Path]]:
    """The files in `folder` and below, and the paths left out: hidden ones, and others such as broken links.

    Raises UserError when the folder is missing or empty, or a file is unreadable or its name is not a key.
    """
    if not folder.is_dir():
        raise UserError(
            f"There is no folder {visible(str(folder))}; name one with photos, like PHOTOS=holiday."
        )
    photos: list[Path] = []
    left_out: list[Path] = []
    for path in sorted(folder.rglob("*")):
        name = path.relative_to(folder)
        hidden = [part for part in name.parts if part.startswith(".")]
        if not hidden and path.is_file():
            # The samples' README is not a photo.
            if path.resolve() != SAMPLES / "README.md":
                photos.append(path)
        # For a hidden folder, list only the folder; do not list folders that were searched.
        elif hidden == [name.name] or (not hidden and (path.is_symlink() or not path.is_dir())):
            left_out.append(name)
    if not photos:
        raise UserError(f"There is no photo in {visible(str(folder))}; name another folder with PHOTOS=.")
    for path in photos:
        if not os.access(path, os.R_OK):
            raise UserError(f"{visible(str(path))} cannot be read; permit it, or take it elsewhere.")
        try:
            path.relative_to(folder).as_posix().encode()
        except UnicodeEncodeError:
            raise UserError(
                f"The name of {visible(str(path))} is not UTF-8, as a key must be; rename it."
            ) from None
    return photos, left_out


def run(
    stack: Stack, folder: Path, photos: Sequence[Path], update: terminal.Update = terminal.no_progress
) -> list[Result]:
    """Upload the photos and wait until each is accounted for.

    Raises UserError naming the photos that are not, PATIENCE_SECONDS after their upload.
    """
    subscription = stack.subscribe()
    waiting: dict[str, tuple[str, float]] = {}
    began: dict[str, datetime] = {}
    results: dict[str, Result] = {}
    pending = deque(photos)
    while pending or waiting:
        while pending and len(waiting) < IN_FLIGHT:
            path = pending.popleft()
            key = path.relative_to(folder).as_posix()
            update(len(results), len(photos), key)
            body = path.read_bytes()
            began[key] = datetime.now(UTC)
            image_id = stack.upload(key, body)
            waiting[image_id] = key, time.monotonic()
        for notification in subscription.receive():
            if notification.image_id in waiting:
                key, uploaded = waiting.pop(notification.image_id)
                results[key] = Result(
                    key=key,
                    outcome=notification.facts["outcome"],
                    face_count=notification.facts["face_count"],
                    seconds=round(time.monotonic() - uploaded, 3),
                    # Like the email's first line: the headline with the whole key; the subject is shortened.
                    notification=f"{notification.subject.partition(': ')[0]}: {key}",
                    record=stack.record(notification.image_id),
                )
        patience = time.monotonic() - PATIENCE_SECONDS
        if overdue := [image_id for image_id, (_, uploaded) in waiting.items() if uploaded < patience]:
            results |= _parked(stack, [waiting.pop(image_id)[0] for image_id in overdue])
        time.sleep(0.01)
    if unrecorded := [one.key for one in results.values() if one.outcome != "parked" and not one.record]:
        raise UserError(f"Notified, but without a record: {visible(', '.join(unrecorded))}.")
    return [_finished(stack, results[key], moment) for key, moment in began.items()]


def _finished(stack: Stack, result: Result, began: datetime) -> Result:
    """The result with its timeline; its photo is accounted for, so its execution is about to end."""
    execution = result.execution or (result.record or {}).get("ExecutionId")
    if not execution:
        return result
    deadline = time.monotonic() + PATIENCE_SECONDS
    while True:
        timeline = read(stack.client("stepfunctions"), execution, began)
        if timeline.status != "RUNNING" or time.monotonic() > deadline:
            return replace(result, timeline=timeline)
        time.sleep(0.05)


def _parked(stack: Stack, overdue: Sequence[str]) -> dict[str, Result]:
    """The results of parked photos by key; raises UserError if one was not parked."""
    parked = {event.key(): event.execution for event in stack.dead_letters()}
    if lost := [key for key in overdue if key not in parked]:
        raise UserError(
            f"Not accounted for after {PATIENCE_SECONDS:.0f} s: {visible(', '.join(lost))};"
            f" the logs are in {shown(BUILD / 'localcloud')}."
        )
    return {key: Result(key, "parked", execution=parked[key]) for key in overdue}


def table(results: Sequence[Result]) -> Table:
    rows = []
    for result in results:
        reason = (result.record or {}).get("Reason")
        rows.append(
            (
                result.key,
                Text(f"{result.outcome}: {reason}" if reason else result.outcome, _STYLES[result.outcome]),
                "" if result.face_count is None else str(result.face_count),
                "" if result.seconds is None else f"{result.seconds:.2f}",
                result.notification or "",
            )
        )
    columns = ("Photo", "Outcome", "Faces", "Seconds", "Notification")
    return terminal.table(*columns, rows=rows, title="Each photo's outcome", numbers=("Faces", "Seconds"))


def html(folder: Path, results: Sequence[Result]) -> str:
    photos = [
        page.Photo(
            key=result.key,
            outcome=result.outcome,
            record=result.record,
            picture=page.thumbnail(
                (folder / result.key).read_bytes(), converted=bool((result.record or {}).get("Converted"))
            ),
            steps=result.timeline.steps if result.timeline else (),
            messages=result.timeline.messages if result.timeline else {},
        )
        for result in results
    ]
    now = datetime.now(UTC)
    lead = f"On this computer's local cloud, {now.day} {now:%B %Y, %H:%M} UTC."
    return page.photos(f"{page.count(len(photos), 'photo')} through the pipeline", lead, photos)


@click.command
@click.option(
    "--photos",
    type=click.Path(path_type=Path),
    default=SAMPLES,
    show_default="samples",
    help="Folder with photos of your own.",
)
@options.as_json
@click.option("--open", "as_page", is_flag=True, help="Open the page in the browser.")
def main(photos: Path, as_json: bool, as_page: bool) -> None:
    """Send photos through the pipeline on this computer, and write a page that shows each."""
    console = terminal.console(errors=as_json)
    path, shown_in = BUILD / "report.json", BUILD / "index.html"
    # So that existing files are always from this run.
    path.unlink(missing_ok=True)
    shown_in.unlink(missing_ok=True)
    results = demonstrate(photos, console)
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
    """Send the photos through a temporary local cloud. Raises UserError."""
    photos, left_out = find_photos(folder)
    if left_out:
        names = visible(", ".join(map(str, left_out[:_SHOWN])))
        more = f" and {len(left_out) - _SHOWN} more" if len(left_out) > _SHOWN else ""
        console.print(f"Left out, hidden or no file: {names}{more}", markup=False)
    directory = BUILD / "localcloud"
    with deployed(directory, console) as stack, terminal.progress("Photos", total=len(photos)) as update:
        results = run(stack, folder, photos, update)
    if any(result.outcome == "parked" for result in results):
        console.print(f"A photo was parked; its logs are in {shown(directory)}.", markup=False)
    else:
        shutil.rmtree(directory, ignore_errors=True)
    return results


if __name__ == "__main__":
    program.run(program.Verbs({"demo": "localcloud.demo:main"}), "python -m localcloud.demo", "demo")
