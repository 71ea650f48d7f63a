"""A run as a log of inspect_ai, which its viewer opens: a sample a question, with the verdict as its score.

Source: the format's own schema, https://inspect.aisi.org.uk/eval-logs.html, version 2, as JSON. Samples are written as they are
read, after everything else, so that a run of any size takes the same memory and its header can be read alone.
"""

from __future__ import annotations

from collections import Counter
from pathlib import Path  # noqa: TC003 - a field's type
from typing import TYPE_CHECKING, Any, NamedTuple

import orjson

from unsaf_async.errors import UserError
from unsaf_async.files import writing_whole
from unsaf_async.runs.answered_by import calls_of
from unsaf_async.runs.saved import SavedRun
from unsaf_async.score.figures import figures_of
from unsaf_async.score.unf1 import cell

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from unsaf_async.records import CallRecord, Examination, Outcome, Question
    from unsaf_async.runs.findings import Findings
    from unsaf_async.runs.folder import Manifest
    from unsaf_async.score.unf1 import Cell

TASK = "unsaf"
"""The task's name in the log, and its scorer's."""

_VALUES: dict[Cell, str] = {"ta": "C", "tu": "C", "fu": "I", "fa": "I"}
"""inspect_ai's words: correct, incorrect."""

_STOP_REASONS: dict[Outcome, str] = {
    "ok": "stop",
    "truncated": "max_tokens",
    "refused": "content_filter",
    "blocked": "content_filter",
}
"""Its words for how a call ended; "unknown" for any other end."""

_USAGE = ("input_tokens", "output_tokens", "total_tokens")


def file_name(manifest: Manifest) -> str:
    """The name by which inspect_ai's viewer finds a log in a folder.

    Args:
        manifest: The run's.

    Returns:
        When, what and which: 2026-11-28T04-49-52_unsaf_RUN-ID.json.
    """
    return f"{manifest.created[:19].replace(':', '-')}_{TASK}_{manifest.run_id.replace('_', '-')}.json"


class Log(NamedTuple):
    """A log that was written."""

    file: Path
    samples: int
    replaced: bool
    """Whether one lay there before: that of the same run at an earlier time."""


def write_logs(run_dirs: Sequence[Path], out: Path | None) -> list[Log]:
    """Writes each run as a log of its own, whole or not at all.

    Args:
        run_dirs: The folders of the runs, at least one; finished or not.
        out: The folder to write to; made if it is not there. None: each log lies in its run's folder.

    Returns:
        A log a run, in the order given.

    Raises:
        UserError: A folder holds no run, two are of one run, or a log cannot be written.
    """
    runs = [SavedRun(folder) for folder in run_dirs]
    files = [(out or run.folder) / file_name(run.manifest) for run in runs]
    for number, file in enumerate(files):
        if file in files[:number]:
            raise UserError(f"{run_dirs[number]}: this run is given twice; give each run once")
    if out is not None:
        try:
            out.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise UserError(f"{out}: cannot be made ({error.strerror}); give another folder", field="out") from None
    there = [file.exists() for file in files]
    return [Log(file, _write(run, file), old) for file, run, old in zip(files, runs, there, strict=True)]


def _write(run: SavedRun, file: Path) -> int:
    """Writes one log; how many samples it has."""
    manifest, totals = run.manifest, _Totals()
    for examination in run.kept.in_order(sorted(run.kept)):
        totals.add(manifest, examination)
    header = orjson.dumps(_header(manifest, run.findings, totals, pending=max(0, manifest.images - totals.images)))
    with writing_whole(file, private=False) as stream:
        stream.write(header[:-1] + b',"samples":[')
        for number, sample in enumerate(_samples(manifest, run)):
            stream.write((b",\n" if number else b"\n") + orjson.dumps(sample))
        stream.write(b"]}\n")
    return totals.samples


class _Totals:
    """What the log's beginning says of all samples."""

    def __init__(self) -> None:
        self.images = self.samples = self.completed = self.scored = 0
        self.usage: dict[str, Counter[str]] = {}
        self.cost_usd: Counter[str] = Counter()

    def add(self, manifest: Manifest, examination: Examination) -> None:
        """Count one image."""
        self.images += 1
        self.samples += len(examination.questions) or bool(examination.failure)
        self.completed += sum(each.answer.outcome != "failed" for each in examination.questions)
        self.scored += sum(cell(each) is not None for each in examination.questions)
        for name, call in calls_of(manifest, examination):
            if call.outcome != "failed":
                model = call.model or manifest.profile(name).model
                self.usage.setdefault(model, Counter()).update(_tokens(call))
                self.cost_usd[model] += call.cost_usd  # type: ignore[assignment]  # a Counter adds fractions as well

    @property
    def by_model(self) -> dict[str, dict[str, Any]]:
        """inspect_ai's usage of every model that answered."""
        return {
            model: {name: used[name] for name in _USAGE} | {"total_cost": self.cost_usd[model]}
            for model, used in sorted(self.usage.items())
        }


def _tokens(call: CallRecord) -> dict[str, int]:
    total = call.input_tokens + call.output_tokens
    return {"input_tokens": call.input_tokens, "output_tokens": call.output_tokens, "total_tokens": total}


def _header(manifest: Manifest, score: Findings, totals: _Totals, *, pending: int) -> dict[str, Any]:
    """Everything but the samples."""
    return {
        "version": 2,
        "status": "cancelled" if pending else "success",
        "invalidated": False,
        "eval": _spec(manifest),
        "plan": {
            "name": TASK,
            "steps": [
                {
                    "solver": "own_questions" if manifest.source is None else manifest.source.kind,
                    "params": {},
                    "params_passed": {},
                }
            ],
            "config": {},
        },
        "results": _results(manifest, score, totals),
        "stats": {
            "started_at": manifest.created,
            "completed_at": "",
            "model_usage": totals.by_model,
            "role_usage": {},
            "connection_limit_history": [],
        },
        "tags": [],
        "metadata": {"images_pending": pending, "warnings": list(score.warnings)},
    }


