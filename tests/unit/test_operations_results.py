"""Results: what the indexes leave out is fetched for a file, in order, and what is not there is said."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest
from botocore.stub import Stubber
from click.testing import CliRunner

from operations import records, status
from operations.__main__ import main
from operations.deployment import Deployment
from tests.unit.pipeline import TABLE, client, make_table

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from click.testing import Result

DAY = datetime.now(UTC).date().isoformat()
UPLOADS = 250


@pytest.fixture
def dynamodb(aws: None, monkeypatch: pytest.MonkeyPatch) -> Any:  # noqa: ARG001
    """A table whose indexes hold a part of each record, with UPLOADS uploads of one key."""
    made: Any = client("dynamodb")
    make_table(made)
    for number in range(UPLOADS):
        made.put_item(
            TableName=TABLE,
            Item={
                "ImageID": {"S": f"a.jpg@{number}"},
                "Key": {"S": "a.jpg"},
                "ETag": {"S": f"{number}"},
                "Sequencer": {"S": f"s{number}"},
                "Outcome": {"S": "face_detected"},
                "OutcomeDay": {"S": f"face_detected#{DAY}"},
                "FaceDetails": {"S": "[{}]"},
                "ExpiresAt": {"N": "1800000000"},
                "Timestamp": {"S": f"{DAY}T10:00:{number // 60:02d}.{number % 60:03d}Z"},
            },
        )
    found = SimpleNamespace(table=TABLE, client=lambda _: made, environment=SimpleNamespace(name="dev"))
    monkeypatch.setattr(Deployment, "load", lambda _: found)
    return made


def run(*arguments: str) -> Result:
    return CliRunner().invoke(main, ["results", "--env", "dev", *arguments])


@pytest.mark.parametrize(
    "question",
    [("a.jpg",), ("--outcome", "face_detected", "--day", DAY), ("--day", DAY)],
    ids=["key", "outcome", "day"],
)
@pytest.mark.usefixtures("dynamodb")
def test_an_export_of_one_question_holds_whole_records_in_order(
    question: tuple[str, ...], tmp_path: Path
) -> None:
    path = tmp_path / "results.jsonl"
    assert run("--export", str(path), *question).exit_code == 0
    rows = [json.loads(line) for line in path.read_text("utf-8").splitlines()]
    assert [row["ETag"] for row in rows] == [str(number) for number in reversed(range(UPLOADS))]
    assert {(row["FaceDetails"], row["ExpiresAt"]) for row in rows} == {("[{}]", 1_800_000_000)}
    assert all(row["Sequencer"] == f"s{row['ETag']}" for row in rows)


@pytest.mark.usefixtures("dynamodb")
def test_an_export_stops_at_its_limit(tmp_path: Path) -> None:
    path = tmp_path / "results.jsonl"
    assert run("--export", str(path), "--limit", "120", "a.jpg").exit_code == 0
    assert len(path.read_text("utf-8").splitlines()) == 120


def reading(found: Sequence[str]) -> Iterator[str]:
    """ImageIDs of the whole records."""
    with Stubber(client("dynamodb")) as stub:
        table: dict[str, Any] = {"ConsistentRead": True}

        def asked(*keys: str) -> dict[str, Any]:
            return {TABLE: table | {"Keys": [{"ImageID": {"S": key}} for key in keys]}}

        def answered(*keys: str) -> dict[str, Any]:
            return {TABLE: [{"ImageID": {"S": key}} for key in keys]}

        for batch in (found[:100], found[100:]):
            # Nothing at first, then a part, the rest last; one was erased meanwhile.
            left = asked(*batch)
            stub.add_response(
                "batch_get_item", {"Responses": {}, "UnprocessedKeys": left}, {"RequestItems": left}
            )
            rest = asked(batch[0])
            stub.add_response(
                "batch_get_item",
                {"Responses": answered(*reversed(batch[2:])), "UnprocessedKeys": rest},
                {"RequestItems": left},
            )
            stub.add_response("batch_get_item", {"Responses": answered(batch[0])}, {"RequestItems": rest})
        deployment: Any = SimpleNamespace(client=lambda _: stub.client, table=TABLE)
        for record in records.complete(deployment, ({"ImageID": one} for one in found)):
            yield record["ImageID"]
        stub.assert_no_pending_responses()


@pytest.mark.usefixtures("aws")
def test_whole_records_are_read_in_order_in_batches_of_a_hundred_until_all_are_returned(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    pauses: list[float] = []
    monkeypatch.setattr("time.sleep", pauses.append)
    found = [f"{number}.jpg@e" for number in range(150)]
    assert list(reading(found)) == [found[0], *found[2:101], *found[102:]]
    assert sum(pause > 0 for pause in pauses) == 2, "a table that answers nothing is waited for"


@pytest.mark.usefixtures("dynamodb")
def test_a_key_without_a_record_is_an_error_but_not_for_a_program() -> None:
    refused = run("b\x1b[31m.jpg")
    assert (refused.exit_code, refused.stdout) == (1, "")
    assert refused.stderr.startswith("Error: There is no record of 'b\\x1b[31m.jpg' in ENV=dev;")
    assert len(refused.stderr.splitlines()) == 1
    answered = run("b.jpg", "--json")
    assert (answered.exit_code, json.loads(answered.stdout), answered.stderr) == (0, [], "")


@pytest.mark.usefixtures("dynamodb")
def test_an_outcome_or_a_day_without_records_is_no_error() -> None:
    for question in (("--outcome", "rejected"), ("--day", "2020-02-29")):
        answered = run(*question)
        assert (answered.exit_code, answered.stdout) == (0, "")
        assert answered.stderr.startswith("There is no record of ")


def test_control_sequences_in_a_key_are_escaped(dynamodb: Any) -> None:
    dynamodb.put_item(
        TableName=TABLE,
        Item={
            "ImageID": {"S": "[b]\x1b]0;owned\x07\n.jpg@e"},
            "OutcomeDay": {"S": f"rejected#{DAY}"},
            "Timestamp": {"S": f"{DAY}T10:00:00.000Z"},
        },
    )
    text = run("--outcome", "rejected", "--day", DAY).stdout
    assert "[b]\\x1b]0;owned\\x07\\n.jpg" in text
    assert len(text.splitlines()) == 2


def test_a_rejected_photo_is_listed_with_the_reason_in_its_notification(dynamodb: Any) -> None:
    detail = "the file is an SVG drawing; send a photo"
    item = {
        "ImageID": "b.svg@1",
        "Key": "b.svg",
        "Outcome": "rejected",
        "OutcomeDay": f"rejected#{DAY}",
        "Reason": "unsupported_format",
        "Detail": detail,
        "Timestamp": f"{DAY}T11:00:00.000Z",
    }
    dynamodb.put_item(TableName=TABLE, Item={name: {"S": value} for name, value in item.items()})
    shown = run("--outcome", "rejected", "--day", DAY)
    assert shown.stdout.splitlines()[-1] == f"b.svg: {detail}"
    [listed] = json.loads(run("--outcome", "rejected", "--json").stdout)
    assert (listed["Reason"], listed["Detail"]) == ("unsupported_format", detail)
    since = datetime.now(UTC) - timedelta(days=1)
    found = status._outcomes(Deployment.load("dev"), since)
    assert (found["outcomes"]["rejected"], found["rejected_reasons"]) == (1, {"unsupported_format": 1})
    assert found["rejected_details"] == {"unsupported_format": detail}
