"""The merged model: a copy of the student's files, in which the adapted weights alone are others.

One weight at a time is read, merged by PEFT in single precision, rounded to the data type that it had, and written to its
place. So the memory that merging takes does not grow with the model, and a student that was trained in 4 bits is merged
from its own files. Names, data types and all that is not adapted are the student's, bit for bit.
"""

from __future__ import annotations

import json
import shutil
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from peft import PeftConfig, get_peft_model, load_peft_weights, set_peft_model_state_dict
from peft.tuners.lora import LoraLayer

from unsaf_async.distill.train.student_files import INDEX, on_meta
from unsaf_async.errors import UserError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from peft import PeftModel
    from transformers import ProcessorMixin

    from unsaf_async.distill.train.student import Outline
    from unsaf_async.distill.train.student_files import StudentFiles

_BESIDE = ("config.json", "generation_config.json", INDEX)
"""Files beside the weights that are the merged model's, too."""


@dataclass(frozen=True)
class Written:
    """What was written of the merged model."""

    weights: int
    """Those that are others than the student's."""
    dtypes: tuple[str, ...]
    """Of these, as they are stored."""


def merge_bytes(outline: Outline) -> int:
    """The memory that merging takes on the CPU: twice the adapter, and five times the largest weight that is adapted.

    The weight in single precision, what is added to it, their sum, the product that DoRA takes and the bytes that are
    written.

    Args:
        outline: The student's sizes.

    Returns:
        Bytes.
    """
    return 4 * (2 * outline.learned + 5 * outline.largest)


def merge(files: StudentFiles, processor: ProcessorMixin, adapter: Path, folder: Path) -> Written:
    """Merges an adapter into the student's weights, and writes the whole model.

    `folder` appears when it is whole: until then its name ends in ".part".

    Args:
        files: The student's weights.
        processor: The student's, which is saved, too.
        adapter: The folder of the adapter.
        folder: Where the merged model goes; what is there is replaced.

    Returns:
        What was written.

    Raises:
        UserError: The adapter changes a weight that is not in the files, or cannot be written back.
    """
    files.check()
    part = folder.with_name(f"{folder.name}.part")
    for old in (part, folder):
        shutil.rmtree(old, ignore_errors=True)
    part.mkdir(parents=True)
    try:
        for file in files.files:
            shutil.copyfile(file, part / file.name)
        merged = [_merge(files, name, layer, part) for name, layer in _layers(files.outline, adapter)]
        for name in _BESIDE:
            if (beside := files.files[0].parent / name).is_file():
                _copy_json(beside, part / name)
        processor.save_pretrained(part)
        part.rename(folder)
    finally:
        shutil.rmtree(part, ignore_errors=True)
    dtypes = files.dtypes()
    kinds = sorted({str(dtypes[name]).removeprefix("torch.") for name in merged})
    return Written(weights=len(merged), dtypes=tuple(kinds))


def _copy_json(source: Path, target: Path) -> None:
    """A copy without the folder in which somebody once had the model."""
    content = json.loads(source.read_text("utf-8"))
    content.pop("_name_or_path", None)
    target.write_text(json.dumps(content, indent=2, ensure_ascii=False) + "\n", "utf-8")


def _layers(outline: Outline, adapter: Path) -> Iterator[tuple[str, LoraLayer]]:
    """PEFT's layers with the adapter's weights, by the name of the parameter that each changes; there is none in them."""
    model = _adapted(outline, adapter)
    for at, layer in model.named_modules():
        if isinstance(layer, LoraLayer):
            module = at.removeprefix("base_model.model.").replace(".base_layer", "")
            yield f"{module}.{getattr(layer, 'parameter_name', 'weight')}", layer


def _adapted(outline: Outline, adapter: Path) -> PeftModel:
    """The student with the adapter, in which the adapter's weights alone take memory."""
    with torch.device("meta"):
        model = get_peft_model(on_meta(outline), PeftConfig.from_pretrained(adapter))
    for layer in model.modules():
        if isinstance(layer, LoraLayer):
            for name in layer.adapter_layer_names:
                if isinstance(holder := getattr(layer, name, None), torch.nn.Module):
                    holder.to_empty(device="cpu")
    loaded = set_peft_model_state_dict(model, load_peft_weights(str(adapter), device="cpu"))
    missing = [name for name in loaded.missing_keys if ".lora_" in name]
    if loaded.unexpected_keys or missing:
        raise UserError(f"{adapter}: does not fit the student: {[*loaded.unexpected_keys, *missing][0]}")
    return model


def _merge(files: StudentFiles, name: str, layer: LoraLayer, folder: Path) -> str:
    """One weight: from the student's files to their copy in `folder`; its name."""
    base, parameter = layer.get_base_layer(), name.rpartition(".")[2]
    empty = getattr(base, parameter)
    setattr(base, parameter, torch.nn.Parameter(files.read(name), requires_grad=False))
    with torch.no_grad():
        layer.merge()
    files.write(name, getattr(base, parameter).data, folder)
    setattr(base, parameter, empty)
    return name
