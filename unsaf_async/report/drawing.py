"""How plots are drawn: in stand-in colors for the report's page, or in colors of their own as matplotlib's figures.

A plot is one function that draws; `Plot` makes both of it. `svg.py` makes the first part of the page. The same figures give the
same bytes.
"""

from __future__ import annotations

import functools
import logging
import warnings
from contextlib import contextmanager
from io import StringIO
from typing import TYPE_CHECKING, Any, Concatenate, Generic, NamedTuple, ParamSpec, TypeAlias

from unsaf_async.report.markup import clean
from unsaf_async.report.svg import COLORS, adopt
from unsaf_async.text import shorten

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
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
        with in_style(COLORS):
            drawn = self.draw(COLORS, *args, **kwargs)
            return None if drawn is None else _svg(drawn, name)

    def figure(self, *args: _Given.args, **kwargs: _Given.kwargs) -> Any:
        """The plot as a figure of matplotlib, on white.

        Args:
            *args: What is drawn.
            **kwargs: The same.

        Returns:
            A `matplotlib.figure.Figure`, with its title; None if there is nothing to show.
        """
        with in_style(PRINTED):
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


@contextmanager
def in_style(colors: Palette) -> Iterator[None]:
    """Matplotlib's settings as the plots have them, for as long as the context lasts; without its remarks.

    Args:
        colors: By role.

    Yields:
        Nothing.
    """
    logger = logging.getLogger("matplotlib")  # it says that it lists the fonts of this machine, the first time
    before = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            import matplotlib as mpl

            warnings.simplefilter("ignore")  # characters that DejaVu lacks: the page's font may have them
            with mpl.rc_context(_settings(colors)):
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


def new_figure(height_in: float, rows: int = 1) -> tuple[Any, Any]:
    """A figure `WIDTH_PX` wide.

    Args:
        height_in: Its height in units of 72 pixels.
        rows: How many plots stand in it, one below the other.

    Returns:
        The figure, and its axes (an array of them for several rows).
    """
    from unsaf_async.report.picture import Picture

    figure = Picture(figsize=(WIDTH_PX / 72, height_in), dpi=72, layout="constrained")
    return figure, figure.subplots(rows, 1, sharex=rows > 1)


def share_axis(axis: Any, limits: Any, label: str) -> None:
    """Set an axis up for shares from 0 to 1.

    Args:
        axis: The axis.
        limits: What sets its limits.
        label: Of the axis.
    """
    limits(-0.02, 1.02)
    axis.set_ticks([0, 0.25, 0.5, 0.75, 1], ["0", ".25", ".5", ".75", "1"])
    axis.set_label_text(label)
    axis.grid(True)


def legend_above(figure: Any) -> None:
    """A legend above the plot, where it hides no line.

    Args:
        figure: It is changed.
    """
    figure.legend(loc="outside upper left", frameon=False, fontsize=12, borderaxespad=0.9)
    figure.get_layout_engine().set(h_pad=0.12)


def short(label: str, most: int = 22) -> str:
    """A label fit for an axis.

    Args:
        label: Any text.
        most: Its longest length.

    Returns:
        The label, cut in the middle if it is longer.
    """
    return shorten(clean(label), most, "…")


def _settings(colors: Palette) -> dict[str, Any]:
    ink, muted, line = colors["ink"], colors["muted"], colors["line"]
    return {
        "svg.fonttype": "none",
        "svg.image_inline": True,
        "text.parse_math": False,
        "font.size": 13,
        "font.family": "DejaVu Sans"
        if colors is COLORS
        else "sans-serif",  # the page shows its own: only measured with
        "text.color": ink,
        "axes.edgecolor": line,
        "axes.labelcolor": muted,
        "axes.facecolor": "none",
        "axes.grid": False,
        "axes.spines.top": False,
        "axes.spines.right": False,
        "axes.axisbelow": True,
        "axes.unicode_minus": False,
        "figure.facecolor": "none" if colors is COLORS else "white",
        "grid.color": line,
        "xtick.color": line,
        "ytick.color": line,
        "xtick.labelcolor": muted,
        "ytick.labelcolor": ink,
        "ytick.major.size": 0,
        "legend.labelcolor": ink,
    }


def _svg(drawn: Drawn, name: str) -> Element:
    """The figure as an element of the page. name: unique on the page; letters, digits and hyphens."""
    import matplotlib as mpl
    from matplotlib.backends.backend_svg import FigureCanvasSVG

    text = StringIO()
    with mpl.rc_context({"svg.hashsalt": name}):  # `figure.savefig` would draw everything twice
        canvas = FigureCanvasSVG(drawn.figure)
        canvas.print_svg(text, metadata={"Date": None, "Creator": None, "Format": None, "Type": None})
    return adopt(text.getvalue(), name, drawn.title, drawn.description)
