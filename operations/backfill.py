"""Photos that were there before: count and price those without a record, and analyse them."""

from __future__ import annotations

import os
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import click

from operations import buffer, bulk, executions, options, records, terminal
from operations.cost import ASSUMPTIONS, PRICES, converts, estimate, measure
from operations.deployment import Deployment
from operations.errors import UserError
from operations.program import under_make
from operations.uploads import is_convertible, is_folder_marker

if TYPE_CHECKING:
    from collections.abc import Iterator

    from operations.terminal import Update

# An execution's own time beside the functions': starting it, its steps, and learning of its end.
_OVERHEAD_SECONDS = 0.5


@dataclass
class Count:
    """Photos under a prefix; empty folder markers are left out. `new`: photos without a record.

    `convertible`: those of them that ConvertImage will probably get, by their names and sizes.
    """

    prefix: str
    photos: int = 0
    bytes: int = 0
    new: int = 0
    convertible: int = 0
    concurrency: int = 1


@click.command
@click.argument("prefix", required=False, type=options.KEY)
@options.environment
@click.option("--notify", is_flag=True, help="Notify the subscribers as for a new upload.")
@options.confirm("Analyse them")
@options.as_json
def command(prefix: str | None, env: str, notify: bool, confirm: bool, as_json: bool) -> None:
    """Analyse every photo under PREFIX that has no record yet ('' for the whole bucket).

    Nobody is notified unless asked for. Ctrl-C stops it, and what is on its way then still ends; run it again
    to go on. How many at once: backfill_concurrency in the environment's tfvars; buffered, they share the
    pace with live uploads, which wait a minute behind them at most.
    """
    # An empty variable counts as none given, and here it is a prefix.
    if prefix is None and "PREFIX" in os.environ and under_make():
        prefix = ""
    if prefix is None:
        raise UserError(
            f"Say which photos: make backfill ENV={env} PREFIX=archive/ (PREFIX= for the whole bucket)."
        )
    deployment = Deployment.load(env)
    prefix = watched(deployment, prefix)
    purpose = f"Backfill of '{prefix}'"
    buffered = buffer.is_used(deployment)
    running = bulk.running(deployment, purpose) if confirm and not buffered else None
    with terminal.progress("Counting photos", hidden=as_json) as update:
        count = count_photos(deployment, prefix, update)
    if not count.photos:
        raise UserError(
            f"There is no photo under '{terminal.visible(prefix)}' in {deployment.bucket}; prefixes are"
            " exact, as in '2025/03/'."
        )
    started = confirm and bool(count.new or running)
    dollars, seconds = forecast(
        deployment, count.new, count.convertible, count.concurrency, notify=notify, buffered=buffered
    )
    if buffered:
        seconds = count.new / deployment.value("ingestion")["photos_per_second"]
    result: dict[str, Any] = {
        **asdict(count),
        "notify": notify,
        "estimated_dollars": round(dollars, 2),
        "estimated_seconds": round(seconds),
        "started": started,
    }
    if not as_json:
        _show(deployment, count, dollars, seconds, notify=notify)
    if started:
        events = (
            executions.event(deployment.bucket, one["Key"], one["ETag"], one["Size"], notify=notify)
            for one in new_photos(deployment, prefix)
        )
        if buffered:
            result |= buffer.feed(deployment, events, count.new, quiet=as_json)
        else:
            result |= bulk.run(deployment, purpose, events, count.new, quiet=as_json)
    _conclude(result, env, deployment.bucket, confirmed=confirm, as_json=as_json)


def _conclude(result: dict[str, Any], env: str, bucket: str, *, confirmed: bool, as_json: bool) -> None:
    if as_json:
        options.print_json(result)
    elif not confirmed:
        click.echo("Nothing is started yet; CONFIRM=1 starts it.")
    if result.get("failed"):
        raise failures(result["failed"], env)
    if "queued" in result and not as_json:
        click.echo(f"Queued: {result['queued']:,} photos, started at the pace; see 'make status ENV={env}'.")
    elif confirmed and not as_json:
        where = f"under '{terminal.visible(result['prefix'])}'" if result["prefix"] else f"in {bucket}"
        click.echo(f"Done: every photo {where} has a record.")


def failures(count: int, env: str) -> UserError:
    """The sentence on photos that failed."""
    return UserError(
        f"Photos that failed: {count:,}; 'make status ENV={env}' says why, and once that is mended"
        f" 'make redrive ENV={env}' starts those in the dead-letter queue again."
    )


