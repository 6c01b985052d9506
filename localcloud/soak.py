"""`make soak`: send many photos with duplicates, bad files and faults, and account for every one."""

from __future__ import annotations

import random
import shutil
import time
import uuid
from collections import Counter, deque
from concurrent.futures import Future, ThreadPoolExecutor, wait
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

import click

from operations import options, program, records, terminal
from operations.errors import UserError
from operations.executions import event, start
from operations.uploads import listing, parked_images

from .cloud import BUILD as BUILDS
from .cloud import SAMPLES, shown
from .stack import deployed

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping, Sequence

    from rich.console import Console
    from rich.table import Table

    from .stack import Stack, Subscription

BUILD = BUILDS / "soak"
# If nothing runs and nothing changes for this long, nothing more will arrive.
PATIENCE_SECONDS = 60.0
# Images in flight at a time: the local cloud starts a worker process for each.
IN_FLIGHT = 12
UPLOADERS = 4
# The share of files that are not photos.
BAD_FILES = 0.05
_PAUSE_SECONDS = 0.1
_SHARE = click.FloatRange(0, 1)

# The faults Rekognition may have for an image; the last one is permanent.
FAULTS: tuple[dict[str, Any], ...] = (
    {"error": "ThrottlingException", "count": 2},
    {"error": "ProvisionedThroughputExceededException", "count": 1},
    {"error": "InternalServerError", "count": 1},
    {"delay_seconds": 2.0, "count": 1},
    {"error": "AccessDeniedException", "count": -1},
)


@dataclass(frozen=True)
class Image:
    """A planned upload. `delivered_again`: when a duplicate event follows, `at once` or `later`, or None."""

    key: str
    body: bytes
    delivered_again: str | None = None
    fault: Mapping[str, Any] | None = None

    @property
    def hopeless(self) -> bool:
        """Whether its fault is permanent, so that its event must be parked.

        Rekognition is not called for an empty file, and so cannot refuse it.
        """
        return self.fault is not None and self.fault["count"] < 0 and bool(self.body)


@dataclass
class Account:
    """How the uploads ended, counted from the bucket's listing.

    `recorded`, `notified` and `parked` are uploads with a record, at least one notification, or a message in
    the dead-letter queue. `lost` are those neither parked nor both recorded and notified; `duplicated` counts
    notifications after the first for an upload; `misplaced` are parked without a reason, or both parked and
    notified. `seconds` run from the first upload until nothing changes any more.
    """

    uploaded: int = 0
    recorded: int = 0
    notified: int = 0
    parked: int = 0
    lost: int = 0
    duplicated: int = 0
    misplaced: int = 0
    seconds: float = 0.0
    lost_keys: list[str] = field(default_factory=list)
    misplaced_keys: list[str] = field(default_factory=list)


def draw(images: int, duplicates: float, faults: float, seed: int, prefix: str) -> Iterator[Image]:
    """The uploads of one soak, always the same for one `seed`."""
    chance = random.Random(seed)
    photos = {path.name: path.read_bytes() for path in sorted(SAMPLES.iterdir()) if path.suffix != ".md"}
    cut_off = photos["eileen-collins.jpg"][:2000]
    bad = {"empty.jpg": b"", "cut-off.jpg": cut_off, "text.jpg": b"not a photo", "page.pdf": b"%PDF-1.7\n"}
    for number in range(images):
        files = bad if chance.random() < BAD_FILES else photos
        name = chance.choice(list(files))
        yield Image(
            key=f"{prefix}{number:06}/{name}",
            body=files[name],
            delivered_again=chance.choice(("at once", "later")) if chance.random() < duplicates else None,
            fault=chance.choice(FAULTS) if chance.random() < faults else None,
        )


