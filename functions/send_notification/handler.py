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
LOGGER.setLevel(os.environ.get("AWS_LAMBDA_LOG_LEVEL", "INFO"))
SNS = boto3.client(
    "sns",
    # The workflow does the waiting between attempts. A publish that timed out may have been delivered, so a
    # second one is left to the workflow too, where it can be seen.
    config=Config(connect_timeout=2, read_timeout=8, retries={"mode": "standard", "total_max_attempts": 1}),
)


def handler(event: dict[str, Any], context: object) -> dict[str, str]:
    """Publish once to the results topic; raises what SNS raises."""
    message = compose(event)
    answer = SNS.publish(
        TopicArn=os.environ["RESULTS_TOPIC_ARN"],
        Subject=message.subject,
        Message=json.dumps(message.bodies),
        MessageStructure="json",
        MessageAttributes=message.attributes,  # type: ignore[arg-type]
    )
    LOGGER.info("notification sent", extra={"outcome": event["outcome"], "message_id": answer["MessageId"]})
    return {"message_id": answer["MessageId"]}
