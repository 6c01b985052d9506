"""The stand-in for Amazon Rekognition inside MiniStack: who may call it, and how it reads photos."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from botocore.exceptions import ClientError

from localcloud import LocalCloud
from tests.integration.aws import Function, client, policy

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).parents[2]
SAMPLES = ROOT / "samples"
BUCKET = "photos"
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


# What localcloud/server.py and corrections.py use of MiniStack, and the arguments they give.
TAKEN = {
    "ministack.app:app": "scope receive send",
    "ministack.app:SERVICE_HANDLERS.s3": "method path headers body query_params",
    "ministack.core.iam_actions:SERVICE_TO_IAM_NAMESPACE.s3": "",
    "ministack.core.iam_actions:_query_param": "query_params key",
    "ministack.core.iam_actions:_safe_json_field": "body field",
    "ministack.core.iam_actions:extract_iam_action": "service method path headers body query_params",
    "ministack.core.iam_actions:extract_resource_arn": (
        "service method path headers body query_params region account_id"
    ),
    "ministack.core.iam_evaluator:_fnmatch_compile": "pattern ignore_case",
    "ministack.core.iam_evaluator:enforce": (
        "access_key_id iam_action service region resource_arn service_context"
    ),
    "ministack.core.responses:get_account_id": "",
    "ministack.core.router:SERVICE_PATTERNS.dynamodb.target_prefixes": "",
    "ministack.core.router:extract_access_key_id": "headers query_params",
    "ministack.core.router:extract_region": "headers query_params",
    "ministack.services.lambda_svc:_throttle_response": "reason_code msg retry_after",
    "ministack.services.s3:_list_multipart_uploads": "bucket_name query_params",
    "ministack.services.s3:_list_object_versions": "bucket_name query_params",
}
LOOK = """
import importlib, inspect, json, sys
for place, arguments in json.load(sys.stdin).items():
    module, _, path = place.partition(":")
    try:
        found = importlib.import_module(module)
        for name in path.split("."):
            found = found[name] if isinstance(found, dict) else getattr(found, name)
        if callable(found) and list(inspect.signature(found).parameters) != arguments.split():
            print(place, "takes", *inspect.signature(found).parameters)
    except (ImportError, AttributeError, KeyError):
        print(place, "is gone")
