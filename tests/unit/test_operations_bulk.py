"""Many photos at once: which of them, in what pieces, and never more than was said."""

from __future__ import annotations

import json
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest
from click.testing import CliRunner

from convert_image.formats import FORMATS
from operations import bulk
from operations.__main__ import main
from operations.cost import estimate
from operations.deployment import Deployment
from operations.errors import UserError
from operations.uploads import is_convertible
from process_image.analysis import MAX_IMAGE_BYTES
from tests.unit.pipeline import BUCKET, TABLE, Pipeline, client

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from click.testing import Result

ARN = "arn:aws:states:us-east-1:123456789012:stateMachine:backfill"


class States:
    """Step Functions: a map that runs everything at once, and says so."""

    exceptions = SimpleNamespace(
        ExecutionAlreadyExists=KeyError, ValidationException=LookupError, ClientError=Exception
    )

    def __init__(self) -> None:
        self.inputs: list[dict[str, Any]] = []

    def describe_state_machine(self, **_: str) -> dict[str, str]:
        return {"definition": json.dumps({"States": {"EachObject": {"MaxConcurrency": 4}}})}

    def list_executions(self, **_: Any) -> dict[str, Any]:
        return {"executions": []}

    def start_execution(self, *, input: str, name: str, **_: str) -> dict[str, str]:  # noqa: A002
        self.inputs.append(json.loads(input))
        return {"executionArn": name}

    def describe_execution(self, **_: str) -> dict[str, str]:
        return {"status": "SUCCEEDED"}

    def list_map_runs(self, **_: str) -> dict[str, Any]:
        return {"mapRuns": [{"mapRunArn": "run"}]}

    def describe_map_run(self, *, mapRunArn: str) -> dict[str, Any]:  # noqa: N803
        counts = {"succeeded": len(self.inputs[-1]["events"]), "failed": 0, "timedOut": 0, "aborted": 0}
        return {"mapRunArn": mapRunArn, "itemCounts": counts, "status": "SUCCEEDED"}

    def events(self) -> list[dict[str, Any]]:
        return [event for content in self.inputs for event in content["events"]]

    def keys(self) -> list[str]:
        return [event["detail"]["object"]["key"] for event in self.events()]


@pytest.fixture
def states() -> States:
    return States()


@pytest.fixture
def settings() -> dict[str, Any]:
    return {}


