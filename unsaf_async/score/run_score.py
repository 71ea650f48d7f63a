"""A run's score: from its examinations to one record of counts, ratios, bounds, intervals and warnings.

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

from array import array
from collections import Counter
from typing import TYPE_CHECKING, Any, Literal

from pydantic import Field

from unsaf_async.records import Examination, Label, Record, Role
from unsaf_async.score.bootstrap import UnF1Interval, unf1_interval
from unsaf_async.score.count_intervals import ImageRows, ends_and_reasons
from unsaf_async.score.figures import COLUMNS, figures_of
from unsaf_async.score.intervals import Interval, effective_images, ratio_interval
from unsaf_async.score.notebook import html_of
from unsaf_async.score.tallies import KindScore, Place, Tally, by_kind_of, counts_of
from unsaf_async.score.unf1 import Counts, KindName, latest, unf1_bounds
from unsaf_async.score.units import Lookalikes, Units, picture_key
from unsaf_async.text import format_count

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

MALFORMED_LIMIT = 0.20
"""Share of written items above which the headline is unreliable."""

OBTAINED_LIMIT = 0.50
"""Share of the wanted questions below which the headline is unreliable."""

UNSCORED_LIMIT = 0.05
"""Share of responses above which a reason for being unscored earns a warning."""

OPEN_SHARE_LIMIT = 0.20
"""Share of responses in no type above which the headline is its bounds. Recall and over-refusal have no bounds:
where abstentions are lost six times as easily as answers, as under rules alone, a fifth lost moves them by up to .11."""

OPEN_WIDTH_LIMIT = 0.10
"""Width of `unf1_bounds` above which they are the headline. Up to it the same loss moves UnF1 by .022 at most (95 % of cases),
less than the smallest difference of interest, .03. The cases: `benchmarks/open_headline.py`."""

UNDEFINED_LIMIT = 0.05
"""Share of resamples without a defined UnF1 above which the interval earns a warning."""

EFFECTIVE_LIMIT = 0.50
"""Share of the images below which their effective number (`intervals.effective_images`) earns a warning."""

ONE_KIND_LIMIT = 0.60
"""Share of the unanswerable questions that may be of one kind without a warning."""

FEW_QUESTIONS = 20
"""Below this many unanswerable questions their kinds give no warning."""

NO_IMAGE_LIMIT = 0.10
"""Share of responses saying that no image came above which the headline is unreliable. Who sees the images hardly ever says so;
where every tenth response does, the others were most likely given blind, too."""

REFUSED_LIMIT = 0.50
"""Share of a kind's questions from which on refusals on policy earn a warning: its recall then rests on the lesser part."""

FEW_REFUSALS = 3
"""Below this many refusals a kind gives no warning."""

FEW_IMAGES = 5
"""Below this many images the interval holds and says little: it is half of the range wide or more (docs/intervals.md)."""

_NO_RESPONSE_TO_JUDGE = frozenset({"invalid", "truncated", "unreadable", "blocked", "refused", "no_image"})
"""Reasons that lie in the response itself: the method's `invalid` (empty, off topic, cut off) and `blocked`."""


# --- what is written down -----------------------------------------------------------------------------------------


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
    other_label: int = 0
    """Dropped: under the heading of the other label, in a reply that has both."""


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
    unsent: int = 0
    """Attempts for which no connection came about; they are no calls made."""


class Tokens(Record):
    """Tokens of the run, as the providers counted them."""

    input: int
    """All of the prompts, `cached_input` included."""
    cached_input: int
    output: int
    """All that was written, `reasoning` included."""
    reasoning: int
    cache_write: int = 0
    """Part of `input` that the providers put into their caches."""


class Accounts(Record):
    """What the ledger knows and the examinations can't tell."""

    calls: Calls
    tokens: Tokens
    cost_usd: float
    wall_s: float
    unknown_attempts: int = 0
    cost_unknown_usd: float = 0.0
    prompt_cache_saved_usd: float = 0.0


