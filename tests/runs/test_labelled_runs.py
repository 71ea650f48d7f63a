"""Labelled sets: every figure against an independent one, and the command from the drawn world's files to its exit code."""

from __future__ import annotations

import json
import math
import re
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args

import numpy as np
import pytest
from commandline import Ended, command
from driving import draw_images
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from sklearn.metrics import (
    accuracy_score,
    brier_score_loss,
    f1_score,
    log_loss,
    precision_score,
    recall_score,
    roc_auc_score,
)
from truths import scripted_model, write_lines

from unsaf_async.calls.ledger import read_account
from unsaf_async.records import (
    CallRecord,
    Confidence,
    Examination,
    GivenQuestion,
    ImageRecord,
    Question,
    TokenConfidence,
)
from unsaf_async.runs.journal import read_journal
from unsaf_async.score.intervals import ratio_interval
from unsaf_async.score.labelled import (
    LabelledScore,
    PopeScore,
    contained,
    exact,
    is_right,
    labelled_score,
)
from unsaf_async.score.metrics import PopeCounts
from unsaf_async.score.signals import ProbabilityName

if TYPE_CHECKING:
    from collections.abc import Sequence

NAMES: tuple[ProbabilityName, ...] = get_args(ProbabilityName)
WHY: dict[ProbabilityName, str] = {name: f"why no {name}" for name in NAMES}


def question(
    response: str,
    answers: Sequence[str] = ("red",),
    *,
    act: Any = "answered",
    unscored: str | None = None,
    answerable: bool = True,
    category: str = "",
    stated: float | None = None,
    **fields: Any,
) -> Question:
    intended = "answerable" if answerable else "unanswerable"
    given = GivenQuestion(
        text="What color?", intended=intended, answers=tuple(answers) if answerable else (), category=category
    )
    return Question(
        text=given.text,
        intended=given.intended,
        response=response,
        answer=CallRecord(role="answer", outcome="ok"),
        act=act,
        unscored=unscored,
        given=given,
        stated=Confidence(value=stated, call=CallRecord(role="confidence", outcome="ok"))
        if stated is not None
        else None,
        **fields,
    )


def examination(name: str, *questions: Question) -> Examination:
    return Examination(image=ImageRecord(id=name, path=name), questions=questions)


def of(*questions: Question, yes_no_set: bool = False) -> LabelledScore:
    return labelled_score([examination("1", *questions)], yes_no_set=yes_no_set, why_none=WHY)


def declined(*, answerable: bool) -> Question:
    return question("I cannot tell.", act="abstained", answerable=answerable)


TEN = ("red",) * 2 + ("dark red",) * 8


# --- accuracy ---------------------------------------------------------------------------------------------------------


def test_the_accuracies_are_those_counted_by_hand() -> None:
    found = of(
        question("red"),
        question("It is red.", category="color"),
        question("blue", category="color"),
        declined(answerable=True),
        question("It is dark red", TEN),
        question("red", ()),
        declined(answerable=False),
        question("A cat.", answerable=False),
    )
    assert (found.questions, found.answerable, found.unanswerable, found.without_answers) == (8, 6, 2, 1)
    assert found.accuracy == pytest.approx(1 / 5)
    assert found.accuracy_contained == pytest.approx((1 + 1 + 0 + 0 + 1) / 5)
    assert found.accuracy_answered == pytest.approx(3 / 4)
    assert found.coverage == pytest.approx(5 / 6)
    assert found.dual_accuracy == pytest.approx((1 + 1 + 0 + 0 + 1 + 1 + 0) / 7)
    assert found.by_category == {"color": 0.5}


def test_the_vote_of_ten_is_soft() -> None:
    one = question("red", TEN)
    # Of the ten ways to leave one annotator out, 8 leave both votes for red, and 2 leave one.
    assert exact(one) == pytest.approx((8 * (2 / 3) + 2 * (1 / 3)) / 10)
    assert is_right(one) is (exact(one) >= 0.5)


