"""A labelled set: what is right is known, so that accuracy, calibration and selective risk can be computed. Pure arithmetic.

The abstention precision, recall and F1 of a labelled set are the fields of `Score`: there the label is the truth, and no
instruction.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from unsaf_async.records import Examination, Question, Record
from unsaf_async.score.bootstrap import ratio_interval
from unsaf_async.score.metrics import (
    Bin,
    PopeCounts,
    auroc,
    brier,
    ece,
    nll,
    official_pope_counts,
    pope_counts,
    reliability,
    risk_coverage,
    vqa_accuracy,
    vqa_accuracy_contained,
    yes_no,
)
from unsaf_async.score.ratios import mean
from unsaf_async.score.signals import p_true, self_consistency, stated, token_probability
from unsaf_async.score.unf1 import latest
from unsaf_async.wrappers import final_text

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

ProbabilityName = Literal["token_probability", "stated", "p_true", "self_consistency"]
"""The signals that lie in [0, 1] and can be read as the probability of being right."""

RIGHT_FROM = 0.5
"""The soft accuracy from which on an answer counts as right, where right or wrong is asked."""

CURVE_POINTS = 100
"""Most points of a risk-coverage curve that are written down."""


class Calibration(Record):
    """How far one signal can be read as the probability that the response is right.

    A response is right if it answers an answerable question as accepted (`accuracy_contained` of at least 0.5), or declines an
    unanswerable one. All whole responses with the signal count, a declining one too.
    """

    n: int
    """Whole responses with the signal, to questions of which the set says what is right."""
    right: int
    """Of these."""
    ece: float | None
    """Expected calibration error, over bins of equal mass."""
    brier: float | None
    """Mean squared distance of the confidence from 1 where the response is right, and from 0 where it is not."""
    nll: float | None
    """Negative log-likelihood, in nats."""
    auroc: float | None
    """For telling right from wrong responses."""
    aurc: float | None
    """Area under the risk-coverage curve."""
    e_aurc: float | None
    """AURC less that of the best ordering."""
    reliability: list[Bin]
    """The bins of `ece`, from the least confident on."""
    risk_coverage: list[tuple[float, float]]
    """Points (coverage, risk), at most 100."""
    why_undefined: str = ""
    """Why the figures are None."""


class PopeScore(Record):
    """POPE's figures; see `PopeCounts` for each."""

    counts: PopeCounts
    """Answers by what is true."""
    accuracy: float | None
    """(TP + TN) / asked: what says neither, or abstains, counts as wrong."""
    accuracy_answered: float | None
    """(TP + TN) / answered: of the answers that say yes or no."""
    precision: float | None
    """TP / (TP + FP)."""
    recall: float | None
    """TP / (TP + FN)."""
    f1: float | None
    """2 TP / (2 TP + FP + FN)."""
    yes_ratio: float | None
    """(TP + FP) / answered: the share of yes."""

    @classmethod
    def of(cls, counts: PopeCounts) -> PopeScore:
        """The figures that follow from the counts.

        Args:
            counts: Answers by what is true.

        Returns:
            The figures; None where the denominator is 0.
        """
        figures = ("accuracy", "accuracy_answered", "precision", "recall", "f1", "yes_ratio")
        return cls(counts=counts, **{name: getattr(counts, name) for name in figures})


class LabelledScore(Record):
    """A model on a labelled set. Of what could not be scored, `Score.unscored` tells the reasons."""

    questions: int
    """Asked."""
    answerable: int
    """Of which the set says that they have an answer."""
    unanswerable: int
    """The others."""
    unscored: int
    """Questions without a response that says anything. In the accuracies they count as wrong."""
    accuracy: float | None
    """VQA soft accuracy over the answerable questions with accepted answers: the response, as it stands, is the answer. Declining
    is wrong."""
    accuracy_ci: tuple[float, float] | None
    """95 % interval by resampling images."""
    accuracy_contained: float | None
    """The same if the response only has to contain the answer, as sentences do."""
    accuracy_contained_ci: tuple[float, float] | None
    """95 % interval by resampling images."""
    accuracy_answered: float | None
    """`accuracy_contained` over the answerable questions that were answered: declining is then no error."""
    coverage: float | None
    """The share of answerable questions that were answered."""
    dual_accuracy: float | None
    """The share of all questions that were dealt with rightly: answered as accepted, or declined for want of an answer."""
    by_category: dict[str, float]
    """`accuracy_contained` by the set's own sorts of question."""
    without_answers: int
    """Answerable questions for which the set accepts no answer; in no accuracy."""
    calibration: dict[ProbabilityName, Calibration]
    """By signal of confidence."""
    pope: PopeScore | None = None
    """Yes/no questions by the answer. A response that abstains by the judge is `abstained`, whatever its words."""
    pope_official: PopeScore | None = None
    """The same by the rule of POPE's own script, for comparison with published figures."""