class Score(Record):
    """A run's result. A figure that is None has its reason in `undefined`."""

    unf1: float | None
    """The headline, in [0, 1]: 2 TU / (2 TU + FU + FA)."""
    unf1_ci: tuple[float, float] | None
    """95 % interval of `unf1` over images; of a run that stopped itself, that of the rule that stopped it."""
    unf1_ci_method: Literal["logit_t", "exact_one_sided", "fixed_width_stop", "anytime", "bca", "percentile"] | None
    """How `unf1_ci` was computed; "bca" and "percentile" stand in older files."""
    unf1_ci_percentile: tuple[float, float] | None
    """95 % percentile interval by resampling images, for comparison."""
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
    timidity: float | None = None
    """The paper's name for `precision`. Here and below None without a reason in scores of older versions."""
    audacity: float | None = None
    """The paper's audacity as we read it: `recall`."""
    audacity_of_answers: float | None = None
    """The paper's audacity in its other reading: TA / (TA + FA)."""
    unf1_of_precisions: float | None = None
    """UnF1 in that reading: the harmonic mean of `timidity` and `audacity_of_answers`."""
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
    """Reason for each figure that is None, by its path in this record ("recall", "by_kind.hidden.recall"), and for each that has
    no interval, by "intervals." and its path."""
    calls: Calls | None
    tokens: Tokens | None
    cost_usd: float | None
    wall_s: float | None
    unknown_attempts: int | None = None
    """Attempts of which nobody knows whether they were served and billed."""
    cost_unknown_usd: float | None = None
    """Part of `cost_usd` that they are booked with: their worst case."""
    prompt_cache_saved_usd: float | None = None
    """What the run would have cost more without the providers' caches of prompts, by its prices; below 0 where it cost less."""
    provider: str
    """Whom the score is about."""
    judge: str
    """Who judged what no rule decided."""
    seed: int
    """Of the resampling."""
    resamples: int
    """How many were drawn."""
    resamples_undefined: int
    """How many of them had no UnF1 and were excluded from the intervals."""
    intervals: dict[str, tuple[float, float]] = Field(default_factory=dict)
    """95 % intervals of the other figures, with images as the unit, by the figure's path in this record ("recall",
    "by_kind.hidden.recall")."""

    @property
    def f1_name(self) -> str:
        """What the F1 of abstaining is called."""
        return "UnF1"

    @property
    def unf1_between(self) -> tuple[float, float] | None:
        """`unf1_bounds` where so much is unscored that they are the headline; None where `unf1` is."""
        is_open = why_open(Counter(self.unscored), self.questions.asked, self.unf1_bounds)
        return self.unf1_bounds if is_open else None

    def to_frame(self) -> Any:
        """The figures as a DataFrame of pandas or polars, whichever is installed; one row a figure.

        Returns:
            Columns path (as docs/score.md names the figure), value, low and high (the ends of its 95 % interval, or of a pair
            such as unf1_bounds), and why_none. Fields of `Figure`.

        Raises:
            UserError: Neither is installed.
        """
        from unsaf_async.frames import frame

        rows = list(figures_of(self))
        return frame({name: (kind, [getattr(row, name) for row in rows]) for name, kind in COLUMNS.items()})

    def _repr_html_(self) -> str:
        """What a notebook shows of it."""
        return html_of(self, self.images.done, self.images.failed)


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
    """The score of some examinations. Without any, every figure is None with its reason.

    Args:
        examinations: Read once. Of several about one image the last counts, else their order is irrelevant.
        questions_per_label: K, questions wanted per image and instruction, >= 1; None: the model did not write them.
        accounts: Calls, tokens, cost and time; None leaves them undefined.
        provider: Whom the score is about.
        judge: Who judged what no rule decided.
        images_total: How many images the run has; a score of fewer warns. None: not known.
        seed: Of the bootstrap; equal examinations and seed give an equal score.
        resamples: Draws of the bootstrap, >= 1.

    Returns:
        The score.

    Raises:
        ValueError: For questions_per_label < 1 or resamples < 1.
    """
    if questions_per_label is not None and questions_per_label < 1:
        raise ValueError(f"questions_per_label is {questions_per_label}; give at least 1")
    if resamples < 1:
        raise ValueError(f"resamples is {resamples}; give at least 1")
    tally = ScoreTally()
    for examination in latest(examinations):
        tally.add(examination)
    return score_of(
        tally,
        questions_per_label=questions_per_label,
        accounts=accounts,
        provider=provider,
        judge=judge,
        images_total=images_total,
        seed=seed,
        resamples=resamples,
    )


