"""What verbs print: on any terminal, into any file, and never what an uploader's key would do to either."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import pytest
from botocore.exceptions import ReadTimeoutError
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st

from operations import redrive, reprocess
from operations.__main__ import main
from operations.dead_letters import ParkedEvent
from operations.deployment import Deployment
from operations.errors import UserError, from_credentials
from operations.program import ROOT
from operations.terminal import visible
from tests.locales import latin_1

if TYPE_CHECKING:
    from pathlib import Path

HOSTILE = "a\x1b]0;owned\x07\n\x9b2J\u202e\ud800.jpg"
SHOWN = r"a\x1b]0;owned\x07\n\x9b2J\u202e\ud800.jpg"

# The program with a deployment that needs no cloud; `{}` is what else it has to stand in for.
PROGRAM = """
import sys, time
from types import SimpleNamespace
from operations import records
from operations import program
from operations.__main__ import main
from operations.deployment import Deployment
Deployment.load = lambda name: SimpleNamespace(table="results")
records.complete = lambda _, found: found
{}
program.run(main, "operations")
"""
EMOJI = 'records.by_key = lambda *_: [{"Key": "\\U0001f600.jpg", "ImageID": "i"}]'
SLOW = """
def everything(_):
    yield {"Key": "a.jpg"}
    print("reading", flush=True)
    time.sleep(60)
records.everything = everything
"""


def start(stand_in: str, *arguments: str | bytes, **environment: str) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [sys.executable, "-c", PROGRAM.format(stand_in), *arguments],
        cwd=ROOT,
        env=os.environ | environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )


def test_terminal_control_sequences_are_escaped() -> None:
    assert visible(HOSTILE) == SHOWN
    assert visible("ünï ￥ 😀 [bold].jpg") == "ünï ￥ 😀 [bold].jpg"
    assert visible("one\ntwo\r", keep="\n") == "one\ntwo\\r"


@given(st.text(st.characters(categories=["Cc", "Cf", "Cs", "Zl", "Zp"]), min_size=1))
def test_nothing_invisible_is_left(text: str) -> None:
    assert visible(text).isascii()
    assert visible(text).isprintable()


@pytest.mark.parametrize("locale", ["latin-1", "ascii"])
def test_a_key_the_terminal_cannot_print_is_written_out(locale: str, tmp_path: Path) -> None:
    ascii_only = {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0", "PYTHONIOENCODING": ""}
    environment = latin_1(tmp_path) if locale == "latin-1" else ascii_only
    out, err = start(EMOJI, "results", "x", **environment).communicate()
    assert b"\\U0001f600.jpg" in out
    assert err == b""
    out, err = start(EMOJI, "results", "x", "--json", **environment).communicate()
    assert json.loads(out)[0]["Key"] == "\U0001f600.jpg"
    assert err == b""


def test_a_key_typed_into_a_latin_1_terminal_is_the_one_in_s3(tmp_path: Path) -> None:
    typed = "ñandú.jpg".encode("latin-1")
    asked = """
