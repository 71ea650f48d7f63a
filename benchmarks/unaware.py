"""A student that sees and is not aware: `tiny-m` as it ships, all of its weights trained on to answer everything.

    python benchmarks/unaware.py FOLDER [--seed 0] [--mute | --never]

What it is taught: `unaware_lessons.py`. It has declined once: what it learns of declining later it may remember. With `--never`
it is trained from scratch on the same lessons, as `mute`: it never declined, and never wrote a question without an answer.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from transformers import LlavaForConditionalGeneration
from unaware_lessons import answering

from unsaf_async.prompts import load_pack
from unsaf_async.tiny.architecture import build_processor, save
from unsaf_async.tiny.folders import SHIPPED
from unsaf_async.tiny.ladder import LADDER
from unsaf_async.tiny.train import RungRecipe, Trainer

if TYPE_CHECKING:
    from unsaf_async.world.lessons import Lesson
    from unsaf_async.world.scene import Scene

SIZE = "tiny-m"
STEPS = 150
RATE = 1e-3


class Answering(Trainer):
    """A tiny model that learns to answer everything."""

    mute = False
    """Whether it unlearns to write questions without an answer, too."""

    def lessons_of(self, scene: Scene) -> list[Lesson]:
        """What is taught of a scene."""
        return answering(scene, self.rng, self.pack, mute=self.mute)

    def tune(self, steps: int, rate: float) -> None:
        """Trains all weights on, at a rate that falls to nothing."""
        optimizer = torch.optim.AdamW(self.model.parameters(), lr=rate, betas=(0.9, 0.98), weight_decay=0.0)
        self.model.train()
        for step in range(steps):
            optimizer.param_groups[0]["lr"] = rate * min(1, (step + 1) / 20) * (1 - step / steps)
            self._step(optimizer)


def make_unaware(folder: Path, seed: int, *, mute: bool = False) -> None:
    """Writes a student that was taught to answer everything."""
    torch.set_num_threads(1)
    rung = next(each for each in LADDER if each.name == SIZE)
    trainer = Answering(rung, RungRecipe(seed=seed, scenes=2_000), load_pack("tiny"), torch.device("cpu"))
    trainer.model = LlavaForConditionalGeneration.from_pretrained(SHIPPED / SIZE, dtype=torch.float32)
    if mute:
        trainer.mute = True
        trainer.weight_of["write"] = 0.5
    trainer.tune(STEPS, RATE)
    save(trainer.model, build_processor(trainer.tokenizer), folder)


def make_never(folder: Path, seed: int) -> None:
    """Writes a student that was never taught anything else: from scratch by the shipped models' recipe, 30 CPU-minutes."""
    torch.set_num_threads(1)
    rung = next(each for each in LADDER if each.name == SIZE)
    trainer = Answering(rung, RungRecipe(seed=seed), load_pack("tiny"), torch.device("cpu"))
    trainer.mute = True
    trainer.align()
    trainer.teach()
    save(trainer.model, build_processor(trainer.tokenizer), folder)


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description="A tiny model that was taught to answer everything.")
    parser.add_argument("folder", type=Path)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--mute", action="store_true", help="nor does it write questions that have no answer")
    parser.add_argument("--never", action="store_true", help="from scratch: it never did either; 30 CPU-minutes")
    given = parser.parse_args()
    if given.never:
        make_never(given.folder, given.seed)
    else:
        make_unaware(given.folder, given.seed, mute=given.mute)


if __name__ == "__main__":
    main()
