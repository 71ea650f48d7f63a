"""An image that is a part of a file (bytes or base64 at a place, a cell of a table) or an object. Read when its turn comes.

A part remembers what its file was like when the list was read, so that a file which has changed since is noticed. Decodes no
picture.
"""

from __future__ import annotations

import hashlib
import json
import os
from base64 import b64decode
from binascii import Error as BadBase64
from dataclasses import dataclass
from functools import lru_cache
from io import BytesIO
from typing import TYPE_CHECKING, Any, BinaryIO, cast

from unsaf_async.errors import UnsafError
from unsaf_async.inputs.objects import ObjectError, open_object, read_object
from unsaf_async.text import install_extra, one_line, shorten_at_word

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from unsaf_async.records import ImagePart

MAX_GROUP_BYTES = 256 * 2**20
"""A row group whose column takes no more is read whole and kept for the next image; a larger one is read row by row."""

_ENDS_BYTES = 1 << 16
"""How much of a file's beginning and of its end tells whether it has changed."""


class PartError(UnsafError):
    """Why a part of a file cannot be read, in one line without the file's path."""


@dataclass(frozen=True, slots=True)
class FilePart:
    """An image in a file that holds more than the image, or in an object store.

    Attributes:
        path: The file; of an object, what is shown of it.
        part: Where in it.
    """

    path: Path
    part: ImagePart

    def read(self, limit: int) -> bytes:
        """The image's bytes. Blocks.

        Args:
            limit: Most bytes that are read, >= 1; of base64 so many are decoded.

        Returns:
            The bytes, one more than `limit` at most: an image of more is too large.

        Raises:
            PartError: The file is missing, has changed, or holds no such part.
        """
        try:
            if self.part.kind == "object":
                return read_object(self.part, limit)
            if not self.path.is_file():
                raise PartError("the file that holds the image is missing")
            if file_state(self.path) != self.part.file_state:
                raise PartError("the file that holds the image has changed since the list was read; start a new run")
            if self.part.kind == "cell":
                return bytes_of(_cell(self.path, self.part), limit)
            with self.path.open("rb") as file:
                file.seek(self.part.start)
                if self.part.kind == "bytes":
                    return file.read(min(self.part.length, limit + 1))
                return from_base64(file.read(min(self.part.length, 2 * limit)))
        except ObjectError as error:
            raise PartError(str(error)) from None
        except OSError as error:
            raise PartError(f"the file that holds the image cannot be read: {error.strerror or error}") from error

    def open(self, limit: int) -> BinaryIO:
        """The image's bytes as a file, of which no more need be read than its header. Blocks.

        Args:
            limit: Most bytes that are read, >= 1.

        Returns:
            The file, from its beginning.

        Raises:
            PartError: As `read` does.
        """
        if self.part.kind != "object":
            return BytesIO(self.read(limit))
        try:
            return open_object(self.part)
        except ObjectError as error:
            raise PartError(str(error)) from None


def located(path: Path, part: ImagePart | None) -> Path | FilePart:
    """What is read as an image: a file, or a part of one.

    Args:
        path: The file.
        part: Where in it; None: the file is the image.

    Returns:
        The path itself, or the part.
    """
    return path if part is None else FilePart(path, part)


def file_state(path: Path) -> str:
    """A digest that changes with a file: of its size, its beginning and its end.

    Args:
        path: The file.

    Returns:
        16 hexadecimal digits.

    Raises:
        OSError: The file cannot be read.
    """
    with path.open("rb") as file:
        size = os.fstat(file.fileno()).st_size
        digest = hashlib.sha256(f"{size}:".encode() + file.read(_ENDS_BYTES))
        file.seek(max(0, size - _ENDS_BYTES))
        digest.update(file.read(_ENDS_BYTES))
    return digest.hexdigest()[:16]


def from_base64(text: bytes) -> bytes:
    """Bytes from their base64, as it stands in a file: in lines, with JSON's escapes, UTF-8, with or without padding.

    Args:
        text: The base64 alone, without a data URL's head.

    Returns:
        The bytes.

    Raises:
        PartError: This is no base64.
    """
    try:
        if b"\\" in text:
            text = json.loads(b'"' + text + b'"').encode()
        plain = b"".join(text.split()).rstrip(b"=").translate(_URL_SAFE)
        return b64decode(plain + b"=" * (-len(plain) % 4), validate=True)
    except (BadBase64, ValueError) as error:
        raise PartError(f"what stands in place of the image is no base64 ({one_line(str(error), 80)})") from error


_URL_SAFE = bytes.maketrans(b"-_", b"+/")


