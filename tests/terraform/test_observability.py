"""Alarms and dashboard ask for metrics that exist, and every alarm has its section in the runbook."""

from __future__ import annotations

import json
import re
import typing
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pytest

from operations.program import ROOT
from process_image.outcomes import Outcome
from tests.definition import retriers

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.terraform.workspace import Workspace

pytestmark = pytest.mark.terraform

# What AWS's pages list: the namespace, unit and possible sets of dimensions of each metric, and the page.
DOCUMENTED = {
    (row["namespace"], row["metric"]): row
    for row in json.loads((ROOT / "tests/terraform/aws_metrics.json").read_text("utf-8"))
}
RUNBOOK = ROOT / "docs/operations.md"

_NAME = "photos-test"
_CALL = f"""\
terraform {{
  required_providers {{
    aws = {{
      source = "hashicorp/aws"
    }}
  }}
}}

provider "aws" {{
  region                      = "us-east-1"
  skip_credentials_validation = true
  skip_metadata_api_check     = true
  skip_requesting_account_id  = true
}}

variable "workflow_type" {{
  type = string
}}

module "observability" {{
  source = "../../modules/observability"

  account_id             = "111122223333"
  alarms                 = {{ no_images_hours = 24 }}
  alerts_topic_arn       = "arn:aws:sns:us-east-1:111122223333:{_NAME}-alerts"
  aws_region             = "us-east-1"
  dead_letter_queue_name = "{_NAME}-dead-letter"
  name                   = "{_NAME}"
  rule_name              = "{_NAME}-uploads"
  state_machine_arn      = "arn:aws:states:us-east-1:111122223333:stateMachine:{_NAME}-pipeline-standard"
  topics                 = {{ alerts = "{_NAME}-alerts", results = "{_NAME}-results" }}
  workflow_type          = var.workflow_type

  buffer = {{
    capped         = true
    function_name  = "{_NAME}-start-workflow"
    log_group_name = "/aws/lambda/{_NAME}-start-workflow"
    queue_name     = "{_NAME}-uploads"
  }}

  functions = {{
    process_image = {{
      log_group_name = "/aws/lambda/{_NAME}-process-image"
      name           = "{_NAME}-process-image"
    }}
    send_notification = {{
      log_group_name = "/aws/lambda/{_NAME}-send-notification"
      name           = "{_NAME}-send-notification"
    }}
  }}
}}
"""


@dataclass(frozen=True)
class Metric:
    """A metric in use; `user` is an alarm's name or a widget's title."""

    user: str
    namespace: str
    name: str
    dimensions: frozenset[str]
    statistic: str


@dataclass(frozen=True)
class Plan:
    """What the module makes for one type of workflow."""

    alarms: tuple[dict[str, Any], ...]
    filters: tuple[dict[str, Any], ...]
    widgets: tuple[dict[str, Any], ...]

    def metrics(self) -> Iterator[Metric]:
        for alarm in self.alarms:
            yield Metric(
                alarm["alarm_name"],
                alarm["namespace"],
                alarm["metric_name"],
                frozenset(alarm["dimensions"] or {}),
                alarm["statistic"] or alarm["extended_statistic"],
            )
        for widget in self.widgets:
            if widget["type"] == "metric":
                yield from _charted(widget["properties"])

    def expressions(self) -> Iterator[str]:
        for widget in self.widgets:
            for row in widget["properties"].get("metrics", []):
                if isinstance(row[0], dict):
                    yield row[0]["expression"]

    def own(self) -> dict[str, frozenset[str]]:
        """Return the dimensions of each metric made from the logs."""
        return {
            transformation["name"]: frozenset(transformation["dimensions"] or {})
            for filter_ in self.filters
            for transformation in filter_["metric_transformation"]
        }


def _charted(properties: dict[str, Any]) -> Iterator[Metric]:
    for row in properties["metrics"]:
        if isinstance(row[0], dict):  # an expression
            continue
        options = row[-1] if isinstance(row[-1], dict) else {}
        names = [part for part in row if isinstance(part, str)]
        statistic = options.get("stat", properties.get("stat", ""))
        yield Metric(properties["title"], names[0], names[1], frozenset(names[2::2]), statistic)


@pytest.fixture(scope="module", params=["STANDARD", "EXPRESS"])
def plan(request: pytest.FixtureRequest, workspace: Workspace) -> Plan:
    folder = "tests/observability"
    (workspace.folder / folder).mkdir(parents=True, exist_ok=True)
    (workspace.folder / folder / "main.tf").write_text(_CALL, "utf-8")
    terraform = workspace.terraform(folder)
    terraform.run("plan", "-no-color", "-input=false", f"-var=workflow_type={request.param}", "-out=plan")
    root = json.loads(terraform.run("show", "-json", "plan"))["planned_values"]["root_module"]
    of: dict[str, list[dict[str, Any]]] = {}
    for resource in root["child_modules"][0]["resources"]:
        of.setdefault(resource["type"], []).append(resource["values"])
    (dashboard,) = of["aws_cloudwatch_dashboard"]
    return Plan(
        tuple(of["aws_cloudwatch_metric_alarm"]),
        tuple(of["aws_cloudwatch_log_metric_filter"]),
        tuple(json.loads(dashboard["dashboard_body"])["widgets"]),
    )


