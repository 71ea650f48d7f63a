"""Plots as SVG that is a part of the page: the calls of matplotlib's figures and axes that the report's plots make.

A plot is one function, whoever draws it: this module, for the page, or matplotlib, for a notebook or a paper. matplotlib would be
an eighth of what this program takes on disk, and the page's policy forbids the style attributes that it writes. Here a color is
a role: its class (`f-ink`, `s-ink`) is one that the style sheet colors, in light and in dark. Text stays text. Lengths are pixels
of a page that shows the plot at its full size. The same figures give the same bytes.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

from unsaf_async.report.markup import el
from unsaf_async.report.text_width import text_width

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from xml.etree.ElementTree import Element

COLORS = {name: name for name in ("ink", "muted", "line", "paper", "good", "c1", "c2", "c3", "c4", "c5", "c6")}
"""The roles; the style sheet holds a custom property of the same name for each."""

TEXT_PX = 13
"""Of every text without a size of its own: legible on a phone, too."""

_LINE_PX = 19
_GAP_PX = 6

_DASHES = {"-": (), "--": (3.7, 1.6), "-.": (6.4, 1.6, 1, 1.6), ":": (1, 1.65)}
"""Lengths in widths of the line: matplotlib's."""

_MARKS = {
    "o": (),
    "s": ((-1, -1), (1, -1), (1, 1), (-1, 1)),
    "^": ((0, -1), (1, 1), (-1, 1)),
    "v": ((0, 1), (1, -1), (-1, -1)),
    "D": ((0, -1.3), (1.3, 0), (0, 1.3), (-1.3, 0)),
    "*": tuple(
        (radius * math.sin(math.pi * turn / 5), -radius * math.cos(math.pi * turn / 5))
        for turn in range(10)
        for radius in ((1.4, 0.55)[turn % 2],)
    ),
}
"""Corners of marks, of half their size; none is a circle."""


@dataclass
class _Tick:
    """A mark on an axis."""

    at: float
    label: str
    weight: str = ""

    def set_fontweight(self, weight: str) -> None:
        self.weight = weight


@dataclass
class _Axis:
    """One of the two axes of a plot."""

    horizontal: bool
    low: float | None = None
    high: float | None = None
    """None: as the data has it."""
    values: list[float] = field(default_factory=list)
    """What the axis must show."""
    ticks: list[_Tick] | None = None
    most_ticks: int = 6
    rotated: bool = False
    label: str = ""
    grid: bool = False
    log: bool = False
    margin: float = 0.05

    def scaled(self, value: float) -> float:
        return math.log10(value) if self.log else float(value)

    def ends(self) -> tuple[float, float]:
        """(the value at its left or lower end, that at the other), scaled."""
        values = [self.scaled(each) for each in self.values] or [0.0, 1.0]
        extra = self.margin * (max(values) - min(values))
        low = min(values) - extra if self.low is None else self.scaled(self.low)
        high = max(values) + extra if self.high is None else self.scaled(self.high)
        return (low, high) if low != high else (low, low + 1)

    def marks(self) -> list[_Tick]:
        """The marks: those that were set, else round numbers."""
        if self.ticks is not None:
            return self.ticks
        low, high = sorted(self.ends())
        least = (high - low) / self.most_ticks
        whole = 10.0 ** math.floor(math.log10(least))
        step = next(factor * whole for factor in (1, 2, 5, 10) if factor * whole >= least * (1 - 1e-9))
        digits = next(digits for digits in range(20) if abs(round(step, digits) - step) < step * 1e-6)
        first, last = math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9)
        return [_Tick(number * step, f"{number * step:,.{digits}f}") for number in range(first, last + 1)]


@dataclass
class _Part:
    """Something drawn: a line, a filled shape, marks or a text, in the data's unit."""

    kind: Literal["line", "area", "marks", "text"]
    points: list[tuple[float, float]]
    paint: dict[str, str]
    numbers: dict[str, Any] = field(default_factory=dict)
    order: int = 1
    label: str = ""


