"""The model that is trained: it is opened and inspected, what of it learns, and how it is saved and checked."""

from __future__ import annotations

import re
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx
import torch
from accelerate import PartialState
from huggingface_hub import HfApi, try_to_load_from_cache
from peft import LoraConfig, PeftModel
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from transformers import AutoConfig, AutoModelForImageTextToText, AutoProcessor, BitsAndBytesConfig, PretrainedConfig
from transformers.utils import cached_file

from unsaf_async.distill.train.early import check_family, resolve
from unsaf_async.distill.train.pixel_cap import set_pixel_cap
from unsaf_async.errors import UserError, setting
from unsaf_async.text import first_line

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from transformers import PreTrainedModel, ProcessorMixin

    from unsaf_async.distill.train.recipe import Recipe

_HUB_TIMEOUT_S = 10
_NEEDED_BY_SOME = ("torchvision", "num2words")
"""Packages that some students' processors need: Qwen-VL's videos the first, SmolVLM's the second."""
TOLERANCE = 1e-5
"""The largest difference of equal logits in single precision: a share of the largest logit, where it is above 1."""

_SEES = re.compile(r"(?:^|\.)[^.]*(?:vision|visual|image|projector|connector|merger|audio|perceiver)[^.]*(?:\.|$)")
"""Modules through which a model sees or hears, and those that lead from there to its language model."""


def _check_hub(student: str) -> None:
    """Raises UserError if the hub's model is neither in the cache nor available. Asks once: the library tries long."""
    try:
        if not isinstance(try_to_load_from_cache(student, "config.json"), str):
            HfApi().model_info(student, timeout=_HUB_TIMEOUT_S)
    except (httpx.HTTPError, OSError, ValueError) as error:
        raise UserError(
            f"{student}: cannot be opened: it is no folder, and the hub does not give it ({first_line(error, 200)}); "
            "check the name",
            field="student",
        ) from None


def _model_type(source: str) -> str | None:
    """As the configuration has it; None: it cannot be read, which is told when the model is opened."""
    try:
        model_type: str | None = PretrainedConfig.get_config_dict(source)[0].get("model_type")
    except (OSError, ValueError):
        return None
    return model_type


def open_processor(recipe: Recipe) -> ProcessorMixin:
    """The student's own processor, with the cap on pixels that is asked for.

    Args:
        recipe: Names the student and the cap.

    Returns:
        A processor with a chat template and a pad token.

    Raises:
        UserError: Its family is not trained; there is none that takes images, or no chat template; or it takes no cap.
    """
    source, student = resolve(recipe.student), recipe.student
    if not Path(source).exists():
        _check_hub(source)
    check_family(student, _model_type(source))
    try:
        processor = AutoProcessor.from_pretrained(source)
    except (OSError, ValueError, ImportError, KeyError) as error:
        needed = next(
            (name for name in _NEEDED_BY_SOME if isinstance(error, ImportError) and name in str(error).lower()), None
        )
        if needed:
            raise UserError(
                f"{student}: its processor needs {needed}, which is not installed; pip install {needed}",
                field="student",
            ) from None
        raise UserError(
            f"{student}: its processor cannot be opened ({first_line(error, 200)}); "
            "give a model with a processor (preprocessor_config.json or processor_config.json, and a tokenizer)",
            field="student",
        ) from None
    if not hasattr(processor, "image_processor") or not hasattr(processor, "tokenizer"):
        raise UserError(
            f"{student}: has a {type(processor).__name__} and no processor of images; give a model that takes images",
            field="student",
        )
    if not processor.chat_template:
        processor.chat_template = processor.tokenizer.chat_template
    if not processor.chat_template:
        raise UserError(
            f"{student}: has no chat template; give an instruction-tuned model, or add a chat_template.jinja to it",
            field="student",
        )
    if processor.tokenizer.pad_token is None:
        if processor.tokenizer.eos_token is None:
            raise UserError(
                f"{student}: its tokenizer has no pad and no end token; give it one of them", field="student"
            )
        processor.tokenizer.pad_token = processor.tokenizer.eos_token
    if recipe.max_pixels is not None:
        set_pixel_cap(processor, recipe.max_pixels, student)
    return processor


# --- what it is, before its weights are read --------------------------------------------------------------------------


@dataclass(frozen=True)
class Outline:
    """A student without its weights."""

    config: PretrainedConfig
    dtype: torch.dtype
    """Of the weights in the student's files."""
    targets: tuple[str, ...]
    """The linear layers that get a LoRA, by full name."""
    others: tuple[str, ...]
    """All other linear layers."""
    parameters: int
    """Of the student."""
    learned: int
    """Parameters of the LoRA."""
    in_targets: int
    """Parameters of the layers that the LoRA is added to."""
    context_tokens: int | None
    """None: the configuration names no limit."""
    layers: int
    hidden: int
    vocabulary: int


