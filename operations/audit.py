"""`audit`: account for every upload in the bucket, starting from the bucket's listing."""

from __future__ import annotations

import hashlib
import itertools
import sys
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import TYPE_CHECKING, Any

import click

from operations import executions, options, records, terminal
from operations.deployment import Deployment
from operations.errors import UserError
from operations.uploads import Stored, is_folder_marker, listing, parked_images

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping, Sequence

    from operations.records import Record

# In a burst, a photo is retried for up to 16 minutes, throttled calls included, unless EventBridge itself
# cannot reach the workflow.
GRACE_SECONDS = 1200
_KEPT_IN_JSON = 1_000
# Uploads looked up in one batch.
_GROUP = 800


# The verdicts CONFIRM=1 acts on.
_OPEN = ("unnotified", "unaccounted")


def judge(
    deployment: Deployment,
    parked: Collection[str],
    now: datetime,
    grace_seconds: int,
    stored: Stored,
    record: Record | None,
) -> str:
    """The verdict on an upload: the name of the count it belongs to."""
    settled = stored.modified <= now - timedelta(seconds=grace_seconds)
    if stored.image_id in parked:
        return "parked"
    if record is not None:
        if record.get("NotifiedAt"):
            return "notified"
        if (due := record.get("NotificationDue")) is None:
            return "notification_unknown"
        if not due:
            return "not_to_be_notified"
        return how_it_ended(deployment, record) if settled else "in_flight"
    # After the record check: an upload outside upload_prefix may have been recorded before that was set.
    if is_folder_marker(stored.key, stored.size) or not stored.key.startswith(deployment.upload_prefix):
        return "not_watched"
    days = deployment.environment.settings.get("record_retention_days")
    if days is not None and stored.modified < now - timedelta(days=int(days)):
        return "expired"
    return "unaccounted" if settled else "in_flight"


@executions.patiently
def how_it_ended(deployment: Deployment, record: Record) -> str:
    """The verdict on a record whose notification is due, from the execution that owns it."""
    described = executions.describe(deployment, str(record.get("ExecutionId")))
    if described is None:
        return "unnotified"
    if described["status"] == "RUNNING":
        return "in_flight"
    # The mark is missing, but the workflow's output has SendNotification's result.
    return "notified" if "message_id" in (described.get("output") or "") else "unnotified"


def audit(
    deployment: Deployment,
    *,
    prefix: str = "",
    grace_seconds: int = GRACE_SECONDS,
    confirmed: bool = False,
    update: Callable[[dict[str, Any], Sequence[tuple[Stored, str]]], object] = terminal.no_progress,
) -> dict[str, Any]:
    """Account for every upload under `prefix`, ready for JSON; when confirmed, start the open ones.

    All counts except `recorded` add up to `uploaded`. `recorded` counts all with a record: `notified`;
    `not_to_be_notified`, as in a backfill; `unnotified`, which should have been; and `notification_unknown`,
    written by a version that did not track notifications. `parked` is in the dead-letter queue, recorded or
    not; `in_flight` was uploaded or recorded too recently to judge; `expired` is older than the retention of
    records; `not_watched` has a key that starts no workflow; `unaccounted` is everything else. `started`
    counts the executions started for unnotified and unaccounted uploads, `already_started` those from an
    earlier audit that are still running. `parked_unseen` counts parked events that another reader holds;
    their uploads get some other verdict.

    Memory use is a few pages of the listing plus the ImageIDs in the dead-letter queue, whatever the bucket's
    size. `update` gets the account so far and the uploads found open since the last call.

    Raises UserError when no key begins with `prefix`, or when confirmed while others hold parked events.
    """
    now = datetime.now(UTC)
    parked, parked_unseen = parked_images(deployment)
    if confirmed and parked_unseen:
        raise UserError(
            f"{parked_unseen:,} parked events are being read by somebody else just now (a redrive?)"
            " and would be started twice; run it again in two minutes."
        )
    account: dict[str, Any] = {
        "environment": deployment.environment.name,
        "prefix": prefix,
        **dict.fromkeys((*_TITLES, "recorded", "started", "already_started"), 0),
        "parked_unseen": parked_unseen,
        "images": [],
    }
    uploads, verdict = listing(deployment, prefix), partial(judge, deployment, parked, now, grace_seconds)
    with ThreadPoolExecutor(max_workers=8) as pool:
        while group := list(itertools.islice(uploads, _GROUP)):
            recorded = records.recorded(deployment, (one.image_id for one in group))
            found = [recorded.get(one.image_id) for one in group]
            still_open = []
            for stored, record, name in zip(group, found, pool.map(verdict, group, found), strict=True):
                account["uploaded"] += 1
                account["recorded"] += record is not None and name != "parked"
                account[name] += 1
                if name in _OPEN:
                    still_open.append((stored, name))
            account["images"] += [
                {"key": one.key, "etag": one.etag, "version_id": one.version_id, "verdict": name}
                for one, name in still_open[: _KEPT_IN_JSON - len(account["images"])]
            ]
            if confirmed:
                start = partial(_start, deployment, recorded, now)
                started = list(pool.map(start, (one for one, _ in still_open)))
                account["started"] += started.count(True)
                account["already_started"] += started.count(False)
            update(account, still_open)
    if prefix and not account["uploaded"]:
        raise UserError(
            f"Nothing in {deployment.bucket} begins with '{prefix}'; prefixes are case-sensitive and do not"
            " begin with '/'."
        )
    return account


