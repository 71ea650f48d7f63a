"""Conventional signs of confidence, on the same answers: how well does each tell the questions that have no answer?

These are what one would use without UnSAF: the probabilities of an answer's tokens, what the model says of its own certainty, and
whether it says the same again. For each, the AUROC for telling intended-unanswerable from intended-answerable questions by low
confidence; .5 is chance. The yardstick among them is whether the response declined. Pure arithmetic.
"""

from __future__ import annotations

from array import array
from dataclasses import replace
from math import exp, inf, nan
from typing import TYPE_CHECKING, Literal

import numpy as np
from pydantic import Field

from unsaf_async.records import Examination, Question, Record
from unsaf_async.score.intervals import Interval, mean_interval
from unsaf_async.score.meaning import agreement, meaning_classes, semantic_entropy
from unsaf_async.score.metrics import auroc
from unsaf_async.score.rank_intervals import auroc_interval
from unsaf_async.score.ratios import mean
from unsaf_async.score.unf1 import latest_by_id
from unsaf_async.score.units import Units
from unsaf_async.wrappers import final_text

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from numpy.typing import NDArray

SignalName = Literal[
    "declined", "mean_logprob", "min_logprob", "perplexity", "stated", "p_true", "self_consistency", "semantic_entropy"
]
"""declined: whether the response abstained. mean_logprob, min_logprob, perplexity: of the answer's tokens. stated: confidence in
words, 0 to 1. p_true: P(True). self_consistency: the share of further draws that mean the same as the answer. semantic_entropy:
over the meanings of the answer and its draws, in nats; meanings by the local rule of `meaning.meaning_classes`."""

ProbabilityName = Literal["token_probability", "stated", "p_true", "self_consistency"]
"""The signals that lie in [0, 1] and can be read as the probability of being right."""


class Signal(Record):
    """How well one sign of confidence tells unanswerable questions from answerable ones."""

    n: int
    """Responses that have it."""
    lacking: int
    """Whole responses that have not."""
    mean_answerable: float | None
    """Its mean over responses to questions that were intended as answerable."""
    mean_unanswerable: float | None
    """Over the others."""
    mean_answerable_ci: tuple[float, float] | None = None
    """95 % interval of that mean, with images as the unit (`intervals.mean_interval`); None without a reason in older files."""
    mean_unanswerable_ci: tuple[float, float] | None = None
    """95 % interval of the mean over the others."""
    auroc: float | None
    """The share of pairs in which the unanswerable question got the lower confidence, ties half; in [0, 1]."""
    auroc_ci: tuple[float, float] | None
    """95 % interval with images as clusters (`rank_intervals.auroc_interval`)."""
    why_undefined: str = ""
    """Why there is no AUROC."""
    why_no_interval: str = ""
    """Why there is an AUROC and no interval of it."""
    undefined: dict[str, str] = Field(default_factory=dict)
    """Reason for each mean, and each interval of one, that is None, by its name."""


def signals(examinations: Iterable[Examination], why_none: Mapping[SignalName, str]) -> dict[SignalName, Signal]:
    """Every signal over all whole responses, scored or not.

    Perplexity is exp(-mean_logprob), so it orders the responses as that does, and has its AUROC.

    Args:
        examinations: Of several about one image the last counts.
        why_none: The reason, by signal, where no response has it.

    Returns:
        All signals, in the order of `CONFIDENCE_OF`.
    """
    tally = SignalsTally()
    for examination in latest_by_id(examinations):
        tally.add(examination)
    return tally.signals(why_none)


