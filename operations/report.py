"""`report`: one day of an environment on one page."""

from __future__ import annotations

import contextlib
import itertools
import statistics
import webbrowser
from collections import Counter
from datetime import UTC, date, datetime, time, timedelta
from typing import TYPE_CHECKING, Any

import click

from operations import cost, executions, metrics, options, page, records
from operations.deployment import Deployment, together
from operations.errors import UserError
from operations.metrics import Metric
from operations.program import ROOT

if TYPE_CHECKING:
    from collections.abc import Mapping

# Bounds on the reads for one page: about 70 requests for each outcome, 10 for executions.
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
    """The page's data from `begin`, midnight UTC, to `end`, at most a day later.

    `photos`: 24 hourly counts by outcome. `seconds`: percentiles of an execution's duration, for the day and
    for each hour. `tries`: invocations that failed or were throttled by Lambda; both are retried. `dollars`
    is an estimate from operations/prices.json.
    """
    photos, measured, (waiting, held, _), alarms = together(
        lambda: _photos(deployment, begin),
        lambda: _measured(deployment, begin, end),
        lambda: metrics.messages(deployment, deployment.dead_letter_queue_url),
        lambda: _alarms(deployment, begin, end),
    )
    measured["dead_letters"]["waiting"] = waiting + held
    total = sum(map(sum, photos["photos"].values()))
    lines = cost.estimate(deployment.environment.settings, total, photos.pop("average_mb"), {})
    return {
        "environment": deployment.environment.name,
        "day": begin.date().isoformat(),
        "until": end.isoformat(timespec="seconds"),
        "total": total,
        **photos,
        **measured,
        "dollars": round(sum(line.dollars for line in lines if line.group == "each image"), 4),
        "alarms": alarms,
    }


def html(found: Mapping[str, Any]) -> str:
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


def _measured(deployment: Deployment, begin: datetime, end: datetime) -> dict[str, Any]:
    """CloudWatch's figures: durations, retries, and what was parked and redriven."""
    arn, queue = deployment.state_machine_arn, deployment.dead_letter_queue_url.rsplit("/", 1)[-1]
    wanted = {
        f"p{one}": Metric("AWS/States", "ExecutionTime", "StateMachineArn", arn, f"p{one}")
        for one in _PERCENTILES
    }
    wanted |= {
        f"{kind}_{function}": Metric("AWS/Lambda", kind.capitalize(), "FunctionName", str(name), "Sum")
        for kind in ("errors", "throttles")
        for function, name in deployment.value("function_names").items()
    }
    wanted |= {
        "parked": Metric("AWS/SQS", "NumberOfMessagesSent", "QueueName", queue, "Sum"),
        "redriven": Metric("AWS/SQS", "NumberOfMessagesDeleted", "QueueName", queue, "Sum"),
    }
    hourly = metrics.read(deployment, wanted, begin, end, timedelta(hours=1))
    daily = metrics.read(deployment, wanted, begin, end, timedelta(days=1))

    def total(kind: str) -> int:
        return int(sum(sum(one.values()) for name, one in daily.items() if name.startswith(kind)))

    def seconds(found: Mapping[str, Mapping[datetime, float]], moment: datetime) -> dict[str, float]:
        # The metric is in milliseconds.
        return {f"p{one}": round(found[f"p{one}"][moment] / 1000, 3) for one in _PERCENTILES}

    hours = {moment.astimezone(UTC).hour: seconds(hourly, moment) for moment in hourly["p50"]}
    if hours:
        day = seconds(daily, next(iter(daily["p50"])))
        fast = {"day": day, "hours": [hours.get(hour) for hour in _HOURS]}
    else:
        fast = _listed(deployment, begin, end)
    return {
        "seconds": fast,
        "tries": {kind: total(kind) for kind in ("errors", "throttles")},
        "dead_letters": {kind: total(kind) for kind in ("parked", "redriven")},
    }


def _listed(deployment: Deployment, begin: datetime, end: datetime) -> dict[str, Any]:
    """Durations from Step Functions' list of executions, for when CloudWatch has no data."""
    ran: list[list[float]] = [[] for _ in _HOURS]
    with contextlib.suppress(executions.NoHistoryError):
        for one in executions.since(deployment, begin, limit=MAX_EXECUTIONS):
            if one["status"] == "SUCCEEDED" and begin <= one["startDate"] < end:
                hour = one["startDate"].astimezone(UTC).hour
                ran[hour].append((one["stopDate"] - one["startDate"]).total_seconds())
    day, *hours = (
        {f"p{percent}": metrics.percentile(seconds, percent) for percent in _PERCENTILES} if seconds else None
        for seconds in (list(itertools.chain(*ran)), *ran)
    )
    return {"day": day or {}, "hours": hours}


def _alarms(deployment: Deployment, begin: datetime, end: datetime) -> list[dict[str, str]]:
    """Each time one of the environment's alarms went off, in order."""
    pages = deployment.client("cloudwatch").get_paginator("describe_alarm_history")
    when = {"StartDate": begin, "EndDate": end, "ScanBy": "TimestampAscending"}
    ours = set(deployment.value("alarm_names"))
    return [
        {"at": item["Timestamp"].astimezone(UTC).strftime("%H:%M"), "name": item["AlarmName"]}
        for found in pages.paginate(HistoryItemType="StateUpdate", **when)
        for item in found["AlarmHistoryItems"]
        if item["AlarmName"] in ours and str(item["HistorySummary"]).endswith("to ALARM")
    ]
