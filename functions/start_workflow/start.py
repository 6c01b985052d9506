"""Start the workflow for one batch of buffered uploads, at this worker's share of the pace.

A message stays in the queue until its execution has been started. One that has to wait (the day's cap is
reached, or Step Functions refuses for now) is hidden until it is worth looking at again.
"""

from __future__ import annotations

import hashlib
import logging
import time
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from botocore.exceptions import BotoCoreError, ClientError

from . import daily_cap

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from mypy_boto3_dynamodb import DynamoDBClient
    from mypy_boto3_sqs import SQSClient
    from mypy_boto3_stepfunctions import SFNClient

    from .settings import Settings

LOGGER = logging.getLogger("start_workflow")

Record = dict[str, Any]

# Step Functions will never take these: not JSON, or longer than its 256 KiB.
# https://docs.aws.amazon.com/step-functions/latest/apireference/API_StartExecution.html
_UNUSABLE = {"InvalidExecutionInput", "ValidationException"}

# Twelve hours is the longest SQS hides a message, from when it was received.
# https://docs.aws.amazon.com/AWSSimpleQueueService/latest/SQSDeveloperGuide/sqs-visibility-timeout.html
_LONGEST_HIDDEN_SECONDS = 43_000
# At a quarter of an hour a try, the queue's 1,000 tries last ten days.
_LONGEST_PAUSE_SECONDS = 900


class Clock:
    """The time; tests have another."""

    def now(self) -> datetime:
        return datetime.now(UTC)

    def monotonic(self) -> float:
        return time.monotonic()

    def sleep(self, seconds: float) -> None:
        time.sleep(seconds)


@dataclass(frozen=True)
class Clients:
    states: SFNClient
    sqs: SQSClient
    dynamodb: DynamoDBClient | None


@dataclass
class Done:
    """The outcome of a batch. `kept`: ids of messages that stay queued; `capped`: the day's cap is why."""

    started: int = 0
    duplicates: int = 0
    parked: int = 0
    kept: list[str] = field(default_factory=list)
    capped: bool = False

    def counts(self) -> dict[str, int]:
        return asdict(self) | {"kept": len(self.kept), "capped": int(self.capped)}


def start(records: Sequence[Record], *, settings: Settings, clients: Clients, clock: Clock) -> Done:
    """Start one execution a record, no two sooner after each other than `1 / photos_per_second`.

    The last start is waited after too, so that this worker's next batch keeps the distance. Raises what
    DynamoDB raises where a cap cannot be counted: then nothing is started and SQS delivers the batch again.
    """
    done = Done()
    now = clock.now()
    counter = None
    if settings.photos_per_day and clients.dynamodb:
        counter = daily_cap.Counter(clients.dynamodb, settings.counts_table, settings.photos_per_day, now)
    allowed = counter.take(len(records)) if counter else len(records)
    step = 1 / settings.photos_per_second
    due = clock.monotonic()
    waits: dict[str, int] = {}
    for record in records[:allowed]:
        clock.sleep(max(0.0, due - clock.monotonic()))
        due = clock.monotonic() + step
        if not _start(record, settings, clients, done):
            waits[record["messageId"]] = _pause(record)
    if allowed < len(records):
        done.capped = True
        tomorrow = (now + timedelta(days=1)).replace(hour=0, minute=0, second=0, microsecond=0)
        seconds = min(_LONGEST_HIDDEN_SECONDS, int((tomorrow - now).total_seconds()) + 1)
        waits |= dict.fromkeys((one["messageId"] for one in records[allowed:]), seconds)
    _hide([one for one in records if one["messageId"] in waits], waits, settings, clients)
    done.kept = list(waits)
    if counter:
        # Should it fail, fewer photos than the cap are started today.
        with _logged():
            counter.settle(done.started)
    clock.sleep(max(0.0, due - clock.monotonic()))
    return done


def name(body: str) -> str:
    """The execution's name: the same event always has the same, and STANDARD starts a name once in 90 days.

    EXPRESS remembers no names; there the second execution finds the image taken and ends as a duplicate.
    """
    return hashlib.sha256(body.encode()).hexdigest()


def _start(record: Record, settings: Settings, clients: Clients, done: Done) -> bool:
    """Whether the message is done with."""
    body = str(record["body"])
    try:
        clients.states.start_execution(
            stateMachineArn=settings.state_machine_arn, name=name(body), input=body
        )
    except clients.states.exceptions.ExecutionAlreadyExists:
        done.duplicates += 1
        return True
    except ClientError as error:
        if error.response["Error"]["Code"] in _UNUSABLE:
            return _park(body, error, settings, clients, done)
        return _refused(error)
    except BotoCoreError as error:
        return _refused(error)
    done.started += 1
    return True


def _refused(error: Exception) -> bool:
    # A name, not the message: that can hold the event, and so an object's key.
    code = error.response["Error"]["Code"] if isinstance(error, ClientError) else type(error).__name__
    LOGGER.warning("start refused", extra={"error": code})
    return False


def _park(body: str, error: ClientError, settings: Settings, clients: Clients, done: Done) -> bool:
    """Put an event no workflow takes into the dead-letter queue, in the shape EventBridge parks events in."""
    said = error.response["Error"]
    texts = {"ERROR_CODE": said["Code"], "ERROR_MESSAGE": said.get("Message", "")[:1024] or "none given"}
    try:
        clients.sqs.send_message(
            QueueUrl=settings.dead_letter_queue_url,
            MessageBody=body,
            MessageAttributes={
                key: {"DataType": "String", "StringValue": text} for key, text in texts.items()
            },
        )
    except (ClientError, BotoCoreError) as refused:
        return _refused(refused)
    done.parked += 1
    return True


def _pause(record: Record) -> int:
    """Seconds until a refused start is tried again: 30, doubled with each try."""
    received = int(record["attributes"]["ApproximateReceiveCount"])
    return int(min(_LONGEST_PAUSE_SECONDS, 30 * 2 ** min(10, received - 1)))


def _hide(records: Sequence[Record], waits: Mapping[str, int], settings: Settings, clients: Clients) -> None:
    if not records:
        return
    # Should it fail, they come back after the queue's own visibility timeout.
    with _logged():
        clients.sqs.change_message_visibility_batch(
            QueueUrl=settings.queue_url,
            Entries=[
                {
                    "Id": str(index),
                    "ReceiptHandle": one["receiptHandle"],
                    "VisibilityTimeout": waits[one["messageId"]],
                }
                for index, one in enumerate(records)
            ],
        )


@contextmanager
def _logged() -> Iterator[None]:
    try:
        yield
    except (ClientError, BotoCoreError) as error:
        _refused(error)
