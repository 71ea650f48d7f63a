"""From examinations to UnF1 and its kin: counts, ratios, bounds and intervals.

Pure arithmetic over `Examination` records. It knows nothing of providers, files or clocks: what only the ledger knows
(calls, tokens, money, time) is handed in as `Accounts` and passed through.

The positive class is *unanswerable*: UnF1 asks whether a model knows that it does not know.

    TU  intended unanswerable, abstained       FA  intended unanswerable, answered
    FU  intended answerable, abstained         TA  intended answerable, answered

    UnF1 = 2 TU / (2 TU + FU + FA)

Questions are pooled over images (a ratio of sums, never a mean of ratios). A ratio with an empty denominator is None,
and `Score.undefined` says why. Questions of one image are not independent, so every interval here takes the image as
its unit.
"""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import dataclass
from statistics import NormalDist
from typing import TYPE_CHECKING, Literal

import numpy as np

from unsaf_async.records import KINDS, Examination, Kind, Label, Question, Record, Role

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from numpy.typing import NDArray

Cell = Literal["ta", "fu", "tu", "fa"]
"""One of the four types a scored response belongs to."""

KindName = Kind | Literal["unspecified"]
"""A kind of unanswerable question; "unspecified" collects those for which the model named none."""

CONFIDENCE = 0.95
"""Of every interval in this module, two-sided."""

MALFORMED_LIMIT = 0.20
"""Share of written items above which the headline is unreliable."""

OBTAINED_LIMIT = 0.50
"""Share of the wanted questions below which the headline is unreliable."""

UNSCORED_LIMIT = 0.05
"""Share of responses above which a reason for being unscored earns a warning."""

UNDEFINED_LIMIT = 0.05
"""Share of resamples without a defined UnF1 above which the interval earns a warning."""

ONE_KIND_LIMIT = 0.60
FEW_QUESTIONS = 20
"""Of at least so many unanswerable questions, the share that may be of one kind without a warning."""

FEW_IMAGES = 20
"""Below this many images an interval that resamples them tends to be too narrow."""

_NO_RESPONSE_TO_JUDGE = frozenset({"invalid", "truncated", "unreadable", "blocked", "refused"})
"""Reasons that lie in the response itself: the method's `invalid` (empty, off topic, cut off) and `blocked`."""

_MATRIX_BYTES = 16_000_000
"""Memory for one block of the bootstrap's count matrix."""


# --- what is written down -----------------------------------------------------------------------------------------


class Counts(Record):
    """The table of four, and every ratio that follows from it alone.

    The ratios lie in [0, 1] (`matthews_correlation`: [-1, 1]) or are None where their denominator is empty.
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
        return _ratio(2 * self.tu, 2 * self.tu + self.fu + self.fa)

    @property
    def precision(self) -> float | None:
        """TU / (TU + FU): of the abstentions, the share that was right."""
        return _ratio(self.tu, self.tu + self.fu)

    @property
    def recall(self) -> float | None:
        """TU / (TU + FA): of the unanswerable questions, the share abstained from."""
        return _ratio(self.tu, self.tu + self.fa)

    @property
    def over_refusal_rate(self) -> float | None:
        """FU / (TA + FU): of the answerable questions, the share abstained from."""
        return _ratio(self.fu, self.ta + self.fu)

    @property
    def over_answer_rate(self) -> float | None:
        """FA / (TU + FA): of the unanswerable questions, the share answered."""
        return _ratio(self.fa, self.tu + self.fa)

    @property
    def f1_answerable(self) -> float | None:
        """2 TA / (2 TA + FU + FA): the F1 of the other class."""
        return _ratio(2 * self.ta, 2 * self.ta + self.fu + self.fa)

    @property
    def macro_f1(self) -> float | None:
        """Mean of the two classes' F1; None if either is undefined."""
        return _mean(self.unf1, self.f1_answerable)

    @property
    def balanced_accuracy(self) -> float | None:
        """Mean of the two classes' recall, TU / (TU + FA) and TA / (TA + FU); None if either is undefined."""
        return _mean(self.recall, _ratio(self.ta, self.ta + self.fu))

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
        return _ratio(self.tu + self.fu, self.scored)


