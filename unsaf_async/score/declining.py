"""How well a model tells questions without an answer from others, whatever its threshold for declining. Pure arithmetic.

Whether a response declines depends on where a model draws its line: one that declines more has more recall and more
over-refusal, and may know no better. So each sign of confidence is turned into a propensity to decline,

    the confidence of a response that declined, one minus that of a response that answered,

since a confidence is that the response is right, and one that declines is right if the question has no answer. Over draws
of the same question it is the share of them that declined. The figure is the AUROC of that propensity for questions that the
set labels as unanswerable against the others: the share of pairs of one question each in which the unanswerable one has
the higher propensity; .5 is chance. Source: Kadavath et al., Language Models (Mostly) Know What They Know (2022),
arXiv:2207.05221, for P(True); Hanley & McNeil, Radiology 143 (1982), for AUROC.
"""

from __future__ import annotations

from array import array
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np

from unsaf_async.records import Examination, Question, Record
from unsaf_async.score.metrics import auroc
from unsaf_async.score.rank_intervals import auroc_interval
from unsaf_async.score.signals import declined, p_true, stated, token_probability
from unsaf_async.score.units import Units

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from numpy.typing import NDArray

    from unsaf_async.score.signals import ProbabilityName

PropensityName = Literal["draws", "p_true", "stated", "token_probability"]
"""draws: the share of the answer and its further draws that declined. The others: by that sign of confidence."""


class Declining(Record):
    """How well one propensity to decline tells questions without an answer from others."""

    n: int
    """Scored responses that have it."""
    unanswerable: int
    """Of these, to questions that the set labels as unanswerable."""
    auroc: float | None
    """In [0, 1]; 1 tells all apart, .5 is chance."""
    auroc_ci: tuple[float, float] | None
    """95 % interval with images as clusters (`rank_intervals.auroc_interval`)."""
    why_undefined: str = ""
    """Why there is no AUROC."""
    why_no_interval: str = ""
    """Why there is an AUROC and no interval of it."""


class DecliningTally:
    """What the figures are made of, added up image by image."""

    def __init__(self) -> None:
        self._units = Units()
        self._columns = {name: (array("d"), array("b"), array("q")) for name in PROPENSITIES}
        """Of each response with the propensity: its value, whether the question is unanswerable, the number of its image."""

    def add(self, examination: Examination) -> None:
        """Count one image.

        Args:
            examination: Of the image; each image once. Questions that were not given do not enter.
        """
        for question in examination.questions:
            if not question.given or question.answer.outcome != "ok":
                continue
            for name, propensity in PROPENSITIES.items():
                if (value := propensity(question)) is not None:
                    values, unanswerable, image = self._columns[name]
                    values.append(value)
                    unanswerable.append(question.intended == "unanswerable")
                    image.append(len(self._units))
        self._units.add(examination.image)

    def declining(self, why_none: Mapping[ProbabilityName, str]) -> dict[PropensityName, Declining]:
        """The figures.

        Args:
            why_none: The reason, by sign of confidence, where no response has it.

        Returns:
            Of every propensity, the one to be taken first first.
        """
        return {name: _figure(self.column(name), why_none.get(_SIGNALS[name], "")) for name in self._columns}

    def column(self, name: PropensityName) -> Column:
        """One propensity of every response that has it.

        Args:
            name: The propensity.

        Returns:
            Its values, whether the questions are unanswerable, and the numbers of their pictures.
        """
        values, unanswerable, image = self._columns[name]
        return Column(
            np.array(values),
            np.array(unanswerable, dtype=bool),
            self._units.numbers[np.array(image, dtype=np.int64)],
        )


@dataclass(frozen=True, slots=True, eq=False)
class Column:
    """One propensity of some responses. values, unanswerable, picture: shape [responses] each."""

    values: NDArray[np.float64]
    unanswerable: NDArray[np.bool_]
    picture: NDArray[np.int64]


def _figure(column: Column, why_none: str) -> Declining:
    values, unanswerable = column.values, column.unanswerable
    area = auroc(values, unanswerable)
    interval = auroc_interval(values, unanswerable, column.picture)
    missing = "unanswerable" if not unanswerable.any() else "answerable"
    why = f"no {missing} question has a response with it" if len(values) else why_none or "no response has it"
    return Declining(
        n=len(values),
        unanswerable=int(unanswerable.sum()),
        auroc=area,
        auroc_ci=interval.ends,
        why_undefined="" if area is not None else why,
        why_no_interval="" if area is None else interval.why_undefined,
    )


def draws_declined(question: Question) -> float | None:
    """The share of the answer and its further draws that declined.

    Args:
        question: The question with its response.

    Returns:
        In [0, 1]; None without a draw of which the rules say what it did, and where the answer is unscored.
    """
    own = declined(question)
    acts = [sample.act for sample in question.samples if sample.call.outcome == "ok"]
    draws = [float(act == "abstained") for act in acts if act in ("abstained", "answered")]
    return None if own is None or not draws else (own + sum(draws)) / (1 + len(draws))


def _by(confidence: Callable[[Question], float | None]) -> Callable[[Question], float | None]:
    def propensity(question: Question) -> float | None:
        own, sure = declined(question), confidence(question)
        return None if own is None or sure is None else sure if own else 1 - sure

    return propensity


PROPENSITIES: dict[PropensityName, Callable[[Question], float | None]] = {
    "draws": draws_declined,
    "p_true": _by(p_true),
    "stated": _by(stated),
    "token_probability": _by(token_probability),
}
"""Each propensity of a question to be declined; the first that a run has is the one to quote."""

PROPENSITY_WORDS: dict[PropensityName, str] = {
    "draws": "draws that decline",
    "p_true": "P(True)",
    "stated": "stated confidence",
    "token_probability": "token probability",
}
"""What each of them rests on, in words."""

_SIGNALS: dict[PropensityName, ProbabilityName] = {
    "draws": "self_consistency",
    "p_true": "p_true",
    "stated": "stated",
    "token_probability": "token_probability",
}
"""The sign of confidence whose absence has the same reason."""
