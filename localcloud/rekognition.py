"""A stand-in for Amazon Rekognition's DetectFaces, the one service of the pipeline MiniStack lacks.

It is registered as one of MiniStack's services (see server.py): MiniStack checks the caller's signature and
permission for rekognition:DetectFaces. Like the real service, it

- reads the S3 object with the caller's own permissions, so the caller needs s3:GetObject (s3:GetObjectVersion
  when a version is given) and, for an object encrypted with a customer-managed key, kms:Decrypt;
- refuses what the service refuses, with the same exception: requests here, files in `faces.read`.

What its detector cannot determine (age, gender, emotions, ...) is left out of the response, never made up.

Limits come from https://docs.aws.amazon.com/rekognition/latest/dg/limits.html. Tests control it with

    POST   /_rekognition/faults  {"error": "ThrottlingException", "count": 3, "key": "a", "delay_seconds": 1}
    DELETE /_rekognition/faults
    POST   /_rekognition/quota   {"calls_per_second": 20}; null lifts it
    GET    /_rekognition/calls   {"DetectFaces": calls, "answered": answers, "by_key": {key: calls}}

A fault applies to the next `count` calls (-1: for ever, default 1) whose S3 key contains `key` (default: all
calls). It waits `delay_seconds` (default 0), then fails with `error`; without `error`, the call continues.
"""

from __future__ import annotations

import asyncio
import base64
import json
import logging
import re
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from .faces import Detector, RekognitionError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping

LOGGER = logging.getLogger("rekognition")
MAX_OBJECT_BYTES = 15 * 1024 * 1024
MAX_RAW_BYTES = 5 * 1024 * 1024
ATTRIBUTES = frozenset(
    {"DEFAULT", "ALL", "AGE_RANGE", "BEARD", "EMOTIONS", "EYE_DIRECTION", "EYEGLASSES", "EYES_OPEN", "GENDER"}
    | {"MOUTH_OPEN", "MUSTACHE", "FACE_OCCLUDED", "SMILE", "SUNGLASSES"}
)
_BUCKET = re.compile(r"[0-9A-Za-z.\-_]{3,255}")
# The API reference gives these two HTTP status 500.
_SERVER_FAULTS = frozenset({"InternalServerError", "ThrottlingException"})


@dataclass(frozen=True)
class S3Object:
    """The object named in a request."""

    bucket: str
    key: str
    version: str | None


@dataclass
class Fault:
    """A fault to inject into the next calls."""

    error: str | None = None
    count: int = 1
    key: str = ""
    delay_seconds: float = 0.0


@dataclass
class Quota:
    """A token bucket, like AWS's quotas: `calls_per_second`, and a bucket of one second's worth."""

    calls_per_second: float
    tokens: float = 0.0
    at: float = 0.0

    def take(self, now: float) -> bool:
        """Take a token at `now`, in seconds; return whether there was one."""
        self.tokens = min(self.calls_per_second, self.tokens + (now - self.at) * self.calls_per_second)
        self.at = now
        if self.tokens < 1:
            return False
        self.tokens -= 1
        return True


