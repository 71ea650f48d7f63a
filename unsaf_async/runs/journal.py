"""The run's results on disk: one line a finished image, appended and flushed as it comes.

A later line about the same image replaces an earlier one (an image that failed and was examined again).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, BinaryIO

import orjson
from pydantic import ValidationError

from unsaf_async.calls.budget import NANO
from unsaf_async.errors import UserError
from unsaf_async.files import LineFile, whole_lines
from unsaf_async.records import Examination, why_invalid

if TYPE_CHECKING:
    from collections.abc import Callable, Container, Iterable, Iterator
    from pathlib import Path
    from types import TracebackType
    from typing import Self


def read_journal(file: Path, images: Container[str] | None = None) -> dict[str, Examination]:
    """The examinations in `file` by image id, the last one of each; {} if there is no file.

    A half-written last line is passed over.

    Args:
        file: The journal.
        images: The ids of the run's images; None: any image may be in it.

    Returns:
        In the order in which the images were first finished.

    Raises:
        UserError: Another line is no examination, or is about an image that is not among the run's.
    """
    examinations: dict[str, Examination] = {}
    for number, line in enumerate(whole_lines(file), 1):
        examination = _examination(line, f"{file}:{number}")
        _check_image(examination.image.id, images, f"{file}:{number}")
        examinations[examination.image.id] = examination
    return examinations


def _examination(line: bytes, where: str) -> Examination:
    try:
        return Examination.model_validate_json(line)
    except ValidationError as error:
        raise UserError(f"{where}: is no examination ({why_invalid(error)}); restore the line or delete it") from None


def _check_image(name: str, images: Container[str] | None, where: str) -> None:
    if images is not None and name not in images:
        what = f"is about {name!r:.100}, which is none of the run's images"
        raise UserError(f"{where}: {what}; restore the file, or delete the line")


def paid_nano_usd(examination: Examination) -> int:
    """What the calls of an examination have cost, but failed ones, and those that the cache spared.

    Args:
        examination: Of an image.

    Returns:
        Nano-dollars, >= 0.
    """
    return sum(round(call.cost_usd * NANO) for call in examination.calls if not call.cached)


class Kept(Mapping[str, Examination]):
    """The examinations in a journal by image id, the last one of each, as `read_journal` gives them.

    In memory is only where each line begins. An examination is read anew whenever it is asked for, so that a run of any size
    fits; who needs all of them several times takes `read_journal`.
    """

    def __init__(self, file: Path, images: Container[str] | None = None) -> None:
        """Finds the lines. Whether each of them is an examination shows when it is read.

        Args:
            file: The journal; need not exist.
            images: As for `read_journal`.

        Raises:
            UserError: A line names no image, or none of the run's.
        """
        self.file = file
        self._begins: dict[str, int] = {}
        begins = 0
        for number, line in enumerate(whole_lines(file), 1):
            try:
                name = orjson.loads(line)["image"]["id"]
            except (ValueError, KeyError, TypeError, IndexError):
                name = None
            if not isinstance(name, str):
                name = _examination(line, f"{file}:{number}").image.id
            _check_image(name, images, f"{file}:{number}")
            self._begins[name] = begins
            begins += len(line) + 1

    def put(self, name: str, begins: int) -> None:
        """Take note of a further line.

        Args:
            name: The image's id.
            begins: Where the line begins, in bytes.
        """
        self._begins[name] = begins

    def __getitem__(self, name: str) -> Examination:
        self._begins[name]  # a KeyError before the file is opened, which need not exist
        with self.file.open("rb") as lines:
            return self._read(lines, name)

    def in_order(self, names: Iterable[str]) -> Iterator[Examination]:
        """Examinations, each read when its turn comes.

        Args:
            names: Ids of images that are there.

        Yields:
            The examination of each, in that order.

        Raises:
            UserError: The line of one is no examination.
        """
        names = list(names)
        if names:
            with self.file.open("rb") as lines:
                for name in names:
                    yield self._read(lines, name)

    def _read(self, lines: BinaryIO, name: str) -> Examination:
        begins = self._begins[name]
        lines.seek(begins)
        line = lines.readline().removesuffix(b"\n")
        try:
            return Examination.model_validate_json(line)
        except ValidationError:
            lines.seek(0)
            before = lines.read(begins).count(b"\n")
            return _examination(line, f"{self.file}:{before + 1}")

    def __iter__(self) -> Iterator[str]:
        return iter(self._begins)

    def __len__(self) -> int:
        return len(self._begins)


class Examinations:
    """The examinations in a journal, in its order: read anew, one after the other, as often as they are gone through."""

    def __init__(self, kept: Kept) -> None:
        """All that a journal holds.

        Args:
            kept: The journal's.
        """
        self._kept = kept

    def __iter__(self) -> Iterator[Examination]:
        return self._kept.in_order(self._kept)


def _unseen(examination: Examination) -> None:
    pass


class Journal:
    """Appends examinations to a file.

    kept: what it holds, by image id. paid_nano_usd: what the calls of those that it held at the beginning have cost, but failed
    ones, and those that the cache spared.
    """

    def __init__(self, kept: Kept | Path, look: Callable[[Examination], None] = _unseen) -> None:
        """An open journal, whose lines have all been read: one that is no examination is told of before anything is asked.

        Args:
            kept: The file, or what it holds.
            look: Is shown each examination that is there, in the order of the images' ids.

        Raises:
            UserError: A line is no examination, or the file cannot be written.
        """
        self.kept = kept if isinstance(kept, Kept) else Kept(kept)
        self.paid_nano_usd = 0
        for examination in self.kept.in_order(sorted(self.kept)):
            self.paid_nano_usd += paid_nano_usd(examination)
            look(examination)
        self._lines = LineFile(self.kept.file)

    def keep(self, examination: Examination) -> None:
        """Write one finished image down. It is safe from the process's death when this returns.

        Args:
            examination: Of the image; it replaces an earlier one.
        """
        begins = self._lines.append(examination.model_dump_json().encode())
        self.kept.put(examination.image.id, begins)

    def close(self) -> None:
        """Close the file. Closing twice is harmless."""
        self._lines.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
