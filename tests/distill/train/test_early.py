"""What is refused before torch is imported: folders, families that do not train."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from unsaf_async.distill.train.early import UNTRAINED, check_early, last_checkpoint
from unsaf_async.distill.train.recipe import Recipe
from unsaf_async.errors import UserError

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """A folder with the names of an export's files; nothing reads what is in them."""
    folder = tmp_path / "data"
    (folder / "data").mkdir(parents=True)
    (folder / "data" / "train-00000-of-00001.parquet").touch()
    return folder


def model(folder: Path, model_type: str) -> str:
    folder.mkdir()
    (folder / "config.json").write_text(json.dumps({"model_type": model_type}), "utf-8")
    return str(folder)


@pytest.mark.parametrize("model_type", sorted(UNTRAINED))
def test_a_family_that_does_not_train_is_refused_by_its_configuration_alone(
    model_type: str, data: Path, tmp_path: Path
) -> None:
    student = model(tmp_path / "student", model_type)
    with pytest.raises(UserError, match=f"is a {model_type}, which is not trained here: .*; choose another") as caught:
        check_early(Recipe(data=data, student=student, out=tmp_path / "out"))
    assert "\n" not in str(caught.value)
    check_early(Recipe(data=data, student=model(tmp_path / "other", "qwen3_vl"), out=tmp_path / "out"))


def test_a_torn_configuration_is_one_line(data: Path, tmp_path: Path) -> None:
    student = model(tmp_path / "student", "qwen3_vl")
    (tmp_path / "student" / "config.json").write_text("{", "utf-8")
    with pytest.raises(UserError, match=r"config\.json cannot be read .*; give a folder"):
        check_early(Recipe(data=data, student=student, out=tmp_path / "out"))


def test_a_file_is_no_folder_to_write_to(data: Path, tmp_path: Path) -> None:
    (tmp_path / "out").touch()
    with pytest.raises(UserError, match=r"^out .*: is a file; give a new or empty folder$"):
        check_early(Recipe(data=data, student="tiny-xs", out=tmp_path / "out"))


def test_the_last_checkpoint_is_the_one_with_the_highest_step(tmp_path: Path) -> None:
    assert last_checkpoint(tmp_path / "none") is None
    for name in ("checkpoint-9", "checkpoint-10", "checkpoint-last", "tensorboard"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "trainer_state.json").write_text("{}")
    assert last_checkpoint(tmp_path) == tmp_path / "checkpoint-10"


def test_a_checkpoint_that_a_kill_cut_off_in_writing_is_none(data: Path, tmp_path: Path) -> None:
    recipe = Recipe(data=data, student="tiny-xs", out=tmp_path / "out")
    cut_off = recipe.out / "checkpoints" / "checkpoint-4"
    cut_off.mkdir(parents=True)
    (cut_off / "adapter_model.safetensors").touch()
    check_early(recipe)  # it is begun anew
    for state, last in (('{"global_st', None), ("{}", cut_off)):
        (cut_off / "trainer_state.json").write_text(state)
        assert last_checkpoint(cut_off.parent) == last
    (cut_off.parent / "checkpoint-8").mkdir()
    assert last_checkpoint(cut_off.parent) == cut_off


def test_a_student_is_not_written_into_the_data(data: Path) -> None:
    for out in (data, data / "students" / "first"):
        with pytest.raises(UserError, match=r"^out .*: lies in the data, .*; give a folder elsewhere$"):
            check_early(Recipe(data=data, student="tiny-xs", out=out))


@pytest.mark.parametrize(
    ("variable", "name"), [("ACCELERATE_USE_FSDP", "FSDP"), ("ACCELERATE_USE_DEEPSPEED", "DeepSpeed")]
)
def test_weights_that_are_to_be_spread_over_processes_are_told_first(
    variable: str, name: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv(variable, "true")
    with pytest.raises(
        UserError, match=rf"^distill: accelerate is set up for {name}, .*: launch without it, and give qlora"
    ):
        check_early(Recipe(data=tmp_path / "none", student="tiny-xs", out=tmp_path / "out"))


def test_a_mistyped_folder_is_told_before_torch_is_imported(tmp_path: Path) -> None:
    code = (
        "import sys\nfrom unsaf_async.cli import main\n"
        "try: code = main(sys.argv[1:])\nexcept SystemExit as error: code = error.code\n"
        "print(code, [name for name in ('torch', 'transformers', 'trl', 'pyarrow') if name in sys.modules])"
    )
    options = ["--data", str(tmp_path / "none"), "--student", "tiny-xs", "--out", str(tmp_path / "out")]
    done = subprocess.run(
        [sys.executable, "-c", code, "distill", *options], capture_output=True, text=True, timeout=60, check=True
    )
    assert "there is no such folder" in done.stderr
    assert done.stdout.strip() == "2 []"


def test_a_torchvision_of_another_build_is_one_line(tmp_path: Path) -> None:
    package = tmp_path / "torchvision"
    package.mkdir()
    (package / "__init__.py").write_text('raise RuntimeError("operator torchvision::nms does not exist")', "utf-8")
    info = tmp_path / "torchvision-0.28.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: torchvision\nVersion: 0.28.0\n", "utf-8")
    code = "from unsaf_async.distill.train.early import check_torchvision as check\ntry: check()\nexcept Exception as e: print(e)"
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
        env={**os.environ, "PYTHONPATH": str(tmp_path)},
    )
    assert done.stdout.startswith("distill: torchvision 0.28.0 does not load beside torch 2.")
    assert "operator torchvision::nms does not exist" in done.stdout
    assert done.stdout.count("\n") == 1
