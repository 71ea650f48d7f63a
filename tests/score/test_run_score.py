"""The score: counts, ratios, bounds, intervals, and what it says about itself."""

from __future__ import annotations

import itertools
import json
import math
from fractions import Fraction
from typing import Any, get_args

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from unsaf_async.records import KINDS, Act, CallRecord, Dropped, Examination, ImageRecord, Kind, Label, Question
from unsaf_async.score.intervals import Interval
from unsaf_async.score.run_score import Accounts, Calls, Score, ScoreTally, Tokens, score, score_of
from unsaf_async.score.tallies import Running
from unsaf_async.score.unf1 import Counts, KindName, cell, latest, latest_by_id, unf1_bounds

CALL = CallRecord(role="answer", outcome="ok")
FAST = settings(max_examples=60, deadline=None)
RATIOS = (
    "unf1",
    "precision",
    "recall",
    "over_refusal_rate",
    "over_answer_rate",
    "f1_answerable",
    "macro_f1",
    "balanced_accuracy",
    "abstention_rate",
)
ACCOUNTS = Accounts(
    calls=Calls(made=30, cached=4, retried=2, by_role={"ask": 4, "answer": 20, "judge": 6}),
    tokens=Tokens(input=1000, cached_input=100, output=300, reasoning=50),
    cost_usd=0.25,
    wall_s=12.5,
)


def question(
    intended: Label, act: Act | None = None, *, kind: Kind | None = None, unscored: str | None = None
) -> Question:
    return Question(text="What?", intended=intended, kind=kind, answer=CALL, act=act, unscored=unscored)


def questions(ta: int = 0, fu: int = 0, tu: int = 0, fa: int = 0, kind: Kind | None = None) -> list[Question]:
    return (
        [question("answerable", "answered")] * ta
        + [question("answerable", "abstained")] * fu
        + [question("unanswerable", "abstained", kind=kind)] * tu
        + [question("unanswerable", "answered", kind=kind)] * fa
    )


def examination(
    name: str,
    asked: list[Question],
    *,
    duplicate: int = 0,
    malformed: int = 0,
    missing: int = 0,
    failure: str | None = None,
) -> Examination:
    dropped = [Dropped(text="x", intended="answerable", reason="duplicate")] * duplicate
    dropped += [Dropped(text="x", intended="answerable", reason="malformed")] * malformed
    return Examination(
        image=ImageRecord(id=name, path=f"{name}.jpg"),
        questions=tuple(asked),
        dropped=tuple(dropped),
        missing=missing,
        failure=failure,
    )


def scored(
    examinations: list[Examination],
    *,
    k: int | None = 3,
    accounts: Accounts | None = ACCOUNTS,
    resamples: int = 200,
    seed: int = 0,
) -> Score:
    return score(
        examinations,
        questions_per_label=k,
        accounts=accounts,
        provider="scripted",
        judge="rules",
        seed=seed,
        resamples=resamples,
    )


def simulated(rng: np.random.Generator, images: int, k: int, recall: float, refusal: float) -> list[Examination]:
    """Images whose questions resemble each other: each image has a recall and a refusal rate of its own."""
    tu = rng.binomial(k, rng.beta(4 * recall, 4 * (1 - recall), images))
    fu = rng.binomial(k, rng.beta(4 * refusal, 4 * (1 - refusal), images))
    return [
        examination(f"{i:04}", questions(ta=k - int(f), fu=int(f), tu=int(t), fa=k - int(t)))
        for i, (t, f) in enumerate(zip(tu, fu, strict=True))
    ]


a_question = st.builds(
    lambda intended, act, kind, unscored: question(
        intended,
        act if unscored is None else None,
        kind=kind if intended == "unanswerable" else None,
        unscored=unscored,
    ),
    st.sampled_from(get_args(Label)),
    st.sampled_from(["answered", "abstained"]),
    st.sampled_from([None, *KINDS]),
    st.sampled_from([None, None, None, "invalid", "blocked", "failed", "unjudged"]),
)
an_image = st.builds(
    lambda asked, duplicate, malformed, missing, failure: examination(
        "", [] if failure else asked, duplicate=duplicate, malformed=malformed, missing=missing, failure=failure
    ),
    st.lists(a_question, max_size=6),
    st.integers(0, 2),
    st.integers(0, 2),
    st.integers(0, 3),
    st.sampled_from([None, None, None, "cannot be read"]),
)
some_images = st.lists(an_image, max_size=8).map(
    lambda images: [
        image.model_copy(update={"image": ImageRecord(id=str(i), path=str(i))}) for i, image in enumerate(images)
    ]
)


