"""The run's results on disk: one line a finished image, appended and flushed as it comes.

A later line about the same image replaces an earlier one (an image that failed and was examined again).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from pydantic import ValidationError

from unsaf_async.errors import UserError
from unsaf_async.files import LineFile, whole_lines
from unsaf_async.records import Examination

if TYPE_CHECKING:
    from pathlib import Path
    from types import TracebackType
    from typing import Self


def read_journal(file: Path) -> dict[str, Examination]:
    """The examinations in `file` by image id, the last one of each; {} if there is no file.

    A half-written last line is passed over.

    Args:
        file: The journal.

    Returns:
        In the order in which the images were first finished.

    Raises:
        UserError: Another line is no examination.
    """
    examinations: dict[str, Examination] = {}
    for number, line in enumerate(whole_lines(file), 1):
        try:
            examination = Examination.model_validate_json(line)
        except ValidationError as error:
            first = error.errors()[0]
            where = ".".join(str(part) for part in first["loc"]) or "line"
            raise UserError(
                f"{file}:{number}: is no examination ({where}: {first['msg']}); restore the line or delete it"
            ) from None
        examinations[examination.image.id] = examination
    return examinations


class Journal:
    """Appends examinations to `file`. `kept` holds what it already had, by image id."""

    def __init__(self, file: Path) -> None:
        self.kept = read_journal(file)
        self._lines = LineFile(file)

    def keep(self, examination: Examination) -> None:
        """Write one finished image down. It is safe from the process's death when this returns.

        Args:
            examination: Of the image; it replaces an earlier one.
        """
        self._lines.append(examination.model_dump_json().encode())
        self.kept[examination.image.id] = examination

    def close(self) -> None:
        """Close the file. Closing twice is harmless."""
        self._lines.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
