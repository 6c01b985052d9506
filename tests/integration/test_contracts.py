"""The workflows' definitions against asl-validator and the reference implementation of JSONata."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from typing import TYPE_CHECKING, Any

import pytest

from operations.program import ROOT
from tests import npm
from tests.definition import FOLDER, pipeline

if TYPE_CHECKING:
    from collections.abc import Iterator

ODD_KEYS = json.loads((ROOT / "tests" / "events" / "odd_keys.json").read_text("utf-8"))
EXECUTION = "arn:aws:states:us-east-1:111122223333:execution:pipeline:e1"
EVENT = {"detail": {"object": {"key": "photos/anna.jpg"}}}


@pytest.fixture(scope="module")
def ask() -> Any:
    """`ask(definitions=[...], expressions=[(text, variables), ...])`: what they say of them."""
    npm.packages()
    node = shutil.which("node")
    if node is None:
        npm.missing("There is no node")

    def answer(**asked: Any) -> dict[str, Any]:
        result = subprocess.run(
            [node, str(npm.NODE / "contracts.js")],
            input=json.dumps({"definitions": [], "expressions": []} | asked),
            capture_output=True,
            text=True,
            check=False,
        )
        assert result.returncode == 0, result.stderr
        answered: dict[str, Any] = json.loads(result.stdout)
        return answered

    return answer


def backfill() -> dict[str, Any]:
    text = (FOLDER / "backfill.asl.json").read_text("utf-8").replace("${partition}", "aws")
    loaded: dict[str, Any] = json.loads(text)
    return loaded


def expressions(value: object) -> Iterator[str]:
    if isinstance(value, dict):
        for item in value.values():
            yield from expressions(item)
    elif isinstance(value, list):
        for item in value:
            yield from expressions(item)
    elif isinstance(value, str) and value.startswith("{%"):
        yield value[2:-2].strip()


def variables(**states: Any) -> dict[str, Any]:
    """What Step Functions binds, in an execution that Lambda.Unknown has failed."""
    error = {"Error": "Lambda.Unknown", "Cause": "The worker is gone"}
    context = {"Execution": {"Id": EXECUTION, "Input": EVENT}, "State": {"RetryCount": 2}}
    result = {"Status": "SUCCEEDED", "Payload": {"outcome": "no_face", "duplicate": False}}
    plain = {"input": error, "errorOutput": error, "context": context, "result": result}
    return {"states": plain | states, "error": error}


def definitions() -> list[dict[str, Any]]:
    return [pipeline("STANDARD", partition="aws"), pipeline("EXPRESS", partition="aws"), backfill()]


def test_the_definitions_fit_the_schema(ask: Any) -> None:
    assert ask(definitions=definitions())["problems"] == [[], [], []]


def test_a_misspelt_field_is_found(ask: Any) -> None:
    wrong = pipeline("STANDARD", partition="aws")
    wrong["States"]["Park"]["Nxt"] = wrong["States"]["Park"].pop("Next")
    [problems] = ask(definitions=[wrong])["problems"]
    assert problems


def test_every_expression_has_a_value(ask: Any) -> None:
    found = [(text, variables()) for one in definitions() for text in expressions(one)]
    # In the pipeline `error` is what a Catch assigned; in the backfill it is JSONata's function.
    found = [(text, known if "$error(" not in text else {"states": known["states"]}) for text, known in found]
    assert len(found) > 20
    values = ask(expressions=found)["values"]
    assert [text for (text, _), value in zip(found, values, strict=True) if value is None] == []


@pytest.mark.parametrize("duplicate", [True, False])
def test_a_duplicate_is_not_notified(ask: Any, duplicate: bool) -> None:
    result = {"Payload": {"outcome": "no_face", "duplicate": duplicate}}
    [text] = {text for text in expressions(pipeline()) if "$states.result.Payload.duplicate" in text}
    [value] = ask(expressions=[(text, variables(result=result))])["values"]
    assert value == result["Payload"] | {"notify": not duplicate}


def test_every_odd_key_is_parked_exactly(ask: Any) -> None:
    body = pipeline()["States"]["Park"]["Arguments"]["MessageBody"][2:-2]
    keys = [*ODD_KEYS, "photos/\ufffe\\ufffe\uffff"]
    events = [{"detail": {"object": {"key": key}}} for key in keys]
    asked = [
        (body, variables(context={"Execution": {"Input": event | {"redriven_from": ["first"]}}}))
        for event in events
    ]
    parked = ask(expressions=asked)["values"]
    assert [json.loads(one) for one in parked] == events
    assert all(re.fullmatch(r"[\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]+", one) for one in parked)
