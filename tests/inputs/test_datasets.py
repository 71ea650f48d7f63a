"""Labelled sets: every format becomes the same shape, nothing is left out in silence, and what is wrong is said in one line.

data/pope_sample.jsonl holds the first 60 rows of POPE's coco_pope_random (MIT licence, RUCAIBox/POPE). The files of VizWiz-VQA,
MM-UPD and TUBench are made here, after their published descriptions (see docs/datasets.md).
"""

from __future__ import annotations

import csv
import io
import json
import os
import shutil
import time
from base64 import b64encode
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from unsaf_async.cli.spelling import spelled
from unsaf_async.errors import UserError
from unsaf_async.inputs.datasets import FORMATS, read_labelled
from unsaf_async.inputs.pixels import encode
from unsaf_async.inputs.policy import ImagePolicy
from unsaf_async.inputs.sources import find_images
from unsaf_async.records import GivenQuestion
from unsaf_async.world.make import make

if TYPE_CHECKING:
    from unsaf_async.inputs.datasets.shared import LabelledSet

POPE = Path(__file__).parents[1] / "data" / "pope_sample.jsonl"
ROW = {"image": "a.png", "question": "What is it?", "answers": ["a cat"], "answerable": True}
UPD_COLUMNS = (
    "index", "hint", "question", "A", "B", "C", "D", "E", "answer", "masked_answer", "category", "image", "source",
    "l2-category", "comment", "split", "type",
)  # fmt: skip


def picture(file: Path, color: int = 0) -> Path:
    file.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (8, 6), (color % 256, 40, 90)).save(file)
    return file


def lines(file: Path, *rows: object) -> Path:
    file.write_text("".join(json.dumps(row) + "\n" for row in rows), "utf-8")
    return file


def questions(labelled: LabelledSet) -> list[GivenQuestion]:
    return [question for image in labelled.images for question in image.questions]


def refused(*arguments: Any, **more: Any) -> str:
    """What is said about a set that cannot be read: one line."""
    with pytest.raises(UserError) as caught:
        read_labelled(*arguments, **more)
    assert "\n" not in str(caught.value)
    return caught.value.spelled(spelled)


# --- our own format -------------------------------------------------------------------------------------------------


def test_our_own_rows_keep_all_that_they_say(tmp_path: Path) -> None:
    picture(tmp_path / "a.png")
    file = lines(
        tmp_path / "mine.jsonl",
        {**ROW, "id": 7, "category": "animals", "form": "passed over", "anything": [1]},
        {**ROW, "answers": "one text", "form": "color"},
        {
            "image": "a.png",
            "question": "Why?",
            "answers": ["not used"],
            "answerable": False,
            "kind": "mental",
            "id": "w",
        },
        {"image": "a.png", "question": "And?", "answerable": True, "kind": None},
    )
    labelled = read_labelled(file)
    assert (labelled.name, labelled.format, labelled.yes_no, labelled.skipped) == ("mine.jsonl", "jsonl", False, {})
    assert [(image.id, image.path) for image in labelled.images] == [("a.png", tmp_path / "a.png")]
    assert questions(labelled) == [
        GivenQuestion(text="What is it?", intended="answerable", id="7", answers=("a cat",), category="animals"),
        GivenQuestion(text="What is it?", intended="answerable", id="#2", answers=("one text",), category="color"),
        GivenQuestion(text="Why?", intended="unanswerable", kind="mental", id="w"),
        GivenQuestion(text="And?", intended="answerable", id="#4"),
    ]


def test_questions_are_grouped_by_image_in_the_order_of_the_file(tmp_path: Path) -> None:
    for name in "abc":
        picture(tmp_path / "in" / f"{name}.png")
    named = ["in/b.png", "in/a.png", "./in/b.png", "in/c.png", "in/../in/a.png", str(tmp_path / "in" / "c.png")]
    rows = [{**ROW, "image": name, "question": f"{number}?"} for number, name in enumerate(named)]
    found = read_labelled(lines(tmp_path / "mine.jsonl", *rows)).images
    assert [image.id for image in found] == ["in/b.png", "in/a.png", "in/c.png"]
    assert [[each.text for each in image.questions] for image in found] == [["0?", "2?"], ["1?", "4?"], ["3?", "5?"]]


def test_two_names_of_one_file_are_one_image_and_a_link_is_read(tmp_path: Path) -> None:
    (tmp_path / "link.png").symlink_to(picture(tmp_path / "store" / "a.png"))
    rows = [{**ROW, "image": "link.png"}, {**ROW, "image": "store/a.png"}]
    (image,) = read_labelled(lines(tmp_path / "mine.jsonl", *rows)).images
    assert (image.path, len(image.questions)) == (tmp_path / "link.png", 2)


def test_ids_that_occur_twice_are_told_apart_by_the_row(tmp_path: Path) -> None:
    picture(tmp_path / "a.png")
    ids = ["x", "x", "x#2", "x", None, "#5", "", "y#10", "y", "y"]
    found = questions(read_labelled(lines(tmp_path / "m.jsonl", *[{**ROW, "id": each} for each in ids])))
    assert [each.id for each in found] == ["x", "x#2", "x#2#3", "x#4", "#5", "#5#6", "#7", "y#10", "y", "y#10#10"]


