"""`pause` and `resume`: buffered uploads wait in the queue, and go on."""

from __future__ import annotations

import time
from datetime import UTC, datetime

import click

from operations import buffer, options
from operations.deployment import Deployment
from operations.errors import UserError

# Lambda takes some seconds to stop, and up to a minute to start again.
_PATIENCE_SECONDS = 120
_LOOK_SECONDS = 0.5


@click.command
@options.environment
@options.as_json
def pause_command(env: str, as_json: bool) -> None:
    """Start no more buffered uploads: they wait, up to 14 days, until `make resume`.

    What has been started goes on to its end. An apply leaves the pause alone; an alarm goes off long before
    14 days are over.
    """
    _switch(Deployment.load(env), on=False, as_json=as_json)


@click.command
@options.environment
@options.as_json
def resume_command(env: str, as_json: bool) -> None:
    """Start buffered uploads again, at the pace."""
    _switch(Deployment.load(env), on=True, as_json=as_json)


def _switch(deployment: Deployment, *, on: bool, as_json: bool) -> None:
    buffer.switch(deployment, on=on)
    wanted = "Enabled" if on else "Disabled"
    deadline = time.monotonic() + _PATIENCE_SECONDS
    while (found := buffer.state(deployment)) != wanted:
        if time.monotonic() > deadline:
            raise UserError(f"Lambda still says {found} after {_PATIENCE_SECONDS} s; look again in a minute.")
        time.sleep(_LOOK_SECONDS)
    state = buffer.look(deployment, datetime.now(UTC))
    if as_json:
        options.print_json(state)
        return
    click.echo(buffer.sentence(deployment.environment.name, state))
