"""Whether the merged model says what the adapter says: logits of a few rows, where there is memory for the whole student."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from peft import PeftModel
from transformers import AutoModelForImageTextToText

from unsaf_async.distill.train.student import free_bytes, load
from unsaf_async.errors import UserError

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from unsaf_async.distill.train.recipe import Recipe
    from unsaf_async.distill.train.student import Outline

TOLERANCE = 1e-5
"""The largest difference of equal logits in single precision: a share of the largest logit, where it is above 1."""


@dataclass(frozen=True)
class Compared:
    """How the merged model compares with the adapter on the student, by the largest difference of two logits."""

    dtype: str
    """What was computed in."""
    adapter_effect: float
    """Of the adapter, against the student alone."""
    merge_error: float
    """Of merging, in the data type that was computed in."""
    rounding: float
    """Of the data types that the files have."""
    reload_error: float
    """Of the written model, against one that was merged in memory and rounded."""

    def line(self) -> str:
        """In words."""
        return (
            f"in {self.dtype}, logits differ by {self.merge_error:.1e} from the adapter's, by {self.rounding:.1e} for "
            f"rounding, by {self.reload_error:.1e} after writing and reading"
        )


def place_to_compare(outline: Outline, free: Mapping[str, int]) -> tuple[str, torch.dtype] | None:
    """Where the merged model is compared with the adapter, and in what data type.

    Single precision takes 10 bytes a parameter, with what PEFT and reading take on top of the weights; the student's own
    data type a quarter more than its weights.

    Args:
        outline: The student's sizes.
        free: Free bytes by device, the one that is wished for first.

    Returns:
        The first device with room, and single precision or the student's own; None: none has room.
    """
    for device, room in free.items():
        if outline.parameters * 10 < room:
            return device, torch.float32
        if comparing_bytes(outline) < room:
            return device, outline.dtype
    return None


def comparing_bytes(outline: Outline) -> int:
    """The least memory in which a merged model can be compared with its adapter.

    Args:
        outline: The student's sizes.

    Returns:
        Bytes.
    """
    return int(outline.parameters * outline.dtype.itemsize * 1.25)


def free_to_compare(device: torch.device) -> dict[str, int]:
    """Free memory where a merged model can be compared with its adapter.

    Args:
        device: The one that is trained on.

    Returns:
        Bytes by device, that one first, and the CPU.
    """
    return {str(each): free_bytes(each) for each in (device, torch.device("cpu"))}


def compare(
    recipe: Recipe,
    outline: Outline,
    adapter: Path,
    folder: Path,
    batch: Mapping[str, torch.Tensor],
    place: tuple[str, torch.dtype],
    stored: Mapping[str, torch.dtype],
) -> Compared:
    """Compares the logits of the written model with those of the adapter on the student.

    Args:
        recipe: Names the student.
        outline: Its layers and sizes.
        adapter: The folder of the adapter.
        folder: That of the merged model.
        batch: Rows on which logits are compared.
        place: Where they are computed, and in what: see `place_to_compare`.
        stored: The data types of the files, by a parameter's name in the model.

    Returns:
        How they compare.

    Raises:
        UserError: In single precision the logits differ by more than `TOLERANCE`.
    """
    device, dtype = place
    model = load(recipe, outline, dtype).to(device)
    alone = _logits(model, batch)
    model = PeftModel.from_pretrained(model, adapter)
    adapted = _logits(model, batch)
    model = model.merge_and_unload()
    merged = _logits(model, batch)
    _round(model, stored)
    rounded = _logits(model, batch)
    del model
    how = {} if recipe.attention is None else {"attn_implementation": recipe.attention}
    written = AutoModelForImageTextToText.from_pretrained(folder, dtype=dtype, **how).to(device)
    reloaded = _logits(written, batch)
    result = Compared(
        dtype=str(dtype).removeprefix("torch."),
        adapter_effect=_largest_difference(alone, adapted),
        merge_error=_largest_difference(adapted, merged),
        rounding=_largest_difference(merged, rounded),
        reload_error=_largest_difference(rounded, reloaded),
    )
    worst = max(result.merge_error, result.reload_error)
    if dtype == torch.float32 and not worst <= TOLERANCE * max(1.0, float(adapted.abs().max())):
        raise UserError(
            f"{folder}: its logits differ by {worst:.2g} from those of the adapter; use the adapter, and report this"
        )
    return result


def _round(model: torch.nn.Module, stored: Mapping[str, torch.dtype]) -> None:
    """Rounds parameters alone: no file holds buffers such as the rotary frequencies, so nobody has them rounded."""
    for name, weight in model.named_parameters():
        weight.data = weight.data.to(stored.get(name, weight.dtype)).to(weight.dtype)


def _logits(model: torch.nn.Module, batch: Mapping[str, torch.Tensor]) -> torch.Tensor:
    """Of the tokens of all rows, [tokens, vocabulary], in single precision."""
    model.eval()
    weight = next(model.parameters())
    inputs = {
        name: tensor.to(weight.device, weight.dtype if tensor.is_floating_point() else None)
        for name, tensor in batch.items()
        if name != "labels"
    }
    with torch.no_grad():
        logits: torch.Tensor = model(**inputs).logits.float().cpu()
    return logits[inputs["attention_mask"].bool().cpu()]


def _largest_difference(one: torch.Tensor, other: torch.Tensor) -> float:
    return float((one - other).abs().max())