def score_of(
    run: ScoreTally,
    *,
    questions_per_label: int | None,
    accounts: Accounts | None,
    provider: str,
    judge: str,
    images_total: int | None = None,
    seed: int = 0,
    resamples: int = 10_000,
    stopped: Interval | None = None,
    enough: bool = False,
) -> Score:
    """The score of what is tallied: as `score`, whose other arguments these are.

    Args:
        run: The tally of the examinations.
        questions_per_label: K.
        accounts: Calls, tokens, cost and time.
        provider: Whom the score is about.
        judge: Who judged what no rule decided.
        images_total: How many images the run has.
        seed: Of the bootstrap.
        resamples: Draws of the bootstrap.
        stopped: The interval of UnF1 by the rule that stopped the run; None: the run did not stop itself. Not used where
            images have equal pictures, which the rule takes for further images.
        enough: Whether images were left out for a reason that is known: no warning says that some are missing.

    Returns:
        The score.
    """
    pairs = run.pairs() if run.counts.unf1 is not None else Counter[tuple[int, int]]()
    resampling = unf1_interval(list(pairs.elements()), seed=seed, resamples=resamples)
    copies = run.units.count < len(run.units)  # a stopping rule takes them for further images
    interval = stopped if stopped and not copies else ratio_interval(list(pairs), times=list(pairs.values()))
    images = ImageCounts(done=run.done, failed=run.failed, total=images_total)
    intervals, without = ends_and_reasons(dict(ImageRows.of(run.by_picture()).intervals()))
    figures = _figures(run, interval, resampling)
    return Score(
        **figures,
        counts=run.counts,
        unscored=dict(sorted(run.unscored.items())),
        images=images,
        questions=run.questions,
        questions_per_label=questions_per_label,
        unreliable=[
            *_unreliable(run.asked, images, run.questions, questions_per_label),
            *filter(None, [why_open(run.unscored, run.questions.asked, figures["unf1_bounds"])]),
        ],
        warnings=[
            *_warnings(run.unscored, images, run.questions, interval, enough=enough),
            *_rarely_defined(resampling, resamples),
            *_equal_pictures(run.units, run.lookalikes),
            *_unequal_images(run.by_picture()),
            *_one_sided(run.asked),
            *_mostly_refused(figures["by_kind"]),
        ],
        undefined=dict(_undefined(figures, run.counts, interval, resampling, accounts)) | without,
        **(dict(accounts) if accounts else dict.fromkeys(_ACCOUNTS)),
        provider=provider,
        judge=judge,
        seed=seed,
        resamples=resamples,
        resamples_undefined=resampling.resamples_undefined,
        intervals=intervals,
    )


class ScoreTally:
    """What a score is made of, added up image by image; of the images nothing else is kept.

    done, failed: images. asked: questions by place. dropped: items by reason. missing: questions wanted and never obtained.
    units: the examined images with questions; equal pictures are one. lookalikes: those that are nearly equal.
    """

    def __init__(self) -> None:
        self.done = self.failed = self.missing = 0
        self.asked: Counter[Place] = Counter()
        self.dropped: Counter[str] = Counter()
        self.units, self.lookalikes = Units(), Lookalikes()
        self._places: dict[Place, int] = {}
        self._by_picture: dict[int, bytes] = {}
        """What was asked about each picture, packed: the number of each place, and how many questions have it."""

    def add(self, examination: Examination) -> None:
        """Count one image.

        Args:
            examination: Of the image; each image once.
        """
        tally = Tally.of(examination)
        if tally.failed:
            self.failed += 1
            return
        self.done += 1
        self.asked.update(tally.asked)
        self.dropped.update(tally.dropped)
        self.missing += tally.missing
        if tally.asked:
            self.units.add(examination.image)
            self.lookalikes.add(examination.image)
            key, packed = picture_key(examination.image), array("H")
            for place, n in tally.asked.items():
                packed.extend((self._places.setdefault(place, len(self._places)), n))
            self._by_picture[key] = self._by_picture.get(key, b"") + packed.tobytes()

    def by_picture(self) -> Iterator[tuple[Counter[Place], int]]:
        """What was asked about each picture.

        Yields:
            (questions by place, how many pictures have just these), in no order.
        """
        places = list(self._places)
        for packed, pictures in Counter(self._by_picture.values()).items():
            numbers, asked = array("H", packed), Counter[Place]()
            for place, n in zip(numbers[::2], numbers[1::2], strict=True):
                asked[places[place]] += n
            yield asked, pictures

    def pairs(self) -> Counter[tuple[int, int]]:
        """How many pictures with questions have which (2 TU, 2 TU + FU + FA)."""
        pairs = Counter[tuple[int, int]]()
        for asked, pictures in self.by_picture():
            counts = counts_of(asked)
            pairs[2 * counts.tu, 2 * counts.tu + counts.fu + counts.fa] += pictures
        return pairs

    @property
    def counts(self) -> Counts:
        """The table of four."""
        return counts_of(self.asked)

    @property
    def questions(self) -> QuestionCounts:
        """The written items, by what became of them."""
        return QuestionCounts(
            asked=self.asked.total(),
            duplicate=self.dropped["duplicate"],
            malformed=self.dropped["malformed"],
            missing=self.missing,
            other_label=self.dropped["other_label"],
        )

    @property
    def unscored(self) -> Counter[str]:
        """Questions in no cell, by reason."""
        reasons = Counter[str]()
        for place, n in self.asked.items():
            if place.cell is None:
                reasons[place.unscored] += n
        return reasons

    def unscored_of(self, label: Label) -> int:
        """How many questions of one intended label are in no cell.

        Args:
            label: The label.

        Returns:
            How many, >= 0.
        """
        return sum(n for place, n in self.asked.items() if place.cell is None and place.intended == label)


