"""Analyse many photos: forecast cost and time, then run them through the bulk state machine or the buffer."""

from __future__ import annotations

import contextlib
import itertools
import json
import sys
import time
import uuid
from typing import TYPE_CHECKING, Any

import click

from operations import buffer, executions, options, terminal
from operations.cost import ASSUMPTIONS, PRICES, converts, estimate, measure
from operations.errors import UserError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from operations.deployment import Deployment

# An execution's input holds at most 256 KiB; this leaves room for the purpose and the list's punctuation.
# https://docs.aws.amazon.com/step-functions/latest/dg/service-quotas.html
MAX_INPUT_BYTES = 250_000
# State transitions the map adds to each photo's own execution.
TRANSITIONS = 2

# An execution's time outside the functions: its start, its transitions, and the delay until its end is seen.
_OVERHEAD_SECONDS = 0.5
_POLL_SECONDS = 1.0
# How often to log progress where no bar is shown.
_LOG_SECONDS = 10.0


def analyse(
    deployment: Deployment,
    purpose: str,
    events: Iterable[dict[str, Any]],
    *,
    photos: int,
    convertible: int,
    counted: dict[str, Any],
    rows: list[tuple[str, str]],
    done: str,
    notify: bool,
    confirmed: bool,
    as_json: bool,
) -> None:
    """Show the cost and time of running the workflow for each event; when confirmed, run it and report.

    In buffered mode, the events go through the buffer and share the pace with live uploads.

    Args:
        purpose: a description for people; one purpose runs at a time.
        events: workflow inputs, read a few hundred at a time: `photos` of them.
        convertible: how many of the photos go to ConvertImage, where it is deployed.
        counted: the counts for JSON; `rows` for people.
        done: the final message.

    Raises UserError when another purpose is running, or photos fail.
    """
    env, settings = deployment.environment.name, deployment.environment.settings
    machine = deployment.client("stepfunctions").describe_state_machine(
        stateMachineArn=_state_machine(deployment)
    )
    at_once = int(json.loads(machine["definition"])["States"]["EachObject"]["MaxConcurrency"])
    buffered = buffer.is_used(deployment)
    convertible = convertible if converts(settings) else 0
    joined = running(deployment, purpose) if confirmed and not buffered else None
    dollars, seconds = forecast(deployment, photos, convertible, at_once, notify=notify, buffered=buffered)
    result = {
        **counted,
        "convertible": convertible,
        "concurrency": at_once,
        "notify": notify,
        "estimated_dollars": round(dollars, 2),
        "estimated_seconds": round(seconds),
        "started": confirmed and bool(photos or joined),
    }
    if not as_json:
        rows = [
            *rows,
            *([("To convert, about", f"{convertible:,}")] if converts(settings) else []),
            ("At once", f"{at_once:,}"),
            ("Notifications", "as for new uploads" if notify else "none"),
            ("Cost, about", f"{dollars:,.2f} USD"),
            ("Duration, about", options.duration(seconds)),
        ]
        terminal.console().print(terminal.table("", "", rows=rows, numbers=()))
    if result["started"] and buffered:
        result |= buffer.feed(deployment, events, photos, quiet=as_json)
    elif result["started"]:
        result |= run(deployment, purpose, joined, events, photos, quiet=as_json)
    failed = result.get("failed")
    if as_json:
        options.print_json(result)
    elif not confirmed:
        click.echo("Nothing is started yet; CONFIRM=1 starts it.")
    elif "queued" in result:
        click.echo(f"Queued: {result['queued']:,} photos, started at the pace; see 'make status ENV={env}'.")
    elif not failed:
        click.echo(f"Done: {done}")
    if failed:
        raise UserError(
            f"Photos that failed: {failed:,}; 'make status ENV={env}' says why, and once that is mended"
            f" 'make redrive ENV={env}' starts those in the dead-letter queue again."
        )


def forecast(
    deployment: Deployment, photos: int, convertible: int, at_once: int, *, notify: bool, buffered: bool
) -> tuple[float, float]:
    """Dollars and seconds to analyse `photos`, of which `convertible` go on to ConvertImage."""
    if not photos:
        return 0.0, 0.0
    measured, _ = measure(deployment)
    known = {**ASSUMPTIONS, **measured}
    measured["converted_share"] = convertible / photos
    dollars = sum(
        line.dollars
        for line in estimate(deployment.environment.settings, photos, 0, measured, notify=notify)
        # The photos are already uploaded, and monthly charges are due anyway.
        if line.group == "each image" and line.what != "upload"
    )
    if buffered:
        return dollars, photos / deployment.value("ingestion")["photos_per_second"]
    dollars += photos * TRANSITIONS * PRICES["states_transition"]["tiers"][-1][1]
    each = known["process_image_seconds"] + (known["send_notification_seconds"] if notify else 0)
    seconds = photos * (each + _OVERHEAD_SECONDS) + convertible * known["convert_image_seconds"]
    return dollars, seconds / at_once


