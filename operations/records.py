"""Records of analysed photos as plain Python values, whatever version of the pipeline wrote them."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from operations.errors import OperationError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from datetime import datetime

    from operations.deployment import Deployment

Record = dict[str, Any]

OUTCOMES = ("face_detected", "no_face", "rejected")

# What a record may hold, in the order people read it; see docs/ and functions/process_image/record.py.
ATTRIBUTES = (
    *("Timestamp", "Key", "Outcome", "FaceCount", "Reason", "Size", "ImageID", "Bucket", "VersionId", "ETag"),
    *("FaceDetected", "Sequencer", "ExecutionId", "ExpiresAt", "FaceDetails"),
)
# Kept for the indexes and for the writer's own sake; nothing a reader misses.
INTERNAL = frozenset({"OutcomeDay", "FaceDetailsKept"})


def plain(item: Mapping[str, Mapping[str, Any]]) -> Record:
    """A DynamoDB item in plain values, numbers as int where they are whole.

    Attributes of a type this project never writes come as text, so that records of another shape can be read.
    """
    record = {name: _value(typed) for name, typed in item.items()}
    # ByOutcomeDay holds the table's keys but not the object's; ImageID is made of key and ETag.
    if "Key" not in record and "@" in str(record.get("ImageID", "")):
        record["Key"] = str(record["ImageID"]).rpartition("@")[0]
    return record


def public(record: Record) -> Record:
    """The record without what is kept for the indexes and for the writer's own sake."""
    return {name: value for name, value in record.items() if name not in INTERNAL}


def _value(typed: Mapping[str, Any]) -> Any:
    kind, value = next(iter(typed.items()))
    if kind == "NULL":
        return None
    if kind == "N":
        return int(value) if str(value).lstrip("-").isdecimal() else float(value)
    return value if kind in ("S", "BOOL") else str(value)


def image_id(key: str, etag: str) -> str:
    """The ImageID of an object; listings quote ETags, events do not."""
    return f"{key}@{etag.strip(chr(34))}"


def get(deployment: Deployment, identity: str) -> Record | None:
    """The record of an image, read consistently; None where there is none.

    Raises OperationError when the table has other keys than this version's.
    """
    with expecting_this_shape(deployment):
        answer = deployment.client("dynamodb").get_item(
            TableName=deployment.table, Key={"ImageID": {"S": identity}}, ConsistentRead=True
        )
    return plain(answer["Item"]) if "Item" in answer else None


def by_key(deployment: Deployment, key: str) -> Iterator[list[Record]]:
    """Pages of every upload of `key`, newest first."""
    yield from _query(deployment, "ByKey", {"#hash": "Key"}, {":hash": {"S": key}})


def by_outcome(
    deployment: Deployment, outcome: str, day: str, *, since: datetime | None = None
) -> Iterator[list[Record]]:
    """Pages of an outcome on `day` (YYYY-MM-DD, UTC), newest first, not older than `since`."""
    names, values = {"#hash": "OutcomeDay"}, {":hash": {"S": f"{outcome}#{day}"}}
    if since:
        names["#time"] = "Timestamp"
        values[":since"] = {"S": since.strftime("%Y-%m-%dT%H:%M:%S.000Z")}
    yield from _query(deployment, "ByOutcomeDay", names, values)


def everything(deployment: Deployment) -> Iterator[list[Record]]:
    """Pages of the whole table, in no order; a page is at most 1 MB, as DynamoDB reads it."""
    for page in (
        deployment.client("dynamodb")
        .get_paginator("scan")
        .paginate(TableName=deployment.table, PaginationConfig={"PageSize": 1000})
    ):
        yield [plain(item) for item in page["Items"]]


def _query(
    deployment: Deployment, index: str, names: dict[str, str], values: dict[str, dict[str, str]]
) -> Iterator[list[Record]]:
    condition = "#hash = :hash"
    if "#time" in names:
        condition += " AND #time >= :since"
    pages = (
        deployment.client("dynamodb")
        .get_paginator("query")
        .paginate(
            TableName=deployment.table,
            IndexName=index,
            KeyConditionExpression=condition,
            ExpressionAttributeNames=names,
            ExpressionAttributeValues=values,
            ScanIndexForward=False,
            PaginationConfig={"PageSize": 1000},
        )
    )
    with expecting_this_shape(deployment):
        for page in pages:
            yield [plain(item) for item in page["Items"]]


@contextmanager
def expecting_this_shape(deployment: Deployment) -> Iterator[None]:
    """Raise OperationError when the table lacks what is asked for: an index, or a key."""
    try:
        yield
    except deployment.client("dynamodb").exceptions.ClientError as error:
        if error.response["Error"].get("Code") != "ValidationException":
            raise
        name = deployment.environment.name
        raise OperationError(
            f"The table {deployment.table} is of another version ({error.response['Error'].get('Message')});"
            f" see what differs with 'make plan ENV={name}'."
        ) from None
