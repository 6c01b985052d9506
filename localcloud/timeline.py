"""One photo's timeline, from its execution's history: steps in milliseconds, and the messages sent."""

from __future__ import annotations

import json
import re
import sys
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any

from operations.executions import details, text_at
from operations.page import Step

from .cloud import REPOSITORY

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

# Names for the start and end of a Task, by its state; other states are not shown.
_BEGINS = {"ProcessImage": "Analysing", "ConvertImage": "Converting"}
_ENDS = {
    "ProcessImage": "Recorded",
    "ConvertImage": "Recorded",
    "SendNotification": "Notified",
    "Park": "Parked",
}
_FAILURES = ("TaskFailed", "TaskTimedOut", "LambdaFunctionFailed")
_SUBSCRIBERS = {"email": "Email", "sms": "SMS", "default": "HTTPS, SQS, Lambda"}


@dataclass(frozen=True)
class Timeline:
    """`steps` since the upload began; `messages` by kind of subscriber, empty until one is sent.

    `status` is Step Functions' own: RUNNING, SUCCEEDED, FAILED, TIMED_OUT or ABORTED.
    """

    status: str
    steps: Sequence[Step]
    messages: Mapping[str, str]


def read(stepfunctions: Any, execution: str, began: datetime) -> Timeline:
    """The timeline of `execution` so far; `began` is by this computer's clock."""
    described = stepfunctions.describe_execution(executionArn=execution)
    pages = stepfunctions.get_paginator("get_execution_history").paginate(executionArn=execution)
    history = list(pages.search("events[]"))
    return Timeline(described["status"], steps(history, began), messages(history))


def steps(history: Sequence[dict[str, Any]], began: datetime) -> list[Step]:
    """The steps in `history`, Step Functions' events in order, for an upload that started at `began`."""

    def step(name: str, moment: datetime, *, failed: bool = False) -> Step:
        return Step(name, max(0, round((moment - began).total_seconds() * 1000)), failed)

    found = [step("Uploaded", began)]
    for state, event in _by_state(history):
        kind, moment = event["type"], event["timestamp"]
        if kind == "ExecutionStarted":
            sent = text_at(details(event)["input"], "time")
            # On AWS, S3's time is in whole seconds: too coarse for milliseconds.
            if "." in sent:
                found.append(step("Event", datetime.fromisoformat(sent)))
            found.append(step("Started", moment))
        elif kind == "TaskScheduled" and state in _BEGINS:
            if state == "ConvertImage" and found[-1].name == "Recorded":
                # ProcessImage recorded nothing: it found a format that Rekognition does not accept.
                found.pop()
            found.append(step(_BEGINS[state], moment))
        elif kind == "TaskSucceeded" and state in _ENDS:
            found.append(step(_ENDS[state], moment))
        elif kind in _FAILURES:
            found.append(step(_error(details(event)), moment, failed=True))
    return found


def messages(history: Sequence[dict[str, Any]]) -> dict[str, str]:
    """SendNotification's messages by kind of subscriber, recomposed by its own code from its input."""
    if str(REPOSITORY / "functions") not in sys.path:
        # As on Lambda, where each zip has its package at the top.
        sys.path.append(str(REPOSITORY / "functions"))
    from send_notification.message import compose

    sending = [event for state, event in _by_state(history) if state == "SendNotification"]
    if not any(event["type"] == "TaskSucceeded" for event in sending):
        return {}
    message = compose(json.loads(details(sending[0])["input"]))
    texts = {title: message.bodies[kind] for kind, title in _SUBSCRIBERS.items()}
    return {"Subject of the email": message.subject, **texts}


def _by_state(history: Sequence[dict[str, Any]]) -> Iterator[tuple[str, dict[str, Any]]]:
    """Each event with the name of its state; the workflow has no Map or Parallel, which would mix states."""
    state = ""
    for event in history:
        state = event.get("stateEnteredEventDetails", {}).get("name", state)
        yield state, event


def _error(failure: Mapping[str, Any]) -> str:
    """The error's class: the service's if the SDK's message has it, else the function's."""
    cause = str(failure.get("cause") or "")
    if named := re.search(r"An error occurred \((\w+)\)", cause):
        return named[1]
    return text_at(cause, "errorType") or str(failure.get("error") or "Failed")
