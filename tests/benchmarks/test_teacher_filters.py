"""What the filters of `export` do where the truth is known: what is counted, and that the page names the same filters."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from distill.data.small_runs import asked, run_of

from unsaf_async.distill.data.build_rows import good_items
from unsaf_async.distill.data.options import Filters
from unsaf_async.providers.profile import Profile
from unsaf_async.records import Examination, ImageRecord, Question
from unsaf_async.runs.folder import Source
from unsaf_async.world import make

if TYPE_CHECKING:
    from types import ModuleType

ROOT = Path(__file__).parents[2]


@pytest.fixture
def study(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(str(ROOT / "benchmarks"))
    import teacher_filters

    return teacher_filters


def lines(file: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in file.read_text("utf-8").splitlines()]


def test_labels_and_answers_are_held_against_the_oracle_and_what_it_does_not_understand_is_not_counted(
    study: ModuleType, tmp_path: Path
) -> None:
    make.make(tmp_path / "scenes", 2, "test", 0, 1)
    images = lines(tmp_path / "scenes" / "manifest.jsonl")
    sets = lines(tmp_path / "scenes" / "labelled.jsonl")

    def question(image: dict[str, Any], *, answerable: bool) -> dict[str, Any]:
        return next(row for row in sets if row["id"].startswith(image["id"]) and row["answerable"] == answerable)

    examinations = []
    for image in images:
        true, false = question(image, answerable=True), question(image, answerable=False)
        questions: list[Question] = [
            asked(true["question"], response=f"It is {true['answers'][0]}."),
            asked(false["question"], response="Purple."),  # written as answerable, and it has no answer
            asked("What does it cost?", "unanswerable"),  # in no words of the world
            asked(false["question"] + " ", "unanswerable"),
        ]
        record = ImageRecord(id=image["id"], path="", pixels_sha256="0" * 64, metadata=image)
        examinations.append(Examination(image=record, questions=tuple(questions)))
    teacher = run_of()
    vars(teacher)["examinations"] = tuple(examinations)
    kept, _ = good_items(teacher, Filters())
    assert len(kept) == 8
    shares = [float(share.split(" %")[0]) for share in study.shares(teacher, kept)]
    assert shares == pytest.approx([50.0, 100 / 3, 50.0], abs=0.05)


def test_the_page_has_the_filters_that_are_measured(study: ModuleType) -> None:
    page = (ROOT / "docs" / "distillation.md").read_text("utf-8")
    source = Source(kind="run", name="teacher", path="", run_id="teacher")
    teacher = run_of(run_id="teacher")
    other = run_of(run_id="other", source=source, subject=Profile(name="b", backend="scripted", model="b"))
    measured = study.table(teacher, other).splitlines()
    assert measured[0] in page
    names = [re.match(r"\| (.*?) \| \d+ \|", line)[1] for line in measured[2:]]  # type: ignore[index]
    assert re.findall(r"^\| ([^|]+) \| \d+ \| [\d.]+ % \(", page, re.MULTILINE) == names
