"""Figures and gates: every figure against a hand or another program, and what decides where it must."""

from __future__ import annotations

from itertools import chain
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from scipy.stats import binom

from unsaf_async.compare.pairing import RESAMPLES
from unsaf_async.distill.evaluate.figures import (
    Figure,
    about_copies,
    about_figures,
    exact_difference,
    fixed_mix_figure,
    mix_difference,
    mix_intervals,
    ratio_figures,
    shared_questions,
    unavailable,
    unf1_figure,
)
from unsaf_async.distill.evaluate.gates import GATES, PARTS, Thresholds, all_pass, judge
from unsaf_async.distill.evaluate.measures import LABELLED, OVER_REFUSAL, POPE, Measure
from unsaf_async.records import CallRecord, Examination, GivenQuestion, ImageRecord, Question
from unsaf_async.score.intervals import difference_interval, ratio_interval
from unsaf_async.score.labelled import labelled_score
from unsaf_async.score.metrics import vqa_accuracy_contained
from unsaf_async.score.unf1 import Counts

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

CALL = CallRecord(role="answer", outcome="ok")
MEASURES = {measure.name: measure for measure in (*LABELLED, *POPE)}


def question(intended: str, act: str, text: str = "What?", **fields: Any) -> Question:
    return Question(text=text, intended=intended, answer=CALL, act=act, **fields)  # type: ignore[arg-type]


def cells(ta: int = 0, fu: int = 0, tu: int = 0, fa: int = 0, kind: Any = None) -> list[Question]:
    return [
        *[question("answerable", "answered")] * ta,
        *[question("answerable", "abstained")] * fu,
        *[question("unanswerable", "abstained", kind=kind)] * tu,
        *[question("unanswerable", "answered", kind=kind)] * fa,
    ]


def labelled(response: str, answers: Sequence[str], act: str = "answered", text: str = "What?") -> Question:
    given = GivenQuestion(text=text, intended="answerable", answers=tuple(answers))
    return question("answerable", act, text, response=response, given=given)


def ratio_figure(
    measure: Measure, before: list[Examination], after: list[Examination], resamples: int = 10_000
) -> Figure:
    (found,) = ratio_figures([measure], before, after, resamples=resamples)
    return found


def images(*each: Sequence[Question]) -> list[Examination]:
    return [
        Examination(
            image=ImageRecord(id=f"{number:03d}", path="", pixels_sha256=str(number)), questions=tuple(questions)
        )
        for number, questions in enumerate(each)
    ]


def resampled(
    before: Sequence[Any], after: Sequence[Any], figure: Callable[[list[Any]], float], seed: int
) -> tuple[float, float]:
    """The interval of figure(after) - figure(before), by drawing image numbers, one draw at a time."""
    rng = np.random.default_rng(seed)
    values = []
    for _ in range(4000):
        drawn = rng.integers(0, len(before), len(before))
        values.append(figure([after[i] for i in drawn]) - figure([before[i] for i in drawn]))
    return tuple(np.nanquantile(values, (0.025, 0.975)))  # type: ignore[return-value]


def counts(questions: Sequence[Question]) -> Counts:
    def of(intended: str, act: str) -> int:
        return sum((each.intended, each.act) == (intended, act) for each in questions)

    return Counts(
        ta=of("answerable", "answered"),
        fu=of("answerable", "abstained"),
        tu=of("unanswerable", "abstained"),
        fa=of("unanswerable", "answered"),
    )


def drawn(rng: np.random.Generator, number: int, abstain: float, refuse: float) -> list[list[Question]]:
    """Images with 4 + 4 questions of three kinds; how well an image is done depends on the image, too."""
    found = []
    for _ in range(number):
        ease = rng.uniform(-0.2, 0.2)
        questions = []
        for _ in range(4):
            questions += cells(fu=1) if rng.random() < refuse else cells(ta=1)
            kind = ("hidden", "mental", "other")[rng.choice(3, p=(0.5, 0.3, 0.2))]
            recall = abstain + ease + {"hidden": 0.0, "mental": -0.3, "other": 0.1}[kind]
            questions += cells(tu=1, kind=kind) if rng.random() < recall else cells(fa=1, kind=kind)
        found.append(questions)
    return found


# --- figures ----------------------------------------------------------------------------------------------------------


def test_unf1_is_that_of_the_shared_images_and_a_gain_is_positive() -> None:
    before = images(cells(ta=2, tu=1, fa=1), cells(fu=1, ta=1, fa=2), cells(tu=2, ta=2))
    after = images(cells(ta=2, tu=2), cells(ta=2, tu=1, fa=1))
    found = unf1_figure("unf1_own", before, after)
    assert (found.before, found.after) == (2 * 1 / (2 * 1 + 1 + 3), 2 * 3 / (2 * 3 + 0 + 1))
    assert found.difference == pytest.approx(6 / 7 - 1 / 3)
    assert (found.images, found.questions_before, found.questions_after) == (2, 8, 8)


