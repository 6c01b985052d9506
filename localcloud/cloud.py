"""Starts and stops the local cloud: MiniStack with IAM enforced, and the Rekognition stand-in.

Both listen on 127.0.0.1 only, run without root and write nowhere but in one directory
(`build/localcloud` unless told otherwise). MiniStack speaks TLS, with a certificate made for this one run:
the policies that refuse plain HTTP are evaluated, not stepped around. POSIX systems only: stopping relies on
process groups.
"""

from __future__ import annotations

import contextlib
import fcntl
import http.client
import importlib.util
import itertools
import json
import os
import resource
import shlex
import shutil
import signal
import socket
import ssl
import subprocess
import sys
import threading
import time
import uuid
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import psutil
import trustme

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

HOST = "127.0.0.1"
REGION = "us-east-1"
REPOSITORY = Path(__file__).resolve().parent.parent
BUILD = REPOSITORY / "build"
DEFAULT_DIRECTORY = BUILD / "localcloud"
START_SECONDS = 30.0
STOP_SECONDS = 5.0
_CA_BUNDLE = "ca.pem"
# Processes inherit it, so a Lambda worker whose parent is gone can still be told from a stranger.
RUN_VARIABLE = "LOCALCLOUD_RUN"

# A caller may not choose these: they keep it on loopback, in its directory and off real accounts.
_RESERVED = frozenset(
    {
        "AUTH",
        "AWS_ACCESS_KEY_ID",
        "AWS_CA_BUNDLE",
        "AWS_SECRET_ACCESS_KEY",
        "AWS_SESSION_TOKEN",
        "BIND_HOST",
        "DOCKER_HOST",
        "EDGE_PORT",
        "GATEWAY_PORT",
        "IOT_MTLS_ENABLED",
        "LAMBDA_EXECUTOR",
        "S3_DATA_DIR",
        "SFTP_ENABLED",
        "STATE_DIR",
        "TMPDIR",
        "USE_SSL",
        RUN_VARIABLE,
    }
)
# Settings of other clouds, other Pythons and proxies must not reach the Lambda workers.
_DROPPED = frozenset(
    {"PYTHONHOME", "PYTHONPATH", "PYTHONSTARTUP", "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"}
    | {"http_proxy", "https_proxy", "all_proxy"}
)


class LocalCloudError(Exception):
    """The local cloud cannot start or be reached; the message is one sentence for the user."""


class _PortTakenError(Exception):
    def __init__(self, port: int, option: str) -> None:
        super().__init__(port, option)
        self.port = port
        self.option = option


@dataclass(frozen=True)
class _Server:
    """One started process, leader of its own session and process group."""

    name: str
    pid: int
    created: float
    port: int

    def alive(self, run: str) -> bool:
        try:
            process = psutil.Process(self.pid)
            return process.status() != psutil.STATUS_ZOMBIE and self.is_one(process, run)
        except psutil.NoSuchProcess:
            return False

    def is_one(self, process: psutil.Process, run: str) -> bool:
        """Whether a process is this server or came from it; process ids are reused sooner or later."""
        try:
            return process.environ().get(RUN_VARIABLE) == run
        except psutil.AccessDenied:
            # Some systems do not show a process's environment; its start is nearly as good.
            return process.pid == self.pid and abs(process.create_time() - self.created) < 1.0


