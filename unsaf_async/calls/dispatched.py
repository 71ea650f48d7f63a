"""The innermost layer, the only one that lets calls leave: money first, then a slot, then the wire.

Money before the slot, so that a call that waits for money keeps no other from leaving; the ledger's line last, so that it
stands only for calls that were really sent.
"""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import TYPE_CHECKING

from unsaf_async.calls.budget import NANO
from unsaf_async.calls.timeout import within
from unsaf_async.errors import CallError, Fatal, Transient
from unsaf_async.events import Announce, BoundBroken, CallSent, CallSettled, KeyHidden, silent

if TYPE_CHECKING:
    from collections.abc import Hashable

    from unsaf_async.calls.books import Attempts
    from unsaf_async.calls.budget import ImageBudget, Reservation
    from unsaf_async.calls.cost import CostModel
    from unsaf_async.calls.replicas import Replica, Replicas
    from unsaf_async.providers.redactor import Redactor
    from unsaf_async.records import Reply, Request


class Dispatched:
    """A provider that lets calls leave as an endpoint's pace and the budget allow, and enters each in the ledger."""

    def __init__(
        self,
        replicas: Replicas,
        *,
        image_budget: ImageBudget,
        ledger: Attempts,
        cost_model: CostModel,
        timeout_s: float,
        again: bool,
        suspect: bool = False,
        redact: Redactor,
        announce: Announce = silent,
    ) -> None:
        """A layer for one image's first attempts, or for its repetitions.

        Args:
            replicas: The model's endpoints.
            image_budget: What the calls are paid from.
            ledger: Where each attempt is written down.
            cost_model: The model's prices.
            timeout_s: How long one attempt may take.
            again: Whether the calls are repetitions.
            suspect: Whether the image may be at fault itself where a call fails, since one of its calls failed in an earlier
                session.
            redact: Hides keys in replies and in the texts of errors.
            announce: Receives the calls' events.
        """
        self._replicas = replicas
        self._image_budget = image_budget
        self._ledger = ledger
        self._cost_model = cost_model
        self._timeout_s = timeout_s
        self._again = again
        self._suspect = suspect
        self._redact = redact
        self._announce = announce

    async def complete(self, request: Request) -> Reply:
        """The backend's reply, with its cost.

        Args:
            request: What leaves.

        Returns:
            The reply: its usage at the worst case where the provider states none, `latency_s` as measured here.

        Raises:
            CallError: Before anything leaves: Fatal once the model is down, or Unfunded. After it: what became of the attempt.
            BudgetExhausted: There is no money to begin the image, and nothing was sent.
        """
        worst = self._cost_model.worst_nano_usd(request)
        reservation = await self._image_budget.reserve(worst)
        try:
            replica = await self._replicas.enter(request.role, *self._cost_model.expected_tokens(request))
        except BaseException:
            reservation.refund()
            raise
        try:
            number = await self._ledger.enter(request.role, reservation, again=self._again)
        except BaseException:  # the disk is full: no call leaves that the ledger does not know
            reservation.refund()
            self._replicas.leave(replica)
            raise
        return await self._send(request, replica, reservation, number)

    async def _send(self, request: Request, replica: Replica, reservation: Reservation, number: int) -> Reply:
        """One attempt, from the wire to the accounts. number: the ledger's."""
        worst, provider = reservation.amount_nano_usd, request.target.provider
        self._announce(CallSent(request.role, provider, worst / NANO))
        began_s = asyncio.get_running_loop().time()
        reply: Reply | None = None
        cost, failed = 0, ""
        try:
            try:
                reply = await within(self._timeout_s, replica.backend.complete(request))
            except TimeoutError:
                raise Transient(f"no answer within {self._timeout_s:g} s", fate_unknown=True) from None
            latency_s = asyncio.get_running_loop().time() - began_s
            cost, usage = self._cost_model.cost_nano_usd(request, reply)
            reply = without_keys(reply, self._redact, provider, self._announce)
            reply = replace(reply, cost_usd=cost / NANO, usage=usage, latency_s=latency_s)
            self._ledger.settled(number, cost, usage, self._cost_model.saved_nano_usd(request, usage))
            reservation.settle(cost)
            self._replicas.succeeded(replica, reply)
            if cost > worst:
                self._cost_model.bound_broken(request, cost)
                self._announce(BoundBroken(request.role, provider, worst / NANO, cost / NANO))
            return reply
        except CallError as error:
            failed = type(error).__name__
            if error.fate_unknown:
                cost = worst
                reservation.settle(worst)
                self._ledger.unknown(number)
            else:
                reservation.refund()
                self._ledger.refunded(number, unsent=_never_left(error))
            error.args = (self._redact(str(error)),)
            then = self._replicas.failed(replica, error, _about(request), suspect=self._suspect)
            if then is not error:
                raise then from None
            raise
        except BaseException as error:  # cancelled, or a bug: the call was sent, so it may be billed
            failed = type(error).__name__
            if not reservation.over:
                cost = worst
                reservation.settle(worst)
                self._ledger.unknown(number)
            raise
        finally:
            self._replicas.leave(replica)
            seconds = 0.0 if reply else asyncio.get_running_loop().time() - began_s
            self._announce(CallSettled(request.role, provider, reply, cost / NANO, seconds, failed))


def without_keys(reply: Reply, redact: Redactor, provider: str, announce: Announce) -> Reply:
    """A reply as everything else gets to know it: a server may send back the key that it was sent.

    Args:
        reply: As it came.
        redact: Hides keys.
        provider: Who sent it.
        announce: Receives a `KeyHidden` where one is hidden.

    Returns:
        The very reply where it holds no key.
    """
    words = (reply.text, reply.finish_reason or "", reply.model, reply.detail, *reply.headers.values())
    if (hidden := redact.each(words)) is words:
        return reply
    announce(KeyHidden(provider))
    text, reason, model, detail, *values = hidden
    headers = dict(zip(reply.headers, values, strict=True))
    finish_reason = None if reply.finish_reason is None else reason
    return replace(reply, text=text, finish_reason=finish_reason, model=model, detail=detail, headers=headers)


def _never_left(error: CallError) -> bool:
    """Whether an attempt failed on this machine: no connection came about, or something is missing here."""
    return error.unsent if isinstance(error, Transient) else isinstance(error, Fatal) and error.kind == "machine"


def _about(request: Request) -> Hashable:
    """What may make a server fail at a request, its other attempts included: its image, or else its text."""
    images = tuple(each.image.pixels_sha256 for each in request.messages if each.image)
    return images or tuple(each.text for each in request.messages)
