"""Running Terraform, interrupted and beside another; and what is said without running it at all."""

from __future__ import annotations

import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from rich.console import Console

from operations import terraform
from operations.terraform import Terraform, TerraformError

ROOT = Path(__file__).resolve().parents[2]

# It works until it is interrupted, then says more than a pipe holds, and saves last.
SLOW_TO_END = """\
#!PYTHON
import json, os, pathlib, signal, sys, time
interrupts = []
signal.signal(signal.SIGINT, lambda *_: interrupts.append(1))
leads = os.getsid(0) == os.getpid()
hook = {"action": "create", "elapsed_seconds": 1, "resource": {"addr": "terraform_data.word"}}
done = {"type": "apply_complete", "hook": hook, "leads_its_session": leads}
print(json.dumps(done), flush=True)
while not interrupts:
    time.sleep(0.01)
for _ in range(20_000):
    print(json.dumps({"type": "log", "@message": "stopping"}))
sys.stdout.flush()
pathlib.Path("saved").write_text(str(len(interrupts)))
"""
# It fails if another runs in the same cache meanwhile.
ALONE = """\
#!PYTHON
import os, pathlib, time
mark = pathlib.Path(os.environ["KEPT"], "in-use")
mark.touch(exist_ok=False)
time.sleep(0.3)
mark.unlink()
"""


def pretend(monkeypatch: pytest.MonkeyPatch, folder: Path, source: str) -> Terraform:
    stand_in = folder / "terraform"
    stand_in.write_text(source.replace("PYTHON", sys.executable))
    stand_in.chmod(0o755)
    monkeypatch.setattr(terraform, "executable", lambda: stand_in)
    return Terraform("dev", folder=folder)


def test_an_interrupted_terraform_ends_in_good_order_however_much_it_says(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    messages = pretend(monkeypatch, tmp_path, SLOW_TO_END).stream("apply")
    # Otherwise a Ctrl-C in the terminal would be its second interrupt.
    assert next(messages)["leads_its_session"]
    with pytest.raises(KeyboardInterrupt):
        messages.throw(KeyboardInterrupt())
    assert (tmp_path / "saved").read_text() == "1"


def test_a_terraform_whose_output_is_closed_ends_cleanly(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    messages = pretend(monkeypatch, tmp_path, SLOW_TO_END).stream("apply")
    next(messages)
    messages.close()
    assert (tmp_path / "saved").read_text() == "1"


def test_an_interrupt_while_something_is_printed_has_terraform_end_before_all_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Interrupting(Console):
        def print(self, *_: object, **__: object) -> None:
            raise KeyboardInterrupt

    messages = pretend(monkeypatch, tmp_path, SLOW_TO_END).stream("apply")
    with pytest.raises(KeyboardInterrupt):
        terraform.follow(messages, "Applying", Interrupting(quiet=True))
    assert (tmp_path / "saved").read_text() == "1"


def test_a_terminated_deployment_ends_as_ctrl_c_does() -> None:
    code = (
        "import os, signal, sys; from operations import __main__, deploy, program;"
        " deploy.checks.before = lambda *_: os.kill(os.getpid(), signal.SIGTERM);"
        " sys.argv[1:] = ['plan', '--env=dev']; program.run(__main__.main, 'operations')"
    )
    result = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert result.returncode == 143
    assert result.stderr == "Terminated; run it again to go on.\n"


INTERRUPTED = """
import os, signal, sys
if {ignored}: signal.signal(signal.SIGHUP, signal.SIG_IGN)
from operations.program import end_in_order
end_in_order()
try:
    os.kill(os.getpid(), {number})
    print("went on")
except KeyboardInterrupt:
    os.kill(os.getpid(), {number})
    print("in good order")
"""


@pytest.mark.parametrize(
    ("number", "ignored", "said"),
    [
        (signal.SIGTERM, False, "in good order"),
        (signal.SIGHUP, False, "in good order"),
        (signal.SIGHUP, True, "went on"),
    ],
    ids=["terminated", "hung up", "under nohup"],
)
def test_a_signal_ends_a_command_as_ctrl_c_does_and_once(
    number: signal.Signals, ignored: bool, said: str
) -> None:
    result = subprocess.run(
        [sys.executable, "-c", INTERRUPTED.format(number=int(number), ignored=ignored)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    assert result.stdout == f"{said}\n"


def test_of_two_inits_the_second_waits(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KEPT", str(tmp_path))
    runner = pretend(monkeypatch, tmp_path, ALONE)
    problems: list[str] = []

    def init() -> None:
        try:
            runner.init()
        except TerraformError as error:
            problems.append(str(error))

    threads = [threading.Thread(target=init) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert problems == []


@pytest.mark.parametrize(
    ("file", "said"),
    [
        ("main.tf", "log_retention_days must be one of them."),
        ("environments/dev.tfvars", "environments/dev.tfvars:7: log_retention_days must be one of them."),
    ],
)
def test_a_value_is_placed_where_people_wrote_it_or_nowhere(file: str, said: str) -> None:
    detail = (
        "log_retention_days must be one of them.\n\nThis was checked by the validation rule at main.tf:1."
    )
    problem = {"summary": "Invalid value for variable", "detail": detail}
    place = {"filename": file, "start": {"line": 7}}
    assert Terraform("dev").sentence({**problem, "range": place}) == said


def test_a_dollar_in_the_checkout_s_path_is_kept_from_the_backend_which_would_expand_it(
    tmp_path: Path,
) -> None:
    checkout = tmp_path / "a $HOME"
    bundle = checkout / "build" / "localcloud" / "ca.pem"
    for folder, expected in (
        (checkout, "build/localcloud/ca.pem"),
        (checkout / "bootstrap", "../build/localcloud/ca.pem"),
    ):
        made = Terraform("local", folder=folder, variables={"AWS_CA_BUNDLE": str(bundle)})
        assert made.variables["AWS_CA_BUNDLE"] == expected
    plain = Terraform("local", variables={"AWS_CA_BUNDLE": "/etc/ca.pem"})
    assert plain.variables["AWS_CA_BUNDLE"] == "/etc/ca.pem"
