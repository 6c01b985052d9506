"""Photos analysed again on purpose: one of them, or all with an outcome."""

from __future__ import annotations

import itertools
import uuid
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import click

from operations import backfill, bulk, executions, keys, options, records, terminal
from operations.cost import converts
from operations.deployment import Deployment
from operations.errors import UserError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

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
    key = keys.choose(deployment, str(key))
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

    Raises UserError when there is no such object, or the execution does not end well within `timeout`
    seconds.
    """
    s3 = deployment.client("s3")
    try:
        found = s3.head_object(Bucket=deployment.bucket, Key=key)
    except s3.exceptions.ClientError as error:
        if error.response["ResponseMetadata"]["HTTPStatusCode"] != 404:
            raise
        raise UserError(_missing(deployment, key)) from None
    image = records.image_id(key, found["ETag"])
    before = records.get(deployment, image)
    event = executions.event(
        deployment.bucket,
        key,
        found["ETag"],
        found["ContentLength"],
        found.get("VersionId"),
        notify=notify,
        reanalyse=True,
        redriven_from=_owners(before),
    )
    execution = executions.start(deployment, event, f"reprocess-{uuid.uuid4()}")
    assert execution, "no execution had this name before"
    return before, executions.follow(deployment, execution, image, timeout=timeout)


def _owners(record: Record | None) -> Sequence[str]:
    return [str(record["ExecutionId"])] if record and record.get("ExecutionId") else []


def _reprocess_all(
    deployment: Deployment, outcome: str, reason: str | None, *, notify: bool, confirmed: bool, as_json: bool
) -> None:
    env = deployment.environment.name
    what = f"{outcome} ({reason})" if reason else outcome
    purpose = f"Reprocess of {what}"
    with terminal.progress("Reading records", hidden=as_json) as update:
        found = convertible = gone = 0
        for record, stored in _photos(deployment, outcome, reason):
            found, gone = found + stored, gone + (not stored)
            convertible += stored and _is_convertible(record)
            update(found)
    if not converts(deployment.environment.settings):
        convertible = 0
    concurrency = bulk.concurrency(deployment)
    dollars, seconds = backfill.forecast(deployment, found, convertible, concurrency, notify=notify)
    result: dict[str, Any] = {
        "outcome": outcome,
        "reason": reason,
        "photos": found,
        "convertible": convertible,
        "gone": gone,
        "concurrency": concurrency,
        "notify": notify,
        "estimated_dollars": round(dollars, 2),
        "estimated_seconds": round(seconds),
        "started": confirmed and bool(found),
    }
    if not as_json:
        rows = [("Photos", f"{found:,} recorded as {what}"), ("No longer in the bucket", f"{gone:,}")]
        rows += backfill.converted_row(deployment, "To convert, by their records", convertible)
        rows += backfill.estimate_rows(concurrency, dollars, seconds, notify=notify)
        terminal.console().print(terminal.table("", "", rows=rows, numbers=()))
    if result["started"]:
        photos = _photos(deployment, outcome, reason)
        events = (_event(deployment, one, notify=notify) for one, stored in photos if stored)
        result |= bulk.run(deployment, purpose, events, found, quiet=as_json)
    if as_json:
        options.print_json(result)
    elif not confirmed:
        click.echo("Nothing is started yet; CONFIRM=1 starts it.")
    elif not result.get("failed"):
        click.echo(f"Done: {result.get('succeeded', 0):,} photos were analysed again.")
    if result.get("failed"):
        raise backfill.failures(result["failed"], env)


def _photos(deployment: Deployment, outcome: str, reason: str | None) -> Iterator[tuple[Record, bool]]:
    """Records with that outcome, and whether their photo is still stored."""
    found = records.everything(deployment, outcome=outcome, reason=reason)
    with ThreadPoolExecutor(8) as pool:
        while some := list(itertools.islice(found, records.BATCH)):
            yield from zip(some, pool.map(lambda record: _is_stored(deployment, record), some), strict=True)


def _is_convertible(record: Record) -> bool:
    """Whether Rekognition did not take the photo as it is, and so will not again."""
    return bool(record.get("Converted") or record.get("Reason") in _REFUSED)


def _is_stored(deployment: Deployment, record: Record) -> bool:
    version = {"VersionId": record["VersionId"]} if record.get("VersionId") else {}
    s3 = deployment.client("s3")
    try:
        found = s3.head_object(Bucket=deployment.bucket, Key=record["Key"], **version)
    except s3.exceptions.ClientError as error:
        # 405 is a delete marker.
        if error.response["ResponseMetadata"]["HTTPStatusCode"] not in (404, 405):
            raise
        return False
    return records.image_id(record["Key"], found["ETag"]) == str(record["ImageID"])


def _event(deployment: Deployment, record: Record, *, notify: bool) -> dict[str, Any]:
    return executions.event(
        deployment.bucket,
        str(record["Key"]),
        str(record["ETag"]),
        int(record.get("Size") or 0),
        record.get("VersionId"),
        notify=notify,
        reanalyse=True,
        redriven_from=_owners(record),
    )


def _missing(deployment: Deployment, key: str) -> str:
    bucket, shown = deployment.bucket, terminal.visible(key)
    for newest in records.by_key(deployment, key):
        return (
            f"'{shown}' was analysed on {str(newest.get('Timestamp', ''))[:10]}, but is no longer in"
            f" {bucket}; upload it again, or read its record with 'results'."
        )
    return f"There is no '{shown}' in {bucket}; keys are exact: letter case, spaces and the folder count."


def _sentence(record: Record | None) -> str:
    if record is None:
        return "never analysed"
    parts = [str(record.get("Outcome") or "")]
    if record.get("Reason"):
        parts.append(f"({record['Reason']})")
    if record.get("FaceCount"):
        parts.append(f"with {record['FaceCount']} face{'s' if record['FaceCount'] != 1 else ''}")
    return f"{' '.join(parts)} at {str(record.get('Timestamp') or '')[:19]} by {record.get('ExecutionId')}"
