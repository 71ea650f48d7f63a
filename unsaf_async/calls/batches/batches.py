"""One model's batches: calls are gathered until no more come, handed in together, and answered when the vendor is done.

A batch is written down before it leaves, with its calls' worst case in the ledger, and is over once all its replies are stored.
So a process may end in between: `recover` finds the batches that the last one left. Time passes at the vendor; what is asked of
it now and then is whether it is done.
"""

from __future__ import annotations

import asyncio
import os
import time
from contextlib import suppress
from dataclasses import dataclass, field, replace
from itertools import count
from tempfile import TemporaryFile
from typing import TYPE_CHECKING, Any, TypeVar
from uuid import uuid4

from unsaf_async.calls.batches.register import Row
from unsaf_async.calls.budget import NANO
from unsaf_async.calls.dispatched import without_keys
from unsaf_async.calls.stored_reply import digests_of, key_of, key_parts, packed_with
from unsaf_async.errors import CallError, Fatal, RateLimited, Rejected, Transient, UserError, setting
from unsaf_async.events import BatchesMoved, BoundBroken, CallSent, CallSettled, Notice
from unsaf_async.records import Usage
from unsaf_async.text import format_count, one_line

if TYPE_CHECKING:
    from collections.abc import Coroutine, Iterable, Sequence
    from types import TracebackType
    from typing import BinaryIO, Self

    from unsaf_async.calls.backends.http import HttpBackend
    from unsaf_async.calls.batches.api import BatchApi, Result, State
    from unsaf_async.calls.batches.register import OpenBatch, Register
    from unsaf_async.calls.budget import Budget, Reservation
    from unsaf_async.calls.cost import CostModel
    from unsaf_async.calls.ledger import Ledger
    from unsaf_async.calls.replicas import Replicas
    from unsaf_async.calls.store import ReplyStore
    from unsaf_async.events import Announce
    from unsaf_async.providers.redactor import Redactor
    from unsaf_async.records import Reply, Request

T = TypeVar("T")

MOST_ROUNDS = 2
"""So often a call goes into a batch: one that two batches left open is made alone."""

STORED_AT_ONCE = 200
"""Replies that are stored together."""

LOOKS_FOR_LOST = 4
"""So often a batch is looked for whose creation was not heard of."""

DOWNLOADS = 6
"""So often the results of a batch that has ended are asked for, with pauses that double."""

LOOKS_FOR_MISSING = 6
"""So often in a row a vendor may know nothing of a batch that it took: what is new may not be known everywhere yet."""

GONE = (404, 410)
"""Statuses of what is not there."""

NOT_SPOKEN = (404, 405, 501)
"""Statuses of an address that knows no batches: a gateway's, perhaps."""

LEAST_ROWS = 8
"""Batches are not halved below this where the vendor's queue is full."""


@dataclass(frozen=True)
class Waits:
    """How long is waited for what, in seconds.

    window_s: for a batch; then it is ended, and what it left open goes alone. quiet_s: so long no further call has come when a
    batch leaves. first_look_s, longest_look_s: between two looks at a batch, growing by half. again_s, longest_again_s: before
    a batch that was turned away is handed in again, doubling. download_s: for the results. overdue_s: after the window, for the
    batch to end; then it is given up.
    """

    window_s: float = 24 * 3600.0
    quiet_s: float = 5.0
    first_look_s: float = 5.0
    longest_look_s: float = 60.0
    again_s: float = 30.0
    longest_again_s: float = 600.0
    download_s: float = 3600.0
    overdue_s: float = 36 * 3600.0


@dataclass(frozen=True)
class Accounts:
    """What a session keeps accounts with, and hides and tells things by."""

    store: ReplyStore
    ledger: Ledger
    budget: Budget
    register: Register
    redact: Redactor
    announce: Announce
    run_id: str


class _GivenUp(Transient):
    """No results of a batch will come: the vendor knows nothing of it any more, or does not end it."""

    def __init__(self, message: str) -> None:
        super().__init__(message, fate_unknown=True)


@dataclass(eq=False)
class _Call:
    """A call on its way through a batch."""

    request: Request
    key: str
    digests: dict[str, str]
    reservation: Reservation
    future: asyncio.Future[Reply]
    rounds: int = 0
    number: int = 0
    first_s: float = 0.0
    left: bool = field(default=False)
    """Whether it is with the vendor, as far as is known."""


