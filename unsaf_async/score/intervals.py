"""95 % intervals of figures that are functions of sums over images, with the image as the unit.

Questions of one image are not independent, so what counts is how many images bear on a figure, and how much they differ.
All intervals here follow one plan. The images give a standard error; the interval is symmetric on the logit scale, so that
it stays in the figure's range; its quantile is Student's t with one degree of freedom fewer than images. A few images may
be much alike by accident, so the error is guarded (`GUARD`). Where a figure stands at an end of its range no image differs,
and the interval is the exact one of how many images may do otherwise.

Chosen by simulation (docs/intervals.md): with 5 to 50 images resampling is too narrow, and often has no interval at all.

Source of the standard errors: Cochran, Sampling Techniques (1977), section 6.4 (linearised ratio); Efron, The Jackknife, the
Bootstrap and Other Resampling Plans (1982), chapter 3 (delete one). Of the exact interval: Clopper & Pearson, Biometrika 26
(1934), and Korn & Graubard, Survey Methodology 24 (1998), for its use with clusters.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from typing import Any

    from numpy.typing import NDArray

CONFIDENCE = 0.95
"""Of every interval, two-sided."""

GUARD = 0.05
"""Images that every interval counts in beside those there are, as if on them everything had gone the rarer way.

With k images a figure s then has a variance of at least GUARD (max(s, 1 - s) / k)^2, for that is how far one such image would
move it. Without it, 10 images that nearly all abstained from everything had intervals that covered in 82 of 100 cases.
"""

IntervalMethod = Literal[
    "logit_t", "jackknife_logit_t", "linearised_logit_t", "linearised_log_t", "inverted", "exact_one_sided", "exact", "combined",
    "fixed_width_stop", "anytime",
]  # fmt: skip
"""How an interval was computed.

