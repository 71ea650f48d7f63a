"""Intervals of what ranks and bins responses: AUROC, the area under the risk-coverage curve, and the calibration error.

Each response moves such a figure a little: its influence value. Their sums by image have the spread that the figure would
have over other images of the same sort. The intervals then follow from `intervals.linearised_interval`. The images drawn with
replacement would give nearly the same with many images; with few they are too narrow, and for the calibration error they
miss it (docs/intervals.md).

Source: DeLong, DeLong & Clarke-Pearson, Biometrics 44 (1988), for AUROC; Obuchowski, Biometrics 53 (1997), for clusters.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from unsaf_async.score.bootstrap import RESAMPLES
from unsaf_async.score.intervals import CONFIDENCE, Interval, effective_images, exact_interval, linearised_interval
from unsaf_async.score.metrics import auroc, bin_numbers, risk_coverage

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable, Sequence

    from numpy.typing import ArrayLike, NDArray

    Groups = Sequence[Hashable] | NDArray[np.generic]


def auroc_interval(scores: ArrayLike, positive: ArrayLike, groups: Groups) -> Interval:
    """The 95 % interval of `metrics.auroc`.

    A positive item's influence is the share of negatives below it, less AUROC, by the number of positives; a negative one's
    the same with the roles exchanged. Student's t goes by the images with an item of the rarer class. At 0 and 1 the interval
    is exact for the greatest number of pairs of one image's
    positive and another's negative that have no image in common: each would be ordered otherwise independently.

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
    sides = [len(np.unique(image[chosen])) for chosen in (is_positive, ~is_positive)]
    return linearised_interval(
        area, _by_image(influence, image, images), rests_on=min(sides), exact_on=min(*sides, images // 2)
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
    apart = table - np.outer(np.bincount(image, minlength=images) / n, gaps)
    covariance = apart.T @ apart * (images / (images - 1))
    if error <= 1e-12 or np.trace(covariance) <= 1e-24:
        return exact_interval(error, images)
    chance = _chance(covariance, images, np.random.default_rng(seed))

    def below(multiple: float) -> float:
        """How likely an error below the one that was found is."""
        return float(np.mean(np.abs(multiple * gaps + chance).sum(axis=1) <= error))

    tail = (1 - CONFIDENCE) / 2
    low, high = (error * _where(below, share) for share in (1 - tail, tail))
    return Interval((min(low, error), min(1.0, max(high, error))), "inverted", images)


def _chance(covariance: NDArray[np.float64], images: int, rng: np.random.Generator) -> NDArray[np.float64]:
    """[draws, bins] of Student's t with images - 1 degrees of freedom."""
    values, vectors = np.linalg.eigh(covariance)
    normal = rng.standard_normal((RESAMPLES, len(values))) * np.sqrt(np.maximum(values, 0)) @ vectors.T
    return np.asarray(normal / np.sqrt(rng.chisquare(images - 1, (RESAMPLES, 1)) / (images - 1)))


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
