"""What the tests of the training script are given, and how they read it."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pyarrow.parquet as pq

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
