"""Cross-examination: the matrix on shared images, and the two skills that explain it."""

from __future__ import annotations

import csv
import io
import itertools
from typing import TYPE_CHECKING

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from unsaf_async.cli.compare_tables import print_matrix
from unsaf_async.compare.cross_matrix import CrossMatrix, Effect, matrix, to_csv
from unsaf_async.records import CallRecord, Examination, ImageRecord, Question

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

CALL = CallRecord(role="answer", outcome="ok")
FAST = settings(max_examples=40, deadline=None)
Cells = dict[tuple[str, str], list[Examination]]


def examination(name: str, *, ta: int = 0, fu: int = 0, tu: int = 0, fa: int = 0) -> Examination:
    questions = [Question(text="?", intended="answerable", answer=CALL, act="answered")] * ta
    questions += [Question(text="?", intended="answerable", answer=CALL, act="abstained")] * fu
    questions += [Question(text="?", intended="unanswerable", answer=CALL, act="abstained")] * tu
    questions += [Question(text="?", intended="unanswerable", answer=CALL, act="answered")] * fa
    return Examination(image=ImageRecord(id=name, path=name), questions=tuple(questions))


def planted(
    asking: Mapping[str, float],
    answering: Mapping[str, float],
    *,
    mean: float = 0.7,
    own: float = 0.0,
    images: int = 60,
    k: int = 6,
    seed: int = 0,
) -> Cells:
    """Cells whose UnF1 is mean + asking + answering + own (where asker is answerer), but for chance.

    Nothing answerable is declined, so that with recall r UnF1 is 2 r / (1 + r): r = u / (2 - u).
    """
    rng = np.random.default_rng(seed)
    cells: Cells = {}
    for (asker, ask), (answerer, answer) in itertools.product(asking.items(), answering.items()):
        unf1 = mean + ask + answer + own * (asker == answerer)
        tu = rng.binomial(k, unf1 / (2 - unf1), images)
        cells[asker, answerer] = [examination(f"{i}", ta=k, tu=int(t), fa=k - int(t)) for i, t in enumerate(tu)]
    return cells


def exact(values: Mapping[tuple[str, str], float], images: int = 1, of: int = 200) -> Cells:
    """Cells with these very UnF1, each a multiple of 1 / of: TU / of of 2 TU + FA = 2 of."""
    return {
        key: [examination(f"{i}", tu=round(value * of), fa=2 * of - 2 * round(value * of)) for i in range(images)]
        for key, value in values.items()
    }


def values_of(effects: Sequence[Effect]) -> list[float]:
    return [effect.value for effect in effects if effect.value is not None]


# --- the matrix -------------------------------------------------------------------------------------------------------


def test_every_cell_rests_on_the_images_that_all_cells_share() -> None:
    cells = {
        ("a", "a"): [examination("x", tu=1, fa=1), examination("y", tu=1), examination("z", fa=9)],
        ("a", "b"): [examination("y", tu=1, fa=2), examination("x", tu=1)],
        ("b", "a"): [examination("x", tu=1, fu=1), examination("y", fa=2), examination("w", fa=9)],
        ("b", "b"): [examination("x", tu=1, ta=5), examination("y", tu=3)],
    }
    found = matrix(cells, resamples=50)
    assert found.images == 2
    assert [found.cell(*key).unf1 for key in cells] == [pytest.approx(u) for u in (4 / 5, 4 / 6, 2 / 5, 1.0)]
    assert [found.cell(*key).images for key in cells] == [3, 2, 3, 2]
    assert [found.cell(*key).questions for key in cells] == [3, 4, 4, 9]
    # One of the two images has three times the other's weight (6 to 2): as much as 8² / (6² + 2²) = 1.6 equal ones.
    assert found.cell("b", "b").ci == (pytest.approx(0.025 ** (1 / 1.6)), 1.0)
    assert found.cell("b", "b").why == ""


def test_missing_and_empty_cells_are_none_with_a_reason_and_do_not_hinder_the_others() -> None:
    cells = {("a", "a"): [examination("x", tu=1)], ("b", "b"): [examination("x", tu=1)], ("b", "a"): []}
    found = matrix(cells, resamples=10)
    assert (found.askers, found.answerers, len(found.cells)) == (["a", "b"], ["a", "b"], 4)
    assert found.cell("a", "b").why == "nobody put these questions to this model"
    assert found.cell("b", "a").why == "no image holds a question"
    assert found.cell("a", "a").unf1 == 1.0
    assert found.cell("a", "a").why == "one shared image has no interval"
    with pytest.raises(KeyError):
        found.cell("a", "nobody")


def test_cells_without_a_common_image_have_no_score() -> None:
    found = matrix({("a", "a"): [examination("x", tu=1)], ("a", "b"): [examination("y", tu=1)]}, resamples=10)
    assert found.images == 0
    assert {cell.why for cell in found.cells} == {"no image is in all cells"}
    assert (found.fit.mean, found.fit.cells, found.fit.undefined["mean"]) == (None, 0, "no cell has an UnF1")