# --- by hand ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("ta", "fu", "tu", "fa", "expected"),
    [
        # Worked on paper from the method's formulas.
        (
            40,
            10,
            30,
            20,
            {
                "unf1": Fraction(60, 90),
                "precision": Fraction(30, 40),
                "recall": Fraction(30, 50),
                "over_refusal_rate": Fraction(10, 50),
                "over_answer_rate": Fraction(20, 50),
                "f1_answerable": Fraction(80, 110),
                "macro_f1": (Fraction(60, 90) + Fraction(80, 110)) / 2,
                "balanced_accuracy": (Fraction(30, 50) + Fraction(40, 50)) / 2,
                "matthews_correlation": (30 * 40 - 20 * 10) / math.sqrt(40 * 50 * 50 * 60),
                "abstention_rate": Fraction(40, 100),
            },
        ),
        # Right every time.
        (
            5,
            0,
            5,
            0,
            {
                "unf1": 1,
                "precision": 1,
                "recall": 1,
                "over_refusal_rate": 0,
                "over_answer_rate": 0,
                "f1_answerable": 1,
                "macro_f1": 1,
                "balanced_accuracy": 1,
                "matthews_correlation": 1,
                "abstention_rate": Fraction(1, 2),
            },
        ),
        # Always answers: precision has nothing to divide by, UnF1 is a true 0.
        (
            5,
            0,
            0,
            5,
            {
                "unf1": 0,
                "precision": None,
                "recall": 0,
                "over_refusal_rate": 0,
                "over_answer_rate": 1,
                "f1_answerable": Fraction(10, 15),
                "macro_f1": Fraction(1, 3),
                "balanced_accuracy": Fraction(1, 2),
                "matthews_correlation": None,
                "abstention_rate": 0,
            },
        ),
        # Nothing unanswerable, nothing declined: UnF1 is 0 / 0.
        (
            4,
            0,
            0,
            0,
            {
                "unf1": None,
                "precision": None,
                "recall": None,
                "over_refusal_rate": 0,
                "over_answer_rate": None,
                "f1_answerable": 1,
                "macro_f1": None,
                "balanced_accuracy": None,
                "matthews_correlation": None,
                "abstention_rate": 0,
            },
        ),
    ],
)
def test_every_ratio_follows_from_the_table_of_four(
    ta: int, fu: int, tu: int, fa: int, expected: dict[str, Fraction | float | None]
) -> None:
    result = scored([examination("a", questions(ta, fu, tu, fa))])
    assert result.counts == Counts(ta=ta, fu=fu, tu=tu, fa=fa)
    for name, value in expected.items():
        assert getattr(result, name) == (None if value is None else pytest.approx(float(value))), name


@pytest.mark.parametrize(
    ("intended", "act", "unscored", "where"),
    [
        ("answerable", "answered", None, "ta"),
        ("answerable", "abstained", None, "fu"),
        ("unanswerable", "abstained", None, "tu"),
        ("unanswerable", "answered", None, "fa"),
        ("unanswerable", "invalid", None, None),
        ("unanswerable", None, None, None),
        ("unanswerable", "answered", "truncated", None),
    ],
)
def test_intended_label_and_act_give_the_cell(
    intended: Label, act: Act | None, unscored: str | None, where: str | None
) -> None:
    assert cell(question(intended, act, unscored=unscored)) == where


def test_questions_are_pooled_over_images_and_not_averaged() -> None:
    images = [examination("a", questions(tu=1)), examination("b", questions(tu=2, fa=6))]
    assert scored(images).unf1 == pytest.approx(2 * 3 / (2 * 3 + 6))  # the mean of the two images' would be 0.7


def test_unscored_questions_are_counted_by_reason_and_enter_no_ratio() -> None:
    asked = [
        *questions(ta=1, tu=1),
        question("answerable", unscored="blocked"),
        question("unanswerable", unscored="blocked"),
        question("answerable", "invalid"),
        question("answerable"),
    ]
    result = scored([examination("a", asked)])
    assert result.unscored == {"blocked": 2, "invalid": 1, "unjudged": 1}
    assert result.counts.scored == 2
    assert result.questions.asked == 6


def test_an_unscored_response_widens_the_bounds_by_what_its_label_lets_it_be() -> None:
    def bounds(intended: Label) -> tuple[float, float] | None:
        asked = [*questions(ta=1, tu=1, fa=1), question(intended, unscored="failed")]
        return scored([examination("a", asked)]).unf1_bounds

    assert bounds("unanswerable") == pytest.approx((2 / (2 + 2), 4 / (4 + 1)))
    assert bounds("answerable") == pytest.approx((2 / (2 + 2), 2 / (2 + 1)))


def test_images_questions_and_accounts_are_counted_and_passed_through() -> None:
    images = [
        examination("a", questions(ta=2, tu=2), duplicate=1, malformed=2, missing=2),
        examination("b", [], failure="cannot be read", missing=6),
    ]
    result = scored(images)
    assert (result.images.done, result.images.failed) == (1, 1)
    assert result.questions.model_dump() == {"asked": 4, "duplicate": 1, "malformed": 2, "missing": 2, "other_label": 0}
    assert (result.calls, result.tokens, result.cost_usd, result.wall_s) == (
        ACCOUNTS.calls,
        ACCOUNTS.tokens,
        ACCOUNTS.cost_usd,
        ACCOUNTS.wall_s,
    )
    assert (result.provider, result.judge, result.seed, result.resamples) == ("scripted", "rules", 0, 200)


def test_without_accounts_what_the_ledger_knows_is_undefined_and_not_zero() -> None:
    result = scored([examination("a", questions(tu=1))], accounts=None)
    assert (result.calls, result.tokens, result.cost_usd, result.wall_s) == (None, None, None, None)
    assert {"calls", "tokens", "cost_usd", "wall_s"} <= result.undefined.keys()


