"""Intervals over images, checked by hand, against their formulas, and in what they promise."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import stats

from unsaf_async.score.intervals import Interval, exact_interval, ratio_interval, smooth_interval
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
