"""Recipes as files: three formats, one line for what is wrong, options that win, and the one beside a student."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from commandline import command

from unsaf_async.distill.train.recipe import Recipe
from unsaf_async.distill.train.recipe_file import read_recipe, write_recipe
from unsaf_async.errors import UserError

ROOT = Path(__file__).parents[3]
GIVEN = {"data": Path("d"), "student": "s", "out": Path("o")}


def test_three_formats_say_the_same(tmp_path: Path) -> None:
    texts = {
        "a.yaml": "learning_rate: 1e-3\nlora_targets: [q_proj]\ndata: teacher-data\nmerge: false\n",
        "a.toml": 'learning_rate = 1e-3\nlora_targets = ["q_proj"]\ndata = "teacher-data"\nmerge = false\n',
        "a.json": '{"learning_rate": 1e-3, "lora_targets": ["q_proj"], "data": "teacher-data", "merge": false}',
    }
    wanted = {"learning_rate": 1e-3, "lora_targets": ("q_proj",), "data": Path("teacher-data"), "merge": False}
    for name, text in texts.items():
        (tmp_path / name).write_text(text, "utf-8")
        assert read_recipe(tmp_path / name) == wanted, name


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("a.yaml", "lora_rank: 3", r"a\.yaml: lora_rank: is no setting of a training; did you mean lora_rank_of\?$"),
        ("a.yaml", "batch: many", r"a\.yaml: batch: is 'many'; it should be a valid integer"),
        ("a.yaml", "batch: true", r"a\.yaml: batch: is True; it should be a valid integer"),
        (
            "a.json",
            '{"schedule": "step"}',
            r"a\.json: schedule: is 'step'; it should be 'cosine', 'linear' or 'constant'",
        ),
        ("a.json", "[1]", r'a\.json: holds no settings by name; write one object, such as \{"lora_r": 16\}$'),
        ("a.yaml", "- a", r"a\.yaml: holds no settings by name; write one a line, such as lora_r: 16$"),
        ("a.yaml", "", r"a\.yaml: is empty; write one a line, such as lora_r: 16$"),
        ("a.json", '{"batch": 1, "seed": 2, "batch": 3}', r"a\.json: batch: is there twice; leave one$"),
        ("a.yaml", "batch: 1\nbatch: 3", r"a\.yaml: batch: is there twice; leave one$"),
        ("a.toml", "batch = 1\nbatch = 3", r"a\.toml: is no TOML \(Cannot overwrite a value .*\); correct it$"),
        (
            "a.toml",
            'lora_rank_of = "x"',
            r"a\.toml: lora_rank_of: is 'x'; it should be a list, such as \[\"NAME=N\"\]$",
        ),
        (
            "a.json",
            '{"report_to": "wandb"}',
            r'report_to: is \'wandb\'; it should be a list, such as \["tensorboard"\]$',
        ),
        ("a.yaml", "a: [", r"a\.yaml: is no YAML \(.*\); correct it$"),
        ("a.toml", "a = ", r"a\.toml: is no TOML \(.*\); correct it$"),
        ("a.txt", "batch: 3", r"a\.txt: ends in none of \.yaml, \.yml, \.json and \.toml; rename it$"),
        ("a.yaml", None, r"a\.yaml: cannot be read .*; give a recipe's file$"),
    ],
)
def test_what_is_wrong_is_one_line_with_file_and_key(name: str, text: str | None, message: str, tmp_path: Path) -> None:
    if text is not None:
        (tmp_path / name).write_text(text, "utf-8")
    with pytest.raises(UserError, match=message) as caught:
        read_recipe(tmp_path / name)
    assert "\n" not in str(caught.value)


def test_what_is_written_is_read_back_as_it_was_but_for_the_folder_of_one_training(tmp_path: Path) -> None:
    recipe = Recipe(
        data=Path("/secret/teacher-data"),
        student="Qwen/Qwen2.5-VL-7B-Instruct",
        out=Path("/secret/out"),
        revision="abc",
        lora_rank_of=("down_proj=4",),
        report_to=("mlflow",),
        resume=True,
        merge=False,
        learning_rate=2e-5,
    )
    write_recipe(recipe, tmp_path / "recipe.yaml")
    assert "secret" not in (tmp_path / "recipe.yaml").read_text("utf-8")
    again = Recipe(**{**read_recipe(tmp_path / "recipe.yaml"), "out": Path("/secret/out")})
    assert again.to_dict() == {**recipe.to_dict(), "resume": False}
    record = tmp_path / "training.json"  # the record of a training is one, too
    record.write_text(json.dumps({"recipe": recipe.to_dict(), "versions": {}}), "utf-8")
    assert read_recipe(record) | {"out": Path("o")} == read_recipe(tmp_path / "recipe.yaml") | {
        name: value for name, value in read_recipe(record).items() if value is None
    } | {"out": Path("o")}


def test_typed_options_win_and_what_nobody_gives_is_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "a.yaml"
    file.write_text(f"data: {tmp_path / 'of-the-file'}\nlora_r: 0\n", "utf-8")
    ended = command(capsys, "distill", "--recipe", str(file))
    assert (ended.code, ended.err) == (2, "unsaf-async: --student: is missing; give it, or a file that has it\n")
    ended = command(capsys, "distill", "--recipe", str(file), "--student", "tiny-xs", "--out", "o")
    assert ended.err == "unsaf-async: --lora-r 0: is below 1; give 1 or more\n"
    ended = command(capsys, "distill", "--recipe", str(file), "--student", "tiny-xs", "--out", "o", "--lora-r", "16")
    assert ended.err.startswith(f"unsaf-async: --data {tmp_path / 'of-the-file'}: there is no such folder")
    ended = command(
        capsys,
        "distill",
        "--recipe",
        str(file),
        "--student",
        "tiny-xs",
        "--out",
        "o",
        "--lora-r",
        "16",
        "--data",
        "typed",
    )
    assert ended.err.startswith("unsaf-async: --data typed: there is no such folder")


def test_the_recipe_of_the_page_is_one(tmp_path: Path) -> None:
    page = (ROOT / "docs" / "training.md").read_text("utf-8")
    block = re.search(r"^```text\n(# training\.yaml\n.*?)^```$", page, re.MULTILINE | re.DOTALL)
    assert block
    (tmp_path / "training.yaml").write_text(block[1], "utf-8")
    read = Recipe(**{**GIVEN, **read_recipe(tmp_path / "training.yaml")})
    assert (read.ranks, read.rslora, read.batch) == ((("mlp.down_proj", 64),), True, 2)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"lora_rank_of": ("down_proj",)}, r"^lora_rank_of down_proj: is no layer with its number; give NAME=N"),
        ({"lora_alpha_of": ("q_proj=0",)}, r"^lora_alpha_of q_proj=0: is no layer with its number"),
        ({"lora_experts": True}, r"^lora_experts: experts take no dropout; give lora_dropout 0, or leave it out$"),
        ({"lora_experts": True, "lora_dropout": 0.0, "dora": True}, r"^lora_experts and dora: PEFT has no DoRA"),
        ({"attention": "xformers"}, r"^attention xformers: is not known; give one of eager, sdpa"),
    ],
)
def test_an_adapter_that_cannot_be_is_one_line(wrong: dict[str, object], message: str) -> None:
    with pytest.raises(UserError, match=message):
        Recipe(**{**GIVEN, **wrong})  # type: ignore[arg-type]
