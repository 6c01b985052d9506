"""Four designs side by side on one local cloud, selected by the key's prefix."""

from __future__ import annotations

import io
import json
import zipfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from localcloud.stack import Stack

DESIGNS = ("floor", "tutorial", "direct", "buffered")
HANDLERS = Path(__file__).with_name("handlers")


def prepare(stack: Stack) -> None:
    """Make uploads under `bench/<design>/` start that design and no other."""
    ours = stack.outputs["state_machine_arn"]
    events = stack.client("events")
    (name,) = events.list_rule_names_by_target(TargetArn=ours)["RuleNames"]
    rule = events.describe_rule(Name=name)
    (target,) = events.list_targets_by_rule(Rule=name)["Targets"]
    pattern = json.loads(rule["EventPattern"])

    def restricted(design: str) -> str:
        object_ = {"key": [{"prefix": f"bench/{design}/"}]}
        return json.dumps({**pattern, "detail": {**pattern["detail"], "object": object_}})

    def route(design: str, **target: str) -> None:
        events.put_rule(Name=f"bench-{design}", EventPattern=restricted(design))
        events.put_targets(Rule=f"bench-{design}", Targets=[{"Id": "1", **target}])

    events.put_rule(Name=name, EventPattern=restricted("direct"))
    route("buffered", Arn=stack.outputs["ingestion"]["queue_arn"])
    role = _role(stack)
    for design in ("floor", "tutorial"):
        machine = _machine(stack, design, _functions(stack, design, role), ours)
        route(design, Arn=machine, RoleArn=target["RoleArn"])


def _functions(stack: Stack, design: str, role: str) -> dict[str, str]:
    """ARNs of the design's two functions, with the same runtime, memory and timeout as ours."""
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w") as zipped:
        zipped.write(HANDLERS / f"{design}.py", f"{design}.py")
    client, made = stack.client("lambda"), {}
    for ours, function in (("process_image", "process"), ("send_notification", "notify")):
        settings = client.get_function_configuration(FunctionName=stack.outputs["function_names"][ours])
        variables = {
            "RESULTS_TABLE": stack.outputs["results_table_name"],
            "RESULTS_TOPIC_ARN": stack.outputs["results_topic_arn"],
        }
        made[function] = client.create_function(
            FunctionName=f"bench-{design}-{function}",
            Runtime=settings["Runtime"],
            Role=role,
            Handler=f"{design}.{function}",
            Code={"ZipFile": archive.getvalue()},
            MemorySize=settings["MemorySize"],
            Timeout=settings["Timeout"],
            Environment={"Variables": variables},
        )["FunctionArn"]
    return made


def _role(stack: Stack) -> str:
    """One role for all functions here, for every service that ours use."""

    def policy(**statement: Any) -> str:
        return json.dumps({"Version": "2012-10-17", "Statement": [{"Effect": "Allow", **statement}]})

    iam = stack.client("iam")
    trust = policy(Principal={"Service": "lambda.amazonaws.com"}, Action="sts:AssumeRole")
    role = iam.create_role(RoleName="bench", AssumeRolePolicyDocument=trust)["Role"]
    actions = ["dynamodb:*", "kms:*", "logs:*", "rekognition:*", "s3:*", "sns:*"]
    allowed = policy(Action=actions, Resource="*")
    iam.put_role_policy(RoleName="bench", PolicyName="bench", PolicyDocument=allowed)
    return str(role["Arn"])


def _machine(stack: Stack, design: str, functions: dict[str, str], ours: str) -> str:
    """The design's workflow: ours with its functions, or the tutorial's two steps."""
    states = stack.client("stepfunctions")
    deployed = states.describe_state_machine(stateMachineArn=ours)
    if design == "floor":
        definition = json.loads(deployed["definition"])
        for state, function in (("ProcessImage", "process"), ("SendNotification", "notify")):
            definition["States"][state]["Arguments"]["FunctionName"] = functions[function]
    else:
        steps: dict[str, Any] = {
            "ProcessImage": {"Type": "Task", "Resource": functions["process"], "Next": "SendNotification"},
            "SendNotification": {"Type": "Task", "Resource": functions["notify"], "End": True},
        }
        definition = {"StartAt": "ProcessImage", "States": steps}
    made = states.create_state_machine(
        name=f"bench-{design}",
        definition=json.dumps(definition),
        roleArn=deployed["roleArn"],
        type=deployed["type"],
    )
    return str(made["stateMachineArn"])
