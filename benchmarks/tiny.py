"""How fast the tiny models answer, in our runtime and in transformers, on one core and in one go; and whether both say the same.

    python benchmarks/tiny.py [--model tiny-s ...] [--prompts 500] [--rounds 3]

Needs torch and transformers (`pip install --group train`). The prompts are those of a run, in kind and number: two lists of
questions and twelve answers a picture. Prints requests a second (median of the rounds), the ratio, and how many replies differ.
"""

from __future__ import annotations

import argparse
import os
import time
from io import BytesIO
from random import Random
from statistics import median
from typing import TYPE_CHECKING

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

import numpy as np
import torch
from PIL import Image
from transformers import AutoProcessor, LlavaForConditionalGeneration
from transformers.utils import logging

from unsaf_async.prompts import load_pack
from unsaf_async.tiny.folders import SHIPPED, shipped
from unsaf_async.tiny.speaker import Job, Speaker
from unsaf_async.world.questions import answerable, unanswerable
from unsaf_async.world.scene import scenes

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

MOST_TOKENS = 120


def prompts(number: int) -> list[tuple[bytes, str]]:
    """Pictures and prompts as a run asks them."""
    rng, pack, pairs = Random("benchmark"), load_pack("tiny"), []
    for scene, picture in scenes("test", -(-number // 14), 11):
        file = BytesIO()
        Image.fromarray(picture).save(file, "PNG")
        asked = [answerable(scene, rng) for _ in range(6)] + [unanswerable(scene, rng) for _ in range(6)]
        texts = [pack.ask("answerable", 6), pack.ask("unanswerable", 6), *(posed.text for posed in asked if posed)]
        pairs += [(file.getvalue(), text) for text in texts]
    return pairs[:number]


def ours(folder: Path, asked: list[tuple[bytes, str]]) -> Callable[[], list[str]]:
    """Our runtime, ready to answer."""
    speaker = Speaker(folder)

    def answer() -> list[str]:
        jobs = [
            Job(text, data, str(hash(data)), MOST_TOKENS, 0.0, 1.0, np.random.default_rng(0)) for data, text in asked
        ]
        speaker.speak(jobs)
        return [job.text for job in jobs]

    return answer


def transformers(folder: Path, asked: list[tuple[bytes, str]], batch: int) -> Callable[[], list[str]]:
    """transformers' `generate`, in batches of `batch`, ready to answer."""
    model = LlavaForConditionalGeneration.from_pretrained(folder, dtype=torch.float32).eval()
    processor = AutoProcessor.from_pretrained(folder)

    def answer() -> list[str]:
        replies = []
        for at in range(0, len(asked), batch):
            part = asked[at : at + batch]
            chats = [
                [{"role": "user", "content": [{"type": "image"}, {"type": "text", "text": text}]}] for _, text in part
            ]
            texts = [processor.apply_chat_template(chat, add_generation_prompt=True) for chat in chats]
            pictures = [Image.open(BytesIO(data)) for data, _ in part]
            given = processor(images=pictures, text=texts, return_tensors="pt", padding=True, add_special_tokens=False)
            with torch.no_grad():
                made = model.generate(**given, max_new_tokens=MOST_TOKENS, do_sample=False)
            replies += processor.batch_decode(made[:, given["input_ids"].shape[1] :], skip_special_tokens=True)
        return [text.strip() for text in replies]

    return answer


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", nargs="+", default=[folder.name for folder in shipped()])
    parser.add_argument("--prompts", type=int, default=500)
    parser.add_argument("--rounds", type=int, default=3)
    given = parser.parse_args()
    torch.set_num_threads(1)
    logging.disable_progress_bar()
    asked = prompts(given.prompts)
    print(
        "| model | loading, s | ours, requests/s | transformers, batch 1 | batch 64 | ours / batch 64 | replies that differ |"
    )
    print("| --- " * 7 + "|")
    for name in given.model:
        folder = SHIPPED / name
        began_s = time.perf_counter()
        here = ours(folder, asked)
        load_s = time.perf_counter() - began_s
        single, batched = transformers(folder, asked[:50], 1), transformers(folder, asked, 64)
        rates: dict[str, list[float]] = {"ours": [], "single": [], "batched": []}
        replies: dict[str, list[str]] = {}
        for _ in range(given.rounds):  # taking turns: what slows the machine slows all
            for label, answer in (("ours", here), ("single", single), ("batched", batched)):
                began_s = time.perf_counter()
                replies[label] = answer()
                rates[label].append(len(replies[label]) / (time.perf_counter() - began_s))
        ratio = median(one / other for one, other in zip(rates["ours"], rates["batched"], strict=True))
        differ = sum(one != other for one, other in zip(replies["ours"], replies["batched"], strict=True))
        figures = " | ".join(f"{median(rates[label]):.0f}" for label in ("ours", "single", "batched"))
        print(f"| {name} | {load_s:.2f} | {figures} | {ratio:.1f} | {differ} of {len(asked)} |", flush=True)


if __name__ == "__main__":
    main()
