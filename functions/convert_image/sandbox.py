"""Decode a photo in a separate process, so that a hostile file costs one photo and nothing else.

The process has no credentials in its environment, little memory and little time. When a decoder crashes, runs
out of memory or does not end, the photo is rejected with a reason; nothing is retried.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Collection

SECONDS = 30
# The function's memory for Lambda's runtime, this process and the file in it.
OTHER_MEMORY_MB = 256
# What Python needs to start, on Lambda too.
_INHERITED = ("PATH", "LD_LIBRARY_PATH", "PYTHONHOME")


class UnusableError(Exception):
    """The file is not a photo that can be analysed; a retry would not help.

    `reason` is the record's code, `detail` the same for people, `format` one of FORMATS if it is known.
    """

    def __init__(self, reason: str, detail: str, format: str | None = None) -> None:  # noqa: A002
        super().__init__(detail)
        self.reason = reason
        self.detail = detail
        self.format = format


class DecoderError(Exception):
    """The decoder cannot run at all, whatever the file."""


@dataclass(frozen=True)
class Picture:
    """`jpeg`: upright RGB, at most 5 MB; `format` of FORMATS; `width`, `height` of the upright original."""

    jpeg: bytes
    format: str
    width: int
    height: int


def decode(
    data: bytes, *, formats: Collection[str], max_pixels: int, memory_mb: int | None, seconds: float = SECONDS
) -> Picture:
    """Run decoders.convert on `data`; `memory_mb` is the function's, None sets no limit.

    Raises UnusableError, and DecoderError when the decoder cannot run.
    """
    command = [sys.executable, "-m", "convert_image.decoders", ",".join(sorted(formats)), str(max_pixels)]
    command.append(str(max(memory_mb - OTHER_MEMORY_MB, OTHER_MEMORY_MB) if memory_mb else 0))
    environment = {name: os.environ[name] for name in _INHERITED if name in os.environ}
    environment |= {"PYTHONPATH": str(Path(__file__).parents[1]), "MALLOC_ARENA_MAX": "2"}
    try:
        done = subprocess.run(
            command, input=data, capture_output=True, timeout=seconds, env=environment, check=False
        )
    except subprocess.TimeoutExpired:
        raise UnusableError("unsupported_format", f"decoding the file takes over {seconds:.0f} s") from None
    if done.returncode < 0:
        detail = "the file is damaged in a way that makes decoding it fail; save it again as a JPEG"
        raise UnusableError("unsupported_format", detail)
    if done.returncode:
        raise DecoderError(f"The decoder does not run: {done.stderr.decode(errors='replace')[-500:]}")
    head, _, jpeg = done.stdout.partition(b"\n")
    answer = json.loads(head)
    if "reason" in answer:
        raise UnusableError(answer["reason"], answer["detail"], answer["format"])
    return Picture(jpeg, answer["format"], answer["width"], answer["height"])
