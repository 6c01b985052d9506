"""Pause and resume: the mapping off and on, and what is said of the buffer."""

from __future__ import annotations

from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any

import pytest

from operations import buffer, pause
from operations.errors import UserError

NOW = datetime(2026, 11, 25, 18, tzinfo=UTC)


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
                get_metric_statistics=lambda **_: {"Datapoints": [{"Maximum": 60.0}, {"Maximum": 90.0}]}
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
        return {"Attributes": counts}


def told(deployment: Any, *, on: bool, capsys: pytest.CaptureFixture[str]) -> str:
    pause._switch(deployment, on=on, as_json=False)
    return capsys.readouterr().out


@pytest.fixture(autouse=True)
def _no_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pause, "_LOOK_SECONDS", 0.0)


def test_pausing_waits_until_lambda_has_stopped_and_says_what_waits(
    capsys: pytest.CaptureFixture[str],
) -> None:
    deployment = Deployment()
    text = told(deployment, on=False, capsys=capsys)
    assert deployment.asked == [False]
    assert "ENV=prod is paused: 89,990 uploads wait" in text
    assert "make resume ENV=prod" in text


def test_resuming_says_how_long_the_backlog_takes(capsys: pytest.CaptureFixture[str]) -> None:
    text = told(Deployment(), on=True, capsys=capsys)
    assert "45 photos a second: 89,990 uploads wait, done in 33 min at this pace" in text


def test_direct_uploads_cannot_be_paused_and_what_to_do_is_said() -> None:
    deployment: Any = Deployment(mode="direct")
    with pytest.raises(UserError, match=r'ingestion = \{ mode = "buffered" \} in environments/prod\.tfvars'):
        pause._switch(deployment, on=False, as_json=False)
    assert deployment.asked == []


def test_what_waits_after_a_switch_to_direct_can_be_resumed() -> None:
    deployment: Any = Deployment(mode="direct")
    pause._switch(deployment, on=True, as_json=True)
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
    assert "89,990 uploads wait and 10 more are held until 2026-11-26T00:00" in buffer.sentence("prod", state)


def test_the_oldest_upload_is_cloudwatchs() -> None:
    state = buffer.look(Deployment(), NOW)  # type: ignore[arg-type]
    assert (state["oldest_seconds"], state["seconds_left"]) == (90.0, 2000)
