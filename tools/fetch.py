"""Install pinned command-line tools in .venv/bin if PATH has no suitable version.

A download is used only if its SHA-256 matches the release's list of checksums, which comes over TLS from the
same publisher. TERRAFORM_RELEASES_URL, TFLINT_RELEASES_URL and ACTIONLINT_RELEASES_URL set a mirror of the
releases. Standard library only.
"""

from __future__ import annotations

import hashlib
import io
import os
import platform
import re
import shutil
import subprocess
import sys
import tarfile
import tempfile
import urllib.request
import zipfile
from dataclasses import dataclass
from pathlib import Path

BIN = Path(__file__).resolve().parent.parent / ".venv" / "bin"

_SECONDS = 60.0
_PROCESSORS = {"x86_64": "amd64", "aarch64": "arm64"}


class FetchError(Exception):
    """A tool cannot be installed; the message is one sentence for users."""


@dataclass(frozen=True)
class Tool:
    """A program and where its `version` is published, below ``<base>/``.

    Attributes:
        archive: this machine's file, with ``{version}`` and ``{machine}`` such as linux_amd64.
        checksums: list of SHA-256 sums, one ``<sum>  <file>`` a line.
        oldest: the oldest acceptable version on PATH; None accepts only `version`.
        module: Go module to build from if no release can be downloaded.
    """

    version: str
    base: str
    archive: str
    checksums: str
    oldest: tuple[int, int, int] | None = None
    module: str = ""


TOOLS = {
    "actionlint": Tool(
        "1.7.12",
        "https://github.com/rhysd/actionlint/releases/download/v{version}",
        "actionlint_{version}_{machine}.tar.gz",
        "actionlint_{version}_checksums.txt",
        module="github.com/rhysd/actionlint/cmd/actionlint",
    ),
    "terraform": Tool(
        "1.11.4",
        "https://releases.hashicorp.com/terraform/{version}",
        "terraform_{version}_{machine}.zip",
        "terraform_{version}_SHA256SUMS",
        # The first version whose S3 backend locks without a DynamoDB table.
        oldest=(1, 10, 0),
    ),
    "tflint": Tool(
        "0.64.0",
        "https://github.com/terraform-linters/tflint/releases/download/v{version}",
        "tflint_{machine}.zip",
        "checksums.txt",
        module="github.com/terraform-linters/tflint",
    ),
}


def place(name: str) -> None:
    """Ensure that .venv/bin or PATH has an acceptable version of `name`; raises FetchError."""
    tool = TOOLS[name]
    found = shutil.which(name, path=f"{BIN}{os.pathsep}{os.environ.get('PATH', os.defpath)}")
    version = _version(found) if found else ()
    pinned = tuple(map(int, tool.version.split(".")))
    if version >= tool.oldest if tool.oldest else version == pinned:
        return
    print(f"Fetching {name} {tool.version}", file=sys.stderr)
    reasons = []
    for get in (_download, _build):
        try:
            content = get(name, tool)
        except FetchError as error:
            reasons.append(str(error))
            continue
        draft = BIN / f".{name}.{os.getpid()}"
        draft.write_bytes(content)
        draft.chmod(0o755)
        draft.replace(BIN / name)
        return
    there = f"{found} is another version" if found else f"There is no {name} on PATH"
    wanted = f"{'.'.join(map(str, tool.oldest[:2]))} or newer" if tool.oldest else tool.version
    raise FetchError(f"{there}; install {name} {wanted} ({'; '.join(filter(None, reasons))}).")


def machine() -> str:
    """Return this machine's platform as Go names it, such as ``linux_amd64``."""
    processor = platform.machine().lower()
    return f"{platform.system().lower()}_{_PROCESSORS.get(processor, processor)}"


def _version(path: str) -> tuple[int, ...]:
    """The version of the tool at `path`; empty if unknown."""
    # Disable the tools' checks for updates.
    quiet = os.environ | {"CHECKPOINT_DISABLE": "1", "TFLINT_DISABLE_VERSION_CHECK": "1"}
    try:
        command = [path, "--version"]
        done = subprocess.run(command, capture_output=True, text=True, timeout=30, check=False, env=quiet)
    except (OSError, subprocess.TimeoutExpired):
        return ()
    match = re.search(r"(\d+)\.(\d+)\.(\d+)", done.stdout)
    return tuple(map(int, match.groups())) if match else ()


def _download(name: str, tool: Tool) -> bytes:
    base = os.environ.get(f"{name.upper()}_RELEASES_URL", tool.base.format(version=tool.version))
    file = tool.archive.format(version=tool.version, machine=machine())
    checksums = tool.checksums.format(version=tool.version)
    try:
        lines = _get(f"{base}/{checksums}").decode().splitlines()
        listed = {name.lstrip("*"): digest for digest, name in map(str.split, lines)}
        if file not in listed:
            raise FetchError(f"{base}/{checksums} does not list {file}")
        content = _get(f"{base}/{file}")
        if hashlib.sha256(content).hexdigest() != listed[file].lower():
            raise FetchError(f"the checksum of {base}/{file} is wrong")
    except (OSError, ValueError) as error:
        raise FetchError(f"{base}: {getattr(error, 'reason', error)}") from error
    try:
        if file.endswith(".zip"):
            with zipfile.ZipFile(io.BytesIO(content)) as zipped:
                return zipped.read(name)
        with tarfile.open(fileobj=io.BytesIO(content), mode="r:gz") as archive:
            member = archive.extractfile(name)
            assert member
            return member.read()
    except (AssertionError, KeyError, OSError, EOFError, tarfile.TarError, zipfile.BadZipFile) as error:
        raise FetchError(f"{base}/{file} does not hold {name}") from error


def _get(url: str) -> bytes:
    with urllib.request.urlopen(url, timeout=_SECONDS) as response:
        content: bytes = response.read()
    return content


def _build(name: str, tool: Tool) -> bytes:
    go = shutil.which("go")
    if not tool.module or not go:
        raise FetchError("there is no Go to build it with" if tool.module else "")
    with tempfile.TemporaryDirectory() as folder:
        command, here = [go, "install", f"{tool.module}@v{tool.version}"], os.environ | {"GOBIN": folder}
        result = subprocess.run(command, env=here, capture_output=True, text=True, check=False)
        if result.returncode:
            raise FetchError(f"{' '.join(command)}: {(result.stderr.strip() or 'failed').splitlines()[-1]}")
        return Path(folder, name).read_bytes()


def main(names: list[str]) -> int:
    """Install the tools `names`."""
    try:
        for name in names:
            place(name)
    except (FetchError, OSError) as error:
        print(error, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
