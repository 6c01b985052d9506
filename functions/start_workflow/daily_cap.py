"""The number of photos all workers together may still start today (UTC): one small atomic write a batch."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from datetime import datetime

    from mypy_boto3_dynamodb import DynamoDBClient

# The count is not needed after its day; it is kept for a week for reference.
_KEPT = timedelta(days=7)


class Counter:
    """A day's count in `table`: key `Day` (S, YYYY-MM-DD), `Started` (N), `ExpiresAt` (N, epoch)."""

    def __init__(self, dynamodb: DynamoDBClient, table: str, most: int, now: datetime) -> None:
        self._dynamodb = dynamodb
        self._table = table
        self._most = most
        self._key = {"Day": {"S": now.strftime("%Y-%m-%d")}}
        self._expires = str(int((now + _KEPT).timestamp()))
        self._counted = 0

    def take(self, wanted: int) -> int:
        """Count `wanted` photos; return how many of them may be started."""
        try:
            answer = self._dynamodb.update_item(
                TableName=self._table,
                Key=self._key,
                UpdateExpression="ADD Started :wanted SET ExpiresAt = :expires",
                ConditionExpression="attribute_not_exists(Started) OR Started < :most",
                ExpressionAttributeValues={
                    ":wanted": {"N": str(wanted)},
                    ":most": {"N": str(self._most)},
                    ":expires": {"N": self._expires},
                },
                ReturnValues="UPDATED_NEW",
            )
        except self._dynamodb.exceptions.ConditionalCheckFailedException:
            return 0
        self._counted = wanted
        before = int(answer["Attributes"]["Started"]["N"]) - wanted
        return min(wanted, self._most - before)

    def settle(self, started: int) -> None:
        """Subtract photos that were counted but not started, so that failures do not use up the cap."""
        if unused := self._counted - started:
            self._dynamodb.update_item(
                TableName=self._table,
                Key=self._key,
                UpdateExpression="ADD Started :unused",
                ExpressionAttributeValues={":unused": {"N": str(-unused)}},
            )
