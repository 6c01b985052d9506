"""How long the workflow waits: long enough for a burst to pass, and no longer than its retriers say."""

from __future__ import annotations

import heapq
import random
from typing import Any

import pytest

from operations import audit
from operations.environments import Environment
from tests.definition import longest_waits, pipeline

STATES = pipeline()["States"]
TASKS = ("ConvertImage", "ProcessImage", "SendNotification")
BURST = 1000
# A call of DetectFaces takes about a second.
CALL_SECONDS = 1.0


def retrier_for(task: str, error: str) -> dict[str, Any]:
    found: dict[str, Any] = next(one for one in STATES[task]["Retry"] if error in one["ErrorEquals"])
    return found


def parked(uploads: int, concurrency: int, waits: list[float], seed: int) -> int:
    """How many of `uploads` at once are turned away at every attempt by a function of `concurrency`."""
    chance = random.Random(seed)
    attempts = [(0.0, number, 0) for number in range(uploads)]
    running: list[float] = []
    given_up = 0
    while attempts:
        now, number, tried = heapq.heappop(attempts)
        while running and running[0] <= now:
            heapq.heappop(running)
        if len(running) < concurrency:
            heapq.heappush(running, now + CALL_SECONDS)
        elif tried < len(waits):
            heapq.heappush(attempts, (now + chance.uniform(0, waits[tried]), number, tried + 1))
        else:
            given_up += 1
    return given_up


@pytest.mark.parametrize("environment", ["dev", "staging", "prod"])
@pytest.mark.proves("many-at-once")
def test_a_thousand_uploads_at_once_all_get_their_turn(environment: str) -> None:
    size = Environment.load(environment).settings.get("process_image", {})
    concurrency = size.get("reserved_concurrency", 10)  # without one, what a new account allows
    waits = longest_waits(retrier_for("ProcessImage", "Lambda.TooManyRequestsException"))
    assert [parked(BURST, concurrency, waits, seed) for seed in range(5)] == [0] * 5


def test_an_audit_leaves_alone_what_may_still_wait_for_its_turn() -> None:
    # With full jitter nobody waits all of the longest waits; 1,200 seconds hold them nevertheless.
    waits = longest_waits(retrier_for("ProcessImage", "Lambda.TooManyRequestsException"))
    assert sum(waits) < audit.GRACE_SECONDS


@pytest.mark.parametrize("task", TASKS)
def test_throttling_is_waited_out_for_a_minute_and_a_half(task: str) -> None:
    waits = longest_waits(retrier_for(task, "ThrottlingException"))
    assert sum(waits) == 90
    assert waits == sorted(waits), "each wait is as long as the one before, or longer"


@pytest.mark.parametrize("task", TASKS)
def test_running_out_of_time_or_memory_is_tried_once_more(task: str) -> None:
    # The names Lambda gives them, newest last.
    for error in (
        "States.Timeout",
        "Sandbox.Timedout",
        "Lambda.Unknown",
        "Runtime.ExitError",
        "Runtime.OutOfMemory",
    ):
        assert retrier_for(task, error)["MaxAttempts"] == 1


@pytest.mark.parametrize("task", TASKS)
def test_what_is_never_retried_is_not_waited_for(task: str) -> None:
    for error in ("InvalidEventError", "ConfigurationError", "Lambda.AWSLambdaException"):
        assert retrier_for(task, error)["MaxAttempts"] == 0
