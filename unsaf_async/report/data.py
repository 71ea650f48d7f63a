"""What a report shows, taken from a run's records: plain values, without a word of HTML."""

from __future__ import annotations

import re
from collections import defaultdict
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import orjson

from unsaf_async.files import whole_lines
from unsaf_async.records import Record
from unsaf_async.runs.findings import Findings
from unsaf_async.score import metrics
from unsaf_async.score import signals as signs
from unsaf_async.score.counts import cell
from unsaf_async.score.fidelity import is_confirmed
from unsaf_async.score.labelled import is_right

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from unsaf_async.records import CallRecord, Examination, Question, Role
    from unsaf_async.report.thumbnails import Thumbnail
    from unsaf_async.runs.folder import Manifest
    from unsaf_async.score.labelled import LabelledScore, ProbabilityName
    from unsaf_async.score.metrics import Bin
    from unsaf_async.score.unf1 import Score

TYPES = ("ta", "fu", "tu", "fa", "unscored")
"""In the order of the codes that the page's script reads."""


Sort = Literal["unsaf", "labelled", "pope"]
"""unsaf: the model, or another one, wrote the questions. labelled: a set with answers. pope: a set of yes/no questions."""


@dataclass(frozen=True)
class ReportRun:
    """A run as the report takes it. path: its folder, whose ledger.jsonl tells of time and money."""

    path: Path
    manifest: Manifest
    examinations: Sequence[Examination]
    score: Score

    @property
    def found(self) -> Findings | None:
        """What is measured beside the score; None if it is a score alone."""
        return self.score if isinstance(self.score, Findings) else None

    @property
    def labelled(self) -> LabelledScore | None:
        """What a labelled set tells; None for other runs."""
        return self.found.labelled if self.found else None

    @property
    def sort(self) -> Sort:
        """What its headline is: UnF1, a labelled set's accuracy, or POPE's figures."""
        if self.labelled is None:
            return "unsaf"
        return "pope" if self.labelled.pope else "labelled"

    @property
    def f1_name(self) -> str:
        """What the F1 of abstaining is called: of a labelled set, whose labels are no instruction, it is not UnF1."""
        return "UnF1" if self.sort == "unsaf" else "Abstention F1"


def load_run(path: Path) -> ReportRun:
    """The run in the folder `path`. Raises UserError if it is none."""
    from unsaf_async.api import load

    manifest, examinations, score = load(path)
    return ReportRun(path, manifest, examinations, score)


def labels(runs: Sequence[ReportRun]) -> list[str]:
    """A name for each run: its model's, with the folder's where two are of one model, and a number where even that is equal."""
    names = [run.manifest.subject.name for run in runs]
    found = [
        name if names.count(name) == 1 else f"{name} ({run.path.name})" for name, run in zip(names, runs, strict=True)
    ]
    return [
        label if found.count(label) == 1 else f"{label} {found[: place + 1].count(label)}"
        for place, label in enumerate(found)
    ]


def names_of(label: str, run: ReportRun) -> tuple[str, ...]:
    """The names that a run goes by: its label, its provider's, its model's and its folder's."""
    return label, run.manifest.subject.name, run.manifest.subject.model or run.path.name, run.path.name


# --- further figures of the score ------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Table:
    """Figures that belong together. rows: a name, then a text a column. depth: 0 for a field of the score, more for its parts."""

    title: str
    heads: tuple[str, ...]
    rows: list[tuple[str, ...]]
    depth: int


_SHOWN = frozenset(
    {
        "unf1",
        "unf1_ci",
        "unf1_ci_method",
        "unf1_ci_percentile",
        "unf1_bounds",
        "counts",
        "unscored",
        "precision",
        "recall",
        "over_refusal_rate",
        "over_answer_rate",
        "f1_answerable",
        "macro_f1",
        "balanced_accuracy",
        "matthews_correlation",
        "abstention_rate",
        "by_kind",
        "images",
        "questions",
        "questions_per_label",
        "unreliable",
        "warnings",
        "undefined",
        "calls",
        "tokens",
        "cost_usd",
        "wall_s",
        "provider",
        "judge",
        "seed",
        "resamples",
        "resamples_undefined",
    }
)
"""Fields of `Score` that have a place of their own in the report."""

