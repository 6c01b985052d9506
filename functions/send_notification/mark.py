"""The mark on a record that its notification was sent.

Both calls are UpdateItem, so the function needs no permission to read records and their faces.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

    from mypy_boto3_dynamodb import DynamoDBClient


def is_due(summary: Mapping[str, Any], *, dynamodb: DynamoDBClient, table: str) -> bool:
    """Whether the record still belongs to this execution and has no mark; changes nothing."""
    return _update(
        summary,
        "SET ExecutionId = :me",
        "attribute_not_exists(NotifiedAt)",
        {},
        dynamodb=dynamodb,
        table=table,
    )


def set_mark(summary: Mapping[str, Any], *, dynamodb: DynamoDBClient, table: str) -> bool:
    """Write `NotifiedAt`, in UTC; False when the record was taken over, or erased, in the meantime."""
    now = datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    return _update(
        summary,
        "SET NotifiedAt = :now",
        "attribute_exists(ImageID)",
        {":now": {"S": now}},
        dynamodb=dynamodb,
        table=table,
    )


def _update(
    summary: Mapping[str, Any],
    change: str,
    condition: str,
    values: dict[str, Any],
    *,
    dynamodb: DynamoDBClient,
    table: str,
) -> bool:
    try:
        dynamodb.update_item(
            TableName=table,
            Key={"ImageID": {"S": summary["image_id"]}},
            UpdateExpression=change,
            ConditionExpression=f"ExecutionId = :me AND {condition}",
            ExpressionAttributeValues={":me": {"S": summary["execution_id"]}, **values},
        )
    except dynamodb.exceptions.ConditionalCheckFailedException:
        return False
    return True
