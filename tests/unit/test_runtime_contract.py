"""What AWS's own runtime client for Python makes of our errors and log lines, held against what reads them.

The client is the one Lambda runs (awslambdaric), in this process: which names errors get, and which fields
log lines have, is AWS's to say. What Lambda itself adds (`Lambda.*`, time-outs, memory) it does not show.
"""

from __future__ import annotations

import importlib
import json
import logging
import re
import sys
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, get_args

import boto3
import pytest
from botocore.stub import Stubber

from operations.page import TITLES
from operations.program import ROOT
from operations.records import OUTCOMES
from process_image.analysis import rejected
from process_image.outcomes import REASONS, Outcome
from tests.definition import retriers
from tests.unit.messages import summary
from tests.unit.pipeline import TABLE, event

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from types import ModuleType

pytestmark = pytest.mark.usefixtures("aws")

OBSERVABILITY = ROOT / "modules" / "observability"
PROCESSING = {
    "CONVERT_IMAGES": "true",
    "FACE_ATTRIBUTES": "DEFAULT",
    "FACE_MIN_CONFIDENCE": "90",
    "LOG_OBJECT_KEYS": "false",
    "RECORD_RETENTION_DAYS": "0",
    "RESULTS_TABLE": TABLE,
}
SENDING = {
    "RESULTS_TABLE": TABLE,
    "RESULTS_TOPIC_ARN": "arn:aws:sns:us-east-1:111122223333:results",
}


class Lambda:
    """One worker of a function: the runtime client, with what it reports and logs kept here."""

    def __init__(self, bootstrap: ModuleType) -> None:
        self._bootstrap = bootstrap
        self.lines: list[dict[str, Any]] = []
        self.reported: dict[str, Any] = {}

    def log(self, line: str, frame_type: object = None) -> None:  # noqa: ARG002
        self.lines.append(json.loads(line))

    def log_error(self, lines: list[str]) -> None:
        self.lines += map(json.loads, lines)

    def invoke(self, handler: Callable[..., Any], payload: object) -> None:
        client = SimpleNamespace(
            marshaller=importlib.import_module("awslambdaric.lambda_runtime_marshaller").LambdaMarshaller(),
            post_invocation_error=lambda _id, error, *_: self.reported.update(json.loads(error)),
            post_invocation_result=lambda *_: None,
        )
        body = json.dumps(payload)
        self._bootstrap.handle_event_request(
            client, handler, "request-1", body, "application/json", None, None, "arn", 0, None, self
        )

    def loads(self, name: str) -> str:
        """The error a handler that cannot be loaded is reported as."""
        with pytest.raises(self._bootstrap.FaultException) as caught:
            self._bootstrap._get_handler(name)
        return str(caught.value.exception_type)


@pytest.fixture
def worker(monkeypatch: pytest.MonkeyPatch) -> Iterator[Lambda]:
    """The client reads how to log when it is imported; it runs on Linux only."""
    pytest.importorskip("awslambdaric", reason="Lambda's runtime client is for Linux")
    monkeypatch.setenv("AWS_LAMBDA_LOG_FORMAT", "JSON")
    monkeypatch.setenv("AWS_LAMBDA_LOG_LEVEL", "INFO")
    monkeypatch.delitem(sys.modules, "awslambdaric.bootstrap", raising=False)
    bootstrap = importlib.import_module("awslambdaric.bootstrap")
    one, root = Lambda(bootstrap), logging.getLogger()
    before, level = list(root.handlers), root.level
    sink = logging.Handler()
    sink.setFormatter(bootstrap.JsonFormatter())
    sink.emit = lambda record: one.log(sink.format(record))  # type: ignore[method-assign]
    root.handlers[:] = [sink]
    root.setLevel(logging.INFO)
    yield one
    root.handlers[:] = before
    root.setLevel(level)


def attempts(error: str) -> int:
    """How often the workflow tries again what ends in this error."""
    for retrier in retriers():
        if error in retrier["ErrorEquals"] or retrier["ErrorEquals"] == ["States.ALL"]:
            return int(retrier["MaxAttempts"])
    raise AssertionError(f"nothing retries {error}")


def payload(created: object) -> dict[str, Any]:
    return {"event": created, "execution_id": "execution-1"}


def test_a_malformed_event_is_reported_under_the_name_that_is_never_retried(
    worker: Lambda, load_handler: Callable[..., ModuleType]
) -> None:
    worker.invoke(load_handler("process_image", **PROCESSING).handler, payload({"detail": {}}))
    assert worker.reported["errorType"] == "InvalidEventError"
    assert attempts("InvalidEventError") == 0


