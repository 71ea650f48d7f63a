"""Grounded mode: are the answers to answerable questions borne out by the image? Pure arithmetic over examinations.

UnF1 asks whether a model answers or declines, never whether it is right. Here a judge that sees the image says so of each answer
to a question that was meant to be answerable. The figure stands for itself and is never mixed into UnF1.
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from unsaf_async.records import Examination, Question, Record
from unsaf_async.score.bootstrap import ratio_interval
from unsaf_async.score.ratios import ratio
from unsaf_async.score.unf1 import cell, latest

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence


class Grounded(Record):
    """What grounded judges say."""

    judged: int
    """Answers to answerable questions (TA) on which a judge gave a verdict."""
    failed: int
    """Those on which it failed or gave no verdict."""
    not_asked: int
    """Those that no judge has looked at."""
    supported: int
    """Those that the image bears out."""
    accuracy: float | None
    """supported / judged."""
    accuracy_ci: tuple[float, float] | None
    """95 % interval by resampling images."""
    unf1: float | None
    """2 TU / (2 TU + FU + FA + UA), where UA are the unsupported answers to answerable questions: UnF1 if these are errors."""
    unf1_ci: tuple[float, float] | None
    """95 % interval by resampling images."""
    why_undefined: str = ""
    """Why the figures that are None are."""


def grounded(examinations: Iterable[Examination], *, seed: int = 0) -> Grounded:
    """What grounded judges say of the answers.

    Args:
        examinations: Of several about one image the last counts.
        seed: Of the resampling.

    Returns:
        Figures that are None have their reason in `why_undefined`.
    """
    kept = [examination.questions for examination in latest(examinations) if examination.questions]
    answers = [question for questions in kept for question in questions if cell(question) == "ta"]
    verdicts = [question.support.supported for question in answers if question.support]
    judged = [verdict for verdict in verdicts if verdict is not None]
    shares = [_share(questions) for questions in kept]
    variant = [_variant(questions) for questions in kept]
    whole = sum(whole for _, whole in variant)
    defined = bool(judged) and whole > 0
    return Grounded(
        judged=len(judged),
        failed=len(verdicts) - len(judged),
        not_asked=len(answers) - len(verdicts),
        supported=sum(judged),
        accuracy=ratio(sum(judged), len(judged)),
        accuracy_ci=ratio_interval(shares, seed=seed) if judged else None,
        unf1=sum(part for part, _ in variant) / whole if defined else None,
        unf1_ci=ratio_interval(variant, seed=seed) if defined else None,
        why_undefined=""
        if defined
        else "no response is an error or a right abstention"
        if judged
        else "no answer to an answerable question was judged with the image",
    )


def _share(questions: Sequence[Question]) -> tuple[int, int]:
    """(supported, judged) of one image's TAs."""
    verdicts = [
        question.support.supported
        for question in questions
        if cell(question) == "ta" and question.support and question.support.supported is not None
    ]
    return sum(verdicts), len(verdicts)


def _variant(questions: Sequence[Question]) -> tuple[int, int]:
    """(2 TU, 2 TU + FU + FA + UA) of one image."""
    cells = Counter(map(cell, questions))
    supported, judged = _share(questions)
    return 2 * cells["tu"], 2 * cells["tu"] + cells["fu"] + cells["fa"] + judged - supported
