"""One record an image, one owner a record, and no analysis paid twice."""

from __future__ import annotations

import json
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest
from botocore.exceptions import ClientError
from botocore.stub import Stubber

from process_image.outcomes import REASONS
from process_image.process import MAX_TAKEN_OVER
from process_image.upload import InvalidEventError
from tests.unit.pipeline import BUCKET, NOW, event, event_for, full_face, odd_keys, short

if TYPE_CHECKING:
    from tests.unit.pipeline import Pipeline

FACE = {"Confidence": 99.5, "BoundingBox": {"Width": 0.25, "Height": 0.5, "Left": 0.1, "Top": 0.2}}


def redriven(event: dict[str, Any], *executions: str, **extra: Any) -> dict[str, Any]:
    return event | {"redriven_from": list(executions)} | extra


def test_the_summary_has_everything_but_the_faces(pipeline: Pipeline) -> None:
    pipeline.rekognition.finds(FACE)
    created = pipeline.upload()
    stored = created["detail"]["object"]
    assert pipeline.process(created) == {
        "duplicate": False,
        "notify": True,
        "execution_id": "execution-1",
        "image_id": f"photos/anna.jpg@{stored['etag']}",
        "bucket": BUCKET,
        "key": "photos/anna.jpg",
        "version_id": stored["version-id"],
        "outcome": "face_detected",
        "reason": None,
        "detail": None,
        "face_count": 1,
        "timestamp": "2026-11-12T13:14:15.678Z",
    }


def test_an_image_is_recorded_as_what_the_summary_says(pipeline: Pipeline) -> None:
    pipeline.rekognition.finds(FACE)
    created = pipeline.upload()
    summary = pipeline.process(created)
    item = pipeline.record(created)
    assert item["Outcome"] == {"S": summary["outcome"]}
    assert item["Timestamp"] == {"S": summary["timestamp"]}
    assert json.loads(item["FaceDetails"]["S"]) == [FACE]
    assert item["ExecutionId"] == {"S": "execution-1"}


def test_a_rejected_photo_is_recorded_and_notified_with_its_reason(pipeline: Pipeline) -> None:
    pipeline.rekognition.refuses("InvalidImageFormatException")
    created = pipeline.upload()
    summary = pipeline.process(created)
    assert (summary["outcome"], summary["reason"], summary["face_count"]) == (
        "rejected",
        "unsupported_format",
        0,
    )
    item = pipeline.record(created)
    assert item["Reason"] == {"S": "unsupported_format"}
    assert item["Detail"] == {"S": summary["detail"]}


def test_the_settings_reach_rekognition_and_the_record(pipeline: Pipeline) -> None:
    pipeline.configure(attributes=["DEFAULT", "SMILE"], min_confidence=99.9, retention_days=7)
    pipeline.rekognition.finds(FACE)
    created = pipeline.upload()
    assert pipeline.process(created)["outcome"] == "no_face"
    assert pipeline.rekognition.calls[0]["Attributes"] == ["DEFAULT", "SMILE"]
    assert pipeline.record(created)["ExpiresAt"] == {"N": str(int((NOW + timedelta(days=7)).timestamp()))}


def test_an_image_recorded_by_another_execution_is_a_duplicate_and_is_not_analysed(
    pipeline: Pipeline,
) -> None:
    pipeline.rekognition.finds(FACE)
    created = pipeline.upload()
    first = pipeline.process(created, "execution-1")
    before = pipeline.record(created)
    assert pipeline.process(created, "execution-2") == {
        "duplicate": True,
        "notify": False,
        "image_id": first["image_id"],
        "bucket": BUCKET,
        "key": "photos/anna.jpg",
    }
    assert len(pipeline.rekognition.calls) == 1
    assert pipeline.record(created) == before


