"""Starts and stops the local cloud: MiniStack with IAM enforced, and a stand-in for Rekognition.

It listens on 127.0.0.1 only, runs without root and writes to one directory only (`build/localcloud` by
default). It uses TLS, with a new certificate for each run, so that policies that refuse plain HTTP are
evaluated too. POSIX systems only.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import shlex
import shutil
import socket
import subprocess
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Self

import trustme
import urllib3

from operations import options
from operations.errors import UserError

from . import processes

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

HOST = "127.0.0.1"
REGION = "us-east-1"
REPOSITORY = Path(__file__).resolve().parent.parent
# The mark on a cloud's processes, by which all of one checkout are found.
RUNS_OF = str(REPOSITORY)
BUILD = REPOSITORY / "build"
SAMPLES = REPOSITORY / "samples"
DEFAULT_DIRECTORY = BUILD / "localcloud"
START_SECONDS = 30.0


class LocalCloudError(UserError):
    """The local cloud cannot start or be reached."""


@dataclass
class LocalCloud:
    """A running local cloud.

    `endpoint_url` has the form `https://127.0.0.1:PORT`; clients verify it with `ca_bundle`.
    `pid` is the server's, which leads its own process group.
    """

    directory: Path
    endpoint_url: str
    pid: int = 0
    _child: subprocess.Popen[bytes] | None = field(default=None, repr=False)

    @classmethod
    def start(
        cls,
        directory: Path = DEFAULT_DIRECTORY,
        *,
        port: int | None = None,
        extra_environment: Mapping[str, str] | None = None,
        outlives_caller: bool = False,
    ) -> LocalCloud:
        """Start the server and wait until it answers, 30 s at most.

        `extra_environment` is set for the server and its Lambda workers; it cannot replace the variables that
        keep the cloud local. Without a port, a free one is chosen. The server runs until `stop`, or until the
        calling process ends, unless it `outlives_caller`.

        Raises LocalCloudError, with nothing left running, when the port is in use, the server does not start,
        or a local cloud already runs in `directory`.
        """
        directory = directory.resolve()
        with _locked(directory):
            if (other := cls.running(directory)) is not None:
                raise LocalCloudError(
                    f"A local cloud already runs at {other.endpoint_url}; stop it with `make local-down`."
                )
            # A server that died may have left workers.
            _sweep(directory)
            cloud = cls(directory, "")
            try:
                cloud._serve(port, extra_environment or {}, outlives_caller)
                cloud._wait()
            except BaseException:
                cloud._stop()
                raise
        return cloud

    def _serve(self, port: int | None, extra: Mapping[str, str], outlives_caller: bool) -> None:
        with listening(port) as listener:
            port = int(listener.getsockname()[1])
            self.endpoint_url = f"https://{HOST}:{port}"
            temporary = self.directory / "tmp"
            (temporary / "home").mkdir(parents=True)
            authority = trustme.CA()
            authority.cert_pem.write_to_path(str(self.ca_bundle))
            certificate = authority.issue_cert(HOST)
            certificate.private_key_and_cert_chain_pem.write_to_path(str(temporary / "server.pem"))
            command = [sys.executable, "-m", "localcloud.server", str(listener.fileno())]
            if not outlives_caller:
                command.append(str(os.getpid()))
            # An interrupt between starting the process and saving its pid would leave it running.
            with processes.interrupts_later(), self._log.open("wb") as log:
                self._child = subprocess.Popen(
                    command,
                    cwd=REPOSITORY,
                    env=processes.environment(port, temporary, RUNS_OF, extra) | self.environment,
                    pass_fds=[listener.fileno()],
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=subprocess.STDOUT,
                    # In a new session it outlives the shell, and Ctrl-C does not reach it.
                    start_new_session=True,
                )
                self.pid = self._child.pid

    def _wait(self) -> None:
        """Wait until it answers, or the child, which alone holds the socket, has ended."""
        deadline = time.monotonic() + START_SECONDS
        while not self._answers(max(0.01, deadline - time.monotonic())):
            if self._child and self._child.poll() is not None:
                raise LocalCloudError(f"The local cloud ended while starting; see {shown(self._log)}.")
            if time.monotonic() > deadline:
                raise LocalCloudError(
                    f"The local cloud did not answer within {START_SECONDS:.0f} s; see {shown(self._log)}."
                )
            time.sleep(0.02)
        unset = "unset AWS_SESSION_TOKEN AWS_SECURITY_TOKEN AWS_PROFILE AWS_DEFAULT_PROFILE\n"
        exports = (f"export {name}={shlex.quote(value)}\n" for name, value in self.environment.items())
        (self.directory / "env").write_text(unset + "".join(exports))
        # Other programs read the environment from this file. Replaced atomically: none reads half of it.
        state = {"endpoint_url": self.endpoint_url, "environment": self.environment, "pid": self.pid}
        partial = self.directory / "state.json.partial"
        partial.write_text(json.dumps(state, indent=2) + "\n")
        partial.replace(self.directory / "state.json")

    def _answers(self, seconds: float) -> bool:
        try:
            return self.request("GET", "/_ministack/ready", seconds=seconds).status == 200
        except urllib3.exceptions.HTTPError:
            return False

    @classmethod
    def running(cls, directory: Path = DEFAULT_DIRECTORY) -> LocalCloud | None:
        """The local cloud of `directory` if it is up, else None."""
        directory = directory.resolve()
        try:
            state = json.loads((directory / "state.json").read_text())
            cloud = cls(directory, state["endpoint_url"], state["pid"])
        except (OSError, ValueError, KeyError, TypeError):
            return None
        return cloud if cloud.pid in {one.pid for one in processes.members(directory)} else None

    @property
    def environment(self) -> dict[str, str]:
        """Variables for AWS SDKs, the CLI and Terraform; AWS_SESSION_TOKEN and AWS_PROFILE must be unset."""
        return {
            "AWS_ACCESS_KEY_ID": "test",
            "AWS_CA_BUNDLE": str(self.ca_bundle),
            # The user's own profiles may set other endpoints, accounts and transfer settings.
            "AWS_CONFIG_FILE": os.devnull,
            "AWS_DEFAULT_REGION": REGION,
            "AWS_EC2_METADATA_DISABLED": "true",
            "AWS_ENDPOINT_URL": self.endpoint_url,
            "AWS_REGION": REGION,
            "AWS_SECRET_ACCESS_KEY": "test",
            "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
            # The user's proxy cannot reach this computer. Programs read either spelling.
            "NO_PROXY": HOST,
            "no_proxy": HOST,
        }

    @property
    def ca_bundle(self) -> Path:
        """The certificate with which clients verify the endpoint."""
        return self.directory / "ca.pem"

    @property
    def _log(self) -> Path:
        return self.directory / "ministack.log"

    def request(
        self, method: str, path: str, content: object = None, seconds: float = 10
    ) -> urllib3.BaseHTTPResponse:
        """Send one request, bypassing the user's proxy, with `content` as JSON.

        It closes the connection, because an open one can delay the server's end. Raises urllib3's HTTPError.
        """
        with urllib3.PoolManager(ca_certs=str(self.ca_bundle), retries=False) as pool:
            return pool.request(method, f"{self.endpoint_url}{path}", json=content, timeout=seconds)

    def stop(self) -> None:
        """End the server and the Lambda workers and remove all files except the log; may be called twice."""
        with _locked(self.directory):
            self._stop()

    def _stop(self) -> None:
        with processes.interrupts_later():
            running = self.running(self.directory)
            # If this server died, another may have replaced it.
            if running is None or running.pid == self.pid:
                _sweep(self.directory)
            if self._child is not None:
                self._child.wait()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()


def stop_any(directory: Path = DEFAULT_DIRECTORY) -> bool:
    """Stop the local cloud in `directory`, even if half-started or half-dead; return whether any ran."""
    directory = directory.resolve()
    if not directory.is_dir():
        return False
    with _locked(directory):
        return _sweep(directory)


def stop_all() -> list[Path]:
    """Stop every local cloud started from this checkout, wherever it is; return their directories."""
    directories = sorted({directory for checkout, directory, _ in processes.marked() if checkout == RUNS_OF})
    for directory in directories:
        stop_any(directory)
        # `stop_any` does nothing if the directory no longer exists.
        processes.end(directory)
    return directories


def _sweep(directory: Path) -> bool:
    """End the processes of `directory`, remove all files except the log, and return whether any ran."""
    found = bool(processes.members(directory))
    processes.end(directory)
    for name in ("state.json", "state.json.partial", "env", "ca.pem"):
        (directory / name).unlink(missing_ok=True)
    shutil.rmtree(directory / "tmp", ignore_errors=True)
    return found


@contextlib.contextmanager
def _locked(directory: Path) -> Iterator[None]:
    """Allow one start or stop at a time in a directory; the directory itself is the lock file."""
    try:
        directory.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(directory, os.O_RDONLY)
    except OSError as error:
        raise LocalCloudError(
            f"{shown(directory)} cannot be used: {error.strerror}; choose another directory."
        ) from None
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def listening(port: int | None) -> socket.socket:
    """A socket listening on a port, or on a free one, for a server to inherit, so that it stays reserved.

    Raises LocalCloudError when the port is in use or not permitted.
    """
    try:
        return socket.create_server((HOST, port or 0))
    except OSError as error:
        raise LocalCloudError(
            f"Port {port} cannot be used: {os.strerror(error.errno or 0)};"
            f" choose another with {options.named('port')}."
        ) from None


def shown(path: Path) -> str:
    """A path, relative to the repository if it is inside it."""
    return str(path.relative_to(REPOSITORY) if path.is_relative_to(REPOSITORY) else path)
