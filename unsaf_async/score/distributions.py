"""Quantiles and tails of the distributions that intervals and tests rest on: beta, Student's t, F, noncentral t.

scipy has them all. It would be a quarter of what this program takes on disk, and its import takes longer than a score of a
hundred images; so it is what the tests compare these with. mpmath is light, but its incomplete beta function gives up at some
50,000 images.
"""

from __future__ import annotations

import math
from statistics import NormalDist
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

_LARGE = 2000.0
"""From so many degrees of freedom on the expansion around the normal quantile is right to the last digits."""
_NEAR = 1e-9
"""A step of Newton's method of so much leaves an error of its square."""
_CLOSE = 1e-15
_MOST_TERMS = 20_000
"""Of the continued fraction. It takes some sqrt(max(a, b))."""
_TAIL = 40.0
"""The integral of the noncentral t goes as far as its weight is above e^-40 of the greatest."""
_POINTS = 4
"""Of that integral, a standard deviation of log S: further ones change no digit. Where the shift is large there are so many more
that a step is short beside the width of Phi."""


def t_quantile(degrees: float, p: float) -> float:
    """The value that a t distributed variable stays below with probability p.

    Sources: Abramowitz & Stegun, Handbook of Mathematical Functions (1964), 26.7.5 for many degrees of freedom; else Newton's
    method on the distribution function, 26.7.1 by the incomplete beta function.

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
        tail = incomplete_beta(degrees / (degrees + t * t), degrees / 2, 0.5) / 2
        step = (tail - (1 - p)) / _density(t, degrees)
        t = max(t + step, t / 2)  # the tail is convex: from above a step may go too far
        if abs(step) <= _NEAR * max(1.0, t):
            break
    return t


def beta_quantile(a: float, b: float, p: float) -> float:
    """The value that a beta distributed variable stays below with probability p.

    Args:
        a: The first parameter, > 0.
        b: The second, > 0.
        p: In (0, 1).

    Returns:
        The quantile, in [0, 1]; right to 1e-10 of itself for parameters from a half to a million.
    """
    return root(lambda x: incomplete_beta(x, a, b) - p, 0.0, 1.0)


def f_upper_tail(f: float, above: float, below: float) -> float:
    """The probability of more than f, if F is distributed with these degrees of freedom.

    Source: Abramowitz & Stegun, 26.6.2.

    Args:
        f: >= 0.
        above: Degrees of freedom of the numerator, > 0.
        below: Of the denominator, > 0.

    Returns:
        In [0, 1].
    """
    return incomplete_beta(below / (below + above * f), below / 2, above / 2)


def noncentral_t_below(t: float, degrees: float, shift: float) -> float:
    """The probability that (Z + shift) / S is at most t: Z is standard normal, S^2 is chi-squared over its degrees of freedom.

    The mean of Phi(t S - shift) over S, by the trapezoidal rule on the scale of log S, where the integrand is smooth and falls
    off on both sides: Trefethen & Weideman, "The exponentially convergent trapezoidal rule", SIAM Review 56 (2014).

    Args:
        t: Any number.
        degrees: Of freedom, >= 1; need not be whole.
        shift: The noncentrality, any number.

    Returns:
        In [0, 1], right to 1e-12.
    """
    import numpy as np  # slow to import, and --help imports this module

    right = math.sqrt(_TAIL / degrees)
    left = -right - _TAIL / degrees
    points = 20 + int((right - left) * (_POINTS * math.sqrt(2 * degrees) + 2 * abs(shift)))
    u = np.linspace(left, right, points)
    weight = np.exp(degrees * (u - np.expm1(2 * u) / 2))
    below = [math.erfc(each) / 2 for each in ((shift - t * np.exp(u)) / math.sqrt(2)).tolist()]
    return float(weight @ below / weight.sum())


def incomplete_beta(x: float, a: float, b: float) -> float:
    """The regularized incomplete beta function: the probability that a beta distributed variable is at most x.

    Sources: Abramowitz & Stegun, 26.5.8, the continued fraction, by Lentz's method; what stands before it after Loader, "Fast and
    accurate computation of binomial probabilities" (2000), for logarithms of factorials cancel in all but a few digits.

    Args:
        x: In [0, 1].
        a: The first parameter, > 0.
        b: The second, > 0.

    Returns:
        In [0, 1].
    """
    if x <= 0 or x >= 1:
        return float(x >= 1)
    n = a + b
    off = (
        _deviance(a, n * x)
        + _deviance(b, n * (1 - x))
        + _beyond_stirling(a)
        + _beyond_stirling(b)
        - _beyond_stirling(n)
    )
    front = math.sqrt(a / n * b / (2 * math.pi)) * math.exp(-off)  # x^a (1 - x)^b / B(a, b)
    if x < (a + 1) / (n + 2):
        return front * _fraction(x, a, b) / a
    return 1 - front * _fraction(1 - x, b, a) / b


def root(
    function: Callable[[float], float], low: float, high: float, *, within: float = 0.0, share: float = 0.0
) -> float:
    """Where a function is 0, between two points at which it has different signs.

    Source: Chandrupatla, "A new hybrid quadratic/bisection algorithm for finding the zero of a nonlinear function without using
    derivatives", Advances in Engineering Software 28 (1997).

    Args:
        function: Continuous.
        low: One of the points.
        high: The other.
        within: How far from the root the result may be, beside the precision of numbers of its size, ...
        share: ... and beside this share of itself.

    Returns:
        The root.

    Raises:
        ValueError: The function has one sign at both points.
    """
    a, b = high, low
    of_a, of_b = function(a), function(b)
    if of_a * of_b > 0:
        raise ValueError(f"no change of sign between {low:g} and {high:g}: {of_b:g} and {of_a:g}")
    if of_a == 0 or of_b == 0:
        return b if of_b == 0 else a
    step = 0.5
    while True:
        middle = a + step * (b - a)
        of_middle = function(middle)
        if (of_middle > 0) == (of_a > 0):
            c, of_c = a, of_a
        else:
            c, b, of_c, of_b = b, a, of_b, of_a
        a, of_a = middle, of_middle
        best, of_best = (a, of_a) if abs(of_a) < abs(of_b) else (b, of_b)
        least = (2 * math.ulp(best) + (within + share * abs(best)) / 2) / abs(b - c)
        if of_best == 0 or least > 0.5:
            return best
        # The inverse parabola through the three points, where it is sure to stay between them; else the middle.
        xi, phi = (a - b) / (c - b), (of_a - of_b) / (of_c - of_b)
        step = 0.5
        if 1 - math.sqrt(1 - xi) < phi < math.sqrt(xi):
            step = of_a / (of_b - of_a) * of_c / (of_b - of_c)
            step += (c - a) / (b - a) * of_a / (of_c - of_a) * of_b / (of_c - of_b)
        step = min(1 - least, max(least, step))


def _expanded(x: float, degrees: float) -> float:
    """The quantile by its expansion around the normal one, x."""
    terms = (
        (x**3 + x) / 4,
        (5 * x**5 + 16 * x**3 + 3 * x) / 96,
        (3 * x**7 + 19 * x**5 + 17 * x**3 - 15 * x) / 384,
        (79 * x**9 + 776 * x**7 + 1482 * x**5 - 1920 * x**3 - 945 * x) / 92160,
    )
    return x + sum(term / degrees**power for power, term in enumerate(terms, 1))


def _log_beta(a: float, b: float) -> float:
    return math.lgamma(a) + math.lgamma(b) - math.lgamma(a + b)


def _deviance(k: float, mean: float) -> float:
    """k log(k / mean) + mean - k, which is about (k - mean)^2 / (2 mean)."""
    e = (k - mean) / mean
    return mean * ((1 + e) * math.log1p(e) - e)


def _beyond_stirling(z: float) -> float:
    """log Gamma(z) less (z - 1/2) log z - z + log(2 pi) / 2."""
    if z < 10:
        return math.lgamma(z) - ((z - 0.5) * math.log(z) - z + math.log(2 * math.pi) / 2)
    w = 1 / (z * z)
    return (1 / 12 - w * (1 / 360 - w * (1 / 1260 - w * (1 / 1680 - w * (1 / 1188 - w * 691 / 360360))))) / z


def _density(t: float, degrees: float) -> float:
    log_beta = _log_beta(0.5, degrees / 2)
    return math.exp(-(degrees + 1) / 2 * math.log1p(t * t / degrees) - log_beta) / math.sqrt(degrees)


def _fraction(x: float, a: float, b: float) -> float:
    c, d = 1.0, 1 / (1 - (a + b) * x / (a + 1))
    value = d
    for m in range(1, _MOST_TERMS):
        for term in (
            m * (b - m) * x / ((a + 2 * m - 1) * (a + 2 * m)),
            -(a + m) * (a + b + m) * x / ((a + 2 * m) * (a + 2 * m + 1)),
        ):
            c, d = 1 + term / c, 1 / (1 + term * d)
            value *= c * d
        if abs(c * d - 1) < _CLOSE:
            break
    return value
