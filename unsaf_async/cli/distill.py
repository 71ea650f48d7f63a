"""`distill`: trains a student on an export."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from unsaf_async.cli.from_fields import from_fields
from unsaf_async.distill.train.recipe import TRAINED, Recipe
from unsaf_async.distill.train.recipe_file import read_recipe
from unsaf_async.help import Help
from unsaf_async.text import shown

if TYPE_CHECKING:
    from unsaf_async.distill.train.record import Trained
    from unsaf_async.distill.train.stage import StageResult

NEEDED = ("torch", "transformers", "accelerate", "peft", "trl", "datasets", "safetensors", "pyarrow")
"""What the extra `distill` brings, and training cannot do without."""


@from_fields(file=("recipe_file", read_recipe))
def distill(
    recipe: Recipe,
    recipe_file: Annotated[  # noqa: ARG001  # `from_fields` reads it
        Path | None,
        Help(
            "Settings from a file (YAML, JSON, TOML), such as the one beside every student. Options win.",
            metavar="FILE",
            panel=TRAINED,
            spelling=("--recipe",),
        ),
    ] = None,
) -> int:
    """Train a student on exported teacher data. LoRA on its language model, everything else frozen."""
    check_installed()
    from unsaf_async.distill.train.early import check_early, check_torchvision

    check_early(recipe)
    check_torchvision()
    from unsaf_async.distill.train.train import is_first, train
    from unsaf_async.progress.show import is_live

    def say(line: str) -> None:
        sys.stderr.write(f"{shown(line)}\n")

    trained = train(recipe, say, bar=is_live())
    if is_first():
        print_trained(trained)
    return 0


def check_installed() -> None:
    """Raises UserError, in one line, where a library of the extra `distill` is missing."""
    from importlib.util import find_spec

    from unsaf_async.errors import UserError
    from unsaf_async.text import install_extra

    missing = [name for name in NEEDED if find_spec(name) is None]
    if missing:
        raise UserError(f"distill: {missing[0]} is not installed; {install_extra('distill')}")


def print_trained(trained: Trained) -> None:
    """What came of it, to stdout."""
    from rich.table import Table

    from unsaf_async.cli.console import console, safe

    stdout = console()
    table = Table("stage", "steps", "training loss", "validation loss", "tokens", "tokens/s", box=None, pad_edge=False)
    for stage in (trained.sft, trained.dpo):
        if stage is not None:
            table.add_row(
                {"sft": "imitation", "dpo": "preferences"}[stage.name],
                str(stage.steps),
                _change(stage.losses),
                _change(stage.eval_losses),
                "n/a" if stage.tokens is None else f"{stage.tokens:,}",
                _speed(stage),
            )
    stdout.print(table)
    if trained.sft.eval_by_kind:
        kinds = Table("validation loss of", "after training", box=None, pad_edge=False)
        for kind, loss in trained.sft.eval_by_kind.items():
            kinds.add_row(safe(kind), f"{loss:.4f}")
        stdout.print()
        stdout.print(kinds)
    stdout.print()
    sizes = f"{trained.trainable:,} parameters, beside the student's {trained.parameters:,}"
    stdout.print(f"Adapter: {safe(str(trained.adapter))} ({sizes})")
    if trained.merged is not None:
        stdout.print(f"Merged model: {safe(str(trained.merged))}")
    if trained.pushed is not None:
        stdout.print(f"On the hub: {safe(trained.pushed.line())}")


def _change(losses: tuple[tuple[int, float], ...]) -> str:
    if not losses:
        return "n/a"
    return f"{losses[0][1]:.4f} -> {losses[-1][1]:.4f}"


def _speed(stage: StageResult) -> str:
    return "n/a" if stage.tokens_per_s is None else f"{stage.tokens_per_s:,.0f}"
