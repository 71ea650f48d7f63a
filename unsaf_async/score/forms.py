"""The same questions put in two forms: for an answer in free words, and with options to choose from.

Each form has its own score. How far they agree is counted question by question, over those scored in both: the share, Cohen's
kappa, and the difference of the two UnF1 on the same images. Images are the unit of every interval.
"""

from __future__ import annotations

from array import array
from typing import TYPE_CHECKING

import numpy as np

from unsaf_async.records import Examination, Question, Record
from unsaf_async.score.agreement import Agreement, kappa_with_interval
from unsaf_async.score.intervals import difference_interval
from unsaf_async.score.run_score import Score, ScoreTally, score_of
from unsaf_async.score.unf1 import cell
from unsaf_async.score.units import Units

if TYPE_CHECKING:
    from unsaf_async.score.unf1 import Cell

_ACTS = ("answered", "abstained")


class Forms(Record):
    """What the answers by option say, beside those in free words, which the run's own score is of."""

    choice: Score
    """Of the answers by option, which nobody judged but the rules: the fields of the run's own score, without its accounts."""
    agreement: Agreement
    """Of the two forms, on the questions that are scored in both: answered or abstained."""
    difference: float | None
    """UnF1 in free words minus UnF1 by option, about the same images, in [-1, 1]. None, too, where of either form so much is
    unscored that its bounds are its headline."""
    difference_ci: tuple[float, float] | None
    """95 % interval with images as the unit."""
    why_undefined: dict[str, str]
    """Reason for each figure that is None."""


class FormsTally:
    """The answers of a run in both forms, added up image by image, in the order of the images' ids."""

    def __init__(self) -> None:
        self._choice = ScoreTally()
        self._units = Units()
        self._tables = array("q")
        """[images, 2, 2]: free words down, options across."""
        self._unanswerable = [0, 0]
        """Scored in free words, and by option."""
        self._pairs = array("q")
        """[images, 4]: 2 TU and 2 TU + FU + FA in free words, then by option."""

    def add(self, examination: Examination) -> None:
        """Count one image.

        Args:
            examination: Of the image; each image once.
        """
        by_option = examination.model_copy(update={"questions": tuple(map(_by_option, examination.questions))})
        self._choice.add(by_option)
        if not examination.questions:
            return
        self._units.add(examination.image)
        table, pair = [0] * 4, [0] * 4
        for one, other in zip(examination.questions, by_option.questions, strict=True):
            cells = cell(one), cell(other)
            if None not in cells:
                table[2 * _ACTS.index(str(one.act)) + _ACTS.index(str(other.act))] += 1
            for start, each in zip((0, 2), cells, strict=True):
                pair[start] += 2 * (each == "tu")
                pair[start + 1] += _weight(each)
                self._unanswerable[start // 2] += each in ("tu", "fa")
        self._tables.extend(table)
        self._pairs.extend(pair)

    def forms(
        self,
        *,
        questions_per_label: int | None,
        provider: str,
        images_total: int,
        seed: int,
        between: tuple[float, float] | None = None,
    ) -> Forms:
        """The score by option, and how far the forms agree.

        Args:
            questions_per_label: K; None: the questions were given.
            provider: Whom the score is about.
            images_total: How many images the run has.
            seed: Of the bootstrap.
            between: The bounds of UnF1 in free words where they are its headline; None where UnF1 is.

        Returns:
            The figures; one that is None has its reason.
        """
        tables = self._units.sums(np.array(self._tables, dtype=np.int64).reshape(-1, 2, 2))
        pairs = self._units.sums(np.array(self._pairs, dtype=np.int64).reshape(-1, 4))
        agreement = kappa_with_interval(tables)
        a, b, c, d = pairs.sum(axis=0).tolist() if len(pairs) else (0, 0, 0, 0)
        choice = score_of(
            self._choice,
            questions_per_label=questions_per_label,
            accounts=None,
            provider=provider,
            judge="rules",
            images_total=images_total,
            seed=seed,
        )
        difference, ends, why = None, None, dict[str, str]()
        bounds = {"in free words": between, "by option": choice.unf1_between}
        is_open = [form for form, each in bounds.items() if each]
        if not all(self._unanswerable):
            why = dict.fromkeys(("difference", "difference_ci"), "UnF1 is undefined in one of the forms")
        elif is_open:
            much = f"so much is unscored {' and '.join(is_open)} that bounds are the headline"
            why = dict.fromkeys(("difference", "difference_ci"), much)
        else:
            difference = a / b - c / d
            found = difference_interval(pairs)
            ends = found.ends
            why = {} if ends else {"difference_ci": found.why_undefined}
        return Forms(choice=choice, agreement=agreement, difference=difference, difference_ci=ends, why_undefined=why)


def _weight(each: Cell | None) -> int:
    """What a question adds to the denominator of UnF1."""
    return {"tu": 2, "fu": 1, "fa": 1}.get(each or "", 0)


def _by_option(question: Question) -> Question:
    """A question as its answer by option has it."""
    choice = question.choice
    if choice is None:
        return question.model_copy(update={"act": None, "unscored": "failed"})
    unscored: str | None = None
    if choice.call.outcome != "ok":
        unscored = choice.call.outcome
    elif choice.act not in _ACTS:
        unscored = choice.act
    return question.model_copy(update={"act": choice.act, "unscored": unscored})