@settings(max_examples=60, deadline=None)
@given(st.lists(st.sampled_from(["x", "x#2", "#1", "#3", "x#2#3", "", None, 1, "1"]), min_size=1, max_size=12))
def test_every_question_has_an_id_of_its_own(
    tmp_path_factory: pytest.TempPathFactory, ids: list[str | int | None]
) -> None:
    folder = tmp_path_factory.mktemp("ids")
    picture(folder / "a.png")
    found = [each.id for each in questions(read_labelled(lines(folder / "m.jsonl", *[{**ROW, "id": i} for i in ids])))]
    assert len(found) == len(set(found)) == len(ids)
    assert all(found)


def test_images_are_taken_from_the_folder_that_is_named(tmp_path: Path) -> None:
    picture(tmp_path / "elsewhere" / "a.png")
    file = lines(tmp_path / "mine.jsonl", ROW)
    assert read_labelled(file, images=tmp_path / "elsewhere").images[0].path == tmp_path / "elsewhere" / "a.png"
    said = refused(file)
    assert f"image a.png does not exist; paths are taken from the list's folder, {tmp_path};" in said
    assert "--images" in said


def test_paths_are_absolute_wherever_the_program_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    picture(tmp_path / "a.png")
    lines(tmp_path / "mine.jsonl", {**ROW, "image": "a.png"})
    monkeypatch.chdir(tmp_path)
    assert read_labelled(Path("mine.jsonl")).images[0].path == tmp_path / "a.png"


def test_images_outside_the_folder_are_read_if_they_are_there(tmp_path: Path) -> None:
    picture(tmp_path / "outside.png")
    (tmp_path / "set").mkdir()
    file = lines(tmp_path / "set" / "mine.jsonl", {**ROW, "image": "../outside.png"})
    (image,) = read_labelled(file).images
    assert (image.id, image.path) == ("../outside.png", tmp_path / "outside.png")


NAMES = ["a.png", "gone.png", "folder.png", "gone.png", "x" * 300 + ".png", "a.png/inside.png"]


def test_rows_of_an_own_list_without_their_image_are_refused_as_run_refuses_them(tmp_path: Path) -> None:
    picture(tmp_path / "a.png")
    (tmp_path / "folder.png").mkdir()
    file = lines(tmp_path / "mine.jsonl", *[{**ROW, "image": name} for name in NAMES])
    with pytest.raises(UserError) as caught:
        find_images([file])
    assert refused(file) == f"{caught.value}; give the folder of the images with --images"
    assert f"{file}:2: image gone.png does not exist; 4 are missing, the others: folder.png (line 3)" in refused(file)
    assert f"paths are taken from {tmp_path};" in refused(file, images=tmp_path)
    labelled = read_labelled(file, partial=True)
    assert labelled.skipped == {"image not found": 5}
    assert len(questions(labelled)) == 1


def test_rows_of_a_published_set_without_their_image_are_counted_up_to_half_of_them(tmp_path: Path) -> None:
    picture(tmp_path / "a.png")
    (tmp_path / "folder.png").mkdir()
    probe = {"question_id": 1, "text": "Is it?", "label": "yes"}
    rows = [{**probe, "image": name} for name in [*NAMES, *["a.png"] * 4]]
    labelled = read_labelled(lines(tmp_path / "pope.jsonl", *rows))
    assert (labelled.format, labelled.skipped, len(questions(labelled))) == ("pope", {"image not found": 5}, 5)
    said = refused(lines(tmp_path / "pope.jsonl", *rows[:-1]))
    assert "5 of 9 questions are without their image, more than half; looked for" in said
    assert all(each in said for each in (str(tmp_path / "gone.png"), "--images"))