class KindScore(Record):
    """How the model fared on one kind of unanswerable question.

    Over-refusals belong to no kind, for answerable questions have none. `unf1` therefore charges a kind its share of
    them, FU n_k / N, where n_k = TU_k + FA_k and N is that sum over all kinds:

        UnF1_k = 2 TU_k / (2 TU_k + FA_k + FU n_k / N) = 2 r_k / (1 + r_k + FU / N),      r_k = TU_k / n_k

    That is the kind's UnF1 at the run's own balance of answerable and unanswerable questions: with equal recall in all
    kinds, every UnF1_k equals the headline. Charging all of FU to each kind would push rare kinds towards 0 instead.
    """

    n: int
    """Questions of this kind that were asked, unscored ones included."""
    share: float
    """Of all unanswerable questions asked, in (0, 1]."""
    tu: int
    fa: int
    unscored: int
    recall: float | None
    """TU_k / (TU_k + FA_k); None if none was scored."""
    unf1: float | None
    """See above; None if none was scored."""


class ImageCounts(Record):
    """Images by how they ended."""

    done: int
    """Examined, whether or not any question came of it."""
    failed: int
    """Could not be examined at all; they enter neither the score nor its bounds."""
    total: int | None = None
    """Of the run; more than done and failed together if it ended early, or goes on. None: not known."""


class QuestionCounts(Record):
    """Written items of the examined images, by what became of them."""

    asked: int
    duplicate: int
    """Dropped: the same question of the same image once more."""
    malformed: int
    """Dropped: no question at all."""
    missing: int
    """Wanted, never obtained."""


class Calls(Record):
    """Calls of the run, by the ledger."""

    made: int
    """Calls that went to a provider."""
    cached: int
    """Calls that the cache answered."""
    retried: int
    """Attempts beyond a call's first."""
    by_role: dict[Role, int]
    """Calls made for each role."""


class Tokens(Record):
    """Tokens of the run, as the providers counted them."""

    input: int
    """All of the prompts, `cached_input` included."""
    cached_input: int
    output: int
    """All that was written, `reasoning` included."""
    reasoning: int


class Accounts(Record):
    """What the ledger knows and the examinations can't tell."""

    calls: Calls
    tokens: Tokens
    cost_usd: float
    wall_s: float


class Score(Record):
    """A run's result. A figure that is None has its reason in `undefined`."""

    unf1: float | None
    """The headline, in [0, 1]: 2 TU / (2 TU + FU + FA)."""
    unf1_ci: tuple[float, float] | None
    """95 % interval of `unf1` by resampling images: BCa where that is defined, else the percentile interval."""
    unf1_ci_method: Literal["bca", "percentile"] | None
    """Which of the two `unf1_ci` is."""
    unf1_ci_percentile: tuple[float, float] | None
    """95 % percentile interval from the same resamples."""
    unf1_bounds: tuple[float, float] | None
    """[worst, best]: the least and the greatest UnF1 over everything the unscored responses might have been."""
    counts: Counts
    """The table of four."""
    unscored: dict[str, int]
    """Asked questions in none of the four cells, by reason (`Question.unscored`)."""
    precision: float | None
    recall: float | None
    over_refusal_rate: float | None
    """FU / (TA + FU)."""
    over_answer_rate: float | None
    """FA / (TU + FA)."""
    f1_answerable: float | None
    macro_f1: float | None
    balanced_accuracy: float | None
    matthews_correlation: float | None
    """In [-1, 1]."""
    abstention_rate: float | None
    """Of scored responses."""
    by_kind: dict[KindName, KindScore]
    """The kinds that were asked, in the method's order."""
    images: ImageCounts
    questions: QuestionCounts
    questions_per_label: int | None
    """K: how many answerable and how many unanswerable questions each image should have had; None: they were given."""
    unreliable: list[str]
    """Why the headline must not be trusted; empty if nothing speaks against it."""
    warnings: list[str]
    """What a reader should know before using the figures."""
    undefined: dict[str, str]
    """Reason for each figure that is None, by its path in this record ("recall", "by_kind.hidden.recall")."""
    calls: Calls | None
    tokens: Tokens | None
    cost_usd: float | None
    wall_s: float | None
    provider: str
    """Whom the score is about."""
    judge: str
    """Who judged what the rules left open."""
    seed: int
    """Of the resampling."""
    resamples: int
    """How many were drawn."""
    resamples_undefined: int
    """How many of them had no UnF1 and were left out of the intervals."""


