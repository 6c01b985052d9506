"""Status: what is a sample says so, EXPRESS is counted from metrics, and narrow windows stay readable."""

from __future__ import annotations

import io
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest
from botocore.stub import Stubber
from rich.console import Console

from operations import status
from tests.unit.pipeline import client

if TYPE_CHECKING:
    from collections.abc import Iterator

NOW = datetime(2026, 11, 24, 12, tzinfo=UTC)
PARKED = [{"error": "Throttling", "cause": "slow down", "sent": NOW}] * 10
HOSTILE = "\x1b]0;owned\x07 [bold]"


@pytest.fixture
def express(aws: None) -> Iterator[Any]:  # noqa: ARG001
    """A deployment whose workflow is EXPRESS, as AWS answers for it; the local cloud lists its executions."""
    states, cloudwatch = client("stepfunctions"), client("cloudwatch")
    with Stubber(states) as first, Stubber(cloudwatch) as second:
        first.add_client_error("list_executions", "StateMachineTypeNotSupported", "EXPRESS")
        values = {
            "started": [5.0, 100.0],
            "succeeded": [4.0, 90.0],
            "failed": [3.0],
            "timed_out": [],
            "aborted": [1.0],
            "p50": [1200.0, 900.0],
            "p95": [],
        }
        second.add_response(
            "get_metric_data",
            {"MetricDataResults": [{"Id": name, "Values": found} for name, found in values.items()]},
        )
        clients = {"stepfunctions": states, "cloudwatch": cloudwatch}
        arn = "arn:aws:states:us-east-1:123456789012:stateMachine:pipeline"
        yield SimpleNamespace(client=clients.__getitem__, state_machine_arn=arn)


def test_an_express_workflow_is_counted_from_its_metrics_and_its_failures_from_the_queue(
    express: Any,
) -> None:
    counts, latency, failures = status._executions(express, NOW - timedelta(hours=1), NOW, PARKED)
    assert counts == {
        "SUCCEEDED": 94,
        "FAILED": 3,
        "TIMED_OUT": 0,
        "ABORTED": 1,
        "RUNNING": 7,
        "total": 105,
        "complete": True,
        "listed": False,
    }
    assert latency == {"p50": 1.2, "p95": None}
    assert [(one["error"], one["count"]) for one in failures] == [("Throttling", 10)]


def found(*, listed: bool = True) -> dict[str, Any]:
    """What `look` answers for an environment where much is wrong."""
    failures = [{"error": "Lambda.TooManyRequestsException", "cause": HOSTILE, "count": 12, "last": None}]
    return {
        "environment": "dev",
        "from": "2026-11-24T11:00:00+00:00",
        "to": "2026-11-24T12:00:00+00:00",
        "healthy": False,
        "executions": dict.fromkeys(status.STATES, 12_345) | {"complete": True, "listed": listed},
        "latency": {"p50": 1.2, "p95": 3.4},
        "outcomes": {"face_detected": 10, "no_face": 12, "rejected": 3},
        "rejected_reasons": {"unsupported_format": 3},
        "failures": failures,
        "dead_letters": {"count": 500, "oldest_seconds": 7200, "looked_at": 10, "reasons": failures},
        "alarms": [{"name": "photo-analysis-dev-executions-throttled", "description": "It waits. " * 20}],
    }


def shown(monkeypatch: pytest.MonkeyPatch, width: int, **options: bool) -> str:
    file = io.StringIO()
    monkeypatch.setattr(
        "operations.terminal.console", lambda: Console(width=width, file=file, highlight=False)
    )
    status.show(found(**options))
    return file.getvalue()


def test_reasons_are_said_to_be_of_the_messages_looked_at(monkeypatch: pytest.MonkeyPatch) -> None:
    text = shown(monkeypatch, 120)
    assert "Parked because (of 10 looked at)" in text
    assert "Failures (of" not in text
    assert "Failures (of 10 looked at)" in shown(monkeypatch, 120, listed=False)


def test_dead_letters_tell_how_many_were_looked_at(monkeypatch: pytest.MonkeyPatch) -> None:
    counts = {"ApproximateNumberOfMessages": "500", "ApproximateNumberOfMessagesNotVisible": "1"}
    sqs = SimpleNamespace(get_queue_attributes=lambda **_: {"Attributes": counts})
    deployment: Any = SimpleNamespace(client=lambda _: sqs, dead_letter_queue_url="queue")
    monkeypatch.setattr(status, "_peek", lambda *_: PARKED)
    monkeypatch.setattr(status, "_oldest", lambda *_: None)
    letters, _ = status._dead_letters(deployment, NOW)
    assert (letters["count"], letters["looked_at"], letters["reasons"][0]["count"]) == (501, 10, 10)


@pytest.mark.parametrize("width", [60, 80, 200])
def test_names_and_numbers_are_whole_in_any_window(width: int, monkeypatch: pytest.MonkeyPatch) -> None:
    text = shown(monkeypatch, width)
    for name in ("succeeded     12345", "timed out", "unsupported_format    3", "oldest"):
        assert name in text
    for name in ("Lambda.TooManyRequestsException   12", "photo-analysis-dev-executions-throttled"):
        assert name in text
    assert "…" not in text
    assert max(map(len, text.splitlines())) <= width


def test_a_cause_is_shown_and_not_obeyed(monkeypatch: pytest.MonkeyPatch) -> None:
    text = shown(monkeypatch, 200)
    assert "\\x1b]0;owned\\x07 [bold]" in text
    assert "\x1b" not in text
