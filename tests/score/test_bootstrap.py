"""The bootstrap, checked on cases small enough to work out by hand, and against its formulas written as loops."""

from __future__ import annotations

import numpy as np
import pytest

from unsaf_async.score import bootstrap
from unsaf_async.score.bootstrap import draws, interval, unf1_interval
from unsaf_async.score.ratios import mean, quotients, ratio

PAIRS = [(2, 2), (0, 1), (4, 5), (0, 0), (2, 3), (2, 3), (6, 6), (0, 2)]


def test_a_draw_holds_as_many_images_as_there_are() -> None:
    drawn = draws(5, 40, seed=3)
    assert drawn.shape == (40, 5)
    assert (drawn.sum(axis=1) == 5).all()
    assert draws(0, 7).shape == (7, 0)
    assert (drawn == draws(5, 40, seed=3)).all()
    assert (drawn != draws(5, 40, seed=4)).any()


def test_an_interval_holds_95_percent_of_the_defined_values() -> None:
    values = np.arange(101.0) / 100
    assert interval(values) == pytest.approx((0.025, 0.975))
    assert interval(np.append(values, np.nan)) == pytest.approx((0.025, 0.975))
    assert interval(values, 0.5) == pytest.approx((0.25, 0.75))
    assert interval(np.full(3, np.nan)) is None
    assert interval(np.full(3, 0.4)) is None


def test_unf1_has_no_interval_without_scored_responses_with_one_image_or_without_spread() -> None:
    nothing = unf1_interval([(0, 0), (0, 0)], seed=0, resamples=9)
    assert (nothing.images, nothing.percentile, nothing.why_undefined) == (2, None, "unf1 is undefined")
    one = unf1_interval([(2, 3)], seed=0, resamples=9)
    assert (one.images, one.percentile, one.why_undefined) == (
        1,
        None,
        "an interval needs at least 2 images with questions; there is 1",
    )
    same = unf1_interval([(2, 3), (2, 3), (0, 0)], seed=0, resamples=400)
    assert (same.images, same.percentile) == (3, None)
    assert same.why_undefined.startswith("every resample has the same UnF1")
    assert 0 < same.resamples_undefined < 400
    two = unf1_interval([(0, 1), (2, 2)], seed=0, resamples=400)
    assert (two.images, two.percentile, two.why_undefined) == (2, (0.0, 1.0), "")


def resampled(pairs: list[tuple[int, int]], seed: int, resamples: int) -> list[float]:
    """UnF1 of each draw in which it is defined: the distinct pairs, in order, drawn as often as images have them."""
    rows = sorted(set(pairs))
    shares = [pairs.count(row) / len(pairs) for row in rows]
    drawn = np.random.default_rng(seed).multinomial(len(pairs), shares, size=resamples)
    sums = [(sum(n * a for n, (a, _) in zip(times, rows, strict=True)), times) for times in drawn]
    wholes = [sum(n * b for n, (_, b) in zip(times, rows, strict=True)) for _, times in sums]
    return [above / whole for (above, _), whole in zip(sums, wholes, strict=True) if whole]


@pytest.mark.parametrize("seed", range(4))
def test_the_interval_of_unf1_is_what_its_formula_gives(seed: int) -> None:
    values = np.array(resampled(PAIRS, seed, 500))
    found = unf1_interval(PAIRS, seed=seed, resamples=500)
    assert found.percentile == pytest.approx(tuple(np.quantile(values, (0.025, 0.975))))
    assert found.resamples_undefined == 500 - len(values)


def test_the_size_of_the_blocks_does_not_matter(monkeypatch: pytest.MonkeyPatch) -> None:
    whole = unf1_interval(PAIRS, seed=1, resamples=333)
    monkeypatch.setattr(bootstrap, "BLOCK_BYTES", 8 * 7 * 10)
    assert unf1_interval(PAIRS, seed=1, resamples=333) == whole


def test_where_no_resample_has_a_score_there_is_no_interval() -> None:
    """One draw, and the one image that counts is not in it."""
    found = unf1_interval([*[(0, 0)] * 4, (1, 2)], seed=2, resamples=1)
    assert (found.percentile, found.resamples_undefined) == (None, 1)
    assert found.why_undefined.startswith("every resample has the same UnF1")


def test_an_empty_quotient_is_undefined() -> None:
    assert (ratio(1, 2), ratio(0, 2), ratio(0, 0)) == (0.5, 0.0, None)
    assert (mean([1.0, 2.0]), mean([])) == (1.5, None)
    assert quotients(np.array([1, 2, -3]), np.array([2, 0, -3])).tolist() == pytest.approx(
        [0.5, np.nan, 1], nan_ok=True
    )
