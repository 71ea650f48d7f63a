"""The total of what was not looked at, from a random sample of what was: a finite population and a ratio estimator.

Of N images n were drawn at random, and y_i is known of these (dollars, seconds). Of all images x_i is known beforehand (what
the price map expects of an image of that size). With R = sum y / sum x over the sample, and X the sum of x over the rest,

    total of the rest = R X,     se^2 = (X / sum x)^2 n s^2 + (N - n) s^2,     s^2 = sum (y_i - R x_i)^2 / (n - 1)

The first term is the sample's error, the second how far the rest scatters by itself: with no image left both are 0. Sources:
Cochran, Sampling Techniques (1977), 6.4; Royall, "On finite population sampling theory under certain linear regression
models", Biometrika 57 (1970).

Costs are skewed: few images take many times the thoughts of the others. Student's t then covers too rarely, and always misses
on the same side. So each end is the wider one of Student's t and of the studentised bootstrap (Efron & Tibshirani, An
Introduction to the Bootstrap (1993), 12.5), which was chosen by simulation (benchmarks/pilot.py).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from unsaf_async.score.bootstrap import CONFIDENCE, RESAMPLES
from unsaf_async.score.distributions import t_quantile

FEWEST_SAMPLED = 5
"""With fewer images there is no interval: neither their spread nor their skew is known at all."""


@dataclass(frozen=True)
class RestTotal:
    """The predicted total of what was not sampled."""

    total: float | None
    ci: tuple[float, float] | None = None
    """95 % interval of it, >= 0; None where undefined."""
    why_undefined: str = ""
    """Why there is no interval, or no total."""


def rest_total(
    sampled: list[float], sampled_sizes: list[float], rest_sizes: list[float], *, seed: int = 0
) -> RestTotal:
    """What the rest comes to, by the sample.

    Args:
        sampled: y of each sampled image, >= 0.
        sampled_sizes: x of each of them, >= 0, in the same order.
        rest_sizes: x of each other image.
        seed: Of the bootstrap's draws.

    Returns:
        The total with its 95 % interval, or the reason why there is none.
    """
    y, x, rest = (np.asarray(each, dtype=float) for each in (sampled, sampled_sizes, rest_sizes))
    if not len(rest):
        return RestTotal(0.0, (0.0, 0.0))
    if not len(y):
        return RestTotal(None, why_undefined="no image was sampled")
    if x.sum() <= 0 or rest.sum() <= 0:  # nothing is known of the sizes: all count alike
        x, rest = np.ones_like(x), np.ones_like(rest)
    ratio = y.sum() / x.sum()
    total = float(ratio * rest.sum())
    if len(y) < FEWEST_SAMPLED:
        few = f"an interval needs at least {FEWEST_SAMPLED} sampled images; there are {len(y)}"
        return RestTotal(total, why_undefined=few)
    squares = float(((y - ratio * x) ** 2).sum()) / (len(y) - 1)
    error = float(np.sqrt(squares * ((rest.sum() / x.sum()) ** 2 * len(y) + len(rest))))
    below, above = _quantiles(y, x, seed)
    return RestTotal(total, (max(0.0, total - above * error), total - below * error))


def _quantiles(y: np.ndarray, x: np.ndarray, seed: int) -> tuple[float, float]:
    """The 2.5 % and 97.5 % quantiles of (R - its true value) / its standard error, the wider of the two methods' each."""
    t = t_quantile(len(y) - 1, (1 + CONFIDENCE) / 2)
    chosen = np.random.default_rng(seed).integers(0, len(y), (RESAMPLES, len(y)))
    drawn_y, drawn_x = y[chosen], x[chosen]
    ratios = drawn_y.sum(axis=1) / drawn_x.sum(axis=1)
    off = drawn_y - ratios[:, None] * drawn_x
    errors = np.sqrt((off**2).sum(axis=1) * len(y) / (len(y) - 1)) / drawn_x.sum(axis=1)
    ratio = y.sum() / x.sum()
    told = errors > 1e-9 * max(ratio, 1e-300)  # a draw whose images are all alike tells no scatter
    if not told.any():
        return -t, t
    below, above = np.quantile((ratios[told] - ratio) / errors[told], ((1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2))
    return min(-t, float(below)), max(t, float(above))
