"""How plots are drawn: in the page's colors by `svg.py`, or in colors of their own as matplotlib's figures.

A plot is one function that draws; `Plot` makes both of it. matplotlib is not needed for the report, and comes with the extra
`plots`.
"""

from __future__ import annotations

import functools
import logging
import warnings
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Concatenate, Generic, Literal, NamedTuple, ParamSpec, TypeAlias

from unsaf_async.errors import UserError
from unsaf_async.report.markup import clean
from unsaf_async.report.svg import COLORS, TEXT_PX, Sketch
from unsaf_async.text import install_extra, shorten

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from xml.etree.ElementTree import Element

WIDTH_PX = 440
"""Of every plot, in units that are pixels where it is shown at full size: text of 13 is legible on a phone, too."""

PRINTED = {
    "ink": "#1a1a1a", "muted": "#5c5c5c", "line": "#d4d4d4", "paper": "#ffffff", "good": "#0072b2",
    "c1": "#0072b2", "c2": "#d55e00", "c3": "#009e73", "c4": "#cc79a7", "c5": "#8a6d00", "c6": "#56b4e9",
}  # fmt: skip
"""The roles' colors in a picture that is no part of the page: Okabe and Ito's, which the color-blind tell apart."""

Palette: TypeAlias = "Mapping[str, str]"
"""A color for each role."""

_LINES = ("-", "--", "-.", ":", (0, (5, 1)), (0, (3, 1, 1, 1)))
"""Styles of several lines in one plot, so that they differ not by color alone."""

_Given = ParamSpec("_Given")


class Drawn(NamedTuple):
    """A plot that is drawn."""

    figure: Any
    title: str
    description: str
    """What it shows, in words."""


class Plot(Generic[_Given]):
    """A plot: called, it is a part of the report's page; `figure` is the same as a figure of matplotlib.

    Args:
        draw: Draws it in a palette. It returns None where there is nothing to show.
    """

    def __init__(self, draw: Callable[Concatenate[Palette, _Given], Drawn | None]) -> None:
        self.draw = draw
        functools.update_wrapper(self, draw)

    def __call__(self, name: str, *args: _Given.args, **kwargs: _Given.kwargs) -> Element | None:
        """The plot as an element of the page.

        Args:
            name: Its id, unique on the page; letters, digits and hyphens.
            *args: What is drawn.
            **kwargs: The same.

        Returns:
            The plot; None if there is nothing to show.
        """
        drawn = self.draw(COLORS, *args, **kwargs)
        return None if drawn is None else drawn.figure.element(name, drawn.title, drawn.description)

    def figure(self, *args: _Given.args, **kwargs: _Given.kwargs) -> Any:
        """The plot as a figure of matplotlib, on white.

        Args:
            *args: What is drawn.
            **kwargs: The same.

        Returns:
            A `matplotlib.figure.Figure`, with its title; None if there is nothing to show.

        Raises:
            UserError: matplotlib is not installed.
        """
        with in_style():
            drawn = self.draw(PRINTED, *args, **kwargs)
            if drawn is None:
                return None
            for legend in drawn.figure.legends:  # it stands where the title would
                legend.set_title(drawn.title, {"size": 14})
                legend.set_alignment("left")
            if not drawn.figure.legends:
                drawn.figure.suptitle(drawn.title, fontsize=14, x=0.02, ha="left")
            drawn.figure.draw_without_rendering()  # what it draws later, such as ticks, would have the reader's settings
            return drawn.figure


def check_matplotlib() -> None:
    """Whether there is what draws plots outside of the report.

    Raises:
        UserError: matplotlib is not installed.
    """
    try:
        import matplotlib as mpl  # noqa: F401
    except ModuleNotFoundError:
        raise UserError(
            f"matplotlib is not installed, and plots outside of the report are drawn by it; {install_extra('plots')}"
        ) from None


@contextmanager
def in_style() -> Iterator[None]:
    """Matplotlib's settings as the plots have them, for as long as the context lasts; without its remarks.

    Yields:
        Nothing.

    Raises:
        UserError: matplotlib is not installed.
    """
    logger = logging.getLogger("matplotlib")  # it says that it lists the fonts of this machine, the first time
    before = logger.level
    logger.setLevel(logging.ERROR)
    try:
        check_matplotlib()
        with warnings.catch_warnings():
            import matplotlib as mpl

            warnings.simplefilter("ignore")  # characters that its fonts lack
            with mpl.rc_context(_SETTINGS):
                yield
    finally:
        logger.setLevel(before)


def series(colors: Palette, place: int) -> str:
    """The color of a series.

    Args:
        colors: By role.
        place: Of the series, from 0.

    Returns:
        "#rrggbb"; colors come again after six.
    """
    return colors[f"c{place % 6 + 1}"]