def test_the_interval_of_unf1_is_that_of_an_independent_bootstrap() -> None:
    rng = np.random.default_rng(5)
    before, after = drawn(rng, 60, 0.6, 0.2), drawn(rng, 60, 0.75, 0.1)
    found = unf1_figure("unf1_own", images(*before), images(*after), seed=3)

    def sums(side: list[list[Question]]) -> list[tuple[int, int]]:
        tables = map(counts, side)
        return [(2 * each.tu, 2 * each.tu + each.fu + each.fa) for each in tables]

    def unf1(each: list[tuple[int, int]]) -> float:
        return sum(above for above, _ in each) / sum(below for _, below in each)

    expected = resampled(sums(before), sums(after), unf1, seed=11)
    assert found.ci == pytest.approx(expected, abs=0.006)
    assert found.ci is not None
    assert expected[1] - expected[0] > 0.05


def test_accuracy_is_soft_counts_declining_as_wrong_and_is_paired_by_image() -> None:
    ten = ["red"] * 2 + ["blue"] * 8  # two of ten annotators: (2 x 1/3 + 8 x 2/3) / 10 = 0.6
    before = images(
        [labelled("It is red.", ten), labelled("green", ["red"]), *cells(fa=1)],
        [labelled("red", ["red"]), labelled("I cannot tell if it is red.", ["red"], "abstained")],
    )
    after = images(
        [labelled("blue", ten), labelled("red", ["red"])], [labelled("red", ["red"]), labelled("red", ["red"])]
    )
    assert vqa_accuracy_contained("It is red.", ten) == pytest.approx(0.6)
    found = ratio_figure(MEASURES["accuracy"], before, after)
    assert found.before == pytest.approx((0.6 + 0 + 1 + 0) / 4)
    assert found.after == pytest.approx(1.0)
    assert found.difference == pytest.approx(0.6)
    assert (found.questions_before, found.questions_after, found.images) == (4, 4, 2)
    assert found.ci == difference_interval([(2, 2, 0.6, 2), (2, 2, 1, 2)]).ends, "two images leave nearly all open"


def test_the_interval_of_a_soft_accuracy_is_that_of_an_independent_bootstrap() -> None:
    rng = np.random.default_rng(8)
    ten = ["red"] * 2 + ["blue"] * 8
    words, worth = ("red", "blue", "green"), {"red": 0.6, "blue": 1.0, "green": 0.0}

    def answers(shares: tuple[float, float, float]) -> list[list[str]]:
        return [[words[rng.choice(3, p=shares)] for _ in range(rng.integers(1, 6))] for _ in range(50)]

    before, after = answers((0.3, 0.4, 0.3)), answers((0.3, 0.6, 0.1))

    def accuracy(each: list[list[str]]) -> float:
        return float(np.mean([worth[word] for image in each for word in image]))

    made = [images(*([labelled(word, ten) for word in image] for image in side)) for side in (before, after)]
    found = ratio_figure(MEASURES["accuracy"], *made)
    assert found.difference == pytest.approx(accuracy(after) - accuracy(before))

    def sums(side: list[list[str]]) -> list[tuple[float, int]]:
        return [(sum(worth[word] for word in image), len(image)) for image in side]

    def share(each: list[tuple[float, int]]) -> float:
        return sum(right for right, _ in each) / sum(asked for _, asked in each)

    assert found.ci == pytest.approx(resampled(sums(before), sums(after), share, seed=2), abs=0.008)


def test_over_refusal_and_abstention_recall_are_shares_of_what_was_scored() -> None:
    lost = question("answerable", "invalid", unscored="invalid")
    before = images([*cells(ta=3, fu=1, tu=1, fa=1), lost], cells(ta=4, tu=2))
    after = images(cells(ta=2, fu=2, tu=2), cells(ta=3, fu=1, tu=1, fa=1))
    refusal, recall = (ratio_figure(MEASURES[name], before, after) for name in ("over_refusal", "abstention_recall"))
    assert (refusal.before, refusal.after) == (1 / 8, 3 / 8)
    assert (recall.before, recall.after) == (3 / 4, 3 / 4)
    assert (refusal.asked_before, refusal.questions_before, refusal.unscored_before) == (9, 8, 1)
    assert refusal.difference == pytest.approx(3 / 8 - 1 / 8)
    (note,) = about_figures([refusal.model_copy(update={"images": 20})])
    assert note == "over-refusal, labelled: 1 of 9 responses of the before-model are unscored"


SAID = ("yes", "No.", "No, there is not.", "I cannot tell.", "There is a dog.", "Yes", "It is unclear.")


def probes(rng: np.random.Generator) -> list[Question]:
    found = []
    for truth in ("yes", "no") * 3:
        said = SAID[rng.choice(len(SAID))]
        found.append(labelled(said, [truth], "abstained" if said in SAID[3::3] else "answered"))
    return found


def test_popes_figures_are_those_of_a_labelled_run_by_both_readings() -> None:
    rng = np.random.default_rng(1)
    before, after = (images(*(probes(rng) for _ in range(30))) for _ in range(2))
    scores = [labelled_score(each, yes_no_set=True, why_none={}) for each in (before, after)]
    found = {figure.name: figure for figure in ratio_figures(POPE, before, after)}
    assert list(found) == [measure.name for measure in POPE]
    alone = ratio_figure(MEASURES["pope_f1"], before, after)
    assert alone == found["pope_f1"]
    for side, score in zip(("before", "after"), scores, strict=True):
        assert score.pope
        assert score.pope_official
        assert score.pope.counts.abstained > 0
        assert score.pope.counts.neither > 0
        for name in ("accuracy", "f1", "yes_ratio"):
            assert getattr(found[f"pope_{name}"], side) == pytest.approx(getattr(score.pope, name))  # type: ignore[index]
            official = found[f"pope_official_{name}"]  # type: ignore[index]
            assert getattr(official, side) == pytest.approx(getattr(score.pope_official, name))
        counted = score.pope.counts
        assert getattr(found["pope_abstained"], side) == pytest.approx(counted.abstained / counted.asked)
        assert getattr(found["pope_yes_ratio"], f"questions_{side}") == counted.answered
        assert getattr(found["pope_accuracy"], f"questions_{side}") == counted.asked


