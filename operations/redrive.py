"""`redrive`: show what is in the dead-letter queue and, when confirmed, start its work again."""

from __future__ import annotations

import sys
from collections import Counter
from concurrent.futures import ThreadPoolExecutor, wait
from dataclasses import asdict, dataclass, field
from datetime import timedelta
from itertools import islice
from typing import Any

import click

from operations import buffer, executions, options, terminal, uploads
from operations.dead_letters import BATCH, NotAnEventError, ParkedEvent, Queue
from operations.deployment import Deployment
from operations.errors import UserError

# Long enough for one batch under any throttling; if this process is killed, the messages reappear after that.
_HIDDEN_SECONDS = 120
# Messages to show; JSON has them all.
_SHOWN = 20


@dataclass
class Report:
    """The result of a redrive; messages that were not started are still in the queue.

    `photos` lists every chosen message: `message_id`, `key` (empty if it has none), `error`, `cause` and
    `parked` (ISO 8601, UTC). `left` has the messages that cannot be started and why; `later` counts those
    parked after this run began, `not_chosen` those with other keys or errors, `unseen` those in flight with
    another run or one that was killed.
    """

    environment: str
    confirmed: bool
    messages: int = 0
    started: int = 0
    already_started: int = 0
    later: int = 0
    not_chosen: int = 0
    unseen: int = 0
    left: dict[str, str] = field(default_factory=dict)
    photos: list[dict[str, str]] = field(default_factory=list)

    def count(self, event: ParkedEvent) -> None:
        self.messages += 1
        self.photos.append(
            {
                "message_id": event.message_id,
                "key": event.key(),
                "error": event.error,
                "cause": executions.shortened(event.cause),
                "parked": event.sent.isoformat(timespec="seconds"),
            }
        )

    def groups(self) -> list[dict[str, Any]]:
        """The photos by error, most frequent first: the number of `messages`, and details of the oldest."""
        groups = []
        for error, count in Counter(one["error"] for one in self.photos).most_common():
            one = min((one for one in self.photos if one["error"] == error), key=lambda one: one["parked"])
            oldest = {"oldest": one["parked"], "example": _named(one), "cause": one["cause"]}
            groups.append({"error": error, "messages": count, **oldest})
        return groups


def _named(photo: dict[str, str]) -> str:
    return terminal.shown_key(photo["key"]) if photo["key"] else f"message {photo['message_id']}"


def redrive(
    deployment: Deployment,
    *,
    key: str | None = None,
    error: str | None = None,
    confirmed: bool = True,
    quiet: bool = True,
) -> Report:
    """Start the workflow for every event that was parked before now; only list them unless `confirmed`.

    `key` selects one photo's events, `error` those whose error contains that text. In buffered mode, the
    events go through the buffer too.

    A message is deleted only after its execution was accepted. If this process is killed in between, the next
    run finds that the execution's name is taken and deletes the message.

    Raises what AWS raises; messages that were not started are still in the queue.
    """
    report = Report(deployment.environment.name, confirmed)
    what = "Starting again" if confirmed else "Reading the queue"
    with terminal.progress(what, hidden=quiet) as update, Queue(deployment) as queue:
        total, now = queue.at_first
        events = queue.events(hidden_seconds=_HIDDEN_SECONDS if confirmed else None)
        while batch := list(islice(events, BATCH)):
            inputs: dict[ParkedEvent, dict[str, Any]] = {}
            for event in batch:
                of_key = key is None or event.key() in uploads.forms(key)
                if not of_key or (error or "").lower() not in event.error.lower():
                    report.not_chosen += 1
                # An execution that fails again parks a new message. Leave it to the next run, or this one
                # would never end while the fault lasts. The queue's clock has a resolution of one second.
                elif confirmed and event.sent >= now + timedelta(seconds=1):
                    report.later += 1
                else:
                    report.count(event)
                    try:
                        inputs[event] = event.execution_input()
                    except NotAnEventError as reason:
                        report.left[event.message_id] = str(reason)
            if confirmed:
                _start(deployment, queue, inputs, report)
            done = report.messages + report.not_chosen
            # The total is approximate.
            update(done, max(done, total))
        report.unseen = queue.held_elsewhere()
    return report


