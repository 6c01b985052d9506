"""Each verb that looks, analyses again or goes back, on the deployed pipeline."""

from __future__ import annotations

import csv
import json
import signal
import subprocess
import sys
import uuid
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import pytest
from pyarrow import parquet

from localcloud.cloud import REPOSITORY
from operations.records import ATTRIBUTES
from tests.integration.operating import Operator, environment, make
from tests.integration.pipeline import COFFEE, PORTRAIT, DeployedPipeline, Notifications
from tests.locales import latin_1

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from localcloud.stack import Stack

NO_PHOTO = (REPOSITORY / "samples" / "not-a-photo.jpg").read_bytes()


@dataclass(frozen=True)
class Photos:
    """Uploads these tests share, by their outcome: ImageIDs. `before` is the status without them."""

    folder: str
    face: str
    no_face: str
    rejected: str
    again: str
    before: dict[str, Any]

    def keys(self) -> list[str]:
        images = (self.face, self.no_face, self.rejected, self.again)
        return [image.rpartition("@")[0] for image in images]


@pytest.fixture(scope="module")
def pipeline(stack: Stack) -> DeployedPipeline:
    return DeployedPipeline(stack)


@pytest.fixture(scope="module")
def operator(pipeline: DeployedPipeline) -> Operator:
    return Operator(pipeline.deployment)


@pytest.fixture(scope="module")
def photos(pipeline: DeployedPipeline, operator: Operator) -> Photos:
    pipeline.empty_queue()
    before = operator.json("status")
    folder = f"operations/{uuid.uuid4().hex}/"
    odd = f"{folder}[/bold] a+b%20'`x`$.jpg"

    def upload(key: str, seed: bytes) -> str:
        image = pipeline.stack.upload(key, pipeline.photo(seed))
        pipeline.finished(pipeline.record(image)["ExecutionId"])
        return image

    face = upload(f"{folder}face.jpg", PORTRAIT)
    no_face, rejected = upload(odd, COFFEE), upload(f"{folder}text.jpg", NO_PHOTO)
    again = upload(f"{folder}face.jpg", PORTRAIT)
    return Photos(folder, face, no_face, rejected, again, before)


# What the verbs are asked for, as a user at a shell.


def test_every_verb_answers_through_make(stack: Stack, photos: Photos) -> None:
    asked: list[tuple[str, dict[str, str]]] = [
        ("status", {}),
        ("results", {"KEY": f"{photos.folder}face.jpg"}),
        ("watch", {"SECONDS": "0.1"}),
        ("cost", {}),
        ("backfill", {"PREFIX": photos.folder}),
    ]

    def answer(asking: tuple[str, dict[str, str]]) -> subprocess.CompletedProcess[str]:
        return make(stack.cloud, asking[0], ENV="local", JSON="1", **asking[1])

    # Two at once: most of it is Python starting.
    with ThreadPoolExecutor(2) as pool:
        results = dict(zip([verb for verb, _ in asked], pool.map(answer, asked), strict=True))
    for verb, result in results.items():
        assert (result.returncode, result.stderr) == (0, ""), verb
    status = json.loads(results["status"].stdout)
    assert status["environment"] == "local"
    assert [one["FaceCount"] for one in json.loads(results["results"].stdout)] == [1, 1]
    seen = [json.loads(line)["key"] for line in results["watch"].stdout.splitlines()]
    assert set(photos.keys()) <= set(seen)
    assert json.loads(results["cost"].stdout)["total"] > 100
    assert json.loads(results["backfill"].stdout)["started"] is False


def test_status_counts_executions_and_outcomes(operator: Operator, photos: Photos) -> None:
    before, after = photos.before, operator.json("status")

    def more(group: str, name: str) -> int:
        return int(after[group].get(name, 0)) - int(before[group].get(name, 0))

    # Other tests' executions may still have been on their way.
    started = sum(more("executions", name) for name in ("SUCCEEDED", "RUNNING"))
    assert started == 4
    assert [more("outcomes", name) for name in ("face_detected", "no_face", "rejected")] == [2, 1, 1]
    assert more("rejected_reasons", "unsupported_format") == 1
    assert 0 < after["latency"]["p50"] <= after["latency"]["p95"]