"""


def test_what_the_server_uses_of_ministack_is_where_it_was() -> None:
    # MiniStack reads its settings on import, so this is a separate process.
    looked = subprocess.run(
        [sys.executable, "-c", LOOK], input=json.dumps(TAKEN), capture_output=True, text=True, timeout=60
    )
    assert (looked.returncode, looked.stdout) == (0, ""), (
        "MiniStack changed: mend localcloud/server.py and corrections.py"
    )


@pytest.fixture(scope="module")
def cloud(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalCloud]:
    """A separate one, because it leaves roles and users behind."""
    with LocalCloud.start(tmp_path_factory.mktemp("localcloud")) as started:
        yield started


@pytest.fixture(scope="module")
def s3(cloud: LocalCloud) -> Any:
    made = client(cloud, "s3")
    made.create_bucket(Bucket=BUCKET)
    made.put_bucket_versioning(Bucket=BUCKET, VersioningConfiguration={"Status": "Enabled"})
    for path in SAMPLES.glob("*.*g"):
        made.put_object(Bucket=BUCKET, Key=path.name, Body=path.read_bytes())
    return made


@pytest.fixture
def rekognition(cloud: LocalCloud, s3: Any) -> Any:
    assert s3
    return client(cloud, "rekognition")


def photo(name: str, version: str | None = None) -> dict[str, Any]:
    return {"S3Object": {"Bucket": BUCKET, "Name": name} | ({} if version is None else {"Version": version})}


def test_a_named_version_is_the_one_analysed(s3: Any, rekognition: Any) -> None:
    first = s3.put_object(Bucket=BUCKET, Key="overwritten.jpg", Body=sample("two-portraits.jpg"))["VersionId"]
    s3.put_object(Bucket=BUCKET, Key="overwritten.jpg", Body=sample("coffee.jpg"))
    assert rekognition.detect_faces(Image=photo("overwritten.jpg"))["FaceDetails"] == []
    assert len(rekognition.detect_faces(Image=photo("overwritten.jpg", first))["FaceDetails"]) == 2


@pytest.mark.parametrize(
    "key", ["a b+c%2B%.jpg", "quote'\"\\.jpg", "new\nline.jpg", "tab\x0b.jpg", "smile😀.jpg", "a//b.jpg"]
)
def test_any_key_can_be_read(s3: Any, rekognition: Any, key: str) -> None:
    s3.put_object(Bucket=BUCKET, Key=key, Body=sample("grace-hopper.jpg"))
    assert len(rekognition.detect_faces(Image=photo(key))["FaceDetails"]) == 1


def test_refusals_arrive_as_the_services_exceptions(rekognition: Any) -> None:
    thrown = rekognition.exceptions
    with pytest.raises(thrown.InvalidImageFormatException, match="Request has invalid image format"):
        rekognition.detect_faces(Image=photo("not-a-photo.jpg"))
    with pytest.raises(thrown.InvalidS3ObjectException, match="Unable to get object metadata from S3"):
        rekognition.detect_faces(Image=photo("missing.jpg"))
    with pytest.raises(thrown.InvalidS3ObjectException):
        rekognition.detect_faces(Image={"S3Object": {"Bucket": "no-such-bucket", "Name": "a.jpg"}})
    with pytest.raises(thrown.InvalidS3ObjectException):
        rekognition.detect_faces(Image=photo("coffee.jpg", "no-such-version"))
    with pytest.raises(ClientError, match="UnknownOperationException"):
        rekognition.detect_labels(Image=photo("coffee.jpg"))


def test_callers_without_known_credentials_are_refused(cloud: LocalCloud) -> None:
    iam = client(cloud, "iam")
    iam.create_user(UserName="stranger")
    made = iam.create_access_key(UserName="stranger")["AccessKey"]
    known = {"aws_access_key_id": made["AccessKeyId"], "aws_secret_access_key": made["SecretAccessKey"]}
    for keys, code in (
        (known, "AccessDeniedException"),
        (known | {"aws_secret_access_key": made["AccessKeyId"]}, "InvalidSignatureException"),
        (known | {"aws_access_key_id": "ASIAEXAMPLE"}, "UnrecognizedClientException"),
    ):
        with pytest.raises(ClientError, match=code):
            client(cloud, "rekognition", **keys).detect_faces(Image=photo("coffee.jpg"))


def analysed(function: Function, name: str, version: str | None = None, **more: str) -> Any:
    """How many faces the function gets, or the error it gets."""
    return function.call(photo(name, version)["S3Object"] | more)


GRANTS = ("rekognition:DetectFaces", "s3:GetObject", "s3:GetObjectVersion", "kms:Decrypt")


def without(action: str) -> tuple[str, ...]:
    return tuple(one for one in GRANTS if one != action)


@pytest.fixture(scope="module")
def function(cloud: LocalCloud, s3: Any) -> Function:
    assert s3
    return Function(cloud, HANDLER, "looks-at-photos")


def test_a_function_needs_detect_faces_and_a_revoked_grant_counts_at_once(function: Function) -> None:
    for _ in range(2):
        function.may(*GRANTS)
        assert analysed(function, "two-portraits.jpg") == {"faces": 2}
        function.may(*without("rekognition:DetectFaces"))
        refused = analysed(function, "two-portraits.jpg")
        assert refused["error"] == "AccessDeniedException"
        assert "assumed-role/looks-at-photos/looks-at-photos" in refused["message"]
        assert "is not authorized to perform: rekognition:DetectFaces" in refused["message"]


def test_a_function_with_another_session_token_is_refused(function: Function) -> None:
    function.may(*GRANTS)
    refused = analysed(function, "coffee.jpg", token="another")
    assert refused["error"] in ("InvalidSignatureException", "UnrecognizedClientException")


def test_a_function_needs_get_object(function: Function) -> None:
    function.may(*without("s3:GetObject"))
    assert analysed(function, "coffee.jpg")["error"] == "InvalidS3ObjectException"
    function.may(*GRANTS)
    assert analysed(function, "coffee.jpg") == {"faces": 0}


def test_a_function_needs_get_object_version_for_a_named_version(function: Function, s3: Any) -> None:
    version = s3.put_object(Bucket=BUCKET, Key="v.jpg", Body=sample("two-portraits.jpg"))["VersionId"]
    function.may(*without("s3:GetObjectVersion"))
    assert analysed(function, "v.jpg", version)["error"] == "InvalidS3ObjectException"
    assert analysed(function, "v.jpg") == {"faces": 2}
    function.may(*without("s3:GetObject"))
    assert analysed(function, "v.jpg", version) == {"faces": 2}


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
    assert analysed(function, "secret.jpg")["error"] == "InvalidS3ObjectException"
    assert analysed(function, "coffee.jpg") == {"faces": 0}
    function.may(*GRANTS)
    assert analysed(function, "secret.jpg") == {"faces": 1}


def test_a_published_version_behind_an_alias_is_known_too(cloud: LocalCloud, s3: Any) -> None:
    assert s3
    function = Function(cloud, HANDLER, "behind-an-alias")
    function.may(*GRANTS)
    version = function.client.publish_version(FunctionName=function.name)["Version"]
    function.client.create_alias(FunctionName=function.name, Name="live", FunctionVersion=version)
    assert function.call(photo("two-portraits.jpg")["S3Object"], "live") == {"faces": 2}
    assert analysed(function, "two-portraits.jpg") == {"faces": 2}


def test_a_bucket_that_refuses_the_caller_refuses_it_through_rekognition_too(
    function: Function, cloud: LocalCloud, s3: Any
) -> None:
    function.may(*GRANTS)
    role = f"arn:aws:iam::000000000000:role/{function.name}"
    for condition, expected in (
        ({"Bool": {"aws:SecureTransport": "false"}}, {"faces": 0}),
        ({"Bool": {"aws:SecureTransport": "true"}}, "InvalidS3ObjectException"),
    ):
        statement = {"Effect": "Deny", "Principal": {"AWS": role}, "Action": "s3:*", "Condition": condition}
        statement["Resource"] = f"arn:aws:s3:::{BUCKET}/*"
        s3.put_bucket_policy(Bucket=BUCKET, Policy=policy(statement))
        answer = analysed(function, "coffee.jpg")
        assert answer.get("error", answer) == expected
    s3.delete_bucket_policy(Bucket=BUCKET)
    assert client(cloud, "s3").head_object(Bucket=BUCKET, Key="coffee.jpg")


# What corrections.py puts right


def test_versions_of_keys_that_xml_cannot_hold_are_listed_and_deleted(cloud: LocalCloud) -> None:
    s3 = client(cloud, "s3")
    s3.create_bucket(Bucket="odd-keys")
    s3.put_bucket_versioning(Bucket="odd-keys", VersioningConfiguration={"Status": "Enabled"})
    keys = ["a\x0bb.jpg", "c d+e%2B.jpg", "line\nbreak\r.jpg", "p/ñ&<😀>.jpg"]
    for key in keys:
        s3.put_object(Bucket="odd-keys", Key=key, Body=b"x")
    pages = s3.get_paginator("list_object_versions").paginate(
        Bucket="odd-keys", PaginationConfig={"PageSize": 1}
    )
    versions = [version for page in pages for version in page["Versions"]]
    assert [version["Key"] for version in versions] == keys
    # Terraform calls it for every bucket.
    assert s3.get_bucket_request_payment(Bucket="odd-keys")["Payer"] == "BucketOwner"
    for version in versions:
        s3.delete_object(Bucket="odd-keys", Key=version["Key"], VersionId=version["VersionId"])
    s3.delete_bucket(Bucket="odd-keys")


def test_an_asterisk_in_a_policy_covers_line_breaks(function: Function, s3: Any) -> None:
    s3.put_object(Bucket=BUCKET, Key="line\nbreak.jpg", Body=sample("coffee.jpg"))
    function.may(*GRANTS, resource=f"arn:aws:s3:::{BUCKET}/*")
    assert analysed(function, "line\nbreak.jpg") == {"faces": 0}
    function.may(*GRANTS, resource=f"arn:aws:s3:::{BUCKET}/line")
    assert analysed(function, "line\nbreak.jpg")["error"] == "InvalidS3ObjectException"
