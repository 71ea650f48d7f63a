"""Conventional signs of confidence, on the same answers: how well does each tell the questions that have no answer?

These are what one would use without UnSAF: the probabilities of an answer's tokens, what the model says of its own certainty, and
whether it says the same again. For each, the AUROC for telling intended-unanswerable from intended-answerable questions by low
confidence; .5 is chance. The yardstick among them is whether the response declined. Pure arithmetic.
"""

from __future__ import annotations

from math import exp
from typing import TYPE_CHECKING, Literal

from unsaf_async.records import Examination, Question, Record
from unsaf_async.score.meaning import agreement, meaning_classes, semantic_entropy
from unsaf_async.score.metrics import auroc, auroc_interval
from unsaf_async.score.ratios import mean
from unsaf_async.score.unf1 import latest
from unsaf_async.wrappers import final_text

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

SignalName = Literal[
    "declined", "mean_logprob", "min_logprob", "perplexity", "stated", "p_true", "self_consistency", "semantic_entropy"
]
"""declined: whether the response abstained. mean_logprob, min_logprob, perplexity: of the answer's tokens. stated: confidence in
words, 0 to 1. p_true: P(True). self_consistency: the share of further draws that mean the same as the answer. semantic_entropy:
over the meanings of the answer and its draws, in nats; meanings by the local rule of `meaning.meaning_classes`."""


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
    auroc: float | None
    """The share of pairs in which the unanswerable question got the lower confidence, ties half; in [0, 1]."""
    auroc_ci: tuple[float, float] | None
    """95 % interval by resampling images."""
    why_undefined: str = ""
    """Why there is no AUROC."""


def signals(
    examinations: Iterable[Examination], why_none: Mapping[SignalName, str], *, seed: int = 0
) -> dict[SignalName, Signal]:
    """Every signal over all whole responses, scored or not.

    Perplexity is exp(-mean_logprob), so it orders the responses as that does, and has its AUROC.

    Args:
        examinations: Of several about one image the last counts.
        why_none: The reason, by signal, where no response has it.
        seed: Of the resampling.

    Returns:
        All signals, in the order of `CONFIDENCE_OF`.
    """
    kept = [
        (examination.image.id, question, values_of(question))
        for examination in latest(examinations)
        for question in examination.questions
        if question.answer.outcome == "ok"
    ]
    return {name: _signal(kept, name, why_none.get(name, "no response has it"), seed) for name in CONFIDENCE_OF}


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


def _signal(
    kept: list[tuple[str, Question, dict[SignalName, float | None]]], name: SignalName, why_none: str, seed: int
) -> Signal:
    surer = CONFIDENCE_OF[name][1]
    rows = [(image, question, value) for image, question, own in kept if (value := own[name]) is not None]
    unanswerable = [question.intended == "unanswerable" for _, question, _ in rows]
    values = [value for *_, value in rows]
    doubts = [-surer * value for value in values]
    area = auroc(doubts, unanswerable)
    return Signal(
        n=len(rows),
        lacking=len(kept) - len(rows),
        mean_answerable=mean([value for value, none in zip(values, unanswerable, strict=True) if not none]),
        mean_unanswerable=mean([value for value, none in zip(values, unanswerable, strict=True) if none]),
        auroc=area,
        auroc_ci=None
        if area is None
        else auroc_interval(doubts, unanswerable, [image for image, *_ in rows], seed=seed),
        why_undefined="" if area is not None else "not both labels were answered" if rows else why_none,
    )


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
