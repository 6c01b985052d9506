"""The pipeline deployed on a local cloud, with helpers to upload to it and receive its notifications."""

from __future__ import annotations

import contextlib
import json
import os
import sys
import uuid
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, Self

import click
import urllib3
from botocore.exceptions import BotoCoreError, ClientError
from rich.console import Console

from operations import deploy, records, state
from operations.dead_letters import ParkedEvent, Queue
from operations.deployment import Deployment
from operations.environments import Environment
from operations.verify_photos import queue_for_results

from .cloud import BUILD, LocalCloud, LocalCloudError, shown

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@dataclass(frozen=True)
class Notification:
    """What a subscriber received: `subject` as in an email, `facts` as in the JSON of other protocols."""

    subject: str
    facts: dict[str, Any]
    attributes: dict[str, str]

    @property
    def image_id(self) -> str:
        return str(self.facts["image_id"])


class Stack(Deployment):
    """One environment deployed on one local cloud."""

    @classmethod
    def deploy(cls, cloud: LocalCloud, name: str = "local", console: Console | None = None) -> Self:
        """Apply environment `name` to `cloud` with Terraform.

        Raises UserError or TerraformError, one sentence each, when it cannot be applied.
        """
        environment = Environment.load(name, cloud)
        deploy.apply(environment, console or Console(quiet=True))
        return cls(environment, state.output(environment))

    @property
    def cloud(self) -> LocalCloud:
        assert isinstance(self.environment.cloud, LocalCloud)
        return self.environment.cloud

    def upload(self, key: str, body: bytes) -> str:
        """Upload a photo; return its ImageID."""
        answer = self.client("s3").put_object(Bucket=self.bucket, Key=key, Body=body)
        return records.image_id(key, answer["ETag"])

    def record(self, image_id: str) -> records.Record | None:
        return records.get(self, image_id)

    def subscribe(self) -> Subscription:
        """Subscribe a new queue to the results topic, as a team's own SQS subscriber would."""
        return Subscription(self)

    def control_rekognition(self, method: str, path: str, content: object = None) -> Any:
        """Make the Rekognition stand-in fail, or query the calls it received; see rekognition.py."""
        answer = self.cloud.request(method, f"/_rekognition{path}", content)
        if answer.status != 200:
            raise ValueError(answer.json()["message"])
        return answer.json()

    def dead_letters(self) -> list[ParkedEvent]:
        """The messages in the dead-letter queue, which is left unchanged."""
        with Queue(self) as queue:
            return list(queue.events(hidden_seconds=5))


class Subscription:
    """A queue subscribed to the results topic."""

    def __init__(self, stack: Stack) -> None:
        self._sqs, self._sns = stack.client("sqs"), stack.client("sns")
        self.url, arn = queue_for_results(stack, f"watch-{uuid.uuid4().hex}")
        self._arn = self._sns.subscribe(
            TopicArn=stack.outputs["results_topic_arn"],
            Protocol="sqs",
            Endpoint=arn,
            ReturnSubscriptionArn=True,
        )["SubscriptionArn"]

    def receive(self) -> Iterator[Notification]:
        """Yield the notifications received since the last call, each at most once."""
        receive = partial(self._sqs.receive_message, QueueUrl=self.url, MaxNumberOfMessages=10)
        while messages := receive().get("Messages"):
            for message in messages:
                self._sqs.delete_message(QueueUrl=self.url, ReceiptHandle=message["ReceiptHandle"])
                body = json.loads(message["Body"])
                attributes = body.get("MessageAttributes", {})
                yield Notification(
                    subject=body["Subject"],
                    facts=json.loads(body["Message"]),
                    attributes={name: value["Value"] for name, value in attributes.items()},
                )

    def close(self) -> None:
        self._sns.unsubscribe(SubscriptionArn=self._arn)
        self._sqs.delete_queue(QueueUrl=self.url)


@contextlib.contextmanager
def deployed(directory: Path, console: Console) -> Iterator[Stack]:
    """The pipeline on a new local cloud in `directory`, which is stopped at the end of the block.

    Raises LocalCloudError, or another UserError, in one sentence. An interrupt exits the program.
    """
    try:
        console.print("Starting a local cloud")
        with LocalCloud.start(directory) as cloud:
            console.print("Applying environments/local.tfvars (Terraform itself waits about a minute)")
            yield Stack.deploy(cloud, console=console)
    except KeyboardInterrupt:
        click.echo("Interrupted; nothing is left running.", err=True)
        sys.exit(130)
    except (BotoCoreError, ClientError, urllib3.exceptions.HTTPError) as error:
        raise LocalCloudError(
            f"The local cloud failed: {error}; the logs are in {shown(directory)}."
        ) from error


class _Changed(Environment):
    """An environment with a temporary variables file."""

    @property
    def variables_file(self) -> Path:
        return BUILD / f"changed-{os.getpid()}.tfvars"


@contextlib.contextmanager
def changed(usual: Environment, variables: str) -> Iterator[Environment]:
    """The environment with other `variables`, valid within this block."""
    environment = _Changed(usual.name, usual.settings, usual.backend, usual.cloud)
    environment.variables_file.parent.mkdir(exist_ok=True)
    environment.variables_file.write_text(variables, "utf-8")
    try:
        yield environment
    finally:
        environment.variables_file.unlink(missing_ok=True)
