"""Clients of a local cloud with nothing deployed to it, a Lambda function there, and what executions did."""

from __future__ import annotations

import io
import json
import time
import zipfile
from typing import TYPE_CHECKING, Any

import boto3
from botocore.config import Config

if TYPE_CHECKING:
    from localcloud import LocalCloud

PATIENCE_SECONDS = 40.0


def client(cloud: LocalCloud, service: str, **options: Any) -> Any:
    given = {
        "aws_access_key_id": "test",
        "aws_secret_access_key": "test",
        "region_name": "us-east-1",
        "endpoint_url": cloud.endpoint_url,
        "verify": str(cloud.ca_bundle),
        "config": Config(read_timeout=60, retries={"total_max_attempts": 1}),
    }
    session: Any = boto3.session.Session()
    return session.client(service, **(given | options))


def policy(*statements: dict[str, Any]) -> str:
    return json.dumps({"Version": "2012-10-17", "Statement": statements})


def make_role(cloud: LocalCloud, name: str, service: str) -> str:
    """A role without permissions that a service may take on; its ARN."""
    trust = {
        "Effect": "Allow",
        "Principal": {"Service": f"{service}.amazonaws.com"},
        "Action": "sts:AssumeRole",
    }
    made = client(cloud, "iam").create_role(RoleName=name, AssumeRolePolicyDocument=policy(trust))
    return str(made["Role"]["Arn"])


class Function:
    """A real Lambda function, whose role has its name and may do nothing at first."""

    def __init__(self, cloud: LocalCloud, source: str, name: str = "function") -> None:
        self.name = name
        self.client = client(cloud, "lambda")
        self._iam = client(cloud, "iam")
        archive = io.BytesIO()
        with zipfile.ZipFile(archive, "w") as package:
            package.writestr("handler.py", source)
        self.client.create_function(
            FunctionName=name,
            Runtime="python3.13",
            Role=make_role(cloud, name, "lambda"),
            Handler="handler.handler",
            Code={"ZipFile": archive.getvalue()},
            Timeout=30,
        )

    def may(self, *actions: str, resource: str = "*") -> None:
        """Allow these actions and no others, those of S3 on one resource."""
        statements = [
            {"Effect": "Allow", "Action": one, "Resource": resource if one.startswith("s3:") else "*"}
            for one in actions
        ]
        self._iam.put_role_policy(RoleName=self.name, PolicyName="all", PolicyDocument=policy(*statements))

    def call(self, event: object = None, alias: str = "$LATEST") -> Any:
        answer = self.client.invoke(FunctionName=self.name, Qualifier=alias, Payload=json.dumps(event))
        return json.loads(answer["Payload"].read() or "null")

    def begin(self) -> None:
        """Call it without waiting for its answer."""
        self.client.invoke(FunctionName=self.name, InvocationType="Event")


def finished(states: Any, execution: str) -> dict[str, Any]:
    """An execution that has ended, waited for."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    while time.monotonic() < deadline:
        answer: dict[str, Any] = states.describe_execution(executionArn=execution)
        if answer["status"] != "RUNNING":
            return answer
        time.sleep(0.02)
    raise AssertionError(f"{execution} still runs after {PATIENCE_SECONDS:.0f} s")


def history(states: Any, execution: str) -> list[tuple[str, dict[str, Any]]]:
    """Each event of an execution, after the name of its state."""
    found, state = [], ""
    pages = states.get_paginator("get_execution_history").paginate(executionArn=execution)
    for event in (event for page in pages for event in page["events"]):
        state = event.get("stateEnteredEventDetails", {}).get("name", state)
        found.append((state, event))
    return found


def attempts(states: Any, execution: str, state: str) -> int:
    """How often a task was tried."""
    return sum(
        name == state and event["type"] == "TaskScheduled" for name, event in history(states, execution)
    )
