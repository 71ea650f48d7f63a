"""The caching layer: an equal request is paid for once.

Stored for everybody: replies with outcome `ok`. Every other whole reply (cut off, refused, blocked, unreadable) was billed
too, so the run that paid for it remembers it and does not pay again when it is resumed; other runs ask anew, since a
filter's or a reasoner's mood may have changed. A call that failed is never stored.
"""

from __future__ import annotations

import asyncio
from contextlib import nullcontext
from typing import TYPE_CHECKING

from unsaf_async.calls.store import ReplyStore, key_of, key_parts, packed, unpacked
from unsaf_async.errors import BudgetExhausted, Unfunded
from unsaf_async.events import Announce, CacheHit, silent

if TYPE_CHECKING:
    from collections.abc import Callable
    from contextlib import AbstractContextManager

    from unsaf_async.calls.provider import Provider
    from unsaf_async.records import Reply, Request

InFlight = dict[str, "asyncio.Future[Reply | None]"]
"""Requests under way, by key: two equal ones are one call. Shared by all that share a store. None: the one who made the call
gave up for reasons of its own (cancelled, no money), so whoever waits makes it instead."""


class Cached:
    """A provider that looks in `store` before it asks `inner`.

    run_id: whose replies other than `ok` count. following: entered while it waits for somebody else's equal call.
    """

    def __init__(
        self,
        inner: Provider,
        store: ReplyStore,
        in_flight: InFlight,
        run_id: str,
        announce: Announce = silent,
        following: Callable[[], AbstractContextManager[None]] = nullcontext,
    ) -> None:
        self._inner = inner
        self._store = store
        self._flights = in_flight
        self._run_id = run_id
        self._announce = announce
        self._following = following

    async def complete(self, request: Request) -> Reply:
        """The stored reply, or `inner`'s, which is on disk when this returns."""
        parts = key_parts(request)
        key = key_of(parts)
        while flight := self._flights.get(key):
            with self._following():
                made = await asyncio.shield(flight)
            if made is not None:
                self._announce(CacheHit(request.role))
                return _again(made)
        flight = self._flights[key] = asyncio.get_running_loop().create_future()
        try:
            reply = await self._look_up(key, request) or await self._ask(key, parts, request)
        except (asyncio.CancelledError, BudgetExhausted, Unfunded):
            flight.set_result(None)
            raise
        except BaseException as error:
            flight.set_exception(error)
            flight.exception()  # nobody may be waiting: mark it as seen
            raise
        else:
            flight.set_result(reply)
            return reply
        finally:
            del self._flights[key]

    async def _look_up(self, key: str, request: Request) -> Reply | None:
        data = await self._store.first(key, f"{key}:{self._run_id}")
        if data is None:
            return None
        try:
            reply = unpacked(data)
        except ValueError:  # not ours: asked anew, and overwritten
            return None
        self._announce(CacheHit(request.role))
        return reply

    async def _ask(self, key: str, parts: dict[str, object], request: Request) -> Reply:
        reply = await self._inner.complete(request)
        place = key if reply.outcome == "ok" else f"{key}:{self._run_id}"
        # A reply that is here is paid for: the store keeps it even if this is cancelled and nobody waits for it any more.
        await self._store.put(place, packed(parts, reply))
        return reply


def _again(reply: Reply) -> Reply:
    from dataclasses import replace

    return replace(reply, cached=True)