class _Axes:
    """Where data is drawn: the calls of `matplotlib.axes.Axes` that the plots make, with the same arguments."""

    def __init__(self) -> None:
        self.x, self.y = _Axis(horizontal=True), _Axis(horizontal=False)
        self.parts: list[_Part] = []
        self.title = ""
        self.frame = True
        self.equal = False

    # --- what is drawn ----------------------------------------------------------------------------------------------

    def plot(
        self,
        x: Iterable[float],
        y: Iterable[float],
        marker: str = "",
        *,
        color: str,
        linestyle: Any = None,
        linewidth: float = 1.5,
        markersize: float = 6,
        markeredgecolor: str = "",
        label: str = "",
        zorder: int = 1,
        **_: Any,
    ) -> None:
        points = self._see(x, y)
        if not marker or linestyle is not None:
            numbers = {"width": linewidth, "style": linestyle or "-"}
            self.parts.append(_Part("line", points, _painted(stroke=color), numbers, zorder, label))
        if marker:
            paint = _painted(fill=color, stroke=markeredgecolor or color)
            self.parts.append(_Part("marks", points, paint, {"shape": marker, "size": markersize}, zorder + 1))

    def step(self, x: Sequence[float], y: Sequence[float], *, color: str, linewidth: float, **_: Any) -> None:
        points = [(x[0], y[0])]
        for at, value in zip(x[1:], y[1:], strict=True):
            points += [(at, points[-1][1]), (at, value)]
        across, up = zip(*points, strict=True)
        self.plot(across, up, color=color, linewidth=linewidth)

    def stairs(self, values: Sequence[float], edges: Sequence[float], *, color: str, **_: Any) -> None:
        across = [each for edge in edges for each in (edge, edge)]
        up = [0.0, *(each for value in values for each in (value, value)), 0.0]
        self.parts.append(_Part("area", self._see(across, up), _painted(fill=color)))
        self.y.low = 0.0

    def fill(self, x: Sequence[float], y: Sequence[float], *, facecolor: str, edgecolor: str) -> None:
        paint = _painted(fill=facecolor, stroke=edgecolor)
        self.parts.append(_Part("area", self._see(x, y), paint, order=0))

    def axvline(self, x: float, **style: Any) -> None:
        self._across([(x, -math.inf), (x, math.inf)], **style)

    def axhline(self, y: float, **style: Any) -> None:
        self.y.values.append(y)
        self._across([(-math.inf, y), (math.inf, y)], **style)

    def text(
        self,
        x: float,
        y: float,
        text: str,
        *,
        color: str = "ink",
        ha: str = "left",
        va: str = "baseline",
        fontsize: float = TEXT_PX,
    ) -> None:
        numbers = {"ha": ha, "size": fontsize, "down": {"center": 0.35, "bottom": -0.25}.get(va, 0.0) * fontsize}
        self.parts.append(_Part("text", [(x, y)], _painted(fill=color), numbers, 3, text))

    def annotate(
        self,
        text: str,
        xy: tuple[float, float],
        *,
        xytext: tuple[float, float],
        fontsize: float,
        ha: str = "left",
        **_: Any,
    ) -> None:
        numbers = {"ha": ha, "size": fontsize, "right": xytext[0], "down": -xytext[1]}
        self.parts.append(_Part("text", [xy], _painted(fill="ink"), numbers, 3, text))

    def _across(self, points: list[tuple[float, float]], *, color: str, linewidth: float, linestyle: str = "-") -> None:
        self.parts.append(_Part("line", points, _painted(stroke=color), {"width": linewidth, "style": linestyle}))

    def _see(self, x: Iterable[float], y: Iterable[float]) -> list[tuple[float, float]]:
        points = [(float(across), float(up)) for across, up in zip(x, y, strict=True)]
        self.x.values += [across for across, _ in points]
        self.y.values += [up for _, up in points]
        return points

    # --- the axes ---------------------------------------------------------------------------------------------------

    def set_xlim(self, left: float | None = None, right: float | None = None) -> None:
        self.x.low, self.x.high = left, right

    def set_ylim(self, bottom: float | None = None, top: float | None = None) -> None:
        self.y.low, self.y.high = bottom, top

    def get_ylim(self) -> tuple[float, float]:
        return self.y.ends()

    def set_xticks(
        self, ticks: Iterable[float], labels: Iterable[str] = (), *, minor: bool = False, **style: Any
    ) -> None:
        if not minor:
            self.x.ticks = [_Tick(at, label) for at, label in zip(ticks, labels, strict=True)]
            self.x.rotated = "rotation" in style

    def set_yticks(self, ticks: Iterable[float], labels: Iterable[str]) -> None:
        self.y.ticks = [_Tick(at, label) for at, label in zip(ticks, labels, strict=True)]

    def get_yticklabels(self) -> list[_Tick]:
        return self.y.marks()

    def locator_params(self, *, axis: str, nbins: int) -> None:
        (self.x if axis == "x" else self.y).most_ticks = nbins

    def set_xlabel(self, label: str) -> None:
        self.x.label = label

    def set_ylabel(self, label: str) -> None:
        self.y.label = label

    def set_title(self, title: str, **_: Any) -> None:
        self.title = title

    def set_xscale(self, scale: Literal["log"]) -> None:
        self.x.log = scale == "log"

    def set_aspect(self, aspect: Literal["equal"]) -> None:
        self.equal = aspect == "equal"

    def set_frame_on(self, on: bool) -> None:
        self.frame = on

    def margins(self, *, x: float) -> None:
        self.x.margin = x

    def grid(self, *, axis: str) -> None:
        (self.x if axis == "x" else self.y).grid = True


