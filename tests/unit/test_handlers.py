"""The functions as Lambda calls them: cold start, settings, errors, and what they log."""

from __future__ import annotations

import json
import logging
import socket
import traceback
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import boto3
import pytest
from botocore.awsrequest import AWSResponse
from botocore.compat import HTTPHeaders
from botocore.config import Config
from botocore.exceptions import ClientError
from botocore.stub import Stubber

from operations.program import ROOT
from send_notification.mark import set_mark
from tests.unit.messages import summary
from tests.unit.pipeline import TABLE, event, event_for, full_face, make_table, odd_keys

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from types import ModuleType

SETTINGS = {
    "CONVERT_IMAGES": "false",
    "FACE_ATTRIBUTES": "DEFAULT,SMILE",
    "FACE_MIN_CONFIDENCE": "90.5",
    "LOG_OBJECT_KEYS": "false",
    "RECORD_RETENTION_DAYS": "0",
    "RESULTS_TABLE": TABLE,
}

pytestmark = pytest.mark.usefixtures("aws")


@pytest.fixture(autouse=True)
def _log_levels() -> Iterator[None]:
    """Handlers set the levels of loggers for their process, which here outlives them."""
    loggers = [logging.getLogger(name) for name in ("process_image", "send_notification", "botocore")]
    levels = [logger.level for logger in loggers]
    yield
    for logger, level in zip(loggers, levels, strict=True):
        logger.setLevel(level)


@pytest.fixture
def load(load_handler: Callable[..., ModuleType]) -> Callable[..., ModuleType]:
    """ProcessImage's handler with settings, its table, and a Rekognition that finds two faces each time."""

    def load_process_image(**changes: str | None) -> ModuleType:
        module = load_handler("process_image", **(SETTINGS | changes))
        make_table(module.DYNAMODB)
        body = json.dumps({"FaceDetails": [full_face(), full_face()]}).encode()

        def answer(**_: object) -> AWSResponse:
            return Response(body)

        # Below the SDK's parser, which logs what it reads. moto's own handler is in the same place.
        module.REKOGNITION.meta.events.unregister("before-send", _moto_handler())
        module.REKOGNITION.meta.events.register("before-send.rekognition.DetectFaces", answer)
        return module

    return load_process_image


class Response(AWSResponse):
    """An answer of Rekognition that needs no network."""

    def __init__(self, body: bytes) -> None:
        super().__init__("https://rekognition.test", 200, HTTPHeaders(), None)
        self._content = body


def _moto_handler() -> Any:
    from moto.core.models import botocore_stubber

    return botocore_stubber


def invoke(module: ModuleType, created: dict[str, Any], execution: str = "execution-1") -> dict[str, Any]:
    """The workflow's payload; what comes back must be JSON, as Lambda makes it."""
    answer = module.handler({"event": created, "execution_id": execution}, None)
    decoded: dict[str, Any] = json.loads(json.dumps(answer))
    return decoded


def test_an_event_becomes_a_record_and_a_summary(load: Callable[..., ModuleType]) -> None:
    module = load(RECORD_RETENTION_DAYS="30")
    before = datetime.now(UTC)
    answer = invoke(module, event("object_created"))
    assert (answer["duplicate"], answer["outcome"], answer["face_count"]) == (False, "face_detected", 2)
    (item,) = module.DYNAMODB.scan(TableName=TABLE)["Items"]
    written = datetime.fromisoformat(item["Timestamp"]["S"])
    assert -1 < (written - before).total_seconds() < 60
    assert int(item["ExpiresAt"]["N"]) == int(written.timestamp()) + 30 * 86_400
    assert item["ExecutionId"] == {"S": "execution-1"}


def test_the_same_event_in_another_execution_is_a_duplicate(load: Callable[..., ModuleType]) -> None:
    module = load()
    invoke(module, event("object_created"))
    assert invoke(module, event("object_created"), "execution-2")["duplicate"] is True


