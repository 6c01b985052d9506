"""One day of an environment on one page."""

from __future__ import annotations

import itertools
import statistics
import webbrowser
from collections import Counter
from datetime import UTC, date, datetime, time, timedelta
from typing import TYPE_CHECKING, Any

import click

from operations import cost, executions, metrics, options, page, records
from operations.dead_letters import Queue
from operations.deployment import Deployment, together
from operations.errors import UserError
from operations.metrics import Metric
from operations.program import ROOT

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

# Bounds on what one page costs to read: some 70 requests of an outcome, 10 of executions.
MAX_RECORDS = 200_000
MAX_EXECUTIONS = 10_000
_HOURS = range(24)
_PERCENTILES = (50, 95, 99)


@click.command
@options.environment
@options.day
@click.option("--open", "opened", is_flag=True, help="Open the page in the browser.")
@options.as_json
def command(env: str, day: date | None, opened: bool, as_json: bool) -> None:
    """Write a page on one day: photos by hour, how fast, retries, parked, cost, alarms."""
    now = datetime.now(UTC)
    begin = datetime.combine(day or now, time(tzinfo=UTC))
    if begin > now:
        raise UserError(f"{day} is yet to come.")
    found = look(Deployment.load(env), begin, min(now, begin + timedelta(days=1)))
    if as_json:
        options.print_json(found)
        return
    path = ROOT / "build" / f"report-{env}-{begin:%Y-%m-%d}.html"
    path.parent.mkdir(exist_ok=True)
    path.write_text(html(found), encoding="utf-8")
    click.echo(f"Wrote {path.relative_to(ROOT)}.")
    if opened:
        webbrowser.open(path.as_uri())


def look(deployment: Deployment, begin: datetime, end: datetime) -> dict[str, Any]:
    """Everything the page shows of the time from `begin`, a midnight in UTC, to `end`, a day later at most.

    `photos`: by outcome, 24 numbers, one an hour. `seconds`: percentiles from an execution's start to its
    end, of the day and of each hour. `tries`: invocations that failed, and that Lambda turned away; both are
    tried again. `dollars` is an estimate from the prices of operations/prices.json.
    """
    photos, seconds, tries, letters, alarms = together(
        lambda: _photos(deployment, begin),
        lambda: _seconds(deployment, begin, end),
        lambda: _tries(deployment, begin, end),
        lambda: _letters(deployment, begin, end),
        lambda: _alarms(deployment, begin, end),
    )
    total = sum(map(sum, photos["photos"].values()))
    lines = cost.estimate(
        deployment.environment.settings, total, photos.pop("average_mb"), cost.PriceList.load(), {}
    )
    return {
        "environment": deployment.environment.name,
        "day": begin.date().isoformat(),
        "until": end.isoformat(timespec="seconds"),
        "total": total,
        **photos,
        "seconds": seconds,
        "tries": tries,
        "dead_letters": letters,
        "dollars": round(sum(line.dollars for line in lines if line.group == "each image"), 4),
        "alarms": alarms,
    }


def html(found: Mapping[str, Any]) -> str:
    """The page of what `look` found."""
    hours = [
        (f"{hour:02d}:00", [(outcome, counts[hour]) for outcome, counts in found["photos"].items()])
        for hour in _HOURS
    ]
    waits = [
        (f"{hour:02d}:00", [("p50", one["p50"]), ("p95", one["p95"] - one["p50"])] if one else [])
        for hour, one in zip(_HOURS, found["seconds"]["hours"], strict=True)
    ]
    return page.render("report.html.j2", found=found, hours=hours, waits=waits, duration=options.duration)


def _photos(deployment: Deployment, begin: datetime) -> dict[str, Any]:
    day = begin.date().isoformat()
    reasons: Counter[str] = Counter()
    sizes: list[int] = []

    def count(outcome: str) -> list[int]:
        hours = [0] * len(_HOURS)
        for record in itertools.islice(records.by_outcome(deployment, outcome, day), MAX_RECORDS):
            hours[int(str(record["Timestamp"])[11:13])] += 1
            if isinstance(record.get("Size"), int):
                sizes.append(record["Size"])
            if outcome == "rejected":
                reasons[str(record.get("Reason") or "unknown")] += 1
        return hours

    counted = together(*(lambda outcome=outcome: count(outcome) for outcome in records.OUTCOMES))
    return {
        "photos": dict(zip(records.OUTCOMES, counted, strict=True)),
        "complete": all(sum(hours) < MAX_RECORDS for hours in counted),
        "rejected_reasons": dict(reasons.most_common()),
        "average_mb": statistics.mean(sizes) / 1e6 if sizes else 0.0,
    }


