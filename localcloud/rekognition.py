"""A stand-in for Amazon Rekognition's DetectFaces, the one service of the pipeline MiniStack lacks.

It speaks the AWS JSON 1.1 protocol and finds faces with OpenCV's bundled Haar cascade. Like the service it

- reads the S3 object with the caller's own credentials, so the caller needs s3:GetObject (s3:GetObjectVersion
  when a version is named) and, for an object encrypted with a customer-managed key, kms:Decrypt;
- lets nobody call it without rekognition:DetectFaces;
- refuses what the service refuses, with the same exception.

What a cascade cannot know (age, gender, emotions, ...) is left out of the answer, never made up.

Limits come from https://docs.aws.amazon.com/rekognition/latest/dg/limits.html.

The callers it knows are the root credentials test/test and the functions' roles. Tests control it with

    POST   /_faults  {"error": "ThrottlingException", "count": 3, "key": "substring", "delay_seconds": 0.5}
    DELETE /_faults
    GET    /_calls   {"DetectFaces": calls, "answered": answers, "by_key": {key: calls}}
    DELETE /_calls
    GET    /_health

A fault applies to the next `count` calls (-1: for ever, default 1) whose S3 key contains `key` (default: all
calls). It waits `delay_seconds` (default 0), then fails with `error`; without `error` the call goes on.
"""

from __future__ import annotations

import argparse
import base64
import functools
import hashlib
import io
import itertools
import json
import logging
import os
import re
import signal
import socket
import sys
import threading
import time
import uuid
import warnings
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self
from urllib.parse import urlsplit

import boto3
import cv2
import numpy as np
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError
from PIL import Image, ImageOps

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from email.message import Message

HOST = "127.0.0.1"
LOGGER = logging.getLogger("rekognition")

MAX_OBJECT_BYTES = 15 * 1024 * 1024
MAX_RAW_BYTES = 5 * 1024 * 1024
MIN_PIXELS = 80
MAX_FACES = 100
# A request carries at most MAX_RAW_BYTES, in base64.
MAX_REQUEST_BYTES = MAX_RAW_BYTES * 4 // 3 + 64 * 1024
ATTRIBUTES = frozenset(
    {"DEFAULT", "ALL", "AGE_RANGE", "BEARD", "EMOTIONS", "EYE_DIRECTION", "EYEGLASSES", "EYES_OPEN", "GENDER"}
    | {"MOUTH_OPEN", "MUSTACHE", "FACE_OCCLUDED", "SMILE", "SUNGLASSES"}
)
# The API reference gives these two the HTTP status of a server's fault.
_SERVER_FAULTS = frozenset({"InternalServerError", "ThrottlingException"})
# The cascade searches a copy of at most this many pixels a side, for faces of at least so many. That keeps a
# call under 100 ms and finds faces from 6 % of the longer side; the service finds them from about 2 %.
_SEARCH_PIXELS = 320
_LEAST_FACE_PIXELS = 20
# A face is looked at more closely, for its eyes and its quality, in this many pixels a side.
_FACE_PIXELS = 160
_REMEMBERED_PICTURES = 1024
_CASCADES = Path(cv2.__file__).parent / "data"
_CREDENTIAL = re.compile(r"AWS4-HMAC-SHA256\s+Credential=([^/,\s]+)/\d{8}/([a-z0-9-]+)/")
_CLIENT = Config(
    connect_timeout=5,
    read_timeout=30,
    retries={"total_max_attempts": 1},
    s3={"addressing_style": "path"},
    max_pool_connections=32,
)


class RekognitionError(Exception):
    """An error answer: `code` as the API reference names it, and its message."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code
        self.message = message

    @property
    def status(self) -> int:
        """The HTTP status: 500 for the service's own faults, 400 for all others."""
        return 500 if self.code in _SERVER_FAULTS else 400


@dataclass(frozen=True)
class Caller:
    """Whose request it is. `role` is the role's name, None for the root credentials."""

    access_key: str
    secret_key: str = field(repr=False)
    token: str | None = field(repr=False)
    region: str
    arn: str
    role: str | None


