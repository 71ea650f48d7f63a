"""Money: no call leaves unless its worst case is reserved, and images are whole or not begun.

Amounts are whole nano-dollars, so that sums are exact. The budget knows nothing of prices, tokens or providers.

`Budget` decides and keeps all figures. `ImageBudget` and `Reservation` are what its users hold: the record of one image's
money and of one attempt's, each with the methods that its holder may call.
"""

from __future__ import annotations

import asyncio
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from unsaf_async.errors import BudgetExhausted, Unfunded, setting

if TYPE_CHECKING:
    from collections.abc import Iterator
    from contextlib import AbstractContextManager
    from typing import Self

NANO = 1_000_000_000
"""Nano-dollars in a dollar."""


@dataclass(eq=False)
class _Waiter:
    """An attempt that waits for money."""

    image: ImageBudget
    amount: int
    future: asyncio.Future[Reservation]

    @property
    def shortfall(self) -> int:
        """What the budget would have to add, in nano-dollars, for the attempt to leave now."""
        return self.image.shortfall(self.amount)


class Budget:
    """What may still be spent: the cap less what is spent less what is reserved.

    reserved_nano_usd: the unspent part of all begun images' worst cases.
    """

    def __init__(self, cap_nano_usd: int | None = None, spent_nano_usd: int = 0) -> None:
        """A budget with nothing reserved.

        Args:
            cap_nano_usd: The most that may be spent, in nano-dollars; None for no cap (everything is still counted).
            spent_nano_usd: What earlier sessions of the run spent, in nano-dollars.
        """
        self.cap_nano_usd = cap_nano_usd
        self.spent_nano_usd = spent_nano_usd
        self.reserved_nano_usd = 0
        self._waiters: list[_Waiter] = []
        self._begun: set[ImageBudget] = set()

    @property
    def waiting(self) -> int:
        """How many attempts wait for money."""
        return len(self._waiters)

    def for_image(self, worst_nano_usd: int) -> ImageBudget:
        """The money of one image. Nothing is reserved before its first attempt.

        Args:
            worst_nano_usd: What all calls of the image cost at most, in nano-dollars.

        Returns:
            A record to close when the image is finished; use it as a context manager.
        """
        return ImageBudget(self, worst_nano_usd)

    async def reserve(self, image: ImageBudget, amount_nano_usd: int) -> Reservation:
        """See `ImageBudget.reserve`.

        Args:
            image: The image that the attempt is for.
            amount_nano_usd: What the attempt costs at worst.

        Returns:
            The money, at once or when some comes back.
        """
        shortfall = image.shortfall(amount_nano_usd)
        # Those already waiting go first, or a stream of small images would starve a large one.
        if shortfall <= 0 or (not self._waiters and self._fits(shortfall)):
            return self._grant(image, amount_nano_usd)
        waiter = _Waiter(image, amount_nano_usd, asyncio.get_running_loop().create_future())
        self._waiters.append(waiter)
        image.waiting += 1
        self._serve()
        try:
            return await waiter.future
        except asyncio.CancelledError:
            if waiter.future.cancelled():
                self._serve()  # which dismisses it
            elif waiter.future.exception() is None:
                waiter.future.result().refund()  # granted and cancelled at once
            raise

    def settle(self, reservation: Reservation, actual_nano_usd: int) -> None:
        """See `Reservation.settle`.

        Args:
            reservation: What was reserved for the attempt.
            actual_nano_usd: What the attempt cost.
        """
        self._end(reservation)
        self.reserved_nano_usd -= reservation.amount_nano_usd
        self.spent_nano_usd += actual_nano_usd
        self._serve()

    def refund(self, reservation: Reservation) -> None:
        """See `Reservation.refund`.

        Args:
            reservation: What was reserved for the attempt.
        """
        self._end(reservation)
        if reservation.image.closed:
            self.reserved_nano_usd -= reservation.amount_nano_usd
        else:
            reservation.image.available_nano_usd += reservation.amount_nano_usd
        self._serve()  # a call of this image may be waiting for just this

    def found(self, booked_nano_usd: int, actual_nano_usd: int) -> None:
        """What was booked at its worst in an earlier session cost less.

        Args:
            booked_nano_usd: What counted as spent for it.
            actual_nano_usd: What it cost.
        """
        self.spent_nano_usd += actual_nano_usd - booked_nano_usd
        self._serve()

    @contextmanager
    def waiting_elsewhere(self, image: ImageBudget) -> Iterator[None]:
        """See `ImageBudget.waiting_elsewhere`.

        Args:
            image: The image that the waiting call is for.

        Yields:
            Nothing.
        """
        image.waiting += 1
        self._serve()
        try:
            yield
        finally:
            image.waiting -= 1

    def close(self, image: ImageBudget) -> None:
        """See `ImageBudget.close`.

        Args:
            image: Which is finished.
        """
        if not image.closed:
            image.closed = True
            self._begun.discard(image)
            unused, image.available_nano_usd = image.available_nano_usd, 0
            self.reserved_nano_usd -= unused
            self._serve()

    def _fits(self, amount: int) -> bool:
        free = self.cap_nano_usd is None or self.spent_nano_usd + self.reserved_nano_usd + amount <= self.cap_nano_usd
        return amount <= 0 or free  # what is reserved may be used, even if a broken bound has passed the cap

    def _grant(self, image: ImageBudget, amount: int) -> Reservation:
        """`amount` moves from the image's money, which is filled up before, into an attempt."""
        shortfall = image.shortfall(amount)
        self.reserved_nano_usd += shortfall
        image.available_nano_usd += shortfall - amount
        image.in_use_nano_usd += amount
        image.begun = True
        self._begun.add(image)
        return Reservation(image, amount)

    @staticmethod
    def _end(reservation: Reservation) -> None:
        if reservation.over:
            raise RuntimeError("a reservation ends once")
        reservation.over = True
        reservation.image.in_use_nano_usd -= reservation.amount_nano_usd

    def _dismiss(self, waiter: _Waiter) -> None:
        self._waiters.remove(waiter)
        waiter.image.waiting -= 1

    def _serve(self) -> None:
        """Grant what fits, calls of begun images before new images; refuse what can never fit."""
        for waiter in [waiter for waiter in self._waiters if waiter.future.done()]:  # cancelled
            self._dismiss(waiter)
        while self._waiters:
            self._waiters.sort(key=lambda waiter: not waiter.image.begun)  # stable: else in order of arrival
            # Refunded money stays with its image, where only the image's own calls can have it.
            funded = (waiter for waiter in self._waiters if waiter.shortfall <= 0)
            waiter = next(funded, self._waiters[0])
            if self._fits(waiter.shortfall):
                self._dismiss(waiter)
                waiter.future.set_result(self._grant(waiter.image, waiter.amount))
                continue
            if any(image.may_give_back for image in self._begun):
                return
            # All who have money wait for more. Of the begun images' calls the last to come yields: what its image
            # gives back lets the others finish. Where no image is begun, the first is larger than what is free for ever.
            begun = [waiter for waiter in self._waiters if waiter.image.begun]
            waiter = begun[-1] if begun else self._waiters[0]
            self._dismiss(waiter)
            waiter.future.set_exception(self._refusal(waiter))

    def _refusal(self, waiter: _Waiter) -> BudgetExhausted | Unfunded:
        cap = (self.cap_nano_usd or 0) / NANO
        free = max(0.0, cap - (self.spent_nano_usd + self.reserved_nano_usd) / NANO)
        begun = waiter.image.begun
        what = "another attempt at a call of a begun image" if begun else "the next image"
        text = (
            f"{setting('max_cost')} {cap:g}: ${self.spent_nano_usd / NANO:.4f} is spent and ${free:.4f} is free, less than the "
            f"${waiter.shortfall / NANO:.4f} that {what} can cost at worst; raise {setting('max_cost')} to go on"
        )
        return Unfunded(text) if begun else BudgetExhausted(text)


