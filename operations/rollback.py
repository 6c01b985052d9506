"""The alias the workflow invokes, back to an earlier version of a function."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import click

from operations import options
from operations.errors import UserError

if TYPE_CHECKING:
    from operations.deployment import Deployment

ALIAS = "live"
FUNCTIONS = ("process_image", "send_notification")


@dataclass(frozen=True)
class Step:
    """What a rollback changes: versions of one function, each with its description of when it was made."""

    function: str
    current: int
    target: int
    versions: dict[int, str]
    revision: str | None


@click.command
@click.argument("function", type=click.Choice(FUNCTIONS), required=False)
@options.environment
@click.option("--to", "version", type=click.IntRange(1), help="This version instead of the one before.")
@options.confirm("Move the alias")
@options.dry_run
@options.as_json
def command(
    function: str | None,
    env: str,
    version: int | None,
    confirm: bool,
    dry_run: bool | None,
    as_json: bool,
) -> None:
    """Point the alias `live` of FUNCTION to the version published before the one it is on, at once.

    Executions that run now pick it up with their
    next invocation. The next `make apply` moves the alias forward again unless functions/ is what it was:
    revert the change there as well.
    """
    from operations.deployment import Deployment

    confirm = options.confirmed(confirm, dry_run)
    if function is None:
        raise UserError(
            f"Say which function: make rollback ENV={env} FUNCTION={FUNCTIONS[0]} (or {FUNCTIONS[1]})."
        )
    deployment = Deployment.load(env)
    step = prepare(deployment, function, version)
    if confirm:
        carry_out(deployment, step)
    if as_json:
        options.print_json(
            {
                "function": step.function,
                "from": step.current,
                "to": step.target,
                "versions": {str(number): made for number, made in step.versions.items()},
                "done": confirm,
            }
        )
        return
    _show(step, done=confirm)
    if not confirm:
        click.echo("Nothing is changed; CONFIRM=1 moves it there.")
    else:
        click.echo(f"Back again: make rollback ENV={env} FUNCTION={function} TO={step.current} CONFIRM=1")
        if step.target != max(step.versions):
            click.echo(
                f"The next 'make apply ENV={env}' moves it forward again; revert the change in"
                f" functions/{function} before that."
            )


def prepare(deployment: Deployment, function: str, version: int | None) -> Step:
    """Work out what to change.

    Raises UserError when there is no earlier version, none of that number, or the alias is on it.
    """
    name = str(deployment.outputs["function_names"][function])
    client = deployment.client("lambda")
    alias = client.get_alias(FunctionName=name, Name=ALIAS)
    current = int(alias["FunctionVersion"])
    versions = _versions(client, name)
    target = version
    if target is None:
        target = max((number for number in versions if number < current), default=None)
    if target is None:
        raise UserError(
            f"Version {current} of {name} is the first one there is; there is nothing to go back to."
        )
    if target not in versions:
        known = ", ".join(map(str, sorted(versions)))
        raise UserError(f"{name} has no version {target}; choose one of {known} with --to.")
    if target == current:
        raise UserError(f"'{ALIAS}' of {name} is on version {target} already.")
    return Step(name, current, target, versions, alias.get("RevisionId"))


def carry_out(deployment: Deployment, step: Step) -> None:
    """Move the alias.

    Raises UserError when somebody moved it since it was looked at.
    """
    client = deployment.client("lambda")
    expected = {"RevisionId": step.revision} if step.revision else {}
    try:
        client.update_alias(
            FunctionName=step.function,
            Name=ALIAS,
            FunctionVersion=str(step.target),
            RoutingConfig={"AdditionalVersionWeights": {}},
            **expected,
        )
    except client.exceptions.PreconditionFailedException:
        raise UserError(
            f"'{ALIAS}' of {step.function} was changed by somebody else just now; look again, then decide."
        ) from None


def _versions(client: Any, name: str) -> dict[int, str]:
    pages = client.get_paginator("list_versions_by_function").paginate(FunctionName=name)
    return {
        int(version["Version"]): str(version.get("LastModified", ""))
        for page in pages
        for version in page["Versions"]
        if version["Version"] != "$LATEST"
    }


def _show(step: Step, *, done: bool) -> None:
    from rich.table import Table

    from operations.terminal import console

    marks = {
        step.current: f"'{ALIAS}' was here" if done else f"'{ALIAS}' is here",
        step.target: f"'{ALIAS}' is here now" if done else "goes here",
    }
    table = Table(box=None, pad_edge=False, header_style="bold", padding=(0, 3, 0, 0))
    for name in ("Version", "Published", ""):
        table.add_column(name)
    for number, made in sorted(step.versions.items(), reverse=True)[:10]:
        table.add_row(str(number), made[:19].replace("T", " "), marks.get(number, ""))
    out = console()
    out.print(f"[bold]{step.function}[/]")
    out.print(table)
