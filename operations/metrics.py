"""Reads CloudWatch metrics and the message counts of queues."""

from __future__ import annotations

import statistics
from datetime import timedelta
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from datetime import datetime

    from operations.deployment import Deployment


class Metric(NamedTuple):
    """A metric with one dimension, and a statistic: Sum, Average, Maximum, or a percentile such as p95."""

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
    """Values by name and by the start of their period, newest first; periods without data are left out.

    By default the period is the whole interval, in which one or two of them begin.
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
    """The approximate numbers of visible and in-flight messages in a queue, and the time by its clock."""
    names = ("ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible")
    answer = deployment.client("sqs").get_queue_attributes(QueueUrl=queue_url, AttributeNames=names)
    waiting, held = (int(answer["Attributes"][name]) for name in names)
    date = answer["ResponseMetadata"]["HTTPHeaders"]["date"]
    return waiting, held, parsedate_to_datetime(date)


def oldest_message(deployment: Deployment, queue_url: str, now: datetime) -> float | None:
    """Age in seconds of the oldest message in a queue, some minutes late; None without data.

    https://docs.aws.amazon.com/AWSSimpleQueueService/latest/SQSDeveloperGuide/sqs-available-cloudwatch-metrics.html
    """
    name = queue_url.rsplit("/", 1)[-1]
    age = Metric("AWS/SQS", "ApproximateAgeOfOldestMessage", "QueueName", name, "Maximum")
    found = read(deployment, {"age": age}, now - timedelta(minutes=15), now)
    return max(found["age"].values(), default=None)


def percentile(values: list[float], percent: int) -> float | None:
    """A percentile of `values`, for when CloudWatch has none; None if there are no values."""
    if not values:
        return None
    # Doubled, because a single value has no quantiles.
    return round(statistics.quantiles([*values, *values], n=100, method="inclusive")[percent - 1], 3)
