"""The processes of a local cloud: their environment, how to find them, and how to end them."""

from __future__ import annotations

import contextlib
import os
import signal
import time
from pathlib import Path
from typing import TYPE_CHECKING

import psutil

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

STOP_SECONDS = 5.0
# A server and its workers inherit this variable with their checkout's path, and the cloud's directory in
# TMPDIR. So they are found even if their parents have ended, and are never mistaken for other processes.
RUN_VARIABLE = "LOCALCLOUD_RUN"
# The only variables from the user's environment: what Python needs to start. Profiles, proxies, locales and
# other Pythons' settings do not reach the server and the Lambda workers.
_INHERITED = ("PATH", "LD_LIBRARY_PATH", "DYLD_LIBRARY_PATH")


def environment(port: int, temporary: Path, checkout: str, extra: Mapping[str, str]) -> dict[str, str]:
    """The server's variables, which the Lambda workers inherit; `extra` can replace only the first few."""
    return {
        **{name: os.environ[name] for name in _INHERITED if name in os.environ},
        "LOG_LEVEL": "INFO",
        # As many concurrent executions as such a computer can run; more are throttled, as in an account.
        "LAMBDA_ACCOUNT_CONCURRENCY": str(max(16, 8 * (os.cpu_count() or 1))),
        "LANG": "C.UTF-8",
        # Makes glibc return the memory of large pictures; otherwise each thread keeps about 700 MB.
        "MALLOC_MMAP_THRESHOLD_": str(1 << 20),
        "PYTHONUTF8": "1",
        "TZ": "UTC",
        **extra,
        "AUTH": "true",
        # MiniStack removes containers that look like its own from any Docker it can reach.
        "DOCKER_HOST": f"unix://{temporary / 'no-docker.sock'}",
        "GATEWAY_PORT": str(port),
        "HOME": str(temporary / "home"),
        # Each would listen on every address.
        "IOT_MTLS_ENABLED": "0",
        "SFTP_ENABLED": "0",
        "LAMBDA_EXECUTOR": "local",
        "MINISTACK_SSL_CERT": str(temporary / "server.pem"),
        "MINISTACK_SSL_KEY": str(temporary / "server.pem"),
        "PYTHONUNBUFFERED": "1",
        "S3_DATA_DIR": str(temporary / "s3"),
        "STATE_DIR": str(temporary / "state"),
        "TMPDIR": str(temporary),
        "USE_SSL": "1",
        RUN_VARIABLE: checkout,
    }


def marked() -> Iterator[tuple[str, Path, psutil.Process]]:
    """Every live process of any local cloud: its checkout, the cloud's directory, and the process."""
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error):
            environment = process.environ()
            if RUN_VARIABLE in environment and process.status() != psutil.STATUS_ZOMBIE:
                yield environment[RUN_VARIABLE], Path(environment["TMPDIR"]).parent, process


def members(directory: Path) -> set[psutil.Process]:
    """The live processes of the local cloud in a directory."""
    return {process for _, place, process in marked() if place == directory}


def end(directory: Path) -> None:
    """End all processes of a local cloud: with SIGTERM, and SIGKILL after STOP_SECONDS."""
    for stop in (psutil.Process.terminate, psutil.Process.kill):
        deadline = time.monotonic() + STOP_SECONDS
        signalled: set[psutil.Process] = set()
        while living := members(directory):
            # Once each: a second SIGTERM would cut a clean shutdown short. New workers get one too.
            for process in living - signalled:
                with contextlib.suppress(psutil.NoSuchProcess):
                    stop(process)
            signalled |= living
            if time.monotonic() > deadline:
                break
            time.sleep(0.02)
        else:
            return


@contextlib.contextmanager
def interrupts_later() -> Iterator[None]:
    """Defer interrupts to the end of the block. A process started in it must unblock them itself."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT, signal.SIGTERM, signal.SIGHUP})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
