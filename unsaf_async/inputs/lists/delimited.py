"""CSV and TSV files, and text files of paths: rows as texts by the columns' names."""

from __future__ import annotations

import csv
import os
import re
from itertools import chain
from typing import TYPE_CHECKING

from unsaf_async.errors import UserError
from unsaf_async.inputs.lists.columns import image_column, is_image_column
from unsaf_async.inputs.lists.entries import MOST_ECHOED, Entry
from unsaf_async.inputs.lists.pictures import folders_of, no_image_column
from unsaf_async.inputs.lists.signatures import PICTURE_SUFFIXES
from unsaf_async.inputs.lists.textfile import MAX_LINE_BYTES
from unsaf_async.text import shorten

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from pathlib import Path

    from unsaf_async.inputs.lists.textfile import Line, TextFile
    from unsaf_async.records import ImagePart

MAX_CELL = 131_072
"""Characters of a cell of several lines that holds no image; above it, a quote is likely to be missing."""

_DELIMITERS = (",", ";", "\t", "|")
_MOST_NAMED = 10


def delimiter_of(file: TextFile) -> str:
    """The character between a file's cells.

    Args:
        file: The file.

    Returns:
        What its first line says (`sep=;`), else what makes a column of images of its header, else what makes most columns.

    Raises:
        UserError: A line cannot be read.
    """
    head = first_line(file).strip("\r\n")
    if told := told_delimiter(head):
        return told

    def columns(delimiter: str) -> tuple[bool, int]:
        names = head.split(delimiter)
        return image_column(cells_of(head, delimiter)) is not None, len(names)

    usual = "\t" if file.path.suffix.lower() in (".tsv", ".tab") else ","
    return max((usual, *_DELIMITERS), key=columns)


def first_line(file: TextFile) -> str:
    """The line that a file begins with, as far as it is of its table.

    Args:
        file: The file.

    Returns:
        Its first line that is neither blank nor a comment, else its first that is not blank; "" without any.

    Raises:
        UserError: A line cannot be read.
    """
    lines = (line.text for line in file.lines() if line.text.strip())
    first = next(lines, "")
    return next((text for text in chain((first,), lines) if not _is_note(text)), first)


def cells_of(line: str, delimiter: str) -> list[str]:
    """The cells of a line with the columns' names.

    Args:
        line: The line.
        delimiter: What stands between cells.

    Returns:
        The cells, without spaces and quotes around them, and without a hash before the first.
    """
    first, *others = (cell.strip().strip('"') for cell in line.split(delimiter))
    return [_without_hash(first), *others]


def _without_hash(name: str) -> str:
    return name.lstrip("#").strip() or name


def _is_note(line: str) -> bool:
    """Whether a line above a table is a comment: it begins with a hash, and no column of images is behind that."""
    columns = (image_column(cells_of(line.strip(), delimiter)) for delimiter in _DELIMITERS)
    return line.lstrip().startswith("#") and all(each is None for each in columns)


def told_delimiter(line: str) -> str:
    """What a file's first line says that stands between cells, as Excel writes and reads it.

    Args:
        line: The line.

    Returns:
        The character behind `sep=`; "" if the line is another one.
    """
    told = re.fullmatch(r'(")?sep=([^\r\n])(?(1)")', line.strip("\r\n "), re.IGNORECASE)
    return told[2] if told else ""


def rows(file: TextFile) -> Iterator[Entry]:
    """The rows of a CSV or TSV file with a line of column names.

    Columns without a name are left out, as the index that pandas writes; so are rows without a cell.

    Args:
        file: The file.

    Yields:
        The rows, in order.

    Raises:
        UserError: A row has more or fewer cells than there are columns; all such rows are named. Or this is no CSV.
    """
    reader = _Reader(file, delimiter_of(file))
    columns: list[str] | None = None
    ragged: list[tuple[int, int]] = []
    number = 0
    for line, cells in reader:
        if not any(cell.strip() for cell in cells):
            continue
        if columns is None:
            columns = _columns(f"{file.path}:{line}", [_without_hash(cells[0].strip()), *cells[1:]])
            if image_column(columns) is None:
                raise no_image_column(f"{file.path}:{line}", columns)
            continue
        number += 1
        while len(cells) > len(columns) and not cells[-1].strip():
            cells.pop()
        if len(cells) != len(columns):
            ragged.append((line, len(cells)))
            continue
        if not ragged:
            fields = {name: cell for name, cell in zip(columns, cells, strict=True) if name}
            _check_lengths(f"{file.path}:{line}", fields)
            yield Entry(f"{file.path}:{line}", number, fields, typed=False, place_of=reader.finder())
    if ragged and columns is not None:
        raise _ragged(file, ragged, columns, reader.delimiter)