# --- the score ----------------------------------------------------------------------------------------------------


def score(
    examinations: Iterable[Examination],
    *,
    questions_per_label: int | None,
    accounts: Accounts | None,
    provider: str,
    judge: str,
    images_total: int | None = None,
    seed: int = 0,
    resamples: int = 10_000,
) -> Score:
    """The score of these examinations; without any, every figure is None with its reason.

    examinations: read once and not kept; of several about one image id the last counts, else their order is irrelevant.
    questions_per_label: K >= 1, questions wanted per image and instruction; None: the model did not write them.
    accounts: None leaves calls, tokens, cost and time undefined. images_total: how many images the run has; a score of
    fewer says so. seed, resamples: of the bootstrap; equal examinations and seed give an equal score.
    Raises ValueError for questions_per_label < 1 or resamples < 1.
    """
    if questions_per_label is not None and questions_per_label < 1:
        raise ValueError(f"questions_per_label is {questions_per_label}; give at least 1")
    if resamples < 1:
        raise ValueError(f"resamples is {resamples}; give at least 1")

    tallies: dict[str, _Tally] = {}
    for examination in examinations:
        tallies[examination.image.id] = _Tally.of(examination)
    done = [tally for tally in tallies.values() if not tally.failed]
    asked: Counter[_Place] = Counter()
    dropped: Counter[str] = Counter()
    for tally in done:
        asked.update(tally.asked)
        dropped.update(tally.dropped)

    counts = _counts(asked)
    images = ImageCounts(done=len(done), failed=len(tallies) - len(done), total=images_total)
    questions = QuestionCounts(
        asked=asked.total(),
        duplicate=dropped["duplicate"],
        malformed=dropped["malformed"],
        missing=sum(tally.missing for tally in done),
    )
    unscored = Counter[str]()
    for place, n in asked.items():
        if place.cell is None:
            unscored[place.unscored] += n
    interval = _interval([tally.pair for tally in done if tally.asked], seed=seed, resamples=resamples)
    by_kind = _by_kind(asked, counts)
    bounds = unf1_bounds(
        counts,
        unanswerable=sum(n for place, n in asked.items() if place.cell is None and place.intended == "unanswerable"),
        answerable=sum(n for place, n in asked.items() if place.cell is None and place.intended == "answerable"),
    )

    ratios = {name: getattr(counts, name) for name in _WHY_UNDEFINED}
    undefined = {name: _WHY_UNDEFINED[name] for name, value in ratios.items() if value is None}
    if interval.percentile is None:
        undefined |= dict.fromkeys(("unf1_ci", "unf1_ci_method", "unf1_ci_percentile"), interval.why_undefined)
    if bounds is None:
        undefined["unf1_bounds"] = "UnF1 is undefined whatever the unscored responses were"
    for kind, kind_score in by_kind.items():
        if kind_score.recall is None:
            undefined |= dict.fromkeys(
                (f"by_kind.{kind}.recall", f"by_kind.{kind}.unf1"), "none of this kind was scored"
            )
    if accounts is None:
        undefined |= dict.fromkeys(("calls", "tokens", "cost_usd", "wall_s"), "no ledger was handed in")

    return Score(
        **ratios,
        unf1_ci=interval.bca or interval.percentile,
        unf1_ci_method="bca" if interval.bca else "percentile" if interval.percentile else None,
        unf1_ci_percentile=interval.percentile,
        unf1_bounds=bounds,
        counts=counts,
        unscored=dict(sorted(unscored.items())),
        by_kind=by_kind,
        images=images,
        questions=questions,
        questions_per_label=questions_per_label,
        unreliable=list(_unreliable(asked, images, questions, questions_per_label)),
        warnings=[*_warnings(unscored, images, questions, interval, resamples), *_one_sided(asked)],
        undefined=undefined,
        calls=accounts.calls if accounts else None,
        tokens=accounts.tokens if accounts else None,
        cost_usd=accounts.cost_usd if accounts else None,
        wall_s=accounts.wall_s if accounts else None,
        provider=provider,
        judge=judge,
        seed=seed,
        resamples=resamples,
        resamples_undefined=interval.resamples_undefined,
    )


