"""A worker's books: they stand for the driver's, which it reaches by a link.

Money is leased by the image: the driver reserves an image's whole worst case at its first attempt, and the image's calls are paid
from that without asking again. The driver hears of every attempt before it leaves, and of its end; a reply is stored there before
it is used.
"""

from __future__ import annotations

from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from unsaf_async.calls.books import Books
from unsaf_async.calls.budget import Budget, ImageBudget, Reservation
from unsaf_async.calls.ledger import Account

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator

    from unsaf_async.cluster.link import Link
    from unsaf_async.records import Role, Usage


def leased_books(link: Link, served: Collection[Role]) -> Books:
    """The books of one worker.

    Args:
        link: To the driver.
        served: Roles in which the run had replies before.

    Returns:
        Books whose every entry is the driver's.
    """
    return Books(LeasedStore(link), LeasedLedger(link, served), LeasedBudget(link))


class LeasedBudget(Budget):
    """The driver's money. What is known here of an image's is never more than the driver knows."""

    def __init__(self, link: Link) -> None:
        """Nothing is leased.

        Args:
            link: To the driver.
        """
        super().__init__()
        self._link = link
        self._images: dict[ImageBudget, int] = {}
        """Those that have asked for money, with their numbers."""
        self._reservations: dict[Reservation, int] = {}
        self._last = 0

    async def reserve(self, image: ImageBudget, amount_nano_usd: int) -> Reservation:
        """The money for one attempt: from what the image has, or else the driver's word is waited for.

        Args:
            image: The image that the attempt is for.
            amount_nano_usd: What the attempt costs at worst.

        Returns:
            The money.
        """
        known = self._known(image)
        number = self._number()
        # While the driver decides on another call of the image, what it has left is not known here.
        if image.waiting or image.shortfall(amount_nano_usd) > 0:
            image.waiting += 1
            try:
                await self._link.ask("reserve", number, known, amount_nano_usd)
            except BaseException:
                self._link.tell("forget", number)  # it may have been granted meanwhile
                raise
            finally:
                image.waiting -= 1
        else:
            self._link.tell("reserve", number, known, amount_nano_usd)
        reservation = self._grant(image, amount_nano_usd)
        self._reservations[reservation] = number
        return reservation

    def settle(self, reservation: Reservation, actual_nano_usd: int) -> None:
        """See `Budget.settle`.

        Args:
            reservation: As there.
            actual_nano_usd: As there.
        """
        super().settle(reservation, actual_nano_usd)
        self._link.tell("settle", self._reservations.pop(reservation), actual_nano_usd)

    def refund(self, reservation: Reservation) -> None:
        """See `Budget.refund`.

        Args:
            reservation: As there.
        """
        super().refund(reservation)
        self._link.tell("refund", self._reservations.pop(reservation))

    def close(self, image: ImageBudget) -> None:
        """See `Budget.close`.

        Args:
            image: As there.
        """
        super().close(image)
        if (number := self._images.pop(image, None)) is not None:
            self._link.tell("end_image", number)

    @contextmanager
    def waiting_elsewhere(self, image: ImageBudget) -> Iterator[None]:
        """See `Budget.waiting_elsewhere`.

        Args:
            image: As there.

        Yields:
            Nothing.
        """
        known = self._known(image)
        image.waiting += 1
        self._link.tell("wait_elsewhere", known)
        try:
            yield
        finally:
            image.waiting -= 1
            self._link.tell("wait_no_longer", known)

    def _known(self, image: ImageBudget) -> int:
        """The number under which the driver knows an image; it is told of it if need be."""
        if image not in self._images:
            self._images[image] = self._number()
            self._link.tell("begin_image", self._images[image], image.worst_nano_usd)
        return self._images[image]

    def _number(self) -> int:
        self._last += 1
        return self._last


class LeasedLedger:
    """The driver's ledger. account: of it a worker knows nothing but the roles that were served."""

    def __init__(self, link: Link, served: Collection[Role]) -> None:
        """A ledger of which nothing is known here.

        Args:
            link: To the driver.
            served: Roles in which the run had replies before.
        """
        self.account = Account(served=set(served))
        self._link = link
        self._last = 0

    async def enter(self, role: Role, worst_nano_usd: int, *, again: bool) -> int:
        """See `Ledger.enter`: the line is on the driver's disk when this returns.

        Args:
            role: As there.
            worst_nano_usd: As there.
            again: As there.

        Returns:
            The attempt's number.
        """
        self._last += 1
        mark = self._last
        try:
            number: int = await self._link.ask("sent", mark, role, worst_nano_usd, again)
        except BaseException:
            self._link.tell("not_sent", mark)  # it may have been entered meanwhile
            raise
        return number

    def settled(self, number: int, cost_nano_usd: int, usage: Usage) -> None:
        """See `Ledger.settled`.

        Args:
            number: As there.
            cost_nano_usd: As there.
            usage: As there.
        """
        self._link.tell("settled", number, cost_nano_usd, usage)

    def refunded(self, number: int, *, unsent: bool = False) -> None:
        """See `Ledger.refunded`.

        Args:
            number: As there.
            unsent: As there.
        """
        self._link.tell("refunded", number, unsent)

    def unknown(self, number: int) -> None:
        """See `Ledger.unknown`.

        Args:
            number: As there.
        """
        self._link.tell("unknown", number)


class LeasedStore:
    """The driver's store of replies, its claims included."""

    folder = Path("the driver's cache")

    def __init__(self, link: Link) -> None:
        """A store of which nothing is known here.

        Args:
            link: To the driver.
        """
        self.told_unusable = False
        self._link = link

    async def look(self, key: str, own: str) -> tuple[bool, bytes | None]:
        """See `ReplyStore.look`.

        Args:
            key: As there.
            own: As there.

        Returns:
            As there.
        """
        try:
            found: tuple[bool, bytes | None] = await self._link.ask("look", key, own)
        except BaseException:
            self.release(key)
            raise
        return found

    def release(self, key: str) -> None:
        """See `ReplyStore.release`.

        Args:
            key: As there.
        """
        self._link.tell("release", key)

    async def first(self, *keys: str) -> bytes | None:
        """See `ReplyStore.first`.

        Args:
            keys: As there.

        Returns:
            As there.
        """
        data: bytes | None = await self._link.ask("first", *keys)
        return data

    async def put(self, key: str, value: bytes) -> None:
        """See `ReplyStore.put`: the reply is on the driver's disk when this returns.

        Args:
            key: As there.
            value: As there.
        """
        await self._link.ask("put", key, value)
