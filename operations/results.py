"""`results`: show records by key, or by outcome and day; or export them all to a file."""

from __future__ import annotations

import heapq
import itertools
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import click

from operations import export as exporting
from operations import gallery as galleries
from operations import options, records, terminal, uploads
from operations.deployment import Deployment
from operations.errors import UserError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from operations.records import Record

_FILE = click.Path(path_type=Path)


@click.command
@click.argument("key", required=False, type=options.KEY)
@options.environment
@click.option("--outcome", type=click.Choice(records.OUTCOMES), help="Only this outcome, of one day.")
@options.day
@click.option(
    "--limit", type=click.IntRange(1), help="At most so many; 20 on the screen, no limit in an export."
)
@click.option("--faces", is_flag=True, help="With the faces' details, in JSON.")
@click.option(
    "--export", type=_FILE, help="Write to this new file; its ending says how: .csv, .jsonl or .parquet."
)
@click.option(
    "--gallery", type=_FILE, help="Write the photos themselves, with their faces, to this new page (.html)."
)
@click.option("--confirm", is_flag=True, help="Make the gallery of many photos, or of photos that expire.")
@options.as_json
def command(
    key: str | None,
    env: str,
    outcome: str | None,
    day: date | None,
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
        others = f"{options.named('outcome')} or {options.named('day')}"
        raise UserError(f"A KEY and {others} are two questions; ask one at a time.")
    deployment = Deployment.load(env)
    if key:
        key = uploads.choose(deployment, key)
    newest = _newest(deployment, key, outcome, day)
    if export:
        filtered = key or outcome or day
        found = records.complete(deployment, newest) if filtered else records.everything(deployment)
        _export(export, itertools.islice(found, limit), as_json=as_json)
        return
    limit = limit or 20
    # One extra, to know whether there are more.
    shown = list(itertools.islice(newest, limit + 1))
    more, shown = len(shown) > limit, shown[:limit]
    if gallery and shown:
        click.echo(galleries.write(deployment, gallery, shown, confirmed=confirm))
        return
    shown = [records.public(record) for record in records.complete(deployment, shown)]
    if as_json:
        left_out = () if faces else ("FaceDetails",)
        options.print_json(
            [{name: one for name, one in record.items() if name not in left_out} for record in shown]
        )
    elif shown:
        _show(shown, more=more)
    elif key:
        raise UserError(
            f"There is no record of '{terminal.visible(key)}' in ENV={env}; keys are exact: letter case,"
            " spaces and the folder count."
        )
    else:
        when = day or "these two days"
        click.echo(f"There is no record of {outcome or 'any outcome'} on {when} in ENV={env}.", err=True)


def _newest(
    deployment: Deployment, key: str | None, outcome: str | None, day: date | None
) -> Iterator[Record]:
    if key:
        yield from records.by_key(deployment, key)
        return
    today = datetime.now(UTC).date()
    days = [day or today] if day or outcome else [today, today - timedelta(days=1)]
    for one in days:
        streams = [
            records.by_outcome(deployment, each, one.isoformat())
            for each in ([outcome] if outcome else records.OUTCOMES)
        ]
        yield from heapq.merge(*streams, key=lambda found: str(found.get("Timestamp")), reverse=True)


def _export(path: Path, found: Iterable[Record], *, as_json: bool) -> None:
    with terminal.progress("Exporting", hidden=as_json) as update:
        count, unknown = exporting.write(path, found, update)
    if as_json:
        options.print_json({"file": str(path), "records": count, "unknown": unknown})
        return
    click.echo(f"Wrote {count:,} records to {path}.")
    if unknown:
        click.echo(f"Left out attributes this version does not know: {', '.join(unknown)}.", err=True)


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
    out = terminal.console()
    out.print(terminal.table(*columns, rows=rows, numbers=("Faces", "Size")))
    for record in found:
        if record.get("Detail"):
            key = terminal.shown_key(str(record.get("Key") or record["ImageID"]))
            out.print(f"{key}: {terminal.visible(str(record['Detail']))}", soft_wrap=True, markup=False)
    if more:
        click.echo(f"Only the newest {len(found)} are shown; {options.named('limit')} shows more.", err=True)
