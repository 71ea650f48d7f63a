"""The model that is trained: it is opened, inspected and loaded, and what is frozen is hashed."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx
import torch
import transformers
from accelerate import PartialState
from huggingface_hub import HfApi, try_to_load_from_cache
from huggingface_hub.errors import OfflineModeIsEnabled, RevisionNotFoundError
from transformers import (
    CONFIG_MAPPING,
    AutoConfig,
    AutoModelForImageTextToText,
    AutoProcessor,
    BitsAndBytesConfig,
    PretrainedConfig,
)

from unsaf_async.distill.train.adapter import fused_experts, language_targets, learned_parameters
from unsaf_async.distill.train.early import check_family, resolve
from unsaf_async.distill.train.pixel_cap import set_pixel_cap
from unsaf_async.errors import UserError, setting
from unsaf_async.text import first_line

if TYPE_CHECKING:
    from transformers import PreTrainedModel, ProcessorMixin

    from unsaf_async.distill.train.recipe import Recipe

_HUB_TIMEOUT_S = 10
_NEEDED_BY_SOME = ("torchvision", "num2words", "timm")
"""Packages that some students need: Qwen-VL's videos the first, SmolVLM's processor the second, Gemma 3n's tower the third."""


def _check_hub(student: str, revision: str | None) -> None:
    """Raises UserError if the hub's model is neither in the cache nor available. Asks once: the library tries long."""
    try:
        if not isinstance(try_to_load_from_cache(student, "config.json", revision=revision), str):
            HfApi().model_info(student, revision=revision, timeout=_HUB_TIMEOUT_S)
    except OfflineModeIsEnabled:
        raise UserError(
            f"{student}: is no folder and not in the hub's cache, and the hub was not asked: HF_HUB_OFFLINE is set; unset "
            "it, or give a folder",
            field="student",
        ) from None
    except RevisionNotFoundError:
        raise UserError(f"{revision}: the hub has no such revision of {student}", field="revision") from None
    except (httpx.HTTPError, OSError, ValueError) as error:
        raise UserError(
            f"{student}: cannot be opened: it is no folder, and the hub does not give it ({first_line(error, 200)}); "
            "check the name",
            field="student",
        ) from None


def _read_config(source: str, revision: str | None = None) -> dict[str, Any]:
    """The configuration as it was written; {}: it cannot be read, which is told when the model is opened."""
    try:
        read: dict[str, Any] = PretrainedConfig.get_config_dict(source, revision=revision)[0]
    except (OSError, ValueError):
        return {}
    return read


def pin(recipe: Recipe) -> Recipe:
    """A recipe whose student is one revision of a model: what the hub calls `main` may be another one tomorrow.

    Args:
        recipe: Names the student, and perhaps a revision: a branch, a tag or a commit.

    Returns:
        The recipe with the commit that is now the student's; as it is, where the student is a folder.

    Raises:
        UserError: The hub does not give the model or has no such revision, or a folder was given one.
    """
    source = resolve(recipe.student)
    if Path(source).exists():
        if recipe.revision is not None:
            raise UserError(
                f"{recipe.revision}: {recipe.student} is a folder and has no revisions; leave it out", "revision"
            )
        return recipe
    _check_hub(source, recipe.revision)
    _read_config(source, recipe.revision)  # so that it is in the cache, whose folders are called by their commits
    cached = try_to_load_from_cache(source, "config.json", revision=recipe.revision)
    return replace(recipe, revision=Path(cached).parent.name) if isinstance(cached, str) else recipe


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
    config = _read_config(source, recipe.revision)
    check_family(student, config.get("model_type"))
    _check_known(student, config)
    try:
        processor = AutoProcessor.from_pretrained(source, revision=recipe.revision, trust_remote_code=False)
    except (OSError, ValueError, ImportError, KeyError) as error:
        _check_installed(student, error)
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


def _check_known(student: str, config: dict[str, Any]) -> None:
    """Raises UserError if transformers does not know the student: code that a model brings itself is never run."""
    kind = config.get("model_type")
    if kind is not None and kind not in CONFIG_MAPPING:
        way = (
            "it brings code of its own, which is not run here; give the same model in transformers' own form (of InternVL, "
            "the one whose name ends in -hf)"
            if "auto_map" in config
            else "choose another student"
        )
        raise UserError(
            f"{student}: is a {kind}, which transformers {transformers.__version__} does not know; {way}",
            field="student",
        )


