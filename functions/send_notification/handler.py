"""Lambda entry point: a summary of ProcessImage in, SNS's message id out."""

from __future__ import annotations

import json
import logging
import os
from typing import Any

import boto3
from botocore.config import Config
from botocore.exceptions import BotoCoreError

from . import mark
from .message import compose


class ConfigurationError(Exception):
    """An environment variable is missing; the message names it."""


for _name in ("RESULTS_TABLE", "RESULTS_TOPIC_ARN"):
    if _name not in os.environ:
        raise ConfigurationError(f"environment variable {_name} is not set")
TABLE = os.environ["RESULTS_TABLE"]
TOPIC = os.environ["RESULTS_TOPIC_ARN"]

LOGGER = logging.getLogger("send_notification")
# Python has no level TRACE, which Lambda has.
_LEVEL = os.environ.get("AWS_LAMBDA_LOG_LEVEL", "INFO")
LOGGER.setLevel(logging.getLevelNamesMapping().get(_LEVEL, logging.DEBUG))
# At DEBUG the SDK logs whole requests and the session token.
logging.getLogger("botocore").setLevel(max(logging.INFO, LOGGER.level))
SNS = boto3.client(
    "sns",
    # The workflow waits between attempts. A publish that timed out may have been delivered, so a retry is
    # left to the workflow too, where it is visible.
    config=Config(connect_timeout=2, read_timeout=8, retries={"mode": "standard", "total_max_attempts": 1}),
)
DYNAMODB = boto3.client(
    "dynamodb",
    # Two calls of at most two tries each, and the publish, fit the function's minimum timeout.
    config=Config(connect_timeout=1, read_timeout=1, retries={"mode": "standard", "total_max_attempts": 2}),
)


def handler(event: dict[str, Any], _context: object) -> dict[str, Any]:
    """Publish once to the results topic, then mark the record as notified.

    `event`: the summary with `retry_count`, the number of earlier attempts. Only an earlier attempt can have
    published, so the mark is only checked after one. If the mark cannot be written after publishing, the
    error is logged and not raised, because the workflow would publish again.
    docs/decisions/0012-notified-is-marked-after-publishing.md

    Raises what SNS raises, throttling always as ThrottledException, and what DynamoDB raises before that.
    """
    if event.get("retry_count") and not mark.is_due(event, dynamodb=DYNAMODB, table=TABLE):
        LOGGER.info("notification not due", extra={"outcome": event["outcome"]})
        return {"message_id": None}
    message_id = _publish(event)
    LOGGER.info("notification sent", extra={"outcome": event["outcome"], "message_id": message_id})
    # A summary from a rolled-back ProcessImage has no execution.
    if "execution_id" in event:
        _mark(event, message_id)
    return {"message_id": message_id}


def _mark(summary: dict[str, Any], message_id: str) -> None:
    try:
        marked, reason = (
            mark.set_mark(summary, dynamodb=DYNAMODB, table=TABLE),
            "the record has another owner",
        )
    except (BotoCoreError, DYNAMODB.exceptions.ClientError) as error:
        marked, reason = False, str(error)
    if not marked:
        LOGGER.error("notification not marked", extra={"reason": reason, "message_id": message_id})


def _publish(summary: dict[str, Any]) -> str:
    message = compose(summary)
    try:
        answer = SNS.publish(
            TopicArn=TOPIC,
            Subject=message.subject,
            Message=json.dumps(message.bodies),
            MessageStructure="json",
            MessageAttributes=message.attributes,  # type: ignore[arg-type]
        )
    except SNS.exceptions.ClientError as error:
        # The workflow matches errors by their class, and SNS's model has none for "Throttling".
        if error.response["Error"]["Code"] in {"Throttling", "ThrottlingException", "KMSThrottling"}:
            raise SNS.exceptions.ThrottledException(error.response, "Publish") from error
        raise
    return answer["MessageId"]
