"""Export records to a file, all or nothing, in bounded memory."""

from __future__ import annotations

import contextlib
import csv
import json
import uuid
from typing import TYPE_CHECKING, Any

from operations import terminal
from operations.errors import UserError
from operations.records import ATTRIBUTES, INTERNAL

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

    from operations.records import Record

# Size of a Parquet row group, which is held in memory: a thousand small records, or ten with the maximum of
# 400 KB of faces.
ROW_GROUP_BYTES = 4 * 1024 * 1024
_ROW_BYTES = 4 * 1024
# Records between updates of the progress bar.
_STEP = 100

# Columns with few distinct values; for the others, a dictionary would store every value twice.
_REPEATING = ["Bucket", "Format", "Outcome", "Reason"]


@contextlib.contextmanager
def new_file(path: Path) -> Iterator[Path]:
    """A draft to write, renamed to `path` when the block succeeds; otherwise nothing is left.

    Raises UserError when `path` exists or cannot be written.
    """
    # Appending to the name could make it too long.
    draft = path.with_name(f".{uuid.uuid4().hex}")
    try:
        # Reserve the name now, so that no other file is replaced at the end.
        path.touch(exist_ok=False)
        try:
            yield draft
            draft.replace(path)
        except BaseException:
            path.unlink()
            raise
        finally:
            draft.unlink(missing_ok=True)
    except OSError as error:
        raise UserError(f"{path} cannot be written ({error.strerror or error}); name another file.") from None


def write(
    path: Path, found: Iterable[Record], update: terminal.Update = terminal.no_progress
) -> tuple[int, list[str]]:
    """Write records to the new file `path`, in the format of its extension.

    Returns their number, and the names of unknown attributes that were left out. Every attribute in
    ATTRIBUTES is a column, empty where a record lacks it.

    Raises UserError as `new_file`, and for an unknown extension.
    """
    if path.suffix.lower() not in _FORMATS:
        raise UserError(f"'{path.name}' ends in no known format; end it in .csv, .jsonl or .parquet.")
    count, unknown = 0, set[str]()

    def counted() -> Iterator[Record]:
        nonlocal count, unknown
        for record in found:
            if count % _STEP == 0:
                update(count)
            count += 1
            unknown |= record.keys() - ATTRIBUTES.keys() - INTERNAL
            yield record

    with new_file(path) as draft:
        _FORMATS[path.suffix.lower()](draft, counted())
    return count, sorted(unknown)


def _csv(path: Path, found: Iterable[Record]) -> None:
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(ATTRIBUTES)
        writer.writerows([_cell(record.get(name)) for name in ATTRIBUTES] for record in found)


def _cell(value: Any) -> Any:
    if isinstance(value, bool):
        return "true" if value else "false"
    # Spreadsheets run text that begins like this as a formula, and uploaders choose the keys.
    if isinstance(value, str) and value[:1] in ("=", "+", "-", "@", "\t", "\r"):
        return f"'{value}"
    return value


def _json_lines(path: Path, found: Iterable[Record]) -> None:
    with path.open("w", encoding="utf-8") as file:
        for record in found:
            row = {name: record.get(name) for name in ATTRIBUTES}
            file.write(json.dumps(row, ensure_ascii=False) + "\n")


def _parquet(path: Path, found: Iterable[Record]) -> None:
    import pyarrow
    from pyarrow import parquet

    types = {str: pyarrow.string(), int: pyarrow.int64(), bool: pyarrow.bool_()}
    schema = pyarrow.schema([(name, types[kind]) for name, kind in ATTRIBUTES.items()])
    # pyarrow's default pool does not return freed memory.
    pyarrow.set_memory_pool(pyarrow.system_memory_pool())
    with parquet.ParquetWriter(path, schema, compression="zstd", use_dictionary=_REPEATING) as writer:
        for rows in _row_groups(found):
            writer.write_table(pyarrow.Table.from_pylist(rows, schema=schema))


def _row_groups(found: Iterable[Record]) -> Iterator[list[Record]]:
    rows: list[Record] = []
    weight = 0
    for record in found:
        rows.append({name: _typed(record.get(name), kind) for name, kind in ATTRIBUTES.items()})
        weight += _ROW_BYTES + len(record.get("FaceDetails") or "")
        if weight >= ROW_GROUP_BYTES:
            yield rows
            rows, weight = [], 0
    if rows:
        yield rows


def _typed(value: Any, kind: type) -> Any:
    """`value` in its column's type; None if it cannot be converted."""
    try:
        return None if value is None else kind(value)
    except ValueError:
        return None


_FORMATS = {".csv": _csv, ".jsonl": _json_lines, ".parquet": _parquet}