@dataclass
class LocalCloud:
    """A running local cloud.

    `endpoint_url` is of the form `https://127.0.0.1:PORT` and trusted with the certificate in `ca_bundle`;
    `rekognition_url` is of the form `http://127.0.0.1:PORT`. `environment` holds the variables every AWS SDK,
    the CLI and Terraform read; `process_environment` is a whole one for a child.
    """

    directory: Path
    endpoint_url: str
    rekognition_url: str
    _run: str
    _servers: tuple[_Server, ...]
    _children: tuple[subprocess.Popen[bytes], ...] = field(default=(), repr=False)

    @classmethod
    def start(
        cls,
        directory: Path = DEFAULT_DIRECTORY,
        *,
        ministack_port: int | None = None,
        rekognition_port: int | None = None,
        extra_environment: Mapping[str, str] | None = None,
    ) -> LocalCloud:
        """Start both servers and wait until they answer, 30 s at most.

        `extra_environment` goes into MiniStack's process and from there into the Lambda workers. Without a
        port a free one is taken. The servers outlive the calling process until `stop`.

        Raises LocalCloudError, with nothing left running, when a port is in use, MiniStack is not installed,
        a server does not come up, or a local cloud already runs in `directory`.
        """
        extra = dict(extra_environment or {})
        if refused := sorted(_RESERVED & extra.keys()):
            raise LocalCloudError(f"{refused[0]} is set by the local cloud itself; leave it out.")
        for module in ("ministack", "cv2"):
            if importlib.util.find_spec(module) is None:
                raise LocalCloudError(
                    f"The Python package {module} is not installed for {sys.executable}; run `make setup`."
                )
        if ministack_port is not None and ministack_port == rekognition_port:
            raise LocalCloudError("MiniStack and the Rekognition stand-in need two different ports.")
        directory = Path(directory).resolve()
        with _locked(directory):
            if (other := cls.running(directory)) is not None:
                raise LocalCloudError(
                    f"A local cloud already runs at {other.endpoint_url};"
                    f" stop it with `{stop_command(directory)}`."
                )
            # One of its servers can have died alone.
            _sweep(directory)
            for attempt in range(3):
                # Another process can take a free port between looking and binding.
                try:
                    return cls._start(directory, ministack_port, rekognition_port, extra)
                except _PortTakenError as taken:
                    if taken.port in (ministack_port, rekognition_port) or attempt == 2:
                        raise LocalCloudError(
                            f"Port {taken.port} is in use; "
                            f"stop what uses it or choose another with {taken.option}."
                        ) from None
        raise AssertionError("unreachable")

    @classmethod
    def _start(
        cls,
        directory: Path,
        ministack_port: int | None,
        rekognition_port: int | None,
        extra: Mapping[str, str],
    ) -> LocalCloud:
        port = _port(ministack_port, "--port")
        faces_port = _port(rekognition_port, "--rekognition-port", taken=port)
        run = uuid.uuid4().hex
        endpoint_url, rekognition_url = f"https://{HOST}:{port}", f"http://{HOST}:{faces_port}"
        temporary = directory / "tmp"
        temporary.mkdir(parents=True)
        certificate, key = _make_certificate(directory / _CA_BUNDLE, temporary)
        environment = {
            name: value
            for name, value in os.environ.items()
            if name not in _DROPPED and not name.startswith(("AWS_", "MINISTACK_", "LOCALSTACK_"))
        }
        environment |= {"LOG_LEVEL": "INFO"}
        environment |= extra
        environment |= {
            **_client_environment(endpoint_url, rekognition_url, directory / _CA_BUNDLE),
            "AUTH": "true",
            "AWS_CONFIG_FILE": os.devnull,
            "AWS_EC2_METADATA_DISABLED": "true",
            "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
            # MiniStack removes containers it takes for its own from any Docker it can reach.
            "DOCKER_HOST": f"unix://{temporary / 'no-docker.sock'}",
            "GATEWAY_PORT": str(port),
            # Either would listen on every address.
            "IOT_MTLS_ENABLED": "0",
            "SFTP_ENABLED": "0",
            "LAMBDA_EXECUTOR": "local",
            "MINISTACK_SSL_CERT": str(certificate),
            "MINISTACK_SSL_KEY": str(key),
            "NO_PROXY": "*",
            "PYTHONUNBUFFERED": "1",
            "S3_DATA_DIR": str(temporary / "s3"),
            "STATE_DIR": str(temporary / "state"),
            "TMPDIR": str(temporary),
            "USE_SSL": "1",
            RUN_VARIABLE: run,
        }
        options = {
            "--backlog": "1024",
            "--bind": f"{HOST}:{port}",
            "--certfile": str(certificate),
            # The state is gone anyway, so nothing is worth waiting for.
            "--graceful-timeout": "0",
            "--keep-alive": "75",
            "--keyfile": str(key),
            "--log-level": "INFO",
            # None beside the first.
            "--workers": "0",
        }
        # MiniStack's own command would open port 443 as well where it may, beside the one it is given.
        ministack = ["hypercorn", *itertools.chain.from_iterable(options.items()), "ministack.app:app"]
        commands = (
            ("rekognition", [sys.executable, "-m", "localcloud.rekognition", "--port", str(faces_port)]),
            ("ministack", [sys.executable, "-m", *ministack]),
        )
        ports = {"rekognition": faces_port, "ministack": port}
        cloud = cls(directory, endpoint_url, rekognition_url, run, ())
        try:
            for name, command in commands:
                # An interrupt between starting a process and noting it would leave it running.
                with _interrupts_later():
                    child = _spawn(
                        command,
                        directory / f"{name}.log",
                        REPOSITORY if name == "rekognition" else temporary,
                        environment,
                    )
                    cloud._children += (child,)
                    created = psutil.Process(child.pid).create_time()
                    cloud._servers += (_Server(name, child.pid, created, ports[name]),)
                    cloud._save(ready=False)
            cloud._wait()
            cloud._save(ready=True)
        except BaseException:
            cloud._stop()
            raise
        return cloud

    @classmethod
    def running(cls, directory: Path = DEFAULT_DIRECTORY) -> LocalCloud | None:
        """The local cloud of `directory` if it is up; None when there is none or its processes are gone."""
        cloud, ready = cls._load(Path(directory).resolve())
        if cloud is None or not ready or not all(one.alive(cloud._run) for one in cloud._servers):
            return None
        return cloud

    @property
    def environment(self) -> dict[str, str]:
        """What AWS clients need in their environment; AWS_SESSION_TOKEN and AWS_PROFILE must be unset."""
        return _client_environment(self.endpoint_url, self.rekognition_url, self.ca_bundle)

    @property
    def ca_bundle(self) -> Path:
        """The certificate clients trust the endpoint with."""
        return self.directory / _CA_BUNDLE

    def process_environment(self, base: Mapping[str, str] | None = None) -> dict[str, str]:
        """`base` (the process's own environment by default) without its AWS settings, with these instead."""
        inherited = os.environ if base is None else base
        return {
            name: value for name, value in inherited.items() if not name.startswith("AWS_")
        } | self.environment

    @property
    def pids(self) -> dict[str, int]:
        """Process ids of the two servers by name, `ministack` and `rekognition`."""
        return {server.name: server.pid for server in self._servers}

    def stop(self) -> None:
        """End both servers and the Lambda workers and remove all files but the logs; may be called twice."""
        with _locked(self.directory):
            self._stop()

    def _stop(self) -> None:
        with _interrupts_later():
            _end(self._run, self._servers)
            for child in self._children:
                child.wait()
            current, _ = self._load(self.directory)
            if current is None or current._run == self._run:
                _clear(self.directory)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def _wait(self) -> None:
        deadline = time.monotonic() + START_SECONDS
        waiting = {"rekognition": "/_health", "ministack": "/_ministack/ready"}
        while waiting:
            for server, child in zip(self._servers, self._children, strict=True):
                if child.poll() is not None:
                    raise self._failure(server)
                tls = self.ca_bundle if server.name == "ministack" else None
                if server.name in waiting and _answers(server.port, waiting[server.name], tls):
                    del waiting[server.name]
            if waiting and time.monotonic() > deadline:
                raise LocalCloudError(
                    f"{' and '.join(sorted(waiting))} did not answer within {START_SECONDS:.0f} s; "
                    f"see the logs in {shown(self.directory)}."
                )
            time.sleep(0.02)

    def _failure(self, server: _Server) -> Exception:
        log = self.directory / f"{server.name}.log"
        text = log.read_text(errors="replace") if log.exists() else ""
        if "already in use" in text:
            return _PortTakenError(
                server.port, "--port" if server.name == "ministack" else "--rekognition-port"
            )
        return LocalCloudError(f"{server.name} ended while starting; see {shown(log)}.")

    def _save(self, *, ready: bool) -> None:
        state = {
            "endpoint_url": self.endpoint_url,
            # What programs that only use it read.
            "environment": self.environment if ready else None,
            "rekognition_url": self.rekognition_url,
            "ready": ready,
            "run": self._run,
            "servers": [vars(server) for server in self._servers],
        }
        # Replaced in one step, so that no reader meets half a file.
        partial = self.directory / "state.json.partial"
        partial.write_text(json.dumps(state, indent=2) + "\n")
        partial.replace(self.directory / "state.json")
        if ready:
            (self.directory / "env").write_text(shell_lines(self.environment))

    @classmethod
    def _load(cls, directory: Path) -> tuple[LocalCloud | None, bool]:
        try:
            state: dict[str, Any] = json.loads((directory / "state.json").read_text())
            cloud = cls(
                directory,
                str(state["endpoint_url"]),
                str(state["rekognition_url"]),
                str(state["run"]),
                tuple(
                    _Server(str(one["name"]), int(one["pid"]), float(one["created"]), int(one["port"]))
                    for one in state["servers"]
                ),
            )
            return cloud, bool(state["ready"])
        except (OSError, ValueError, KeyError, TypeError):
            return None, False