_FOUND = frozenset({"audits", "quality", "panel", "corrected", "grounded", "signals", "labelled"})
"""Fields of `Findings` that have one."""

_INTERVALS = re.compile(r"(^|_)(ci|interval)$")
_REASONS = ("reason", "why", "undefined", "why_undefined")
_NAMES = ("name", "auditor", "judge", "signal", "first", "second")
_DEEPEST = 5


def further_tables(score: Score) -> list[Table]:
    """Every figure of the score that has no place of its own, in the record's order; [] if there is none.

    It knows no field by name: a record becomes a table of its figures with their intervals, numbers and reasons, and records of
    one shape become the rows of one. An interval is the field that is named like its figure and ends in `_ci`, or is called `ci`.
    """
    found: list[Table] = []
    known = _SHOWN | _FOUND if isinstance(score, Findings) else _SHOWN
    for name in type(score).model_fields:
        value = getattr(score, name)
        if name in known or (value is None and name not in score.undefined):
            continue  # shown elsewhere, or not asked for
        if isinstance(value, Record | dict | list | tuple):
            found += _tables(words(name), value, 0)
        else:
            found.append(_as_table(words(name), {name: value, "undefined": score.undefined}, 0))
    return [each for each in found if each.rows]


def words(name: str) -> str:
    """A field's name as words."""
    return name.replace("_", " ")


def shown(value: Any) -> str:
    """A value as text: figures with three digits, numbers with commas, "n/a" for None."""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:.3f}"
    if isinstance(value, Record | dict):
        return ", ".join(
            f"{words(str(key))} {shown(part)}" for key, part in _parts(value).items() if part not in ("", None)
        )
    if isinstance(value, list | tuple):
        return ", ".join(map(shown, value))
    return "n/a" if value is None else f"{value:,}" if isinstance(value, int) else str(value)


def _parts(value: Any) -> dict[str, Any]:
    if isinstance(value, Record):
        return {key: getattr(value, key) for key in type(value).model_fields}
    return {str(key): part for key, part in value.items()}


def _inlined(value: Any) -> dict[str, Any]:
    """A record's parts, with those of a small record in it, such as a figure and its interval, beside them."""
    parts = _parts(value)
    found: dict[str, Any] = {}
    whys = dict(parts.get("why_undefined") or {}) if isinstance(parts.get("why_undefined") or {}, dict) else {}
    for key, part in parts.items():
        if not _is_small(part):
            found[key] = part
            continue
        for name, inner in _parts(part).items():
            if name not in _REASONS:
                found[name if name.startswith(key) else f"{key} {name}"] = inner
            elif isinstance(inner, dict):
                whys |= {name if name.startswith(key) else f"{key} {name}": why for name, why in inner.items()}
    return found | {"why_undefined": whys} if whys else found


def _is_small(value: Any) -> bool:
    if not isinstance(value, Record):
        return False
    parts = {key: part for key, part in _parts(value).items() if key not in _REASONS}
    return any(map(_INTERVALS.search, parts)) and not any(
        isinstance(part, Record | dict | list) for part in parts.values()
    )


def _tables(title: str, value: Any, depth: int) -> list[Table]:
    """The tables of a record, a table of records, or a list of them."""
    if isinstance(value, list | tuple):
        rows = [(" and ".join(_named(part)) or str(place), part) for place, part in enumerate(value, 1)]
    else:
        parts = _parts(value)
        if isinstance(value, Record) or not all(isinstance(part, Record) for part in parts.values()):
            parts = _inlined(value)
            return [_as_table(title, parts, depth), *_nested(title, parts, depth)]
        rows = list(parts.items())
    if not all(isinstance(part, Record) for _, part in rows):
        return [_as_table(title, {words(name): part for name, part in rows}, depth)]
    return [
        _as_rows(title, rows, depth),
        *(t for name, part in rows for t in _nested(f"{title}, {name}", _inlined(part), depth)),
    ]


