"""Faults injected into the deployed pipeline, and the outcome of each upload."""

from __future__ import annotations

import io
import json
import os
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from PIL import Image

from localcloud.processes import members
from tests.integration.pipeline import COFFEE, PORTRAIT, DeployedPipeline, Notifications
from tests.integration.proxy import DynamoDBProxy


def picture(kind: str, size: tuple[int, int] = (120, 120)) -> bytes:
    data = io.BytesIO()
    Image.new("RGB", size, "grey").save(data, kind)
    return data.getvalue()


# Duplicates and order


@pytest.mark.proves("same-event")
def test_the_same_event_delivered_again_later_changes_nothing(
    pipeline: DeployedPipeline, notifications: Notifications
) -> None:
    key = pipeline.key()
    image_id = pipeline.stack.upload(key, pipeline.photo())
    assert len(notifications(image_id, settle=0.2)) == 1
    record = pipeline.record(image_id)
    again = pipeline.finished(pipeline.start(pipeline.event(record["ExecutionId"])))
    assert again["status"] == "SUCCEEDED"
    assert json.loads(again["output"])["duplicate"] is True
    assert len(notifications(image_id)) == 1
    assert pipeline.record(image_id) == record
    assert pipeline.calls(key) == 1


@pytest.mark.proves("same-event")
def test_the_same_event_delivered_several_times_at_once_is_notified_once(
    pipeline: DeployedPipeline, notifications: Notifications
) -> None:
    key = pipeline.key()
    # Each of them calls Rekognition before any of them writes.
    pipeline.rekognition(delay_seconds=3.0, count=-1, key=key)
    with pipeline.paused():
        image_id = pipeline.stack.upload(key, pipeline.photo())
    with ThreadPoolExecutor(3) as pool:
        executions = list(pool.map(pipeline.start, [pipeline.created(image_id)] * 3))
    answers = [pipeline.finished(execution) for execution in executions]
    assert [answer["status"] for answer in answers] == ["SUCCEEDED"] * 3
    assert pipeline.calls(key) > 1, "they did not meet"
    assert sum('"duplicate": true' in answer["output"] for answer in answers) == 2
    assert len(notifications(image_id)) == 1
    assert pipeline.record(image_id)["ExecutionId"] in executions
    assert pipeline.dead_letters(key) == []


@pytest.mark.proves("overwritten")
def test_a_photo_overwritten_before_it_is_processed_is_analysed_in_the_version_of_its_event(
    pipeline: DeployedPipeline, notifications: Notifications
) -> None:
    key = pipeline.key()
    s3 = pipeline.stack.client("s3")
    with pipeline.paused():
        answers = [
            s3.put_object(Bucket=pipeline.stack.bucket, Key=key, Body=body) for body in (PORTRAIT, COFFEE)
        ]
    images = [f"{key}@{answer['ETag'].strip(chr(34))}" for answer in answers]
    portrait, coffee = images
    # The newer event arrives first.
    for image_id, answer in reversed(list(zip(images, answers, strict=True))):
        pipeline.start(pipeline.created(image_id, answer["VersionId"]))
    assert [one.facts["outcome"] for one in notifications(portrait)] == ["face_detected"]
    assert [one.facts["outcome"] for one in notifications(coffee)] == ["no_face"]
    assert pipeline.record(portrait)["VersionId"] == answers[0]["VersionId"]
    assert pipeline.record(coffee)["VersionId"] == answers[1]["VersionId"]


# Photos that are none


@pytest.mark.proves("empty")
def test_an_empty_object_is_rejected_without_calling_rekognition(
    pipeline: DeployedPipeline, notifications: Notifications
) -> None:
    key = pipeline.key()
    image_id = pipeline.stack.upload(key, b"")
    (notification,) = notifications(image_id)
    assert (notification.facts["outcome"], notification.facts["reason"]) == ("rejected", "empty")
    assert pipeline.record(image_id)["Reason"] == "empty"
    assert pipeline.calls(key) == 0


