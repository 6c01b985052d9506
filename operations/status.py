"""The last hour at a glance."""

from __future__ import annotations

import collections
import statistics
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import click

from operations import options

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Sequence

    from rich.table import Table

    from operations.deployment import Deployment

# Bounds on what one look costs: 10,000 executions are ten requests, 20,000 records of an outcome about six.
MAX_EXECUTIONS = 10_000
MAX_RECORDS = 20_000
MAX_FAILURES = 20

# What the last column keeps at least; names and numbers before it stay whole while that is left.
_LAST_COLUMN = 15

STATES = ("RUNNING", "SUCCEEDED", "FAILED", "TIMED_OUT", "ABORTED")
_BAD = ("failed", "timed out", "aborted")


@click.command
@options.environment
@click.option(
    "--minutes", type=click.IntRange(1, 1440), default=60, show_default=True, help="How far to look back."
)
@options.as_json
def command(env: str, minutes: int, as_json: bool) -> None:
    """Show the last hour: executions, outcomes, failures and why, dead letters, alarms, how fast.

    It only reads. The exit code is 0 whatever it finds; a program looks at `healthy` in the JSON.
    """
    from operations.deployment import Deployment

    found = look(Deployment.load(env), datetime.now(UTC), timedelta(minutes=minutes))
    if as_json:
        options.print_json(found)
    else:
        show(found)


def look(deployment: Deployment, now: datetime, period: timedelta) -> dict[str, Any]:
    """Everything `status` shows, as JSON takes it.

    `latency` is in seconds from an execution's start to its end; `dead_letters.oldest_seconds` is the age of
    the oldest message CloudWatch or a look at ten messages knows of. `dead_letters.reasons`, and an EXPRESS
    workflow's `failures`, are counted among the `dead_letters.looked_at` messages of that one look.
    """
    since = now - period
    dead_letters, parked = _dead_letters(deployment, now)
    executions, latency, failures = _executions(deployment, since, now, parked)
    outcomes, reasons = _outcomes(deployment, since, now)
    alarms = _alarms(deployment)
    return {
        "environment": deployment.environment.name,
        "from": since.isoformat(timespec="seconds"),
        "to": now.isoformat(timespec="seconds"),
        "healthy": not (failures or dead_letters["count"] or alarms),
        "executions": executions,
        "latency": latency,
        "outcomes": outcomes,
        "rejected_reasons": reasons,
        "failures": failures,
        "dead_letters": dead_letters,
        "alarms": alarms,
    }


def _executions(
    deployment: Deployment, since: datetime, now: datetime, parked: list[dict[str, Any]]
) -> tuple[dict[str, Any], dict[str, Any], list[dict[str, Any]]]:
    from operations import executions

    counts = collections.Counter(dict.fromkeys(STATES, 0))
    seconds: list[float] = []
    failed: list[dict[str, Any]] = []
    try:
        for execution in executions.since(deployment, since, limit=MAX_EXECUTIONS):
            counts[execution["status"]] += 1
            if execution["status"] == "SUCCEEDED" and execution.get("stopDate"):
                seconds.append((execution["stopDate"] - execution["startDate"]).total_seconds())
            elif execution["status"] in ("FAILED", "TIMED_OUT", "ABORTED"):
                failed.append(execution)
    except executions.NoHistoryError:
        counted, latency = _from_metrics(deployment, since, now)
        return counted, latency, _grouped((one["error"], one["cause"], one["sent"]) for one in parked)
    client = deployment.client("stepfunctions")
    described = [
        (client.describe_execution(executionArn=one["executionArn"]), one) for one in failed[:MAX_FAILURES]
    ]
    failures = _grouped(
        (
            full.get("error") or one["status"],
            executions.shortened(full.get("cause") or ""),
            one.get("stopDate") or one["startDate"],
        )
        for full, one in described
    )
    if len(failed) > MAX_FAILURES:
        failures.append({"error": "more", "cause": "", "count": len(failed) - MAX_FAILURES, "last": None})
    total = sum(counts.values())
    return (
        {**counts, "total": total, "complete": total < MAX_EXECUTIONS, "listed": True},
        {"p50": _percentile(seconds, 50), "p95": _percentile(seconds, 95)},
        failures,
    )


