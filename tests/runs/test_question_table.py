"""A run's questions as a table: one row each, read back with its types, whatever a model wrote."""

from __future__ import annotations

import csv
import io
import tracemalloc
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from commandline import command
from driving import draw_images
from truths import measured, scripted_model

from unsaf_async.errors import UserError
from unsaf_async.records import Audit, CallRecord, Examination, ImageRecord, Question, TokenConfidence, Vote
from unsaf_async.runs import table_files
from unsaf_async.runs.journal import Journal
from unsaf_async.runs.question_table import COLUMNS, rows_of, write_table
from unsaf_async.runs.saved import SavedRun
from unsaf_async.runs.table_files import write_csv
from unsaf_async.score.unf1 import cell

CALL = CallRecord(role="answer", outcome="ok", finish_reason="stop", cost_usd=0.25, latency_s=0.5, output_tokens=7)
FULL = Question(
    text='What, "exactly", is it?\nTell me.',
    intended="answerable",
    response="=1+1",
    answer=CALL,
    act="answered",
    decided_by="panel",
    judge=None,
    votes=(Vote(judge="a", act="answered", call=CALL), Vote(judge="b", act=None, call=CALL)),
    audits=(Audit(auditor="x", answerable=True, call=CALL),),
    token_confidence=TokenConfidence(mean_logprob=-0.5, min_logprob=-1.5, tokens=3),
)
BARE = Question(
    text="What is 何?", intended="unanswerable", answer=CallRecord(role="answer", outcome="failed"), unscored="failed"
)


@pytest.fixture
def run() -> Path:
    """The folder of a finished run over five images, of which one failed, and one has questions of our own."""
    scripted_model("ada")
    measured("ada", draw_images(Path("images"), 5), Path("run"))
    with Journal(Path("run/journal.jsonl")) as journal:
        broken, own = sorted(journal.kept)[-2:]
        journal.keep(Examination(image=ImageRecord(id=broken, path="b"), failure="it is broken"))
        journal.keep(Examination(image=ImageRecord(id=own, path="o", width=5, height=6), questions=(FULL, BARE)))
    return Path("run")


def test_parquet_has_a_row_a_question_and_the_types_that_are_documented(run: Path, tmp_path: Path) -> None:
    written = write_table([run], tmp_path / "questions.parquet", "parquet")
    table = pq.read_table(tmp_path / "questions.parquet")
    asked = [question for each in SavedRun(run).in_order() for question in each.questions]
    assert table.num_rows == written == len(asked)
    assert table.column("question").to_pylist() == [question.text for question in asked]
    assert table.column("type").to_pylist() == [cell(question) for question in asked]
    types = {str: pa.string(), int: pa.int64(), float: pa.float64(), bool: pa.bool_()}
    assert [(field.name, field.type) for field in table.schema] == [(each.name, types[each.kind]) for each in COLUMNS]


def test_what_is_absent_is_null_and_what_is_there_is_as_it_was(run: Path, tmp_path: Path) -> None:
    write_table([run], tmp_path / "questions.parquet", "parquet")
    full, bare = (row for row in pq.read_table(tmp_path / "questions.parquet").to_pylist() if row["image_path"] == "o")
    assert (full["question"], full["response"], full["type"]) == (FULL.text, "=1+1", "ta")
    assert (full["votes"], full["audits"], full["confirmed"]) == ('{"a":"answered","b":null}', '{"x":true}', True)
    assert (full["mean_logprob"], full["latency_s"], full["all_calls_usd"]) == (-0.5, 0.5, 1.0)
    assert (full["image_width"], full["number"], full["kind"], full["stated"]) == (5, 1, None, None)
    absent = {name for name, value in bare.items() if value is None}
    assert {
        "response",
        "act",
        "type",
        "kind",
        "votes",
        "audits",
        "confirmed",
        "mean_logprob",
        "finish_reason",
    } <= absent
    assert (bare["question"], bare["unscored"], bare["outcome"], bare["cost_usd"]) == (
        BARE.text,
        "failed",
        "failed",
        0.0,
    )


def test_csv_holds_the_same_and_runs_no_formula(run: Path, tmp_path: Path) -> None:
    write_table([run], tmp_path / "questions.parquet", "parquet")
    write_table([run], tmp_path / "questions.csv", "csv")
    table = pq.read_table(tmp_path / "questions.parquet").to_pylist()
    rows = list(csv.DictReader(io.StringIO((tmp_path / "questions.csv").read_text("utf-8"), newline="")))
    assert len(rows) == len(table)
    for row, expected in zip(rows, table, strict=True):
        for name, value in expected.items():
            if value is None:
                assert row[name] == ""
            elif isinstance(value, bool):
                assert row[name] == str(value).lower()
            elif isinstance(value, str):
                assert row[name].removeprefix("'" if value.startswith(("=", "+", "-", "@")) else "") == value
            else:
                assert float(row[name]) == value
    assert [row["response"] for row in rows if row["image_path"] == "o"] == ["'=1+1", ""]


def test_the_memory_does_not_go_by_the_number_of_rows(
    run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(table_files, "BATCH_ROWS", 10)
    saved = SavedRun(run)
    rows = list(rows_of(saved.manifest, saved.kept.in_order(saved.kept)))

    def peak(times: int) -> int:
        with (tmp_path / "rows.csv").open("wb") as file:
            tracemalloc.start()
            assert write_csv((row for _ in range(times) for row in rows), COLUMNS, file) == times * len(rows)
            size = tracemalloc.get_traced_memory()[1]
            tracemalloc.stop()
        return size

    assert peak(40) < 2 * peak(4)


def test_export_writes_the_table_into_the_run_or_to_a_file(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert command(capsys, "export", str(run), "--format", "csv").code == 0
    assert (run / "questions.csv").exists()
    other = Path("other")
    measured("ada", ["images"], other)
    ended = command(capsys, "export", str(run), str(other), "--format", "parquet", "--out", "both.parquet")
    rows = sum(len(list(rows_of(each.manifest, each.examinations))) for each in map(SavedRun, (run, other)))
    assert (ended.code, ended.out) == (0, f"both.parquet: {rows:,} questions\n")
    assert pq.read_table("both.parquet").num_rows == rows


def test_a_folder_without_a_run_and_a_file_that_is_not_named_are_said_before_anything_is_written(
    run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(UserError, match="no run's folder"):
        write_table([run, tmp_path], tmp_path / "questions.csv", "csv")
    assert not (tmp_path / "questions.csv").exists()
    several = command(capsys, "export", str(run), str(run), "--format", "csv")
    assert (several.code, "--out" in several.err) == (2, True)


def test_the_guide_names_every_column() -> None:
    guide = (Path(__file__).parents[2] / "docs" / "guide.md").read_text("utf-8")
    for column in COLUMNS:
        assert f"| `{column.name}` |" in guide
        assert column.about in guide
