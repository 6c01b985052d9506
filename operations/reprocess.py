"""One image again, on purpose."""

from __future__ import annotations

import uuid
from typing import TYPE_CHECKING, Any

import click

from operations import options
from operations.errors import UserError

if TYPE_CHECKING:
    from operations.deployment import Deployment


@click.command
@click.argument("key", required=False)
@options.environment
@click.option("--quiet", is_flag=True, help="Do not notify the subscribers of the new result.")
@click.option("--timeout", type=click.IntRange(1), default=300, show_default=True, help="Seconds to wait.")
@options.as_json
def command(key: str | None, env: str, quiet: bool, timeout: int, as_json: bool) -> None:
    """Analyse the object KEY again, pay for it again, replace its record and notify again.

    It is the current version that is analysed; records of earlier versions stay as they are.
    """
    from rich.markup import escape

    from operations import records
    from operations.deployment import Deployment
    from operations.terminal import console, visible

    if not key:
        raise UserError("Say which photo: make reprocess ENV=dev KEY=holiday/beach.jpg")
    deployment = Deployment.load(env)
    with console(errors=True).status(f"Analysing {escape(visible(key))} again"):
        before, after = again(deployment, key, notify=not quiet, timeout=timeout)
    if as_json:
        options.print_json({"before": before and records.public(before), "after": records.public(after)})
        return
    for title, record in (("Before", before), ("Now", after)):
        click.echo(f"{title + ':':8}{visible(_sentence(record))}")


def again(
    deployment: Deployment, key: str, *, notify: bool, timeout: float
) -> tuple[dict[str, Any] | None, dict[str, Any]]:
    """Run the workflow for the current version of `key`; answer the record before (if any) and after.

    Raises UserError when there is no such object, or the execution does not end well within `timeout`
    seconds.
    """
    from operations import executions, records

    s3 = deployment.client("s3")
    try:
        found = s3.head_object(Bucket=deployment.bucket, Key=key)
    except s3.exceptions.ClientError as error:
        if error.response["ResponseMetadata"]["HTTPStatusCode"] != 404:
            raise
        raise UserError(_missing(deployment, key)) from None
    event = executions.event(
        deployment.bucket, key, found["ETag"], found["ContentLength"], found.get("VersionId")
    )
    identity = records.image_id(key, found["ETag"])
    before = records.get(deployment, identity)
    event |= {
        "notify": notify,
        "reanalyse": True,
        "redriven_from": [before["ExecutionId"]] if before and before.get("ExecutionId") else [],
    }
    execution = executions.start(deployment, event, f"reprocess-{uuid.uuid4()}")
    return before, executions.follow(deployment, execution, identity, timeout=timeout)


def _missing(deployment: Deployment, key: str) -> str:
    from operations import records
    from operations.terminal import visible

    bucket, shown = deployment.bucket, visible(key)
    for page in records.by_key(deployment, key):
        if page:
            return (
                f"'{shown}' was analysed on {str(page[0].get('Timestamp', ''))[:10]}, but is no longer in"
                f" {bucket}; upload it again, or read its record with 'results'."
            )
    return f"There is no '{shown}' in {bucket}; keys are exact: letter case, spaces and the folder count."


def _sentence(record: dict[str, Any] | None) -> str:
    if record is None:
        return "never analysed"
    parts = [str(record.get("Outcome") or "")]
    if record.get("Reason"):
        parts.append(f"({record['Reason']})")
    if record.get("FaceCount"):
        parts.append(f"with {record['FaceCount']} face{'s' if record['FaceCount'] != 1 else ''}")
    return f"{' '.join(parts)} at {str(record.get('Timestamp') or '')[:19]} by {record.get('ExecutionId')}"
