"""Which uploads are accounted for, and what is done about the others."""

from __future__ import annotations

import json
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest
from botocore.exceptions import ClientError
from click.testing import CliRunner

from operations import audit
from operations import deployment as deployed
from operations.errors import UserError
from operations.uploads import Stored
from process_image.upload import Upload
from tests.unit.pipeline import BUCKET, TABLE

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from tests.unit.pipeline import Pipeline

NOW = datetime(2026, 11, 12, 13, 0, tzinfo=UTC)


def stored(key: str = "photos/anna.jpg", *, age: timedelta = timedelta(hours=1), size: int = 3) -> Stored:
    return Stored(key, "e1", size, "v1", NOW - age)


ANNA = "photos/anna.jpg@e1"
MARKED = {ANNA: {"NotifiedAt": "2026-11-12T12:00:00.000Z"}}
QUIET = {ANNA: {"NotificationDue": False}}
DUE = {ANNA: {"NotificationDue": True}}
YOUNG, SETTLED = timedelta(minutes=19), timedelta(minutes=21)


@pytest.mark.parametrize(
    ("upload", "settings", "recorded", "parked", "verdict"),
    [
        (stored(), {}, MARKED, set(), "notified"),
        (stored(), {}, QUIET, set(), "not_to_be_notified"),
        (stored(), {}, DUE, set(), "as its execution ended"),
        (stored(), {}, {ANNA: {}}, set(), "notification_unknown"),
        (stored(age=YOUNG), {}, DUE, set(), "in_flight"),
        (stored(), {}, {"photos/anna.jpg@e2": {}}, set(), "unaccounted"),
        (stored(), {}, {}, {ANNA}, "parked"),
        (stored(), {}, MARKED, {ANNA}, "parked"),
        (stored("photos/", size=0), {}, {}, set(), "not_watched"),
        (stored("photos/"), {}, {}, set(), "unaccounted"),
        (stored(), {"upload_prefix": "scans/"}, {}, set(), "not_watched"),
        (stored(), {"upload_prefix": "scans/"}, MARKED, set(), "notified"),
        (stored(), {"upload_prefix": "photos/"}, {}, set(), "unaccounted"),
        (stored(age=YOUNG), {}, {}, set(), "in_flight"),
        (stored(age=SETTLED), {}, {}, set(), "unaccounted"),
        (stored(age=timedelta(days=31)), {"record_retention_days": 30}, {}, set(), "expired"),
        (stored(age=timedelta(days=29)), {"record_retention_days": 30}, {}, set(), "unaccounted"),
        (stored(age=timedelta(days=31)), {"record_retention_days": None}, {}, set(), "unaccounted"),
    ],
)
def test_each_upload_counts_once(
    upload: Stored,
    settings: Mapping[str, Any],
    recorded: dict[str, Any],
    parked: set[str],
    verdict: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(audit, "how_it_ended", lambda *_: "as its execution ended")
    environment: Any = SimpleNamespace(settings=settings)
    deployment = deployed.Deployment(environment, {})
    record = recorded.get(upload.image_id)
    assert audit.judge(deployment, parked, NOW, audit.GRACE_SECONDS, upload, record) == verdict


@pytest.mark.parametrize(
    ("answer", "verdict"),
    [
        ({"status": "SUCCEEDED", "output": '{"message_id": "m"}'}, "notified"),
        ({"status": "SUCCEEDED", "output": '{"duplicate": true}'}, "unnotified"),
        ({"status": "RUNNING"}, "in_flight"),
        ({"status": "FAILED"}, "unnotified"),
        ({"status": "ABORTED"}, "unnotified"),
        ("ExecutionDoesNotExist", "unnotified"),
        ("InvalidArn", "unnotified"),
    ],
)
def test_a_record_with_a_notification_due_counts_as_its_execution_ended(answer: Any, verdict: str) -> None:
    def describe(**_: str) -> Any:
        if isinstance(answer, str):
            raise ClientError({"Error": {"Code": answer}}, "DescribeExecution")
        return answer

    states = SimpleNamespace(describe_execution=describe, exceptions=SimpleNamespace(ClientError=ClientError))
    deployment: Any = SimpleNamespace(client=lambda _: states)
    assert audit.how_it_ended(deployment, {"ExecutionId": "arn"}) == verdict


class ExecutionAlreadyExistsError(Exception):
    """The error the SDK has for a name that was used."""


@dataclass
class Deployment:
    """A bucket and a table in moto, an empty queue, and a workflow that only accepts."""

    pipeline: Pipeline
    started: dict[str, Any] = field(default_factory=dict)
    ended: set[str] = field(default_factory=set)
    notifies: bool = True
    bucket: str = BUCKET
    table: str = TABLE
    dead_letter_queue_url: str = "queue"
    state_machine_arn: str = "arn:stateMachine:pipeline"
    upload_prefix: str = ""
    environment: Any = field(default_factory=lambda: SimpleNamespace(name="dev", settings={}))

    def client(self, service: str) -> Any:
        return {
            "s3": self.pipeline.s3,
            "dynamodb": self.pipeline.dynamodb,
            "sqs": None,
            "stepfunctions": self,
        }[service]

    exceptions = SimpleNamespace(ClientError=ClientError, ExecutionAlreadyExists=ExecutionAlreadyExistsError)

    def start_execution(self, *, stateMachineArn: str, name: str, input: str) -> dict[str, str]:  # noqa: A002, ARG002, N803
        if name in self.started:
            raise ExecutionAlreadyExistsError
        self.started[name] = json.loads(input)
        return {"executionArn": f"arn:execution:pipeline:{name}"}

    def describe_execution(self, *, executionArn: str) -> dict[str, str]:  # noqa: N803
        name = executionArn.removeprefix("arn:execution:pipeline:")
        if name not in self.started:
            return (
                {"status": "SUCCEEDED", "output": '{"message_id": "m"}'}
                if self.notifies
                else {"status": "FAILED"}
            )
        return {"status": "ABORTED" if name in self.ended else "RUNNING"}


@pytest.fixture
def deployment(pipeline: Pipeline, monkeypatch: pytest.MonkeyPatch) -> Deployment:
    monkeypatch.setattr(audit, "parked_images", lambda _: (set(), 0))
    return Deployment(pipeline)


def run(deployment: Deployment, **options: Any) -> dict[str, Any]:
    return audit.audit(deployment, grace_seconds=0, **options)  # type: ignore[arg-type]


def test_what_is_started_is_the_upload_as_the_function_reads_it(deployment: Deployment) -> None:
    event = deployment.pipeline.upload("photos/anna +%2B.jpg", b"abc")
    account = run(deployment, confirmed=True)
    assert (account["unaccounted"], account["started"]) == (1, 1)
    (started,) = deployment.started.values()
    # A listing knows no sequencer.
    assert Upload.from_event(started) == replace(Upload.from_event(event), sequencer=None)


def test_the_image_is_the_one_the_function_recorded(deployment: Deployment) -> None:
    event = deployment.pipeline.upload("photos/anna +%2B.jpg", b"abc")
    deployment.pipeline.rekognition.finds()
    deployment.pipeline.process(event)
    account = run(deployment, confirmed=True)
    assert (account["uploaded"], account["recorded"], account["started"]) == (1, 1, 0)


def test_what_was_recorded_but_not_notified_is_notified_without_calling_rekognition_again(
    deployment: Deployment,
) -> None:
    event = deployment.pipeline.upload("photos/anna.jpg", b"abc")
    deployment.pipeline.rekognition.finds()
    deployment.pipeline.process(event)
    deployment.notifies = False
    seen = run(deployment)
    assert (seen["recorded"], seen["unnotified"], seen["notified"], deployment.started) == (1, 1, 0, {})
    assert [one["verdict"] for one in seen["images"]] == ["unnotified"]
    account = run(deployment, confirmed=True)
    assert (account["unnotified"], account["started"]) == (1, 1)
    (started,) = deployment.started.values()
    deployment.pipeline.rekognition.calls.clear()
    assert deployment.pipeline.process(started, "arn:audit")["duplicate"] is False
    assert deployment.pipeline.rekognition.calls == []


def test_a_bucket_of_any_size_is_read_in_pieces(
    deployment: Deployment, monkeypatch: pytest.MonkeyPatch
) -> None:
    read, seen = 0, []

    def endless(*_: object) -> Iterator[Stored]:
        nonlocal read
        for read in range(1, 3001):
            yield stored(f"photos/{read}.jpg")

    monkeypatch.setattr(audit, "listing", endless)
    account = run(deployment, update=lambda so_far, _: seen.append((so_far["uploaded"], read)))
    assert [uploaded for uploaded, _ in seen] == [800, 1600, 2400, 3000]
    assert all(ahead <= uploaded for uploaded, ahead in seen)
    assert (account["uploaded"], account["unaccounted"], len(account["images"])) == (3000, 3000, 1000)


def test_a_prefix_that_matches_nothing_is_an_error_and_an_empty_bucket_is_not(
    deployment: Deployment,
) -> None:
    assert run(deployment)["uploaded"] == 0
    with pytest.raises(UserError, match="begins with 'nope'"):
        run(deployment, prefix="nope")


def test_an_image_has_the_same_execution_name_all_day() -> None:
    names = {
        audit.execution_name(stored(key), moment)
        for key in ("a", "b")
        for moment in (NOW, NOW + timedelta(hours=5), NOW + timedelta(days=1))
    }
    assert len(names) == 4
    assert all(len(name) <= 80 for name in names)


def test_what_an_earlier_audit_started_is_started_again_only_when_it_has_ended(
    deployment: Deployment,
) -> None:
    deployment.pipeline.upload("photos/anna.jpg", b"abc")
    first = run(deployment, confirmed=True)
    running = run(deployment, confirmed=True)
    deployment.ended |= deployment.started.keys()
    again = run(deployment, confirmed=True)
    counts = [(account["started"], account["already_started"]) for account in (first, running, again)]
    assert counts == [(1, 0), (0, 1), (1, 0)]
    name, second = deployment.started
    assert second == f"{name}-2"
    assert deployment.started[name] == deployment.started[second]


def test_nothing_is_started_while_parked_events_are_out_of_sight(
    deployment: Deployment, monkeypatch: pytest.MonkeyPatch
) -> None:
    deployment.pipeline.upload("photos/anna.jpg", b"abc")
    monkeypatch.setattr(audit, "parked_images", lambda _: (set(), 3))
    account = run(deployment)
    assert (account["unaccounted"], account["parked_unseen"]) == (1, 3)
    with pytest.raises(UserError, match=r"^3 parked events are being read by somebody else just now"):
        run(deployment, confirmed=True)
    assert deployment.started == {}


def test_keys_dynamodb_leaves_unprocessed_are_requested_again(
    deployment: Deployment, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(5):
        event = deployment.pipeline.upload(f"photos/{number}.jpg", b"abc")
        deployment.pipeline.rekognition.finds()
        deployment.pipeline.process(event)
    batch_get_item: Any = deployment.pipeline.dynamodb.batch_get_item

    def throttled(*, RequestItems: dict[str, Any]) -> Any:  # noqa: N803
        """Two items an answer, as DynamoDB does when there are too many bytes or requests."""
        [(table, asked)] = RequestItems.items()
        keys, left = asked["Keys"][:2], asked["Keys"][2:]
        answer = batch_get_item(RequestItems={table: {**asked, "Keys": keys}})
        return {**answer, "UnprocessedKeys": {table: {**asked, "Keys": left}} if left else {}}

    monkeypatch.setattr(deployment.pipeline.dynamodb, "batch_get_item", throttled)
    account = run(deployment)
    assert (account["uploaded"], account["recorded"], account["unaccounted"]) == (5, 5, 0)


def test_without_a_terminal_there_is_no_progress_and_a_key_is_escaped(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def account(*_: object, update: Any, **__: object) -> dict[str, Any]:
        found = {"environment": "dev", "prefix": "", **dict.fromkeys(audit._TITLES, 0)}
        found |= {"uploaded": 1, "notified": 1, "already_started": 0, "parked_unseen": 0}
        update(found, [(stored("\x1b]0;owned\x07[bold]\n.jpg"), "unaccounted")])
        return found

    monkeypatch.setattr("operations.deployment.Deployment.load", lambda _: None)
    monkeypatch.setattr(audit, "audit", account)
    result = CliRunner().invoke(audit.command, [])
    assert (result.exit_code, result.stderr) == (0, "")
    assert result.stdout.startswith('Unaccounted for: "\\x1b]0;owned\\x07[bold]\\n.jpg" ')
