"""What a training was begun with: what must stay is named with both values, what may change is free; no torch is needed."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from dataclasses import fields, replace
from typing import TYPE_CHECKING

import pytest

from unsaf_async.distill.train.begun import CHECKPOINTS, FREE, NAME, check_begun, check_revision, write_begun
from unsaf_async.distill.train.early import check_early
from unsaf_async.distill.train.recipe import Recipe
from unsaf_async.errors import UserError

if TYPE_CHECKING:
    from pathlib import Path


def rows(folder: Path, text: str) -> Path:
    """A folder with the names of an export's files; whoever hashes them does not read what is in them."""
    for split in ("train", "validation"):
        for kind in ("data", "preferences"):
            (folder / kind).mkdir(parents=True, exist_ok=True)
            (folder / kind / f"{split}-00000-of-00001.parquet").write_text(f"{kind} {split} {text}", "utf-8")
    return folder


@pytest.fixture
def begun(tmp_path: Path) -> Recipe:
    """A training that was killed after its fifth step."""
    recipe = Recipe(data=rows(tmp_path / "d0", "a"), student="tiny-xs", out=tmp_path / "st", max_steps=20, save_every=5)
    write_begun(recipe, recipe.out / CHECKPOINTS)
    (recipe.out / CHECKPOINTS / "checkpoint-5").mkdir()
    (recipe.out / CHECKPOINTS / "checkpoint-5" / "trainer_state.json").write_text("{}")
    return replace(recipe, resume=True)


def test_all_that_differs_is_one_line_with_both_values(begun: Recipe, tmp_path: Path) -> None:
    check_early(begun)
    other = replace(
        begun,
        data=rows(tmp_path / "d2", "b"),
        learning_rate=0.01,
        rslora=True,
        max_steps=None,
        lora_targets=("q_proj", "v_proj"),
        seed=1,
    )
    with pytest.raises(UserError) as told:
        check_early(other)
    assert str(told.value) == (
        f"resume: {begun.out} was begun with data d0 (now d2, with other rows), max_steps 20 (now not given), "
        "learning_rate 0.0001 (now 0.01), lora_targets not given (now q_proj v_proj), rslora off (now on), "
        "seed 0 (now 1); give what it was begun with, or another out without resume"
    )


def test_what_does_not_change_the_result_is_free_and_all_else_is_not(begun: Recipe) -> None:
    free = {
        "save_every": 2,
        "workers": 2,
        "threads": 1,
        "checkpointing": True,
        "merge": False,
        "allow_near_copies": True,
        "report_to": ("mlflow",),
        "push_to_hub": "a/b",
        "public": True,
    }
    check_begun(replace(begun, **free))
    assert {*free, "out", "resume", "push_merged"} == FREE
    kept = json.loads((begun.out / CHECKPOINTS / NAME).read_text("utf-8"))["settings"]
    assert kept.keys() | FREE == {each.name for each in fields(Recipe)}
    for setting in (
        {"batch": 4},
        {"eval_every": 3},
        {"dpo": True},
        {"lora_r": 4},
        {"student": "tiny-s"},
        {"bf16": False},
    ):
        with pytest.raises(UserError, match=f"was begun with .*{next(iter(setting))} "):
            check_begun(replace(begun, **setting))


def test_the_same_rows_may_have_moved_and_others_of_the_same_name_are_refused(begun: Recipe, tmp_path: Path) -> None:
    check_begun(replace(begun, data=rows(tmp_path / "elsewhere", "a")))
    (begun.data / "preferences" / "train-00000-of-00001.parquet").write_text("other pairs, which were not asked for")
    check_begun(begun)
    (begun.data / "data" / "validation-00000-of-00001.parquet").write_text("others")
    with pytest.raises(UserError, match=r"was begun with data d0 \(now d0, with other rows\); give"):
        check_begun(begun)


def test_the_number_of_processes_stays(begun: Recipe, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WORLD_SIZE", "4")
    with pytest.raises(UserError, match=r"was begun with processes 1 \(now 4\); give"):
        check_begun(begun)


def test_the_commit_of_the_student_stays(begun: Recipe) -> None:
    write_begun(replace(begun, revision="abc"), begun.out / CHECKPOINTS)
    check_begun(begun)  # what the hub calls the newest is asked for later
    check_revision(replace(begun, revision="abc"))
    with pytest.raises(UserError, match=r"was begun with revision abc \(now def\); give"):
        check_revision(replace(begun, revision="def"))


def test_a_setting_that_the_file_lacks_had_its_default(begun: Recipe) -> None:
    file = begun.out / CHECKPOINTS / NAME
    told = json.loads(file.read_text("utf-8"))
    for name in ("dora", "lora_targets", "max_pixels"):
        del told["settings"][name]
    file.write_text(json.dumps(told | {"later": 1}), "utf-8")
    check_begun(begun)
    with pytest.raises(UserError, match=r"dora off \(now on\)"):
        check_begun(replace(begun, dora=True))


def test_a_folder_of_an_earlier_version_goes_on_and_a_torn_file_is_one_line(begun: Recipe) -> None:
    file = begun.out / CHECKPOINTS / NAME
    file.write_text("{", "utf-8")
    with pytest.raises(UserError, match=r"begun\.json: cannot be read \(.*\); give a new folder$"):
        check_begun(begun)
    file.unlink()
    check_begun(replace(begun, lora_r=4))
    check_revision(replace(begun, revision="abc"))


def test_it_is_refused_before_torch_is_imported(begun: Recipe) -> None:
    code = (
        "import sys\nfrom unsaf_async.cli import main\n"
        "try: code = main(sys.argv[1:])\nexcept SystemExit as error: code = error.code\n"
        "print(code, [name for name in ('torch', 'transformers', 'trl', 'pyarrow') if name in sys.modules])"
    )
    options = ["--data", str(begun.data), "--student", "tiny-xs", "--out", str(begun.out), "--max-steps", "20"]
    done = subprocess.run(
        [sys.executable, "-c", code, "distill", *options, "--resume", "--lora-r", "4"],
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    assert f"--resume: {begun.out} was begun with --lora-r 16 (now 4); give" in done.stderr
    assert done.stdout.strip() == "2 []"


# --- a kill before the first checkpoint -------------------------------------------------------------------------------


def test_what_a_kill_before_the_first_checkpoint_leaves_is_begun_anew(begun: Recipe) -> None:
    shutil.rmtree(begun.out / CHECKPOINTS / "checkpoint-5")
    (begun.out / "pictures.bin").touch()
    (begun.out / CHECKPOINTS / "runs").mkdir()
    check_early(replace(begun, resume=False, lora_r=4))
    with pytest.raises(UserError, match=r"there is no checkpoint in .*; leave resume out to begin anew$"):
        check_early(begun)
    (begun.out / CHECKPOINTS / "mine.txt").touch()
    with pytest.raises(UserError, match=r"^out .*: is not empty; give a new or empty folder$"):
        check_early(replace(begun, resume=False))
