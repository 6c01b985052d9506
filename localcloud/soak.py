"""`make soak`: many photos with duplicates, bad files and faults, and every single one accounted for."""

from __future__ import annotations

import json
import random
import sys
import time
import uuid
from collections import Counter, deque
from concurrent.futures import Future, ThreadPoolExecutor, wait
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any
from urllib.error import URLError

import click
from botocore.exceptions import BotoCoreError, ClientError
from rich.table import Table

from operations import records, terminal
from operations.deployment import Deployment
from operations.errors import UserError
from operations.executions import event, start
from operations.program import end_in_order
from operations.uploads import listing, parked_images

from .cloud import REPOSITORY, LocalCloud, LocalCloudError, shown
from .demo import bar
from .photos import SAMPLES
from .stack import Stack, remove

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator, Mapping, Sequence

    from rich.console import Console

    from operations.uploads import Stored

    from .stack import Subscription

BUILD = REPOSITORY / "build" / "soak"
# Nothing runs and nothing has moved for so long: nothing more will come.
PATIENCE_SECONDS = 60.0
IN_FLIGHT = 12
UPLOADERS = 4
# One file in so many is none that can be analysed.
BAD_FILES = 0.05
_PAUSE_SECONDS = 0.1

# What Rekognition does to an image that a fault is meant for; the last one never gets better.
FAULTS: tuple[dict[str, Any], ...] = (
    {"error": "ThrottlingException", "count": 2},
    {"error": "ProvisionedThroughputExceededException", "count": 1},
    {"error": "InternalServerError", "count": 1},
    {"delay_seconds": 2.0, "count": 1},
    {"error": "AccessDeniedException", "count": -1},
)


@dataclass(frozen=True)
class Image:
    """One upload to come. `delivered_again` is how EventBridge repeats itself: `at once`, `later` or not."""

    key: str
    body: bytes
    delivered_again: str | None = None
    fault: Mapping[str, Any] | None = None

    @property
    def hopeless(self) -> bool:
        """Whether its fault lasts, so that its event belongs into the dead-letter queue.

        Rekognition is not asked about an empty file, and cannot refuse it.
        """
        return self.fault is not None and self.fault["count"] < 0 and bool(self.body)


