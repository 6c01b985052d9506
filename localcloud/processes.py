"""The processes of a local cloud: found by their mark, and ended in order."""

from __future__ import annotations

import contextlib
import signal
import time
from pathlib import Path
from typing import TYPE_CHECKING

import psutil

if TYPE_CHECKING:
    from collections.abc import Iterator

STOP_SECONDS = 5.0
# A server and its workers inherit the checkout they were started from by this name, and the cloud's directory
# with TMPDIR. So they are found whatever became of their parents, and are never mistaken for a stranger's.
RUN_VARIABLE = "LOCALCLOUD_RUN"


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
