"""Money: no call leaves unless its worst case is reserved, and images are whole or not begun.

Amounts are whole nano-dollars, so that sums are exact. The budget knows nothing of prices, tokens or providers.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field

from unsaf_async.errors import BudgetExhausted, Unfunded

NANO = 1_000_000_000
"""Nano-dollars in a dollar."""


@dataclass(eq=False)
class _Waiter:
    amount: int
    hold: Hold
    future: asyncio.Future[None]


class Budget:
    """What may still be spent: the cap less what is spent less what is held.

    cap_nano_usd: None for no cap (everything is still counted). spent_nano_usd: what earlier sessions of the run spent.
    """

    def __init__(self, cap_nano_usd: int | None = None, spent_nano_usd: int = 0) -> None:
        self.cap_nano_usd = cap_nano_usd
        self.spent_nano_usd = spent_nano_usd
        self.held_nano_usd = 0
        self._waiters: list[_Waiter] = []
        self._holds: set[Hold] = set()

    def hold(self, worst_nano_usd: int) -> Hold:
        """A purse for one image whose calls cost at most `worst_nano_usd`. Nothing is held before its first reservation."""
        return Hold(self, worst_nano_usd)

    def _fits(self, amount: int) -> bool:
        return self.cap_nano_usd is None or self.spent_nano_usd + self.held_nano_usd + amount <= self.cap_nano_usd

    async def _take(self, amount: int, hold: Hold) -> None:
        """Hold `amount` for `hold`: at once, or when money comes back. Raises BudgetExhausted when none will."""
        # Those already waiting go first, or a stream of small images would starve a large one.
        if not self._waiters and self._fits(amount):
            self.held_nano_usd += amount
            self._holds.add(hold)
            return
        waiter = _Waiter(amount, hold, asyncio.get_running_loop().create_future())
        self._waiters.append(waiter)
        hold.waiting += 1
        self._serve()
        try:
            await waiter.future
        except asyncio.CancelledError:
            if waiter.future.done() and not waiter.future.cancelled() and waiter.future.exception() is None:
                self._back(amount)  # granted and cancelled in the same breath
            raise
        finally:
            hold.waiting -= 1
            if waiter in self._waiters:
                self._waiters.remove(waiter)
            self._serve()

    def _back(self, amount: int) -> None:
        self.held_nano_usd -= amount
        self._serve()

    def _spend(self, held: int, actual: int) -> None:
        self.held_nano_usd -= held
        self.spent_nano_usd += actual
        self._serve()

    def _serve(self) -> None:
        """Grant what fits, extensions of begun images before new ones; refuse what can never fit."""
        self._waiters.sort(key=lambda waiter: not waiter.hold.admitted)  # stable: else in order of arrival
        while self._waiters and self._fits(self._waiters[0].amount):
            waiter = self._waiters.pop(0)
            if waiter.future.done():
                continue
            self.held_nano_usd += waiter.amount
            self._holds.add(waiter.hold)
            waiter.future.set_result(None)
        if self._waiters and not any(hold.may_give_back for hold in self._holds):
            # Everybody who holds money waits for more. The image begun last yields: what it held lets the others finish.
            waiter = self._waiters.pop()
            if not waiter.future.done():
                waiter.future.set_exception(BudgetExhausted(self._exhausted(waiter.amount)))

    def _exhausted(self, amount: int) -> str:
        cap = (self.cap_nano_usd or 0) / NANO
        left = cap - (self.spent_nano_usd + self.held_nano_usd) / NANO
        return (
            f"--max-cost {cap:g}: ${self.spent_nano_usd / NANO:.4f} is spent and ${max(left, 0.0):.4f} is free, less than "
            f"the ${amount / NANO:.4f} that the next image can cost at worst; raise --max-cost to go on"
        )


@dataclass(eq=False)
class Hold:
    """One image's purse. The first reservation admits the image: its whole worst case is held, or none of it."""

    budget: Budget
    worst_nano_usd: int
    admitted: bool = False
    left_nano_usd: int = 0
    waiting: int = 0
    """Calls of this image that wait for money."""
    open_nano_usd: int = 0
    """Reserved by calls under way."""
    closed: bool = False
    _admission: asyncio.Lock = field(default_factory=asyncio.Lock)

    @property
    def may_give_back(self) -> bool:
        """False if every call of this image that could free money is itself waiting for some."""
        return not self.closed and (not self.waiting or self.open_nano_usd > 0)

    async def reserve(self, amount_nano_usd: int) -> Reservation:
        """Money for one attempt. Waits for it if need be.

        Raises, when none can come back: BudgetExhausted if the image is not begun, Unfunded if it is.
        """
        if not self.admitted:
            async with self._admission:
                if not self.admitted:
                    whole = max(self.worst_nano_usd, amount_nano_usd)
                    await self.budget._take(whole, self)  # noqa: SLF001 - the two classes are one idea
                    self.admitted = True
                    self.left_nano_usd += whole
        # Only an attempt of unknown fate, which stays spent, leaves less here than the image's remaining calls need.
        short = amount_nano_usd - self.left_nano_usd
        if short > 0:
            try:
                await self.budget._take(short, self)  # noqa: SLF001
            except BudgetExhausted as error:
                raise Unfunded(str(error)) from None
            self.left_nano_usd += short
        self.left_nano_usd -= amount_nano_usd
        self.open_nano_usd += amount_nano_usd
        return Reservation(self, amount_nano_usd)

    def close(self) -> None:
        """Give back what was not used. Open reservations must be settled before."""
        if not self.closed:
            self.closed = True
            self.budget._holds.discard(self)  # noqa: SLF001
            self.budget._back(self.left_nano_usd)  # noqa: SLF001
            self.left_nano_usd = 0


@dataclass(eq=False)
class Reservation:
    """Money for one attempt; ends in exactly one of `settle` and `refund`."""

    hold: Hold
    amount_nano_usd: int
    over: bool = False

    def settle(self, actual_nano_usd: int) -> None:
        """The attempt cost `actual_nano_usd`; the rest is free again, for any image."""
        self._end()
        self.hold.budget._spend(self.amount_nano_usd, actual_nano_usd)  # noqa: SLF001

    def refund(self) -> None:
        """The attempt cost nothing; its money stays with the image, for the attempt that follows."""
        self._end()
        self.hold.left_nano_usd += self.amount_nano_usd
        if self.hold.closed:
            self.hold.closed = False
            self.hold.close()

    def _end(self) -> None:
        if self.over:
            raise RuntimeError("a reservation ends once")
        self.over = True
        self.hold.open_nano_usd -= self.amount_nano_usd
