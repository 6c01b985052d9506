"""The deployed pipeline and what a test may do to it."""

from __future__ import annotations

import json
import os
import re
import time
import uuid
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, TypeVar

from rich.console import Console

from localcloud.cloud import REPOSITORY
from operations import deploy
from operations.deployment import Deployment
from operations.environments import Environment

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from localcloud.stack import Stack

PORTRAIT = (REPOSITORY / "samples" / "eileen-collins.jpg").read_bytes()
COFFEE = (REPOSITORY / "samples" / "coffee.jpg").read_bytes()
PATIENCE_SECONDS = 40.0
T = TypeVar("T")


class World:
    """Keys and photos of its own for each test, faults, and what became of an upload."""

    def __init__(self, stack: Stack) -> None:
        self.stack = stack
        self.states = stack.client("stepfunctions")
        self.deployment = Deployment(stack.environment, stack.outputs)

    def key(self, name: str = "photo.jpg") -> str:
        return f"faults/{uuid.uuid4().hex}/{name}"

    def photo(self, seed: bytes = PORTRAIT) -> bytes:
        """A photo nobody has uploaded: what follows the end of a JPEG is ignored."""
        return seed + uuid.uuid4().bytes

    def rekognition(self, **fault: Any) -> None:
        """Plan a fault of the Rekognition stand-in."""
        self.stack.control_rekognition("POST", "/faults", fault)

    def heal_rekognition(self) -> None:
        self.stack.control_rekognition("DELETE", "/faults")

    def calls(self, key: str) -> int:
        """How often DetectFaces was asked for a key."""
        found: int = self.stack.control_rekognition("GET", "/calls")["by_key"].get(key, 0)
        return found

    def role(self, function: str) -> str:
        configuration = self.stack.client("lambda").get_function_configuration(
            FunctionName=self.stack.outputs["function_names"][function]
        )
        return str(configuration["Role"]).rsplit("/", 1)[-1]

    @contextmanager
    def granted(self, function: str, **statement: Any) -> Iterator[None]:
        """Give a function's role one more policy statement while the block runs."""
        where = {"RoleName": self.role(function), "PolicyName": "test"}
        policy = json.dumps({"Version": "2012-10-17", "Statement": [statement]})
        iam = self.stack.client("iam")
        iam.put_role_policy(**where, PolicyDocument=policy)
        try:
            yield
        finally:
            iam.delete_role_policy(**where)

    @contextmanager
    def denied(self, function: str, action: str) -> Iterator[None]:
        """Take one permission from a function while the block runs."""
        with self.granted(function, Effect="Deny", Action=action, Resource="*"):
            yield

    @contextmanager
    def paused(self) -> Iterator[None]:
        """Start no workflow for what is uploaded while the block runs."""
        rule = self.rule()["Name"]
        self.stack.client("events").disable_rule(Name=rule)
        try:
            yield
        finally:
            self.stack.client("events").enable_rule(Name=rule)

    def created(self, image_id: str, version_id: str | None = None) -> dict[str, Any]:
        """The event of an upload."""
        key, etag = image_id.rsplit("@", 1)
        stored = {"key": key, "etag": etag} | ({"version-id": version_id} if version_id else {})
        return {
            "detail-type": "Object Created",
            "source": "aws.s3",
            "detail": {"bucket": {"name": self.stack.bucket}, "object": stored},
        }

    def event(self, execution: str) -> dict[str, Any]:
        """The event an execution was started with."""
        found: dict[str, Any] = json.loads(self.states.describe_execution(executionArn=execution)["input"])
        return found

    def start(self, event: dict[str, Any]) -> str:
        """Deliver an event to the workflow, as EventBridge does."""
        answer = self.states.start_execution(
            stateMachineArn=self.stack.outputs["state_machine_arn"], input=json.dumps(event)
        )
        return str(answer["executionArn"])

    def finished(self, execution: str) -> dict[str, Any]:
        def done() -> dict[str, Any] | None:
            answer: dict[str, Any] = self.states.describe_execution(executionArn=execution)
            return None if answer["status"] == "RUNNING" else answer

        return self.eventually(done, "the end of an execution")

    def executions(self, key: str) -> list[str]:
        """The executions that were started for a key."""
        arns = [
            one["executionArn"]
            for one in self.states.list_executions(
                stateMachineArn=self.stack.outputs["state_machine_arn"], maxResults=30
            )["executions"]
        ]
        return [arn for arn in arns if self.event(arn)["detail"]["object"]["key"] == key]

    def letters(self, key: str) -> list[dict[str, Any]]:
        """The dead letters of a key."""
        return [
            one
            for one in self.stack.dead_letters()
            if json.loads(one["Body"])["detail"]["object"]["key"] == key
        ]

    def parked(self, key: str) -> dict[str, Any]:
        """The one dead letter of a key, waited for."""
        (letter,) = self.eventually(lambda: self.letters(key), "a dead letter")
        return letter

    def record(self, image_id: str) -> dict[str, Any]:
        return self.eventually(lambda: self.stack.record(image_id), "a record")

    @staticmethod
    def eventually(look: Callable[[], T | None], what: str) -> T:
        deadline = time.monotonic() + PATIENCE_SECONDS
        while time.monotonic() < deadline:
            if found := look():
                return found
            time.sleep(0.1)
        raise AssertionError(f"{what} did not come within {PATIENCE_SECONDS:.0f} s")

    def attempts(self, execution: str, state: str) -> int:
        """How often a task was tried."""
        count, current = 0, ""
        pages = self.states.get_paginator("get_execution_history").paginate(executionArn=execution)
        for event in (event for page in pages for event in page["events"]):
            current = event.get("stateEnteredEventDetails", {}).get("name", current)
            if event["type"] == "TaskScheduled" and current == state:
                count += 1
        return count

    def rule(self) -> dict[str, Any]:
        """The rule that starts the workflow."""
        events = self.stack.client("events")
        (name,) = events.list_rule_names_by_target(TargetArn=self.stack.outputs["state_machine_arn"])[
            "RuleNames"
        ]
        found: dict[str, Any] = events.describe_rule(Name=name)
        return found

    def may(self, role_arn: str, action: str, resource: str) -> bool:
        """Whether a role's policies allow an action."""
        (answer,) = self.stack.client("iam").simulate_principal_policy(
            PolicySourceArn=role_arn, ActionNames=[action], ResourceArns=[resource]
        )["EvaluationResults"]
        return bool(answer["EvalDecision"] == "allowed")

    def park(self, body: str, **attributes: str) -> str:
        """Put a message into the dead-letter queue, as EventBridge does; its message id."""
        answer = self.stack.client("sqs").send_message(
            QueueUrl=self.stack.outputs["dead_letter_queue_url"],
            MessageBody=body,
            MessageAttributes={
                name: {"DataType": "String", "StringValue": value} for name, value in attributes.items()
            },
        )
        return str(answer["MessageId"])

    def empty_queue(self) -> None:
        """Take all messages out of the dead-letter queue."""
        sqs, url = self.stack.client("sqs"), self.stack.outputs["dead_letter_queue_url"]
        while messages := sqs.receive_message(QueueUrl=url, MaxNumberOfMessages=10).get("Messages"):
            for one in messages:
                sqs.delete_message(QueueUrl=url, ReceiptHandle=one["ReceiptHandle"])

    def update(self, memory_size: int | None = None, *, more: str = "") -> None:
        """Apply the environment with another memory size or `more` settings, or as its files say."""
        usual = self.stack.environment
        changed = _Changed(usual.name, usual.settings, usual.backend, usual.cloud)
        if memory_size is not None:
            text, count = re.subn(
                r"(?m)^process_image\s*=\s*\{",
                f"\\g<0> memory_size = {memory_size},",
                usual.variables_file.read_text("utf-8"),
            )
            assert count == 1
        else:
            text = usual.variables_file.read_text("utf-8")
        changed.variables_file.write_text(f"{text}\n{more}\n", "utf-8")
        usual.plan_file.unlink(missing_ok=True)
        try:
            deploy.apply(changed if more or memory_size else usual, Console(quiet=True))
        finally:
            changed.variables_file.unlink(missing_ok=True)


class _Changed(Environment):
    """The environment with a variables file of its own."""

    @property
    def variables_file(self) -> Path:
        return REPOSITORY / "build" / f"changed-{os.getpid()}.tfvars"