def _check_installed(student: str, error: Exception) -> None:
    """Raises UserError if the error says that a package which only some students need is not installed."""
    named = str(error).lower() if isinstance(error, ImportError) else ""
    needed = next((name for name in _NEEDED_BY_SOME if name in named), None)
    if needed:
        raise UserError(
            f"{student}: needs {needed}, which is not installed; pip install {needed}", field="student"
        ) from None


# --- what it is, before its weights are read --------------------------------------------------------------------------


@dataclass(frozen=True)
class Outline:
    """A student without its weights."""

    config: PretrainedConfig
    dtype: torch.dtype
    """Of the weights in the student's files."""
    targets: tuple[str, ...]
    """The linear layers that get a LoRA, by full name."""
    experts: tuple[str, ...]
    """The fused weights of experts that get one."""
    others: tuple[str, ...]
    """All other linear layers."""
    parameters: int
    """Of the student."""
    learned: int
    """Parameters of the LoRA."""
    largest: int
    """Parameters of the largest weight that the LoRA is added to."""
    in_targets: int
    """Parameters of the linear layers that the LoRA is added to."""
    in_experts: int
    """Parameters of the language model's fused experts, whether they get a LoRA or not; 0: it has none."""
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
        config = AutoConfig.from_pretrained(source, revision=recipe.revision)
        with torch.device("meta"):
            model = AutoModelForImageTextToText.from_config(config)
    except (OSError, ValueError, ImportError, KeyError) as error:
        _check_installed(student, error)
        raise UserError(
            f"{student}: cannot be opened as a model of images and text ({first_line(error, 200)}); "
            "give a folder that save_pretrained wrote, a shipped tiny model's name, or a hub id",
            field="student",
        ) from None
    targets, fused = language_targets(model, recipe.lora_targets), fused_experts(model)
    if recipe.lora_experts and not fused:
        raise UserError(
            f": {student} has no experts whose weights are fused; its layers are adapted without; leave it out",
            field="lora_experts",
        )
    experts = fused if recipe.lora_experts else ()
    linear = {name: module for name, module in model.named_modules() if isinstance(module, torch.nn.Linear)}
    weights = dict(model.named_parameters())
    sizes = {name: (linear[name].in_features, linear[name].out_features) for name in targets}
    text = config.get_text_config()
    return Outline(
        config=config,
        dtype=_dtype(config),
        targets=targets,
        experts=experts,
        others=tuple(name for name in linear if name not in set(targets)),
        parameters=sum(weight.numel() for weight in model.parameters()),
        learned=learned_parameters(recipe, sizes, {name: tuple(weights[name].shape) for name in experts}),
        largest=max(weights[name].numel() for name in (*(f"{each}.weight" for each in targets), *experts)),
        in_targets=sum(linear[name].weight.numel() for name in targets),
        in_experts=sum(weights[name].numel() for name in fused),
        context_tokens=getattr(text, "max_position_embeddings", None),
        layers=text.num_hidden_layers,
        hidden=text.hidden_size,
        vocabulary=text.vocab_size,
    )


def _dtype(config: PretrainedConfig) -> torch.dtype:
    dtype = config.dtype or getattr(config.get_text_config(), "dtype", None)
    dtype = getattr(torch, dtype) if isinstance(dtype, str) else dtype
    return dtype or torch.float32


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
        UserError: The weights cannot be read, or something else came out in 4 bits.
    """
    options: dict[str, Any] = {} if recipe.attention is None else {"attn_implementation": recipe.attention}
    if quantized:
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
        model = AutoModelForImageTextToText.from_pretrained(
            resolve(recipe.student), revision=recipe.revision, dtype=dtype, **options
        )
    except (ImportError, ValueError) as error:
        if recipe.attention is None:
            raise
        raise UserError(
            f"{recipe.attention}: {recipe.student} cannot be computed so ({first_line(error, 200)}); give another, or leave "
            "it out",
            field="attention",
        ) from None
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


def four_bit(model: torch.nn.Module) -> list[str]:
    """The layers with weights in 4 bits.

    Args:
        model: Any model.

    Returns:
        Their full names.
    """
    return [name for name, module in model.named_modules() if type(module).__name__ == "Linear4bit"]


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