class Sketch:
    """A plot that is an element of the page: the calls of `matplotlib.figure.Figure` that the plots make.

    Args:
        width: In pixels.
        height: In pixels.
        rows: How many axes stand in it, one below the other, on one horizontal axis.
    """

    def __init__(self, width: float, height: float, rows: int) -> None:
        self.width, self.height = width, height
        self.axes = [_Axes() for _ in range(rows)]
        self._legend = False

    def legend(self, **_: Any) -> None:
        """Show what the lines with a label are, above the axes."""
        self._legend = True

    def get_layout_engine(self) -> None:
        """Places are worked out when the element is made, by nothing that could be set."""

    def element(self, name: str, title: str, description: str) -> Element:
        """The plot as an element of the page.

        Args:
            name: Its id, unique on the page; letters, digits and hyphens.
            title: Of the plot.
            description: What it shows, in words.

        Returns:
            An `svg` element.
        """
        labelled = [part for axes in self.axes for part in axes.parts if part.kind == "line" and part.label]
        top = 4.0
        parts: list[Element] = []
        for part in labelled if self._legend else ():
            middle = top + _LINE_PX / 2
            parts.append(_line([(4, middle), (30, middle)], part))
            parts.append(_text(38, middle + 4.5, part.label, 12))
            top += _LINE_PX + 2
        bottom = self.height - _below(self.axes[-1])
        each = (bottom - top + _GAP_PX) / len(self.axes) - _GAP_PX
        left, right = max(map(_beside, self.axes)), self.width - _overhang(self.axes[-1].x)
        for row, axes in enumerate(self.axes):
            above = top + row * (each + _GAP_PX)
            head = _LINE_PX + 1 if axes.title else 2
            if axes.title:
                parts.append(_text(left, above + TEXT_PX, axes.title, TEXT_PX, "muted"))
            box = _Box(left, above + head, right, above + each)
            parts += _Drawing(axes, box, f"{name}-{row}", self.width).elements(last=axes is self.axes[-1])
        return el(
            "svg",
            el("title", title, id=f"{name}-title"),
            el("desc", description, id=f"{name}-desc"),
            parts,
            viewBox=f"0 0 {_px(self.width)} {_px(self.height)}",
            class_="plot",
            role="img",
            aria_labelledby=f"{name}-title {name}-desc",
        )


