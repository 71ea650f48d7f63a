"""95 % intervals of figures that are functions of sums over images, with the image as the unit.

Questions of one image are not independent, so what counts is how many images bear on a figure, and how much they differ.
All intervals here follow one plan. The images give a standard error; the interval is symmetric on the logit scale, so that
it stays in the figure's range; its quantile is Student's t with one degree of freedom fewer than images. A few images may
be much alike by accident, so the error is guarded (`GUARD`). Where a figure stands at an end of its range no image differs,
and the interval is the exact one of how many images may do otherwise. Where most images are alike inside the range, those
that lie above and below the others are two such figures (`ALIKE`). Where images hold unequal numbers of questions, as many
images count as would be as sure if they held equal ones (`effective_images`).

Chosen by simulation (docs/intervals.md): with 5 to 50 images resampling is too narrow, and often has no interval at all.

Source of the standard errors: Cochran, Sampling Techniques (1977), section 6.4 (linearised ratio), with the correction for
leverage of Bell & McCaffrey, Survey Methodology 28 (2002); Efron, The Jackknife, the Bootstrap and Other Resampling Plans
(1982), chapter 3 (delete one). Of the exact interval: Clopper & Pearson, Biometrika 26 (1934), and Korn & Graubard, Survey
Methodology 24 (1998), for its use with clusters. Of the effective number of images: Kish, Survey Sampling (1965), section 11.7.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal

import numpy as np

from unsaf_async.score.distributions import beta_quantile, t_quantile

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from typing import Any

    from numpy.typing import NDArray

CONFIDENCE = 0.95
"""Of every interval, two-sided."""

GUARD = 0.05
"""Images that every interval counts in beside those there are, as if on them everything had gone the rarer way.

With k images a figure s then has a variance of at least GUARD (max(s, 1 - s) / k)^2, for that is how far one such image would
move it. Without it, 10 images that nearly all abstained from everything had intervals that covered in 82 of 100 cases. The
guard moves no end farther than the exact interval would, had no image differed.
"""

ALIKE = 0.6
"""Share of the images, by their weight in the figure, above which the others count as exceptions.

If nearly all images have an accuracy of .5, their spread says little of how many have another one. The exceptions above and
below are then told apart, each side as a figure of its own; one without any has the exact interval: of k images up to 3.7 / k
may be exceptions that none of them is, and each may lie as far away as the range allows.
"""

NEAR = 0.02
"""From the median: images that lie this close to it are alike."""

EVEN = 0.8
"""Share of the images' number from which on their effective number says that they hold about as much as each other."""

IntervalMethod = Literal[
    "logit_t", "jackknife_logit_t", "linearised_logit_t", "linearised_log_t", "inverted", "exact_one_sided", "exact", "combined",
    "fixed_width_stop", "anytime",
]  # fmt: skip
"""How an interval was computed.

logit_t: linearised standard error of a ratio of sums. jackknife_logit_t: delete-one-image standard error. linearised_logit_t,
linearised_log_t: of influence values, on that scale. inverted: see `rank_intervals.ece_interval`. exact_one_sided: at an end of
the range. exact: `exact_interval` inside the range. combined: `difference_interval`, `Region.interval`. fixed_width_stop,
anytime: of a rule that stopped a run (`runs/stopping.py`).
"""

_EQUAL = 1e-12
"""Relative difference below which two figures differ by rounding alone."""

_MOST_LEVERAGE = 0.99
"""An image that holds nearly everything has no residual to correct."""

_ANGLES = np.linspace(0, 2 * np.pi, 64, endpoint=False)
"""Of the points of an ellipse on which the extremes of a figure are sought."""


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
    return _around(value, _Images(rows[:, 0] / rows[:, 1], rows[:, 1], images), "logit_t")


