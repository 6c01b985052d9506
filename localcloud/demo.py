"""`make demo`: real photos through the whole pipeline on this computer, with what became of each."""

from __future__ import annotations

import json
import signal
import statistics
import sys
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

import click
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    SpinnerColumn,
    TextColumn,
    TimeElapsedColumn,
)
from rich.table import Table
from rich.text import Text

from tools import terminal
from tools.environments import DeployError
from tools.terraform import TerraformError

from .cloud import REPOSITORY, LocalCloud, LocalCloudError
from .stack import Stack, remove

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from rich.console import Console

SAMPLES = REPOSITORY / "samples"
BUILD = REPOSITORY / "build" / "demo"
PATIENCE_SECONDS = 60.0
# Photos on their way at once: one for each of two cores, so that the seconds shown are the pipeline's.
IN_FLIGHT = 2
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


def find_photos(folder: Path) -> list[Path]:
    """The files in `folder` and below, but hidden ones and READMEs.

    Raises DemoError when there is no such folder, or nothing in it.
    """
    if not folder.is_dir():
        raise DemoError(f"There is no folder {folder}; name one with photos, like PHOTOS=holiday.")
    photos = sorted(
        path
        for path in folder.rglob("*")
        if path.is_file()
        and not path.name.upper().startswith("README")
        and not any(part.startswith(".") for part in path.relative_to(folder).parts)
    )
    if not photos:
        raise DemoError(f"There is no file in {folder}; name another folder with PHOTOS=.")
    return photos


def run(stack: Stack, folder: Path, photos: Sequence[Path], progress: Progress) -> list[Result]:
    """Upload the photos and wait until each is accounted for.

    Raises DemoError naming the photos that are not, PATIENCE_SECONDS after the last sign of life.
    """
    subscription = stack.subscribe()
    task = progress.add_task("Photos", total=len(photos))
    waiting: dict[str, tuple[str, float]] = {}
    results: dict[str, Result] = {}
    pending = list(photos)
    last = time.monotonic()
    while pending or waiting:
        while pending and len(waiting) < IN_FLIGHT:
            path = pending.pop(0)
            key = path.relative_to(folder).as_posix()
            progress.update(task, description=key)
            waiting[stack.upload(key, path.read_bytes())] = (key, time.monotonic())
        for notification in subscription.receive():
            if notification.image_id not in waiting:
                continue
            key, started = waiting.pop(notification.image_id)
            last = time.monotonic()
            results[key] = Result(
                key=key,
                outcome=notification.facts["outcome"],
                face_count=notification.facts["face_count"],
                seconds=round(last - started, 3),
                notification=notification.subject,
                record=stack.record(notification.image_id),
            )
            progress.advance(task)
        if waiting and time.monotonic() - last > PATIENCE_SECONDS:
            _give_up(stack, [key for key, _ in waiting.values()], results, progress, task)
            waiting.clear()
        time.sleep(0.01)
    unrecorded = [
        result.key for result in results.values() if result.outcome != "parked" and not result.record
    ]
    if unrecorded:
        raise DemoError(f"Told, but without a record: {', '.join(unrecorded)}.")
    return [results[path.relative_to(folder).as_posix()] for path in photos]


def _give_up(
    stack: Stack, keys: list[str], results: dict[str, Result], progress: Progress, task: Any
) -> None:
    """Account for photos whose event was parked; raise DemoError for those that are nowhere."""
    parked = {_key(json.loads(message["Body"])) for message in stack.dead_letters()}
    lost = [key for key in keys if key not in parked]
    if lost:
        raise DemoError(
            f"Not accounted for after {PATIENCE_SECONDS:.0f} s: {', '.join(lost)};"
            f" the logs are in {BUILD.relative_to(REPOSITORY)}."
        )
    for key in keys:
        results[key] = Result(key, "parked", None, None, None, None)
        progress.advance(task)


def _key(event: Mapping[str, Any]) -> str:
    return str(event.get("detail", {}).get("object", {}).get("key"))


def table(results: Sequence[Result]) -> Table:
    """The results for eyes."""
    grid = Table(title="What became of each photo", title_justify="left")
    grid.add_column("Photo", overflow="fold")
    grid.add_column("Outcome")
    grid.add_column("Faces", justify="right")
    grid.add_column("Seconds", justify="right")
    grid.add_column("Notification", overflow="fold")
    for result in results:
        reason = (result.record or {}).get("Reason")
        grid.add_row(
            Text(result.key),
            Text(f"{result.outcome}: {reason}" if reason else result.outcome, _STYLES[result.outcome]),
            "" if result.face_count is None else str(result.face_count),
            "" if result.seconds is None else f"{result.seconds:.2f}",
            Text(result.notification or ""),
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
    signal.signal(signal.SIGTERM, interrupt)
    console = terminal.console(errors=as_json)
    try:
        results = demonstrate(photos, console)
    except (DemoError, DeployError, LocalCloudError, TerraformError) as error:
        raise click.ClickException(str(error)) from None
    except KeyboardInterrupt:
        click.echo("Interrupted; nothing is left running.", err=True)
        sys.exit(130)
    report = {"photos": [asdict(result) for result in results]}
    path = BUILD / "report.json"
    path.write_text(json.dumps(report, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    if as_json:
        click.echo(json.dumps(report))
    else:
        console.print(table(results))
        seconds = [result.seconds for result in results if result.seconds is not None]
        median = f"; median {statistics.median(seconds):.2f} s from upload to notification" if seconds else ""
        console.print(f"{len(results)} photos accounted for{median}. Report: {path.relative_to(REPOSITORY)}")


def demonstrate(folder: Path, console: Console) -> list[Result]:
    """Start a local cloud, apply, send the photos through, and take everything down again.

    Raises DemoError, DeployError, LocalCloudError or TerraformError, one sentence each.
    """
    photos = find_photos(folder)
    directory = BUILD / "localcloud"
    console.print(f"Starting the local cloud for {len(photos)} photos")
    with LocalCloud.start(directory) as cloud:
        console.print("Applying environments/local.tfvars (Terraform itself waits about a minute)")
        stack = Stack.deploy(cloud, console=console)
        with bar(console) as progress:
            results = run(stack, folder, photos, progress)
    remove(directory)
    return results


def bar(console: Console) -> Progress:
    """Progress with counts, gone when it is over."""
    return Progress(
        SpinnerColumn(),
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        console=console,
        transient=True,
    )


def interrupt(*_: object) -> NoReturn:
    """Signal handler: end as Ctrl-C does, taking everything down."""
    raise KeyboardInterrupt


if __name__ == "__main__":
    main()
