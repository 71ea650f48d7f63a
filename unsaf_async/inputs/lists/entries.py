"""Rows of a list as every reader brings them: values by the names of their fields, and where the row stands."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from unsaf_async.errors import UserError
from unsaf_async.inputs.lists.spellings import local_path, spellings, with_slashes
from unsaf_async.text import one_line, shorten

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping
    from pathlib import Path

    from unsaf_async.records import ImagePart

MOST_ECHOED = 80
"""Characters of a value in an error."""


@dataclass(frozen=True, slots=True)
class Embedded:
    """An image that the list's own file holds.

    Attributes:
        part: Where in the file.
        name: What the file says that the image is called; "" if it says nothing.
        head: Its first bytes, which tell its format; b"" if they were not read.
        sha256: Of its bytes; "" if they were not read.
    """

    part: ImagePart
    name: str = ""
    head: bytes = b""
    sha256: str = ""


@dataclass(frozen=True, slots=True)
class Entry:
    """One row, with checked access to its fields.

    Attributes:
        where: Where it stands, "file:line", for errors.
        number: Of the row in its file, from 1.
        fields: Values by the fields' names, not checked yet.
        typed: Whether a value's type means something: all cells of a CSV file are texts.
        place_of: Where in the file a base64 text stands that a field holds, by the field's name and the text; None: unknown.
    """

    where: str
    number: int
    fields: Mapping[str, object]
    typed: bool = True
    place_of: Callable[[str, str], ImagePart | None] | None = field(default=None, compare=False, repr=False)

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
        """The id in a field: a text or a whole number, 7.0 among them.

        Args:
            name: The field.

        Returns:
            The id as text; "" if it is missing or null.

        Raises:
            UserError: It is something else.
        """
        value = self.fields.get(name)
        if isinstance(value, float) and value.is_integer() and abs(value) < 2**53:  # beyond that, digits were lost
            return str(int(value))
        if not self.typed and isinstance(value, str):
            return re.sub(
                r"^(\d{1,15})\.0$|^nan$", r"\1", value.strip()
            )  # as pandas writes numbers where some are missing
        if isinstance(value, int) and not isinstance(value, bool):
            return str(value)
        if value is None or isinstance(value, str):
            return self.optional_text(name)
        raise self.wrong(name, "a text or a whole number")

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
        refuse_url(named, self.where)
        spelled = spellings(named)
        return with_slashes(named), tuple(folder / each for each in spelled for folder in folders)

    def wrong(self, name: str, expected: str) -> UserError:
        """An error about a field.

        Args:
            name: The field.
            expected: What it should be, in words that follow "give".

        Returns:
            The error, to be raised: the field is missing, or its value is wrong.
        """
        if name not in self.fields:
            return UserError(f"{self.where}: no field {name!r} among: {self.names()}; give it {expected}")
        return UserError(f"{self.where}: {name!r} is {echoed(self.fields[name])}; give {expected}")

    def names(self) -> str:
        """The names of its fields, for errors.

        Returns:
            The names with commas between them, cut to a length; "nothing" without any.
        """
        return shorten(", ".join(one_line(str(name)) for name in self.fields), MOST_ECHOED) or "nothing"


def echoed(value: object) -> str:
    """A value as an error shows it.

    Args:
        value: Any value of a list.

    Returns:
        At most `MOST_ECHOED` characters in one line.
    """
    return shorten(repr(value[: 2 * MOST_ECHOED] if isinstance(value, str | bytes | list) else value), MOST_ECHOED)


def refuse_url(text: str, where: str) -> None:
    """Refuses an address in place of a path.

    Args:
        text: What stands there.
        where: "file:line", or a setting, for the error.

    Raises:
        UserError: It is an address.
    """
    if re.match(r"[A-Za-z][A-Za-z0-9+.-]+://|data:", local_path(text)):
        raise UserError(f"{where}: {echoed(text)} is a URL; download the image first and give its path")
