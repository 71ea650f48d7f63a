"""Tables as files: Parquet with types, or CSV that spreadsheets open without running anything.

Rows are written as they are read, some thousands at a time, so that a table of any size takes the same memory.
"""

from __future__ import annotations

import csv
import io
from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING, Generic, TypeVar

from unsaf_async.errors import UserError, setting
from unsaf_async.files import writing_whole
from unsaf_async.text import install_extra

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence
    from pathlib import Path
    from typing import BinaryIO

    from unsaf_async.runs.settings import TableFormat

Row = TypeVar("Row")

BATCH_ROWS = 5_000
"""How many rows are in memory at once; in Parquet, a row group."""

_FORMULA = ("=", "+", "-", "@", "\t", "\r")


@dataclass(frozen=True, slots=True)
class Column(Generic[Row]):
    """One column of a table. kind: of its values; any of them may be None. about: what it holds, in one line."""

    name: str
    kind: type[str | int | float | bool]
    value: Callable[[Row], str | float | bool | None]
    about: str


def check_format(form: TableFormat) -> None:
    """Raises UserError where what a format needs is not installed.

    Args:
        form: Which format.
    """
    if form == "parquet":
        _check_pyarrow()


def write_rows(rows: Iterable[Row], columns: Sequence[Column[Row]], out: Path, form: TableFormat) -> int:
    """Writes a table, whole or not at all.

    Args:
        rows: Read once.
        columns: What is made of each, in order.
        out: The file to write.
        form: Which format.

    Returns:
        How many rows there were.

    Raises:
        UserError: `out` cannot be written.
    """
    with writing_whole(out, private=False) as file:
        return write_parquet(rows, columns, file) if form == "parquet" else write_csv(rows, columns, file)


def write_parquet(rows: Iterable[Row], columns: Sequence[Column[Row]], file: BinaryIO) -> int:
    """Writes rows as Parquet, a row group for each `BATCH_ROWS` of them.

    Args:
        rows: Read once.
        columns: What is made of each, in order.
        file: Open for writing.

    Returns:
        How many rows there were.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    types = {str: pa.string(), int: pa.int64(), float: pa.float64(), bool: pa.bool_()}
    schema = pa.schema([(column.name, types[column.kind]) for column in columns])
    written = 0
    with pq.ParquetWriter(file, schema, compression="zstd") as writer:
        remaining = iter(rows)
        while batch := list(islice(remaining, BATCH_ROWS)):
            values = {column.name: [column.value(row) for row in batch] for column in columns}
            writer.write_table(pa.Table.from_pydict(values, schema=schema))
            written += len(batch)
    return written


def write_csv(rows: Iterable[Row], columns: Sequence[Column[Row]], file: BinaryIO) -> int:
    """Writes rows as CSV in UTF-8, with a header; None is an empty cell, booleans are true and false.

    A text that a spreadsheet would take for a formula (it begins with one of `= + - @`, a tab or a carriage return) gets an
    apostrophe before it: a model's words are not to be run.

    Args:
        rows: Read once.
        columns: What is made of each, in order.
        file: Open for writing.

    Returns:
        How many rows there were.
    """
    text = io.TextIOWrapper(file, encoding="utf-8", newline="")
    table = csv.writer(text)
    table.writerow([column.name for column in columns])
    written = 0
    for row in rows:
        table.writerow([csv_cell(column.value(row)) for column in columns])
        written += 1
    text.flush()
    text.detach()
    return written


def csv_cell(value: str | float | bool | None) -> str | float | None:
    """A value as a cell of a CSV file that spreadsheets open.

    Args:
        value: Of a row.

    Returns:
        It, as text that no spreadsheet takes for a formula.
    """
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str) and value.startswith(_FORMULA):
        return f"'{value}"
    return value


def _check_pyarrow() -> None:
    try:
        import pyarrow.parquet  # noqa: F401
    except ModuleNotFoundError:
        raise UserError(
            f"{setting('form', 'parquet')}: pyarrow is not installed; give {setting('form', 'csv')}, or "
            f"{install_extra('parquet')}"
        ) from None
