"""`logs`: the functions' log lines, for all photos or for one."""

from __future__ import annotations

import json
import re
import time
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from functools import partial
from itertools import chain
from typing import Any, NamedTuple

import click

from operations import history, options, terminal, uploads
from operations.deployment import Deployment, together
from operations.errors import UserError

_POLL_SECONDS = 2.0
# A line may reach CloudWatch some seconds after it was written.
_LATE = timedelta(seconds=30)
# The request id in a plain-text line.
_REQUEST = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}")
# Fields that every line has.
_COMMON = frozenset({"timestamp", "time", "level", "message", "logger", "requestId", "type", "record"})


class Line(NamedTuple):
    """One line of a function's log. `request_id` is its invocation's, or empty."""

    time: datetime
    function: str
    level: str
    text: str
    request_id: str
    event_id: str

    @classmethod
    def of(cls, function: str, event: dict[str, Any]) -> Line:
        """Parse a line as CloudWatch returns it; functions log in JSON, but crash in plain text."""
        moment = datetime.fromtimestamp(event["timestamp"] / 1000, UTC)
        message = str(event["message"]).strip()
        # The local cloud has no event ids.
        number = event.get("eventId") or f"{event['logStreamName']} {message}"
        content = None
        with suppress(ValueError):
            content = json.loads(message)
        if not isinstance(content, dict):
            found = _REQUEST.search(message)
            return cls(moment, function, "", message, found[0] if found else "", number)
        record = content.get("record") or {}
        more = {name: value for name, value in content.items() if name not in _COMMON and value is not None}
        more |= record.get("metrics") or {}
        words = [str(content.get("message") or content.get("type") or "")]
        words += [f"{name}={one if isinstance(one, str) else json.dumps(one)}" for name, one in more.items()]
        request = content.get("requestId") or record.get("requestId") or ""
        return cls(moment, function, content.get("level") or "", " ".join(words), request, number)


@click.command
@options.environment
@click.option("--key", type=options.KEY, help="Only of this photo's executions.")
@click.option("--function", help="Only of this function, such as process_image.")
@click.option(
    "--minutes", type=click.IntRange(1), default=15, show_default=True, help="How far to look back."
)
@click.option("--follow", is_flag=True, help="Go on with new lines until Ctrl-C.")
@click.option("--json", "as_json", is_flag=True, help="Print a line of JSON for each line.")
def command(
    env: str, key: str | None, function: str | None, minutes: int, follow: bool, as_json: bool
) -> None:
    """Show what the functions log, of all photos or of one."""
    if key and follow:
        raise UserError("What one photo logged is there already; leave one of KEY= and FOLLOW= out.")
    deployment = Deployment.load(env)
    functions = [function] if function else sorted(deployment.value("function_names"))
    since = datetime.now(UTC) - timedelta(minutes=minutes)
    if key:
        key = uploads.choose(deployment, key)
        runs = history.runs(deployment, *history.known(deployment, key))
        found = of_executions(deployment, runs, functions)
        if not found and not as_json:
            click.echo(f"No log names {terminal.shown_key(key)}; 'make trace' shows its way.", err=True)
    else:
        found = _all(deployment, functions, since)
    _print(found, as_json)
    # Ctrl-C is the way to end it.
    with suppress(KeyboardInterrupt):
        while follow:
            time.sleep(_POLL_SECONDS)
            seen = {line.event_id for line in found}
            found = _all(deployment, functions, datetime.now(UTC) - _LATE)
            _print([line for line in found if line.event_id not in seen], as_json)


def _print(lines: list[Line], as_json: bool) -> None:
    for line in lines:
        if as_json:
            shown = line._asdict()
            del shown["event_id"]
            click.echo(options.json_text(shown))
        else:
            place = f"{line.time:%H:%M:%S.%f}"[:-3] + f" {line.function:17} {line.level:5} "
            click.echo(place + terminal.visible(line.text))


def _all(deployment: Deployment, functions: list[str], since: datetime) -> list[Line]:
    """The lines of all `functions`, ordered by time."""
    return sorted(chain(*together(*(partial(read, deployment, name, since) for name in functions))))


def read(
    deployment: Deployment, function: str, since: datetime, until: datetime | None = None, term: str = ""
) -> list[Line]:
    """A function's lines, or those that contain `term`; raises UserError when there is no such function."""
    names = deployment.value("function_names")
    if function not in names:
        raise UserError(f"There is no function {function}; choose one of {', '.join(sorted(names))}.")
    pages = deployment.client("logs").get_paginator("filter_log_events")
    found = pages.paginate(
        logGroupName=f"/aws/lambda/{names[function]}",
        startTime=int(since.timestamp() * 1000),
        endTime=int((until or datetime.now(UTC) + _LATE).timestamp() * 1000),
        filterPattern=f'"{term}"' if term else "",
    )
    return [Line.of(function, event) for page in found for event in page["events"]]


def of_executions(deployment: Deployment, runs: list[history.Run], functions: list[str]) -> list[Line]:
    """The lines of all invocations by these executions, ordered by time."""
    found: set[Line] = set()
    for run in runs:
        since, until = run.started - _LATE, run.ended + 2 * _LATE
        for function in functions:
            named = {line.request_id for line in read(deployment, function, since, until, run.name)}
            for request in (run.request_ids | named) - {""}:
                found |= set(read(deployment, function, since, until, request))
    return sorted(found)
