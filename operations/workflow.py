"""Starts the workflow so that starting it twice is starting it once."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

from botocore.exceptions import ClientError
from tenacity import Retrying, retry_if_exception, stop_after_delay, wait_random_exponential

if TYPE_CHECKING:
    from operations.deployment import Deployment

Started = Literal["started", "already"]

# StartExecution refills at 300 a second in the large regions and 150 in others: a wait soon helps.
# https://docs.aws.amazon.com/step-functions/latest/dg/service-quotas.html
_PATIENCE_SECONDS = 60
_BUSY = {"ThrottlingException", "Throttling", "ExecutionLimitExceeded", "TooManyRequestsException"}


def start(deployment: Deployment, name: str, text: str) -> Started:
    """Start one execution called `name` with the JSON `text` as its input.

    A STANDARD workflow accepts a name once in 90 days, so a repeated call answers "already". An EXPRESS one
    does not remember names: its second execution finds the image taken and ends as a duplicate.

    Raises ClientError when it is refused, for throttling only after a minute of trying.
    """
    client = deployment.client("stepfunctions")
    for attempt in Retrying(
        retry=retry_if_exception(_is_busy),
        wait=wait_random_exponential(multiplier=0.2, max=5),
        stop=stop_after_delay(_PATIENCE_SECONDS),
        reraise=True,
    ):
        with attempt:
            try:
                client.start_execution(stateMachineArn=deployment.state_machine_arn, name=name, input=text)
            except client.exceptions.ExecutionAlreadyExists:
                return "already"
    return "started"


def is_running(deployment: Deployment, name: str) -> bool:
    """Whether the execution called `name` has not ended yet."""
    execution = f"{deployment.state_machine_arn.replace(':stateMachine:', ':execution:')}:{name}"
    described = deployment.client("stepfunctions").describe_execution(executionArn=execution)
    return bool(described["status"] == "RUNNING")


def _is_busy(error: BaseException) -> bool:
    return isinstance(error, ClientError) and error.response["Error"].get("Code") in _BUSY


def warm(deployment: Deployment, *services: str) -> dict[str, Any]:
    """Make clients before threads need them; making one is not thread-safe."""
    return {service: deployment.client(service) for service in services}
