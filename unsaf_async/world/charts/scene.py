"""Charts: nine months in three rows, each with a bar, a cover or nothing; and their pictures."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from unsaf_async.world.grid import CELL_PX, Grid, draw_cells, paint

if TYPE_CHECKING:
    from random import Random

    import numpy as np
    from numpy.typing import NDArray

PATTERNS = ("plain", "striped")
COLORS = {
    "crimson": (196, 24, 60),
    "teal": (0, 148, 150),
    "amber": (244, 176, 16),
    "violet": (140, 70, 208),
    "olive": (126, 134, 30),
    "navy": (28, 40, 120),
}
MONTHS = ("June", "July", "August", "September", "October", "November", "December", "January", "February")
"""The chart's cells, a row a season. Neither March nor May is among them, which are words of other meanings too."""
TALLEST = 6
"""Bars are one to six steps tall."""

AXIS_SHADE = 120.0
"""Of the line that bars stand on."""


@dataclass(frozen=True, slots=True, order=True)
class Bar:
    """A month's bar."""

    pattern: str
    color: str
    height: int
    """In steps, from 1 to `TALLEST`."""

    def __str__(self) -> str:
        return f"{self.pattern} {self.color} {self.height}"


@dataclass(frozen=True)
class Chart(Grid[Bar]):
    """Nine months, in the order of `MONTHS`."""

    @staticmethod
    def _read_thing(text: str) -> Bar:
        match text.split(" "):
            case [pattern, color, height] if pattern in PATTERNS and color in COLORS and height in "123456":
                return Bar(pattern, color, int(height))
        raise ValueError(f"{text[:60]!r} is no month; write 'nothing', 'covered', or a bar such as 'plain teal 4'")


def draw(rng: Random) -> Chart:
    """One chart at random, with at least two bars to be seen.

    Args:
        rng: It is advanced.

    Returns:
        The chart, of any split.
    """
    return Chart(draw_cells(rng, _draw_bar))


def _draw_bar(rng: Random) -> Bar:
    return Bar(rng.choice(PATTERNS), rng.choice(tuple(COLORS)), rng.randint(1, TALLEST))


def render(chart: Chart, rng: Random) -> NDArray[np.uint8]:
    """A chart's picture: every month has its piece of the axis; bars are shifted by a pixel, shades and the ground vary.

    Args:
        chart: The chart.
        rng: Decides shifts, shades and noise; it is advanced.

    Returns:
        Bytes, [48, 48, 3].
    """
    return paint(chart, rng, _paint, _axis)


def _axis(at: NDArray[np.float32]) -> None:
    at[CELL_PX - 2] = AXIS_SHADE


def _paint(at: NDArray[np.float32], bar: Bar, rng: Random) -> None:
    import numpy as np

    left, foot = 4 + rng.randint(-1, 1), CELL_PX - 2
    shade = np.array([value + rng.randint(-10, 10) for value in COLORS[bar.color]], np.float32)
    body = at[foot - 2 * bar.height : foot, left : left + 8]
    body[:] = shade
    if bar.pattern == "striped":
        body[:, 2::3] = 255
