"""Workers of a pool in this process: all of the cluster but its transport."""

from __future__ import annotations

import asyncio
import pickle
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from driving import Outcome, draw_images

from unsaf_async.cluster.pool import Lost, Pool, setup_of
from unsaf_async.cluster.worker import Worker
from unsaf_async.events import CallSent, Event, silent
from unsaf_async.runs.begin import begin
from unsaf_async.runs.estimate import estimate
from unsaf_async.runs.journal import read_journal
from unsaf_async.runs.prepare import prepare
from unsaf_async.runs.runner import Runner
from unsaf_async.runs.settings import Settings

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable
    from pathlib import Path

    from unsaf_async.simulate.server import Simulator


class InProcess:
    """A worker of this process as the pool has it. What goes to and fro is pickled, as on the way to another process."""

    def __init__(self) -> None:
        self.worker = Worker()
        self._gone: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def __getattr__(self, name: str) -> Callable[..., Any]:
        async def call(*values: Any) -> Any:
            if self._gone.done():
                raise Lost("it was killed")
            values = pickle.loads(pickle.dumps(values))
            made = getattr(self.worker, name)(*values)
            if not asyncio.iscoroutine(made):
                return made
            task = asyncio.ensure_future(made)
            await asyncio.wait([task, self._gone], return_when=asyncio.FIRST_COMPLETED)
            if not task.done():
                task.cancel()
                raise Lost("it was killed")
            return pickle.loads(pickle.dumps(task.result()))

        return call

    def kill(self) -> None:
        """Vanish: what it has under way is cut, and nothing that it says any more is heard."""
        if not self._gone.done():
            self._gone.set_result(None)
            for task in list(self.worker._tasks):
                task.cancel()


@dataclass
class Workers:
    """A run's images are examined by workers of this process."""

    workers: int
    handles: list[InProcess] = field(default_factory=list)
    """All that were started."""
    pool: Pool | None = None

    @asynccontextmanager
    async def open(self, session: Any, manifest: Any, pack: Any) -> AsyncIterator[Pool]:
        """The pool."""

        def start() -> InProcess:
            self.handles.append(InProcess())
            return self.handles[-1]

        setup = setup_of(session, manifest.model_dump_json(), pack)
        try:
            async with Pool(start, self.workers, session, setup, {}) as self.pool:
                yield self.pool
        finally:
            for handle in self.handles:
                handle.kill()
                with suppress(Exception, asyncio.CancelledError):
                    await handle.worker.end()


def at_call(number: int, act: Callable[[], None]) -> Callable[[Event], None]:
    """Listens to a run's events and does something when so many calls have left."""
    left = 0

    def hear(event: Event) -> None:
        nonlocal left
        left += isinstance(event, CallSent)
        if left == number and isinstance(event, CallSent):
            act()

    return hear


async def drive(
    simulator: Simulator,
    folder: Path,
    workers: Workers | None,
    *,
    images: int = 6,
    announce: Callable[[Event], None] = silent,
    profile: dict[str, Any] | None = None,
    **options: Any,
) -> Outcome:
    """A run by workers; None: in one process."""
    price = ",".join(map(str, simulator.simulation.price))
    given = {"questions": 2, "out": folder / "run", "cache": folder / "cache", "price": price, "rpm": 1e6, "tpm": 1e9}
    settings = Settings(
        "vllm", images=draw_images(folder / "images", images), api_base=simulator.openai_base, **{**given, **options}
    )
    prepared = await prepare(settings)
    changed = {"retry_wait_s": 0.01, "limits": prepared.subject.limits.model_copy(update={"concurrency": 8})}
    prepared = replace(prepared, subject=prepared.subject.model_copy(update={**changed, **(profile or {})}))
    with begin(prepared) as run_folder:
        runner = Runner(run_folder, announce, spread=workers)
        score = await runner.run()
        kept = list(read_journal(run_folder.files.journal).values())
    return Outcome(score, runner, simulator.ledger, kept, estimate(prepared).per_image_worst_usd)
