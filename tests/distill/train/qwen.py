"""Tiny students of Qwen's families with random weights: Qwen2.5-VL, Qwen3-VL and its mixture of experts.

Their processors take videos, too, and so need torchvision.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from distill.train.families import save, template, text, tokenizer

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from transformers import PreTrainedTokenizerFast

MARKS = ("<|vision_start|>", "<|vision_end|>", "<|image_pad|>", "<|video_pad|>")
NAMED = {
    "vision_bos_token": "<|vision_start|>",
    "vision_eos_token": "<|vision_end|>",
    "image_token": "<|image_pad|>",
    "video_token": "<|video_pad|>",
}
SHOWN = "<|vision_start|><|image_pad|><|vision_end|>"
ROPE = {"rope_type": "default", "rope_theta": 10000.0, "mrope_section": [4, 6, 6]}


def _ids(tok: PreTrainedTokenizerFast) -> dict[str, int]:
    names = ("vision_start", "vision_end", "image", "video")
    return {f"{name}_token_id": tok.convert_tokens_to_ids(mark) for name, mark in zip(names, MARKS, strict=True)}


def _images(patch: int) -> Any:
    from transformers.models.qwen2_vl.image_processing_pil_qwen2_vl import Qwen2VLImageProcessorPil

    # four tokens of a picture of 4 x 4 patches: the real least size would make a picture 16 times as long
    size = {"shortest_edge": (4 * patch) ** 2, "longest_edge": (8 * patch) ** 2}
    return Qwen2VLImageProcessorPil(patch_size=patch, size=size)


def qwen2_5_vl(folder: Path, **of_template: Any) -> Path:
    """Qwen2.5-VL: the structure of the 7B model (untied words, windowed vision tower, biased attention), two layers."""
    from transformers import Qwen2_5_VLConfig, Qwen2_5_VLForConditionalGeneration, Qwen2_5_VLProcessor
    from transformers.models.qwen2_vl.video_processing_qwen2_vl import Qwen2VLVideoProcessor

    torch.manual_seed(0)
    tok = tokenizer(*MARKS, named=NAMED)
    config = Qwen2_5_VLConfig(
        text_config={**text(tok), "rope_parameters": ROPE},
        vision_config={
            "depth": 2,
            "hidden_size": 64,
            "intermediate_size": 128,
            "num_heads": 2,
            "out_hidden_size": 64,
            "fullatt_block_indexes": [1],
        },
        tie_word_embeddings=False,
        **_ids(tok),
    )
    shown = template(SHOWN, **of_template)
    processor = Qwen2_5_VLProcessor(_images(14), tok, Qwen2VLVideoProcessor(), chat_template=shown)
    return save(Qwen2_5_VLForConditionalGeneration(config), processor, tok, folder)


def _vision3() -> dict[str, Any]:
    return {
        "depth": 2,
        "hidden_size": 64,
        "intermediate_size": 128,
        "num_heads": 2,
        "out_hidden_size": 64,
        "num_position_embeddings": 64,
        "deepstack_visual_indexes": [0],
    }


def _processor3(tok: PreTrainedTokenizerFast, **of_template: Any) -> Any:
    from transformers import Qwen3VLProcessor
    from transformers.models.qwen3_vl.video_processing_qwen3_vl import Qwen3VLVideoProcessor

    return Qwen3VLProcessor(_images(16), tok, Qwen3VLVideoProcessor(), chat_template=template(SHOWN, **of_template))


def qwen3_vl(folder: Path, **of_template: Any) -> Path:
    """Qwen3-VL: what its tower sees enters the first layers of the language model, too."""
    from transformers import Qwen3VLConfig, Qwen3VLForConditionalGeneration

    torch.manual_seed(0)
    tok = tokenizer(*MARKS, named=NAMED)
    config = Qwen3VLConfig(
        text_config={**text(tok), "rope_parameters": ROPE},
        vision_config=_vision3(),
        tie_word_embeddings=False,
        **_ids(tok),
    )
    return save(Qwen3VLForConditionalGeneration(config), _processor3(tok, **of_template), tok, folder)


def qwen3_vl_moe(folder: Path, **of_template: Any) -> Path:
    """Qwen3-VL with four experts a layer, of which two answer; their weights are fused parameters, no linear layers."""
    from transformers import Qwen3VLMoeConfig, Qwen3VLMoeForConditionalGeneration

    torch.manual_seed(0)
    tok = tokenizer(*MARKS, named=NAMED)
    experts = {"num_experts": 4, "num_experts_per_tok": 2, "moe_intermediate_size": 32}
    config = Qwen3VLMoeConfig(
        text_config={**text(tok), **experts, "rope_parameters": ROPE},
        vision_config=_vision3(),
        tie_word_embeddings=False,
        **_ids(tok),
    )
    return save(Qwen3VLMoeForConditionalGeneration(config), _processor3(tok, **of_template), tok, folder)


def _hybrid(tok: PreTrainedTokenizerFast, **more: Any) -> dict[str, Any]:
    """A layer of linear attention (its state is a matrix, its keys pass through a convolution) and one of the usual kind."""
    return text(
        tok,
        layer_types=["linear_attention", "full_attention"],
        linear_key_head_dim=16,
        linear_value_head_dim=16,
        linear_num_key_heads=2,
        linear_num_value_heads=4,
        rope_parameters={**ROPE, "mrope_section": [2, 1, 1], "partial_rotary_factor": 0.25},
        **more,
    )


def qwen3_5(folder: Path, **of_template: Any) -> Path:
    """Qwen3.5: three layers in four of linear attention; here one in two."""
    from transformers import Qwen3_5Config, Qwen3_5ForConditionalGeneration

    torch.manual_seed(0)
    tok = tokenizer(*MARKS, named=NAMED)
    config = Qwen3_5Config(text_config=_hybrid(tok), vision_config=_vision3_5(), **_ids(tok))
    return save(Qwen3_5ForConditionalGeneration(config), _processor3(tok, **of_template), tok, folder)


def qwen3_5_moe(folder: Path, **of_template: Any) -> Path:
    """Qwen3.5 with four experts a layer, of which two answer, and one that always does."""
    from transformers import Qwen3_5MoeConfig, Qwen3_5MoeForConditionalGeneration

    torch.manual_seed(0)
    tok = tokenizer(*MARKS, named=NAMED)
    experts = {
        "num_experts": 4,
        "num_experts_per_tok": 2,
        "moe_intermediate_size": 32,
        "shared_expert_intermediate_size": 32,
    }
    config = Qwen3_5MoeConfig(text_config=_hybrid(tok, **experts), vision_config=_vision3_5(), **_ids(tok))
    return save(Qwen3_5MoeForConditionalGeneration(config), _processor3(tok, **of_template), tok, folder)


def _vision3_5() -> dict[str, Any]:
    return {name: value for name, value in _vision3().items() if name != "deepstack_visual_indexes"}


QWENS: dict[str, Callable[[Path], Path]] = {
    "qwen2_5_vl": qwen2_5_vl,
    "qwen3_vl": qwen3_vl,
    "qwen3_vl_moe": qwen3_vl_moe,
    "qwen3_5": qwen3_5,
    "qwen3_5_moe": qwen3_5_moe,
}
