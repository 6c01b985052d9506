"""Plan, apply and destroy one environment, and make the bucket its state lives in."""

from __future__ import annotations

import json
import os
import shlex
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import click

from operations import options, plan, saved_plan, state, versions
from operations import preflight as checks
from operations.environments import Environment
from operations.errors import UserError
from operations.program import ROOT
from operations.saved_plan import SavedPlan
from operations.terraform import Terraform, TerraformError, follow

# The SDK and rich are imported where they are used: `--help` would wait half a second for them.
if TYPE_CHECKING:
    from collections.abc import Sequence

    from rich.console import Console

    from operations.plan import Summary

# What Terraform says of a plan whose state has changed since.
_STALE = ("Saved plan is stale", "Saved plan does not match the given state", "different state lineage")


def connect(environment: Environment, console: Console) -> Terraform:
    """Make sure of credentials, account and state bucket, and return Terraform ready to plan.

    The local cloud forgets its state bucket with everything else, so there it is made when it is missing.

    Raises:
        UserError: something of that is missing.
        TerraformError: Terraform cannot be had or set up.
    """
    account = environment.account()
    if not state.bucket_exists(environment, account):
        if not environment.local:
            raise UserError(
                f"The state bucket {environment.state_bucket} does not exist in account {account}; create it"
                f" with 'make bootstrap ENV={environment.name}'."
            )
        state.make_bucket(environment, console)
    terraform = environment.terraform()
    terraform.init(f"-backend-config={environment.backend_file}")
    return terraform


def make_plan(environment: Environment, console: Console, terraform: Terraform | None = None) -> Summary:
    """Write the plan to `environment.plan_file`, with what it was made from, and return what it does.

    Raises:
        UserError, TerraformError: as `connect`; or Terraform refuses.
    """
    terraform = terraform or connect(environment, console)
    environment.plan_file.parent.mkdir(parents=True, exist_ok=True)
    saved_plan.discard(environment)
    made = SavedPlan.of(environment)
    try:
        variables = f"-var-file={environment.variables_file.relative_to(ROOT)}"
        follow(terraform.stream("plan", variables, f"-out={environment.plan_file}"), "Planning", console)
    except BaseException:
        saved_plan.discard(environment)
        raise
    made.write(environment)
    return _summary(environment, terraform)


def _summary(environment: Environment, terraform: Terraform) -> Summary:
    shown = json.loads(terraform.run("show", "-json", str(environment.plan_file)))
    return plan.summarise(shown.get("resource_changes", []), local=environment.local)


def apply(environment: Environment, console: Console, *, confirmed: bool = False) -> None:
    """Apply the saved plan, or make one, show it and apply it.

    Raises:
        UserError: as `connect`; the saved plan no longer fits the files or what is deployed; it destroys
            protected data; or it loses data and is not confirmed.
        TerraformError: Terraform fails.
    """
    terraform = connect(environment, console)
    if saved := SavedPlan.read(environment):
        _refuse_changed(environment, saved)
        console.print(
            f"Applying the plan made {saved.age} ago, {saved.made:%Y-%m-%d %H:%M} UTC", highlight=False
        )
        summary = _summary(environment, terraform)
    else:
        summary = make_plan(environment, console, terraform)
        # What is created is shown when it is there.
        plan.Summary(tuple(one for one in summary.changes if one.action != "create")).show(console)
    _refuse_losses(environment, summary, confirmed=confirmed)
    _build_zips(environment, terraform)
    try:
        follow(terraform.stream("apply", str(environment.plan_file)), "Applying", console)
    except TerraformError as error:
        if not any(sign in str(error) for sign in _STALE):
            raise
        saved_plan.discard(environment)
        if not environment.local:
            raise UserError(
                f"The saved plan is out of date: ENV={environment.name} changed since it was made; read a new"
                f" one with 'make plan ENV={environment.name}', then apply."
            ) from error
        # A plan made for an earlier local cloud.
        make_plan(environment, console, terraform)
        follow(terraform.stream("apply", str(environment.plan_file)), "Applying", console)
    saved_plan.discard(environment)


def _build_zips(environment: Environment, terraform: Terraform) -> None:
    """Build the plan's zips: what only the state says needs one is not built by Terraform.

    See docs/decisions/0008-who-builds-a-missing-zip.md.
    """
    shown = json.loads(terraform.run("show", "-json", str(environment.plan_file)))
    for change in shown.get("resource_changes", []):
        planned = change["change"]["after"] if change["type"] == "aws_lambda_function" else None
        if planned and not (ROOT / planned["filename"]).exists():
            source = ROOT / "functions" / planned["handler"].partition(".")[0]
            command = (sys.executable, ROOT / "tools" / "package.py", source, ROOT / planned["filename"])
            built = subprocess.run(command, capture_output=True, text=True, check=False)
            if built.returncode:
                raise UserError(built.stderr.strip() or "The functions' zips could not be built.")


def _refuse_changed(environment: Environment, saved: SavedPlan) -> None:
    if changed := saved.changed(environment):
        more = f" and {len(changed) - 3} more" if len(changed) > 3 else ""
        raise UserError(
            f"The plan saved {saved.age} ago was made from other files: {', '.join(changed[:3])}{more}"
            f" changed since; read a new one with 'make plan ENV={environment.name}', then apply."
        )


def _refuse_losses(environment: Environment, summary: Summary, *, confirmed: bool) -> None:
    """Hold an apply to what destroying is held to."""
    name = environment.name
    destroyed = [change.address for change in summary.changes if change.destroys_data]
    if destroyed and (reason := _protection(environment)):
        raise UserError(f"This would destroy {', '.join(destroyed)}, but {reason}")
    if summary.losses and not (environment.local or confirmed):
        losses = "; ".join(f"{change.address} {change.losses}" for change in summary.losses)
        raise UserError(f"This loses data: {losses}. If that is meant, 'make apply ENV={name} CONFIRM=1'.")


