"""An upload, parsed from an S3 "Object Created" event.

Event shape: https://docs.aws.amazon.com/AmazonS3/latest/userguide/ev-events.html
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


class InvalidEventError(Exception):
    """The workflow's input is not a usable S3 event; a retry would not help."""


@dataclass(frozen=True)
class Upload:
    """One version of one object.

    `size` is in bytes, or None if the event has none; `version_id` is None in an unversioned bucket, and
    `sequencer` is None for uploads found by a listing.
    """

    bucket: str
    key: str
    etag: str
    size: int | None = None
    version_id: str | None = None
    sequencer: str | None = None

    @property
    def image_id(self) -> str:
        """`<key>@<etag>`: at most 1,024 + 1 + 38 bytes, under DynamoDB's 2,048 for a partition key."""
        return f"{self.key}@{self.etag}"

    @property
    def is_folder_marker(self) -> bool:
        """Whether this is a console's "create folder" object; an object with content may be a photo."""
        return self.size == 0 and self.key.endswith("/")

    @classmethod
    def from_event(cls, event: Any) -> Upload:
        """Parse an upload from an EventBridge event; unknown fields are ignored.

        Keys from EventBridge are raw (not URL-encoded) and used unchanged. Listings quote ETags and events do
        not, so quotes are dropped.

        Raises InvalidEventError naming the field that is missing or of the wrong type.
        """
        detail = _object(event, "detail", "")
        bucket = _object(detail, "bucket", "detail.")
        stored = _object(detail, "object", "detail.")
        size = stored.get("size")
        if size is not None and (not isinstance(size, int) or isinstance(size, bool) or size < 0):
            raise InvalidEventError("detail.object.size must be a whole number of bytes")
        return cls(
            bucket=_text(bucket, "name", "detail.bucket."),
            key=_text(stored, "key", "detail.object."),
            etag=_etag(stored),
            size=size,
            version_id=_optional_text(stored, "version-id"),
            sequencer=_optional_text(stored, "sequencer"),
        )


def _object(parent: Any, name: str, path: str) -> Mapping[str, Any]:
    value = parent.get(name) if isinstance(parent, Mapping) else None
    if not isinstance(value, Mapping):
        raise InvalidEventError(f"the event has no object '{path}{name}': not an S3 Object Created event")
    return value


def _text(parent: Mapping[str, Any], name: str, path: str) -> str:
    value = parent.get(name)
    if not isinstance(value, str) or not value:
        raise InvalidEventError(f"the event has no text in '{path}{name}'")
    return value


def _etag(stored: Mapping[str, Any]) -> str:
    etag = _text(stored, "etag", "detail.object.").strip('"')
    if not etag:
        raise InvalidEventError("the event has no text in 'detail.object.etag'")
    return etag


def _optional_text(parent: Mapping[str, Any], name: str) -> str | None:
    value = parent.get(name)
    if value is not None and not isinstance(value, str):
        raise InvalidEventError(f"detail.object.{name} must be text")
    return value or None
