"""Text files as people have them: their encoding, and their lines with numbers and places. No file is read whole but UTF-16's."""

from __future__ import annotations

import codecs
import io
import json
import os
import re
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, BinaryIO

from unsaf_async.errors import UserError
from unsaf_async.inputs.lists.encodings import encoding_of
from unsaf_async.inputs.parts import file_state
from unsaf_async.records import ImagePart

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

MAX_LINE_BYTES = 128 * 2**20
"""An image of 64 MiB takes 86 MiB in base64."""
MAX_TEXT_BYTES = 512 * 2**20
"""Of a file that can only be read whole: a JSON array, UTF-16."""

_CHUNK = 1 << 20
_SAMPLE = 1 << 16


@dataclass(frozen=True, slots=True)
class Line:
    """A line, with what ends it.

    Attributes:
        number: From 1.
        start: Its first byte's place in the file.
        data: Its bytes, in the file's encoding.
        text: The same as text.
    """

    number: int
    start: int
    data: bytes
    text: str


@dataclass(frozen=True)
class TextFile:
    """A text file whose encoding is known.

    Attributes:
        path: The file.
        encoding: Python's name of it; "utf-8" of ASCII, too.
        begins: Where its text begins: behind a byte order mark.
        only_cr: Whether its lines end with a carriage return alone.
        state: See `parts.file_state`.
    """

    path: Path
    encoding: str
    begins: int
    only_cr: bool
    state: str

    def lines(self) -> Iterator[Line]:
        """The lines of the file.

        Yields:
            Every line; an empty file has none.

        Raises:
            UserError: A line is longer than `MAX_LINE_BYTES`, or not in the file's encoding.
        """
        with self._opened() as file:
            start = 0 if self._is_wide else self.begins
            file.seek(start)
            number = 1
            for data in _cut(file, b"\r" if self.only_cr else b"\n"):
                if len(data) > MAX_LINE_BYTES:
                    raise UserError(f"{self.path}:{number}: the line is longer than {MAX_LINE_BYTES >> 20} MiB")
                yield Line(number, start, data, self._decoded(data, number))
                start += len(data)
                number += 1

    def text(self) -> str:
        """The whole text.

        Returns:
            The text, without a byte order mark.

        Raises:
            UserError: The file is larger than `MAX_TEXT_BYTES`, or not in its encoding.
        """
        return self._decoded(self.data(), 1)

    def data(self) -> bytes:
        """All bytes of the text, without a byte order mark; UTF-16 is turned into UTF-8.

        Returns:
            The bytes.

        Raises:
            UserError: The file is larger than `MAX_TEXT_BYTES`.
        """
        with self._opened() as file:
            file.seek(0 if self._is_wide else self.begins)
            data = file.read(MAX_TEXT_BYTES + 1)
        if len(data) > MAX_TEXT_BYTES:
            raise UserError(f"{self.path}: is larger than {MAX_TEXT_BYTES >> 20} MiB; give JSON lines or a CSV file")
        return data

    def finder(self, start: int, data: bytes) -> Callable[[str, str], ImagePart | None]:
        """Finds base64 where it stands in the file, for rows that were read from there.

        Args:
            start: The place of `data` in the file.
            data: The bytes of a row or of several, in their order.

        Returns:
            A function of a field's name and the base64 that it holds, without a data URL's head: where it stands, or None.
        """
        searched = 0

        def find(_: str, text: str) -> ImagePart | None:
            nonlocal searched
            if self._is_wide:
                return None
            for written in _as_written(text):
                at = data.find(written, searched)
                at = data.find(written) if at < 0 else at
                if at >= 0:
                    searched = at
                    return ImagePart(kind="base64", start=start + at, length=len(written), file_state=self.state)
            return None

        return find

    @property
    def _is_wide(self) -> bool:
        return self.encoding.startswith(("utf-16", "utf-32"))

    def _opened(self) -> BinaryIO:
        if not self._is_wide:
            return self.path.open("rb")
        with self.path.open("rb") as file:
            file.seek(self.begins)
            data = file.read(MAX_TEXT_BYTES + 1)
        if len(data) > MAX_TEXT_BYTES:
            raise UserError(f"{self.path}: is larger than {MAX_TEXT_BYTES >> 20} MiB in UTF-16; save it as UTF-8")
        try:
            return io.BytesIO(data.decode(self.encoding).encode())
        except UnicodeError as error:
            what = self.encoding[:6].upper()
            raise UserError(f"{self.path}: this is not whole {what}; save the file as UTF-8") from error

    def _decoded(self, data: bytes, line: int) -> str:
        try:
            return data.decode("utf-8" if self._is_wide else self.encoding, "strict")
        except UnicodeDecodeError as error:
            line += data.count(b"\n", 0, error.start)
            raise UserError(f"{self.path}:{line}: this is not UTF-8; save the file as UTF-8") from error