@pytest.fixture(autouse=True)
def deployment(
    pipeline: Pipeline, states: States, settings: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> Deployment:
    monkeypatch.setattr(bulk, "measure", lambda _: ({}, ""))
    clients = {"dynamodb": pipeline.dynamodb, "s3": pipeline.s3, "stepfunctions": states}
    outputs = {
        "ingestion": {"mode": "direct", "photos_per_second": 4},
        "backfill_state_machine_arn": ARN,
        "uploads_bucket_name": BUCKET,
        "results_table_name": TABLE,
    }
    environment = SimpleNamespace(name="dev", settings=settings, client=clients.__getitem__)
    made = Deployment(environment, outputs)  # type: ignore[arg-type]
    monkeypatch.setattr(Deployment, "load", lambda _: made)
    return made


def run(*arguments: str) -> Result:
    return CliRunner().invoke(main, [*arguments])


def report(*arguments: str) -> dict[str, Any]:
    result = run(*arguments, "--json")
    assert result.exit_code == 0, result.stderr
    found: dict[str, Any] = json.loads(result.stdout)
    return found


def row(title: str, result: Result) -> str:
    """The table's cell beside `title`."""
    [found] = [line for line in result.stdout.splitlines() if line.startswith(title)]
    return found.removeprefix(title).strip()


def process(pipeline: Pipeline, key: str, *outcome: object) -> None:
    event = pipeline.upload(key, b"abc")
    pipeline.rekognition.finds(*outcome)  # type: ignore[arg-type]
    pipeline.process(event)


def test_a_backfill_starts_only_what_has_no_record(pipeline: Pipeline, states: States) -> None:
    for number in range(5):
        process(pipeline, f"a/{number}.jpg")
    pipeline.upload("a/new.jpg", b"abc")
    pipeline.upload("b/new.jpg", b"abc")
    pipeline.upload("a/marker/", b"")
    seen = report("backfill", "a/")
    assert (seen["photos"], seen["new"], seen["started"], states.inputs) == (6, 1, False, [])
    done = report("backfill", "a/", "--confirm")
    assert (done["succeeded"], done["failed"]) == (1, 0)
    [event] = states.events()
    assert event["detail"]["object"]["key"] == "a/new.jpg"
    assert event["notify"] is False


def test_an_estimate_is_for_what_is_new_only(pipeline: Pipeline) -> None:
    for number in range(3):
        pipeline.upload(f"a/{number}.jpg", b"abc")
    before = report("backfill", "a/")["estimated_seconds"]
    process(pipeline, "a/0.jpg")
    process(pipeline, "a/1.jpg")
    assert report("backfill", "a/")["estimated_seconds"] < before
    process(pipeline, "a/2.jpg")
    done = report("backfill", "a/")
    assert (done["estimated_seconds"], done["estimated_dollars"]) == (0, 0.0)


def test_what_is_to_be_converted_is_counted_by_name_and_size_and_priced(
    pipeline: Pipeline, settings: dict[str, Any]
) -> None:
    for key in ("a.jpg", "B.PNG", "none", "C.HEIC", "d.webp", "e.heic.jpg"):
        pipeline.upload(f"a/{key}", b"abc")
    pipeline.upload("a/large.jpg", bytes(MAX_IMAGE_BYTES + 1))
    pipeline.upload("a/largest.jpg", bytes(MAX_IMAGE_BYTES))
    process(pipeline, "a/recorded.heic")
    dear = report("backfill", "a/")
    assert (dear["photos"], dear["new"], dear["convertible"]) == (9, 8, 3)
    assert row("To convert, about", run("backfill", "a/")) == "3"
    settings["convert"] = {"formats": []}
    cheap = report("backfill", "a/")
    assert cheap["convertible"] == 0
    assert "To convert" not in run("backfill", "a/").stdout
    assert dear["estimated_seconds"] > cheap["estimated_seconds"]


def test_each_photo_to_be_converted_adds_its_own_price(deployment: Deployment) -> None:
    def dollars(convertible: int) -> float:
        return bulk.forecast(deployment, 1_000_000, convertible, 4, notify=False, buffered=False)[0]

    converted = dollars(1_000_000) - dollars(0)
    assert dollars(250_000) - dollars(0) == pytest.approx(converted / 4)

    def month(**settings: Any) -> float:
        lines = estimate(settings, 1_000_000, 0, {"converted_share": 1.0}, notify=False)
        return sum(line.dollars for line in lines if line.group == "each image")

    assert converted == pytest.approx(month() - month(convert={"formats": []}))


def test_what_is_buffered_pays_for_no_map(deployment: Deployment) -> None:
    mapped, buffered = (
        bulk.forecast(deployment, 1_000_000, 0, 4, notify=False, buffered=one)[0] for one in (False, True)
    )
    assert mapped - buffered == pytest.approx(50)


@pytest.mark.parametrize("kind", FORMATS)
def test_every_format_that_is_decoded_is_known_by_a_name(kind: str) -> None:
    as_it_is = kind in {"jpeg", "png"}
    assert is_convertible(f"a.{kind}", 1000) is not as_it_is


@pytest.mark.parametrize(
    ("prefix", "keys"),
    [("", ["in/a.jpg"]), ("in", ["in/a.jpg"]), ("in/a", ["in/a.jpg"])],
)
def test_a_backfill_keeps_to_the_upload_prefix(
    prefix: str, keys: list[str], pipeline: Pipeline, states: States, settings: dict[str, Any]
) -> None:
    settings["upload_prefix"] = "in/"
    for key in ("in/a.jpg", "out/a.jpg"):
        pipeline.upload(key, b"abc")
    run("backfill", prefix, "--confirm")
    assert states.keys() == keys


def test_a_prefix_whose_uploads_start_nothing_is_refused(settings: dict[str, Any]) -> None:
    settings["upload_prefix"] = "in/"
    said = run("backfill", "out/").stderr
    assert said == (
        "Error: Photos under out/ are not analysed: the environment's upload_prefix is 'in/'; choose a prefix"
        " within it.\n"
    )


def test_a_prefix_of_a_space_is_not_the_whole_bucket(pipeline: Pipeline, states: States) -> None:
    pipeline.upload(" lead.jpg", b"abc")
    pipeline.upload("a.jpg", b"abc")
    assert report("backfill", " ", "--confirm")["photos"] == 1
    assert states.keys() == [" lead.jpg"]


def test_events_go_in_pieces_as_large_as_an_execution_takes() -> None:
    def events() -> Iterator[dict[str, Any]]:
        for number in range(1000):
            yield {"key": "é" * 300, "number": number}

    pieces = list(bulk.chunks(events()))
    assert [one["number"] for piece in pieces for one in piece] == list(range(1000))
    sizes = [len(json.dumps({"events": piece}).encode()) for piece in pieces]
    assert max(sizes) < 256 * 1024
    assert min(sizes[:-1]) > 200_000


def test_another_purpose_that_runs_is_waited_for(states: States, monkeypatch: pytest.MonkeyPatch) -> None:
    content = json.dumps({"purpose": "Backfill of 'b/'"})
    other = {"executionArn": "other", "status": "RUNNING", "input": content}
    monkeypatch.setattr(states, "list_executions", lambda **_: {"executions": [other]})
    monkeypatch.setattr(states, "describe_execution", lambda **_: other)
    with pytest.raises(
        UserError, match=r"^This is running already: Backfill of 'b/'\. Wait for it, or stop other"
    ):
        bulk.running(Deployment.load("dev"), "Backfill of 'a/'")


# Reprocessing an outcome


def reject(pipeline: Pipeline, key: str, reason: str) -> None:
    pipeline.upload(key, b"abc")
    etag = pipeline.s3.head_object(Bucket=BUCKET, Key=key)["ETag"].strip('"')
    pipeline.dynamodb.put_item(
        TableName=TABLE,
        Item={
            "ImageID": {"S": f"{key}@{etag}"},
            "Key": {"S": key},
            "ETag": {"S": etag},
            "Outcome": {"S": "rejected"},
            "Reason": {"S": reason},
            "ExecutionId": {"S": f"arn:of:{key}"},
        },
    )


def test_all_photos_of_a_reason_are_counted_priced_and_analysed_again_when_confirmed(
    pipeline: Pipeline, states: States
) -> None:
    for key in ("a.heic", "b.heic", "gone.heic"):
        reject(pipeline, key, "unsupported_format")
    reject(pipeline, "large.jpg", "too_large")
    pipeline.s3.delete_object(Bucket=BUCKET, Key="gone.heic")
    arguments = ("reprocess", "--outcome", "rejected", "--reason", "unsupported_format")
    seen = report(*arguments)
    assert (seen["photos"], seen["gone"], seen["started"], states.inputs) == (2, 1, False, [])
    assert seen["convertible"] == 2, "what Rekognition refused it will refuse again"
    assert seen["estimated_seconds"] > 0
    shown = run(*arguments)
    assert row("To convert, about", shown) == "2"
    assert shown.stdout.endswith("Nothing is started yet; CONFIRM=1 starts it.\n")
    done = report(*arguments, "--confirm")
    assert (done["succeeded"], done["failed"]) == (2, 0)
    assert sorted(states.keys()) == ["a.heic", "b.heic"]
    for event in states.events():
        assert event["reanalyse"] is True
        assert event["redriven_from"] == [f"arn:of:{event['detail']['object']['key']}"]
        assert "notify" not in event, "as for a new upload"


@pytest.mark.parametrize(("reason", "convertible"), [("too_large", 1), ("gone", 0), ("empty", 0)])
def test_only_what_rekognition_refuses_is_converted_again(
    reason: str, convertible: int, pipeline: Pipeline, settings: dict[str, Any]
) -> None:
    reject(pipeline, "a.heic", reason)
    assert report("reprocess", "--outcome", "rejected")["convertible"] == convertible
    settings["convert"] = {"formats": []}
    assert report("reprocess", "--outcome", "rejected")["convertible"] == 0


def test_reprocessing_an_outcome_notifies_nobody_on_request(pipeline: Pipeline, states: States) -> None:
    reject(pipeline, "a.heic", "too_large")
    report("reprocess", "--outcome", "rejected", "--quiet", "--confirm")
    assert [event["notify"] for event in states.events()] == [False]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("a.jpg", "--outcome", "rejected"), "Say which photo"),
        (("--outcome", "no_face", "--reason", "too_large"), "Only rejected photos have a reason"),
    ],
)
def test_questions_about_photos_that_make_no_sense(arguments: Sequence[str], said: str) -> None:
    result = run("reprocess", *arguments)
    assert result.exit_code == 1
    assert result.stderr.startswith(f"Error: {said}")


