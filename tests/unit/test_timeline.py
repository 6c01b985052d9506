"""What the demo and the playground say of a photo's way, from the execution's own history."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from localcloud import timeline
from operations.page import Step

BEGAN = datetime(2026, 11, 25, 6, 47, 48, tzinfo=UTC)
SUMMARY = {
    "duplicate": False,
    "image_id": "a.jpg@1",
    "bucket": "uploads",
    "key": "a.jpg",
    "version_id": None,
    "outcome": "face_detected",
    "reason": None,
    "face_count": 2,
    "timestamp": "2026-11-25T06:47:48.680Z",
}
FAILURE = {
    "error": "Runtime.HandlerError",
    "cause": '{"errorType": "ThrottlingException", "errorMessage": "slow down"}',
}


def event(kind: str, ms: int, **details: Any) -> dict[str, Any]:
    return {"type": kind, "timestamp": BEGAN + timedelta(milliseconds=ms), **details}


def entered(state: str, ms: int, given: object = None) -> dict[str, Any]:
    return event("TaskStateEntered", ms, stateEnteredEventDetails={"name": state, "input": json.dumps(given)})


def started(time: str) -> dict[str, Any]:
    return event("ExecutionStarted", 4, executionStartedEventDetails={"input": json.dumps({"time": time})})


HISTORY = [
    started("2026-11-25T06:47:48.003Z"),
    entered("ProcessImage", 157),
    event("TaskScheduled", 157),
    event("TaskFailed", 200, taskFailedEventDetails=FAILURE),
    event("TaskScheduled", 1200),
    event("TaskSucceeded", 1315),
    entered("IsNotificationDue", 1315),
    entered("SendNotification", 1316, SUMMARY),
    event("TaskScheduled", 1316),
    event("TaskSucceeded", 1371),
]


def test_a_way_is_shown_in_milliseconds_since_the_upload_began_with_each_try() -> None:
    assert timeline.steps(HISTORY, BEGAN) == [
        Step("Uploaded", 0),
        Step("Event", 3),
        Step("Started", 4),
        Step("Analysing", 157),
        Step("ThrottlingException", 200, failed=True),
        Step("Analysing", 1200),
        Step("Recorded", 1315),
        Step("Notified", 1371),
    ]


def test_the_second_an_event_of_aws_names_is_left_out() -> None:
    assert timeline.steps([started("2026-11-25T06:47:48Z")], BEGAN) == [
        Step("Uploaded", 0),
        Step("Started", 4),
    ]


@pytest.mark.parametrize(
    ("details", "name"),
    [
        ({"error": "States.Timeout"}, "States.Timeout"),
        ({"error": "E", "cause": "no JSON"}, "E"),
        ({}, "Failed"),
    ],
)
def test_a_failure_is_named_by_the_best_name_there_is(details: dict[str, str], name: str) -> None:
    history = [entered("Park", 1), event("TaskFailed", 2, taskFailedEventDetails=details)]
    assert timeline.steps(history, BEGAN)[-1] == Step(name, 2, failed=True)


def test_a_photo_that_is_converted_is_recorded_after_that() -> None:
    history = [*HISTORY[:7], entered("ConvertImage", 1316), event("TaskScheduled", 1317)]
    names = [step.name for step in timeline.steps([*history, event("TaskSucceeded", 2000)], BEGAN)]
    assert names[-3:] == ["Analysing", "Converting", "Recorded"]


def test_a_parked_event_is_a_step() -> None:
    assert timeline.steps([entered("Park", 1), event("TaskSucceeded", 2)], BEGAN)[-1] == Step("Parked", 2)


def test_each_kind_of_subscriber_has_its_own_text_once_it_is_sent() -> None:
    sent = timeline.messages(HISTORY)
    assert sent["Subject of the email"] == "Face detected in image: a.jpg"
    assert sent["Email"].splitlines()[:2] == ["Face detected in image: a.jpg", "Faces: 2"]
    assert sent["SMS"] == "Face detected in image: a.jpg"
    assert json.loads(sent["HTTPS, SQS, Lambda"])["face_count"] == 2
    assert timeline.messages(HISTORY[:-1]) == {}
    assert timeline.messages(HISTORY[:7]) == {}
