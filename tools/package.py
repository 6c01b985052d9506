"""Build the Lambda functions' zips, byte for byte the same everywhere.

Terraform runs this file itself with whatever ``python3`` it finds, so it uses the standard library only:

    python3 tools/package.py functions/process_image build/process_image-0123456789abcdef.zip
    python3 tools/package.py --all

Python 3.7 is the oldest that can build them, and 3.6 must be able to read this file to say that it cannot;
hence the quotes around newer annotations.
"""

import argparse
import contextlib
import hashlib
import os
import re
import stat
import sys
import tempfile
import zipfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
OLDEST = (3, 7)

# The earliest time a zip can hold.
_TIMESTAMP = (1980, 1, 1, 0, 0, 0)
_UNIX = 3
_HASH_LENGTH = 16
_HASHED_NAME = re.compile(r"-(?P<hash>[0-9a-f]{16})\.zip$")


class PackageError(Exception):
    """A function cannot be packaged; the message is one sentence for people."""


def sources(folder: Path) -> "list[str]":
    """Return the paths, relative to `folder` and with forward slashes, of everything that goes into its zip.

    The order is that of Terraform's ``sort(fileset(folder, "**/*.py"))``.

    Raises:
        PackageError: there is no such folder, it holds no Python source, or it holds a symbolic link.
    """
    if not folder.is_dir():
        raise PackageError(f"There is no folder {folder}; name the folder that holds the function's sources.")
    names: list[str] = []
    for parent, folders, files in os.walk(folder):
        for name in [*folders, *files]:
            path = Path(parent, name)
            # Terraform and os.walk disagree about what lies behind a link, and so would the hashes.
            if path.is_symlink() and (path.is_dir() or name.endswith(".py")):
                raise PackageError(
                    f"{path} is a symbolic link; put the file itself in the function's folder."
                )
        names += [Path(parent, name).relative_to(folder).as_posix() for name in files if name.endswith(".py")]
    if not names:
        raise PackageError(f"There is no Python source in {folder}; name the folder that holds handler.py.")
    return sorted(names)


def source_hash(folder: Path) -> str:
    """Return 16 hexadecimal digits: the hash of the sources in `folder`, as modules/function computes it.

    Raises:
        PackageError: as `sources`.
    """
    lines = (
        f"{name}:{hashlib.sha256((folder / name).read_bytes()).hexdigest()}\n" for name in sources(folder)
    )
    return hashlib.sha256("".join(lines).encode()).hexdigest()[:_HASH_LENGTH]


def build(folder: Path, output: Path) -> int:
    """Write the zip of `folder`'s sources to `output`, whole or not at all, and return its size in bytes.

    Raises:
        PackageError: as `sources`; `output` cannot be written; or the hash in the name of `output` is not
            that of the sources, because they changed after Terraform made its plan.
    """
    names = sources(folder)
    wanted = _HASHED_NAME.search(output.name)
    if wanted and wanted["hash"] != source_hash(folder):
        raise PackageError(
            f"The sources in {folder} changed since {output.name} was planned; plan again, then apply."
        )
    try:
        output.parent.mkdir(parents=True, exist_ok=True)
        descriptor, name = tempfile.mkstemp(prefix=f".{output.name}.", dir=output.parent)
    except OSError as error:
        raise PackageError(f"Cannot write {output}: {error.strerror}; choose another place.") from error
    draft = Path(name)
    try:
        with os.fdopen(descriptor, "wb") as stream, zipfile.ZipFile(stream, "w") as archive:
            for name in names:
                # Below the folder's own name: the function is a package, its modules import each other.
                entry = zipfile.ZipInfo(f"{folder.resolve().name}/{name}", _TIMESTAMP)
                entry.create_system = _UNIX
                entry.external_attr = (stat.S_IFREG | 0o644) << 16
                entry.compress_type = zipfile.ZIP_DEFLATED
                archive.writestr(entry, (folder / name).read_bytes(), compresslevel=9)
        draft.chmod(0o644)
        size = draft.stat().st_size
        draft.replace(output)
    except OSError as error:
        raise PackageError(f"Cannot write {output}: {error.strerror}; choose another place.") from error
    finally:
        with contextlib.suppress(FileNotFoundError):
            draft.unlink()
    return size


def functions(folder: Path) -> "list[Path]":
    """Return the folders in `folder` that hold a ``handler.py``.

    Raises:
        PackageError: there is none.
    """
    found = sorted(path.parent for path in folder.glob("*/handler.py"))
    if not found:
        raise PackageError(f"There is no function in {folder}; a function is a folder with a handler.py.")
    return found


def main(arguments: "list[str] | None" = None) -> int:
    if sys.version_info[:2] < OLDEST:
        version = ".".join(map(str, sys.version_info[:3]))
        print(
            f"{sys.executable} is Python {version}, and 3.7 or newer is needed; put one on PATH as python3.",
            file=sys.stderr,
        )
        return 1
    parser = argparse.ArgumentParser(prog="package.py", description="Build the Lambda functions' zips.")
    parser.add_argument("source", nargs="?", type=Path, help="folder of one function")
    parser.add_argument("output", nargs="?", type=Path, help="zip to write")
    parser.add_argument(
        "--all", action="store_true", help="build every function into build/, under the names Terraform uses"
    )
    options = parser.parse_args(arguments)
    if options.all == bool(options.source and options.output) or (options.all and options.source):
        parser.error("give a SOURCE folder and an OUTPUT zip, or --all")
    try:
        if options.all:
            for folder in functions(ROOT / "functions"):
                output = ROOT / "build" / f"{folder.name}-{source_hash(folder)}.zip"
                size = build(folder, output)
                print(f"{output.relative_to(ROOT)}  {size:,} bytes")
        else:
            size = build(options.source, options.output)
            print(f"{options.output}  {size:,} bytes")
    except PackageError as error:
        print(error, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