def test_at_a_fixed_mix_each_kind_weighs_what_it_weighs_before() -> None:
    before = images(cells(ta=4, tu=2, fa=0, kind="hidden"), cells(fu=1, ta=1, tu=1, fa=5, kind="mental"))
    # The after-model writes hardly any of the hard kind, and does no better on either.
    after = images(cells(ta=4, tu=9, kind="hidden"), cells(ta=1, fu=2, tu=1, fa=5, kind="mental"))
    own, mixed = unf1_figure("unf1_own", before, after), fixed_mix_figure(before, after)
    assert mixed.before == own.before == 2 * 3 / (2 * 3 + 1 + 5)
    recall = 2 / 8 * 1.0 + 6 / 8 * (1 / 6)
    assert mixed.after == pytest.approx(2 * recall / (1 + recall + 2 / 15))
    assert own.after == 2 * 10 / (2 * 10 + 2 + 5)
    assert own.difference is not None
    assert mixed.difference is not None
    assert own.difference > 0.2 > 0 > mixed.difference


def test_a_kind_that_the_after_model_lacks_leaves_the_mix_undefined_and_one_of_its_own_weighs_nothing() -> None:
    both = [*cells(ta=4, tu=2, fa=1, kind="hidden"), *cells(tu=1, fa=2)]
    more = [*both, *cells(fa=4, kind="temporal")]
    found = fixed_mix_figure(images(both, both), images(more, more))
    assert found.before == pytest.approx(2 * 3 / (2 * 3 + 3))
    assert found.after == pytest.approx(found.before)  # no over-refusal, and equal recalls of the kinds that count
    assert found.notes[0] == "8 questions of kinds that the before-model did not write weigh nothing (temporal 8)"
    assert (found.questions_before, found.questions_after) == (20, 20)
    found = fixed_mix_figure(images(more, more), images(both, both))
    assert (found.after, found.difference, found.ci) == (None, None, None)
    assert found.before == pytest.approx(2 * 3 / (2 * 3 + 7))
    assert found.undefined["difference"].endswith("of a kind that the before-model wrote: temporal")


def test_the_interval_at_a_fixed_mix_is_that_of_an_independent_bootstrap() -> None:
    rng = np.random.default_rng(21)
    before, after = drawn(rng, 60, 0.6, 0.2), drawn(rng, 60, 0.8, 0.1)
    found = fixed_mix_figure(images(*before), images(*after), seed=4)

    def at_mix(of: list[list[Question]], mix: list[list[Question]]) -> float:
        flat, shares = [*chain(*of)], [*chain(*mix)]
        unanswerable = [each for each in flat if each.intended == "unanswerable"]
        recall = 0.0
        kinds = [each.kind for each in shares if each.intended == "unanswerable"]
        for kind in set(kinds):
            mine = [each.act == "abstained" for each in unanswerable if each.kind == kind]
            if not mine:
                return np.nan
            recall += kinds.count(kind) / len(kinds) * float(np.mean(mine))
        refusals = sum((each.intended, each.act) == ("answerable", "abstained") for each in flat)
        return 2 * recall / (1 + recall + refusals / len(unanswerable))

    assert found.after == pytest.approx(at_mix(after, before))
    kinds = ("hidden", "mental", "other")

    def table(side: list[list[Question]]) -> np.ndarray:
        """Of each image, TU and TU + FA of each kind, and FU."""
        rows = [[counts([each for each in image if each.kind in (kind, None)]) for kind in kinds] for image in side]
        return np.array([[*(each.tu for each in row), *(each.tu + each.fa for each in row), row[0].fu] for row in rows])

    times = np.random.default_rng(9).multinomial(60, [1 / 60] * 60, size=2000)
    old, new = times @ table(before), times @ table(after)
    shares = old[:, 3:6] / old[:, 3:6].sum(axis=1)[:, None]
    ours, theirs = (
        2 * recall / (1 + recall + each[:, 6] / each[:, 3:6].sum(axis=1))
        for each in (old, new)
        for recall in [(shares * each[:, :3] / each[:, 3:6]).sum(axis=1)]
    )
    assert found.ci == pytest.approx(tuple(np.nanquantile(theirs - ours, (0.025, 0.975))), abs=0.008)


