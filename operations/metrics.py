"""CloudWatch's metrics and queues' own counts, each read in one way."""

from __future__ import annotations

import statistics
from datetime import timedelta
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from datetime import datetime

    from operations.deployment import Deployment


class Metric(NamedTuple):
    """A metric by its one dimension, and which statistic of it: Sum, Average, Maximum, or p95."""

    namespace: str
    name: str
    dimension: str
    value: str
    statistic: str


def read(
    deployment: Deployment,
    wanted: dict[str, Metric],
    since: datetime,
    until: datetime,
    period: timedelta | None = None,
) -> dict[str, dict[datetime, float]]:
    """Values by name and by when their period began, the newest first; periods without one are left out.

    Without a `period` it is as long as the time looked at, in which one or two of them begin.
    """
    seconds = (period or max(timedelta(minutes=1), until - since)).total_seconds()
    queries = [
        {
            "Id": name,
            "MetricStat": {
                "Metric": {
                    "Namespace": metric.namespace,
                    "MetricName": metric.name,
                    "Dimensions": [{"Name": metric.dimension, "Value": metric.value}],
                },
                "Period": int(seconds) // 60 * 60,
                "Stat": metric.statistic,
            },
        }
        for name, metric in wanted.items()
    ]
    answer = deployment.client("cloudwatch").get_metric_data(
        MetricDataQueries=queries, StartTime=since, EndTime=until, ScanBy="TimestampDescending"
    )
    return {
        one["Id"]: dict(zip(one["Timestamps"], map(float, one["Values"]), strict=True))
        for one in answer["MetricDataResults"]
    }


def messages(deployment: Deployment, queue_url: str) -> tuple[int, int, datetime]:
    """About how many messages of a queue nobody holds, how many somebody does, and the time by its clock."""
    names = ("ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible")
    answer = deployment.client("sqs").get_queue_attributes(QueueUrl=queue_url, AttributeNames=names)
    waiting, held = (int(answer["Attributes"][name]) for name in names)
    said = answer["ResponseMetadata"]["HTTPHeaders"]["date"]
    return waiting, held, parsedate_to_datetime(said)


def oldest_message(deployment: Deployment, queue_url: str, now: datetime) -> float | None:
    """Seconds the oldest message of a queue has waited, some minutes late; None where nothing was measured.

    https://docs.aws.amazon.com/AWSSimpleQueueService/latest/SQSDeveloperGuide/sqs-available-cloudwatch-metrics.html
    """
    name = queue_url.rsplit("/", 1)[-1]
    age = Metric("AWS/SQS", "ApproximateAgeOfOldestMessage", "QueueName", name, "Maximum")
    found = read(deployment, {"age": age}, now - timedelta(minutes=15), now)
    return max(found["age"].values(), default=None)


def percentile(values: list[float], percent: int) -> float | None:
    """Of values that are at hand, where CloudWatch has none; None without any."""
    if not values:
        return None
    # Doubled, as one value alone has no quantiles.
    return round(statistics.quantiles([*values, *values], n=100, method="inclusive")[percent - 1], 3)
