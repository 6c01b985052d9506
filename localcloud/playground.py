"""The photos of a playground: announced, followed through their executions, parked and redriven."""

from __future__ import annotations

import asyncio
import json
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import click

from operations import options, page, redrive
from operations.deployment import Deployment
from operations.errors import is_sdk_error
from operations.terminal import visible

from . import timeline

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

    from .stack import Stack

MOST_FILES = 10
# More than Rekognition takes, so that its refusal can be seen as well.
MAX_BYTES = 20_000_000
_LOOK_SECONDS, _IDLE_SECONDS = 0.1, 0.5
MODES = {
    "works": "answers",
    "throttles": "throttles each photo at first",
    "fails": "fails every call",
}


class RefusedError(Exception):
    """A request that is not done; the message is a sentence for whoever looks at the page."""


@dataclass
class Photo:
    """A photo that was announced; `execution` is its newest, `earlier` the steps of those before."""

    number: int
    key: str
    began: datetime
    execution: str = ""
    image_id: str = ""
    earlier: list[page.Step] = field(default_factory=list)
    card: page.Photo = field(init=False)
    ended: bool = False

    def __post_init__(self) -> None:
        self.card = page.Photo(self.key, "running", absence="Uploading", steps=[page.Step("Uploaded", 0)])


class Playground:
    """The photos of one local cloud, and those who watch them."""

    def __init__(self, stack: Stack) -> None:
        self.stack = stack
        self.mode = "works"
        self.photos: dict[str, Photo] = {}
        self._seen: set[str] = set()
        self._watchers: set[asyncio.Queue[str]] = set()

    def announce(self, wanted: Any) -> list[dict[str, Any]]:
        """Presigned forms for files of `{"name": ..., "size": ...}`, one each.

        Raises RefusedError for more than MOST_FILES, or more than MAX_BYTES each.
        """
        try:
            files = [(str(one["name"]), int(one["size"])) for one in wanted]
        except (KeyError, TypeError, ValueError):
            raise RefusedError("Files are a list of names and sizes.") from None
        if len(files) > MOST_FILES:
            raise RefusedError(f"{len(files)} files are too many: {MOST_FILES} at once.")
        for name, size in files:
            if size > MAX_BYTES:
                raise RefusedError(f"{name} is larger than {options.size(MAX_BYTES)}.")
        return [self._form(name) for name, _ in files]

    def _form(self, name: str) -> dict[str, Any]:
        number = len(self.photos) + 1
        # The same file may come again; its key shall be its own.
        photo = Photo(number, f"photo-{number}/{name}", datetime.now(UTC))
        form: dict[str, Any] = self.stack.client("s3").generate_presigned_post(
            self.stack.bucket, photo.key, Conditions=[["content-length-range", 0, MAX_BYTES]], ExpiresIn=600
        )
        if self.mode == "throttles":
            # The SDK itself tries twice, so that two of the workflow's tries fail.
            fault = {"error": "ThrottlingException", "count": 4, "key": photo.key}
            self.stack.control_rekognition("POST", "/faults", fault)
        self.photos[photo.key] = photo
        return form

    def set_mode(self, mode: str) -> None:
        """Have the stand-in for Rekognition answer, throttle or fail from now on."""
        if mode not in MODES:
            raise RefusedError(f"There is no mode {mode}.")
        self.stack.control_rekognition("DELETE", "/faults")
        if mode == "fails":
            self.stack.control_rekognition("POST", "/faults", {"error": "InternalServerError", "count": -1})
        self.mode = mode

    def redrive(self) -> int:
        """Start what is parked again; answer how many."""
        deployment = Deployment(self.stack.environment, self.stack.outputs)
        return int(redrive.redrive(deployment).started)

    def look(self) -> Iterator[Photo]:
        """The photos something has happened to since the last look."""
        client = self.stack.client("stepfunctions")
        arn = self.stack.outputs["state_machine_arn"]
        listed = client.list_executions(stateMachineArn=arn, maxResults=100)["executions"]
        for execution in reversed(listed):
            if (name := execution["executionArn"]) not in self._seen:
                self._seen.add(name)
                if photo := self.photos.get(_key(client.describe_execution(executionArn=name)["input"])):
                    photo.earlier = list(photo.card.steps) if photo.execution else []
                    photo.execution, photo.ended = name, False
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
        photo.ended = found.status != "RUNNING"
        photo.card = replace(photo.card, steps=steps, messages=found.messages)
        if not photo.image_id:
            self._picture(photo, converted=False)
        if photo.ended:
            record = self.stack.record(photo.image_id) or {}
            outcome = "parked" if found.status != "SUCCEEDED" else str(record.get("Outcome"))
            photo.card = replace(photo.card, outcome=outcome, record=record)
            if record.get("Converted"):
                self._picture(photo, converted=True)

    def _picture(self, photo: Photo, *, converted: bool) -> None:
        stored = self.stack.client("s3").get_object(Bucket=self.stack.bucket, Key=photo.key)
        photo.image_id = f"{photo.key}@{stored['ETag'].strip(chr(34))}"
        picture = page.thumbnail(stored["Body"].read(), converted=converted)
        photo.card = replace(photo.card, picture=picture, absence="Not a picture that can be shown")

    async def follow(self) -> None:
        """Look again and again, and show every watcher what has changed."""
        while True:
            try:
                changed = await asyncio.to_thread(lambda: list(self.look()))
            except Exception as error:
                if not is_sdk_error(error):
                    raise
                click.echo(f"The local cloud did not answer: {error}", err=True)
                changed = []
            for photo in changed:
                for watcher in self._watchers:
                    watcher.put_nowait(self._event(photo))
            await asyncio.sleep(_LOOK_SECONDS if self._busy() else _IDLE_SECONDS)

    def _busy(self) -> bool:
        return any(not photo.ended for photo in list(self.photos.values()))

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

    def _parked(self) -> int:
        return sum(photo.card.outcome == "parked" for photo in list(self.photos.values()))

    def _event(self, photo: Photo) -> str:
        card = page.templates().get_template("photo.html.j2").module.card  # type: ignore[attr-defined]
        said = visible(f"{photo.key}: {photo.card.found}") if photo.ended else ""
        shown = {"id": f"photo-{photo.number}", "html": card(photo.card), "said": said}
        return json.dumps({"photo": shown, "parked": self._parked()})


def _key(text: str) -> str:
    """The key in an execution's input; empty where somebody started one with something else."""
    try:
        return str(json.loads(text)["detail"]["object"]["key"])
    except (KeyError, TypeError, ValueError):
        return ""
