"""ConvertImage as the workflow calls it: what it reads, calls, records and returns."""

from __future__ import annotations

import json
import logging
from typing import TYPE_CHECKING, Any

import pytest
from botocore.stub import Stubber

from convert_image import analysis
from convert_image.analysis import Limits, analyse
from convert_image.formats import FORMATS
from process_image.analysis import Analysis, NeedsConversionError
from process_image.analysis import analyse as analyse_as_it_is
from process_image.settings import ConfigurationError
from process_image.upload import Upload
from tests.photos import portrait
from tests.unit.pipeline import BUCKET, TABLE, event_for, full_face

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from types import ModuleType

    from tests.unit.pipeline import Pipeline

LIMITS = Limits(frozenset(FORMATS), 4096, 1769)
ENVIRONMENT = {
    "AWS_LAMBDA_FUNCTION_MEMORY_SIZE": "1769",
    "CONVERT_FORMATS": "gif,heic",
    "CONVERT_IMAGES": "false",
    "CONVERT_MAX_PIXELS": "256",
    "FACE_ATTRIBUTES": "DEFAULT",
    "FACE_MIN_CONFIDENCE": "90",
    "LOG_OBJECT_KEYS": "false",
    "RECORD_RETENTION_DAYS": "0",
    "RESULTS_TABLE": TABLE,
}


def ask(pipeline: Pipeline, event: dict[str, Any], limits: Limits = LIMITS) -> Analysis:
    return analyse(
        Upload.from_event(event),
        rekognition=pipeline.rekognition.client,
        s3=pipeline.s3,
        attributes=["DEFAULT"],
        min_confidence=90.0,
        limits=limits,
    )


@pytest.mark.parametrize(
    "code", ["InvalidImageFormatException", "ImageTooLargeException", "InvalidParameterException"]
)
def test_what_rekognition_refuses_is_left_to_convert_image(pipeline: Pipeline, code: str) -> None:
    pipeline.configure(convert=True)
    pipeline.rekognition.refuses(code, "image dimensions are not valid")
    created = pipeline.upload()
    with pytest.raises(NeedsConversionError):
        pipeline.process(created)
    assert pipeline.records() == []


@pytest.mark.proves("fifteen-mb")
def test_what_is_over_15_mb_is_converted_without_calling_rekognition_first(pipeline: Pipeline) -> None:
    pipeline.configure(convert=True)
    with pytest.raises(NeedsConversionError):
        pipeline.process(event_for("a.jpg", size=15_728_641))
    assert pipeline.rekognition.calls == []


def test_a_fault_of_the_settings_is_not_converted_away(pipeline: Pipeline) -> None:
    pipeline.rekognition.refuses("InvalidParameterException", "Request has invalid parameters")
    with pytest.raises(pipeline.rekognition.client.exceptions.InvalidParameterException):
        analyse_as_it_is(
            Upload.from_event(pipeline.upload()),
            rekognition=pipeline.rekognition.client,
            s3=pipeline.s3,
            attributes=["ALL"],
            min_confidence=90.0,
            convert=True,
        )


def test_a_heic_is_sent_to_rekognition_as_jpeg_bytes(pipeline: Pipeline) -> None:
    pipeline.rekognition.finds(full_face())
    found = ask(pipeline, pipeline.upload("a.jpg", portrait("heic")))
    assert (found.outcome, found.format, found.converted) == ("face_detected", "heic", True)
    assert (found.width, found.height) == (512, 512)
    [call] = pipeline.rekognition.calls
    assert call["Attributes"] == ["DEFAULT"]
    assert call["Image"]["Bytes"].startswith(b"\xff\xd8\xff")


def test_the_version_of_the_event_is_converted_though_it_was_overwritten(pipeline: Pipeline) -> None:
    created = pipeline.upload("a.heic", portrait("heic"))
    pipeline.upload("a.heic", b"no photo any more")
    pipeline.rekognition.finds()
    assert ask(pipeline, created).outcome == "no_face"


def test_a_file_that_cannot_be_read_is_an_outcome_with_its_words(pipeline: Pipeline) -> None:
    found = ask(pipeline, pipeline.upload("a.jpg", b"<svg/>"))
    assert (found.outcome, found.reason) == ("rejected", "unsupported_format")
    assert found.detail is not None
    assert found.detail.startswith("the file is an SVG drawing")
    broken = ask(pipeline, pipeline.upload("b.jpg", portrait("webp")[:3000]))
    assert (broken.reason, broken.format, broken.converted) == ("unsupported_format", "webp", False)
    assert pipeline.rekognition.calls == []


