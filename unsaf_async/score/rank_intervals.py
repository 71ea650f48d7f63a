"""Intervals of what ranks and bins responses: AUROC, the area under the risk-coverage curve, and the calibration error.

Each response moves such a figure a little: its influence value. Their sums by image have the spread that the figure would
have over other images of the same sort. The intervals then follow from `intervals.linearised_interval`. The images drawn with
replacement would give nearly the same with many images; with few they are too narrow, and for the calibration error they
miss it (docs/intervals.md).

Source: DeLong, DeLong & Clarke-Pearson, Biometrics 44 (1988), for AUROC; Obuchowski, Biometrics 53 (1997), for clusters.
"""

from __future__ import annotations

import math
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from unsaf_async.score.bootstrap import RESAMPLES
from unsaf_async.score.intervals import (
    CONFIDENCE,
    Interval,
    degrees_of_freedom,
    effective_images,
    exact_interval,
    linearised_interval,
    mean_interval,
    ratio_interval,
    wider,
)
from unsaf_async.score.metrics import auroc, bin_numbers, log_losses, risk_coverage

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable, Sequence

    from numpy.typing import ArrayLike, NDArray

    Groups = Sequence[Hashable] | NDArray[np.generic]


def auroc_interval(scores: ArrayLike, positive: ArrayLike, groups: Groups) -> Interval:
    """The 95 % interval of `metrics.auroc`.

    A positive item's influence is the share of negatives below it, less AUROC, by the number of positives; a negative one's
    the same with the roles exchanged. Student's t goes by the class that fewer effective images hold. At 0 and 1 the
    interval is exact for the greatest number of pairs of one image's positive and another's negative that have no image in
    common: each would be ordered otherwise independently.

    Args:
        scores: Shape [n].
        positive: Shape [n]: whether the item is of the positive class.
        groups: Shape [n]: the item's image, all of one sortable type.

    Returns:
        The interval; its reason where a class is missing, and for fewer than 2 images.
    """
    area = auroc(scores, positive)
    if area is None:
        return Interval(why_undefined="the items are not of both classes")
    values, is_positive = np.asarray(scores, dtype=float), np.asarray(positive) != 0
    influence = auroc_influence(values, is_positive, area)
    image, images = _numbered(groups, len(values))
    sides = [np.bincount(image[chosen], minlength=images) for chosen in (is_positive, ~is_positive)]
    held = min(effective_images(side) for side in sides)
    return linearised_interval(
        area,
        _by_image(influence, image, images),
        rests_on=held,
        exact_on=min(held, images // 2),
        leverage=sum(side / side.sum() for side in sides) / 2,
    )


def auroc_influence(values: NDArray[np.float64], is_positive: NDArray[np.bool_], area: float) -> NDArray[np.float64]:
    """How far each item moves AUROC, to first order: see `auroc_interval`.

    Args:
        values: The scores, shape [n].
        is_positive: Whether the item is of the positive class, shape [n]; both classes are there.
        area: AUROC.

    Returns:
        Shape [n], of sum 0.
    """
    below = np.where(
        is_positive, _share_below(values, values[~is_positive]), 1 - _share_below(values, values[is_positive])
    )
    return np.asarray((below - area) / np.where(is_positive, is_positive.sum(), (~is_positive).sum()))


def aurc_intervals(confidence: ArrayLike, correct: ArrayLike, groups: Groups) -> tuple[Interval, Interval]:
    """The 95 % intervals of the area under the risk-coverage curve and of its excess, `metrics.risk_coverage`.

    With u the coverage at which an item comes in and e its error, AURC is the mean of -e ln u. An item's influence is its own
    -e ln u, less the sum of e / u over the items that are less sure, which it moves on, by n; both centred.

    Args:
        confidence: Shape [n], on any scale.
        correct: Shape [n], each 0 or 1.
        groups: Shape [n]: the item's image, all of one sortable type.

    Returns:
        The intervals of AURC and of E-AURC. At an AURC of 0 there is no error, and the interval is the exact one of the
        share of wrong items: what confidence no worse than chance leaves. An E-AURC of 0 has none.
    """
    curve = risk_coverage(confidence, correct)
    if curve is None:
        none = Interval(why_undefined="there is no item")
        return none, none
    sure, error = np.asarray(confidence, dtype=float), 1 - np.asarray(correct, dtype=float)
    n = len(sure)
    image, images = _numbered(groups, n)
    sizes = np.bincount(image, minlength=images)
    held, leverage = effective_images(sizes), sizes / n
    influence = _aurc_influence(sure, error) / n
    area = linearised_interval(curve.aurc, _by_image(influence, image, images), rests_on=held, leverage=leverage)
    wrong = float(error.mean())
    if not 0 < wrong < 1 or curve.e_aurc <= 1e-12:
        why = "the order is the best that there is, which says nothing of its uncertainty"
        return area, Interval(images=images, why_undefined=why)
    # The best order's area is w + (1 - w) ln(1 - w) of the share w of wrong items; -ln(1 - w) is its slope.
    influence += math.log(1 - wrong) * (error - wrong) / n
    return area, linearised_interval(
        curve.e_aurc, _by_image(influence, image, images), rests_on=held, leverage=leverage
    )


def _aurc_influence(sure: NDArray[np.float64], error: NDArray[np.float64]) -> NDArray[np.float64]:
    """[n], centred. Items of equal confidence come in together: each has the mean of what their places would give."""
    n = len(sure)
    _, block, sizes = np.unique(-sure, return_inverse=True, return_counts=True)
    ends = np.cumsum(sizes)
    starts = ends - sizes
    harmonic = np.concatenate([[0.0], np.cumsum(1 / np.arange(1, n + 1))])
    before = np.concatenate([[0.0], np.cumsum(harmonic[:-1])])
    weight = harmonic[n] - (before[ends] - before[starts]) / sizes  # -ln u of a block
    moved = np.bincount(block, weights=error) * (harmonic[ends] - harmonic[starts]) / sizes  # e / u of a block, by n
    later = moved.sum() - np.cumsum(moved)
    influence = error * weight[block] - (later + moved / 2)[block]
    return np.asarray(influence - influence.mean())


def ece_interval(confidence: ArrayLike, correct: ArrayLike, groups: Groups, *, seed: int = 0) -> Interval:
    """The 95 % interval of `metrics.ece`, the calibration error of the bins that the items fall into.

    The error is a sum of absolute gaps, so chance alone makes it larger: a perfectly calibrated model has .16 with 60
    responses. Resampling adds the same once more; its percentiles then lie above the truth (they cover it in none of 100
    samples). This interval holds what could have brought the error about: the multiples m >= 0 of the gaps as they are
    for which the error, with the images' chance on top, is neither among the 2.5 % least nor the 2.5 % greatest. Chance is
    Student's t in as many dimensions as bins, with the images' covariance. So the error itself lies near the upper end where
    most of it is chance, and the interval begins at 0 where perfect calibration explains it.

    The images of a model that hardly errs differ little by accident, and so would the gaps. The error is no smaller than mean
    confidence less accuracy. So the interval also takes in what the ends of accuracy's own interval make of that difference.

    Args:
        confidence: Shape [n], in [0, 1].
        correct: Shape [n], in [0, 1].
        groups: Shape [n]: the item's image, all of one sortable type.
        seed: Of the draws of chance.

    Returns:
        The interval; its reason for fewer than 2 images.
    """
    sure, right = np.asarray(confidence, dtype=float), np.asarray(correct, dtype=float)
    n = len(sure)
    image, images = _numbered(groups, n)
    if images < 2:
        return exact_interval(0.0, images)
    _, places = np.unique(bin_numbers(sure), return_inverse=True)
    bins = int(places.max()) + 1
    table = np.bincount(image * bins + places, weights=right - sure, minlength=images * bins).reshape(images, bins) / n
    gaps = table.sum(axis=0)
    error = float(np.abs(gaps).sum())
    sizes = np.bincount(image, minlength=images)
    held = effective_images(sizes)
    apart = (table - np.outer(sizes / n, gaps)) / np.sqrt(1 - sizes / n)[:, None]
    covariance = apart.T @ apart
    if error <= 1e-12 or np.trace(covariance) <= 1e-24:
        return exact_interval(error, images, held)
    chance = _chance(covariance, degrees_of_freedom(images, held), np.random.default_rng(seed))

    def below(multiple: float) -> float:
        """How likely an error below the one that was found is."""
        return float(np.mean(np.abs(multiple * gaps + chance).sum(axis=1) <= error))

    tail = (1 - CONFIDENCE) / 2
    low, high = (error * _where(below, share) for share in (1 - tail, tail))
    nearest, farthest = _mean_gap_reach(right, image, float(sure.mean()))
    low = min(low, error - (abs(float(gaps.sum())) - nearest))
    return Interval((max(0.0, low), min(1.0, max(high, error, farthest))), "inverted", images)


def _mean_gap_reach(
    right: NDArray[np.float64], image: NDArray[np.int64], mean_confidence: float
) -> tuple[float, float]:
    """The least and the greatest distance of mean confidence from a point of accuracy's interval; at least 2 images."""
    low, high = mean_interval(right, image).ends or (0.0, 1.0)
    return max(0.0, low - mean_confidence, mean_confidence - high), max(mean_confidence - low, high - mean_confidence)


def nll_interval(confidence: ArrayLike, correct: ArrayLike, groups: Groups) -> Interval:
    """The 95 % interval of `metrics.nll`.

    The images give a standard error on the log scale. Where errors are rare, few images show what one costs, and their spread
    is too small by accident. With the confidence as stated, the figure is a fixed part and a share of what would be lost if
    all answers went the rarer way. That share is a ratio of sums, and has the interval of one. At each end the wider counts.

    Args:
        confidence: Shape [n], in [0, 1].
        correct: Shape [n], in [0, 1].
        groups: Shape [n]: the item's image, all of one sortable type.

    Returns:
        The interval, in nats; its reason for fewer than 2 images, and where neither way gives one.
    """
    sure, right = np.asarray(confidence, dtype=float), np.asarray(correct, dtype=float)
    image, images = _numbered(groups, len(sure))
    losses, either = log_losses(sure, right), [log_losses(sure, np.full(len(sure), side)) for side in (0.0, 1.0)]
    least, most = np.minimum(*either), np.maximum(*either)
    spread = mean_interval(losses, image, high=math.inf)
    lost = _by_image(np.clip(losses - least, 0, most - least), image, images)
    outcomes = ratio_interval(np.stack([lost, _by_image(most - least, image, images)], axis=1))
    if outcomes.ends is None:
        return spread
    low, high = (float(least.mean() + end * (most - least).mean()) for end in outcomes.ends)
    return wider(spread, replace(outcomes, ends=(low, high)))


def _chance(covariance: NDArray[np.float64], freedom: float, rng: np.random.Generator) -> NDArray[np.float64]:
    """[draws, bins] of Student's t with so many degrees of freedom."""
    values, vectors = np.linalg.eigh(covariance)
    normal = rng.standard_normal((RESAMPLES, len(values))) * np.sqrt(np.maximum(values, 0)) @ vectors.T
    return np.asarray(normal / np.sqrt(rng.chisquare(freedom, (RESAMPLES, 1)) / freedom))


def _where(falling: Callable[[float], float], share: float) -> float:
    """The multiple >= 0 at which a share falls to `share`; 0 where it begins below."""
    if falling(0.0) < share:
        return 0.0
    low, high = 0.0, 1.0
    while falling(high) > share and high < 1e6:
        low, high = high, 2 * high
    for _ in range(25):
        middle = (low + high) / 2
        low, high = (middle, high) if falling(middle) > share else (low, middle)
    return high


def _share_below(values: NDArray[np.float64], others: NDArray[np.float64]) -> NDArray[np.float64]:
    """Of each value, the share of the others that it exceeds; ties count half."""
    ordered = np.sort(others)
    twice = np.searchsorted(ordered, values, "left") + np.searchsorted(ordered, values, "right")
    return np.asarray(twice / (2 * len(ordered)))


def _numbered(groups: Groups, n: int) -> tuple[NDArray[np.int64], int]:
    """Each item's image as a number from 0, and how many images there are."""
    names, image = np.unique(np.asarray(groups), return_inverse=True)
    if len(image) != n:
        raise ValueError(f"{n} items, but {len(image)} groups")
    return image.reshape(-1), len(names)


def _by_image(influence: NDArray[np.float64], image: NDArray[np.int64], images: int) -> NDArray[np.float64]:
    return np.asarray(np.bincount(image, weights=influence, minlength=images), dtype=np.float64)
