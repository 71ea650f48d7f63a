"""The figure that a run is about, while its images come in: UnF1, or of a labelled set its own."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from unsaf_async.records import Label
from unsaf_async.score.labelled import RunningAccuracy
from unsaf_async.score.run_score import why_open
from unsaf_async.score.tallies import Place, Running, counts_of
from unsaf_async.score.unf1 import unf1_bounds

if TYPE_CHECKING:
    from unsaf_async.records import Examination
    from unsaf_async.runs.folder import Source


class SoFar:
    """The figure of the images so far."""

    def __init__(self, source: Source | None) -> None:
        """The figure of no image.

        Args:
            source: Of the run's questions; None: the model writes them.
        """
        self._running = Running()
        self._accuracy = RunningAccuracy() if source is not None and source.yes_no else None
        of_a_set = source is not None and source.kind == "labelled"
        self.title = "accuracy" if self._accuracy else "abstention F1" if of_a_set else "UnF1"
        """What it is called."""

    def add(self, examination: Examination) -> None:
        """Count one image.

        Args:
            examination: Of an image that was not counted before.
        """
        (self._accuracy or self._running).add(examination)

    @property
    def value(self) -> float | None:
        """The figure, in [0, 1]; None while it is undefined."""
        return self._accuracy.accuracy if self._accuracy else self._running.unf1

    @property
    def between(self) -> tuple[float, float] | None:
        """The bounds of the figure, where so much is unscored that they are its headline; None where the figure is."""
        asked = Counter[Place]() if self._accuracy else self._running.asked
        unscored, by_label = Counter[str](), Counter[Label]()
        for place, number in asked.items():
            if place.cell is None:
                unscored[place.unscored] += number
                by_label[place.intended] += number
        bounds = unf1_bounds(counts_of(asked), unanswerable=by_label["unanswerable"], answerable=by_label["answerable"])
        return bounds if why_open(unscored, asked.total(), bounds) else None

    @property
    def interval(self) -> tuple[float, float] | None:
        """A quick 95 % interval, as `Running` has it; None for an accuracy."""
        return self._running.interval
