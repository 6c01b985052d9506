"""Lambda entry point: a batch of buffered uploads in, the messages to keep in the queue out."""

from __future__ import annotations

import logging
import os
from typing import Any

import boto3
from botocore.config import Config

from .settings import Settings
from .start import Clients, Clock, start

SETTINGS = Settings.from_environment(os.environ)
LOGGER = logging.getLogger("start_workflow")
# Python has no level TRACE, which Lambda has.
_LEVEL = os.environ.get("AWS_LAMBDA_LOG_LEVEL", "INFO")
LOGGER.setLevel(logging.getLevelNamesMapping().get(_LEVEL, logging.DEBUG))
# At DEBUG the SDK logs whole requests and the session token.
logging.getLogger("botocore").setLevel(max(logging.INFO, LOGGER.level))

# The queue waits between attempts. Ten starts of at most 7 s, the pauses between them and the other calls fit
# the function's timeout.
_CONFIG = Config(connect_timeout=2, read_timeout=5, retries={"mode": "standard", "total_max_attempts": 1})
CLIENTS = Clients(
    states=boto3.client("stepfunctions", config=_CONFIG),
    sqs=boto3.client("sqs", config=_CONFIG),
    # Used only with a cap.
    dynamodb=boto3.client("dynamodb", config=_CONFIG) if SETTINGS.photos_per_day else None,
)


def handler(event: dict[str, Any], _context: object) -> dict[str, Any]:
    """SQS's batch in; `{"batchItemFailures": [{"itemIdentifier": <message id>}, ...]}` out."""
    done = start(event["Records"], settings=SETTINGS, clients=CLIENTS, clock=Clock())
    if done.capped:
        LOGGER.warning("daily cap reached", extra={"photos_per_day": SETTINGS.photos_per_day})
    LOGGER.info("uploads started", extra=done.counts())
    return {"batchItemFailures": [{"itemIdentifier": one} for one in done.kept]}
