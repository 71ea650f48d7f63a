"""A worker's books: they stand for the driver's, which it reaches by a link.

Money is leased by the image: the driver reserves an image's whole worst case at its first attempt, and the image's calls are paid
from that without asking again. The driver hears of every attempt before it leaves, and of its end. A call that has the money and
would leave at once is entered in the driver's ledger on the same trip on which its reply is looked for.
"""

from __future__ import annotations

from collections import Counter
from contextlib import contextmanager
from dataclasses import dataclass, fields
from operator import attrgetter
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from unsaf_async.calls.books import Books
from unsaf_async.calls.budget import Budget, ImageBudget, Reservation
from unsaf_async.calls.ledger import Account
from unsaf_async.records import Usage

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator

    from unsaf_async.calls.books import Coming
    from unsaf_async.cluster.link import Link
    from unsaf_async.records import Role

counts_of = attrgetter(*(each.name for each in fields(Usage)))
"""The counts of a `Usage`, in its order: they travel as plain numbers."""


def leased_books(link: Link, served: Collection[Role]) -> Books:
    """The books of one worker.

    Args:
        link: To the driver.
        served: Roles in which the run had replies before.

    Returns:
        Books whose every entry is the driver's.
    """
    early = _Early()
    budget = LeasedBudget(link, early)
    ledger = LeasedLedger(link, served, budget, early)
    return Books(LeasedStore(link, budget, ledger, early), ledger, budget)


class _Entered(NamedTuple):
    """An attempt that is in the driver's ledger and has not left. number: the ledger's; mark: this worker's."""

    reservation: Reservation
    role: Role
    number: int
    mark: int


_Kind = tuple[ImageBudget, int]
"""Attempts of one image with one worst case: each may have what was entered for another."""


class _Early:
    """Attempts that were entered before they were about to leave."""

    def __init__(self) -> None:
        self.entered: dict[_Kind, list[_Entered]] = {}
        self.calls: Counter[_Kind] = Counter()
        """The calls under way for which one was asked."""
        self.taken: dict[Reservation, _Entered] = {}
        """Those whose call has its money."""
        self.kinds: dict[str, _Kind] = {}
        """Of these calls, by their keys."""
        self.asking = 0
        """So many are asked for just now."""

    @property
    def not_left(self) -> int:
        """How many have not left, or are asked for."""
        return self.asking + len(self.taken) + sum(map(len, self.entered.values()))


@dataclass(frozen=True)
class _Asked:
    """An early entry that is asked for."""

    kind: _Kind
    reservation: Reservation
    role: Role
    mark: int


