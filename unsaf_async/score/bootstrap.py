"""Resampling images: how far a figure would move with other images of the same sort.

Questions of one image are not independent, so the image is the unit that is drawn. A draw is given by how often it contains
each image. A figure that is computed from sums over images is then one matrix product for all draws.

Source: Efron & Tibshirani, An Introduction to the Bootstrap (1993), chapters 6 and 13.
"""

from __future__ import annotations

from dataclasses import dataclass
from statistics import NormalDist
from typing import TYPE_CHECKING

import numpy as np

from unsaf_async.score.distributions import t_quantile

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

CONFIDENCE = 0.95
"""Of every interval, two-sided."""

Z = NormalDist().inv_cdf(0.5 + CONFIDENCE / 2)
"""The standard normal quantile of that level: 1.96."""

RESAMPLES = 2_000
"""Draws for every figure other than UnF1."""

FEW_IMAGES = 20
"""Below this many images a percentile interval tends to be too narrow (docs/intervals.md)."""

UNDEFINED_LIMIT = 0.05
"""Share of resamples without a value above which a figure has no interval: the others stand for other data than these."""

BLOCK_BYTES = 16_000_000
"""Memory for one block of a bootstrap's count matrix. The whole of it would take 16 kB an image."""


def draws(images: int, resamples: int = RESAMPLES, seed: int = 0) -> NDArray[np.int64]:
    """How often each draw, with replacement, of as many images as there are contains each of them.

    Args:
        images: How many images there are, >= 0.
        resamples: How many draws, >= 1.
        seed: Of the generator; equal seeds give equal draws.

    Returns:
        Shape [resamples, images]; each row sums to `images`.
    """
    return _drawn(np.random.default_rng(seed), images, resamples)


def blocks_of_draws(images: int, resamples: int = RESAMPLES, seed: int = 0) -> Iterator[NDArray[np.int64]]:
    """The rows of `draws`, the same ones, a block after the other: what is in memory does not grow with the images.

    Args:
        images: As for `draws`.
        resamples: As for `draws`.
        seed: As for `draws`.

    Yields:
        Shape [rows, images], of about `BLOCK_BYTES`, and one row at least.
    """
    rng = np.random.default_rng(seed)
    for rows in blocks(images, resamples):
        yield _drawn(rng, images, rows)


def blocks(images: int, rows: int) -> Iterator[int]:
    """How many rows of a table, a number of 8 bytes an image, go into each block of `BLOCK_BYTES`.

    Args:
        images: The table's columns, >= 0.
        rows: Of the whole table, >= 0.

    Yields:
        1 or more each time; they sum to `rows`.
    """
    most = max(1, BLOCK_BYTES // (8 * max(1, images)))
    for start in range(0, rows, most):
        yield min(most, rows - start)


def _drawn(rng: np.random.Generator, images: int, rows: int) -> NDArray[np.int64]:
    if not images:
        return np.zeros((rows, 0), dtype=np.int64)
    return rng.multinomial(images, np.full(images, 1 / images), size=rows)


def interval(values: NDArray[np.float64], confidence: float = CONFIDENCE) -> tuple[float, float] | None:
    """The percentile interval of a figure's values over the draws.

    Args:
        values: Shape [resamples]; NaN where the figure is undefined in that draw. Such draws are excluded.
        confidence: The level, in (0, 1).

    Returns:
        (low, high). None with no defined value, and where all are equal: the images then do not tell its uncertainty.
    """
    defined = values[~np.isnan(values)]
    if not len(defined) or defined.min() == defined.max():
        return None
    return _quantiles(defined, ((1 - confidence) / 2, (1 + confidence) / 2))


def expanded(images: int) -> float:
    """The level at which a percentile interval over few images covers about as often as one over many at `CONFIDENCE`.

    Resampling n images has a variance that is (n - 1) / n of the right one, and knows nothing of Student's t. Source: Hesterberg,
    What Teachers Should Know About the Bootstrap (2015), "expanded percentile interval", https://arxiv.org/abs/1411.5279.

    Args:
        images: How many are resampled, >= 2.

    Returns:
        The level, in (`CONFIDENCE`, 1).
    """
    t = t_quantile(images - 1, (1 + CONFIDENCE) / 2)
    return 1 - 2 * NormalDist().cdf(-t * (images / (images - 1)) ** 0.5)


@dataclass(frozen=True, slots=True)
class UnF1Interval:
    """What resampling the images gave.

    percentile: the 95 % interval; None where undefined. images: how many were resampled. resamples_undefined: draws
    without UnF1, excluded. why_undefined: "" unless percentile is None.
    """

    percentile: tuple[float, float] | None = None
    images: int = 0
    resamples_undefined: int = 0
    why_undefined: str = ""


def unf1_interval(pairs: list[tuple[int, int]], *, seed: int, resamples: int) -> UnF1Interval:
    """The percentile interval of sum(a) / sum(b) over images with the pairs (a, b) = (2 TU, 2 TU + FU + FA).

    It stands beside the headline's interval (`intervals.ratio_interval`), which holds with few images, too. Images without a
    single scored response are resampled, as (0, 0): how many count is part of the uncertainty.
    Source: Efron & Tibshirani, An Introduction to the Bootstrap (1993), section 13.3.

    Args:
        pairs: (a, b) of each image with questions, in any order.
        seed: Of the draws; equal pairs and seed give equal intervals.
        resamples: How many draws, >= 1.

    Returns:
        The interval, or the reason why there is none.
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
    undefined = resamples - len(values)
    if len(values) == 0 or values.min() == values.max():
        why = "every resample has the same UnF1, so the images say nothing about its uncertainty"
        return UnF1Interval(images=n, resamples_undefined=undefined, why_undefined=why)
    return UnF1Interval(
        percentile=_quantiles(values, ((1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2)),
        images=n,
        resamples_undefined=undefined,
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
    sums = [rng.multinomial(n, images / n, size=size) @ rows for size in blocks(len(rows), resamples)]
    return np.concatenate(sums)


def _quantiles(values: NDArray[np.float64], levels: tuple[float, float]) -> tuple[float, float]:
    low, high = np.quantile(values, levels)
    return (float(low), float(high))
