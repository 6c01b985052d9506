"""What a cold start may cost: the size of a zip, and the time to import a handler.

Almost all of a handler's import is boto3 and its clients. What that costs differs from minute to minute by
more than the whole budget, so a process with the handler and one without cannot be compared fairly. Each
process is its own yardstick instead: it imports a handler as a cold start does, and reports the
processor time of boto3 and its clients, and the total. The median of several processes counts.
"""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
import zipfile
from typing import TYPE_CHECKING

import pytest

from tools import package

if TYPE_CHECKING:
    from pathlib import Path

MAX_ZIP_BYTES = 20_000
MAX_IMPORT_RATIO = 1.05
PROCESSES = 5

FUNCTIONS = ["process_image", "send_notification", "start_workflow"]
ENVIRONMENT = {
    "AWS_ACCESS_KEY_ID": "test",
    "AWS_SECRET_ACCESS_KEY": "test",
    "AWS_DEFAULT_REGION": "us-east-1",
    "CONVERT_IMAGES": "true",
    "COUNTS_TABLE": "counts",
    "DEAD_LETTER_QUEUE_URL": "https://sqs.us-east-1.amazonaws.com/111122223333/dead-letter",
    "FACE_ATTRIBUTES": "DEFAULT",
    "FACE_MIN_CONFIDENCE": "90",
    "LOG_OBJECT_KEYS": "false",
    "PHOTOS_PER_DAY": "100000",
    "PHOTOS_PER_SECOND": "5",
    "QUEUE_URL": "https://sqs.us-east-1.amazonaws.com/111122223333/uploads",
    "RECORD_RETENTION_DAYS": "0",
    "RESULTS_TABLE": "results",
    "RESULTS_TOPIC_ARN": "arn:aws:sns:us-east-1:111122223333:results",
    "STATE_MACHINE_ARN": "arn:aws:states:us-east-1:111122223333:stateMachine:pipeline",
    # Lambda cannot write beside a function's sources either, so they are compiled at every cold start.
    "PYTHONDONTWRITEBYTECODE": "1",
}

# Processor time, because other processes disturb it far less than they do the wall clock.
IMPORT = """
import json, sys, time
start = time.process_time()
import boto3, botocore.config
boto3_seconds = time.process_time() - start
make_client = boto3.client

def client(*arguments, **options):
    global boto3_seconds
    before = time.process_time()
    made = make_client(*arguments, **options)
    boto3_seconds += time.process_time() - before
    return made

boto3.client = client
__import__(sys.argv[1])
print(json.dumps([boto3_seconds, time.process_time() - start]))
"""


@pytest.fixture(params=FUNCTIONS)
def function(request: pytest.FixtureRequest) -> str:
    name: str = request.param
    return name


@pytest.fixture
def zip_path(function: str, tmp_path: Path) -> Path:
    path = tmp_path / f"{function}.zip"
    package.build(package.ROOT / "functions" / function, path)
    return path


def test_a_zip_stays_under_20_kb(zip_path: Path) -> None:
    assert zip_path.stat().st_size < MAX_ZIP_BYTES


def test_importing_a_handler_costs_at_most_5_percent_more_than_making_its_clients(
    function: str, zip_path: Path
) -> None:
    folder = zip_path.with_suffix("")
    with zipfile.ZipFile(zip_path) as archive:
        archive.extractall(folder)
    measured = [import_seconds(f"{function}.handler", folder) for _ in range(PROCESSES)]
    ratio = statistics.median(whole / boto3 for boto3, whole in measured)
    assert 1 < ratio <= MAX_IMPORT_RATIO, (
        f"{function} takes {ratio:.3f} times what boto3 and its clients take"
    )


def import_seconds(module: str, folder: Path) -> tuple[float, float]:
    """Processor seconds an interpreter spends on boto3 and its clients, and in all, to import `module`."""
    answer = subprocess.run(
        [sys.executable, "-c", IMPORT, module],
        env=ENVIRONMENT | {"PYTHONPATH": str(folder)},
        cwd=folder,
        check=True,
        capture_output=True,
        text=True,
    )
    boto3, whole = json.loads(answer.stdout)
    return boto3, whole
