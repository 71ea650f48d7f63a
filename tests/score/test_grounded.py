"""Grounded mode: what the judges that see the image say, counted by hand, and kept apart from UnF1."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from unsaf_async.records import CallRecord, Examination, ImageRecord, Label, Question, Support
from unsaf_async.score.grounded import Grounded, grounded
from unsaf_async.score.intervals import ratio_interval
from unsaf_async.score.run_score import score

CALL = CallRecord(role="answer", outcome="ok")
NONE_ASKED: Any = "not asked"


def question(intended: Label, act: Any, supported: Any = NONE_ASKED, unscored: str | None = None) -> Question:
    support = (
        None
        if supported is NONE_ASKED
        else Support(judge="j", supported=supported, call=CallRecord(role="ground", outcome="ok"))
    )
    return Question(text="?", intended=intended, answer=CALL, act=act, unscored=unscored, support=support)


def ta(supported: Any = NONE_ASKED) -> Question:
    return question("answerable", "answered", supported)


FU, TU, FA = (
    question(*each)
    for each in (("answerable", "abstained"), ("unanswerable", "abstained"), ("unanswerable", "answered"))
)


def examination(name: str, *questions: Question) -> Examination:
    return Examination(image=ImageRecord(id=name, path=name), questions=questions)


def test_the_figures_are_those_counted_by_hand() -> None:
    kept = [
        examination("1", ta(True), ta(True), ta(False), FU, TU, TU, FA),
        examination("2", ta(True), ta(None), ta(), TU, TU),
        examination("3"),
    ]
    found = grounded(kept)
    assert (found.judged, found.failed, found.not_asked, found.supported) == (4, 1, 1, 3)
    assert found.accuracy == pytest.approx(3 / 4)
    assert found.unf1 == pytest.approx(8 / (8 + 1 + 1 + 1))
    assert found.why_undefined == ""


def test_the_headline_does_not_move_and_the_variant_is_never_above_it() -> None:
    supported = [examination("1", ta(True), TU, FU), examination("2", ta(True), TU, FA)]
    unsupported = [examination("1", ta(False), TU, FU), examination("2", ta(False), TU, FA)]
    scores = [
        score(kept, questions_per_label=2, accounts=None, provider="p", judge="j", resamples=10)
        for kept in (supported, unsupported)
    ]
    assert scores[0] == scores[1]
    assert grounded(supported).unf1 == pytest.approx(scores[0].unf1)
    assert grounded(unsupported).unf1 == pytest.approx(4 / (4 + 2 + 2))


def test_only_true_answers_count_whatever_support_another_question_carries() -> None:
    stray = [
        question("unanswerable", "answered", True),
        question("unanswerable", "abstained", False),
        question("answerable", "abstained", False),
        question("answerable", "invalid", False, "invalid"),
        question("answerable", None, False, "undecided"),
    ]
    found = grounded([examination("1", *stray, ta(True)), examination("2", TU)])
    assert (found.judged, found.failed, found.not_asked, found.supported) == (1, 0, 0, 1)
    assert found.unf1 == pytest.approx(4 / (4 + 1 + 1))


@pytest.mark.parametrize(
    "kept", [[], [examination("1")], [examination("1", TU, FA, FU)], [examination("1", ta(None), ta(), TU)]]
)
def test_where_nobody_said_anything_there_is_no_figure_and_a_reason(kept: list[Examination]) -> None:
    found = grounded(kept)
    assert (found.accuracy, found.accuracy_ci, found.unf1, found.unf1_ci) == (None,) * 4
    assert found.why_undefined == "no answer to an answerable question was judged with the image"


def test_the_variant_has_a_reason_of_its_own_where_only_it_is_undefined() -> None:
    found = grounded([examination("1", ta(True)), examination("2", ta(True))])
    assert (found.accuracy, found.unf1) == (1.0, None)
    assert found.why_undefined


def test_intervals_hold_the_figure_and_need_two_images() -> None:
    rng = np.random.default_rng(1)
    kept = [
        examination(
            str(n), *(ta(bool(rng.random() < 0.8)) for _ in range(5)), *([TU] * 3 + [FA] * int(rng.integers(3)))
        )
        for n in range(30)
    ]
    found = grounded(kept)
    assert found.accuracy_ci is not None
    assert found.unf1_ci is not None
    assert found.accuracy is not None
    assert found.unf1 is not None
    assert found.accuracy_ci[0] < found.accuracy < found.accuracy_ci[1]
    assert found.unf1_ci[0] < found.unf1 < found.unf1_ci[1]
    assert grounded(kept[:1]).accuracy_ci is None
    assert "at least 2 images" in grounded(kept[:1]).why_no_interval["accuracy"]
    alike = grounded([kept[0], kept[0].model_copy(update={"image": ImageRecord(id="x", path="x")})])
    assert alike.accuracy_ci is not None, "images that are alike by accident leave much open"
    assert alike.accuracy_ci[1] - alike.accuracy_ci[0] > 0.5
    assert alike.why_no_interval == {}


def test_figures_at_the_ends_have_exact_intervals_and_ten_images_are_told_as_ten() -> None:
    right = [examination(str(number), ta(True), ta(True), TU) for number in range(10)]
    assert grounded(right).accuracy_ci == ratio_interval([(2, 2)] * 10).ends == pytest.approx((0.692, 1), abs=1e-3)
    mixed = [examination(str(number), ta(number > 3), ta(True), TU, FA) for number in range(10)]
    assert grounded(mixed).accuracy_ci == ratio_interval([(1, 2)] * 4 + [(2, 2)] * 6).ends
    assert grounded(mixed).unf1_ci == ratio_interval([(2, 4)] * 4 + [(2, 3)] * 6).ends


@settings(max_examples=40, deadline=None)
@given(st.lists(st.lists(st.sampled_from([ta(True), ta(False), ta(None), ta(), FU, TU, FA]), max_size=6), max_size=4))
def test_the_parts_add_up_to_the_true_answers_and_every_none_has_a_reason(images: list[list[Question]]) -> None:
    kept = [examination(str(number), *questions) for number, questions in enumerate(images)]
    found = grounded(kept)
    answers = [
        each for questions in images for each in questions if (each.intended, each.act) == ("answerable", "answered")
    ]
    assert found.judged + found.failed + found.not_asked == len(answers)
    assert found.supported == sum(bool(each.support and each.support.supported) for each in answers)
    assert found.why_undefined or None not in (found.accuracy, found.unf1)
    assert Grounded.model_validate_json(found.model_dump_json()) == found
