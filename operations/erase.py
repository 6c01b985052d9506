"""`erase`: show everything stored about one photo and, when confirmed, delete it for good."""

from __future__ import annotations

import contextlib
from typing import Any
from urllib.parse import unquote_plus

import click

from operations import options, records, terminal, uploads
from operations.dead_letters import Queue
from operations.deployment import Deployment
from operations.errors import UserError

_RECORD = {"image_id": "ImageID", "timestamp": "Timestamp", "outcome": "Outcome", "face_count": "FaceCount"}
_KINDS = {
    "versions": "versions",
    "unfinished": "unfinished uploads",
    "records": "records",
    "dead_letters": "dead letters",
}


def find(deployment: Deployment, key: str) -> dict[str, Any]:
    """What is stored about the photo with exactly this `key`, ready for JSON.

    `unfinished` are incomplete multipart uploads; times are in ISO 8601, sizes in bytes.
    `dead_letters_unseen` counts parked events that another reader holds: one may be the photo's.
    """
    versions = [
        {
            "version_id": one.version_id or "null",
            "modified": one.modified.isoformat(),
            "size": one.size,
            "delete_marker": one.delete_marker,
        }
        for one in uploads.listing(deployment, key, markers=True)
        if one.key == key
    ]
    pages = deployment.client("s3").get_paginator("list_multipart_uploads")
    unfinished = [
        {"upload_id": one["UploadId"], "begun": one["Initiated"].isoformat()}
        # XML cannot hold every key. The SDK requests encoded keys by itself for versions, but not here.
        for page in pages.paginate(Bucket=deployment.bucket, Prefix=key, EncodingType="url")
        for one in page.get("Uploads", [])
        if unquote_plus(one["Key"]) == key
    ]
    recorded = [
        {name: one.get(attribute) for name, attribute in _RECORD.items()}
        for one in records.by_key(deployment, key)
        if one.get("Bucket") == deployment.bucket
    ]
    with Queue(deployment) as queue:
        letters = [one.message_id for one in queue.events() if one.concerns(deployment.bucket, key)]
        unseen = queue.held_elsewhere()
    return {
        "environment": deployment.environment.name,
        "bucket": deployment.bucket,
        "key": key,
        "versions": sorted(versions, key=lambda one: str(one["modified"])),
        "unfinished": unfinished,
        "records": recorded,
        "dead_letters": letters,
        "dead_letters_unseen": unseen,
    }


def erase(deployment: Deployment, found: dict[str, Any]) -> None:
    """Delete what was found for good; after an interruption, running it again deletes the rest.

    Parked events go first, so that a redrive cannot recreate a record, and records last, so that a photo
    without versions can still be found.

    Raises UserError when another reader holds a parked event; then only other parked events are deleted.
    """
    left = set(found["dead_letters"])
    with Queue(deployment) as queue:
        for event in queue.events() if left else ():
            if event.message_id in left and queue.delete([event]):
                left.remove(event.message_id)
    if left:
        raise UserError(
            f"{len(left)} parked events of the photo are being read by somebody else just now (a redrive?);"
            " nothing more was erased, run it again in two minutes."
        )
    s3, dynamodb = deployment.client("s3"), deployment.client("dynamodb")
    photo = {"Bucket": found["bucket"], "Key": found["key"]}
    for version in found["versions"]:
        s3.delete_object(**photo, VersionId=version["version_id"])
    for upload in found["unfinished"]:
        with contextlib.suppress(s3.exceptions.NoSuchUpload):
            s3.abort_multipart_upload(**photo, UploadId=upload["upload_id"])
    for record in found["records"]:
        dynamodb.delete_item(TableName=deployment.table, Key={"ImageID": {"S": record["image_id"]}})


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
    key = uploads.choose(deployment, key)
    found = find(deployment, key)
    if confirm and (unseen := found["dead_letters_unseen"]):
        raise UserError(
            f"{unseen} parked events are being read by somebody else just now (a redrive?) and may be this"
            " photo's; nothing was erased, run it again in two minutes."
        )
    if not any(found[kind] for kind in (*_KINDS, "dead_letters_unseen")):
        raise UserError(
            f"Nothing is stored about '{terminal.visible(key)}' in {deployment.bucket}; check the key: it is"
            " the whole path in the bucket, and capitals count."
        )
    if not as_json:
        _show(found)
    if confirm:
        with terminal.progress("Erasing", hidden=as_json):
            erase(deployment, found)
    if as_json:
        options.print_json({**found, "erased": confirm})
    elif confirm:
        click.echo(
            "All of it is erased. docs/privacy.md names what cannot be: backups, histories and messages sent."
        )
    else:
        click.echo("Nothing is erased yet; with CONFIRM=1 all of it goes for good.")


def _show(found: dict[str, Any]) -> None:
    rows = []
    for one in found["versions"]:
        what = "delete marker" if one["delete_marker"] else options.size(one["size"])
        rows.append(("photo", f"{what}, version {one['version_id']}", one["modified"]))
    rows += [("photo", f"unfinished upload {one['upload_id']}", one["begun"]) for one in found["unfinished"]]
    for one in found["records"]:
        what = f"{one['outcome']}, {one['face_count']} faces: {one['image_id']}"
        rows.append(("record", what, str(one["timestamp"])))
    rows += [("dead letter", message_id, "") for message_id in found["dead_letters"]]
    click.echo(f"{terminal.shown_key(found['key'])} in {found['bucket']}")
    terminal.console().print(terminal.table("Where", "What", "When", rows=rows))
    click.echo(f"{', '.join(f'{len(found[kind])} {title}' for kind, title in _KINDS.items())}.")
    if unseen := found["dead_letters_unseen"]:
        click.echo(
            f"{unseen} parked events are being read by somebody else just now: one may be this photo's."
        )