class Batches:
    """The batches of one model. Use as an async context manager; leaving it waits for what is being stored, and for no batch."""

    def __init__(
        self,
        name: str,
        title: str,
        model: str,
        api: BatchApi,
        backend: HttpBackend,
        cost_model: CostModel,
        accounts: Accounts,
        waits: Waits,
        replicas: Replicas,
    ) -> None:
        """Batches of which none is gathered.

        Args:
            name: The session's name of the model.
            title: Its name for people.
            model: Its id, as the vendor has it.
            api: The vendor's.
            backend: Reads the replies.
            cost_model: At the prices of batches.
            accounts: The session's.
            waits: How long is waited for what.
            replicas: Where calls go alone. No batch leaves once they are down, and none goes alone once no batch can work.
        """
        self.cost_model = cost_model
        self.begun = False
        """Whether calls are gathered; until then they go alone."""
        self.collected: set[str] = set()
        """The keys of replies that came in batches of earlier sessions, and that nobody has been given since."""
        self._name, self._title = name, title
        self._model = model
        self._api = api
        self._backend = backend
        self._accounts = accounts
        self._waits = waits
        self._replicas = replicas
        self._most_rows = api.most_rows
        """Of one batch: fewer than the vendor takes where its queue was too full for more."""
        self._full_s = waits.again_s
        """How long is waited the next time that the queue is full."""
        self._gathered: dict[_Call, int] = {}
        """Calls that have not left, with about how many bytes they come to."""
        self._gathered_bytes = 0
        self._leaving: set[_Call] = set()
        """Calls whose batch is being written and handed in."""
        self._told_elsewhere = False
        self._timer: asyncio.TimerHandle | None = None
        self._group = asyncio.TaskGroup()
        self._stopped: Fatal | None = None
        self._stop = asyncio.Event()
        self._there: dict[str, tuple[int, int]] = {}
        """Of each batch that is with the vendor: its rows, and how many are done."""
        self._since_s: dict[str, float] = {}
        """When each of these was handed in."""
        self._calls: dict[str, dict[str, _Call]] = {}
        """The calls of each batch that is with the vendor, by their keys."""

    async def __aenter__(self) -> Self:
        await self._group.__aenter__()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop(Fatal("the session is over", kind="interrupted"))  # what is still at work is not waited for
        await self._group.__aexit__(kind, error, trace)

    # --- calls come in ------------------------------------------------------------------------------------------------

    async def ask(self, request: Request, reservation: Reservation) -> Reply:
        """The reply to a call, which goes with others.

        Args:
            request: The call.
            reservation: Its money, at the price of a batch; ended here.

        Returns:
            The reply, with its cost.

        Raises:
            CallError: None came. Transient where two batches left it open, or it failed in one.
        """
        if (reason := self._stopped or self._replicas.down) is not None:
            reservation.refund()
            raise reason
        parts = key_parts(request)
        call = _Call(request, key_of(parts), digests_of(parts), reservation, asyncio.get_running_loop().create_future())
        self._gather(call)
        try:
            return await call.future
        except asyncio.CancelledError:
            self._gathered_bytes -= self._gathered.pop(call, 0)
            self._give_up(call)
            raise

    def elsewhere(self) -> bool:
        """Whether a call that another process has claimed may be in its batch. That it is waited for is told once.

        Returns:
            False where the system does not tell.
        """
        if not self._accounts.store.others_in_batch():
            return False
        if not self._told_elsewhere:
            self._told_elsewhere = True
            what = "another run with this cache asks the same in batches"
            self._accounts.announce(Notice(f"{self._title}: {what}: its replies are waited for, and cost nothing here"))
        return True

    def stop(self, reason: Fatal) -> None:
        """Hand no further batch in, and wait for none. Those that are with the vendor stay there, for the next session.

        Args:
            reason: What calls fail with.
        """
        if self._stopped is not None:
            return
        self._stopped = reason
        self._stop.set()
        if self._timer:
            self._timer.cancel()
        with_vendor = [call for calls in self._calls.values() for call in calls.values() if not call.future.done()]
        if with_vendor and self._there:
            self._accounts.announce(
                Notice(
                    f"{self._title}: left with the vendor: {format_count(len(self._there), 'batch', 'batches')} with "
                    f"{format_count(len(with_vendor), 'call')}, booked at their worst case; resuming the run collects them"
                )
            )
        for call in [*self._gathered, *with_vendor]:
            self._fail(call, reason)
        self._gathered, self._gathered_bytes = {}, 0

    def _gather(self, call: _Call) -> None:
        self._gathered[call] = _size(call.request)
        if self._timer:
            self._timer.cancel()
        self._gathered_bytes += self._gathered[call]
        full = len(self._gathered) >= self._most_rows or self._gathered_bytes >= self._api.most_bytes
        self._timer = asyncio.get_running_loop().call_later(0 if full else self._waits.quiet_s, self._leave)
        self._tell()

    def _leave(self) -> None:
        calls, self._gathered, self._gathered_bytes = list(self._gathered), {}, 0
        self._leaving.update(calls)
        self._group.create_task(self._hand_in(calls))

    # --- batches go out -----------------------------------------------------------------------------------------------

    async def _hand_in(self, calls: list[_Call]) -> None:
        """Hand calls in, as many batches as they need, one after the other: an upload at a time."""
        whole = calls
        while calls := [call for call in calls if not call.future.done()]:
            name, part = f"unsaf-{uuid4().hex}", calls
            try:
                with TemporaryFile(dir=self._accounts.register.folder) as body:
                    taken = await asyncio.to_thread(self._write, body, name, calls)
                    if any(call.future.done() for call in calls[:taken]):
                        continue  # given up meanwhile: without it, since it has no money any more
                    part, calls = calls[:taken], calls[taken:]
                    await self._send(name, part, body)
            except OSError as error:
                self._end(part, Fatal(f"a batch cannot be written ({error.strerror})", kind="disk"))
            except CallError as error:
                self._end(part, error)
            self._leaving.difference_update(part)
            self._tell()
        self._leaving.difference_update(whole)  # those that were given up

    def _write(self, body: BinaryIO, name: str, calls: Sequence[_Call]) -> int:
        """Write the body of a batch with as many of the calls as it may hold; how many, at least one."""
        head, tail = self._api.head(self._model, name), self._api.tail()
        size = body.write(head) + len(tail)
        taken = 0
        for call in calls[: self._most_rows]:
            row = self._api.row(call.key, call.request)
            if taken and size + len(row) + 1 > self._api.most_bytes:
                break
            size += body.write(self._api.between + row if taken else row)
            taken += 1
        body.write(tail)
        body.flush()
        return taken

    async def _send(self, name: str, calls: list[_Call], body: BinaryIO) -> None:
        """Write a batch down, and have the vendor take it. Raises CallError, for all of its calls, where it does not."""
        if (reason := self._stopped or self._replicas.down) is not None:
            raise reason
        there = await self._written_down(name, calls)
        self._calls[name] = {call.key: call for call in calls}
        now_s = asyncio.get_running_loop().time()
        for call in calls:
            call.left, call.first_s = True, call.first_s or now_s
            call.rounds += 1
            provider = call.request.target.provider
            held_usd = call.reservation.amount_nano_usd / NANO
            self._accounts.announce(CallSent(call.request.role, provider, held_usd, batched=True))
        try:
            try:
                await self._take(there, body)
            except CallError as error:
                if not error.fate_unknown:
                    for row, call in zip(there.rows, calls, strict=True):
                        self._book(row, call, 0, None)
                    self._accounts.register.over(name)
                raise
        except CallError:
            del self._calls[name]
            raise
        except UserError as error:  # the disk is full: the next session asks the vendor for the batch
            del self._calls[name]
            raise Fatal(error.args[0], kind="disk") from None
        if self._stopped is None:
            self._group.create_task(self._work_off(there))

    async def _written_down(self, name: str, calls: list[_Call]) -> OpenBatch:
        accounts = self._accounts
        entered: list[_Call] = []
        try:
            for call in calls:
                call.number = await accounts.ledger.enter(call.request.role, call.reservation, again=call.rounds > 0)
                entered.append(call)
            return accounts.register.handed_in(name, self._name, [_row(call) for call in calls])
        except (UserError, Fatal) as error:
            for call in entered:
                accounts.ledger.refunded(call.number)
            raise error if isinstance(error, Fatal) else Fatal(error.args[0], kind="disk") from None

    async def _take(self, there: OpenBatch, body: BinaryIO) -> None:
        """Hand a batch in until the vendor has it. Raises CallError if it will not, or where no more may leave."""
        waits, began_s = self._waits, asyncio.get_running_loop().time()
        wait_s = waits.again_s
        while self._stopped is None:
            try:
                with os.fdopen(os.dup(body.fileno()), "rb") as content:  # whoever sends it may close it
                    content.seek(0)
                    there.batch = await self._api.create(self._model, there.name, content)
                self._accounts.register.taken(there.name, there.batch)
                return
            except Fatal as error:
                if error.status in NOT_SPOKEN:
                    raise Fatal(_no_batches_here(error), kind="refused", status=error.status) from None
                raise
            except (RateLimited, Transient, Rejected) as error:
                if error.status in NOT_SPOKEN:
                    raise Fatal(_no_batches_here(error), kind="refused", status=error.status) from None
                if error.fate_unknown:
                    if await self._found_or_unknown(there, error):
                        return
                elif isinstance(error, Rejected):
                    raise Fatal(f"takes no such batch: {error}", kind="refused", status=error.status) from None
                if asyncio.get_running_loop().time() - began_s > waits.window_s:
                    raise
                asked_s = 0.0 if isinstance(error, Rejected) else error.retry_after_s or 0.0
                patience_s = min(max(asked_s, wait_s), waits.longest_again_s)
                self._accounts.announce(
                    Notice(f"{self._title}: takes no batch now ({error}); again in {patience_s:.0f} s")
                )
                await self._pause(patience_s)
                wait_s = 2 * wait_s
        raise self._stopped

    async def _found_or_unknown(self, there: OpenBatch, error: CallError) -> bool:
        """Whether the vendor took a batch after all. Raises CallError, of unknown fate, where it does not say."""
        try:
            found = await self._found(there, self._waits.window_s)
        except CallError as other:
            other.fate_unknown = True  # whatever is wrong with the list of batches says nothing of this one
            raise
        if found is None:
            raise Transient(f"it is not known whether the batch was taken ({error})", fate_unknown=True) from None
        return found

    async def _found(self, there: OpenBatch, patience_s: float = 0.0) -> bool | None:
        """Whether the vendor has a batch of which it is not known; its id is written down then. None: it does not say.

        patience_s: for how long it is asked at least where it does not say.
        """
        looks, began_s, keys = 0, time.monotonic(), [row.key for row in there.rows]
        for look in count():
            if looks >= LOOKS_FOR_LOST:
                return False
            if look >= LOOKS_FOR_LOST and time.monotonic() - began_s > patience_s:
                return False if looks else None
            with suppress(RateLimited, Transient):
                batch = await self._unless_stopped(self._api.find(there.name, keys, there.since_s))
                if batch is not None:
                    there.batch = batch
                    self._accounts.register.taken(there.name, batch)
                    return True
                looks += 1
            await self._pause(min(self._waits.first_look_s * 2.0 ** min(look, 20), self._waits.longest_again_s))
            if self._stopped is not None:
                return None
        return None

    # --- batches come back --------------------------------------------------------------------------------------------

    async def recover(self) -> None:
        """Wait for the batches that earlier sessions left with the vendor, and store their replies.

        Raises:
            CallError: The vendor says nothing of one, and will not.
        """
        mine = [batch for batch in self._accounts.register.batches.values() if batch.model == self._name]
        if mine:
            rows = sum(len(batch.rows) for batch in mine)
            what = (
                f"{format_count(len(mine), 'batch', 'batches')} with {format_count(rows, 'call')} of an earlier session"
            )
            self._accounts.announce(Notice(f"{self._title}: waiting for {what}, up to a day"))
        for batch in mine:  # one after the other: the vendor works on all of them meanwhile
            await self._recover(batch)

    async def _recover(self, there: OpenBatch) -> None:
        found = bool(there.batch) or await self._found(there)
        if found is None:
            if self._stopped is None:
                raise Transient(f"{self._title}: does not say which batches it has")
            return
        if not found:
            for row in there.rows:
                self._book(row, None, 0, None)
            self._accounts.register.over(there.name)
            return
        await self._work_off(there)

    async def _work_off(self, there: OpenBatch) -> None:
        """Wait for a batch, and hand its replies on. One that cannot be asked about stays with the vendor.

        Raises CallError where nobody waits for its calls.
        """
        calls = self._calls.get(there.name, {})
        self._moved(there, 0)
        try:
            with self._accounts.store.in_batch():
                state = await self._ended(there)
            if state is not None and await self._collect(there, calls, state) and not self._disk_is_full:
                self._accounts.register.over(there.name)
                with suppress(CallError):
                    await self._api.clear(there.batch)
        except _GivenUp as error:
            self._accounts.announce(
                Notice(
                    f"{self._title}: {error}; its calls without a reply stay booked at their worst case, and are made again"
                )
            )
            self._end(calls.values(), error)
            with suppress(UserError):  # what is not written down now is found out again by the next session
                self._accounts.register.over(there.name)
        except (CallError, UserError) as error:
            self._end(calls.values(), reason := _about_batch(error))
            if not calls:
                raise reason from None
        finally:
            self._there.pop(there.name, None)
            self._since_s.pop(there.name, None)
            self._calls.pop(there.name, None)
            self._tell()

    @property
    def _disk_is_full(self) -> bool:
        """Whether replies may not be stored: a batch is not over then, and the next session reads its results again."""
        return self._stopped is not None and self._stopped.kind == "disk"

    async def _ended(self, there: OpenBatch) -> State | None:
        """The state of a batch once it has ended; None where it is waited for no longer."""
        waits, cancelled, misses = self._waits, False, 0
        wait_s = waits.first_look_s
        while True:
            await self._pause(wait_s)
            if self._stopped is not None:
                return None
            wait_s = min(1.5 * wait_s, waits.longest_look_s)
            waited_s = time.time() - there.since_s
            try:
                state = await self._api.state(there.batch)
                misses = 0
                if state.ended:
                    self._moved(there, len(there.rows))
                    return state
                self._moved(there, state.done)
                if self._api.cancels and not cancelled and waited_s > waits.window_s:
                    with suppress(Rejected):  # it has ended since
                        await self._api.cancel(there.batch)
                    cancelled = True
            except (RateLimited, Transient) as error:
                wait_s = min(max(wait_s, error.retry_after_s or 0.0), waits.longest_again_s)
            except Fatal as error:
                misses += 1
                if error.status not in GONE or misses >= LOOKS_FOR_MISSING:
                    raise _given_up(there, error) from None
            if waited_s > waits.window_s + waits.overdue_s:
                raise _GivenUp(f"batch {there.batch} does not end")

    async def _collect(self, there: OpenBatch, calls: dict[str, _Call], state: State) -> bool:
        """Read a batch's results, so that every row has one; whether that came about."""
        missing = {row.key: row for row in there.rows}
        for attempt in range(DOWNLOADS):
            last = attempt == DOWNLOADS - 1
            try:
                async with asyncio.timeout(self._waits.download_s):
                    await self._read(there, missing, calls)
                if last or not state.lacks(len(there.rows), len(missing)):
                    break
            except (RateLimited, Transient, TimeoutError) as error:
                if last:
                    raise error if isinstance(error, CallError) else Transient("no results within the time") from None
            except Fatal as error:
                if last or error.status not in GONE:
                    raise _given_up(there, error) from None
            await self._pause(self._waits.first_look_s * 2**attempt)
            if self._stopped is not None:
                return False
        unsure = state.unsure or state.lacks(len(there.rows), len(missing))
        if state.problem and not state.full and not unsure and len(missing) == len(there.rows):
            for row in there.rows:
                self._book(row, calls.get(row.key), 0, None)
            self._end(calls.values(), Fatal(_not_worked_off(state.problem), kind="refused"))
            return True
        if state.full:
            await self._wait_for_room(len(there.rows), state)
        else:
            self._full_s = self._waits.again_s
            self._most_rows = min(2 * self._most_rows, self._api.most_rows)
        for row in missing.values():
            call = calls.get(row.key)
            if unsure:
                self._book(row, call, row.worst_nano_usd, None, unknown=True)
                self._end([call] if call else [], Transient("the batch ended without its results", fate_unknown=True))
                continue
            if state.full and call and asyncio.get_running_loop().time() - call.first_s < self._waits.window_s:
                call.rounds -= 1  # it was not looked at
            self._settle_open(row, call, state.problem or "the batch ended without a result for it")
        return True

    async def _wait_for_room(self, rows: int, state: State) -> None:
        """Wait where the vendor's queue is full. The batch goes in again in halves: it may be larger than the whole queue."""
        self._most_rows = min(self._most_rows, max(LEAST_ROWS, rows // 2))
        text = (
            f"{self._title}: takes no more for now ({state.problem}); the batch goes in again in {self._full_s:.0f} s"
        )
        self._accounts.announce(Notice(text))
        await self._pause(self._full_s)
        self._full_s = min(2 * self._full_s, self._waits.longest_again_s)

    async def _read(self, there: OpenBatch, missing: dict[str, Row], calls: dict[str, _Call]) -> None:
        """Take the results that are there; those of rows that have one already, or are not this batch's, are passed over."""
        part: list[tuple[Row, Result]] = []

        async def settle() -> None:
            async with asyncio.TaskGroup() as group:  # so that their replies are stored in one go
                for row, result in part:
                    group.create_task(self._settle(there, row, calls.get(row.key), result))
            part.clear()

        try:
            async for result in self._api.results(there.batch, [row.key for row in there.rows]):
                if (row := missing.pop(result.key, None)) is not None:
                    part.append((row, result))
                if len(part) >= STORED_AT_ONCE:
                    await settle()
        finally:
            await settle()

    async def _settle(self, there: OpenBatch, row: Row, call: _Call | None, result: Result) -> None:
        """Book a row, store its reply, and hand it to whoever waits."""
        accounts = self._accounts
        if result.answer is None:
            self._settle_open(row, call, result.reason)
            return
        try:
            reply = self._backend.reply_of(result.answer, row.max_output_tokens)
        except CallError as error:
            self._book(row, call, row.worst_nano_usd if error.fate_unknown else 0, None, unknown=error.fate_unknown)
            error.args = (accounts.redact(str(error)),)
            if call:
                self._end([call], error)
            return
        if call:
            cost, usage = self.cost_model.cost_nano_usd(call.request, reply)
        else:
            cost, usage = self.cost_model.cost_without_request(reply, row.worst_nano_usd)
        if cost > row.worst_nano_usd:
            self._bound_broken(row, call, cost)
        reply = without_keys(reply, accounts.redact, self._title, accounts.announce)
        reply = replace(
            reply, cost_usd=cost / NANO, usage=usage, latency_s=0.0
        )  # what it took in a batch is not the model's
        if call is None:
            self.collected.add(row.key)
        self._book(row, call, cost, usage, reply)
        whole = reply.outcome == "ok" and there.own
        await accounts.store.put(row.key if whole else f"{row.key}:{accounts.run_id}", packed_with(row.digests, reply))
        if call and not call.future.done():
            call.future.set_result(reply)

    def _bound_broken(self, row: Row, call: _Call | None, cost: int) -> None:
        if call:
            self.cost_model.bound_broken(call.request, cost)
        self._accounts.announce(BoundBroken(row.role, self._title, row.worst_nano_usd / NANO, cost / NANO))

    def _settle_open(self, row: Row, call: _Call | None, reason: str) -> None:
        """A row that the batch left open, which costs nothing: it goes with the next batch, or alone."""
        self._book(row, call, 0, None)
        if call is None or call.future.done():
            return
        call.left = False
        if self._stopped is None and call.rounds < MOST_ROUNDS:
            self._gather(call)
        else:
            self._fail(call, Transient(one_line(self._accounts.redact(reason), 300)))

    # --- accounts -----------------------------------------------------------------------------------------------------

    def _book(
        self,
        row: Row,
        call: _Call | None,
        cost: int,
        usage: Usage | None,
        reply: Reply | None = None,
        *,
        unknown: bool = False,
    ) -> None:
        """Enter what became of an attempt in the ledger, and end its reservation unless it goes on."""
        accounts = self._accounts
        if call is None or call.reservation.over:  # given up: by an earlier session, or by whoever waited
            if not unknown and (booked := accounts.ledger.found(row.number, cost, usage or Usage())):
                accounts.budget.found(booked, cost)
            return
        if unknown:
            accounts.ledger.unknown(row.number)
        elif usage is None:
            accounts.ledger.refunded(row.number)
        else:
            accounts.ledger.settled(row.number, cost, usage)
        if usage is not None or unknown:
            call.reservation.settle(cost)
        call.left = False
        accounts.announce(CallSettled(row.role, call.request.target.provider, reply, cost / NANO))

    def _end(self, calls: Iterable[_Call], error: CallError) -> None:
        """End calls without a reply; and all others, where none can work."""
        for call in list(calls):
            self._fail(call, error)
        if isinstance(error, Fatal) and self._stopped is None:
            self._replicas.shut(error)
            self.stop(error)

    def _fail(self, call: _Call, error: CallError) -> None:
        """End a call without a reply."""
        self._give_up(call)
        if not call.future.done():
            call.future.set_exception(error)

    def _give_up(self, call: _Call) -> None:
        """End a call's reservation: at its worst case where it may be with the vendor."""
        if call.reservation.over:
            return
        if call.left:
            call.reservation.settle(call.reservation.amount_nano_usd)
            self._accounts.ledger.unknown(call.number)
            provider, cost_usd = call.request.target.provider, call.reservation.amount_nano_usd / NANO
            self._accounts.announce(CallSettled(call.request.role, provider, None, cost_usd))
        else:
            call.reservation.refund()

    async def _pause(self, seconds: float) -> None:
        """Wait, but not beyond a stop."""
        with suppress(TimeoutError):
            await asyncio.wait_for(self._stop.wait(), seconds)

    async def _unless_stopped(self, work: Coroutine[Any, Any, T]) -> T | None:
        """What comes of some work; None where a stop comes first."""
        task, stop = asyncio.create_task(work), asyncio.create_task(self._stop.wait())
        try:
            await asyncio.wait({task, stop}, return_when=asyncio.FIRST_COMPLETED)
            return task.result() if task.done() else None
        finally:
            for each in (task, stop):
                each.cancel()

    def _moved(self, there: OpenBatch, done: int) -> None:
        self._there[there.name] = (len(there.rows), done)
        self._since_s[there.name] = there.since_s
        self._tell()

    def _tell(self) -> None:
        rows, done = (sum(each) for each in zip(*self._there.values(), strict=True)) if self._there else (0, 0)
        ends = self._since_s and self._api.cancels
        until_s = max(self._since_s.values()) + self._waits.window_s if ends else None
        gathered = len(self._gathered) + len(self._leaving)
        self._accounts.announce(BatchesMoved(self._title, len(self._there), rows, done, gathered, until_s))


def _given_up(there: OpenBatch, error: Fatal) -> CallError:
    """What an error about a batch means: the error itself, unless it is that there is no such batch."""
    return _GivenUp(f"the vendor has batch {there.batch} no longer") if error.status in GONE else error


def _about_batch(error: CallError | UserError) -> CallError:
    """An error that met a batch, for its calls: a refusal to tell of the batch says nothing of what they ask."""
    if isinstance(error, UserError):
        return Fatal(error.args[0], kind="disk")
    return Transient(str(error), fate_unknown=True) if isinstance(error, Rejected) else error


def _no_batches_here(error: CallError) -> str:
    return f"takes no batches at this address ({error}); with {setting('batch', False)} all calls go alone"


def _not_worked_off(problem: str) -> str:
    return f"a batch was not worked off: {problem.rstrip('.')}; with {setting('batch', False)} all calls go alone"


def _size(request: Request) -> int:
    return 2000 + sum(
        len(each.text) + (len(each.image.data) * 4 // 3 if each.image else 0) for each in request.messages
    )


def _row(call: _Call) -> Row:
    request = call.request
    worst, most = call.reservation.amount_nano_usd, request.sampling.max_output_tokens
    return Row(call.key, request.role, call.number, worst, most, call.digests)
