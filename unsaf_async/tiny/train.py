"""Trains the ladder from scratch: `python -m unsaf_async.tiny.train` (all sizes), `... tiny-s --seed 1 --out DIR`.

The recipe, the same for every size but for the learning rate:

1. *Align*: the vision tower and the projector learn to turn each cell's patch into the sum of the embeddings of the
   words for what is in it, by the cosine. 2. *Teach*: the whole model learns the lessons of random scenes
   (`world.lessons`), with the alignment loss kept on: without it, learning to speak erases what the tower sees. The
   learning rate stays high until the model notices, of validation scenes, that a thing is absent, or the cap is
   reached; then it falls to nothing. A number of steps alone cannot be the gate: absence is learned late and at once.
   Nor can a score that no longer rises: it stands still for thousands of steps before.

Lessons about one scene share one row: every lesson sees the picture and itself, and none sees another.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections import defaultdict
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass, fields
from importlib.metadata import version
from pathlib import Path
from random import Random
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch.nn import functional as fn

from unsaf_async.prompts import load_pack
from unsaf_async.tiny.architecture import (
    PATCHES,
    PIXEL_MEAN,
    PIXEL_STD,
    build_model,
    build_processor,
    build_tokenizer,
    save,
)
from unsaf_async.tiny.card import write_card
from unsaf_async.tiny.folders import SHIPPED
from unsaf_async.tiny.ladder import LADDER
from unsaf_async.world.lessons import Lesson, Skill, lessons
from unsaf_async.world.questions import UNANSWERABLE
from unsaf_async.world.worlds import SHAPES, WORLDS

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from transformers import LlavaForConditionalGeneration, PreTrainedTokenizerFast

    from unsaf_async.prompts import Pack
    from unsaf_async.tiny.ladder import Rung
    from unsaf_async.world.worlds import World


@dataclass(frozen=True)
class RungRecipe:
    """How a rung is trained. Steps count optimiser steps."""

    seed: int = 0
    scenes: int = 20_000
    rows: int = 4
    """Scenes per step."""
    align_steps: int = 1_200
    align_rate: float = 3e-3
    warmup_steps: int = 100
    gate: float = 0.85
    """The share of yes/no probes answered right, half of them of what is not there, from which on the learning rate may fall."""
    least_steps: int = 6_000
    """The fewest steps at full learning rate, however soon the gate is passed: the same for every size."""
    cap_steps: int = 10_000
    """The most, whether the gate is passed or not."""
    check_steps: int = 500
    cooldown: float = 0.3
    """The falling part's length, as a share of the steps at full rate."""
    align_weight: float = 0.3
    write_weight: float = 0.15
    """A written question's tokens count this much of an answer's: most of a list is free choice."""
    describe_weight: float = 0.35
    weight_decay: float = 0.05


@dataclass(frozen=True)
class Batch:
    """Rows of tokens, one a scene."""

    ids: torch.Tensor
    """The tokens, [rows, tokens]."""
    targets: torch.Tensor
    """The next token where it is learned, else -100, [rows, tokens]."""
    weights: torch.Tensor
    """Of each target in the loss, [rows, tokens]."""
    positions: torch.Tensor
    """Each lesson counts from the prefix on, [rows, tokens]."""
    owner: torch.Tensor
    """0 in the prefix, the lesson's number from 1, -1 in padding, [rows, tokens]."""
    mask: torch.Tensor
    """[rows, 1, tokens, tokens], 0 where a token sees another, else the least float."""
    pixels: torch.Tensor
    """[rows, 3, 48, 48]."""

    def to(self, device: torch.device) -> Batch:
        """The same batch on a device.

        Args:
            device: Where its tensors go.

        Returns:
            A copy.
        """
        return Batch(**{part.name: getattr(self, part.name).to(device) for part in fields(self)})


def pixels_of(pictures: np.ndarray) -> torch.Tensor:
    """Pictures as the tower's input.

    Args:
        pictures: Bytes, [n, 48, 48, 3].

    Returns:
        [n, 3, 48, 48], normalised.
    """
    return ((torch.from_numpy(np.ascontiguousarray(pictures)).float() / 255 - PIXEL_MEAN) / PIXEL_STD).permute(
        0, 3, 1, 2
    )


