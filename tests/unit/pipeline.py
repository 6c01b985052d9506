"""ProcessImage with real service clients: moto behind S3 and DynamoDB, a Rekognition with given answers."""

from __future__ import annotations

import functools
import json
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import boto3
import botocore.session
from botocore.config import Config
from botocore.stub import Stubber

from process_image.analysis import Analysis, analyse
from process_image.process import process
from process_image.settings import Settings
from process_image.upload import Upload

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from mypy_boto3_dynamodb import DynamoDBClient
    from mypy_boto3_rekognition import RekognitionClient
    from mypy_boto3_s3 import S3Client

EVENTS = Path(__file__).resolve().parents[1] / "events"
NOW = datetime(2026, 11, 12, 13, 14, 15, 678_900, tzinfo=UTC)
REGION = "us-east-1"
TABLE = "photo-analysis-test-results"
BUCKET = "photo-analysis-test-uploads"


def event(name: str) -> dict[str, Any]:
    """An event of tests/events, by its name."""
    loaded: dict[str, Any] = json.loads((EVENTS / f"{name}.json").read_text("utf-8"))
    return loaded


def odd_keys() -> list[str]:
    """Legal object keys that break careless code."""
    loaded: list[str] = json.loads((EVENTS / "odd_keys.json").read_text("utf-8"))
    return loaded


def short(key: object) -> str:
    """A test's id for a key."""
    return ascii(key)[:40]


def event_for(key: str, **stored: Any) -> dict[str, Any]:
    """An "Object Created" event for an object key; `stored` overrides fields of `detail.object`."""
    created = event("object_created")
    created["detail"]["object"] |= {"key": key, **stored}
    return created


def full_face(kind: Literal["usual", "longest"] = "usual") -> dict[str, Any]:
    """A face with every attribute the SDK's model of DetectFaces has.

    Lists hold one element for each type there is (30 landmarks, 9 emotions), numbers the digits of a double.
    """
    face: dict[str, Any] = _example(face_shape(), kind)
    return face


@functools.cache
def face_shape() -> Any:
    """The SDK's model of one element of DetectFaces' answer."""
    model = botocore.session.get_session().get_service_model("rekognition")
    answer: Any = model.operation_model("DetectFaces").output_shape
    return answer.members["FaceDetails"].member


def _example(shape: Any, kind: str) -> Any:
    if shape.type_name == "structure":
        return {name: _example(part, kind) for name, part in shape.members.items()}
    if shape.type_name == "list":
        return [_example(shape.member, kind) | {"Type": name} for name in shape.member.members["Type"].enum]
    if shape.type_name == "boolean":
        return False
    if shape.type_name == "integer":
        return 100
    if shape.type_name == "float":
        return 99.12345678901234 if kind == "usual" else -179.98765432109876
    return max(shape.enum, key=len)


def dynamodb_size(item: Mapping[str, Any]) -> int:
    """Bytes DynamoDB counts for an item, at most.

    https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/CapacityUnitCalculations.html
    A string is its UTF-8 bytes, a number a byte for two significant digits and one more (another for a sign),
    a boolean one byte; an attribute's name is counted too.
    """
    size = 0
    for name, typed in item.items():
        ((kind, value),) = typed.items()
        size += len(name.encode())
        if kind == "S":
            size += len(value.encode())
        elif kind == "N":
            size += (len(value) + 1) // 2 + 2
        else:
            assert kind == "BOOL"
            size += 1
    return size


@dataclass
class Rekognition:
    """A client whose answers are given beforehand and checked against the SDK's model; no answer, no call."""

    client: RekognitionClient
    stubber: Stubber
    calls: list[dict[str, Any]] = field(default_factory=list)
    during_call: Callable[[], object] | None = None

    def finds(self, *faces: Mapping[str, Any]) -> None:
        self.stubber.add_response("detect_faces", {"FaceDetails": [dict(face) for face in faces]})

    def refuses(self, code: str, message: str = "Refused by the test") -> None:
        self.stubber.add_client_error("detect_faces", code, message)

    def record_call(self, params: dict[str, Any], **_: object) -> None:
        self.calls.append(params)
        if self.during_call:
            action, self.during_call = self.during_call, None
            action()


