"""What the tests against a real vLLM ask: questions of known label about scenes, and how the engine sends them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from real_vllm.server import MODEL

from unsaf_async.records import EncodedImage, Label, Message, Request, Sampling, Target

if TYPE_CHECKING:
    from pathlib import Path

    from unsaf_async.world.scene import Scene

SCENES = 12
QUESTIONS = 5
"""Per scene and label."""
CONTEXT_TOKENS = 2048
"""Of the served model: room for the LLM judge's prompt. It was trained with 512; its positions are rotary, so that more of them
change nothing in what fits into those."""
MOST_TOKENS = 24
"""Of an answer: more than any answer of the world has."""

PROFILE = """
backend = "openai"
prompts = "tiny"
judge = "rules"
api_key_env = "VLLM_API_KEY"
timeout_s = 60

[price]
input_usd_per_mtok = 0
output_usd_per_mtok = 0

[output_tokens]
ask = 20
ask_per_question = 24
answer = 24
judge = 64

[takes]
json_schema = false  # it was taught to write plain lists
seed = true
"""
"""For a model as small as this one: what the shipped profile leaves room for is more than its whole context."""


@dataclass(frozen=True)
class Shown:
    """A scene, and its picture as file and as it is sent."""

    scene: Scene
    file: Path
    image: EncodedImage


@dataclass(frozen=True)
class Asked:
    """A question about a picture, of known label."""

    shown: Shown
    text: str
    intended: Label


def request_about(shown: Shown, text: str, *, model: str = MODEL, logprobs: bool = True) -> Request:
    """A greedy answer, asked for as the engine does."""
    return Request(
        role="answer",
        target=Target("local", model),
        messages=(Message("user", text, shown.image),),
        sampling=Sampling(MOST_TOKENS, temperature=0.0, logprobs=logprobs),
    )
