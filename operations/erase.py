"""`erase`: everything stored about one photo: shown, and when confirmed removed for good."""

from __future__ import annotations

import contextlib
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote_plus

import click

from operations import keys, options, records, terminal, versions
from operations.dead_letters import reading
from operations.deployment import Deployment
from operations.errors import UserError

if TYPE_CHECKING:
    from operations.terminal import Update

# A parked event stays hidden this long from a redrive while it is looked at, or until it is given back.
_HIDDEN_SECONDS = 120
_ROWS = 50


@dataclass(frozen=True)
class Version:
    """One version of the photo, or a delete marker: `modified` in ISO 8601, `size` in bytes."""

    version_id: str
    modified: str
    size: int
    delete_marker: bool


@dataclass(frozen=True)
class Unfinished:
    """A multipart upload that nobody completed, with the parts it has: `begun` in ISO 8601."""

    upload_id: str
    begun: str


@dataclass
class Found:
    """What is stored about the photo `key`: nothing of photos whose keys only begin with it.

    `dead_letters_unseen` counts parked events that somebody else is reading: one may be the photo's.
    """

    environment: str
    bucket: str
    key: str
    versions: list[Version] = field(default_factory=list)
    unfinished: list[Unfinished] = field(default_factory=list)
    records: list[dict[str, Any]] = field(default_factory=list)
    dead_letters: list[str] = field(default_factory=list)
    dead_letters_unseen: int = 0

    def __len__(self) -> int:
        return len(self.versions) + len(self.unfinished) + len(self.records) + len(self.dead_letters)

    def as_json(self, *, erased: bool) -> dict[str, Any]:
        return {**asdict(self), "erased": erased}


def find(deployment: Deployment, key: str) -> Found:
    """Look through bucket, table and dead-letter queue; changes nothing."""
    found = Found(
        deployment.environment.name,
        deployment.bucket,
        key,
        versions=_versions(deployment, key),
        unfinished=_unfinished(deployment, key),
    )
    # The index may be a second behind the table.
    found.records += [
        {name: one.get(attribute) for name, attribute in _SHOWN.items()}
        for one in records.by_key(deployment, key)
        if one.get("Bucket") == deployment.bucket
    ]
    with reading(deployment) as queue:
        for batch in queue.events(hidden_seconds=_HIDDEN_SECONDS):
            found.dead_letters += [one.message_id for one in batch if one.concerns(found.bucket, key)]
        found.dead_letters_unseen = queue.held_elsewhere()
    return found


_SHOWN = {"image_id": "ImageID", "timestamp": "Timestamp", "outcome": "Outcome", "face_count": "FaceCount"}


def erase(deployment: Deployment, found: Found, update: Update = terminal.unwatched) -> None:
    """Remove what was found for good; begun again after an interruption it removes the rest.

    Parked events go first, so that a redrive cannot bring a record back, and records last, since they are
    what a photo without versions is still found by.

    Raises UserError when S3 keeps a version, or a parked event is out of reach; then nothing but other
    parked events is erased.
    """
    left = set(found.dead_letters)
    with reading(deployment) as queue:
        for events in queue.events(hidden_seconds=_HIDDEN_SECONDS) if left else ():
            chosen = [one for one in events if one.message_id in left]
            left -= {one.message_id for one in queue.delete(chosen)}
    if left:
        raise UserError(
            f"{len(left)} parked events of the photo are being read by somebody else just now (a redrive?);"
            " nothing more was erased, run it again in two minutes."
        )
    done = len(found.dead_letters)
    update(done, len(found))

    s3 = deployment.client("s3")
    for start in range(0, len(found.versions), versions.BATCH):
        batch = found.versions[start : start + versions.BATCH]
        errors = versions.delete(s3, found.bucket, [(found.key, one.version_id) for one in batch])
        if errors:
            raise UserError(
                f"S3 keeps {len(errors)} versions of the photo ({errors[0].get('Code')}:"
                f" {errors[0].get('Message')}); allow s3:DeleteObjectVersion and run it again."
            )
        done += len(batch)
        update(done, len(found))

    for unfinished in found.unfinished:
        with contextlib.suppress(s3.exceptions.NoSuchUpload):
            s3.abort_multipart_upload(Bucket=found.bucket, Key=found.key, UploadId=unfinished.upload_id)
        done += 1
        update(done, len(found))

    dynamodb = deployment.client("dynamodb")
    for record in found.records:
        dynamodb.delete_item(TableName=deployment.table, Key={"ImageID": {"S": record["image_id"]}})
        done += 1
        update(done, len(found))


