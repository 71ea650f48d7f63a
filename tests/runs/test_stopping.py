"""The rule of --until-ci: what it computes, and whether its promise holds when it is asked after every image."""

from __future__ import annotations

import math
from functools import cache
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from scipy.special import lambertw

from unsaf_async.records import CallRecord, Examination, ImageRecord, Question
from unsaf_async.runs.stopping import Rounds, Rule, StopWhenNarrow, rule_of
from unsaf_async.score.spread import Spread
from unsaf_async.score.tallies import Running

if TYPE_CHECKING:
    from collections.abc import Iterator

K = 3
CALL = CallRecord(role="answer", outcome="ok")


@cache
def examination(tu: int, fu: int) -> Examination:
    """An image with K questions of each label, `tu` and `fu` of which were abstained from."""
    asked = [
        Question(text="?", intended="unanswerable", answer=CALL, act="abstained" if i < tu else "answered")
        for i in range(K)
    ]
    asked += [
        Question(text="?", intended="answerable", answer=CALL, act="abstained" if i < fu else "answered")
        for i in range(K)
    ]
    return Examination(image=ImageRecord(id="x", path="x"), questions=tuple(asked))


def stream(rng: np.random.Generator, recall: float, refusal: float, alike: float = 2.0) -> Iterator[Examination]:
    """Images without end; each draws its own rates around the given ones, so that its questions resemble each other."""
    while True:
        tu = rng.binomial(K, rng.beta(alike * recall, alike * (1 - recall), 100))
        fu = rng.binomial(K, rng.beta(alike * refusal, alike * (1 - refusal), 100))
        yield from (examination(int(t), int(f)) for t, f in zip(tu, fu, strict=True))


@pytest.mark.parametrize("rule", ["fixed-width", "anytime"])
def test_the_images_that_a_rule_is_expected_to_take_are_those_that_it_takes(rule: Rule) -> None:
    recall, refusal, alike = 0.7, 0.3, 9.0  # a beta of recall * 9 and refusal * 9 gives a correlation of 1 / (1 + 9)
    expected = StopWhenNarrow(0.06, rule=rule).expected_images(Spread(K))
    rng = np.random.default_rng(1)
    taken = [stop(StopWhenNarrow(0.06, rule=rule), stream(rng, recall, refusal, alike))[0] for _ in range(30)]
    assert abs(np.mean(taken) / expected - 1) < 0.15


def stop(rule: StopWhenNarrow, images: Iterator[Examination]) -> tuple[int, tuple[float, float]]:
    """(images taken, the rule's interval) at the first image after which the rule is satisfied."""
    for image in images:
        rule.add(image)
        if rule.satisfied:
            break
    assert rule.interval is not None
    return rule.images, rule.interval


def naive_stop(half_width: float, images: Iterator[Examination]) -> tuple[int, tuple[float, float]]:
    """The same with the ordinary interval, from 20 images on."""
    running = Running()
    for image in images:
        running.add(image)
        value, variance = running.unf1, running.influence_variance
        if running.images < 20 or value is None or variance is None:
            continue
        width = 1.96 * math.sqrt(variance / running.images)
        if width <= half_width:
            return running.images, (value - width, value + width)
    raise AssertionError("the stream ended")


def covers(interval: tuple[float, float], recall: float, refusal: float) -> bool:
    truth = 2 * recall / (1 + recall + refusal)
    return interval[0] <= truth <= interval[1]


SETTINGS = [
    pytest.param(0.8, 0.1, 0.1, id="middling"),
    pytest.param(0.97, 0.02, 0.05, id="rare errors"),
    pytest.param(0.06, 0.02, 0.1, id="rare abstentions"),
]
RUNS = 200


