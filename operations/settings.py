"""Make an environment's two files, and show where two environments differ."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import click

from operations import environments, options
from operations.environments import ACCOUNT, Environment, parsed
from operations.errors import UserError
from operations.program import ROOT

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

# As validated in variables.tf.
_NAME = re.compile(r"[a-z][a-z0-9-]{0,14}[a-z0-9]")
_REGION = re.compile(r"[a-z]{2}(-[a-z]+)+-[0-9]")
_ATTRIBUTE = re.compile(r"(\w+)\s*=\s*optional\(\w+(?:\([^()]*\))?\s*(?:,\s*([^()]*?))?\s*\)")

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

# {quota} calls a second to Rekognition, this region's quota unless you raised it, a second each.
process_image     = {{ reserved_concurrency = {quota} }}
send_notification = {{ reserved_concurrency = {quota} }}

# From what on alarms go off; docs/operations.md says what to do about each. 0 leaves one out.
# alarms = {{
#   latency_p95_seconds = 60
#   no_images_hours     = 24
# }}

# Where your team reads docs/operations.md; each alarm links to its section.
# runbook_url = "https://git.example.com/photos/blob/main/docs/operations.md"

# Who is told about photos, and who about alarms. SNS asks each address to confirm first.
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


@dataclass(frozen=True)
class Value:
    """A setting's value in one environment; `given` tells whether its tfvars file says so."""

    value: Any
    given: bool

    def __str__(self) -> str:
        text = _hcl(self.value)
        return text if self.given else f"{text} (default)"


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


def differences(first: Environment, second: Environment) -> dict[str, tuple[Value | None, Value | None]]:
    """Return what differs, by setting, such as `process_image.memory_size`; None where it is not there.

    The name of the environment is left out: it differs always.
    """
    defaults = _defaults((ROOT / "variables.tf").read_text("utf-8"))
    left, right = _settings(first.settings, defaults), _settings(second.settings, defaults)
    return {
        name: (left.get(name), right.get(name))
        for name in sorted(left.keys() | right.keys())
        if name != "environment" and _plain(left.get(name)) != _plain(right.get(name))
    }


def _plain(value: Value | None) -> tuple[Any, ...]:
    return () if value is None else (value.value,)


def _defaults(text: str) -> dict[str, Any]:
    """Return every variable's default; those of objects with the defaults of their attributes."""
    defaults: dict[str, Any] = {}
    for block in parsed(text)["variable"]:
        ((quoted, variable),) = ((key, value) for key, value in block.items() if isinstance(value, dict))
        name, kind = quoted.strip('"'), str(variable["type"])
        default = variable.get("default")
        if isinstance(default, dict) and "object(" in kind and "map(" not in kind:
            default = {
                attribute: _literal(literal) for attribute, literal in _ATTRIBUTE.findall(kind)
            } | default
        defaults[name] = default
    return defaults


def _literal(text: str) -> Any:
    # Numbers, true, false, null and quoted text are written alike in JSON.
    return json.loads(text) if text else None


def _settings(given: Mapping[str, Any], defaults: Mapping[str, Any]) -> dict[str, Value]:
    return dict(_flat(given, defaults))


def _flat(given: Mapping[str, Any], defaults: Mapping[str, Any]) -> Iterator[tuple[str, Value]]:
    for name in defaults.keys() | given.keys():
        default, value = defaults.get(name), given.get(name)
        if isinstance(default, dict) or isinstance(value, dict):
            merged = {**(default or {}), **(value or {})}
            yield from ((f"{name}.{key}", Value(merged[key], key in (value or {}))) for key in merged)
        else:
            yield name, Value(value if name in given else default, name in given)


def _hcl(value: Any) -> str:
    if isinstance(value, dict):
        return "{ " + ", ".join(f"{key} = {_hcl(one)}" for key, one in value.items()) + " }"
    if isinstance(value, list):
        return "[" + ", ".join(map(_hcl, value)) + "]"
    return json.dumps(value, ensure_ascii=False)


def _short(path: Path) -> Path:
    return path.relative_to(ROOT) if path.is_relative_to(ROOT) else path


@click.command
@click.option("--name", required=True, help="Name of the new environment, such as qa.")
@click.option("--account", required=True, help="AWS account it belongs to, twelve digits.")
@click.option("--region", required=True, help="AWS region it lives in, such as us-east-1.")
def new_command(name: str, account: str, region: str) -> None:
    """Write the two files of a new environment."""
    for path in new(name, account, region):
        click.echo(f"Wrote {_short(path)}")
    click.echo(f"Read it through, then 'make bootstrap ENV={name}' and 'make plan ENV={name}'.")


@click.command
@click.option("--from", "first", required=True, help="One environment.")
@click.option("--to", "second", required=True, help="The other.")
@options.as_json
def diff_command(first: str, second: str, as_json: bool) -> None:
    """Show the settings that differ between two environments."""
    # Here, as `--help` would wait for it.
    from rich.table import Column, Table
    from rich.text import Text

    from operations.terminal import console

    found = differences(Environment.load(first), Environment.load(second))
    if as_json:
        click.echo(json.dumps({"from": first, "to": second, "differences": _rows(found)}, indent=2))
        return
    if not found:
        click.echo(f"{first} and {second} are set alike.")
        return
    table = Table(
        Column("setting", no_wrap=True),
        *(Column(name, overflow="fold") for name in (first, second)),
        box=None,
        pad_edge=False,
        header_style="bold",
    )
    for name, values in found.items():
        table.add_row(name, *(Text("not there" if value is None else str(value)) for value in values))
    console().print(table)


def _rows(found: Mapping[str, tuple[Value | None, Value | None]]) -> list[dict[str, Any]]:
    def side(value: Value | None) -> dict[str, Any] | None:
        return None if value is None else {"value": value.value, "default": not value.given}

    return [{"setting": name, "from": side(left), "to": side(right)} for name, (left, right) in found.items()]
