"""The seam between a run and whoever examines its images: this process, or workers elsewhere."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from contextlib import AbstractAsyncContextManager

    from unsaf_async.calls.session import Session
    from unsaf_async.inputs.sources import ImageSource
    from unsaf_async.prompts import Pack
    from unsaf_async.records import Examination
    from unsaf_async.runs.folder import Manifest
    from unsaf_async.runs.one_image import Others


class Examines(Protocol):
    """Examines images, as `one_image.ImageExaminer` does."""

    async def examine(self, source: ImageSource, *, suspect: bool = False, others: Others = ...) -> Examination:
        """See `ImageExaminer.examine`.

        Args:
            source: As there.
            suspect: As there.
            others: As there.

        Returns:
            As there.
        """
        ...

    async def complete(self, source: ImageSource, examination: Examination, *, others: Others = ...) -> Examination:
        """See `ImageExaminer.complete`.

        Args:
            source: As there.
            examination: As there.
            others: As there.

        Returns:
            As there.
        """
        ...


class Spread(Protocol):
    """Has a run's images examined by workers."""

    @property
    def workers(self) -> int:
        """How many are asked for, >= 1."""
        ...

    def open(self, session: Session, manifest: Manifest, pack: Pack) -> AbstractAsyncContextManager[Examines]:
        """The workers, while the context lasts.

        Args:
            session: The run's, whose replies, ledger and money the workers share. It makes no calls itself.
            manifest: The run's.
            pack: The prompts.

        Returns:
            What examines images.
        """
        ...
