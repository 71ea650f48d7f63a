"""Replies on disk, keyed by everything that can change them. A diskcache that refuses pickles, worked by one thread of its own.

The store knows keys and bytes. What a key covers stands in `key_parts`; when a reply may be stored is the caching layer's
business.
"""

from __future__ import annotations

import asyncio
import os
import queue
import re
import sqlite3
import threading
from contextlib import suppress
from dataclasses import dataclass
from errno import ENOTDIR
from functools import lru_cache
from hashlib import sha256
from hmac import compare_digest
from hmac import digest as hmac_digest
from types import NoneType
from typing import TYPE_CHECKING, Any, get_args

import orjson
from diskcache import UNKNOWN, Cache, Disk, Timeout
from diskcache.core import MODE_PICKLE

from unsaf_async.calls.backends.wire import logprobs_of
from unsaf_async.calls.budget import NANO
from unsaf_async.calls.claims import Claims
from unsaf_async.errors import UserError, setting
from unsaf_async.files import (
    PRIVATE,
    LineFile,
    check_one_name,
    make_private_folder,
    open_to_append,
    whole_lines,
    write_whole,
)
from unsaf_async.records import Outcome, Reply, Request, Usage

if TYPE_CHECKING:
    from collections.abc import Iterator
    from contextlib import AbstractContextManager
    from pathlib import Path

    from unsaf_async.calls.books import Coming
    from unsaf_async.calls.reserve import Reserve

KEY_VERSION = 1
"""Part of every key: raise it when a change in the engine changes what an equal request means."""

_STORED: dict[str, type | tuple[type, ...]] = {
    "outcome": str,
    "text": str,
    "finish_reason": (str, NoneType),
    "usage": dict,
    "cost_usd": (float, int),
    "detail": str,
    "model": str,
    "logprobs": (list, NoneType),
    "latency_s": (float, int),
}
"""What a stored reply holds."""
_OUTCOMES = frozenset(get_args(Outcome))

MAX_STORED = 10**9
"""Tokens, dollars or seconds. No call has so many."""

BATCH = 256
"""Reads and writes done in one go at most: writes of one go share a transaction."""

DATABASE = "cache.db"
"""diskcache's name for the database in its folder."""

MAX_VALUE_BYTES = 2**30
"""More than SQLite takes as one value: from this size on diskcache would write files beside the database."""

RECEIVED_BYTES = 1_000_000
"""From this size on the file of received replies is emptied whenever all of them are stored."""


def key_parts(request: Request) -> dict[str, Any]:
    """Everything that can change the answer to a request, as plain JSON data.

    Images stand in by the hash of their pixels as sent. Not in it: the key, timeouts, retries, the role, the provider's local
    name.

    Args:
        request: The call.

    Returns:
        The parts, by name.
    """
    sampling = request.sampling
    return {
        "version": KEY_VERSION,
        "endpoint": request.target.endpoint,
        "model": request.target.model,
        "extra": dict(request.target.extra),
        "messages": [
            {"role": message.role, "text": message.text}
            | ({"pixels": message.image.pixels_sha256, "encoding": message.image.media_type} if message.image else {})
            for message in request.messages
        ],
        "schema": {"name": request.schema.name, "schema": dict(request.schema.schema)} if request.schema else None,
        "max_output_tokens": sampling.max_output_tokens,
        "temperature": sampling.temperature,
        "top_p": sampling.top_p,
        "seed": sampling.seed,
        "logprobs": sampling.logprobs,
        "draw": request.draw,
    } | ({"headers": dict(request.target.headers)} if request.target.headers else {})


def key_of(parts: dict[str, Any]) -> str:
    """The cache key: the sha256 of the parts' canonical JSON.

    Args:
        parts: As `key_parts` gives them.

    Returns:
        64 hex digits.
    """
    return sha256(orjson.dumps(parts, option=orjson.OPT_SORT_KEYS)).hexdigest()


