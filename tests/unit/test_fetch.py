"""Placing the pinned command-line tools where those on PATH will not do."""

from __future__ import annotations

import hashlib
import io
import os
import tarfile
import zipfile
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pytest

from tools import fetch

if TYPE_CHECKING:
    from pathlib import Path

LINTERS = ("actionlint", "tflint")
WANTED = {name: tool.version for name, tool in fetch.TOOLS.items()}


def script(version: str) -> str:
    """A stand-in for a tool, which knows its version and nothing else."""
    return f"#!/bin/sh\necho 'Version v{version}'\n"


def archive(file: str, name: str, content: str) -> bytes:
    buffer = io.BytesIO()
    if file.endswith(".tar.gz"):
        with tarfile.open(fileobj=buffer, mode="w:gz") as packed:
            member = tarfile.TarInfo(name)
            member.size = len(content)
            packed.addfile(member, io.BytesIO(content.encode()))
    else:
        with zipfile.ZipFile(buffer, "w") as stream:
            stream.writestr("LICENSE.txt", "free")
            stream.writestr(name, content)
    return buffer.getvalue()


@dataclass
class Machine:
    """A computer with nothing on PATH but what is put there, an empty .venv, and releases in a folder."""

    folder: Path
    venv: Path

    def install(self, name: str, content: str) -> None:
        path = self.folder / "bin" / name
        path.write_text(content)
        path.chmod(0o755)

    def publish(self, name: str, content: bytes | None = None, *, checksum: str | None = None) -> None:
        file, sums = (
            part.format(version=WANTED[name], machine=fetch.machine())
            for part in (fetch.TOOLS[name].archive, fetch.TOOLS[name].checksums)
        )
        content = archive(file, name, script(WANTED[name])) if content is None else content
        (self.folder / "releases" / file).write_bytes(content)
        digest = checksum or hashlib.sha256(content).hexdigest()
        (self.folder / "releases" / sums).write_text(f"{'0' * 64}  other.zip\n{digest}  {file}\n")

    def placed(self) -> dict[str, str]:
        return {path.name: path.read_text() for path in self.venv.iterdir()}


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Machine:
    for name in ("bin", "venv", "releases"):
        (tmp_path / name).mkdir()
    for name in fetch.TOOLS:
        monkeypatch.setenv(f"{name.upper()}_RELEASES_URL", (tmp_path / "releases").as_uri())
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    monkeypatch.setattr(fetch, "BIN", tmp_path / "venv")
    return Machine(tmp_path, tmp_path / "venv")


def refusal(name: str) -> str:
    with pytest.raises(fetch.FetchError) as caught:
        fetch.place(name)
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize(
    ("name", "version"),
    [("terraform", "1.10.0"), ("terraform", "2.0.0"), *((name, WANTED[name]) for name in LINTERS)],
)
def test_a_tool_on_path_that_will_do_is_left_to_be_used(machine: Machine, name: str, version: str) -> None:
    machine.install(name, script(version))
    fetch.place(name)
    assert machine.placed() == {}


@pytest.mark.parametrize("name", fetch.TOOLS)
@pytest.mark.parametrize("on_path", [None, "0.50.0"])
def test_a_missing_or_old_tool_is_fetched_once(
    machine: Machine, name: str, on_path: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    if on_path:
        machine.install(name, script(on_path))
    machine.publish(name)
    fetch.place(name)
    assert machine.placed() == {name: script(WANTED[name])}
    assert os.access(machine.venv / name, os.X_OK)

    monkeypatch.setenv(f"{name.upper()}_RELEASES_URL", "file:///nowhere")
    fetch.place(name)


def test_a_placed_linter_of_another_version_is_replaced(machine: Machine) -> None:
    machine.publish("tflint")
    (machine.venv / "tflint").write_text(script("0.50.0"))
    (machine.venv / "tflint").chmod(0o755)
    fetch.place("tflint")
    assert machine.placed() == {"tflint": script(WANTED["tflint"])}


def test_a_download_with_the_wrong_checksum_is_not_kept(machine: Machine) -> None:
    machine.publish("terraform", checksum="1" * 64)
    assert "the checksum of" in refusal("terraform")
    assert machine.placed() == {}


def test_a_download_the_list_of_checksums_does_not_name_is_refused(machine: Machine) -> None:
    machine.publish("terraform")
    [sums] = (machine.folder / "releases").glob("*SHA256SUMS")
    sums.write_text(f"{'0' * 64}  other.zip\n")
    assert "does not list" in refusal("terraform")


@pytest.mark.parametrize("name", ["actionlint", "terraform"])
@pytest.mark.parametrize("content", [b"<html>sign in</html>", b""], ids=["a page", "nothing"])
def test_a_download_that_holds_no_tool_is_refused(machine: Machine, name: str, content: bytes) -> None:
    machine.publish(name, content)
    assert f"does not hold {name}" in refusal(name)
    assert machine.placed() == {}


def test_a_download_of_another_tool_is_refused(machine: Machine) -> None:
    machine.publish("terraform", archive("x.zip", "opentofu", ""))
    assert "does not hold terraform" in refusal("terraform")


def test_no_terraform_and_no_network_is_reported_in_one_sentence(machine: Machine) -> None:
    assert refusal("terraform").startswith(
        "There is no terraform on PATH; install terraform 1.10 or newer (file:"
    )
    machine.install("terraform", script("1.5.7"))
    assert refusal("terraform").startswith(f"{machine.folder}/bin/terraform is another version; install")


@pytest.mark.parametrize("name", LINTERS)
def test_go_builds_a_linter_where_it_cannot_be_fetched(machine: Machine, name: str) -> None:
    machine.install("go", f'#!/bin/sh\necho "$@" > "$GOBIN/{name}"\n')
    fetch.place(name)
    built = f"install {fetch.TOOLS[name].module}@v{WANTED[name]}\n"
    assert machine.placed() == {name: built}
    assert os.access(machine.venv / name, os.X_OK)


@pytest.mark.parametrize("name", LINTERS)
def test_no_linter_at_all_is_reported_in_one_sentence(machine: Machine, name: str) -> None:
    assert "there is no Go to build it with" in refusal(name)
    machine.install("go", "#!/bin/sh\necho 'go: no such module' >&2\nexit 1\n")
    assert "go: no such module" in refusal(name)
    assert machine.placed() == {}
