"""Two environments in one account and region: nothing of one touches the other."""

from __future__ import annotations

import json
import shutil
import uuid
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import pytest
from click.testing import CliRunner

from localcloud.stack import Stack
from operations import environments, new_env
from operations.__main__ import main
from operations.program import ROOT
from tests.integration.operating import Operator
from tests.integration.pipeline import COFFEE, DeployedPipeline

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from localcloud import LocalCloud
    from localcloud.stack import Subscription

# Begins with the other's name: what goes by prefixes would take one for the other.
NAME = "local-two"
# What a laptop wants otherwise than an account: few workers, and nothing kept.
SETTINGS = {
    "process_image": "{ reserved_concurrency = 2 }",
    "protect_data": "false",
    "send_notification": "{ reserved_concurrency = 2 }",
}


@pytest.fixture(scope="module")
def folder() -> Iterator[Path]:
    """environments/ with `local`'s two files and those `make new-env` writes."""
    made = ROOT / "build" / f"environments-{uuid.uuid4().hex}"
    made.mkdir(parents=True)
    try:
        for path in environments.FOLDER.glob("local.*"):
            shutil.copy(path, made)
        variables, _ = new_env.new(NAME, "000000000000", "us-east-1", made)
        lines = variables.read_text("utf-8").splitlines()
        kept = [line for line in lines if line.partition(" ")[0] not in SETTINGS]
        changed = [f"{name} = {value}" for name, value in SETTINGS.items()]
        variables.write_text("\n".join([*kept, *changed, ""]), "utf-8")
        yield made
    finally:
        shutil.rmtree(made)


@pytest.fixture(scope="module")
def two(
    cloud: LocalCloud, folder: Path, request: pytest.FixtureRequest
) -> Iterator[tuple[DeployedPipeline, DeployedPipeline]]:
    """`local`, and the new environment beside it, deployed at the same time."""
    with pytest.MonkeyPatch.context() as patch, ThreadPoolExecutor(1) as pool:
        patch.setattr(environments, "FOLDER", folder)
        second = pool.submit(Stack.deploy, cloud, NAME)
        first: Stack = request.getfixturevalue("stack")
        yield DeployedPipeline(first), DeployedPipeline(second.result())


@pytest.fixture
def subscriptions(two: tuple[DeployedPipeline, DeployedPipeline]) -> Iterator[list[Subscription]]:
    made = [pipeline.stack.subscribe() for pipeline in two]
    yield made
    for one in made:
        one.close()


def operators(two: tuple[DeployedPipeline, DeployedPipeline]) -> list[Operator]:
    return [Operator(pipeline.deployment) for pipeline in two]


def everything(pipeline: DeployedPipeline) -> dict[str, Any]:
    """What an environment holds that an upload changes."""
    count = pipeline.stack.client("dynamodb").scan(TableName=pipeline.deployment.table, Select="COUNT")[
        "Count"
    ]
    runs = [
        pipeline.states.list_executions(stateMachineArn=pipeline.stack.outputs[name])["executions"]
        for name in ("state_machine_arn", "backfill_state_machine_arn")
    ]
    queue = pipeline.stack.client("sqs").get_queue_attributes(
        QueueUrl=pipeline.deployment.dead_letter_queue_url,
        AttributeNames=["ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible"],
    )["Attributes"]
    objects = pipeline.stack.client("s3").list_objects_v2(Bucket=pipeline.stack.bucket)["KeyCount"]
    return {"records": count, "runs": runs, "queue": queue, "objects": objects}


def test_they_share_no_resource(two: tuple[DeployedPipeline, DeployedPipeline]) -> None:
    first, second = (pipeline.stack.outputs for pipeline in two)
    shared = {name for name in first if first[name] == second[name]}
    assert shared == {"aws_region"}
    assert not set(first["alarm_names"]) & set(second["alarm_names"])


@pytest.mark.parametrize("mine", [0, 1], ids=["local", NAME])
def test_an_upload_to_one_leaves_the_other_alone(
    mine: int, two: tuple[DeployedPipeline, DeployedPipeline], subscriptions: list[Subscription]
) -> None:
    here, there = two[mine], two[1 - mine]
    before = everything(there)
    image = here.stack.upload(here.key(), here.photo(COFFEE))
    record = here.record(image)
    here.finished(record["ExecutionId"])
    found: list[str] = []

    def notified() -> bool:
        found.extend(one.image_id for one in subscriptions[mine].receive())
        return image in found

    here.eventually(notified, "the notification")
    assert found == [image]
    assert record["Bucket"] == here.stack.bucket
    assert record["ExecutionId"].startswith(
        f"{here.deployment.state_machine_arn.replace(':stateMachine:', ':execution:')}:"
    )
    # Whatever there was to come has come with this one's notification.
    assert everything(there) == before
    assert list(subscriptions[1 - mine].receive()) == []


