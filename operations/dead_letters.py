"""The messages of the dead-letter queue: whose work failed, why, and what starts it again."""

from __future__ import annotations

import json
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING, Any

from botocore.exceptions import BotoCoreError, ClientError

from operations import records

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from operations.deployment import Deployment

BATCH = 10  # the most messages SQS receives, deletes or changes at once
# A standard queue keeps at most about 120,000 messages in flight, and looking at one puts it in flight.
# https://docs.aws.amazon.com/AWSSimpleQueueService/latest/SQSDeveloperGuide/quotas-messages.html
MOST_SHOWN = 100_000
# How long SQS looks for messages before it says there are none; short polls ask only some of its servers.
_WAIT_SECONDS = 1


class NotAnEventError(Exception):
    """A message cannot be started again; the message says what it lacks."""


@dataclass(frozen=True)
class ParkedEvent:
    """One event in the dead-letter queue.

    `chain`: JSON list of the executions that had it before, oldest first; None for events EventBridge itself
    parked. `execution`: the one that parked it, empty likewise. `sent`: seconds since the epoch, by the
    queue's clock.
    """

    message_id: str
    receipt: str
    body: str
    error: str
    cause: str
    chain: str | None
    sent: float
    execution: str = ""

    @classmethod
    def of(cls, message: Mapping[str, Any]) -> ParkedEvent:
        """The message as SQS delivers it, with all attributes."""
        texts = {
            name: str(value.get("StringValue", ""))
            for name, value in message.get("MessageAttributes", {}).items()
        }
        return cls(
            message_id=str(message["MessageId"]),
            receipt=str(message["ReceiptHandle"]),
            body=str(message["Body"]),
            error=texts.get("ERROR_CODE") or "none given",
            cause=texts.get("ERROR_MESSAGE", ""),
            chain=texts.get("REDRIVEN_FROM"),
            sent=int(message.get("Attributes", {}).get("SentTimestamp", 0)) / 1000,
            execution=texts.get("EXECUTION_ID", ""),
        )

    def event(self) -> dict[str, Any]:
        """The S3 event it holds.

        Raises NotAnEventError naming what is missing.
        """
        try:
            event = json.loads(self.body)
        except ValueError:
            raise NotAnEventError("its body is not JSON") from None
        value: Any = event
        for name in ("detail", "bucket", "name"):
            value = value.get(name) if isinstance(value, dict) else None
        stored = event["detail"].get("object") if isinstance(value, str) else None
        for path, text in (
            ("detail.bucket.name", value),
            ("detail.object.key", stored.get("key") if isinstance(stored, dict) else None),
            ("detail.object.etag", stored.get("etag") if isinstance(stored, dict) else None),
        ):
            if not isinstance(text, str) or not text:
                raise NotAnEventError(f"its body has no text in {path}")
        found: dict[str, Any] = event
        return found

    def image_id(self) -> str:
        """The ImageID its record has or would have.

        Raises NotAnEventError as `event`.
        """
        stored = self.event()["detail"]["object"]
        return records.image_id(stored["key"], stored["etag"])

    def key(self) -> str:
        """The key of its object, as far as it has one; else empty."""
        try:
            return str(json.loads(self.body)["detail"]["object"]["key"])
        except (ValueError, KeyError, TypeError):
            return ""

    def concerns(self, bucket: str, key: str) -> bool:
        """Whether it is of this object, be the event complete or not; the queue is of one bucket."""
        try:
            detail = json.loads(self.body)["detail"]
            named = detail["bucket"]["name"] if "bucket" in detail else bucket
            return (named, detail["object"]["key"]) == (bucket, key)
        except (ValueError, KeyError, TypeError):
            return False

    def execution_input(self) -> dict[str, Any]:
        """What to start the workflow with: the event, and the executions it takes over from if there are any.

        Raises NotAnEventError as `event`, or when REDRIVEN_FROM is not a JSON list of texts.
        """
        event = self.event()
        if self.chain is None:
            return event
        try:
            chain = json.loads(self.chain)
        except ValueError:
            chain = None
        if not isinstance(chain, list) or not all(isinstance(one, str) and one for one in chain):
            raise NotAnEventError("its attribute REDRIVEN_FROM is not a JSON list of executions")
        return {**event, "redriven_from": chain}


