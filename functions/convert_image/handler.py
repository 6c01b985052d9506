"""Lambda entry point: the workflow's input in, a summary out, as in ProcessImage."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

from process_image.handler import REKOGNITION, S3, SETTINGS, answer

from .analysis import Limits, analyse

if TYPE_CHECKING:
    from process_image.analysis import Analysis
    from process_image.upload import Upload

LIMITS = Limits.from_environment(os.environ)


def handler(event: dict[str, Any], _context: object) -> dict[str, Any]:
    """`{"event": <S3 event>, "execution_id": <ARN>}` in; the summary of `process` out."""
    return answer(event, _analyse)


def _analyse(upload: Upload) -> Analysis:
    return analyse(
        upload,
        rekognition=REKOGNITION,
        s3=S3,
        attributes=SETTINGS.attributes,
        min_confidence=SETTINGS.min_confidence,
        limits=LIMITS,
    )
