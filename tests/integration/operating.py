"""The operations verbs as their users start them."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest
from click.testing import CliRunner

from operations.__main__ import main
from operations.deployment import Deployment
from operations.program import ROOT

if TYPE_CHECKING:
    from click.testing import Result

    from localcloud import LocalCloud


class Operator:
    """Runs verbs in this process on one deployment that is looked up once."""

    def __init__(self, deployment: Deployment) -> None:
        self.deployment = deployment

    def run(self, *arguments: str) -> Result:
        """Run a verb and answer how it ended; a traceback is a failed test."""
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(Deployment, "load", lambda _: self.deployment)
            patch.setenv(
                "COLUMNS", "80"
            )  # as many shells do; lines that programs read are not wrapped for it
            result = CliRunner().invoke(main, list(arguments))
        if result.exception and not isinstance(result.exception, SystemExit):
            raise result.exception
        return result

    def json(self, *arguments: str) -> Any:
        """What a verb that ends well prints with --json."""
        result = self.run(arguments[0], "--json", *arguments[1:])
        assert result.exit_code == 0, result.stderr
        return json.loads(result.stdout)

    def refused(self, *arguments: str) -> str:
        """The one sentence of a verb that refuses."""
        result = self.run(*arguments)
        assert result.exit_code == 1, result.stdout
        assert result.stdout == ""
        return sentence(result.stderr)


def sentence(errors: str) -> str:
    """The one line in which a verb says what is wrong."""
    [line] = errors.splitlines()
    assert line.startswith("Error: ")
    assert line.endswith(".")
    return line.removeprefix("Error: ")


def environment(cloud: LocalCloud) -> dict[str, str]:
    """The process environment of somebody who works on a local cloud of their own."""
    kept = {name: value for name, value in os.environ.items() if name not in ("MAKEFLAGS", "MAKELEVEL")}
    return kept | {"LOCALCLOUD_DIRECTORY": str(cloud.directory)}


def make(cloud: LocalCloud, verb: str, **settings: str) -> subprocess.CompletedProcess[str]:
    """`make VERB NAME=value ...`."""
    return subprocess.run(
        ["make", "-s", verb, f"PY={sys.executable}", *(f"{key}={value}" for key, value in settings.items())],
        cwd=ROOT,
        env=environment(cloud),
        capture_output=True,
        text=True,
        check=False,
    )