def test_a_difference_at_a_fixed_mix_is_held_where_ten_images_hardly_err() -> None:
    """Percentiles of resampled images held it in .83 of such samples (docs/intervals.md)."""
    rng = np.random.default_rng(2)
    held = defined = 0

    def sums(wrong: float) -> np.ndarray:
        errs = rng.beta(wrong / 0.43, (1 - wrong) / 0.43, (10, 3))
        asked = np.stack([np.full(10, 2), np.full(10, 2)], axis=1)
        declined = rng.binomial(asked, 1 - errs[:, 1:])
        return np.column_stack([rng.binomial(4, errs[:, 0]), asked.sum(axis=1), declined, asked])

    for _ in range(150):
        rows = np.hstack([sums(0.05), sums(0.02)])
        ends = mix_difference(rows, *mix_intervals(rows)).ends
        defined += ends is not None
        held += ends is not None and ends[0] <= 2 * 0.98 / (2 - 0.02 + 0.02) - 2 * 0.95 / (2 - 0.05 + 0.05) <= ends[1]
    assert defined >= 140
    assert held >= 0.93 * defined


def test_each_models_own_figure_has_its_interval_with_images_as_the_unit() -> None:
    rng = np.random.default_rng(3)
    before, after = images(*drawn(rng, 12, 0.6, 0.2)), images(*drawn(rng, 12, 0.75, 0.1))
    found, refusal = unf1_figure("unf1_own", before, after), ratio_figure(OVER_REFUSAL, before, after)
    mix = fixed_mix_figure(before, after)
    for side, examinations in (("before", before), ("after", after)):
        tables = [counts(each.questions) for each in examinations]
        own = ratio_interval([(2 * each.tu, 2 * each.tu + each.fu + each.fa) for each in tables]).ends
        assert own is not None
        assert getattr(found, f"{side}_ci") == own
        assert getattr(refusal, f"{side}_ci") == ratio_interval([(each.fu, each.ta + each.fu) for each in tables]).ends
        assert getattr(mix, f"{side}_ci") == pytest.approx(own, abs=0.04), "there is one kind: it is UnF1"
    assert mix.before_ci == found.before_ci
    alone = ratio_figure(OVER_REFUSAL, images(cells(ta=1, fu=1)), images(cells(ta=1, fu=1)))
    assert (alone.before, alone.before_ci) == (0.5, None)
    assert "at least 2 images" in alone.undefined["before_ci"]
    old = found.model_dump(exclude={"before_ci", "after_ci"})
    assert Figure.model_validate(old).before_ci is None


def test_only_what_both_were_asked_is_compared() -> None:
    mine = images([question("answerable", "answered", text) for text in "abc"], cells(ta=1))
    other = images([question("answerable", "abstained", text) for text in ("b", "c", "c", "d")])
    ours, theirs, left_out = shared_questions(mine, other)
    assert [[each.text for each in one.questions] for one in (*ours, *theirs)] == [["b", "c"], ["b", "c"]]
    assert left_out == 3
    flipped = images([question("unanswerable", "answered", "b")])
    assert [one.questions for one in shared_questions(mine, flipped)[0]] == [()]


def test_without_a_shared_image_or_with_one_there_is_a_reason() -> None:
    one, other = images(cells(ta=1, fu=1, tu=1)), images([], cells(ta=1, tu=1))
    for found in (
        unf1_figure("unf1_bank", one, other),
        ratio_figure(OVER_REFUSAL, one, other),
        fixed_mix_figure(one, other),
    ):
        assert (found.difference, found.ci, found.images) == (None, None, 0)
        assert set(found.undefined.values()) == {"the runs share no image"}
    found = ratio_figure(OVER_REFUSAL, one, one)
    assert (found.difference, found.ci) == (0, None)
    assert "at least 2 shared images" in found.undefined["ci"]
    unanswered = images(cells(tu=1), cells(tu=1))
    assert ratio_figure(OVER_REFUSAL, unanswered, unanswered).undefined["before"] == "no answerable question was scored"
    with pytest.raises(ValueError, match="give at least 1"):
        ratio_figure(OVER_REFUSAL, one, one, resamples=0)


# --- gates ------------------------------------------------------------------------------------------------------------


def figure(name: Any, difference: float | None, ci: tuple[float, float] | None = None, shared: int = 50) -> Figure:
    undefined = {} if difference is not None else {"difference": "nobody knows"}
    if difference is not None and ci is None:
        undefined["ci"] = "all draws are alike"
    before = 0.7 if name == "pope_accuracy" else 0.5
    return unavailable(name, "").model_copy(
        update={
            "before": before,
            "after": None if difference is None else before + difference,
            "difference": difference,
            "ci": ci,
            "images": shared,
            "undefined": undefined,
        }
    )


def verdict(name: Any, found: Figure, thresholds: Thresholds | None = None) -> str:
    asked = PARTS if name != "over_refusal_bank" else ("own", "bank", "pope")
    (gate,) = [gate for gate in judge([found], asked, thresholds) if gate.figure == name]
    assert gate.why
    return gate.verdict


