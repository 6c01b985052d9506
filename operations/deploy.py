"""Plan, apply and destroy one environment, and make the bucket its state lives in."""

from __future__ import annotations

import contextlib
import json
import math
import re
import shlex
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import click

from operations import options
from operations.environments import Environment
from operations.errors import UserError
from operations.program import ROOT
from operations.terraform import Terraform, TerraformError

# The SDK and rich are imported where they are used: `--help` would wait half a second for them.
if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
    from pathlib import Path

    from mypy_boto3_s3 import S3Client
    from rich.console import Console

    Days = Callable[[Mapping[str, Any]], float]

BOOTSTRAP = ROOT / "bootstrap"

_SYMBOLS = {"create": "+", "delete": "-", "read": "<=", "replace": "-/+", "update": "~"}
_VERBS = {"create": "created", "delete": "destroyed", "update": "changed"}


def _expires(block: str, days: str) -> Days:
    """Days after which a bucket's lifecycle rules delete something: the soonest of those that are on."""
    return lambda values: min(
        (
            one.get(days) or math.inf
            for rule in values.get("rule") or ()
            if rule.get("status") == "Enabled"
            for one in rule.get(block) or ()
        ),
        default=math.inf,
    )


def _switched_on(block: str, name: str, on: object) -> Days:
    return lambda values: math.inf if any(one.get(name) == on for one in values.get(block) or ()) else 0


# What goes with a resource that is destroyed or replaced.
_DESTROYED = {
    "aws_cloudwatch_log_group": "destroys the logs in it",
    "aws_dynamodb_table": "destroys the records in it",
    "aws_kms_key": "destroys what is encrypted with it",
    "aws_s3_bucket": "destroys the photos in it",
    "aws_sqs_queue": "destroys the events in it",
}

# How many days a resource keeps something, by its values, and what goes when they become fewer.
_KEPT: dict[str, tuple[tuple[Days, str], ...]] = {
    "aws_cloudwatch_log_group": (
        (lambda values: values.get("retention_in_days") or math.inf, "deletes logs older than {:g} days"),
    ),
    "aws_dynamodb_table": (
        (_switched_on("point_in_time_recovery", "enabled", True), "ends its point-in-time recovery"),
    ),
    "aws_s3_bucket_lifecycle_configuration": (
        (_expires("expiration", "days"), "deletes photos older than {:g} days"),
        (
            _expires("noncurrent_version_expiration", "noncurrent_days"),
            "deletes photos replaced or deleted more than {:g} days ago",
        ),
    ),
    "aws_s3_bucket_versioning": (
        (_switched_on("versioning_configuration", "status", "Enabled"), "keeps no replaced photos any more"),
    ),
    "aws_sqs_queue": (
        (
            lambda values: (values.get("message_retention_seconds") or math.inf) / 86_400,
            "deletes events older than {:g} days",
        ),
    ),
}


@dataclass(frozen=True)
class Change:
    """What a plan does to one resource: ``create``, ``update``, ``replace`` or ``delete``.

    Attributes:
        before: its values as they are, none for one to be created.
        after: its values as they will be, without those only an apply tells.
    """

    address: str
    type: str
    action: str
    before: Mapping[str, Any] = field(default_factory=dict)
    after: Mapping[str, Any] = field(default_factory=dict)

    @property
    def losses(self) -> str:
        """What data goes, such as "deletes logs older than 7 days"; empty when none does."""
        if self.action in ("delete", "replace") and self.type in _DESTROYED:
            return _DESTROYED[self.type]
        # What is new holds nothing, but rules can be new to a bucket that is there; then its name is known.
        if self.action == "create" and "bucket" not in self.after:
            return ""
        return ", ".join(
            phrase.format(days(self.after))
            for days, phrase in _KEPT.get(self.type, ())
            if days(self.after) < days(self.before)
        )

    @property
    def loses_data(self) -> bool:
        return bool(self.losses)

    def as_json(self) -> dict[str, str]:
        told = {"address": self.address, "action": self.action}
        return told | {"losses": self.losses} if self.loses_data else told