class Queue:
    """The dead-letter queue, read so that what is not deleted is given back."""

    def __init__(self, sqs: Any, url: str) -> None:
        self._sqs = sqs
        self._url = url
        self._held: dict[str, str] = {}

    def state(self) -> tuple[int, float]:
        """About how many messages it holds, and the time by its clock."""
        answer = self._sqs.get_queue_attributes(
            QueueUrl=self._url,
            AttributeNames=["ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible"],
        )
        try:
            now = parsedate_to_datetime(answer["ResponseMetadata"]["HTTPHeaders"]["date"]).timestamp()
        except (KeyError, ValueError):
            now = datetime.now(UTC).timestamp()
        return sum(int(count) for count in answer["Attributes"].values()), now

    def held_elsewhere(self) -> int:
        """About how many messages others have received and neither deleted nor given back."""
        answer = self._sqs.get_queue_attributes(
            QueueUrl=self._url, AttributeNames=["ApproximateNumberOfMessagesNotVisible"]
        )
        hidden = int(answer["Attributes"]["ApproximateNumberOfMessagesNotVisible"])
        return max(0, hidden - len(self._held))

    def peek(self) -> list[ParkedEvent]:
        """Ten messages at most, each once, left visible to everybody."""
        messages = self._receive(hidden_seconds=0, wait_seconds=0)
        return list({one["MessageId"]: ParkedEvent.of(one) for one in messages}.values())

    def _receive(self, *, hidden_seconds: int, wait_seconds: int) -> list[dict[str, Any]]:
        messages: list[dict[str, Any]] = self._sqs.receive_message(
            QueueUrl=self._url,
            MaxNumberOfMessages=BATCH,
            MessageAttributeNames=["All"],
            AttributeNames=["SentTimestamp"],
            VisibilityTimeout=hidden_seconds,
            WaitTimeSeconds=wait_seconds,
        ).get("Messages", [])
        return messages

    def events(self, *, hidden_seconds: int) -> Iterator[list[ParkedEvent]]:
        """Batches of messages, each message once, until none is left to see.

        A message stays hidden from others for `hidden_seconds` or until `give_back` or `delete`.
        """
        seen: set[str] = set()
        stale = 0
        while True:
            messages = self._receive(hidden_seconds=hidden_seconds, wait_seconds=_WAIT_SECONDS)
            self._held |= {one["MessageId"]: one["ReceiptHandle"] for one in messages}
            new = [ParkedEvent.of(one) for one in messages if one["MessageId"] not in seen]
            # In a long run, messages that stay come round again; after one whole round of them it is over.
            stale = 0 if new else stale + len(messages)
            if not messages or stale > len(seen):
                return
            if not new:
                continue
            yield new
            # Afterwards, so that a deleted message need not be remembered.
            seen |= {one.message_id for one in new} & self._held.keys()

    def delete(self, events: Sequence[ParkedEvent]) -> list[ParkedEvent]:
        """Delete messages, ten at most; answer those that were."""
        if not events:
            return []
        answer = self._sqs.delete_message_batch(
            QueueUrl=self._url,
            Entries=[{"Id": str(i), "ReceiptHandle": one.receipt} for i, one in enumerate(events)],
        )
        done = [events[int(one["Id"])] for one in answer.get("Successful", [])]
        for event in done:
            self._held.pop(event.message_id, None)
        return done

    def give_back(self) -> None:
        """Make every message that was received and not deleted visible again, as far as that can be done now.

        What cannot be given back comes back by itself after its `hidden_seconds`.
        """
        receipts = list(self._held.values())
        self._held.clear()
        for start in range(0, len(receipts), BATCH):
            try:
                self._sqs.change_message_visibility_batch(
                    QueueUrl=self._url,
                    Entries=[
                        {"Id": str(i), "ReceiptHandle": receipt, "VisibilityTimeout": 0}
                        for i, receipt in enumerate(receipts[start : start + BATCH])
                    ],
                )
            except (BotoCoreError, ClientError):
                return


@contextmanager
def reading(deployment: Deployment) -> Iterator[Queue]:
    """The dead-letter queue of a deployment; what is not deleted is given back in the end."""
    queue = Queue(deployment.client("sqs"), deployment.dead_letter_queue_url)
    try:
        yield queue
    finally:
        queue.give_back()
