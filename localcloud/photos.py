"""The photos of a folder: which files they are, and the key each is uploaded under."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from operations.errors import UserError
from operations.terminal import visible

from .cloud import REPOSITORY

if TYPE_CHECKING:
    from pathlib import Path

SAMPLES = REPOSITORY / "samples"


def find_photos(folder: Path) -> tuple[list[Path], list[Path]]:
    """The files in `folder` and below, and what is left out: hidden, or no file, as a link to nowhere.

    Raises UserError when there is no such folder, nothing in it, or a file that cannot be read or be a key.
    """
    if not folder.is_dir():
        raise UserError(
            f"There is no folder {visible(str(folder))}; name one with photos, like PHOTOS=holiday."
        )
    photos: list[Path] = []
    left_out: list[Path] = []
    for path in sorted(folder.rglob("*")):
        name = path.relative_to(folder)
        hidden = [part for part in name.parts if part.startswith(".")]
        if not hidden and path.is_file():
            # It says where the samples are from.
            if path.resolve() != SAMPLES / "README.md":
                _check(path, key=name.as_posix())
                photos.append(path)
        # Of what is hidden its folder alone is named, of folders none that was gone into.
        elif hidden == [name.name] or (not hidden and (path.is_symlink() or not path.is_dir())):
            left_out.append(name)
    if not photos:
        raise UserError(f"There is no photo in {visible(str(folder))}; name another folder with PHOTOS=.")
    return photos, left_out


def _check(path: Path, key: str) -> None:
    if not os.access(path, os.R_OK):
        raise UserError(f"{visible(str(path))} cannot be read; permit it, or take it elsewhere.")
    try:
        key.encode()
    except UnicodeEncodeError:
        raise UserError(
            f"The name of {visible(str(path))} is not UTF-8, as a key must be; rename it."
        ) from None
