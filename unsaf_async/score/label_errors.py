"""UnF1 without the errors of the intended labels, from trusted labels on a random sample of the questions.

A question's label is the instruction under which it was written, and that is wrong for some. Of each cell of intended label
and act a random sample is labelled by somebody who sees image and question (`label_sample`). With N_h questions in cell h, of
which the share d_h can be decided, and of these the share p_h has no answer in the image,

    TU = sum over abstained h of N_h d_h p_h       FA = sum over answered h of N_h d_h p_h
    FU = sum over abstained h of N_h d_h (1 - p_h)     UnF1 = 2 TU / (2 TU + FU + FA)

This is double sampling: a cheap label for all, a dear one for some (A. Tenenbein, "A double sampling scheme for estimating
from binomial data with misclassifications", JASA 65 (1970), 1350-1361; Cochran, Sampling Techniques (1977), 12.2). With the
cells as the prediction it is prediction-powered inference with the best weight in each (Angelopoulos et al., Science 382
(2023); PPI++, arXiv:2311.01453).

The interval was chosen by simulation (docs/validity.md). A plain standard error covers too rarely: where no label of a cell
was found wrong, it takes that for certain. So each p_h and d_h has its interval by Jeffreys' prior (Brown, Cai & DasGupta,
Statistical Science 16 (2001)); each end moves the figure by some distance, and the distances are combined (Zou & Donner,
Statistics in Medicine 27 (2008), doi:10.1002/sim.3095). That is for independent questions. It is widened by Student's t of as
many images as the labels count for, and by the design effect: how much more the images scatter than such questions would
(Kish, Survey Sampling (1965), 8.2). To it comes that other images would have other cells (`intervals.smooth_interval`); and
where the judge's error rates are known, its errors are reckoned out on both true sides, with what its own labelled responses
leave open (`calibration`). The three are independent.
"""

from __future__ import annotations

import math
from array import array
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np

from unsaf_async.records import Act, Decider, Label, Record
from unsaf_async.score.bootstrap import CONFIDENCE, RESAMPLES, UNDEFINED_LIMIT, Z
from unsaf_async.score.calibration import KnownDecider, drawn_rates, f1_of_sides, true_abstentions
from unsaf_async.score.distributions import beta_quantile, t_quantile
from unsaf_async.score.intervals import degrees_of_freedom, effective_images, smooth_interval
from unsaf_async.score.label_sample import CELLS, question_key, random_number
from unsaf_async.score.ratios import quotients
from unsaf_async.score.unf1 import BOUNDS_ALONE, Counts, cell
from unsaf_async.score.units import Units

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from typing import Any

    from numpy.typing import NDArray

    from unsaf_async.records import Examination
    from unsaf_async.score.calibration import Confusion

Verdict = Literal["answerable", "unanswerable", "cannot-say"]
"""What somebody who sees image and question says: whether the image answers it."""

VERDICTS: tuple[Verdict, ...] = ("answerable", "unanswerable", "cannot-say")

AUDITOR = "auditor "
"""How the source of an auditor's labels begins; its name follows."""

FEWEST_LABELS = 50
"""Below so many decided labels nothing is corrected: the interval would be about .15 wide or wider, as much as there is to
correct. Its coverage was tried from 30 labels on."""

_OF_CELL: tuple[tuple[Label, Act], ...] = (
    ("answerable", "answered"),
    ("answerable", "abstained"),
    ("unanswerable", "answered"),
    ("unanswerable", "abstained"),
)
_ABSTAINED = np.array([act == "abstained" for _, act in _OF_CELL])


@dataclass(frozen=True, slots=True)
class TrustedLabel:
    """What is known of one question: whether the image answers it, and who says so, such as "by hand"."""

    label: Verdict
    source: str = "by hand"


class LabelCell(Record):
    """The questions of one intended label on which the model did one thing, and what trusted labels say of them."""

    intended: Label
    """What they were meant to be."""
    act: Act
    """What the model did."""
    questions: int
    """Scored, of the run."""
    answerable: int
    """Of the labelled ones, how many the image answers."""
    unanswerable: int
    """How many it does not."""
    cannot_say: int
    """How many could not be decided."""
    inclusion: float
    """The labelled share: the chance of each question to be in the sample."""


