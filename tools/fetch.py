"""Find the pinned command-line tools, fetching them into the user's cache where they are missing.

A tool is looked for on PATH, then in the cache (``$XDG_CACHE_HOME/photo-analysis/bin``), then among its
publisher's releases. A download counts only when its SHA-256 is the one in the release's own list of
checksums, which comes over TLS from the same publisher. TERRAFORM_RELEASES_URL, TFLINT_RELEASES_URL and
ACTIONLINT_RELEASES_URL name a mirror of the releases.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
import platform
import re
import shutil
import subprocess
import sys
import tarfile
import tempfile
import urllib.error
import urllib.request
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from collections.abc import Callable

TERRAFORM_VERSION = "1.11.4"
# The S3 backend locks without a DynamoDB table from here on.
TERRAFORM_OLDEST = (1, 10, 0)
TFLINT_VERSION = "0.64.0"
ACTIONLINT_VERSION = "1.7.12"

_SECONDS = 60.0
_SYSTEMS = {"Linux": "linux", "Darwin": "darwin", "Windows": "windows"}
_MACHINES = {"x86_64": "amd64", "amd64": "amd64", "aarch64": "arm64", "arm64": "arm64"}
_EXECUTABLE_SUFFIX = ".exe" if os.name == "nt" else ""

Version = tuple[int, int, int]


class FetchError(Exception):
    """A tool cannot be had; the message is one sentence for people."""


@dataclass(frozen=True)
class Release:
    """Where one version of a tool is published.

    Attributes:
        archive: URL of the zip or .tar.gz that holds the executable, named `tool`, for this machine.
        checksums: URL of the list of SHA-256 sums, one ``<sum>  <file>`` a line.
    """

    tool: str
    version: str
    archive: str
    checksums: str


def cache_folder() -> Path:
    """Return the user's cache folder for this project (it may not exist yet)."""
    base = os.environ.get("XDG_CACHE_HOME")
    return (Path(base) if base else Path.home() / ".cache") / "photo-analysis"


def machine() -> str:
    """Return this machine's platform as Go names it, such as ``linux_amd64``.

    Raises:
        FetchError: there are no releases for it.
    """
    system, processor = platform.system(), platform.machine()
    try:
        return f"{_SYSTEMS[system]}_{_MACHINES[processor.lower()]}"
    except KeyError:
        raise FetchError(f"No release runs on {system} on {processor}; install it on PATH.") from None


def terraform() -> Path:
    """Return the path of a Terraform that can run this project.

    Raises:
        FetchError: there is none on PATH that is new enough, and none can be fetched.
    """
    found = shutil.which("terraform")
    version = _terraform_version(Path(found)) if found else None
    if found and version and version >= TERRAFORM_OLDEST:
        return Path(found)
    cached = _cached("terraform", TERRAFORM_VERSION)
    if cached.is_file():
        return cached
    base = os.environ.get("TERRAFORM_RELEASES_URL", "https://releases.hashicorp.com/terraform")
    stem = f"{base}/{TERRAFORM_VERSION}/terraform_{TERRAFORM_VERSION}"
    release = Release("terraform", TERRAFORM_VERSION, f"{stem}_{machine()}.zip", f"{stem}_SHA256SUMS")
    try:
        return _install(release, cached)
    except FetchError as error:
        oldest = ".".join(map(str, TERRAFORM_OLDEST[:2]))
        if found:
            state = (
                f"The terraform on PATH is {_dotted(version)}, and {TERRAFORM_VERSION} could not be fetched"
            )
        else:
            state = f"There is no terraform on PATH, and {TERRAFORM_VERSION} could not be fetched"
        raise FetchError(f"{state} ({error}); install Terraform {oldest} or newer.") from error


def tflint() -> Path:
    """Return the path of the pinned tflint; failing that, of the one on PATH.

    Raises:
        FetchError: there is none on PATH, and it can neither be fetched nor built.
    """
    base = os.environ.get(
        "TFLINT_RELEASES_URL", "https://github.com/terraform-linters/tflint/releases/download"
    )
    stem = f"{base}/v{TFLINT_VERSION}"
    return _pinned(
        Release("tflint", TFLINT_VERSION, f"{stem}/tflint_{machine()}.zip", f"{stem}/checksums.txt"),
        "github.com/terraform-linters/tflint",
    )


def actionlint() -> Path:
    """Return the path of the pinned actionlint; failing that, of the one on PATH.

    Raises:
        FetchError: there is none on PATH, and it can neither be fetched nor built.
    """
    base = os.environ.get("ACTIONLINT_RELEASES_URL", "https://github.com/rhysd/actionlint/releases/download")
    stem = f"{base}/v{ACTIONLINT_VERSION}/actionlint_{ACTIONLINT_VERSION}"
    packed = "zip" if machine().startswith("windows") else "tar.gz"
    return _pinned(
        Release("actionlint", ACTIONLINT_VERSION, f"{stem}_{machine()}.{packed}", f"{stem}_checksums.txt"),
        "github.com/rhysd/actionlint/cmd/actionlint",
    )


