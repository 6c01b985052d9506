"""Watching: every image is reported once, whatever the rate; those without a name are counted."""

from __future__ import annotations

import io
import json
from collections import Counter
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest
from botocore.stub import Stubber
from rich.console import Console

from operations import records, watch
from operations.watch import MAX_DESCRIBED, Pipeline, TrackedImage
from tests.unit.pipeline import client

if TYPE_CHECKING:
    from collections.abc import Iterator

BEGIN = datetime.now(UTC) - timedelta(minutes=30)


class StateMachineTypeNotSupportedError(Exception):
    """The error the SDK has for a list of EXPRESS executions."""


@dataclass
class Run:
    """One execution. `fate`: an outcome, "duplicate", or an error; None never ends."""

    arn: str
    key: str
    started: datetime
    fate: str | None
    seconds: float

    def ended(self, now: datetime) -> datetime | None:
        end = self.started + timedelta(seconds=self.seconds)
        return end if self.fate and end <= now else None

    def status(self, now: datetime) -> str:
        if not self.ended(now):
            return "RUNNING"
        return "SUCCEEDED" if self.fate in (*records.OUTCOMES, "duplicate") else "FAILED"


@dataclass
class FakeWorkflow:
    """A workflow and its records at the moment `now`; fakes Step Functions and two queries of the table."""

    now: datetime = BEGIN
    runs: list[Run] = field(default_factory=list)
    described: int = 0
    environment: Any = field(default_factory=lambda: SimpleNamespace(name="dev"))
    state_machine_arn: str = "arn"
    exceptions = SimpleNamespace(StateMachineTypeNotSupported=StateMachineTypeNotSupportedError)

    def client(self, _: str) -> Any:
        return self

    def value(self, _: str) -> Any:
        return {"mode": "direct"}

    def start(self, at: float, fate: str | None = "face_detected", seconds: float = 3.0) -> Run:
        number = len(self.runs)
        run = Run(f"arn:{number}", f"{number}.jpg", BEGIN + timedelta(seconds=at), fate, seconds)
        self.runs.append(run)
        return run

    def _shown(self, run: Run) -> dict[str, Any]:
        shown = {"executionArn": run.arn, "startDate": run.started, "status": run.status(self.now)}
        return shown | ({"stopDate": run.ended(self.now)} if run.ended(self.now) else {})

    def get_paginator(self, _: str) -> Any:
        listed = [self._shown(run) for run in reversed(self.runs) if run.started <= self.now]
        pages = ({"executions": listed[at : at + 100]} for at in range(0, len(listed), 100))
        return SimpleNamespace(paginate=lambda **_: pages)

    def describe_execution(self, *, executionArn: str) -> dict[str, Any]:  # noqa: N803
        self.described += 1
        run = self.runs[int(executionArn.partition(":")[2])]
        stored = {"key": run.key, "etag": "e"}
        return self._shown(run) | {
            "input": json.dumps({"detail": {"object": stored}}),
            "output": json.dumps({"duplicate": run.fate == "duplicate"}),
            "error": "Lambda.Unknown",
            "cause": json.dumps({"errorMessage": "out of memory"}),
        }

    def by_outcome(self, _: object, outcome: str, day: str, *, since: datetime) -> Iterator[dict[str, Any]]:
        written = [
            run
            for run in reversed(self.runs)
            if run.fate == outcome
            and (end := run.ended(self.now))
            and end >= since
            and f"{end.date()}" == day
        ]
        for run in written:
            yield {"ExecutionId": run.arn, "Key": run.key, "FaceCount": 1, "Timestamp": f"{run.started}"}

    def watch(self, until: float, pipeline: Pipeline | None = None) -> tuple[Pipeline, list[TrackedImage]]:
        """Poll once a second until then; what was reported. No round calls Step Functions too often."""
        pipeline = pipeline or Pipeline(self, self.now)  # type: ignore[arg-type]
        reported: list[TrackedImage] = []
        while self.now < BEGIN + timedelta(seconds=until):
            self.now += timedelta(seconds=1)
            self.described = 0
            pipeline.look()
            reported += pipeline.report()
            assert self.described <= MAX_DESCRIBED
        return pipeline, reported


@pytest.fixture
def workflow(monkeypatch: pytest.MonkeyPatch) -> FakeWorkflow:
    made = FakeWorkflow()
    monkeypatch.setattr(records, "by_outcome", made.by_outcome)
    monkeypatch.setattr(records, "get", lambda *_: None)
    return made


def test_every_image_is_reported_once_at_twenty_a_second(workflow: FakeWorkflow) -> None:
    for number in range(600):
        fate = "Lambda.Unknown" if number % 60 == 7 else "duplicate" if number % 60 == 9 else "no_face"
        workflow.start(number / 21, fate, seconds=1 + number % 5)
    pipeline, reported = workflow.watch(until=60)
    assert Counter(one.key for one in reported) == Counter(run.key for run in workflow.runs)
    assert Counter(one.outcome for one in reported) == {
        "no_face": 580,
        "parked: Lambda.Unknown out of memory": 10,
        "duplicate": 10,
    }
    assert pipeline.shortfall() is None


