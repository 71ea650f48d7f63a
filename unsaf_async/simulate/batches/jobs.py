"""Batches from their acceptance to their end, whatever format they came in.

    validating ─► in_progress ─► finalizing ─► completed
        │              │  └─ window over ─► finalizing ─► expired
        └─► failed     └─ cancelled ─► cancelling ─► cancelled

The states are OpenAI's; the other vendors' formats show them in their own words.
"""

from __future__ import annotations

import asyncio
import time
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

import orjson

from unsaf_async.simulate import faults
from unsaf_async.simulate.ledger import BatchEntry, BatchRowEntry
from unsaf_async.simulate.wire import Answer, Body, Call, Trouble, Wire

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from unsaf_async.simulate.ledger import RequestEntry, ServerLedger
    from unsaf_async.simulate.settings import BatchRules
    from unsaf_async.simulate.wire import Vendor

Status = Literal["validating", "failed", "in_progress", "finalizing", "completed", "expired", "cancelling", "cancelled"]
RowState = Literal["open", "succeeded", "errored", "canceled", "expired"]

OPEN: frozenset[Status] = frozenset({"validating", "in_progress", "finalizing", "cancelling"})
"""The states that a batch leaves again."""

STEPS = 20
"""At most so many times a batch's rows are worked off."""

TEMPORARY = 2
"""How many requests for the results the faults "results_404" and "results_500" spoil."""

WINDOW_S: Mapping[Vendor, float] = {"openai": 86_400.0, "anthropic": 86_400.0, "gemini": 172_800.0}
"""Seconds from a batch's creation to its expiry, by vendor."""


@dataclass(slots=True)
class Row:
    """One request of a batch.

    key: the client's id for it. asks: the call that it makes, or what is wrong with it. seen: how often the request has
    come, this time included. answer: once it is done, unless it was canceled or expired. stamp: hexadecimal digits for its ids.
    entry: its place in the account, with what it was billed. request: that of its request, while the row is open.
    """

    key: str
    asks: Call | Trouble
    state: RowState = "open"
    seen: int = 0
    answer: Answer | None = None
    stamp: str = ""
    entry: BatchRowEntry = field(default_factory=lambda: BatchRowEntry(""))
    request: RequestEntry | None = None


@dataclass(slots=True)
class Batch:
    """A batch that was accepted. Times are Unix times in seconds.

    number: of the batches of the account, from 1 on; faults are drawn by it. at: when each state was entered. about: what
    the format keeps of the creation. errors: why it failed, or will fail when it has been looked through, in the format's
    own form. order: the rows as they are worked off. fetches: how often its results were asked for.
    """

    id: str
    wire: Wire
    number: int
    model: str
    rows: list[Row]
    created_at: float
    expires_at: float
    about: Body = field(default_factory=dict)
    errors: list[Body] = field(default_factory=list)
    status: Status = "validating"
    at: dict[Status, float] = field(default_factory=dict)
    order: list[Row] = field(default_factory=list)
    stopped: asyncio.Event = field(default_factory=asyncio.Event)
    fetches: int = 0

    @property
    def vendor(self) -> Vendor:
        """Whose format it came in."""
        return self.wire.vendor

    @property
    def open(self) -> bool:
        """Whether it has not ended."""
        return self.status in OPEN

    def count(self, *states: RowState) -> int:
        """How many of its rows are in one of some states.

        Args:
            states: The states.

        Returns:
            The number.
        """
        return sum(row.state in states for row in self.rows)


