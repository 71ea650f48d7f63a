"""Before and after: from the examinations of two models to figures and their paired intervals. Pure arithmetic.

All figures but one are ratios of sums over questions, and all differences are after minus before, on the images that
both models hold. An interval draws the images anew, both models' questions about an image together, for all figures
alike.
"""

from __future__ import annotations

from collections import Counter
from functools import cache
from math import fsum
from typing import TYPE_CHECKING, Any

import numpy as np
from pydantic import Field

from unsaf_async.compare.pairing import (
    RESAMPLES,
    alike_interval,
    examined,
    match,
    pair_of,
    paired_difference,
    resampled_sums,
)
from unsaf_async.distill.evaluate.measures import FigureName
from unsaf_async.records import Examination, Question, Record
from unsaf_async.score.bootstrap import interval
from unsaf_async.score.bounded_mean import mean_bounds
from unsaf_async.score.intervals import (
    Interval,
    combined_interval,
    difference_interval,
    ratio_interval,
    smooth_interval,
)
from unsaf_async.score.ratios import quotients, ratio
from unsaf_async.score.run_score import UNSCORED_LIMIT
from unsaf_async.score.unf1 import KindName, cell
from unsaf_async.score.units import Units

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence

    from numpy.typing import NDArray

    from unsaf_async.distill.evaluate.measures import Measure

UNDEFINED_LIMIT = 0.05
"""Share of resamples without a defined figure above which its interval earns a note."""

_MILLION = 1_000_000
"""Resampled sums are of whole numbers: soft accuracies go in as millionths."""

TITLES: dict[FigureName, str] = {
    "unf1_own": "UnF1, own questions",
    "unf1_bank": "UnF1, frozen bank",
    "unf1_fixed_mix": "UnF1, own, fixed kinds",
    "accuracy": "labelled accuracy",
    "over_refusal": "over-refusal, labelled",
    "abstention_recall": "abstention recall, labelled",
    "decline_auroc": "telling what has no answer",
    "over_refusal_bank": "over-refusal, frozen bank",
    "pope_accuracy": "POPE accuracy",
    "pope_f1": "POPE F1",
    "pope_yes_ratio": "POPE share of yes",
    "pope_abstained": "POPE abstained",
    "pope_official_accuracy": "POPE accuracy, official rule",
    "pope_official_f1": "POPE F1, official rule",
    "pope_official_yes_ratio": "POPE share of yes, official rule",
}
"""The figures in words, in the order in which they are shown."""


class Figure(Record):
    """One figure of both models, on the images that both hold. What is None has its reason in `undefined`."""

    name: FigureName
    before: float | None
    after: float | None
    difference: float | None
    """After minus before, in [-1, 1]."""
    ci: tuple[float, float] | None = None
    """95 % interval of `difference` over images, both models' questions jointly: the two figures' intervals, combined."""
    before_ci: tuple[float, float] | None = None
    """95 % interval of `before` over these images; None in files of older versions, too."""
    after_ci: tuple[float, float] | None = None
    exact_ci: tuple[float, float] | None = None
    """Exact 95 % bounds of `difference`, of the figures that a gate against harm rests on (`score/bounded_mean.py`)."""
    p: float | None = None
    """Of the two UnF1 without a fixed mix: see `pairing.paired_difference`. None with its reason where `ci` says otherwise."""
    images: int
    """That both hold; equal pictures count once."""
    images_differing: int | None = None
    """Of them, those on which the two models do not add the same to it. None where that was not counted."""
    images_bearing: int | None = None
    """Of them, those with a question that enters it: what `exact_ci` rests on."""
    images_effective: float | None = None
    """How many images would hold all its questions, were each as large as the largest: an image that was not seen may be so
    large. None without a question, and in files of older versions."""
    asked_before: int
    """Questions that the figure is about, on these images."""
    asked_after: int
    questions_before: int
    """Of them, those that enter it."""
    questions_after: int
    unscored_before: int
    """Of those asked, the ones in none of the four types. They enter an accuracy, as wrong, and no other figure."""
    unscored_after: int
    resamples_undefined: int = 0
    """Draws of images in which a model's figure is undefined."""
    undefined: dict[str, str] = Field(default_factory=dict)
    """Reason for each of before, after, difference and ci that is None, and for an interval that a model's own figure lacks."""
    notes: list[str] = Field(default_factory=list)
    """What a reader should know of this figure."""


# --- figures ----------------------------------------------------------------------------------------------------------