class SignalsTally:
    """Every signal of all whole responses, added up image by image, in the order of the images' ids."""

    def __init__(self) -> None:
        self._units = Units()
        self._image = array("q")
        """[responses]: the index of its image."""
        self._unanswerable = array("b")
        self._values = {name: array("d") for name in CONFIDENCE_OF}
        """[responses] each; NaN where the response has it not."""

    def add(self, examination: Examination) -> None:
        """Count one image.

        Args:
            examination: Of the image; each image once.
        """
        for question in examination.questions:
            if question.answer.outcome == "ok":
                self._image.append(len(self._units))
                self._unanswerable.append(question.intended == "unanswerable")
                for name, value in values_of(question).items():
                    self._values[name].append(nan if value is None else value)
        self._units.add(examination.image)

    def signals(self, why_none: Mapping[SignalName, str]) -> dict[SignalName, Signal]:
        """The figures of every signal.

        Args:
            why_none: The reason, by signal, where no response has it.

        Returns:
            All signals, in the order of `CONFIDENCE_OF`.
        """
        image = self._units.numbers[np.array(self._image, dtype=np.int64)]
        unanswerable = np.array(self._unanswerable, dtype=bool)
        found: dict[SignalName, Signal] = {}
        for name, (_, surer) in CONFIDENCE_OF.items():
            values = np.array(self._values[name])
            there = ~np.isnan(values)
            values, none = values[there], unanswerable[there]
            area = auroc(-surer * values, none)
            interval = auroc_interval(-surer * values, none, image[there])
            why = "not both labels were answered" if len(values) else why_none.get(name, "no response has it")
            means = {
                label: _mean_interval(name, values[chosen], image[there][chosen])
                for label, chosen in (("answerable", ~none), ("unanswerable", none))
            }
            found[name] = Signal(
                n=len(values),
                lacking=len(image) - len(values),
                mean_answerable=mean(values[~none].tolist()),
                mean_unanswerable=mean(values[none].tolist()),
                mean_answerable_ci=means["answerable"].ends,
                mean_unanswerable_ci=means["unanswerable"].ends,
                auroc=area,
                auroc_ci=interval.ends,
                why_undefined="" if area is not None else why,
                why_no_interval="" if area is None else interval.why_undefined,
                undefined=_no_means(means),
            )
        return found


def _mean_interval(name: SignalName, values: NDArray[np.float64], image: NDArray[np.int64]) -> Interval:
    """The interval of a signal's mean, within the signal's range. values, image: [n], of the responses."""
    if name in _IN_THE_UNIT_RANGE:
        return mean_interval(values, image)
    if name not in _FROM_ITS_END:
        return mean_interval(values, image, high=inf)
    end, sign = _FROM_ITS_END[name]
    found = mean_interval(sign * (values - end), image, high=inf)
    ends = found.ends and sorted(end + sign * each for each in found.ends)
    return replace(found, ends=(ends[0], ends[1]) if ends else None)


def _no_means(intervals: Mapping[str, Interval]) -> dict[str, str]:
    """Why a mean, or its interval alone, is None, by its name. intervals: by the label."""
    reasons: dict[str, str] = {}
    for label, found in intervals.items():
        if not found.images:
            why = f"no response to an {label} question has it"
            reasons |= dict.fromkeys((f"mean_{label}", f"mean_{label}_ci"), why)
        elif found.ends is None:
            reasons[f"mean_{label}_ci"] = found.why_undefined
    return reasons


def values_of(question: Question) -> dict[SignalName, float | None]:
    """Every signal of one question.

    Args:
        question: The question with its response.

    Returns:
        By name; None where the question has none.
    """
    classes = _meanings(question)
    drawn = {
        "self_consistency": agreement(classes[0], classes[1:]) if classes else None,
        "semantic_entropy": semantic_entropy(classes) if classes else None,
    }
    return {name: drawn[name] if name in drawn else of(question) for name, (of, _) in CONFIDENCE_OF.items()}


# --- each signal of one question --------------------------------------------------------------------------------------


def mean_logprob(question: Question) -> float | None:
    """The mean log-probability (natural) of the answer's tokens.

    Args:
        question: The question with its response.

    Returns:
        <= 0; None without log-probabilities.
    """
    return question.token_confidence.mean_logprob if question.token_confidence else None


def min_logprob(question: Question) -> float | None:
    """The least log-probability (natural) of the answer's tokens.

    Args:
        question: The question with its response.

    Returns:
        <= 0; None without log-probabilities.
    """
    return question.token_confidence.min_logprob if question.token_confidence else None