def test_status_reports_failures_dead_letters_and_alarms(
    pipeline: DeployedPipeline, operator: Operator
) -> None:
    pipeline.empty_queue()
    before = operator.json("status")
    execution = pipeline.start(pipeline.created("operations/stopped.jpg@e1"))
    pipeline.states.stop_execution(executionArn=execution, error="Stopped", cause="[/by] hand\nfor once")
    pipeline.park(json.dumps(pipeline.created("operations/parked.jpg@e1")), ERROR_CODE="NO_PERMISSIONS")
    alarm, silent = (f"photo-analysis-local-{kind}" for kind in ("executions-failed", "events-lost"))
    cloudwatch = pipeline.stack.client("cloudwatch")
    cloudwatch.set_alarm_state(AlarmName=alarm, StateValue="ALARM", StateReason="a test")
    try:
        after, shown = operator.json("status"), operator.run("status").stdout
    finally:
        cloudwatch.set_alarm_state(AlarmName=alarm, StateValue="OK", StateReason="a test")
        pipeline.empty_queue()

    assert not after["healthy"]
    assert after["executions"]["ABORTED"] == before["executions"]["ABORTED"] + 1
    [failure] = [one for one in after["failures"] if one["cause"] == "[/by] hand for once"]
    assert (failure["error"], failure["count"]) == ("Stopped", 1)
    assert after["dead_letters"]["count"] == 1
    assert after["dead_letters"]["oldest_seconds"] < 60
    assert [one["error"] for one in after["dead_letters"]["reasons"]] == ["NO_PERMISSIONS"]
    assert [one["name"] for one in after["alarms"]] == [alarm]
    assert silent not in shown
    for text in ("needs a look", "[/by] hand for once", "NO_PERMISSIONS", alarm, "#executions-failed"):
        assert text in shown
    assert operator.json("status")["alarms"] == []


# results


def test_results_of_a_key_are_newest_first(operator: Operator, photos: Photos) -> None:
    key = f"{photos.folder}face.jpg"
    found = operator.json("results", key)
    assert [one["ImageID"] for one in found] == [photos.again, photos.face]
    assert "OutcomeDay" not in found[0]
    lines = operator.run("results", key).stdout.splitlines()
    assert len(lines) == 3
    assert len({line.index(key) for line in lines[1:]} | {lines[0].index("Key")}) == 1, "unaligned"


def test_results_of_an_outcome_and_day(operator: Operator, photos: Photos) -> None:
    today = datetime.now(UTC).date().isoformat()
    found = operator.json("results", "--outcome", "rejected", "--day", today, "--limit", "1000")
    assert photos.rejected in [one["ImageID"] for one in found]
    assert {one["Outcome"] for one in found} == {"rejected"}
    stamps = [one["Timestamp"] for one in found]
    assert stamps == sorted(stamps, reverse=True)
    assert operator.json("results", "--outcome", "rejected", "--day", "2020-02-29") == []
    odd = operator.run("results", "--outcome", "no_face", "--limit", "1000").stdout
    assert photos.no_face.rpartition("@")[0] in odd


def test_results_say_that_there_are_more_only_when_there_are(operator: Operator, photos: Photos) -> None:
    key = f"{photos.folder}face.jpg"
    assert operator.run("results", key, "--limit", "2").stderr == ""
    one = operator.run("results", key, "--limit", "1")
    assert len(one.stdout.splitlines()) == 2
    assert one.stderr == "Only the newest 1 are shown; --limit shows more.\n"


def test_results_with_faces_hold_where_they_are(operator: Operator, photos: Photos) -> None:
    [found] = operator.json("results", f"{photos.folder}face.jpg", "--limit", "1", "--faces")
    [face] = json.loads(found["FaceDetails"])
    assert {"BoundingBox", "Confidence"} <= face.keys()


@pytest.mark.parametrize("ending", ["csv", "jsonl", "parquet"])
def test_an_export_holds_the_whole_table(
    ending: str, pipeline: DeployedPipeline, operator: Operator, photos: Photos, tmp_path: Path
) -> None:
    path = tmp_path / f"results.{ending}"
    result = operator.run("results", "--export", str(path))
    assert result.exit_code == 0
    rows: list[dict[str, Any]]
    if ending == "csv":
        with path.open(encoding="utf-8", newline="") as file:
            rows = list(csv.DictReader(file))
    elif ending == "jsonl":
        rows = [json.loads(line) for line in path.read_text("utf-8").splitlines()]
    else:
        rows = parquet.read_table(path).to_pylist()
    count = pipeline.stack.client("dynamodb").scan(TableName=pipeline.deployment.table, Select="COUNT")[
        "Count"
    ]
    assert len(rows) == count
    assert result.stdout == f"Wrote {count:,} records to {path}.\n"
    [row] = [one for one in rows if one["ImageID"] == photos.face]
    assert [*row] == [*ATTRIBUTES]
    assert (row["Outcome"], str(row["FaceCount"])) == ("face_detected", "1")
    assert json.loads(row["FaceDetails"])


