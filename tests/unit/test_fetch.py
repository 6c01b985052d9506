"""Finding the pinned tools."""

from __future__ import annotations

import hashlib
import http.server
import io
import os
import subprocess
import sys
import tarfile
import threading
import zipfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tools import fetch

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).resolve().parents[2]
ARCHIVES = {
    "actionlint": f"actionlint_{fetch.ACTIONLINT_VERSION}_{fetch.machine()}.tar.gz",
    "terraform": f"terraform_{fetch.TERRAFORM_VERSION}_{fetch.machine()}.zip",
    "tflint": f"tflint_{fetch.machine()}.zip",
}


def script(version: str) -> str:
    """A stand-in for a tool, which knows its version and nothing else."""
    return f'#!/bin/sh\necho \'{{"terraform_version": "{version}"}}\'\n'


def archive(tool: str, content: str) -> bytes:
    buffer = io.BytesIO()
    if ARCHIVES.get(tool, "").endswith(".tar.gz"):
        with tarfile.open(fileobj=buffer, mode="w:gz") as packed:
            member = tarfile.TarInfo(tool)
            member.size = len(content)
            packed.addfile(member, io.BytesIO(content.encode()))
        return buffer.getvalue()
    with zipfile.ZipFile(buffer, "w") as stream:
        stream.writestr("LICENSE.txt", "free")
        stream.writestr(tool, content)
    return buffer.getvalue()


@dataclass
class Releases:
    """A release server on this computer: what it has by file name, and what was asked of it."""

    url: str = ""
    files: dict[str, bytes] = field(default_factory=dict)
    asked: list[str] = field(default_factory=list)

    def publish(self, tool: str, content: bytes, *, checksum: str | None = None) -> None:
        name = ARCHIVES[tool]
        listed = (
            f"{checksum or hashlib.sha256(content).hexdigest()}  {name}\n{'0' * 64}  other.zip\n".encode()
        )
        self.files |= {
            name: content,
            f"terraform_{fetch.TERRAFORM_VERSION}_SHA256SUMS": listed,
            f"actionlint_{fetch.ACTIONLINT_VERSION}_checksums.txt": listed,
            "checksums.txt": listed,
        }


@pytest.fixture
def releases() -> Iterator[Releases]:
    found = Releases()

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            name = self.path.rpartition("/")[2]
            found.asked.append(name)
            content = found.files.get(name)
            self.send_response(404 if content is None else 200)
            self.end_headers()
            self.wfile.write(content or b"")

        def log_message(self, *_: object) -> None:
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        found.url = f"http://127.0.0.1:{server.server_port}"
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield found
        server.shutdown()
        thread.join()


@dataclass
class Machine:
    """A computer with nothing on PATH but what is put there, and an empty cache."""

    folder: Path
    releases: Releases

    @property
    def cache(self) -> Path:
        return self.folder / "cache"

    def install(self, name: str, content: str) -> Path:
        path = self.folder / "bin" / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(content)
        path.chmod(0o755)
        return path

    def fetch(self, tool: str) -> subprocess.CompletedProcess[str]:
        variables = {name: value for name, value in os.environ.items() if not name.lower().endswith("_proxy")}
        return subprocess.run(
            [sys.executable, "-m", "tools.fetch", tool],
            cwd=ROOT,
            env=variables
            | {
                "PATH": str(self.folder / "bin"),
                "XDG_CACHE_HOME": str(self.cache),
                "TERRAFORM_RELEASES_URL": self.releases.url,
                "TFLINT_RELEASES_URL": self.releases.url,
                "ACTIONLINT_RELEASES_URL": self.releases.url,
            },
            capture_output=True,
            text=True,
            check=False,
        )

    def cached(self) -> list[Path]:
        return [path for path in self.cache.rglob("*") if path.is_file()]


@pytest.fixture
def machine(tmp_path: Path, releases: Releases) -> Machine:
    return Machine(tmp_path, releases)


def refused(result: subprocess.CompletedProcess[str]) -> str:
    """The one sentence a refusal ends in; progress may come before it."""
    assert result.returncode == 1
    assert result.stdout == ""
    assert "Traceback" not in result.stderr
    lines = [line for line in result.stderr.splitlines() if not line.startswith(("Fetching", "Building"))]
    assert len(lines) == 1, lines
    return lines[0]


@pytest.mark.parametrize("version", ["1.10.0", "1.11.4", "2.0.0"])
def test_a_terraform_on_path_that_is_new_enough_is_used(machine: Machine, version: str) -> None:
    path = machine.install("terraform", script(version))
    assert machine.fetch("terraform").stdout.strip() == str(path)
    assert machine.releases.asked == []


def test_a_warning_before_the_version_does_not_hide_it(machine: Machine) -> None:
    path = machine.install("terraform", f"#!/bin/sh\necho 'Warning: no configuration'\n{script('1.12.0')}")
    assert machine.fetch("terraform").stdout.strip() == str(path)