def test_a_byte_order_mark_windows_line_ends_and_blank_lines_do_no_harm(tmp_path: Path) -> None:
    picture(tmp_path / "a.png")
    file = tmp_path / "mine.jsonl"
    row = json.dumps({**ROW, "question": "Größe?"}, ensure_ascii=False)
    file.write_bytes(b"\xef\xbb\xbf\r\n" + f"{row}\r\n\r\n  \r\n{row}".encode())
    assert [each.text for each in questions(read_labelled(file))] == ["Größe?", "Größe?"]


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"image": None}, ("'image' is None", "text")),
        ({"image": ["a.png", "b.png"]}, ("2 images in one row",)),
        ({"image": [3]}, ("'image' is 3",)),
        ({"image": "  "}, ("'image'",)),
        ({"image": "a\0.png"}, ("'image'", "path")),
        ({"image": "https://example.org/a.png"}, ("URL", "download")),
        ({"image": "data:image/png;base64,AAAA"}, ("URL",)),
        ({"question": 3}, ("'question' is 3", "text")),
        ({"question": ""}, ("'question'",)),
        ({"answers": 3}, ("'answers' is 3", "list of texts")),
        ({"answers": ["a", 3]}, ("'answers'",)),
        ({"answers": [""]}, ("'answers'", "empty")),
        ({"answers": {"a": 1}}, ("'answers'",)),
        ({"answerable": 1}, ("'answerable' is 1", "true or false")),
        ({"answerable": "true"}, ("'answerable'",)),
        ({"answerable": None}, ("'answerable' is None",)),
        ({"kind": "odd", "answerable": False}, ("'kind' is 'odd'", "absent-object")),
        ({"kind": ["mental"], "answerable": False}, ("'kind'",)),
        ({"kind": "mental"}, ("answerable question", "'mental'")),
        ({"id": 1.5}, ("'id' is 1.5", "whole number")),
        ({"id": True}, ("'id' is True",)),
        ({"category": 3}, ("'category' is 3",)),
        ({"question": "x" * 5000, "answers": [7] * 5000}, ("'answers' is [7, 7", "...")),
    ],
)
def test_a_wrong_value_is_named_with_its_line(
    tmp_path: Path, change: dict[str, object], words: tuple[str, ...]
) -> None:
    picture(tmp_path / "a.png")
    file = lines(tmp_path / "mine.jsonl", ROW, {**ROW, **change})
    said = refused(file)
    assert said.startswith(f"{file}:2: ")
    assert all(word in said for word in words), said
    assert len(said) < len(str(file)) + 250


@pytest.mark.parametrize("name", ["image", "question", "answerable"])
def test_a_missing_field_is_named_with_its_line(tmp_path: Path, name: str) -> None:
    picture(tmp_path / "a.png")
    file = lines(tmp_path / "mine.jsonl", ROW, {key: value for key, value in ROW.items() if key != name})
    what = "column" if name == "image" else "field"
    assert refused(file).startswith(f"{file}:2: no {what} '{name}' among: ")


@pytest.mark.parametrize(
    ("second", "words"),
    [
        (b'{"image": "a.png", ', "no valid JSON"),
        (b"[1, 2]", "no JSON object"),
        (b"null", "no JSON object"),
        (b'{"image": "a.png", "question": "\xff"}', "not UTF-8"),
        (b'{"image": "a.png", "question": "\\ud800"}', "no valid JSON"),
        (b"NaN", "no valid JSON"),
        (b"[" * 5000, "no valid JSON"),
        (b"\0", "no valid JSON"),
    ],
)
def test_a_line_that_is_no_row_is_named(tmp_path: Path, second: bytes, words: str) -> None:
    picture(tmp_path / "a.png")
    file = tmp_path / "mine.jsonl"
    file.write_bytes(json.dumps(ROW).encode() + b"\n\n" + second + b"\n")
    said = refused(file)
    assert said.startswith(f"{file}:3: ")
    assert words in said


def test_a_file_in_another_encoding_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "mine.jsonl"
    file.write_bytes(json.dumps({**ROW, "question": "Τι είναι αυτό;"}, ensure_ascii=False).encode("cp1253"))
    assert refused(file).startswith(f"{file}:1: this is not UTF-8")


@pytest.mark.parametrize("content", [b"", b"\n\n", b"\xef\xbb\xbf", b"  \r\n"])
@pytest.mark.parametrize("name", [None, "jsonl", "pope"])
def test_an_empty_file_is_refused(tmp_path: Path, content: bytes, name: str | None) -> None:
    file = tmp_path / "mine.jsonl"
    file.write_bytes(content)
    said = refused(file, name)
    assert str(file) in said
    assert "empty" in said or "no question" in said


# --- POPE -----------------------------------------------------------------------------------------------------------


def with_pope(folder: Path, suffix: str = ".jsonl", images: str = "val2014") -> Path:
    """POPE's first 60 rows, with pictures in place of COCO's."""
    file = folder / f"coco_pope_random{suffix}"
    folder.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(POPE, file)
    for number, row in enumerate(map(json.loads, POPE.read_text("utf-8").splitlines())):
        picture(folder / images / row["image"], number)
    return file


@pytest.mark.parametrize("suffix", [".jsonl", ".json"])
def test_pope_is_recognised_and_read_whole(tmp_path: Path, suffix: str) -> None:
    labelled = read_labelled(with_pope(tmp_path, suffix))
    assert (labelled.format, labelled.yes_no, labelled.skipped) == ("pope", True, {})
    rows = [json.loads(line) for line in POPE.read_text("utf-8").splitlines()]
    assert [image.id for image in labelled.images] == list(dict.fromkeys(row["image"] for row in rows))
    assert {len(image.questions) for image in labelled.images} == {6}
    for row, question in zip(rows, questions(labelled), strict=True):
        assert question == GivenQuestion(
            text=row["text"], intended="answerable", id=str(row["question_id"]), answers=(row["label"],)
        )


def test_popes_images_lie_beside_it_or_where_it_is_said(tmp_path: Path) -> None:
    for images in (".", "val2014", "images"):
        read_labelled(with_pope(tmp_path / f"with {images}", images=images))
    file = with_pope(tmp_path / "apart", images="../coco")
    said = refused(file)
    assert "60 questions" in said
    assert all(str(tmp_path / "apart" / where) in said for where in ("", "val2014", "images"))
    assert len(read_labelled(file, images=tmp_path / "coco").images) == 10