def run(
    deployment: Deployment,
    purpose: str,
    joined: str | None,
    events: Iterable[dict[str, Any]],
    total: int,
    *,
    quiet: bool,
) -> dict[str, Any]:
    """Run the workflow for each event and follow it; return `succeeded`, `failed` and the last `execution`.

    A run for the same purpose that is already in progress, `joined`, is followed first, so that its photos
    are recorded by the time the events are read. Photos that failed in it have no record, so they are among
    the events and run again: only the second failure counts. Ctrl-C stops what has not started, and exits.
    """
    if joined and not quiet:
        click.echo("It is running already; following it.")
    result: dict[str, Any] = {"succeeded": 0, "failed": 0}
    log, logged = not (quiet or terminal.console(errors=True).is_terminal), time.monotonic()
    started = (start(deployment, purpose, piece) for piece in chunks(events))
    with terminal.progress(purpose, total=total, hidden=quiet) as update:
        for execution in itertools.chain([joined] if joined else [], started):
            result["execution"] = execution
            before, succeeded, failed = result["succeeded"] + result["failed"], 0, 0
            try:
                for succeeded, failed in follow(deployment, execution):
                    failures, so_far = result["failed"] + failed, before + succeeded + failed
                    update(so_far, total, f"{purpose}, {failures:,} failed" if failures else purpose)
                    if log and time.monotonic() - logged >= _LOG_SECONDS:
                        logged = time.monotonic()
                        click.echo(f"{so_far:,} of {total:,} done", err=True)
            except KeyboardInterrupt:
                _stop(deployment, execution)
                click.echo(
                    f"Stopped after {before + succeeded + failed:,} of {total:,} photos, or a few more;"
                    " run it again to go on, recorded ones are skipped.",
                    err=True,
                )
                sys.exit(130)
            result["succeeded"] += succeeded
            result["failed"] += failed if execution != joined else 0
    return result


def chunks(events: Iterable[dict[str, Any]]) -> Iterator[list[dict[str, Any]]]:
    """The events in lists, each small enough for one execution's input."""
    piece: list[dict[str, Any]] = []
    size = 0
    for event in events:
        # The size that is sent: ASCII, with everything else escaped.
        length = len(json.dumps(event)) + 2
        if piece and size + length > MAX_INPUT_BYTES:
            yield piece
            piece, size = [], 0
        piece.append(event)
        size += length
    if piece:
        yield piece


def start(deployment: Deployment, purpose: str, events: list[dict[str, Any]]) -> str:
    content, name = {"purpose": purpose, "events": events}, f"bulk-{uuid.uuid4()}"
    return str(executions.start(deployment, content, name, state_machine=_state_machine(deployment)))


def running(deployment: Deployment, purpose: str) -> str | None:
    """The execution now running for `purpose`, even if it was stopped and its map run has not ended.

    Raises UserError when another purpose is running.
    """
    client = deployment.client("stepfunctions")
    # Only one runs at a time, so the newest is enough.
    for one in client.list_executions(stateMachineArn=_state_machine(deployment), maxResults=1)["executions"]:
        arn = str(one["executionArn"])
        if one["status"] == "RUNNING" or (
            one["status"] == "ABORTED" and _map_run(client, arn).get("status") == "RUNNING"
        ):
            other = json.loads(client.describe_execution(executionArn=arn)["input"]).get("purpose")
            if other != purpose:
                raise UserError(f"This is running already: {other}. Wait for it, or stop {arn} first.")
            return arn
    return None


def _state_machine(deployment: Deployment) -> str:
    return str(deployment.value("backfill_state_machine_arn"))


def _map_run(client: Any, execution: str) -> dict[str, Any]:
    """The execution's map run as Step Functions describes it; empty before it starts."""
    runs = client.list_map_runs(executionArn=execution)["mapRuns"]
    return client.describe_map_run(mapRunArn=runs[0]["mapRunArn"]) if runs else {}


def follow(deployment: Deployment, execution: str) -> Iterator[tuple[int, int]]:
    """Yield how many have succeeded and how many failed until the execution is done.

    Raises UserError unless it succeeds.
    """
    client = deployment.client("stepfunctions")
    mapped: dict[str, Any] = {}
    while True:
        # Without the input, which holds all events.
        described = client.describe_execution(executionArn=execution, includedData="METADATA_ONLY")
        if mapped:
            mapped = client.describe_map_run(mapRunArn=mapped["mapRunArn"])
        else:
            mapped = _map_run(client, execution)
        if mapped:
            counts = mapped["itemCounts"]
            yield counts["succeeded"], counts["failed"] + counts["timedOut"] + counts["aborted"]
        if described["status"] == "SUCCEEDED":
            return
        if "RUNNING" not in (described["status"], mapped.get("status")):
            error, cause = (described.get(name) or "nothing said" for name in ("error", "cause"))
            raise UserError(f"It ended {described['status']} ({error}: {cause}); run it again to go on.")
        time.sleep(_POLL_SECONDS)


def _stop(deployment: Deployment, execution: str) -> None:
    """Stop the execution and wait for the photos it has started."""
    click.echo("Stopping; what is on its way still ends.", err=True)
    client = deployment.client("stepfunctions")
    with contextlib.suppress(client.exceptions.ValidationException):  # It has just ended by itself.
        client.stop_execution(executionArn=execution, error="Stopped", cause="Ctrl-C")
    with contextlib.suppress(UserError):  # It ends as ABORTED.
        list(follow(deployment, execution))
