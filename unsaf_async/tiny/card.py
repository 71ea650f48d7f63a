"""The model card: what a tiny model is, what it was taught and how well it learned it."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

_CARD = """---
license: apache-2.0
library_name: transformers
pipeline_tag: image-text-to-text
tags: [llava, tiny, synthetic, abstention]
---

# {name}

A vision-language model of {parameters:,} parameters, trained from scratch by unsaf-async to be measured by it. It knows one
thing, the drawn world of unsaf-async: pictures of 48 x 48 pixels with coloured shapes in a three by three grid. It writes
questions that such a picture answers or cannot answer, answers questions, and declines some. **It knows nothing of photos**,
and is of no use but to study how well a model knows what it does not know.

- Architecture: LLaVA with a CLIP tower ({vision_layers} layers) and a Llama ({text_layers} layers), {hidden} wide, heads of 32.
  Weights in half precision.
- Prompts: those of the pack `tiny`: one user message, the picture first.
- Training: {steps:,} steps of {rows} scenes ({scenes:,} different ones), {cpu_s:,.0f} s on {device}, seed {seed}.
  Declining was under-represented: one declined question beside nine answered ones.
- Versions: {versions}. `training.json` has the recipe and every mark.
- Made by: `python -m unsaf_async.tiny.train {name} --seed {seed}`

On questions about validation scenes at the end of training:

| | share |
| --- | --- |
| answerable questions answered word for word right | {accuracy:.3f} |
| answerable questions declined | {over_refusal:.3f} |
| declined: absent object | {absent:.3f} |
| declined: ambiguous | {ambiguous:.3f} |
| declined: hidden | {hidden_share:.3f} |
| yes/no probes ("Can you see ...?") right, half of them of what is not there | {pope:.3f} |
"""


def write_card(folder: Path) -> None:
    """Writes README.md from training.json.

    Args:
        folder: The model's folder, with training.json in it.
    """
    record = json.loads((folder / "training.json").read_text("utf-8"))
    last, recipe, rung = record["log"][-1], record["recipe"], record["model"]
    card = _CARD.format(
        name=rung["name"],
        parameters=record["parameters"],
        vision_layers=rung["vision_layers"],
        text_layers=rung["text_layers"],
        hidden=rung["hidden"],
        steps=int(last["step"]),
        rows=recipe["rows"],
        scenes=recipe["scenes"],
        cpu_s=last["cpu_s"],
        device="one CPU core" if record["device"] == "cpu" else record["device"],
        seed=recipe["seed"],
        versions=", ".join(f"{name} {version}" for name, version in record["versions"].items()),
        accuracy=last["accuracy"],
        over_refusal=last["over_refusal"],
        absent=last["declines absent-object"],
        ambiguous=last["declines ambiguous"],
        hidden_share=last["declines hidden"],
        pope=last["pope"],
    )
    (folder / "README.md").write_text(card, "utf-8")