class Encoder:
    """Turns lessons into batches, in the layout of the chat template."""

    def __init__(self, tokenizer: PreTrainedTokenizerFast) -> None:
        self.fast = tokenizer.backend_tokenizer
        special = tokenizer.convert_tokens_to_ids
        self.prefix = [special("<bos>"), special("<user>"), *[special("<image>")] * PATCHES]
        self.assistant, self.eos, self.pad = special("<assistant>"), special("<eos>"), special("<pad>")

    def ids(self, texts: Sequence[str]) -> list[list[int]]:
        """The tokens of texts.

        Args:
            texts: Texts without special tokens.

        Returns:
            A list of token ids for each text.
        """
        return [encoded.ids for encoded in self.fast.encode_batch(list(texts), add_special_tokens=False)]

    def batch(
        self, taught: Sequence[Sequence[Lesson]], pictures: np.ndarray, weight_of: Mapping[Skill, float]
    ) -> Batch:
        """One row a scene: the picture's prefix once, then every lesson as if it alone stood behind the prefix.

        Args:
            taught: The lessons of each scene.
            pictures: Bytes, [scenes, 48, 48, 3].
            weight_of: The weight of a token in the loss, by skill; 1 where a skill is missing.

        Returns:
            The batch, on the CPU.
        """
        flat = [lesson for row in taught for lesson in row]
        prompts, replies = self.ids([lesson.prompt for lesson in flat]), self.ids([lesson.reply for lesson in flat])
        rows, at, start = [], 0, len(self.prefix)
        for row in taught:
            ids, owner, position, target = list(self.prefix), [0] * start, list(range(start)), [-100] * start
            weight = [0.0] * start
            for number, lesson in enumerate(row, 1):
                prompt, reply = [*prompts[at], self.assistant], [*replies[at], self.eos]
                ids += prompt + reply
                owner += [number] * (len(prompt) + len(reply))
                position += range(start, start + len(prompt) + len(reply))
                # each place predicts the next token: the last of the prompt the first of the reply
                target += [-100] * (len(prompt) - 1) + reply + [-100]
                weight += [weight_of.get(lesson.skill, 1.0)] * (len(prompt) + len(reply))
                at += 1
            rows.append((ids, target, weight, position, owner))
        width = max(len(row[0]) for row in rows)

        def stack(part: int, fill: float, kind: torch.dtype) -> torch.Tensor:
            return torch.tensor([[*row[part], *[fill] * (width - len(row[part]))] for row in rows], dtype=kind)

        owner = stack(4, -1, torch.long)
        causal = torch.ones(width, width, dtype=torch.bool).tril()
        sees = causal & ((owner[:, None, :] == 0) | (owner[:, None, :] == owner[:, :, None]))
        return Batch(
            ids=stack(0, self.pad, torch.long),
            targets=stack(1, -100, torch.long),
            weights=stack(2, 0.0, torch.float),
            positions=stack(3, 0, torch.long),
            mask=torch.where(sees, 0.0, torch.finfo(torch.float32).min)[:, None],
            owner=owner,
            pixels=pixels_of(pictures),
        )


SHARPNESS = 16.0
"""What a cosine is multiplied with before the softmax: words at a right angle to a patch then keep little of its share."""


class Aligner:
    """The alignment loss: how far a patch's embedding is from naming what is in its cell."""

    def __init__(self, encoder: Encoder, vocabulary: int, world: World[Any]) -> None:
        self._vocabulary, self._words_of = vocabulary, world.patch_words
        self._ids = {word: self._spellings(encoder, word) for word in sorted(set(world.words))}

    @staticmethod
    def _spellings(encoder: Encoder, word: str) -> list[int]:
        spelled = encoder.ids([f" {word}", word.capitalize()])
        return [ids[0] for ids in spelled if len(ids) == 1]

    def targets(self, drawn: Sequence[Any]) -> torch.Tensor:
        """Equal shares for the words of each cell: its name, and what is in it.

        Args:
            drawn: Scenes.

        Returns:
            [scenes, cells, vocabulary]; the shares of a cell sum to 1.
        """
        wanted = torch.zeros(len(drawn), PATCHES, self._vocabulary)
        for row, scene in enumerate(drawn):
            for index, words in enumerate(self._words_of(scene)):
                ids = [id_ for word in words for id_ in self._ids[word]]
                wanted[row, index, ids] = 1 / len(ids)
        return wanted

    def loss(self, patches: torch.Tensor, embeddings: torch.Tensor, wanted: torch.Tensor) -> torch.Tensor:
        """Cross entropy between the words of the cells and those that the patches are near to, over the vocabulary.

        By the cosine: a word's share then rests on its direction alone. Over inner products, a word with a long
        embedding is named of every patch.

        Args:
            patches: [scenes, cells, hidden].
            embeddings: [vocabulary, hidden].
            wanted: What `targets` returned.

        Returns:
            The mean over cells, a scalar.
        """
        cosine = fn.normalize(patches, dim=-1) @ fn.normalize(embeddings, dim=-1).T
        return -(wanted * torch.log_softmax(SHARPNESS * cosine, -1)).sum(-1).mean()


