"""Where the settings of two environments differ."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import click

from operations import options
from operations.environments import Environment
from operations.program import ROOT
from operations.tfvars import parsed

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

_ATTRIBUTE = re.compile(r"(\w+)\s*=\s*optional\(\w+(?:\([^()]*\))?\s*(?:,\s*([^()]*?))?\s*\)")


@dataclass(frozen=True)
class Value:
    """A setting's value in one environment; `given` tells whether its tfvars file says so."""

    value: Any
    given: bool

    def __str__(self) -> str:
        text = _hcl(self.value)
        return text if self.given else f"{text} (default)"


def differences(first: Environment, second: Environment) -> dict[str, tuple[Value | None, Value | None]]:
    """Return what differs, by setting, such as `process_image.memory_size`; None where it is not there.

    The name of the environment is left out: it differs always.
    """
    defaults = _defaults((ROOT / "variables.tf").read_text("utf-8"))
    left, right = _settings(first.settings, defaults), _settings(second.settings, defaults)
    return {
        name: (left.get(name), right.get(name))
        for name in sorted(left.keys() | right.keys())
        if name != "environment" and _plain(left.get(name)) != _plain(right.get(name))
    }


def _plain(value: Value | None) -> tuple[Any, ...]:
    return () if value is None else (value.value,)


def _defaults(text: str) -> dict[str, Any]:
    """Return every variable's default; those of objects with the defaults of their attributes."""
    defaults: dict[str, Any] = {}
    for block in parsed(text)["variable"]:
        ((quoted, variable),) = ((key, value) for key, value in block.items() if isinstance(value, dict))
        name, kind = quoted.strip('"'), str(variable["type"])
        default = variable.get("default")
        if isinstance(default, dict) and "object(" in kind and "map(" not in kind:
            default = {
                attribute: _literal(literal) for attribute, literal in _ATTRIBUTE.findall(kind)
            } | default
        defaults[name] = default
    return defaults


def _literal(text: str) -> Any:
    # Numbers, true, false, null and quoted text are written alike in JSON.
    return json.loads(text) if text else None


def _settings(given: Mapping[str, Any], defaults: Mapping[str, Any]) -> dict[str, Value]:
    return dict(_flat(given, defaults))


def _flat(given: Mapping[str, Any], defaults: Mapping[str, Any]) -> Iterator[tuple[str, Value]]:
    for name in defaults.keys() | given.keys():
        default, value = defaults.get(name), given.get(name)
        if isinstance(default, dict) or isinstance(value, dict):
            merged = {**(default or {}), **(value or {})}
            yield from ((f"{name}.{key}", Value(merged[key], key in (value or {}))) for key in merged)
        else:
            yield name, Value(value if name in given else default, name in given)


def _hcl(value: Any) -> str:
    if isinstance(value, dict):
        return "{ " + ", ".join(f"{key} = {_hcl(one)}" for key, one in value.items()) + " }"
    if isinstance(value, list):
        return "[" + ", ".join(map(_hcl, value)) + "]"
    return json.dumps(value, ensure_ascii=False)


@click.command
@click.option("--from", "first", required=True, help="One environment.")
@click.option("--to", "second", required=True, help="The other.")
@options.as_json
def command(first: str, second: str, as_json: bool) -> None:
    """Show the settings that differ between two environments."""
    # Here, as `--help` would wait for it.
    from rich.table import Column, Table
    from rich.text import Text

    from operations.terminal import console

    found = differences(Environment.load(first), Environment.load(second))
    if as_json:
        click.echo(json.dumps({"from": first, "to": second, "differences": _rows(found)}, indent=2))
        return
    if not found:
        click.echo(f"{first} and {second} are set alike.")
        return
    table = Table(
        Column("setting", no_wrap=True),
        *(Column(name, overflow="fold") for name in (first, second)),
        box=None,
        pad_edge=False,
        header_style="bold",
    )
    for name, values in found.items():
        table.add_row(name, *(Text("not there" if value is None else str(value)) for value in values))
    console().print(table)


def _rows(found: Mapping[str, tuple[Value | None, Value | None]]) -> list[dict[str, Any]]:
    def side(value: Value | None) -> dict[str, Any] | None:
        return None if value is None else {"value": value.value, "default": not value.given}

    return [{"setting": name, "from": side(left), "to": side(right)} for name, (left, right) in found.items()]
