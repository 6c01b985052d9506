"""What the deployed roles may do, why, and how each grant was shown needed: the table in docs/security.md."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import click
from botocore.exceptions import BotoCoreError, ClientError

from operations.deployment import Deployment
from tests.documents.proofs import PROOFS
from tests.documents.section import Section

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    # Makes an SDK client of the deployment's account by the service's name.
    Clients = Callable[[str], Any]


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


def section(client: Clients, outputs: Mapping[str, Any]) -> Section:
    """The table of the stack that `outputs` are of."""
    return Section("docs/security.md", "permissions", lambda: table(deployed(client, outputs), outputs))


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.option("--env", "name", envvar="ENV", default="local", show_default=True, help="Deployed environment.")
def main(name: str) -> None:
    """Write the table of permissions into docs/security.md from the roles of a deployed environment."""
    try:
        deployment = Deployment.load(name)
        click.echo(section(deployment.client, deployment.outputs).write())
    except KeyError as error:
        raise click.ClickException(
            f"{error.args[0]} is granted without a proof; add one to tests/documents/proofs.py, or revoke it."
        ) from None
    except (ValueError, ClientError, BotoCoreError, OSError) as error:
        raise click.ClickException(str(error)) from None


if __name__ == "__main__":
    sys.exit(main(prog_name="python -m tests.documents.permissions"))
