"""The database of stored replies: a diskcache that refuses pickles, private to its owner or group."""

from __future__ import annotations

import os
import re
import sqlite3
from errno import ENOTDIR
from typing import TYPE_CHECKING, Any

import orjson
from diskcache import UNKNOWN, Cache, Disk
from diskcache.core import MODE_PICKLE

from unsaf_async.calls.stored_reply import unpacked
from unsaf_async.errors import UserError, setting
from unsaf_async.files import PRIVATE, check_one_name, make_private_folder, open_to_append, write_whole

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

DATABASE = "cache.db"
"""diskcache's name for the database in its folder."""

MAX_VALUE_BYTES = 2**30
"""More than SQLite takes as one value: from this size on diskcache would write files beside the database."""

_OWN_FILE = re.compile(r"[0-9a-f]{2}[/\\][0-9a-f]{2}[/\\][0-9a-f]{28}\.val")
"""How diskcache names the files of large values. Older versions of this package kept some so."""


class PlainDisk(Disk):  # type: ignore[misc]  # diskcache ships no types
    """Stores bytes under text, nothing else, and never unpickles.

    Against CVE-2025-69872: whoever can write to the folder could plant a pickled row, which diskcache's own Disk, and its
    JSONDisk too, would run.
    """

    def put(self, key: Any) -> Any:
        """The database form of a key.

        Args:
            key: A text.

        Returns:
            What diskcache expects.

        Raises:
            TypeError: It is no text.
        """
        if not isinstance(key, str):
            raise TypeError("keys are text")
        return super().put(key)

    def get(self, key: Any, raw: Any) -> Any:
        """The key of a row.

        Args:
            key: As the row has it.
            raw: Whether it is stored as it is, not pickled.

        Returns:
            The key; "", under which nothing is stored, for pickled ones.
        """
        return super().get(key, raw) if raw else ""

    def store(self, value: Any, read: Any, key: Any = UNKNOWN) -> Any:
        """The row for a value.

        Args:
            value: Bytes.
            read: Whether it is a file to read.
            key: Where it goes.

        Returns:
            What diskcache expects.

        Raises:
            TypeError: It is not bytes.
        """
        if not isinstance(value, bytes):
            raise TypeError("values are bytes")
        return super().store(value, read, key)

    def fetch(self, mode: Any, filename: Any, value: Any, read: Any) -> Any:
        """The value of a row.

        Args:
            mode: How it is stored.
            filename: Where, if outside the database.
            value: What the row holds.
            read: Whether an open file is wanted.

        Returns:
            The value.

        Raises:
            ValueError: It is pickled.
        """
        if mode == MODE_PICKLE:
            raise ValueError("a pickled value")
        if filename is not None and not _OWN_FILE.fullmatch(filename):
            raise ValueError("a file outside the folder")
        return super().fetch(mode, filename, value, read)

    def remove(self, file_path: Any) -> None:
        """Deletes the file of a row that is replaced.

        Args:
            file_path: As the row has it. One that diskcache does not make, as it could lie outside the folder, is left alone.
        """
        if _OWN_FILE.fullmatch(file_path):
            super().remove(file_path)


def open_cache(folder: Path) -> Cache:
    """The diskcache in a folder, made with mode 0700 on first use, and hidden from git. Nothing is ever evicted.

    Args:
        folder: Of the cache. One that exists keeps its mode. The database in it is its owner's alone (mode 0600), or the group's
            too where the group may write in the folder: such a cache is shared.

    Returns:
        An open cache that refuses pickles.

    Raises:
        UserError: The folder cannot be used.
    """
    try:
        if not folder.exists():
            make_private_folder(folder)
            write_whole(folder / ".gitignore", "*\n")
        elif not folder.is_dir():
            raise NotADirectoryError(ENOTDIR, "no folder")
        # SQLite would make the database by the umask, and follow links; its journal and its index have the database's mode.
        os.close(open_to_append(folder / DATABASE, mode_in(folder)))
        for suffix in ("-wal", "-shm", "-journal"):
            check_one_name(folder / f"{DATABASE}{suffix}")
        # Every value in the database: in files beside it, diskcache makes folders and files by the umask.
        return Cache(
            str(folder), disk=PlainDisk, eviction_policy="none", cull_limit=0, disk_min_file_size=MAX_VALUE_BYTES
        )
    except (OSError, sqlite3.Error) as error:
        raise unusable(folder, error) from None


def mode_in(folder: Path) -> int:
    """The mode of a cache's files.

    Args:
        folder: Of the cache; it exists.

    Returns:
        Its owner's alone; of the group, too, in a folder that the group may write to.
    """
    return PRIVATE | (0o060 if folder.stat().st_mode & 0o020 else 0)


def unusable(folder: Path, error: Exception) -> UserError:
    """The one line about a folder that cannot be used.

    Args:
        folder: Of the cache.
        error: Why.

    Returns:
        What to raise.
    """
    return UserError(
        f"{folder}: cannot be used as a cache ({error}); give another folder or {setting('cache', None)}", field="cache"
    )


def entries(folder: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    """Every stored object of a cache; rows that this package did not write are passed over.

    Args:
        folder: Of the cache.

    Yields:
        (key, object).
    """
    cache = open_cache(folder)
    try:
        for key in cache:
            value = value_at(cache, key)
            try:
                if value is not None and unpacked(value):
                    yield key, orjson.loads(value)
            except ValueError:
                continue
    finally:
        cache.close()


def value_at(cache: Cache, key: str) -> bytes | None:
    """The bytes under a key.

    Args:
        cache: An open one.
        key: As `stored_reply.key_of` gives it, or with a run's behind it.

    Returns:
        None if there are none, or if it is a row that this package cannot have written.

    Raises:
        OSError, sqlite3.Error: The whole folder cannot be read.
    """
    try:
        value = cache.get(key)
    except (sqlite3.Error, OSError):  # the whole folder cannot be read
        raise
    except Exception:  # a pickled row (see PlainDisk), or one that diskcache itself stumbles over
        return None
    return value if isinstance(value, bytes) else None
