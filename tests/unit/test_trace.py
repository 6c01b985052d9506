"""One photo's way: its executions with their tries, its log lines, and which key was meant."""

from __future__ import annotations

import json
import time
import unicodedata
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest
from botocore.exceptions import ClientError
from click.testing import CliRunner

from operations import history, logs, options, trace, uploads
from operations.__main__ import main
from operations.deployment import Deployment
from operations.errors import UserError
from operations.terminal import shown_key
from tests.unit.pipeline import BUCKET, TABLE, Pipeline, client

if TYPE_CHECKING:
    from collections.abc import Callable

BEGIN = datetime(2026, 11, 24, 12, tzinfo=UTC)
MACHINE = "arn:aws:states:us-east-1:123456789012:execution:pipeline"
FIRST, REDRIVE = f"{MACHINE}:first", f"{MACHINE}:redrive"
REQUEST = "11111111-2222-3333-4444-555555555555"


def event(second: float, kind: str, **details: Any) -> dict[str, Any]:
    return {"timestamp": BEGIN + timedelta(seconds=second), "type": kind, f"{kind}EventDetails": details}


HISTORIES: dict[str, list[dict[str, Any]]] = {
    FIRST: [
        event(0, "ExecutionStarted"),
        event(0, "TaskStateEntered", name="ProcessImage"),
        event(0, "TaskScheduled"),
        event(1, "TaskFailed", error="ThrottlingException", cause=json.dumps({"errorMessage": "slow down"})),
        event(3, "TaskScheduled"),
        event(
            4, "TaskFailed", error="KeyError", cause=json.dumps({"errorMessage": "x", "requestId": REQUEST})
        ),
        event(4, "FailStateEntered", name="Parked"),
        event(5, "ExecutionFailed", error="KeyError", cause="x"),
    ],
    REDRIVE: [
        event(60, "ExecutionStarted"),
        event(60, "TaskStateEntered", name="ProcessImage"),
        event(60, "TaskScheduled"),
        event(
            61,
            "TaskSucceeded",
            output=json.dumps({"SdkResponseMetadata": {"RequestId": "redrive's request"}}),
        ),
        event(61, "TaskStateEntered", name="SendNotification"),
        event(61.2, "TaskScheduled"),
        event(62, "ExecutionSucceeded"),
    ],
}


class States:
    """Step Functions with the two executions; the second took over from the first."""

    exceptions = SimpleNamespace(ClientError=ClientError)

    def describe_execution(self, *, executionArn: str) -> dict[str, Any]:  # noqa: N803
        if executionArn not in HISTORIES:
            raise ClientError({"Error": {"Code": "ExecutionDoesNotExist"}}, "DescribeExecution")
        first, *_, last = HISTORIES[executionArn]
        before = {"redriven_from": [FIRST]} if executionArn == REDRIVE else {}
        return {"startDate": first["timestamp"], "stopDate": last["timestamp"], "input": json.dumps(before)}

    def get_paginator(self, _: str) -> Any:
        return SimpleNamespace(paginate=lambda executionArn: [{"events": HISTORIES[executionArn]}])  # noqa: N803


@pytest.fixture
def deployment(pipeline: Pipeline, monkeypatch: pytest.MonkeyPatch) -> Any:
    """A photo that was redriven, in moto; the queue is empty."""
    monkeypatch.setattr("operations.dead_letters._WAIT_SECONDS", 0)
    sqs, log = client("sqs"), client("logs")
    url = sqs.create_queue(QueueName="dead-letter")["QueueUrl"]
    for name in ("stack-process-image", "stack-send-notification"):
        log.create_log_group(logGroupName=f"/aws/lambda/{name}")
        log.create_log_stream(logGroupName=f"/aws/lambda/{name}", logStreamName="s")
    clients = {
        "dynamodb": pipeline.dynamodb,
        "s3": pipeline.s3,
        "sqs": sqs,
        "logs": log,
        "stepfunctions": States(),
    }
    functions = {"process_image": "stack-process-image", "send_notification": "stack-send-notification"}
    made = Deployment(
        SimpleNamespace(name="dev", settings={}, client=clients.__getitem__),  # type: ignore[arg-type]
        {
            "function_names": functions,
            "uploads_bucket_name": BUCKET,
            "results_table_name": TABLE,
            "dead_letter_queue_url": url,
        },
    )
    monkeypatch.setattr(Deployment, "load", lambda _: made)
    return made


def runs(deployment: Any, key: str) -> list[history.Run]:
    return history.runs(deployment, *history.known(deployment, key))