def difference_interval(rows: Sequence[Sequence[float]] | NDArray[Any]) -> Interval:
    """The interval of sum(a) / sum(b) - sum(c) / sum(d) over images: two ratios of the same images.

    Each ratio has its own interval; the two are combined, with the correlation that the images' influence on both has. So it
    holds also where one ratio is at an end of its range, and where few images tell it. Where images hold unequal numbers it is
    no narrower than one for which it is an accident which of them differ (`EVEN`). Source: Zou & Donner, Statistics in Medicine
    27 (2008), doi:10.1002/sim.3095, eq. 8.

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
    influence = [_influence(table[:, :2]), _influence(table[:, 2:])]
    found = combined_interval((values[0], one, influence[0]), (values[1], other, influence[1]))
    return wider(
        found, _whatever_the_size(values[0] - values[1], influence[0] - influence[1], table[:, 1] + table[:, 3])
    )


def _whatever_the_size(difference: float, influence: NDArray[np.float64], sizes: NDArray[np.float64]) -> Interval:
    """The interval of a difference if how far it goes on an image has nothing to do with how much the image holds.

    Where two figures differ on a few images only, these may be small ones by accident, and say little of what a large one does.
    So their squares count by the root of their sizes, and the mean square has the weight that all sizes together give it. Without
    ends where images hold about as much as each other.
    """
    bears = sizes > 0
    shares, images = sizes[bears] / sizes.sum(), int(bears.sum())
    held = effective_images(shares)
    if held >= EVEN * images:
        return Interval()
    square = np.average((influence[bears] / shares) ** 2, weights=np.sqrt(shares))
    reach = _quantile(images, held) * math.sqrt(square / held)
    return Interval((max(-1.0, difference - reach), min(1.0, difference + reach)), "combined", images)


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
    correlation = _correlation(ours, theirs)
    difference = value - their_value
    low = difference - _distance(value - mine.ends[0], their.ends[1] - their_value, correlation)
    high = difference + _distance(mine.ends[1] - value, their_value - their.ends[0], correlation)
    return Interval((max(-1.0, low), min(1.0, high)), "combined", fewest)


def smooth_interval(
    rows: Sequence[Sequence[float]] | NDArray[Any],
    figure: Callable[[NDArray[Any]], NDArray[np.float64]],
    *,
    low: float = 0.0,
    high: float = 1.0,
    times: Sequence[int] | NDArray[np.int64] | None = None,
    sizes: NDArray[Any] | None = None,
    rests_on: float | None = None,
) -> Interval:
    """The interval of a smooth function of sums over images, by leaving out each image in turn.

    Args:
        rows: What each image adds to the sums, shape [images, m]; an image whose row is all 0 does not bear on the figure.
        figure: From sums of shape [..., m] to figures of shape [...]; NaN where undefined.
        low: The least value of the figure.
        high: Its greatest value.
        times: How many images have each of the rows; None: one each.
        sizes: How much each row's image holds, such as questions; shape [images]. None: all hold as much.
        rests_on: How many of the images bear on the part of the figure that fewest bear on, at most as many as are effective;
            None: all do. Student's t and the exact interval go by them.

    Returns:
        The interval, in [low, high]. None with its reason where fewer than 2 images bear on the figure, and where it is
        undefined over all images. At `low` and `high` see `exact_interval`; between them it is None, too, where the figure is
        undefined without one of the images.
    """
    table = np.asarray(rows, dtype=float)
    if not len(table):
        return Interval(why_undefined=_too_few(0))
    size = np.ones(len(table)) if sizes is None else np.asarray(sizes, dtype=float)
    distinct, images = _distinct(np.column_stack([table, size]), times)
    bears = (distinct[:, :-1] != 0).any(axis=1)
    distinct, size, images = distinct[bears, :-1], distinct[bears, -1], images[bears]
    k = int(images.sum())
    fewest = k if rests_on is None else min(k, math.ceil(rests_on))
    if fewest < 2:
        return Interval(images=fewest, why_undefined=_too_few(fewest))
    total = images @ distinct
    value = float(figure(total))
    if math.isnan(value):
        return Interval(images=k, why_undefined="the figure is undefined")
    held = effective_images(size, images)
    effective = held if rests_on is None else min(held, rests_on)
    share = (value - low) / (high - low)
    without = figure(total - distinct)
    if np.isnan(without).any() and _EQUAL < share < 1 - _EQUAL:
        return Interval(images=k, why_undefined="the figure rests on a single image: without it, it is undefined")
    moved = (value - without) * (k - 1) / (high - low)
    spread = _Images(share + moved, np.ones(len(moved)), images, effective)
    found = _around(share, spread, "jackknife_logit_t")
    ends = None if found.ends is None else (low + (high - low) * found.ends[0], low + (high - low) * found.ends[1])
    return Interval(ends, found.method, fewest)


@dataclass(frozen=True, slots=True)
class Region:
    """Where two ratios of the same images lie together with 95 %, or the reason why that is unknown.

    first, second: their values along an ellipse, and at last those that were found; shape [points]. images: how many bear on
    either. why_undefined: "" unless there is no region.
    """

    first: NDArray[np.float64]
    second: NDArray[np.float64]
    images: int = 0
    why_undefined: str = ""

    def interval(self, figure: Callable[[NDArray[np.float64], NDArray[np.float64]], NDArray[np.float64]]) -> Interval:
        """The interval of a function of both ratios: its least and greatest value on the ellipse.

        It holds where a figure is far from linear, as Matthews correlation is of a model that answers nearly everything.

        Args:
            figure: From values of the two ratios to figures, all of one shape; NaN where undefined.

        Returns:
            The interval; None with its reason where there is no region, or where the figure is undefined.
        """
        if self.why_undefined:
            return Interval(images=self.images, why_undefined=self.why_undefined)
        values = figure(self.first, self.second)
        if math.isnan(values[-1]):
            return Interval(images=self.images, why_undefined="the figure is undefined")
        return Interval((float(np.nanmin(values)), float(np.nanmax(values))), "combined", self.images)


def region_of(
    rows: Sequence[Sequence[float]] | NDArray[Any], times: Sequence[int] | NDArray[np.int64] | None = None
) -> Region:
    """Where sum(a) / sum(b) and sum(c) / sum(d) over images lie together.

    The ellipse spans the interval of each ratio, with the correlation that the images' influence on both has. A linear function
    of both has there the interval that the delta method gives, were the two intervals symmetric.

    Args:
        rows: (a, b, c, d) of each image, 0 <= a <= b and 0 <= c <= d; shape [images, 4].
        times: How many images have each of the rows; None: one each.

    Returns:
        The region; its reason where one of the ratios has no interval.
    """
    table, images = _distinct(np.asarray(rows, dtype=float).reshape(-1, 4), times)
    pairs = (table[:, :2], table[:, 2:])
    found = [ratio_interval(each, images) for each in pairs]
    fewest = min(each.images for each in found)
    if any(each.ends is None for each in found):
        return Region(np.empty(0), np.empty(0), fewest, _too_few(fewest))
    correlation = _correlation(_influence(pairs[0], images), _influence(pairs[1], images), images)
    along, across = np.cos(_ANGLES), np.sin(_ANGLES)
    steps = (along, correlation * along + math.sqrt(1 - correlation**2) * across)
    values = []
    for pair, own, step in zip(pairs, found, steps, strict=True):
        above, below = images @ pair
        centre, (low, high) = float(above / below), own.ends or (0.0, 1.0)
        values.append(np.append(centre + np.where(step > 0, high - centre, centre - low) * step, centre))
    return Region(values[0], values[1], fewest)


def linearised_interval(
    value: float,
    influence: NDArray[np.float64],
    *,
    high: float = 1.0,
    rests_on: float | None = None,
    exact_on: float | None = None,
    leverage: NDArray[np.float64] | None = None,
) -> Interval:
    """The interval of a figure >= 0 of which it is known how far each image moves it: its influence values.

    Args:
        value: The figure, in [0, high].
        influence: How far each image that bears on the figure moves it, to first order; shape [images], of sum 0.
        high: Its greatest value: 1, and the scale is the logit; or inf, and it is the logarithm.
        rests_on: How many of the images bear on the part of the figure that fewest bear on, for Student's t, at most as many as
            are effective; None: all do.
        exact_on: How many images count as independent at 0 and 1, and where most of them are alike; None: `rests_on`.
        leverage: Each image's share of the items; shape [images]. None: all have the same.

    Returns:
        The interval. None with its reason where it rests on fewer than 2 images, and where no image moves an unbounded figure.
    """
    k = len(influence)
    fewest = k if rests_on is None else min(k, math.ceil(rests_on))
    if fewest < 2:
        return Interval(images=fewest, why_undefined=_too_few(fewest))
    if leverage is not None:
        influence = influence * np.sqrt((1 - 1 / k) / (1 - np.minimum(leverage, _MOST_LEVERAGE)))
    effective = float(k) if rests_on is None else min(float(k), rests_on)
    if math.isfinite(high):
        at_end = min(value, 1 - value) <= _EQUAL and exact_on is not None
        if at_end and exact_on:
            return exact_interval(value, math.ceil(exact_on), exact_on)
        spread = _Images(value + k * influence, np.ones(k), np.ones(k, dtype=np.int64), effective, exact_on)
        return replace(_around(value, spread, "linearised_logit_t"), images=fewest)
    error = math.sqrt(float(influence @ influence) * k / (k - 1))
    if error <= _EQUAL * value:
        return Interval(images=k, why_undefined="all images have the same value: they say nothing of its uncertainty")
    factor = math.exp(min(700.0, _quantile(k, effective) * error / value))
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
    return linearised_interval(
        mean,
        (sums - mean * sizes) / len(values),
        high=high,
        rests_on=None if len(sizes) < 2 else effective_images(sizes),
        leverage=sizes / len(values),
    )


def wider(one: Interval, other: Interval) -> Interval:
    """Of two intervals of one figure, at each end the one that lies farther out.

    Args:
        one: An interval; its method is the result's.
        other: Another.

    Returns:
        The interval; where one of the two is undefined, the other.
    """
    if one.ends is None or other.ends is None:
        return one if other.ends is None else other
    return replace(one, ends=(min(one.ends[0], other.ends[0]), max(one.ends[1], other.ends[1])))


def exact_interval(share: float, images: int, effective: float | None = None) -> Interval:
    """The exact interval that takes each image as one response (Clopper & Pearson): for figures at an end of their range.

    At 0: if the figure came from a share p of images above 0, all of them would have been missed with probability
    (1 - p)^images; the upper end is the p at which that is 2.5 %. A figure that weighs images alike is at most p, for no
    image adds more than all that it holds. 1 is the mirror image. Questions of an image are treated as one, so the interval
    is rather too wide than too narrow.

    Args:
        share: The figure, in [0, 1].
        images: How many images bear on it, >= 0.
        effective: As how many they count (`effective_images`), > 0; None: as so many.

    Returns:
        The interval; None with its reason for fewer than 2 images.
    """
    if images < 2:
        return Interval(images=images, why_undefined=_too_few(images))
    k = images if effective is None else effective
    if share <= _EQUAL:
        return Interval((0.0, _unseen(k)), "exact_one_sided", images)
    if share >= 1 - _EQUAL:
        return Interval((1 - _unseen(k), 1.0), "exact_one_sided", images)
    tail, hits = (1 - CONFIDENCE) / 2, share * k
    ends = (beta_quantile(hits, k - hits + 1, tail), beta_quantile(hits + 1, k - hits, 1 - tail))
    return Interval(ends, "exact", images)


def effective_images(
    sizes: Sequence[float] | NDArray[Any], times: Sequence[int] | NDArray[np.int64] | None = None
) -> float:
    """How many images that hold as much as each other would be as sure: sum(size)^2 / sum(size^2), by Kish.

    Args:
        sizes: How much each image holds, such as questions, >= 0; at least one holds something.
        times: How many images have each of the sizes; None: one each.

    Returns:
        From 1 to the number of images that hold anything; that number where all hold as much.
    """
    size = np.asarray(sizes, dtype=float)
    images = np.ones(len(size)) if times is None else np.asarray(times)
    return float((images @ size) ** 2 / (images @ size**2))


def _distinct(
    rows: NDArray[np.float64], times: Sequence[int] | NDArray[np.int64] | None
) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """(the distinct rows, sorted, how many images have each): all cost goes by their number, and no rounding by order."""
    ones = np.ones(len(rows), dtype=np.int64) if times is None else np.asarray(times, dtype=np.int64)
    rows, ones = rows[ones > 0], ones[ones > 0]
    order = np.lexsort(rows.T[::-1])  # np.unique over rows takes twice as long
    rows = rows[order]
    starts = np.flatnonzero(np.concatenate([np.ones(min(1, len(rows)), bool), (rows[1:] != rows[:-1]).any(axis=1)]))
    return rows[starts], np.add.reduceat(ones[order], starts) if len(starts) else ones


@dataclass(frozen=True, slots=True)
class _Images:
    """What images say of a figure in [0, 1], which is the mean of their values by their weights.

    values, weights: shape [rows]. times: how many images have each of the rows. effective: as how many they count; None: by
    their weights. independent: as how many where most are alike; None: as `effective`.
    """

    values: NDArray[np.float64]
    weights: NDArray[np.float64]
    times: NDArray[np.int64]
    effective: float | None = None
    independent: float | None = None

    @property
    def count(self) -> int:
        return int(self.times.sum())

    @property
    def effective_count(self) -> float:
        return effective_images(self.weights, self.times) if self.effective is None else self.effective

    def variance(self, values: NDArray[np.float64], mean: float) -> float:
        """Of the mean of some values. An image pulls the mean to itself, and its residual falls short by its leverage."""
        shares = self.weights / (self.times @ self.weights)
        return float(self.times @ ((shares * (values - mean)) ** 2 / (1 - np.minimum(shares, _MOST_LEVERAGE))))

    def mean(self, values: NDArray[np.float64]) -> float:
        return float(self.times @ (self.weights * values) / (self.times @ self.weights))

    def common(self) -> float | None:
        """The value that most images have, by `ALIKE` and `NEAR`; None without one."""
        weight = self.times * self.weights
        order = np.argsort(self.values, kind="stable")
        sums = np.cumsum(weight[order])
        halves = np.searchsorted(sums, sums[-1] / 2 * np.array([1 - _EQUAL, 1 + _EQUAL]))
        low, high = self.values[order][halves]
        median = float(low + high) / 2  # so that 1 - the values have 1 - the median
        near = np.abs(self.values - median) <= NEAR - (high - low) / 2 + _EQUAL
        return median if float(weight[near].sum()) > (ALIKE + _EQUAL) * float(sums[-1]) else None


def _around(share: float, images: _Images, method: IntervalMethod) -> Interval:
    """The interval of a share: around it, or around the value that most images have, if that lies inside the range."""
    k, effective = images.count, images.effective_count
    if not _EQUAL < share < 1 - _EQUAL:
        return exact_interval(share, k, effective)
    common = images.common()
    if common is None or not _EQUAL < common < 1 - _EQUAL:
        return Interval(_logit_t(share, images.variance(images.values, share), k, effective), method, k)
    effective = effective if images.independent is None else min(effective, images.independent)
    near = np.abs(images.values - common) <= NEAR + _EQUAL
    apart, within = np.where(near, 0.0, images.values - common), np.where(near, images.values, common)
    ranges = (1 - common, common)
    sides = [np.maximum(sign * apart, 0) / size for sign, size in zip((1, -1), ranges, strict=True)]
    means = [min(1.0, images.mean(side)) for side in sides]
    ends = [_logit_t(mean, images.variance(side, mean), k, effective) for mean, side in zip(means, sides, strict=True)]
    moved = [images.weights * (side - mean) for side, mean in zip(sides, means, strict=True)]
    correlation = _correlation(moved[0], moved[1], images.times)
    up, down = ([size * abs(end - mean) for end in own] for size, mean, own in zip(ranges, means, ends, strict=True))
    spread = _quantile(k, effective) * math.sqrt(images.variance(within, images.mean(within)))
    low = share - math.hypot(_distance(up[0], down[1], correlation), spread)
    high = share + math.hypot(_distance(up[1], down[0], correlation), spread)
    return Interval((max(0.0, low), min(1.0, high)), method, k)


def _logit_t(share: float, variance: float, images: int, effective: float) -> tuple[float, float]:
    """The ends around a share in [0, 1]. By the delta method logit(s) has the error of s / (s (1 - s))."""
    unseen = _unseen(effective)
    if share <= _EQUAL:
        return 0.0, unseen
    if share >= 1 - _EQUAL:
        return 1 - unseen, 1.0
    guard = GUARD * (max(share, 1 - share) / effective) ** 2
    scale = _quantile(images, effective) / (share * (1 - share))
    centre, width, plain = (
        math.log(share / (1 - share)),
        scale * math.sqrt(variance + guard),
        scale * math.sqrt(variance),
    )
    low = max(_expit(centre - width), _expit(centre - plain) - unseen * share)
    high = min(_expit(centre + width), _expit(centre + plain) + unseen * (1 - share))
    return low, high


def _unseen(images: float) -> float:
    """The greatest share of images that may differ though none of so many does."""
    return float(1 - ((1 - CONFIDENCE) / 2) ** (1 / images))


def degrees_of_freedom(images: int, effective: float) -> float:
    """One fewer than effective images, though not fewer than 2 if 3 images are there.

    Args:
        images: How many bear on the figure, >= 2.
        effective: As how many they count (`effective_images`).

    Returns:
        Degrees of freedom of Student's t, >= 1.
    """
    return max(effective - 1, min(images - 1, 2))


def _quantile(images: int, effective: float) -> float:
    """Of Student's t."""
    return t_quantile(degrees_of_freedom(images, effective), (1 + CONFIDENCE) / 2)


