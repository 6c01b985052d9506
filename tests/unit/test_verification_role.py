"""Verify uses what docs/ci.md grants its role, and the role is granted nothing else."""

from __future__ import annotations

import io
import json
import zipfile
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

from operations import verification
from operations.deployment import Deployment
from operations.verification import Trial
from operations.verify import verify
from tests.documents.grants import policy
from tests.documents.permissions import listed
from tests.unit.pipeline import BUCKET, TABLE, Pipeline, client

if TYPE_CHECKING:
    import pytest

# Where an action is not called as the operation is.
# https://docs.aws.amazon.com/service-authorization/latest/reference/list_amazons3.html
ACTIONS = {
    "s3:DeleteObject": "s3:DeleteObjectVersion",
    "s3:GetBucketNotificationConfiguration": "s3:GetBucketNotification",
    "s3:ListObjectVersions": "s3:ListBucketVersions",
    "sqs:ChangeMessageVisibilityBatch": "sqs:ChangeMessageVisibility",
    "sqs:DeleteMessageBatch": "sqs:DeleteMessage",
}
TRUST = {"Effect": "Allow", "Principal": {"Service": "states.amazonaws.com"}, "Action": "sts:AssumeRole"}


class Stack:
    """A stack of moto's with every part that verify looks at, whose clients note what is called."""

    def __init__(self, pipeline: Pipeline) -> None:
        self.used: set[str] = set()
        self.noting = False
        names = ("cloudwatch", "events", "iam", "lambda", "logs", "sns", "sqs", "stepfunctions")
        self.clients: dict[str, Any] = {name: client(name) for name in names}
        self.clients |= {"s3": pipeline.s3, "dynamodb": pipeline.dynamodb}
        for one in self.clients.values():
            one.meta.events.register("before-call", self._note)
        pipeline.s3.put_bucket_versioning(Bucket=BUCKET, VersioningConfiguration={"Status": "Enabled"})
        functions = {name: self._function(name) for name in ("process_image", "send_notification")}
        self.clients["events"].put_rule(Name="photos-dev-uploads", EventPattern="{}")
        topics = {
            f"{name}_topic_arn": self.clients["sns"].create_topic(Name=f"photos-dev-{name}")["TopicArn"]
            for name in ("results", "alerts")
        }
        environment: Any = SimpleNamespace(
            name="dev", settings={}, local=False, client=lambda name, **_: self.clients[name]
        )
        outputs = {
            "alarm_names": [],
            "dead_letter_queue_url": self.clients["sqs"].create_queue(QueueName="dead-letter")["QueueUrl"],
            "function_names": functions,
            "name": "photos-dev",
            "results_table_name": TABLE,
            "state_machine_arn": self.clients["stepfunctions"].create_state_machine(
                name="photos-dev-pipeline-standard", definition="{}", roleArn=self._role("pipeline")
            )["stateMachineArn"],
            "uploads_bucket_name": BUCKET,
            **topics,
        }
        self.deployment = Deployment(environment, outputs)

    def _note(self, model: Any, **_: Any) -> tuple[Any, dict[str, Any]] | None:
        if self.noting:
            service = model.service_model.service_name.replace("stepfunctions", "states")
            action = f"{service}:{model.name}"
            self.used.add(ACTIONS.get(action, action))
        # moto simulates nothing.
        if model.name == "SimulatePrincipalPolicy":
            return SimpleNamespace(status_code=200), {"EvaluationResults": []}
        return None

    def _role(self, name: str) -> str:
        document = json.dumps({"Version": "2012-10-17", "Statement": [TRUST]})
        role = self.clients["iam"].create_role(RoleName=name, AssumeRolePolicyDocument=document)
        return str(role["Role"]["Arn"])

    def _function(self, name: str) -> str:
        content = io.BytesIO()
        with zipfile.ZipFile(content, "w") as archive:
            archive.writestr("handler.py", "")
        self.clients["lambda"].create_function(
            FunctionName=name,
            Runtime="python3.13",
            Role=self._role(name),
            Handler="handler.handler",
            Code={"ZipFile": content.getvalue()},
        )
        self.clients["logs"].create_log_group(logGroupName=f"/aws/lambda/{name}")
        return name

    def park(self, body: object) -> None:
        url = self.deployment.dead_letter_queue_url
        self.clients["sqs"].send_message(QueueUrl=url, MessageBody=json.dumps(body))

    def process(self, trial: Trial, image: str) -> None:
        """What the pipeline does with an upload: a record that says how it ended, and a notification."""
        self.noting = False
        key = image.rpartition("@")[0]
        item = {
            "ImageID": image,
            "Key": key,
            "Outcome": "no_face",
            "ExecutionId": trial.executions[0] if trial.executions else "none",
        }
        record: dict[str, Any] = {name: {"S": value} for name, value in item.items()}
        record |= {"FaceCount": {"N": "0"}, "NotificationDue": {"BOOL": True}}
        self.clients["dynamodb"].put_item(TableName=TABLE, Item=record)
        self.clients["sns"].publish(
            TopicArn=self.deployment.value("results_topic_arn"),
            Message=json.dumps({"image_id": image}),
            MessageAttributes={"key_prefix": {"DataType": "String", "StringValue": trial.prefix}},
        )
        self.noting = True


def test_verify_uses_what_its_role_is_granted_and_all_of_it(
    pipeline: Pipeline, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("operations.dead_letters._WAIT_SECONDS", 0)
    stack = Stack(pipeline)
    upload, start = Trial.upload, Trial.start

    def uploaded(trial: Trial, photo: Any) -> None:
        upload(trial, photo)
        stack.process(trial, trial.uploads[photo])

    def started(trial: Trial, content: dict[str, Any], about: str) -> None:
        start(trial, content, about)
        stack.noting = False
        # A malformed event is parked; somebody else's is there as well.
        stack.park(content)
        stack.park({"detail": {"object": {"key": "somebody's.jpg"}}})
        stack.noting = True

    def once(trial: Trial, done: Any, _: float) -> bool:
        trial.receive()
        return bool(done())

    monkeypatch.setattr(Trial, "upload", uploaded)
    monkeypatch.setattr(Trial, "start", started)
    monkeypatch.setattr(verification, "wait_for", once)
    stack.noting = True
    verify(stack.deployment, lambda _: None)
    granted = {action for one in policy("verify.json")["Statement"] for action in listed(one["Action"])}
    # Reading the state comes before; the services use the key for their caller.
    assert stack.used == granted - {"s3:GetObject", "kms:Decrypt", "kms:GenerateDataKey"}
