"""Intervals of rank statistics and of the calibration error: against other ways to compute them, and in what they promise."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np
import pytest
from scipy import stats

from unsaf_async.score import bootstrap
from unsaf_async.score.intervals import GUARD, Interval, exact_interval
from unsaf_async.score.metrics import BINS, auroc, ece, risk_coverage
from unsaf_async.score.rank_intervals import aurc_intervals, auroc_interval, ece_interval, nll_interval

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray


def some_items(images: int = 30, each: int = 5) -> tuple[NDArray[np.float64], NDArray[np.bool_], NDArray[np.int64]]:
    """Scores in [0, 1] with ties, classes, images: the items of an image resemble each other."""
    rng = np.random.default_rng(5)
    group = np.repeat(np.arange(images), each)
    positive = rng.random(len(group)) < 0.4
    latent = rng.normal(size=images)[group] + rng.normal(size=len(group)) + positive
    return np.round(1 / (1 + np.exp(-latent)), 1), positive, group


def ends(value: float, error: float, images: float) -> tuple[float, float]:
    """Student's t around a share, on the logit scale, with the guarded error."""
    error = math.sqrt(error**2 + GUARD * (max(value, 1 - value) / images) ** 2)
    width = stats.t.ppf(0.975, images - 1) * error / (value * (1 - value))
    low, high = 1 / (1 + np.exp(-(math.log(value / (1 - value)) + np.array([-width, width]))))
    return float(low), float(high)


def jackknife_error(figure: Callable[[NDArray[np.bool_]], float], group: NDArray[np.int64]) -> float:
    """The standard error by leaving out each image."""
    values = np.array([figure(group != image) for image in np.unique(group)])
    return math.sqrt((len(values) - 1) / len(values) * ((values - values.mean()) ** 2).sum())


# --- AUROC ------------------------------------------------------------------------------------------------------------


def test_the_auroc_interval_has_the_variance_of_clustered_data_by_obuchowski() -> None:
    scores, positive, group = some_items()
    up, down = scores[positive], scores[~positive]
    won = (up[:, None] > down[None, :]) + 0.5 * (up[:, None] == down[None, :])
    area = won.mean()
    squares = 0.0
    for image in np.unique(group):
        of_up = (won[group[positive] == image].mean(axis=1) - area).sum() / len(up)
        of_down = (won[:, group[~positive] == image].mean(axis=0) - area).sum() / len(down)
        share = ((group[positive] == image).mean() + (group[~positive] == image).mean()) / 2
        squares += (of_up + of_down) ** 2 * (1 - 1 / 30) / (1 - share)
    held = [np.bincount(group[side]) for side in (positive, ~positive)]
    effective = min(side.sum() ** 2 / (side**2).sum() for side in held)
    found = auroc_interval(scores, positive, group)
    assert found.ends == pytest.approx(ends(area, math.sqrt(30 / 29 * squares), effective), rel=1e-9)


def test_with_many_images_the_auroc_interval_is_about_that_of_resampling_them() -> None:
    scores, positive, group = some_items(200)
    values = []
    for counts in bootstrap.draws(200, 200, seed=7):
        taken = np.concatenate([np.tile(np.flatnonzero(group == image), k) for image, k in enumerate(counts)])
        values.append(auroc(scores[taken.astype(int)], positive[taken.astype(int)]) or math.nan)
    assert auroc_interval(scores, positive, group).ends == pytest.approx(bootstrap.interval(np.array(values)), abs=0.01)


def test_the_auroc_interval_depends_neither_on_the_order_of_items_nor_on_how_images_are_named() -> None:
    scores, positive, group = some_items()
    order = np.random.default_rng(3).permutation(len(scores))
    expected = auroc_interval(scores, positive, group).ends
    assert auroc_interval(scores[order], positive[order], group[order]).ends == pytest.approx(expected)
    assert auroc_interval(scores, positive, [f"{each:03}.jpg" for each in group]).ends == expected


