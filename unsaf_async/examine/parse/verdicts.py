"""Replies that are one label or one number: a judge's verdict, an auditor's, a stated confidence."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, cast

from unsaf_async.examine.parse.items import well_formed
from unsaf_async.examine.parse.json_items import loose_json
from unsaf_async.examine.parse.verdict_prose import gives_other, is_own
from unsaf_async.records import ACTS
from unsaf_async.wrappers import final_text

if TYPE_CHECKING:
    from unsaf_async.records import Act

_BARE_WORD = re.compile(r"[\s\"'`*_.!,:“”‘’>-]*([A-Za-z]+(?:[_ -][A-Za-z]+)?)[\s\"'`*_.!,;“”‘’]*")
_BARE_NUMBER = re.compile(r"[\s\"'`*_]*(\d{1,3}(?:\.\d+)?)[\s\"'`*_]*%?[\s\"'`*_.]*")
_FENCED = re.compile(r"```[^\S\n]*\w*[^\S\n]*\n(.*?)\n?\s*```", re.DOTALL)
_TAGGED = re.compile(r"<([A-Za-z][\w-]{0,30})>([^<>]{0,400})</\1>")
_LINE_VERDICT = re.compile(
    r"[\s*_#>`-]*(?:(?:final|my|the)\s)?verdict[\s*_`]*[:：=](?P<label>[^{}\n]{1,40})", re.IGNORECASE
)
_QUOTES = str.maketrans({**dict.fromkeys("“”„‟＂", '"'), **dict.fromkeys("‘’", "'"), "：": ":"})
_ESCAPED_LETTER = re.compile(r"\\u00([4-7][0-9a-fA-F])")
_MOST_CHARS = 50_000
"""What stands behind so many characters of a reply is no verdict."""


def verdict(text: str, response: str = "") -> Act | None:
    """A judge's verdict.

    Args:
        text: The whole reply.
        response: What is judged; see `choice`.

    Returns:
        None if the reply holds no act, or more than one; see `choice`.
    """
    return cast("Act | None", choice(text, ACTS, quotable=response))


def choice(text: str, labels: tuple[str, ...], *, quotable: str = "") -> str | None:
    """The label that a reply gives.

    Accepted are the bare word (in quotes, emphasis or tags, behind "Verdict:", with a full stop), and exactly one JSON object
    with exactly one "verdict" in whatever case (bare, fenced, in tags, in prose, alone in an array or in a JSON string, with
    a trailing comma, with typographic quotes, without its last brace; further keys do not matter). Two are no verdict, even
    equal ones, or one inside the other: who wrote which is not to be guessed. Nor is an object that the prose presents as
    somebody else's words ('The response says: {...}'), denies, or contradicts ("Final answer: ..."). Prose by itself is
    never searched for a label: a judge that quotes the response it judges would be read as saying what it quotes.

    Args:
        text: The whole reply.
        labels: In lower case.
        quotable: What the judge was shown. Where it holds a "verdict" itself, an object in prose may be a quotation, and is
            none.

    Returns:
        One of the labels; None if there is none, or more than one.
    """
    text = _bare(text)
    line = _LINE_VERDICT.fullmatch(text)
    if (word := _BARE_WORD.fullmatch(line["label"] if line else text)) and (label := _label(word[1])) in labels:
        return label
    whole = _whole(text)
    value = None if whole is None else _member(whole, "verdict")
    if whole is None and "verdict" not in quotable.casefold():
        value = _member_in_prose(text, "verdict", labels)
    label = _label(value) if isinstance(value, str) else ""
    return label if label in labels else None


def _label(text: str) -> str:
    """`text` as labels are spelt: "no image" and "No-Image" are "no_image"."""
    return re.sub(r"[ -]", "_", text.strip().casefold())


def percentage(text: str) -> float | None:
    """The percentage that a reply consists of.

    Accepted are the JSON object of the schema, bare or fenced, and the bare number, with or without a percent sign.

    Args:
        text: The whole reply.

    Returns:
        In [0, 100]; None if the reply is not one such number and nothing else.
    """
    text = _bare(text)
    if bare := _BARE_NUMBER.fullmatch(text):
        number: object = float(bare[1])
    else:
        number = _member(_whole(text), "confidence")
        if isinstance(number, str) and (bare := _BARE_NUMBER.fullmatch(number)):
            number = float(bare[1])
    if isinstance(number, bool) or not isinstance(number, int | float):
        return None
    return float(number) if 0 <= number <= 100 else None  # NaN is not, either


def _bare(text: str) -> str:
    """`text` without what a model wraps around it, and without the fence and the tags around it."""
    text = final_text(well_formed(text)).answer[:_MOST_CHARS]
    for _ in range(3):
        wrapped = _FENCED.fullmatch(text) or _TAGGED.fullmatch(text)
        if wrapped is None:
            break
        text = wrapped[wrapped.lastindex or 0].strip()
    return text


def _whole(text: str) -> object:
    """The JSON value that `text` is, objects as tuples of pairs; None unless it is an object, or an array.

    Read, too, is what JSON makes of it with straight quotes, with one brace more, or of the JSON string that it is.
    """
    for written in (text, text.translate(_QUOTES)):
        for closing in ("", "}"):
            try:
                value = json.loads(written + closing, object_pairs_hook=tuple)
                if isinstance(value, str):
                    value = json.loads(value, object_pairs_hook=tuple)
            except (ValueError, RecursionError):
                continue
            return value if isinstance(value, tuple | list) else None
    return None


def _member(value: object, name: str) -> object:
    """What an object holds under `name`, or the only object of an array; None unless it is the only member of that name."""
    if isinstance(value, list) and len(value) == 1:
        value = value[0]
    if not isinstance(value, tuple):
        return None
    values = [member for key, member in value if _label(key) == name]
    try:
        return values[0] if len(values) == _count(value, name) == 1 else None
    except RecursionError:
        return None


def _count(value: object, name: str) -> int:
    """How many members of that name a JSON value has, at any depth."""
    if isinstance(value, tuple):
        return sum((_label(key) == name) + _count(member, name) for key, member in value)
    return sum(_count(each, name) for each in value) if isinstance(value, list) else 0


def _member_in_prose(text: str, name: str, labels: tuple[str, ...]) -> object:
    """What the one JSON object in `text` that has a member `name` holds under it; None if there is not exactly one.

    None, too, for the object that is not the judge's own, and where the prose or a line by itself gives another label.
    """
    text = _ESCAPED_LETTER.sub(lambda letter: chr(int(letter[1], 16)), text)
    keys = list(re.finditer(rf"""["']{name}["']\s*:|[{{,]\s*{name}\s*:""", text, re.IGNORECASE))
    if len(keys) != 1:
        return None
    objects = [value for value in loose_json(text) if isinstance(value, dict) and any(_label(k) == name for k in value)]
    start, end = text.rfind("{", 0, keys[0].end()), text.find("}", keys[0].end()) + 1
    if len(objects) != 1 or start < 0 or not end or not is_own(text[:start], text[end:]):
        return None
    value = next(member for key, member in objects[0].items() if _label(key) == name)
    said = _label(value) if isinstance(value, str) else ""
    if gives_other(f"{text[:start]}\n{text[end:]}", said, labels):
        return None
    for line in text.splitlines()[:1000]:
        labelled = _LINE_VERDICT.fullmatch(line)
        word = _BARE_WORD.fullmatch(labelled["label"] if labelled else line)
        if word and _label(word[1]) in labels and _label(word[1]) != said:
            return None
    return value