def read_outline(recipe: Recipe) -> Outline:
    """A student by its configuration, without its weights.

    Args:
        recipe: Names the student and the adapter's rank.

    Returns:
        Its layers and sizes.

    Raises:
        UserError: It is no model of images and text.
    """
    source, student = resolve(recipe.student), recipe.student
    try:
        config = AutoConfig.from_pretrained(source)
        with torch.device("meta"):
            model = AutoModelForImageTextToText.from_config(config)
    except (OSError, ValueError, ImportError, KeyError) as error:
        raise UserError(
            f"{student}: cannot be opened as a model of images and text ({first_line(error, 200)}); "
            "give a folder that save_pretrained wrote, a shipped tiny model's name, or a hub id",
            field="student",
        ) from None
    targets = language_targets(model)
    linear = {name: module for name, module in model.named_modules() if isinstance(module, torch.nn.Linear)}
    text = config.get_text_config()
    return Outline(
        config=config,
        dtype=_dtype(config),
        targets=targets,
        others=tuple(name for name in linear if name not in set(targets)),
        parameters=sum(weight.numel() for weight in model.parameters()),
        learned=recipe.lora_r * sum(linear[name].in_features + linear[name].out_features for name in targets),
        in_targets=sum(linear[name].weight.numel() for name in targets),
        context_tokens=getattr(text, "max_position_embeddings", None),
        layers=text.num_hidden_layers,
        hidden=text.hidden_size,
        vocabulary=text.vocab_size,
    )


def _dtype(config: PretrainedConfig) -> torch.dtype:
    dtype = config.dtype or getattr(config.get_text_config(), "dtype", None)
    dtype = getattr(torch, dtype) if isinstance(dtype, str) else dtype
    return dtype or torch.float32


def language_targets(model: PreTrainedModel) -> tuple[str, ...]:
    """The linear layers of the language model.

    They are those below the nearest module above the word embeddings that has any: never the output layer, nor anything
    through which the model sees.

    Args:
        model: The student.

    Returns:
        Their full names, one at least.

    Raises:
        UserError: There is none.
    """
    words = model.get_input_embeddings()
    output = model.get_output_embeddings()
    at = next((name for name, module in model.named_modules() if module is words), "")
    while at:
        at = at.rpartition(".")[0]
        targets = tuple(
            name
            for name, module in model.named_modules()
            if isinstance(module, torch.nn.Linear)
            and module is not output
            and (not at or name.startswith(f"{at}."))
            and not _SEES.search(name)
        )
        if targets:
            return targets
    raise UserError(
        f": no linear layer was found in the language model of {type(model).__name__}, so there is nothing to adapt; "
        "choose another student",
        field="student",
    )


# --- its weights ------------------------------------------------------------------------------------------------------


def load(recipe: Recipe, outline: Outline, dtype: torch.dtype, *, quantized: bool = False) -> PreTrainedModel:
    """The student with its weights.

    Args:
        recipe: Names the student.
        outline: Its layers.
        dtype: The weights' data type.
        quantized: Whether the linear layers of the language model are in 4 bits.

    Returns:
        The model.

    Raises:
        UserError: That cannot be, or anything else came out in 4 bits.
    """
    options: dict[str, Any] = {}
    if quantized:
        if _bitsandbytes() is None:
            raise UserError(
                f": bitsandbytes is not installed; pip install bitsandbytes, or leave {setting('qlora')} out",
                field="qlora",
            )
        options["quantization_config"] = BitsAndBytesConfig(
            load_in_4bit=True,
            bnb_4bit_quant_type="nf4",
            bnb_4bit_use_double_quant=True,
            bnb_4bit_compute_dtype=dtype,
            # patterns match from the start of a full name: an unanchored "vision_tower" would skip nothing
            llm_int8_skip_modules=[rf"{re.escape(name)}$" for name in outline.others],
        )
        options["device_map"] = {"": PartialState().device}
    try:
        model = AutoModelForImageTextToText.from_pretrained(resolve(recipe.student), dtype=dtype, **options)
    except OSError as error:
        raise UserError(
            f"{recipe.student}: its weights cannot be read ({first_line(error, 200)})", field="student"
        ) from None
    if quantized:
        wrong = [name for name in four_bit(model) if name not in outline.targets]
        if wrong:
            raise UserError(
                f": {wrong[0]} came out in 4 bits and is to stay as it is; train without {setting('qlora')}",
                field="qlora",
            )
    return model


def _bitsandbytes() -> Any:
    try:
        import bitsandbytes
    except ImportError:
        return None
    return bitsandbytes


def four_bit(model: torch.nn.Module) -> list[str]:
    """The layers with weights in 4 bits.

    Args:
        model: Any model.

    Returns:
        Their full names.
    """
    return [name for name, module in model.named_modules() if type(module).__name__ == "Linear4bit"]


def lora(recipe: Recipe, outline: Outline) -> LoraConfig:
    """The adapter's configuration.

    Args:
        recipe: Rank, scale and dropout.
        outline: The layers that it is added to, by their full names.

    Returns:
        The configuration for PEFT.
    """
    return LoraConfig(
        r=recipe.lora_r,
        lora_alpha=recipe.lora_alpha,
        lora_dropout=recipe.lora_dropout,
        bias="none",
        task_type="CAUSAL_LM",
        target_modules=list(outline.targets),
    )