class LeasedBudget(Budget):
    """The driver's money. What is known here of an image's is never more than the driver knows.

    The driver hears of a reservation with the attempt that it is for; before, where it has to know what may come back.
    """

    def __init__(self, link: Link, early: _Early) -> None:
        """Nothing is leased.

        Args:
            link: To the driver.
            early: Attempts that were entered early.
        """
        super().__init__()
        self._link = link
        self._early = early
        self._images: dict[ImageBudget, int] = {}
        """Those that have asked for money, with their numbers."""
        self._told: dict[Reservation, int] = {}
        """Those that the driver knows, and no attempt has yet, with their numbers."""
        self._untold: dict[Reservation, None] = {}
        self._last = 0

    async def reserve(self, image: ImageBudget, amount_nano_usd: int) -> Reservation:
        """The money for one attempt: from what the image has, or else the driver's word is waited for.

        Args:
            image: The image that the attempt is for.
            amount_nano_usd: What the attempt costs at worst.

        Returns:
            The money.
        """
        if entered := self._early.entered.get((image, amount_nano_usd)):
            one = entered.pop()
            self._early.taken[one.reservation] = one
            return one.reservation
        if self.has(image, amount_nano_usd):
            return self.take(image, amount_nano_usd)
        number = self._number()
        self._tell_all_of(image)
        image.waiting += 1
        try:
            await self._link.ask("reserve", number, self.known(image), amount_nano_usd)
        except BaseException:
            self._link.tell("forget", number)  # it may have been granted meanwhile
            raise
        finally:
            image.waiting -= 1
        reservation = self._grant(image, amount_nano_usd)
        self._told[reservation] = number
        return reservation

    def has(self, image: ImageBudget, amount_nano_usd: int) -> bool:
        """Whether an image has the money for an attempt, as far as is known here.

        Args:
            image: The image.
            amount_nano_usd: What the attempt costs at worst.

        Returns:
            False also while the driver decides on another call of the image: what it has left is not known then.
        """
        return not image.waiting and image.shortfall(amount_nano_usd) <= 0

    def take(self, image: ImageBudget, amount_nano_usd: int, *, told: bool = False) -> Reservation:
        """Money that an image has.

        Args:
            image: The image.
            amount_nano_usd: What the attempt costs at worst.
            told: Whether the driver hears of it at once.

        Returns:
            The money.
        """
        reservation = self._grant(image, amount_nano_usd)
        if not told:
            self._untold[reservation] = None
        return reservation

    def attempted(self, reservation: Reservation) -> int:
        """An attempt has the money now, whose end is the money's, too.

        Args:
            reservation: The money.

        Returns:
            The number under which the driver knows it; 0: it does not.
        """
        self._untold.pop(reservation, None)
        return self._told.pop(reservation, 0)

    def refund(self, reservation: Reservation) -> None:
        """See `Budget.refund`.

        Args:
            reservation: As there.
        """
        super().refund(reservation)
        self._untold.pop(reservation, None)
        if number := self._told.pop(reservation, 0):
            self._link.tell("refund", number)
        if (entered := self._early.taken.pop(reservation, None)) is not None:
            self._link.tell("not_sent", entered.mark)

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
        self._tell_all_of(image)
        known = self.known(image)
        image.waiting += 1
        self._link.tell("wait_elsewhere", known)
        try:
            yield
        finally:
            image.waiting -= 1
            self._link.tell("wait_no_longer", known)

    def known(self, image: ImageBudget) -> int:
        """The number under which the driver knows an image; it is told of it if need be.

        Args:
            image: The image.

        Returns:
            The number.
        """
        if image not in self._images:
            self._images[image] = self._number()
            self._link.tell("begin_image", self._images[image], image.worst_nano_usd)
        return self._images[image]

    def _tell_all_of(self, image: ImageBudget) -> None:
        """The driver is to know what of an image's money may come back: a call of it will wait."""
        for reservation in [each for each in self._untold if each.image is image]:
            del self._untold[reservation]
            number = self._told[reservation] = self._number()
            self._link.tell("reserve", number, self.known(image), reservation.amount_nano_usd)

    def _number(self) -> int:
        self._last += 1
        return self._last


