"""Calibration: how often a judge is wrong, and UnF1 corrected for it."""

from __future__ import annotations

import json
from collections import Counter
from itertools import product
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import accuracy_score, cohen_kappa_score, f1_score, recall_score

from unsaf_async.errors import UserError
from unsaf_async.examine.rules import rule
from unsaf_async.records import CallRecord, Decider, Examination, ImageRecord, Label, Question
from unsaf_async.score.calibration import (
    CalibrationFile,
    Confusion,
    DecidedTally,
    Judged,
    Verdicts,
    confusions,
    corrected_of,
    corrected_unf1,
    read_calibration,
    read_judged,
    write_calibration,
)
from unsaf_async.score.intervals import ratio_interval
from unsaf_async.score.run_score import score
from unsaf_async.score.unf1 import BOUNDS_ALONE

if TYPE_CHECKING:
    from pathlib import Path

CALL = CallRecord(role="answer", outcome="ok")
FAST = settings(max_examples=60, deadline=None)
K = 6

QUESTIONS = {
    key: Question(text="What?", intended=key[0], act=key[1], decided_by=key[2], answer=CALL)
    for key in product(("answerable", "unanswerable"), ("answered", "abstained"), ("rule", "judge", "panel", None))
}


def examination(name: str, *questions: Question) -> Examination:
    return Examination(image=ImageRecord(id=name, path=name), questions=questions)


def of(intended: Label, abstained: int, answered: int, decider: Decider | None = "judge") -> list[Question]:
    return [QUESTIONS[intended, "abstained", decider]] * abstained + [
        QUESTIONS[intended, "answered", decider]
    ] * answered


def confusion(*, hits: int, misses: int, rejections: int, alarms: int) -> Confusion:
    return Confusion(
        abstained=Verdicts(abstained=hits, answered=misses), answered=Verdicts(answered=rejections, abstained=alarms)
    )


@pytest.mark.parametrize("act", ["invalid", "refused", "no_image"])
def test_an_act_without_a_cell_counts_against_accuracy_and_in_no_error_rate(act: str) -> None:
    rows = [Judged(question="Who?", response="x", label=label) for label in ("abstained", "abstained", "answered")]
    found = confusions(rows, [("abstained", "judge"), (act, "judge"), ("answered", "judge")]).overall  # type: ignore[list-item]
    assert (found.n, getattr(found.abstained, act), found.abstained.neither) == (3, 1, 1)
    assert found.accuracy == pytest.approx(2 / 3)
    assert (found.sensitivity, found.specificity) == (1.0, 1.0)


# --- labelled responses -------------------------------------------------------------------------------------------


def test_labelled_rows_are_read_with_their_groups_and_other_columns_are_passed_over(tmp_path: Path) -> None:
    file = tmp_path / "labelled.jsonl"
    file.write_text(
        '{"question": "What is it?", "text": "A cup.", "label": "answered", "tier": "A", "source": "x", "more": 1}\n'
        "\n"
        '{"question": "Who?", "response": "I cannot tell.", "text": "no", "label": "abstained", "image": 7}\n'
    )
    assert read_judged(file) == [
        Judged(question="What is it?", response="A cup.", label="answered", groups={"tier": "A", "source": "x"}),
        Judged(question="Who?", response="I cannot tell.", label="abstained", image="7"),
    ]


@pytest.mark.parametrize(
    ("row", "found"),
    [
        ("{", "is no JSON object"),
        ("[1]", "is no JSON object"),
        ({"text": "A cup.", "label": "answered"}, "has no question; give text"),
        ({"question": "What?", "label": "answered"}, "has no response; give text"),
        ({"question": "What?", "response": 3, "label": "answered"}, "response is 3; give text"),
        ({"question": "What?", "text": "A cup."}, 'has no label yet; give "answered" or "abstained", or'),
        ({"question": "What?", "text": "A cup.", "label": ["x"]}, "label is ['x']"),
        ({"question": "What?", "text": "A cup.", "label": "invalid"}, "label is 'invalid'"),
    ],
)
def test_a_bad_row_is_named_by_its_line(tmp_path: Path, row: Any, found: str) -> None:
    file = tmp_path / "labelled.jsonl"
    good = json.dumps({"question": "What?", "text": "A cup.", "label": "answered"})
    file.write_text(good + "\n\n" + (row if isinstance(row, str) else json.dumps(row)) + "\n")
    with pytest.raises(UserError) as error:
        read_judged(file)
    assert str(error.value).startswith(f"{file}:3: {found}")
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("content", "found"), [(None, "cannot be read"), (b"\n \n", "holds no row"), (b"\xff\xfe", "is no UTF-8 text")]
)
def test_a_file_without_rows_is_the_users_mistake(tmp_path: Path, content: bytes | None, found: str) -> None:
    file = tmp_path / "labelled.jsonl"
    if content is not None:
        file.write_bytes(content)
    with pytest.raises(UserError, match=found):
        read_judged(file)


