"""`bench-check`: compare ratios and counts, never seconds, with the committed ones."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import click

from benchmarks import own
from operations.errors import UserError

FIGURES = Path(__file__).with_name("figures.json")
# Own time is compared as a ratio to a yardstick measured in the same run, a zip in bytes.
MARGIN = 0.35
ZIP_MARGIN = 0.15
IMPORT_MARGIN = 0.05


@click.command
@click.option("--write", is_flag=True, help="Commit to today's figures instead.")
def command(write: bool) -> None:
    """Compare API calls, own time, imports and zips with benchmarks/figures.json; fails when one grew."""
    found = figures(own.measure())
    if write:
        FIGURES.write_text(json.dumps(found, indent=2) + "\n", "utf-8")
        click.echo(f"{FIGURES.name} is written.")
        return
    problems = compare(found, json.loads(FIGURES.read_text("utf-8")))
    if problems:
        raise UserError("; ".join(problems) + ".")
    click.echo("API calls, own time, imports and zips are within their margins.")


def figures(measured: dict[str, Any]) -> dict[str, Any]:
    """Counts and ratios: figures that do not depend on the computer."""
    yardstick = own.yardstick()
    return {
        "calls": {**measured["calls_per_photo"]},
        "calls_buffered": {**measured["calls_per_buffered_photo"]},
        "own_ratio": {faces: round(ms / yardstick, 3) for faces, ms in measured["own_ms_by_faces"].items()},
        "own_import_share": {
            name: round((sum(one.values()) - one["ms"]) / one["ms"], 4)
            for name, one in measured["imports"].items()
        },
        "zip_bytes": measured["zip_bytes"],
    }


def compare(found: dict[str, Any], committed: dict[str, Any]) -> list[str]:
    """The figures that are worse than the committed ones, one sentence each."""
    problems = [
        f"a fresh photo takes {found[kind].get(call, 0)} {call}, not {committed[kind].get(call, 0)}"
        for kind in ("calls", "calls_buffered")
        for call in sorted(found[kind].keys() | committed[kind].keys())
        if found[kind].get(call) != committed[kind].get(call)
    ]
    for kind, margin, what in (
        ("own_ratio", MARGIN, "own time with {} faces is {} yardsticks"),
        ("zip_bytes", ZIP_MARGIN, "the zip of {} has {} bytes"),
    ):
        for name, was in committed[kind].items():
            # Under a tenth of the yardstick, the clock's resolution exceeds any margin.
            most = max(was * (1 + margin), 0.1 if kind == "own_ratio" else 0)
            if found[kind][name] > most:
                problems.append(f"{what.format(name, found[kind][name])}, more than {most:.3f}")
    for name, was in committed["own_import_share"].items():
        if found["own_import_share"][name] > was + IMPORT_MARGIN:
            share = found["own_import_share"][name]
            problems.append(f"{share:.1%} of importing {name} is in its own modules, not {was:.1%}")
    return problems
