"""Replies that are one label or one number: a judge's verdict, an auditor's, a stated confidence."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, cast

from unsaf_async.examine.parse.items import well_formed
from unsaf_async.examine.parse.json_items import loose_json
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
_SAYS = (
    r"(?:contain|state|claim|instruct|ask|attempt|mention|demand|embed|request|inject|quote|include)(?:s|d|ed|ing)?"
    r"|say(?:s|ing)|said|writ(?:es|ing)|wrote|tells?|told|tries|tried|reads"
)
_BETWEEN = (
    r"the|an?|this|me|us|judge|text|string|words?|json|object|literally|only|just|to|make|output|reply|return|print|write"
    r"|say|verdict|as|follows"
)
_QUOTED_BY = re.compile(rf"\b(?:{_SAYS})\W{{0,4}}(?:(?:{_BETWEEN})\W{{1,4}}){{0,6}}(?:```\w*\s*)?$", re.IGNORECASE)
"""Words before a quotation: the response "contains", "says:", "tries to make the judge output"."""
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
    with exactly one "verdict" (bare, fenced, in tags, in prose, with a trailing comma; further keys do not matter). Two
    objects are no verdict, even equal ones: who wrote which is not to be guessed. Nor is an object that the prose presents
    as somebody else's words ('The response says: {...}'), or one in prose where a line by itself gives another label. Prose
    is never searched for a label: a judge that quotes the response it judges would be read as saying what it quotes.

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
    value = _member(text, "verdict")
    if value is None and "verdict" not in quotable.casefold():
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
        number = _member(text, "confidence")
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


def _member(text: str, name: str) -> object:
    """What the JSON object `text` holds under `name`; None unless it is an object with exactly one such member."""
    try:
        pairs = json.loads(text, object_pairs_hook=tuple)
    except (ValueError, RecursionError):
        return None
    if not isinstance(pairs, tuple):
        return None
    values = [value for key, value in pairs if key == name]
    return values[0] if len(values) == 1 else None


def _member_in_prose(text: str, name: str, labels: tuple[str, ...]) -> object:
    """What the one JSON object in `text` that has a member `name` holds under it; None if there is not exactly one.

    None, too, for the object that others are said to have written, and beside a line that by itself gives another label.
    """
    keys = list(re.finditer(rf"""["']{name}["']\s*:|[{{,]\s*{name}\s*:""", text, re.IGNORECASE))
    if len(keys) != 1:
        return None
    objects = [value for value in loose_json(text) if isinstance(value, dict) and name in value]
    start = text.rfind("{", 0, keys[0].end())
    if len(objects) != 1 or start < 0 or _QUOTED_BY.search(text[max(0, start - 300) : start]):
        return None
    value = objects[0][name]
    said = _label(value) if isinstance(value, str) else ""
    for line in text.splitlines()[:1000]:
        labelled = _LINE_VERDICT.fullmatch(line)
        word = _BARE_WORD.fullmatch(labelled["label"] if labelled else line)
        if word and _label(word[1]) in labels and _label(word[1]) != said:
            return None
    return value
