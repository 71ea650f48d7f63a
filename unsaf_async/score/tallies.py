"""Questions counted: by image, by kind of question, and over a run while it goes on."""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import dataclass
from typing import NamedTuple

from unsaf_async.records import KINDS, Examination, Label, Question, Record
from unsaf_async.score.bootstrap import Z
from unsaf_async.score.ratios import ratio
from unsaf_async.score.unf1 import Cell, Counts, KindName, cell


class KindScore(Record):
    """How the model fared on one kind of unanswerable question.

    Over-refusals belong to no kind, for answerable questions have none. `unf1` therefore charges a kind its share of
    them, FU n_k / N, where n_k = TU_k + FA_k and N is that sum over all kinds:

        UnF1_k = 2 TU_k / (2 TU_k + FA_k + FU n_k / N) = 2 r_k / (1 + r_k + FU / N),      r_k = TU_k / n_k

    That is the kind's UnF1 at the run's own balance of answerable and unanswerable questions: with equal recall in all
    kinds, every UnF1_k equals the headline. Charging all of FU to each kind would push rare kinds towards 0 instead.
    """

    n: int
    """Questions of this kind that were asked, unscored ones included."""
    share: float
    """Of all unanswerable questions asked, in (0, 1]."""
    tu: int
    fa: int
    unscored: int
    """Of n; `refused` and `no_image` included."""
    refused: int = 0
    """Declined on policy, by the provider's flag or in words."""
    no_image: int = 0
    """Said that there is no image, or that it sees none."""
    recall: float | None
    """TU_k / (TU_k + FA_k); None if none was scored."""
    unf1: float | None
    """See above; None if none was scored."""


class Running:
    """UnF1 so far, with an interval that costs O(1) per image: for a display while images come in.

    UnF1 = A / B with A = sum of a_i = 2 TU_i and B = sum of b_i = 2 TU_i + FU_i + FA_i over images i. Linearised, image
    i moves it by d_i / n, with the influence value d_i = (a_i - UnF1 b_i) / (B / n). The d_i sum to 0, and the sums of
    a², ab and b² give their variance at the current UnF1. All sums are integers, so nothing is lost in the subtraction.

    The interval is for looking, not for stopping: see `stopping` for a rule that may be checked after every image.
    """

    def __init__(self) -> None:
        self._images = self._scored = self._scored_squares = 0
        self._a = self._b = self._aa = self._ab = self._bb = 0
        self._unanswerable = False
        self.asked = Counter[Place]()
        """The questions asked so far, by place."""

    def add(self, examination: Examination) -> None:
        """Count one image. Failed images and those without a question change nothing.

        Args:
            examination: Of an image that was not counted before.
        """
        tally = Tally.of(examination)
        if tally.failed or not tally.asked:
            return
        a, b = tally.pair
        self._unanswerable = self._unanswerable or any(place.cell in ("tu", "fa") for place in tally.asked)
        self.asked.update(tally.asked)
        self._images += 1
        self._scored += tally.scored
        self._scored_squares += tally.scored**2
        self._a += a
        self._b += b
        self._aa += a * a
        self._ab += a * b
        self._bb += b * b

    @property
    def images(self) -> int:
        """Images counted in: examined, with at least one question asked."""
        return self._images

    @property
    def unf1(self) -> float | None:
        """UnF1 of the images so far; None while undefined, as it is before an unanswerable question was scored."""
        return ratio(self._a, self._b) if self._unanswerable else None

    @property
    def influence_variance(self) -> float | None:
        """Sample variance of the influence values d_i; None with fewer than 2 images or while UnF1 is undefined.

        sum of d_i² / (n - 1) with sum of (a_i - (A/B) b_i)² = (B² sum a² - 2 A B sum ab + A² sum b²) / B².
        """
        n, a, b = self._images, self._a, self._b
        if n < 2 or b == 0:
            return None
        squares = b * b * self._aa - 2 * a * b * self._ab + a * a * self._bb
        return n * n * squares / (b**4 * (n - 1))

    @property
    def extreme_influence(self) -> float | None:
        """The largest |d_i| of an image that holds as much as that of a random response does; None while UnF1 is undefined.

        With m_i responses of image i that are scored, such an image has m = sum m_i² / sum m_i of them, which is n / n* times
        their mean with n* the effective number of images (`intervals.effective_images`). Half of them unanswerable: if all are
        right, a = b = m, d = m (1 - UnF1) n / B; if all are wrong, a = 0, b = m, d = -m UnF1 n / B.
        """
        value = self.unf1
        if value is None:
            return None
        return self._images * self._scored_squares / self._scored * max(value, 1 - value) / self._b

    @property
    def interval(self) -> tuple[float, float] | None:
        """95 % interval by the delta method, UnF1 ± 1.96 sd(d) / sqrt(n), cut to [0, 1].

        None with fewer than 2 images, while UnF1 is undefined, and while no image differs from another (the spread of
        the images then says nothing yet).
        """
        value, variance = self.unf1, self.influence_variance
        if value is None or not variance:
            return None
        half_width = Z * math.sqrt(variance / self._images)
        return (max(0.0, value - half_width), min(1.0, value + half_width))