def test_nothing_at_all_gives_a_score_that_is_undefined_throughout() -> None:
    result = scored([])
    assert result.unf1 is None
    assert result.unf1_bounds is None
    assert result.by_kind == {}
    assert result.unreliable == []
    assert result.undefined["recall"] == "no question that was intended unanswerable was scored"


def test_of_two_lines_about_one_image_the_later_counts() -> None:
    first, second = examination("a", questions(fa=3)), examination("a", questions(tu=3))
    other = examination("b", questions(ta=1))
    assert latest([first, other, second]) == [second, other]
    assert scored([first, other, second]) == scored([second, other])


def test_the_examination_of_an_image_is_its_last_one_in_the_order_of_the_ids() -> None:
    first, second = examination("b", questions(fa=3)), examination("b", questions(tu=3))
    other, empty = examination("a", questions(ta=1)), examination("c", [])
    assert latest_by_id([first, other, empty, second]) == [other, second, empty]


def test_a_perfect_correlation_is_one_however_many_are_counted() -> None:
    """With these counts the quotient is rounded to more than 1."""
    assert Counts(tu=99_788_539, ta=93_077_125).matthews_correlation == 1.0
    assert Counts(fu=99_788_539, fa=93_077_125).matthews_correlation == -1.0


def test_questions_of_a_failed_image_enter_no_score() -> None:
    images = [examination("a", questions(tu=2, fa=1)), examination("b", questions(fa=3), failure="broken")]
    running = Running()
    for image in images:
        running.add(image)
    assert scored(images).unf1 == running.unf1 == scored(images[:1]).unf1
    assert running.images == 1


@pytest.mark.parametrize("argument", ["questions_per_label", "resamples"])
def test_a_count_below_one_is_refused(argument: str) -> None:
    arguments = {"questions_per_label": 3, "resamples": 10, argument: 0}
    with pytest.raises(ValueError, match=f"{argument} is 0"):
        score([], accounts=None, provider="p", judge="j", **arguments)


# --- by kind ------------------------------------------------------------------------------------------------------


def test_by_kind_counts_its_own_questions_and_charges_its_share_of_over_refusals() -> None:
    asked = questions(ta=6, fu=2) + questions(tu=6, fa=0, kind="hidden") + questions(tu=1, fa=1, kind="temporal")
    asked += [question("unanswerable", unscored="failed", kind="temporal"), *questions(fa=2)]
    result = scored([examination("a", asked)])
    assert list(result.by_kind) == ["hidden", "temporal", "unspecified"]
    hidden, temporal, unnamed = result.by_kind.values()
    assert (hidden.n, hidden.tu, hidden.fa, hidden.unscored, hidden.recall) == (6, 6, 0, 0, 1.0)
    assert (temporal.n, temporal.tu, temporal.fa, temporal.unscored, temporal.recall) == (3, 1, 1, 1, 0.5)
    assert temporal.share == pytest.approx(3 / 11)
    # 10 scored unanswerable questions, 2 over-refusals: two questions of a kind are charged 0.4 of them.
    assert temporal.unf1 == pytest.approx(2 * 1 / (2 * 1 + 1 + 0.4))
    assert unnamed.unf1 == 0.0


def test_kinds_of_equal_recall_have_the_headline_as_their_unf1() -> None:
    asked = questions(ta=7, fu=3) + questions(tu=8, fa=4, kind="mental") + questions(tu=2, fa=1, kind="identity")
    result = scored([examination("a", asked)])
    assert [kind.unf1 for kind in result.by_kind.values()] == [pytest.approx(result.unf1)] * 2


def test_a_kind_without_a_scored_question_is_undefined_with_its_reason() -> None:
    result = scored([examination("a", [question("unanswerable", unscored="blocked", kind="other")])])
    assert result.by_kind["other"].unf1 is None
    assert result.undefined["by_kind.other.recall"] == "none of this kind was scored"
    assert result.undefined["by_kind.other.unf1"] == "none of this kind was scored"


# --- what the score says about itself -----------------------------------------------------------------------------


def test_more_than_a_fifth_malformed_marks_the_headline_as_unreliable() -> None:
    at_limit = examination("a", questions(ta=2, tu=2), malformed=1)
    beyond = examination("a", questions(ta=2, tu=2), malformed=2)
    assert scored([at_limit], k=2).unreliable == []
    (reason,) = scored([beyond], k=2).unreliable
    assert reason.startswith("2 of 6 written items (33%)")
    assert scored([beyond], k=None).unreliable == [reason]


def test_duplicates_are_among_the_written_items_that_malformed_ones_are_a_share_of() -> None:
    image = examination("a", questions(ta=2, tu=2), malformed=2, duplicate=4)
    assert scored([image], k=2).unreliable == []


def test_fewer_than_half_the_questions_of_a_label_mark_the_headline_as_unreliable() -> None:
    assert scored([examination("a", questions(ta=3, tu=3), missing=6)], k=6).unreliable == []
    (reason,) = scored([examination("a", questions(ta=6, tu=2), missing=4)], k=6).unreliable
    assert reason.startswith("only 2 of 6 unanswerable questions (33%)")
    (reason,) = scored([examination("a", questions(ta=1, tu=6), missing=5)], k=6).unreliable
    assert reason.startswith("only 1 of 6 answerable questions (17%)")


