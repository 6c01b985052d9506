"""What can be seen of a deployed environment without sending anything: each part, as it was made."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from collections.abc import Iterator

    from operations.deployment import Deployment

# What a function's role must not be allowed, by the function's name in the outputs.
_FORBIDDEN = {
    "process_image": (
        "s3:PutObject",
        "s3:DeleteObject",
        "dynamodb:DeleteItem",
        "dynamodb:Scan",
        "sns:Publish",
    ),
    "send_notification": ("s3:GetObject", "dynamodb:DeleteItem", "rekognition:DetectFaces"),
}


@dataclass(frozen=True)
class Line:
    """How one check ended: `passed`, `failed` or `not checked`, and what was seen."""

    outcome: Literal["passed", "failed", "not checked"]
    about: str
    text: str


def passed(about: str, text: str = "") -> Line:
    return Line("passed", about, text)


def failed(about: str, text: str) -> Line:
    return Line("failed", about, text)


def not_checked(about: str, text: str) -> Line:
    return Line("not checked", about, text)


def inspect(deployment: Deployment) -> Iterator[Line]:
    """What can be seen without sending anything."""
    yield from _sources(deployment)
    yield from _queue_and_topic(deployment)
    yield from _alarms(deployment)
    yield from _roles(deployment)
    yield from _bucket_refuses(deployment)


def _sources(deployment: Deployment) -> Iterator[Line]:
    s3 = deployment.client("s3")
    found = s3.get_bucket_notification_configuration(Bucket=deployment.bucket)
    if "EventBridgeConfiguration" in found:
        yield passed("bucket notifications", "the bucket notifies EventBridge")
    else:
        yield failed("bucket notifications", f"{deployment.bucket} does not notify EventBridge; 'make apply'")
    events, name = deployment.client("events"), f"{deployment.name}-uploads"
    try:
        state = events.describe_rule(Name=name)["State"]
        targets = events.list_targets_by_rule(Rule=name)["Targets"]
    except events.exceptions.ResourceNotFoundException:
        yield failed("rule", f"{name} is not there; 'make apply'")
        return
    if state != "ENABLED":
        yield failed("rule", f"{name} is {state}; 'make apply' switches it on")
    elif not targets:
        yield failed("rule", f"{name} has no target; 'make apply'")
    else:
        yield passed("rule", f"{name} is on")


def _queue_and_topic(deployment: Deployment) -> Iterator[Line]:
    sqs, sns = deployment.client("sqs"), deployment.client("sns")
    try:
        sqs.get_queue_attributes(QueueUrl=deployment.dead_letter_queue_url, AttributeNames=["QueueArn"])
        yield passed("dead-letter queue", "is there")
    except sqs.exceptions.ClientError as error:
        code = error.response["Error"]["Code"]
        yield failed(
            "dead-letter queue", f"{deployment.dead_letter_queue_url} does not answer ({code}); 'make apply'"
        )
    try:
        for topic in ("results_topic_arn", "alerts_topic_arn"):
            arn = deployment.outputs[topic]
            policy = sns.get_topic_attributes(TopicArn=arn)["Attributes"].get("Policy", "")
            if "aws:SecureTransport" not in policy:
                yield failed("topic policy", f"{arn} takes messages over plain HTTP; 'make apply'")
            else:
                yield passed("topic policy", f"{arn.rsplit(':', 1)[-1]} refuses plain HTTP")
    except sns.exceptions.NotFoundException:
        yield failed("topics", f"{arn} is not there; 'make apply'")


def _alarms(deployment: Deployment) -> Iterator[Line]:
    topic = deployment.outputs["alerts_topic_arn"]
    pages = deployment.client("cloudwatch").get_paginator("describe_alarms")
    alarms = [
        alarm
        for page in pages.paginate(AlarmNamePrefix=f"{deployment.name}-")
        for alarm in page.get("MetricAlarms", [])
        if topic in alarm.get("AlarmActions", [])
    ]
    ringing = [alarm["AlarmName"] for alarm in alarms if alarm.get("StateValue") == "ALARM"]
    without = [alarm["AlarmName"] for alarm in alarms if not float(alarm.get("Threshold") or 0)]
    # An alarm on too few compares downwards, and one on any at all has its threshold at 0.
    upward = {
        alarm["AlarmName"] for alarm in alarms if "GreaterThanOrEqual" in alarm.get("ComparisonOperator", "")
    }
    if ringing:
        yield failed("alarms", f"in ALARM: {', '.join(ringing)}")
    elif always := sorted(set(without) & upward):
        yield failed("alarms", f"threshold 0, always in ALARM: {', '.join(always)}; 'make apply'")
    elif not alarms:
        yield failed("alarms", "there are none; 'make apply'")
    else:
        yield passed("alarms", f"{len(alarms)}, none in ALARM")


def _roles(deployment: Deployment) -> Iterator[Line]:
    client, iam = deployment.client("lambda"), deployment.client("iam")
    for name, function in deployment.outputs["function_names"].items():
        if name not in _FORBIDDEN:
            continue
        try:
            role = client.get_function_configuration(FunctionName=function)["Role"]
        except client.exceptions.ResourceNotFoundException:
            yield failed("functions", f"{function} is not there; 'make apply'")
            continue
        answer = iam.simulate_principal_policy(PolicySourceArn=role, ActionNames=list(_FORBIDDEN[name]))
        allowed = [
            one["EvalActionName"] for one in answer["EvaluationResults"] if one["EvalDecision"] == "allowed"
        ]
        if allowed:
            yield failed("permissions", f"{function} may {', '.join(allowed)}")
        else:
            yield passed(
                "permissions", f"{function} is refused {len(_FORBIDDEN[name])} things it need not do"
            )


def _bucket_refuses(deployment: Deployment) -> Iterator[Line]:
    """Uploads over plain HTTP and under a foreign key are refused by the bucket's policy."""
    from botocore.exceptions import BotoCoreError, ClientError

    # A folder marker: were it taken, nothing would be analysed and nobody notified.
    s3, key = deployment.client("s3"), f"{deployment.upload_prefix}verify-refused/"
    foreign = {"ServerSideEncryption": "aws:kms", "SSEKMSKeyId": "alias/aws/s3"}
    plain = str(s3.meta.endpoint_url).replace("https://", "http://", 1)
    for about, client, more in (
        ("a foreign encryption key", s3, foreign),
        ("plain HTTP", deployment.environment.client("s3", endpoint=plain), {}),
    ):
        try:
            answer = client.put_object(Bucket=deployment.bucket, Key=key, Body=b"", **more)
        except (ClientError, BotoCoreError) as error:
            answered = getattr(error, "response", None) or {}
            code = answered.get("Error", {}).get("Code", type(error).__name__)
            yield passed(about, f"is refused ({code})")
        else:
            s3.delete_object(Bucket=deployment.bucket, Key=key, VersionId=answer.get("VersionId") or "null")
            if deployment.environment.local:
                yield not_checked(about, "the local cloud holds bucket policies against everybody but root")
                continue
            yield failed(about, f"{deployment.bucket} takes an upload with it; 'make apply'")
