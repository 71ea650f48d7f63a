"""Files that outlive a crash: append-only files of whole lines, and files that are replaced whole or not at all.

A line is one unbuffered write, so it outlives `kill -9` (not a power cut). A last line that is incomplete, because its
process died or the disk was full, is cut off before the next one is written.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from unsaf_async.errors import UserError

if TYPE_CHECKING:
    from pathlib import Path


def whole_lines(file: Path) -> list[bytes]:
    """The whole lines of a file. A half-written last one is passed over.

    Args:
        file: Need not exist.

    Returns:
        The lines without their ends; [] if there is no file.
    """
    return file.read_bytes().split(b"\n")[:-1] if file.exists() else []


class LineFile:
    """A file of lines, open for appending."""

    def __init__(self, file: Path) -> None:
        """Opens the file and cuts off a half-written last line.

        Args:
            file: Made with mode 0600 if it does not exist.

        Raises:
            UserError: It cannot be written.
        """
        self.file = file
        try:
            self._fd = os.open(file, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
            os.ftruncate(self._fd, file.read_bytes().rfind(b"\n") + 1)
        except OSError as error:
            raise self._unwritable(error.strerror) from None

    def append(self, line: bytes) -> None:
        """Writes one line. It is safe from the process's death when this returns.

        Args:
            line: Without its end, which is added.

        Raises:
            UserError: The file cannot be written. Nothing of the line stays in it.
        """
        data = line + b"\n"
        try:
            # A few microseconds into the page cache; a trip through a thread would cost more.
            written = os.write(self._fd, data)
        except OSError as error:
            raise self._unwritable(error.strerror) from None
        if written < len(data):  # the disk is full
            os.ftruncate(self._fd, os.fstat(self._fd).st_size - written)
            raise self._unwritable("no space is left")

    def clear(self) -> None:
        """Takes all lines away."""
        os.ftruncate(self._fd, 0)

    def close(self) -> None:
        """Closes the file. Closing twice is harmless."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1

    @property
    def closed(self) -> bool:
        """Whether `close` was called."""
        return self._fd < 0

    def _unwritable(self, reason: str | None) -> UserError:
        return UserError(f"{self.file}: cannot be written ({reason}); make room or give access, and resume the run")


def write_whole(file: Path, text: str) -> None:
    """Writes a file whole or not at all.

    Args:
        file: Replaced if it exists. Its folder must exist.
        text: The new content, written as UTF-8.

    Raises:
        UserError: The file cannot be written. It stays as it was.
    """
    draft = file.with_suffix(file.suffix + ".part")
    try:
        draft.write_text(text, "utf-8")
        draft.replace(file)
    except OSError as error:
        draft.unlink(missing_ok=True)
        raise UserError(
            f"{file}: cannot be written ({error.strerror}); make room or give access, and try again"
        ) from None