@pytest.mark.parametrize("label", ["maybe", "", 1, None, "yes no"])
def test_another_label_than_yes_or_no_is_refused(tmp_path: Path, label: object) -> None:
    file = with_pope(tmp_path)
    with file.open("a", encoding="utf-8") as more:
        more.write(json.dumps({"question_id": 61, "image": "x.jpg", "text": "Is it?", "label": label}))
    said = refused(file)
    assert said.startswith(f"{file}:61: ")
    assert "'label'" in said


def test_a_folder_with_one_file_is_that_file(tmp_path: Path) -> None:
    with_pope(tmp_path / "mine")
    labelled = read_labelled(tmp_path / "mine")
    assert (labelled.name, labelled.format, len(questions(labelled))) == ("mine", "pope", 60)


# --- the drawn world ------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("world") / "scenes"
    make(folder, 12, questions=3)
    return folder


def test_the_labelled_questions_of_the_world_are_read_whole(world: Path) -> None:
    labelled = read_labelled(world / "labelled.jsonl")
    rows = [json.loads(line) for line in (world / "labelled.jsonl").read_text("utf-8").splitlines()]
    assert (labelled.format, labelled.skipped, len(labelled.images)) == ("jsonl", {}, 12)
    for row, question in zip(rows, questions(labelled), strict=True):
        assert question == GivenQuestion(
            text=row["question"],
            intended="answerable" if row["answerable"] else "unanswerable",
            kind=row["kind"],
            id=row["id"],
            answers=tuple(row["answers"]),
            category=row["form"],
        )
    assert Counter(each.intended for each in questions(labelled)) == {"answerable": 36, "unanswerable": 36}


def test_the_probes_of_the_world_are_read_whole(world: Path) -> None:
    labelled = read_labelled(world / "pope.jsonl")
    assert (labelled.format, labelled.yes_no, labelled.skipped, len(labelled.images)) == ("pope", True, {}, 12)
    assert Counter(each.answers for each in questions(labelled)) == {("yes",): 36, ("no",): 36}
    assert all(encode(image.path, ImagePolicy())[0].width == 48 for image in labelled.images)


def test_the_folder_of_the_world_is_its_labelled_questions_and_by_name_its_probes(world: Path) -> None:
    for labelled in (read_labelled(world), read_labelled(world, "jsonl")):
        assert labelled.images == read_labelled(world / "labelled.jsonl").images
    assert read_labelled(world, "pope").yes_no


def test_a_folder_with_several_labelled_sets_says_which_files_there_are(world: Path, tmp_path: Path) -> None:
    shutil.copytree(world, tmp_path / "two")
    shutil.copy(world / "labelled.jsonl", tmp_path / "two" / "more.jsonl")
    for name in (None, "jsonl"):
        assert "labelled.jsonl, m" in refused(tmp_path / "two", name)


# --- VizWiz-VQA -----------------------------------------------------------------------------------------------------


def crowd(*answers: str) -> list[dict[str, str]]:
    return [{"answer": answer, "answer_confidence": "maybe"} for answer in answers]


VIZWIZ = [
    {
        "image": "VizWiz_val_00000000.jpg",
        "question": "Can you tell me what this medicine is please?",
        "answers": crowd("night time", "unanswerable", "night time", "Unsuitable", "unsuitable image", "cold medicine"),
        "answer_type": "other",
        "answerable": 1,
    },
    {
        "image": "VizWiz_val_00000001.jpg",
        "question": "What does it say?",
        "answers": crowd(*["unanswerable"] * 9, "soup"),
        "answer_type": "unanswerable",
        "answerable": 0,
    },
]


def with_vizwiz(folder: Path, rows: object = VIZWIZ, where: str = "val") -> Path:
    for number in range(2):
        picture(folder / where / f"VizWiz_val_0000000{number}.jpg", number)
    folder.mkdir(exist_ok=True)
    (folder / "val.json").write_text(json.dumps(rows, indent=1), "utf-8")
    return folder / "val.json"


def test_vizwiz_keeps_the_answers_of_those_who_could_answer(tmp_path: Path) -> None:
    labelled = read_labelled(with_vizwiz(tmp_path))
    assert (labelled.format, labelled.yes_no, labelled.skipped) == ("vizwiz", False, {})
    assert questions(labelled) == [
        GivenQuestion(
            text="Can you tell me what this medicine is please?",
            intended="answerable",
            id="VizWiz_val_00000000.jpg",
            answers=("night time", "night time", "cold medicine"),
            category="other",
        ),
        GivenQuestion(
            text="What does it say?", intended="unanswerable", id="VizWiz_val_00000001.jpg", category="unanswerable"
        ),
    ]