def latest(examinations: Iterable[Examination]) -> list[Examination]:
    """One examination per image id, the last one given, in the order in which the ids first came; [] of nothing."""
    return list({examination.image.id: examination for examination in examinations}.values())


def cell(question: Question) -> Cell | None:
    """The type of this question's response; None if it is unscored."""
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
    """[worst, best]: the least and the greatest UnF1 over all that the unscored responses might have been.

    counts: the scored responses. unanswerable, answerable: how many unscored ones had which intended label. An unscored
    unanswerable one would have been TU or FA, an answerable one TA or FU. Failed images and missing questions do not
    enter: nothing was asked. None if UnF1 is undefined under every assignment.

    Why two corners suffice: with E = FU + FA, UnF1 = 2 TU / (2 TU + E). Making an FA a TU takes it to
    2 (TU + 1) / (2 TU + E + 1), which is no smaller; making an FU a TA only shortens the denominator. So UnF1 is
    monotone in each response: all wrong gives the least value, all right the greatest. All right can be undefined only
    where no unanswerable question was asked; then every defined assignment gives 0, and both bounds are 0.
    """
    ta, fu, tu, fa = counts.ta, counts.fu, counts.tu, counts.fa
    worst = Counts(ta=ta, fu=fu + answerable, tu=tu, fa=fa + unanswerable).unf1
    best = Counts(ta=ta + answerable, fu=fu, tu=tu + unanswerable, fa=fa).unf1
    if worst is None:
        return None
    return (worst, worst if best is None else best)


class Running:
    """UnF1 so far, with an interval that costs O(1) per image: for a display while images come in.

    UnF1 = A / B with A = sum of a_i = 2 TU_i and B = sum of b_i = 2 TU_i + FU_i + FA_i over images i. Linearised, image
    i moves it by d_i / n, with the influence value d_i = (a_i - UnF1 b_i) / (B / n). The d_i sum to 0, and the sums of
    a², ab and b² give their variance at the current UnF1. All sums are integers, so nothing is lost in the subtraction.

    The interval is for looking, not for stopping: see `stopping` for a rule that may be checked after every image.
    """

    def __init__(self) -> None:
        self._images = self._scored = 0
        self._a = self._b = self._aa = self._ab = self._bb = 0

    def add(self, examination: Examination) -> None:
        """Counts one image in; each image once. Failed images and those without a question change nothing."""
        tally = _Tally.of(examination)
        if tally.failed or not tally.asked:
            return
        a, b = tally.pair
        self._images += 1
        self._scored += tally.scored
        self._a += a
        self._b += b
        self._aa += a * a
        self._ab += a * b
        self._bb += b * b

    @property
    def images(self) -> int:
        """Images counted in: examined, with at least one question asked."""
        return self._images

    @property
    def unf1(self) -> float | None:
        """UnF1 of the images so far; None while undefined."""
        return _ratio(self._a, self._b)

    @property
    def influence_variance(self) -> float | None:
        """Sample variance of the influence values d_i; None with fewer than 2 images or while UnF1 is undefined.

        sum of d_i² / (n - 1) with sum of (a_i - (A/B) b_i)² = (B² sum a² - 2 A B sum ab + A² sum b²) / B².
        """
        n, a, b = self._images, self._a, self._b
        if n < 2 or b == 0:
            return None
        squares = b * b * self._aa - 2 * a * b * self._ab + a * a * self._bb
        return n * n * squares / (b**4 * (n - 1))

    @property
    def extreme_influence(self) -> float | None:
        """The largest |d_i| an image of average size can have; None while UnF1 is undefined.

        With m = scored responses / n, half of them unanswerable: if all are right, a = b = m, d = m (1 - UnF1) n / B;
        if all are wrong, a = 0, b = m, d = -m UnF1 n / B.
        """
        value = self.unf1
        return None if value is None else self._scored * max(value, 1 - value) / self._b

    @property
    def interval(self) -> tuple[float, float] | None:
        """95 % interval by the delta method, UnF1 ± 1.96 sd(d) / sqrt(n), cut to [0, 1].

        None with fewer than 2 images, while UnF1 is undefined, and while no image differs from another (the spread of
        the images then says nothing yet).
        """
        value, variance = self.unf1, self.influence_variance
        if value is None or not variance:
            return None
        half_width = _Z * math.sqrt(variance / self._images)
        return (max(0.0, value - half_width), min(1.0, value + half_width))