def stop_any(directory: Path = DEFAULT_DIRECTORY) -> bool:
    """Stop whatever the state file in `directory` names, also a half-started or half-dead local cloud.

    Returns whether there was any. A stale or damaged state file is removed.
    """
    directory = Path(directory).resolve()
    if not directory.is_dir():
        return False
    with _locked(directory):
        return _sweep(directory)


def stop_all(root: Path = BUILD) -> list[Path]:
    """Stop every local cloud whose directory is below `root`; return the directories of those there were."""
    found = [Path(parent) for parent, _, files in os.walk(root) if "state.json" in files]
    # Others may write files of that name.
    return [each for each in found if LocalCloud._load(each)[0] is not None and stop_any(each)]


def stop_command(directory: Path) -> str:
    """What to type in the repository to stop the local cloud of `directory`."""
    if directory == DEFAULT_DIRECTORY:
        return "make local-down"
    return f".venv/bin/python -m localcloud down --directory {shlex.quote(shown(directory))}"


def shell_lines(environment: Mapping[str, str]) -> str:
    """Lines a POSIX shell can source."""
    unset = "unset AWS_SESSION_TOKEN AWS_SECURITY_TOKEN AWS_PROFILE AWS_DEFAULT_PROFILE\n"
    return unset + "".join(
        f"export {name}={shlex.quote(value)}\n" for name, value in sorted(environment.items())
    )


