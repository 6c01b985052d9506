"""The objects in the bucket, the images in the dead-letter queue, and which object a typed key means."""

from __future__ import annotations

import contextlib
import re
import unicodedata
from dataclasses import dataclass
from typing import TYPE_CHECKING

import click

from operations import records
from operations.dead_letters import NotAnEventError, Queue
from operations.terminal import shown_key

if TYPE_CHECKING:
    from collections.abc import Iterator
    from datetime import datetime

    from operations.deployment import Deployment

# The same as in functions/process_image/analysis.py.
_MAX_UNCONVERTED_BYTES = 15 * 1024 * 1024
# Names of files Rekognition does not accept: photos to convert, and other files found in archives.
_UNSUPPORTED_NAME = re.compile(
    r"\.(avif|bmp|dib|gif|heic|heif|hif|j2k|jp2|jpf|tiff?|webp"
    r"|arw|avi|cr2|cr3|dng|jxl|mkv|mov|mp4|nef|orf|pdf|pef|psd|raf|rw2|svg|txt|webm|x3f|zip)\Z",
    re.IGNORECASE,
)


@dataclass(frozen=True)
class Stored:
    """One version of an object, or a delete marker, as a listing shows it: `size` in bytes."""

    key: str
    etag: str
    size: int
    version_id: str | None
    modified: datetime
    delete_marker: bool = False

    @property
    def image_id(self) -> str:
        return records.image_id(self.key, self.etag)


def listing(deployment: Deployment, prefix: str, *, markers: bool = False) -> Iterator[Stored]:
    """Every version of every object under `prefix`, with delete markers if `markers`, page by page."""
    pages = deployment.client("s3").get_paginator("list_object_versions")
    for page in pages.paginate(Bucket=deployment.bucket, Prefix=prefix):
        for one in [*page.get("Versions", []), *(page.get("DeleteMarkers", []) if markers else ())]:
            yield Stored(
                key=one["Key"],
                etag=one.get("ETag", "").strip('"'),
                size=one.get("Size", 0),
                # In an unversioned bucket, listings have the version "null" and events have none.
                version_id=None if one["VersionId"] == "null" else one["VersionId"],
                modified=one["LastModified"],
                delete_marker="ETag" not in one,
            )


def parked_images(deployment: Deployment) -> tuple[set[str], int]:
    """The ImageIDs in the dead-letter queue, which is left unchanged, and the number of messages others hold.

    Raises UserError when the queue is too large to read.
    """
    found: set[str] = set()
    with Queue(deployment) as queue:
        for event in queue.events():
            with contextlib.suppress(NotAnEventError):
                found.add(event.image_id())
        return found, queue.held_elsewhere()


def is_folder_marker(key: str, size: int) -> bool:
    """Whether the object is a folder marker, as consoles create them; these start no workflow."""
    return key.endswith("/") and size == 0


def is_convertible(key: str, size: int) -> bool:
    """Whether the file will probably go to ConvertImage, by its name and its `size` in bytes.

    The pipeline itself checks the content, which a listing does not have.
    """
    return size > _MAX_UNCONVERTED_BYTES or bool(_UNSUPPORTED_NAME.search(key))


def forms(key: str) -> list[str]:
    """The key as typed, then its other Unicode forms: macOS decomposes file names, terminals compose them."""
    return list(dict.fromkeys([key, *(unicodedata.normalize(form, key) for form in ("NFC", "NFD"))]))


def choose(deployment: Deployment, key: str) -> str:
    """The Unicode form of `key` that has an object or a record; prints on stderr if it is not the typed one.

    Prefers the typed form, also if none exists. Makes no request for a key with only one form.
    """
    candidates = forms(key)
    if len(candidates) == 1:
        return key
    found = [form for form in candidates if _exists(deployment, form)]
    if found and found[0] != key:
        click.echo(
            f"Using the key {shown_key(found[0])} in another Unicode form: {_typed(found[0])}", err=True
        )
    for other in found[1:]:
        click.echo(f"There is another photo of this name in another Unicode form: {_typed(other)}", err=True)
    return found[0] if found else key


def _exists(deployment: Deployment, key: str) -> bool:
    listed = listing(deployment, key, markers=True)
    return any(one.key == key for one in listed) or any(records.by_key(deployment, key))


def _typed(key: str) -> str:
    """`key` quoted for any shell that supports $'...', with other characters than ASCII escaped."""
    quoted = re.sub(r"[\\']", r"\\\g<0>", key)
    return "KEY=$'" + re.sub(r"[^ -~]", lambda char: f"\\U{ord(char[0]):08x}", quoted) + "'"
