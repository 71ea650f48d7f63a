"""How well both models tell questions without an answer: the areas and their paired interval."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from unsaf_async.distill.evaluate.declining import decline_figure
from unsaf_async.records import CallRecord, Confidence, Examination, GivenQuestion, ImageRecord, Question

CALL = CallRecord(role="answer", outcome="ok")


def examinations(values: np.ndarray, threshold: float = 0.5) -> list[Examination]:
    """values: [images, 4] propensities to decline, of two questions without an answer and two with one."""
    found = []
    for number, row in enumerate(values):
        questions = []
        for place, value in enumerate(row):
            label: Any = "unanswerable" if place < 2 else "answerable"
            declines = bool(value > threshold)
            questions.append(
                Question(
                    text=str(place),
                    intended=label,
                    answer=CALL,
                    act="abstained" if declines else "answered",
                    given=GivenQuestion(text=str(place), intended=label),
                    stated=Confidence(value=float(value if declines else 1 - value), call=CALL),
                )
            )
        found.append(Examination(image=ImageRecord(id=f"{number:03}", path=""), questions=tuple(questions)))
    return found


def drawn(rng: np.random.Generator, images: int, gap: float) -> np.ndarray:
    level = rng.normal(0, 0.1, (images, 1))
    return np.clip(np.array([0.5 + gap, 0.5 + gap, 0.5, 0.5]) + level + rng.normal(0, 0.15, (images, 4)), 0.01, 0.99)


def area(values: np.ndarray) -> float:
    return float(roc_auc_score(np.tile([1, 1, 0, 0], len(values)), values.ravel()))


def areas(values: np.ndarray, times: np.ndarray) -> np.ndarray:
    """`area` of images that are there several times each; times: [draws, images]."""
    unanswerable, answerable = values[:, :2], values[:, 2:]
    above = (unanswerable[:, None, :, None] > answerable[None, :, None, :]).mean(axis=(2, 3))
    ties = (unanswerable[:, None, :, None] == answerable[None, :, None, :]).mean(axis=(2, 3))
    return np.einsum("di,ij,dj->d", times, above + ties / 2, times) / times.sum(axis=1) ** 2


def test_the_areas_are_scikit_learns_and_the_interval_an_independent_bootstraps() -> None:
    rng = np.random.default_rng(0)
    before = drawn(rng, 80, 0.1)
    after = np.clip(before + np.array([0.12, 0.12, 0, 0]) + rng.normal(0, 0.05, (80, 4)), 0.01, 0.99)
    found = decline_figure(examinations(before), examinations(after))
    assert (found.before, found.after) == pytest.approx((area(before), area(after)))
    assert found.difference == pytest.approx(area(after) - area(before))
    assert (found.images, found.questions_before, found.notes) == (80, 320, ["by stated confidence"])
    for ends, value in ((found.before_ci, found.before), (found.after_ci, found.after)):
        assert ends is not None
        assert value is not None
        assert ends[0] < value < ends[1]
    times = rng.multinomial(80, [1 / 80] * 80, size=600)
    assert areas(before, np.ones((1, 80))) == pytest.approx([area(before)])
    values = areas(after, times) - areas(before, times)
    assert found.ci == pytest.approx(tuple(np.quantile(values, (0.025, 0.975))), abs=0.02)


def test_a_model_that_only_declines_more_gains_nothing() -> None:
    values = drawn(np.random.default_rng(1), 60, 0.2)
    found = decline_figure(examinations(values, 0.6), examinations(values, 0.3))
    assert found.difference == pytest.approx(0)
    # As sure as 30 pairs of images without one in common, none of which is ordered otherwise.
    assert found.ci == pytest.approx((0.025 ** (1 / 30) - 1, 1 - 0.025 ** (1 / 30)))
    assert "ci" not in found.undefined


def test_an_area_without_an_error_has_the_chance_of_what_was_not_seen_in_its_difference() -> None:
    values = np.tile([0.8, 0.8, 0.3, 0.3], (5, 1))
    worse = values.copy()
    worse[0, 0] = 0.25
    found = decline_figure(examinations(worse), examinations(values))
    assert found.difference == pytest.approx(0.1)
    assert found.ci is not None
    assert found.ci[0] < -0.5


def test_without_a_propensity_in_common_or_a_shared_image_there_is_a_reason() -> None:
    values = drawn(np.random.default_rng(1), 5, 0.2)
    sure = examinations(values)
    bare = [
        each.model_copy(update={"questions": tuple(q.model_copy(update={"stated": None}) for q in each.questions)})
        for each in sure
    ]
    found = decline_figure(sure, bare)
    assert (found.before, found.difference, found.ci, found.images) == (None, None, None, 5)
    assert "not both models have" in found.undefined["difference"]
    assert decline_figure(sure, []).undefined["difference"] == "the runs share no image"
    one = decline_figure(sure[:1], sure[:1])
    assert one.difference == 0
    assert one.undefined["ci"] == "pairing needs at least 2 shared images; there is 1"