# --- the confusion ------------------------------------------------------------------------------------------------

some_verdicts = st.lists(
    st.tuples(
        st.sampled_from(["answered", "abstained"]),
        st.sampled_from(["answered", "abstained", "invalid", None]),
        st.sampled_from(["rule", "judge"]),
        st.sampled_from(["A", "B"]),
    ),
    max_size=40,
)


def counted(verdicts: list[tuple[Any, Any, Any, str]]) -> Any:
    rows = [Judged(question="", response="", label=label, groups={"tier": tier}) for label, _, _, tier in verdicts]
    return confusions(rows, [(act, None if act is None else decider) for _, act, decider, _ in verdicts])


@FAST
@given(some_verdicts)
def test_the_ratios_of_a_confusion_are_those_of_scikit_learn(verdicts: list[tuple[Any, Any, Any, str]]) -> None:
    found = counted(verdicts).overall
    decided = [(label, act) for label, act, _, _ in verdicts if act is not None]
    assert (found.rows, found.n) == (len(verdicts), len(decided))
    if not decided:
        assert (found.accuracy, found.f1, found.kappa, found.sensitivity, found.specificity) == (None,) * 5
        return
    labels, acts = zip(*decided, strict=True)
    assert found.accuracy == pytest.approx(accuracy_score(labels, acts))
    if found.f1 is None:
        assert "abstained" not in {*labels, *acts}
    else:
        assert found.f1 == pytest.approx(f1_score(labels, acts, labels=["abstained"], average="macro"))
    if found.kappa is None:
        assert len({*labels, *acts}) == 1
    else:
        assert found.kappa == pytest.approx(cohen_kappa_score(labels, acts), abs=1e-12)
    scored = [(label, act) for label, act in decided if act != "invalid"]
    for value, label in ((found.sensitivity, "abstained"), (found.specificity, "answered")):
        if value is None:
            assert label not in {truth for truth, _ in scored}
        else:
            truth, said = zip(*scored, strict=True)
            assert value == pytest.approx(recall_score(truth, said, labels=[label], average="macro"))


@FAST
@given(some_verdicts)
def test_deciders_and_groups_are_parts_of_the_whole(verdicts: list[tuple[Any, Any, Any, str]]) -> None:
    found = counted(verdicts)
    assert sum(part.n for part in found.by_decider.values()) == found.overall.n
    assert all(part.rows == part.n for part in found.by_decider.values())
    assert sum(part.rows for part in found.by_group.get("tier", {}).values()) == found.overall.rows
    for tier, part in found.by_group.get("tier", {}).items():
        assert part == counted([each for each in verdicts if each[3] == tier]).overall


def test_verdicts_that_do_not_match_the_rows_are_refused() -> None:
    with pytest.raises(ValueError, match="1 verdicts for 0 rows"):
        confusions([], [("answered", "rule")])


def test_the_rules_alone_decide_clear_responses_rightly_and_leave_the_rest_open() -> None:
    rows = [
        Judged(question="What color is the cup?", response="The cup is red.", label="answered"),
        Judged(question="Who owns the cup?", response="It cannot be determined from the image.", label="abstained"),
        Judged(
            question="Who owns the cup?",
            response="Somebody who likes coffee, though nothing here says so.",
            label="abstained",
        ),
    ]
    acts = [rule(row.question, row.response, "stop") for row in rows]
    found = confusions(rows, [(act, "rule" if act else None) for act in acts])
    assert (found.overall.rows, found.overall.n, found.overall.accuracy) == (3, 2, 1.0)
    assert found.by_decider["rule"].n == 2


def test_a_calibration_is_read_back_as_it_was_written(tmp_path: Path) -> None:
    calibration = CalibrationFile(
        judge="gpt-4o",
        prompt_sha256="ab" * 32,
        created="2030-01-01T00:00:00+00:00",
        confusions=counted([("answered", "abstained", "judge", "A"), ("abstained", "abstained", "rule", "B")]),
    )
    write_calibration(tmp_path / "judge.json", calibration)
    assert read_calibration(tmp_path / "judge.json") == calibration


