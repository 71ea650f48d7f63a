"""Intervals over images, checked by hand, against their formulas, and in what they promise."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import stats

from unsaf_async.score.intervals import (
    Interval,
    difference_interval,
    effective_images,
    exact_interval,
    ratio_interval,
    region_of,
    smooth_interval,
)
from unsaf_async.score.ratios import quotients

PAIRS = [(2.0, 3.0), (0.0, 1.0), (4.0, 5.0), (0.0, 0.0), (2.0, 3.0), (6.0, 6.0)]


def test_a_ratio_has_a_t_interval_on_the_logit_scale_from_the_images_residuals() -> None:
    a, b = np.array([pair for pair in PAIRS if pair[1]]).T
    value, shares = a.sum() / b.sum(), b / b.sum()
    effective = 1 / (shares**2).sum()
    squares = (((a / b - value) * shares) ** 2 / (1 - shares)).sum()
    error = math.sqrt(squares + 0.05 * (value / effective) ** 2)
    width = stats.t.ppf(0.975, effective - 1) * error / (value * (1 - value))
    expected = 1 / (1 + np.exp(-(np.log(value / (1 - value)) + np.array([-width, width]))))
    found = ratio_interval(PAIRS)
    assert found.ends == pytest.approx(tuple(expected))
    assert (found.method, found.images, found.why_undefined) == ("logit_t", 5, "")


def test_images_of_one_size_have_the_spread_of_their_values_and_count_as_many_as_they_are() -> None:
    a = np.array([0, 1, 2, 3, 3, 1])
    value = a.mean() / 3
    error = math.sqrt((a / 3).var(ddof=1) / 6 + 0.05 * (max(value, 1 - value) / 6) ** 2)
    width = stats.t.ppf(0.975, 5) * error / (value * (1 - value))
    expected = 1 / (1 + np.exp(-(np.log(value / (1 - value)) + np.array([-width, width]))))
    assert ratio_interval([(each, 3) for each in a]).ends == pytest.approx(tuple(expected))


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


def test_images_that_are_all_alike_leave_open_how_many_others_there_are() -> None:
    """Of 9 images 1 - .025^(1/9) may differ though none does, and each by all that the range allows."""
    found = ratio_interval([(2, 3)] * 9)
    others = 1 - 0.025 ** (1 / 9)
    assert found.method == "logit_t"
    assert found.ends == pytest.approx((2 / 3 * (1 - others), 2 / 3 + others / 3))
    assert smooth_interval([(2, 3)] * 9, share).ends == pytest.approx(found.ends)


def test_exceptions_above_and_below_are_two_figures_that_are_combined() -> None:
    """Of ten images with half the questions right, one has all and one none: each side as if the other eight had nothing."""
    found = ratio_interval([(1, 2)] * 8 + [(2, 2), (0, 2)])
    side = ratio_interval([(0, 1)] * 9 + [(1, 1)]).ends
    assert side is not None
    below, above, rho = (0.1 - side[0]) / 2, (side[1] - 0.1) / 2, -1 / 9
    width = math.sqrt(below**2 + above**2 - 2 * rho * below * above)
    assert found.ends == pytest.approx((0.5 - width, 0.5 + width))


def test_a_rare_small_error_does_not_open_the_whole_range() -> None:
    """The guard alone would have taken .003 of 20 images, on the logit scale, up to 1."""
    low, high = ratio_interval([(0.01, 3)] * 10 + [(0.008, 3)] * 10).ends or (0, 1)
    assert low < 0.003 < high < 0.003 + 1 - 0.025 ** (1 / 20)


def test_images_of_unequal_size_count_as_fewer() -> None:
    assert effective_images(np.array([3, 3, 3, 0])) == pytest.approx(3)
    assert effective_images(np.array([1, 20]), np.array([9, 1])) == pytest.approx(29**2 / 409)
    everything = ratio_interval([(1, 1)] * 9 + [(20, 20)])
    assert everything.ends == pytest.approx((0.025 ** (409 / 29**2), 1))
    assert everything.images == 10
    assert ratio_interval([(1, 1), (20, 20)]).ends == pytest.approx((0.025 ** (401 / 21**2), 1))


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
    effective = 18**2 / (9 + 1 + 25 + 9 + 36)
    error = math.sqrt(variance - 0.05 * (value / 5) ** 2 + 0.05 * (value / effective) ** 2)
    width = stats.t.ppf(0.975, effective - 1) * error / (value * (1 - value))
    expected = 1 / (1 + np.exp(-(np.log(value / (1 - value)) + np.array([-width, width]))))
    assert smooth_interval(PAIRS, share, sizes=np.array(PAIRS)[:, 1]).ends == pytest.approx(tuple(expected))


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


def test_a_function_of_two_ratios_has_its_extremes_where_both_lie_together() -> None:
    rows = np.array([(2, 3, 0, 3), (0, 3, 0, 3), (3, 3, 2, 3), (2, 3, 3, 3), (2, 3, 1, 3)], dtype=float)
    region = region_of(rows)
    for figure, own in ((0, rows[:, :2]), (1, rows[:, 2:])):
        alone = region.interval(lambda one, other, figure=figure: (one, other)[figure])  # type: ignore[misc]
        assert alone.ends == pytest.approx(ratio_interval(own).ends, abs=1e-3)
    assert region.interval(lambda one, other: one - other).ends == pytest.approx(
        difference_interval(rows).ends, abs=2e-3
    )
    assert region_of(rows[::-1]).interval(lambda one, other: one * other).images == 5
    nothing = region.interval(lambda one, _: np.full(one.shape, np.nan))
    assert nothing.why_undefined == "the figure is undefined"
    few = region_of([(1, 2, 0, 0), (2, 2, 1, 2)]).interval(lambda one, other: one - other)
    assert (few.ends, few.images) == (None, 1)
    assert "at least 2 images" in few.why_undefined


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


def test_a_difference_on_few_images_holds_where_they_are_small_by_accident() -> None:
    """One image in ten has 40 questions, and one in fifty differs wholly: by the two figures' intervals it held in .5."""
    rng = np.random.default_rng(0)
    held = 0
    for _ in range(100):
        size, unlike = np.where(rng.random(200) < 0.1, 40, 1), rng.random(200) < 0.02
        right = rng.binomial(size, 0.9)
        rows = np.stack([np.where(unlike, size, right), size, np.where(unlike, 0, right), size], axis=1)
        ends = difference_interval(rows).ends
        held += ends is None or ends[0] <= 0.02 <= ends[1]
    assert held >= 94


