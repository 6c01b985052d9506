"""The photos and events a deployment proves itself with, and how they are removed again."""

from __future__ import annotations

import contextlib
import json
import time
import uuid
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from botocore.exceptions import BotoCoreError, ClientError

from operations import executions
from operations.program import ROOT

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from operations.deployment import Deployment

SAMPLES = ROOT / "samples"
# "After you enable EventBridge, it takes around five minutes for the changes to take effect."
# https://docs.aws.amazon.com/AmazonS3/latest/userguide/enable-event-notifications-eventbridge.html
FIRST_EVENT_SECONDS = 390.0
# From then on: an analysis, with the retries a sound stack needs.
SECONDS = 90.0
_POLL_SECONDS = 0.5
_EXPRESS_SECONDS = 10.0


@dataclass(frozen=True)
class Photo:
    """One upload: what it shows, its file, its name below the prefix, and the outcome it ought to have.

    Attributes:
        outcomes: any of these is right.
    """

    about: str
    file: str
    name: str
    outcomes: frozenset[str]
    faces: int | None = None
    deleted: bool = False


PHOTOS = (
    Photo("a portrait", "eileen-collins.jpg", "portrait.jpg", frozenset({"face_detected"}), 1),
    Photo("no face", "coffee.jpg", "no face.jpg", frozenset({"no_face"}), 0),
    Photo("two people", "two-portraits.jpg", "two.jpg", frozenset({"face_detected"}), 2),
    Photo("not a photo", "not-a-photo.jpg", "not-a-photo.jpg", frozenset({"rejected"})),
    Photo("an odd key", "grace-hopper.jpg", "a+b %2B 'ü' \"😀\" $x.jpg", frozenset({"face_detected"}), 1),
    # Whether it is read before it is gone is chance; that it ends in a record is not.
    Photo("deleted at once", "rocket.jpg", "deleted.jpg", frozenset({"rejected", "no_face"}), deleted=True),
)


