"""The driver's end of a worker's line: what the worker says is done on the run's own books, in the order in which it was said.

It remembers what the worker has under way. When the worker is lost, each attempt that had left and not ended counts at its worst
case; the rest of its money is free again, and its claims are given up.
"""

from __future__ import annotations

import asyncio
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

from unsaf_async.cluster.link import Answer, Failure
from unsaf_async.errors import Fatal, UnsafError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Coroutine, Mapping, Sequence

    from unsaf_async.calls.budget import ImageBudget, Reservation
    from unsaf_async.calls.session import Session
    from unsaf_async.cluster.link import ModelState, Said
    from unsaf_async.events import Event
    from unsaf_async.records import Role, Usage

Claimed = dict[str, "Counterpart"]
"""Which calls workers are making, by their keys: to the store, all workers are one process."""


class Counterpart:
    """What one worker says, done."""

    def __init__(
        self,
        session: Session,
        claimed: Claimed,
        send: Callable[[list[Answer]], None],
        create_task: Callable[[Coroutine[Any, Any, None]], asyncio.Task[None]],
        further: Mapping[str, Callable[..., Awaitable[Any]]],
    ) -> None:
        """The end of a line on which nothing was said.

        Args:
            session: The run's.
            claimed: Of all workers.
            send: Takes answers to the worker.
            create_task: Runs what has to be waited for.
            further: What else a worker may say, and what is done then.
        """
        self._session = session
        self._claimed = claimed
        self._send = send
        self._create_task = create_task
        self._images: dict[int, ImageBudget] = {}
        self._elsewhere: dict[int, list[ExitStack]] = {}
        """For each image, its calls that wait for another image's."""
        self._reservations: dict[int, Reservation] = {}
        self._reserving: dict[int, asyncio.Task[Any]] = {}
        self._open: dict[int, tuple[int, int]] = {}
        """(worst case, the worker's mark) of attempts that left and have not ended, by their numbers."""
        self._asked: set[asyncio.Task[None]] = set()
        self._answers: list[Answer] = []
        self._lost = False
        own = (
            self._look, self._release, self._first, self._put, self._begin_image, self._end_image, self._wait_elsewhere,
            self._wait_no_longer, self._reserve, self._forget, self._settle, self._refund, self._sent, self._not_sent,
            self._settled, self._refunded, self._unknown, self._event, self._state,
        )  # fmt: skip
        self._does: dict[str, Callable[..., Awaitable[Any]]] = {each.__name__[1:]: each for each in own} | dict(further)

    async def hear(self, said: Sequence[Said]) -> None:
        """Do what was said.

        Args:
            said: In order.

        Raises:
            KeyError: It is nothing that a worker may say.
        """
        for number, what, values in said:
            if self._lost:
                return
            if not number:
                await self._does[what](*values)
                continue
            task = self._create_task(self._answer(number, self._does[what](*values)))
            self._asked.add(task)
            task.add_done_callback(self._asked.discard)
            await asyncio.sleep(0)  # it begins before what was said after it is done

    async def lose(self) -> None:
        """The worker is gone, or has ended: whatever it had under way is closed."""
        self._lost = True
        asked = list(self._asked)
        for task in asked:
            task.cancel()
        await asyncio.gather(*asked, return_exceptions=True)
        for key in [key for key, holder in self._claimed.items() if holder is self]:
            await self._release(key)
        for number, (worst, _) in list(self._open.items()):
            await self._unknown(number)
            paid = next((n for n, each in self._reservations.items() if each.amount_nano_usd == worst), None)
            if paid is not None:
                await self._settle(paid, worst)
        for number in list(self._reservations):
            await self._refund(number)
        for number in list(self._images):
            await self._end_image(number)

    async def _answer(self, number: int, doing: Awaitable[Any]) -> None:
        try:
            value = await doing
        except UnsafError as error:
            value = Failure.of(error)
        if not self._answers:
            asyncio.get_running_loop().call_soon(self._send_answers)
        self._answers.append(Answer(number, value))

    def _send_answers(self) -> None:
        answers, self._answers = self._answers, []
        if not self._lost:
            self._send(answers)

    # --- replies ----------------------------------------------------------------------------------------------------

    async def _look(self, key: str, own: str) -> tuple[bool, bytes | None]:
        """See `ReplyStore.look`: a call that another worker makes counts as claimed by another process."""
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

    async def _release(self, key: str) -> None:
        """See `ReplyStore.release`."""
        if self._claimed.get(key) is self:
            del self._claimed[key]
            self._session.store.release(key)

    async def _first(self, *keys: str) -> bytes | None:
        """See `ReplyStore.first`."""
        return await self._session.store.first(*keys)

    async def _put(self, key: str, value: bytes) -> None:
        """See `ReplyStore.put`."""
        await self._session.store.put(key, value)

    # --- money ------------------------------------------------------------------------------------------------------

    async def _begin_image(self, image: int, worst_nano_usd: int) -> None:
        """See `Budget.for_image`."""
        self._images[image] = self._session.budget.for_image(worst_nano_usd)

    async def _end_image(self, image: int) -> None:
        """See `ImageBudget.close`."""
        for waiting in self._elsewhere.pop(image, ()):
            waiting.close()
        self._images.pop(image).close()

    async def _wait_elsewhere(self, image: int) -> None:
        """See `ImageBudget.waiting_elsewhere`."""
        waiting = ExitStack()
        waiting.enter_context(self._images[image].waiting_elsewhere())
        self._elsewhere.setdefault(image, []).append(waiting)

    async def _wait_no_longer(self, image: int) -> None:
        """The end of `wait_elsewhere`."""
        if waiting := self._elsewhere.get(image):
            waiting.pop().close()

    async def _reserve(self, number: int, image: int, amount_nano_usd: int) -> None:
        """See `ImageBudget.reserve`. Where the worker does not wait for the answer, the image has the money."""
        task = asyncio.current_task()
        assert task is not None
        self._reserving[number] = task
        try:
            self._reservations[number] = await self._images[image].reserve(amount_nano_usd)
        finally:
            del self._reserving[number]

    async def _forget(self, number: int) -> None:
        """Nobody waits for that money any more."""
        if number in self._reserving:
            self._reserving[number].cancel()
        elif number in self._reservations:
            await self._refund(number)

    async def _settle(self, number: int, actual_nano_usd: int) -> None:
        """See `Reservation.settle`."""
        self._reservations.pop(number).settle(actual_nano_usd)

    async def _refund(self, number: int) -> None:
        """See `Reservation.refund`."""
        self._reservations.pop(number).refund()

    # --- attempts ---------------------------------------------------------------------------------------------------

    async def _sent(self, mark: int, role: Role, worst_nano_usd: int, again: bool) -> int:
        """See `Ledger.enter`."""
        number = await self._session.ledger.enter(role, worst_nano_usd, again=again)
        self._open[number] = worst_nano_usd, mark
        return number

    async def _not_sent(self, mark: int) -> None:
        """Nobody waits for that entry any more, and nothing left."""
        number = next((number for number, (_, own) in self._open.items() if own == mark), None)
        if number is not None:
            await self._refunded(number, unsent=True)

    async def _settled(self, number: int, cost_nano_usd: int, usage: Usage) -> None:
        """See `Ledger.settled`."""
        del self._open[number]
        self._session.ledger.settled(number, cost_nano_usd, usage)

    async def _refunded(self, number: int, unsent: bool) -> None:
        """See `Ledger.refunded`."""
        del self._open[number]
        self._session.ledger.refunded(number, unsent=unsent)

    async def _unknown(self, number: int) -> None:
        """See `Ledger.unknown`."""
        del self._open[number]
        self._session.ledger.unknown(number)

    # --- what the run gets to know ----------------------------------------------------------------------------------

    async def _event(self, event: Event) -> None:
        """Announce an event."""
        self._session.announce(event)

    async def _state(self, name: str, state: ModelState) -> None:
        """What the worker has learned about a model, by the model's name in the session."""
        model = self._session.models[name]
        model.adapted.refused.update(state.adapted)
        model.replicas.left_out.update(state.left_out)
        model.refusals.add(state.served, state.refused)
        if state.down is not None:
            error = state.down.error
            if isinstance(error, Fatal) and model.replicas.down is None:
                model.replicas.shut(error)
