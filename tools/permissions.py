"""What the deployed roles may do, why, and how each grant was shown needed: the table in docs/security.md."""

from __future__ import annotations

import re
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import click

from operations.program import ROOT

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    # Makes an SDK client of the deployment's account by the service's name.
    Clients = Callable[[str], Any]

DOCUMENT = ROOT / "docs" / "security.md"
BEGIN = (
    "<!-- permissions: written by `make permissions`, compared by tests/integration/test_permissions.py -->"
)
END = "<!-- end of permissions -->"
SKIP_MARKS = (
    "<!-- skips: written by `make permissions`, compared by tests/unit/test_permissions.py -->",
    "<!-- end of skips -->",
)

Method = Literal["end to end", "simulated"]

_AWS = "https://docs.aws.amazon.com"


@dataclass(frozen=True)
class Proof:
    """Why a role needs an action.

    Attributes:
        need: what fails without it, for people.
        page: where AWS says so.
        method: ``end to end``: the function or workflow is run without it on the local cloud and fails.
            ``simulated``: the local cloud does not ask IAM for it, so that it is needed rests on AWS's page,
            and that the grant is what allows it on IAM's own simulation.
    """

    need: str
    page: str
    method: Method


def _logs(what: str) -> Proof:
    return Proof(what, f"{_AWS}/lambda/latest/dg/lambda-intro-execution-role.html", "simulated")


def _traces(what: str) -> Proof:
    return Proof(what, f"{_AWS}/lambda/latest/dg/services-xray.html", "simulated")


def _delivery(what: str) -> Proof:
    return Proof(what, f"{_AWS}/step-functions/latest/dg/cw-logs.html", "simulated")


def _workflow_traces(what: str) -> Proof:
    return Proof(what, f"{_AWS}/step-functions/latest/dg/xray-iam.html", "simulated")


def _nested(what: str) -> Proof:
    return Proof(what, f"{_AWS}/step-functions/latest/dg/connect-stepfunctions.html", "simulated")


_FUNCTION: Mapping[str, Proof] = {
    "logs:CreateLogStream": _logs("A new worker has nowhere to log to"),
    "logs:PutLogEvents": _logs("The function's log stays empty"),
    "xray:PutTelemetryRecords": _traces("The tracing daemon cannot report what it dropped"),
    "xray:PutTraceSegments": _traces("The function is missing from traces"),
}

_WORKFLOW: Mapping[str, Proof] = {
    "logs:CreateLogDelivery": _delivery("The workflow cannot be created with logging on"),
    "logs:DeleteLogDelivery": _delivery("Logging cannot be switched off or moved again"),
    "logs:DescribeLogGroups": _delivery("The log group is not found when logging is set up"),
    "logs:DescribeResourcePolicies": _delivery("Whether logs may be delivered cannot be looked up"),
    "logs:GetLogDelivery": _delivery("The delivery that exists cannot be looked up"),
    "logs:ListLogDeliveries": _delivery("The delivery that exists cannot be found"),
    "logs:PutResourcePolicy": _delivery("Log delivery is not let into the log group"),
    "logs:UpdateLogDelivery": _delivery("Logging cannot be changed"),
    "xray:GetSamplingRules": _workflow_traces("The workflow does not know what share to trace"),
    "xray:GetSamplingTargets": _workflow_traces("The workflow does not know what share to trace"),
    "xray:PutTelemetryRecords": _workflow_traces("Step Functions cannot report what it dropped"),
    "xray:PutTraceSegments": _workflow_traces("The workflow is missing from traces"),
}