def test_the_auroc_interval_is_wider_where_the_items_of_an_image_resemble_each_other() -> None:
    rng = np.random.default_rng(1)
    group = np.repeat(np.arange(60), 10)
    positive = np.repeat(rng.random(60) < 0.5, 10)
    scores = np.repeat(rng.normal(size=60), 10) + 0.5 * positive + 0.1 * rng.normal(size=600)
    by_image = auroc_interval(scores, positive, group).ends
    by_item = auroc_interval(scores, positive, np.arange(600)).ends
    assert by_image is not None
    assert by_item is not None
    assert by_image[1] - by_image[0] > 2 * (by_item[1] - by_item[0])


@pytest.mark.parametrize("images", [12, 200])
def test_the_auroc_interval_covers_the_truth_in_about_95_of_100_samples(images: int) -> None:
    truth = stats.norm.cdf(1 / math.sqrt(2))  # of two normal classes one standard deviation apart
    covered = 0
    for seed in range(200):
        rng = np.random.default_rng(seed)
        positive = np.tile([True, False], images)
        items = rng.normal(size=2 * images) + positive
        low, high = auroc_interval(items, positive, np.repeat(np.arange(images), 2)).ends or (1, 0)
        covered += low <= truth <= high
    assert 184 <= covered <= 198


def test_where_all_pairs_are_ordered_alike_the_interval_is_exact_for_pairs_without_a_common_image() -> None:
    # Three images with both classes hold one pair of two images; with three more of one class each there are three.
    both = auroc_interval([1, 2] * 4, [False, True] * 4, [0, 0, 1, 1, 2, 2, 3, 3])
    assert both == exact_interval(1.0, 2)
    apart = auroc_interval([2, 2, 2, 1, 1, 1], [True] * 3 + [False] * 3, range(6))
    assert apart == exact_interval(1.0, 3)
    assert auroc_interval([1, 1, 1, 2, 2, 2], [True] * 3 + [False] * 3, range(6)) == exact_interval(0.0, 3)


