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
from typing import TYPE_CHECKING

from unsaf_async.files import PRIVATE, open_to_append

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]

if TYPE_CHECKING:
    from pathlib import Path

CLAIMS_FILE = "claims.lock"

_FLOCK = struct.Struct("hhqqi0q")
"""C's struct flock: type, whence, start, length, pid (0)."""
_PLACE_DIGITS = 15
"""Of a key: a place below 2**60."""


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

    def take(self, key: str) -> bool:
        """Claim a key. Never waits.

        Args:
            key: 64 hex digits, as `store.key_of` gives them.

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

    def close(self) -> None:
        """Give all claims up. Closing twice is harmless."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1

    def _lock(self, key: str, *, take: bool) -> None:
        if fcntl is None or self._fd < 0:  # or closed, which gave everything up
            return
        place = int(key[:_PLACE_DIGITS], 16)
        if hasattr(fcntl, "F_OFD_SETLK"):  # the lock of this open file, not of the whole process
            kind = fcntl.F_WRLCK if take else fcntl.F_UNLCK
            fcntl.fcntl(self._fd, fcntl.F_OFD_SETLK, _FLOCK.pack(kind, os.SEEK_SET, place, 1, 0))
        else:
            fcntl.lockf(self._fd, fcntl.LOCK_EX | fcntl.LOCK_NB if take else fcntl.LOCK_UN, 1, place)
