"""Run Terraform for one environment: its own working directory, its credentials, its provider mirror."""

from __future__ import annotations

import contextlib
import json
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from operations import providers
from operations.errors import UserError
from operations.program import ROOT

if TYPE_CHECKING:
    from collections.abc import Generator, Mapping, Sequence

    from rich.console import Console

# What the modules need: check blocks, optional attributes and S3's own lock files.
_OLDEST = (1, 10)
_DONE = {"create": "created", "delete": "destroyed", "update": "changed"}


@dataclass(frozen=True)
class Diagnostic:
    """One error or warning as ``terraform ... -json`` reports it.

    Attributes:
        where: ``file:line`` of what it is about, or empty.
    """

    severity: str
    summary: str
    detail: str
    where: str

    def __str__(self) -> str:
        # The rule's own place says nothing to somebody who edits a tfvars file.
        detail = re.sub(r"\s*This was checked by the validation rule at .*", "", self.detail, flags=re.DOTALL)
        detail = " ".join(detail.split())
        if self.summary == "Invalid value for variable" and detail:
            # So does the place where the wiring hands it on.
            own = self.where.rpartition(":")[0].endswith(".tfvars")
            return f"{self.where}: {detail}" if own else detail
        summary = " ".join(self.summary.split())
        text = f"{summary}: {detail}" if detail else summary
        return f"{self.where}: {text}" if self.where else text


class TerraformError(UserError):
    """Terraform cannot do what was asked; the message is for people, one sentence a problem.

    Attributes:
        diagnostics: Terraform's own errors, where it gave any.
    """

    def __init__(self, message: str, diagnostics: Sequence[Diagnostic] = ()) -> None:
        super().__init__(message)
        self.diagnostics = tuple(diagnostics)


class Terraform:
    """Terraform in one folder for one environment.

    Args:
        environment: name of the environment; it picks the working directory ``.terraform/<environment>``.
        folder: the root module.
        variables: process environment to add, such as the local cloud's endpoints; None takes one away.
        data_dir: another working directory.
    """

    def __init__(
        self,
        environment: str,
        *,
        folder: Path = ROOT,
        variables: Mapping[str, str | None] | None = None,
        data_dir: Path | None = None,
    ) -> None:
        self.environment = environment
        self.folder = folder
        self.data_dir = data_dir or folder / ".terraform" / environment
        merged = {
            **providers.process_environment(folder),
            **(variables or {}),
            "TF_DATA_DIR": str(self.data_dir),
        }
        self.variables = {name: value for name, value in merged.items() if value is not None}

    def command(self, *arguments: str) -> list[str]:
        """Return the command line.

        Raises:
            TerraformError: Terraform cannot be had.
        """
        return [str(executable()), *arguments]

    def run(self, *arguments: str) -> str:
        """Run Terraform quietly and return its standard output.

        Raises:
            TerraformError: it failed; the message is what it wrote to standard error.
        """
        result = subprocess.run(
            self.command(*arguments),
            cwd=self.folder,
            env=self.variables,
            capture_output=True,
            text=True,
            check=False,
        )
        if result.returncode:
            raise TerraformError(result.stderr.strip() or result.stdout.strip())
        return result.stdout

    def stream(self, *arguments: str) -> Generator[dict[str, Any], None, None]:
        """Run a command that knows ``-json`` and yield its messages as they come.

        Interrupted or closed early, it has Terraform end in good order, and waits for that.

        Raises:
            TerraformError: it failed, after its last message; one sentence a diagnostic.
        """
        command = self.command(arguments[0], "-json", *arguments[1:])
        diagnostics: list[Diagnostic] = []
        noise: list[str] = []
        with subprocess.Popen(
            command,
            cwd=self.folder,
            env=self.variables,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            # Out of reach of Ctrl-C and of the terminal's hang-up: with ours, they would be a second signal,
            # upon which Terraform drops everything.
            start_new_session=True,
        ) as process:
            assert process.stdout
            try:
                for line in process.stdout:
                    try:
                        message: dict[str, Any] = json.loads(line)
                    except ValueError:
                        noise.append(line.strip())
                        continue
                    if message.get("type") == "diagnostic":
                        diagnostics.append(_diagnostic(message["diagnostic"]))
                    yield message
            except (KeyboardInterrupt, GeneratorExit):
                _end(process)
                raise
        if process.returncode:
            errors = [diagnostic for diagnostic in diagnostics if diagnostic.severity == "error"]
            lines = dict.fromkeys(map(self._sentence, errors)) or filter(None, noise)
            raise TerraformError("\n".join(lines) or f"Terraform ended with {process.returncode}.", errors)

    def _sentence(self, problem: Diagnostic) -> str:
        if problem.summary != "Error acquiring the state lock":
            return str(problem)
        found = dict(re.findall(r"^\s*(ID|Who|Created):\s*(.+?)\s*$", problem.detail, re.MULTILINE))
        if not found:
            return str(problem)
        folder = shlex.quote(os.path.relpath(self.data_dir, self.folder))
        return (
            f"The state of ENV={self.environment} is locked by {found.get('Who', 'somebody')} since"
            f" {found.get('Created', 'some time')}; wait until they are done, or if nobody is, release it"
            f" with 'TF_DATA_DIR={folder} terraform force-unlock {found.get('ID', '')}'."
        )

    def init(self, *arguments: str) -> None:
        """Prepare the working directory, changing neither the state's place nor the lock file.

        Raises:
            TerraformError: it failed.
        """
        with providers.alone(self.variables.get("TF_PLUGIN_CACHE_DIR")):
            for _ in self.stream("init", "-input=false", "-reconfigure", "-lockfile=readonly", *arguments):
                pass

    def output(self) -> dict[str, Any]:
        """Return the outputs' values by name; empty when nothing is deployed.

        Raises:
            TerraformError: the state cannot be read.
        """
        outputs = json.loads(self.run("output", "-json", "-no-color"))
        return {name: output["value"] for name, output in outputs.items()}


