"""The item-response fit of a cross-examination: what is right, two models at equal difficulty, and how it is shown."""

from __future__ import annotations

import csv
import io

import numpy as np
import pytest
from rich.console import Console

from unsaf_async.cli.compare_tables import print_matrix
from unsaf_async.compare.cross_matrix import CrossMatrix, matrix, on_shared_images
from unsaf_async.compare.cross_rasch import at_equal_difficulty, difficulties, difficulties_csv, item_response
from unsaf_async.compare.cross_responses import Responses, responses
from unsaf_async.records import CallRecord, Examination, ImageRecord, Question
from unsaf_async.report.item_response import item_response as section
from unsaf_async.score import rasch

CALL = CallRecord(role="answer", outcome="ok")
ACTS = {("answerable", 1): "answered", ("answerable", 0): "abstained", ("unanswerable", 1): "abstained",
        ("unanswerable", 0): "answered"}  # fmt: skip


def asked(text, intended, right):
    """right: 1, 0, or None: unscored."""
    if right is None:
        return Question(text=text, intended=intended, answer=CALL, unscored="failed")
    return Question(text=text, intended=intended, answer=CALL, act=ACTS[intended, right])


def examination(image, *questions):
    return Examination(image=ImageRecord(id=image, path=image), questions=questions)


def crossed(abilities, hardness, images=20, seed=0, names="abcdefgh", a_kind=2):
    """Cells by the Rasch model: each model's questions have a mean difficulty, and their images one part of it."""
    rng = np.random.default_rng(seed)
    cells = {(asker, answerer): [] for asker in names[: len(hardness)] for answerer in names[: len(abilities)]}
    for image in range(images):
        shared = rng.normal(0, 0.6)
        for asker, mean in zip(names, hardness, strict=False):
            labels = ["answerable"] * a_kind + ["unanswerable"] * a_kind
            hard = mean + shared + rng.normal(0, 1, len(labels))
            for answerer, ability in zip(names, abilities, strict=False):
                right = rng.random(len(labels)) < 1 / (1 + np.exp(hard - ability))
                cells[asker, answerer].append(
                    examination(
                        f"{image}",
                        *(
                            asked(f"{n}?", label, int(each))
                            for n, (label, each) in enumerate(zip(labels, right, strict=True))
                        ),
                    )
                )
    return cells


def of(cells) -> Responses:
    return responses(*on_shared_images(cells))


# --- what is right ----------------------------------------------------------------------------------------------------


def test_right_is_answering_the_answerable_and_declining_the_rest_and_what_is_unscored_is_missing() -> None:
    cells = {
        ("a", "a"): [examination("x", asked("p?", "answerable", 1), asked("q?", "unanswerable", 1))],
        # in another order, as the questions of a cell may be
        ("a", "b"): [examination("x", asked("q?", "unanswerable", 0), asked("p?", "answerable", 0))],
        ("a", "c"): [examination("x", asked("p?", "answerable", None), asked("q?", "unanswerable", 1))],
    }
    found = of(cells)
    assert (found.models, found.askers) == (["a", "b", "c"], ["a"])
    assert {question.text: row.tolist() for (_, question), row in zip(found.questions, found.right, strict=True)} == {
        "p?": [1, 0, -1],
        "q?": [1, 0, 1],
    }


def test_the_same_words_under_two_labels_or_twice_are_as_many_questions() -> None:
    questions = [asked("p?", "answerable", 1), asked("p?", "unanswerable", 0), asked("p?", "answerable", 0)]
    found = of({("a", "a"): [examination("x", *questions)], ("a", "b"): [examination("x", *questions)]})
    assert found.right.tolist() == [[1, 1], [0, 0], [0, 0]]


def test_a_question_that_nobody_is_scored_on_is_no_question() -> None:
    cells = {("a", name): [examination("x", asked("p?", "answerable", None))] for name in "abc"}
    fitted = item_response(of(cells))
    assert (fitted.questions, fitted.undefined["abilities"]) == (0, "no response counts")


