"""What redrive makes of the dead-letter queue's messages, whatever stops it."""

from __future__ import annotations

import json
from concurrent.futures import wait
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest
from botocore.exceptions import ClientError
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st
from tenacity import wait_none

from operations import executions, metrics, redrive
from operations.__main__ import main
from operations.dead_letters import NotAnEventError, ParkedEvent, Queue
from operations.errors import UserError
from tests.unit.pipeline import client

if TYPE_CHECKING:
    from collections.abc import Callable

EVENT = {
    "detail-type": "Object Created",
    "detail": {
        "bucket": {"name": "uploads"},
        "object": {"key": "photos/anna.jpg", "etag": '"e1"', "size": 3},
    },
}

SENT = datetime(2026, 11, 24, 12, tzinfo=UTC)


class ExecutionAlreadyExistsError(Exception):
    """The error the SDK has for a name that was used."""


@dataclass
class Workflow:
    """Step Functions as far as redrive knows it: names are accepted once."""

    exceptions: Any = field(
        default_factory=lambda: SimpleNamespace(ExecutionAlreadyExists=ExecutionAlreadyExistsError)
    )
    accepted: dict[str, dict[str, Any]] = field(default_factory=dict)
    before: Callable[[str], None] = lambda _: None

    def start_execution(self, *, stateMachineArn: str, name: str, input: str) -> dict[str, str]:  # noqa: A002, N803
        self.before(name)
        if name in self.accepted:
            raise ExecutionAlreadyExistsError
        self.accepted[name] = json.loads(input)
        return {"executionArn": f"{stateMachineArn}:{name}"}


@dataclass
class Deployment:
    """A queue in moto and a workflow that only accepts."""

    sqs: Any
    states: Workflow
    dead_letter_queue_url: str
    state_machine_arn: str = "arn:aws:states:us-east-1:123456789012:stateMachine:pipeline"
    ingestion: dict[str, str] = field(default_factory=lambda: {"mode": "direct"})
    environment: Any = field(default_factory=lambda: SimpleNamespace(name="dev", settings={}))

    def client(self, service: str) -> Any:
        return {"sqs": self.sqs, "stepfunctions": self.states}[service]

    def value(self, name: str) -> Any:
        return {"ingestion": self.ingestion}[name]

    def park(self, body: object = EVENT, **attributes: str) -> str:
        answer = self.sqs.send_message(
            QueueUrl=self.dead_letter_queue_url,
            MessageBody=body if isinstance(body, str) else json.dumps(body),
            MessageAttributes={
                name: {"DataType": "String", "StringValue": value} for name, value in attributes.items()
            },
        )
        return str(answer["MessageId"])

    def left(self) -> set[str]:
        """Messages anyone can receive now."""
        found: set[str] = set()
        while messages := self.sqs.receive_message(
            QueueUrl=self.dead_letter_queue_url, MaxNumberOfMessages=10
        ).get("Messages"):
            found |= {one["MessageId"] for one in messages}
        return found


@pytest.fixture
def deployment(aws: None, monkeypatch: pytest.MonkeyPatch) -> Deployment:  # noqa: ARG001
    # moto waits as long as a real queue would.
    monkeypatch.setattr("operations.dead_letters._WAIT_SECONDS", 0)
    sqs = client("sqs")
    url = sqs.create_queue(QueueName="dead-letter")["QueueUrl"]
    return Deployment(sqs, Workflow(), url)


def run(deployment: Deployment, **choice: str) -> redrive.Report:
    return redrive.redrive(deployment, **choice)  # type: ignore[arg-type]


def survey(deployment: Deployment, **choice: str) -> redrive.Report:
    return redrive.redrive(deployment, confirmed=False, **choice)  # type: ignore[arg-type]


def test_every_event_is_started_once_and_its_message_deleted(deployment: Deployment) -> None:
    ids = [deployment.park(ERROR_CODE="ThrottlingException") for _ in range(25)]
    report = run(deployment)
    assert (report.messages, report.started, report.already_started) == (25, 25, 0)
    assert deployment.states.accepted.keys() == {f"redrive-{one}" for one in ids}
    assert deployment.left() == set()


def test_a_workflow_s_message_names_the_executions_it_takes_over_from(deployment: Deployment) -> None:
    ours = deployment.park(REDRIVEN_FROM='["first", "second"]')
    rules = deployment.park(RULE_ARN="arn:aws:events:us-east-1:123456789012:rule/uploads")
    run(deployment)
    assert deployment.states.accepted[f"redrive-{ours}"] == {**EVENT, "redriven_from": ["first", "second"]}
    assert deployment.states.accepted[f"redrive-{rules}"] == EVENT


