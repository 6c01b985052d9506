"""Parked work put back, on the deployed pipeline."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest
from click.testing import CliRunner

from operations import redrive
from operations.__main__ import main
from operations.deployment import Deployment

if TYPE_CHECKING:
    from tests.integration.pipeline import DeployedPipeline, Notifications


@pytest.mark.proves("topic-refuses", "redrive-twice")
def test_an_image_recorded_but_not_notified_is_notified_once_after_its_redrive(
    pipeline: DeployedPipeline, notifications: Notifications
) -> None:
    key = pipeline.key()
    with pipeline.denied("send_notification", "sns:Publish"):
        image_id = pipeline.stack.upload(key, pipeline.photo())
        message = pipeline.parked(key)
        first = pipeline.record(image_id)
    assert notifications(image_id, timeout=0.3) == []
    assert message.taken_over() == [first["ExecutionId"]]
    assert pipeline.attempts(first["ExecutionId"], "ProcessImage") == 1, (
        "only the notification is tried again"
    )

    report = redrive.redrive(pipeline.deployment)

    assert (report.messages, report.started, report.left) == (1, 1, {})
    assert len(notifications(image_id)) == 1
    after = pipeline.record(image_id)
    assert after["ExecutionId"].endswith(f":redrive-{message.message_id}")
    pipeline.finished(after["ExecutionId"])
    notified = pipeline.record(image_id).pop("NotifiedAt")
    assert notified > first["Timestamp"]
    assert {**after, "ExecutionId": first["ExecutionId"], "NotifiedAt": None} == {**first, "NotifiedAt": None}
    assert pipeline.calls(key) == 1, "the analysis is not paid for twice"
    assert pipeline.dead_letters(key) == []

    # As if the redrive had been killed before it deleted the message.
    pipeline.park(message.body, REDRIVEN_FROM=message.chain or "")
    again = redrive.redrive(pipeline.deployment)
    assert again.started == 1
    execution = pipeline.executions(key)[0]
    assert json.loads(pipeline.finished(execution)["output"])["duplicate"] is True
    assert len(notifications(image_id)) == 1
    assert redrive.redrive(pipeline.deployment).messages == 0


@pytest.mark.proves("start-refused")
def test_an_event_the_rule_could_not_deliver_is_processed(
    pipeline: DeployedPipeline, notifications: Notifications
) -> None:
    key = pipeline.key()
    with pipeline.paused():
        image_id = pipeline.stack.upload(key, pipeline.photo())
    pipeline.park(
        json.dumps(pipeline.created(image_id)),
        RULE_ARN=pipeline.rule()["Arn"],
        TARGET_ARN=pipeline.stack.outputs["state_machine_arn"],
        ERROR_CODE="NO_PERMISSIONS",
        ERROR_MESSAGE="not authorized to perform: states:StartExecution",
    )
    report = redrive.redrive(pipeline.deployment)
    assert report.started == 1
    assert len(notifications(image_id)) == 1
    assert "redriven_from" not in pipeline.event(pipeline.record(image_id)["ExecutionId"])
    assert pipeline.dead_letters(key) == []


@pytest.mark.proves("redrive-twice")
def test_a_message_whose_execution_runs_already_is_only_deleted(
    pipeline: DeployedPipeline, notifications: Notifications
) -> None:
    key = pipeline.key()
    with pipeline.paused():
        image_id = pipeline.stack.upload(key, pipeline.photo())
    message_id = pipeline.park(json.dumps(pipeline.created(image_id)), ERROR_CODE="NO_PERMISSIONS")
    # A redrive killed between the execution's start and the message's end.
    execution = pipeline.states.start_execution(
        stateMachineArn=pipeline.stack.outputs["state_machine_arn"],
        name=f"redrive-{message_id}",
        input=json.dumps(pipeline.created(image_id)),
    )["executionArn"]
    pipeline.finished(execution)
    report = redrive.redrive(pipeline.deployment)
    assert (report.started, report.already_started) == (0, 1)
    assert pipeline.executions(key) == [execution]
    assert len(notifications(image_id, settle=0.5)) == 1
    assert pipeline.dead_letters(key) == []


def test_a_photo_that_fails_again_is_parked_again_with_the_longer_chain(pipeline: DeployedPipeline) -> None:
    key = pipeline.key()
    pipeline.rekognition(error="AccessDeniedException", count=-1, key=key)
    pipeline.stack.upload(key, pipeline.photo())
    first = pipeline.parked(key)
    report = redrive.redrive(pipeline.deployment)
    assert report.started == 1
    second = pipeline.parked(key)
    assert second.message_id != first.message_id
    assert second.body == first.body
    assert second.taken_over() == [*first.taken_over(), second.execution]
    assert len(second.taken_over()) == 2


def test_looking_changes_nothing_and_what_is_no_event_stays_and_is_named(
    pipeline: DeployedPipeline, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Deployment, "load", lambda _: pipeline.deployment)
    key = pipeline.key()
    stray = pipeline.park("hello", ERROR_CODE="STRAY")
    folder = pipeline.park(
        json.dumps(pipeline.created(f"{key}@e1") | {"notify": False}), ERROR_CODE="NO_PERMISSIONS"
    )
    runner = CliRunner()

    seen = runner.invoke(main, ["redrive", "--json"])
    assert seen.exit_code == 0
    report = json.loads(seen.stdout)
    assert {one["error"]: one["messages"] for one in report["groups"]} == {"STRAY": 1, "NO_PERMISSIONS": 1}
    assert list(report["left"]) == [stray]
    assert {one.message_id for one in pipeline.stack.dead_letters()} == {stray, folder}

    done = runner.invoke(main, ["redrive", "--confirm"])
    assert done.exit_code == 1
    assert f"Message {stray} is left in the queue: its body is not JSON." in done.stderr
    assert [one.message_id for one in pipeline.stack.dead_letters()] == [stray]
    (execution,) = pipeline.executions(key)
    assert pipeline.event(execution)["notify"] is False
