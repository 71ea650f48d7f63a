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
from unsaf_async.score.count_intervals import ends_and_reasons
from unsaf_async.score.declining import Declining, DecliningTally, PropensityName
from unsaf_async.score.intervals import Interval, mean_interval, ratio_interval
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
from unsaf_async.score.rank_intervals import aurc_intervals, auroc_interval, ece_interval, nll_interval
from unsaf_async.score.ratios import mean, ratio
from unsaf_async.score.signals import ProbabilityName, p_true, self_consistency, stated, token_probability
from unsaf_async.score.unf1 import latest
from unsaf_async.score.units import Units
from unsaf_async.score.vqa_script import script_accuracy
from unsaf_async.wrappers import final_text

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from numpy.typing import NDArray

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
    """Why there are no responses, and so all figures are None."""
    intervals: dict[str, tuple[float, float]] = Field(default_factory=dict)
    """95 % intervals by the figure's name, with images as the unit; that of `ece` is of what could have brought it about
    (`rank_intervals.ece_interval`), and begins at 0 where chance may have."""
    undefined: dict[str, str] = Field(default_factory=dict)
    """Where there are responses: why `auroc` is None, by its name, and the reason for each figure without an interval, by
    "intervals." and its name."""


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

    intervals: dict[str, tuple[float, float]] = Field(default_factory=dict)
    """95 % intervals by the figure's name, with images as the unit."""
    undefined: dict[str, str] = Field(default_factory=dict)
    """Reason for each figure that is None, by its name, and for each other without an interval, by "intervals." and its name."""

    @classmethod
    def of(cls, images: Mapping[PopeCounts, int]) -> PopeScore:
        """The figures that follow from the counts.

        Args:
            images: How many images have which answers.

        Returns:
            The figures; None where the denominator is 0.
        """
        rows = np.array([list(dict(each).values()) for each in images], dtype=np.int64).reshape(-1, 6)
        times = np.array(list(images.values()), dtype=np.int64)
        counts = PopeCounts(**dict(zip(PopeCounts.model_fields, map(int, times @ rows), strict=True)))
        tp, fp, tn, fn = rows.T[:4]
        answered = tp + fp + tn + fn
        ratios = {
            "accuracy": (tp + tn, rows.sum(axis=1)),
            "accuracy_answered": (tp + tn, answered),
            "precision": (tp, tp + fp),
            "recall": (tp, tp + fn),
            "f1": (2 * tp, 2 * tp + fp + fn),
            "yes_ratio": (tp + fp, answered),
        }
        figures = {name: getattr(counts, name) for name in ratios}
        intervals, why = ends_and_reasons(
            {
                name: ratio_interval(np.stack(pair, axis=1), times)
                for name, pair in ratios.items()
                if figures[name] is not None
            }
        )
        reasons = (
            _WHY_NO_POPE if counts.asked else dict.fromkeys(figures, "no question that yes or no answers was asked")
        )
        none = {name: reasons[name] for name, value in figures.items() if value is None}
        return cls(counts=counts, **figures, intervals=intervals, undefined=none | why)


