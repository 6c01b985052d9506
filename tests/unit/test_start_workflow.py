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
from tests.unit.buffered import SETTINGS, Hands, OneAtATime, States, World, refusal
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
    world = World(photos_per_second=pace)
    world.states.seconds = seconds
    for first in (0, 10):
        world.work(world.batch(10, first))
    moments = [moment for moment, _, _ in world.states.started]
    assert len(moments) == 20
    assert all(after - before >= 1 / pace - 1e-9 for before, after in pairwise(moments))


def test_a_batch_takes_no_longer_than_its_share_asks_for() -> None:
    world = World(photos_per_second=5.0)
    world.work(world.batch(10))
    assert world.clock.elapsed == pytest.approx(2.0)


def test_the_first_photo_of_a_batch_waits_for_nothing() -> None:
    world = World()
    world.work(world.batch(1))
    assert world.states.started[0][0] == 0.0


def test_the_workflow_gets_the_event_as_it_came() -> None:
    world = World()
    records = world.batch(1)
    assert world.work(records).kept == []
    assert world.states.started[0][2] == records[0]["body"]


def test_a_message_delivered_twice_starts_once() -> None:
    world = World()
    (record,) = world.batch(1)
    done = world.work([record, record])
    assert (done.started, done.duplicates, done.kept) == (1, 1, [])


def test_executions_of_different_events_have_different_names_that_step_functions_takes() -> None:
    bodies = [json.dumps(event_for(key)) for key in ("a.jpg", "ü b/☃.jpg", "x" * 1024)]
    assert len({name(body) for body in bodies}) == 3
    assert all(len(name(body)) <= 80 and name(body).isalnum() for body in bodies)


def test_a_refused_start_keeps_its_message_only_and_hides_it_for_longer_each_time() -> None:
    world = World()
    records = world.batch(3)
    world.states.errors[records[1]["body"]] = refusal("ThrottlingException")
    pauses = []
    for received in ("1", "2", "3", "900"):
        records[1]["attributes"]["ApproximateReceiveCount"] = received
        assert world.work(records).kept == [records[1]["messageId"]]
        pauses.append(world.hidden[records[1]["receiptHandle"]])
    assert pauses == [30, 60, 120, 900]
    assert world.dead_letters() == []


def test_an_unanswered_start_keeps_its_message() -> None:
    world = World()
    records = world.batch(1)
    world.states.errors[records[0]["body"]] = ConnectTimeoutError(endpoint_url="https://states.test")
    assert world.work(records).kept == [records[0]["messageId"]]


def test_a_body_no_workflow_takes_is_parked_with_the_reason() -> None:
    world = World()
    (record,) = world.batch(1)
    record["body"] = "{not JSON"
    world.states.errors[record["body"]] = refusal("InvalidExecutionInput")
    done = world.work([record])
    assert (done.parked, done.kept) == (1, [])
    (letter,) = world.dead_letters()
    assert letter["Body"] == "{not JSON"
    reasons = {key: value["StringValue"] for key, value in letter["MessageAttributes"].items()}
    assert reasons == {"ERROR_CODE": "InvalidExecutionInput", "ERROR_MESSAGE": "InvalidExecutionInput it is"}


def test_a_body_that_cannot_be_parked_stays_in_the_queue() -> None:
    world = World()
    (record,) = world.batch(1)
    world.states.errors[record["body"]] = refusal("InvalidExecutionInput")
    world.sqs.delete_queue(QueueUrl=world.settings.dead_letter_queue_url)
    assert world.work([record]).kept == [record["messageId"]]


def test_the_cap_holds_messages_until_midnight_and_goes_on_then() -> None:
    world = World(photos_per_day=12)
    world.clock.moment = datetime(2026, 11, 25, 18, tzinfo=UTC)
    assert world.work(world.batch(10)).started == 10
    second = world.batch(10, 10)
    done = world.work(second)
    assert (done.started, done.capped, len(done.kept)) == (2, True, 8)
    left = (datetime(2026, 11, 26, tzinfo=UTC) - world.clock.now()).total_seconds()
    hidden = {world.hidden[one["receiptHandle"]] for one in second[2:]}
    assert all(left < seconds < left + 10 for seconds in hidden)
    world.clock.sleep(max(hidden))
    assert world.work(second[2:]).started == 8
    assert (world.counted(), world.counted("2026-11-26")) == (12, 8)


def test_messages_wait_for_midnight_in_two_parts_as_sqs_hides_none_for_longer_than_twelve_hours() -> None:
    world = World(photos_per_day=1)
    world.clock.moment = datetime(2026, 11, 25, 1, tzinfo=UTC)
    world.work(world.batch(3))
    assert set(world.hidden.values()) == {43_000}


def test_a_cap_reached_costs_no_time_and_starts_nothing() -> None:
    world = World(photos_per_day=10)
    world.work(world.batch(10))
    before = world.clock.elapsed
    done = world.work(world.batch(10, 10))
    assert (done.started, len(done.kept)) == (0, 10)
    assert world.clock.elapsed == before


def test_the_cap_is_counted_by_one_write_a_batch() -> None:
    world = World(photos_per_day=1000)
    writes: list[str] = []
    world.dynamodb.meta.events.register("before-call.dynamodb", lambda model, **_: writes.append(model.name))
    world.work(world.batch(10))
    assert writes == ["UpdateItem"]


def test_refused_and_repeated_starts_do_not_use_up_the_cap() -> None:
    world = World(photos_per_day=100)
    records = world.batch(5)
    world.states.errors[records[0]["body"]] = refusal("ThrottlingException")
    world.work(records)
    world.work(records[1:])
    assert world.counted() == 4


def test_the_cap_holds_for_workers_side_by_side_and_after_a_restart() -> None:
    world = World(photos_per_day=25)
    batches = [world.batch(10, 10 * index) for index in range(6)]
    started: list[int] = []
    sqs, dynamodb = OneAtATime(world.sqs), OneAtATime(world.dynamodb)

    def worker(records: list[dict[str, Any]]) -> None:
        # A new process each: nothing but the table remembers.
        clock = Hands()
        clients = Clients(cast("Any", States(clock)), cast("Any", sqs), cast("Any", dynamodb))
        done = start(records, settings=world.settings, clients=clients, clock=clock)
        started.append(done.started)

    threads = [threading.Thread(target=worker, args=(records,)) for records in batches]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sum(started) == 25


def test_nothing_starts_while_the_cap_cannot_be_counted() -> None:
    world = World(photos_per_day=100)
    world.dynamodb.delete_table(TableName="counts")
    records = world.batch(2)
    with pytest.raises(world.dynamodb.exceptions.ResourceNotFoundException):
        world.work(records)
    assert world.states.started == []


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
    world = World()
    records = world.batch(2)
    world.states.errors[records[1]["body"]] = refusal("ThrottlingException")
    module = load_handler("start_workflow", **ENVIRONMENT | {"QUEUE_URL": world.settings.queue_url})
    monkeypatch.setattr(module, "CLIENTS", Clients(cast("Any", world.states), world.sqs, None))
    monkeypatch.setattr(module, "Clock", lambda: world.clock)
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
