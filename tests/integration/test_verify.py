"""A deployment proves itself, and a sabotaged one names the part that is broken."""

from __future__ import annotations

import contextlib
import json
from typing import TYPE_CHECKING, Any

import pytest

from operations import verify_photos
from operations.deployment import Deployment
from operations.verify import verify

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from localcloud.stack import Stack
    from operations.preflight import Line

    Sabotage = Callable[["Deployment"], contextlib.AbstractContextManager[None]]


@pytest.fixture
def deployment(stack: Stack, monkeypatch: pytest.MonkeyPatch) -> Deployment:
    # What does not come on a broken stack is not waited for as long as S3's first events.
    monkeypatch.setattr(verify_photos, "SECONDS", 12.0)
    monkeypatch.setattr(verify_photos, "FIRST_EVENT_SECONDS", 20.0)
    found = Deployment(stack.environment, dict(stack.outputs))
    # Other tests make alarms ring on purpose.
    cloudwatch = found.client("cloudwatch")
    for alarm in cloudwatch.describe_alarms(StateValue="ALARM")["MetricAlarms"]:
        cloudwatch.set_alarm_state(
            AlarmName=alarm["AlarmName"], StateValue="OK", StateReason="a test is over"
        )
    return found


def by_outcome(lines: list[Line], outcome: str) -> dict[str, str]:
    return {line.about: line.text for line in lines if line.outcome == outcome}


def left(deployment: Deployment) -> dict[str, int]:
    """What a verification may leave behind: its objects, subscriptions, queues and records."""
    versions = deployment.client("s3").list_object_versions(Bucket=deployment.bucket, Prefix="verify-")
    topic = deployment.outputs["results_topic_arn"]
    subscriptions = deployment.client("sns").list_subscriptions_by_topic(TopicArn=topic)["Subscriptions"]
    queues = (
        deployment.client("sqs").list_queues(QueueNamePrefix=f"{deployment.name}-verify").get("QueueUrls", [])
    )
    records = deployment.client("dynamodb").scan(TableName=deployment.table)["Items"]
    return {
        "objects": len(versions.get("Versions", [])) + len(versions.get("DeleteMarkers", [])),
        "subscriptions": sum("-verify-" in one["Endpoint"] for one in subscriptions),
        "queues": len(queues),
        "records": sum(item["Key"]["S"].startswith("verify-") for item in records if "Key" in item),
    }


def test_a_sound_deployment_passes_and_nothing_is_left(deployment: Deployment) -> None:
    lines = verify(deployment, lambda _: None)
    assert by_outcome(lines, "failed") == {}
    assert set(by_outcome(lines, "passed")) >= {photo.about for photo in verify_photos.PHOTOS}
    assert left(deployment) == {"objects": 0, "subscriptions": 0, "queues": 0, "records": 0}


