"""Intervals over images, checked by hand, against their formulas, and in what they promise."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import stats

from unsaf_async.score.intervals import Interval, difference_interval, exact_interval, ratio_interval, smooth_interval
from unsaf_async.score.ratios import quotients

PAIRS = [(2.0, 3.0), (0.0, 1.0), (4.0, 5.0), (0.0, 0.0), (2.0, 3.0), (6.0, 6.0)]


def test_a_ratio_has_a_t_interval_on_the_logit_scale_from_the_images_residuals() -> None:
    a, b = np.array([pair for pair in PAIRS if pair[1]]).T
    value = a.sum() / b.sum()
    error = math.sqrt(5 / 4 * ((a - value * b) ** 2).sum() / b.sum() ** 2 + 0.05 * (value / 5) ** 2)
    width = stats.t.ppf(0.975, 4) * error / (value * (1 - value))
    expected = 1 / (1 + np.exp(-(np.log(value / (1 - value)) + np.array([-width, width]))))
    found = ratio_interval(PAIRS)
    assert found.ends == pytest.approx(tuple(expected))
    assert (found.method, found.images, found.why_undefined) == ("logit_t", 5, "")


def test_neither_order_nor_the_way_of_counting_equal_images_matters() -> None:
    found = ratio_interval(PAIRS)
    assert ratio_interval(PAIRS[::-1]) == found
    assert ratio_interval(np.array(PAIRS)) == found
    assert ratio_interval([(2, 3), (0, 1), (4, 5), (0, 0), (6, 6)], times=[2, 1, 1, 7, 1]) == found


@pytest.mark.parametrize("images", [2, 5, 20, 200])
def test_at_the_ends_of_the_range_the_interval_is_one_sided_and_exact(images: int) -> None:
    upper = stats.beta.ppf(0.975, 1, images)
    nothing, everything = ratio_interval([(0, 3)] * images), ratio_interval([(3, 3)] * images)
    assert nothing.ends == pytest.approx((0, upper))
    assert everything.ends == pytest.approx((1 - upper, 1))
    assert nothing.method == everything.method == "exact_one_sided"
    assert nothing.images == images


def test_images_that_are_all_alike_leave_an_interval_of_some_width() -> None:
    """As if a twentieth of an image more had been seen, on which everything went the rarer way."""
    found = ratio_interval([(2, 3)] * 9)
    width = stats.t.ppf(0.975, 8) * math.sqrt(0.05) * (2 / 3) / 9 / (2 / 9)
    assert found.method == "logit_t"
    assert found.ends == pytest.approx(tuple(1 / (1 + np.exp(-(np.log(2) + np.array([-width, width]))))))
    assert smooth_interval([(2, 3)] * 9, share).ends == pytest.approx(found.ends)


def test_the_exact_interval_takes_each_image_as_one_response() -> None:
    found = exact_interval(2 / 3, 9)
    assert found.method == "exact"
    assert found.ends == pytest.approx((stats.beta.ppf(0.025, 6, 4), stats.beta.ppf(0.975, 7, 3)))


@pytest.mark.parametrize("pairs", [[], [(0, 0)] * 4, [(1, 2), (0, 0)]])
def test_fewer_than_two_images_that_bear_on_a_figure_give_no_interval(pairs: list[tuple[float, float]]) -> None:
    images = sum(b > 0 for _, b in pairs)
    found = ratio_interval(pairs)
    assert (found.ends, found.method, found.images) == (None, None, images)
    assert found.why_undefined.startswith("an interval needs at least 2 images that bear on the figure")
    assert exact_interval(1.0, images) == found == smooth_interval(np.array(pairs).reshape(-1, 2), share)


def share(sums: np.ndarray) -> np.ndarray:
    return quotients(sums[..., 0], sums[..., 1])


def correlation(sums: np.ndarray) -> np.ndarray:
    return 2 * share(sums) - 1


def test_a_smooth_figure_has_a_t_interval_from_leaving_out_each_image() -> None:
    rows = np.array([pair for pair in PAIRS if pair[1]])
    value = share(rows.sum(axis=0))
    without = np.array([share(np.delete(rows, i, axis=0).sum(axis=0)) for i in range(5)])
    variance = 4 / 5 * ((without - value) ** 2).sum() + 0.05 * (value / 5) ** 2
    width = stats.t.ppf(0.975, 4) * math.sqrt(variance) / (value * (1 - value))
    expected = 1 / (1 + np.exp(-(np.log(value / (1 - value)) + np.array([-width, width]))))
    found = smooth_interval(PAIRS, share)
    assert found.ends == pytest.approx(tuple(expected))
    assert (found.method, found.images) == ("jackknife_logit_t", 5)
    wider = smooth_interval(PAIRS, correlation, low=-1, high=1)
    assert wider.ends == pytest.approx(tuple(2 * expected - 1))
    assert smooth_interval([(2, 3), (0, 1), (4, 5), (6, 6)], share, times=[2, 1, 1, 1]) == found


def test_a_smooth_figure_at_an_end_of_its_range_has_the_exact_interval_stretched_to_it() -> None:
    low, high = exact_interval(1.0, 8).ends or (0, 0)
    assert smooth_interval([(3, 3)] * 8, correlation, low=-1, high=1) == Interval(
        (2 * low - 1, 2 * high - 1), "exact_one_sided", 8
    )


def test_a_figure_that_needs_one_of_the_images_has_no_interval_and_says_so() -> None:
    def both(sums: np.ndarray) -> np.ndarray:
        return (quotients(sums[..., 0], sums[..., 1]) + quotients(sums[..., 2], sums[..., 3])) / 2

    alone = smooth_interval([(1, 2, 0, 0), (2, 2, 0, 0), (0, 0, 1, 3)], both)
    assert (alone.ends, alone.images) == (None, 3)
    assert "rests on a single image" in alone.why_undefined
    never = smooth_interval([(1, 2, 0, 0), (2, 2, 0, 0)], both)
    assert never.why_undefined == "the figure is undefined"


def test_a_difference_combines_the_intervals_of_both_with_their_correlation() -> None:
    rows = np.array([(2, 3, 0, 3), (0, 1, 0, 2), (4, 5, 2, 4), (6, 6, 4, 6), (2, 3, 1, 3)], dtype=float)
    (low, high), (their_low, their_high) = (
        ratio_interval(pairs).ends or (0, 0) for pairs in (rows[:, :2], rows[:, 2:])
    )
    one, other = rows[:, 0].sum() / rows[:, 1].sum(), rows[:, 2].sum() / rows[:, 3].sum()
    rho = np.corrcoef(rows[:, 0] - one * rows[:, 1], rows[:, 2] - other * rows[:, 3])[0, 1]
    x, y = one - low, their_high - other
    below = one - other - math.sqrt(x**2 + y**2 - 2 * rho * x * y)
    x, y = high - one, other - their_low
    above = one - other + math.sqrt(x**2 + y**2 - 2 * rho * x * y)
    found = difference_interval(rows)
    assert found == Interval((pytest.approx(below), pytest.approx(above)), "combined", 5)
    backwards = difference_interval(rows[:, [2, 3, 0, 1]])
    assert backwards.ends == pytest.approx((-above, -below))


def test_a_difference_of_one_that_is_always_right_and_one_that_is_always_wrong_has_an_interval() -> None:
    found = difference_interval([(3, 3, 0, 3)] * 20)
    assert found.ends is not None
    assert 0.7 < found.ends[0] < found.ends[1] == 1


def test_equal_answers_and_too_few_images_have_no_interval_of_a_difference() -> None:
    assert difference_interval([(1, 2, 1, 2), (2, 3, 2, 3)]).why_undefined == "the two are equal on every image"
    assert "at least 2 images" in difference_interval([(1, 2, 0, 0), (2, 3, 1, 2)]).why_undefined


def clustered(rng: np.random.Generator, replications: int, images: int, right: float) -> tuple[np.ndarray, np.ndarray]:
    """(a, b) of UnF1, K = 3, where both sides are right with rates of that mean, correlated by .3 within an image."""
    size = 1 / 0.3 - 1
    rates = rng.beta(size * right, size * (1 - right), (replications, images))
    tu, fu = rng.binomial(3, rates), 3 - rng.binomial(3, rates)
    return 2 * tu, tu + 3 + fu


@pytest.mark.parametrize(("images", "right"), [(5, 0.9), (10, 0.98), (20, 0.95), (20, 0.5)])
def test_with_few_images_the_interval_holds_where_resampling_is_too_narrow(images: int, right: float) -> None:
    """The short form of benchmarks/intervals.py: 400 replications, questions of an image correlated by .3."""
    rng = np.random.default_rng(images)
    a, b = clustered(rng, 400, images, right)
    held = [low <= right <= high for low, high in (ratio_interval(rows).ends or (1, 0) for rows in np.stack([a, b], 2))]
    assert np.mean(held) >= 0.93
    drawn = rng.multinomial(images, np.full(images, 1 / images), size=400)
    low, high = np.quantile((drawn @ a.T) / (drawn @ b.T), (0.025, 0.975), axis=0)
    assert np.mean((low <= right) & (right <= high) & (low < high)) < 0.93


def test_with_few_images_the_interval_of_a_difference_holds() -> None:
    rng = np.random.default_rng(3)
    better, worse = (np.stack(clustered(rng, 300, 10, right), 2) for right in (0.95, 0.8))
    held = [
        low <= 0.15 <= high
        for low, high in (difference_interval(rows).ends or (1, 0) for rows in np.dstack([better, worse]))
    ]
    assert np.mean(held) >= 0.93
