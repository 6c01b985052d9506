"""Tell whether an environment still is what the code says.

The exit code is 0 when it is, 2 when it is not and 1 when that cannot be told, for a scheduled job to use.
"""

from __future__ import annotations

import json
import sys
import tempfile
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from operations import deploy, options
from operations.environments import Environment

if TYPE_CHECKING:
    from rich.console import Console

DRIFTED = 2
_SHOWN = 5


@dataclass(frozen=True)
class Drift:
    """Addresses of resources: those an apply would change, and among them those changed without Terraform."""

    to_change: tuple[str, ...]
    changed_outside: tuple[str, ...]


def check(environment: Environment, console: Console) -> Drift:
    """Compare what is deployed with the code; changes nothing and locks nothing.

    Raises:
        UserError: nothing is deployed, or as `deploy.connect`.
        TerraformError: Terraform fails.
    """
    deploy.output(environment)
    terraform = deploy.connect(environment, console)
    with tempfile.TemporaryDirectory() as folder, console.status("Comparing"):
        plan = Path(folder, "drift.tfplan")
        # Without a lock, so that a role that only reads can do it.
        terraform.run(
            *("plan", "-input=false", "-no-color", "-lock=false"),
            *(f"-var-file={environment.variables_file}", f"-out={plan}"),
        )
        shown: dict[str, Any] = json.loads(terraform.run("show", "-json", str(plan)))
    planned, outside = _changes(shown, "resource_changes"), _changes(shown, "resource_drift")
    # Much that changes by itself needs no change back, and what depends on a change is planned along with it.
    return Drift(
        tuple(planned),
        tuple(
            address
            for address, change in outside.items()
            if address in planned and (change["after"] is None or _names(change) & _names(planned[address]))
        ),
    )


def _changes(shown: dict[str, Any], part: str) -> dict[str, dict[str, Any]]:
    """Return what changes by address, in Terraform's order."""
    return {
        resource["address"]: resource["change"]
        for resource in shown.get(part, [])
        if resource["mode"] == "managed" and resource["change"]["actions"] != ["no-op"]
    }


def _names(change: dict[str, Any]) -> set[str]:
    """Return the attributes that differ; one known only after an apply counts."""
    before, after = change["before"] or {}, change["after"] or {}
    return {name for name in before.keys() | after.keys() if before.get(name) != after.get(name)}


def sentence(name: str, drift: Drift) -> str:
    if not drift.to_change:
        return f"ENV={name} is as the code says."
    count, outside = len(drift.to_change), len(drift.changed_outside)
    shown = ", ".join(drift.to_change[:_SHOWN]) + (f" and {count - _SHOWN} more" if count > _SHOWN else "")
    resources = "1 resource" if count == 1 else f"{count} resources"
    return (
        f"ENV={name} differs from the code in {resources}, {outside} of them changed without Terraform:"
        f" {shown}; look with 'make plan ENV={name}', and 'make apply ENV={name}' makes it as the code says."
    )


@click.command
@options.environment
@options.as_json
def command(env: str, as_json: bool) -> None:
    """Say whether an environment still is what the code says; exit code 2 when it is not."""
    from rich.console import Console

    with deploy.explained(env):
        drift = check(Environment.load(env), Console(stderr=True, soft_wrap=True))
    if as_json:
        click.echo(json.dumps({"env": env, "drifted": bool(drift.to_change), **asdict(drift)}, indent=2))
    else:
        click.echo(sentence(env, drift))
    sys.exit(DRIFTED if drift.to_change else 0)