def _protection(environment: Environment) -> str:
    """Why the data of an environment may not be destroyed, and what would let it be; empty when it may."""
    name = environment.name
    file = environment.variables_file.relative_to(ROOT)
    if environment.settings.get("protect_data", True):
        then = f"set protect_data = false in {file} and 'make apply ENV={name}' first."
    elif _is_protected(environment):
        then = f"{file} says protect_data = false, which is not applied; 'make apply ENV={name}' first."
    else:
        return ""
    return f"ENV={name} protects its photos, records and parked events; {then}"


def destroy(environment: Environment, console: Console, *, confirmed: bool) -> None:
    """Destroy everything of the environment but its state bucket.

    Data is protected when the environment's file or what is deployed says so. Unless it is the local one,
    whose data go with the local cloud anyway, it has to be confirmed.

    Raises:
        UserError: its data is protected; it is not confirmed; or as `connect`.
        TerraformError: Terraform fails.
    """
    name = environment.name
    # Terraform would find out after it had taken the bucket's protections, the queue and the functions away.
    if reason := _protection(environment):
        raise UserError(reason)
    if not (environment.local or confirmed):
        raise UserError(
            f"This deletes everything in ENV={name}, photos and records too; run it as"
            f" 'make destroy ENV={name} CONFIRM=1'."
        )
    terraform = connect(environment, console)
    outputs = state.outputs(environment)
    if environment.local and "uploads_bucket_name" in outputs:
        # MiniStack never ends a force_destroy when a key has characters that URLs escape.
        empty_bucket(environment, outputs["uploads_bucket_name"])
    variables = f"-var-file={environment.variables_file.relative_to(ROOT)}"
    follow(terraform.stream("destroy", "-auto-approve", variables), "Destroying", console)
    saved_plan.discard(environment)


def _is_protected(environment: Environment) -> bool:
    """Whether the table that is deployed refuses to be deleted."""
    table = state.outputs(environment).get("results_table_name")
    if not table:
        return False
    client = environment.client("dynamodb")
    try:
        described = client.describe_table(TableName=table)["Table"]
    except client.exceptions.ResourceNotFoundException:
        # Destroyed already, by a run that did not come to its end.
        return False
    return bool(described.get("DeletionProtectionEnabled"))


def empty_bucket(environment: Environment, bucket: str) -> None:
    """Delete every version of every object in `bucket`; a bucket that is gone is empty."""
    from botocore import exceptions

    client = state.s3(environment)
    try:
        for page in client.get_paginator("list_object_versions").paginate(Bucket=bucket):
            there = [*page.get("Versions", []), *page.get("DeleteMarkers", [])]
            versions.delete(client, bucket, [(one["Key"], one["VersionId"]) for one in there])
    except exceptions.ClientError as error:
        if error.response["Error"]["Code"] != "NoSuchBucket":
            raise


def show(environment: Environment, summary: Summary, console: Console) -> None:
    """Print a plan's summary and how to apply it."""
    summary.show(console)
    if not summary.changes:
        console.print(f"ENV={environment.name} is as it should be: nothing to change.", highlight=False)
        return
    console.print(
        f"{summary.counts()}. Apply with 'make apply ENV={environment.name}'; every detail:"
        f" {environment.terraform().typed} show {shlex.quote(os.path.relpath(environment.plan_file, ROOT))}",
        highlight=False,
        soft_wrap=True,
    )


def _console(*, errors: bool = False) -> Console:
    from rich.console import Console

    return Console(stderr=errors, soft_wrap=True)


@click.command
@options.environment
@options.preflight
@options.as_json
def plan_command(env: str, preflight: bool, as_json: bool) -> None:
    """Save a plan to build/<env>.tfplan and show what it does."""
    environment = Environment.load(env)
    # Progress must not get between a program and its JSON.
    console = _console(errors=as_json)
    checks.before(environment, preflight)
    summary = make_plan(environment, console)
    if as_json:
        options.print_json(summary.as_json())
    else:
        show(environment, summary, console)


@click.command
@options.environment
@options.preflight
@options.confirm("Apply a plan that loses data too")
def apply_command(env: str, preflight: bool, confirm: bool) -> None:
    """Apply the saved plan, or make one and apply it."""
    environment = Environment.load(env)
    checks.before(environment, preflight)
    apply(environment, _console(), confirmed=confirm)
    values = state.output(environment)
    if "uploads_bucket_name" in values:
        click.echo(f"Upload photos to s3://{values['uploads_bucket_name']}/")
    # The local cloud has no console to show it in.
    if "dashboard_url" in values and not environment.local:
        click.echo(f"Dashboard: {values['dashboard_url']}")


@click.command
@options.environment
@options.confirm("Destroy it, data and all")
def destroy_command(env: str, confirm: bool) -> None:
    """Destroy an environment, data and all (refused where data is protected)."""
    environment = Environment.load(env)
    destroy(environment, _console(), confirmed=confirm)


@click.command
@options.environment
@options.as_json
def output_command(env: str, as_json: bool) -> None:
    """Print names and addresses of what is deployed."""
    values = state.output(Environment.load(env))
    if as_json:
        options.print_json(values)
        return
    _print_values(sorted(values.items()))


def _print_values(values: Sequence[tuple[str, Any]]) -> None:
    width = max(len(name) for name, _ in values)
    for name, value in values:
        click.echo(f"{name:{width}}  {value if isinstance(value, str) else json.dumps(value)}")
