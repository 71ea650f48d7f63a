"""Rank correlations and their p-values, beside scipy's, all orderings and figures worked out by hand."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from scipy import stats

from unsaf_async.score.rank_correlation import EXACT_TAU_UP_TO, rank_correlation

FAST = settings(max_examples=60, deadline=None)


@pytest.mark.parametrize("method", ["spearman", "kendall"])
@FAST
@given(st.lists(st.tuples(st.integers(0, 5), st.integers(0, 5)), min_size=9, max_size=20))
def test_value_and_p_are_those_of_scipy_from_nine_points_on(method: str, points: list[tuple[int, int]]) -> None:
    x, y = [a for a, _ in points], [b for _, b in points]
    assume(len(set(x)) > 1 and len(set(y)) > 1)
    found = rank_correlation(x, y, method)  # type: ignore[arg-type]
    theirs = stats.spearmanr(x, y) if method == "spearman" else stats.kendalltau(x, y)
    assert found.value == pytest.approx(theirs.statistic)
    assert found.p == pytest.approx(theirs.pvalue)


@pytest.mark.parametrize("method", ["spearman", "kendall"])
@settings(max_examples=15, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 4), st.integers(0, 4)), min_size=3, max_size=5))
def test_with_few_points_p_is_the_share_of_all_orderings(method: str, points: list[tuple[int, int]]) -> None:
    x, y = [a for a, _ in points], [b for _, b in points]
    assume(len(set(x)) > 1 and len(set(y)) > 1)
    measure = stats.spearmanr if method == "spearman" else stats.kendalltau
    found = abs(measure(x, y).statistic)
    all_values = [abs(measure(order, y).statistic) for order in itertools.permutations(x)]
    expected = np.mean([value >= found - 1e-9 for value in all_values])
    assert rank_correlation(x, y, method).p == pytest.approx(expected)  # type: ignore[arg-type]


def test_kendalls_p_for_eight_points_is_scipys_exact_one() -> None:
    x, y = np.arange(8), np.array([2, 1, 4, 3, 6, 8, 5, 7])
    assert rank_correlation(x, y, "kendall").p == pytest.approx(stats.kendalltau(x, y, method="exact").pvalue)


def test_three_models_in_perfect_order_prove_nothing() -> None:
    found = rank_correlation([1, 2, 3], [10, 20, 30], "spearman")
    assert (found.value, found.ci) == (1, None)
    assert found.p == pytest.approx(1 / 3)
    assert "at least 4 points; there are 3" in found.why_undefined


def test_the_interval_by_hand() -> None:
    x = np.arange(20)
    y = np.array([1, 0, 3, 2, 5, 4, 7, 6, 9, 8, 19, 18, 17, 16, 15, 14, 13, 12, 11, 10])
    for method, variance in ("spearman", lambda r: (1 + r * r / 2) / 17), ("kendall", lambda r: 0.437 / 16):
        found = rank_correlation(x, y, method)  # type: ignore[arg-type]
        assert found.value is not None
        half = 1.959964 * math.sqrt(variance(found.value))
        expected = (np.tanh(np.arctanh(found.value) - half), np.tanh(np.arctanh(found.value) + half))
        assert found.ci == pytest.approx(expected)
        assert found.why_undefined == ""


def test_the_interval_covers_the_truth_in_about_95_of_100_samples() -> None:
    rho = 0.6
    truths = {"spearman": 6 / math.pi * math.asin(rho / 2), "kendall": 2 / math.pi * math.asin(rho)}  # bivariate normal
    for method, truth in truths.items():
        covered = 0
        for seed in range(300):
            x, y = np.random.default_rng(seed).multivariate_normal([0, 0], [[1, rho], [rho, 1]], 30).T
            low, high = rank_correlation(x, y, method).ci or (1, 0)  # type: ignore[arg-type]
            covered += low <= truth <= high
        assert 0.91 <= covered / 300 <= 0.98


@pytest.mark.parametrize(
    ("x", "y", "why"),
    [
        ([], [], "at least 3 points; there are 0"),
        ([1], [2], "at least 3 points; there is 1"),
        ([1, 2], [2, 1], "at least 3 points; there are 2"),
        ([1, 1, 1, 1], [1, 2, 3, 4], "same value everywhere"),
    ],
)
def test_what_is_undefined_has_a_reason(x: list[float], y: list[float], why: str) -> None:
    for method in "spearman", "kendall":
        found = rank_correlation(x, y, method)  # type: ignore[arg-type]
        assert (found.value, found.p, found.ci) == (None, None, None)
        assert why in found.why_undefined


def test_a_perfect_order_has_no_interval() -> None:
    found = rank_correlation(range(10), range(10), "kendall")
    assert found.value == pytest.approx(1)
    assert found.ci is None
    assert "entirely" in found.why_undefined


@pytest.mark.parametrize("n", [9, 20, EXACT_TAU_UP_TO, EXACT_TAU_UP_TO + 1, 200])
def test_p_without_ties_is_scipys_at_any_number_of_points(n: int) -> None:
    rng = np.random.default_rng(n)
    for strength in (0.0, 0.5, 3.0):
        x = rng.normal(size=n)
        y = strength * x + rng.normal(size=n)
        for method, theirs in (("spearman", stats.spearmanr(x, y)), ("kendall", stats.kendalltau(x, y))):
            found = rank_correlation(x, y, method)  # type: ignore[arg-type]
            assert found.value == pytest.approx(theirs.statistic, abs=1e-12)
            assert found.p == pytest.approx(theirs.pvalue, rel=1e-9)
