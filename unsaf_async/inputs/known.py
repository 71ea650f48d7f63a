"""What is known of pictures from earlier runs, so that a run whose replies are stored decodes none of them again.

It is known by the file's bytes, by what is asked of the picture, and by the code and the libraries that make it: where one of
these differs, it is decoded anew. A file of what is known is believed line by line, and only by whom it was written: each line
has a name and a seal that nobody can make without the user's key. Nothing here stops a run: what cannot be read or kept is not
known.
"""

from __future__ import annotations

import os
import re
import sqlite3
import threading
from contextlib import closing, suppress
from dataclasses import dataclass
from functools import cache
from hmac import compare_digest
from hmac import digest as hmac_digest
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args

import orjson
from PIL import __version__ as pillow_version
from PIL import features

from unsaf_async.files import check_one_name, open_to_append
from unsaf_async.records import EncodedImage, ImageNote

if TYPE_CHECKING:
    from typing import Self

_LIBRARIES = ("jpg", "libjpeg_turbo", "jpg_2000", "webp", "avif", "libtiff", "zlib", "littlecms2")
_WAIT_S = 1.0
"""How long another process may hold the file."""
_SEAL_BYTES = 32
_DIGEST = re.compile(r"[0-9a-f]{64}")
_MAX_SIDE_PX = 1 << 20
_NOTES = frozenset(get_args(ImageNote))


@dataclass(frozen=True)
class Known:
    """What is known of a picture.

    Attributes:
        image: As it is sent, but without its bytes.
        unchanged: Whether they are the file's own, without its metadata.
    """

    image: EncodedImage
    unchanged: bool


class KnownPictures:
    """One user's file of what is known. Use from any thread, and as a context manager."""

    def __init__(self, folder: Path, key: bytes) -> None:
        """Open the file.

        Args:
            folder: Where it lies, which exists. Users who share it have a file each.
            key: The user's. It seals what is kept.
        """
        self._key = key
        self._lock = threading.Lock()
        self._database: sqlite3.Connection | None = None
        with suppress(OSError, sqlite3.Error):
            self._database = _opened(folder / f"pictures-{self._mac(b'file').hex()[:16]}.db")

    def get(self, what: str) -> Known | None:
        """What is known of a picture.

        Args:
            what: All that its pixels depend on, as `key_of` gives it.

        Returns:
            None if nothing is known, or what is there was not kept by this user.
        """
        name = self._mac(b"name", what.encode())
        row = None
        with self._lock, suppress(sqlite3.Error):
            if self._database:
                row = self._database.execute("SELECT kept FROM pictures WHERE name = ?", (name,)).fetchone()
        if row is None or not isinstance(row[0], bytes):
            return None
        value, seal = row[0][:-_SEAL_BYTES], row[0][-_SEAL_BYTES:]
        return unpacked(value) if compare_digest(seal, self._mac(b"picture", name + value)) else None

    def put(self, what: str, known: Known) -> None:
        """Keep what is known of a picture.

        Args:
            what: As for `get`.
            known: What it is.
        """
        name, value = self._mac(b"name", what.encode()), packed(known)
        kept = value + self._mac(b"picture", name + value)
        with self._lock, suppress(sqlite3.Error):
            if self._database:
                self._database.execute("INSERT OR REPLACE INTO pictures VALUES (?, ?)", (name, kept))

    def close(self) -> None:
        """Close the file; nothing is known from then on. Closing twice is harmless."""
        with self._lock:
            if self._database:
                self._database.close()
            self._database = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def _mac(self, purpose: bytes, content: bytes = b"") -> bytes:
        return hmac_digest(self._key, b"known picture: " + purpose + b"\0" + content, "sha256")


def _opened(file: Path) -> sqlite3.Connection:
    """The file, its owner's alone. It is written outside of transactions: what is lost is found out again."""
    os.close(open_to_append(file))  # SQLite would make it by the umask, and follow links
    for suffix in ("-wal", "-shm", "-journal"):
        check_one_name(file.with_name(f"{file.name}{suffix}"))
    database = sqlite3.connect(file, timeout=_WAIT_S, isolation_level=None, check_same_thread=False)
    try:
        database.execute("PRAGMA journal_mode = WAL")
        database.execute("PRAGMA synchronous = NORMAL")
        database.execute("CREATE TABLE IF NOT EXISTS pictures (name BLOB PRIMARY KEY, kept BLOB) WITHOUT ROWID")
    except sqlite3.Error:
        database.close()
        raise
    return database


def forget(folder: Path) -> None:
    """Drop all that is known in a folder, of every user.

    Args:
        folder: Of the files; those that cannot be opened stay as they are.
    """
    for file in folder.glob("pictures-*.db"):
        with suppress(OSError, sqlite3.Error), closing(_opened(file)) as database:
            database.execute("DELETE FROM pictures")


def key_of(file_sha256: str, policy: object) -> str | None:
    """All that the pixels of a picture depend on.

    Args:
        file_sha256: Of its file's bytes.
        policy: What it may be when it is sent; its `repr` says all.

    Returns:
        A text; None where that cannot be told.
    """
    return None if (makers := _makers()) is None else f"{file_sha256} {policy!r} {makers}"


@cache
def _makers() -> str | None:
    """The code and the libraries that make pixels of files; None for a package without sources."""
    sources = sorted(Path(__file__).parent.glob("*.py"))
    if not sources:
        return None
    with suppress(OSError):
        code = b"\0".join(source.read_bytes() for source in sources)
        versions = (pillow_version, *(features.version(name) for name in _LIBRARIES))
        return f"{hmac_digest(b'code', code, 'sha256').hex()} {versions!r}"
    return None


def packed(known: Known) -> bytes:
    """What is known, as it is kept.

    Args:
        known: Of a picture.

    Returns:
        JSON.
    """
    image = known.image
    return orjson.dumps(
        {
            "media_type": image.media_type,
            "width": image.width,
            "height": image.height,
            "pixels_sha256": image.pixels_sha256,
            "difference_hash": image.difference_hash,
            "notes": image.notes,
            "unchanged": known.unchanged,
        }
    )


def unpacked(value: bytes) -> Known | None:
    """What was kept.

    Args:
        value: As `packed` made it.

    Returns:
        None if it is something else.
    """
    try:
        kept: dict[str, Any] = orjson.loads(value)
        unchanged, notes = kept.pop("unchanged"), kept.pop("notes")
        image = EncodedImage(b"", notes=tuple(notes), **kept)
    except (ValueError, TypeError, AttributeError, KeyError):
        return None
    sides = (image.width, image.height)
    digests = (image.pixels_sha256, image.difference_hash)
    is_one = (
        image.media_type in ("image/jpeg", "image/png")
        and all(type(side) is int and 0 < side <= _MAX_SIDE_PX for side in sides)
        and all(isinstance(digest, str) and _DIGEST.fullmatch(digest) for digest in digests)
        and all(isinstance(note, str) and note in _NOTES for note in image.notes)
        and isinstance(unchanged, bool)
    )
    return Known(image, unchanged) if is_one else None
