"""A labelled set: what is right is known, so that accuracy, calibration and selective risk can be computed. Pure arithmetic.

The abstention precision, recall and F1 of a labelled set are the fields of `Score`: there the label is the truth, and no
instruction.
"""

from __future__ import annotations

from array import array
from collections import Counter
from typing import TYPE_CHECKING, Literal

import numpy as np
from pydantic import Field

from unsaf_async.records import Examination, Question, Record
from unsaf_async.score.bootstrap import ratio_interval
from unsaf_async.score.declining import Declining, DecliningTally, PropensityName
from unsaf_async.score.metrics import (
    Bin,
    PopeCounts,
    YesNo,
    auroc,
    brier,
    ece,
    nll,
    official_yes_no,
    pope_counts,
    reliability,
    risk_coverage,
    vqa_accuracy,
    vqa_accuracy_contained,
    yes_no,
)
from unsaf_async.score.ratios import mean, ratio
from unsaf_async.score.signals import p_true, self_consistency, stated, token_probability
from unsaf_async.score.unf1 import latest
from unsaf_async.score.units import Units
from unsaf_async.score.vqa_script import script_accuracy
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
    accuracy_official: float | None = None
    """`accuracy` as VQA's official script computes it, to the letter, for comparison with published figures. Words that decline
    count as any others. Where all accepted answers are the same text nothing is normalised: "Red." is wrong against "red"."""
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
    declining: dict[PropensityName, Declining] = Field(default_factory=dict)
    """How well it tells questions without an answer, whatever its threshold for declining; by sign of confidence."""


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
    tally = LabelledTally(yes_no_set=yes_no_set)
    for examination in latest(examinations):
        tally.add(examination)
    return tally.labelled(why_none, seed=seed)


class LabelledTally:
    """What the figures of a labelled run are made of, added up image by image."""

    def __init__(self, *, yes_no_set: bool) -> None:
        """A tally of no image.

        Args:
            yes_no_set: Whether all questions are answered by yes or no.
        """
        self._probes = _Probes() if yes_no_set else None
        self._declining = DecliningTally()
        self._counts: Counter[str] = Counter()
        self._exact, self._contained, self._answered, self._right = array("d"), array("d"), array("d"), array("d")
        """Of questions with accepted answers, of those that were answered, and of those of which the set says what is right."""
        self._units = Units()
        self._official = array("d")
        """Of questions with accepted answers."""
        self._by_image = array("d")
        """[images, 3]: the sums of exact and contained accuracy, and the number of questions with accepted answers."""
        self._categories: dict[str, array[float]] = {}
        self._signals = {name: (array("d"), array("b")) for name in _SIGNALS}
        """Of each response with the signal: its value, and whether the response is right."""

    def add(self, examination: Examination) -> None:
        """Count one image.

        Args:
            examination: Of the image; each image once.
        """
        if not examination.questions:
            return
        self._declining.add(examination)
        sums = [0.0, 0.0, 0.0]
        for question in examination.questions:
            if not question.given:
                continue
            right = self._add(question)
            if question.intended == "answerable" and _accepted(question):
                own = exact(question), contained(question)
                self._add_accuracy(question, *own)
                sums = [sums[0] + own[0], sums[1] + own[1], sums[2] + 1]
            if right is not None and question.answer.outcome == "ok":
                for name, value_of in _SIGNALS.items():
                    if (value := value_of(question)) is not None:
                        self._signals[name][0].append(value)
                        self._signals[name][1].append(right)
        self._units.add(examination.image)
        self._by_image.extend(sums)

    def _add(self, question: Question) -> bool | None:
        """Count a question; whether its response is right."""
        right = is_right(question)
        self._counts.update(("asked", question.intended))
        self._counts["unscored"] += question.unscored is not None
        self._counts["covered"] += question.intended == "answerable" and question.act == "answered"
        if right is not None:
            self._right.append(right)
        if self._probes:
            self._probes.add(question)
        return right

    def _add_accuracy(self, question: Question, own_exact: float, own_contained: float) -> None:
        self._exact.append(own_exact)
        self._official.append(script_accuracy(final_text(question.response).answer, _accepted(question)) or 0.0)
        self._contained.append(own_contained)
        if question.act == "answered":
            self._answered.append(own_contained)
        if question.given and question.given.category:
            self._categories.setdefault(question.given.category, array("d")).append(own_contained)

    def labelled(self, why_none: dict[ProbabilityName, str], *, seed: int = 0) -> LabelledScore:
        """The score.

        Args:
            why_none: The reason, by signal, where no response has it.
            seed: Of the resampling.

        Returns:
            The score; figures without data are None.
        """
        counts = self._counts
        by_image = self._units.sums(np.array(self._by_image).reshape(-1, 3))
        pope, official = self._probes.scores() if self._probes else (None, None)
        return LabelledScore(
            questions=counts["asked"],
            answerable=counts["answerable"],
            unanswerable=counts["unanswerable"],
            unscored=counts["unscored"],
            accuracy=mean(self._exact),
            accuracy_ci=ratio_interval(by_image[:, (0, 2)], seed=seed),
            accuracy_official=mean(self._official),
            accuracy_contained=mean(self._contained),
            accuracy_contained_ci=ratio_interval(by_image[:, (1, 2)], seed=seed),
            accuracy_answered=mean(self._answered),
            coverage=ratio(counts["covered"], counts["answerable"]),
            dual_accuracy=mean(self._right),
            by_category={name: sum(values) / len(values) for name, values in sorted(self._categories.items())},
            without_answers=counts["answerable"] - len(self._exact),
            calibration={
                name: _calibration(values, rights, why_none.get(name, ""))
                for name, (values, rights) in self._signals.items()
            },
            pope=pope,
            pope_official=official,
            declining=self._declining.declining(why_none),
        )


