"""Which photos are outcomes, which errors pass through, and what Rekognition is asked."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from botocore.exceptions import ClientError
from botocore.stub import Stubber

from process_image.analysis import MAX_IMAGE_BYTES, Analysis, analyse
from process_image.upload import Upload
from tests.unit.pipeline import BUCKET, event_for, full_face

if TYPE_CHECKING:
    from tests.unit.pipeline import Pipeline


def ask(pipeline: Pipeline, event: dict[str, Any], min_confidence: float = 90.0) -> Analysis:
    return analyse(
        Upload.from_event(event),
        rekognition=pipeline.rekognition.client,
        s3=pipeline.s3,
        attributes=["ALL"],
        min_confidence=min_confidence,
    )


def test_a_photo_with_faces_is_face_detected_with_the_faces_in_order(pipeline: Pipeline) -> None:
    pipeline.rekognition.finds({"Confidence": 99.5}, {"Confidence": 95.5})
    assert ask(pipeline, pipeline.upload()) == Analysis(
        "face_detected", ({"Confidence": 99.5}, {"Confidence": 95.5})
    )


def test_a_photo_without_faces_is_an_outcome(pipeline: Pipeline) -> None:
    pipeline.rekognition.finds()
    assert ask(pipeline, pipeline.upload()) == Analysis("no_face")


@pytest.mark.proves("overwritten")
def test_the_version_of_the_event_is_analysed_though_it_was_overwritten(pipeline: Pipeline) -> None:
    event = pipeline.upload("a.jpg", b"old")
    pipeline.upload("a.jpg", b"new")
    pipeline.rekognition.finds()
    ask(pipeline, event)
    version = event["detail"]["object"]["version-id"]
    assert pipeline.rekognition.calls == [
        {
            "Image": {"S3Object": {"Bucket": BUCKET, "Name": "a.jpg", "Version": version}},
            "Attributes": ["ALL"],
        }
    ]


def test_an_event_without_a_version_has_the_current_one_analysed(pipeline: Pipeline) -> None:
    event = pipeline.upload("a.jpg")
    del event["detail"]["object"]["version-id"]
    pipeline.rekognition.finds()
    ask(pipeline, event)
    assert pipeline.rekognition.calls[0]["Image"] == {"S3Object": {"Bucket": BUCKET, "Name": "a.jpg"}}


@pytest.mark.proves("empty")
def test_an_empty_object_is_rejected_without_asking_rekognition(pipeline: Pipeline) -> None:
    assert ask(pipeline, pipeline.upload(body=b"")) == Analysis("rejected", reason="empty")
    assert pipeline.rekognition.calls == []


def test_the_limit_is_15_mb_as_rekognition_counts_them() -> None:
    assert MAX_IMAGE_BYTES == 15_728_640


@pytest.mark.proves("fifteen-mb")
def test_15_mb_exactly_are_analysed(pipeline: Pipeline) -> None:
    pipeline.rekognition.finds({"Confidence": 99.0})
    assert ask(pipeline, event_for("a.jpg", size=15_728_640)).outcome == "face_detected"


@pytest.mark.proves("fifteen-mb")
def test_one_byte_more_than_15_mb_is_rejected_without_asking_rekognition(pipeline: Pipeline) -> None:
    assert ask(pipeline, event_for("a.jpg", size=15_728_641)) == Analysis("rejected", reason="too_large")
    assert pipeline.rekognition.calls == []


def test_an_event_that_does_not_say_the_size_is_analysed(pipeline: Pipeline) -> None:
    event = event_for("a.jpg")
    del event["detail"]["object"]["size"]
    pipeline.rekognition.finds()
    assert ask(pipeline, event).outcome == "no_face"


@pytest.mark.parametrize(
    ("code", "reason"),
    [
        ("InvalidImageFormatException", "unsupported_format"),
        ("ImageTooLargeException", "too_large"),
        ("InvalidParameterException", "too_small"),
    ],
)
@pytest.mark.proves("too-small")
def test_a_photo_rekognition_cannot_read_is_rejected_with_the_reason(
    pipeline: Pipeline, code: str, reason: str
) -> None:
    pipeline.rekognition.refuses(code)
    analysis = ask(pipeline, pipeline.upload())
    assert (analysis.outcome, analysis.reason, analysis.faces) == ("rejected", reason, ())


@pytest.mark.parametrize(
    "code",
    [
        "ThrottlingException",
        "ProvisionedThroughputExceededException",
        "InternalServerError",
        "AccessDeniedException",
    ],
)
def test_any_other_refusal_passes_through_under_the_name_the_workflow_knows(
    pipeline: Pipeline, code: str
) -> None:
    pipeline.rekognition.refuses(code)
    with pytest.raises(ClientError) as caught:
        ask(pipeline, pipeline.upload())
    assert type(caught.value).__name__ == code


@pytest.mark.parametrize("versioned", [True, False], ids=["with a version", "without a version"])
@pytest.mark.proves("gone")
def test_an_object_that_is_gone_is_rejected(pipeline: Pipeline, versioned: bool) -> None:
    event = pipeline.upload()
    version = event["detail"]["object"]["version-id"]
    pipeline.s3.delete_object(Bucket=BUCKET, Key="photos/anna.jpg", VersionId=version)
    if not versioned:
        del event["detail"]["object"]["version-id"]
    pipeline.rekognition.refuses("InvalidS3ObjectException")
    assert ask(pipeline, event) == Analysis("rejected", reason="gone")


def test_an_object_behind_a_delete_marker_is_gone_where_the_event_names_no_version(
    pipeline: Pipeline,
) -> None:
    event = pipeline.upload()
    del event["detail"]["object"]["version-id"]
    pipeline.s3.delete_object(Bucket=BUCKET, Key="photos/anna.jpg")
    pipeline.rekognition.refuses("InvalidS3ObjectException")
    assert ask(pipeline, event) == Analysis("rejected", reason="gone")


@pytest.mark.proves("gone")
def test_a_version_that_is_a_delete_marker_is_gone(pipeline: Pipeline) -> None:
    event = pipeline.upload()
    marker = pipeline.s3.delete_object(Bucket=BUCKET, Key="photos/anna.jpg")
    event["detail"]["object"]["version-id"] = marker["VersionId"]
    pipeline.rekognition.refuses("InvalidS3ObjectException")
    assert ask(pipeline, event) == Analysis("rejected", reason="gone")


def test_a_version_under_a_delete_marker_is_not_gone(pipeline: Pipeline) -> None:
    event = pipeline.upload()
    pipeline.s3.delete_object(Bucket=BUCKET, Key="photos/anna.jpg")
    pipeline.rekognition.refuses("InvalidS3ObjectException")
    with pytest.raises(pipeline.rekognition.client.exceptions.InvalidS3ObjectException):
        ask(pipeline, event)


def test_an_object_that_is_there_but_may_not_be_read_by_rekognition_is_an_error(pipeline: Pipeline) -> None:
    pipeline.rekognition.refuses("InvalidS3ObjectException")
    with pytest.raises(pipeline.rekognition.client.exceptions.InvalidS3ObjectException):
        ask(pipeline, pipeline.upload())


@pytest.mark.parametrize(("code", "status"), [("403", 403), ("400", 400), ("503", 503)])
def test_an_object_s3_says_nothing_final_about_is_an_error(
    pipeline: Pipeline, code: str, status: int
) -> None:
    pipeline.rekognition.refuses("InvalidS3ObjectException")
    with Stubber(pipeline.s3) as s3:
        s3.add_client_error("head_object", code, http_status_code=status)
        with pytest.raises(ClientError, match=code):
            ask(pipeline, event_for("a.jpg"))


def test_faces_below_the_least_confidence_are_left_out_and_those_at_it_kept(pipeline: Pipeline) -> None:
    pipeline.rekognition.finds({"Confidence": 90.0}, {"Confidence": 89.999}, {"Confidence": 100.0})
    assert [face["Confidence"] for face in ask(pipeline, pipeline.upload()).faces] == [90.0, 100.0]


def test_a_photo_whose_faces_are_all_unsure_has_no_face(pipeline: Pipeline) -> None:
    pipeline.rekognition.finds({"Confidence": 12.0})
    assert ask(pipeline, pipeline.upload()) == Analysis("no_face")


def test_a_face_without_a_confidence_is_kept(pipeline: Pipeline) -> None:
    pipeline.rekognition.finds({"BoundingBox": {"Width": 0.5}})
    assert ask(pipeline, pipeline.upload(), min_confidence=100.0).outcome == "face_detected"


def test_a_face_arrives_with_every_attribute_rekognition_has(pipeline: Pipeline) -> None:
    pipeline.rekognition.finds(full_face())
    assert ask(pipeline, pipeline.upload()).faces == (full_face(),)
