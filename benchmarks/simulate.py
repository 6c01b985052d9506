"""`simulate`: run a burst, a steady stream or a day through the design under AWS's quotas."""

from __future__ import annotations

import json
import time
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from benchmarks import exact, flow
from benchmarks.scenario import QUOTAS, Mode, Scenario, Type, facts
from operations import options
from operations.errors import UserError
from operations.program import ROOT

if TYPE_CHECKING:
    from collections.abc import Iterable

    from benchmarks.scenario import Outcome

DOCUMENT = ROOT / "docs" / "scale.md"
# Measured and predicted times of runs on the local cloud; written by `make drain`.
MEASURED = Path(__file__).with_name("measured.json")
QUOTAS_FILE = Path(__file__).with_name("quotas.json")
# Up to this size, the exact simulation takes seconds.
EXACT_PHOTOS = 100_000
SIZES = (10_000, 100_000, 1_000_000, 10_000_000)
MODES: tuple[Mode, ...] = ("direct", "buffered")
TYPES: tuple[Type, ...] = ("STANDARD", "EXPRESS")


@click.command
@click.option("--images", type=click.IntRange(1, 100_000_000), default=100_000, show_default=True)
@click.option("--mode", type=click.Choice([*MODES, "both"]), default="both", show_default=True)
@click.option("--type", "kind", type=click.Choice([*TYPES, "both"]), default="both", show_default=True)
@click.option("--arrivals", default="burst", show_default=True, help="burst, steady, day or a CSV file.")
@click.option(
    "--rate", type=click.FloatRange(0.001), default=300.0, show_default=True, help="Uploads a second."
)
@click.option("--pace", type=click.IntRange(1, 300), default=45, show_default=True, help="photos_per_second.")
@click.option("--cap", type=click.IntRange(1), help="photos_per_day.")
@click.option(
    "--concurrency",
    type=click.IntRange(0, 10_000),
    default=50,
    show_default=True,
    help="ProcessImage's reserved concurrency; 0 for none.",
)
@click.option(
    "--quota", type=click.FloatRange(0.1), default=QUOTAS["rekognition_per_second"], show_default=True
)
@click.option("--exact", "exactly", is_flag=True, help="Every photo on its own, whatever their number.")
@click.option("--document", is_flag=True, help="Write docs/scale.md and its plots instead.")
@options.as_json
def command(
    images: int,
    mode: str,
    kind: str,
    arrivals: str,
    rate: float,
    pace: int,
    cap: int | None,
    concurrency: int,
    quota: float,
    exactly: bool,
    document: bool,
    as_json: bool,
) -> None:
    """Simulate IMAGES uploads under AWS's quotas: how long, how often tried, what parked, what it costs."""
    if document:
        write_document()
        return
    base = Scenario(
        images,
        arrivals=arrivals,
        rate=rate,
        photos_per_second=pace,
        photos_per_day=cap,
        concurrency=concurrency or None,
        rekognition_per_second=quota,
    )
    if cap is not None and cap < 60 * pace:
        raise UserError(f"{options.named('cap')} is less than a minute's pace, 60 x {pace} = {60 * pace}.")
    results = [
        run(replace(base, mode=one, type=other), exactly=exactly or images <= EXACT_PHOTOS)[0]
        for one in MODES
        if mode in (one, "both")
        for other in TYPES
        if kind in (other, "both")
    ]
    if as_json:
        options.print_json(results)
        return
    for line in table(results):
        click.echo(line)


def run(scenario: Scenario, *, exactly: bool) -> tuple[dict[str, Any], Outcome]:
    """The facts of a simulation, with its method and duration, and its outcome."""
    started = time.monotonic()
    outcome = exact.simulate(scenario) if exactly else flow.simulate(scenario)
    found = facts(outcome, scenario)
    how = {"method": "exact" if exactly else "flow", "seconds": round(time.monotonic() - started, 1)}
    return found | how, outcome


def table(results: Iterable[dict[str, Any]]) -> list[str]:
    """The results as a Markdown table."""
    names = (
        "Photos | Mode | Type | Drained in | Parked | Tries | Quota | p50 | p95 | Longest | Cost | Retries"
    )
    lines = [f"| {names} |", "|--:|---|---" + "|--:" * 9 + "|"]
    for one in results:
        waits = one["waits"]
        cells = (
            f"{one['photos']:,}",
            one["mode"],
            one["type"],
            options.duration(one["drained_seconds"]),
            f"{one['parked']:,}",
            f"{one['attempts'] / one['photos']:.2f}",
            f"{one['quota_used']:.0%}",
            *(options.duration(waits.get(name)) for name in ("p50", "p95", "longest")),
            f"${one['dollars']:,.2f}",
            f"${one['retry_dollars']:,.2f}",
        )
        lines.append(f"| {' | '.join(cells)} |")
    return lines


def write_document() -> None:
    """Run the simulations, and write docs/scale.md and its plots."""
    from benchmarks import plots

    bursts: list[dict[str, Any]] = []
    backlogs: list[tuple[dict[str, Any], Outcome]] = []
    for images in SIZES:
        for mode in MODES:
            for kind in TYPES:
                found, outcome = run(Scenario(images, mode, kind), exactly=images <= EXACT_PHOTOS)
                bursts.append(found)
                if images == EXACT_PHOTOS:
                    backlogs.append((found, outcome))
                click.echo(f"{images:,} {mode} {kind}: {found['seconds']} s")
    full = Scenario(1_000_000, photos_per_second=50, concurrency=60)
    target, _ = run(full, exactly=False)
    day, _ = run(Scenario(1_000_000, arrivals="day", rate=12), exactly=False)
    capped, _ = run(Scenario(1_000_000, photos_per_day=400_000), exactly=False)
    agreement = [
        (run(scenario, exactly=True)[0], run(scenario, exactly=False)[0])
        for scenario in (Scenario(EXACT_PHOTOS, mode, kind) for mode in MODES for kind in TYPES)
    ]
    folder = DOCUMENT.with_name("plots")
    plots.backlog(backlogs, folder / "scale-backlog.svg")
    plots.waits(bursts, folder / "scale-waits.svg")
    plots.costs(bursts, folder / "scale-cost.svg")
    pace = Scenario(1).photos_per_second
    text = rendered(
        "scale.md.jinja",
        agreement=agreement,
        approximation="\n".join((flow.__doc__ or "").splitlines()[3:]).strip(),
        bursts=bursts,
        exact_photos=EXACT_PHOTOS,
        measured=json.loads(MEASURED.read_text("utf-8")) if MEASURED.exists() else None,
        others=[target, day, capped],
        quotas=json.loads(QUOTAS_FILE.read_text("utf-8")),
        table=lambda results: "\n".join(table(results)),
        # Five transitions a photo; a photo takes one second in one function and a tenth in the other.
        used=dict.fromkeys(QUOTAS, pace)
        | {"transitions_per_second": 5 * pace, "lambda_concurrency": 1.1 * pace + Scenario(1).workers}
        | {"lambda_instances_per_second": 0, "start_standard_bucket": 0, "express_seconds": 5},
    )
    DOCUMENT.write_text(text, "utf-8")
    click.echo(f"{DOCUMENT.relative_to(ROOT)} is written.")


def rendered(template: str, **values: Any) -> str:
    """A document rendered from a template in this folder."""
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    loader = FileSystemLoader(Path(__file__).parent)
    # Markdown, not HTML.
    environment = Environment(
        loader=loader, undefined=StrictUndefined, keep_trailing_newline=True, autoescape=False
    )
    return environment.get_template(template).render(values)
