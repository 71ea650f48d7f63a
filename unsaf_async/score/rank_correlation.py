"""How far two figures order the same things alike: Spearman's rho and Kendall's tau-b, with p-value and interval."""

from __future__ import annotations

import itertools
import math
from statistics import NormalDist
from typing import TYPE_CHECKING, Literal

import numpy as np

from unsaf_async.records import Record
from unsaf_async.score.bootstrap import CONFIDENCE
from unsaf_async.score.distributions import incomplete_beta
from unsaf_async.score.metrics import columns

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

EXACT_P_UP_TO = 8
"""Points up to which the p-value comes from all orderings (8! = 40,320)."""

EXACT_TAU_UP_TO = 33
"""Points up to which that of tau without ties comes from its distribution over all orderings."""


class RankCorrelation(Record):
    """How far two figures order the same things alike."""

    method: Literal["spearman", "kendall"]
    value: float | None
    """In [-1, 1]."""
    p: float | None
    """Two-sided, of no association."""
    n: int
    """Points."""
    ci: tuple[float, float] | None
    """95 %, approximate."""
    why_undefined: str = ""
    """Why there is no value, or no interval; "" if there are both."""


def rank_correlation(x: ArrayLike, y: ArrayLike, method: Literal["spearman", "kendall"]) -> RankCorrelation:
    """Spearman's rho or Kendall's tau-b, with p-value and interval.

    No value with fewer than 3 points, or where x or y is constant. p: up to 8 points from all n! orderings, as the usual
    approximation calls three points in order certain; above as scipy has it: Student's t for Spearman, for Kendall the exact
    distribution without ties up to 33 points, else the normal one. The interval is tanh(artanh(r) ± 1.96 s), with
    s² = (1 + r² / 2) / (n - 3) for Spearman (Bonett & Wright, Psychometrika 65, 2000) and .437 / (n - 4) for Kendall (Fieller,
    Hartley & Pearson, Biometrika 44, 1957); it needs 4 and 5 points, and |r| < 1. With few points it is rough.

    Args:
        x: Shape [n].
        y: Shape [n].
        method: Which coefficient.

    Returns:
        The correlation; what is None has its reason in `why_undefined`.
    """
    first, second = columns(x, y)
    n = len(first)

    def undefined(why: str) -> RankCorrelation:
        return RankCorrelation(method=method, value=None, p=None, n=n, ci=None, why_undefined=why)

    if n < 3:
        return undefined(f"a rank correlation needs at least 3 points; there {'is' if n == 1 else 'are'} {n}")
    if np.ptp(first) == 0 or np.ptp(second) == 0:
        return undefined("one of the two has the same value everywhere")
    value, p = (_spearman if method == "spearman" else _kendall)(first, second)
    if n <= EXACT_P_UP_TO:
        p = _exact_p(first, second, method)
    fewest = 4 if method == "spearman" else 5
    if n < fewest:
        ci, why = None, f"the interval needs at least {fewest} points; there are {n}"
    elif abs(value) > 1 - 1e-12:
        ci, why = None, "the two orders agree or disagree entirely: the approximation gives no interval"
    else:
        variance = (1 + value**2 / 2) / (n - 3) if method == "spearman" else 0.437 / (n - 4)
        z = NormalDist().inv_cdf((1 + CONFIDENCE) / 2) * math.sqrt(variance)
        ci, why = (math.tanh(math.atanh(value) - z), math.tanh(math.atanh(value) + z)), ""
    return RankCorrelation(method=method, value=value, p=p, n=n, ci=ci, why_undefined=why)


def _spearman(x: NDArray[np.float64], y: NDArray[np.float64]) -> tuple[float, float]:
    """(rho, its p-value by Student's t)."""
    value = max(-1.0, min(1.0, float(np.corrcoef(_ranks(x), _ranks(y))[0, 1])))
    return value, incomplete_beta((1 - value) * (1 + value), len(x) / 2 - 1, 0.5)


def _kendall(x: NDArray[np.float64], y: NDArray[np.float64]) -> tuple[float, float]:
    """(tau-b, its p-value). Source of both: Kendall, Rank Correlation Methods (1970), 3.4 and 4.5, ties counted."""
    n = len(x)
    i, j = np.triu_indices(n, 1)
    agreeing = int(np.sign(x[i] - x[j]) @ np.sign(y[i] - y[j]))
    pairs = n * (n - 1) // 2
    of_x, of_y = (np.unique(each, return_counts=True)[1].tolist() for each in (x, y))
    tied_x, tied_y = (sum(t * (t - 1) // 2 for t in each) for each in (of_x, of_y))
    value = max(-1.0, min(1.0, agreeing / math.sqrt((pairs - tied_x) * (pairs - tied_y))))
    if n <= EXACT_TAU_UP_TO and not tied_x and not tied_y:
        return value, _p_of_inversions(n, (pairs - abs(agreeing)) // 2)
    variance = n * (n - 1) * (2 * n + 5) - sum(t * (t - 1) * (2 * t + 5) for t in (*of_x, *of_y))
    of_three = math.prod(sum(t * (t - 1) * (t - 2) for t in each) for each in (of_x, of_y))
    variance = variance / 18 + of_three / (9 * n * (n - 1) * (n - 2)) + 2 * tied_x * tied_y / (n * (n - 1))
    return value, math.erfc(abs(agreeing) / math.sqrt(2 * variance))


def _p_of_inversions(n: int, fewest: int) -> float:
    """The share of the n! orderings with so few inversions, or so few of the opposite."""
    orderings = [1]  # by their inversions: item k of them stands behind 0 to k - 1 of those before it
    for k in range(2, n + 1):
        most = len(orderings) + k - 1
        sums = list(itertools.accumulate(orderings + [0] * (k - 1)))
        orderings = [sums[at] - (sums[at - k] if at >= k else 0) for at in range(min(most, fewest + 1))]
    return min(1.0, 2 * sum(orderings[: fewest + 1]) / math.factorial(n))


def _exact_p(x: NDArray[np.float64], y: NDArray[np.float64], method: Literal["spearman", "kendall"]) -> float:
    """The share of the n! orderings of x that go with y at least as far, in either direction.

    Between orderings only the numerators differ: the sum of products of ranks, and of the signs of all pairs' differences.
    """
    ranks = _ranks(x)
    orderings = ranks[np.array(list(itertools.permutations(range(len(x)))))]
    orderings = np.concatenate([ranks[None], orderings])  # the first is what was found
    if method == "spearman":
        found = np.abs(orderings @ _ranks(y))
    else:
        i, j = np.triu_indices(len(y), 1)
        found = np.abs(np.sign(orderings[:, i] - orderings[:, j]) @ np.sign(y[i] - y[j]))
    return float((found[1:] >= found[0] - 1e-9).mean())


def _ranks(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """The ranks, less their mean; ties have the mean of theirs."""
    _, of, times = np.unique(values, return_inverse=True, return_counts=True)
    ranks = np.cumsum(times) - (times + 1) / 2
    return np.asarray((ranks - (len(values) - 1) / 2)[of], dtype=np.float64)