@pytest.mark.parametrize(
    ("name", "body"),
    [
        ("truncated.jpg", PORTRAIT[: len(PORTRAIT) // 2]),
        ("text.jpg", b"This is no photo. " * 100),
        ("photo.heic", b"\0\0\0\x18ftypheic\0\0\0\0mif1heic" + bytes(1000)),
        ("cut-off.webp", picture("WEBP")[: len(picture("WEBP")) // 2]),
        ("drawing.svg", b'<svg xmlns="http://www.w3.org/2000/svg"/>'),
        ("document.pdf", picture("PDF")),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
@pytest.mark.proves("not-a-photo")
def test_a_file_that_is_not_a_usable_photo_is_rejected_at_the_first_attempt(
    pipeline: DeployedPipeline, notifications: Notifications, name: str, body: bytes
) -> None:
    key = pipeline.key(name)
    image_id = pipeline.stack.upload(key, body)
    (notification,) = notifications(image_id, settle=0.3)
    assert (notification.facts["outcome"], notification.facts["reason"]) == ("rejected", "unsupported_format")
    assert pipeline.record(image_id)["Reason"] == "unsupported_format"
    assert pipeline.calls(key) == 1
    assert pipeline.dead_letters(key) == []


@pytest.mark.proves("odd-key")
def test_odd_keys_come_back_exactly(pipeline: DeployedPipeline, notifications: Notifications) -> None:
    folder = pipeline.key("")
    names = [
        *("a b.jpg", "a+b.jpg", "a%2Bb.jpg", "100%.jpg", "it's.jpg", '"quoted".jpg', "C:\\photos\\a.jpg"),
        *("two\nlines.jpg", "\N{CAMERA}\N{FAMILY}.jpg", "a//b", "é é"),
    ]
    keys = [folder + name for name in names]
    keys.append(folder + "x" * (1024 - len(folder)))
    keys.append(folder + "日" * ((1024 - len(folder)) // 3))
    body = pipeline.photo(COFFEE)
    # MiniStack's wildcards do not match line ends, as IAM's do; this matches by naming something else.
    lines = {"Effect": "Allow", "Action": "s3:GetObject", "NotResource": "arn:aws:s3:::another/*"}
    with pipeline.granted("process_image", **lines):
        images = {key: pipeline.stack.upload(key, body) for key in keys}
        received = {key: notifications(image_id, settle=0.0) for key, image_id in images.items()}
    for key, image_id in images.items():
        (one,) = received[key]
        assert one.facts["key"] == key
        assert one.facts["outcome"] == "no_face"
        assert one.subject.isascii()
        assert one.subject.isprintable()
        assert len(one.subject) < 100
        assert pipeline.record(image_id)["Key"] == key


# Services that refuse


@pytest.mark.proves("throttled")
def test_a_photo_rekognition_throttles_for_a_while_is_notified_once(
    pipeline: DeployedPipeline, notifications: Notifications
) -> None:
    key = pipeline.key()
    pipeline.rekognition(error="ThrottlingException", count=3, key=key)
    image_id = pipeline.stack.upload(key, pipeline.photo())
    (notification,) = notifications(image_id)
    assert notification.facts["outcome"] == "face_detected"
    assert pipeline.record(image_id)["Outcome"] == "face_detected"
    assert pipeline.calls(key) == 4
    assert len(pipeline.executions(key)) == 1


@pytest.mark.proves("always-throttled")
def test_a_photo_rekognition_always_throttles_is_parked_with_its_event(
    pipeline: DeployedPipeline, notifications: Notifications
) -> None:
    key = pipeline.key()
    pipeline.rekognition(error="ProvisionedThroughputExceededException", count=-1, key=key)
    image_id = pipeline.stack.upload(key, pipeline.photo())
    message = pipeline.parked(key)
    (execution,) = pipeline.executions(key)
    answer = pipeline.finished(execution)
    assert answer["status"] == "FAILED"
    assert message.event() == json.loads(answer["input"])
    assert message.execution == execution
    assert "ProvisionedThroughputExceeded" in message.cause
    assert pipeline.stack.record(image_id) is None
    assert notifications(image_id, timeout=0.5) == []
    # What the alarm on the dead-letter queue counts.
    visible = pipeline.stack.client("sqs").get_queue_attributes(
        QueueUrl=pipeline.stack.outputs["dead_letter_queue_url"],
        AttributeNames=["ApproximateNumberOfMessages"],
    )["Attributes"]["ApproximateNumberOfMessages"]
    assert int(visible) > 0
    pipeline.empty_queue()


@pytest.mark.proves("table-refuses")
def test_a_record_dynamodb_refuses_after_the_analysis_is_written_by_a_retry(
    pipeline: DeployedPipeline, notifications: Notifications
) -> None:
    key = pipeline.key()
    with pipeline.denied("process_image", "dynamodb:PutItem"):
        image_id = pipeline.stack.upload(key, pipeline.photo())
        pipeline.eventually(lambda: pipeline.calls(key), "an analysis")
        time.sleep(0.5)
        assert pipeline.stack.record(image_id) is None
    assert len(notifications(image_id)) == 1
    assert pipeline.calls(key) > 1
    (execution,) = pipeline.executions(key)
    assert pipeline.record(image_id)["ExecutionId"] == execution
    assert pipeline.dead_letters(key) == []


@pytest.mark.proves("killed")
def test_a_function_that_dies_between_write_and_response_is_retried_and_notifies(
    pipeline: DeployedPipeline, notifications: Notifications
) -> None:
    key = pipeline.key()
    with DynamoDBProxy(pipeline.stack) as proxy:
        proxy.hold_next_write()
        image_id = pipeline.stack.upload(key, pipeline.photo())
        killed = proxy.kill_writer()
        assert pipeline.stack.record(image_id) is not None, "it died before the write"
        (notification,) = notifications(image_id)
    assert killed
    assert notification.facts["outcome"] == "face_detected"
    (execution,) = pipeline.executions(key)
    answer = pipeline.finished(execution)
    assert answer["status"] == "SUCCEEDED"
    assert pipeline.attempts(execution, "ProcessImage") == 2
    assert pipeline.record(image_id)["ExecutionId"] == execution
    assert pipeline.calls(key) == 1, "the retry takes the record as it is"


# Permissions


@pytest.mark.proves("start-refused")
def test_the_rule_may_start_the_workflow_and_nothing_else(pipeline: DeployedPipeline) -> None:
    machine = pipeline.stack.outputs["state_machine_arn"]
    rule = pipeline.rule()
    (target,) = pipeline.stack.client("events").list_targets_by_rule(Rule=rule["Name"])["Targets"]
    assert target["Arn"] == machine
    assert pipeline.allows(target["RoleArn"], "states:StartExecution", machine)
    assert not pipeline.allows(target["RoleArn"], "states:StartExecution", f"{machine}-other")
    assert not pipeline.allows(target["RoleArn"], "states:StopExecution", machine)
    # What becomes of an event when that permission is gone.
    assert target["DeadLetterConfig"]["Arn"] == pipeline.stack.outputs["dead_letter_queue_arn"]
    assert target["RetryPolicy"]["MaximumRetryAttempts"] == 185


def test_the_queue_takes_events_from_the_rule(pipeline: DeployedPipeline) -> None:
    policy = json.loads(
        pipeline.stack.client("sqs").get_queue_attributes(
            QueueUrl=pipeline.stack.outputs["dead_letter_queue_url"], AttributeNames=["Policy"]
        )["Attributes"]["Policy"]
    )
    (grant,) = [one for one in policy["Statement"] if one["Effect"] == "Allow"]
    assert grant["Principal"] == {"Service": "events.amazonaws.com"}
    assert grant["Action"] == "sqs:SendMessage"
    assert grant["Condition"] == {"ArnEquals": {"aws:SourceArn": pipeline.rule()["Arn"]}}


@pytest.mark.proves("invoke-refused")
def test_the_workflow_may_invoke_its_functions_and_park_events(pipeline: DeployedPipeline) -> None:
    machine = pipeline.states.describe_state_machine(
        stateMachineArn=pipeline.stack.outputs["state_machine_arn"]
    )
    states: dict[str, Any] = json.loads(machine["definition"])["States"]
    for task in ("ProcessImage", "SendNotification"):
        function = states[task]["Arguments"]["FunctionName"]
        assert pipeline.allows(machine["roleArn"], "lambda:InvokeFunction", function)
        assert not pipeline.allows(machine["roleArn"], "lambda:InvokeFunction", function[:-1])
    queue = pipeline.stack.outputs["dead_letter_queue_arn"]
    assert pipeline.allows(machine["roleArn"], "sqs:SendMessage", queue)
    assert not pipeline.allows(machine["roleArn"], "sqs:ReceiveMessage", queue)


# Many at once


def test_two_hundred_photos_at_once_all_end_in_a_record_on_a_bounded_number_of_workers(
    pipeline: DeployedPipeline,
) -> None:
    folder = pipeline.key("")
    keys = [f"{folder}{number}.jpg" for number in range(200)]
    # Twice as many at a time as `aws s3 cp --recursive` has.
    with ThreadPoolExecutor(20) as pool:
        images = set(pool.map(lambda key: pipeline.stack.upload(key, pipeline.photo(COFFEE)), keys))
    dynamodb, table = pipeline.stack.client("dynamodb"), pipeline.stack.outputs["results_table_name"]
    waiting, most, deadline = images, 0, time.monotonic() + 300
    while waiting:
        assert time.monotonic() < deadline, f"{len(waiting)} of 200 photos without a record"
        most = max(most, len(members(pipeline.stack.cloud.directory)))
        pages = dynamodb.get_paginator("scan").paginate(TableName=table, ProjectionExpression="ImageID")
        waiting = images - {one["ImageID"]["S"] for page in pages for one in page["Items"]}
        time.sleep(0.2)
    assert len(images) == 200
    assert not [one for one in pipeline.stack.dead_letters() if folder in one.body]
    # As many processes of each function as may run at a time, kept warm from before, and the server.
    functions = len(pipeline.stack.outputs["function_names"])
    assert most <= functions * max(16, 8 * (os.cpu_count() or 1)) + 1
