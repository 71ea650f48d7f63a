"""What a chart shows, in words: as sentences that models learn to say, and as the words of each month."""

from __future__ import annotations

from typing import TYPE_CHECKING

from unsaf_async.world.charts.scene import COLORS, MONTHS, PATTERNS, TALLEST
from unsaf_async.world.describe import DESCRIBE, DESCRIBE_BY_COLOR, HIDDEN, NOTHING
from unsaf_async.world.language import NUMBERS

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from unsaf_async.world.charts.scene import Chart

DESCRIBE_BY_HEIGHT = "Describe the image by height."

WORDS = (*MONTHS, HIDDEN, NOTHING, *PATTERNS, *COLORS, *NUMBERS[1 : TALLEST + 1])
"""All words for what a month may show."""


def patch_words(chart: Chart) -> list[tuple[str, ...]]:
    """The words for what each month shows, its name first.

    Args:
        chart: The chart.

    Returns:
        `("June", "plain", "teal", "four")`, `("July", "hidden")`, ...
    """
    return [
        (name, HIDDEN if cell == "covered" else NOTHING)
        if cell is None or cell == "covered"
        else (name, cell.pattern, cell.color, NUMBERS[cell.height])
        for name, cell in zip(MONTHS, chart.cells, strict=True)
    ]


def described(chart: Chart) -> str:
    """What each month shows: `June hidden, July plain teal four, August nothing, ...`.

    Args:
        chart: The chart.

    Returns:
        One sentence.
    """
    return f"{', '.join(' '.join(words) for words in patch_words(chart))}."


def _listed(groups: Iterable[tuple[str, list[str]]]) -> str:
    parts = (f"{name} {' and '.join(places) or NOTHING}" for name, places in groups)
    return f"{', '.join(parts)}."


def described_by_color(chart: Chart) -> str:
    """Where each color is, and how tall: `crimson June two and January four, teal nothing, ...`.

    Args:
        chart: The chart.

    Returns:
        One sentence.
    """
    return _listed(
        (color, [f"{MONTHS[at]} {NUMBERS[bar.height]}" for at, bar in chart.things.items() if bar.color == color])
        for color in COLORS
    )


def described_by_height(chart: Chart) -> str:
    """Which months have each height, from the tallest, and in which color: `six June teal, five nothing, ...`.

    Args:
        chart: The chart.

    Returns:
        One sentence.
    """
    return _listed(
        (NUMBERS[height], [f"{MONTHS[at]} {bar.color}" for at, bar in chart.things.items() if bar.height == height])
        for height in range(TALLEST, 0, -1)
    )


DESCRIPTIONS: tuple[tuple[str, Callable[[Chart], str]], ...] = (
    (DESCRIBE, described),
    (DESCRIBE_BY_COLOR, described_by_color),
    (DESCRIBE_BY_HEIGHT, described_by_height),
)