class LabelCorrected(Record):
    """UnF1 as it would be with true labels."""

    unf1: float | None
    """Corrected, in [0, 1]: over the questions that can be decided."""
    unf1_ci: tuple[float, float] | None
    """95 % interval: over images, over questions without a trusted label, and over the judge's errors where they are known."""
    unf1_intended: float | None
    """With the intended labels: the headline."""
    unf1_if_undecided: tuple[float, float] | None
    """[least, greatest] corrected UnF1 over all that the questions may be that nobody could decide."""
    labels: int
    """Trusted labels that enter, those that decide nothing included."""
    cannot_say: int
    """Of these, how many decide nothing; `unf1` leaves such questions out."""
    out_of_turn: int
    """Labels that do not enter: a question before them in the random order has none, and leaving it out may be no accident."""
    not_in_run: int
    """Labels of questions that are none of the run's scored ones."""
    sources: dict[str, int]
    """Who gave the labels that enter, and how many. An auditor's errors are in `unf1`: it is taken at its word."""
    cells: list[LabelCell]
    """The four strata, those without questions left out."""
    design_effect: float | None
    """How many times as much the labels' sampling variance is, for questions of one image are alike; at least 1."""
    judge_corrected: bool
    """Whether the judge's errors are reckoned out, too."""
    why_judge_not_corrected: str
    """Why they are not; "" if they are."""
    why_undefined: dict[str, str]
    """Reason for each figure of this record that is None."""


def about_labels(corrected: LabelCorrected) -> Iterator[str]:
    """What a reader of a corrected UnF1 should know of the labels that it rests on, in words.

    Args:
        corrected: The corrected score.

    Yields:
        A line each.
    """
    questions = sum(each.questions for each in corrected.cells)
    givers = ", ".join(f"{n:,} {who if who == 'by hand' else f'by {who}'}" for who, n in corrected.sources.items())
    whose = f" ({givers})" if givers else ""
    yield f"{corrected.labels:,} trusted labels of {questions:,} questions{whose}"
    if corrected.cannot_say:
        bounds = corrected.unf1_if_undecided
        whatever = f"; whatever these are, it is {bounds[0]:.3f} to {bounds[1]:.3f}" if bounds else ""
        yield f"{corrected.cannot_say:,} of them decide nothing, and such questions are left out{whatever}"
    if corrected.out_of_turn:
        yield (
            f"{corrected.out_of_turn:,} more do not enter: a question before them in the random order has no label yet, and "
            "what was passed over may be no accident"
        )
    if corrected.not_in_run:
        yield f"{corrected.not_in_run:,} more are of questions that are none of the run's scored ones"
    if any(who.startswith(AUDITOR) for who in corrected.sources):
        yield "an auditor's own errors are in it"
    if corrected.why_judge_not_corrected:
        yield f"the judge's errors are not reckoned out: {corrected.why_judge_not_corrected}"