def test_what_ends_faster_than_it_can_be_looked_up_is_reported_without_its_photo_and_counted(
    workflow: FakeWorkflow,
) -> None:
    for number in range(2_000):
        workflow.start(number / 300, "Lambda.Unknown")
    pipeline, reported = workflow.watch(until=20)
    reported += pipeline.report(last=True)
    assert Counter(one.execution for one in reported) == Counter(run.arn for run in workflow.runs)
    unnamed = [one for one in reported if not one.key]
    assert {(one.status, one.outcome) for one in unnamed} == {("FAILED", "not looked up")}
    assert len(reported) - len(unnamed) >= MAX_DESCRIBED * 17
    assert f"{len(unnamed):,} ended without being looked up" in str(pipeline.shortfall())


def test_an_execution_that_never_ends_causes_no_second_report_and_costs_no_memory(
    workflow: FakeWorkflow,
) -> None:
    workflow.start(0, None)
    for number in range(400):
        workflow.start(1 + number, "face_detected")
    pipeline, reported = workflow.watch(until=420)
    assert Counter(one.key for one in reported) == Counter(run.key for run in workflow.runs[1:])
    assert len(pipeline.seen) < 200
    workflow.runs[0].fate, workflow.runs[0].seconds = "Lambda.Unknown", 1
    _, [last] = workflow.watch(until=422, pipeline=pipeline)
    assert (last.key, last.outcome) == ("0.jpg", "parked: Lambda.Unknown out of memory")


def test_more_than_can_be_listed_is_reported(workflow: FakeWorkflow, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(watch, "MAX_LISTED", 100)
    for number in range(200):
        workflow.start(number / 1000)
    pipeline, _ = workflow.watch(until=1)
    assert "more than 100 started at once, so some are not shown" in str(pipeline.shortfall())


@pytest.mark.usefixtures("aws")
def test_an_express_workflow_s_images_are_reported_once_when_they_are_recorded(
    workflow: FakeWorkflow, monkeypatch: pytest.MonkeyPatch
) -> None:
    states = client("stepfunctions")
    with Stubber(states) as stub:
        # As AWS refuses it; the local workflow lists them.
        stub.add_client_error("list_executions", "StateMachineTypeNotSupported", "EXPRESS")
        monkeypatch.setattr(FakeWorkflow, "client", lambda *_: states)
        workflow.now = datetime.now(UTC)
        for number in range(30):
            workflow.start((workflow.now - BEGIN).total_seconds() - 40 + number, "rejected", seconds=1)
        pipeline = Pipeline(workflow, workflow.now - timedelta(minutes=1))  # type: ignore[arg-type]
        reported = []
        for _ in range(3):
            pipeline.look()
            reported += pipeline.report()
        stub.assert_no_pending_responses()
    assert [one.key for one in reported] == [run.key for run in workflow.runs]
    assert {(one.status, one.outcome, one.faces) for one in reported} == {("SUCCEEDED", "rejected", 1)}
    assert "30 recorded (EXPRESS: what is on the way or failed is not listed)" in shown(pipeline)


def shown(pipeline: Pipeline) -> str:
    console = Console(width=200, file=io.StringIO(), force_terminal=True)
    console.print(watch._screen(pipeline))
    file: io.StringIO = console.file  # type: ignore[assignment]
    return file.getvalue()


def test_the_screen_says_how_many_it_shows_and_obeys_no_key(workflow: FakeWorkflow) -> None:
    for number in range(50):
        workflow.start(number / 10, seconds=1)
    workflow.runs[-1].key = "\x1b]0;owned\x07[bold]\n.jpg"
    pipeline, _ = workflow.watch(until=10)
    text = shown(pipeline)
    assert "dev: 0 on the way, 50 done, the newest 20 shown" in text
    assert "\\x1b]0;owned\\x07[bold]\\n.jpg" in text
    assert "\x1b]0" not in text


def interrupted(
    workflow: FakeWorkflow, *, as_json: bool, capsys: pytest.CaptureFixture[str]
) -> tuple[str, str]:
    """What watching prints when Ctrl-C comes after a round."""
    workflow.now += timedelta(seconds=10)
    pipeline = Pipeline(workflow, BEGIN)  # type: ignore[arg-type]

    def rounds(*_: object, **__: object) -> Iterator[None]:
        pipeline.look()
        yield
        raise KeyboardInterrupt

    pipeline.rounds = rounds  # type: ignore[method-assign]
    with pytest.raises(KeyboardInterrupt):
        watch.show(pipeline, None, as_json=as_json)
    captured = capsys.readouterr()
    return captured.out, captured.err


def test_without_a_terminal_ctrl_c_leaves_a_whole_last_line(
    workflow: FakeWorkflow, capsys: pytest.CaptureFixture[str]
) -> None:
    workflow.start(0)
    out, err = interrupted(workflow, as_json=False, capsys=capsys)
    assert out.rstrip(" \n").endswith("0.jpg")
    assert out.endswith("\n")
    assert err == ""


def test_ctrl_c_reports_what_could_not_be_looked_up_yet(
    workflow: FakeWorkflow, capsys: pytest.CaptureFixture[str]
) -> None:
    for number in range(20):
        workflow.start(number / 10, "Lambda.Unknown")
    out, err = interrupted(workflow, as_json=True, capsys=capsys)
    assert len(out.splitlines()) == 20
    assert err == (
        "Of the images 8 ended without being looked up, so their photos are not named; 'make status' counts"
        " them all.\n"
    )