logit_t: linearised standard error of a ratio of sums. jackknife_logit_t: delete-one-image standard error. linearised_logit_t,
linearised_log_t: of influence values, on that scale. inverted: see `rank_intervals.ece_interval`. exact_one_sided: at an end of
the range. exact: `exact_interval` inside the range. combined: `difference_interval`. fixed_width_stop, anytime: of a rule that
stopped a run (`runs/stopping.py`).
"""

_EQUAL = 1e-12
"""Relative difference below which two figures differ by rounding alone."""


@dataclass(frozen=True, slots=True)
class Interval:
    """A 95 % interval, or the reason why there is none.

    ends: (low, high). method: how it was computed. Both are None without an interval. images: how many bear on the figure.
    why_undefined: "" unless there is no interval.
    """

    ends: tuple[float, float] | None = None
    method: IntervalMethod | None = None
    images: int = 0
    why_undefined: str = ""


def ratio_interval(
    pairs: Sequence[tuple[float, float]] | NDArray[Any], times: Sequence[int] | NDArray[np.int64] | None = None
) -> Interval:
    """The interval of sum(a) / sum(b) over images.

    Args:
        pairs: (a, b) of each image, 0 <= a <= b; as an array, of shape [images, 2]. Their order does not matter.
        times: How many images have each of the pairs; None: one each.

    Returns:
        The interval, in [0, 1]. None with its reason where fewer than 2 images have b > 0. At 0 and 1 see `exact_interval`.
    """
    rows, images = _distinct(np.asarray(pairs, dtype=float).reshape(-1, 2), times)
    bears = rows[:, 1] > 0
    rows, images = rows[bears], images[bears]
    k = int(images.sum())
    if k < 2:
        return Interval(images=k, why_undefined=_too_few(k))
    above, below = images @ rows
    value = float(above / below)
    residuals = rows[:, 0] - value * rows[:, 1]
    return _around(value, float(images @ residuals**2) * k / (k - 1) / float(below) ** 2, k, "logit_t")


def difference_interval(rows: Sequence[Sequence[float]] | NDArray[Any]) -> Interval:
    """The interval of sum(a) / sum(b) - sum(c) / sum(d) over images: two ratios of the same images.

    Each ratio has its own interval; the two are combined, with the correlation that the images' influence on both has. So it
    holds also where one ratio is at an end of its range, and where few images tell it. Source: Zou & Donner, Statistics in
    Medicine 27 (2008), doi:10.1002/sim.3095, eq. 8.

    Args:
        rows: (a, b, c, d) of each image, 0 <= a <= b and 0 <= c <= d; shape [images, 4].

    Returns:
        The interval, in [-1, 1]. None with its reason where one ratio has none, and where no image differs in them.
    """
    table = np.asarray(rows, dtype=float).reshape(-1, 4)
    one, other = ratio_interval(table[:, :2]), ratio_interval(table[:, 2:])
    fewest = min(one.images, other.images)
    if one.ends is None or other.ends is None:
        return Interval(images=fewest, why_undefined=_too_few(fewest))
    if (table[:, :2] == table[:, 2:]).all():
        return Interval(images=fewest, why_undefined="the two are equal on every image")
    values = [float(pair[0] / pair[1]) for pair in (table.sum(axis=0)[:2], table.sum(axis=0)[2:])]
    return combined_interval((values[0], one, _influence(table[:, :2])), (values[1], other, _influence(table[:, 2:])))


def combined_interval(
    one: tuple[float, Interval, NDArray[np.float64]], other: tuple[float, Interval, NDArray[np.float64]]
) -> Interval:
    """The interval of the difference of two figures of the same images, out of their own (see `difference_interval`).

    Args:
        one: The figure, its interval, and how far each image moves it, to first order; shape [images].
        other: The same of the figure that is taken from it.

    Returns:
        The interval, in [-1, 1]. None with its reason where one figure has none.
    """
    (value, mine, ours), (their_value, their, theirs) = one, other
    fewest = min(mine.images, their.images)
    if mine.ends is None or their.ends is None:
        return Interval(images=fewest, why_undefined=(mine if mine.ends is None else their).why_undefined)
    size = math.sqrt(float(ours @ ours) * float(theirs @ theirs))
    correlation = float(ours @ theirs) / size if size > _EQUAL else 0.0

    def distance(x: float, y: float) -> float:
        return math.sqrt(max(0.0, x * x + y * y - 2 * correlation * x * y))

    difference = value - their_value
    low = difference - distance(value - mine.ends[0], their.ends[1] - their_value)
    high = difference + distance(mine.ends[1] - value, their_value - their.ends[0])
    return Interval((max(-1.0, low), min(1.0, high)), "combined", fewest)


def smooth_interval(
    rows: Sequence[Sequence[float]] | NDArray[Any],
    figure: Callable[[NDArray[Any]], NDArray[np.float64]],
    *,
    low: float = 0.0,
    high: float = 1.0,
    times: Sequence[int] | NDArray[np.int64] | None = None,
    rests_on: int | None = None,
) -> Interval:
    """The interval of a smooth function of sums over images, by leaving out each image in turn.

    Args:
        rows: What each image adds to the sums, shape [images, m]; an image whose row is all 0 does not bear on the figure.
        figure: From sums of shape [..., m] to figures of shape [...]; NaN where undefined.
        low: The least value of the figure.
        high: Its greatest value.
        times: How many images have each of the rows; None: one each.
        rests_on: How many of the images bear on the part of the figure that fewest bear on; None: all do. Student's t and the
            exact interval go by them.

    Returns:
        The interval, in [low, high]. None with its reason where fewer than 2 images bear on the figure, and where it is
        undefined, over all images or without one of them. At `low` and `high` see `exact_interval`.
    """
    table = np.asarray(rows, dtype=float)
    if not len(table):
        return Interval(why_undefined=_too_few(0))
    distinct, images = _distinct(table, times)
    bears = (distinct != 0).any(axis=1)
    distinct, images = distinct[bears], images[bears]
    k = int(images.sum())
    fewest = k if rests_on is None else min(k, rests_on)
    if fewest < 2:
        return Interval(images=fewest, why_undefined=_too_few(fewest))
    total = images @ distinct
    value = float(figure(total))
    if math.isnan(value):
        return Interval(images=k, why_undefined="the figure is undefined")
    without = figure(total - distinct)
    if np.isnan(without).any():
        return Interval(images=k, why_undefined="the figure rests on a single image: without it, it is undefined")
    variance = float(images @ (without - value) ** 2) * (k - 1) / k
    width = high - low
    found = _around((value - low) / width, variance / width**2, fewest, "jackknife_logit_t")
    return (
        found
        if found.ends is None
        else Interval((low + width * found.ends[0], low + width * found.ends[1]), found.method, fewest)
    )


def linearised_interval(
    value: float,
    influence: NDArray[np.float64],
    *,
    high: float = 1.0,
    rests_on: int | None = None,
    exact_on: int | None = None,
) -> Interval:
    """The interval of a figure >= 0 of which it is known how far each image moves it: its influence values.

    Args:
        value: The figure, in [0, high].
        influence: How far each image that bears on the figure moves it, to first order; shape [images], of sum 0.
        high: Its greatest value: 1, and the scale is the logit; or inf, and it is the logarithm.
        rests_on: How many of the images bear on the part of the figure that fewest bear on, for Student's t; None: all do.
        exact_on: How many images `exact_interval` takes as independent at 0 and 1; None: `rests_on`.

    Returns:
        The interval. None with its reason where it rests on fewer than 2 images, and where no image moves an unbounded figure.
    """
    k = len(influence)
    fewest = k if rests_on is None else min(k, rests_on)
    if fewest < 2:
        return Interval(images=fewest, why_undefined=_too_few(fewest))
    variance = float(influence @ influence) * k / (k - 1)
    if math.isfinite(high):
        at_end = min(value, 1 - value) <= _EQUAL and exact_on is not None
        return _around(value, variance, exact_on if at_end and exact_on else fewest, "linearised_logit_t")
    if math.sqrt(variance) <= _EQUAL * value:
        return Interval(images=k, why_undefined="all images have the same value: they say nothing of its uncertainty")
    factor = math.exp(min(700.0, _quantile(fewest) * math.sqrt(variance) / value))
    return Interval((value / factor, value * factor), "linearised_log_t", fewest)


def mean_interval(values: NDArray[np.float64], image: NDArray[np.int64], *, high: float = 1.0) -> Interval:
    """The interval of a mean over items, with images as the unit.

    Args:
        values: Of the items, in [0, high]; shape [n].
        image: The number of each item's image; shape [n].
        high: The greatest value that the mean can have: 1; or inf, and the scale of the interval is the logarithm.

    Returns:
        The interval; None with its reason for fewer than 2 images.
    """
    if not len(values):
        return Interval(why_undefined=_too_few(0))
    _, image = np.unique(image, return_inverse=True)
    sums, sizes = np.bincount(image, values), np.bincount(image)
    if math.isfinite(high):
        return ratio_interval(np.stack([sums, sizes], axis=1))
    mean = float(values.mean())
    return linearised_interval(mean, (sums - mean * sizes) / len(values), high=high)


def exact_interval(share: float, images: int) -> Interval:
    """The exact interval that takes each image as one response (Clopper & Pearson): for figures at an end of their range.

    At 0: if the figure came from a share p of images above 0, all of them would have been missed with probability
    (1 - p)^images; the upper end is the p at which that is 2.5 %. A figure that weighs images alike is at most p, for no
    image adds more than all that it holds. 1 is the mirror image. Questions of an image are treated as one, so the interval
    is rather too wide than too narrow.

    Args:
        share: The figure, in [0, 1].
        images: How many images bear on it, >= 0.

    Returns:
        The interval; None with its reason for fewer than 2 images.
    """
    if images < 2:
        return Interval(images=images, why_undefined=_too_few(images))
    tail = (1 - CONFIDENCE) / 2
    if share <= _EQUAL:
        return Interval((0.0, 1 - tail ** (1 / images)), "exact_one_sided", images)
    if share >= 1 - _EQUAL:
        return Interval((tail ** (1 / images), 1.0), "exact_one_sided", images)
    from scipy.stats import beta  # slow to import

    hits = share * images
    ends = (float(beta.ppf(tail, hits, images - hits + 1)), float(beta.ppf(1 - tail, hits + 1, images - hits)))
    return Interval(ends, "exact", images)


def _distinct(
    rows: NDArray[np.float64], times: Sequence[int] | NDArray[np.int64] | None
) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """(the distinct rows, sorted, how many images have each): all cost goes by their number, and no rounding by order."""
    distinct, which = np.unique(rows, axis=0, return_inverse=True)
    images = np.zeros(len(distinct), dtype=np.int64)
    np.add.at(images, which.reshape(-1), 1 if times is None else np.asarray(times, dtype=np.int64))
    return distinct[images > 0], images[images > 0]


def _around(share: float, variance: float, images: int, method: IntervalMethod) -> Interval:
    """The interval around a share with a variance >= 0. By the delta method logit(s) has the error of s / (s (1 - s))."""
    if not _EQUAL < share < 1 - _EQUAL:
        return exact_interval(share, images)
    error = math.sqrt(variance + GUARD * (max(share, 1 - share) / images) ** 2)
    width = _quantile(images) * error / (share * (1 - share))
    centre = math.log(share / (1 - share))
    return Interval((_expit(centre - width), _expit(centre + width)), method, images)


def _quantile(images: int) -> float:
    """Of Student's t, with one degree of freedom fewer than images."""
    from scipy.special import stdtrit  # slow to import

    return float(stdtrit(images - 1, (1 + CONFIDENCE) / 2))


def _influence(pairs: NDArray[np.float64]) -> NDArray[np.float64]:
    """How far each image moves sum(a) / sum(b), to first order. pairs: [images, 2], with sum(b) > 0."""
    above, below = pairs.sum(axis=0)
    return np.asarray((pairs[:, 0] - above / below * pairs[:, 1]) / below)


def _expit(x: float) -> float:
    """The inverse of the logit, without overflow."""
    return 1 / (1 + math.exp(-x)) if x >= 0 else math.exp(x) / (1 + math.exp(x))


def _too_few(images: int) -> str:
    return (
        f"an interval needs at least 2 images that bear on the figure; there {'is' if images == 1 else 'are'} {images}"
    )
