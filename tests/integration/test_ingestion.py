"""Buffered ingestion on the local cloud: switched to and back under traffic, paused, and counted."""

from __future__ import annotations

import threading
import time
from collections import Counter
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import pytest

from operations import buffer, state
from operations.deployment import Deployment
from tests.integration.pipeline import DeployedPipeline

if TYPE_CHECKING:
    from collections.abc import Iterator

    from localcloud.stack import Stack, Subscription

# Terraform applies three times while photos arrive.
pytestmark = pytest.mark.timeout(900)

BUFFERED = 'ingestion = { mode = "buffered", photos_per_second = 4, photos_per_day = 1000000 }'


class Traffic:
    """Uploads that do not stop for a switch, some two a second, slower than the pace."""

    def __init__(self, pipeline: DeployedPipeline) -> None:
        self.pipeline = pipeline
        self.images: list[str] = []
        self._over = threading.Event()

    @contextmanager
    def flowing(self) -> Iterator[None]:
        thread = threading.Thread(target=self._upload)
        thread.start()
        try:
            yield
        finally:
            self._over.set()
            thread.join()

    def _upload(self) -> None:
        while not self._over.wait(0.5):
            self.images.append(self.pipeline.stack.upload(self.pipeline.key(), self.pipeline.photo()))


def waiting(pipeline: DeployedPipeline) -> int:
    attributes = pipeline.stack.client("sqs").get_queue_attributes(
        QueueUrl=pipeline.deployment.outputs["ingestion"]["queue_url"],
        AttributeNames=["ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible"],
    )["Attributes"]
    return sum(int(value) for value in attributes.values())


def counted(pipeline: DeployedPipeline) -> int:
    items = pipeline.stack.client("dynamodb").scan(TableName="photo-analysis-local-counts")["Items"]
    return sum(int(item["Started"]["N"]) for item in items)


def test_switching_under_traffic_loses_nothing_and_doubles_nothing(
    stack: Stack, subscription: Subscription
) -> None:
    pipeline = DeployedPipeline(stack)
    notified: Counter[str] = Counter()
    traffic = Traffic(pipeline)
    with traffic.flowing():
        pipeline.update(more=BUFFERED)
        before = len(traffic.images)
        pipeline.eventually(lambda: len(traffic.images) >= before + 10, "buffered uploads")
        through_the_buffer = pipeline.eventually(lambda: counted(pipeline), "a count of buffered photos")
        # What is still in the buffer when the mode changes back is worked off.
        with paused(pipeline):
            before = len(traffic.images)
            pipeline.eventually(lambda: waiting(pipeline) >= 5, "uploads that wait")
            assert len(traffic.images) > before
            pipeline.update()
            assert buffer.state(pipeline.deployment) == "Disabled", "an apply must not resume what was paused"
            assert buffer.look(pipeline.deployment, datetime.now(UTC))["paused"]
        pipeline.eventually(lambda: waiting(pipeline) == 0, "the end of the backlog")
        assert through_the_buffer > 0

    deadline = time.monotonic() + 60
    while len(notified) < len(traffic.images) and time.monotonic() < deadline:
        notified.update(one.image_id for one in subscription.receive())
        time.sleep(0.2)
    time.sleep(1)
    notified.update(one.image_id for one in subscription.receive())
    assert notified == Counter(dict.fromkeys(traffic.images, 1))
    assert all(stack.record(image) for image in traffic.images)
    assert stack.dead_letters() == []


@contextmanager
def paused(pipeline: DeployedPipeline) -> Iterator[None]:
    # The mode of now, not that of the first apply.
    deployment = Deployment(pipeline.stack.environment, state.output(pipeline.stack.environment))
    buffer.switch(deployment, on=False)
    try:
        yield
    finally:
        buffer.switch(deployment, on=True)
