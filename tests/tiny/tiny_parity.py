"""What transformers says where the tiny models are asked: `python tests/tiny/tiny_parity.py` writes tests/data/tiny_greedy.json.

Needs torch and transformers (`pip install --group train`), unlike the tests that read the file.
"""

from __future__ import annotations

import json
from io import BytesIO
from pathlib import Path
from random import Random
from typing import Any

from PIL import Image

from unsaf_async.tiny.folders import shipped
from unsaf_async.world.questions import answerable, unanswerable
from unsaf_async.world.scene import scenes

GOLDEN = Path(__file__).parents[1] / "data" / "tiny_greedy.json"
PROMPTS = 250
"""For each model."""


def asked(count: int = PROMPTS) -> list[tuple[bytes, str]]:
    """Pictures (as PNG) and prompts: answers, declines, and lists of either sort."""
    rng = Random("parity")
    found = []
    for scene, picture in scenes("test", -(-count // 5), 7):
        file = BytesIO()
        Image.fromarray(picture).save(file, "PNG")
        declined = unanswerable(scene, rng)
        assert declined is not None
        prompts = [answerable(scene, rng).text, answerable(scene, rng).text, declined.text]
        prompts += ["Ask 6 questions that the image answers.", "Ask 3 questions that the image cannot answer."]
        found += [(file.getvalue(), prompt) for prompt in prompts]
    return found[:count]


def greedy(folder: Path, most_tokens: int = 120, batch: int = 25) -> list[dict[str, Any]]:
    """Each prompt's greedy reply by transformers, and the log-probability of its first token."""
    import torch
    from transformers import AutoProcessor, LlavaForConditionalGeneration

    model = LlavaForConditionalGeneration.from_pretrained(folder, dtype=torch.float32).eval()
    processor = AutoProcessor.from_pretrained(folder)
    questions, said = asked(), []
    for at in range(0, len(questions), batch):
        part = questions[at : at + batch]
        chats = [
            [{"role": "user", "content": [{"type": "image"}, {"type": "text", "text": prompt}]}] for _, prompt in part
        ]
        texts = [processor.apply_chat_template(chat, add_generation_prompt=True) for chat in chats]
        pictures = [Image.open(BytesIO(picture)) for picture, _ in part]
        given = processor(images=pictures, text=texts, return_tensors="pt", padding=True, add_special_tokens=False)
        with torch.no_grad():
            made = model.generate(
                **given, max_new_tokens=most_tokens, do_sample=False, output_logits=True, return_dict_in_generate=True
            )
        first = torch.log_softmax(made.logits[0], -1).max(-1).values.tolist()
        replies = processor.batch_decode(made.sequences[:, given["input_ids"].shape[1] :], skip_special_tokens=True)
        said += [
            {"reply": reply.strip(), "first_logprob": round(logprob, 6)}
            for reply, logprob in zip(replies, first, strict=True)
        ]
    return said


if __name__ == "__main__":
    GOLDEN.parent.mkdir(exist_ok=True)
    golden = {folder.name: greedy(folder) for folder in shipped()}
    GOLDEN.write_text(json.dumps(golden, indent=0) + "\n", "utf-8")
