"""How long a call may take, on a machine that may stand still meanwhile (Ctrl-Z, a laptop's lid, a frozen container)."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from collections.abc import Awaitable

T = TypeVar("T")

LATE_S = 0.25
"""A timer that is later than this shows that the process stood still: nothing else keeps the event loop for so long."""

GRACE_S = 10.0
"""Seconds to read what has come meanwhile."""


async def within(timeout_s: float, call: Awaitable[T], grace_s: float = GRACE_S) -> T:
    """What a call brings, if it does so in time.

    Where the process stood still when the time was over, the answer may have come and lie in the socket, unread and paid for:
    the call gets a little longer.

    Args:
        timeout_s: How long the call may take, in seconds.
        call: What to wait for.
        grace_s: How much longer it may take if the process stood still, in seconds.

    Returns:
        The call's result.

    Raises:
        TimeoutError: The time is over.
    """
    loop = asyncio.get_running_loop()
    async with asyncio.timeout(None) as timeout:
        timer: asyncio.TimerHandle | None = None

        def over(due: float) -> None:
            nonlocal timer
            now = loop.time()
            if now - due > LATE_S:
                timer = loop.call_at(now + grace_s, over, now + grace_s)
            else:
                timeout.reschedule(now)

        due = loop.time() + timeout_s
        timer = loop.call_at(due, over, due)
        try:
            return await call
        finally:
            timer.cancel()
