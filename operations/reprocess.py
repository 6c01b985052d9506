"""`reprocess`: analyse one photo again, or all with an outcome."""

from __future__ import annotations

import itertools
import uuid
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import click

from operations import bulk, executions, options, records, terminal, uploads
from operations.deployment import Deployment
from operations.errors import UserError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from operations.records import Record

# Why Rekognition refuses a file, or would.
_REFUSED = ("too_large", "too_small", "unsupported_format")


@click.command
@click.argument("key", required=False, type=options.KEY)
@options.environment
@click.option("--outcome", type=click.Choice(records.OUTCOMES), help="Instead of one: all with this outcome.")
@click.option("--reason", help="Of those rejected: only with this reason, such as unsupported_format.")
@click.option("--quiet", is_flag=True, help="Do not notify the subscribers of the new result.")
@click.option("--timeout", type=click.IntRange(1), default=300, show_default=True, help="Seconds to wait.")
@options.confirm("Analyse all with the outcome")
@options.as_json
def command(
    key: str | None,
    env: str,
    outcome: str | None,
    reason: str | None,
    quiet: bool,
    timeout: int,
    confirm: bool,
    as_json: bool,
) -> None:
    """Analyse a photo again, or all of an outcome; pay, replace the record and notify again.

    It is the current version of KEY that is analysed; records of earlier versions stay as they are. Photos of
    an outcome are counted and priced first, and analysed when confirmed.
    """
    if bool(key) == bool(outcome):
        raise UserError(
            f"Say which photo: make reprocess ENV={env} KEY=holiday/beach.jpg (or OUTCOME=rejected"
            " REASON=unsupported_format for all of those)."
        )
    if reason and outcome != "rejected":
        raise UserError("Only rejected photos have a reason; give OUTCOME=rejected with it.")
    deployment = Deployment.load(env)
    if outcome:
        _reprocess_all(deployment, outcome, reason, notify=not quiet, confirmed=confirm, as_json=as_json)
        return
    key = uploads.choose(deployment, str(key))
    with terminal.progress(f"Analysing {terminal.shown_key(key)} again", hidden=as_json):
        before, after = reprocess(deployment, key, notify=not quiet, timeout=timeout)
    if as_json:
        options.print_json({"before": before and records.public(before), "after": records.public(after)})
        return
    for title, record in (("Before", before), ("Now", after)):
        click.echo(f"{title + ':':8}{terminal.visible(_sentence(record))}")


def reprocess(
    deployment: Deployment, key: str, *, notify: bool, timeout: float
) -> tuple[Record | None, Record]:
    """Run the workflow for the current version of `key`; return the record before (if any) and after.

    Raises UserError when there is no such object, or the execution does not succeed in `timeout` seconds.
    """
    found = _stored(deployment, key)
    if found is None:
        raise UserError(
            f"There is no '{terminal.visible(key)}' in {deployment.bucket}, or no longer; keys are exact:"
            " letter case, spaces and the folder count."
        )
    image = records.image_id(key, found["ETag"])
    before = records.get(deployment, image)
    event = _event(deployment, key, found, before, notify=notify)
    execution = executions.start(deployment, event, f"reprocess-{uuid.uuid4()}")
    assert execution, "no execution had this name before"
    return before, executions.follow(deployment, execution, image, timeout=timeout)


def _reprocess_all(
    deployment: Deployment, outcome: str, reason: str | None, *, notify: bool, confirmed: bool, as_json: bool
) -> None:
    what = f"{outcome} ({reason})" if reason else outcome
    photos = gone = convertible = 0
    with terminal.progress("Reading records", hidden=as_json) as update:
        for record, found in _photos(deployment, outcome, reason):
            photos, gone = photos + bool(found), gone + (not found)
            # A file that Rekognition refused before will be refused again.
            refused = record.get("Converted") or record.get("Reason") in _REFUSED
            convertible += bool(found and refused)
            update(photos)
    bulk.analyse(
        deployment,
        f"Reprocess of {what}",
        (
            _event(deployment, str(record["Key"]), found, record, notify=notify)
            for record, found in _photos(deployment, outcome, reason)
            if found
        ),
        photos=photos,
        convertible=convertible,
        counted={"outcome": outcome, "reason": reason, "photos": photos, "gone": gone},
        rows=[("Photos", f"{photos:,} recorded as {what}"), ("No longer in the bucket", f"{gone:,}")],
        done=f"every photo recorded as {what} was analysed again.",
        notify=notify,
        confirmed=confirmed,
        as_json=as_json,
    )


def _photos(
    deployment: Deployment, outcome: str, reason: str | None
) -> Iterator[tuple[Record, dict[str, Any] | None]]:
    """Records with that outcome, and the HEAD response for the photo; None if it is no longer stored."""

    def head(record: Record) -> dict[str, Any] | None:
        found = _stored(deployment, record["Key"], record.get("VersionId"))
        same = found and records.image_id(record["Key"], found["ETag"]) == record["ImageID"]
        return found if same else None

    recorded = records.everything(deployment, outcome=outcome, reason=reason)
    with ThreadPoolExecutor(8) as pool:
        while some := list(itertools.islice(recorded, records.BATCH)):
            yield from zip(some, pool.map(head, some), strict=True)


def _stored(deployment: Deployment, key: str, version_id: str | None = None) -> dict[str, Any] | None:
    version = {"VersionId": version_id} if version_id else {}
    s3 = deployment.client("s3")
    try:
        head: dict[str, Any] = s3.head_object(Bucket=deployment.bucket, Key=key, **version)
    except s3.exceptions.ClientError as error:
        # 405 is a delete marker.
        if error.response["ResponseMetadata"]["HTTPStatusCode"] not in (404, 405):
            raise
        return None
    return head


def _event(
    deployment: Deployment, key: str, head: dict[str, Any], record: Record | None, *, notify: bool
) -> dict[str, Any]:
    """The workflow input to analyse an object again; `record` is the one to take over, if any."""
    return executions.event(
        deployment.bucket,
        key,
        head["ETag"],
        head["ContentLength"],
        head.get("VersionId"),
        notify=notify,
        reanalyse=True,
        redriven_from=[str(record["ExecutionId"])] if record and record.get("ExecutionId") else [],
    )


def _sentence(record: Record | None) -> str:
    if record is None:
        return "never analysed"
    parts = [str(record.get("Outcome") or "")]
    if record.get("Reason"):
        parts.append(f"({record['Reason']})")
    if record.get("FaceCount"):
        parts.append(f"with {record['FaceCount']} face{'s' if record['FaceCount'] != 1 else ''}")
    return f"{' '.join(parts)} at {str(record.get('Timestamp') or '')[:19]} by {record.get('ExecutionId')}"
