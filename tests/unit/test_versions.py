"""Deleting versions of objects whatever their keys hold."""

from __future__ import annotations

from typing import Any

import boto3
import pytest
from botocore.stub import Stubber

from operations import versions


@pytest.fixture
def s3() -> Any:
    return boto3.client("s3", region_name="us-east-1", aws_access_key_id="a", aws_secret_access_key="b")


def test_versions_whose_key_xml_cannot_hold_are_deleted_one_by_one(s3: Any) -> None:
    odd, plain = ("a\x0bb.jpg", "1"), ("line\nbreak.jpg", "2")
    with Stubber(s3) as stubbed:
        stubbed.add_response("delete_object", {}, {"Bucket": "b", "Key": odd[0], "VersionId": odd[1]})
        asked = {"Objects": [{"Key": plain[0], "VersionId": plain[1]}], "Quiet": True}
        stubbed.add_response("delete_objects", {}, {"Bucket": "b", "Delete": asked})
        assert versions.delete(s3, "b", [odd, plain]) == []
        stubbed.assert_no_pending_responses()


def test_what_s3_keeps_is_returned(s3: Any) -> None:
    error = {"Key": "a", "VersionId": "1", "Code": "AccessDenied", "Message": "no"}
    with Stubber(s3) as stubbed:
        stubbed.add_response("delete_objects", {"Errors": [error]})
        assert versions.delete(s3, "b", [("a", "1"), ("b", "2")]) == [error]


def test_nothing_is_asked_where_there_is_nothing_to_delete(s3: Any) -> None:
    with Stubber(s3):
        assert versions.delete(s3, "b", []) == []