def test_the_same_photo_in_both_is_analysed_in_both(two: tuple[DeployedPipeline, DeployedPipeline]) -> None:
    key, photo = two[0].key(), two[0].photo(COFFEE)
    images = [pipeline.stack.upload(key, photo) for pipeline in two]
    records = [pipeline.record(image) for pipeline, image in zip(two, images, strict=True)]
    assert [record["Bucket"] for record in records] == [pipeline.stack.bucket for pipeline in two]
    assert records[0]["ExecutionId"] != records[1]["ExecutionId"]


def grants(pipeline: DeployedPipeline) -> list[tuple[str, str, str]]:
    """What an environment's roles do with its own resources: role, action, resource."""

    def workflow(output: str) -> str:
        machine = pipeline.states.describe_state_machine(stateMachineArn=pipeline.stack.outputs[output])
        return str(machine["roleArn"])

    client, name = pipeline.stack.client("lambda"), pipeline.stack.outputs["function_names"]["process_image"]
    function = str(client.get_function_configuration(FunctionName=name)["Role"])
    live = str(client.get_alias(FunctionName=name, Name="live")["AliasArn"])
    bucket = f"arn:aws:s3:::{pipeline.stack.bucket}"
    table = f"arn:aws:dynamodb:{client.meta.region_name}:000000000000:table/{pipeline.deployment.table}"
    processing, backfill = workflow("state_machine_arn"), workflow("backfill_state_machine_arn")
    return [
        (function, "s3:GetObject", f"{bucket}/a.jpg"),
        (function, "dynamodb:PutItem", table),
        (processing, "lambda:InvokeFunction", live),
        (processing, "sqs:SendMessage", pipeline.stack.outputs["dead_letter_queue_arn"]),
        (backfill, "states:StartExecution", pipeline.deployment.state_machine_arn),
    ]


def test_the_roles_of_one_may_nothing_in_the_other(two: tuple[DeployedPipeline, DeployedPipeline]) -> None:
    for here, there in zip(*map(grants, two), strict=True):
        (role, action, own), (other_role, _, others) = here, there
        assert two[0].allows(role, action, own), action
        assert two[1].allows(other_role, action, others), action
        assert not two[0].allows(role, action, others), action
        assert not two[1].allows(other_role, action, own), action


def test_the_verbs_of_one_see_nothing_of_the_other(two: tuple[DeployedPipeline, DeployedPipeline]) -> None:
    first, second = two
    one, other = operators(two)
    for pipeline in two:
        pipeline.empty_queue()
    before = one.json("status")
    key = second.key()
    image = second.stack.upload(key, second.photo(COFFEE))
    second.finished(second.record(image)["ExecutionId"])
    message = second.park(json.dumps(second.created(f"{key}.parked@e1")), ERROR_CODE="NO_PERMISSIONS")
    cloudwatch, alarm = second.stack.client("cloudwatch"), second.stack.outputs["alarm_names"][0]
    cloudwatch.set_alarm_state(AlarmName=alarm, StateValue="ALARM", StateReason="a test")
    name = second.stack.outputs["function_names"]["process_image"]
    try:
        after, theirs = one.json("status"), other.json("status")
    finally:
        cloudwatch.set_alarm_state(AlarmName=alarm, StateValue="OK", StateReason="a test")

    same = ("executions", "outcomes", "failures", "dead_letters")
    assert {part: after[part] for part in same} == {part: before[part] for part in same}
    assert theirs["dead_letters"]["count"] == 1
    # MiniStack's alarms take every function's errors for their own: see docs/quirks.md.
    assert alarm in {shown["name"] for shown in theirs["alarms"]} <= {*second.stack.outputs["alarm_names"]}
    assert {shown["name"] for shown in after["alarms"]} <= {*first.stack.outputs["alarm_names"]}
    assert theirs["outcomes"]["no_face"] >= 1

    assert one.json("results", key) == []
    assert [found["ImageID"] for found in other.json("results", key)] == [image]
    assert key not in one.run("watch", "--json", "--seconds", "0.1").stdout
    assert key in other.run("watch", "--json", "--seconds", "0.1").stdout
    assert f"There is no '{key}' in {first.stack.bucket}" in one.refused("reprocess", key)
    assert f"There is no photo under '{key}' in {first.stack.bucket}" in one.refused("backfill", key)
    assert other.json("backfill", key)["photos"] == 1
    assert one.json("redrive", "--confirm")["messages"] == 0
    assert [parked.message_id for parked in second.stack.dead_letters()] == [message]
    assert f"Nothing is stored about '{key}' in {first.stack.bucket}" in one.refused("erase", key)
    assert name not in one.run("rollback", "process_image").stderr
    assert name in other.run("rollback", "process_image").stderr
    second.empty_queue()


def test_each_is_found_by_its_name(
    two: tuple[DeployedPipeline, DeployedPipeline], cloud: LocalCloud, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LOCALCLOUD_DIRECTORY", str(cloud.directory))
    key = two[1].key()
    image = two[1].stack.upload(key, two[1].photo(COFFEE))
    two[1].record(image)

    def found(name: str) -> list[str]:
        result = CliRunner().invoke(main, ["results", key, "--json", "--env", name])
        assert result.exit_code == 0, result.stderr
        return [one["ImageID"] for one in json.loads(result.stdout)]

    assert found("local") == []
    assert found(NAME) == [image]
