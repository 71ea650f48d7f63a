"""The items of a list that is written as JSON, well-formed or not."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING

from unsaf_async.examine.parse.items import Item, kind_of, known_kind, options_of, trimmed_item, well_formed
from unsaf_async.examine.parse.languages import comparable, pattern
from unsaf_async.examine.parse.line_items import line_items
from unsaf_async.examine.parse.sections import label_of_name

if TYPE_CHECKING:
    from collections.abc import Iterator

    from unsaf_async.examine.parse.items import Section
    from unsaf_async.records import Kind, Label

_QUESTION_KEY = re.compile(rf"(?:question[\s_-]?text|(?:the )?{pattern('question')})", re.IGNORECASE)
_TEXT_KEYS = ("text", "prompt", "content")
_LIST_KEYS = ("questions", "items", "list", "data", "results")
_LABEL_KEYS = ("label", "answerability", "type", "category")
_NUMBERED_KEY = re.compile(rf"(?P<named>{pattern('question')})?[\s_#.-]*\d{{1,3}}", re.IGNORECASE)
_HOLDS_A_LIST = re.compile(r"\s*(?:```|[\[{]|\d{1,3}[.)、]|[-*•]\s|<)")
JSON_DEBRIS = re.compile(r"\s*(?:```\w*\s*)?(?!\[\[\w+\]\])(?:\{|\[\s*[\"'{\[])")
_MAX_DEPTH = 16  # a list of questions has three levels
_STRING_DEPTH = 5  # for what JSON inside a JSON string counts: each level of it reads the text once more

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
_ESCAPED_QUOTE = re.compile(r"[\[{]\s{0,20}\\\"")
_QUOTES_OPEN, _QUOTES_CLOSE = "“”„‟＂«‘", "“”‟＂»’"
_WIDE_BRACKETS = str.maketrans("｛｝［］", "{}[]")
_OTHER_QUOTE = re.compile(rf"[\[{{｛［]\s{{0,20}}[{_QUOTES_OPEN}]|[{_QUOTES_CLOSE}\"]\s?：|｛\s{{0,20}}\"")
_OTHER_OPENING = re.compile(rf"(?<=[\[{{,:，：\s])[{_QUOTES_OPEN}](?=\S)")
_OTHER_CLOSING = re.compile(rf"[{_QUOTES_CLOSE}](?=\s{{0,20}}[,:}}\]，：])")
_WIDE_MARK = re.compile(r'(?<=["}\]])[：，](?=\s{0,20}["{\[])')
_TUPLE = re.compile(r"""([\[,]\s{0,20})\(\s{0,20}(?=["'])""")
_TUPLE_ENDS = re.compile(r"""(?<=["'])\s{0,20},?\s{0,20}\)(?=\s{0,20}(?:[,\]]|\Z))""")
_OPENING = re.compile(r"[{\[]")


def json_items(value: object, kind: Kind | None = None, label: Section | None = None, depth: int = 0) -> Iterator[Item]:
    """The items inside a JSON value.

    Args:
        value: As a JSON reader gives it.
        kind: What the enclosing key names ({"hidden": ["..."]}); None if nothing.
        label: What the enclosing key says of the questions ({"unanswerable": ["..."]}); None if nothing.
        depth: Of the value inside the whole, from 0. Values that lie too deep are skipped.

    Yields:
        The items in order. A key that says nothing beside one that gives a label is as a heading that is not known.
    """
    if depth > _MAX_DEPTH:
        return
    if isinstance(value, list):
        texts, named = _pair(value)
        kind = named or kind
        for element in texts:
            if isinstance(element, str):
                yield from _inside(element, kind, label, depth) or trimmed_item(element, kind, label)
            else:
                yield from json_items(element, kind, label, depth + 1)
    elif isinstance(value, dict):
        yield from _members_items(value, kind, label, depth)


def _pair(value: list[object]) -> tuple[list[object], Kind | None]:
    """A row that is a question and its kind, ["...", "hidden"], without its kind, and the kind; any other array as it is."""
    if not (1 < len(value) < 5 and all(isinstance(each, str) for each in value)):
        return value, None
    kinds = [kind for each in value if (kind := known_kind(str(each)))]
    texts = [each for each in value if not known_kind(str(each))]
    return (texts, kinds[0]) if len(kinds) == 1 and texts else (value, None)


def _members_items(value: dict[object, object], kind: Kind | None, label: Section | None, depth: int) -> Iterator[Item]:
    """The items of a JSON object: the question that it is, or those that its members hold."""
    members = {str(key).strip().casefold(): member for key, member in value.items()}
    names = [key for key, member in members.items() if isinstance(member, str) and _is_question_key(key)]
    for key in (*names, *_TEXT_KEYS):
        if isinstance(question := members.get(key), str):
            kind, label = kind_of(members) or kind, _own_label(members) or label
            options = options_of(members)
            yield from _inside(question, kind, label, depth) or trimmed_item(
                question, kind, label, named=key in names, options=options
            )
            return
    chosen = [key for key in _LIST_KEYS if isinstance(members.get(key), list | dict)] or list(members)
    labels = {key: label_of_name(key) for key in chosen if isinstance(members[key], list | dict)}
    for key in chosen:
        member = members[key]
        inner, below = known_kind(key) or kind, label_of_name(key) or label
        if any(labels.values()) and key in labels and not (labels[key] or known_kind(key)):
            below = "unknown"
        if isinstance(member, list | dict):
            yield from json_items(member, inner, below, depth + 1)
        elif isinstance(member, str):
            if known_kind(key):
                yield from _inside(member, inner, label, depth) or trimmed_item(member, inner, label)
            elif (numbered := _NUMBERED_KEY.fullmatch(key)) is not None:
                yield from trimmed_item(member, kind, label, named=bool(numbered["named"]))
            else:
                yield from _inside(member, inner, below, depth)


def _is_question_key(key: str) -> bool:
    return len(key) < 40 and _QUESTION_KEY.fullmatch(comparable(key)) is not None


def _own_label(members: dict[str, object]) -> Label | None:
    """The label that a JSON object gives itself: {"question": "...", "answerable": false}; None if it gives none."""
    if isinstance(answerable := members.get("answerable"), bool):
        return "answerable" if answerable else "unanswerable"
    named = (members.get(key) for key in _LABEL_KEYS)
    return next((label for name in named if isinstance(name, str) and (label := label_of_name(name))), None)


def _inside(text: str, kind: Kind | None, label: Section | None, depth: int) -> list[Item]:
    """The items of a list that stands inside a JSON string, as JSON or in lines; [] if the string is no list."""
    if depth + _STRING_DEPTH > _MAX_DEPTH or not _HOLDS_A_LIST.match(text):
        return []
    if text.lstrip()[0] in "[{`":
        found = [item for value in loose_json(text) for item in json_items(value, kind, label, depth + _STRING_DEPTH)]
        if found:
            return found
    if "\n" not in text and "<" not in text:
        return []
    lines = [Item(item.text, item.kind or kind, item.label or label) for item in line_items(text)]
    return lines if len(lines) > 1 else []


def without_tuples(text: str) -> str:
    """A text with the tuples of Python in a list, [("...", "hidden"), ...], as JSON arrays.

    Args:
        text: A reply.

    Returns:
        The text itself if it has none.
    """
    if _TUPLE.search(text) is None:
        return text
    return _TUPLE_ENDS.sub("]", _TUPLE.sub(r"\1[", text))


def otherwise_written(text: str) -> Iterator[str]:
    """JSON that is no JSON as it stands, in the forms that it may stand for.

    Args:
        text: A reply.

    Yields:
        The text without its escapes, if it has escaped quotes where JSON has quotes; the text with the quotes, brackets and
        commas of ASCII, if it has others where JSON has these.
    """
    if _ESCAPED_QUOTE.search(text):
        yield text.replace('\\"', '"').replace("\\\\", "\\")
    if _OTHER_QUOTE.search(text):
        plain = _OTHER_OPENING.sub('"', text.translate(_WIDE_BRACKETS))
        yield _WIDE_MARK.sub(lambda mark: ":" if mark[0] == "：" else ",", _OTHER_CLOSING.sub('"', plain))


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
