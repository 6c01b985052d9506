"""The stand-in for Amazon Rekognition: what it answers and refuses, its faults and its counts."""

from __future__ import annotations

import asyncio
import base64
import json
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import botocore.session
import pytest

from localcloud.faces import RekognitionError
from localcloud.rekognition import (
    ATTRIBUTES,
    MAX_OBJECT_BYTES,
    MAX_RAW_BYTES,
    Quota,
    Rekognition,
    S3Object,
)

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from botocore.model import Shape

SAMPLES = Path(__file__).parents[2] / "samples"
OBJECTS: dict[str, bytes] = {path.name: path.read_bytes() for path in SAMPLES.glob("*.*g")}
TARGET = {"x-amz-target": "RekognitionService.DetectFaces"}


async def read(photo: S3Object, _headers: Mapping[str, str]) -> bytes:
    """A bucket without permissions."""
    if photo.key not in OBJECTS:
        raise RekognitionError("InvalidS3ObjectException", "Unable to get object metadata from S3.")
    return OBJECTS[photo.key]


@pytest.fixture
def rekognition() -> Rekognition:
    return Rekognition(read)


def asked(
    rekognition: Rekognition, image: Any, headers: Mapping[str, str] = TARGET, **more: Any
) -> tuple[int, Any]:
    """Status and answer to one request: of `image`, or of a whole body in bytes."""
    body = image if isinstance(image, bytes) else json.dumps({"Image": image, **more}).encode()
    status, answered, content = asyncio.run(rekognition.handle("POST", "/", headers, body, {}))
    answer = json.loads(content)
    assert (status == 200) == ("x-amzn-ErrorType" not in answered)
    assert answered.get("x-amzn-ErrorType") == answer.get("__type") == answer.get("Code")
    return status, answer


def photo(key: str) -> dict[str, Any]:
    return {"S3Object": {"Bucket": "photos", "Name": key}}


def raw(data: bytes) -> dict[str, str]:
    return {"Bytes": base64.b64encode(data).decode()}


def control(rekognition: Rekognition, method: str, path: str, content: object = None) -> tuple[int, Any]:
    body = b"" if content is None else json.dumps(content).encode()
    status, _, answer = rekognition.control(method, f"/_rekognition{path}", body)
    return status, json.loads(answer)


def violations(shape: Shape, value: Any, where: str = "answer") -> Iterator[str]:
    """What about a JSON value contradicts a shape of botocore's service model."""
    model: Any = shape
    kinds: dict[str, Any] = {
        "structure": dict,
        "list": list,
        "string": str,
        "boolean": bool,
        "integer": int,
        "float": (int, float),
    }
    if not isinstance(value, kinds[shape.type_name]) or (
        isinstance(value, bool) and shape.type_name != "boolean"
    ):
        yield f"{where} is {value!r}, not a {shape.type_name}"
        return
    if shape.type_name == "structure":
        yield from (f"{where} lacks {name}" for name in model.required_members if name not in value)
        for name, member in value.items():
            if name in model.members:
                yield from violations(model.members[name], member, f"{where}.{name}")
            else:
                yield f"{where} has an unknown member {name}"
    elif shape.type_name == "list":
        for position, member in enumerate(value):
            yield from violations(model.member, member, f"{where}[{position}]")
    measure = len(value) if shape.type_name in ("list", "string") else value
    if "min" in shape.metadata and measure < shape.metadata["min"]:
        yield f"{where} is below {shape.metadata['min']}"
    if "max" in shape.metadata and measure > shape.metadata["max"]:
        yield f"{where} is above {shape.metadata['max']}"
    if "enum" in shape.metadata and value not in shape.metadata["enum"]:
        yield f"{where} may not be {value!r}"


def operation() -> Any:
    return botocore.session.get_session().get_service_model("rekognition").operation_model("DetectFaces")


def test_the_model_check_sees_what_is_wrong() -> None:
    wrong = {"FaceDetails": [{"BoundingBox": {"Width": "0.5"}, "Confidence": 101, "Mood": 1}], "Faces": []}
    found = list(violations(operation().output_shape, wrong))
    assert len(found) == 4, found


