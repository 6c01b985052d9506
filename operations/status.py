"""The last hour at a glance."""

from __future__ import annotations

import collections
import statistics
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import click

from operations import buffer, executions, failing, metrics, options, records, status_table
from operations.dead_letters import Queue
from operations.deployment import Deployment, together
from operations.failing import grouped
from operations.metrics import Metric

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from operations.dead_letters import ParkedEvent

# Bounds on what one look costs: 10,000 executions are ten requests, 20,000 records of an outcome about six.
MAX_EXECUTIONS = 10_000
MAX_RECORDS = 20_000

STATES = ("RUNNING", "SUCCEEDED", "FAILED", "TIMED_OUT", "ABORTED")


@click.command
@options.environment
@click.option(
    "--minutes", type=click.IntRange(1, 1440), default=60, show_default=True, help="How far to look back."
)
@options.as_json
def command(env: str, minutes: int, as_json: bool) -> None:
    """Show the last hour: outcomes, failures and why, retries, dead letters, alarms.

    It only reads. The exit code is 0 whatever it finds; a program looks at `healthy` in the JSON.
    """
    found = look(Deployment.load(env), datetime.now(UTC), timedelta(minutes=minutes))
    if as_json:
        options.print_json(found)
    else:
        status_table.show(found)


def look(deployment: Deployment, now: datetime, period: timedelta) -> dict[str, Any]:
    """Everything `status` shows, as JSON takes it.

    `latency` is in seconds from an execution's start to its end. `failures` are those nobody has redriven
    since, by error and cause, counted among `failures_looked_at` of them; `redriven` counts the others.
    `retries` are executions that wait to try again now. `dead_letters.oldest_seconds` is the age of the
    oldest message CloudWatch or a look at ten messages knows of. `dead_letters.reasons`, and an EXPRESS
    workflow's `failures`, are counted among the `dead_letters.looked_at` messages of that look. `throttled`
    counts invocations Lambda turned away in the period, by function.
    """
    since = now - period
    (dead_letters, parked), ran, (outcomes, reasons), alarms, delivery, throttled, buffered = together(
        lambda: _dead_letters(deployment, now),
        lambda: _executions(deployment, since, now),
        lambda: _outcomes(deployment, since, now),
        lambda: _alarms(deployment),
        lambda: _delivery(deployment),
        lambda: _throttled(deployment, since, now),
        lambda: _buffer(deployment, now),
    )
    if not ran["executions"]["listed"]:
        ran["failures"] = _reasons(parked)
        ran["failures_looked_at"] = len(parked)
    # Waiting for a turn is how a burst is worked off.
    retrying = [one for one in ran["retries"] if one["error"] != "Lambda.TooManyRequestsException"]
    delivers = delivery["rule"] == "ENABLED" and delivery["notifications"] and not buffered["paused"]
    return {
        "environment": deployment.environment.name,
        "from": since.isoformat(timespec="seconds"),
        "to": now.isoformat(timespec="seconds"),
        "healthy": not (ran["failures"] or retrying or dead_letters["count"] or alarms) and delivers,
        **ran,
        "outcomes": outcomes,
        "rejected_reasons": reasons,
        "dead_letters": dead_letters,
        "delivery": delivery,
        "buffer": buffered,
        "throttled": throttled,
        "alarms": alarms,
    }


def _executions(deployment: Deployment, since: datetime, now: datetime) -> dict[str, Any]:
    counts = collections.Counter(dict.fromkeys(STATES, 0))
    seconds: list[float] = []
    failed: list[dict[str, Any]] = []
    running: list[dict[str, Any]] = []
    try:
        for execution in executions.since(deployment, since, limit=MAX_EXECUTIONS):
            counts[execution["status"]] += 1
            if execution["status"] == "SUCCEEDED" and execution.get("stopDate"):
                seconds.append((execution["stopDate"] - execution["startDate"]).total_seconds())
            elif execution["status"] in executions.FAILED:
                failed.append(execution)
            elif execution["status"] == "RUNNING":
                running.append(execution)
    except executions.NoHistoryError:
        counted, latency = _from_metrics(deployment, since, now)
        return {"executions": counted, "latency": latency, "failures": [], "redriven": 0, "retries": []}
    failures, retries = together(
        lambda: failing.unresolved(deployment, failed), lambda: failing.retries(deployment, running)
    )
    total = sum(counts.values())
    return {
        "executions": {**counts, "total": total, "complete": total < MAX_EXECUTIONS, "listed": True},
        "latency": {"p50": _percentile(seconds, 50), "p95": _percentile(seconds, 95)},
        **failures,
        "retries": retries,
    }


