"""The merged model: where there is room to make it, how it is written, and that it says what the adapter says."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from peft import PeftModel
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from transformers import AutoModelForImageTextToText
from transformers.utils import cached_file

from unsaf_async.distill.train.early import resolve
from unsaf_async.distill.train.student import free_bytes, load
from unsaf_async.errors import UserError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from transformers import PreTrainedModel, ProcessorMixin

    from unsaf_async.distill.train.recipe import Recipe
    from unsaf_async.distill.train.student import Outline

TOLERANCE = 1e-5
"""The largest difference of equal logits in single precision: a share of the largest logit, where it is above 1."""


@dataclass(frozen=True)
class Merged:
    """How the merged model compares with the adapter on the student, by the largest difference of two logits."""

    dtype: str
    """What was computed in."""
    adapter_effect: float
    """Of the adapter, against the student alone."""
    merge_error: float
    """Of merging."""
    reload_error: float
    """Of writing and reading, to what was written."""
    rounding: float
    """Of the written data type."""
    saved_dtype: str
    equal_names: int
    """Tensors that have the name that the student's files give them."""
    other_names: tuple[str, ...]
    """Tensors that have not, which some servers may not find."""


def merge_place(outline: Outline, free: Mapping[str, int]) -> tuple[str, torch.dtype] | None:
    """Where the adapter is merged, and in what data type.

    Single precision takes 10 bytes a parameter, with what writing and reading back need on top of the weights; the
    student's own data type a quarter more than its weights.

    Args:
        outline: The student's sizes.
        free: Free bytes by device, the one that is wished for first.

    Returns:
        The first device with room, and single precision or the student's own; None: none has room.
    """
    for device, room in free.items():
        if outline.parameters * 10 < room:
            return device, torch.float32
        if merge_bytes(outline) < room:
            return device, outline.dtype
    return None


def merge_bytes(outline: Outline) -> int:
    """The least memory in which an adapter can be merged.

    Args:
        outline: The student's sizes.

    Returns:
        Bytes.
    """
    return int(outline.parameters * outline.dtype.itemsize * 1.25)


def free_for_merge(device: torch.device) -> dict[str, int]:
    """Free memory where an adapter can be merged.

    Args:
        device: The one that is trained on.

    Returns:
        Bytes by device, that one first, and the CPU.
    """
    cpu = torch.device("cpu")
    return {str(device): free_bytes(device), "cpu": free_bytes(cpu)}


def merge(
    recipe: Recipe,
    outline: Outline,
    processor: ProcessorMixin,
    adapter: Path,
    folder: Path,
    batch: Mapping[str, torch.Tensor],
    place: tuple[str, torch.dtype],
) -> Merged:
    """Merges an adapter into the student, writes the result, and compares logits.

    The weights are saved in the data type of the student's files.

    Args:
        recipe: Names the student.
        outline: Its layers and sizes.
        processor: The student's, which is saved, too.
        adapter: The folder of the adapter.
        folder: Where the merged model goes.
        batch: Rows on which logits are compared.
        place: Where they are computed, and in what: see `merge_place`.

    Returns:
        How the merged model compares with the adapter on the student.

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
    _cast(model, outline.dtype)
    equal, other = _save(model, processor, folder, recipe)
    _cast(model, dtype)
    rounded = _logits(model, batch)
    del model
    how = {} if recipe.attention is None else {"attn_implementation": recipe.attention}
    again = AutoModelForImageTextToText.from_pretrained(folder, dtype=dtype, **how).to(device)
    reloaded = _logits(again, batch)
    result = Merged(
        dtype=_name(dtype),
        adapter_effect=_largest_difference(alone, adapted),
        merge_error=_largest_difference(adapted, merged),
        reload_error=_largest_difference(rounded, reloaded),
        rounding=_largest_difference(merged, rounded),
        saved_dtype=_name(outline.dtype),
        equal_names=equal,
        other_names=other,
    )
    worst = max(result.merge_error, result.reload_error)
    if dtype == torch.float32 and not worst <= TOLERANCE * max(1.0, float(adapted.abs().max())):
        raise UserError(
            f"{folder}: its logits differ by {worst:.2g} from those of the adapter; use the adapter, and report this"
        )
    return result


def _save(
    model: PreTrainedModel, processor: ProcessorMixin, folder: Path, recipe: Recipe
) -> tuple[int, tuple[str, ...]]:
    """Writes the model, with the names of its tensors as `_source_names` gives and returns them."""
    folder.mkdir(parents=True, exist_ok=True)
    model.save_pretrained(folder)
    processor.save_pretrained(folder)
    return _source_names(folder, _shapes(resolve(recipe.student), recipe.revision))


def _cast(model: torch.nn.Module, dtype: torch.dtype) -> None:
    """Casts parameters alone: no file holds buffers such as the rotary frequencies, so nobody has them rounded."""
    for weight in model.parameters():
        weight.data = weight.data.to(dtype)


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


def _name(dtype: torch.dtype) -> str:
    return str(dtype).removeprefix("torch.")


def _source_names(folder: Path, known: Mapping[str, tuple[int, ...]]) -> tuple[int, tuple[str, ...]]:
    """Gives the tensors in `folder` the names that they have in the student's files: how many have, and which have not.

    transformers renames on reading, and not always back on writing: it drops a level of CLIP's names that vLLM wants. A
    name stands for another if its parts are the other's with one or more left out, and the shape is the same.
    """
    files = sorted(folder.glob("*.safetensors"))
    if not known:
        return 0, ()
    written = {name: shape for file in files for name, shape in _header(file).items()}
    free = {name: shape for name, shape in known.items() if name not in written}
    renamed: dict[str, str] = {}
    for name, shape in written.items():
        if name not in known:
            fits = [old for old, its in free.items() if its == shape and _within(name.split("."), old.split("."))]
            if len(fits) == 1:
                renamed[name] = fits[0]
                del free[fits[0]]
    if renamed:
        for file in files:
            with safe_open(file, "pt") as opened:
                metadata = opened.metadata()
            tensors = {renamed.get(name, name): tensor for name, tensor in load_file(file).items()}
            save_file(tensors, file, metadata=metadata or {"format": "pt"})
            file.chmod(0o644)
        index = folder / "model.safetensors.index.json"
        if index.is_file():
            content = json.loads(index.read_text("utf-8"))
            content["weight_map"] = {renamed.get(name, name): file for name, file in content["weight_map"].items()}
            index.write_text(json.dumps(content, indent=2) + "\n", "utf-8")
    names = [renamed.get(name, name) for name in written]
    return sum(name in known for name in names), tuple(name for name in names if name not in known)


def _within(short: Sequence[str], long: Sequence[str]) -> bool:
    rest = iter(long)
    return all(part in rest for part in short)


def _shapes(source: str, revision: str | None) -> dict[str, tuple[int, ...]]:
    """Names and shapes in the safetensors files of a folder or of the hub's cache; {} where there are none."""
    if Path(source).is_dir():
        files = sorted(Path(source).glob("*.safetensors"))
    else:
        options = {"revision": revision, "_raise_exceptions_for_missing_entries": False}
        index = cached_file(source, "model.safetensors.index.json", **options)
        one = index or cached_file(source, "model.safetensors", **options)
        files = sorted(Path(one).parent.glob("*.safetensors")) if one else []
    return {name: shape for file in files for name, shape in _header(file).items()}


def _header(file: Path) -> dict[str, tuple[int, ...]]:
    with safe_open(file, "pt") as opened:
        return {name: tuple(opened.get_slice(name).get_shape()) for name in opened.keys()}  # noqa: SIM118
