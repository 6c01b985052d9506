"""A local cloud with the whole pipeline on it, applied once by Terraform, for each group of tests here."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import pytest

from localcloud import LocalCloud
from localcloud.stack import Stack
from tests.integration.operating import Operator
from tests.integration.pipeline import DeployedPipeline, Notifications

if TYPE_CHECKING:
    from collections.abc import Iterator

    from localcloud.stack import Notification, Subscription


# Groups beside "integration", which shares one stack. What plans and applies again, or moves zips away, has a
# separate stack; the workflow's own file needs none.
GROUPS = {
    "test_callers.py": "deploying",
    "test_contracts.py": "contracts",
    "test_deploy.py": "deploy",
    "test_deployment.py": "deploying",
    "test_drift.py": "deploying",
    "test_ingestion.py": "deploying",
    "test_localcloud.py": "localcloud",
    "test_plain_terraform.py": "deploying",
    "test_rekognition.py": "localcloud",
    "test_side_by_side.py": "deploying",
    "test_verify.py": "deploying",
    "test_strictest_plan.py": "plan",
    "test_workflow.py": "workflow",
}


@pytest.hookimpl(tryfirst=True)  # pytest-xdist reads the groups in a hook of its own
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if "integration" in item.path.parts:
            item.add_marker(pytest.mark.integration)
            # An apply takes minutes where the processors are busy with something else.
            item.add_marker(pytest.mark.timeout(600))
            # Side by side with the other tests, but a group on one worker: its stack is applied once.
            group = GROUPS.get(item.path.name, "integration")
            item.add_marker(pytest.mark.xdist_group(group))


@pytest.fixture(scope="session")
def cloud(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalCloud]:
    with LocalCloud.start(tmp_path_factory.mktemp("localcloud")) as started:
        yield started


@pytest.fixture(scope="session")
def stack(cloud: LocalCloud) -> Stack:
    return Stack.deploy(cloud)


@pytest.fixture
def pipeline(stack: Stack) -> Iterator[DeployedPipeline]:
    """The deployed pipeline with nothing in its dead-letter queue, before and afterwards."""
    pipeline = DeployedPipeline(stack)
    pipeline.empty_queue()
    yield pipeline
    pipeline.heal_rekognition()
    pipeline.empty_queue()


@pytest.fixture
def operator(stack: Stack) -> Operator:
    return Operator(stack)


@pytest.fixture
def subscription(stack: Stack) -> Iterator[Subscription]:
    """A queue of the test's own with everything the results topic sends from now on."""
    subscribed = stack.subscribe()
    yield subscribed
    subscribed.close()


@pytest.fixture
def notifications(subscription: Subscription) -> Notifications:
    """`notifications(image_id, settle=1.0, timeout=30.0)`: the notifications of an image.

    Waits for the first one, then `settle` seconds for any that should not come.
    """
    seen: list[Notification] = []

    def collect(image_id: str, *, settle: float = 1.0, timeout: float = 30.0) -> list[Notification]:
        deadline = time.monotonic() + timeout
        settled: float | None = None
        while time.monotonic() < (deadline if settled is None else settled):
            seen.extend(subscription.receive())
            if settled is None and any(one.image_id == image_id for one in seen):
                settled = time.monotonic() + settle
            time.sleep(0.05)
        return [one for one in seen if one.image_id == image_id]

    return collect