@dataclass
class Account:
    """How the uploads ended, counted from the bucket's own listing.

    `recorded`, `notified` and `parked` are uploads with a record, at least one notification, a message in the
    dead-letter queue. `lost` are those neither parked nor both recorded and notified; `duplicated` counts
    notifications beyond the first of an upload; `misplaced` are parked with no reason, or parked and told all
    the same. `seconds` run from the first upload until all was still.
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
    """The uploads of one soak, the same for the same `seed`."""
    chance = random.Random(seed)
    photos = {path.name: path.read_bytes() for path in sorted(SAMPLES.iterdir()) if path.suffix != ".md"}
    portrait = photos["eileen-collins.jpg"]
    bad = {
        "empty.jpg": b"",
        "cut-off.jpg": portrait[:2000],
        "text.jpg": b"not a photo",
        "page.pdf": b"%PDF-1.7\n",
    }
    for number in range(images):
        files = bad if chance.random() < BAD_FILES else photos
        name = chance.choice(list(files))
        yield Image(
            key=f"{prefix}{number:06}/{name}",
            body=files[name],
            delivered_again=chance.choice(("at once", "later")) if chance.random() < duplicates else None,
            fault=chance.choice(FAULTS) if chance.random() < faults else None,
        )


class Soak:
    """Uploads images to a deployed pipeline and follows them until all is still.

    `in_flight` images are on their way at a time, for the local cloud starts a worker process for each.
    `patience` is how many seconds it waits, once nothing runs, for something to move.
    """

    def __init__(
        self, stack: Stack, prefix: str, *, in_flight: int = IN_FLIGHT, patience: float = PATIENCE_SECONDS
    ) -> None:
        self._stack = stack
        self._prefix = prefix
        self._in_flight = in_flight
        self._patience = patience
        self._deployment = Deployment(stack.environment, stack.outputs)
        stack.client("s3")
        self.told: Counter[str] = Counter()
        self._later: dict[str, Image] = {}

    def run(self, images: Sequence[Image], moved: Callable[[int, int], object] = lambda *_: None) -> Account:
        """Upload the images and account for them; `moved` is given how many are uploaded and settled."""
        subscription = self._stack.subscribe()
        for image in images:
            if image.fault is not None:
                self._stack.control_rekognition("POST", "/faults", {**image.fault, "key": image.key})
        began = time.monotonic()
        try:
            # One more looks at the queue.
            with ThreadPoolExecutor(UPLOADERS + 1) as pool:
                self._send(images, subscription, pool, moved)
        finally:
            self._stack.control_rekognition("DELETE", "/faults")
            subscription.close()
        seconds = time.monotonic() - began
        account = self.account({image.key for image in images if image.hopeless})
        account.seconds = round(seconds, 1)
        return account

    def _send(
        self,
        images: Sequence[Image],
        subscription: Subscription,
        pool: ThreadPoolExecutor,
        moved: Callable[[int, int], object],
    ) -> None:
        waiting = deque(images)
        pending: set[Future[None]] = set()
        parked: set[str] = set()
        # A look at the queue takes a second or more, in which the next uploads need not wait.
        looking = pool.submit(self.parked)
        last = time.monotonic()
        while True:
            settled = len(self.told.keys() | parked)
            while waiting and len(images) - len(waiting) - settled < self._in_flight:
                pending.add(pool.submit(self._upload, waiting.popleft()))
            news = [one.image_id for one in subscription.receive()]
            self.told.update(news)
            for image_id in self._later.keys() & self.told.keys():
                pending.add(pool.submit(self._deliver_again, self._later.pop(image_id), image_id))
            done, pending = wait(pending, timeout=0)
            for one in done:
                one.result()
            found = parked
            if looking.done():
                found, looking = looking.result(), pool.submit(self.parked)
            moved(len(images) - len(waiting), settled)
            time.sleep(_PAUSE_SECONDS)
            if news or done or found != parked:
                parked, last = found, time.monotonic()
                continue
            complete = len(self.told.keys() | parked) >= len(images)
            tired = time.monotonic() - last > self._patience
            if (complete or tired) and not pending and not self._running():
                # Notifications sent between the last look and the end of the last execution.
                self.told.update(one.image_id for one in subscription.receive())
                return

    def account(self, hopeless: Collection[str] = ()) -> Account:
        """Count what became of each upload in the bucket's listing; `hopeless` keys alone may be parked."""
        account = Account()
        parked, _ = parked_images(self._deployment)
        for stored, recorded in self._uploads():
            told = self.told[stored.image_id]
            account.uploaded += 1
            account.recorded += recorded
            account.notified += told > 0
            account.parked += stored.image_id in parked
            if stored.image_id in parked and (told or stored.key not in hopeless):
                account.misplaced += 1
                account.misplaced_keys.append(stored.key)
            account.duplicated += max(0, told - 1)
            if stored.image_id not in parked and not (recorded and told):
                account.lost += 1
                account.lost_keys.append(stored.key)
        return account

    def parked(self) -> set[str]:
        """The soak's uploads in the dead-letter queue, by image."""
        images, _ = parked_images(self._deployment)
        return {one for one in images if one.startswith(self._prefix)}

    def _uploads(self) -> Iterator[tuple[Stored, bool]]:
        listed = list(listing(self._deployment, self._prefix))
        found = records.recorded(self._deployment, (stored.image_id for stored in listed))
        return ((stored, stored.image_id in found) for stored in listed)

    def _upload(self, image: Image) -> None:
        image_id = self._stack.upload(image.key, image.body)
        if image.delivered_again == "at once":
            self._deliver_again(image, image_id)
        elif image.delivered_again == "later":
            self._later[image_id] = image

    def _deliver_again(self, image: Image, image_id: str) -> None:
        etag = image_id.rpartition("@")[2]
        again = event(self._stack.bucket, image.key, etag, len(image.body))
        start(self._deployment, again, f"again-{uuid.uuid4()}")

    def _running(self) -> bool:
        return bool(
            self._deployment.client("stepfunctions").list_executions(
                stateMachineArn=self._deployment.state_machine_arn, statusFilter="RUNNING", maxResults=1
            )["executions"]
        )


