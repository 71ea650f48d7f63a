"""What a vendor's batch API is to the engine: rows go in under keys, and come back under them, in any order.

A row is one call's body. Its key is the call's cache key, so that a reply that comes days later is known again.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, BinaryIO, Protocol

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Mapping, Sequence

    from unsaf_async.calls.backends.http import HttpBackend
    from unsaf_async.calls.backends.transport import Answer
    from unsaf_async.records import Request

LISTED = 100
"""Batches on a page of the list in which one is looked for whose creation was not heard of."""


@dataclass(frozen=True, slots=True)
class State:
    """How far a batch is.

    ended: whether nothing more will come. done: rows that are answered, as far as the vendor counts them before the end.
    problem: why the batch as a whole was not worked off; "" if it was. full: whether the account's queue was full, so that the
    same batch may go in later. unsure: whether rows without a result may have been answered, and billed, all the same.
    answered: rows that are billed, as far as the vendor counts them. whole: whether every row has a result.
    """

    ended: bool
    done: int = 0
    problem: str = ""
    full: bool = False
    unsure: bool = False
    answered: int = 0
    whole: bool = False

    def lacks(self, rows: int, missing: int) -> bool:
        """Whether results that were read are fewer than there must be.

        Args:
            rows: The batch's.
            missing: Those of them without a result.

        Returns:
            True where a row that has none may have been answered.
        """
        return missing > 0 and (self.whole or self.answered > rows - missing)


@dataclass(frozen=True, slots=True)
class Result:
    """What became of a row. answer: as if it had been called alone; None: it was not worked off, and costs nothing.

    reason: why there is no answer.
    """

    key: str
    answer: Answer | None
    reason: str = ""


ID = re.compile(r"(?:batches/)?[A-Za-z0-9_-][A-Za-z0-9_.-]{0,199}")
"""What vendors' ids look like. No other one is put into an address, or written down."""


def id_in(table: Mapping[str, Any], name: str = "id") -> str:
    """An id that a vendor, or a file, gives.

    Args:
        table: Where it stands.
        name: Under which name.

    Returns:
        The id; "" if there is none, or none that looks like one.
    """
    value = table.get(name)
    return value if isinstance(value, str) and ID.fullmatch(value) else ""


class BatchApi(Protocol):
    """One vendor's batches."""

    most_rows: int
    """Of one batch."""
    most_bytes: int
    """Of one batch's body."""
    cancels: bool
    """Whether what is answered is kept when a batch is cancelled."""
    between: bytes
    """What stands between two rows of a body."""

    def head(self, model: str, name: str) -> bytes:
        """How a body begins.

        Args:
            model: The model's id, without the vendor in front.
            name: What the batch is called.

        Returns:
            The bytes before the first row.
        """
        ...

    def row(self, key: str, request: Request) -> bytes:
        """A call as a row of a body.

        Args:
            key: What it is known by, 64 hex digits.
            request: The call.

        Returns:
            The bytes.
        """
        ...

    def tail(self) -> bytes:
        """How a body ends.

        Returns:
            The bytes after the last row.
        """
        ...

    async def create(self, model: str, name: str, body: BinaryIO) -> str:
        """Hand a batch in.

        Args:
            model: As for `head`.
            name: As for `head`.
            body: The whole body, at its beginning.

        Returns:
            The vendor's id of the batch.

        Raises:
            CallError: It was not taken, or that is not known (`fate_unknown`).
        """
        ...

    async def find(self, name: str, keys: Sequence[str], since_s: float) -> str | None:
        """A batch whose creation was not heard of.

        Args:
            name: What it was to be called.
            keys: Its rows'.
            since_s: When it was handed in, in seconds since the epoch.

        Returns:
            The vendor's id; None if there is no such batch.

        Raises:
            CallError: The vendor does not say.
        """
        ...

    async def state(self, batch: str) -> State:
        """How far a batch is.

        Args:
            batch: The vendor's id.

        Returns:
            The state.

        Raises:
            CallError: The vendor does not say.
        """
        ...

    def results(self, batch: str, keys: Sequence[str]) -> AsyncIterator[Result]:
        """What became of the rows of a batch that has ended, in any order. A row may be missing.

        Args:
            batch: The vendor's id.
            keys: Its rows', in their order.

        Yields:
            One result a row.

        Raises:
            CallError: They cannot be had, or not all of them.
        """
        ...

    async def cancel(self, batch: str) -> None:
        """Have the vendor end a batch; what is answered is kept.

        Args:
            batch: The vendor's id.

        Raises:
            CallError: The vendor does not.
        """
        ...

    async def clear(self, batch: str) -> None:
        """Take away what was handed in with a batch that is over, pictures above all.

        Args:
            batch: The vendor's id.

        Raises:
            CallError: The vendor does not.
        """
        ...


MOST_PAGES = 50
"""Of a vendor's list of batches that are looked through."""


async def pages(
    backend: HttpBackend, path: str, following: Callable[[Mapping[str, Any]], str]
) -> AsyncIterator[dict[str, Any]]:
    """The pages of a vendor's list of batches, the newest first.

    Args:
        backend: The connections.
        path: Of the first page, with a query.
        following: What to add to the query for the page after one; "" for none.

    Yields:
        Each page, `MOST_PAGES` at most.

    Raises:
        CallError: The vendor does not say.
    """
    more = ""
    for _ in range(MOST_PAGES):
        page = await backend.json("GET", path + more)
        yield page
        if not (more := following(page)):
            return


VENDORS = {"openai": "OpenAI", "anthropic": "Anthropic", "gemini": "Gemini"}
"""Whose batches are spoken, by the backend."""
