"""The playground's photos: uploads them, follows their executions, and redrives parked ones."""

from __future__ import annotations

import asyncio
import itertools
import json
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import click
from botocore.exceptions import BotoCoreError, ClientError

from operations import executions, page, redrive
from operations.terminal import visible

from . import timeline

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator, Sequence

    from .stack import Stack

MOST_FILES = 10
# More than Rekognition accepts, so that its refusal can be shown too.
MAX_BYTES = 20_000_000
_POLL_SECONDS, _IDLE_SECONDS = 0.1, 0.5
MODES = {"works": "answers", "throttles": "throttles each photo at first", "fails": "fails every call"}


@dataclass
class Photo:
    """An uploaded photo; `execution` is its newest, `earlier` has the steps of previous ones."""

    card: page.Photo
    began: datetime
    image_id: str = ""
    execution: str = ""
    earlier: Sequence[page.Step] = ()

    @property
    def ended(self) -> bool:
        return self.card.outcome != "running"


class Playground:
    """The photos of one local cloud, and the pages that watch them."""

    def __init__(self, stack: Stack) -> None:
        self.stack = stack
        self.mode = "works"
        self.photos: dict[str, Photo] = {}
        self._numbers = itertools.count(1)
        self._seen: set[str] = set()
        self._watchers: set[asyncio.Queue[str]] = set()

    def upload(self, name: str, body: bytes) -> None:
        """Upload a photo under a unique key, because the same file may be uploaded again."""
        key = f"photo-{next(self._numbers)}/{name}"
        began = datetime.now(UTC)
        if self.mode == "throttles":
            # The SDK itself tries twice, so two of the workflow's attempts fail.
            fault = {"error": "ThrottlingException", "count": 4, "key": key}
            self.stack.control_rekognition("POST", "/faults", fault)
        card = page.Photo(key, "running", picture=page.thumbnail(body), steps=[page.Step("Uploaded", 0)])
        self.photos[key] = photo = Photo(card, began)
        photo.image_id = self.stack.upload(key, body)

    def set_mode(self, mode: str) -> None:
        """Make the stand-in for Rekognition work, throttle or fail from now on."""
        self.stack.control_rekognition("DELETE", "/faults")
        if mode == "fails":
            self.stack.control_rekognition("POST", "/faults", {"error": "InternalServerError", "count": -1})
        self.mode = mode

    def redrive(self) -> int:
        """Redrive the parked photos; return their number."""
        return int(redrive.redrive(self.stack).started)

    def poll(self) -> Iterator[Photo]:
        """The photos that have changed since the last poll."""
        client = self.stack.client("stepfunctions")
        listed = client.list_executions(stateMachineArn=self.stack.state_machine_arn, maxResults=100)
        for execution in reversed(listed["executions"]):
            if (name := execution["executionArn"]) not in self._seen:
                self._seen.add(name)
                key, _ = executions.photo(client.describe_execution(executionArn=name))
                if photo := self.photos.get(key):
                    photo.earlier = photo.card.steps if photo.execution else ()
                    photo.execution = name
                    photo.card = replace(photo.card, outcome="running")
        for photo in list(self.photos.values()):
            if photo.execution and not photo.ended:
                before = photo.card
                self._update(photo)
                if photo.card != before:
                    yield photo

    def _update(self, photo: Photo) -> None:
        found = timeline.read(self.stack.client("stepfunctions"), photo.execution, photo.began)
        last = photo.earlier[-1].ms if photo.earlier else -1
        steps = [*photo.earlier, *(step for step in found.steps if step.ms > last)]
        photo.card = replace(photo.card, steps=steps, messages=found.messages)
        if found.status != "RUNNING":
            record = self.stack.record(photo.image_id) or {}
            if record.get("Converted"):
                stored = self.stack.client("s3").get_object(Bucket=self.stack.bucket, Key=photo.card.key)
                picture = page.thumbnail(stored["Body"].read(), converted=True)
                photo.card = replace(photo.card, picture=picture)
            outcome = "parked" if found.status != "SUCCEEDED" else str(record.get("Outcome"))
            photo.card = replace(photo.card, outcome=outcome, record=record)

    async def follow(self) -> None:
        """Poll for ever, and send every watcher what has changed."""
        while True:
            try:
                changed = await asyncio.to_thread(lambda: list(self.poll()))
            except (BotoCoreError, ClientError) as error:
                click.echo(f"The local cloud did not answer: {error}", err=True)
                changed = []
            for photo in changed:
                for watcher in self._watchers:
                    watcher.put_nowait(self._event(photo))
            busy = any(not photo.ended for photo in list(self.photos.values()))
            await asyncio.sleep(_POLL_SECONDS if busy else _IDLE_SECONDS)

    async def watch(self) -> AsyncIterator[str]:
        """Server-sent events: every photo as it is, then each change."""
        queue: asyncio.Queue[str] = asyncio.Queue()
        for photo in list(self.photos.values()):
            queue.put_nowait(self._event(photo))
        self._watchers.add(queue)
        try:
            while True:
                yield f"data: {await queue.get()}\n\n"
        finally:
            self._watchers.discard(queue)

    def _event(self, photo: Photo) -> str:
        card = page.templates().get_template("card.html.j2").module.card  # type: ignore[attr-defined]
        said = visible(f"{photo.card.key}: {photo.card.found}") if photo.ended else ""
        shown = {"id": photo.card.key.partition("/")[0], "html": card(photo.card), "said": said}
        parked = sum(one.card.outcome == "parked" for one in list(self.photos.values()))
        return json.dumps({"photo": shown, "parked": parked})
