"""`redrive`: what is in the dead-letter queue and, when confirmed, its work started again."""

from __future__ import annotations

import sys
from concurrent.futures import FIRST_EXCEPTION, Future, ThreadPoolExecutor, wait
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import click

from operations import buffer, executions, keys, options, terminal
from operations.dead_letters import MOST_SHOWN, NotAnEventError, ParkedEvent, reading
from operations.deployment import Deployment
from operations.errors import UserError

if TYPE_CHECKING:
    from operations.terminal import Update

# Long enough for one batch whatever the throttling; what is left of it comes back by itself when this process
# is killed.
_HIDDEN_SECONDS = 120
# Messages on the screen; JSON has them all.
_SHOWN = 20


@dataclass
class Group:
    """Parked events with the same error. `oldest`: ISO 8601, UTC."""

    error: str
    messages: int = 0
    oldest: str = ""
    example: str = ""
    cause: str = ""


@dataclass(frozen=True)
class Choice:
    """Which parked events are meant: those of one key, of one error, or all of them."""

    key: str | None = None
    error: str | None = None

    def includes(self, event: ParkedEvent) -> bool:
        if self.key is not None and event.key() not in keys.forms(self.key):
            return False
        return self.error is None or self.error.lower() in event.error.lower()


@dataclass
class Report:
    """The queue's messages that were chosen; those not started are still in it.

    `photos` lists every message: `message_id`, `key` (empty where it has none), `error`, `cause` and `parked`
    (ISO 8601, UTC). `left` names messages that cannot be started and why; `later` counts those parked after
    the start, `not_chosen` those of other keys or errors, `unseen` those somebody else holds: another run, or
    one that was killed.
    """

    environment: str
    confirmed: bool
    messages: int = 0
    started: int = 0
    already_started: int = 0
    later: int = 0
    not_chosen: int = 0
    unseen: int = 0
    cut_short: bool = False
    groups: dict[str, Group] = field(default_factory=dict)
    left: dict[str, str] = field(default_factory=dict)
    photos: list[dict[str, str]] = field(default_factory=list)

    def count(self, event: ParkedEvent) -> None:
        self.messages += 1
        sent = datetime.fromtimestamp(event.sent, UTC).isoformat(timespec="seconds")
        key, cause = event.key(), executions.shortened(event.cause)
        self.photos.append(
            {"message_id": event.message_id, "key": key, "error": event.error, "cause": cause, "parked": sent}
        )
        group = self.groups.setdefault(event.error, Group(event.error, oldest=sent))
        group.messages += 1
        if sent <= group.oldest or not group.example:
            group.oldest, group.cause = sent, event.cause
            group.example = terminal.shown_key(key) if key else f"message {event.message_id}"

    def as_json(self) -> dict[str, Any]:
        return {**asdict(self), "groups": [asdict(group) for group in self.sorted_groups()]}

    def sorted_groups(self) -> list[Group]:
        return sorted(self.groups.values(), key=lambda group: (-group.messages, group.error))


ALL = Choice()