@pytest.mark.parametrize("content", [None, b"", b"{}", b'{"judge": 1}', b"\xff"])
def test_what_is_no_calibration_is_the_users_mistake(tmp_path: Path, content: bytes | None) -> None:
    file = tmp_path / "judge.json"
    if content is not None:
        file.write_bytes(content)
    with pytest.raises(UserError, match=r"is no calibration of a judge \(.+\); give a file") as error:
        read_calibration(file)
    assert "\n" not in str(error.value)


def test_a_calibration_that_cannot_be_written_is_the_users_mistake(tmp_path: Path) -> None:
    calibration = CalibrationFile(judge="j", prompt_sha256="", created="", confusions=counted([]))
    with pytest.raises(UserError, match="cannot be written"):
        write_calibration(tmp_path / "nowhere" / "judge.json", calibration)


# --- the correction -----------------------------------------------------------------------------------------------


def test_known_error_rates_are_reckoned_out_exactly() -> None:
    # Of 1000 unanswerable questions 800 are declined, of 1000 answerable ones 100; the judge sees 90 % of the abstentions
    # and 80 % of the answers: 800 x .9 + 200 x .2 = 760 and 100 x .9 + 900 x .2 = 270.
    images = [examination("1", *of("unanswerable", 760, 240)), examination("2", *of("answerable", 270, 730))]
    found = corrected_unf1(images, {"judge": confusion(hits=90, misses=10, rejections=80, alarms=20)}, resamples=50)
    assert found.unf1_observed == pytest.approx(2 * 760 / (2 * 760 + 240 + 270))
    assert found.unf1 == pytest.approx(2 * 800 / (2 * 800 + 200 + 100))
    assert found.unanswerable.observed == pytest.approx(0.76)
    assert found.unanswerable.corrected == pytest.approx(0.8)
    assert found.answerable.corrected == pytest.approx(0.1)
    assert not found.unanswerable.clipped
    rates = found.deciders["judge"]
    assert (rates.responses, rates.sensitivity, rates.specificity) == (2000, 0.9, 0.8)
    assert (rates.labelled_abstained, rates.labelled_answered, found.as_they_are) == (100, 100, 0)


def test_where_bounds_are_the_headline_nothing_is_corrected() -> None:
    tally = DecidedTally()
    for each in (examination("1", *of("unanswerable", 76, 24)), examination("2", *of("answerable", 27, 73))):
        tally.add(each)
    known = {"judge": confusion(hits=90, misses=10, rejections=80, alarms=20)}
    assert corrected_of(tally, known, resamples=50).unf1 is not None
    found = corrected_of(tally, known, resamples=50, between=(0.2, 0.9))
    assert (found.unf1, found.unf1_ci, found.unf1_observed, found.unf1_observed_ci) == (None,) * 4
    assert found.why_undefined["unf1"] == found.why_undefined["unf1_observed"] == BOUNDS_ALONE
    assert found.unanswerable.corrected == pytest.approx(0.8)  # of what was scored, and said to be


def test_each_decider_has_rates_of_its_own_and_one_without_is_taken_as_it_is() -> None:
    images = [
        examination(
            "1", *of("unanswerable", 76, 24), *of("unanswerable", 50, 0, "rule"), *of("answerable", 0, 9, None)
        ),
        examination("2", *of("answerable", 27, 73), *of("answerable", 0, 50, "rule")),
    ]
    known = {"judge": confusion(hits=90, misses=10, rejections=80, alarms=20)}
    found = corrected_unf1(images, known, resamples=50)
    assert found.unf1 == pytest.approx(2 * 130 / (2 * 130 + 20 + 10))
    assert found.as_they_are == 109
    assert list(found.deciders) == ["judge", "rule", "unknown"]
    assert found.deciders["rule"].sensitivity is None
    perfect = confusion(hits=50, misses=0, rejections=50, alarms=0)
    both = corrected_unf1(images, known | {"rule": perfect}, resamples=50)
    assert both.unf1 == pytest.approx(found.unf1)
    assert both.as_they_are == 9


def test_what_the_formula_takes_beyond_the_possible_is_cut_and_said() -> None:
    images = [examination("1", *of("unanswerable", 10, 0)), examination("2", *of("answerable", 0, 10))]
    found = corrected_unf1(images, {"judge": confusion(hits=9, misses=1, rejections=8, alarms=2)}, resamples=50)
    assert (found.unanswerable.corrected, found.unanswerable.clipped) == (1.0, True)
    assert (found.answerable.corrected, found.answerable.clipped) == (0.0, True)
    assert found.unf1 == 1.0