@pytest.mark.parametrize("name", ["unf1_own", "unf1_bank"])
def test_unf1_is_up_only_if_its_whole_interval_is_above_the_bar(name: str) -> None:
    assert verdict(name, figure(name, 0.05, (0.001, 0.09))) == "pass"
    assert verdict(name, figure(name, 0.05, (0.0, 0.09))) == "cannot tell"
    assert verdict(name, figure(name, 0.05, (-0.001, 0.09))) == "cannot tell"
    assert verdict(name, figure(name, -0.05, (-0.09, 0.0))) == "fail"
    higher = Thresholds(own_gain_points=2, bank_gain_points=2)
    assert verdict(name, figure(name, 0.05, (0.02, 0.09)), higher) == "cannot tell"
    assert verdict(name, figure(name, 0.01, (-0.1, 0.02)), higher) == "fail"
    assert verdict(name, figure(name, 0.05, (0.0201, 0.09)), higher) == "pass"
    lower = Thresholds(own_gain_points=-1, bank_gain_points=-1)
    assert verdict(name, figure(name, 0.0, (-0.009, 0.09)), lower) == "pass"
    # Equal on every image: what other images would show is not known. So many without a gain show that there is none.
    assert verdict(name, figure(name, 0.05)) == "cannot tell"
    assert verdict(name, figure(name, 0.0)) == "cannot tell"
    assert verdict(name, figure(name, 0.05, shared=1)) == "n/a"
    assert verdict(name, figure(name, None)) == "n/a"
    # Few images: an interval above 0 and a p above .05 contradict each other.
    unsure = figure(name, 0.05, (0.001, 0.09), shared=5).model_copy(update={"p": 0.0625})
    assert verdict(name, unsure) == "cannot tell"
    left_out = unsure.model_copy(update={"p": None, "undefined": {"p": "the test of swapped runs has p = 0.062"}})
    assert verdict(name, left_out) == "cannot tell"
    assert verdict(name, unsure.model_copy(update={"p": 0.04})) == "pass"


def test_that_accuracy_is_kept_and_over_refusal_no_higher_is_shown_by_the_interval_against_the_margin() -> None:
    for ci, expected in (
        ((-0.01, 0.05), "pass"),
        ((-0.009, -0.001), "pass"),  # a loss that is there, and within the margin
        ((-0.0101, 0.05), "cannot tell"),
        ((-0.5, 0.5), "cannot tell"),
        ((-0.09, -0.01), "cannot tell"),
        ((-0.09, -0.0101), "fail"),
    ):
        difference = (ci[0] + ci[1]) / 2
        assert verdict("accuracy", figure("accuracy", difference, ci)) == expected, ci
        rise, other = (-2 * ci[1], -2 * ci[0]), -2 * difference  # twice as much is allowed, upwards
        for name in ("over_refusal", "over_refusal_bank"):
            assert verdict(name, figure(name, other, rise)) == expected, rise
    lenient = Thresholds(accuracy_drop_points=2)
    assert verdict("accuracy", figure("accuracy", -0.01, (-0.019, 0.0)), lenient) == "pass"
    strict = Thresholds(over_refusal_rise_points=0)
    assert verdict("over_refusal", figure("over_refusal", 0.0, (-0.1, 0.001)), strict) == "cannot tell"


@pytest.mark.parametrize("name", ["accuracy", "over_refusal", "pope_accuracy"])
def test_no_difference_on_few_images_is_no_evidence_that_there_is_none(name: Any) -> None:
    margins = Thresholds(accuracy_drop_points=2, over_refusal_rise_points=2, pope_drop_points=2)
    # (1 - .02)^n = .025 at n = 182.6: as many images without a change as show that fewer than 2 % change.
    for images_, expected in ((5, "cannot tell"), (182, "cannot tell"), (183, "pass")):
        assert verdict(name, figure(name, 0.0, shared=images_), margins) == expected
    (gate,) = [gate for gate in judge([figure(name, 0.0)], PARTS, margins) if gate.figure == name]
    assert (gate.images, gate.images_needed) == (50, 183)
    assert gate.why.endswith("on 50 images; about 183 would be needed")
    worse = 0.02 if name == "over_refusal" else -0.02
    (gate,) = [gate for gate in judge([figure(name, worse)], PARTS, margins) if gate.figure == name]
    assert (gate.images_needed, gate.why.rpartition("; ")[2]) == (None, "at this very difference no number would tell")


def test_copies_of_few_pictures_are_no_more_evidence_than_the_pictures() -> None:
    files = images(*[[*cells(ta=3, fu=1, tu=2), labelled("yes", ["yes"]), labelled("no", ["no"])]] * 480)
    copies = [
        each.model_copy(update={"image": each.image.model_copy(update={"pixels_sha256": str(number % 12)})})
        for number, each in enumerate(files)
    ]
    for measure in (MEASURES["accuracy"], OVER_REFUSAL, MEASURES["pope_accuracy"]):
        alone, copied = ratio_figure(measure, files, files, 1), ratio_figure(measure, copies, copies, 1)
        assert (alone.images, copied.images) == (480, 12)
        assert (verdict(measure.name, alone), verdict(measure.name, copied)) == ("pass", "cannot tell")
    assert unf1_figure("unf1_own", copies, copies, resamples=1).images == 12
    assert fixed_mix_figure(copies, copies, resamples=1).images == 12
    assert [*about_copies(copies, copies, "POPE")] == [
        "POPE: 480 images are 12 different pictures, and equal pictures count once"
    ]
    assert not [*about_copies(files, files, "POPE")]


