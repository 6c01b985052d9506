"""`audit`: every upload in the bucket accounted for, from the bucket's own listing."""

from __future__ import annotations

import hashlib
import itertools
import sys
from concurrent.futures import ThreadPoolExecutor, wait
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import TYPE_CHECKING, Any

import click

from operations import executions, options, records, terminal
from operations.deployment import Deployment
from operations.errors import UserError
from operations.uploads import Stored, is_folder_marker, listing, parked_images

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping

    from operations.records import Record

# A photo that waits for its turn in a burst is tried for up to 16 minutes, and a throttled call again within
# that, unless EventBridge itself cannot reach the workflow.
GRACE_SECONDS = 1200
_KEPT_IN_JSON = 1_000


@dataclass
class Account:
    """How each upload ended; the counts but `recorded` add up to `uploaded`.

    `recorded` counts all with a record: `notified`; `not_to_be_notified`, as in a backfill; `unnotified`,
    which should have been; and `notification_unknown`, made by a version that recorded no notifications.
    `parked` is in the dead-letter queue, recorded or not; `in_flight` was uploaded or recorded too short a
    time ago to say; `expired` is older than records are kept; `not_watched` has a key no workflow starts for;
    `unaccounted` is none of these. `started` counts the executions begun for the unnotified and unaccounted,
    `already_started` those an earlier audit began and that still run. `parked_unseen` counts parked events
    somebody else is reading, whose uploads show as something else.
    """

    environment: str
    prefix: str
    uploaded: int = 0
    recorded: int = 0
    notified: int = 0
    not_to_be_notified: int = 0
    unnotified: int = 0
    notification_unknown: int = 0
    parked: int = 0
    in_flight: int = 0
    expired: int = 0
    not_watched: int = 0
    unaccounted: int = 0
    started: int = 0
    already_started: int = 0
    parked_unseen: int = 0
    images: list[dict[str, Any]] = field(default_factory=list)


# The verdicts that CONFIRM=1 does something about.
_OPEN = ("unnotified", "unaccounted")


@dataclass(frozen=True)
class Expectation:
    """Which uploads ought to have a record by now."""

    upload_prefix: str
    settled_before: datetime
    kept_after: datetime | None

    @classmethod
    def of(cls, deployment: Deployment, grace_seconds: int, now: datetime) -> Expectation:
        settings = deployment.environment.settings
        days = settings.get("record_retention_days")
        return cls(
            upload_prefix=str(settings.get("upload_prefix") or ""),
            settled_before=now - timedelta(seconds=grace_seconds),
            kept_after=None if days is None else now - timedelta(days=int(days)),
        )

    def verdict(
        self,
        stored: Stored,
        recorded: Mapping[str, Record],
        parked: Collection[str],
        ended: Callable[[Record], str],
    ) -> str:
        """The field of Account an upload counts for; `ended` says it of a record with a notification due."""
        if stored.image_id in parked:
            return "parked"
        record = recorded.get(stored.image_id)
        if record is not None:
            if record.get("NotifiedAt"):
                return "notified"
            due = record.get("NotificationDue")
            if due is None:
                return "notification_unknown"
            if not due:
                return "not_to_be_notified"
            return ended(record) if stored.modified <= self.settled_before else "in_flight"
        # Recorded before the setting was made, an upload outside of it is accounted for all the same.
        if is_folder_marker(stored.key, stored.size) or not stored.key.startswith(self.upload_prefix):
            return "not_watched"
        if self.kept_after is not None and stored.modified < self.kept_after:
            return "expired"
        return "in_flight" if stored.modified > self.settled_before else "unaccounted"


@executions.patiently
def how_it_ended(deployment: Deployment, record: Record) -> str:
    """The field of Account for a record with a notification due, from the execution that owns it."""
    described = executions.describe(deployment, str(record.get("ExecutionId")))
    if described is None:
        return "unnotified"
    if described["status"] == "RUNNING":
        return "in_flight"
    # Without a mark, though the workflow ended with SendNotification's answer.
    return "notified" if "message_id" in (described.get("output") or "") else "unnotified"


