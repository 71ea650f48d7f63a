"""What the formats of labelled sets have in common: rows that errors can point to, images grouped by file, ids made unique."""

from __future__ import annotations

import os
import re
from collections import Counter
from dataclasses import dataclass
from pathlib import Path, PurePath
from typing import TYPE_CHECKING, Literal

import orjson

from unsaf_async.errors import UserError, setting
from unsaf_async.text import shorten

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from unsaf_async.records import GivenQuestion

Format = Literal["jsonl", "pope", "vizwiz", "mm-upd", "tubench"]

NOT_FOUND = "image not found"
"""Why rows without their image are skipped."""


@dataclass(frozen=True, slots=True)
class LabelledImage:
    """One image with its questions.

    Attributes:
        id: Stable, and unique in the set.
        path: Absolute.
        questions: At least one; their ids are unique in the set.
    """

    id: str
    path: Path
    questions: tuple[GivenQuestion, ...]


@dataclass(frozen=True)
class LabelledSet:
    """A labelled set, read.

    Attributes:
        name: Of the file or folder.
        format: One of FORMATS.
        yes_no: Whether every question is a probe that is answered by yes or no.
        images: At least one.
        skipped: How many rows were skipped, by the reason in words.
    """

    name: str
    format: Format
    yes_no: bool
    images: tuple[LabelledImage, ...]
    skipped: dict[str, int]


class IncompleteSet(UserError):
    """A labelled set that can be read once the user says more of it: its format, or where its images lie."""

    def __init__(self, problem: str, advice: str, field: str | None = None) -> None:
        """An error in two parts.

        Args:
            problem: What is wrong.
            advice: What to do, by the settings of a labelled run.
            field: The setting that is wrong; None: `problem` says where.
        """
        super().__init__(f"{problem}; {advice}", field)
        self._problem = problem

    def with_advice(self, advice: str) -> UserError:
        """The same problem, for a reader without those settings.

        Args:
            advice: What to do instead.

        Returns:
            An error about the same field.
        """
        return UserError(f"{self._problem}; {advice}", self.field)


# --- what the formats' readers bring ------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Row:
    """One question about one image.

    Attributes:
        number: Of the row in its file, from 1.
        image_id: The image's id; rows with the same one have the same `candidates`.
        candidates: Where the image may be, the likeliest first.
        question: Its id may be "", or taken already.
    """

    number: int
    image_id: str
    candidates: tuple[Path, ...]
    question: GivenQuestion


@dataclass(frozen=True, slots=True)
class Skipped:
    """A row that is not used, and why."""

    reason: str


def collect(source: Path, rows: Iterable[Row | Skipped]) -> tuple[tuple[LabelledImage, ...], dict[str, int]]:
    """The images with their questions, and how many rows were skipped.

    One file is one image, however it is named.

    Args:
        source: The set's file or folder, for errors.
        rows: What the format's reader yields.

    Returns:
        (the images in the order of their first rows, the number of skipped rows by reason).

    Raises:
        UserError: No question remains.
    """
    skipped: Counter[str] = Counter()
    places: dict[str, tuple[str, Path] | None] = {}
    images: dict[str, tuple[str, Path, list[GivenQuestion]]] = {}
    taken: set[str] = set()
    without_image: Row | None = None
    for row in rows:
        if isinstance(row, Skipped):
            skipped[row.reason] += 1
            continue
        if row.image_id not in places:
            places[row.image_id] = _place(row.candidates)
        place = places[row.image_id]
        if place is None:
            without_image = without_image or row
            skipped[NOT_FOUND] += 1
            continue
        real, path = place
        _, _, questions = images.setdefault(real, (row.image_id, path, []))
        questions.append(_with_id(row, taken))
    if not images:
        raise _no_question(source, skipped, without_image)
    labelled = tuple(LabelledImage(name, path, tuple(questions)) for name, path, questions in images.values())
    return labelled, dict(skipped)


def _place(candidates: Iterable[Path]) -> tuple[str, Path] | None:
    """The real path of the first candidate that is a file, and its absolute path as it was named."""
    for path in candidates:
        if os.path.isfile(path):  # noqa: PTH113  # pathlib's raises for a name that is too long
            return os.path.realpath(path), Path(os.path.abspath(path))  # noqa: PTH100  # a link keeps its name
    return None


def _with_id(row: Row, taken: set[str]) -> GivenQuestion:
    key = row.question.id or f"#{row.number}"
    while key in taken:
        key += f"#{row.number}"
    taken.add(key)
    return row.question if key == row.question.id else row.question.model_copy(update={"id": key})


def _no_question(source: Path, skipped: Counter[str], without_image: Row | None) -> UserError:
    """Why no question remains. without_image: the first row that has none; None if each has one."""
    if without_image is not None:
        first, *others = without_image.candidates
        also = f", then in {', '.join(str(path.parent) for path in others)}" if others else ""
        return IncompleteSet(
            f"{source}: no image was found for {skipped[NOT_FOUND]} questions; looked for {first}{also}",
            f"give the folder of the images with {setting('images')}",
        )
    if skipped:
        reasons = ", ".join(f"{count} x {reason}" for reason, count in skipped.items())
        return UserError(f"{source}: no question is left ({reasons}); check that this is the right file")
    return UserError(f"{source}: holds no question; give a file with at least one row")


