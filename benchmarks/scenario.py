"""The input of a simulation: arrivals, settings, AWS's quotas, and the deployed workflow's own retriers."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from operations.cost import PRICES, estimate, tiered
from operations.errors import UserError
from operations.program import ROOT

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    Floats = NDArray[np.float64]

Type = Literal["STANDARD", "EXPRESS"]
Mode = Literal["direct", "buffered"]

QUOTAS: Mapping[str, float] = {
    name: one["value"]
    for name, one in json.loads(Path(__file__).with_name("quotas.json").read_text()).items()
}
RETRIES = ROOT / "modules" / "orchestration" / "retry.json"
DAY = 86_400

# The same as in modules/eventing/ingestion.tf.
BATCH = 10
WORKER_PER_SECOND = 5
# From a batch's end to the next one's first start; Lambda prefetches batches.
HANDOVER_SECONDS = 0.05
# Rekognition throttles a call at once; the SDK retries once after up to a second.
# https://docs.aws.amazon.com/sdkref/latest/guide/feature-retry-behavior.html
THROTTLED_SECONDS = 0.05
SDK_BACKOFF_SECONDS = 1.0
# Variation of a call around `call_seconds`: an assumption; only the average matters if calls queue.
SPREAD = 0.4
PARK_TRANSITIONS = 2
# Memory of an EXPRESS execution is billed in steps of 64 MB.
EXECUTION_GB = 0.0625


@dataclass(frozen=True)
class Scenario:
    """`concurrency`: ProcessImage's, None for the account's; `rate`: uploads a second, a day's average.

    `jitter`: whether waits between attempts have full jitter, as on AWS.
    """

    photos: int
    mode: Mode = "buffered"
    type: Type = "STANDARD"
    arrivals: str = "burst"
    rate: float = 300.0
    photos_per_second: int = 45
    photos_per_day: int | None = None
    concurrency: int | None = 50
    call_seconds: float = 1.0
    rekognition_per_second: float = QUOTAS["rekognition_per_second"]
    handover_seconds: float = HANDOVER_SECONDS
    jitter: bool = True
    seed: int = 1

    @property
    def slots(self) -> int:
        return int(self.concurrency or QUOTAS["lambda_concurrency"])

    @property
    def workers(self) -> int:
        return max(2, math.ceil(self.photos_per_second / WORKER_PER_SECOND))

    @property
    def start_rate(self) -> float:
        """Starts a second with a backlog: the pace, less the time between batches."""
        batch = BATCH * self.workers / self.photos_per_second
        return self.photos_per_second * batch / (batch + self.handover_seconds)

    @property
    def start_quota(self) -> tuple[float, float]:
        """StartExecution's refill rate a second, and its bucket size."""
        if self.type == "EXPRESS":
            return QUOTAS["start_express_per_second"], QUOTAS["start_express_per_second"]
        return QUOTAS["start_standard_per_second"], QUOTAS["start_standard_bucket"]

    def waits(self, error: str) -> list[float]:
        """The longest wait in seconds before each retry after `error`; full jitter makes it uniform."""
        retrier = self.retrier(error)
        return [
            min(
                retrier["IntervalSeconds"] * retrier["BackoffRate"] ** attempt,
                retrier.get("MaxDelaySeconds", math.inf),
            )
            for attempt in range(retrier["MaxAttempts"])
        ]

    def retrier(self, error: str) -> dict[str, Any]:
        """The deployed workflow's retrier for `error`, with this type's values."""
        for one in json.loads(RETRIES.read_text("utf-8")):
            if error in one["ErrorEquals"]:
                return {**one, **one.get(self.type, {})}
        raise UserError(f"{RETRIES.name} has no retrier for {error}.")

    def arriving(self, step: float) -> Floats:
        """Photos that arrive in each step of `step` seconds."""
        if self.arrivals in ("burst", "steady"):
            # A constant `rate` a second, like the sync of an archive or a steady stream of users.
            seconds = np.full(math.ceil(self.photos / self.rate), self.rate)
        elif self.arrivals == "day":
            # A cosine around the day's average: fewest at the start, most twelve hours later.
            clock = np.arange(math.ceil(self.photos / self.rate)) / DAY * 2 * math.pi
            seconds = self.rate * (1 - 0.9 * np.cos(clock))
        else:
            seconds = _read(Path(self.arrivals))
        seconds = seconds * (self.photos / seconds.sum())
        if step <= 1:
            return np.asarray(np.repeat(seconds * step, round(1 / step)), dtype=np.float64)
        padded = np.pad(seconds, (0, -len(seconds) % round(step)))
        return np.asarray(padded.reshape(-1, round(step)).sum(axis=1), dtype=np.float64)