PROOFS: Mapping[str, Mapping[str, Proof]] = {
    "process-image": {
        **_FUNCTION,
        "dynamodb:GetItem": Proof(
            "A duplicate cannot be told from a new upload, and nothing is analysed",
            f"{_AWS}/service-authorization/latest/reference/list_amazondynamodb.html",
            "end to end",
        ),
        "dynamodb:PutItem": Proof(
            "No record is written",
            f"{_AWS}/service-authorization/latest/reference/list_amazondynamodb.html",
            "end to end",
        ),
        "kms:Decrypt": Proof(
            "Rekognition, reading as the function, gets no photo; DynamoDB opens no table encrypted with this"
            " key; Lambda cannot open the function's settings",
            f"{_AWS}/AmazonS3/latest/userguide/UsingKMSEncryption.html",
            "end to end",
        ),
        "rekognition:DetectFaces": Proof(
            "Nothing is analysed",
            f"{_AWS}/rekognition/latest/APIReference/API_DetectFaces.html",
            "end to end",
        ),
        "s3:GetObject": Proof(
            "Photos whose event names no version, as in a backfill from a listing, are not analysed:"
            " Rekognition reads with the function's credentials",
            f"{_AWS}/rekognition/latest/APIReference/API_S3Object.html",
            "end to end",
        ),
        "s3:GetObjectVersion": Proof(
            "Photos whose event names a version, as all live ones do, are not analysed",
            f"{_AWS}/AmazonS3/latest/API/API_GetObject.html",
            "end to end",
        ),
        "s3:ListBucket": Proof(
            "S3 answers 403, not 404, for a photo that is gone (the local cloud: 404 always), so that it is"
            " retried and parked, not recorded",
            f"{_AWS}/AmazonS3/latest/API/API_HeadObject.html",
            "simulated",
        ),
    },
    "send-notification": {
        **_FUNCTION,
        "dynamodb:UpdateItem": Proof(
            "Records are not marked as notified, and a retry cannot see whether one is",
            f"{_AWS}/service-authorization/latest/reference/list_amazondynamodb.html",
            "end to end",
        ),
        "kms:Decrypt": Proof(
            "SNS refuses to publish to a topic encrypted with this key, DynamoDB opens no table"
            " encrypted with it; Lambda cannot open the function's settings",
            f"{_AWS}/sns/latest/dg/sns-key-management.html",
            "simulated",
        ),
        "kms:GenerateDataKey": Proof(
            "SNS refuses to publish to a topic encrypted with this key",
            f"{_AWS}/sns/latest/dg/sns-key-management.html",
            "simulated",
        ),
        "sns:Publish": Proof("Nobody is notified", f"{_AWS}/sns/latest/api/API_Publish.html", "end to end"),
    },
    "start-workflow": {
        **_FUNCTION,
        "dynamodb:UpdateItem": Proof(
            "The photos of a day are not counted, and with a cap nothing is started",
            f"{_AWS}/service-authorization/latest/reference/list_amazondynamodb.html",
            "simulated",
        ),
        "kms:Decrypt": Proof(
            "Lambda gets no events out of a queue encrypted with this key",
            f"{_AWS}/AWSSimpleQueueService/latest/SQSDeveloperGuide/sqs-key-management.html",
            "simulated",
        ),
        "kms:GenerateDataKey": Proof(
            "SQS refuses to park events in a queue encrypted with this key",
            f"{_AWS}/AWSSimpleQueueService/latest/SQSDeveloperGuide/sqs-key-management.html",
            "simulated",
        ),
        "sqs:ChangeMessageVisibility": Proof(
            "Events that wait for the day's cap are looked at every 12 minutes",
            f"{_AWS}/AWSSimpleQueueService/latest/APIReference/API_ChangeMessageVisibility.html",
            "simulated",
        ),
        **{
            action: Proof(
                "Lambda refuses to make the mapping, and buffered uploads stay in the queue",
                f"{_AWS}/lambda/latest/dg/services-sqs-configure.html",
                "simulated",
            )
            for action in ("sqs:DeleteMessage", "sqs:GetQueueAttributes", "sqs:ReceiveMessage")
        },
        "sqs:SendMessage": Proof(
            "Events no workflow takes stay in the queue instead of being parked",
            f"{_AWS}/AWSSimpleQueueService/latest/APIReference/API_SendMessage.html",
            "simulated",
        ),
        "states:StartExecution": Proof(
            "No buffered upload starts the workflow",
            f"{_AWS}/step-functions/latest/apireference/API_StartExecution.html",
            "simulated",
        ),
    },
    "pipeline": {
        **_WORKFLOW,
        "kms:Decrypt": Proof(
            "SQS refuses to park events in a queue encrypted with this key",
            f"{_AWS}/AWSSimpleQueueService/latest/SQSDeveloperGuide/sqs-key-management.html",
            "simulated",
        ),
        "kms:GenerateDataKey": Proof(
            "SQS refuses to park events in a queue encrypted with this key",
            f"{_AWS}/AWSSimpleQueueService/latest/SQSDeveloperGuide/sqs-key-management.html",
            "simulated",
        ),
        "lambda:InvokeFunction": Proof(
            "The workflow cannot call the function",
            f"{_AWS}/step-functions/latest/dg/connect-lambda.html",
            "simulated",
        ),
        "sqs:SendMessage": Proof(
            "Events that failed are lost instead of parked",
            f"{_AWS}/step-functions/latest/dg/connect-sqs.html",
            "simulated",
        ),
    },
    "backfill": {
        **_WORKFLOW,
        "events:DescribeRule": _nested("The rule that reports the workflow's end cannot be looked up"),
        "events:PutRule": _nested("The rule that reports the workflow's end is not made"),
        "events:PutTargets": _nested("The rule that reports the workflow's end leads nowhere"),
        "s3:ListBucket": Proof(
            "The photos that were there before are not found",
            f"{_AWS}/step-functions/latest/dg/iam-policies-eg-dist-map.html",
            "simulated",
        ),
        "states:DescribeExecution": _nested("What became of the executions it started is not known"),
        "states:StartExecution": _nested("Neither its own parts nor the workflow is started"),
        "states:StartSyncExecution": _nested("The workflow is not started"),
        "states:StopExecution": _nested("Stopping it leaves its own parts running"),
    },
    "rule": {
        "states:StartExecution": Proof(
            "No upload starts the workflow; EventBridge parks its events",
            f"{_AWS}/eventbridge/latest/userguide/eb-use-identity-based.html",
            "simulated",
        ),
    },
}

