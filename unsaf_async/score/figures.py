"""A score as rows, one a figure: its path in score.json, its value, its interval, and why either is not there."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from unsaf_async.score.unf1 import BOUNDS_ALONE

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from unsaf_async.records import Record

_ENDS = "_ci"
"""How the name of a figure's interval ends, after the figure's."""

_OF_THE_SCORED = re.compile(
    r"unf1|unf1_ci_percentile|unf1_of_precisions|by_kind\..+\.unf1|grounded\.unf1|audits\..+\.unf1_agreed"
)
"""UnF1, and what it would be with less taken for granted: no figures where so much is unscored that bounds are the headline."""

_BY_OPTION = "forms.choice."
"""What the paths of the second score of a run begin with."""

_KNOWN_AS = {"timidity": "precision", "audacity": "recall"}
"""The paper's names: their intervals stand under the common ones."""

_SHARE_OF_KIND = re.compile(r"(?:forms\.choice\.)?by_kind\.(.+)\.share")
_OWN_QUESTIONS = "an interval of it is computed of questions that the model wrote alone, as quality.kinds"

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
        unscored that bounds are the headline, UnF1 has none but these; so it is with UnF1 by option.
    """
    whole = _Part("", score.model_dump())
    by_prefix = {"": score, _BY_OPTION: getattr(getattr(score, "forms", None), "choice", None)}
    bounded = [prefix for prefix, each in by_prefix.items() if getattr(each, "unf1_between", None) is not None]
    for figure in whole.figures():
        parts = [figure.path.removeprefix(prefix) for prefix in bounded if figure.path.startswith(prefix)]
        if any(map(_OF_THE_SCORED.fullmatch, parts)):
            yield Figure(figure.path, None, None, BOUNDS_ALONE)
        elif kind := _SHARE_OF_KIND.fullmatch(figure.path):
            yield _share_of_kind(figure, kind[1], whole.fields.get("quality"))
        else:
            yield figure


def _share_of_kind(figure: Figure, kind: str, quality: Mapping[str, Any] | None) -> Figure:
    """A kind's share with its interval, which stands with the quality of the questions that the model wrote."""
    name, why = f"kinds.{kind}", _OWN_QUESTIONS
    if quality is None or quality["given"] or quality["kinds"].get(kind) != figure.value:
        return replace(figure, why_none=why)
    return replace(figure, ends=quality["intervals"].get(name), why_none=quality["why_no_interval"].get(name))


@dataclass(frozen=True, slots=True)
class _Part:
    """A record in the score, or the score itself: its own figures, and what it says of those in it, by their path from here.

    prefix: what its figures' paths begin with. outer: the part that it is in; None of the score.
    """

    prefix: str
    fields: Mapping[str, Any]
    outer: _Part | None = None

    def figures(self) -> Iterator[Figure]:
        """Its figures, and those of its parts."""
        for name, value in self.fields.items():
            path = self.prefix + name
            if name in _ABOUT or (name.endswith(_ENDS) and name.removesuffix(_ENDS) in self.fields):
                continue
            if isinstance(value, dict):
                yield from _Part(f"{path}.", value, self).figures()
            elif _is_pair(value):
                yield Figure(path, None, value, None)
            elif _is_number(value):
                known = _KNOWN_AS.get(name, name)
                ends = self.fields.get(name + _ENDS) or self._said(known, "intervals")
                yield Figure(path, value, ends, None if ends else self._why_no_interval(known))
            elif value is None and (why := self._why_no_value(name)):
                yield Figure(path, None, None, why)

    def _why_no_value(self, name: str) -> str | None:
        """Why a value is None; None if nobody says it."""
        said: str | None = self._said(name, "undefined", "why_undefined")
        return said or self._of_all("undefined") or self._of_all("why_undefined")

    def _why_no_interval(self, name: str) -> str | None:
        """Why a value has no interval; None if it is none that has one."""
        said: str | None = self._said(name, "why_no_interval")
        said = said or self._said(name + _ENDS, "undefined", "why_undefined")
        said = said or self._said(name, "undefined", "why_undefined", before="intervals.")
        return said or (self._of_all("why_no_interval") if name + _ENDS in self.fields else None)

    def _said(self, name: str, *fields: str, before: str = "") -> Any:
        """What the fields of this part, or of those around it, hold of a figure; the innermost counts. before: its path."""
        path, part = self.prefix + name, self
        while True:
            key = before + path.removeprefix(part.prefix)
            for each in (part.fields.get(field) for field in fields):
                if isinstance(each, dict) and each.get(key):
                    return each[key]
            if part.outer is None:
                return None
            part = part.outer

    def _of_all(self, field: str) -> str | None:
        """What the field says of all figures of this part; None if of none, or of one at a time."""
        said = self.fields.get(field)
        return said if isinstance(said, str) and said else None


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _is_pair(value: object) -> bool:
    return isinstance(value, tuple) and len(value) == 2 and all(map(_is_number, value))
