"""The workers of a run, as the driver has them: each image goes to one, and to another where one is lost.

It knows no transport. Limits are shared by those that have images. A worker that is lost is replaced.
"""

from __future__ import annotations

import asyncio
from contextlib import suppress
from dataclasses import dataclass, field, replace
from functools import partial
from typing import TYPE_CHECKING, Any, Protocol

from unsaf_async.cluster.counterpart import Claimed, Counterpart
from unsaf_async.cluster.link import GATHER_S, Failure, Pause
from unsaf_async.cluster.worker import Outcome, Setup, Task, own_version, state_of
from unsaf_async.errors import Fatal, RunStopped, UnsafError
from unsaf_async.events import Event, Notice, Paused
from unsaf_async.inputs.parts import FilePart, PartError
from unsaf_async.inputs.policy import MAX_FILE_BYTES
from unsaf_async.records import Examination
from unsaf_async.runs.one_image import NO_OTHERS, Others, Skipped, record_of

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Coroutine, Mapping, Sequence
    from types import TracebackType
    from typing import Self

    from unsaf_async.calls.session import Session
    from unsaf_async.cluster.link import Said
    from unsaf_async.cluster.worker import Item
    from unsaf_async.inputs.sources import ImageSource

MOST_LOST = 10
"""An image that so many workers were lost with is not given to another one: it may be what ends them."""

MOST_EARLY = 5
"""So many workers that end before they have begun, one after the other, show that none will."""

START_S = 300.0
"""So long the first worker is waited for."""

END_S = 30.0
"""So long a worker may take to end."""

ANSWERED_S = 0.01
"""So long a worker's questions are worked at before it is listened to again: mostly all answers go back in one piece."""

IDLE_S = 1.0
"""A worker without images for so long gives its part of the limits to the others."""


class Lost(Exception):
    """A worker is gone. The text says how, in one line."""


class Handle(Protocol):
    """A worker from afar: `Worker`'s methods, each of which may raise `Lost`."""

    async def begin(self, setup: Setup, secrets: Mapping[str, str]) -> Failure | None:
        """See `Worker.begin`.

        Args:
            setup: As there.
            secrets: As there.

        Returns:
            As there.
        """
        ...

    async def hear(self, items: Sequence[Item]) -> None:
        """See `Worker.hear`.

        Args:
            items: As there.
        """
        ...

    async def exchange(self, items: Sequence[Item]) -> list[Said]:
        """See `Worker.exchange`.

        Args:
            items: As there.

        Returns:
            As there.
        """
        ...

    async def take_part(self, index: int, count: int) -> None:
        """See `Worker.take_part`.

        Args:
            index: As there.
            count: As there.
        """
        ...

    async def stop(self, reason: Failure) -> None:
        """See `Worker.stop`.

        Args:
            reason: As there.
        """
        ...

    async def end(self) -> None:
        """See `Worker.end`."""
        ...

    def kill(self) -> None:
        """End it at once. A worker that is lost is killed, too: it may be out of reach only."""
        ...


class _Line:
    """The driver's end of the way to one worker. What it says goes with the next exchange, or alone where that takes long."""

    def __init__(self, handle: Handle, spawn: Callable[[Coroutine[Any, Any, None]], None]) -> None:
        self._handle = handle
        self._spawn = spawn
        self._items: list[Item] = []
        self._listens = False
        self._timer: asyncio.TimerHandle | None = None

    def post(self, item: Item) -> None:
        """Say something."""
        self._items.append(item)
        if self._listens and self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(GATHER_S, self._flush)

    async def said(self) -> list[Said]:
        """What the worker says next; [] once it has ended. Raises Lost."""
        self._listens = True
        try:
            return await self._handle.exchange(self._taken())
        finally:
            self._listens = False
            if self._timer is not None:
                self._timer.cancel()
                self._timer = None

    def _flush(self) -> None:
        self._timer = None
        if self._items:
            self._spawn(self._handle.hear(self._taken()))

    def _taken(self) -> list[Item]:
        items, self._items = self._items, []
        return items


@dataclass(eq=False)
class _Place:
    """A worker's place, which another takes when it is lost."""

    number: int
    handle: Handle | None = None
    """None while no worker is ready there."""
    line: _Line | None = None
    counterpart: Counterpart | None = None
    outcomes: dict[int, asyncio.Future[Outcome]] = field(default_factory=dict)
    part: tuple[int, int] | None = None
    """(index, count) of its part of the limits; None: it has none."""


