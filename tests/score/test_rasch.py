"""The Rasch fit: against statsmodels' conditional logistic regression, against plain enumeration, and against planted truths."""

from __future__ import annotations

import itertools
import math
import warnings

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from unsaf_async.score import rasch


def drawn(abilities, questions, seed=0, *, missing=0.0, hard=1.2):
    rng = np.random.default_rng(seed)
    logits = np.asarray(abilities) - rng.normal(0, hard, questions)[:, None]
    right = (rng.random(logits.shape) < 1 / (1 + np.exp(-logits))).astype(np.int8)
    right[rng.random(right.shape) < missing] = rasch.MISSING
    return right


def test_the_fit_is_that_of_conditional_logistic_regression_with_questions_as_strata() -> None:
    from statsmodels.discrete.conditional_models import ConditionalLogit

    right = drawn([-1, -0.2, 0.1, 1.4], 150, missing=0.1)
    askers = np.arange(150) % 5 - 1
    asked, models = np.nonzero(right != rasch.MISSING)
    covariates = np.column_stack([np.eye(4)[models][:, 1:], models == askers[asked]]).astype(float)
    for own in (False, True):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # it tells which strata it leaves out
            reference = ConditionalLogit(right[asked, models].astype(int), covariates[:, : 3 + own], groups=asked).fit(
                disp=0
            )
        found = rasch.fit(right, np.arange(150), askers if own else None)
        assert (found.abilities - found.abilities[0])[1:] == pytest.approx(reference.params[:3], abs=2e-3)
        assert found.log_likelihood == pytest.approx(reference.llf, abs=1e-4)
        if own:
            assert found.own == pytest.approx(reference.params[3], abs=2e-3)


@given(st.lists(st.floats(-3, 3), min_size=2, max_size=6), st.data())
def test_the_chances_given_how_many_are_right_are_those_of_all_ways_to_be_so(abilities, data) -> None:
    count = data.draw(st.integers(1, len(abilities)))
    odds = np.exp(np.array(abilities))
    ways = {way: math.prod(odds[list(way)]) for way in itertools.combinations(range(len(odds)), count)}
    log_gamma, chances, both = rasch._given_score(odds[None], np.array([count]))
    total = sum(ways.values())
    assert log_gamma[0] == pytest.approx(math.log(total))
    for one, other in itertools.product(range(len(odds)), repeat=2):
        share = sum(weight for way, weight in ways.items() if one in way and other in way) / total
        assert both[0, one, other] == pytest.approx(share)
    assert chances[0] == pytest.approx(np.diagonal(both[0]))


def test_planted_abilities_are_found_whatever_the_difficulties_and_whatever_is_missing() -> None:
    abilities = np.array([-1.5, -0.5, 0.0, 0.5, 1.5])
    for hard, missing in ((0.3, 0.0), (2.5, 0.0), (1.0, 0.3)):
        found = rasch.fit(drawn(abilities, 20_000, missing=missing, hard=hard), np.arange(20_000))
        assert found.abilities == pytest.approx(abilities, abs=0.06)
        assert found.abilities.sum() == pytest.approx(0, abs=1e-9)


def test_a_model_that_is_better_at_its_own_questions_is_found_to_be_so() -> None:
    rng = np.random.default_rng(1)
    askers = np.arange(8_000) % 4
    logits = np.array([-0.5, 0, 0, 0.5]) - rng.normal(0, 1, 8_000)[:, None]
    logits += 0.6 * (askers[:, None] == np.arange(4))
    found = rasch.fit((rng.random(logits.shape) < 1 / (1 + np.exp(-logits))).astype(np.int8), np.arange(8_000), askers)
    low, high = rasch.interval_of(found.own, found.own_influence)
    assert low < 0.6 < high
    assert high - low < 0.3


def test_the_interval_is_as_wide_as_that_of_drawing_pictures_anew() -> None:
    right, pictures = drawn([-0.5, 0, 0.5], 240, seed=3), np.arange(240) // 6
    found = rasch.fit(right, pictures)
    rng, again = np.random.default_rng(0), []
    for _ in range(200):
        questions = (rng.integers(0, 40, 40)[:, None] * 6 + np.arange(6)).ravel()
        again.append(rasch.fit(right[questions], np.repeat(np.arange(40), 6)).abilities)
    for model, spread in enumerate(np.std(again, axis=0)):
        low, high = rasch.interval_of(found.abilities[model], found.influence[:, model])
        assert (high - low) / 2 / 2.02 == pytest.approx(spread, rel=0.2)


