"""Controls scored: the same questions with the evidence and without it, and nothing that is unscored in any figure."""

from __future__ import annotations

import numpy as np

from unsaf_async.records import CallRecord, Control, Examination, ImageRecord, Question
from unsaf_async.score.controls import ControlScore, controls, missing
from unsaf_async.score.intervals import difference_interval, ratio_interval

OK = CallRecord(role="answer", outcome="ok")


def asked(act: str | None, again: str | None, kind: str = "blank", **fields) -> Question:
    """A question that was answered so on its image, and so as a control; None: unscored there."""
    control = Control(
        kind=kind, call=CallRecord(role="control", outcome="ok"), act=again, unscored=None if again else "truncated"
    )
    given = {
        "text": "What is it?",
        "intended": "answerable",
        "answer": OK,
        "act": act,
        "unscored": None if act else "blocked",
        "control": control,
    }
    return Question.model_validate(given | fields)


def image(name: str, *questions: Question) -> Examination:
    return Examination(image=ImageRecord(id=name, path=name, pixels_sha256=name), questions=questions)


def test_the_figures_are_about_the_same_questions_and_what_is_unscored_once_is_in_none():
    found = controls(
        [
            image("a", asked("answered", "abstained"), asked("abstained", "abstained"), asked("answered", "answered", "other")),
            image("b", asked("answered", "answered"), asked("answered", None), asked(None, "abstained")),
            image("c", asked("answered", "abstained"), asked("abstained", "answered", control=None)),
        ]
    )  # fmt: skip
    blank = found["blank"]
    assert (blank.asked, blank.n, blank.unscored) == (6, 4, {"blocked": 1, "truncated": 1})
    assert (blank.abstained, blank.abstained_on_image) == (3, 1)
    assert (blank.abstention_rate, blank.over_refusal_rate, blank.youden) == (0.75, 0.25, 0.5)
    assert found["other"].n == 1
    assert found["other"].youden == 0
    assert found["other"].why_undefined["abstention_rate_ci"].startswith("an interval needs at least 2 images")


def test_without_a_pair_every_figure_says_why_it_is_not_there():
    (only,) = controls([image("a", asked("answered", None))]).values()
    assert only == ControlScore(
        asked=1,
        unscored={"truncated": 1},
        n=0,
        abstained=0,
        abstained_on_image=0,
        abstention_rate=None,
        abstention_rate_ci=None,
        over_refusal_rate=None,
        over_refusal_rate_ci=None,
        youden=None,
        youden_ci=None,
        why_undefined=dict.fromkeys(
            [f"{name}{end}" for name in ("abstention_rate", "over_refusal_rate", "youden") for end in ("", "_ci")],
            "no question has a scored response both times",
        ),
    )
    assert list(missing(only)) == ["declined there", "on the image", "Youden's J"], (
        "no interval is told of beside its figure"
    )
    assert controls([image("a", asked("answered", "answered", control=None))]) == {}


def test_two_files_of_one_picture_are_one_unit():
    once = [
        image(name, asked("answered", act)) for name, act in zip("abcd", ["abstained", "answered"] * 2, strict=True)
    ]
    twice = [
        *once,
        *(
            each.model_copy(update={"image": each.image.model_copy(update={"id": f"{each.image.id}2"})})
            for each in once
        ),
    ]
    assert controls(once)["blank"].youden_ci == controls(twice)["blank"].youden_ci


def test_the_intervals_take_images_as_the_unit_and_the_difference_is_a_paired_one():
    acts = ["abstained", "answered", "abstained", "abstained", "answered", "abstained"]
    images = [
        image(str(n), *[asked("abstained" if n % 3 == 0 else "answered", act)] * (1 + n % 2))
        for n, act in enumerate(acts)
    ]
    blank = controls(images)["blank"]
    rows = np.array([[act == "abstained", 1, n % 3 == 0, 1] for n, act in enumerate(acts)]) * [
        [1 + n % 2] for n in range(6)
    ]
    assert blank.abstention_rate_ci == ratio_interval(rows[:, :2]).ends
    assert blank.over_refusal_rate_ci == ratio_interval(rows[:, 2:]).ends
    assert blank.youden_ci == difference_interval(rows).ends
