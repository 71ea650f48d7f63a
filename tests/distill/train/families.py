"""Tiny students with random weights, of three families, written as `save_pretrained` writes them. No network."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING, Any

import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import GenerationConfig, PreTrainedTokenizerFast

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

WORDS = (
    "the cat sat on a red mat and looked at blue square circle image shows one two three yes no what is in this picture"
)
SPECIAL = ("<pad>", "<bos>", "<eos>", "<|user|>", "<|assistant|>")


def template(image: str, *, generation: bool = True, end: str = "<eos>", shows_image: bool = True) -> str:
    """A chat template. generation: it marks the place of the reply. end: what ends a reply."""
    shown = f"{{{{ '{image}' }}}}" if shows_image else ""
    return (
        "{{ '<bos>' }}{% for m in messages %}{{ '<|' + m['role'] + '|>' }}"
        "{% if m['content'] is string %}{{ m['content'] }}{% else %}{% for c in m['content'] %}"
        f"{{% if c['type'] == 'image' %}}{shown}{{% elif c['type'] == 'text' %}}{{{{ c['text'] }}}}{{% endif %}}"
        "{% endfor %}{% endif %}"
        f"{{% if m['role'] == 'assistant' %}}{{{{ '{end}' }}}}{{% endif %}}{{% endfor %}}"
        + ("{% if add_generation_prompt %}{{ '<|assistant|>' }}{% endif %}" if generation else "")
    )


def tokenizer(*more: str, named: dict[str, str], length: int = 2048) -> PreTrainedTokenizerFast:
    """A byte-level BPE of 512 tokens. more: further special tokens. named: those that a processor asks for by a name."""
    rng = random.Random(0)
    texts = [" ".join(rng.choices(WORDS.split(), k=12)) for _ in range(1000)]
    bpe = Tokenizer(models.BPE())
    bpe.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    bpe.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=512,
        special_tokens=[*SPECIAL, *more],
        show_progress=False,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
    )
    bpe.train_from_iterator(texts, trainer)
    return PreTrainedTokenizerFast(
        tokenizer_object=bpe,
        pad_token="<pad>",
        bos_token="<bos>",
        eos_token="<eos>",
        model_max_length=length,
        extra_special_tokens=named,
        clean_up_tokenization_spaces=False,
    )


def text(tok: PreTrainedTokenizerFast, **more: Any) -> dict[str, Any]:
    return {
        "vocab_size": len(tok),
        "hidden_size": 64,
        "intermediate_size": 128,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "num_key_value_heads": 1,
        "head_dim": 32,
        "max_position_embeddings": 2048,
        "bos_token_id": tok.bos_token_id,
        "eos_token_id": tok.eos_token_id,
        "pad_token_id": tok.pad_token_id,
        **more,
    }


def vision(**more: Any) -> dict[str, Any]:
    return {
        "hidden_size": 64,
        "intermediate_size": 128,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "image_size": 56,
        "patch_size": 14,
        **more,
    }


def save(model: Any, processor: Any, tok: PreTrainedTokenizerFast, folder: Path) -> Path:
    model.generation_config = GenerationConfig(
        bos_token_id=tok.bos_token_id, eos_token_id=tok.eos_token_id, pad_token_id=tok.pad_token_id
    )
    model.float().save_pretrained(folder)
    processor.save_pretrained(folder)
    return folder


def llava(folder: Path, **of_template: Any) -> Path:
    """LLaVA: CLIP and Llama; 16 tokens an image."""
    from transformers import CLIPVisionConfig, LlamaConfig, LlavaConfig, LlavaForConditionalGeneration, LlavaProcessor
    from transformers.models.clip.image_processing_pil_clip import CLIPImageProcessorPil

    torch.manual_seed(0)
    tok = tokenizer("<image>", named={"image_token": "<image>"})
    config = LlavaConfig(
        vision_config=CLIPVisionConfig(**vision(projection_dim=64)),
        text_config=LlamaConfig(**text(tok, tie_word_embeddings=False)),
        image_token_id=tok.convert_tokens_to_ids("<image>"),
        vision_feature_select_strategy="default",
        vision_feature_layer=-1,
        image_seq_length=16,
        tie_word_embeddings=False,
    )
    processor = LlavaProcessor(
        CLIPImageProcessorPil(size={"shortest_edge": 56}, crop_size={"height": 56, "width": 56}),
        tok,
        patch_size=14,
        vision_feature_select_strategy="default",
        num_additional_image_tokens=1,
        chat_template=template("<image>", **of_template),
    )
    return save(LlavaForConditionalGeneration(config), processor, tok, folder)


def idefics3(folder: Path, **of_template: Any) -> Path:
    """Idefics3, which SmolVLM is one of: SigLIP and Llama; 4 tokens a tile, and the tile's marks."""
    from transformers import Idefics3Config, Idefics3ForConditionalGeneration, Idefics3Processor
    from transformers.models.idefics3.image_processing_pil_idefics3 import Idefics3ImageProcessorPil

    torch.manual_seed(0)
    marks = ["<image>", "<fake_token_around_image>", "<global-img>", "<end_of_utterance>"]
    named = {
        "image_token": "<image>",
        "fake_image_token": "<fake_token_around_image>",
        "global_image_token": "<global-img>",
        "end_of_utterance_token": "<end_of_utterance>",
    }
    tok = tokenizer(*marks, named=named)
    config = Idefics3Config(
        vision_config=vision(),
        text_config={**text(tok, tie_word_embeddings=False), "model_type": "llama"},
        image_token_id=tok.convert_tokens_to_ids("<image>"),
        scale_factor=2,
        tie_word_embeddings=False,
        pad_token_id=tok.pad_token_id,
    )
    processor = Idefics3Processor(
        Idefics3ImageProcessorPil(size={"longest_edge": 112}, max_image_size={"longest_edge": 56}),
        tok,
        image_seq_len=4,
        chat_template=template("<image>", **of_template),
    )
    return save(Idefics3ForConditionalGeneration(config), processor, tok, folder)


def gemma3(folder: Path, **of_template: Any) -> Path:
    """Gemma 3: SigLIP and Gemma; 4 tokens an image, which see each other in both directions."""
    from transformers import Gemma3Config, Gemma3ForConditionalGeneration, Gemma3Processor
    from transformers.models.gemma3.image_processing_pil_gemma3 import Gemma3ImageProcessorPil

    torch.manual_seed(0)
    marks = ["<start_of_image>", "<end_of_image>", "<image_soft_token>"]
    named = {"boi_token": "<start_of_image>", "eoi_token": "<end_of_image>", "image_token": "<image_soft_token>"}
    tok = tokenizer(*marks, named=named)
    config = Gemma3Config(
        vision_config={**vision(), "vision_use_head": False},
        text_config=text(tok, sliding_window=512, query_pre_attn_scalar=32),
        mm_tokens_per_image=4,
        boi_token_index=tok.convert_tokens_to_ids("<start_of_image>"),
        eoi_token_index=tok.convert_tokens_to_ids("<end_of_image>"),
        image_token_index=tok.convert_tokens_to_ids("<image_soft_token>"),
    )
    processor = Gemma3Processor(
        Gemma3ImageProcessorPil(size={"height": 56, "width": 56}),
        tok,
        chat_template=template("<start_of_image>", **of_template),
        image_seq_length=4,
    )
    return save(Gemma3ForConditionalGeneration(config), processor, tok, folder)


FAMILIES: dict[str, Callable[[Path], Path]] = {"llava": llava, "idefics3": idefics3, "gemma3": gemma3}
