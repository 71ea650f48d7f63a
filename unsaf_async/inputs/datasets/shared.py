"""What the formats of labelled sets have in common: rows with a place to blame, images found and grouped, ids made unique."""

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

    id: stable, and unique in the set. path: absolute. questions: at least one; their ids are unique in the set.
    """

    id: str
    path: Path
    questions: tuple[GivenQuestion, ...]


@dataclass(frozen=True)
class LabelledSet:
    """A labelled set, read.

    name: of the file or folder. yes_no: every question is a probe that is answered by yes or no. images: at least one.
    skipped: how many rows were left out, by the reason in words.
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
            problem: What was found.
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

    number: of the row in its file, from 1. image_id: the image's; it stands for `candidates`. candidates: where the image may be,
    the likeliest first. question: its id may be "", or taken already.
    """

    number: int
    image_id: str
    candidates: tuple[Path, ...]
    question: GivenQuestion


@dataclass(frozen=True, slots=True)
class Left:
    """A row that is left out, and why."""

    reason: str


def collect(source: Path, rows: Iterable[Row | Left]) -> tuple[tuple[LabelledImage, ...], dict[str, int]]:
    """The images with their questions, and what was left out by reason.

    One file is one image, however it is named. Raises UserError if no question is left.
    """
    skipped: Counter[str] = Counter()
    places: dict[str, tuple[str, Path] | None] = {}
    images: dict[str, tuple[str, Path, list[GivenQuestion]]] = {}
    taken: set[str] = set()
    lost: Row | None = None
    for row in rows:
        if isinstance(row, Left):
            skipped[row.reason] += 1
            continue
        if row.image_id not in places:
            places[row.image_id] = _place(row.candidates)
        place = places[row.image_id]
        if place is None:
            lost = lost or row
            skipped[NOT_FOUND] += 1
            continue
        real, path = place
        _, _, questions = images.setdefault(real, (row.image_id, path, []))
        questions.append(_with_id(row, taken))
    if not images:
        raise _nothing_left(source, skipped, lost)
    found = tuple(LabelledImage(name, path, tuple(questions)) for name, path, questions in images.values())
    return found, dict(skipped)


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


def _nothing_left(source: Path, skipped: Counter[str], lost: Row | None) -> UserError:
    if lost is not None:
        first, *others = lost.candidates
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
    """One row, with where it stands ("file:line") and its number, from 1. What it reads is checked, or a UserError."""

    where: str
    number: int
    fields: Mapping[str, object]

    def text(self, name: str) -> str:
        """The text in `name`, stripped. Raises UserError if it is missing, empty or something else."""
        value = self.fields.get(name)
        if not isinstance(value, str) or not value.strip():
            raise self.wrong(name, "a text")
        return value.strip()

    def optional_text(self, name: str) -> str:
        """The text in `name`, stripped; "" if it is missing or null. Raises UserError if it is something else."""
        value = self.fields.get(name)
        if value is None:
            return ""
        if not isinstance(value, str):
            raise self.wrong(name, "a text")
        return value.strip()

    def key(self, name: str) -> str:
        """The id in `name`: a text or a whole number; "" if it is missing or null. Raises UserError if it is something else."""
        value = self.fields.get(name)
        if isinstance(value, int) and not isinstance(value, bool):
            return str(value)
        return self.optional_text(name) if value is None or isinstance(value, str) else self._no_key(name)

    def image(self, folders: Iterable[Path]) -> tuple[str, tuple[Path, ...]]:
        """The image named in `image`: its id, and where it may be: in one of `folders`. Raises UserError if it names none."""
        named = self.text("image")
        if "\0" in named:
            raise self.wrong("image", "the path of a file")
        if re.match(r"[A-Za-z][A-Za-z0-9+.-]+://|data:", named):
            raise UserError(f"{self.where}: {named[:100]!r} is a URL; download the image first and give its path")
        return PurePath(named).as_posix(), tuple(folder / named for folder in folders)

    def wrong(self, name: str, wanted: str) -> UserError:
        """What is wrong with the field `name`: it should be `wanted`."""
        if name not in self.fields:
            found = ", ".join(map(str, self.fields))[:100] or "nothing"
            return UserError(f"{self.where}: no field {name!r} among: {found}; give it {wanted}")
        return UserError(f"{self.where}: {name!r} is {shorten(repr(self.fields[name]), 60)}; give {wanted}")

    def _no_key(self, name: str) -> str:
        raise self.wrong(name, "a text or a whole number")


def json_lines(path: Path) -> Iterator[Entry]:
    """The rows of a file with one JSON object a line, one after the other; blank lines are passed over. Raises UserError."""
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
    """What a JSON file holds. Raises UserError."""
    data = path.read_bytes().removeprefix(b"\xef\xbb\xbf")
    try:
        value: object = orjson.loads(decoded(data, str(path)))
    except orjson.JSONDecodeError as error:
        raise UserError(f"{path}:{error.lineno}: no valid JSON ({error.msg}); check the download") from error
    return value


def decoded(data: bytes, where: str) -> str:
    """`data` as UTF-8. Raises UserError with the line that is none, if there are several."""
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError as error:
        lines = data.count(b"\n", 0, error.start)
        place = f"{where}:{lines + 1}" if lines else where
        raise UserError(f"{place}: this is not UTF-8; save the file as UTF-8") from error
