"""What the verbs refuse, in one sentence and with nothing changed."""

from __future__ import annotations

import uuid
from typing import TYPE_CHECKING, Any

import pytest
from click.testing import CliRunner

from localcloud import LocalCloud
from operations.__main__ import main
from operations.deployment import Deployment
from tests.integration.operating import Operator, sentence

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from localcloud.stack import Stack
    from tests.integration.pipeline import DeployedPipeline

# Every verb that needs a deployment, as somebody would call it.
CALLS = (
    ("status",),
    ("results",),
    ("results", "--export", "results.csv"),
    ("watch", "--seconds", "1"),
    ("reprocess", "a.jpg"),
    ("backfill", "a/"),
    ("backfill", "a/", "--confirm"),
    ("rollback", "process_image"),
    ("redrive", "--confirm"),
    ("audit", "--confirm"),
    ("verify",),
)


@pytest.fixture(scope="module")
def empty(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalCloud]:
    """A local cloud nothing is deployed to."""
    with LocalCloud.start(tmp_path_factory.mktemp("empty")) as started:
        yield started


@pytest.fixture
def call(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., str]:
    """`call(cloud, *arguments)`: the sentence with which a verb refuses, having written no file."""

    def call(cloud: LocalCloud, *arguments: str) -> str:
        monkeypatch.setenv("LOCALCLOUD_DIRECTORY", str(cloud.directory))
        monkeypatch.chdir(tmp_path)
        result = CliRunner().invoke(main, list(arguments))
        assert result.exit_code == 1, (result.stdout, result.exception)
        assert result.stdout == ""
        assert list(tmp_path.iterdir()) == []
        return sentence(result.stderr)

    return call


def executions(pipeline: DeployedPipeline) -> list[str]:
    arns = (pipeline.deployment.state_machine_arn, pipeline.stack.outputs["backfill_state_machine_arn"])
    return [
        one["executionArn"]
        for arn in arns
        for one in pipeline.states.list_executions(stateMachineArn=arn, maxResults=10)["executions"]
    ]


@pytest.mark.parametrize("arguments", CALLS, ids=" ".join)
def test_an_environment_that_is_not_deployed(
    arguments: tuple[str, ...], empty: LocalCloud, call: Callable[..., str]
) -> None:
    assert call(empty, *arguments) == (
        "Nothing is deployed in ENV=local; deploy it with 'make apply ENV=local'."
    )
    buckets = Deployment.load.__globals__["Environment"].load("local", empty).client("s3").list_buckets()
    assert buckets["Buckets"] == [], "not even a state bucket is made"


@pytest.mark.parametrize("arguments", CALLS, ids=" ".join)
def test_credentials_of_the_wrong_account(
    arguments: tuple[str, ...], stack: Stack, call: Callable[..., str]
) -> None:
    said = call(stack.cloud, *arguments, "--env", "prod")
    assert said.startswith("ENV=prod belongs to account ")
    assert "but the AWS credentials are for 000000000000; use the right profile" in said


def test_an_environment_there_is_not(stack: Stack, call: Callable[..., str]) -> None:
    assert call(stack.cloud, "status", "--env", "nowhere").startswith("There is no environment 'nowhere'")


def test_no_local_cloud(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LOCALCLOUD_DIRECTORY", str(tmp_path))
    result = CliRunner().invoke(main, ["status"])
    assert result.exit_code == 1
    assert sentence(result.stderr).startswith("No local cloud is running in ")


def test_a_prefix_with_no_photos(pipeline: DeployedPipeline, operator: Operator) -> None:
    folder = pipeline.key("")
    pipeline.stack.client("s3").put_object(Bucket=pipeline.stack.bucket, Key=f"{folder}marker/", Body=b"")
    before = executions(pipeline)
    for arguments in ((), ("--confirm",), ("--confirm", "--json")):
        said = operator.refused("backfill", folder, *arguments)
        assert said.startswith(f"There is no photo under '{folder}' in {pipeline.stack.bucket};")
    assert executions(pipeline) == before


def test_an_image_that_is_not_there(pipeline: DeployedPipeline, operator: Operator) -> None:
    before = executions(pipeline)
    assert "keys are exact" in operator.refused("reprocess", pipeline.key())
    assert executions(pipeline) == before


def test_an_image_that_was_there_once(pipeline: DeployedPipeline, operator: Operator) -> None:
    key = pipeline.key()
    image = pipeline.stack.upload(key, pipeline.photo())
    record = pipeline.record(image)
    pipeline.finished(record["ExecutionId"])
    record = pipeline.record(image)
    pipeline.stack.client("s3").delete_object(Bucket=pipeline.stack.bucket, Key=key)
    assert "or no longer;" in operator.refused("reprocess", key, "--json")
    assert pipeline.stack.record(image) == record


def test_an_output_file_that_exists(operator: Operator, tmp_path: Path) -> None:
    path = tmp_path / "results.csv"
    path.write_text("mine", "utf-8")
    assert operator.refused("results", "--export", str(path)) == (
        f"{path} cannot be written (File exists); name another file."
    )
    assert path.read_text("utf-8") == "mine"
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("results", "--day", "2026-02-30"), "'2026-02-30' is not a day; write it as 2026-11-24."),
        (("results", "a.jpg", "--outcome", "no_face"), "are two questions; ask one at a time."),
        (("results", "--export", "results.xlsx"), "end it in .csv, .jsonl or .parquet."),
        (("rollback", "process_image", "--to", "999"), "has no version 999; choose one of "),
        (("rollback", "send_notification"), "is the first one there is; there is nothing to go back to."),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else "",
)
def test_questions_that_make_no_sense(arguments: tuple[str, ...], said: str, operator: Operator) -> None:
    assert said in operator.refused(*arguments)


# Records of an older shape


@pytest.fixture
def old_record(pipeline: DeployedPipeline) -> Iterator[dict[str, Any]]:
    """A record as the tutorial this began with wrote them, with what puts it into the indexes."""
    client, table = pipeline.stack.client("dynamodb"), pipeline.deployment.table
    key = f"old/{uuid.uuid4().hex}.jpg"
    item = {
        "ImageID": {"S": key},
        "Key": {"S": key},
        "Timestamp": {"S": "2024-01-01 10:00:00"},
        "FaceCount": {"S": "two"},
        "Size": {"S": "?"},
        "labels": {"SS": ["cat", "hat"]},
    }
    client.put_item(TableName=table, Item=item)
    yield item
    client.delete_item(TableName=table, Key={"ImageID": {"S": key}})


def test_records_of_an_older_shape_are_shown_and_exported_and_what_is_left_out_is_named(
    operator: Operator, old_record: dict[str, Any], tmp_path: Path
) -> None:
    key = old_record["Key"]["S"]
    shown = operator.run("results", key)
    assert (shown.exit_code, shown.stderr) == (0, "")
    assert key in shown.stdout.splitlines()[1]
    for ending in ("csv", "jsonl", "parquet"):
        path = tmp_path / f"results.{ending}"
        result = operator.run("results", "--export", str(path))
        assert result.exit_code == 0
        assert result.stderr == "Left out attributes this version does not know: labels.\n"
        assert path.exists()
