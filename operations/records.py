"""Records of analysed photos as plain Python values, whatever version of the pipeline wrote them."""

from __future__ import annotations

import time
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from functools import cache
from typing import TYPE_CHECKING, Any

from operations.errors import UserError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

    from operations.deployment import Deployment

Record = dict[str, Any]

# Records read at once: what is held in memory. DynamoDB itself ends a page at 1 MB.
_PAGE = 500
# The most keys of one BatchGetItem; it answers at most 16 MB and names the rest.
# https://docs.aws.amazon.com/amazondynamodb/latest/APIReference/API_BatchGetItem.html
BATCH = 100

OUTCOMES = ("face_detected", "no_face", "rejected")

# What a record may hold, in the order people read it; see docs/ and functions/process_image/record.py.
ATTRIBUTES = (
    *(
        "Timestamp",
        "Key",
        "Outcome",
        "FaceCount",
        "Reason",
        "Detail",
        "Size",
        "ImageID",
        "Bucket",
        "VersionId",
    ),
    *(
        "ETag",
        "FaceDetected",
        "Sequencer",
        "ExecutionId",
        "NotifiedAt",
        "Format",
        "Converted",
        "Width",
        "Height",
    ),
    *("ExpiresAt", "FaceDetails"),
)
# Kept for the indexes and for the writer's own sake; nothing a reader misses.
INTERNAL = frozenset({"OutcomeDay", "FaceDetailsKept", "NotificationDue"})


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


@cache
def _deserialize() -> Callable[[Any], Any]:
    # The SDK's import takes longer than --help may.
    from boto3.dynamodb.types import TypeDeserializer

    return TypeDeserializer().deserialize


def _value(typed: Mapping[str, Any]) -> Any:
    value = _deserialize()(typed)
    if isinstance(value, Decimal):
        return int(value) if value == value.to_integral_value() else float(value)
    return value if value is None or isinstance(value, (str, bool)) else str(value)


def image_id(key: str, etag: str) -> str:
    """The ImageID of an object; listings quote ETags, events do not."""
    return f"{key}@{etag.strip(chr(34))}"


def get(deployment: Deployment, image: str) -> Record | None:
    """The record of an image, read consistently; None where there is none.

    Raises UserError when the table has other keys than this version's.
    """
    with expecting_this_shape(deployment):
        answer = deployment.client("dynamodb").get_item(
            TableName=deployment.table, Key={"ImageID": {"S": image}}, ConsistentRead=True
        )
    return plain(answer["Item"]) if "Item" in answer else None


def complete(deployment: Deployment, found: Sequence[Record]) -> Iterator[list[Record]]:
    """Pages of `found`, which the indexes keep in part, with everything the table holds, in the same order.

    What was erased meanwhile is left out.
    """
    for at in range(0, len(found), BATCH):
        images = [str(record["ImageID"]) for record in found[at : at + BATCH]]
        items = _items(deployment, images)
        yield [plain(items[image]) for image in images if image in items]


def recorded(deployment: Deployment, images: Iterable[str]) -> dict[str, Record]:
    """What says who recorded and notified at most BATCH images, by ImageID, read consistently.

    Images without a record are left out; records hold ImageID, ExecutionId, NotifiedAt and NotificationDue.

    Raises UserError when the table has other keys than this version's.
    """
    with expecting_this_shape(deployment):
        items = _items(
            deployment, images, ProjectionExpression="ImageID, ExecutionId, NotifiedAt, NotificationDue"
        )
    return {image: plain(item) for image, item in items.items()}


def _items(deployment: Deployment, images: Iterable[str], **options: str) -> dict[str, Mapping[str, Any]]:
    """The items of at most BATCH images, read consistently, by ImageID."""
    client, table = deployment.client("dynamodb"), deployment.table
    items: dict[str, Mapping[str, Any]] = {}
    keys = [{"ImageID": {"S": image}} for image in dict.fromkeys(images)]
    asked: dict[str, Any] = {table: {"Keys": keys, "ConsistentRead": True, **options}} if keys else {}
    pause = 0.0
    while asked:
        time.sleep(pause)
        answer = client.batch_get_item(RequestItems=asked)
        read = answer["Responses"].get(table, [])
        items |= {item["ImageID"]["S"]: item for item in read}
        asked = answer.get("UnprocessedKeys") or {}
        # A large answer is cut short and goes on at once; a throttled table answers nothing.
        pause = 0.0 if read else min(5.0, 2 * pause + 0.1)
    return items


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


def since(deployment: Deployment, outcome: str, moment: datetime) -> Iterator[list[Record]]:
    """Pages of an outcome from `moment` until now, newest first."""
    today = datetime.now(UTC).date()
    for back in range((today - moment.date()).days + 1):
        yield from by_outcome(deployment, outcome, f"{today - timedelta(back)}", since=moment)


def everything(
    deployment: Deployment, *, outcome: str | None = None, reason: str | None = None
) -> Iterator[list[Record]]:
    """Pages of the table in no order: all of it, or what has this outcome and reason.

    A page is at most 1 MB, as DynamoDB reads it.
    """
    wanted = {name: value for name, value in (("Outcome", outcome), ("Reason", reason)) if value}
    condition: dict[str, Any] = {}
    if wanted:
        condition = {
            "FilterExpression": " AND ".join(f"#{name} = :{name}" for name in wanted),
            "ExpressionAttributeNames": {f"#{name}": name for name in wanted},
            "ExpressionAttributeValues": {f":{name}": {"S": value} for name, value in wanted.items()},
        }
    pages = deployment.client("dynamodb").get_paginator("scan")
    for page in pages.paginate(TableName=deployment.table, PaginationConfig={"PageSize": _PAGE}, **condition):
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
            PaginationConfig={"PageSize": _PAGE},
        )
    )
    with expecting_this_shape(deployment):
        for page in pages:
            yield [plain(item) for item in page["Items"]]


@contextmanager
def expecting_this_shape(deployment: Deployment) -> Iterator[None]:
    """Raise UserError when the table lacks what is asked for: an index, or a key."""
    try:
        yield
    except deployment.client("dynamodb").exceptions.ClientError as error:
        if error.response["Error"].get("Code") != "ValidationException":
            raise
        name = deployment.environment.name
        raise UserError(
            f"The table {deployment.table} is of another version ({error.response['Error'].get('Message')});"
            f" see what differs with 'make plan ENV={name}'."
        ) from None
