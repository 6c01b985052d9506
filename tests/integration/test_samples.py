"""Every sample photo goes through the whole pipeline: upload, workflow, Rekognition, record, notification."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from localcloud.cloud import SAMPLES

if TYPE_CHECKING:
    from collections.abc import Callable

    from localcloud.stack import Notification, Stack

EXPECTED = {
    "cat.png": ("no_face", 0),
    "coffee.jpg": ("no_face", 0),
    "eileen-collins.heic": ("face_detected", 1),
    "eileen-collins.jpg": ("face_detected", 1),
    "grace-hopper.jpg": ("face_detected", 1),
    "grace-hopper.webp": ("face_detected", 1),
    "not-a-photo.jpg": ("rejected", 0),
    "rocket.jpg": ("no_face", 0),
    "transparent.png": ("face_detected", 1),
    "turned-by-exif.jpg": ("face_detected", 1),
    "two-portraits.avif": ("face_detected", 2),
    "two-portraits.jpg": ("face_detected", 2),
}


def test_every_sample_has_an_expectation() -> None:
    assert {path.name for path in SAMPLES.iterdir() if path.name != "README.md"} == set(EXPECTED)


@pytest.mark.parametrize("name", EXPECTED)
@pytest.mark.proves("kinds-of-photo", "no-face")
def test_a_sample_is_recorded_and_notified(
    stack: Stack, notifications: Callable[..., list[Notification]], name: str
) -> None:
    outcome, faces = EXPECTED[name]
    body = (SAMPLES / name).read_bytes()
    image_id = stack.upload(f"samples/{name}", body)
    received = notifications(image_id)
    assert [(one.facts["outcome"], one.facts["face_count"]) for one in received] == [(outcome, faces)]
    assert received[0].attributes == {"outcome": outcome, "face_count": str(faces), "key_prefix": "samples/"}
    record = stack.record(image_id)
    assert record is not None
    assert (record["Outcome"], record["FaceCount"], record["FaceDetected"]) == (outcome, faces, faces > 0)
    assert (record["Bucket"], record["Key"], record["Size"]) == (stack.bucket, f"samples/{name}", len(body))
    assert len(json.loads(record.get("FaceDetails", "[]"))) == faces
    assert record.get("Reason") == ("unsupported_format" if outcome == "rejected" else None)
    assert (
        record["ExecutionId"].split(":")[:6]
        == stack.outputs["state_machine_arn"].replace(":stateMachine:", ":execution:").split(":")[:6]
    )