@pytest.mark.parametrize(("images", "notes"), [(1, 0), (2, 2), (4, 2), (5, 1), (7, 1), (8, 0)])
def test_few_shared_images_are_told_with_what_they_mean(
    images: int, notes: int, capsys: pytest.CaptureFixture[str]
) -> None:
    found = matrix(
        planted({"a": 0.0, "b": 0.1}, {"a": 0.0, "b": 0.1}, images=images), resamples=20, notes=["b: whose?"]
    )
    assert found.notes[0] == "b: whose?"
    assert [f"on {images} pictures; with fewer than" in note for note in found.notes[1:]] == [True] * notes
    print_matrix(found)
    assert capsys.readouterr().out.count("Note: ") == 1 + notes


def test_nothing_at_all_is_an_empty_matrix() -> None:
    found = matrix({}, resamples=10)
    assert (found.cells, found.images, found.fit.cells, found.fit.parameters) == ([], 0, 0, 0)


def test_a_cell_without_a_response_that_counts_is_undefined_and_left_out_of_the_fit() -> None:
    cells = exact(dict.fromkeys(itertools.product("ab", "ab"), 0.5))
    cells["a", "b"] = [examination("0", ta=4)]
    found = matrix(cells, resamples=10)
    assert found.cell("a", "b").unf1 is None
    assert found.cell("a", "b").why == "no response on the shared images counts"
    assert found.fit.cells == 3


# --- the fit ----------------------------------------------------------------------------------------------------------

NAMES = "abcd"


@FAST
@given(st.integers(1, 4), st.integers(1, 4), st.data())
def test_what_is_additive_is_recovered_exactly(askers: int, answerers: int, data: st.DataObject) -> None:
    points = st.integers(-20, 20)
    asking = np.array(data.draw(st.lists(points, min_size=askers, max_size=askers)), float)
    answering = np.array(data.draw(st.lists(points, min_size=answerers, max_size=answerers)), float)
    found = matrix(
        exact({(NAMES[i], NAMES[j]): 0.5 + (asking[i] + answering[j]) / 100
               for i in range(askers) for j in range(answerers)}), resamples=2
    )  # fmt: skip
    fit = found.fit
    assert fit.mean == pytest.approx(0.5 + (asking.mean() + answering.mean()) / 100)
    assert values_of(fit.asking) == pytest.approx((asking - asking.mean()) / 100, abs=1e-9)
    assert values_of(fit.answering) == pytest.approx((answering - answering.mean()) / 100, abs=1e-9)
    assert fit.residual_rms == pytest.approx(0, abs=1e-9)
    assert fit.parameters == askers + answerers - 1
    assert fit.variance_explained in (None, pytest.approx(1.0))
    if fit.own_advantage is not None:
        assert fit.own_advantage == pytest.approx(0, abs=1e-9)


def test_planted_skills_lie_within_their_intervals_and_in_their_order() -> None:
    asking = {"a": 0.12, "b": 0.0, "c": -0.12}
    answering = {"a": -0.08, "b": 0.0, "c": 0.08}
    fit = matrix(planted(asking, answering, images=150), resamples=500).fit
    for effects, truth in ((fit.asking, asking), (fit.answering, answering)):
        assert sorted(truth, key=truth.__getitem__) == [e.name for e in sorted(effects, key=lambda e: e.value or 0.0)]
        for effect in effects:
            assert effect.ci is not None
            assert effect.ci[0] <= truth[effect.name] <= effect.ci[1]
            assert effect.ci[1] - effect.ci[0] < 0.05
    assert fit.variance_explained is not None
    assert fit.variance_explained > 0.95


@pytest.mark.parametrize("images", [8, 30])
def test_the_intervals_of_the_effects_cover_as_often_as_they_say(images: int) -> None:
    """200 matrices; at the levels of 2.5 % and 97.5 % those of 8 images covered .92."""
    asking, answering = {"a": 0.1, "b": -0.1}, {"a": -0.05, "b": 0.05}
    covered = []
    for seed in range(200):
        fit = matrix(planted(asking, answering, own=0.06, images=images, k=4, seed=seed), resamples=300).fit
        for ci, truth in (
            (fit.asking[0].ci, 0.1), (fit.answering[0].ci, -0.05), (fit.own_advantage_ci, 0.06),
        ):  # fmt: skip
            assert ci is not None
            covered.append(ci[0] <= truth <= ci[1])
    assert 0.93 <= np.mean(covered) <= 0.985


