"""Run Terraform for one environment, with its own working directory, credentials and providers."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from operations.errors import UserError
from operations.program import ROOT

if TYPE_CHECKING:
    from collections.abc import Generator, Mapping

    from rich.console import Console

# Where packages install providers: Filesystem Hierarchy Standard 3.13.
ADD_ONS = Path("/opt")
_LOCKED = re.compile(r'^provider "([^"]+)" \{\s*version\s*=\s*"([^"]+)"', re.MULTILINE)
_HOLDER = re.compile(r"^\s*(ID|Who|Created):\s*(.+?)\s*$", re.MULTILINE)
_DONE = {"create": "created", "delete": "destroyed", "update": "changed"}


class TerraformError(UserError):
    """A Terraform command failed; the message is for users, one sentence for each problem."""


class Terraform:
    """Terraform for the root module in one folder and one environment, which determines its data directory.

    Failures raise TerraformError. `variables`, such as the local cloud's endpoint, are added to the process
    environment; None removes one.
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
        merged = {**process_environment(), **(variables or {}), "TF_DATA_DIR": str(self.data_dir)}
        self.variables = {name: value for name, value in merged.items() if value is not None}
        if "$" in (bundle := self.variables.get("AWS_CA_BUNDLE", "")):
            # The S3 backend, unlike the provider, expands dollars in the path, and they cannot be escaped.
            self.variables["AWS_CA_BUNDLE"] = os.path.relpath(bundle, folder)

    @property
    def typed(self) -> str:
        """The start of a command line that runs this environment's Terraform in its folder."""
        return f"TF_DATA_DIR={shlex.quote(os.path.relpath(self.data_dir, self.folder))} terraform"

    def run(self, *arguments: str) -> str:
        """Run Terraform quietly and return its standard output; errors carry its standard error."""
        result = subprocess.run(
            [executable(), *arguments],
            cwd=self.folder,
            env=self.variables,
            capture_output=True,
            # Terraform writes UTF-8 in any locale.
            encoding="utf-8",
            errors="replace",
            check=False,
        )
        if result.returncode:
            raise TerraformError(result.stderr.strip() or result.stdout.strip())
        return result.stdout

    def show(self, plan_file: Path) -> dict[str, Any]:
        """Return a saved plan as Terraform shows it as JSON."""
        shown: dict[str, Any] = json.loads(self.run("show", "-json", str(plan_file)))
        return shown

    def stream(self, *arguments: str) -> Generator[dict[str, Any], None, None]:
        """Run a command with ``-json`` and yield its messages as they arrive, then raise its errors.

        When interrupted or closed early, it interrupts Terraform and waits for its clean end.
        """
        errors: list[str] = []
        noise: list[str] = []
        with subprocess.Popen(
            [executable(), arguments[0], "-json", *arguments[1:]],
            cwd=self.folder,
            env=self.variables,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            encoding="utf-8",
            errors="replace",
            # Keeps the terminal's SIGINT and SIGHUP away: besides ours, they would be a second signal, at
            # which Terraform aborts at once.
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
                    if message.get("type") == "diagnostic" and message["diagnostic"]["severity"] == "error":
                        errors.append(self.sentence(message["diagnostic"]))
                    yield message
            except (KeyboardInterrupt, GeneratorExit):
                _end(process)
                raise
        if process.returncode:
            lines = dict.fromkeys(errors) or filter(None, noise)
            raise TerraformError("\n".join(lines) or f"Terraform ended with {process.returncode}.")

    def sentence(self, problem: Mapping[str, Any]) -> str:
        """The message for a problem, given as ``terraform ... -json`` reports it."""
        found = dict(_HOLDER.findall(problem.get("detail", "")))
        if problem["summary"] == "Error acquiring the state lock" and len(found) == 3:
            return (
                f"The state of ENV={self.environment} is locked by {found['Who']} since {found['Created']};"
                " wait until they are done, or if nobody is, release it with"
                f" '{self.typed} force-unlock {found['ID']}'."
            )
        summary, detail = (" ".join(problem.get(name, "").split()) for name in ("summary", "detail"))
        file = (problem.get("range") or {}).get("filename", "")
        where = f"{file}:{problem['range']['start']['line']}: " if file else ""
        if summary == "Invalid value for variable" and detail:
            # The location of the rule does not help someone who edits a tfvars file.
            detail = detail.partition(" This was checked by the validation rule at ")[0]
            return f"{where}{detail}" if file.endswith(".tfvars") else detail
        return f"{where}{summary}: {detail}" if detail else f"{where}{summary}"

    def init(self, *arguments: str) -> None:
        """Prepare the working directory without moving the state or changing the lock file.

        Providers come from the mirror in TF_PLUGIN_MIRROR or below /opt, if it has them. Otherwise downloads
        are cached for all working directories: AWS's provider takes 675 MB. If the user has configured
        Terraform, neither applies.
        """
        command = ["init", "-input=false", "-reconfigure", "-lockfile=readonly", *arguments]
        kept = ROOT / "build" / "plugins"
        kept.mkdir(parents=True, exist_ok=True)
        if not _configuration().is_file():
            if mirror := find_mirror(self.folder):
                command.append(f"-plugin-dir={mirror}")
            else:
                self.variables.setdefault("TF_PLUGIN_CACHE_DIR", str(kept))
        # The cache is not safe for concurrent use: https://github.com/hashicorp/terraform/issues/31964
        with kept.with_suffix(".lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            for _ in self.stream(*command):
                pass


def _configuration() -> Path:
    """The path of the user's own Terraform configuration."""
    return Path(os.environ.get("TF_CLI_CONFIG_FILE") or f"{os.environ.get('HOME', '')}/.terraformrc")


def process_environment() -> dict[str, str]:
    """Return the environment variables for Terraform, which must not prompt."""
    variables = os.environ | {"TF_IN_AUTOMATION": "1", "TF_INPUT": "0", "CHECKPOINT_DISABLE": "1"}
    if not _configuration().is_file():
        # Terraform would warn about the missing file on every command.
        variables.pop("TF_CLI_CONFIG_FILE", None)
    return variables


def locked_providers(folder: Path = ROOT) -> dict[str, str]:
    """Return the versions of the providers in the lock file of `folder`, by source address."""
    lock = folder / ".terraform.lock.hcl"
    return dict(_LOCKED.findall(lock.read_text("utf-8") if lock.is_file() else ""))


def find_mirror(folder: Path = ROOT) -> Path | None:
    """The mirror in TF_PLUGIN_MIRROR, or one below /opt, that has all providers of `folder`'s lock file."""
    wanted = locked_providers(folder).items()
    named = [Path(os.environ["TF_PLUGIN_MIRROR"])] if os.environ.get("TF_PLUGIN_MIRROR") else []
    places = [*named, *(path.parent for path in sorted(ADD_ONS.glob("*/registry.terraform.io")))]
    # Unpacked, it is a folder named after the version; packed, a zip with the version in its name.
    held = (at for at in places if all(any(at.glob(f"{name}/*{version}*")) for name, version in wanted))
    return next(held, None) if wanted else None


@cache
def executable() -> Path:
    """The terraform beside this Python, where `make setup` installs it, or the one on PATH.

    Raises TerraformError if there is none, or it is older than 1.10, which reports a failed init in JSON.
    """
    path = os.environ.get("PATH", os.defpath)
    found = shutil.which("terraform", path=f"{Path(sys.executable).parent}{os.pathsep}{path}")
    if found is None:
        raise TerraformError(
            "There is no terraform on PATH; install Terraform 1.10 or newer, or run 'make setup'."
        )
    output = subprocess.run([found, "version", "-json"], capture_output=True, text=True, check=True).stdout
    version = json.loads(output)["terraform_version"]
    if tuple(map(int, version.split(".")[:2])) < (1, 10):
        raise TerraformError(f"{found} is Terraform {version}; install 1.10 or newer, or run 'make setup'.")
    return Path(found)


def _end(process: subprocess.Popen[str]) -> None:
    """Interrupt Terraform and wait until it has saved its state.

    Each further interrupt is passed on too; at the second one, Terraform aborts at once.
    """
    assert process.stdout
    while True:
        try:
            process.send_signal(signal.SIGINT)
            # Drain the pipe: Terraform would block for ever if it were full.
            for _ in process.stdout:
                pass
            process.wait()
        except KeyboardInterrupt:
            continue
        return


def follow(messages: Generator[dict[str, Any], None, None], title: str, console: Console) -> None:
    """Show Terraform's progress: a line for each completed change, and a status line for the current one."""
    # `closing`, so that an interrupt while printing also ends Terraform cleanly.
    with console.status(title) as status, contextlib.closing(messages):
        for message in messages:
            hook = message.get("hook", {})
            match message.get("type"):
                case "apply_start" | "apply_progress":
                    status.update(f"{title}: {message['@message']}")
                case "apply_complete" if hook["action"] != "read":
                    done = _DONE.get(hook["action"], "done")
                    console.out(f"  {done:9} {hook['resource']['addr']} ({hook['elapsed_seconds']:.0f} s)")
                case "diagnostic" if message["diagnostic"]["severity"] == "warning":
                    console.out(f"  warning: {message['diagnostic']['summary']}", style="yellow")
