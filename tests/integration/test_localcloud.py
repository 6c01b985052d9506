"""Starting and stopping the local cloud."""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psutil
import pytest
from click.testing import CliRunner

from localcloud import LocalCloud, LocalCloudError, cloud
from localcloud import processes as processes_module
from localcloud.__main__ import main
from localcloud.cloud import stop_all, stop_any
from localcloud.processes import RUN_VARIABLE
from tests.integration.aws import Function, client
from tests.locales import latin_1

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

ROOT = Path(__file__).parents[2]
LEFT_BEHIND = {"ministack.log"}


@pytest.fixture
def directory(tmp_path: Path) -> Iterator[Path]:
    yield tmp_path / "cloud"
    stop_any(tmp_path / "cloud")


def up(*arguments: str | Path, env: Mapping[str, str] | None = None) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "localcloud", "up", *map(str, arguments)],
        cwd=ROOT,
        env=env,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )


def processes(directory: Path) -> list[psutil.Process]:
    """Every process whose temporary files go under a directory: servers and workers."""
    found = []
    for process in psutil.process_iter():
        try:
            if process.environ().get("TMPDIR") == str(directory / "tmp"):
                found.append(process)
        except psutil.Error:
            continue
    return found


def left(directory: Path) -> set[str]:
    return {path.name for path in directory.iterdir()}


def environment_of_a_child(running: LocalCloud) -> dict[str, str]:
    """This process's environment without its own AWS settings, as build/localcloud/env leaves it."""
    own = {name: value for name, value in os.environ.items() if not name.startswith("AWS_")}
    return own | running.environment


def occupied() -> socket.socket:
    taken = socket.socket()
    taken.bind(("127.0.0.1", 0))
    taken.listen()
    return taken


def test_it_starts_on_loopback_only_and_stops_without_a_trace(directory: Path) -> None:
    with LocalCloud.start(directory) as running:
        function = Function(running, "def handler(event, context): return 1")
        assert function.call() == 1
        started = processes(directory)
        assert len(started) == 2
        listening = {
            (each.laddr.ip, each.laddr.port)
            for process in started
            for each in process.net_connections(kind="all")
            if each.status == psutil.CONN_LISTEN
        }
        assert listening == {("127.0.0.1", int(running.endpoint_url.removeprefix("https://127.0.0.1:")))}
        assert {path.name for path in directory.parent.iterdir()} == {directory.name}
    assert processes(directory) == []
    assert left(directory) == LEFT_BEHIND
    for _, port in listening:
        with socket.socket() as probe:
            assert probe.connect_ex(("127.0.0.1", port)) != 0


def test_iam_is_enforced(directory: Path) -> None:
    source = """
import boto3
from botocore.exceptions import ClientError
def handler(event, context):
    try:
        return len(boto3.client("s3").list_buckets()["Buckets"])
    except ClientError as error:
        return error.response["Error"]["Code"]
"""
    with LocalCloud.start(directory) as running:
        assert Function(running, source).call() == "AccessDenied"
        assert client(running, "s3").list_buckets()["Buckets"] == []


def test_stopping_ends_a_worker_whose_server_died(directory: Path) -> None:
    running = LocalCloud.start(directory)
    function = Function(running, "import time\ndef handler(event, context): time.sleep(30)")
    function.begin()
    wait_until(lambda: len(processes(directory)) == 2)
    os.kill(running.pid, signal.SIGKILL)
    wait_until(lambda: LocalCloud.running(directory) is None)
    assert len(processes(directory)) == 1
    running.stop()
    assert processes(directory) == []
    assert left(directory) == LEFT_BEHIND


def wait_until(condition: Any, seconds: float = 10) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it did not come to pass"
        time.sleep(0.01)