def perplexity(question: Question) -> float | None:
    """The answer's perplexity, exp(-mean log-probability).

    Args:
        question: The question with its response.

    Returns:
        >= 1; None without log-probabilities.
    """
    mean = mean_logprob(question)
    return None if mean is None else exp(-mean)


def token_probability(question: Question) -> float | None:
    """exp(mean log-probability): the geometric mean of the tokens' probabilities.

    Args:
        question: The question with its response.

    Returns:
        In (0, 1]; None without log-probabilities.
    """
    mean = mean_logprob(question)
    return None if mean is None else exp(mean)


def stated(question: Question) -> float | None:
    """The confidence that the model states in words.

    Args:
        question: The question with its response.

    Returns:
        In [0, 1]; None if it stated none.
    """
    return question.stated.value if question.stated else None


def p_true(question: Question) -> float | None:
    """P(True): the probability that the model gives to its own answer's being true.

    Args:
        question: The question with its response.

    Returns:
        In [0, 1]; None if there is none.
    """
    return question.p_true.value if question.p_true else None


def self_consistency(question: Question) -> float | None:
    """The share of the further draws that mean the same as the answer.

    Args:
        question: The question with its response.

    Returns:
        In [0, 1]; None without draws.
    """
    classes = _meanings(question)
    return agreement(classes[0], classes[1:]) if classes else None


def entropy(question: Question) -> float | None:
    """Discrete semantic entropy of the answer and its further draws.

    Args:
        question: The question with its response.

    Returns:
        Nats, >= 0; None without draws.
    """
    classes = _meanings(question)
    return semantic_entropy(classes) if classes else None


def declined(question: Question) -> float | None:
    """Whether the response abstained.

    Args:
        question: The question with its response.

    Returns:
        1 if it did, 0 if it answered; None if it is unscored.
    """
    return float(question.act == "abstained") if question.unscored is None and question.act else None


def _meanings(question: Question) -> list[int]:
    """The classes of the answer and of its whole draws; [] without draws."""
    drawn = [sample for sample in question.samples if sample.call.outcome == "ok"]
    if not drawn:
        return []
    texts = [final_text(text).answer for text in (question.response, *(sample.text for sample in drawn))]
    abstained = [question.act == "abstained", *(sample.act == "abstained" for sample in drawn)]
    return meaning_classes(texts, abstained, question=question.text)


CONFIDENCE_OF: dict[SignalName, tuple[Callable[[Question], float | None], int]] = {
    "declined": (declined, -1),
    "mean_logprob": (mean_logprob, 1),
    "min_logprob": (min_logprob, 1),
    "perplexity": (perplexity, -1),
    "stated": (stated, 1),
    "p_true": (p_true, 1),
    "self_consistency": (self_consistency, 1),
    "semantic_entropy": (entropy, -1),
}
"""Each signal of a question, and whether more of it means surer (1) or less sure (-1)."""

_IN_THE_UNIT_RANGE = {"declined", "stated", "p_true", "self_consistency"}

_FROM_ITS_END = {"mean_logprob": (0.0, -1), "min_logprob": (0.0, -1), "perplexity": (1.0, 1)}
"""The end of the range of a signal that has one end other than from 0 up, and in which direction the values lie."""

SIGNAL_WORDS = {
    "declined": ("it declined", "UnSAF's own: what the score counts"),
    "mean_logprob": ("mean log-probability", "of the answer's tokens"),
    "min_logprob": ("least log-probability", "of the answer's tokens"),
    "perplexity": ("perplexity", "orders as the mean log-probability does"),
    "token_probability": ("token probability", "geometric mean over the answer's tokens"),
    "stated": ("stated confidence", "asked for in words, from 0 to 1"),
    "p_true": ("P(True)", "how likely it calls its own answer true"),
    "self_consistency": ("self-consistency", "share of further draws that mean the same"),
    "semantic_entropy": ("semantic entropy", "spread of meanings over the draws, in nats"),
}
"""Each sign of confidence in words, and what it is."""
