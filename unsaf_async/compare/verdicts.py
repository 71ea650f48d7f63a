"""What two judges made of the same answers: which verdicts moved, and how far the two agree beyond chance.

Two runs hold the same answers where one judges those of the other anew, or where both found them in one cache. Agreement is
Cohen's kappa with images as the unit (`score.agreement`), over all answers, and over those that the rules left open to either
judge: on the others both say what the rules say.
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

import numpy as np
from pydantic import Field

from unsaf_async.compare.pairing import match
from unsaf_async.records import ACTS, Record
from unsaf_async.score.agreement import Agreement, kappa_with_interval
from unsaf_async.score.units import Units

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from unsaf_async.records import Examination, Question

SAME_SHARE = 0.5
"""Of either run's answers on the images that both have, the least share that is the other's, too: else they are two runs."""

NO_VERDICT = "no verdict"


class SameAnswers(Record):
    """Two runs' verdicts on the answers that both hold."""

    a: str
    b: str
    """The runs' names."""
    answers: int
    """That both hold: the same words to the same question about the same image."""
    moved: int
    """Of them, those of which the two say different things; to have no verdict is one of them."""
    moves: dict[str, int] = Field(default_factory=dict)
    """"answered -> abstained": so many; a's verdict first, the most frequent first."""
    agreement: Agreement
    """Where both have a verdict."""
    left_open: Agreement
    """The same, of the answers that the rules did not decide in both."""


def same_answers(a: str, of_a: Sequence[Examination], b: str, of_b: Sequence[Examination]) -> SameAnswers | None:
    """What two runs' judges made of the answers that both runs hold.

    Args:
        a: One run's name.
        of_a: Its examinations, one an image.
        b: The other's.
        of_b: Its examinations.

    Returns:
        The verdicts compared; None where the runs hold too few answers in common to be judgements of one examination.
    """
    units = Units()
    pairs: list[tuple[int, Question, Question]] = []
    asked_a = asked_b = 0
    for place, (one, other) in enumerate(match(of_a, of_b)):
        units.add(one.image)
        theirs = {(each.text, each.intended): each for each in other.questions}
        asked_a, asked_b = asked_a + len(one.questions), asked_b + len(other.questions)
        for question in one.questions:
            same = theirs.get((question.text, question.intended))
            if same is not None and same.response == question.response and _whole(question) and _whole(same):
                pairs.append((place, question, same))
    if not pairs or len(pairs) < SAME_SHARE * max(asked_a, asked_b):
        return None
    moves = Counter(
        f"{one.act or NO_VERDICT} -> {other.act or NO_VERDICT}" for _, one, other in pairs if one.act != other.act
    )
    open_ones = [pair for pair in pairs if not pair[1].decided_by == pair[2].decided_by == "rule"]
    return SameAnswers(
        a=a,
        b=b,
        answers=len(pairs),
        moved=moves.total(),
        moves=dict(moves.most_common()),
        agreement=_agreement(pairs, units),
        left_open=_agreement(open_ones, units),
    )


def _whole(question: Question) -> bool:
    return question.answer.outcome == "ok"


def _agreement(pairs: Iterable[tuple[int, Question, Question]], units: Units) -> Agreement:
    tables = np.zeros((units.count, len(ACTS), len(ACTS)), dtype=np.int64)
    numbers = units.numbers
    for place, one, other in pairs:
        if one.act is not None and other.act is not None:
            tables[numbers[place], ACTS.index(one.act), ACTS.index(other.act)] += 1
    return kappa_with_interval(tables)