@pytest.mark.parametrize("arguments", [("backfill", ""), ("reprocess", "--outcome", "rejected")])
def test_where_uploads_are_buffered_photos_go_through_the_buffer(
    arguments: Sequence[str],
    pipeline: Pipeline,
    states: States,
    deployment: Deployment,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    pipeline.upload("new.jpg", b"abc")
    reject(pipeline, "rejected.jpg", "too_large")
    sqs: Any = client("sqs")
    queue = sqs.create_queue(QueueName="buffer")["QueueUrl"]
    deployment.outputs["ingestion"] |= {"mode": "buffered", "queue_url": queue}
    monkeypatch.setitem(deployment._clients, "sqs", sqs)
    assert report(*arguments, "--confirm")["queued"] == 1
    [message] = sqs.receive_message(QueueUrl=queue)["Messages"]
    key = json.loads(message["Body"])["detail"]["object"]["key"]
    assert key == ("new.jpg" if arguments[0] == "backfill" else "rejected.jpg")
    assert states.inputs == []


def test_ctrl_c_stops_a_run_and_waits_for_what_it_started(
    pipeline: Pipeline, states: States, monkeypatch: pytest.MonkeyPatch
) -> None:
    pipeline.upload("a.jpg", b"abc")
    stopped: list[str] = []
    ends = iter(["RUNNING", "RUNNING", "ABORTED"])
    going_on = iter(["RUNNING", "RUNNING", "ABORTED"])
    counts = {"succeeded": 1, "failed": 0, "timedOut": 0, "aborted": 0}

    def sleep(seconds: float) -> None:
        if seconds and not stopped:
            raise KeyboardInterrupt

    monkeypatch.setattr("time.sleep", sleep)
    monkeypatch.setattr(
        states, "stop_execution", lambda **asked: stopped.append(asked["cause"]), raising=False
    )
    monkeypatch.setattr(states, "describe_execution", lambda **_: {"status": next(ends)})
    monkeypatch.setattr(
        states,
        "describe_map_run",
        lambda **_: {"mapRunArn": "run", "status": next(going_on), "itemCounts": counts},
    )
    result = run("backfill", "", "--confirm")
    assert result.exit_code == 130
    assert result.stderr.splitlines()[-1].startswith(
        "Stopped after 1 of 1 photos, or a few more; run it again"
    )
    assert stopped == ["Ctrl-C"]
    assert next(going_on, None) is None, "what was on its way is waited for"


def test_a_run_that_ends_while_it_is_stopped_is_as_good_as_stopped(
    pipeline: Pipeline, states: States, monkeypatch: pytest.MonkeyPatch
) -> None:
    pipeline.upload("a.jpg", b"abc")
    ends = iter(["RUNNING", "SUCCEEDED"])

    def sleep(seconds: float) -> None:
        if seconds:
            raise KeyboardInterrupt

    def stop_execution(**_: str) -> None:
        raise LookupError("Execution is not running")

    monkeypatch.setattr("time.sleep", sleep)
    monkeypatch.setattr(states, "stop_execution", stop_execution, raising=False)
    monkeypatch.setattr(states, "describe_execution", lambda **_: {"status": next(ends)})
    result = run("backfill", "", "--confirm")
    assert result.exit_code == 130
    assert "Stopped after 1 of 1 photos" in result.stderr
