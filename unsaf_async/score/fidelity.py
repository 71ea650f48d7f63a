"""How far the intended labels can be trusted: what auditors say of the questions, and UnF1 on those that they confirm.

A question's label is the instruction under which the model wrote it. An auditor sees image and question, without the label, and
judges whether the image answers it. Where it disagrees, the label may be false (or the auditor wrong). Fidelity is how often the
two agree, with UnF1 on those questions. Pure arithmetic; intervals take the image as
their unit.
"""

from __future__ import annotations

from array import array
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, get_args

import numpy as np

from unsaf_async.records import KINDS, Examination, Label, Question, Record
from unsaf_async.score.agreement import Agreement, kappa_with_interval
from unsaf_async.score.intervals import Interval, ratio_interval
from unsaf_async.score.shares import ShareTally
from unsaf_async.score.unf1 import Cell, Counts, KindName, cell, latest_by_id
from unsaf_async.score.units import Units

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

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
    share_ci: tuple[float, float] | None = None
    """95 % interval with images as the unit."""
    why_no_interval: str = ""
    """Why there is none."""


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
    """95 % interval with images as the unit; it does not cover the auditor's own errors."""
    left_out: int
    """Scored questions that are not in that table: the auditor disagrees, failed or was not asked."""
    why_undefined: dict[str, str]
    """Reason for each of these figures that is None; `agreement` has its own."""


def label_fidelity(examinations: Iterable[Examination]) -> dict[str, Fidelity]:
    """What each auditor says of the intended labels.

    With two auditors or more the entry "all" is about their joint verdict: a question is audited if all of them gave a
    verdict, and agreed if all of them confirm the label. Several auditors are not one rater, so it has no kappa. (An auditor
    that is itself called "all" takes its place.)

    Args:
        examinations: Of several about one image the last counts, else their order is irrelevant. Failed images do not enter.

    Returns:
        By auditor's name, in the order in which they first occur; {} without audits.
    """
    tally = FidelityTally()
    for examination in latest_by_id(examinations):
        tally.add(examination)
    return tally.fidelity()


class FidelityTally:
    """What auditors say of the intended labels, added up image by image, in the order of the images' ids."""

    def __init__(self) -> None:
        self._questions = self._scored = 0
        self._units = Units()
        self._by_auditor: dict[str, _Verdicts] = {}
        self._joint = _Verdicts(0)

    def add(self, examination: Examination) -> None:
        """Count one image.

        Args:
            examination: Of the image; each image once.
        """
        if not examination.questions:
            return
        self._units.add(examination.image)
        for verdicts in (self._joint, *self._by_auditor.values()):
            verdicts.begin_image()
        for question in examination.questions:
            for audit in question.audits:
                if audit.auditor not in self._by_auditor:
                    self._by_auditor[audit.auditor] = self._not_asked_yet()
                    self._joint = self._not_asked_yet()
            where = cell(question)
            for name, verdicts in self._by_auditor.items():
                verdicts.add(question, where, _verdict(question, name))
            if len(self._by_auditor) > 1:
                self._joint.add(question, where, _joint(question, list(self._by_auditor)))
            self._questions += 1
            self._scored += where is not None

    def _not_asked_yet(self) -> _Verdicts:
        """The verdicts of an auditor who was asked about no question so far."""
        return _Verdicts(len(self._units), not_asked=self._questions, left_out=self._scored)

    def fidelity(self) -> dict[str, Fidelity]:
        """What each auditor says.

        Returns:
            As `label_fidelity`.
        """
        found = dict(self._by_auditor)
        if len(found) > 1:
            found.setdefault(ALL, self._joint)
        if not found:
            return {}
        pictures = self._units.numbers
        result = {name: _fidelity(each, self._units.sums(each.sums), pictures) for name, each in found.items()}
        if ALL not in self._by_auditor and ALL in result:
            joint = result[ALL]
            why = "several auditors are no one rater"
            agreement = joint.agreement.model_copy(
                update={
                    "kappa": None,
                    "kappa_ci": None,
                    "why_undefined": joint.agreement.why_undefined | dict.fromkeys(("kappa", "kappa_ci"), why),
                }
            )
            result[ALL] = joint.model_copy(update={"agreement": agreement})
        return result


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


