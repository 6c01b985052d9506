"""The deployed pipeline, and what tests do to it."""

from __future__ import annotations

import json
import re
import time
import uuid
from collections.abc import Callable
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, TypeVar

from rich.console import Console

from localcloud.cloud import REPOSITORY
from localcloud.stack import Notification, changed
from operations import deploy
from tests.integration.aws import PATIENCE_SECONDS, attempts, finished, policy

if TYPE_CHECKING:
    from collections.abc import Iterator

    from localcloud.stack import Stack
    from operations.dead_letters import ParkedEvent
    from operations.deployment import Deployment

PORTRAIT = (REPOSITORY / "samples" / "eileen-collins.jpg").read_bytes()
COFFEE = (REPOSITORY / "samples" / "coffee.jpg").read_bytes()
# The fixture `notifications`.
Notifications = Callable[..., list[Notification]]
T = TypeVar("T")


class DeployedPipeline:
    """Unique keys and photos for each test, faults, and the outcome of an upload."""

    def __init__(self, stack: Stack) -> None:
        self.stack = stack
        self.states = stack.client("stepfunctions")
        self.deployment: Deployment = stack

    def key(self, name: str = "photo.jpg") -> str:
        return f"faults/{uuid.uuid4().hex}/{name}"

    def photo(self, seed: bytes = PORTRAIT) -> bytes:
        """A unique photo: bytes after the end of a JPEG are ignored."""
        return seed + uuid.uuid4().bytes

    def rekognition(self, **fault: Any) -> None:
        """Plan a fault of the Rekognition stand-in."""
        self.stack.control_rekognition("POST", "/faults", fault)

    def heal_rekognition(self) -> None:
        self.stack.control_rekognition("DELETE", "/faults")

    def calls(self, key: str) -> int:
        """How often DetectFaces was called for a key."""
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
        iam = self.stack.client("iam")
        iam.put_role_policy(**where, PolicyDocument=policy(statement))
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
        """Start no workflow for uploads while the block runs."""
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
        return finished(self.states, execution)

    def executions(self, key: str) -> list[str]:
        """The executions that were started for a key."""
        arns = [
            one["executionArn"]
            for one in self.states.list_executions(
                stateMachineArn=self.stack.outputs["state_machine_arn"], maxResults=30
            )["executions"]
        ]
        return [arn for arn in arns if self.event(arn)["detail"]["object"]["key"] == key]

    def dead_letters(self, key: str) -> list[ParkedEvent]:
        """The dead letters of a key."""
        return [one for one in self.stack.dead_letters() if one.key() == key]

    def parked(self, key: str) -> ParkedEvent:
        """The one dead letter of a key; waits for it."""
        (message,) = self.eventually(lambda: self.dead_letters(key), "a dead letter")
        return message

    def record(self, image_id: str) -> dict[str, Any]:
        return self.eventually(lambda: self.stack.record(image_id), "a record")

    @staticmethod
    def eventually(poll: Callable[[], T | None], what: str) -> T:
        deadline = time.monotonic() + PATIENCE_SECONDS
        while time.monotonic() < deadline:
            if found := poll():
                return found
            time.sleep(0.1)
        raise AssertionError(f"{what} did not come within {PATIENCE_SECONDS:.0f} s")

    def attempts(self, execution: str, state: str) -> int:
        return attempts(self.states, execution, state)

    def rule(self) -> dict[str, Any]:
        """The rule that starts the workflow."""
        events = self.stack.client("events")
        (name,) = events.list_rule_names_by_target(TargetArn=self.stack.outputs["state_machine_arn"])[
            "RuleNames"
        ]
        found: dict[str, Any] = events.describe_rule(Name=name)
        return found

    def allows(self, role_arn: str, action: str, resource: str) -> bool:
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
        text, count = usual.variables_file.read_text("utf-8"), 1
        if memory_size is not None:
            block = r"(?m)^process_image\s*=\s*\{"
            text, count = re.subn(block, f"\\g<0> memory_size = {memory_size},", text)
        assert count == 1
        usual.plan_file.unlink(missing_ok=True)
        with changed(usual, f"{text}\n{more}\n") as environment:
            deploy.apply(environment, Console(quiet=True))
