"""How every command line here runs: verbs imported when they are called, one place where errors are printed.

A verb is a click command, in a module of its own as a rule. Under make each option reads the variable of its
name: `--photo-mb` is `PHOTO_MB=`. The first line of its docstring is its line in `--help` and `make help`.
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
    """SIGTERM or SIGHUP came; what a verb does at Ctrl-C, it does now too."""


class Verbs(click.Group):
    """Commands imported on use, by verb as `module`, or `module:name` where it is not named `command`."""

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
            # Of several verbs on one command line, each reads what is its own.
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
                # Who typed LIMIT= never saw --limit, and what is no number is in no range.
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
    """The variable of make an option is given by: LIMIT for --limit, KEY for the argument KEY."""
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
    """Have SIGTERM and SIGHUP (a closed terminal) end this process as Ctrl-C does: in good order."""
    both = (signal.SIGTERM, signal.SIGHUP)

    def end(*_: object) -> NoReturn:
        # A terminal that closes hangs up more than once, and a second interrupt would not be patient.
        for number in both:
            signal.signal(number, signal.SIG_IGN)
        raise Terminated

    for number in both:
        # Under nohup a hang-up is ignored, and shall stay so.
        if signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, end)


def run(command: click.Command, name: str, *first: str) -> None:
    """Run `command` as the program `name`: on any terminal, ended in order, saying when it cannot print.

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
        # The output, unlike a file, has no name.
        if error.filename is not None:
            raise
        # What is still buffered would fail once more when the interpreter ends.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        # Who closed a pipe knows.
        if error.errno != errno.EPIPE:
            click.echo(f"Error: The output cannot be written ({error.strerror}).", err=True)
        sys.exit(1)