def test_settings_are_read_once_at_the_start(load: Callable[..., ModuleType]) -> None:
    settings = load(RECORD_RETENTION_DAYS="365", LOG_OBJECT_KEYS="true").SETTINGS
    assert settings.table == TABLE
    assert settings.attributes == ["DEFAULT", "SMILE"]
    assert settings.min_confidence == 90.5
    assert settings.retention_days == 365
    assert settings.log_object_keys is True


def test_a_retention_of_0_days_keeps_records_indefinitely(load: Callable[..., ModuleType]) -> None:
    assert load(RECORD_RETENTION_DAYS="0").SETTINGS.retention_days is None


@pytest.mark.parametrize("name", sorted(SETTINGS))
@pytest.mark.proves("no-setting")
def test_a_missing_setting_stops_process_image_at_the_start_naming_it(
    load: Callable[..., ModuleType], name: str
) -> None:
    with pytest.raises(Exception, match=f"environment variable {name} is not set") as caught:
        load(**{name: None})
    assert type(caught.value).__name__ == "ConfigurationError"


SENDING = {
    "RESULTS_TABLE": TABLE,
    "RESULTS_TOPIC_ARN": "arn:aws:sns:us-east-1:111122223333:results",
}


@pytest.mark.parametrize("name", sorted(SENDING))
@pytest.mark.proves("no-setting")
def test_a_missing_setting_stops_send_notification_at_the_start_naming_it(
    load_handler: Callable[..., ModuleType], name: str
) -> None:
    with pytest.raises(Exception, match=f"environment variable {name} is not set") as caught:
        load_handler("send_notification", **{**SENDING, name: None})
    assert type(caught.value).__name__ == "ConfigurationError"


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("FACE_MIN_CONFIDENCE", "high"),
        ("FACE_MIN_CONFIDENCE", ""),
        ("FACE_MIN_CONFIDENCE", "nan"),
        ("FACE_MIN_CONFIDENCE", "-1"),
        ("FACE_MIN_CONFIDENCE", "100.5"),
        ("RECORD_RETENTION_DAYS", "a year"),
        ("RECORD_RETENTION_DAYS", ""),
        ("RECORD_RETENTION_DAYS", "1.5"),
        ("RECORD_RETENTION_DAYS", "-1"),
        ("RECORD_RETENTION_DAYS", "inf"),
    ],
)
def test_an_unusable_setting_stops_process_image_at_the_start_naming_it(
    load: Callable[..., ModuleType], name: str, value: str
) -> None:
    with pytest.raises(Exception, match=f"environment variable {name} is not a .*: {value!r}") as caught:
        load(**{name: value})
    assert type(caught.value).__name__ == "ConfigurationError"


def logged(caplog: pytest.LogCaptureFixture) -> str:
    """Everything that was logged, with every extra field."""
    return "\n".join(repr(vars(entry)) for entry in caplog.records)


@pytest.fixture
def lambda_logs(caplog: pytest.LogCaptureFixture) -> Callable[[str], pytest.LogCaptureFixture]:
    """Logging as Lambda's runtime sets it up: the root logger at the function's level."""

    def at(level: str) -> pytest.LogCaptureFixture:
        caplog.set_level(logging.getLevelNamesMapping().get(level, logging.DEBUG))
        return caplog

    return at


def test_an_info_log_has_the_outcome_and_no_key(
    load: Callable[..., ModuleType], lambda_logs: Callable[[str], pytest.LogCaptureFixture]
) -> None:
    module, caplog = load(), lambda_logs("INFO")
    invoke(module, event_for("photos/anna.jpg"), "execution-7")
    (entry,) = [entry for entry in caplog.records if entry.name == "process_image"]
    fields = vars(entry)
    assert (entry.levelname, entry.getMessage()) == ("INFO", "image processed")
    assert (fields["outcome"], fields["face_count"], fields["reason"]) == ("face_detected", 2, None)
    assert fields["execution_id"] == "execution-7"
    assert 0 <= fields["analysis_ms"] < 60_000
    assert "anna" not in logged(caplog)


