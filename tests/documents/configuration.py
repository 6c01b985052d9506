"""The inputs and outputs of the root and of each module: docs/configuration.md and the modules' READMEs."""

from __future__ import annotations

import functools
import json
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import hcl2

from operations.program import ROOT

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

MODULES = tuple(
    sorted(path.name for path in (ROOT / "modules").iterdir() if (path / "variables.tf").is_file())
)

# Longer sentences than this explain a calculation; the plan that refuses a value prints them.
_SHORT = 200
_READING = hcl2.SerializationOptions(with_comments=False, strip_string_quotes=True)
_ATTRIBUTE = re.compile(r"(?P<name>\w+) = (?P<type>.+)", re.DOTALL)


@dataclass(frozen=True)
class Input:
    """One variable, or one attribute of an object.

    Attributes:
        path: name, and for attributes the way to it: `alarms.dead_letters`, `subscriptions.<name>.endpoint`.
        default: as HCL; None where a value must be given.
    """

    path: str
    type: str
    default: str | None


@functools.cache
def parsed(path: Path) -> dict[str, Any]:
    """What a Terraform file says."""
    content: dict[str, Any] = hcl2.loads(path.read_text("utf-8"), serialization_options=_READING)
    return content


def blocks(path: Path, kind: str) -> dict[str, dict[str, Any]]:
    """The blocks with one label of a kind, such as `variable`, by that label."""
    return {name: content for block in parsed(path).get(kind, ()) for name, content in block.items()}


def inputs(folder: Path) -> str:
    """The table of a folder's variables, and below it what their values must be."""
    variables = blocks(folder / "variables.tf", "variable")
    lines = ["| Input | Type | Default | What it is |", "|---|---|---|---|"]
    for name, one in variables.items():
        top, *attributes = spelled_out(name, _expression(one["type"]), _default(one))
        lines += [_row(top, _cell(one["description"])), *(_row(part, "") for part in attributes)]
    rules = [f"- {rule}" for name in variables for rule in must(folder, name)]
    if rules:
        lines += ["", "Validation rules; longer ones are in the error messages:", "", *rules]
    return "\n".join(lines)


def outputs(folder: Path) -> str:
    """The table of a folder's outputs."""
    found = blocks(folder / "outputs.tf", "output").items()
    lines = ["| Output | What it is |", "|---|---|"]
    return "\n".join([*lines, *(f"| {_code(name)} | {_cell(one['description'])} |" for name, one in found)])


def must(folder: Path, name: str) -> list[str]:
    """The short sentences a variable's values are refused with, here or in the modules it is passed on to."""
    places = [(folder, name)]
    if (folder / "main.tf").is_file():
        for call in blocks(folder / "main.tf", "module").values():
            places += [
                (folder / call["source"], inner)
                for inner, value in call.items()
                if value == f"${{var.{name}}}"
            ]
    sentences = [
        # Quotes inside of a sentence arrive escaped; which function is meant is the caller's own.
        rule["error_message"].replace('\\"', '"').replace(" of ${var.name}", "")
        for where, inner in places
        for rule in blocks(where / "variables.tf", "variable")[inner].get("validation", ())
    ]
    plain = [one for one in sentences if "${" not in one and len(one) <= _SHORT]
    return list(dict.fromkeys(plain))


def spelled_out(path: str, kind: str, default: str | None) -> Iterator[Input]:
    """An input, and where it is an object, or a map or list of them, each attribute.

    Raises:
        ValueError: a type is none this can read.
    """
    for wrapper, step in (("map", ".<name>"), ("list", "[*]"), ("set", "[*]")):
        if kind.startswith(f"{wrapper}(object("):
            yield Input(path, f"{wrapper}(object)", default)
            _, *inner = spelled_out(path + step, _inside(kind), None)
            yield from inner
            return
    if not kind.startswith("object("):
        yield Input(path, kind, default)
        return
    yield Input(path, "object", default)
    for attribute in _split(_inside(kind).removeprefix("{").removesuffix("}")):
        match = _ATTRIBUTE.fullmatch(attribute)
        if not match:
            raise ValueError(f"{path}: {attribute!r} is no attribute of an object")
        inner_type, inner_default = match["type"], None
        if inner_type.startswith("optional("):
            inner_type, *given = _split(_inside(inner_type))
            inner_default = given[0] if given else "null"
        yield from spelled_out(f"{path}.{match['name']}", inner_type, inner_default)


def _inside(call: str) -> str:
    """The text between a call's outer parentheses."""
    return call[call.index("(") + 1 : call.rindex(")")].strip()


def _split(text: str) -> list[str]:
    """What commas separate, those inside of brackets and quotes apart."""
    parts, depth, quoted = [""], 0, False
    for character in text:
        quoted ^= character == '"'
        if not quoted:
            depth += (character in "([{") - (character in ")]}")
        if character == "," and not depth and not quoted:
            parts.append("")
        else:
            parts[-1] += character
    return [part.strip() for part in parts if part.strip()]


def _expression(value: str) -> str:
    return value[2:-1] if value.startswith("${") else value


def _default(variable: dict[str, Any]) -> str | None:
    if "default" not in variable:
        return None
    default = variable["default"]
    return default if isinstance(default, str) and default.startswith("${") else json.dumps(default)


def _row(one: Input, text: str) -> str:
    default = "required" if one.default is None else _code(one.default)
    return f"| {_code(one.path)} | {_code(one.type)} | {default} | {text} |"


def _code(text: str) -> str:
    return f"`{text}`"


def _cell(text: str) -> str:
    return text.replace('\\"', '"').replace("|", "\\|")
