"""What Terraform promises once it has applied: nothing is left to do, and the zip it planned is what runs."""

from __future__ import annotations

import base64
import hashlib
import io
import json
import re
import shutil
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest
from rich.console import Console

from operations import deploy, plan
from operations.errors import UserError
from operations.program import ROOT
from tests.integration.pipeline import COFFEE, DeployedPipeline
from tests.integration.proxy import RefusingProxy
from tools.package import source_hash

if TYPE_CHECKING:
    from collections.abc import Callable

    from localcloud.stack import Notification, Stack

# MiniStack reads these back incompletely; AWS does not. See docs/quirks.md.
READ_BACK_GAPS = {
    "aws_cloudwatch_metric_alarm": None,
    "aws_sfn_state_machine": {"tracing_configuration"},
}


def planned_changes(stack: Stack, *arguments: str) -> list[dict[str, Any]]:
    """The resource changes of a new plan, without what is left alone or only read."""
    plan = stack.cloud.directory / "again.tfplan"
    terraform = stack.environment.terraform()
    terraform.run(
        "plan",
        "-input=false",
        "-lock=false",
        f"-var-file={stack.environment.variables_file}",
        f"-out={plan}",
        *arguments,
    )
    changes = json.loads(terraform.run("show", "-json", str(plan)))["resource_changes"]
    return [change for change in changes if set(change["change"]["actions"]) - {"no-op", "read"}]


def is_read_back_gap(change: dict[str, Any]) -> bool:
    if change["type"] not in READ_BACK_GAPS or change["change"]["actions"] != ["update"]:
        return False
    names = READ_BACK_GAPS[change["type"]]
    before, after = change["change"]["before"], change["change"]["after"]
    differing = {name for name in after if before.get(name) != after[name]}
    return names is None or differing <= names


def test_a_plan_after_apply_is_empty_even_with_the_zips_deleted_and_at_another_commit(stack: Stack) -> None:
    kept = stack.cloud.directory / "zips"
    kept.mkdir()
    zips = [
        path
        for name in ("convert_image", "process_image", "send_notification")
        for path in (ROOT / "build").glob(f"{name}-*.zip")
    ]
    assert zips, "apply built no zip"
    try:
        for path in zips:
            shutil.move(path, kept / path.name)
        changes = planned_changes(stack, "-var=commit=0123456")
    finally:
        for path in kept.iterdir():
            shutil.move(path, ROOT / "build" / path.name)
    assert [change["address"] for change in changes if not is_read_back_gap(change)] == []


def test_changing_the_memory_needs_no_new_zip(stack: Stack) -> None:
    changes = planned_changes(stack, '-var=process_image={"memory_size":1024,"reserved_concurrency":4}')
    changed = {
        change["address"]: change["change"]["actions"] for change in changes if not is_read_back_gap(change)
    }
    assert "module.orchestration.module.process_image.aws_lambda_function.function" in changed
    assert not [address for address in changed if address.endswith("terraform_data.zip")]
    assert not [address for address in changed if "send_notification" in address]


@pytest.mark.parametrize("name", ["convert_image", "process_image", "send_notification"])
def test_the_function_that_runs_is_the_zip_of_todays_sources(stack: Stack, name: str) -> None:
    zip_file = ROOT / "build" / f"{name}-{source_hash(ROOT / 'functions' / name)}.zip"
    digest = base64.b64encode(hashlib.sha256(zip_file.read_bytes()).digest()).decode()
    function = stack.client("lambda").get_function_configuration(
        FunctionName=stack.outputs["function_names"][name], Qualifier="live"
    )
    assert function["CodeSha256"] == digest


@pytest.mark.skipif(plan.commit() is None, reason="no git checkout")
@pytest.mark.parametrize("name", ["convert_image", "process_image", "send_notification", "start_workflow"])
def test_a_version_names_its_sources_and_their_commit(stack: Stack, name: str) -> None:
    function = stack.client("lambda").get_function_configuration(
        FunctionName=stack.outputs["function_names"][name], Qualifier="live"
    )
    code = r"[0-9a-f]{16}" if name == "convert_image" else source_hash(ROOT / "functions" / name)
    assert re.search(rf" \(code {code}, commit {plan.commit()}\)$", function["Description"])


def test_every_output_names_something_that_is_there(stack: Stack) -> None:
    outputs = stack.outputs
    assert stack.client("s3").head_bucket(Bucket=outputs["uploads_bucket_name"])
    assert stack.client("dynamodb").describe_table(TableName=outputs["results_table_name"])
    assert stack.client("stepfunctions").describe_state_machine(stateMachineArn=outputs["state_machine_arn"])
    assert stack.client("sns").get_topic_attributes(TopicArn=outputs["results_topic_arn"])
    assert stack.client("sns").get_topic_attributes(TopicArn=outputs["alerts_topic_arn"])
    assert stack.client("kms").describe_key(KeyId=outputs["key_arn"])
    queue = stack.client("sqs").get_queue_attributes(
        QueueUrl=outputs["dead_letter_queue_url"], AttributeNames=["QueueArn"]
    )
    assert queue["Attributes"]["QueueArn"] == outputs["dead_letter_queue_arn"]