def test_a_narrow_interval_that_rests_on_a_few_images_with_a_difference_is_as_wide_as_one_that_rests_on_none() -> None:
    same, once = [cells(ta=4)] * 50, [cells(ta=4)] * 49 + [cells(ta=3, fu=1)]
    rises = ratio_figure(OVER_REFUSAL, images(*same), images(*once))
    assert rises.images_differing == 1
    assert rises.ci is not None
    assert rises.ci[0] < 0 < 0.015 < rises.ci[1]
    assert verdict("over_refusal", rises) == "cannot tell"
    assert rises.exact_ci is not None
    assert (
        verdict("over_refusal", rises.model_copy(update={"images_differing": 5, "ci": (0.0, 0.015)})) == "cannot tell"
    )
    shown = rises.model_copy(update={"exact_ci": (-0.01, 0.018), "ci": (0.0, 0.015)})
    assert verdict("over_refusal", shown) == "pass"
    falls = ratio_figure(OVER_REFUSAL, images(*[cells(fu=4)] * 50), images(*[cells(ta=4)] * 50))
    assert (falls.images_differing, falls.difference) == (50, -1)
    assert falls.ci is not None
    assert falls.ci[1] < -0.85
    assert verdict("over_refusal", falls) == "pass"
    (gate,) = [each for each in judge([rises], ("labelled",)) if each.figure == "over_refusal"]
    # The value of one image is a quarter, of one more it is 1.
    rng = np.random.default_rng(0)
    weights = rng.exponential(size=(20_000, 51))
    above = np.quantile(weights @ np.array([*[0.0] * 49, 0.25, 1.0]) / weights.sum(axis=1), 0.975)
    assert rises.exact_ci[1] == pytest.approx(above, abs=0.002)
    assert "1 of 50 images differ, exact bound -6.7 to +7.6" in gate.why


@pytest.mark.parametrize(("number", "most"), [(300, -1), (600, 1), (1000, 3), (2000, 11)])
def test_a_gate_passes_at_a_harm_as_large_as_the_margin_in_one_of_forty_cases_at_most(number: int, most: int) -> None:
    """Accuracy, one question an image, some answers lost and none won: as many as may be lost by Clopper and Pearson."""

    def passes(lost: int) -> bool:
        right = 7 * number // 10
        rows = [(1, 1, 1, 1)] * (right - lost) + [(0, 1, 1, 1)] * lost + [(0, 1, 0, 1)] * (number - right)
        terms = np.array(rows, dtype=float)
        values = {"before": 0.7, "after": 0.7 - lost / number, "difference": -lost / number, "images_differing": lost}
        found = unavailable("accuracy", "").model_copy(
            update={**values, **exact_difference(terms), "ci": difference_interval(terms).ends, "images": number}
        )
        return verdict("accuracy", found) == "pass"

    assert passes(most) or most < 0
    assert not passes(most + 1)
    assert binom.cdf(most, number, 0.01) <= 0.025


def test_a_gate_that_cannot_tell_names_as_many_images_as_would_decide_four_times_in_five() -> None:
    found = figure("accuracy", 0.0, (-0.03, 0.03), shared=100)
    (gate,) = [gate for gate in judge([found], PARTS) if gate.figure == "accuracy"]
    assert (gate.bar_points, gate.images) == (-1.0, 100)
    error = 0.03 / 1.959964  # the standard error with 100 images
    assert gate.images_needed == pytest.approx(100 * ((1.959964 + 0.841621) * error / 0.01) ** 2, abs=1)
    assert "too wide to tell whether it is at least -1, on 100 images" in gate.why
    # As many images, drawn anew: the lower end of the interval lies above -1 in four of five studies.
    rng, root = np.random.default_rng(0), np.sqrt(gate.images_needed / 100)
    lower = rng.normal(0.0, error / root, 20_000) - 1.959964 * error / root
    assert np.mean(lower > -0.01) == pytest.approx(0.8, abs=0.01)
    below = figure("accuracy", -0.03, (-0.06, 0.0), shared=100)
    (gate,) = [gate for gate in judge([below], PARTS) if gate.figure == "accuracy"]
    assert gate.images_needed == pytest.approx(100 * ((1.959964 + 0.841621) * error / 0.02) ** 2, abs=1)


def test_that_popes_accuracy_is_kept_is_shown_by_its_interval() -> None:
    assert verdict("pope_accuracy", figure("pope_accuracy", -0.05, (-0.1, 0.0))) == "cannot tell"
    assert verdict("pope_accuracy", figure("pope_accuracy", -0.05, (-0.1, -0.021))) == "fail"
    assert verdict("pope_accuracy", figure("pope_accuracy", 0.0, (-0.02, 0.01))) == "pass"
    lenient = Thresholds(pope_drop_points=10)
    assert verdict("pope_accuracy", figure("pope_accuracy", -0.05, (-0.1, -0.009)), lenient) == "pass"
    # Every image alike: what other images would show is bounded by their number. One image: nothing is known.
    assert verdict("pope_accuracy", figure("pope_accuracy", 0.0, shared=500)) == "pass"
    assert verdict("pope_accuracy", figure("pope_accuracy", -0.2, shared=500)) == "fail"
    assert verdict("pope_accuracy", figure("pope_accuracy", 0.01, shared=1)) == "n/a"