# --- rows as they stand in a file ---------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Entry:
    """One row, with checked access to its fields.

    Attributes:
        where: Where it stands, "file:line", for errors.
        number: Of the row in its file, from 1.
        fields: Values by the fields' names, not checked yet.
    """

    where: str
    number: int
    fields: Mapping[str, object]

    def text(self, name: str) -> str:
        """The text in a field.

        Args:
            name: The field.

        Returns:
            The text, stripped, not empty.

        Raises:
            UserError: It is missing, empty or something else.
        """
        value = self.fields.get(name)
        if not isinstance(value, str) or not value.strip():
            raise self.wrong(name, "a text")
        return value.strip()

    def optional_text(self, name: str) -> str:
        """The text in a field that may be absent.

        Args:
            name: The field.

        Returns:
            The text, stripped; "" if it is missing or null.

        Raises:
            UserError: It is something else.
        """
        value = self.fields.get(name)
        if value is None:
            return ""
        if not isinstance(value, str):
            raise self.wrong(name, "a text")
        return value.strip()

    def key(self, name: str) -> str:
        """The id in a field: a text or a whole number.

        Args:
            name: The field.

        Returns:
            The id as text; "" if it is missing or null.

        Raises:
            UserError: It is something else.
        """
        value = self.fields.get(name)
        if isinstance(value, int) and not isinstance(value, bool):
            return str(value)
        return self.optional_text(name) if value is None or isinstance(value, str) else self._no_key(name)

    def image(self, folders: Iterable[Path]) -> tuple[str, tuple[Path, ...]]:
        """The image that the field `image` names.

        Args:
            folders: Where it may be, the likeliest first.

        Returns:
            (its id: the path as the field has it, with slashes; its path in each of the folders).

        Raises:
            UserError: The field is missing, or holds no path.
        """
        named = self.text("image")
        if "\0" in named:
            raise self.wrong("image", "the path of a file")
        if re.match(r"[A-Za-z][A-Za-z0-9+.-]+://|data:", named):
            raise UserError(f"{self.where}: {named[:100]!r} is a URL; download the image first and give its path")
        return PurePath(named).as_posix(), tuple(folder / named for folder in folders)

    def wrong(self, name: str, expected: str) -> UserError:
        """An error about a field.

        Args:
            name: The field.
            expected: What it should be, in words that follow "give".

        Returns:
            The error, to be raised: the field is missing, or its value is wrong.
        """
        if name not in self.fields:
            present = ", ".join(map(str, self.fields))[:100] or "nothing"
            return UserError(f"{self.where}: no field {name!r} among: {present}; give it {expected}")
        return UserError(f"{self.where}: {name!r} is {shorten(repr(self.fields[name]), 60)}; give {expected}")

    def _no_key(self, name: str) -> str:
        raise self.wrong(name, "a text or a whole number")


def json_lines(path: Path) -> Iterator[Entry]:
    """The rows of a file with one JSON object a line.

    Args:
        path: The file.

    Yields:
        The rows in the file's order; blank lines are passed over.

    Raises:
        UserError: A line is not UTF-8, no JSON, or no object.
    """
    count = 0
    with path.open("rb") as file:
        for number, line in enumerate(file, 1):
            data = line.removeprefix(b"\xef\xbb\xbf") if number == 1 else line
            if not data.strip():
                continue
            where = f"{path}:{number}"
            try:
                row = orjson.loads(decoded(data, where))
            except orjson.JSONDecodeError as error:
                raise UserError(f"{where}: no valid JSON ({error.msg}); give one JSON object a line") from error
            if not isinstance(row, dict):
                raise UserError(f"{where}: {shorten(repr(row), 60)} is no JSON object; give one JSON object a line")
            count += 1
            yield Entry(where, count, row)


def json_file(path: Path) -> object:
    """What a JSON file holds.

    Args:
        path: The file.

    Returns:
        The value, of any JSON type.

    Raises:
        UserError: The file is not UTF-8 or no JSON.
    """
    data = path.read_bytes().removeprefix(b"\xef\xbb\xbf")
    try:
        value: object = orjson.loads(decoded(data, str(path)))
    except orjson.JSONDecodeError as error:
        raise UserError(f"{path}:{error.lineno}: no valid JSON ({error.msg}); check the download") from error
    return value


def decoded(data: bytes, where: str) -> str:
    """Bytes as UTF-8 text.

    Args:
        data: A whole file, or a line of one.
        where: "file" or "file:line", for errors.

    Returns:
        The text.

    Raises:
        UserError: The bytes are not UTF-8; the error names the line, if there are several.
    """
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError as error:
        lines = data.count(b"\n", 0, error.start)
        place = f"{where}:{lines + 1}" if lines else where
        raise UserError(f"{place}: this is not UTF-8; save the file as UTF-8") from error
