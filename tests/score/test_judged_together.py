"""A judge's agreement alone and together: the paired difference, its interval, and what a margin makes of it."""

from __future__ import annotations

from random import Random

import pytest

from unsaf_async.score.judged_together import MARGIN, JudgedTogetherCounts, together_check


def check(rows, **fields):
    """rows: without a place, which is the first half then."""
    rows = [row if len(row) == 5 else (*row, False) for row in rows]
    return together_check(rows, **{"calls": 1, "asked_alone": 0, **fields})


def test_shares_and_their_difference_are_those_of_the_responses():
    rows = [
        (0, "answered", "answered", "answered"),
        (0, "answered", "answered", "abstained"),
        (1, "abstained", "answered", "abstained"),
        (1, "abstained", "abstained", "answered"),
        (1, "abstained", "abstained", None),
    ]
    found = check(rows, calls=2, asked_alone=1)
    assert (found.responses, found.images, found.calls, found.asked_alone) == (5, 2, 2, 1)
    assert (found.alone, found.together, found.alike) == (0.8, 0.4, 0.2)
    assert found.difference == pytest.approx(-0.4)
    assert found.difference_ci is not None
    assert found.difference_ci[0] < -0.4 < found.difference_ci[1]
    assert not found.excludes_loss


def test_equal_verdicts_on_few_images_exclude_no_small_loss_and_on_many_they_do():
    def equal(images):
        return check([(n, "answered", "answered", "answered") for n in range(images) for _ in range(4)])

    assert equal(20).difference == 0.0
    assert not equal(20).excludes_loss
    assert equal(300).excludes_loss
    # Clopper and Pearson's, of n images that are all alike: 1 - .025^(1/n).
    assert equal(100).difference_ci[0] == pytest.approx(-(1 - 0.025 ** (1 / 100)), abs=1e-4)


def test_without_a_response_nothing_is_said():
    found = check([])
    assert (found.alone, found.difference, found.difference_ci, found.excludes_loss) == (None, None, None, False)


def test_a_loss_of_the_margin_is_excluded_by_chance_in_a_fortieth_of_samples_at_most():
    chance, excluded = Random(4), 0
    for _ in range(200):
        rows = []
        for image in range(60):
            shaken = chance.random() < 4 * MARGIN  # a quarter of the verdicts of such an image are lost
            rows += [
                (image, "answered", "answered", "abstained" if shaken and n == 0 else "answered") for n in range(4)
            ]
        excluded += check(rows).excludes_loss
    assert excluded <= 10


@pytest.mark.parametrize(
    ("asked_alone", "responses", "told"), [(0, 0, False), (19, 19, False), (20, 40, True), (19, 40, False)]
)
def test_a_judge_that_leaves_most_out_is_told_of(asked_alone, responses, told):
    counts = JudgedTogetherCounts(calls=responses // 4, responses=responses, asked_alone=asked_alone)
    assert bool(counts.warning) is told
    assert not told or "without --judge-together the same costs less" in counts.warning


def test_a_place_in_the_list_that_a_judge_favours_shows():
    chance = Random(2)
    rows = [
        (image, "answered", "answered", "abstained" if late and chance.random() < 0.3 else "answered", late)
        for image in range(100)
        for late in (False, False, True, True)
    ]
    found = check(rows)
    assert found.early == 1.0
    assert found.late == pytest.approx(0.7, abs=0.1)
    assert found.late_less_early_ci is not None
    assert -0.45 < found.late_less_early_ci[0] < found.late - found.early < found.late_less_early_ci[1] < -0.15
    none = check([(n, "answered", "answered", "answered", late) for n in range(9) for late in (False, True)])
    assert (none.early, none.late, none.late_less_early_ci) == (1.0, 1.0, None)
    assert none.why_undefined == {"late_less_early": "the two are equal on every image"}