class LabelTally:
    """A run's scored questions and what trusted labels say of them, added up image by image, in the order of the images' ids."""

    def __init__(
        self, labels: Mapping[str, TrustedLabel], seed: int, known: Mapping[Decider, Confusion] | None = None
    ) -> None:
        """A tally of no image.

        Args:
            labels: By the questions' keys (`label_sample.question_key`).
            seed: The run's: of the random order.
            known: What is known of the judge's errors, by decider; None: nothing.
        """
        self._labels, self._seed, self._known = labels, seed, known
        self._units = Units()
        self._deciders: dict[Decider | Literal["unknown"], int] = {}
        self._counts = array("q")
        """[counts, 4]: image, cell, decider, how many."""
        self._labelled = array("Q")
        """[labels, 4]: image, cell, verdict, random number."""
        self._sources: list[str] = []
        self._first_without: list[int | None] = [None] * len(CELLS)
        self._found: set[str] = set()

    def add(self, examination: Examination) -> None:
        """Count one image.

        Args:
            examination: Of the image; each image once.
        """
        if not examination.questions:
            return
        counts: Counter[tuple[int, int]] = Counter()
        for question in examination.questions:
            where = cell(question)
            if where is None:
                continue
            row = CELLS.index(where)
            counts[row, self._deciders.setdefault(question.decided_by or "unknown", len(self._deciders))] += 1
            key = question_key(examination.image, question.text)
            number, label = random_number(key, self._seed), self._labels.get(key)
            if label is None:
                before = self._first_without[row]
                self._first_without[row] = number if before is None else min(before, number)
            else:
                self._labelled.extend((len(self._units), row, VERDICTS.index(label.label), number))
                self._sources.append(label.source)
                self._found.add(key)
        for (row, decider), n in counts.items():
            self._counts.extend((len(self._units), row, decider, n))
        self._units.add(examination.image)

    def corrected(self, between: tuple[float, float] | None = None) -> LabelCorrected:
        """UnF1 corrected for the errors of the intended labels.

        Args:
            between: The bounds of UnF1 where so much is unscored that they are its headline: then nothing is corrected, for
                labels tell nothing of what is unscored. None where UnF1 is the headline.

        Returns:
            The corrected score. What cannot be computed is None with its reason.
        """
        image, row, decider, n = np.array(self._counts, dtype=np.int64).reshape(-1, 4).T
        counts = np.zeros((len(self._units), len(CELLS), max(1, len(self._deciders))), dtype=np.int64)
        counts[image, row, decider] = n
        labelled = np.array(self._labelled, dtype=np.uint64).reshape(-1, 4)
        limits = [2**64 - 1 if first is None else first for first in self._first_without]
        in_turn = np.array(
            [int(number) < limits[int(of)] or self._first_without[int(of)] is None for _, of, _, number in labelled],
            dtype=bool,
        )
        used = labelled[in_turn, :3].astype(np.int64)
        sources = Counter(source for source, enters in zip(self._sources, in_turn, strict=True) if enters)
        sample = _Sample(
            self._units.sums(counts),
            self._units.numbers[used[:, 0]] if len(used) else used[:, 0],
            used[:, 1],
            used[:, 2],
        )
        deciders = [
            KnownDecider(name, None if name == "unknown" or self._known is None else self._known.get(name))
            for name in self._deciders
        ]
        return _corrected(
            sample,
            deciders,
            self._seed,
            is_open=between is not None,
            out_of_turn=int((~in_turn).sum()),
            not_in_run=len(self._labels.keys() - self._found),
            sources=dict(sorted(sources.items())),
        )


@dataclass(frozen=True, eq=False)
class _Sample:
    """counts: [pictures, cells, deciders]. picture, cells, verdict: of each labelled question."""

    counts: NDArray[np.int64]
    picture: NDArray[np.int64]
    cells: NDArray[np.int64]
    verdict: NDArray[np.int64]

    @property
    def total(self) -> NDArray[np.int64]:
        """[cells, deciders]."""
        return np.asarray(self.counts.sum(axis=0))

    @property
    def said(self) -> NDArray[np.int64]:
        """[cells, verdicts]."""
        said = np.zeros((len(CELLS), len(VERDICTS)), dtype=np.int64)
        np.add.at(said, (self.cells, self.verdict), 1)
        return said


@dataclass(frozen=True, eq=False)
class _Rates:
    """unanswerable: of the decided questions of each cell, the share without an answer. decided: the share of those; [..., 4]."""

    unanswerable: NDArray[np.float64]
    decided: NDArray[np.float64]

    @classmethod
    def of(cls, said: NDArray[Any]) -> _Rates:
        decided = said[:, 0] + said[:, 1]
        return cls(
            np.nan_to_num(quotients(said[:, 1], decided), nan=0.0),
            np.nan_to_num(quotients(decided, decided + said[:, 2]), nan=1.0),
        )

    def unf1(self, counts: NDArray[Any], se: NDArray[np.float64], sp: NDArray[np.float64]) -> NDArray[np.float64]:
        """UnF1 of questions by cell and decider, [..., 4, deciders], whose labels are so often true."""
        decided = counts * self.decided[..., None]
        without = decided * self.unanswerable[..., None]
        sides = np.stack([without, decided - without], axis=-1)  # [..., cells, deciders, sides]
        tables = np.stack(
            [sides[..., ~_ABSTAINED, :, :].sum(axis=-3), sides[..., _ABSTAINED, :, :].sum(axis=-3)], axis=-1
        )
        return f1_of_sides(*true_abstentions(tables, se, sp))


