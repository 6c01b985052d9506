"""Records of analysed photos as plain Python values, from any version of the pipeline."""

from __future__ import annotations

import itertools
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from functools import cache
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

    from operations.deployment import Deployment

Record = dict[str, Any]

# Records per page, which bounds memory. DynamoDB itself ends a page at 1 MB.
_PAGE = 500
# The most keys in one BatchGetItem; it returns at most 16 MB and lists the unprocessed keys.
# https://docs.aws.amazon.com/amazondynamodb/latest/APIReference/API_BatchGetItem.html
BATCH = 100
# Batches read in parallel.
_AT_ONCE = 8

OUTCOMES = ("face_detected", "no_face", "rejected")

# What a record may hold, in the order people read it; see functions/process_image/record.py.
ATTRIBUTES: dict[str, type] = {
    "Timestamp": str,
    "Key": str,
    "Outcome": str,
    "FaceCount": int,
    "Reason": str,
    "Detail": str,
    "Size": int,
    "ImageID": str,
    "Bucket": str,
    "VersionId": str,
    "ETag": str,
    "FaceDetected": bool,
    "Sequencer": str,
    "ExecutionId": str,
    "NotifiedAt": str,
    "Format": str,
    "Converted": bool,
    "Width": int,
    "Height": int,
    "ExpiresAt": int,
    "FaceDetails": str,
}
# Attributes for the indexes and the functions themselves, of no use to readers.
INTERNAL = frozenset({"OutcomeDay", "FaceDetailsKept", "NotificationDue"})


def plain(item: Mapping[str, Mapping[str, Any]]) -> Record:
    """A DynamoDB item in plain values; whole numbers become int.

    Attributes of a type this project never writes become text, so that foreign records can be read.
    """
    record = {name: _value(typed) for name, typed in item.items()}
    # The index ByOutcomeDay has the ImageID, made of key and ETag, but not the object's key.
    if "Key" not in record and "@" in str(record.get("ImageID", "")):
        record["Key"] = str(record["ImageID"]).rpartition("@")[0]
    return record


def public(record: Record) -> Record:
    """The record without INTERNAL."""
    return {name: value for name, value in record.items() if name not in INTERNAL}


@cache
def _deserialize() -> Callable[[Any], Any]:
    # Imported late, because the SDK would slow down --help.
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
    """The record of an image, read consistently; None if there is none."""
    answer = deployment.client("dynamodb").get_item(
        TableName=deployment.table, Key={"ImageID": {"S": image}}, ConsistentRead=True
    )
    return plain(answer["Item"]) if "Item" in answer else None


def complete(deployment: Deployment, found: Iterable[Record]) -> Iterator[Record]:
    """The complete records of `found`, which come from an index, in the same order.

    Reads BATCH at a time. Records erased meanwhile are left out.
    """
    found = iter(found)
    while images := [str(record["ImageID"]) for record in itertools.islice(found, BATCH)]:
        whole = _batch(deployment, images)
        yield from (whole[image] for image in images if image in whole)


def recorded(deployment: Deployment, images: Iterable[str]) -> dict[str, Record]:
    """The records of images by ImageID, read consistently, several batches in parallel.

    Images without a record are left out; records hold ImageID, ExecutionId, NotifiedAt and NotificationDue.
    """
    names = "ImageID, ExecutionId, NotifiedAt, NotificationDue"
    wanted = list(images)
    batches = [wanted[at : at + BATCH] for at in range(0, len(wanted), BATCH)]
    found: dict[str, Record] = {}
    with ThreadPoolExecutor(_AT_ONCE) as pool:
        for part in pool.map(lambda batch: _batch(deployment, batch, ProjectionExpression=names), batches):
            found |= part
    return found


def _batch(deployment: Deployment, images: Iterable[str], **options: str) -> dict[str, Record]:
    """The records of at most BATCH images, read consistently, by ImageID."""
    client, table = deployment.client("dynamodb"), deployment.table
    found: dict[str, Record] = {}
    keys = [{"ImageID": {"S": image}} for image in dict.fromkeys(images)]
    pending: dict[str, Any] = {table: {"Keys": keys, "ConsistentRead": True, **options}}
    pause = 0.0
    while pending:
        time.sleep(pause)
        answer = client.batch_get_item(RequestItems=pending)
        read = answer["Responses"].get(table, [])
        found |= {item["ImageID"]["S"]: plain(item) for item in read}
        pending = answer.get("UnprocessedKeys") or {}
        # After a truncated response, go on at once; a throttled table returns nothing, so wait.
        pause = 0.0 if read else min(5.0, 2 * pause + 0.1)
    return found


def by_key(deployment: Deployment, key: str) -> Iterator[Record]:
    """Every upload of `key`, newest first."""
    return _read(deployment, "query", {"Key": key}, IndexName="ByKey", KeyConditionExpression="#Key = :Key")


def by_outcome(
    deployment: Deployment, outcome: str, day: str, *, since: datetime | None = None
) -> Iterator[Record]:
    """Records with an outcome on `day` (YYYY-MM-DD, UTC), newest first, not older than `since`."""
    condition, values = "#OutcomeDay = :OutcomeDay", {"OutcomeDay": f"{outcome}#{day}"}
    if since:
        condition += " AND #Timestamp >= :Timestamp"
        values["Timestamp"] = since.strftime("%Y-%m-%dT%H:%M:%S.000Z")
    return _read(deployment, "query", values, IndexName="ByOutcomeDay", KeyConditionExpression=condition)


def since(deployment: Deployment, outcome: str, moment: datetime) -> Iterator[Record]:
    """Records with an outcome from `moment` until now, newest first."""
    today = datetime.now(UTC).date()
    for back in range((today - moment.date()).days + 1):
        yield from by_outcome(deployment, outcome, f"{today - timedelta(back)}", since=moment)


def everything(
    deployment: Deployment, *, outcome: str | None = None, reason: str | None = None
) -> Iterator[Record]:
    """All records in no particular order, or those with this outcome and reason."""
    wanted = {name: value for name, value in (("Outcome", outcome), ("Reason", reason)) if value}
    condition = " AND ".join(f"#{name} = :{name}" for name in wanted)
    return _read(deployment, "scan", wanted, **({"FilterExpression": condition} if wanted else {}))


def _read(
    deployment: Deployment, operation: str, values: Mapping[str, str], **request: Any
) -> Iterator[Record]:
    """The results of a query (newest first) or scan; its expression uses #name and :name placeholders."""
    if operation == "query":
        request["ScanIndexForward"] = False
    if values:  # DynamoDB refuses empty ones.
        # Key and Timestamp, for example, are reserved words.
        request["ExpressionAttributeNames"] = {f"#{name}": name for name in values}
        request["ExpressionAttributeValues"] = {f":{name}": {"S": value} for name, value in values.items()}
    pages = deployment.client("dynamodb").get_paginator(operation)
    for page in pages.paginate(TableName=deployment.table, PaginationConfig={"PageSize": _PAGE}, **request):
        yield from map(plain, page["Items"])
