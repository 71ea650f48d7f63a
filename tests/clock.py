"""An event loop whose time is set, not slept: where nothing is left to do but wait for a timer, the timer is due at once."""

from __future__ import annotations

import asyncio
import selectors
from functools import wraps
from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

P = ParamSpec("P")
T = TypeVar("T")

STEP_S = 1e-6
"""A turn of the loop takes at least this long, so that who waits for less than a float can show does not wait for ever."""

PATIENCE_S = 5.0
"""Real seconds that a loop without timers waits for other threads."""


class ClockLoop(asyncio.SelectorEventLoop):
    """A loop that starts at second 1000 and jumps from timer to timer. Raises RuntimeError where everybody waits for ever."""

    def __init__(self) -> None:
        self.now_s = 1000.0
        super().__init__(_Jumping(self))

    def time(self) -> float:
        """Seconds, as set."""
        return self.now_s


class _Jumping(selectors.DefaultSelector):
    def __init__(self, loop: ClockLoop) -> None:
        super().__init__()
        self._loop = loop

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        self._loop.now_s += STEP_S
        ready = super().select(0)
        if ready or (timeout is not None and timeout <= 0):
            return ready
        if timeout is None:
            ready = super().select(PATIENCE_S)
            if not ready:
                raise RuntimeError("a deadlock: everybody waits, and no timer is set")
            return ready
        self._loop.now_s += timeout
        return []


def run(main: Coroutine[Any, Any, T]) -> T:
    """What `main` returns, run on a `ClockLoop`."""
    with asyncio.Runner(loop_factory=ClockLoop) as runner:
        return runner.run(main)


def clocked(test: Callable[P, Coroutine[Any, Any, T]]) -> Callable[P, T]:
    """An async test as one that runs on a `ClockLoop`: hours of waiting take milliseconds."""

    @wraps(test)
    def on_a_set_clock(*args: P.args, **kwargs: P.kwargs) -> T:
        return run(test(*args, **kwargs))

    return on_a_set_clock


def now_s() -> float:
    """The running loop's time, in seconds."""
    return asyncio.get_running_loop().time()
