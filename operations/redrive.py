"""`redrive`: what is in the dead-letter queue and, when confirmed, its work started again."""

from __future__ import annotations

import json
import sys
from concurrent.futures import FIRST_EXCEPTION, Future, ThreadPoolExecutor, wait
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

import click

from operations import options

if TYPE_CHECKING:
    from collections.abc import Callable

    from operations.dead_letters import Letter
    from operations.deployment import Deployment

# Long enough for one batch whatever the throttling; what is left of it comes back by itself when this process
# is killed.
_HIDDEN_SECONDS = 120
_NAMED = 20


@dataclass
class Group:
    """Parked events with the same error. `oldest`: ISO 8601, UTC."""

    error: str
    messages: int = 0
    oldest: str = ""
    example: str = ""
    cause: str = ""


@dataclass
class Report:
    """What became of the queue's messages; those not started are still in it.

    `left` names messages that cannot be started and why; `later` counts those parked after the start,
    `unseen` those somebody else holds: another run, or one that was killed.
    """

    environment: str
    confirmed: bool
    messages: int = 0
    started: int = 0
    already_started: int = 0
    later: int = 0
    unseen: int = 0
    cut_short: bool = False
    groups: dict[str, Group] = field(default_factory=dict)
    left: dict[str, str] = field(default_factory=dict)

    def count(self, letter: Letter) -> None:
        from datetime import UTC, datetime

        self.messages += 1
        sent = datetime.fromtimestamp(letter.sent, UTC).isoformat(timespec="seconds")
        group = self.groups.setdefault(letter.error, Group(letter.error, oldest=sent))
        group.messages += 1
        if sent <= group.oldest or not group.example:
            group.oldest, group.cause, group.example = sent, letter.cause, _subject(letter)

    def as_json(self) -> dict[str, Any]:
        return {**asdict(self), "groups": [asdict(group) for group in self._sorted()]}

    def _sorted(self) -> list[Group]:
        return sorted(self.groups.values(), key=lambda group: (-group.messages, group.error))

    def table(self) -> Any:
        from rich.table import Table
        from rich.text import Text

        from operations.executions import shortened
        from operations.terminal import visible

        grid = Table(title=f"Dead-letter queue of {self.environment}", title_justify="left")
        grid.add_column("Error", overflow="fold")
        grid.add_column("Messages", justify="right")
        grid.add_column("Oldest")
        grid.add_column("For example", overflow="fold")
        grid.add_column("Why", overflow="fold")
        for group in self._sorted():
            error, example, why = (
                Text(visible(text)) for text in (group.error, group.example, shortened(group.cause))
            )
            grid.add_row(error, f"{group.messages:,}", group.oldest, example, why)
        return grid


def _subject(letter: Letter) -> str:
    from operations.dead_letters import NotAnEventError

    try:
        return str(letter.event()["detail"]["object"]["key"])
    except NotAnEventError as error:
        return f"message {letter.message_id}: {error}"


def _silent(_done: int, _total: int) -> None:
    """For callers who do not watch."""


