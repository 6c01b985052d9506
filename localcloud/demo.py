"""`make demo`: real photos through the whole pipeline on this computer, with what became of each."""

from __future__ import annotations

import json
import os
import statistics
import sys
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

import click

from operations import terminal
from operations.errors import UserError
from operations.program import end_in_order
from operations.terminal import visible

from .cloud import REPOSITORY, LocalCloud, LocalCloudError, shown
from .stack import Stack, remove

# The SDK and the rest of rich are imported where they are used: nobody answers an interrupt meanwhile.
if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from rich.console import Console
    from rich.progress import Progress
    from rich.table import Table

SAMPLES = REPOSITORY / "samples"
BUILD = REPOSITORY / "build" / "demo"
PATIENCE_SECONDS = 60.0
# Photos on their way at once: one for each of two cores, so that the seconds shown are the pipeline's.
IN_FLIGHT = 2
_SHOWN = 5
_STYLES = {"face_detected": "green", "no_face": "cyan", "rejected": "yellow", "parked": "red"}


class DemoError(Exception):
    """The demo cannot go on; the message is one sentence for people."""


@dataclass(frozen=True)
class Result:
    """What became of one photo. `outcome` is `parked` for one whose event is in the dead-letter queue.

    `seconds` run from the upload's answer to the arrival of the notification.
    """

    key: str
    outcome: str
    face_count: int | None
    seconds: float | None
    notification: str | None
    record: dict[str, Any] | None


def find_photos(folder: Path) -> tuple[list[Path], list[Path]]:
    """The files in `folder` and below, and what is left out: hidden, or no file, as a link to nowhere.

    Raises DemoError when there is no such folder, nothing in it, or a file that cannot be read or be a key.
    """
    if not folder.is_dir():
        raise DemoError(
            f"There is no folder {visible(str(folder))}; name one with photos, like PHOTOS=holiday."
        )
    photos: list[Path] = []
    left_out: list[Path] = []
    try:
        for path in _entries(folder):
            if path.name.startswith(".") or not path.is_file():
                left_out.append(path.relative_to(folder))
            # It says where the samples are from.
            elif path.resolve() != SAMPLES / "README.md":
                _check(path, folder)
                photos.append(path)
    except OSError as error:
        raise _unreadable(error) from error
    if not photos:
        raise DemoError(f"There is no photo in {visible(str(folder))}; name another folder with PHOTOS=.")
    return sorted(photos), sorted(left_out)


def _entries(folder: Path) -> Iterator[Path]:
    """Everything in `folder` and below but the folders gone into: those neither hidden nor linked to."""

    def stop(error: OSError) -> NoReturn:
        raise error

    for parent, folders, files in os.walk(folder, onerror=stop):
        here = Path(parent)
        aside = {name for name in folders if name.startswith(".") or (here / name).is_symlink()}
        folders[:] = [name for name in folders if name not in aside]
        yield from (here / name for name in [*aside, *files])


def _check(path: Path, folder: Path) -> None:
    if not os.access(path, os.R_OK):
        raise DemoError(f"{visible(str(path))} cannot be read; permit it, or take it elsewhere.")
    try:
        _key_of(path, folder).encode()
    except UnicodeEncodeError:
        raise DemoError(
            f"The name of {visible(str(path))} is not UTF-8, as a key must be; rename it."
        ) from None


def _key_of(path: Path, folder: Path) -> str:
    return path.relative_to(folder).as_posix()


def _unreadable(error: OSError) -> DemoError:
    return DemoError(f"{visible(str(error.filename))} cannot be read: {error.strerror}.")


def run(stack: Stack, folder: Path, photos: Sequence[Path], progress: Progress) -> list[Result]:
    """Upload the photos and wait until each is accounted for.

    Raises DemoError naming the photos that are not, PATIENCE_SECONDS after their own upload.
    """
    subscription = stack.subscribe()
    task = progress.add_task("Photos", total=len(photos))
    waiting: dict[str, tuple[str, float]] = {}
    results: dict[str, Result] = {}
    pending = list(photos)
    while pending or waiting:
        while pending and len(waiting) < IN_FLIGHT:
            path = pending.pop(0)
            key = _key_of(path, folder)
            progress.update(task, description=visible(key))
            try:
                body = path.read_bytes()
            except OSError as error:
                raise _unreadable(error) from error
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
        raise DemoError(f"Told, but without a record: {visible(', '.join(unrecorded))}.")
    return [results[_key_of(path, folder)] for path in photos]


def _give_up(
    stack: Stack, keys: list[str], results: dict[str, Result], progress: Progress, task: Any
) -> None:
    """Account for photos whose event was parked; raise DemoError for those that are nowhere."""
    parked = {_key(json.loads(message["Body"])) for message in stack.dead_letters()}
    lost = [key for key in keys if key not in parked]
    if lost:
        raise DemoError(
            f"Not accounted for after {PATIENCE_SECONDS:.0f} s: {visible(', '.join(lost))};"
            f" the logs are in {shown(BUILD / 'localcloud')}."
        )
    for key in keys:
        results[key] = Result(key, "parked", None, None, None, None)
        progress.advance(task)


def _key(event: Mapping[str, Any]) -> str:
    return str(event.get("detail", {}).get("object", {}).get("key"))


def table(results: Sequence[Result]) -> Table:
    """The results for eyes."""
    from rich.table import Table
    from rich.text import Text

    grid = Table(title="What became of each photo", title_justify="left")
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


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.option(
    "--photos",
    type=click.Path(path_type=Path),
    default=SAMPLES,
    show_default="samples",
    help="Folder with photos of your own.",
)
@click.option("--json", "as_json", is_flag=True, help="Print the report instead of the table.")
def main(photos: Path, as_json: bool) -> None:
    """Send photos through the pipeline on this computer and show what became of each."""
    end_in_order()
    console = terminal.console(errors=as_json)
    path = BUILD / "report.json"
    # One that is there is of this run.
    path.unlink(missing_ok=True)
    try:
        results = demonstrate(photos, console)
    except (DemoError, UserError, LocalCloudError) as error:
        raise click.ClickException(str(error)) from None
    except KeyboardInterrupt:
        click.echo("Interrupted; nothing is left running.", err=True)
        sys.exit(130)
    report = {"photos": [asdict(result) for result in results]}
    path.write_text(json.dumps(report, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    if as_json:
        click.echo(json.dumps(report))
    else:
        console.print(table(results))
        seconds = [result.seconds for result in results if result.seconds is not None]
        median = f"; median {statistics.median(seconds):.2f} s from upload to notification" if seconds else ""
        console.print(f"{len(results)} photos accounted for{median}. Report: {shown(path)}")


def demonstrate(folder: Path, console: Console) -> list[Result]:
    """Start a local cloud, apply, send the photos through, and take everything down again.

    Raises DemoError, UserError, LocalCloudError or TerraformError, one sentence each.
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
    main()
