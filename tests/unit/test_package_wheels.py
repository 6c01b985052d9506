"""Zips with other packages and with wheels: for Lambda's runtime and processor, whatever builds them."""

from __future__ import annotations

import hashlib
import io
import os
import platform
import re
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from tests.photos import portrait
from tests.unit.packaging import find_python, run, terraform_name
from tools import package

ROOT = Path(__file__).resolve().parents[2]
CONVERT = ROOT / "functions" / "convert_image"
TARGET = "python3.13-arm64"
MAX_ZIP_BYTES = 10_000_000


@pytest.fixture
def function(tmp_path: Path) -> Path:
    """A function that imports the package beside it, and has a wheel pinned that no index knows."""
    folder = tmp_path / "functions" / "greet"
    for name in (folder, folder.parent / "words"):
        name.mkdir(parents=True)
        (name / "__init__.py").touch()
    (folder / "handler.py").write_text("import words.german\n")
    (folder.parent / "words" / "german.py").write_text("HELLO = 'Grüß Gott'\n", "utf-8")
    (folder / "packages.txt").write_text("words\n")
    (folder / "requirements.lock").write_text(f"polite==1.0 \\\n    --hash=sha256:{digest(WHEEL)}\n")
    return folder


def wheel() -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        archive.writestr("polite/__init__.py", "PLEASE = 'bitte'\n")
        archive.writestr("polite.libs/libpolite.so", bytes(1000))
        archive.writestr("polite-1.0.dist-info/licenses/LICENSE", "Take it.\n")
    return stream.getvalue()


# The same file each time, as its hash is pinned.
WHEEL = wheel()


def digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