def test_a_server_that_will_not_stop_is_killed(directory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(processes_module, "STOP_SECONDS", 0.3)
    running = LocalCloud.start(directory)
    os.kill(running.pid, signal.SIGSTOP)
    running.stop()
    assert processes(directory) == []
    running.stop()


def test_open_connections_do_not_hold_up_a_stop(directory: Path) -> None:
    running = LocalCloud.start(directory)
    s3 = client(running, "s3")
    s3.list_buckets()
    started = time.monotonic()
    running.stop()
    assert time.monotonic() - started < processes_module.STOP_SECONDS / 2
    s3.close()


def test_an_interrupt_inside_the_context_stops_it(directory: Path) -> None:
    def interrupted() -> None:
        with LocalCloud.start(directory):
            assert len(processes(directory)) == 1
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert processes(directory) == []


def test_it_outlives_its_caller_and_is_used_through_its_environment(directory: Path) -> None:
    # Through a shell that ends at once.
    command = f"{sys.executable} -m localcloud up --directory {directory}"
    started = subprocess.run(
        ["sh", "-c", command], cwd=ROOT, capture_output=True, text=True, check=True, timeout=60
    )
    running = LocalCloud.running(directory)
    assert running is not None
    assert running.endpoint_url in started.stdout
    assert started.stdout.endswith(f"Use it from a shell with: source {directory}/env\n")

    again = up("--directory", directory)
    assert again.returncode == 0
    assert f"already running at {running.endpoint_url}" in again.stdout

    sourced = subprocess.run(
        ["sh", "-c", f'. "{directory}/env"; env'],
        env={"PATH": os.environ["PATH"], "AWS_PROFILE": "mine", "AWS_SESSION_TOKEN": "mine"},
        capture_output=True,
        text=True,
        check=True,
    )
    seen = dict(line.split("=", 1) for line in sourced.stdout.splitlines())
    assert seen.items() >= running.environment.items()
    assert {name for name in seen if name.startswith("AWS_")} <= set(running.environment)

    assert stop_any(directory) is True
    assert processes(directory) == []
    assert left(directory) == LEFT_BEHIND
    assert stop_any(directory) is False


def test_an_occupied_port_is_named_with_its_option(directory: Path) -> None:
    with occupied() as taken:
        port = taken.getsockname()[1]
        refused = up("--port", str(port), "--directory", directory)
    assert refused.returncode == 1
    assert refused.stdout == ""
    assert refused.stderr == (
        f"Error: Port {port} cannot be used: Address already in use; choose another with --port.\n"
    )
    assert processes(directory) == []
    assert left(directory) == set()


def test_a_given_port_is_the_one_used(directory: Path) -> None:
    with occupied() as probe:
        port = probe.getsockname()[1]
    assert up("--port", str(port), "--directory", directory).returncode == 0
    running = LocalCloud.running(directory)
    assert running is not None
    assert running.endpoint_url.endswith(f":{port}")


@pytest.mark.parametrize(
    ("number", "delay"),
    [
        (signal.SIGINT, 0),
        (signal.SIGINT, 0.005),
        (signal.SIGINT, 0.02),
        (signal.SIGINT, 0.08),
        (signal.SIGTERM, 0),
        (signal.SIGHUP, 0),
    ],
)
def test_interrupting_up_leaves_nothing(directory: Path, number: signal.Signals, delay: float) -> None:
    starting = subprocess.Popen(
        [sys.executable, "-m", "localcloud", "up", "--directory", str(directory)],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        # A shell's background jobs ignore interrupts, and so would their children.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    with starting:
        wait_until((directory / "ministack.log").exists)
        time.sleep(delay)
        starting.send_signal(number)
        out, err = starting.communicate(timeout=30)
    assert (starting.returncode, out, err) == (130, "", "Interrupted; nothing is left running.\n")
    assert processes(directory) == []
    assert left(directory) <= LEFT_BEHIND


def test_a_second_start_in_the_same_directory_is_refused_with_what_stops_it(directory: Path) -> None:
    with LocalCloud.start(directory) as running:
        with pytest.raises(LocalCloudError) as refusal:
            LocalCloud.start(directory)
        assert str(refusal.value) == (
            f"A local cloud already runs at {running.endpoint_url}; stop it with `make local-down`."
        )
        assert LocalCloud.running(directory) is not None


def test_starting_over_ends_what_is_left_of_a_cloud_that_lost_its_server(directory: Path) -> None:
    half_dead = LocalCloud.start(directory)
    function = Function(half_dead, "import time\ndef handler(event, context): time.sleep(30)")
    function.begin()
    wait_until(lambda: len(processes(directory)) == 2)
    os.kill(half_dead.pid, signal.SIGKILL)
    wait_until(lambda: LocalCloud.running(directory) is None)
    with LocalCloud.start(directory) as running:
        half_dead.stop()
        assert {process.pid for process in processes(directory)} == {running.pid}


def test_every_cloud_of_a_checkout_is_stopped_wherever_it_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    elsewhere = LocalCloud.start(tmp_path / "elsewhere")
    # As another checkout would start them.
    monkeypatch.setattr(cloud, "RUNS_OF", str(tmp_path))
    directories = [tmp_path / "a", tmp_path / "b", tmp_path / "deep" / "c"]
    clouds = [LocalCloud.start(directory) for directory in directories]
    shutil.rmtree(directories[1])
    assert stop_all() == directories
    assert [processes(directory) for directory in directories] == [[], [], []]
    assert left(directories[0]) == LEFT_BEHIND
    assert stop_all() == []
    assert len(processes(tmp_path / "elsewhere")) == 1, "it is not of that checkout"
    for each in (elsewhere, *clouds):
        each.stop()


def test_a_cloud_ends_with_the_process_that_started_it(directory: Path) -> None:
    code = f"""
import os, signal
from pathlib import Path
from localcloud import LocalCloud
LocalCloud.start(Path({str(directory)!r}))
os.kill(os.getpid(), signal.SIGKILL)
"""
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=False, timeout=60)
    assert done.returncode == -signal.SIGKILL
    wait_until(lambda: processes(directory) == [])


SLOW_TEST = """
import time
from pathlib import Path
import pytest
from localcloud import LocalCloud
@pytest.mark.parametrize("name", ["one", "two"])
def test_that_takes_its_time(name):
    with LocalCloud.start(Path(__file__).parent / name):
        (Path(__file__).parent / f"{name}.up").touch()
        time.sleep(120)
"""


def test_a_test_run_that_is_terminated_leaves_nothing_running(tmp_path: Path) -> None:
    (tmp_path / "test_slow.py").write_text(SLOW_TEST)
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "--numprocesses", "2"]
    # As make does with what it runs, when it is terminated itself.
    with subprocess.Popen(
        [*command, str(tmp_path / "test_slow.py")],
        cwd=ROOT,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    ) as run_of_tests:
        try:
            workers = psutil.Process(run_of_tests.pid).children
            wait_until(lambda: all((tmp_path / f"{name}.up").exists() for name in ("one", "two")), 60)
            started = [*workers(recursive=True), *processes(tmp_path / "one"), *processes(tmp_path / "two")]
            assert len(started) >= 4, "two workers, and the server of each"
            run_of_tests.terminate()
            _, alive = psutil.wait_procs(started, timeout=30)
            assert alive == []
        finally:
            run_of_tests.kill()
            for name in ("one", "two"):
                stop_any(tmp_path / name)