def test_a_duplicate_is_logged_as_one(
    load: Callable[..., ModuleType], lambda_logs: Callable[[str], pytest.LogCaptureFixture]
) -> None:
    module = load()
    invoke(module, event_for("photos/anna.jpg"))
    caplog = lambda_logs("INFO")
    invoke(module, event_for("photos/anna.jpg"), "execution-2")
    assert vars(caplog.records[-1])["outcome"] == "duplicate"
    assert "anna" not in logged(caplog)


def test_a_folder_marker_is_logged_as_ignored_and_counts_as_no_image(
    load: Callable[..., ModuleType], lambda_logs: Callable[[str], pytest.LogCaptureFixture]
) -> None:
    module, caplog = load(), lambda_logs("INFO")
    assert invoke(module, event_for("photos/anna/", size=0))["ignored"] == "folder_marker"
    entry = caplog.records[-1]
    assert (entry.getMessage(), "outcome" in vars(entry)) == ("upload ignored", False)
    assert "anna" not in logged(caplog)


def test_a_rejection_is_logged_with_its_reason(
    load: Callable[..., ModuleType], lambda_logs: Callable[[str], pytest.LogCaptureFixture]
) -> None:
    module, caplog = load(), lambda_logs("INFO")
    invoke(module, event("object_created_empty"))
    fields = vars(caplog.records[-1])
    assert (fields["outcome"], fields["reason"]) == ("rejected", "empty")


def test_keys_are_logged_by_choice(
    load: Callable[..., ModuleType], lambda_logs: Callable[[str], pytest.LogCaptureFixture]
) -> None:
    module, caplog = load(LOG_OBJECT_KEYS="true"), lambda_logs("INFO")
    invoke(module, event_for("photos/anna.jpg"))
    assert vars(caplog.records[-1])["key"] == "photos/anna.jpg"


@pytest.mark.parametrize("level", ["DEBUG", "TRACE"])
def test_keys_are_logged_while_debugging(
    load: Callable[..., ModuleType], lambda_logs: Callable[[str], pytest.LogCaptureFixture], level: str
) -> None:
    module, caplog = load(AWS_LAMBDA_LOG_LEVEL=level), lambda_logs(level)
    invoke(module, event_for("photos/anna.jpg"))
    assert vars(caplog.records[-1])["key"] == "photos/anna.jpg"


@pytest.mark.parametrize("level", ["TRACE", "DEBUG", "INFO", "WARN", "ERROR", "FATAL"])
def test_faces_are_never_logged_at_any_level_lambda_knows(
    load: Callable[..., ModuleType], lambda_logs: Callable[[str], pytest.LogCaptureFixture], level: str
) -> None:
    caplog = lambda_logs(level)
    module = load(AWS_LAMBDA_LOG_LEVEL=level, LOG_OBJECT_KEYS="true")
    assert invoke(module, event("object_created"))["face_count"] == 2
    entries = [entry for entry in caplog.records if entry.name == "process_image"]
    assert bool(entries) is (level in {"TRACE", "DEBUG", "INFO"})
    for word in ("FaceDetails", "BoundingBox", "eyeLeft", "SURPRISED", "Confidence"):
        assert word not in logged(caplog)


def test_a_missing_photo_is_logged_nowhere_by_name_at_info(
    load: Callable[..., ModuleType], lambda_logs: Callable[[str], pytest.LogCaptureFixture]
) -> None:
    module, caplog = load(), lambda_logs("INFO")
    module.S3.create_bucket(Bucket="photo-analysis-dev-uploads-111122223333")
    with Stubber(module.REKOGNITION) as rekognition:
        rekognition.add_client_error("detect_faces", "InvalidS3ObjectException")
        assert invoke(module, event("object_created_without_version_id"))["reason"] == "gone"
    assert "anna" not in logged(caplog)