class _Verdicts:
    """One auditor's verdicts, or their joint ones, added up.

    failed, not_asked: questions without a verdict. left_out: scored questions that it does not confirm. kinds: verdicts on the
    questions intended unanswerable, by kind and whether it agrees; by_image: the same, for intervals.
    """

    def __init__(self, images: int, *, not_asked: int = 0, left_out: int = 0) -> None:
        self.failed = 0
        self.not_asked = not_asked
        self.left_out = left_out
        self.kinds: Counter[tuple[KindName, bool]] = Counter()
        self.by_image = ShareTally()
        self._sums = array("q", bytes(8 * _COLUMNS * images))

    def begin_image(self) -> None:
        self._sums.frombytes(bytes(8 * _COLUMNS))

    def add(self, question: Question, where: Cell | None, verdict: _Verdict) -> None:
        """A question of the image that was begun last."""
        self.left_out += where is not None and verdict.agrees is not True
        if verdict.agrees is None:
            self.failed += verdict.asked
            self.not_asked += not verdict.asked
            return
        row = len(self._sums) - _COLUMNS
        intended = LABELS.index(question.intended)
        self._sums[row + 2 * intended + (intended if verdict.agrees else 1 - intended)] += 1
        if question.intended == "unanswerable":
            kind = question.kind or "unspecified"
            self.kinds[kind, verdict.agrees] += 1
            self.by_image.add(row // _COLUMNS, kind, _AGREED if verdict.agrees else "")
        if verdict.agrees and where is not None:
            self._sums[row + 4 + _CELLS.index(where)] += 1

    @property
    def sums(self) -> NDArray[np.int64]:
        """[images, 8]: intended x auditor's in the order of LABELS, then ta, fu, tu, fa of the agreed questions."""
        return np.array(self._sums, dtype=np.int64).reshape(-1, _COLUMNS)


def _fidelity(verdicts: _Verdicts, sums: NDArray[np.int64], pictures: NDArray[np.int64]) -> Fidelity:
    """sums: [pictures, 8]. pictures: [images], their numbers."""
    images = len(sums)
    tables, cells = sums[:, :4].reshape(images, 2, 2), sums[:, 4:]
    total = tables.sum(axis=0)
    counts = Counts(**dict(zip(_CELLS, map(int, cells.sum(axis=0)), strict=True)))
    unf1_ci, why = None, {}
    if counts.unf1 is None:
        reason = "no question that was intended unanswerable was scored and confirmed"
        why = dict.fromkeys(("unf1_agreed", "unf1_agreed_ci"), reason)
    else:
        _, fu, tu, fa = cells.T
        interval = ratio_interval(np.stack([2 * tu, 2 * tu + fu + fa], axis=1))
        unf1_ci = interval.ends
        why = {} if unf1_ci else {"unf1_agreed_ci": interval.why_undefined}
    names: tuple[KindName, ...] = (*KINDS, "unspecified")
    return Fidelity(
        audited=int(total.sum()),
        failed=verdicts.failed,
        not_asked=verdicts.not_asked,
        agreement=kappa_with_interval(tables),
        by_label={
            label: _share(tables[:, row, row], tables[:, row].sum(axis=1))
            for row, label in enumerate(LABELS)
            if total[row].sum()
        },
        by_kind={
            kind: _share_of(verdicts.kinds[kind, True], n, verdicts.by_image.interval(kind, _AGREED, pictures))
            for kind in names
            if (n := verdicts.kinds[kind, True] + verdicts.kinds[kind, False])
        },
        counts_agreed=counts,
        unf1_agreed=counts.unf1,
        unf1_agreed_ci=unf1_ci,
        left_out=verdicts.left_out,
        why_undefined=why,
    )


_CELLS = ("ta", "fu", "tu", "fa")
_COLUMNS = 8


_AGREED = "agreed"


def _share(agreed: NDArray[np.int64], n: NDArray[np.int64]) -> Share:
    """agreed, n: of each picture."""
    return _share_of(int(agreed.sum()), int(n.sum()), ratio_interval(np.stack([agreed, n], axis=1)))


def _share_of(agreed: int, n: int, interval: Interval) -> Share:
    return Share(n=n, agreed=agreed, share=agreed / n, share_ci=interval.ends, why_no_interval=interval.why_undefined)