def open_text(path: Path) -> TextFile:
    """A text file, with its encoding found: UTF-8, UTF-16, UTF-32, or an older one that its bytes tell (`encodings`).

    Args:
        path: The file.

    Returns:
        The file. Bytes that are in none of these encodings are refused where their line is read.

    Raises:
        OSError: The file cannot be read.
    """
    with path.open("rb") as file:
        head = file.read(_SAMPLE)
        stat = os.fstat(file.fileno())
    encoding, begins = _marked(head)
    if not encoding:
        encoding = _unmarked(path, stat.st_size, stat.st_mtime_ns)
    only_cr = b"\r" in head and b"\n" not in head
    return TextFile(path, encoding, begins, only_cr, file_state(path))


@lru_cache(maxsize=8)
def _unmarked(path: Path, size: int, modified_ns: int) -> str:  # noqa: ARG001  # they tell a changed file
    """The encoding of a file that says nothing of it. Reads the file; of one that is opened again, once."""
    return "utf-8" if _is_utf8(path) else encoding_of(_sample_of(path)) or "utf-8"


def _marked(head: bytes) -> tuple[str, int]:
    """The encoding that a file's beginning tells, and the length of its byte order mark; ("", 0) if it tells none."""
    if head.startswith(codecs.BOM_UTF8):
        return "utf-8", 3
    if head.startswith((codecs.BOM_UTF32_LE, codecs.BOM_UTF32_BE)):
        return ("utf-32-le" if head.startswith(codecs.BOM_UTF32_LE) else "utf-32-be"), 4
    if head.startswith(codecs.BOM_UTF16_LE):
        return "utf-16-le", 2
    if head.startswith(codecs.BOM_UTF16_BE):
        return "utf-16-be", 2
    start = head[:4096]
    even, odd = start[0::2].count(0), start[1::2].count(0)
    encoding = "utf-16-le" if odd > even else "utf-16-be"
    if max(even, odd) < max(4, 3 * min(even, odd)):  # as ASCII's letters in UTF-16 are, a header's at least
        return "", 0
    try:
        text = codecs.getincrementaldecoder(encoding)().decode(start)
    except UnicodeDecodeError:
        return "", 0
    return ("", 0) if re.search(r"[\0-\x08\x0e-\x1f]", text) else (encoding, 0)


def _is_utf8(path: Path) -> bool:
    decoder = codecs.getincrementaldecoder("utf-8")()
    try:
        with path.open("rb") as file:
            while chunk := file.read(_CHUNK):
                decoder.decode(chunk)
            decoder.decode(b"", final=True)
    except UnicodeDecodeError:
        return False
    return True


def _sample_of(path: Path) -> bytes:
    """Whole lines of a file that are not ASCII alone, without its long stretches of ASCII, such as base64."""
    sample = bytearray()
    with path.open("rb") as file:
        while len(sample) < _SAMPLE and (chunk := file.read(_CHUNK)):
            chunk += file.readline(MAX_LINE_BYTES)
            if not chunk.isascii() or _CONTROL.search(chunk):
                sample += _LONG_ASCII.sub(rb"\1 ", chunk)
    return bytes(sample)


_CONTROL = re.compile(rb"[\x00-\x08\x0e-\x1f]")
_LONG_ASCII = re.compile(rb"([\x20-\x7e]{4})[\x20-\x7e]{60,}")


def _cut(file: BinaryIO, end: bytes) -> Iterator[bytes]:
    """The lines of an open file, each with its end. One that is too long comes cut, with one byte too many."""
    if end == b"\n":
        while line := file.readline(MAX_LINE_BYTES + 1):
            yield line
        return
    rest = b""
    while chunk := file.read(_CHUNK):
        *lines, rest = (rest + chunk).split(end)
        yield from (line + end for line in lines)
        if len(rest) > MAX_LINE_BYTES:
            yield rest
            return
    if rest:
        yield rest


def _as_written(text: str) -> Iterator[bytes]:
    """How base64 may stand in a file: plain, or in JSON with its escapes."""
    plain = text.encode("ascii", "replace")
    yield plain
    yield json.dumps(text)[1:-1].encode()
    yield plain.replace(b"/", b"\\/")
    yield plain.replace(b"+", b"\\u002B").rstrip(b"=")
    yield plain.rstrip(b"=")
