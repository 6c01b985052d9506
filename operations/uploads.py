"""What is in the bucket, and which of it is in the dead-letter queue."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

from operations import executions, records
from operations.dead_letters import MOST_SHOWN, NotAnEventError, reading
from operations.errors import UserError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from datetime import datetime

    from operations.deployment import Deployment


@dataclass(frozen=True)
class Stored:
    """One version of an object as a listing shows it. `size` in bytes."""

    bucket: str
    key: str
    etag: str
    size: int
    version_id: str | None
    modified: datetime

    @property
    def image_id(self) -> str:
        return records.image_id(self.key, self.etag)

    def event(self, owner: str | None) -> dict[str, Any]:
        """What starts the workflow for it; `owner`: the execution whose record it is, if it has one."""
        owners = [owner] if owner else []
        return executions.event(
            self.bucket, self.key, self.etag, self.size, self.version_id, redriven_from=owners
        )


def listing(deployment: Deployment, prefix: str) -> Iterator[Stored]:
    """Every version of every object under `prefix`, as S3 pages them."""
    pages = deployment.client("s3").get_paginator("list_object_versions")
    for page in pages.paginate(Bucket=deployment.bucket, Prefix=prefix):
        for one in page.get("Versions", []):
            yield Stored(
                bucket=deployment.bucket,
                key=one["Key"],
                etag=one["ETag"].strip('"'),
                size=one["Size"],
                # What an unversioned bucket's listing shows; events name none there.
                version_id=None if one["VersionId"] == "null" else one["VersionId"],
                modified=one["LastModified"],
            )


class Parked(NamedTuple):
    """ImageIDs of the events in the dead-letter queue, and how many messages others hold just now."""

    ids: set[str]
    unseen: int


def parked_images(deployment: Deployment) -> Parked:
    """What is in the dead-letter queue, which stays as it is.

    Raises UserError when it holds more than can be looked at.
    """
    found: set[str] = set()
    with reading(deployment) as queue:
        total, _ = queue.state()
        if total > MOST_SHOWN:
            raise UserError(
                f"The dead-letter queue holds {total:,} messages, more than can be looked at;"
                " run 'make redrive CONFIRM=1' first."
            )
        for batch in queue.events(hidden_seconds=60 + total // 50):
            for event in batch:
                try:
                    found.add(event.image_id())
                except NotAnEventError:
                    continue
        unseen = queue.held_elsewhere()
    return Parked(found, unseen)


def is_folder_marker(key: str, size: int) -> bool:
    """Whether the object only stands for a folder, as consoles make them; these start no workflow."""
    return key.endswith("/") and size == 0
