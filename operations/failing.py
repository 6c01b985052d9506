"""Why executions failed, and what those that run wait to try again for."""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

from botocore.exceptions import ClientError

from operations import executions, records

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from operations.deployment import Deployment

# DescribeExecution and GetExecutionHistory take 250 at once and then 10 to 15 a second; the rest is a sample.
# https://docs.aws.amazon.com/step-functions/latest/dg/service-quotas.html
MAX_DESCRIBED = 1000
MAX_RETRYING = 50
_AT_ONCE = 16


def grouped(failures: Iterable[tuple[str, str, Any]]) -> list[dict[str, Any]]:
    """Failures by error and cause, most frequent first."""
    groups: dict[tuple[str, str], dict[str, Any]] = {}
    for error, cause, moment in failures:
        group = groups.setdefault(
            (error, cause), {"error": error, "cause": cause, "count": 0, "last": moment}
        )
        group["count"] += 1
        group["last"] = max(group["last"], moment)
    return sorted(groups.values(), key=lambda group: -int(group["count"]))


def unresolved(deployment: Deployment, failed: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """`failures` whose image no other execution has taken over, `redriven` ones, and `failures_looked_at`."""
    client = deployment.client("stepfunctions")

    def describe(one: dict[str, Any]) -> dict[str, Any] | None:
        try:
            answer: dict[str, Any] = client.describe_execution(executionArn=one["executionArn"])
        except ClientError as error:
            if not executions.is_busy(error):
                raise
            return None
        return answer

    with ThreadPoolExecutor(_AT_ONCE) as pool:
        described = [one for one in pool.map(describe, _sample(failed, MAX_DESCRIBED)) if one]
        images = {one["executionArn"]: _image(one) for one in described}
    recorded = records.recorded(deployment, filter(None, images.values()))
    owners = {image: record.get("ExecutionId") for image, record in recorded.items()}
    # A redrive that failed as well owns its image and is counted itself.
    left = [
        one for one in described if owners.get(images[one["executionArn"]]) in (None, one["executionArn"])
    ]
    return {
        "failures": grouped(
            (
                one.get("error") or one["status"],
                executions.shortened(one.get("cause") or ""),
                one.get("stopDate") or one["startDate"],
            )
            for one in left
        ),
        "failures_looked_at": len(described),
        "failures_total": len(failed),
        "redriven": len(described) - len(left),
    }


def _image(described: dict[str, Any]) -> str:
    """ImageID of an execution's input; empty where it holds none."""
    try:
        stored = json.loads(described["input"])["detail"]["object"]
        return records.image_id(stored["key"], stored["etag"])
    except (KeyError, TypeError, ValueError, AttributeError):
        return ""


def _sample(found: Sequence[dict[str, Any]], most: int) -> Sequence[dict[str, Any]]:
    """All, or so many evenly spread over them, so that every reason of some weight is among them."""
    if len(found) <= most:
        return found
    return [found[index * len(found) // most] for index in range(most)]


def retries(deployment: Deployment, running: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """What the executions that run failed on and will try again, by error and cause, of a sample of them."""
    client = deployment.client("stepfunctions")

    def last(one: dict[str, Any]) -> tuple[str, str, Any] | None:
        try:
            [event] = client.get_execution_history(
                executionArn=one["executionArn"], reverseOrder=True, maxResults=1
            )["events"] or [{}]
        except ClientError as error:
            if not executions.is_busy(error):
                raise
            return None
        details: dict[str, Any] = next(
            (value for name, value in event.items() if name.endswith("EventDetails")), {}
        )
        if "error" not in details:
            return None
        return details["error"], executions.shortened(details.get("cause") or ""), event["timestamp"]

    with ThreadPoolExecutor(_AT_ONCE) as pool:
        return grouped(one for one in pool.map(last, _sample(running, MAX_RETRYING)) if one)