@dataclass(frozen=True)
class Summary:
    """What a plan does, in the order Terraform lists it."""

    changes: tuple[Change, ...]

    def count(self, action: str) -> int:
        return sum(change.action == action for change in self.changes)

    def as_json(self) -> dict[str, Any]:
        """Return counts by action, every change, and the addresses whose data is lost."""
        return {
            **{action: self.count(action) for action in ("create", "update", "replace", "delete")},
            "changes": [change.as_json() for change in self.changes],
            "loses_data": [change.address for change in self.changes if change.loses_data],
        }


def connect(environment: Environment, console: Console) -> Terraform:
    """Make sure of credentials, account and state bucket, and return Terraform ready to plan.

    The local cloud forgets its state bucket with everything else, so there it is made when it is missing.

    Raises:
        UserError: something of that is missing.
        TerraformError: Terraform cannot be had or set up.
    """
    account = environment.account()
    client = s3(environment)
    if not _bucket_exists(client, environment, account):
        if not environment.local:
            raise UserError(
                f"The state bucket {environment.state_bucket} does not exist in account {account}; create it"
                f" with 'make bootstrap ENV={environment.name}'."
            )
        _make_bucket(environment, console)
    terraform = environment.terraform()
    terraform.init(f"-backend-config={environment.backend_file}")
    return terraform


def plan(environment: Environment, console: Console) -> Summary:
    """Write the plan to `environment.plan_file` and return what it does.

    Raises:
        UserError, TerraformError: as `connect`; or Terraform refuses.
    """
    terraform = connect(environment, console)
    return _plan(environment, terraform, console)


def apply(environment: Environment, console: Console) -> None:
    """Apply the saved plan, making one first where there is none.

    Raises:
        UserError: as `connect`; or the saved plan no longer fits what is deployed.
        TerraformError: Terraform fails.
    """
    terraform = connect(environment, console)
    if not environment.plan_file.is_file():
        _plan(environment, terraform, console)
    try:
        _apply_plan(environment, terraform, console)
    except TerraformError as error:
        if _sources_changed(error):
            environment.plan_file.unlink(missing_ok=True)
            raise UserError(
                f"The files in functions/ changed after the plan was made; run"
                f" 'make plan ENV={environment.name}', then apply."
            ) from error
        if not _stale(error):
            raise
        environment.plan_file.unlink(missing_ok=True)
        if not environment.local:
            raise UserError(
                f"The saved plan is out of date: ENV={environment.name} changed since it was made; read a new"
                f" one with 'make plan ENV={environment.name}', then apply."
            ) from error
        # A plan made for an earlier local cloud.
        _plan(environment, terraform, console)
        _apply_plan(environment, terraform, console)


def destroy(environment: Environment, console: Console, *, confirmed: bool) -> None:
    """Destroy everything of the environment but its state bucket.

    Raises:
        UserError: its data is protected, in its file or as deployed; it is not confirmed; or as `connect`.
        TerraformError: Terraform fails.
    """
    name = environment.name
    if environment.settings.get("protect_data", True) and not environment.local:
        raise UserError(
            f"ENV={name} protects its data: destroying it would delete every photo, record and parked event."
            f" To go on all the same, set protect_data = false in environments/{name}.tfvars, apply that,"
            " then destroy."
        )
    if not (environment.local or confirmed):
        raise UserError(
            f"This deletes everything in ENV={name}, photos and records too; run it as"
            f" 'make destroy ENV={name} CONFIRM=1'."
        )
    terraform = connect(environment, console)
    outputs = terraform.output()
    table = outputs.get("results_table_name")
    # Terraform would find out after it had taken the bucket's protections, the queue and the functions away.
    if table and _is_protected(environment, table):
        raise UserError(
            f"The data of ENV={name} is still protected: its file says protect_data = false, but that is not"
            f" applied; run 'make apply ENV={name}', then destroy."
        )
    if environment.local and "uploads_bucket_name" in outputs:
        # MiniStack never ends a force_destroy when a key has characters that URLs escape.
        empty_bucket(s3(environment), outputs["uploads_bucket_name"])
    _run(
        terraform.stream(
            "destroy", "-auto-approve", f"-var-file={environment.variables_file.relative_to(ROOT)}"
        ),
        "Destroying",
        console,
    )
    environment.plan_file.unlink(missing_ok=True)


