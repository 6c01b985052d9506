"""Verify uses what docs/ci.md grants its role, and the role is granted nothing else."""

from __future__ import annotations

import io
import json
import zipfile
from fnmatch import fnmatchcase
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

from operations import verify_photos
from operations.deployment import Deployment
from operations.verify import verify
from operations.verify_photos import Trial
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
# moto's.
ACCOUNT = "123456789012"
TRUST = {"Effect": "Allow", "Principal": {"Service": "states.amazonaws.com"}, "Action": "sts:AssumeRole"}


def _simulated(**_: Any) -> tuple[Any, dict[str, Any]]:
    """moto simulates nothing."""
    return SimpleNamespace(status_code=200), {"EvaluationResults": []}


def _resources(service: str, params: dict[str, Any]) -> list[str]:
    """ARNs of what a call is about, as AWS holds them against a policy's resources."""
    here = f"arn:aws:{service}:us-east-1:{ACCOUNT}:"
    match service:
        case "s3":
            return [f"arn:aws:s3:::{params['Bucket']}" + (f"/{params['Key']}" if "Key" in params else "")]
        case "dynamodb":
            tables = params.get("RequestItems", {params.get("TableName"): None})
            return [f"{here}table/{table}" for table in tables]
        case "sqs":
            return [here + params.get("QueueName", params.get("QueueUrl", "").rpartition("/")[2])]
        case "sns":
            return [params.get("TopicArn", "*")]
        case "states":
            return [params.get("stateMachineArn") or params["executionArn"]]
        case "events":
            return [f"{here}rule/{params.get('Name') or params['Rule']}"]
        case "iam":
            return [params["PolicySourceArn"]]
        case "lambda":
            return [f"{here}function:{params['FunctionName']}"]
        case "logs":
            return [f"{here}log-group:{params['logGroupName']}"]
    return ["*"]


class Stack:
    """A stack in moto with every part that verify checks, whose clients record the calls."""

    def __init__(self, pipeline: Pipeline) -> None:
        self.used: set[tuple[str, str]] = set()
        self.noting = False
        names = ("cloudwatch", "events", "iam", "lambda", "logs", "sns", "sqs", "stepfunctions")
        self.clients: dict[str, Any] = {name: client(name) for name in names}
        self.clients |= {"s3": pipeline.s3, "dynamodb": pipeline.dynamodb}
        for one in self.clients.values():
            one.meta.events.register("provide-client-params", self._note)
            one.meta.events.register("before-call.iam.SimulatePrincipalPolicy", _simulated)
        pipeline.s3.put_bucket_versioning(Bucket=BUCKET, VersioningConfiguration={"Status": "Enabled"})
        functions = {
            name: self._function(f"photo-analysis-test-{name}")
            for name in ("process_image", "send_notification")
        }
        self.clients["events"].put_rule(Name="photo-analysis-test-uploads", EventPattern="{}")
        topics = {
            f"{name}_topic_arn": self.clients["sns"].create_topic(Name=f"photo-analysis-test-{name}")[
                "TopicArn"
            ]
            for name in ("results", "alerts")
        }
        environment: Any = SimpleNamespace(
            name="dev", settings={}, local=False, client=lambda name, **_: self.clients[name]
        )
        outputs = {
            "alarm_names": [],
            "dead_letter_queue_url": self.clients["sqs"].create_queue(
                QueueName="photo-analysis-test-dead-letter"
            )["QueueUrl"],
            "function_names": functions,
            "name": "photo-analysis-test",
            "results_table_name": TABLE,
            "state_machine_arn": self.clients["stepfunctions"].create_state_machine(
                name="photo-analysis-test-pipeline-standard",
                definition="{}",
                roleArn=self._role("photo-analysis-test-pipeline"),
            )["stateMachineArn"],
            "uploads_bucket_name": BUCKET,
            **topics,
        }
        self.deployment = Deployment(environment, outputs)

    def _note(self, model: Any, params: dict[str, Any], **_: Any) -> None:
        if self.noting:
            service = model.service_model.service_name.replace("stepfunctions", "states")
            action = f"{service}:{model.name}"
            self.used |= {(ACTIONS.get(action, action), one) for one in _resources(service, params)}

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
        execution = self.deployment.state_machine_arn.replace(":stateMachine:", ":execution:")
        item = {
            "ImageID": image,
            "Key": key,
            "Outcome": "no_face",
            "ExecutionId": f"{execution}:one",
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


def _statements() -> dict[str, dict[str, Any]]:
    """The role's statements by name, for the stack of this test."""
    text = json.dumps(policy("verify.json")).replace("photo-analysis-dev-uploads-111122223333", BUCKET)
    text = text.replace("photo-analysis-dev", "photo-analysis-test").replace("111122223333", ACCOUNT)
    return {one["Sid"]: one for one in json.loads(text)["Statement"]}


def _allows(statement: dict[str, Any], action: str, resource: str) -> bool:
    return action in listed(statement["Action"]) and any(
        fnmatchcase(resource, one) for one in listed(statement["Resource"])
    )


def _refused(calls: set[tuple[str, str]], statements: dict[str, dict[str, Any]]) -> set[tuple[str, str]]:
    return {call for call in calls if not any(_allows(one, *call) for one in statements.values())}


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
    monkeypatch.setattr(verify_photos, "wait_for", once)
    stack.noting = True
    verify(stack.deployment, lambda _: None)
    statements = _statements()
    assert _refused(stack.used, statements) == set()
    # Reading the state comes before; the services use the key for their caller.
    del statements["ReadState"], statements["UseTheKey"]
    for name in statements:
        others = {other: one for other, one in statements.items() if other != name}
        assert _refused(stack.used, others), f"{name} is granted and not needed"
    unused = {
        (name, action)
        for name, one in statements.items()
        for action in listed(one["Action"])
        if not any(called == action and _allows(one, called, on) for called, on in stack.used)
    }
    assert unused == set()
