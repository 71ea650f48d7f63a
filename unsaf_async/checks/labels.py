"""Whether labels fit their texts: rows of a labelled file of which the rules are certain that the response did the opposite."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from unsaf_async.errors import UserError
from unsaf_async.examine.rules import rule
from unsaf_async.score.calibration import LabelCheck, SourceCheck

if TYPE_CHECKING:
    from collections.abc import Sequence

    from unsaf_async.score.calibration import Judged

SHIFTED_FROM = 0.1
"""The share of a source's decided rows, contradicted, from which its labels are taken to belong to other rows. Where labels and
texts belong together the rules are wrong in one row of a hundred."""

SHIFTED_CLASS_FROM = 0.4
"""The same share among the rows alone that the rules take for abstentions, or for answers. Where one of the two is rare, a file
whose labels belong to other rows contradicts few of all its rows, and nearly all of these."""

FEWEST_CONTRADICTED = 3
"""Contradicted rows, of those counted, below which nothing is said of the whole."""


def check_labels(rows: Sequence[Judged]) -> LabelCheck:
    """Which labels contradict their texts, and which sources look shifted.

    A row is contradicted where the rules decide that the response answered and the label is "abstained", or the other way round:
    "Red." as an abstention, "I cannot determine that." as an answer. A source (the column `source`; without it the file) is
    shifted where many of those that the rules decide are contradicted, or many of those that they decide as the one act.

    Args:
        rows: Labelled responses.

    Returns:
        All rows enter but those of shifted sources. If what is left looks shifted as a whole, no source is left. Contradicted
        rows of other sources enter, since without them the rules could not be found wrong.
    """
    decided: dict[str, _Decided] = {}
    contradicted = []
    for number, row in enumerate(rows, 1):
        counts = decided.setdefault(_source(row), _Decided())
        act = rule(row.question, row.response, "stop")
        if act in ("answered", "abstained"):
            counts.decided[act] += 1
            if act != row.label:
                counts.contradicted[act] += 1
                contradicted.append(number)
    shifted = {source for source, counts in decided.items() if counts.look_shifted}
    left = [counts for source, counts in decided.items() if source not in shifted]
    if sum(left, _Decided()).look_shifted:
        shifted = set(decided)
    held = Counter(map(_source, rows))
    return LabelCheck(
        rows=len(rows),
        entered=sum(count for source, count in held.items() if source not in shifted),
        contradicted=contradicted,
        shifted={
            source: SourceCheck(
                rows=held[source],
                decided=decided[source].decided.total(),
                contradicted=decided[source].contradicted.total(),
                decided_abstained=decided[source].decided["abstained"],
                contradicted_abstained=decided[source].contradicted["abstained"],
            )
            for source in sorted(shifted)
        },
    )


@dataclass(frozen=True)
class _Decided:
    """Of a source: rows that the rules decide, and those of them whose label says the opposite, by what the rules say."""

    decided: Counter[str] = field(default_factory=Counter)
    contradicted: Counter[str] = field(default_factory=Counter)

    def __add__(self, other: _Decided) -> _Decided:
        return _Decided(self.decided + other.decided, self.contradicted + other.contradicted)

    @property
    def look_shifted(self) -> bool:
        """Whether the labels look as if they belonged to other rows."""
        parts = [(self.contradicted.total(), self.decided.total(), SHIFTED_FROM)]
        parts += [(self.contradicted[act], self.decided[act], SHIFTED_CLASS_FROM) for act in self.decided]
        return any(wrong >= FEWEST_CONTRADICTED and wrong >= share * whole for wrong, whole, share in parts)


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
        dumped = [each.model_dump() for each in check.shifted.values()]
        total = SourceCheck(**{name: sum(each[name] for each in dumped) for name in SourceCheck.model_fields})
        numbers = ", ".join(map(str, check.contradicted[:5]))
        raise UserError(
            f"{where}: {said_of(total)} (rows {numbers}{', ...' if len(check.contradicted) > 5 else ''}): "
            "labels and texts look shifted against each other; mend the file"
        )
    return left


def said_of(check: SourceCheck) -> str:
    """How many labels contradict their text, in words.

    Args:
        check: Of one source, or of several together.

    Returns:
        The beginning of a sentence.
    """
    return (
        f"{check.contradicted} of {check.decided} labels that the rules can check contradict their text "
        f"({check.contradicted_abstained} of {check.decided_abstained} where the response declines)"
    )


def _source(row: Judged) -> str:
    return row.groups.get("source", "")
