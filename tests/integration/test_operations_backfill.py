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
from tests.integration.world import COFFEE, World

if TYPE_CHECKING:
    from collections.abc import Iterator

    from localcloud.stack import Stack, Subscription

# As environments/local.tfvars has it: half of ProcessImage's.
CONCURRENCY = 2


@pytest.fixture
def world(stack: Stack) -> Iterator[World]:
    world = World(stack)
    yield world
    world.heal_rekognition()
    world.empty_queue()


@pytest.fixture
def operator(world: World) -> Operator:
    return Operator(world.deployment)


def seed(world: World, count: int) -> tuple[str, list[str]]:
    """Photos nothing was started for: their folder and ImageIDs."""
    folder = world.key("")
    with world.paused():
        images = [world.stack.upload(f"{folder}{number}.jpg", world.photo(COFFEE)) for number in range(count)]
    return folder, images


def start(world: World, folder: str, images: list[str]) -> str:
    """The backfill of `folder`, begun by somebody else."""
    events = [world.created(image) | {"notify": False} for image in images]
    return bulk.start(world.deployment, f"Backfill of '{folder}'", events)


def runs(world: World) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = world.states.list_executions(
        stateMachineArn=world.stack.outputs["backfill_state_machine_arn"]
    )["executions"]
    return found


def told(subscription: Subscription, images: list[str]) -> list[str]:
    return [one.image_id for one in subscription.receive() if one.image_id in images]


def key(image: str) -> str:
    return image.rpartition("@")[0]


def most_at_once(world: World, folder: str) -> int:
    """How many of the workflow's executions for keys in `folder` ever ran at the same time."""
    pages = world.states.list_executions(stateMachineArn=world.deployment.state_machine_arn, maxResults=60)
    moments: list[tuple[Any, int]] = []
    for one in pages["executions"]:
        if world.event(one["executionArn"])["detail"]["object"]["key"].startswith(folder):
            moments += [(one["startDate"], 1), (one["stopDate"], -1)]
    running = most = 0
    for _, step in sorted(moments):
        running += step
        most = max(most, running)
    return most


def test_a_backfill_counts_first_then_analyses_what_is_new_and_notifies_nobody(
    world: World, operator: Operator, subscription: Subscription
) -> None:
    folder, images = seed(world, 6)
    world.stack.client("s3").put_object(Bucket=world.stack.bucket, Key=f"{folder}marker/", Body=b"")
    recorded, new = images[:2], images[2:]
    for image in recorded:
        world.finished(world.start(world.created(image) | {"notify": False}))
    before = [world.record(image) for image in recorded]
    already = len(runs(world))

    seen = operator.json("backfill", folder)
    assert (seen["photos"], seen["new"], seen["started"]) == (6, 4, False)
    assert seen["concurrency"] == CONCURRENCY
    assert seen["estimated_seconds"] > 0
    shown = operator.run("backfill", folder).stdout.splitlines()
    assert [line.split()[-1] for line in shown[1:5]] == ["2", "4", "0", "2"]
    assert shown[-1] == "Nothing is started yet; CONFIRM=1 starts it."
    assert len(runs(world)) == already, "looking starts nothing"
    assert [world.calls(key(image)) for image in images] == [1, 1, 0, 0, 0, 0]

    done = operator.json("backfill", folder, "--confirm")
    assert (done["succeeded"], done["failed"], done["started"]) == (4, 0, True), "recorded ones start nothing"
    assert [world.calls(key(image)) for image in images] == [1] * 6, "recorded ones are not paid for again"
    assert [world.record(image) for image in recorded] == before
    assert {world.record(image)["Outcome"] for image in new} == {"no_face"}
    assert most_at_once(world, folder) == CONCURRENCY

    already = len(runs(world))
    again = operator.run("backfill", folder, "--confirm")
    assert (again.exit_code, again.stderr) == (0, "")
    assert len(runs(world)) == already, "with nothing new nothing is started"
    assert again.stdout.splitlines()[-1] == f"Done: every photo under '{folder}' has a record."
    assert [world.calls(key(image)) for image in images] == [1] * 6
    assert told(subscription, images) == []


def test_a_backfill_notifies_when_requested(
    world: World, operator: Operator, subscription: Subscription
) -> None:
    folder, images = seed(world, 2)
    operator.json("backfill", folder, "--confirm", "--notify")
    found: list[str] = []

    def all_told() -> bool:
        found.extend(told(subscription, images))
        return len(found) >= len(images)

    world.eventually(all_told, "the notifications")
    assert sorted(found) == sorted(images)


