"""`backfill`: count, price and analyse photos in the bucket that have no record."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

import click

from operations import bulk, executions, options, records, terminal
from operations.deployment import Deployment
from operations.errors import UserError
from operations.program import under_make
from operations.uploads import is_convertible, is_folder_marker

if TYPE_CHECKING:
    from collections.abc import Iterator


@click.command
@click.argument("prefix", required=False, type=options.KEY)
@options.environment
@click.option("--notify", is_flag=True, help="Notify the subscribers as for a new upload.")
@options.confirm("Analyse them")
@options.dry_run
@options.as_json
def command(prefix: str | None, env: str, notify: bool, confirm: bool, as_json: bool) -> None:
    """Analyse every photo under PREFIX that has no record yet ('' for the whole bucket).

    By default nobody is notified. Ctrl-C stops it after the photos in flight; run it again to go on.
    backfill_concurrency in the environment's tfvars sets how many run at once; in buffered mode they share
    the pace with live uploads, which wait a minute behind them at most.
    """
    # click ignores an empty variable, but PREFIX= is a valid prefix: the whole bucket.
    if prefix is None and "PREFIX" in os.environ and under_make():
        prefix = ""
    if prefix is None:
        raise UserError(
            f"Say which photos: make backfill ENV={env} PREFIX=archive/ (PREFIX= for the whole bucket)."
        )
    deployment = Deployment.load(env)
    prefix = watched(deployment, prefix)
    photos = size = new = convertible = 0
    with terminal.progress("Counting photos", hidden=as_json) as update:
        for one, recorded in _photos(deployment, prefix):
            photos, size = photos + 1, size + one["Size"]
            new += not recorded
            convertible += not recorded and is_convertible(one["Key"], one["Size"])
            update(photos, None, f"{new:,} without a record")
    if not photos:
        raise UserError(
            f"There is no photo under '{terminal.visible(prefix)}' in {deployment.bucket}; prefixes are"
            " exact, as in '2025/03/'."
        )
    where = f"under '{terminal.visible(prefix)}'" if prefix else f"in {deployment.bucket}"
    bulk.analyse(
        deployment,
        f"Backfill of '{prefix}'",
        (
            executions.event(deployment.bucket, one["Key"], one["ETag"], one["Size"], notify=notify)
            for one, recorded in _photos(deployment, prefix)
            if not recorded
        ),
        photos=new,
        convertible=convertible,
        counted={"prefix": prefix, "photos": photos, "bytes": size, "new": new},
        rows=[
            ("Photos", f"{photos:,} ({options.size(size)})"),
            ("Recorded already", f"{photos - new:,}"),
            ("To analyse", f"{new:,}"),
        ],
        done=f"every photo {where} has a record.",
        notify=notify,
        confirmed=confirm,
        as_json=as_json,
    )


def watched(deployment: Deployment, prefix: str) -> str:
    """`prefix`, narrowed to the environment's upload_prefix; raises UserError when the two do not overlap."""
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


def _photos(deployment: Deployment, prefix: str) -> Iterator[tuple[dict[str, Any], bool]]:
    """The objects under `prefix` as S3 lists them, except folder markers, and whether each has a record."""
    pages = deployment.client("s3").get_paginator("list_objects_v2")
    for page in pages.paginate(Bucket=deployment.bucket, Prefix=prefix):
        photos = [one for one in page.get("Contents", []) if not is_folder_marker(one["Key"], one["Size"])]
        images = [records.image_id(one["Key"], one["ETag"]) for one in photos]
        recorded = records.recorded(deployment, images)
        for one, image in zip(photos, images, strict=True):
            yield one, image in recorded
