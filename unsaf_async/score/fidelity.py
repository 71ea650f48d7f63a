"""How far the intended labels can be trusted: what auditors say of the questions, and UnF1 on those that they confirm.

A question's label is the instruction under which the model wrote it. An auditor sees image and question, without the label, and
judges whether the image answers it. Where it disagrees, the label may be false (or the auditor wrong). Fidelity is how often the
two agree, with UnF1 on those questions. Pure arithmetic; intervals resample images.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, get_args

import numpy as np

from unsaf_async.records import KINDS, Examination, Label, Question, Record
from unsaf_async.score.agreement import Agreement, kappa_with_interval
from unsaf_async.score.bootstrap import RESAMPLES, draws, interval_or_why
from unsaf_async.score.ratios import quotients
from unsaf_async.score.unf1 import Counts, KindName, cell, questions_by_image

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from numpy.typing import NDArray

ALL = "all"
"""The entry for questions on which every auditor agrees with the intended label."""

LABELS: tuple[Label, ...] = get_args(Label)


class Share(Record):
    """How many of some questions an auditor sees as they were intended."""

    n: int
    """Audited, at least 1."""
    agreed: int
    """Of which the auditor says what was intended."""
    share: float
    """agreed / n."""


class Fidelity(Record):
    """What one auditor says of the intended labels."""

    audited: int
    """Questions on which it gave a verdict."""
    failed: int
    """Questions on which it failed or gave no verdict."""
    not_asked: int
    """Questions that it was not asked about."""
    agreement: Agreement
    """Of intended label and auditor."""
    by_label: dict[Label, Share]
    """By intended label; only labels of which some question was audited."""
    by_kind: dict[KindName, Share]
    """Of the questions intended unanswerable, by kind; "unspecified" where the model named none."""
    counts_agreed: Counts
    """The table of four of the questions on which auditor and intention agree."""
    unf1_agreed: float | None
    """UnF1 of that table."""
    unf1_agreed_ci: tuple[float, float] | None
    """95 % interval by resampling images; it does not cover the auditor's own errors."""
    left_out: int
    """Scored questions that are not in that table: the auditor disagrees, failed or was not asked."""
    why_undefined: dict[str, str]
    """Reason for each of these figures that is None; `agreement` has its own."""


def label_fidelity(
    examinations: Iterable[Examination], *, seed: int = 0, resamples: int = RESAMPLES
) -> dict[str, Fidelity]:
    """What each auditor says of the intended labels.

    With two auditors or more the entry "all" is about their joint verdict: a question is audited if all of them gave a
    verdict, and agreed if all of them confirm the label. Several auditors are not one rater, so it has no kappa. (An auditor
    that is itself called "all" takes its place.)

    Args:
        examinations: Of several about one image the last counts, else their order is irrelevant. Failed images do not enter.
        seed: Of the resampling.
        resamples: How many draws.

    Returns:
        By auditor's name, in the order in which they first occur; {} without audits.
    """
    by_image = questions_by_image(examinations)
    names = list(
        dict.fromkeys(audit.auditor for questions in by_image for question in questions for audit in question.audits)
    )
    if not names:
        return {}
    drawn = draws(len(by_image), resamples, seed)

    def by_one(name: str) -> Callable[[Question], _Verdict]:
        return lambda question: _verdict(question, name)

    by_auditor = {name: _fidelity(by_image, by_one(name), drawn) for name in names}
    if len(names) > 1:
        joint = _fidelity(by_image, lambda question: _joint(question, names), drawn)
        why = "several auditors are no one rater"
        agreement = joint.agreement.model_copy(
            update={
                "kappa": None,
                "kappa_ci": None,
                "why_undefined": joint.agreement.why_undefined | dict.fromkeys(("kappa", "kappa_ci"), why),
            }
        )
        by_auditor.setdefault(ALL, joint.model_copy(update={"agreement": agreement}))
    return by_auditor