# Not granted to the local cloud's stack: where workflow_type is EXPRESS, in place of what waits for a
# STANDARD execution; where there is a cap of photos_per_day.
ELSEWHERE = frozenset({("backfill", "states:StartSyncExecution"), ("start-workflow", "dynamodb:UpdateItem")})


@dataclass(frozen=True)
class Role:
    """One deployed role. `key` is its name without the stack's: process-image, pipeline, ..."""

    key: str
    name: str
    arn: str
    trust: Mapping[str, Any]
    policies: Mapping[str, Mapping[str, Any]]

    @property
    def statements(self) -> Iterator[Mapping[str, Any]]:
        for policy in self.policies.values():
            yield from listed(policy["Statement"])

    @property
    def grants(self) -> dict[str, tuple[str, ...]]:
        """Resources by action.

        Raises:
            ValueError: a statement is no Allow of actions on resources, which nothing here can judge.
        """
        found: dict[str, set[str]] = {}
        for statement in self.statements:
            if statement["Effect"] != "Allow" or not {"Action", "Resource"} <= statement.keys():
                raise ValueError(
                    f"{self.name}: {statement.get('Sid')} is not an Allow of actions on resources"
                )
            for action in listed(statement["Action"]):
                found.setdefault(action, set()).update(listed(statement["Resource"]))
        return {action: tuple(sorted(resources)) for action, resources in sorted(found.items())}


def listed(value: Any) -> list[Any]:
    """A policy's value that may stand alone or in a list."""
    return list(value) if isinstance(value, list) else [value]


def stack_name(outputs: Mapping[str, Any]) -> str:
    """The name every resource of the stack begins with."""
    return str(outputs["function_names"]["process_image"]).removesuffix("-process-image")


def deployed(client: Clients, outputs: Mapping[str, Any]) -> list[Role]:
    """Every role of the stack that `outputs` are of, with its inline policies, read from IAM.

    Raises:
        ValueError: a role has a managed policy attached, whose text is not the stack's own.
    """
    iam, name = client("iam"), stack_name(outputs)
    roles = []
    for page in iam.get_paginator("list_roles").paginate():
        for role in page["Roles"]:
            if not role["RoleName"].startswith(f"{name}-"):
                continue
            attached = iam.list_attached_role_policies(RoleName=role["RoleName"])["AttachedPolicies"]
            if attached:
                raise ValueError(f"{role['RoleName']} has {attached[0]['PolicyArn']} attached")
            names = iam.list_role_policies(RoleName=role["RoleName"])["PolicyNames"]
            policies = {
                one: iam.get_role_policy(RoleName=role["RoleName"], PolicyName=one)["PolicyDocument"]
                for one in names
            }
            key = role["RoleName"].removeprefix(f"{name}-")
            roles.append(Role(key, role["RoleName"], role["Arn"], role["AssumeRolePolicyDocument"], policies))
    return sorted(
        roles, key=lambda role: (list(PROOFS).index(role.key) if role.key in PROOFS else -1, role.key)
    )


