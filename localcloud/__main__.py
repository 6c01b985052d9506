"""`python -m localcloud up|down`."""

from __future__ import annotations

import shlex
import sys
from pathlib import Path

import click

from localcloud.cloud import DEFAULT_DIRECTORY, LocalCloud, shown, stop_all
from operations.program import run


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
def main() -> None:
    """Run the cloud on 127.0.0.1: MiniStack with IAM enforced, and a stand-in for Amazon Rekognition."""


@main.command()
@click.option("--port", type=click.IntRange(1024, 65535), help="Its port (a free one by default).")
@click.option(
    "--directory",
    type=click.Path(file_okay=False, path_type=Path),
    default=DEFAULT_DIRECTORY,
    show_default="build/localcloud",
    help="Where state, logs and temporary files go.",
)
def up(port: int | None, directory: Path) -> None:
    """Start it in the background, unless it runs already."""
    if (cloud := LocalCloud.running(directory)) is not None:
        click.echo(f"The local cloud is already running at {cloud.endpoint_url}.")
        return
    try:
        cloud = LocalCloud.start(directory, port=port, outlives_caller=True)
    except KeyboardInterrupt:
        click.echo("Interrupted; nothing is left running.", err=True)
        sys.exit(130)
    click.echo(f"The local cloud runs at {cloud.endpoint_url}.")
    click.echo(f"Use it from a shell with: source {shlex.quote(shown(cloud.directory / 'env'))}")


@main.command()
def down() -> None:
    """Stop every local cloud of this checkout, demos, soaks and tests too; what they held is gone."""
    found = [f"The local cloud in {shown(each)} is stopped." for each in stop_all()]
    click.echo("\n".join(found or ["No local cloud is running."]))


if __name__ == "__main__":
    run(main, "python -m localcloud")