def shared_questions(
    before: Sequence[Examination], after: Sequence[Examination]
) -> tuple[list[Examination], list[Examination], int]:
    """Both models' examinations on the images that both hold, with only the questions that both were asked.

    Two questions are one if text and label are equal. A frozen bank is one examination only if both sat the same one.

    Args:
        before: The before-model's examinations, one an image.
        after: The after-model's examinations, one an image.

    Returns:
        (before's, after's, how many questions on either side the other was not asked).
    """
    unshared, ours, theirs = 0, [], []
    for one, other in match(examined(before), examined(after)):
        common = Counter(map(_asked, one.questions)) & Counter(map(_asked, other.questions))
        kept = [_only(each, common) for each in (one, other)]
        unshared += len(one.questions) + len(other.questions) - sum(len(each.questions) for each in kept)
        ours.append(kept[0])
        theirs.append(kept[1])
    return ours, theirs, unshared


def _asked(question: Question) -> tuple[str, str]:
    return question.text, question.intended


def _only(examination: Examination, wanted: Counter[tuple[str, str]]) -> Examination:
    remaining, kept = wanted.copy(), []
    for question in examination.questions:
        if remaining[_asked(question)] > 0:
            remaining[_asked(question)] -= 1
            kept.append(question)
    return examination.model_copy(update={"questions": tuple(kept)})


