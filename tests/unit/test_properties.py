"""Laws that hold for every key, event and answer there can be."""

from __future__ import annotations

import json
import math
import re
import string
from typing import TYPE_CHECKING, Any
from xml.etree import ElementTree
from xml.sax.saxutils import escape

import pytest
from hypothesis import HealthCheck, assume, example, given, settings
from hypothesis import strategies as st
from jsonata import Jsonata

from process_image import record
from process_image.analysis import Analysis
from process_image.upload import InvalidEventError, Upload
from send_notification.message import MAX_SMS_UNITS, compose, shortened
from tests.definition import pipeline as definition
from tests.unit.messages import sms_units, summary
from tests.unit.pipeline import NOW, TABLE, dynamodb_size, event_for, face_shape, odd_keys

if TYPE_CHECKING:
    from tests.unit.pipeline import Pipeline

MAX_KEY_BYTES = 1_024
# https://docs.aws.amazon.com/sns/latest/api/API_Publish.html and Constraints.html of the DynamoDB guide
MAX_SNS_BYTES = 262_144
MAX_ITEM_BYTES = 409_600

# The account of a `pipeline` outlives an example; every law here holds in an account with a past.
with_a_past = settings(suppress_health_check=[HealthCheck.function_scoped_fixture])


def up_to_the_limit(text: str) -> str:
    """The text again and again, up to the bytes a key may have."""
    return text * (MAX_KEY_BYTES // len(text.encode()))


fitting = st.text(min_size=1, max_size=MAX_KEY_BYTES).filter(lambda key: len(key.encode()) <= MAX_KEY_BYTES)
keys = fitting | fitting.map(up_to_the_limit) | st.sampled_from(odd_keys())

etags = st.from_regex(r"\A[0-9a-f]{32}(-[1-9][0-9]{0,3})?\Z")
numbers = st.integers(-(10**6), 10**6) | st.floats(allow_nan=False, allow_infinity=False)
anything = st.recursive(
    st.none() | st.booleans() | numbers | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)


def some_of(**fields: st.SearchStrategy[Any]) -> st.SearchStrategy[dict[str, Any]]:
    """Objects with any choice of the fields, each of them as it should be or anything else."""
    return st.fixed_dictionaries({}, optional={name: right | anything for name, right in fields.items()})


nearly_events = some_of(
    detail=some_of(
        bucket=some_of(name=st.just("photos")),
        object=some_of(
            **{
                "key": keys,
                "etag": etags,
                "size": st.integers(0),
                "version-id": st.text(),
                "sequencer": etags,
            }
        ),
    ),
    redriven_from=st.lists(st.text(), max_size=3),
    reanalyse=st.booleans(),
    notify=st.booleans(),
)


@st.composite
def answers(draw: st.DrawFn) -> list[dict[str, Any]]:
    """What the SDK's model allows DetectFaces to answer, in any number and of any size."""
    faces = draw(st.lists(of_shape(face_shape()), max_size=4))
    # Far more and far larger than hypothesis makes by itself.
    times: int = draw(st.sampled_from([0, 1, 100, 8_000]))
    if faces and times:
        faces[-1]["Landmarks"] = (faces[-1].get("Landmarks") or [{"Type": "nose", "X": 0.5}]) * times
    return faces * draw(st.sampled_from([1, 2, 25, 100, 1_000]))


def of_shape(shape: Any) -> st.SearchStrategy[Any]:
    """Values of a shape of the SDK's model, and strings it does not list, for AWS adds to its lists."""
    if shape.type_name == "structure":
        return st.fixed_dictionaries(
            {}, optional={name: of_shape(part) for name, part in shape.members.items()}
        )
    if shape.type_name == "list":
        return st.lists(of_shape(shape.member), max_size=3)
    if shape.type_name == "float":
        return st.floats(
            shape.metadata.get("min"), shape.metadata.get("max"), allow_nan=False, allow_infinity=False
        )
    if shape.type_name == "integer":
        return st.integers(shape.metadata["min"], 2**31 - 1)
    if shape.type_name == "boolean":
        return st.booleans()
    assert shape.type_name == "string"
    return st.sampled_from(shape.enum) | st.text()


@given(key=keys, etag=etags)
@with_a_past
@pytest.mark.proves("odd-key")
def test_every_key_makes_a_record_that_comes_back_exactly(pipeline: Pipeline, key: str, etag: str) -> None:
    created = event_for(key, etag=etag)
    upload = Upload.from_event(created)
    item = record.build(
        upload, Analysis("no_face"), execution_id="me", notification_due=True, now=NOW, retention_days=1
    )
    assert record.write(item, ["me"], dynamodb=pipeline.dynamodb, table=TABLE)
    assert pipeline.record(created) == item
    assert item["Key"] == {"S": key}
    # https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/Constraints.html: partition keys
    assert len(item["ImageID"]["S"].encode()) <= 2_048


@given(key=keys)
@with_a_past
def test_every_key_makes_a_summary_that_is_small_and_exact(pipeline: Pipeline, key: str) -> None:
    result = pipeline.process(event_for(key, size=16_000_000))
    assert result["key"] == key
    assert len(json.dumps(result)) < 16_384


@given(key=keys | keys.map(lambda key: f"{key[:500]}\ufffe\\ufffe\uffff"))
@pytest.mark.proves("odd-key")
def test_every_key_can_be_parked_exactly(key: str) -> None:
    event = {**event_for(key), "redriven_from": ["first"]}
    body = Jsonata(definition()["States"]["Park"]["Arguments"]["MessageBody"][2:-2])
    # The library's own escapes whatever is not ASCII, AWS's what JSON forbids.
    body.register_lambda("string", lambda value: json.dumps(value, ensure_ascii=False))
    frame = body.create_frame()
    frame.bind("states", {"context": {"Execution": {"Input": event}}})
    parked = body.evaluate(None, frame)
    # "A message can include only XML, JSON, and unformatted text":
    # https://docs.aws.amazon.com/AWSSimpleQueueService/latest/APIReference/API_SendMessage.html
    assert re.fullmatch(r"[\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]+", parked)
    assert json.loads(parked) == event_for(key)


@given(key=keys)
@pytest.mark.proves("odd-subject")
def test_every_key_makes_a_subject_sns_takes(key: str) -> None:
    for outcome in ("face_detected", "no_face"):
        subject = compose(summary(key=key, outcome=outcome)).subject
        # "ASCII text that begins with a letter, number, or punctuation mark; must not include line breaks or
        # control characters; and must be less than 100 characters long"
        assert re.fullmatch(r"[!-~][ -~]{0,98}", subject)
        assert subject[0] in string.ascii_letters + string.digits + string.punctuation


@given(key=keys)
def test_every_key_reaches_a_machine_exactly(key: str) -> None:
    assert json.loads(compose(summary(key=key)).bodies["default"])["key"] == key


@given(key=keys)
def test_every_key_makes_an_sms_of_two_parts_at_most(key: str) -> None:
    assert sms_units(compose(summary(key=key)).bodies["sms"]) <= MAX_SMS_UNITS


@given(key=keys)
def test_every_key_leaves_an_email_its_four_lines(key: str) -> None:
    assert len(compose(summary(key=key)).bodies["email"].splitlines()) == 4


@given(key=keys)
def test_every_key_makes_texts_and_attributes_that_survive_sns_xml(key: str) -> None:
    message = compose(summary(key=key))
    values = [attribute["StringValue"] for attribute in message.attributes.values()]
    assert all(values)
    for text in [*values, *message.bodies.values(), message.subject]:
        assert ElementTree.fromstring(f"<a>{escape(text)}</a>").text == text


@given(key=keys)
def test_every_key_makes_a_message_under_256_kib(key: str) -> None:
    message = compose(summary(key=key, image_id=f"{key}@{'e' * 38}"))
    parts = [message.subject, json.dumps(message.bodies)]
    for name, attribute in message.attributes.items():
        parts += [name, *attribute.values()]
    assert sum(len(part.encode()) for part in parts) <= MAX_SNS_BYTES


@given(text=fitting | fitting.map(up_to_the_limit), limit=st.integers(10, 140))
def test_a_shortened_text_fits_and_keeps_its_beginning_and_end(text: str, limit: int) -> None:
    short = shortened(text, limit)
    assert sms_units(short) <= limit
    if short != text:
        assert sms_units(text) > limit
        # An emoji of two units that would be cut in two is left out, at either end of the gap.
        assert sms_units(short) >= limit - 2
        gaps = [gap for gap in range(1, len(short) - 3) if short[gap : gap + 3] == "..."]
        assert any(text.startswith(short[:gap]) and text.endswith(short[gap + 3 :]) for gap in gaps)


@given(event=anything | nearly_events)
@pytest.mark.proves("odd-event")
def test_every_event_is_an_upload_or_invalid(event: Any) -> None:
    try:
        upload = Upload.from_event(event)
    except InvalidEventError:
        return
    assert upload.key == event["detail"]["object"]["key"]
    assert upload.etag
    assert upload.size is None or upload.size >= 0
    assert upload.version_id != ""
    item = record.build(
        upload, Analysis("no_face"), execution_id="me", notification_due=True, now=NOW, retention_days=None
    )
    assert all(isinstance(value, str | bool) for typed in item.values() for value in typed.values())


@given(extras=some_of(redriven_from=st.lists(st.text(), max_size=120), reanalyse=st.booleans()), etag=etags)
@with_a_past
def test_every_way_to_run_an_event_again_is_processed_or_invalid(
    pipeline: Pipeline, extras: dict[str, Any], etag: str
) -> None:
    created = event_for("a.jpg", etag=etag, size=0) | extras
    chain = extras.get("redriven_from", [])
    if isinstance(chain, list) and all(isinstance(execution, str) for execution in chain):
        assert pipeline.process(created)["outcome"] == "rejected"
    else:
        with pytest.raises(InvalidEventError, match="redriven_from"):
            pipeline.process(created)


@given(
    value=st.floats(-1e6, 1e6, allow_nan=False),
    name=st.sampled_from(["Width", "Height", "Left", "Top", "X", "Y", "Confidence", "Roll", "Brightness"]),
)
@example(value=0.00005, name="Width")
@example(value=-0.0, name="Left")
def test_a_rounded_number_is_near_and_has_no_more_digits_than_it_is_worth(value: float, name: str) -> None:
    digits = 4 if name in {"Width", "Height", "Left", "Top", "X", "Y"} else 2
    rounded = record.rounded({name: value})[name]
    assert abs(rounded - value) <= 0.5 * 10**-digits + 1e-9
    assert math.isclose(rounded * 10**digits, round(rounded * 10**digits), abs_tol=1e-4)
    assert len(f"{rounded!r}e".partition("e")[0].partition(".")[2]) <= digits
    assert record.rounded({name: rounded}) == {name: rounded}


@given(value=anything)
def test_rounding_changes_numbers_and_nothing_else(value: Any) -> None:
    def without_floats(part: Any) -> Any:
        if isinstance(part, dict):
            return {name: without_floats(inner) for name, inner in part.items()}
        if isinstance(part, list):
            return [without_floats(inner) for inner in part]
        return "a number" if isinstance(part, float) else part

    assert without_floats(record.rounded(value)) == without_floats(value)


@given(faces=answers(), key=keys)
@settings(suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])
@pytest.mark.proves("many-faces")
def test_every_answer_of_rekognition_fits_a_record(faces: list[dict[str, Any]], key: str) -> None:
    assume(faces)
    upload = Upload.from_event(event_for(key, **{"version-id": "v" * 1_024}))
    analysis = Analysis("face_detected", tuple(faces))
    item = record.build(
        upload, analysis, execution_id="e" * 300, notification_due=True, now=NOW, retention_days=1
    )
    kept = json.loads(item["FaceDetails"]["S"])
    assert dynamodb_size(item) < MAX_ITEM_BYTES
    assert item["FaceCount"] == {"N": str(len(faces))}
    assert item["FaceDetailsKept" if "FaceDetailsKept" in item else "FaceCount"] == {"N": str(len(kept))}
    assert kept == [record.rounded(face) for face in faces[: len(kept)]]
    if len(kept) < len(faces):
        left_out = json.dumps(record.rounded(faces[len(kept)]), separators=(",", ":"))
        assert len(item["FaceDetails"]["S"]) + len(left_out) + 2 > record.MAX_FACE_DETAILS_BYTES
