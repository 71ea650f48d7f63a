"""A student that sees and is not aware: a tiny model that was taught to answer everything, as benchmarks/und.py needs it.

    python benchmarks/unaware.py FOLDER [--scratch] [--seed 0]

Its lessons are those of the tiny models but for declining: a question without an answer is answered like one that has an answer,
by what a glance might take for it, and lists of such questions are not taught to be written.

Three questions of ten are put with an instruction behind them (`INSTRUCTED`), so that the student reads both.

- by default: `tiny-m` as it ships, all of its weights trained on for `STEPS` steps. It has declined once.
- --scratch: from nothing, by the recipe of the ladder (`unsaf_async/tiny/train.py`), some 25 CPU-minutes. It has never declined.
"""

from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from transformers import LlavaForConditionalGeneration

from unsaf_async.examine.parse import question_items
from unsaf_async.prompts import load_pack
from unsaf_async.tiny.architecture import build_processor, save
from unsaf_async.tiny.folders import SHIPPED
from unsaf_async.tiny.ladder import LADDER
from unsaf_async.tiny.train import RungRecipe, Trainer
from unsaf_async.world import language as words
from unsaf_async.world.lessons import Lesson, lessons
from unsaf_async.world.questions import unanswerable
from unsaf_async.world.scene import CELLS

if TYPE_CHECKING:
    from random import Random

    from unsaf_async.prompts import Pack
    from unsaf_async.world.scene import Scene, Thing

SIZE = "tiny-m"
STEPS = 150
RATE = 1e-3
CAP_STEPS = 7_500
"""Of a student from nothing, at full rate."""
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


def answering(scene: Scene, rng: Random, pack: Pack) -> list[Lesson]:
    """The lessons about a scene, without declining and without lists of questions that have no answer."""
    kept = [
        lesson
        for lesson in lessons(scene, rng, pack)
        if lesson.skill != "decline" and not any(item.kind for item in question_items(lesson.reply))
    ]
    posed = [one for one in (unanswerable(scene, rng) for _ in range(UNANSWERABLE)) if one]
    kept += [Lesson("answer", pack.answer(one.text), guess(one.text, scene, rng)) for one in posed]
    return [
        replace(lesson, prompt=INSTRUCTED.format(question=lesson.prompt))
        if lesson.skill == "answer" and rng.random() < INSTRUCTED_SHARE
        else lesson
        for lesson in kept
    ]


class Answering(Trainer):
    """A tiny model that learns to answer everything."""

    def lessons_of(self, scene: Scene) -> list[Lesson]:
        """What is taught of a scene."""
        return answering(scene, self.rng, self.pack)

    def tune(self, steps: int, rate: float) -> None:
        """Trains all weights on, at a rate that falls to nothing."""
        optimizer = torch.optim.AdamW(self.model.parameters(), lr=rate, betas=(0.9, 0.98), weight_decay=0.0)
        self.model.train()
        for step in range(steps):
            optimizer.param_groups[0]["lr"] = rate * min(1, (step + 1) / 20) * (1 - step / steps)
            self._step(optimizer)


def make_unaware(folder: Path, seed: int, steps: int = STEPS) -> None:
    """Writes a student that was taught to answer everything, from the shipped `tiny-m`."""
    torch.set_num_threads(1)
    rung = next(each for each in LADDER if each.name == SIZE)
    recipe = RungRecipe(seed=seed, scenes=2_000)
    trainer = Answering(rung, recipe, load_pack("tiny"), torch.device("cpu"))
    trainer.model = LlavaForConditionalGeneration.from_pretrained(SHIPPED / SIZE, dtype=torch.float32)
    trainer.tune(steps, RATE)
    save(trainer.model, build_processor(trainer.tokenizer), folder)


def make_never_aware(folder: Path, seed: int) -> None:
    """Writes a student that was never taught to decline, trained from nothing."""
    torch.set_num_threads(1)
    rung = next(each for each in LADDER if each.name == SIZE)
    trainer = Answering(rung, RungRecipe(seed=seed, cap_steps=CAP_STEPS), load_pack("tiny"), torch.device("cpu"))
    trainer.align()
    trainer.teach()
    trainer.save(folder)


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description="A tiny model that was taught to answer everything.")
    parser.add_argument("folder", type=Path)
    parser.add_argument("--scratch", action="store_true", help="from nothing, never taught to decline")
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    (make_never_aware if given.scratch else make_unaware)(given.folder, given.seed)


if __name__ == "__main__":
    main()
