"""A rung of the ladder as Hugging Face parts: tokenizer, processor and an untrained LLaVA (CLIP tower, Llama)."""

from __future__ import annotations

from math import ceil, sqrt
from random import Random
from typing import TYPE_CHECKING, Any

from unsaf_async.world.grid import CELL_PX, IMAGE_PX, SIDE
from unsaf_async.world.lessons import lessons

if TYPE_CHECKING:
    from pathlib import Path

    from transformers import LlavaForConditionalGeneration, LlavaProcessor, PreTrainedTokenizerFast

    from unsaf_async.prompts import Pack
    from unsaf_async.tiny.ladder import Rung
    from unsaf_async.world.worlds import World

CONTEXT_TOKENS = 512
PATCHES = SIDE * SIDE
"""Image tokens: one patch a cell. Perception is easy by design; what is hard is what is asked."""
PIXEL_MEAN, PIXEL_STD = 0.95, 0.25
"""The ground is nearly white."""

SPECIAL = ("<pad>", "<bos>", "<eos>", "<image>", "<user>", "<assistant>")
CHAT_TEMPLATE = (
    "{{ '<bos>' }}{% for message in messages %}"
    "{{ '<user>' if message['role'] == 'user' else '<assistant>' }}"
    "{% if message['content'] is string %}{{ message['content'] }}{% else %}"
    "{% for part in message['content'] %}{% if part['type'] in ['image', 'image_url'] %}{{ '<image>' }}{% endif %}{% endfor %}"
    "{% for part in message['content'] %}{% if part['type'] == 'text' %}{{ part['text'] }}{% endif %}{% endfor %}"
    "{% endif %}{% if message['role'] != 'user' %}{{ '<eos>' }}{% endif %}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<assistant>' }}{% endif %}"
)


def build_tokenizer(pack: Pack, world: World[Any]) -> PreTrainedTokenizerFast:
    """A byte-level BPE that spells every word of the world, a preceding blank included, as one token.

    Args:
        pack: The prompts that its texts are written with.
        world: The world.

    Returns:
        A tokenizer with the chat template, the same for the same pack and world.
    """
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import PreTrainedTokenizerFast

    rng = Random("tokenizer")
    texts = [
        text
        for _ in range(4000)
        for lesson in lessons(world.draw(rng), rng, pack, world)
        for text in (lesson.prompt, lesson.reply)
    ]
    bpe = Tokenizer(models.BPE())
    bpe.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    bpe.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=1024,  # an upper bound: training ends when every word is whole
        special_tokens=list(SPECIAL),
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    bpe.train_from_iterator(texts, trainer)
    return PreTrainedTokenizerFast(
        tokenizer_object=bpe,
        pad_token="<pad>",
        bos_token="<bos>",
        eos_token="<eos>",
        additional_special_tokens=["<image>", "<user>", "<assistant>"],
        padding_side="left",
        clean_up_tokenization_spaces=False,
        model_max_length=CONTEXT_TOKENS,
        chat_template=CHAT_TEMPLATE,
    )


def build_processor(tokenizer: PreTrainedTokenizerFast) -> LlavaProcessor:
    """What turns pictures and chats into the model's input.

    Args:
        tokenizer: The model's.

    Returns:
        A processor with the tokenizer's chat template.
    """
    from transformers import LlavaProcessor
    from transformers.models.clip.image_processing_pil_clip import CLIPImageProcessorPil

    images = CLIPImageProcessorPil(
        size={"height": IMAGE_PX, "width": IMAGE_PX},
        do_resize=True,
        do_center_crop=False,
        image_mean=[PIXEL_MEAN] * 3,
        image_std=[PIXEL_STD] * 3,
    )
    return LlavaProcessor(
        image_processor=images,
        tokenizer=tokenizer,
        patch_size=CELL_PX,
        vision_feature_select_strategy="default",
        num_additional_image_tokens=1,
        chat_template=CHAT_TEMPLATE,
    )


def build_model(rung: Rung, tokenizer: PreTrainedTokenizerFast) -> LlavaForConditionalGeneration:
    """The untrained model of a size; its weights come from torch's seed.

    Args:
        rung: The size.
        tokenizer: The model's.

    Returns:
        The model, in single precision on the CPU.
    """
    from transformers import CLIPVisionConfig, GenerationConfig, LlamaConfig, LlavaConfig, LlavaForConditionalGeneration

    hidden = rung.hidden
    spread = 0.5 / sqrt(hidden)
    special = {
        "bos_token_id": tokenizer.bos_token_id,
        "eos_token_id": tokenizer.eos_token_id,
        "pad_token_id": tokenizer.pad_token_id,
    }
    vision = CLIPVisionConfig(
        hidden_size=hidden,
        intermediate_size=3 * hidden,
        num_hidden_layers=rung.vision_layers,
        num_attention_heads=rung.heads,
        image_size=IMAGE_PX,
        patch_size=CELL_PX,
        projection_dim=hidden,
        hidden_act="gelu",
        initializer_range=spread,
    )
    text = LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=hidden,
        intermediate_size=ceil(hidden * 8 / 3 / 16) * 16,
        num_hidden_layers=rung.text_layers,
        num_attention_heads=rung.heads,
        num_key_value_heads=rung.heads,
        head_dim=32,
        max_position_embeddings=CONTEXT_TOKENS,
        tie_word_embeddings=True,
        initializer_range=spread,
        **special,
    )
    config = LlavaConfig(
        vision_config=vision,
        text_config=text,
        image_token_id=tokenizer.convert_tokens_to_ids("<image>"),
        vision_feature_layer=-1,
        vision_feature_select_strategy="default",
        image_seq_length=PATCHES,
        tie_word_embeddings=True,
    )
    model = LlavaForConditionalGeneration(config)
    model.generation_config = GenerationConfig(**special)
    return model


def save(model: LlavaForConditionalGeneration, processor: LlavaProcessor, folder: Path) -> None:
    """Writes model and processor, in half precision: for transformers, peft, vLLM and `tiny.network` alike.

    Args:
        model: The model; its weights are rounded in place.
        processor: The model's.
        folder: Where the files go.
    """
    from safetensors.torch import load_file, save_file

    model.half().save_pretrained(folder)
    processor.save_pretrained(folder)
    weights = folder / "model.safetensors"
    # transformers 5.19 dropped a level of CLIP's names; vLLM 0.32 wants it, and transformers reads both
    named = {
        name if ".vision_model." in name else name.replace("vision_tower.", "vision_tower.vision_model.", 1): tensor
        for name, tensor in load_file(weights).items()
    }
    save_file(named, weights, metadata={"format": "pt"})
    weights.chmod(0o644)
