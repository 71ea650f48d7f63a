"""HTML as a tree of elements, so that every text and attribute is escaped by the serialiser and none by hand."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any
from xml.etree.ElementTree import Element, tostring

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

Child = Element | str | int | None

_UNFIT = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f\ud800-\udfff\ufdd0-\ufdef\ufffe\uffff]")
"""Characters that HTML forbids, that XML forbids, or that UTF-8 cannot hold."""


def clean(text: str) -> str:
    """`text` with U+FFFD for each character that no HTML, SVG or UTF-8 may hold.

    Args:
        text: Any text.

    Returns:
        A text of the same length.
    """
    return _UNFIT.sub("\ufffd", text)


def el(name: str, /, *children: Child | Iterable[Child], **attributes: str | float | bool | None) -> Element:
    """An element of the page.

    Args:
        name: Of the element.
        children: Elements, numbers and texts, which are escaped when the element is written. None is skipped; lists are
            flattened.
        attributes: `class_` stands for class and `for_` for for; other underscores become hyphens. True writes an attribute
            without a value; None and False write none.

    Returns:
        The element.
    """
    element = Element(name)
    for key, value in attributes.items():
        if value is not None and value is not False:
            element.set(key.rstrip("_").replace("_", "-"), "" if value is True else clean(str(value)))
    for child in children:
        parts = [child] if child is None or isinstance(child, Element | str | int) else list(child)
        for part in parts:
            add(element, part)
    return element


_DIRECTION = re.compile("([\u202a-\u202e\u2066-\u2069])")
"""Characters that turn the direction of what follows, up to an end that may never come."""


def said(text: str, name: str = "span", class_: str = "said", **attributes: str) -> Element:
    """A text by a model, a file or a person: in its own direction of writing, which ends where the text does.

    Characters that turn the direction are shown by their numbers, each within an element of its own, so that they turn nothing.

    Args:
        text: Any text.
        name: Of the element.
        class_: Its classes, "said" among them.
        attributes: More of them, as for `el`.

    Returns:
        The element. It says `text` and nothing else.
    """
    parts = _DIRECTION.split(text)
    children = [_turning(part) if number % 2 else part for number, part in enumerate(parts)]
    return el(name, children, class_=class_, dir="auto", **attributes)


def _turning(character: str) -> Element:
    return el("span", character, class_="turn", title=f"U+{ord(character):04X}")


def add(element: Element, child: Child) -> None:
    """Put a child at the end of an element.

    Args:
        element: It is changed.
        child: A text, a number or an element. None adds nothing.
    """
    if child is None:
        return
    if isinstance(child, Element):
        element.append(child)
        return
    text = clean(str(child))
    if len(element):
        element[-1].tail = (element[-1].tail or "") + text
    else:
        element.text = (element.text or "") + text


def html(element: Element) -> str:
    """An element as HTML.

    Args:
        element: Any element.

    Returns:
        The text, with everything escaped that needs it.
    """
    return tostring(element, encoding="unicode", method="html")


class Grown:
    """A JSON list or object that grows, kept as the text that it becomes: its values would take many times as much memory."""

    def __init__(self, *, members: bool = False) -> None:
        """An empty one.

        Args:
            members: Whether it is an object and not a list.
        """
        self._ends = (b"{", b"}") if members else (b"[", b"]")
        self._blocks: list[bytes] = []

    def extend(self, values: list[Any] | dict[Any, Any]) -> None:
        """Add values at its end.

        Args:
            values: What JSON can hold; members with other names than before if it is an object.

        Raises:
            ValueError: A number is infinite or not a number.
        """
        if values:
            self._blocks.append(data_json(values)[1:-1].encode())

    def pieces(self) -> Iterator[bytes]:
        """The JSON, piece by piece.

        Yields:
            UTF-8.
        """
        yield self._ends[0]
        for number, block in enumerate(self._blocks):
            if number:
                yield b","
            yield block
        yield self._ends[1]


def data_pieces(value: dict[str, Any] | Grown) -> Iterator[bytes]:
    """As `data_json`, piece by piece.

    Args:
        value: What JSON can hold. Members may have grown.

    Yields:
        UTF-8.
    """
    if isinstance(value, Grown):
        yield from value.pieces()
        return
    yield b"{"
    for number, (name, member) in enumerate(value.items()):
        yield f"{',' if number else ''}{data_json(name)}:".encode()
        yield from member.pieces() if isinstance(member, Grown) else (data_json(member).encode(),)
    yield b"}"


def data_json(value: Any) -> str:
    """`value` as JSON that may stand inside <script type="application/json">: nothing in it can end the element.

    Every <, > and & is written as an escape, and so are U+2028 and U+2029.

    Args:
        value: What JSON can hold.

    Returns:
        The JSON. Reading it gives the value back, but for characters that `clean` replaces.

    Raises:
        ValueError: A number is infinite or not a number.
    """
    text = json.dumps(value, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
    for character in "<>&\u2028\u2029":
        text = text.replace(character, f"\\u{ord(character):04x}")
    return _UNFIT.sub("\ufffd", text)
