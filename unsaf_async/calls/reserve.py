"""Room on a run's disk that is kept for calls under way: what they bring is paid for, and must be written when all else is full.

The first line that cannot be written ends a session: no further call leaves, those under way finish, and their lines go where the
reserve was. What the room cannot help (a disk that is read-only or broken) ends the session as well.
"""

from __future__ import annotations

import os
from contextlib import suppress
from errno import ENOSPC
from typing import TYPE_CHECKING

from unsaf_async.errors import Fatal, UserError
from unsaf_async.files import open_to_append

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from unsaf_async.files import LineFile

LEAST_BYTES = 1_000_000
BYTES_A_CALL = 16_000
"""For a reply with the log-probabilities of some hundred tokens, and the ledger's line."""


class Reserve:
    """A file that takes room, and is given up for lines that do not fit otherwise."""

    def __init__(self, file: Path, calls: int, stop: Callable[[Fatal], None]) -> None:
        """Takes the room.

        Args:
            file: Made anew, or what a killed process left of it.
            calls: How many may be under way at once.
            stop: Called with the reason when something cannot be written: lets no further call leave.

        Raises:
            UserError: There is no room, or the file cannot be written.
        """
        self.needed = False
        """Whether a line did not fit without it."""
        self._file = file
        self._stop = stop
        size = max(LEAST_BYTES, BYTES_A_CALL * calls)
        try:
            descriptor = open_to_append(file)
            try:
                _take(descriptor, size)
            finally:
                os.close(descriptor)
        except OSError as error:
            self.close()
            room = f"a run keeps {size / 1e6:.1f} MB for replies under way"
            raise UserError(
                f"{file.parent}: cannot be written ({error.strerror}); {room}: make room or give access"
            ) from None

    def append(self, lines: LineFile, line: bytes) -> bool:
        """Write a line that must not be lost.

        Args:
            lines: The file.
            line: As for `LineFile.append`.

        Returns:
            Whether it is written. If it is not, or took the reserve, no further call leaves.
        """
        try:
            lines.append(line)
        except UserError as error:
            self.needed = True
            self.stop(error)
            self.close()
            try:
                lines.append(line)
            except UserError:
                return False
        return True

    def stop(self, error: UserError) -> Fatal:
        """Let no further call leave.

        Args:
            error: What cannot be written.

        Returns:
            The error for calls that were about to leave.
        """
        fatal = Fatal(error.args[0], kind="disk")
        self._stop(fatal)
        return fatal

    def close(self) -> None:
        """Give the room up. Closing twice is harmless."""
        with suppress(OSError):  # a disk that has become read-only
            self._file.unlink(missing_ok=True)


def _take(descriptor: int, size: int) -> None:
    if hasattr(os, "posix_fallocate"):
        os.posix_fallocate(descriptor, 0, size)
    else:
        missing = size - os.fstat(descriptor).st_size
        if missing > 0 and os.write(descriptor, bytes(missing)) < missing:
            raise OSError(ENOSPC, os.strerror(ENOSPC))
