"""VizWiz-VQA: blind people's questions about their photos, each with ten crowd answers and whether it can be answered.

Gurari et al., "VizWiz Grand Challenge: Answering Visual Questions from Blind People", CVPR 2018 (arXiv 1802.08218);
https://vizwiz.org/tasks-and-datasets/vqa/. train.json and val.json are lists of objects: image, question, answers (each with
answer and answer_confidence), answer_type, answerable (0 or 1).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from unsaf_async.errors import UserError
from unsaf_async.inputs.datasets.shared import Row, json_file
from unsaf_async.inputs.lists.entries import Entry
from unsaf_async.records import GivenQuestion

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

NO_ANSWERS = frozenset({"unanswerable", "unsuitable", "unsuitable image"})
"""What annotators wrote where they could not answer."""


def annotated(folder: Path) -> Path | None:
    """The file of annotations in a folder.

    Args:
        folder: The data set's folder.

    Returns:
        val.json, or else train.json, there or in a subfolder called annotations; None without any.
    """
    places = (folder, folder / "annotations", folder / "Annotations")
    files = [place / name for name in ("val.json", "train.json") for place in places]
    return next((file for file in files if file.is_file()), None)


def rows(path: Path, images: Path | None) -> Iterator[Row]:
    """The questions of a split of VizWiz-VQA.

    Args:
        path: A file of annotations, or the folder that holds it.
        images: The folder of the images, or one with a subfolder of the split's name. None for these places: folders of the
            split's name in the file's folder and next to it, the file's folder, and its subfolder images.

    Yields:
        The rows, in the file's order.

    Raises:
        UserError: There are no annotations, an entry is not as the format has it, or the split has no labels (test).
    """
    file = annotated(path) if path.is_dir() else path
    if file is None:
        raise UserError(f": {path} holds neither val.json nor train.json; give the file of annotations", field="data")
    split = file.stem
    folders = (
        (images, images / split)
        if images
        else (file.parent / split, file.parent.parent / split, file.parent, file.parent / "images")
    )
    for entry in _entries(file):
        image_id, candidates = entry.image(folders)
        yield Row(entry.number, image_id, candidates, _given(entry))


def _entries(file: Path) -> Iterator[Entry]:
    listed = json_file(file)
    if not isinstance(listed, list):
        raise UserError(f"{file}: no JSON list of questions; give VizWiz-VQA's train.json or val.json")
    for number, fields in enumerate(listed, 1):
        where = f"{file}: entry {number}"
        if not isinstance(fields, dict):
            raise UserError(f"{where}: no JSON object; give VizWiz-VQA's train.json or val.json")
        if {"image", "question"} <= fields.keys() and not {"answers", "answerable"} & fields.keys():
            raise UserError(f"{where}: has no labels, as in the test split; give VizWiz-VQA's train.json or val.json")
        yield Entry(where, number, fields)


def _given(entry: Entry) -> GivenQuestion:
    answerable = entry.fields.get("answerable")
    if answerable not in (0, 1) or isinstance(answerable, float):
        raise entry.wrong("answerable", "0 or 1")
    answers = tuple(answer for answer in _answers(entry) if answer.lower() not in NO_ANSWERS)
    return GivenQuestion(
        text=entry.text("question"),
        intended="answerable" if answerable else "unanswerable",
        id=entry.text("image"),
        answers=answers if answerable else (),
        category=entry.optional_text("answer_type"),
    )


def _answers(entry: Entry) -> Iterator[str]:
    listed = entry.fields.get("answers")
    if not isinstance(listed, list):
        raise entry.wrong("answers", 'a list of {"answer": "..."}')
    for each in listed:
        if not isinstance(each, dict) or not isinstance(each.get("answer"), str):
            raise entry.wrong("answers", 'a list of {"answer": "..."}')
        if each["answer"].strip():
            yield each["answer"].strip()
