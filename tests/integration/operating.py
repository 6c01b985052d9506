"""The operations verbs as their users start them."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import uuid
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest
from click.testing import CliRunner

from operations.__main__ import main
from operations.deployment import Deployment
from operations.program import ROOT

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from click.testing import Result

    from localcloud import LocalCloud
    from localcloud.stack import Stack
    from operations.environments import Environment


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


@contextlib.contextmanager
def allowed(stack: Stack, policy: Mapping[str, Any]) -> Iterator[Environment]:
    """The environment, for a user who may do what a policy of the documents allows on photo-analysis-dev."""
    account = stack.outputs["key_arn"].split(":")[4]
    here = json.dumps(policy).replace("photo-analysis-dev", "photo-analysis-local")
    iam, name = stack.client("iam"), f"caller-{uuid.uuid4().hex}"
    iam.create_user(UserName=name)
    key = iam.create_access_key(UserName=name)["AccessKey"]
    iam.put_user_policy(
        UserName=name, PolicyName="allowed", PolicyDocument=here.replace("111122223333", account)
    )
    environment = replace(stack.environment)
    vars(environment)["variables"] = {
        **environment.variables,
        "AWS_ACCESS_KEY_ID": key["AccessKeyId"],
        "AWS_SECRET_ACCESS_KEY": key["SecretAccessKey"],
    }
    try:
        yield environment
    finally:
        iam.delete_user_policy(UserName=name, PolicyName="allowed")
        iam.delete_access_key(UserName=name, AccessKeyId=key["AccessKeyId"])
        iam.delete_user(UserName=name)


def sentence(errors: str) -> str:
    """The one line in which a verb says what is wrong."""
    [line] = errors.splitlines()
    assert line.startswith("Error: ")
    assert line.endswith(".")
    return line.removeprefix("Error: ")


def environment(cloud: LocalCloud) -> dict[str, str]:
    """The process environment of a user with another local cloud."""
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