@dataclass
class Exam:
    """The validation questions, fixed: scenes of the validation split with questions of every sort."""

    batches: list[Batch]
    sorts: list[list[list[str]]]
    """By batch, row and lesson: what sort of question it is."""

    @staticmethod
    def draw(encoder: Encoder, pack: Pack, world: World[Any], count: int = 200, seed: int = 0) -> Exam:
        """An exam over scenes of the validation split.

        Args:
            encoder: Makes the batches.
            pack: The prompts.
            world: The world.
            count: Scenes.
            seed: Another seed is another exam.

        Returns:
            The exam, in batches of 50 scenes.
        """
        drawn = list(world.scenes("validation", count, seed))
        rng = Random(f"exam {seed}")
        exam = Exam([], [])
        for at in range(0, count, 50):
            taught, sorts = [], []
            for scene, _ in drawn[at : at + 50]:
                row = [(f"answer {posed.form}", posed) for posed in (world.answerable(scene, rng) for _ in range(4))]
                row += [
                    ("seen", world.probe(scene, rng, present=True)),
                    ("unseen", world.probe(scene, rng, present=False)),
                ]
                for kind in UNANSWERABLE:
                    posed = world.unanswerable(scene, rng, kind)
                    row += [(kind, posed)] if posed else []
                taught.append([Lesson("answer", pack.answer(posed.text), posed.reply) for _, posed in row])
                sorts.append([sort for sort, _ in row])
            pictures = np.stack([picture for _, picture in drawn[at : at + 50]])
            exam.batches.append(encoder.batch(taught, pictures, {}))
            exam.sorts.append(sorts)
        return exam

    def mark(self, model: LlavaForConditionalGeneration, decline_id: int) -> dict[str, float]:
        """The marks of a model: shares of questions, in [0, 1].

        Args:
            model: The model, which is in training mode afterwards.
            decline_id: The first token of a reply that declines.

        Returns:
            By sort of question `right ...` (the greedy reply is word for word right) and `declines ...` (its first word
            declines), and
            the sums over sorts: `accuracy`, `over_refusal`, `declines_perceptual`, `pope`.
        """
        model.eval()
        right: dict[str, list[bool]] = defaultdict(list)
        declines: dict[str, list[bool]] = defaultdict(list)
        with torch.no_grad():
            for batch, sorts in zip(self.batches, self.sorts, strict=True):
                guess = forward(model, batch.to(model.device))[0].argmax(-1).cpu()
                learned = batch.targets != -100
                for row, names in enumerate(sorts):
                    for number, sort in enumerate(names, 1):
                        here = (batch.owner[row] == number) & learned[row]
                        right[sort].append(bool((guess[row][here] == batch.targets[row][here]).all()))
                        declines[sort].append(int(guess[row][here][0]) == decline_id)
        model.train()
        marks = {f"right {sort}": float(np.mean(outcomes)) for sort, outcomes in right.items()}
        marks |= {
            f"declines {sort}": float(np.mean(outcomes))
            for sort, outcomes in declines.items()
            if not sort.startswith("answer")
        }
        answered = [outcomes for sort, list_ in right.items() if sort.startswith("answer") for outcomes in list_]
        refused = [outcomes for sort, list_ in declines.items() if sort.startswith("answer") for outcomes in list_]
        seen = ("absent-object", "ambiguous", "hidden")
        marks["accuracy"] = float(np.mean(answered))
        marks["over_refusal"] = float(np.mean(refused))
        marks["declines_perceptual"] = float(np.mean([np.mean(declines[kind]) for kind in seen]))
        marks["pope"] = (marks["right seen"] + marks["right unseen"]) / 2
        return marks


def forward(model: LlavaForConditionalGeneration, batch: Batch) -> tuple[torch.Tensor, torch.Tensor]:
    """One pass through the model.

    Args:
        model: The model.
        batch: Rows on the model's device.

    Returns:
        (logits [rows, tokens, vocabulary], the patches' embeddings [rows, cells, hidden]).
    """
    inner = model.model
    patches = inner.multi_modal_projector(inner.vision_tower(pixel_values=batch.pixels).last_hidden_state[:, 1:])
    embedded = inner.get_input_embeddings()(batch.ids)
    embedded = torch.cat([embedded[:, :2], patches.to(embedded.dtype), embedded[:, 2 + PATCHES :]], 1)
    hidden = inner.language_model(
        inputs_embeds=embedded, attention_mask=batch.mask, position_ids=batch.positions, use_cache=False
    ).last_hidden_state
    return model.lm_head(hidden), patches