def audit(
    deployment: Deployment,
    *,
    prefix: str = "",
    grace_seconds: int = GRACE_SECONDS,
    confirmed: bool = False,
    report: Callable[[Stored, str], object] = terminal.unwatched,
    update: Callable[[Account], object] = terminal.unwatched,
) -> Account:
    """Account for every upload under `prefix`; when confirmed, start the workflow where that helps.

    For the unaccounted ones it analyses, for the unnotified it only notifies. Needs memory for a few pages of
    the listing and the ImageIDs in the dead-letter queue, whatever the bucket's size. `report` is given each
    such upload and which it is, `update` the counts so far.

    Raises UserError when nothing begins with `prefix`, or when it is confirmed while others hold parked
    events, and what AWS raises.
    """
    account = Account(deployment.environment.name, prefix)
    now = datetime.now(UTC)
    expectation = Expectation.of(deployment, grace_seconds, now)
    parked, account.parked_unseen = parked_images(deployment)
    if confirmed and account.parked_unseen:
        raise UserError(
            f"{account.parked_unseen:,} parked events are being read by somebody else just now (a redrive?)"
            " and would be started twice; run it again in two minutes."
        )
    uploads = listing(deployment, prefix)
    ended = partial(how_it_ended, deployment)
    with ThreadPoolExecutor(max_workers=8) as pool:
        while group := list(itertools.islice(uploads, 8 * records.BATCH)):
            recorded = records.recorded(deployment, (one.image_id for one in group))

            def judge(stored: Stored, recorded: Mapping[str, Record] = recorded) -> str:
                return expectation.verdict(stored, recorded, parked, ended)

            open_uploads = []
            for stored, verdict in zip(group, pool.map(judge, group), strict=True):
                account.uploaded += 1
                account.recorded += stored.image_id in recorded and verdict != "parked"
                setattr(account, verdict, getattr(account, verdict) + 1)
                if verdict in _OPEN:
                    open_uploads.append((stored, verdict))
                    report(stored, verdict)
            account.images += [
                {"key": one.key, "etag": one.etag, "version_id": one.version_id, "verdict": verdict}
                for one, verdict in open_uploads[: _KEPT_IN_JSON - len(account.images)]
            ]
            if confirmed:
                owners = {image: str(record.get("ExecutionId")) for image, record in recorded.items()}
                fresh = [
                    pool.submit(_start, deployment, one, owners.get(one.image_id), now)
                    for one, _ in open_uploads
                ]
                wait(fresh)
                begun = [future.result() for future in fresh]
                account.started += begun.count(True)
                account.already_started += begun.count(False)
            update(account)
    if prefix and not account.uploaded:
        raise UserError(
            f"Nothing in {deployment.bucket} begins with '{prefix}'; prefixes are case-sensitive and do not"
            " begin with '/'."
        )
    return account


def _start(deployment: Deployment, stored: Stored, owner: str | None, now: datetime) -> bool:
    """Start the workflow for an upload; False when what an earlier audit of the day started still runs."""
    name, event = execution_name(stored, now), stored.event(owner)
    for number in itertools.count(1):
        # A name that was used is refused for 90 days, also when nothing came of it.
        numbered = name if number == 1 else f"{name}-{number}"
        if executions.start(deployment, event, numbered):
            return True
        if executions.is_running(deployment, numbered):
            return False
    raise AssertionError("unreachable")


def execution_name(stored: Stored, now: datetime) -> str:
    """The same all day for the same image, so that an interrupted audit can be run again."""
    digest = hashlib.sha256(stored.image_id.encode()).hexdigest()[:40]
    return f"audit-{now:%Y%m%d}-{digest}"


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

        def update(account: Account) -> None:
            bar(account.uploaded, None, f"{account.unaccounted + account.unnotified:,} to look at")

        def report(stored: Stored, verdict: str) -> None:
            if not as_json:
                click.echo(f'{_TITLES[verdict].capitalize()}: "{terminal.visible(stored.key)}" {stored.etag}')

        account = audit(
            deployment,
            prefix=prefix,
            grace_seconds=grace,
            confirmed=confirm,
            report=report,
            update=update,
        )
    if as_json:
        options.print_json(asdict(account))
    else:
        _show(account, confirm)
    if (account.unaccounted or account.unnotified) and not confirm:
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


def _show(account: Account, confirmed: bool) -> None:
    counts = [(title, name, getattr(account, name)) for name, title in _TITLES.items()]
    rows = [(title, f"{count:,}") for title, name, count in counts if count or name in _ALWAYS]
    bad = {_TITLES[verdict] for verdict in _OPEN}
    title = f"Uploads of {account.environment}"
    columns = ("How they ended", "Uploads")
    table = terminal.table(*columns, rows=rows, numbers=("Uploads",), red=bad, title=title)
    terminal.console().print(table)
    if confirmed and (account.unaccounted or account.unnotified):
        running = f", {account.already_started:,} are on their way already" if account.already_started else ""
        click.echo(f"{account.started:,} started{running}.")
    elif account.parked_unseen:
        click.echo(
            f"{account.parked_unseen:,} parked events are being read by somebody else just now: their uploads"
            " may show as unaccounted for; look again in two minutes."
        )
    elif account.unaccounted or account.unnotified:
        click.echo(
            "Nothing was changed; with CONFIRM=1 the unaccounted ones are analysed, and those recorded but"
            " not notified are notified."
        )
