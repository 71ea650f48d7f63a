"""docs/training.md's table of families: those that train are trained by these tests, the others are refused."""

from __future__ import annotations

import json
import re
import shutil
import tomllib
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow.parquet as pq
import pytest
import torch
from distill.train.families import FAMILIES
from distill.train.newer import NEWER
from distill.train.qwen import QWENS
from distill.train.teaching import adapter_of, example, logits, rows_of
from packaging.requirements import Requirement
from peft import PeftModel
from safetensors.torch import load_file
from transformers import AutoModelForImageTextToText, AutoProcessor

from unsaf_async.distill.train import student as students
from unsaf_async.distill.train.early import UNTRAINED
from unsaf_async.distill.train.merge_check import TOLERANCE
from unsaf_async.distill.train.train import train
from unsaf_async.errors import UserError

if TYPE_CHECKING:
    from collections.abc import Callable

    from distill.train.teaching import Made

    from unsaf_async.distill.train.recipe import Recipe
    from unsaf_async.distill.train.record import Trained

    Recipes = Callable[..., Recipe]

ROOT = Path(__file__).parents[3]
PAGE = (ROOT / "docs" / "training.md").read_text("utf-8")

SIGHT = ("vision", "visual", "projector", "connector", "merger")
"""Of names: what lies on a picture's way to the language model."""
CHECKED = {name: build for name, build in {**QWENS, **NEWER}.items() if name not in ("qwen2_5_vl", "qwen3_vl_moe")}
"""The two have tests of their own."""
STOPPED = {name: {"max_steps": 2, "save_every": 1} for name in ("qwen3_5", "mistral3", "gemma4")}
"""Those that are stopped in their second step and go on: linear attention, a picture's own size, an embedding a layer."""

pytestmark = pytest.mark.filterwarnings("default::DeprecationWarning", "default::FutureWarning")


@pytest.fixture(scope="module")
def few(made: Made, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The export's first four training rows, without validation."""
    pytest.importorskip("torchvision")  # the processors take videos
    copy = tmp_path_factory.mktemp("few") / "data"
    shutil.copytree(made.data, copy)
    for file in (copy / "data").iterdir():
        table = pq.read_table(file)
        pq.write_table(table.slice(0, 4 if file.name.startswith("train") else 0), file)
    return copy


def test_the_table_of_families_is_what_the_tests_train_and_the_code_refuses() -> None:
    rows = dict(re.findall(r"^\| `(\w+)`[^|]* \| .* \| (trained|refused)\b", PAGE, re.MULTILINE))
    assert {name for name, what in rows.items() if what == "trained"} == {*FAMILIES, *QWENS, *NEWER}
    assert {name for name, what in rows.items() if what == "refused"} == set(UNTRAINED)


def test_the_versions_of_the_page_and_of_make_are_the_ends_of_what_the_extra_allows() -> None:
    lines = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]["optional-dependencies"]["distill"]
    ranges = {requirement.name: requirement.specifier for requirement in map(Requirement, lines)}
    oldest, newest = re.findall(r"transformers==([\d.]+)", (ROOT / "Makefile").read_text("utf-8"))
    assert f"transformers {oldest}, 5.19.0 and {newest}" in PAGE
    assert all(ranges["transformers"].contains(tried) for tried in (oldest, newest))
    assert not any(ranges["transformers"].contains(other) for other in ("5.10.3", "5.25.0"))
    assert "TRL 1.16" in PAGE
    assert ranges["trl"].contains("1.16.0")
    assert not any(ranges["trl"].contains(other) for other in ("1.15.9", "1.17.0"))


def _stopped_and_resumed(settings: Recipe, out: Path) -> Trained:
    """Trains whole, and again with a stop in the second step; the two must be one."""
    whole = train(replace(settings, merge=False))

    def stop(line: str) -> None:
        if line.startswith("step 2"):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train(replace(settings, out=out), stop)
    parts = train(replace(settings, out=out, resume=True))
    assert parts.sft.losses == whole.sft.losses
    for name, tensor in adapter_of(settings.out).items():
        assert torch.equal(tensor, adapter_of(out)[name]), name
    return parts


