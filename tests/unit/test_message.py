"""The texts of a notification, by email, SMS and for machines."""

from __future__ import annotations

import json
from typing import get_args

import pytest

from process_image.outcomes import Outcome
from send_notification.message import (
    _HEADLINES,
    MAX_SMS_UNITS,
    Message,
    compose,
    key_prefix,
    printable,
    shortened,
)
from tests.unit.messages import sms_units, summary
from tests.unit.pipeline import odd_keys, short


def test_an_email_about_a_face_is_a_sentence_with_count_bucket_and_time() -> None:
    message = compose(summary())
    assert message.subject == "Face detected in image: photos/anna.jpg"
    assert message.bodies["email"] == (
        "Face detected in image: photos/anna.jpg\n"
        "Faces: 2\n"
        "Bucket: photo-analysis-test-uploads\n"
        "Time: 2026-11-12T13:14:15.678Z"
    )


def test_an_email_about_no_face_says_so() -> None:
    email = compose(summary(outcome="no_face", face_count=0)).bodies["email"]
    assert email.splitlines()[0] == "No face detected in image: photos/anna.jpg"
    assert "Faces:" not in email


def test_every_outcome_has_a_headline() -> None:
    assert set(_HEADLINES) == set(get_args(Outcome))


@pytest.mark.parametrize(
    ("detail", "text"),
    [("60 x 60 pixels; at least 80 x 80 are needed",) * 2, (None, "too_small")],
    ids=["with a detail", "by a ProcessImage that was rolled back"],
)
def test_an_email_about_a_rejected_photo_says_why(detail: str | None, text: str) -> None:
    rejected = summary(outcome="rejected", reason="too_small", detail=detail, face_count=0)
    email = compose(rejected).bodies["email"]
    assert email.splitlines()[:2] == ["Image could not be analysed: photos/anna.jpg", f"Reason: {text}"]


def test_an_sms_is_the_headline_alone() -> None:
    assert compose(summary()).bodies["sms"] == "Face detected in image: photos/anna.jpg"


def test_a_machine_gets_every_fact_there_is_and_none_that_is_not() -> None:
    facts = json.loads(compose(summary()).bodies["default"])
    left_out = {"duplicate", "notify", "execution_id", "reason", "detail"}
    assert facts == {name: value for name, value in summary().items() if name not in left_out}


def test_filter_policies_see_outcome_count_and_prefix() -> None:
    assert compose(summary()).attributes == {
        "outcome": {"DataType": "String", "StringValue": "face_detected"},
        "face_count": {"DataType": "Number", "StringValue": "2"},
        "key_prefix": {"DataType": "String", "StringValue": "photos/"},
    }


@pytest.mark.parametrize(
    ("key", "prefix"),
    [("a/b/c.jpg", "a/b/"), ("c.jpg", "/"), ("/c.jpg", "/"), ("a//b", "a//"), ("a\nb/c", "a\ufffdb/")],
)
def test_a_key_prefix_ends_at_the_last_slash_and_is_never_empty(key: str, prefix: str) -> None:
    assert key_prefix(key) == prefix


@pytest.mark.parametrize("key", odd_keys(), ids=short)
def test_an_odd_key_reaches_a_machine_exactly(key: str) -> None:
    assert json.loads(compose(summary(key=key)).bodies["default"])["key"] == key


@pytest.mark.parametrize("key", odd_keys(), ids=short)
@pytest.mark.proves("odd-subject")
def test_an_odd_key_makes_a_subject_sns_takes(key: str) -> None:
    subject = compose(summary(key=key)).subject
    assert subject.startswith("Face detected in image: ")
    assert subject.isascii()
    assert subject.isprintable()
    assert len(subject) < 100


@pytest.mark.parametrize("key", odd_keys(), ids=short)
def test_an_odd_key_makes_an_sms_of_two_parts_at_most(key: str) -> None:
    assert sms_units(compose(summary(key=key)).bodies["sms"]) <= MAX_SMS_UNITS <= 134


@pytest.mark.parametrize("key", odd_keys(), ids=short)
def test_an_odd_key_leaves_an_email_its_lines(key: str) -> None:
    email = compose(summary(key=key)).bodies["email"]
    assert [line.split(":")[0] for line in email.splitlines()] == [
        "Face detected in image",
        "Faces",
        "Bucket",
        "Time",
    ]


def test_a_long_key_keeps_its_end_which_names_the_file() -> None:
    message = compose(summary(key="photos/" + "x" * 500 + "/anna.jpg"))
    for text in (message.subject, message.bodies["sms"]):
        assert text.startswith("Face detected in image: photos/x")
        assert text.endswith("x/anna.jpg")
        assert "..." in text


def test_a_long_key_is_whole_in_an_email() -> None:
    key = "x" * 1_024
    assert key in compose(summary(key=key)).bodies["email"]


@pytest.mark.parametrize("length", [98, 99, 100, 101])
def test_a_text_is_shortened_only_beyond_the_limit(length: int) -> None:
    text = "x" * length
    short = shortened(text, 99)
    assert (short == text) is (length <= 99)
    assert len(short) <= 99


@pytest.mark.parametrize("padding", range(4))
def test_an_emoji_is_not_cut_in_two(padding: int) -> None:
    short = shortened("x" * padding + "\N{CAMERA}\N{GRINNING FACE}" * 100 + "x" * padding, 99)
    assert short.replace("\N{CAMERA}", "").replace("\N{GRINNING FACE}", "").replace("x", "") == "..."
    assert sms_units(short) <= 99


@pytest.mark.parametrize(
    "char",
    ["\x00", "\n", "\r", "\t", "\x1b", "\x7f", "\x85", "\u2028", "\u2029", "\ud800", "\ufffe", "\U0001fffe"],
    ids=ascii,
)
def test_what_cannot_be_printed_is_replaced(char: str) -> None:
    assert printable(f"a{char}b") == "a\N{REPLACEMENT CHARACTER}b"


@pytest.mark.parametrize("text", ["photos/anna.jpg", "日本語", "\N{CAMERA}", "é", "\u0627", "a b", "<&>"])
def test_what_can_be_printed_stays(text: str) -> None:
    assert printable(text) == text


@pytest.mark.parametrize("field", ["outcome", "key", "bucket", "timestamp", "face_count"])
def test_a_summary_that_lacks_a_field_is_refused_naming_it(field: str) -> None:
    incomplete = summary()
    del incomplete[field]
    with pytest.raises(KeyError, match=field):
        compose(incomplete)


def test_an_unknown_outcome_is_refused_naming_it() -> None:
    with pytest.raises(KeyError, match="blurred"):
        compose(summary(outcome="blurred"))


def test_a_message_to_everybody_has_a_text_for_those_not_named() -> None:
    message = compose(summary())
    assert isinstance(message, Message)
    assert set(message.bodies) == {"default", "email", "sms"}