# --- counting -----------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Place:
    """Where an asked question stands: its label and kind, and its cell or else the reason why it has none."""

    intended: Label
    kind: KindName | None
    cell: Cell | None
    unscored: str

    @classmethod
    def of(cls, question: Question) -> _Place:
        where = cell(question)
        # An act without a cell is `invalid`; neither act nor reason means that nobody judged.
        reason = "" if where else question.unscored or ("invalid" if question.act else "unjudged")
        kind = (question.kind or "unspecified") if question.intended == "unanswerable" else None
        return cls(question.intended, kind, where, reason)


@dataclass(frozen=True, slots=True)
class _Tally:
    """What one image contributes."""

    failed: bool
    asked: Counter[_Place]
    dropped: Counter[str]
    missing: int

    @classmethod
    def of(cls, examination: Examination) -> _Tally:
        return cls(
            failed=examination.failure is not None,
            asked=Counter(map(_Place.of, examination.questions)),
            dropped=Counter(item.reason for item in examination.dropped),
            missing=examination.missing,
        )

    @property
    def scored(self) -> int:
        """Responses in the table of four."""
        return sum(n for place, n in self.asked.items() if place.cell is not None)

    @property
    def pair(self) -> tuple[int, int]:
        """(2 TU, 2 TU + FU + FA): the image's part of UnF1's numerator and denominator."""
        counts = _counts(self.asked)
        return 2 * counts.tu, 2 * counts.tu + counts.fu + counts.fa


def _counts(asked: Counter[_Place]) -> Counts:
    cells = Counter[Cell]()
    for place, n in asked.items():
        if place.cell is not None:
            cells[place.cell] += n
    return Counts(ta=cells["ta"], fu=cells["fu"], tu=cells["tu"], fa=cells["fa"])


def _by_kind(asked: Counter[_Place], counts: Counts) -> dict[KindName, KindScore]:
    unanswerable = Counter({place: n for place, n in asked.items() if place.intended == "unanswerable"})
    names: tuple[KindName, ...] = (*KINDS, "unspecified")
    scores: dict[KindName, KindScore] = {}
    for kind in names:
        of_kind = Counter({place: n for place, n in unanswerable.items() if place.kind == kind})
        if not of_kind:
            continue
        own = _counts(of_kind)
        recall = own.recall
        scores[kind] = KindScore(
            n=of_kind.total(),
            share=of_kind.total() / unanswerable.total(),
            tu=own.tu,
            fa=own.fa,
            unscored=of_kind.total() - own.scored,
            recall=recall,
            unf1=None if recall is None else 2 * recall / (1 + recall + counts.fu / (counts.tu + counts.fa)),
        )
    return scores


def _ratio(part: int, whole: int) -> float | None:
    return part / whole if whole else None


def _mean(first: float | None, second: float | None) -> float | None:
    return None if first is None or second is None else (first + second) / 2


# --- reasons ------------------------------------------------------------------------------------------------------

_NO_UNANSWERABLE = "no question that was intended unanswerable was scored"
_NO_ANSWERABLE = "no question that was intended answerable was scored"

_WHY_UNDEFINED = {
    "unf1": f"{_NO_UNANSWERABLE}, and no answerable one was abstained from",
    "precision": "no scored response abstained",
    "recall": _NO_UNANSWERABLE,
    "over_refusal_rate": _NO_ANSWERABLE,
    "over_answer_rate": _NO_UNANSWERABLE,
    "f1_answerable": f"{_NO_ANSWERABLE}, and no unanswerable one was answered",
    "macro_f1": "the F1 of one class is undefined",
    "balanced_accuracy": "the scored questions are not of both intended labels",
    "matthews_correlation": "a row or a column of the table of four is empty",
    "abstention_rate": "no question was scored",
}
"""Every ratio of `Counts` that `Score` repeats, with the reason it has when it is None."""