class Rekognition:
    """DetectFaces, its faults and its counts. All but finding faces runs in the server's event loop.

    `read` returns the bytes of an object, or raises RekognitionError if the caller of the request with these
    headers may not read it.
    """

    def __init__(self, read: Callable[[S3Object, Mapping[str, str]], Awaitable[bytes]]) -> None:
        self._read = read
        self._detector = Detector()
        # One photo at a time; waiting for a delay or for S3 blocks no other request.
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="rekognition")
        self._faults: list[Fault] = []
        self._answered = 0
        self._by_key: Counter[str] = Counter()
        self._quota: Quota | None = None

    async def handle(
        self, _method: str, _path: str, headers: Mapping[str, str], body: bytes, _query: object
    ) -> tuple[int, dict[str, str], bytes]:
        """The response to an authorised request: HTTP status, headers and body."""
        target = headers.get("x-amz-target", "")
        try:
            if target != "RekognitionService.DetectFaces":
                raise RekognitionError(
                    "UnknownOperationException", f"The stand-in knows DetectFaces only, not {target!r}"
                )
            return _response(200, await self._detect_faces(headers, body))
        except RekognitionError as error:
            LOGGER.info("%s: %s", error.code, error)
            # The service sends the code in three places, and each SDK reads a different one.
            return _response(
                500 if error.code in _SERVER_FAULTS else 400,
                {"__type": error.code, "Code": error.code, "Message": str(error)},
                {"x-amzn-ErrorType": error.code},
            )

    async def _detect_faces(self, headers: Mapping[str, str], body: bytes) -> dict[str, Any]:
        photo = photo_of(body)
        fault = self._count(photo.key if isinstance(photo, S3Object) else "")
        if fault is not None:
            await asyncio.sleep(fault.delay_seconds)
            if fault.error is not None:
                raise RekognitionError(fault.error, "Injected by a test")
        if self._quota is not None and not self._quota.take(time.monotonic()):
            raise RekognitionError("ThrottlingException", "Rate exceeded")
        data = await self._read(photo, headers) if isinstance(photo, S3Object) else photo
        if len(data) > MAX_OBJECT_BYTES:
            raise RekognitionError("ImageTooLargeException", "Image size is too large")
        loop = asyncio.get_running_loop()
        faces = await loop.run_in_executor(self._thread, self._detector.find_faces, data)
        self._answered += 1
        return {"FaceDetails": faces}

    def _count(self, key: str) -> Fault | None:
        """Count a call (`key` is empty for raw bytes) and take the first fault that applies to it."""
        self._by_key[key] += 1
        for fault in self._faults:
            if fault.key in key:
                fault.count -= 1
                if fault.count == 0:
                    self._faults.remove(fault)
                return fault
        return None

    def control(self, method: str, path: str, body: bytes) -> tuple[int, dict[str, str], bytes]:
        """The response to a test's control request: HTTP status, headers and body."""
        match method, path:
            case "POST", "/_rekognition/faults":
                try:
                    self._faults.append(Fault(**json.loads(body)))
                except (TypeError, ValueError) as error:
                    return _response(400, {"message": f"This is not a fault: {error}"})
            case "DELETE", "/_rekognition/faults":
                self._faults.clear()
            case "POST", "/_rekognition/quota":
                allowed = json.loads(body)["calls_per_second"]
                self._quota = None if allowed is None else Quota(float(allowed))
            case "GET", "/_rekognition/calls":
                calls = {"DetectFaces": self._by_key.total(), "answered": self._answered}
                return _response(200, {**calls, "by_key": self._by_key})
            case _:
                return _response(404, {"message": f"There is no {method} {path}."})
        return _response(200, {})


def photo_of(body: bytes) -> bytes | S3Object:
    """The photo in a DetectFaces request.

    Raises RekognitionError: SerializationException when the request does not have the API's structure,
    InvalidParameterException when it has values the API does not accept (pattern and lengths from
    https://docs.aws.amazon.com/rekognition/latest/APIReference/API_S3Object.html), ImageTooLargeException.
    """
    try:
        given = json.loads(body)
        encoded, named = given["Image"].get("Bytes"), given["Image"].get("S3Object")
        valid = ATTRIBUTES.issuperset(given.get("Attributes", [])) and (encoded is None) != (named is None)
        photo: bytes | S3Object = b""
        if valid and named is None:
            photo = base64.b64decode(encoded, validate=True)
            valid = len(photo) > 0
        elif valid:
            photo = S3Object(named["Bucket"], named["Name"], named.get("Version"))
            lengths = (len(photo.key), len("-" if photo.version is None else photo.version))
            valid = _BUCKET.fullmatch(photo.bucket) is not None and all(1 <= one <= 1024 for one in lengths)
    except (ValueError, TypeError, KeyError, AttributeError):
        raise RekognitionError("SerializationException", "The request is not of the API's shape") from None
    if not valid:
        raise RekognitionError("InvalidParameterException", "Request has invalid parameters")
    if isinstance(photo, bytes) and len(photo) > MAX_RAW_BYTES:
        raise RekognitionError("ImageTooLargeException", "Image size is too large")
    return photo


def _response(
    status: int, content: object, headers: Mapping[str, str] | None = None
) -> tuple[int, dict[str, str], bytes]:
    common = {"Content-Type": "application/x-amz-json-1.1"}
    return status, common | dict(headers or {}), json.dumps(content).encode()