def test_failed_images_do_not_count_as_missing_questions() -> None:
    images = [examination("a", questions(ta=3, tu=3)), *(examination(str(i), [], failure="broken") for i in range(5))]
    assert scored(images).unreliable == []


def test_above_five_percent_of_invalid_and_blocked_responses_the_score_warns() -> None:
    def with_unscored(reason: str, n: int) -> list[str]:
        asked = questions(ta=10, tu=10 - n) + [question("unanswerable", unscored=reason)] * n
        return scored([examination("a", asked)], k=10).warnings

    assert with_unscored("invalid", 1) == []
    (invalid,) = with_unscored("invalid", 2)
    assert "2 of 20 responses (10.0%) were invalid or blocked (invalid 2)" in invalid
    (failed,) = with_unscored("failed", 2)
    assert "2 of 20 responses (10.0%) failed or were not judged (failed 2)" in failed


@pytest.mark.parametrize(
    ("reason", "what"),
    [
        *(
            (reason, "were invalid or blocked")
            for reason in ("invalid", "truncated", "unreadable", "blocked", "refused", "no_image")
        ),
        *((reason, "failed or were not judged") for reason in ("failed", "unjudged", "undecided", "tied")),
    ],
)
def test_a_warning_tells_responses_that_cannot_be_judged_from_those_that_nobody_judged(reason: str, what: str) -> None:
    asked = questions(ta=10, tu=8) + [question("unanswerable", unscored=reason)] * 2
    (warning,) = scored([examination("a", asked)], k=10).warnings
    assert warning == f"2 of 20 responses (10.0%) {what} ({reason} 2): read the bounds beside the score"


def test_an_act_that_is_not_scored_is_its_own_reason() -> None:
    asked = [
        question("unanswerable").model_copy(update={"act": act, "unscored": None})
        for act in ("refused", "no_image", "invalid")
    ]
    found = scored([examination("a", asked)], k=3)
    assert found.unscored == {"invalid": 1, "no_image": 1, "refused": 1}
    assert (found.counts.ta, found.counts.fu, found.counts.tu, found.counts.fa) == (0, 0, 0, 0)


def test_a_kind_tells_how_many_of_its_unscored_were_refused_or_saw_no_image() -> None:
    asked = [
        question("unanswerable", kind="identity", unscored=reason)
        for reason in ("refused", "refused", "no_image", "failed")
    ]
    identity = scored([examination("a", asked)], k=4).by_kind["identity"]
    assert (identity.n, identity.unscored, identity.refused, identity.no_image) == (4, 4, 2, 1)
    assert identity.recall is None


def test_a_kind_that_is_mostly_refused_earns_a_warning() -> None:
    def about(refused: int, abstained: int) -> list[str]:
        asked = [question("unanswerable", kind="identity", unscored="refused")] * refused
        asked += [question("unanswerable", "abstained", kind="identity")] * abstained
        found = scored([examination("a", [*asked, *questions(ta=40)])], k=None).warnings
        return [warning for warning in found if "policy" in warning]

    assert about(3, 4) == []
    assert about(2, 0) == []
    (warning,) = about(3, 3)
    assert (
        warning == "3 of 6 questions of kind identity were refused on policy and are unscored: its recall says little"
    )


def test_the_papers_scores_stand_by_name_in_both_readings() -> None:
    found = scored([examination("a", questions(ta=6, fu=2, tu=3, fa=1))], k=None)
    assert (found.timidity, found.audacity) == (found.precision, found.recall) == (3 / 5, 3 / 4)
    assert found.unf1 == pytest.approx(2 * (3 / 5) * (3 / 4) / (3 / 5 + 3 / 4))
    assert found.audacity_of_answers == 6 / 7
    assert found.unf1_of_precisions == pytest.approx(2 * (3 / 5) * (6 / 7) / (3 / 5 + 6 / 7))
    # Who never abstains has no timidity, and who never answers no audacity of answers.
    bold = scored([examination("a", questions(ta=3, fa=3))], k=None)
    assert (bold.timidity, bold.audacity, bold.audacity_of_answers, bold.unf1_of_precisions) == (None, 0.0, 0.5, None)
    assert bold.undefined["timidity"] == "no scored response abstained"
    meek = scored([examination("a", questions(fu=3, tu=3))], k=None)
    assert (meek.audacity_of_answers, meek.unf1_of_precisions) == (None, None)
    assert meek.undefined["audacity_of_answers"] == "no scored response answered"
    wrong = scored([examination("a", questions(fu=3, fa=3))], k=None)
    assert (wrong.timidity, wrong.audacity_of_answers, wrong.unf1_of_precisions) == (0.0, 0.0, 0.0)


