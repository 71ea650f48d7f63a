"""Resampling images: how far a figure would move with other images of the same sort.

Questions of one image are not independent, so the image is the unit that is drawn. A draw is told by how often it holds each
image: a figure that is computed from sums over images is then one matrix product for all draws.

Source: Efron & Tibshirani, An Introduction to the Bootstrap (1993), chapters 6 and 13.
"""

from __future__ import annotations

from dataclasses import dataclass
from statistics import NormalDist
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

CONFIDENCE = 0.95
"""Of every interval, two-sided."""

RESAMPLES = 2_000
"""Draws for figures beside the headline."""


def draws(images: int, resamples: int = RESAMPLES, seed: int = 0) -> NDArray[np.int64]:
    """[resamples, images]: how often each draw, with replacement, of as many images as there are holds each of them."""
    rng = np.random.default_rng(seed)
    return (
        rng.multinomial(images, np.full(images, 1 / images), size=resamples)
        if images
        else np.zeros((resamples, 0), int)
    )


def interval(values: NDArray[np.float64], confidence: float = CONFIDENCE) -> tuple[float, float] | None:
    """The percentile interval of a figure's values over the draws; NaN: the figure was undefined in that draw.

    None with no defined value, and where all are equal: the images then say nothing about its uncertainty.
    """
    defined = values[~np.isnan(values)]
    if not len(defined) or defined.min() == defined.max():
        return None
    low, high = np.quantile(defined, ((1 - confidence) / 2, (1 + confidence) / 2))
    return float(low), float(high)


def ratio_interval(
    pairs: Sequence[tuple[float, float]], resamples: int = RESAMPLES, seed: int = 0
) -> tuple[float, float] | None:
    """The interval of sum(a) / sum(b) over images with the pairs (a, b). None with fewer than 2 images, and as `interval`."""
    if len(pairs) < 2:
        return None
    sums = draws(len(pairs), resamples, seed) @ np.asarray(pairs, dtype=float)
    values = np.full(len(sums), np.nan)
    np.divide(sums[:, 0], sums[:, 1], out=values, where=sums[:, 1] > 0)
    return interval(values)


_MATRIX_BYTES = 16_000_000
"""Memory for one block of the bootstrap's count matrix."""

Z = NormalDist().inv_cdf(0.5 + CONFIDENCE / 2)


@dataclass(frozen=True, slots=True)
class UnF1Interval:
    """What resampling the images gave. bca: None where undefined. why_undefined: "" unless percentile is None."""

    bca: tuple[float, float] | None = None
    percentile: tuple[float, float] | None = None
    images: int = 0
    resamples_undefined: int = 0
    why_undefined: str = ""


def unf1_interval(pairs: list[tuple[int, int]], *, seed: int, resamples: int) -> UnF1Interval:
    """Percentile and BCa intervals of sum(a) / sum(b) over images with the pairs (a, b) = (2 TU, 2 TU + FU + FA).

    Images without a single scored response are resampled too, as (0, 0): how many count is part of the uncertainty.
    Source: Efron & Tibshirani, An Introduction to the Bootstrap (1993), sections 13.3 (percentile) and 14.3 (BCa).
    """
    n = len(pairs)
    if sum(b for _, b in pairs) == 0:
        return UnF1Interval(images=n, why_undefined="unf1 is undefined")
    if n < 2:
        return UnF1Interval(images=n, why_undefined=f"an interval needs at least 2 images with questions; there is {n}")
    # Images with equal pairs are interchangeable: all that follows takes the distinct pairs, sorted, and how many
    # images have each. So the cost goes by their number (a few dozen), and no rounding depends on the images' order.
    rows, images = np.unique(np.array(pairs, dtype=np.int64), axis=0, return_counts=True)
    sums = _resampled_sums(rows, images, np.random.default_rng(seed), resamples)
    defined = sums[sums[:, 1] > 0]
    values = defined[:, 0] / defined[:, 1]
    left_out = resamples - len(values)
    if len(values) == 0 or values.min() == values.max():
        why = "every resample has the same UnF1, so the images say nothing about its uncertainty"
        return UnF1Interval(images=n, resamples_undefined=left_out, why_undefined=why)
    levels = _bca_levels(rows, images, values)
    return UnF1Interval(
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
    for z in (-Z, Z):
        shrink = 1 - acceleration * (bias + z)
        if shrink <= 0:
            return None
        levels.append(normal.cdf(bias + (bias + z) / shrink))  # alpha1, alpha2, eq. 14.10
    return (levels[0], levels[1])


def _quantiles(values: NDArray[np.float64], levels: tuple[float, float]) -> tuple[float, float]:
    low, high = np.quantile(values, levels)
    return (float(low), float(high))
