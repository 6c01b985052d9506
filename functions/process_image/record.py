"""The DynamoDB record of one upload: its attributes, its size, and who may write it."""

from __future__ import annotations

import json
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Sequence

    from mypy_boto3_dynamodb import DynamoDBClient

    from .analysis import Analysis
    from .upload import Upload

Item = dict[str, Any]

# DynamoDB's item limit is 400 KB (409,600 bytes), attribute names included; all attributes except the faces
# stay under 8 KB together, with the key (1,024 bytes at most) counted twice.
# https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/Constraints.html
MAX_FACE_DETAILS_BYTES = 400_000

# Values from json.loads have no cycles.
_encode = json.JSONEncoder(separators=(",", ":"), check_circular=False).encode

# A ratio of the image's side: 0.0001 is one pixel of a 10,000 pixel side.
_RATIOS = {"Width", "Height", "Left", "Top", "X", "Y"}


def build(
    upload: Upload,
    analysis: Analysis,
    *,
    execution_id: str,
    notification_due: bool,
    now: datetime,
    retention_days: int | None,
) -> Item:
    """The record as DynamoDB's typed attributes; `now` must be in UTC."""
    timestamp = now.strftime("%Y-%m-%dT%H:%M:%S.") + f"{now.microsecond // 1000:03d}Z"
    item: Item = {
        "ImageID": {"S": upload.image_id},
        "Bucket": {"S": upload.bucket},
        "Key": {"S": upload.key},
        "ETag": {"S": upload.etag},
        "Outcome": {"S": analysis.outcome},
        "OutcomeDay": {"S": f"{analysis.outcome}#{timestamp[:10]}"},
        "FaceDetected": {"BOOL": analysis.outcome == "face_detected"},
        "FaceCount": {"N": str(len(analysis.faces))},
        "Timestamp": {"S": timestamp},
        "ExecutionId": {"S": execution_id},
        "NotificationDue": {"BOOL": notification_due},
    }
    known: dict[str, tuple[str, str | int | None]] = {
        "VersionId": ("S", upload.version_id),
        "Size": ("N", upload.size),
        "Sequencer": ("S", upload.sequencer),
        "Reason": ("S", analysis.reason),
        "Detail": ("S", analysis.detail),
        "Format": ("S", analysis.format),
        "Width": ("N", analysis.width),
        "Height": ("N", analysis.height),
    }
    item |= {name: {kind: str(value)} for name, (kind, value) in known.items() if value not in {None, ""}}
    if analysis.converted:
        item["Converted"] = {"BOOL": True}
    if analysis.faces:
        details, kept = face_details(analysis.faces)
        item["FaceDetails"] = {"S": details}
        if kept < len(analysis.faces):
            item["FaceDetailsKept"] = {"N": str(kept)}
    if retention_days is not None:
        item["ExpiresAt"] = {"N": str(int((now + timedelta(days=retention_days)).timestamp()))}
    return item


def taken_over(item: Item, *, execution_id: str, notification_due: bool) -> Item:
    """The record with a new owner and a new notification_due, and otherwise unchanged."""
    return {**item, "ExecutionId": {"S": execution_id}, "NotificationDue": {"BOOL": notification_due}}


def face_details(faces: Sequence[dict[str, Any]]) -> tuple[str, int]:
    """The faces as JSON of at most MAX_FACE_DETAILS_BYTES, and how many of them it holds.

    Rekognition's maximum of 100 faces with every attribute fits; if a response is ever larger, the first
    faces (the largest) are kept whole and the rest left out.
    """
    parts: list[str] = []
    size = 2
    for face in faces:
        part = _encode(rounded(face))
        size += len(part) + 1
        if size > MAX_FACE_DETAILS_BYTES:
            break
        parts.append(part)
    return f"[{','.join(parts)}]", len(parts)


def rounded(value: Any, name: str = "") -> Any:
    """Round away meaningless digits: ratios to 4 decimals, percentages and degrees to 2."""
    # By exact type: a hundred faces are ten thousand values, and isinstance would take 50 % longer.
    kind = type(value)
    if kind is float:
        return round(value, 4 if name in _RATIOS else 2)
    if kind is dict:
        return {key: rounded(part, key) for key, part in value.items()}
    if kind is list or kind is tuple:
        return [rounded(part, name) for part in value]
    return value


def read(image_id: str, *, dynamodb: DynamoDBClient, table: str) -> Item | None:
    """The record of an image, or None; read consistently, so that it sees a write that just completed."""
    answer = dynamodb.get_item(TableName=table, Key={"ImageID": {"S": image_id}}, ConsistentRead=True)
    return answer.get("Item")


def write(item: Item, owners: Sequence[str], *, dynamodb: DynamoDBClient, table: str) -> bool:
    """Write the record, or return False if it belongs to an execution outside `owners`.

    `owners`: at most 100 execution ARNs, the most operands `IN` takes.
    https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/Expressions.OperatorsAndFunctions.html
    """
    names = {f":owner{index}": {"S": owner} for index, owner in enumerate(owners)}
    try:
        dynamodb.put_item(
            TableName=table,
            Item=item,
            ConditionExpression=f"attribute_not_exists(ImageID) OR ExecutionId IN ({', '.join(names)})",
            ExpressionAttributeValues=names,
        )
    except dynamodb.exceptions.ConditionalCheckFailedException:
        return False
    return True
