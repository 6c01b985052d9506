"""Build the Lambda functions' zips, byte for byte the same everywhere.

Terraform runs this file with the ``python3`` on PATH, so it uses the standard library only:

    python3 tools/package.py functions/process_image build/process_image-0123456789abcdef.zip
    python3 tools/package.py --all

A zip contains the function's own package and the sibling packages in its `packages.txt`, one a line. A name
like ``convert_image-python3.13-arm64-0123456789abcdef.zip`` also bundles the wheels pinned in the function's
`requirements.lock`, for that Lambda runtime and processor, on any build machine. pip downloads them once into
the user's cache, and each build checks them against the lock.

Python 3.7 is the oldest that can build them. Python 3.6 must still be able to parse this file, to print that
it is too old; hence the quotes around newer annotations.
"""

import argparse
import contextlib
import hashlib
import io
import os
import re
import stat
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
OLDEST = (3, 7)

# The earliest timestamp in a zip.
_TIMESTAMP = (1980, 1, 1, 0, 0, 0)
_UNIX = 3
_HASH_LENGTH = 16
_NAME = re.compile(r"^.+?(-(?P<target>python3\.\d+-(arm64|x86_64)))?(-(?P<hash>[0-9a-f]{16}))?\.zip$")
_MACHINES = {"arm64": "aarch64", "x86_64": "x86_64"}


class PackageError(Exception):
    """A function cannot be packaged; the message is one sentence for users."""


def sources(folder: Path) -> "list[str]":
    """Return the paths of a zip's sources, relative to the parent of `folder`, with forward slashes.

    Its own come first, in the order of Terraform's ``sort(fileset(folder, "**/*.py"))``, then each package's.
    Raises PackageError if a folder is missing, has no Python source, or contains a symbolic link.
    """
    others = folder / "packages.txt"
    names = others.read_text("utf-8").split() if others.exists() else []
    return [name for package in (folder.name, *names) for name in _sources(folder.parent / package)]


def _sources(folder: Path) -> "list[str]":
    if not folder.is_dir():
        raise PackageError(f"There is no folder {folder}; name the folder that holds the function's sources.")
    names = []
    for parent, folders, files in os.walk(folder):
        for path in (Path(parent, name) for name in [*folders, *files]):
            # Terraform and os.walk treat links differently, so the hashes would differ.
            if path.is_symlink() and (path.is_dir() or path.suffix == ".py"):
                raise PackageError(
                    f"{path} is a symbolic link; put the file itself in the function's folder."
                )
            if path.suffix == ".py":
                # Including the folder's own name: a function is a package whose modules import each other.
                names.append(path.relative_to(folder.parent).as_posix())
    if not names:
        raise PackageError(f"There is no Python source in {folder}; name the folder that holds handler.py.")
    return sorted(names)


def source_hash(folder: Path, target: "str | None" = None) -> str:
    """Return the hash of the zip's contents, 16 hexadecimal digits, as modules/function computes it.

    Wheels are bundled for `target`, such as ``python3.13-arm64``; without it there are none.
    Raises PackageError as `sources`.
    """
    lines = [f"{name}:{_digest(folder.parent / name)}\n" for name in sources(folder)]
    if target:
        lines.append(f"requirements.lock:{_digest(folder / 'requirements.lock')}:{target}\n")
    return hashlib.sha256("".join(lines).encode()).hexdigest()[:_HASH_LENGTH]


def _digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def zip_name(folder: Path, target: "str | None" = None) -> str:
    """Return the zip's name, the same as Terraform's."""
    return f"{folder.name}-{target + '-' if target else ''}{source_hash(folder, target)}.zip"


def build(folder: Path, output: Path) -> int:
    """Write the zip of `folder` to `output` atomically, and return its size in bytes.

    Raises PackageError as `sources` and `wheels`, if `output` cannot be written, and if the hash in its name
    is not the sources', because they changed after Terraform's plan.
    """
    folder = folder.resolve()
    wanted = _NAME.match(output.name)
    target = wanted["target"] if wanted else None
    names = sources(folder)
    if wanted and wanted["hash"] not in (None, source_hash(folder, target)):
        raise PackageError(
            f"The sources in {folder} changed since {output.name} was planned; plan again, then apply."
        )
    bundled = wheels(folder / "requirements.lock", target) if target else []
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w") as archive:
        for name in names:
            _add(archive, name, (folder.parent / name).read_bytes())
        for path in bundled:
            with zipfile.ZipFile(path) as wheel:
                for name in sorted(wheel.namelist()):
                    if not name.endswith("/"):
                        _add(archive, name, wheel.read(name))
    try:
        output.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=".", dir=str(output.parent)) as draft:
            written = Path(draft, output.name)
            written.write_bytes(content.getvalue())
            written.chmod(0o644)
            written.replace(output)
    except OSError as error:
        raise PackageError(f"Cannot write {output}: {error.strerror}; choose another place.") from error
    return len(content.getvalue())


