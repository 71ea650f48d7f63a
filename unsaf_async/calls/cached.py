"""The caching layer: an equal request is paid for once.

Stored for everybody: replies with outcome `ok`. Every other reply (cut off, refused, blocked, interrupted, unreadable) was billed
too, so the run that paid for it keeps it and does not pay again when it is resumed; other runs ask anew, since a filter or a
reasoning model may decide otherwise the next time. What the server lost on its way (finish reason `abort`) is asked for again by
its own run, too. A call that failed is never stored.

A call that another process is making, with the same store, is not made: its reply is waited for. Where none comes (the call
failed, or its process died), one of those that wait makes it.
"""

from __future__ import annotations

import asyncio
from contextlib import nullcontext
from dataclasses import replace
from typing import TYPE_CHECKING

from unsaf_async.calls.backends.outcome import is_lost, outcome_of
from unsaf_async.calls.stored_reply import key_of, key_parts, packed, unpacked
from unsaf_async.errors import BudgetExhausted, CallError, Unfunded
from unsaf_async.events import Announce, CacheHit, Notice, silent
from unsaf_async.text import one_line

if TYPE_CHECKING:
    from collections.abc import Callable
    from contextlib import AbstractContextManager

    from unsaf_async.calls.books import Coming, Replies
    from unsaf_async.calls.provider import Provider
    from unsaf_async.records import Reply, Request

_ANEW = "it is asked for anew, and so is every other like it"

InFlight = dict[str, "asyncio.Future[Reply | None]"]
"""Requests under way, by key: two equal ones are one call. Shared by all that share a store. None: whoever made the call gave up
for reasons of its own (cancelled, no money), so one of those that wait makes it instead."""

CLAIM_WAIT_S = 0.25
"""So often a call that another process makes is looked for in the store."""
BATCH_WAIT_S = 5.0
"""The same, at most, of a call that another process may have in a batch: that takes hours."""
CLAIM_PATIENCE_S = 600.0
"""So long another process is waited for. It may be halted, or wait for its own money for what is claimed here."""