def _seconds(deployment: Deployment, begin: datetime, end: datetime) -> dict[str, Any]:
    wanted = {
        f"p{percent}": Metric(
            "AWS/States", "ExecutionTime", "StateMachineArn", deployment.state_machine_arn, f"p{percent}"
        )
        for percent in _PERCENTILES
    }
    hourly = metrics.read(deployment, wanted, begin, end, timedelta(hours=1))
    if not hourly["p50"]:
        return _listed(deployment, begin, end)
    daily = metrics.read(deployment, wanted, begin, end, timedelta(days=1))
    hours: list[dict[str, float] | None] = [None for _ in _HOURS]
    for moment in hourly["p50"]:
        # The metric is in milliseconds.
        hours[moment.astimezone(UTC).hour] = {
            name: round(values[moment] / 1000, 3) for name, values in hourly.items()
        }
    day = {name: round(next(iter(values.values())) / 1000, 3) for name, values in daily.items()}
    return {"day": day, "hours": hours}


def _listed(deployment: Deployment, begin: datetime, end: datetime) -> dict[str, Any]:
    """The same from Step Functions' list of executions, where CloudWatch has measured nothing."""
    hours: list[list[float]] = [[] for _ in _HOURS]
    try:
        for one in executions.since(deployment, begin, limit=MAX_EXECUTIONS):
            if one["status"] == "SUCCEEDED" and begin <= one["startDate"] < end:
                hour = one["startDate"].astimezone(UTC).hour
                hours[hour].append((one["stopDate"] - one["startDate"]).total_seconds())
    except executions.NoHistoryError:
        pass
    return {
        "day": _percentiles([second for hour in hours for second in hour]),
        "hours": [_percentiles(hour) or None for hour in hours],
    }


def _percentiles(seconds: Sequence[float]) -> dict[str, float]:
    if not seconds:
        return {}
    cuts = statistics.quantiles([*seconds, *seconds], n=100, method="inclusive")
    return {f"p{percent}": round(cuts[percent - 1], 3) for percent in _PERCENTILES}


def _tries(deployment: Deployment, begin: datetime, end: datetime) -> dict[str, int]:
    wanted = {
        f"{kind}_{function}": Metric("AWS/Lambda", kind.capitalize(), "FunctionName", str(name), "Sum")
        for kind in ("errors", "throttles")
        for function, name in deployment.value("function_names").items()
    }
    sums = _sums(deployment, wanted, begin, end)
    return {
        kind: sum(value for name, value in sums.items() if name.startswith(kind))
        for kind in ("errors", "throttles")
    }


def _letters(deployment: Deployment, begin: datetime, end: datetime) -> dict[str, int]:
    queue = deployment.dead_letter_queue_url.rsplit("/", 1)[-1]
    wanted = {
        name: Metric("AWS/SQS", metric, "QueueName", queue, "Sum")
        for name, metric in (("parked", "NumberOfMessagesSent"), ("redriven", "NumberOfMessagesDeleted"))
    }
    waiting, _ = Queue(deployment.client("sqs"), deployment.dead_letter_queue_url).state()
    return {**_sums(deployment, wanted, begin, end), "waiting": waiting}


def _sums(
    deployment: Deployment, wanted: Mapping[str, Metric], begin: datetime, end: datetime
) -> dict[str, int]:
    found = metrics.read(deployment, wanted, begin, end, timedelta(days=1))
    return {name: int(sum(values.values())) for name, values in found.items()}


def _alarms(deployment: Deployment, begin: datetime, end: datetime) -> list[dict[str, str]]:
    """Every time one of the environment's alarms went off, in order."""
    pages = (
        deployment.client("cloudwatch")
        .get_paginator("describe_alarm_history")
        .paginate(HistoryItemType="StateUpdate", StartDate=begin, EndDate=end, ScanBy="TimestampAscending")
    )
    ours = set(deployment.value("alarm_names"))
    return [
        {"at": item["Timestamp"].astimezone(UTC).strftime("%H:%M"), "name": item["AlarmName"]}
        for found in pages
        for item in found["AlarmHistoryItems"]
        if item["AlarmName"] in ours and str(item["HistorySummary"]).endswith("to ALARM")
    ]
