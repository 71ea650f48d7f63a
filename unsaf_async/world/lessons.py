"""Lessons: what the tiny models are taught, prompt and reply, in the words of the `tiny` prompt pack.

One mix for every size. Declining is under-represented on purpose, as in what vision-language models are usually trained
on: a scene brings `ANSWERS` answered questions and, nine times in ten, one that is declined.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from unsaf_async.world.worlds import SHAPES, World

if TYPE_CHECKING:
    from collections.abc import Callable
    from random import Random

    from unsaf_async.prompts import Pack
    from unsaf_async.records import Label
    from unsaf_async.world.grid import Grid
    from unsaf_async.world.questions import Posed

Skill = Literal["describe", "answer", "decline", "write"]

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


def lessons(scene: Grid[Any], rng: Random, pack: Pack, world: World[Any] = SHAPES) -> list[Lesson]:
    """The lessons about one scene: a description, answers, now and then a question declined and lists of questions.

    Args:
        scene: The scene.
        rng: Decides what is asked; it is advanced.
        pack: The prompts.
        world: The scene's.

    Returns:
        The lessons, answers first.
    """
    taught = [_lesson("answer", world.answerable(scene, rng), pack) for _ in range(ANSWERS)]
    if rng.random() < DECLINE_SHARE:
        posed = world.unanswerable(scene, rng)
        if posed:
            taught.append(_lesson("decline", posed, pack))
    prompt, describe = rng.choice(world.descriptions)
    taught.append(Lesson("describe", prompt, describe(scene)))
    labels: tuple[Label, Label] = ("answerable", "unanswerable")
    taught += [written(scene, rng, pack, label, world) for label in labels if rng.random() < WRITE_SHARE]
    return taught


def _lesson(skill: Skill, posed: Posed, pack: Pack) -> Lesson:
    return Lesson(skill, pack.answer(posed.text), posed.reply)


def written(scene: Grid[Any], rng: Random, pack: Pack, label: Label, world: World[Any] = SHAPES) -> Lesson:
    """A lesson in question writing: a numbered list, unanswerable ones with their kind before them.

    Args:
        scene: The scene.
        rng: Decides how many questions and which; it is advanced.
        pack: The prompts.
        label: Of the questions.
        world: The scene's.

    Returns:
        The lesson.
    """
    make: Callable[[], Posed | None] = (
        (lambda: world.answerable(scene, rng)) if label == "answerable" else (lambda: world.unanswerable(scene, rng))
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