def paths(file: TextFile) -> Iterator[Entry]:
    """The rows of a text file with a path a line, perhaps with a label behind it.

    Args:
        file: The file.

    Yields:
        A row with the field `image`, and with `label` if there is one, for each line that is not blank and no comment.

    Raises:
        UserError: A line cannot be read.
    """
    number = 0
    for line in file.lines():
        if (text := line.text.strip()) and not is_comment(text, file.path):
            number += 1
            image, label = path_and_label(text)
            fields = {"image": image, "label": label} if label else {"image": image}
            yield Entry(f"{file.path}:{line.number}", number, fields, typed=False)


def path_and_label(line: str) -> tuple[str, str]:
    """What stands in a line of a text file with a path a line.

    Args:
        line: The line, stripped.

    Returns:
        (the path, without quotes around it; what stands behind it, "" for nothing).
    """
    parted = _LABELLED.match(line)
    if parted and not line.lower().endswith(PICTURE_SUFFIXES):
        return parted[1], parted[2]
    return line[1:-1] if _IN_QUOTES.fullmatch(line) else line.strip('"'), ""


_IN_QUOTES = re.compile(r"'[^']+'")
_LABELLED = re.compile(
    rf""""?(.*?(?:{"|".join(map(re.escape, PICTURE_SUFFIXES))}))"?(?:[\t,;]|\s+(?=\S+$))\s*(\S.*)$""", re.IGNORECASE
)


def is_comment(line: str, path: Path) -> bool:
    """Whether a line of a text file says something to its reader alone.

    Args:
        line: The line, stripped.
        path: The file.

    Returns:
        Whether it begins with a hash, and no picture beside the file is called so.
    """
    return line.startswith("#") and not any(os.path.isfile(folder / line) for folder in folders_of(path))  # noqa: PTH113


def cells_for(cells: int, columns: int) -> str:
    """How many cells a row has, and how many it should have.

    Args:
        cells: Of the row, >= 1.
        columns: Of its file, >= 1.

    Returns:
        Words such as "1 cell for 2 columns".
    """
    return f"{cells} cell{'s' * (cells != 1)} for {columns} column{'s' * (columns != 1)}"


class _Reader:
    """Rows of cells with their lines' numbers, and the bytes that the last one was read from."""

    def __init__(self, file: TextFile, delimiter: str) -> None:
        self.delimiter = delimiter
        self._file = file
        self._taken: list[Line] = []
        self._skipped = 0

    def __iter__(self) -> Iterator[tuple[int, list[str]]]:
        reader = csv.reader(self._lines(), delimiter=self.delimiter, skipinitialspace=True, strict=True)
        while True:
            self._taken.clear()
            number = reader.line_num + 1 + self._skipped
            try:
                cells = _next(reader)
            except csv.Error as error:
                raise UserError(
                    f"{self._file.path}:{number}: no valid CSV ({error}); check quotes and commas from here on"
                ) from error
            if cells is None:
                return
            yield number, cells

    def finder(self) -> Callable[[str, str], ImagePart | None]:
        """Finds base64 in the row that came last."""
        return self._file.finder(self._taken[0].start, b"".join(line.data for line in self._taken))

    def _lines(self) -> Iterator[str]:
        above = True  # the table
        for line in self._file.lines():
            if (line.number == 1 and told_delimiter(line.text)) or (above and _is_note(line.text)):
                self._skipped += 1
                continue
            above = above and not line.text.strip()
            self._taken.append(line)
            yield line.text


def _next(reader: Iterator[list[str]]) -> list[str] | None:
    """The next row's cells, of any length: `csv`'s limit is one for the whole process, and is there again afterwards."""
    before = csv.field_size_limit(MAX_LINE_BYTES)
    try:
        return next(reader, None)
    finally:
        csv.field_size_limit(before)


def _columns(where: str, cells: Sequence[str]) -> list[str]:
    columns = [cell.strip() for cell in cells]
    named = [name for name in columns if name]
    if len(set(named)) < len(named):
        raise UserError(
            f"{where}: a column's name occurs twice in {shorten(', '.join(named), MOST_ECHOED)}; rename one"
        )
    return columns


def _check_lengths(where: str, fields: Mapping[str, str]) -> None:
    for name, cell in fields.items():
        if len(cell) > MAX_CELL and "\n" in cell and not is_image_column(name):
            raise UserError(
                f"{where}: no valid CSV (a cell of {len(cell)} characters in the column {shorten(name, MOST_ECHOED)!r}); "
                "check quotes from here on"
            )


def _ragged(file: TextFile, ragged: Sequence[tuple[int, int]], columns: Sequence[str], delimiter: str) -> UserError:
    (line, cells), *others = ragged
    more = ", ".join(str(number) for number, _ in others[:_MOST_NAMED])
    rest = f" and {len(others) - _MOST_NAMED} more" if len(others) > _MOST_NAMED else ""
    also = f" (and in lines {more}{rest})" if others else ""
    what = {"\t": "tabs", ",": "commas"}.get(delimiter, f"{delimiter!r}")
    return UserError(f"{file.path}:{line}: {cells_for(cells, len(columns))}{also}; quote cells that hold {what}")