def watched(deployment: Deployment, prefix: str) -> str:
    """The part of `prefix` whose uploads start the workflow.

    Raises UserError when no upload under it does.
    """
    watched_prefix = deployment.upload_prefix
    if prefix.startswith(watched_prefix):
        return prefix
    if not watched_prefix.startswith(prefix):
        raise UserError(
            f"Photos under {terminal.shown_key(prefix)} are not analysed: the environment's upload_prefix is"
            f" '{watched_prefix}'; choose a prefix within it."
        )
    click.echo(f"Only keys under the environment's upload_prefix '{watched_prefix}' are analysed.", err=True)
    return watched_prefix


def _photos(deployment: Deployment, prefix: str) -> Iterator[tuple[list[dict[str, Any]], set[str]]]:
    """The objects under `prefix`, as S3 pages them, and the ImageIDs of those that have a record."""
    pages = deployment.client("s3").get_paginator("list_objects_v2")
    for page in pages.paginate(Bucket=deployment.bucket, Prefix=prefix):
        photos = [one for one in page.get("Contents", []) if not is_folder_marker(one["Key"], one["Size"])]
        images = (records.image_id(one["Key"], one["ETag"]) for one in photos)
        yield photos, set(records.recorded(deployment, images))


def count_photos(deployment: Deployment, prefix: str, update: Update = terminal.unwatched) -> Count:
    """List the bucket under `prefix` and look up which objects have a record, a page at a time."""
    found = Count(prefix, concurrency=bulk.concurrency(deployment))
    converting = converts(deployment.environment.settings)
    for photos, recorded in _photos(deployment, prefix):
        found.photos += len(photos)
        found.bytes += sum(int(one["Size"]) for one in photos)
        new = _without_record(photos, recorded)
        found.new += len(new)
        if converting:
            found.convertible += sum(is_convertible(one["Key"], int(one["Size"])) for one in new)
        update(found.photos, None, f"{found.new:,} without a record")
    return found


def _without_record(photos: list[dict[str, Any]], recorded: set[str]) -> list[dict[str, Any]]:
    return [one for one in photos if records.image_id(one["Key"], one["ETag"]) not in recorded]


def new_photos(deployment: Deployment, prefix: str) -> Iterator[dict[str, Any]]:
    """The objects under `prefix` without a record, as S3 lists them."""
    for photos, recorded in _photos(deployment, prefix):
        yield from _without_record(photos, recorded)


def forecast(
    deployment: Deployment,
    photos: int,
    convertible: int,
    concurrency: int,
    *,
    notify: bool,
    buffered: bool = False,
) -> tuple[float, float]:
    """Dollars and seconds it takes to analyse `photos`, of which `convertible` go on to ConvertImage.

    The seconds are those of so many at once; `buffered` ones are started at the pace instead.
    """
    measured, _ = measure(deployment)
    if not photos:
        return 0.0, 0.0
    settings = deployment.environment.settings
    known = {**ASSUMPTIONS, **measured}
    measured["converted_share"] = convertible / photos
    dollars = sum(
        line.dollars
        for line in estimate(settings, photos, 0, measured, notify=notify)
        # The photos are there already, and months are paid for anyway.
        if line.group == "each image" and line.what != "upload"
    )
    if not buffered:
        dollars += photos * bulk.TRANSITIONS * PRICES["states_transition"]["tiers"][-1][1]
    each = known["process_image_seconds"] + (known["send_notification_seconds"] if notify else 0)
    seconds = photos * (each + _OVERHEAD_SECONDS) + convertible * known["convert_image_seconds"]
    return dollars, seconds / concurrency


def _show(deployment: Deployment, count: Count, dollars: float, seconds: float, *, notify: bool) -> None:
    rows = [
        ("Photos", f"{count.photos:,} ({options.size(count.bytes)})"),
        ("Recorded already", f"{count.photos - count.new:,}"),
        ("To analyse", f"{count.new:,}"),
        *converted_row(deployment, "To convert, by name and size", count.convertible),
        *estimate_rows(count.concurrency, dollars, seconds, notify=notify),
    ]
    terminal.console().print(terminal.table("", "", rows=rows, numbers=()))


def converted_row(deployment: Deployment, title: str, convertible: int) -> list[tuple[str, str]]:
    """How many go on to ConvertImage, for a table, where there is one."""
    if not converts(deployment.environment.settings):
        return []
    return [(title, f"about {convertible:,}" if convertible else "none")]


def estimate_rows(concurrency: int, dollars: float, seconds: float, *, notify: bool) -> list[tuple[str, str]]:
    """How fast, how loud and how dear, for a table."""
    return [
        ("At once", f"{concurrency:,}"),
        ("Notifications", "as for new uploads" if notify else "none"),
        ("Cost, about", f"{dollars:,.2f} USD"),
        ("Duration, about", options.duration(seconds)),
    ]
