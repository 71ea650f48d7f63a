"""MM-UPD Bench: multiple choice, with the right choice taken away (AAD), all choices exchanged (IASD), or the image (IVQD).

Miyai et al., "Unsolvable Problem Detection: Evaluating Trustworthiness of Vision Language Models" (arXiv 2403.20331);
https://huggingface.co/datasets/MM-UPD/MM-UPD. Its loading script names the columns: index, hint, question, A to E, answer,
masked_answer, category, image (base64), source, l2-category, comment, split, type. Its evaluation
(https://github.com/AtsuMiyai/UPD, automatic_eval/calculate_scores.py) knows two types of rows, "standard" and "upd", and
takes a row with an index from 1,000,000 on for a copy of another one, with its options in another order.
"""

from __future__ import annotations

import csv
import hashlib
import sys
from base64 import b64decode
from contextlib import contextmanager
from typing import TYPE_CHECKING

from unsaf_async.errors import UserError, setting
from unsaf_async.files import write_whole
from unsaf_async.inputs.datasets.shared import NOT_READABLE, Row, Skipped
from unsaf_async.inputs.lists.delimited import cells_for
from unsaf_async.inputs.lists.entries import Entry
from unsaf_async.records import GivenQuestion

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

COLUMNS = ("index", "question", "A", "B", "answer", "image", "type")
"""Without these there is no reading a row."""
UNANSWERABLE = ("upd", "aad", "iasd", "ivqd")
CIRCULAR = 1_000_000
"""Rows with this index or a higher one are copies with their options in another order."""

_OPTIONS = "ABCDE"
_SIGNATURES = (
    (b"\xff\xd8\xff", ".jpg"),
    (b"\x89PNG\r\n\x1a\n", ".png"),
    (b"GIF8", ".gif"),
    (b"RIFF", ".webp"),
)


def rows(path: Path, images: Path | None) -> Iterator[Row | Skipped]:
    """The questions in a file of MM-UPD, with their options.

    The images stand in the file. Each is written once, under a name made of its bytes.

    Args:
        path: The .tsv file.
        images: The folder that the images are written into; None for the folder .images next to the file.

    Yields:
        The rows, in the file's order. Copies with options in another order are skipped, and rows without a readable image.

    Raises:
        UserError: A row is not as the format has it, the options hold "None of the above", or an image cannot be written.
    """
    if path.stem.endswith("_option"):
        # Declining is then to pick an option, and whoever picks an option has answered.
        raise UserError(
            f': {path}: options that hold "None of the above" are not read; give a .tsv that ends in _base',
            field="data",
        )
    folder = images or path.parent / ".images"
    with _cells_of_any_size():
        for entry in _entries(path):
            if _index(entry) >= CIRCULAR:
                yield Skipped("copy with options in another order")
            elif image := _written(entry, folder):
                yield Row(entry.number, image.stem, (image,), _given(entry))
            else:
                yield Skipped(NOT_READABLE)


def _entries(path: Path) -> Iterator[Entry]:
    with path.open(encoding="utf-8-sig", newline="") as file:
        reader = csv.reader(file, delimiter="\t")
        try:
            columns = next(reader, [])
            missing = [name for name in COLUMNS if name not in columns]
            if missing:
                present = ", ".join(columns)[:100] or "nothing"
                raise UserError(f"{path}:1: no column {missing[0]!r} among: {present}; give a .tsv of MM-UPD")
            line = reader.line_num + 1
            for number, cells in enumerate(reader, 1):
                if cells and len(cells) != len(columns):
                    raise UserError(f"{path}:{line}: {cells_for(len(cells), len(columns))}; check the download")
                if cells:
                    yield Entry(f"{path}:{line}", number, dict(zip(columns, cells, strict=True)))
                line = reader.line_num + 1
        except UnicodeDecodeError as error:
            raise UserError(
                f"{path}:{reader.line_num + 1}: this is not UTF-8 from here on; check the download"
            ) from error
        except csv.Error as error:
            raise UserError(f"{path}:{reader.line_num + 1}: no valid TSV ({error}); check the download") from error


@contextmanager
def _cells_of_any_size() -> Iterator[None]:
    """Images are longer than the 131,072 characters that `csv` takes; its limit is one for the whole process."""
    before = csv.field_size_limit(min(sys.maxsize, 2**31 - 1))
    try:
        yield
    finally:
        csv.field_size_limit(before)


def _index(entry: Entry) -> int:
    text = entry.text("index")
    if not text.isdecimal():
        raise entry.wrong("index", "a whole number")
    return int(text)


def _given(entry: Entry) -> GivenQuestion:
    type_ = entry.text("type").lower()
    if type_ not in ("standard", *UNANSWERABLE):
        raise entry.wrong("type", f"standard or one of {', '.join(UNANSWERABLE)}")
    options = _options(entry)
    answer = entry.text("answer")
    if type_ == "standard" and answer not in options:
        raise entry.wrong("answer", f"the letter of an option ({', '.join(options)})")
    lines = [_cell(entry, "hint"), entry.text("question"), *(f"{letter}. {text}" for letter, text in options.items())]
    return GivenQuestion(
        text="\n".join(filter(None, lines)),
        intended="answerable" if type_ == "standard" else "unanswerable",
        id=f"{entry.text('index')}-{type_}",
        answers=(options[answer],) if type_ == "standard" else (),
        category=_cell(entry, "category"),
    )


def _options(entry: Entry) -> dict[str, str]:
    """By their letters, up to the first that is empty."""
    options = {}
    for letter in _OPTIONS:
        text = _cell(entry, letter)
        if not text:
            break
        options[letter] = text
    if not options:
        raise entry.wrong("A", "the first option")
    return options


def _cell(entry: Entry, name: str) -> str:
    """What a cell holds; "" for what pandas writes and reads for nothing, as in the benchmark's own code."""
    text = entry.optional_text(name)
    return "" if text.lower() in ("nan", "none") else text


def _written(entry: Entry, folder: Path) -> Path | None:
    """The file of the row's image, which is written if need be; None if the cell holds no image."""
    try:
        data = b64decode(entry.optional_text("image"), validate=True)
    except ValueError:
        return None
    suffix = next((suffix for start, suffix in _SIGNATURES if data.startswith(start)), None)
    if suffix is None:
        return None
    file = folder / f"{hashlib.sha256(data).hexdigest()[:16]}{suffix}"
    try:
        if not file.is_file() or file.stat().st_size != len(data):
            folder.mkdir(exist_ok=True)
            write_whole(file, data, private=False)
    except OSError as error:
        raise UserError(
            f"{folder}: cannot be written ({error.strerror}), and the images must go somewhere; give a folder with "
            f"{setting('images')}"
        ) from error
    return file
