"""Files that outlive a crash: append-only files of whole lines, and files that are replaced whole or not at all.

A line is one unbuffered write, so it outlives `kill -9` (not a power cut). A last line that is incomplete, because its
process died or the disk was full, is cut off before the next one is written.

What a run keeps is its owner's alone, whatever the umask: files have mode 0600, folders 0700. A file system without modes is
taken as it is. Nothing is written through a link: a file that is replaced is replaced itself, and one that is added to must be
a file of one name, so that no line lands in another.
"""

from __future__ import annotations

import os
import tempfile
from contextlib import contextmanager, suppress
from errno import ELOOP, EMLINK
from pathlib import Path
from stat import S_ISLNK, S_ISREG
from typing import TYPE_CHECKING

from unsaf_async.errors import UserError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import BinaryIO

PRIVATE = 0o600
"""The mode of a file that is its owner's alone; a folder's has the bits of going into it, too."""

_PART = ".part"
_UNFOLLOWED = getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0)
"""Neither a link is followed, nor a pipe waited for, where the system knows of them."""

_BLOCK_BYTES = 65_536
"""How much of a file's end is read at once."""


def whole_lines(file: Path) -> Iterator[bytes]:
    """The whole lines of a file, one at a time. A half-written last one is passed over.

    Args:
        file: Need not exist.

    Yields:
        The lines without their ends; none if there is no file.
    """
    if not file.exists():
        return
    with file.open("rb") as lines:
        for line in lines:
            if line.endswith(b"\n"):
                yield line[:-1]


def whole_bytes(file: Path) -> int:
    """How many bytes of a file its whole lines are: where a half-written last one begins.

    Args:
        file: Must exist.

    Returns:
        Bytes, >= 0.
    """
    with file.open("rb") as lines:
        end = lines.seek(0, os.SEEK_END)
        while end:
            start = max(0, end - _BLOCK_BYTES)
            lines.seek(start)
            if (last := lines.read(end - start).rfind(b"\n")) >= 0:
                return start + last + 1
            end = start
    return 0


def make_private_folder(folder: Path) -> None:
    """Makes a folder, and those above it that are missing, for its owner alone (mode 0700).

    Args:
        folder: One that exists keeps its mode, and may be a link: whoever made it decided.

    Raises:
        OSError: It cannot be made.
    """
    if folder.is_dir():
        return
    make_private_folder(folder.parent)
    folder.mkdir(mode=0o700, exist_ok=True)
    with suppress(OSError):  # the umask may have taken the owner's own bits; some file systems have no modes
        folder.chmod(0o700)


def open_to_append(file: Path, mode: int = PRIVATE) -> int:
    """A file that is opened for appending, and is a file of one name.

    Args:
        file: Made if it does not exist. One that exists keeps its mode.
        mode: Of a new file.

    Returns:
        The descriptor.

    Raises:
        OSError: It cannot be opened, or is a link, one of several names of a file (a hard link), or no file at all.
    """
    flags = os.O_RDWR | os.O_APPEND | _UNFOLLOWED
    try:
        descriptor = os.open(file, flags | os.O_CREAT | os.O_EXCL, mode)
        _set_mode(descriptor, mode)
    except FileExistsError:
        check_one_name(file)
        descriptor = os.open(file, flags)
    try:
        _check(os.fstat(descriptor), file)
    except OSError:
        os.close(descriptor)
        raise
    return descriptor


def check_one_name(file: Path) -> None:
    """Checks that what will be written to is a file of one name, so that no other file changes with it.

    Args:
        file: Need not exist.

    Raises:
        OSError: It is a link, one of several names of a file (a hard link), or no file at all.
    """
    with suppress(FileNotFoundError):
        _check(file.lstat(), file)


