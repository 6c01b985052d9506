"""The processes of a local cloud: with an environment of their own, found by their mark, ended in order."""

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
# A server and its workers inherit the checkout they were started from by this name, and the cloud's directory
# with TMPDIR. So they are found whatever became of their parents, and are never mistaken for a stranger's.
RUN_VARIABLE = "LOCALCLOUD_RUN"
# All that comes from the user's own environment: what it takes to start Python. Profiles, proxies, locales
# and other Pythons' settings stay out of the server and of the Lambda workers.
_INHERITED = ("PATH", "LD_LIBRARY_PATH", "DYLD_LIBRARY_PATH")


def environment(port: int, temporary: Path, checkout: str, extra: Mapping[str, str]) -> dict[str, str]:
    """The variables of the server, which the Lambda workers inherit; `extra` replaces the first few."""
    return {
        **{name: os.environ[name] for name in _INHERITED if name in os.environ},
        "LOG_LEVEL": "INFO",
        # As many executions at a time as such a computer can run; more are throttled, as in an account.
        "LAMBDA_ACCOUNT_CONCURRENCY": str(max(16, 8 * (os.cpu_count() or 1))),
        "LANG": "C.UTF-8",
        # glibc gives back the memory of a large picture; otherwise each thread keeps some 700 MB.
        "MALLOC_MMAP_THRESHOLD_": str(1 << 20),
        "PYTHONUTF8": "1",
        "TZ": "UTC",
        **extra,
        "AUTH": "true",
        # MiniStack removes containers it takes for its own from any Docker it can reach.
        "DOCKER_HOST": f"unix://{temporary / 'no-docker.sock'}",
        "GATEWAY_PORT": str(port),
        "HOME": str(temporary / "home"),
        # Either would listen on every address.
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
    """Every living process of a local cloud, after its checkout and the cloud's directory."""
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error):
            environment = process.environ()
            if RUN_VARIABLE in environment and process.status() != psutil.STATUS_ZOMBIE:
                yield environment[RUN_VARIABLE], Path(environment["TMPDIR"]).parent, process


def members(directory: Path) -> set[psutil.Process]:
    """The living processes of the local cloud in a directory."""
    return {process for _, place, process in marked() if place == directory}


def end(directory: Path) -> None:
    """End all processes of a local cloud: on request, and by force after STOP_SECONDS."""
    for stop in (psutil.Process.terminate, psutil.Process.kill):
        deadline = time.monotonic() + STOP_SECONDS
        asked: set[psutil.Process] = set()
        while living := members(directory):
            # Once each: a second SIGTERM would cut an orderly shutdown short. New workers get theirs too.
            for process in living - asked:
                with contextlib.suppress(psutil.NoSuchProcess):
                    stop(process)
            asked |= living
            if time.monotonic() > deadline:
                break
            time.sleep(0.02)
        else:
            return


@contextlib.contextmanager
def interrupts_later() -> Iterator[None]:
    """Keep an interrupt waiting; it follows at the end. A process started meanwhile unblocks its own."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT, signal.SIGTERM, signal.SIGHUP})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
