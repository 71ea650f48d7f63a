"""VQA's official script, by what it gave for texts of ours: tests/data/vqa_script.json.

`benchmarks/official_scripts.py` runs the script itself on hundreds of thousands of texts.
"""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from unsaf_async.score.metrics import FEWEST_ANNOTATORS, official_yes_no, vqa_accuracy, vqa_accuracy_contained
from unsaf_async.score.vqa_script import CONTRACTIONS, script_accuracy, script_form

GIVEN = json.loads((Path(__file__).parents[1] / "data" / "vqa_script.json").read_text("utf-8"))
ACCURACIES = [(answer, answers, accuracy) for answer, answers, accuracy in GIVEN["accuracies"]]


@pytest.mark.parametrize(("text", "form"), GIVEN["forms"])
def test_a_text_has_the_form_that_the_official_script_gives_it(text: str, form: str) -> None:
    assert script_form(text) == form


@pytest.mark.parametrize(("answer", "answers", "accuracy"), ACCURACIES)
def test_the_accuracy_to_the_letter_is_that_of_the_official_script(
    answer: str, answers: list[str], accuracy: float
) -> None:
    assert script_accuracy(answer, answers) == pytest.approx(accuracy)


@pytest.mark.parametrize(
    ("answer", "answers", "accuracy"),
    [each for each in ACCURACIES if len(each[1]) >= FEWEST_ANNOTATORS and len({one.strip() for one in each[1]}) > 1],
)
def test_vqa_accuracy_is_that_of_the_official_script_where_annotators_differ(
    answer: str, answers: list[str], accuracy: float
) -> None:
    assert vqa_accuracy(answer, answers) == pytest.approx(accuracy)
    contained = vqa_accuracy_contained(answer, answers)
    assert contained is not None
    assert contained >= accuracy - 1e-12


def test_where_all_annotators_agree_case_and_full_stop_cost_the_official_figure_alone() -> None:
    assert (vqa_accuracy("Red.", ["red"] * 10), script_accuracy("Red.", ["red"] * 10)) == (1, 0)


def test_without_references_the_official_figure_is_none() -> None:
    assert script_accuracy("red", []) is None


def test_contractions_are_those_of_the_official_script() -> None:
    # Counted in the script: its 114 entries that are in lower case and change anything.
    assert len(CONTRACTIONS) == 114
    assert {short: whole for short, whole in CONTRACTIONS.items() if "'" not in whole} == {"somebody'd": "somebodyd"}
    assert not {"im", "ive", "shes", "hell", "id", "ill", "its", "wed", "were", "lets"} & CONTRACTIONS.keys()


@pytest.mark.parametrize(
    ("text", "official"),
    [
        ("No", "no"),
        ("no", "no"),
        ("NO", "yes"),
        ("No.", "no"),
        ("No!", "yes"),
        ("No, there is not.", "no"),
        ("no,yes", "yes"),
        ("Yes. No.", "yes"),
        ("Not sure.", "yes"),
        ("I am not sure.", "no"),
        ("No\nYes", "yes"),
        ("not\tthere", "yes"),
        ("There's no. dog", "no"),
        ("There isn't.", "yes"),
        (".no", "yes"),
        ("", "yes"),
        ("Unknown, so no", "no"),
    ],
)
def test_popes_rule_reads_a_text_as_its_official_script_does(text: str, official: str) -> None:
    assert official_yes_no(text) == official