def _check(status: os.stat_result, file: Path) -> None:
    if S_ISLNK(status.st_mode):
        raise OSError(ELOOP, "it is a link, and nothing is written through links; put the file itself there", str(file))
    if not S_ISREG(status.st_mode):
        raise OSError(ELOOP, "it is no file", str(file))
    if status.st_nlink > 1:
        raise OSError(EMLINK, "the file has other names (hard links), which would change with it; copy it", str(file))


class LineFile:
    """A file of lines, open for appending."""

    def __init__(self, file: Path) -> None:
        """Opens the file and cuts off a half-written last line.

        Args:
            file: Made with mode 0600 if it does not exist.

        Raises:
            UserError: It cannot be written, or is a link.
        """
        self.file = file
        try:
            self._fd = open_to_append(file)
            os.ftruncate(self._fd, whole_bytes(file))
        except OSError as error:
            raise self._unwritable(error.strerror) from None

    def append(self, line: bytes) -> int:
        """Writes one line. It is safe from the process's death when this returns.

        Args:
            line: Without its end, which is added.

        Returns:
            Where the line begins in the file, in bytes.

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
        return os.lseek(self._fd, 0, os.SEEK_CUR) - written

    def sync(self) -> None:
        """Waits until all that was appended is safe from a power cut, too.

        Raises:
            UserError: The file cannot be written.
        """
        try:
            os.fsync(self._fd)
        except OSError as error:
            raise self._unwritable(error.strerror) from None

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
        return UserError(f"{self.file}: cannot be written ({reason}); make room or give access")


def write_whole(file: Path, content: str | bytes, *, private: bool = True) -> None:
    """Writes a file whole or not at all.

    Args:
        file: Replaced if it exists; a link is replaced itself, and what it points to stays. Its folder must exist.
        content: The new content; text is written as UTF-8.
        private: Whether the file is its owner's alone (mode 0600), as everything in a run's folder. False: it has the mode that
            the umask gives, as befits a file that a user asks for at a place of their own.

    Raises:
        UserError: The file cannot be written. It stays as it was.
    """
    with writing_whole(file, private=private) as stream:
        stream.write(content.encode() if isinstance(content, str) else content)


@contextmanager
def writing_whole(file: Path, *, private: bool = True) -> Iterator[BinaryIO]:
    """A file that is written whole or not at all, piece by piece: it is replaced when the context ends well.

    Args:
        file: As for `write_whole`.
        private: As for `write_whole`.

    Yields:
        What to write to.

    Raises:
        UserError: The file cannot be written. It stays as it was.
    """
    draft = None
    try:
        # Made anew under a name that nobody can foresee, so that no link lies there.
        descriptor, name = tempfile.mkstemp(dir=file.parent, prefix=_draft_prefix(file), suffix=_PART)
        draft = Path(name)
        with os.fdopen(descriptor, "wb") as stream:
            _set_mode(descriptor, PRIVATE if private else 0o666 & ~umask())
            yield stream
        draft.replace(file)
    except BaseException as error:
        if draft is not None:
            draft.unlink(missing_ok=True)
        if not isinstance(error, OSError):
            raise
        raise UserError(
            f"{file}: cannot be written ({error.strerror}); make room or give access, and try again"
        ) from None


def _draft_prefix(file: Path) -> str:
    return f".{file.name[:40]}."  # a name has 255 bytes at most, with what comes behind


def drafts(file: Path) -> Iterator[Path]:
    """What processes that were killed while they wrote a file whole have left beside it.

    Args:
        file: As `write_whole` was given it.

    Yields:
        The files.
    """
    for entry in file.parent.iterdir():
        if entry.name == f"{file.name}{_PART}" or (
            entry.name.startswith(_draft_prefix(file)) and entry.name.endswith(_PART)
        ):
            yield entry


def umask() -> int:
    """The bits that this process takes from the modes of new files."""
    mask = os.umask(0o022)
    os.umask(mask)
    return mask


def _set_mode(descriptor: int, mode: int) -> None:
    with suppress(OSError, AttributeError):  # a file system, or a system, that has no modes
        os.fchmod(descriptor, mode)