def _spec(manifest: Manifest) -> dict[str, Any]:
    source = manifest.source
    return {
        "eval_id": manifest.run_id,
        "run_id": manifest.run_id,
        "created": manifest.created,
        "task": TASK,
        "task_id": manifest.run_id,
        "task_version": manifest.pack_version,
        "task_attribs": {},
        "task_args": {
            "questions": manifest.questions,
            "seed": manifest.seed,
            "question_form": manifest.form,
            "judge": manifest.judge_name,
            "prompts": manifest.pack,
        },
        "task_args_passed": {},
        "dataset": {"name": source.name if source else "images", "samples": manifest.images, "shuffled": True},
        "model": manifest.subject.model,
        "model_generate_config": {},
        "model_args": {},
        "config": {"epochs": 1, "cost_limit": manifest.max_cost_usd},
        "packages": manifest.versions,
        "scorers": [{"name": TASK}],
        "metadata": {
            "provider": manifest.subject.name,
            "auditors": list(manifest.auditors),
            "unit": "a sample is a question; intervals have the image as the unit",
        },
    }


def _results(manifest: Manifest, score: Findings, totals: _Totals) -> dict[str, Any]:
    figures = list(figures_of(score))
    metrics = {
        each.path: {
            "name": each.path,
            "value": each.value,
            "params": {},
            "metadata": {"ci_95": each.ends, "why_no_interval": each.why_none},
        }
        for each in figures
        if each.value is not None and "." not in each.path
    }
    headline = {"headline": {"scorer": TASK, "metric": "unf1"}} if "unf1" in metrics else {}
    return {
        "total_samples": totals.samples,
        "completed_samples": totals.completed,
        "scores": [
            {
                "name": TASK,
                "scorer": TASK,
                "scored_samples": totals.scored,
                "unscored_samples": totals.samples - totals.scored,
                "params": {},
                "metrics": metrics,
            }
        ],
        "metadata": {
            "undefined": {each.path: each.why_none for each in figures if each.value is None and each.ends is None},
            "pairs": {each.path: each.ends for each in figures if each.value is None and each.ends is not None},
            "more": {each.path: each.value for each in figures if each.value is not None and "." in each.path},
            "images_asked_for": manifest.images,
        },
        **headline,
    }


def _samples(manifest: Manifest, run: SavedRun) -> Iterator[dict[str, Any]]:
    for examination in run.kept.in_order(sorted(run.kept)):
        if examination.failure and not examination.questions:
            yield _failed(examination)
        for number, question in enumerate(examination.questions, 1):
            yield _sample(manifest, examination, question, number)


def _bare(identity: str, text: str, target: str, metadata: Mapping[str, Any]) -> dict[str, Any]:
    """What every sample has."""
    return {
        "id": identity,
        "epoch": 1,
        "input": text,
        "target": target,
        "messages": [],
        "output": {"model": "", "choices": [], "completion": ""},
        "metadata": {name: value for name, value in metadata.items() if value is not None},
        "store": {},
        "events": [],
        "model_usage": {},
        "role_usage": {},
        "attachments": {},
    }


def _failed(examination: Examination) -> dict[str, Any]:
    """An image that was not examined: told, and never scored."""
    image = examination.image
    sample = _bare(f"{image.id}#0", "", "", {"image_id": image.id, "image_path": image.path})
    return sample | {"error": _error(examination.failure or "")}


def _error(message: str) -> dict[str, str]:
    return {"message": message, "traceback": "", "traceback_ansi": ""}


def _sample(manifest: Manifest, examination: Examination, question: Question, number: int) -> dict[str, Any]:
    image, call, kind = examination.image, question.answer, cell(question)
    about = {
        "image_id": image.id,
        "image_path": image.path,
        "intended": question.intended,
        "kind": question.kind,
        "type": kind,
        "act": question.act,
        "decided_by": question.decided_by,
        "unscored": question.unscored,
        "votes": {each.judge: each.act for each in question.votes} or None,
        "audits": {each.auditor: each.answerable for each in question.audits} or None,
        "cached": call.cached,
        "cost_usd": call.cost_usd,
    }
    sample = _bare(f"{image.id}#{number}", question.text, question.intended, about)
    if question.options:
        sample["choices"] = list(question.options.texts)
    model = call.model or manifest.subject.model
    reply = {"role": "assistant", "content": question.response, "source": "generate", "model": model}
    sample["messages"] = [{"role": "user", "content": question.text, "source": "input"}]
    if call.outcome == "failed":
        return sample | {"error": _error(call.detail or "the call failed")}
    usage = _tokens(call) | {"total_cost": call.cost_usd}
    sample["messages"].append(reply)
    sample["output"] = {
        "model": model,
        "choices": [{"message": reply, "stop_reason": _STOP_REASONS.get(call.outcome, "unknown")}],
        "completion": question.response,
        "usage": usage,
        "time": call.latency_s,
    }
    sample |= {"model_usage": {model: usage}, "total_time": call.latency_s}
    if kind is not None:  # what is unscored has no score: its metadata say why
        decided = f"{question.act}, decided by {question.decided_by}; the question is meant to be {question.intended}"
        sample["scores"] = {
            TASK: {"value": _VALUES[kind], "answer": question.act, "explanation": decided, "history": []}
        }
    return sample
