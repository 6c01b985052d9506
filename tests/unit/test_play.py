"""The playground's page without its cloud: who may use it, and what it refuses."""

from __future__ import annotations

import asyncio
import json
import re
import signal
import socket
import subprocess
import sys
import urllib.request
from typing import Any, cast

import pytest

from localcloud import cloud, play
from localcloud.playground import MAX_BYTES, Playground
from operations import page
from operations.errors import UserError
from operations.program import ROOT

OWN = {"host": "127.0.0.1:8000"}


class FakeStack:
    """A bucket without a pipeline."""

    def __init__(self) -> None:
        self.uploads: dict[str, bytes] = {}

    def upload(self, key: str, body: bytes) -> str:
        self.uploads[key] = body
        return f"{key}@etag"


STACK = FakeStack()


@pytest.fixture(autouse=True)
def empty() -> None:
    STACK.uploads.clear()


def ask(
    path: str,
    headers: dict[str, str],
    *,
    method: str = "GET",
    content: object = None,
    length: int | None = None,
) -> tuple[int, str]:
    """Status and body of one request to a playground whose token is `token`."""
    app: Any = play.application(Playground(cast("Any", STACK)), "token")
    body = json.dumps(content).encode()
    sent: list[Any] = []

    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": body}

    async def send(message: Any) -> None:
        sent.append(message)

    given = headers | {"content-length": str(len(body) if length is None else length)}
    scope = {
        "type": "http",
        "method": method,
        "path": path,
        "query_string": b"",
        "headers": [(name.encode(), value.encode()) for name, value in given.items()],
    }
    asyncio.run(app(scope, receive, send))
    text = b"".join(message.get("body", b"") for message in sent).decode()
    return sent[0]["status"], text


@pytest.mark.parametrize(
    ("method", "headers"),
    [
        ("GET", {"host": "rebound.example:8000"}),
        ("GET", {"host": "localhost:8000"}),
        ("POST", {"host": "rebound.example:8000"}),
    ],
    ids=str,
)
def test_a_name_that_was_made_to_lead_here_neither_looks_nor_acts(
    method: str, headers: dict[str, str]
) -> None:
    path = "/token/" if method == "GET" else "/token/upload/a.jpg"
    assert ask(path, headers, method=method, content=[])[0] == 400
    assert ask(path, OWN, method=method, content=[])[0] == 200


@pytest.mark.parametrize("path", ["/", "/events", "/other/", "/tokens/", "/upload/a.jpg"])
def test_without_the_token_there_is_nothing(path: str) -> None:
    assert ask(path, OWN)[0] == 404


def test_the_page_runs_its_own_script_alone() -> None:
    _, text = ask("/token/", {"host": OWN["host"]})
    policy = re.search(r'Content-Security-Policy" content="([^"]*)"', text)
    script = re.search(r"<script>(.*)</script>", text, re.DOTALL)
    assert policy
    assert script
    assert f"script-src '{page.digest(script[1])}'" in policy[1].replace("&#39;", "'")
    assert "unsafe" not in policy[1]


def test_a_file_over_the_limit_is_refused_unread() -> None:
    status, text = ask("/token/upload/a b.jpg", OWN, method="POST", length=MAX_BYTES + 1)
    assert (status, json.loads(text)) == (413, {"error": "The file is too large."})
    assert STACK.uploads == {}


def test_the_same_file_may_come_again() -> None:
    playground = Playground(cast("Any", STACK))
    for _ in range(2):
        playground.upload("a.jpg", b"photo")
    assert STACK.uploads == {"photo-1/a.jpg": b"photo", "photo-2/a.jpg": b"photo"}


# The playground as it is started, but on a fake pipeline.
PROGRAM = """
import contextlib
from types import SimpleNamespace
from localcloud import play, stack
from operations import program
idle = SimpleNamespace(list_executions=lambda **_: {"executions": []})
deployed = SimpleNamespace(client=lambda _: idle, state_machine_arn="arn")
cloud = SimpleNamespace(close=lambda: print("stopped"))
stack.LocalCloud = SimpleNamespace(start=lambda _: contextlib.closing(cloud))
stack.Stack = SimpleNamespace(deploy=lambda *_, **__: deployed)
program.end_in_order()
play.main()
"""


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupt_ends_everything_even_while_a_page_is_open(number: signal.Signals) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", PROGRAM], cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    ) as process:
        assert process.stdout
        lines = iter(process.stdout)
        address = next(found[0] for line in lines if (found := re.search(r"http://127\.0\.0\.1:\S+", line)))
        with urllib.request.urlopen(f"{address}events") as watching:
            assert watching.status == 200
            process.send_signal(number)
            assert list(lines)[-2:] == ["stopped\n", "The playground has ended; nothing is left running.\n"]
    assert process.returncode == 0


def test_a_port_that_is_taken_is_a_sentence() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(UserError, match=f"^Port {port} cannot be used: .* choose another with --port"):
            cloud.listening(port)