@pytest.mark.proves("same-event")
def test_of_two_executions_at_once_one_owns_the_image_and_the_other_is_a_duplicate(
    pipeline: Pipeline,
) -> None:
    created = pipeline.upload()
    pipeline.rekognition.finds(FACE)
    pipeline.rekognition.finds(FACE)
    answers: list[dict[str, Any]] = []
    # Both have read that there is no record before either writes one.
    pipeline.rekognition.during_call = lambda: answers.append(pipeline.process(created, "quick"))
    slow = pipeline.process(created, "slow")
    assert answers[0]["duplicate"] is False
    assert slow["duplicate"] is True
    assert [item["ExecutionId"] for item in pipeline.records()] == [{"S": "quick"}]


@pytest.mark.proves("older-event")
def test_a_late_event_of_an_older_upload_keeps_a_separate_record(pipeline: Pipeline) -> None:
    older, newer = pipeline.upload("a.jpg", b"old"), pipeline.upload("a.jpg", b"new")
    pipeline.rekognition.finds()
    pipeline.rekognition.finds(FACE)
    assert pipeline.process(newer, "execution-1")["duplicate"] is False
    assert pipeline.process(older, "execution-2")["duplicate"] is False
    assert pipeline.record(newer)["Outcome"] == {"S": "no_face"}
    assert pipeline.record(older)["Outcome"] == {"S": "face_detected"}
    assert len(pipeline.records()) == 2


def test_a_retry_in_the_same_execution_returns_the_record_again_without_calling_rekognition(
    pipeline: Pipeline,
) -> None:
    pipeline.rekognition.finds(FACE)
    created = pipeline.upload()
    first = pipeline.process(created, "execution-1")
    before = pipeline.record(created)
    assert pipeline.process(created, "execution-1", NOW + timedelta(minutes=1)) == first
    assert len(pipeline.rekognition.calls) == 1
    assert pipeline.record(created) == before


def test_a_retry_in_the_same_execution_writes_nothing(pipeline: Pipeline) -> None:
    pipeline.rekognition.finds()
    created = pipeline.upload()
    pipeline.process(created)
    item = pipeline.record(created)
    with Stubber(pipeline.dynamodb) as dynamodb:
        dynamodb.add_response("get_item", {"Item": item})
        assert pipeline.process(created)["duplicate"] is False


def test_a_write_whose_response_was_lost_is_returned_by_the_retry(pipeline: Pipeline) -> None:
    pipeline.rekognition.finds(FACE)
    created = pipeline.upload()

    def lose_answer(**_: object) -> None:
        raise ConnectionError("the answer was lost")

    events = pipeline.dynamodb.meta.events
    events.register("after-call.dynamodb.PutItem", lose_answer)
    with pytest.raises(ConnectionError):
        pipeline.process(created)
    events.unregister("after-call.dynamodb.PutItem", lose_answer)
    assert pipeline.process(created)["duplicate"] is False
    assert len(pipeline.rekognition.calls) == 1


@pytest.mark.proves("table-refuses")
def test_a_table_that_refuses_after_the_analysis_leaves_no_record_and_the_retry_makes_one(
    pipeline: Pipeline,
) -> None:
    created = pipeline.upload()
    pipeline.rekognition.finds(FACE)
    pipeline.rekognition.finds(FACE)
    with Stubber(pipeline.dynamodb) as dynamodb:
        dynamodb.add_response("get_item", {})
        dynamodb.add_client_error("put_item", "InternalServerError")
        with pytest.raises(ClientError, match="InternalServerError"):
            pipeline.process(created)
    assert pipeline.records() == []
    assert pipeline.process(created)["duplicate"] is False
    assert len(pipeline.records()) == 1


def test_throttling_leaves_no_record_and_the_retry_makes_one(pipeline: Pipeline) -> None:
    created = pipeline.upload()
    pipeline.rekognition.refuses("ThrottlingException")
    pipeline.rekognition.finds()
    with pytest.raises(pipeline.rekognition.client.exceptions.ThrottlingException):
        pipeline.process(created)
    assert pipeline.records() == []
    assert pipeline.process(created)["outcome"] == "no_face"


def test_a_table_that_cannot_be_read_costs_no_analysis(pipeline: Pipeline) -> None:
    with Stubber(pipeline.dynamodb) as dynamodb:
        dynamodb.add_client_error("get_item", "ThrottlingException")
        with pytest.raises(ClientError, match="ThrottlingException"):
            pipeline.process(pipeline.upload())
    assert pipeline.rekognition.calls == []