def survey(deployment: Deployment, tell: Callable[[int, int], object] = _silent) -> Report:
    """Look at every message and give it back; at most `MOST_SHOWN` of them."""
    from operations.dead_letters import MOST_SHOWN, NotAnEventError, reading

    report = Report(deployment.environment.name, confirmed=False)
    with reading(deployment) as queue:
        total, _ = queue.state()
        # Reading a thousand messages takes some ten seconds; none may come round before the last was seen.
        for batch in queue.letters(hidden_seconds=min(43_200, 60 + total // 50)):
            for letter in batch:
                report.count(letter)
                try:
                    letter.execution_input()
                except NotAnEventError as error:
                    report.left[letter.message_id] = str(error)
            tell(report.messages, total)
            if report.messages >= MOST_SHOWN:
                report.cut_short = True
                break
        report.unseen = queue.held_elsewhere()
    return report


def redrive(deployment: Deployment, tell: Callable[[int, int], object] = _silent) -> Report:
    """Start the workflow for every event that was parked before now.

    A message is deleted only after its execution was accepted. Killed at any moment, it leaves messages whose
    execution runs already; the next run is told so by the workflow's name and deletes them.

    Raises what AWS raises; messages not started then are in the queue as before.
    """
    from operations.dead_letters import NotAnEventError, reading
    from operations.workflow import start, warm

    report = Report(deployment.environment.name, confirmed=True)
    warm(deployment, "sqs", "stepfunctions")
    with reading(deployment) as queue, ThreadPoolExecutor(max_workers=10) as pool:
        total, now = queue.state()
        for batch in queue.letters(hidden_seconds=_HIDDEN_SECONDS):
            futures = {}
            for letter in batch:
                # An execution that fails again parks a new message, which is not for this run: without an
                # end to the fault there would be no end to it. The clock ticks in seconds.
                if letter.sent >= now + 1:
                    report.later += 1
                    continue
                report.count(letter)
                try:
                    text = letter.execution_input()
                except NotAnEventError as error:
                    report.left[letter.message_id] = str(error)
                    continue
                name = f"redrive-{letter.message_id}"
                futures[pool.submit(start, deployment, name, text)] = letter
            try:
                wait(futures, return_when=FIRST_EXCEPTION)
            finally:
                # Also when interrupted: what was accepted is deleted, what was not begun is given back.
                for future in futures:
                    future.cancel()
                wait(futures)
                answers = [future.result() for future in futures if _succeeded(future)]
                report.started += answers.count("started")
                report.already_started += answers.count("already")
                queue.delete([letter for future, letter in futures.items() if _succeeded(future)])
            for future in futures:
                future.result()
            tell(report.messages, total)
        report.unseen = queue.held_elsewhere()
    return report


def discard(deployment: Deployment, message_id: str, *, confirmed: bool) -> Letter:
    """Find one message and, when confirmed, delete it for good.

    Raises UserError when it is not there, somebody else holds it, or SQS keeps it.
    """
    from operations.dead_letters import reading
    from operations.errors import UserError

    name = deployment.environment.name
    with reading(deployment) as queue:
        letters = (one for batch in queue.letters(hidden_seconds=_HIDDEN_SECONDS) for one in batch)
        letter = next((one for one in letters if one.message_id == message_id), None)
        unseen = queue.held_elsewhere()
        if letter and confirmed and not queue.delete([letter]):
            raise UserError(f"SQS keeps message {message_id} of ENV={name}; run it again.")
    if letter:
        return letter
    held = f" ({unseen:,} are being read by somebody else; try again in two minutes)" if unseen else ""
    raise UserError(
        f"There is no message {message_id} in the dead-letter queue of ENV={name}{held};"
        f" 'make redrive ENV={name}' names those that cannot be started."
    )


def _succeeded(future: Future[Any]) -> bool:
    return not future.cancelled() and future.exception() is None


@click.command
@options.environment
@options.confirm("Start the work again")
@click.option("--discard", "message_id", metavar="ID", help="Delete this one message instead, for good.")
@options.as_json
def command(env: str, confirm: bool, message_id: str | None, as_json: bool) -> None:
    """Show what is in the dead-letter queue and, with --confirm, start its work again."""
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

    from operations.deployment import Deployment
    from operations.terminal import console

    deployment = Deployment.load(env)
    if message_id:
        letter = discard(deployment, message_id, confirmed=confirm)
        if as_json:
            click.echo(
                json.dumps({"message_id": letter.message_id, "body": letter.body, "discarded": confirm})
            )
            return
        # Whole, so that what is deleted is written down somewhere.
        click.echo(json.dumps(letter.body))
        click.echo(
            "It is deleted." if confirm else "Nothing was changed; with CONFIRM=1 it is deleted for good."
        )
        return
    screen = console(errors=True)
    with Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        console=screen,
        transient=True,
        disable=not screen.is_terminal,
    ) as progress:
        task = progress.add_task("Starting again" if confirm else "Reading the queue", total=None)

        def tell(done: int, total: int) -> None:
            # SQS counts approximately.
            progress.update(task, completed=done, total=max(done, total))

        report = (redrive if confirm else survey)(deployment, tell)
    if as_json:
        click.echo(json.dumps(report.as_json()))
    else:
        _print(report)
    if report.unseen or (report.left and confirm):
        sys.exit(1)


def _print(report: Report) -> None:
    from operations.terminal import console

    out = console()
    if not (report.messages or report.later or report.unseen):
        out.print(f"The dead-letter queue of {report.environment} is empty.")
        return
    if report.groups:
        out.print(report.table())
    if report.cut_short:
        out.print(f"Only the first {report.messages:,} messages are shown.")
    if report.confirmed:
        again = f", {report.already_started:,} ran already" if report.already_started else ""
        out.print(f"{report.started:,} started{again}.")
    elif report.messages > len(report.left):
        out.print("Nothing was changed; with CONFIRM=1 the work is started again.")
    if report.later:
        out.print(f"{report.later:,} parked since this began: look at the error before another run.")
    for message_id, reason in list(report.left.items())[:_NAMED]:
        click.echo(f"Message {message_id} is left in the queue: {reason}.", err=True)
    if report.unseen:
        click.echo(
            f"{report.unseen:,} messages are being read by another run, or were by one that was killed: they"
            " come back by themselves within minutes; run it again then.",
            err=True,
        )
    if len(report.left) > _NAMED:
        click.echo(f"{len(report.left) - _NAMED:,} more cannot be started; --json names them all.", err=True)
