"""The photos of a folder: which files they are, and the key each is uploaded under."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

from operations.errors import UserError
from operations.terminal import visible

from .cloud import REPOSITORY

if TYPE_CHECKING:
    from collections.abc import Iterator

SAMPLES = REPOSITORY / "samples"


class DemoError(UserError):
    """The demo cannot go on."""


def find_photos(folder: Path) -> tuple[list[Path], list[Path]]:
    """The files in `folder` and below, and what is left out: hidden, or no file, as a link to nowhere.

    Raises DemoError when there is no such folder, nothing in it, or a file that cannot be read or be a key.
    """
    if not folder.is_dir():
        raise DemoError(
            f"There is no folder {visible(str(folder))}; name one with photos, like PHOTOS=holiday."
        )
    photos: list[Path] = []
    left_out: list[Path] = []
    try:
        for path in _entries(folder):
            if path.name.startswith(".") or not path.is_file():
                left_out.append(path.relative_to(folder))
            # It says where the samples are from.
            elif path.resolve() != SAMPLES / "README.md":
                _check(path, folder)
                photos.append(path)
    except OSError as error:
        raise unreadable(error) from error
    if not photos:
        raise DemoError(f"There is no photo in {visible(str(folder))}; name another folder with PHOTOS=.")
    return sorted(photos), sorted(left_out)


def _entries(folder: Path) -> Iterator[Path]:
    """Everything in `folder` and below but the folders gone into: those neither hidden nor linked to."""

    def stop(error: OSError) -> NoReturn:
        raise error

    for parent, folders, files in os.walk(folder, onerror=stop):
        here = Path(parent)
        aside = {name for name in folders if name.startswith(".") or (here / name).is_symlink()}
        folders[:] = [name for name in folders if name not in aside]
        yield from (here / name for name in [*aside, *files])


def _check(path: Path, folder: Path) -> None:
    if not os.access(path, os.R_OK):
        raise DemoError(f"{visible(str(path))} cannot be read; permit it, or take it elsewhere.")
    try:
        key_of(path, folder).encode()
    except UnicodeEncodeError:
        raise DemoError(
            f"The name of {visible(str(path))} is not UTF-8, as a key must be; rename it."
        ) from None


def key_of(path: Path, folder: Path) -> str:
    return path.relative_to(folder).as_posix()


def unreadable(error: OSError) -> DemoError:
    return DemoError(f"{visible(str(error.filename))} cannot be read: {error.strerror}.")