class _Probes:
    """Questions that are answered by yes or no, by what is true and what was said."""

    def __init__(self) -> None:
        self._spoken: Counter[tuple[Literal["yes", "no"], YesNo | None]] = Counter()
        self._official: Counter[tuple[Literal["yes", "no"], YesNo]] = Counter()

    def add(self, question: Question) -> None:
        accepted = _accepted(question)
        if accepted not in (("yes",), ("no",)):
            return
        label: Literal["yes", "no"] = "yes" if accepted == ("yes",) else "no"
        text = final_text(question.response).answer
        self._spoken[label, "abstained" if question.act == "abstained" else yes_no(text)] += 1
        self._official[label, official_yes_no(text)] += 1

    def scores(self) -> tuple[PopeScore, PopeScore]:
        """By `yes_no` and the acts, and by POPE's own rule."""
        spoken, official = list(self._spoken.elements()), list(self._official.elements())
        return (
            PopeScore.of(pope_counts([label for label, _ in spoken], [said for _, said in spoken])),
            PopeScore.of(pope_counts([label for label, _ in official], [said for _, said in official])),
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


def _calibration(values: Sequence[float], rights: Sequence[int], why_none: str) -> Calibration:
    """values: of the responses with the signal. rights: whether each is right."""
    curve = risk_coverage(values, rights)
    return Calibration(
        n=len(values),
        right=sum(rights),
        ece=ece(values, rights),
        brier=brier(values, rights),
        nll=nll(values, rights),
        auroc=auroc(values, rights),
        aurc=curve.aurc if curve else None,
        e_aurc=curve.e_aurc if curve else None,
        reliability=reliability(values, rights),
        risk_coverage=_thinned(list(zip(curve.coverage.tolist(), curve.risk.tolist(), strict=True))) if curve else [],
        why_undefined=why_none or "no response has it" if not values else "",
    )


def _thinned(points: list[tuple[float, float]]) -> list[tuple[float, float]]:
    """At most `CURVE_POINTS` of them, evenly spread, the last one among them."""
    step = -(-len(points) // CURVE_POINTS)
    return points[(len(points) - 1) % step :: step]


_SIGNALS: dict[ProbabilityName, Callable[[Question], float | None]] = {
    "token_probability": token_probability,
    "stated": stated,
    "p_true": p_true,
    "self_consistency": self_consistency,
}