def table(roles: list[Role], outputs: Mapping[str, Any]) -> str:
    """The Markdown table of every grant, the same for every account and environment.

    Raises:
        KeyError: a role holds an action without a proof.
    """
    lines = ["| Role | Action | Resource | Without it | Proven |", "|---|---|---|---|---|"]
    for role in roles:
        for action, resources in role.grants.items():
            proof = PROOFS[role.key][action]
            where = "<br>".join(f"`{_general(resource, outputs)}`" for resource in resources)
            lines.append(
                f"| {role.key} | `{action}` | {where} | {proof.need} ([AWS]({proof.page})) | {proof.method} |"
            )
    return "\n".join(lines)


def _general(resource: str, outputs: Mapping[str, Any]) -> str:
    """A resource without what differs between deployments."""
    key_arn = str(outputs["key_arn"])
    account, region = key_arn.split(":")[4], key_arn.split(":")[3]
    for special, general in (
        (key_arn.rsplit("/", 1)[1], "KEY"),
        (stack_name(outputs), "STACK"),
        (account, "ACCOUNT"),
        (f":{region}:", ":REGION:"),
    ):
        resource = resource.replace(special, general)
    return resource


def skips() -> str:
    """The Markdown table of the checks checkov skips, from the comments beside the resources."""
    lines = ["| Check | Where | Why |", "|---|---|---|"]
    for path in sorted([*ROOT.glob("*.tf"), *ROOT.glob("modules/*/*.tf"), *ROOT.glob("bootstrap/*.tf")]):
        where = ""
        for line in path.read_text("utf-8").splitlines():
            if block := re.match(r'(?:resource|data) "(\w+)" "(\w+)"', line):
                where = ".".join(block.groups())
            if skip := re.search(r"#checkov:skip=(\w+):(.+)", line):
                file = path.relative_to(ROOT).as_posix()
                lines.append(f"| {skip[1]} | `{where}` in `{file}` | {skip[2].strip()} |")
    return "\n".join(lines)


def written(text: str, new: str, *, marks: tuple[str, str] = (BEGIN, END)) -> str:
    """`text` with `new` between the marks.

    Raises:
        ValueError: the marks are missing.
    """
    before, begin, rest = text.partition(marks[0])
    _, end, after = rest.partition(marks[1])
    if not begin or not end:
        raise ValueError(f"{DOCUMENT.relative_to(ROOT)} lacks the marks a table stands between")
    return f"{before}{begin}\n\n{new}\n\n{end}{after}"


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.option("--env", "name", envvar="ENV", default="local", show_default=True, help="Deployed environment.")
@click.option(
    "--check", is_flag=True, help="Change nothing; fail when the table differs from what is deployed."
)
def main(name: str, check: bool) -> None:
    """Write the table of permissions into docs/security.md from the roles of a deployed environment."""
    from botocore.exceptions import BotoCoreError, ClientError

    from operations.deployment import Deployment
    from operations.errors import UserError
    from operations.terraform import TerraformError

    try:
        deployment = Deployment.load(name)
        new = table(deployed(deployment.client, deployment.outputs), deployment.outputs)
        old = DOCUMENT.read_text("utf-8")
        text = written(written(old, new), skips(), marks=SKIP_MARKS)
    except KeyError as error:
        raise click.ClickException(
            f"{error.args[0]} is granted without a proof; add one to tools/permissions.py, or take it away."
        ) from None
    except (UserError, TerraformError, ValueError, ClientError, BotoCoreError, OSError) as error:
        raise click.ClickException(str(error)) from None
    if check:
        if text != old:
            raise click.ClickException(
                f"docs/security.md differs from the roles of {name}; run 'make permissions'."
            )
        click.echo(f"docs/security.md is what {name} grants.")
        return
    DOCUMENT.write_text(text, "utf-8")
    click.echo("docs/security.md is up to date." if text == old else "docs/security.md is written.")


if __name__ == "__main__":
    sys.exit(main(prog_name="python -m tools.permissions"))