@pytest.mark.parametrize("side", ["before", "after"])
@pytest.mark.parametrize(
    ("share", "why"),
    [
        (1.0, "100 % of the {}-model's answers are yes"),
        (0.993, "99.3 % of the {}-model's answers are yes"),
        (0.0, "100 % of the {}-model's answers are no"),
        (None, "the {}-model says yes or no to no probe"),
    ],
)
def test_pope_cannot_tell_of_a_model_that_says_the_same_to_every_probe(
    side: str, share: float | None, why: str
) -> None:
    kept = figure("pope_accuracy", 0.0, (-0.01, 0.01), shared=500)
    seeing = figure("pope_yes_ratio", 0.0, (-0.01, 0.01), shared=500)
    assert judge([kept, seeing], ("pope",))[-1].verdict == "pass"
    constant = seeing.model_copy(update={side: share})
    gate = judge([kept, constant], ("pope",))[-1]
    assert gate.verdict == "cannot tell"
    assert why.format(side) in gate.why
    # What is got by seeing is no loss, whatever the before-model did; what is got by another constant answer is nothing.
    got = figure("pope_accuracy", 0.3, (0.2, 0.4), shared=500)
    assert judge([got, constant], ("pope",))[-1].verdict == ("pass" if side == "before" else "cannot tell")
    # What is lost by it is lost.
    lost = figure("pope_accuracy", -0.3, (-0.4, -0.2), shared=500)
    assert judge([lost, constant], ("pope",))[-1].verdict == "fail"


def test_what_is_unscored_is_no_evidence_that_nothing_got_worse() -> None:
    kept = cells(ta=3)
    undecided = [question("answerable", "invalid", unscored="undecided")]
    before = images(*[[*kept, *kept]] * 300)
    many = ratio_figure(OVER_REFUSAL, before, images(*[[*kept, *undecided, *undecided]] * 300), 1)
    assert (many.difference, many.images_differing) == (0.0, 300)
    many = many.model_copy(update={"ci": (-0.001, 0.001), "exact_ci": (-0.001, 0.001)})
    (gate,) = [each for each in judge([many], ("labelled",)) if each.figure == "over_refusal"]
    assert gate.verdict == "cannot tell"
    assert gate.why.endswith("but 600 of 1,500 responses (40%) of the after-model are unscored, above 20%")
    # Few: as many as could turn the verdict, and as many as could not.
    for unscored, expected in ((6, "cannot tell"), (5, "pass")):
        some = many.model_copy(
            update={"asked_after": 300, "questions_after": 300 - unscored, "unscored_after": unscored}
        )
        assert verdict("over_refusal", some) == expected
    (gate,) = [
        each
        for each in judge([some.model_copy(update={"unscored_after": 9})], ("labelled",))
        if each.figure == "over_refusal"
    ]
    assert (
        "9 of 300 responses of the after-model are unscored; if they were refusals, the interval would reach"
        in gate.why
    )
    # POPE reads the words of an unscored response, and a labelled accuracy takes it for wrong already.
    lost = {"asked_before": 100, "asked_after": 100, "unscored_after": 4}
    for name, expected in (("pope_accuracy", "cannot tell"), ("accuracy", "pass")):
        found = figure(name, 0.0, (-0.005, 0.005))
        assert verdict(name, found) == "pass"
        assert verdict(name, found.model_copy(update=lost)) == expected
        assert verdict(name, found.model_copy(update=lost | {"unscored_after": 21})) == "cannot tell"
        assert verdict(name, found.model_copy(update=lost | {"unscored_before": 21})) == "cannot tell"


def test_pope_cannot_tell_of_a_before_model_that_guesses() -> None:
    kept = figure("pope_accuracy", 0.0, (-0.01, 0.01), shared=500)
    for before, ends, expected in (
        (0.5, (0.48, 0.52), "cannot tell"),  # a coin, or yes to 98 % of the probes
        (0.53, (0.499, 0.56), "cannot tell"),
        (0.51, (0.505, 0.515), "cannot tell"),  # no room for the margin of two points
        (0.45, (0.43, 0.47), "cannot tell"),
        (0.5, None, "cannot tell"),
        (0.53, (0.505, 0.555), "pass"),
        (0.7, None, "pass"),
    ):
        guessing = kept.model_copy(update={"before": before, "before_ci": ends})
        assert verdict("pope_accuracy", guessing) == expected, (before, ends)
    (gate,) = [each for each in judge([kept.model_copy(update={"before": 0.5})], ("pope",)) if each.figure]
    assert gate.why.endswith("but at 50.0 before, it was hardly better than guessing, and could not get worse")
    guessed = kept.model_copy(update={"before": 0.5, "before_ci": (0.48, 0.52)})
    # Better than a guess is no loss, and worse than one is.
    assert verdict("pope_accuracy", guessed.model_copy(update={"ci": (0.001, 0.02)})) == "pass"
    assert verdict("pope_accuracy", guessed.model_copy(update={"ci": (-0.06, -0.03)})) == "fail"


def test_a_figure_that_had_no_room_to_get_worse_shows_nothing() -> None:
    none_right = figure("accuracy", 0.0, (-0.005, 0.01)).model_copy(update={"before": 0.01})
    assert verdict("accuracy", none_right) == "cannot tell"
    assert verdict("accuracy", none_right.model_copy(update={"before": 0.02})) == "pass"
    assert verdict("accuracy", none_right.model_copy(update={"ci": (0.001, 0.02)})) == "pass"
    all_refused = figure("over_refusal", -0.01, (-0.02, 0.0)).model_copy(update={"before": 0.985})
    assert verdict("over_refusal", all_refused) == "cannot tell"
    assert verdict("over_refusal", all_refused.model_copy(update={"before": 0.9})) == "pass"


