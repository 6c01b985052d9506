"""The photos and events that `verify` sends, and their removal."""

from __future__ import annotations

import contextlib
import json
import time
import uuid
from collections import defaultdict
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any

from botocore.exceptions import BotoCoreError, ClientError

from operations import executions, records
from operations.dead_letters import ParkedEvent, Queue
from operations.errors import UserError
from operations.program import ROOT
from operations.uploads import listing

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from operations.deployment import Deployment

# "After you enable EventBridge, it takes around five minutes for the changes to take effect."
# https://docs.aws.amazon.com/AmazonS3/latest/userguide/enable-event-notifications-eventbridge.html
FIRST_EVENT_SECONDS = 390.0
# After the first event: an analysis, with the retries of a healthy stack.
SECONDS = 90.0
_POLL_SECONDS = 0.5


@dataclass(frozen=True)
class Photo:
    """One upload: what it shows, its file, its name below the prefix, and the acceptable outcomes."""

    about: str
    file: str
    name: str
    outcomes: tuple[str, ...]
    faces: int | None = None
    deleted: bool = False


PHOTOS = (
    Photo("a portrait", "eileen-collins.jpg", "portrait.jpg", ("face_detected",), 1),
    Photo("no face", "coffee.jpg", "no face.jpg", ("no_face",), 0),
    Photo("two people", "two-portraits.jpg", "two.jpg", ("face_detected",), 2),
    Photo("not a photo", "not-a-photo.jpg", "not-a-photo.jpg", ("rejected",)),
    Photo("an odd key", "grace-hopper.jpg", "a+b %2B 'ü' \"😀\" $x.jpg", ("face_detected",), 1),
    # It may be deleted before or after it is read, but it must end in a record.
    Photo("deleted at once", "rocket.jpg", "deleted.jpg", ("rejected", "no_face"), deleted=True),
)


def queue_for_results(deployment: Deployment, name: str) -> tuple[str, str]:
    """Create a queue that the results topic may send to; return its URL and ARN."""
    topic = deployment.value("results_topic_arn")
    # In the same account and region.
    arn = f"{topic.replace(':sns:', ':sqs:').rpartition(':')[0]}:{name}"
    statement = {
        "Effect": "Allow",
        "Principal": {"Service": "sns.amazonaws.com"},
        "Action": "sqs:SendMessage",
        "Resource": arn,
        "Condition": {"ArnEquals": {"aws:SourceArn": topic}},
    }
    policy = json.dumps({"Version": "2012-10-17", "Statement": [statement]})
    made = deployment.client("sqs").create_queue(QueueName=name, Attributes={"Policy": policy})
    return str(made["QueueUrl"]), arn


