"""The zips: named as Terraform names them, and the same bytes wherever they are built."""

from __future__ import annotations

import os
import shutil
import stat
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from tests.unit.packaging import find_python, run, terraform_name
from tools import package

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def function(tmp_path: Path) -> Path:
    folder = tmp_path / "functions" / "greet"
    (folder / "parts").mkdir(parents=True)
    (folder / "handler.py").write_text("def handler(event, context):\n    return 'hello'\n")
    (folder / "__init__.py").touch()
    (folder / "a-b.py").write_text("A = 1\n")
    (folder / "parts" / "text.py").write_text("GREETING = 'grüß Gott'\n", "utf-8")
    (folder / "parts" / "Zebra.py").touch()
    (folder / "notes.md").write_text("not a source")
    (folder / "__pycache__").mkdir()
    (folder / "__pycache__" / "handler.cpython-311.pyc").write_bytes(b"\0")
    return folder


def test_the_zip_holds_the_package_and_nothing_but_its_sources(function: Path, tmp_path: Path) -> None:
    output = tmp_path / "greet.zip"
    assert run(function, output).returncode == 0
    with zipfile.ZipFile(output) as archive:
        assert archive.namelist() == [
            "greet/__init__.py",
            "greet/a-b.py",
            "greet/handler.py",
            "greet/parts/Zebra.py",
            "greet/parts/text.py",
        ]
        assert archive.read("greet/parts/text.py").decode() == "GREETING = 'grüß Gott'\n"
        for entry in archive.infolist():
            assert entry.external_attr >> 16 == stat.S_IFREG | 0o644
            assert entry.date_time == (1980, 1, 1, 0, 0, 0)
            assert entry.create_system == 3
            assert entry.compress_type == zipfile.ZIP_DEFLATED


def test_the_zip_works_as_lambda_imports_it(function: Path, tmp_path: Path) -> None:
    output = tmp_path / "greet.zip"
    run(function, output)
    code = "from greet.handler import handler; print(handler({}, None))"
    result = subprocess.run(
        [sys.executable, "-c", code],
        env={"PYTHONPATH": str(output)},
        capture_output=True,
        text=True,
        check=True,
    )
    assert result.stdout == "hello\n"


@pytest.mark.terraform
def test_terraform_names_the_zip_by_the_same_hash(function: Path, tmp_path: Path) -> None:
    expected = f"build/greet-{package.source_hash(function)}.zip"
    assert terraform_name(function, tmp_path / "module") == expected


def test_the_hash_changes_with_content_and_with_names_only(function: Path) -> None:
    before = package.source_hash(function)
    (function / "notes.md").write_text("other")
    os.utime(function / "handler.py", (1, 1))
    (function / "handler.py").chmod(0o700)
    assert package.source_hash(function) == before
    (function / "a-b.py").rename(function / "a-c.py")
    renamed = package.source_hash(function)
    (function / "a-c.py").write_text("A = 2\n")
    assert len({before, renamed, package.source_hash(function)}) == 3


@pytest.mark.parametrize("zone", ["UTC", "Pacific/Kiritimati", "America/St_Johns"])
@pytest.mark.parametrize("umask", [0o000, 0o077])
def test_two_copies_give_the_same_bytes(function: Path, tmp_path: Path, zone: str, umask: int) -> None:
    reference, other = tmp_path / "reference.zip", tmp_path / "other.zip"
    run(function, reference)
    copy = tmp_path / "elsewhere" / "greet"
    shutil.copytree(function, copy, ignore=shutil.ignore_patterns("__pycache__"))
    for number, path in enumerate(sorted(copy.rglob("*"), reverse=True)):
        path.chmod(0o777 if number % 2 else 0o700)
        os.utime(path, (2_000_000_000 + number, 2_000_000_000 + number))
    previous = os.umask(umask)
    try:
        assert run(copy, other, TZ=zone, LC_ALL="C").returncode == 0
    finally:
        os.umask(previous)
    assert other.read_bytes() == reference.read_bytes()
    assert stat.S_IMODE(other.stat().st_mode) == 0o644


