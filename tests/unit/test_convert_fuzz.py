"""Damaged and lying files of every format: each ends as a picture or as a rejection, in time and in memory.

A short, fixed number of cases runs with the other tests; `CONVERT_FUZZ_CASES=5000` makes it as many a format.
"""

from __future__ import annotations

import multiprocessing
import os
import sys
from concurrent.futures import ProcessPoolExecutor
from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from convert_image.formats import FORMATS
from convert_image.sandbox import OTHER_MEMORY_MB, UnusableError
from tests.photos import KINDS, portrait

if TYPE_CHECKING:
    from collections.abc import Iterator

CASES = int(os.environ.get("CONVERT_FUZZ_CASES", "15"))
MEMORY_MB = 1769 - OTHER_MEMORY_MB
SECONDS = 20

pytestmark = pytest.mark.timeout(max(120, CASES * len(KINDS)))


def bound() -> None:
    import resource

    if sys.platform == "linux":
        most = MEMORY_MB * 1024 * 1024
        resource.setrlimit(resource.RLIMIT_DATA, (most, most))


def attempt(data: bytes) -> tuple[str, int]:
    """How converting ends, and the most memory this process has had, in MB."""
    import resource

    from convert_image import decoders

    try:
        outcome = decoders.convert(data, formats=FORMATS, max_pixels=1024).format
    except UnusableError as error:
        outcome = error.reason
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return outcome, peak // (1024 if sys.platform == "linux" else 1024 * 1024)


@pytest.fixture(scope="module")
def worker() -> Iterator[ProcessPoolExecutor]:
    """A process that decodes file after file: a decoder that crashes breaks it, and with it the test."""
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(1, mp_context=context, initializer=bound) as pool:
        yield pool


@st.composite
def damage(draw: st.DrawFn) -> list[tuple[str, float, bytes]]:
    """What is done to a file, at bytes of its header or at shares of its length, most of them small."""
    place = st.one_of(st.integers(4, 400), st.floats(0, 1).map(lambda share: share**3))
    patch = st.sampled_from([b"\0", b"\xff", b"\xff\xff", b"\0\0\0\0", b"\x7f\xff", b"\xff\xff\xff\xff"])
    change = st.tuples(
        st.sampled_from(["write", "write", "write", "insert", "delete", "cut", "repeat"]),
        place,
        st.one_of(patch, st.binary(min_size=1, max_size=8)),
    )
    return draw(st.lists(change, min_size=1, max_size=6))


def damaged(data: bytes, changes: list[tuple[str, float, bytes]]) -> bytes:
    file = bytearray(data)
    for action, place, content in changes:
        at = place if isinstance(place, int) else int(place * len(file))
        if action == "write":
            file[at : at + len(content)] = content
        elif action == "insert":
            file[at:at] = content * 16
        elif action == "delete":
            del file[at : at + len(content)]
        elif action == "repeat":
            file[at:at] = file[at : at + 512]
        else:
            del file[max(at, 16) :]
    return bytes(file)


@pytest.mark.parametrize("kind", KINDS)
def test_a_damaged_file_ends_as_a_picture_or_a_rejection(kind: str, worker: ProcessPoolExecutor) -> None:
    whole = portrait(kind)
    peak = 0

    @settings(
        max_examples=CASES,
        deadline=None,
        derandomize=True,
        database=None,
        suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
    )
    @given(damage())
    @example([("cut", 0.5, b"\0")])
    def run(changes: list[tuple[str, float, bytes]]) -> None:
        nonlocal peak
        outcome, peak = worker.submit(attempt, damaged(whole, changes)).result(timeout=SECONDS)
        assert outcome in {*FORMATS, "unsupported_format", "too_small", "too_large"}

    run()
    print(f"{kind}: {CASES} cases, {peak} MB at most")
    assert peak < MEMORY_MB
