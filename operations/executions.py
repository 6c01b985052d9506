"""Executions of the workflow: build their input, and start, list and follow them."""

from __future__ import annotations

import json
import time
from itertools import islice, takewhile
from typing import TYPE_CHECKING, Any

from botocore.exceptions import ClientError
from tenacity import retry, retry_if_exception, stop_after_delay, wait_random_exponential

from operations import records
from operations.errors import UserError
from operations.terminal import visible

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from datetime import datetime

    from operations.deployment import Deployment

_BUSY = {"ThrottlingException", "Throttling", "ExecutionLimitExceeded", "TooManyRequestsException"}
FAILED = frozenset({"FAILED", "TIMED_OUT", "ABORTED"})


class NoHistoryError(Exception):
    """The workflow is EXPRESS: Step Functions keeps no list of its executions."""


def event(
    bucket: str,
    key: str,
    etag: str,
    size: int,
    version_id: str | None = None,
    *,
    notify: bool = True,
    reanalyse: bool = False,
    redriven_from: Sequence[str] = (),
) -> dict[str, Any]:
    """The workflow's input for an object in the bucket: an S3 event, plus fields of our own.

    `notify`: whether subscribers are notified. `reanalyse`: call Rekognition even if there is a record.
    `redriven_from`: ARNs of the executions it takes over from, oldest first: their record may be replaced,
    and an image they recorded is notified without calling Rekognition again.
    """
    stored: dict[str, Any] = {"key": key, "size": size, "etag": etag.strip('"')}
    # "null" is the version of an object stored before versioning was enabled.
    if version_id and version_id != "null":
        stored["version-id"] = version_id
    made: dict[str, Any] = {
        "source": "photo-analysis.operations",
        "detail-type": "Object Created",
        "detail": {"bucket": {"name": bucket}, "object": stored},
    }
    if not notify:
        made["notify"] = False
    if reanalyse:
        made["reanalyse"] = True
    if redriven_from:
        made["redriven_from"] = list(redriven_from)
    return made


def is_busy(error: BaseException) -> bool:
    """Whether AWS throttled the call."""
    return isinstance(error, ClientError) and error.response["Error"].get("Code") in _BUSY


# Retries throttled calls. StartExecution refills at 300 a second in the large regions and 150 in others, so a
# short wait helps. https://docs.aws.amazon.com/step-functions/latest/dg/service-quotas.html
patiently = retry(
    retry=retry_if_exception(is_busy),
    wait=wait_random_exponential(multiplier=0.2, max=5),
    stop=stop_after_delay(60),
    reraise=True,
)


@patiently
def start(
    deployment: Deployment, content: dict[str, Any], name: str, *, state_machine: str | None = None
) -> str | None:
    """Start one execution called `name`; return its ARN, or None when the name was used before.

    A STANDARD workflow accepts a name once in 90 days, so starting is idempotent. An EXPRESS workflow does
    not remember names: a second execution finds the image claimed and ends as a duplicate.

    Raises ClientError when AWS refuses; if throttled, only after a minute of retries.
    """
    client = deployment.client("stepfunctions")
    machine = state_machine or deployment.state_machine_arn
    try:
        answer = client.start_execution(stateMachineArn=machine, name=name, input=json.dumps(content))
    except client.exceptions.ExecutionAlreadyExists:
        return None
    return str(answer["executionArn"])


def is_running(deployment: Deployment, name: str) -> bool:
    """Whether the execution called `name` has not ended yet."""
    execution = f"{deployment.state_machine_arn.replace(':stateMachine:', ':execution:')}:{name}"
    return (describe(deployment, execution) or {}).get("status") == "RUNNING"


def since(deployment: Deployment, moment: datetime, *, limit: int) -> Iterator[dict[str, Any]]:
    """Executions that ran after `moment`, newest first, at most `limit`; raises as `newest`."""
    ran = takewhile(lambda one: (one.get("stopDate") or one["startDate"]) >= moment, newest(deployment))
    return islice(ran, limit)


def newest(deployment: Deployment) -> Iterator[dict[str, Any]]:
    """Every execution Step Functions remembers, most recently started first.

    Raises NoHistoryError for an EXPRESS workflow.
    """
    client = deployment.client("stepfunctions")
    # "Results are sorted by time, with the most recent execution first", 1,000 a page at most.
    # https://docs.aws.amazon.com/step-functions/latest/apireference/API_ListExecutions.html
    pages = client.get_paginator("list_executions").paginate(
        stateMachineArn=deployment.state_machine_arn, PaginationConfig={"PageSize": 1000}
    )
    try:
        for page in pages:
            yield from page["executions"]
    except client.exceptions.StateMachineTypeNotSupported:
        raise NoHistoryError from None


def follow(deployment: Deployment, execution: str, image_id: str, *, timeout: float) -> records.Record:
    """Wait until `execution` owns the record of image `image_id` and is done, and return the record.

    Raises UserError when the execution fails, another one owns the image, or `timeout` seconds pass.
    """
    deadline, pause = time.monotonic() + timeout, 0.2
    while time.monotonic() < deadline:
        # An EXPRESS execution cannot be described; only its record shows that it is done.
        described = describe(deployment, execution) or {}
        status = described.get("status")
        if status in FAILED:
            cause = visible(shortened(described.get("cause") or "no cause given"))
            raise UserError(
                f"The execution ended {status} with {described.get('error') or 'no error named'}"
                f" ({cause}); the event is in the dead-letter queue, see 'make redrive'."
            )
        record = records.get(deployment, image_id) if status != "RUNNING" else None
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


def describe(deployment: Deployment, execution: str) -> dict[str, Any] | None:
    """An execution as Step Functions describes it; None for EXPRESS ones, and for any after 90 days."""
    try:
        return dict(deployment.client("stepfunctions").describe_execution(executionArn=execution))
    except ClientError as error:
        if error.response["Error"].get("Code") not in ("ExecutionDoesNotExist", "InvalidArn"):
            raise
        return None


def text_at(document: str | None, path: str) -> str:
    """The text at a dotted path in a JSON document; empty if there is none."""
    try:
        value = json.loads(document or "")
    except ValueError:
        return ""
    for name in path.split("."):
        value = value.get(name) if isinstance(value, dict) else None
    return value if isinstance(value, str) else ""


def photo(described: dict[str, Any]) -> tuple[str, str]:
    """Key and ETag in the input of an execution; empty if it is not an S3 event."""
    given = described["input"]
    return text_at(given, "detail.object.key"), text_at(given, "detail.object.etag")


def details(event: dict[str, Any]) -> dict[str, Any]:
    """The details of an event in an execution's history, whatever its type."""
    return next((value for name, value in event.items() if name.endswith("EventDetails")), {})


def shortened(text: str, limit: int = 160) -> str:
    """An error's cause on one line; if it is a Lambda error in JSON, its message."""
    line = " ".join((text_at(text, "errorMessage") or text).split())
    return line if len(line) <= limit else f"{line[: limit - 3]}..."
