"""Whether labels fit their texts: rows of a labelled file of which the rules are certain that the response did the opposite."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from unsaf_async.errors import UserError
from unsaf_async.examine.rules import rule
from unsaf_async.score.calibration import LabelCheck, SourceCheck

if TYPE_CHECKING:
    from collections.abc import Sequence

    from unsaf_async.score.calibration import Judged

SHIFTED_FROM = 0.1
"""The share of a source's decided rows, contradicted, from which its labels are taken to belong to other rows. Where labels and
texts belong together the rules are wrong in one row of a hundred; where they do not, in about one of four."""

FEWEST_CONTRADICTED = 3
"""Contradicted rows of a source below which nothing is said of the whole of it."""


def check_labels(rows: Sequence[Judged]) -> LabelCheck:
    """Which labels contradict their texts, and which sources look shifted.

    A row is contradicted where the rules decide that the response answered and the label is "abstained", or the other way round:
    "Red." as an abstention, "I cannot determine that." as an answer. A source (the column `source`; without it the file) is
    shifted where many of those that the rules decide are contradicted.

    Args:
        rows: Labelled responses.

    Returns:
        All rows enter but those of shifted sources. Contradicted rows of other sources enter, since without them the rules could
        not be found wrong.
    """
    decided: Counter[str] = Counter()
    against: dict[str, list[int]] = {}
    for number, row in enumerate(rows, 1):
        act = rule(row.question, row.response, "stop")
        if act in ("answered", "abstained"):
            decided[_source(row)] += 1
            if act != row.label:
                against.setdefault(_source(row), []).append(number)
    shifted = {
        source
        for source, numbers in against.items()
        if len(numbers) >= FEWEST_CONTRADICTED and len(numbers) >= SHIFTED_FROM * decided[source]
    }
    held = Counter(map(_source, rows))
    return LabelCheck(
        rows=len(rows),
        entered=sum(count for source, count in held.items() if source not in shifted),
        contradicted=sorted(number for numbers in against.values() for number in numbers),
        shifted={
            source: SourceCheck(rows=held[source], decided=decided[source], contradicted=len(against[source]))
            for source in sorted(shifted)
        },
    )


def entering(rows: Sequence[Judged], check: LabelCheck, where: str) -> tuple[Judged, ...]:
    """The rows that a calibration is made of.

    Args:
        rows: Labelled responses.
        check: What `check_labels` says of them.
        where: The file, for the error.

    Returns:
        At least one row.

    Raises:
        UserError: If no source is left.
    """
    left = tuple(row for row in rows if _source(row) not in check.shifted)
    if not left:
        contradicted, decided = (
            sum(getattr(each, name) for each in check.shifted.values()) for name in ("contradicted", "decided")
        )
        numbers = ", ".join(map(str, check.contradicted[:5]))
        raise UserError(
            f"{where}: {contradicted} of {decided} labels that the rules can check contradict their text (rows {numbers}"
            f"{', ...' if len(check.contradicted) > 5 else ''}): labels and texts look shifted against each other; mend the file"
        )
    return left


def _source(row: Judged) -> str:
    return row.groups.get("source", "")