def test_where_uploads_are_buffered_parked_events_wait_in_the_buffer_too(deployment: Deployment) -> None:
    buffer = deployment.sqs.create_queue(QueueName="uploads")["QueueUrl"]
    deployment.ingestion = {"mode": "buffered", "queue_url": buffer}
    deployment.park(REDRIVEN_FROM='["first"]')
    assert run(deployment).started == 1
    assert deployment.states.accepted == {}
    (message,) = deployment.sqs.receive_message(QueueUrl=buffer)["Messages"]
    assert json.loads(message["Body"]) == {**EVENT, "redriven_from": ["first"]}
    assert deployment.left() == set()


def test_a_body_is_kept_as_it_is(deployment: Deployment) -> None:
    body = {**EVENT, "notify": False, "reanalyse": True, "unknown": [1.5, None, "\u2028"]}
    parked = deployment.park(body)
    run(deployment)
    assert deployment.states.accepted[f"redrive-{parked}"] == body


def test_looking_starts_nothing_and_gives_every_message_back(deployment: Deployment) -> None:
    ids = {deployment.park(ERROR_CODE="A" if index % 3 else "B", ERROR_MESSAGE="why") for index in range(25)}
    report = survey(deployment)
    assert [(one["error"], one["messages"]) for one in report.groups()] == [("A", 16), ("B", 9)]
    assert report.groups()[0]["example"] == "photos/anna.jpg"
    assert report.groups()[0]["cause"] == "why"
    assert deployment.states.accepted == {}
    assert deployment.left() == ids


def of(key: str) -> dict[str, Any]:
    """The event of a photo with this key."""
    photo = {"key": key, "etag": "e1", "size": 3}
    return {**EVENT, "detail": {"bucket": {"name": "uploads"}, "object": photo}}


@pytest.mark.parametrize(
    ("choice", "chosen"),
    [
        ({"key": "a.jpg"}, {"a.jpg throttled", "a.jpg denied"}),
        ({"key": "photos/caf\N{LATIN SMALL LETTER E WITH ACUTE}.jpg"}, {"decomposed throttled"}),
        ({"key": "A.jpg"}, set()),
        ({"error": "throttling"}, {"a.jpg throttled", "b.jpg throttled", "decomposed throttled"}),
        ({"error": "AccessDeniedException"}, {"a.jpg denied"}),
        ({"key": "a.jpg", "error": "Throttling"}, {"a.jpg throttled"}),
        ({"key": "b.jpg", "error": "AccessDenied"}, set()),
    ],
)
def test_only_the_parked_events_of_the_chosen_key_and_error_are_started(
    deployment: Deployment, choice: dict[str, str], chosen: set[str]
) -> None:
    decomposed = "photos/cafe\N{COMBINING ACUTE ACCENT}.jpg"
    ids = {
        "a.jpg throttled": deployment.park(of("a.jpg"), ERROR_CODE="Rekognition.ThrottlingException"),
        "a.jpg denied": deployment.park(of("a.jpg"), ERROR_CODE="AccessDeniedException"),
        "b.jpg throttled": deployment.park(of("b.jpg"), ERROR_CODE="ThrottlingException"),
        "decomposed throttled": deployment.park(of(decomposed), ERROR_CODE="ThrottlingException"),
        "no event": deployment.park("hello", ERROR_CODE="STRAY"),
    }
    others = set(ids) - chosen

    seen = survey(deployment, **choice)
    assert {one["message_id"] for one in seen.photos} == {ids[name] for name in chosen}
    assert (seen.messages, seen.not_chosen) == (len(chosen), len(others))
    assert deployment.states.accepted == {}

    report = run(deployment, **choice)
    assert deployment.states.accepted.keys() == {f"redrive-{ids[name]}" for name in chosen}
    assert (report.started, report.not_chosen, report.left) == (len(chosen), len(others), {})
    assert deployment.left() == {ids[name] for name in others}, "what was not chosen stays"