def check_trainable(model: PeftModel, outline: Outline) -> int:
    """Checks that the adapter alone learns.

    Args:
        model: The student with its adapter.
        outline: The layers that the adapter is added to.

    Returns:
        How many parameters learn, > 0.

    Raises:
        UserError: A parameter learns that is not the adapter's, or none does.
    """
    learned = {name: weight for name, weight in model.named_parameters() if weight.requires_grad}
    allowed = tuple(f"base_model.model.{name}.lora_" for name in outline.targets)
    wrong = [name for name in learned if not name.startswith(allowed)]
    if wrong or not learned:
        what = f"{wrong[0]} would be trained" if wrong else "nothing would be trained"
        raise UserError(
            f": {what}, and only the language model's adapter is to be; please report this model", field="student"
        )
    return sum(weight.numel() for weight in learned.values())


def frozen_sha256(model: torch.nn.Module) -> str:
    """The hash of all that is not the LoRA's: every parameter and buffer of vision tower, projector and language model.

    Args:
        model: The student, with or without its adapter.

    Returns:
        64 hexadecimal digits.
    """
    # not the constants of 4-bit weights, which bitsandbytes stores in another form, and rounds, whenever a CPU evaluates
    names = {name for name, _ in (*model.named_parameters(), *model.named_buffers()) if ".lora_" not in name}
    digest = sha256()
    for name, tensor in sorted(model.state_dict().items()):
        if name in names:
            digest.update(name.encode())
            digest.update(tensor.detach().contiguous().view(-1).view(torch.uint8).cpu().numpy().data)
    return digest.hexdigest()


def check_frozen(before: str, model: torch.nn.Module) -> None:
    """Checks that nothing outside the adapter has changed.

    Args:
        before: The model's `frozen_sha256` before the training.
        model: The model after it.

    Raises:
        UserError: A parameter has changed.
    """
    if frozen_sha256(model) != before:
        raise UserError(
            ": a frozen parameter has changed in training; nothing was saved; please report this model", field="student"
        )


# --- saved ------------------------------------------------------------------------------------------------------------


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
    equal, other = _save(model, processor, folder, resolve(recipe.student))
    _cast(model, dtype)
    rounded = _logits(model, batch)
    del model
    again = AutoModelForImageTextToText.from_pretrained(folder, dtype=dtype).to(device)
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


def _save(model: PreTrainedModel, processor: ProcessorMixin, folder: Path, source: str) -> tuple[int, tuple[str, ...]]:
    """Writes the model, with the names of its tensors as `_source_names` gives and returns them."""
    folder.mkdir(parents=True, exist_ok=True)
    model.save_pretrained(folder)
    processor.save_pretrained(folder)
    return _source_names(folder, source)


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


def _source_names(folder: Path, source: str) -> tuple[int, tuple[str, ...]]:
    """Gives the tensors in `folder` the names that they have in the student's files: how many have, and which have not.

    transformers renames on reading, and not always back on writing: it drops a level of CLIP's names that vLLM wants. A
    name stands for another if its parts are the other's with one or more left out, and the shape is the same.
    """
    known = _shapes(source)
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
            import json

            content = json.loads(index.read_text("utf-8"))
            content["weight_map"] = {renamed.get(name, name): file for name, file in content["weight_map"].items()}
            index.write_text(json.dumps(content, indent=2) + "\n", "utf-8")
    names = [renamed.get(name, name) for name in written]
    return sum(name in known for name in names), tuple(name for name in names if name not in known)


def _within(short: Sequence[str], long: Sequence[str]) -> bool:
    rest = iter(long)
    return all(part in rest for part in short)


def _shapes(source: str) -> dict[str, tuple[int, ...]]:
    """Names and shapes in the safetensors files of a folder or of the hub's cache; {} where there are none."""
    if Path(source).is_dir():
        files = sorted(Path(source).glob("*.safetensors"))
    else:
        index = cached_file(source, "model.safetensors.index.json", _raise_exceptions_for_missing_entries=False)
        one = index or cached_file(source, "model.safetensors", _raise_exceptions_for_missing_entries=False)
        files = sorted(Path(one).parent.glob("*.safetensors")) if one else []
    return {name: shape for file in files for name, shape in _header(file).items()}


def _header(file: Path) -> dict[str, tuple[int, ...]]:
    with safe_open(file, "pt") as opened:
        return {name: tuple(opened.get_slice(name).get_shape()) for name in opened.keys()}  # noqa: SIM118


def free_bytes(device: torch.device) -> int:
    """Free memory.

    Args:
        device: A GPU or the CPU.

    Returns:
        Bytes.
    """
    if device.type == "cuda":
        return int(torch.cuda.mem_get_info(device)[0])
    import psutil

    return int(psutil.virtual_memory().available)
