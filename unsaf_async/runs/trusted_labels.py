"""A run's trusted labels on disk, labels.jsonl: one line a label, appended and synced as it is given.

A later line about the same question replaces an earlier one; a line whose label is null takes it back. A label belongs to a
picture and a wording (`label_sample.question_key`), so that it never moves to another question, whatever else a run comes to
hold.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated

from pydantic import Field, ValidationError

from unsaf_async.errors import UserError
from unsaf_async.files import LineFile, whole_lines
from unsaf_async.records import Record, why_invalid
from unsaf_async.score.label_errors import TrustedLabel, Verdict

if TYPE_CHECKING:
    from pathlib import Path
    from types import TracebackType
    from typing import Self

BY_HAND = "by hand"
"""Who gave a label where nobody is named."""


class LabelLine(Record):
    """One line of labels.jsonl."""

    key: Annotated[str, Field(pattern="^[0-9a-f]{32}$")]
    """The question's (`label_sample.question_key`)."""
    image: str
    """The image's id, for people: what counts is the key."""
    question: str
    """Its text, for people."""
    label: Verdict | None
    """None: the label is taken back."""
    source: str = BY_HAND
    """Who says so."""
    at: str = ""
    """When, ISO 8601, UTC."""


def read_labels(file: Path) -> dict[str, TrustedLabel]:
    """A run's trusted labels by the questions' keys.

    Args:
        file: labels.jsonl; need not exist. A half-written last line is passed over.

    Returns:
        The last label of each question; {} without labels.

    Raises:
        UserError: Another line is no label.
    """
    labels: dict[str, TrustedLabel] = {}
    for number, line in enumerate(whole_lines(file), 1):
        try:
            row = LabelLine.model_validate_json(line)
        except ValidationError as error:
            raise UserError(
                f"{file}:{number}: is no label ({why_invalid(error)}); restore the line or delete it"
            ) from None
        if row.label is None:
            labels.pop(row.key, None)
        else:
            labels[row.key] = TrustedLabel(row.label, row.source)
    return labels


class LabelFile:
    """labels.jsonl, open for adding. Use it as a context manager.

    Args:
        file: Made if it does not exist.

    Raises:
        UserError: It cannot be written, or a line of it is no label.
    """

    def __init__(self, file: Path) -> None:
        self.labels = read_labels(file)
        """The labels so far, by the questions' keys."""
        self._lines = LineFile(file)

    def put(self, key: str, image: str, question: str, label: Verdict | None, source: str = BY_HAND) -> None:
        """Write a label down. It is safe, from a power cut, too, when this returns.

        Args:
            key: The question's.
            image: Its image's id.
            question: Its text.
            label: What it is; None takes its label back.
            source: Who says so.

        Raises:
            UserError: It cannot be written.
        """
        self.put_all([(key, image, question, label)], source)

    def put_all(self, labels: list[tuple[str, str, str, Verdict | None]], source: str = BY_HAND) -> None:
        """Write several labels down, as `put` does.

        Args:
            labels: Key, image's id, question's text and label of each.
            source: Who says so.

        Raises:
            UserError: They cannot be written.
        """
        now = datetime.now(UTC).isoformat(timespec="seconds")
        for key, image, question, label in labels:
            line = LabelLine(key=key, image=image, question=question, label=label, source=source, at=now)
            self._lines.append(line.model_dump_json().encode())
        self._lines.sync()
        for key, _, _, label in labels:
            if label is None:
                self.labels.pop(key, None)
            else:
                self.labels[key] = TrustedLabel(label, source)

    def close(self) -> None:
        """Close the file."""
        self._lines.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
