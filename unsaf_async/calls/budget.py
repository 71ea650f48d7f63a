"""Money: no call leaves unless its worst case is reserved, and images are whole or not begun.

Amounts are whole nano-dollars, so that sums are exact. The budget knows nothing of prices, tokens or providers.
"""

from __future__ import annotations

import asyncio
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from unsaf_async.errors import BudgetExhausted, Unfunded

if TYPE_CHECKING:
    from collections.abc import Iterator

NANO = 1_000_000_000
"""Nano-dollars in a dollar."""


@dataclass(eq=False)
class _Waiter:
    hold: ImageBudget
    amount: int
    future: asyncio.Future[Reservation]


class Budget:
    """What may still be spent: the cap less what is spent less what is held.

    cap_nano_usd: None for no cap (everything is still counted). spent_nano_usd: what earlier sessions of the run spent.
    """

    def __init__(self, cap_nano_usd: int | None = None, spent_nano_usd: int = 0) -> None:
        self.cap_nano_usd = cap_nano_usd
        self.spent_nano_usd = spent_nano_usd
        self.held_nano_usd = 0
        self._waiters: list[_Waiter] = []
        self._holds: set[ImageBudget] = set()

    def hold(self, worst_nano_usd: int) -> ImageBudget:
        """A purse for one image whose calls cost at most `worst_nano_usd`. Nothing is held before its first reservation."""
        return ImageBudget(self, worst_nano_usd)

    def _fits(self, amount: int) -> bool:
        free = self.cap_nano_usd is None or self.spent_nano_usd + self.held_nano_usd + amount <= self.cap_nano_usd
        return amount <= 0 or free  # what is held already may be used, even if a broken bound has passed the cap

    async def _reserve(self, hold: ImageBudget, amount: int) -> Reservation:
        """`amount` for an attempt of `hold`'s image: at once, or when money comes back."""
        short = hold.short_of(amount)
        # Those already waiting go first, or a stream of small images would starve a large one.
        if short <= 0 or (not self._waiters and self._fits(short)):
            return self._granted(hold, amount)
        waiter = _Waiter(hold, amount, asyncio.get_running_loop().create_future())
        self._waiters.append(waiter)
        hold.waiting += 1
        self._serve()
        try:
            return await waiter.future
        except asyncio.CancelledError:
            if waiter in self._waiters:
                self._dismiss(waiter)
                self._serve()
            elif not waiter.future.cancelled() and waiter.future.exception() is None:
                waiter.future.result().refund()  # granted and cancelled in the same breath
            raise

    def _granted(self, hold: ImageBudget, amount: int) -> Reservation:
        """`amount` moves from the image's purse, which is filled up before, into an attempt."""
        short = hold.short_of(amount)
        self.held_nano_usd += short
        hold.left_nano_usd += short - amount
        hold.open_nano_usd += amount
        hold.admitted = True
        self._holds.add(hold)
        return Reservation(hold, amount)

    def _dismiss(self, waiter: _Waiter) -> None:
        self._waiters.remove(waiter)
        waiter.hold.waiting -= 1

    def _back(self, amount: int) -> None:
        self.held_nano_usd -= amount
        self._serve()

    def _spend(self, held: int, actual: int) -> None:
        self.held_nano_usd -= held
        self.spent_nano_usd += actual
        self._serve()

    def _serve(self) -> None:
        """Grant what fits, calls of begun images before new images; refuse what can never fit."""
        for waiter in [waiter for waiter in self._waiters if waiter.future.done()]:  # cancelled
            self._dismiss(waiter)
        while self._waiters:
            self._waiters.sort(key=lambda waiter: not waiter.hold.admitted)  # stable: else in order of arrival
            # An image's money may come back to its purse, where only its own calls can have it.
            funded = (waiter for waiter in self._waiters if waiter.hold.short_of(waiter.amount) <= 0)
            waiter = next(funded, self._waiters[0])
            if self._fits(waiter.hold.short_of(waiter.amount)):
                self._dismiss(waiter)
                waiter.future.set_result(self._granted(waiter.hold, waiter.amount))
                continue
            if any(hold.may_give_back for hold in self._holds):
                return
            # Everybody who holds money waits for more. Of the begun images' calls the last to come yields: what its image
            # gives back lets the others finish. Where no image is begun, the first is larger than what is left for ever.
            begun = [waiter for waiter in self._waiters if waiter.hold.admitted]
            waiter = begun[-1] if begun else self._waiters[0]
            self._dismiss(waiter)
            waiter.future.set_exception(self._refusal(waiter))

    def _refusal(self, waiter: _Waiter) -> BudgetExhausted | Unfunded:
        cap = (self.cap_nano_usd or 0) / NANO
        free = max(0.0, cap - (self.spent_nano_usd + self.held_nano_usd) / NANO)
        begun, short = waiter.hold.admitted, waiter.hold.short_of(waiter.amount) / NANO
        what = "another attempt at a call of a begun image" if begun else "the next image"
        text = (
            f"--max-cost {cap:g}: ${self.spent_nano_usd / NANO:.4f} is spent and ${free:.4f} is free, less than the "
            f"${short:.4f} that {what} can cost at worst; raise --max-cost to go on"
        )
        return Unfunded(text) if begun else BudgetExhausted(text)