def _from_metrics(
    deployment: Deployment, since: datetime, now: datetime
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Counts and seconds of an EXPRESS workflow, whose executions Step Functions does not list.

    https://docs.aws.amazon.com/step-functions/latest/dg/procedure-cw-metrics.html
    """
    period = max(60, int((now - since).total_seconds()) // 60 * 60)

    def query(name: str, metric: str, statistic: str) -> dict[str, Any]:
        return {
            "Id": name,
            "MetricStat": {
                "Metric": {
                    "Namespace": "AWS/States",
                    "MetricName": metric,
                    "Dimensions": [{"Name": "StateMachineArn", "Value": deployment.state_machine_arn}],
                },
                "Period": period,
                "Stat": statistic,
            },
        }

    wanted = {"SUCCEEDED": "Succeeded", "FAILED": "Failed", "TIMED_OUT": "TimedOut", "ABORTED": "Aborted"}
    queries = [query(name.lower(), f"Executions{metric}", "Sum") for name, metric in wanted.items()]
    queries += [query("started", "ExecutionsStarted", "Sum")]
    queries += [query(name, "ExecutionTime", name) for name in ("p50", "p95")]
    answer = deployment.client("cloudwatch").get_metric_data(
        MetricDataQueries=queries, StartTime=since, EndTime=now, ScanBy="TimestampDescending"
    )
    values = {one["Id"]: one["Values"] for one in answer["MetricDataResults"]}
    counts = {name: int(sum(values.get(name.lower(), []))) for name in wanted}
    started = int(sum(values.get("started", [])))
    counts["RUNNING"] = max(0, started - sum(counts.values()))
    latency = {
        # The metric is in milliseconds; of two periods the newer one counts.
        name: round(values[name][0] / 1000, 3) if values.get(name) else None
        for name in ("p50", "p95")
    }
    return {**counts, "total": sum(counts.values()), "complete": True, "listed": False}, latency


def _grouped(failures: Iterable[tuple[str, str, Any]]) -> list[dict[str, Any]]:
    """Failures by error and cause, most frequent first."""
    groups: dict[tuple[str, str], dict[str, Any]] = {}
    for error, cause, moment in failures:
        group = groups.setdefault(
            (error, cause), {"error": error, "cause": cause, "count": 0, "last": moment}
        )
        group["count"] += 1
        group["last"] = max(group["last"], moment)
    return sorted(groups.values(), key=lambda group: -int(group["count"]))


def _percentile(values: Sequence[float], percent: int) -> float | None:
    if len(values) < 2:
        return round(values[0], 3) if values else None
    return round(statistics.quantiles(values, n=100, method="inclusive")[percent - 1], 3)


def _outcomes(
    deployment: Deployment, since: datetime, now: datetime
) -> tuple[dict[str, int], dict[str, int]]:
    from operations import records

    days = [since.date() + timedelta(days) for days in range((now.date() - since.date()).days + 1)]
    counts: dict[str, int] = {}
    reasons: collections.Counter[str] = collections.Counter()
    for outcome in records.OUTCOMES:
        counts[outcome] = 0
        for day in reversed(days):
            for page in records.by_outcome(deployment, outcome, day.isoformat(), since=since):
                counts[outcome] += len(page)
                if outcome == "rejected":
                    reasons.update(str(record.get("Reason") or "unknown") for record in page)
                if counts[outcome] >= MAX_RECORDS:
                    break
    return counts, dict(reasons.most_common())


def _dead_letters(deployment: Deployment, now: datetime) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    sqs = deployment.client("sqs")
    attributes = sqs.get_queue_attributes(
        QueueUrl=deployment.dead_letter_queue_url,
        AttributeNames=["ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible"],
    )["Attributes"]
    waiting, hidden = (int(attributes[name]) for name in sorted(attributes))
    parked = _peek(sqs, deployment.dead_letter_queue_url) if waiting else []
    ages = [(now - one["sent"]).total_seconds() for one in parked]
    if waiting + hidden and (age := _oldest(deployment, now)) is not None:
        ages.append(age)
    return {
        "count": waiting + hidden,
        "oldest_seconds": round(max(ages)) if ages else None,
        "looked_at": len(parked),
        "reasons": _grouped((one["error"], one["cause"], one["sent"]) for one in parked),
    }, parked


def _peek(sqs: Any, url: str) -> list[dict[str, Any]]:
    """Ten messages at most, left visible to everybody."""
    answer = sqs.receive_message(
        QueueUrl=url,
        MaxNumberOfMessages=10,
        VisibilityTimeout=0,
        MessageSystemAttributeNames=["SentTimestamp"],
        MessageAttributeNames=["ERROR_CODE", "ERROR_MESSAGE"],
    )
    from operations import executions

    parked = {}
    for message in answer.get("Messages", []):
        texts = {
            name: one.get("StringValue", "") for name, one in message.get("MessageAttributes", {}).items()
        }
        parked[message["MessageId"]] = {
            "error": texts.get("ERROR_CODE") or "unknown",
            "cause": executions.shortened(texts.get("ERROR_MESSAGE") or ""),
            "sent": datetime.fromtimestamp(int(message["Attributes"]["SentTimestamp"]) / 1000, UTC),
        }
    return list(parked.values())


def _oldest(deployment: Deployment, now: datetime) -> float | None:
    """https://docs.aws.amazon.com/AWSSimpleQueueService/latest/SQSDeveloperGuide/sqs-available-cloudwatch-metrics.html"""
    points = deployment.client("cloudwatch").get_metric_statistics(
        Namespace="AWS/SQS",
        MetricName="ApproximateAgeOfOldestMessage",
        Dimensions=[{"Name": "QueueName", "Value": deployment.dead_letter_queue_url.rsplit("/", 1)[-1]}],
        StartTime=now - timedelta(minutes=15),
        EndTime=now,
        Period=300,
        Statistics=["Maximum"],
    )["Datapoints"]
    return max((float(point["Maximum"]) for point in points), default=None)


def _alarms(deployment: Deployment) -> list[dict[str, Any]]:
    """The environment's alarms that are in ALARM: those that tell its alerts topic.

    Names would not do: one environment's can begin with another's.
    """
    topic = deployment.outputs["alerts_topic_arn"]
    prefix = deployment.table.removesuffix("results")
    pages = (
        deployment.client("cloudwatch")
        .get_paginator("describe_alarms")
        .paginate(StateValue="ALARM", AlarmNamePrefix=prefix)
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


def show(found: dict[str, Any]) -> None:
    """Print what `look` found as tables."""
    from rich.columns import Columns

    from operations.terminal import console

    out = console()
    state = "[bold green]healthy[/]" if found["healthy"] else "[bold red]needs a look[/]"
    out.print(f"[bold]{found['environment']}[/] from {found['from']} to {found['to']}: {state}\n")
    letters = {
        "waiting": str(found["dead_letters"]["count"]),
        "oldest": options.duration(found["dead_letters"]["oldest_seconds"]),
    }
    outcomes = found["outcomes"] | {
        f"  {reason}": count for reason, count in found["rejected_reasons"].items()
    }
    # Beside one another, or below where the window is too narrow.
    out.print(
        Columns(
            [
                _table(out.width, "Executions", "", rows=_execution_rows(found), red=_BAD),
                _table(
                    out.width, "Outcomes", "", rows=[(name, str(count)) for name, count in outcomes.items()]
                ),
                _table(out.width, "Dead letters", "", rows=letters.items()),
            ],
            padding=(0, 4),
        )
    )
    if not found["executions"]["complete"]:
        out.print(f"Only the newest {MAX_EXECUTIONS:,} executions are counted.", style="yellow")
    looked_at = f"(of {found['dead_letters']['looked_at']} looked at)"
    failures = "Failures" if found["executions"]["listed"] else f"Failures {looked_at}"
    reasons = found["dead_letters"]["reasons"]
    for title, groups in ((failures, found["failures"]), (f"Parked because {looked_at}", reasons)):
        if groups:
            rows = [(one["error"], str(one["count"]), one["cause"]) for one in groups]
            out.print("", _table(out.width, title, "", "Cause", rows=rows), sep="\n")
    if found["alarms"]:
        alarms = [(one["name"], one["description"]) for one in found["alarms"]]
        names = {name for name, _ in alarms}
        out.print("", _table(out.width, "Alarm", "What it means", rows=alarms, red=names), sep="\n")


def _execution_rows(found: dict[str, Any]) -> list[tuple[str, str]]:
    rows = [(name.lower().replace("_", " "), str(found["executions"][name])) for name in STATES]
    return rows + [(name, options.duration(found["latency"][name])) for name in ("p50", "p95")]


def _table(width: int, *columns: str, rows: Iterable[Sequence[str]], red: Collection[str] = ()) -> Table:
    """Rows under their titles, in a window of `width`; columns of numbers go without a title.

    `red`: names that are red, with the number beside them, unless that is 0.
    """
    from rich.table import Table
    from rich.text import Text

    from operations.terminal import visible

    rows = list(rows)
    made = Table(box=None, pad_edge=False, header_style="bold", padding=(0, 3, 0, 0))
    for index, column in enumerate(columns):
        longest = max(len(row[index]) for row in [columns, *rows])
        whole = not column or (index < len(columns) - 1 and longest <= width - _LAST_COLUMN - 3)
        made.add_column(Text(column), justify="left" if column else "right", no_wrap=whole, overflow="fold")
    for row in rows:
        style = "red" if row[0] in red and row[1] != "0" else ""
        made.add_row(
            *(
                Text(visible(cell), style=style if index == 0 or not columns[index] else "")
                for index, cell in enumerate(row)
            )
        )
    return made
