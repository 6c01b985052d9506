"""Runs of the workflow: listing, starting and following them."""

from __future__ import annotations

import contextlib
import json
import time
from typing import TYPE_CHECKING, Any

from operations import records
from operations.errors import UserError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from datetime import datetime

    from operations.deployment import Deployment

# "Results are sorted by time, with the most recent execution first", 1,000 a page at most.
# https://docs.aws.amazon.com/step-functions/latest/apireference/API_ListExecutions.html
PAGE = 1000


class NoHistoryError(Exception):
    """The workflow is EXPRESS: Step Functions keeps no list of its executions."""


def since(deployment: Deployment, moment: datetime, *, limit: int) -> Iterator[dict[str, Any]]:
    """Executions that ran after `moment`, newest first, at most `limit`.

    Raises NoHistoryError for an EXPRESS workflow, which has no list of executions.
    """
    seen = 0
    for execution in newest(deployment, page=min(PAGE, limit)):
        if (execution.get("stopDate") or execution["startDate"]) < moment:
            if execution["startDate"] < moment:
                return
            continue
        yield execution
        seen += 1
        if seen == limit:
            return


def newest(deployment: Deployment, *, page: int = PAGE) -> Iterator[dict[str, Any]]:
    """Every execution Step Functions remembers, those that started last first, listed `page` at a time.

    Raises NoHistoryError as `since`.
    """
    client = deployment.client("stepfunctions")
    request: dict[str, Any] = {"stateMachineArn": deployment.state_machine_arn, "maxResults": page}
    while True:
        try:
            answer = client.list_executions(**request)
        except client.exceptions.StateMachineTypeNotSupported:
            raise NoHistoryError from None
        yield from answer["executions"]
        if "nextToken" not in answer:
            return
        request["nextToken"] = answer["nextToken"]


def event(bucket: str, key: str, etag: str, size: int, version_id: str | None = None) -> dict[str, Any]:
    """The workflow's input for an object that is there already, in the shape of S3's own event."""
    stored: dict[str, Any] = {"key": key, "size": size, "etag": etag.strip('"')}
    # "null" names the one version of an object that was there before versioning was switched on.
    if version_id and version_id != "null":
        stored["version-id"] = version_id
    return {
        "source": "photo-analysis.operations",
        "detail-type": "Object Created",
        "detail": {"bucket": {"name": bucket}, "object": stored},
    }


def start(deployment: Deployment, content: dict[str, Any], name: str) -> str:
    """Start the workflow; answer the execution's ARN."""
    answer = deployment.client("stepfunctions").start_execution(
        stateMachineArn=deployment.state_machine_arn, name=name, input=json.dumps(content)
    )
    return str(answer["executionArn"])


def follow(
    deployment: Deployment,
    execution: str,
    identity: str,
    *,
    timeout: float,
    waiting: Callable[[], None] = lambda: None,
) -> records.Record:
    """Wait until `execution` owns the record of image `identity` and is done, and answer the record.

    Raises UserError when the execution fails, finds the image another's, or takes over `timeout`
    seconds.
    """
    client = deployment.client("stepfunctions")
    deadline = time.monotonic() + timeout
    pause = 0.2
    while time.monotonic() < deadline:
        waiting()
        status = None
        try:
            described = client.describe_execution(executionArn=execution)
            status = described["status"]
        except (client.exceptions.InvalidArn, client.exceptions.ExecutionDoesNotExist):
            # An EXPRESS execution cannot be described: its record is all there is to see.
            described = {}
        if status in ("FAILED", "TIMED_OUT", "ABORTED"):
            from operations.terminal import visible

            cause = visible(shortened(described.get("cause") or "no cause given"))
            raise UserError(
                f"The execution ended {status} with {described.get('error') or 'no error named'}"
                f" ({cause}); the event is in the dead-letter queue, see 'make redrive'."
            )
        if status in (None, "SUCCEEDED"):
            record = records.get(deployment, identity)
            if record and record.get("ExecutionId") == execution:
                return record
            if status == "SUCCEEDED":
                owner = (record or {}).get("ExecutionId", "nobody")
                raise UserError(
                    f"The image was taken over by another execution meanwhile ({owner}); run it again if the"
                    " record is not what you expect."
                )
        time.sleep(pause)
        pause = min(2.0, pause * 1.5)
    raise UserError(
        f"Execution {execution} is not done after {timeout:.0f} s; 'make status' and the workflow's log say"
        " more."
    )


def shortened(text: str, limit: int = 160) -> str:
    """The first line of an error's cause; of a Lambda's JSON, its message."""
    with contextlib.suppress(ValueError, KeyError, TypeError):
        text = str(json.loads(text)["errorMessage"])
    line = " ".join(text.split())
    return line if len(line) <= limit else f"{line[: limit - 3]}..."
