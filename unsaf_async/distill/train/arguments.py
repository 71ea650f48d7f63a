"""The settings that the trainers of both stages take: a recipe in the words of transformers, and its data types."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

import torch
from accelerate import PartialState

from unsaf_async.distill.train.early import last_checkpoint
from unsaf_async.trackers import PROJECT

if TYPE_CHECKING:
    from unsaf_async.distill.train.recipe import Recipe


def stage_arguments(
    recipe: Recipe,
    checkpoints: str,
    rows: int,
    max_steps: int | None,
    epochs: float,
    *,
    validated: bool,
    checkpointing: bool,
) -> dict[str, Any]:
    """The settings that both trainers take.

    Args:
        recipe: What is trained, and how.
        checkpoints: The folder of the stage's checkpoints, in `recipe.out`.
        rows: Of the training set.
        max_steps: Optimizer steps; None: by `epochs`.
        epochs: How often each row is seen.
        validated: Whether there is a validation set.
        checkpointing: Whether activations are computed again.

    Returns:
        Keyword arguments of SFTConfig and DPOConfig.
    """
    planned = max_steps or int(epochs * rows / (recipe.batch * recipe.accumulate * PartialState().num_processes))
    uses_gpu = on_gpu(recipe)
    every = "steps" if recipe.eval_every else "epoch"
    stops = recipe.patience is not None and validated
    save_every = recipe.save_every or (recipe.eval_every if stops else None)
    return {
        "output_dir": str(recipe.out / checkpoints),
        **({"max_steps": max_steps} if max_steps else {"num_train_epochs": epochs}),
        "per_device_train_batch_size": recipe.batch,
        "per_device_eval_batch_size": recipe.batch,
        "gradient_accumulation_steps": recipe.accumulate,
        "lr_scheduler_type": recipe.schedule,
        "warmup_steps": recipe.warmup,
        "weight_decay": recipe.weight_decay,
        "seed": recipe.seed,
        "data_seed": recipe.seed,
        "bf16": in_bf16(recipe),
        "use_cpu": not uses_gpu,
        "gradient_checkpointing": checkpointing,
        "gradient_checkpointing_kwargs": {"use_reentrant": False},
        "eval_strategy": every if validated else "no",
        **({"eval_steps": recipe.eval_every} if recipe.eval_every else {}),
        "eval_on_start": validated and not (recipe.resume and last_checkpoint(recipe.out / checkpoints)),
        "prediction_loss_only": True,
        "save_strategy": "steps" if save_every else "epoch",
        **({"save_steps": save_every} if save_every else {}),
        "save_total_limit": 2,
        "load_best_model_at_end": stops,
        "metric_for_best_model": "eval_loss" if stops else None,
        "logging_steps": max(1, min(10, planned // 20)),
        "logging_first_step": True,
        "report_to": list(recipe.report_to) or "none",
        "run_name": f"{recipe.out.absolute().name}{checkpoints.removeprefix('checkpoints')}",
        "project": os.environ.get("TRACKIO_PROJECT") or PROJECT,
        "logging_nan_inf_filter": False,  # a loss that is no number must be seen
        "disable_tqdm": True,  # `ProgressCallback` does that
        "dataloader_num_workers": recipe.workers,
        "dataloader_pin_memory": uses_gpu,
        "remove_unused_columns": False,
        **({"train_sampling_strategy": "group_by_length"} if recipe.group_by_length else {}),
    }


def on_gpu(recipe: Recipe) -> bool:
    """Whether a GPU is trained on.

    Args:
        recipe: What is trained, and how.

    Returns:
        False for one that is there and not asked for, too.
    """
    return recipe.device == "auto" and torch.cuda.is_available()


def in_bf16(recipe: Recipe) -> bool:
    """Whether the training is in bfloat16.

    Args:
        recipe: What is trained, and how.

    Returns:
        What was asked for, and otherwise whether the GPU computes in it.
    """
    return on_gpu(recipe) and torch.cuda.is_bf16_supported() if recipe.bf16 is None else recipe.bf16


def training_dtype(*, bf16: bool) -> torch.dtype:
    """The data type of the frozen weights; the adapter is always in single precision (of QLoRA in bfloat16).

    Args:
        bf16: Whether the training is in bfloat16.

    Returns:
        torch's name of it.
    """
    return torch.bfloat16 if bf16 else torch.float32
