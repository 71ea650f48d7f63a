"""Many images: so many workers share one iterator. No queue, and never more images begun than there are workers."""

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
    enough: Callable[[], bool] = lambda: False,
) -> None:
    """Examine images, so many at a time, and hand over each examination as it comes.

    Args:
        images: What to examine, in this order.
        examine_one: Examines one of them.
        keep: Receives each examination.
        width: How many are under way at most, >= 1.
        enough: Asked before each image; True ends the run well.

    Raises:
        RunStopped: An examination did. No image is begun after that; those under way are finished first.
    """
    remaining = iter(images)
    stopped: RunStopped | None = None

    async def work() -> None:
        nonlocal stopped
        for image in remaining:
            if stopped is not None or enough():
                return
            try:
                keep(await examine_one(image))
            except* RunStopped as group:  # bare, or once for each of the image's calls that met it
                stopped = stopped or first_stop(group)

    async with asyncio.TaskGroup() as workers:
        for _ in range(width):
            workers.create_task(work())
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