@cache
def executable() -> Path:
    """The terraform beside this Python, where `make setup` puts one, or that on PATH.

    Raises:
        TerraformError: there is none, or it is older than 1.10.
    """
    places = (os.fspath(Path(sys.executable).parent), os.environ.get("PATH", os.defpath))
    found = next(filter(None, (shutil.which("terraform", path=place) for place in places)), None)
    if found is None:
        raise TerraformError(
            "There is no terraform on PATH; install Terraform 1.10 or newer, or run 'make setup'."
        )
    said = subprocess.run([found, "version", "-json"], capture_output=True, text=True, check=False).stdout
    # A warning about the CLI configuration may come first.
    version = json.loads(said[said.index("{") :])["terraform_version"] if "{" in said else "0.0"
    if tuple(map(int, version.split(".")[:2])) < _OLDEST:
        raise TerraformError(f"{found} is Terraform {version}; install 1.10 or newer, or run 'make setup'.")
    return Path(found)


def _end(process: subprocess.Popen[str]) -> None:
    """Interrupt Terraform and wait until it has saved its state.

    Each further interrupt goes to it as well; it takes the second for leave to drop everything.
    """
    assert process.stdout
    while True:
        try:
            process.send_signal(signal.SIGINT)
            # It would wait for ever to write into a full pipe.
            for _ in process.stdout:
                pass
            process.wait()
        except KeyboardInterrupt:
            continue
        return


def _diagnostic(message: Mapping[str, Any]) -> Diagnostic:
    place = message.get("range") or {}
    where = f"{place['filename']}:{place['start']['line']}" if place.get("filename") else ""
    return Diagnostic(message["severity"], message["summary"], message.get("detail", ""), where)


def follow(messages: Generator[dict[str, Any], None, None], title: str, console: Console) -> None:
    """Show what Terraform does: a line for each thing done, and what it waits for while it does."""
    pending: dict[str, None] = {}
    # An interrupt while something is printed must end Terraform in good order too, before all else.
    with console.status(title) as status, contextlib.closing(messages):
        for message in messages:
            hook = message.get("hook", {})
            address = hook.get("resource", {}).get("addr", "")
            match message.get("type"):
                case "apply_start":
                    pending[address] = None
                case "apply_complete" if hook.get("action") != "read":
                    pending.pop(address, None)
                    seconds = hook.get("elapsed_seconds", 0)
                    done = _DONE.get(hook.get("action", ""), "done")
                    console.print(f"  {done:9} {address} ({seconds:.0f} s)", highlight=False, markup=False)
                case "apply_complete" | "apply_errored":
                    pending.pop(address, None)
                case "diagnostic" if message["diagnostic"]["severity"] == "warning":
                    summary = message["diagnostic"]["summary"]
                    console.print(f"  warning: {summary}", style="yellow", highlight=False, markup=False)
            if pending:
                waiting = next(iter(pending)).removeprefix("module.")
                more = f" and {len(pending) - 1} more" if len(pending) > 1 else ""
                status.update(f"{title}: {waiting}{more}")
