"""The plots in docs/scale.md and docs/performance.md, as reproducible SVG."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import matplotlib as mpl

mpl.use("svg")
mpl.rcParams.update({"svg.hashsalt": "photo-analysis", "axes.grid": True, "grid.alpha": 0.3, "font.size": 9})
from matplotlib import pyplot as plt  # noqa: E402

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from matplotlib.axes import Axes

    from benchmarks.scenario import Outcome

COLOURS = {
    ("direct", "STANDARD"): "#c44",
    ("direct", "EXPRESS"): "#e90",
    ("buffered", "STANDARD"): "#26a",
    ("buffered", "EXPRESS"): "#2a6",
}


def _figure(title: str, across: str, up: str) -> Axes:
    _, axes = plt.subplots(figsize=(7, 3.6), layout="constrained")
    axes.set_title(title)
    axes.set_xlabel(across)
    axes.set_ylabel(up)
    return axes


def _save(axes: Axes, path: Path) -> None:
    path.parent.mkdir(exist_ok=True)
    plt.figure(axes.get_figure(root=True)).savefig(path, metadata={"Date": None})
    plt.close("all")


def backlog(runs: Sequence[tuple[dict[str, Any], Outcome]], path: Path) -> None:
    axes = _figure("100,000 photos at 300 a second", "minutes", "photos not yet done or parked")
    for found, outcome in runs:
        key = (found["mode"], found["type"])
        minutes = [moment / 60 for moment, _ in outcome.backlog]
        label = f"{key[0]}, {key[1]}: {found['parked']:,} parked"
        dashes = "--" if key == ("buffered", "EXPRESS") else "-"
        axes.plot(minutes, [count for _, count in outcome.backlog], dashes, color=COLOURS[key], label=label)
    axes.legend()
    _save(axes, path)


def waits(results: Sequence[dict[str, Any]], path: Path) -> None:
    axes = _figure("Upload to notification, STANDARD, of those analysed", "photos", "seconds")
    for mode in ("direct", "buffered"):
        chosen = [one for one in results if one["mode"] == mode and one["type"] == "STANDARD"]
        for name, style in (("p50", "-"), ("p95", "--"), ("longest", ":")):
            axes.plot(
                [one["photos"] for one in chosen],
                [one["waits"][name] for one in chosen],
                style,
                marker="o",
                color=COLOURS[mode, "STANDARD"],
                label=f"{mode}, {name}",
            )
    axes.set_xscale("log")
    axes.set_yscale("log")
    axes.legend(ncols=2)
    _save(axes, path)


def costs(results: Sequence[dict[str, Any]], path: Path) -> None:
    axes = _figure("Dollars for each thousand photos analysed", "photos uploaded", "dollars")
    for key, colour in COLOURS.items():
        chosen = [one for one in results if (one["mode"], one["type"]) == key and one["analysed"]]
        axes.plot(
            [one["photos"] for one in chosen],
            [one["dollars"] / one["analysed"] * 1000 for one in chosen],
            marker="o",
            color=colour,
            label=", ".join(key),
        )
    axes.set_xscale("log")
    axes.set_ylim(bottom=0)
    axes.legend()
    _save(axes, path)


def latency(found: dict[str, Any], path: Path) -> None:
    axes = _figure("One photo at a time, upload to notification", "", "seconds")
    names = list(found["samples"])
    axes.boxplot([found["samples"][name] for name in names], tick_labels=names, whis=(5, 95))
    axes.set_ylim(bottom=0)
    _save(axes, path)
