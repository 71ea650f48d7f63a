"""Signs of confidence: each figure against an independent one, and a reason for every figure that is missing."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, get_args

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import roc_auc_score

from unsaf_async.records import (
    CallRecord,
    Confidence,
    Examination,
    ImageRecord,
    Outcome,
    Question,
    Role,
    Sample,
    TokenConfidence,
)
from unsaf_async.score import signals as s
from unsaf_async.score.intervals import mean_interval
from unsaf_async.score.signals import CONFIDENCE_OF, SignalName, signals

if TYPE_CHECKING:
    from collections.abc import Sequence

NAMES: tuple[SignalName, ...] = get_args(SignalName)
WHY: dict[SignalName, str] = {name: f"why no {name}" for name in NAMES}
FAST = settings(max_examples=30, deadline=None)


def call(role: Role = "answer", outcome: Outcome = "ok") -> CallRecord:
    return CallRecord(role=role, outcome=outcome)


def drawn(text: str, act: Any = "answered", outcome: Outcome = "ok") -> Sample:
    return Sample(text=text, act=act, call=call("sample", outcome))


def question(**fields: Any) -> Question:
    given: dict[str, Any] = {
        "text": "What color is the cat?",
        "intended": "answerable",
        "response": "It is red.",
        "answer": call(),
        "act": "answered",
    }
    return Question(**given | fields)


def examination(name: str, *questions: Question) -> Examination:
    return Examination(image=ImageRecord(id=name, path=name), questions=questions)


def said(value: float | None) -> Confidence:
    return Confidence(value=value, call=call("confidence"), why="" if value is not None else "no number")


def tokens(mean: float, least: float | None = None) -> TokenConfidence:
    return TokenConfidence(mean_logprob=mean, min_logprob=mean if least is None else least, tokens=3)


def swapped(kept: Sequence[Examination]) -> list[Examination]:
    """The same with the intended labels swapped."""
    other = {"answerable": "unanswerable", "unanswerable": "answerable"}
    return [
        each.model_copy(
            update={
                "questions": tuple(
                    question.model_copy(update={"intended": other[question.intended]}) for question in each.questions
                )
            }
        )
        for each in kept
    ]


some_questions = st.builds(
    question,
    intended=st.sampled_from(["answerable", "unanswerable"]),
    act=st.sampled_from(["answered", "abstained"]),
    token_confidence=st.one_of(
        st.none(), st.builds(tokens, st.sampled_from([-2.0, -1.0, -0.5, 0.0]), st.sampled_from([-4.0, -3.0]))
    ),
    stated=st.one_of(st.none(), st.sampled_from([None, 0.0, 0.3, 0.7, 1.0]).map(said)),
    p_true=st.one_of(st.none(), st.sampled_from([None, 0.1, 0.9]).map(said)),
)
some_runs = st.lists(st.lists(some_questions, max_size=6), max_size=4).map(
    lambda images: [examination(str(number), *questions) for number, questions in enumerate(images)]
)


# --- one question -----------------------------------------------------------------------------------------------------


def test_the_signals_of_one_question_are_those_computed_by_hand() -> None:
    one = question(token_confidence=tokens(-0.5, -2.0), stated=said(0.7), p_true=said(0.2))
    assert s.mean_logprob(one) == -0.5
    assert s.min_logprob(one) == -2.0
    assert s.perplexity(one) == pytest.approx(math.exp(0.5))
    assert s.token_probability(one) == pytest.approx(math.exp(-0.5))
    assert (s.stated(one), s.p_true(one)) == (0.7, 0.2)


def test_self_consistency_is_the_share_of_draws_that_mean_the_answer_and_entropy_is_over_all_meanings() -> None:
    one = question(
        samples=(drawn("The cat is red."), drawn("It is blue."), drawn("Red"), drawn("I cannot tell.", "abstained"))
    )
    assert s.self_consistency(one) == pytest.approx(2 / 4)
    shares = np.array([3, 1, 1]) / 5
    assert s.entropy(one) == pytest.approx(-(shares * np.log(shares)).sum())


def test_abstentions_mean_the_same_however_they_are_worded() -> None:
    one = question(
        response="I cannot tell.",
        act="abstained",
        samples=(drawn("The image does not show it.", "abstained"), drawn("Nobody could know.", "abstained")),
    )
    assert (s.self_consistency(one), s.entropy(one)) == (1.0, 0.0)


@pytest.mark.parametrize("outcome", ["failed", "truncated", "refused", "blocked", "unreadable"])
def test_draws_that_are_no_whole_reply_are_left_out(outcome: Outcome) -> None:
    broken = drawn("", None, outcome)
    assert s.self_consistency(question(samples=(broken, broken))) is None
    assert s.self_consistency(question(samples=(broken, drawn("Red.")))) == 1.0


def test_a_question_without_a_signal_has_none_of_it() -> None:
    bare = question(act=None, unscored="undecided")
    assert {name: value_of(bare) for name, (value_of, _) in CONFIDENCE_OF.items()} == dict.fromkeys(NAMES)
    assert s.token_probability(bare) is None
    assert s.stated(question(stated=said(None))) is None
    assert s.declined(question(act="invalid", unscored="invalid")) is None


# --- all of a run -----------------------------------------------------------------------------------------------------


@FAST
@given(some_runs)
def test_every_auroc_is_that_of_scikit_learn_and_every_mean_that_of_numpy(kept: list[Examination]) -> None:
    found = signals(kept, WHY)
    assert tuple(found) == NAMES
    every = [question for each in kept for question in each.questions]
    for name, (value_of, surer) in CONFIDENCE_OF.items():
        told = found[name]
        having = [(question, value) for question in every if (value := value_of(question)) is not None]
        truth = [question.intended == "unanswerable" for question, _ in having]
        values = np.array([value for _, value in having])
        assert (told.n, told.lacking) == (len(having), len(every) - len(having))
        for mean, wanted in ((told.mean_answerable, False), (told.mean_unanswerable, True)):
            of = [value for (_, value), label in zip(having, truth, strict=True) if label is wanted]
            assert mean == (pytest.approx(np.mean(of)) if of else None)
        if len({*truth}) == 2:
            assert told.auroc == pytest.approx(roc_auc_score(truth, -surer * values))
            assert told.why_undefined == ""
        else:
            assert (told.auroc, told.auroc_ci) == (None, None)
            assert told.why_undefined == ("not both labels were answered" if having else WHY[name])


@FAST
@given(some_runs)
def test_with_the_labels_swapped_every_auroc_is_its_complement(kept: list[Examination]) -> None:
    there, back = signals(kept, WHY), signals(swapped(kept), WHY)
    for name in NAMES:
        area, ends = there[name].auroc, there[name].auroc_ci
        assert back[name].auroc == (None if area is None else pytest.approx(1 - area))
        assert (back[name].mean_answerable, back[name].mean_unanswerable) == (
            there[name].mean_unanswerable,
            there[name].mean_answerable,
        )
        assert back[name].auroc_ci == (None if ends is None else pytest.approx((1 - ends[1], 1 - ends[0])))


def test_low_confidence_on_the_unanswerable_is_a_high_auroc_whatever_the_signal() -> None:
    sure = question(
        token_confidence=tokens(-0.1), stated=said(0.9), p_true=said(0.9), samples=(drawn("Red."), drawn("It is red."))
    )
    unsure = question(
        intended="unanswerable",
        act="abstained",
        response="I cannot tell.",
        token_confidence=tokens(-2.0),
        stated=said(0.1),
        p_true=said(0.1),
        samples=(drawn("Red."), drawn("Blue.")),
    )
    found = signals([examination("1", sure, unsure), examination("2", sure, unsure)], WHY)
    assert {name: told.auroc for name, told in found.items()} == dict.fromkeys(NAMES, 1.0)


def test_perplexity_orders_as_the_mean_log_probability_does() -> None:
    rng = np.random.default_rng(3)
    kept = [
        examination(
            str(number),
            *(
                question(intended=label, token_confidence=tokens(-float(rng.exponential())))
                for label in ("answerable", "unanswerable") * 3
            ),
        )
        for number in range(8)
    ]
    found = signals(kept, WHY)
    assert found["perplexity"].auroc == found["mean_logprob"].auroc
    assert found["perplexity"].auroc_ci == found["mean_logprob"].auroc_ci
    assert found["perplexity"].mean_answerable is not None
    assert found["perplexity"].mean_answerable > 1


def test_unscored_responses_count_where_they_are_whole_and_not_where_they_are_none() -> None:
    undecided = question(act=None, unscored="undecided", token_confidence=tokens(-1.0))
    failed = question(answer=call(outcome="failed"), act=None, unscored="failed", response="", token_confidence=None)
    cut = question(answer=call(outcome="truncated"), act=None, unscored="truncated", token_confidence=tokens(-9.0))
    found = signals([examination("1", undecided, failed, cut, question(token_confidence=tokens(-3.0)))], WHY)
    assert (found["mean_logprob"].n, found["mean_logprob"].lacking) == (2, 0)
    assert found["mean_logprob"].mean_answerable == -2.0
    assert (found["declined"].n, found["declined"].lacking) == (1, 1)


@pytest.mark.parametrize("kept", [[], [examination("1")], [examination("1", question(answer=call(outcome="failed")))]])
def test_without_a_whole_response_there_is_no_figure_and_a_reason_for_each(kept: list[Examination]) -> None:
    for name, told in signals(kept, WHY).items():
        assert (told.n, told.lacking) == (0, 0)
        assert (told.auroc, told.auroc_ci, told.mean_answerable, told.mean_unanswerable) == (None,) * 4
        assert told.why_undefined == WHY[name]
    assert signals(kept, {})["stated"].why_undefined == "no response has it"


def test_of_several_examinations_of_one_image_the_last_counts() -> None:
    first, last = question(stated=said(0.2)), question(stated=said(0.8))
    assert signals([examination("1", first), examination("1", last)], WHY)["stated"].mean_answerable == 0.8


def test_one_image_gives_no_interval_and_many_give_one_around_the_figure() -> None:
    rng = np.random.default_rng(4)
    images = [
        examination(
            str(number),
            *(question(intended="answerable", stated=said(round(float(rng.beta(4, 2)), 2))) for _ in range(4)),
            *(question(intended="unanswerable", stated=said(round(float(rng.beta(2, 4)), 2))) for _ in range(4)),
        )
        for number in range(20)
    ]
    one, many = signals(images[:1], WHY)["stated"], signals(images, WHY)["stated"]
    assert one.auroc is not None
    assert one.auroc_ci is None
    assert one.why_no_interval == "an interval needs at least 2 images that bear on the figure; there is 1"
    assert many.auroc is not None
    assert many.auroc_ci is not None
    assert many.auroc_ci[0] < many.auroc < many.auroc_ci[1]
    assert many.why_no_interval == ""
    assert signals(images[::-1], WHY) == signals(images, WHY)


def test_every_mean_of_a_signal_has_an_interval_in_its_range_or_the_reason_why_not() -> None:
    rng = np.random.default_rng(5)
    images = [
        examination(
            str(number),
            *(
                question(
                    token_confidence=TokenConfidence(mean_logprob=-each, min_logprob=-2 * each, tokens=3),
                    stated=said(math.exp(-each)),
                    samples=(drawn("It is red."), drawn("It is blue." if each > 0.5 else "It is red.")),
                )
                for each in rng.gamma(1, 0.5, size=3).tolist()
            ),
        )
        for number in range(12)
    ]
    found, alone = signals(images, WHY), signals(images[:1], WHY)
    for name in ("mean_logprob", "min_logprob", "perplexity", "stated", "self_consistency", "semantic_entropy"):
        each = found[name]
        assert each.mean_answerable is not None
        assert each.mean_answerable_ci is not None, name
        low, high = each.mean_answerable_ci
        assert low < each.mean_answerable < high, name
        assert each.undefined.keys() == {"mean_unanswerable", "mean_unanswerable_ci"}
        assert alone[name].mean_answerable_ci is None
        assert "at least 2 images" in alone[name].undefined["mean_answerable_ci"]
    logs = [q.token_confidence.mean_logprob for each in images for q in each.questions if q.token_confidence]
    values, number = np.array(logs), np.repeat(np.arange(12), 3)
    mirrored = mean_interval(-values, number, high=math.inf).ends
    assert mirrored is not None
    assert found["mean_logprob"].mean_answerable_ci == pytest.approx((-mirrored[1], -mirrored[0]))
    above_one = mean_interval(np.exp(-values) - 1, number, high=math.inf).ends
    assert above_one is not None
    assert found["perplexity"].mean_answerable_ci == pytest.approx((1 + above_one[0], 1 + above_one[1]))
    assert found["declined"].mean_answerable_ci is not None, "at its end the exact one"
    assert found["declined"].mean_answerable_ci[0] == 0