def test_above_a_fifth_unscored_or_bounds_a_tenth_wide_the_bounds_are_the_headline() -> None:
    def lost(answered: int, abstained: int, lost: int) -> Score:
        asked = questions(ta=answered, tu=abstained) + [question("answerable", unscored="undecided")] * lost
        return scored([examination("a", asked)], k=None)

    # Only the width counts below a fifth: with many right abstentions a few lost answers say little.
    at_limit, beyond = lost(0, 80, 16), lost(0, 80, 18)
    assert (at_limit.unf1_bounds, at_limit.unf1_between) == ((pytest.approx(160 / 176), 1.0), None)
    assert at_limit.unreliable == []
    (reason,) = beyond.unreliable
    assert beyond.unf1_between == beyond.unf1_bounds
    assert reason.startswith(
        "18 of 98 responses (18%) are in none of the four types, which leaves the score open by 0.101;"
    )
    # The share counts although the bounds are narrow: with many over-refusals UnF1 is low at best and at worst.
    asked = questions(fu=30, tu=1) + [question("answerable", unscored="failed")] * 7
    assert scored([examination("a", asked)], k=None).unf1_between is None
    narrow = scored([examination("a", [*asked, question("answerable", unscored="failed")])], k=None)
    assert narrow.unf1_between == (2 / 40, 2 / 32)
    assert narrow.unreliable == [
        "8 of 39 responses (21%) are in none of the four types, above 20% the bounds are the headline"
    ]


def test_figures_about_a_label_of_which_nothing_was_scored_are_null_with_their_reason() -> None:
    answerable = scored([examination("a", questions(ta=3, fu=1)), examination("b", questions(ta=1, fu=2))], k=None)
    for name in ("unf1", "precision", "timidity"):
        assert getattr(answerable, name) is None
        assert answerable.undefined[name] == "no question that was intended unanswerable was scored"
    for name in ("unf1_ci", "unf1_bounds", "macro_f1", "unf1_of_precisions"):
        assert getattr(answerable, name) is None
        assert answerable.undefined[name]
    assert answerable.intervals.keys() == {
        "over_refusal_rate",
        "f1_answerable",
        "abstention_rate",
        "audacity_of_answers",
    }
    assert (answerable.over_refusal_rate, answerable.abstention_rate) == (3 / 7, 3 / 7)
    unanswerable = scored([examination("a", questions(tu=3, fa=1))], k=None)
    for name in ("f1_answerable", "audacity_of_answers"):
        assert getattr(unanswerable, name) is None
        assert unanswerable.undefined[name] == "no question that was intended answerable was scored"
    assert (unanswerable.macro_f1, unanswerable.unf1) == (None, 6 / 7)
    lost = scored([examination("a", [*questions(ta=1, fu=1), question("unanswerable", unscored="failed")])], k=None)
    assert (lost.unf1, lost.unf1_bounds) == (None, (0.0, 2 / 3))


def test_above_ten_percent_of_responses_without_an_image_the_headline_is_unreliable() -> None:
    def with_blind(n: int) -> list[str]:
        asked = questions(ta=10, tu=10 - n) + [question("unanswerable", unscored="no_image")] * n
        return [why for why in scored([examination("a", asked)], k=10).unreliable if "no image came" in why]

    assert with_blind(2) == []
    (why,) = with_blind(3)
    assert why.startswith("3 of 20 responses (15%) say that no image came; above 10% the model most likely saw none")


def test_reasons_stand_in_the_order_of_their_names() -> None:
    asked = [question("answerable", unscored=reason) for reason in ("unjudged", "blocked", "failed")]
    assert list(scored([examination("a", asked)]).unscored) == ["blocked", "failed", "unjudged"]


@pytest.mark.parametrize(("total", "warnings"), [(None, 0), (2, 0), (3, 1)])
def test_a_score_of_fewer_images_than_the_run_has_says_so(total: int | None, warnings: int) -> None:
    """A failed image is one that the run has come to."""
    images = [examination("a", questions(ta=1, tu=1)), examination("b", [], failure="broken")]
    result = score(
        images, questions_per_label=1, accounts=None, provider="p", judge="j", images_total=total, resamples=10
    )
    assert result.images.total == total
    assert result.warnings == ["2 of the run's 3 images: it ended early, or goes on"] * warnings


def test_an_interval_from_few_images_comes_with_a_warning() -> None:
    images = simulated(np.random.default_rng(0), 20, 3, 0.6, 0.2)
    assert scored(images).warnings == scored(images[:5]).warnings == []
    (warning,) = scored(images[:4]).warnings
    assert warning.startswith("the interval rests on 4 images; with fewer than 5")


def test_resamples_without_a_score_are_left_out_counted_and_reported() -> None:
    images = [
        examination("a", questions(ta=2)),
        examination("b", questions(tu=1, fa=1)),
        examination("c", questions(fu=1)),
    ]
    result = scored(images, resamples=2000)
    assert 0 < result.resamples_undefined == pytest.approx(2000 / 27, rel=0.5)  # all three draws are image a
    assert not any("had no score" in warning for warning in result.warnings)
    result = scored([*images[:2], *(examination(f"a{i}", questions(ta=2)) for i in range(3))], resamples=2000)
    assert any("had no score" in warning for warning in result.warnings)


def test_resamples_without_a_score_earn_a_warning_above_five_percent() -> None:
    """Of four images two count: every 16th draw has neither."""
    images = [examination(str(i), questions(ta=2)) for i in range(2)]
    images += [examination("c", questions(tu=1, fa=1)), examination("d", questions(fu=1))]
    result = scored(images, resamples=2000)
    assert 0.05 < result.resamples_undefined / 2000 < 0.08
    assert any("had no score" in warning for warning in result.warnings)