def packed(parts: dict[str, Any], reply: Reply) -> bytes:
    """A reply as it is stored, with the digest of every part of its key, so that a miss can be explained later.

    Args:
        parts: Of the key.
        reply: What came.

    Returns:
        JSON on one line.
    """
    return packed_with(digests_of(parts), reply)


def packed_with(digests: dict[str, str], reply: Reply) -> bytes:
    """A reply as `packed` stores it.

    Args:
        digests: As `digests_of` gives them.
        reply: What came.

    Returns:
        JSON on one line.
    """
    kept = {
        "outcome": reply.outcome,
        "text": reply.text,
        "finish_reason": reply.finish_reason,
        "usage": reply.usage,  # orjson writes dataclasses; asdict copies deeply, at half the price of the whole call
        "cost_usd": reply.cost_usd,
        "detail": reply.detail,
        "model": reply.model,
        "logprobs": reply.logprobs,
        "latency_s": reply.latency_s,
    }
    return orjson.dumps({"parts": digests, "reply": kept})


def unpacked(data: bytes) -> Reply:
    """A stored reply, marked as cached.

    Args:
        data: What `packed` wrote.

    Returns:
        The reply.

    Raises:
        ValueError: It is no reply that `packed` wrote.
    """
    try:
        stored = orjson.loads(data)
        kept, parts = stored["reply"], stored["parts"]
        for name, kind in _STORED.items():
            if not isinstance(kept[name], kind):
                raise TypeError("a part of it has the wrong type")
        if not isinstance(parts, dict):
            raise TypeError("a part of it has the wrong type")
        logprobs, usage = kept["logprobs"], kept["usage"]
        if kept.keys() != _STORED.keys() or kept["outcome"] not in _OUTCOMES:
            raise TypeError("a part of it has no possible value")
        for tokens in usage.values():
            if type(tokens) is not int or not 0 <= tokens <= MAX_STORED:
                raise TypeError("a figure in it has no possible value")
        if not (0 <= kept["cost_usd"] <= MAX_STORED and 0 <= kept["latency_s"] <= MAX_STORED):
            raise TypeError("a figure in it has no possible value")
        kept["usage"] = Usage(**usage)
        kept["logprobs"] = None if logprobs is None else logprobs_of(logprobs) or ()
        if logprobs and not kept["logprobs"]:
            raise TypeError("a log-probability in it has no possible value")
        return Reply(**kept, cached=True)
    except (KeyError, TypeError) as error:
        raise ValueError(f"no stored reply: {error!r}") from None


def digests_of(parts: dict[str, Any]) -> dict[str, str]:
    """The digests that `packed` stores: by these two requests are compared.

    Args:
        parts: Of the key.

    Returns:
        16 hex digits a part; the messages' texts and images are two parts.
    """
    digests = {name: _digest(value) for name, value in parts.items() if name != "messages"}
    digests["text"] = _digest([message["text"] for message in parts["messages"]])
    digests["pixels"] = _digest([message.get("pixels") for message in parts["messages"]])
    return digests


def _digest(value: Any) -> str:
    return _short_sha256(orjson.dumps(value, option=orjson.OPT_SORT_KEYS))


@lru_cache(maxsize=1024)  # a run's calls differ in their text and image, and share all their other parts
def _short_sha256(data: bytes) -> str:
    return sha256(data).hexdigest()[:16]


_OWN_FILE = re.compile(r"[0-9a-f]{2}[/\\][0-9a-f]{2}[/\\][0-9a-f]{28}\.val")
"""How diskcache names the files of large values. Older versions of this package kept some so."""


def received_nano_usd(file: Path) -> int:
    """What the replies have cost that a session has received and not stored.

    Args:
        file: Of received replies; it need not exist.

    Returns:
        Nano-dollars; lines that hold no reply count 0.
    """
    total = 0
    for line in whole_lines(file):
        with suppress(ValueError):
            total += round(unpacked(line.partition(b" ")[2]).cost_usd * NANO)
    return total


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