@pytest.mark.no_cover
@pytest.mark.parametrize("rule", ["anytime", "fixed-width"])
@pytest.mark.parametrize(("recall", "refusal", "half_width"), SETTINGS)
def test_asked_after_every_image_the_interval_still_covers_the_truth_at_the_stop(
    recall: float, refusal: float, half_width: float, rule: Any
) -> None:
    rng = np.random.default_rng(1)
    stops = [stop(StopWhenNarrow(half_width, rule=rule), stream(rng, recall, refusal)) for _ in range(RUNS)]
    assert np.mean([covers(interval, recall, refusal) for _, interval in stops]) >= 0.93


@pytest.mark.parametrize(("recall", "refusal", "half_width"), SETTINGS[1:])
def test_the_naive_rule_stops_on_accidents_in_the_same_runs(recall: float, refusal: float, half_width: float) -> None:
    """What the guard is for: the ordinary interval, asked after every image, misses far more than 5 %."""
    rng = np.random.default_rng(1)
    stops = [naive_stop(half_width, stream(rng, recall, refusal)) for _ in range(RUNS)]
    assert np.mean([covers(interval, recall, refusal) for _, interval in stops]) < 0.88


def test_the_anytime_interval_holds_at_all_looks_together() -> None:
    """Not only where the width stops it: the truth stays inside from the 20th image to the 300th."""
    rng = np.random.default_rng(2)
    recall, refusal = 0.8, 0.1
    left = 0
    for _ in range(60):
        rule = StopWhenNarrow(0.05)
        for _, image in zip(range(300), stream(rng, recall, refusal), strict=False):
            rule.add(image)
            if rule.interval is not None and not covers(rule.interval, recall, refusal):
                left += 1
                break
    assert left <= 4


def paths(rule: Any, half_width: float, share: float, images: int = 160) -> tuple[np.ndarray, np.ndarray]:
    """(whether the interval holds the truth, whether the rule is satisfied) after each image of 4000 runs.

    A share of the images goes wholly wrong, all others wholly right: what the rule says goes by how many of both there were.
    """
    most = int(images * share + 5 * math.sqrt(images * share))
    ends, satisfied = np.full((most + 1, images + 1, 2), (0.0, 1.0)), np.zeros((most + 1, images + 1), bool)
    for wrong in range(most + 1):
        stopping = StopWhenNarrow(half_width, rule=rule)
        for number in range(images + 1):
            if number:
                stopping.add(examination(0, K) if number <= wrong else examination(K, 0))
            if number >= wrong and stopping.interval is not None:
                ends[wrong, number], satisfied[wrong, number] = stopping.interval, stopping.satisfied
    numbers = np.arange(1, images + 1)
    wrong = np.minimum(np.cumsum(np.random.default_rng(0).random((4000, images)) < share, axis=1), most)
    low, high = ends[wrong, numbers].transpose(2, 0, 1)
    truth = 1 - share
    return (low <= truth + 1e-9) & (truth <= high + 1e-9), satisfied[wrong, numbers]


@pytest.mark.parametrize(("half_width", "share"), [(0.05, 0.05), (0.08, 0.1)])
def test_where_few_images_carry_all_the_errors_the_interval_covers_at_the_fixed_width_rules_stop(
    half_width: float, share: float
) -> None:
    covered, satisfied = paths("fixed-width", half_width, share, 200)
    assert satisfied.any(axis=1).mean() > 0.99
    assert covered[np.arange(len(covered)), satisfied.argmax(axis=1)].mean() >= 0.93


@pytest.mark.parametrize("share", [0.02, 0.1])
def test_where_few_images_carry_all_the_errors_the_anytime_interval_holds_at_all_looks(share: float) -> None:
    assert paths("anytime", 0.08, share)[0].all(axis=1).mean() >= 0.95


def test_the_price_of_each_rule_in_images_is_what_its_theory_says() -> None:
    rng = np.random.default_rng(3)
    recall, refusal, half_width = 0.5, 0.2, 0.05
    long_run = Running()
    for _, image in zip(range(3000), stream(rng, recall, refusal), strict=False):
        long_run.add(image)
    assert long_run.influence_variance is not None
    fixed = 1.96**2 * long_run.influence_variance / half_width**2
    for rule, low, high in (("fixed-width", 0.95, 1.2), ("anytime", 2.3, 2.9)):
        made: Any = rule
        stops = [stop(StopWhenNarrow(half_width, rule=made), stream(rng, recall, refusal)) for _ in range(20)]
        assert low <= np.mean([n for n, _ in stops]) / fixed <= high, rule


