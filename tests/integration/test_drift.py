"""Changes made by hand are found, and reported to people, programs and schedules."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import uuid
from typing import TYPE_CHECKING, Any

import pytest
from botocore.exceptions import ClientError
from rich.console import Console

from operations import drift
from operations.program import ROOT
from tests.documents.grants import policy
from tests.integration.operating import allowed

if TYPE_CHECKING:
    from collections.abc import Iterator

    from localcloud.stack import Stack
    from operations.environments import Environment

_RULE = "module.eventing.aws_cloudwatch_event_rule.uploads"


def _run(stack: Stack, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "operations", "drift", "--env", "local", *arguments],
        cwd=ROOT,
        env=os.environ | {"LOCALCLOUD_DIRECTORY": str(stack.cloud.directory)},
        capture_output=True,
        text=True,
        check=False,
    )


def _differing(stack: Stack) -> dict[str, Any]:
    result = _run(stack, "--json")
    assert result.stdout, result.stderr
    report: dict[str, Any] = json.loads(result.stdout)
    assert result.returncode == (2 if report["drifted"] else 0)
    return report


@pytest.fixture
def disabled_rule(stack: Stack) -> Iterator[None]:
    events, name = stack.client("events"), f"{stack.bucket.split('-uploads-')[0]}-uploads"
    events.disable_rule(Name=name)
    yield
    events.enable_rule(Name=name)


@pytest.fixture
def planner(stack: Stack) -> Iterator[Environment]:
    """The environment, for a caller with the plan role of docs/ci.md."""
    with allowed(stack, policy("plan.json")) as environment:
        yield environment


def test_nothing_differs_after_an_apply_for_a_read_only_caller(stack: Stack, planner: Environment) -> None:
    assert drift.check(planner, Console(quiet=True)) == ([], [])

    key = f"drift/{uuid.uuid4().hex}/"
    stack.client("s3").put_object(Bucket=stack.bucket, Key=key, Body=b"a photo")
    table, queue = stack.outputs["results_table_name"], stack.outputs["dead_letter_queue_url"]
    for service, call, arguments in (
        ("s3", "get_object", {"Bucket": stack.bucket, "Key": key}),
        ("s3", "put_object", {"Bucket": stack.bucket, "Key": key, "Body": b""}),
        ("dynamodb", "scan", {"TableName": table}),
        ("sqs", "receive_message", {"QueueUrl": queue}),
        ("events", "disable_rule", {"Name": "any"}),
    ):
        with pytest.raises(ClientError, match="AccessDenied"):
            getattr(planner.client(service), call)(**arguments)


def test_a_rule_switched_off_by_hand_is_found(stack: Stack, disabled_rule: None) -> None:  # noqa: ARG001
    found = _differing(stack)
    # What names the rule in a policy is planned along with it.
    assert found["changed_outside"] == [_RULE]
    assert found["to_change"][0] == _RULE


def test_people_get_one_sentence_and_a_waiting_plan_is_left_alone(
    stack: Stack,
    disabled_rule: None,  # noqa: ARG001
) -> None:
    waiting = stack.environment.plan_file
    waiting.write_bytes(b"somebody's plan")
    try:
        result = _run(stack)
        assert waiting.read_bytes() == b"somebody's plan"
    finally:
        waiting.unlink()
    assert result.returncode == 2
    assert f"~ {_RULE}" in result.stdout
    assert 'state: "DISABLED" -> "ENABLED"' in result.stdout
    assert result.stdout.splitlines()[-1].startswith("ENV=local differs from the code in ")


def test_an_environment_that_is_not_there_is_one_sentence(stack: Stack) -> None:
    result = subprocess.run(
        [sys.executable, "-m", "operations", "drift", "--env", "nowhere"],
        cwd=ROOT,
        env=os.environ | {"LOCALCLOUD_DIRECTORY": str(stack.cloud.directory)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 1
    assert result.stderr.startswith("Error: There is no environment 'nowhere'")