@pytest.mark.parametrize("on_path", [None, "1.9.8", "0.15.5"])
def test_a_missing_or_old_terraform_is_fetched_once(machine: Machine, on_path: str | None) -> None:
    if on_path:
        machine.install("terraform", script(on_path))
    machine.releases.publish("terraform", archive("terraform", script(fetch.TERRAFORM_VERSION)))
    first = machine.fetch("terraform")
    path = Path(first.stdout.strip())
    assert first.returncode == 0, first.stderr
    assert path.is_relative_to(machine.cache)
    version = subprocess.run([path], capture_output=True, text=True, check=True).stdout
    assert fetch.TERRAFORM_VERSION in version
    assert machine.cached() == [path]

    machine.releases.asked.clear()
    assert machine.fetch("terraform").stdout == first.stdout
    assert machine.releases.asked == []


def test_a_download_with_the_wrong_checksum_is_not_kept(machine: Machine) -> None:
    content = archive("terraform", "#!/bin/sh\necho malice\n")
    machine.releases.publish("terraform", content, checksum="1" * 64)
    assert "checksum" in refused(machine.fetch("terraform"))
    assert machine.cached() == []


def test_a_download_the_list_of_checksums_does_not_name_is_refused(machine: Machine) -> None:
    machine.releases.publish("terraform", archive("terraform", script("1.11.4")))
    machine.releases.files[f"terraform_{fetch.TERRAFORM_VERSION}_SHA256SUMS"] = b"0" * 64 + b"  other.zip\n"
    assert "does not list" in refused(machine.fetch("terraform"))
    assert ARCHIVES["terraform"] not in machine.releases.asked


@pytest.mark.parametrize(
    "content", [b"<html>sign in</html>", archive("opentofu", "")], ids=["a page", "another tool"]
)
def test_a_download_that_holds_no_tool_is_refused(machine: Machine, content: bytes) -> None:
    machine.releases.publish("terraform", content)
    assert "is not a zip that holds terraform" in refused(machine.fetch("terraform"))
    assert machine.cached() == []


def test_no_terraform_and_no_network_is_said_in_one_sentence(machine: Machine) -> None:
    sentence = refused(machine.fetch("terraform"))
    assert "There is no terraform on PATH" in sentence
    assert "install Terraform 1.10 or newer" in sentence


def test_an_old_terraform_and_no_network_names_its_version(machine: Machine) -> None:
    machine.install("terraform", script("1.5.7"))
    assert "The terraform on PATH is 1.5.7" in refused(machine.fetch("terraform"))


def test_a_cache_that_cannot_be_made_is_named(machine: Machine) -> None:
    machine.cache.touch()
    machine.releases.publish("terraform", archive("terraform", script("1.11.4")))
    assert "cannot make" in refused(machine.fetch("terraform"))


PINNED = {
    "actionlint": (fetch.ACTIONLINT_VERSION, "github.com/rhysd/actionlint/cmd/actionlint"),
    "tflint": (fetch.TFLINT_VERSION, "github.com/terraform-linters/tflint"),
}
pinned = pytest.mark.parametrize("tool", PINNED)


@pinned
def test_the_pinned_linter_on_path_is_used(machine: Machine, tool: str) -> None:
    path = machine.install(tool, script(PINNED[tool][0]))
    assert machine.fetch(tool).stdout.strip() == str(path)
    assert machine.releases.asked == []


@pinned
def test_another_linter_makes_way_for_the_pinned_one(machine: Machine, tool: str) -> None:
    machine.install(tool, script("0.50.0"))
    machine.releases.publish(tool, archive(tool, script(PINNED[tool][0])))
    path = Path(machine.fetch(tool).stdout.strip())
    assert path.is_relative_to(machine.cache)
    assert PINNED[tool][0] in subprocess.run([path], capture_output=True, text=True, check=True).stdout


@pytest.mark.parametrize(
    "content", [b"<html>sign in</html>", archive("actionlint", "")[:-30]], ids=["a page", "cut off"]
)
def test_a_broken_archive_of_a_linter_is_not_kept(machine: Machine, content: bytes) -> None:
    machine.releases.publish("actionlint", content)
    assert "is not a tar.gz that holds actionlint" in refused(machine.fetch("actionlint"))
    assert machine.cached() == []


@pinned
def test_go_builds_a_linter_where_it_cannot_be_fetched(machine: Machine, tool: str) -> None:
    machine.install("go", f'#!/bin/sh\necho "$@" > "$GOBIN/{tool}"\n')
    result = machine.fetch(tool)
    path = Path(result.stdout.strip())
    version, module = PINNED[tool]
    assert path.read_text().strip() == f"install {module}@v{version}"
    assert os.access(path, os.X_OK)
    assert machine.cached() == [path]


@pinned
def test_another_linter_will_do_when_nothing_else_can_be_had_and_that_is_said(
    machine: Machine, tool: str
) -> None:
    path = machine.install(tool, script("0.63.1"))
    result = machine.fetch(tool)
    assert result.stdout.strip() == str(path)
    assert f"Using {tool} 0.63.1 from PATH" in result.stderr


@pinned
def test_no_linter_at_all_is_said_in_one_sentence(machine: Machine, tool: str) -> None:
    assert f"install {tool} or Go" in refused(machine.fetch(tool))
    machine.install("go", "#!/bin/sh\necho 'go: no such module' >&2\nexit 1\n")
    assert "go: no such module" in refused(machine.fetch(tool))
    assert machine.cached() == []