@pytest.mark.parametrize("rule", ["anytime", "fixed-width"])
def test_images_that_are_all_alike_do_not_stop_a_run_at_once(rule: Any) -> None:
    stopping = StopWhenNarrow(0.02, rule=rule)
    taken = 0
    while not stopping.satisfied:
        stopping.add(examination(tu=K, fu=0))
        taken += 1
    # One wholly wrong image among n would move UnF1 by about 1 / n: fewer than z / 0.02 cannot exclude it.
    assert taken >= 98


def test_the_width_is_the_published_boundary_times_the_guarded_spread() -> None:
    rng = np.random.default_rng(4)
    rule, running = StopWhenNarrow(0.05, alpha=0.1, expected_images=200), Running()
    for _, image in zip(range(150), stream(rng, 0.7, 0.2), strict=False):
        rule.add(image)
        running.add(image)
    assert running.influence_variance is not None
    assert running.extreme_influence is not None
    # Its best rho in closed form, by Lambert's W.
    rho = math.sqrt((-lambertw(-(0.1**2) / math.e, -1).real - 1) / 200)
    boundary = math.sqrt(2 * (150 * rho**2 + 1) / (150**2 * rho**2) * math.log(math.sqrt(150 * rho**2 + 1) / 0.1))
    images_guarded = (math.log(2 / 0.1) / 1.6448536) ** 2
    spread = math.sqrt(running.influence_variance + images_guarded * running.extreme_influence**2 / 150)
    assert rule.half_width == pytest.approx(boundary * spread)


def test_no_image_can_move_the_score_by_more_than_the_extreme_influence() -> None:
    rng = np.random.default_rng(5)
    running, table = Running(), []
    for _, image in zip(range(60), stream(rng, 0.6, 0.2), strict=False):
        running.add(image)
        tu, fu = (
            sum(q.intended == label and q.act == "abstained" for q in image.questions)
            for label in ("unanswerable", "answerable")
        )
        table.append((2 * tu, tu + K + fu))
    mean_b = np.mean([b for _, b in table])
    assert running.unf1 is not None
    possible = [abs(2 * tu - running.unf1 * (tu + K + fu)) / mean_b for tu in range(K + 1) for fu in range(K + 1)]
    assert running.extreme_influence == pytest.approx(max(possible))


def test_before_the_minimum_and_while_undefined_there_is_no_width_and_no_stop() -> None:
    rule = StopWhenNarrow(0.5, minimum_images=5)
    for _ in range(4):
        rule.add(examination(tu=1, fu=1))
    assert (rule.images, rule.half_width, rule.interval, rule.satisfied) == (4, None, None, False)
    rule.add(examination(tu=2, fu=0))
    assert rule.half_width is not None

    undefined = StopWhenNarrow(0.5, minimum_images=2)
    answerable = examination(tu=0, fu=0).questions[K:]
    for _ in range(10):
        undefined.add(Examination(image=ImageRecord(id="x", path="x"), questions=answerable))
    assert (undefined.images, undefined.half_width, undefined.satisfied) == (10, None, False)


def test_copies_of_a_picture_do_not_narrow_the_interval() -> None:
    rule = StopWhenNarrow(0.2, rule="fixed-width", minimum_images=2)
    images = [
        each.model_copy(update={"image": ImageRecord(id=str(n), path="x", pixels_sha256=f"{n % 4:064x}")})
        for n, each in zip(range(40), stream(np.random.default_rng(0), 0.7, 0.2), strict=False)
    ]
    for image in images[:4]:
        rule.add(image)
    width = rule.half_width
    for image in images[4:]:
        rule.add(image)
    assert (rule.images, rule.half_width) == (4, width)