def test_every_metric_queried_is_documented_with_these_dimensions(plan: Plan) -> None:
    own = plan.own()
    unknown = []
    for metric in plan.metrics():
        if metric.namespace == f"PhotoAnalysis/{_NAME}":
            known = [own[metric.name]] if metric.name in own else []
        else:
            row = DOCUMENTED.get((metric.namespace, metric.name), {"dimensions": []})
            known = [frozenset(dimensions) for dimensions in row["dimensions"]]
        if metric.dimensions not in known:
            unknown.append(metric)
    assert not unknown


def test_documented_metrics_name_their_page() -> None:
    assert all(row["page"].startswith("https://docs.aws.amazon.com/") for row in DOCUMENTED.values())


def test_alarms_use_the_statistic_that_fits_the_metric(plan: Plan) -> None:
    """Counts are added up; the depth of a queue is a gauge, times have percentiles."""
    gauges = {"ApproximateAgeOfOldestMessage", "ApproximateNumberOfMessagesVisible"}
    names = {alarm["alarm_name"] for alarm in plan.alarms}
    for metric in (metric for metric in plan.metrics() if metric.user in names):
        unit = DOCUMENTED.get((metric.namespace, metric.name), {"unit": "Count"})["unit"]
        expected = "Maximum" if metric.name in gauges else "p95" if unit == "Milliseconds" else "Sum"
        assert metric.statistic == expected, metric


def test_alarms_look_back_no_further_than_cloudwatch_does(plan: Plan) -> None:
    # https://docs.aws.amazon.com/AmazonCloudWatch/latest/APIReference/API_PutMetricAlarm.html
    for alarm in plan.alarms:
        most = 604_800 if alarm["period"] >= 3600 else 86_400
        assert alarm["period"] * alarm["evaluation_periods"] <= most, alarm["alarm_name"]


def test_every_metric_made_from_logs_is_shown(plan: Plan) -> None:
    shown = {metric.name for metric in plan.metrics() if metric.namespace == f"PhotoAnalysis/{_NAME}"}
    own = {name: dimensions for name, dimensions in plan.own().items() if name not in shown}
    # A search shows one metric for each value of its dimension there is.
    assert {
        name: frozenset({dimension})
        for expression in plan.expressions()
        for namespace, dimension, name in re.findall(r'{"(.+?)",(\w+)} MetricName="(\w+)"', expression)
        if namespace == f"PhotoAnalysis/{_NAME}"
    } == own


def test_every_outcome_is_shown(plan: Plan) -> None:
    values = {
        part
        for widget in plan.widgets
        if widget["type"] == "metric"
        for row in widget["properties"]["metrics"]
        for part in row
        if isinstance(part, str)
    }
    assert {*typing.get_args(Outcome), "duplicate"} <= values


def test_metrics_of_one_widget_have_ids_of_their_own(plan: Plan) -> None:
    for widget in plan.widgets:
        rows = widget["properties"].get("metrics", [])
        options = [part for row in rows for part in row if isinstance(part, dict)]
        ids = Counter(option["id"] for option in options if "id" in option)
        assert all(count == 1 for count in ids.values()), ids


def test_every_alarm_has_its_section_in_the_runbook(plan: Plan) -> None:
    sections = set(_anchors(RUNBOOK.read_text("utf-8")))
    linked = {alarm["alarm_name"]: alarm["alarm_description"].rpartition("#")[2] for alarm in plan.alarms}
    assert {name: section for name, section in linked.items() if section not in sections} == {}


def test_descriptions_are_ascii_and_short_enough(plan: Plan) -> None:
    for alarm in plan.alarms:
        # 1,024 characters, of which an input's address may take 400:
        # https://docs.aws.amazon.com/AmazonCloudWatch/latest/APIReference/API_PutMetricAlarm.html
        assert alarm["alarm_description"].isascii()
        assert len(alarm["alarm_description"]) <= 624


def test_every_section_of_the_runbook_says_what_to_do() -> None:
    text = RUNBOOK.read_text("utf-8")
    runbook = text[text.index("\n## Runbook\n") + 1 :].split("\n## ", 1)[0]
    sections = re.split(r"\n### ", runbook)[1:]
    assert sections
    parts = ("Meaning", "First look", "Usual causes", "Fix")
    for section in sections:
        missing = [part for part in parts if f"**{part}.**" not in section]
        assert not missing, f"{section.splitlines()[0]}: {missing}"


def test_the_runbook_says_how_long_an_event_waits_for_a_turn() -> None:
    [turn] = [
        retrier for retrier in retriers() if "Lambda.TooManyRequestsException" in retrier["ErrorEquals"]
    ]
    most = sum(
        min(turn["IntervalSeconds"] * turn["BackoffRate"] ** attempt, turn["MaxDelaySeconds"])
        for attempt in range(turn["MaxAttempts"])
    )
    # Full jitter waits half of that on average.
    assert (
        f"STANDARD retries {turn['MaxAttempts']} times, over {most / 120:.0f} minutes on average"
        f" and {most / 60:.0f} at most"
    ) in " ".join(RUNBOOK.read_text("utf-8").split())


def test_alarms_default_alike_in_the_root_and_in_the_module() -> None:
    def block(path: str) -> str:
        text = (ROOT / path).read_text("utf-8")
        found = re.search(r'^variable "alarms" \{\n(  type = .*?^  \}\)\n)', text, re.MULTILINE | re.DOTALL)
        assert found
        return found[1]

    assert block("variables.tf") == block("modules/observability/variables.tf")


def _anchors(markdown: str) -> Iterator[str]:
    """Yield the anchors a forge gives the headings."""
    for heading in re.findall(r"^#+ (.+)$", markdown, re.MULTILINE):
        yield re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")
