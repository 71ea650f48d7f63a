"""Resampling images: how far a figure would move with other images of the same sort.

Questions of one image are not independent, so the image is the unit that is drawn. A draw is told by how often it holds each
image: a figure that is computed from sums over images is then one matrix product for all draws.

Source: Efron & Tibshirani, An Introduction to the Bootstrap (1993), chapters 6 and 13.
"""

from __future__ import annotations

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