def _nested(title: str, parts: dict[str, Any], depth: int) -> list[Table]:
    found = [] if depth >= _DEEPEST else [(name, part) for name, part in parts.items() if _has_figures(part)]
    return [table for name, part in found for table in _tables(f"{title}, {words(name)}", part, depth + 1)]


def _has_figures(value: Any) -> bool:
    """Whether a value needs a table of its own: it holds records, or figures with intervals."""
    if isinstance(value, Record):
        return any(_INTERVALS.search(key) or isinstance(part, Record | dict) for key, part in _parts(value).items())
    held = value.values() if isinstance(value, dict) else value if isinstance(value, list | tuple) else ()
    return any(isinstance(part, Record) for part in held)


def _named(value: Any) -> list[str]:
    parts = _parts(value) if isinstance(value, Record | dict) else {}
    return [str(parts[key]) for key in _NAMES if isinstance(parts.get(key), str)]


def _figures(parts: dict[str, Any]) -> dict[str, Any]:
    left_out = {*_REASONS, *_NAMES, "n"}
    return {
        key: part
        for key, part in parts.items()
        if key not in left_out and not _INTERVALS.search(key) and not _has_figures(part) and part not in ({}, [], ())
    }


def _interval(parts: dict[str, Any], key: str) -> str:
    ends = next((parts[name] for name in (f"{key}_ci", f"{key}_interval", "ci", "interval") if name in parts), None)
    return f"{shown(ends[0])} to {shown(ends[1])}" if isinstance(ends, list | tuple) and len(ends) == 2 else ""


def _reason(parts: dict[str, Any], key: str) -> str:
    for name in _REASONS:
        why = parts.get(name)
        if isinstance(why, dict) and key in why:
            return str(why[key])
        if isinstance(why, str) and why:
            return why
    return ""


def _as_table(title: str, parts: dict[str, Any], depth: int) -> Table:
    """A row a figure: value, interval, n, and why there is none. Columns that would be empty are left out."""
    n = parts["n"] if isinstance(parts.get("n"), int) else None
    columns: dict[str, list[str]] = {"figure": [], "value": [], "95 % interval": [], "n": [], "why n/a": []}
    for key, part in _figures(parts).items():
        cells = (
            words(key),
            shown(part),
            _interval(parts, key),
            "" if n is None else shown(n),
            _reason(parts, key) if part is None else "",
        )
        for column, text in zip(columns.values(), cells, strict=True):
            column.append(text)
    return _filled(title, columns, depth)


def _as_rows(title: str, rows: list[tuple[str, Any]], depth: int) -> Table:
    """A row a record, a column a figure, and why some are missing."""
    told = [(name, _inlined(part)) for name, part in rows]
    keys = list(dict.fromkeys(key for _, parts in told for key in _figures(parts)))
    columns: dict[str, list[str]] = {"": [words(name) for name, _ in told]}
    columns["n"] = [shown(parts["n"]) if isinstance(parts.get("n"), int) else "" for _, parts in told]
    for key in keys:
        columns[words(key)] = [shown(parts.get(key)) for _, parts in told]
        columns[f"{words(key)}, 95 % interval"] = [
            _interval(parts, key) if f"{key}_ci" in parts else "" for _, parts in told
        ]
    columns["why n/a"] = [
        next((why for key in keys if parts.get(key) is None and (why := _reason(parts, key))), "") for _, parts in told
    ]
    return _filled(title, columns, depth)


def _filled(title: str, columns: dict[str, list[str]], depth: int) -> Table:
    kept = {head: cells for place, (head, cells) in enumerate(columns.items()) if place == 0 or any(cells)}
    return Table(title, tuple(kept), list(zip(*kept.values(), strict=True)), depth)


# --- confidence ------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Signal:
    """A sign of confidence over a run's whole responses. confidence: [n], higher is surer. answerable: [n], whether the question
    was meant to be."""

    name: str
    confidence: NDArray[np.float64]
    answerable: NDArray[np.bool_]


