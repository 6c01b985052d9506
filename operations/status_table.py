"""What `status` found, for people."""

from __future__ import annotations

from typing import Any

from rich.columns import Columns

from operations import buffer, options, terminal

_STATES = ("running", "succeeded", "failed", "timed out", "aborted")


def show(found: dict[str, Any]) -> None:
    """Print what `status.look` found as tables."""
    out = terminal.console()
    state = "[bold green]healthy[/]" if found["healthy"] else "[bold red]needs a look[/]"
    out.print(f"[bold]{found['environment']}[/] from {found['from']} to {found['to']}: {state}\n")
    rule, notifications = found["delivery"]["rule"], found["delivery"]["notifications"]
    reasons = {
        f"the rule is {rule.lower()}": rule == "ENABLED",
        "the bucket does not notify EventBridge": notifications,
    }
    for reason in (one for one, well in reasons.items() if not well):
        out.print(f"Uploads start nothing: {reason}. 'make apply' puts it right.\n", style="red")
    buffered = found["buffer"]
    if buffered["mode"] == "buffered" or buffered["paused"] or buffered["waiting"]:
        style = "red" if buffered["paused"] else "default"
        out.print(f"{buffer.sentence(found['environment'], buffered)}\n", style=style)
    parked = found["dead_letters"]
    letters = [("waiting", str(parked["count"])), ("oldest", options.duration(parked["oldest_seconds"]))]
    ran = [(name, str(found["executions"][name.replace(" ", "_").upper()])) for name in _STATES]
    ran += [(name, options.duration(found["latency"][name])) for name in ("p50", "p95")]
    outcomes = {**found["outcomes"], **{f"  {one}": n for one, n in found["rejected_reasons"].items()}}
    counted = [(name, str(count)) for name, count in outcomes.items()]

    def table(*columns: str, **given: Any) -> Any:
        return terminal.table(*columns, width=out.width, **given)

    # Beside one another, or below where the window is too narrow.
    out.print(
        Columns(
            [
                table("Executions", "", rows=ran, red=_STATES[2:]),
                table("Outcomes", "", rows=counted),
                table("Dead letters", "", rows=letters),
            ],
            padding=(0, 4),
        )
    )
    if not found["executions"]["complete"]:
        out.print(f"Only the newest {found['executions']['total']:,} executions are counted.", style="yellow")
    if found["redriven"]:
        out.print(f"\n{found['redriven']:,} that failed have been redriven since and do not count.")
    for title, groups in _groups(found):
        rows = [(one["error"], str(one["count"]), one["cause"]) for one in groups]
        out.print("", table(title, "", "Cause", rows=rows), sep="\n")
    if found["throttled"]:
        throttled = [(name, str(count)) for name, count in found["throttled"].items()]
        out.print("", table("Turned away by Lambda for want of concurrency", "", rows=throttled), sep="\n")
    if found["alarms"]:
        alarms = [(one["name"], one["description"]) for one in found["alarms"]]
        names = {name for name, _ in alarms}
        out.print("", table("Alarm", "What it means", rows=alarms, red=names), sep="\n")


def _groups(found: dict[str, Any]) -> list[tuple[str, list[dict[str, Any]]]]:
    """Titles, and what went wrong under each."""
    parked = found["dead_letters"]
    of_parked = f"(of {parked['looked_at']} looked at)"
    failures = "Failures"
    if not found["executions"]["listed"]:
        failures += f" {of_parked}"
    elif found["failures_looked_at"] < found["failures_total"]:
        failures += f" (of {found['failures_looked_at']:,} looked at)"
    groups = [
        (failures, found["failures"]),
        ("Waiting to try again", found["retries"]),
        (f"Parked because {of_parked}", parked["reasons"]),
    ]
    return [(title, group) for title, group in groups if group]