def test_an_s3_that_does_not_answer_is_an_error_without_the_key(
    load: Callable[..., ModuleType], monkeypatch: pytest.MonkeyPatch
) -> None:
    module = load()
    with socket.create_server(("127.0.0.1", 0)) as deaf:
        port = deaf.getsockname()[1]
        config = Config(read_timeout=0.1, retries={"total_max_attempts": 1})
        s3 = boto3.client("s3", endpoint_url=f"http://127.0.0.1:{port}", config=config)
        monkeypatch.setattr(module, "S3", s3)
        with Stubber(module.REKOGNITION) as rekognition:
            rekognition.add_client_error("detect_faces", "InvalidS3ObjectException")
            with pytest.raises(Exception, match=r"^S3 did not answer: ReadTimeoutErr") as raised:
                invoke(module, event("object_created_without_version_id"))
    # What Lambda logs and hands to the workflow.
    assert raised.value.__suppress_context__
    assert "anna" not in "".join(traceback.format_exception(raised.value))


def test_the_sdk_tries_twice_and_the_workflow_does_the_waiting(load: Callable[..., ModuleType]) -> None:
    module = load()
    for client in (module.REKOGNITION, module.S3, module.DYNAMODB):
        config = client.meta.config
        assert config.retries["total_max_attempts"] == 2
        # The least timeout modules/orchestration allows the function.
        assert 2 * (config.connect_timeout + config.read_timeout) < 25


def test_a_publish_is_tried_once_because_a_lost_answer_may_have_been_delivered(
    load_handler: Callable[..., ModuleType],
) -> None:
    module = load_handler("send_notification", **SENDING)
    config, marking = module.SNS.meta.config, module.DYNAMODB.meta.config
    assert config.retries["total_max_attempts"] == 1
    table_calls = 2 * marking.retries["total_max_attempts"] * (marking.connect_timeout + marking.read_timeout)
    # The least timeout modules/orchestration allows the function.
    assert config.connect_timeout + config.read_timeout + table_calls < 20


@pytest.fixture
def mailbox(load_handler: Callable[..., ModuleType]) -> tuple[ModuleType, Callable[[], list[dict[str, Any]]]]:
    """SendNotification with a topic, and what arrives in a queue subscribed to it."""
    sns, sqs = boto3.client("sns"), boto3.client("sqs")
    topic = sns.create_topic(Name="results")["TopicArn"]
    url = sqs.create_queue(QueueName="results")["QueueUrl"]
    arn = sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]
    sns.subscribe(TopicArn=topic, Protocol="sqs", Endpoint=arn)

    def read() -> list[dict[str, Any]]:
        answer = sqs.receive_message(QueueUrl=url, MaxNumberOfMessages=10)
        return [json.loads(message["Body"]) for message in answer.get("Messages", [])]

    module = load_handler("send_notification", RESULTS_TABLE=TABLE, RESULTS_TOPIC_ARN=topic)
    make_table(module.DYNAMODB)
    return module, read


def recorded(module: ModuleType, **changes: Any) -> dict[str, Any]:
    """A summary whose record is in the table; `changes` are of the record."""
    sent = summary()
    item = {"ImageID": {"S": sent["image_id"]}, "ExecutionId": {"S": sent["execution_id"]}}
    module.DYNAMODB.put_item(TableName=TABLE, Item=item | changes)
    return sent


def the_record(module: ModuleType) -> dict[str, Any]:
    [item] = module.DYNAMODB.scan(TableName=TABLE, ConsistentRead=True)["Items"]
    found: dict[str, Any] = item
    return found


Mailbox = tuple["ModuleType", "Callable[[], list[dict[str, Any]]]"]


