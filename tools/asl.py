"""Check state machine definitions, rendered or not, as far as that can be done without AWS."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

from jsonata import Jsonata

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

_PLACEHOLDER = re.compile(r"\$\{(?P<name>[a-z_]+)\}")
_EXPRESSION = re.compile(r"\{%(?P<text>.*)%\}", re.DOTALL)
# https://docs.aws.amazon.com/step-functions/latest/dg/concepts-error-handling.html
_RETRY = {
    *("BackoffRate", "Comment", "ErrorEquals", "IntervalSeconds"),
    *("JitterStrategy", "MaxAttempts", "MaxDelaySeconds"),
}
_CATCH = {"Assign", "Comment", "ErrorEquals", "Next", "Output", "ResultPath"}


def problems(definitions: Mapping[str, str]) -> list[str]:
    """Return what is wrong with the definitions (texts by name), a sentence each; empty when all are sound.

    Each must be JSON, before its ``${placeholders}`` are filled in where it has some, fit the schema cfn-lint
    has for state machines, lead from its start to every state and from every state to an end, and hold
    JSONata that can be parsed.
    """
    found: list[str] = []
    parsed: dict[str, dict[str, Any]] = {}
    for name, text in definitions.items():
        try:
            parsed[name] = json.loads(text)
        except ValueError as error:
            found.append(f"{name} is not JSON: {error}.")
            continue
        own = [*_walk(parsed[name], "the workflow"), *_expressions(parsed[name], "")]
        found += [f"{name}: {problem}" for problem in own]
    return [*found, *_schema(parsed)]


def _walk(machine: dict[str, Any], place: str) -> Iterator[str]:
    states: dict[str, dict[str, Any]] = machine.get("States", {})
    start = machine.get("StartAt")
    if start not in states:
        yield f"{place} starts at {start}, which it does not have."
        return
    reached, waiting = {start}, [start]
    while waiting:
        name = waiting.pop()
        targets = _targets(states[name])
        if not targets and not states[name].get("End") and states[name]["Type"] not in ("Succeed", "Fail"):
            yield f"{name} leads nowhere and is no end."
        yield from (
            f"{name} leads to {target}, which {place} does not have." for target in targets - states.keys()
        )
        new = (targets & states.keys()) - reached
        reached |= new
        waiting += sorted(new)
    yield from (f"{name} is never reached." for name in sorted(states.keys() - reached))
    for name, state in states.items():
        yield from _rules(name, state)
        for inner in [*state.get("Branches", []), state.get("ItemProcessor"), state.get("Iterator")]:
            if inner:
                yield from _walk(inner, name)


def _rules(name: str, state: dict[str, Any]) -> Iterator[str]:
    for kind, allowed in (("Retry", _RETRY), ("Catch", _CATCH)):
        for rule in state.get(kind, []):
            unknown = sorted(rule.keys() - allowed)
            yield from (f"{name} has a {kind} with the unknown field {field}." for field in unknown)


def _targets(state: dict[str, Any]) -> set[str]:
    rules = [state, *state.get("Choices", []), *state.get("Catch", [])]
    names = [rule.get("Next") for rule in rules] + [state.get("Default")]
    return {name for name in names if name}


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


def _schema(definitions: Mapping[str, dict[str, Any]]) -> list[str]:
    text = _PLACEHOLDER.sub(
        lambda match: "aws" if match["name"] == "partition" else match["name"],
        json.dumps(list(definitions.values())),
    )
    template = {
        "AWSTemplateFormatVersion": "2010-09-09",
        "Resources": {
            f"Machine{index}": {
                "Type": "AWS::StepFunctions::StateMachine",
                "Properties": {
                    "RoleArn": "arn:aws:iam::123456789012:role/pipeline",
                    "Definition": definition,
                },
            }
            for index, definition in enumerate(json.loads(text))
        },
    }
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "template.json")
        path.write_text(json.dumps(template), "utf-8")
        result = subprocess.run(
            [Path(sys.executable).with_name("cfn-lint"), "--format", "json", path],
            capture_output=True,
            text=True,
            check=False,
        )
    if result.returncode and not result.stdout.strip():
        return [f"cfn-lint could not check the state machines: {result.stderr.strip()}"]
    names = dict(zip(template["Resources"], definitions, strict=True))
    found = []
    for match in json.loads(result.stdout or "[]"):
        # Resources, the machine, Properties, Definition, and where in it.
        machine, *where = match["Location"]["Path"][1:2] + match["Location"]["Path"][4:]
        place = "/".join(map(str, where))
        found.append(f"{names.get(machine, machine)}: {place}: {match['Message']} ({match['Rule']['Id']})")
    return found


def main(paths: list[str]) -> int:
    """Print what is wrong with the definitions in the files `paths`."""
    found = problems({path: Path(path).read_text("utf-8") for path in paths})
    print("\n".join(found), end="\n" if found else "")
    return bool(found)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
