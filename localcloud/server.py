"""The local cloud's server: MiniStack, with a stand-in for Rekognition among its services.

MiniStack has no public way to add a service, so this module uses its internal tables; the version is pinned,
and a test fails when they change.
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
    """The bytes of an object, read with the permissions of the caller who sent these headers.

    Raises RekognitionError, InvalidS3ObjectException, when it is missing or the caller may not read it.
    """
    action = "GetObject" if photo.version is None else "GetObjectVersion"
    path = f"/{photo.bucket}/{photo.key}"
    # The caller is already authenticated; without a signature, S3 would treat the request as anonymous.
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
    """Serve on a file descriptor, the first argument, until SIGTERM or the end of its parent, the second.

    The environment comes from processes.py.
    """
    listener, *callers = map(int, sys.argv[1:])
    # The parent blocked interrupts while starting this process.
    signal.pthread_sigmask(signal.SIG_SETMASK, ())
    for caller in callers:
        threading.Thread(target=_end_with, args=(caller,), daemon=True).start()
    # It starts in the checkout, into which nothing may be written.
    os.chdir(tempfile.gettempdir())
    # Bursts of uploads open many connections; some systems report a hard limit they do not grant.
    most = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    with contextlib.suppress(OSError, ValueError):
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    config = Config()
    config.backlog = 1024
    # MiniStack's own command would also open port 443 if permitted.
    config.bind = [f"fd://{listener}"]
    config.certfile = os.environ["MINISTACK_SSL_CERT"]
    config.keyfile = os.environ["MINISTACK_SSL_KEY"]
    # The state is discarded anyway, so there is nothing to wait for.
    config.graceful_timeout = 0
    config.keep_alive_timeout = 75
    asyncio.run(serve(app, config))  # type: ignore[arg-type]


def _end_with(caller: int) -> None:
    while os.getppid() == caller:
        time.sleep(1)
    # The Lambda workers are in the same process group.
    os.killpg(0, signal.SIGTERM)


if __name__ == "__main__":
    main()