def test_a_summary_is_published_once_with_its_attributes(mailbox: Mailbox) -> None:
    module, read = mailbox
    answer = module.handler(summary(), None)
    (delivered,) = read()
    assert answer == {"message_id": delivered["MessageId"]}
    assert delivered["Subject"] == "Face detected in image: photos/anna.jpg"
    assert json.loads(delivered["Message"])["face_count"] == 2
    assert delivered["MessageAttributes"]["outcome"] == {"Type": "String", "Value": "face_detected"}
    assert delivered["MessageAttributes"]["face_count"] == {"Type": "Number", "Value": "2"}
    assert delivered["MessageAttributes"]["key_prefix"] == {"Type": "String", "Value": "photos/"}


def test_an_odd_key_is_delivered_exactly(mailbox: Mailbox) -> None:
    module, read = mailbox
    for key in odd_keys():
        module.handler(summary(key=key), None)
        (delivered,) = read()
        assert json.loads(delivered["Message"])["key"] == key


def calls(client: Any) -> list[str]:
    """The operations called on a client from now on."""
    made: list[str] = []
    client.meta.events.register("before-call.*.*", lambda model, **_: made.append(model.name))
    return made


def test_a_fresh_photo_takes_one_read_one_analysis_one_write_one_publish_and_the_mark(
    mailbox: Mailbox, load: Callable[..., ModuleType], monkeypatch: pytest.MonkeyPatch
) -> None:
    sending, read = mailbox
    monkeypatch.setattr("tests.unit.test_handlers.make_table", lambda _: None)
    analysing = load()
    clients = (analysing.DYNAMODB, analysing.REKOGNITION, analysing.S3, sending.SNS, sending.DYNAMODB)
    made = [calls(client) for client in clients]
    sending.handler({**invoke(analysing, event("object_created")), "retry_count": 0}, None)
    assert made == [["GetItem", "PutItem"], ["DetectFaces"], [], ["Publish"], ["UpdateItem"]]
    assert the_record(sending)["NotifiedAt"]
    assert len(read()) == 1


def test_a_published_notification_is_marked_on_the_record_in_utc(mailbox: Mailbox) -> None:
    module, _ = mailbox
    module.handler(recorded(module), None)
    marked = datetime.fromisoformat(the_record(module)["NotifiedAt"]["S"])
    assert marked.utcoffset() == timedelta()
    assert abs((datetime.now(UTC) - marked).total_seconds()) < 60


def test_a_retry_that_finds_the_mark_publishes_nothing(mailbox: Mailbox) -> None:
    module, read = mailbox
    sent = recorded(module, NotifiedAt={"S": "2026-11-12T13:14:16.000Z"})
    assert module.handler({**sent, "retry_count": 1}, None) == {"message_id": None}
    assert read() == []
    assert the_record(module)["NotifiedAt"] == {"S": "2026-11-12T13:14:16.000Z"}


def test_a_retry_that_finds_no_mark_publishes_and_marks(mailbox: Mailbox) -> None:
    module, read = mailbox
    module.handler({**recorded(module), "retry_count": 1}, None)
    assert len(read()) == 1
    assert "NotifiedAt" in the_record(module)


def test_a_retry_for_a_record_that_was_taken_over_publishes_nothing(mailbox: Mailbox) -> None:
    module, read = mailbox
    sent = recorded(module, ExecutionId={"S": "redrive"})
    module.handler({**sent, "retry_count": 1}, None)
    assert read() == []
    assert the_record(module)["ExecutionId"] == {"S": "redrive"}


