"""`status`: the last hour at a glance."""

from __future__ import annotations

from collections import Counter, defaultdict
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from functools import partial
from itertools import islice
from typing import TYPE_CHECKING, Any

import click
from botocore.exceptions import ClientError

from operations import buffer, executions, metrics, options, records, status_table
from operations.dead_letters import Queue
from operations.deployment import Deployment, together
from operations.metrics import Metric

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from operations.records import Record

# Bounds on the cost of one run: 10,000 executions are ten requests, 20,000 records of an outcome about six.
MAX_EXECUTIONS = 10_000
MAX_RECORDS = 20_000
# DescribeExecution and GetExecutionHistory take 250 at once and then 10 to 15 a second; the rest is a sample.
# https://docs.aws.amazon.com/step-functions/latest/dg/service-quotas.html
MAX_DESCRIBED = 1000
MAX_RETRYING = 50
MAX_PARKED = 10
_AT_ONCE = 16

STATES = ("RUNNING", "SUCCEEDED", "FAILED", "TIMED_OUT", "ABORTED")


@click.command
@options.environment
@click.option(
    "--minutes", type=click.IntRange(1, 1440), default=60, show_default=True, help="How far to look back."
)
@options.as_json
def command(env: str, minutes: int, as_json: bool) -> None:
    """Show the last hour: outcomes, failures and why, retries, dead letters, alarms.

    It only reads. The exit code is 0 whatever it finds; programs should check `healthy` in the JSON.
    """
    found = look(Deployment.load(env), datetime.now(UTC), timedelta(minutes=minutes))
    if as_json:
        options.print_json(found)
    else:
        status_table.show(found)


def look(deployment: Deployment, now: datetime, period: timedelta) -> dict[str, Any]:
    """Everything `status` shows, ready for JSON.

    `latency` is in seconds from an execution's start to its end. `failures` are those not redriven since, by
    error and cause, counted in a sample of `failures_looked_at`; `redriven` counts the rest of the sample.
    `retries` are executions now waiting to retry. `dead_letters.oldest_seconds` is the age of the oldest
    message according to CloudWatch or a sample of `dead_letters.looked_at` messages. `dead_letters.reasons`,
    and an EXPRESS workflow's `failures`, are counted in that sample. `throttled` counts the invocations that
    Lambda throttled in the period, by function. `rejected_details` has the newest detail for each reason.
    """
    since = now - period
    dead_letters, ran, counted, known, delivers, throttled, buffered = together(
        lambda: _dead_letters(deployment, now),
        lambda: _executions(deployment, since, now),
        lambda: _outcomes(deployment, since),
        lambda: alarms(deployment),
        lambda: delivery(deployment),
        lambda: _throttled(deployment, since, now),
        lambda: buffer.look(deployment, now),
    )
    if not ran["executions"]["listed"]:
        ran |= {"failures": dead_letters["reasons"], "failures_looked_at": dead_letters["looked_at"]}
    # Waiting for concurrency is normal in a burst.
    retrying = [one for one in ran["retries"] if one["error"] != "Lambda.TooManyRequestsException"]
    ringing = [
        {
            "name": one["AlarmName"],
            "description": one.get("AlarmDescription", ""),
            "since": one.get("StateUpdatedTimestamp"),
        }
        for one in known
        if one["StateValue"] == "ALARM"
    ]
    works = delivers["rule"] == "ENABLED" and delivers["notifications"] and not buffered["paused"]
    return {
        "environment": deployment.environment.name,
        "from": since.isoformat(timespec="seconds"),
        "to": now.isoformat(timespec="seconds"),
        "healthy": not (ran["failures"] or retrying or dead_letters["count"] or ringing) and works,
        **ran,
        **counted,
        "dead_letters": dead_letters,
        "delivery": delivers,
        "buffer": buffered,
        "throttled": throttled,
        "alarms": ringing,
    }


