"""Check state machine definitions, rendered or not, as far as possible without AWS."""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cfnlint.api import lint  # type: ignore[import-untyped]
from jsonata import Jsonata

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

_PLACEHOLDER = re.compile(r"\$\{([a-z_]+)\}")
_EXPRESSION = re.compile(r"\{%(?P<text>.*)%\}", re.DOTALL)


def problems(definitions: Mapping[str, str]) -> list[str]:
    """Return the problems in the definitions (texts by name), one sentence each; empty if there are none.

    Each must be JSON, even with ``${placeholders}``, match cfn-lint's schema for state machines, have a path
    to every state and none to a missing one, and contain only JSONata that can be parsed.
    """
    found: list[str] = []
    for name, text in definitions.items():
        try:
            machine = json.loads(_PLACEHOLDER.sub(r"\1", text.replace("${partition}", "aws")))
        except ValueError as error:
            found.append(f"{name} is not JSON: {error}.")
            continue
        own = [*_transitions(machine), *_expressions(machine, ""), *_schema(machine)]
        found += [f"{name}: {problem}" for problem in own]
    return found


def _transitions(machine: dict[str, Any]) -> Iterator[str]:
    states: dict[str, dict[str, Any]] = machine.get("States", {})
    named = {machine.get("StartAt")}
    for state in states.values():
        rules = [state, *state.get("Choices", []), *state.get("Catch", [])]
        named |= {rule[field] for rule in rules for field in ("Next", "Default") if field in rule}
        for inner in [*state.get("Branches", []), state.get("ItemProcessor", {})]:
            yield from _transitions(inner)
    yield from (f"nothing leads to {name}." for name in sorted(states.keys() - named))
    yield from (f"{name} is no state." for name in sorted(filter(None, named - states.keys())))


def _expressions(value: object, place: str) -> Iterator[str]:
    if isinstance(value, dict):
        for name, item in value.items():
            yield from _expressions(item, f"{place}/{name}")
    elif isinstance(value, list):
        for index, item in enumerate(value):
            yield from _expressions(item, f"{place}/{index}")
    elif isinstance(value, str) and (match := _EXPRESSION.fullmatch(value.strip())):
        try:
            Jsonata(match["text"])
        except Exception as error:
            yield f"{place} is not JSONata: {error}."


def _schema(machine: dict[str, Any]) -> Iterator[str]:
    properties = {"RoleArn": "arn:aws:iam::123456789012:role/pipeline", "Definition": machine}
    resource = {"Type": "AWS::StepFunctions::StateMachine", "Properties": properties}
    for match in lint(json.dumps({"AWSTemplateFormatVersion": "2010-09-09", "Resources": {"M": resource}})):
        # The path starts with Resources, M, Properties, Definition.
        yield f"{'/'.join(map(str, match.path[4:]))}: {match.message} ({match.rule.id})"


def main(paths: list[str]) -> int:
    """Print the problems in the definitions in the files `paths`."""
    found = problems({path: Path(path).read_text("utf-8") for path in paths})
    print("\n".join(found), end="\n" if found else "")
    return bool(found)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
