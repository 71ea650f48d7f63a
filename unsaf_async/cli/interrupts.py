"""Signals that end a command which serves until it is interrupted."""

from __future__ import annotations

import signal
from collections.abc import Iterable

INTERRUPTS = (signal.SIGINT, signal.SIGTERM)


def cancel_on(signals: Iterable[signal.Signals] = INTERRUPTS) -> None:
    """Cancels the current task when a signal comes. On Windows it does nothing: KeyboardInterrupt ends the task there.

    Args:
        signals: The signals that cancel it.
    """
    import asyncio

    task = asyncio.current_task()
    assert task is not None
    for number in signals:
        try:
            asyncio.get_running_loop().add_signal_handler(number, task.cancel)
        except NotImplementedError:
            return
