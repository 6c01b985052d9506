"""Options that verbs share, and formatting of times and sizes."""

from __future__ import annotations

import contextlib
import json
import os
import sys
from datetime import UTC, date, datetime
from typing import TYPE_CHECKING, Any

import click
from rich import filesize

from operations.errors import UserError
from operations.program import under_make

if TYPE_CHECKING:
    from collections.abc import Callable

    Decorator = Callable[[Callable[..., None]], Callable[..., None]]

environment: Decorator = click.option(
    "--env", "env", envvar="ENV", default="local", show_default=True, help="Environment to work on."
)
as_json: Decorator = click.option("--json", "as_json", is_flag=True, help="Print JSON.")
preflight: Decorator = click.option(
    "--preflight/--no-preflight", default=True, help="Check the account first (PREFLIGHT=0 does not)."
)


def _day(_context: object, _parameter: object, text: str | None) -> date | None:
    try:
        return datetime.strptime(text, "%Y-%m-%d").replace(tzinfo=UTC).date() if text else None
    except ValueError:
        raise UserError(f"'{text}' is not a day; write it as 2026-11-24.") from None


day: Decorator = click.option("--day", callback=_day, help="Day in UTC, as 2026-11-24; today without it.")


class _Key(click.types.StringParamType):
    """A key or prefix in the bucket; S3's are UTF-8, whatever the terminal's encoding."""

    name = "key"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        # UTF-8 pasted into a Latin-1 terminal arrives as one character per byte.
        with contextlib.suppress(UnicodeError):
            return os.fsencode(str(value)).decode()
        try:
            return str(value).encode().decode()
        except UnicodeEncodeError:
            self.fail("it is not UTF-8, as every key in S3 is; take it from a listing.", param, ctx)


KEY = _Key()


def named(option: str, value: str = "") -> str:
    """How to give `option`: LIMIT= under make, else --limit; under make, flags take the `value` 1."""
    return f"{option.upper().replace('-', '_')}={value}" if under_make() else f"--{option}"


def _replaced(context: click.Context, _parameter: object, dry: bool | None) -> None:
    if dry is not None:
        click.echo("DRY_RUN is replaced by CONFIRM=1.", err=True)
    context.meta["confirm"] = dry is False


dry_run: Decorator = click.option(
    "--dry-run", type=bool, hidden=True, is_eager=True, expose_value=False, callback=_replaced
)


def confirm(what: str) -> Decorator:
    """The --confirm option, without which a verb only shows what it would do; `what` describes the action."""
    return click.option(
        "--confirm",
        is_flag=True,
        callback=lambda context, _parameter, given: given or context.meta.get("confirm", False),
        help=f"{what}; without it nothing changes.",
    )


def print_json(value: Any) -> None:
    """Print `value` as JSON: indented, times in ISO 8601."""
    click.echo(json_text(value, indent=2))


def json_text(value: Any, *, indent: int | None = None) -> str:
    """`value` as printable JSON: escaped if the output's encoding is not UTF-8."""

    def plain(one: Any) -> str:
        return one.isoformat() if isinstance(one, datetime) else str(one)

    ascii_only = (sys.stdout.encoding or "ascii").lower().replace("-", "") != "utf8"
    return json.dumps(value, indent=indent, ensure_ascii=ascii_only, default=plain)


def duration(seconds: float | None) -> str:
    """`seconds` in readable form: 0.21 s, 42 s, 3 min, 2 h 5 min, 4 d."""
    if seconds is None:
        return "-"
    if seconds < 10:
        return f"{seconds:.2f} s"
    if seconds < 120:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    if minutes < 120:
        return f"{minutes} min"
    hours, rest = divmod(minutes, 60)
    if hours < 48:
        return f"{hours} h {rest} min" if rest else f"{hours} h"
    return f"{hours // 24} d"


# Bytes in readable form: 512 bytes, 3.4 MB.
size = filesize.decimal