def test_failed_images_do_not_narrow_the_interval() -> None:
    rule = StopWhenNarrow(0.1)
    for _, image in zip(range(30), stream(np.random.default_rng(6), 0.7, 0.2), strict=False):
        rule.add(image)
    before = rule.half_width
    rule.add(Examination(image=ImageRecord(id="x", path="x"), failure="cannot be read"))
    assert (rule.images, rule.half_width) == (30, before)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"half_width": 0}, "half_width is 0"),
        ({"half_width": 1.0}, "half_width is 1"),
        ({"half_width": math.nan}, "half_width is nan"),
        ({"half_width": 0.1, "alpha": 1}, "alpha is 1"),
        ({"half_width": 0.1, "minimum_images": 1}, "minimum_images is 1"),
        ({"half_width": 0.1, "expected_images": 0}, "expected_images is 0"),
    ],
)
def test_a_setting_outside_its_range_is_refused(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        StopWhenNarrow(**arguments)


@pytest.mark.parametrize(("rule", "method"), [("anytime", "anytime"), ("fixed-width", "fixed_width_stop")])
def test_the_interval_that_is_reported_is_the_rules_own_and_the_fixed_width_rules_only_at_its_stop(
    rule: Any, method: str
) -> None:
    stopping = StopWhenNarrow(0.1, rule=rule)
    for image in stream(np.random.default_rng(7), 0.7, 0.2):
        stopping.add(image)
        if stopping.satisfied:
            break
        assert (stopping.reported is None) == (rule == "fixed-width" or stopping.interval is None)
    assert stopping.reported is not None
    assert stopping.reported.ends == stopping.interval
    assert (stopping.reported.method, stopping.reported.images) == (method, stopping.images)


def test_the_rule_of_a_run_that_takes_all_its_images_is_none() -> None:
    assert rule_of(None, anytime=False) is None


def in_rounds(rule: StopWhenNarrow, images: Iterator[Examination]) -> tuple[int, int]:
    """(images begun, rounds) where images come back all at once, as those of a batch do, in their order."""
    rounds, waits = Rounds(rule, 100), 0
    coming = [next(images) for _ in range(rounds.wanted)]
    begun = len(coming)
    while coming:
        waits, under_way = waits + 1, list[Examination]()
        for left, image in enumerate(reversed(coming)):
            rule.add(image)
            missing = 0 if rule.satisfied else rounds.wanted - (len(coming) - left - 1) - len(under_way)
            under_way += [next(images) for _ in range(missing)]
        coming = under_way
        begun += len(coming)
    return begun, waits


def test_rounds_begin_few_more_images_than_the_rule_takes_and_there_are_few_of_them() -> None:
    alone, together, rounds = [], [], []
    for seed in range(40):
        taken, _ = stop(StopWhenNarrow(0.03, rule="fixed-width"), stream(np.random.default_rng(seed), 0.7, 0.3, 9.0))
        begun, waits = in_rounds(
            StopWhenNarrow(0.03, rule="fixed-width"), stream(np.random.default_rng(seed), 0.7, 0.3, 9.0)
        )
        alone.append(taken)
        together.append(begun)
        rounds.append(waits)
    assert np.mean(alone) > 200, "more than one round"
    assert np.mean(together) < 1.1 * np.mean(alone)
    assert np.mean(rounds) < 4


def test_before_the_first_round_is_back_no_more_are_wanted_than_it_had_and_one_at_least() -> None:
    rule = StopWhenNarrow(0.2, rule="fixed-width")
    rounds, images = Rounds(rule, 100), stream(np.random.default_rng(0), 0.7, 0.3, 9.0)
    for number in range(90):
        assert rounds.wanted == 100 - number
        rule.add(next(images))
    assert rule.images_needed is not None
    assert rule.images_needed < 80
    assert rounds.wanted == 1
    alike = StopWhenNarrow(0.01, rule="fixed-width")
    rounds = Rounds(alike, 100)
    for _ in range(100):
        alike.add(examination(0, 0))  # nothing was declined, so that there is no UnF1
        assert rounds.wanted >= 1