def _figures(run: ScoreTally, interval: Interval, resampling: UnF1Interval) -> dict[str, Any]:
    """The fields of `Score` that may be None, but for the accounts, and the kinds' scores."""
    counts = run.counts
    return {name: getattr(counts, name) for name in _WHY_UNDEFINED} | {
        "unf1_ci": interval.ends,
        "unf1_ci_method": interval.method,
        "unf1_ci_percentile": resampling.percentile,
        "unf1_bounds": unf1_bounds(
            counts, unanswerable=run.unscored_of("unanswerable"), answerable=run.unscored_of("answerable")
        ),
        "by_kind": by_kind_of(run.asked, counts),
    }


# --- reasons ------------------------------------------------------------------------------------------------------

_NO_UNANSWERABLE = "no question that was intended unanswerable was scored"
_NO_ANSWERABLE = "no question that was intended answerable was scored"
_NO_ABSTENTION = "no scored response abstained"

_WHY_UNDEFINED = {
    "unf1": _NO_UNANSWERABLE,
    "precision": _NO_ABSTENTION,
    "recall": _NO_UNANSWERABLE,
    "over_refusal_rate": _NO_ANSWERABLE,
    "over_answer_rate": _NO_UNANSWERABLE,
    "f1_answerable": _NO_ANSWERABLE,
    "macro_f1": "the F1 of one class is undefined",
    "balanced_accuracy": "the scored questions are not of both intended labels",
    "matthews_correlation": "a row or a column of the table of four is empty",
    "abstention_rate": "no question was scored",
    "timidity": _NO_ABSTENTION,
    "audacity": _NO_UNANSWERABLE,
    "audacity_of_answers": "no scored response answered",
    "unf1_of_precisions": "timidity or the audacity of answers is undefined",
}
"""Every ratio of `Counts` that `Score` repeats, with the reason it has when it is None."""

_ACCOUNTS = (
    "calls",
    "tokens",
    "cost_usd",
    "wall_s",
    "unknown_attempts",
    "cost_unknown_usd",
    "prompt_cache_saved_usd",
)


def _undefined(
    figures: Mapping[str, Any],
    counts: Counts,
    interval: Interval,
    resampling: UnF1Interval,
    accounts: Accounts | None,
) -> Iterator[tuple[str, str]]:
    """(path, reason) of every figure that is None."""
    reasons = dict(_WHY_UNDEFINED)
    if counts.fu:  # then a precision is None for want of questions, and not of responses
        reasons |= dict.fromkeys(("precision", "timidity"), _NO_UNANSWERABLE)
    if counts.fa:
        reasons["audacity_of_answers"] = _NO_ANSWERABLE
    for name, why in reasons.items():
        if figures[name] is None:
            yield name, why
    if interval.ends is None:
        why = interval.why_undefined if interval.images else resampling.why_undefined
        yield from ((name, why) for name in ("unf1_ci", "unf1_ci_method"))
    if resampling.percentile is None:
        yield "unf1_ci_percentile", resampling.why_undefined
    if figures["unf1_bounds"] is None:
        yield "unf1_bounds", "no question that was intended unanswerable was asked"
    for kind, kind_score in figures["by_kind"].items():
        if kind_score.recall is None:
            yield from ((f"by_kind.{kind}.{name}", "none of this kind was scored") for name in ("recall", "unf1"))
    if accounts is None:
        yield from ((name, "no ledger was handed in") for name in _ACCOUNTS)