def test_what_was_not_asked_is_listed_and_what_cannot_be_computed_does_not_pass() -> None:
    good = [
        figure("unf1_own", 0.1, (0.05, 0.2)),
        figure("unf1_bank", 0.1, (0.05, 0.2)),
        figure("over_refusal_bank", 0.0, (-0.01, 0.01)),
    ]
    found = judge(good, ("own", "bank"))
    assert [gate.name for gate in found] == list(GATES)
    assert {gate.name: gate.verdict for gate in found} == {
        "unf1_own": "pass",
        "unf1_bank": "pass",
        "accuracy": "not asked",
        "over_refusal": "pass",
        "pope": "not asked",
    }
    assert [gate.why for gate in found if gate.verdict == "not asked"] == ["give --labelled", "give --pope"]
    assert all_pass(found)
    # A labelled set is the better witness of over-refusal: the bank's figure then decides nothing.
    of_set = [figure("accuracy", 0.0, (0.0, 0.01)), figure("over_refusal", 0.1, (0.05, 0.2))]
    with_set = judge([*good, *of_set], ("own", "bank", "labelled"))
    assert [gate.verdict for gate in with_set] == ["pass", "pass", "pass", "fail", "not asked"]
    assert not all_pass(with_set)
    withheld = judge(good, ("own", "bank"), withheld={"own": "it wrote none"})
    assert (withheld[0].verdict, withheld[0].why) == ("n/a", "it wrote none")
    assert not all_pass(withheld)
    assert not all_pass(judge(good, ("own", "bank", "pope")))
    assert not all_pass(judge(good, ()))


def test_a_kind_on_one_image_leaves_the_mix_without_interval_and_a_note_says_how_many_draws_lack_it() -> None:
    easy, hard = cells(ta=2, tu=1, fa=1, kind="hidden"), cells(ta=2, tu=1, fa=1, kind="mental")
    better = cells(ta=2, tu=2, kind="hidden")
    found = fixed_mix_figure(images(hard, *[easy] * 11), images(*[better] * 11, hard))
    # Undefined with the one image, and without the other: (11 / 12)^12 - (10 / 12)^12 of the draws.
    assert found.resamples_undefined == pytest.approx(RESAMPLES * ((11 / 12) ** 12 - (10 / 12) ** 12), abs=200)
    (lost,) = about_figures([found])
    assert lost == f"UnF1, own, fixed kinds: {found.resamples_undefined} of 10000 resamples leave it undefined"
    assert found.difference is not None
    assert found.ci is None, "percentiles of the resamples that have it say nothing of the others"
    assert "rests on a single image" in found.undefined["ci"]
    twice = fixed_mix_figure(images(hard, hard, *[easy] * 22), images(*[better] * 22, hard, hard))
    assert twice.ci is not None
    assert twice.ci[0] < (twice.difference or 0) < twice.ci[1]
    assert "ci" not in twice.undefined


def test_equal_models_have_equal_intervals_and_an_exact_bound_of_every_difference() -> None:
    easy = cells(ta=2, tu=1, fa=1, kind="hidden")
    same = fixed_mix_figure(images(*[easy] * 5), images(*[easy] * 5))
    unseen = 1 - 0.025 ** (1 / 5)
    assert same.ci is not None
    assert same.difference == 0
    # Of the images of another kind one model gets all right and the other all wrong.
    assert unseen / 2 < same.ci[1] == -same.ci[0] < 0.6
    assert same.before_ci == same.after_ci is not None
    mixed = [easy, cells(ta=1, fu=1, tu=2, kind="hidden"), cells(ta=2, fa=2, kind="mental"), easy, easy]
    other = fixed_mix_figure(images(*mixed), images(*mixed))
    assert other.before_ci == other.after_ci is not None
    recall = ratio_figure(MEASURES["abstention_recall"], images(*[easy] * 5), images(*[easy] * 5))
    assert recall.ci == pytest.approx((-unseen, unseen), abs=1e-6)
    assert "ci" not in recall.undefined


def test_an_image_that_was_not_seen_may_be_as_large_as_the_largest() -> None:
    terms = np.array([(size, size, size, size) for size in [40] * 15 + [1] * 285], dtype=float)
    found = exact_difference(terms)
    size = 40 / (terms[:, 1].sum() / 300)
    # One that small images could not bring about: of 300, up to 1.2 % may be large ones.
    assert found["exact_ci"] == pytest.approx((-size * 0.0122, size * 0.0122), rel=0.01)
    terms[:] = 6
    assert exact_difference(terms)["exact_ci"] == pytest.approx((-0.0122, 0.0122), rel=0.01)
    larger = figure("unf1_own", 0.05, (0.04, 0.06), shared=300).model_copy(
        update={"images_differing": 3, "images_effective": 22.0}
    )
    assert verdict("unf1_own", larger) == "cannot tell"
    assert verdict("unf1_own", larger.model_copy(update={"images_effective": 300.0})) == "pass"