def test_the_verb_takes_key_and_error_and_says_when_nothing_is_of_them(
    deployment: Deployment, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("operations.redrive.Deployment.load", lambda _: deployment)
    mine = deployment.park(of("a.jpg"), ERROR_CODE="ThrottlingException")
    deployment.park(of("b.jpg"), ERROR_CODE="ThrottlingException")
    deployment.park(of("a.jpg"), ERROR_CODE="AccessDeniedException")

    refused = CliRunner().invoke(main, ["redrive", "--env", "dev", "--key", "c.jpg", "--confirm"])
    assert (refused.exit_code, refused.stdout) == (1, "")
    assert refused.stderr == (
        "Error: None of the 3 messages in the dead-letter queue of ENV=dev is of that key;"
        " 'make redrive ENV=dev' shows them.\n"
    )
    assert deployment.states.accepted == {}

    asked = ["redrive", "--env", "dev", "--key", "a.jpg", "--error", "throttling", "--confirm", "--json"]
    done = CliRunner().invoke(main, asked)
    assert done.exit_code == 0, done.stderr
    report = json.loads(done.stdout)
    assert [(one["message_id"], one["key"]) for one in report["photos"]] == [(mine, "a.jpg")]
    assert (report["started"], report["not_chosen"]) == (1, 2)
    assert list(deployment.states.accepted) == [f"redrive-{mine}"]


@pytest.mark.parametrize(
    ("body", "attributes", "reason"),
    [
        ("hello", {}, "its body is not JSON"),
        ("[]", {}, "its body has no text in detail.bucket.name"),
        ("{}", {}, "its body has no text in detail.bucket.name"),
        ('{"detail": {"bucket": {"name": "b"}}}', {}, "its body has no text in detail.object.key"),
        ('{"detail": {"bucket": {"name": "b"}, "object": {"key": "k"}}}', {}, "detail.object.etag"),
        ('{"detail": {"bucket": {"name": "b"}, "object": {"key": 7, "etag": "e"}}}', {}, "detail.object.key"),
        (json.dumps(EVENT), {"REDRIVEN_FROM": "arn"}, "REDRIVEN_FROM is not a JSON list"),
        (json.dumps(EVENT), {"REDRIVEN_FROM": "[1]"}, "REDRIVEN_FROM is not a JSON list"),
        (json.dumps(EVENT), {"REDRIVEN_FROM": '"arn"'}, "REDRIVEN_FROM is not a JSON list"),
    ],
)
def test_a_message_that_is_no_event_is_left_and_named(
    deployment: Deployment, body: str, attributes: dict[str, str], reason: str
) -> None:
    stray = deployment.park(body, **attributes)
    event = deployment.park()
    report = run(deployment)
    assert reason in report.left[stray]
    assert deployment.states.accepted.keys() == {f"redrive-{event}"}
    assert deployment.left() == {stray}


def test_an_execution_that_runs_already_is_not_started_again(deployment: Deployment) -> None:
    parked = deployment.park()
    deployment.states.accepted[f"redrive-{parked}"] = EVENT
    report = run(deployment)
    assert (report.started, report.already_started) == (0, 1)
    assert deployment.left() == set()


def test_a_refusal_stops_the_redrive_and_loses_nothing(deployment: Deployment) -> None:
    ids = {deployment.park() for _ in range(15)}

    def refuse(_: str) -> None:
        if len(deployment.states.accepted) >= 12:
            raise ClientError({"Error": {"Code": "AccessDeniedException", "Message": "no"}}, "StartExecution")

    deployment.states.before = refuse
    with pytest.raises(ClientError):
        run(deployment)
    started = {name.removeprefix("redrive-") for name in deployment.states.accepted}
    assert survey(deployment).messages == len(ids - started)
    deployment.states.before = lambda _: None
    run(deployment)
    assert {name.removeprefix("redrive-") for name in deployment.states.accepted} == ids
    assert deployment.left() == set()


def test_an_interrupt_deletes_what_was_accepted_and_gives_the_rest_back(
    deployment: Deployment, monkeypatch: pytest.MonkeyPatch
) -> None:
    ids = {deployment.park() for _ in range(25)}
    calls: list[Any] = []

    def interrupted(*given: Any, **options: Any) -> Any:
        calls.append(given)
        if len(calls) == 3:
            raise KeyboardInterrupt
        return wait(*given, **options)

    monkeypatch.setattr(redrive, "wait", interrupted)
    with pytest.raises(KeyboardInterrupt):
        run(deployment)
    started = {name.removeprefix("redrive-") for name in deployment.states.accepted}
    assert 10 <= len(started) < 25
    assert deployment.left() == ids - started


@pytest.mark.proves("redrive-twice")
def test_killed_before_the_delete_it_starts_nothing_twice(
    deployment: Deployment, monkeypatch: pytest.MonkeyPatch
) -> None:
    ids = {deployment.park() for _ in range(5)}
    monkeypatch.setattr(Queue, "delete", lambda *_: [])
    run(deployment)
    monkeypatch.undo()
    monkeypatch.setattr("operations.dead_letters._WAIT_SECONDS", 0)
    assert len(deployment.states.accepted) == 5
    report = run(deployment)
    assert (report.started, report.already_started) == (0, 5)
    assert deployment.states.accepted.keys() == {f"redrive-{one}" for one in ids}
    assert deployment.left() == set()


def test_what_fails_and_is_parked_again_meanwhile_is_for_another_run(
    deployment: Deployment, monkeypatch: pytest.MonkeyPatch
) -> None:
    deployment.park()
    began = datetime.now(UTC) - timedelta(minutes=1)
    monkeypatch.setattr(metrics, "messages", lambda *_: (1, 0, began))
    report = run(deployment)
    assert (report.messages, report.started, report.later) == (0, 0, 1)
    assert len(deployment.left()) == 1


def test_throttling_is_waited_for(deployment: Deployment, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(executions.start.retry, "wait", wait_none())
    parked, refusals = deployment.park(), iter(["ThrottlingException", "ExecutionLimitExceeded"])

    def busy(_: str) -> None:
        if code := next(refusals, None):
            raise ClientError({"Error": {"Code": code, "Message": "slow down"}}, "StartExecution")

    deployment.states.before = busy
    assert run(deployment).started == 1
    assert list(deployment.states.accepted) == [f"redrive-{parked}"]


def test_a_message_that_comes_round_again_does_not_end_or_repeat_the_redrive(deployment: Deployment) -> None:
    strays = {deployment.park("hello") for _ in range(12)}
    queue = Queue(deployment)  # type: ignore[arg-type]
    # Nothing stays hidden, so every message is seen again and again.
    seen = [event.message_id for event in queue.events(hidden_seconds=0)]
    assert len(seen) == len(set(seen))
    assert set(seen) <= strays


@given(st.text(max_size=300), st.one_of(st.none(), st.text(max_size=50)))
def test_no_message_breaks_reading_whatever_it_holds(body: str, chain: str | None) -> None:
    event = ParkedEvent("id", "receipt", body, "error", "cause", chain, SENT)
    with pytest.raises(NotAnEventError):
        event.execution_input()


_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["detail", "bucket", "object", "name", "key", "etag"]), inner, max_size=3
        )
    ),
)


