"""What a month costs, from the environment's own settings."""

from __future__ import annotations

import itertools
import json
import math
from collections import Counter
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import click
from botocore.exceptions import BotoCoreError, ClientError

from operations import metrics, options, terminal
from operations.deployment import Deployment
from operations.environments import Environment
from operations.errors import UserError
from operations.metrics import Metric

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

_LIST = json.loads(Path(__file__).with_name("prices.json").read_text("utf-8"))
PRICES: Mapping[str, Mapping[str, Any]] = _LIST["prices"]
ASSUMPTIONS: Mapping[str, float] = {name: one["value"] for name, one in _LIST["assumptions"].items()}
AS_OF, REGION = str(_LIST["as_of"]), str(_LIST["region"])
# Each function's default memory in megabytes.
_MEMORY_MB = {"process_image": 512, "convert_image": 1769, "send_notification": 256, "start_workflow": 256}


class Line(NamedTuple):
    """One charge: `quantity` units a month, `dollars` for all of them."""

    group: str
    service: str
    what: str
    quantity: float
    unit: str
    dollars: float
    page: str
    url: str


def line(group: str, service: str, what: str, name: str, quantity: float) -> Line:
    """The charge for `quantity` units at the price `name`."""
    price = PRICES[name]
    dollars = tiered(price["tiers"], quantity)
    return Line(group, service, what, quantity, price["unit"], dollars, price["page"], price["url"])


def tiered(tiers: list[tuple[float | None, float]], quantity: float) -> float:
    """Dollars for `quantity`; a tier is `(up to, price a unit)`, with None in the last one."""
    total, below = 0.0, 0.0
    for limit, price in tiers:
        upto = min(quantity, math.inf if limit is None else limit)
        total += max(0.0, upto - below) * price
        below = upto
    return total


@click.command
@options.environment
@click.option("--images", type=click.IntRange(1), default=100_000, show_default=True, help="Uploads a month.")
@click.option(
    "--photo-mb", type=click.FloatRange(0), default=2.0, show_default=True, help="Average size of a photo."
)
@options.as_json
def command(env: str, images: int, photo_mb: float, as_json: bool) -> None:
    """Estimate a month's bill for so many images, a line for each price of AWS.

    Settings come from the environment's tfvars; durations from CloudWatch's last 14 days where it is
    deployed, else from the assumptions in operations/prices.json. Photos and records are counted for one
    month's uploads.
    """
    if not math.isfinite(photo_mb):
        raise UserError(f"{options.named('photo-mb')} must be a number of megabytes, such as 2.5.")
    environment = Environment.load(env)
    try:
        measured, note = measure(Deployment.load(env))
    except (UserError, BotoCoreError, ClientError) as error:
        measured, note = {}, f"Durations are assumed: {error}"
    lines = list(estimate(environment.settings, images, photo_mb, measured))
    region = str(environment.settings.get("aws_region", ""))
    notes = [note, f"Prices of {REGION} as of {AS_OF}, before free tiers, discounts and tax."]
    if region != REGION:
        notes.append(f"ENV={env} is in {region}, where prices differ somewhat.")
    if as_json:
        options.print_json(
            {
                "environment": env,
                "images": images,
                "workflow_type": environment.settings.get("workflow_type", "STANDARD"),
                "measured": measured,
                "prices_as_of": AS_OF,
                "total": round(sum(line.dollars for line in lines), 2),
                "lines": [line._asdict() for line in lines],
                "notes": notes,
            }
        )
    else:
        _show(environment, images, lines, notes)


