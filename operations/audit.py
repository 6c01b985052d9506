"""`audit`: every upload in the bucket accounted for, from the bucket's own listing."""

from __future__ import annotations

import hashlib
import itertools
import json
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, NamedTuple

import click

from operations import options, records
from operations.errors import UserError

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator

    from operations.deployment import Deployment
    from operations.workflow import Started

# Retries of a throttled workflow end within this, unless EventBridge itself cannot reach the workflow.
GRACE_SECONDS = 600
_KEPT_IN_JSON = 1_000


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
        return f"{self.key}@{self.etag}"

    def event(self) -> dict[str, Any]:
        """What starts the workflow for it."""
        from operations import executions

        return executions.event(self.bucket, self.key, self.etag, self.size, self.version_id)


@dataclass
class Account:
    """What became of each upload; the counts add up to `uploaded`.

    `parked` is in the dead-letter queue, recorded or not; `in_flight` was uploaded too short a time ago to
    tell; `expired` is older than records are kept; `not_watched` has a key that starts no workflow;
    `unaccounted` is none of these. `started` counts the executions begun for those, `already_started` those
    an earlier audit began and that still run. `parked_unseen` counts parked events somebody else is reading,
    whose uploads show as something else.
    """

    environment: str
    prefix: str
    uploaded: int = 0
    recorded: int = 0
    parked: int = 0
    in_flight: int = 0
    expired: int = 0
    not_watched: int = 0
    unaccounted: int = 0
    started: int = 0
    already_started: int = 0
    parked_unseen: int = 0
    images: list[dict[str, Any]] = field(default_factory=list)


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

    def verdict(self, stored: Stored, recorded: Collection[str], parked: Collection[str]) -> str:
        """The field of Account an upload counts for."""
        if stored.key.endswith("/") or not stored.key.startswith(self.upload_prefix):
            return "not_watched"
        if stored.image_id in parked:
            return "parked"
        if stored.image_id in recorded:
            return "recorded"
        if self.kept_after is not None and stored.modified < self.kept_after:
            return "expired"
        return "in_flight" if stored.modified > self.settled_before else "unaccounted"


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
    from operations.dead_letters import MOST_SHOWN, NotAnEventError, reading

    found: set[str] = set()
    with reading(deployment) as queue:
        total, _ = queue.state()
        if total > MOST_SHOWN:
            raise UserError(
                f"The dead-letter queue holds {total:,} messages, more than can be looked at;"
                " run 'make redrive CONFIRM=1' first."
            )
        for batch in queue.letters(hidden_seconds=60 + total // 50):
            for letter in batch:
                try:
                    found.add(letter.image_id())
                except NotAnEventError:
                    continue
        unseen = queue.held_elsewhere()
    return Parked(found, unseen)


def _silent(_progress: object) -> None:
    """For callers who do not watch."""


def audit(
    deployment: Deployment,
    *,
    prefix: str = "",
    grace_seconds: int = GRACE_SECONDS,
    confirmed: bool = False,
    report: Callable[[Stored], object] = _silent,
    tell: Callable[[Account], object] = _silent,
) -> Account:
    """Account for every upload under `prefix`; when confirmed, start the workflow for the unaccounted ones.

    Needs memory for a few pages of the listing and the ImageIDs in the dead-letter queue, whatever the
    bucket's size. `report` is given each unaccounted upload, `tell` the counts so far.

    Raises UserError when nothing begins with `prefix`, or when it is confirmed while others hold parked
    events, and what AWS raises.
    """
    from operations.workflow import warm

    account = Account(deployment.environment.name, prefix)
    now = datetime.now(UTC)
    expectation = Expectation.of(deployment, grace_seconds, now)
    warm(deployment, "dynamodb", "s3", "stepfunctions")
    parked, account.parked_unseen = parked_images(deployment)
    if confirmed and account.parked_unseen:
        raise UserError(
            f"{account.parked_unseen:,} parked events are being read by somebody else just now (a redrive?)"
            " and would be started twice; run it again in two minutes."
        )
    uploads = listing(deployment, prefix)
    with ThreadPoolExecutor(max_workers=8) as pool:
        while group := list(itertools.islice(uploads, 8 * records.BATCH)):
            parts = [group[at : at + records.BATCH] for at in range(0, len(group), records.BATCH)]
            answers = pool.map(
                lambda part: records.recorded(deployment, (stored.image_id for stored in part)), parts
            )
            recorded = set().union(*answers)
            missing = []
            for stored in group:
                verdict = expectation.verdict(stored, recorded, parked)
                account.uploaded += 1
                setattr(account, verdict, getattr(account, verdict) + 1)
                if verdict == "unaccounted":
                    missing.append(stored)
                    report(stored)
            for stored in missing[: _KEPT_IN_JSON - len(account.images)]:
                account.images.append(
                    {"key": stored.key, "etag": stored.etag, "version_id": stored.version_id}
                )
            if confirmed:
                outcomes = list(pool.map(lambda stored: _start(deployment, stored, now), missing))
                account.started += outcomes.count("started")
                account.already_started += outcomes.count("already")
            tell(account)
    if prefix and not account.uploaded:
        raise UserError(
            f"Nothing in {deployment.bucket} begins with '{prefix}'; prefixes are case-sensitive and do not"
            " begin with '/'."
        )
    return account


def _start(deployment: Deployment, stored: Stored, now: datetime) -> Started:
    """Start the workflow for an upload, unless what an earlier audit of the day started for it still runs."""
    from operations.workflow import is_running, start

    name, text = execution_name(stored, now), json.dumps(stored.event())
    for number in itertools.count(1):
        # A name that was used is refused for 90 days, also when nothing came of it.
        numbered = name if number == 1 else f"{name}-{number}"
        if start(deployment, numbered, text) == "started":
            return "started"
        if is_running(deployment, numbered):
            return "already"
    raise AssertionError("unreachable")


def execution_name(stored: Stored, now: datetime) -> str:
    """The same all day for the same image, so that an interrupted audit can be run again."""
    digest = hashlib.sha256(stored.image_id.encode()).hexdigest()[:40]
    return f"audit-{now:%Y%m%d}-{digest}"


@click.command
@options.environment
@click.option("--prefix", default="", help="Only keys that begin with this.")
@click.option(
    "--grace",
    type=click.IntRange(min=0),
    default=GRACE_SECONDS,
    show_default=True,
    metavar="SECONDS",
    help="Uploads younger than this may still be on their way.",
)
@options.confirm("Start the workflow for what is unaccounted for")
@options.as_json
def command(env: str, prefix: str, grace: int, confirm: bool, as_json: bool) -> None:
    """Account for every upload: a record, a dead letter, or unaccounted for."""
    from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn
    from rich.text import Text

    from operations.deployment import Deployment
    from operations.terminal import console, visible

    deployment = Deployment.load(env)
    out, screen = console(), console(errors=True)
    with Progress(
        SpinnerColumn(),
        TextColumn("{task.description}"),
        TimeElapsedColumn(),
        console=screen,
        transient=True,
        disable=not screen.is_terminal,
    ) as progress:
        task = progress.add_task("Reading the dead-letter queue and the bucket's listing", total=None)

        def tell(account: Account) -> None:
            progress.update(
                task, description=f"{account.uploaded:,} uploads, {account.unaccounted:,} unaccounted for"
            )

        def report(stored: Stored) -> None:
            if not as_json:
                out.print(Text(f'Unaccounted for: "{visible(stored.key)}" {stored.etag}'))

        account = audit(
            deployment,
            prefix=prefix,
            grace_seconds=grace,
            confirmed=confirm,
            report=report,
            tell=tell,
        )
    if as_json:
        click.echo(json.dumps(asdict(account)))
    else:
        _print(account, confirm)
    if account.unaccounted and not confirm:
        sys.exit(1)


def _print(account: Account, confirmed: bool) -> None:
    from rich.table import Table

    from operations.terminal import console

    grid = Table(title=f"Uploads of {account.environment}", title_justify="left")
    grid.add_column("What became of them")
    grid.add_column("Uploads", justify="right")
    for title, count in (
        ("recorded", account.recorded),
        ("in the dead-letter queue", account.parked),
        ("on their way", account.in_flight),
        ("older than records are kept", account.expired),
        ("not watched (folder markers, other prefixes)", account.not_watched),
        ("unaccounted for", account.unaccounted),
        ("all", account.uploaded),
    ):
        if count or title in {"recorded", "unaccounted for", "all"}:
            grid.add_row(title, f"{count:,}")
    out = console()
    out.print(grid)
    if confirmed and account.unaccounted:
        again = f", {account.already_started:,} are on their way already" if account.already_started else ""
        out.print(f"{account.started:,} started{again}.")
    elif account.parked_unseen:
        out.print(
            f"{account.parked_unseen:,} parked events are being read by somebody else just now: their uploads"
            " may show as unaccounted for; look again in two minutes.",
            style="yellow",
        )
    elif account.unaccounted:
        out.print("Nothing was changed; with CONFIRM=1 the unaccounted ones are started.")