def test_a_redrive_takes_the_record_over_as_it_is_without_calling_rekognition(pipeline: Pipeline) -> None:
    pipeline.configure(retention_days=7)
    pipeline.rekognition.finds(FACE)
    created = pipeline.upload()
    first = pipeline.process(created, "parked")
    before = pipeline.record(created)
    later = NOW + timedelta(days=3)
    assert pipeline.process(redriven(created, "parked"), "redrive", later) == first | {
        "execution_id": "redrive"
    }
    assert pipeline.record(created) == before | {"ExecutionId": {"S": "redrive"}}
    assert len(pipeline.rekognition.calls) == 1


def test_a_redrive_of_an_image_never_recorded_analyses_it(pipeline: Pipeline) -> None:
    pipeline.rekognition.finds(FACE)
    created = pipeline.upload()
    assert pipeline.process(redriven(created, "parked"), "redrive")["outcome"] == "face_detected"
    assert pipeline.record(created)["ExecutionId"] == {"S": "redrive"}


@pytest.mark.proves("redrive-twice")
def test_redriving_twice_is_a_duplicate_the_second_time(pipeline: Pipeline) -> None:
    pipeline.rekognition.finds(FACE)
    created = pipeline.upload()
    pipeline.process(created, "parked")
    assert pipeline.process(redriven(created, "parked"), "redrive-1")["duplicate"] is False
    assert pipeline.process(redriven(created, "parked"), "redrive-2")["duplicate"] is True
    assert pipeline.record(created)["ExecutionId"] == {"S": "redrive-1"}
    assert len(pipeline.rekognition.calls) == 1


def test_redriving_twice_at_once_is_a_duplicate_for_the_one_that_writes_last(pipeline: Pipeline) -> None:
    pipeline.rekognition.finds(FACE)
    created = pipeline.upload()
    pipeline.process(created, "parked")
    answers: list[dict[str, Any]] = []

    def take_over_first(**_: object) -> None:
        events.unregister("before-parameter-build.dynamodb.PutItem", take_over_first)
        answers.append(pipeline.process(redriven(created, "parked"), "quick"))

    events = pipeline.dynamodb.meta.events
    events.register("before-parameter-build.dynamodb.PutItem", take_over_first)
    assert pipeline.process(redriven(created, "parked"), "slow")["duplicate"] is True
    assert answers[0]["duplicate"] is False
    assert pipeline.record(created)["ExecutionId"] == {"S": "quick"}


def test_a_redrive_of_a_redrive_takes_over_from_any_execution_of_the_chain(pipeline: Pipeline) -> None:
    for owner in ("first", "second"):
        pipeline.rekognition.finds(FACE)
        created = pipeline.upload(f"{owner}.jpg")
        pipeline.process(created, owner)
        assert pipeline.process(redriven(created, "first", "second"), "third")["duplicate"] is False
        assert pipeline.record(created)["ExecutionId"] == {"S": "third"}


def test_a_redrive_after_its_own_write_is_the_owner_on_a_retry(pipeline: Pipeline) -> None:
    pipeline.rekognition.finds(FACE)
    created = pipeline.upload()
    pipeline.process(created, "parked")
    again = redriven(created, "parked")
    assert pipeline.process(again, "redrive") == pipeline.process(again, "redrive")
    assert len(pipeline.rekognition.calls) == 1


def test_a_redrive_from_an_execution_that_is_not_the_owner_is_a_duplicate(pipeline: Pipeline) -> None:
    pipeline.rekognition.finds(FACE)
    created = pipeline.upload()
    pipeline.process(created, "owner")
    assert pipeline.process(redriven(created, "stranger"), "redrive")["duplicate"] is True
    assert pipeline.record(created)["ExecutionId"] == {"S": "owner"}