def test_vizwiz_is_found_in_its_folder_as_it_comes_out_of_its_archives(tmp_path: Path) -> None:
    with_vizwiz(tmp_path)
    expected = read_labelled(tmp_path).images
    (tmp_path / "Annotations").mkdir()
    (tmp_path / "val.json").rename(tmp_path / "Annotations" / "val.json")
    assert read_labelled(tmp_path).images == read_labelled(tmp_path, images=tmp_path / "val").images == expected
    assert read_labelled(tmp_path, "vizwiz", tmp_path).images == expected


def test_the_test_split_of_vizwiz_has_no_labels(tmp_path: Path) -> None:
    file = with_vizwiz(tmp_path, [{"image": "VizWiz_val_00000000.jpg", "question": "What is this?"}])
    said = refused(file)
    assert "test split" in said
    assert "val.json" in said


@pytest.mark.parametrize(
    ("rows", "words"),
    [
        ([], ("no question",)),
        ([3], ("entry 1", "object")),
        ([VIZWIZ[0], {**VIZWIZ[1], "answerable": 2}], ("entry 2", "'answerable' is 2", "0 or 1")),
        ([{**VIZWIZ[0], "answerable": "1"}], ("entry 1", "'answerable'")),
        ([{**VIZWIZ[0], "answerable": 1.0}], ("entry 1", "'answerable'")),
        ([{**VIZWIZ[0], "answers": ["soup"]}], ("entry 1", "'answers'")),
        ([{**VIZWIZ[0], "answers": "soup"}], ("entry 1", "'answers'")),
        ([{**VIZWIZ[0], "answers": [{"answer": None}]}], ("entry 1", "'answers'")),
        ([{**VIZWIZ[0], "question": None}], ("entry 1", "'question'")),
        ({"questions": []}, ("JSON list",)),
    ],
)
def test_what_is_wrong_in_vizwiz_is_named_with_its_entry(tmp_path: Path, rows: object, words: tuple[str, ...]) -> None:
    said = refused(with_vizwiz(tmp_path, rows), "vizwiz")
    assert said.startswith(str(tmp_path / "val.json"))
    assert all(word in said for word in words), said


def test_json_that_ends_too_early_is_named_with_its_line(tmp_path: Path) -> None:
    file = with_vizwiz(tmp_path)
    text = file.read_text("utf-8")
    file.write_text(text[: len(text) // 2], "utf-8")
    assert refused(file).startswith(f"{file}:")
    assert "no valid JSON" in refused(file)


# --- MM-UPD ---------------------------------------------------------------------------------------------------------


def png(color: int = 0, size: tuple[int, int] = (8, 6)) -> bytes:
    data = io.BytesIO()
    Image.new("RGB", size, (color, 40, 90)).save(data, "PNG")
    return data.getvalue()


def upd_row(index: int, type_: str = "standard", image: bytes | str = b"", **more: str) -> dict[str, str]:
    options = {"A": "a cat", "B": "a dog", "C": "a horse"}
    text = image if isinstance(image, str) else b64encode(image or png()).decode("ascii")
    row = (
        dict.fromkeys(UPD_COLUMNS, "")
        | options
        | {"index": str(index), "question": "Which animal is it?", "answer": "B"}
    )
    return row | {"hint": "nan", "category": "ocr", "image": text, "type": type_, "split": "dev"} | more


def with_upd(folder: Path, *rows: dict[str, str], name: str = "mmaad_20240303_base.tsv") -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / name).open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, UPD_COLUMNS, delimiter="\t")
        writer.writeheader()
        writer.writerows(rows)
    return folder / name


def test_upd_gives_solvable_and_unsolvable_questions_about_one_image(tmp_path: Path) -> None:
    file = with_upd(
        tmp_path,
        upd_row(3, hint="Look at\nthe tail."),
        upd_row(3, "upd", C="nan", answer="F", masked_answer="a dog"),
        upd_row(4, "ivqd", image=png(7), C=""),
    )
    labelled = read_labelled(file)
    assert (labelled.format, labelled.yes_no, labelled.skipped) == ("mm-upd", False, {})
    assert [len(image.questions) for image in labelled.images] == [2, 1]
    solvable, unsolvable, other = questions(labelled)
    assert solvable == GivenQuestion(
        text="Look at\nthe tail.\nWhich animal is it?\nA. a cat\nB. a dog\nC. a horse",
        intended="answerable",
        id="3-standard",
        answers=("a dog",),
        category="ocr",
    )
    assert unsolvable == GivenQuestion(
        text="Which animal is it?\nA. a cat\nB. a dog", intended="unanswerable", id="3-upd", category="ocr"
    )
    assert (other.intended, other.id) == ("unanswerable", "4-ivqd")