@dataclass(eq=False)
class ImageBudget:
    """One image's purse. The first reservation admits the image: its whole worst case is held, or none of it."""

    budget: Budget
    worst_nano_usd: int
    admitted: bool = False
    left_nano_usd: int = 0
    waiting: int = 0
    """Calls of this image that wait for money, or for another image's call."""
    open_nano_usd: int = 0
    """Reserved by calls under way."""
    closed: bool = False

    @property
    def may_give_back(self) -> bool:
        """False if every call of this image that could free money is itself waiting for some."""
        return not self.closed and (not self.waiting or self.open_nano_usd > 0)

    def short_of(self, amount_nano_usd: int) -> int:
        """What must be held beyond what is, in nano-dollars, for an attempt that costs `amount_nano_usd` at worst; >= 0."""
        if not self.admitted:
            return max(self.worst_nano_usd, amount_nano_usd)
        # Only an attempt of unknown fate, which stays spent, leaves less here than the image's remaining calls need.
        return max(0, amount_nano_usd - self.left_nano_usd)

    async def reserve(self, amount_nano_usd: int) -> Reservation:
        """Money for one attempt. Waits for it if need be.

        Raises, when none can come back: BudgetExhausted if the image is not begun, Unfunded if it is.
        """
        return await self.budget._reserve(self, amount_nano_usd)  # noqa: SLF001 - the two classes are one idea

    @contextmanager
    def idle(self) -> Iterator[None]:
        """While a call of this image waits for an equal one of another image, which may itself be waiting for money."""
        self.waiting += 1
        self.budget._serve()  # noqa: SLF001
        try:
            yield
        finally:
            self.waiting -= 1

    def close(self) -> None:
        """Give back what was not used. Calls that still wait or are under way must have ended before."""
        if not self.closed:
            self.closed = True
            self.budget._holds.discard(self)  # noqa: SLF001
            left, self.left_nano_usd = self.left_nano_usd, 0
            self.budget._back(left)  # noqa: SLF001


@dataclass(eq=False)
class Reservation:
    """Money for one attempt; ends in exactly one of `settle` and `refund`."""

    hold: ImageBudget
    amount_nano_usd: int
    over: bool = False

    def settle(self, actual_nano_usd: int) -> None:
        """The attempt cost `actual_nano_usd`; the rest is free again, for any image."""
        self._end()
        self.hold.budget._spend(self.amount_nano_usd, actual_nano_usd)  # noqa: SLF001

    def refund(self) -> None:
        """The attempt cost nothing; its money stays with the image, for the attempt that follows."""
        self._end()
        if self.hold.closed:
            self.hold.budget._back(self.amount_nano_usd)  # noqa: SLF001
        else:
            self.hold.left_nano_usd += self.amount_nano_usd
            self.hold.budget._serve()  # noqa: SLF001 - a call of this image may be waiting for just this

    def _end(self) -> None:
        if self.over:
            raise RuntimeError("a reservation ends once")
        self.over = True
        self.hold.open_nano_usd -= self.amount_nano_usd