def _executions(deployment: Deployment, since: datetime, now: datetime) -> dict[str, Any]:
    try:
        ran = list(executions.since(deployment, since, limit=MAX_EXECUTIONS))
    except executions.NoHistoryError:
        return {**_measured(deployment, since, now), "failures": [], "redriven": 0, "retries": []}
    failed = [one for one in ran if one["status"] in executions.FAILED]
    running = [one for one in ran if one["status"] == "RUNNING"]
    failures, waiting = together(lambda: unresolved(deployment, failed), lambda: retries(deployment, running))
    ended = [one for one in ran if one["status"] == "SUCCEEDED"]
    seconds = [(one["stopDate"] - one["startDate"]).total_seconds() for one in ended]
    counts = Counter(one["status"] for one in ran)
    more = {"total": len(ran), "complete": len(ran) < MAX_EXECUTIONS, "listed": True}
    return {
        "executions": {**{state: counts[state] for state in STATES}, **more},
        "latency": {"p50": metrics.percentile(seconds, 50), "p95": metrics.percentile(seconds, 95)},
        **failures,
        "retries": waiting,
    }


def _measured(deployment: Deployment, since: datetime, now: datetime) -> dict[str, Any]:
    """Counts and seconds of an EXPRESS workflow, whose executions Step Functions does not list.

    https://docs.aws.amazon.com/step-functions/latest/dg/procedure-cw-metrics.html
    """
    metric = partial(Metric, "AWS/States", dimension="StateMachineArn", value=deployment.state_machine_arn)
    counted = ("started", *(state.lower() for state in STATES[1:]))
    wanted = {name: metric(f"Executions{name.title().replace('_', '')}", statistic="Sum") for name in counted}
    wanted |= {name: metric("ExecutionTime", statistic=name) for name in ("p50", "p95")}
    found = metrics.read(deployment, wanted, since, now)
    values = {name: list(one.values()) for name, one in found.items()}
    started, *ended = (int(sum(values[name])) for name in counted)
    counts = dict(zip(STATES, [max(0, started - sum(ended)), *ended], strict=True))
    return {
        "executions": {**counts, "total": sum(counts.values()), "complete": True, "listed": False},
        # The metric is in milliseconds; if there are two periods, use the newer one.
        "latency": {
            name: round(values[name][0] / 1000, 3) if values[name] else None for name in ("p50", "p95")
        },
    }


def _throttled(deployment: Deployment, since: datetime, now: datetime) -> dict[str, int]:
    queries = {
        function: Metric("AWS/Lambda", "Throttles", "FunctionName", str(name), "Sum")
        for function, name in deployment.value("function_names").items()
    }
    found = metrics.read(deployment, queries, since, now)
    return {name: int(count) for name, values in found.items() if (count := sum(values.values()))}


def _outcomes(deployment: Deployment, since: datetime) -> dict[str, dict[str, Any]]:
    newest: dict[str, Record] = {}

    def reasons(outcome: str) -> Counter[str]:
        counts: Counter[str] = Counter()
        for record in islice(records.since(deployment, outcome, since), MAX_RECORDS):
            reason = str(record.get("Reason") or "unknown")
            counts[reason] += 1
            if outcome == "rejected":
                newest.setdefault(reason, record)
        return counts

    # One query for each outcome.
    counted = together(*(partial(reasons, outcome) for outcome in records.OUTCOMES))
    found = dict(zip(records.OUTCOMES, counted, strict=True))
    # The indexes do not have Detail.
    whole = records.complete(deployment, newest.values())
    return {
        "outcomes": {name: one.total() for name, one in found.items()},
        "rejected_reasons": dict(found["rejected"].most_common()),
        "rejected_details": {one["Reason"]: one["Detail"] for one in whole if one.get("Detail")},
    }


