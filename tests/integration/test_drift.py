"""Changes made by hand are found, and reported to people, programs and schedules."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest

from tools.terraform import ROOT

if TYPE_CHECKING:
    from collections.abc import Iterator

    from localcloud.stack import Stack

# MiniStack forgets most fields of alarms and a workflow's tracing; nothing else may differ after an apply.
_FALSE = ("module.observability.aws_cloudwatch_metric_alarm.", "module.orchestration.aws_sfn_state_machine.")
_RULE = "module.eventing.aws_cloudwatch_event_rule.uploads"


def _run(stack: Stack, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "tools.drift", "--env", "local", *arguments],
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
    return {
        name: [address for address in report[name] if not address.startswith(_FALSE)]
        for name in ("to_change", "changed_outside")
    }


@pytest.fixture
def disabled_rule(stack: Stack) -> Iterator[None]:
    events, name = stack.client("events"), f"{stack.bucket.split('-uploads-')[0]}-uploads"
    events.disable_rule(Name=name)
    yield
    events.enable_rule(Name=name)


def test_nothing_differs_after_an_apply(stack: Stack) -> None:
    assert _differing(stack) == {"to_change": [], "changed_outside": []}


def test_a_rule_switched_off_by_hand_is_found(stack: Stack, disabled_rule: None) -> None:  # noqa: ARG001
    assert _differing(stack) == {"to_change": [_RULE], "changed_outside": [_RULE]}


def test_people_get_one_sentence(stack: Stack, disabled_rule: None) -> None:  # noqa: ARG001
    result = _run(stack)
    assert result.returncode == 2
    assert result.stdout.startswith("ENV=local differs from the code in ")
    assert _RULE in result.stdout
    assert len(result.stdout.splitlines()) == 1


def test_a_waiting_plan_is_left_alone(stack: Stack) -> None:
    waiting = stack.environment.plan_file
    waiting.write_bytes(b"somebody's plan")
    try:
        _run(stack)
        assert waiting.read_bytes() == b"somebody's plan"
    finally:
        waiting.unlink()


def test_an_environment_that_is_not_there_is_one_sentence(stack: Stack) -> None:
    result = subprocess.run(
        [sys.executable, "-m", "tools.drift", "--env", "nowhere"],
        cwd=ROOT,
        env=os.environ | {"LOCALCLOUD_DIRECTORY": str(stack.cloud.directory)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 1
    assert result.stderr.startswith("There is no environment 'nowhere'")