@pytest.mark.parametrize(
    ("known", "why"),
    [
        (confusion(hits=3, misses=7, rejections=6, alarms=4), "add up to 1 or less"),
        (confusion(hits=0, misses=0, rejections=6, alarms=4), "decided no labelled abstention"),
        (confusion(hits=3, misses=7, rejections=0, alarms=0), "decided no labelled answer"),
    ],
)
def test_a_judge_at_chance_or_unknown_on_one_side_cannot_be_corrected(known: Confusion, why: str) -> None:
    images = [examination("1", *of("unanswerable", 5, 5)), examination("2", *of("answerable", 1, 9))]
    found = corrected_unf1(images, {"judge": known}, resamples=50)
    assert (found.unf1, found.unf1_ci, found.unanswerable.corrected) == (None, None, None)
    assert why in found.why_undefined["unf1"]
    assert found.unf1_observed == pytest.approx(10 / 16)


def test_few_labelled_responses_of_a_poor_judge_give_a_figure_without_an_interval() -> None:
    images = [examination(str(i), *of("unanswerable", 3, 3), *of("answerable", 2, 4)) for i in range(20)]
    found = corrected_unf1(images, {"judge": confusion(hits=3, misses=2, rejections=3, alarms=2)}, resamples=400)
    assert found.unf1 is not None
    assert found.unf1_ci is None
    assert "too few labelled responses" in found.why_undefined["unf1_ci"]


def test_nothing_scored_gives_no_figure_and_a_reason_for_each() -> None:
    unscored = Question(text="What?", intended="unanswerable", answer=CALL, unscored="failed")
    for images in ([], [examination("1", unscored)]):
        found = corrected_unf1(images, {}, resamples=10)
        assert (found.unf1, found.unf1_observed, found.unanswerable.observed) == (None, None, None)
        assert found.why_undefined.keys() == {
            "unf1",
            "unf1_ci",
            "unf1_observed",
            "unf1_observed_ci",
            *(
                f"{side}.{rate}"
                for side in ("unanswerable", "answerable")
                for rate in ("observed", "corrected", "observed_ci", "corrected_ci")
            ),
        }


@FAST
@given(st.lists(st.lists(st.sampled_from(list(QUESTIONS.values())), max_size=6), max_size=5))
def test_without_calibration_the_corrected_score_is_the_score(images: list[list[Question]]) -> None:
    examinations = [examination(str(i), *questions) for i, questions in enumerate(images)]
    found = corrected_unf1(examinations, {}, resamples=20)
    plain = score(examinations, questions_per_label=3, accounts=None, provider="p", judge="j", resamples=1)
    assert found.unf1 == (None if plain.unf1 is None else pytest.approx(plain.unf1))
    assert found.unf1_observed == (None if plain.unf1 is None else pytest.approx(plain.unf1))
    assert found.unf1_ci == found.unf1_observed_ci
    assert found.as_they_are == plain.counts.scored
    for name in ("unf1", "unf1_ci", "unf1_observed", "unf1_observed_ci"):
        assert (getattr(found, name) is None) == (name in found.why_undefined)


def test_the_correction_does_not_depend_on_the_order_of_images_and_takes_the_last_line_of_each() -> None:
    rng = np.random.default_rng(2)
    images = [
        examination(f"{i:02}", *of("unanswerable", int(rng.integers(7)), 2), *of("answerable", 1, int(rng.integers(7))))
        for i in range(12)
    ]
    known = {"judge": confusion(hits=90, misses=10, rejections=80, alarms=20)}
    stale = examination("03", *of("answerable", 9, 0))
    assert corrected_unf1([stale, *reversed(images)], known) == corrected_unf1(images, known)


# --- does the interval hold the truth? ----------------------------------------------------------------------------

RECALL, REFUSAL = 0.8, 0.1
TRUTH = 2 * RECALL / (1 + RECALL + REFUSAL)


