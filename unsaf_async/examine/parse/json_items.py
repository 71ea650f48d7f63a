"""The items of a list that is written as JSON, well-formed or not."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING

from unsaf_async.examine.parse.items import Item, kind_of, known_kind, trimmed_item, well_formed

if TYPE_CHECKING:
    from collections.abc import Iterator

    from unsaf_async.records import Kind

_QUESTION_KEYS = ("question", "question_text", "questiontext", "text", "q", "query", "prompt", "content")
_LIST_KEYS = ("questions", "items", "list", "data", "results")
_NUMBERED_KEY = re.compile(r"(?:q|question)?[\s_#.-]*\d{1,3}", re.IGNORECASE)
JSON_DEBRIS = re.compile(r"\s*(?:```\w*\s*)?(?:\{|\[\s*[\"'{\[])")
_MAX_DEPTH = 16  # a list of questions has three levels

_TOKEN = re.compile(
    r"""
      \s+ | //[^\n]*
    | (?P<string>  # a quote inside ends the string only where JSON could go on: models forget to escape
          "(?:[^"\\]|\\.|"(?!\s*(?:[,:}\]]|\Z|\n\s*")))*"
        | '(?:[^'\\]|\\.|'(?!\s*(?:[,:}\]]|\Z)))*' )
    | (?P<cut>["'])
    | (?P<mark>[{}\[\]:,])
    | (?P<bare>[^\s{}\[\]:,]+)
    """,
    re.VERBOSE | re.DOTALL,
)
_OPENING = re.compile(r"[{\[]")


def json_items(value: object, kind: Kind | None = None, depth: int = 0) -> Iterator[Item]:
    """The items inside a JSON value.

    Args:
        value: As a JSON reader gives it.
        kind: What the enclosing key names ({"hidden": ["..."]}); None if nothing.
        depth: Of the value inside the whole, from 0. Values that lie too deep are skipped.

    Yields:
        The items in order.
    """
    if depth > _MAX_DEPTH:
        return
    if isinstance(value, list):
        for element in value:
            if isinstance(element, str):
                yield from trimmed_item(element, kind)
            else:
                yield from json_items(element, kind, depth + 1)
    elif isinstance(value, dict):
        members = {str(key).strip().casefold(): member for key, member in value.items()}
        for key in _QUESTION_KEYS:
            if isinstance(question := members.get(key), str):
                yield from trimmed_item(question, kind_of(members) or kind)
                return
        chosen = [key for key in _LIST_KEYS if isinstance(members.get(key), list | dict)] or list(members)
        for key in chosen:
            member = members[key]
            inner = known_kind(key) or kind
            if isinstance(member, list | dict):
                yield from json_items(member, inner, depth + 1)
            elif isinstance(member, str) and _NUMBERED_KEY.fullmatch(key):
                yield from trimmed_item(member, kind)


def loose_json(text: str) -> list[object]:
    """The JSON arrays and objects in a text, read forgivingly.

    Prose, stray commas, comments and whatever is incomplete at the end are skipped; an array, or an object that contains
    others, keeps the whole ones it has.

    Args:
        text: Without thoughts.

    Returns:
        The outermost values in order; [] if there are none.
    """
    values: list[object] = []
    stack: list[_Open] = []
    at = 0
    while at < len(text):
        if not stack:  # prose: its quotes and colons mean nothing
            opening = _OPENING.search(text, at)
            if opening is None:
                break
            at = opening.start()
        token = _TOKEN.match(text, at)
        if token is None or token["cut"]:
            break
        at = token.end()
        mark = token["mark"]
        if mark in ("{", "["):
            if len(stack) > _MAX_DEPTH:
                break
            stack.append(_Open({} if mark == "{" else []))
        elif mark in ("}", "]"):
            closed = stack.pop().value
            stack[-1].take(closed) if stack else values.append(closed)
        elif mark == ":":
            stack[-1].expects_value()
        elif mark == ",":
            stack[-1].separate()
        elif token["string"]:
            stack[-1].take(_string(token["string"]))
        elif token["bare"]:
            stack[-1].bare(token["bare"])
    while stack:
        remains = stack.pop().unfinished()
        stack[-1].take(remains) if stack else values.append(remains)
    return values


class _Open:
    """A container whose closing bracket has not been read yet."""

    __slots__ = ("_fresh", "_key", "_last", "value")

    def __init__(self, value: dict[str, object] | list[object]) -> None:
        self.value = value
        self._key: str | None = None
        self._last: str | None = None  # the last string read where a key may stand
        self._fresh = True  # nothing stands since the last comma

    def expects_value(self) -> None:
        self._key, self._last = self._last, None

    def separate(self) -> None:
        self._key = self._last = None
        self._fresh = True

    def bare(self, word: str) -> None:
        # An unquoted key; elsewhere a number, a literal or prose, none of which is a question.
        self._last, self._fresh = (word if self._key is None else None), False

    def take(self, value: object) -> None:
        if isinstance(self.value, list):
            if self._fresh or not isinstance(value, str):
                self.value.append(value)
        elif self._key is not None:
            self.value[self._key] = value
            self._key = None
        elif isinstance(value, str):
            self._last = value
            return
        self._fresh = False

    def unfinished(self) -> object:
        if isinstance(self.value, list):
            return self.value
        # Without its end an object is no whole item; what it holds may be.
        return {key: value for key, value in self.value.items() if isinstance(value, list | dict)}


def _string(literal: str) -> str:
    inner = literal[1:-1]
    if literal[0] == "'":
        inner = inner.replace("\\'", "'")
    if "\\" not in inner:
        return inner
    try:
        return well_formed(str(json.loads('"' + re.sub(r'(?<!\\)"', r"\\" + '"', inner) + '"', strict=False)))
    except ValueError:
        return inner.replace('\\"', '"')