def test_a_file_that_is_empty_or_gone_is_an_outcome(pipeline: Pipeline) -> None:
    assert ask(pipeline, pipeline.upload("a.heic", b"")).reason == "empty"
    created = pipeline.upload("b.heic", portrait("heic"))
    pipeline.s3.delete_object(
        Bucket=BUCKET, Key="b.heic", VersionId=created["detail"]["object"]["version-id"]
    )
    assert ask(pipeline, created).reason == "gone"


def test_a_file_over_the_limit_is_read_no_further(
    pipeline: Pipeline, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(analysis, "MAX_FILE_MB", 1)
    found = ask(pipeline, pipeline.upload("a.heic", bytes(1024 * 1024 + 1)))
    assert (found.reason, found.detail) == ("too_large", "the file has more than 1 MB; send a smaller copy")


def test_s3s_own_errors_are_tried_again(pipeline: Pipeline) -> None:
    created = pipeline.upload("a.heic", b"")
    with Stubber(pipeline.s3) as stubber:
        stubber.add_client_error("get_object", "SlowDown", http_status_code=503)
        with pytest.raises(pipeline.s3.exceptions.ClientError, match="SlowDown"):
            ask(pipeline, created)


def test_process_image_answers_that_converting_is_needed(
    load_handler: Callable[..., ModuleType], pipeline: Pipeline
) -> None:
    module = load_handler("process_image", **ENVIRONMENT | {"CONVERT_IMAGES": "true"})
    module.REKOGNITION = pipeline.rekognition.client  # type: ignore[attr-defined]
    pipeline.rekognition.refuses("InvalidImageFormatException")
    answer = module.handler({"event": pipeline.upload(), "execution_id": "e1"}, None)
    assert answer == {"convert": True, "duplicate": False, "notify": False}
    assert pipeline.records() == []


@pytest.fixture
def handler(load_handler: Callable[..., ModuleType], pipeline: Pipeline) -> Iterator[ModuleType]:
    """The function with the pipeline's table, bucket and Rekognition."""
    levels = {name: logging.getLogger(name).level for name in ("process_image", "botocore")}
    load_handler("process_image", **ENVIRONMENT)
    module = load_handler("convert_image", **ENVIRONMENT)
    module.REKOGNITION = pipeline.rekognition.client  # type: ignore[attr-defined]
    yield module
    for name, level in levels.items():
        logging.getLogger(name).setLevel(level)


def test_a_converted_photo_is_recorded_and_answered_as_any_other(
    handler: ModuleType, pipeline: Pipeline, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "process_image")
    pipeline.rekognition.finds(full_face())
    created = pipeline.upload("photos/anna.jpg", portrait("heic"))
    answer = json.loads(json.dumps(handler.handler({"event": created, "execution_id": "e1"}, None)))
    assert (answer["outcome"], answer["face_count"], answer["notify"]) == ("face_detected", 1, True)
    item = pipeline.record(created)
    assert (item["Format"], item["Converted"]) == ({"S": "heic"}, {"BOOL": True})
    assert (item["Width"], item["Height"]) == ({"N": "512"}, {"N": "512"})
    assert handler.handler({"event": created, "execution_id": "e2"}, None)["duplicate"]
    assert handler.handler({"event": created, "execution_id": "e1"}, None) == answer
    assert len(pipeline.rekognition.calls) == 1
    assert [record.message for record in caplog.records].count("image processed") == 3
    assert "anna" not in caplog.text


def test_the_settings_reach_the_decoder(handler: ModuleType, pipeline: Pipeline) -> None:
    assert Limits(frozenset({"gif", "heic"}), 256, 1769) == handler.LIMITS
    created = pipeline.upload("a.webp", portrait("webp"))
    answer = handler.handler({"event": created, "execution_id": "e1"}, None)
    assert (answer["reason"], pipeline.record(created)["Format"]) == ("unsupported_format", {"S": "webp"})
    assert "a format that is not read here" in answer["detail"]


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("CONVERT_FORMATS", None, "CONVERT_FORMATS is not set"),
        ("CONVERT_FORMATS", "heic,svg", "CONVERT_FORMATS has formats"),
        ("CONVERT_MAX_PIXELS", "many", "CONVERT_MAX_PIXELS is not a whole number"),
    ],
)
def test_a_wrong_setting_is_named(name: str, value: str | None, message: str) -> None:
    environment = {**ENVIRONMENT, name: value}
    with pytest.raises(ConfigurationError, match=message):
        Limits.from_environment({key: text for key, text in environment.items() if text is not None})
