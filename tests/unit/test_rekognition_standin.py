"""The stand-in for Amazon Rekognition: its answers, its refusals, and who may call it."""

from __future__ import annotations

import base64
import http.client
import io
import itertools
import json
import re
import struct
import time
import zipfile
import zlib
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import boto3
import botocore.session
import pytest
from botocore.config import Config
from botocore.exceptions import ClientError
from PIL import Image

from localcloud import LocalCloud
from localcloud import rekognition as rekognition_module
from localcloud.rekognition import (
    ATTRIBUTES,
    MAX_OBJECT_BYTES,
    MAX_RAW_BYTES,
    MIN_PIXELS,
    Fault,
    Gallery,
    RekognitionError,
    decode,
    find_faces,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

    from botocore.model import Shape

SAMPLES = Path(__file__).parents[2] / "samples"
BUCKET = "photos"
FACES = {
    "cat.png": 0,
    "coffee.jpg": 0,
    "eileen-collins.jpg": 1,
    "grace-hopper.jpg": 1,
    "rocket.jpg": 0,
    "transparent.png": 1,
    "turned-by-exif.jpg": 1,
    "two-portraits.jpg": 2,
}
NO_RETRIES = Config(retries={"total_max_attempts": 1})
HANDLER = """
import os
import boto3
from botocore.exceptions import ClientError
def handler(event, context):
    client = boto3.client(
        "rekognition",
        aws_access_key_id=os.environ["AWS_ACCESS_KEY_ID"],
        aws_secret_access_key=os.environ["AWS_SECRET_ACCESS_KEY"],
        aws_session_token=event.pop("token", os.environ["AWS_SESSION_TOKEN"]),
    )
    try:
        return {"faces": len(client.detect_faces(Image={"S3Object": event})["FaceDetails"])}
    except ClientError as error:
        return {"error": error.response["Error"]["Code"], "message": error.response["Error"]["Message"]}
"""


def sample(name: str) -> bytes:
    return (SAMPLES / name).read_bytes()


def encoded(picture: Image.Image, kind: str = "JPEG", **options: Any) -> bytes:
    stream = io.BytesIO()
    picture.save(stream, kind, **options)
    return stream.getvalue()


def portrait() -> Image.Image:
    return Image.open(SAMPLES / "grace-hopper.jpg").convert("RGB")


def png_claiming(width: int, height: int) -> bytes:
    """A small PNG whose header claims a size its data does not have."""
    header = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    chunks = ((b"IHDR", header), (b"IDAT", zlib.compress(bytes(100))), (b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        for kind, data in chunks
    )


# Without a cloud: the picture and nothing else


@pytest.mark.parametrize(("name", "count"), FACES.items())
def test_each_sample_has_the_number_of_faces_its_readme_says(name: str, count: int) -> None:
    assert len(find_faces(decode(sample(name)))) == count
    row = next(line for line in (SAMPLES / "README.md").read_text().splitlines() if f"| `{name}` |" in line)
    assert row.split("|")[3].strip() == str(count)


def test_every_sample_is_listed_in_the_readme_and_small() -> None:
    listed = set(re.findall(r"^\| `([^`]+)` \|", (SAMPLES / "README.md").read_text(), re.MULTILINE))
    assert listed == {path.name for path in SAMPLES.iterdir()} - {"README.md"} == {*FACES, "not-a-photo.jpg"}
    assert max(path.stat().st_size for path in SAMPLES.iterdir()) < 200_000


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.proves("kinds-of-photo")
def test_boxes_refer_to_the_upright_picture_whatever_its_exif_orientation(orientation: int) -> None:
    undo = {
        2: Image.Transpose.FLIP_LEFT_RIGHT,
        3: Image.Transpose.ROTATE_180,
        4: Image.Transpose.FLIP_TOP_BOTTOM,
        5: Image.Transpose.TRANSPOSE,
        6: Image.Transpose.ROTATE_90,
        7: Image.Transpose.TRANSVERSE,
        8: Image.Transpose.ROTATE_270,
    }
    stored = portrait() if orientation == 1 else portrait().transpose(undo[orientation])
    exif = Image.Exif()
    exif[0x0112] = orientation
    (face,) = find_faces(decode(encoded(stored, quality=95, exif=exif)))
    (upright,) = find_faces(decode(sample("grace-hopper.jpg")))
    assert face["BoundingBox"] == pytest.approx(upright["BoundingBox"], abs=0.03)


@pytest.mark.parametrize("mode", ["L", "CMYK", "RGB"])
@pytest.mark.proves("kinds-of-photo")
def test_jpeg_is_analysed_in_every_colour_space(mode: str) -> None:
    assert len(find_faces(decode(encoded(portrait().convert(mode))))) == 1


@pytest.mark.parametrize("mode", ["L", "LA", "P", "RGB", "RGBA"])
@pytest.mark.proves("kinds-of-photo")
def test_png_is_analysed_in_every_colour_space(mode: str) -> None:
    assert len(find_faces(decode(encoded(portrait().convert(mode), "PNG")))) == 1


def test_a_box_and_the_eyes_lie_where_the_face_is() -> None:
    (face,) = find_faces(decode(sample("eileen-collins.jpg")))
    box = face["BoundingBox"]
    # Measured by hand: her face spans about 0.36-0.52 across and 0.13-0.34 down; her eyes are level.
    assert 0.32 < box["Left"] < 0.38
    assert 0.48 < box["Left"] + box["Width"] < 0.56
    assert 0.08 < box["Top"] < 0.16
    assert 0.28 < box["Top"] + box["Height"] < 0.38
    left, right = face["Landmarks"]
    assert (left["Type"], right["Type"]) == ("eyeLeft", "eyeRight")
    assert box["Left"] < left["X"] < right["X"] < box["Left"] + box["Width"]
    assert left["Y"] == pytest.approx(right["Y"], abs=0.03)


def test_the_largest_face_comes_first() -> None:
    first, second = find_faces(decode(sample("two-portraits.jpg")))
    assert first["BoundingBox"]["Width"] > second["BoundingBox"]["Width"]


def test_a_picture_is_searched_once_whatever_file_it_comes_in(monkeypatch: pytest.MonkeyPatch) -> None:
    searched: list[tuple[int, int]] = []

    def counted(picture: Image.Image) -> list[dict[str, Any]]:
        searched.append(picture.size)
        return find_faces(picture)

    monkeypatch.setattr(rekognition_module, "find_faces", counted)
    gallery = Gallery()
    pictures = [
        sample("transparent.png"),
        encoded(Image.open(SAMPLES / "transparent.png"), "PNG"),
        sample("cat.png"),
    ]
    assert [len(gallery.find_faces(data)) for data in pictures] == [1, 1, 0]
    assert searched == [(240, 240), (360, 240)]


def test_a_darker_picture_is_less_bright_and_a_blurred_one_less_sharp() -> None:
    plain = find_faces(decode(sample("grace-hopper.jpg")))[0]["Quality"]
    dark = find_faces(decode(encoded(portrait().point(lambda value: value // 2))))[0]["Quality"]
    soft = find_faces(decode(encoded(portrait().reduce(4).resize((512, 600)))))[0]["Quality"]
    assert dark["Brightness"] < plain["Brightness"] * 0.6
    assert soft["Sharpness"] < plain["Sharpness"] * 0.6


def test_a_twenty_megapixel_photo_is_analysed_in_well_under_a_second() -> None:
    large = encoded(portrait().resize((4500, 5270)), quality=80)
    find_faces(decode(sample("rocket.jpg")))
    started = time.perf_counter()
    assert len(find_faces(decode(large))) == 1
    assert time.perf_counter() - started < 1.0


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\xff\xd8\xff",
        b"%PDF-1.7\n",
        b"\x00\x00\x00\x18ftypheic\x00\x00\x00\x00mif1heic",
        sample("not-a-photo.jpg"),
        sample("grace-hopper.jpg")[:30_000],
        sample("transparent.png")[:30_000],
        sample("transparent.png")[:200] + b"\xff" * 300,
        encoded(portrait(), "GIF"),
        encoded(portrait(), "WEBP"),
        encoded(portrait(), "BMP"),
        encoded(portrait(), "TIFF"),
    ],
    ids="empty magic-only pdf heic text cut-jpeg cut-png damaged-png gif webp bmp tiff".split(),  # noqa: SIM905
)
def test_anything_but_a_whole_jpeg_or_png_is_an_invalid_format(data: bytes) -> None:
    with pytest.raises(RekognitionError) as caught:
        decode(data)
    assert caught.value.code == "InvalidImageFormatException"


@pytest.mark.parametrize("size", [(79, 400), (400, 79)])
@pytest.mark.proves("too-small")
def test_under_80_pixels_a_side_is_an_invalid_parameter(size: tuple[int, int]) -> None:
    with pytest.raises(RekognitionError) as caught:
        decode(encoded(Image.new("RGB", size)))
    assert caught.value.code == "InvalidParameterException"


def test_80_pixels_a_side_are_enough() -> None:
    assert find_faces(decode(encoded(Image.new("RGB", (MIN_PIXELS, MIN_PIXELS))))) == []


def test_a_picture_that_would_fill_the_memory_is_refused_unread() -> None:
    with pytest.raises(RekognitionError) as caught:
        decode(png_claiming(60_000, 60_000))
    assert caught.value.code == "ImageTooLargeException"


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"[]",
        b"{}",
        b'{"error": "No Such", "count": 1}',
        b'{"error": "ThrottlingException", "count": 0}',
        b'{"error": "ThrottlingException", "count": true}',
        b'{"error": "ThrottlingException", "key": 1}',
        b'{"error": "ThrottlingException", "delay_seconds": -1}',
        b'{"eror": "ThrottlingException"}',
    ],
)
def test_a_wrong_fault_is_refused_with_a_sentence(body: bytes) -> None:
    with pytest.raises(ValueError, match=r"^[A-Za-z_ ].*\.$"):
        Fault.parse(body)


# With a cloud: the protocol, the permissions, the faults


@pytest.fixture(scope="module")
def cloud(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalCloud]:
    with LocalCloud.start(tmp_path_factory.mktemp("localcloud")) as started:
        yield started


def client(cloud: LocalCloud, service: str, **options: Any) -> Any:
    url = cloud.rekognition_url if service == "rekognition" else cloud.endpoint_url
    given = {
        "aws_access_key_id": "test",
        "aws_secret_access_key": "test",
        "region_name": "us-east-1",
        "endpoint_url": url,
        "verify": cloud.environment.get("AWS_CA_BUNDLE"),
        "config": NO_RETRIES,
    }
    session: Any = boto3.session.Session()
    return session.client(service, **(given | options))


@pytest.fixture(scope="module")
def s3(cloud: LocalCloud) -> Any:
    made = client(cloud, "s3")
    made.create_bucket(Bucket=BUCKET)
    made.put_bucket_versioning(Bucket=BUCKET, VersioningConfiguration={"Status": "Enabled"})
    for path in SAMPLES.glob("*.*g"):
        made.put_object(Bucket=BUCKET, Key=path.name, Body=path.read_bytes())
    return made


@pytest.fixture
def rekognition(cloud: LocalCloud, s3: Any) -> Iterator[Any]:
    assert s3
    yield client(cloud, "rekognition")
    control(cloud, "DELETE", "/_faults")
    control(cloud, "DELETE", "/_calls")


def control(cloud: LocalCloud, method: str, path: str, content: object = None) -> tuple[int, Any]:
    address = urlsplit(cloud.rekognition_url)
    connection = http.client.HTTPConnection(str(address.hostname), address.port, timeout=10)
    try:
        connection.request(method, path, json.dumps(content) if content is not None else None)
        answer = connection.getresponse()
        return answer.status, json.loads(answer.read())
    finally:
        connection.close()


def photo(name: str, version: str | None = None) -> dict[str, Any]:
    return {"S3Object": {"Bucket": BUCKET, "Name": name} | ({} if version is None else {"Version": version})}


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
def test_answers_fit_botocores_service_model(rekognition: Any, attributes: list[str] | None) -> None:
    answers: list[Any] = []
    rekognition.meta.events.register(
        "after-call.rekognition.DetectFaces",
        lambda http_response, **_: answers.append(json.loads(http_response.content)),
    )
    extra = {} if attributes is None else {"Attributes": attributes}
    for name in FACES:
        rekognition.detect_faces(Image=photo(name), **extra)
    assert [len(answer["FaceDetails"]) for answer in answers] == list(FACES.values())
    for answer in answers:
        assert list(violations(operation().output_shape, answer)) == []
        for face in answer["FaceDetails"]:
            box = face["BoundingBox"]
            assert all(0 <= part <= 1 for part in box.values())
            assert box["Left"] + box["Width"] <= 1.0001
            assert box["Top"] + box["Height"] <= 1.0001
            assert 80 <= face["Confidence"] <= 100


def test_the_attributes_are_those_of_the_service() -> None:
    known = operation().input_shape.members["Attributes"].member.metadata["enum"]
    assert set(known) == ATTRIBUTES


def test_bytes_are_analysed_like_objects(rekognition: Any) -> None:
    by_bytes = rekognition.detect_faces(Image={"Bytes": sample("two-portraits.jpg")})
    by_name = rekognition.detect_faces(Image=photo("two-portraits.jpg"))
    assert by_bytes["FaceDetails"] == by_name["FaceDetails"]
    assert len(by_bytes["FaceDetails"]) == 2


def test_a_named_version_is_the_one_analysed(s3: Any, rekognition: Any) -> None:
    first = s3.put_object(Bucket=BUCKET, Key="overwritten.jpg", Body=sample("two-portraits.jpg"))["VersionId"]
    s3.put_object(Bucket=BUCKET, Key="overwritten.jpg", Body=sample("coffee.jpg"))
    assert rekognition.detect_faces(Image=photo("overwritten.jpg"))["FaceDetails"] == []
    assert len(rekognition.detect_faces(Image=photo("overwritten.jpg", first))["FaceDetails"]) == 2


@pytest.mark.parametrize(
    "key", ["a b+c%2B%.jpg", "quote'\"\\.jpg", "new\nline.jpg", "smile😀.jpg", "a//b.jpg"]
)
def test_any_key_can_be_read(s3: Any, rekognition: Any, key: str) -> None:
    s3.put_object(Bucket=BUCKET, Key=key, Body=sample("grace-hopper.jpg"))
    assert len(rekognition.detect_faces(Image=photo(key))["FaceDetails"]) == 1


def test_refusals_arrive_as_the_services_exceptions(s3: Any, rekognition: Any) -> None:
    thrown = rekognition.exceptions
    s3.put_object(Bucket=BUCKET, Key="small.png", Body=encoded(Image.new("RGB", (79, 200)), "PNG"))
    s3.put_object(Bucket=BUCKET, Key="empty.jpg", Body=b"")
    with pytest.raises(thrown.InvalidImageFormatException, match="Request has invalid image format"):
        rekognition.detect_faces(Image=photo("not-a-photo.jpg"))
    with pytest.raises(thrown.InvalidImageFormatException):
        rekognition.detect_faces(Image=photo("empty.jpg"))
    with pytest.raises(thrown.InvalidParameterException):
        rekognition.detect_faces(Image=photo("small.png"))
    with pytest.raises(thrown.InvalidS3ObjectException, match="Unable to get object metadata from S3"):
        rekognition.detect_faces(Image=photo("missing.jpg"))
    with pytest.raises(thrown.InvalidS3ObjectException):
        rekognition.detect_faces(Image={"S3Object": {"Bucket": "no-such-bucket", "Name": "a.jpg"}})
    with pytest.raises(thrown.InvalidS3ObjectException):
        rekognition.detect_faces(Image=photo("coffee.jpg", "no-such-version"))
    with pytest.raises(thrown.InvalidParameterException):
        rekognition.detect_faces(Image={})
    with pytest.raises(thrown.InvalidParameterException):
        rekognition.detect_faces(Image=photo("coffee.jpg") | {"Bytes": sample("coffee.jpg")})
    with pytest.raises(ClientError, match="ValidationException"):
        rekognition.detect_faces(Image=photo("coffee.jpg"), Attributes=["HATS"])
    with pytest.raises(ClientError, match="UnknownOperationException"):
        rekognition.detect_labels(Image=photo("coffee.jpg"))


def test_fifteen_megabytes_in_s3_and_five_in_the_request_are_the_limits(s3: Any, rekognition: Any) -> None:
    # Bytes after the end of a JPEG belong to nobody and change nothing.
    whole = sample("grace-hopper.jpg")
    for more, key in ((0, "full.jpg"), (1, "over.jpg")):
        s3.put_object(Bucket=BUCKET, Key=key, Body=whole.ljust(MAX_OBJECT_BYTES + more, b"\0"))
    assert len(rekognition.detect_faces(Image=photo("full.jpg"))["FaceDetails"]) == 1
    with pytest.raises(rekognition.exceptions.ImageTooLargeException):
        rekognition.detect_faces(Image=photo("over.jpg"))
    exactly = {"Bytes": whole.ljust(MAX_RAW_BYTES, b"\0")}
    assert len(rekognition.detect_faces(Image=exactly)["FaceDetails"]) == 1
    with pytest.raises(rekognition.exceptions.ImageTooLargeException):
        rekognition.detect_faces(Image={"Bytes": whole.ljust(MAX_RAW_BYTES + 1, b"\0")})


def raw_call(cloud: LocalCloud, body: str, **headers: str) -> tuple[int, Any]:
    address = urlsplit(cloud.rekognition_url)
    connection = http.client.HTTPConnection(str(address.hostname), address.port, timeout=10)
    sent = {"X-Amz-Target": "RekognitionService.DetectFaces", "Content-Type": "application/x-amz-json-1.1"}
    try:
        connection.request("POST", "/", body, sent | {k.replace("_", "-"): v for k, v in headers.items()})
        answer = connection.getresponse()
        return answer.status, json.loads(answer.read())
    finally:
        connection.close()


@pytest.mark.parametrize(
    ("body", "code"),
    [
        ("{", "SerializationException"),
        ("[]", "ValidationException"),
        ('{"Image": 1}', "ValidationException"),
        ('{"Image": {"Bytes": "?"}}', "SerializationException"),
        ('{"Image": {"Bytes": ""}}', "ValidationException"),
        ('{"Image": {"S3Object": "a"}}', "SerializationException"),
        ('{"Image": {"S3Object": {"Bucket": "a", "Name": "b"}}}', "ValidationException"),
        ('{"Image": {"S3Object": {"Bucket": "a/b", "Name": "b"}}}', "InvalidParameterException"),
        ('{"Image": {"S3Object": {"Bucket": 1, "Name": "b"}}}', "SerializationException"),
    ],
)
def test_a_malformed_request_is_refused_and_the_server_goes_on(
    cloud: LocalCloud, body: str, code: str
) -> None:
    status, answer = raw_call(cloud, body)
    assert (status, answer["__type"]) == (400, code)
    assert answer["Message"]
    assert control(cloud, "GET", "/_health") == (200, {"status": "ok"})


def test_callers_without_known_credentials_are_refused(cloud: LocalCloud) -> None:
    body = json.dumps({"Image": {"Bytes": base64.b64encode(sample("coffee.jpg")).decode()}})
    unsigned = raw_call(cloud, body)
    assert unsigned[1]["__type"] == "MissingAuthenticationTokenException"
    scope = "20261123/us-east-1/rekognition/aws4_request"
    stranger = raw_call(
        cloud,
        body,
        Authorization=f"AWS4-HMAC-SHA256 Credential=ASIAEXAMPLE/{scope}, SignedHeaders=host, Signature=0",
        X_Amz_Security_Token="x",
    )
    assert stranger[1]["__type"] == "UnrecognizedClientException"


class Function:
    """A real Lambda function on the local cloud whose role can be changed."""

    def __init__(self, cloud: LocalCloud, name: str) -> None:
        self.name = name
        self.iam = client(cloud, "iam")
        self.functions = client(cloud, "lambda", config=Config(read_timeout=60))
        trust = {
            "Effect": "Allow",
            "Principal": {"Service": "lambda.amazonaws.com"},
            "Action": "sts:AssumeRole",
        }
        role = self.iam.create_role(
            RoleName=name,
            AssumeRolePolicyDocument=json.dumps({"Version": "2012-10-17", "Statement": [trust]}),
        )
        archive = io.BytesIO()
        with zipfile.ZipFile(archive, "w") as package:
            package.writestr("handler.py", HANDLER)
        self.functions.create_function(
            FunctionName=name,
            Runtime="python3.13",
            Role=role["Role"]["Arn"],
            Handler="handler.handler",
            Code={"ZipFile": archive.getvalue()},
            Timeout=30,
        )

    def may(self, *actions: str) -> None:
        statement = {"Effect": "Allow", "Action": list(actions), "Resource": "*"}
        self.iam.put_role_policy(
            RoleName=self.name,
            PolicyName="all",
            PolicyDocument=json.dumps({"Version": "2012-10-17", "Statement": [statement]}),
        )

    def call(self, name: str, version: str | None = None, *, alias: str = "$LATEST", **extra: str) -> Any:
        answer = self.functions.invoke(
            FunctionName=self.name,
            Qualifier=alias,
            Payload=json.dumps(photo(name, version)["S3Object"] | extra),
        )
        return json.loads(answer["Payload"].read())


GRANTS = ("rekognition:DetectFaces", "s3:GetObject", "s3:GetObjectVersion", "kms:Decrypt")


def without(action: str) -> tuple[str, ...]:
    return tuple(one for one in GRANTS if one != action)


@pytest.fixture(scope="module")
def function(cloud: LocalCloud, s3: Any) -> Function:
    assert s3
    return Function(cloud, "looks-at-photos")


def test_a_function_needs_detect_faces_and_a_revoked_grant_counts_at_once(function: Function) -> None:
    for _ in range(2):
        function.may(*GRANTS)
        assert function.call("two-portraits.jpg") == {"faces": 2}
        function.may(*without("rekognition:DetectFaces"))
        refused = function.call("two-portraits.jpg")
        assert refused["error"] == "AccessDeniedException"
        assert "assumed-role/looks-at-photos/looks-at-photos" in refused["message"]
        assert "is not authorized to perform: rekognition:DetectFaces" in refused["message"]


def test_a_function_with_another_session_token_is_refused(function: Function) -> None:
    function.may(*GRANTS)
    assert function.call("coffee.jpg", token="another")["error"] == "UnrecognizedClientException"


def test_a_function_needs_get_object(function: Function) -> None:
    function.may(*without("s3:GetObject"))
    assert function.call("coffee.jpg")["error"] == "InvalidS3ObjectException"
    function.may(*GRANTS)
    assert function.call("coffee.jpg") == {"faces": 0}


def test_a_function_needs_get_object_version_for_a_named_version(function: Function, s3: Any) -> None:
    version = s3.put_object(Bucket=BUCKET, Key="v.jpg", Body=sample("two-portraits.jpg"))["VersionId"]
    function.may(*without("s3:GetObjectVersion"))
    assert function.call("v.jpg", version)["error"] == "InvalidS3ObjectException"
    assert function.call("v.jpg") == {"faces": 2}
    function.may(*without("s3:GetObject"))
    assert function.call("v.jpg", version) == {"faces": 2}


def test_a_function_needs_decrypt_for_an_encrypted_object(
    cloud: LocalCloud, function: Function, s3: Any
) -> None:
    key = client(cloud, "kms").create_key()["KeyMetadata"]["Arn"]
    s3.put_object(
        Bucket=BUCKET,
        Key="secret.jpg",
        Body=sample("grace-hopper.jpg"),
        ServerSideEncryption="aws:kms",
        SSEKMSKeyId=key,
    )
    function.may(*without("kms:Decrypt"))
    assert function.call("secret.jpg")["error"] == "InvalidS3ObjectException"
    assert function.call("coffee.jpg") == {"faces": 0}
    function.may(*GRANTS)
    assert function.call("secret.jpg") == {"faces": 1}


def test_a_published_version_behind_an_alias_is_known_too(cloud: LocalCloud, s3: Any) -> None:
    assert s3
    function = Function(cloud, "behind-an-alias")
    function.may(*GRANTS)
    version = function.functions.publish_version(FunctionName=function.name)["Version"]
    function.functions.create_alias(FunctionName=function.name, Name="live", FunctionVersion=version)
    assert function.call("two-portraits.jpg", alias="live") == {"faces": 2}
    assert function.call("two-portraits.jpg") == {"faces": 2}


def test_calls_are_counted_by_key(cloud: LocalCloud, rekognition: Any) -> None:
    control(cloud, "DELETE", "/_calls")
    rekognition.detect_faces(Image=photo("coffee.jpg"))
    rekognition.detect_faces(Image=photo("coffee.jpg"))
    rekognition.detect_faces(Image={"Bytes": sample("coffee.jpg")})
    with pytest.raises(ClientError):
        rekognition.detect_faces(Image=photo("missing.jpg"))
    assert control(cloud, "GET", "/_calls") == (
        200,
        {"DetectFaces": 4, "answered": 3, "by_key": {"coffee.jpg": 2, "missing.jpg": 1}},
    )
    control(cloud, "DELETE", "/_calls")
    assert control(cloud, "GET", "/_calls")[1] == {"DetectFaces": 0, "answered": 0, "by_key": {}}


@pytest.mark.parametrize(
    ("error", "status"),
    [
        ("ThrottlingException", 500),
        ("InternalServerError", 500),
        ("ProvisionedThroughputExceededException", 400),
        ("AccessDeniedException", 400),
    ],
)
def test_the_next_calls_fail_as_asked_and_then_no_more(
    cloud: LocalCloud, rekognition: Any, error: str, status: int
) -> None:
    assert control(cloud, "POST", "/_faults", {"error": error, "count": 2})[0] == 200
    for _ in range(2):
        with pytest.raises(getattr(rekognition.exceptions, error)) as caught:
            rekognition.detect_faces(Image=photo("coffee.jpg"))
        assert caught.value.response["ResponseMetadata"]["HTTPStatusCode"] == status
    assert rekognition.detect_faces(Image=photo("coffee.jpg"))["FaceDetails"] == []


def test_the_sdk_retries_a_throttled_call_by_itself(cloud: LocalCloud, rekognition: Any) -> None:
    assert rekognition
    control(cloud, "DELETE", "/_calls")
    control(cloud, "POST", "/_faults", {"error": "ThrottlingException", "count": 2})
    patient = client(
        cloud, "rekognition", config=Config(retries={"mode": "standard", "total_max_attempts": 3})
    )
    assert len(patient.detect_faces(Image=photo("grace-hopper.jpg"))["FaceDetails"]) == 1
    assert control(cloud, "GET", "/_calls")[1]["DetectFaces"] == 3


def test_a_fault_can_be_for_some_keys_and_for_ever(cloud: LocalCloud, rekognition: Any) -> None:
    control(cloud, "POST", "/_faults", {"error": "ThrottlingException", "count": -1, "key": "coffee"})
    for _ in range(5):
        assert len(rekognition.detect_faces(Image=photo("grace-hopper.jpg"))["FaceDetails"]) == 1
        with pytest.raises(rekognition.exceptions.ThrottlingException):
            rekognition.detect_faces(Image=photo("coffee.jpg"))
    control(cloud, "DELETE", "/_faults")
    assert rekognition.detect_faces(Image=photo("coffee.jpg"))["FaceDetails"] == []


def test_a_fault_can_delay_an_answer_and_nobody_elses(cloud: LocalCloud, rekognition: Any) -> None:
    control(cloud, "POST", "/_faults", {"count": 1, "key": "coffee", "delay_seconds": 0.6})

    def seconds(name: str) -> float:
        started = time.perf_counter()
        rekognition.detect_faces(Image=photo(name))
        return time.perf_counter() - started

    assert seconds("rocket.jpg") < 0.6 <= seconds("coffee.jpg")
    assert seconds("coffee.jpg") < 0.6


def test_a_wrong_fault_or_path_is_answered_with_a_sentence(cloud: LocalCloud) -> None:
    status, answer = control(cloud, "POST", "/_faults", {"eror": "ThrottlingException"})
    assert status == 400
    assert answer["message"] == "A fault has no 'eror'; it has error, count, key and delay_seconds."
    for method, path in itertools.product(("GET", "POST", "DELETE"), ("/_nothing",)):
        assert control(cloud, method, path, {})[0] == 404


def test_an_oversized_request_is_refused_unread(cloud: LocalCloud) -> None:
    address = urlsplit(cloud.rekognition_url)
    connection = http.client.HTTPConnection(str(address.hostname), address.port, timeout=10)
    connection.putrequest("POST", "/")
    connection.putheader("Content-Length", str(10**10))
    connection.endheaders()
    assert connection.getresponse().status == 413
    connection.close()
