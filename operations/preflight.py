"""`preflight`: find what an account lacks before an apply fails half-way. It only reads."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Literal, NamedTuple

import click

from operations import options, preflight_checks
from operations.environments import Environment
from operations.errors import UserError, code_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from operations.preflight_checks import Found, Outcome

_DENIED = ("AccessDenied", "AccessDeniedException", "AuthorizationError", "AuthorizationErrorException")
_ABSENT = ("InvalidAction", "UnknownOperationException", "UnsupportedOperation", "NotImplemented")


class Line(NamedTuple):
    """The result of one check; `about` is its subject, such as "Lambda concurrency"."""

    outcome: Outcome | Literal["passed", "failed"]
    about: str
    text: str


def check(environment: Environment) -> list[Line]:
    """Check everything an apply needs, in the order people set things up."""
    # Nothing else can be checked without usable credentials.
    lines = [Line("ok", "account", f"credentials for {environment.account()}")]
    for about, action, run in preflight_checks.CHECKS:
        if found := _result(environment, action, run):
            lines.append(Line(found[0], about, found[1]))
    return lines


def _result(environment: Environment, action: str, run: Callable[[Environment], Found]) -> Found:
    from botocore.exceptions import BotoCoreError, ClientError

    try:
        return run(environment)
    except UserError as error:
        return "fails", error.message
    except BotoCoreError as error:
        return "not checked", f"{action} failed: {error}"
    except ClientError as error:
        code = code_of(error)
        if code in _DENIED:
            # A check may make other calls too, such as reading the state.
            own = error.operation_name.startswith(action.rpartition(":")[2])
            also = "" if own else f"; {error.operation_name} is refused"
            return "not checked", f"needs {action}{also}"
        if code in _ABSENT or environment.local:
            return "not checked", f"{action} is not offered here ({code})"
        return "not checked", f"{action} failed: {error.response['Error'].get('Message') or code}"


def before(environment: Environment, wanted: bool) -> None:
    """Check before a plan or an apply: print warnings on standard error; raise UserError for a failure."""
    if not wanted:
        return
    found = check(environment)
    for line in found:
        if line.outcome == "warning":
            click.secho(f"warning: {line.about}: {line.text}.", fg="yellow", err=True)
    if failing := [f"{line.about}: {line.text}" for line in found if line.outcome == "fails"]:
        raise UserError(
            f"An apply would fail. {'. '.join(failing)}. PREFLIGHT=0 leaves these checks out; it stays wrong."
        )


@click.command
@options.environment
@options.as_json
def command(env: str, as_json: bool) -> None:
    """Check the account before an apply: quotas, subscriptions, keys, what is in flight."""
    from operations.terminal import console, table

    found = check(Environment.load(env))
    if as_json:
        options.print_json({"environment": env, "checks": [line._asdict() for line in found]})
    else:
        console().print(table("Outcome", "About", "Found", rows=found, red={"fails"}))
    if any(line.outcome == "fails" for line in found):
        sys.exit(1)
