"""Tiny students with random weights, of the families that cut a picture into tiles or take it in its own size. No network.

The processors of all but LLaVA-OneVision's need torchvision: of videos, or of Pixtral's pictures.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from distill.train.families import save, template, text, tokenizer, vision

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


def smolvlm(folder: Path) -> Path:
    """SmolVLM: Idefics3's structure, and a processor that takes videos; 4 tokens a tile, and the tile's marks."""
    from transformers import SmolVLMConfig, SmolVLMForConditionalGeneration, SmolVLMProcessor
    from transformers.models.smolvlm.image_processing_pil_smolvlm import SmolVLMImageProcessorPil
    from transformers.models.smolvlm.video_processing_smolvlm import SmolVLMVideoProcessor

    torch.manual_seed(0)
    marks = ["<image>", "<fake_token_around_image>", "<global-img>", "<end_of_utterance>"]
    tok = tokenizer(*marks, named={"image_token": "<image>"})
    config = SmolVLMConfig(
        vision_config=vision(),
        text_config={**text(tok, tie_word_embeddings=False), "model_type": "llama"},
        image_token_id=tok.convert_tokens_to_ids("<image>"),
        pad_token_id=tok.pad_token_id,
    )
    processor = SmolVLMProcessor(
        SmolVLMImageProcessorPil(size={"longest_edge": 112}, max_image_size={"longest_edge": 56}),
        tok,
        SmolVLMVideoProcessor(),
        image_seq_len=4,
        chat_template=template("<image>"),
    )
    return save(SmolVLMForConditionalGeneration(config), processor, tok, folder)


def internvl(folder: Path) -> Path:
    """InternVL 3: InternViT and Qwen2; 4 tokens a tile, and prompts that its processor pads on the left."""
    from transformers import InternVLConfig, InternVLForConditionalGeneration, InternVLProcessor
    from transformers.models.got_ocr2.image_processing_pil_got_ocr2 import GotOcr2ImageProcessorPil
    from transformers.models.internvl.video_processing_internvl import InternVLVideoProcessor

    torch.manual_seed(0)
    named = {
        "start_image_token": "<img>",
        "end_image_token": "</img>",
        "context_image_token": "<IMG_CONTEXT>",
        "video_token": "<video>",
    }
    tok = tokenizer(*named.values(), named=named)
    config = InternVLConfig(
        vision_config=vision(),
        text_config={**text(tok), "model_type": "qwen2"},
        image_token_id=tok.convert_tokens_to_ids("<IMG_CONTEXT>"),
        image_seq_length=4,
        tie_word_embeddings=False,
    )
    images = GotOcr2ImageProcessorPil(size={"height": 56, "width": 56}, crop_to_patches=True, max_patches=4)
    processor = InternVLProcessor(
        images,
        tok,
        InternVLVideoProcessor(),
        image_seq_length=4,
        chat_template=template("<IMG_CONTEXT>"),
    )
    return save(InternVLForConditionalGeneration(config), processor, tok, folder)


def llava_onevision(folder: Path) -> Path:
    """LLaVA-OneVision: SigLIP and Qwen2; a picture is laid on the best of several grids of tiles."""
    from transformers import LlavaOnevisionConfig, LlavaOnevisionForConditionalGeneration, LlavaOnevisionProcessor
    from transformers.models.llava_onevision.image_processing_pil_llava_onevision import (
        LlavaOnevisionImageProcessorPil,
    )
    from transformers.models.llava_onevision.video_processing_llava_onevision import LlavaOnevisionVideoProcessor

    torch.manual_seed(0)
    named = {"image_token": "<image>", "video_token": "<video>"}
    tok = tokenizer(*named.values(), named=named)
    grids = [[56, 56], [56, 112], [112, 56], [112, 112]]
    config = LlavaOnevisionConfig(
        vision_config={**vision(), "vision_use_head": False},
        text_config={**text(tok), "model_type": "qwen2"},
        image_token_index=tok.convert_tokens_to_ids("<image>"),
        video_token_index=tok.convert_tokens_to_ids("<video>"),
        image_grid_pinpoints=grids,
    )
    processor = LlavaOnevisionProcessor(
        LlavaOnevisionImageProcessorPil(size={"height": 56, "width": 56}, image_grid_pinpoints=grids),
        tok,
        LlavaOnevisionVideoProcessor(),
        num_image_tokens=16,
        vision_feature_select_strategy="full",
        chat_template=template("<image>"),
    )
    return save(LlavaOnevisionForConditionalGeneration(config), processor, tok, folder)


def _instruct() -> str:
    """A chat template as Mistral's: what ends the question is the place of the reply, with add_generation_prompt or without."""
    return (
        "{{ '<bos>' }}{% for m in messages %}{% if m['role'] == 'user' %}{{ '[INST]' }}{% for c in m['content'] %}"
        "{% if c['type'] == 'image' %}{{ '[IMG]' }}{% else %}{{ c['text'] }}{% endif %}{% endfor %}{{ '[/INST]' }}"
        "{% else %}{% for c in m['content'] %}{{ c['text'] }}{% endfor %}{{ '<eos>' }}{% endif %}{% endfor %}"
    )


