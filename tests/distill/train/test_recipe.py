"""Settings that make no sense are refused in one line."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from unsaf_async.distill.train.recipe import Recipe
from unsaf_async.errors import UserError


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"epochs": 0.0}, "epochs 0: is not above 0; give a positive number"),
        ({"learning_rate": float("nan")}, "learning_rate nan: is not above 0; give a positive number"),
        ({"batch": 0}, "batch 0: is below 1; give 1 or more"),
        ({"max_steps": -1}, "max_steps -1: is below 1; give 1 or more"),
        ({"warmup": 1.0}, "warmup 1: is no share; give a number from 0 to below 1"),
        ({"lora_dropout": -0.1}, "lora_dropout -0.1: is no share; give a number from 0 to below 1"),
        ({"schedule": "step"}, "schedule step: is not known; give one of cosine, linear, constant"),
        (
            {"report_to": ("neptune",)},
            "report_to neptune: is not known; give one of tensorboard, wandb, mlflow, trackio",
        ),
        ({"student": " "}, "student: is empty; give a folder, a tiny model's name or a hub id"),
        ({"dpo_beta": 0.0}, "dpo_beta 0: is not above 0; give a positive number"),
    ],
)
def test_a_wrong_setting_is_one_line(wrong: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError) as caught:
        Recipe(**{"data": Path("d"), "student": "tiny-xs", "out": Path("o"), **wrong})
    assert str(caught.value) == message


def test_settings_that_contradict_each_other_are_refused() -> None:
    of = {"data": Path("d"), "student": "tiny-xs", "out": Path("o")}
    with pytest.raises(UserError, match=r"^bf16 and device='cpu'"):
        Recipe(**of, bf16=True, device="cpu")
    with pytest.raises(UserError, match=r"^patience"):
        Recipe(**of, patience=1, eval_every=2, save_every=3)
    with pytest.raises(UserError, match=r"^public: goes with push_to_hub$"):
        Recipe(**of, public=True)
    with pytest.raises(UserError, match=r"^push_merged: there is no merged model with merge=False$"):
        Recipe(**of, push_to_hub="a/b", push_merged=True, merge=False)


def test_a_recipe_as_json_holds_no_path_of_the_machine() -> None:
    record = Recipe(data=Path("/secret/data"), student="/secret/model", out=Path("/secret/out")).to_dict()
    assert "/secret" not in str(record)
    assert record["data"] == "data"