def _client_environment(endpoint_url: str, rekognition_url: str, ca_bundle: Path) -> dict[str, str]:
    return {
        "AWS_ACCESS_KEY_ID": "test",
        "AWS_CA_BUNDLE": str(ca_bundle),
        "AWS_DEFAULT_REGION": REGION,
        "AWS_ENDPOINT_URL": endpoint_url,
        "AWS_ENDPOINT_URL_REKOGNITION": rekognition_url,
        "AWS_REGION": REGION,
        "AWS_SECRET_ACCESS_KEY": "test",
    }


def _spawn(
    command: Sequence[str], log: Path, directory: Path, environment: Mapping[str, str]
) -> subprocess.Popen[bytes]:
    with log.open("wb") as output, _many_files():
        return subprocess.Popen(
            command,
            cwd=directory,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            # A session of its own outlives the shell, keeps Ctrl-C away and makes a group to end as a whole.
            start_new_session=True,
        )


@contextlib.contextmanager
def _interrupts_later() -> Iterator[None]:
    """Keep an interrupt waiting; it follows at the end."""
    if threading.current_thread() is not threading.main_thread():
        # Python interrupts the main thread only.
        yield
        return
    waiting: list[int] = []
    handlers = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)}
    handlers = {number: handler for number, handler in handlers.items() if callable(handler)}
    for number in handlers:
        signal.signal(number, lambda received, _: waiting.append(received))
    try:
        yield
    finally:
        for number, handler in handlers.items():
            signal.signal(number, handler)
        if waiting:
            signal.raise_signal(waiting[0])