def _layer(name: str) -> str:
    """A layer's name without its beginning, which is another one in a file than in the model."""
    return name.partition("layers.")[2] or name.rpartition(".")[0].rpartition(".")[2]


@pytest.mark.parametrize("family", CHECKED)
def test_a_family_is_adapted_in_its_language_model_alone_and_sees_the_picture(
    family: str, few: Path, recipe: Recipes, tmp_path: Path
) -> None:
    student = CHECKED[family](tmp_path / "student")
    settings = recipe(student=str(student), data=few, warmup=0.0, **STOPPED.get(family, {"max_steps": 1}))
    trained = _stopped_and_resumed(settings, tmp_path / "parts") if family in STOPPED else train(settings)
    assert trained.check is not None
    outline = students.read_outline(settings)
    assert len(adapter_of(trained.adapter.parent)) == 2 * len(outline.targets)
    source, written = load_file(student / "model.safetensors"), load_file(trained.merged / "model.safetensors")
    changed = {name for name in source if not torch.equal(source[name], written[name])}
    assert {_layer(name) for name in changed} == {_layer(f"{name}.weight") for name in outline.targets}
    assert len(changed) == len(outline.targets)
    assert not any(
        mark in name for name in changed for mark in (*SIGHT, "lm_head", "embed_tokens.", "router", ".gate.")
    )

    # what the processor alone makes of a row is what was counted and trained on
    processor = AutoProcessor.from_pretrained(trained.merged)
    rows = rows_of(few, "train")
    inputs = [example(processor, row) for row in rows]
    seen = [len(each["input_ids"][0]) for each in inputs]
    # a batch of two; those that went on have had both, all four rows
    assert trained.sft.tokens in ({sum(seen)} if family in STOPPED else {one + other for one in seen for other in seen})
    assert trained.preflight.longest_tokens == max(seen)

    # and another picture is another answer, after the merge as before
    adapted = logits(
        PeftModel.from_pretrained(AutoModelForImageTextToText.from_pretrained(student), trained.adapter), inputs[0]
    )
    merged = AutoModelForImageTextToText.from_pretrained(trained.merged)
    assert float((logits(merged, inputs[0]) - adapted).abs().max()) <= TOLERANCE * max(1, float(adapted.abs().max()))
    other = {**inputs[0], "pixel_values": -inputs[0]["pixel_values"]}
    assert float((logits(merged, other) - adapted).abs().max()) > 1e-2


@pytest.mark.parametrize(
    ("config", "message"),
    [
        (
            {"model_type": "internvl_chat", "auto_map": {"AutoModel": "modeling_internvl_chat.InternVLChatModel"}},
            r"is a internvl_chat, which transformers \S+ does not know; it brings code of its own, .* ends in -hf\)$",
        ),
        ({"model_type": "qwen99_vl"}, r"is a qwen99_vl, which transformers \S+ does not know; choose another student$"),
    ],
)
def test_a_family_that_transformers_does_not_know_is_one_line(
    config: dict[str, Any], message: str, recipe: Recipes, tmp_path: Path
) -> None:
    (tmp_path / "config.json").write_text(json.dumps(config), "utf-8")
    (tmp_path / "modeling_internvl_chat.py").write_text("raise SystemExit('was run')", "utf-8")
    with pytest.raises(UserError, match=message):
        students.open_processor(recipe(student=str(tmp_path)))


def test_a_package_that_a_family_needs_is_named(made: Made, recipe: Recipes, monkeypatch: pytest.MonkeyPatch) -> None:
    def wants(*_: Any, **__: Any) -> None:
        raise ImportError("\nTimmWrapperModel requires the timm library but it was not found in your environment.")

    monkeypatch.setattr(AutoModelForImageTextToText, "from_config", wants)
    with pytest.raises(UserError, match=r": needs timm, which is not installed; pip install timm$"):
        students.read_outline(recipe())
