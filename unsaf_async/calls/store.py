"""Replies on disk, keyed by everything that can change them: a database, worked by one thread of its own.

The store knows keys and bytes. What a key covers stands in `stored_reply.key_parts`; when a reply may be stored is the caching
layer's business.
"""

from __future__ import annotations

import asyncio
import queue
import sqlite3
import threading
from contextlib import suppress
from typing import TYPE_CHECKING

from diskcache import Timeout

from unsaf_async.calls.budget import NANO
from unsaf_async.calls.claims import Claims
from unsaf_async.calls.disk import mode_in, open_cache, unusable, value_at
from unsaf_async.calls.stored_reply import unpacked
from unsaf_async.errors import UserError, setting
from unsaf_async.files import (
    LineFile,
    whole_lines,
)

if TYPE_CHECKING:
    from contextlib import AbstractContextManager
    from pathlib import Path

    from unsaf_async.calls.books import Coming
    from unsaf_async.calls.reserve import Reserve
    from unsaf_async.calls.seal import Seal


BATCH = 256
"""Reads and writes done in one go at most: writes of one go share a transaction."""


RECEIVED_BYTES = 1_000_000
"""From this size on the file of received replies is emptied whenever all of them are stored."""


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


_Job = tuple[tuple[str, ...], bytes | None, "asyncio.Future[bytes | None]"]
"""Where to look, or where to store; what to store, None for looking; who waits."""


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
            self._claims = Claims(folder, mode_in(folder))
        except OSError as error:
            raise unusable(folder, error) from None
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
                    if value_at(self._cache, key) is None:
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
            value = value_at(self._cache, key)
            if value is not None:
                return value
        return None