@pytest.mark.parametrize("attributes", [None, ["DEFAULT"], ["ALL"], ["SMILE", "EMOTIONS"]])
def test_answers_fit_botocores_service_model(rekognition: Rekognition, attributes: list[str] | None) -> None:
    more: Any = {} if attributes is None else {"Attributes": attributes}
    for name in ("cat.png", "eileen-collins.jpg", "two-portraits.jpg"):
        status, answer = asked(rekognition, photo(name), **more)
        assert status == 200
        assert list(violations(operation().output_shape, answer)) == []
        for face in answer["FaceDetails"]:
            assert set(face) == {"BoundingBox", "Confidence", "Landmarks", "Pose", "Quality"}
            assert set(face["Pose"]) == {"Roll"}, "nothing is made up"
            assert face["Confidence"] > 99


def test_the_attributes_are_those_of_the_service() -> None:
    known = operation().input_shape.members["Attributes"].member.metadata["enum"]
    assert set(known) == ATTRIBUTES


def test_bytes_are_analysed_like_objects(rekognition: Rekognition) -> None:
    by_bytes = asked(rekognition, raw(OBJECTS["two-portraits.jpg"]))
    assert by_bytes == asked(rekognition, photo("two-portraits.jpg"))
    assert len(by_bytes[1]["FaceDetails"]) == 2


