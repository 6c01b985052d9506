"""An environment's photos on one page: `make results GALLERY=photos.html`."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime
from functools import partial
from typing import TYPE_CHECKING, Any

from operations import options, page, records
from operations.errors import UserError
from operations.export import new_file

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from operations.deployment import Deployment
    from operations.records import Record

# Photos read from S3 without confirmation; more take time and, at $0.09 a GB out of AWS, money.
MAX_UNCONFIRMED = 100
# Larger files are seldom photos, and several at a time would be held in memory whole.
MAX_BYTES = 50_000_000
_READERS = 4
_ABSENCES = {
    "AccessDenied": "You may not read this photo",
    "NoSuchKey": "The photo is gone",
    "NoSuchVersion": "The photo is gone",
    "MethodNotAllowed": "The photo is gone",
    "PreconditionFailed": "The photo was replaced since",
}


def write(deployment: Deployment, path: Path, found: Sequence[Record], *, confirmed: bool) -> str:
    """Write the page of `found` to `path`, and return a summary.

    The photos are read with the caller's own permissions; only their thumbnails are on the page.

    Raises UserError as `export.new_file`, and when it needs confirmation: for more than MAX_UNCONFIRMED
    photos, or when photos expire in this environment, since the page would outlive them (docs/privacy.md).
    """
    if path.suffix.lower() not in (".html", ".htm"):
        raise UserError(f"{path} does not end in .html; a gallery is a page.")
    whole = list(records.complete(deployment, found))
    sizes = [size for record in whole if (size := _size(record)) <= MAX_BYTES]
    total = options.size(sum(sizes))
    days = deployment.environment.settings.get("photo_retention_days")
    if not confirmed and (len(sizes) > MAX_UNCONFIRMED or days):
        raise UserError(
            f"This would read {page.count(len(sizes), 'photo')}, {total}, from S3"
            + (f" and keep thumbnails of what is to be gone after {days} days" if days else "")
            + f"; confirm it with {options.named('confirm', '1')}."
        )
    now = datetime.now(UTC)
    lead = (
        f"From {deployment.table}, {now.day} {now:%B %Y, %H:%M} UTC. This file holds pictures of people"
        " that no retention and no erasing reaches: delete it when you have seen it."
    )
    shown = page.count(len(whole), "photo")
    with new_file(path) as draft, ThreadPoolExecutor(_READERS) as readers:
        photos = list(readers.map(partial(_photo, deployment.client("s3")), whole))
        title = f"{shown} of {deployment.environment.name}"
        draft.write_text(page.photos(title, lead, photos), encoding="utf-8")
    return f"Wrote {shown} to {path}; {total} read from S3."


def _photo(s3: Any, record: Record) -> page.Photo:
    """The photo with a thumbnail of the version that was recorded, or the reason why it has none."""
    key = str(record.get("Key") or record.get("ImageID") or "")
    photo = page.Photo(key, str(record.get("Outcome")), records.public(record))
    if _size(record) > MAX_BYTES:
        return replace(photo, absence=f"Too large to show: {options.size(_size(record))}")
    version = {"VersionId": record["VersionId"]} if record.get("VersionId") else {}
    try:
        answer = s3.get_object(
            Bucket=record["Bucket"], Key=record["Key"], IfMatch=f'"{record["ETag"]}"', **version
        )
    except s3.exceptions.ClientError as error:
        code = error.response["Error"].get("Code", "")
        return replace(photo, absence=_ABSENCES.get(code, f"S3 refused the photo: {code}"))
    picture = page.thumbnail(answer["Body"].read(), converted=bool(record.get("Converted")))
    return replace(photo, picture=picture)


def _size(record: Record) -> int:
    size = record.get("Size")
    return size if isinstance(size, int) else 0