def _below(axes: _Axes) -> float:
    """What an axes' marks and label take below it."""
    widest = max((text_width(mark.label, TEXT_PX) for mark in axes.x.marks()), default=0.0)
    labels = TEXT_PX + (widest / 2 if axes.x.rotated else 0)  # the sine of 30 degrees
    return labels + 11 + (_LINE_PX if axes.x.label else 0)


def _beside(axes: _Axes) -> float:
    """What an axes' marks and label take to the left of it."""
    labels = max((text_width(mark.label, TEXT_PX) for mark in axes.y.marks()), default=0.0)
    if axes.x.rotated:
        labels = max(labels, *(math.cos(math.pi / 6) * text_width(mark.label, TEXT_PX) for mark in axes.x.marks()[:1]))
    return labels + _GAP_PX + (_LINE_PX if axes.y.label else 0) + 3


def _overhang(axis: _Axis) -> float:
    """What the last mark takes to the right of the axes."""
    marks = axis.marks()
    return 6 + (text_width(marks[-1].label, TEXT_PX) / 2 if marks and not axis.rotated else 0)


@dataclass
class _Box:
    left: float
    top: float
    right: float
    bottom: float


class _Drawing:
    """Axes in their place."""

    def __init__(self, axes: _Axes, box: _Box, name: str, width: float) -> None:
        self.axes, self.box, self.name, self.width = axes, box, name, width
        (x0, x1), (y0, y1) = axes.x.ends(), axes.y.ends()
        self.x_ends, self.y_ends = (x0, x1), (y0, y1)
        if axes.equal:
            unit = min((box.right - box.left) / abs(x1 - x0), (box.bottom - box.top) / abs(y1 - y0))
            middle, half = (box.left + box.right) / 2, unit * abs(x1 - x0) / 2
            self.box = _Box(middle - half, box.bottom - unit * abs(y1 - y0), middle + half, box.bottom)

    def across(self, value: float) -> float:
        if math.isinf(value):
            return self.box.left if value < 0 else self.box.right
        low, high = self.x_ends
        return self.box.left + (self.axes.x.scaled(value) - low) / (high - low) * (self.box.right - self.box.left)

    def down(self, value: float) -> float:
        if math.isinf(value):
            return self.box.bottom if value < 0 else self.box.top
        low, high = self.y_ends
        return self.box.bottom - (self.axes.y.scaled(value) - low) / (high - low) * (self.box.bottom - self.box.top)

    def elements(self, *, last: bool) -> list[Element]:
        """Everything; `last`: with the marks of the horizontal axis."""
        box, axes = self.box, self.axes
        made = self._grid_and_marks(last=last)
        clip = el("clipPath", el("rect", **_corner(box)), id=f"{self.name}-clip")
        clipped = el("g", clip_path=f"url(#{self.name}-clip)")
        marks: list[Element] = []
        for part in sorted(axes.parts, key=lambda part: part.order):
            points = [(self.across(x), self.down(y)) for x, y in part.points]
            if part.kind == "line":
                clipped.append(_line(points, part))
            elif part.kind == "area":
                clipped.append(el("path", d=f"{_path(points)}Z", **part.paint))
            elif part.kind == "marks":
                marks += [_mark(x, y, part) for x, y in points]
            else:
                marks.append(self._said(*points[0], part))
        return [*made, el("defs", clip), clipped, *marks]

    def _said(self, x: float, y: float, part: _Part) -> Element:
        """A text at a point; one that would pass the plot's right edge stands on the point's other side."""
        size, right, ha = part.numbers["size"], part.numbers.get("right", 0), part.numbers["ha"]
        if right > 0 and x + right + text_width(part.label, size) > self.width:
            right, ha = -right, "right"
        said = _text(x + right, y + part.numbers["down"], part.label, size, anchor=_ANCHORS[ha])
        del said.attrib["class"]
        for key, value in part.paint.items():
            said.set(key.rstrip("_"), value)
        return said

    def _grid_and_marks(self, *, last: bool) -> list[Element]:
        box, axes = self.box, self.axes
        made: list[Element] = []
        thin = _Part("line", [], _painted(stroke="line"), {"width": 0.8, "style": "-"})
        for mark in axes.x.marks():
            x = self.across(mark.at)
            if axes.x.grid:
                made.append(_line([(x, box.top), (x, box.bottom)], thin))
            if last:
                made.append(_line([(x, box.bottom), (x, box.bottom + 3.5)], thin))
                place = (x, box.bottom + 6 + TEXT_PX * 0.85)
                anchor = "end" if axes.x.rotated else "middle"
                label = _text(*place, mark.label, TEXT_PX, "muted", anchor)
                if axes.x.rotated:
                    label.set("transform", f"rotate(-30 {_px(place[0])} {_px(place[1])})")
                made.append(label)
        for mark in axes.y.marks():
            y = self.down(mark.at)
            if axes.y.grid:
                made.append(_line([(box.left, y), (box.right, y)], thin))
            label = _text(box.left - _GAP_PX, y + TEXT_PX * 0.35, mark.label, TEXT_PX, anchor="end")
            if mark.weight:
                label.set("font-weight", "650")
            made.append(label)
        if axes.frame:
            made.append(_line([(box.left, box.top), (box.left, box.bottom), (box.right, box.bottom)], thin))
        if last and axes.x.label:
            middle = (box.left + box.right) / 2
            half = text_width(axes.x.label, TEXT_PX) / 2
            middle = max(half + 2, min(middle, self.width - half - 2))
            below = _below(axes) - 3
            made.append(_text(middle, box.bottom + below - 3, axes.x.label, TEXT_PX, "muted", "middle"))
        if axes.y.label:
            x = box.left - _beside(axes) + TEXT_PX
            y = (box.top + box.bottom) / 2
            label = _text(x, y, axes.y.label, TEXT_PX, "muted", "middle")
            label.set("transform", f"rotate(-90 {_px(x)} {_px(y)})")
            made.append(label)
        return made


