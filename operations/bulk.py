"""Runs the workflow for many photos, so many at once, through the state machine made for that."""

from __future__ import annotations

import itertools
import json
import sys
import time
import uuid
from typing import TYPE_CHECKING, Any

import click

from operations import executions, terminal
from operations.errors import UserError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from operations.deployment import Deployment

# An execution's input holds at most 256 KiB; the purpose and the list's own characters take little of it.
# https://docs.aws.amazon.com/step-functions/latest/dg/service-quotas.html
MAX_INPUT_BYTES = 250_000
# What the state machine adds to a photo's own execution: its run in the map, and that run's end.
TRANSITIONS = 2

_POLL_SECONDS = 1.0
# How long a run that was stopped may take to end.
_STOP_SECONDS = 30.0
# How often a log, which shows no progress bar, gets a line.
_LOG_SECONDS = 10.0


def concurrency(deployment: Deployment) -> int:
    """How many photos are worked on at once."""
    described = deployment.client("stepfunctions").describe_state_machine(
        stateMachineArn=_state_machine(deployment)
    )
    return int(json.loads(described["definition"])["States"]["EachObject"]["MaxConcurrency"])


def run(
    deployment: Deployment, purpose: str, events: Iterable[dict[str, Any]], total: int, *, quiet: bool
) -> dict[str, Any]:
    """Run the workflow for each event and follow it; return `succeeded`, `failed` and the last `execution`.

    A run for the same purpose that is on its way is followed first. What failed in it has no result, so it is
    among the events and starts again here: only that second failure counts.
    Ctrl-C stops what has not begun, and ends this process.

    Args:
        purpose: what is done, for people; one purpose is worked on at a time.
        events: workflow inputs, read a few hundred at a time.
    """
    done = {"succeeded": 0, "failed": 0}
    result: dict[str, Any] = {}
    execution = joined = running(deployment, purpose)
    if execution and not quiet:
        click.echo("It is running already; following it.")
    pieces = chunks(events)
    with terminal.progress(purpose, total=total, hidden=quiet) as update:
        report = _reporter(update, purpose, total, quiet=quiet)
        # What another run is working on is recorded by the time the events are read.
        while execution := execution or next((start(deployment, purpose, piece) for piece in pieces), None):
            result = {"execution": execution}
            counts = {"succeeded": 0, "failed": 0}
            try:
                for counts in follow(deployment, execution):
                    report(done["succeeded"] + counts["succeeded"], done["failed"] + counts["failed"])
            except KeyboardInterrupt:
                _interrupted(deployment, execution, sum((*done.values(), *counts.values())), total)
            done["succeeded"] += counts["succeeded"]
            done["failed"] += counts["failed"] if execution != joined else 0
            execution = None
    return {**done, **result}


def _reporter(
    update: terminal.Update, purpose: str, total: int, *, quiet: bool
) -> Callable[[int, int], None]:
    log = not (quiet or terminal.console(errors=True).is_terminal)
    last = time.monotonic()

    def report(succeeded: int, failed: int) -> None:
        nonlocal last
        update(succeeded + failed, total, f"{purpose}, {failed:,} failed" if failed else purpose)
        if log and time.monotonic() - last >= _LOG_SECONDS:
            last = time.monotonic()
            click.echo(f"{succeeded + failed:,} of {total:,} done", err=True)

    return report


def chunks(events: Iterable[dict[str, Any]]) -> Iterator[list[dict[str, Any]]]:
    """The events in lists, each as long as one execution takes."""
    piece: list[dict[str, Any]] = []
    size = 0
    for event in events:
        # As boto3's caller and Step Functions count it: escaped, in bytes.
        length = len(json.dumps(event)) + 2
        if piece and size + length > MAX_INPUT_BYTES:
            yield piece
            piece, size = [], 0
        piece.append(event)
        size += length
    if piece:
        yield piece


