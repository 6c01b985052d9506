"""The pipeline on a local cloud of its own, with settings of the benchmark's."""

from __future__ import annotations

import os
import re
import tempfile
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console

from localcloud import LocalCloud
from localcloud.stack import Stack
from operations import deploy, state
from operations.environments import Environment
from operations.program import ROOT

if TYPE_CHECKING:
    from collections.abc import Iterator


class _Environment(Environment):
    """The local environment with a variables file of its own."""

    @property
    def variables_file(self) -> Path:
        return ROOT / "build" / f"benchmark-{os.getpid()}.tfvars"


@contextmanager
def deployed(concurrency: int, more: str = "") -> Iterator[Stack]:
    """A stack whose ProcessImage and SendNotification run `concurrency` at once, with `more` settings."""
    with tempfile.TemporaryDirectory() as folder, LocalCloud.start(Path(folder, "cloud")) as cloud:
        usual = Environment.load("local", cloud)
        environment = _Environment(usual.name, usual.settings, usual.backend, usual.cloud)
        text = re.sub(
            r"reserved_concurrency = \d+",
            f"reserved_concurrency = {concurrency}",
            usual.variables_file.read_text("utf-8"),
        )
        environment.variables_file.parent.mkdir(exist_ok=True)
        environment.variables_file.write_text(f"{text}\n{more}\n", "utf-8")
        try:
            deploy.apply(environment, Console(quiet=True))
            yield Stack(cloud, environment, state.output(environment))
        finally:
            environment.variables_file.unlink(missing_ok=True)
