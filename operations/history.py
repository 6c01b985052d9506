"""The history of each execution for one photo, step by step."""

from __future__ import annotations

import json
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, NamedTuple

from operations import executions, records, uploads
from operations.dead_letters import NotAnEventError, ParkedEvent, Queue

if TYPE_CHECKING:
    from operations.deployment import Deployment


class Moment(NamedTuple):
    """One event in a photo's history; `detail` is, for example, an error's cause."""

    time: datetime
    what: str
    detail: str = ""
    failed: bool = False


@dataclass
class Run:
    """One execution: its steps, if AWS still has them, and the request ids of its invocations."""

    arn: str
    started: datetime
    ended: datetime
    moments: list[Moment] = field(default_factory=list)
    request_ids: set[str] = field(default_factory=set)

    @property
    def name(self) -> str:
        """The name, or the id of an EXPRESS execution; it is unique."""
        return self.arn.rpartition(":")[2]


def known(deployment: Deployment, key: str) -> tuple[list[records.Record], list[ParkedEvent]]:
    """The complete records of a photo and its parked events; the dead-letter queue is left unchanged."""
    found = list(records.complete(deployment, records.by_key(deployment, key)))
    with Queue(deployment) as queue:
        return found, [event for event in queue.events() if event.key() in uploads.forms(key)]


def runs(deployment: Deployment, recorded: list[records.Record], parked: list[ParkedEvent]) -> list[Run]:
    """The executions that recorded or parked a photo, and their predecessors, oldest first."""
    moments = {
        str(one["ExecutionId"]): datetime.fromisoformat(str(one["Timestamp"]))
        for one in recorded
        if one.get("ExecutionId")
    }
    for event in parked:
        arns = [event.execution] if event.execution else []
        with suppress(NotAnEventError):
            arns += event.taken_over()
        moments |= dict.fromkeys(arns, event.sent)
    found: dict[str, Run] = {}
    waiting = list(moments)
    while waiting:
        arn = waiting.pop()
        if arn not in found:
            found[arn], before = _run(deployment, arn, moments.get(arn) or datetime.now(UTC))
            waiting += before
    return sorted(found.values(), key=lambda run: run.started)


def _run(deployment: Deployment, arn: str, moment: datetime) -> tuple[Run, list[str]]:
    """An execution and the ARNs of its predecessors; dated `moment` if AWS no longer has it."""
    described = executions.describe(deployment, arn)
    if described is None:
        return Run(arn, moment, moment, [Moment(moment, "execution", "AWS has no history of it")]), []
    run = Run(arn, described["startDate"], described.get("stopDate") or datetime.now(UTC))
    history = deployment.client("stepfunctions").get_paginator("get_execution_history")
    state, tries = "", 0
    for event in (event for page in history.paginate(executionArn=arn) for event in page["events"]):
        kind, details = event["type"], executions.details(event)
        if kind.endswith("StateEntered"):
            state, tries = str(details.get("name", "")), 0
        tries += kind.endswith("Scheduled")
        if what := _what(kind, state, tries):
            detail = run.name if kind == "ExecutionStarted" else ""
            if error := details.get("error"):
                detail = f"{error}: {executions.shortened(details.get('cause') or '')}"
            failed = kind.endswith(("Failed", "TimedOut", "Aborted"))
            run.moments.append(Moment(event["timestamp"], what, detail, failed))
        # The invocation's request id, in Lambda's response or in its error.
        run.request_ids |= {
            executions.text_at(details.get("output"), "SdkResponseMetadata.RequestId"),
            executions.text_at(details.get("cause"), "requestId"),
        } - {""}
    return run, json.loads(described["input"]).get("redriven_from") or []


def _what(kind: str, state: str, tries: int) -> str:
    """The name to show for an event of the history; empty for events to skip."""
    if kind.startswith("Execution"):
        return f"workflow {kind.removeprefix('Execution').lower()}"
    if not kind.startswith(("Task", "LambdaFunction")):
        return ""
    if kind.endswith(("Failed", "TimedOut")):
        return f"{state}, try {tries} failed"
    if kind.endswith("Scheduled"):
        return f"{state} begins" if tries == 1 else f"{state}, try {tries}"
    return f"{state} done" if kind.endswith("Succeeded") else ""