@given(_JSON)
def test_any_json_is_an_event_or_is_refused(content: object) -> None:
    event = ParkedEvent("id", "receipt", json.dumps(content), "error", "cause", '["a"]', SENT)
    try:
        given_input = event.execution_input()
    except NotAnEventError:
        return
    assert isinstance(content, dict)
    assert given_input == {**content, "redriven_from": ["a"]}
    assert event.image_id().startswith(content["detail"]["object"]["key"])


def test_messages_held_by_another_reader_are_counted(deployment: Deployment) -> None:
    ids = {deployment.park() for _ in range(3)}
    # A run that was killed while it looked at them.
    held = deployment.sqs.receive_message(QueueUrl=deployment.dead_letter_queue_url, MaxNumberOfMessages=2)
    mine = deployment.park()
    assert (survey(deployment).messages, survey(deployment).unseen) == (2, 2)
    report = run(deployment)
    assert (report.started, report.unseen) == (2, 2)
    assert f"redrive-{mine}" in deployment.states.accepted
    for one in held["Messages"]:
        deployment.sqs.change_message_visibility(
            QueueUrl=deployment.dead_letter_queue_url, ReceiptHandle=one["ReceiptHandle"], VisibilityTimeout=0
        )
    report = run(deployment)
    assert (report.started, report.unseen) == (2, 0)
    assert {name.removeprefix("redrive-") for name in deployment.states.accepted} == ids | {mine}


def test_more_messages_than_can_be_looked_at_are_started_all_the_same(
    deployment: Deployment, monkeypatch: pytest.MonkeyPatch
) -> None:
    deployment.park()
    monkeypatch.setattr("operations.dead_letters.MOST_SHOWN", 0)
    with pytest.raises(UserError, match="holds 1 messages, more than can be looked at; run 'make redrive C"):
        survey(deployment)
    assert run(deployment).started == 1


def test_one_message_is_discarded_only_when_confirmed(deployment: Deployment) -> None:
    stray, event = deployment.park("hello"), deployment.park()
    assert discard(deployment, stray, confirmed=False).body == "hello"
    assert deployment.states.accepted == {}
    assert discard(deployment, stray, confirmed=True).body == "hello"
    with pytest.raises(UserError, match=f"^There is no message {stray} in the dead-letter queue of ENV=dev;"):
        discard(deployment, stray, confirmed=True)
    assert deployment.left() == {event}


def test_a_message_sqs_keeps_is_not_reported_as_deleted(
    deployment: Deployment, monkeypatch: pytest.MonkeyPatch
) -> None:
    stray = deployment.park("hello")
    monkeypatch.setattr(Queue, "delete", lambda *_: [])
    with pytest.raises(UserError, match=f"^SQS keeps message {stray} of ENV=dev; run it again"):
        discard(deployment, stray, confirmed=True)
    assert deployment.left() == {stray}


def discard(deployment: Deployment, message_id: str, *, confirmed: bool) -> ParkedEvent:
    return redrive.discard(deployment, message_id, confirmed=confirmed)  # type: ignore[arg-type]
