"""Training for real: tiny students of three families, on one process and on two, stopped and resumed."""

from __future__ import annotations

import importlib.util
import json
import os
import random
import re
import shutil
import subprocess
import sys
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch
from commandline import command, example_of
from distill.train.teaching import Made, adapter_of, example, logits, read_json, rows_of
from peft import PeftModel
from PIL import Image
from safetensors.torch import load_file
from transformers import AutoModelForImageTextToText, AutoProcessor
from trl import SFTConfig, SFTTrainer

import unsaf_async
from unsaf_async.distill.train.imitation import Imitation
from unsaf_async.distill.train.recipe import Recipe
from unsaf_async.distill.train.recipe_file import read_recipe
from unsaf_async.distill.train.train import train
from unsaf_async.errors import UserError
from unsaf_async.tiny.folders import SHIPPED

if TYPE_CHECKING:
    from collections.abc import Callable

    Recipes = Callable[..., Recipe]

pytestmark = pytest.mark.filterwarnings("default::DeprecationWarning", "default::FutureWarning")


STUDENT = ["README.md", "adapter", "merged", "recipe.yaml", "training.json"]
"""What lies in the folder of a trained student."""


# --- the three families -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("family", ["llava", "idefics3", "gemma3"])
def test_a_family_trains_and_its_merged_model_says_what_the_adapter_says(
    family: str, made: Made, recipe: Recipes
) -> None:
    student = made.students[family]
    before = {file.name: file.read_bytes() for file in student.iterdir()}
    trained = train(recipe(student=str(student)))
    assert trained.steps == 5
    assert [step for step, _ in trained.sft.losses] == [1, 2, 3, 4, 5]
    assert {file.name: file.read_bytes() for file in student.iterdir()} == before

    base = AutoModelForImageTextToText.from_pretrained(student)
    inputs = example(AutoProcessor.from_pretrained(trained.adapter), rows_of(made.data, "validation")[0])
    alone = logits(base, inputs)
    adapted = logits(PeftModel.from_pretrained(base, trained.adapter), inputs)
    merged = logits(AutoModelForImageTextToText.from_pretrained(trained.merged), inputs)
    assert float((adapted - merged).abs().max()) <= 1e-5
    assert float((adapted - alone).abs().max()) > 1e-3

    # what vLLM loads: the language model's layers and no other, by the names under which transformers has them
    keys = adapter_of(trained.adapter.parent)
    language = {"idefics3": "text_model"}.get(family, "language_model")
    assert len(keys) == 2 * 14  # seven linear layers a block, two blocks
    assert all(key.startswith(f"base_model.model.model.{language}.layers.") for key in keys)

    source, written = load_file(student / "model.safetensors"), load_file(trained.merged / "model.safetensors")
    assert written.keys() == source.keys()
    changed = {name for name in source if not torch.equal(source[name], written[name])}
    assert changed == {
        name for name in source if language in name and name.endswith("proj.weight") and "layers" in name
    }


def test_a_shipped_student_is_saved_as_it_came_and_runs_in_process(made: Made, recipe: Recipes) -> None:
    trained = train(recipe(student="tiny-xs", batch=8))
    config = read_json(trained.adapter / "adapter_config.json")
    assert config["base_model_name_or_path"] == "tiny-xs"
    source = load_file(SHIPPED / "tiny-xs" / "model.safetensors")
    written = load_file(trained.merged / "model.safetensors")
    assert {name: (tensor.dtype, tensor.shape) for name, tensor in written.items()} == {
        name: (tensor.dtype, tensor.shape) for name, tensor in source.items()
    }
    changed = {name for name in source if not torch.equal(source[name], written[name])}
    assert changed
    assert all(name.startswith("language_model.model.layers.") and "_proj" in name for name in changed)
    assert any(
        name.startswith("vision_tower.vision_model.") for name in written
    )  # vLLM's name; transformers drops a level

    import asyncio

    found = asyncio.run(
        unsaf_async.evaluate("tiny", model=str(trained.merged), limit=3, questions=2, cache=None, out="measured")
    )
    assert found.images.done == 3


