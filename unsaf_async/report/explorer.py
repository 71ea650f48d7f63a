"""A run's questions one by one, as the data that the page's script shows and filters."""

from __future__ import annotations

from itertools import islice
from typing import TYPE_CHECKING, Any

import numpy as np

from unsaf_async.examine.options import LETTERS
from unsaf_async.report.markup import Grown
from unsaf_async.score.controls import CONTROL_WORDS
from unsaf_async.score.fidelity import is_confirmed
from unsaf_async.score.labelled import is_right
from unsaf_async.score.unf1 import cell

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from unsaf_async.records import CallRecord, Examination, Question
    from unsaf_async.report.data import Sort
    from unsaf_async.report.thumbnails import Thumbnail

TYPES = ("ta", "fu", "tu", "fa", "unscored")
"""In the order of the codes that the page's script reads."""

TRUTHS = ("", "right", "wrong")
AUDITS = ("", "confirmed", "contradicted")

_BLOCK = 10
"""Images whose questions become text at a time."""

_COLUMNS = ("image", "number", "text", "response", "intended", "type", "kind", "outcome", "decider", "call")


def explorer(
    label: str, examinations: Iterable[Examination], pictures: Sequence[Thumbnail], sort: Sort = "unsaf"
) -> dict[str, Any]:
    """A run's questions as columns, one value a question, which is far smaller than one object a question.

    Args:
        label: The run's label in the report.
        examinations: The run's records. They are gone through once.
        pictures: A thumbnail for each of them, in their order.
        sort: Of the run.

    Returns:
        What the script reads, ready for `data_pieces`. Codes point into `types`, `kinds`, `outcomes` and `deciders`; in a
        labelled run `truth` into `truths`, and where labels were audited `audit` into `audits`. `facts` holds, by the question's
        place, what only some questions have: pairs of a label and a text.
    """
    kinds, outcomes, deciders = _Codes(), _Codes(), _Codes()
    grown: dict[str, Grown] = {"images": Grown(), "facts": Grown(members=True)}
    grown |= {name: Grown() for name in (*_COLUMNS, "truth", "audit")}
    numbered = enumerate(zip(examinations, pictures, strict=True))
    asked, audited = 0, False
    while block := list(islice(numbered, _BLOCK)):
        columns: dict[str, list[Any]] = {name: [] for name in _COLUMNS}
        questions = [question for _, (examination, _) in block for question in examination.questions]
        for place, (examination, _) in block:
            for number, question in enumerate(examination.questions, 1):
                values = (
                    place,
                    number,
                    question.text,
                    question.response,
                    int(question.intended == "unanswerable"),
                    TYPES.index(cell(question) or "unscored"),
                    kinds[question.kind or ("unspecified" if question.intended == "unanswerable" else "")],
                    outcomes[question.answer.outcome],
                    deciders[question.decided_by or ""],
                    call_text(question.answer),
                )
                for column, value in zip(columns.values(), values, strict=True):
                    column.append(value)
        for name, column in columns.items():
            grown[name].extend(column)
        grown["images"].extend([_image(*pair) for _, pair in block])
        grown["facts"].extend({n: facts for n, each in enumerate(questions, asked) if (facts := list(_facts(each)))})
        if sort != "unsaf":
            grown["truth"].extend([TRUTHS.index(_truth(question)) for question in questions])
        grown["audit"].extend([AUDITS.index(_audited(question)) for question in questions])
        audited = audited or any(question.audits for question in questions)
        asked += len(questions)
    return {
        "label": label,
        "sort": sort,
        "types": TYPES,
        "kinds": list(kinds),
        "outcomes": list(outcomes),
        "deciders": list(deciders),
        **{name: grown[name] for name in ("images", "facts", *_COLUMNS)},
        **({"truths": TRUTHS, "truth": grown["truth"]} if sort != "unsaf" else {}),
        **({"audits": AUDITS, "audit": grown["audit"]} if audited else {}),
    }


def _image(examination: Examination, picture: Thumbnail) -> dict[str, Any]:
    image = examination.image
    return {
        "id": image.id,
        "size": f"{image.width} × {image.height}" if image.width else "",
        "why": picture.why,
        "failure": examination.failure or "",
        "missing": examination.missing,
        "dropped": [[item.text, item.intended, item.reason.replace("_", " ")] for item in examination.dropped],
    }


def _truth(question: Question) -> str:
    """Whether the response is right by the labelled set; "" where the set does not say."""
    return {True: "right", False: "wrong", None: ""}[is_right(question)]


def _audited(question: Question) -> str:
    """Whether any auditor contradicts the label, or those with a verdict confirm it; "" without a verdict."""
    verdicts = {is_confirmed(question, audit.auditor) for audit in question.audits} - {None}
    return "contradicted" if False in verdicts else "confirmed" if verdicts else ""


class _Codes(dict[str, int]):
    """A number for each text, in the order they come."""

    def __missing__(self, key: str) -> int:
        self[key] = len(self)
        return self[key]


def call_text(call: CallRecord) -> str:
    """A call in a few words.

    Args:
        call: The record of the call.

    Returns:
        Its latency, its tokens, its cost if it had one, and whether it came from the cache.
    """
    parts = [f"{call.latency_s:.2f} s"] if call.latency_s else []  # none in a batch
    parts += [f"{call.input_tokens} + {call.output_tokens} tokens"]
    if call.cost_usd:
        parts.append(f"${call.cost_usd:.5f}")
    if call.cached:
        parts.append("from the cache")
    return ", ".join(parts)


_ANSWERABLE = {True: "the image answers it", False: "the image does not answer it"}
_SUPPORTED = {True: "the image bears the answer out", False: "the image does not bear the answer out"}


def _facts(question: Question) -> Iterator[tuple[str, str]]:
    """Labels and texts of what only some questions have."""
    if question.given:
        given = question.given
        if given.answers:
            yield "Accepted answers" if len(given.answers) > 1 else "Accepted answer", _answers(given.answers)
        yield "Given question", "; ".join(filter(None, (given.id, given.category))) or "from another source"
    if question.options:
        yield (
            "Options",
            "  ".join(f"{letter}. {text}" for letter, text in zip(LETTERS, question.options.texts, strict=False)),
        )
    if question.choice:
        said = question.choice.response or _ended(question.choice.call)
        yield "By option", f"{said} [{question.choice.act or 'unscored'}]"
    if question.unscored:
        yield "Unscored", question.unscored
    if question.answer.outcome != "ok" or question.answer.detail:
        yield "Call ended", _ended(question.answer)
    if question.judge and (question.judge.outcome != "ok" or question.judge.detail):
        yield "Judge's call", _ended(question.judge)
    for vote in question.votes:
        why = _ended(vote.call) if vote.call else "the call about several responses brought none"
        yield f"Judge {vote.judge}", vote.act or f"no verdict: {why}"
    for audit in question.audits:
        verdict = f"none: {_ended(audit.call)}" if audit.answerable is None else _ANSWERABLE[audit.answerable]
        yield f"Auditor {audit.auditor}", verdict
    if question.support:
        supported, call = question.support.supported, question.support.call
        verdict = f"nobody could say: {_ended(call)}" if supported is None else _SUPPORTED[supported]
        yield f"Grounded by {question.support.judge}", verdict
    if question.control:
        control = question.control
        said = control.response or _ended(control.call)
        act = f" [{control.act or control.unscored}]"
        yield "Asked again with", f"{control.image or CONTROL_WORDS[control.kind]}: {said}{act}"
    yield from _confidences(question)


def _confidences(question: Question) -> Iterator[tuple[str, str]]:
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
