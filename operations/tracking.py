"""Images on their way through the pipeline, found by listing executions and reading records."""

from __future__ import annotations

import json
import time
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from operations import executions, records

if TYPE_CHECKING:
    from collections.abc import Iterator

    from operations.deployment import Deployment

# Executions described in one round: DescribeExecution allows 15 calls a second in every region. Those that
# end well are known by their records instead, whatever their number.
# https://docs.aws.amazon.com/step-functions/latest/dg/service-quotas.html
MAX_DESCRIBED = 12
# Executions listed in one round again, and for the first time; StartExecution allows 300 a second.
MAX_LISTED_AGAIN = 5_000
MAX_LISTED = 20_000
# What ended in another way than well and waits to be described; more are shown without their photos.
MAX_WAITING = 1_000
ROWS = 20
_POLL_SECONDS = 1.0
# How long after its start an execution may appear in a list, which is eventually consistent.
_LATE = timedelta(seconds=10)
# What is done is remembered so long, and so long executions are found by listing; older ones are described.
_REMEMBERED = timedelta(minutes=2)
# A record has the time its function began, and appears within the function's time limit of a minute.
_RECORDED_LATE = timedelta(seconds=75)
_DONE = ("SUCCEEDED", "FAILED", "TIMED_OUT", "ABORTED")
UNKNOWN = "not looked up"


@dataclass(slots=True)
class TrackedImage:
    """One image as far as it got. `seconds`: from the start of its execution to its end, or to now.

    `outcome` is empty until it is known; `described`: when Step Functions was last asked about this one.
    """

    execution: str
    started: datetime
    status: str
    key: str = ""
    outcome: str = ""
    faces: int | None = None
    seconds: float | None = None
    reported: bool = field(default=False, repr=False)
    described: float = field(default=0.0, repr=False)

    @property
    def done(self) -> bool:
        return self.status in _DONE

    def as_json(self) -> dict[str, Any]:
        return {
            "execution": self.execution,
            "started": self.started.isoformat(timespec="milliseconds"),
            "status": self.status,
            "key": self.key,
            "outcome": self.outcome,
            "faces": self.faces,
            "seconds": self.seconds,
        }