def test_the_images_in_an_upd_file_are_written_once(tmp_path: Path) -> None:
    file = with_upd(tmp_path / "data", upd_row(1), upd_row(2), upd_row(3, image=png(9)))
    first = read_labelled(file)
    assert {image.path.parent for image in first.images} == {tmp_path / "data" / ".images"}
    assert [image.path.read_bytes() for image in first.images] == [png(), png(9)]
    assert [image.id for image in first.images] == [image.path.stem for image in first.images]
    before = {image.path: image.path.stat().st_mtime_ns for image in first.images}
    first.images[1].path.write_bytes(png(9)[:20])  # as a run that was killed leaves it
    assert read_labelled(file) == first
    assert first.images[0].path.stat().st_mtime_ns == before[first.images[0].path]
    assert first.images[1].path.read_bytes() == png(9)
    (tmp_path / "other").mkdir()
    elsewhere = read_labelled(file, images=tmp_path / "other")
    assert {image.path.parent for image in elsewhere.images} == {tmp_path / "other"}


def test_an_image_of_any_size_is_read_and_the_limit_of_csv_stays(tmp_path: Path) -> None:
    limit = csv.field_size_limit()
    large = io.BytesIO()
    Image.effect_noise((500, 500), 80).save(large, "PNG")
    assert len(b64encode(large.getvalue())) > limit
    file = with_upd(tmp_path, upd_row(1, image=large.getvalue()))
    assert read_labelled(file).images[0].path.read_bytes() == large.getvalue()
    refused(with_upd(tmp_path, upd_row(1), upd_row(2, type_="odd")))
    assert csv.field_size_limit() == limit


def test_copies_and_rows_without_an_image_are_counted(tmp_path: Path) -> None:
    bad = [upd_row(5, image="no base64!"), upd_row(6, image=b64encode(b"no image").decode()), upd_row(7, image=" ")]
    good = [upd_row(1), upd_row(2), upd_row(3)]
    labelled = read_labelled(with_upd(tmp_path, *good, upd_row(1_000_001), upd_row(2_000_001), *bad))
    assert labelled.skipped == {"copy with options in another order": 2, "image not readable": 3}
    assert len(questions(labelled)) == 3
    said = refused(with_upd(tmp_path, *good[1:], *bad))
    assert "3 of 5 questions are without their image, more than half; check that the file is whole" in said
    said = refused(with_upd(tmp_path, *bad))
    assert "3 x image not readable" in said


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"type": "odd"}, "'type' is 'odd'"),
        ({"type": ""}, "'type'"),
        ({"answer": "E"}, "'answer' is 'E'"),
        ({"index": "x"}, "'index' is 'x'"),
        ({"question": ""}, "'question'"),
        ({"A": "", "answer": "A"}, "'A'"),
    ],
)
def test_what_is_wrong_in_upd_is_named_with_its_line(tmp_path: Path, change: dict[str, str], words: str) -> None:
    file = with_upd(tmp_path, upd_row(1, hint="two\nlines"), upd_row(2) | change)
    said = refused(file)
    assert said.startswith(f"{file}:4: ")
    assert words in said


def test_a_tsv_of_another_kind_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "other.tsv"
    file.write_text("index\tquestion\n1\tWhat?\n", "utf-8")
    assert refused(file).startswith(f"{file}:1: no column 'A' among: index, question")
    good = with_upd(tmp_path / "good", upd_row(1)).read_text("utf-8")
    file.write_text(good + "1\t2\n", "utf-8")
    assert refused(file).startswith(f"{file}:3: 2 cells for 17 columns")
    file.write_bytes(good.encode() + b"\xff\n")
    assert "not UTF-8" in refused(file)
    file.write_bytes(b"")
    assert "no column" in refused(file)


def test_options_that_hold_none_of_the_above_are_refused(tmp_path: Path) -> None:
    said = refused(with_upd(tmp_path, upd_row(1), name="mmaad_20240303_option.tsv"))
    assert "None of the above" in said
    assert "_base" in said


def test_a_folder_with_all_files_of_upd_asks_for_one(tmp_path: Path) -> None:
    for name in ("mmaad_20240303_base.tsv", "mmiasd_20240303_base.tsv"):
        with_upd(tmp_path, upd_row(1), name=name)
    assert "mmaad_20240303_base.tsv, mmiasd_20240303_base.tsv; give one" in refused(tmp_path)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_a_folder_that_cannot_be_written_asks_for_another(tmp_path: Path) -> None:
    file = with_upd(tmp_path / "data", upd_row(1))
    file.parent.chmod(0o500)
    said = refused(file)
    file.parent.chmod(0o700)
    assert "--images" in said


def test_a_place_for_images_that_is_a_file_is_refused(tmp_path: Path) -> None:
    file = with_upd(tmp_path, upd_row(1))
    (tmp_path / ".images").write_text("in the way", "utf-8")
    assert "cannot be written" in refused(file)


# --- TUBench --------------------------------------------------------------------------------------------------------