PIXTRAL = {
    "hidden_size": 64,
    "intermediate_size": 128,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "patch_size": 14,
}


def _pixtral_processor(merged: int) -> tuple[Any, Any]:
    from transformers import PixtralProcessor
    from transformers.models.pixtral.image_processing_pil_pixtral import PixtralImageProcessorPil

    tok = tokenizer("[IMG]", "[IMG_BREAK]", "[IMG_END]", "[INST]", "[/INST]", named={"image_token": "[IMG]"})
    images = PixtralImageProcessorPil(size={"longest_edge": 112}, patch_size={"height": 14, "width": 14})
    return PixtralProcessor(images, tok, patch_size=14, spatial_merge_size=merged, chat_template=_instruct()), tok


def pixtral(folder: Path) -> Path:
    """Pixtral, as transformers has it: LLaVA with a vision tower that takes a picture in its own size, row by row."""
    from transformers import LlavaConfig, LlavaForConditionalGeneration

    torch.manual_seed(0)
    processor, tok = _pixtral_processor(1)
    config = LlavaConfig(
        vision_config={**PIXTRAL, "image_size": 112, "model_type": "pixtral"},
        text_config={**text(tok), "model_type": "mistral"},
        image_token_index=tok.convert_tokens_to_ids("[IMG]"),
        vision_feature_select_strategy="full",
        vision_feature_layer=-1,
    )
    return save(LlavaForConditionalGeneration(config), processor, tok, folder)


def mistral3(folder: Path) -> Path:
    """Mistral Small 3.1: Pixtral's tower, of whose patches four make a token, and Mistral."""
    from transformers import Mistral3Config, Mistral3ForConditionalGeneration

    torch.manual_seed(0)
    processor, tok = _pixtral_processor(2)
    config = Mistral3Config(
        vision_config={**PIXTRAL, "image_size": 112, "model_type": "pixtral"},
        text_config={**text(tok), "model_type": "mistral"},
        image_token_index=tok.convert_tokens_to_ids("[IMG]"),
        tie_word_embeddings=False,
    )
    return save(Mistral3ForConditionalGeneration(config), processor, tok, folder)


def gemma4(folder: Path, *, of_text: dict[str, Any] | None = None) -> Path:
    """Gemma 4: pictures in their own size, and a second embedding of each token for every layer."""
    from transformers import Gemma4Config, Gemma4ForConditionalGeneration, Gemma4Processor
    from transformers.models.gemma4.feature_extraction_gemma4 import Gemma4AudioFeatureExtractor
    from transformers.models.gemma4.image_processing_pil_gemma4 import Gemma4ImageProcessorPil
    from transformers.models.gemma4.video_processing_gemma4 import Gemma4VideoProcessor

    torch.manual_seed(0)
    named = {
        "image_token": "<|image|>",
        "boi_token": "<|image>",
        "eoi_token": "<image|>",
        "audio_token": "<|audio|>",
        "boa_token": "<|audio>",
        "eoa_token": "<audio|>",
    }
    tok = tokenizer(*named.values(), "<|video|>", named=named)
    layers = {
        "layer_types": ["sliding_attention", "full_attention"],
        "global_head_dim": 32,
        "vocab_size_per_layer_input": len(tok),
        "hidden_size_per_layer_input": 8,
        **(of_text or {}),
    }
    config = Gemma4Config(
        text_config=text(tok, **layers),
        vision_config={
            "hidden_size": 64,
            "intermediate_size": 128,
            "num_hidden_layers": 2,
            "num_attention_heads": 2,
            "num_key_value_heads": 2,
            "head_dim": 32,
            "patch_size": 4,
            "position_embedding_size": 256,
        },
        image_token_id=tok.convert_tokens_to_ids("<|image|>"),
        boi_token_id=tok.convert_tokens_to_ids("<|image>"),
        eoi_token_id=tok.convert_tokens_to_ids("<image|>"),
        audio_token_id=tok.convert_tokens_to_ids("<|audio|>"),
        boa_token_id=tok.convert_tokens_to_ids("<|audio>"),
        eoa_token_index=tok.convert_tokens_to_ids("<audio|>"),
        video_token_id=tok.convert_tokens_to_ids("<|video|>"),
    )
    processor = Gemma4Processor(
        Gemma4AudioFeatureExtractor(),
        Gemma4ImageProcessorPil(patch_size=4, max_soft_tokens=70),
        tok,
        Gemma4VideoProcessor(),
        image_seq_length=70,
        chat_template=template("<|image|>"),
    )
    return save(Gemma4ForConditionalGeneration(config), processor, tok, folder)


NEWER: dict[str, Callable[[Path], Path]] = {
    "smolvlm": smolvlm,
    "internvl": internvl,
    "llava_onevision": llava_onevision,
    "pixtral": pixtral,
    "mistral3": mistral3,
    "gemma4": gemma4,
}
