"""The cost of our own code, measured without a cloud: a stub answers the SDK's requests in this process.

Times are CPU times, which other programs affect least.
"""

from __future__ import annotations

import importlib
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections import Counter
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, cast

from operations.program import ROOT
from tests.unit.test_budgets import ENVIRONMENT
from tools import package

if TYPE_CHECKING:
    from collections.abc import Iterator

FUNCTIONS = ("process_image", "send_notification", "start_workflow")
FACES = (0, 1, 15, 100)
EVERY_ATTRIBUTE = 100
_ROUNDS = 60
# Changes to the settings of the cold start test: no pauses, and all attributes of every face.
_SETTINGS = {
    "FACE_ATTRIBUTES": "ALL",
    "FACE_MIN_CONFIDENCE": "0",
    "PHOTOS_PER_DAY": "1000000",
    "PHOTOS_PER_SECOND": "1000000",
}


def measure() -> dict[str, Any]:
    """Own milliseconds by number of faces, API calls for one new photo, import milliseconds, zip bytes."""
    with _handlers() as handlers:
        calls: Counter[str] = Counter()
        milliseconds = {str(faces): _own(handlers, faces, calls) for faces in FACES}
        calls.clear()
        _photo(handlers, _Sdk(calls, 1))
        photo = dict(calls)
        calls.clear()
        _batch(handlers["start_workflow"], _Sdk(calls, 0))
        start = {name: count / 10 for name, count in calls.items()}
    return {
        "own_ms_by_faces": milliseconds,
        "calls_per_photo": dict(sorted(photo.items())),
        "calls_per_buffered_photo": dict(sorted(start.items())),
        "imports": {name: imports(name) for name in FUNCTIONS},
        "zip_bytes": {name: _zip(name) for name in FUNCTIONS},
    }


class _Sdk:
    """Answers and counts requests at the SDK's lowest level, and measures the time inside the SDK."""

    def __init__(self, calls: Counter[str], faces: int) -> None:
        from tests.unit.pipeline import full_face

        self.calls = calls
        self.seconds = 0.0
        # Up to fifteen faces have the default attributes; a hundred, the API's maximum, have all.
        face = full_face()
        if faces < EVERY_ATTRIBUTE:
            face = {
                name: face[name] for name in ("BoundingBox", "Confidence", "Landmarks", "Pose", "Quality")
            }
            face["Landmarks"] = face["Landmarks"][:5]
        self.faces = json.dumps({"FaceDetails": [face] * faces}).encode()

    @contextmanager
    def answering(self) -> Iterator[None]:
        from botocore import client, endpoint

        # The SDK has no hooks for these.
        calling, sending = cast("Any", client.BaseClient), cast("Any", endpoint.Endpoint)
        call, send = calling._make_api_call, sending._send_request

        def timed(client: Any, name: str, parameters: Any) -> Any:
            self.calls[f"{client.meta.service_model.service_name}:{name}"] += 1
            started = time.process_time()
            try:
                return call(client, name, parameters)
            finally:
                self.seconds += time.process_time() - started

        def answered(_: Any, _request: Any, model: Any) -> Any:
            return self._answer(model)

        calling._make_api_call, sending._send_request = timed, answered
        try:
            yield
        finally:
            calling._make_api_call, sending._send_request = call, send

    def _answer(self, model: Any) -> Any:
        from botocore.parsers import create_parser

        protocol = model.service_model.resolved_protocol
        bodies = {
            "DetectFaces": self.faces,
            "Publish": b"<R><PublishResult><MessageId>id</MessageId></PublishResult></R>",
            "StartExecution": json.dumps({"executionArn": "arn", "startDate": 0}).encode(),
        }
        body = bodies.get(model.name, b"{}")
        if model.name == "UpdateItem":
            body = b'{"Attributes": {"Started": {"N": "10"}}}'
        parsed = create_parser(protocol).parse(
            {"status_code": 200, "headers": {}, "body": body}, model.output_shape
        )
        return SimpleNamespace(status_code=200, headers={}), parsed


@contextmanager
def _handlers() -> Iterator[dict[str, Any]]:
    import logging

    sys.path.insert(0, str(ROOT / "functions"))
    before = dict(os.environ)
    os.environ.update({**ENVIRONMENT, **_SETTINGS})
    logging.disable(logging.CRITICAL)
    try:
        yield {name: importlib.import_module(f"{name}.handler").handler for name in FUNCTIONS}
    finally:
        logging.disable(logging.NOTSET)
        os.environ.clear()
        os.environ.update(before)
        sys.path.remove(str(ROOT / "functions"))


def _own(handlers: dict[str, Any], faces: int, calls: Counter[str]) -> float:
    """Milliseconds outside the SDK for one new photo, in ProcessImage and SendNotification together."""
    own = []
    for _ in range(_ROUNDS):
        sdk = _Sdk(calls, faces)
        started = time.process_time()
        _photo(handlers, sdk)
        own.append(time.process_time() - started - sdk.seconds)
    return round(statistics.median(own) * 1000, 3)


def _photo(handlers: dict[str, Any], sdk: _Sdk) -> None:
    from tests.unit.pipeline import event_for

    created = event_for("photos/2026/11/someone.jpg")
    with sdk.answering():
        summary = handlers["process_image"]({"event": created, "execution_id": "arn:execution"}, None)
        handlers["send_notification"]({**summary, "retry_count": 0}, None)


def _batch(handler: Any, sdk: _Sdk) -> None:
    from tests.unit.pipeline import event_for

    records = [
        {
            "messageId": str(index),
            "receiptHandle": str(index),
            "body": json.dumps(event_for(f"{index}.jpg")),
            "attributes": {"ApproximateReceiveCount": "1"},
        }
        for index in range(10)
    ]
    with sdk.answering():
        handler({"Records": records}, None)


def imports(function: str) -> dict[str, float]:
    """Milliseconds to import the handler, and those spent in each of our own modules."""
    answer = subprocess.run(
        [sys.executable, "-X", "importtime", "-c", f"import {function}.handler"],
        env={**os.environ, **ENVIRONMENT, **_SETTINGS, "PYTHONPATH": str(ROOT / "functions")},
        capture_output=True,
        text=True,
        check=True,
    )
    own: dict[str, float] = {}
    whole = 0.0
    for line in answer.stderr.splitlines():
        alone, together, name = (part.strip() for part in line.removeprefix("import time:").split("|"))
        if name == f"{function}.handler":
            whole = int(together) / 1000
        elif name.split(".")[0] == function:
            own[name] = int(alone) / 1000
    return {"ms": round(whole, 1), **{name: round(ms, 2) for name, ms in sorted(own.items())}}


def _zip(function: str) -> int:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "function.zip")
        package.build(ROOT / "functions" / function, path)
        return path.stat().st_size


def yardstick() -> float:
    """Milliseconds this computer now takes to write a hundred faces as JSON and read them back."""
    from tests.unit.pipeline import full_face

    faces = [full_face()] * 100
    times = []
    for _ in range(20):
        started = time.process_time()
        json.loads(json.dumps(faces))
        times.append(time.process_time() - started)
    return statistics.median(times) * 1000
