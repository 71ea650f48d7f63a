"""How long a prompt a tiny model can read, without loading its weights."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

MARKS = 3
"""Tokens of a prompt beside its words and its picture: its beginning, whose turn it is, and whose is next."""


def too_long(folder: Path, prompts: Iterable[str]) -> tuple[int, int] | None:
    """The longest prompt of those that a tiny model cannot read, each with a picture.

    Args:
        folder: The model's, as `save_pretrained` wrote it.
        prompts: What it is to be asked.

    Returns:
        (tokens of that prompt, the most that the model reads); None where it can read all.
    """
    from tokenizers import Tokenizer

    config = json.loads((folder / "config.json").read_text("utf-8"))
    vision, limit = config["vision_config"], config["text_config"]["max_position_embeddings"] - 1
    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    picture = (vision["image_size"] // vision["patch_size"]) ** 2
    longest = max((len(tokenizer.encode(text, add_special_tokens=False).ids) for text in prompts), default=0)
    tokens = longest + picture + MARKS
    return (tokens, limit) if tokens > limit else None