@dataclass
class Pipeline:
    """ProcessImage with its own table and versioned bucket."""

    dynamodb: DynamoDBClient
    s3: S3Client
    rekognition: Rekognition
    settings: Settings

    def process(self, event: Any, execution: str = "execution-1", now: datetime = NOW) -> dict[str, Any]:
        return process(
            event,
            execution_id=execution,
            now=now,
            analyse=self.analyse,
            dynamodb=self.dynamodb,
            table=self.settings.table,
            retention_days=self.settings.retention_days,
        )

    def analyse(self, upload: Upload) -> Analysis:
        return analyse(
            upload,
            rekognition=self.rekognition.client,
            s3=self.s3,
            attributes=self.settings.attributes,
            min_confidence=self.settings.min_confidence,
            convert=self.settings.convert,
        )

    def upload(self, key: str = "photos/anna.jpg", body: bytes = b"a photo") -> dict[str, Any]:
        """Put an object into the bucket; its event."""
        answer = self.s3.put_object(Bucket=BUCKET, Key=key, Body=body)
        created = event_for(key, size=len(body), etag=answer["ETag"].strip('"'))
        created["detail"]["object"]["version-id"] = answer["VersionId"]
        created["detail"]["bucket"]["name"] = BUCKET
        return created

    def record(self, event: dict[str, Any]) -> dict[str, Any]:
        """The stored record of an event's image."""
        key: dict[str, Any] = {"ImageID": {"S": Upload.from_event(event).image_id}}
        item: dict[str, Any] = self.dynamodb.get_item(TableName=TABLE, Key=key, ConsistentRead=True)["Item"]
        return item

    def records(self) -> list[dict[str, Any]]:
        items: list[dict[str, Any]] = self.dynamodb.scan(TableName=TABLE, ConsistentRead=True)["Items"]
        return items

    def configure(self, **changes: Any) -> None:
        self.settings = replace(self.settings, **changes)


@functools.cache
def _session() -> boto3.Session:
    """One for all tests: it holds the services' models, which are slow to read."""
    return boto3.Session("test", "test", region_name=REGION)


def client(service: Any) -> Any:
    return _session().client(service, config=Config(retries={"total_max_attempts": 1}))


# As modules/storage projects them.
INDEXED = ["Bucket", "ExecutionId", "FaceCount", "FaceDetected", "Outcome", "Reason", "Size", "VersionId"]


def make_table(dynamodb: DynamoDBClient) -> None:
    """The table of modules/storage, its indexes included: what their keys refuse, a write must not hold."""
    dynamodb.create_table(
        TableName=TABLE,
        BillingMode="PAY_PER_REQUEST",
        AttributeDefinitions=[
            {"AttributeName": name, "AttributeType": "S"}
            for name in ("ImageID", "Key", "OutcomeDay", "Timestamp")
        ],
        KeySchema=[{"AttributeName": "ImageID", "KeyType": "HASH"}],
        GlobalSecondaryIndexes=[
            {
                "IndexName": f"By{name}",
                "KeySchema": [
                    {"AttributeName": name, "KeyType": "HASH"},
                    {"AttributeName": "Timestamp", "KeyType": "RANGE"},
                ],
                "Projection": {"ProjectionType": "INCLUDE", "NonKeyAttributes": INDEXED},
            }
            for name in ("Key", "OutcomeDay")
        ],
    )


def make_pipeline() -> Pipeline:
    """A pipeline in the account that the `aws` fixture makes."""
    dynamodb, s3, detector = client("dynamodb"), client("s3"), client("rekognition")
    make_table(dynamodb)
    s3.create_bucket(Bucket=BUCKET)
    s3.put_bucket_versioning(Bucket=BUCKET, VersioningConfiguration={"Status": "Enabled"})
    stubber = Stubber(detector)
    stubber.activate()
    rekognition = Rekognition(detector, stubber)
    detector.meta.events.register("provide-client-params.rekognition.DetectFaces", rekognition.record_call)
    settings = Settings(
        table=TABLE,
        attributes=["ALL"],
        min_confidence=90.0,
        retention_days=None,
        log_object_keys=False,
        convert=False,
    )
    return Pipeline(dynamodb, s3, rekognition, settings)


def texts(items: Sequence[Mapping[str, Any]], name: str) -> list[str]:
    """One text attribute of several records, sorted."""
    return sorted(item[name]["S"] for item in items)
