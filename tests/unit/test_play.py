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
from typing import Any

import pytest

from localcloud import play
from localcloud.playground import MAX_BYTES, Playground
from operations import page
from operations.errors import UserError
from operations.program import ROOT

ORIGIN = "http://127.0.0.1:8000"
OWN = {"host": "127.0.0.1:8000", "origin": ORIGIN}


class FakeS3:
    def generate_presigned_post(self, _bucket: str, key: str, **_: object) -> dict[str, Any]:
        return {"fields": {"key": key}}


class FakeStack:
    bucket = "uploads"

    def client(self, _service: str) -> FakeS3:
        return FakeS3()


def ask(
    path: str,
    headers: dict[str, str],
    *,
    method: str = "GET",
    content: object = None,
    length: int | None = None,
) -> tuple[int, str]:
    """Status and body of one request to a playground whose token is `token`."""
    stack: Any = FakeStack()
    app: Any = play.application(Playground(stack), "token", ORIGIN)
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
        ("GET", {"host": "127.0.0.1:8001"}),
        ("GET", {"host": "127.0.0.1:8000", "origin": "https://elsewhere.example"}),
        ("POST", {"host": "127.0.0.1:8000", "origin": "null"}),
        ("POST", {"host": "127.0.0.1:8000"}),
        ("POST", {"host": "rebound.example:8000", "origin": "http://rebound.example:8000"}),
    ],
    ids=str,
)
def test_another_page_in_the_same_browser_neither_looks_nor_acts(
    method: str, headers: dict[str, str]
) -> None:
    path = "/token/" if method == "GET" else "/token/uploads"
    assert ask(path, headers, method=method, content=[])[0] == 403
    assert ask(path, OWN, method=method, content=[])[0] == 200


@pytest.mark.parametrize("path", ["/", "/events", "/other/", "/tokens/", "/uploads"])
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


@pytest.mark.parametrize(
    ("files", "reason"),
    [
        (
            [{"name": "a.jpg", "size": 1}] * 11,
            "11 files are too many: 10 at once.",
        ),
        ([{"name": "a.jpg", "size": MAX_BYTES + 1}], "a.jpg is larger than 20.0 MB."),
        ([{"name": "a.jpg"}], "Files are a list of names and sizes."),
        (7, "Files are a list of names and sizes."),
    ],
)
def test_what_is_over_the_limit_is_refused_with_the_reason(files: object, reason: str) -> None:
    status, text = ask("/token/uploads", OWN, method="POST", content=files)
    assert (status, json.loads(text)) == (400, {"error": reason})


def test_ten_files_are_signed_each_for_a_key_of_its_own() -> None:
    status, text = ask(
        "/token/uploads", OWN, method="POST", content=[{"name": "a.jpg", "size": MAX_BYTES}] * 10
    )
    assert status == 200
    assert [form["fields"]["key"] for form in json.loads(text)] == [f"photo-{n}/a.jpg" for n in range(1, 11)]


def test_a_body_that_is_larger_than_any_form_is_not_read() -> None:
    assert ask("/token/s3", OWN, method="POST", length=MAX_BYTES + 100_000) == (
        413,
        "<Error><Message>The file is too large.</Message></Error>",
    )


def test_a_mode_rekognition_does_not_have_is_refused() -> None:
    status, text = ask("/token/mode", OWN, method="POST", content={"mode": "dances"})
    assert (status, json.loads(text)) == (400, {"error": "There is no mode dances."})


# The playground as it is started, but on a pipeline that is none.
PROGRAM = """
import contextlib
from types import SimpleNamespace
from localcloud import play
idle = SimpleNamespace(list_executions=lambda **_: {"executions": []})
stack = SimpleNamespace(client=lambda _: idle, outputs={"state_machine_arn": "arn"})
cloud = SimpleNamespace(close=lambda: print("stopped"))
play.LocalCloud = SimpleNamespace(start=lambda _: contextlib.closing(cloud))
play.Stack = SimpleNamespace(deploy=lambda *_, **__: stack)
play.main()
"""


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupt_ends_all_of_it_even_while_somebody_watches(number: signal.Signals) -> None:
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
        with pytest.raises(UserError, match=f"^Port {port} cannot be used: .* in use; choose another.$"):
            play._listening(port)