_Job = tuple[tuple[str, ...], bytes | None, "asyncio.Future[bytes | None]"]
"""Where to look, or where to store; what to store, None for looking; who waits."""


@dataclass(frozen=True)
class Seal:
    """How a run knows again the replies that it received itself, when they come out of a file that anybody may have written."""

    run_id: str
    key: bytes | None
    """Secret; None: there is none, and no line is known again."""

    def sealed(self, line: bytes) -> bytes:
        """A line with the mark of who has the key.

        Args:
            line: A key and a value, with a space between them.

        Returns:
            The same with " " and the HMAC-SHA256 behind it; as it was without a key.
        """
        return line if self.key is None else line + b" " + self._mark(self.key, line)

    def opened(self, line: bytes) -> tuple[str, bytes]:
        """What a line has to store, and where.

        Args:
            line: Of the file.

        Returns:
            (key, value). A line without its mark is for this run alone, whatever key it has: it may be of anybody's choosing.
        """
        content, space, mark = line[:-65], line[-65:-64], line[-64:]
        own = self.key is not None and space == b" " and compare_digest(mark, self._mark(self.key, content))
        key, _, value = (content if own else line).partition(b" ")
        return key.decode() if own else f"{key.decode().partition(':')[0]}:{self.run_id}", value

    @staticmethod
    def _mark(key: bytes, line: bytes) -> bytes:
        return hmac_digest(key, b"received\0" + line, "sha256").hex().encode()


