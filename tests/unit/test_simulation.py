"""The simulation: the flow agrees with the exact one, and the design keeps what it promises at any size."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest
from click.testing import CliRunner

from benchmarks import exact, flow
from benchmarks.__main__ import main
from benchmarks.drain import Here
from benchmarks.scenario import RETRIES, Scenario, facts
from benchmarks.simulate import MEASURED
from operations.program import ROOT

if TYPE_CHECKING:
    from pathlib import Path

BUFFERED = Scenario(100_000, "buffered")


@pytest.mark.parametrize(
    "scenario",
    [
        Scenario(100_000, "direct", "EXPRESS"),
        BUFFERED,
        replace(BUFFERED, photos=20_000, photos_per_day=10_000),
        # Without a reservation it is Rekognition that turns photos away.
        Scenario(20_000, "direct", concurrency=None),
        Scenario(20_000, "direct", arrivals="day", rate=0.5),
    ],
    ids=lambda one: f"{one.mode}-{one.type}-{one.photos}-{one.arrivals}-{one.concurrency}",
)
@pytest.mark.timeout(300)
def test_the_flow_agrees_with_the_exact_simulation(scenario: Scenario) -> None:
    one, other = exact.simulate(scenario), flow.simulate(scenario)
    assert one.analysed + one.parked + one.timed_out == scenario.photos
    assert other.analysed + other.parked == pytest.approx(scenario.photos, rel=1e-3)
    assert other.parked == pytest.approx(one.parked, abs=0.01 * scenario.photos)
    assert other.drained == pytest.approx(one.drained, rel=0.02)
    assert other.attempts == pytest.approx(one.attempts, rel=0.05)
    assert other.waits["p50"] == pytest.approx(one.waits["p50"], rel=0.1, abs=0.5)


def test_a_million_at_fifty_a_second_park_nothing_and_use_the_quota_up() -> None:
    found = of(Scenario(1_000_000, "buffered", photos_per_second=50, concurrency=60))
    assert found["parked"] == 0
    assert found["quota_used"] >= 0.95
    assert found["retry_share"] < 0.01


def test_the_same_burst_unbuffered_parks_most_of_it() -> None:
    assert of(Scenario(100_000, "direct"))["parked"] > 50_000


# Prints the CPU seconds and the peak memory that a separate process takes for it.
TEN_MILLION = """
import pathlib, re, resource, time
from benchmarks import flow
from benchmarks.scenario import Scenario
flow.simulate(Scenario(10_000_000, "buffered"))
peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
status = pathlib.Path("/proc/self/status")
if status.exists():
    # Linux counts what the process was before it ran this program, too.
    peak = re.search(r"VmHWM:\\s+(\\d+)", status.read_text())[1]
print(time.process_time(), peak)
"""


def test_ten_million_take_under_a_minute_and_a_gigabyte() -> None:
    result = subprocess.run(
        [sys.executable, "-c", TEN_MILLION], cwd=ROOT, capture_output=True, text=True, check=True
    )
    seconds, peak = map(float, result.stdout.split())
    assert seconds < 60
    assert peak * (1 if sys.platform == "darwin" else 1024) < 1e9


def test_a_cap_spreads_a_backlog_over_days() -> None:
    found = of(Scenario(100_000, "buffered", photos_per_day=40_000))
    assert 2 * 86_400 < found["drained_seconds"] < 2 * 86_400 + 20_000 / 40


def test_the_retriers_are_the_deployed_workflows(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    patient = json.loads(RETRIES.read_text("utf-8"))
    for one in patient:
        if "Lambda.TooManyRequestsException" in one["ErrorEquals"]:
            one["MaxAttempts"] = 40
    changed = tmp_path / "retry.json"
    changed.write_text(json.dumps(patient), "utf-8")
    before = of(Scenario(30_000, "direct"))["parked"]
    monkeypatch.setattr("benchmarks.scenario.RETRIES", changed)
    assert before > 1000 > of(Scenario(30_000, "direct"))["parked"]


def test_arrivals_come_from_a_file_of_photos_a_second(tmp_path: Path) -> None:
    file = tmp_path / "arrivals.csv"
    file.write_text("second,photos\n0,10\n1,0\n2,30\n", "utf-8")
    assert list(Scenario(40, arrivals=str(file)).arriving(1.0)) == [10, 0, 30]


@pytest.mark.parametrize("text", ["", "second,photos\n", "a,b\nc,d\n", "0,-1\n"])
def test_invalid_arrivals_are_refused_in_a_sentence(tmp_path: Path, text: str) -> None:
    file = tmp_path / "arrivals.csv"
    file.write_text(text, "utf-8")
    answer = CliRunner().invoke(main, ["simulate", "--arrivals", str(file), "--images", "10"])
    assert answer.exit_code == 1
    assert answer.stderr.startswith("Error: ")
    assert answer.stderr.count("\n") == 1


def test_the_command_answers_for_people_and_for_programs() -> None:
    arguments = ["simulate", "--images", "500", "--mode", "buffered", "--type", "EXPRESS"]
    text = CliRunner().invoke(main, arguments).stdout
    (found,) = json.loads(CliRunner().invoke(main, [*arguments, "--json"]).stdout)
    assert "| 500 | buffered | EXPRESS |" in text
    assert (found["photos"], found["parked"], found["method"]) == (500, 0, "exact")


def test_a_cap_below_a_minute_is_refused() -> None:
    answer = CliRunner().invoke(main, ["simulate", "--images", "10", "--cap", "100"])
    assert answer.exit_code == 1
    assert "60 x 45 = 2700" in answer.stderr


def of(scenario: Scenario) -> dict[str, Any]:
    return facts(flow.simulate(scenario), scenario)


def test_a_drain_is_predicted_as_the_local_cloud_waits() -> None:
    here = Here(300, "direct", arrivals="steady", rate=12, rekognition_per_second=8)
    assert here.waits("ThrottlingException") == [2, 4, 8, 16, 32, 60]
    assert exact.simulate(here).waited % 2 == 0, "whole waits of 2, 4, 8 ... seconds"
    assert exact.simulate(replace(here, jitter=True)).waited % 2 != 0


def test_every_drain_was_measured_to_end_as_predicted() -> None:
    runs = json.loads(MEASURED.read_text("utf-8"))
    assert len({(one["mode"], one["type"]) for one in runs}) >= 3
    for one in runs:
        assert one["measured"] == pytest.approx(one["predicted"], rel=0.15), one
        # The SDK's own retry quota can save calls, not make more.
        assert one["calls"] <= 1.15 * one["predicted_calls"], one
        assert (one["parked"], one["lost"], one["doubled"]) == (one["predicted_parked"], 0, 0), one
