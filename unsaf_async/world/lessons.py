"""Lessons: what the tiny models are taught, prompt and reply, in the words of the `tiny` prompt pack.

One mix for every size. Declining is under-represented on purpose, as in what vision-language models are usually trained
on: a scene brings `ANSWERS` answered questions and, nine times in ten, one that is declined.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from unsaf_async.world.questions import answerable, unanswerable
from unsaf_async.world.scene import CELLS, COLORS, SHAPES

if TYPE_CHECKING:
    from collections.abc import Callable
    from random import Random

    from unsaf_async.prompts import Pack
    from unsaf_async.records import Label
    from unsaf_async.world.questions import Posed
    from unsaf_async.world.scene import Scene

Skill = Literal["describe", "answer", "decline", "write"]

DESCRIBE = "Describe the image."
DESCRIBE_BY_SHAPE = "Describe the image by shape."
DESCRIBE_BY_COLOR = "Describe the image by color."
"""Every scene is asked for one of the three. Looking things up is learned from them sooner than from questions alone: a cell from
the first, a thing by its shape or color, and that there is none, from the others."""

ANSWERS = 8
"""Answered questions about a scene."""
DECLINE_SHARE = 0.9
"""How many scenes bring one question that is declined."""
WRITE_SHARE = 0.25
"""How many scenes bring a list of answerable questions; as many bring one of unanswerable ones."""
AGAIN_SHARE = 0.15
"""How many lists are asked for with a word about which questions exist already."""

_COUNTS = (6, 5, 4, 3, 2, 1)
_COUNT_WEIGHT = (0.4, 0.12, 0.12, 0.12, 0.12, 0.12)


@dataclass(frozen=True, slots=True)
class Lesson:
    """A prompt about the picture, and the reply that the model is to give."""

    skill: Skill
    prompt: str
    reply: str


def lessons(scene: Scene, rng: Random, pack: Pack) -> list[Lesson]:
    """The lessons about one scene: a description, answers, now and then a question declined and lists of questions.

    Args:
        scene: The scene.
        rng: Decides what is asked; it is advanced.
        pack: The prompts.

    Returns:
        The lessons, answers first.
    """
    taught = [_lesson("answer", answerable(scene, rng), pack) for _ in range(ANSWERS)]
    if rng.random() < DECLINE_SHARE:
        posed = unanswerable(scene, rng)
        if posed:
            taught.append(_lesson("decline", posed, pack))
    prompt, describe = rng.choice(_DESCRIPTIONS)
    taught.append(Lesson("describe", prompt, describe(scene)))
    labels: tuple[Label, Label] = ("answerable", "unanswerable")
    taught += [written(scene, rng, pack, label) for label in labels if rng.random() < WRITE_SHARE]
    return taught


def described(scene: Scene) -> str:
    """What is in each cell: `northwest hidden, north small red star, northeast nothing, ...`.

    Args:
        scene: The scene.

    Returns:
        One sentence.
    """
    cells = zip(CELLS, scene.cells, strict=True)
    parts = (f"{name} {'hidden' if cell == 'covered' else cell or 'nothing'}" for name, cell in cells)
    return f"{', '.join(parts)}."


def described_by_shape(scene: Scene) -> str:
    """Where each shape is, and in which color: `circle nothing, square red north and blue west, ...`.

    Args:
        scene: The scene.

    Returns:
        One sentence.
    """
    parts = []
    for shape in SHAPES:
        places = [f"{thing.color} {CELLS[at]}" for at, thing in scene.things.items() if thing.shape == shape]
        parts.append(f"{shape} {' and '.join(places) or 'nothing'}")
    return f"{', '.join(parts)}."


def described_by_color(scene: Scene) -> str:
    """Where each color is, and in which shape: `red square north, green nothing, ...`.

    Args:
        scene: The scene.

    Returns:
        One sentence.
    """
    parts = []
    for color in COLORS:
        places = [f"{thing.shape} {CELLS[at]}" for at, thing in scene.things.items() if thing.color == color]
        parts.append(f"{color} {' and '.join(places) or 'nothing'}")
    return f"{', '.join(parts)}."


_DESCRIPTIONS: tuple[tuple[str, Callable[[Scene], str]], ...] = (
    (DESCRIBE, described),
    (DESCRIBE_BY_SHAPE, described_by_shape),
    (DESCRIBE_BY_COLOR, described_by_color),
)


def _lesson(skill: Skill, posed: Posed, pack: Pack) -> Lesson:
    return Lesson(skill, pack.answer(posed.text), posed.reply)


def written(scene: Scene, rng: Random, pack: Pack, label: Label) -> Lesson:
    """A lesson in question writing: a numbered list, unanswerable ones with their kind before them.

    Args:
        scene: The scene.
        rng: Decides how many questions and which; it is advanced.
        pack: The prompts.
        label: Of the questions.

    Returns:
        The lesson.
    """
    make: Callable[[], Posed | None] = (
        (lambda: answerable(scene, rng)) if label == "answerable" else (lambda: unanswerable(scene, rng))
    )
    (count,) = rng.choices(_COUNTS, _COUNT_WEIGHT)
    before = rng.choice((1, 2, 3)) if rng.random() < AGAIN_SHARE else 0
    posed: dict[str, Posed] = {}
    for _ in range(10 * (count + before)):
        one = make()
        if one:
            posed.setdefault(one.text, one)
        if len(posed) == count + before:
            break
    existing, new = list(posed)[:before], list(posed.values())[before:]
    reply = "\n".join(f"{number}. {f'{one.kind}: ' if one.kind else ''}{one.text}" for number, one in enumerate(new, 1))
    return Lesson("write", pack.ask(label, len(new), existing), reply)