def _is_protected(environment: Environment, table: str) -> bool:
    client = environment.client("dynamodb")
    try:
        described = client.describe_table(TableName=table)["Table"]
    except client.exceptions.ResourceNotFoundException:
        # Destroyed already, by a run that did not come to its end.
        return False
    return bool(described.get("DeletionProtectionEnabled"))


def output(environment: Environment) -> dict[str, Any]:
    """Return the outputs of what is deployed, read from the state itself: Terraform would take two seconds.

    Raises:
        UserError: nothing is deployed, or its state may not be read.
    """
    account = environment.account()
    client = s3(environment)
    try:
        state = client.get_object(
            Bucket=environment.state_bucket, Key=str(environment.backend["key"]), ExpectedBucketOwner=account
        )
        outputs = json.load(state["Body"])["outputs"]
    except client.exceptions.ClientError as error:
        if error.response["Error"]["Code"] not in ("NoSuchBucket", "NoSuchKey"):
            raise
        outputs = {}
    if not outputs:
        raise _nothing_deployed(environment)
    return {name: one["value"] for name, one in outputs.items()}


def _nothing_deployed(environment: Environment) -> UserError:
    name = environment.name
    return UserError(f"Nothing is deployed in ENV={name}; deploy it with 'make apply ENV={name}'.")


def bootstrap(environment: Environment, console: Console) -> None:
    """Make the state bucket, or make sure it is there and protected.

    Raises:
        UserError: there are no usable credentials, or the bucket belongs to somebody else or
            lacks protection.
        TerraformError: Terraform fails.
    """
    account = environment.account()
    client = s3(environment)
    if _bucket_exists(client, environment, account):
        lacking = _lacking(client, environment.state_bucket)
        if not lacking:
            console.print(f"The state bucket {environment.state_bucket} is there already.")
            return
        if not environment.bootstrap_state.is_file():
            raise UserError(
                f"The bucket {environment.state_bucket} exists without {' and '.join(lacking)}, and was not"
                f" made from here; see to it in account {account}, or name another bucket in"
                f" {environment.backend_file.relative_to(ROOT)}."
            )
    _make_bucket(environment, console)


def s3(environment: Environment) -> S3Client:
    """Return an S3 client for the environment's account, in the region of its state bucket."""
    client: S3Client = environment.client("s3", environment.state_region)
    return client


def empty_bucket(client: S3Client, bucket: str) -> None:
    """Delete every version of every object in `bucket`; a bucket that is gone is empty."""
    from botocore import exceptions

    try:
        for page in client.get_paginator("list_object_versions").paginate(Bucket=bucket):
            versions = [*page.get("Versions", []), *page.get("DeleteMarkers", [])]
            if versions:
                client.delete_objects(
                    Bucket=bucket,
                    Delete={
                        "Objects": [
                            {"Key": version["Key"], "VersionId": version["VersionId"]} for version in versions
                        ],
                        "Quiet": True,
                    },
                )
    except exceptions.ClientError as error:
        if error.response["Error"]["Code"] != "NoSuchBucket":
            raise


def _make_bucket(environment: Environment, console: Console) -> None:
    console.print(f"Making the state bucket {environment.state_bucket}")
    terraform = environment.terraform(BOOTSTRAP)
    terraform.init(f"-backend-config=path={environment.bootstrap_state}")
    settings = {
        "allowed_account_ids": environment.account_ids,
        "bucket": environment.state_bucket,
        "environment": environment.name,
        "region": environment.state_region,
    }
    terraform.variables |= {
        f"TF_VAR_{name}": value if isinstance(value, str) else json.dumps(value)
        for name, value in settings.items()
    }
    _run(terraform.stream("apply", "-auto-approve"), "Making the state bucket", console)


def _bucket_exists(client: S3Client, environment: Environment, account: str) -> bool:
    from botocore import exceptions

    bucket = environment.state_bucket
    try:
        client.head_bucket(Bucket=bucket, ExpectedBucketOwner=account)
    except exceptions.ClientError as error:
        status = error.response["ResponseMetadata"]["HTTPStatusCode"]
        if status == 404:
            return False
        if status == 403:
            raise UserError(
                f"Account {account} may not use the state bucket {bucket}: it belongs to another account, or"
                f" the credentials lack s3:ListBucket; correct {environment.backend_file.relative_to(ROOT)}"
                " or the credentials."
            ) from error
        if status in (301, 400):
            raise UserError(
                f"The state bucket {bucket} is not in {environment.state_region}; correct"
                f" {environment.backend_file.relative_to(ROOT)}."
            ) from error
        raise UserError(f"The state bucket {bucket} does not answer ({error}); try again.") from error
    except exceptions.ParamValidationError as error:
        raise UserError(
            f"'{bucket}' cannot be a bucket's name; correct {environment.backend_file.relative_to(ROOT)}."
        ) from error
    except exceptions.BotoCoreError as error:
        raise UserError(f"The state bucket {bucket} cannot be reached ({error}); try again.") from error
    return True


