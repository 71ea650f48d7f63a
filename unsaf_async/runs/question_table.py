"""A run's questions as a table, one row each with its response and its verdict: for pandas, polars, R and spreadsheets.

Rows are made as they are read, so that a run of any size takes the same memory.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import chain
from typing import TYPE_CHECKING, Any, Literal

import orjson

from unsaf_async.frames import frame
from unsaf_async.runs.saved import SavedRun, check_given_once
from unsaf_async.runs.table_files import Column, check_format, write_rows
from unsaf_async.score.fidelity import ALL, is_confirmed
from unsaf_async.score.signals import values_of
from unsaf_async.score.unf1 import cell

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
    from pathlib import Path

    from unsaf_async.records import Examination, Question
    from unsaf_async.runs.folder import Manifest
    from unsaf_async.runs.settings import TableFormat
    from unsaf_async.score.signals import SignalName


@dataclass(frozen=True, slots=True)
class Row:
    """What a row is made of. number: of the question among its image's, from 1. signals: its signs of confidence."""

    manifest: Manifest
    examination: Examination
    question: Question
    number: int
    signals: Mapping[SignalName, float | None]


def _signal(name: SignalName) -> Callable[[Row], float | None]:
    return lambda row: row.signals[name]


def _of_control(name: Literal["kind", "image", "response", "act"]) -> Callable[[Row], str | None]:
    return lambda row: (row.question.control and getattr(row.question.control, name)) or None


def _json(verdicts: dict[str, Any]) -> str | None:
    return orjson.dumps(verdicts).decode() if verdicts else None


COLUMNS: tuple[Column[Row], ...] = (
    Column("run_id", str, lambda row: row.manifest.run_id, "the run's"),
    Column("provider", str, lambda row: row.manifest.subject.name, "the measured model"),
    Column("image_id", str, lambda row: row.examination.image.id, "as in images.jsonl"),
    Column("image_path", str, lambda row: row.examination.image.path, "where its file was"),
    Column("image_width", int, lambda row: row.examination.image.width, "pixels, as sent"),
    Column("image_height", int, lambda row: row.examination.image.height, "pixels, as sent"),
    Column("number", int, lambda row: row.number, "of the question among its image's, from 1"),
    Column("question", str, lambda row: row.question.text, "its text"),
    Column("intended", str, lambda row: row.question.intended, "answerable or unanswerable"),
    Column("kind", str, lambda row: row.question.kind, "why it has no answer; null for an answerable one"),
    Column("given_id", str, lambda row: (row.question.given and row.question.given.id) or None, "in the labelled set"),
    Column(
        "category", str, lambda row: (row.question.given and row.question.given.category) or None, "in the labelled set"
    ),
    Column("response", str, lambda row: row.question.response or None, "null if none came"),
    Column(
        "options",
        str,
        lambda row: orjson.dumps(row.question.options.texts).decode() if row.question.options else None,
        "JSON: what it offers, in the order shown",
    ),
    Column(
        "choice_response",
        str,
        lambda row: row.question.choice.response or None if row.question.choice else None,
        "by option, beside that in free words",
    ),
    Column("choice_act", str, lambda row: row.question.choice.act if row.question.choice else None, "what that did"),
    Column("act", str, lambda row: row.question.act, "answered, abstained, refused, no_image or invalid"),
    Column("type", str, lambda row: cell(row.question), "ta, fu, tu or fa; null if it is unscored"),
    Column("unscored", str, lambda row: row.question.unscored, "why it is in no type, where the run says so"),
    Column("decided_by", str, lambda row: row.question.decided_by, "rule, judge or panel"),
    Column(
        "votes", str, lambda row: _json({each.judge: each.act for each in row.question.votes}), "JSON: act by judge"
    ),
    Column(
        "audits",
        str,
        lambda row: _json({each.auditor: each.answerable for each in row.question.audits}),
        "JSON: by auditor, whether the image answers it",
    ),
    Column(
        "confirmed",
        bool,
        lambda row: is_confirmed(row.question, ALL) if row.question.audits else None,
        "whether every auditor confirms the intended label",
    ),
    Column(
        "supported",
        bool,
        lambda row: row.question.support.supported if row.question.support else None,
        "whether the image bears the answer out",
    ),
    Column("control", str, _of_control("kind"), "asked again with: blank or other"),
    Column("control_image", str, _of_control("image"), "which image was shown then"),
    Column("control_response", str, _of_control("response"), "what was said then"),
    Column("control_act", str, _of_control("act"), "what that did"),
    Column("mean_logprob", float, _signal("mean_logprob"), "of the answer's tokens, natural"),
    Column("min_logprob", float, _signal("min_logprob"), "of the answer's tokens, natural"),
    Column("stated", float, _signal("stated"), "confidence in words, 0 to 1"),
    Column("p_true", float, _signal("p_true"), "P(True), 0 to 1"),
    Column("self_consistency", float, _signal("self_consistency"), "share of further draws that mean the same"),
    Column("semantic_entropy", float, _signal("semantic_entropy"), "of the answer and its draws, in nats"),
    Column("outcome", str, lambda row: row.question.answer.outcome, "how the answering call ended"),
    Column("finish_reason", str, lambda row: row.question.answer.finish_reason, "the provider's own word"),
    Column("answered_by", str, lambda row: row.question.answer.model or None, "the model, as its reply says"),
    Column("cached", bool, lambda row: row.question.answer.cached, "whether the answer came from the cache"),
    Column("input_tokens", int, lambda row: row.question.answer.input_tokens, "of the answering call"),
    Column("output_tokens", int, lambda row: row.question.answer.output_tokens, "of the answering call"),
    Column("latency_s", float, lambda row: row.question.answer.latency_s, "of the answering call; 0 in a batch"),
    Column("cost_usd", float, lambda row: row.question.answer.cost_usd, "of the answering call, when it was made"),
    Column(
        "all_calls_usd",
        float,
        lambda row: sum((call.cost_usd for call in row.question.calls), 0.0),
        "of every call about the question alone, when they were made",
    ),
)
"""The table's columns, in order. None is the absent value; no column changes its type from run to run."""


