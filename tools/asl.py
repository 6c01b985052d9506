"""Check state machine definitions before they are rendered, as far as that can be done without AWS."""

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
    from collections.abc import Iterator

_PLACEHOLDER = re.compile(r"\$\{(?P<name>[a-z_]+)\}")
_EXPRESSION = re.compile(r"\{%(?P<text>.*)%\}", re.DOTALL)
# https://docs.aws.amazon.com/step-functions/latest/dg/concepts-error-handling.html
_RETRY = {
    *("BackoffRate", "Comment", "ErrorEquals", "IntervalSeconds"),
    *("JitterStrategy", "MaxAttempts", "MaxDelaySeconds"),
}
_CATCH = {"Assign", "Comment", "ErrorEquals", "Next", "Output", "ResultPath"}


def problems(path: Path) -> list[str]:
    """Return what is wrong with the definition in `path`, a sentence each; an empty list means it is sound.

    It must be JSON before its ``${placeholders}`` are filled in, fit the schema cfn-lint has for state
    machines, lead from its start to every state and from every state to an end, and hold JSONata that can be
    parsed.
    """
    try:
        definition = json.loads(path.read_text("utf-8"))
    except ValueError as error:
        return [f"{path} is not JSON before rendering: {error}."]
    found = [*_walk(definition, "the workflow"), *_expressions(definition, "")]
    return [f"{path}: {problem}" for problem in [*found, *_schema(definition)]]


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


def _schema(definition: dict[str, Any]) -> list[str]:
    text = _PLACEHOLDER.sub(
        lambda match: "aws" if match["name"] == "partition" else match["name"], json.dumps(definition)
    )
    template = {
        "AWSTemplateFormatVersion": "2010-09-09",
        "Resources": {
            "Pipeline": {
                "Type": "AWS::StepFunctions::StateMachine",
                "Properties": {
                    "RoleArn": "arn:aws:iam::123456789012:role/pipeline",
                    "Definition": json.loads(text),
                },
            }
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
        return [f"cfn-lint could not check it: {result.stderr.strip()}"]
    return [
        f"{'/'.join(map(str, match['Location']['Path'][4:]))}: {match['Message']} ({match['Rule']['Id']})"
        for match in json.loads(result.stdout or "[]")
    ]