def _unreliable(
    asked: Counter[_Place], images: ImageCounts, questions: QuestionCounts, questions_per_label: int | None
) -> Iterator[str]:
    """Reasons why the headline must not be trusted.

    The floor of half the questions is applied to each instruction: a model that writes all K answerable questions and
    no unanswerable one has half of the 2 K, and yet nothing to measure.
    """
    written = questions.asked + questions.duplicate + questions.malformed
    if questions.malformed > MALFORMED_LIMIT * written:
        yield (
            f"{questions.malformed} of {written} written items ({questions.malformed / written:.0%}) were no question; "
            f"above {MALFORMED_LIMIT:.0%} the score says little"
        )
    if questions_per_label is None:
        return
    wanted = questions_per_label * images.done
    labels: tuple[Label, ...] = ("answerable", "unanswerable")
    for label in labels:
        obtained = sum(n for place, n in asked.items() if place.intended == label)
        if obtained < OBTAINED_LIMIT * wanted:
            yield (
                f"only {obtained} of {wanted} {label} questions ({obtained / wanted:.0%}) were obtained; "
                f"below {OBTAINED_LIMIT:.0%} the score says little"
            )


def _warnings(
    unscored: Counter[str], images: ImageCounts, questions: QuestionCounts, interval: _Interval, resamples: int
) -> Iterator[str]:
    if images.total is not None and images.done + images.failed < images.total:
        yield f"{images.done + images.failed} of the run's {images.total} images: it ended early, or goes on"
    groups = {
        "were invalid or blocked": {reason: n for reason, n in unscored.items() if reason in _NO_RESPONSE_TO_JUDGE},
        "failed or were not judged": {
            reason: n for reason, n in unscored.items() if reason not in _NO_RESPONSE_TO_JUDGE
        },
    }
    for what, reasons in groups.items():
        n = sum(reasons.values())
        if n > UNSCORED_LIMIT * questions.asked:
            parts = ", ".join(f"{reason} {count}" for reason, count in sorted(reasons.items()))
            yield (
                f"{n} of {questions.asked} responses ({n / questions.asked:.1%}) {what} ({parts}): "
                "read unf1_bounds beside unf1"
            )
    if interval.percentile is not None and interval.images < FEW_IMAGES:
        yield f"the interval rests on {interval.images} images; with fewer than {FEW_IMAGES} it tends to be too narrow"
    if interval.resamples_undefined > UNDEFINED_LIMIT * resamples:
        yield (
            f"{interval.resamples_undefined} of {resamples} resamples had no UnF1 and were left out of the interval: "
            "too few images hold a response that counts"
        )


def _one_sided(asked: Counter[_Place]) -> Iterator[str]:
    """A warning if most unanswerable questions are of one kind: who asks only what is easy to decline scores high."""
    kinds = Counter[str]()
    for place, n in asked.items():
        if place.kind and place.kind != "unspecified":
            kinds[place.kind] += n
    for kind, n in kinds.most_common(1):
        if kinds.total() >= FEW_QUESTIONS and n > ONE_KIND_LIMIT * kinds.total():
            yield (
                f"{n} of {kinds.total()} unanswerable questions ({n / kinds.total():.0%}) are of one kind, {kind}: "
                "the score says little about the others; look at by_kind"
            )


# --- the bootstrap ------------------------------------------------------------------------------------------------

_Z = NormalDist().inv_cdf(0.5 + CONFIDENCE / 2)


@dataclass(frozen=True, slots=True)
class _Interval:
    """What resampling the images gave. bca: None where undefined. why_undefined: "" unless percentile is None."""

    bca: tuple[float, float] | None = None
    percentile: tuple[float, float] | None = None
    images: int = 0
    resamples_undefined: int = 0
    why_undefined: str = ""


