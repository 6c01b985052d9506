"""The base of every command line here: it imports verbs on use, and prints errors in one place.

A verb is a click command, usually in its own module. Under make, each option reads the variable of its name:
`--photo-mb` is `PHOTO_MB=`. The first line of its docstring is its line in `--help` and `make help`.
"""

from __future__ import annotations

import ast
import errno
import importlib
import io
import os
import signal
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

import click

from operations import make
from operations.errors import UserError, from_sdk, is_sdk_error

if TYPE_CHECKING:
    from collections.abc import Mapping

ROOT = Path(__file__).resolve().parent.parent


class Terminated(KeyboardInterrupt):
    """SIGTERM or SIGHUP; verbs handle it like Ctrl-C."""


class Verbs(click.Group):
    """Commands imported on use, by verb: `module`, or `module:name` if not named `command`."""

    def __init__(self, modules: Mapping[str, str], **options: Any) -> None:
        super().__init__(context_settings={"help_option_names": ["-h", "--help"]}, **options)
        self.modules = modules

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002
        return list(self.modules)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002
        if cmd_name not in self.modules:
            return None
        module, _, name = self.modules[cmd_name].partition(":")
        command: click.Command = getattr(importlib.import_module(module), name or "command")
        command.name = cmd_name
        if under_make():
            for one in command.params:
                one.envvar = one.envvar or _variable(one)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002
        with formatter.section("Verbs"):
            formatter.write_dl([(verb, summary(place)) for verb, place in self.modules.items()])

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        name, command, rest = super().resolve_command(ctx, args)
        if command and under_make():
            # make may run several verbs from one command line; each reads only its own variables.
            verbs = [command, *filter(None, (self.get_command(ctx, word) for word in make.command_line()))]
            make.take_variables(_variable(one) for verb in verbs for one in verb.params)
        return name, command, rest

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except KeyboardInterrupt as interrupt:
            ended, code = ("Terminated", 143) if isinstance(interrupt, Terminated) else ("Interrupted", 130)
            click.echo(f"{ended}; run it again to go on.", err=True)
            sys.exit(code)
        except click.BadParameter as error:
            if error.param and under_make():
                # The user typed LIMIT=, not --limit; click adds "range" even to "is not a valid integer".
                message = error.message.removesuffix(" range.").removesuffix(".")
                raise UserError(f"{_variable(error.param)}=: {message}.") from None
            raise
        except Exception as error:
            if not is_sdk_error(error):
                raise
            raise from_sdk(error) from None


def under_make() -> bool:
    """Whether this process is the recipe of a Makefile."""
    return bool(make.command_line())


def _variable(param: click.Parameter) -> str:
    """The make variable of an option: LIMIT for --limit, KEY for the argument KEY."""
    return max(param.opts, key=len).lstrip("-").replace("-", "_").upper()


def summary(place: str) -> str:
    """First line of the docstring of the command in `module:name`, without importing it."""
    module, _, name = place.partition(":")
    source = ROOT.joinpath(*module.split(".")).with_suffix(".py").read_text("utf-8")
    for node in ast.parse(source).body:
        if isinstance(node, ast.FunctionDef) and node.name == (name or "command"):
            return (ast.get_docstring(node) or "").partition("\n")[0].rstrip(".")
    raise LookupError(place)


def end_in_order() -> None:
    """Make SIGTERM and SIGHUP (a closed terminal) end this process cleanly, as Ctrl-C does."""
    both = (signal.SIGTERM, signal.SIGHUP)

    def end(*_: object) -> NoReturn:
        # A closing terminal sends SIGHUP more than once, and a second interrupt would cut the cleanup short.
        for number in both:
            signal.signal(number, signal.SIG_IGN)
        raise Terminated

    for number in both:
        # Under nohup, SIGHUP is ignored and must stay so.
        if signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, end)


def run(command: click.Command, name: str, *first: str) -> None:
    """Run `command` as the program `name`, with any terminal encoding and an error if it cannot print.

    `first` are arguments before those of the command line.
    """
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    end_in_order()
    try:
        try:
            command([*first, *sys.argv[1:]], prog_name=name)
        finally:
            sys.stdout.flush()
    except OSError as error:
        # Unlike a file, standard output has no name.
        if error.filename is not None:
            raise
        # Otherwise flushing the buffer fails again when the interpreter exits.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        # Whoever closed a pipe needs no message.
        if error.errno != errno.EPIPE:
            click.echo(f"Error: The output cannot be written ({error.strerror}).", err=True)
        sys.exit(1)