def bytes_of(value: object, limit: int) -> bytes:
    """The bytes of an image in a table's cell.

    Args:
        value: Bytes, base64, a data URL, `{"bytes": ...}`, or a list with one of these.
        limit: Most bytes of an image.

    Returns:
        The bytes, one more than `limit` at most.

    Raises:
        PartError: The cell holds none of these.
    """
    if isinstance(value, list) and len(value) == 1:
        value = value[0]
    if isinstance(value, dict):
        value = value.get("bytes")
    if isinstance(value, str):
        return from_base64(value.strip().rpartition(",")[2][: 2 * limit].encode())
    if not isinstance(value, bytes):
        raise PartError("its cell holds no image")
    return value[: limit + 1]


# --- tables -----------------------------------------------------------------------------------------------------------


def _cell(path: Path, part: ImagePart) -> object:
    try:
        find = _parquet_cell if is_parquet(path) else _arrow_cell
        return find(path, part.start, part.column)
    except ModuleNotFoundError:
        raise PartError(f"pyarrow, which reads its file, is not installed; {install_extra('parquet')}") from None
    except (PartError, OSError):
        raise
    except Exception as error:  # pyarrow raises whatever it stumbles over
        raise PartError(f"its cell cannot be read: {shorten_at_word(one_line(str(error)), 160)}") from error


def _parquet_cell(path: Path, row: int, column: str) -> object:
    with open_parquet(path) as file:
        for group in range(file.metadata.num_row_groups):
            rows = file.metadata.row_group(group).num_rows
            if row >= rows:
                row -= rows
            elif _claimed(file, group, column) <= MAX_GROUP_BYTES:
                return _group(path, path.stat().st_mtime_ns, group, column)[row].as_py()
            else:
                return _streamed(file, group, row, column)
    raise PartError(_NO_ROW)


_NO_ROW = "its table has no such row"


def _claimed(file: Any, group: int, column: str) -> int:
    chunks = file.metadata.row_group(group)
    each = (chunks.column(number) for number in range(chunks.num_columns))
    return sum(chunk.total_uncompressed_size for chunk in each if f"{chunk.path_in_schema}.".startswith(f"{column}."))


@lru_cache(maxsize=1)
def _group(path: Path, modified_ns: int, group: int, column: str) -> Any:  # noqa: ARG001  # the time tells a changed file
    with open_parquet(path) as file:
        return file.read_row_group(group, columns=[column], use_threads=False).column(0)


def _streamed(file: Any, group: int, row: int, column: str) -> object:
    for batch in file.iter_batches(batch_size=1, row_groups=[group], columns=[column], use_threads=False):
        if row < batch.num_rows:
            return cast("object", batch.column(0)[row].as_py())
        row -= batch.num_rows
    raise PartError(_NO_ROW)


def _arrow_cell(path: Path, row: int, column: str) -> object:
    for batch in arrow_batches(path):
        if row < batch.num_rows:
            batch.validate(full=True)
            return cast("object", batch.column(batch.schema.get_field_index(column))[row].as_py())
        row -= batch.num_rows
    raise PartError(_NO_ROW)


def is_parquet(path: Path) -> bool:
    """Whether a table is a Parquet file: by its name, or because it begins as one.

    Args:
        path: The file.

    Returns:
        Whether it is; else it is an Arrow file.

    Raises:
        OSError: It cannot be read.
    """
    if path.suffix.lower() in (".parquet", ".pq"):
        return True
    with path.open("rb") as file:
        return file.read(4) == b"PAR1"


def open_parquet(path: Path) -> Any:
    """A Parquet file, opened so that its pages are read one at a time.

    Args:
        path: The file.

    Returns:
        pyarrow's `ParquetFile`.

    Raises:
        ModuleNotFoundError: pyarrow is not installed.
    """
    import pyarrow.parquet as pq

    return pq.ParquetFile(path, buffer_size=1 << 20, pre_buffer=False)


def arrow_batches(path: Path) -> Iterator[Any]:
    """The record batches of an Arrow file, as `datasets` saves them: a stream, or a file with a footer. Mapped, not read.

    A batch is taken at its file's word: one that is read is to be validated first.

    Args:
        path: The file.

    Yields:
        pyarrow's record batches, in order.

    Raises:
        ModuleNotFoundError: pyarrow is not installed.
    """
    import pyarrow as pa

    with pa.memory_map(str(path)) as source:
        if source.read(6) == b"ARROW1":
            source.seek(0)
            reader = pa.ipc.open_file(source)
            yield from (reader.get_batch(number) for number in range(reader.num_record_batches))
        else:
            source.seek(0)
            yield from pa.ipc.open_stream(source)