@contextlib.contextmanager
def _many_files() -> Iterator[None]:
    """Raise the number of open files to what is allowed: bursts of uploads open many connections."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    # Some systems name a limit they do not grant.
    with contextlib.suppress(OSError, ValueError):
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def _port(wanted: int | None, option: str, taken: int | None = None) -> int:
    if wanted is not None and not 1024 <= wanted <= 65535:
        raise LocalCloudError(f"{option} must be between 1024 and 65535, not {wanted}.")
    while True:
        with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
            # As the servers do, so that a port in TIME_WAIT counts as free.
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind((HOST, wanted or 0))
            except OSError:
                raise _PortTakenError(wanted or 0, option) from None
            port = int(probe.getsockname()[1])
        if port != taken:
            return port


def _make_certificate(ca_bundle: Path, directory: Path) -> tuple[Path, Path]:
    """Make an authority for this run and a certificate for 127.0.0.1; return its file and its key's."""
    authority = trustme.CA()
    server = authority.issue_cert(HOST)
    certificate, key = directory / "server.pem", directory / "server.key"
    authority.cert_pem.write_to_path(str(ca_bundle))
    server.cert_chain_pems[0].write_to_path(str(certificate))
    server.private_key_pem.write_to_path(str(key))
    return certificate, key


def _answers(port: int, path: str, ca_bundle: Path | None) -> bool:
    connection = http.client.HTTPConnection(HOST, port, timeout=2)
    if ca_bundle is not None:
        context = ssl.create_default_context(cafile=str(ca_bundle))
        connection = http.client.HTTPSConnection(HOST, port, timeout=2, context=context)
    try:
        connection.request("GET", path)
        return connection.getresponse().status == 200
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()


def _members(run: str, servers: Sequence[_Server]) -> Iterator[psutil.Process]:
    """The processes this run started that still live: those in the servers' groups that carry its mark."""
    groups = {server.pid: server for server in servers}
    for process in psutil.process_iter():
        try:
            leader = groups.get(os.getpgid(process.pid))
            if (
                leader is not None
                and process.status() != psutil.STATUS_ZOMBIE
                and leader.is_one(process, run)
            ):
                yield process
        except (psutil.Error, ProcessLookupError, PermissionError):
            continue


def _end(run: str, servers: Sequence[_Server]) -> None:
    for number in (signal.SIGTERM, signal.SIGKILL):
        deadline = time.monotonic() + STOP_SECONDS
        signalled: set[int] = set()
        while members := list(_members(run, servers)):
            for process in members:
                # Once each: a second SIGTERM would cut an orderly shutdown short. New workers get theirs too.
                if process.pid not in signalled:
                    signalled.add(process.pid)
                    with contextlib.suppress(psutil.NoSuchProcess):
                        process.send_signal(number)
            if time.monotonic() > deadline:
                break
            time.sleep(0.02)
        else:
            return


def _sweep(directory: Path) -> bool:
    """End what the state file in `directory` names, remove it, and return whether anything of it lived."""
    cloud, _ = LocalCloud._load(directory)
    found = cloud is not None and any(_members(cloud._run, cloud._servers))
    if cloud is not None:
        cloud._stop()
    else:
        _clear(directory)
    return found


def _clear(directory: Path) -> None:
    for name in ("state.json", "state.json.partial", "env", _CA_BUNDLE):
        (directory / name).unlink(missing_ok=True)
    shutil.rmtree(directory / "tmp", ignore_errors=True)


@contextlib.contextmanager
def _locked(directory: Path) -> Iterator[None]:
    """One start or stop at a time in a directory. The lock is the directory, so no lock file is left."""
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


def shown(path: Path) -> str:
    """A path as people in the repository write it."""
    with contextlib.suppress(ValueError):
        return str(path.relative_to(REPOSITORY))
    return str(path)
