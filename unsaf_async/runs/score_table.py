"""Runs' scores as a table, one row a figure: for pandas, polars, R and spreadsheets."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from unsaf_async.runs.saved import SavedRun, check_given_once
from unsaf_async.runs.table_files import Column, check_format, write_rows
from unsaf_async.score.figures import figures_of

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from unsaf_async.runs.folder import Manifest
    from unsaf_async.runs.settings import TableFormat
    from unsaf_async.score.figures import Figure


@dataclass(frozen=True, slots=True)
class ScoreRow:
    """What a row is made of: a figure of a run."""

    manifest: Manifest
    figure: Figure


COLUMNS: tuple[Column[ScoreRow], ...] = (
    Column("run_id", str, lambda row: row.manifest.run_id, "the run's"),
    Column("provider", str, lambda row: row.manifest.subject.name, "the measured model"),
    Column("path", str, lambda row: row.figure.path, "the figure's name below"),
    Column("value", float, lambda row: row.figure.value, "null where it is undefined, and of a pair"),
    Column("low", float, lambda row: row.figure.low, "lower end of its 95 % interval, or of the pair"),
    Column("high", float, lambda row: row.figure.high, "upper end"),
    Column("why_none", str, lambda row: row.figure.why_none, "why there is no value, or no interval"),
)
"""The table's columns, in order."""


def write_scores(run_dirs: Sequence[Path], out: Path, form: TableFormat) -> int:
    """Writes the figures of runs as one table, whole or not at all.

    Args:
        run_dirs: The folders of the runs, at least one; finished or not. Scores are computed anew where files have changed.
        out: The file to write.
        form: Which format.

    Returns:
        How many rows there are.

    Raises:
        UserError: A folder holds no run, a run is given twice, `out` cannot be written, or pyarrow is not installed.
    """
    check_format(form)
    runs = [SavedRun(folder) for folder in run_dirs]
    check_given_once(runs)
    return write_rows(_rows(runs), COLUMNS, out, form)


def _rows(runs: Sequence[SavedRun]) -> Iterator[ScoreRow]:
    for run in runs:
        for figure in figures_of(run.findings):
            yield ScoreRow(run.manifest, figure)
