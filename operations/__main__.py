"""`python -m operations VERB --env ENV`: everything an operations team does, one verb a module.

Verbs are imported when they are called, so that `--help` needs neither the SDK nor Terraform.
"""

from __future__ import annotations

import errno
import importlib
import io
import os
import signal
import sys
from typing import Any, NoReturn

import click

# What says that the output, not a file, cannot be written: a full disk, a quota, a broken device.
_OUTPUT_FAILS = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO, errno.EPIPE})

# Each verb is a module of this package with a click command named `command`.
VERBS: dict[str, str] = {
    "audit": "Account for every upload: a record, a dead letter, or unaccounted for",
    "backfill": "Analyse photos that were there before the pipeline",
    "cost": "Estimate a month's bill from the environment's settings",
    "erase": "Everything stored about one photo: shown, or erased for good",
    "redrive": "Show what is in the dead-letter queue and start its work again",
    "reprocess": "Analyse one image again, on purpose",
    "results": "Records by key, or by outcome and day; or all of them into a file",
    "rollback": "Put a function back to the version before",
    "status": "The last hour at a glance",
    "watch": "Follow images through the pipeline, live",
}


class Terminated(KeyboardInterrupt):
    """SIGTERM came; what a verb does at Ctrl-C, it does now too."""


class Verbs(click.Group):
    """Commands known by name and one line, imported on use."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002
        return list(VERBS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002
        if cmd_name not in VERBS:
            return None
        command: click.Command = importlib.import_module(f"operations.{cmd_name}").command
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002
        with formatter.section("Verbs"):
            formatter.write_dl(list(VERBS.items()))

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except KeyboardInterrupt as interrupt:
            ended, code = ("Terminated", 143) if isinstance(interrupt, Terminated) else ("Interrupted", 130)
            click.echo(f"{ended}; run it again to go on.", err=True)
            sys.exit(code)
        except (click.ClickException, click.exceptions.Exit, click.Abort):
            # click's own, --help among them: looking into them would import the SDK.
            raise
        except Exception as error:
            if (message := _for_people(error)) is None:
                raise
            from operations.terminal import visible

            # AWS repeats keys in what it says, and uploaders choose them.
            raise click.ClickException(visible(message, keep="\n")) from None


def _for_people(error: Exception) -> str | None:
    """The sentence for a user's mistake; None for a defect, whose traceback is wanted."""
    from botocore.exceptions import BotoCoreError, ClientError

    from operations.environments import DeployError
    from operations.errors import OperationError
    from operations.terraform import TerraformError

    if isinstance(error, OperationError | DeployError | TerraformError):
        return str(error)
    if isinstance(error, ClientError):
        code = error.response["Error"].get("Code", "")
        if code in {"ExpiredToken", "ExpiredTokenException", "RequestExpired"}:
            return "The AWS credentials have expired; sign in again ('aws sso login') and run it again."
        return f"AWS refused {error.operation_name}: {error.response['Error'].get('Message', code)}"
    if isinstance(error, BotoCoreError):
        return f"AWS cannot be reached ({error}); check the network and run it again."
    return None


@click.command(cls=Verbs, context_settings={"help_option_names": ["-h", "--help"]})
def main() -> None:
    """Operate a deployed environment; every verb answers --help."""


def _terminate(*_: object) -> NoReturn:
    raise Terminated


def run() -> None:
    """Run `main` as a program: on any terminal, ended in order, telling when its output cannot be written."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    signal.signal(signal.SIGTERM, _terminate)
    try:
        try:
            main(prog_name="python -m operations")
        finally:
            sys.stdout.flush()
    except OSError as error:
        if error.errno not in _OUTPUT_FAILS or error.filename is not None:
            raise
        # What is still buffered would fail once more when the interpreter ends.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        # Who closed a pipe knows.
        if error.errno != errno.EPIPE:
            click.echo(f"Error: The output cannot be written ({error.strerror}).", err=True)
        sys.exit(1)


if __name__ == "__main__":
    run()