def judged_run(rng: np.random.Generator, error: float, images: int = 200) -> list[Examination]:
    """Images with a recall and a refusal rate of their own, of mean RECALL and REFUSAL, judged with this error rate.

    Of every three responses the rules decide one, without error.
    """
    rates = np.array([RECALL, REFUSAL])
    own = rng.beta(5 * rates, 5 * (1 - rates), (images, 2))[:, :, None]
    judged = np.arange(K) % 3 > 0
    said = (rng.random((images, 2, K)) < own) ^ ((rng.random((images, 2, K)) < error) & judged)
    asked = [
        [QUESTIONS[intended, act, "judge" if each else "rule"] for act in ("answered", "abstained")]
        for intended in ("unanswerable", "answerable")
        for each in judged
    ]
    return [
        examination(f"{i:03}", *(both[act] for both, act in zip(asked, row, strict=True)))
        for i, row in enumerate(said.reshape(images, 2 * K).astype(int).tolist())
    ]


def labelled(rng: np.random.Generator, error: float, n: int = 150) -> Confusion:
    """The judge's verdicts on n labelled abstentions and n labelled answers."""
    misses, alarms = map(int, rng.binomial(n, error, 2))
    return confusion(hits=n - misses, misses=misses, rejections=n - alarms, alarms=alarms)


@pytest.mark.no_cover
@pytest.mark.parametrize("error", [0.05, 0.1, 0.2])
def test_the_corrected_interval_holds_the_truth_where_that_of_the_verdicts_does_not(error: float) -> None:
    held = raw_held = 0
    replications = 60
    for seed in range(replications):
        rng = np.random.default_rng([seed, int(100 * error)])
        images = judged_run(rng, error)
        found = corrected_unf1(images, {"judge": labelled(rng, error)}, resamples=300, seed=seed)
        assert found.unf1_ci is not None
        assert found.unf1_observed_ci is not None
        held += found.unf1_ci[0] <= TRUTH <= found.unf1_ci[1]
        raw_held += found.unf1_observed_ci[0] <= TRUTH <= found.unf1_observed_ci[1]
    assert held >= 0.9 * replications
    assert raw_held < (0.5 if error >= 0.1 else 0.9) * replications


def test_an_interval_that_knew_the_error_rates_for_certain_would_be_narrower() -> None:
    rng = np.random.default_rng(11)
    images = judged_run(rng, 0.1)
    few = confusion(hits=27, misses=3, rejections=27, alarms=3)
    many = confusion(hits=27_000, misses=3_000, rejections=27_000, alarms=3_000)
    (low, high), (low_many, high_many) = (corrected_unf1(images, {"judge": each}).unf1_ci for each in (few, many))
    assert high - low > 1.5 * (high_many - low_many)


def test_with_ten_images_the_corrected_interval_still_holds_the_truth() -> None:
    """Joint percentiles of images and error rates held it in .87 to .90 of such runs (docs/intervals.md)."""
    held = 0
    for seed in range(60):
        rng = np.random.default_rng(seed)
        found = corrected_unf1(
            judged_run(rng, 0.05, images=10), {"judge": labelled(rng, 0.05)}, resamples=200, seed=seed
        )
        assert found.unf1_ci is not None
        held += found.unf1_ci[0] <= TRUTH <= found.unf1_ci[1]
    assert held >= 56


def test_what_was_judged_has_the_interval_of_a_ratio_over_images() -> None:
    images = judged_run(np.random.default_rng(4), 0.1, images=12)
    found = corrected_unf1(images, {"judge": labelled(np.random.default_rng(5), 0.1)}, resamples=300)
    acts = [Counter((each.intended, each.act) for each in image.questions) for image in images]
    sides = {"unanswerable": found.unanswerable, "answerable": found.answerable}
    for label, side in sides.items():
        pairs = [(each[label, "abstained"], each[label, "abstained"] + each[label, "answered"]) for each in acts]
        assert side.observed_ci == ratio_interval(pairs).ends
        assert side.observed_ci is not None
        assert side.corrected_ci is not None
        assert side.corrected is not None
        assert side.corrected_ci[0] < side.corrected < side.corrected_ci[1]
        assert np.ptp(side.corrected_ci) > np.ptp(side.observed_ci)
    plain = score(images, questions_per_label=K, accounts=None, provider="p", judge="j", resamples=1)
    assert found.unf1_observed_ci == plain.unf1_ci


def test_ten_images_without_an_error_leave_as_much_open_as_ten_responses() -> None:
    images = [examination(str(i), *of("unanswerable", 3, 0), *of("answerable", 0, 3)) for i in range(10)]
    sure = confusion(hits=10_000, misses=0, rejections=10_000, alarms=0)
    found = corrected_unf1(images, {"judge": sure}, resamples=300)
    assert found.unf1_observed_ci == pytest.approx((0.025**0.1, 1))
    assert found.unf1_ci == pytest.approx((0.025**0.1, 1), abs=1e-3)
