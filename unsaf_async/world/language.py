"""The world's words: nouns, the question forms with their gaps, and the wording of answers and of declining.

One table of forms serves the generator, which fills gaps, and the oracle, which reads them back.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, ClassVar, TypeVar

from unsaf_async.world.scene import CELLS, COLORS, SHAPES, SIZES, Scene, Thing

if TYPE_CHECKING:
    from collections.abc import Mapping

    from unsaf_async.records import Kind

NUMBERS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
DIRECTIONS = ("left of", "right of", "above", "below")

_PLURALS = {"cross": "crosses"}
_SINGULARS = {plural: singular for singular, plural in _PLURALS.items()}


@dataclass(frozen=True, slots=True)
class Noun:
    """What a question calls a thing: any of size, color and shape. Without a shape it is "object"."""

    size: str | None = None
    color: str | None = None
    shape: str | None = None

    def __str__(self) -> str:
        return " ".join(filter(None, (self.size, self.color, self.head)))

    @property
    def head(self) -> str:
        """The word at its end."""
        return self.shape or "object"

    @property
    def plural(self) -> str:
        """`red stars`, `large crosses`, `objects`."""
        return " ".join(filter(None, (self.size, self.color, _PLURALS.get(self.head, f"{self.head}s"))))

    @property
    def with_article(self) -> str:
        """`a red star`, `an orange ring`."""
        return f"{'an' if str(self)[0] in 'aeiou' else 'a'} {self}"

    def fits(self, thing: Thing) -> bool:
        """Whether a thing may be called so.

        Args:
            thing: The thing.

        Returns:
            False if a word of the noun contradicts it.
        """
        wanted = ((self.size, thing.size), (self.color, thing.color), (self.shape, thing.shape))
        return all(word is None or word == actual for word, actual in wanted)

    def referents(self, scene: Scene) -> list[int]:
        """The things in view that may be called so.

        Args:
            scene: The scene.

        Returns:
            Their cells, in order; [] if there is none.
        """
        return [index for index, thing in scene.things.items() if self.fits(thing)]

    @staticmethod
    def read(text: str) -> Noun:
        """The noun that a text spells.

        Args:
            text: Singular or plural, without an article; it has matched `NOUN` or `NOUNS`.

        Returns:
            The noun.
        """
        *words, head = text.split()
        head = _SINGULARS.get(head, head)
        head = head if head in SHAPES or head == "object" else head.removesuffix("s")
        return Noun(
            size=next((word for word in words if word in SIZES), None),
            color=next((word for word in words if word in COLORS), None),
            shape=None if head == "object" else head,
        )


def _any(words: tuple[str, ...]) -> str:
    return "|".join(words)


_BEFORE = rf"(?:(?:{_any(SIZES)}) )?(?:(?:{_any(tuple(COLORS))}) )?"
_GAPS = {
    "noun": rf"{_BEFORE}(?:{_any(SHAPES)}|object)",
    "nouns": rf"{_BEFORE}(?:{_any(tuple(Noun(shape=shape).plural for shape in SHAPES))}|objects)",
    "a_noun": rf"an? {_BEFORE}(?:{_any(SHAPES)}|object)",
    "cell": _any(CELLS),
    "direction": _any(DIRECTIONS),
}
"""What may stand in a gap. A second gap of a kind is called noun2, nouns2."""


@dataclass(frozen=True)
class Form:
    """A question with gaps: `What color is the {noun}?`."""

    gaps: ClassVar[Mapping[str, str]] = _GAPS

    name: str
    template: str
    kind: Kind | None = None
    """Why no picture answers it, whatever the scene; None if it depends on the scene."""

    def fill(self, **gaps: str) -> str:
        """The question with its gaps filled.

        Args:
            gaps: The text of each gap, by its name.

        Returns:
            The question.
        """
        return self.template.format(**gaps)

    def read(self, question: str) -> dict[str, str] | None:
        """The gaps of a question.

        Args:
            question: Any text.

        Returns:
            Texts by the gaps' names; None if the question is of another form.
        """
        match = self._pattern.fullmatch(question)
        return match.groupdict() if match else None

    @cached_property
    def _pattern(self) -> re.Pattern[str]:
        pattern = re.escape(self.template)
        for name in re.findall(r"\{(\w+)\}", self.template):
            pattern = pattern.replace(rf"\{{{name}\}}", f"(?P<{name}>{self.gaps[name.rstrip('2')]})")
        return re.compile(pattern, re.IGNORECASE | re.ASCII)  # else "ſ" passes for an s, and "ı" for an i


COLOR = Form("color", "What color is the {noun}?")
SHAPE = Form("shape", "What shape is the {noun}?")
SIZE = Form("size", "How big is the {noun}?")
WHERE = Form("where", "Where is the {noun}?")
CELL = Form("cell", "What is in the {cell} cell?")
CELL_COLOR = Form("cell-color", "What color is the object in the {cell} cell?")
CELL_SHAPE = Form("cell-shape", "What shape is the object in the {cell} cell?")
NEIGHBOR = Form("neighbor", "What is directly {direction} the {noun}?")
NEIGHBOR_COLOR = Form("neighbor-color", "What color is the object directly {direction} the {noun}?")
COUNT = Form("count", "How many {nouns} can you see?")
SEE = Form("see", "Can you see {a_noun}?")
SIDE_OF = Form("side", "Is the {noun} {direction} the {noun2}?")
MORE = Form("more", "Can you see more {nouns} than {nouns2}?")
SAME_COLOR = Form("same-color", "Do the {noun} and the {noun2} have the same color?")
UNDER_COVER = Form("under-cover", "What is under the cover in the {cell} cell?")

FORMS = (
    COLOR, SHAPE, SIZE, WHERE, CELL, CELL_COLOR, CELL_SHAPE, NEIGHBOR, NEIGHBOR_COLOR, COUNT, SEE, SIDE_OF, MORE, SAME_COLOR,
    UNDER_COVER,
)  # fmt: skip
"""The forms with an answer, or a lack of one, that depends on the scene."""

_NEVER: dict[Kind, tuple[str, ...]] = {
    "hidden": ("What is behind the {noun}?", "What color is the back of the {noun}?"),
    "temporal": (
        "What color was the {noun} yesterday?",
        "Where will the {noun} be tomorrow?",
        "How big will the {noun} be next year?",
        "What was in the {cell} cell before?",
        "When was the {noun} drawn?",
    ),
    "mental": (
        "What does the {noun} want?",
        "Is the {noun} happy?",
        "What color does the {noun} like?",
        "Where does the {noun} want to be?",
        "Why was the {noun} put there?",
    ),
    "identity": (
        "Who drew the {noun}?",
        "Who owns the {noun}?",
        "What is the name of the {noun}?",
        "Where does the {noun} come from?",
    ),
    "non-visual": (
        "What does the {noun} smell like?",
        "How heavy is the {noun}?",
        "How warm is the {noun}?",
        "What sound does the {noun} make?",
        "How much did the {noun} cost?",
        "How many centimeters wide is the {noun}?",
    ),
}


F = TypeVar("F", bound=Form)


def never(form: type[F], templates: Mapping[Kind, tuple[str, ...]]) -> dict[Kind, tuple[F, ...]]:
    """The forms that no picture answers, by kind.

    Args:
        form: A world's form.
        templates: Questions with gaps, by kind.

    Returns:
        Forms named after their kind: `temporal-1`.
    """
    return {
        kind: tuple(form(f"{kind}-{number}", text, kind) for number, text in enumerate(of_kind, 1))
        for kind, of_kind in templates.items()
    }


NEVER = never(Form, _NEVER)
"""The forms that no picture answers, by kind. They begin like forms that a picture does answer: the first words tell nothing."""


# --- answers ------------------------------------------------------------------------------------------------------


def sentence(words: str) -> str:
    """Words as a sentence: `A large red star.`.

    Args:
        words: One word at least.

    Returns:
        The words with a capital and a full stop.
    """
    return f"{words[0].upper()}{words[1:]}."


def named(thing: Thing | None) -> str:
    """What a cell holds: `A large red star.`, or `Nothing.`.

    Args:
        thing: The thing; None: there is none.

    Returns:
        A sentence.
    """
    return sentence(Noun(thing.size, thing.color, thing.shape).with_article) if thing else "Nothing."


def declined(kind: Kind, noun: str = "object") -> str:
    """The sentence that declines a question and says why.

    Args:
        kind: Why there is no answer.
        noun: What is absent, or which one could be meant; of these two kinds alone.

    Returns:
        A sentence.
    """
    match kind:
        case "absent-object":
            return f"I cannot tell: there is no {noun}."
        case "ambiguous":
            return f"I cannot tell which {noun} is meant."
        case "hidden":
            return "I cannot tell: that is hidden."
        case "temporal":
            return "I cannot tell: the image shows one moment."
        case "mental":
            return "I cannot tell: the image shows no thoughts."
        case _:
            return "I cannot tell: the image does not show that."