class Pool:
    """Examines images by workers. Use as an async context manager: it returns once the first worker is ready."""

    def __init__(
        self,
        start: Callable[[], Handle],
        workers: int,
        session: Session,
        setup: Callable[[], Setup],
        secrets: Mapping[str, str],
    ) -> None:
        """Workers that have not begun.

        Args:
            start: Starts one.
            workers: How many, >= 1.
            session: The run's.
            setup: What a worker has to know that begins now.
            secrets: See `Worker.begin`.
        """
        self._start = start
        self._session = session
        self._setup = setup
        self._secrets = secrets
        self._places = [_Place(number) for number in range(workers)]
        self._claimed: Claimed = {}
        self._sources: dict[int, tuple[ImageSource, ...]] = {}
        """Of images under way, with those that may be shown in their place, by their tasks' numbers."""
        self._last = 0
        self._ready = asyncio.Event()
        self._sharing = asyncio.Lock()
        self._ending = False
        self._stopped: Fatal | None = None
        self._failure: UnsafError | None = None
        """Why no worker can begin."""
        self._group = asyncio.TaskGroup()
        self._lives: list[asyncio.Task[None]] = []

    async def __aenter__(self) -> Self:
        self._session.on_stop(self._stop)
        await self._group.__aenter__()
        try:
            self._lives = [self._group.create_task(self._live(place)) for place in self._places]
            try:
                async with asyncio.timeout(START_S):
                    await self._ready.wait()
            except TimeoutError:
                raise RunStopped(f"no worker has started within {START_S:.0f} s; has the cluster free CPUs?") from None
            if self._failure is not None:
                raise self._failure
        except BaseException as error:
            await self.__aexit__(type(error), error, None)
            raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._ending = True
        if kind is None:
            ready = [life for life, place in zip(self._lives, self._places, strict=True) if place.handle]
            with suppress(TimeoutError):
                async with asyncio.timeout(END_S):
                    await asyncio.gather(*(self._end(place) for place in self._places))
                    await asyncio.gather(*ready)
        for life in self._lives:
            life.cancel()
        # The body's own error passes as it is: handed to the group, it would come out wrapped in an ExceptionGroup.
        if kind is None or not issubclass(kind, asyncio.CancelledError):
            kind, error, trace = None, None, None
        await self._group.__aexit__(kind, error, trace)

    async def examine(self, source: ImageSource, *, suspect: bool = False, others: Others = NO_OTHERS) -> Examination:
        """See `ImageExaminer.examine`.

        Args:
            source: As there.
            suspect: As there.
            others: As there.

        Returns:
            As there.
        """
        outcome = await self._outcome(source, others, suspect=suspect, examination=None)
        if outcome is None:
            return Examination(image=record_of(source), failure=f"{MOST_LOST} workers were lost while they examined it")
        return outcome

    async def complete(
        self, source: ImageSource, examination: Examination, *, others: Others = NO_OTHERS
    ) -> Examination:
        """See `ImageExaminer.complete`.

        Args:
            source: As there.
            examination: As there.
            others: As there.

        Returns:
            As there.

        Raises:
            Skipped: As there.
        """
        known = examination.model_dump_json().encode()
        outcome = await self._outcome(source, others, suspect=False, examination=known)
        if outcome is None:
            raise Skipped(f"{MOST_LOST} workers were lost while they examined it")
        return outcome

    # ----------------------------------------------------------------------------------------------------------------

    async def _outcome(
        self, source: ImageSource, others: Others, *, suspect: bool, examination: bytes | None
    ) -> Examination | None:
        """What a worker makes of an image; None where too many were lost with it."""
        first, *rest = [(each, await asyncio.to_thread(state_of, each.path)) for each in (source, *others.sources)]
        task = Task(0, source, suspect, first[1], examination, tuple(rest))
        for _ in range(MOST_LOST):
            try:
                outcome = await self._by_worker(task)
            except Lost:
                if self._stopped:
                    raise RunStopped(str(self._stopped)) from None
                continue
            if outcome.crashed is not None:
                raise RuntimeError(f"a worker stumbled over {source.id}:\n{outcome.crashed}")
            if outcome.stopped is not None:
                raise outcome.stopped.error
            if outcome.skipped is not None:
                raise Skipped(outcome.skipped)
            assert outcome.examination is not None
            return Examination.model_validate_json(outcome.examination)
        return None

    async def _by_worker(self, task: Task) -> Outcome:
        place = await self._free_place()
        handle = place.handle
        assert handle is not None
        self._last += 1
        task = replace(task, number=self._last)
        future = place.outcomes[task.number] = asyncio.get_running_loop().create_future()
        self._sources[task.number] = (task.source, *(each for each, _ in task.others))
        try:
            if place.part is None:
                await self._share()
            if place.handle is not handle or place.line is None:
                raise Lost
            place.line.post(task)
            outcome: Outcome = await future
            return outcome
        finally:
            del self._sources[task.number]
            place.outcomes.pop(task.number, None)
            if not place.outcomes:
                asyncio.get_running_loop().call_later(IDLE_S, self._look_if_idle, place)

    async def _free_place(self) -> _Place:
        """The worker with the fewest images. Raises RunStopped where there is none and none will come."""
        while True:
            ready = [each for each in self._places if each.handle]
            if ready:
                return min(ready, key=lambda each: len(each.outcomes))
            if (why := self._failure or self._stopped) is not None:
                raise RunStopped(why.args[0])
            self._ready.clear()
            await self._ready.wait()

    async def _live(self, place: _Place) -> None:
        """A place's workers, one after the other."""
        early = 0
        while not self._ending and self._stopped is None:
            handle = self._start()
            try:
                failure = await handle.begin(self._setup(), self._secrets)
                if failure is not None:
                    self._failure = failure.error
                    self._ready.set()
                    return
                early = 0
                await self._serve(place, handle)
                return
            except Lost as lost:
                early += place.handle is None
                if early == MOST_EARLY:
                    self._failure = RunStopped(f"workers end before they have begun: {lost}")
                    self._ready.set()
                    return
                if not self._ending:
                    many = len(place.outcomes)
                    self._session.announce(Notice(f"a worker was lost ({lost}); {many} images go to others"))
            finally:
                handle.kill()
                await self._clear(place)

    async def _serve(self, place: _Place, handle: Handle) -> None:
        """Do what a worker says until it has ended. Raises Lost."""

        def outcome(number: int, value: Outcome) -> None:
            if (future := place.outcomes.get(number)) is not None and not future.done():
                future.set_result(value)

        further: dict[str, Callable[..., Awaitable[Any] | None]] = {
            "outcome": outcome,
            "bytes_of": self._bytes_of,
            "event": partial(self._event, place),
        }
        line = place.line = _Line(handle, self._spawn)
        counterpart = place.counterpart = Counterpart(
            self._session, self._claimed, line.post, self._group.create_task, further
        )
        place.handle = handle
        self._ready.set()
        while said := await line.said():
            await counterpart.hear(said)
            await counterpart.answered(ANSWERED_S)

    def _event(self, place: _Place, event: Event) -> None:
        """Announce an event of a worker's. Where an endpoint asks it to wait, the others wait, too."""
        self._session.announce(event)
        if isinstance(event, Paused) and event.asked:
            for other in self._places:
                if other is not place and other.line is not None:
                    other.line.post(Pause(event.provider, event.seconds))

    async def _clear(self, place: _Place) -> None:
        """A worker is gone: what it had under way is closed, and its images are free."""
        place.handle, place.line, place.part = None, None, None
        counterpart, place.counterpart = place.counterpart, None
        if counterpart is not None:
            await counterpart.lose()
        for future in place.outcomes.values():
            if not future.done():
                future.set_exception(Lost())
                future.exception()  # whoever gave the image may be gone
        place.outcomes.clear()
        if not self._ending:
            self._spawn(self._share())

    async def _share(self) -> None:
        """Share the limits among the workers that have images. Parts shrink before others grow."""
        async with self._sharing:
            busy = [each for each in self._places if each.handle and each.outcomes]
            parts = {each: (index, len(busy)) for index, each in enumerate(busy)}
            for each in self._places:
                if each not in parts:
                    each.part = None
            smaller = [each for each in busy if each.part is not None and each.part[1] < len(busy)]
            for some in (smaller, [each for each in busy if each not in smaller]):
                await asyncio.gather(*(self._give_part(each, parts[each]) for each in some))

    async def _give_part(self, place: _Place, part: tuple[int, int]) -> None:
        if place.handle is not None and place.part != part:
            with suppress(Lost):
                await place.handle.take_part(*part)
                place.part = part

    def _look_if_idle(self, place: _Place) -> None:
        if not place.outcomes and place.part is not None and not self._ending:
            self._spawn(self._share())

    async def _bytes_of(self, number: int, place: int) -> bytes | None:
        """The bytes of an image under way, or of one that may be shown in its place; None where they cannot be read."""
        sources = self._sources.get(number)
        return None if sources is None else await asyncio.to_thread(_bytes, sources[place])

    def _stop(self, reason: Fatal) -> None:
        self._stopped = self._stopped or reason
        self._ready.set()
        for place in self._places:
            if place.handle is not None:
                self._spawn(place.handle.stop(Failure.of(reason)))

    async def _end(self, place: _Place) -> None:
        if place.handle is not None:
            with suppress(Lost):
                await place.handle.end()

    def _spawn(self, doing: Coroutine[Any, Any, None]) -> None:
        """Do something to a worker without waiting for it. That one is lost shows where its line is read."""

        async def done() -> None:
            with suppress(Lost):
                await doing

        self._group.create_task(done())


def setup_of(session: Session, manifest: str, pack: Any) -> Callable[[], Setup]:
    """What workers have to know that begin at some time in a run.

    Args:
        session: The run's.
        manifest: As `Setup` has it.
        pack: The prompts.

    Returns:
        Makes the `Setup` of that time.
    """
    return partial(_setup, session, manifest, pack)


def _setup(session: Session, manifest: str, pack: Any) -> Setup:
    adapted = {name: dict(model.adapted.refused) for name, model in session.models.items()}
    return Setup(manifest, pack, adapted, tuple(session.ledger.account.served), own_version())


def _bytes(source: ImageSource) -> bytes | None:
    try:
        place = source.place
        if isinstance(place, FilePart):
            return place.read(MAX_FILE_BYTES)
        with place.open("rb") as file:
            return file.read(MAX_FILE_BYTES + 1)
    except (OSError, PartError):
        return None