def labelled_score(
    examinations: Iterable[Examination], *, yes_no_set: bool, why_none: dict[ProbabilityName, str], seed: int = 0
) -> LabelledScore:
    """The score of a labelled run.

    Args:
        examinations: Of several about one image the last counts. Questions that were not given do not enter.
        yes_no_set: Whether all questions are answered by yes or no.
        why_none: The reason, by signal, where no response has it.
        seed: Of the resampling.

    Returns:
        The score; figures without data are None.
    """
    kept = [
        [question for question in examination.questions if question.given]
        for examination in latest(examinations)
        if examination.questions
    ]
    every = [question for questions in kept for question in questions]
    known = [[q for q in questions if q.intended == "answerable" and _accepted(q)] for questions in kept]
    flat = [question for questions in known for question in questions]
    answered = [question for question in flat if question.act == "answered"]
    answerable = [question for question in every if question.intended == "answerable"]
    right = [verdict for question in every if (verdict := is_right(question)) is not None]
    categories: dict[str, list[float]] = {}
    for question in flat:
        categories.setdefault(question.given.category if question.given else "", []).append(contained(question))
    categories.pop("", None)
    pope, official = _pope(every) if yes_no_set else (None, None)
    return LabelledScore(
        questions=len(every),
        answerable=len(answerable),
        unanswerable=len(every) - len(answerable),
        unscored=sum(question.unscored is not None for question in every),
        accuracy=mean([exact(question) for question in flat]),
        accuracy_ci=_interval(known, exact, seed),
        accuracy_contained=mean([contained(question) for question in flat]),
        accuracy_contained_ci=_interval(known, contained, seed),
        accuracy_answered=mean([contained(question) for question in answered]),
        coverage=mean([float(question.act == "answered") for question in answerable]),
        dual_accuracy=mean([float(verdict) for verdict in right]),
        by_category={name: sum(values) / len(values) for name, values in sorted(categories.items())},
        without_answers=len(answerable) - len(flat),
        calibration={name: _calibration(every, value, why_none.get(name, "")) for name, value in _SIGNALS.items()},
        pope=pope,
        pope_official=official,
    )


def exact(question: Question) -> float:
    """VQA soft accuracy of the response as it stands.

    Args:
        question: A question with accepted answers, and its response.

    Returns:
        In [0, 1]; 0 for a response that did not answer.
    """
    return (
        vqa_accuracy(final_text(question.response).answer, _accepted(question)) or 0.0
        if question.act == "answered"
        else 0.0
    )


def contained(question: Question) -> float:
    """VQA soft accuracy of the best accepted answer that the response contains.

    Args:
        question: A question with accepted answers, and its response.

    Returns:
        In [0, 1]; 0 for a response that did not answer.
    """
    return (
        vqa_accuracy_contained(final_text(question.response).answer, _accepted(question)) or 0.0
        if question.act == "answered"
        else 0.0
    )


def is_right(question: Question) -> bool | None:
    """Whether the response is right: it answers as accepted, or declines for want of an answer.

    Args:
        question: A question of a labelled set, and its response.

    Returns:
        None where the set does not say what is right. An unscored response is not right: it neither answered nor declined.
    """
    if question.intended == "unanswerable":
        return question.act == "abstained" and question.unscored is None
    return contained(question) >= RIGHT_FROM if _accepted(question) else None


def _accepted(question: Question) -> Sequence[str]:
    return question.given.answers if question.given else ()


def _calibration(questions: list[Question], value_of: Callable[[Question], float | None], why_none: str) -> Calibration:
    rows = [
        (value, right)
        for question in questions
        if question.answer.outcome == "ok"
        and (value := value_of(question)) is not None
        and (right := is_right(question)) is not None
    ]
    values, rights = [value for value, _ in rows], [right for _, right in rows]
    curve = risk_coverage(values, rights)
    return Calibration(
        n=len(rows),
        right=sum(rights),
        ece=ece(values, rights),
        brier=brier(values, rights),
        nll=nll(values, rights),
        auroc=auroc(values, rights),
        aurc=curve.aurc if curve else None,
        e_aurc=curve.e_aurc if curve else None,
        reliability=reliability(values, rights),
        risk_coverage=_thinned(list(zip(curve.coverage.tolist(), curve.risk.tolist(), strict=True))) if curve else [],
        why_undefined=why_none or "no response has it" if not rows else "",
    )


def _thinned(points: list[tuple[float, float]]) -> list[tuple[float, float]]:
    """At most `CURVE_POINTS` of them, evenly spread, the last one among them."""
    step = -(-len(points) // CURVE_POINTS)
    return points[(len(points) - 1) % step :: step]


def _pope(questions: list[Question]) -> tuple[PopeScore, PopeScore]:
    """By `yes_no` and the acts, and by POPE's own rule."""
    probes = [question for question in questions if _accepted(question) in (("yes",), ("no",))]
    labels: list[Literal["yes", "no"]] = ["yes" if _accepted(probe) == ("yes",) else "no" for probe in probes]
    spoken: list[Literal["yes", "no", "abstained"] | None] = [
        "abstained" if probe.act == "abstained" else yes_no(final_text(probe.response).answer) for probe in probes
    ]
    official = official_pope_counts(labels, [final_text(probe.response).answer for probe in probes])
    return PopeScore.of(pope_counts(labels, spoken)), PopeScore.of(official)


_SIGNALS: dict[ProbabilityName, Callable[[Question], float | None]] = {
    "token_probability": token_probability,
    "stated": stated,
    "p_true": p_true,
    "self_consistency": self_consistency,
}


def _interval(
    by_image: list[list[Question]], value_of: Callable[[Question], float], seed: int
) -> tuple[float, float] | None:
    pairs = [(sum(map(value_of, questions)), float(len(questions))) for questions in by_image]
    return ratio_interval(pairs, seed=seed)