def test_down_names_what_it_stops(monkeypatch: pytest.MonkeyPatch) -> None:
    answers = iter([[ROOT / "build" / "demo" / "localcloud"], []])
    monkeypatch.setattr("localcloud.__main__.stop_all", lambda: next(answers))
    printed = CliRunner().invoke(main, ["down"]).stdout
    assert printed == "The local cloud in build/demo/localcloud is stopped.\n"
    assert CliRunner().invoke(main, ["down"]).stdout == "No local cloud is running.\n"


def test_clean_makes_no_environment_first(tmp_path: Path) -> None:
    shutil.copy(ROOT / "Makefile", tmp_path)
    (tmp_path / "build").mkdir()
    done = subprocess.run(["make", "clean"], cwd=tmp_path, capture_output=True, text=True, check=True)
    assert (done.stdout, done.stderr) == ("", "")
    assert left(tmp_path) == {"Makefile"}


def test_of_two_starts_at_once_one_wins(directory: Path) -> None:
    results: list[object] = []

    def start() -> None:
        try:
            results.append(LocalCloud.start(directory))
        except LocalCloudError as error:
            results.append(error)

    threads = [threading.Thread(target=start) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    (winner,) = (each for each in results if isinstance(each, LocalCloud))
    assert len([each for each in results if isinstance(each, LocalCloudError)]) == 1
    assert len(processes(directory)) == 1
    winner.stop()


def test_clouds_in_two_directories_do_not_meet(tmp_path: Path) -> None:
    with LocalCloud.start(tmp_path / "a") as first, LocalCloud.start(tmp_path / "b") as second:
        client(first, "s3").create_bucket(Bucket="only-in-a")
        assert client(second, "s3").list_buckets()["Buckets"] == []
        second.stop()
        assert LocalCloud.running(tmp_path / "a") is not None


def test_a_stale_state_file_is_swept_away(directory: Path) -> None:
    with LocalCloud.start(directory):
        stale = (directory / "state.json").read_text()
    (directory / "state.json").write_text(stale)
    assert LocalCloud.running(directory) is None
    with LocalCloud.start(directory) as running:
        assert LocalCloud.running(directory) is not None
        assert running.pid != json.loads(stale)["pid"]


def test_a_reused_process_id_is_not_taken_for_the_cloud(directory: Path) -> None:
    with LocalCloud.start(directory):
        state = json.loads((directory / "state.json").read_text())
    with subprocess.Popen(["sleep", "60"], start_new_session=True) as stranger:
        state["pid"] = stranger.pid
        (directory / "state.json").write_text(json.dumps(state))
        assert LocalCloud.running(directory) is None
        assert stop_any(directory) is False
        assert stranger.poll() is None
        stranger.kill()
    assert left(directory) == LEFT_BEHIND


@pytest.mark.parametrize("text", ["", "{", "[]", "{}", '{"endpoint_url": "", "pid": "x"}'])
def test_a_damaged_state_file_counts_as_no_local_cloud(directory: Path, text: str) -> None:
    directory.mkdir()
    (directory / "state.json").write_text(text)
    assert LocalCloud.running(directory) is None
    assert stop_any(directory) is False
    assert left(directory) == set()


def test_the_users_own_environment_reaches_neither_server_nor_functions_nor_clients(
    directory: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "home" / ".aws").mkdir(parents=True)
    accelerated = "[default]\ns3 =\n  use_accelerate_endpoint = true\nregion = nowhere\n"
    (tmp_path / "home" / ".aws" / "config").write_text(accelerated)
    mine = {
        "AWS_PROFILE": "nope",
        "AWS_SESSION_TOKEN": "mine",
        "AWS_ENDPOINT_URL_S3": "http://127.0.0.1:1",
        "HOME": str(tmp_path / "home"),
        "HTTPS_PROXY": "http://127.0.0.1:1",
        "http_proxy": "http://127.0.0.1:1",
        **latin_1(tmp_path),
        "PYTHONPATH": str(ROOT),
        "TZ": "Asia/Kathmandu",
    }
    for name, value in mine.items():
        monkeypatch.setenv(name, value)
    source = """
import boto3
def handler(event, context):
    boto3.client("s3").put_object(Bucket="from-a-child", Key="ñ😀.jpg", Body="x")
    print("ñ😀")
    return open(__file__).encoding
"""
    with LocalCloud.start(directory) as running:
        child = environment_of_a_child(running)
        monkeypatch.undo()
        for process in processes(directory):
            assert not mine.items() & process.environ().items()
        assert {name: child[name] for name in child if name.startswith("AWS_")} == {
            name: value for name, value in running.environment.items() if name.startswith("AWS_")
        }
        assert child["PATH"] == os.environ["PATH"]
        code = "import boto3; boto3.client('s3').create_bucket(Bucket='from-a-child')"
        subprocess.run([sys.executable, "-c", code], env=child, check=True, timeout=60)
        function = Function(running, source)
        function.may("s3:*")
        assert function.call().lower() == "utf-8"


def test_it_runs_in_a_directory_with_odd_characters_and_without_a_home(tmp_path: Path) -> None:
    place = tmp_path / "a $HOME 'b' \"c\" ñ%20" / "cloud"
    bare = {"PATH": os.environ["PATH"]}
    try:
        assert up("--directory", place, env=bare).returncode == 0
        code = "import boto3; print(boto3.client('s3').list_buckets()['Buckets'])"
        command = '. "$1"; exec "$2" -c "$3"'
        shell = ["sh", "-c", command, "sh", str(place / "env"), sys.executable, code]
        found = subprocess.run(shell, env=bare, capture_output=True, text=True, check=False, timeout=60)
        assert (found.stdout, found.stderr) == ("[]\n", "")
    finally:
        assert stop_any(place)


# A user the system has no name for, as a container's: a real one where the kernel lets everybody be somebody
# else, and what Python makes of one anywhere.
UNKNOWN = ["unshare", "--user", "--map-user=54321", "--map-group=54321"]
NOBODY = """
import pwd
def unknown(uid): raise KeyError(f"getpwuid(): uid not found: {uid}")
pwd.getpwuid = unknown
"""


@pytest.mark.parametrize("how", ["kernel", "python"])
def test_it_and_the_verbs_run_for_a_user_without_a_name_or_a_home(how: str, tmp_path: Path) -> None:
    place, bare = tmp_path / "cloud", {"PATH": os.environ["PATH"]}
    prefix: list[str] = []
    if how == "kernel":
        allowed = shutil.which("unshare") and subprocess.run([*UNKNOWN, "true"], check=False).returncode == 0
        if not allowed:
            pytest.skip("this kernel lets nobody be somebody else")
        prefix = UNKNOWN
    else:
        (tmp_path / "sitecustomize.py").write_text(NOBODY)
        bare["PYTHONPATH"] = str(tmp_path)

    def ask(*arguments: str, **more: str) -> str:
        done = subprocess.run(
            [*prefix, sys.executable, *arguments],
            cwd=ROOT,
            env=bare | more,
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
        )
        assert "Traceback" not in done.stderr
        return done.stdout + done.stderr

    homeless = "import os; print(os.path.expanduser('~'))"
    assert ask("-c", homeless) == "~\n", "there is a home after all"
    try:
        assert "The local cloud runs at" in ask("-m", "localcloud", "up", "--directory", str(place))
        here = {"LOCALCLOUD_DIRECTORY": str(place)}
        assert "Nothing is deployed in ENV=local" in ask("-m", "operations", "status", **here)
        code = "from operations import terraform; terraform.process_environment(); print('made')"
        assert ask("-c", code) == "made\n"
        zipped = tmp_path / "process_image.zip"
        assert "bytes" in ask("tools/package.py", "functions/process_image", str(zipped))
        assert zipped.is_file()
    finally:
        assert stop_any(place)


def test_the_environment_leads_sdks_here(directory: Path) -> None:
    with LocalCloud.start(directory) as running:
        code = (
            "import boto3; boto3.client('s3').create_bucket(Bucket='from-a-child');"
            "print(len(boto3.client('rekognition').detect_faces("
            "Image={'Bytes': open('samples/two-portraits.jpg', 'rb').read()})['FaceDetails']))"
        )
        found = subprocess.run(
            [sys.executable, "-c", code],
            cwd=ROOT,
            env=environment_of_a_child(running),
            capture_output=True,
            text=True,
            check=False,
        )
        assert (found.stdout, found.stderr) == ("2\n", "")
        assert [each["Name"] for each in client(running, "s3").list_buckets()["Buckets"]] == ["from-a-child"]


def test_extra_environment_reaches_the_functions(directory: Path) -> None:
    source = (
        "import os\ndef handler(event, context): return [os.environ.get(n) for n in ('EXTRA', 'PYTHONPATH')]"
    )
    with LocalCloud.start(directory, extra_environment={"EXTRA": "here"}) as running:
        assert Function(running, source).call() == ["here", None]


def test_what_keeps_it_local_cannot_be_replaced(directory: Path) -> None:
    mine = dict.fromkeys(("AUTH", "AWS_ENDPOINT_URL", "IOT_MTLS_ENABLED", "TMPDIR", RUN_VARIABLE), "mine")
    with LocalCloud.start(directory, extra_environment=mine):
        (server,) = processes(directory)
        assert not mine.items() & server.environ().items()


def test_a_server_that_fails_to_start_is_reported_with_its_log(directory: Path) -> None:
    with pytest.raises(LocalCloudError, match=r"^The local cloud ended while starting; see .*\.log\.$"):
        LocalCloud.start(directory, extra_environment={"MINISTACK_DOCKER_TIMEOUT": "many"})
    assert "many" in (directory / "ministack.log").read_text()
    assert processes(directory) == []
    assert left(directory) == LEFT_BEHIND


def test_a_server_that_does_not_respond_is_abandoned(
    directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cloud, "START_SECONDS", 0.05)
    with pytest.raises(LocalCloudError, match="did not answer within"):
        LocalCloud.start(directory)
    assert processes(directory) == []


def test_a_directory_that_cannot_be_made_is_reported(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(LocalCloudError, match=r"cannot be used: .*; choose another directory"):
        LocalCloud.start(tmp_path / "file" / "cloud")
    refused = up("--directory", tmp_path / "file" / "cloud")
    assert refused.returncode != 0
    assert "Traceback" not in refused.stderr