def test_an_interrupted_verification_leaves_nothing(
    deployment: Deployment, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupt(*_: object) -> bool:
        raise KeyboardInterrupt

    monkeypatch.setattr(verify_photos, "wait_for", interrupt)
    with pytest.raises(KeyboardInterrupt):
        verify(deployment, lambda _: None)
    # What was on its way when it was interrupted may still be recorded; it has nothing else to leave.
    assert left(deployment) | {"records": 0} == {"objects": 0, "subscriptions": 0, "queues": 0, "records": 0}


@contextlib.contextmanager
def rule_off(deployment: Deployment) -> Iterator[None]:
    events, name = deployment.client("events"), f"{deployment.name}-uploads"
    events.disable_rule(Name=name)
    yield
    events.enable_rule(Name=name)


@contextlib.contextmanager
def no_target(deployment: Deployment) -> Iterator[None]:
    events, name = deployment.client("events"), f"{deployment.name}-uploads"
    [target] = events.list_targets_by_rule(Rule=name)["Targets"]
    events.remove_targets(Rule=name, Ids=[target["Id"]])
    yield
    events.put_targets(Rule=name, Targets=[target])


@contextlib.contextmanager
def notifications_off(deployment: Deployment) -> Iterator[None]:
    s3 = deployment.client("s3")
    s3.put_bucket_notification_configuration(Bucket=deployment.bucket, NotificationConfiguration={})
    yield
    s3.put_bucket_notification_configuration(
        Bucket=deployment.bucket, NotificationConfiguration={"EventBridgeConfiguration": {}}
    )


def without_action(function: str, action: str) -> Sabotage:
    """Take one action from a function's policy."""

    @contextlib.contextmanager
    def sabotage(deployment: Deployment) -> Iterator[None]:
        iam, role = deployment.client("iam"), f"{deployment.name}-{function}"
        policy = iam.get_role_policy(RoleName=role, PolicyName="function")["PolicyDocument"]
        kept = json.loads(json.dumps(policy))
        for statement in kept["Statement"]:
            actions = statement["Action"]
            statement["Action"] = [
                one for one in ([actions] if isinstance(actions, str) else actions) if one != action
            ]
        kept["Statement"] = [one for one in kept["Statement"] if one["Action"]]
        iam.put_role_policy(RoleName=role, PolicyName="function", PolicyDocument=json.dumps(kept))
        yield
        iam.put_role_policy(RoleName=role, PolicyName="function", PolicyDocument=json.dumps(policy))

    return sabotage


@contextlib.contextmanager
def too_much_allowed(deployment: Deployment) -> Iterator[None]:
    iam, role = deployment.client("iam"), f"{deployment.name}-process-image"
    statement = {"Effect": "Allow", "Action": "s3:*", "Resource": "*"}
    document = json.dumps({"Version": "2012-10-17", "Statement": [statement]})
    iam.put_role_policy(RoleName=role, PolicyName="more", PolicyDocument=document)
    yield
    iam.delete_role_policy(RoleName=role, PolicyName="more")


@contextlib.contextmanager
def topic_policy_gone(deployment: Deployment) -> Iterator[None]:
    sns, topic = deployment.client("sns"), deployment.outputs["results_topic_arn"]
    policy = sns.get_topic_attributes(TopicArn=topic)["Attributes"]["Policy"]
    open_to_all = {"Version": "2012-10-17", "Statement": []}
    sns.set_topic_attributes(TopicArn=topic, AttributeName="Policy", AttributeValue=json.dumps(open_to_all))
    yield
    sns.set_topic_attributes(TopicArn=topic, AttributeName="Policy", AttributeValue=policy)


def elsewhere(output: str, value: str) -> Sabotage:
    """Make an output name a missing resource, as after a deletion."""

    @contextlib.contextmanager
    def sabotage(deployment: Deployment) -> Iterator[None]:
        was = deployment.outputs[output]
        deployment.outputs[output] = f"{was}{value}"
        yield
        deployment.outputs[output] = was

    return sabotage


@contextlib.contextmanager
def threshold_zero(deployment: Deployment) -> Iterator[None]:
    cloudwatch = deployment.client("cloudwatch")
    [alarm] = cloudwatch.describe_alarms(AlarmNames=[f"{deployment.name}-executions-failed"])["MetricAlarms"]
    kept = {
        name: alarm[name]
        for name in cloudwatch.meta.service_model.operation_model("PutMetricAlarm").input_shape.members
        if alarm.get(name) not in (None, "", [])
    }
    cloudwatch.put_metric_alarm(**{**kept, "Threshold": 0.0})
    yield
    cloudwatch.put_metric_alarm(**kept)


@pytest.mark.parametrize(
    ("sabotage", "about", "said"),
    [
        (rule_off, "rule", "is DISABLED"),
        (no_target, "rule", "has no target"),
        (notifications_off, "bucket notifications", "does not notify EventBridge"),
        (without_action("process-image", "dynamodb:PutItem"), "a portrait", "dynamodb:PutItem"),
        (without_action("process-image", "rekognition:DetectFaces"), "a portrait", "rekognition:DetectFaces"),
        (without_action("send-notification", "sns:Publish"), "a portrait", "SNS:Publish"),
        (too_much_allowed, "permissions", "may s3:PutObject"),
        (topic_policy_gone, "topic policy", "takes messages over plain HTTP"),
        (elsewhere("dead_letter_queue_url", "-gone"), "dead-letter queue", "does not answer"),
        (elsewhere("results_topic_arn", "-gone"), "topics", "is not there"),
        (threshold_zero, "alarms", "threshold 0"),
    ],
    ids=lambda value: getattr(value, "__name__", None),
)
def test_a_sabotaged_deployment_names_the_broken_part(
    sabotage: Sabotage, about: str, said: str, deployment: Deployment
) -> None:
    with sabotage(deployment):
        lines = verify(deployment, lambda _: None)
    found: dict[str, Any] = by_outcome(lines, "failed")
    assert about in found
    assert said.lower() in found[about].lower()
    assert left(deployment)["objects"] == 0
