"""The driver's end of a worker's line: what the worker says is done on the run's own books, in the order in which it was said.

It remembers what the worker has under way. When the worker is lost, each attempt that had left and not ended counts at its worst
case; the rest of its money is free again, and its claims are given up.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any, NamedTuple

from unsaf_async.cluster.link import Answer, Failure
from unsaf_async.errors import Fatal, UnsafError
from unsaf_async.events import CallSent, CallSettled
from unsaf_async.records import Reply, Usage

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Coroutine, Mapping, Sequence

    from unsaf_async.calls.budget import ImageBudget, Reservation
    from unsaf_async.calls.session import Session
    from unsaf_async.cluster.link import ModelState, Said
    from unsaf_async.records import Outcome, Role

Claimed = dict[str, "Counterpart"]
"""Which calls workers are making, by their keys: to the store, all workers are one process."""


_TAKES_BACK = frozenset({"release", "not_sent", "forget", "wait_elsewhere"})
"""What is said of something that was asked: that has to have begun."""

_LOOK_ALONE = 2
"""The values of a look that enters no attempt."""


class _Attempt(NamedTuple):
    """One that is in the ledger and has not ended. mark: the worker's own number for it."""

    mark: int
    reservation: Reservation


class Counterpart:
    """What one worker says, done."""

    def __init__(
        self,
        session: Session,
        claimed: Claimed,
        answer: Callable[[Answer], None],
        create_task: Callable[[Coroutine[Any, Any, None]], asyncio.Task[None]],
        further: Mapping[str, Callable[..., Awaitable[Any] | None]],
    ) -> None:
        """The end of a line on which nothing was said.

        Args:
            session: The run's.
            claimed: Of all workers.
            answer: Takes an answer to the worker.
            create_task: Runs what has to be waited for.
            further: What else a worker may say, and what is done then.
        """
        self._session = session
        self._claimed = claimed
        self._send = answer
        self._create_task = create_task
        self._images: dict[int, ImageBudget] = {}
        self._elsewhere: dict[int, list[ExitStack]] = {}
        """For each image, its calls that wait for another image's."""
        self._reservations: dict[int, Reservation] = {}
        """Those that no attempt has yet, by the worker's numbers."""
        self._waiting: dict[int, asyncio.Task[Any]] = {}
        """What decides about money, by the worker's number for it."""
        self._looking: dict[int, asyncio.Task[Any]] = {}
        """What enters attempts early, by their marks."""
        self._open: dict[int, _Attempt] = {}
        """Attempts that left, or are about to, and have not ended, by their numbers."""
        self._marks: dict[int, int] = {}
        """Their numbers, by their marks."""
        self._storing: dict[str, asyncio.Task[None]] = {}
        """Replies on their way to the disk's cache, by the keys of their calls."""
        self._under_way: Counter[str] = Counter()
        """Calls, by their models."""
        self._asked: set[asyncio.Task[None]] = set()
        self._lost = False
        own = (
            self._look, self._release, self._first, self._put, self._begin_image, self._end_image, self._wait_elsewhere,
            self._wait_no_longer, self._reserve, self._forget, self._refund, self._sent, self._not_sent,
            self._settled, self._refunded, self._unknown, self._left, self._over, self._state,
        )  # fmt: skip
        self._does: dict[str, Callable[..., Any]] = {each.__name__[1:]: each for each in own} | dict(further)

    async def hear(self, said: Sequence[Said]) -> None:
        """Do what was said.

        Args:
            said: In order.

        Raises:
            KeyError: It is nothing that a worker may say.
        """
        begun = True
        for number, what, values in said:
            if self._lost:
                return
            if number and what != "sent":
                self._ask(number, what, values)
                begun = False
                continue
            if not begun and what in _TAKES_BACK:
                await asyncio.sleep(0)
                begun = True
            if number:
                await self._answer(number, self._sent(*values))
            elif (doing := self._does[what](*values)) is not None:
                await doing

    async def answered(self, longest_s: float) -> None:
        """Wait until all is answered that was asked, or for a while: most takes a trip to the disk.

        Args:
            longest_s: The while, in seconds.
        """
        if self._asked:
            await asyncio.wait(self._asked, timeout=longest_s)

    async def lose(self) -> None:
        """The worker is gone, or has ended: whatever it had under way is closed."""
        self._lost = True
        asked = list(self._asked)
        for task in asked:
            task.cancel()
        await asyncio.gather(*asked, *self._storing.values(), return_exceptions=True)
        for key in [key for key, holder in self._claimed.items() if holder is self]:
            self._release(key)
        for number in list(self._open):
            self._unknown(number)
        for number in list(self._reservations):
            self._refund(number)
        for number in list(self._images):
            self._end_image(number)
        for name, calls in self._under_way.items():
            self._count(name, -calls)

    def _ask(self, number: int, what: str, values: Sequence[Any]) -> None:
        task = self._create_task(self._answer(number, self._does[what](*values)))
        self._asked.add(task)
        task.add_done_callback(self._asked.discard)
        if what == "reserve":
            self._waiting[values[0]] = task
            task.add_done_callback(lambda _: self._waiting.pop(values[0], None))
        elif what == "look" and len(values) > _LOOK_ALONE:
            mark = values[-1]
            self._looking[mark] = task
            task.add_done_callback(lambda _: self._looking.pop(mark, None))

    async def _answer(self, number: int, doing: Awaitable[Any]) -> None:
        try:
            value = await doing
        except UnsafError as error:
            value = Failure.of(error)
        if not self._lost:
            self._send(Answer(number, value))

    # --- replies ----------------------------------------------------------------------------------------------------

    async def _look(
        self, key: str, own: str, image: int = 0, role: Role = "ask", worst_nano_usd: int = 0, mark: int = 0
    ) -> tuple[bool, bytes | None, int]:
        """See `ReplyStore.look`: a call that another worker makes counts as claimed by another process.

        Where nothing is stored, the attempt is entered whose mark is given. The third value is its number; 0: it is not entered.
        """
        reservation = await self._images[image].reserve(worst_nano_usd) if mark else None  # the image has the money
        number = 0
        try:
            taken, data = await self._looked(key, own)
            if reservation is not None and taken and data is None:
                number = await self._enter(mark, reservation, role, again=False)
        finally:
            if reservation is not None and not number:
                reservation.refund()
        return taken, data, number

    async def _looked(self, key: str, own: str) -> tuple[bool, bytes | None]:
        store = self._session.store
        if self._claimed.get(key, self) is not self:
            return False, await store.first(key, own)
        self._claimed[key] = self
        taken = False
        try:
            taken, data = await store.look(key, own)
        finally:
            if not taken and self._claimed.get(key) is self:
                del self._claimed[key]
        return taken, data

    def _release(self, key: str) -> None:
        """See `ReplyStore.release`. A reply that is on its way to the disk is there first."""
        if (storing := self._storing.get(key)) is not None:
            storing.add_done_callback(lambda _: self._release(key))
        elif self._claimed.get(key) is self:
            del self._claimed[key]
            self._session.store.release(key)

    async def _first(self, *keys: str) -> bytes | None:
        """See `ReplyStore.first`."""
        return await self._session.store.first(*keys)

    def _put(self, key: str, value: bytes) -> None:
        """See `ReplyStore.put`. Whatever is waited for that was said later comes later."""
        call = key.partition(":")[0]
        task = self._storing[call] = self._create_task(self._store(key, value))

        def stored(_: asyncio.Task[None]) -> None:
            if self._storing.get(call) is task:
                del self._storing[call]

        task.add_done_callback(stored)

    async def _store(self, key: str, value: bytes) -> None:
        try:
            await self._session.store.put(key, value)
        except UnsafError as error:
            self._session.stop(Fatal(error.args[0], kind="disk"))

    # --- money ------------------------------------------------------------------------------------------------------

    def _begin_image(self, image: int, worst_nano_usd: int) -> None:
        """See `Budget.for_image`."""
        self._images[image] = self._session.budget.for_image(worst_nano_usd)

    def _end_image(self, image: int) -> None:
        """See `ImageBudget.close`."""
        for waiting in self._elsewhere.pop(image, ()):
            waiting.close()
        self._images.pop(image).close()

    def _wait_elsewhere(self, image: int) -> None:
        """See `ImageBudget.waiting_elsewhere`."""
        waiting = ExitStack()
        waiting.enter_context(self._images[image].waiting_elsewhere())
        self._elsewhere.setdefault(image, []).append(waiting)

    def _wait_no_longer(self, image: int) -> None:
        """The end of `wait_elsewhere`."""
        if waiting := self._elsewhere.get(image):
            waiting.pop().close()

    async def _reserve(self, number: int, image: int, amount_nano_usd: int) -> None:
        """See `ImageBudget.reserve`. Where the worker does not wait for the answer, the image has the money."""
        self._reservations[number] = await self._images[image].reserve(amount_nano_usd)

    def _forget(self, number: int) -> None:
        """Nobody waits for that money any more."""
        if (waiting := self._waiting.get(number)) is not None and not waiting.done():
            waiting.cancel()
        elif number in self._reservations:
            self._refund(number)

    def _refund(self, number: int) -> None:
        """See `Reservation.refund`."""
        self._reservations.pop(number).refund()

    # --- attempts ---------------------------------------------------------------------------------------------------

    async def _sent(self, mark: int, image: int, known: int, role: Role, worst_nano_usd: int, again: bool) -> int:
        """See `Ledger.enter`. Its money was reserved under a number, or the image has it."""
        reservation = self._reservations.pop(known) if known else await self._images[image].reserve(worst_nano_usd)
        try:
            return await self._enter(mark, reservation, role, again=again)
        except BaseException:
            reservation.refund()
            raise

    async def _enter(self, mark: int, reservation: Reservation, role: Role, *, again: bool) -> int:
        number = await self._session.ledger.enter(role, reservation, again=again)
        self._open[number] = _Attempt(mark, reservation)
        self._marks[mark] = number
        return number

    def _not_sent(self, mark: int) -> None:
        """Nobody waits for that entry any more, and nothing left."""
        if (looking := self._looking.get(mark)) is not None and not looking.done():
            looking.cancel()
        elif (number := self._marks.get(mark)) is not None:
            self._refunded(number, unsent=True)

    def _settled(self, number: int, cost_nano_usd: int, counts: Sequence[int], saved_nano_usd: int = 0) -> None:
        """See `Ledger.settled`."""
        reservation = self._ended(number)
        self._session.ledger.settled(number, cost_nano_usd, Usage(*counts), saved_nano_usd)
        reservation.settle(cost_nano_usd)

    def _refunded(self, number: int, unsent: bool) -> None:
        """See `Ledger.refunded`."""
        reservation = self._ended(number)
        reservation.refund()
        self._session.ledger.refunded(number, unsent=unsent)

    def _unknown(self, number: int) -> None:
        """See `Ledger.unknown`."""
        reservation = self._ended(number)
        reservation.settle(reservation.amount_nano_usd)
        self._session.ledger.unknown(number)

    def _ended(self, number: int) -> Reservation:
        mark, reservation = self._open.pop(number)
        del self._marks[mark]
        return reservation

    # --- what the run gets to know ----------------------------------------------------------------------------------

    def _left(self, role: Role, model: str, held_usd: float) -> None:
        """An attempt leaves."""
        self._count(model, 1)
        self._session.announce(CallSent(role, model, held_usd))

    def _over(
        self, role: Role, model: str, cost_usd: float, reply: tuple[Outcome, Sequence[int], float] | None
    ) -> None:
        """An attempt is over. Of its reply there is here what the display counts."""
        self._count(model, -1)
        short = None
        if reply is not None:
            outcome, counts, latency_s = reply
            short = Reply(outcome, "", usage=Usage(*counts), cost_usd=cost_usd, latency_s=latency_s)
        self._session.announce(CallSettled(role, model, short, cost_usd))

    def _count(self, model: str, calls: int) -> None:
        """So many calls more, or fewer, are under way."""
        self._under_way[model] += calls
        for each in self._session.models.values():
            if each.profile.name == model:
                each.replicas.elsewhere += calls

    def _state(self, name: str, state: ModelState) -> None:
        """What the worker has learned about a model, by the model's name in the session."""
        model = self._session.models[name]
        model.adapted.refused.update(state.adapted)
        model.replicas.left_out.update(state.left_out)
        model.refusals.add(state.served, state.refused)
        if state.down is not None:
            error = state.down.error
            if isinstance(error, Fatal) and model.replicas.down is None:
                model.replicas.shut(error)
