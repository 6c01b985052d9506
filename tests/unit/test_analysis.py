"""Which photos are outcomes, which errors pass through, and the calls to Rekognition."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from botocore.exceptions import ClientError
from botocore.stub import Stubber

from process_image.analysis import MAX_IMAGE_BYTES, Analysis, analyse, rejected
from process_image.outcomes import REASONS
from process_image.picture import Picture
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
def test_an_empty_object_is_rejected_without_calling_rekognition(pipeline: Pipeline) -> None:
    assert ask(pipeline, pipeline.upload(body=b"")) == rejected("empty")
    assert pipeline.rekognition.calls == []


def test_the_limit_is_15_mb_as_rekognition_counts_them() -> None:
    assert MAX_IMAGE_BYTES == 15_728_640


@pytest.mark.proves("fifteen-mb")
def test_15_mb_exactly_are_analysed(pipeline: Pipeline) -> None:
    pipeline.rekognition.finds({"Confidence": 99.0})
    assert ask(pipeline, event_for("a.jpg", size=15_728_640)).outcome == "face_detected"


@pytest.mark.proves("fifteen-mb")
def test_one_byte_more_than_15_mb_is_rejected_without_calling_rekognition(pipeline: Pipeline) -> None:
    analysis = ask(pipeline, event_for("a.jpg", size=20_000_000))
    assert (analysis.reason, analysis.detail) == (
        "too_large",
        "the file has 19.1 MB; at most 15 MB are analysed",
    )
    assert ask(pipeline, event_for("a.jpg", size=15_728_641)).reason == "too_large"
    assert pipeline.rekognition.calls == []


def test_an_event_that_does_not_say_the_size_is_analysed(pipeline: Pipeline) -> None:
    event = event_for("a.jpg")
    del event["detail"]["object"]["size"]
    pipeline.rekognition.finds()
    assert ask(pipeline, event).outcome == "no_face"


SMALL_PNG = b"\x89PNG\r\n\x1a\n\x00\x00\x00\rIHDR\x00\x00\x00<\x00\x00\x00\x32\x08\x02"
# Start, a JFIF segment, a fill byte, a table, and a frame of 20,000 x 10,000.
LARGE_JPEG = (
    b"\xff\xd8\xff\xe0\x00\x06JFIF\xff\xff\xc4\x00\x04\x00\x00" + b"\xff\xc2\x00\x11\x08\x27\x10\x4e\x20\x03"
)
UNREADABLE = (
    "the file is a {} picture that cannot be read: damaged, cut short or of a rare kind; save it anew"
)
DIMENSIONS = "Request has invalid image dimensions"


@pytest.mark.parametrize(
    ("code", "body", "reason", "detail"),
    [
        (
            "InvalidImageFormatException",
            b"<html>",
            "unsupported_format",
            "the file is not a JPEG or PNG picture; send a photo as one of them",
        ),
        (
            "InvalidImageFormatException",
            LARGE_JPEG,
            "unsupported_format",
            UNREADABLE.format("JPEG"),
        ),
        (
            "InvalidImageFormatException",
            SMALL_PNG,
            "unsupported_format",
            UNREADABLE.format("PNG"),
        ),
        (
            "ImageTooLargeException",
            LARGE_JPEG,
            "too_large",
            "20000 x 10000 pixels, more than can be analysed; send a smaller copy",
        ),
        (
            "ImageTooLargeException",
            b"\xff\xd8\xff\xe0",
            "too_large",
            "the picture has more pixels, or the file more bytes, than can be analysed; send a smaller copy",
        ),
        ("InvalidParameterException", SMALL_PNG, "too_small", "60 x 50 pixels; at least 80 x 80 are needed"),
        ("InvalidParameterException", b"\xff\xd8\xff\xe0", "too_small", REASONS["too_small"]),
    ],
)
@pytest.mark.proves("too-small")
def test_a_rejected_photo_says_what_the_file_is_and_what_to_do(
    pipeline: Pipeline, code: str, body: bytes, reason: str, detail: str
) -> None:
    pipeline.rekognition.refuses(code, DIMENSIONS)
    analysis = ask(pipeline, pipeline.upload(body=body))
    assert analysis == Analysis("rejected", reason=reason, detail=detail)


def test_the_version_of_the_event_is_described_though_it_was_overwritten(pipeline: Pipeline) -> None:
    event = pipeline.upload("a.png", SMALL_PNG)
    pipeline.upload("a.png", b"new")
    pipeline.rekognition.refuses("InvalidParameterException", DIMENSIONS)
    assert (ask(pipeline, event).detail or "").startswith("60 x 50 pixels")


def test_an_invalid_parameter_that_is_not_the_picture_is_an_error(pipeline: Pipeline) -> None:
    pipeline.rekognition.refuses("InvalidParameterException", "Request has invalid parameters")
    with pytest.raises(pipeline.rekognition.client.exceptions.InvalidParameterException):
        ask(pipeline, pipeline.upload())


def test_a_photo_that_is_gone_once_rekognition_has_refused_it_is_gone(pipeline: Pipeline) -> None:
    event = pipeline.upload()
    version = event["detail"]["object"]["version-id"]
    pipeline.s3.delete_object(Bucket=BUCKET, Key="photos/anna.jpg", VersionId=version)
    pipeline.rekognition.refuses("InvalidImageFormatException")
    assert ask(pipeline, event) == rejected("gone")


def test_an_empty_object_whose_event_does_not_say_so_is_empty(pipeline: Pipeline) -> None:
    event = pipeline.upload(body=b"")
    del event["detail"]["object"]["size"]
    pipeline.rekognition.refuses("InvalidImageFormatException")
    with Stubber(pipeline.s3) as s3:
        s3.add_client_error("get_object", "InvalidRange", http_status_code=416)
        assert ask(pipeline, event) == rejected("empty")


def test_a_reason_that_is_not_in_the_table_is_refused() -> None:
    with pytest.raises(KeyError, match="blurred"):
        rejected("blurred")


@pytest.mark.parametrize("head", [LARGE_JPEG[:end] for end in range(len(LARGE_JPEG))], ids=len)
def test_a_header_that_breaks_off_has_no_size(head: bytes) -> None:
    picture = Picture.read(head)
    assert picture in {
        Picture(),
        Picture("JPEG"),
        Picture("JPEG", 20_000, 10_000),
        Picture("JPEG", 0, 10_000),
    }


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
    assert ask(pipeline, event) == rejected("gone")


def test_an_object_behind_a_delete_marker_is_gone_where_the_event_names_no_version(
    pipeline: Pipeline,
) -> None:
    event = pipeline.upload()
    del event["detail"]["object"]["version-id"]
    pipeline.s3.delete_object(Bucket=BUCKET, Key="photos/anna.jpg")
    pipeline.rekognition.refuses("InvalidS3ObjectException")
    assert ask(pipeline, event) == rejected("gone")


@pytest.mark.proves("gone")
def test_a_version_that_is_a_delete_marker_is_gone(pipeline: Pipeline) -> None:
    event = pipeline.upload()
    marker = pipeline.s3.delete_object(Bucket=BUCKET, Key="photos/anna.jpg")
    event["detail"]["object"]["version-id"] = marker["VersionId"]
    pipeline.rekognition.refuses("InvalidS3ObjectException")
    assert ask(pipeline, event) == rejected("gone")


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
