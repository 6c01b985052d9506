"""The pipeline on a new local cloud, with the benchmark's settings."""

from __future__ import annotations

import re
import tempfile
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console

from localcloud import LocalCloud
from localcloud.stack import Stack, changed
from operations import deploy, state
from operations.environments import Environment

if TYPE_CHECKING:
    from collections.abc import Iterator


@contextmanager
def deployed(concurrency: int, more: str = "") -> Iterator[Stack]:
    """A stack whose ProcessImage and SendNotification run `concurrency` at once, with `more` settings."""
    with tempfile.TemporaryDirectory() as folder, LocalCloud.start(Path(folder, "cloud")) as cloud:
        usual = Environment.load("local", cloud)
        text = usual.variables_file.read_text("utf-8")
        text = re.sub(r"reserved_concurrency = \d+", f"reserved_concurrency = {concurrency}", text)
        with changed(usual, f"{text}\n{more}\n") as environment:
            deploy.apply(environment, Console(quiet=True))
            yield Stack(environment, state.output(environment))