def signals(examinations: Sequence[Examination]) -> list[Signal]:
    """The signs of confidence that any response of the run has; [] if none has one. Perplexity, which orders the responses as
    the mean log-probability does, is not among them."""
    whole = [question for each in examinations for question in each.questions if question.answer.outcome == "ok"]
    found = []
    for name, (value_of, surer) in signs.CONFIDENCE_OF.items():
        if name == "perplexity":
            continue
        pairs = [
            (surer * value, each.intended == "answerable") for each in whole if (value := value_of(each)) is not None
        ]
        if pairs:
            values, answerable = zip(*pairs, strict=True)
            found.append(Signal(signs.SIGNAL_WORDS[name][0], np.array(values), np.array(answerable)))
    return found


@dataclass(frozen=True)
class Calibrated:
    """A confidence that can be read as the probability of being right, beside how often that was so.

    bins: a reliability diagram's. risk: (coverage, share wrong), the surest first. right: share of the n responses, in [0, 1].
    """

    name: str
    n: int
    right: float
    bins: list[Bin]
    risk: list[tuple[float, float]]


_PROBABILITIES: dict[ProbabilityName, Callable[[Question], float | None]] = {
    "token_probability": signs.token_probability,
    "stated": signs.stated,
    "p_true": signs.p_true,
    "self_consistency": signs.self_consistency,
}


def calibrated(examinations: Sequence[Examination]) -> list[Calibrated]:
    """Confidence against truth over the answers of which it is known how far they are right; [] if of none."""
    known = [
        (question, right)
        for examination in examinations
        for question in examination.questions
        if question.act == "answered" and (right := correct(question)) is not None
    ]
    found = []
    for name, value_of in _PROBABILITIES.items():
        pairs = [(value, right) for question, right in known if (value := value_of(question)) is not None]
        if pairs:
            values, rights = (np.array(column) for column in zip(*pairs, strict=True))
            curve = metrics.risk_coverage(values, rights)
            risk = list(zip(curve.coverage.tolist(), curve.risk.tolist(), strict=True)) if curve else []
            bins = metrics.reliability(values, rights)
            found.append(Calibrated(signs.SIGNAL_WORDS[name][0], len(pairs), float(rights.mean()), bins, risk))
    return found


def calibrated_of(labelled: LabelledScore) -> list[Calibrated]:
    """Confidence against truth as a labelled run's score has it."""
    return [
        Calibrated(signs.SIGNAL_WORDS[name][0], each.n, each.right / each.n, each.reliability, each.risk_coverage)
        for name, each in labelled.calibration.items()
        if each.n
    ]


def correct(question: Question) -> float | None:
    """How far an answer is right, in [0, 1]: what the grounding judge said, else the share of annotators' answers it holds.

    None where neither is known.
    """
    if question.support is not None:
        return None if question.support.supported is None else float(question.support.supported)
    if question.given is None or not question.given.answers:
        return None
    return metrics.vqa_accuracy_contained(question.response, question.given.answers)


def roc(
    confidence: NDArray[np.float64], positive: NDArray[np.bool_]
) -> tuple[NDArray[Any], NDArray[Any], float] | None:
    """(false positive rates, true positive rates, area) of calling everything above a threshold positive; ties count half.

    None unless both classes are there. Source: T. Fawcett, "An introduction to ROC analysis" (2006).
    """
    positives, n = int(positive.sum()), len(positive)
    if positives in (0, n):
        return None
    order = np.argsort(-confidence, kind="stable")
    last = np.append(np.nonzero(np.diff(confidence[order]))[0], n - 1)  # the last of each group of equal confidence
    true = np.append(0, np.cumsum(positive[order])[last]) / positives
    false = np.append(0, np.cumsum(~positive[order])[last]) / (n - positives)
    return false, true, float(np.sum(np.diff(false) * (true[1:] + true[:-1]) / 2))


# --- time and money --------------------------------------------------------------------------------------------------


@dataclass
class Timeline:
    """What the ledger tells of a run's attempts, over the seconds that a session was open.

    sent_s, settled_s: times of attempts, sorted. cost_usd: what each settled one cost, in that order. in_flight: (times,
    numbers) after each change. wait_s: seconds from sending to the reply, by role. retried: repetitions by role.
    lost: attempts without a known end.
    """

    sent_s: list[float] = field(default_factory=list)
    settled_s: list[float] = field(default_factory=list)
    cost_usd: list[float] = field(default_factory=list)
    in_flight: tuple[list[float], list[int]] = field(default_factory=lambda: ([], []))
    wait_s: dict[Role, list[float]] = field(default_factory=lambda: defaultdict(list))
    retried: dict[Role, int] = field(default_factory=lambda: defaultdict(int))
    lost: int = 0
    sessions: int = 0
    ended: bool = False


