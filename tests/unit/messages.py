"""What ProcessImage hands to SendNotification, and how long a text is."""

from __future__ import annotations

from typing import Any


def summary(**changes: Any) -> dict[str, Any]:
    """A summary as ProcessImage gives it."""
    return {
        "duplicate": False,
        "notify": True,
        "execution_id": "arn:aws:states:us-east-1:111122223333:execution:pipeline:e1",
        "image_id": "photos/anna.jpg@b1946ac92492d2347c6235b4d2611184",
        "bucket": "photo-analysis-test-uploads",
        "key": "photos/anna.jpg",
        "version_id": "IYV3p45BT0ac8hjHg1houSdS1a.Mro8e",
        "outcome": "face_detected",
        "reason": None,
        "detail": None,
        "face_count": 2,
        "timestamp": "2026-11-12T13:14:15.678Z",
    } | changes


def sms_units(text: str) -> int:
    """UTF-16 code units, as carriers count them."""
    return len(text.encode("utf-16-le")) // 2