def _pinned(release: Release, module: str) -> Path:
    """Return the tool of `release`, built from the Go `module` where the release cannot be fetched."""
    tool, wanted = release.tool, release.version
    found = shutil.which(tool)
    version = _version(_output(Path(found), "--version")) if found else None
    if found and _dotted(version) == wanted:
        return Path(found)
    cached = _cached(tool, wanted)
    if cached.is_file():
        return cached
    try:
        return _install(release, cached)
    except FetchError as download_error:
        try:
            return _go_install(f"{module}@v{wanted}", cached)
        except FetchError as build_error:
            if found and version:
                _say(f"Using {tool} {_dotted(version)} from PATH: {wanted} cannot be had.")
                return Path(found)
            raise FetchError(
                f"There is no {tool} on PATH, and {wanted} could neither be fetched"
                f" ({download_error}) nor built ({build_error}); install {tool} or Go."
            ) from download_error


def _cached(tool: str, version: str) -> Path:
    return cache_folder() / "bin" / f"{tool}-{version}" / f"{tool}{_EXECUTABLE_SUFFIX}"


def _say(text: str) -> None:
    click.echo(text, err=True)


def _dotted(version: Version | None) -> str:
    return ".".join(map(str, version)) if version else "of an unknown version"


def _terraform_version(path: Path) -> Version | None:
    text = _output(path, "version", "-json")
    try:
        # A warning about the CLI configuration may come first.
        return _version(json.loads(text[text.index("{") :])["terraform_version"])
    except (ValueError, KeyError):
        return None


def _version(text: str) -> Version | None:
    match = re.search(r"(\d+)\.(\d+)\.(\d+)", text)
    return (int(match[1]), int(match[2]), int(match[3])) if match else None


def _output(path: Path, *arguments: str) -> str:
    try:
        # Neither tool should look for a newer version of itself meanwhile.
        environment = os.environ | {"CHECKPOINT_DISABLE": "1", "TFLINT_DISABLE_VERSION_CHECK": "1"}
        return subprocess.run(
            [path, *arguments], capture_output=True, text=True, timeout=30, check=False, env=environment
        ).stdout
    except (OSError, subprocess.TimeoutExpired):
        return ""


def _install(release: Release, target: Path) -> Path:
    _say(f"Fetching {release.tool} {release.version}")
    name = release.archive.rpartition("/")[2]
    sums = {
        file.lstrip("*"): digest
        for digest, _, file in (
            line.partition("  ") for line in _download(release.checksums).decode().splitlines()
        )
    }
    if name not in sums:
        raise FetchError(f"{release.checksums} does not list {name}")
    content = _download(release.archive)
    if hashlib.sha256(content).hexdigest() != sums[name].lower():
        raise FetchError(f"the checksum of {release.archive} is wrong")
    executable = _unpack(release.archive, content, target.name)
    _place(target, lambda draft: draft.write_bytes(executable))
    return target


def _unpack(url: str, content: bytes, name: str) -> bytes:
    packed = "zip" if url.endswith(".zip") else "tar.gz"
    try:
        if packed == "zip":
            with zipfile.ZipFile(io.BytesIO(content)) as zipped:
                return zipped.read(name)
        with tarfile.open(fileobj=io.BytesIO(content), mode="r:gz") as archive:
            member = archive.extractfile(name)
            if member is None:
                raise KeyError(name)
            return member.read()
    except (KeyError, OSError, EOFError, tarfile.TarError, zipfile.BadZipFile) as error:
        raise FetchError(f"{url} is not a {packed} that holds {name}") from error


def _download(url: str) -> bytes:
    try:
        with urllib.request.urlopen(url, timeout=_SECONDS) as response:
            content: bytes = response.read()
            return content
    except (urllib.error.URLError, OSError, ValueError) as error:
        raise FetchError(f"{url}: {getattr(error, 'reason', error)}") from error


def _go_install(module: str, target: Path) -> Path:
    go = shutil.which("go")
    if not go:
        raise FetchError("there is no Go on PATH")
    _say(f"Building {module} (up to two minutes, once)")
    _make(target.parent)
    with tempfile.TemporaryDirectory(dir=target.parent) as folder:
        result = subprocess.run(
            [go, "install", module],
            env=os.environ | {"GOBIN": folder},
            capture_output=True,
            text=True,
            check=False,
        )
        if result.returncode:
            raise FetchError(f"go install {module}: {(result.stderr.strip() or 'failed').splitlines()[-1]}")
        built = Path(folder, target.name)
        _place(target, lambda draft: shutil.copyfile(built, draft))
    return target


def _place(target: Path, write: Callable[[Path], object]) -> None:
    _make(target.parent)
    descriptor, name = tempfile.mkstemp(dir=target.parent)
    os.close(descriptor)
    draft = Path(name)
    try:
        write(draft)
        draft.chmod(0o755)
        draft.replace(target)
    finally:
        draft.unlink(missing_ok=True)


def _make(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise FetchError(f"cannot make {folder}: {error.strerror}") from error


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.argument("tool", type=click.Choice(["actionlint", "terraform", "tflint"]))
def main(tool: str) -> None:
    """Print the path of TOOL, fetching it where it is missing."""
    try:
        click.echo({"actionlint": actionlint, "terraform": terraform, "tflint": tflint}[tool]())
    except FetchError as error:
        click.echo(str(error), err=True)
        sys.exit(1)


if __name__ == "__main__":
    main(prog_name="python -m tools.fetch")
