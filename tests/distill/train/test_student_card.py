"""What a student's card recommends and leaves open, from records alone: nothing is trained."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from unsaf_async.distill.train.recipe import Recipe
from unsaf_async.distill.train.student_card import card


def card_of(merged: bool = True, tokens: int | None = 11_160, **given: Any) -> str:
    recipe = Recipe(data=Path("d"), student="tiny-xs", out=Path("o"), **given)
    stage = {
        "name": "sft",
        "steps": 60,
        "losses": [],
        "eval_losses": [],
        "eval_by_kind": {},
        "tokens": tokens,
        "supervised_tokens": tokens and 3_150,
        "tokens_per_s": tokens and 99.0,
    }
    checked = {
        "kinds": {},
        "pairs": 0,
        "train_rows": 3,
        "validation_rows": 0,
        "images": 1,
        "longest_tokens": 9,
        "pixel_cap": None,
        "near_copies": 0,
        "notes": [],
    }
    record = {
        "recipe": recipe.to_dict(),
        "versions": {"unsaf-async": "1"},
        "device": "cpu",
        "processes": 1,
        "parameters": 9,
        "trainable": 3,
        "adapted_layers": ["q"],
        "frozen_sha256": "ab",
        "preflight": checked,
        "stages": [stage],
        "merged": {"weights": 1, "dtypes": ["BF16"], "compared": None} if merged else None,
    }
    return card(recipe, record, None)


def test_the_way_to_serve_an_adapter_is_one_that_vllm_takes() -> None:
    assert "vllm serve BASE --enable-lora --lora-modules NAME=adapter\n  --max-lora-rank 16`" in card_of()
    assert "--max-lora-rank 64`" in card_of(lora_rank_of=("down_proj=64", "q_proj=8"))
    for merged, way in ((True, "serve `merged/`"), (False, "merge it first")):
        text = card_of(merged=merged, dora=True)
        assert f"vLLM refuses DoRA: {way}\n" in text
        assert "--enable-lora" not in text


@pytest.mark.parametrize(
    ("tokens", "row"), [(11_160, "| n/a | n/a | 11,160 | 3,150 | 99 |"), (None, "| n/a | n/a | n/a | n/a | n/a |")]
)
def test_counts_that_nobody_knows_are_na_with_the_reason(tokens: int | None, row: str) -> None:
    text = card_of(tokens=tokens)
    assert f"| sft | 60 {row}\n" in text
    assert ("went on from a checkpoint without the counts" in text) is (tokens is None)
