"""No figure of a result is null without its reason."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from reasons import without_reason
from reporting import checked, examinations, given_examinations, labelled_run, report_run

from unsaf_async.compare.comparison import compare
from unsaf_async.compare.power import plan
from unsaf_async.compare.power_settings import Aim
from unsaf_async.runs.saved import SavedRun

if TYPE_CHECKING:
    from pathlib import Path

    from unsaf_async.records import Examination


def changed(kept: list[Examination], **fields: object) -> list[Examination]:
    """The examinations with all questions changed."""
    return [
        each.model_copy(update={"questions": tuple(q.model_copy(update=fields) for q in each.questions)})
        for each in kept
    ]


def only(kept: list[Examination], intended: str) -> list[Examination]:
    """The examinations with the questions of one label."""
    return [
        each.model_copy(update={"questions": tuple(q for q in each.questions if q.intended == intended)})
        for each in kept
    ]


def test_the_helper_finds_what_has_no_reason() -> None:
    record = {"a": None, "b": None, "undefined": {"b": "why", "c.d": "why"}, "c": {"d": None, "e": None, "why": ""}}
    assert list(without_reason(record)) == ["a", "c.e"]
    assert list(without_reason({"x": [{"y": None}, {"y": None, "why_undefined": "why"}]})) == ["x.0.y"]


@pytest.mark.parametrize("images", [0, 1, 3])
def test_every_null_figure_of_a_checked_run_has_its_reason(images: int, tmp_path: Path) -> None:
    made = examinations(tmp_path, images)
    kept = {"whole": made, "answerable": only(made, "answerable"), "unanswerable": only(made, "unanswerable")}
    kept |= {"unscored": changed(made, act=None, unscored="failed"), "silent": changed(made, audits=(), votes=())}
    for name, each in kept.items():
        run = report_run(tmp_path / name, each, journal=False, ledger=False, **checked())
        assert list(without_reason(run.findings.model_dump(mode="json"))) == [], name


@pytest.mark.parametrize("yes_no", [False, True])
@pytest.mark.parametrize("images", [0, 1, 3])
def test_every_null_figure_of_a_labelled_run_has_its_reason(images: int, yes_no: bool, tmp_path: Path) -> None:
    made = given_examinations(tmp_path, images, yes_no=yes_no)
    kept = {"whole": made, "answerable": only(made, "answerable"), "unanswerable": only(made, "unanswerable")}
    kept |= {"declined": changed(made, act="abstained", response="I cannot tell.")}
    kept |= {"unscored": changed(made, act=None, unscored="failed", response="")}
    for name, each in kept.items():
        found = labelled_run(tmp_path / name, each, yes_no=yes_no).findings
        assert list(without_reason(found.model_dump(mode="json"))) == [], name
        if yes_no:
            assert (found.unf1, found.precision) == (None, None), "no probe of POPE is without an answer"


def test_every_null_figure_of_a_comparison_and_of_a_plan_has_its_reason(tmp_path: Path) -> None:
    made = examinations(tmp_path, 3)
    runs = {"one": made[:1], "three": made, "answerable": only(made, "answerable")}
    for name, each in runs.items():
        report_run(tmp_path / name, each)
    found = compare([SavedRun(tmp_path / name) for name in runs])
    assert list(without_reason(found.model_dump(mode="json"))) == []
    assert found.pairs[-1].undefined["p_holm"] == (
        "made-up/a-model (answerable) has no UnF1: no question that was intended unanswerable was scored"
    )
    assert list(without_reason(plan(Aim()).model_dump(mode="json"))) == []