def test_the_official_figure_is_that_of_vqas_script_to_the_letter() -> None:
    found = of(question("red", TEN), question("Red.", ("red",) * 10), declined(answerable=True))
    assert found.accuracy == pytest.approx((0.6 + 1 + 0) / 3)
    assert found.accuracy_official == pytest.approx((0.6 + 0 + 0) / 3)


def test_a_response_that_declines_is_wrong_whatever_words_it_has() -> None:
    one = question("It may be red, I cannot tell.", act="abstained")
    assert (exact(one), contained(one), is_right(one)) == (0.0, 0.0, False)


def test_thinking_is_no_part_of_the_answer() -> None:
    assert exact(question("<think>It might be blue.</think>Red.")) == 1.0
    assert contained(question("<think>Is it red?</think>It is blue.")) == 0.0


@pytest.mark.parametrize("unscored", ["failed", "truncated", "undecided", "unjudged"])
def test_what_is_unscored_is_not_right_and_is_counted(unscored: str) -> None:
    fields: dict[str, Any] = {"act": None, "unscored": unscored}
    found = of(question("red", **fields), question("", answerable=False, **fields), question("red"))
    assert found.unscored == 2
    assert found.accuracy == pytest.approx(1 / 2)
    assert found.dual_accuracy == pytest.approx(1 / 3)
    assert found.coverage == pytest.approx(1 / 2)


def test_questions_that_were_not_given_do_not_enter() -> None:
    own = question("red").model_copy(update={"given": None})
    assert of(own, question("red")).questions == 1


@pytest.mark.parametrize(
    "kept", [[], [examination("1")], [examination("1", question("red").model_copy(update={"given": None}))]]
)
def test_without_questions_every_figure_is_none_with_its_reason(kept: list[Examination]) -> None:
    found = labelled_score(kept, yes_no_set=True, why_none=WHY)
    figures = ("accuracy", "accuracy_contained", "accuracy_answered", "coverage", "dual_accuracy")
    assert {getattr(found, name) for name in (*figures, "accuracy_ci", "accuracy_contained_ci")} == {None}
    assert found.by_category == {}
    for name, told in found.calibration.items():
        assert (told.n, told.ece, told.brier, told.nll, told.auroc, told.aurc, told.e_aurc) == (0, *(None,) * 6)
        assert (told.reliability, told.risk_coverage) == ([], [])
        assert told.why_undefined == WHY[name]
    assert found.pope is not None
    assert {found.pope.accuracy, found.pope.f1, found.pope.yes_ratio} == {None}
    assert LabelledScore.model_validate_json(found.model_dump_json()) == found


def test_with_unanswerable_questions_alone_there_is_no_accuracy_and_a_dual_one() -> None:
    found = of(declined(answerable=False), question("A cat.", answerable=False))
    assert (found.accuracy, found.coverage, found.dual_accuracy) == (None, None, 0.5)


def test_intervals_resample_images() -> None:
    rng = np.random.default_rng(0)
    kept = [
        examination(str(n), *(question("red" if rng.random() < 0.7 else "blue") for _ in range(4))) for n in range(30)
    ]
    found = labelled_score(kept, yes_no_set=False, why_none=WHY)
    assert found.accuracy is not None
    assert found.accuracy_ci is not None
    assert found.accuracy_ci[0] < found.accuracy < found.accuracy_ci[1]
    half = 1.96 * np.std([np.mean([exact(q) for q in each.questions]) for each in kept], ddof=1) / np.sqrt(30)
    assert found.accuracy_ci[1] - found.accuracy_ci[0] == pytest.approx(2 * half, rel=0.15)
    assert of(question("red"), question("blue")).accuracy_ci is None


# --- calibration ------------------------------------------------------------------------------------------------------

rows = st.lists(
    st.tuples(st.sampled_from([0.05, 0.2, 0.5, 0.8, 0.99]), st.booleans(), st.booleans()), min_size=1, max_size=40
)


