"""What is refused before a student is trained, and what is told: on a real export with one thing made wrong."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from io import BytesIO
from typing import TYPE_CHECKING, Any

import pytest
import torch
from distill.train import families
from distill.train.teaching import Made, read_json, rows_of
from huggingface_hub import constants
from PIL import Image, ImageEnhance
from transformers import AutoProcessor
from trl.trainer.sft_trainer import DataCollatorForVisionLanguageModeling

from unsaf_async.distill.train import corpus as corpora
from unsaf_async.distill.train import student as students
from unsaf_async.distill.train.imitation import Imitation
from unsaf_async.distill.train.merge_check import place_to_compare
from unsaf_async.distill.train.merging import merge_bytes
from unsaf_async.distill.train.preflight import preflight
from unsaf_async.distill.train.room import check_disk, check_memory, check_merge
from unsaf_async.distill.train.train import train
from unsaf_async.errors import UserError

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from unsaf_async.distill.train.preflight import Preflight
    from unsaf_async.distill.train.recipe import Recipe
    from unsaf_async.distill.train.rendering import RenderedRows

    Recipes = Callable[..., Recipe]
    Changes = Callable[..., Path]

pytestmark = pytest.mark.filterwarnings("default::DeprecationWarning", "default::FutureWarning")


def look(settings: Recipe) -> tuple[Preflight, RenderedRows]:
    """The preflight alone, as `train` calls it."""
    file = settings.out.parent / "pictures.bin"
    corpus = corpora.read(settings.data, file, preferences=settings.dpo)
    processor, outline = students.open_processor(settings), students.read_outline(settings)
    try:
        return preflight(settings, corpus, processor, outline, free_bytes=10**10, free_to_compare={"cpu": 10**10})
    finally:
        corpus.pictures.close()


def refused(settings: Recipe, message: str) -> None:
    """`train` ends with one line that has `message`, before it has trained or written anything."""
    with pytest.raises(UserError, match=message) as caught:
        train(settings)
    assert "\n" not in str(caught.value)
    assert not settings.out.exists() or list(settings.out.iterdir()) == []


def png(image: Image.Image) -> bytes:
    buffer = BytesIO()
    image.save(buffer, "PNG")
    return buffer.getvalue()


# --- what is told -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("family", ["llava", "idefics3", "gemma3"])
def test_tokens_are_those_that_the_trainer_makes_of_a_row(
    family: str, made: Made, recipe: Recipes, changed: Changes
) -> None:
    def odd_sizes(rows: list[dict[str, Any]]) -> None:
        for row, size in zip(rows, ((40, 90), (300, 70), (64, 64)), strict=False):
            row["images"][0]["bytes"] = png(Image.new("RGB", size, "red"))

    data = changed("train", odd_sizes)
    settings = recipe(student=str(made.students[family]), data=data, allow_near_copies=True)
    found, rows = look(settings)
    collate = DataCollatorForVisionLanguageModeling(
        AutoProcessor.from_pretrained(made.students[family]), completion_only_loss=True
    )
    longest = 0
    for row, rendered in list(zip(rows_of(data, "train"), rows.train, strict=True))[:8]:
        image = Image.open(BytesIO(row["images"][0]["bytes"])).convert("RGB")
        batch = collate([{"images": [image], "prompt": row["prompt"], "completion": row["completion"]}])
        assert rendered.tokens == batch["input_ids"].shape[1]
        assert rendered.reply_tokens == (int((batch["labels"] != -100).sum()),)
        longest = max(longest, rendered.tokens)
    assert found.longest_tokens >= longest
    assert found.context_tokens == 2048


def test_shares_by_kind_are_of_the_supervised_tokens(made: Made, recipe: Recipes) -> None:
    found, _ = look(recipe())
    tokenizer = AutoProcessor.from_pretrained(made.students["llava"]).tokenizer
    by_kind: dict[str, int] = {}
    for row in rows_of(made.data, "train"):
        text = f"{row['completion'][0]['content']}<eos>"
        by_kind[row["kind"]] = by_kind.get(row["kind"], 0) + len(tokenizer(text)["input_ids"])
    assert {kind: of.tokens for kind, of in found.kinds.items()} == by_kind
    assert sum(of.share for of in found.kinds.values()) == pytest.approx(1)
    told = "\n".join(found.lines())
    for kind, tokens in by_kind.items():
        assert f"{kind} " in told
        assert f"{tokens:,}" in told


def test_a_cap_on_pixels_lowers_the_tokens_of_an_image(made: Made, recipe: Recipes) -> None:
    student = str(made.students["idefics3"])
    before, after = look(recipe(student=student))[0], look(recipe(student=student, max_pixels=56 * 56))[0]
    assert after.image_tokens[1] < before.image_tokens[0]
    assert (before.pixel_cap, after.pixel_cap) == (
        "size.longest_edge 112, an edge, in tiles of 56 x 56 pixels",
        "size.longest_edge 56, an edge, in tiles of 56 x 56 pixels",
    )
    refused(recipe(max_pixels=1000), r"^max_pixels 1000: the processor of .* takes no cap; leave it out, and rows")


def test_text_alone_is_a_row_too(made: Made, recipe: Recipes, changed: Changes) -> None:
    def without_images(rows: list[dict[str, Any]]) -> None:
        for row in rows[::2]:
            row["images"] = []

    assert train(recipe(data=changed("train", without_images), merge=False)).steps == 5


def test_a_reply_that_no_template_ends_is_ended(made: Made, recipe: Recipes, tmp_path: Path) -> None:
    student = families.llava(tmp_path / "endless", end="")
    found, rows = look(recipe(student=str(student)))
    assert found.end_added
    assert all(row.texts["completion"].endswith("<eos>") for row in rows.all)
    assert not look(recipe())[0].end_added


# --- rows -------------------------------------------------------------------------------------------------------------


def test_a_row_that_teaches_nothing_is_refused(recipe: Recipes, changed: Changes) -> None:
    def empty(rows: list[dict[str, Any]]) -> None:
        rows[3]["completion"][0]["content"] = " \n"
        rows[7]["completion"][0]["content"] = ""

    refused(recipe(data=changed("train", empty)), r"row 4: has no supervised token, .*\(2 rows like it\)")


def test_an_image_in_both_splits_is_refused_by_its_id_and_by_its_bytes(
    made: Made, recipe: Recipes, changed: Changes
) -> None:
    row = rows_of(made.data, "train")[0]

    def same_bytes(rows: list[dict[str, Any]]) -> None:
        rows[0]["images"] = row["images"]

    def same_id(rows: list[dict[str, Any]]) -> None:
        rows[0]["image_id"] = row["image_id"]

    for change in (same_id, same_bytes):
        data = changed("validation", change)
        refused(recipe(data=data), r"row 1: its image is in the training split, too \(1 row like it")
        refused(recipe(data=data, allow_near_copies=True), r"in the training split, too")
        shutil.rmtree(data)


def test_a_near_copy_of_a_training_image_is_refused_unless_it_is_allowed(
    made: Made, recipe: Recipes, changed: Changes
) -> None:
    image = Image.open(BytesIO(rows_of(made.data, "train")[0]["images"][0]["bytes"])).convert("RGB")
    brighter = png(ImageEnhance.Brightness(image.resize((96, 96))).enhance(0.95))

    def copy(rows: list[dict[str, Any]]) -> None:
        rows[0]["images"][0]["bytes"] = brighter

    data = changed("validation", copy)
    refused(recipe(data=data), r"row 1: its image is nearly one of the training split's .*allow_near_copies$")
    found, _ = look(recipe(data=data, allow_near_copies=True))
    assert found.near_copies == 1
    assert look(recipe())[0].near_copies == 0


def test_a_sequence_beyond_the_context_is_refused_with_the_worst_and_what_to_do(
    made: Made, recipe: Recipes, changed: Changes
) -> None:
    def long(rows: list[dict[str, Any]]) -> None:
        for row, times in zip(rows, (3000, 4000), strict=False):
            row["prompt"][0]["content"] = "mat " * times

    data = changed("train", long)
    refused(
        recipe(data=data), r"row 2: makes \d,\d+ tokens .* takes 2,048; 2 rows are too long; its processor takes no cap"
    )
    student = str(made.students["idefics3"])  # whose processor takes one
    refused(recipe(data=data, student=student), r"2 rows are too long; cap the images with max_pixels")
    refused(recipe(data=data, student=student, max_pixels=3136), r"give a lower max_pixels than 3136")
    found, rows = look(recipe(data=data, drop_too_long=True))
    assert (found.too_long, found.train_rows) == (2, len(rows_of(data, "train")) - 2)
    assert max(each.tokens for each in rows.all) <= 2048
    assert "2 rows longer than the student takes were left out" in found.notes


# --- the folder of data -----------------------------------------------------------------------------------------------


def test_another_form_of_export_is_named(made: Made, recipe: Recipes, tmp_path: Path) -> None:
    refused(recipe(data=made.chat), r"is in the form openai, and training takes trl; export again with form='trl'$")
    refused(recipe(data=made.sharegpt), r"is in the form sharegpt, and training takes trl")
    refused(recipe(data=made.run), r"is a run's folder; export it first")
    refused(recipe(data=tmp_path), r"has no data/train-\*\.parquet; give what `unsaf-async export --format trl` wrote$")
    refused(recipe(data=tmp_path / "none"), r"there is no such folder")


def test_rows_that_are_not_as_they_should_be_are_named(
    made: Made, recipe: Recipes, changed: Changes, tmp_path: Path
) -> None:
    def no_bytes(rows: list[dict[str, Any]]) -> None:
        rows[1]["images"][0]["bytes"] = None

    refused(recipe(data=changed("train", no_bytes)), r"row 2: an image has no bytes")
    broken = tmp_path / "broken"
    (broken / "data").mkdir(parents=True)
    (broken / "data" / "train-0.parquet").write_bytes(b"no parquet")
    refused(recipe(data=broken), r"train-0\.parquet: is no Parquet file")
    mixed = tmp_path / "mixed"
    (mixed / "data").mkdir(parents=True)
    shutil.copy(next((made.data / "preferences").glob("train-*")), mixed / "data" / "train-0.parquet")
    refused(recipe(data=mixed), r"has no column completion; export again with form='trl'$")


def test_an_image_that_cannot_be_opened_is_refused(recipe: Recipes, changed: Changes) -> None:
    def torn(rows: list[dict[str, Any]]) -> None:
        rows[0]["images"][0]["bytes"] = b"no image"

    refused(recipe(data=changed("train", torn)), r"^data: an image cannot be opened")


def test_pairs_are_needed_for_the_second_stage_and_must_differ(
    made: Made, recipe: Recipes, changed: Changes, tmp_path: Path
) -> None:
    def same(rows: list[dict[str, Any]]) -> None:
        rows[0]["rejected"] = rows[0]["chosen"]

    data = changed("train", same, "preferences")
    refused(
        recipe(data=data, dpo=True), r"preferences/train.* row 1: chosen and rejected are the same \(1 row like it\)"
    )
    shutil.rmtree(data / "preferences")
    refused(recipe(data=data, dpo=True), r"^dpo: there is no preferences/train-\*\.parquet")


def test_patience_needs_a_validation_split(recipe: Recipes, changed: Changes) -> None:
    data = changed("validation", list.clear)
    refused(recipe(data=data, patience=1), r"^patience: there is no validation split")


# --- the student ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"generation": False}, r"marks no place for the reply"),
        ({"shows_image": False}, r"drops the image"),
    ],
)
def test_a_chat_template_of_no_use_is_refused(
    wrong: dict[str, Any], message: str, recipe: Recipes, tmp_path: Path
) -> None:
    refused(recipe(student=str(families.llava(tmp_path / "odd", **wrong))), rf"^student .*chat template {message}")


def test_a_student_without_its_parts_is_refused(made: Made, recipe: Recipes, tmp_path: Path) -> None:
    copy = tmp_path / "copy"
    shutil.copytree(made.students["llava"], copy)
    (copy / "chat_template.jinja").unlink()
    refused(recipe(student=str(copy)), r"has no chat template")
    (copy / "processor_config.json").unlink()
    refused(recipe(student=str(copy)), r"no processor of images|its processor cannot be opened")
    (copy / "config.json").unlink()
    refused(recipe(student=str(copy)), r"has no config\.json")
    refused(recipe(student=str(tmp_path / "nowhere")), r"^student .*cannot be opened")
    refused(
        recipe(student="no/model/at-all"), r"^student no/model/at-all: .*the hub does not give it .*; check the name$"
    )


def test_a_hub_that_is_offline_was_not_asked_and_what_is_cached_is_pinned(
    made: Made, recipe: Recipes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cache, commit = tmp_path / "cache", "c0ffee" * 6 + "c0ff"
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(cache))
    asked = recipe(student="team/model")
    with pytest.raises(
        UserError, match=r"^student team/model: .* the hub was not asked: HF_HUB_OFFLINE is set; unset it"
    ):
        students.pin(asked)
    (cache / "models--team--model" / "refs").mkdir(parents=True)
    (cache / "models--team--model" / "refs" / "main").write_text(commit, "utf-8")
    shutil.copytree(made.students["llava"], cache / "models--team--model" / "snapshots" / commit)
    pinned = students.pin(asked)
    assert pinned.revision == commit
    assert students.read_outline(pinned).parameters == students.read_outline(recipe()).parameters
    with pytest.raises(UserError, match=r"^revision main: .* is a folder and has no revisions; leave it out$"):
        students.pin(recipe(revision="main"))


# --- room -------------------------------------------------------------------------------------------------------------


def test_a_disk_that_is_too_small_is_an_error(recipe: Recipes) -> None:
    settings = recipe()
    outline = students.read_outline(settings)
    needed, free = check_disk(settings, outline)
    assert needed == 10 * 4 * outline.learned + 4 * outline.parameters
    assert free == shutil.disk_usage(settings.out.parent).free
    with pytest.raises(
        UserError, match=r"^out .* will be written and .* are free; make room, or train with merge=False"
    ):
        check_disk(settings, replace(outline, parameters=10**15))
    check_disk(recipe(merge=False), replace(outline, parameters=10**15))


def test_memory_is_estimated_and_activations_are_recomputed_where_it_is_short(recipe: Recipes) -> None:
    settings = recipe(batch=32)
    outline = students.read_outline(settings)
    kept, parts = check_memory(settings, outline, 100, 10**10, weight_bytes=4, pairs=False)
    assert not kept
    assert parts["weights"] == 4 * outline.parameters
    assert parts["adapter"] == 16 * outline.learned
    again, less = check_memory(settings, outline, 100, sum(parts.values()) - 1, weight_bytes=4, pairs=False)
    assert again
    assert less["activations"] < parts["activations"]
    with pytest.raises(UserError, match=r"of memory are free; train with qlora, or choose a smaller student$"):
        check_memory(settings, outline, 100, parts["weights"], weight_bytes=4, pairs=False)
    halved = check_memory(settings, outline, 100, 10**10, weight_bytes=2, pairs=False)[1]
    assert parts["weights"] == 2 * halved["weights"]
    assert halved["activations"] < parts["activations"]  # the logits are in single precision either way


def test_recomputed_activations_change_no_weight(recipe: Recipes, tmp_path: Path) -> None:
    losses = []
    for checkpointing in (False, True):
        settings = recipe(out=tmp_path / str(checkpointing), checkpointing=checkpointing, lora_dropout=0.0, merge=False)
        losses.append([loss for _, loss in train(settings).sft.losses])
        assert read_json(settings.out / "training.json")["preflight"]["checkpointing"] is checkpointing
    assert losses[0] == pytest.approx(losses[1], rel=1e-5)


def test_a_merge_takes_the_memory_of_a_weight_and_is_compared_where_there_is_room(recipe: Recipes) -> None:
    settings = recipe()
    outline = replace(students.read_outline(settings), parameters=72_000_000_000, dtype=torch.bfloat16)
    assert check_merge(settings, outline, {"cuda": 80 * 10**9, "cpu": 200 * 10**9}) == "cpu"
    assert check_merge(settings, outline, {"cuda": 200 * 10**9, "cpu": 10**9}) == "cuda"
    assert check_merge(settings, outline, {"cuda": 80 * 10**9, "cpu": 10**9}) is None
    assert place_to_compare(outline, {"cuda": 721 * 10**9}) == ("cuda", torch.float32)
    assert merge_bytes(outline) == 4 * (2 * outline.learned + 5 * 64 * 128)  # the students' feed-forward layers
    with pytest.raises(UserError, match=r"merging takes .* of memory, and 1.0 kB are free; train with merge=False"):
        check_merge(settings, outline, {"cuda": 80 * 10**9, "cpu": 1000})
    assert check_merge(recipe(merge=False), outline, {"cuda": 1, "cpu": 1}) is None


def test_a_student_whose_files_are_of_no_use_for_merging_is_told_first(
    made: Made, recipe: Recipes, tmp_path: Path
) -> None:
    student = tmp_path / "pickled"
    shutil.copytree(made.students["llava"], student)
    (student / "model.safetensors").rename(student / "pytorch_model.bin")
    refused(recipe(student=str(student)), r"has no weights in model.safetensors .* train with merge=False")


# --- the longest rows, once -------------------------------------------------------------------------------------------


def test_a_student_that_cannot_take_its_rows_is_told_before_the_first_step(
    made: Made, recipe: Recipes, tmp_path: Path
) -> None:
    student = tmp_path / "torn"
    shutil.copytree(made.students["llava"], student)
    config = read_json(student / "processor_config.json")
    config["num_additional_image_tokens"] = 3  # two places more than the picture fills
    (student / "processor_config.json").write_text(json.dumps(config), "utf-8")
    refused(
        recipe(student=str(student)),
        r"does not take the 2 longest rows \(.*row \d+ is the longest; ValueError: .*nothing was trained",
    )


def test_memory_that_ends_in_the_rehearsal_is_one_line_and_leaves_an_empty_folder(
    recipe: Recipes, monkeypatch: pytest.MonkeyPatch
) -> None:
    def short(*_: Any, **__: Any) -> None:
        raise torch.OutOfMemoryError("CUDA out of memory.\nTried to allocate 2.00 GiB")

    with monkeypatch.context() as patched:
        patched.setattr(Imitation, "compute_loss", short)
        refused(
            recipe(),
            r"^batch 2: the 2 longest rows, of up to \d+ tokens, do not fit in memory .*; give fewer, with more",
        )
    assert train(recipe(merge=False, max_steps=1)).steps == 1  # the same folder


def test_the_rehearsal_is_of_the_longest_rows_and_is_recorded(recipe: Recipes) -> None:
    said: list[str] = []
    settings = recipe(merge=False, max_steps=1)
    _, rows = look(settings)
    trained = train(settings, said.append)
    tried = trained.sft.rehearsal
    assert (tried.rows, tried.longest_tokens) == (2, max(each.tokens for each in rows.train))
    assert tried.memory_bytes is None  # a CPU does not count it
    assert any(line.startswith("tried the 2 longest rows") for line in said)
    told = read_json(trained.adapter.parent / "training.json")
    assert told["stages"][0]["rehearsal"]["loss"] == tried.loss
