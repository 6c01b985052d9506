"""Exports: complete or not there, in bounded memory, from records of any version."""

from __future__ import annotations

import csv
import http.server
import json
import os
import subprocess
import sys
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from pyarrow import parquet

from operations.errors import UserError
from operations.export import new_file, write
from operations.program import ROOT
from operations.records import ATTRIBUTES, plain

if TYPE_CHECKING:
    from collections.abc import Iterator

RECORDS = 100_000
LIMIT_MB = 80

NEW = plain(
    {
        "ImageID": {"S": "summer/ünï=1.jpg@0123"},
        "Bucket": {"S": "photos"},
        "Key": {"S": "summer/ünï=1.jpg"},
        "ETag": {"S": "0123"},
        "Outcome": {"S": "face_detected"},
        "OutcomeDay": {"S": "face_detected#2026-11-24"},
        "FaceDetected": {"BOOL": True},
        "FaceCount": {"N": "2"},
        "FaceDetails": {"S": '[{"Confidence":99.9}]'},
        "Timestamp": {"S": "2026-11-24T10:00:00.000Z"},
        "ExecutionId": {"S": "arn:x"},
        "Size": {"N": "1234"},
    }
)
# As the tutorial this began with wrote them: other names, a number as text, no outcome.
OLD = plain(
    {"ImageID": {"S": "old.jpg"}, "FaceCount": {"S": "1"}, "labels": {"SS": ["a"]}, "Size": {"S": "?"}}
)


def read(path: Path) -> list[dict[str, Any]]:
    match path.suffix:
        case ".csv":
            with path.open(encoding="utf-8", newline="") as file:
                return [dict(row) for row in csv.DictReader(file)]
        case ".jsonl":
            return [json.loads(line) for line in path.read_text("utf-8").splitlines()]
        case _:
            rows: list[dict[str, Any]] = parquet.read_table(path).to_pylist()
            return rows


@pytest.fixture(params=["csv", "jsonl", "parquet"])
def target(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    return tmp_path / f"results.{request.param}"


def test_every_record_arrives_with_every_column(target: Path) -> None:
    count, _ = write(target, [NEW, NEW, OLD])
    rows = read(target)
    assert count == len(rows) == 3
    assert all([*row] == [*ATTRIBUTES] for row in rows)
    assert rows[0]["Key"] == rows[1]["Key"] == "summer/ünï=1.jpg"
    assert str(rows[0]["FaceCount"]) == "2"


def test_records_of_an_older_shape_leave_columns_empty_and_say_what_is_unknown(target: Path) -> None:
    _, unknown = write(target, [OLD])
    [row] = read(target)
    assert unknown == ["labels"]
    assert row["ImageID"] == "old.jpg"
    assert not row["Outcome"]
    assert not row["Timestamp"]


def test_numbers_and_truths_keep_their_types_in_parquet(tmp_path: Path) -> None:
    write(tmp_path / "a.parquet", [NEW, OLD])
    first, second = read(tmp_path / "a.parquet")
    assert (first["FaceCount"], first["Size"], first["FaceDetected"]) == (2, 1234, True)
    assert (second["FaceCount"], second["Size"], second["FaceDetected"]) == (1, None, None)


@pytest.mark.parametrize("key", ["=1+1.jpg", "+1.jpg", "-1.jpg", "@x.jpg"])
def test_a_key_is_no_formula_in_a_spreadsheet(key: str, tmp_path: Path) -> None:
    write(tmp_path / "a.csv", [{"Key": key}])
    assert read(tmp_path / "a.csv")[0]["Key"] == f"'{key}"


def test_a_file_that_exists_is_left_alone(target: Path) -> None:
    target.write_text("mine")
    with pytest.raises(UserError, match=r"cannot be written \(File exists\); name another file"):
        write(target, [NEW])
    assert target.read_text() == "mine"


def test_an_export_that_breaks_leaves_nothing(target: Path) -> None:
    def found() -> Iterator[dict[str, Any]]:
        yield from [NEW] * 20_000
        raise ConnectionError

    with pytest.raises(UserError):
        write(target, found())
    assert list(target.parent.iterdir()) == []


@pytest.mark.parametrize("name", ["results.xlsx", "results"])
def test_an_ending_that_is_no_format_is_refused(name: str, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"ends in no known format; end it in \.csv, \.jsonl or \.parquet"):
        write(tmp_path / name, [NEW])
    assert list(tmp_path.iterdir()) == []


def test_a_name_as_long_as_names_may_be_is_written(tmp_path: Path) -> None:
    path = tmp_path / f"{'x' * 251}.csv"
    write(path, [NEW])
    assert [one.name for one in tmp_path.iterdir()] == [path.name]


def test_a_name_longer_than_names_may_be_is_refused_in_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"cannot be written \(File name too long\); name another file"):
        write(tmp_path / f"{'x' * 300}.csv", [NEW])


