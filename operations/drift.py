"""`drift`: whether an environment still matches the code.

The exit code is 0 when it does, 2 when it does not, and 1 when the check itself fails.
"""

from __future__ import annotations

import sys
import tempfile
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import click

from operations import buffer, deploy, options, plan, state
from operations.deployment import Deployment

if TYPE_CHECKING:
    from rich.console import Console

    from operations.environments import Environment


def check(environment: Environment, console: Console) -> tuple[list[plan.Change], list[str]]:
    """Compare what is deployed with the code; changes nothing and locks nothing.

    Returns what an apply would change, and the addresses of those changed outside Terraform.
    """
    state.output(environment)
    terraform = deploy.connect(environment, console)
    with tempfile.TemporaryDirectory() as folder, console.status("Comparing"):
        file = Path(folder, "drift.tfplan")
        # Without a lock, so that a read-only role can run it.
        terraform.run(
            *("plan", "-input=false", "-no-color", "-lock=false"),
            *(f"-var-file={environment.variables_file}", f"-out={file}"),
        )
        shown = terraform.show(file)
    changes = plan.changes(shown.get("resource_changes", []), local=environment.local)
    by_address = {change.address: change for change in changes}
    # Ignore drift that an apply would not revert, and planned changes that only follow from other changes.
    outside = [
        change.address
        for change in plan.changes(shown.get("resource_drift", []))
        if (back := by_address.get(change.address))
        and (change.action == "delete" or change.attributes.keys() & back.attributes.keys())
    ]
    return changes, outside


@click.command
@options.environment
@options.as_json
def command(env: str, as_json: bool) -> None:
    """Say whether an environment still is what the code says; exit code 2 when it is not."""
    from operations.terminal import console

    deployment = Deployment.load(env)
    changes, outside = check(deployment.environment, console(errors=True))
    # Terraform ignores the pause, so no plan shows it.
    paused = buffer.state(deployment) != "Enabled"
    if as_json:
        found = {
            "drifted": bool(changes),
            "to_change": [change.address for change in changes],
            "changed_outside": outside,
            "changes": [change.as_json() for change in changes],
        }
        options.print_json({"env": env, "paused": paused, **found})
    else:
        plan.show(changes, console())
        resources = "1 resource" if len(changes) == 1 else f"{len(changes)} resources"
        click.echo(
            f"ENV={env} differs from the code in {resources}, {len(outside)} of them changed without"
            f" Terraform; 'make apply ENV={env}' makes it as the code says."
            if changes
            else f"ENV={env} is as the code says."
        )
        if paused:
            click.echo(buffer.sentence(env, buffer.look(deployment, datetime.now(UTC))))
    sys.exit(2 if changes else 0)
