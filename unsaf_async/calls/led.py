"""The first call about an image leaves before those that begin alike: what it has put into the provider's cache, they read.

A provider can read a beginning once the reply to the call that wrote it has begun. Calls that leave together all miss, and where
writing is billed, all write.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from unsaf_async.calls.provider import Provider
    from unsaf_async.records import Reply, Request

ENOUGH = 24
"""After so many calls that followed a first one it is known whether they are read from the cache."""


@dataclass
class Hits:
    """What came of the calls to one model that waited for a first one. followed: how many did. hit: of how many some was read."""

    followed: int = 0
    hit: int = 0

    @property
    def hopeless(self) -> bool:
        """Whether waiting brings nothing: hardly any of those that waited was read from the cache."""
        return self.followed >= ENOUGH and 4 * self.hit < self.followed

    def add(self, reply: Reply) -> None:
        """Count a call that waited.

        Args:
            reply: What it brought.
        """
        self.followed += 1
        self.hit += reply.usage.cached_input_tokens > 0


class Led:
    """A provider that lets one call of those that begin alike leave first."""

    def __init__(self, inner: Provider, hits: Hits) -> None:
        """A layer for one image's calls.

        Args:
            inner: Who is asked.
            hits: What is known of the model's cache; shared by all layers around the model.
        """
        self._inner = inner
        self._hits = hits
        self._first: dict[str, asyncio.Future[None]] = {}
        self._kept: set[str] = set()

    async def complete(self, request: Request) -> Reply:
        """The inner provider's reply.

        The first call with its beginning goes at once. Others wait for its reply; where it fails, the next of them goes first.

        Args:
            request: The call.

        Returns:
            The reply.

        Raises:
            CallError: As the inner provider does.
            BudgetExhausted: As the inner provider does.
        """
        prefix = request.prompt_cache.prefix if request.prompt_cache else ""
        if not prefix or self._hits.hopeless:
            return await self._inner.complete(request)
        while prefix not in self._kept:
            first = self._first.get(prefix)
            if first is None:
                return await self._lead(prefix, request)
            await asyncio.shield(first)
        reply = await self._inner.complete(request)
        self._hits.add(reply)
        return reply

    async def _lead(self, prefix: str, request: Request) -> Reply:
        first = self._first[prefix] = asyncio.get_running_loop().create_future()
        try:
            reply = await self._inner.complete(request)
            self._kept.add(prefix)
            return reply
        finally:
            del self._first[prefix]
            first.set_result(None)
