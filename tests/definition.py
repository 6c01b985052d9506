"""The workflows' definitions as Terraform renders them, without Terraform."""

from __future__ import annotations

import json
from typing import Any, Literal

from operations.program import ROOT

FOLDER = ROOT / "modules" / "orchestration"


def retriers(workflow_type: Literal["STANDARD", "EXPRESS"] = "STANDARD") -> list[dict[str, Any]]:
    """retry.json for one type of workflow."""
    listed: list[dict[str, Any]] = json.loads((FOLDER / "retry.json").read_text("utf-8"))
    own = [retrier.pop("EXPRESS", {}) for retrier in listed]
    return [
        {**retrier, **(express if workflow_type == "EXPRESS" else {})}
        for retrier, express in zip(listed, own, strict=True)
    ]


def pipeline(
    workflow_type: Literal["STANDARD", "EXPRESS"] = "STANDARD", **placeholders: str
) -> dict[str, Any]:
    """pipeline.asl.json with its retriers, and with those placeholders filled in that are given."""
    text = (FOLDER / "pipeline.asl.json").read_text("utf-8")
    for name, value in placeholders.items():
        text = text.replace(f"${{{name}}}", value)
    machine: dict[str, Any] = json.loads(text)
    for name, state in machine["States"].items():
        if state["Type"] == "Task":
            state.setdefault("Retry", retriers(workflow_type))
        if name == "ConvertImage" and workflow_type == "EXPRESS":
            for retrier in state["Retry"]:
                retrier["MaxAttempts"] = min(retrier["MaxAttempts"], 2)
    return machine


def longest_waits(retrier: dict[str, Any]) -> list[float]:
    """Seconds before each further attempt at the most; with full jitter they are half of it on average.

    https://docs.aws.amazon.com/step-functions/latest/dg/concepts-error-handling.html
    """
    return [
        min(
            retrier["IntervalSeconds"] * retrier["BackoffRate"] ** attempt,
            retrier.get("MaxDelaySeconds", float("inf")),
        )
        for attempt in range(retrier["MaxAttempts"])
    ]
