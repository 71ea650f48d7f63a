"""Workers as Ray actors: the transport of `pool`, and a Ray of this machine's own where none is named.

Ray is told nothing of the run but what its actors are called with. Keys come in a call of their own to a running actor: such an
argument goes straight from this process to the actor's, and lies in no store, no log and no table of Ray's.

What travels all the time is packed into bytes here: Ray takes five times as long for the objects themselves.
"""

from __future__ import annotations

import logging
import os
import pickle
import signal
import socket
from contextlib import asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from unsaf_async.cluster.pool import Lost, Pool, setup_of
from unsaf_async.cluster.worker import Worker
from unsaf_async.errors import UserError
from unsaf_async.providers.keys import secret_variables
from unsaf_async.text import one_line

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator, Mapping, Sequence

    from unsaf_async.calls.session import Session
    from unsaf_async.cluster.link import Failure, Said
    from unsaf_async.cluster.worker import Item, Setup
    from unsaf_async.prompts import Pack
    from unsaf_async.runs.folder import Manifest

LOCAL = "local"
"""In place of an address: Ray is started on this machine, and ends with the run."""

MOST_CALLS = 10_000
"""Calls of an actor's methods at once: each of them only waits."""

CONNECT_S = 10.0
"""So long a cluster's address is tried."""

STORE_BYTES = 80 * 2**20
"""Of Ray's object store on this machine. Little passes through it: pictures that a worker cannot read itself."""


@dataclass(frozen=True)
class RayWorkers:
    """A run's images are examined by Ray actors.

    Attributes:
        address: Of a cluster, `host:port` or "auto"; `LOCAL` for one of this machine's own.
        asked_for: Workers, >= 1.
    """

    address: str
    asked_for: int

    @property
    def workers(self) -> int:
        """See `Spread.workers`."""
        return self.asked_for

    @asynccontextmanager
    async def open(self, session: Session, manifest: Manifest, pack: Pack) -> AsyncIterator[Pool]:
        """See `Spread.open`.

        Args:
            session: As there.
            manifest: As there.
            pack: As there.

        Yields:
            The workers.

        Raises:
            UserError: There is no cluster at the address, or no worker can begin.
        """
        profiles = [model.profile for model in session.models.values()]
        # Each worker has at least one call in flight: more of them than slots would be more than the limit.
        workers = min(self.asked_for, *(profile.total_limits.concurrency for profile in profiles))
        with connected(self.address, workers) as ray:
            actor = ray.remote(num_cpus=1, max_restarts=0, max_task_retries=0, max_concurrency=MOST_CALLS)(_RayWorker)
            setup = setup_of(session, manifest.model_dump_json(), pack)
            secrets = secret_variables(profiles)
            async with Pool(lambda: _RayHandle(ray, actor.remote()), workers, session, setup, secrets) as pool:
                yield pool


@contextmanager
def connected(address: str, workers: int) -> Iterator[Any]:
    """Ray, connected while the context lasts.

    Args:
        address: As `RayWorkers` has it.
        workers: How many there will be.

    Yields:
        The module.

    Raises:
        UserError: There is no cluster at the address.
    """
    _check_reachable(address)
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"  # before the import; the processes that Ray starts read it, too
    os.environ["RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO"] = "0"  # else it warns of a change to come
    import ray

    quiet = {"log_to_driver": False, "logging_level": logging.ERROR}
    with _same_signals():
        try:
            if address == LOCAL:
                ray.init(
                    address=LOCAL,
                    num_cpus=workers,
                    include_dashboard=False,
                    object_store_memory=STORE_BYTES,
                    _node_ip_address="127.0.0.1",  # nobody else's: Ray asks no one who they are
                    **quiet,
                )
            else:
                ray.init(address=address, **quiet)
        except (ConnectionError, RuntimeError, ValueError, OSError) as error:
            asked = "is it a Ray cluster's, and is RAY_AUTH_TOKEN its token?"
            raise UserError(f"is {address}: {one_line(str(error), 300)}; {asked}", field="ray") from None
    try:
        yield ray
    finally:
        ray.shutdown()


