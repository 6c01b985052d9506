"""Status: what is a sample says so, EXPRESS is counted from metrics, and narrow windows stay readable."""

from __future__ import annotations

import io
import json
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest
from botocore.stub import Stubber
from rich.console import Console

from operations import buffer, metrics, records, status, status_table, terminal
from operations.dead_letters import ParkedEvent, Queue
from tests.unit.pipeline import client

if TYPE_CHECKING:
    from collections.abc import Iterator

NOW = datetime(2026, 11, 24, 12, tzinfo=UTC)
PARKED = [ParkedEvent("id", "receipt", "{}", "Throttling", "slow down", None, NOW)] * 10
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
            {
                "MetricDataResults": [
                    {
                        "Id": name,
                        "Timestamps": [NOW - timedelta(hours=number) for number in range(len(found))],
                        "Values": found,
                    }
                    for name, found in values.items()
                ]
            },
        )
        clients = {"stepfunctions": states, "cloudwatch": cloudwatch}
        arn = "arn:aws:states:us-east-1:123456789012:stateMachine:pipeline"
        yield SimpleNamespace(client=clients.__getitem__, state_machine_arn=arn)


def test_an_express_workflow_is_counted_from_its_metrics(express: Any) -> None:
    ran = status._executions(express, NOW - timedelta(hours=1), NOW)
    assert ran["executions"] == {
        "SUCCEEDED": 94,
        "FAILED": 3,
        "TIMED_OUT": 0,
        "ABORTED": 1,
        "RUNNING": 7,
        "total": 105,
        "complete": True,
        "listed": False,
    }
    assert ran["latency"] == {"p50": 1.2, "p95": None}


@pytest.mark.parametrize(("seconds", "period"), [(3600, 3600), (90, 60), (5, 60)])
def test_metrics_are_summed_over_the_whole_time_looked_at(seconds: int, period: int) -> None:
    asked: list[dict[str, Any]] = []

    def answer(**request: Any) -> dict[str, Any]:
        asked.append(request)
        return {"MetricDataResults": []}

    deployment: Any = SimpleNamespace(client=lambda _: SimpleNamespace(get_metric_data=answer))
    wanted = {"age": metrics.Metric("AWS/SQS", "Age", "QueueName", "queue", "Maximum")}
    metrics.read(deployment, wanted, NOW - timedelta(seconds=seconds), NOW)
    assert asked[0]["MetricDataQueries"][0]["MetricStat"]["Period"] == period


def look(monkeypatch: pytest.MonkeyPatch, **parts: Any) -> dict[str, Any]:
    """What `look` makes of a quiet environment where only `parts` are otherwise."""
    listed = {"complete": True, "listed": True, "total": 0}
    ran = {"executions": listed, "failures": [], "failures_looked_at": 0, "failures_total": 0, "retries": []}
    quiet: dict[str, Any] = {
        "_dead_letters": {"count": 0, "looked_at": 0, "reasons": []},
        "_executions": ran,
        "_outcomes": {},
        "alarms": [],
        "delivery": {"rule": "ENABLED", "notifications": True},
        "_throttled": {},
        "look": {"mode": "buffered", "paused": False},
    }
    for name, value in quiet.items():
        more = parts.get(name, {})
        answer = value | more if isinstance(value, dict) else more or value
        module = buffer if name == "look" else status
        monkeypatch.setattr(module, name, lambda *_, answer=answer: answer)
    deployment: Any = SimpleNamespace(environment=SimpleNamespace(name="dev"))
    return status.look(deployment, NOW, timedelta(hours=1))


def retry(error: str) -> dict[str, Any]:
    return {"retries": [{"error": error, "cause": "slow down", "count": 3, "last": NOW}]}


