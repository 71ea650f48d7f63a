"""Which process is asking for what: a key is claimed before its call is made, so that another process waits for the reply.

A claim is a lock on one byte of a file in the store's folder, at a place that the key gives. The kernel keeps it: it costs
microseconds and no room on the disk, and it is gone when its process is, however that died. Nothing is ever read from the file.

Not covered: network file systems that keep locks on each machine for itself or not at all, and Windows. There every claim is
granted, and processes may pay for the same call.
"""

from __future__ import annotations

import errno
import os
import struct
from contextlib import contextmanager, suppress
from secrets import randbelow
from typing import TYPE_CHECKING

from unsaf_async.files import PRIVATE, open_to_append

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

CLAIMS_FILE = "claims.lock"

_FLOCK = struct.Struct("hhqqi0q")
"""C's struct flock: type, whence, start, length, pid (0)."""
_PLACE_DIGITS = 15
"""Of a key: a place below 2**60."""
_BATCHES, _BATCHES_LENGTH = 2**60, 2**40
"""Where those lock a byte, each one of its own, whose claims are in batches."""


class Claims:
    """The claims of one open store. Two of them on one folder exclude each other, in one process too where the system can."""

    def __init__(self, folder: Path, mode: int = PRIVATE) -> None:
        """No claims.

        Args:
            folder: The store's.
            mode: Of the file, where it is new.

        Raises:
            OSError: The file cannot be opened.
        """
        self._fd = open_to_append(folder / CLAIMS_FILE, mode) if fcntl else -1
        self._batches = 0
        self._own_batches = _BATCHES + randbelow(_BATCHES_LENGTH)

    def take(self, key: str) -> bool:
        """Claim a key. Never waits.

        Args:
            key: 64 hex digits, as `stored_reply.key_of` gives them.

        Returns:
            False if somebody else has claimed it. True if it is claimed now, or nothing can be claimed here.
        """
        try:
            self._lock(key, take=True)
        except OSError as error:
            return error.errno not in (errno.EAGAIN, errno.EACCES)
        return True

    def release(self, key: str) -> None:
        """Give a claimed key up.

        Args:
            key: As it was given to `take`.
        """
        try:
            self._lock(key, take=False)
        except OSError:  # nothing can be claimed here
            return

    @contextmanager
    def in_batch(self) -> Iterator[None]:
        """Let others know, while the context lasts, that what is claimed here may be in a batch, and take a day.

        Yields:
            Nothing. Several may last at once.
        """
        self._batches += 1
        if self._batches == 1:
            with suppress(OSError):
                self._lock_place(self._own_batches, take=True)
        try:
            yield
        finally:
            self._batches -= 1
            if not self._batches:
                with suppress(OSError):
                    self._lock_place(self._own_batches, take=False)

    def others_in_batch(self) -> bool:
        """Whether somebody else's claims may be in a batch.

        Returns:
            False where the system does not tell.
        """
        if self._fd < 0 or not hasattr(fcntl, "F_OFD_GETLK"):
            return False
        asked = _FLOCK.pack(fcntl.F_WRLCK, os.SEEK_SET, _BATCHES, _BATCHES_LENGTH, 0)
        try:
            answer = fcntl.fcntl(self._fd, fcntl.F_OFD_GETLK, asked)
        except OSError:
            return False
        return bool(_FLOCK.unpack(answer)[0] != fcntl.F_UNLCK)

    def close(self) -> None:
        """Give all claims up. Closing twice is harmless."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1

    def _lock(self, key: str, *, take: bool) -> None:
        self._lock_place(int(key[:_PLACE_DIGITS], 16), take=take)

    def _lock_place(self, place: int, *, take: bool) -> None:
        if fcntl is None or self._fd < 0:  # or closed, which gave everything up
            return
        if hasattr(fcntl, "F_OFD_SETLK"):  # the lock of this open file, not of the whole process
            kind = fcntl.F_WRLCK if take else fcntl.F_UNLCK
            fcntl.fcntl(self._fd, fcntl.F_OFD_SETLK, _FLOCK.pack(kind, os.SEEK_SET, place, 1, 0))
        else:
            fcntl.lockf(self._fd, fcntl.LOCK_EX | fcntl.LOCK_NB if take else fcntl.LOCK_UN, 1, place)