class LeasedLedger:
    """The driver's ledger. account: of it a worker knows nothing but the roles that were served."""

    def __init__(self, link: Link, served: Collection[Role], budget: LeasedBudget, early: _Early) -> None:
        """A ledger of which nothing is known here.

        Args:
            link: To the driver.
            served: Roles in which the run had replies before.
            budget: The driver's money.
            early: Attempts that were entered early.
        """
        self.account = Account(served=set(served))
        self._link = link
        self._budget = budget
        self._early = early
        self._last = 0

    async def enter(self, role: Role, reservation: Reservation, *, again: bool) -> int:
        """See `Ledger.enter`: the line is on the driver's disk when this returns.

        Args:
            role: As there.
            reservation: As there.
            again: As there.

        Returns:
            The attempt's number.
        """
        if (entered := self._early.taken.pop(reservation, None)) is not None:
            if entered.role == role and not again:
                return entered.number
            self._link.tell("not_sent", entered.mark)
        known = self._budget.attempted(reservation)
        mark = self.mark()
        try:
            number: int = await self._link.ask(
                "sent",
                mark,
                self._budget.known(reservation.image),
                known,
                role,
                reservation.amount_nano_usd,
                again,
            )
        except BaseException:
            self._link.tell("not_sent", mark)  # it may have been entered meanwhile
            raise
        return number

    def mark(self) -> int:
        """A number of this worker's own for an attempt whose number in the ledger is not known yet."""
        self._last += 1
        return self._last

    def settled(self, number: int, cost_nano_usd: int, usage: Usage, saved_nano_usd: int = 0) -> None:
        """See `Ledger.settled`.

        Args:
            number: As there.
            cost_nano_usd: As there.
            usage: As there.
            saved_nano_usd: As there.
        """
        self._link.tell("settled", number, cost_nano_usd, counts_of(usage), saved_nano_usd)

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

    def __init__(self, link: Link, budget: LeasedBudget, ledger: LeasedLedger, early: _Early) -> None:
        """A store of which nothing is known here.

        Args:
            link: To the driver.
            budget: The driver's money.
            ledger: The driver's.
            early: Attempts that were entered early.
        """
        self.told_unusable = False
        self._link = link
        self._budget = budget
        self._ledger = ledger
        self._early = early

    async def look(self, key: str, own: str, coming: Coming | None = None) -> tuple[bool, bytes | None]:
        """See `ReplyStore.look`. Where nothing is stored, the coming call's attempt is entered in the ledger if it can leave.

        Args:
            key: As there.
            own: As there.
            coming: The call that is made where nothing is stored.

        Returns:
            As there.
        """
        asked = self._asked(coming)
        early = () if asked is None else (self._budget.known(asked.kind[0]), asked.role, asked.kind[1], asked.mark)
        found: tuple[bool, bytes | None, int]
        self._early.asking += asked is not None
        try:
            found = await self._link.ask("look", key, own, *early)
        except BaseException:
            if asked is not None:
                self._link.tell("not_sent", asked.mark)
                self._withdraw(asked)
            self.release(key)
            raise
        finally:
            self._early.asking -= asked is not None
        taken, data, number = found
        if asked is not None and number:
            one = _Entered(asked.reservation, asked.role, number, asked.mark)
            self._early.entered.setdefault(asked.kind, []).append(one)
            self._early.kinds[key] = asked.kind
        elif asked is not None:
            self._withdraw(asked)
        return taken, data

    def release(self, key: str) -> None:
        """See `ReplyStore.release`. What was entered for calls that are over, and did not leave, is taken back.

        Args:
            key: As there.
        """
        if (kind := self._early.kinds.pop(key, None)) is not None:
            self._count_off(kind)
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
        """See `ReplyStore.put`. It is not waited for: whatever is said after it, the driver does after it.

        Args:
            key: As there.
            value: As there.
        """
        self._link.tell("put", key, value)

    def _asked(self, coming: Coming | None) -> _Asked | None:
        """What is asked of the ledger beside a look into the store; None: nothing."""
        if coming is None or coming.free_slots <= self._early.not_left:
            return None
        kind = coming.image_budget, coming.worst_nano_usd
        if not self._budget.has(*kind):
            return None
        self._early.calls[kind] += 1
        return _Asked(kind, self._budget.take(*kind, told=True), coming.role, self._ledger.mark())

    def _withdraw(self, asked: _Asked) -> None:
        self._budget.refund(asked.reservation)
        self._count_off(asked.kind)

    def _count_off(self, kind: _Kind) -> None:
        """A call is over. What is entered beyond what other calls may need is taken back."""
        calls = self._early.calls
        calls[kind] -= 1
        entered = self._early.entered.get(kind, [])
        while len(entered) > calls[kind]:
            one = entered.pop()
            self._link.tell("not_sent", one.mark)
            self._budget.refund(one.reservation)
        if not calls[kind]:
            del calls[kind]
            self._early.entered.pop(kind, None)