def _dead_letters(deployment: Deployment, now: datetime) -> dict[str, Any]:
    queue = Queue(deployment)
    count, _ = queue.at_first
    parked = list(islice(queue.events(hidden_seconds=0), MAX_PARKED)) if count else []
    measured = metrics.oldest_message(deployment, deployment.dead_letter_queue_url, now) if count else None
    ages = [(now - one.sent).total_seconds() for one in parked] + ([measured] if measured else [])
    return {
        "count": count,
        "oldest_seconds": round(max(ages)) if ages else None,
        "looked_at": len(parked),
        "reasons": _grouped((one.error, one.cause, one.sent) for one in parked),
    }


def _grouped(failures: Iterable[tuple[str, str, datetime]]) -> list[dict[str, Any]]:
    """Failures by error and cause, most frequent first."""
    groups: defaultdict[tuple[str, str], list[datetime]] = defaultdict(list)
    for error, cause, moment in failures:
        groups[error, executions.shortened(cause)].append(moment)
    return [
        {"error": error, "cause": cause, "count": len(moments), "last": max(moments)}
        for (error, cause), moments in sorted(groups.items(), key=lambda group: -len(group[1]))
    ]


def _sample(call: Callable[..., Any], found: Sequence[dict[str, Any]], most: int) -> list[dict[str, Any]]:
    """Responses for at most `most` executions, evenly spread over `found`, except those AWS throttles."""

    def respond(execution: dict[str, Any]) -> Any:
        try:
            return call(executionArn=execution["executionArn"])
        except ClientError as error:
            if not executions.is_busy(error):
                raise
            return None

    with ThreadPoolExecutor(_AT_ONCE) as pool:
        return [one for one in pool.map(respond, found[:: -(-len(found) // most) or 1]) if one]


def unresolved(deployment: Deployment, failed: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """`failures` whose image no other execution took over, the number `redriven`, and the sample size."""
    described = _sample(deployment.client("stepfunctions").describe_execution, failed, MAX_DESCRIBED)
    images = [records.image_id(*executions.photo(one)) for one in described]
    recorded = records.recorded(deployment, set(images))
    owners = [recorded.get(image, {}).get("ExecutionId") for image in images]
    # A redrive that failed too owns the image, so it is counted instead.
    left = [one for one, owner in zip(described, owners, strict=True) if owner in (None, one["executionArn"])]
    return {
        "failures": _grouped(
            (one.get("error") or one["status"], one.get("cause") or "", one["stopDate"]) for one in left
        ),
        "failures_looked_at": len(described),
        "failures_total": len(failed),
        "redriven": len(described) - len(left),
    }


def retries(deployment: Deployment, running: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Errors that a sample of the running executions is about to retry, by error and cause."""
    client = deployment.client("stepfunctions")
    last = partial(client.get_execution_history, reverseOrder=True, maxResults=1)
    events = [event for answer in _sample(last, running, MAX_RETRYING) for event in answer["events"]]
    return _grouped(
        (details["error"], details.get("cause") or "", event["timestamp"])
        for event in events
        if "error" in (details := executions.details(event))
    )


def delivery(deployment: Deployment) -> dict[str, Any]:
    """Whether uploads start the workflow: the rule's state and the bucket's EventBridge setting."""
    events = deployment.client("events")
    try:
        rule = str(events.describe_rule(Name=f"{deployment.name}-uploads")["State"])
    except events.exceptions.ResourceNotFoundException:
        rule = "missing"
    answer = deployment.client("s3").get_bucket_notification_configuration(Bucket=deployment.bucket)
    return {"rule": rule, "notifications": "EventBridgeConfiguration" in answer}


def alarms(deployment: Deployment) -> list[dict[str, Any]]:
    """The environment's alarms as CloudWatch describes them; an environment has fewer than 100."""
    answer = deployment.client("cloudwatch").describe_alarms(
        AlarmNames=deployment.value("alarm_names"), MaxRecords=100
    )
    return list(answer["MetricAlarms"])
