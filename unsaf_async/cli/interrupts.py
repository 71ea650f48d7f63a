"""Signals that end a command: Ctrl-C, `kill`, a terminal that is closed."""

from __future__ import annotations

import signal
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


def interrupts() -> tuple[signal.Signals, ...]:
    """The signals that end a command.

    Returns:
        SIGINT, SIGTERM and SIGHUP, as far as the system has them and nobody wants them ignored, as `nohup` does.
    """
    known = (getattr(signal, name, None) for name in ("SIGINT", "SIGTERM", "SIGHUP"))
    return tuple(each for each in known if each is not None and signal.getsignal(each) is not signal.SIG_IGN)


@contextmanager
def as_keyboard_interrupt() -> Iterator[None]:
    """While it lasts, a signal that ends a command raises KeyboardInterrupt, as Ctrl-C does: for what no event loop runs."""
    before = {number: signal.signal(number, signal.default_int_handler) for number in interrupts()}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def on_interrupt(act: Callable[[], object]) -> None:
    """Calls a function at each signal that ends a command. On Windows it does nothing: KeyboardInterrupt ends the task there.

    Args:
        act: Called on the loop's thread.
    """
    import asyncio

    for number in interrupts():
        try:
            asyncio.get_running_loop().add_signal_handler(number, act)
        except NotImplementedError:
            return


def cancel_on() -> None:
    """Cancels the current task when a signal comes that ends a command."""
    import asyncio

    task = asyncio.current_task()
    assert task is not None
    on_interrupt(task.cancel)