@pytest.mark.parametrize("place", [-1, -MAX_TAKEN_OVER])
def test_a_chain_longer_than_dynamodb_compares_keeps_its_newest_executions(
    pipeline: Pipeline, place: int
) -> None:
    pipeline.rekognition.finds(FACE)
    created = pipeline.upload()
    chain = [f"execution-{number}" for number in range(150)]
    pipeline.process(created, chain[place])
    assert pipeline.process(redriven(created, *chain), "redrive")["duplicate"] is False


@pytest.mark.parametrize("value", ["execution-1", None, {}, [1], [["execution-1"]]], ids=repr)
def test_a_chain_that_is_no_list_of_executions_is_refused(pipeline: Pipeline, value: object) -> None:
    with pytest.raises(InvalidEventError, match="redriven_from"):
        pipeline.process(pipeline.upload() | {"redriven_from": value})
    assert pipeline.rekognition.calls == []


def test_an_empty_chain_is_no_redrive(pipeline: Pipeline) -> None:
    pipeline.rekognition.finds()
    assert pipeline.process(redriven(pipeline.upload()))["duplicate"] is False


def test_an_owner_that_reanalyses_calls_rekognition_again_and_replaces_the_record(
    pipeline: Pipeline,
) -> None:
    created = pipeline.upload()
    pipeline.rekognition.finds()
    pipeline.rekognition.finds(FACE)
    pipeline.process(created, "old")
    later = NOW + timedelta(days=1)
    again = pipeline.process(redriven(created, "old", reanalyse=True), "new", later)
    assert (again["outcome"], again["timestamp"]) == ("face_detected", "2026-11-13T13:14:15.678Z")
    item = pipeline.record(created)
    assert (item["FaceCount"], item["ExecutionId"]) == ({"N": "1"}, {"S": "new"})
    assert len(pipeline.records()) == 1


def test_reanalysing_another_executions_image_is_a_duplicate_and_is_not_analysed(
    pipeline: Pipeline,
) -> None:
    created = pipeline.upload()
    pipeline.rekognition.finds()
    pipeline.process(created, "owner")
    assert pipeline.process(created | {"reanalyse": True}, "other")["duplicate"] is True
    assert len(pipeline.rekognition.calls) == 1


@pytest.mark.parametrize(("notify", "due"), [(None, True), (True, True), (False, False)])
def test_a_record_says_whether_a_notification_is_due(
    pipeline: Pipeline, notify: bool | None, due: bool
) -> None:
    pipeline.rekognition.finds()
    created = pipeline.upload() | ({} if notify is None else {"notify": notify})
    assert pipeline.process(created)["notify"] is due
    assert pipeline.record(created)["NotificationDue"] == {"BOOL": due}


def notified(pipeline: Pipeline, created: dict[str, Any]) -> None:
    """Mark the record as SendNotification does."""
    item = pipeline.record(created) | {"NotifiedAt": {"S": "2026-11-12T13:14:16.000Z"}}
    pipeline.dynamodb.put_item(TableName=pipeline.settings.table, Item=item)


def test_a_redrive_of_an_image_whose_notification_was_sent_sends_no_other(pipeline: Pipeline) -> None:
    pipeline.rekognition.finds(FACE)
    created = pipeline.upload()
    pipeline.process(created, "parked")
    notified(pipeline, created)
    assert pipeline.process(redriven(created, "parked"), "redrive")["notify"] is False
    assert pipeline.record(created)["NotifiedAt"] == {"S": "2026-11-12T13:14:16.000Z"}


def test_an_image_analysed_again_is_notified_again(pipeline: Pipeline) -> None:
    pipeline.rekognition.finds(FACE)
    pipeline.rekognition.finds()
    created = pipeline.upload()
    pipeline.process(created, "old")
    notified(pipeline, created)
    assert pipeline.process(redriven(created, "old", reanalyse=True), "new")["notify"] is True
    assert "NotifiedAt" not in pipeline.record(created)


def test_a_record_from_before_marks_and_details_is_notified_with_its_reason(pipeline: Pipeline) -> None:
    created = event("object_created_empty")
    pipeline.process(created, "parked")
    old = pipeline.record(created)
    del old["NotificationDue"], old["Detail"]
    pipeline.dynamodb.put_item(TableName=pipeline.settings.table, Item=old)
    summary = pipeline.process(redriven(created, "parked"), "redrive")
    assert (summary["notify"], summary["detail"]) == (True, REASONS["empty"])
    assert pipeline.record(created)["NotificationDue"] == {"BOOL": True}


