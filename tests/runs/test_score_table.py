"""Scores as a table: a row a figure, of one run or of several, with its interval or its reason."""

from __future__ import annotations

import csv
import re
import shutil
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from commandline import command
from driving import draw_images
from truths import measured, scripted_model

from unsaf_async.runs.saved import SavedRun
from unsaf_async.runs.score_table import COLUMNS


@pytest.fixture
def runs() -> tuple[Path, Path]:
    """The folders of two finished runs; the second has one image."""
    for seed, name in enumerate(("ada", "bob")):
        scripted_model(name, seed=seed)
    images = draw_images(Path("images"), 3)
    measured("ada", images, Path("a"))
    measured("bob", list(images)[:1], Path("b"))
    return Path("a"), Path("b")


def test_scores_of_several_runs_are_one_table_with_intervals_and_reasons(
    runs: tuple[Path, Path], capsys: pytest.CaptureFixture[str]
) -> None:
    ended = command(capsys, "export", "a", "b", "--format", "parquet", "--scores", "--out", "both.parquet")
    assert ended.code == 0, ended.err
    table = pq.read_table("both.parquet")
    assert table.column_names == [column.name for column in COLUMNS]
    assert ended.out == f"both.parquet: {table.num_rows:,} figures\n"
    rows = {(row["provider"], row["path"]): row for row in table.to_pylist()}
    assert len(rows) == table.num_rows
    score = SavedRun(runs[0]).findings
    first = rows["ada", "unf1"]
    assert (first["value"], (first["low"], first["high"]), first["why_none"]) == (score.unf1, score.unf1_ci, None)
    assert rows["ada", "counts.ta"]["value"] == score.counts.ta
    lone = rows["bob", "unf1"]
    assert (lone["low"], "needs at least 2 images" in lone["why_none"]) == (None, True)


def test_a_score_lies_in_its_runs_folder_as_csv_and_needs_the_format_of_a_table(
    runs: tuple[Path, Path], capsys: pytest.CaptureFixture[str]
) -> None:
    assert command(capsys, "export", "a", "--format", "csv", "--scores").code == 0
    with (runs[0] / "scores.csv").open(encoding="utf-8", newline="") as file:
        values = {row["path"]: row["value"] for row in csv.DictReader(file)}
    assert float(values["recall"]) == SavedRun(runs[0]).findings.recall
    assert not (runs[0] / "questions.csv").exists()
    wrong = command(capsys, "export", "a", "--scores", "--out", "rows")
    assert (wrong.code, "--scores is given with --format trl; a table needs --format csv" in wrong.err) == (2, True)
    assert not Path("rows").exists()


@pytest.mark.parametrize("again", ["a", "a/", "./a", "b/../a", "link", "copy"])
@pytest.mark.parametrize("scores", [("--scores",), ()])
def test_a_run_that_is_given_twice_by_whatever_path_is_one_line(
    again: str, scores: tuple[str, ...], runs: tuple[Path, Path], capsys: pytest.CaptureFixture[str]
) -> None:
    Path("link").symlink_to(runs[0])
    shutil.copytree(runs[0], "copy")
    ended = command(capsys, "export", "a", "b", again, "--format", "csv", *scores, "--out", "all.csv")
    assert (ended.code, ended.out) == (2, "")
    assert re.fullmatch(r"unsaf-async: \S+: is the same run as a; give each run once\n", ended.err)
    assert not Path("all.csv").exists()


def test_the_reference_names_every_column() -> None:
    page = (Path(__file__).parents[2] / "docs" / "score.md").read_text("utf-8")
    for column in COLUMNS:
        assert f"| `{column.name}` | {column.about} |" in page
