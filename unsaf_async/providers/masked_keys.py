"""Keys that a server sends back with most of their characters masked: "Incorrect API key provided: sk-proj-****Yk3"."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

MARK = "[key]"
"""What stands in a secret's place."""

FEWEST = 3
"""Letters and digits. Of one key, beside a mask, they are no coincidence; fewer stand beside dots in ordinary sentences."""

_SIGNS = ("***", "...", "…", "•••", "●●●", "xxx", "XXX", "###", "ending", "Ending", "ends ", "last ", "Last ")
"""Without one of these no text holds a masked key."""

_MASK = re.compile(
    r"(?<![\w+/=.-])(?P<head>[\w+/=.-]*?)(?P<mask>(?:([*•●#x.])\3{2,}|…)+)(?P<tail>[\w+/=-]*)"
    r"|(?:\bend(?:s|ing)\s+(?:in|with)|\blast\s+\w+\s+(?:characters|digits|letters)(?:\s+(?:are|is))?)"
    r"[\s:=\"'`(]*(?P<ending>[\w+/=-]+)",
    re.IGNORECASE,
)
_ANYBODYS = re.compile(r"(?<![\w+/=-])[\w+/=-]*[*•●]{3,}[\w+/=-]*")
_PUBLIC = re.compile(r"(?:[A-Za-z]+[-_])*")
"""What many keys begin with, such as "sk-proj-"."""


@dataclass(frozen=True, slots=True)
class _Key:
    """A key's letters and digits in lower case, and how many of them are a beginning that says nothing."""

    letters: str
    public: int


class MaskedKeys:
    """Finds what is left of known keys beside a mask."""

    def __init__(self, keys: Iterable[str]) -> None:
        """Some keys.

        Args:
            keys: They, whole.
        """
        self._keys = tuple(
            _Key("".join(each for _, each in _characters(key)), sum(map(str.isalnum, match[0])))
            for key in keys
            if (match := _PUBLIC.match(key))
        )

    def is_in(self, text: str) -> bool:
        """Whether a masked key is in a text. Fast where none of the usual signs is.

        Args:
            text: Any.

        Returns:
            Whether `found` yields one.
        """
        return bool(self._keys) and any(sign in text for sign in _SIGNS) and any(True for _ in self.found(text))

    def found(self, text: str) -> Iterator[tuple[int, int]]:
        """Where masked keys begin and end, their masks included.

        Args:
            text: Any.

        Yields:
            (begin, end) of each, in order.
        """
        for match in _MASK.finditer(text) if self._keys else ():
            if match["ending"]:
                place = self._place("", match["ending"])
                begin, end = match.span("ending")
                if place is not None:
                    yield begin, begin + place[1]
            elif (place := self._place(match["head"], match["tail"])) is not None:
                begin, end = match.span("mask")
                yield begin - place[0], end + place[1]

    def _place(self, head: str, tail: str) -> tuple[int, int] | None:
        """How many characters at the end of `head`, and at the start of `tail`, are a key's; None if that is no coincidence."""
        before, behind = _characters(head)[::-1], _characters(tail)
        heads, tails = "".join(each for _, each in before)[::-1], "".join(each for _, each in behind)
        for key in self._keys:
            some = range(len(key.letters), 0, -1)
            first = next((size for size in some if heads.endswith(key.letters[:size])), 0)
            last = next((size for size in some if tails.startswith(key.letters[-size:])), 0)
            if first + last >= FEWEST and (last or first > key.public):
                return (len(head) - before[first - 1][0] if first else 0), (behind[last - 1][0] + 1 if last else 0)
        return None


def without_masked(text: str) -> str:
    """An error's text without masked keys, whosever they are: a gateway may send back its own.

    Args:
        text: A provider's words about an error. In a model's response stars may be anything.

    Returns:
        The text with `MARK` in place of every run of stars that touches characters of a key.
    """
    return _ANYBODYS.sub(lambda match: MARK if any(map(str.isalnum, match[0])) else match[0], text)


def _characters(text: str) -> list[tuple[int, str]]:
    """(place, character in lower case) of the ASCII letters and digits."""
    return [(at, each.lower()) for at, each in enumerate(text) if each.isascii() and each.isalnum()]
