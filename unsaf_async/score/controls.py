"""Controls: how much oftener does a model decline where the evidence is gone than on the image itself? Pure arithmetic.

The same questions are compared with each other, all of them intended answerable: over-refusal on the image, and abstention on
the picture in its place. Their difference is Youden's J of declining as a sign of missing evidence: 0 for a model that always
declines, that never does, or that does not look; 1 for one that declines exactly where the evidence is gone. (With one
threshold, declining or not, the AUROC is (1 + J) / 2 and says the same.)

Source: Youden, Index for rating diagnostic tests, Cancer 3 (1950). Interval of the paired difference: see
`intervals.difference_interval`. The unit is the picture whose questions they are.
"""

from __future__ import annotations

from array import array
from collections import Counter
from typing import TYPE_CHECKING

import numpy as np
from pydantic import Field

from unsaf_async.records import CONTROL_KINDS, ControlKind, Examination, Record
from unsaf_async.score.intervals import Interval, difference_interval, ratio_interval
from unsaf_async.score.ratios import ratio
from unsaf_async.score.unf1 import cell, latest_by_id
from unsaf_async.score.units import Units
from unsaf_async.text import format_count

if TYPE_CHECKING:
    from collections.abc import Iterable

    from numpy.typing import NDArray

    from unsaf_async.records import Question

CONTROL_WORDS: dict[ControlKind, str] = {"blank": "a blank picture", "other": "another image"}
"""What is shown in an image's place, in words."""

FIGURE_WORDS = {"abstention_rate": "declined there", "over_refusal_rate": "on the image", "youden": "Youden's J"}
"""The figures of a kind, in words."""

_COLUMNS = 3
"""Of a kind on an image: abstained on the control, abstained on the image, pairs."""


class ControlScore(Record):
    """What one kind of control shows."""

    asked: int
    """Questions that were asked again."""
    unscored: dict[str, int] = Field(default_factory=dict)
    """Of these, how many do not count, by reason."""
    without: dict[str, int] = Field(default_factory=dict)
    """Images no question of which can be asked again so, by reason."""
    n: int
    """Questions whose response is scored both times; all figures are about these."""
    abstained: int
    """Of n, declined without the evidence."""
    abstained_on_image: int
    """Of n, declined on the image itself."""
    abstention_rate: float | None
    """abstained / n."""
    abstention_rate_ci: tuple[float, float] | None
    """95 % interval with images as the unit."""
    over_refusal_rate: float | None
    """abstained_on_image / n."""
    over_refusal_rate_ci: tuple[float, float] | None
    """95 % interval with images as the unit."""
    youden: float | None
    """Youden's J: abstention_rate - over_refusal_rate, in [-1, 1]."""
    youden_ci: tuple[float, float] | None
    """95 % interval of this paired difference, with images as the unit."""
    why_undefined: dict[str, str] = Field(default_factory=dict)
    """Reason for each of these figures that is None."""


def controls(examinations: Iterable[Examination]) -> dict[ControlKind, ControlScore]:
    """What the controls of a run show.

    Args:
        examinations: Of several about one image the last counts.

    Returns:
        By kind; {} where nothing was asked again.
    """
    tally = ControlsTally()
    for examination in latest_by_id(examinations):
        tally.add(examination)
    return tally.controls()


