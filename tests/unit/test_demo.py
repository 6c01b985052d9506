"""The demo without its cloud: which photos it takes, what it accounts for, and how it ends."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import webbrowser
from collections import deque
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from botocore.exceptions import EndpointConnectionError
from click.testing import CliRunner, Result

from localcloud import LocalCloud, demo
from localcloud.cloud import SAMPLES
from localcloud.demo import find_photos
from localcloud.stack import Notification, Stack
from localcloud.timeline import Timeline
from operations import program
from operations.dead_letters import ParkedEvent
from operations.errors import UserError
from operations.page import Step

if TYPE_CHECKING:
    from collections.abc import Iterator


TIMELINE = Timeline("SUCCEEDED", [Step("Uploaded", 0)], {})
SENT = datetime(2026, 11, 24, 12, tzinfo=UTC)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with photos."""
    made = tmp_path / "photos"
    (made / "trip").mkdir(parents=True)
    for name in ("b.jpg", "a.jpg", "trip/c.png"):
        (made / name).write_bytes(name.encode())
    return made


@dataclass
class FakeClock:
    """Time that passes only during sleep, a hundred times as fast."""

    now: float = 0.0

    def monotonic(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now += 100 * seconds


@dataclass
class FakeStack:
    """A pipeline that notifies of every upload at once, but for keys it loses, parks or does not record."""

    lost: tuple[str, ...] = ()
    parked: tuple[str, ...] = ()
    unrecorded: tuple[str, ...] = ()
    uploaded: list[str] = field(default_factory=list)
    _sent: deque[Notification] = field(default_factory=deque)

    def subscribe(self) -> FakeStack:
        # Somebody else's photo, as a notification that came late.
        self._send("other.jpg")
        return self

    def upload(self, key: str, body: bytes) -> str:
        assert body == key.encode()
        self.uploaded.append(key)
        if key not in (*self.lost, *self.parked):
            self._send(key)
        return f"{key}@etag"

    def receive(self) -> Iterator[Notification]:
        while self._sent:
            yield self._sent.popleft()

    def record(self, image_id: str) -> dict[str, Any] | None:
        key = image_id.removesuffix("@etag")
        if key in self.unrecorded:
            return None
        return {"Key": key, "Outcome": "face_detected", "ExecutionId": f"execution-of-{key}"}

    def dead_letters(self) -> list[ParkedEvent]:
        bodies = {key: json.dumps({"detail": {"object": {"key": key}}}) for key in self.parked}
        return [
            ParkedEvent("id", "receipt", body, "error", "", None, SENT, f"execution-of-{key}")
            for key, body in bodies.items()
        ]

    def client(self, service: str) -> str:
        return service

    def _send(self, key: str) -> None:
        facts = {"image_id": f"{key}@etag", "key": key, "outcome": "face_detected", "face_count": 2}
        subject = f"Face detected in image: {key.encode('ascii', 'replace').decode()}"
        self._sent.append(Notification(subject, facts, {}))


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> FakeClock:
    clock = FakeClock()
    monkeypatch.setattr(demo, "time", clock)
    monkeypatch.setattr(demo, "read", lambda *_: TIMELINE)
    return clock


def run(stack: FakeStack, folder: Path) -> list[demo.Result]:
    photos, _ = find_photos(folder)
    pretended: Any = stack
    return demo.run(pretended, folder, photos)


def keys(folder: Path) -> list[str]:
    return [path.relative_to(folder).as_posix() for path in find_photos(folder)[0]]


def test_every_file_is_a_photo_whatever_its_name(folder: Path) -> None:
    for name in ("README.jpg", "Readme first.jpg", "README.md", "notes.txt"):
        (folder / name).touch()
    expected = ["README.jpg", "README.md", "Readme first.jpg", "a.jpg", "b.jpg", "notes.txt", "trip/c.png"]
    assert keys(folder) == expected


def test_of_the_samples_their_own_readme_alone_is_left_out() -> None:
    samples = {path.name for path in SAMPLES.iterdir()}
    assert set(keys(SAMPLES)) == samples - {"README.md"}
    assert keys(Path(os.path.relpath(SAMPLES))) == keys(SAMPLES)


def test_what_is_hidden_or_no_file_is_left_out_and_named(folder: Path) -> None:
    (folder / ".git").mkdir()
    (folder / ".git" / "HEAD").touch()
    (folder / "trip" / ".DS_Store").touch()
    (folder / "gone.jpg").symlink_to("nowhere.jpg")
    (folder / "loop.jpg").symlink_to("loop.jpg")
    (folder / "round").symlink_to(folder)
    (folder / "linked.jpg").symlink_to("a.jpg")
    os.mkfifo(folder / "pipe")
    photos, left_out = find_photos(folder)
    assert [path.name for path in photos] == ["a.jpg", "b.jpg", "linked.jpg", "c.png"]
    assert set(map(str, left_out)) == {".git", "gone.jpg", "loop.jpg", "pipe", "round", "trip/.DS_Store"}


def test_a_missing_or_empty_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"There is no folder .*/none; name one"):
        find_photos(tmp_path / "none")
    with pytest.raises(UserError, match=f"There is no photo in {tmp_path}; name another"):
        find_photos(tmp_path)