@pytest.fixture
def cache(function: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The user's cache, with the wheel in it."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    # Nothing answers there.
    monkeypatch.setenv("PIP_INDEX_URL", "http://127.0.0.1:9/simple")
    key = digest(((function / "requirements.lock").read_text() + TARGET).encode())[:16]
    folder = tmp_path / "cache" / "photo-analysis" / "wheels" / f"{TARGET}-{key}"
    folder.mkdir(parents=True)
    (folder / "polite-1.0-py3-none-any.whl").write_bytes(WHEEL)
    return folder


@pytest.mark.usefixtures("cache")
def test_the_zip_holds_both_packages_the_wheels_and_their_licences(function: Path, tmp_path: Path) -> None:
    output = tmp_path / f"greet-{TARGET}.zip"
    assert run(function, output).returncode == 0
    with zipfile.ZipFile(output) as archive:
        assert archive.namelist() == [
            "greet/__init__.py",
            "greet/handler.py",
            "words/__init__.py",
            "words/german.py",
            "polite-1.0.dist-info/licenses/LICENSE",
            "polite.libs/libpolite.so",
            "polite/__init__.py",
        ]
        assert {entry.date_time for entry in archive.infolist()} == {(1980, 1, 1, 0, 0, 0)}


@pytest.mark.usefixtures("cache")
@pytest.mark.parametrize("version", ["3.7", "3.12", "3.13"])
def test_wheels_give_the_same_bytes_with_every_python(function: Path, tmp_path: Path, version: str) -> None:
    python = find_python(version)
    if python is None:
        pytest.skip(f"there is no Python {version} here")
    mine, other = tmp_path / f"mine-{TARGET}.zip", tmp_path / f"other-{TARGET}.zip"
    run(function, mine)
    assert run(function, other, python=python, TZ="Pacific/Kiritimati").returncode == 0
    assert other.read_bytes() == mine.read_bytes()


def test_a_name_without_a_target_requests_no_wheels(function: Path, tmp_path: Path) -> None:
    assert run(function, tmp_path / "greet.zip").returncode == 0
    with zipfile.ZipFile(tmp_path / "greet.zip") as archive:
        assert not [name for name in archive.namelist() if name.startswith("polite")]


def test_the_hash_covers_packages_lock_runtime_and_processor(function: Path) -> None:
    hashes = [package.source_hash(function, target) for target in (None, TARGET, "python3.12-arm64")]
    hashes.append(package.source_hash(function, "python3.13-x86_64"))
    (function / "requirements.lock").write_text("polite==1.1\n")
    hashes.append(package.source_hash(function, TARGET))
    (function.parent / "words" / "german.py").write_text("HELLO = 'Servus'\n")
    hashes += [package.source_hash(function, TARGET), package.source_hash(function)]
    assert len(set(hashes)) == len(hashes)


@pytest.mark.terraform
@pytest.mark.parametrize("target", [None, TARGET])
def test_terraform_names_a_zip_of_packages_and_wheels_by_the_same_hash(
    function: Path, tmp_path: Path, target: str | None
) -> None:
    name = terraform_name(function, tmp_path / "module", bundle_wheels=target is not None)
    assert name == f"build/{package.zip_name(function, target)}"


def test_a_wheel_that_is_not_the_pinned_one_is_refused(function: Path, cache: Path, tmp_path: Path) -> None:
    (cache / "polite-1.0-py3-none-any.whl").write_bytes(WHEEL + b"!")
    result = run(function, tmp_path / "build" / f"greet-{TARGET}.zip")
    assert result.returncode == 1
    assert "is not the file that" in result.stderr
    assert len(result.stderr.splitlines()) == 1
    assert not (tmp_path / "build").exists()


def test_wheels_that_cannot_be_fetched_are_one_clear_sentence(
    function: Path, cache: Path, tmp_path: Path
) -> None:
    shutil.rmtree(cache)
    result = run(function, tmp_path / "build" / f"greet-{TARGET}.zip", PIP_RETRIES="0")
    assert result.returncode == 1
    assert "cannot be fetched" in result.stderr
    assert "connect to a network" in result.stderr
    assert len(result.stderr.splitlines()) == 1
    assert list(cache.parent.iterdir()) == []
    assert not (tmp_path / "build").exists()


def test_the_functions_decoders_are_those_of_the_tests() -> None:
    """The local cloud runs the function under this environment, so both must pin the same versions."""
    pins = [
        dict(re.findall(r"^([a-z0-9-]+)==(\S+)", (ROOT / name).read_text("utf-8"), re.MULTILINE))
        for name in ("functions/convert_image/requirements.lock", "requirements-dev.lock")
    ]
    assert pins[0]
    assert pins[0].items() <= pins[1].items()


def test_the_real_zip_decodes_by_its_own_wheels_and_stays_under_10_mb(tmp_path: Path) -> None:
    versions = [version for version in ("3.13", "3.12") if find_python(version)]
    if sys.platform != "linux" or not versions:
        pytest.skip("Lambda's wheels run on Linux, with Python 3.12 or 3.13")
    machine = "arm64" if platform.machine() in {"aarch64", "arm64"} else "x86_64"
    output = tmp_path / f"convert_image-python{versions[0]}-{machine}.zip"
    result = run(CONVERT, output)
    if "cannot be fetched" in result.stderr:
        pytest.skip("the wheels are not in the cache, and there is no network")
    assert result.returncode == 0, result.stderr
    assert output.stat().st_size < MAX_ZIP_BYTES
    with zipfile.ZipFile(output) as archive:
        archive.extractall(tmp_path / "task")
    assert list((tmp_path / "task").glob("pillow-*.dist-info/licenses/LICENSE*"))
    assert list((tmp_path / "task").glob("pi_heif-*.dist-info/licenses/LICENSE*"))
    code = (
        "import sys; from convert_image.sandbox import decode\n"
        "picture = decode(sys.stdin.buffer.read(), formats=['heic'], max_pixels=256, memory_mb=1769)\n"
        "import PIL; print(picture.format, picture.width, PIL.__file__)"
    )
    done = subprocess.run(
        [str(find_python(versions[0])), "-c", code],
        input=portrait("heic"),
        env={"PYTHONPATH": str(tmp_path / "task"), "PATH": os.environ["PATH"]},
        capture_output=True,
        check=True,
    )
    assert done.stdout.decode().split() == ["heic", "512", str(tmp_path / "task/PIL/__init__.py")]


def test_wheels_are_kept_in_the_checkout_for_a_user_without_a_home(monkeypatch: pytest.MonkeyPatch) -> None:
    def nowhere() -> Path:
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    assert package._caches() == Path.home() / ".cache"
    monkeypatch.setattr(Path, "home", nowhere)
    assert package._caches() == ROOT / "build" / "cache"
