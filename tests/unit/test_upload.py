"""What is read from an S3 event, and the error for an invalid one."""

from __future__ import annotations

from typing import Any

import pytest

from process_image.upload import InvalidEventError, Upload
from tests.unit.pipeline import event, event_for, odd_keys, short


def test_every_field_of_an_event_is_read() -> None:
    assert Upload.from_event(event("object_created")) == Upload(
        bucket="photo-analysis-dev-uploads-111122223333",
        key="photos/2026/anna.jpg",
        etag="b1946ac92492d2347c6235b4d2611184",
        size=184_218,
        version_id="IYV3p45BT0ac8hjHg1houSdS1a.Mro8e",
        sequencer="00617F08299329D189",
    )


def test_an_event_without_a_version_is_accepted() -> None:
    assert Upload.from_event(event("object_created_without_version_id")).version_id is None


def test_an_empty_version_means_none() -> None:
    assert Upload.from_event(event_for("a.jpg", **{"version-id": ""})).version_id is None


def test_a_multipart_etag_is_accepted_as_it_is() -> None:
    upload = Upload.from_event(event("object_created_multipart"))
    assert upload.image_id == "photos/2026/panorama.png@d41d8cd98f00b204e9800998ecf8427e-12"


def test_unknown_fields_change_nothing() -> None:
    assert Upload.from_event(event("object_created_unknown_fields")) == Upload.from_event(
        event("object_created")
    )


def test_a_quoted_etag_of_a_listing_makes_the_same_image_as_the_events() -> None:
    listed = event_for("a.jpg", etag='"b1946ac92492d2347c6235b4d2611184"')
    assert Upload.from_event(listed).image_id == Upload.from_event(event_for("a.jpg")).image_id


@pytest.mark.parametrize("key", odd_keys(), ids=short)
def test_a_key_is_taken_exactly_as_it_is(key: str) -> None:
    upload = Upload.from_event(event_for(key))
    assert upload.key == key
    assert upload.image_id == f"{key}@{upload.etag}"


def test_two_uploads_under_one_key_are_two_images() -> None:
    first, second = event_for("a.jpg", etag="1" * 32), event_for("a.jpg", etag="2" * 32)
    assert Upload.from_event(first).image_id != Upload.from_event(second).image_id


def test_the_longest_image_id_fits_a_partition_key() -> None:
    upload = Upload.from_event(event_for("x" * 1024, etag="d41d8cd98f00b204e9800998ecf8427e-10000"))
    assert len(upload.image_id.encode()) == 1_063 <= 2_048


@pytest.mark.parametrize(
    ("name", "field"),
    [
        ("object_created_without_bucket", "detail.bucket"),
        ("object_created_without_object", "detail.object"),
        ("object_created_without_bucket_name", "detail.bucket.name"),
        ("object_created_without_key", "detail.object.key"),
        ("object_created_without_etag", "detail.object.etag"),
        ("not_an_s3_event", "detail.bucket"),
        ("s3_test_event", "detail"),
    ],
)
@pytest.mark.proves("not-an-event")
def test_an_unusable_event_is_refused_naming_the_field(name: str, field: str) -> None:
    with pytest.raises(InvalidEventError, match=f"'{field}'"):
        Upload.from_event(event(name))


@pytest.mark.parametrize(
    ("stored", "field"),
    [
        ({"key": ""}, "detail.object.key"),
        ({"key": 7}, "detail.object.key"),
        ({"etag": ""}, "detail.object.etag"),
        ({"etag": '""'}, "detail.object.etag"),
        ({"etag": None}, "detail.object.etag"),
        ({"size": -1}, "detail.object.size"),
        ({"size": "12"}, "detail.object.size"),
        ({"size": 1.5}, "detail.object.size"),
        ({"size": True}, "detail.object.size"),
        ({"version-id": 3}, "detail.object.version-id"),
        ({"sequencer": ["1"]}, "detail.object.sequencer"),
    ],
    ids=str,
)
def test_a_field_of_the_wrong_type_is_refused_naming_it(stored: dict[str, Any], field: str) -> None:
    with pytest.raises(InvalidEventError, match=field):
        Upload.from_event(event_for("a.jpg") | {"detail": _detail(stored)})


def _detail(stored: dict[str, Any]) -> dict[str, Any]:
    detail: dict[str, Any] = event_for("a.jpg")["detail"]
    return detail | {"object": detail["object"] | stored}


@pytest.mark.parametrize("nothing", [None, [], "event", 1, {}, {"detail": "text"}], ids=repr)
@pytest.mark.proves("not-an-event")
def test_what_is_not_an_event_at_all_is_refused(nothing: object) -> None:
    with pytest.raises(InvalidEventError, match=r"'detail(\.bucket)?'"):
        Upload.from_event(nothing)
