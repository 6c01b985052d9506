"""Photos that were there before, on the deployed pipeline."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import pytest

from localcloud.cloud import REPOSITORY
from operations import bulk
from tests.integration.operating import Operator, environment
from tests.integration.pipeline import COFFEE, DeployedPipeline

if TYPE_CHECKING:
    from collections.abc import Iterator

    from localcloud.stack import Stack, Subscription

# As environments/local.tfvars has it: half of ProcessImage's.
CONCURRENCY = 2


@pytest.fixture
def pipeline(stack: Stack) -> Iterator[DeployedPipeline]:
    pipeline = DeployedPipeline(stack)
    yield pipeline
    pipeline.heal_rekognition()
    pipeline.empty_queue()


@pytest.fixture
def operator(pipeline: DeployedPipeline) -> Operator:
    return Operator(pipeline.deployment)


def seed(pipeline: DeployedPipeline, count: int) -> tuple[str, list[str]]:
    """Photos nothing was started for: their folder and ImageIDs."""
    folder = pipeline.key("")
    with pipeline.paused():
        images = [
            pipeline.stack.upload(f"{folder}{number}.jpg", pipeline.photo(COFFEE)) for number in range(count)
        ]
    return folder, images


def start(pipeline: DeployedPipeline, folder: str, images: list[str]) -> str:
    """The backfill of `folder`, started by another user."""
    events = [pipeline.created(image) | {"notify": False} for image in images]
    return bulk.start(pipeline.deployment, f"Backfill of '{folder}'", events)


def runs(pipeline: DeployedPipeline) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = pipeline.states.list_executions(
        stateMachineArn=pipeline.stack.outputs["backfill_state_machine_arn"]
    )["executions"]
    return found


def notified(subscription: Subscription, images: list[str]) -> list[str]:
    return [one.image_id for one in subscription.receive() if one.image_id in images]


def key(image: str) -> str:
    return image.rpartition("@")[0]


def most_at_once(pipeline: DeployedPipeline, folder: str) -> int:
    """How many of the workflow's executions for keys in `folder` ever ran at the same time."""
    pages = pipeline.states.list_executions(
        stateMachineArn=pipeline.deployment.state_machine_arn, maxResults=60
    )
    moments: list[tuple[Any, int]] = []
    for one in pages["executions"]:
        if pipeline.event(one["executionArn"])["detail"]["object"]["key"].startswith(folder):
            moments += [(one["startDate"], 1), (one["stopDate"], -1)]
    running = most = 0
    for _, step in sorted(moments):
        running += step
        most = max(most, running)
    return most


def test_a_backfill_counts_first_then_analyses_new_photos_and_notifies_nobody(
    pipeline: DeployedPipeline, operator: Operator, subscription: Subscription
) -> None:
    folder, images = seed(pipeline, 6)
    pipeline.stack.client("s3").put_object(Bucket=pipeline.stack.bucket, Key=f"{folder}marker/", Body=b"")
    recorded, new = images[:2], images[2:]
    for image in recorded:
        pipeline.finished(pipeline.start(pipeline.created(image) | {"notify": False}))
    before = [pipeline.record(image) for image in recorded]
    already = len(runs(pipeline))

    seen = operator.json("backfill", folder)
    assert (seen["photos"], seen["new"], seen["started"]) == (6, 4, False)
    assert seen["concurrency"] == CONCURRENCY
    assert seen["estimated_seconds"] > 0
    shown = operator.run("backfill", folder).stdout.splitlines()
    assert [line.split()[-1] for line in shown[1:5]] == ["2", "4", "0", "2"]
    assert shown[-1] == "Nothing is started yet; CONFIRM=1 starts it."
    assert len(runs(pipeline)) == already, "looking starts nothing"
    assert [pipeline.calls(key(image)) for image in images] == [1, 1, 0, 0, 0, 0]

    done = operator.json("backfill", folder, "--confirm")
    assert (done["succeeded"], done["failed"], done["started"]) == (4, 0, True), "recorded ones start nothing"
    assert [pipeline.calls(key(image)) for image in images] == [1] * 6, "recorded ones are not paid for again"
    assert [pipeline.record(image) for image in recorded] == before
    assert {pipeline.record(image)["Outcome"] for image in new} == {"no_face"}
    assert most_at_once(pipeline, folder) == CONCURRENCY

    already = len(runs(pipeline))
    again = operator.run("backfill", folder, "--confirm")
    assert (again.exit_code, again.stderr) == (0, "")
    assert len(runs(pipeline)) == already, "with nothing new nothing is started"
    assert again.stdout.splitlines()[-1] == f"Done: every photo under '{folder}' has a record."
    assert [pipeline.calls(key(image)) for image in images] == [1] * 6
    assert notified(subscription, images) == []


def test_a_backfill_notifies_when_requested(
    pipeline: DeployedPipeline, operator: Operator, subscription: Subscription
) -> None:
    folder, images = seed(pipeline, 2)
    operator.json("backfill", folder, "--confirm", "--notify")
    found: list[str] = []

    def all_notified() -> bool:
        found.extend(notified(subscription, images))
        return len(found) >= len(images)

    pipeline.eventually(all_notified, "the notifications")
    assert sorted(found) == sorted(images)