def _add(archive: zipfile.ZipFile, name: str, content: bytes) -> None:
    entry = zipfile.ZipInfo(name, _TIMESTAMP)
    entry.create_system = _UNIX
    entry.external_attr = (stat.S_IFREG | 0o644) << 16
    entry.compress_type = zipfile.ZIP_DEFLATED
    archive.writestr(entry, content, compresslevel=9)


def wheels(lock: Path, target: str) -> "list[Path]":
    """Return the wheels pinned in `lock` for `target`, from the user's cache or else the package index.

    Raises PackageError if they cannot be downloaded, or one in the cache does not match the lock.
    """
    if not lock.is_file():
        raise PackageError(f"There is no {lock} to bundle wheels from; leave {target} out of the zip's name.")
    pinned = lock.read_text("utf-8")
    key = hashlib.sha256(f"{pinned}{target}".encode()).hexdigest()[:_HASH_LENGTH]
    cache = _caches() / "photo-analysis" / "wheels" / f"{target}-{key}"
    if not cache.is_dir():
        _fetch(lock, target, cache)
    found = sorted(cache.glob("*.whl"))
    for path in found:
        if f"sha256:{_digest(path)}" not in pinned:
            raise PackageError(f"{path} is not the file that {lock} pins; delete {cache} and build again.")
    return found


def _caches() -> Path:
    """Return the user's cache folder; for a user without a home, as in a container, one in the checkout."""
    named = os.environ.get("XDG_CACHE_HOME")
    if named:
        return Path(named)
    try:
        return Path.home() / ".cache"
    except (KeyError, RuntimeError):  # KeyError before Python 3.9
        return ROOT / "build" / "cache"


def _fetch(lock: Path, target: str, cache: Path) -> None:
    runtime, processor = target.split("-")
    version = runtime.replace("python", "")
    # The glibc of Amazon Linux 2023, which has Python 3.12 and later, and of Amazon Linux 2, which has 3.11.
    # https://docs.aws.amazon.com/lambda/latest/dg/lambda-runtimes.html
    newest = 34 if int(version.split(".")[1]) >= 12 else 26
    command = [_python_with_pip(), "-m", "pip", "download", "--quiet", "--disable-pip-version-check"]
    command += ["--no-input", "--retries", "1", "--timeout", "15", "--require-hashes", "--no-deps"]
    command += ["--only-binary", ":all:", "--python-version", version, "--implementation", "cp"]
    command += ["--requirement", str(lock)]
    for minor in range(newest, 16, -1):
        command += ["--platform", f"manylinux_2_{minor}_{_MACHINES[processor]}"]
    try:
        cache.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=".", dir=str(cache.parent)) as draft:
            command += ["--dest", str(Path(draft, "wheels"))]
            done = subprocess.run(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, check=False)
            if done.returncode:
                lines = done.stderr.decode(errors="replace").strip().splitlines() or ["pip said nothing"]
                raise PackageError(
                    f"The wheels of {lock} for {target} are not in {cache.parent} and cannot be fetched"
                    f" ({lines[-1]}); connect to a network and build again."
                )
            Path(draft, "wheels").rename(cache)
    except OSError as error:
        # Another build may have created the folder meanwhile.
        if not cache.is_dir():
            raise PackageError(f"Cannot write {cache}: {error.strerror}; set XDG_CACHE_HOME.") from error


def _python_with_pip() -> str:
    for python in (sys.executable, str(ROOT / ".venv" / "bin" / "python")):
        with contextlib.suppress(OSError):
            command = [python, "-m", "pip", "--version"]
            found = subprocess.run(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, check=False)
            if not found.returncode:
                return python
    raise PackageError(f"{sys.executable} has no pip to fetch wheels with; run 'make setup' first.")


def main() -> int:
    if sys.version_info[:2] < OLDEST:
        version = ".".join(map(str, sys.version_info[:3]))
        print(
            f"{sys.executable} is Python {version}, and 3.7 or newer is needed; put one on PATH as python3.",
            file=sys.stderr,
        )
        return 1
    parser = argparse.ArgumentParser(prog="package.py", description="Build the Lambda functions' zips.")
    add = parser.add_argument
    add("paths", nargs="*", type=Path, metavar="SOURCE OUTPUT", help="one function, and its zip")
    add("--all", action="store_true", help="every function, into build/ as Terraform names them")
    add("--wheels", metavar="python3.13-arm64", help="with --all: bundle wheels for these")
    options = parser.parse_args()
    if len(options.paths) != (0 if options.all else 2):
        parser.error("give a SOURCE folder and an OUTPUT zip, or --all")
    wanted = [tuple(options.paths)] if options.paths else []
    try:
        if options.all:
            for folder in sorted(path.parent for path in ROOT.glob("functions/*/handler.py")):
                target = options.wheels if (folder / "requirements.lock").exists() else None
                wanted.append((folder, ROOT / "build" / zip_name(folder, target)))
        for folder, output in wanted:
            print(f"{os.path.relpath(output)}  {build(folder, output):,} bytes")
    except PackageError as error:
        print(error, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
