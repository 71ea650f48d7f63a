"""`distill`: trains a student on an export."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from unsaf_async.cli import options as o

if TYPE_CHECKING:
    from unsaf_async.distill.train.train import StageResult, Trained

NEEDED = ("torch", "transformers", "accelerate", "peft", "trl", "datasets", "safetensors", "pyarrow")
"""What the extra `distill` brings, and training cannot do without."""


def distill(
    data: Annotated[
        Path,
        typer.Option("--data", parser=o.folder, metavar="DIR", help="What `unsaf-async export --format trl` wrote."),
    ],
    student: Annotated[
        str,
        typer.Option(
            "--student", metavar="MODEL", help="A folder of a model, a shipped tiny one's name, or a Hugging Face id."
        ),
    ],
    out: Annotated[
        Path, typer.Option("--out", "-o", parser=o.folder, metavar="DIR", help="Where to write: a new or empty folder.")
    ],
    epochs: Annotated[float, typer.Option(parser=o.number, metavar="N", help="How often each row is seen.")] = 1.0,
    max_steps: Annotated[
        int | None, typer.Option(parser=o.whole, metavar="N", help="Optimizer steps, instead of --epochs.")
    ] = None,
    batch: Annotated[int, typer.Option(parser=o.whole, metavar="N", help="Rows per device and forward pass.")] = 8,
    accumulate: Annotated[
        int, typer.Option(parser=o.whole, metavar="N", help="Forward passes per optimizer step.")
    ] = 1,
    learning_rate: Annotated[float, typer.Option(parser=o.number, metavar="X", help="At its highest.")] = 1e-4,
    warmup: Annotated[
        float, typer.Option(parser=o.number, metavar="SHARE", help="Share of the steps in which the rate rises.")
    ] = 0.05,
    schedule: Annotated[str, typer.Option(metavar="cosine|linear|constant", help="How the rate falls.")] = "cosine",
    weight_decay: Annotated[float, typer.Option(parser=o.number, metavar="X", help="AdamW's.")] = 0.0,
    lora_r: Annotated[int, typer.Option(parser=o.whole, metavar="N", help="The adapter's rank.")] = 16,
    lora_alpha: Annotated[int, typer.Option(parser=o.whole, metavar="N", help="Its scale is this by the rank.")] = 32,
    lora_dropout: Annotated[float, typer.Option(parser=o.number, metavar="SHARE", help="In the adapter.")] = 0.05,
    qlora: Annotated[
        bool, typer.Option("--qlora", help="Hold the language model in 4 bits; needs bitsandbytes.")
    ] = False,
    seed: Annotated[
        int, typer.Option(parser=o.whole, metavar="N", help="Of the adapter, the order and the dropout.")
    ] = 0,
    eval_every: Annotated[
        int | None, typer.Option(parser=o.whole, metavar="N", help="Steps between evaluations. Default: an epoch.")
    ] = None,
    save_every: Annotated[
        int | None, typer.Option(parser=o.whole, metavar="N", help="Steps between checkpoints. Default: an epoch.")
    ] = None,
    patience: Annotated[
        int | None,
        typer.Option(
            parser=o.whole,
            metavar="N",
            help="Stop after N evaluations without a lower validation loss, and keep the best. Default: never.",
        ),
    ] = None,
    max_pixels: Annotated[
        int | None,
        typer.Option(parser=o.whole, metavar="N", help="Most pixels of an image, for processors that take a cap."),
    ] = None,
    bf16: Annotated[
        bool | None, typer.Option("--bf16/--no-bf16", help="Train in bfloat16. Default: on a GPU that can.")
    ] = None,
    device: Annotated[str, typer.Option(metavar="auto|cpu", help="auto: a GPU if there is one.")] = "auto",
    threads: Annotated[
        int | None, typer.Option(parser=o.whole, metavar="N", help="Of the CPU; 1 is best for tiny models.")
    ] = None,
    checkpointing: Annotated[
        bool | None,
        typer.Option(
            "--checkpointing/--no-checkpointing",
            help="Compute activations twice, for less memory. Default: where memory seems too small.",
        ),
    ] = None,
    workers: Annotated[
        int, typer.Option(parser=o.whole, metavar="N", help="Processes that prepare batches; 0: none.")
    ] = 0,
    resume: Annotated[bool, typer.Option("--resume", help="Go on from the last checkpoint in --out.")] = False,
    dpo: Annotated[
        bool, typer.Option("--dpo", help="A second stage on the preference pairs in DATA/preferences.")
    ] = False,
    dpo_beta: Annotated[
        float, typer.Option(parser=o.number, metavar="X", help="How much DPO holds on to stage 1.")
    ] = 0.1,
    dpo_learning_rate: Annotated[float, typer.Option(parser=o.number, metavar="X", help="Of stage 2.")] = 5e-6,
    dpo_epochs: Annotated[float, typer.Option(parser=o.number, metavar="N", help="Of stage 2.")] = 1.0,
    dpo_max_steps: Annotated[
        int | None, typer.Option(parser=o.whole, metavar="N", help="Of stage 2, instead of --dpo-epochs.")
    ] = None,
    no_merge: Annotated[bool, typer.Option("--no-merge", help="Write the adapter alone.")] = False,
    allow_near_copies: Annotated[
        bool,
        typer.Option("--allow-near-copies", help="Train although training images have near copies in validation."),
    ] = False,
    report_to: Annotated[
        list[str] | None,
        typer.Option(metavar="tensorboard|wandb", help="Send the losses there, too. May be given several times."),
    ] = None,
) -> int:
    """Train a student on exported teacher data: LoRA on its language model, everything else frozen."""
    from unsaf_async.distill.train.recipe import Recipe

    recipe = Recipe(
        data=data,
        student=student,
        out=out,
        epochs=epochs,
        max_steps=max_steps,
        batch=batch,
        accumulate=accumulate,
        learning_rate=learning_rate,
        warmup=warmup,
        schedule=schedule,  # type: ignore[arg-type]  # the recipe looks
        weight_decay=weight_decay,
        lora_r=lora_r,
        lora_alpha=lora_alpha,
        lora_dropout=lora_dropout,
        qlora=qlora,
        seed=seed,
        eval_every=eval_every,
        save_every=save_every,
        patience=patience,
        max_pixels=max_pixels,
        bf16=bf16,
        device=device,  # type: ignore[arg-type]
        threads=threads,
        checkpointing=checkpointing,
        workers=workers,
        resume=resume,
        dpo=dpo,
        dpo_beta=dpo_beta,
        dpo_learning_rate=dpo_learning_rate,
        dpo_epochs=dpo_epochs,
        dpo_max_steps=dpo_max_steps,
        merge=not no_merge,
        allow_near_copies=allow_near_copies,
        report_to=tuple(report_to or ()),  # type: ignore[arg-type]
    )
    check_installed()
    from unsaf_async.distill.train.train import is_first, train

    def say(line: str) -> None:
        sys.stderr.write(f"{line}\n")

    trained = train(recipe, say, bar=sys.stderr.isatty())
    if is_first():
        print_trained(trained)
    return 0


def check_installed() -> None:
    """Raises UserError, in one line, where a library of the extra `distill` is missing."""
    from importlib.util import find_spec

    from unsaf_async.errors import UserError

    missing = [name for name in NEEDED if find_spec(name) is None]
    if missing:
        raise UserError(f"distill: {missing[0]} is not installed; pip install 'unsaf-async[distill]'")


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
                f"{stage.tokens:,}",
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
    stdout.print(f"Adapter: {safe(str(trained.adapter))} ({trained.trainable:,} of {trained.parameters:,} parameters)")
    if trained.merged is not None:
        stdout.print(f"Merged model: {safe(str(trained.merged))}")


def _change(losses: tuple[tuple[int, float], ...]) -> str:
    if not losses:
        return "n/a"
    return f"{losses[0][1]:.4f} -> {losses[-1][1]:.4f}"


def _speed(stage: StageResult) -> str:
    return "n/a" if stage.tokens_per_s is None else f"{stage.tokens_per_s:,.0f}"
