"""Why each deployed role needs each action it is granted, and how that was shown."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from collections.abc import Mapping

Method = Literal["end to end", "simulated"]

_AWS = "https://docs.aws.amazon.com"


@dataclass(frozen=True)
class Proof:
    """Why a role needs an action.

    Attributes:
        need: what fails without it, for people.
        page: where AWS says so.
        method: ``end to end``: the function or workflow is run without it on the local cloud and fails.
            ``simulated``: the local cloud does not ask IAM for it, so that it is needed rests on AWS's page,
            and that the grant is what allows it on IAM's own simulation.
    """

    need: str
    page: str
    method: Method


def _logs(what: str) -> Proof:
    return Proof(what, f"{_AWS}/lambda/latest/dg/lambda-intro-execution-role.html", "simulated")


def _traces(what: str) -> Proof:
    return Proof(what, f"{_AWS}/lambda/latest/dg/services-xray.html", "simulated")


def _delivery(what: str) -> Proof:
    return Proof(what, f"{_AWS}/step-functions/latest/dg/cw-logs.html", "simulated")


def _workflow_traces(what: str) -> Proof:
    return Proof(what, f"{_AWS}/step-functions/latest/dg/xray-iam.html", "simulated")


def _nested(what: str) -> Proof:
    return Proof(what, f"{_AWS}/step-functions/latest/dg/connect-stepfunctions.html", "simulated")


_FUNCTION: Mapping[str, Proof] = {
    "logs:CreateLogStream": _logs("A new worker has nowhere to log to"),
    "logs:PutLogEvents": _logs("The function's log stays empty"),
    "xray:PutTelemetryRecords": _traces("The tracing daemon cannot report what it dropped"),
    "xray:PutTraceSegments": _traces("The function is missing from traces"),
}

_WORKFLOW: Mapping[str, Proof] = {
    "logs:CreateLogDelivery": _delivery("The workflow cannot be created with logging on"),
    "logs:DeleteLogDelivery": _delivery("Logging cannot be switched off or moved again"),
    "logs:DescribeLogGroups": _delivery("The log group is not found when logging is set up"),
    "logs:DescribeResourcePolicies": _delivery("Whether logs may be delivered cannot be looked up"),
    "logs:GetLogDelivery": _delivery("The delivery that exists cannot be looked up"),
    "logs:ListLogDeliveries": _delivery("The delivery that exists cannot be found"),
    "logs:PutResourcePolicy": _delivery("Log delivery is not let into the log group"),
    "logs:UpdateLogDelivery": _delivery("Logging cannot be changed"),
    "xray:GetSamplingRules": _workflow_traces("The workflow does not know what share to trace"),
    "xray:GetSamplingTargets": _workflow_traces("The workflow does not know what share to trace"),
    "xray:PutTelemetryRecords": _workflow_traces("Step Functions cannot report what it dropped"),
    "xray:PutTraceSegments": _workflow_traces("The workflow is missing from traces"),
}

PROOFS: Mapping[str, Mapping[str, Proof]] = {
    "convert-image": {
        **_FUNCTION,
        "dynamodb:GetItem": Proof(
            "A duplicate cannot be told from a new upload, and nothing is converted",
            f"{_AWS}/service-authorization/latest/reference/list_amazondynamodb.html",
            "end to end",
        ),
        "dynamodb:PutItem": Proof(
            "No record is written",
            f"{_AWS}/service-authorization/latest/reference/list_amazondynamodb.html",
            "end to end",
        ),
        "kms:Decrypt": Proof(
            "S3 gives out no photo, DynamoDB opens no table encrypted with this key, Lambda cannot open the"
            " function's settings",
            f"{_AWS}/AmazonS3/latest/userguide/UsingKMSEncryption.html",
            "simulated",
        ),
        "rekognition:DetectFaces": Proof(
            "Nothing is analysed",
            f"{_AWS}/rekognition/latest/APIReference/API_DetectFaces.html",
            "end to end",
        ),
        "s3:GetObject": Proof(
            "Photos whose event names no version, as in a backfill from a listing, cannot be read",
            f"{_AWS}/AmazonS3/latest/API/API_GetObject.html",
            "end to end",
        ),
        "s3:GetObjectVersion": Proof(
            "Photos whose event names a version, as all live ones do, cannot be read",
            f"{_AWS}/AmazonS3/latest/API/API_GetObject.html",
            "end to end",
        ),
        "s3:ListBucket": Proof(
            "S3 answers 403, not 404, for a photo that is gone (the local cloud: 404 always), so that it is"
            " retried and parked, not recorded",
            f"{_AWS}/AmazonS3/latest/API/API_GetObject.html",
            "simulated",
        ),
    },
    "process-image": {
        **_FUNCTION,
        "dynamodb:GetItem": Proof(
            "A duplicate cannot be told from a new upload, and nothing is analysed",
            f"{_AWS}/service-authorization/latest/reference/list_amazondynamodb.html",
            "end to end",
        ),
        "dynamodb:PutItem": Proof(
            "No record is written",
            f"{_AWS}/service-authorization/latest/reference/list_amazondynamodb.html",
            "end to end",
        ),
        "kms:Decrypt": Proof(
            "Rekognition, reading as the function, gets no photo; DynamoDB opens no table encrypted with this"
            " key; Lambda cannot open the function's settings",
            f"{_AWS}/AmazonS3/latest/userguide/UsingKMSEncryption.html",
            "end to end",
        ),
        "rekognition:DetectFaces": Proof(
            "Nothing is analysed",
            f"{_AWS}/rekognition/latest/APIReference/API_DetectFaces.html",
            "end to end",
        ),
        "s3:GetObject": Proof(
            "Photos whose event names no version, as in a backfill from a listing, are not analysed:"
            " Rekognition reads with the function's credentials",
            f"{_AWS}/rekognition/latest/APIReference/API_S3Object.html",
            "end to end",
        ),
        "s3:GetObjectVersion": Proof(
            "Photos whose event names a version, as all live ones do, are not analysed",
            f"{_AWS}/AmazonS3/latest/API/API_GetObject.html",
            "end to end",
        ),
        "s3:ListBucket": Proof(
            "S3 answers 403, not 404, for a photo that is gone (the local cloud: 404 always), so that it is"
            " retried and parked, not recorded",
            f"{_AWS}/AmazonS3/latest/API/API_HeadObject.html",
            "simulated",
        ),
    },
    "send-notification": {
        **_FUNCTION,
        "dynamodb:UpdateItem": Proof(
            "Records are not marked as notified, and a retry cannot see whether one is",
            f"{_AWS}/service-authorization/latest/reference/list_amazondynamodb.html",
            "end to end",
        ),
        "kms:Decrypt": Proof(
            "SNS refuses to publish to a topic encrypted with this key, DynamoDB opens no table"
            " encrypted with it; Lambda cannot open the function's settings",
            f"{_AWS}/sns/latest/dg/sns-key-management.html",
            "simulated",
        ),
        "kms:GenerateDataKey": Proof(
            "SNS refuses to publish to a topic encrypted with this key",
            f"{_AWS}/sns/latest/dg/sns-key-management.html",
            "simulated",
        ),
        "sns:Publish": Proof("Nobody is notified", f"{_AWS}/sns/latest/api/API_Publish.html", "end to end"),
    },
    "start-workflow": {
        **_FUNCTION,
        "dynamodb:UpdateItem": Proof(
            "The photos of a day are not counted, and with a cap nothing is started",
            f"{_AWS}/service-authorization/latest/reference/list_amazondynamodb.html",
            "simulated",
        ),
        "kms:Decrypt": Proof(
            "Lambda gets no events out of a queue encrypted with this key",
            f"{_AWS}/AWSSimpleQueueService/latest/SQSDeveloperGuide/sqs-key-management.html",
            "simulated",
        ),
        "kms:GenerateDataKey": Proof(
            "SQS refuses to park events in a queue encrypted with this key",
            f"{_AWS}/AWSSimpleQueueService/latest/SQSDeveloperGuide/sqs-key-management.html",
            "simulated",
        ),
        "sqs:ChangeMessageVisibility": Proof(
            "Events that wait for the day's cap are looked at every 12 minutes",
            f"{_AWS}/AWSSimpleQueueService/latest/APIReference/API_ChangeMessageVisibility.html",
            "simulated",
        ),
        **{
            action: Proof(
                "Lambda refuses to make the mapping, and buffered uploads stay in the queue",
                f"{_AWS}/lambda/latest/dg/services-sqs-configure.html",
                "simulated",
            )
            for action in ("sqs:DeleteMessage", "sqs:GetQueueAttributes", "sqs:ReceiveMessage")
        },
        "sqs:SendMessage": Proof(
            "Events no workflow takes stay in the queue instead of being parked",
            f"{_AWS}/AWSSimpleQueueService/latest/APIReference/API_SendMessage.html",
            "simulated",
        ),
        "states:StartExecution": Proof(
            "No buffered upload starts the workflow",
            f"{_AWS}/step-functions/latest/apireference/API_StartExecution.html",
            "simulated",
        ),
    },
    "pipeline": {
        **_WORKFLOW,
        "kms:Decrypt": Proof(
            "SQS refuses to park events in a queue encrypted with this key",
            f"{_AWS}/AWSSimpleQueueService/latest/SQSDeveloperGuide/sqs-key-management.html",
            "simulated",
        ),
        "kms:GenerateDataKey": Proof(
            "SQS refuses to park events in a queue encrypted with this key",
            f"{_AWS}/AWSSimpleQueueService/latest/SQSDeveloperGuide/sqs-key-management.html",
            "simulated",
        ),
        "lambda:InvokeFunction": Proof(
            "The workflow cannot call the function",
            f"{_AWS}/step-functions/latest/dg/connect-lambda.html",
            "simulated",
        ),
        "sqs:SendMessage": Proof(
            "Events that failed are lost instead of parked",
            f"{_AWS}/step-functions/latest/dg/connect-sqs.html",
            "simulated",
        ),
    },
    "backfill": {
        **_WORKFLOW,
        "events:DescribeRule": _nested("The rule that reports the workflow's end cannot be looked up"),
        "events:PutRule": _nested("The rule that reports the workflow's end is not made"),
        "events:PutTargets": _nested("The rule that reports the workflow's end leads nowhere"),
        "states:DescribeExecution": _nested("How the executions it started end is not known"),
        "states:StartExecution": _nested("Neither its own parts nor the workflow is started"),
        "states:StartSyncExecution": _nested("The workflow is not started"),
        "states:StopExecution": _nested("Stopping it leaves its own parts running"),
    },
    "rule": {
        "states:StartExecution": Proof(
            "No upload starts the workflow; EventBridge parks its events",
            f"{_AWS}/eventbridge/latest/userguide/eb-use-identity-based.html",
            "simulated",
        ),
    },
}

# Not granted to the local cloud's stack: where workflow_type is EXPRESS, in place of what waits for a
# STANDARD execution; where there is a cap of photos_per_day.
ELSEWHERE = frozenset({("backfill", "states:StartSyncExecution"), ("start-workflow", "dynamodb:UpdateItem")})
