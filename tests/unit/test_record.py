"""What a record holds, how large it gets, and who may write it."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, Literal

import pytest
from botocore.exceptions import ClientError
from botocore.stub import Stubber

from process_image import record
from process_image.analysis import Analysis, rejected
from process_image.upload import Upload
from tests.unit.pipeline import NOW, TABLE, dynamodb_size, event, event_for, full_face, odd_keys, short

if TYPE_CHECKING:
    from tests.unit.pipeline import Pipeline

# https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/Constraints.html
MAX_ITEM_BYTES = 409_600


def build(
    analysis: Analysis,
    created: dict[str, Any] | None = None,
    *,
    now: datetime = NOW,
    retention_days: int | None = None,
    execution_id: str = "execution-1",
) -> dict[str, Any]:
    return record.build(
        Upload.from_event(created or event("object_created")),
        analysis,
        execution_id=execution_id,
        notification_due=True,
        now=now,
        retention_days=retention_days,
    )


def test_a_record_of_a_photo_with_a_face_holds_every_attribute() -> None:
    assert build(Analysis("face_detected", ({"Confidence": 99.123456},))) == {
        "ImageID": {"S": "photos/2026/anna.jpg@b1946ac92492d2347c6235b4d2611184"},
        "Bucket": {"S": "photo-analysis-dev-uploads-111122223333"},
        "Key": {"S": "photos/2026/anna.jpg"},
        "VersionId": {"S": "IYV3p45BT0ac8hjHg1houSdS1a.Mro8e"},
        "ETag": {"S": "b1946ac92492d2347c6235b4d2611184"},
        "Size": {"N": "184218"},
        "Sequencer": {"S": "00617F08299329D189"},
        "Outcome": {"S": "face_detected"},
        "OutcomeDay": {"S": "face_detected#2026-11-12"},
        "FaceDetected": {"BOOL": True},
        "FaceCount": {"N": "1"},
        "FaceDetails": {"S": '[{"Confidence":99.12}]'},
        "Timestamp": {"S": "2026-11-12T13:14:15.678Z"},
        "ExecutionId": {"S": "execution-1"},
        "NotificationDue": {"BOOL": True},
    }


def test_a_record_of_a_rejected_photo_says_why_and_holds_no_faces() -> None:
    item = build(rejected("too_small", "60 x 60 pixels"))
    assert (item["Outcome"], item["Reason"]) == ({"S": "rejected"}, {"S": "too_small"})
    assert item["Detail"] == {"S": "60 x 60 pixels"}
    assert (item["FaceDetected"], item["FaceCount"]) == ({"BOOL": False}, {"N": "0"})
    assert "FaceDetails" not in item


def test_a_record_of_a_photo_without_faces_has_no_reason_and_no_faces() -> None:
    item = build(Analysis("no_face"))
    assert item["OutcomeDay"] == {"S": "no_face#2026-11-12"}
    assert not {"Reason", "FaceDetails", "FaceDetailsKept"} & item.keys()


def test_what_an_event_does_not_say_is_not_in_the_record() -> None:
    created = event_for("a.jpg")
    for name in ("version-id", "sequencer", "size"):
        del created["detail"]["object"][name]
    assert not {"VersionId", "Sequencer", "Size"} & build(Analysis("no_face"), created).keys()


def test_a_size_of_nothing_is_kept() -> None:
    created = event("object_created_empty")
    assert build(rejected("empty"), created)["Size"] == {"N": "0"}


@pytest.mark.parametrize(
    ("microsecond", "text"),
    [
        (0, "2026-01-02T03:04:05.000Z"),
        (7_999, "2026-01-02T03:04:05.007Z"),
        (999_999, "2026-01-02T03:04:05.999Z"),
    ],
)
def test_timestamps_have_milliseconds_so_that_they_sort_as_text(microsecond: int, text: str) -> None:
    now = datetime(2026, 1, 2, 3, 4, 5, microsecond, tzinfo=UTC)
    assert build(Analysis("no_face"), now=now)["Timestamp"] == {"S": text}


def test_records_are_kept_indefinitely_without_a_retention() -> None:
    assert "ExpiresAt" not in build(Analysis("no_face"))


def test_records_expire_when_the_retention_is_over() -> None:
    item = build(Analysis("no_face"), retention_days=30)
    assert item["ExpiresAt"] == {"N": str(int((NOW + timedelta(days=30)).timestamp()))}
    # DynamoDB's time to live takes whole seconds.
    assert item["ExpiresAt"]["N"].isdigit()


def test_ratios_keep_four_decimals_and_everything_else_two() -> None:
    face = {
        "BoundingBox": {"Width": 0.123456, "Height": 0.00004, "Left": -0.98765, "Top": 1.00005001},
        "Confidence": 99.98765,
        "Pose": {"Roll": -1.005001, "Yaw": 179.999, "Pitch": 0.004},
        "Landmarks": [{"Type": "nose", "X": 0.500051, "Y": 0.25}],
        "AgeRange": {"Low": 20, "High": 30},
        "Smile": {"Value": True, "Confidence": 50.126},
    }
    assert json.loads(json.dumps(record.rounded(face))) == {
        "BoundingBox": {"Width": 0.1235, "Height": 0.0, "Left": -0.9877, "Top": 1.0001},
        "Confidence": 99.99,
        "Pose": {"Roll": -1.01, "Yaw": 180.0, "Pitch": 0.0},
        "Landmarks": [{"Type": "nose", "X": 0.5001, "Y": 0.25}],
        "AgeRange": {"Low": 20, "High": 30},
        "Smile": {"Value": True, "Confidence": 50.13},
    }


def test_what_rekognition_answered_is_not_changed_by_rounding() -> None:
    face = full_face()
    record.rounded(face)
    assert face == full_face()


def test_face_details_hold_every_attribute_in_rekognitions_order() -> None:
    faces = (full_face() | {"Confidence": 98.0}, full_face() | {"Confidence": 97.0})
    stored = json.loads(build(Analysis("face_detected", faces))["FaceDetails"]["S"])
    assert stored == [record.rounded(face) for face in faces]
    assert stored[0].keys() == full_face().keys()
    assert len(stored[0]["Landmarks"]) == 30


@pytest.mark.parametrize("kind", ["usual", "longest"])
@pytest.mark.proves("many-faces")
def test_100_faces_with_every_attribute_stay_under_400_kb(kind: Literal["usual", "longest"]) -> None:
    created = event_for(
        "\N{CAMERA}" * 256,
        etag="d41d8cd98f00b204e9800998ecf8427e-10000",
        sequencer="0" * 64,
        size=15_728_640,
        **{"version-id": "v" * 1_024},
    )
    faces = tuple(full_face(kind) for _ in range(100))
    item = build(Analysis("face_detected", faces), created, retention_days=3_653, execution_id="e" * 2_048)
    assert len(json.loads(item["FaceDetails"]["S"])) == 100
    assert "FaceDetailsKept" not in item
    assert dynamodb_size(item) < MAX_ITEM_BYTES


def test_the_size_reckoning_is_dynamodbs() -> None:
    assert dynamodb_size({"Name": {"S": "\N{LATIN SMALL LETTER E WITH ACUTE}"}, "Ok": {"BOOL": True}}) == 9
    assert dynamodb_size({"N": {"N": "123"}}) == 1 + 2 + 2


def test_an_answer_that_would_not_fit_keeps_the_largest_faces_whole_and_says_how_many() -> None:
    faces = tuple({"Number": index, "Text": "x" * 99_000} for index in range(6))
    item = build(Analysis("face_detected", faces))
    assert [face["Number"] for face in json.loads(item["FaceDetails"]["S"])] == [0, 1, 2, 3]
    assert item["FaceDetailsKept"] == {"N": "4"}
    assert item["FaceCount"] == {"N": "6"}
    assert dynamodb_size(item) < MAX_ITEM_BYTES


def face_of(length: int) -> dict[str, str]:
    """A face of `length` bytes of JSON."""
    return {"T": "x" * (length - len('{"T":""}'))}


def test_faces_of_exactly_the_room_there_is_are_kept() -> None:
    # One face, its brackets, and the comma reckoned for each face.
    details, kept = record.face_details([face_of(record.MAX_FACE_DETAILS_BYTES - 3)])
    assert (kept, len(details)) == (1, record.MAX_FACE_DETAILS_BYTES - 1)


def test_a_face_one_byte_larger_than_the_room_there_is_is_left_out() -> None:
    assert record.face_details([face_of(record.MAX_FACE_DETAILS_BYTES - 2)]) == ("[]", 0)


def test_the_room_beside_the_faces_holds_the_longest_of_everything_else() -> None:
    created = event_for(
        "x" * 1_024, etag="e" * 38, sequencer="0" * 64, size=15_728_640, **{"version-id": "v" * 1_024}
    )
    created["detail"]["bucket"]["name"] = "b" * 63
    # The longest ARN Step Functions makes: 80 characters each for the machine's and the execution's name.
    arn = "arn:aws-us-gov:states:us-gov-west-1:111122223333:express:" + ":".join(
        ["x" * 80, "y" * 80, "z" * 36]
    )
    item = build(rejected("unsupported_format", "x" * 200), created, retention_days=1, execution_id=arn) | {
        "NotifiedAt": {"S": "2026-11-12T13:14:15.678Z"}
    }
    assert dynamodb_size(item) + record.MAX_FACE_DETAILS_BYTES + len("FaceDetailsFaceDetailsKept") + 4 < (
        MAX_ITEM_BYTES
    )


def stored(pipeline: Pipeline, execution: str, owners: list[str], **changes: Any) -> bool:
    item = build(Analysis("no_face"), event("object_created"), execution_id=execution) | changes
    return record.write(item, owners, dynamodb=pipeline.dynamodb, table=TABLE)


def test_an_image_without_a_record_may_be_written(pipeline: Pipeline) -> None:
    assert stored(pipeline, "me", ["me"])
    assert pipeline.record(event("object_created"))["ExecutionId"] == {"S": "me"}


def test_an_owner_may_write_again(pipeline: Pipeline) -> None:
    stored(pipeline, "me", ["me"])
    assert stored(pipeline, "me", ["me"], Outcome={"S": "face_detected"})
    assert pipeline.record(event("object_created"))["Outcome"] == {"S": "face_detected"}


def test_another_execution_may_not_write_and_changes_nothing(pipeline: Pipeline) -> None:
    stored(pipeline, "owner", ["owner"])
    before = pipeline.record(event("object_created"))
    assert not stored(pipeline, "other", ["other"], Outcome={"S": "face_detected"})
    assert pipeline.record(event("object_created")) == before


def test_an_execution_that_takes_over_from_the_owner_may_write(pipeline: Pipeline) -> None:
    stored(pipeline, "owner", ["owner"])
    assert stored(pipeline, "other", ["other", "unrelated", "owner"])
    assert pipeline.record(event("object_created"))["ExecutionId"] == {"S": "other"}


def test_100_owners_are_taken_as_many_as_dynamodb_compares(pipeline: Pipeline) -> None:
    stored(pipeline, "owner-99", ["owner-99"])
    assert stored(pipeline, "me", [f"owner-{number}" for number in range(100)])


def test_a_write_that_is_refused_for_any_other_reason_is_an_error(pipeline: Pipeline) -> None:
    with Stubber(pipeline.dynamodb) as dynamodb:
        dynamodb.add_client_error("put_item", "ProvisionedThroughputExceededException")
        with pytest.raises(ClientError) as caught:
            stored(pipeline, "me", ["me"])
    assert type(caught.value).__name__ == "ProvisionedThroughputExceededException"


def test_an_image_is_read_consistently_so_a_write_just_answered_is_seen(pipeline: Pipeline) -> None:
    item = build(Analysis("no_face"))
    with Stubber(pipeline.dynamodb) as dynamodb:
        expected = {"TableName": TABLE, "Key": {"ImageID": {"S": "a@1"}}, "ConsistentRead": True}
        dynamodb.add_response("get_item", {"Item": item}, expected)
        assert record.read("a@1", dynamodb=pipeline.dynamodb, table=TABLE) == item


def test_reading_an_image_that_was_never_recorded_returns_none(pipeline: Pipeline) -> None:
    assert record.read("a@1", dynamodb=pipeline.dynamodb, table=TABLE) is None


@pytest.mark.parametrize("key", odd_keys(), ids=short)
def test_an_odd_key_comes_back_from_the_table_exactly(pipeline: Pipeline, key: str) -> None:
    created = event_for(key)
    item = build(Analysis("no_face"), created)
    assert record.write(item, ["execution-1"], dynamodb=pipeline.dynamodb, table=TABLE)
    assert pipeline.record(created) == item
    assert item["Key"] == {"S": key}