def survey(deployment: Deployment, choice: Choice = ALL, update: Update = terminal.unwatched) -> Report:
    """Look at every message and give it back; at most `MOST_SHOWN` of them."""
    report = Report(deployment.environment.name, confirmed=False)
    with reading(deployment) as queue:
        total, _ = queue.state()
        # Reading a thousand messages takes some ten seconds; none may come round before the last was seen.
        for batch in queue.events(hidden_seconds=min(43_200, 60 + total // 50)):
            for event in batch:
                if not choice.includes(event):
                    report.not_chosen += 1
                    continue
                report.count(event)
                try:
                    event.execution_input()
                except NotAnEventError as error:
                    report.left[event.message_id] = str(error)
            _update(update, report, total)
            if report.messages >= MOST_SHOWN:
                report.cut_short = True
                break
        report.unseen = queue.held_elsewhere()
    return report


def redrive(deployment: Deployment, choice: Choice = ALL, update: Update = terminal.unwatched) -> Report:
    """Start the workflow for every chosen event that was parked before now.

    Where uploads are buffered, these wait for their turn in the buffer as well.

    A message is deleted only after its execution was accepted. Killed at any moment, it leaves messages whose
    execution runs already; the next run learns that from the workflow by the name and deletes them.

    Raises what AWS raises; messages not started then are in the queue as before.
    """
    report = Report(deployment.environment.name, confirmed=True)
    start = buffer.put if buffer.is_used(deployment) else executions.start
    with reading(deployment) as queue, ThreadPoolExecutor(max_workers=10) as pool:
        total, now = queue.state()
        for batch in queue.events(hidden_seconds=_HIDDEN_SECONDS):
            futures: dict[Future[str | None], ParkedEvent] = {}
            for event in batch:
                if not choice.includes(event):
                    report.not_chosen += 1
                    continue
                # An execution that fails again parks a new message, which is not for this run: without an
                # end to the fault there would be no end to it. The clock ticks in seconds.
                if event.sent >= now + 1:
                    report.later += 1
                    continue
                report.count(event)
                try:
                    content = event.execution_input()
                except NotAnEventError as error:
                    report.left[event.message_id] = str(error)
                    continue
                name = f"redrive-{event.message_id}"
                futures[pool.submit(start, deployment, content, name)] = event
            try:
                wait(futures, return_when=FIRST_EXCEPTION)
            finally:
                # Also when interrupted: what was accepted is deleted, what was not begun is given back.
                for future in futures:
                    future.cancel()
                wait(futures)
                accepted = [future for future in futures if _succeeded(future)]
                fresh = sum(future.result() is not None for future in accepted)
                report.started += fresh
                report.already_started += len(accepted) - fresh
                queue.delete([futures[future] for future in accepted])
            for future in futures:
                future.result()
            _update(update, report, total)
        report.unseen = queue.held_elsewhere()
    return report


def _update(update: Update, report: Report, total: int) -> None:
    done = report.messages + report.not_chosen
    # SQS counts approximately.
    update(done, max(done, total))


def discard(deployment: Deployment, message_id: str, *, confirmed: bool) -> ParkedEvent:
    """Find one message and, when confirmed, delete it for good.

    Raises UserError when it is not there, somebody else holds it, or SQS keeps it.
    """
    name = deployment.environment.name
    with reading(deployment) as queue:
        events = (one for batch in queue.events(hidden_seconds=_HIDDEN_SECONDS) for one in batch)
        event = next((one for one in events if one.message_id == message_id), None)
        unseen = queue.held_elsewhere()
        if event and confirmed and not queue.delete([event]):
            raise UserError(f"SQS keeps message {message_id} of ENV={name}; run it again.")
    if event:
        return event
    held = f" ({unseen:,} are being read by somebody else; try again in two minutes)" if unseen else ""
    raise UserError(
        f"There is no message {message_id} in the dead-letter queue of ENV={name}{held};"
        f" 'make redrive ENV={name}' names those that cannot be started."
    )


def _succeeded(future: Future[Any]) -> bool:
    return not future.cancelled() and future.exception() is None


@click.command
@options.environment
@click.option("--key", type=options.KEY, help="Only the parked events of this photo.")
@click.option("--error", help="Only those whose error contains this, such as Throttling.")
@options.confirm("Start the work again")
@click.option("--discard", "message_id", metavar="ID", help="Delete this one message instead, for good.")
@options.as_json
def command(
    env: str, key: str | None, error: str | None, confirm: bool, message_id: str | None, as_json: bool
) -> None:
    """Show what is in the dead-letter queue and, when confirmed, start its work again."""
    deployment = Deployment.load(env)
    if message_id:
        _discard(deployment, message_id, confirm, as_json)
        return
    choice = Choice(key, error)
    description = "Starting again" if confirm else "Reading the queue"
    with terminal.progress(description, hidden=as_json) as update:
        report = (redrive if confirm else survey)(deployment, choice, update)
    if choice != ALL and report.not_chosen and not report.messages:
        raise UserError(
            f"None of the {report.not_chosen:,} messages in the dead-letter queue of ENV={env} is of that key"
            f" and error; 'make redrive ENV={env}' shows them."
        )
    if as_json:
        options.print_json(report.as_json())
    else:
        _show(report)
    if report.unseen or (report.left and confirm):
        sys.exit(1)


def _discard(deployment: Deployment, message_id: str, confirm: bool, as_json: bool) -> None:
    event = discard(deployment, message_id, confirmed=confirm)
    if as_json:
        options.print_json({"message_id": event.message_id, "body": event.body, "discarded": confirm})
        return
    # All of it, so that what is deleted is written down somewhere.
    click.echo(options.json_text(event.body))
    click.echo("It is deleted." if confirm else "Nothing was changed; with CONFIRM=1 it is deleted for good.")


def _show(report: Report) -> None:
    out = terminal.console()
    if not (report.messages or report.later or report.unseen):
        out.print(f"The dead-letter queue of {report.environment} is empty.")
        return
    _show_photos(report)
    if report.confirmed:
        already = f", {report.already_started:,} ran already" if report.already_started else ""
        out.print(f"{report.started:,} started{already}.")
    elif report.messages > len(report.left):
        out.print("Nothing was changed; with CONFIRM=1 the work is started again.")
    if report.later:
        out.print(f"{report.later:,} parked since this began: look at the error before another run.")
    for message_id, reason in list(report.left.items())[:_SHOWN]:
        click.echo(f"Message {message_id} is left in the queue: {reason}.", err=True)
    if len(report.left) > _SHOWN:
        rest = len(report.left) - _SHOWN
        click.echo(f"{rest:,} more cannot be started; {options.named('json', '1')} lists them all.", err=True)
    if report.unseen:
        click.echo(
            f"{report.unseen:,} messages are being read by another run, or were by one that was killed: they"
            " come back by themselves within minutes; run it again then.",
            err=True,
        )


def _show_photos(report: Report) -> None:
    out = terminal.console()
    rows = [
        (one.error, f"{one.messages:,}", one.oldest, one.example, executions.shortened(one.cause))
        for one in report.sorted_groups()
    ]
    title = f"Dead-letter queue of {report.environment}"
    columns = ("Error", "Messages", "Oldest", "For example", "Why")
    if rows:
        out.print(terminal.table(*columns, rows=rows, numbers=("Messages",), title=title))
    if len(report.photos) > len(report.groups):
        photos = [
            (one["parked"], one["error"], terminal.shown_key(one["key"]) if one["key"] else one["message_id"])
            for one in report.photos[:_SHOWN]
        ]
        out.print("", terminal.table("Parked", "Error", "Key", rows=photos), sep="\n")
    if report.messages > _SHOWN:
        every = f"{options.named('json', '1')} lists all {report.messages:,}"
        out.print(f"Only the first {_SHOWN} photos are shown; {every}.")
    if report.cut_short:
        out.print(f"Only the first {report.messages:,} messages were read.")