def timeline(file: Path) -> Timeline:
    """The ledger in `file`, told by time; an empty one if there is no file. Lines that are no ledger's are passed over."""
    told = Timeline()
    open_: dict[int, tuple[Role, float]] = {}
    began, before, last = 0.0, 0.0, 0.0
    times, numbers = told.in_flight
    for line in whole_lines(file):
        try:
            entry = orjson.loads(line)
            what, moment = entry["what"], float(entry["t"])
        except (ValueError, KeyError, TypeError):
            continue
        if what == "session":
            told.sessions += 1
            told.lost += len(open_)
            open_.clear()
            before, began = last, moment
        now = last = max(last, before + moment - began)
        number = entry.get("n", 0)
        if what == "sent":
            open_[number] = (entry.get("role", "answer"), now)
            told.sent_s.append(now)
            told.retried[open_[number][0]] += bool(entry.get("again"))
        elif what in ("settled", "refunded", "unknown") and number in open_:
            role, since = open_.pop(number)
            if what == "settled":
                told.wait_s[role].append(now - since)
                told.settled_s.append(now)
                told.cost_usd.append(entry.get("cost", 0) / 1e9)
            told.lost += what == "unknown"
        told.ended = what == "end"
        if what in ("sent", "settled", "refunded", "unknown", "session"):
            times.append(now)
            numbers.append(len(open_))
    told.lost += len(open_)
    return told


def latencies(examinations: Sequence[Examination]) -> dict[Role, list[float]]:
    """Seconds that the kept replies took, by role; a stored reply counts with what it took when it was made."""
    found: dict[Role, list[float]] = {}
    for examination in examinations:
        for call in examination.calls:
            if call.outcome != "failed" and call.latency_s > 0:
                found.setdefault(call.role, []).append(call.latency_s)
    return found


# --- the questions, one by one ---------------------------------------------------------------------------------------


_COLUMNS = ("image", "number", "text", "response", "intended", "type", "kind", "outcome", "decider", "call")


TRUTHS = ("", "right", "wrong")
AUDITS = ("", "confirmed", "contradicted")


def explorer(
    label: str, examinations: Sequence[Examination], pictures: Sequence[Thumbnail], sort: Sort = "unsaf"
) -> dict[str, Any]:
    """A run's questions as columns, one value a question, which is far smaller than one object a question.

    Codes point into `types`, `kinds`, `outcomes` and `deciders`; in a labelled run `truth` into `truths`, and where labels were
    audited `audit` into `audits`. `facts` holds, by the question's place, what only some questions have: pairs of a label and a
    text.
    """
    kinds, outcomes, deciders = _Codes(), _Codes(), _Codes()
    columns: dict[str, list[Any]] = {name: [] for name in _COLUMNS}
    facts: dict[int, list[tuple[str, str]]] = {}
    asked = [question for examination in examinations for question in examination.questions]
    images = []
    for place, (examination, picture) in enumerate(zip(examinations, pictures, strict=True)):
        image = examination.image
        images.append(
            {
                "id": image.id,
                "size": f"{image.width} × {image.height}" if image.width else "",
                "why": picture.why,
                "failure": examination.failure or "",
                "missing": examination.missing,
                "dropped": [[item.text, item.intended, item.reason] for item in examination.dropped],
            }
        )
        for number, question in enumerate(examination.questions, 1):
            type_ = cell(question)
            values = (
                place,
                number,
                question.text,
                question.response,
                int(question.intended == "unanswerable"),
                TYPES.index(type_ or "unscored"),
                kinds[question.kind or ("unspecified" if question.intended == "unanswerable" else "")],
                outcomes[question.answer.outcome],
                deciders[question.decided_by or ""],
                call_text(question.answer),
            )
            for column, value in zip(columns.values(), values, strict=True):
                column.append(value)
            if found := list(_facts(question)):
                facts[len(columns["image"]) - 1] = found
    more: dict[str, Any] = {}
    if sort != "unsaf":
        more |= {"truths": TRUTHS, "truth": [TRUTHS.index(_truth(question)) for question in asked]}
    if any(question.audits for question in asked):
        more |= {"audits": AUDITS, "audit": [AUDITS.index(_audited(question)) for question in asked]}
    return {
        "label": label,
        "sort": sort,
        "types": TYPES,
        "kinds": list(kinds),
        "outcomes": list(outcomes),
        "deciders": list(deciders),
        "images": images,
        "facts": facts,
        **columns,
        **more,
    }


