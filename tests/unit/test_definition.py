"""What the workflows' definitions hold whatever they are rendered with."""

from __future__ import annotations

import json
from typing import Any, Literal

import pytest
from jsonata import Jsonata

from tests.definition import FOLDER, pipeline
from tools import asl

STATES = pipeline()["States"]
BACKFILL = json.loads((FOLDER / "backfill.asl.json").read_text("utf-8"))["States"]["EachObject"]
FAILED = BACKFILL["ItemProcessor"]["States"]["Failed"]


def evaluated(expression: str, **states: object) -> Any:
    """A `{% ... %}` of a definition with `$states` bound."""
    compiled = Jsonata(expression.removeprefix("{%").removesuffix("%}"))
    frame = compiled.create_frame()
    frame.bind("states", states)
    return compiled.evaluate(None, frame)


@pytest.mark.parametrize("workflow_type", ["STANDARD", "EXPRESS"])
def test_the_workflow_is_sound_with_its_retriers(workflow_type: Literal["STANDARD", "EXPRESS"]) -> None:
    assert asl.problems({"pipeline": json.dumps(pipeline(workflow_type))}) == []


def test_no_state_that_cannot_park_the_event_evaluates_anything() -> None:
    assert STATES[pipeline()["StartAt"]]["Catch"][0]["Next"] == "Park"
    ends = ("Fail", "Succeed")
    bare = [state for state in STATES.values() if "Catch" not in state and state["Type"] not in ends]
    assert bare, "the choice whether people are notified"
    assert "{%" not in json.dumps(bare)
    assert not [state for state in bare if state.get("QueryLanguage") == "JSONata"]


@pytest.mark.parametrize(
    ("answer", "notify"),
    [
        ({"duplicate": False, "notify": True}, True),
        ({"duplicate": False, "notify": False}, False),
        ({"duplicate": False}, True),
        ({"duplicate": True}, False),
        ({}, True),
    ],
    ids=json.dumps,
)
def test_the_notification_is_decided_whatever_version_of_the_function_responds(
    answer: dict[str, Any], notify: bool
) -> None:
    output = evaluated(STATES["ProcessImage"]["Output"], result={"Payload": answer})
    assert output == {**answer, "notify": notify}


def test_send_notification_learns_how_often_it_was_tried() -> None:
    payload = evaluated(
        STATES["SendNotification"]["Arguments"]["Payload"],
        input={"image_id": "a@b"},
        context={"State": {"RetryCount": 2}},
    )
    assert payload == {"image_id": "a@b", "retry_count": 2}


@pytest.mark.parametrize(
    ("given", "error", "cause"),
    [
        ({"Error": "States.Timeout", "Cause": "late"}, "States.Timeout", "late"),
        ({}, "Unknown", "none given"),
    ],
)
def test_a_backfill_s_failure_is_reported_though_it_has_no_name(
    given: dict[str, str], error: str, cause: str
) -> None:
    assert (evaluated(FAILED["Error"], input=given), evaluated(FAILED["Cause"], input=given)) == (
        error,
        cause,
    )
