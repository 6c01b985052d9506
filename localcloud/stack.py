"""The pipeline deployed on a local cloud, for those who upload to it and watch what comes out."""

from __future__ import annotations

import json
import shutil
import ssl
import uuid
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any, Self
from urllib.request import HTTPSHandler, ProxyHandler, Request, build_opener

from operations import deploy, state
from operations.environments import Environment

from .environment import REGION

# The SDK and rich are imported where they are used: an interrupt would meet half a second of imports.
if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from rich.console import Console

    from .cloud import LocalCloud


@dataclass(frozen=True)
class Notification:
    """What a subscriber got: `subject` as in an email, `facts` as in every other protocol's JSON."""

    subject: str
    facts: dict[str, Any]
    attributes: dict[str, str]

    @property
    def image_id(self) -> str:
        return str(self.facts["image_id"])

    @property
    def headline(self) -> str:
        """The first line of the email: the subject, which is short and ASCII, with the whole key."""
        return f"{self.subject.partition(': ')[0]}: {self.facts['key']}"


@dataclass
class Stack:
    """One environment deployed on one local cloud. `outputs` are Terraform's."""

    cloud: LocalCloud
    environment: Environment
    outputs: dict[str, Any]
    _clients: dict[str, Any] = field(default_factory=dict, repr=False)

    @classmethod
    def deploy(cls, cloud: LocalCloud, name: str = "local", console: Console | None = None) -> Self:
        """Apply environment `name` to `cloud` with Terraform.

        Raises UserError or TerraformError, one sentence each, when it cannot be applied.
        """
        from rich.console import Console

        environment = Environment.load(name, cloud)
        deploy.apply(environment, console or Console(quiet=True))
        return cls(cloud, environment, state.output(environment))

    def client(self, service: str) -> Any:
        """An SDK client of the local cloud's administrator; made once."""
        from botocore.config import Config

        if service not in self._clients:
            make: Any = self.environment.session.client
            self._clients[service] = make(
                service,
                # A proxy of the user's leads away from this computer.
                config=Config(
                    max_pool_connections=50,
                    proxies={},
                    retries={"mode": "standard", "total_max_attempts": 3},
                ),
                endpoint_url=self.cloud.endpoint_url,
                region_name=REGION,
                verify=str(self.cloud.ca_bundle),
            )
        return self._clients[service]

    @cached_property
    def bucket(self) -> str:
        return str(self.outputs["uploads_bucket_name"])

    def upload(self, key: str, body: bytes) -> str:
        """Upload a photo; answer its ImageID."""
        answer = self.client("s3").put_object(Bucket=self.bucket, Key=key, Body=body)
        return f"{key}@{answer['ETag'].strip(chr(34))}"

    def record(self, image_id: str) -> dict[str, Any] | None:
        """The record of an image in plain Python values, or None."""
        item = (
            self.client("dynamodb")
            .get_item(
                TableName=self.outputs["results_table_name"],
                Key={"ImageID": {"S": image_id}},
                ConsistentRead=True,
            )
            .get("Item")
        )
        return None if item is None else plain(item)

    def subscribe(self) -> Subscription:
        """Subscribe a new queue to the results topic, as a team's own SQS subscriber would."""
        sqs = self.client("sqs")
        url = sqs.create_queue(QueueName=f"watch-{uuid.uuid4().hex}")["QueueUrl"]
        arn = sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]
        statement = {
            "Effect": "Allow",
            "Principal": {"Service": "sns.amazonaws.com"},
            "Action": "sqs:SendMessage",
            "Resource": arn,
            "Condition": {"ArnEquals": {"aws:SourceArn": self.outputs["results_topic_arn"]}},
        }
        policy = json.dumps({"Version": "2012-10-17", "Statement": [statement]})
        sqs.set_queue_attributes(QueueUrl=url, Attributes={"Policy": policy})
        subscription = self.client("sns").subscribe(
            TopicArn=self.outputs["results_topic_arn"],
            Protocol="sqs",
            Endpoint=arn,
            ReturnSubscriptionArn=True,
        )
        return Subscription(self, url, subscription["SubscriptionArn"])

    def control_rekognition(self, method: str, path: str, content: object = None) -> Any:
        """Make the Rekognition stand-in fail, or ask what it was asked; see rekognition.py."""
        data = None if content is None else json.dumps(content).encode()
        request = Request(f"{self.cloud.endpoint_url}/_rekognition{path}", data=data, method=method)
        context = ssl.create_default_context(cafile=str(self.cloud.ca_bundle))
        opener = build_opener(ProxyHandler({}), HTTPSHandler(context=context))
        with opener.open(request, timeout=10) as answer:
            return json.load(answer)

    def dead_letters(self) -> list[dict[str, Any]]:
        """The messages in the dead-letter queue, left where they are."""
        messages: dict[str, dict[str, Any]] = {}
        for message in _receive(
            self.client("sqs"), self.outputs["dead_letter_queue_url"], VisibilityTimeout=2
        ):
            if message["MessageId"] in messages:
                break
            messages[message["MessageId"]] = message
        for message in messages.values():
            self.client("sqs").change_message_visibility(
                QueueUrl=self.outputs["dead_letter_queue_url"],
                ReceiptHandle=message["ReceiptHandle"],
                VisibilityTimeout=0,
            )
        return list(messages.values())


@dataclass
class Subscription:
    """A queue subscribed to the results topic."""

    stack: Stack
    url: str
    arn: str

    def receive(self) -> Iterator[Notification]:
        """What has arrived since the last call, at most once each."""
        sqs = self.stack.client("sqs")
        for message in _receive(sqs, self.url):
            sqs.delete_message(QueueUrl=self.url, ReceiptHandle=message["ReceiptHandle"])
            body = json.loads(message["Body"])
            yield Notification(
                subject=body["Subject"],
                facts=json.loads(body["Message"]),
                attributes={
                    name: value["Value"] for name, value in body.get("MessageAttributes", {}).items()
                },
            )

    def close(self) -> None:
        """Unsubscribe and delete the queue."""
        self.stack.client("sns").unsubscribe(SubscriptionArn=self.arn)
        self.stack.client("sqs").delete_queue(QueueUrl=self.url)


def plain(item: Mapping[str, Any]) -> dict[str, Any]:
    """A DynamoDB item in plain Python values; whole numbers as int."""
    from boto3.dynamodb.types import TypeDeserializer

    deserializer = TypeDeserializer()
    values = {name: deserializer.deserialize(value) for name, value in item.items()}
    return {name: int(value) if "N" in item[name] else value for name, value in values.items()}


def remove(directory: Path) -> None:
    """Remove what a stopped local cloud and Terraform left in `directory`."""
    shutil.rmtree(directory, ignore_errors=True)


def _receive(sqs: Any, url: str, **options: Any) -> Iterator[dict[str, Any]]:
    while True:
        messages = sqs.receive_message(
            QueueUrl=url, MaxNumberOfMessages=10, MessageAttributeNames=["All"], **options
        ).get("Messages", [])
        if not messages:
            return
        yield from messages