def _read(path: Path) -> Floats:
    """Photos in each second, from the last column of a CSV file; a header line is skipped."""
    try:
        lines = filter(None, path.read_text("utf-8").splitlines())
        cells = [line.rpartition(",")[2].strip() for line in lines]
        names = bool(cells) and not cells[0].replace(".", "").isdigit()
        values = [float(cell) for cell in cells[names:]]
    except (OSError, ValueError) as error:
        raise UserError(
            f"arrivals must be burst, steady, day or a CSV file with the photos of a second a line: {error}"
        ) from None
    if not values or min(values) < 0 or not sum(values) > 0:
        raise UserError(f"{path} holds no photos: one number a line, 0 or more, those of each second.")
    return np.array(values)


@dataclass
class Outcome:
    """A simulation's result, in seconds from the first arrival; waits run from upload to notification."""

    photos: int
    analysed: float = 0.0
    parked: float = 0.0
    timed_out: float = 0.0
    turned_away: float = 0.0  # by the function's concurrency
    throttled: float = 0.0  # by Rekognition, after the SDK's second try
    calls: float = 0.0  # of DetectFaces, throttled ones included
    waited: float = 0.0  # total seconds executions waited between attempts
    drained: float = 0.0
    waits: dict[str, float] = field(default_factory=dict)
    backlog: list[tuple[float, float]] = field(default_factory=list)

    @property
    def attempts(self) -> float:
        return self.photos + self.turned_away + self.throttled - self.parked

    def quantiles(self, values: Floats, weights: Floats) -> None:
        """Set `waits` from waiting times and their weights in photos."""
        order = np.argsort(values)
        mass = np.cumsum(weights[order])
        if not len(mass) or mass[-1] <= 0:
            return
        for name, share in (("p50", 0.5), ("p95", 0.95), ("p99", 0.99), ("longest", 1.0)):
            index = min(int(np.searchsorted(mass, share * mass[-1] * (1 - 1e-9))), len(order) - 1)
            self.waits[name] = float(values[order][index])


def facts(outcome: Outcome, scenario: Scenario) -> dict[str, Any]:
    """The outcome and the figures derived from it."""
    busy = outcome.drained or 1.0
    return {
        "photos": scenario.photos,
        "mode": scenario.mode,
        "type": scenario.type,
        "arrivals": scenario.arrivals,
        "drained_seconds": round(outcome.drained, 1),
        "analysed": round(outcome.analysed),
        "parked": round(outcome.parked),
        "timed_out": round(outcome.timed_out),
        "attempts": round(outcome.attempts),
        "turned_away": round(outcome.turned_away),
        "throttled": round(outcome.throttled),
        "quota_used": round(outcome.analysed / busy / scenario.rekognition_per_second, 4),
        "waits": {name: round(seconds, 1) for name, seconds in outcome.waits.items()},
        **costs(outcome, scenario),
    }


def costs(outcome: Outcome, scenario: Scenario) -> dict[str, Any]:
    """US dollars: Rekognition's share, everything paid for each photo, and the cost of retries."""
    settings = {
        "workflow_type": scenario.type,
        "ingestion": {"mode": scenario.mode, "photos_per_second": scenario.photos_per_second},
    }
    lines = [
        line
        for line in estimate(settings, max(1, round(outcome.analysed)), 0.0, {})
        if line.group == "each image"
    ]
    rekognition = sum(line.dollars for line in lines if line.service == "Rekognition")

    def dollars(name: str, quantity: float) -> float:
        return tiered(PRICES[name]["tiers"], quantity)

    again = outcome.turned_away + outcome.throttled - outcome.parked
    if scenario.type == "STANDARD":
        retries = dollars("states_transition", again + PARK_TRANSITIONS * outcome.parked)
    else:
        retries = dollars("states_express_gb_second", outcome.waited * EXECUTION_GB)
    # A throttled invocation ran for the SDK's pause; one that Lambda refused costs nothing.
    retries += dollars("lambda_request", outcome.throttled)
    retries += dollars("lambda_gb_second_arm64", outcome.throttled * SDK_BACKOFF_SECONDS / 2 * 0.5)
    return {
        "dollars": round(sum(line.dollars for line in lines) + retries, 2),
        "rekognition_dollars": round(rekognition, 2),
        "retry_dollars": round(retries, 2),
        "retry_share": round(retries / rekognition, 4) if rekognition else 0.0,
    }