def start(deployment: Deployment, purpose: str, events: list[dict[str, Any]]) -> str:
    """Start it for `events`; return the execution's ARN."""
    content = {"purpose": purpose, "events": events}
    return str(
        executions.start(
            deployment, content, f"bulk-{uuid.uuid4()}", state_machine=_state_machine(deployment)
        )
    )


def running(deployment: Deployment, purpose: str) -> str | None:
    """The execution that works for `purpose` now, also when it was stopped and has not ended.

    Raises UserError when another purpose is being worked on.
    """
    client, machine = deployment.client("stepfunctions"), _state_machine(deployment)
    active, stopped = (
        client.list_executions(stateMachineArn=machine, statusFilter=status, maxResults=most)["executions"]
        for status, most in (("RUNNING", 10), ("ABORTED", 1))
    )
    for execution in itertools.chain(active, stopped):
        arn = str(execution["executionArn"])
        if execution in stopped and not _map_runs(client, arn):
            continue
        other = json.loads(client.describe_execution(executionArn=arn)["input"]).get("purpose")
        if other == purpose:
            return arn
        raise UserError(f"This is running already: {other}. Wait for it, or stop {arn} first.")
    return None


def _state_machine(deployment: Deployment) -> str:
    return str(deployment.value("backfill_state_machine_arn"))


def _map_runs(client: Any, execution: str) -> bool:
    """Whether the execution's map run has begun and not ended."""
    runs = client.list_map_runs(executionArn=execution)["mapRuns"]
    return bool(runs) and client.describe_map_run(mapRunArn=runs[0]["mapRunArn"])["status"] == "RUNNING"


def follow(deployment: Deployment, execution: str) -> Iterator[dict[str, int]]:
    """Yield how many have `succeeded` and `failed` until the execution is done.

    Raises UserError when it ends in any way but well.
    """
    client = deployment.client("stepfunctions")
    map_run: str | None = None
    going_on = False
    while True:
        # Without the input, which holds all events.
        described = client.describe_execution(executionArn=execution, includedData="METADATA_ONLY")
        if map_run is None:
            runs = client.list_map_runs(executionArn=execution)["mapRuns"]
            map_run = runs[0]["mapRunArn"] if runs else None
        if map_run:
            mapped = client.describe_map_run(mapRunArn=map_run)
            counts, going_on = mapped["itemCounts"], mapped["status"] == "RUNNING"
            yield {
                "succeeded": counts["succeeded"],
                "failed": counts["failed"] + counts["timedOut"] + counts["aborted"],
            }
        if described["status"] == "SUCCEEDED":
            return
        if described["status"] != "RUNNING" and not going_on:
            error, cause = (described.get(name) or "nothing said" for name in ("error", "cause"))
            raise UserError(f"It ended {described['status']} ({error}: {cause}); run it again to go on.")
        time.sleep(_POLL_SECONDS)


def _interrupted(deployment: Deployment, execution: str, done: int, total: int) -> None:
    click.echo("Stopping; what is on its way still ends.", err=True)
    click.echo(
        f"Stopped after {done:,} of {total:,} photos, or a few more; run it again to go on,"
        " recorded ones are skipped."
        if stop(deployment, execution)
        else f"It was stopped and still goes on after {_STOP_SECONDS:.0f} s; run it again to follow it.",
        err=True,
    )
    sys.exit(130)


def stop(deployment: Deployment, execution: str) -> bool:
    """Stop the execution; return whether its map run has ended, which takes a moment."""
    client = deployment.client("stepfunctions")
    try:
        client.stop_execution(executionArn=execution, error="Stopped", cause="Ctrl-C")
    except client.exceptions.ClientError as error:
        # It ended by itself just then.
        if error.response["Error"].get("Code") != "ValidationException":
            raise
    deadline = time.monotonic() + _STOP_SECONDS
    while _map_runs(client, execution):
        if time.monotonic() > deadline:
            return False
        time.sleep(_POLL_SECONDS)
    return True
