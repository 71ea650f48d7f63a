"""Audacity against timidity: where models stand in the plane of the paper's two scores."""

from __future__ import annotations

from textwrap import wrap
from typing import TYPE_CHECKING, Any

import numpy as np

from unsaf_async.report.drawing import PRINTED, Drawn, Palette, Plot, in_style, new_figure, share_axis, short
from unsaf_async.report.text_width import text_width

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

Plane = tuple[str, float, float, tuple[float, float] | None, tuple[float, float] | None]
"""A run's mark: label, timidity, audacity, and an interval of each or None."""


@Plot
def plane(colors: Palette, rows: Sequence[Plane]) -> Drawn | None:
    """Audacity against timidity, a mark a run, with curves of equal UnF1.

    Args:
        colors: By role.
        rows: The runs.

    Returns:
        The plot; None with fewer than two runs.
    """
    if len(rows) < 2:
        return None
    values = ", ".join(f"{label}: timidity {x:.3f}, audacity {y:.3f}" for label, x, y, _, _ in rows)
    return Drawn(_plane(colors, rows), "Audacity against timidity", f"{values}.")


def write_plane(rows: Sequence[Plane], file: Path, notes: Sequence[str] = ()) -> None:
    """Write that plot as a picture of its own, on white.

    Args:
        rows: The runs.
        file: Ends in .svg or .png.
        notes: Sentences that stand under it.

    Raises:
        OSError: The file cannot be written.
        UserError: matplotlib is not installed.
    """
    with in_style():
        import matplotlib as mpl

        mpl.rcParams["svg.hashsalt"] = "plane"  # until the context ends
        svg = file.suffix.lower() == ".svg"
        metadata = {"Date": None} if svg else {"Software": None}
        figure = _plane(PRINTED, rows)
        if notes:
            text = "\n".join(line for note in notes for line in wrap(note, 90))
            figure.supxlabel(text, fontsize=9, color=PRINTED["muted"])
        figure.savefig(file, format="svg" if svg else "png", dpi=200, metadata=metadata)


def _plane(colors: Palette, rows: Sequence[Plane]) -> Any:
    figure, axes = new_figure(colors, 6.2)
    for unf1 in (0.5, 0.7, 0.8, 0.9):
        timidity = np.linspace(unf1 / (2 - unf1), 1, 100)
        axes.plot(timidity, unf1 * timidity / (2 * timidity - unf1), color=colors["line"], linewidth=1, zorder=0)
        axes.text(1, unf1 / (2 - unf1), f"UnF1 {unf1:.1f}", color=colors["muted"], ha="right", va="bottom", fontsize=10)
    names = short([label for label, *_ in rows])
    heights = _label_heights([(x, y) for _, x, y, _, _ in rows], [text_width(name, _FONT) / _AXIS for name in names])
    for place, (_, x, y, of_x, of_y) in enumerate(rows):
        color = colors[f"c{place % 6 + 1}"]
        for ends, along in ((of_x, ([*of_x], [y, y]) if of_x else None), (of_y, ([x, x], [*of_y]) if of_y else None)):
            if ends and along:
                axes.plot(*along, color=color, linewidth=1.5, solid_capstyle="round")
        axes.plot([x], [y], "os^Dv*"[place // 6 % 6], color=color, markersize=8)
        aside = {"xytext": (7, 5)} if x < _TURN else {"xytext": (-7, 5), "ha": "right"}
        axes.annotate(names[place], (x, heights[place]), textcoords="offset points", fontsize=_FONT, **aside)
    axes.set_aspect("equal")
    share_axis(axes, "x", "timidity: of the declined, rightly")
    share_axis(axes, "y", "audacity: of the unanswerable, declined")
    return figure


_FONT = 12
"""Of a label, in points."""
_AXIS = 350
"""About how long an axis is, in the same."""
_LINE, _TURN = 0.045, 0.7
"""How high a label's line is, and from where on a label stands left of its point; in the plane's units."""


def _label_heights(points: Sequence[tuple[float, float]], widths: Sequence[float]) -> list[float]:
    """How high each point's label stands: as high as the point, or below the label that would lie over it.

    Points and widths are in the plane's units.
    """
    heights = [y for _, y in points]
    spans = [(x, x + wide) if x < _TURN else (x - wide, x) for (x, _), wide in zip(points, widths, strict=True)]
    placed: list[int] = []
    for number in sorted(range(len(points)), key=lambda each: -points[each][1]):
        left, right = spans[number]
        over = [heights[each] for each in placed if spans[each][0] < right + _LINE and left < spans[each][1] + _LINE]
        for taken in sorted(over, reverse=True):
            if abs(taken - heights[number]) < _LINE:
                heights[number] = taken - _LINE
        placed.append(number)
    return heights
