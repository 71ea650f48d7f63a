"""A LoRA adapter for the tiny model, random and always the same: to be served by name, and merged into the weights to compare."""

from __future__ import annotations

import json
import shutil
from typing import TYPE_CHECKING, Any

import numpy as np
from real_vllm.server import TINY
from safetensors.numpy import load_file, save_file

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

RANK = 4
ALPHA = 8
SPREAD = 0.4
"""Of the random weights: so large that it changes every reply."""
TARGETS = ("q_proj", "v_proj")

Weights = dict[str, "NDArray[Any]"]


def write_adapter(folder: Path) -> None:
    """The adapter in PEFT's format, in the new folder `folder`."""
    folder.mkdir(parents=True)
    weights = {
        f"base_model.model.{module}.lora_{side}.weight": factor
        for module, (a, b) in _factors().items()
        for side, factor in (("A", a), ("B", b))
    }
    save_file(weights, folder / "adapter_model.safetensors", metadata={"format": "pt"})
    config = {
        "peft_type": "LORA",
        "task_type": "CAUSAL_LM",
        "base_model_name_or_path": TINY.name,
        "r": RANK,
        "lora_alpha": ALPHA,
        "lora_dropout": 0.0,
        "target_modules": TARGETS,
        "bias": "none",
        "inference_mode": True,
    }
    (folder / "adapter_config.json").write_text(json.dumps(config))


def write_merged(folder: Path) -> None:
    """The tiny model with the adapter added to its weights, in the new folder `folder`: W + alpha / r * B A."""
    shutil.copytree(TINY, folder)
    # float32: the sum is not to be rounded to the float16 in which the model is kept
    weights: Weights = {
        name: weight.astype(np.float32) for name, weight in load_file(TINY / "model.safetensors").items()
    }
    for module, (a, b) in _factors().items():
        weights[_saved_as(module)] += ALPHA / RANK * b @ a
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})


def _factors() -> dict[str, tuple[NDArray[np.float32], NDArray[np.float32]]]:
    """A (rank x in) and B (out x rank) by the adapted module's name as transformers has it."""
    layers = json.loads((TINY / "config.json").read_text())["text_config"]["num_hidden_layers"]
    weights = load_file(TINY / "model.safetensors")
    rng = np.random.default_rng(0)
    factors = {}
    for layer in range(layers):
        for target in TARGETS:
            module = f"model.language_model.layers.{layer}.self_attn.{target}"
            outputs, inputs = weights[_saved_as(module)].shape
            a, b = (rng.normal(0, SPREAD, shape).astype(np.float32) for shape in ((RANK, inputs), (outputs, RANK)))
            factors[module] = a, b
    return factors


def _saved_as(module: str) -> str:
    """The name under which the file of weights keeps `module`'s."""
    return module.replace("model.language_model.", "language_model.model.", 1) + ".weight"
