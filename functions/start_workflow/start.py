"""Start the workflow for one batch of buffered uploads, at this worker's share of the pace.

A message stays in the queue until its execution has been started. One that has to wait (the day's cap is
reached, or Step Functions refuses for now) is hidden until its next retry.
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

# Step Functions will never accept these: not JSON, or longer than 256 KiB.
# https://docs.aws.amazon.com/step-functions/latest/apireference/API_StartExecution.html
_UNUSABLE = {"InvalidExecutionInput", "ValidationException"}

# SQS hides a message for at most twelve hours after it was received.
# https://docs.aws.amazon.com/AWSSimpleQueueService/latest/SQSDeveloperGuide/sqs-visibility-timeout.html
_LONGEST_HIDDEN_SECONDS = 43_000
# At 15 minutes a try, the queue's limit of 1,000 tries lasts ten days.
_LONGEST_PAUSE_SECONDS = 900


class Clock:
    """The time; tests replace it."""

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
    """The outcome of a batch. `kept`: ids of messages that stay queued; `capped`: due to the day's cap."""

    started: int = 0
    duplicates: int = 0
    parked: int = 0
    kept: list[str] = field(default_factory=list)
    capped: bool = False

    def counts(self) -> dict[str, int]:
        return asdict(self) | {"kept": len(self.kept), "capped": int(self.capped)}


def start(records: Sequence[Record], *, settings: Settings, clients: Clients, clock: Clock) -> Done:
    """Start one execution for each record, at least `1 / photos_per_second` apart.

    It waits after the last start too, for this worker's next batch. Raises what DynamoDB raises if the cap
    cannot be counted: then nothing is started and SQS delivers the batch again.
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
        # If it fails, fewer photos than the cap are started today.
        with _logged():
            counter.settle(done.started)
    clock.sleep(max(0.0, due - clock.monotonic()))
    return done


def name(body: str) -> str:
    """The execution's name, always the same for one event; STANDARD starts a name once in 90 days.

    EXPRESS remembers no names: a second execution finds the image claimed and ends as a duplicate.
    """
    return hashlib.sha256(body.encode()).hexdigest()


def _start(record: Record, settings: Settings, clients: Clients, done: Done) -> bool:
    """Start, or park, one message; return False if it must stay in the queue."""
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
    # The error's name, not its message, which can contain the event, and so an object's key.
    code = error.response["Error"]["Code"] if isinstance(error, ClientError) else type(error).__name__
    LOGGER.warning("start refused", extra={"error": code})
    return False


def _park(body: str, error: ClientError, settings: Settings, clients: Clients, done: Done) -> bool:
    """Park an event that no workflow accepts in the dead-letter queue, in the same format as EventBridge."""
    given = error.response["Error"]
    texts = {"ERROR_CODE": given["Code"], "ERROR_MESSAGE": given.get("Message", "")[:1024] or "none given"}
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
    """Seconds until a refused start is retried: 30, doubled with each try."""
    received = int(record["attributes"]["ApproximateReceiveCount"])
    return int(min(_LONGEST_PAUSE_SECONDS, 30 * 2 ** min(10, received - 1)))


def _hide(records: Sequence[Record], waits: Mapping[str, int], settings: Settings, clients: Clients) -> None:
    if not records:
        return
    # If it fails, they reappear after the queue's own visibility timeout.
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