def estimate(
    settings: Mapping[str, Any],
    images: int,
    photo_mb: float,
    measured: Mapping[str, float],
    *,
    notify: bool = True,
) -> Iterator[Line]:
    """The lines of a month with `images` uploads, every one new, and notified if `notify`.

    `settings` as in an environment's tfvars; `measured` overrides assumptions of prices.json.
    """
    known = _known(settings, measured)
    ingestion = settings.get("ingestion") or {}
    invoked = _invocations(settings, known, images, notify=notify)
    converted = invoked.get("convert_image", 0)
    each, month = partial(line, "each image"), partial(line, "a month")

    yield each("Rekognition", "DetectFaces", "rekognition_image", images)
    standard = settings.get("workflow_type", "STANDARD") == "STANDARD"
    if standard:
        transitions = images * known["standard_transitions"] + converted * known["converting_transitions"]
        yield each("Step Functions", "STANDARD", "states_transition", transitions)
    else:
        memory = images * known["workflow_seconds"] * known["workflow_gb"]
        yield each("Step Functions", "EXPRESS", "states_express_request", images)
        yield each("Step Functions", "EXPRESS, 64 MB", "states_express_gb_second", memory)
    yield each("Lambda", "every function", "lambda_request", sum(invoked.values()))
    for name, count in invoked.items():
        function = settings.get("convert" if name == "convert_image" else name) or {}
        memory_mb = function.get("memory_size", _MEMORY_MB[name])
        price = f"lambda_gb_second_{function.get('architecture', 'arm64')}"
        memory = count * known[f"{name}_seconds"] * float(memory_mb) / 1024
        yield each("Lambda", f"{name} {memory_mb} MB", price, memory)

    default = set(settings.get("face_attributes") or ["DEFAULT"]) == {"DEFAULT"}
    face = known["face_kb_default" if default else "face_kb_all"]
    record = known["record_kb"] + known["faces"] * face
    # The record, rounded up to whole KB, and a row of under 1 KB in each of the two indexes.
    yield each("DynamoDB", "record and indexes", "dynamodb_write", images * (math.ceil(record) + 2))
    yield each("DynamoDB", "recorded already?", "dynamodb_read", images + converted)
    yield each("EventBridge", "S3's events", "eventbridge_event", images)
    if ingestion.get("mode") == "buffered":
        requests = images * (1 + 2 / known["buffer_batch"])
        yield each("SQS", "into the buffer and out", "sqs_request", requests)
    if notify:
        # NotifiedAt rewrites the record.
        yield each("DynamoDB", "notified", "dynamodb_write", images * math.ceil(record))
        yield each("SNS", "results topic", "sns_publish", images)
        yield from _deliveries(settings, images)
    yield each("S3", "upload", "s3_put", images)
    yield each("S3", "read by Rekognition", "s3_get", images + converted)
    yield each("KMS", "requests of the services", "kms_request", images * known["kms_requests"])
    logs = images * known["log_kb"] + converted * known["converting_log_kb"]
    yield each("CloudWatch", "logs", "logs_gb", logs / 1024**2)
    yield each("X-Ray", "traces", "xray_trace", images * known["traces"])

    yield month("S3", "photos", "s3_gb_month", images * photo_mb / 1024)
    stored = images * (record + 2 * known["record_kb"]) / 1024**2
    yield month("DynamoDB", "records, backed up", "dynamodb_gb_month", stored)
    # The queue exists in both modes, and Lambda polls it.
    yield month("SQS", "looking into the buffer", "sqs_request", known["buffer_polls"])
    if not settings.get("retire_made_key"):
        yield month("KMS", "the stack's key", "kms_key", 1)
    # EXPRESS has no limit on transitions, so it has no alarm for that.
    alarms = known["alarms"] - (0 if standard else 1) + bool(ingestion.get("photos_per_day"))
    yield month("CloudWatch", "alarms", "alarm", alarms)
    yield month("CloudWatch", "metrics from logs", "metric", known["metrics"])
    yield month("CloudWatch", "dashboard", "dashboard", 1)


def _known(settings: Mapping[str, Any], measured: Mapping[str, float]) -> dict[str, float]:
    """The assumptions, overridden by what was measured; durations are averages over every image."""
    known = {**ASSUMPTIONS, **measured}
    share = known["converted_share"] if converts(settings) else 0.0
    saved = share * (known["process_image_seconds"] - known["refused_image_seconds"])
    # Measured averages already include the converted photos.
    if "process_image_seconds" not in measured:
        known["process_image_seconds"] -= saved
    if "workflow_seconds" not in measured:
        known["workflow_seconds"] += share * known["convert_image_seconds"] - saved
    return known


