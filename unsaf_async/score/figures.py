"""A score as rows, one a figure: its path in score.json, its value, its interval, and why either is not there."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from unsaf_async.score.unf1 import BOUNDS_ALONE

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from unsaf_async.records import Record

_ENDS = "_ci"
"""How the name of a figure's interval ends, after the figure's."""

_OF_THE_SCORED = re.compile(r"unf1|grounded\.unf1|audits\..+\.unf1_agreed")
"""UnF1, and what it would be with less taken for granted: no figures where so much is unscored that bounds are the headline."""

_ABOUT = ("undefined", "why_undefined", "why_no_interval", "intervals")
"""Fields that are about figures, and none themselves."""


@dataclass(frozen=True, slots=True)
class Figure:
    """One figure of a score. What is None has no value, or no interval.

    path: as docs/score.md names it, such as "by_kind.hidden.recall". value: a number; None of a pair, such as unf1_bounds.
    ends: of its 95 % interval, or of the pair. why_none: why there is no value, or no interval.
    """

    path: str
    value: float | None
    ends: tuple[float, float] | None
    why_none: str | None

    @property
    def low(self) -> float | None:
        """The lower end."""
        return self.ends[0] if self.ends else None

    @property
    def high(self) -> float | None:
        """The upper end."""
        return self.ends[1] if self.ends else None


COLUMNS: dict[str, type] = {"path": str, "value": float, "low": float, "high": float, "why_none": str}
"""The columns of a table of figures with their types, in order."""


def figures_of(score: Record) -> Iterator[Figure]:
    """The figures of a score: every number, every pair of numbers, and what is undefined with its reason.

    Args:
        score: A `Score`, or `Findings`.

    Yields:
        In the order of score.json. Texts and lists are no figures; what was not measured is not among them. Where so much is
        unscored that bounds are the headline, UnF1 has none but these.
    """
    fields = score.model_dump()
    bounded = getattr(score, "unf1_between", None) is not None
    for figure in _below("", fields, fields["undefined"], fields["intervals"]):
        alone = bounded and _OF_THE_SCORED.fullmatch(figure.path)
        yield Figure(figure.path, None, None, BOUNDS_ALONE) if alone else figure


def _below(
    prefix: str, fields: Mapping[str, Any], reasons: Mapping[str, str], intervals: Mapping[str, Any]
) -> Iterator[Figure]:
    """The figures of a record in the score. reasons, intervals: of the whole score, by path."""
    own = _Reasons(prefix, fields, reasons)
    for name, value in fields.items():
        path = prefix + name
        if name in _ABOUT or (name.endswith(_ENDS) and name.removesuffix(_ENDS) in fields):
            continue
        if isinstance(value, dict):
            yield from _below(f"{path}.", value, reasons, intervals)
        elif _is_pair(value):
            yield Figure(path, None, value, None)
        elif _is_number(value):
            ends = fields.get(name + _ENDS) or intervals.get(path)
            yield Figure(path, value, ends, None if ends else own.of_interval(name))
        elif value is None and (why := own.of_value(name)):
            yield Figure(path, None, None, why)


class _Reasons:
    """Why figures of one record are not there: said by the whole score, by path, or by the record, of one figure or of all."""

    def __init__(self, prefix: str, fields: Mapping[str, Any], whole: Mapping[str, str]) -> None:
        self._prefix, self._fields, self._whole = prefix, fields, whole

    def of_value(self, name: str) -> str | None:
        """Why a value is None; None if nobody says it."""
        return (
            self._whole.get(self._prefix + name) or self._said("undefined", name) or self._said("why_undefined", name)
        )

    def of_interval(self, name: str) -> str | None:
        """Why a value has no interval; None if it is none that has one."""
        path, ends = self._prefix + name, name + _ENDS
        said = self._whole.get(f"intervals.{path}") or self._whole.get(path + _ENDS)
        said = said or self._said("undefined", ends, one=True) or self._said("why_undefined", ends, one=True)
        return said or self._said("why_no_interval", name, one=ends not in self._fields)

    def _said(self, field: str, name: str, *, one: bool = False) -> str | None:
        """What the record's field says of a figure. one: not what it says of all figures."""
        said = self._fields.get(field)
        if isinstance(said, dict):
            return said.get(name)
        return None if one else said or None


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _is_pair(value: object) -> bool:
    return isinstance(value, tuple) and len(value) == 2 and all(map(_is_number, value))
