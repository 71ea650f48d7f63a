"""Our own format: one question a line, as `unsaf-async world make` writes labelled.jsonl.

    {"image": "a.jpg", "question": "What is on the plate?", "answers": ["soup"], "answerable": true}

Further fields: id, kind (of an unanswerable question), category or form. Others are passed over. The same rows may stand in a
CSV file, a table, an archive or any other list that `lists` reads; images may stand in it, too.
"""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING

import orjson

from unsaf_async.errors import UserError, setting
from unsaf_async.inputs.datasets.shared import IncompleteSet, Row
from unsaf_async.inputs.lists import files_of, read_list
from unsaf_async.inputs.lists.pictures import Missing, Pictures, folders_of
from unsaf_async.records import KINDS, GivenQuestion

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from unsaf_async.inputs.lists.entries import Entry


def rows(path: Path, images: Path | None, *, partial: bool = False) -> Iterator[Row]:
    """The questions in a file of our own format.

    Args:
        path: The file, or a folder of tables.
        images: The folder of the images; None for the file's own, and those beside it.
        partial: Yield rows whose image is missing, too.

    Yields:
        The rows, in the file's order.

    Raises:
        UserError: A row is not as the format has it, or images are missing: all of them are told at once.
    """
    for file in files_of(path):
        pictures, missing = Pictures(file, [images] if images else folders_of(file)), Missing(file, images)
        for entry in read_list(file):
            picture, given = pictures.of(entry), _given(entry)
            if picture.missing and not partial:
                missing.add(entry, picture)
                continue
            same = picture.key[1] if picture.part is not None else ""
            yield Row(entry.number, picture.name, picture.candidates, given, picture.part, same)
        if told := missing.told():
            raise IncompleteSet(told, f"give the folder of the images with {setting('images')}")


def _given(entry: Entry) -> GivenQuestion:
    answerable = _flag(entry)
    if not isinstance(answerable, bool):
        raise entry.wrong("answerable", "true or false")
    kind = entry.fields.get("kind") if entry.typed else entry.optional_text("kind") or None
    if kind is not None and kind not in KINDS:
        raise entry.wrong("kind", f"null or one of {', '.join(KINDS)}")
    if kind is not None and answerable:
        raise UserError(f"{entry.where}: an answerable question has the kind {kind!r}; give null, or answerable: false")
    answers = _answers(entry)
    return GivenQuestion(
        text=entry.text("question"),
        intended="answerable" if answerable else "unanswerable",
        kind=kind,
        id=entry.key("id"),
        answers=answers if answerable else (),
        category=entry.optional_text("category") or entry.optional_text("form"),
    )


def _answers(entry: Entry) -> tuple[str, ...]:
    value = entry.fields.get("answers")
    if value is None:
        return ()
    if not entry.typed:
        return _answers_in(entry.optional_text("answers"))
    listed = [value] if isinstance(value, str) else value
    if not isinstance(listed, list) or not all(isinstance(each, str) and each.strip() for each in listed):
        raise entry.wrong("answers", "a text or a list of texts, none of them empty")
    return tuple(each.strip() for each in listed)


def _flag(entry: Entry) -> object:
    """Whether there is an answer; of a CSV file, whose cells are texts, as spreadsheets and Python write it."""
    value = entry.fields.get("answerable")
    if entry.typed or not isinstance(value, str):
        return value
    return {"true": True, "1": True, "yes": True, "false": False, "0": False, "no": False}.get(value.strip().lower())


def _answers_in(cell: str) -> tuple[str, ...]:
    """The answers in a CSV file's cell: one text, or a JSON list of texts."""
    if cell.startswith("["):
        with suppress(ValueError):
            listed = orjson.loads(cell)
            if isinstance(listed, list) and all(isinstance(each, str) and each.strip() for each in listed):
                return tuple(each.strip() for each in listed)
    return (cell,) if cell else ()