_NEITHER = "no response says yes or no"
_WHY_NO_POPE = {
    "accuracy_answered": _NEITHER,
    "precision": "no response says yes",
    "recall": "no question of which yes is true was answered by yes or no",
    "f1": "no response says yes, and none says no where yes is true",
    "yes_ratio": _NEITHER,
}
"""Why a figure of `PopeScore` is None where something was asked."""


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
    """95 % interval, with images as the unit."""
    accuracy_official: float | None = None
    """`accuracy` as VQA's official script computes it, to the letter, for comparison with published figures. Words that decline
    count as any others. Where all accepted answers are the same text nothing is normalised: "Red." is wrong against "red"."""
    accuracy_contained: float | None
    """The same if the response only has to contain the answer, as sentences do."""
    accuracy_contained_ci: tuple[float, float] | None
    """95 % interval, with images as the unit."""
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
    intervals: dict[str, tuple[float, float]] = Field(default_factory=dict)
    """95 % intervals of the other figures, by name ("coverage", "by_category.color"), with images as the unit."""
    undefined: dict[str, str] = Field(default_factory=dict)
    """Reason for each figure that is None, by its name, and for each without an interval, by its name with "intervals." before it
    or "_ci" behind."""


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
        self._units = Units()
        self._probes = _Probes() if yes_no_set else None
        self._declining = DecliningTally()
        self._counts: Counter[str] = Counter()
        self._sums = {name: _Sums() for name in ("accuracy", "accuracy_contained", *_OTHERS)}
        self._categories: dict[str, _Sums] = {}
        self._signals = {name: (array("d"), array("b"), array("q")) for name in _SIGNALS}
        """Of each response with the signal: its value, whether the response is right, and the number of its image."""

    def add(self, examination: Examination) -> None:
        """Count one image.

        Args:
            examination: Of the image; each image once.
        """
        if not examination.questions:
            return
        self._declining.add(examination)
        for question in examination.questions:
            if not question.given:
                continue
            right = self._add(question)
            if right is not None and question.answer.outcome == "ok":
                for name, value_of in _SIGNALS.items():
                    if (value := value_of(question)) is not None:
                        values, rights, images = self._signals[name]
                        values.append(value)
                        rights.append(right)
                        images.append(len(self._units))
        if self._probes:
            self._probes.add(examination)
        self._units.add(examination.image)

    def _add(self, question: Question) -> bool | None:
        """Count a question; whether its response is right."""
        right, image, sums = is_right(question), len(self._units), self._sums
        answerable, answered = question.intended == "answerable", question.act == "answered"
        self._counts.update(("asked", question.intended))
        self._counts["unscored"] += question.unscored is not None
        if answerable:
            sums["coverage"].add(answered, image)
        if right is not None:
            sums["dual_accuracy"].add(right, image)
        if answerable and _accepted(question):
            sums["accuracy"].add(exact(question), image)
            official = script_accuracy(final_text(question.response).answer, _accepted(question)) or 0.0
            sums["accuracy_official"].add(official, image)
            sums["accuracy_contained"].add(own := contained(question), image)
            if answered:
                sums["accuracy_answered"].add(own, image)
            if question.given and question.given.category:
                self._categories.setdefault(question.given.category, _Sums()).add(own, image)
        return right

    def labelled(self, why_none: dict[ProbabilityName, str], *, seed: int = 0) -> LabelledScore:
        """The score.

        Args:
            why_none: The reason, by signal, where no response has it.
            seed: Of the draws behind the interval of the calibration error.

        Returns:
            The score; figures without data are None.
        """
        counts, numbers = self._counts, self._units.numbers
        categories = {f"by_category.{name}": self._categories[name] for name in sorted(self._categories)}
        found = {name: sums.interval(numbers) for name, sums in (self._sums | categories).items() if sums.values}
        none = self._why_none()
        named = {
            name: found.pop(name, Interval(why_undefined=none.get(name, "")))
            for name in ("accuracy", "accuracy_contained")
        }
        intervals, why = ends_and_reasons(found)
        pope, official = self._probes.scores(numbers) if self._probes else (None, None)
        return LabelledScore(
            questions=counts["asked"],
            answerable=counts["answerable"],
            unanswerable=counts["unanswerable"],
            unscored=counts["unscored"],
            **{name: sums.mean for name, sums in self._sums.items()},
            **{f"{name}_ci": each.ends for name, each in named.items()},
            by_category={name: sums.total / len(sums.values) for name, sums in sorted(self._categories.items())},
            without_answers=counts["answerable"] - len(self._sums["accuracy"].values),
            calibration={
                name: _calibration(*columns, numbers, why_none.get(name, ""), seed)
                for name, columns in self._signals.items()
            },
            pope=pope,
            pope_official=official,
            declining=self._declining.declining(why_none),
            intervals=intervals,
            undefined=none
            | {f"{name}_ci": each.why_undefined for name, each in named.items() if each.why_undefined}
            | why,
        )

    def _why_none(self) -> dict[str, str]:
        """Why a figure rests on no question, by name."""
        answerable = "no answerable question was asked"
        accepted = "the set accepts no answer to an answerable question" if self._counts["answerable"] else answerable
        answered = (
            "no answerable question with accepted answers was answered" if self._sums["accuracy"].values else accepted
        )
        right = "of no question does the set say what is right" if self._counts["asked"] else "no question was asked"
        reasons = {
            "accuracy": accepted,
            "accuracy_official": accepted,
            "accuracy_contained": accepted,
            "accuracy_answered": answered,
            "coverage": answerable,
            "dual_accuracy": right,
        }
        return {name: reasons[name] for name, sums in self._sums.items() if not sums.values}


_OTHERS = ("accuracy_official", "accuracy_answered", "coverage", "dual_accuracy")


class _Sums:
    """Values of questions, and the number of each one's image."""

    def __init__(self) -> None:
        self.values, self._images = array("d"), array("q")

    def add(self, value: float, image: int) -> None:
        self.values.append(value)
        self._images.append(image)

    @property
    def total(self) -> float:
        return sum(self.values)

    @property
    def mean(self) -> float | None:
        return mean(self.values)

    def interval(self, units: NDArray[np.int64]) -> Interval:
        """units: [images], the number of each image's picture."""
        return mean_interval(np.array(self.values), units[np.array(self._images, dtype=np.int64)])


