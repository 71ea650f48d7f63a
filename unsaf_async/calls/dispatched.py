"""The innermost layer, the one door through which calls leave: money first, then a slot, then the wire.

Money before the slot, so that a call that waits for money keeps no other from leaving; the ledger's line last, so that it
stands only for calls that really left.
"""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import TYPE_CHECKING

from unsaf_async.calls.budget import NANO, ImageBudget
from unsaf_async.errors import CallError, Transient
from unsaf_async.events import Announce, BoundBroken, CallSent, CallSettled, silent

if TYPE_CHECKING:
    from collections.abc import Callable

    from unsaf_async.calls.cost import CostModel
    from unsaf_async.calls.ledger import Ledger
    from unsaf_async.calls.pace import Pace
    from unsaf_async.calls.provider import Provider
    from unsaf_async.records import Reply, Request


class Dispatched:
    """A provider that lets calls to `backend` leave as `pace` and `hold` allow, and books each with `ledger`.

    timeout_s: how long one attempt may take. again: whether its calls are repetitions.
    """

    def __init__(
        self,
        backend: Provider,
        *,
        pace: Pace,
        hold: ImageBudget,
        ledger: Ledger,
        cost_model: CostModel,
        timeout_s: float,
        again: bool,
        redact: Callable[[str], str],
        announce: Announce = silent,
    ) -> None:
        self._backend = backend
        self._pace = pace
        self._hold = hold
        self._ledger = ledger
        self._meter = cost_model
        self._timeout_s = timeout_s
        self._again = again
        self._redact = redact
        self._announce = announce

    async def complete(self, request: Request) -> Reply:
        """`backend`'s reply, with its cost.

        Raises CallError (Fatal once the model is down; Unfunded) or BudgetExhausted before anything leaves, CallError after it.
        """
        worst = self._meter.worst_nano_usd(request)
        reservation = await self._hold.reserve(worst)
        try:
            await self._pace.enter(request.role, *self._meter.expected_tokens(request))
        except BaseException:
            reservation.refund()
            raise
        try:
            number = self._ledger.sent(request.role, worst, again=self._again)
        except BaseException:  # the disk is full: nothing leaves unbooked
            reservation.refund()
            self._pace.leave()
            raise
        provider = request.target.provider
        self._announce(CallSent(request.role, provider, worst / NANO))
        began_s = asyncio.get_running_loop().time()
        reply: Reply | None = None
        cost = 0
        try:
            try:
                async with asyncio.timeout(self._timeout_s):
                    reply = await self._backend.complete(request)
            except TimeoutError:
                raise Transient(f"no answer within {self._timeout_s:g} s", fate_unknown=True) from None
            latency_s = asyncio.get_running_loop().time() - began_s
            cost, usage = self._meter.cost_nano_usd(request, reply)
            reply = replace(reply, cost_usd=cost / NANO, usage=usage, latency_s=latency_s)
            self._ledger.settled(number, cost, usage)
            reservation.settle(cost)
            self._pace.succeeded(reply)
            if cost > worst:
                self._meter.bound_broken(request, cost)
                self._announce(BoundBroken(request.role, provider, worst / NANO, cost / NANO))
            return reply
        except CallError as error:
            if error.fate_unknown:
                cost = worst
                reservation.settle(worst)
                self._ledger.unknown(number)
            else:
                reservation.refund()
                self._ledger.refunded(number)
            error.args = (self._redact(str(error)),)
            self._pace.failed(error)
            raise
        except BaseException:  # cancelled, or a bug: the call had left, so it may be billed
            if not reservation.over:
                cost = worst
                reservation.settle(worst)
                self._ledger.unknown(number)
            raise
        finally:
            self._pace.leave()
            self._announce(CallSettled(request.role, provider, reply, cost / NANO))
