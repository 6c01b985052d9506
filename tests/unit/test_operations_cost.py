"""Estimates: every line from the price list, and the settings that matter change it."""

from __future__ import annotations

import io
import re
from datetime import UTC, date, datetime
from types import SimpleNamespace
from typing import Any

import pytest
from click.testing import CliRunner
from rich.console import Console

from operations import cost
from operations.__main__ import main
from operations.cost import AS_OF, ASSUMPTIONS, PRICES, Line, estimate, tiered
from operations.program import ROOT
from operations.records import OUTCOMES
from process_image.outcomes import REASONS
from tests.definition import pipeline

MILLION = 1_000_000


def lines(settings: dict[str, Any] | None = None, images: int = MILLION, **measured: float) -> list[Line]:
    return list(estimate(settings or {}, images, 2.0, measured))


def each_image(settings: dict[str, Any] | None = None, images: int = MILLION) -> float:
    return sum(line.dollars for line in lines(settings, images) if line.group == "each image")


def dollars(service: str, found: list[Line]) -> float:
    return sum(line.dollars for line in found if line.service == service)


def test_every_price_names_its_page_on_aws_and_the_list_its_date() -> None:
    assert date.fromisoformat(AS_OF) <= datetime.now(UTC).date()
    for price in PRICES.values():
        assert re.fullmatch(r"https://aws\.amazon\.com/[a-z0-9/-]+/", price["url"])
        assert price["page"]
        assert price["unit"]
        limits = [limit for limit, _ in price["tiers"]]
        assert limits[-1] is None
        assert limits[:-1] == sorted(limits[:-1])


def test_every_price_is_used() -> None:
    people = {
        protocol: {"protocol": protocol, "endpoint": "x"} for protocol in ("email", "https", "sms", "sqs")
    }
    x86 = {"process_image": {"architecture": "x86_64"}}
    pages = {line.page for settings in ({}, {"workflow_type": "EXPRESS"}) for line in lines(settings)}
    pages |= {line.page for settings in ({"subscriptions": people}, x86) for line in lines(settings)}
    assert pages == {price["page"] for price in PRICES.values()}


def test_a_buffer_costs_under_a_thousandth_of_rekognition_and_express_with_it_five_hundredths_at_most() -> (
    None
):
    buffered = {"ingestion": {"mode": "buffered"}, "workflow_type": "EXPRESS"}
    assert 0 < each_image(buffered) - each_image({"workflow_type": "EXPRESS"}) < 2
    assert each_image(buffered) <= 1.05 * dollars("Rekognition", lines())


def test_a_million_images_cost_what_the_readme_says() -> None:
    assert dollars("Rekognition", lines()) == pytest.approx(1000)
    plain: dict[str, Any] = {"convert": {"formats": []}}
    assert each_image(plain) == pytest.approx(1130, abs=10)
    assert each_image({**plain, "workflow_type": "EXPRESS"}) == pytest.approx(1035, abs=10)


@pytest.mark.parametrize(("workflow_type", "most"), [("EXPRESS", 25), ("STANDARD", 75)])
def test_a_million_converted_photos_cost_little_on_top_of_rekognition(workflow_type: str, most: int) -> None:
    settings = {"workflow_type": workflow_type}
    more = each_image(settings) - each_image({**settings, "convert": {"formats": []}})
    assert 0 < more / ASSUMPTIONS["converted_share"] < most


def test_the_transitions_of_an_image_are_those_of_the_workflow() -> None:
    states = pipeline()
    name, count = states["StartAt"], 1
    while not states["States"][name].get("End"):
        name = states["States"][name].get("Next") or states["States"][name]["Choices"][0]["Next"]
        count += 1
    # The last one leads to the end.
    assert count + 1 == ASSUMPTIONS["standard_transitions"]
    assert name == "SendNotification"


@pytest.mark.parametrize(
    ("quantity", "expected"),
    [
        (0, 0.0),
        (1, 0.001),
        (MILLION, 1000.0),
        (MILLION + 1, 1000.0008),
        (5 * MILLION, 4200.0),
        (36 * MILLION, 4200.0 + 30 * 600 + 250),
    ],
)
def test_tiers_are_paid_one_after_the_other(quantity: float, expected: float) -> None:
    assert tiered(PRICES["rekognition_image"]["tiers"], quantity) == pytest.approx(expected)


@pytest.mark.parametrize(
    ("settings", "service"),
    [
        ({"process_image": {"memory_size": 1024}}, "Lambda"),
        ({"process_image": {"architecture": "x86_64"}}, "Lambda"),
        ({"face_attributes": ["ALL"]}, "DynamoDB"),
        ({"subscriptions": {"ops": {"protocol": "email", "endpoint": "ops@example.com"}}}, "SNS"),
    ],
)
def test_settings_that_cost_more_are_seen(settings: dict[str, Any], service: str) -> None:
    assert dollars(service, lines(settings)) > dollars(service, lines())


def test_the_made_key_costs_until_it_is_retired() -> None:
    assert dollars("KMS", lines({"retire_made_key": True})) == pytest.approx(dollars("KMS", lines()) - 1)


