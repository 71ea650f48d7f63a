"""Images off the event loop, in a few threads. What is known of a picture is not found out again."""

from __future__ import annotations

import asyncio
import hashlib
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

from unsaf_async.errors import CallError
from unsaf_async.inputs.faults import HEIF
from unsaf_async.inputs.known import Known, key_of
from unsaf_async.inputs.opening import read_bytes
from unsaf_async.inputs.pixels import blank, encoded, unchanged_bytes
from unsaf_async.inputs.policy import ImageError, ImagePolicy

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from unsaf_async.inputs.known import KnownPictures
    from unsaf_async.inputs.parts import FilePart
    from unsaf_async.records import EncodedImage


class ImageLoader:
    """`encode` off the event loop, in a few threads. What is known of a picture is not found out again."""

    def __init__(self, policy: ImagePolicy, workers: int = 2, known: KnownPictures | None = None) -> None:
        """A loader whose threads start with their first images.

        Args:
            policy: What the images may be when they are sent.
            workers: Threads, >= 1: so many images are decoded at a time, no more.
            known: What is known of pictures; None: each is decoded.
        """
        self._policy = policy
        self._known = known
        self._threads = ThreadPoolExecutor(max_workers=workers, thread_name_prefix="image")

    async def load(self, path: Path | FilePart) -> tuple[EncodedImage, str]:
        """An image as it is sent. Cancelling frees the caller at once; the thread ends with its image.

        Of one that is known the bytes are made only if `EncodedImage.sendable` is called.

        Args:
            path: The image's file, or the part of one.

        Returns:
            (the image, sha256 of the file's bytes), as `encode` does.

        Raises:
            ImageError: The file is no whole, readable image.
        """
        return await asyncio.get_running_loop().run_in_executor(self._threads, self._load, path)

    def _load(self, path: Path | FilePart) -> tuple[EncodedImage, str]:
        data = read_bytes(path)
        digest = hashlib.sha256(data).hexdigest()
        key = key_of(digest, self._policy) if self._known and not HEIF.match(data) else None
        if self._known is None or key is None:  # of HEIC, its library's version counts, too
            return encoded(data, self._policy).image, digest
        if (known := self._known.get(key)) is None:
            known = encoded(data, self._policy)
            self._known.put(key, known)
            return known.image, digest
        return replace(known.image, make=_Making(self._threads, partial(self._made, path, digest, known))), digest

    def _made(self, path: Path | FilePart, digest: str, known: Known) -> EncodedImage:
        """A known image with its bytes: its file is read again, so that nothing of it is held meanwhile."""
        data = read_bytes(path)
        if hashlib.sha256(data).hexdigest() != digest:
            raise ImageError("the file has changed since it was read")
        if known.unchanged and (sent := unchanged_bytes(data, self._policy)):
            return replace(known.image, data=sent[0])
        made = encoded(data, self._policy).image
        if (made.pixels_sha256, made.media_type) != (known.image.pixels_sha256, known.image.media_type):
            raise ImageError("its pixels are not those that were kept of it; `unsaf-async cache clear` forgets these")
        return made

    async def blank(self, image: EncodedImage) -> EncodedImage:
        """A picture of one colour in an image's place, as `blank` makes it.

        Args:
            image: As `load` gave it.

        Returns:
            The picture.

        Raises:
            CallError: The image's file cannot be read any more.
        """
        sent = await image.sendable()
        return await asyncio.get_running_loop().run_in_executor(self._threads, blank, sent, self._policy)

    def close(self) -> None:
        """Drop what has not begun; what has runs out on its own. Calling it twice is harmless."""
        self._threads.shutdown(wait=False, cancel_futures=True)


class _Making:
    """Makes an image's bytes in a thread, once for all calls about it."""

    def __init__(self, threads: ThreadPoolExecutor, made: Callable[[], EncodedImage]) -> None:
        self._threads = threads
        self._made = made
        self._making: asyncio.Future[EncodedImage] | None = None

    async def __call__(self) -> EncodedImage:
        """The image. Raises CallError if its file cannot be read as before: that call cannot leave."""
        if self._making is None:
            self._making = asyncio.get_running_loop().run_in_executor(self._threads, self._made)
            self._making.add_done_callback(lambda made: made.cancelled() or made.exception())  # nobody may be waiting
        try:
            return await asyncio.shield(self._making)
        except ImageError as error:
            raise CallError(str(error)) from None