def converts(settings: Mapping[str, Any]) -> bool:
    """Whether ConvertImage is deployed."""
    return bool((settings.get("convert") or {}).get("formats", True))


def _invocations(
    settings: Mapping[str, Any], known: Mapping[str, float], images: int, *, notify: bool
) -> dict[str, float]:
    """How often each function is invoked; functions that are not used are left out."""
    invoked = {"process_image": float(images)}
    if converts(settings):
        invoked["convert_image"] = images * known["converted_share"]
    if notify:
        invoked["send_notification"] = float(images)
    if (settings.get("ingestion") or {}).get("mode") == "buffered":
        invoked["start_workflow"] = images / known["buffer_batch"]
    return invoked


def _deliveries(settings: Mapping[str, Any], images: int) -> Iterator[Line]:
    """Deliveries at most: every image to every subscriber, as if unfiltered. SQS and Lambda are free."""
    named = {"email": "email", "email-json": "email", "http": "https", "https": "https", "sms": "sms"}
    subscriptions = (settings.get("subscriptions") or {}).values()
    for name, count in Counter(named.get(one["protocol"]) for one in subscriptions).items():
        if name:
            # A text with a character outside the GSM alphabet takes at most two parts.
            messages = images * count * (2 if name == "sms" else 1)
            yield line("each image", "SNS", f"{name}, at most", f"sns_{name}", messages)


def measure(deployment: Deployment) -> tuple[dict[str, float], str]:
    """CloudWatch's average seconds of the last 14 days, by the assumption's name, and a note on them."""
    wanted = {
        f"{function}_seconds": Metric("AWS/Lambda", "Duration", "FunctionName", name, "Average")
        for function, name in deployment.value("function_names").items()
    }
    arn = deployment.state_machine_arn
    wanted["workflow_seconds"] = Metric("AWS/States", "ExecutionTime", "StateMachineArn", arn, "Average")
    now, period = datetime.now(UTC), timedelta(days=14)
    # Both metrics are in milliseconds.
    found = {
        name: round(next(iter(values.values())) / 1000, 3)
        for name, values in metrics.read(deployment, wanted, now - period, now, period).items()
        if values
    }
    if not found:
        return {}, "Durations are assumed: CloudWatch has measured nothing in the last 14 days."
    shown = ", ".join(f"{name} {seconds} s" for name, seconds in sorted(found.items()))
    return found, f"Durations are measured over the last 14 days ({shown})."


def _show(environment: Environment, images: int, lines: list[Line], notes: list[str]) -> None:
    out, rows = terminal.console(), []
    total = sum(line.dollars for line in lines)
    for group, ones in itertools.groupby(lines, key=lambda line: line.group):
        rows.append((f"{group}:", "", "", "", ""))
        for line in ones:
            quantity = f"{line.quantity:,.0f}" if line.quantity >= 100 else f"{line.quantity:,.2f}"
            rows.append((line.what, quantity, line.unit, f"{line.dollars:,.2f}", line.service))
    kind = environment.settings.get("workflow_type", "STANDARD")
    out.print(
        terminal.table(
            *("For", "Quantity", "Unit", "USD/month", "Service"),
            rows=rows,
            numbers=("Quantity", "USD/month"),
            title=f"{environment.name}, {kind}: {images:,} images a month",
            footer=("Total", "", "", f"{total:,.2f}", ""),
        )
    )
    share = lines[0].dollars / total * 100 if total else 0.0
    out.print(f"\n{total / images * 1000:,.3f} USD per 1,000 images; {share:.0f} % of it is Rekognition.\n")
    for service, url in dict.fromkeys((line.service, line.url) for line in lines):
        out.print(f"{service:15}{url}", style="dim", soft_wrap=True, markup=False)
    out.print()
    for note in notes:
        out.print(note, style="dim", soft_wrap=True, markup=False)