class ControlsTally:
    """What the figures of `ControlScore` are made of, added up image by image."""

    def __init__(self) -> None:
        self._units = Units()
        self._asked: Counter[ControlKind] = Counter()
        self._unscored: dict[ControlKind, Counter[str]] = {kind: Counter() for kind in CONTROL_KINDS}
        self._without: dict[ControlKind, Counter[str]] = {kind: Counter() for kind in CONTROL_KINDS}
        self._sums = array("q")

    def add(self, examination: Examination) -> None:
        """Count one image.

        Args:
            examination: Of the image; each image once.
        """
        for kind, reason in examination.uncontrolled.items():
            self._without[kind][reason] += 1
        row = [0] * (_COLUMNS * len(CONTROL_KINDS))
        for question in examination.questions:
            if question.control is None:
                continue
            kind = question.control.kind
            self._asked[kind] += 1
            why = why_unscored(question)
            if why is not None:
                self._unscored[kind][why] += 1
                continue
            first = _COLUMNS * CONTROL_KINDS.index(kind)
            row[first] += question.control.act == "abstained"
            row[first + 1] += question.act == "abstained"
            row[first + 2] += 1
        if self._asked:  # most runs have none
            self._units.add(examination.image)
            self._sums.extend(row)

    def controls(self) -> dict[ControlKind, ControlScore]:
        """The figures.

        Returns:
            As `controls`.
        """
        tried = {kind for kind in CONTROL_KINDS if self._asked[kind] or self._without[kind]}
        if not self._asked:
            empty = np.zeros((0, 4), dtype=np.int64)
            return {kind: self._score(kind, empty) for kind in CONTROL_KINDS if kind in tried}
        sums = self._units.sums(np.array(self._sums, dtype=np.int64).reshape(-1, len(CONTROL_KINDS), _COLUMNS))
        return {
            kind: self._score(kind, np.stack([on, pairs, own, pairs], axis=1))
            for kind, (on, own, pairs) in zip(CONTROL_KINDS, sums.transpose(1, 2, 0), strict=True)
            if kind in tried
        }

    def _score(self, kind: ControlKind, rows: NDArray[np.int64]) -> ControlScore:
        """rows: [pictures, 4]: abstained on the control, pairs, abstained on the image, pairs."""
        abstained, n, own, _ = map(int, rows.sum(axis=0))
        intervals = {
            "abstention_rate": ratio_interval(rows[:, :2]) if n else Interval(),
            "over_refusal_rate": ratio_interval(rows[:, 2:]) if n else Interval(),
            "youden": difference_interval(rows) if n else Interval(),
        }
        why = {f"{name}_ci": each.why_undefined for name, each in intervals.items() if each.why_undefined}
        if not n:
            figures = (*intervals, *(f"{name}_ci" for name in intervals))
            why = dict.fromkeys(
                figures,
                "no question has a scored response both times"
                if self._asked[kind]
                else "no question was asked again so",
            )
        return ControlScore(
            asked=self._asked[kind],
            unscored=dict(sorted(self._unscored[kind].items())),
            without=dict(sorted(self._without[kind].items())),
            n=n,
            abstained=abstained,
            abstained_on_image=own,
            abstention_rate=ratio(abstained, n),
            abstention_rate_ci=intervals["abstention_rate"].ends,
            over_refusal_rate=ratio(own, n),
            over_refusal_rate_ci=intervals["over_refusal_rate"].ends,
            youden=(abstained - own) / n if n else None,
            youden_ci=intervals["youden"].ends,
            why_undefined=why,
        )


def without(score: ControlScore) -> list[str]:
    """How many images have no control of a kind, and why.

    Args:
        score: Of the kind.

    Returns:
        A line a reason; [] where all can have one.
    """
    return [f"{format_count(images, 'image has', 'images have')} none: {why}" for why, images in score.without.items()]


def missing(score: ControlScore) -> dict[str, str]:
    """Which figures of a kind, or which intervals alone, are not there.

    Args:
        score: Of the kind.

    Returns:
        The reasons, by what is missing in words.
    """
    known = score.why_undefined
    reasons = {title: known[name] for name, title in FIGURE_WORDS.items() if name in known}
    return reasons | {
        f"95 % interval of {title}": known[f"{name}_ci"]
        for name, title in FIGURE_WORDS.items()
        if f"{name}_ci" in known and name not in known
    }


def why_missing(score: ControlScore, figure: str) -> str:
    """Why a figure is not there, or its interval.

    Args:
        score: Of one kind of control.
        figure: Its name.

    Returns:
        The reason; "" where both are there.
    """
    return score.why_undefined.get(figure) or score.why_undefined.get(f"{figure}_ci", "")


def why_unscored(question: Question) -> str | None:
    """Why a question that was asked again is no pair.

    Args:
        question: With its control.

    Returns:
        None if both responses are scored.
    """
    assert question.control is not None
    if cell(question) is None:
        return question.unscored or "unscored on the image"
    if question.control.unscored is not None:
        return question.control.unscored
    return None if question.control.act in ("answered", "abstained") else "unjudged"
