"""Checks of a deployed environment's parts that need no photo."""

from __future__ import annotations

from typing import TYPE_CHECKING

from botocore.exceptions import BotoCoreError, ClientError

from operations import status
from operations.errors import code_of
from operations.preflight import Line

if TYPE_CHECKING:
    from collections.abc import Iterator

    from operations.deployment import Deployment

# What a function's role must not be allowed, by the function's name in the outputs.
_FORBIDDEN = {
    "process_image": [
        "s3:PutObject",
        "s3:DeleteObject",
        "dynamodb:DeleteItem",
        "dynamodb:Scan",
        "sns:Publish",
    ],
    "send_notification": ["s3:GetObject", "dynamodb:DeleteItem", "rekognition:DetectFaces"],
}


def line(about: str, problem: str, sound: str) -> Line:
    """The line for a check: failed with `problem`, or passed if that is empty."""
    return Line("failed", about, problem) if problem else Line("passed", about, sound)


def inspect(deployment: Deployment) -> Iterator[Line]:
    """Run every check that needs no photo."""
    yield from _sources(deployment)
    yield from _queue_and_topics(deployment)
    yield _alarms(deployment)
    yield from _roles(deployment)
    yield from _bucket_refuses(deployment)


def _sources(deployment: Deployment) -> Iterator[Line]:
    found, name, problem = status.delivery(deployment), f"{deployment.name}-uploads", ""
    if not found["notifications"]:
        problem = f"{deployment.bucket} does not notify EventBridge; 'make apply'"
    yield line("bucket notifications", problem, "the bucket notifies EventBridge")
    problem = ""
    if found["rule"] == "missing":
        problem = f"{name} is not there; 'make apply'"
    elif found["rule"] != "ENABLED":
        problem = f"{name} is {found['rule']}; 'make apply' switches it on"
    elif not deployment.client("events").list_targets_by_rule(Rule=name)["Targets"]:
        problem = f"{name} has no target; 'make apply'"
    yield line("rule", problem, f"{name} is on")


def _queue_and_topics(deployment: Deployment) -> Iterator[Line]:
    sns, url, problem = deployment.client("sns"), deployment.dead_letter_queue_url, ""
    try:
        deployment.client("sqs").get_queue_attributes(QueueUrl=url, AttributeNames=["QueueArn"])
    except ClientError as error:
        problem = f"{url} does not answer ({code_of(error)}); 'make apply'"
    yield line("dead-letter queue", problem, "is there")
    for topic in ("results_topic_arn", "alerts_topic_arn"):
        arn, problem = deployment.value(topic), ""
        try:
            policy = sns.get_topic_attributes(TopicArn=arn)["Attributes"].get("Policy", "")
        except sns.exceptions.NotFoundException:
            yield Line("failed", "topics", f"{arn} is not there; 'make apply'")
            continue
        if "aws:SecureTransport" not in policy:
            problem = f"{arn} takes messages over plain HTTP; 'make apply'"
        yield line("topic policy", problem, f"{arn.rsplit(':', 1)[-1]} refuses plain HTTP")


def _alarms(deployment: Deployment) -> Line:
    found = {one["AlarmName"]: one for one in status.alarms(deployment)}
    # Alarms for too low a value compare downwards; those for any occurrence use `>` with threshold 0.
    always = [
        name
        for name, one in found.items()
        if not float(one.get("Threshold") or 0) and "GreaterThanOrEqual" in one.get("ComparisonOperator", "")
    ]
    problem = ""
    if ringing := [name for name, one in found.items() if one["StateValue"] == "ALARM"]:
        problem = f"in ALARM: {', '.join(ringing)}"
    elif always:
        problem = f"threshold 0, always in ALARM: {', '.join(always)}; 'make apply'"
    elif gone := sorted(set(deployment.value("alarm_names")) - found.keys()):
        problem = f"not there: {', '.join(gone)}; 'make apply'"
    return line("alarms", problem, f"{len(found)}, none in ALARM")


def _roles(deployment: Deployment) -> Iterator[Line]:
    client, iam = deployment.client("lambda"), deployment.client("iam")
    for name, actions in _FORBIDDEN.items():
        function = deployment.value("function_names")[name]
        try:
            role = client.get_function_configuration(FunctionName=function)["Role"]
        except client.exceptions.ResourceNotFoundException:
            yield Line("failed", "functions", f"{function} is not there; 'make apply'")
            continue
        found = iam.simulate_principal_policy(PolicySourceArn=role, ActionNames=actions)["EvaluationResults"]
        allowed = [one["EvalActionName"] for one in found if one["EvalDecision"] == "allowed"]
        problem = f"{function} may {', '.join(allowed)}" if allowed else ""
        yield line("permissions", problem, f"{function} is refused {len(actions)} things it need not do")


def _bucket_refuses(deployment: Deployment) -> Iterator[Line]:
    """Check that the bucket's policy refuses uploads over plain HTTP and with a foreign key."""
    # A folder marker: if it were accepted, nothing would be analysed and nobody notified.
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
            yield Line("passed", about, f"is refused ({code_of(error) or type(error).__name__})")
            continue
        s3.delete_object(Bucket=deployment.bucket, Key=key, VersionId=answer.get("VersionId") or "null")
        if deployment.environment.local:
            text = "the local cloud holds bucket policies against everybody but root"
            yield Line("not checked", about, text)
        else:
            yield Line("failed", about, f"{deployment.bucket} takes an upload with it; 'make apply'")