def test_fifteen_megabytes_in_s3_and_five_in_the_request_are_the_limits(
    rekognition: Rekognition, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Bytes after the end of a JPEG belong to nobody and change nothing.
    whole = OBJECTS["grace-hopper.jpg"]
    for more, key in ((0, "full.jpg"), (1, "over.jpg")):
        monkeypatch.setitem(OBJECTS, key, whole.ljust(MAX_OBJECT_BYTES + more, b"\0"))
    assert len(asked(rekognition, photo("full.jpg"))[1]["FaceDetails"]) == 1
    assert asked(rekognition, photo("over.jpg"))[1]["Code"] == "ImageTooLargeException"
    assert len(asked(rekognition, raw(whole.ljust(MAX_RAW_BYTES, b"\0")))[1]["FaceDetails"]) == 1
    over = asked(rekognition, raw(whole.ljust(MAX_RAW_BYTES + 1, b"\0")))
    assert over[1]["Code"] == "ImageTooLargeException"


@pytest.mark.parametrize(
    ("request_", "code"),
    [
        (b"{", "SerializationException"),
        (b"[]", "SerializationException"),
        (b'{"Image": 1}', "SerializationException"),
        ({}, "InvalidParameterException"),
        ({"Bytes": "AA==", **photo("coffee.jpg")}, "InvalidParameterException"),
        ({"Bytes": "?"}, "SerializationException"),
        ({"Bytes": ""}, "InvalidParameterException"),
        (raw(b"not a photo"), "InvalidImageFormatException"),
        (photo("not-a-photo.jpg"), "InvalidImageFormatException"),
        (photo("missing.jpg"), "InvalidS3ObjectException"),
        ({"S3Object": "a"}, "SerializationException"),
        ({"S3Object": {"Bucket": "a", "Name": "b"}}, "InvalidParameterException"),
        ({"S3Object": {"Bucket": "a/b", "Name": "b"}}, "InvalidParameterException"),
        ({"S3Object": {"Bucket": 1, "Name": "b"}}, "SerializationException"),
        ({"S3Object": {"Name": "b"}}, "SerializationException"),
        ({"S3Object": {"Bucket": "photos", "Name": "b" * 1025}}, "InvalidParameterException"),
        ({"S3Object": {"Bucket": "photos", "Name": "b", "Version": ""}}, "InvalidParameterException"),
    ],
)
def test_a_request_it_cannot_answer_is_refused_as_the_service_does(
    rekognition: Rekognition, request_: Any, code: str
) -> None:
    status, answer = asked(rekognition, request_)
    assert (status, answer["Code"]) == (400, code)
    assert answer["Message"]


def test_unknown_attributes_and_operations_are_refused(rekognition: Rekognition) -> None:
    hats = asked(rekognition, photo("coffee.jpg"), Attributes=["HATS"])
    assert hats[1]["Code"] == "InvalidParameterException"
    labels = asked(rekognition, photo("coffee.jpg"), {"x-amz-target": "RekognitionService.DetectLabels"})
    assert labels[1]["Code"] == "UnknownOperationException"


def test_calls_are_counted_by_key(rekognition: Rekognition) -> None:
    for key in ("coffee.jpg", "coffee.jpg", "missing.jpg"):
        asked(rekognition, photo(key))
    asked(rekognition, raw(OBJECTS["coffee.jpg"]))
    counted = {"DetectFaces": 4, "answered": 3, "by_key": {"coffee.jpg": 2, "missing.jpg": 1, "": 1}}
    assert control(rekognition, "GET", "/calls") == (200, counted)


@pytest.mark.parametrize(
    ("error", "status"),
    [
        ("ThrottlingException", 500),
        ("InternalServerError", 500),
        ("ProvisionedThroughputExceededException", 400),
        ("AccessDeniedException", 400),
    ],
)
def test_the_next_calls_fail_as_configured_and_then_no_more(
    rekognition: Rekognition, error: str, status: int
) -> None:
    assert control(rekognition, "POST", "/faults", {"error": error, "count": 2})[0] == 200
    for _ in range(2):
        failed = asked(rekognition, photo("coffee.jpg"))
        assert (failed[0], failed[1]["Code"]) == (status, error)
    assert asked(rekognition, photo("coffee.jpg"))[1]["FaceDetails"] == []


def test_a_fault_can_be_for_some_keys_and_permanent(rekognition: Rekognition) -> None:
    control(rekognition, "POST", "/faults", {"error": "ThrottlingException", "count": -1, "key": "coffee"})
    for _ in range(5):
        assert asked(rekognition, photo("rocket.jpg"))[0] == 200
        assert asked(rekognition, photo("coffee.jpg"))[0] == 500
    control(rekognition, "DELETE", "/faults")
    assert asked(rekognition, photo("coffee.jpg"))[0] == 200


def test_a_fault_can_delay_one_response_only(rekognition: Rekognition) -> None:
    asked(rekognition, photo("rocket.jpg"))
    control(rekognition, "POST", "/faults", {"key": "coffee", "delay_seconds": 0.3})
    order: list[str] = []

    async def ask(key: str) -> None:
        await rekognition.handle("POST", "/", TARGET, json.dumps({"Image": photo(key)}).encode(), {})
        order.append(key)

    async def both() -> None:
        await asyncio.gather(ask("coffee.jpg"), ask("rocket.jpg"))

    started = time.monotonic()
    asyncio.run(both())
    assert order == ["rocket.jpg", "coffee.jpg"]
    assert time.monotonic() - started >= 0.3


@pytest.mark.parametrize("fault", [[], {"eror": "ThrottlingException"}])
def test_a_wrong_fault_is_refused(rekognition: Rekognition, fault: object) -> None:
    status, answer = control(rekognition, "POST", "/faults", fault)
    assert (status, answer["message"][:20]) == (400, "This is not a fault:")


def test_there_is_no_other_control(rekognition: Rekognition) -> None:
    for method in ("GET", "POST", "DELETE", "PUT"):
        assert control(rekognition, method, "/nothing", {})[0] == 404


def test_a_quota_lets_so_many_calls_a_second_pass_and_no_more() -> None:
    quota = Quota(20)
    passed = [moment for moment in range(1000, 5000) if quota.take(moment / 100)]
    per_second = [sum(1 for moment in passed if moment // 100 == second) for second in range(11, 50)]
    assert set(per_second) == {20}


def test_calls_above_the_quota_are_throttled_until_it_is_lifted(rekognition: Rekognition) -> None:
    control(rekognition, "POST", "/quota", {"calls_per_second": 1})
    codes = [asked(rekognition, photo("coffee.jpg"))[1].get("Code") for _ in range(4)]
    assert "ThrottlingException" in codes
    control(rekognition, "POST", "/quota", {"calls_per_second": None})
    assert all(asked(rekognition, photo("coffee.jpg"))[0] == 200 for _ in range(4))