@pytest.mark.parametrize(
    ("name", "error"),
    [
        ("process_image.nothing.handler", "Runtime.ImportModuleError"),
        ("json.nothing", "Runtime.HandlerNotFound"),
    ],
)
def test_a_function_that_cannot_be_loaded_is_never_retried(worker: Lambda, name: str, error: str) -> None:
    assert worker.loads(name) == error
    assert attempts(error) == 0


@pytest.mark.parametrize(
    ("service", "operation", "codes"),
    [
        (
            "REKOGNITION",
            "detect_faces",
            {"ThrottlingException": 6, "ProvisionedThroughputExceededException": 6},
        ),
        ("REKOGNITION", "detect_faces", {"InternalServerError": 3, "AccessDeniedException": 3}),
        (
            "DYNAMODB",
            "get_item",
            {
                "ThrottlingException": 6,
                "ProvisionedThroughputExceededException": 6,
                "RequestLimitExceeded": 6,
            },
        ),
        ("DYNAMODB", "get_item", {"InternalServerError": 3, "ResourceNotFoundException": 3}),
    ],
)
def test_a_service_s_refusal_reaches_the_retrier_that_is_meant_for_it(
    worker: Lambda,
    load_handler: Callable[..., ModuleType],
    service: str,
    operation: str,
    codes: dict[str, int],
) -> None:
    module = load_handler("process_image", **PROCESSING)
    for code, expected in codes.items():
        with Stubber(module.DYNAMODB) as dynamodb, Stubber(module.REKOGNITION) as rekognition:
            if service == "REKOGNITION":
                dynamodb.add_response("get_item", {})
            {"DYNAMODB": dynamodb, "REKOGNITION": rekognition}[service].add_client_error(operation, code)
            worker.invoke(module.handler, payload(event("object_created")))
        assert worker.reported["errorType"] == code
        assert attempts(code) == expected


@pytest.mark.parametrize("code", ["Throttling", "ThrottlingException", "Throttled", "KMSThrottling"])
def test_sns_s_throttling_is_waited_out_whatever_it_is_called(
    worker: Lambda, load_handler: Callable[..., ModuleType], code: str
) -> None:
    module = load_handler("send_notification", **SENDING)
    with Stubber(module.SNS) as sns:
        sns.add_client_error("publish", code)
        worker.invoke(module.handler, summary())
    assert attempts(worker.reported["errorType"]) == 6


def test_every_throttling_the_retriers_name_is_one_the_sdk_has() -> None:
    named = set(next(one for one in retriers() if "ThrottlingException" in one["ErrorEquals"])["ErrorEquals"])
    known = {
        name
        for service in ("rekognition", "dynamodb", "sns")
        for name in dir(boto3.client(service).exceptions)
        if name in named
    }
    assert known == named


def matches(pattern: str, line: dict[str, Any]) -> bool:
    """Whether a CloudWatch filter pattern, of the kinds used here, takes a JSON line.

    https://docs.aws.amazon.com/AmazonCloudWatch/latest/logs/FilterAndPatternSyntax.html
    """

    def holds(condition: str) -> bool:
        found = re.fullmatch(r'\$\.(\w+) (=|!=|>=) ("?)(.+?)\3', condition.strip())
        assert found, condition
        name, operator, quote, wanted = found.groups()
        if name not in line:
            return False
        if operator == ">=":
            return bool(line[name] >= float(wanted))
        same = (not quote and wanted == "*") or line[name] == wanted
        return same if operator == "=" else not same

    return all(holds(part) for part in pattern.strip("{} ").split("&&"))


def metrics(line: dict[str, Any]) -> set[str]:
    """The metrics modules/observability makes of a line."""
    text = (OBSERVABILITY / "metrics.tf").read_text("utf-8")
    found = re.findall(r'metric +?= "(\w+)"\n +pattern +?= "(.*)"\n', text)
    assert len(found) == 4
    return {metric for metric, pattern in found if matches(pattern.replace('\\"', '"'), line)}


def test_an_image_is_one_line_that_every_metric_reads(
    worker: Lambda, load_handler: Callable[..., ModuleType]
) -> None:
    module = load_handler("process_image", **PROCESSING)
    stored: dict[str, Any] = {"Item": {"ExecutionId": {"S": "another"}}}
    made = []
    for existing, faces in (({}, [{"Confidence": 99.0}]), ({}, []), (stored, None)):
        with Stubber(module.DYNAMODB) as dynamodb, Stubber(module.REKOGNITION) as rekognition:
            dynamodb.add_response("get_item", existing)
            if faces is not None:
                dynamodb.add_response("put_item", {})
                rekognition.add_response("detect_faces", {"FaceDetails": faces})
            worker.invoke(module.handler, payload(event("object_created")))
        made.append((worker.lines[-1]["outcome"], metrics(worker.lines[-1])))
    assert worker.reported == {}
    assert made == [
        ("face_detected", {"Images", "Faces", "AnalysisTime"}),
        ("no_face", {"Images", "Faces", "AnalysisTime"}),
        ("duplicate", {"Images"}),
    ]