@settings(max_examples=40, deadline=None)
@given(rows)
def test_calibration_is_that_of_scikit_learn(told: list[tuple[float, bool, bool]]) -> None:
    """told: stated confidence, whether the response is right, whether the question is answerable."""
    questions = [
        question("red" if right else "blue", stated=sure)
        if answerable
        else question("", act="abstained" if right else "answered", answerable=False, stated=sure)
        for sure, right, answerable in told
    ]
    found = of(*questions).calibration["stated"]
    sure, right = np.array([row[0] for row in told]), np.array([row[1] for row in told])
    assert (found.n, found.right) == (len(told), right.sum())
    assert found.brier == pytest.approx(brier_score_loss(right, sure, pos_label=True))
    assert found.nll == pytest.approx(log_loss(right, sure, labels=[False, True]))
    both = len({*right.tolist()}) == 2
    assert found.auroc == (pytest.approx(roc_auc_score(right, sure)) if both else None)
    # Over random orders within ties, the mean risk of the k surest.
    rng = np.random.default_rng(0)
    orders = [np.lexsort((rng.random(len(sure)), -sure)) for _ in range(200)]
    risks = np.mean([np.cumsum(~right[order]) / np.arange(1, len(sure) + 1) for order in orders], axis=0)
    assert found.aurc == pytest.approx(risks.mean(), abs=0.06)
    assert found.why_undefined == ""
    assert sum(each.n for each in found.reliability) == found.n
    assert found.ece == pytest.approx(
        sum(each.n * abs(each.accuracy - each.confidence_mean) for each in found.reliability) / found.n
    )


def test_only_whole_responses_with_the_signal_to_questions_with_a_known_answer_are_calibrated() -> None:
    tokens = TokenConfidence(mean_logprob=float(np.log(0.8)), min_logprob=-1.0, tokens=2)
    cut = question("red", act=None, unscored="truncated", token_confidence=tokens)
    cut = cut.model_copy(update={"answer": CallRecord(role="answer", outcome="truncated")})
    found = of(
        question("red", token_confidence=tokens), question("red"), question("x", (), token_confidence=tokens), cut
    )
    assert (found.calibration["token_probability"].n, found.calibration["token_probability"].right) == (1, 1)
    assert found.calibration["token_probability"].brier == pytest.approx(0.2**2)
    assert found.calibration["p_true"].why_undefined == WHY["p_true"]


