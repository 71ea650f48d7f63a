"""Figures with their intervals, drawn in characters: a picture that stands in a comment or a mail without a file beside it.

GitHub takes data URLs and SVG out of Markdown, and a picture of a workflow's has no address that lasts and that everybody may
read. Characters of a fixed width need neither.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from unsaf_async.text import one_line, printable, shorten

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

CELLS = 40
"""Of the axis from 0 to 1, which has one character more."""

LONGEST_NAME = 24
"""In characters."""

_TICKS = {0: "0", CELLS // 4: ".25", CELLS // 2: ".5", 3 * CELLS // 4: ".75", CELLS: "1"}
_EMPTY, _ENDS, _BOUNDS, _POINT, _BAR = "·", "━", "░", "●", "┃"


class Mark(NamedTuple):
    """A line of the picture."""

    name: str
    words: str
    """The figure in words, such as "0.702"."""
    value: float | None
    """In [0, 1]; None where there is no figure."""
    ends: tuple[float, float] | None
    """Its 95 % interval, or its bounds; None where it has none."""
    between: bool = False
    """Whether `ends` are bounds that stand in the figure's place."""
    bar: float | None = None
    """What a gate asks of it; None without one."""


def drawn(marks: Sequence[Mark], what: str = "UnF1") -> list[str]:
    """The figures on one axis from 0 to 1.

    Args:
        marks: In their order.
        what: What the figures are.

    Returns:
        Lines of text, the last of which says what the signs mean; [] without marks.
    """
    if not marks:
        return []
    names = [shorten(one_line(printable(mark.name)).replace("`", "'"), LONGEST_NAME, "…") for mark in marks]
    wide, words = max(map(len, names)), max(len(mark.words) for mark in marks)
    axis = [" "] * (CELLS + 1)
    for place, text in _TICKS.items():
        axis[place : place + len(text)] = text
    lines = [f"{'':{wide}}  {'':{words}}  {''.join(axis)}"]
    lines += [f"{name:<{wide}}  {mark.words:>{words}}  {_line(mark)}" for name, mark in zip(names, marks, strict=True)]
    return [line.rstrip() for line in [*lines, "", *_signs(marks, what)]]


def _line(mark: Mark) -> str:
    cells = [_EMPTY] * (CELLS + 1)
    if mark.ends is not None:
        low, high = map(_place, mark.ends)
        cells[low : high + 1] = (_BOUNDS if mark.between else _ENDS) * (high + 1 - low)
    if mark.bar is not None:
        cells[_place(mark.bar)] = _BAR
    if mark.value is not None and not mark.between:
        cells[_place(mark.value)] = _POINT
    return "".join(cells)


def _place(value: float) -> int:
    return round(CELLS * min(1.0, max(0.0, value)))


def _signs(marks: Sequence[Mark], what: str) -> Iterator[str]:
    signs = [
        (f"{_POINT} {what}", any(mark.value is not None and not mark.between for mark in marks)),
        (f"{_ENDS} 95 % interval", any(mark.ends and not mark.between for mark in marks)),
        (f"{_BOUNDS} bounds, with the unscored either way", any(mark.ends and mark.between for mark in marks)),
    ]
    bars = sorted({mark.bar for mark in marks if mark.bar is not None})
    signs += [(f"{_BAR} what is asked: {', '.join(f'{bar:g}' for bar in bars)}", bool(bars))]
    yield "   ".join(words for words, there in signs if there)
