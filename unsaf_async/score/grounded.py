"""Grounded mode: are the answers to answerable questions borne out by the image? Pure arithmetic over examinations.

UnF1 asks whether a model answers or declines, never whether it is right. Here a judge that sees the image says so of each answer
to a question that was meant to be answerable. The figure stands for itself and is never mixed into UnF1.
"""

from __future__ import annotations

from array import array
from collections import Counter
from typing import TYPE_CHECKING, Literal

import numpy as np
from pydantic import Field

from unsaf_async.records import Examination, Record
from unsaf_async.score.intervals import Interval, ratio_interval
from unsaf_async.score.ratios import ratio
from unsaf_async.score.unf1 import cell, latest
from unsaf_async.score.units import Units

if TYPE_CHECKING:
    from collections.abc import Iterable


class Grounded(Record):
    """What grounded judges say."""

    judged: int
    """Answers to answerable questions (TA) on which a judge gave a verdict."""
    failed: int
    """Those on which it failed or gave no verdict."""
    not_asked: int
    """Those that no judge has looked at."""
    supported: int
    """Those that the image bears out."""
    accuracy: float | None
    """supported / judged."""
    accuracy_ci: tuple[float, float] | None
    """95 % interval with images as the unit."""
    unf1: float | None
    """2 TU / (2 TU + FU + FA + UA), where UA are the unsupported answers to answerable questions: UnF1 if these are errors."""
    unf1_ci: tuple[float, float] | None
    """95 % interval with images as the unit."""
    why_undefined: str = ""
    """Why the figures that are None are."""
    why_no_interval: dict[Literal["accuracy", "unf1"], str] = Field(default_factory=dict)
    """Why a figure that is defined has no interval."""


def grounded(examinations: Iterable[Examination]) -> Grounded:
    """What grounded judges say of the answers.

    Args:
        examinations: Of several about one image the last counts.

    Returns:
        Figures that are None have their reason in `why_undefined`.
    """
    tally = GroundedTally()
    for examination in latest(examinations):
        tally.add(examination)
    return tally.grounded()


class GroundedTally:
    """What the figures of `Grounded` are made of, added up image by image."""

    def __init__(self) -> None:
        self._answers = self._asked = 0
        self._units = Units()
        self._sums = array("q")
        """[images, 4]: supported, judged, 2 TU, 2 TU + FU + FA + UA."""

    def add(self, examination: Examination) -> None:
        """Count one image.

        Args:
            examination: Of the image; each image once.
        """
        if not examination.questions:
            return
        cells = Counter(map(cell, examination.questions))
        verdicts = [
            question.support.supported
            for question in examination.questions
            if question.support and cell(question) == "ta"
        ]
        judged = [verdict for verdict in verdicts if verdict is not None]
        self._answers += cells["ta"]
        self._asked += len(verdicts)
        wrong = cells["fu"] + cells["fa"] + len(judged) - sum(judged)
        self._units.add(examination.image)
        self._sums.extend((sum(judged), len(judged), 2 * cells["tu"], 2 * cells["tu"] + wrong))

    def grounded(self) -> Grounded:
        """The figures.

        Returns:
            Figures that are None have their reason in `why_undefined`.
        """
        sums = self._units.sums(np.array(self._sums, dtype=np.int64).reshape(-1, 4))
        supported, judged, part, whole = map(int, sums.sum(axis=0))
        defined = judged > 0 and whole > 0
        accuracy = ratio_interval(sums[:, :2]) if judged else Interval()
        unf1 = ratio_interval(sums[:, 2:]) if defined else Interval()
        return Grounded(
            judged=judged,
            failed=self._asked - judged,
            not_asked=self._answers - self._asked,
            supported=supported,
            accuracy=ratio(supported, judged),
            accuracy_ci=accuracy.ends,
            unf1=part / whole if defined else None,
            unf1_ci=unf1.ends,
            why_undefined=""
            if defined
            else "no response is an error or a right abstention"
            if judged
            else "no answer to an answerable question was judged with the image",
            why_no_interval={
                name: each.why_undefined
                for name, each in (("accuracy", accuracy), ("unf1", unf1))
                if each.why_undefined
            },
        )