# --- properties ---------------------------------------------------------------------------------------------------


@FAST
@given(some_images)
def test_every_ratio_lies_in_the_unit_interval_or_is_undefined_with_its_reason(images: list[Examination]) -> None:
    result = scored(images, accounts=None, resamples=20)
    for name in RATIOS:
        value = getattr(result, name)
        assert value is None or 0 <= value <= 1
    assert result.matthews_correlation is None or -1 <= result.matthews_correlation <= 1
    for interval in (result.unf1_ci, result.unf1_ci_percentile, result.unf1_bounds):
        assert interval is None or 0 <= interval[0] <= interval[1] <= 1
    nothing = {name for name, value in result if value is None}
    assert nothing == {name for name in result.undefined if not name.startswith(("by_kind.", "intervals."))}
    for name in (*RATIOS[1:], "matthews_correlation"):
        value, ends = getattr(result, name), result.intervals.get(name)
        assert (value is None) == (ends is None and f"intervals.{name}" not in result.undefined)
        assert ends is None or (
            ends[0] - 1e-12 <= value <= ends[1] + 1e-12 and f"intervals.{name}" not in result.undefined
        )
    assert result.counts.scored + sum(result.unscored.values()) == result.questions.asked


@FAST
@given(some_images)
def test_the_score_survives_strict_json(images: list[Examination]) -> None:
    def refuse(constant: str) -> None:
        raise AssertionError(f"{constant} is no JSON")

    result = scored(images, resamples=20)
    text = result.model_dump_json()
    json.loads(text, parse_constant=refuse)
    assert Score.model_validate_json(text) == result


@FAST
@given(some_images.flatmap(lambda images: st.tuples(st.just(images), st.permutations(images))))
def test_the_order_of_the_images_is_irrelevant(orders: tuple[list[Examination], list[Examination]]) -> None:
    assert scored(orders[0], resamples=50) == scored(orders[1], resamples=50)


@FAST
@given(some_images)
def test_the_bounds_contain_the_score(images: list[Examination]) -> None:
    result = scored(images, resamples=1)
    if result.unf1 is not None:
        assert result.unf1_bounds is not None
        assert result.unf1_bounds[0] <= result.unf1 <= result.unf1_bounds[1]
        if not result.unscored:
            assert result.unf1_bounds == (result.unf1, result.unf1)


few = st.integers(0, 3)


@FAST
@given(few, few, few, few, few, few)
def test_the_bounds_are_the_extremes_over_every_assignment(
    ta: int, fu: int, tu: int, fa: int, unanswerable: int, answerable: int
) -> None:
    """Brute force over all 2^n outcomes of the unscored responses."""
    values = set()
    for outcome in itertools.product((0, 1), repeat=unanswerable + answerable):
        abstained, answered = sum(outcome[:unanswerable]), sum(outcome[unanswerable:])
        table = Counts(
            ta=ta + answered,
            fu=fu + answerable - answered,
            tu=tu + abstained,
            fa=fa + unanswerable - abstained,
        )
        values.add(table.unf1)
    values.discard(None)
    expected = (min(values), max(values)) if values else None
    bounds = unf1_bounds(Counts(ta=ta, fu=fu, tu=tu, fa=fa), unanswerable=unanswerable, answerable=answerable)
    assert bounds == expected


@FAST
@given(some_images)
def test_doubling_all_images_keeps_the_score_and_narrows_its_linearised_interval(images: list[Examination]) -> None:
    once, twice = Running(), Running()
    for image in images:
        once.add(image)
        twice.add(image)
        twice.add(image)
    assert once.unf1 == twice.unf1
    if once.influence_variance:
        assert twice.influence_variance is not None
        assert twice.influence_variance / twice.images < once.influence_variance / once.images


@FAST
@given(some_images)
def test_the_running_score_is_the_score_so_far(images: list[Examination]) -> None:
    running = Running()
    for n, image in enumerate(images, start=1):
        running.add(image)
        assert running.unf1 == scored(images[:n], resamples=1).unf1
    if running.interval is not None:
        assert running.unf1 is not None
        assert 0 <= running.interval[0] <= running.unf1 <= running.interval[1] <= 1


# --- the intervals ------------------------------------------------------------------------------------------------


def test_doubling_all_images_narrows_the_bootstrap_interval() -> None:
    images = simulated(np.random.default_rng(3), 30, 3, 0.7, 0.2)
    again = [image.model_copy(update={"image": ImageRecord(id=f"{image.image.id}x", path="x")}) for image in images]
    once, twice = scored(images, resamples=4000), scored(images + again, resamples=4000)
    assert once.unf1 == twice.unf1
    assert once.unf1_ci is not None
    assert twice.unf1_ci is not None
    ratio = (twice.unf1_ci[1] - twice.unf1_ci[0]) / (once.unf1_ci[1] - once.unf1_ci[0])
    assert ratio == pytest.approx(1 / math.sqrt(2), rel=0.08)


SKEWED = [*simulated(np.random.default_rng(0), 10, 7, 0.9, 0.05), examination("bad", questions(fu=5, fa=9))]


