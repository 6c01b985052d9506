"""Prints the findings of `status` as tables."""

from __future__ import annotations

from typing import Any

from rich.columns import Columns

from operations import buffer, options, terminal

_NOTHING, _APPLY = "Uploads start nothing:", "'make apply' puts it right."
_STATES = ("running", "succeeded", "failed", "timed out", "aborted")


def show(found: dict[str, Any]) -> None:
    """Print what `status.look` found as tables."""
    out = terminal.console()
    state = "[bold green]healthy[/]" if found["healthy"] else "[bold red]needs a look[/]"
    out.print(f"[bold]{found['environment']}[/] from {found['from']} to {found['to']}: {state}\n")
    delivery, parked, ran = found["delivery"], found["dead_letters"], found["executions"]
    if delivery["rule"] != "ENABLED":
        out.print(f"{_NOTHING} the rule is {delivery['rule'].lower()}. {_APPLY}\n", style="red")
    if not delivery["notifications"]:
        out.print(f"{_NOTHING} the bucket does not notify EventBridge. {_APPLY}\n", style="red")
    buffered = found["buffer"]
    if buffered["mode"] == "buffered" or buffered["paused"] or buffered["waiting"]:
        style = "red" if buffered["paused"] else "default"
        out.print(f"{buffer.sentence(found['environment'], buffered)}\n", style=style)
    states = [(name, str(ran[name.replace(" ", "_").upper()])) for name in _STATES]
    states += [(name, options.duration(seconds)) for name, seconds in found["latency"].items()]
    letters = [("waiting", str(parked["count"])), ("oldest", options.duration(parked["oldest_seconds"]))]
    tables = [
        terminal.table("Executions", "", rows=states, red=_STATES[2:]),
        terminal.table("Outcomes", "", rows=_counted(found["outcomes"])),
        terminal.table("Dead letters", "", rows=letters),
    ]
    # Side by side, or stacked if the window is too narrow.
    out.print(Columns(tables, padding=(0, 4)))
    if not ran["complete"]:
        out.print(f"Only the newest {ran['total']:,} executions are counted.", style="yellow")
    if found["redriven"]:
        out.print(f"\n{found['redriven']:,} that failed have been redriven since and do not count.")
    # For an EXPRESS workflow, failures come from a sample of the parked events.
    whole = ran["listed"] and found["failures_looked_at"] == found["failures_total"]
    sample = "" if whole else f" (of {found['failures_looked_at']:,} looked at)"
    alarms = [(one["name"], one["description"]) for one in found["alarms"]]
    rejected = [
        (reason, str(count), found["rejected_details"].get(reason, ""))
        for reason, count in found["rejected_reasons"].items()
    ]
    for columns, rows in (
        (("Rejected", "", "Newest"), rejected),
        ((f"Failures{sample}", "", "Cause"), _grouped(found["failures"])),
        (("Waiting to try again", "", "Cause"), _grouped(found["retries"])),
        ((f"Parked because (of {parked['looked_at']} looked at)", "", "Cause"), _grouped(parked["reasons"])),
        (("Turned away by Lambda for want of concurrency", ""), _counted(found["throttled"])),
        (("Alarm", "What it means"), alarms),
    ):
        if rows:
            out.print("", terminal.table(*columns, rows=rows, red={name for name, _ in alarms}), sep="\n")


def _counted(counts: dict[str, int]) -> list[tuple[str, ...]]:
    return [(name, str(count)) for name, count in counts.items()]


def _grouped(groups: list[dict[str, Any]]) -> list[tuple[str, ...]]:
    return [(one["error"], str(one["count"]), one["cause"]) for one in groups]
