"""Whether there is room for a training: on the disk, and in memory for the training and for the merge after it."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING

from unsaf_async.distill.train.merge_check import place_to_compare
from unsaf_async.distill.train.merging import merge_bytes
from unsaf_async.distill.train.student_files import student_files
from unsaf_async.errors import UserError, setting
from unsaf_async.text import format_bytes

if TYPE_CHECKING:
    from collections.abc import Mapping

    from unsaf_async.distill.train.recipe import Recipe
    from unsaf_async.distill.train.student import Outline


def check_disk(recipe: Recipe, outline: Outline) -> tuple[int, int]:
    """Checks the disk.

    A checkpoint is the adapter with AdamW's two moments, in single precision; at most three are there at a time.

    Args:
        recipe: What is trained.
        outline: The student without its weights.

    Returns:
        (bytes that will be written, bytes that are free).

    Raises:
        UserError: They are not enough.
    """
    adapter = 4 * outline.learned
    stages = 2 if recipe.dpo else 1
    needed = stages * (3 * 3 * adapter + adapter) + (outline.parameters * outline.dtype.itemsize if recipe.merge else 0)
    folder = next(path for path in (recipe.out, *recipe.out.absolute().parents) if path.exists())
    free = shutil.disk_usage(folder).free
    if needed > free:
        less = f"train with {setting('merge', False)}, or " if recipe.merge else ""
        raise UserError(
            f"{recipe.out}: {format_bytes(needed)} will be written and {format_bytes(free)} are free; make room, or "
            f"{less}give another folder",
            field="out",
        )
    return needed, free


def check_memory(
    recipe: Recipe, outline: Outline, longest: int, free_bytes: int, *, weight_bytes: int, pairs: bool
) -> tuple[bool, dict[str, int]]:
    """Checks the memory, by a crude estimate: no fit is promised.

    Weights: 4 bytes a parameter, 2 in bfloat16, half a byte and its constants in 4 bits. Adapter: weight, gradient and
    two moments, 16 bytes a parameter. Activations: 34 bytes for each token, layer and unit of width, twice that in
    single precision, without attention scores, which are not kept (Korthikanti et al., "Reducing activation
    recomputation in large transformer models", 2022, equation 1), plus the logits; where they are computed again, one
    number each, and one whole layer.

    Args:
        recipe: What is trained.
        outline: The student without its weights.
        longest: Tokens of the longest sequence.
        free_bytes: The device's free memory.
        weight_bytes: Of a number in the data type of the training: 4 in single precision, 2 in bfloat16.
        pairs: Whether preference pairs are trained on, too.

    Returns:
        (whether activations are computed again, the estimate in bytes by part).

    Raises:
        UserError: The weights and the adapter alone do not fit.
    """
    width = weight_bytes
    quantized = outline.in_targets if recipe.qlora else 0
    certain = {
        "weights": int((outline.parameters - quantized) * width + quantized * 0.53),
        "adapter": 16 * outline.learned,
    }
    if sum(certain.values()) > free_bytes:
        less = "" if recipe.qlora else f"train with {setting('qlora')}, or "
        raise UserError(
            f"{recipe.student}: its weights and the adapter take {format_bytes(sum(certain.values()))}, and "
            f"{format_bytes(free_bytes)} of memory are free; {less}choose a smaller student",
            field="student",
        )
    tokens = recipe.batch * longest * (2 if pairs else 1)
    layer = 34 * tokens * outline.hidden * width // 2
    logits = 2 * 4 * tokens * outline.vocabulary
    kept = outline.layers * layer + logits
    again = outline.layers * tokens * outline.hidden * width + layer + logits
    checkpointing = recipe.checkpointing
    if checkpointing is None:
        checkpointing = sum(certain.values()) + kept > free_bytes
    return checkpointing, certain | {"activations": again if checkpointing else kept}


def check_merge(recipe: Recipe, outline: Outline, free: Mapping[str, int]) -> str | None:
    """Checks that the adapter can be merged: there is memory, and every adapted weight is in the student's files.

    Of a student that is not on this machine yet, the files are looked at once it is.

    Args:
        recipe: Whether it is merged.
        outline: The student without its weights.
        free: Free bytes by device, the one that is wished for first; "cpu" is among them.

    Returns:
        The device on which the merged model will be compared with the adapter; None: it is not merged, or none has room
        for the whole student, and it is written without a comparison.

    Raises:
        UserError: There is no room to merge in, or the files are of no use for it.
    """
    if not recipe.merge:
        return None
    if merge_bytes(outline) > free["cpu"]:
        raise UserError(
            f"{recipe.student}: merging takes {format_bytes(merge_bytes(outline))} of memory, and "
            f"{format_bytes(free['cpu'])} are free; train with {setting('merge', False)}, and merge on a larger machine",
            field="student",
        )
    if files := student_files(recipe, outline):
        files.check()
    place = place_to_compare(outline, free)
    return None if place is None else place[0]