def test_an_export_can_be_of_one_question(operator: Operator, photos: Photos, tmp_path: Path) -> None:
    path = tmp_path / "results.csv"
    report = operator.json("results", f"{photos.folder}face.jpg", "--export", str(path))
    assert report == {"file": str(path), "records": 2, "unknown": []}


# watch


def test_watch_shows_an_upload_on_its_way_and_ends_with_ctrl_c(pipeline: DeployedPipeline) -> None:
    with subprocess.Popen(
        [sys.executable, "-m", "operations", "watch", "--json"],
        cwd=REPOSITORY,
        env=environment(pipeline.stack.cloud),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout
        assert process.stderr
        try:
            # Any upload of the last minute shows that it is watching.
            key = pipeline.key("watched.jpg")
            image = pipeline.stack.upload(key, pipeline.photo())
            line = next(one for one in map(json.loads, process.stdout) if one["key"] == key)
            process.send_signal(signal.SIGINT)
            assert process.wait(timeout=10) == 0
            assert process.stderr.read() == ""
        finally:
            process.kill()
    assert (line["status"], line["outcome"], line["faces"]) == ("SUCCEEDED", "face_detected", 1)
    assert line["execution"] == pipeline.record(image)["ExecutionId"]


def test_watch_reports_duplicates_folders_and_reanalysed_photos(
    pipeline: DeployedPipeline, operator: Operator, photos: Photos
) -> None:
    first = pipeline.record(photos.rejected)["ExecutionId"]
    pipeline.finished(pipeline.start(pipeline.created(photos.rejected)))
    marker = pipeline.created(f"{photos.folder}@e1")
    marker["detail"]["object"]["size"] = 0
    pipeline.finished(pipeline.start(marker))
    operator.json("reprocess", photos.rejected.rpartition("@")[0], "--quiet")
    result = operator.run("watch", "--json", "--seconds", "0.1")
    lines = [json.loads(line) for line in result.stdout.splitlines()]
    mine = {one["execution"]: one for one in lines if one["key"].startswith(photos.folder)}
    outcomes = [one["outcome"] for one in mine.values() if one["key"].endswith("/text.jpg")]
    assert sorted(outcomes) == ["analysed again since", "duplicate", "rejected"]
    assert mine[first]["outcome"] == "analysed again since"
    assert [one["outcome"] for one in mine.values() if one["key"] == photos.folder] == ["folder"]


# reprocess


def test_reprocess_analyses_replaces_and_notifies_again(
    pipeline: DeployedPipeline, operator: Operator, photos: Photos, notifications: Notifications
) -> None:
    key = f"{photos.folder}face.jpg"
    asked, before = pipeline.calls(key), pipeline.record(photos.again)
    report = operator.json("reprocess", key)
    after = pipeline.record(photos.again)
    assert pipeline.calls(key) == asked + 1
    assert report["before"]["ExecutionId"] == before["ExecutionId"] != after["ExecutionId"]
    assert report["after"]["ExecutionId"] == after["ExecutionId"]
    assert after["Timestamp"] > before["Timestamp"]
    assert len(notifications(photos.again, settle=0.3)) == 1
    assert len(operator.json("results", key)) == 2, "its other upload's record stays"

    shown = operator.run("reprocess", key, "--quiet").stdout.splitlines()
    assert [line[:22] for line in shown] == ["Before: face_detected ", "Now:    face_detected "]
    assert notifications(photos.again, settle=0.3, timeout=0.5) != []
    assert len(notifications(photos.again, settle=0.0)) == 1, "--quiet notifies nobody"


# cost


def test_cost_takes_durations_from_what_was_measured(pipeline: DeployedPipeline) -> None:
    name = pipeline.stack.outputs["function_names"]["process_image"]
    pipeline.stack.client("cloudwatch").put_metric_data(
        Namespace="AWS/Lambda",
        MetricData=[
            {
                "MetricName": "Duration",
                "Dimensions": [{"Name": "FunctionName", "Value": name}],
                "Value": 250.0,
                "Unit": "Milliseconds",
            }
        ],
    )
    result = make(pipeline.stack.cloud, "cost", ENV="local", IMAGES="1000000", JSON="1")
    report = json.loads(result.stdout)
    assert report["measured"] == {"process_image_seconds": 0.25}
    [line] = [one for one in report["lines"] if one["what"].startswith("process_image")]
    assert line["quantity"] == pytest.approx(1_000_000 * 0.25 * 512 / 1024)
    assert "measured over the last 14 days" in report["notes"][0]


# rollback


@pytest.fixture
def second_version(pipeline: DeployedPipeline) -> Iterator[str]:
    """Another version of ProcessImage behind the alias; its number."""
    client, name = pipeline.stack.client("lambda"), pipeline.stack.outputs["function_names"]["process_image"]
    usual = client.get_alias(FunctionName=name, Name="live")["FunctionVersion"]
    description = client.get_function_configuration(FunctionName=name)["Description"]
    client.update_function_configuration(FunctionName=name, Description="a second version")
    version = str(client.publish_version(FunctionName=name)["Version"])
    client.update_alias(FunctionName=name, Name="live", FunctionVersion=version)
    yield version
    client.update_alias(FunctionName=name, Name="live", FunctionVersion=usual)
    client.update_function_configuration(FunctionName=name, Description=description)
    client.delete_function(FunctionName=name, Qualifier=version)


def test_rollback_moves_the_alias_at_once_and_back(
    pipeline: DeployedPipeline, operator: Operator, second_version: str
) -> None:
    client, name = pipeline.stack.client("lambda"), pipeline.stack.outputs["function_names"]["process_image"]

    def live() -> str:
        return str(client.get_alias(FunctionName=name, Name="live")["FunctionVersion"])

    report = operator.json("rollback", "process_image")
    assert (report["from"], report["done"]) == (int(second_version), False)
    before = str(report["to"])
    assert int(before) < int(second_version)
    seen = operator.run("rollback", "process_image")
    assert "Nothing is changed" in seen.stdout
    assert live() == second_version

    done = operator.run("rollback", "process_image", "--confirm")
    assert live() == before
    assert "'live' is here now" in done.stdout
    assert "moves it forward again" in done.stdout
    assert f"FUNCTION=process_image TO={second_version}" in done.stdout
    image = pipeline.stack.upload(pipeline.key(), pipeline.photo())
    assert pipeline.record(image)["Outcome"] == "face_detected", "the version before does the work"

    assert operator.json("rollback", "process_image", "--to", second_version)["details"][-1]["rolled_back"]
    there = operator.json("rollback", "process_image", "--to", second_version, "--confirm")
    assert (there["to"], there["done"]) == (int(second_version), True)
    assert live() == second_version


def test_every_verb_that_prints_keys_does_on_a_latin_1_terminal(
    pipeline: DeployedPipeline, tmp_path: Path
) -> None:
    folder = f"latin/{uuid.uuid4().hex}/"
    key, other = f"{folder}ñandú\x9b.jpg", f"{folder}\u202e\N{GRINNING FACE}.jpg"
    typed = key.encode("latin-1")
    images = [pipeline.stack.upload(one, pipeline.photo(COFFEE)) for one in (key, other)]
    for image in images:
        pipeline.finished(pipeline.record(image)["ExecutionId"])
        pipeline.park(
            json.dumps(pipeline.created(image)), ERROR_CODE="LATIN", ERROR_MESSAGE="grün \N{GRINNING FACE}"
        )
    terminal = environment(pipeline.stack.cloud) | latin_1(tmp_path)
    asked: list[tuple[str | bytes, ...]] = [
        ("results", typed),
        ("results", typed, "--json"),
        ("results", "--export", str(tmp_path / "results.csv")),
        ("trace", typed),
        ("logs", "--key", typed),
        ("logs",),
        ("watch", "--seconds", "0.1"),
        ("reprocess", typed, "--quiet"),
        ("redrive", "--key", typed),
        ("redrive",),
        ("audit", "--grace", "0"),
        ("erase", typed),
        ("status",),
    ]

    def answer(asking: tuple[str | bytes, ...]) -> subprocess.CompletedProcess[bytes]:
        command = [sys.executable, "-m", "operations", *asking]
        return subprocess.run(command, cwd=REPOSITORY, env=terminal, capture_output=True, check=False)

    try:
        with ThreadPoolExecutor(2) as pool:
            results = list(pool.map(answer, asked))
    finally:
        pipeline.empty_queue()
    for asking, result in zip(asked, results, strict=True):
        said = result.stdout + result.stderr
        # The functions' log may hold other tests' tracebacks.
        assert b"Traceback" not in result.stderr, result.stderr.decode("latin-1")
        # Audit may have something of other tests' to report.
        assert result.returncode == 0 or asking[0] == "audit", said.decode("latin-1")
        assert b"\x9b" not in said, "the terminal would obey it"
        if typed in asking and "--json" not in asking and asking[0] not in ("reprocess", "trace"):
            assert "ñandú\\x9b.jpg".encode("latin-1") in said, asking[0]
    everything = results[asked.index(("redrive",))].stdout
    assert b"\\u202e\\U0001f600.jpg" in everything


# status