class ReplyStore:
    """The folder of stored replies. Reads and writes happen on one thread, in batches: the event loop never waits for a database.

    received: a file of this store's user alone (a run's). What is to be stored is written there first, at once: between the
    moment when a reply is here, and paid for, and the one when its batch is stored, a process may die. What is there then is
    stored when the file is opened again. It is gone when all is stored.

    reserve: room for these lines when the disk is full. With it, `put` does not fail: where the folder cannot be written, the
    reply stays in the file for the next session, and no further call leaves.

    seal: marks these lines, and knows them again; None: all that is in the file is believed.

    Use from one event loop. Raises UserError if the folder or the file cannot be used; with a reserve, Fatal once it is open.
    """

    def __init__(
        self, folder: Path, received: Path | None = None, reserve: Reserve | None = None, seal: Seal | None = None
    ) -> None:
        self.folder = folder
        self._seal = seal
        self.told_unusable = False
        """Whether the user knows that a reply in it cannot be used."""
        self._cache = open_cache(folder)
        try:
            self._claims = Claims(folder, _mode_in(folder))
        except OSError as error:
            raise _unusable(folder, error) from None
        self._received: LineFile | None = None
        self._reserve = reserve
        self._received_bytes = 0
        self._waiting = 0
        """Replies that are received and not known to be stored."""
        if received is not None:
            self._restore(received)
            self._received = LineFile(received)
        self._jobs: queue.SimpleQueue[list[_Job] | None] = queue.SimpleQueue()
        self._gathered: list[_Job] = []
        self._thread: threading.Thread | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._failed = False
        """Whether something could not be written: what is received stays in its file then."""

    def claim(self, key: str) -> bool:
        """Claim the call whose reply goes under a key, so that no other process makes it, too.

        Args:
            key: As `key_of` gives it.

        Returns:
            False if another process has claimed it: its reply, if one comes, will be here before it gives the claim up.
        """
        return self._claims.take(key)

    def release(self, key: str) -> None:
        """Give a claim up: what was asked for is stored, or will not come.

        Args:
            key: As it was claimed.
        """
        self._claims.release(key)

    def in_batch(self) -> AbstractContextManager[None]:
        """Let other processes know, while the context lasts, that calls claimed here may be in a batch.

        Returns:
            The context.
        """
        return self._claims.in_batch()

    def others_in_batch(self) -> bool:
        """Whether calls that other processes have claimed may be in a batch.

        Returns:
            As `Claims.others_in_batch`.
        """
        return self._claims.others_in_batch()

    async def look(self, key: str, own: str, coming: Coming | None = None) -> tuple[bool, bytes | None]:  # noqa: ARG002
        """Claim a call, and see whether its reply is stored. Claimed first: what the last holder of the claim got is stored then.

        Args:
            key: As `key_of` gives it.
            own: Where a reply lies that counts for one run alone.
            coming: Nothing to this store.

        Returns:
            (whether it is claimed now, to be released; what is stored under the first of both that holds something).

        Raises:
            Fatal: As `first` does.
            UserError: As `first` does.
        """
        claimed = self.claim(key)
        try:
            return claimed, await self.first(key, own)
        except BaseException:
            if claimed:
                self.release(key)
            raise

    async def get(self, key: str) -> bytes | None:
        """What is stored under a key.

        Args:
            key: As `key_of` gives it.

        Returns:
            The bytes; None if there are none, or none that this package wrote.
        """
        return await self.first(key)

    async def first(self, *keys: str) -> bytes | None:
        """What is stored under the first key that holds something. One trip to the thread.

        Args:
            keys: In order.

        Returns:
            The bytes; None if no key holds any.

        Raises:
            Fatal: The folder cannot be read, and there is a reserve.
            UserError: The folder cannot be read, and there is none.
        """
        try:
            return await self._do(keys, None)
        except UserError as error:
            if self._reserve:
                raise self._reserve.stop(error) from None
            raise

    async def put(self, key: str, value: bytes) -> None:
        """Store a value; it is on disk when this returns (safe from the process's death, not from a power cut).

        It is stored even if the caller is cancelled while it waits.

        Args:
            key: As `key_of` gives it.
            value: One line.

        Raises:
            ValueError: It is more than one line.
            UserError: The folder or the file cannot be written, and there is no reserve.
        """
        received = self._received is not None and self._receive(self._received, key.encode() + b" " + value)
        if received and self._failed and self._reserve:
            return  # the room that is left is for other replies: the next session stores this one
        try:
            await self._do((key,), value)
        except UserError as error:
            if self._reserve is None:
                raise
            self._reserve.stop(error)

    def _receive(self, received: LineFile, line: bytes) -> bool:
        """Write a reply to the file of received ones; whether it is there."""
        if b"\n" in line:
            raise ValueError("values are one line")
        line = self._seal.sealed(line) if self._seal else line
        kept = True
        if self._reserve is None:
            received.append(line)
        else:
            kept = self._reserve.append(received, line)
            self._failed = self._failed or self._reserve.needed
        self._received_bytes += len(line)
        self._waiting += 1
        return kept

    def close(self) -> None:
        """Finish what was handed in and close. Closing twice is harmless."""
        if self._thread:
            self._hand_over()
            self._jobs.put(None)
            self._thread.join()
            self._thread = None
        if self._received and not self._received.closed:
            self._received.close()
            if not self._failed:
                self._received.file.unlink(missing_ok=True)
        self._claims.close()
        self._cache.close()

    def _restore(self, received: Path) -> None:
        """Store what a process that died had received, unless it is there."""
        try:
            with self._cache.transact():
                for line in whole_lines(received):
                    plain, _, value = line.partition(b" ")
                    key, value = self._seal.opened(line) if self._seal else (plain.decode(), value)
                    if _value(self._cache, key) is None:
                        self._cache.set(key, value)
            received.unlink(missing_ok=True)
        except (sqlite3.Error, Timeout, OSError, UnicodeDecodeError) as error:
            raise UserError(
                f"{received}: the replies in it cannot be stored in {self.folder} ({error}); free space, or restore the file"
            ) from None

    def _do(self, keys: tuple[str, ...], value: bytes | None) -> asyncio.Future[bytes | None]:
        loop = self._loop
        if loop is None:
            loop = self._loop = asyncio.get_running_loop()
            self._thread = threading.Thread(target=self._work, name="reply store", daemon=True)
            self._thread.start()
        future: asyncio.Future[bytes | None] = loop.create_future()
        if not self._gathered:  # all that this turn of the loop asks for travels as one batch
            loop.call_soon(self._hand_over)
        self._gathered.append((keys, value, future))
        return future

    def _hand_over(self) -> None:
        self._jobs.put(self._gathered)
        self._gathered = []

    def _work(self) -> None:
        loop = self._loop
        assert loop is not None
        while (jobs := self._jobs.get()) is not None:
            stop = False
            while len(jobs) < BATCH:
                try:
                    more = self._jobs.get_nowait()
                except queue.Empty:
                    break
                if more is None:
                    stop = True
                    break
                jobs += more
            results = self._batch(jobs)
            with suppress(RuntimeError):  # the loop is closed: nobody waits, yet what was handed in is stored
                loop.call_soon_threadsafe(self._resolve, jobs, results)
            if stop:
                return

    def _batch(self, jobs: list[_Job]) -> list[bytes | Exception | None]:
        results: list[bytes | Exception | None] = []
        try:
            if any(value is not None for _, value, _ in jobs):
                with self._cache.transact():
                    for keys, value, _ in jobs:
                        if value is not None:
                            self._cache.set(keys[0], value)
            for keys, value, _ in jobs:
                results.append(None if value is not None else self._read(keys))
        # Timeout: another process kept the folder locked for a minute
        except (sqlite3.Error, Timeout, OSError) as error:
            failure = UserError(
                f"{self.folder}: the cache cannot be used ({error}); free space, or give another {setting('cache')}"
            )
            self._failed = True
            return [failure] * len(jobs)
        return results

    def _resolve(self, jobs: list[_Job], results: list[bytes | Exception | None]) -> None:
        """On the event loop: tells each waiter what came of its job."""
        for (_, _, future), result in zip(jobs, results, strict=True):
            if future.done():  # its waiter was cancelled
                continue
            if isinstance(result, Exception):
                future.set_exception(result)
            else:
                future.set_result(result)
        if self._received:
            self._waiting -= sum(value is not None for _, value, _ in jobs)
            if not self._waiting and self._received_bytes > RECEIVED_BYTES and not self._failed:
                self._received.clear()
                self._received_bytes = 0

    def _read(self, keys: tuple[str, ...]) -> bytes | None:
        for key in keys:
            value = _value(self._cache, key)
            if value is not None:
                return value
        return None


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
        os.close(open_to_append(folder / DATABASE, _mode_in(folder)))
        for suffix in ("-wal", "-shm", "-journal"):
            check_one_name(folder / f"{DATABASE}{suffix}")
        # Every value in the database: in files beside it, diskcache makes folders and files by the umask.
        return Cache(
            str(folder), disk=PlainDisk, eviction_policy="none", cull_limit=0, disk_min_file_size=MAX_VALUE_BYTES
        )
    except (OSError, sqlite3.Error) as error:
        raise _unusable(folder, error) from None


def _mode_in(folder: Path) -> int:
    """The mode of a cache's files: of the group too in a folder that the group may write to."""
    return PRIVATE | (0o060 if folder.stat().st_mode & 0o020 else 0)


def _unusable(folder: Path, error: Exception) -> UserError:
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
            value = _value(cache, key)
            try:
                if value is not None and unpacked(value):
                    yield key, orjson.loads(value)
            except ValueError:
                continue
    finally:
        cache.close()


def _value(cache: Cache, key: str) -> bytes | None:
    """The bytes under `key`; None if there are none, or if it is a row that this package cannot have written."""
    try:
        value = cache.get(key)
    except (sqlite3.Error, OSError):  # the whole folder cannot be read
        raise
    except Exception:  # a pickled row (see PlainDisk), or one that diskcache itself stumbles over
        return None
    return value if isinstance(value, bytes) else None
