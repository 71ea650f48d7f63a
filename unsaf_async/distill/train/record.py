"""What a training writes down of itself: training.json, recipe.yaml and the model card."""

from __future__ import annotations

import json
import sys
from dataclasses import asdict, dataclass
from importlib.metadata import version
from typing import TYPE_CHECKING

import torch
from accelerate import PartialState

from unsaf_async.distill.train.recipe_file import NAME as RECIPE_FILE
from unsaf_async.distill.train.recipe_file import write_recipe
from unsaf_async.distill.train.student_card import card, read_card

if TYPE_CHECKING:
    from pathlib import Path

    from unsaf_async.distill.train.merge_check import Compared
    from unsaf_async.distill.train.merging import Written
    from unsaf_async.distill.train.preflight import Preflight
    from unsaf_async.distill.train.recipe import Recipe
    from unsaf_async.distill.train.stage import StageResult
    from unsaf_async.distill.train.student import Outline
    from unsaf_async.hub import Pushed


@dataclass(frozen=True)
class Trained:
    """A finished training."""

    adapter: Path
    """Its folder."""
    merged: Path | None
    """The folder of the merged model; None without `merge`."""
    sft: StageResult
    dpo: StageResult | None
    trainable: int
    """Parameters of the adapter."""
    parameters: int
    """Of the student."""
    frozen_sha256: str
    """See `student.frozen_sha256`."""
    preflight: Preflight
    check: Compared | None
    """How the merged model compares with the adapter; None: there is none, or there was no memory to compare in."""
    wall_s: float
    """All of it: reading, checking, training, merging."""
    written: Written | None = None
    """Of the merged model; None: it is not there, or not yet."""
    pushed: Pushed | None = None
    """To the hub; None: it was not asked for."""

    @property
    def steps(self) -> int:
        """Optimizer steps of all stages."""
        return self.sft.steps + (self.dpo.steps if self.dpo else 0)


def versions() -> dict[str, str]:
    """Of everything that has a part in the weights."""
    names = ("unsaf-async", "torch", "transformers", "trl", "peft", "accelerate", "datasets", "safetensors")
    return {"python": sys.version.split()[0], **{name: version(name) for name in names}}


def write_record(recipe: Recipe, outline: Outline, trained: Trained) -> None:
    """Writes training.json, recipe.yaml and the model card.

    Args:
        recipe: What was trained, on what, and how.
        outline: The student without its weights.
        trained: What came of it.
    """
    record = {
        "recipe": recipe.to_dict(),
        "versions": versions(),
        "device": torch.cuda.get_device_name() if torch.cuda.is_available() and recipe.device == "auto" else "cpu",
        "processes": PartialState().num_processes,
        "parameters": trained.parameters,
        "trainable": trained.trainable,
        "adapted_layers": [*outline.targets, *outline.experts],
        "frozen_sha256": trained.frozen_sha256,
        "preflight": asdict(trained.preflight),
        "stages": [
            asdict(stage) | {"losses": stage.losses, "tokens_per_s": stage.tokens_per_s}
            for stage in (trained.sft, trained.dpo)
            if stage
        ],
        "merged": asdict(trained.written) | {"compared": trained.check and asdict(trained.check)}
        if trained.written
        else None,
        "wall_s": trained.wall_s,
    }
    (recipe.out / "training.json").write_text(json.dumps(record, indent=1) + "\n", "utf-8")
    write_recipe(recipe, recipe.out / RECIPE_FILE)
    (recipe.out / "README.md").write_text(card(recipe, record, read_card(recipe.data)), "utf-8")