def table(account: Account, on_purpose: int) -> Table:
    """The account for eyes. `on_purpose` is how many images were meant to be parked."""
    grid = Table(title="Uploads and how they ended", title_justify="left", show_header=False)
    grid.add_column()
    grid.add_column(justify="right")
    grid.add_row("uploaded", f"{account.uploaded:,}")
    grid.add_row("recorded", f"{account.recorded:,}")
    grid.add_row("notified", f"{account.notified:,}")
    grid.add_row("in the dead-letter queue", f"{account.parked:,}")
    grid.add_row("  refused for ever on purpose", f"{on_purpose:,}")
    grid.add_row("  with no reason", f"{account.misplaced:,}", style="red" if account.misplaced else "green")
    grid.add_row("lost", f"{account.lost:,}", style="red" if account.lost else "green")
    grid.add_row("notified twice", f"{account.duplicated:,}", style="red" if account.duplicated else "green")
    return grid


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.option("--images", type=click.IntRange(1, 999_999), default=1000, show_default=True, help="Uploads.")
@click.option(
    "--duplicates",
    type=click.FloatRange(0, 1),
    default=0.1,
    show_default=True,
    help="Share of the events that are delivered twice.",
)
@click.option(
    "--faults",
    type=click.FloatRange(0, 1),
    default=0.05,
    show_default=True,
    help="Share of the images that Rekognition throttles, fails, delays or refuses for ever.",
)
@click.option(
    "--in-flight",
    type=click.IntRange(1, 100),
    default=IN_FLIGHT,
    show_default=True,
    help="Images on their way at a time.",
)
@click.option("--seed", type=int, default=None, help="Repeat an earlier soak's choices.")
@click.option("--json", "as_json", is_flag=True, help="Print the report instead of the table.")
def main(
    images: int, duplicates: float, faults: float, in_flight: int, seed: int | None, as_json: bool
) -> None:
    """Send many images through the pipeline on this computer and account for every one."""
    end_in_order()
    console = terminal.console(errors=as_json)
    path = BUILD / "report.json"
    # One that is there is of this run.
    path.unlink(missing_ok=True)
    seed = random.randrange(1_000_000) if seed is None else seed
    drawn = list(draw(images, duplicates, faults, seed, "soak/"))
    try:
        account = soak(drawn, in_flight, console)
    except (UserError, LocalCloudError) as error:
        raise click.ClickException(str(error)) from None
    except (BotoCoreError, ClientError, URLError) as error:
        raise click.ClickException(
            f"The local cloud failed: {error}; the logs are in {shown(BUILD / 'localcloud')}."
        ) from None
    except KeyboardInterrupt:
        click.echo("Interrupted; nothing is left running.", err=True)
        sys.exit(130)
    chosen = {"images": images, "duplicates": duplicates, "faults": faults, "seed": seed}
    report = json.dumps({**asdict(account), "asked": chosen}, indent=2, ensure_ascii=False)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(report + "\n", encoding="utf-8")
    if as_json:
        click.echo(report)
    else:
        on_purpose = sum(image.hopeless for image in drawn)
        console.print(table(account, on_purpose))
        rate = account.uploaded / account.seconds
        again = sum(image.delivered_again is not None for image in drawn)
        console.print(
            f"{account.seconds:.0f} s, {rate:.1f} images a second; {again:,} events delivered twice"
            f" (seed {seed}). Report: {shown(path)}"
        )
    problems = {
        f"{account.lost:,} of {images:,} uploads lost": account.lost,
        f"{account.duplicated:,} told more than once": account.duplicated,
        f"{account.misplaced:,} in the dead-letter queue with no reason": account.misplaced,
        f"only {account.uploaded:,} of {images:,} images uploaded": account.uploaded != images,
    }
    if found := [problem for problem, wrong in problems.items() if wrong]:
        problem = ", ".join(found)
        raise click.ClickException(f"{problem}; the logs are in {BUILD}/localcloud, the report beside them.")
    remove(BUILD / "localcloud")


def soak(images: Sequence[Image], in_flight: int, console: Console) -> Account:
    """Start a local cloud, apply, send the images through and account for them, and stop it.

    Raises UserError, LocalCloudError or TerraformError, one sentence each.
    """
    console.print(f"Starting the local cloud for {len(images):,} images")
    with LocalCloud.start(BUILD / "localcloud") as cloud:
        console.print("Applying environments/local.tfvars (Terraform itself waits about a minute)")
        stack = Stack.deploy(cloud, console=console)
        with bar(console) as progress:
            uploads = progress.add_task("Uploaded", total=len(images))
            settled = progress.add_task("Told or parked", total=len(images))

            def moved(uploaded: int, accounted: int) -> None:
                progress.update(uploads, completed=uploaded)
                progress.update(settled, completed=accounted)

            return Soak(stack, "soak/", in_flight=in_flight).run(images, moved)


if __name__ == "__main__":
    main()
