"""Write the two files of a new environment."""

from __future__ import annotations

import re
from pathlib import Path

import click

from operations import environments
from operations.errors import UserError
from operations.program import ROOT
from operations.tfvars import ACCOUNT

# As validated in variables.tf.
_NAME = re.compile(r"[a-z][a-z0-9-]{0,14}[a-z0-9]")
_REGION = re.compile(r"[a-z]{2}(-[a-z]+)+-[0-9]")

# Where the default quota of DetectFaces is fifty calls a second; elsewhere it is five:
# https://docs.aws.amazon.com/general/latest/gr/rekognition.html
_LARGE_REGIONS = frozenset({"us-east-1", "us-west-2", "eu-west-1"})
# Templates of the two files, with the placeholders NAME, ACCOUNT, REGION and QUOTA.
_TEMPLATES = Path(__file__).parent / "templates"


def new(name: str, account: str, region: str, folder: Path | None = None) -> list[Path]:
    """Write the tfvars and the backend file of a new environment and return their paths.

    Raises UserError, with nothing written, for an invalid name, account or region, and when one of the files
    exists.
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
    quota = "50" if region in _LARGE_REGIONS else "5"
    words = {"NAME": name, "ACCOUNT": account, "REGION": region, "QUOTA": quota}
    paths = [folder / f"{name}.tfvars", folder / f"{name}.s3.tfbackend"]
    for path in paths:
        if path.exists():
            raise UserError(f"{_short(path)} is there already; choose another NAME=, or edit that file.")
    for path in paths:
        text = (_TEMPLATES / f"new{''.join(path.suffixes)}").read_text("utf-8")
        try:
            path.write_text(re.sub("|".join(words), lambda found: words[found[0]], text), "utf-8")
        except OSError as error:
            raise UserError(f"{_short(folder)} cannot be written to: {error.strerror}.") from error
    return paths


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
