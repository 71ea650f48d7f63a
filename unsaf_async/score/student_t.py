"""Quantiles of Student's t distribution, without scipy, whose import takes longer than a score of a hundred images."""

from __future__ import annotations

import math
from statistics import NormalDist

_LARGE = 500.0
"""From so many degrees of freedom on the expansion around the normal quantile is right to the last digits."""
_CLOSE = 1e-15


def t_quantile(degrees: float, p: float) -> float:
    """The value that a t distributed variable stays below with probability p.

    Sources: Abramowitz & Stegun, Handbook of Mathematical Functions (1964), 26.7.5 for many degrees of freedom; else Newton's
    method on the distribution function, 26.7.1 by the continued fraction of the incomplete beta function, 26.5.8.

    Args:
        degrees: Of freedom, > 0; need not be whole.
        p: In (0, 1).

    Returns:
        The quantile, right to 1e-11 of itself where it is not near 0.
    """
    if p < 0.5:
        return -t_quantile(degrees, 1 - p)
    normal = NormalDist().inv_cdf(p)
    if degrees >= _LARGE:
        return _expanded(normal, degrees)
    t = math.tan(math.pi * (p - 0.5)) if degrees <= 1 else _expanded(normal, degrees)
    for _ in range(100):
        step = (_upper_tail(t, degrees) - (1 - p)) / _density(t, degrees)
        t = max(t + step, t / 2)  # the tail is convex: from above a step may go too far
        if abs(step) <= _CLOSE * max(1.0, t):
            break
    return t


def _expanded(x: float, degrees: float) -> float:
    """The quantile by its expansion around the normal one, x."""
    terms = (
        (x**3 + x) / 4,
        (5 * x**5 + 16 * x**3 + 3 * x) / 96,
        (3 * x**7 + 19 * x**5 + 17 * x**3 - 15 * x) / 384,
        (79 * x**9 + 776 * x**7 + 1482 * x**5 - 1920 * x**3 - 945 * x) / 92160,
    )
    return x + sum(term / degrees**power for power, term in enumerate(terms, 1))


def _log_beta(degrees: float) -> float:
    """Of B(1/2, degrees / 2)."""
    return math.lgamma(0.5) + math.lgamma(degrees / 2) - math.lgamma((degrees + 1) / 2)


def _density(t: float, degrees: float) -> float:
    return math.exp(-(degrees + 1) / 2 * math.log1p(t * t / degrees) - _log_beta(degrees)) / math.sqrt(degrees)


def _upper_tail(t: float, degrees: float) -> float:
    """The probability of more than t, for t >= 0."""
    x = t * t / (degrees + t * t)
    a, b = 0.5, degrees / 2
    front = math.exp(a * math.log(x) + b * math.log1p(-x) - _log_beta(degrees)) if x > 0 else 0.0
    if x < (a + 1) / (a + b + 2):
        return (1 - front * _fraction(x, a, b) / a) / 2
    return front * _fraction(1 - x, b, a) / b / 2


def _fraction(x: float, a: float, b: float) -> float:
    """The continued fraction of the incomplete beta function, by Lentz's method."""
    c, d = 1.0, 1 / (1 - (a + b) * x / (a + 1))
    value = d
    for m in range(1, 1000):
        for term in (
            m * (b - m) * x / ((a + 2 * m - 1) * (a + 2 * m)),
            -(a + m) * (a + b + m) * x / ((a + 2 * m) * (a + 2 * m + 1)),
        ):
            c, d = 1 + term / c, 1 / (1 + term * d)
            value *= c * d
        if abs(c * d - 1) < _CLOSE:
            break
    return value
