"""Photos that were there before: count them, say what they cost, run the workflow for each."""

from __future__ import annotations

import json
import os
import sys
import time
import uuid
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import click

from operations import options, program
from operations.errors import UserError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from operations.deployment import Deployment

# Step Functions gathers a run's answers, two bytes each, in 256 KiB.
# https://docs.aws.amazon.com/step-functions/latest/dg/service-quotas.html
MAX_PHOTOS = 100_000

_POLL_SECONDS = 1.0
# How long a run that was stopped may take to end.
_STOP_SECONDS = 30.0
# How often a log, which shows no progress bar, is told.
_TOLD_SECONDS = 10.0
# An execution's own time beside the function's: starting it, its steps, and hearing of its end.
_OVERHEAD_SECONDS = 0.5


@dataclass
class Survey:
    """What is under a prefix; folder markers are no photos. `new`: photos without a record."""

    prefix: str
    photos: int = 0
    bytes: int = 0
    new: int = 0
    concurrency: int = 1


@click.command
@click.argument("prefix", required=False)
@options.environment
@click.option("--notify", is_flag=True, help="Notify the subscribers as for a new upload.")
@options.confirm("Analyse them")
@options.dry_run
@options.as_json
def command(
    prefix: str | None, env: str, notify: bool, confirm: bool, dry_run: bool | None, as_json: bool
) -> None:
    """Analyse every photo under PREFIX that has no record yet ('' for the whole bucket).

    Nobody is notified unless asked for. Ctrl-C stops it, and what is on its way then still ends; run it again
    to go on, what is recorded is skipped before Rekognition is paid for. How many at once:
    backfill_concurrency in the environment's tfvars.
    """
    from operations.deployment import Deployment

    confirm = options.confirmed(confirm, dry_run)
    # An empty variable counts as none given, and here it is a prefix.
    if prefix is None and "PREFIX" in os.environ and program.under_make():
        prefix = ""
    if prefix is None:
        raise UserError(
            f"Say which photos: make backfill ENV={env} PREFIX=archive/ (PREFIX= for the whole bucket)."
        )
    deployment = Deployment.load(env)
    running = _running(deployment, prefix) if confirm else None
    survey = _survey_with_progress(deployment, prefix, quiet=as_json)
    if not survey.photos:
        raise UserError(
            f"There is no photo under '{prefix}' in {deployment.bucket}; prefixes are exact, as in"
            " '2025/03/'."
        )
    # With nothing new, each photo would cost an execution to find out that it is recorded.
    started = confirm and bool(survey.new or running)
    dollars, seconds = forecast(deployment, survey, notify=notify)
    result: dict[str, Any] = {
        **asdict(survey),
        "notify": notify,
        "estimated_dollars": round(dollars, 2),
        "estimated_seconds": round(seconds),
        "started": started,
    }
    if not as_json:
        _show(survey, dollars, seconds, notify=notify)
    if started:
        _refuse_too_many(survey)
        if running and not as_json:
            click.echo("It is running already; following it.")
        execution = running or start(deployment, prefix, notify=notify)
        result |= _follow_with_progress(deployment, execution, survey, quiet=as_json)
    _conclude(result, env, deployment.bucket, confirmed=confirm, as_json=as_json)


def _conclude(result: dict[str, Any], env: str, bucket: str, *, confirmed: bool, as_json: bool) -> None:
    if as_json:
        options.print_json(result)
    elif not confirmed:
        click.echo("Nothing is started yet; CONFIRM=1 starts it.")
    if result.get("failed"):
        raise UserError(
            f"Photos that failed: {result['failed']:,}; 'make status ENV={env}' says why, and once that is"
            f" mended 'make redrive ENV={env}' starts those in the dead-letter queue again."
        )
    if confirmed and not as_json:
        where = f"under '{result['prefix']}'" if result["prefix"] else f"in {bucket}"
        click.echo(f"Done: every photo {where} has a record.")


