"""The one server of the local cloud: MiniStack, with a stand-in for Rekognition among its services.

MiniStack has no public way to add a service, so this module uses what it keeps its own services in; the
version is pinned, and a test names what moved.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import resource
import signal
import sys
import tempfile
import threading
import time
from typing import TYPE_CHECKING

import ministack.app as ministack
from hypercorn.asyncio import serve
from hypercorn.config import Config
from ministack.core import iam_actions, router
from ministack.core.iam_evaluator import enforce
from ministack.core.responses import get_account_id
from starlette.requests import Request
from starlette.responses import Response

from . import corrections
from .faces import RekognitionError
from .rekognition import Rekognition, S3Object

if TYPE_CHECKING:
    from collections.abc import Mapping

    from starlette.types import Receive, Scope, Send


async def read_object(photo: S3Object, headers: Mapping[str, str]) -> bytes:
    """The bytes of an object, read with the permissions of the caller of the request with these headers.

    Raises RekognitionError, InvalidS3ObjectException, when it is missing or may not be read.
    """
    action = "GetObject" if photo.version is None else "GetObjectVersion"
    path = f"/{photo.bucket}/{photo.key}"
    # Who calls was checked already; without a signature S3 would take it for a stranger's request.
    signed = {"authorization": headers["authorization"]}
    query = {} if photo.version is None else {"versionId": [photo.version]}
    if _may(headers, "s3", action, f"arn:aws:s3:::{photo.bucket}/{photo.key}"):
        status, found, body = await ministack.SERVICE_HANDLERS["s3"]("GET", path, signed, b"", query)
        key = found.get("x-amz-server-side-encryption-aws-kms-key-id")
        if status == 200 and (key is None or _may(headers, "kms", "Decrypt", key)):
            return bytes(body)
    raise RekognitionError(
        "InvalidS3ObjectException",
        "Unable to get object metadata from S3. Check object key, region and/or access permissions.",
    )


def _may(headers: Mapping[str, str], service: str, action: str, resource: str) -> bool:
    region = router.extract_region(headers)
    if not resource.startswith("arn:"):
        resource = f"arn:aws:{service}:{region}:{get_account_id()}:key/{resource}"
    caller = router.extract_access_key_id(headers)
    return enforce(caller, f"{service}:{action}", service, region, resource_arn=resource) is None


corrections.apply()
rekognition = Rekognition(read_object)
ministack.SERVICE_HANDLERS["rekognition"] = rekognition.handle
router.SERVICE_PATTERNS["rekognition"] = {"target_prefixes": ["RekognitionService"]}
iam_actions.SERVICE_TO_IAM_NAMESPACE["rekognition"] = "rekognition"


async def app(scope: Scope, receive: Receive, send: Send) -> None:
    """MiniStack's ASGI application, and the stand-in's control below /_rekognition/."""
    if scope["type"] != "http" or not scope["path"].startswith("/_rekognition/"):
        await ministack.app(scope, receive, send)
        return
    body = await Request(scope, receive).body()
    status, headers, content = rekognition.control(scope["method"], scope["path"], body)
    await Response(content, status, headers)(scope, receive, send)


def main() -> None:
    """Serve on the first argument, a descriptor, until SIGTERM or until the second, its parent, is gone.

    cloud.py makes the environment this reads.
    """
    listener, *callers = map(int, sys.argv[1:])
    # Whoever started it kept interrupts waiting meanwhile.
    signal.pthread_sigmask(signal.SIG_SETMASK, ())
    for caller in callers:
        threading.Thread(target=_end_with, args=(caller,), daemon=True).start()
    # Nothing may be written into the checkout, which is where it was started.
    os.chdir(tempfile.gettempdir())
    # Bursts of uploads open many connections; some systems name a limit they do not grant.
    most = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    with contextlib.suppress(OSError, ValueError):
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    config = Config()
    config.backlog = 1024
    # MiniStack's own command would open port 443 as well where it may, beside the one it is given.
    config.bind = [f"fd://{listener}"]
    config.certfile = os.environ["MINISTACK_SSL_CERT"]
    config.keyfile = os.environ["MINISTACK_SSL_KEY"]
    # The state is gone anyway, so nothing is worth waiting for.
    config.graceful_timeout = 0
    config.keep_alive_timeout = 75
    asyncio.run(serve(app, config))  # type: ignore[arg-type]


def _end_with(caller: int) -> None:
    while os.getppid() == caller:
        time.sleep(1)
    # The Lambda workers are of the same group.
    os.killpg(0, signal.SIGTERM)


if __name__ == "__main__":
    main()
