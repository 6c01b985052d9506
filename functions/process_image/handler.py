"""Lambda entry point: the workflow's input in, a summary out."""

from __future__ import annotations

import logging
import os
import time
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import boto3
from botocore.config import Config

from .analysis import NeedsConversionError, analyse
from .process import process
from .settings import Settings

if TYPE_CHECKING:
    from collections.abc import Callable

    from .analysis import Analysis
    from .upload import Upload

SETTINGS = Settings.from_environment(os.environ)
LOGGER = logging.getLogger("process_image")
# Python has no level TRACE, which Lambda has.
_LEVEL = os.environ.get("AWS_LAMBDA_LOG_LEVEL", "INFO")
LOGGER.setLevel(logging.getLevelNamesMapping().get(_LEVEL, logging.DEBUG))
# At DEBUG the SDK logs whole responses, including faces, and the session token.
logging.getLogger("botocore").setLevel(max(logging.INFO, LOGGER.level))

# The workflow waits between attempts; two tries of at most 12 s each fit the function's timeout.
_CONFIG = Config(connect_timeout=2, read_timeout=10, retries={"mode": "standard", "total_max_attempts": 2})
REKOGNITION = boto3.client("rekognition", config=_CONFIG)
S3 = boto3.client("s3", config=_CONFIG)
DYNAMODB = boto3.client("dynamodb", config=_CONFIG)


def handler(event: dict[str, Any], _context: object) -> dict[str, Any]:
    """`{"event": <S3 event>, "execution_id": <ARN>}` in; the summary of `process` out.

    Or `{"convert": True}`, with nothing recorded, for files that ConvertImage has to analyse.
    """
    try:
        return answer(event, _analyse)
    except NeedsConversionError:
        LOGGER.info("image needs converting", extra={"execution_id": event["execution_id"]})
        return {"convert": True, "duplicate": False, "notify": False}


def answer(event: dict[str, Any], analyse: Callable[[Upload], Analysis]) -> dict[str, Any]:
    """Process one upload and log the outcome; ConvertImage uses it too."""
    started = time.monotonic()
    result = process(
        event["event"],
        execution_id=event["execution_id"],
        now=datetime.now(UTC),
        analyse=analyse,
        dynamodb=DYNAMODB,
        table=SETTINGS.table,
        retention_days=SETTINGS.retention_days,
    )
    if "ignored" in result:
        LOGGER.info("upload ignored", extra={**result, "execution_id": event["execution_id"]})
        return result
    fields = {
        "outcome": "duplicate" if result["duplicate"] else result["outcome"],
        "reason": result.get("reason"),
        "face_count": result.get("face_count"),
        "analysis_ms": round((time.monotonic() - started) * 1000),
        "execution_id": event["execution_id"],
    }
    # Object keys can name people: they are logged only if configured or at DEBUG; faces never are.
    if SETTINGS.log_object_keys or LOGGER.isEnabledFor(logging.DEBUG):
        fields["key"] = result["key"]
    LOGGER.info("image processed", extra=fields)
    return result


def _analyse(upload: Upload) -> Analysis:
    return analyse(
        upload,
        rekognition=REKOGNITION,
        s3=S3,
        attributes=SETTINGS.attributes,
        min_confidence=SETTINGS.min_confidence,
        convert=SETTINGS.convert,
    )
