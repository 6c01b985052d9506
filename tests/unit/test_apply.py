"""An apply that is faster than IAM, with a Terraform that says what the provider says of AWS's answer."""

from __future__ import annotations

import io
import json
import sys
from typing import TYPE_CHECKING

import pytest
from rich.console import Console

from operations import deploy, plan, terraform
from operations.environments import Environment, RunningCloud
from operations.errors import UserError
from operations.terraform import Terraform

if TYPE_CHECKING:
    from pathlib import Path

PIPELINE = "aws_sfn_state_machine.pipeline"
UPDATING = (
    "updating Step Functions State Machine (arn:aws:states:eu-west-1:1:stateMachine:photos-backfill):"
    " operation error SFN: UpdateStateMachine, https response error StatusCode: 400, RequestID: 1,"
    " api error AccessDeniedException:"
)
ROLE = f"{UPDATING} 'arn:aws:iam::1:role/photos-backfill' is not authorized to create managed-rule."
LOGS = f"{UPDATING} The state machine IAM Role is not authorized to access the Log Destination"
CALLER = f"{UPDATING} User: arn:aws:iam::1:user/me is not authorized to perform: states:UpdateStateMachine"
OTHER = "creating SQS Queue (photos): AccessDenied: no"

STAND_IN = """\
#!PYTHON
import json, pathlib, sys
here, verb = pathlib.Path(__file__).parent, sys.argv[1]
if verb == "plan":
    pathlib.Path(sys.argv[-1].removeprefix("-out=")).touch()
if verb == "show":
    print((here / "resources.json").read_text())
if verb == "apply":
    applies = len(list(here.glob("applied-*")))
    (here / f"applied-{applies}").touch()
    errors = json.loads((here / "errors.json").read_text())
    for error in errors[applies] if applies < len(errors) else []:
        message = {"severity": "error", "summary": error, "detail": ""}
        print(json.dumps({"type": "diagnostic", "diagnostic": message}))
        failed = True
    sys.exit("failed" in globals())
"""


class Apply:
    """Runs an apply whose Terraform fails with each of `errors` in turn, then comes to its end."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.environment = Environment.load("local", RunningCloud(folder, {}))
        self.written = io.StringIO()
        self.left([PIPELINE])

    def left(self, addresses: list[str]) -> None:
        """What a plan made from now on does."""
        change = {"actions": ["update"], "before": {"definition": "a"}, "after": {"definition": "b"}}
        kind = {"mode": "managed", "type": "aws_sfn_state_machine", "change": change}
        resources = [{"address": one, **kind} for one in addresses]
        (self.folder / "resources.json").write_text(json.dumps({"resource_changes": resources}))

    def run(self, *errors: list[str]) -> int:
        """Apply, and how often Terraform was called."""
        (self.folder / "errors.json").write_text(json.dumps(errors))
        console, made = Console(file=self.written, width=300), Terraform("local", folder=self.folder)
        deploy.make_plan(self.environment, console, made)
        agreed = plan.changes(made.show(self.environment.plan_file)["resource_changes"], local=True)
        deploy._carry_out(self.environment, console, made, agreed)
        return self.asked

    @property
    def asked(self) -> int:
        return len(list(self.folder.glob("applied-*")))


@pytest.fixture
def apply(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Apply:
    stand_in = tmp_path / "terraform"
    stand_in.write_text(STAND_IN.replace("PYTHON", sys.executable))
    stand_in.chmod(0o755)
    monkeypatch.setattr(terraform, "executable", lambda: stand_in)
    monkeypatch.setattr(deploy, "_IAM_WAITS", (0.0, 0.1))
    return Apply(tmp_path)


def test_it_continues_once_iam_applies_the_grant(apply: Apply) -> None:
    assert apply.run([ROLE, LOGS], [LOGS]) == 3
    said = "  IAM does not let photos-backfill do yet what was granted; trying again in 0 s"
    assert apply.written.getvalue().splitlines() == [said, said]


def test_it_does_not_wait_indefinitely(apply: Apply) -> None:
    with pytest.raises(UserError, match="is not authorized to create managed-rule"):
        apply.run(*[[ROLE]] * 9)
    assert apply.asked == 3
    # The rest is planned anew: that one would be refused as out of date.
    assert not apply.environment.plan_file.exists()


@pytest.mark.parametrize("errors", [[CALLER], [OTHER], [ROLE, OTHER]])
def test_it_waits_for_nothing_else(apply: Apply, errors: list[str]) -> None:
    with pytest.raises(UserError):
        apply.run(errors)
    assert apply.asked == 1
    assert apply.written.getvalue() == ""


def test_what_it_continues_with_was_approved(apply: Apply, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("time.sleep", lambda _: apply.left([PIPELINE, "aws_sfn_state_machine.another"]))
    with pytest.raises(UserError, match=r"more to do than was planned: aws_sfn_state_machine[.]another"):
        apply.run([ROLE])
    assert apply.asked == 1
    assert not apply.environment.plan_file.exists()


def test_it_does_not_go_on_with_files_that_changed(apply: Apply, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        "time.sleep", lambda _: monkeypatch.setattr(plan, "_sources", lambda _: {"main.tf": "1"})
    )
    with pytest.raises(UserError, match="was made from other files"):
        apply.run([ROLE])
    assert apply.asked == 1
