"""What a session of a run has to do: found out from the examinations that are there, each of which is read once."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from unsaf_async.events import Announce, ImageKept
from unsaf_async.examine.examiner import is_unfinished
from unsaf_async.runs.result import RunTally
from unsaf_async.runs.stopping import StopWhenNarrow, rule_of

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from unsaf_async.inputs.sources import ImageSource
    from unsaf_async.records import Examination
    from unsaf_async.runs.folder import Manifest
    from unsaf_async.runs.journal import Kept
    from unsaf_async.score.label_errors import TrustedLabel


@dataclass(frozen=True)
class Work:
    """What a session has to do.

    done: images that are examined. failed_before: images that failed in an earlier session. tally: of all images, if none of
    them has anything left to ask.
    """

    done: set[str]
    to_complete: list[ImageSource]
    pending: list[ImageSource]
    failed_before: set[str]
    rule: StopWhenNarrow | None
    tally: RunTally | None

    @property
    def enough(self) -> bool:
        """Whether the interval is as narrow as was asked."""
        return self.rule is not None and self.rule.satisfied

    @property
    def is_done(self) -> bool:
        """Whether nothing has to be asked."""
        return not self.to_complete and (not self.pending or self.enough)


class Survey:
    """Looks at a run's examinations, in the order of the images' ids, and says what is left to do."""

    def __init__(
        self, manifest: Manifest, kept: Kept, announce: Announce, labels: Mapping[str, TrustedLabel] | None = None
    ) -> None:
        """A survey that has seen nothing.

        Args:
            manifest: The run's.
            kept: What the run's journal holds.
            announce: Receives the images that are whole.
            labels: The run's trusted labels, by the questions' keys.
        """
        self._kept, self._announce, self._extras = kept, announce, manifest.extras
        self._done: set[str] = set()
        self._incomplete: set[str] = set()
        self._rule = rule_of(manifest.until_ci, anytime=manifest.anytime)
        self._tally = RunTally(manifest, labels) if len(kept) == manifest.images else None

    def add(self, examination: Examination) -> None:
        """Look at one image.

        Args:
            examination: Of the image; each image once.
        """
        if is_unfinished(examination):
            self._tally = None
            return
        name = examination.image.id
        self._done.add(name)
        if self._rule:
            self._rule.add(examination)
        if self._extras.lacks(examination):
            self._incomplete.add(name)
            self._tally = None
        else:
            self._announce(ImageKept(examination))
        if self._tally:
            self._tally.add(examination)

    def work(self, images: Sequence[ImageSource]) -> Work:
        """What is left to do.

        Args:
            images: The run's, in their order.

        Returns:
            The work, in that order.
        """
        return Work(
            done=self._done,
            to_complete=[source for source in images if source.id in self._incomplete],
            pending=[source for source in images if source.id not in self._done],
            failed_before=set(self._kept) - self._done,
            rule=self._rule,
            tally=self._tally,
        )