@dataclass
class Trial:
    """Everything one verification created, so that all of it can be removed.

    Attributes:
        uploads: ImageID of each uploaded photo.
        notifications: facts of the notifications received, by ImageID.
        removals: functions that remove its queue, subscription and records, called at the end.
        parked: this trial's events from the dead-letter queue, by key, which is "" for the malformed one.
    """

    deployment: Deployment
    run: str = field(default_factory=lambda: uuid.uuid4().hex[:12])
    queue_url: str = ""
    removals: list[Callable[[], object]] = field(default_factory=list)
    uploads: dict[Photo, str] = field(default_factory=dict)
    events: dict[Photo, dict[str, Any]] = field(default_factory=dict)
    notifications: dict[str, list[dict[str, Any]]] = field(default_factory=lambda: defaultdict(list))
    executions: list[str] = field(default_factory=list)
    parked: dict[str, ParkedEvent] = field(default_factory=dict)

    @property
    def prefix(self) -> str:
        """The prefix of every key of this trial."""
        return f"{self.deployment.upload_prefix}verify-{self.run}/"

    def subscribe(self) -> None:
        """Subscribe a new queue to the results topic, filtered by this trial's prefix."""
        sqs, sns = self.deployment.client("sqs"), self.deployment.client("sns")
        name = f"{self.deployment.name}-verify-{self.run}"
        self.queue_url, arn = queue_for_results(self.deployment, name)
        self.removals.append(partial(sqs.delete_queue, QueueUrl=self.queue_url))
        only_ours = json.dumps({"key_prefix": [{"prefix": self.prefix}]})
        answer = sns.subscribe(
            TopicArn=self.deployment.value("results_topic_arn"),
            Protocol="sqs",
            Endpoint=arn,
            Attributes={"FilterPolicy": only_ours, "RawMessageDelivery": "true"},
            ReturnSubscriptionArn=True,
        )
        self.removals.append(partial(sns.unsubscribe, SubscriptionArn=answer["SubscriptionArn"]))

    def upload(self, photo: Photo) -> None:
        """Upload a photo, and delete it at once if it is meant to be."""
        s3, bucket = self.deployment.client("s3"), self.deployment.bucket
        key, body = self.prefix + photo.name, (ROOT / "samples" / photo.file).read_bytes()
        answer = s3.put_object(Bucket=bucket, Key=key, Body=body)
        etag, version = answer["ETag"], answer.get("VersionId")
        self.uploads[photo] = image = records.image_id(key, etag)
        record = {"TableName": self.deployment.table, "Key": {"ImageID": {"S": image}}}
        self.removals.append(partial(self.deployment.client("dynamodb").delete_item, **record))
        self.events[photo] = executions.event(bucket, key, etag, len(body), version)
        if photo.deleted:
            s3.delete_object(Bucket=bucket, Key=key, **({"VersionId": version} if version else {}))

    def start(self, content: dict[str, Any], about: str) -> None:
        """Start the workflow directly, as a duplicate or malformed event would."""
        name = f"verify-{self.run}-{about}"
        self.executions.append(str(executions.start(self.deployment, content, name)))

    def is_over(self) -> bool:
        """Whether the executions started here are over; EXPRESS ones, which cannot be described, get 10 s."""
        described = [executions.describe(self.deployment, one) for one in self.executions]
        if None in described:
            time.sleep(10)
        return all(one is None or one["status"] != "RUNNING" for one in described)

    def receive(self) -> None:
        """Read the subscribed queue's messages; they are deleted with the queue."""
        while messages := (
            self.deployment.client("sqs")
            .receive_message(QueueUrl=self.queue_url, MaxNumberOfMessages=10, VisibilityTimeout=3600)
            .get("Messages")
        ):
            for facts in (json.loads(message["Body"]) for message in messages):
                self.notifications[facts["image_id"]].append(facts)

    def take_parked(self, key: str) -> ParkedEvent | None:
        """Take this trial's events out of the dead-letter queue; return that of `key` ("": malformed)."""
        try:
            with Queue(self.deployment) as queue:
                for event in queue.events():
                    if self.run in event.body:
                        self.parked[event.key()] = event
                        queue.delete([event])
        except self.deployment.client("sqs").exceptions.QueueDoesNotExist:
            # `inspect` has already reported it.
            time.sleep(_POLL_SECONDS)
        return self.parked.get(key)

    def record(self, photo: Photo) -> records.Record | None:
        """The record of a photo, if it has one yet."""
        return records.get(self.deployment, self.uploads[photo])

    def ended_as(self, photo: Photo) -> object:
        """The record of a photo or its parked event, if it has either yet."""
        return self.record(photo) or self.take_parked(self.prefix + photo.name)

    def close(self) -> None:
        """Remove everything that was created, as far as possible."""
        self.removals += [partial(self.take_parked, ""), self._delete_objects]
        for remove in self.removals:
            with contextlib.suppress(ClientError, BotoCoreError, UserError):
                remove()

    def _delete_objects(self) -> None:
        s3, bucket = self.deployment.client("s3"), self.deployment.bucket
        for one in listing(self.deployment, self.prefix, markers=True):
            s3.delete_object(Bucket=bucket, Key=one.key, VersionId=one.version_id or "null")


@contextlib.contextmanager
def trying(deployment: Deployment, say: Callable[[str], object]) -> Iterator[Trial]:
    """A trial that is cleaned up at the end, interrupted or not."""
    with contextlib.closing(Trial(deployment)) as trial:
        try:
            yield trial
        except KeyboardInterrupt:
            say("Removing everything; photos on their way are waited for")
            # Otherwise their records would be written after the removal.
            wait_for(trial, lambda: all(map(trial.ended_as, trial.uploads)) and trial.is_over(), 15.0)
            raise


def wait_for(trial: Trial, done: Callable[[], object], seconds: float) -> bool:
    """Wait at most `seconds` for `done()`; return whether it became true."""
    deadline = time.monotonic() + seconds
    while not (found := bool(done())) and time.monotonic() < deadline:
        time.sleep(_POLL_SECONDS)
        trial.receive()
    return found
