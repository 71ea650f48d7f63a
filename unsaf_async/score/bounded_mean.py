"""The exact bounds of a mean over images: what the images of a sample do not show is counted, too.

An interval by a standard error holds where many images bear on a figure. Where a few of them carry all of it, it is too
narrow: a test of non-inferiority by it passed up to three times too often. Here one image more is counted in, on which the
figure is the worst (or the best) that it can be, and every image has a random weight: n + 1 independent exponential ones,
divided by their sum. The bound is the 2.5 % quantile of the mean with such weights. Of values that are 0 and 1 it is that of
Clopper and Pearson, so it holds exactly; of others it holds in every case that was ever tried, though there is no proof.

Sources: Gaffke, "Three test statistics for a nonparametric one-sided hypothesis on the mean of a nonnegative variable",
Mathematical Methods of Statistics 14 (2005). Learned-Miller & Thomas, "A new confidence interval for the mean of a bounded
random variable" (2019), arXiv:1905.06208.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from unsaf_async.score.distributions import root
from unsaf_async.score.intervals import CONFIDENCE

if TYPE_CHECKING:
    from numpy.typing import NDArray

_DIGITS = 12
"""Values that are equal to so many digits are one."""

_MOST_DISTINCT = 250
"""With more distinct values than these, each is shared out between its neighbours of so many steps: the mean stays."""

_ANGLE = np.linspace(0, 8, 120)
"""Where the tail's integral is taken, on the scale of the inverse hyperbolic sine: its error is below 1e-7."""


def mean_bounds(values: NDArray[np.float64], lowest: float, highest: float) -> tuple[float, float]:
    """The ends of the exact 95 % interval of a mean over images.

    Args:
        values: One an image, of which there is at least one; shape [images].
        lowest: The least value that an image can have.
        highest: The greatest value that an image can have.

    Returns:
        (low, high), each of which the true mean passes in 2.5 % of samples at most.
    """
    return _lower_bound(values, lowest), -_lower_bound(-values, -highest)


def _lower_bound(values: NDArray[np.float64], lowest: float) -> float:
    distinct, times = np.unique(np.round(np.append(values, lowest), _DIGITS), return_counts=True)
    least, step = float(distinct[0]), float(distinct[-1] - distinct[0]) / _MOST_DISTINCT
    if step == 0:
        return least
    if len(distinct) > _MOST_DISTINCT:
        places = (distinct - least) / step
        below = np.minimum(places.astype(np.int64), _MOST_DISTINCT - 1)
        shares = np.bincount(below, times * (1 - places + below), _MOST_DISTINCT + 1)
        times = shares + np.bincount(below + 1, times * (places - below), _MOST_DISTINCT + 1)
        distinct, times = (least + step * np.arange(_MOST_DISTINCT + 1))[times > 0], times[times > 0]
    tail = (1 - CONFIDENCE) / 2
    # Below the mean with the added image: there the tail falls from about a half to 0.
    mean = float(times @ distinct) / float(times.sum())
    return root(lambda end: _share_below(distinct - end, times) - tail, least + 1e-12, mean, within=1e-8)


def _share_below(values: NDArray[np.float64], times: NDArray[Any]) -> float:
    """The probability that sum of times x exponential weight x value is at most 0; the mean of the values is 0 or above.

    The integral of the inverse Laplace transform, along the line through its saddle point, where it falls off fastest:
    Daniels, Annals of Mathematical Statistics 25 (1954).
    """

    def slope(s: float) -> float:
        return float((times * values / (1 - s * values)).sum())

    if slope(0.0) <= 1e-12 * float(times @ np.abs(values)):
        return 0.5
    saddle = root(slope, (1 - 1e-12) / float(values.min()), 0.0, share=1e-3)
    scale = float(np.sqrt((times * (values / (1 - saddle * values)) ** 2).sum()))
    points = saddle + 1j * np.sinh(_ANGLE) / scale
    heights = np.exp(-(times * np.log(1 - points[:, None] * values)).sum(axis=1)) / points
    return float(-np.trapezoid(heights.real * np.cosh(_ANGLE), _ANGLE) / (np.pi * scale))
