"""The words of charts: nouns, the question forms with their gaps, and the wording of answers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from unsaf_async.world import language as common
from unsaf_async.world.charts.scene import COLORS, MONTHS, PATTERNS, TALLEST
from unsaf_async.world.language import NUMBERS, never, sentence

if TYPE_CHECKING:
    from collections.abc import Mapping

    from unsaf_async.records import Kind
    from unsaf_async.world.charts.scene import Bar, Chart

RANKS = ("tallest", "shortest")
ORDERS = ("before", "after")


@dataclass(frozen=True, slots=True)
class Noun:
    """What a question calls a bar: by its month alone, or by any of rank, pattern and color."""

    month: str | None = None
    rank: str | None = None
    pattern: str | None = None
    color: str | None = None

    def __str__(self) -> str:
        return " ".join(filter(None, (self.month, self.rank, self.pattern, self.color, "bar")))

    @property
    def plural(self) -> str:
        """`teal bars`, `bars`."""
        return f"{self}s"

    @property
    def with_article(self) -> str:
        """`a teal bar`, `an olive bar`."""
        return f"{'an' if str(self)[0] in 'ao' else 'a'} {self}"

    def referents(self, chart: Chart) -> list[int]:
        """The bars in view that may be called so.

        Args:
            chart: The chart.

        Returns:
            Their months, in order; [] if there is none.
        """
        fitting = {index: bar for index, bar in chart.things.items() if self._fits(index, bar)}
        if self.rank and fitting:
            heights = [bar.height for bar in fitting.values()]
            wanted = max(heights) if self.rank == "tallest" else min(heights)
            fitting = {index: bar for index, bar in fitting.items() if bar.height == wanted}
        return list(fitting)

    def _fits(self, index: int, bar: Bar) -> bool:
        wanted = ((self.month, MONTHS[index]), (self.pattern, bar.pattern), (self.color, bar.color))
        return all(word is None or word == actual for word, actual in wanted)

    @staticmethod
    def read(text: str) -> Noun:
        """The noun that a text spells.

        Args:
            text: Singular or plural, without an article, of any case; it has matched a gap.

        Returns:
            The noun.
        """
        spelled = text.lower().split()

        def one_of(words: tuple[str, ...]) -> str | None:
            return next((word for word in words if word.lower() in spelled), None)

        return Noun(one_of(MONTHS), one_of(RANKS), one_of(PATTERNS), one_of(tuple(COLORS)))


def _any(words: tuple[str, ...]) -> str:
    return "|".join(words)


_TRAITS = rf"(?:(?:{_any(PATTERNS)}) )?(?:(?:{_any(tuple(COLORS))}) )?"
_RANKED = rf"(?:(?:{_any(RANKS)}) )?{_TRAITS}bar"


@dataclass(frozen=True)
class Form(common.Form):
    """A question about a chart, with gaps: `How tall is the {noun}?`."""

    gaps: ClassVar[Mapping[str, str]] = {
        "noun": rf"(?:{_any(MONTHS)}) bar|{_RANKED}",
        "unknown": _RANKED,
        "nouns": rf"{_TRAITS}bars",
        "a_noun": rf"an? {_TRAITS}bar",
        "month": _any(MONTHS),
        "number": _any(NUMBERS[1:TALLEST]),
        "order": _any(ORDERS),
    }


HEIGHT = Form("height", "How tall is the {noun}?")
COLOR = Form("color", "What color is the {noun}?")
PATTERN = Form("pattern", "Is the {noun} plain or striped?")
MONTH = Form("month", "Which month has the {unknown}?")
AT = Form("at", "What does the chart show for {month}?")
NEXT_HEIGHT = Form("next-height", "How tall is the bar one month {order} the {noun}?")
NEXT_COLOR = Form("next-color", "What color is the bar one month {order} the {noun}?")
COUNT = Form("count", "How many {nouns} does the chart have?")
ABOVE = Form("above", "How many bars are taller than {number}?")
HAS = Form("has", "Does the chart have {a_noun}?")
TALLER = Form("taller", "Is the {noun} taller than the {noun2}?")
SAME_HEIGHT = Form("same-height", "Are the {noun} and the {noun2} equally tall?")
UNDER_COVER = Form("under-cover", "What is under the cover of {month}?")

FORMS = (
    HEIGHT, COLOR, PATTERN, MONTH, AT, NEXT_HEIGHT, NEXT_COLOR, COUNT, ABOVE, HAS, TALLER, SAME_HEIGHT, UNDER_COVER,
)  # fmt: skip
"""The forms with an answer, or a lack of one, that depends on the chart."""

_NEVER: dict[Kind, tuple[str, ...]] = {
    "hidden": ("What is behind the {noun}?", "What color is the back of the {noun}?"),
    "temporal": (
        "How tall was the {noun} last year?",
        "How tall will the {noun} be next year?",
        "What color was the {noun} yesterday?",
        "What did the chart show for {month} last year?",
        "When was the {noun} measured?",
    ),
    "mental": (
        "What did the author think of the {noun}?",
        "Is the author proud of the {noun}?",
        "What color did the author want for the {noun}?",
        "Which month does the author like?",
        "Why was the {noun} chosen?",
    ),
    "identity": (
        "Who drew the {noun}?",
        "Who measured the {noun}?",
        "Which firm does the {noun} come from?",
        "What is the name of the author?",
    ),
    "non-visual": (
        "How many dollars is the {noun} worth?",
        "How many people worked for the {noun}?",
        "What caused the {noun}?",
        "How warm was it in {month}?",
        "What sound does the {noun} make?",
        "How heavy is the {noun}?",
    ),
}
NEVER = never(Form, _NEVER)
"""The forms that no chart answers, by kind."""


# --- answers ------------------------------------------------------------------------------------------------------


def number(count: int) -> str:
    """A number as an answer: `Four.`.

    Args:
        count: From 0 to 9.

    Returns:
        A sentence.
    """
    return sentence(NUMBERS[count])


def shown(bar: Bar | None) -> str:
    """What a chart shows for a month: `A plain teal bar of height four.`, or `Nothing.`.

    Args:
        bar: The bar; None: there is none.

    Returns:
        A sentence.
    """
    return f"A {bar.pattern} {bar.color} bar of height {NUMBERS[bar.height]}." if bar else "Nothing."


def trait(name: str, bar: Bar) -> str:
    """A bar's height, color or pattern as an answer.

    Args:
        name: Which.
        bar: The bar.

    Returns:
        A sentence.
    """
    return number(bar.height) if name == "height" else sentence(getattr(bar, name))