def _lacking(client: S3Client, bucket: str) -> list[str]:
    """Return which protections the state bucket goes without."""
    from botocore import exceptions

    lacking = []
    if client.get_bucket_versioning(Bucket=bucket).get("Status") != "Enabled":
        lacking.append("versioning")
    try:
        block = client.get_public_access_block(Bucket=bucket)["PublicAccessBlockConfiguration"]
        if not all(block.values()):
            lacking.append("a public access block")
    except exceptions.ClientError:
        lacking.append("a public access block")
    try:
        if "aws:SecureTransport" not in client.get_bucket_policy(Bucket=bucket)["Policy"]:
            lacking.append("a TLS-only policy")
    except exceptions.ClientError:
        lacking.append("a TLS-only policy")
    return lacking


def _plan(environment: Environment, terraform: Terraform, console: Console) -> Summary:
    environment.plan_file.parent.mkdir(parents=True, exist_ok=True)
    environment.plan_file.unlink(missing_ok=True)
    try:
        _run(
            terraform.stream(
                "plan",
                f"-var-file={environment.variables_file.relative_to(ROOT)}",
                f"-out={environment.plan_file}",
            ),
            "Planning",
            console,
        )
    except BaseException:
        environment.plan_file.unlink(missing_ok=True)
        raise
    shown = json.loads(terraform.run("show", "-json", str(environment.plan_file)))
    return summarise(shown.get("resource_changes", []))


def summarise(resources: Iterable[dict[str, Any]]) -> Summary:
    """Return what the `resource_changes` of a plan that Terraform shows as JSON come to."""
    return Summary(tuple(_changes(resources)))


def _changes(resources: Iterable[dict[str, Any]]) -> Iterator[Change]:
    for resource in resources:
        actions = resource["change"]["actions"]
        if resource["mode"] != "managed" or actions == ["no-op"]:
            continue
        action = "replace" if len(actions) == 2 else actions[0]
        before, after = resource["change"]["before"], resource["change"]["after"]
        yield Change(resource["address"], resource["type"], action, before or {}, after or {})


def _apply_plan(environment: Environment, terraform: Terraform, console: Console) -> None:
    _run(terraform.stream("apply", str(environment.plan_file)), "Applying", console)
    environment.plan_file.unlink(missing_ok=True)


def _stale(error: TerraformError) -> bool:
    summaries = {diagnostic.summary for diagnostic in error.diagnostics}
    return bool(
        summaries & {"Saved plan is stale", "Saved plan does not match the given state"}
    ) or "different state lineage" in str(error)


def _sources_changed(error: TerraformError) -> bool:
    return any(
        diagnostic.summary == "Provider produced inconsistent final plan"
        and "terraform_data" in diagnostic.detail
        for diagnostic in error.diagnostics
    )


def _run(messages: Generator[dict[str, Any], None, None], title: str, console: Console) -> None:
    """Show what Terraform does: a line for each thing done, and what it waits for while it does."""
    pending: dict[str, None] = {}
    # An interrupt while something is printed must end Terraform in good order too, before all else.
    with console.status(title) as status, contextlib.closing(messages):
        for message in messages:
            hook = message.get("hook", {})
            address = hook.get("resource", {}).get("addr", "")
            match message.get("type"):
                case "apply_start":
                    pending[address] = None
                case "apply_complete" if hook.get("action") != "read":
                    pending.pop(address, None)
                    seconds = hook.get("elapsed_seconds", 0)
                    done = _VERBS.get(hook.get("action", ""), "done")
                    console.print(f"  {done:9} {address} ({seconds:.0f} s)", highlight=False, markup=False)
                case "apply_complete" | "apply_errored":
                    pending.pop(address, None)
                case "diagnostic" if message["diagnostic"]["severity"] == "warning":
                    summary = message["diagnostic"]["summary"]
                    console.print(f"  warning: {summary}", style="yellow", highlight=False, markup=False)
            if pending:
                waiting = next(iter(pending)).removeprefix("module.")
                more = f" and {len(pending) - 1} more" if len(pending) > 1 else ""
                status.update(f"{title}: {waiting}{more}")


