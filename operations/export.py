"""Records into a file: a page at a time, complete or not at all."""

from __future__ import annotations

import contextlib
import csv
import json
import os
import sys
import tempfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, Self

from operations.errors import UserError
from operations.records import ATTRIBUTES, INTERNAL

if TYPE_CHECKING:
    from collections.abc import Iterator

    from operations.records import Record

# Rows gathered before a Parquet row group is written, or sooner when their texts weigh this much: faces can
# be 400 KB a record, and a row group is held in memory.
ROW_GROUP = 1_000
ROW_GROUP_BYTES = 4 * 1024 * 1024

# Columns with few different values; dictionaries of the others would hold every value twice.
_REPEATING = ["Bucket", "Format", "Outcome", "Reason"]

_WHOLE_NUMBERS = frozenset({"ExpiresAt", "FaceCount", "Height", "Size", "Width"})
_TRUTHS = frozenset({"Converted", "FaceDetected"})


@dataclass
class Summary:
    """`unknown`: names of attributes that were left out, in records of another version's shape."""

    records: int = 0
    unknown: set[str] = field(default_factory=set)


def check(path: Path) -> None:
    """Make sure `path` can become an export.

    Raises UserError when it exists, or its folder or ending is wrong.
    """
    if path.suffix.lower() not in _FORMATS:
        raise UserError(f"'{path.name}' ends in no known format; end it in .csv, .jsonl or .parquet.")
    try:
        exists = path.exists() or path.is_symlink()
    except OSError as error:
        raise _refused(path, error) from None
    if exists:
        raise UserError(f"{path} exists; name another file, or remove it first.")
    if not path.parent.is_dir():
        raise UserError(f"There is no folder {path.parent}; make it first.")
    if not os.access(path.parent, os.W_OK):
        raise UserError(f"The folder {path.parent} cannot be written to; name another one.")


def write(path: Path, pages: Iterator[list[Record]]) -> Summary:
    """Write the records of `pages` to `path`, whose ending says how; the file appears when it is complete.

    Every column of ATTRIBUTES is there, empty where a record lacks it. Memory holds one page, and for
    Parquet one row group.

    Raises UserError as `check`, and when the disk refuses.
    """
    check(path)
    summary = Summary()
    known = frozenset(ATTRIBUTES)
    draft = None
    try:
        # Its own name could make a long one too long.
        handle, name = tempfile.mkstemp(prefix=".export-", dir=path.parent)
        draft = Path(name)
        os.close(handle)
        with _FORMATS[path.suffix.lower()](draft) as writer:
            for page in pages:
                summary.records += len(page)
                for record in page:
                    summary.unknown |= record.keys() - known - INTERNAL
                writer.add(page)
        draft.chmod(0o666 & ~_umask())
        _put_in_place(draft, path)
    except OSError as error:
        raise _refused(path, error) from error
    finally:
        if draft is not None:
            draft.unlink(missing_ok=True)
    return summary


def _refused(path: Path, error: OSError) -> UserError:
    return UserError(f"{path} cannot be written ({error.strerror or error}); name another file.")


def _put_in_place(draft: Path, path: Path) -> None:
    try:
        # Unlike a rename, a link never replaces a file that appeared meanwhile.
        os.link(draft, path)
    except FileExistsError:
        raise UserError(f"{path} appeared meanwhile; name another file.") from None
    except OSError:
        # A file system without links.
        draft.rename(path)


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask


class _Csv:
    def __init__(self, path: Path) -> None:
        self._file: IO[str] = path.open("w", encoding="utf-8", newline="")
        self._writer = csv.writer(self._file)
        self._writer.writerow(ATTRIBUTES)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()

    def add(self, page: list[Record]) -> None:
        self._writer.writerows([_cell(record.get(name)) for name in ATTRIBUTES] for record in page)


def _cell(value: Any) -> Any:
    if isinstance(value, bool):
        return "true" if value else "false"
    # A spreadsheet takes a text that begins like this for a formula, and uploaders choose the keys.
    if isinstance(value, str) and value[:1] in ("=", "+", "-", "@", "\t", "\r"):
        return f"'{value}"
    return value


class _JsonLines:
    def __init__(self, path: Path) -> None:
        self._file: IO[str] = path.open("w", encoding="utf-8")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()

    def add(self, page: list[Record]) -> None:
        for record in page:
            row = {name: record.get(name) for name in ATTRIBUTES}
            self._file.write(json.dumps(row, ensure_ascii=False) + "\n")


@contextlib.contextmanager
def _without_numpy() -> Iterator[None]:
    """pyarrow takes NumPy along where it finds it: 12 MB that nothing here needs."""
    modules: dict[str, Any] = sys.modules  # None there is how an import is refused.
    if "numpy" in modules:
        yield
        return
    modules["numpy"] = None
    try:
        yield
    finally:
        del modules["numpy"]


class _Parquet:
    def __init__(self, path: Path) -> None:
        try:
            with _without_numpy():
                import pyarrow
                from pyarrow import parquet
        except ImportError:
            raise UserError("Parquet needs pyarrow; run 'make setup', or export .csv or .jsonl.") from None
        self._arrow = pyarrow
        types = {
            **dict.fromkeys(_WHOLE_NUMBERS, pyarrow.int64()),
            **dict.fromkeys(_TRUTHS, pyarrow.bool_()),
        }
        self._schema = pyarrow.schema([(name, types.get(name, pyarrow.string())) for name in ATTRIBUTES])
        # pyarrow's own pool keeps what it freed.
        pyarrow.set_memory_pool(pyarrow.system_memory_pool())
        self._writer = parquet.ParquetWriter(
            path, self._schema, compression="zstd", use_dictionary=_REPEATING
        )
        self._rows: list[Record] = []
        self._bytes = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        with contextlib.ExitStack() as stack:
            stack.callback(self._writer.close)
            if kind is None:
                self._flush()

    def add(self, page: list[Record]) -> None:
        for record in page:
            self._rows.append(record)
            self._bytes += 500 + len(record.get("FaceDetails") or "")
            if len(self._rows) >= ROW_GROUP or self._bytes >= ROW_GROUP_BYTES:
                self._flush()

    def _flush(self) -> None:
        if not self._rows:
            return
        columns = [
            self._arrow.array(
                [_typed(name, record.get(name)) for record in self._rows], self._schema.field(name).type
            )
            for name in ATTRIBUTES
        ]
        self._rows, self._bytes = [], 0
        self._writer.write_table(self._arrow.Table.from_arrays(columns, schema=self._schema))


def _typed(name: str, value: Any) -> Any:
    """`value` as its column wants it; None for what cannot be, as in a record of another shape."""
    if value is None:
        return None
    if name in _TRUTHS:
        return value if isinstance(value, bool) else None
    if name in _WHOLE_NUMBERS:
        try:
            return int(value)
        except (TypeError, ValueError):
            return None
    return value if isinstance(value, str) else str(value)


_FORMATS: dict[str, type[_Csv | _JsonLines | _Parquet]] = {
    ".csv": _Csv,
    ".jsonl": _JsonLines,
    ".parquet": _Parquet,
}
