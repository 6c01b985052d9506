"""The regression gate: counts exactly, ratios within their margins, seconds never."""

from __future__ import annotations

import copy
import json
from typing import Any

import pytest

from benchmarks import check, own


@pytest.fixture(scope="module")
def committed() -> dict[str, Any]:
    figures: dict[str, Any] = json.loads(check.FIGURES.read_text("utf-8"))
    return figures


def test_one_fresh_photo_takes_these_calls_and_no_others(committed: dict[str, Any]) -> None:
    assert committed["calls"] == {
        "dynamodb:GetItem": 1,
        "dynamodb:PutItem": 1,
        "dynamodb:UpdateItem": 1,
        "rekognition:DetectFaces": 1,
        "sns:Publish": 1,
    }
    assert committed["calls_buffered"] == {"dynamodb:UpdateItem": 0.1, "stepfunctions:StartExecution": 1.0}


def test_what_is_committed_is_what_the_code_does(committed: dict[str, Any]) -> None:
    measured = own.measure()
    assert measured["calls_per_photo"] == committed["calls"]
    assert measured["calls_per_buffered_photo"] == committed["calls_buffered"]


def test_equal_figures_are_no_problem(committed: dict[str, Any]) -> None:
    assert check.compare(committed, committed) == []


@pytest.mark.parametrize(
    ("kind", "name", "value", "said"),
    [
        ("calls", "dynamodb:GetItem", 2, "takes 2 dynamodb:GetItem, not 1"),
        ("calls", "s3:HeadObject", 1, "takes 1 s3:HeadObject, not 0"),
        ("own_ratio", "100", 99.0, "own time with 100 faces"),
        ("zip_bytes", "process_image", 99_999, "the zip of process_image has 99999 bytes"),
        ("own_import_share", "start_workflow", 0.5, "50.0% of importing start_workflow"),
    ],
)
def test_what_grew_is_named(committed: dict[str, Any], kind: str, name: str, value: float, said: str) -> None:
    worse = copy.deepcopy(committed)
    worse[kind][name] = value
    (problem,) = check.compare(worse, committed)
    assert said in problem
