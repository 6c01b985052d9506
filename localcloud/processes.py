"""The processes of a local cloud: found by their mark, and ended in order."""

from __future__ import annotations

import contextlib
import signal
import threading
import time
from typing import TYPE_CHECKING

import psutil

if TYPE_CHECKING:
    from collections.abc import Iterator

STOP_SECONDS = 5.0
# All processes of a run inherit it: the checkout and a number of the run's own. So they are found whatever
# became of their parents, and are never mistaken for a stranger's.
RUN_VARIABLE = "LOCALCLOUD_RUN"


def runs_of(checkout: str) -> dict[str, str]:
    """The runs started from a checkout that still live, each with where it keeps temporary files."""
    marked = (
        environment for environment, _ in _marked() if environment[RUN_VARIABLE].startswith(f"{checkout}:")
    )
    return {environment[RUN_VARIABLE]: environment["TMPDIR"] for environment in marked}


def members(run: str) -> list[psutil.Process]:
    """The living processes of a run: the server and its workers."""
    return [process for environment, process in _marked() if environment[RUN_VARIABLE] == run]


def is_member(pid: int, run: str) -> bool:
    """Whether a process lives and is of a run; process ids are reused sooner or later."""
    with contextlib.suppress(psutil.Error):
        process = psutil.Process(pid)
        return process.environ().get(RUN_VARIABLE) == run and process.status() != psutil.STATUS_ZOMBIE
    return False


def end(run: str) -> None:
    """End all processes of a run: on request, and by force after STOP_SECONDS."""
    for number in (signal.SIGTERM, signal.SIGKILL):
        deadline = time.monotonic() + STOP_SECONDS
        signalled: set[int] = set()
        while living := members(run):
            for process in living:
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


def _marked() -> Iterator[tuple[dict[str, str], psutil.Process]]:
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error):
            environment = process.environ()
            if RUN_VARIABLE in environment and process.status() != psutil.STATUS_ZOMBIE:
                yield environment, process


@contextlib.contextmanager
def interrupts_later() -> Iterator[None]:
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
