"""Many images: so many under way at once, each ended one begins the next. No queue, and never more begun than are wanted."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, TypeVar

from unsaf_async.errors import RunStopped

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable

T = TypeVar("T")
R = TypeVar("R")


async def run(
    images: Iterable[T],
    examine_one: Callable[[T], Awaitable[R]],
    keep: Callable[[R], None],
    *,
    width: int,
    wanted: Callable[[], int] | None = None,
    enough: Callable[[], bool] = lambda: False,
) -> None:
    """Examine images, so many at a time, and hand over each examination as it comes.

    Args:
        images: What to examine, in this order.
        examine_one: Examines one of them.
        keep: Receives each examination.
        width: How many are under way at most, >= 1.
        wanted: Asked at the beginning and after each image: how many are to be under way now, if the width allows; at least
            one as long as `enough` is false. None: as many as the width allows.
        enough: Asked before each image; True ends the run well.

    Raises:
        RunStopped: An examination did. No image is begun after that; those under way are finished first.
    """
    remaining = iter(images)
    stopped: RunStopped | None = None
    under_way = 0

    def begin() -> None:
        nonlocal under_way
        most = width if wanted is None else min(width, max(1, wanted()))
        while under_way < most and stopped is None and not enough():
            try:
                image = next(remaining)
            except StopIteration:
                return
            under_way += 1
            group.create_task(work(image))

    async def work(image: T) -> None:
        nonlocal stopped, under_way
        try:
            keep(await examine_one(image))
        except* RunStopped as stop:  # bare, or once for each of the image's calls that met it
            stopped = stopped or first_stop(stop)
        under_way -= 1
        begin()

    async with asyncio.TaskGroup() as group:
        begin()
    if stopped is not None:
        raise stopped


def first_stop(group: BaseExceptionGroup[RunStopped]) -> RunStopped:
    """The first of the errors that end a run, where several of an image's calls met one.

    Args:
        group: The errors, in groups at any depth.

    Returns:
        The first.
    """
    error: BaseException = group
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    assert isinstance(error, RunStopped)
    return error