def _check_reachable(address: str) -> None:
    """Raises UserError for a cluster at which nothing listens: Ray would try for many minutes, and say so on stderr."""
    if address in (LOCAL, "auto"):
        return
    host, _, port = address.rpartition(":")
    try:
        socket.create_connection((host.strip("[]"), int(port)), timeout=CONNECT_S).close()
    except (OSError, ValueError) as error:
        why = f"{address}: cannot be reached ({one_line(str(error), 200)})"
        raise UserError(f'is {why}; give the host:port of a Ray cluster, "auto", or "{LOCAL}"', field="ray") from None


@contextmanager
def _same_signals() -> Iterator[None]:
    """Ray takes SIGTERM for itself; whoever had it before has it after."""
    before = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield
    finally:
        for number, handler in before.items():
            if handler is not None:
                with suppress(ValueError):  # not in the main thread, where Ray takes none either
                    signal.signal(number, handler)


class _RayWorker:
    """A `Worker` in a Ray actor. Its methods are coroutines, so that all of them run on the actor's event loop."""

    def __init__(self) -> None:
        self._worker = Worker()

    async def begin(self, setup: Setup, secrets: Mapping[str, str]) -> Failure | None:
        """See `Worker.begin`."""
        return await self._worker.begin(setup, secrets)

    async def hear(self, items: bytes) -> None:
        """See `Worker.hear`."""
        self._worker.hear(pickle.loads(items))

    async def exchange(self, items: bytes) -> bytes:
        """See `Worker.exchange`."""
        return pickle.dumps(await self._worker.exchange(pickle.loads(items)))

    async def take_part(self, index: int, count: int) -> None:
        """See `Worker.take_part`."""
        self._worker.take_part(index, count)

    async def stop(self, reason: Failure) -> None:
        """See `Worker.stop`."""
        self._worker.stop(reason)

    async def end(self) -> None:
        """See `Worker.end`."""
        await self._worker.end()


class _RayHandle:
    """A Ray actor as the pool has it: see `pool.Handle`."""

    def __init__(self, ray: Any, actor: Any) -> None:
        """A handle.

        Args:
            ray: The module.
            actor: The actor's.
        """
        self._ray = ray
        self._actor = actor

    async def begin(self, setup: Setup, secrets: Mapping[str, str]) -> Failure | None:
        """See `Worker.begin`."""
        failure: Failure | None = await self._call("begin", setup, secrets)
        return failure

    async def hear(self, items: Sequence[Item]) -> None:
        """See `Worker.hear`."""
        await self._call("hear", pickle.dumps(items))

    async def exchange(self, items: Sequence[Item]) -> list[Said]:
        """See `Worker.exchange`."""
        said: list[Said] = pickle.loads(await self._call("exchange", pickle.dumps(items)))
        return said

    async def take_part(self, index: int, count: int) -> None:
        """See `Worker.take_part`."""
        await self._call("take_part", index, count)

    async def stop(self, reason: Failure) -> None:
        """See `Worker.stop`."""
        await self._call("stop", reason)

    async def end(self) -> None:
        """See `Worker.end`."""
        await self._call("end")

    def kill(self) -> None:
        """End the actor at once."""
        with suppress(self._ray.exceptions.RayError, ValueError):
            self._ray.kill(self._actor)

    async def _call(self, method: str, *values: Any) -> Any:
        try:
            return await getattr(self._actor, method).remote(*values)
        except self._ray.exceptions.RayTaskError:  # the method itself raised: a bug of ours
            raise
        except self._ray.exceptions.RayError as error:  # the actor, its memory, its machine or its Ray is gone
            raise Lost(one_line(str(error).partition("\n")[0], 200)) from None
