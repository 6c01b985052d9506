"""The soak accounts for every upload, and reports one that is lost or notified twice."""

from __future__ import annotations

import json
import uuid
from typing import TYPE_CHECKING, Any

import pytest
from click.testing import CliRunner

from localcloud import soak
from localcloud.soak import Account, Soak, draw

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from localcloud.stack import Stack


@pytest.fixture
def prefix() -> str:
    return f"soak/{uuid.uuid4().hex}/"


@pytest.fixture
def deaf(stack: Stack) -> Iterator[None]:
    """The rule does not hear of uploads."""
    events = stack.client("events")
    [rule] = [
        rule["Name"]
        for rule in events.list_rules()["Rules"]
        if stack.bucket in json.loads(rule["EventPattern"])["detail"].get("bucket", {}).get("name", [])
    ]
    events.disable_rule(Name=rule)
    yield
    events.enable_rule(Name=rule)


@pytest.mark.proves("many-at-once")
def test_every_upload_is_accounted_for_under_duplicates_and_faults(stack: Stack, prefix: str) -> None:
    # With a fault for an empty file among them, which Rekognition never meets.
    images = list(draw(24, duplicates=0.5, faults=0.5, seed=562, prefix=prefix))
    assert any(image.fault and image.fault["count"] < 0 and not image.body for image in images)
    hopeless = {image.key for image in images if image.hopeless}
    again = [image for image in images if image.delivered_again and not image.hopeless]
    assert hopeless
    assert {image.delivered_again for image in again} == {"at once", "later"}
    assert any(image.fault for image in images if not image.hopeless)

    run = Soak(stack, prefix)
    account = run.run(images)

    assert (account.uploaded, account.lost, account.duplicated) == (len(images), 0, 0)
    assert (account.parked, account.misplaced) == (len(hopeless), 0)
    assert {image_id.rpartition("@")[0] for image_id in run.parked()} == hopeless
    assert account.notified == len(images) - len(hopeless)
    executions = stack.client("stepfunctions").list_executions(
        stateMachineArn=stack.outputs["state_machine_arn"], maxResults=1000
    )["executions"]
    assert sum(one["name"].startswith("again-") for one in executions) >= len(again)


@pytest.mark.usefixtures("deaf")
def test_an_upload_without_a_record_is_lost(stack: Stack, prefix: str) -> None:
    images = list(draw(2, duplicates=0, faults=0, seed=1, prefix=prefix))
    account = Soak(stack, prefix, patience=2).run(images)
    assert (account.uploaded, account.recorded, account.lost) == (2, 0, 2)
    assert account.lost_keys == sorted(image.key for image in images)


def test_a_second_notification_of_an_upload_is_counted(stack: Stack, prefix: str) -> None:
    run = Soak(stack, prefix)
    run.run(list(draw(1, duplicates=0, faults=0, seed=1, prefix=prefix)))
    run.notified.update(run.notified.keys())
    assert run.account().duplicated == 1


def test_an_upload_parked_for_no_reason_or_parked_and_notified_is_counted(stack: Stack, prefix: str) -> None:
    run = Soak(stack, prefix, patience=2)
    [image] = draw(1, duplicates=0, faults=0, seed=1, prefix=prefix)
    stack.control_rekognition(
        "POST", "/faults", {"error": "AccessDeniedException", "count": -1, "key": prefix}
    )
    account = run.run([image])
    assert (account.parked, account.lost, account.misplaced) == (1, 0, 1)
    assert account.misplaced_keys == [image.key]
    assert run.account({image.key}).misplaced == 0
    run.notified.update(run.parked())
    assert run.account({image.key}).misplaced == 1


@pytest.mark.parametrize(
    ("account", "said"),
    [
        (Account(uploaded=3, lost=1, seconds=1), "1 of 3 uploads lost; the logs"),
        (Account(uploaded=3, duplicated=2, seconds=1), "2 notified more than once; the logs"),
        (Account(uploaded=3, parked=3, misplaced=3, seconds=1), "3 in the dead-letter queue with no reason"),
        (Account(uploaded=2, lost=1, seconds=1), "1 of 3 uploads lost, only 2 of 3 images uploaded"),
    ],
)
def test_what_is_not_in_order_ends_in_an_error(
    account: Account, said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(soak, "BUILD", tmp_path)
    monkeypatch.setattr(soak, "soak", lambda *_: account)
    result = CliRunner().invoke(soak.main, ["--images", "3", "--json"])
    assert result.exit_code == 1
    assert said in result.stderr
    assert json.loads((tmp_path / "report.json").read_text("utf-8"))["asked"]["images"] == 3


def test_the_same_seed_draws_the_same(prefix: str) -> None:
    def drawn(seed: int) -> list[Any]:
        return list(draw(50, duplicates=0.5, faults=0.5, seed=seed, prefix=prefix))

    assert drawn(7) == drawn(7)
    assert drawn(7) != drawn(8)