def test_a_rejected_image_is_counted_by_its_reason_and_a_folder_marker_not_at_all(
    worker: Lambda, load_handler: Callable[..., ModuleType]
) -> None:
    module = load_handler("process_image", **PROCESSING)
    with Stubber(module.DYNAMODB) as dynamodb:
        dynamodb.add_response("get_item", {})
        dynamodb.add_response("put_item", {})
        worker.invoke(module.handler, payload(event("object_created_empty")))
    assert worker.lines[-1]["reason"] == "empty"
    assert "RejectedImages" in metrics(worker.lines[-1])
    marker = event("object_created_empty")
    marker["detail"]["object"]["key"] = "photos/"
    worker.invoke(module.handler, payload(marker))
    assert worker.lines[-1]["ignored"] == "folder_marker"
    assert metrics(worker.lines[-1]) == set()


def is_latest_error(line: dict[str, Any]) -> bool:
    """Whether the dashboard's query shows a line, worked out from the query itself."""
    text = (OBSERVABILITY / "dashboard.tf").read_text("utf-8")
    [query] = re.findall(r'"\| filter (.*)",\n', text)
    translated = (
        query.replace('\\"', '"')
        .replace("ispresent(errorType)", '(line.get("errorType") is not None)')
        .replace("record.status", '(line.get("record") or {}).get("status")')
    )
    translated = re.sub(r"(?<![\w.(\"])(level|log_level)(?= in)", r'line.get("\1")', translated)
    translated = re.sub(r"\(type = ", '(line.get("type") == ', translated)
    return bool(eval(translated, {"line": line}))


def test_the_dashboard_shows_what_ends_a_function_whatever_wrote_the_line(
    worker: Lambda, load_handler: Callable[..., ModuleType]
) -> None:
    worker.invoke(load_handler("process_image", **PROCESSING).handler, payload({"detail": {}}))
    uncaught = worker.lines[-1]
    assert uncaught["errorType"] == "InvalidEventError"
    # As the client wrote it before 4.0.4, and what Lambda writes of a time-out:
    # https://docs.aws.amazon.com/lambda/latest/dg/telemetry-schema-reference.html
    older = {"log_level": uncaught.pop("level"), **uncaught}
    timed_out = {"type": "platform.report", "record": {"requestId": "r", "status": "timeout"}}
    for line in (uncaught, older, {**older, "errorType": None}, timed_out):
        assert is_latest_error(line), line


def test_the_dashboard_leaves_out_what_went_well(
    worker: Lambda, load_handler: Callable[..., ModuleType]
) -> None:
    module = load_handler("process_image", **PROCESSING)
    with Stubber(module.DYNAMODB) as dynamodb:
        dynamodb.add_response("get_item", {"Item": {"ExecutionId": {"S": "another"}}})
        worker.invoke(module.handler, payload(event("object_created")))
    done = {"type": "platform.report", "record": {"requestId": "r", "status": "success"}}
    assert not [line for line in (*worker.lines, done) if is_latest_error(line)]


def test_a_mark_that_cannot_be_written_is_among_the_latest_errors(
    worker: Lambda, load_handler: Callable[..., ModuleType]
) -> None:
    module = load_handler("send_notification", **SENDING)
    with Stubber(module.SNS) as sns, Stubber(module.DYNAMODB) as dynamodb:
        sns.add_response("publish", {"MessageId": "m1"})
        dynamodb.add_client_error("update_item", "InternalServerError")
        worker.invoke(module.handler, summary())
    assert worker.reported == {}
    assert worker.lines[-1]["message"] == "notification not marked"
    assert is_latest_error(worker.lines[-1])


def test_all_who_name_the_outcomes_name_those_of_the_table() -> None:
    outcomes = set(get_args(Outcome))
    assert set(OUTCOMES) == outcomes
    dashboard = (OBSERVABILITY / "dashboard.tf").read_text("utf-8")
    [coloured] = re.findall(r"for outcome, colour in \{(.*?)\}", dashboard, re.DOTALL)
    assert set(re.findall(r"^ +(\w+) +=", coloured, re.MULTILINE)) == outcomes | {"duplicate"}
    notification = (ROOT / "modules" / "notification" / "variables.tf").read_text("utf-8")
    for allowed in re.findall(r"setsubtract\(subscription\.outcomes, \[(.*?)\]\)", notification):
        assert set(re.findall(r'"(\w+)"', allowed)) == outcomes
    assert set(TITLES) >= outcomes


@pytest.mark.parametrize("reason", REASONS)
def test_every_reason_has_words_for_people(reason: str) -> None:
    assert rejected(reason).detail == REASONS[reason]
    assert len(REASONS[reason].split()) > 3