@dataclass(eq=False)
class ImageBudget:
    """The money of one image. Its first reservation begins the image: the whole worst case is reserved, or none of it."""

    budget: Budget
    worst_nano_usd: int
    begun: bool = False
    available_nano_usd: int = 0
    """Reserved for the image, and in use by none of its calls."""
    in_use_nano_usd: int = 0
    """Reserved for the image's attempts under way."""
    waiting: int = 0
    """Calls of this image that wait for money, or for another image's call."""
    closed: bool = False

    @property
    def may_give_back(self) -> bool:
        """False if every call of this image that could free money is itself waiting for some."""
        return not self.closed and (not self.waiting or self.in_use_nano_usd > 0)

    def shortfall(self, amount_nano_usd: int) -> int:
        """What must be reserved beyond what is available, for one more attempt.

        Args:
            amount_nano_usd: What the attempt costs at worst, in nano-dollars.

        Returns:
            Nano-dollars, >= 0.
        """
        if not self.begun:
            return max(self.worst_nano_usd, amount_nano_usd)
        # Only an attempt of unknown fate, which stays spent, leaves less here than the image's remaining calls need.
        return max(0, amount_nano_usd - self.available_nano_usd)

    async def reserve(self, amount_nano_usd: int) -> Reservation:
        """Money for one attempt. Waits for it if need be.

        Args:
            amount_nano_usd: What the attempt costs at worst, in nano-dollars.

        Returns:
            The money; end it with `settle` or `refund`.

        Raises:
            BudgetExhausted: None can come back, and the image is not begun.
            Unfunded: None can come back, and the image is begun.
        """
        return await self.budget.reserve(self, amount_nano_usd)

    def waiting_elsewhere(self) -> AbstractContextManager[None]:
        """While a call of this image waits for an equal one of another image, which may itself be waiting for money."""
        return self.budget.waiting_elsewhere(self)

    def close(self) -> None:
        """Give back what was not used. Calls that still wait or are under way must have ended before."""
        self.budget.close(self)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


@dataclass(eq=False)
class Reservation:
    """Money for one attempt; ends in exactly one of `settle` and `refund`."""

    image: ImageBudget
    amount_nano_usd: int
    over: bool = False

    def settle(self, actual_nano_usd: int) -> None:
        """The attempt cost something; the rest is free again, for any image.

        Args:
            actual_nano_usd: What it cost, in nano-dollars.

        Raises:
            RuntimeError: It has ended already.
        """
        self.image.budget.settle(self, actual_nano_usd)

    def refund(self) -> None:
        """The attempt cost nothing; its money stays with the image, for the attempt that follows.

        Raises:
            RuntimeError: It has ended already.
        """
        self.image.budget.refund(self)