def _corrected(
    sample: _Sample,
    deciders: list[KnownDecider],
    seed: int,
    *,
    is_open: bool,
    out_of_turn: int,
    not_in_run: int,
    sources: dict[str, int],
) -> LabelCorrected:
    total, said = sample.total, sample.said
    questions = total.sum(axis=1)
    why_judge = _why_not_the_judge(deciders)
    if why_judge:
        deciders = [KnownDecider(each.name, None) for each in deciders]
    open_ = BOUNDS_ALONE if is_open else ""
    why, value, ends, undecided, design = open_ or _why_none(questions, said), None, None, None, None
    if not why:
        found = _Figure(sample, _Rates.of(said), deciders)
        value, undecided = found.value, found.if_undecided()
        design, ends, why = found.interval(seed, judge=not why_judge)
    undefined = {} if value is not None else dict.fromkeys(("unf1", "unf1_if_undecided", "design_effect"), why)
    intended = Counts(**dict(zip(CELLS, map(int, questions), strict=True))).unf1
    if is_open:
        intended, undefined["unf1_intended"] = None, open_
    elif intended is None:
        undefined["unf1_intended"] = "no question that was intended unanswerable was scored"
    return LabelCorrected(
        unf1=value,
        unf1_ci=ends,
        unf1_intended=intended,
        unf1_if_undecided=undecided,
        labels=int(said.sum()),
        cannot_say=int(said[:, 2].sum()),
        out_of_turn=out_of_turn,
        not_in_run=not_in_run,
        sources=sources,
        cells=[
            LabelCell(
                intended=label,
                act=act,
                questions=int(of),
                answerable=int(each[0]),
                unanswerable=int(each[1]),
                cannot_say=int(each[2]),
                inclusion=float(each.sum() / of),
            )
            for (label, act), of, each in zip(_OF_CELL, questions, said, strict=True)
            if of
        ],
        design_effect=design,
        judge_corrected=not why_judge,
        why_judge_not_corrected=why_judge,
        why_undefined=undefined | ({} if ends else {"unf1_ci": why}),
    )


def _why_none(questions: NDArray[np.int64], said: NDArray[np.int64]) -> str:
    """Why nothing is corrected; "" if it is."""
    decided = said[:, :2].sum(axis=1)
    if not questions.sum():
        return "no question was scored"
    if decided.sum() < FEWEST_LABELS and (said.sum(axis=1) < questions).any():
        return (
            f"a correction needs at least {FEWEST_LABELS} labels that decide something, for fewer leave an interval about .15 "
            f"wide or wider; there are {decided.sum()}"
        )
    for (label, act), of, n in zip(_OF_CELL, questions, decided, strict=True):
        if of and not n:
            what = "the one question" if of == 1 else f"the {of:,} questions"
            return f"no label decides anything about {what} that were intended {label} and {act}; label more"
    if not said[:, 1].sum():
        return "no labelled question is unanswerable"
    return ""


def _why_not_the_judge(deciders: list[KnownDecider]) -> str:
    """Why the deciders' errors are not reckoned out; "" if they are."""
    if not any(decider.confusion for decider in deciders):
        return "its error rates are not known (`judge calibrate` finds them)"
    return next((decider.why_not for decider in deciders if decider.why_not), "")