@dataclass
class Soak:
    """Uploads images to a deployed pipeline and follows them until nothing changes any more.

    `patience` is how many seconds it waits for a change when nothing is running. `notified` counts the
    notifications for each upload.
    """

    stack: Stack
    prefix: str
    patience: float = PATIENCE_SECONDS
    notified: Counter[str] = field(default_factory=Counter)
    _later: dict[str, Image] = field(default_factory=dict)

    def run(self, images: Sequence[Image], update: terminal.Update = terminal.no_progress) -> Account:
        """Upload the images and account for them; `update` shows how many are settled."""
        subscription = self.stack.subscribe()
        for image in images:
            if image.fault is not None:
                self.stack.control_rekognition("POST", "/faults", {**image.fault, "key": image.key})
        began = time.monotonic()
        try:
            self._send(images, subscription, update)
        finally:
            self.stack.control_rekognition("DELETE", "/faults")
            subscription.close()
        seconds = time.monotonic() - began
        account = self.account({image.key for image in images if image.hopeless})
        account.seconds = round(seconds, 1)
        return account

    def _send(self, images: Sequence[Image], subscription: Subscription, update: terminal.Update) -> None:
        waiting = deque(images)
        pending: set[Future[None]] = set()
        parked: set[str] = set()
        # One more thread reads the dead-letter queue, which takes a second or more, without delaying uploads.
        with ThreadPoolExecutor(UPLOADERS + 1) as pool:
            reading = pool.submit(self.parked)
            last = time.monotonic()
            while True:
                settled = len(self.notified.keys() | parked)
                update(settled)
                while waiting and len(images) - len(waiting) - settled < IN_FLIGHT:
                    pending.add(pool.submit(self._upload, waiting.popleft()))
                news = [one.image_id for one in subscription.receive()]
                self.notified.update(news)
                for image_id in self._later.keys() & self.notified.keys():
                    pending.add(pool.submit(self._deliver_again, self._later.pop(image_id), image_id))
                time.sleep(_PAUSE_SECONDS)
                done, pending = wait(pending, timeout=0)
                for one in done:
                    one.result()
                found = parked
                if reading.done():
                    found, reading = reading.result(), pool.submit(self.parked)
                if news or done or found != parked:
                    parked, last = found, time.monotonic()
                    continue
                complete = len(self.notified.keys() | parked) >= len(images)
                stalled = time.monotonic() - last > self.patience
                if (complete or stalled) and not pending and not self._running():
                    # Notifications sent between the last receive and the end of the last execution.
                    self.notified.update(one.image_id for one in subscription.receive())
                    return

    def account(self, hopeless: Collection[str] = ()) -> Account:
        """Account for each upload in the bucket's listing; only `hopeless` keys may be parked."""
        keys = {stored.image_id: stored.key for stored in listing(self.stack, self.prefix)}
        recorded = records.recorded(self.stack, keys)
        parked, notified = self.parked() & keys.keys(), self.notified.keys() & keys.keys()
        settled = parked | (notified & recorded.keys())
        lost = [key for image_id, key in keys.items() if image_id not in settled]
        misplaced = [keys[one] for one in sorted(parked) if one in notified or keys[one] not in hopeless]
        return Account(
            uploaded=len(keys),
            recorded=len(recorded),
            notified=len(notified),
            parked=len(parked),
            lost=len(lost),
            duplicated=sum(self.notified[image_id] - 1 for image_id in notified),
            misplaced=len(misplaced),
            lost_keys=lost,
            misplaced_keys=misplaced,
        )

    def parked(self) -> set[str]:
        """The ImageIDs of this soak's uploads in the dead-letter queue."""
        images, _ = parked_images(self.stack)
        return {one for one in images if one.startswith(self.prefix)}

    def _upload(self, image: Image) -> None:
        image_id = self.stack.upload(image.key, image.body)
        if image.delivered_again == "at once":
            self._deliver_again(image, image_id)
        elif image.delivered_again == "later":
            self._later[image_id] = image

    def _deliver_again(self, image: Image, image_id: str) -> None:
        etag = image_id.rpartition("@")[2]
        again = event(self.stack.bucket, image.key, etag, len(image.body))
        start(self.stack, again, f"again-{uuid.uuid4()}")

    def _running(self) -> bool:
        running = {"stateMachineArn": self.stack.state_machine_arn, "statusFilter": "RUNNING"}
        return bool(self.stack.client("stepfunctions").list_executions(**running)["executions"])


def table(account: Account, on_purpose: int) -> Table:
    """The account as a table. `on_purpose` is the number of images meant to be parked."""
    rows = {
        "uploaded": account.uploaded,
        "recorded": account.recorded,
        "notified": account.notified,
        "in the dead-letter queue": account.parked,
        "  refused for ever on purpose": on_purpose,
        "  with no reason": account.misplaced,
        "lost": account.lost,
        "notified twice": account.duplicated,
    }
    bad = ("  with no reason", "lost", "notified twice")
    shown = [(name, f"{count:,}") for name, count in rows.items()]
    return terminal.table("How they ended", "Uploads", rows=shown, numbers=("Uploads",), red=bad)


@click.command
@click.option("--images", type=click.IntRange(1, 999_999), default=1000, show_default=True, help="Uploads.")
@click.option("--duplicates", type=_SHARE, default=0.1, show_default=True, help="Events delivered twice.")
@click.option(
    "--faults",
    type=_SHARE,
    default=0.05,
    show_default=True,
    help="Images that Rekognition throttles, fails, delays or refuses for ever.",
)
@click.option("--seed", type=int, help="Repeat an earlier soak's choices.")
@options.as_json
def main(images: int, duplicates: float, faults: float, seed: int | None, as_json: bool) -> None:
    """Send many images through the pipeline on this computer and account for every one."""
    console = terminal.console(errors=as_json)
    path = BUILD / "report.json"
    # So that an existing report is always from this run.
    path.unlink(missing_ok=True)
    seed = random.randrange(1_000_000) if seed is None else seed
    drawn = list(draw(images, duplicates, faults, seed, "soak/"))
    account = soak(drawn, console)
    chosen = {"images": images, "duplicates": duplicates, "faults": faults, "seed": seed}
    report = options.json_text({**asdict(account), "asked": chosen}, indent=2)
    path.write_text(report + "\n", encoding="utf-8")
    if as_json:
        click.echo(report)
    else:
        console.print(table(account, sum(image.hopeless for image in drawn)))
        rate = account.uploaded / account.seconds
        again = sum(image.delivered_again is not None for image in drawn)
        console.print(
            f"{account.seconds:.0f} s, {rate:.1f} images a second; {again:,} events delivered twice"
            f" (seed {seed}). Report: {shown(path)}"
        )
    problems = {
        f"{account.lost:,} of {images:,} uploads lost": account.lost,
        f"{account.duplicated:,} notified more than once": account.duplicated,
        f"{account.misplaced:,} in the dead-letter queue with no reason": account.misplaced,
        f"only {account.uploaded:,} of {images:,} images uploaded": account.uploaded != images,
    }
    if found := ", ".join(problem for problem, wrong in problems.items() if wrong):
        raise UserError(f"{found}; the logs are in {shown(BUILD)}/localcloud, the report beside them.")
    shutil.rmtree(BUILD / "localcloud", ignore_errors=True)


def soak(images: Sequence[Image], console: Console) -> Account:
    """Send the images through a local cloud that is stopped afterwards. Raises UserError."""
    with (
        deployed(BUILD / "localcloud", console) as stack,
        terminal.progress("Notified or parked", total=len(images)) as update,
    ):
        return Soak(stack, "soak/").run(images, update)


if __name__ == "__main__":
    program.run(program.Verbs({"soak": "localcloud.soak:main"}), "python -m localcloud.soak", "soak")