def test_a_constant_score_leaves_open_that_other_images_may_have_another_one() -> None:
    """Images that are not seen may make up 1 - .025^(1/20) of pairs without a common image, ordered either way."""
    low, high = auroc_interval([0.5] * 80, [True, False] * 40, np.arange(80) // 2).ends or (0, 1)
    assert (low, high) == pytest.approx((0.5 * 0.025 ** (1 / 20), 1 - 0.5 * 0.025 ** (1 / 20)))
    low, high = aurc_intervals([0.9] * 80, [True, False] * 40, np.arange(80) // 2)[0].ends or (0, 1)
    assert (low, high) == pytest.approx((0.5 * 0.025 ** (1 / 40), 1 - 0.5 * 0.025 ** (1 / 40)))


@pytest.mark.parametrize(("scores", "positive"), [([], []), ([1, 2], [True, True]), ([1, 2], [0, 0])])
def test_without_both_classes_there_is_no_auroc_and_no_interval(scores: list[float], positive: list[bool]) -> None:
    assert auroc_interval(scores, positive, list(range(len(scores)))) == Interval(
        why_undefined="the items are not of both classes"
    )


def test_one_image_says_nothing_about_its_own_uncertainty() -> None:
    found = [
        auroc_interval([0.1, 0.2, 0.3, 0.4], [0, 1, 0, 1], ["a"] * 4),
        *aurc_intervals([0.1, 0.2, 0.3, 0.4], [0, 1, 0, 1], ["a"] * 4),
        ece_interval([0.1, 0.2, 0.3, 0.4], [0, 1, 0, 1], ["a"] * 4),
    ]
    why = "an interval needs at least 2 images that bear on the figure; there is 1"
    assert [(each.ends, each.why_undefined) for each in found] == [(None, why)] * 4


def test_the_auroc_interval_counts_images_by_what_they_hold() -> None:
    """By their number it held .5 in .82 of such samples."""
    held = 0
    for seed in range(100):
        rng = np.random.default_rng(seed)
        image = np.repeat(np.arange(20), np.where(rng.random(20) < 0.1, 40, 1))
        positive = rng.random(len(image)) < 0.5
        own = math.sqrt(0.4) * rng.standard_normal((2, 20))[positive.astype(int), image]
        found = auroc_interval(own + math.sqrt(0.6) * rng.standard_normal(len(image)), positive, image).ends
        held += found is None or found[0] <= 0.5 <= found[1]
    assert held >= 92


# --- risk and coverage ------------------------------------------------------------------------------------------------


def test_the_areas_of_risk_have_about_the_spread_that_leaving_out_images_gives() -> None:
    confidence, right, group = some_items(150)

    def area(kept: NDArray[np.bool_]) -> float:
        curve = risk_coverage(confidence[kept], right[kept])
        return curve.aurc if curve else math.nan

    def excess(kept: NDArray[np.bool_]) -> float:
        curve = risk_coverage(confidence[kept], right[kept])
        return curve.e_aurc if curve else math.nan

    every = np.full(len(group), fill_value=True)
    for found, figure in zip(aurc_intervals(confidence, right, group), (area, excess), strict=True):
        assert found.ends == pytest.approx(ends(figure(every), jackknife_error(figure, group), 150), rel=0.03)


def test_without_errors_the_area_of_risk_is_bounded_by_the_share_of_errors_and_the_best_order_has_no_interval() -> None:
    area, excess = aurc_intervals([0.1, 0.5, 0.9], [1, 1, 1], [0, 1, 2])
    assert area == exact_interval(0.0, 3)
    assert excess.ends is None
    assert excess.why_undefined == "the order is the best that there is, which says nothing of its uncertainty"
    assert aurc_intervals([0.1, 0.5, 0.9], [0, 1, 1], [0, 1, 2])[1] == excess
    assert [each.why_undefined for each in aurc_intervals([], [], [])] == ["there is no item"] * 2


# --- the calibration error --------------------------------------------------------------------------------------------


def stated(images: int, seed: int, over: float) -> tuple[NDArray[np.float64], NDArray[np.bool_], NDArray[np.int64]]:
    """Confidence, whether right, and image of 6 responses an image; over = 1 is perfect calibration."""
    rng = np.random.default_rng(seed)
    odds = 1 + 1.5 * rng.standard_normal(6 * images)
    right = rng.random(6 * images) < 1 / (1 + np.exp(-odds))
    return 1 / (1 + np.exp(-over * odds)), right, np.repeat(np.arange(images), 6)


def test_chance_alone_explains_the_error_of_a_calibrated_model_though_resampling_says_otherwise() -> None:
    held = low = 0
    for seed in range(60):
        confidence, right, group = stated(20, seed, 1.0)
        error, found = ece(confidence, right), ece_interval(confidence, right, group).ends
        assert error is not None
        assert found is not None
        assert found[0] - 1e-12 <= error <= found[1] + 1e-12
        held += found[0] == 0
        low += error > 0.05
    assert held >= 56
    assert low >= 55, "the error itself is far above the truth, which is 0"
    table = np.zeros((20, BINS))
    np.add.at(table, (group, np.argsort(np.argsort(confidence)) * BINS // 120), right - confidence)
    drawn = np.abs(bootstrap.draws(20, 400) @ table).sum(axis=1) / 120
    assert np.quantile(drawn, 0.025) > 0.04


@pytest.mark.parametrize("images", [20, 100])
def test_the_interval_of_the_calibration_error_covers_the_truth_where_a_model_is_too_sure(images: int) -> None:
    confidence, right, _ = stated(50_000, 0, 2.0)
    truth = ece(confidence, right)
    assert truth is not None
    covered = 0
    for seed in range(60):
        low, high = ece_interval(*stated(images, 1 + seed, 2.0)).ends or (1, 0)
        covered += low <= truth <= high
    assert covered >= 54


def test_a_calibration_error_at_which_no_image_differs_has_the_exact_interval() -> None:
    assert ece_interval([1.0] * 4, [1] * 4, [0, 1, 2, 3]) == exact_interval(0.0, 4)
    assert ece_interval([0.5] * 4, [1] * 4, [0, 1, 2, 3]) == exact_interval(0.5, 4)
    assert ece_interval([], [], []).why_undefined.endswith("there are 0")


def sure_of_nearly_all(images: int, seed: int) -> tuple[NDArray[np.float64], NDArray[np.bool_], NDArray[np.int64]]:
    """Confidence, whether right, and image of 3 responses an image: a confidence of .999 or .97, and .95 right."""
    rng = np.random.default_rng(seed)
    sure, right = rng.random(3 * images) < 0.7, rng.random(3 * images) < 0.95
    return np.where(sure, 0.999, 0.97), right, np.repeat(np.arange(images), 3)


@pytest.mark.parametrize("images", [5, 10])
def test_the_intervals_of_a_model_that_hardly_errs_allow_for_errors_that_few_images_do_not_show(images: int) -> None:
    """By the spread of the images alone they held in .54 to .77 of such samples."""
    held = np.zeros(2)
    truths = (0.7 * 0.049 + 0.3 * 0.02, -sum(w * (0.95 * math.log(p) + 0.05 * math.log(1 - p)) for w, p in MIX))
    for seed in range(60):
        items = sure_of_nearly_all(images, seed)
        found = (ece_interval(*items).ends or (1, 0), nll_interval(*items).ends or (1, 0))
        held += [low <= truth <= high for (low, high), truth in zip(found, truths, strict=True)]
    assert (held >= 56).all()


MIX = ((0.7, 0.999), (0.3, 0.97))
"""Shares and values of the confidence of `sure_of_nearly_all`."""


def of_unequal_images(images: int, seed: int) -> tuple[NDArray[np.float64], NDArray[np.bool_], NDArray[np.int64]]:
    """Confidence .9, whether right (.6, alike within an image), and image: one image in ten has 40 responses, the rest one."""
    rng = np.random.default_rng(seed)
    image = np.repeat(np.arange(images), np.where(rng.random(images) < 0.1, 40, 1))
    return np.full(len(image), 0.9), rng.random(len(image)) < rng.beta(1.4, 0.93, images)[image], image


def test_the_interval_of_the_calibration_error_counts_images_by_what_they_hold() -> None:
    """By their number it held the error of .3 in .65 to .70 of such samples."""
    held = 0
    for seed in range(60):
        low, high = ece_interval(*of_unequal_images(10, seed)).ends or (1, 0)
        held += low <= 0.3 <= high
    assert held >= 54


def test_the_log_loss_has_no_interval_on_one_image_and_where_no_outcome_would_change_it() -> None:
    assert nll_interval([0.9, 0.8], [1, 0], [0, 0]).why_undefined.endswith("there is 1")
    assert nll_interval([], [], []).why_undefined.endswith("there are 0")
    assert "all images have the same value" in nll_interval([0.5] * 3, [1, 0, 1], [0, 1, 2]).why_undefined
    low, high = nll_interval([0.9] * 20, [1] * 20, range(20)).ends or (0, 0)
    unseen = 1 - 0.025 ** (1 / 20)
    assert (low, high) == pytest.approx((-math.log(0.9), -math.log(0.9) + unseen * math.log(9))), (
        "the exact share of errors"
    )


def test_equal_seeds_give_equal_intervals_of_the_calibration_error() -> None:
    items = stated(60, 3, 3.0)
    assert ece_interval(*items, seed=4) == ece_interval(*items, seed=4)
    assert ece_interval(*items, seed=4) != ece_interval(*items, seed=5)


def test_what_is_not_as_many_as_the_items_is_refused() -> None:
    with pytest.raises(ValueError, match="3 items, but 2 groups"):
        auroc_interval([1, 2, 3], [0, 1, 0], ["a", "b"])


def test_with_the_classes_exchanged_the_interval_is_turned_round_where_two_images_are_as_good_a_middle() -> None:
    scores, groups = np.array([0, 0, 0, 0, 0, 0, 0, 1, 0, 1]), np.repeat([0, 1], [6, 4])
    positive = np.array([0, 0, 0, 0, 0, 1, 0, 0, 1, 1])
    there, back = auroc_interval(scores, positive, groups), auroc_interval(scores, 1 - positive, groups)
    assert there.ends is not None
    assert back.ends == pytest.approx((1 - there.ends[1], 1 - there.ends[0]))
