"""start_workflow: the pace, the day's cap, and what happens to each message."""

from __future__ import annotations

import json
import threading
from datetime import UTC, datetime
from itertools import pairwise
from typing import TYPE_CHECKING, Any, cast

import pytest
from botocore.exceptions import ConnectTimeoutError

from start_workflow.settings import ConfigurationError, Settings
from start_workflow.start import Clients, name, start
from tests.unit.buffered import SETTINGS, Buffer, FakeClock, OneAtATime, States, refusal
from tests.unit.pipeline import event_for

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import ModuleType

pytestmark = pytest.mark.usefixtures("aws")


@pytest.mark.parametrize("seconds", [0.0, 0.05, 0.3, 6.0])
@pytest.mark.parametrize("pace", [0.5, 3.5, 5.0])
def test_a_worker_never_starts_faster_than_its_share_not_even_between_batches(
    pace: float, seconds: float
) -> None:
    buffer = Buffer(photos_per_second=pace)
    buffer.states.seconds = seconds
    for first in (0, 10):
        buffer.work(buffer.batch(10, first))
    moments = [moment for moment, _, _ in buffer.states.started]
    assert len(moments) == 20
    assert all(after - before >= 1 / pace - 1e-9 for before, after in pairwise(moments))


def test_a_batch_takes_no_longer_than_its_share_asks_for() -> None:
    buffer = Buffer(photos_per_second=5.0)
    buffer.work(buffer.batch(10))
    assert buffer.clock.elapsed == pytest.approx(2.0)


def test_the_first_photo_of_a_batch_waits_for_nothing() -> None:
    buffer = Buffer()
    buffer.work(buffer.batch(1))
    assert buffer.states.started[0][0] == 0.0


def test_the_workflow_gets_the_event_as_it_came() -> None:
    buffer = Buffer()
    records = buffer.batch(1)
    assert buffer.work(records).kept == []
    assert buffer.states.started[0][2] == records[0]["body"]


def test_a_message_delivered_twice_starts_once() -> None:
    buffer = Buffer()
    (record,) = buffer.batch(1)
    done = buffer.work([record, record])
    assert (done.started, done.duplicates, done.kept) == (1, 1, [])


def test_executions_of_different_events_have_different_names_that_step_functions_takes() -> None:
    bodies = [json.dumps(event_for(key)) for key in ("a.jpg", "ü b/☃.jpg", "x" * 1024)]
    assert len({name(body) for body in bodies}) == 3
    assert all(len(name(body)) <= 80 and name(body).isalnum() for body in bodies)


def test_a_refused_start_keeps_its_message_only_and_hides_it_for_longer_each_time() -> None:
    buffer = Buffer()
    records = buffer.batch(3)
    buffer.states.errors[records[1]["body"]] = refusal("ThrottlingException")
    pauses = []
    for received in ("1", "2", "3", "900"):
        records[1]["attributes"]["ApproximateReceiveCount"] = received
        assert buffer.work(records).kept == [records[1]["messageId"]]
        pauses.append(buffer.hidden[records[1]["receiptHandle"]])
    assert pauses == [30, 60, 120, 900]
    assert buffer.dead_letters() == []


def test_an_unanswered_start_keeps_its_message() -> None:
    buffer = Buffer()
    records = buffer.batch(1)
    buffer.states.errors[records[0]["body"]] = ConnectTimeoutError(endpoint_url="https://states.test")
    assert buffer.work(records).kept == [records[0]["messageId"]]


def test_a_body_no_workflow_takes_is_parked_with_the_reason() -> None:
    buffer = Buffer()
    (record,) = buffer.batch(1)
    record["body"] = "{not JSON"
    buffer.states.errors[record["body"]] = refusal("InvalidExecutionInput")
    done = buffer.work([record])
    assert (done.parked, done.kept) == (1, [])
    (message,) = buffer.dead_letters()
    assert message["Body"] == "{not JSON"
    reasons = {key: value["StringValue"] for key, value in message["MessageAttributes"].items()}
    assert reasons == {"ERROR_CODE": "InvalidExecutionInput", "ERROR_MESSAGE": "InvalidExecutionInput it is"}


def test_a_body_that_cannot_be_parked_stays_in_the_queue() -> None:
    buffer = Buffer()
    (record,) = buffer.batch(1)
    buffer.states.errors[record["body"]] = refusal("InvalidExecutionInput")
    buffer.sqs.delete_queue(QueueUrl=buffer.settings.dead_letter_queue_url)
    assert buffer.work([record]).kept == [record["messageId"]]


def test_the_cap_holds_messages_until_midnight_and_then_continues() -> None:
    buffer = Buffer(photos_per_day=12)
    buffer.clock.moment = datetime(2026, 11, 25, 18, tzinfo=UTC)
    assert buffer.work(buffer.batch(10)).started == 10
    second = buffer.batch(10, 10)
    done = buffer.work(second)
    assert (done.started, done.capped, len(done.kept)) == (2, True, 8)
    left = (datetime(2026, 11, 26, tzinfo=UTC) - buffer.clock.now()).total_seconds()
    hidden = {buffer.hidden[one["receiptHandle"]] for one in second[2:]}
    assert all(left < seconds < left + 10 for seconds in hidden)
    buffer.clock.sleep(max(hidden))
    assert buffer.work(second[2:]).started == 8
    assert (buffer.counted(), buffer.counted("2026-11-26")) == (12, 8)


