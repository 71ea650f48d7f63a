"""What a session keeps accounts with: stored replies, a ledger of attempts, and money.

A session opens its own, on files. Where several processes work at one run, each has books that stand for those of one of them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple, Protocol

if TYPE_CHECKING:
    from pathlib import Path

    from unsaf_async.calls.budget import Budget, ImageBudget, Reservation
    from unsaf_async.calls.ledger import Account
    from unsaf_async.records import Role, Usage


class Coming(NamedTuple):
    """The call that is made where nothing is stored, for a store that shares a trip with the ledger.

    Attributes:
        role: What it is for.
        worst_nano_usd: What its first attempt costs at worst.
        image_budget: What it is paid from.
        free_slots: So many calls could leave at once.
    """

    role: Role
    worst_nano_usd: int
    image_budget: ImageBudget
    free_slots: int


class Replies(Protocol):
    """Stored replies, as `store.ReplyStore` has them."""

    folder: Path
    told_unusable: bool

    async def look(self, key: str, own: str, coming: Coming | None = None) -> tuple[bool, bytes | None]:
        """See `ReplyStore.look`.

        Args:
            key: As there.
            own: As there.
            coming: As there.

        Returns:
            As there.
        """
        ...

    def release(self, key: str) -> None:
        """See `ReplyStore.release`.

        Args:
            key: As there.
        """
        ...

    async def first(self, *keys: str) -> bytes | None:
        """See `ReplyStore.first`.

        Args:
            keys: As there.

        Returns:
            As there.
        """
        ...

    async def put(self, key: str, value: bytes) -> None:
        """See `ReplyStore.put`.

        Args:
            key: As there.
            value: As there.
        """
        ...


class Attempts(Protocol):
    """A ledger of attempts, as `ledger.Ledger` is one."""

    account: Account

    async def enter(self, role: Role, reservation: Reservation, *, again: bool) -> int:
        """See `Ledger.enter`.

        Args:
            role: As there.
            reservation: As there.
            again: As there.

        Returns:
            As there.
        """
        ...

    def settled(self, number: int, cost_nano_usd: int, usage: Usage, saved_nano_usd: int = 0) -> None:
        """See `Ledger.settled`.

        Args:
            number: As there.
            cost_nano_usd: As there.
            usage: As there.
            saved_nano_usd: As there.
        """
        ...

    def refunded(self, number: int, *, unsent: bool = False) -> None:
        """See `Ledger.refunded`.

        Args:
            number: As there.
            unsent: As there.
        """
        ...

    def unknown(self, number: int) -> None:
        """See `Ledger.unknown`.

        Args:
            number: As there.
        """
        ...


@dataclass(frozen=True)
class Books:
    """Where a session's replies, attempts and money are kept. Whoever opened them closes them."""

    store: Replies
    ledger: Attempts
    budget: Budget
