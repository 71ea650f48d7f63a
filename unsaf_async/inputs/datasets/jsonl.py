"""Our own format: one question a line, as `unsaf-async world make` writes labelled.jsonl.

    {"image": "a.jpg", "question": "What is on the plate?", "answers": ["soup"], "answerable": true}

Further fields: id, kind (of an unanswerable question), category or form. Others are passed over.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from unsaf_async.errors import UserError
from unsaf_async.inputs.datasets.shared import Row, json_lines
from unsaf_async.records import KINDS, GivenQuestion

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from unsaf_async.inputs.datasets.shared import Entry


def rows(path: Path, images: Path | None) -> Iterator[Row]:
    """The questions in a file of our own format.

    Args:
        path: The file.
        images: The folder of the images; None for the file's own.

    Yields:
        The rows, in the file's order.

    Raises:
        UserError: A row is not as the format has it.
    """
    folders = (images or path.parent,)
    for entry in json_lines(path):
        image_id, candidates = entry.image(folders)
        yield Row(entry.number, image_id, candidates, _given(entry))


def _given(entry: Entry) -> GivenQuestion:
    answerable = entry.fields.get("answerable")
    if not isinstance(answerable, bool):
        raise entry.wrong("answerable", "true or false")
    kind = entry.fields.get("kind")
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
    listed = [value] if isinstance(value, str) else value
    if not isinstance(listed, list) or not all(isinstance(each, str) and each.strip() for each in listed):
        raise entry.wrong("answers", "a text or a list of texts, none of them empty")
    return tuple(each.strip() for each in listed)