def test_a_name_that_cannot_be_a_key_is_refused_with_the_file(folder: Path) -> None:
    try:
        Path(os.fsdecode(os.fsencode(folder) + b"/caf\xe9.jpg")).touch()
    except OSError:
        pytest.skip("this file system takes UTF-8 only")
    with pytest.raises(UserError, match=r"^The name of .*/caf\\udce9\.jpg is not UTF-8, as a key must be"):
        find_photos(folder)


def test_a_file_that_cannot_be_read_is_refused_by_name(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # Root may read everything.
    monkeypatch.setattr(os, "access", lambda path, _: path.name != "b.jpg")
    with pytest.raises(UserError, match=r"^/.*/b\.jpg cannot be read; permit it"):
        find_photos(folder)


@pytest.mark.usefixtures("clock")
def test_photos_are_accounted_for_in_order_each_with_its_record(folder: Path) -> None:
    (folder / "grüße.jpg").write_bytes("grüße.jpg".encode())
    stack = FakeStack()
    results = run(stack, folder)
    assert (
        [result.key for result in results] == ["a.jpg", "b.jpg", "grüße.jpg", "trip/c.png"] == stack.uploaded
    )
    assert results[2] == demo.Result(
        key="grüße.jpg",
        outcome="face_detected",
        face_count=2,
        seconds=0.0,
        # As an email has it, though its subject is ASCII.
        notification="Face detected in image: grüße.jpg",
        record={"Key": "grüße.jpg", "Outcome": "face_detected", "ExecutionId": "execution-of-grüße.jpg"},
        timeline=TIMELINE,
    )


def test_seconds_run_from_the_answer_to_the_upload(folder: Path, clock: FakeClock) -> None:
    class Slow(FakeStack):
        def upload(self, key: str, body: bytes) -> str:
            clock.now += 7
            return super().upload(key, body)

    # The second of the two in flight is uploaded before anything is looked for.
    assert [result.seconds for result in run(Slow(), folder)] == [7.0, 0.0, 0.0]


@pytest.mark.usefixtures("clock")
def test_a_parked_photo_is_shown_as_parked(folder: Path) -> None:
    results = run(FakeStack(parked=("b.jpg",)), folder)
    assert [result.outcome for result in results] == ["face_detected", "parked", "face_detected"]
    assert results[1] == demo.Result("b.jpg", "parked", execution="execution-of-b.jpg", timeline=TIMELINE)


def test_a_lost_photo_is_named_a_minute_after_its_own_upload(folder: Path, clock: FakeClock) -> None:
    for number in range(200):
        (folder / f"{number}.jpg").write_bytes(f"{number}.jpg".encode())
    stack = FakeStack(lost=("100.jpg",))
    with pytest.raises(
        UserError, match=r"^Not accounted for after 60 s: 100\.jpg; the logs are in build/demo/"
    ):
        run(stack, folder)
    assert 60 < clock.now < 65
    assert "b.jpg" not in stack.uploaded, "others arrived all the time, and it was not given up"


@pytest.mark.usefixtures("clock")
def test_a_photo_that_is_notified_but_not_recorded_is_named(folder: Path) -> None:
    with pytest.raises(UserError, match=r"^Notified, but without a record: a\.jpg, trip/c\.png\.$"):
        run(FakeStack(unrecorded=("a.jpg", "trip/c.png")), folder)


@pytest.fixture
def build(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A build folder with the report of an earlier demo; signal handlers are put back afterwards."""
    monkeypatch.setattr(demo, "BUILD", tmp_path / "build")
    (tmp_path / "build").mkdir()
    (tmp_path / "build" / "report.json").write_text("{}")
    handlers = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGHUP)}
    yield tmp_path / "build"
    for number, handler in handlers.items():
        signal.signal(number, handler)


@pytest.fixture
def pretended(build: Path, monkeypatch: pytest.MonkeyPatch) -> FakeStack:  # noqa: ARG001
    """A demo on a fake stack."""
    stack = FakeStack()
    monkeypatch.setattr(LocalCloud, "start", lambda _: contextlib.nullcontext())
    monkeypatch.setattr(Stack, "deploy", lambda *_, **__: stack)
    monkeypatch.setattr(demo, "time", FakeClock())
    monkeypatch.setattr(demo, "read", lambda *_: TIMELINE)
    return stack


def invoke(*arguments: str | Path) -> Result:
    return CliRunner().invoke(demo.main, [*map(str, arguments)])


@pytest.mark.usefixtures("pretended")
def test_the_report_gives_the_outcome_of_each_photo(folder: Path, build: Path) -> None:
    (folder / ".hidden").touch()
    shown = invoke("--photos", folder)
    assert shown.exit_code == 0, shown.output
    assert "Left out, hidden or no file: .hidden\n" in shown.stdout
    assert "3 photos accounted for; median 0.00 s from upload to notification." in shown.stdout
    report = json.loads((build / "report.json").read_text("utf-8"))
    assert list(report) == ["photos"]
    assert report["photos"][2] == {
        "key": "trip/c.png",
        "outcome": "face_detected",
        "face_count": 2,
        "seconds": 0.0,
        "notification": "Face detected in image: trip/c.png",
        "record": {"Key": "trip/c.png", "Outcome": "face_detected", "ExecutionId": "execution-of-trip/c.png"},
        "execution": None,
        "timeline": {
            "status": "SUCCEEDED",
            "steps": [{"name": "Uploaded", "ms": 0, "failed": False}],
            "messages": {},
        },
    }
    assert "Page: " in shown.stdout
    assert "trip/c.png" in (build / "index.html").read_text("utf-8")
    printed = invoke("--photos", folder, "--json")
    assert json.loads(printed.stdout) == report


@pytest.mark.usefixtures("pretended")
def test_the_page_is_opened_on_request(folder: Path, build: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    opened: list[str] = []
    monkeypatch.setattr(webbrowser, "open", opened.append)
    invoke("--photos", folder)
    assert opened == []
    invoke("--photos", folder, "--open")
    assert opened == [(build / "index.html").as_uri()]


@pytest.mark.parametrize("parked", [True, False])
def test_the_logs_stay_while_a_photo_is_parked(
    folder: Path, build: Path, pretended: FakeStack, parked: bool
) -> None:
    pretended.parked = ("b.jpg",) if parked else ()
    (build / "localcloud").mkdir()
    shown = invoke("--photos", folder)
    assert shown.exit_code == 0, shown.output
    assert (build / "localcloud").exists() is parked
    assert ("its logs are in " in shown.stdout) is parked


@pytest.mark.usefixtures("pretended")
def test_a_key_cannot_command_the_terminal(folder: Path) -> None:
    (folder / "\x1b[2J.jpg").write_bytes(b"\x1b[2J.jpg")
    shown = invoke("--photos", folder)
    assert shown.exit_code == 0
    assert "\x1b" not in shown.stdout
    assert r"\x1b[2J.jpg" in shown.stdout


def test_a_demo_that_fails_leaves_no_report_of_an_earlier_one(
    folder: Path, build: Path, pretended: FakeStack
) -> None:
    pretended.lost = ("b.jpg",)
    failed = invoke("--photos", folder)
    assert failed.exit_code == 1
    assert (
        failed.stderr == f"Error: Not accounted for after 60 s: b.jpg; the logs are in {build}/localcloud.\n"
    )
    assert not (build / "report.json").exists()


def test_a_cloud_that_dies_is_a_sentence(
    folder: Path, build: Path, pretended: FakeStack, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> str:
        raise EndpointConnectionError(endpoint_url="https://127.0.0.1:1")

    monkeypatch.setattr(pretended, "upload", refuse)
    failed = invoke("--photos", folder)
    assert failed.exit_code == 1
    assert failed.stderr == (
        'Error: The local cloud failed: Could not connect to the endpoint URL: "https://127.0.0.1:1";'
        f" the logs are in {build}/localcloud.\n"
    )


@pytest.mark.usefixtures("pretended")
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_a_signal_ends_the_demo_as_ctrl_c_does(
    number: signal.Signals, monkeypatch: pytest.MonkeyPatch
) -> None:
    if signal.getsignal(number) is signal.SIG_IGN:
        pytest.skip("whoever started the tests has it ignored")
    monkeypatch.setattr(Stack, "deploy", lambda *_, **__: os.kill(os.getpid(), number))
    program.end_in_order()
    interrupted = invoke()
    assert interrupted.exit_code == 130
    assert interrupted.stderr == "Interrupted; nothing is left running.\n"
