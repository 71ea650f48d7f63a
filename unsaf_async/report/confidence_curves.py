"""Signs of confidence and what they are worth, as the curves that a report draws: ROC, reliability, risk and coverage."""

from __future__ import annotations

from array import array
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from unsaf_async.score import metrics
from unsaf_async.score import signals as signs
from unsaf_async.wrappers import final_text

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from numpy.typing import NDArray

    from unsaf_async.records import Examination, Question
    from unsaf_async.score.labelled import LabelledScore
    from unsaf_async.score.metrics import Bin
    from unsaf_async.score.signals import ProbabilityName


@dataclass(frozen=True)
class SignalValues:
    """A sign of confidence over a run's whole responses.

    name: in words. confidence: [n], higher is surer. answerable: [n], whether the question was meant to be answerable.
    """

    name: str
    confidence: NDArray[np.float64]
    answerable: NDArray[np.bool_]


def signal_values(examinations: Iterable[Examination]) -> list[SignalValues]:
    """The signs of confidence that any response of the run has.

    Args:
        examinations: The run's records.

    Returns:
        A sign each; [] if no response has one. Perplexity is left out: it orders the responses as the mean log-probability does.
    """
    shown = {name: each for name, each in signs.CONFIDENCE_OF.items() if name != "perplexity"}
    columns = {name: (array("d"), array("b")) for name in shown}
    for question in (question for each in examinations for question in each.questions):
        if question.answer.outcome == "ok":
            for name, (value_of, surer) in shown.items():
                if (value := value_of(question)) is not None:
                    columns[name][0].append(surer * value)
                    columns[name][1].append(question.intended == "answerable")
    return [
        SignalValues(signs.SIGNAL_WORDS[name][0], np.array(values), np.array(answerable, dtype=bool))
        for name, (values, answerable) in columns.items()
        if values
    ]


@dataclass(frozen=True)
class CalibrationCurve:
    """A confidence that can be read as the probability of being right, and how often it was right.

    name: in words. n: responses. right: share of the n responses, in [0, 1]. bins: a reliability diagram's.
    risk: (coverage, share wrong), the surest first.
    """

    name: str
    n: int
    right: float
    bins: list[Bin]
    risk: list[tuple[float, float]]


_PROBABILITIES: dict[ProbabilityName, Callable[[Question], float | None]] = {
    "token_probability": signs.token_probability,
    "stated": signs.stated,
    "p_true": signs.p_true,
    "self_consistency": signs.self_consistency,
}


def calibration_curves(examinations: Iterable[Examination]) -> list[CalibrationCurve]:
    """Confidence against truth, over the answers that are known to be right or wrong.

    Args:
        examinations: The run's records.

    Returns:
        A curve for each confidence that any of these answers has; [] if the truth of no answer is known.
    """
    columns = {name: (array("d"), array("d")) for name in _PROBABILITIES}
    for question in (question for each in examinations for question in each.questions):
        if question.act == "answered" and (right := correct(question)) is not None:
            for name, value_of in _PROBABILITIES.items():
                if (value := value_of(question)) is not None:
                    columns[name][0].append(value)
                    columns[name][1].append(right)
    curves = []
    for name, column in columns.items():
        values, rights = np.array(column[0]), np.array(column[1])
        if len(values):
            curve = metrics.risk_coverage(values, rights)
            risk = list(zip(curve.coverage.tolist(), curve.risk.tolist(), strict=True)) if curve else []
            bins = metrics.reliability(values, rights)
            curves.append(CalibrationCurve(signs.SIGNAL_WORDS[name][0], len(values), float(rights.mean()), bins, risk))
    return curves


def labelled_curves(labelled: LabelledScore) -> list[CalibrationCurve]:
    """Confidence against truth, as the score of a labelled run has it.

    Args:
        labelled: The figures of a labelled set.

    Returns:
        A curve for each confidence that any response has.
    """
    return [
        CalibrationCurve(signs.SIGNAL_WORDS[name][0], each.n, each.right / each.n, each.reliability, each.risk_coverage)
        for name, each in labelled.calibration.items()
        if each.n
    ]


def correct(question: Question) -> float | None:
    """How far an answer is right, by the grounding judge's verdict, else by the accepted answers that it contains.

    Args:
        question: A question that was answered.

    Returns:
        A share in [0, 1]; None where there is neither a verdict nor an accepted answer.
    """
    if question.support is not None:
        return None if question.support.supported is None else float(question.support.supported)
    if question.given is None or not question.given.answers:
        return None
    return metrics.vqa_accuracy_contained(final_text(question.response).answer, question.given.answers)


def roc(
    confidence: NDArray[np.float64], positive: NDArray[np.bool_]
) -> tuple[NDArray[Any], NDArray[Any], float] | None:
    """The ROC curve of calling everything above a threshold positive; ties count half.

    Source: T. Fawcett, "An introduction to ROC analysis" (2006).

    Args:
        confidence: [n], any real numbers.
        positive: [n], whether each is of the positive class.

    Returns:
        (false positive rates, true positive rates, area), the rates ascending from 0 to 1, one for each different threshold and
        one below; None unless both classes are there.
    """
    positives, n = int(positive.sum()), len(positive)
    if positives in (0, n):
        return None
    order = np.argsort(-confidence, kind="stable")
    last = np.append(np.nonzero(np.diff(confidence[order]))[0], n - 1)  # the last of each group of equal confidence
    true = np.append(0, np.cumsum(positive[order])[last]) / positives
    false = np.append(0, np.cumsum(~positive[order])[last]) / (n - positives)
    return false, true, float(np.sum(np.diff(false) * (true[1:] + true[:-1]) / 2))
