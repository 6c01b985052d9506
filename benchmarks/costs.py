"""What a simulated run costs: the pipeline's price a photo, and what waiting and trying again adds."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from benchmarks.scenario import PARK_TRANSITIONS, SDK_BACKOFF_SECONDS
from operations.cost import PriceList, estimate

if TYPE_CHECKING:
    from benchmarks.scenario import Outcome, Scenario

EXECUTION_GB = 0.0625


def of(outcome: Outcome, scenario: Scenario) -> dict[str, Any]:
    """US dollars: Rekognition's own price, all that is paid for each photo, and for trying again."""
    prices = PriceList.load()
    settings = {
        "workflow_type": scenario.type,
        "ingestion": {"mode": scenario.mode, "photos_per_second": scenario.photos_per_second},
    }
    lines = [
        line
        for line in estimate(settings, max(1, round(outcome.analysed)), 0.0, prices, {})
        if line.group == "each image"
    ]
    rekognition = sum(line.dollars for line in lines if line.service == "Rekognition")

    def dollars(name: str, quantity: float) -> float:
        return prices.line("", "", "", name, quantity).dollars

    again = outcome.turned_away + outcome.throttled - outcome.parked
    if scenario.type == "STANDARD":
        retries = dollars("states_transition", again + PARK_TRANSITIONS * outcome.parked)
    else:
        retries = dollars("states_express_gb_second", outcome.waited * EXECUTION_GB)
    # A function that was entered ran for the SDK's pause; one that was not costs nothing.
    retries += dollars("lambda_request", outcome.throttled)
    retries += dollars("lambda_gb_second_arm64", outcome.throttled * SDK_BACKOFF_SECONDS / 2 * 0.5)
    return {
        "dollars": round(sum(line.dollars for line in lines) + retries, 2),
        "rekognition_dollars": round(rekognition, 2),
        "retry_dollars": round(retries, 2),
        "retry_share": round(retries / rekognition, 4) if rekognition else 0.0,
    }
