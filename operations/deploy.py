"""Plan, apply and destroy one environment."""

from __future__ import annotations

import contextlib
import os
import re
import shlex
import subprocess
import sys
import time
from typing import TYPE_CHECKING, Any

import click

from operations import options, plan, state
from operations import preflight as checks
from operations.environments import Environment
from operations.errors import UserError
from operations.program import ROOT
from operations.terraform import Terraform, TerraformError, follow

# The SDK and rich are imported where they are used: `--help` would wait half a second for them.
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from rich.console import Console

# Terraform's errors for a plan made from an older state.
_STALE = ("Saved plan is stale", "Saved plan does not match the given state", "different state lineage")

# Seconds to wait for IAM, where a policy takes a while to become effective after an apply creates it.
# docs/decisions/0018-an-apply-waits-for-iam.md
_IAM_WAITS = (10.0, 20.0, 40.0)
# "User: ... is not authorized to perform ..." is about the caller's own permissions; waiting does not help.
_NOT_YET_ALLOWED = re.compile(
    r"updating Step Functions State Machine \(\S+:(?P<name>[^:)]+)\)(?!.*\bUser: ).*AccessDeniedException"
)


def connect(environment: Environment, console: Console) -> Terraform:
    """Check credentials, account and state bucket, and return Terraform ready to plan.

    The local cloud loses its state bucket when it stops, so a missing one is created there.
    Raises UserError when one of them cannot be used.
    """
    account = environment.account()
    if not state.bucket_exists(environment, account):
        if not environment.local:
            raise UserError(
                f"The state bucket {environment.state_bucket} does not exist in account {account}; create it"
                f" with 'make bootstrap ENV={environment.name}'."
            )
        # A saved plan belongs to an earlier local cloud.
        plan.discard(environment)
        state.make_bucket(environment, console)
    terraform = environment.terraform()
    terraform.init(f"-backend-config={environment.backend_file}")
    return terraform


def make_plan(environment: Environment, console: Console, terraform: Terraform) -> None:
    """Write the plan to `environment.plan_file`, and the hashes of its sources beside it."""
    plan.begin(environment)
    variables = [f"-var-file={environment.variables_file.relative_to(ROOT)}"]
    if commit := plan.commit():
        variables.append(f"-var=commit={commit}")
    try:
        follow(terraform.stream("plan", *variables, f"-out={environment.plan_file}"), "Planning", console)
    except BaseException:
        # Terraform also saves a plan that failed half-way.
        plan.discard(environment)
        raise


def apply(environment: Environment, console: Console, *, confirmed: bool = False) -> None:
    """Apply the saved plan, or make one, show it and apply it.

    Raises UserError as `connect`, and when the saved plan is stale, destroys protected data, or loses data
    without being `confirmed`.
    """
    terraform = connect(environment, console)
    if saved := plan.saved(environment):
        console.out(f"Applying the plan made {saved}")
    else:
        make_plan(environment, console, terraform)
    resources = terraform.show(environment.plan_file).get("resource_changes", [])
    changes = plan.changes(resources, local=environment.local)
    if not saved:
        # Terraform reports each creation as it completes.
        plan.show([change for change in changes if change.action != "create"], console)
    _refuse_losses(environment, changes, confirmed=confirmed)
    _build_zips(resources)
    try:
        _carry_out(environment, console, terraform, changes)
    except TerraformError as error:
        if not any(sign in str(error) for sign in _STALE):
            raise
        plan.discard(environment)
        raise UserError(
            f"The saved plan is out of date: ENV={environment.name} changed since it was made; read a new"
            f" one with 'make plan ENV={environment.name}', then apply."
        ) from error
    plan.discard(environment)


def _carry_out(
    environment: Environment, console: Console, terraform: Terraform, agreed: Sequence[plan.Change]
) -> None:
    """Apply the plan of the `agreed` changes; while IAM lags behind, plan and apply what is left of it."""
    for wait in (*_IAM_WAITS, None):
        try:
            follow(terraform.stream("apply", str(environment.plan_file)), "Applying", console)
        except TerraformError as error:
            behind = [_NOT_YET_ALLOWED.search(line) for line in error.message.splitlines()]
            if not all(behind):
                raise
            if wait is None:
                # It is stale; the next apply makes a new one.
                plan.discard(environment)
                raise
            names = ", ".join(sorted({one["name"] for one in behind if one}))
            console.out(f"  IAM does not let {names} do yet what was granted; trying again in {wait:.0f} s")
            time.sleep(wait)
        else:
            return
        # Raises UserError if a source has changed meanwhile.
        plan.saved(environment)
        make_plan(environment, console, terraform)
        resources = terraform.show(environment.plan_file)["resource_changes"]
        left = plan.changes(resources, local=environment.local)
        known = {(change.address, change.action) for change in agreed}
        if more := [one.address for one in left if (one.address, one.action) not in known]:
            plan.discard(environment)
            raise UserError(
                f"IAM was behind, and now there is more to do than was planned: {', '.join(more)}; read a new"
                f" plan with 'make plan ENV={environment.name}', then apply."
            )


def _build_zips(resources: Sequence[Mapping[str, Any]]) -> None:
    """Build the zips the plan needs; Terraform does not build one that only the state calls for.

    See docs/decisions/0008-who-builds-a-missing-zip.md.
    """
    for resource in resources:
        function = resource["change"]["after"] if resource["type"] == "aws_lambda_function" else None
        if function and not (ROOT / function["filename"]).exists():
            source = ROOT / "functions" / function["handler"].partition(".")[0]
            command = (sys.executable, ROOT / "tools" / "package.py", source, ROOT / function["filename"])
            built = subprocess.run(command, capture_output=True, text=True, check=False)
            if built.returncode:
                raise UserError(built.stderr.strip() or "The functions' zips could not be built.")