def line_style(place: int) -> Any:
    """The style of that series' line: where colors come again, the styles differ.

    Args:
        place: Of the series, from 0.

    Returns:
        As matplotlib has it.
    """
    return _LINES[(place + place // 6) % 6]


def new_figure(colors: Palette, height_in: float, rows: int = 1) -> tuple[Any, Any]:
    """A figure `WIDTH_PX` wide.

    Args:
        colors: By role. The page's give a part of the page, others a figure of matplotlib.
        height_in: Its height in units of 72 pixels.
        rows: How many plots stand in it, one below the other.

    Returns:
        The figure, and its axes (a list of them for several rows).
    """
    if colors is COLORS:
        sketch = Sketch(WIDTH_PX, 72 * height_in, rows)
        return sketch, sketch.axes if rows > 1 else sketch.axes[0]
    from unsaf_async.report.picture import Picture

    figure = Picture(figsize=(WIDTH_PX / 72, height_in), dpi=72, layout="constrained")
    return figure, figure.subplots(rows, 1, sharex=rows > 1)


def share_axis(axes: Any, which: Literal["x", "y"], label: str) -> None:
    """Set an axis up for shares from 0 to 1.

    Args:
        axes: They are changed.
        which: The horizontal or the vertical one.
        label: Of the axis.
    """
    ticks, labels = (0, 0.25, 0.5, 0.75, 1), ("0", ".25", ".5", ".75", "1")
    if which == "x":
        axes.set_xlim(-0.02, 1.02)
        axes.set_xticks(ticks, labels)
        axes.set_xlabel(label)
    else:
        axes.set_ylim(-0.02, 1.02)
        axes.set_yticks(ticks, labels)
        axes.set_ylabel(label)
    axes.grid(axis=which)


def legend_above(figure: Any) -> None:
    """A legend above the plot, where it hides no line.

    Args:
        figure: It is changed.
    """
    figure.legend(loc="outside upper left", frameon=False, fontsize=12, borderaxespad=0.9)
    if layout := figure.get_layout_engine():
        layout.set(h_pad=0.12)


def short(labels: Sequence[str], most: int = 22) -> list[str]:
    """Labels fit for a plot. Labels that differ stay different.

    Args:
        labels: All labels of the plot.
        most: Longest length of each.

    Returns:
        The labels in their order. One that is longer is cut at its end; where several would look alike, before the part that
        differs.
    """
    clear = [clean(each) for each in labels]
    cut = {each: shorten(each, most, "…") for each in clear}
    for alike in _groups(cut):
        _cut_apart(alike, cut, most)
    return [cut[each] for each in clear]


def _groups(cut: Mapping[str, str]) -> list[list[str]]:
    """The labels that look alike."""
    by_look: dict[str, list[str]] = {}
    for label, look in cut.items():
        by_look.setdefault(look, []).append(label)
    return [labels for labels in by_look.values() if len(labels) > 1]


def _cut_apart(labels: Sequence[str], cut: dict[str, str], most: int) -> None:
    """Changes in `cut` what these labels look like: their beginning, and what stands from where they part."""
    parting = next((n for n, each in enumerate(zip(*labels, strict=False)) if len({*each}) > 1), min(map(len, labels)))
    word = next((n for n in range(parting, 0, -1) if not labels[0][n - 1].isalnum()), 0)
    head = most // 3
    begin = max(head, word, parting - head)
    for label in labels:
        cut[label] = f"{label[:head].rstrip()}…{shorten(label[begin:], most - head - 1, '…')}"
    for alike in _groups({label: cut[label] for label in labels}):
        _cut_apart(alike, cut, most)


_SETTINGS: dict[str, Any] = {
    "svg.fonttype": "none",
    "text.parse_math": False,
    "font.size": TEXT_PX,
    "font.family": "sans-serif",
    "text.color": PRINTED["ink"],
    "axes.edgecolor": PRINTED["line"],
    "axes.labelcolor": PRINTED["muted"],
    "axes.facecolor": "none",
    "axes.grid": False,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.axisbelow": True,
    "axes.unicode_minus": False,
    "figure.facecolor": "white",
    "grid.color": PRINTED["line"],
    "xtick.color": PRINTED["line"],
    "ytick.color": PRINTED["line"],
    "xtick.labelcolor": PRINTED["muted"],
    "ytick.labelcolor": PRINTED["ink"],
    "ytick.major.size": 0,
    "legend.labelcolor": PRINTED["ink"],
}

_CIVIDIS = (
    0x00224E, 0x002E6A, 0x1A386F, 0x32436D, 0x434E6C, 0x535A6D, 0x61656F, 0x6F7073, 0x7D7C78,
    0x8C8878, 0x9B9476, 0xABA072, 0xBCAE6C, 0xCDBB63, 0xDEC958, 0xF0D846, 0xFEE838,
)  # fmt: skip
"""A scale that people with any sight of colors read alike, at every sixteenth: Nuñez et al., PLoS ONE 13 (2018)."""


def shade(share: float) -> str:
    """A share as a color, from dark blue to yellow.

    Args:
        share: In [0, 1].

    Returns:
        "#rrggbb".
    """
    place = share * (len(_CIVIDIS) - 1)
    below = min(int(place), len(_CIVIDIS) - 2)
    parts = [
        round(
            (_CIVIDIS[below] >> bits & 255) * (below + 1 - place)
            + (_CIVIDIS[below + 1] >> bits & 255) * (place - below)
        )
        for bits in (16, 8, 0)
    ]
    return "#" + "".join(f"{part:02x}" for part in parts)