def test_measured_durations_replace_assumed_ones() -> None:
    def dear(**measured: float) -> float:
        found = lines({"convert": {"formats": []}}, MILLION, **measured)
        [line] = [line for line in found if line.what.startswith("process_image")]
        return line.dollars

    assert dear(process_image_seconds=2.0) == pytest.approx(2 * dear())


def test_a_photo_that_is_converted_is_read_recorded_and_logged_for_but_not_analysed_twice() -> None:
    def quantities(settings: dict[str, Any], **measured: float) -> dict[str, float]:
        return {line.what: line.quantity for line in lines(settings, images=100, **measured)}

    none = quantities({"convert": {"formats": []}, "workflow_type": "EXPRESS"})
    every = quantities({"workflow_type": "EXPRESS"}, converted_share=1.0)
    assert every["DetectFaces"] == none["DetectFaces"] == 100
    assert every["read by Rekognition"] == every["recorded already?"] == 200
    assert every["process_image 512 MB"] == none["process_image 512 MB"] / 2
    assert every["EXPRESS, 64 MB"] > none["EXPRESS, 64 MB"]
    assert every["logs"] > none["logs"]
    averages = {"process_image_seconds": 1.0, "workflow_seconds": 1.5}
    measured = quantities({"workflow_type": "EXPRESS"}, **averages)
    assert measured["process_image 512 MB"] == none["process_image 512 MB"]
    assert measured["EXPRESS, 64 MB"] == none["EXPRESS, 64 MB"]


def test_express_has_no_alarm_for_transitions_and_a_cap_has_one() -> None:
    def alarms(settings: dict[str, Any]) -> float:
        [line] = [line for line in lines(settings) if line.what == "alarms"]
        return line.quantity

    assert alarms({"workflow_type": "EXPRESS"}) == alarms({}) - 1
    assert alarms({"ingestion": {"photos_per_day": 1000}}) == alarms({}) + 1


def test_metrics_are_counted_as_the_filters_make_them() -> None:
    filters = (ROOT / "modules/observability/metrics.tf").read_text("utf-8")
    dimensions = re.findall(r"^ {6}dimensions = (.*)$", filters, re.MULTILINE)
    # A duplicate is an outcome here, though never a record's.
    series = {
        '{ Outcome = "$.outcome" }': len(OUTCOMES) + 1,
        '{ Reason = "$.reason" }': len(REASONS),
        "null": 1,
    }
    assert sum(series[one] for one in dimensions) == ASSUMPTIONS["metrics"]


PEOPLE = {"subscriptions": {"a-team-of-a-long-name": {"protocol": "sms", "endpoint": "+15550100"}}}


@pytest.mark.parametrize("settings", [PEOPLE, PEOPLE | {"workflow_type": "EXPRESS"}])
@pytest.mark.parametrize("width", [80, 200])
def test_each_price_is_shown_in_full_with_its_service_and_the_page_below(
    settings: dict[str, Any], width: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = io.StringIO()
    monkeypatch.setattr(
        "operations.terminal.console", lambda: Console(width=width, file=file, highlight=False)
    )
    found = lines(settings, images=10 * MILLION)
    environment: Any = SimpleNamespace(name="dev", settings=settings)
    cost._show(environment, 10 * MILLION, found, [])
    printed = file.getvalue().splitlines()
    for line in found:
        number = f"{line.quantity:,.0f}" if line.quantity >= 100 else f"{line.quantity:,.2f}"
        # A subscription's name may go on in the next row.
        cells = (line.what.split()[0], number, line.unit, f"{line.dollars:,.2f}", line.service)
        row = re.compile(r"(.* )?\s*".join(map(re.escape, cells)))
        assert any(row.fullmatch(one.rstrip()) for one in printed), cells
        assert any(one.startswith(line.service) and one.endswith(line.url) for one in printed)
    assert "…" not in file.getvalue()
    assert max(map(len, printed)) <= width


def test_one_image_costs_something_on_every_line_that_is_not_free() -> None:
    assert all(line.dollars > 0 for line in lines(images=1) if line.service != "EventBridge")


def test_a_notified_photo_pays_for_the_mark_in_its_record() -> None:
    def marks(settings: dict[str, Any], **options: bool) -> list[float]:
        found = estimate(settings, MILLION, 2.0, {}, **options)
        return [line.quantity for line in found if (line.service, line.what) == ("DynamoDB", "notified")]

    # An update is paid for by the whole item's size; NotifiedAt is in neither index.
    assert marks({}) == [2 * MILLION]
    assert marks({"face_attributes": ["ALL"]})[0] > 2 * MILLION
    assert marks({}, notify=False) == []


@pytest.mark.parametrize("size", ["nan", "NaN", "inf", "-inf", "-1", "-0.5", "much"])
def test_a_size_that_is_no_size_is_refused_in_one_sentence(size: str) -> None:
    result = CliRunner().invoke(main, ["cost", "--env", "local", "--photo-mb", size])
    assert result.exit_code in (1, 2)
    assert result.stdout == ""
    assert "Traceback" not in result.stderr
    assert result.stderr.count("Error: ") == 1
    assert "photo-mb" in result.stderr.casefold()