def _unreliable(
    asked: Counter[Place], images: ImageCounts, questions: QuestionCounts, questions_per_label: int | None
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
    blind = sum(n for place, n in asked.items() if place.unscored == "no_image")
    if blind > NO_IMAGE_LIMIT * questions.asked:
        yield (
            f"{blind} of {questions.asked} responses ({blind / questions.asked:.0%}) say that no image came; "
            f"above {NO_IMAGE_LIMIT:.0%} the model most likely saw none: use one that takes images, and check the endpoint"
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


def why_open(unscored: Counter[str], asked: int, bounds: tuple[float, float] | None) -> str:
    """Why a score's bounds are its headline, and not its UnF1: what is unscored is not lost at random.

    Args:
        unscored: Responses in none of the four types, by reason.
        asked: All responses, >= 0.
        bounds: UnF1 over everything that the unscored might have been; None: undefined.

    Returns:
        The reason in a sentence; "" where UnF1 is the headline.
    """
    n, width = unscored.total(), bounds[1] - bounds[0] if bounds else 0.0
    if n > OPEN_SHARE_LIMIT * asked:
        limit = f"above {OPEN_SHARE_LIMIT:.0%}"
    elif width > OPEN_WIDTH_LIMIT:
        limit = f"which leaves the score open by {width:.3f}; above {OPEN_WIDTH_LIMIT:.2f}"
    else:
        return ""
    hint = "; a model as judge decides what the rules leave open" if 2 * unscored["undecided"] > n else ""
    return f"{n} of {asked} responses ({n / asked:.0%}) are in none of the four types, {limit} the bounds are the headline{hint}"


def _warnings(
    unscored: Counter[str], images: ImageCounts, questions: QuestionCounts, interval: Interval, *, enough: bool
) -> Iterator[str]:
    if not enough and images.total is not None and images.done + images.failed < images.total:
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
                "read the bounds beside the score"
            )
    if interval.ends is not None and interval.images < FEW_IMAGES:
        yield (
            f"the interval rests on {interval.images} images; with fewer than {FEW_IMAGES} "
            "it may leave half of the range open"
        )


def _rarely_defined(resampling: UnF1Interval, resamples: int) -> Iterator[str]:
    """A warning if many resamples have no UnF1."""
    if resampling.resamples_undefined > UNDEFINED_LIMIT * resamples:
        yield (
            f"{resampling.resamples_undefined} of {resamples} resamples had no score and were left out of "
            "unf1_ci_percentile: too few images hold a response that counts"
        )


def _equal_pictures(units: Units, lookalikes: Lookalikes) -> Iterator[str]:
    """What a reader should know of images that are one picture, or nearly."""
    if units.count < len(units):
        copies = format_count(len(units) - units.count, "image has", "images have")
        yield (
            f"{copies} the pixels of another, of {len(units)}: every interval counts equal pictures once, "
            f"{format_count(units.count, 'unit')}"
        )
    if near := lookalikes.pairs():
        pairs = format_count(len(near), "pair of images is", "pairs of images are")
        yield (
            f"{pairs} nearly the same picture (such as {near[0][0]} and {near[0][1]}): they count as two, "
            "which makes intervals too narrow; leave one of each out"
        )


def _unequal_images(asked: Iterable[tuple[Counter[Place], int]]) -> Iterator[str]:
    """A warning if few images hold most questions: no interval can tell how other images with as many would do."""
    sizes = Counter[int]()
    for places, pictures in asked:
        sizes[places.total()] += pictures
    images = sizes.total()
    held = effective_images(list(sizes), list(sizes.values())) if images > 1 else 1.0
    if images > 1 and held < EFFECTIVE_LIMIT * images:
        yield (
            f"images hold {min(sizes)} to {max(sizes)} questions: the {images} images count as {held:.1f} with equal numbers, "
            "and intervals may miss what rare large images would do"
        )


def _one_sided(asked: Counter[Place]) -> Iterator[str]:
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


def _mostly_refused(by_kind: Mapping[KindName, KindScore]) -> Iterator[str]:
    """A warning for each kind of which most questions were refused on policy: what is left says little of awareness."""
    for kind, of_kind in by_kind.items():
        if of_kind.refused >= max(FEW_REFUSALS, REFUSED_LIMIT * of_kind.n):
            yield (
                f"{of_kind.refused} of {of_kind.n} questions of kind {kind} were refused on policy and are unscored: "
                "its recall says little"
            )
