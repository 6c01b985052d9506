"""Pause and resume: the mapping off and on, and what is said of the buffer."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from email.utils import format_datetime
from types import SimpleNamespace
from typing import Any

import pytest

from operations import buffer
from operations.errors import UserError

NOW = datetime(2026, 11, 25, 18, tzinfo=UTC)
ANSWERED = {"HTTPHeaders": {"date": format_datetime(NOW, usegmt=True)}}


class Deployment:
    """A deployment whose mapping takes one look to change, with messages and a count."""

    def __init__(self, *, mode: str = "buffered", cap: int | None = None, started: int = 0) -> None:
        self.environment = SimpleNamespace(name="prod")
        self.started = started
        self.states = ["Enabled"]
        self.asked: list[bool] = []
        self.settings = {
            "counts_table_name": "counts",
            "mapping_id": "mapping",
            "mode": mode,
            "photos_per_day": cap,
            "photos_per_second": 45,
            "queue_name": "uploads",
            "queue_url": "queue",
        }

    def value(self, name: str) -> Any:
        return {"ingestion": self.settings}[name]

    def client(self, service: str) -> Any:
        return {
            "cloudwatch": SimpleNamespace(
                get_metric_data=lambda **_: {
                    "MetricDataResults": [{"Id": "age", "Timestamps": [1, 2], "Values": [60.0, 90.0]}]
                }
            ),
            "dynamodb": SimpleNamespace(get_item=self._count),
            "lambda": SimpleNamespace(
                get_event_source_mapping=lambda **_: {"State": self._state()},
                update_event_source_mapping=self._update,
            ),
            "sqs": SimpleNamespace(get_queue_attributes=self._attributes),
        }[service]

    def _count(self, **_: object) -> dict[str, Any]:
        return {"Item": {"Started": {"N": str(self.started)}}} if self.started else {}

    def _state(self) -> str:
        return self.states.pop(0) if len(self.states) > 1 else self.states[0]

    def _update(self, **request: Any) -> None:
        self.asked.append(request["Enabled"])
        self.states = ["Enabling", "Enabled"] if request["Enabled"] else ["Disabling", "Disabled"]

    @staticmethod
    def _attributes(**_: object) -> dict[str, Any]:
        counts = {"ApproximateNumberOfMessages": "89990", "ApproximateNumberOfMessagesNotVisible": "10"}
        return {"Attributes": counts, "ResponseMetadata": ANSWERED}


def printed(deployment: Any, *, on: bool, capsys: pytest.CaptureFixture[str]) -> str:
    buffer._switch(deployment, on=on, as_json=False)
    return capsys.readouterr().out


@pytest.fixture(autouse=True)
def _no_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(buffer, "_LOOK_SECONDS", 0.0)


def test_pausing_waits_until_lambda_has_stopped_and_says_what_waits(
    capsys: pytest.CaptureFixture[str],
) -> None:
    deployment = Deployment()
    text = printed(deployment, on=False, capsys=capsys)
    assert deployment.asked == [False]
    assert "ENV=prod is paused: 89,990 uploads wait, the oldest for 90 s" in text
    assert "make resume ENV=prod" in text


def test_resuming_says_how_long_the_backlog_takes(capsys: pytest.CaptureFixture[str]) -> None:
    text = printed(Deployment(), on=True, capsys=capsys)
    assert "45 photos a second: 89,990 uploads wait, the oldest for 90 s, done in 33 min at this pace" in text


def test_direct_uploads_cannot_be_paused_and_the_refusal_says_what_to_do() -> None:
    deployment: Any = Deployment(mode="direct")
    with pytest.raises(UserError, match=r'ingestion = \{ mode = "buffered" \} in environments/prod\.tfvars'):
        buffer._switch(deployment, on=False, as_json=False)
    assert deployment.asked == []


def test_what_waits_after_a_switch_to_direct_can_be_resumed() -> None:
    deployment: Any = Deployment(mode="direct")
    buffer._switch(deployment, on=True, as_json=True)
    assert deployment.asked == [True]


def test_a_reached_cap_says_how_many_wait_and_until_when() -> None:
    state = buffer.look(Deployment(cap=1000, started=1000), NOW)  # type: ignore[arg-type]
    assert state["cap"] == {
        "photos_per_day": 1000,
        "started_today": 1000,
        "reached": True,
        "resumes": "2026-11-26T00:00:00+00:00",
    }
    assert state["seconds_left"] is None
    assert (
        "89,990 uploads wait, the oldest for 90 s, and 10 more are held until 2026-11-26T00:00"
        in buffer.sentence("prod", state)
    )


def test_the_oldest_upload_is_cloudwatchs() -> None:
    state = buffer.look(Deployment(), NOW)  # type: ignore[arg-type]
    assert (state["oldest_seconds"], state["seconds_left"]) == (90.0, 2000)


class Queue:
    """A queue that is worked off by a minute's pace at each look."""

    def __init__(self, worked_off: int) -> None:
        self.worked_off = worked_off
        self.bodies: list[dict[str, Any]] = []
        self.waiting = self.most = 0

    def get_queue_attributes(self, **_: object) -> dict[str, Any]:
        counts = {
            "ApproximateNumberOfMessages": f"{self.waiting}",
            "ApproximateNumberOfMessagesNotVisible": "0",
        }
        self.waiting = max(0, self.waiting - self.worked_off)
        return {"Attributes": counts, "ResponseMetadata": ANSWERED}

    def send_message_batch(self, **request: Any) -> dict[str, Any]:
        assert len(request["Entries"]) <= 10
        self.bodies += [json.loads(one["MessageBody"]) for one in request["Entries"]]
        self.waiting += len(request["Entries"])
        self.most = max(self.most, self.waiting)
        return {}


def fed(queue: Any, count: int) -> dict[str, int]:
    settings = {"queue_url": "queue", "photos_per_second": 2}
    deployment: Any = SimpleNamespace(client=lambda _: queue, value=lambda _: settings)
    return buffer.feed(deployment, ({"detail": number} for number in range(count)), count, quiet=True)


def test_a_backfill_leaves_no_more_than_a_minute_of_itself_before_live_uploads(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(buffer, "_FEED_LOOK_SECONDS", 0.0)
    queue = Queue(worked_off=50)
    assert fed(queue, 1005) == {"queued": 1005}
    assert [one["detail"] for one in queue.bodies] == list(range(1005))
    # A hundred go in between two looks.
    assert queue.most < 60 * 2 + 100


def test_a_photo_that_is_backfilled_twice_has_another_name_each_time() -> None:
    queue = Queue(worked_off=50)
    fed(queue, 1)
    fed(queue, 1)
    assert len({one["id"] for one in queue.bodies}) == 2


def test_photos_sqs_refuses_end_the_backfill_in_a_sentence() -> None:
    queue = Queue(worked_off=50)
    queue.send_message_batch = lambda **_: {"Failed": [{"Id": "0", "Code": "KmsDisabled"}]}  # type: ignore[method-assign]
    with pytest.raises(UserError, match="SQS refused 1 photos"):
        fed(queue, 1)