def unf1_figure(
    name: FigureName,
    before: Sequence[Examination],
    after: Sequence[Examination],
    *,
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> Figure:
    """UnF1 of both, paired by image (`pairing.paired_difference`).

    Args:
        name: The figure's name.
        before: The before-model's examinations, one an image.
        after: The after-model's examinations, one an image.
        resamples: Draws of images for the interval, >= 1.
        seed: Of the draws.

    Returns:
        The figure; what is undefined has its reason in it.

    Raises:
        ValueError: resamples < 1.
    """
    paired = paired_difference(after, before, resamples=resamples, seed=seed)
    pairs = match(examined(before), examined(after))
    rows = np.array([(*pair_of(one), *pair_of(other)) for one, other in pairs], dtype=np.int64).reshape(-1, 4)
    rows = _units(pairs).sums(rows)
    values = {"before": paired.unf1_b, "after": paired.unf1_a}
    ends, why = side_intervals(values, ratio_interval(rows[:, :2]), ratio_interval(rows[:, 2:]))
    words = {"unf1_a": "after", "unf1_b": "before", "difference": "difference", "ci": "ci", "p": "p"}
    return make_figure(
        name,
        pairs,
        lambda _: True,
        lambda question: cell(question) is not None,
        **values,
        **ends,
        difference=paired.difference,
        ci=paired.ci,
        p=paired.p,
        resamples_undefined=paired.resamples_undefined,
        undefined={words[key]: each for key, each in paired.undefined.items() if key in words} | why,
        images_differing=paired.images_differing,
        notes=_about_resamples(paired.resamples_undefined, resamples),
    )


def ratio_figures(
    measures: Sequence[Measure],
    before: Sequence[Examination],
    after: Sequence[Examination],
    *,
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> list[Figure]:
    """Figures that are ratios of sums over questions, of both models, paired by image.

    Each model's figure is its numerators' sum by its denominators' sum over the shared images. The interval combines the two
    models' (`intervals.difference_interval`). Draws of images, the same for all figures, count how often one is undefined.

    Args:
        measures: The ratios.
        before: The before-model's examinations, one an image.
        after: The after-model's examinations, one an image.
        resamples: Draws of images for the interval, >= 1.
        seed: Of the draws.

    Returns:
        One figure a measure.

    Raises:
        ValueError: resamples < 1.
    """
    _check(resamples)
    pairs = match(examined(before), examined(after))
    # [images, measures, 4]: numerator and denominator of after, then of before
    terms = np.array(
        [[(*_terms(measure, other), *_terms(measure, one)) for measure in measures] for one, other in pairs]
    ).reshape(len(pairs), len(measures), 4)
    terms = _units(pairs).sums(terms)

    @cache
    def sums() -> NDArray[np.int64]:
        rows = np.rint(_MILLION * terms).astype(np.int64).reshape(len(terms), -1)
        return resampled_sums(rows, resamples, seed).reshape(resamples, len(measures), 4)

    def difference(place: int) -> Callable[[], NDArray[np.float64]]:
        return lambda: (
            quotients(sums()[:, place, 0], sums()[:, place, 1]) - quotients(sums()[:, place, 2], sums()[:, place, 3])
        )

    figures = []
    for place, measure in enumerate(measures):
        whole = [fsum(column) for column in terms[:, place].T]
        values = {"before": ratio(*whole[2:]), "after": ratio(*whole[:2])}
        why = measure.why if pairs else "the runs share no image"
        fields = _paired(values, why, len(terms), difference(place))
        if fields["difference"] is not None and len(terms) >= 2:
            fields |= _bounds(terms[:, place], measure, fields)
        ends, missing = side_intervals(values, ratio_interval(terms[:, place, 2:]), ratio_interval(terms[:, place, :2]))
        fields |= {**ends, "undefined": fields["undefined"] | missing}
        fields["images_differing"] = int((terms[:, place, :2] != terms[:, place, 2:]).any(axis=1).sum())
        figures.append(make_figure(measure.name, pairs, measure.about, _enters(measure), **fields))
    return figures


def _bounds(terms: NDArray[np.float64], measure: Measure, fields: Mapping[str, Any]) -> dict[str, Any]:
    """The intervals of a difference: of two models that are equal on every image, the exact bounds are all there is."""
    exact, found = exact_difference(terms, measure.heaviest), difference_interval(terms)
    if exact and (terms[:, :2] == terms[:, 2:]).all():
        found = Interval(exact["exact_ci"], "exact", exact["images_bearing"])
    return _named(found, fields) | (exact if measure.exact else {})


def _named(found: Interval, fields: Mapping[str, Any]) -> dict[str, Any]:
    """The interval of a difference, and the reasons with that of its absence."""
    why = {} if found.ends else {"ci": found.why_undefined}
    return {
        "ci": found.ends,
        "undefined": {name: each for name, each in fields["undefined"].items() if name != "ci"} | why,
    }


def exact_difference(terms: NDArray[np.float64], heaviest: float = 1.0) -> dict[str, Any]:
    """The exact bounds of a difference of two shares, and how many images bear on them.

    An image's value is the difference as it would be if all images were like it, to first order; for as many questions of
    both models on every image it is the image's own difference. An image that was not seen may hold as many questions as the
    largest that was, with any difference from -1 to 1 on them: its value then lies w times as far from the difference as
    these do, w being the largest number of questions by the mean one.

    Args:
        terms: Of each image the sums of numerators and denominators, of after and then of before; shape [images, 4].
        heaviest: How much more than any that was seen an image can add to a denominator, as a factor: 1 of a share.

    Returns:
        Fields of a `Figure`, "exact_ci" and "images_bearing"; {} where fewer than two images bear on it.
    """
    terms = terms[terms[:, 1] + terms[:, 3] > 0]
    if len(terms) < 2:
        return {}
    whole = terms.sum(axis=0)
    after, before = whole[0] / whole[1], whole[2] / whole[3]
    moved = (terms[:, 0] - after * terms[:, 1]) / whole[1] - (terms[:, 2] - before * terms[:, 3]) / whole[3]
    difference = after - before
    values = difference + len(terms) * moved
    largest = heaviest * float((terms[:, [1, 3]].max(axis=0) / terms[:, [1, 3]].mean(axis=0)).max())
    worst, best = (difference + largest * (end - difference) for end in (-1, 1))
    ends = mean_bounds(values, min(worst, float(values.min())), max(best, float(values.max())))
    return {"exact_ci": (max(-1.0, ends[0]), min(1.0, ends[1])), "images_bearing": len(terms)}


def _enters(measure: Measure) -> Callable[[Question], bool]:
    return lambda question: measure.terms(question)[1] > 0


def _terms(measure: Measure, examination: Examination) -> tuple[float, float]:
    terms = [measure.terms(question) for question in examination.questions if measure.about(question)]
    return fsum(above for above, _ in terms), fsum(below for _, below in terms)


def fixed_mix_figure(
    before: Sequence[Examination], after: Sequence[Examination], *, resamples: int = RESAMPLES, seed: int = 0
) -> Figure:
    """UnF1 with own questions of both at the before-model's mix of kinds.

    On the shared images, let n_mk be the scored unanswerable questions of kind k that model m wrote, N_m their sum over
    all kinds, r_mk the share of them that m declined, FU_m its over-refusals, and s_k = n_k / N of the before-model.
    Each unanswerable question of m is weighted by s_k N_m / n_mk, so that the kinds have the before-model's shares and
    their sum stays N_m:

        R_m = sum over k of s_k r_mk,    UnF1_m = 2 R_m / (1 + R_m + FU_m / N_m)

    The before-model's is its UnF1 as it stands. Questions without a kind are a kind of their own. A kind that the
    after-model alone wrote has the share 0, so its questions weigh nothing, and a note counts them. The shares are part of
    what the images leave open: without an image they are those of the others.

    Args:
        before: The before-model's examinations, one an image.
        after: The after-model's examinations, one an image.
        resamples: Draws of images for the interval, >= 1.
        seed: Of the draws.

    Returns:
        The figure; undefined if the after-model has no scored question of a kind that the before-model wrote.

    Raises:
        ValueError: resamples < 1.
    """
    _check(resamples)
    pairs = match(examined(before), examined(after))
    kinds_before, kinds_after = (_kinds(pair[side] for pair in pairs) for side in (0, 1))
    kinds = sorted(kinds_before)
    new = {kind: n for kind, n in sorted(kinds_after.items()) if kind not in kinds_before}
    rows = np.array([[*_mixed(one, kinds), *_mixed(other, kinds)] for one, other in pairs], np.int64)
    rows = _units(pairs).sums(rows.reshape(len(pairs), 2 * (2 + 2 * len(kinds))))

    def differences() -> NDArray[np.float64]:
        ours, theirs = both_at_mix(resampled_sums(rows, resamples, seed))
        return theirs - ours

    values: dict[str, float | None] = {"before": None, "after": None}
    if kinds:
        points = (float(value[0]) for value in both_at_mix(rows.sum(axis=0, keepdims=True)))
        values = {side: None if np.isnan(point) else point for side, point in zip(values, points, strict=True)}
    notes = []
    if new and kinds:
        listed = ", ".join(f"{kind} {n}" for kind, n in new.items())
        notes.append(
            f"{sum(new.values())} questions of kinds that the before-model did not write weigh nothing ({listed})"
        )
    why = _why_no_mix(kinds, kinds_after) if pairs else "the runs share no image"
    fields = _paired(values, why, len(rows), differences, notes)
    own, mixed = mix_intervals(rows)
    if fields["difference"] is not None and len(rows) >= 2:
        fields |= _named(_mix_bounds(rows, own, mixed, pairs), fields)
    ends, missing = side_intervals(values, own, mixed)
    return make_figure(
        "unf1_fixed_mix",
        pairs,
        lambda _: True,
        lambda question: cell(question) is not None and _kind(question) not in new,
        **fields | {**ends, "undefined": fields["undefined"] | missing},
    )


def mix_intervals(rows: NDArray[np.int64]) -> tuple[Interval, Interval]:
    """The intervals of both models' UnF1 at the before-model's mix of kinds; the before-model's is its UnF1.

    Args:
        rows: Of each image the before-model's FU, TU + FA, TU of each kind and TU + FA of each, then the after-model's; shape
            [images, 2 (2 + 2 kinds)].

    Returns:
        (before's, after's).
    """
    kinds = rows.shape[1] // 4 - 1
    fu, unanswerable, tu = rows[:, 0], rows[:, 1], rows[:, 2 : 2 + kinds].sum(axis=1)
    own = ratio_interval(np.stack([2 * tu, fu + unanswerable + tu], axis=1))
    width = rows.shape[1] // 2
    if (rows[:, :width] == rows[:, width:]).all():  # the after-model's is its UnF1, too
        return own, own
    return own, smooth_interval(rows, lambda sums: both_at_mix(sums)[1])


def _mix_bounds(
    rows: NDArray[np.int64], before: Interval, after: Interval, pairs: Sequence[tuple[Examination, Examination]]
) -> Interval:
    """`mix_difference`; of two models that are equal on every image the exact bound, by the kind on the fewest images."""
    half = rows.shape[1] // 2
    if (rows[:, :half] == rows[:, half:]).all():
        return alike_interval(pairs, int((rows[:, 1 + half // 2 : half] > 0).sum(axis=0).min()))
    return mix_difference(rows, before, after)


def mix_difference(rows: NDArray[np.int64], before: Interval, after: Interval) -> Interval:
    """The interval of the after-model's UnF1 at the before-model's mix, minus the before-model's.

    Args:
        rows: As for `mix_intervals`; both figures are defined.
        before: The before-model's interval.
        after: The after-model's.

    Returns:
        Both intervals, combined with the correlation of what leaving out an image does to both figures; None with its reason
        where one of the two is, and where no image differs.
    """
    width = rows.shape[1] // 2
    if (rows[:, :width] == rows[:, width:]).all():
        return Interval(images=len(rows), why_undefined="the two are equal on every image")
    total = rows.sum(axis=0)
    ours, theirs = (float(value) for value in both_at_mix(total))
    without_ours, without_theirs = both_at_mix(total - rows)
    return combined_interval(
        (theirs, after, np.nan_to_num(theirs - without_theirs)), (ours, before, np.nan_to_num(ours - without_ours))
    )


def _why_no_mix(kinds: Sequence[KindName], kinds_after: Collection[KindName]) -> str:
    """Why the figure is undefined, if it is. kinds: those that the before-model wrote."""
    if not kinds:
        return "the before-model has no scored unanswerable question"
    missing = ", ".join(kind for kind in kinds if kind not in kinds_after)
    return f"the after-model has no scored question of a kind that the before-model wrote: {missing}"


def both_at_mix(sums: NDArray[Any]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Both models' UnF1 at the before-model's mix of kinds.

    Args:
        sums: Sums over images of rows as for `mix_intervals`; shape [..., 2 (2 + 2 kinds)].

    Returns:
        (before's, after's), of shape [...]; NaN where undefined.
    """
    width = sums.shape[-1] // 2
    ours, theirs = sums[..., :width], sums[..., width:]
    asked = ours[..., 2 + (width - 2) // 2 :]
    shares = quotients(asked, np.broadcast_to(asked.sum(axis=-1, keepdims=True), asked.shape))
    return _at_mix(ours, shares), _at_mix(theirs, shares)


def _kind(question: Question) -> KindName | None:
    return (question.kind or "unspecified") if question.intended == "unanswerable" else None


def _kinds(examinations: Iterable[Examination]) -> Counter[KindName]:
    """The scored unanswerable questions, by kind."""
    return Counter(
        kind
        for examination in examinations
        for question in examination.questions
        if cell(question) is not None and (kind := _kind(question)) is not None
    )


def _mixed(examination: Examination, kinds: Sequence[KindName]) -> list[int]:
    """An image's FU, its TU + FA of all kinds, then its TU of each of `kinds`, then its TU + FA of each."""
    by_cell = Counter(cell(question) for question in examination.questions)
    of_kind = Counter((_kind(question), cell(question)) for question in examination.questions)
    tu = [of_kind[kind, "tu"] for kind in kinds]
    asked = [of_kind[kind, "tu"] + of_kind[kind, "fa"] for kind in kinds]
    return [by_cell["fu"], by_cell["tu"] + by_cell["fa"], *tu, *asked]


def _at_mix(sums: NDArray[Any], shares: NDArray[np.float64]) -> NDArray[np.float64]:
    """[...] from sums [..., 2 + 2 kinds] and the kinds' shares; NaN where a kind with a share has no question."""
    kinds = shares.shape[-1]
    recalls = np.where(shares > 0, quotients(sums[..., 2 : 2 + kinds], sums[..., 2 + kinds :]), 0.0)
    recall = (shares * recalls).sum(axis=-1)
    return np.asarray(2 * recall / (1 + recall + quotients(sums[..., 0], sums[..., 1])))


def _paired(
    values: Mapping[str, float | None],
    why: str,
    images: int,
    differences: Callable[[], NDArray[np.float64]],
    notes: Sequence[str] = (),
) -> dict[str, Any]:
    """The fields of a `Figure` that follow from both models' values and from the difference in each draw of images."""
    before, after = values["before"], values["after"]
    undefined = {side: why for side, value in values.items() if value is None}
    difference = None if before is None or after is None else after - before
    ci, left_out, drawn = None, 0, np.empty(0)
    if difference is None:
        undefined |= dict.fromkeys(("difference", "ci"), why)
    elif images < 2:
        undefined["ci"] = "pairing needs at least 2 shared images; there is 1"
    else:
        # Without the last digits, in which equal values may differ.
        drawn = np.round(differences(), 12)
        left_out = int(np.isnan(drawn).sum())
        ci = interval(drawn)
        if ci is None:
            undefined["ci"] = "every resample has the same difference, so the images say nothing about its uncertainty"
    return {
        "before": before,
        "after": after,
        "difference": difference,
        "ci": ci,
        "resamples_undefined": left_out,
        "undefined": undefined,
        "notes": [*notes, *_about_resamples(left_out, len(drawn))],
    }


def side_intervals(
    values: Mapping[str, float | None], before: Interval, after: Interval
) -> tuple[dict[str, tuple[float, float] | None], dict[str, str]]:
    """The intervals of both models' own values, as a `Figure` holds them.

    Args:
        values: The figure, by "before" and "after".
        before: The interval of the before-model's.
        after: That of the after-model's.

    Returns:
        (the ends by "before_ci" and "after_ci", by the same names the reason where a figure that is defined has none).
    """
    ends: dict[str, tuple[float, float] | None] = {"before_ci": None, "after_ci": None}
    why: dict[str, str] = {}
    for (side, value), found in zip(values.items(), (before, after), strict=True):
        if value is not None:
            ends[f"{side}_ci"] = found.ends
            why |= {} if found.ends else {f"{side}_ci": found.why_undefined}
    return ends, why


def _about_resamples(left_out: int, resamples: int) -> list[str]:
    if left_out <= UNDEFINED_LIMIT * resamples:
        return []
    return [f"{left_out} of {resamples} resamples leave it undefined"]


def make_figure(
    name: FigureName,
    pairs: Sequence[tuple[Examination, Examination]],
    about: Callable[[Question], bool],
    enters: Callable[[Question], bool],
    **fields: object,
) -> Figure:
    """The figure with its counts.

    Args:
        name: The figure's name.
        pairs: Both models' examinations of each shared image.
        about: Whether the figure is about a question.
        enters: Whether that question counts in it.
        fields: The figure's other fields.

    Returns:
        The figure.
    """
    counts: dict[str, float | None] = {}
    for place, side in enumerate(("before", "after")):
        asked = [question for pair in pairs for question in pair[place].questions if about(question)]
        counts[f"asked_{side}"] = len(asked)
        counts[f"questions_{side}"] = sum(map(enters, asked))
        counts[f"unscored_{side}"] = sum(cell(question) is None for question in asked)
    units = _units(pairs)
    sizes = units.sums(
        np.array([[sum(map(about, examination.questions)) for examination in pair] for pair in pairs]).reshape(-1, 2)
    )
    largest = sizes.max(axis=0, initial=0)
    counts["images_effective"] = float((sizes.sum(axis=0) / largest).min()) if largest.all() else None
    return Figure(name=name, images=units.count, **counts, **fields)


def about_copies(before: Sequence[Examination], after: Sequence[Examination], what: str) -> Iterator[str]:
    """What a reader should know of images that are the same picture.

    Args:
        before: The before-model's examinations, one an image.
        after: The after-model's examinations, one an image.
        what: What both models were put to, in words.

    Yields:
        One sentence if there are any.
    """
    pairs = match(examined(before), examined(after))
    if (pictures := _units(pairs).count) < len(pairs):
        yield f"{what}: {len(pairs):,} images are {pictures:,} different pictures, and equal pictures count once"


def _units(pairs: Sequence[tuple[Examination, Examination]]) -> Units:
    return Units.of(one.image for one, _ in pairs)


def _check(resamples: int) -> None:
    if resamples < 1:
        raise ValueError(f"resamples is {resamples}; give at least 1")


def unavailable(name: FigureName, why: str) -> Figure:
    """A figure that was asked for and cannot be computed at all.

    Args:
        name: The figure's name.
        why: The reason.

    Returns:
        A figure without values, on 0 images.
    """
    return Figure(
        name=name,
        before=None,
        after=None,
        difference=None,
        images=0,
        asked_before=0,
        asked_after=0,
        questions_before=0,
        questions_after=0,
        unscored_before=0,
        unscored_after=0,
        undefined=dict.fromkeys(("before", "after", "difference", "ci"), why),
    )


def about_figures(figures: Sequence[Figure]) -> Iterator[str]:
    """What a reader should know of the figures.

    Args:
        figures: The figures of a comparison.

    Yields:
        A sentence each.
    """
    for figure in figures:
        yield from (f"{TITLES[figure.name]}: {note}" for note in figure.notes)
    seen = set()
    for figure in figures:
        for side, asked, unscored in (
            ("before", figure.asked_before, figure.unscored_before),
            ("after", figure.asked_after, figure.unscored_after),
        ):
            if unscored > UNSCORED_LIMIT * asked and (side, asked, unscored) not in seen:
                seen.add((side, asked, unscored))  # one line for all figures about the same questions
                yield f"{TITLES[figure.name]}: {unscored} of {asked} responses of the {side}-model are unscored"