@pytest.mark.parametrize("error", ["AccessDeniedException", "ThrottlingException", "InternalServerError"])
def test_a_mark_that_cannot_be_written_is_an_error_in_the_log_and_no_second_message(
    mailbox: Mailbox, lambda_logs: Callable[[str], pytest.LogCaptureFixture], error: str
) -> None:
    (module, read), caplog = mailbox, lambda_logs("INFO")
    sent = recorded(module)
    with Stubber(module.DYNAMODB) as dynamodb:
        dynamodb.add_client_error("update_item", error)
        assert module.handler(sent, None)["message_id"]
    assert len(read()) == 1
    entry = caplog.records[-1]
    assert (entry.levelname, entry.getMessage()) == ("ERROR", "notification not marked")
    assert error in vars(entry)["reason"]
    assert "anna" not in logged(caplog)


def test_a_record_erased_in_the_meantime_is_not_made_again(mailbox: Mailbox) -> None:
    module, read = mailbox
    module.handler(summary(), None)
    assert len(read()) == 1
    assert module.DYNAMODB.scan(TableName=TABLE)["Items"] == []
    assert set_mark(summary(), dynamodb=module.DYNAMODB, table=TABLE) is False


def test_a_summary_without_an_execution_is_published_and_marks_nothing(mailbox: Mailbox) -> None:
    module, read = mailbox
    older = {name: value for name, value in recorded(module).items() if name != "execution_id"}
    module.handler(older, None)
    assert len(read()) == 1
    assert "NotifiedAt" not in the_record(module)


def test_send_notification_publishes_what_process_image_answers(
    load: Callable[..., ModuleType], mailbox: Mailbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    module, read = mailbox
    monkeypatch.setattr("tests.unit.test_handlers.make_table", lambda _: None)
    module.handler(invoke(load(), event("object_created")), None)
    assert json.loads(read()[0]["Message"])["image_id"].startswith("photos/2026/anna.jpg@")


@pytest.mark.parametrize("level", ["INFO", "DEBUG", "TRACE"])
def test_a_notification_is_logged_without_the_key(
    mailbox: Mailbox,
    load_handler: Callable[..., ModuleType],
    lambda_logs: Callable[[str], pytest.LogCaptureFixture],
    level: str,
) -> None:
    caplog = lambda_logs(level)
    module = load_handler("send_notification", AWS_LAMBDA_LOG_LEVEL=level)
    answer = module.handler(recorded(module), None)
    (entry,) = [entry for entry in caplog.records if entry.name == "send_notification"]
    assert (entry.getMessage(), vars(entry)["outcome"]) == ("notification sent", "face_detected")
    assert vars(entry)["message_id"] == answer["message_id"]
    assert "anna" not in logged(caplog)
    assert mailbox[1]()


@pytest.mark.parametrize(
    ("code", "name"),
    [
        ("Throttling", "ThrottledException"),
        ("ThrottlingException", "ThrottledException"),
        ("Throttled", "ThrottledException"),
        ("KMSThrottling", "ThrottledException"),
        ("InternalError", "InternalErrorException"),
        ("NotFound", "NotFoundException"),
        ("AuthorizationError", "AuthorizationErrorException"),
    ],
)
def test_a_refused_publish_is_an_error_under_the_name_the_workflow_knows(
    load_handler: Callable[..., ModuleType], code: str, name: str
) -> None:
    module = load_handler("send_notification", **SENDING)
    with Stubber(module.SNS) as sns:
        sns.add_client_error("publish", code)
        with pytest.raises(ClientError, match=code) as caught:
            module.handler(summary(), None)
    assert type(caught.value).__name__ == name


def test_a_topic_that_is_gone_is_an_error(load_handler: Callable[..., ModuleType]) -> None:
    module = load_handler("send_notification", **SENDING)
    with pytest.raises(ClientError) as caught:
        module.handler(summary(), None)
    assert type(caught.value).__name__ == "NotFoundException"


def test_the_handlers_are_where_the_module_tells_lambda_to_look(load: Callable[..., ModuleType]) -> None:
    assert load().handler.__module__ == "process_image.handler"
    module = (ROOT / "modules" / "function" / "main.tf").read_text("utf-8")
    assert '"${local.package_name}.handler.handler"' in module