class Batches:
    """The batches of an account.

    Args:
        rules: How batches are worked off.
        fault_seed: Of the draws.
        ledger: The account, in which each batch and row is written down.
        process: Answers a row's call: fills in the row's answer, tokens and state.
    """

    def __init__(
        self, rules: BatchRules, fault_seed: int, ledger: ServerLedger, process: Callable[[Wire, Row], None]
    ) -> None:
        self.rules = rules
        self._seed = fault_seed
        self._ledger = ledger
        self._process = process
        self._all: dict[str, Batch] = {}
        self._entries: dict[str, BatchEntry] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._made = self._draws = 0

    def struck(self, fault: str, *about: object) -> bool:
        """Whether a fault is given.

        Args:
            fault: Its name, one of `faults.BATCH_FAULTS`.
            about: What it would hit; the same is always hit or always spared. Nothing: drawn anew each time.

        Returns:
            Whether it is.
        """
        probability = self.rules.faults.get(fault, 0.0)
        if not probability:
            return False
        if not about:
            self._draws += 1
            about = (self._draws,)
        return faults.uniform(fault, self._seed, *about) < probability

    def spoilt(self, batch: Batch) -> str | None:
        """The fault that a request for the results gets, which is counted.

        Args:
            batch: Whose results are asked for.

        Returns:
            The fault's name; None for no fault.
        """
        batch.fetches += 1
        if batch.fetches > TEMPORARY:
            return None
        return next((name for name in ("results_404", "results_500") if self.struck(name, batch.number)), None)

    def find(self, vendor: Vendor, id_: str) -> Batch | None:
        """The batch of an id.

        Args:
            vendor: Whose it is.
            id_: Its id.

        Returns:
            The batch; None if there is none.
        """
        batch = self._all.get(id_)
        return batch if batch is not None and batch.vendor == vendor else None

    def listed(self, vendor: Vendor) -> list[Batch]:
        """A vendor's batches, the newest first.

        Args:
            vendor: Whose they are.

        Returns:
            The batches, without the deleted ones.
        """
        return [batch for batch in reversed(self._all.values()) if batch.vendor == vendor]

    def forget(self, batch: Batch) -> None:
        """Delete a batch. The account keeps it.

        Args:
            batch: One that has ended.
        """
        self._all.pop(batch.id, None)

    def enqueued_tokens(self, vendor: Vendor, model: str) -> int:
        """Input tokens of one model in open batches.

        Args:
            vendor: Whose batches.
            model: The model's name.

        Returns:
            The number, >= 0.
        """
        return sum(
            row.asks.input_tokens
            for batch in self.listed(vendor)
            if batch.open and not batch.errors and batch.model == model
            for row in batch.rows
            if isinstance(row.asks, Call)
        )

    def crowded(self, vendor: Vendor) -> bool:
        """Whether there are as many open batches as there may be.

        Args:
            vendor: Whose batches.

        Returns:
            Whether one more would be too many.
        """
        limit = self.rules.open_batches
        return limit is not None and sum(batch.open for batch in self.listed(vendor)) >= limit

    def accept(self, wire: Wire, id_: str, rows: Sequence[Row], about: Body, errors: Iterable[Body] = ()) -> Batch:
        """Take a batch and begin to work it off.

        Args:
            wire: The format that it came in.
            id_: For the batch.
            rows: Its requests.
            about: What the format keeps of the creation; "model" is the model's name.
            errors: What it will fail with. Its rows are not begun, then, and not counted as sent.

        Returns:
            The batch.
        """
        now = time.time()
        window_s = self.rules.window_s or WINDOW_S[wire.vendor]
        self._made += 1
        batch = Batch(id_, wire, self._made, about.get("model", ""), list(rows), now, now + window_s, about, [*errors])
        batch.at["validating"] = now
        entry = self._ledger.batches[id_] = BatchEntry(wire.vendor, batch.model)
        self._entries[id_] = entry
        self._all[id_] = batch
        for place, row in enumerate(batch.rows):
            row.stamp = f"{int(2**128 * faults.uniform('row', self._seed, batch.number, place)):032x}"
            row.entry = BatchRowEntry(row.asks.digest if isinstance(row.asks, Call) else "")
            entry.rows[row.key if row.key and row.key not in entry.rows else f"{row.key}#{place}"] = row.entry
            if isinstance(row.asks, Call) and not batch.errors:
                self._ledger.requests += 1
                row.request = self._ledger.see(row.asks.digest)
                row.request.open_rows += 1
                row.seen = row.request.seen
                self._ledger.images.update(picture.id for picture in row.asks.pictures)
        batch.order = sorted(batch.rows, key=lambda row: row.stamp)
        task = asyncio.get_running_loop().create_task(self._work(batch))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return batch

    def cancel(self, batch: Batch) -> None:
        """Stop a batch: rows that are not done are canceled. Nothing happens to one that has ended.

        Args:
            batch: The batch.
        """
        if batch.open and batch.status != "cancelling":
            self._enter(batch, "cancelling")
            batch.stopped.set()

    async def close(self) -> None:
        """Stop working; batches stay as they are."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _work(self, batch: Batch) -> None:
        rules = self.rules
        await self._pause(batch, rules.validate_s)
        if batch.status == "validating" and (batch.errors or self.struck("failed", batch.number)):
            self._end(batch, "failed")
            return
        if batch.status == "validating":
            self._enter(batch, "in_progress")
        pending = [row for row in batch.order if not self.struck("row_expired", row.stamp)]
        size = max(1, -(-len(pending) // STEPS))
        for start in range(0, len(pending), size):
            await self._pause(batch, rules.work_s * size / len(pending))
            if batch.status != "in_progress" or time.time() >= batch.expires_at:
                break
            for row in pending[start : start + size]:
                self._do(batch, row)
        if batch.status == "in_progress" and batch.count("open"):
            await self._pause(batch, batch.expires_at - time.time())
        late = batch.status == "in_progress" and bool(batch.count("open"))
        if batch.status == "in_progress":
            self._enter(batch, "finalizing")
        await asyncio.sleep(rules.finalize_s)
        cancelled = batch.status == "cancelling"
        self._end(batch, "cancelled" if cancelled else "expired" if late else "completed")

    async def _pause(self, batch: Batch, seconds: float) -> None:
        """Until the seconds are over, the batch is cancelled, or its window ends."""
        until_end_s = batch.expires_at - time.time()
        with suppress(TimeoutError):
            await asyncio.wait_for(batch.stopped.wait(), max(0.0, min(seconds, until_end_s)))

    def _do(self, batch: Batch, row: Row) -> None:
        if isinstance(row.asks, Call):
            self._process(batch.wire, row)
        else:
            row.state = "errored"
        self._close_row(row, row.state)

    def _close_row(self, row: Row, state: RowState) -> None:
        row.state = row.entry.state = state
        if row.request is not None and state != "open":
            row.request.open_rows -= 1
            row.request = None

    def _enter(self, batch: Batch, status: Status) -> None:
        batch.status = self._entries[batch.id].status = status
        batch.at[status] = time.time()

    def _end(self, batch: Batch, status: Status) -> None:
        left: RowState = "errored" if status == "failed" else "expired" if status == "expired" else "canceled"
        for row in batch.rows:
            if row.state == "open":
                self._close_row(row, left)
        self._enter(batch, status)


def lines(rows: Iterable[Mapping[str, Any]]) -> bytes:
    """Objects as lines of JSON.

    Args:
        rows: The objects.

    Returns:
        One line each, in UTF-8.
    """
    return b"".join(orjson.dumps(row) + b"\n" for row in rows)
