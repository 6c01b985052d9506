"""The messages in the dead-letter queue: what failed, why, and the input to start it again."""

from __future__ import annotations

import json
from contextlib import AbstractContextManager, suppress
from datetime import UTC, datetime
from functools import cached_property, partial
from typing import TYPE_CHECKING, Any, NamedTuple

from botocore.exceptions import BotoCoreError, ClientError

from operations import metrics, records
from operations.errors import UserError
from operations.executions import text_at

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from operations.deployment import Deployment

_BUCKET, _KEY, _ETAG = "detail.bucket.name", "detail.object.key", "detail.object.etag"
BATCH = 10  # the most messages SQS receives, deletes or changes at once
# A standard queue allows about 120,000 messages in flight, and receiving one puts it in flight.
# https://docs.aws.amazon.com/AWSSimpleQueueService/latest/SQSDeveloperGuide/quotas-messages.html
MOST_SHOWN = 100_000
# Long polling: short polls query only some of SQS's servers.
_WAIT_SECONDS = 1


class NotAnEventError(Exception):
    """A message cannot be redriven; the text says what is missing."""


class ParkedEvent(NamedTuple):
    """One event in the dead-letter queue.

    `chain`: JSON list of the executions that had it before, oldest first; None for an event that EventBridge
    parked. `execution`: the one that parked it, or empty. `sent`: by the queue's clock.
    """

    message_id: str
    receipt: str
    body: str
    error: str
    cause: str
    chain: str | None
    sent: datetime
    execution: str = ""

    @classmethod
    def of(cls, message: Mapping[str, Any]) -> ParkedEvent:
        """Parse a message as SQS delivers it, with all attributes."""
        texts = {
            name: one.get("StringValue", "") for name, one in message.get("MessageAttributes", {}).items()
        }
        return cls(
            message_id=message["MessageId"],
            receipt=message["ReceiptHandle"],
            body=message["Body"],
            error=texts.get("ERROR_CODE") or "none given",
            cause=texts.get("ERROR_MESSAGE", ""),
            chain=texts.get("REDRIVEN_FROM"),
            sent=datetime.fromtimestamp(int(message["Attributes"]["SentTimestamp"]) / 1000, UTC),
            execution=texts.get("EXECUTION_ID", ""),
        )

    def event(self) -> dict[str, Any]:
        """The S3 event it holds; raises NotAnEventError naming what is missing."""
        try:
            event: dict[str, Any] = json.loads(self.body)
        except ValueError:
            raise NotAnEventError("its body is not JSON") from None
        for path in (_BUCKET, _KEY, _ETAG):
            if not text_at(self.body, path):
                raise NotAnEventError(f"its body has no text in {path}")
        return event

    def image_id(self) -> str:
        """The ImageID of its record, whether there is one or not; raises as `event`."""
        self.event()
        return records.image_id(self.key(), text_at(self.body, _ETAG))

    def key(self) -> str:
        """The key of its object; empty if it has none."""
        return text_at(self.body, _KEY)

    def concerns(self, bucket: str, key: str) -> bool:
        """Whether it is about this object, even if incomplete; the queue serves one bucket."""
        return self.key() == key and text_at(self.body, _BUCKET) in ("", bucket)

    def taken_over(self) -> list[str]:
        """The executions that had it before, oldest first; raises NotAnEventError if they are not a list."""
        chain = None
        with suppress(ValueError):
            chain = json.loads(self.chain or "[]")
        if not isinstance(chain, list) or not all(isinstance(one, str) and one for one in chain):
            raise NotAnEventError("its attribute REDRIVEN_FROM is not a JSON list of executions")
        return chain

    def execution_input(self) -> dict[str, Any]:
        """The workflow's input to redrive it; raises as `event` and `taken_over`."""
        event, chain = self.event(), self.taken_over()
        return {**event, "redriven_from": chain} if chain else event


class Queue(AbstractContextManager["Queue"]):
    """The dead-letter queue of a deployment; leaving its `with` returns the messages not deleted."""

    def __init__(self, deployment: Deployment) -> None:
        self._deployment = deployment
        self._sqs = deployment.client("sqs")
        self._url = deployment.dead_letter_queue_url
        self._held: dict[str, str] = {}

    @cached_property
    def at_first(self) -> tuple[int, datetime]:
        """The approximate number of messages at the first call, and the queue's clock at that time."""
        waiting, held, now = metrics.messages(self._deployment, self._url)
        return waiting + held, now

    def held_elsewhere(self) -> int:
        """The approximate number of messages in flight with other readers."""
        return max(0, metrics.messages(self._deployment, self._url)[1] - len(self._held))

    def events(self, *, hidden_seconds: int | None = None) -> Iterator[ParkedEvent]:
        """Yield each message once, until no new one arrives.

        A message stays hidden from others for `hidden_seconds`, or until it is returned or deleted. The
        default is long enough to read the whole queue; raises UserError if the queue is too large for that.
        """
        if hidden_seconds is None:
            total, _ = self.at_first
            if total > MOST_SHOWN:
                raise UserError(
                    f"The dead-letter queue holds {total:,} messages, more than can be looked at;"
                    " run 'make redrive CONFIRM=1' first."
                )
            # Reading a thousand takes about ten seconds; none may reappear before the last is read.
            hidden_seconds = 60 + total // 50
        receive = partial(
            self._sqs.receive_message,
            QueueUrl=self._url,
            MaxNumberOfMessages=BATCH,
            MessageAttributeNames=["All"],
            AttributeNames=["SentTimestamp"],
            VisibilityTimeout=hidden_seconds,
            WaitTimeSeconds=_WAIT_SECONDS,
        )
        seen, stale = set[str](), 0
        while messages := [ParkedEvent.of(one) for one in receive().get("Messages", [])]:
            self._held |= {one.message_id: one.receipt for one in messages}
            new = [one for one in messages if one.message_id not in seen]
            # In a long run, messages that were not deleted reappear; stop after one full round of them.
            stale = 0 if new else stale + len(messages)
            if stale > len(seen):
                return
            yield from new
            # After the yield, so that messages the caller deleted are not remembered.
            seen |= {one.message_id for one in new} & self._held.keys()

    def delete(self, events: Sequence[ParkedEvent]) -> list[ParkedEvent]:
        """Delete at most ten messages; return those SQS deleted."""
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

    def __exit__(self, *_: object) -> None:
        # If this fails, messages reappear after their `hidden_seconds`.
        receipts = list(self._held.values())
        with suppress(BotoCoreError, ClientError):
            for start in range(0, len(receipts), BATCH):
                entries = [
                    {"Id": str(i), "ReceiptHandle": receipt, "VisibilityTimeout": 0}
                    for i, receipt in enumerate(receipts[start : start + BATCH])
                ]
                self._sqs.change_message_visibility_batch(QueueUrl=self._url, Entries=entries)
