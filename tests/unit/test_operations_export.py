"""Exports: complete or not there, in bounded memory, from records of any version."""

from __future__ import annotations

import csv
import errno
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
from operations.export import check, write
from operations.program import ROOT
from operations.records import ATTRIBUTES, plain

if TYPE_CHECKING:
    from collections.abc import Iterator

RECORDS = 100_000
LIMIT_MB = 150

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
    summary = write(target, iter([[NEW], [], [NEW, OLD]]))
    rows = read(target)
    assert summary.records == len(rows) == 3
    assert all(tuple(row) == ATTRIBUTES for row in rows)
    assert rows[0]["Key"] == rows[1]["Key"] == "summer/ünï=1.jpg"
    assert str(rows[0]["FaceCount"]) == "2"


def test_records_of_an_older_shape_leave_columns_empty_and_say_what_is_unknown(target: Path) -> None:
    summary = write(target, iter([[OLD]]))
    [row] = read(target)
    assert summary.unknown == {"labels"}
    assert row["ImageID"] == "old.jpg"
    assert not row["Outcome"]
    assert not row["Timestamp"]


def test_numbers_and_truths_keep_their_types_in_parquet(tmp_path: Path) -> None:
    write(tmp_path / "a.parquet", iter([[NEW, OLD]]))
    first, second = read(tmp_path / "a.parquet")
    assert (first["FaceCount"], first["Size"], first["FaceDetected"]) == (2, 1234, True)
    assert (second["FaceCount"], second["Size"], second["FaceDetected"]) == (1, None, None)


@pytest.mark.parametrize("key", ["=1+1.jpg", "+1.jpg", "-1.jpg", "@x.jpg"])
def test_a_key_is_no_formula_in_a_spreadsheet(key: str, tmp_path: Path) -> None:
    write(tmp_path / "a.csv", iter([[{"Key": key}]]))
    assert read(tmp_path / "a.csv")[0]["Key"] == f"'{key}"


def test_a_file_that_exists_is_left_alone(target: Path) -> None:
    target.write_text("mine")
    with pytest.raises(UserError, match="exists; name another file"):
        write(target, iter([[NEW]]))
    assert target.read_text() == "mine"


def test_a_file_that_appears_meanwhile_is_left_alone(target: Path) -> None:
    def pages() -> Iterator[list[dict[str, Any]]]:
        yield [NEW]
        target.write_text("mine")

    with pytest.raises(UserError, match="appeared meanwhile"):
        write(target, pages())
    assert target.read_text() == "mine"
    assert list(target.parent.iterdir()) == [target]


def test_an_export_that_breaks_leaves_nothing(target: Path) -> None:
    def pages() -> Iterator[list[dict[str, Any]]]:
        yield [NEW] * 20_000
        raise ConnectionError

    with pytest.raises((UserError, ConnectionError)):
        write(target, pages())
    assert list(target.parent.iterdir()) == []


@pytest.mark.parametrize(
    ("name", "sentence"),
    [
        ("results.xlsx", "ends in no known format; end it in .csv, .jsonl or .parquet"),
        ("results", "ends in no known format"),
        ("nowhere/results.csv", "There is no folder"),
    ],
)
def test_what_cannot_become_an_export_is_refused(name: str, sentence: str, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=sentence):
        check(tmp_path / name)


def test_a_name_as_long_as_names_may_be_is_written(tmp_path: Path) -> None:
    path = tmp_path / f"{'x' * 251}.csv"
    write(path, iter([[NEW]]))
    assert [one.name for one in tmp_path.iterdir()] == [path.name]


def test_a_name_longer_than_names_may_be_is_refused_in_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"cannot be written \(File name too long\); name another file"):
        write(tmp_path / f"{'x' * 300}.csv", iter([[NEW]]))


def test_a_folder_that_takes_no_file_is_refused_in_one_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(**_: object) -> None:
        raise PermissionError(errno.EROFS, "Read-only file system")

    # Those who may do anything are stopped only by the file system: /proc, or a disk mounted to be read.
    monkeypatch.setattr("tempfile.mkstemp", refuse)
    with pytest.raises(UserError, match=r"cannot be written \(Read-only file system\)"):
        write(tmp_path / "results.csv", iter([[NEW]]))


@pytest.mark.skipif(sys.platform != "linux", reason="there is no /proc")
def test_an_export_into_proc_is_refused_in_one_sentence() -> None:
    with pytest.raises(UserError, match="cannot be written"):
        write(Path("/proc/results.csv"), iter([[NEW]]))


class _Table(http.server.BaseHTTPRequestHandler):
    """DynamoDB's Scan over the wire: RECORDS records with a face each, as many a page as it is asked for."""

    def do_POST(self) -> None:
        asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        if self.headers["X-Amz-Target"].endswith(".DescribeTable"):
            body = json.dumps({"Table": {"ItemCount": RECORDS}})
        else:
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

Deployment.load = load
main(["results", "--json", "--export", sys.argv[2]], standalone_mode=False)
if sys.platform == "linux":
    # What getrusage tells began with the memory of the process that forked this one.
    peak = int(Path("/proc/self/status").read_text().partition("VmHWM:")[2].split()[0]) * 1024
else:
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
print(peak, file=sys.stderr)
"""


@pytest.mark.skipif(sys.platform == "win32", reason="Windows does not tell a process's peak memory this way")
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