class _Cascades(threading.local):
    """A classifier keeps state while it searches, so each thread has its own."""

    def __init__(self) -> None:
        self.face = self._load("haarcascade_frontalface_alt2.xml")
        self.eye = self._load("haarcascade_eye.xml")

    @staticmethod
    def _load(name: str) -> cv2.CascadeClassifier:
        cascade = cv2.CascadeClassifier(str(_CASCADES / name))
        if cascade.empty():
            raise RuntimeError(f"OpenCV has no {name}; it needs opencv-python-headless 4.x.")
        return cascade


_cascades = _Cascades()


def decode(data: bytes) -> Image.Image:
    """The picture in JPEG or PNG bytes, upright (EXIF orientation applied) and in shades of grey.

    It may be smaller than the original by a whole factor: a large JPEG is decoded at reduced size.

    Raises RekognitionError: InvalidImageFormatException when it is neither or is damaged,
    InvalidParameterException under 80 pixels a side, ImageTooLargeException when it would not fit in memory.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            picture = Image.open(io.BytesIO(data), formats=("JPEG", "PNG"))
            if min(picture.size) < MIN_PIXELS:
                raise RekognitionError("InvalidParameterException", "Request has invalid image dimensions")
            picture.draft("L", (_SEARCH_PIXELS, _SEARCH_PIXELS))
            return ImageOps.exif_transpose(picture).convert("L")
    except Image.DecompressionBombError:
        raise RekognitionError("ImageTooLargeException", "Image has too many pixels") from None
    # Pillow's decoders raise these for damaged data.
    except (OSError, SyntaxError, ValueError, EOFError, IndexError):
        raise RekognitionError("InvalidImageFormatException", "Request has invalid image format") from None


def find_faces(picture: Image.Image) -> list[dict[str, Any]]:
    """FaceDetails for an upright grey picture, largest face first, 100 at most.

    Bounding boxes and landmarks are ratios of the picture's width and height. `Confidence` is 100 n / (n + 1)
    for a face the cascade saw in n overlapping windows (4 at least, so 80 to 100); it orders detections, it
    is no probability. `Quality` measures the face itself: Brightness is the mean, 0 black to 100 white,
    Sharpness 100 v / (v + 100), v being the variance of its Laplacian. Landmarks holds the two eyes,
    when both are found.
    """
    scale = min(1.0, _SEARCH_PIXELS / max(picture.size))
    size = (max(1, round(picture.width * scale)), max(1, round(picture.height * scale)))
    grey = np.asarray(picture.resize(size, Image.Resampling.BILINEAR))
    boxes, windows = _cascades.face.detectMultiScale2(
        grey, scaleFactor=1.1, minNeighbors=4, minSize=(_LEAST_FACE_PIXELS, _LEAST_FACE_PIXELS)
    )
    faces = []
    for (x, y, w, h), seen in zip(boxes, windows, strict=True):
        left, width = float(x / size[0]), float(w / size[0])
        top, height = float(y / size[1]), float(h / size[1])
        crop = (
            round(left * picture.width),
            round(top * picture.height),
            round((left + width) * picture.width),
            round((top + height) * picture.height),
        )
        closer = picture.resize((_FACE_PIXELS, _FACE_PIXELS), Image.Resampling.BILINEAR, box=crop)
        face = np.asarray(closer)
        detail: dict[str, Any] = {
            "BoundingBox": {"Width": width, "Height": height, "Left": left, "Top": top},
            "Confidence": float(100 * seen / (seen + 1)),
            "Quality": {"Brightness": float(face.mean() / 255 * 100), "Sharpness": _sharpness(face)},
        }
        if eyes := _eyes(face):
            detail["Landmarks"] = [
                {"Type": name, "X": left + across * width, "Y": top + down * height}
                for name, (across, down) in eyes.items()
            ]
        faces.append(detail)
    faces.sort(key=lambda one: one["BoundingBox"]["Width"] * one["BoundingBox"]["Height"], reverse=True)
    return faces[:MAX_FACES]


class Gallery:
    """Finds faces, and remembers them by picture: a thousand uploads of ten photos cost ten searches."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._found: dict[bytes, list[dict[str, Any]]] = {}

    def find_faces(self, data: bytes) -> list[dict[str, Any]]:
        """FaceDetails for JPEG or PNG bytes; raises as `decode` does."""
        picture = decode(data)
        digest = hashlib.sha256(b"%d %d " % picture.size + picture.tobytes()).digest()
        with self._lock:
            found = self._found.get(digest)
        if found is None:
            found = find_faces(picture)
            with self._lock:
                if len(self._found) >= _REMEMBERED_PICTURES:
                    self._found.clear()
                self._found[digest] = found
        return found