def test_messages_wait_for_midnight_in_two_parts_as_sqs_hides_none_for_longer_than_twelve_hours() -> None:
    buffer = Buffer(photos_per_day=1)
    buffer.clock.moment = datetime(2026, 11, 25, 1, tzinfo=UTC)
    buffer.work(buffer.batch(3))
    assert set(buffer.hidden.values()) == {43_000}


def test_a_cap_reached_costs_no_time_and_starts_nothing() -> None:
    buffer = Buffer(photos_per_day=10)
    buffer.work(buffer.batch(10))
    before = buffer.clock.elapsed
    done = buffer.work(buffer.batch(10, 10))
    assert (done.started, len(done.kept)) == (0, 10)
    assert buffer.clock.elapsed == before


def test_the_cap_is_counted_by_one_write_a_batch() -> None:
    buffer = Buffer(photos_per_day=1000)
    writes: list[str] = []
    buffer.dynamodb.meta.events.register("before-call.dynamodb", lambda model, **_: writes.append(model.name))
    buffer.work(buffer.batch(10))
    assert writes == ["UpdateItem"]


def test_refused_and_repeated_starts_do_not_use_up_the_cap() -> None:
    buffer = Buffer(photos_per_day=100)
    records = buffer.batch(5)
    buffer.states.errors[records[0]["body"]] = refusal("ThrottlingException")
    buffer.work(records)
    buffer.work(records[1:])
    assert buffer.counted() == 4


def test_the_cap_holds_for_workers_side_by_side_and_after_a_restart() -> None:
    buffer = Buffer(photos_per_day=25)
    batches = [buffer.batch(10, 10 * index) for index in range(6)]
    started: list[int] = []
    sqs, dynamodb = OneAtATime(buffer.sqs), OneAtATime(buffer.dynamodb)

    def worker(records: list[dict[str, Any]]) -> None:
        # A new process each: nothing but the table remembers.
        clock = FakeClock()
        clients = Clients(cast("Any", States(clock)), cast("Any", sqs), cast("Any", dynamodb))
        done = start(records, settings=buffer.settings, clients=clients, clock=clock)
        started.append(done.started)

    threads = [threading.Thread(target=worker, args=(records,)) for records in batches]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sum(started) == 25


def test_nothing_starts_while_the_cap_cannot_be_counted() -> None:
    buffer = Buffer(photos_per_day=100)
    buffer.dynamodb.delete_table(TableName="counts")
    records = buffer.batch(2)
    with pytest.raises(buffer.dynamodb.exceptions.ResourceNotFoundException):
        buffer.work(records)
    assert buffer.states.started == []


ENVIRONMENT = {
    "COUNTS_TABLE": "",
    "DEAD_LETTER_QUEUE_URL": "https://sqs.us-east-1.amazonaws.com/111122223333/dead-letter",
    "PHOTOS_PER_DAY": "0",
    "PHOTOS_PER_SECOND": "5",
    "QUEUE_URL": "https://sqs.us-east-1.amazonaws.com/111122223333/uploads",
    "STATE_MACHINE_ARN": SETTINGS.state_machine_arn,
}


def test_the_handler_answers_with_the_messages_that_stay(
    load_handler: Callable[..., ModuleType], monkeypatch: pytest.MonkeyPatch
) -> None:
    buffer = Buffer()
    records = buffer.batch(2)
    buffer.states.errors[records[1]["body"]] = refusal("ThrottlingException")
    module = load_handler("start_workflow", **ENVIRONMENT | {"QUEUE_URL": buffer.settings.queue_url})
    monkeypatch.setattr(module, "CLIENTS", Clients(cast("Any", buffer.states), buffer.sqs, None))
    monkeypatch.setattr(module, "Clock", lambda: buffer.clock)
    answer = module.handler({"Records": records}, None)
    assert answer == {"batchItemFailures": [{"itemIdentifier": records[1]["messageId"]}]}


@pytest.mark.parametrize("missing", sorted(ENVIRONMENT))
def test_a_missing_setting_is_named(load_handler: Callable[..., ModuleType], missing: str) -> None:
    with pytest.raises(Exception, match=missing) as caught:
        load_handler("start_workflow", **ENVIRONMENT | {missing: None})
    assert type(caught.value).__name__ == ConfigurationError.__name__


@pytest.mark.parametrize(
    ("variable", "value"),
    [("PHOTOS_PER_SECOND", "0"), ("PHOTOS_PER_SECOND", "fast"), ("PHOTOS_PER_DAY", "-1")],
)
def test_an_unusable_setting_is_named(variable: str, value: str) -> None:
    with pytest.raises(ConfigurationError, match=variable):
        Settings.from_environment(ENVIRONMENT | {variable: value})
