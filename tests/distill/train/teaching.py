"""What the tests of the training script are given, and how they read it."""

from __future__ import annotations

import json
from dataclasses import dataclass
from io import BytesIO
from typing import TYPE_CHECKING, Any

import pyarrow.parquet as pq
import torch
from PIL import Image
from safetensors.torch import load_file

if TYPE_CHECKING:
    from pathlib import Path


@dataclass(frozen=True)
class Made:
    """data: the export, with preference pairs. chat: another in the form openai. run: the teacher's run. students: by family."""

    data: Path
    chat: Path
    sharegpt: Path
    run: Path
    students: dict[str, Path]


def rows_of(data: Path, split: str, folder: str = "data") -> list[dict[str, Any]]:
    """The rows of an export, as pyarrow reads them."""
    return [
        row for file in sorted((data / folder).glob(f"{split}-*.parquet")) for row in pq.read_table(file).to_pylist()
    ]


def read_json(file: Path) -> Any:
    return json.loads(file.read_text("utf-8"))


def example(processor: Any, row: dict[str, Any]) -> dict[str, torch.Tensor]:
    """A row as anybody would put it before the model, by the processor alone."""
    image = Image.open(BytesIO(row["images"][0]["bytes"])).convert("RGB")
    asked = {"type": "image"}, {"type": "text", "text": row["prompt"][0]["content"]}
    turns = [
        {"role": "user", "content": list(asked)},
        {"role": "assistant", "content": [{"type": "text", "text": row["completion"][0]["content"]}]},
    ]
    text = processor.apply_chat_template(turns)
    return dict(processor(images=[[image]], text=[text], return_tensors="pt", add_special_tokens=False))


def logits(model: torch.nn.Module, inputs: dict[str, torch.Tensor]) -> torch.Tensor:
    with torch.no_grad():
        return model.eval()(**inputs).logits


def adapter_of(out: Path) -> dict[str, torch.Tensor]:
    return load_file(out / "adapter" / "adapter_model.safetensors")
