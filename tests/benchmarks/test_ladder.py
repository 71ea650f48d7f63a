"""The ladder of sizes: slopes by hand, how intervals err where size does nothing, and what is stored."""

from __future__ import annotations

import importlib
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from unsaf_async.records import CallRecord, Examination, ImageRecord, Question
from unsaf_async.score.rank_correlation import rank_correlation

ROOT = Path(__file__).parents[2]
STORED = ROOT / "docs" / "validity"


@pytest.fixture
def ladder(monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.syspath_prepend(str(ROOT / "benchmarks"))
    return importlib.import_module("ladder")


def stored(name: str) -> Any:
    return json.loads((STORED / f"{name}.json").read_text("utf-8"))


def study(parameters: int, seed: int, oracle: float, unf1: float) -> dict[str, Any]:
    return {"parameters": parameters, "training_seed": seed, "oracle": {"f1": oracle}, "unf1": {"f1": unf1}}


STUDIES = [
    study(1_000, 0, 0.5, 0.40), study(1_000, 1, 0.6, 0.50),
    study(10_000, 0, 0.7, 0.52), study(10_000, 1, 0.8, 0.48),
    study(100_000, 0, 0.9, 0.61), study(100_000, 1, 0.9, 0.59),
]  # fmt: skip
PLANTED = {"slope": 1.0}


def test_sizes_are_the_unit_of_a_slope(ladder: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ladder, "VALUE", {name: ladder.VALUE[name] for name in ("oracle_f1", "unf1", "blank_j")})
    found = ladder.size_slopes(STUDIES, dict.fromkeys(ladder.VALUE, PLANTED))
    of = found["unf1"]
    assert of["means"] == pytest.approx([0.45, 0.5, 0.6])
    assert of["slope"] == pytest.approx(0.075)
    # residuals .05/6 (1, -2, 1) with one degree of freedom, over a spread of 2: Student's t is 12.706
    error = (0.05 / 6) * np.sqrt(6) / np.sqrt(2)
    assert of["slope_ci"] == pytest.approx([0.075 - 12.7062 * error, 0.075 + 12.7062 * error], abs=1e-5)
    assert (of["steps_in_order"], of["steps"], of["models"]) == (2, 2, [2, 2, 2])
    assert of["scatter"] == pytest.approx(np.sqrt((0.005 + 0.0008 + 0.0002) / 3))
    assert of["pairs_of_sizes"] == [3, 3]
    assert of["pairs_of_models"] == [
        12,
        15,
    ]  # .48 is below .50 and .52, and the two of the last size are alike by the oracle
    assert found["blank_j"] == {"undefined": "0 of the sizes have it"}


def test_a_figure_that_should_fall_is_in_order_where_it_falls(ladder: Any) -> None:
    assert ladder.pairs_in_order([3.0, 2.0, 1.0], [0.1, 0.2, 0.3], -1.0) == (3, 3)
    assert ladder.pairs_in_order([3.0, 2.0, 2.5], [0.1, 0.2, 0.3], -1.0) == (2, 3)


def test_intervals_of_many_ladders_are_those_of_each(ladder: Any) -> None:
    x, rows = np.repeat([5.0, 5.4, 6.1, 6.5], 3), np.random.default_rng(1).normal(size=(300, 12))
    ends = [ladder.slope(x, row)[1:] for row in rows]
    assert ladder.excludes_0(x, rows) == np.mean([low > 0 or high < 0 for low, high in ends])
    ranks = [rank_correlation(x, row, "spearman").ci for row in rows]
    assert ladder.ranks_exclude_0(x, rows) == np.mean([ends is None or ends[0] > 0 or ends[1] < 0 for ends in ranks])


def test_sizes_as_units_keep_the_type_1_error_and_models_as_units_do_not(ladder: Any) -> None:
    plain, _, clustered = ladder.without_effect(np.array([5.0, 5.4, 6.1, 6.5]), [3] * 4, [0.02] * 4, 20_000)
    assert plain["sizes"] == pytest.approx(0.05, abs=0.006)
    assert clustered["sizes"] == pytest.approx(0.05, abs=0.006)
    assert plain["models"] == pytest.approx(0.05, abs=0.006)
    assert clustered["models"] > 0.15


def test_the_stored_ladder_is_what_the_stored_figures_give(ladder: Any, tmp_path: Path) -> None:
    arguments = [f"--{name}={STORED / name}.json" for name in ("results", "awareness", "charts")]
    ladder.main([*arguments, f"--out={tmp_path / 'ladder.json'}"])
    again = json.loads((tmp_path / "ladder.json").read_text("utf-8"))

    def near(one: Any, other: Any) -> None:
        if isinstance(one, dict):
            assert one.keys() == other.keys()
            for name in one:
                near(one[name], other[name])
        else:
            assert one == (other if isinstance(other, str | None) else pytest.approx(other, abs=1e-9))

    kept = stored("ladder")
    for found in (again, kept):
        simulated = found.pop("without_effect")
        assert len(simulated) == len(ladder.SHARES)
    near(again, kept)


def test_the_text_says_what_the_figures_say() -> None:
    text = " ".join((ROOT / "docs" / "validity.md").read_text("utf-8").split())
    sizes, charts = stored("ladder")["sizes"], stored("ladder")["charts"]
    ordered, of = sizes["unf1"]["pairs_of_models"]
    assert f"UnF1 puts {ordered} of {of} pairs of models in the oracle's order" in text
    assert sizes["audited_unf1"]["pairs_of_models"] == sizes["ece"]["pairs_of_models"]
    assert f"a conventional figure, put {sizes['ece']['pairs_of_models'][0]} so" in text
    corrected = sizes["corrected_unf1"]
    assert "the corrected UnF1 {} of the {} that".format(*corrected["pairs_of_models"]) in text
    assert f"of which UnF1 has {corrected['pairs_by_unf1']}" in text
    assert f"controls with another picture put {sizes['other_j']['pairs_of_models'][0]} of these" in text
    assert sizes["blank_j"]["pairs_of_models"][0] == corrected["pairs_by_unf1"]
    assert "token confidence puts {} of {}, and semantic entropy {}:".format(
        *sizes["token_confidence"]["pairs_of_models"], sizes["semantic_entropy"]["pairs_of_models"][0]
    ) in text  # fmt: skip
    assert sizes["oracle_f1"]["slope_ci"][0] < 0 < sizes["unf1"]["slope_ci"][0]
    wrong = {name for name, one in charts.items() if one["pairs_of_sizes"][0] < 3}
    assert wrong == {"blank_j", "semantic_entropy", "semantic_entropy_oracle"}


# --- what is true by the oracle of a run's world --------------------------------------------------------------------------


def test_the_truth_of_a_picture_is_that_of_its_world(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(ROOT / "benchmarks"))
    by_oracle = importlib.import_module("by_oracle")

    def examination(metadata: dict[str, Any]) -> Examination:
        questions = tuple(
            Question(
                text=text, intended=intended, response=reply, answer=CallRecord(role="answer", outcome="ok"), act=act
            )
            for text, intended, reply, act in (
                ("How tall is the teal bar?", "unanswerable", "Four.", "answered"),
                ("How tall is the navy bar?", "answerable", "I cannot tell: there is no navy bar.", "abstained"),
                ("What color is the star?", "answerable", "Red.", "answered"),
            )
        )
        return Examination(image=ImageRecord(id="a", path="a.png", metadata=metadata), questions=questions)

    chart = " | ".join(["plain teal 4", *["nothing"] * 8])
    scene = " | ".join(["small red star", *["nothing"] * 8])
    of_charts = examination({"world": "charts", "scene": chart})
    assert by_oracle.verdicts(of_charts) == ["answerable", "unanswerable", None]
    assert by_oracle.verdicts(examination({"scene": scene})) == [
        None,
        None,
        "answerable",
    ]  # of a run that names no world
    (relabelled,) = by_oracle.relabelled([of_charts], by_oracle.true_label)
    assert [question.intended for question in relabelled.questions] == ["answerable", "unanswerable"]
    assert by_oracle.scored([relabelled])["f1"] == 1.0
    assert by_oracle.relabelled([of_charts], by_oracle.audited)[0].questions == ()
    assert by_oracle.fidelity([of_charts])["answerable"] == {"false": 0.5, "unreadable": 0.5}
    assert by_oracle.kinds([of_charts])["absent-object"] == {"n": 1, "declined": 1.0}


def test_studies_of_models_that_are_not_at_hand_are_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(ROOT / "benchmarks"))
    validity = importlib.import_module("validity")
    now = [study(1_000, 2, 0.5, 0.5), study(1_000, 0, 0.6, 0.6)]
    earlier = [study(1_000, 0, 0.1, 0.1), study(10_000, 1, 0.7, 0.7), study(1_000, 1, 0.2, 0.2)]
    both = validity.merged(now, earlier)
    assert [(one["training_seed"], one["parameters"], one["unf1"]["f1"]) for one in both] == [
        (0, 1_000, 0.6), (1, 1_000, 0.2), (1, 10_000, 0.7), (2, 1_000, 0.5),
    ]  # fmt: skip