@dataclass
class Pipeline:
    """What is seen of the images whose executions started after `since`.

    A STANDARD workflow's images are seen from their start. An EXPRESS workflow has no list of executions: its
    images are seen when they are recorded, so duplicates and parked ones are not.

    `seen` forgets what is done, reported and too old to be listed again, so that watching for days costs no
    more memory than two minutes' images. `done` counts them all; `unknown` those shown without their photos;
    `unlisted`: more started at once than could be listed.
    """

    deployment: Deployment
    since: datetime
    seen: dict[str, TrackedImage] = field(default_factory=dict)
    listed: bool = True
    done: int = 0
    unknown: int = 0
    unlisted: bool = False
    _newest: datetime | None = None

    def rounds(self, seconds: float | None, *, keys_of_running: int = 0) -> Iterator[None]:
        """Look once a second for `seconds` (None: for ever); the newest running ones get their keys too."""
        deadline = None if seconds is None else time.monotonic() + seconds
        while True:
            self.look(keys_of_running)
            yield
            if deadline is not None and time.monotonic() >= deadline:
                return
            time.sleep(_POLL_SECONDS)

    def look(self, keys_of_running: int = 0) -> None:
        if self.listed:
            try:
                self._list()
            except executions.NoHistoryError:
                self.listed = False
            else:
                self._read_records()
                self._describe(keys_of_running)
        if not self.listed:
            self._list_records()

    def report(self, *, last: bool = False) -> list[TrackedImage]:
        """What is done and known and was not reported before, in the order it started.

        The `last` time, and when too many wait, that holds also what could not be looked up.
        """
        waiting = self.waiting()
        for image in waiting if last else waiting[: max(0, len(waiting) - MAX_WAITING)]:
            image.outcome = UNKNOWN
            self.unknown += 1
        ready = [one for one in self.seen.values() if one.done and one.outcome and not one.reported]
        for image in ready:
            image.reported = True
        self.done += len(ready)
        for old in self.newest()[ROWS:]:
            if old.reported and old.started < self.since:
                del self.seen[old.execution]
        return sorted(ready, key=lambda one: one.started)

    def shortfall(self) -> str | None:
        """The sentence on what is not shown, if anything is not."""
        parts = []
        if self.unknown:
            parts.append(f"{self.unknown:,} ended without being looked up, so their photos are not named")
        if self.unlisted:
            parts.append(f"more than {MAX_LISTED:,} started at once, so some are not shown")
        return f"Of the images {' and '.join(parts)}; 'make status' counts them all." if parts else None

    def _list(self) -> None:
        now = datetime.now(UTC)
        # Only what started about when the last list ended, or runs yet, can be new in this one.
        known = (self._newest or self.since) - _LATE
        running = min((one.started for one in self.seen.values() if not one.done), default=known)
        if self._newest:
            self.since = max(self.since, min(known, running), self._newest - _REMEMBERED)
        for count, one in enumerate(executions.newest(self.deployment)):
            started = one["startDate"].astimezone(UTC)
            if started < self.since or (count >= MAX_LISTED_AGAIN and self._newest and started < known):
                break
            if count >= MAX_LISTED:
                self.unlisted = True
                break
            arn = one["executionArn"]
            image = self.seen.setdefault(arn, TrackedImage(arn, started, "RUNNING"))
            if not image.done:
                image.status = one["status"]
                image.seconds = round(((one.get("stopDate") or now) - one["startDate"]).total_seconds(), 2)
        if self.seen:
            self._newest = max(one.started for one in self.seen.values())

    def newest(self) -> list[TrackedImage]:
        """All that is remembered, what started last first."""
        return sorted(self.seen.values(), key=lambda one: one.started, reverse=True)

    def waiting(self) -> list[TrackedImage]:
        """What is done, but not known: oldest first."""
        waiting = [one for one in self.seen.values() if one.done and not one.outcome]
        return sorted(waiting, key=lambda one: one.started)

    def _read_records(self) -> None:
        """Take key and outcome of those that ended well from their records, if these are in the index yet."""
        missing = {one.execution: one for one in self.waiting() if one.status == "SUCCEEDED"}
        if not missing:
            return
        since = min(one.started for one in missing.values()) - timedelta(seconds=2)
        for outcome in records.OUTCOMES:
            for record in _recorded(self.deployment, outcome, since):
                if image := missing.pop(str(record.get("ExecutionId")), None):
                    image.key, image.outcome = str(record.get("Key") or ""), outcome
                    image.faces = record.get("FaceCount")
                    if not missing:
                        return

    def _describe(self, keys_of_running: int) -> None:
        """Ask Step Functions about those the lists and the records say too little of, as many as it allows.

        Those are what failed, what ended well without a record of its own, what runs too long to be listed,
        and what runs and has no key yet.
        """
        waiting = self.waiting()
        running = [one for one in self.newest() if not one.done]
        asked = [
            *(one for one in waiting if one.status != "SUCCEEDED"),
            *(one for one in waiting if one.status == "SUCCEEDED"),
            *sorted((one for one in running if one.started < self.since), key=lambda one: one.described),
            *(one for one in running[:keys_of_running] if not one.key and one.started >= self.since),
        ]
        client = self.deployment.client("stepfunctions")
        for image in asked[:MAX_DESCRIBED]:
            image.described = time.monotonic()
            answer = client.describe_execution(executionArn=image.execution)
            ended = answer.get("stopDate") or datetime.now(UTC)
            image.seconds = round((ended - answer["startDate"]).total_seconds(), 2)
            _complete(self.deployment, image, answer)

    def _list_records(self) -> None:
        self.since = max(self.since, datetime.now(UTC) - _RECORDED_LATE)
        for outcome in records.OUTCOMES:
            for record in _recorded(self.deployment, outcome, self.since):
                execution = str(record.get("ExecutionId") or record["ImageID"])
                if execution not in self.seen:
                    started = datetime.fromisoformat(str(record["Timestamp"]))
                    key, faces = str(record.get("Key") or ""), record.get("FaceCount")
                    self.seen[execution] = TrackedImage(execution, started, "SUCCEEDED", key, outcome, faces)


def _recorded(deployment: Deployment, outcome: str, since: datetime) -> Iterator[dict[str, Any]]:
    """Records of an outcome since then, newest first."""
    today = datetime.now(UTC).date()
    for back in range((today - since.date()).days + 1):
        day = (today - timedelta(days=back)).isoformat()
        for page in records.by_outcome(deployment, outcome, day, since=since):
            yield from page


def _complete(deployment: Deployment, image: TrackedImage, described: dict[str, Any]) -> None:
    """Add what an execution's description, and the record of its image, say of it."""
    image.status = described["status"]
    try:
        stored = json.loads(described["input"])["detail"]["object"]
        image.key, etag = str(stored["key"]), str(stored["etag"])
    except (KeyError, TypeError, ValueError):
        image.key = "(no S3 event)"
        if image.done:
            image.outcome = described.get("error") or "unknown"
        return
    if image.status == "SUCCEEDED":
        ended = _output(described)
        if ended.get("ignored"):
            image.outcome = "folder"
        elif ended.get("duplicate"):
            image.outcome = "duplicate"
        else:
            record = records.get(deployment, records.image_id(image.key, etag))
            if record is None:
                image.outcome = "erased since"
            elif record.get("ExecutionId") == image.execution:
                image.outcome, image.faces = str(record.get("Outcome") or "unknown"), record.get("FaceCount")
            else:
                image.outcome = "analysed again since"
    elif image.done:
        cause = executions.shortened(described.get("cause") or "", 80)
        image.outcome = f"parked: {described.get('error') or image.status} {cause}".strip()


def _output(described: dict[str, Any]) -> dict[str, Any]:
    try:
        found = json.loads(described.get("output") or "")
    except ValueError:
        found = None
    return found if isinstance(found, dict) else {}