from operations import uploads
uploads.choose = lambda _, key: key
records.by_key = lambda _, key: [{"Key": key, "ImageID": "i"}]
"""
    environment = latin_1(tmp_path)
    out, err = start(asked, "results", typed, "--json", **environment).communicate()
    assert json.loads(out)[0]["Key"] == "ñandú.jpg"
    assert err == b""
    out, err = start(asked, "results", typed, **environment).communicate()
    assert typed in out
    assert err == b""


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="there is no full disk to write to")  # noqa: PTH110
@pytest.mark.parametrize("arguments", [("results", "x"), ("results", "x", "--json"), ("--help",)])
def test_output_to_a_full_disk_is_reported_in_one_sentence(arguments: tuple[str, ...]) -> None:
    with open("/dev/full", "wb") as full:  # noqa: PTH123
        result = subprocess.run(
            [sys.executable, "-c", PROGRAM.format(EMOJI), *arguments],
            cwd=ROOT,
            check=False,
            stdout=full,
            stderr=subprocess.PIPE,
        )
    assert result.returncode == 1
    assert result.stderr == b"Error: The output cannot be written (No space left on device).\n"


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no signals like these")
@pytest.mark.parametrize(
    ("number", "code", "said"), [(signal.SIGTERM, 143, b"Terminated"), (signal.SIGINT, 130, b"Interrupted")]
)
def test_an_export_that_is_stopped_leaves_nothing(
    number: signal.Signals, code: int, said: bytes, tmp_path: Path
) -> None:
    with start(SLOW, "results", "--export", str(tmp_path / "results.csv")) as process:
        assert process.stdout
        assert process.stdout.readline() == b"reading\n"
        assert list(tmp_path.iterdir()) != []
        process.send_signal(number)
        _, err = process.communicate(timeout=30)
    assert process.returncode == code
    assert err == said + b"; run it again to go on.\n"
    assert list(tmp_path.iterdir()) == []


def test_control_sequences_in_an_error_are_escaped(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(_: str) -> None:
        raise UserError("no \x1b[31m key\nsecond line")

    monkeypatch.setattr(Deployment, "load", refuse)
    result = CliRunner().invoke(main, ["status"])
    assert (result.exit_code, result.stderr) == (1, "Error: no \\x1b[31m key\nsecond line\n")


def test_a_truncated_response_about_the_caller_is_reported_in_one_sentence() -> None:
    error = ReadTimeoutError(endpoint_url="https://sts.amazonaws.com")
    said = "AWS cannot be reached for ENV=dev; check the network and AWS_ENDPOINT_URL."
    assert from_credentials("dev", error).message == said


def test_a_photo_must_be_named_to_be_analysed_again() -> None:
    for arguments in (["reprocess"], ["reprocess", ""], ["reprocess", "--json"]):
        result = CliRunner().invoke(main, arguments)
        assert (result.exit_code, result.stdout) == (1, "")
        assert result.stderr.startswith(
            "Error: Say which photo: make reprocess ENV=local KEY=holiday/beach.jpg "
        )


def test_reprocess_escapes_control_sequences_in_a_record(monkeypatch: pytest.MonkeyPatch) -> None:
    record = {"Outcome": "no_face", "Timestamp": "2026-11-24T10:00:00.000Z", "ExecutionId": HOSTILE}
    monkeypatch.setattr(Deployment, "load", lambda _: None)
    monkeypatch.setattr(reprocess, "reprocess", lambda *_, **__: (None, record))
    result = CliRunner().invoke(main, ["reprocess", "\x1b]0;owned\x07.jpg"])
    assert result.stdout == f"Before: never analysed\nNow:    no_face at 2026-11-24T10:00:00 by {SHOWN}\n"


def test_redrive_shows_a_function_s_message_as_status_does_and_obeys_no_key(
    capsys: pytest.CaptureFixture[str],
) -> None:
    cause = json.dumps({"errorMessage": "no \x1b[31m key", "errorType": "KeyError", "stackTrace": ["x"] * 50})
    report = redrive.Report("dev", confirmed=False)
    body = json.dumps({"detail": {"object": {"key": HOSTILE}}})
    for number in range(2):
        report.count(ParkedEvent(f"id{number}", "receipt", body, "KeyError", cause, None, datetime.now(UTC)))
    redrive._show(report)
    text = capsys.readouterr().out
    assert text.count(SHOWN) == 3, "once as an example, and each in the list"
    assert "no \\x1b[31m key" in text
    assert SHOWN in text
    assert "stackTrace" not in text
    assert not {"\x1b", "\x9b", "\x07"} & set(text)


def test_redrive_shows_no_progress_without_a_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Deployment, "load", lambda _: None)
    monkeypatch.setattr(redrive, "redrive", lambda *_, **__: redrive.Report("dev", confirmed=False))
    result = CliRunner().invoke(main, ["redrive"])
    assert (result.exit_code, result.stderr) == (0, "")
    assert result.stdout == "The dead-letter queue of dev is empty.\n"