class Trainer:
    """One rung in training."""

    def __init__(
        self, rung: Rung, recipe: RungRecipe, pack: Pack, device: torch.device, world: World[Any] = SHAPES
    ) -> None:
        torch.manual_seed(recipe.seed)
        self.rung, self.recipe, self.pack, self.device, self.world = rung, recipe, pack, device, world
        self.weight_of: dict[Skill, float] = {"write": recipe.write_weight, "describe": recipe.describe_weight}
        self.tokenizer = build_tokenizer(pack, world)
        self.encoder = Encoder(self.tokenizer)
        self.model = build_model(rung, self.tokenizer).to(device)
        self.aligner = Aligner(self.encoder, len(self.tokenizer), world)
        self.exam = Exam.draw(self.encoder, pack, world)
        self.decline_id = self.encoder.ids(["I cannot tell"])[0][0]
        drawn = list(world.scenes("train", recipe.scenes, recipe.seed))
        self.scenes = [scene for scene, _ in drawn]
        self.pictures = np.stack([picture for _, picture in drawn])
        self.rng = Random(f"lessons {recipe.seed}")
        self.log: list[dict[str, float]] = []

    def align(self) -> None:
        """Step 1: patches that name their cells."""
        recipe, inner = self.recipe, self.model.model
        learned = [*inner.vision_tower.parameters(), *inner.multi_modal_projector.parameters()]
        embeddings = self.model.lm_head.weight.detach()
        optimizer = torch.optim.AdamW(learned, lr=recipe.align_rate, betas=(0.9, 0.98))
        for step in range(recipe.align_steps):
            optimizer.param_groups[0]["lr"] = (
                recipe.align_rate * min(1, (step + 1) / 50) * (1 - step / recipe.align_steps)
            )
            chosen = [self.rng.randrange(len(self.scenes)) for _ in range(32)]
            patches = inner.multi_modal_projector(
                inner.vision_tower(pixel_values=pixels_of(self.pictures[chosen]).to(self.device)).last_hidden_state[
                    :, 1:
                ]
            )
            wanted = self.aligner.targets([self.scenes[index] for index in chosen]).to(self.device)
            loss = self.aligner.loss(patches, embeddings, wanted)
            # patches as long as word embeddings: the language model meets both in one stream
            loss = loss + 0.05 * (patches.pow(2).mean() - embeddings.pow(2).mean()).abs()
            loss.backward()
            torch.nn.utils.clip_grad_norm_(learned, 1.0)
            optimizer.step()
            optimizer.zero_grad()

    def teach(self) -> None:
        """Step 2: the lessons, at full learning rate until the gate is passed, and the cooldown."""
        recipe = self.recipe
        matrices = [weight for weight in self.model.parameters() if weight.ndim > 1]
        vectors = [weight for weight in self.model.parameters() if weight.ndim <= 1]
        optimizer = torch.optim.AdamW(
            [{"params": matrices, "weight_decay": recipe.weight_decay}, {"params": vectors, "weight_decay": 0.0}],
            lr=self.rung.learning_rate,
            betas=(0.9, 0.98),
        )
        self.model.train()
        began_s, losses = time.process_time(), []
        step, cooled, ends = 0, 0, None  # cooled: where the falling part began; ends: where it will end
        while ends is None or step < ends:
            rate = (
                min(1.0, (step + 1) / recipe.warmup_steps)
                if ends is None
                else max(0.02, (ends - step) / (ends - cooled))
            )
            for group in optimizer.param_groups:
                group["lr"] = self.rung.learning_rate * rate
            losses.append(self._step(optimizer))
            step += 1
            if step % recipe.check_steps and step != ends:
                continue
            marks = self.exam.mark(self.model, self.decline_id)
            spent = {"loss": float(np.mean(losses[-200:])), "cpu_s": round(time.process_time() - began_s, 1)}
            self.log.append({"step": step, **spent, **marks})
            sys.stdout.write(_line(self.rung, self.log[-1]) + "\n")
            sys.stdout.flush()
            passed = marks["pope"] >= recipe.gate and step >= recipe.least_steps
            if ends is None and (passed or step >= recipe.cap_steps):
                cooled, ends = step, step + int(step * recipe.cooldown)

    def lessons_of(self, scene: Any) -> list[Lesson]:
        """What is taught of a scene when its turn comes, drawn anew each time.

        Args:
            scene: The scene.

        Returns:
            The lessons.
        """
        return lessons(scene, self.rng, self.pack, self.world)

    def _step(self, optimizer: torch.optim.Optimizer) -> float:
        chosen = [self.rng.randrange(len(self.scenes)) for _ in range(self.recipe.rows)]
        drawn = [self.scenes[index] for index in chosen]
        taught = [self.lessons_of(scene) for scene in drawn]
        batch = self.encoder.batch(taught, self.pictures[chosen], self.weight_of).to(self.device)
        logits, patches = forward(self.model, batch)
        learned = batch.targets != -100
        weights = batch.weights[learned]
        each = fn.cross_entropy(logits[learned], batch.targets[learned], reduction="none")
        loss = (each * weights).sum() / weights.sum()
        align = self.aligner.loss(patches, self.model.lm_head.weight, self.aligner.targets(drawn).to(self.device))
        (loss + self.recipe.align_weight * align).backward()
        torch.nn.utils.clip_grad_norm_(self.model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad()
        return float(loss.detach())

    def save(self, folder: Path) -> None:
        """Writes the model, its processor, a card and `training.json` (recipe, versions, the validation marks as they came).

        Args:
            folder: Where the files go.
        """
        save(self.model, build_processor(self.tokenizer), folder)
        record = {
            "model": asdict(self.rung),
            "world": self.world.name,
            "parameters": sum(weight.numel() for weight in self.model.parameters()),
            "recipe": asdict(self.recipe),
            "versions": {name: version(name) for name in ("torch", "transformers", "tokenizers", "numpy", "pillow")},
            "device": str(self.device),
            "log": [{name: round(value, 4) for name, value in entry.items()} for entry in self.log],
        }
        (folder / "training.json").write_text(json.dumps(record, indent=1) + "\n", "utf-8")
        write_card(folder)


def _line(rung: Rung, entry: dict[str, float]) -> str:
    shown = ("loss", "accuracy", "over_refusal", "declines_perceptual", "pope")
    marks = "  ".join(f"{name} {entry[name]:.3f}" for name in shown)
    kinds = "  ".join(f"{kind} {entry[f'declines {kind}']:.2f}" for kind in ("absent-object", "ambiguous", "hidden"))
    return f"{rung.name} step {entry['step']:5.0f} {entry['cpu_s']:6.0f} s  {marks}  {kinds}"


def train(rung: Rung, recipe: RungRecipe, folder: Path, world: str = "shapes") -> None:
    """Trains a tiny model and writes it; on a GPU where there is one, else on one thread.

    Args:
        rung: The size.
        recipe: How it is trained.
        folder: Where the files go.
        world: What it is taught, by name.
    """
    torch.set_num_threads(1)  # more threads wait for each other longer than they compute
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    trainer = Trainer(rung, recipe, load_pack("tiny"), device, WORLDS[world])
    trainer.align()
    trainer.teach()
    trainer.save(folder)


def main() -> None:
    """The command line: every field of `RungRecipe` is an option."""
    parser = argparse.ArgumentParser(
        prog="python -m unsaf_async.tiny.train", description="Train tiny models from scratch."
    )
    names = [rung.name for rung in LADDER]
    parser.add_argument("rungs", nargs="*", metavar="NAME", help=f"which sizes, of {', '.join(names)}; none: all")
    parser.add_argument(
        "--out", type=Path, default=SHIPPED, help="a folder of folders (default: where the shipped ones lie)"
    )
    parser.add_argument("--world", choices=tuple(WORLDS), default="shapes", help="what they are taught (shapes)")
    parser.add_argument("--jobs", type=int, default=2, help="trainings at a time, each on one core")
    for setting in fields(RungRecipe):
        default = getattr(RungRecipe(), setting.name)
        parser.add_argument(
            f"--{setting.name.replace('_', '-')}", type=type(default), default=default, help=f"({default})"
        )
    given = vars(parser.parse_args())
    chosen, out, jobs, world = given.pop("rungs") or names, given.pop("out"), given.pop("jobs"), given.pop("world")
    if unknown := set(chosen) - set(names):
        parser.error(f"{min(unknown)} is no size; give one of {', '.join(names)}")
    # the largest first: it takes as long as all others together
    rungs = sorted((rung for rung in LADDER if rung.name in chosen), key=lambda rung: -rung.hidden)
    with ProcessPoolExecutor(jobs) as pool:
        for done in [pool.submit(train, rung, RungRecipe(**given), out / rung.name, world) for rung in rungs]:
            done.result()


if __name__ == "__main__":
    main()
