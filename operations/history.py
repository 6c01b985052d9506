"""What happened in each execution for one photo, step by step."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from operations import executions, keys, records
from operations.dead_letters import NotAnEventError, reading

if TYPE_CHECKING:
    from operations.dead_letters import ParkedEvent
    from operations.deployment import Deployment

_HIDDEN_SECONDS = 120
_ENDED = ("ExecutionSucceeded", "ExecutionFailed", "ExecutionAborted", "ExecutionTimedOut")


@dataclass(frozen=True, order=True)
class Moment:
    """Something that happened: `what`, and `detail` such as an error's cause."""

    time: datetime
    what: str
    detail: str = ""
    bad: bool = False


@dataclass
class Run:
    """One execution: its steps, and the invocations it is known to have made.

    An EXPRESS execution, or one AWS has forgotten, has no steps.
    """

    arn: str
    started: datetime
    ended: datetime
    moments: list[Moment] = field(default_factory=list)
    request_ids: set[str] = field(default_factory=set)

    @property
    def name(self) -> str:
        """The name, which AWS's own generate once and ours hold an id."""
        parts = self.arn.split(":")
        return parts[7] if len(parts) > 7 else self.arn


def of_key(deployment: Deployment, key: str) -> list[Run]:
    """The executions that recorded or parked a photo, and those these took over from, oldest first."""
    moments = {
        str(record["ExecutionId"]): datetime.fromisoformat(str(record["Timestamp"]))
        for record in records.complete(deployment, records.by_key(deployment, key))
        if record.get("ExecutionId") and record.get("Timestamp")
    }
    for event in parked(deployment, key):
        moments |= {arn: datetime.fromtimestamp(event.sent, UTC) for arn in _chain(event)}
    runs: dict[str, Run] = {}
    waiting = list(moments)
    while waiting:
        arn = waiting.pop()
        if arn not in runs:
            runs[arn], before = _run(deployment, arn, moments.get(arn))
            waiting += before
    return sorted(runs.values(), key=lambda run: run.started)


def parked(deployment: Deployment, key: str) -> list[ParkedEvent]:
    """The events of `key` in the dead-letter queue, which stays as it is."""
    with reading(deployment) as queue:
        return [
            event
            for batch in queue.events(hidden_seconds=_HIDDEN_SECONDS)
            for event in batch
            if event.key() in keys.forms(key)
        ]


def _chain(event: ParkedEvent) -> list[str]:
    """The executions that had it, if it says so."""
    try:
        arns = event.taken_over()
    except NotAnEventError:
        arns = []
    return [*arns, event.execution] if event.execution else arns


def _run(deployment: Deployment, arn: str, moment: datetime | None) -> tuple[Run, list[str]]:
    """An execution, and those it took over from."""
    client = deployment.client("stepfunctions")
    now = moment or datetime.now(UTC)
    try:
        described = client.describe_execution(executionArn=arn)
        pages = client.get_paginator("get_execution_history").paginate(executionArn=arn)
        events = [event for page in pages for event in page["events"]]
    except client.exceptions.ClientError as error:
        if error.response["Error"].get("Code") not in ("ExecutionDoesNotExist", "InvalidArn"):
            raise
        return Run(arn, now, now, [Moment(now, "execution", "AWS has no history of it")]), []
    run = Run(arn, described["startDate"], described.get("stopDate") or datetime.now(UTC))
    state, tries = "", 0
    for event in events:
        details = _details(event)
        kind, moment = event["type"], event["timestamp"]
        if kind.endswith("StateEntered"):
            state, tries = str(details.get("name", "")), 0
        run.request_ids |= _request_ids(details)
        run.moments += _moments(kind, moment, details, state, tries := tries + kind.endswith("Scheduled"))
    try:
        before = json.loads(described["input"]).get("redriven_from") or []
    except (ValueError, AttributeError, KeyError):
        before = []
    return run, [one for one in before if isinstance(one, str)]


def _details(event: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = next(
        (value for name, value in event.items() if name.endswith("EventDetails")), {}
    )
    return found


def _moments(kind: str, moment: datetime, details: dict[str, Any], state: str, tries: int) -> list[Moment]:
    if kind == "ExecutionStarted":
        return [Moment(moment, "workflow started")]
    if kind in _ENDED:
        what = kind.removeprefix("Execution").lower()
        bad = kind != "ExecutionSucceeded"
        return [Moment(moment, f"workflow {what}", _error(details), bad)]
    if kind.startswith(("Task", "LambdaFunction")):
        if kind.endswith(("Failed", "TimedOut")):
            return [Moment(moment, f"{state}, try {tries} failed", _error(details), bad=True)]
        if kind.endswith("Scheduled"):
            return [Moment(moment, f"{state} begins" if tries == 1 else f"{state}, try {tries}")]
        if kind.endswith("Succeeded"):
            return [Moment(moment, f"{state} done")]
    return []


def _error(details: dict[str, Any]) -> str:
    if not details.get("error"):
        return ""
    return f"{details['error']}: {executions.shortened(details.get('cause') or '')}"


def _request_ids(details: dict[str, Any]) -> set[str]:
    """The invocation's id, in Lambda's answer or in its error."""
    for text, path in (
        (details.get("output"), ("SdkResponseMetadata", "RequestId")),
        (details.get("cause"), ("requestId",)),
    ):
        try:
            value: Any = json.loads(text or "")
            for name in path:
                value = value[name]
        except (ValueError, KeyError, TypeError):
            continue
        return {str(value)}
    return set()