def _start(
    deployment: Deployment, queue: Queue, inputs: dict[ParkedEvent, dict[str, Any]], report: Report
) -> None:
    start = buffer.put if buffer.is_used(deployment) else executions.start
    with ThreadPoolExecutor(BATCH) as pool:
        futures = {
            pool.submit(start, deployment, content, f"redrive-{event.message_id}"): event
            for event, content in inputs.items()
        }
        try:
            wait(futures)
        finally:
            # When interrupted too: delete what was accepted; the rest is returned to the queue.
            wait(futures)
            accepted = [one for one in futures if not one.exception()]
            fresh = sum(future.result() is not None for future in accepted)
            report.started += fresh
            report.already_started += len(accepted) - fresh
            queue.delete([futures[future] for future in accepted])
        for future in futures:
            future.result()


def discard(deployment: Deployment, message_id: str, *, confirmed: bool) -> ParkedEvent:
    """Find one message and, when confirmed, delete it for good.

    Raises UserError when it is not in the queue, another reader holds it, or SQS does not delete it.
    """
    name = deployment.environment.name
    with Queue(deployment) as queue:
        for event in queue.events(hidden_seconds=_HIDDEN_SECONDS):
            if event.message_id == message_id:
                if confirmed and not queue.delete([event]):
                    raise UserError(f"SQS keeps message {message_id} of ENV={name}; run it again.")
                return event
        unseen = queue.held_elsewhere()
    held = f" ({unseen:,} are being read by somebody else; try again in two minutes)" if unseen else ""
    raise UserError(
        f"There is no message {message_id} in the dead-letter queue of ENV={name}{held};"
        f" 'make redrive ENV={name}' names those that cannot be started."
    )


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
        event = discard(deployment, message_id, confirmed=confirm)
        if as_json:
            options.print_json({"message_id": message_id, "body": event.body, "discarded": confirm})
            return
        # The full body, so that there is a copy of what is deleted.
        click.echo(options.json_text(event.body))
        click.echo(
            "It is deleted." if confirm else "Nothing was changed; with CONFIRM=1 it is deleted for good."
        )
        return
    report = redrive(deployment, key=key, error=error, confirmed=confirm, quiet=as_json)
    if report.not_chosen and not report.messages:
        given = [name for name, value in (("key", key), ("error", error)) if value is not None]
        raise UserError(
            f"None of the {report.not_chosen:,} messages in the dead-letter queue of ENV={env} is of that"
            f" {' and '.join(given)}; 'make redrive ENV={env}' shows them."
        )
    if as_json:
        options.print_json({**asdict(report), "groups": report.groups()})
    else:
        _show(report)
    if report.unseen or (report.left and confirm):
        sys.exit(1)


def _show(report: Report) -> None:
    out, groups = terminal.console(), report.groups()
    if not (groups or report.later or report.unseen):
        out.print(f"The dead-letter queue of {report.environment} is empty.")
        return
    if groups:
        rows = [
            (one["error"], f"{one['messages']:,}", one["oldest"], one["example"], one["cause"])
            for one in groups
        ]
        columns = ("Error", "Messages", "Oldest", "For example", "Why")
        title = f"Dead-letter queue of {report.environment}"
        out.print(terminal.table(*columns, rows=rows, numbers=("Messages",), title=title))
    if report.messages > len(groups):
        photos = [(one["parked"], one["error"], _named(one)) for one in report.photos[:_SHOWN]]
        out.print("", terminal.table("Parked", "Error", "Key", rows=photos), sep="\n")
    if report.messages > _SHOWN:
        every = f"{options.named('json', '1')} lists all {report.messages:,}"
        out.print(f"Only the first {_SHOWN} photos are shown; {every}.")
    if report.confirmed:
        already = f", {report.already_started:,} ran already" if report.already_started else ""
        out.print(f"{report.started:,} started{already}.")
    elif report.messages > len(report.left):
        out.print("Nothing was changed; with CONFIRM=1 the work is started again.")
    _show_left(report)


def _show_left(report: Report) -> None:
    if report.later:
        click.echo(f"{report.later:,} parked since this began: look at the error before another run.")
    for message_id, reason in list(report.left.items())[:_SHOWN]:
        click.echo(f"Message {message_id} is left in the queue: {reason}.", err=True)
    if report.unseen:
        click.echo(
            f"{report.unseen:,} messages are being read by another run, or were by one that was killed: they"
            " come back by themselves within minutes; run it again then.",
            err=True,
        )
