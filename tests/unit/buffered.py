"""A buffer for start_workflow: a fake clock, a fake Step Functions, and queues and counts in moto."""

from __future__ import annotations

import json
import threading
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Any, cast

import boto3
from botocore.exceptions import ClientError

from start_workflow.settings import Settings
from start_workflow.start import Clients, Clock, start
from tests.unit.pipeline import event_for

NOON = datetime(2026, 11, 25, 12, tzinfo=UTC)
SETTINGS = Settings(
    state_machine_arn="arn:aws:states:us-east-1:111122223333:stateMachine:pipeline",
    queue_url="set by the buffer",
    dead_letter_queue_url="set by the buffer",
    photos_per_second=5.0,
    photos_per_day=None,
    counts_table="counts",
)


@dataclass
class FakeClock(Clock):
    """A clock that only sleeping and slow calls move."""

    moment: datetime = NOON
    elapsed: float = 0.0

    def now(self) -> datetime:
        return self.moment + timedelta(seconds=self.elapsed)

    def monotonic(self) -> float:
        return self.elapsed

    def sleep(self, seconds: float) -> None:
        self.elapsed += seconds


@dataclass
class States:
    """StartExecution: each call takes `seconds`, and fails for a body with an error set."""

    clock: FakeClock
    seconds: float = 0.05
    errors: dict[str, Exception] = field(default_factory=dict)
    started: list[tuple[float, str, str]] = field(default_factory=list)

    class exceptions:  # noqa: N801 (as the SDK names it)
        class ExecutionAlreadyExists(ClientError):  # noqa: N818
            pass

    def start_execution(self, **request: str) -> None:
        moment = self.clock.monotonic()
        self.clock.elapsed += self.seconds
        if error := self.errors.get(request["input"]):
            raise error
        if any(request["name"] == one for _, one, _ in self.started):
            raise self.exceptions.ExecutionAlreadyExists({"Error": {}}, "StartExecution")
        self.started.append((moment, request["name"], request["input"]))


class OneAtATime:
    """A client for threads: each call is atomic, as AWS's are, where moto reads first and then writes."""

    _lock = threading.Lock()

    def __init__(self, client: object) -> None:
        self._client = client

    def __getattr__(self, name: str) -> Any:
        value = getattr(self._client, name)
        if name == "exceptions":
            return value

        def call(**request: Any) -> Any:
            with self._lock:
                return value(**request)

        return call


class Buffer:
    """A queue with messages, a dead-letter queue, a table of counts and one worker's clock."""

    def __init__(self, **changes: Any) -> None:
        self.sqs = boto3.client("sqs", region_name="us-east-1")
        self.dynamodb = boto3.client("dynamodb", region_name="us-east-1")
        self.dynamodb.create_table(
            TableName="counts",
            BillingMode="PAY_PER_REQUEST",
            AttributeDefinitions=[{"AttributeName": "Day", "AttributeType": "S"}],
            KeySchema=[{"AttributeName": "Day", "KeyType": "HASH"}],
        )
        urls = {
            "queue_url": self.sqs.create_queue(QueueName="uploads")["QueueUrl"],
            "dead_letter_queue_url": self.sqs.create_queue(QueueName="dead-letter")["QueueUrl"],
        }
        self.settings = replace(SETTINGS, **(urls | changes))
        self.clock = FakeClock()
        self.states = States(self.clock)
        self.hidden: dict[str, int] = {}
        self.sqs.meta.events.register("provide-client-params.sqs.ChangeMessageVisibilityBatch", self._note)

    def _note(self, params: dict[str, Any], **_: object) -> None:
        self.hidden |= {one["ReceiptHandle"]: one["VisibilityTimeout"] for one in params["Entries"]}

    def batch(self, count: int, first: int = 0) -> list[dict[str, Any]]:
        """Messages as Lambda delivers them."""
        for index in range(first, first + count):
            self.sqs.send_message(
                QueueUrl=self.settings.queue_url, MessageBody=json.dumps(event_for(f"{index}.jpg"))
            )
        messages = self.sqs.receive_message(
            QueueUrl=self.settings.queue_url,
            MaxNumberOfMessages=count,
            AttributeNames=["ApproximateReceiveCount"],
        )["Messages"]
        return [
            {
                "messageId": one["MessageId"],
                "receiptHandle": one["ReceiptHandle"],
                "body": one["Body"],
                "attributes": cast("dict[str, str]", one["Attributes"]),
            }
            for one in messages
        ]

    def work(self, records: list[dict[str, Any]]) -> Any:
        clients = Clients(cast("Any", self.states), self.sqs, self.dynamodb)
        return start(records, settings=self.settings, clients=clients, clock=self.clock)

    def counted(self, day: str = "2026-11-25") -> int:
        item = self.dynamodb.get_item(TableName="counts", Key={"Day": {"S": day}}).get("Item")
        return int(item["Started"]["N"]) if item else 0

    def dead_letters(self) -> list[dict[str, Any]]:
        answer = self.sqs.receive_message(
            QueueUrl=self.settings.dead_letter_queue_url, MessageAttributeNames=["All"]
        )
        return cast("list[dict[str, Any]]", answer.get("Messages", []))


def refusal(code: str) -> ClientError:
    return ClientError({"Error": {"Code": code, "Message": f"{code} it is"}}, "StartExecution")