def survey_prefix(
    deployment: Deployment, prefix: str, seen: Callable[[Survey], None] = lambda _: None
) -> Survey:
    """List the bucket under `prefix` and look up which objects have a record, a page at a time."""
    from operations import records

    found = Survey(prefix, concurrency=_concurrency(deployment))
    pages = deployment.client("s3").get_paginator("list_objects_v2")
    for page in pages.paginate(Bucket=deployment.bucket, Prefix=prefix):
        photos = [one for one in page.get("Contents", []) if not one["Key"].endswith("/")]
        found.photos += len(photos)
        found.bytes += sum(int(one["Size"]) for one in photos)
        for at in range(0, len(photos), records.BATCH):
            part = [records.image_id(one["Key"], one["ETag"]) for one in photos[at : at + records.BATCH]]
            found.new += len(part) - len(records.recorded(deployment, part))
        seen(found)
    return found


def _concurrency(deployment: Deployment) -> int:
    described = deployment.client("stepfunctions").describe_state_machine(
        stateMachineArn=_state_machine(deployment)
    )
    return int(json.loads(described["definition"])["States"]["EachObject"]["MaxConcurrency"])


def _state_machine(deployment: Deployment) -> str:
    arn = deployment.outputs.get("backfill_state_machine_arn")
    if not arn:
        name = deployment.environment.name
        raise UserError(f"ENV={name} was deployed before there was a backfill; run 'make apply ENV={name}'.")
    return str(arn)


def forecast(deployment: Deployment, survey: Survey, *, notify: bool) -> tuple[float, float]:
    """Dollars and seconds a backfill takes; recorded photos cost their execution, not their analysis."""
    from operations.cost import PriceList, estimate, measure

    prices = PriceList.load()
    measured, _ = measure(deployment.environment)
    settings = dict(deployment.environment.settings)
    if not notify:
        settings["subscriptions"] = {}
    lines = [
        line
        for line in estimate(settings, max(survey.new, 1), 0, prices, measured)
        # The photos are there already, and months are paid for anyway.
        if line.group == "each image" and line.what != "upload"
    ]
    dollars = sum(line.dollars for line in lines) if survey.new else 0.0
    # Each photo's own run in the map has one state and its end; a skipped one runs the workflow as well.
    transition = prices.prices["states_transition"]["tiers"][-1][1]
    dollars += survey.photos * 2 * transition
    if settings.get("workflow_type", "STANDARD") == "STANDARD":
        dollars += (survey.photos - survey.new) * prices.assumptions["standard_transitions"] * transition
    each = {**prices.assumptions, **measured}["process_image_seconds"]
    skipped = survey.photos - survey.new
    seconds = (survey.new * (each + _OVERHEAD_SECONDS) + skipped * _OVERHEAD_SECONDS) / survey.concurrency
    return dollars, seconds


def _refuse_too_many(survey: Survey) -> None:
    if survey.photos > MAX_PHOTOS:
        raise UserError(
            f"There are {survey.photos:,} photos under '{survey.prefix}', and one backfill takes"
            f" {MAX_PHOTOS:,}; go through them with longer prefixes."
        )


def _running(deployment: Deployment, prefix: str) -> str | None:
    """The execution that works on `prefix` now, be it one that was stopped and has not ended.

    Raises UserError when another prefix is being worked on.
    """
    client, machine = deployment.client("stepfunctions"), _state_machine(deployment)
    running, stopped = (
        client.list_executions(stateMachineArn=machine, statusFilter=status, maxResults=most)["executions"]
        for status, most in (("RUNNING", 10), ("ABORTED", 1))
    )
    for execution in (*running, *stopped):
        arn = str(execution["executionArn"])
        if execution in stopped and not _map_runs(client, arn):
            continue
        working_on = json.loads(client.describe_execution(executionArn=arn)["input"]).get("prefix")
        if working_on == prefix:
            return arn
        raise UserError(f"A backfill of '{working_on}' is running already; wait for it, or stop {arn} first.")
    return None


def start(deployment: Deployment, prefix: str, *, notify: bool) -> str:
    """Start the backfill; answer the execution's ARN."""
    answer = deployment.client("stepfunctions").start_execution(
        stateMachineArn=_state_machine(deployment),
        name=f"backfill-{uuid.uuid4()}",
        input=json.dumps({"prefix": prefix, "notify": notify}),
    )
    return str(answer["executionArn"])


def _map_runs(client: Any, execution: str) -> bool:
    """Whether the execution's map run has begun and not ended."""
    runs = client.list_map_runs(executionArn=execution)["mapRuns"]
    return bool(runs) and client.describe_map_run(mapRunArn=runs[0]["mapRunArn"])["status"] == "RUNNING"


