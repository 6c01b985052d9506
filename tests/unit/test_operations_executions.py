"""Following an execution of a STANDARD workflow, and of an EXPRESS one, which cannot be queried."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest
from botocore.stub import Stubber

from operations import executions, records
from operations.errors import UserError
from tests.unit.pipeline import client

if TYPE_CHECKING:
    from collections.abc import Iterator

EXPRESS = "arn:aws:states:us-east-1:123456789012:express:pipeline:name:id"
STANDARD = "arn:aws:states:us-east-1:123456789012:execution:pipeline:name"
MACHINE = "arn:aws:states:us-east-1:123456789012:stateMachine:pipeline"


@pytest.fixture
def states(aws: None, monkeypatch: pytest.MonkeyPatch) -> Iterator[Stubber]:  # noqa: ARG001
    monkeypatch.setattr("time.sleep", lambda _: None)
    with Stubber(client("stepfunctions")) as stubber:
        yield stubber
        stubber.assert_no_pending_responses()


def deployment(states: Stubber) -> Any:
    return SimpleNamespace(client=lambda _: states.client, state_machine_arn=MACHINE)


def test_an_express_execution_is_followed_by_its_record(
    states: Stubber, monkeypatch: pytest.MonkeyPatch
) -> None:
    # AWS describes no EXPRESS execution; the local cloud does.
    for _ in range(3):
        states.add_client_error("describe_execution", "InvalidArn", "Resource type not valid in this context")
    answers = iter([None, {"ExecutionId": "another's"}, {"ExecutionId": EXPRESS, "Outcome": "no_face"}])
    monkeypatch.setattr(records, "get", lambda *_: next(answers))
    record = executions.follow(deployment(states), EXPRESS, "a.jpg@e", timeout=60)
    assert record["Outcome"] == "no_face"


def test_an_express_execution_without_a_record_is_waited_for_only_so_long(
    states: Stubber, monkeypatch: pytest.MonkeyPatch
) -> None:
    states.add_client_error("describe_execution", "InvalidArn", "Resource type not valid in this context")
    monkeypatch.setattr(records, "get", lambda *_: None)
    clock = iter([0.0, 1.0, 61.0])
    monkeypatch.setattr("time.monotonic", lambda: next(clock))
    with pytest.raises(UserError, match="is not done after 60 s"):
        executions.follow(deployment(states), EXPRESS, "a.jpg@e", timeout=60)


def test_a_failed_execution_is_explained_and_its_cause_escaped(states: Stubber) -> None:
    states.add_response(
        "describe_execution",
        {
            "executionArn": STANDARD,
            "stateMachineArn": MACHINE,
            "status": "FAILED",
            "startDate": datetime.now(UTC),
            "error": "InvalidEventError",
            "cause": '{"errorMessage": "no \\u001b[31m key"}',
        },
    )
    with pytest.raises(UserError) as refusal:
        executions.follow(deployment(states), STANDARD, "a.jpg@e", timeout=60)
    assert "ended FAILED with InvalidEventError (no \\x1b[31m key)" in str(refusal.value)


def test_an_express_workflow_has_no_list_of_executions(states: Stubber) -> None:
    states.add_client_error("list_executions", "StateMachineTypeNotSupported", "EXPRESS")
    with pytest.raises(executions.NoHistoryError):
        next(executions.since(deployment(states), datetime.now(UTC), limit=10))


def test_executions_are_listed_back_to_a_moment_or_up_to_a_limit(states: Stubber) -> None:
    now = datetime.now(UTC)
    ran = [
        {
            "executionArn": f"{STANDARD}-{minutes}",
            "stateMachineArn": MACHINE,
            "name": f"{minutes}",
            "status": "SUCCEEDED",
            "startDate": now - timedelta(minutes=minutes),
            "stopDate": now - timedelta(minutes=minutes),
        }
        for minutes in range(5)
    ]
    running = {name: value for name, value in ran[0].items() if name != "stopDate"} | {"status": "RUNNING"}
    for _ in range(2):
        states.add_response("list_executions", {"executions": [running, *ran[1:]]})
    since = now - timedelta(minutes=2, seconds=30)
    found = executions.since(deployment(states), since, limit=10)
    assert [one["name"] for one in found] == ["0", "1", "2"]
    assert [one["name"] for one in executions.since(deployment(states), since, limit=2)] == ["0", "1"]