def _distance(x: float, y: float, correlation: float) -> float:
    return math.sqrt(max(0.0, x * x + y * y - 2 * correlation * x * y))


def _correlation(one: NDArray[np.float64], other: NDArray[np.float64], times: NDArray[np.int64] | None = None) -> float:
    """Of two influences of the same images; 0 where one has none."""
    images = np.ones(len(one)) if times is None else times
    size = math.sqrt(float(images @ one**2) * float(images @ other**2))
    return max(-1.0, min(1.0, float(images @ (one * other)) / size)) if size > _EQUAL else 0.0


def _influence(pairs: NDArray[np.float64], times: NDArray[np.int64] | None = None) -> NDArray[np.float64]:
    """How far each image moves sum(a) / sum(b), to first order. pairs: [images, 2], with sum(b) > 0."""
    above, below = pairs.sum(axis=0) if times is None else times @ pairs
    return np.asarray((pairs[:, 0] - above / below * pairs[:, 1]) / below)


def _expit(x: float) -> float:
    """The inverse of the logit, without overflow."""
    return 1 / (1 + math.exp(-x)) if x >= 0 else math.exp(x) / (1 + math.exp(x))


def _too_few(images: int) -> str:
    return (
        f"an interval needs at least 2 images that bear on the figure; there {'is' if images == 1 else 'are'} {images}"
    )