def follow(deployment: Deployment, execution: str) -> Iterator[dict[str, Any]]:
    """Yield `total`, `succeeded`, `failed`, `running` and `pending` until the execution is done.

    Raises UserError when it ends in any way but well.
    """
    client = deployment.client("stepfunctions")
    run: str | None = None
    going_on = False
    while True:
        described = client.describe_execution(executionArn=execution)
        if run is None:
            runs = client.list_map_runs(executionArn=execution)["mapRuns"]
            run = runs[0]["mapRunArn"] if runs else None
        if run:
            mapped = client.describe_map_run(mapRunArn=run)
            counts, going_on = mapped["itemCounts"], mapped["status"] == "RUNNING"
            yield {
                "total": counts["total"],
                "succeeded": counts["succeeded"],
                "failed": counts["failed"] + counts["timedOut"] + counts["aborted"],
                "running": counts["running"],
                "pending": counts["pending"],
            }
        if described["status"] == "SUCCEEDED":
            return
        if described["status"] != "RUNNING" and not going_on:
            error, cause = (described.get(name) or "nothing said" for name in ("error", "cause"))
            raise UserError(
                f"The backfill ended {described['status']} ({error}: {cause}); run it again to go on."
            )
        time.sleep(_POLL_SECONDS)


def _survey_with_progress(deployment: Deployment, prefix: str, *, quiet: bool) -> Survey:
    from rich.markup import escape

    from operations.terminal import console

    if quiet:
        return survey_prefix(deployment, prefix)
    what = f"Counting '{escape(prefix)}'"
    with console(errors=True).status(what) as status:
        return survey_prefix(
            deployment,
            prefix,
            lambda found: status.update(f"{what}: {found.photos:,} photos, {found.new:,} new"),
        )


def _follow_with_progress(
    deployment: Deployment, execution: str, survey: Survey, *, quiet: bool
) -> dict[str, Any]:
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    from operations.terminal import console

    last: dict[str, Any] = {"total": survey.photos, "succeeded": 0, "failed": 0}
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    screen = console(errors=True)
    log = not (quiet or screen.is_terminal)
    told = time.monotonic()
    try:
        with Progress(*columns, console=screen, disable=quiet or log) as progress:
            task = progress.add_task("Backfilling", total=survey.photos)
            for last in follow(deployment, execution):
                if log and time.monotonic() - told >= _TOLD_SECONDS:
                    told = time.monotonic()
                    click.echo(f"{last['succeeded'] + last['failed']:,} of {last['total']:,} done", err=True)
                failed = f", {last['failed']:,} failed" if last["failed"] else ""
                progress.update(
                    task,
                    total=last["total"] or survey.photos,
                    completed=last["succeeded"] + last["failed"],
                    description=f"Backfilling ({last['running']:,} at once{failed})",
                )
    except KeyboardInterrupt:
        click.echo("Stopping; what is on its way still ends.", err=True)
        ended = _stop(deployment, execution)
        done = last["succeeded"] + last["failed"]
        click.echo(
            f"Stopped after {done:,} of {last['total']:,} photos, or a few more; run it again to go on,"
            " recorded ones are skipped."
            if ended
            else f"Told to stop, it still goes on after {_STOP_SECONDS:.0f} s; run it again to follow it.",
            err=True,
        )
        sys.exit(130)
    return {"execution": execution, **last}


def _stop(deployment: Deployment, execution: str) -> bool:
    """Stop the execution; answer whether its map run has ended, which takes a moment."""
    client = deployment.client("stepfunctions")
    try:
        client.stop_execution(executionArn=execution, error="Stopped", cause="Ctrl-C in 'backfill'")
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


def _show(survey: Survey, dollars: float, seconds: float, *, notify: bool) -> None:
    from rich.table import Table

    from operations.terminal import console

    table = Table(box=None, pad_edge=False, show_header=False, padding=(0, 3, 0, 0))
    table.add_row("Photos", f"{survey.photos:,} ({options.size(survey.bytes)})")
    table.add_row("Recorded already", f"{survey.photos - survey.new:,}")
    table.add_row("To analyse", f"[bold]{survey.new:,}[/]")
    table.add_row("At once", f"{survey.concurrency:,}")
    table.add_row("Notifications", "as for new uploads" if notify else "none")
    table.add_row("Cost, about", f"{dollars:,.2f} USD")
    table.add_row("Duration, about", options.duration(seconds))
    console().print(table)
