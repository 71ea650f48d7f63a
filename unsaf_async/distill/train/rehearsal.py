"""The longest rows, once, before the first step: memory, masks and data types are measured, not reasoned."""

from __future__ import annotations

import math
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch

from unsaf_async.errors import UserError, setting
from unsaf_async.text import format_bytes, typed_line

if TYPE_CHECKING:
    from collections.abc import Sequence

    from unsaf_async.distill.train.recipe import Recipe
    from unsaf_async.distill.train.rendering import RenderedRow


@dataclass(frozen=True)
class Rehearsal:
    """One collation, forward and backward pass over the longest rows that a batch holds. No weight was changed."""

    rows: int
    longest_tokens: int
    loss: float
    memory_bytes: int | None
    """The GPU's most, with AdamW's moments, which come with the first step; None: on a CPU, which does not count it."""
    wall_s: float

    def line(self) -> str:
        """What was measured, for the user."""
        memory = "" if self.memory_bytes is None else f", {format_bytes(self.memory_bytes)} of GPU memory at most"
        return (
            f"tried the {self.rows} longest rows (up to {self.longest_tokens:,} tokens): loss {self.loss:.4f}, "
            f"{self.wall_s:.1f} s{memory}"
        )


def rehearse(trainer: Any, rows: Sequence[RenderedRow], recipe: Recipe, trainable: int) -> Rehearsal:
    """Puts the longest rows through the trainer's own collator, loss and backward pass; leaves no trace in it.

    Args:
        trainer: `imitation.Imitation` or `preference.Preference`, ready to train.
        rows: Those of its training set, in its order.
        recipe: Names the batch and the student.
        trainable: Parameters that learn.

    Returns:
        What was measured.

    Raises:
        UserError: The student does not take the rows, the memory is too small, or the loss is no number.
    """
    picked = sorted(range(len(rows)), key=lambda place: -rows[place].tokens)[: recipe.batch]
    model, device = trainer.model, trainer.args.device
    on_gpu = device.type == "cuda"
    began_s = time.monotonic()
    if on_gpu:
        torch.cuda.reset_peak_memory_stats(device)
    try:
        with torch.random.fork_rng([device] if on_gpu else []):
            if trainer.args.gradient_checkpointing:
                model.gradient_checkpointing_enable(trainer.args.gradient_checkpointing_kwargs)
            model.train()
            batch = trainer.batch_of(picked)
            with trainer.compute_loss_context_manager():
                loss = trainer.compute_loss(model, batch)
            loss.backward()
            value = float(loss)
            memory = torch.cuda.max_memory_allocated(device) + 8 * trainable if on_gpu else None
    except UserError:
        raise
    except Exception as error:  # whatever a processor or a model raises
        raise _refusal(error, recipe, rows[picked[0]], len(picked)) from None
    finally:
        model.zero_grad(set_to_none=True)
        trainer.forget()
        if on_gpu:
            torch.cuda.empty_cache()
    if not math.isfinite(value):
        raise UserError(
            f"{recipe.student}: its loss on the longest rows is {value} before anything is learned; "
            f"train with {setting('bf16', False)}, or choose another student",
            field="student",
        )
    if memory is not None and memory > torch.cuda.mem_get_info(device)[1]:
        raise _too_large(recipe, rows[picked[0]], len(picked), f"{format_bytes(memory)} with AdamW's moments")
    return Rehearsal(len(picked), rows[picked[0]].tokens, value, memory, time.monotonic() - began_s)


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an error says that memory was short, of a GPU or of the machine.

    Args:
        error: What was raised.

    Returns:
        True for torch's error, Python's, and what torch's CPU allocator raises.
    """
    return isinstance(error, torch.OutOfMemoryError | MemoryError) or "allocate memory" in str(error)


def _refusal(error: Exception, recipe: Recipe, longest: RenderedRow, rows: int) -> UserError:
    if is_out_of_memory(error):
        return _too_large(recipe, longest, rows, typed_line(error))
    return UserError(
        f"{recipe.student}: does not take the {rows} longest rows ({longest.row.where} is the longest; {typed_line(error)}); "
        "nothing was trained; choose another student",
        field="student",
    )


def _too_large(recipe: Recipe, longest: RenderedRow, rows: int, why: str) -> UserError:
    return UserError(
        f"{recipe.batch}: the {rows} longest rows, of up to {longest.tokens:,} tokens, do not fit in memory ({why}); nothing "
        f"was trained; give fewer, with more {setting('accumulate')}, or {setting('checkpointing')}, or cap the images "
        f"with {setting('max_pixels')}",
        field="batch",
    )
