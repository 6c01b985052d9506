"""`trace`: one photo's history, from its upload to the last notification."""

from __future__ import annotations

from datetime import datetime

import click

from operations import executions, history, logs, options, terminal, uploads
from operations.deployment import Deployment
from operations.errors import UserError
from operations.history import Moment
from operations.uploads import listing


@click.command
@click.argument("key", required=False, type=options.KEY)
@options.environment
@options.as_json
def command(key: str | None, env: str, as_json: bool) -> None:
    """Show one photo's way: times, tries and their errors, log lines, record."""
    if not key:
        raise UserError(f"Say which photo: make trace ENV={env} KEY=holiday/beach.jpg")
    deployment = Deployment.load(env)
    key = uploads.choose(deployment, key)
    with terminal.progress(f"Looking for {terminal.shown_key(key)}", hidden=as_json):
        moments = trace(deployment, key)
    if not moments:
        raise UserError(
            f"Nothing is known of {terminal.shown_key(key)} in ENV={env}; keys are exact: letter case, spaces"
            " and the folder count."
        )
    if as_json:
        options.print_json([one._asdict() for one in moments])
    else:
        _show(moments)


def trace(deployment: Deployment, key: str) -> list[Moment]:
    """Everything known to have happened to `key`, ordered by time."""
    moments = [
        Moment(one.modified, "uploaded", f"{options.size(one.size)}, version {one.version_id or 'none'}")
        for one in listing(deployment, key)
        if one.key == key
    ]
    recorded, parked = history.known(deployment, key)
    for record in recorded:
        outcome = " ".join(str(record[name]) for name in ("Outcome", "Reason") if record.get(name))
        # The timestamp is from the start of the analysis; the write is slightly later.
        moments.append(Moment(datetime.fromisoformat(record["Timestamp"]), "analysis recorded", outcome))
        if record.get("NotifiedAt"):
            moments.append(Moment(datetime.fromisoformat(record["NotifiedAt"]), "notified"))
    for event in parked:
        why = f"{event.error}: {executions.shortened(event.cause)}"
        moments.append(Moment(event.sent, "parked in the dead-letter queue", why, failed=True))
    runs = history.runs(deployment, recorded, parked)
    moments += [moment for run in runs for moment in run.moments]
    functions = sorted(deployment.value("function_names"))
    moments += [
        Moment(line.time, f"  {line.function} logged", f"{line.level} {line.text}".strip())
        for line in logs.of_executions(deployment, runs, functions)
    ]
    return sorted(moments, key=lambda one: one.time)


def _show(moments: list[Moment]) -> None:
    first = moments[0].time
    rows = [
        (f"{one.time:%Y-%m-%d %H:%M:%S}", f"{(one.time - first).total_seconds():.2f} s", one.what, one.detail)
        for one in moments
    ]
    columns = ("Time (UTC)", "After", "What", "Detail")
    failed = {one.what for one in moments if one.failed}
    terminal.console().print(terminal.table(*columns, rows=rows, numbers=("After",), red=failed))