def _start(deployment: Deployment, recorded: Mapping[str, Record], now: datetime, stored: Stored) -> bool:
    """Start the workflow for an upload; False while the execution of an earlier audit that day is running."""
    owners = [str(recorded[stored.image_id]["ExecutionId"])] if stored.image_id in recorded else []
    event = executions.event(
        deployment.bucket, stored.key, stored.etag, stored.size, stored.version_id, redriven_from=owners
    )
    name = execution_name(stored, now)
    number = 1
    while not executions.start(deployment, event, name):
        if executions.is_running(deployment, name):
            return False
        # Step Functions refuses a used name for 90 days, even if that execution failed.
        number += 1
        name = f"{execution_name(stored, now)}-{number}"
    return True


def execution_name(stored: Stored, now: datetime) -> str:
    """A name that is the same all day for one image, so that an interrupted audit can be run again."""
    return f"audit-{now:%Y%m%d}-{hashlib.sha256(stored.image_id.encode()).hexdigest()[:40]}"


@click.command
@options.environment
@click.option("--prefix", default="", type=options.KEY, help="Only keys that begin with this.")
@click.option(
    "--grace",
    type=click.IntRange(min=0),
    default=GRACE_SECONDS,
    show_default=True,
    metavar="SECONDS",
    help="Uploads younger than this may still be on their way.",
)
@options.confirm("Start the workflow for what is unaccounted for or not notified")
@options.as_json
def command(env: str, prefix: str, grace: int, confirm: bool, as_json: bool) -> None:
    """Account for every upload: recorded and notified, parked, or unaccounted for."""
    deployment = Deployment.load(env)
    with terminal.progress("Reading the dead-letter queue and the bucket's listing", hidden=as_json) as bar:

        def update(account: dict[str, Any], still_open: Sequence[tuple[Stored, str]]) -> None:
            bar(account["uploaded"], None, f"{_open(account):,} to look at")
            for stored, verdict in () if as_json else still_open:
                click.echo(f'{_TITLES[verdict].capitalize()}: "{terminal.visible(stored.key)}" {stored.etag}')

        account = audit(deployment, prefix=prefix, grace_seconds=grace, confirmed=confirm, update=update)
    if as_json:
        options.print_json(account)
    else:
        _show(account, confirm)
    if _open(account) and not confirm:
        sys.exit(1)


_TITLES = {
    "notified": "recorded and notified",
    "not_to_be_notified": "recorded and not to be notified",
    "unnotified": "recorded but not notified",
    "parked": "in the dead-letter queue",
    "unaccounted": "unaccounted for",
    "notification_unknown": "recorded by a version that marks no notifications",
    "in_flight": "on their way",
    "expired": "older than records are kept",
    "not_watched": "not watched (folder markers, other prefixes)",
    "uploaded": "all",
}
_ALWAYS = ("notified", "not_to_be_notified", "unnotified", "parked", "unaccounted", "uploaded")


def _open(account: dict[str, Any]) -> int:
    return sum(account[verdict] for verdict in _OPEN)


def _show(account: dict[str, Any], confirmed: bool) -> None:
    shown = [name for name in _TITLES if account[name] or name in _ALWAYS]
    rows = [(_TITLES[name], f"{account[name]:,}") for name in shown]
    bad = {_TITLES[verdict] for verdict in _OPEN}
    title = f"Uploads of {account['environment']}"
    table = terminal.table("How they ended", "Uploads", rows=rows, numbers=("Uploads",), red=bad, title=title)
    terminal.console().print(table)
    running, unseen = account["already_started"], account["parked_unseen"]
    if confirmed and _open(account):
        already = f", {running:,} are on their way already" if running else ""
        click.echo(f"{account['started']:,} started{already}.")
    elif unseen:
        click.echo(
            f"{unseen:,} parked events are being read by somebody else just now: their uploads"
            " may show as unaccounted for; look again in two minutes."
        )
    elif _open(account):
        click.echo(
            "Nothing was changed; with CONFIRM=1 the unaccounted ones are analysed, and those recorded but"
            " not notified are notified."
        )
