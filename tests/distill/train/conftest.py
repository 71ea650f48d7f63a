"""Real teacher data: an export of runs of the shipped tiny models on drawn scenes, and tiny students of three families."""

from __future__ import annotations

import asyncio
import os
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

pytest.importorskip("trl")

import pyarrow as pa
import pyarrow.parquet as pq
from distill.train.families import FAMILIES
from distill.train.teaching import Made

import unsaf_async
from unsaf_async.distill.data.export import export
from unsaf_async.distill.data.options import Options
from unsaf_async.distill.train.recipe import Recipe
from unsaf_async.world import make

if TYPE_CHECKING:
    from collections.abc import Callable


@pytest.fixture(scope="session")
def made(tmp_path_factory: pytest.TempPathFactory) -> Made:
    home = tmp_path_factory.mktemp("teaching")
    before = Path.cwd()
    os.chdir(home)
    try:
        asyncio.run(_run(home))
    finally:
        os.chdir(before)
    splits = (80, 20, 0)
    pairs = (home / "student",)
    export([home / "teacher"], home / "data", Options(form="trl", splits=splits, preferences=pairs))
    export([home / "teacher"], home / "chat", Options(form="openai", splits=splits))
    export([home / "teacher"], home / "sharegpt", Options(form="sharegpt", splits=splits))
    students = {name: build(home / name) for name, build in FAMILIES.items()}
    return Made(home / "data", home / "chat", home / "sharegpt", home / "teacher", students)


async def _run(home: Path) -> None:
    make.make(home / "scenes", 40, "train", 0, 1)
    scenes = home / "scenes" / "manifest.jsonl"
    await unsaf_async.evaluate("tiny-s", images=scenes, questions=4, out=home / "teacher", cache=None)
    await unsaf_async.evaluate("tiny-xs", questions_from=home / "teacher", out=home / "student", cache=None)


@pytest.fixture
def recipe(made: Made, tmp_path: Path) -> Callable[..., Recipe]:
    """A recipe of five small steps on one thread; what is given overrides it."""

    def of(**given: Any) -> Recipe:
        settings: dict[str, Any] = {
            "data": made.data,
            "student": str(made.students["llava"]),
            "out": tmp_path / "out",
            "batch": 2,
            "max_steps": 5,
            "learning_rate": 1e-3,
            "threads": 1,
            "device": "cpu",
        }
        return Recipe(**{**settings, **given})

    return of


@pytest.fixture
def changed(made: Made, tmp_path: Path) -> Callable[..., Path]:
    """A copy of the export in which `change` has been at a split's rows, a list of dicts; folder: "data" or "preferences"."""

    def of(split: str, change: Callable[[list[dict[str, Any]]], None], folder: str = "data") -> Path:
        copy = tmp_path / "changed"
        if not copy.exists():
            shutil.copytree(made.data, copy)
        file = next((copy / folder).glob(f"{split}-*.parquet"))
        table = pq.read_table(file)
        rows = table.to_pylist()
        change(rows)
        pq.write_table(pa.Table.from_pylist(rows, schema=table.schema), file)
        return copy

    return of
