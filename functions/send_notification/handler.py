"""Lambda entry point: a summary of ProcessImage in, SNS's message id out."""

from __future__ import annotations

import json
import logging
import os
from typing import Any

import boto3
from botocore.config import Config

from .message import compose


class ConfigurationError(Exception):
    """An environment variable is missing; the message names it."""


if "RESULTS_TOPIC_ARN" not in os.environ:
    raise ConfigurationError("environment variable RESULTS_TOPIC_ARN is not set")

LOGGER = logging.getLogger("send_notification")
# Lambda's TRACE has no name in Python.
_LEVEL = os.environ.get("AWS_LAMBDA_LOG_LEVEL", "INFO")
LOGGER.setLevel(logging.getLevelNamesMapping().get(_LEVEL, logging.DEBUG))
# At DEBUG the SDK logs whole requests and the session's token.
logging.getLogger("botocore").setLevel(max(logging.INFO, LOGGER.level))
SNS = boto3.client(
    "sns",
    # The workflow does the waiting between attempts. A publish that timed out may have been delivered, so a
    # second one is left to the workflow too, where it can be seen.
    config=Config(connect_timeout=2, read_timeout=8, retries={"mode": "standard", "total_max_attempts": 1}),
)


def handler(event: dict[str, Any], _context: object) -> dict[str, str]:
    """Publish once to the results topic; raises what SNS raises, throttling always as ThrottledException."""
    message = compose(event)
    try:
        answer = SNS.publish(
            TopicArn=os.environ["RESULTS_TOPIC_ARN"],
            Subject=message.subject,
            Message=json.dumps(message.bodies),
            MessageStructure="json",
            MessageAttributes=message.attributes,  # type: ignore[arg-type]
        )
    except SNS.exceptions.ClientError as error:
        # The workflow knows errors by their class, and SNS's model has none for "Throttling".
        if error.response["Error"]["Code"] in {"Throttling", "ThrottlingException", "KMSThrottling"}:
            raise SNS.exceptions.ThrottledException(error.response, "Publish") from error
        raise
    LOGGER.info("notification sent", extra={"outcome": event["outcome"], "message_id": answer["MessageId"]})
    return {"message_id": answer["MessageId"]}