def test_equal_pictures_are_one_unit() -> None:
    cells = crossed([-0.5, 0, 0.5], [0, 0, 0], images=12)
    once = matrix(cells, resamples=2).item_response
    twice = matrix(
        {
            key: [
                each.model_copy(
                    update={
                        "image": ImageRecord(id=f"{n}-{each.image.id}", path="x", pixels_sha256=f"{each.image.id:>064}")
                    }
                )
                for n in range(2)
                for each in examinations
            ]
            for key, examinations in cells.items()
        },
        resamples=2,
    ).item_response
    assert twice.questions == 2 * once.questions
    assert twice.pictures == once.pictures == 12
    assert twice.abilities[0].ci == pytest.approx(once.abilities[0].ci)


# --- the fit ----------------------------------------------------------------------------------------------------------


def test_abilities_and_counts_of_questions_that_say_nothing() -> None:
    fitted = matrix(crossed([-1, -0.5, 0, 0.5, 1], [0, 0, 0, 0, 0], images=120), resamples=2).item_response
    for each, truth in zip(fitted.abilities, [-1, -0.5, 0, 0.5, 1], strict=True):
        assert each.ci[0] < each.value < each.ci[1]
        assert each.value == pytest.approx(truth, abs=0.25)
    assert sum(each.value for each in fitted.abilities) == pytest.approx(0, abs=1e-9)
    assert fitted.questions == 120 * 20
    nothing = sum(each.all_right + each.all_wrong for each in fitted.asked)
    assert nothing == fitted.questions - fitted.informative > 0
    assert sum(level.questions for level in fitted.levels) == fitted.questions
    assert [split.by for split in fitted.splits] == ["label", "difficulty", "asker"]
    assert fitted.own_advantage_ci[0] < 0 < fitted.own_advantage_ci[1]


def test_intervals_of_abilities_cover_as_often_as_they_say() -> None:
    truth, covered = np.array([-0.6, 0.0, 0.0, 0.6]), []
    for seed in range(120):
        given = of(crossed(truth, [0.5, 0], images=10, seed=seed))
        fit = rasch.fit(given.right, given.picture)
        for value, moves, true in zip(fit.abilities, fit.influence.T, truth, strict=True):
            low, high = rasch.interval_of(value, moves)
            covered.append(low <= true <= high)
    assert 0.92 <= np.mean(covered) <= 0.985


def test_two_equal_models_differ_by_what_they_ask_and_not_at_equal_difficulty() -> None:
    """The share of right responses on own questions is told apart each time; the abilities are where chance has it."""
    alarms = {"all_questions": 0, "own_questions": 0, "own_share": 0, "easier": 0}
    for seed in range(100):
        given = of(crossed([0.3, 0.3, -0.3, 0.0, -0.3], [1.2, -1.2], images=14, seed=seed))
        pair = at_equal_difficulty(given, rasch.fit(given.right, given.picture), 0, 1)
        for name in alarms:
            low, high = getattr(pair, f"{name}_ci")
            alarms[name] += not low <= 0 <= high
        assert pair.easier < 0
    assert alarms["own_share"] >= 95
    assert alarms["easier"] >= 95
    assert max(alarms["all_questions"], alarms["own_questions"]) <= 11, "of 100 at 5 %"


def test_a_better_model_is_better_at_equal_difficulty_though_its_own_questions_hide_it() -> None:
    fitted = item_response(of(crossed([1.0, -0.2, -0.2, -0.3, -0.3], [1.4, 0.0], images=120)))
    pair = fitted.pairs[0]
    assert pair.own_share < 0.05
    assert pair.own_questions_ci[0] > 0
    assert pair.own_questions == pytest.approx(1.2, abs=0.5)
    assert pair.all_questions == pytest.approx(1.2, abs=0.3)


def test_a_model_that_declines_too_readily_shows_in_the_split_by_label() -> None:
    cells = crossed([0, 0, 0, 0, 0], [0, 0, 0], images=30)
    timid = {
        key: [
            examination(
                each.image.id,
                *(
                    asked(question.text, question.intended, int(question.intended == "unanswerable"))
                    if number % 2
                    else question
                    for number, question in enumerate(each.questions)
                ),
            )
            for each in examinations
        ]
        if key[1] == "b"
        else examinations
        for key, examinations in cells.items()
    }
    for given, differs in ((cells, False), (timid, True)):
        (by_label, *_) = item_response(of(given)).splits
        assert (by_label.p <= 0.01) == differs
    answerable, unanswerable = (group.abilities[1] for group in by_label.groups)
    assert answerable < 0 < unanswerable