def test_an_advantage_on_ones_own_questions_is_told_from_skill() -> None:
    names = {"a": 0.05, "b": 0.0, "c": -0.05}
    flattered = matrix(planted(names, names, own=0.1, images=150), resamples=500).fit
    fair = matrix(planted(names, names, images=150), resamples=500).fit
    assert flattered.own_advantage == pytest.approx(0.1, abs=0.03)
    assert flattered.own_advantage_ci is not None
    assert flattered.own_advantage_ci[0] > 0
    assert fair.own_advantage_ci is not None
    assert fair.own_advantage_ci[0] < 0 < fair.own_advantage_ci[1]
    assert values_of(flattered.asking) == pytest.approx([0.05, 0, -0.05], abs=0.03), "a full matrix is not biased by it"


@pytest.mark.parametrize("models", [2, 3, 4])
def test_in_a_full_matrix_the_diagonal_lies_above_the_fit_by_its_share_of_the_advantage(models: int) -> None:
    names = NAMES[:models]
    rng = np.random.default_rng(models)
    cells = exact({key: rng.integers(60, 140) / 200 for key in itertools.product(names, names)})
    found = matrix(cells, resamples=2)
    fit = found.fit
    ask, answer = ({e.name: e.value or 0.0 for e in effects} for effects in (fit.asking, fit.answering))
    residual = {
        (cell.asker, cell.answerer): (cell.unf1 or 0.0) - (fit.mean or 0.0) - ask[cell.asker] - answer[cell.answerer]
        for cell in found.cells
    }
    diagonal = np.mean([residual[name, name] for name in names])
    assert fit.own_advantage is not None
    assert diagonal == pytest.approx(fit.own_advantage * (1 - 1 / models))
    assert fit.residual_rms == pytest.approx(np.sqrt(np.mean(np.square(list(residual.values())))))


def test_the_fit_is_that_of_the_normal_equations_where_cells_are_missing() -> None:
    rng = np.random.default_rng(1)
    keys = [key for key in itertools.product("abc", "abc") if key not in (("a", "b"), ("c", "a"))]
    found = matrix(exact({key: rng.integers(60, 140) / 200 for key in keys}), resamples=2)
    y = np.array([found.cell(*key).unf1 for key in keys], float)
    dummies = np.array([[*(a == n for n in "abc"), *(b == n for n in "abc")] for a, b in keys], float)
    theirs, *_ = np.linalg.lstsq(dummies, y, rcond=None)
    assert values_of(found.fit.asking) == pytest.approx(theirs[:3] - theirs[:3].mean())
    assert values_of(found.fit.answering) == pytest.approx(theirs[3:] - theirs[3:].mean())
    assert found.fit.mean == pytest.approx(theirs[:3].mean() + theirs[3:].mean())
    assert found.fit.residual_rms == pytest.approx(np.sqrt(np.mean((y - dummies @ theirs) ** 2)))


def test_one_model_alone_has_no_skills_to_tell_apart() -> None:
    fit = matrix(planted({"a": 0.0}, {"a": 0.0}), resamples=50).fit
    assert fit.mean == pytest.approx(0.7, abs=0.05)
    assert (values_of(fit.asking), values_of(fit.answering), fit.residual_rms) == ([0.0], [0.0], 0.0)
    assert fit.own_advantage is None
    assert "cannot be separated" in fit.undefined["own_advantage"]
    assert fit.undefined["variance_explained"] == "all cells are equal"


def test_own_runs_alone_cannot_tell_asking_from_answering() -> None:
    """The diagonal is what runs of one's own give: without any other cell nothing links the models."""
    cells = {
        key: found for key, found in planted({"a": 0.1, "b": 0.0}, {"a": 0.0, "b": 0.0}).items() if key[0] == key[1]
    }
    found = matrix(cells, resamples=50)
    assert found.cell("a", "a").unf1 is not None
    assert (found.fit.mean, values_of(found.fit.asking), values_of(found.fit.answering)) == (None, [], [])
    assert "groups that share neither asker nor answerer" in found.fit.undefined["asking.a"]
    assert "groups that share neither asker nor answerer" in found.fit.undefined["mean"]


def test_a_model_without_any_defined_cell_has_no_effect_and_the_others_keep_theirs() -> None:
    cells = planted({"a": 0.1, "b": -0.1}, {"a": 0.0, "b": 0.0}, images=100)
    cells["c", "a"] = []
    fit = matrix(cells, resamples=100).fit
    assert [effect.name for effect in fit.asking] == ["a", "b", "c"]
    assert fit.asking[2] == Effect(name="c", value=None, ci=None)
    assert fit.undefined["asking.c"] == "no cell of its questions has an UnF1"
    assert values_of(fit.asking) == pytest.approx([0.1, -0.1], abs=0.04)