def _refuse_losses(environment: Environment, changes: Sequence[plan.Change], *, confirmed: bool) -> None:
    """Raise UserError if the plan destroys protected data, or loses data without being confirmed."""
    gone = [change for change in changes if change.action in ("delete", "replace")]
    destroyed = [change.address for change in gone if change.type in plan.HOLDS_DATA]
    if destroyed and (reason := _protection(environment)):
        raise UserError(f"This would destroy {', '.join(destroyed)}, but {reason}")
    losses = "; ".join(f"{change.address} {change.losses}" for change in changes if change.losses)
    if losses and not (environment.local or confirmed):
        raise UserError(
            f"This loses data: {losses}. If that is meant, 'make apply ENV={environment.name} CONFIRM=1'."
        )


def _protection(environment: Environment) -> str:
    """Why the environment's data must not be destroyed, and how to lift that; empty if it is unprotected."""
    name, file = environment.name, environment.variables_file.relative_to(ROOT)
    if environment.settings.get("protect_data", True):
        then = f"set protect_data = false in {file} and 'make apply ENV={name}' first."
    else:
        # What is deployed counts too; after an incomplete destroy the table is gone.
        client, protected = environment.client("dynamodb"), False
        if table := state.outputs(environment).get("results_table_name"):
            with contextlib.suppress(client.exceptions.ResourceNotFoundException):
                protected = client.describe_table(TableName=table)["Table"].get("DeletionProtectionEnabled")
        if not protected:
            return ""
        then = f"{file} says protect_data = false, which is not applied; 'make apply ENV={name}' first."
    return f"ENV={name} protects its photos, records and parked events; {then}"


def destroy(environment: Environment, console: Console, *, confirmed: bool) -> None:
    """Destroy everything in the environment except its state bucket.

    Raises UserError as `connect`, while the environment's file or what is deployed protects its data, and
    when it is not `confirmed`; the local environment, which is temporary, needs no confirmation.
    """
    # Terraform would fail only after it had removed the bucket's protections, the queue and the functions.
    if reason := _protection(environment):
        raise UserError(reason)
    if not (environment.local or confirmed):
        raise UserError(
            f"This deletes everything in ENV={environment.name}, photos and records too; run it as"
            f" 'make destroy ENV={environment.name} CONFIRM=1'."
        )
    terraform = connect(environment, console)
    bucket = state.outputs(environment).get("uploads_bucket_name")
    if environment.local and bucket:
        # On MiniStack, force_destroy never ends when a key has characters that URLs escape.
        empty_bucket(environment, bucket)
    variables = f"-var-file={environment.variables_file.relative_to(ROOT)}"
    follow(terraform.stream("destroy", "-auto-approve", variables), "Destroying", console)
    plan.discard(environment)


def empty_bucket(environment: Environment, bucket: str) -> None:
    """Delete every version of every object in `bucket`, if it exists."""
    client = state.s3(environment)
    with contextlib.suppress(client.exceptions.NoSuchBucket):
        for page in client.get_paginator("list_object_versions").paginate(Bucket=bucket):
            for one in [*page.get("Versions", []), *page.get("DeleteMarkers", [])]:
                # One by one: the XML of DeleteObjects cannot hold every key.
                client.delete_object(Bucket=bucket, Key=one["Key"], VersionId=one["VersionId"])


def show(environment: Environment, changes: Sequence[plan.Change], console: Console) -> None:
    """Print what a plan does and how to apply it."""
    plan.show(changes, console)
    if not changes:
        console.out(f"ENV={environment.name} is as it should be: nothing to change.")
        return
    console.out(
        ", ".join(f"{count} to {action}" for action, count in plan.counts(changes).items() if count)
        + f". Apply with 'make apply ENV={environment.name}'; every detail: {environment.terraform().typed}"
        f" show {shlex.quote(os.path.relpath(environment.plan_file, ROOT))}"
    )


@click.command
@options.environment
@options.preflight
@options.as_json
def plan_command(env: str, preflight: bool, as_json: bool) -> None:
    """Save a plan to build/<env>.tfplan and show what it does."""
    from operations.terminal import console

    environment = Environment.load(env)
    # Keep progress out of the JSON on standard output.
    screen = console(errors=as_json)
    checks.before(environment, preflight)
    terraform = connect(environment, screen)
    make_plan(environment, screen, terraform)
    shown = terraform.show(environment.plan_file)
    changes = plan.changes(shown.get("resource_changes", []), local=environment.local)
    if as_json:
        options.print_json(plan.as_json(changes))
    else:
        show(environment, changes, screen)


@click.command
@options.environment
@options.preflight
@options.confirm("Apply a plan that loses data too")
def apply_command(env: str, preflight: bool, confirm: bool) -> None:
    """Apply the saved plan, or make one and apply it."""
    from operations.terminal import console

    environment = Environment.load(env)
    checks.before(environment, preflight)
    apply(environment, console(), confirmed=confirm)
    values = state.output(environment)
    if "uploads_bucket_name" in values:
        click.echo(f"Upload photos to s3://{values['uploads_bucket_name']}/")
    # The local cloud has no console.
    if "dashboard_url" in values and not environment.local:
        click.echo(f"Dashboard: {values['dashboard_url']}")


@click.command
@options.environment
@options.confirm("Destroy it, data and all")
def destroy_command(env: str, confirm: bool) -> None:
    """Destroy an environment, data and all (refused where data is protected)."""
    from operations.terminal import console

    destroy(Environment.load(env), console(), confirmed=confirm)