def is_confirmed(question: Question, auditor: str) -> bool | None:
    """Whether an auditor confirms a question's intended label.

    Args:
        question: The question.
        auditor: Its name; "all": every auditor of the question, unless one has that name.

    Returns:
        None if the auditor gave no verdict.
    """
    names = list(dict.fromkeys(audit.auditor for audit in question.audits))
    verdict = _joint(question, names) if auditor == ALL and ALL not in names else _verdict(question, auditor)
    return verdict.agrees


@dataclass(frozen=True, slots=True)
class _Verdict:
    """agrees: with the intended label; None without a verdict. asked: whether an audit is there at all."""

    agrees: bool | None
    asked: bool


def _verdict(question: Question, auditor: str) -> _Verdict:
    for audit in question.audits:
        if audit.auditor == auditor:
            if audit.answerable is None:
                return _Verdict(None, asked=True)
            return _Verdict(audit.answerable == (question.intended == "answerable"), asked=True)
    return _Verdict(None, asked=False)


def _joint(question: Question, auditors: Sequence[str]) -> _Verdict:
    each = [_verdict(question, auditor) for auditor in auditors]
    if not each or any(verdict.agrees is None for verdict in each):
        return _Verdict(None, asked=bool(each) and all(verdict.asked for verdict in each))
    return _Verdict(all(verdict.agrees for verdict in each), asked=True)


def _fidelity(
    by_image: Sequence[Sequence[Question]], verdict_of: Callable[[Question], _Verdict], drawn: NDArray[np.int64]
) -> Fidelity:
    failed = not_asked = excluded = 0
    tables = np.zeros((len(by_image), 2, 2), dtype=np.int64)  # intended x auditor's, in the order of LABELS
    cells = np.zeros((len(by_image), 4), dtype=np.int64)  # ta, fu, tu, fa of the agreed questions
    kinds: dict[KindName, list[bool]] = {}
    for place, questions in enumerate(by_image):
        for question in questions:
            verdict, where = verdict_of(question), cell(question)
            excluded += where is not None and verdict.agrees is not True
            if verdict.agrees is None:
                failed += verdict.asked
                not_asked += not verdict.asked
                continue
            intended = LABELS.index(question.intended)
            tables[place, intended, intended if verdict.agrees else 1 - intended] += 1
            if question.intended == "unanswerable":
                kinds.setdefault(question.kind or "unspecified", []).append(verdict.agrees)
            if verdict.agrees and where is not None:
                cells[place, _CELLS.index(where)] += 1
    total = tables.sum(axis=0)
    counts = Counts(**dict(zip(_CELLS, map(int, cells.sum(axis=0)), strict=True)))
    unf1_ci, why = None, {}
    if counts.unf1 is None:
        reason = (
            "no question that was intended unanswerable was scored and confirmed, and no answerable one abstained from"
        )
        why = dict.fromkeys(("unf1_agreed", "unf1_agreed_ci"), reason)
    else:
        unf1_ci, why_not = interval_or_why(_unf1s(drawn @ cells), len(by_image))
        why = {"unf1_agreed_ci": why_not} if why_not else {}
    names: tuple[KindName, ...] = (*KINDS, "unspecified")
    return Fidelity(
        audited=int(total.sum()),
        failed=failed,
        not_asked=not_asked,
        agreement=kappa_with_interval(tables, drawn),
        by_label={
            label: _share(int(total[row, row]), int(total[row].sum()))
            for row, label in enumerate(LABELS)
            if total[row].sum()
        },
        by_kind={kind: _share(sum(kinds[kind]), len(kinds[kind])) for kind in names if kind in kinds},
        counts_agreed=counts,
        unf1_agreed=counts.unf1,
        unf1_agreed_ci=unf1_ci,
        left_out=excluded,
        why_undefined=why,
    )


_CELLS = ("ta", "fu", "tu", "fa")


def _share(agreed: int, n: int) -> Share:
    return Share(n=n, agreed=agreed, share=agreed / n)


def _unf1s(cells: NDArray[np.int64]) -> NDArray[np.float64]:
    """UnF1 of each row of [resamples, 4] counts (ta, fu, tu, fa); NaN where it is undefined."""
    _, fu, tu, fa = cells.T
    return quotients(2 * tu, 2 * tu + fu + fa)
