"""Every upload accounted for, on the deployed pipeline."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from click.testing import CliRunner

from operations import audit
from operations.__main__ import main
from operations.deployment import Deployment
from tests.integration.pipeline import COFFEE, DeployedPipeline, Notifications

if TYPE_CHECKING:
    import pytest


def test_every_upload_is_accounted_for_and_a_lost_one_is_found_and_started(
    pipeline: DeployedPipeline, notifications: Notifications, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Deployment, "load", lambda _: pipeline.deployment)
    folder = pipeline.key("")
    recorded = pipeline.stack.upload(f"{folder}recorded.jpg", pipeline.photo(COFFEE))
    notifications(recorded, settle=0.0)
    with pipeline.paused():
        lost = pipeline.stack.upload(f"{folder}lost +%2B é.jpg", pipeline.photo(COFFEE))
        parked = pipeline.stack.upload(f"{folder}parked.jpg", pipeline.photo(COFFEE))
        pipeline.stack.upload(f"{folder}marker/", b"")
    pipeline.park(json.dumps(pipeline.created(parked)), ERROR_CODE="NO_PERMISSIONS")

    def run(*options: str) -> tuple[int, dict[str, Any]]:
        result = CliRunner().invoke(main, ["audit", "--prefix", folder, "--json", *options])
        report: dict[str, Any] = json.loads(result.stdout)
        return result.exit_code, report

    code, early = run()
    assert (code, early["in_flight"], early["unaccounted"]) == (0, 1, 0)
    code, report = run("--grace", "0")
    assert code == 1
    assert {name: report[name] for name in ("uploaded", "notified", "parked", "not_watched")} == {
        "uploaded": 4,
        "notified": 1,
        "parked": 1,
        "not_watched": 1,
    }
    assert report["unaccounted"] == 1
    assert [f"{one['key']}@{one['etag']}" for one in report["images"]] == [lost]
    assert notifications(lost, timeout=0.3) == [], "without confirmation nothing is started"
    assert len(pipeline.dead_letters(f"{folder}parked.jpg")) == 1, "the queue stays as it is"

    code, report = run("--grace", "0", "--confirm")
    assert (code, report["started"]) == (0, 1)
    assert len(notifications(lost)) == 1
    assert pipeline.record(lost)["Key"] == f"{folder}lost +%2B é.jpg"
    code, report = run("--grace", "0")
    assert (code, report["unaccounted"], report["recorded"]) == (0, 0, 2)


def test_every_version_of_a_key_counts(pipeline: DeployedPipeline, notifications: Notifications) -> None:
    key = pipeline.key()
    images = [pipeline.stack.upload(key, pipeline.photo(COFFEE)) for _ in range(2)]
    for image_id in images:
        notifications(image_id, settle=0.0)
    account = audit.audit(pipeline.deployment, prefix=key, grace_seconds=0)
    assert (account["uploaded"], account["recorded"]) == (2, 2)


def test_records_that_have_expired_are_not_missed(pipeline: DeployedPipeline) -> None:
    folder = pipeline.key("")
    with pipeline.paused():
        pipeline.stack.upload(f"{folder}old.jpg", pipeline.photo(COFFEE))
    environment = replace(pipeline.stack.environment, settings={"record_retention_days": 0})
    account = audit.audit(Deployment(environment, pipeline.stack.outputs), prefix=folder, grace_seconds=0)
    assert (account["expired"], account["unaccounted"]) == (1, 0)


def test_a_prefix_that_matches_nothing_is_reported(
    pipeline: DeployedPipeline, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Deployment, "load", lambda _: pipeline.deployment)
    result = CliRunner().invoke(main, ["audit", "--prefix", "no-such/"])
    assert result.exit_code == 1
    assert "begins with 'no-such/'" in result.stderr