@pytest.mark.parametrize("n", [1, 99, 100, 101, 250, 1000])
def test_the_curve_is_thinned_to_a_hundred_points_of_itself_and_ends_with_all_responses(n: int) -> None:
    rng = np.random.default_rng(n)
    sure = rng.permutation(np.arange(1, n + 1) / (n + 1))
    right = rng.random(n) < sure
    found = of(
        *(question("red" if good else "blue", stated=float(each)) for each, good in zip(sure, right, strict=True))
    ).calibration["stated"]
    order = np.argsort(-sure)
    risks = np.cumsum(~right[order]) / np.arange(1, n + 1)
    assert found.aurc == pytest.approx(risks.mean())
    assert 0 < len(found.risk_coverage) <= 100
    assert len(found.risk_coverage) > n / (n // 100 + 2)
    for coverage, risk in found.risk_coverage:
        assert risk == pytest.approx(risks[round(coverage * n) - 1])
    assert found.risk_coverage == sorted(found.risk_coverage)
    assert found.risk_coverage[-1] == pytest.approx((1.0, 1 - found.right / n))


# --- POPE -------------------------------------------------------------------------------------------------------------


def probe(true: str, response: str, act: Any = "answered") -> Question:
    return question(response, (true,), act=act)


def test_popes_counts_know_what_says_neither_and_what_declines() -> None:
    found = of(
        probe("yes", "Yes."),
        probe("yes", "yes, there is one"),
        probe("yes", "No."),
        probe("no", "Yes, I see it."),
        probe("no", "No, there is none."),
        probe("no", "A cat sits there."),
        probe("yes", "Yes and no."),
        probe("no", "No way to tell, I cannot say.", "abstained"),
        probe("yes", "<think>No dog so far. No.</think>Yes."),
        yes_no_set=True,
    )
    assert found.pope is not None
    counts = found.pope.counts
    assert (counts.tp, counts.fn, counts.fp, counts.tn, counts.neither, counts.abstained) == (3, 1, 1, 1, 2, 1)
    assert found.pope.accuracy == pytest.approx(4 / 9)
    assert found.pope.accuracy_answered == pytest.approx(4 / 6)
    assert (found.pope.precision, found.pope.recall) == (pytest.approx(3 / 4), pytest.approx(3 / 4))
    assert found.pope.yes_ratio == pytest.approx(4 / 6)


probes = st.lists(st.tuples(st.sampled_from(["yes", "no"]), st.sampled_from(["Yes.", "No."])), min_size=1, max_size=30)


@settings(max_examples=40, deadline=None)
@given(probes)
def test_popes_figures_are_those_of_scikit_learn_and_agree_with_its_own_rule_on_plain_answers(
    told: list[tuple[str, str]],
) -> None:
    found = of(*(probe(true, response) for true, response in told), yes_no_set=True)
    assert found.pope is not None
    assert found.pope == found.pope_official
    truth, said = [true == "yes" for true, _ in told], [response == "Yes." for _, response in told]
    assert found.pope.accuracy == pytest.approx(accuracy_score(truth, said))
    for value, reference in (
        (found.pope.precision, precision_score),
        (found.pope.recall, recall_score),
        (found.pope.f1, f1_score),
    ):
        assert (0.0 if value is None else value) == pytest.approx(reference(truth, said, zero_division=0.0))
    assert found.pope.yes_ratio == pytest.approx(np.mean(said))


def test_popes_own_rule_takes_what_names_no_for_yes_and_reads_the_first_sentence() -> None:
    found = of(probe("no", "A cat sits there."), probe("yes", "There is not one. Yes."), yes_no_set=True)
    assert found.pope_official is not None
    counts = found.pope_official.counts
    assert (counts.tp, counts.fp, counts.tn, counts.fn) == (0, 1, 0, 1)


def test_popes_own_rule_is_put_to_the_answer_and_not_to_the_thinking_before_it() -> None:
    found = of(probe("no", "<think>A dog. Or a cat?</think>No."), yes_no_set=True)
    assert found.pope_official is not None
    assert found.pope_official.counts.tn == 1


# --- the command ------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A drawn world: 12 scenes with 96 labelled questions and 72 probes."""
    from unsaf_async.cli import _run

    folder = tmp_path_factory.mktemp("made") / "world"
    assert _run(["world", "make", "--scenes", "12", "--split", "test", "--seed", "5", "--out", str(folder)]) == 0
    return folder


@pytest.fixture
def world(made: Path, tmp_path: Path) -> Path:
    """The same, to be written to."""
    shutil.copytree(made, tmp_path / "world")
    return Path("world")


def labelled(capsys: pytest.CaptureFixture[str], *arguments: str) -> Ended:
    return command(capsys, "labelled", "--quiet", *arguments)


def plain(text: str) -> list[str]:
    """The words of an answer, compared as the world's own truth would: case, stops and articles do not matter."""
    numbers = {word: str(n) for n, word in enumerate(("zero", "one", "two", "three", "four", "five", "six"))}
    words = re.findall(r"[a-z0-9]+", text.lower())
    return [numbers.get(word, word) for word in words if word not in ("a", "an", "the")]


def test_accuracy_on_the_drawn_world_is_that_counted_from_the_journal_by_the_worlds_own_truth(
    world: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    ended = labelled(capsys, "--data", f"{world}/labelled.jsonl", "--provider", "tiny", "--out", "run", "--json")
    assert ended.code == 0
    found = json.loads(ended.out)
    truth = {row["id"]: row for row in map(json.loads, (world / "labelled.jsonl").read_text().splitlines())}
    told = found["labelled"]
    asked = [question for each in read_journal(Path("run/journal.jsonl")).values() for question in each.questions]
    assert len(asked) == told["questions"] == len(truth) == 96
    right: list[bool] = []
    dual: list[bool] = []
    for each in asked:
        assert each.given is not None
        row = truth[each.given.id]
        assert each.text == row["question"]
        assert (each.intended == "answerable") is row["answerable"]
        good = each.act == "answered" and any(plain(each.response) == plain(answer) for answer in row["answers"] or ())
        if row["answerable"]:
            right.append(good)
        dual.append(good if row["answerable"] else each.act == "abstained")
    assert told["accuracy"] == pytest.approx(np.mean(right))
    assert told["dual_accuracy"] == pytest.approx(np.mean(dual))
    assert 0.5 < told["accuracy"] < 1
    assert told["pope"] is None
    abstained = np.array([each.act == "abstained" for each in asked])
    unanswerable = np.array([not truth[each.given.id]["answerable"] for each in asked if each.given])
    assert found["unf1"] == pytest.approx(f1_score(unanswerable, abstained))
    assert found["questions_per_label"] is None
    assert read_account(Path("run/ledger.jsonl")).made == {**read_account(Path("run/ledger.jsonl")).made, "answer": 96}


def test_probes_of_the_drawn_world_are_recognised_and_counted_as_the_file_has_them(
    world: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    ended = labelled(capsys, "--data", f"{world}/pope.jsonl", "--provider", "tiny", "--out", "run", "--json")
    assert ended.code == 0
    told = json.loads(ended.out)["labelled"]
    truth = {str(row["question_id"]): row for row in map(json.loads, (world / "pope.jsonl").read_text().splitlines())}
    asked = [question for each in read_journal(Path("run/journal.jsonl")).values() for question in each.questions]
    said = {each.given.id: each.response.strip(" .").lower() for each in asked if each.given}
    assert said.keys() == truth.keys()
    counts = told["pope"]["counts"]
    assert counts["tp"] == sum(row["label"] == "yes" == said[key] for key, row in truth.items())
    assert counts["fp"] == sum(row["label"] == "no" and said[key] == "yes" for key, row in truth.items())
    assert counts["tn"] == sum(row["label"] == "no" == said[key] for key, row in truth.items())
    assert sum(counts.values()) == len(truth) == 72
    shown = labelled(capsys, "--data", f"{world}/pope.jsonl", "--provider", "tiny", "--out", "again")
    assert "by POPE's own rule" in shown.out
    assert "UnF1" not in shown.out


def test_limit_takes_a_sample_of_images_and_a_dry_run_calls_nobody(
    world: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data = ("--data", f"{world}/labelled.jsonl", "--provider", "tiny")
    ended = labelled(capsys, *data, "--limit", "3", "--out", "run", "--json")
    assert ended.code == 0
    assert json.loads(ended.out)["labelled"]["questions"] == 24
    ended = labelled(capsys, *data, "--limit", "3", "--out", "planned", "--dry-run", "--json")
    assert ended.code == 0
    assert (json.loads(ended.out)["images"], json.loads(ended.out)["calls"]) == (3, 24)
    assert not Path("planned").exists()


def test_a_labelled_run_that_stopped_goes_on_and_its_set_may_not_change(capsys: pytest.CaptureFixture[str]) -> None:
    draw_images(Path("photos"), 4)
    scripted_model("paid", input_usd_per_mtok=1000)
    row = {"image": "", "question": "What color is the car?", "answers": ["red"], "answerable": True}
    write_lines(Path("set.jsonl"), [{**row, "image": f"{number:04}.png"} for number in range(4)])
    data = ("--data", "set.jsonl", "--images", "photos", "--provider", "paid", "--judge", "rules", "--out", "run")
    ended = labelled(capsys, *data, "--max-cost", "1.2")
    assert ended.code == 3
    assert "--max-cost" in ended.err.splitlines()[-1]
    done = len(read_journal(Path("run/journal.jsonl")))
    assert 0 < done < 4
    ended = command(capsys, "resume", "run", "--max-cost", "20", "--quiet", "--json")
    assert ended.code == 0
    assert json.loads(ended.out)["labelled"]["questions"] == 4
    assert read_account(Path("run/ledger.jsonl")).made["answer"] == 4
    write_lines(Path("set.jsonl"), [{**row, "image": "0000.png"}])
    ended = labelled(capsys, *data, "--max-cost", "20")
    assert ended.code == 2
    assert "another list of 4 images" in ended.err


def test_the_worst_case_of_a_set_is_that_of_its_own_questions_however_long(capsys: pytest.CaptureFixture[str]) -> None:
    draw_images(Path("photos"), 2)
    scripted_model("paid", input_usd_per_mtok=1000)
    long = "What color is the car? " + "Mind that " + "it stands next to the other one, and " * 300
    rows = [{"image": f"{n:04}.png", "question": long, "answers": ["red"], "answerable": True} for n in range(2)]
    write_lines(Path("set.jsonl"), rows)
    data = ("--data", "set.jsonl", "--images", "photos", "--provider", "paid", "--judge", "rules")
    worst_usd = json.loads(labelled(capsys, *data, "--dry-run", "--json").out)["worst_usd"]
    ended = labelled(capsys, *data, "--out", "run", "-y", "--json")
    assert ended.code == 0
    assert json.loads(ended.out)["cost_usd"] <= worst_usd


def test_rows_without_an_image_are_refused_in_an_own_list_and_left_out_and_said_in_a_published_set(
    world: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    first = json.loads((world / "labelled.jsonl").read_text().splitlines()[0])["image"]
    (world / first).unlink()
    refused = labelled(capsys, "--data", f"{world}/labelled.jsonl", "--provider", "tiny", "--out", "run")
    assert (refused.code, refused.out, Path("run").exists()) == (2, "", False)
    assert f"image {first} does not exist" in refused.err
    ended = labelled(capsys, "--data", f"{world}/pope.jsonl", "--provider", "tiny", "--out", "run")
    assert ended.code == 0
    assert "66 questions" in ended.out
    assert "6 rows are left out" in ended.out


GOOD = {"image": "0000.png", "question": "What color is the car?", "answers": ["red"], "answerable": True}


@pytest.mark.parametrize(
    ("rows", "options", "words"),
    [
        (None, (), ("nowhere.jsonl", "does not exist")),
        ([GOOD], ("--format", "coco"), ("--format is 'coco'", "jsonl, pope, vizwiz, mm-upd, tubench")),
        ([GOOD], ("--images", "no-folder"), ("--images: 'no-folder' is no folder",)),
        (
            [{**GOOD, "image": "gone.png"}],
            (),
            ("set.jsonl:1: image gone.png does not exist", "paths are taken from photos"),
        ),
        ([GOOD, {**GOOD, "answerable": "yes"}], (), ("set.jsonl:2", "'answerable' is 'yes'", "true or false")),
        ([GOOD, {"image": "0000.png", "answerable": True}], (), ("set.jsonl:2", "no field 'question'")),
        ([{**GOOD, "answers": [""]}], (), ("set.jsonl:1", "'answers'")),
        ([{**GOOD, "kind": "hidden"}], (), ("set.jsonl:1", "an answerable question has the kind 'hidden'")),
        ([{"a": 1}], (), ("set.jsonl", "is not recognised", "fields a")),
        ([], (), ("set.jsonl", "is empty")),
        ([GOOD], ("--judge", "rules", "--grounded"), ("--grounded", "see no image")),
        ([GOOD], ("--samples", "21"), ("--samples is 21", "0 to 20")),
    ],
)
def test_what_is_wrong_with_a_set_is_said_in_one_line_before_anybody_is_called(
    rows: list[dict[str, Any]] | None,
    options: tuple[str, ...],
    words: tuple[str, ...],
    capsys: pytest.CaptureFixture[str],
) -> None:
    draw_images(Path("photos"), 1)
    if rows is not None:
        write_lines(Path("set.jsonl"), rows)
    where = () if "--images" in options else ("--images", "photos")
    name = "nowhere.jsonl" if rows is None else "set.jsonl"
    ended = labelled(capsys, "--data", name, "--provider", "scripted", "--out", "run", *where, *options)
    assert ended.code == 2
    (line,) = ended.err.splitlines()
    assert all(word in line for word in words), line
    assert ended.out == ""
    assert not Path("run").exists()


# --- intervals --------------------------------------------------------------------------------------------------------


def labelled_images(images: int = 12, *, yes_no_set: bool = False) -> LabelledScore:
    """A set with four questions about each image: two answerable ones of two sorts, and two without an answer."""
    rng = np.random.default_rng(8)
    kept = []
    for number in range(images):
        said = rng.choice(["red", "blue", "It is red."], 2)
        asked = [
            question(text, category=sort, stated=round(float(rng.random()), 1))
            for text, sort in zip(said, ("color", "part"), strict=True)
        ]
        asked += [
            question("No idea.", act="abstained" if rng.random() < 0.7 else "answered", answerable=False, stated=0.4)
            for _ in range(2)
        ]
        asked += [question(str(text), ("yes",)) for text in rng.choice(["Yes.", "No.", "Perhaps."], 2) if yes_no_set]
        kept.append(examination(f"{number:02}", *asked))
    return labelled_score(kept, yes_no_set=yes_no_set, why_none=WHY)


def test_every_figure_of_a_labelled_set_has_an_interval_around_it() -> None:
    found = labelled_images()
    for name in ("accuracy", "accuracy_contained"):
        low, high = getattr(found, f"{name}_ci")
        assert low < getattr(found, name) < high
    assert list(found.intervals) == [
        "accuracy_official", "accuracy_answered", "coverage", "dual_accuracy", "by_category.color", "by_category.part",
    ]  # fmt: skip
    for name in ("accuracy_official", "accuracy_answered", "coverage", "dual_accuracy"):
        low, high = found.intervals[name]
        assert low - 1e-9 <= getattr(found, name) <= high + 1e-9
    for sort, value in found.by_category.items():
        low, high = found.intervals[f"by_category.{sort}"]
        assert low < value < high
    told = found.calibration["stated"]
    assert list(told.intervals) == ["ece", "brier", "nll", "auroc", "aurc", "e_aurc"]
    for name, (low, high) in told.intervals.items():
        assert low - 1e-9 <= getattr(told, name) <= high + 1e-9
    assert (found.undefined, told.undefined) == ({}, {})


def test_accuracies_and_scores_have_the_interval_of_a_ratio_of_sums_over_images() -> None:
    kept = [
        examination("1", question("red", stated=0.9), question("It is red.", stated=0.5)),
        examination("2", question("blue", stated=0.8), declined(answerable=True), question("red")),
        examination("3", question("red", stated=0.6), declined(answerable=False)),
        examination("4", question("blue", stated=0.7)),
    ]
    found = labelled_score(kept, yes_no_set=False, why_none=WHY)
    assert found.accuracy_ci == ratio_interval([(1, 2), (1, 3), (1, 1), (0, 1)]).ends
    assert found.accuracy_contained_ci == ratio_interval([(2, 2), (1, 3), (1, 1), (0, 1)]).ends
    assert found.intervals["accuracy_answered"] == ratio_interval([(2, 2), (1, 2), (1, 1), (0, 1)]).ends
    assert found.intervals["coverage"] == ratio_interval([(2, 2), (2, 3), (1, 1), (1, 1)]).ends
    assert found.intervals["dual_accuracy"] == ratio_interval([(2, 2), (1, 3), (2, 2), (0, 1)]).ends
    brier = [(0.01 + 0.25, 2), (0.64, 1), (0.16, 1), (0.49, 1)]
    told = found.calibration["stated"]
    assert told.intervals["brier"] == pytest.approx(ratio_interval(brier).ends)
    losses = np.array([-math.log(0.9) - math.log(0.5), -math.log(0.2), -math.log(0.6), -math.log(0.3)])
    mean = losses.sum() / 5
    sizes = np.array([2, 1, 1, 1])
    error = math.sqrt(((losses - mean * sizes) ** 2 / (1 - sizes / 5)).sum()) / 5
    factor = math.exp(stats.t.ppf(0.975, 5**2 / 7 - 1) * error / mean)
    assert told.intervals["nll"] == pytest.approx((mean / factor, mean * factor))


def test_popes_figures_have_intervals_over_images() -> None:
    found = labelled_images(yes_no_set=True).pope
    assert found is not None
    assert list(found.intervals) == ["accuracy", "accuracy_answered", "precision", "recall", "f1", "yes_ratio"]
    for name, (low, high) in found.intervals.items():
        assert low <= getattr(found, name) <= high
    one, two = PopeCounts(tp=1, fn=1), PopeCounts(fp=1, tn=2, neither=1)
    many = PopeScore.of({one: 3, two: 2})
    assert many.counts == PopeCounts(tp=3, fn=3, fp=2, tn=4, neither=2)
    assert many.intervals["f1"] == ratio_interval([(2, 3)] * 3 + [(0, 1)] * 2).ends
    assert many.intervals["accuracy"] == ratio_interval([(1, 2)] * 3 + [(2, 4)] * 2).ends
    assert many.intervals["yes_ratio"] == ratio_interval([(1, 2)] * 3 + [(1, 3)] * 2).ends
    assert PopeScore.of({}).intervals == {}


@pytest.mark.parametrize(
    ("counts", "none"),
    [
        (PopeCounts(), dict.fromkeys(list(PopeScore.model_fields)[1:7], "no question that yes or no answers was asked")),
        (PopeCounts(neither=2, abstained=1), {
            "accuracy_answered": "no response says yes or no", "precision": "no response says yes",
            "recall": "no question of which yes is true was answered by yes or no",
            "f1": "no response says yes, and none says no where yes is true", "yes_ratio": "no response says yes or no",
        }),
        (PopeCounts(tn=2, fn=1), {"precision": "no response says yes"}),
        (PopeCounts(tn=2, fp=1), {"recall": "no question of which yes is true was answered by yes or no"}),
    ],
)  # fmt: skip
def test_each_of_popes_figures_that_is_null_has_its_reason(counts: PopeCounts, none: dict[str, str]) -> None:
    found = PopeScore.of({counts: 2})
    assert {name: why for name, why in found.undefined.items() if not name.startswith("intervals.")} == none
    for name in list(PopeScore.model_fields)[1:7]:
        assert (getattr(found, name) is None) == (name in none)


def test_one_image_gives_no_interval_and_a_reason_for_each_figure() -> None:
    found = labelled_images(1, yes_no_set=True)
    few = "an interval needs at least 2 images that bear on the figure; there is 1"
    assert (found.accuracy_ci, found.intervals, found.calibration["stated"].intervals) == (None, {}, {})
    assert found.undefined["accuracy_ci"] == found.undefined["intervals.dual_accuracy"] == few
    assert found.calibration["stated"].undefined["intervals.brier"] == few
    assert found.pope is not None
    assert found.pope.undefined["intervals.accuracy"] == few


def test_a_labelled_score_of_before_there_were_intervals_loads() -> None:
    found = labelled_images(yes_no_set=True)
    assert LabelledScore.model_validate_json(found.model_dump_json()) == found
    old = {"intervals", "undefined"}
    written = found.model_dump(exclude={*old, "pope", "pope_official", "calibration"})
    written |= {name: getattr(found, name).model_dump(exclude=old) for name in ("pope", "pope_official")}
    written["calibration"] = {name: each.model_dump(exclude=old) for name, each in found.calibration.items()}
    read = LabelledScore.model_validate(written)
    assert (read.accuracy, read.intervals, read.pope and read.pope.intervals) == (found.accuracy, {}, {})
