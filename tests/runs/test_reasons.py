"""No figure of a result is null without its reason."""

from __future__ import annotations

import csv
import io
import re
from typing import TYPE_CHECKING

import pytest
from reasons import without_reason
from reporting import CALL, checked, examinations, given_examinations, labelled_run, report_run

from unsaf_async.cli.compare_tables import print_comparison
from unsaf_async.cli.render import print_score
from unsaf_async.compare.comparison import compare
from unsaf_async.compare.power import plan
from unsaf_async.compare.power_settings import Aim
from unsaf_async.compare.tables import to_csv, to_latex
from unsaf_async.records import Audit, Vote
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


def test_the_terminal_says_why_a_figure_of_an_audit_a_panel_or_pope_is_not_there(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    votes = (Vote(judge="a", act="answered", call=CALL), Vote(judge="b", act="answered", call=CALL))
    failed = (Audit(auditor="eye", answerable=None, call=CALL.model_copy(update={"outcome": "failed"})),)
    alike = changed(examinations(tmp_path, 2), act="answered", votes=votes, audits=failed)
    run = report_run(tmp_path / "alike", alike, journal=False, ledger=False, **checked())
    print_score(run.findings, run.manifest)
    said = " ".join(capsys.readouterr().out.split())
    assert "Krippendorff's alpha n/a (all votes are equal: chance agrees as well)" in said
    assert "Cohen's kappa n/a (both gave one and the same verdict throughout: chance agrees as well)" in said
    assert "n/a for eye: labels confirmed, Cohen's kappa: nothing was rated by both" in said
    declined = changed(given_examinations(tmp_path, 2, yes_no=True), act="abstained", response="I cannot tell.")
    pope = labelled_run(tmp_path / "pope", declined, yes_no=True)
    print_score(pope.findings, pope.manifest)
    assert "n/a by what was said: precision: no response says yes" in capsys.readouterr().out


def test_the_terminal_says_below_the_headline_why_it_is_not_there(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = report_run(tmp_path / "none", [], journal=False, ledger=False)
    print_score(run.findings, run.manifest)
    lines = capsys.readouterr().out.splitlines()
    at = lines.index("UnF1 n/a")
    assert lines[at + 1].startswith("n/a: UnF1: ")
    assert sum(line.startswith("n/a: UnF1: ") for line in lines) == 1


def test_the_terminal_says_why_a_sign_has_fewer_responses_than_the_others(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    made = examinations(tmp_path, 3)
    run = report_run(tmp_path / "some", [*made[1:], *changed(made[:1], act=None, unscored="undecided")])
    print_score(run.findings, run.manifest)
    lacking = run.findings.signals["declined"].lacking
    assert lacking > 0
    assert f"it declined: without {lacking} unscored; the other signs need no verdict" in capsys.readouterr().out


def test_the_terminal_says_below_each_table_why_a_figure_has_no_interval(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = report_run(tmp_path / "one", examinations(tmp_path, 1), journal=False, ledger=False, **checked())
    print_score(run.findings, run.manifest)
    said = " ".join(capsys.readouterr().out.split())
    one = "an interval needs at least 2 images that bear on the figure; there is 1"
    assert f"n/a: every 95 % interval above: {one}" in said
    assert "n/a: absent-object: none of this kind was scored" in said
    assert f"n/a: 95 % interval of hidden, identity: {one}" in said
    assert "n/a: 95 % interval of it declined, mean log-probability" in said
    empty = report_run(tmp_path / "none", [], journal=False, ledger=False)
    print_score(empty.findings, empty.manifest)
    said = " ".join(capsys.readouterr().out.split())
    assert f"n/a: precision (timidity): {empty.findings.undefined['precision']}" in said


def test_every_figure_of_a_labelled_run_has_its_interval_within_eighty_columns(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    sure = CALL.model_copy(update={"logprobs": (-0.1, -0.2)})
    run = labelled_run(tmp_path / "run", changed(given_examinations(tmp_path, 5), answer=sure))
    print_score(run.findings, run.manifest)
    lines = capsys.readouterr().out.splitlines()
    assert all(len(line) <= 80 for line in lines)
    for name in ("coverage", "dual accuracy", "ECE", "Brier", "NLL", "AUROC", "AURC", "E-AURC"):
        (line,) = [each for each in lines if each.startswith(f"{name} ")]
        assert re.search(r" \d\.\d{3} \(\d\.\d{3} to \d\.\d{3}\)", line), line
    one = labelled_run(tmp_path / "one", changed(given_examinations(tmp_path, 1), answer=sure))
    print_score(one.findings, one.manifest)
    said = " ".join(capsys.readouterr().out.split())
    assert "n/a for token probability: 95 % interval of ECE, Brier, NLL, AUROC, AURC, E-AURC: an interval needs" in said
    pope = labelled_run(tmp_path / "pope", given_examinations(tmp_path, 5, yes_no=True), yes_no=True)
    print_score(pope.findings, pope.manifest)
    lines = capsys.readouterr().out.splitlines()
    for name in ("accuracy", "precision", "recall", "F1", "share of yes"):
        (line,) = [each for each in lines if each.startswith(f"{name} ")]
        assert len(re.findall(r"\d\.\d{3} \(\d\.\d{3} to \d\.\d{3}\)", line)) == 2, line


def test_a_comparison_names_the_figures_of_a_pair_that_are_not_there(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("one", "other"):
        report_run(tmp_path / name, examinations(tmp_path, 4), name=name)
    print_comparison(compare([SavedRun(tmp_path / name) for name in ("one", "other")], resamples=20))
    said = " ".join(capsys.readouterr().out.split())
    names = "difference, 95 % interval, p, p (Holm), detectable"
    assert f"n/a for one/a-model and other/a-model: {names}: so much of one/a-model is unscored" in said
    for name in ("third", "fourth"):
        report_run(tmp_path / name, examinations(tmp_path, 1), name=name)
    print_comparison(compare([SavedRun(tmp_path / name) for name in ("third", "fourth")], resamples=20))
    said = " ".join(capsys.readouterr().out.split())
    assert "recall of hidden, recall of identity: an interval needs at least 2 images" in said


def test_a_comparison_of_labelled_runs_has_their_accuracies(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pope = labelled_run(tmp_path / "pope", given_examinations(tmp_path, 3, yes_no=True), yes_no=True)
    words = labelled_run(tmp_path / "words", given_examinations(tmp_path, 3))
    found = compare([SavedRun(tmp_path / name) for name in ("pope", "words")], resamples=20)
    figures = [(row.accuracy, row.accuracy_ci) for row in found.runs]
    assert pope.labelled is not None
    assert pope.labelled.pope is not None
    assert words.labelled is not None
    assert figures == [
        (pope.labelled.pope.accuracy, pope.labelled.pope.intervals["accuracy"]),
        (words.labelled.accuracy, words.labelled.accuracy_ci),
    ]
    line = next(csv.DictReader(io.StringIO(to_csv(found))))
    ends = tuple(float(line[f"accuracy_ci_{end}"]) for end in ("low", "high"))
    assert (float(line["accuracy"]), ends) == figures[0]
    print_comparison(found)
    said = capsys.readouterr().out
    assert f" {figures[0][0]:.3f} (" in said.partition("labelled sets")[2]
    assert "Abstention F1" in said
    assert "UnF1" not in said, "a labelled set's labels are no instruction"
    assert "n/a for labelled-model/a-model (pope): Abstention F1, recall (audacity)" in said
    assert "n/a for labelled-model/a-model (pope) and labelled-model/a-model (words): difference, 95 % interval" in said
    assert r"Run & Abstention F1 & 95" in to_latex(found)


def test_every_null_figure_of_a_comparison_and_of_a_plan_has_its_reason(tmp_path: Path) -> None:
    made = examinations(tmp_path, 3)
    runs = {"one": made[:1], "three": made, "answerable": only(made, "answerable")}
    for name, each in runs.items():
        report_run(tmp_path / name, each)
    found = compare([SavedRun(tmp_path / name) for name in runs], resamples=20)
    assert list(without_reason(found.model_dump(mode="json"))) == []
    assert found.pairs[-1].undefined["p_holm"] == (
        "made-up/a-model (answerable) has no UnF1: no question that was intended unanswerable was scored"
    )
    assert list(without_reason(plan(Aim()).model_dump(mode="json"))) == []