@pytest.mark.parametrize("version", ["3.7", "3.11", "3.12", "3.13"])
def test_every_python_gives_the_same_bytes(function: Path, tmp_path: Path, version: str) -> None:
    python = find_python(version)
    if python is None:
        pytest.skip(f"there is no Python {version} here")
    reference, other = tmp_path / "reference.zip", tmp_path / "other.zip"
    run(function, reference)
    assert run(function, other, python=python).returncode == 0
    assert other.read_bytes() == reference.read_bytes()


@pytest.mark.parametrize(
    ("tool", "version", "needed"),
    [
        *(("setup.py", version, "3.11 or newer is needed") for version in ("3.6", "3.10")),
        ("package.py", "3.6", "3.7 or newer is needed"),
    ],
)
def test_a_python_that_is_too_old_is_refused(tool: str, version: str, needed: str) -> None:
    python = find_python(version)
    if python is None:
        pytest.skip(f"there is no Python {version} here")
    result = subprocess.run(
        [python, ROOT / "tools" / tool, "--all"], capture_output=True, text=True, check=False
    )
    assert result.returncode == 1
    assert result.stderr.startswith(f"{python} is Python {version}.")
    assert f", and {needed};" in result.stderr
    assert len(result.stderr.splitlines()) == 1


@pytest.mark.terraform
def test_all_builds_every_function_under_the_name_terraform_uses(tmp_path: Path) -> None:
    for name in ("tools", "functions"):
        shutil.copytree(ROOT / name, tmp_path / name, ignore=shutil.ignore_patterns("__pycache__"))
    tool = tmp_path / "tools" / "package.py"
    # From another folder: zips go to the repository, not to the current directory.
    result = subprocess.run(
        [sys.executable, tool, "--all"], capture_output=True, text=True, check=True, cwd="/"
    )
    names = {
        terraform_name(ROOT / "functions" / name, tmp_path / name).removeprefix("build/")
        for name in ("convert_image", "process_image", "send_notification", "start_workflow")
    }
    assert {path.name for path in (tmp_path / "build").iterdir()} == names
    assert all(name in result.stdout for name in names)
    small = [name for name in names if not name.startswith("convert_image")]
    assert all((tmp_path / "build" / name).stat().st_size < 20_000 for name in small)


def test_a_zip_planned_from_other_sources_is_refused(function: Path, tmp_path: Path) -> None:
    planned = tmp_path / "build" / f"greet-{package.source_hash(function)}.zip"
    assert run(function, planned).returncode == 0
    (function / "handler.py").write_text("def handler(event, context):\n    return 'goodbye'\n")
    planned.unlink()
    result = run(function, planned)
    assert result.returncode == 1
    assert "changed since" in result.stderr
    assert "plan again" in result.stderr
    assert list(planned.parent.iterdir()) == []


@pytest.mark.parametrize(
    ("make", "expected"),
    [
        (lambda folder: shutil.rmtree(folder), "There is no folder"),
        (lambda folder: [path.unlink() for path in folder.rglob("*.py")], "no Python source"),
        (lambda folder: (folder / "link.py").symlink_to(folder / "handler.py"), "symbolic link"),
    ],
    ids=["no folder", "no sources", "a link"],
)
def test_sources_that_cannot_be_packaged_are_named(
    function: Path, tmp_path: Path, make: object, expected: str
) -> None:
    assert callable(make)
    make(function)
    result = run(function, tmp_path / "build" / "greet.zip")
    assert result.returncode == 1
    assert expected in result.stderr
    assert str(function) in result.stderr
    assert len(result.stderr.splitlines()) == 1
    assert not (tmp_path / "build").exists()


def test_an_output_that_cannot_be_written_is_named(function: Path, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    result = run(function, tmp_path / "file" / "greet.zip")
    assert result.returncode == 1
    assert "Cannot write" in result.stderr
    assert "Traceback" not in result.stderr

    output = tmp_path / "build" / "greet.zip"
    output.mkdir(parents=True)
    result = run(function, output)
    assert result.returncode == 1
    assert "Cannot write" in result.stderr
    assert [path.name for path in output.parent.iterdir()] == ["greet.zip"]


@pytest.mark.parametrize("arguments", [(), ("only-one",), ("--all", "functions/x", "x.zip")])
def test_wrong_usage_is_explained(arguments: tuple[str, ...]) -> None:
    result = run(*arguments)
    assert result.returncode == 2
    assert "SOURCE" in result.stderr