@pytest.mark.parametrize(
    ("parts", "healthy"),
    [
        ({}, True),
        ({"delivery": {"rule": "DISABLED"}}, False),
        ({"delivery": {"rule": "missing"}}, False),
        ({"delivery": {"notifications": False}}, False),
        ({"look": {"paused": True}}, False),
        ({"_executions": retry("ThrottlingException")}, False),
        ({"_executions": retry("Lambda.TooManyRequestsException")}, True),
        ({"_executions": {"failures": [{"error": "e"}]}}, False),
        ({"_executions": {"redriven": 7}}, True),
        ({"_throttled": {"process_image": 9}}, True),
        ({"alarms": [{"AlarmName": "a", "StateValue": "ALARM"}]}, False),
        ({"alarms": [{"AlarmName": "a", "StateValue": "INSUFFICIENT_DATA"}]}, True),
        ({"_dead_letters": {"count": 1}}, False),
    ],
)
def test_healthy_means_that_uploads_are_worked_on_and_nothing_is_left(
    parts: dict[str, Any], healthy: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert look(monkeypatch, **parts)["healthy"] is healthy


def test_failures_of_an_express_workflow_are_those_parked(monkeypatch: pytest.MonkeyPatch) -> None:
    ran = {"executions": {"listed": False}}
    reasons = [{"error": "Throttling", "cause": "slow down", "count": 10, "last": NOW}]
    parked = {"count": 10, "looked_at": 10, "reasons": reasons}
    answer = look(monkeypatch, _executions=ran, _dead_letters=parked)
    assert (answer["failures"], answer["failures_looked_at"]) == (reasons, 10)


class States:
    """Step Functions with failed executions `0`, `1`, ...; every third fails for another reason."""

    def __init__(self) -> None:
        self.asked: list[int] = []

    def describe_execution(self, *, executionArn: str) -> dict[str, Any]:  # noqa: N803
        self.asked.append(int(executionArn))
        key, error = f"{executionArn}.jpg", "Rare" if int(executionArn) % 3 == 2 else "Frequent"
        stored = {"detail": {"object": {"key": key, "etag": "e"}}}
        return {
            "executionArn": executionArn,
            "status": "FAILED",
            "error": error,
            "cause": "why",
            "stopDate": NOW,
            "input": json.dumps(stored),
        }


def unresolved(
    monkeypatch: pytest.MonkeyPatch, owners: dict[str, str], count: int, states: States | None = None
) -> dict[str, Any]:
    found = {f"{arn}.jpg@e": {"ExecutionId": owner} for arn, owner in owners.items()}
    monkeypatch.setattr(
        records, "recorded", lambda _, images: {one: found[one] for one in images if one in found}
    )
    states = states or States()
    deployment: Any = SimpleNamespace(client=lambda _: states)
    return status.unresolved(deployment, [{"executionArn": str(number)} for number in range(count)])


def test_every_failure_is_grouped_by_its_reason(monkeypatch: pytest.MonkeyPatch) -> None:
    answer = unresolved(monkeypatch, {}, 150)
    assert [(one["error"], one["count"]) for one in answer["failures"]] == [("Frequent", 100), ("Rare", 50)]
    assert (answer["failures_looked_at"], answer["failures_total"]) == (150, 150)


def test_of_more_failures_than_aws_describes_every_part_is_looked_at(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(status, "MAX_DESCRIBED", 40)
    states = States()
    answer = unresolved(monkeypatch, {}, 400, states)
    assert (answer["failures_looked_at"], answer["failures_total"]) == (40, 400)
    assert {number // 100 for number in states.asked} == {0, 1, 2, 3}
    assert {one["error"] for one in answer["failures"]} == {"Frequent", "Rare"}


def test_what_was_redriven_no_longer_counts_as_failed(monkeypatch: pytest.MonkeyPatch) -> None:
    # 0 was redriven; 1 recorded its photo before it failed; 2 was redriven by 3, which failed as well.
    answer = unresolved(monkeypatch, {"0": "arn:redrive", "1": "1", "2": "3", "3": "3"}, 4)
    assert answer["redriven"] == 2
    assert sum(one["count"] for one in answer["failures"]) == 2


def test_an_execution_that_waits_to_try_again_is_seen() -> None:
    histories: dict[str, list[dict[str, Any]]] = {
        "waits": [
            {"timestamp": NOW, "type": "TaskFailed", "taskFailedEventDetails": {"error": "E", "cause": "c"}}
        ],
        "works": [
            {"timestamp": NOW, "type": "TaskScheduled", "taskScheduledEventDetails": {"resource": "r"}}
        ],
    }

    def history(**asked: Any) -> dict[str, Any]:
        return {"events": histories[asked["executionArn"]]}

    states = SimpleNamespace(get_execution_history=history)
    deployment: Any = SimpleNamespace(client=lambda _: states)
    found = status.retries(deployment, [{"executionArn": name} for name in histories])
    assert found == [{"error": "E", "cause": "c", "count": 1, "last": NOW}]


def test_whether_uploads_start_anything_is_read_from_rule_and_bucket(aws: None) -> None:  # noqa: ARG001
    events, notifications = client("events"), dict[str, Any]()
    bucket = SimpleNamespace(get_bucket_notification_configuration=lambda **_: notifications)
    clients = {"events": events, "s3": bucket}
    deployment: Any = SimpleNamespace(client=clients.__getitem__, name="photos-dev", bucket="photos")
    assert status.delivery(deployment) == {"rule": "missing", "notifications": False}
    events.put_rule(Name="photos-dev-uploads", EventPattern='{"source": ["aws.s3"]}')
    notifications["EventBridgeConfiguration"] = {}
    assert status.delivery(deployment) == {"rule": "ENABLED", "notifications": True}
    events.disable_rule(Name="photos-dev-uploads")
    assert status.delivery(deployment)["rule"] == "DISABLED"


def found(*, listed: bool = True) -> dict[str, Any]:
    """What `look` answers for an environment where much is wrong."""
    failures = [{"error": "Lambda.TooManyRequestsException", "cause": HOSTILE, "count": 12, "last": None}]
    return {
        "environment": "dev",
        "from": "2026-11-24T11:00:00+00:00",
        "to": "2026-11-24T12:00:00+00:00",
        "healthy": False,
        "executions": dict.fromkeys(status.STATES, 12_345) | {"complete": True, "listed": listed},
        "failures_looked_at": 12 if listed else 10,
        "failures_total": 12,
        "redriven": 0,
        "retries": [],
        "throttled": {},
        "delivery": {"rule": "ENABLED", "notifications": True},
        "buffer": {"mode": "buffered", "paused": True, "waiting": 1_234_567, "oldest_seconds": 7200},
        "latency": {"p50": 1.2, "p95": 3.4},
        "outcomes": {"face_detected": 10, "no_face": 12, "rejected": 3},
        "rejected_reasons": {"unsupported_format": 3},
        "rejected_details": {"unsupported_format": "the file is an SVG drawing"},
        "failures": failures,
        "dead_letters": {"count": 500, "oldest_seconds": 7200, "looked_at": 10, "reasons": failures},
        "alarms": [{"name": "photo-analysis-dev-executions-throttled", "description": "It waits. " * 20}],
    }


def shown(monkeypatch: pytest.MonkeyPatch, width: int, **options: bool) -> str:
    file = io.StringIO()
    monkeypatch.setattr(terminal, "console", lambda: Console(width=width, file=file, highlight=False))
    status_table.show(found(**options))
    return file.getvalue()


def test_reasons_are_labelled_with_the_number_of_messages_read(monkeypatch: pytest.MonkeyPatch) -> None:
    text = shown(monkeypatch, 120)
    assert "Parked because (of 10 looked at)" in text
    assert "Failures (of" not in text
    assert "Failures (of 10 looked at)" in shown(monkeypatch, 120, listed=False)


def test_the_number_of_dead_letters_read_is_reported(monkeypatch: pytest.MonkeyPatch) -> None:
    deployment: Any = SimpleNamespace(client=lambda _: None, dead_letter_queue_url="queue")
    monkeypatch.setattr(metrics, "messages", lambda *_: (501, 0, 0.0))
    monkeypatch.setattr(Queue, "events", lambda *_, **__: iter(PARKED))
    monkeypatch.setattr(metrics, "oldest_message", lambda *_: None)
    parked = status._dead_letters(deployment, NOW)
    assert (parked["count"], parked["looked_at"], parked["reasons"][0]["count"]) == (501, 10, 10)


@pytest.mark.parametrize("width", [60, 80, 200])
def test_names_and_numbers_are_whole_in_any_window(width: int, monkeypatch: pytest.MonkeyPatch) -> None:
    text = shown(monkeypatch, width)
    for name in ("succeeded     12345", "timed out", "unsupported_format   3", "an SVG", "oldest"):
        assert name in text
    for name in ("Lambda.TooManyRequestsException   12", "photo-analysis-dev-executions-throttled"):
        assert name in text
    assert "…" not in text
    assert max(map(len, text.splitlines())) <= width


def test_control_sequences_in_a_cause_are_escaped(monkeypatch: pytest.MonkeyPatch) -> None:
    text = shown(monkeypatch, 200)
    assert "\\x1b]0;owned\\x07 [bold]" in text
    assert "\x1b" not in text