def _sharpness(face: np.ndarray) -> float:
    variance = float(cv2.Laplacian(face, cv2.CV_64F).var())
    return 100.0 * variance / (variance + 100.0)


def _eyes(face: np.ndarray) -> dict[str, tuple[float, float]]:
    """Centres of both eyes as ratios of the face's box; empty unless exactly one is found on each side."""
    height, width = face.shape
    upper = face[: height * 3 // 5]
    least = (width // 8, height // 8)
    found = _cascades.eye.detectMultiScale(upper, scaleFactor=1.1, minNeighbors=5, minSize=least)
    centres = sorted((float((x + w / 2) / width), float((y + h / 2) / height)) for x, y, w, h in found)
    if len(centres) != 2 or not centres[0][0] < 0.5 < centres[1][0]:
        return {}
    # As in the service: left and right of the picture, not of the person.
    return dict(zip(("eyeLeft", "eyeRight"), centres, strict=True))


class Accounts:
    """Who calls and what they may do, asked of MiniStack each time so that a revoked grant counts at once."""

    def __init__(self, endpoint_url: str) -> None:
        self._endpoint_url = endpoint_url
        self._sessions: dict[str, Caller] = {}
        self._lock = threading.Lock()

    def caller(self, headers: Message) -> Caller:
        """The caller of a signed request.

        Raises RekognitionError: MissingAuthenticationTokenException without a signature,
        UnrecognizedClientException when the credentials are not known.
        """
        match = _CREDENTIAL.match(headers.get("Authorization", ""))
        if match is None:
            raise RekognitionError(
                "MissingAuthenticationTokenException", "Request is missing Authentication Token"
            )
        access_key, region = match.groups()
        if access_key == "test":
            return Caller("test", "test", None, region, "arn:aws:iam::000000000000:root", None)
        caller = self._sessions.get(access_key)
        if caller is None:
            with self._lock:
                caller = self._sessions.get(access_key)
                if caller is None:
                    self._sessions |= self._function_sessions(region)
                    caller = self._sessions.get(access_key)
        if caller is None or caller.token != headers.get("X-Amz-Security-Token"):
            raise RekognitionError(
                "UnrecognizedClientException", "The security token included in the request is invalid."
            )
        return caller

    def authorize(self, caller: Caller) -> None:
        """Raises RekognitionError, AccessDeniedException, unless the caller may call DetectFaces."""
        if caller.role is None:
            return
        account = caller.arn.split(":")[4]
        try:
            answer = _client("iam", self._endpoint_url, caller.region).simulate_principal_policy(
                PolicySourceArn=f"arn:aws:iam::{account}:role/{caller.role}",
                ActionNames=["rekognition:DetectFaces"],
            )
            allowed = all(one["EvalDecision"] == "allowed" for one in answer["EvaluationResults"])
        except ClientError as error:
            if error.response["ResponseMetadata"]["HTTPStatusCode"] >= 500:
                raise
            # The role is gone.
            allowed = False
        if not allowed:
            raise RekognitionError(
                "AccessDeniedException",
                f"User: {caller.arn} is not authorized to perform: rekognition:DetectFaces because no "
                "identity-based policy allows the rekognition:DetectFaces action",
            )

    def read(self, caller: Caller, bucket: str, key: str, version: str | None) -> bytes:
        """The S3 object's bytes, read as the caller.

        Raises RekognitionError: InvalidS3ObjectException when it is missing, elsewhere or may not be read,
        ImageTooLargeException over 15 MB.
        """
        client = _client("s3", self._endpoint_url, caller.region, caller)
        try:
            extra = {} if version is None else {"VersionId": version}
            answer = client.get_object(Bucket=bucket, Key=key, **extra)
            with answer["Body"] as body:
                if answer["ContentLength"] > MAX_OBJECT_BYTES:
                    raise RekognitionError("ImageTooLargeException", "Image size is too large")
                data: bytes = body.read()
            if caller.role is not None and (key_id := answer.get("SSEKMSKeyId")):
                self._check_decrypt(caller, key_id)
        except ClientError as error:
            if error.response["ResponseMetadata"]["HTTPStatusCode"] >= 500:
                raise
            LOGGER.info("s3://%s/%s: %s", bucket, key, error)
            raise RekognitionError(
                "InvalidS3ObjectException",
                "Unable to get object metadata from S3. Check object key, region and/or access permissions.",
            ) from None
        return data

    def _check_decrypt(self, caller: Caller, key_id: str) -> None:
        # MiniStack's S3 does not ask KMS. Its KMS asks the key's and the caller's policies before it looks at
        # the ciphertext.
        try:
            _client("kms", self._endpoint_url, caller.region, caller).decrypt(
                CiphertextBlob=b"-", KeyId=key_id
            )
        except ClientError as error:
            if error.response["Error"]["Code"] == "AccessDeniedException":
                raise

    def _function_sessions(self, region: str) -> dict[str, Caller]:
        # MiniStack verifies signatures and tells no secrets, but a function's credentials follow from its
        # configuration by MiniStack's own rule.
        from ministack.core.lambda_runtime import execution_credentials  # type: ignore[import-untyped]

        client = _client("lambda", self._endpoint_url, region)
        sessions: dict[str, Caller] = {}
        for page in client.get_paginator("list_functions").paginate():
            for name in (function["FunctionName"] for function in page["Functions"]):
                pages = client.get_paginator("list_versions_by_function").paginate(FunctionName=name)
                versions = [one for each in pages for one in each["Versions"]]
                alias_pages = client.get_paginator("list_aliases").paginate(FunctionName=name)
                aliases = [one["AliasArn"] for each in alias_pages for one in each["Aliases"]]
                # MiniStack uses the ARN the function was called by: bare, with a version or with an alias.
                bare = ":".join(versions[0]["FunctionArn"].split(":")[:7])
                arns = {bare, *aliases, *(f"{bare}:{one['Version']}" for one in versions)}
                for arn, role_arn in itertools.product(arns, {one["Role"] for one in versions}):
                    caller = self._session(execution_credentials, name, arn, role_arn, region)
                    sessions[caller.access_key] = caller
        return sessions

    @staticmethod
    def _session(
        credentials: Callable[[dict[str, str]], dict[str, str]],
        name: str,
        arn: str,
        role_arn: str,
        region: str,
    ) -> Caller:
        secrets = credentials({"FunctionName": name, "FunctionArn": arn, "Role": role_arn})
        account, role = role_arn.split(":")[4], role_arn.rsplit("/", 1)[-1]
        return Caller(
            secrets["AWS_ACCESS_KEY_ID"],
            secrets["AWS_SECRET_ACCESS_KEY"],
            secrets["AWS_SESSION_TOKEN"],
            region,
            f"arn:aws:sts::{account}:assumed-role/{role}/{name}",
            role,
        )


_client_lock = threading.Lock()


@functools.lru_cache(maxsize=64)
def _client(service: str, endpoint_url: str, region: str, caller: Caller | None = None) -> Any:
    """A client of MiniStack: with the caller's credentials, or with the root's."""
    with _client_lock:
        return boto3.session.Session().client(
            service,  # type: ignore[call-overload]
            endpoint_url=endpoint_url,
            region_name=region,
            aws_access_key_id="test" if caller is None else caller.access_key,
            aws_secret_access_key="test" if caller is None else caller.secret_key,
            aws_session_token=None if caller is None else caller.token,
            config=_CLIENT,
        )


@dataclass
class Fault:
    """What shall go wrong with the next calls."""

    error: str | None
    count: int
    key: str
    delay_seconds: float

    @classmethod
    def parse(cls, body: bytes) -> Fault:
        """Raises ValueError with a sentence when the body is not a fault."""
        try:
            given = json.loads(body)
        except ValueError:
            raise ValueError("A fault is a JSON object.") from None
        if not isinstance(given, dict):
            raise ValueError("A fault is a JSON object.")
        if unknown := sorted(given.keys() - {"error", "count", "key", "delay_seconds"}):
            raise ValueError(f"A fault has no {unknown[0]!r}; it has error, count, key and delay_seconds.")
        fault = cls(
            given.get("error"), given.get("count", 1), given.get("key", ""), given.get("delay_seconds", 0.0)
        )
        if fault.error is not None and not str(fault.error).isidentifier():
            raise ValueError("error must be the name of an exception.")
        if type(fault.count) is not int or (fault.count < 1 and fault.count != -1):
            raise ValueError("count must be a positive whole number, or -1 for ever.")
        if not isinstance(fault.key, str):
            raise ValueError("key must be a part of an object key.")
        if type(fault.delay_seconds) not in (int, float) or not 0 <= fault.delay_seconds <= 900:
            raise ValueError("delay_seconds must be between 0 and 900.")
        if fault.error is None and not fault.delay_seconds:
            raise ValueError("A fault needs an error or delay_seconds.")
        return fault


class Ledger:
    """Counts calls and hands out the faults planned for them."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._faults: list[Fault] = []
        self._by_key: dict[str, int] = {}
        self._calls = 0
        self._answered = 0

    def plan(self, fault: Fault) -> None:
        with self._lock:
            self._faults.append(fault)

    def forget_faults(self) -> None:
        with self._lock:
            self._faults.clear()

    def forget_calls(self) -> None:
        with self._lock:
            self._by_key.clear()
            self._calls = self._answered = 0

    def calls(self) -> dict[str, Any]:
        with self._lock:
            return {"DetectFaces": self._calls, "answered": self._answered, "by_key": dict(self._by_key)}

    def enter(self, key: str | None) -> Fault | None:
        """Count a call (`key` is None for raw bytes) and take the first fault that applies to it."""
        with self._lock:
            self._calls += 1
            if key is not None:
                self._by_key[key] = self._by_key.get(key, 0) + 1
            for fault in self._faults:
                if fault.key in (key or ""):
                    if fault.count > 0:
                        fault.count -= 1
                        if fault.count == 0:
                            self._faults.remove(fault)
                    return fault
        return None

    def answered(self) -> None:
        with self._lock:
            self._answered += 1


@dataclass(frozen=True)
class DetectFacesRequest:
    """A checked request: either `raw` or `bucket` and `key` (and maybe `version`) are set."""

    raw: bytes | None
    bucket: str
    key: str
    version: str | None

    @classmethod
    def parse(cls, body: bytes) -> DetectFacesRequest:
        """Raises RekognitionError: Serialization-, Validation- or InvalidParameterException."""
        try:
            given = json.loads(body or b"{}")
        except ValueError:
            raise RekognitionError("SerializationException", "The request is not JSON") from None
        image = given.get("Image") if isinstance(given, dict) else None
        if not isinstance(image, dict):
            raise _invalid("Value null at 'image' failed to satisfy constraint: Member must not be null")
        attributes = given.get("Attributes") or []
        if not isinstance(attributes, list) or not ATTRIBUTES.issuperset(map(str, attributes)):
            raise _invalid(
                f"Value '{attributes}' at 'attributes' failed to satisfy constraint: Member must satisfy "
                f"constraint: [Member must satisfy enum value set: [{', '.join(sorted(ATTRIBUTES))}]]"
            )
        encoded, s3_object = image.get("Bytes"), image.get("S3Object")
        if (encoded is None) == (s3_object is None):
            raise RekognitionError("InvalidParameterException", "Request has invalid parameters")
        return cls._of_bytes(encoded) if s3_object is None else cls._of_object(s3_object)

    @classmethod
    def _of_object(cls, given: object) -> Self:
        if not isinstance(given, dict):
            raise RekognitionError("SerializationException", "S3Object must be a structure")
        values: dict[str, str] = {}
        for name, least, most in (("Bucket", 3, 255), ("Name", 1, 1024), ("Version", 1, 1024)):
            value = given.get(name)
            if value is None:
                continue
            if not isinstance(value, str):
                raise RekognitionError("SerializationException", f"{name} must be a string")
            if not least <= len(value) <= most:
                raise _invalid(
                    f"Value '{value}' at 'image.s3Object.{name.lower()}' failed to satisfy constraint: "
                    f"Member must have length between {least} and {most}"
                )
            values[name] = value
        if not re.fullmatch(r"[0-9A-Za-z.\-_]+", values.get("Bucket", "")) or "Name" not in values:
            raise RekognitionError("InvalidParameterException", "Request has invalid parameters")
        return cls(None, values["Bucket"], values["Name"], values.get("Version"))

    @classmethod
    def _of_bytes(cls, encoded: object) -> Self:
        try:
            raw = base64.b64decode(encoded, validate=True) if isinstance(encoded, str) else None
        except ValueError:
            raw = None
        if raw is None:
            raise RekognitionError("SerializationException", "Bytes must be base64")
        if not raw:
            raise _invalid(
                "Value at 'image.bytes' failed to satisfy constraint: "
                "Member must have length greater than or equal to 1"
            )
        if len(raw) > MAX_RAW_BYTES:
            raise RekognitionError("ImageTooLargeException", "Image size is too large")
        return cls(raw, "", "", None)


def _invalid(problem: str) -> RekognitionError:
    return RekognitionError("ValidationException", f"1 validation error detected: {problem}")


class Rekognition(ThreadingHTTPServer):
    """The server. `endpoint_url` is MiniStack's."""

    daemon_threads = True
    request_queue_size = 256
    # Off means a second stand-in on the same port would not fail but share it.
    allow_reuse_port = False

    def __init__(self, port: int, endpoint_url: str) -> None:
        self.accounts = Accounts(endpoint_url)
        self.gallery = Gallery()
        self.ledger = Ledger()
        super().__init__((HOST, port), _Handler)

    def server_bind(self) -> None:
        # HTTPServer looks its own name up, which can hang without a network.
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self.socket.bind(self.server_address)
        self.server_address = self.socket.getsockname()
        self.server_name, self.server_port = HOST, int(self.server_address[1])

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that hangs up is no news."""
        if not isinstance(sys.exception(), ConnectionError):
            super().handle_error(request, client_address)

    def detect_faces(self, headers: Message, body: bytes) -> dict[str, Any]:
        """The DetectFaces answer to a request, or RekognitionError."""
        request = DetectFacesRequest.parse(body)
        fault = self.ledger.enter(request.key if request.raw is None else None)
        caller = self.accounts.caller(headers)
        self.accounts.authorize(caller)
        if fault is not None:
            time.sleep(fault.delay_seconds)
            if fault.error is not None:
                raise RekognitionError(fault.error, "Injected by a test")
        data = request.raw
        if data is None:
            data = self.accounts.read(caller, request.bucket, request.key, request.version)
        answer = {"FaceDetails": self.gallery.find_faces(data)}
        self.ledger.answered()
        return answer


class _Handler(BaseHTTPRequestHandler):
    server: Rekognition
    protocol_version = "HTTP/1.1"
    server_version = "localcloud"
    # Headers and body leave in one packet; apart, they wait 40 ms for the client's delayed acknowledgement.
    wbufsize = -1
    disable_nagle_algorithm = True
    timeout = 300

    def do_GET(self) -> None:
        if self.path == "/_calls":
            self._send(200, self.server.ledger.calls())
        elif self.path == "/_health":
            self._send(200, {"status": "ok"})
        else:
            self._no_such_path()

    def do_DELETE(self) -> None:
        if self.path == "/_calls":
            self.server.ledger.forget_calls()
            self._send(200, {})
        elif self.path == "/_faults":
            self.server.ledger.forget_faults()
            self._send(200, {})
        else:
            self._no_such_path()

    def do_POST(self) -> None:
        try:
            length = int(self.headers.get("Content-Length", ""))
        except ValueError:
            length = -1
        if not 0 <= length <= MAX_REQUEST_BYTES:
            self.close_connection = True
            self._send(413, {"__type": "RequestEntityTooLargeException", "Message": "Request is too large"})
            return
        body = self.rfile.read(length)
        if self.path == "/_faults":
            try:
                self.server.ledger.plan(Fault.parse(body))
            except ValueError as error:
                self._send(400, {"message": str(error)})
            else:
                self._send(200, {})
        elif self.path == "/":
            self._answer(body)
        else:
            self._no_such_path()

    def _answer(self, body: bytes) -> None:
        target = self.headers.get("X-Amz-Target", "")
        try:
            if target != "RekognitionService.DetectFaces":
                raise RekognitionError(
                    "UnknownOperationException", f"The stand-in knows DetectFaces only, not {target!r}"
                )
            self._send(200, self.server.detect_faces(self.headers, body))
        except RekognitionError as error:
            self._refuse(error)
        except (BotoCoreError, ClientError):
            LOGGER.exception("MiniStack did not answer")
            self._refuse(RekognitionError("InternalServerError", "The local cloud could not be asked"))
        except Exception:
            LOGGER.exception("DetectFaces")
            self._refuse(RekognitionError("InternalServerError", "Internal server error"))

    def _refuse(self, error: RekognitionError) -> None:
        LOGGER.info("%s: %s", error.code, error.message)
        # The service spells the name three times, and each SDK reads another one.
        self._send(
            error.status,
            {"__type": error.code, "Code": error.code, "Message": error.message},
            {"x-amzn-ErrorType": error.code},
        )

    def _no_such_path(self) -> None:
        self.close_connection = True
        self._send(404, {"message": f"There is no {self.path}; there are /, /_calls, /_faults and /_health."})

    def _send(self, status: int, content: object, headers: Mapping[str, str] | None = None) -> None:
        data = json.dumps(content).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/x-amz-json-1.1")
        self.send_header("Content-Length", str(len(data)))
        self.send_header("x-amzn-RequestId", str(uuid.uuid4()))
        for name, value in (headers or {}).items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base class's name
        LOGGER.debug(format, *args)


def main() -> None:
    """Serve until SIGTERM or SIGINT. AWS_ENDPOINT_URL and AWS_CA_BUNDLE lead to MiniStack."""
    parser = argparse.ArgumentParser(prog="python -m localcloud.rekognition", description=main.__doc__)
    parser.add_argument("--port", type=int, required=True)
    port: int = parser.parse_args().port
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s")
    # Several calls at once keep the cores busy by themselves.
    cv2.setNumThreads(1)
    endpoint_url = os.environ.get("AWS_ENDPOINT_URL", "")
    if urlsplit(endpoint_url).hostname != HOST:
        sys.exit(f"AWS_ENDPOINT_URL must be MiniStack's, at {HOST}; use `python -m localcloud up`.")
    try:
        server = Rekognition(port, endpoint_url)
    except OSError as error:
        sys.exit(f"Port {port} cannot be used: {error.strerror}.")
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: threading.Thread(target=server.shutdown).start())
    with server:
        server.serve_forever(poll_interval=0.1)


if __name__ == "__main__":
    main()
