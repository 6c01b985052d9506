"""One upload from event to record, exactly once."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from . import record
from .analysis import analyse
from .upload import InvalidEventError, Upload

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from mypy_boto3_dynamodb import DynamoDBClient
    from mypy_boto3_rekognition import RekognitionClient
    from mypy_boto3_s3 import S3Client

    from .settings import Settings

# `IN` takes 100 operands, one of which is this execution.
MAX_TAKEN_OVER = 99


def process(
    event: Any,
    *,
    execution_id: str,
    now: datetime,
    settings: Settings,
    rekognition: RekognitionClient,
    s3: S3Client,
    dynamodb: DynamoDBClient,
) -> dict[str, Any]:
    """Analyse and record one upload; answer the summary that travels through the workflow.

    An image belongs to the execution that recorded it first. Another execution gets `{"duplicate": True}` and
    pays for no analysis, unless the event's `redriven_from` names the owner: then it takes the record over as
    it is, so that the notification can still be sent. `reanalyse` makes an owner analyse again on purpose.

    Raises InvalidEventError for a malformed event, and whatever the services raise.
    """
    upload = Upload.from_event(event)
    owners = [execution_id, *_taken_over(event)]
    existing = record.read(upload.image_id, dynamodb=dynamodb, table=settings.table)
    if existing and existing["ExecutionId"]["S"] not in owners:
        return _duplicate(upload)

    if existing and not event.get("reanalyse"):
        item = {**existing, "ExecutionId": {"S": execution_id}}
        if item == existing:
            return _summary(item)
    else:
        analysis = analyse(
            upload,
            rekognition=rekognition,
            s3=s3,
            attributes=settings.attributes,
            min_confidence=settings.min_confidence,
        )
        item = record.build(
            upload, analysis, execution_id=execution_id, now=now, retention_days=settings.retention_days
        )
    if not record.write(item, owners, dynamodb=dynamodb, table=settings.table):
        return _duplicate(upload)
    return _summary(item)


def _taken_over(event: dict[str, Any]) -> Sequence[str]:
    executions = event.get("redriven_from", [])
    if not isinstance(executions, list) or not all(isinstance(arn, str) for arn in executions):
        raise InvalidEventError("redriven_from must be a list of execution ARNs")
    # The newest come last, and only they can still own the image.
    return executions[-MAX_TAKEN_OVER:]


def _duplicate(upload: Upload) -> dict[str, Any]:
    return {"duplicate": True, "image_id": upload.image_id, "bucket": upload.bucket, "key": upload.key}


def _summary(item: record.Item) -> dict[str, Any]:
    """Everything people are told, without the faces: under 16 KB, whatever the key holds."""
    return {
        "duplicate": False,
        "image_id": item["ImageID"]["S"],
        "bucket": item["Bucket"]["S"],
        "key": item["Key"]["S"],
        "version_id": item.get("VersionId", {}).get("S"),
        "outcome": item["Outcome"]["S"],
        "reason": item.get("Reason", {}).get("S"),
        "face_count": int(item["FaceCount"]["N"]),
        "timestamp": item["Timestamp"]["S"],
    }
