"""Process one upload from event to record, exactly once."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from . import record
from .outcomes import REASONS
from .upload import InvalidEventError, Upload

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from datetime import datetime

    from mypy_boto3_dynamodb import DynamoDBClient

    from .analysis import Analysis

# `IN` takes 100 operands, one of which is this execution.
MAX_TAKEN_OVER = 99


def process(
    event: Any,
    *,
    execution_id: str,
    now: datetime,
    analyse: Callable[[Upload], Analysis],
    dynamodb: DynamoDBClient,
    table: str,
    retention_days: int | None,
) -> dict[str, Any]:
    """Analyse and record one upload; return the summary for the rest of the workflow.

    An image belongs to the execution that recorded it first. Any other execution gets `{"duplicate": True}`
    and does not analyse it, unless the event's `redriven_from` contains the owner: then it takes the record
    over unchanged, so that the notification can still be sent. `reanalyse` makes an owner analyse again;
    `notify` false records that no notification is due. A folder marker is ignored.

    The summary's `notify` is whether a notification is due now: not for another execution's image, nor for
    one that was already notified.

    Raises InvalidEventError for a malformed event, and whatever `analyse` and DynamoDB raise.
    """
    upload = Upload.from_event(event)
    owners = [execution_id, *_taken_over(event)]
    if upload.is_folder_marker:
        return {"ignored": "folder_marker", "duplicate": False, "notify": False}
    existing = record.read(upload.image_id, dynamodb=dynamodb, table=table)
    if existing and existing["ExecutionId"]["S"] not in owners:
        return _duplicate(upload)

    due = event.get("notify") is not False
    if existing and not event.get("reanalyse"):
        item = record.taken_over(existing, execution_id=execution_id, notification_due=due)
        if item == existing:
            return _summary(item)
    else:
        item = record.build(
            upload,
            analyse(upload),
            execution_id=execution_id,
            notification_due=due,
            now=now,
            retention_days=retention_days,
        )
    if not record.write(item, owners, dynamodb=dynamodb, table=table):
        return _duplicate(upload)
    return _summary(item)


def _taken_over(event: dict[str, Any]) -> Sequence[str]:
    executions = event.get("redriven_from", [])
    if not isinstance(executions, list) or not all(isinstance(arn, str) for arn in executions):
        raise InvalidEventError("redriven_from must be a list of execution ARNs")
    # The newest are last, and only they can still own the image.
    return executions[-MAX_TAKEN_OVER:]


def _duplicate(upload: Upload) -> dict[str, Any]:
    return {
        "duplicate": True,
        "notify": False,
        "image_id": upload.image_id,
        "bucket": upload.bucket,
        "key": upload.key,
    }


def _summary(item: record.Item) -> dict[str, Any]:
    """Everything in a notification, without the faces: under 16 KB, whatever the key."""
    reason = item.get("Reason", {}).get("S")
    return {
        "duplicate": False,
        "notify": item["NotificationDue"]["BOOL"] and "NotifiedAt" not in item,
        "execution_id": item["ExecutionId"]["S"],
        "image_id": item["ImageID"]["S"],
        "bucket": item["Bucket"]["S"],
        "key": item["Key"]["S"],
        "version_id": item.get("VersionId", {}).get("S"),
        "outcome": item["Outcome"]["S"],
        "reason": reason,
        # Older records have no detail.
        "detail": item.get("Detail", {}).get("S") or (REASONS[reason] if reason else None),
        "face_count": int(item["FaceCount"]["N"]),
        "timestamp": item["Timestamp"]["S"],
    }
