"""Whether an environment still is what the code says.

The exit code is 0 when it is, 2 when it is not, and 1 when that cannot be found out.
"""

from __future__ import annotations

import json
import sys
import tempfile
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from operations import buffer, deploy, options, state
from operations.deployment import Deployment
from operations.environments import Environment
from operations.plan import Summary, summarise

if TYPE_CHECKING:
    from rich.console import Console

DRIFTED = 2


@dataclass(frozen=True)
class Drift:
    """What an apply would change, and the addresses among it that were changed without Terraform."""

    summary: Summary
    changed_outside: tuple[str, ...]

    @property
    def to_change(self) -> tuple[str, ...]:
        return tuple(change.address for change in self.summary.changes)

    def as_json(self) -> dict[str, Any]:
        """Return `drifted`, addresses `to_change` and `changed_outside`, and `changes` as a plan has them."""
        return {
            "drifted": bool(self.to_change),
            "to_change": list(self.to_change),
            "changed_outside": list(self.changed_outside),
            "changes": [change.as_json() for change in self.summary.changes],
        }


def check(environment: Environment, console: Console) -> Drift:
    """Compare what is deployed with the code; changes nothing and locks nothing.

    Raises:
        UserError: nothing is deployed, or as `deploy.connect`.
        TerraformError: Terraform fails.
    """
    state.output(environment)
    terraform = deploy.connect(environment, console)
    with tempfile.TemporaryDirectory() as folder, console.status("Comparing"):
        plan = Path(folder, "drift.tfplan")
        # Without a lock, so that a role that only reads can do it.
        terraform.run(
            *("plan", "-input=false", "-no-color", "-lock=false"),
            *(f"-var-file={environment.variables_file}", f"-out={plan}"),
        )
        shown: dict[str, Any] = json.loads(terraform.run("show", "-json", str(plan)))
    planned = summarise(shown.get("resource_changes", []), local=environment.local)
    by_address = {change.address: change for change in planned.changes}
    # Much that changes by itself needs no change back, and what depends on a change is planned along with it.
    outside = summarise(shown.get("resource_drift", [])).changes
    return Drift(
        planned,
        tuple(
            change.address
            for change in outside
            if (found := by_address.get(change.address))
            and (change.action == "delete" or change.attributes.keys() & found.attributes.keys())
        ),
    )


def sentence(name: str, drift: Drift) -> str:
    """The answer in words."""
    count, outside = len(drift.to_change), len(drift.changed_outside)
    if not count:
        return f"ENV={name} is as the code says."
    resources = "1 resource" if count == 1 else f"{count} resources"
    return (
        f"ENV={name} differs from the code in {resources}, {outside} of them changed without Terraform;"
        f" 'make apply ENV={name}' makes it as the code says."
    )


@click.command
@options.environment
@options.as_json
def command(env: str, as_json: bool) -> None:
    """Say whether an environment still is what the code says; exit code 2 when it is not."""
    from operations.terminal import console

    environment = Environment.load(env)
    drift = check(environment, console(errors=True))
    deployment = Deployment(environment, state.output(environment))
    # Terraform leaves a pause alone, so no plan shows it.
    paused = buffer.state(deployment) != "Enabled"
    if as_json:
        options.print_json({"env": env, "paused": paused, **drift.as_json()})
    else:
        drift.summary.show(console())
        click.echo(sentence(env, drift))
        if paused:
            click.echo(buffer.sentence(env, buffer.look(deployment, datetime.now(UTC))))
    sys.exit(DRIFTED if drift.to_change else 0)
