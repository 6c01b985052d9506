"""What was found: records by key, or by outcome and day; or all of them into a file."""

from __future__ import annotations

import heapq
import itertools
import re
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import click

from operations import export as exporting
from operations import gallery as galleries
from operations import keys, options, records, terminal
from operations.deployment import Deployment
from operations.errors import UserError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from operations.records import Record

_DAY = re.compile(r"\d{4}-\d{2}-\d{2}")


@click.command
@click.argument("key", required=False, type=options.KEY)
@options.environment
@click.option("--outcome", type=click.Choice(records.OUTCOMES), help="Only this outcome, of one day.")
@click.option("--day", help="Day of the outcome in UTC, as 2026-11-24; today without it.")
@click.option(
    "--limit", type=click.IntRange(1), help="At most so many; 20 on the screen, no limit in an export."
)
@click.option("--faces", is_flag=True, help="With all that is recorded, faces' details too, as an export.")
@click.option(
    "--export",
    type=click.Path(dir_okay=False, path_type=Path),
    help="Write to this new file; its ending says how: .csv, .jsonl or .parquet.",
)
@click.option(
    "--gallery",
    type=click.Path(dir_okay=False, path_type=Path),
    callback=lambda *given: galleries.check(given[-1]),
    help="Write the photos themselves, with their faces, to this new page (.html).",
)
@click.option("--confirm", is_flag=True, help="Make the gallery of many photos, or of photos that expire.")
@options.as_json
def command(
    key: str | None,
    env: str,
    outcome: str | None,
    day: str | None,
    limit: int | None,
    faces: bool,
    export: Path | None,
    gallery: Path | None,
    confirm: bool,
    as_json: bool,
) -> None:
    """Show records, newest first: of one KEY, or of an outcome on a day.

    Without KEY and outcome: today's and yesterday's of every outcome, or the whole table in an export.
    """
    if key and (outcome or day):
        asked = f"{options.named('outcome')} or {options.named('day')}"
        raise UserError(f"A KEY and {asked} are two questions; ask one at a time.")
    if export:
        exporting.check(export)
    chosen_day = _day(day)
    deployment = Deployment.load(env)
    if key:
        key = keys.choose(deployment, key)
    if export:
        _export(deployment, export, key, outcome, chosen_day, limit, as_json=as_json)
        return
    shown = limit or 20
    # One more shows whether there are more.
    pages = _cut(_newest(deployment, key, outcome, chosen_day), shown + 1)
    found = [record for page in pages for record in page]
    more, found = len(found) > shown, found[:shown]
    if gallery and found:
        click.echo(galleries.write(deployment, gallery, found, confirmed=confirm))
        return
    if faces:
        found = [record for page in records.complete(deployment, found) for record in page]
    if as_json:
        options.print_json([records.public(record) for record in found])
    elif found:
        _show(found, more=more)
    else:
        _say_nothing_is_there(env, key, f"{outcome or 'any outcome'} on {chosen_day or 'these two days'}")


def _say_nothing_is_there(env: str, key: str | None, asked: str) -> None:
    if key:
        raise UserError(
            f"There is no record of '{terminal.visible(key)}' in ENV={env}; keys are exact: letter case,"
            " spaces and the folder count."
        )
    click.echo(f"There is no record of {asked} in ENV={env}.", err=True)


def _day(text: str | None) -> str | None:
    if text is None:
        return None
    try:
        if not _DAY.fullmatch(text):
            raise ValueError
        datetime.strptime(text, "%Y-%m-%d").replace(tzinfo=UTC)
    except ValueError:
        raise UserError(f"'{text}' is not a day; write it as 2026-11-24.") from None
    return text


def _newest(
    deployment: Deployment, key: str | None, outcome: str | None, day: str | None
) -> Iterator[list[Record]]:
    """Pages of records, newest first."""
    if key:
        yield from records.by_key(deployment, key)
    elif outcome:
        yield from records.by_outcome(deployment, outcome, day or datetime.now(UTC).date().isoformat())
    else:
        yield from _merged(deployment, day)


def _merged(deployment: Deployment, day: str | None) -> Iterator[list[Record]]:
    today = datetime.now(UTC).date()
    days = [day] if day else [today.isoformat(), (today - timedelta(days=1)).isoformat()]
    for one in days:
        streams = [
            (record for page in records.by_outcome(deployment, outcome, one) for record in page)
            for outcome in records.OUTCOMES
        ]
        merged = heapq.merge(*streams, key=lambda found: str(found.get("Timestamp", "")), reverse=True)
        while page := list(itertools.islice(merged, 100)):
            yield page


def _cut(pages: Iterator[list[Record]], limit: int | None) -> Iterator[list[Record]]:
    """Pages of `limit` records at most; what comes after them is not read."""
    left = limit
    for page in pages:
        if left is None:
            yield page
            continue
        yield page[:left]
        left -= len(page)
        if left <= 0:
            return


def _export(
    deployment: Deployment,
    path: Path,
    key: str | None,
    outcome: str | None,
    day: str | None,
    limit: int | None,
    *,
    as_json: bool,
) -> None:
    everything = not (key or outcome or day)
    pages = records.everything(deployment) if everything else _newest(deployment, key, outcome, day)
    total = _expected(deployment) if everything else None
    total = min(total, limit) if total and limit else total
    with terminal.progress("Exporting", total=total, hidden=as_json) as update:

        def stream() -> Iterator[list[Record]]:
            done = 0
            for page in _cut(pages, limit):
                for part in [page] if everything else records.complete(deployment, page):
                    yield part
                    done += len(part)
                    update(done, total)

        summary = exporting.write(path, stream())
    if as_json:
        options.print_json(
            {"file": str(path), "records": summary.records, "unknown": sorted(summary.unknown)}
        )
        return
    click.echo(f"Wrote {summary.records:,} records to {path}.")
    if summary.unknown:
        names = ", ".join(sorted(summary.unknown))
        click.echo(f"Left out attributes this version does not know: {names}.", err=True)


def _expected(deployment: Deployment) -> int | None:
    """How many records the table holds, as of some hours ago; only a progress bar needs it."""
    count = deployment.client("dynamodb").describe_table(TableName=deployment.table)["Table"].get("ItemCount")
    return int(count) if count else None


def _show(found: Sequence[Record], *, more: bool) -> None:
    rows = []
    for record in found:
        outcome, reason = str(record.get("Outcome") or ""), record.get("Reason")
        faces = record.get("FaceCount")
        rows.append(
            (
                str(record.get("Timestamp") or "")[:19].replace("T", " "),
                f"{outcome} ({reason})" if reason else outcome,
                "" if faces is None else str(faces),
                options.size(record["Size"]) if isinstance(record.get("Size"), int) else "",
                terminal.shown_key(str(record.get("Key") or record.get("ImageID") or "")),
            )
        )
    columns = ("Time (UTC)", "Outcome", "Faces", "Size", "Key")
    terminal.console().print(terminal.table(*columns, rows=rows, numbers=("Faces", "Size")))
    if more:
        click.echo(f"Only the newest {len(found)} are shown; {options.named('limit')} shows more.", err=True)
