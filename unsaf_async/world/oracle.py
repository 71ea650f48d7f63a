"""The oracle: reads any question of the world back and works out its answer from the scene.

It knows nothing of how the question came about; the generator (`questions`) knows its answers by construction. That
both agree is tested.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import product
from typing import TYPE_CHECKING, TypeVar

from unsaf_async.world import language as words
from unsaf_async.world.language import Form, Noun
from unsaf_async.world.scene import CELLS, Scene, Thing, neighbor

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from unsaf_async.records import Kind

F = TypeVar("F", bound=Form)


@dataclass(frozen=True, slots=True)
class Finding:
    """What a question is, about one scene."""

    form: str
    """The question's form, e.g. "color"."""
    answer: str | None = None
    """The exact answer; None if there is none."""
    kind: Kind | None = None
    """Why there is no answer; None if there is one."""
    reason: str | None = None
    """The sentence that declines the question; None if there is an answer."""

    @property
    def answerable(self) -> bool:
        """Whether the picture answers the question."""
        return self.answer is not None


def oracle(scene: Scene, question: str) -> Finding | None:
    """What a question is about a scene.

    A definite noun ("the star") must be there, else the question is of kind `absent-object`. It may fit several things,
    as long as each of them gives the same answer; else the question is `ambiguous`. What lies under a cover is
    `hidden`.

    Args:
        scene: The scene.
        question: Any text.

    Returns:
        The answer, or why there is none; None if it is no question of this world ("not understood").
    """
    return understood(question, words.FORMS, words.NEVER, lambda form, gaps: _find(scene, form, gaps))


def understood(
    question: str,
    forms: Iterable[F],
    never: Mapping[Kind, Iterable[F]],
    find: Callable[[F, dict[str, str]], Finding],
) -> Finding | None:
    """What a question is, by a world's table of forms.

    Args:
        question: Any text.
        forms: Those whose answer depends on the scene.
        never: Those that no picture answers, by kind.
        find: Settles a question of one of `forms` from its gaps, in small letters.

    Returns:
        The finding; None if the question is of no form.
    """
    question = question.strip()
    for form in forms:
        gaps = form.read(question)
        if gaps is not None:
            return find(form, {name: text.lower() for name, text in gaps.items()})
    for kind, of_kind in never.items():
        for form in of_kind:
            if form.read(question) is not None:
                return none(form, kind)
    return None


def none(form: Form, kind: Kind, noun: str = "object") -> Finding:
    """The finding that a question has no answer.

    Args:
        form: The question's.
        kind: Why.
        noun: What is absent, or which one could be meant.

    Returns:
        The finding, with the sentence that declines.
    """
    return Finding(form.name, None, kind, words.declined(kind, noun))


def definite(form: Form, meant: Sequence[tuple[str, str, Sequence[int]]], find: Callable[..., Finding]) -> Finding:
    """The finding of a question about "the" something.

    Args:
        form: The question's.
        meant: Of each noun its text, its last word, and the cells of what fits it.
        find: Settles the question for one cell a noun.

    Returns:
        What `find` says, if it is the same for all that could be meant; else that a noun is absent or ambiguous.
    """
    for text, _, cells in meant:
        if not cells:
            return none(form, "absent-object", text)
    findings = {find(*cells) for cells in product(*(cells for _, _, cells in meant))}
    if len(findings) == 1:
        return findings.pop()
    return none(form, "ambiguous", next(head for _, head, cells in meant if len(cells) > 1))


def _find(scene: Scene, form: Form, gaps: dict[str, str]) -> Finding:
    match form.name:
        case "see":
            noun = Noun.read(gaps["a_noun"].split(maxsplit=1)[1])
            return Finding(form.name, yes(bool(noun.referents(scene))))
        case "count":
            return Finding(form.name, words.sentence(words.NUMBERS[len(Noun.read(gaps["nouns"]).referents(scene))]))
        case "more":
            first, second = (len(Noun.read(gaps[name]).referents(scene)) for name in ("nouns", "nouns2"))
            return Finding(form.name, yes(first > second))
        case "cell" | "cell-color" | "cell-shape" | "under-cover":
            return _in_cell(scene, form, CELLS.index(gaps["cell"]))
    nouns = [Noun.read(gaps[name]) for name in ("noun", "noun2") if name in gaps]
    return definite(
        form,
        [(str(noun), noun.head, noun.referents(scene)) for noun in nouns],
        lambda *meant: _about(scene, form, gaps.get("direction", ""), *meant),
    )


def _in_cell(scene: Scene, form: Form, index: int) -> Finding:
    cell = scene.cells[index]
    if form is words.UNDER_COVER:
        return none(form, "hidden") if cell == "covered" else none(form, "absent-object", "cover")
    if cell == "covered":
        return none(form, "hidden")
    if form is words.CELL:
        return Finding(form.name, words.named(cell))
    if cell is None:
        return none(form, "absent-object")
    return Finding(form.name, _trait(form.name.removeprefix("cell-"), cell))


def _about(scene: Scene, form: Form, direction: str, *meant: int) -> Finding:
    """The finding if the question's nouns mean the things in the cells `meant`."""
    thing = scene.things[meant[0]]
    match form.name:
        case "color" | "shape" | "size":
            return Finding(form.name, _trait(form.name, thing))
        case "where":
            return Finding(form.name, words.sentence(f"in the {CELLS[meant[0]]} cell"))
        case "side":
            return Finding(form.name, yes(_is_side(meant[0], direction, meant[1])))
        case "same-color":
            return Finding(form.name, yes(thing.color == scene.things[meant[1]].color))
    index = neighbor(meant[0], direction)
    cell = None if index is None else scene.cells[index]
    if cell == "covered":
        return none(form, "hidden")
    if form is words.NEIGHBOR:
        return Finding(form.name, words.named(cell))
    return Finding(form.name, _trait("color", cell)) if cell else none(form, "absent-object")


def _trait(name: str, thing: Thing) -> str:
    return words.sentence(Noun(shape=thing.shape).with_article if name == "shape" else getattr(thing, name))


def _is_side(first: int, direction: str, second: int) -> bool:
    (row, column), (other_row, other_column) = divmod(first, 3), divmod(second, 3)
    return {
        "left of": column < other_column,
        "right of": column > other_column,
        "above": row < other_row,
        "below": row > other_row,
    }[direction]


def yes(holds: bool) -> str:
    """`Yes.` or `No.`.

    Args:
        holds: What was asked.

    Returns:
        The answer.
    """
    return "Yes." if holds else "No."
