"""UnF1: the four types of a response, every ratio of their counts, and the bounds that unscored responses leave."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Literal

from unsaf_async.records import Examination, Kind, Question, Record
from unsaf_async.score.ratios import ratio

if TYPE_CHECKING:
    from collections.abc import Iterable

Cell = Literal["ta", "fu", "tu", "fa"]
"""One of the four types a scored response belongs to."""

BOUNDS_ALONE = "so much is unscored that bounds are the headline"
"""Why there is no UnF1, nor any that is made of it."""

KindName = Kind | Literal["unspecified"]
"""A kind of unanswerable question; "unspecified" collects those for which the model named none."""


class Counts(Record):
    """The table of four, and every ratio that follows from it alone.

    The ratios lie in [0, 1] (`matthews_correlation`: [-1, 1]) or are None where their denominator is empty. A class's F1 and
    precision are None, too, where no question of it was scored: by their formula they are 0 there, whatever a model does.
    """

    ta: int = 0
    """Answerable, answered."""
    fu: int = 0
    """Answerable, abstained: over-refusal."""
    tu: int = 0
    """Unanswerable, abstained."""
    fa: int = 0
    """Unanswerable, answered: over-answering."""

    @property
    def scored(self) -> int:
        """Responses in the table."""
        return self.ta + self.fu + self.tu + self.fa

    @property
    def unf1(self) -> float | None:
        """2 TU / (2 TU + FU + FA)."""
        return ratio(2 * self.tu, 2 * self.tu + self.fu + self.fa) if self.tu + self.fa else None

    @property
    def precision(self) -> float | None:
        """TU / (TU + FU): of the abstentions, the share that was right."""
        return ratio(self.tu, self.tu + self.fu) if self.tu + self.fa else None

    @property
    def recall(self) -> float | None:
        """TU / (TU + FA): of the unanswerable questions, the share abstained from."""
        return ratio(self.tu, self.tu + self.fa)

    @property
    def timidity(self) -> float | None:
        """TU / (TU + FU): the paper's name for `precision`."""
        return self.precision

    @property
    def audacity(self) -> float | None:
        """TU / (TU + FA): the paper's audacity as we read it, `recall`; with `timidity` it makes `unf1`."""
        return self.recall

    @property
    def audacity_of_answers(self) -> float | None:
        """TA / (TA + FA): the paper's audacity in its other reading, the share of the answers that was right to answer."""
        return ratio(self.ta, self.ta + self.fa) if self.ta + self.fu else None

    @property
    def unf1_of_precisions(self) -> float | None:
        """UnF1 in that reading: the harmonic mean of `timidity` and `audacity_of_answers`; 0 if both are 0."""
        timidity, audacity = self.timidity, self.audacity_of_answers
        if timidity is None or audacity is None:
            return None
        return 2 * timidity * audacity / (timidity + audacity) if timidity + audacity else 0.0

    @property
    def over_refusal_rate(self) -> float | None:
        """FU / (TA + FU): of the answerable questions, the share abstained from."""
        return ratio(self.fu, self.ta + self.fu)

    @property
    def over_answer_rate(self) -> float | None:
        """FA / (TU + FA): of the unanswerable questions, the share answered."""
        return ratio(self.fa, self.tu + self.fa)

    @property
    def f1_answerable(self) -> float | None:
        """2 TA / (2 TA + FU + FA): the F1 of the other class."""
        return ratio(2 * self.ta, 2 * self.ta + self.fu + self.fa) if self.ta + self.fu else None

    @property
    def macro_f1(self) -> float | None:
        """Mean of the two classes' F1; None if either is undefined."""
        return _mean_of_both(self.unf1, self.f1_answerable)

    @property
    def balanced_accuracy(self) -> float | None:
        """Mean of the two classes' recall, TU / (TU + FA) and TA / (TA + FU); None if either is undefined."""
        return _mean_of_both(self.recall, ratio(self.ta, self.ta + self.fu))

    @property
    def matthews_correlation(self) -> float | None:
        """(TU TA - FA FU) / sqrt of the product of the four margins; None if a margin is empty."""
        margins = (self.tu + self.fu) * (self.tu + self.fa) * (self.ta + self.fu) * (self.ta + self.fa)
        if margins == 0:
            return None
        # Rounding may pass 1 by one unit in the last place.
        return max(-1.0, min(1.0, (self.tu * self.ta - self.fa * self.fu) / math.sqrt(margins)))

    @property
    def abstention_rate(self) -> float | None:
        """(TU + FU) / scored."""
        return ratio(self.tu + self.fu, self.scored)


def latest(examinations: Iterable[Examination]) -> list[Examination]:
    """One examination per image id: the last of each.

    Args:
        examinations: Read once.

    Returns:
        In the order in which the ids first occur; [] without examinations.
    """
    return list({examination.image.id: examination for examination in examinations}.values())


def latest_by_id(examinations: Iterable[Examination]) -> list[Examination]:
    """One examination per image id: the last of each, in the order of the ids, on which resampled figures depend.

    Args:
        examinations: Read once.

    Returns:
        Sorted by the ids; [] without examinations.
    """
    return sorted(latest(examinations), key=lambda examination: examination.image.id)


def cell(question: Question) -> Cell | None:
    """The type of a question's response.

    Args:
        question: A question that was asked.

    Returns:
        None if it is unscored.
    """
    if question.unscored is not None:
        return None
    match question.intended, question.act:
        case "answerable", "answered":
            return "ta"
        case "answerable", "abstained":
            return "fu"
        case "unanswerable", "abstained":
            return "tu"
        case "unanswerable", "answered":
            return "fa"
    return None


def unf1_bounds(counts: Counts, *, unanswerable: int, answerable: int) -> tuple[float, float] | None:
    """The least and the greatest UnF1 over all that the unscored responses might have been.

    An unscored response to an unanswerable question would have been TU or FA, to an answerable one TA or FU. Failed images
    and missing questions do not enter: nothing was asked.

    Why two corners suffice: with E = FU + FA, UnF1 = 2 TU / (2 TU + E). Making an FA a TU takes it to
    2 (TU + 1) / (2 TU + E + 1), which is no smaller; making an FU a TA only shortens the denominator. So UnF1 is
    monotone in each response: all wrong gives the least value, all right the greatest.

    Args:
        counts: The scored responses.
        unanswerable: Unscored responses to questions intended unanswerable, >= 0.
        answerable: Unscored responses to questions intended answerable, >= 0.

    Returns:
        (worst, best), each in [0, 1]; None if no unanswerable question was asked.
    """
    ta, fu, tu, fa = counts.ta, counts.fu, counts.tu, counts.fa
    worst = Counts(ta=ta, fu=fu + answerable, tu=tu, fa=fa + unanswerable).unf1
    best = Counts(ta=ta + answerable, fu=fu, tu=tu + unanswerable, fa=fa).unf1
    return None if worst is None or best is None else (worst, best)


def _mean_of_both(first: float | None, second: float | None) -> float | None:
    return None if first is None or second is None else (first + second) / 2