class Place(NamedTuple):
    """Where an asked question stands.

    intended, kind: the question's; kind is None for an answerable one. cell: None if it is unscored. unscored: the reason;
    "" if it is scored.
    """

    intended: Label
    kind: KindName | None
    cell: Cell | None
    unscored: str

    @classmethod
    def of(cls, question: Question) -> Place:
        """The place of one question.

        Args:
            question: A question that was asked.

        Returns:
            Its place; `unscored` is "unjudged" where nobody judged.
        """
        where = cell(question)
        # An act without a cell is its own reason; neither act nor reason means that nobody judged.
        reason = "" if where else question.unscored or question.act or "unjudged"
        kind = (question.kind or "unspecified") if question.intended == "unanswerable" else None
        return cls(question.intended, kind, where, reason)


@dataclass(frozen=True, slots=True)
class Tally:
    """What one image contributes.

    failed: whether it could not be examined. asked, dropped: questions by place, items by reason. missing: questions that
    were wanted and never obtained.
    """

    failed: bool
    asked: Counter[Place]
    dropped: Counter[str]
    missing: int

    @classmethod
    def of(cls, examination: Examination) -> Tally:
        """The tally of one image.

        Args:
            examination: Of the image.

        Returns:
            Its tally.
        """
        return cls(
            failed=examination.failure is not None,
            asked=Counter(map(Place.of, examination.questions)),
            dropped=Counter(item.reason for item in examination.dropped),
            missing=examination.missing,
        )

    @property
    def scored(self) -> int:
        """Responses in the table of four."""
        return sum(n for place, n in self.asked.items() if place.cell is not None)

    @property
    def pair(self) -> tuple[int, int]:
        """(2 TU, 2 TU + FU + FA): the image's part of UnF1's numerator and denominator."""
        counts = counts_of(self.asked)
        return 2 * counts.tu, 2 * counts.tu + counts.fu + counts.fa


def counts_of(asked: Counter[Place]) -> Counts:
    """The table of four of some questions.

    Args:
        asked: Questions by place; unscored ones may be among them.

    Returns:
        All zero if none is scored.
    """
    cells = Counter[Cell]()
    for place, n in asked.items():
        if place.cell is not None:
            cells[place.cell] += n
    return Counts(ta=cells["ta"], fu=cells["fu"], tu=cells["tu"], fa=cells["fa"])


def by_kind_of(asked: Counter[Place], counts: Counts) -> dict[KindName, KindScore]:
    """The score of each kind of unanswerable question.

    Args:
        asked: All questions of the run, by place.
        counts: The table of four of the same questions.

    Returns:
        The kinds that were asked, in the method's order, "unspecified" last.
    """
    unanswerable = Counter({place: n for place, n in asked.items() if place.intended == "unanswerable"})
    names: tuple[KindName, ...] = (*KINDS, "unspecified")
    scores: dict[KindName, KindScore] = {}
    for kind in names:
        of_kind = Counter({place: n for place, n in unanswerable.items() if place.kind == kind})
        if not of_kind:
            continue
        own = counts_of(of_kind)
        recall = own.recall
        scores[kind] = KindScore(
            n=of_kind.total(),
            share=of_kind.total() / unanswerable.total(),
            tu=own.tu,
            fa=own.fa,
            unscored=of_kind.total() - own.scored,
            refused=sum(n for place, n in of_kind.items() if place.unscored == "refused"),
            no_image=sum(n for place, n in of_kind.items() if place.unscored == "no_image"),
            recall=recall,
            unf1=None if recall is None else 2 * recall / (1 + recall + counts.fu / (counts.tu + counts.fa)),
        )
    return scores
