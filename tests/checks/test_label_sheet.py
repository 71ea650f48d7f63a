"""`judge sheet`: responses of a run for people to label, which `judge calibrate` reads once they are labelled."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from commandline import command
from doubles import in_memory

from unsaf_async.checks.label_sheet import label_sheet
from unsaf_async.errors import UserError
from unsaf_async.records import CallRecord, Examination, ImageRecord, Question
from unsaf_async.runs.saved import SavedRun
from unsaf_async.score.calibration import read_judged

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).parents[2]


class Journal(dict[str, Examination]):
    """Examinations by id, as `Kept` gives them."""

    def in_order(self, ids: list[str]) -> Iterator[Examination]:
        """The examinations of these ids."""
        return (self[each] for each in ids)


def a_run(*questions: Question) -> SavedRun:
    """A run over one image."""
    kept = Journal(x=Examination(image=ImageRecord(id="x", path="x"), questions=questions))
    return in_memory(SavedRun(Path("run")), kept=kept)


def question(response: str, **fields: object) -> Question:
    """A question with this response."""
    answer = CallRecord(role="answer", outcome="ok")
    return Question.model_validate(
        {"text": "What?", "intended": "answerable", "response": response, "answer": answer} | fields
    )


def test_a_sheet_holds_responses_without_the_judges_word() -> None:
    failed = question("half", answer=CallRecord(role="answer", outcome="failed"))
    run = a_run(*(question(f"It is {n}.", act="answered") for n in range(30)), question(" "), failed)
    rows = [json.loads(row) for row in label_sheet(run, 40)]
    assert sorted(row["text"] for row in rows) == sorted(f"It is {n}." for n in range(30))
    assert rows[0].keys() == {"question", "text", "label", "image"}
    assert {row["label"] for row in rows} == {None}
    drawn = label_sheet(run, 10, seed=1)
    assert len(set(drawn)) == 10
    assert drawn == label_sheet(run, 10, seed=1) != label_sheet(run, 10, seed=2)


def test_images_are_drawn_whole_or_not_at_all() -> None:
    kept = Journal(
        (name, Examination(image=ImageRecord(id=name, path=name), questions=tuple(map(question, "abcde"))))
        for name in ("x", "y", "z")
    )
    run = in_memory(SavedRun(Path("run")), kept=kept)
    for responses, images in ((5, 1), (9, 1), (10, 2), (14, 2), (99, 3)):
        rows = [json.loads(row) for row in label_sheet(run, responses, whole_images=True)]
        by_image = Counter(row["image"] for row in rows)
        assert (len(by_image), set(by_image.values())) == (images, {5})
    with pytest.raises(UserError, match="images are drawn whole: the first one has 5 responses; give at least that"):
        label_sheet(run, 4, whole_images=True)


def test_what_gives_no_sheet_is_the_users_mistake() -> None:
    with pytest.raises(UserError, match="responses is 0; give 1 or more"):
        label_sheet(a_run(question("Red.")), 0)
    with pytest.raises(UserError, match="seed is -1"):
        label_sheet(a_run(question("Red.")), 1, seed=-1)
    with pytest.raises(UserError, match="holds no whole response"):
        label_sheet(a_run(question("")), 1)


def test_a_sheet_is_read_by_judge_calibrate_once_it_is_labelled_and_never_written_over(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    run = command(
        capsys, "run", "--provider", "tiny", "--limit", "2", "--out", "run", "-q", "--no-report", "--no-cache"
    )
    assert run.code == 0
    made = command(capsys, "judge", "sheet", "run", "--responses", "6", "--out", "sheet.jsonl")
    assert (made.code, made.out) == (0, "sheet.jsonl: 6 responses; put answered or abstained into each label\n")
    again = command(capsys, "judge", "sheet", "run", "--out", "sheet.jsonl")
    assert (again.code, "exists, and may hold labels" in again.err) == (2, True)
    empty = command(capsys, "judge", "calibrate", "sheet.jsonl")
    assert (empty.code, "sheet.jsonl:1: has no label yet" in empty.err) == (2, True)
    rows = Path("sheet.jsonl").read_text("utf-8").replace("null", '"answered"')
    Path("sheet.jsonl").write_text(rows, "utf-8")
    assert [row.label for row in read_judged(Path("sheet.jsonl"))] == ["answered"] * 6


def test_the_example_file_holds_both_labels_and_no_cell_is_cut_at_80_columns(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "80")
    file = ROOT / "docs" / "labelled-responses.jsonl"
    said = command(capsys, "judge", "calibrate", str(file), "--out", "judge.json").out
    assert "\u2026" not in said
    assert max(map(len, said.splitlines())) <= 80
    for head in ("sensitivity", "specificity", "judged abstained", "no verdict"):
        assert f"\n{head} " in said
    confusions = json.loads(Path("judge.json").read_bytes())["confusions"]
    assert confusions["overall"]["answered"]["answered"] > 0
    assert confusions["overall"]["abstained"]["abstained"] > 0