def test_record_and_card_tell_what_was_done_and_no_path(made: Made, recipe: Recipes) -> None:
    lines: list[str] = []
    settings = recipe(eval_every=2)
    trained = train(settings, lines.append)
    told = read_json(settings.out / "training.json")
    assert told["recipe"]["learning_rate"] == 1e-3
    assert told["trainable"] == trained.trainable == sum(tensor.numel() for tensor in adapter_of(settings.out).values())
    assert told["parameters"] == sum(
        t.numel() for t in load_file(made.students["llava"] / "model.safetensors").values()
    )
    assert [step for step, _ in told["stages"][0]["eval_losses"]] == [0, 2, 4, 5]
    assert set(told["stages"][0]["eval_by_kind"]) == {row["kind"] for row in rows_of(made.data, "validation")}
    assert told["merged"]["compared"]["merge_error"] <= 1e-5
    card = (settings.out / "README.md").read_text("utf-8")
    assert "license: other" in card
    assert "Every model ran in process" in card  # the data's terms
    assert told["frozen_sha256"] in card
    log = told["stages"][0]["log"]
    assert [line["step"] for line in log] == [1, 2, 3, 4, 5]
    assert all(value > 0 for line in log for name, value in line.items() if name != "learning_rate")
    assert max(line["learning_rate"] for line in log) == pytest.approx(1e-3)
    assert any(
        re.search(r"step 5 of 5: loss .*, rate .*, gradient .*, [\d,]+ tokens/s, .* samples/s$", line) for line in lines
    )
    everything = card + json.dumps(told)
    assert str(settings.out.parent) not in everything
    assert str(made.data.parent) not in everything
    assert any(line.startswith("step 5 of 5") for line in lines)
    assert sorted(each.name for each in settings.out.iterdir()) == STUDENT


# --- the numbers ------------------------------------------------------------------------------------------------------


def test_the_loss_on_a_cpu_is_the_one_that_trl_computes(made: Made, tmp_path: Path) -> None:
    student = made.students["llava"]
    processor = AutoProcessor.from_pretrained(student)
    model = AutoModelForImageTextToText.from_pretrained(student)
    from datasets import Dataset

    rows = rows_of(made.data, "train")[:6]
    data = Dataset.from_list(
        [
            {
                "images": [Image.open(BytesIO(row["images"][0]["bytes"])).convert("RGB")],
                "prompt": row["prompt"],
                "completion": row["completion"],
            }
            for row in rows
        ]
    )
    arguments = SFTConfig(output_dir=str(tmp_path / "trl"), max_length=None, use_cpu=True, bf16=False, report_to="none")
    trainer = Imitation(model=model, args=arguments, processing_class=processor, train_dataset=data)
    batch = trainer.data_collator([data[index] for index in range(6)])
    for items in (None, torch.tensor(17)):
        ours = trainer.compute_loss(model, {**batch}, num_items_in_batch=items)
        theirs = SFTTrainer.compute_loss(trainer, model, {**batch}, num_items_in_batch=items)
        assert ours.item() == pytest.approx(theirs.item(), rel=1e-5)


def test_the_same_recipe_gives_the_same_weights_and_leaves_nothing_behind(
    made: Made, recipe: Recipes, tmp_path: Path
) -> None:
    random.seed(5)
    np.random.seed(5)
    torch.manual_seed(5)
    expected = random.random(), float(np.random.rand()), float(torch.rand(1))
    random.seed(5)
    np.random.seed(5)
    torch.manual_seed(5)
    threads = torch.get_num_threads()
    # dropout and data order would show any random number that the seed does not govern
    one = train(recipe(out=tmp_path / "one", lora_dropout=0.3, merge=False))
    assert (random.random(), float(np.random.rand()), float(torch.rand(1))) == expected
    assert torch.get_num_threads() == threads
    # as whoever is given the student does it
    given = {"data": made.data, "student": str(made.students["llava"]), "out": tmp_path / "two"}
    two = train(Recipe(**{**read_recipe(tmp_path / "one" / "recipe.yaml"), **given}))
    other = train(recipe(out=tmp_path / "other", lora_dropout=0.3, merge=False, seed=1))
    files = [(t.adapter / "adapter_model.safetensors").read_bytes() for t in (one, two, other)]
    assert files[0] == files[1] != files[2]
    assert one.sft.losses == two.sft.losses
    assert one.merged is None


def test_tokens_are_counted_as_they_are_seen(made: Made, recipe: Recipes) -> None:
    rows = rows_of(made.data, "train")
    trained = train(recipe(max_steps=None, epochs=1, batch=16, merge=False))
    processor = AutoProcessor.from_pretrained(made.students["llava"])
    seen = sum(example(processor, row)["input_ids"].shape[1] for row in rows)
    replies = [f"{row['completion'][0]['content']}<eos>" for row in rows]
    supervised = sum(map(len, processor.tokenizer(replies, add_special_tokens=False)["input_ids"]))
    assert (trained.sft.tokens, trained.sft.supervised_tokens) == (seen, supervised)
    assert sum(share.tokens for share in trained.preflight.kinds.values()) == supervised


