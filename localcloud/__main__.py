"""`python -m localcloud up|down|status|env`."""

from __future__ import annotations

import json
import shlex
import sys
from pathlib import Path

import click

from localcloud.cloud import (
    DEFAULT_DIRECTORY,
    LocalCloud,
    LocalCloudError,
    shown,
    stop_all,
    stop_any,
    stop_command,
)
from localcloud.environment import shell_lines
from operations.program import run

_directory = click.option(
    "--directory",
    type=click.Path(file_okay=False, path_type=Path),
    default=DEFAULT_DIRECTORY,
    show_default="build/localcloud",
    help="Where state, logs and temporary files go.",
)


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
def main() -> None:
    """Run the cloud on 127.0.0.1: MiniStack with IAM enforced, and a stand-in for Amazon Rekognition."""


@main.command()
@click.option("--port", type=int, help="Its port (a free one by default).")
@_directory
def up(port: int | None, directory: Path) -> None:
    """Start it in the background, unless it runs already."""
    directory = directory.resolve()
    if (cloud := LocalCloud.running(directory)) is not None:
        click.echo(f"The local cloud is already running at {cloud.endpoint_url}.")
        if port is not None and not cloud.endpoint_url.endswith(f":{port}"):
            raise LocalCloudError(
                f"It is not on the port --port asks for; run `{stop_command(directory)}` first."
            )
        return
    try:
        cloud = LocalCloud.start(directory, port=port, outlives_caller=True)
    except KeyboardInterrupt:
        click.echo("Interrupted; nothing is left running.", err=True)
        sys.exit(130)
    click.echo(f"The local cloud runs at {cloud.endpoint_url}.")
    click.echo(f"Use it from a shell with: source {shlex.quote(shown(directory / 'env'))}")


@main.command()
@_directory
@click.option(
    "--all",
    "everywhere",
    is_flag=True,
    help="All this checkout started, demos, soaks and tests too.",
)
def down(directory: Path, everywhere: bool) -> None:
    """Stop it; everything it held is gone."""
    if everywhere:
        for each in (found := stop_all()):
            click.echo(f"The local cloud in {shown(each)} is stopped.")
        if not found:
            click.echo("No local cloud is running.")
        return
    stopped = stop_any(directory)
    click.echo("The local cloud is stopped." if stopped else "The local cloud is not running.")


@main.command()
@click.option("--json", "as_json", is_flag=True, help="For programs.")
@_directory
def status(as_json: bool, directory: Path) -> None:
    """Say whether it runs; exit code 3 when it does not."""
    cloud = LocalCloud.running(directory)
    if as_json:
        answer: dict[str, object] = {"running": cloud is not None}
        if cloud is not None:
            answer |= {"endpoint_url": cloud.endpoint_url, "pid": cloud.pid}
        click.echo(json.dumps(answer))
    elif cloud is not None:
        click.echo(f"Running at {cloud.endpoint_url}.")
    else:
        click.echo("Not running; start it with `make local-up`.")
    # 3 is what service managers use for "not running".
    sys.exit(0 if cloud is not None else 3)


@main.command()
@_directory
def env(directory: Path) -> None:
    """Print the environment for AWS clients, for a shell to evaluate."""
    cloud = LocalCloud.running(directory)
    if cloud is None:
        raise LocalCloudError("The local cloud is not running; start it with `make local-up`.")
    click.echo(shell_lines(cloud.environment), nl=False)


if __name__ == "__main__":
    run(main, "python -m localcloud")