@dataclass
class Trial:
    """Everything one verification made, so that all of it can be removed.

    Attributes:
        uploads: ImageID of each photo that was uploaded.
        notifications: facts of the notifications that came, by ImageID.
        parked: attributes and body of the events of this trial in the dead-letter queue.
    """

    deployment: Deployment
    prefix: str
    run: str = field(default_factory=lambda: uuid.uuid4().hex[:12])
    queue_url: str = ""
    subscription: str = ""
    uploads: dict[Photo, str] = field(default_factory=dict)
    events: dict[Photo, dict[str, Any]] = field(default_factory=dict)
    notifications: dict[str, list[dict[str, Any]]] = field(default_factory=dict)
    executions: list[str] = field(default_factory=list)
    parked: list[dict[str, Any]] = field(default_factory=list)

    def subscribe(self) -> None:
        """Subscribe a queue of this trial's own to the results topic, filtered by its prefix."""
        sqs, sns = self.deployment.client("sqs"), self.deployment.client("sns")
        topic = self.deployment.outputs["results_topic_arn"]
        name = f"{self.deployment.name}-verify-{self.run}"
        self.queue_url = sqs.create_queue(QueueName=name)["QueueUrl"]
        arn = sqs.get_queue_attributes(QueueUrl=self.queue_url, AttributeNames=["QueueArn"])["Attributes"][
            "QueueArn"
        ]
        policy = {
            "Version": "2012-10-17",
            "Statement": [
                {
                    "Effect": "Allow",
                    "Principal": {"Service": "sns.amazonaws.com"},
                    "Action": "sqs:SendMessage",
                    "Resource": arn,
                    "Condition": {"ArnEquals": {"aws:SourceArn": topic}},
                }
            ],
        }
        sqs.set_queue_attributes(QueueUrl=self.queue_url, Attributes={"Policy": json.dumps(policy)})
        attributes = {
            "FilterPolicy": json.dumps({"key_prefix": [{"prefix": self.prefix}]}),
            "RawMessageDelivery": "true",
        }
        answer = sns.subscribe(
            TopicArn=topic, Protocol="sqs", Endpoint=arn, Attributes=attributes, ReturnSubscriptionArn=True
        )
        self.subscription = answer["SubscriptionArn"]

    def upload(self, photo: Photo, folder: Path = SAMPLES) -> None:
        """Upload a photo, and delete it again where that is its point."""
        s3, bucket = self.deployment.client("s3"), self.deployment.bucket
        key, body = self.prefix + photo.name, (folder / photo.file).read_bytes()
        answer = s3.put_object(Bucket=bucket, Key=key, Body=body)
        etag, version = answer["ETag"].strip('"'), answer.get("VersionId")
        self.uploads[photo] = f"{key}@{etag}"
        self.events[photo] = executions.event(bucket, key, etag, len(body), version)
        if photo.deleted:
            s3.delete_object(Bucket=bucket, Key=key, **({"VersionId": version} if version else {}))

    def start(self, content: dict[str, Any], about: str) -> str | None:
        """Start the workflow itself, as an event delivered twice or a malformed one does."""
        client = self.deployment.client("stepfunctions")
        answer = client.start_execution(
            stateMachineArn=self.deployment.state_machine_arn,
            name=f"verify-{self.run}-{about}",
            input=json.dumps(content),
        )
        self.executions.append(str(answer["executionArn"]))
        return self.executions[-1]

    def ended(self) -> bool:
        """Whether the executions it started itself are over; EXPRESS ones, which cannot be asked, in time."""
        client = self.deployment.client("stepfunctions")
        try:
            return all(
                client.describe_execution(executionArn=one)["status"] != "RUNNING" for one in self.executions
            )
        except (client.exceptions.InvalidArn, client.exceptions.ExecutionDoesNotExist):
            time.sleep(_EXPRESS_SECONDS)
            return True

    def receive(self) -> None:
        """Take what the subscribed queue holds, and look for this trial's events among the parked ones."""
        sqs = self.deployment.client("sqs")
        while messages := sqs.receive_message(
            QueueUrl=self.queue_url, MaxNumberOfMessages=10, WaitTimeSeconds=0
        ).get("Messages"):
            for message in messages:
                facts = json.loads(message["Body"])
                self.notifications.setdefault(str(facts.get("image_id")), []).append(facts)
                sqs.delete_message(QueueUrl=self.queue_url, ReceiptHandle=message["ReceiptHandle"])

    def take_parked(self) -> None:
        """Take this trial's events out of the dead-letter queue; everybody else's stay."""
        sqs, url = self.deployment.client("sqs"), self.deployment.dead_letter_queue_url
        try:
            answer = sqs.receive_message(
                QueueUrl=url,
                MaxNumberOfMessages=10,
                MessageAttributeNames=["All"],
                VisibilityTimeout=5,
                WaitTimeSeconds=1,
            )
        except sqs.exceptions.QueueDoesNotExist:
            # Said of the queue itself already.
            time.sleep(_POLL_SECONDS)
            return
        for message in answer.get("Messages", []):
            attributes = {
                name: str(one.get("StringValue", ""))
                for name, one in message.get("MessageAttributes", {}).items()
            }
            if self.run in message["Body"]:
                self.parked.append({"key": _key(message["Body"]), **attributes})
                sqs.delete_message(QueueUrl=url, ReceiptHandle=message["ReceiptHandle"])
            else:
                sqs.change_message_visibility(
                    QueueUrl=url, ReceiptHandle=message["ReceiptHandle"], VisibilityTimeout=0
                )

    def record(self, photo: Photo) -> Mapping[str, Any] | None:
        """The record of a photo as DynamoDB's typed attributes."""
        answer = self.deployment.client("dynamodb").get_item(
            TableName=self.deployment.table, Key={"ImageID": {"S": self.uploads[photo]}}, ConsistentRead=True
        )
        item: Mapping[str, Any] | None = answer.get("Item")
        return item

    def remove(self) -> None:
        """Remove all that was made, as far as it can be; what is gone already is no error."""
        deployment = self.deployment
        for image_id in self.uploads.values():
            with contextlib.suppress(ClientError, BotoCoreError):
                deployment.client("dynamodb").delete_item(
                    TableName=deployment.table, Key={"ImageID": {"S": image_id}}
                )
        s3 = deployment.client("s3")
        with contextlib.suppress(ClientError, BotoCoreError):
            for page in s3.get_paginator("list_object_versions").paginate(
                Bucket=deployment.bucket, Prefix=self.prefix
            ):
                for one in [*page.get("Versions", []), *page.get("DeleteMarkers", [])]:
                    s3.delete_object(Bucket=deployment.bucket, Key=one["Key"], VersionId=one["VersionId"])
        with contextlib.suppress(ClientError, BotoCoreError):
            self.take_parked()
        if self.subscription:
            with contextlib.suppress(ClientError, BotoCoreError):
                deployment.client("sns").unsubscribe(SubscriptionArn=self.subscription)
        if self.queue_url:
            with contextlib.suppress(ClientError, BotoCoreError):
                deployment.client("sqs").delete_queue(QueueUrl=self.queue_url)


def _key(body: str) -> str | None:
    """The key in a parked event; None of a malformed one."""
    try:
        return str(json.loads(body)["detail"]["object"]["key"])
    except (ValueError, KeyError, TypeError):
        return None


@contextlib.contextmanager
def trial(deployment: Deployment) -> Iterator[Trial]:
    """A verification of `deployment` under a prefix of its own, removed in the end, interrupted or not."""
    made = Trial(deployment, "")
    made.prefix = f"{deployment.upload_prefix}verify-{made.run}/"
    try:
        yield made
    finally:
        made.remove()


def wait_for(trial: Trial, done: Any, seconds: float) -> bool:
    """Wait until `done()`, `seconds` at most; whether it came."""
    deadline = time.monotonic() + seconds
    while not (found := bool(done())) and time.monotonic() < deadline:
        time.sleep(_POLL_SECONDS)
        trial.receive()
    return found
