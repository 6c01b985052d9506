"""Why each deployed role needs each action it is granted, and how that was shown."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from collections.abc import Mapping

Method = Literal["end to end", "simulated"]


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


def _simulated(page: str, need: str) -> Proof:
    return Proof(need, f"https://docs.aws.amazon.com/{page}", "simulated")


def _proven(page: str, need: str) -> Proof:
    return Proof(need, f"https://docs.aws.amazon.com/{page}", "end to end")


_logs = partial(_simulated, "lambda/latest/dg/lambda-intro-execution-role.html")
_traces = partial(_simulated, "lambda/latest/dg/services-xray.html")
_delivery = partial(_simulated, "step-functions/latest/dg/cw-logs.html")
_workflow_traces = partial(_simulated, "step-functions/latest/dg/xray-iam.html")
_nested = partial(_simulated, "step-functions/latest/dg/connect-stepfunctions.html")
_OBJECT = "AmazonS3/latest/API/API_GetObject.html"
_QUEUE_KEY = "AWSSimpleQueueService/latest/SQSDeveloperGuide/sqs-key-management.html"
_TABLE = "service-authorization/latest/reference/list_amazondynamodb.html"
_TOPIC_KEY = "sns/latest/dg/sns-key-management.html"

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
    "logs:DescribeResourcePolicies": _delivery("CloudWatch Logs' resource policies cannot be read"),
    "logs:GetLogDelivery": _delivery("The delivery that exists cannot be looked up"),
    "logs:ListLogDeliveries": _delivery("The delivery that exists cannot be found"),
    "logs:PutResourcePolicy": _delivery("Logs cannot be delivered to the log group"),
    "logs:UpdateLogDelivery": _delivery("Logging cannot be changed"),
    "xray:GetSamplingRules": _workflow_traces("The workflow does not know what share to trace"),
    "xray:GetSamplingTargets": _workflow_traces("The workflow does not know what share to trace"),
    "xray:PutTelemetryRecords": _workflow_traces("Step Functions cannot report what it dropped"),
    "xray:PutTraceSegments": _workflow_traces("The workflow is missing from traces"),
}

PROOFS: Mapping[str, Mapping[str, Proof]] = {
    "convert-image": {
        **_FUNCTION,
        "dynamodb:GetItem": _proven(
            _TABLE, "Duplicates cannot be distinguished from new uploads, and nothing is converted"
        ),
        "dynamodb:PutItem": _proven(_TABLE, "No record is written"),
        "kms:Decrypt": _simulated(
            "AmazonS3/latest/userguide/UsingKMSEncryption.html",
            "S3 returns no photo, DynamoDB opens no table encrypted with this key, Lambda cannot open the"
            " function's settings",
        ),
        "rekognition:DetectFaces": _proven(
            "rekognition/latest/APIReference/API_DetectFaces.html", "Nothing is analysed"
        ),
        "s3:GetObject": _proven(
            _OBJECT, "Photos whose event names no version, as in a backfill from a listing, cannot be read"
        ),
        "s3:GetObjectVersion": _proven(
            _OBJECT, "Photos whose event names a version, as all live ones do, cannot be read"
        ),
        "s3:ListBucket": _simulated(
            _OBJECT,
            "S3 answers 403, not 404, for a photo that is gone (the local cloud: 404 always), so that it is"
            " retried and parked, not recorded",
        ),
    },
    "process-image": {
        **_FUNCTION,
        "dynamodb:GetItem": _proven(
            _TABLE, "Duplicates cannot be distinguished from new uploads, and nothing is analysed"
        ),
        "dynamodb:PutItem": _proven(_TABLE, "No record is written"),
        "kms:Decrypt": _proven(
            "AmazonS3/latest/userguide/UsingKMSEncryption.html",
            "Rekognition, reading as the function, gets no photo; DynamoDB opens no table encrypted with this"
            " key; Lambda cannot open the function's settings",
        ),
        "rekognition:DetectFaces": _proven(
            "rekognition/latest/APIReference/API_DetectFaces.html", "Nothing is analysed"
        ),
        "s3:GetObject": _proven(
            "rekognition/latest/APIReference/API_S3Object.html",
            "Photos whose event names no version, as in a backfill from a listing, are not analysed:"
            " Rekognition reads with the function's credentials",
        ),
        "s3:GetObjectVersion": _proven(
            _OBJECT, "Photos whose event names a version, as all live ones do, are not analysed"
        ),
        "s3:ListBucket": _simulated(
            "AmazonS3/latest/API/API_HeadObject.html",
            "S3 answers 403, not 404, for a photo that is gone (the local cloud: 404 always), so that it is"
            " retried and parked, not recorded",
        ),
    },
    "send-notification": {
        **_FUNCTION,
        "dynamodb:UpdateItem": _proven(
            _TABLE, "Records are not marked as notified, and a retry cannot see whether one is"
        ),
        "kms:Decrypt": _simulated(
            _TOPIC_KEY,
            "SNS refuses to publish to a topic encrypted with this key, DynamoDB opens no table"
            " encrypted with it; Lambda cannot open the function's settings",
        ),
        "kms:GenerateDataKey": _simulated(
            _TOPIC_KEY, "SNS refuses to publish to a topic encrypted with this key"
        ),
        "sns:Publish": _proven("sns/latest/api/API_Publish.html", "Nobody is notified"),
    },
    "start-workflow": {
        **_FUNCTION,
        "dynamodb:UpdateItem": _simulated(
            _TABLE, "The photos of a day are not counted, and with a cap nothing is started"
        ),
        "kms:Decrypt": _simulated(_QUEUE_KEY, "Lambda gets no events out of a queue encrypted with this key"),
        "kms:GenerateDataKey": _simulated(
            _QUEUE_KEY, "SQS refuses to park events in a queue encrypted with this key"
        ),
        "sqs:ChangeMessageVisibility": _simulated(
            "AWSSimpleQueueService/latest/APIReference/API_ChangeMessageVisibility.html",
            "Events that wait for the daily cap are received again every 12 minutes",
        ),
        **{
            action: _simulated(
                "lambda/latest/dg/services-sqs-configure.html",
                "Lambda refuses to create the mapping, and buffered uploads stay in the queue",
            )
            for action in ("sqs:DeleteMessage", "sqs:GetQueueAttributes", "sqs:ReceiveMessage")
        },
        "sqs:SendMessage": _simulated(
            "AWSSimpleQueueService/latest/APIReference/API_SendMessage.html",
            "Events that Step Functions refuses stay in the queue instead of being parked",
        ),
        "states:StartExecution": _simulated(
            "step-functions/latest/apireference/API_StartExecution.html",
            "No buffered upload starts the workflow",
        ),
    },
    "pipeline": {
        **_WORKFLOW,
        "kms:Decrypt": _simulated(
            _QUEUE_KEY, "SQS refuses to park events in a queue encrypted with this key"
        ),
        "kms:GenerateDataKey": _simulated(
            _QUEUE_KEY, "SQS refuses to park events in a queue encrypted with this key"
        ),
        "lambda:InvokeFunction": _simulated(
            "step-functions/latest/dg/connect-lambda.html", "The workflow cannot call the function"
        ),
        "sqs:SendMessage": _simulated(
            "step-functions/latest/dg/connect-sqs.html", "Events that failed are lost instead of parked"
        ),
    },
    "backfill": {
        **_WORKFLOW,
        "events:DescribeRule": _nested("The rule that reports the workflow's end cannot be looked up"),
        "events:PutRule": _nested("The rule that reports the workflow's end cannot be created"),
        "events:PutTargets": _nested("The rule that reports the workflow's end has no target"),
        "states:DescribeExecution": _nested("How the executions it started end is not known"),
        "states:StartExecution": _nested("Neither its child executions nor the workflow is started"),
        "states:StartSyncExecution": _nested("The workflow is not started"),
        "states:StopExecution": _nested("Stopping it leaves its child executions running"),
    },
    "rule": {
        "states:StartExecution": _simulated(
            "eventbridge/latest/userguide/eb-use-identity-based.html",
            "No upload starts the workflow; EventBridge parks its events",
        ),
    },
}

# Not granted to the local cloud's stack: where workflow_type is EXPRESS, in place of what waits for a
# STANDARD execution; where there is a cap of photos_per_day.
ELSEWHERE = frozenset({("backfill", "states:StartSyncExecution"), ("start-workflow", "dynamodb:UpdateItem")})