# --- stopped, resumed, several processes ------------------------------------------------------------------------------


def test_an_interrupted_training_goes_on_as_if_nothing_had_happened(recipe: Recipes, tmp_path: Path) -> None:
    whole = train(recipe(out=tmp_path / "whole", max_steps=8, save_every=2, merge=False))

    def stop(line: str) -> None:
        if line.startswith("step 5"):
            raise KeyboardInterrupt

    settings = {"max_steps": 8, "save_every": 2, "merge": False}
    with pytest.raises(KeyboardInterrupt):
        train(recipe(out=tmp_path / "parts", **settings), stop)
    with pytest.raises(UserError, match="resume"):
        train(recipe(out=tmp_path / "parts", **settings))
    parts = train(recipe(out=tmp_path / "parts", resume=True, **settings))
    assert parts.sft.losses == whole.sft.losses
    assert parts.sft.eval_losses == whole.sft.eval_losses
    assert (parts.sft.tokens, parts.sft.supervised_tokens) == (whole.sft.tokens, whole.sft.supervised_tokens)
    assert len(whole.sft.losses) == 8
    for name, tensor in adapter_of(tmp_path / "whole").items():
        assert torch.equal(tensor, adapter_of(tmp_path / "parts")[name]), name


def test_a_training_that_breaks_is_one_line_and_goes_on(
    recipe: Recipes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = {"max_steps": 4, "save_every": 2}
    sound = Imitation.training_step

    def breaks(trainer: Any, *given: Any, **named: Any) -> Any:
        if trainer.state.global_step == 3:
            raise RuntimeError("CUDA error:\nan illegal memory access")
        return sound(trainer, *given, **named)

    with monkeypatch.context() as patched:
        patched.setattr(Imitation, "training_step", breaks)
        with pytest.raises(
            UserError, match=r"stopped after step 3 .*; give resume to go on from checkpoint-2$"
        ) as told:
            train(recipe(**settings))
    assert "\n" not in str(told.value)

    # and the merge that follows, when there is no memory for it: record, card and adapter are there
    def short(*_: Any, **__: Any) -> None:
        raise torch.OutOfMemoryError("CUDA out of memory")

    with monkeypatch.context() as patched:
        patched.setattr("unsaf_async.distill.train.train.merge", short)
        with pytest.raises(
            UserError, match=r"merged: was not made .*; the adapter is in .*; give resume to merge again"
        ):
            train(recipe(resume=True, **settings))
    out = tmp_path / "out"
    assert read_json(out / "training.json")["merged"] is None
    assert "## The merged model" not in (out / "README.md").read_text("utf-8")
    assert not (out / "merged").exists()
    told_before = read_json(out / "training.json")["stages"][0]
    assert told_before["tokens"] > told_before["supervised_tokens"] > 0

    (out / "checkpoints" / "begun.json").rename(tmp_path / "begun.json")  # and with other settings than it has
    with pytest.raises(
        UserError, match=r"^resume: .*checkpoint-4 has another adapter .*; give lora_r and the adapter's"
    ):
        train(recipe(resume=True, lora_r=4, **settings))
    (tmp_path / "begun.json").rename(out / "checkpoints" / "begun.json")
    with pytest.raises(UserError, match=r"was begun with lora_r 16 \(now 4\)"):
        train(recipe(resume=True, lora_r=4, **settings))

    done = train(recipe(resume=True, **settings))
    again = read_json(out / "training.json")["stages"][0]
    assert [again[name] for name in ("steps", "tokens", "supervised_tokens")] == [
        told_before[name] for name in ("steps", "tokens", "supervised_tokens")
    ]
    assert done.check.merge_error <= 1e-5
    assert "## The merged model" in (out / "README.md").read_text("utf-8")
    assert sorted(each.name for each in out.iterdir()) == STUDENT


def test_a_folder_that_is_in_use_or_has_nothing_to_resume_is_refused(recipe: Recipes, tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    with pytest.raises(UserError, match=r"^resume: there is no checkpoint"):
        train(recipe(resume=True))
    (tmp_path / "out" / "mine.txt").write_text("mine")
    with pytest.raises(UserError, match=r"^out .*: is not empty; give a new or empty folder$"):
        train(recipe())
    assert [file.name for file in (tmp_path / "out").iterdir()] == ["mine.txt"]


@pytest.mark.parametrize("name", ["tensorboard", "wandb"])
def test_a_reporter_that_is_not_installed_is_one_line(name: str, recipe: Recipes) -> None:
    if importlib.util.find_spec(name) is not None:
        pytest.skip(f"{name} is installed")
    with pytest.raises(UserError, match=f"^report_to {name}: is not installed; pip install {name}, or leave it out$"):
        train(recipe(max_steps=1, report_to=(name,)))
    assert "TENSORBOARD_LOGGING_DIR" not in os.environ


def test_what_tensorboard_was_told_is_still_there_at_the_end(recipe: Recipes) -> None:
    pytest.importorskip("tensorboard")
    asked = recipe(max_steps=2, report_to=("tensorboard",))
    train(asked)
    assert list((asked.out / "tensorboard").glob("events.out.*"))


TRACKIO = """
import json, types
def told(what, **of):
    with open("told.jsonl", "a") as file:
        file.write(json.dumps([what, of]) + "\\n")
config = {}
context_vars = types.SimpleNamespace(current_space_id=types.SimpleNamespace(get=lambda: None))
def init(project, name, **_):
    told("init", project=project, name=name)
    return types.SimpleNamespace(config=config, project=project)
def log(metrics, **_):
    told("log", names=sorted(metrics))
def finish():
    told("finish")
"""
"""A library of that name, as transformers calls it: it writes down what it is told."""


def test_a_tracker_has_one_run_of_a_training_under_its_name(
    recipe: Recipes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "lib").mkdir()
    (tmp_path / "lib" / "trackio.py").write_text(TRACKIO)
    monkeypatch.syspath_prepend(tmp_path / "lib")
    monkeypatch.chdir(tmp_path)
    train(recipe(max_steps=2, report_to=("trackio",), merge=False))
    told = [json.loads(line) for line in (tmp_path / "told.jsonl").read_text().splitlines()]
    assert [of for what, of in told if what == "init"] == [{"project": "unsaf-async", "name": "out"}]
    assert told[-1][0] == "finish"
    assert any("train/tokens_per_s" in of["names"] for what, of in told if what == "log")
    assert "MLFLOW_EXPERIMENT_NAME" not in os.environ


def test_patience_ends_a_training_that_gets_worse_and_keeps_the_best(recipe: Recipes) -> None:
    trained = train(
        recipe(student="tiny-xs", max_steps=60, eval_every=3, patience=1, learning_rate=0.03, warmup=0.0, merge=False)
    )
    losses = dict(trained.sft.eval_losses)
    assert trained.steps < 60
    assert trained.sft.best_step == min((step for step in losses if step), key=losses.__getitem__)
    assert trained.steps == trained.sft.best_step + 3


def test_a_loss_that_is_no_number_is_an_error(recipe: Recipes) -> None:
    with pytest.raises(UserError, match=r"^learning_rate .*give a lower one$"):
        train(recipe(learning_rate=1e38, warmup=0.0, schedule="constant", merge=False))


def environment() -> dict[str, str]:
    return {**os.environ, "OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""}


def test_two_processes_train_what_one_does(made: Made, recipe: Recipes, tmp_path: Path) -> None:
    alone = train(recipe(out=tmp_path / "one", lora_dropout=0.0, max_steps=3, merge=False, batch=1, accumulate=2))
    # --multi_gpu is what starts processes, on CPUs too: with --cpu accelerate starts but one
    launch = [
        sys.executable,
        "-m",
        "accelerate.commands.launch",
        "--multi_gpu",
        "--num_processes",
        "2",
        "--num_machines",
        "1",
    ]
    launch += ["--mixed_precision", "no", "--dynamo_backend", "no", "--main_process_port", "0"]
    options = ["--data", str(made.data), "--student", str(made.students["llava"]), "--out", str(tmp_path / "two")]
    options += ["--batch", "1", "--max-steps", "3", "--learning-rate", "1e-3", "--lora-dropout", "0"]
    options += ["--device", "cpu", "--threads", "1"]
    done = subprocess.run(
        [*launch, "-m", "unsaf_async", "distill", *options],
        capture_output=True,
        text=True,
        env=environment(),
        timeout=240,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    told = read_json(tmp_path / "two" / "training.json")
    assert told["processes"] == 2
    assert told["stages"][0]["tokens"] == alone.sft.tokens
    assert [loss for _, loss in told["stages"][0]["losses"]] == pytest.approx(
        [loss for _, loss in alone.sft.losses], rel=1e-4
    )
    for name, tensor in adapter_of(tmp_path / "one").items():
        assert torch.allclose(tensor, adapter_of(tmp_path / "two")[name], atol=1e-5), name
    assert done.stdout.count("Adapter:") == 1


def test_qlora_holds_the_language_model_alone_in_four_bits(made: Made, recipe: Recipes) -> None:
    pytest.importorskip("bitsandbytes")
    trained = train(recipe(qlora=True, max_steps=3))
    assert trained.steps == 3
    assert trained.check.merge_error <= 1e-5
    assert len(adapter_of(trained.adapter.parent)) == 28


# --- preferences ------------------------------------------------------------------------------------------------------


def test_a_second_stage_on_preferences_goes_on_from_the_first(made: Made, recipe: Recipes) -> None:
    settings = recipe(student="tiny-xs", dpo=True, dpo_max_steps=3, max_steps=2, dpo_learning_rate=1e-4)
    trained = train(settings)
    assert trained.dpo.steps == 3
    assert trained.steps == 5
    first = load_file(settings.out / "adapter-sft" / "adapter_model.safetensors")
    second = adapter_of(settings.out)
    assert first.keys() == second.keys()
    assert any(not torch.equal(first[name], second[name]) for name in first)
    # the policy begins as its own reference: log 2, and a fifth of the imitation loss, which is above 0
    assert trained.dpo.losses[0][1] > np.log(2)
    assert trained.preflight.pairs == sum(
        len(rows_of(made.data, split, "preferences")) for split in ("train", "validation")
    )


def test_an_interrupted_second_stage_goes_on(recipe: Recipes, tmp_path: Path) -> None:
    settings = {"student": "tiny-xs", "dpo": True, "dpo_max_steps": 4, "max_steps": 2, "save_every": 1, "merge": False}
    whole = train(recipe(out=tmp_path / "whole", **settings))

    def stop(line: str) -> None:
        if line.startswith("step 3 of 4"):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train(recipe(out=tmp_path / "parts", **settings), stop)
    parts = train(recipe(out=tmp_path / "parts", resume=True, **settings))
    assert parts.sft.losses == whole.sft.losses
    assert parts.dpo.losses == whole.dpo.losses
    assert parts.sft.steps == 2
    assert (parts.sft.tokens, parts.dpo.tokens) == (whole.sft.tokens, whole.dpo.tokens)
    assert parts.sft.tokens_per_s > 0
    for name, tensor in adapter_of(tmp_path / "whole").items():
        assert torch.equal(tensor, adapter_of(tmp_path / "parts")[name]), name


# --- the command ------------------------------------------------------------------------------------------------------


def test_without_the_libraries_one_line_says_what_to_install(tmp_path: Path) -> None:
    there = Path(torch.__file__).parent.parent
    links = tmp_path / "site-packages"
    links.mkdir()
    for each in there.iterdir():
        if not each.name.startswith("trl"):
            (links / each.name).symlink_to(each)
    package = Path(unsaf_async.__file__).parent.parent
    done = subprocess.run(
        [sys.executable, "-S", "-m", "unsaf_async", "distill", "--data", "d", "--student", "tiny-xs", "--out", "o"],
        capture_output=True,
        text=True,
        env={**environment(), "PYTHONPATH": f"{links}{os.pathsep}{package}"},
        timeout=60,
        check=False,
    )
    assert done.returncode == 2
    assert (
        done.stderr
        == "unsaf-async: distill: trl is not installed; in a checkout of unsaf-async: pip install '.[distill]'\n"
    )
    assert done.stdout == ""


def test_help_needs_none_of_the_libraries() -> None:
    code = (
        "import sys, unsaf_async.cli.distill, unsaf_async.distill.train.recipe;"
        "print([name for name in ('torch', 'transformers', 'trl', 'pyarrow') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout.strip() == "[]"


def test_the_command_trains_and_prints_what_came_of_it(made: Made, tmp_path: Path) -> None:
    options = ["--data", str(made.data), "--student", "tiny-xs", "-o", str(tmp_path / "out"), "--max-steps", "2"]
    done = subprocess.run(
        [sys.executable, "-m", "unsaf_async", "distill", *options, "--device", "cpu", "--threads", "1", "--no-merge"],
        capture_output=True,
        text=True,
        env=environment(),
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    assert "imitation" in done.stdout
    assert f"Adapter: {tmp_path / 'out' / 'adapter'}" in done.stdout.replace("\n", "")
    assert "step 2 of 2: loss" in done.stderr
    assert "Traceback" not in done.stderr
    shutil.rmtree(tmp_path / "out")


def test_the_pages_example_trains_a_student_that_can_be_measured(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    commands = example_of("training.md")
    assert [words[0] for words in commands] == ["world", "run", "export", "distill", "run"]
    for words in commands:
        ended = command(capsys, *words)
        assert ended.code == 0, ended.err
    assert "UnF1" in ended.out