def test_ctrl_c_stops_a_backfill_and_running_it_again_continues(
    pipeline: DeployedPipeline, operator: Operator
) -> None:
    folder, images = seed(pipeline, 6)
    pipeline.rekognition(delay_seconds=0.4, count=-1)
    already = len(runs(pipeline))
    with subprocess.Popen(
        [sys.executable, "-m", "operations", "backfill", folder, "--confirm"],
        cwd=REPOSITORY,
        env=environment(pipeline.stack.cloud),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        try:
            pipeline.eventually(lambda: pipeline.stack.record(images[0]), "the first record")
            process.send_signal(signal.SIGINT)
            _, errors = process.communicate(timeout=30)
        finally:
            process.kill()
    assert process.returncode == 130
    assert "run it again to go on, recorded ones are skipped." in errors
    assert "Traceback" not in errors
    stopped = runs(pipeline)[0]
    assert (stopped["status"], len(runs(pipeline))) == ("ABORTED", already + 1)
    # What is said to be stopped starts nothing more: the local cloud's map, which goes on, is waited for.
    recorded = [pipeline.stack.record(image) for image in images]
    time.sleep(1.5)
    assert [pipeline.stack.record(image) for image in images] == recorded

    pipeline.heal_rekognition()
    late = pipeline.stack.upload(f"{folder}late.jpg", pipeline.photo(COFFEE))
    pipeline.finished(pipeline.record(late)["ExecutionId"])
    operator.json("backfill", folder, "--confirm")
    assert all(pipeline.stack.record(image) for image in images)
    assert pipeline.calls(key(images[0])) == 1


def test_a_stopped_backfill_that_still_runs_is_followed_not_started_twice(
    pipeline: DeployedPipeline, operator: Operator
) -> None:
    folder, images = seed(pipeline, 8)
    other, _ = seed(pipeline, 1)
    pipeline.rekognition(delay_seconds=0.7, count=-1)
    execution = start(pipeline, folder, images)
    pipeline.eventually(lambda: pipeline.stack.record(images[0]), "the first record")
    pipeline.states.stop_execution(executionArn=execution)
    already = len(runs(pipeline))
    assert (
        f"This is running already: Backfill of '{folder}'."
        in operator.run("backfill", other, "--confirm").stderr
    )
    followed = operator.run("backfill", folder, "--confirm")
    assert "It is running already; following it." in followed.stdout
    assert "ended ABORTED" in followed.stderr
    assert len(runs(pipeline)) == already
    assert most_at_once(pipeline, folder) == CONCURRENCY
    assert [pipeline.calls(key(image)) for image in images] == [1] * 8


def test_a_backfill_that_runs_is_followed_and_another_one_waits(
    pipeline: DeployedPipeline, operator: Operator
) -> None:
    folder, images = seed(pipeline, 4)
    other, _ = seed(pipeline, 1)
    pipeline.rekognition(delay_seconds=0.7, count=-1)
    execution = start(pipeline, folder, images)
    already = len(runs(pipeline))
    refusal = operator.run("backfill", other, "--confirm")
    assert refusal.exit_code == 1
    assert f"This is running already: Backfill of '{folder}'. Wait for it" in refusal.stderr
    assert operator.run("backfill", other).exit_code == 0, "counting needs no waiting"
    joined = operator.run("backfill", folder, "--confirm")
    assert joined.exit_code == 0
    assert "It is running already; following it." in joined.stdout
    assert len(runs(pipeline)) == already
    assert pipeline.finished(execution)["status"] == "SUCCEEDED"
    assert [pipeline.calls(key(image)) for image in images] == [1] * 4


def fail_execution(pipeline: DeployedPipeline, image: str) -> None:
    """End the photo's execution as if it had run out of time; its own retries would take theirs."""
    [failing] = pipeline.eventually(lambda: pipeline.executions(key(image)), "its execution")
    pipeline.states.stop_execution(executionArn=failing, error="Stopped", cause="a test")


def test_a_photo_that_fails_is_reported_and_the_others_go_on(
    pipeline: DeployedPipeline, operator: Operator
) -> None:
    folder, images = seed(pipeline, 3)
    pipeline.rekognition(delay_seconds=4, count=1, key=key(images[0]))
    with ThreadPoolExecutor(1) as pool:
        stopped = pool.submit(fail_execution, pipeline, images[0])
        result = operator.run("backfill", folder, "--confirm", "--json")
    stopped.result()
    assert result.exit_code == 1
    assert result.stderr.startswith("Error: Photos that failed: 1; 'make status ENV=local' says why")
    report = json.loads(result.stdout)
    assert (report["succeeded"], report["failed"]) == (2, 1)
    assert all(pipeline.stack.record(image) for image in images[1:])


def test_what_failed_in_a_run_that_was_followed_counts_only_if_it_fails_again(
    pipeline: DeployedPipeline, operator: Operator
) -> None:
    folder, images = seed(pipeline, 2)
    pipeline.rekognition(error="AccessDeniedException", count=-1, key=key(images[0]))
    # It still runs when it is looked at.
    pipeline.rekognition(delay_seconds=8, count=1, key=key(images[1]))
    execution = start(pipeline, folder, images)
    pipeline.eventually(lambda: all(pipeline.calls(key(image)) for image in images), "both calls")
    fail_execution(pipeline, images[0])
    pipeline.heal_rekognition()
    result = operator.run("backfill", folder, "--confirm", "--json")
    assert result.exit_code == 0
    report = json.loads(result.stdout)
    assert report["failed"] == 0
    assert pipeline.finished(execution)["status"] == "SUCCEEDED"
    assert all(pipeline.stack.record(image) for image in images)


def test_a_log_shows_progress(
    pipeline: DeployedPipeline, operator: Operator, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, _ = seed(pipeline, 3)
    monkeypatch.setattr(bulk, "_LOG_SECONDS", 0.0)
    started = time.monotonic()
    errors = operator.run("backfill", folder, "--confirm").stderr.splitlines()
    assert errors[-1] == "3 of 3 done"
    assert len(errors) <= time.monotonic() - started + 2