def test_images_of_equal_size_have_the_interval_of_a_difference_that_combines_both() -> None:
    rng = np.random.default_rng(1)
    rows = np.stack([rng.binomial(6, 0.8, 30), np.full(30, 6), rng.binomial(6, 0.6, 30), np.full(30, 6)], axis=1)
    plain = difference_interval(rows).ends
    small = np.concatenate([rows, rows[:1] / 6])
    assert plain == pytest.approx(difference_interval(small).ends, abs=0.01), "31 images that count as 30.1"


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


def held(truth: float, a: np.ndarray, b: np.ndarray) -> float:
    """The share of replications whose interval holds the truth. a, b: [replications, images]."""
    found = [ratio_interval(rows).ends or (1, 0) for rows in np.stack([a, b], 2)]
    return float(np.mean([low <= truth <= high for low, high in found]))


@pytest.mark.parametrize(("images", "exception"), [(10, 0), (20, 2)])
def test_the_interval_holds_where_one_image_in_n_differs_from_all_others(images: int, exception: int) -> None:
    """The short form of `benchmarks/intervals.py exceptions`: it was .60 to .65 with the guard alone."""
    rng = np.random.default_rng(images)
    a = np.where(rng.random((100, images)) < 1 / images, exception, 1)
    assert held(0.5 + (exception / 2 - 0.5) / images, a, np.full(a.shape, 2)) >= 0.93


def test_a_model_that_says_yes_to_everything_is_not_known_to_do_so_always() -> None:
    low, high = ratio_interval([(3, 6)], times=[500]).ends or (0, 1)
    assert low == pytest.approx(0.5 - 3.69 / 1000, abs=1e-4)
    assert high == pytest.approx(0.5 + 3.69 / 1000, abs=1e-4)


def test_the_interval_holds_where_a_few_images_have_most_of_the_questions() -> None:
    """The short form of `benchmarks/intervals.py unequal`: it was .85 with one degree of freedom fewer than images."""
    rng = np.random.default_rng(7)
    b = np.where(rng.random((150, 10)) < 0.1, 20, 1)
    assert held(0.5, rng.binomial(b, rng.beta(1.17, 1.17, b.shape)), b) >= 0.93