def with_tubench(folder: Path) -> Path:
    for stem in ("1", "1_u1"):
        picture(folder / "UCR" / "10" / f"{stem}.png", len(stem))
    (folder / "UCR/10/1.txt").write_text("Is the result 3?\tYes\nIs it odd?\tNo\n", "utf-8")
    (folder / "UCR/10/1_u1.txt").write_text("Is the result 3?\tUnanswerable\n", "utf-8")
    (folder / "UCR/10/1_negate_flip.txt").write_text("Is the result not 3?\tNo\n", "utf-8")
    picture(folder / "UCR" / "9" / "1.png", 5)
    (folder / "UCR/9/1.txt").write_text("First by number?\tYes\n", "utf-8")
    picture(folder / "UVQA" / "0" / "COCO_val2014_1.jpg", 20)
    (folder / "UVQA/0/vqa.txt").write_text("1\tIs it day?\tYes\n2\tIs he late?\tUnanswerable\t3\n", "utf-8")
    picture(folder / "UGeoQA" / "4" / "4.png", 30)
    geometry = {
        "choices": ["30°", "60°"],
        "label": 1,
        "subject": "Angle A is ()",
        "unanswerable_subject": "Angle B is ()",
    }
    (folder / "UGeoQA/4/4.json").write_text(json.dumps(geometry), "utf-8")
    for stem in ("8", "8_u1"):
        picture(folder / "UTabMWP" / "8" / f"{stem}.png", 40 + len(stem))
    table = {"question": "Who has more?", "choices": ["Ann", "Bob"], "answer": "Ann"}
    (folder / "UTabMWP/8/8.json").write_text(json.dumps(table), "utf-8")
    return folder


def test_all_parts_of_tubench_are_read(tmp_path: Path) -> None:
    labelled = read_labelled(with_tubench(tmp_path / "datasets"))
    assert (labelled.name, labelled.format, labelled.yes_no, labelled.skipped) == ("datasets", "tubench", False, {})
    assert [image.id for image in labelled.images] == [
        "UCR/9/1.png", "UCR/10/1.png", "UCR/10/1_u1.png", "UVQA/0/COCO_val2014_1.jpg", "UGeoQA/4/4.png",
        "UTabMWP/8/8.png", "UTabMWP/8/8_u1.png",
    ]  # fmt: skip
    geometry = "Answer Choices: (a) 30° (b) 60°"
    table = "Who has more? Answer Choices: (a) Ann (b) Bob"
    assert [(each.id, each.text, each.intended, each.answers, each.category) for each in questions(labelled)] == [
        ("UCR/9/1/1", "First by number?", "answerable", ("yes",), "UCR"),
        ("UCR/10/1/1", "Is the result 3?", "answerable", ("yes",), "UCR"),
        ("UCR/10/1/2", "Is it odd?", "answerable", ("no",), "UCR"),
        ("UCR/10/1_u1/1", "Is the result 3?", "unanswerable", (), "UCR u1"),
        ("UVQA/0/1", "Is it day?", "answerable", ("yes",), "UVQA"),
        ("UVQA/0/2", "Is he late?", "unanswerable", (), "UVQA strategy 3"),
        ("UGeoQA/4/answerable", f"Angle A is ? {geometry}", "answerable", ("60°",), "UGeoQA"),
        ("UGeoQA/4/unanswerable", f"Angle B is ? {geometry}", "unanswerable", (), "UGeoQA"),
        ("UTabMWP/8/answerable", table, "answerable", ("Ann",), "UTabMWP"),
        ("UTabMWP/8/unanswerable", table, "unanswerable", (), "UTabMWP"),
    ]


@pytest.mark.parametrize("part", ["UCR", "UVQA", "UGeoQA", "UTabMWP"])
def test_one_part_of_tubench_is_recognised_whatever_it_is_called(tmp_path: Path, part: str) -> None:
    whole = read_labelled(with_tubench(tmp_path / "datasets"))
    (tmp_path / "datasets" / part).rename(tmp_path / "mine")
    alone = read_labelled(tmp_path / "mine")
    assert questions(alone) == [each for each in questions(whole) if each.id.startswith(f"{part}/")]


def test_a_picture_that_tubench_lacks_is_counted(tmp_path: Path) -> None:
    folder = with_tubench(tmp_path / "datasets")
    (folder / "UTabMWP/8/8_u1.png").unlink()
    (folder / "UVQA/0/COCO_val2014_1.jpg").unlink()
    assert read_labelled(folder).skipped == {"image not found": 3}


@pytest.mark.parametrize(
    ("file", "text", "words"),
    [
        ("UCR/9/1.txt", "Is it?\tYes\nIs it?\tMaybe\n", ":2: the label is 'Maybe'"),
        ("UCR/9/1.txt", "Is it?\n", ":1: 'Is it?' is no question, tab, label"),
        ("UVQA/0/vqa.txt", "1\tIs it?\n", ":1: '1\\tIs it?' is no question"),
        ("UGeoQA/4/4.json", "[]", "no JSON object"),
        (
            "UGeoQA/4/4.json",
            '{"choices": ["a"], "label": 1, "subject": "x", "unanswerable_subject": "y"}',
            "'label' is 1",
        ),
        ("UTabMWP/8/8.json", '{"question": "x", "choices": ["a"], "answer": "b"}', "'answer' is 'b'"),
        ("UTabMWP/8/8.json", '{"question": "x", "choices": "ab", "answer": "a"}', "'choices' is 'ab'"),
        ("UTabMWP/8/8.json", "{", "no valid JSON"),
    ],
)
def test_what_is_wrong_in_tubench_is_named_with_its_file(tmp_path: Path, file: str, text: str, words: str) -> None:
    folder = with_tubench(tmp_path / "datasets")
    (folder / file).write_text(text, "utf-8")
    said = refused(folder)
    assert said.startswith(str(folder / file))
    assert words in said


