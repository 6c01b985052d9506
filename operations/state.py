"""The bucket with an environment's Terraform state, and the outputs in it."""

from __future__ import annotations

import contextlib
import json
from typing import TYPE_CHECKING, Any

import click

from operations import options
from operations.environments import Environment
from operations.errors import UserError, code_of
from operations.program import ROOT
from operations.terraform import follow

if TYPE_CHECKING:
    from collections.abc import Iterator

    from mypy_boto3_s3 import S3Client
    from rich.console import Console


BOOTSTRAP = ROOT / "bootstrap"


def s3(environment: Environment) -> S3Client:
    """Return an S3 client for the environment's account, in the region of its state bucket."""
    client: S3Client = environment.client("s3", environment.state_region)
    return client


def output(environment: Environment) -> dict[str, Any]:
    """Terraform's outputs; raises UserError when nothing is deployed."""
    if values := outputs(environment):
        return values
    name = environment.name
    raise UserError(f"Nothing is deployed in ENV={name}; deploy it with 'make apply ENV={name}'.")


def outputs(environment: Environment) -> dict[str, Any]:
    """Return Terraform's outputs, if any, straight from the state: `terraform output` takes two seconds."""
    account, client, key = environment.account(), s3(environment), str(environment.backend["key"])
    try:
        answer = client.get_object(Bucket=environment.state_bucket, Key=key, ExpectedBucketOwner=account)
    except client.exceptions.ClientError as error:
        if code_of(error) not in ("NoSuchBucket", "NoSuchKey"):
            raise
        return {}
    return {name: one["value"] for name, one in json.load(answer["Body"])["outputs"].items()}


def bucket_exists(environment: Environment, account: str) -> bool:
    """Whether the state bucket exists.

    Raises UserError when it belongs to another account, is in another region, or has an invalid name.
    """
    from botocore import exceptions

    bucket, file = environment.state_bucket, environment.backend_file.relative_to(ROOT)
    try:
        s3(environment).head_bucket(Bucket=bucket, ExpectedBucketOwner=account)
    except exceptions.ClientError as error:
        status = error.response["ResponseMetadata"]["HTTPStatusCode"]
        if status == 404:
            return False
        if status == 403:
            raise UserError(
                f"Account {account} may not use the state bucket {bucket}: it belongs to another account, or"
                f" the credentials lack s3:ListBucket; correct {file} or the credentials."
            ) from error
        if status in (301, 400):
            text = f"The state bucket {bucket} is not in {environment.state_region}; correct {file}."
            raise UserError(text) from error
        raise
    except exceptions.ParamValidationError as error:
        raise UserError(f"'{bucket}' cannot be a bucket's name; correct {file}.") from error
    return True


def lacking(environment: Environment) -> list[str]:
    """Return the protections the state bucket lacks."""
    client, bucket = s3(environment), environment.state_bucket
    found = {"versioning": client.get_bucket_versioning(Bucket=bucket).get("Status") == "Enabled"}
    with _without():
        block = client.get_public_access_block(Bucket=bucket)["PublicAccessBlockConfiguration"]
        found["a public access block"] = all(block.values())
    with _without():
        policy = client.get_bucket_policy(Bucket=bucket)["Policy"]
        found["a TLS-only policy"] = "aws:SecureTransport" in policy
    wanted = ("versioning", "a public access block", "a TLS-only policy")
    return [protection for protection in wanted if not found.get(protection)]


@contextlib.contextmanager
def _without() -> Iterator[None]:
    """Ignore that a bucket has no such setting, but not that access is denied."""
    from botocore.exceptions import ClientError

    try:
        yield
    except ClientError as error:
        if not code_of(error).startswith("NoSuch"):
            raise


def make_bucket(environment: Environment, console: Console) -> None:
    """Create the state bucket, or add what it lacks."""
    console.out(f"Making the state bucket {environment.state_bucket}")
    terraform = environment.terraform(BOOTSTRAP)
    terraform.init(f"-backend-config=path={environment.bootstrap_state}")
    terraform.variables |= {
        "TF_VAR_allowed_account_ids": json.dumps(environment.account_ids),
        "TF_VAR_bucket": environment.state_bucket,
        "TF_VAR_environment": environment.name,
        "TF_VAR_region": environment.state_region,
    }
    follow(terraform.stream("apply", "-auto-approve"), "Making the state bucket", console)


@click.command
@options.environment
def bootstrap_command(env: str) -> None:
    """Make the bucket an environment's state lives in, once per account."""
    from operations.terminal import console

    environment = Environment.load(env)
    account, bucket = environment.account(), environment.state_bucket
    there = bucket_exists(environment, account)
    missing = lacking(environment) if there else []
    if missing and not environment.bootstrap_state.is_file():
        raise UserError(
            f"The bucket {bucket} exists without {' and '.join(missing)}, and was not made from here; see"
            f" to it in account {account}, or name another in {environment.backend_file.relative_to(ROOT)}."
        )
    if there and not missing:
        click.echo(f"The state bucket {bucket} is there already.")
    else:
        make_bucket(environment, console())


@click.command
@options.environment
@options.as_json
def output_command(env: str, as_json: bool) -> None:
    """Print names and addresses of what is deployed."""
    values = output(Environment.load(env))
    if as_json:
        options.print_json(values)
        return
    width = max(map(len, values))
    for name, value in sorted(values.items()):
        click.echo(f"{name:{width}}  {value if isinstance(value, str) else json.dumps(value)}")