def test_what_cannot_be_fitted_is_none_with_its_reason_and_the_rest_is_there() -> None:
    two = item_response(of(crossed([0, 1], [0, 0])))
    assert {each.value for each in two.abilities} == {None}
    assert two.undefined["abilities"] == "2 models cannot tell how hard a question is; it takes 3"
    assert two.pairs[0].own_share is not None
    assert two.pairs[0].easier is None
    perfect = crossed([0, 0, 0], [0, 0], images=8)
    for key in perfect:
        if key[1] == "c":
            perfect[key] = [
                examination(each.image.id, *(asked(q.text, q.intended, 1) for q in each.questions))
                for each in perfect[key]
            ]
    fitted = item_response(of(perfect))
    assert "cannot be told" in fitted.undefined["abilities"]
    assert fitted.pairs[0].undefined["all_questions"] == fitted.undefined["abilities"]
    twins = crossed([0, 0.5, -0.5], [0, 0, 0], images=8)
    for (asker, answerer), examinations in list(twins.items()):
        if answerer == "a":
            twins[asker, "d"] = examinations
    alike = next(pair for pair in item_response(of(twins)).pairs if (pair.a, pair.b) == ("a", "d"))
    assert alike.all_questions == pytest.approx(0, abs=1e-9)
    assert alike.all_questions_ci is None
    assert alike.undefined["all_questions_ci"] == "fewer than two pictures tell them apart"
    empty = matrix({}, resamples=2).item_response
    assert (empty.questions, empty.pairs) == (0, [])


# --- as files and for people ------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def found() -> CrossMatrix:
    cells = crossed([-0.5, 0, 0, 0.5], [0.5, 0, 0, -0.5], images=12)
    cells["a", "b"] = [
        each.model_copy(update={"questions": (asked("0?", "answerable", None), *each.questions[1:])})
        for each in cells["a", "b"]
    ]
    return matrix(cells, resamples=20)


def test_the_fit_goes_through_json_and_a_file_without_it_is_read(found) -> None:
    assert CrossMatrix.model_validate_json(found.model_dump_json()) == found
    old = found.model_dump(mode="json")
    del old["item_response"]
    assert CrossMatrix.model_validate(old).item_response is None


def test_each_question_has_its_difficulty_and_extremes_a_bound_alone(found) -> None:
    cells = crossed([-0.5, 0, 0, 0.5], [0.5, 0, 0, -0.5], images=12)
    given = of(cells)
    rows = list(csv.DictReader(io.StringIO(difficulties_csv(difficulties(given, item_response(given))))))
    assert len(rows) == 12 * 4 * 4
    by_right = {int(row["right"]): row for row in rows}
    assert set(by_right) == set(range(5))
    assert [bool(by_right[n]["difficulty"]) for n in range(5)] == [False, True, True, True, False]
    assert [(bool(by_right[n]["low"]), bool(by_right[n]["high"])) for n in (0, 2, 4)] == [
        (True, False), (True, True), (False, True),
    ]  # fmt: skip
    values = [float(by_right[n]["difficulty"]) for n in (1, 2, 3)]
    assert values == sorted(values, reverse=True)
    none = difficulties(given, None)
    assert {row.difficulty for row in none} == {None}


def printed(crossed_models) -> str:
    out = io.StringIO()
    print_matrix(crossed_models, Console(file=out, width=240))
    return out.getvalue()


def test_the_terminal_and_the_report_tell_the_same(found) -> None:
    text = printed(found)
    html = " ".join("".join(section(found.item_response).itertext()).split())
    best = max(found.item_response.abilities, key=lambda each: each.value)
    for said in (
        f"{best.value:.3f}",
        "whose questions are easier",
        "carry no information",
        "12 responses of the models",
    ):
        assert said in text
        assert said in html
    for said in (
        "a question's difficulty rests on 4 responses",
        "Whether the abilities are the same for the questions of each",
        "Infit: 1 where a model misses easy questions",
        "A question that all models get right may be as easy as one likes",
    ):
        assert said in text.replace("\n", " ")
        assert said in html


def test_without_a_fit_the_reason_is_shown_in_its_place(found) -> None:
    two = matrix(crossed([0, 1], [0, 0]), resamples=20)
    for text in (printed(two), "".join(section(two.item_response).itertext())):
        assert "n/a: abilities, own advantage: 2 models cannot tell how hard a question is; it takes 3" in text
        assert "logits" not in text.split("Item response")[1]