def _truth(question: Question) -> str:
    """Whether it was dealt with rightly, as a labelled set has it; "" where the set does not say."""
    return {True: "right", False: "wrong", None: ""}[is_right(question)]


def _audited(question: Question) -> str:
    """Whether some auditor contradicts the label, or those who said something confirm it; "" if nobody said anything."""
    verdicts = {is_confirmed(question, audit.auditor) for audit in question.audits} - {None}
    return "contradicted" if False in verdicts else "confirmed" if verdicts else ""


class _Codes(dict[str, int]):
    """A number for each text, in the order they come."""

    def __missing__(self, key: str) -> int:
        self[key] = len(self)
        return self[key]


def call_text(call: CallRecord) -> str:
    """A call in a few words."""
    parts = [f"{call.latency_s:.2f} s", f"{call.input_tokens} + {call.output_tokens} tokens"]
    if call.cost_usd:
        parts.append(f"${call.cost_usd:.5f}")
    if call.cached:
        parts.append("from the cache")
    return ", ".join(parts)


def _facts(question: Question) -> Iterator[tuple[str, str]]:
    if question.given:
        given = question.given
        if given.answers:
            yield "Accepted answers" if len(given.answers) > 1 else "Accepted answer", _answers(given.answers)
        yield "Given question", "; ".join(filter(None, (given.id, given.category))) or "from another source"
    if question.unscored:
        yield "Unscored", question.unscored
    if question.answer.outcome != "ok" or question.answer.detail:
        yield "Call ended", _ended(question.answer)
    if question.judge and (question.judge.outcome != "ok" or question.judge.detail):
        yield "Judge's call", _ended(question.judge)
    for vote in question.votes:
        yield f"Judge {vote.judge}", vote.act or f"no verdict: {_ended(vote.call)}"
    for audit in question.audits:
        said = {
            True: "the image answers it",
            False: "the image does not answer it",
            None: f"none: {_ended(audit.call)}",
        }
        yield f"Auditor {audit.auditor}", said[audit.answerable]
    if question.support:
        words = {True: "the image bears the answer out", False: "the image does not bear the answer out"}
        supported = question.support.supported
        yield (
            f"Grounded by {question.support.judge}",
            (f"nobody could say: {_ended(question.support.call)}" if supported is None else words[supported]),
        )
    if question.token_confidence:
        sure = question.token_confidence
        yield (
            "Token probability",
            f"{np.exp(sure.mean_logprob):.3f} mean, {np.exp(sure.min_logprob):.3f} lowest, {sure.tokens} tokens",
        )
    for name, confidence in (("Stated confidence", question.stated), ("P(true)", question.p_true)):
        if confidence:
            value = confidence.value
            yield name, f"n/a: {confidence.why or _ended(confidence.call)}" if value is None else f"{value:.2f}"
    for number, sample in enumerate(question.samples, 1):
        yield f"Sample {number}", f"{sample.text or _ended(sample.call)}{f' [{sample.act}]' if sample.act else ''}"


def _answers(answers: Sequence[str]) -> str:
    """Accepted answers, each once, with how many annotators gave it where several did."""
    counts = {answer: answers.count(answer) for answer in answers}
    return "; ".join(f"{answer} ({n} of {len(answers)})" if n > 1 else answer for answer, n in counts.items())


def _ended(call: CallRecord) -> str:
    return f"{call.outcome} ({call.detail})" if call.detail else call.outcome