@pytest.mark.proves("updated")
def test_photos_uploaded_while_the_stack_is_updated_are_processed(
    stack: Stack, notifications: Callable[..., list[Notification]]
) -> None:
    pipeline = DeployedPipeline(stack)
    images: list[str] = []
    with ThreadPoolExecutor(1) as pool:
        update = pool.submit(pipeline.update, memory_size=640)
        while not update.done():
            images.append(stack.upload(pipeline.key(), pipeline.photo(COFFEE)))
            time.sleep(0.25)
        update.result()
    images.append(stack.upload(pipeline.key(), pipeline.photo(COFFEE)))
    try:
        assert len(images) > 2
        for image_id in images:
            (notification,) = notifications(image_id, settle=0.0)
            assert pipeline.record(image_id)["Outcome"] == notification.facts["outcome"]
    finally:
        pipeline.update()


@pytest.mark.parametrize(
    ("key", "size", "matches"),
    [("photo.jpg", 1, True), ("empty.jpg", 0, True), ("photo/", 1, True), ("folder/", 0, False)],
)
def test_the_rule_leaves_out_empty_folder_markers_and_nothing_else(
    stack: Stack, key: str, size: int, matches: bool
) -> None:
    pipeline = DeployedPipeline(stack)
    event = pipeline.created(f"{key}@etag") | {
        "id": "1",
        "account": "000000000000",
        "time": "2026-11-25T00:00:00Z",
        "region": "us-east-1",
        "resources": [],
    }
    event["detail"]["object"]["size"] = size
    pattern = pipeline.rule()["EventPattern"]
    answer = stack.client("events").test_event_pattern(EventPattern=pattern, Event=json.dumps(event))
    assert answer["Result"] is matches


# AWS's messages about a role whose policy has just changed, and about the caller.
ROLE_REFUSED = (
    "'arn:aws:iam::000000000000:role/photo-analysis-local-backfill' is not authorized to create managed-rule."
)
CALLER_REFUSED = (
    "User: arn:aws:iam::000000000000:user/someone is not authorized to perform: states:UpdateStateMachine on"
    " resource: arn:aws:states:us-east-1:000000000000:stateMachine:photo-analysis-local-backfill"
)


@pytest.fixture
def apply(stack: Stack, monkeypatch: pytest.MonkeyPatch) -> Callable[[str, int], tuple[int, str]]:
    """Apply while Step Functions refuses so many updates of workflows with a message.

    Every apply here updates them, for the local cloud forgets that they are traced: first the two that the
    backfill hangs on. Returns how often Terraform asked and what was printed.
    """
    monkeypatch.setattr(deploy, "_IAM_WAITS", (0.1, 0.2))

    def apply(message: str, times: int) -> tuple[int, str]:
        environment, written = replace(stack.environment), io.StringIO()
        # A refused apply leaves its plan, which is stale then.
        plan.discard(environment)
        with RefusingProxy(stack.cloud, "UpdateStateMachine", message, times) as proxy:
            vars(environment)["variables"] = {
                **environment.variables,
                "AWS_ENDPOINT_URL_SFN": proxy.address,
            }
            try:
                deploy.apply(environment, Console(file=written, width=300))
            except UserError as error:
                written.write(error.message)
        return proxy.asked, written.getvalue()

    return apply


def test_an_apply_waits_until_iam_lets_a_role_do_what_the_same_apply_granted(
    stack: Stack, apply: Callable[[str, int], tuple[int, str]]
) -> None:
    asked, printed = apply(ROLE_REFUSED, 4)
    assert asked > 4
    waits = [line.strip() for line in printed.splitlines() if "IAM" in line]
    assert len(waits) == 2
    # With the backfill where Terraform came to it.
    pipelines = "photo-analysis-local-pipeline-express, photo-analysis-local-pipeline-standard"
    assert f"{pipelines} do yet what was granted; trying again in 0 s" in waits[0]
    assert "AccessDenied" not in printed
    assert not stack.environment.plan_file.exists()


def test_an_apply_does_not_wait_for_who_may_not_apply(apply: Callable[[str, int], tuple[int, str]]) -> None:
    _, printed = apply(CALLER_REFUSED, 100)
    assert "trying again" not in printed
    assert "is not authorized to perform: states:UpdateStateMachine" in printed