@pytest.mark.proves("folder-marker")
def test_a_folder_marker_is_neither_recorded_nor_notified_and_costs_no_call(pipeline: Pipeline) -> None:
    with Stubber(pipeline.dynamodb):
        answer = pipeline.process(event_for("photos/2026/", size=0))
    assert answer == {"ignored": "folder_marker", "duplicate": False, "notify": False}
    assert pipeline.rekognition.calls == []


@pytest.mark.parametrize("size", [1, None])
def test_a_photo_at_a_key_that_ends_like_a_folder_is_analysed(pipeline: Pipeline, size: int | None) -> None:
    pipeline.rekognition.finds(FACE)
    assert pipeline.process(event_for("photos/2026/", size=size))["outcome"] == "face_detected"


def test_a_malformed_event_causes_no_calls(pipeline: Pipeline) -> None:
    with Stubber(pipeline.dynamodb), pytest.raises(InvalidEventError, match=r"'detail\.object\.key'"):
        pipeline.process(event("object_created_without_key"))
    assert pipeline.rekognition.calls == []


@pytest.mark.parametrize(
    "name",
    [
        "object_created",
        "object_created_without_version_id",
        "object_created_unknown_fields",
        "object_created_odd_key",
    ],
)
@pytest.mark.proves("odd-event")
def test_every_shape_of_event_becomes_a_record(pipeline: Pipeline, name: str) -> None:
    pipeline.rekognition.finds(FACE)
    created = event(name)
    assert pipeline.process(created)["key"] == created["detail"]["object"]["key"]
    assert pipeline.record(created)["Key"] == {"S": created["detail"]["object"]["key"]}


def test_a_multipart_upload_over_15_mb_is_recorded_as_too_large(pipeline: Pipeline) -> None:
    created = event("object_created_multipart")
    assert pipeline.process(created)["reason"] == "too_large"
    assert pipeline.record(created)["ETag"] == {"S": "d41d8cd98f00b204e9800998ecf8427e-12"}


def test_a_duplicate_of_a_rejected_photo_is_a_duplicate(pipeline: Pipeline) -> None:
    created = event("object_created_empty")
    assert pipeline.process(created, "execution-1")["reason"] == "empty"
    assert pipeline.process(created, "execution-2")["duplicate"] is True


@pytest.mark.parametrize("key", odd_keys(), ids=short)
def test_an_odd_key_is_analysed_recorded_and_returned_exactly(pipeline: Pipeline, key: str) -> None:
    pipeline.rekognition.finds(FACE)
    created = event_for(key)
    assert pipeline.process(created)["key"] == key
    assert pipeline.rekognition.calls[0]["Image"]["S3Object"]["Name"] == key
    assert pipeline.record(created)["Key"] == {"S": key}


@pytest.mark.proves("many-faces")
def test_100_faces_with_every_attribute_are_recorded_and_only_a_summary_travels(pipeline: Pipeline) -> None:
    pipeline.rekognition.finds(*(full_face() for _ in range(100)))
    # Control characters grow most in JSON.
    created = event_for("\x01" * 1_024, **{"version-id": "v" * 1_024})
    summary = pipeline.process(created)
    assert summary["face_count"] == 100
    assert len(json.loads(pipeline.record(created)["FaceDetails"]["S"])) == 100
    assert len(json.dumps(summary)) < 16_384 < 262_144


def test_a_record_that_expired_is_made_again(pipeline: Pipeline) -> None:
    created = pipeline.upload()
    pipeline.rekognition.finds()
    pipeline.rekognition.finds()
    pipeline.process(created, "old")
    image_id = pipeline.record(created)["ImageID"]["S"]
    pipeline.dynamodb.delete_item(TableName=pipeline.settings.table, Key={"ImageID": {"S": image_id}})
    assert pipeline.process(created, "new")["duplicate"] is False