def test_ctrl_c_stops_a_backfill_and_running_it_again_goes_on(world: World, operator: Operator) -> None:
    folder, images = seed(world, 6)
    world.rekognition(delay_seconds=0.4, count=-1)
    already = len(runs(world))
    with subprocess.Popen(
        [sys.executable, "-m", "operations", "backfill", folder, "--confirm"],
        cwd=REPOSITORY,
        env=environment(world.stack.cloud),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        try:
            world.eventually(lambda: world.stack.record(images[0]), "the first record")
            process.send_signal(signal.SIGINT)
            _, errors = process.communicate(timeout=30)
        finally:
            process.kill()
    assert process.returncode == 130
    assert "run it again to go on, recorded ones are skipped." in errors
    assert "Traceback" not in errors
    stopped = runs(world)[0]
    assert (stopped["status"], len(runs(world))) == ("ABORTED", already + 1)
    # What is said to be stopped starts nothing more: the local cloud's map, which goes on, is waited for.
    recorded = [world.stack.record(image) for image in images]
    time.sleep(1.5)
    assert [world.stack.record(image) for image in images] == recorded

    world.heal_rekognition()
    late = world.stack.upload(f"{folder}late.jpg", world.photo(COFFEE))
    world.finished(world.record(late)["ExecutionId"])
    operator.json("backfill", folder, "--confirm")
    assert all(world.stack.record(image) for image in images)
    assert world.calls(key(images[0])) == 1


def test_a_backfill_that_was_stopped_and_goes_on_is_followed_not_doubled(
    world: World, operator: Operator
) -> None:
    folder, images = seed(world, 8)
    other, _ = seed(world, 1)
    world.rekognition(delay_seconds=0.7, count=-1)
    execution = start(world, folder, images)
    world.eventually(lambda: world.stack.record(images[0]), "the first record")
    world.states.stop_execution(executionArn=execution)
    already = len(runs(world))
    assert (
        f"This is running already: Backfill of '{folder}'."
        in operator.run("backfill", other, "--confirm").stderr
    )
    followed = operator.run("backfill", folder, "--confirm")
    assert "It is running already; following it." in followed.stdout
    assert "ended ABORTED" in followed.stderr
    assert len(runs(world)) == already
    assert most_at_once(world, folder) == CONCURRENCY
    assert [world.calls(key(image)) for image in images] == [1] * 8


def test_a_backfill_that_runs_is_followed_and_another_one_waits(world: World, operator: Operator) -> None:
    folder, images = seed(world, 4)
    other, _ = seed(world, 1)
    world.rekognition(delay_seconds=0.7, count=-1)
    execution = start(world, folder, images)
    already = len(runs(world))
    refusal = operator.run("backfill", other, "--confirm")
    assert refusal.exit_code == 1
    assert f"This is running already: Backfill of '{folder}'. Wait for it" in refusal.stderr
    assert operator.run("backfill", other).exit_code == 0, "counting needs no waiting"
    joined = operator.run("backfill", folder, "--confirm")
    assert joined.exit_code == 0
    assert "It is running already; following it." in joined.stdout
    assert len(runs(world)) == already
    assert world.finished(execution)["status"] == "SUCCEEDED"
    assert [world.calls(key(image)) for image in images] == [1] * 4


def fail_execution(world: World, image: str) -> None:
    """End the photo's execution as if it had run out of time; its own retries would take theirs."""
    [failing] = world.eventually(lambda: world.executions(key(image)), "its execution")
    world.states.stop_execution(executionArn=failing, error="Stopped", cause="a test")


def test_a_photo_that_fails_is_reported_and_the_others_go_on(world: World, operator: Operator) -> None:
    folder, images = seed(world, 3)
    world.rekognition(delay_seconds=4, count=1, key=key(images[0]))
    with ThreadPoolExecutor(1) as pool:
        stopped = pool.submit(fail_execution, world, images[0])
        result = operator.run("backfill", folder, "--confirm", "--json")
    stopped.result()
    assert result.exit_code == 1
    assert result.stderr.startswith("Error: Photos that failed: 1; 'make status ENV=local' says why")
    report = json.loads(result.stdout)
    assert (report["succeeded"], report["failed"]) == (2, 1)
    assert all(world.stack.record(image) for image in images[1:])


def test_what_failed_in_a_run_that_was_followed_counts_only_if_it_fails_again(
    world: World, operator: Operator
) -> None:
    folder, images = seed(world, 2)
    world.rekognition(error="AccessDeniedException", count=-1, key=key(images[0]))
    # It still runs when it is looked at.
    world.rekognition(delay_seconds=8, count=1, key=key(images[1]))
    execution = start(world, folder, images)
    world.eventually(lambda: all(world.calls(key(image)) for image in images), "both calls")
    fail_execution(world, images[0])
    world.heal_rekognition()
    result = operator.run("backfill", folder, "--confirm", "--json")
    assert result.exit_code == 0
    report = json.loads(result.stdout)
    assert report["failed"] == 0
    assert world.finished(execution)["status"] == "SUCCEEDED"
    assert all(world.stack.record(image) for image in images)


def test_a_log_shows_progress(world: World, operator: Operator, monkeypatch: pytest.MonkeyPatch) -> None:
    folder, _ = seed(world, 3)
    monkeypatch.setattr(bulk, "_LOG_SECONDS", 0.0)
    started = time.monotonic()
    errors = operator.run("backfill", folder, "--confirm").stderr.splitlines()
    assert errors[-1] == "3 of 3 done"
    assert len(errors) <= time.monotonic() - started + 2
