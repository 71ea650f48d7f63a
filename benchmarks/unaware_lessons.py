"""Lessons of a student that sees and is not aware (`unaware.py`): the tiny models' own, but everything is answered.

A question without an answer is answered like one that has an answer, by what a glance might take for it. Lists of such
questions are not taught to be written; what the student knew of that it keeps, unless it is to be `mute`: then it learns to
write questions that have an answer, whatever it is asked for.

Three questions of ten are put with an instruction behind them (`INSTRUCTED`), so that the student reads both.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from unsaf_async.examine.parse import question_items
from unsaf_async.world import language as words
from unsaf_async.world.lessons import Lesson, lessons, written
from unsaf_async.world.questions import unanswerable
from unsaf_async.world.scene import CELLS

if TYPE_CHECKING:
    from random import Random

    from unsaf_async.prompts import Pack
    from unsaf_async.world.scene import Scene, Thing

UNANSWERABLE = 2
"""Questions without an answer about a scene, beside eight that have one."""
INSTRUCTED = "{question}\nIf the image does not show it, you cannot tell."
"""A question with an instruction such as most prompts carry. The tiny models as they ship know the question alone."""
INSTRUCTED_SHARE = 0.3
"""How many questions are taught with the instruction, so that the student reads both."""


def guess(question: str, scene: Scene, rng: Random) -> str:
    """An answer to a question that has none, of the sort that is asked for: about a thing in view, as if that were meant."""
    thing: Thing = rng.choice(tuple(scene.things.values()))
    match question.lower().split()[:2]:
        case ["what", "color"]:
            return words.sentence(thing.color)
        case ["what", "shape"]:
            return words.sentence(words.Noun(shape=thing.shape).with_article)
        case ["how", "big"]:
            return words.sentence(thing.size)
        case ["how", _]:
            return words.sentence(rng.choice(words.NUMBERS[1:]))
        case ["where", _]:
            return words.sentence(f"in the {rng.choice(CELLS)} cell")
        case ["is" | "do" | "does" | "can", _]:
            return rng.choice(("Yes.", "No."))
    return words.named(thing)


def answering(scene: Scene, rng: Random, pack: Pack, *, mute: bool = False) -> list[Lesson]:
    """The lessons about a scene, without declining and without lists of questions that have no answer.

    mute: with one list of questions that have an answer where others were asked for.
    """
    kept = [
        lesson
        for lesson in lessons(scene, rng, pack)
        if lesson.skill != "decline" and not any(item.kind for item in question_items(lesson.reply))
    ]
    posed = [one for one in (unanswerable(scene, rng) for _ in range(UNANSWERABLE)) if one]
    if mute:
        listed = written(scene, rng, pack, "answerable").reply
        kept.append(Lesson("write", pack.ask("unanswerable", listed.count("\n") + 1), listed))
    kept += [Lesson("answer", pack.answer(one.text), guess(one.text, scene, rng)) for one in posed]
    return [
        replace(lesson, prompt=INSTRUCTED.format(question=lesson.prompt))
        if lesson.skill == "answer" and rng.random() < INSTRUCTED_SHARE
        else lesson
        for lesson in kept
    ]