def show(environment: Environment, summary: Summary, console: Console) -> None:
    """Print a plan's summary; what destroys data stands out."""
    for change in summary.changes:
        warning = f"  {change.losses}" if change.loses_data else ""
        style = "bold red" if change.loses_data else None
        symbol = _SYMBOLS.get(change.action, change.action)
        console.print(f"{symbol:>4} {change.address}{warning}", style=style, highlight=False, markup=False)
    if not summary.changes:
        console.print(f"ENV={environment.name} is as it should be: nothing to change.", highlight=False)
        return
    counts = ", ".join(
        f"{summary.count(action)} to {action}"
        for action in ("create", "update", "replace", "delete")
        if summary.count(action)
    )
    console.print(
        f"{counts}. Apply with 'make apply ENV={environment.name}'; every detail:"
        f" TF_DATA_DIR={_short(environment.terraform().data_dir)} terraform show"
        f" {_short(environment.plan_file)}",
        highlight=False,
        soft_wrap=True,
    )


def _short(path: Path) -> str:
    """Return `path` as a shell in the repository takes it."""
    return shlex.quote(str(path.relative_to(ROOT) if path.is_relative_to(ROOT) else path))


@contextlib.contextmanager
def explained(environment: str) -> Iterator[None]:
    """Say Terraform's errors in sentences people can act on."""
    try:
        yield
    except TerraformError as error:
        raise UserError(explain(environment, error)) from error


def explain(environment: str, error: TerraformError) -> str:
    """Return what went wrong in sentences people can act on."""
    for diagnostic in error.diagnostics:
        if diagnostic.summary == "Error acquiring the state lock":
            fields = dict(re.findall(r"^\s*(ID|Who|Created):\s*(.+?)\s*$", diagnostic.detail, re.MULTILINE))
            if not fields:
                continue
            return (
                f"The state of ENV={environment} is locked by {fields.get('Who', 'somebody')} since"
                f" {fields.get('Created', 'some time')}; wait until they are done, or if nobody is, release"
                f" it with 'TF_DATA_DIR=.terraform/{environment} terraform force-unlock"
                f" {fields.get('ID', '')}'."
            )
    return str(error)


def _console(*, errors: bool = False) -> Console:
    from rich.console import Console

    return Console(stderr=errors, soft_wrap=True)


@click.command
@options.environment
@options.as_json
def plan_command(env: str, as_json: bool) -> None:
    """Save a plan to build/<env>.tfplan and show what it does."""
    environment = Environment.load(env)
    # Progress must not get between a program and its JSON.
    console = _console(errors=as_json)
    with explained(env):
        summary = plan(environment, console)
    if as_json:
        options.print_json(summary.as_json())
    else:
        show(environment, summary, console)


@click.command
@options.environment
def apply_command(env: str) -> None:
    """Apply the saved plan, or make one and apply it."""
    environment = Environment.load(env)
    with explained(env):
        apply(environment, _console())
    values = output(environment)
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
    with explained(env):
        destroy(environment, _console(), confirmed=confirm)


@click.command
@options.environment
@options.as_json
def output_command(env: str, as_json: bool) -> None:
    """Print names and addresses of what is deployed."""
    values = output(Environment.load(env))
    if as_json:
        options.print_json(values)
        return
    _print_values(sorted(values.items()))


@click.command
@options.environment
def bootstrap_command(env: str) -> None:
    """Make the bucket an environment's state lives in, once per account."""
    environment = Environment.load(env)
    with explained(env):
        bootstrap(environment, _console())


def _print_values(values: Sequence[tuple[str, Any]]) -> None:
    width = max(len(name) for name, _ in values)
    for name, value in values:
        click.echo(f"{name:{width}}  {value if isinstance(value, str) else json.dumps(value)}")
