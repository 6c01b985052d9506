"""A day's page: what is counted, and from where."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest
from click.testing import CliRunner

from operations import executions, metrics, records, report
from operations.__main__ import main

if TYPE_CHECKING:
    from collections.abc import Iterator

BEGIN = datetime(2026, 11, 24, tzinfo=UTC)
END = BEGIN + timedelta(days=1)
RECORDS: dict[str, list[dict[str, Any]]] = {
    "face_detected": [{"Timestamp": "2026-11-24T13:59:59.999Z", "Size": 3_000_000}] * 2,
    "no_face": [{"Timestamp": "2026-11-24T00:00:00.000Z", "Size": 1_000_000}],
    "rejected": [{"Timestamp": "2026-11-24T23:00:00.000Z", "Reason": "empty"}],
}


class FakeCloudWatch:
    """Metrics by name and statistic, one value an hour; and what alarms did."""

    def __init__(self, metrics: dict[tuple[str, str], dict[int, float]]) -> None:
        self.metrics = metrics

    def get_metric_data(self, **asked: Any) -> Any:
        assert (asked["StartTime"], asked["EndTime"]) == (BEGIN, END)
        results = []
        for query in asked["MetricDataQueries"]:
            stat = query["MetricStat"]
            found = self.metrics.get((stat["Metric"]["MetricName"], stat["Stat"]), {})
            if stat["Period"] == 24 * 3600:
                found = {0: sum(found.values())} if found else {}
            moments = [BEGIN + timedelta(hours=hour) for hour in found]
            results.append({"Id": query["Id"], "Timestamps": moments, "Values": list(found.values())})
        return {"MetricDataResults": results}

    def get_paginator(self, _name: str) -> Any:
        def item(name: str, summary: str) -> dict[str, Any]:
            return {"AlarmName": name, "Timestamp": BEGIN + timedelta(hours=9), "HistorySummary": summary}

        items = [
            item("dev-dead-letters", "Alarm updated from OK to ALARM"),
            item("dev-dead-letters", "Alarm updated from ALARM to OK"),
            item("other-dead-letters", "Alarm updated from OK to ALARM"),
        ]
        return SimpleNamespace(paginate=lambda **_: [{"AlarmHistoryItems": items}])


@pytest.fixture(autouse=True)
def _recorded(monkeypatch: pytest.MonkeyPatch) -> None:
    def by_outcome(_deployment: object, outcome: str, day: str) -> Iterator[dict[str, Any]]:
        assert day == "2026-11-24"
        yield from RECORDS[outcome]

    monkeypatch.setattr(records, "by_outcome", by_outcome)
    monkeypatch.setattr(metrics, "messages", lambda *_: (2, 0, 0.0))


def deployment(metrics: dict[tuple[str, str], dict[int, float]]) -> Any:
    outputs = {"function_names": {"process_image": "dev-process-image"}, "alarm_names": ["dev-dead-letters"]}
    return SimpleNamespace(
        client=lambda _: FakeCloudWatch(metrics),
        dead_letter_queue_url="https://sqs/1/dev-dead-letter",
        environment=SimpleNamespace(name="dev", settings={}),
        state_machine_arn="arn",
        value=outputs.__getitem__,
    )


METRICS = {
    ("ExecutionTime", "p50"): {13: 800.0},
    ("ExecutionTime", "p95"): {13: 2000.0},
    ("ExecutionTime", "p99"): {13: 4000.0},
    ("Errors", "Sum"): {1: 2.0, 2: 3.0},
    ("Throttles", "Sum"): {1: 7.0},
    ("NumberOfMessagesSent", "Sum"): {3: 4.0},
    ("NumberOfMessagesDeleted", "Sum"): {5: 1.0},
}


def test_a_day_is_counted_by_hour_and_outcome_with_all_that_went_wrong() -> None:
    found = report.look(deployment(METRICS), BEGIN, END)
    hours = {
        name: {hour: count for hour, count in enumerate(counts) if count}
        for name, counts in found["photos"].items()
    }
    assert hours == {"face_detected": {13: 2}, "no_face": {0: 1}, "rejected": {23: 1}}
    assert (found["total"], found["rejected_reasons"], found["complete"]) == (4, {"empty": 1}, True)
    assert found["seconds"]["day"] == {"p50": 0.8, "p95": 2.0, "p99": 4.0}
    assert [hour for hour, one in enumerate(found["seconds"]["hours"]) if one] == [13]
    assert found["tries"] == {"errors": 5, "throttles": 7}
    assert found["dead_letters"] == {"parked": 4, "redriven": 1, "waiting": 2}
    assert found["alarms"] == [{"at": "09:00", "name": "dev-dead-letters"}]
    # Four images at Rekognition's $0.001 and less than that for the rest.
    assert 0.004 < found["dollars"] < 0.008


def test_where_nothing_was_measured_the_list_of_executions_says_how_fast(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def ran(hour: int, seconds: float, status: str = "SUCCEEDED") -> dict[str, Any]:
        start = BEGIN + timedelta(hours=hour)
        return {"status": status, "startDate": start, "stopDate": start + timedelta(seconds=seconds)}

    listed = [ran(25, 60), ran(13, 3), ran(13, 1), ran(13, 2), ran(2, 9, "FAILED"), ran(1, 5)]
    monkeypatch.setattr(executions, "since", lambda *_, **__: iter(listed))
    seconds = report.look(deployment({}), BEGIN, END)["seconds"]
    assert seconds["hours"][13]["p50"] == 2
    assert seconds["hours"][1] == {"p50": 5.0, "p95": 5.0, "p99": 5.0}
    assert [hour for hour, one in enumerate(seconds["hours"]) if one] == [1, 13]
    assert seconds["day"]["p99"] == pytest.approx(5, abs=0.1)


def test_a_day_without_photos_has_a_page_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(records, "by_outcome", lambda *_: iter([]))
    monkeypatch.setattr(executions, "since", lambda *_, **__: iter([]))
    found = report.look(deployment({}), BEGIN, END)
    assert (found["total"], found["dollars"], found["seconds"]["day"]) == (0, 0.0, {})
    assert "Nothing was rejected." in report.html(found)


@pytest.mark.parametrize(
    ("day", "reason"),
    [
        ("yesterday", "'yesterday' is not a day; write it as"),
        ("2999-01-01", "2999-01-01 is yet to come."),
    ],
)
def test_what_is_no_day_of_the_past_is_refused(day: str, reason: str) -> None:
    refused = CliRunner().invoke(main, ["report", "--env", "dev", "--day", day])
    assert refused.exit_code == 1
    assert reason in refused.stderr