@pytest.mark.parametrize(
    "images",
    [
        pytest.param(simulated(np.random.default_rng(0), 25, 3, 0.85, 0.1), id="middling"),
        pytest.param(SKEWED, id="skewed"),
    ],
)
def test_the_percentile_interval_agrees_with_scipy_and_is_narrower_than_the_headlines(
    images: list[Examination],
) -> None:
    result = scored(images, resamples=40_000)
    running = np.array([[sum(map(wanted, image.questions)) for wanted in (twice_tu, doubled)] for image in images])

    def unf1(a: np.ndarray, b: np.ndarray, axis: int = -1) -> np.ndarray:
        return a.sum(axis=axis) / b.sum(axis=axis)

    theirs = stats.bootstrap(
        (running[:, 0], running[:, 1]),
        unf1,
        paired=True,
        vectorized=True,
        n_resamples=40_000,
        batch=2_000,
        method="percentile",
        random_state=np.random.default_rng(7),
    ).confidence_interval
    ours, headline = result.unf1_ci_percentile, result.unf1_ci
    assert ours == (pytest.approx(theirs.low, abs=0.006), pytest.approx(theirs.high, abs=0.006))
    assert ours is not None
    assert headline is not None
    assert result.unf1_ci_method == "logit_t"
    assert headline[1] - headline[0] > ours[1] - ours[0]


def twice_tu(question: Question) -> int:
    return 2 * (cell(question) == "tu")


def doubled(question: Question) -> int:
    return {"tu": 2, "fu": 1, "fa": 1}.get(cell(question) or "", 0)


def test_equal_seeds_give_equal_intervals_and_other_seeds_nearly_equal_ones() -> None:
    images = simulated(np.random.default_rng(5), 40, 3, 0.7, 0.2)
    first, again, other = (scored(images, resamples=5000, seed=seed) for seed in (1, 1, 2))
    assert first.unf1_ci_percentile == again.unf1_ci_percentile
    assert first.unf1_ci_percentile != other.unf1_ci_percentile
    assert first.unf1_ci_percentile == pytest.approx(other.unf1_ci_percentile, abs=0.02)
    assert first.unf1_ci == again.unf1_ci == other.unf1_ci


def test_the_interval_covers_the_truth_as_often_as_it_says() -> None:
    """400 runs of 40 images with clustered questions."""
    rng = np.random.default_rng(11)
    recall, refusal = 0.7, 0.15
    truth = 2 * recall / (1 + recall + refusal)
    runs = [scored(simulated(rng, 40, 3, recall, refusal), resamples=1) for _ in range(400)]
    covered = [run.unf1_ci is not None and run.unf1_ci[0] <= truth <= run.unf1_ci[1] for run in runs]
    assert 0.93 <= np.mean(covered) <= 0.985


def test_an_interval_of_questions_taken_as_independent_would_be_too_narrow() -> None:
    """Clustering matters: resampling images gives a wider interval than the same questions one to an image."""
    asked = [[*questions(tu=6)], [*questions(fa=6)]] * 10
    clustered = scored([examination(str(i), image) for i, image in enumerate(asked)], resamples=2000)
    loose = scored([examination(str(i), [q]) for i, q in enumerate(itertools.chain(*asked))], resamples=2000)
    assert clustered.unf1 == loose.unf1
    assert clustered.unf1_ci is not None
    assert loose.unf1_ci is not None
    assert clustered.unf1_ci[1] - clustered.unf1_ci[0] > 2 * (loose.unf1_ci[1] - loose.unf1_ci[0])


def test_one_image_has_no_interval_and_says_why() -> None:
    images = [examination("a", questions(tu=2, fa=1)), examination("b", []), examination("c", [], failure="broken")]
    result = scored(images)
    assert result.unf1 is not None
    assert (result.unf1_ci, result.unf1_ci_method, result.unf1_ci_percentile) == (None, None, None)
    assert result.undefined["unf1_ci"] == "an interval needs at least 2 images that bear on the figure; there is 1"


def test_a_score_of_1_or_0_has_a_one_sided_interval_though_every_resample_is_alike() -> None:
    right = scored([examination(str(i), questions(ta=3, tu=3)) for i in range(30)])
    assert right.unf1 == 1.0
    assert right.unf1_ci == (pytest.approx(0.025 ** (1 / 30)), 1.0)
    assert right.unf1_ci_method == "exact_one_sided"
    assert right.unf1_ci_percentile is None
    assert right.undefined["unf1_ci_percentile"].startswith("every resample has the same UnF1")
    wrong = scored([examination(str(i), questions(ta=3, fa=3)) for i in range(30)])
    assert wrong.unf1_ci == (0.0, pytest.approx(1 - 0.025 ** (1 / 30)))


def test_a_run_that_stopped_itself_has_the_interval_of_its_rule() -> None:
    tally = ScoreTally()
    for image in simulated(np.random.default_rng(0), 30, 3, 0.8, 0.1):
        tally.add(image)
    rules = Interval((0.7, 0.9), "fixed_width_stop", 30)
    given: Any = {"questions_per_label": 3, "accounts": None, "provider": "", "judge": "", "resamples": 200}
    result = score_of(tally, **given, stopped=rules)
    assert (result.unf1_ci, result.unf1_ci_method) == ((0.7, 0.9), "fixed_width_stop")
    assert result.unf1_ci_percentile == score_of(tally, **given).unf1_ci_percentile