class _Probes:
    """Questions that are answered by yes or no: by image, what is true and what was said."""

    def __init__(self) -> None:
        self._spoken, self._official = array("H"), array("H")
        """[images, 6] each: the counts of `PopeCounts`."""

    def add(self, examination: Examination) -> None:
        """Count one image."""
        for column, counts in zip((self._spoken, self._official), probe_counts(examination), strict=True):
            column.extend(dict(counts).values())

    def scores(self, units: NDArray[np.int64]) -> tuple[PopeScore, PopeScore]:
        """By `yes_no` and the acts, and by POPE's own rule. units: [images], the number of each image's picture."""
        return self._score(self._spoken, units), self._score(self._official, units)

    def _score(self, column: array[int], units: NDArray[np.int64]) -> PopeScore:
        rows = np.zeros((int(units.max(initial=-1)) + 1, 6), dtype=np.int64)
        np.add.at(rows, units, np.array(column, dtype=np.int64).reshape(-1, 6))
        distinct, times = np.unique(rows, axis=0, return_counts=True)
        names = PopeCounts.model_fields
        return PopeScore.of(
            {
                PopeCounts(**dict(zip(names, row, strict=True))): n
                for row, n in zip(distinct.tolist(), times.tolist(), strict=True)
            }
        )


class RunningAccuracy:
    """The accuracy of yes/no questions so far, as `PopeScore` has it: for a display while images come in."""

    def __init__(self) -> None:
        self._right = self._asked = 0

    def add(self, examination: Examination) -> None:
        """Count one image.

        Args:
            examination: Of an image that was not counted before.
        """
        counts, _ = probe_counts(examination)
        self._right += counts.tp + counts.tn
        self._asked += counts.asked

    @property
    def accuracy(self) -> float | None:
        """(TP + TN) / asked; None while nothing was asked."""
        return ratio(self._right, self._asked)


def probe_counts(examination: Examination) -> tuple[PopeCounts, PopeCounts]:
    """What was said to an image's questions that are answered by yes or no.

    Args:
        examination: Of the image.

    Returns:
        The counts by `yes_no` and the acts, and by POPE's own rule.
    """
    labels: list[Literal["yes", "no"]] = []
    spoken: list[YesNo | None] = []
    official: list[YesNo | None] = []
    for question in examination.questions:
        accepted = _accepted(question)
        if accepted not in (("yes",), ("no",)):
            continue
        text = final_text(question.response).answer
        labels.append("yes" if accepted == ("yes",) else "no")
        spoken.append("abstained" if question.act == "abstained" else yes_no(text))
        official.append(official_yes_no(text))
    return pope_counts(labels, spoken), pope_counts(labels, official)


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


def _calibration(
    values: Sequence[float],
    rights: Sequence[int],
    images: Sequence[int],
    units: NDArray[np.int64],
    why_none: str,
    seed: int,
) -> Calibration:
    """values, rights, images: of the responses with the signal. units: [images], the number of each image's picture."""
    curve = risk_coverage(values, rights)
    figures = {
        "ece": ece(values, rights),
        "brier": brier(values, rights),
        "nll": nll(values, rights),
        "auroc": auroc(values, rights),
        "aurc": curve.aurc if curve else None,
        "e_aurc": curve.e_aurc if curve else None,
    }
    picture = units[np.array(images, dtype=np.int64)]
    found = _calibration_intervals(np.array(values), np.array(rights, dtype=float), picture, seed) if curve else {}
    intervals, why = ends_and_reasons({name: each for name, each in found.items() if figures[name] is not None})
    if values and figures["auroc"] is None:
        why["auroc"] = f"{'every' if all(rights) else 'no'} response with it is right"
    return Calibration(
        n=len(values),
        right=sum(rights),
        **figures,
        reliability=reliability(values, rights),
        risk_coverage=_thinned(list(zip(curve.coverage.tolist(), curve.risk.tolist(), strict=True))) if curve else [],
        why_undefined=why_none or "no response has it" if not values else "",
        intervals=intervals,
        undefined=why,
    )


def _calibration_intervals(
    sure: NDArray[np.float64], right: NDArray[np.float64], image: NDArray[np.int64], seed: int
) -> dict[str, Interval]:
    aurc, e_aurc = aurc_intervals(sure, right, image)
    return {
        "ece": ece_interval(sure, right, image, seed=seed),
        "brier": mean_interval((sure - right) ** 2, image),
        "nll": nll_interval(sure, right, image),
        "auroc": auroc_interval(sure, right, image),
        "aurc": aurc,
        "e_aurc": e_aurc,
    }


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
