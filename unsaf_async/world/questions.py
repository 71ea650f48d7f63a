"""Questions about a scene, with their answers by construction: a target is chosen first, and then words that mean it.

What is asked, and how often, is what the tiny models learn to ask. The oracle (`oracle`) reaches its answers the other
way round, from the words to the scene.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar

from unsaf_async.world import language as words
from unsaf_async.world.language import Form, Noun
from unsaf_async.world.scene import CELLS, COLORS, SHAPES, SIZES, Scene, Thing, neighbor

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from random import Random

    from unsaf_async.records import Kind

S = TypeVar("S")


@dataclass(frozen=True, slots=True)
class Posed:
    """A question about a scene and the one right reply to it."""

    text: str
    reply: str
    """The answer, or the sentence that declines."""
    form: str
    kind: Kind | None = None
    """Why there is no answer; None if `reply` is the answer."""


ANSWERABLE: dict[Form, float] = {
    words.COLOR: 0.13,
    words.SHAPE: 0.07,
    words.SIZE: 0.07,
    words.WHERE: 0.10,
    words.CELL: 0.10,
    words.CELL_COLOR: 0.05,
    words.CELL_SHAPE: 0.05,
    words.NEIGHBOR: 0.09,
    words.NEIGHBOR_COLOR: 0.06,
    words.COUNT: 0.07,
    words.SEE: 0.11,
    words.SIDE_OF: 0.05,
    words.MORE: 0.03,
    words.SAME_COLOR: 0.02,
}
"""How often each form is tried for an answerable question. Where a scene has none of it, another is tried, so the shares of what
is asked differ a little: docs/world.md has them."""

UNANSWERABLE: dict[Kind, float] = {
    "absent-object": 0.28,
    "ambiguous": 0.17,
    "hidden": 0.19,
    "temporal": 0.09,
    "mental": 0.09,
    "identity": 0.08,
    "non-visual": 0.10,
}
"""How often each kind is tried for an unanswerable question."""

SEE_YES_SHARE = 0.7
"""How many "Can you see ...?" in training are answered with yes: more than half, as people ask; it biases models towards yes."""

_NAMED_BY = (
    ("shape",),
    ("color", "shape"),
    ("size", "shape"),
    ("color",),
    ("size", "color", "shape"),
    ("size", "color"),
)
_NAMED_BY_WEIGHT = (0.38, 0.32, 0.12, 0.08, 0.06, 0.04)
"""Which traits a noun names, and how often."""


def answerable(scene: Scene, rng: Random) -> Posed:
    """A question that the picture answers.

    Args:
        scene: The scene.
        rng: Decides what is asked; it is advanced.

    Returns:
        The question and its answer.
    """
    while True:
        (form,) = rng.choices(tuple(ANSWERABLE), tuple(ANSWERABLE.values()))
        posed = _ANSWERABLE[form.name](scene, rng, form)
        if posed:
            return posed


def unanswerable(scene: Scene, rng: Random, kind: Kind | None = None) -> Posed | None:
    """A question that the picture cannot settle.

    Args:
        scene: The scene.
        rng: Decides what is asked; it is advanced.
        kind: Why there is no answer; None: any kind, by its share.

    Returns:
        The question and the reply that declines it; None if the scene has no such question.
    """
    return posed_of_kind(scene, rng, kind, _PERCEPTUAL, _never)


def posed_of_kind(
    scene: S,
    rng: Random,
    kind: Kind | None,
    perceptual: Mapping[str, Callable[[S, Random], Posed | None]],
    never: Callable[[S, Random, Kind], Posed],
) -> Posed | None:
    """A question of a kind, by its maker; a maker that finds nothing is tried again.

    Args:
        scene: The scene.
        rng: Decides what is asked; it is advanced.
        kind: Why there is no answer; None: any kind, by its share.
        perceptual: Makers of the kinds that depend on the scene.
        never: Makes questions of the others.

    Returns:
        The question and the reply that declines it; None if the scene has no such question.
    """
    for _ in range(1 if kind else 20):
        wanted = kind or rng.choices(tuple(UNANSWERABLE), tuple(UNANSWERABLE.values()))[0]
        maker = perceptual.get(wanted)
        for _ in range(40 if maker else 1):
            posed = maker(scene, rng) if maker else never(scene, rng, wanted)
            if posed:
                return posed
    return None


def probe(scene: Scene, rng: Random, *, present: bool) -> Posed:
    """A yes/no question "Can you see ...?": the probe of object hallucination (POPE).

    Args:
        scene: The scene.
        rng: Decides what is asked; it is advanced.
        present: Whether the answer is yes.

    Returns:
        The question and its answer.
    """
    while True:
        noun = _noun(rng, rng.choice(tuple(scene.things.values()))) if present else _missing(scene, rng, _traits(rng))
        if noun is not None and bool(noun.referents(scene)) == present:
            return Posed(words.SEE.fill(a_noun=noun.with_article), "Yes." if present else "No.", words.SEE.name)


# --- nouns ----------------------------------------------------------------------------------------------------------


def _traits(rng: Random, without: str | None = None) -> tuple[str, ...]:
    while True:
        (traits,) = rng.choices(_NAMED_BY, _NAMED_BY_WEIGHT)
        if without is None:
            return traits
        others = tuple(trait for trait in traits if trait != without)
        if others:
            return others


def _noun(rng: Random, thing: Thing, without: str | None = None) -> Noun:
    return Noun(**{trait: getattr(thing, trait) for trait in _traits(rng, without)})


def _meaning(scene: Scene, rng: Random, index: int, without: str | None = None) -> Noun | None:
    """A noun that means the thing in cell `index` and no other; `without` is the trait that is asked for."""
    for _ in range(6):
        noun = _noun(rng, scene.things[index], without)
        if noun.referents(scene) == [index]:
            return noun
    return None


def _missing(scene: Scene, rng: Random, traits: tuple[str, ...]) -> Noun | None:
    """A noun of `traits` that nothing in view fits: mostly a near miss of something that is there."""
    thing = rng.choice(tuple(scene.things.values()))
    traits_of = {trait: getattr(thing, trait) for trait in traits}
    wrong = traits if rng.random() < 0.3 else (rng.choice(traits),)
    for trait in wrong:
        traits_of[trait] = rng.choice({"size": SIZES, "color": tuple(COLORS), "shape": SHAPES}[trait])
    noun = Noun(**traits_of)
    return None if noun.referents(scene) else noun


def _shared(scene: Scene, rng: Random, without: str | None) -> Noun | None:
    """A noun that several things in view fit."""
    noun = _noun(rng, rng.choice(tuple(scene.things.values())), without)
    return noun if len(noun.referents(scene)) > 1 else None


def _index(scene: Scene, rng: Random) -> int:
    return rng.choice(tuple(scene.things))


# --- what the picture answers ---------------------------------------------------------------------------------------


def _trait(scene: Scene, rng: Random, form: Form) -> Posed | None:
    index = _index(scene, rng)
    noun = _meaning(scene, rng, index, form.name)
    if noun is None:
        return None
    return Posed(form.fill(noun=str(noun)), _trait_reply(form.name, scene.things[index]), form.name)


def _trait_reply(trait: str, thing: Thing) -> str:
    return words.sentence(Noun(shape=thing.shape).with_article if trait == "shape" else getattr(thing, trait))


def _where(scene: Scene, rng: Random, form: Form) -> Posed | None:
    index = _index(scene, rng)
    noun = _meaning(scene, rng, index)
    if noun is None:
        return None
    return Posed(form.fill(noun=str(noun)), words.sentence(f"in the {CELLS[index]} cell"), form.name)


def _cell(scene: Scene, rng: Random, form: Form) -> Posed | None:
    if form is words.CELL and rng.random() < 0.2:
        empty = [index for index, cell in enumerate(scene.cells) if cell is None]
        return Posed(form.fill(cell=CELLS[rng.choice(empty)]), "Nothing.", form.name) if empty else None
    index = _index(scene, rng)
    thing = scene.things[index]
    answer = words.named(thing) if form is words.CELL else _trait_reply(form.name.removeprefix("cell-"), thing)
    return Posed(form.fill(cell=CELLS[index]), answer, form.name)


def _beside(scene: Scene, rng: Random, form: Form) -> Posed | None:
    index, direction = _index(scene, rng), rng.choice(words.DIRECTIONS)
    noun, at = _meaning(scene, rng, index), neighbor(index, direction)
    cell = None if at is None else scene.cells[at]
    if noun is None or cell == "covered" or (cell is None and (form is words.NEIGHBOR_COLOR or rng.random() < 0.6)):
        return None  # most neighbours are nothing: asked less often than they occur
    answer = words.named(cell) if form is words.NEIGHBOR else _trait_reply("color", cell) if cell else "Nothing."
    return Posed(form.fill(noun=str(noun), direction=direction), answer, form.name)


def _count(scene: Scene, rng: Random, form: Form) -> Posed:
    noun = _plural_noun(scene, rng)
    return Posed(form.fill(nouns=noun.plural), _number(len(noun.referents(scene))), form.name)


def _plural_noun(scene: Scene, rng: Random) -> Noun:
    traits = rng.choice((("shape",), ("color",), ("size",), ("color", "shape"), ("size", "color")))
    if rng.random() < 0.75:
        thing = rng.choice(tuple(scene.things.values()))
        return Noun(**{trait: getattr(thing, trait) for trait in traits})
    drawn = {"size": rng.choice(SIZES), "color": rng.choice(tuple(COLORS)), "shape": rng.choice(SHAPES)}
    return Noun(**{trait: drawn[trait] for trait in traits})


def _number(count: int) -> str:
    return words.sentence(words.NUMBERS[count])


def _see(scene: Scene, rng: Random, _form: Form) -> Posed:
    return probe(scene, rng, present=rng.random() < SEE_YES_SHARE)


def _side(scene: Scene, rng: Random, form: Form) -> Posed | None:
    first, second = rng.sample(tuple(scene.things), 2)
    nouns, direction = [_meaning(scene, rng, first), _meaning(scene, rng, second)], rng.choice(words.DIRECTIONS)
    if None in nouns:
        return None
    horizontal = direction in ("left of", "right of")
    at, other = (first % 3, second % 3) if horizontal else (first // 3, second // 3)
    before = at < other if direction in ("left of", "above") else at > other
    text = form.fill(noun=str(nouns[0]), direction=direction, noun2=str(nouns[1]))
    return Posed(text, "Yes." if before else "No.", form.name)


def _more(scene: Scene, rng: Random, form: Form) -> Posed | None:
    first, second = _plural_noun(scene, rng), _plural_noun(scene, rng)
    if first == second:
        return None
    more = len(first.referents(scene)) > len(second.referents(scene))
    return Posed(form.fill(nouns=first.plural, nouns2=second.plural), "Yes." if more else "No.", form.name)


def _same_color(scene: Scene, rng: Random, form: Form) -> Posed | None:
    first, second = rng.sample(tuple(scene.things), 2)
    nouns = [_meaning(scene, rng, first, "color"), _meaning(scene, rng, second, "color")]
    same = scene.things[first].color == scene.things[second].color
    if None in nouns or (not same and rng.random() < 0.5):  # different colors are the rule
        return None
    return Posed(form.fill(noun=str(nouns[0]), noun2=str(nouns[1])), "Yes." if same else "No.", form.name)


_ANSWERABLE: dict[str, Callable[[Scene, Random, Form], Posed | None]] = {
    "color": _trait,
    "shape": _trait,
    "size": _trait,
    "where": _where,
    "cell": _cell,
    "cell-color": _cell,
    "cell-shape": _cell,
    "neighbor": _beside,
    "neighbor-color": _beside,
    "count": _count,
    "see": _see,
    "side": _side,
    "more": _more,
    "same-color": _same_color,
}


# --- what this scene cannot settle ------------------------------------------------------------------------------------


def _declined(form: Form, kind: Kind, meant: str = "object", /, **gaps: str) -> Posed:
    return Posed(form.fill(**gaps), words.declined(kind, meant), form.name, kind)


_DEFINITE = (
    words.COLOR,
    words.SHAPE,
    words.SIZE,
    words.WHERE,
    words.NEIGHBOR,
    words.NEIGHBOR_COLOR,
    words.SIDE_OF,
    words.SAME_COLOR,
)
_DEFINITE_WEIGHT = (0.27, 0.09, 0.12, 0.22, 0.12, 0.08, 0.06, 0.04)
"""The forms that speak of "the" something, and how often they are asked when there is no such thing, or more than one."""


def _asked_trait(form: Form) -> str | None:
    return {"same-color": "color"}.get(form.name, form.name if form.name in ("color", "shape", "size") else None)


def _absent(scene: Scene, rng: Random) -> Posed | None:
    share = rng.random()
    empty = [index for index, cell in enumerate(scene.cells) if cell is None]
    if share < 0.1 and empty:
        form = rng.choice((words.CELL_COLOR, words.CELL_SHAPE))
        return _declined(form, "absent-object", cell=CELLS[rng.choice(empty)])
    if share < 0.15:
        cells = [index for index, cell in enumerate(scene.cells) if cell != "covered"]
        return _declined(words.UNDER_COVER, "absent-object", "cover", cell=CELLS[rng.choice(cells)])
    (form,) = rng.choices(_DEFINITE, _DEFINITE_WEIGHT)
    missing = _missing(scene, rng, _traits(rng, _asked_trait(form)))
    if missing is None:
        return None
    gaps = {"noun": str(missing), "direction": rng.choice(words.DIRECTIONS)}
    if form in (words.SIDE_OF, words.SAME_COLOR):
        present = _meaning(scene, rng, _index(scene, rng), _asked_trait(form))
        if present is None:
            return None
        first, second = (missing, present) if rng.random() < 0.5 else (present, missing)
        gaps |= {"noun": str(first), "noun2": str(second)}
    return _declined(form, "absent-object", str(missing), **gaps)


def _ambiguous(scene: Scene, rng: Random) -> Posed | None:
    (form,) = rng.choices(_DEFINITE[:4], _DEFINITE_WEIGHT[:4])
    noun = _shared(scene, rng, _asked_trait(form))
    if noun is None:
        return None
    meant = [scene.things[index] for index in noun.referents(scene)]
    if form is not words.WHERE and len({getattr(thing, form.name) for thing in meant}) == 1:
        return None  # whichever is meant, the answer is the same
    return _declined(form, "ambiguous", noun.head, noun=str(noun))


def _hidden(scene: Scene, rng: Random) -> Posed | None:
    if rng.random() < 0.3 or not scene.covered:
        return _never(scene, rng, "hidden")
    index = rng.choice(scene.covered)
    if rng.random() < 0.6:
        form = rng.choice((words.CELL, words.CELL, words.CELL_COLOR, words.CELL_SHAPE, words.UNDER_COVER))
        return _declined(form, "hidden", cell=CELLS[index])
    direction = rng.choice(words.DIRECTIONS)
    for at in scene.things:
        if neighbor(at, direction) == index:
            noun = _meaning(scene, rng, at)
            form = rng.choice((words.NEIGHBOR, words.NEIGHBOR_COLOR))
            return None if noun is None else _declined(form, "hidden", noun=str(noun), direction=direction)
    return None


def _never(scene: Scene, rng: Random, kind: Kind) -> Posed:
    form = rng.choice(words.NEVER[kind])
    noun = None
    for _ in range(4):
        noun = noun or _meaning(scene, rng, _index(scene, rng))
    noun = noun or _noun(rng, rng.choice(tuple(scene.things.values())))
    return _declined(form, kind, noun=str(noun), cell=rng.choice(CELLS))


_PERCEPTUAL: dict[str, Callable[[Scene, Random], Posed | None]] = {
    "absent-object": _absent,
    "ambiguous": _ambiguous,
    "hidden": _hidden,
}
"""The kinds that depend on the scene; the others never have an answer."""
