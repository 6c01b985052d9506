"""Proxies between a client and the local cloud that can stop or replace a response."""

from __future__ import annotations

import http.client
import json
import ssl
import threading
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Self
from urllib.parse import urlsplit

import psutil

from localcloud.cloud import HOST

if TYPE_CHECKING:
    from localcloud import LocalCloud
    from localcloud.stack import Stack

_SECONDS = 20.0


class Proxy:
    """While entered, a server that hands what is posted to it on to `cloud`."""

    def __init__(self, cloud: LocalCloud) -> None:
        target = urlsplit(cloud.endpoint_url)
        context = ssl.create_default_context(cafile=str(cloud.ca_bundle))
        proxy = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                action = self.headers.get("X-Amz-Target", "").rpartition(".")[2]
                if own := proxy.instead(action):
                    self.respond(400, [("Content-Type", "application/x-amz-json-1.0")], own)
                    return
                connection = http.client.HTTPSConnection(
                    str(target.hostname), target.port, context=context, timeout=_SECONDS
                )
                # The caller signed its own Host header, so it is passed on as it is.
                connection.putrequest("POST", self.path, skip_host=True, skip_accept_encoding=True)
                for name, value in self.headers.items():
                    connection.putheader(name, value)
                connection.endheaders(body)
                answer = connection.getresponse()
                content = answer.read()
                connection.close()
                proxy.answered(action, self.client_address[1])
                self.respond(answer.status, answer.getheaders(), content)

            def respond(self, status: int, headers: list[tuple[str, str]], content: bytes) -> None:
                with suppress(ConnectionError):
                    self.send_response(status)
                    for name, value in headers:
                        if name.lower() not in {"transfer-encoding", "connection", "content-length"}:
                            self.send_header(name, value)
                    self.send_header("Content-Length", str(len(content)))
                    self.end_headers()
                    self.wfile.write(content)

            def log_message(self, *_: object) -> None:
                pass

        self._server = ThreadingHTTPServer((HOST, 0), Handler)
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.05})

    @property
    def address(self) -> str:
        """What takes the place of AWS_ENDPOINT_URL."""
        return f"http://{HOST}:{self._server.server_address[1]}"

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()

    def instead(self, action: str) -> bytes | None:  # noqa: ARG002
        """The error to answer `action` with; None hands it on."""
        return None

    def answered(self, action: str, port: int) -> None:
        """The cloud did `action` for the client at `port`, which has no answer yet."""


class RefusingProxy(Proxy):
    """Answers the first `times` calls of `action` with AccessDeniedException and `message`.

    Attributes:
        asked: how often it was called.
    """

    def __init__(self, cloud: LocalCloud, action: str, message: str, times: int) -> None:
        super().__init__(cloud)
        self._action, self._message, self._times = action, message, times
        self.asked = 0

    def instead(self, action: str) -> bytes | None:
        self.asked += action == self._action
        if action != self._action or self.asked > self._times:
            return None
        return json.dumps({"__type": "AccessDeniedException", "message": self._message}).encode()


class DynamoDBProxy(Proxy):
    """While entered, a version of ProcessImage runs whose DynamoDB calls come through here."""

    def __init__(self, stack: Stack) -> None:
        super().__init__(stack.cloud)
        self._stack = stack
        self._lambda = stack.client("lambda")
        self._name = stack.outputs["function_names"]["process_image"]
        self._hold = threading.Event()
        self._written = threading.Event()
        self._release = threading.Event()
        self._port = 0

    def answered(self, action: str, port: int) -> None:
        if action == "PutItem" and self._hold.is_set():
            self._hold.clear()
            self._port = port
            self._written.set()
            self._release.wait(_SECONDS)

    def __enter__(self) -> Self:
        super().__enter__()
        machine = self._stack.client("stepfunctions").describe_state_machine(
            stateMachineArn=self._stack.outputs["state_machine_arn"]
        )
        aliases = self._lambda.list_aliases(FunctionName=self._name)["Aliases"]
        (self._alias,) = [one for one in aliases if one["AliasArn"] in machine["definition"]]
        configuration = self._lambda.get_function_configuration(FunctionName=self._name)
        self._variables = configuration["Environment"]["Variables"]
        self._lambda.update_function_configuration(
            FunctionName=self._name,
            Environment={"Variables": {**self._variables, "AWS_ENDPOINT_URL_DYNAMODB": self.address}},
        )
        version = self._lambda.publish_version(FunctionName=self._name)["Version"]
        self._point_alias_to(version)
        return self

    def __exit__(self, *_: object) -> None:
        self._release.set()
        self._point_alias_to(self._alias["FunctionVersion"])
        self._lambda.update_function_configuration(
            FunctionName=self._name, Environment={"Variables": self._variables}
        )
        super().__exit__()

    def _point_alias_to(self, version: str) -> None:
        self._lambda.update_alias(FunctionName=self._name, Name=self._alias["Name"], FunctionVersion=version)

    def hold_next_write(self) -> None:
        """Let the next PutItem through to DynamoDB and keep its answer."""
        self._hold.set()

    def kill_writer(self) -> int:
        """Wait for that write and kill the process that made it; its process id."""
        assert self._written.wait(_SECONDS), "nothing was written"
        server = psutil.Process(self._stack.cloud.pid)
        for process in server.children(recursive=True):
            if any(connection.laddr.port == self._port for connection in process.net_connections("tcp")):
                process.kill()
                self._release.set()
                return process.pid
        raise AssertionError("the process that wrote is not a worker of this local cloud")