def _interval(pairs: list[tuple[int, int]], *, seed: int, resamples: int) -> _Interval:
    """Percentile and BCa intervals of sum(a) / sum(b) over images with the pairs (a, b) = (2 TU, 2 TU + FU + FA).

    Images without a single scored response are resampled too, as (0, 0): how many count is part of the uncertainty.
    Source: Efron & Tibshirani, An Introduction to the Bootstrap (1993), sections 13.3 (percentile) and 14.3 (BCa).
    """
    n = len(pairs)
    if sum(b for _, b in pairs) == 0:
        return _Interval(images=n, why_undefined="unf1 is undefined")
    if n < 2:
        return _Interval(images=n, why_undefined=f"an interval needs at least 2 images with questions; there is {n}")
    # Images with equal pairs are interchangeable: all that follows takes the distinct pairs, sorted, and how many
    # images have each. So the cost goes by their number (a few dozen), and no rounding depends on the images' order.
    rows, images = np.unique(np.array(pairs, dtype=np.int64), axis=0, return_counts=True)
    sums = _resampled_sums(rows, images, np.random.default_rng(seed), resamples)
    defined = sums[sums[:, 1] > 0]
    values = defined[:, 0] / defined[:, 1]
    left_out = resamples - len(values)
    if len(values) == 0 or values.min() == values.max():
        why = "every resample has the same UnF1, so the images say nothing about its uncertainty"
        return _Interval(images=n, resamples_undefined=left_out, why_undefined=why)
    levels = _bca_levels(rows, images, values)
    return _Interval(
        bca=None if levels is None else _quantiles(values, levels),
        percentile=_quantiles(values, ((1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2)),
        images=n,
        resamples_undefined=left_out,
    )


def _resampled_sums(
    rows: NDArray[np.int64], images: NDArray[np.int64], rng: np.random.Generator, resamples: int
) -> NDArray[np.int64]:
    """The sums (A, B) of each of `resamples` draws, with replacement, of as many images as there are.

    rows: the distinct pairs. images: how many images have each. A draw needs no index for every image, only how often
    each distinct pair occurs: one multinomial, of exactly the same distribution. The generator's stream is read in
    sequence, so the size of the blocks, which bounds the memory, cannot matter.
    """
    n = int(images.sum())
    sums = np.empty((resamples, 2), dtype=np.int64)
    block = max(1, _MATRIX_BYTES // (8 * len(rows)))
    for start in range(0, resamples, block):
        stop = min(start + block, resamples)
        sums[start:stop] = rng.multinomial(n, images / n, size=stop - start) @ rows
    return sums


def _bca_levels(
    rows: NDArray[np.int64], images: NDArray[np.int64], values: NDArray[np.float64]
) -> tuple[float, float] | None:
    """The two levels at which BCa reads the resampled values, in place of .025 and .975; None where BCa is undefined.

    Undefined: the score lies beyond all resampled values, or the correction is so large that its formula breaks down.
    That the resampled values differ is presupposed; then UnF1 is defined without any one image, and not the same
    without each.
    """
    normal = NormalDist()
    total = images @ rows
    value = total[0] / total[1]
    # Ties count half, or a score on many resampled values would look biased.
    below = (np.count_nonzero(values < value) + np.count_nonzero(values <= value)) / (2 * len(values))
    if not 0 < below < 1:
        return None
    rest = total - rows  # jackknife: one image of each kind of pair left out
    left_out = rest[:, 0] / rest[:, 1]
    deviation = np.average(left_out, weights=images) - left_out
    bias = normal.inv_cdf(float(below))  # z0, eq. 14.14
    acceleration = float(images @ deviation**3) / (6 * float(images @ deviation**2) ** 1.5)  # a, eq. 14.15
    levels = []
    for z in (-_Z, _Z):
        shrink = 1 - acceleration * (bias + z)
        if shrink <= 0:
            return None
        levels.append(normal.cdf(bias + (bias + z) / shrink))  # alpha1, alpha2, eq. 14.10
    return (levels[0], levels[1])


def _quantiles(values: NDArray[np.float64], levels: tuple[float, float]) -> tuple[float, float]:
    low, high = np.quantile(values, levels)
    return (float(low), float(high))
