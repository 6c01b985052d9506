"""Erasing a photo: all of it and nothing else, and only when confirmed."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
import uuid
from typing import TYPE_CHECKING, Any

import pytest

from operations.erase import erase, find
from operations.errors import UserError
from operations.program import ROOT
from tests.integration.pipeline import DeployedPipeline

if TYPE_CHECKING:
    from collections.abc import Callable

    from localcloud.stack import Notification, Stack

PHOTO = (ROOT / "samples" / "two-portraits.jpg").read_bytes()


def run(stack: Stack, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "operations", "erase", *arguments],
        cwd=ROOT,
        env={
            **os.environ,
            "LOCALCLOUD_DIRECTORY": str(stack.cloud.directory),
            **environment,
        },
        capture_output=True,
        text=True,
        check=False,
        timeout=90,
    )


def versions(stack: Stack, key: str) -> int:
    listed = stack.client("s3").list_object_versions(Bucket=stack.bucket, Prefix=key)
    return sum(one["Key"] == key for kind in ("Versions", "DeleteMarkers") for one in listed.get(kind, []))


def unfinished(stack: Stack, key: str) -> list[str]:
    listed = stack.client("s3").list_multipart_uploads(Bucket=stack.bucket)
    return [one["UploadId"] for one in listed.get("Uploads", []) if one["Key"] == key]


def park(stack: Stack, key: str, **more: str) -> str:
    body = {"detail": {"bucket": {"name": stack.bucket}, "object": {"key": key, **more}}}
    return str(
        stack.client("sqs").send_message(
            QueueUrl=stack.outputs["dead_letter_queue_url"], MessageBody=json.dumps(body)
        )["MessageId"]
    )


def parked(stack: Stack) -> set[str]:
    return {message.message_id for message in stack.dead_letters()}


@pytest.fixture
def remains(stack: Stack, notifications: Callable[..., list[Notification]]) -> dict[str, Any]:
    """A photo uploaded twice, then deleted as users do it, and parked; and one whose key begins the same."""
    key = f'erase/{uuid.uuid4().hex} "$(x)" %2B ü.jpg'
    neighbour = f"{key}.jpg"
    images = [stack.upload(key, PHOTO), stack.upload(key, PHOTO + b"\0"), stack.upload(neighbour, PHOTO)]
    for image in images:
        assert notifications(image, settle=0)
    stack.client("s3").delete_object(Bucket=stack.bucket, Key=key)
    for begun in (key, neighbour):
        upload = stack.client("s3").create_multipart_upload(Bucket=stack.bucket, Key=begun)["UploadId"]
        part = {"Bucket": stack.bucket, "Key": begun, "UploadId": upload, "PartNumber": 1, "Body": PHOTO}
        stack.client("s3").upload_part(**part)
    return {
        "key": key,
        "images": images[:2],
        # The second is one of those the pipeline parks because they are incomplete.
        "letters": {park(stack, key, etag="e1"), park(stack, key)},
        "neighbour": neighbour,
        "neighbour_image": images[2],
        "neighbour_letter": park(stack, neighbour, etag="e1"),
    }


def test_erasing_a_photo(stack: Stack, remains: dict[str, Any]) -> None:
    key = remains["key"]

    shown = run(stack, "--", key)
    assert (shown.returncode, shown.stderr) == (0, "")
    assert "3 versions, 1 unfinished uploads, 2 records, 2 dead letters." in shown.stdout
    assert "with CONFIRM=1 all of it goes for good" in shown.stdout
    assert all(image in shown.stdout for image in remains["images"])
    assert versions(stack, key) == 3
    assert all(stack.record(image) for image in remains["images"])

    erased = run(stack, "--confirm", "--json", "--", key)
    assert (erased.returncode, erased.stderr.strip()) == (0, "")
    report = json.loads(erased.stdout)
    assert report["erased"] is True
    assert {one["image_id"] for one in report["records"]} == set(remains["images"])
    assert sorted(one["delete_marker"] for one in report["versions"]) == [False, False, True]
    assert set(report["dead_letters"]) == remains["letters"]
    assert (versions(stack, key), unfinished(stack, key)) == (0, [])
    assert not any(stack.record(image) for image in remains["images"])

    assert (versions(stack, remains["neighbour"]), len(unfinished(stack, remains["neighbour"]))) == (1, 1)
    assert stack.record(remains["neighbour_image"]) is not None
    deadline = time.monotonic() + 10
    while (left := parked(stack)) and remains["neighbour_letter"] not in left and time.monotonic() < deadline:
        time.sleep(0.2)
    assert remains["neighbour_letter"] in left
    assert not remains["letters"] & left

    again = run(stack, "--confirm", "--", key)
    assert again.returncode == 1
    assert again.stderr.startswith("Error: Nothing is stored about ")
    assert "Traceback" not in again.stderr
    assert run(stack, "--confirm", "--", remains["neighbour"]).returncode == 0


def test_a_photo_whose_key_xml_cannot_hold_is_analysed_and_erased(
    stack: Stack, notifications: Callable[..., list[Notification]]
) -> None:
    key = f"erase/{uuid.uuid4().hex}\x0b\n\x7f.jpg"
    image = stack.upload(key, PHOTO)
    assert [one.facts["outcome"] for one in notifications(image, settle=0)] == ["face_detected"]
    erased = run(stack, "--confirm", "--json", "--", key)
    assert (erased.returncode, erased.stderr.strip()) == (0, "")
    assert versions(stack, key) == 0
    assert stack.record(image) is None


def test_nothing_is_erased_while_a_parked_event_is_out_of_sight(stack: Stack) -> None:
    key = f"erase/{uuid.uuid4().hex}.jpg"
    with DeployedPipeline(stack).paused():
        stack.upload(key, PHOTO)
    message = park(stack, key, etag="e1")
    sqs, url = stack.client("sqs"), stack.outputs["dead_letter_queue_url"]
    # As a redrive does, while it works on what it received.
    held = sqs.receive_message(QueueUrl=url, MaxNumberOfMessages=10, VisibilityTimeout=300)["Messages"]
    assert message in {one["MessageId"] for one in held}
    try:
        shown = run(stack, "--", key)
        refused = run(stack, "--confirm", "--", key)
        nowhere = run(stack, "--", f"{key}.nowhere")
    finally:
        for one in held:
            receipt = one["ReceiptHandle"]
            sqs.change_message_visibility(QueueUrl=url, ReceiptHandle=receipt, VisibilityTimeout=0)
    assert "parked events are being read by somebody else just now" in shown.stdout
    assert "parked events are being read by somebody else just now" in nowhere.stdout
    assert refused.returncode == 1
    assert refused.stderr.endswith("nothing was erased, run it again in two minutes.\n")
    assert versions(stack, key) == 1
    assert run(stack, "--confirm", "--", key).returncode == 0
    assert versions(stack, key) == 0
    assert message not in parked(stack)


def test_a_parked_event_that_is_taken_meanwhile_stops_the_erasing(stack: Stack) -> None:
    pipeline = DeployedPipeline(stack)
    key = f"erase/{uuid.uuid4().hex}.jpg"
    with pipeline.paused():
        stack.upload(key, PHOTO)
    message = park(stack, key, etag="e1")
    found = find(pipeline.deployment, key)
    assert found["dead_letters"] == [message]
    pipeline.empty_queue()
    with pytest.raises(UserError, match="1 parked events of the photo are being read by somebody else"):
        erase(pipeline.deployment, found)
    assert versions(stack, key) == 1


def test_a_key_must_be_named(stack: Stack) -> None:
    refused = run(stack, "--confirm", KEY="")
    assert refused.returncode == 1
    assert refused.stderr == "Error: Say which photo: make erase ENV=local KEY=holiday/beach.jpg\n"
    assert refused.stdout == ""
