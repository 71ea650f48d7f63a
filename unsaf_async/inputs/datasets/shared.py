"""What the formats of labelled sets have in common: rows that errors can point to, images grouped by file, ids made unique."""

from __future__ import annotations

import os
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import orjson

from unsaf_async.errors import UserError, setting
from unsaf_async.inputs.lists.textfile import open_text

if TYPE_CHECKING:
    from collections.abc import Iterable

    from unsaf_async.records import GivenQuestion, ImagePart

Format = Literal["jsonl", "pope", "vizwiz", "mm-upd", "tubench"]

NOT_FOUND = "image not found"
"""Why rows without their image are skipped."""
NOT_READABLE = "image not readable"
"""Why rows whose image stands in the set are skipped where it is none."""


@dataclass(frozen=True, slots=True)
class LabelledImage:
    """One image with its questions.

    Attributes:
        id: Stable, and unique in the set.
        path: Absolute.
        questions: At least one; their ids are unique in the set.
        part: Where in the file the image is; None: the file is the image.
    """

    id: str
    path: Path
    questions: tuple[GivenQuestion, ...]
    part: ImagePart | None = None


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
        part: Where in the file the image is; None: the file is the image.
        same: Equal for parts of one file that are one image; "" without a part.
    """

    number: int
    image_id: str
    candidates: tuple[Path, ...]
    question: GivenQuestion
    part: ImagePart | None = None
    same: str = ""


@dataclass(frozen=True, slots=True)
class Skipped:
    """A row that is not used, and why."""

    reason: str


def collect(
    source: Path, rows: Iterable[Row | Skipped], *, partial: bool = False
) -> tuple[tuple[LabelledImage, ...], dict[str, int]]:
    """The images with their questions, and how many rows were skipped.

    One file is one image, however it is named.

    Args:
        source: The set's file or folder, for errors.
        rows: What the format's reader yields.
        partial: However many rows lack their image, one that has it is enough.

    Returns:
        (the images in the order of their first rows, the number of skipped rows by reason).

    Raises:
        UserError: No question remains, or, unless `partial`, fewer than were skipped for want of their image.
    """
    skipped: Counter[str] = Counter()
    places: dict[tuple[str, str], tuple[str, Path] | None] = {}
    images: dict[tuple[str, str], tuple[str, Row, Path, list[GivenQuestion]]] = {}
    ids: set[str] = set()
    taken: set[str] = set()
    without_image: Row | None = None
    for row in rows:
        if isinstance(row, Skipped):
            skipped[row.reason] += 1
            continue
        named = row.image_id, row.same
        if named not in places:
            places[named] = _place(row.candidates)
        place = places[named]
        if place is None:
            without_image = without_image or row
            skipped[NOT_FOUND] += 1
            continue
        real, path = place
        if (real, row.same) not in images:
            images[real, row.same] = _free(row.image_id, row.number, ids), row, path, []
        images[real, row.same][3].append(_with_id(row, taken))
    if not images:
        raise _no_question(source, skipped, without_image)
    lost, kept = skipped[NOT_FOUND] + skipped[NOT_READABLE], sum(len(each[3]) for each in images.values())
    if lost > kept and not partial:
        raise _mostly_missing(source, lost, kept, without_image)
    labelled = tuple(
        LabelledImage(name, path, tuple(questions), row.part) for name, row, path, questions in images.values()
    )
    return labelled, dict(skipped)


def _place(candidates: Iterable[Path]) -> tuple[str, Path] | None:
    """The real path of the first candidate that is a file, and its absolute path as it was named."""
    for path in candidates:
        if os.path.isfile(path):  # noqa: PTH113  # pathlib's raises for a name that is too long
            return os.path.realpath(path), Path(os.path.abspath(path))  # noqa: PTH100  # a link keeps its name
    return None


def _with_id(row: Row, taken: set[str]) -> GivenQuestion:
    key = _free(row.question.id or f"#{row.number}", row.number, taken)
    return row.question if key == row.question.id else row.question.model_copy(update={"id": key})


def _free(key: str, number: int, taken: set[str]) -> str:
    """`key`, with the row's number behind it where it is taken; it is taken from now on."""
    while key in taken:
        key += f"#{number}"
    taken.add(key)
    return key


def _no_question(source: Path, skipped: Counter[str], without_image: Row | None) -> UserError:
    """Why no question remains. without_image: the first row that has none; None if each has one."""
    if without_image is not None:
        return _not_found(f"{source}: no image was found for {skipped[NOT_FOUND]} questions", without_image)
    if skipped:
        reasons = ", ".join(f"{count} x {reason}" for reason, count in skipped.items())
        return UserError(f"{source}: no question is left ({reasons}); check that this is the right file")
    return UserError(f"{source}: holds no question; give a file with at least one row")


def _mostly_missing(source: Path, lost: int, kept: int, without_image: Row | None) -> UserError:
    """Why a set is refused that lacks most of its images. without_image: the first row whose file is not there."""
    problem = f"{source}: {lost} of {lost + kept} questions are without their image, more than half"
    if without_image is None:
        return UserError(f"{problem}; check that the file is whole")
    return _not_found(problem, without_image)


def _not_found(problem: str, row: Row) -> UserError:
    first, *others = row.candidates
    folders = dict.fromkeys(str(path.parent) for path in others if path.parent != first.parent)
    also = f", then in {', '.join(folders)}" if folders else ""
    return IncompleteSet(
        f"{problem}; looked for {first}{also}", f"give the folder of the images with {setting('images')}"
    )


# --- files ---------------------------------------------------------------------------------------------------------


def json_file(path: Path) -> object:
    """What a JSON file holds.

    Args:
        path: The file.

    Returns:
        The value, of any JSON type.

    Raises:
        UserError: The file is not UTF-8 or no JSON.
    """
    text = open_text(path).text()
    try:
        value: object = orjson.loads(text)
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