def _versions(deployment: Deployment, key: str) -> list[Version]:
    found = []
    pages = deployment.client("s3").get_paginator("list_object_versions")
    for page in pages.paginate(Bucket=deployment.bucket, Prefix=key):
        for kind, marker in (("Versions", False), ("DeleteMarkers", True)):
            found += [
                Version(one["VersionId"], one["LastModified"].isoformat(), int(one.get("Size", 0)), marker)
                for one in page.get(kind, [])
                if one["Key"] == key
            ]
    return sorted(found, key=lambda one: one.modified)


def _unfinished(deployment: Deployment, key: str) -> list[Unfinished]:
    pages = deployment.client("s3").get_paginator("list_multipart_uploads")
    # The SDK asks for encoded keys by itself where it lists objects and versions, not here.
    odd = versions.NOT_IN_XML.search(key) is not None
    encoding: Any = {"EncodingType": "url"} if odd else {}
    return [
        Unfinished(one["UploadId"], one["Initiated"].isoformat())
        for page in pages.paginate(Bucket=deployment.bucket, Prefix=key, **encoding)
        for one in page.get("Uploads", [])
        if (unquote_plus(one["Key"]) if odd else one["Key"]) == key
    ]


@click.command
@click.argument("key", required=False, type=options.KEY)
@options.environment
@options.confirm("Erase for good")
@options.as_json
def command(key: str | None, env: str, confirm: bool, as_json: bool) -> None:
    """Show everything stored about the photo KEY and, when confirmed, erase it for good."""
    if not key:
        raise UserError(f"Say which photo: make erase ENV={env} KEY=holiday/beach.jpg")
    deployment = Deployment.load(env)
    key = keys.choose(deployment, key)
    found = find(deployment, key)
    if confirm and found.dead_letters_unseen:
        raise UserError(
            f"{found.dead_letters_unseen} parked events are being read by somebody else just now (a redrive?)"
            " and may be this photo's; nothing was erased, run it again in two minutes."
        )
    if not found and not found.dead_letters_unseen:
        raise UserError(
            f"Nothing is stored about '{terminal.visible(key)}' in {deployment.bucket}; check the key: it is"
            " the whole path in the bucket, and capitals count."
        )
    if not as_json:
        _show(found)
    if confirm:
        with terminal.progress("Erasing", total=len(found), hidden=as_json) as update:
            erase(deployment, found, update)
    if as_json:
        options.print_json(found.as_json(erased=confirm))
    elif confirm:
        click.echo(
            "All of it is erased. docs/privacy.md names what cannot be: backups, histories and messages sent."
        )
    else:
        click.echo("Nothing is erased yet; with CONFIRM=1 all of it goes for good.")


def _show(found: Found) -> None:
    out = terminal.console()
    rows = []
    for version in found.versions[:_ROWS]:
        what = "delete marker" if version.delete_marker else options.size(version.size)
        rows.append(("photo", f"{what}, version {version.version_id}", version.modified))
    rows += [("photo", f"unfinished upload {one.upload_id}", one.begun) for one in found.unfinished[:_ROWS]]
    for record in found.records[:_ROWS]:
        what = f"{record['outcome']}, {record['face_count']} faces: {record['image_id']}"
        rows.append(("record", what, str(record["timestamp"])))
    rows += [("dead letter", message_id, "") for message_id in found.dead_letters[:_ROWS]]
    title = f"{terminal.shown_key(found.key)} in {found.bucket}"
    click.echo(title)
    out.print(terminal.table("Where", "What", "When", rows=rows))
    counts = {
        "versions": len(found.versions),
        "unfinished uploads": len(found.unfinished),
        "records": len(found.records),
        "dead letters": len(found.dead_letters),
    }
    if max(counts.values()) > _ROWS:
        click.echo(
            f"Only the first {_ROWS} of a kind are shown; {options.named('json', '1')} lists them all."
        )
    click.echo(f"{', '.join(f'{count} {kind}' for kind, count in counts.items())}.")
    if found.dead_letters_unseen:
        click.echo(
            f"{found.dead_letters_unseen} parked events are being read by somebody else just now: one may be"
            " this photo's.",
        )