def write_table(run_dirs: Sequence[Path], out: Path, form: TableFormat, *, leave_out: Collection[str] = ()) -> int:
    """Writes the questions of runs as one table, whole or not at all: run by run, in the order of each run's images.

    Args:
        run_dirs: The folders of the runs, at least one; finished or not.
        out: The file to write.
        form: Which format.
        leave_out: Columns that the table is not to have.

    Returns:
        How many rows there are. An image without a question, as one that failed, has none.

    Raises:
        UserError: A folder holds no run, a run is given twice, `out` cannot be written, or pyarrow is not installed.
    """
    check_format(form)
    runs = [SavedRun(folder) for folder in run_dirs]
    check_given_once(runs)
    rows = chain.from_iterable(rows_of(run.manifest, run.in_order()) for run in runs)
    return write_rows(rows, [each for each in COLUMNS if each.name not in leave_out], out, form)


def rows_of(manifest: Manifest, examinations: Iterable[Examination]) -> Iterator[Row]:
    """The rows of a run, made as they are asked for.

    Args:
        manifest: The run's.
        examinations: The run's; read once.

    Yields:
        A row a question, in the order of the examinations.
    """
    for examination in examinations:
        for number, question in enumerate(examination.questions, 1):
            yield Row(manifest, examination, question, number, values_of(question))


def frame_of(rows: Iterable[Row]) -> Any:
    """Rows as a DataFrame of pandas or polars, whichever is installed.

    Args:
        rows: Read once; all of them are in memory afterwards.

    Returns:
        The columns of `COLUMNS`.

    Raises:
        UserError: Neither is installed.
    """
    values: list[list[Any]] = [[] for _ in COLUMNS]
    for row in rows:
        for column, held in zip(COLUMNS, values, strict=True):
            held.append(column.value(row))
    return frame({column.name: (column.kind, held) for column, held in zip(COLUMNS, values, strict=True)})