def test_images_that_are_all_alike_give_effects_without_intervals() -> None:
    fit = matrix(
        exact({("a", "a"): 0.8, ("a", "b"): 0.7, ("b", "a"): 0.6, ("b", "b"): 0.5}, images=5), resamples=50
    ).fit
    assert values_of(fit.asking) == pytest.approx([0.1, -0.1])
    assert [effect.ci for effect in (*fit.asking, *fit.answering)] == [None] * 4
    assert fit.own_advantage_ci is None
    assert "all alike" in fit.undefined["asking.a.ci"]


def test_every_none_has_its_reason() -> None:
    degenerate: list[Cells] = [
        {},
        {("a", "a"): []},
        exact({("a", "a"): 0.0, ("b", "b"): 1.0}),
        exact({("a", "a"): 0.5}, images=3),
        planted({"a": 0.0, "b": 0.0}, {"a": 0.0, "b": 0.0}, images=2),
    ]
    for cells in degenerate:
        found = matrix(cells, resamples=20)
        fit = found.fit
        named: dict[str, object] = {
            name: getattr(fit, name)
            for name in ("mean", "residual_rms", "variance_explained", "own_advantage", "own_advantage_ci")
        }
        for sort, effects in (("asking", fit.asking), ("answering", fit.answering)):
            named |= {f"{sort}.{effect.name}": effect.value for effect in effects}
        assert {name for name, value in named.items() if value is None} == {
            name for name in fit.undefined if not (name.endswith(".ci"))
        }
        assert all((cell.ci is None) == bool(cell.why) for cell in found.cells)


def test_equal_seeds_give_equal_matrices() -> None:
    cells = planted({"a": 0.1, "b": 0.0}, {"a": 0.0, "b": 0.0}, images=20)
    first, again, other = (matrix(cells, resamples=100, seed=seed) for seed in (1, 1, 2))
    assert first == again
    assert first.fit != other.fit


def test_no_resample_at_all_is_refused() -> None:
    with pytest.raises(ValueError, match="resamples is 0"):
        matrix({}, resamples=0)


# --- as text ----------------------------------------------------------------------------------------------------------


@pytest.fixture
def small() -> CrossMatrix:
    cells = planted({"one": 0.1, "=two": -0.1}, {"one": 0.0, "=two": 0.0}, images=20)
    del cells["one", "=two"]
    return matrix(cells, resamples=100)


def test_csv_has_a_line_a_cell(small: CrossMatrix) -> None:
    rows = list(csv.DictReader(io.StringIO(to_csv(small))))
    assert [(row["asker"], row["answerer"]) for row in rows] == [
        ("one", "one"), ("one", "'=two"), ("'=two", "one"), ("'=two", "'=two"),
    ]  # fmt: skip
    assert [row["unf1"] for row in rows] == ["" if cell.unf1 is None else str(cell.unf1) for cell in small.cells]
    assert rows[1]["why"] == "nobody put these questions to this model"


def test_the_matrix_is_printed_with_who_asks_down_and_who_answers_across(
    small: CrossMatrix, capsys: pytest.CaptureFixture[str]
) -> None:
    print_matrix(small)
    text = capsys.readouterr().out
    row = next(line for line in text.splitlines() if line.startswith("=two"))
    assert f"{small.cell('=two', 'one').unf1:.3f}" in row
    assert f"{small.cell('=two', '=two').unf1:.3f}" in row
    assert "on the 20 images that all cells share" in text
    assert f"{small.fit.asking[0].value:+.3f}" in text
    assert "n/a for =two on the questions of one: nobody put these questions to this model" in text
    assert "Advantage on one's own questions: n/a" in text
    low, high = small.fit.mean_ci
    assert f"mean {small.fit.mean:.3f} ({low:.3f} to {high:.3f})" in text
    said = " ".join(text.split())
    assert (
        "n/a in the fit: 95 % interval of residual, 95 % interval of variance explained: the chance of the images"
        in said
    )
    assert "n/a in the fit: advantage on one's own questions: " in said


def test_a_cell_of_which_too_much_is_unscored_has_its_bounds_for_a_headline(capsys: pytest.CaptureFixture[str]) -> None:
    cells = planted({"a": 0.0, "b": 0.0}, {"a": 0.0, "b": 0.0}, images=20)
    lost = Question(text="?", intended="unanswerable", answer=CALL, unscored="undecided")
    cells["a", "b"] = [
        each.model_copy(update={"questions": (*each.questions[:6], *[lost] * 6)}) for each in cells["a", "b"]
    ]
    for each in cells["a", "b"]:
        assert {question.act for question in each.questions} == {"answered", None}
    cells["a", "b"][0] = examination("0", fu=1)
    found = matrix(cells, resamples=50)
    cell = found.cell("a", "b")
    assert (cell.unf1, cell.unf1_between) == (0.0, (0.0, pytest.approx(228 / 229)))
    assert found.cell("a", "a").unf1_between is None
    print_matrix(found)
    assert "between 0.000 and 0.996" in capsys.readouterr().out
