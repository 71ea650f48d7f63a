"""Lists of images as people have them, read with one pair of eyes: whatever reads a list gets its rows from here.

A module a kind of container turns files into rows (`entries.Entry`); `pictures` alone knows how a row names its image. Nothing is
downloaded, unpacked or decoded, and no file is read whole that can be read row by row.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from unsaf_async.errors import UserError
from unsaf_async.inputs.lists import archives, delimited, jsonfiles, tables
from unsaf_async.inputs.lists.columns import image_column
from unsaf_async.inputs.lists.entries import echoed
from unsaf_async.inputs.lists.pictures import folders_of
from unsaf_async.inputs.lists.signatures import (
    DELIMITED_SUFFIXES,
    HEAD_BYTES,
    JSON_SUFFIXES,
    PICTURE_SUFFIXES,
    TABLE_SUFFIXES,
    is_picture,
    known_as,
)
from unsaf_async.inputs.lists.textfile import open_text

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from unsaf_async.inputs.lists.entries import Entry

Kind = Literal["picture", "table", "archive", "json", "delimited", "paths"]
"""What a file is: a picture, or a list of one of five kinds."""

SHARD_SUFFIXES = (".parquet", ".arrow", ".tar")
"""Files that hold their images: what is read of a folder that holds no picture itself."""


def kind_of(path: Path) -> Kind:
    """What a file is, by its name and its beginning.

    Args:
        path: The file.

    Returns:
        Its kind. What is called a picture is taken for one.

    Raises:
        UserError: It is neither a picture nor a list of pictures.
        OSError: It cannot be read.
    """
    suffix = path.suffix.lower()
    if suffix in PICTURE_SUFFIXES:
        return "picture"
    with path.open("rb") as file:
        head = file.read(HEAD_BYTES)
    if is_picture(head):
        return "picture"
    if head.startswith((b"PAR1", b"ARROW1", b"\xff\xff\xff\xff")) or suffix in TABLE_SUFFIXES:
        return "table"
    if head[257:262] == b"ustar" or (suffix == ".tar" and not known_as(head)):
        return "archive"
    if known := known_as(head):
        raise neither(path, known)
    if suffix in JSON_SUFFIXES:
        return "json"
    return _kind_of_text(path, head)


def neither(path: Path, what: str) -> UserError:
    """An error about a file that is no picture and no list.

    Args:
        path: The file.
        what: What it is instead.

    Returns:
        The error, to be raised.
    """
    return UserError(
        f"{path}: is no picture and no list of pictures, but {what} (lists: CSV, TSV, JSON, Parquet, tar, a path a line)"
    )


def read_list(path: Path) -> Iterator[Entry]:
    """The rows of a list.

    Args:
        path: The file.

    Yields:
        The rows, in order.

    Raises:
        UserError: The file is no list, or malformed.
        OSError: It cannot be read.
    """
    kind = kind_of(path)
    if kind == "picture":
        raise neither(path, "a picture: a list was asked for")
    if kind == "table":
        yield from tables.rows(path)
    elif kind == "archive":
        yield from archives.rows(path, PICTURE_SUFFIXES)
    else:
        text_rows = {"json": jsonfiles.rows, "delimited": delimited.rows, "paths": delimited.paths}[kind]
        yield from text_rows(open_text(path))


def files_of(path: Path) -> list[Path]:
    """The files that a list consists of.

    Args:
        path: A list, or a folder of tables and archives.

    Returns:
        The list itself; of a folder, what `datasets` has saved there, else its tables and archives, sorted.
    """
    if not path.is_dir():
        return [path]
    return tables.arrow_files(path) or shards_in(path)


def shards_in(folder: Path) -> list[Path]:
    """The tables and archives in a folder and its subfolders.

    Args:
        folder: Where to look. Hidden files are passed over.

    Returns:
        The files, sorted.
    """
    files = (each for each in sorted(folder.rglob("*")) if each.suffix.lower() in SHARD_SUFFIXES)
    return [each for each in files if each.is_file() and not each.name.startswith(".")]


def _kind_of_text(path: Path, head: bytes) -> Kind:
    by_name = path.suffix.lower() in DELIMITED_SUFFIXES
    if not head:
        if by_name:
            return "delimited"
        raise neither(path, "an empty file")
    file = open_text(path)
    if not by_name and file.encoding == "utf-8" and _is_binary(head):
        raise neither(path, "a file of another kind")
    begins = delimited.first_line(file)
    first = begins.strip()
    if first.startswith(("[", "{")) and not by_name:
        return "json"
    if delimited.told_delimiter(begins):
        return "delimited"
    cells = delimited.cells_of(first, delimited.delimiter_of(file))
    if image_column(cells) is not None:
        return "delimited"
    lines = (text for line in file.lines() if (text := line.text.strip()) and not delimited.is_comment(text, path))
    if not by_name and _is_path(path, delimited.path_and_label(next(lines, ""))[0]):
        return "paths"
    is_row = by_name and len(cells) > 1 and any(_is_path(path, cell) for cell in cells)
    if _is_path(path, first.strip('"')) and not (
        is_row and not any((each / first).is_file() for each in folders_of(path))
    ):
        return "paths"
    if by_name and any(_is_path(path, cell) for cell in cells):
        raise UserError(f"{path}:1: begins with a row, {echoed(first)}; put a line with the columns' names above it")
    if by_name:
        return "delimited"
    title = next(line.text.strip() for line in file.lines() if line.text.strip()) if first else ""
    raise neither(path, f"a text that begins with {echoed(title)}")


def _is_path(path: Path, text: str) -> bool:
    """Whether a line names a picture: by its name, or because it is there."""
    if text.lower().endswith(PICTURE_SUFFIXES):
        return True
    try:
        return bool(text) and "\0" not in text and (path.parent / text).is_file()
    except (OSError, ValueError):
        return False


def _is_binary(head: bytes) -> bool:
    """Whether bytes are no text: there are control characters among them, or too many are no UTF-8."""
    controls = sum(byte < 32 and byte not in (9, 10, 12, 13) for byte in head)
    return controls > 0 or head.decode("utf-8", "replace").count("\ufffd") > len(head) // 10