def _from_metrics(
    deployment: Deployment, since: datetime, now: datetime
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Counts and seconds of an EXPRESS workflow, whose executions Step Functions does not list.

    https://docs.aws.amazon.com/step-functions/latest/dg/procedure-cw-metrics.html
    """
    wanted = {"SUCCEEDED": "Succeeded", "FAILED": "Failed", "TIMED_OUT": "TimedOut", "ABORTED": "Aborted"}
    statistics_of = {name.lower(): (f"Executions{metric}", "Sum") for name, metric in wanted.items()}
    statistics_of |= {"started": ("ExecutionsStarted", "Sum")}
    statistics_of |= {name: ("ExecutionTime", name) for name in ("p50", "p95")}
    arn = deployment.state_machine_arn
    queries = {
        name: Metric("AWS/States", metric, "StateMachineArn", arn, statistic)
        for name, (metric, statistic) in statistics_of.items()
    }
    values = _metrics(deployment, queries, since, now)
    counts = {name: int(sum(values.get(name.lower(), []))) for name in wanted}
    started = int(sum(values.get("started", [])))
    counts["RUNNING"] = max(0, started - sum(counts.values()))
    latency = {
        # The metric is in milliseconds; of two periods the newer one counts.
        name: round(values[name][0] / 1000, 3) if values.get(name) else None
        for name in ("p50", "p95")
    }
    return {**counts, "total": sum(counts.values()), "complete": True, "listed": False}, latency


def _metrics(
    deployment: Deployment, wanted: Mapping[str, Metric], since: datetime, now: datetime
) -> dict[str, list[float]]:
    """Values by name, the newest first, of periods as long as the time looked at."""
    period = timedelta(seconds=max(60, int((now - since).total_seconds()) // 60 * 60))
    found = metrics.read(deployment, wanted, since, now, period)
    return {name: list(values.values()) for name, values in found.items()}


def _throttled(deployment: Deployment, since: datetime, now: datetime) -> dict[str, int]:
    queries = {
        function: Metric("AWS/Lambda", "Throttles", "FunctionName", str(name), "Sum")
        for function, name in deployment.value("function_names").items()
    }
    counts = {name: int(sum(values)) for name, values in _metrics(deployment, queries, since, now).items()}
    return {name: count for name, count in counts.items() if count}


def _percentile(values: Sequence[float], percent: int) -> float | None:
    if len(values) < 2:
        return round(values[0], 3) if values else None
    return round(statistics.quantiles(values, n=100, method="inclusive")[percent - 1], 3)


def _outcomes(
    deployment: Deployment, since: datetime, now: datetime
) -> tuple[dict[str, int], dict[str, int]]:
    days = [since.date() + timedelta(days) for days in range((now.date() - since.date()).days + 1)]
    reasons: collections.Counter[str] = collections.Counter()

    def count(outcome: str) -> int:
        counted = 0
        for day in reversed(days):
            for record in records.by_outcome(deployment, outcome, day.isoformat(), since=since):
                counted += 1
                if outcome == "rejected":
                    reasons[str(record.get("Reason") or "unknown")] += 1
                if counted >= MAX_RECORDS:
                    break
        return counted

    # Each outcome is a query of its own.
    counted = together(*(lambda outcome=outcome: count(outcome) for outcome in records.OUTCOMES))
    return dict(zip(records.OUTCOMES, counted, strict=True)), dict(reasons.most_common())


def _dead_letters(deployment: Deployment, now: datetime) -> tuple[dict[str, Any], list[ParkedEvent]]:
    queue = Queue(deployment.client("sqs"), deployment.dead_letter_queue_url)
    count, _ = queue.state()
    parked = queue.peek() if count else []
    ages = [now.timestamp() - one.sent for one in parked]
    if count and (age := _oldest(deployment, now)) is not None:
        ages.append(age)
    return {
        "count": count,
        "oldest_seconds": round(max(ages)) if ages else None,
        "looked_at": len(parked),
        "reasons": _reasons(parked),
    }, parked


def _reasons(parked: Sequence[ParkedEvent]) -> list[dict[str, Any]]:
    return grouped(
        (one.error, executions.shortened(one.cause), datetime.fromtimestamp(one.sent, UTC)) for one in parked
    )


def _oldest(deployment: Deployment, now: datetime) -> float | None:
    """https://docs.aws.amazon.com/AWSSimpleQueueService/latest/SQSDeveloperGuide/sqs-available-cloudwatch-metrics.html"""
    name = deployment.dead_letter_queue_url.rsplit("/", 1)[-1]
    query = {"age": Metric("AWS/SQS", "ApproximateAgeOfOldestMessage", "QueueName", name, "Maximum")}
    values = _metrics(deployment, query, now - timedelta(minutes=15), now)
    return max(values.get("age", []), default=None)


def _delivery(deployment: Deployment) -> dict[str, Any]:
    """Whether uploads start the workflow: the rule's state, and whether the bucket notifies EventBridge."""
    events = deployment.client("events")
    try:
        rule = str(events.describe_rule(Name=f"{deployment.name}-uploads")["State"])
    except events.exceptions.ResourceNotFoundException:
        rule = "missing"
    answer = deployment.client("s3").get_bucket_notification_configuration(Bucket=deployment.bucket)
    return {"rule": rule, "notifications": "EventBridgeConfiguration" in answer}


def _buffer(deployment: Deployment, now: datetime) -> dict[str, Any]:
    return buffer.look(deployment, now)


def _alarms(deployment: Deployment) -> list[dict[str, Any]]:
    """The environment's alarms that are in ALARM: those that notify its alerts topic.

    Names would not do: one environment's can begin with another's.
    """
    topic = deployment.value("alerts_topic_arn")
    pages = (
        deployment.client("cloudwatch")
        .get_paginator("describe_alarms")
        .paginate(StateValue="ALARM", AlarmNamePrefix=f"{deployment.name}-")
    )
    return [
        {
            "name": alarm["AlarmName"],
            "description": alarm.get("AlarmDescription", ""),
            "since": alarm.get("StateUpdatedTimestamp"),
        }
        for page in pages
        for alarm in [*page.get("MetricAlarms", []), *page.get("CompositeAlarms", [])]
        if topic in alarm.get("AlarmActions", [])
    ]