class Cached:
    """A provider that looks in a store before it asks another provider."""

    def __init__(
        self,
        inner: Provider,
        store: Replies,
        in_flight: InFlight,
        run_id: str,
        announce: Announce = silent,
        following: Callable[[], AbstractContextManager[None]] = nullcontext,
        is_wanted: Callable[[Reply], bool] = lambda _: True,
        is_down: Callable[[], bool] = lambda: False,
        coming: Callable[[Request], Coming | None] = lambda _: None,
        collected: set[str] | None = None,
        elsewhere: Callable[[], bool] = lambda: False,
    ) -> None:
        """A layer for one image's calls.

        Args:
            inner: Asked where the store has no reply.
            store: The replies.
            in_flight: The requests under way of all layers that share the store.
            run_id: The run for which replies other than `ok` are kept, too.
            announce: Receives a `CacheHit` for each call that is not made.
            following: Entered while a call waits for an equal one of another layer.
            is_wanted: Whether a stored reply will do. Where it will not, the call is made, and its reply stored instead.
            is_down: Whether the inner provider makes no calls any more. Nobody else's is waited for then.
            coming: What the store is told of the call that will be made where it has no reply.
            collected: The keys of replies that this run has paid for, in batches of earlier sessions: nobody spared these calls.
                Whoever is given one takes it out. None for none.
            elsewhere: Whether a call that another process has claimed may be in a batch: it is waited for, however long that
                takes.
        """
        self._inner = inner
        self._store = store
        self._in_flight = in_flight
        self._run_id = run_id
        self._announce = announce
        self._following = following
        self._is_wanted = is_wanted
        self._is_down = is_down
        self._coming = coming
        self._collected = set() if collected is None else collected
        self._elsewhere = elsewhere

    async def complete(self, request: Request) -> Reply:
        """The stored reply, or the inner provider's, which is on disk when this returns.

        Args:
            request: What is asked.

        Returns:
            The reply; `cached` says whether this call was spared.

        Raises:
            CallError: As the inner provider does, for all that wait for the same call.
            BudgetExhausted: There is no money to begin the image.
        """
        parts = key_parts(request)
        key = key_of(parts)
        while equal_call := self._in_flight.get(key):
            with self._following():
                reply = await asyncio.shield(equal_call)
            if reply is not None:
                self._announce(CacheHit(request.role))
                return replace(reply, cached=True)
        call = self._in_flight[key] = asyncio.get_running_loop().create_future()
        try:
            reply = await self._stored_or_asked(key, parts, request)
        except (asyncio.CancelledError, BudgetExhausted, Unfunded):
            call.set_result(None)
            raise
        except _Unsendable as unsendable:  # another file of the same pixels may be there still
            call.set_result(None)
            raise unsendable.error from None
        except BaseException as error:
            call.set_exception(error)
            call.exception()  # nobody may be waiting: mark it as seen
            raise
        else:
            call.set_result(reply)
            return reply
        finally:
            del self._in_flight[key]

    async def _stored_or_asked(self, key: str, parts: dict[str, object], request: Request) -> Reply:
        """The stored reply, be it one that another process is asking for, or the inner provider's."""
        waited_s, wait_s = 0.0, CLAIM_WAIT_S
        while True:
            own = f"{key}:{self._run_id}"
            claimed, data = await self._store.look(key, own, self._coming(request))
            try:
                if (reply := await self._read(data, own)) is not None:
                    return self._told(reply, key, request)
                in_batch = not claimed and not self._is_down() and self._elsewhere()
                if claimed or self._is_down() or (waited_s >= CLAIM_PATIENCE_S and not in_batch):
                    return await self._ask(key, parts, request)
            finally:
                if claimed:
                    self._store.release(key)
            wait_s = min(2 * wait_s, BATCH_WAIT_S) if in_batch else CLAIM_WAIT_S
            await asyncio.sleep(wait_s)
            waited_s += 0.0 if in_batch else wait_s

    async def _read(self, data: bytes | None, own: str) -> Reply | None:
        """The reply in what is stored, or else in what is stored for this run alone; None where neither will do."""
        reply = self._usable(data)
        if reply is None and data is not None:
            reply = self._usable(await self._store.first(own))
        return reply

    def _told(self, reply: Reply, key: str, request: Request) -> Reply:
        """A stored reply, once it is told; one that this run has just collected was not spared by the cache."""
        collected = key in self._collected
        self._collected.discard(key)
        self._announce(CacheHit(request.role, collected))
        return replace(reply, cached=False) if collected else reply

    def _usable(self, data: bytes | None) -> Reply | None:
        """The reply in stored bytes; None where the call is to be made anew, and its reply stored instead."""
        if data is None:
            return None
        try:
            reply = unpacked(data)
        except ValueError as error:  # not written by this package, or by a version that let a broken figure through
            if not self._store.told_unusable:
                self._store.told_unusable = True
                why = one_line(str(error), 200)
                self._announce(Notice(f"{self._store.folder}: holds a reply that cannot be used ({why}); {_ANEW}"))
            return None
        if reply.outcome == "ok" and outcome_of(reply.text, reply.finish_reason)[0] != "ok":
            return None  # stored before its finish reason was looked at: half a text may have passed for a whole one
        return None if is_lost(reply) or not self._is_wanted(reply) else reply

    async def _ask(self, key: str, parts: dict[str, object], request: Request) -> Reply:
        try:
            sent = await _sendable(request)
        except CallError as error:
            raise _Unsendable(error) from None
        reply = await self._inner.complete(sent)
        place = key if reply.outcome == "ok" else f"{key}:{self._run_id}"
        # A reply that is here is paid for: the store keeps it even if this is cancelled and nobody waits for it any more.
        await self._store.put(place, packed(parts, reply))
        return reply


class _Unsendable(Exception):
    """A request's own image cannot be read any more."""

    def __init__(self, error: CallError) -> None:
        super().__init__(str(error))
        self.error = error


async def _sendable(request: Request) -> Request:
    """`request` with the bytes of its images, which no stored reply needs."""
    if all(message.image is None or message.image.make is None for message in request.messages):
        return request
    messages = [
        replace(message, image=await message.image.sendable()) if message.image else message
        for message in request.messages
    ]
    return replace(request, messages=tuple(messages))