def test_the_running_interval_agrees_with_the_bootstrap_on_many_images() -> None:
    images = simulated(np.random.default_rng(2), 300, 3, 0.7, 0.2)
    running = Running()
    for image in images:
        running.add(image)
    assert running.interval == pytest.approx(scored(images, resamples=5000).unf1_ci, abs=0.006)


def test_the_running_variance_is_that_of_the_influence_values() -> None:
    images = simulated(np.random.default_rng(4), 12, 3, 0.6, 0.3)
    running = Running()
    for image in images:
        running.add(image)
    a = np.array([sum(map(twice_tu, image.questions)) for image in images])
    b = np.array([sum(map(doubled, image.questions)) for image in images])
    influence = (a - a.sum() / b.sum() * b) / b.mean()
    assert running.influence_variance == pytest.approx(influence.var(ddof=1))


def running_score(*images: list[Question]) -> Running:
    running = Running()
    for number, asked in enumerate(images):
        running.add(examination(str(number), asked))
    return running


def test_images_that_are_all_alike_have_no_running_interval() -> None:
    running = running_score(questions(tu=2, fa=1), questions(tu=2, fa=1))
    assert (running.influence_variance, running.interval) == (0, None)


def test_one_image_and_a_score_that_is_undefined_have_no_running_interval() -> None:
    assert running_score(questions(tu=2, fa=1)).interval is None
    assert running_score(questions(ta=2), questions(ta=1)).interval is None


def test_the_running_interval_does_not_leave_the_unit_interval() -> None:
    high = running_score(*[questions(tu=3)] * 10, questions(fa=1))
    low = running_score(*[questions(fa=3)] * 10, questions(tu=1))
    assert high.interval is not None
    assert low.interval is not None
    assert 0 < high.interval[0] < high.interval[1] == 1.0
    assert 0.0 == low.interval[0] < low.interval[1] < 1


def test_the_extreme_influence_is_that_of_an_image_all_right_or_all_wrong() -> None:
    """By hand: scored responses / B times the larger of UnF1 and 1 - UnF1, of an image as large as a random response's is."""
    high = running_score(questions(tu=3, fa=1), [*questions(ta=4), question("answerable", unscored="blocked")])
    assert high.extreme_influence == pytest.approx(8 / 7 * 6 / 7)
    low = running_score(questions(tu=1, fa=5))
    assert low.extreme_influence == pytest.approx(6 / 7 * 5 / 7)
    unequal = running_score(questions(tu=1, fa=1), questions(tu=9, fa=9))
    assert unequal.extreme_influence == pytest.approx(2 * (2**2 + 18**2) / 20 / 30 * 2 / 3)
    assert running_score().extreme_influence is None


def test_failed_and_empty_images_do_not_enter_the_running_score() -> None:
    running = Running()
    running.add(examination("a", [], failure="broken"))
    running.add(examination("b", []))
    assert (running.images, running.unf1, running.influence_variance, running.interval) == (0, None, None, None)


def test_every_kind_of_the_records_can_be_a_key() -> None:
    kind_literal, unspecified = get_args(KindName)
    assert (*get_args(kind_literal), *get_args(unspecified)) == (*KINDS, "unspecified")


def test_a_score_that_rests_on_one_kind_of_question_says_so() -> None:
    """The easiest kinds to decline, asked over and over, give a high score that means little."""

    def of(kinds: list[Kind | None]) -> list[str]:
        asked = [
            question.model_copy(update={"kind": kind})
            for question, kind in zip(questions(tu=len(kinds)), kinds, strict=True)
        ]
        result = score(
            [examination(str(n), [one]) for n, one in enumerate(asked)],
            questions_per_label=1, accounts=None, provider="p", judge="rules", resamples=10,
        )  # fmt: skip
        return [warning for warning in result.warnings if "of one kind" in warning]

    (said,) = of(["non-visual"] * 13 + ["hidden"] * 7)
    assert said.startswith("13 of 20 unanswerable questions (65%) are of one kind, non-visual: the score says little")
    assert of(["non-visual"] * 12 + ["hidden"] * 8) == []
    assert of(["non-visual"] * 19) == [], "too few to say"
    assert of([None] * 30) == [], "no kind is named"


def test_a_score_whose_images_hold_very_unequal_numbers_of_questions_says_as_how_many_they_count() -> None:
    """Of images that hold 40 questions or one, the interval of their ratio may hold the truth in .54 of samples."""

    def of(sizes: list[int]) -> list[str]:
        result = score(
            [examination(str(n), questions(tu=1, ta=size - 1)) for n, size in enumerate(sizes)],
            questions_per_label=None, accounts=None, provider="p", judge="rules", resamples=10,
        )  # fmt: skip
        return [warning for warning in result.warnings if "equal numbers" in warning]

    (said,) = of([1] * 9 + [40])  # 49^2 / (9 + 40^2) = 1.49
    assert said.startswith("images hold 1 to 40 questions: the 10 images count as 1.5 with equal numbers")
    assert of([1] * 9 + [4]) == [], "13^2 / 25 = 6.8 of 10"
    assert of([6] * 10) == of([40]) == []