def test_tubench_takes_no_folder_of_images(tmp_path: Path) -> None:
    folder = with_tubench(tmp_path / "datasets")
    assert "leave this out" in refused(folder, images=tmp_path)
    (folder / "UVQA/0/vqa.txt").unlink()
    assert "vqa.txt: cannot be read" in refused(folder)


# --- whatever the format --------------------------------------------------------------------------------------------


def test_what_is_not_recognised_says_what_was_looked_for(tmp_path: Path) -> None:
    (tmp_path / "set.zip").write_bytes(b"PK")
    lines(tmp_path / "odd.jsonl", {"picture": "a.png"})
    (tmp_path / "empty").mkdir()
    for name in ("set.zip", "odd.jsonl", "empty"):
        said = refused(tmp_path / name)
        assert "not recognised" in said
        assert all(each in said for each in (*FORMATS, "--format", "question_id")), said


def test_a_format_that_is_named_is_taken_at_its_word(tmp_path: Path) -> None:
    picture(tmp_path / "a.png")
    file = lines(tmp_path / "mine.txt", ROW)
    assert read_labelled(file, "jsonl").format == "jsonl"
    assert "'label'" in refused(file, "pope")
    assert refused(file, "coco") == f"--format is 'coco'; give one of {', '.join(FORMATS)}"
    assert "tubench" in refused(tmp_path, "tubench").lower()
    assert "val.json" in refused(tmp_path, "vizwiz")
    assert "*.tsv" in refused(tmp_path, "mm-upd")


def test_damaged_parquet_is_refused_in_plain_words(tmp_path: Path) -> None:
    (tmp_path / "train-0.parquet").write_bytes(b"PAR1")
    for path in (tmp_path / "train-0.parquet", tmp_path):
        said = refused(path)
        assert "train-0.parquet" in said
        assert "whole" in said


@pytest.mark.parametrize("name", ["nowhere", "x" * 300, "a\0b"])
def test_a_path_that_leads_nowhere_is_refused(tmp_path: Path, name: str) -> None:
    refused(tmp_path / name)


def test_a_folder_of_images_that_is_none_is_refused(tmp_path: Path) -> None:
    file = with_pope(tmp_path)
    assert "--images" in refused(file, images=tmp_path / "nowhere")
    assert "--images" in refused(file, images=file)


def test_ten_thousand_rows_are_read_the_same_way_every_time_and_quickly(tmp_path: Path) -> None:
    for number in range(500):
        (tmp_path / f"{number}.png").write_bytes(b"never opened")
    rows = [{**ROW, "image": f"{number % 500}.png", "id": number} for number in range(10_000)]
    file = lines(tmp_path / "large.jsonl", *rows)
    started = time.process_time()
    first = read_labelled(file)
    assert time.process_time() - started < 5
    assert len(questions(first)) == 10_000
    assert read_labelled(file) == first


@settings(max_examples=100, deadline=None)
@given(st.binary(max_size=200), st.sampled_from([".jsonl", ".json", ".tsv"]), st.sampled_from([None, *FORMATS]))
def test_garbage_is_always_a_users_mistake_and_never_a_crash(
    tmp_path_factory: pytest.TempPathFactory, data: bytes, suffix: str, name: str | None
) -> None:
    file = tmp_path_factory.mktemp("garbage") / f"set{suffix}"
    file.write_bytes(data)
    refused(file, name)


ANYTHING = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-3, 3)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=4),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.sampled_from(["answer", "x"]), inner, max_size=2),
    max_leaves=4,
)


@settings(max_examples=200, deadline=None)
@given(st.data(), st.sampled_from(["jsonl", "pope", "vizwiz"]))
def test_any_value_in_any_field_is_read_or_refused_in_one_line(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject, name: str
) -> None:
    folder = tmp_path_factory.mktemp("fields")
    picture(folder / "a.png")
    probe = {"question_id": 1, "image": "a.png", "text": "Is it?", "label": "yes"}
    row: dict[str, object] = {"jsonl": ROW | {"kind": None, "id": 1}, "pope": probe, "vizwiz": VIZWIZ[0]}[name]
    row = (
        {"image": "a.png"}
        | row
        | data.draw(st.dictionaries(st.sampled_from(sorted(row)), ANYTHING, min_size=1, max_size=2))
    )
    file = folder / "set.json"
    file.write_text(json.dumps([row]) if name == "vizwiz" else json.dumps(row), "utf-8")
    try:
        found = questions(read_labelled(file, name, folder))
    except UserError as error:
        said = error.spelled(spelled)
        found = []
    else:
        said = ""
    assert "\n" not in said
    assert len(found) == (0 if said else 1)
    for question in found:
        assert question.text.strip()
        assert all(answer.strip() for answer in question.answers)
        assert question.intended == "answerable" or not question.answers