def test_a_folder_there_is_not_is_refused_in_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"cannot be written \(No such file or directory\)"):
        write(tmp_path / "nowhere" / "results.csv", [NEW])


def test_a_file_is_taken_before_anything_is_read(tmp_path: Path) -> None:
    path = tmp_path / "results.csv"
    with new_file(path) as draft:
        draft.write_text("whole")
        assert path.read_text() == ""
    assert path.read_text() == "whole"
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.skipif(sys.platform != "linux", reason="there is no /proc")
def test_an_export_into_proc_is_refused_in_one_sentence() -> None:
    with pytest.raises(UserError, match="cannot be written"):
        write(Path("/proc/results.csv"), [NEW])


class _Table(http.server.BaseHTTPRequestHandler):
    """DynamoDB's Scan over the wire: RECORDS records with a face each, with the requested page size."""

    def do_POST(self) -> None:
        asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        first = int(asked.get("ExclusiveStartKey", {}).get("ImageID", {"S": "0"})["S"])
        last = min(first + asked["Limit"], RECORDS)
        items = ",".join(_ITEM.replace("NUMBER", str(n)) for n in range(first, last))
        more = f', "LastEvaluatedKey": {{"ImageID": {{"S": "{last}"}}}}' if last < RECORDS else ""
        body = f'{{"Items": [{items}], "Count": {last - first}, "ScannedCount": {last - first}{more}}}'
        content = body.encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/x-amz-json-1.0")
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *_: object) -> None:
        pass


_ITEM = json.dumps(
    {
        "ImageID": {"S": "album/NUMBER.jpg@0123456789abcdef0123456789abcdef"},
        "Key": {"S": "album/NUMBER.jpg"},
        "Bucket": {"S": "photo-analysis-local-uploads-000000000000"},
        "Outcome": {"S": "face_detected"},
        "FaceDetected": {"BOOL": True},
        "FaceCount": {"N": "1"},
        "FaceDetails": {
            "S": json.dumps({"Landmarks": [{"Type": f"eye{n}", "X": 0.1234, "Y": 0.1234} for n in range(20)]})
        },
        "Timestamp": {"S": "2026-11-24T10:00:00.000Z"},
        "ExecutionId": {"S": "arn:aws:states:us-east-1:000000000000:execution:pipeline:NUMBER"},
    }
)


@pytest.fixture(scope="module")
def table() -> Iterator[str]:
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), _Table) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_address[1]}"
        server.shutdown()
        thread.join()


# The command itself, progress bar and all; only what it would ask Terraform and a real account for is given.
_EXPORT = """
import resource, ssl, sys
from pathlib import Path
import botocore.httpsession
from operations.__main__ import main
from operations.deployment import Deployment
from operations.environments import Environment

def load(name):
    # As the real one: clients for the account and the state, and the certificates of one connection to AWS.
    deployment = Deployment(Environment.load("dev"), {"results_table_name": "results"})
    make = deployment.environment.session.client
    for service in ("sts", "s3", "dynamodb"):
        deployment._clients[service] = make(service, endpoint_url=sys.argv[1], region_name="us-east-1")
    deployment.trusted = ssl.create_default_context(cafile=botocore.httpsession.DEFAULT_CA_BUNDLE)
    return deployment

def peak():
    if sys.platform == "linux":
        # What getrusage reports starts with the memory of the process that forked this one.
        return int(Path("/proc/self/status").read_text().partition("VmHWM:")[2].split()[0]) * 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss

Deployment.load = load
# Its own memory depends on its version, and on that of NumPy.
import pyarrow.parquet
before = peak()
main(["results", "--json", "--export", sys.argv[2]], standalone_mode=False)
print(peak() - before, file=sys.stderr)
"""


def test_the_command_exports_a_hundred_thousand_records_in_little_memory(target: Path, table: str) -> None:
    result = subprocess.run(
        [sys.executable, "-c", _EXPORT, table, str(target)],
        cwd=ROOT,
        env=os.environ | {"AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "test"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 0, result.stderr
    assert json.loads(result.stdout)["records"] == RECORDS
    megabytes = int(result.stderr) / 1_000_000
    assert megabytes < LIMIT_MB, f"{target.suffix}: {megabytes:.0f} MB"
    print(f"{target.suffix}: {megabytes:.0f} MB")
