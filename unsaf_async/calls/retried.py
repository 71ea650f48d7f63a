"""The retrying layer: a 429 is waited out, a transient failure tried again.

Being turned away (429, overloaded) is a wait and not a failure: the pause of the whole model stands in rate_limit.py, and
only the deadline ends it. Other transient failures count against `attempts`, and so do replies that the server lost on their
way (finish reason `abort`): each is paid for, and the last one stands if none comes whole.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from tenacity import AsyncRetrying, RetryCallState, retry_if_exception_type, wait_exponential, wait_random

from unsaf_async.calls.backends.outcome import is_lost
from unsaf_async.errors import CallError, RateLimited, Transient

if TYPE_CHECKING:
    from unsaf_async.calls.provider import Provider
    from unsaf_async.records import Reply, Request


@dataclass(frozen=True)
class RetryPolicy:
    """How often and how long a call is repeated.

    attempts: how often a transient failure is tried at most (>= 1). deadline_s: so long after a call's first failure no new
    attempt is made. wait_s, max_wait_s: the first pause, doubled each time up to the longest; up to `wait_s` of jitter on top.
    """

    attempts: int = 6
    deadline_s: float = 600.0
    wait_s: float = 0.5
    max_wait_s: float = 30.0


OnRetry = Callable[["Request", CallError, float], None]
"""Called before each repetition with the request, what went wrong, and the pause in seconds."""


class Retried:
    """A provider that asks again as a policy says."""

    def __init__(self, first: Provider, again: Provider, policy: RetryPolicy, on_retry: OnRetry) -> None:
        """A layer for one image's calls.

        Args:
            first: Where a call's first attempt goes.
            again: Where its repetitions go.
            policy: How often and how long to repeat.
            on_retry: Called before each repetition.
        """
        self._first = first
        self._again = again
        self._policy = policy
        self._on_retry = on_retry
        self._wait = wait_exponential(multiplier=policy.wait_s, max=policy.max_wait_s) + wait_random(0, policy.wait_s)

    async def complete(self, request: Request) -> Reply:
        """The reply of the first attempt that brings a whole one.

        Args:
            request: The call.

        Returns:
            The reply; the last attempt's where the server lost every one.

        Raises:
            CallError: The last attempt's, when no further one may be made.
        """
        try:
            return _whole(await self._first.complete(request))
        except (Transient, RateLimited) as error:
            failed: CallError | None = error
        # Only now tenacity's machinery, which costs 50 microseconds a call: it is shown the first failure, and goes on.
        began_s = asyncio.get_running_loop().time()
        failures = 0

        async def attempt() -> Reply:
            nonlocal failed, failures
            try:
                if failed is not None:
                    first, failed = failed, None
                    raise first
                return _whole(await self._again.complete(request))
            except CallError as error:
                failures += not (isinstance(error, RateLimited) or (isinstance(error, Transient) and error.overloaded))
                raise

        def exhausted(state: RetryCallState) -> bool:
            pause_s = max(state.upcoming_sleep, _patience_s(state))
            late = asyncio.get_running_loop().time() + pause_s - began_s > self._policy.deadline_s
            return late or failures >= self._policy.attempts

        retrying = AsyncRetrying(
            retry=retry_if_exception_type((Transient, RateLimited)),
            stop=exhausted,
            wait=self._pause_s,
            before_sleep=lambda state: self._on_retry(request, _error(state), state.upcoming_sleep),
            reraise=True,
        )
        try:
            return await retrying(attempt)
        except _Lost as error:
            return error.reply

    def _pause_s(self, state: RetryCallState) -> float:
        if isinstance(_error(state), RateLimited):
            return 0.0  # the pace holds back every call to this model, this one too
        return max(self._wait(state), _patience_s(state))


class _Lost(Transient):
    """A reply came, and was paid for, of which the server lost the rest."""

    def __init__(self, reply: Reply) -> None:
        super().__init__(reply.detail, status=200)
        self.reply = reply


def _whole(reply: Reply) -> Reply:
    if is_lost(reply):
        raise _Lost(reply)
    return reply


def _error(state: RetryCallState) -> CallError:
    error = state.outcome.exception() if state.outcome else None
    assert isinstance(error, CallError)
    return error


def _patience_s(state: RetryCallState) -> float:
    """What the provider asked for, in seconds; 0 if nothing."""
    error = _error(state)
    return (error.retry_after_s or 0.0) if isinstance(error, Transient | RateLimited) else 0.0
