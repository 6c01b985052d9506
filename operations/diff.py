"""Where the settings of two environments differ."""

from __future__ import annotations

import json
from typing import Any

import click

from operations import options, terminal, tfvars
from operations.environments import Environment


def differences(first: Environment, second: Environment) -> list[dict[str, Any]]:
    """Return the differences: `setting`, such as `process_image.memory_size`, and its sides `from` and `to`.

    A side is a `value` and whether that is the `default`; None where the setting is absent. The name of
    the environment, which always differs, is left out.
    """
    left, right = _settings(first), _settings(second)
    return [
        {"setting": name, "from": left.get(name), "to": right.get(name)}
        for name in sorted(left | right)
        if name != "environment" and _differ(left.get(name), right.get(name))
    ]


def _differ(one: dict[str, Any] | None, other: dict[str, Any] | None) -> bool:
    return not (one and other) or one["value"] != other["value"]


def _settings(environment: Environment) -> dict[str, dict[str, Any]]:
    """Each setting's side by name; objects and maps are split into `name.key`."""
    given, found = environment.settings, {}
    for name, variable in tfvars.declared().items():
        value = given.get(name, variable.default)
        if isinstance(value, dict):
            usual = (variable.default or {}) | ({} if variable.is_map else variable.attributes)
            for key, one in (usual | value).items():
                found[f"{name}.{key}"] = {"value": one, "default": key not in given.get(name, {})}
        else:
            found[name] = {"value": value, "default": name not in given}
    return found


def _text(side: dict[str, Any] | None) -> str:
    if side is None:
        return "not there"
    return f"{_hcl(side['value'])} (default)" if side["default"] else _hcl(side["value"])


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
    found = differences(Environment.load(first), Environment.load(second))
    if as_json:
        options.print_json({"from": first, "to": second, "differences": found})
    elif found:
        rows = [(row["setting"], _text(row["from"]), _text(row["to"])) for row in found]
        terminal.console().print(terminal.table("setting", first, second, rows=rows, numbers=()))
    else:
        click.echo(f"{first} and {second} are set alike.")
