"""Run Terraform for one environment: its own working directory, its credentials, its provider mirror."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import platform
import re
import shutil
import signal
import subprocess
import sys
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from operations.errors import UserError
from operations.program import ROOT

if TYPE_CHECKING:
    from collections.abc import Generator, Iterator, Mapping, Sequence

_LOCKED = re.compile(r'^provider "(?P<source>[^"]+)" \{\s*version\s*=\s*"(?P<version>[^"]+)"', re.MULTILINE)
# What the modules need: check blocks, optional attributes and S3's own lock files.
_OLDEST = (1, 10)
_PROCESSORS = {"x86_64": "amd64", "aarch64": "arm64"}


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
        merged = {**process_environment(folder), **(variables or {}), "TF_DATA_DIR": str(self.data_dir)}
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
            lines = dict.fromkeys(map(str, errors)) or filter(None, noise)
            raise TerraformError("\n".join(lines) or f"Terraform ended with {process.returncode}.", errors)

    def init(self, *arguments: str) -> None:
        """Prepare the working directory, changing neither the state's place nor the lock file.

        Raises:
            TerraformError: it failed.
        """
        with _alone(self.variables.get("TF_PLUGIN_CACHE_DIR")):
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


def process_environment(folder: Path = ROOT) -> dict[str, str]:
    """Return the process environment a Terraform command runs with in `folder`.

    Where a filesystem mirror holds the providers of its lock file, a CLI configuration in ``build/`` says so;
    otherwise Terraform's own configuration stands, and it keeps what it unpacks in the user's cache: AWS's
    provider takes 675 MB, and every environment has a working directory of its own.

    Raises:
        TerraformError: TF_PLUGIN_MIRROR names a folder that does not hold the providers.
    """
    variables = dict(os.environ)
    variables |= {"TF_IN_AUTOMATION": "1", "TF_INPUT": "0", "CHECKPOINT_DISABLE": "1"}
    named = variables.get("TF_CLI_CONFIG_FILE")
    if named and not Path(named).is_file():
        # Terraform would warn about it on every command.
        del variables["TF_CLI_CONFIG_FILE"]
    own = Path(variables.get("TF_CLI_CONFIG_FILE") or Path.home() / ".terraformrc")
    providers = locked_providers(folder)
    mirror = find_mirror(providers, variables, configured=own.is_file())
    if mirror:
        variables["TF_CLI_CONFIG_FILE"] = str(_write_configuration(mirror, providers))
    elif providers and not own.is_file() and "TF_PLUGIN_CACHE_DIR" not in variables:
        home = os.environ.get("XDG_CACHE_HOME")
        cached = (Path(home) if home else Path.home() / ".cache") / "photo-analysis" / "plugins"
        # Where there is no writing into a home, every working directory has its own copy.
        with contextlib.suppress(OSError):
            # Terraform takes none that does not exist.
            cached.mkdir(parents=True, exist_ok=True)
            variables["TF_PLUGIN_CACHE_DIR"] = str(cached)
    return variables


def find_mirror(
    providers: Mapping[str, str], variables: Mapping[str, str], *, configured: bool = False
) -> Path | None:
    """Return the folder of a filesystem mirror that holds all of `providers`, if there is one.

    TF_PLUGIN_MIRROR names it; otherwise, where Terraform is not `configured` by its user, one that an add-on
    package has below /opt (Filesystem Hierarchy Standard 3.13) is taken.

    Raises:
        TerraformError: TF_PLUGIN_MIRROR names a folder that does not hold them.
    """
    if not providers:
        return None
    named = variables.get("TF_PLUGIN_MIRROR")
    if named:
        mirror = Path(named).expanduser()
        if not _holds(mirror, providers):
            wanted = ", ".join(f"{source} {version}" for source, version in providers.items())
            raise TerraformError(f"TF_PLUGIN_MIRROR={named} does not hold {wanted}; correct or unset it.")
        return mirror
    if configured:
        return None
    found = (path.parent for path in sorted(Path("/opt").glob("*/registry.terraform.io")))
    return next((folder for folder in found if _holds(folder, providers)), None)


def locked_providers(folder: Path = ROOT) -> dict[str, str]:
    """Return the version of each provider in the lock file of `folder` by its source address."""
    lock = folder / ".terraform.lock.hcl"
    text = lock.read_text(encoding="utf-8") if lock.is_file() else ""
    return {match["source"]: match["version"] for match in _LOCKED.finditer(text)}


@contextlib.contextmanager
def _alone(cache: str | None) -> Iterator[None]:
    """Let one ``terraform init`` at a time use a plugin cache.

    Two that unpack into it at once spoil it: https://github.com/hashicorp/terraform/issues/31964
    """
    if not cache or not Path(cache).is_dir():
        yield
        return
    # The lock is the folder, so no lock file is left.
    descriptor = os.open(cache, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def _holds(mirror: Path, providers: Mapping[str, str]) -> bool:
    """Whether a mirror has `providers` for this platform, unpacked or packed."""
    system, processor = platform.system().lower(), platform.machine().lower()
    target = f"{system}_{_PROCESSORS.get(processor, processor)}"
    return all(
        (mirror / source / version / target).is_dir()
        or (
            mirror / source / f"terraform-provider-{source.rpartition('/')[2]}_{version}_{target}.zip"
        ).is_file()
        for source, version in providers.items()
    )


def _write_configuration(mirror: Path, providers: Mapping[str, str]) -> Path:
    sources = json.dumps(sorted(providers))
    text = f"""\
provider_installation {{
  filesystem_mirror {{
    path    = {json.dumps(str(mirror.resolve()))}
    include = {sources}
  }}
  direct {{
    exclude = {sources}
  }}
}}
"""
    target = ROOT / "build" / "terraform.rc"
    if not (target.is_file() and target.read_text(encoding="utf-8") == text):
        target.parent.mkdir(exist_ok=True)
        draft = target.with_suffix(f".{os.getpid()}")
        draft.write_text(text, encoding="utf-8")
        draft.replace(target)
    return target
