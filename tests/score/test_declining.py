"""How well a model tells questions without an answer, whatever its threshold for declining."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from unsaf_async.records import (
    CallRecord,
    Confidence,
    Examination,
    GivenQuestion,
    ImageRecord,
    Question,
    Sample,
    TokenConfidence,
)
from unsaf_async.score.declining import PROPENSITIES, Declining, DecliningTally, draws_declined
from unsaf_async.score.labelled import labelled_score

CALL = CallRecord(role="answer", outcome="ok")


def question(unanswerable: bool, declined: bool, **fields: Any) -> Question:
    intended: Any = "unanswerable" if unanswerable else "answerable"
    given = GivenQuestion(text="What?", intended=intended, answers=() if unanswerable else ("red",))
    act: Any = "abstained" if declined else "answered"
    return Question(text="What?", intended=intended, **{"answer": CALL, "act": act, "given": given, **fields})


def sure(value: float) -> Confidence:
    return Confidence(value=value, call=CALL)


def images(*each: list[Question]) -> list[Examination]:
    return [
        Examination(image=ImageRecord(id=str(number), path=""), questions=tuple(questions))
        for number, questions in enumerate(each)
    ]


def figures(examinations: list[Examination], why_none: Any = None) -> dict[Any, Declining]:
    tally = DecliningTally()
    for each in examinations:
        tally.add(each)
    return tally.declining(why_none or {})


def test_a_confidence_counts_for_declining_where_the_response_declined_and_against_it_where_it_answered() -> None:
    found = figures(
        images(
            [question(True, True, stated=sure(0.9)), question(False, True, stated=sure(0.3))],
            [question(True, False, stated=sure(0.6)), question(False, False, stated=sure(0.95))],
            [question(True, True, stated=sure(0.8))],
            [question(False, False, stated=sure(0.8))],
        )
    )["stated"]
    # Propensities: .9, .4 and .8 without an answer, .3, .05 and .2 with one: all nine pairs are in order.
    assert (found.n, found.unanswerable, found.auroc) == (6, 3, 1.0)
    assert found.auroc_ci is not None
    assert found.auroc_ci[0] < 1.0


def test_what_is_unscored_failed_or_not_given_does_not_enter() -> None:
    lost = question(True, True, stated=sure(0.9), act="invalid", unscored="invalid")
    failed = question(True, True, stated=sure(0.9), answer=CallRecord(role="answer", outcome="failed"))
    own = question(True, True, stated=sure(0.9), given=None)
    counted = [question(True, True, stated=sure(0.9)), question(False, False, stated=sure(0.9))]
    found = figures(images([lost, failed, own, *counted]))["stated"]
    assert (found.n, found.auroc) == (2, 1.0)


def test_of_draws_it_is_the_share_that_declined() -> None:
    def drawn(*acts: Any) -> tuple[Sample, ...]:
        return tuple(Sample(text="x", act=act, call=CALL) for act in acts)

    one = question(True, True, samples=drawn("abstained", "answered", None))
    assert draws_declined(one) == pytest.approx(2 / 3)
    assert draws_declined(question(True, False, samples=drawn("abstained"))) == 0.5
    assert draws_declined(question(True, True, samples=drawn(None))) is None
    assert draws_declined(question(True, True)) is None
    broken = Sample(text="", act="abstained", call=CallRecord(role="sample", outcome="failed"))
    assert draws_declined(question(True, True, samples=(broken,))) is None


def test_the_area_is_scikit_learns_and_the_interval_is_by_images() -> None:
    rng = np.random.default_rng(2)
    made: list[list[Question]] = []
    values: list[float] = []
    labels: list[bool] = []
    for _ in range(40):
        level = rng.normal(0, 0.8)
        questions = []
        for unanswerable in (True, False) * 4:
            declines = bool(rng.random() < 1 / (1 + np.exp(-(level + (1.2 if unanswerable else -1.2)))))
            value = -abs(float(rng.normal()))
            chance = np.exp(value)
            logprobs = TokenConfidence(mean_logprob=value, min_logprob=value, tokens=3)
            questions.append(question(unanswerable, declines, token_confidence=logprobs))
            values.append(float(chance if declines else 1 - chance))
            labels.append(unanswerable)
        made.append(questions)
    found = figures(images(*made))["token_probability"]
    assert found.auroc == pytest.approx(roc_auc_score(labels, values))
    alone = figures(images(*([each] for questions in made for each in questions)))["token_probability"]
    assert found.auroc_ci is not None
    assert alone.auroc_ci is not None
    assert found.auroc_ci != alone.auroc_ci
    assert found.auroc_ci[0] < found.auroc < found.auroc_ci[1]  # type: ignore[operator]


def test_to_decline_more_without_knowing_more_gains_nothing() -> None:
    """One propensity, two thresholds: recall and over-refusal rise, the AUROC stays."""
    rng = np.random.default_rng(4)
    chance = {label: np.clip(rng.normal(0.6 if label else 0.3, 0.2, 300), 0.01, 0.99) for label in (True, False)}

    def model(threshold: float) -> list[Examination]:
        each = []
        for propensities in zip(chance[True], chance[False], strict=True):
            asked = []
            for label, propensity in zip((True, False), propensities, strict=True):
                declines = bool(propensity > threshold)
                asked.append(question(label, declines, p_true=sure(float(propensity if declines else 1 - propensity))))
            each.append(asked)
        return images(*each)

    bold, meek = (figures(model(threshold))["p_true"].auroc for threshold in (0.6, 0.3))
    assert bold == pytest.approx(meek)
    assert bold is not None
    assert bold > 0.8


def test_without_a_sign_of_confidence_or_without_both_labels_there_is_a_reason() -> None:
    bare = images([question(True, True), question(False, False)])
    found = labelled_score(bare, yes_no_set=False, why_none={"stated": "needs --confidence"}).declining
    assert list(found) == list(PROPENSITIES)
    assert {each.auroc for each in found.values()} == {None}
    assert {each.auroc_ci for each in found.values()} == {None}
    assert found["stated"].why_undefined == "needs --confidence"
    assert found["draws"].why_undefined == "no response has it"
    answerable = figures(images([question(False, False, stated=sure(0.5))] * 2))["stated"]
    assert (answerable.auroc, answerable.why_undefined) == (None, "no unanswerable question has a response with it")
    single = figures(images([question(True, True, stated=sure(0.9)), question(False, False, stated=sure(0.9))]))[
        "stated"
    ]
    assert (single.auroc, single.auroc_ci) == (1.0, None)
    assert single.why_no_interval