class _Figure:
    """The corrected UnF1 of a sample, and how far it may be from what it would be with all labels, other images, no errors."""

    def __init__(self, sample: _Sample, rates: _Rates, deciders: list[KnownDecider]) -> None:
        self._sample, self._rates, self._deciders = sample, rates, deciders
        self._se, self._sp = (np.array([getattr(each, name) for each in deciders]) for name in ("se", "sp"))
        self.value = float(self._with(rates))

    def _with(self, rates: _Rates) -> NDArray[np.float64]:
        return rates.unf1(self._sample.total, self._se, self._sp)

    def if_undecided(self) -> tuple[float, float]:
        """The figure if all that could not be decided were to the model's disadvantage, and to its advantage."""
        said = self._sample.said
        ends = []
        for unanswerable in (~_ABSTAINED, _ABSTAINED):
            resolved = said.copy()
            resolved[:, 2] = 0
            resolved[np.arange(len(CELLS)), unanswerable.astype(int)] += said[:, 2]
            ends.append(float(self._with(_Rates.of(resolved))))
        return (min(ends), max(ends))

    def interval(self, seed: int, *, judge: bool) -> tuple[float | None, tuple[float, float] | None, str]:
        """(the design effect, the 95 % interval, why there is none)."""
        counts = self._sample.counts
        images = smooth_interval(
            counts.reshape(len(counts), -1),
            lambda sums: self._rates.unf1(sums.reshape(*sums.shape[:-1], *counts.shape[1:]), self._se, self._sp),
            sizes=counts.sum(axis=(1, 2)),
        )
        design = self._design_effect()
        if images.ends is None:
            return design, None, images.why_undefined
        if len(np.unique(self._sample.picture)) < 2:
            return design, None, "all labels are about one image"
        parts = [(self.value - images.ends[0], images.ends[1] - self.value), self._of_labels(design)]
        if judge:
            se, sp = drawn_rates(self._deciders, RESAMPLES, seed)
            drawn = self._rates.unf1(self._sample.total, se, sp)
            defined = drawn[~np.isnan(drawn)]
            if len(drawn) - len(defined) > UNDEFINED_LIMIT * len(drawn):
                return design, None, "too few labelled responses, or a judge near chance: see its own correction"
            low, high = np.quantile(defined, ((1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2))
            parts.append((max(0.0, self.value - float(low)), max(0.0, float(high) - self.value)))
        down, up = (math.hypot(*each) for each in zip(*parts, strict=True))
        return design, (max(0.0, self.value - down), min(1.0, self.value + up)), ""

    def _of_labels(self, design: float) -> tuple[float, float]:
        """How far below and above the figure the labels leave the truth."""
        said = self._sample.said
        per_image = np.bincount(self._sample.picture)
        per_image = per_image[per_image > 0]
        degrees = degrees_of_freedom(len(per_image), effective_images(per_image))
        factor = math.sqrt(design) * t_quantile(degrees, (1 + CONFIDENCE) / 2) / Z
        squares = [0.0, 0.0]
        for row in np.flatnonzero(said.sum(axis=1)):
            answerable, unanswerable, open_ = map(int, said[row])
            ends = [("unanswerable", _jeffreys(unanswerable, answerable + unanswerable))]
            if said[:, 2].any():  # else nothing says that there are such questions
                ends.append(("decided", _jeffreys(answerable + unanswerable, answerable + unanswerable + open_)))
            for name, pair in ends:
                moved = [float(self._with(self._moved(name, int(row), end))) - self.value for end in pair]
                squares[0] += min(0.0, *moved) ** 2
                squares[1] += max(0.0, *moved) ** 2
        return factor * math.sqrt(squares[0]), factor * math.sqrt(squares[1])

    def _moved(self, name: str, row: int, to: float) -> _Rates:
        """The rates with one of them at another value."""
        rates = {"unanswerable": self._rates.unanswerable.copy(), "decided": self._rates.decided.copy()}
        rates[name][row] = to
        return _Rates(**rates)

    def _design_effect(self) -> float:
        """Variance with the image as the unit by that of independent questions, of the linearised figure; at least 1.

        A decided question adds (2, 2), (0, 1), (0, 1) or (0, 0) to numerator and denominator. Each labelled one stands for
        N_h / n_h, and has what it differs by from its cell's mean; each image, besides, what its cells are expected to add.
        """
        said, total = self._sample.said, self._sample.total.sum(axis=1)
        n = said.sum(axis=1)
        abstained = _ABSTAINED.astype(float)
        # [cells, verdicts] of numerator and denominator
        above = np.stack([0 * abstained, 2 * abstained, 0 * abstained], axis=1)
        below = np.stack([abstained, 1 + abstained, 0 * abstained], axis=1)
        shares = np.nan_to_num(said / np.maximum(n, 1)[:, None])
        whole = float(total @ (shares * below).sum(axis=1))
        plain = float(total @ (shares * above).sum(axis=1)) / whole
        influence = (above - plain * below) / whole
        mean = (shares * influence).sum(axis=1)
        cells, verdict, picture = self._sample.cells, self._sample.verdict, self._sample.picture
        apart = (total / np.maximum(n, 1))[cells] * (influence[cells, verdict] - mean[cells])
        expected = self._sample.counts.sum(axis=2) @ mean
        by_image = expected + np.bincount(picture, apart, minlength=len(expected))
        independent = float((apart**2).sum() + (expected**2).sum())
        return max(1.0, float((by_image**2).sum()) / independent) if independent > 0 else 1.0


def _jeffreys(hits: int, n: int) -> tuple[float, float]:
    """The 95 % interval of a share, of which some were found among n; (0, 1) of none."""
    if not n:
        return 0.0, 1.0
    tail = (1 - CONFIDENCE) / 2
    low = beta_quantile(hits + 0.5, n - hits + 0.5, tail) if hits else 0.0
    high = beta_quantile(hits + 0.5, n - hits + 0.5, 1 - tail) if hits < n else 1.0
    return low, high
