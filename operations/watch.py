"""Images on their way through the pipeline, live."""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import click
from rich.console import Group
from rich.live import Live
from rich.text import Text

from operations import buffer, executions, options, terminal
from operations.deployment import Deployment
from operations.tracking import ROWS, UNKNOWN, Pipeline

if TYPE_CHECKING:
    from rich.console import RenderableType

# A look asks CloudWatch, which is paid for.
_BUFFER_SECONDS = 10.0


@click.command
@options.environment
@click.option("--seconds", type=click.FloatRange(0, min_open=True), help="Stop after so long; else Ctrl-C.")
@click.option("--json", "as_json", is_flag=True, help="Print a line of JSON for each image that is done.")
def command(env: str, seconds: float | None, as_json: bool) -> None:
    """Follow images through the pipeline until Ctrl-C: those of the last minute and every new one."""
    pipeline = Pipeline(Deployment.load(env), datetime.now(UTC) - timedelta(minutes=1))
    try:
        if as_json:
            _print_lines(pipeline, seconds)
        else:
            _show_live(pipeline, seconds)
    except KeyboardInterrupt:
        # The way to end it.
        return


def _print_lines(pipeline: Pipeline, seconds: float | None) -> None:
    def report(*, last: bool = False) -> None:
        for image in pipeline.report(last=last):
            click.echo(options.json_text(image.as_json()))

    try:
        for _ in pipeline.rounds(seconds):
            report()
    finally:
        report(last=True)
        if sentence := pipeline.shortfall():
            click.echo(sentence, err=True)


def _show_live(pipeline: Pipeline, seconds: float | None) -> None:
    out = terminal.console()
    waiting, look_at = "", 0.0
    try:
        with Live(console=out, auto_refresh=False, transient=False) as live:
            for _ in pipeline.rounds(seconds, keys_of_running=ROWS):
                pipeline.report()
                if buffer.is_used(pipeline.deployment) and time.monotonic() >= look_at:
                    look_at = time.monotonic() + _BUFFER_SECONDS
                    state = buffer.look(pipeline.deployment, datetime.now(UTC))
                    waiting = buffer.sentence(pipeline.deployment.environment.name, state)
                live.update(_screen(pipeline, waiting), refresh=out.is_terminal)
    finally:
        if not out.is_terminal:
            click.echo("")
        if sentence := pipeline.shortfall():
            click.echo(sentence, err=True)


def _screen(pipeline: Pipeline, waiting: str = "") -> RenderableType:
    images = pipeline.newest()
    running, unnamed = sum(not one.done for one in images), len(pipeline.waiting())
    counts = [f"{running:,} on the way", f"{pipeline.done + unnamed:,} done"]
    if not pipeline.listed:
        counts = [f"{pipeline.done:,} recorded (EXPRESS: what is on the way or failed is not listed)"]
    if len(images) > ROWS or pipeline.done + running > ROWS:
        counts.append(f"the newest {ROWS} shown")
    title = Text(f"{pipeline.deployment.environment.name}: {', '.join(counts)}; Ctrl-C ends this")
    rows = []
    failed = set()
    for one in images[:ROWS]:
        started = f"{one.started:%H:%M:%S}"
        state = one.outcome or UNKNOWN if one.done else "on its way"
        seconds = "" if one.seconds is None else f"{one.seconds:.1f}"
        faces = "" if one.faces is None else str(one.faces)
        rows.append((started, seconds, state, faces, terminal.shown_key(one.key)))
        if one.status in executions.FAILED:
            failed.add(state)
    columns = ("Started", "Seconds", "State", "Faces", "Key")
    return Group(
        title,
        *([waiting] if waiting else []),
        terminal.table(*columns, rows=rows, numbers=("Seconds", "Faces"), red=failed),
    )
