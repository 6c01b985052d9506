"""Write the two files of a new environment."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import click

from operations import environments
from operations.errors import UserError
from operations.program import ROOT
from operations.tfvars import ACCOUNT

if TYPE_CHECKING:
    from pathlib import Path

# As validated in variables.tf.
_NAME = re.compile(r"[a-z][a-z0-9-]{0,14}[a-z0-9]")
_REGION = re.compile(r"[a-z]{2}(-[a-z]+)+-[0-9]")

# DetectFaces calls a second an account may make by default; elsewhere five:
# https://docs.aws.amazon.com/general/latest/gr/rekognition.html
_LARGE_REGIONS = frozenset({"us-east-1", "us-west-2", "eu-west-1"})
_LARGE_QUOTA, _SMALL_QUOTA = 50, 5

_VARIABLES = """\
# {name}: say here what it is for.

environment         = "{name}"
aws_region          = "{region}"
allowed_account_ids = ["{account}"]

# Whether the table and a bucket with photos refuse to be deleted.
protect_data = true

# Days photos, records, replaced versions and logs are kept; null keeps photos or records for ever.
photo_retention_days            = 30
record_retention_days           = 90
replaced_version_retention_days = 30
log_retention_days              = 30

# DEBUG names objects in the logs, and keys can name people; with WARN the metrics by outcome stay empty.
log_level       = "INFO"
log_object_keys = false

# Exactly once, with 90 days of history. EXPRESS saves about a tenth of the whole bill and is at least once.
workflow_type = "STANDARD"

# At a second a call, {quota} at once keep within Rekognition's default quota here, {quota} calls a second.
# A new account allows ten invocations at once and refuses to reserve any: have its quota raised first.
# process_image     = {{ reserved_concurrency = {quota} }}
# send_notification = {{ reserved_concurrency = {quota} }}

# Thresholds at which each alarm fires; docs/operations.md says what to do about each. 0 leaves one out.
# alarms = {{
#   latency_p95_seconds = 60
#   no_images_hours     = 24
# }}

# Where your team reads docs/operations.md; each alarm links to its section.
# runbook_url = "https://git.example.com/photos/blob/main/docs/operations.md"

# Who is notified of photos, and who of alarms. SNS asks each address to confirm first.
# subscriptions = {{
#   support = {{ protocol = "email", endpoint = "you@example.com", outcomes = ["rejected"] }}
# }}
# alert_subscriptions = {{
#   team = {{ protocol = "email", endpoint = "you@example.com" }}
# }}
"""

_BACKEND = """\
bucket       = "photo-analysis-{name}-tfstate-{account}"
encrypt      = true
key          = "photo-analysis/{name}.tfstate"
region       = "{region}"
use_lockfile = true
"""


def new(name: str, account: str, region: str, folder: Path | None = None) -> tuple[Path, Path]:
    """Write the tfvars and the backend file of a new environment and return their paths.

    Raises:
        UserError: a name, account or region that cannot be one, or one of the files is there already;
            nothing is written then.
    """
    if not _NAME.fullmatch(name):
        raise UserError(
            f"'{name}' cannot be an environment's name; take 2 to 16 lower-case letters, digits and hyphens,"
            " beginning with a letter, as in NAME=qa."
        )
    if not ACCOUNT.fullmatch(account):
        raise UserError(f"'{account}' is no AWS account; give twelve digits, as in ACCOUNT=111122223333.")
    if not _REGION.fullmatch(region):
        raise UserError(f"'{region}' is no AWS region; give its code, as in REGION=us-east-1.")
    folder = folder or environments.FOLDER
    quota = _LARGE_QUOTA if region in _LARGE_REGIONS else _SMALL_QUOTA
    texts = {
        folder / f"{name}.tfvars": _VARIABLES,
        folder / f"{name}.s3.tfbackend": _BACKEND,
    }
    taken = [path for path in texts if path.exists()]
    if taken:
        raise UserError(f"{_short(taken[0])} is there already; choose another NAME=, or edit that file.")
    written: list[Path] = []
    try:
        for path, text in texts.items():
            with path.open("x", encoding="utf-8") as file:
                written.append(path)
                file.write(text.format(name=name, account=account, region=region, quota=quota))
    except OSError as error:
        for path in written:
            path.unlink()
        raise UserError(f"{_short(folder)} cannot be written to: {error.strerror}.") from error
    variables, backend = texts
    return variables, backend


def _short(path: Path) -> Path:
    return path.relative_to(ROOT) if path.is_relative_to(ROOT) else path


@click.command
@click.option("--name", required=True, help="Name of the new environment, such as qa.")
@click.option("--account", required=True, help="AWS account it belongs to, twelve digits.")
@click.option("--region", required=True, help="AWS region it lives in, such as us-east-1.")
def command(name: str, account: str, region: str) -> None:
    """Write the two files of a new environment."""
    for path in new(name, account, region):
        click.echo(f"Wrote {_short(path)}")
    click.echo(f"Read it through, then 'make bootstrap ENV={name}' and 'make plan ENV={name}'.")
