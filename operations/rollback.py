"""`rollback`: move the alias the workflow invokes to an earlier version of a function."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from typing import Any, NamedTuple

import click

from operations import options, terminal
from operations.deployment import Deployment
from operations.errors import UserError

ALIAS = "live"
# A version that was rolled back from gets an alias of this name plus its number: Terraform manages
# descriptions and tags, but ignores aliases it did not create.
MARK = "rolled-back-from-"

# The end of a description that modules/function writes.
_SOURCES = re.compile(r".*\((code [0-9a-f]+(?:, commit [^ )]+)?)\)")


class Version(NamedTuple):
    """A published version; `published` in ISO 8601.

    `description`: ends with the hash of its sources and, if `make` planned it in a git checkout, their
    commit. `rolled_back`: when it was rolled back from; else empty.
    """

    number: int
    published: str
    description: str
    rolled_back: str

    @property
    def sources(self) -> str:
        """`code 91b0c4d5e3a2f786, commit 73bc151`; for a version published by hand, its whole description."""
        found = _SOURCES.fullmatch(self.description)
        return found[1] if found else self.description


class Step(NamedTuple):
    """A rollback from one version of a function to another."""

    function: str
    current: int
    target: int
    versions: dict[int, Version]
    revision: str


@click.command
@click.argument("function", required=False)
@options.environment
@click.option("--to", "version", type=click.IntRange(1), help="This version instead of the one before.")
@options.confirm("Move the alias")
@options.dry_run
@options.as_json
def command(function: str | None, env: str, version: int | None, confirm: bool, as_json: bool) -> None:
    """Point a FUNCTION's alias to the good version before the one it is on.

    Versions that were rolled back from are marked, and passed over until TO= names one. Executions that run
    now pick the version up with their next invocation. The next `make apply` moves the alias forward again
    unless functions/ is what it was: revert the change there as well.
    """
    deployment = Deployment.load(env)
    functions = sorted(deployment.value("function_names"))
    if not function or function not in functions:
        raise UserError(
            f"Say which function: make rollback ENV={env} FUNCTION={functions[0]} (there are"
            f" {', '.join(functions)})."
        )
    step = prepare(deployment, function, version)
    if confirm:
        carry_out(deployment, step)
    if as_json:
        options.print_json(
            {
                "function": step.function,
                "from": step.current,
                "to": step.target,
                "versions": {number: one.published for number, one in step.versions.items()},
                "details": [one._asdict() for one in step.versions.values()],
                "done": confirm,
            }
        )
        return
    _show(step, done=confirm)
    if not confirm:
        click.echo("Nothing is changed; CONFIRM=1 moves it there.")
        return
    click.echo(f"Back again: make rollback ENV={env} FUNCTION={function} TO={step.current} CONFIRM=1")
    if step.target != max(step.versions):
        click.echo(
            f"The next 'make apply ENV={env}' moves it forward again; revert the change in"
            f" functions/{function} before that."
        )


def prepare(deployment: Deployment, function: str, version: int | None) -> Step:
    """Work out what to change.

    Raises UserError when there is no good earlier version, no such version, or the alias is already on it.
    """
    name = str(deployment.value("function_names")[function])
    client = deployment.client("lambda")
    alias = client.get_alias(FunctionName=name, Name=ALIAS)
    current, versions = int(alias["FunctionVersion"]), _versions(client, name)
    if version is None:
        earlier = [one for one in versions.values() if one.number < current]
        if not earlier:
            raise UserError(
                f"Version {current} of {name} is the first one there is; there is nothing to go back to."
            )
        good = [one.number for one in earlier if not one.rolled_back]
        if not good:
            raise UserError(
                f"Every version of {name} before {current} was rolled back from; choose one with"
                f" {options.named('to', '<number>')} all the same, or mend the code and apply it."
            )
        version = max(good)
    if version not in versions:
        known = ", ".join(map(str, sorted(versions)))
        raise UserError(f"{name} has no version {version}; choose one of {known} with {options.named('to')}.")
    if version == current:
        raise UserError(f"'{ALIAS}' of {name} is on version {version} already.")
    return Step(name, current, version, versions, alias["RevisionId"])


def carry_out(deployment: Deployment, step: Step) -> None:
    """Move the alias. When moving back, mark the version it leaves; unmark the one it moves to.

    Raises UserError when the alias has changed since it was read.
    """
    client = deployment.client("lambda")
    try:
        client.update_alias(
            FunctionName=step.function,
            Name=ALIAS,
            FunctionVersion=str(step.target),
            RoutingConfig={"AdditionalVersionWeights": {}},
            RevisionId=step.revision,
        )
    except client.exceptions.PreconditionFailedException:
        raise UserError(
            f"'{ALIAS}' of {step.function} was changed by somebody else just now; look again, then decide."
        ) from None
    if step.target < step.current and not step.versions[step.current].rolled_back:
        client.create_alias(
            FunctionName=step.function,
            Name=f"{MARK}{step.current}",
            FunctionVersion=str(step.current),
            Description=datetime.now(UTC).isoformat(timespec="seconds"),
        )
    if step.versions[step.target].rolled_back:
        client.delete_alias(FunctionName=step.function, Name=f"{MARK}{step.target}")


def _versions(client: Any, name: str) -> dict[int, Version]:
    marks = {
        alias["Name"]: alias.get("Description") or "before"
        for page in client.get_paginator("list_aliases").paginate(FunctionName=name)
        for alias in page["Aliases"]
    }
    return {
        int(one["Version"]): Version(
            int(one["Version"]),
            one["LastModified"],
            one.get("Description", ""),
            marks.get(f"{MARK}{one['Version']}", ""),
        )
        for page in client.get_paginator("list_versions_by_function").paginate(FunctionName=name)
        for one in page["Versions"]
        if one["Version"] != "$LATEST"
    }


def _show(step: Step, *, done: bool) -> None:
    marks = {
        step.current: f"'{ALIAS}' was here" if done else f"'{ALIAS}' is here",
        step.target: f"'{ALIAS}' is here now" if done else "goes here",
    }
    rows = []
    for number, one in sorted(step.versions.items(), reverse=True)[:10]:
        rolled_back = f"rolled back from on {one.rolled_back[:10]}" if one.rolled_back else ""
        moment = one.published[:19].replace("T", " ")
        rows.append((str(number), moment, one.sources, marks.get(number, rolled_back)))
    columns = ("Version", "Published", "What", "")
    terminal.console().print(terminal.table(*columns, rows=rows, numbers=(), title=step.function))