def test_questions_of_one_picture_that_are_copies_of_each_other_narrow_no_interval() -> None:
    right = drawn([-0.5, 0, 0.5], 60, seed=5)
    once, thrice = (rasch.fit(np.repeat(right, n, axis=0), np.repeat(np.arange(60), n)) for n in (1, 3))
    ends = [rasch.interval_of(fit.abilities[0], fit.influence[:, 0]) for fit in (once, thrice)]
    assert ends[0] == pytest.approx(ends[1])


@pytest.mark.parametrize(
    ("right", "why"),
    [
        ([[1, 1, 1], [0, 0, 0]], "every question is right for all models, or wrong for all"),
        ([[1, 0, 0], [1, 1, 0], [1, 0, 1]], "cannot be told"),  # the first is never wrong where another is right
        (
            [[1, 0, -1, -1], [0, 1, -1, -1], [-1, -1, 1, 0], [-1, -1, 0, 1]],
            "cannot be told",
        ),  # two groups without a link
    ],
)
def test_what_has_no_finite_fit_says_why(right, why) -> None:
    found = rasch.fit(np.array(right, dtype=np.int8), np.arange(len(right)))
    assert isinstance(found, str)
    assert why in found


def test_an_own_advantage_without_any_own_question_cannot_be_fitted() -> None:
    assert isinstance(rasch.fit(drawn([0, 0, 0], 50), np.arange(50), np.full(50, -1)), str)


def test_infit_is_1_by_the_model_and_above_it_for_a_model_that_guesses() -> None:
    right = drawn([-0.8, -0.4, 0.0, 0.4, 0.8], 3_000, hard=2)
    pictures = np.arange(3_000) // 5
    fitting = rasch.fit(right, pictures)
    for model in range(5):
        value, (low, high) = rasch.infit(right, fitting, model, pictures)
        assert value == pytest.approx(1, abs=0.06)
        assert low < value < high
    right[:, 2] = np.random.default_rng(9).random(3_000) < 0.5
    value, (low, _) = rasch.infit(right, rasch.fit(right, pictures), 2, pictures)
    assert value > low > 1.1


@given(st.lists(st.floats(-2, 2), min_size=1, max_size=7), st.data())
def test_a_difficulty_expects_as_many_right_answers_and_its_ends_have_the_tails_that_they_should(abilities, data):
    abilities = np.array(abilities)
    right = data.draw(st.integers(0, len(abilities)))
    found = rasch.difficulty(abilities, right)
    assert (found.value is None) == (right in (0, len(abilities)))
    assert (found.low is None, found.high is None) == (right == len(abilities), right == 0)
    if found.value is not None:
        assert (1 / (1 + np.exp(found.value - abilities))).sum() == pytest.approx(right, abs=1e-6)

    def chance_of(counts, at):
        total = 0.0
        for way in itertools.product((0, 1), repeat=len(abilities)):
            if sum(way) in counts:
                each = 1 / (1 + np.exp(at - abilities))
                total += math.prod(p if hit else 1 - p for p, hit in zip(each, way, strict=True))
        return total

    if found.low is not None:
        assert chance_of(range(right + 1), found.low) == pytest.approx(0.025, abs=1e-6)
    if found.high is not None:
        assert chance_of(range(right, len(abilities) + 1), found.high) == pytest.approx(0.025, abs=1e-6)


def halves(right, pictures):
    """The split into the first and the second half of the columns' questions, by turns."""
    whole = rasch.fit(right, pictures)
    parts = [rasch.fit(right[turn::2], pictures[turn::2], size=len(whole.influence)) for turn in (0, 1)]
    return rasch.split_test(whole, parts)


def test_a_split_finds_what_differs_and_little_else() -> None:
    pictures = np.arange(240) // 6
    alarms = [halves(drawn([-0.5, 0, 0.5], 240, seed), pictures).p <= 0.05 for seed in range(150)]
    assert sum(alarms) <= 14, "of 150 at 5 %"
    right = drawn([-0.5, 0, 0.5], 240)
    right[1::2, 0] = drawn([1.5], 120, seed=7)[:, 0]
    found = halves(right, pictures)
    assert found.p < 0.01
    assert found.degrees == 2
    assert found.lr > 10


def test_too_few_pictures_for_a_split_are_told() -> None:
    found = halves(drawn([-0.5, 0, 0.5], 200), np.arange(200) // 40)
    assert found.p is None
    assert found.why == "5 pictures do not tell 2 differences; it takes 6"