_ANCHORS = {"left": "start", "center": "middle", "right": "end"}


def _painted(fill: str = "none", stroke: str = "none") -> dict[str, str]:
    """Attributes: a class for a role, a presentation attribute for any other color."""
    classes = [f"{letter}-{color}" for letter, color in (("f", fill), ("s", stroke)) if color in COLORS]
    others = {name: color for name, color in (("fill", fill), ("stroke", stroke)) if color not in COLORS}
    if others.get("stroke") == "none":
        del others["stroke"]
    return others | ({"class_": " ".join(classes)} if classes else {})


def _px(value: float) -> str:
    text = f"{value:.2f}".rstrip("0").rstrip(".")
    return "0" if text == "-0" else text


def _path(points: Sequence[tuple[float, float]]) -> str:
    return "M" + "L".join(f"{_px(x)} {_px(y)}" for x, y in points)


def _corner(box: _Box) -> dict[str, str]:
    return {
        "x": _px(box.left), "y": _px(box.top), "width": _px(box.right - box.left), "height": _px(box.bottom - box.top),
    }  # fmt: skip


def _line(points: Sequence[tuple[float, float]], part: _Part) -> Element:
    width, style = part.numbers["width"], part.numbers["style"]
    dashes = _DASHES[style] if isinstance(style, str) else style[1]
    return el(
        "path",
        d=_path(points),
        stroke_width=_px(width),
        stroke_dasharray=" ".join(_px(each * width) for each in dashes) or None,
        **part.paint,
    )


def _mark(x: float, y: float, part: _Part) -> Element:
    half = part.numbers["size"] / 2
    corners = _MARKS[part.numbers["shape"]]
    if not corners:
        return el("circle", cx=_px(x), cy=_px(y), r=_px(half), **part.paint)
    return el("path", d=_path([(x + across * half, y + down * half) for across, down in corners]) + "Z", **part.paint)


def _text(x: float, y: float, text: str, size: float, color: str = "ink", anchor: str = "start") -> Element:
    return el(
        "text",
        text,
        x=_px(x),
        y=_px(y),
        font_size=f"{size:g}",
        text_anchor=None if anchor == "start" else anchor,
        class_=f"f-{color}",
    )