def record(deployment: Any, key: str, execution: str) -> None:
    deployment.client("dynamodb").put_item(
        TableName=TABLE,
        Item={
            "ImageID": {"S": f"{key}@e"},
            "Key": {"S": key},
            "Bucket": {"S": BUCKET},
            "Outcome": {"S": "no_face"},
            "OutcomeDay": {"S": "no_face#2026-11-24"},
            "Timestamp": {"S": "2026-11-24T12:01:00.500Z"},
            "NotifiedAt": {"S": "2026-11-24T12:01:01.500Z"},
            "ExecutionId": {"S": execution},
        },
    )


def log(deployment: Any, function: str, *lines: str, at: datetime = BEGIN) -> None:
    deployment.client("logs").put_log_events(
        logGroupName=f"/aws/lambda/stack-{function}",
        logStreamName="s",
        logEvents=[{"timestamp": int(at.timestamp() * 1000), "message": line} for line in lines],
    )


def test_a_photo_s_way_names_every_try_of_every_execution_in_order(
    deployment: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    record(deployment, "a.jpg", REDRIVE)
    monkeypatch.setattr(logs, "of_executions", lambda *_: [])
    found = trace.trace(deployment, "a.jpg")
    assert [(one.what, one.detail, one.failed) for one in found] == [
        ("workflow started", "first", False),
        ("ProcessImage begins", "", False),
        ("ProcessImage, try 1 failed", "ThrottlingException: slow down", True),
        ("ProcessImage, try 2", "", False),
        ("ProcessImage, try 2 failed", "KeyError: x", True),
        ("workflow failed", "KeyError: x", True),
        ("workflow started", "redrive", False),
        ("ProcessImage begins", "", False),
        ("analysis recorded", "no_face", False),
        ("ProcessImage done", "", False),
        ("SendNotification begins", "", False),
        ("notified", "", False),
        ("workflow succeeded", "", False),
    ]


def test_an_execution_aws_has_expired_is_reported(deployment: Any) -> None:
    record(deployment, "a.jpg", f"{MACHINE}:forgotten")
    [run] = runs(deployment, "a.jpg")
    assert [one.detail for one in run.moments] == ["AWS has no history of it"]


def test_a_parked_photo_s_executions_are_found_by_its_message(deployment: Any) -> None:
    body = {"detail": {"bucket": {"name": BUCKET}, "object": {"key": "b.jpg", "etag": "e"}}}
    deployment.client("sqs").send_message(
        QueueUrl=deployment.dead_letter_queue_url,
        MessageBody=json.dumps(body),
        MessageAttributes={"EXECUTION_ID": {"DataType": "String", "StringValue": FIRST}},
    )
    assert [run.name for run in runs(deployment, "b.jpg")] == ["first"]
    assert "parked in the dead-letter queue" in [one.what for one in trace.trace(deployment, "b.jpg")]


def test_an_unknown_key_is_reported_in_one_sentence(deployment: Any) -> None:
    del deployment
    result = CliRunner().invoke(main, ["trace", "c.jpg"])
    assert (result.exit_code, result.stdout) == (1, "")
    assert result.stderr.startswith("Error: Nothing is known of c.jpg in ENV=local; keys are exact")


# Log lines


def test_the_lines_of_a_photo_are_those_of_its_invocations(
    deployment: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[tuple[str, str]] = []

    def read(_: Any, function: str, *__: Any) -> list[logs.Line]:
        asked.append((function, __[2]))
        return [logs.Line(BEGIN, function, "INFO", __[2], __[2], f"{function} {__[2]}")]

    monkeypatch.setattr(logs, "read", read)
    run = history.Run(FIRST, BEGIN, BEGIN, request_ids={REQUEST})
    found = logs.of_executions(deployment, [run], ["process_image"])
    assert {line.text for line in found} == {REQUEST, "first"}
    assert ("process_image", "first") in asked


def test_requests_are_known_by_lambda_s_answer_and_by_its_error(deployment: Any) -> None:
    record(deployment, "a.jpg", REDRIVE)
    first, redrive = runs(deployment, "a.jpg")
    assert (first.request_ids, redrive.request_ids) == ({REQUEST}, {"redrive's request"})


@pytest.mark.parametrize(
    ("message", "expected"),
    [
        (
            {"level": "INFO", "message": "image processed", "outcome": "no_face", "requestId": REQUEST},
            ("INFO", "image processed outcome=no_face", REQUEST),
        ),
        (
            {"type": "platform.report", "record": {"requestId": REQUEST, "metrics": {"durationMs": 12.5}}},
            ("", "platform.report durationMs=12.5", REQUEST),
        ),
        (
            f"REPORT RequestId: {REQUEST} Duration: 12 ms",
            ("", f"REPORT RequestId: {REQUEST} Duration: 12 ms", REQUEST),
        ),
        ("[1]", ("", "[1]", "")),
    ],
)
def test_a_line_is_read_whatever_wrote_it(message: Any, expected: tuple[str, str, str]) -> None:
    text = message if isinstance(message, str) else json.dumps(message)
    line = logs.Line.of("process_image", {"timestamp": 0, "message": text, "eventId": "1"})
    assert (line.level, line.text, line.request_id) == expected


def test_lines_the_local_cloud_does_not_number_are_distinguished() -> None:
    events = [
        {"timestamp": 0, "message": text, "logStreamName": stream}
        for text, stream in (
            ("START RequestId: 1", "a"),
            ("START RequestId: 1", "b"),
            ("END RequestId: 1", "a"),
        )
    ]
    assert len({logs.Line.of("process_image", one).event_id for one in events}) == 3


def test_logs_of_all_functions_are_shown_in_order_of_time_and_escaped(deployment: Any) -> None:
    now = datetime.now(UTC)
    log(deployment, "send-notification", "second", at=now - timedelta(seconds=5))
    log(deployment, "process-image", "first \x1b[31m", at=now - timedelta(seconds=9))
    lines = CliRunner().invoke(main, ["logs"]).stdout.splitlines()
    assert [line.split()[1] for line in lines] == ["process_image", "send_notification"]
    assert lines[0].endswith("first \\x1b[31m")
    lines = CliRunner().invoke(main, ["logs", "--function", "process_image", "--json"]).stdout.splitlines()
    [found] = map(json.loads, lines)
    assert found.keys() == {"time", "function", "level", "text", "request_id"}
    assert found["text"] == "first \x1b[31m"


def test_a_function_there_is_not_is_refused(deployment: Any) -> None:
    del deployment
    said = CliRunner().invoke(main, ["logs", "--function", "resize"]).stderr
    assert said == "Error: There is no function resize; choose one of process_image, send_notification.\n"


def test_following_prints_each_new_line_once(deployment: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    log(deployment, "process-image", "old", at=datetime.now(UTC))
    steps: list[Callable[[], None]] = [
        lambda: log(deployment, "process-image", "new", at=datetime.now(UTC)),
        lambda: None,
    ]

    def sleep(_: float) -> None:
        if not steps:
            raise KeyboardInterrupt
        steps.pop(0)()

    monkeypatch.setattr(time, "sleep", sleep)
    result = CliRunner().invoke(main, ["logs", "--follow", "--function", "process_image"])
    assert [line.split()[-1] for line in result.stdout.splitlines()] == ["old", "new"]
    assert result.exit_code == 0


# Which key


NFC, NFD = (unicodedata.normalize(form, "café.jpg") for form in ("NFC", "NFD"))


@pytest.mark.parametrize(
    ("typed", "stored", "chosen", "said"),
    [
        (NFC, [NFD], NFD, "Using the key"),
        (NFD, [NFC], NFC, "KEY=$'caf\\U000000e9.jpg'"),
        (NFC, [NFC], NFC, ""),
        (
            NFC,
            [NFC, NFD],
            NFC,
            "another photo of this name in another Unicode form: KEY=$'cafe\\U00000301.jpg'",
        ),
        (NFC, [], NFC, ""),
    ],
)
@pytest.mark.parametrize("where", ["bucket", "table"])
def test_a_key_is_found_in_either_unicode_form(
    typed: str,
    stored: list[str],
    chosen: str,
    said: str,
    where: str,
    deployment: Any,
    capsys: pytest.CaptureFixture[str],
) -> None:
    for key in stored:
        if where == "bucket":
            deployment.client("s3").put_object(Bucket=BUCKET, Key=key, Body=b"abc")
        else:
            record(deployment, key, FIRST)
    assert uploads.choose(deployment, typed) == chosen
    err = capsys.readouterr().err
    assert said in err
    assert bool(err) == bool(said)


def test_a_key_of_one_form_is_looked_for_nowhere() -> None:
    assert uploads.choose(None, "a b+%.jpg") == "a b+%.jpg"  # type: ignore[arg-type]


def test_spaces_at_a_key_s_ends_are_seen() -> None:
    assert [shown_key(key) for key in (" a.jpg", "a.jpg ", "a b.jpg", " ", "")] == [
        '" a.jpg"',
        '"a.jpg "',
        "a b.jpg",
        '" "',
        '""',
    ]


def test_a_key_that_is_not_utf_8_is_refused_in_one_sentence() -> None:
    with pytest.raises(Exception, match="it is not UTF-8, as every key in S3 is"):
        options.KEY.convert("a\udcff.jpg", None, None)
    assert options.KEY.convert("café 😀.jpg", None, None) == "café 😀.jpg"


def test_an_output_of_a_later_version_is_reported_missing(deployment: Any) -> None:
    with pytest.raises(UserError, match=r"^ENV=dev was deployed by an earlier version without the output x;"):
        deployment.value("x")
