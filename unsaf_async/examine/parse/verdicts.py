"""Replies that are one label or one number: a judge's verdict, an auditor's, a stated confidence; or numbered verdicts."""

from __future__ import annotations

import json
import re
from collections import Counter
from typing import TYPE_CHECKING, cast

from unsaf_async.examine.parse.items import trimmed, well_formed
from unsaf_async.examine.parse.json_items import loose_json
from unsaf_async.examine.parse.verdict_prose import gives_other, is_own
from unsaf_async.records import ACTS
from unsaf_async.wrappers import final_text

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from unsaf_async.records import Act

_BARE_WORD = re.compile(r"[\s\"'`*_.!,:“”‘’>→=-]*([A-Za-z]+(?:[_ -][A-Za-z]+)?)[\s\"'`*_.!,;“”‘’]*")
_BARE_NUMBER = re.compile(r"[\s\"'`*_]*(\d{1,3}(?:\.\d+)?)[\s\"'`*_]*%?[\s\"'`*_.]*")
_FENCED = re.compile(r"```[^\S\n]*\w*[^\S\n]*\n(.*?)\n?\s*```", re.DOTALL)
_TAGGED = re.compile(r"<([A-Za-z][\w-]{0,30})>([^<>]{0,400})</\1>")
_LINE_VERDICT = re.compile(
    r"[\s*_#>`\"-]*(?:(?:final|my|the|correct)\s){0,2}(?P<name>verdict|label|answer|judge?ment)[\s*_`\"]*"
    r"(?:[:：=]|\bis\b:?|\n)(?P<label>[^{}\n]{1,40})",
    re.IGNORECASE,
)
_VERDICT_ELEMENT = re.compile(r"<verdict>([^<>]{1,40})</verdict>", re.IGNORECASE)
_NUMBERED_LINE = re.compile(
    r"[\s*_#>`\"(-]*([0-9]{1,4})[\s*_`\".):=>→-]{1,8}([A-Za-z]+(?:[_ -][A-Za-z]+)?)[\s*_`\".,;]*"
)
_ANY_LABEL = re.compile("|".join(act.replace("_", "[_ -]") for act in ACTS), re.IGNORECASE)
_KEYED_LINE = re.compile(r"[\s*_>-]*[A-Za-z][\w -]{1,29}[\s*_]*[:：]\s.*")
_QUOTES = str.maketrans(
    {**dict.fromkeys("“”„‟＂«»", '"'), **dict.fromkeys("‘’", "'"), "：": ":", "｛": "{", "｝": "}", "，": ","}
)
_CALL_KEYS = frozenset(["arguments", "parameters", "input", "function"])
"""Names under which the call of a tool holds what it is called with."""
_BARE_VALUE = re.compile(r"""\s*["']?([A-Za-z]+(?:[_ -][A-Za-z]+)?)["']?\s*[,}]""")
_LABEL_MARGIN = " \t\n*_`\"'.\u200b\u200e\u200f\u2060\ufeff"
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

    Accepted are the bare word (in quotes, emphasis or tags, behind or below "Verdict", with a full stop), lines of names and
    values of which the first or the last is the verdict, and exactly one JSON object with exactly one "verdict" in whatever
    case (bare, fenced, in tags, in prose, alone in an array, in a JSON string or as the arguments of a call, with a trailing
    comma, with typographic quotes or none around its value, without its last brace; further keys do not matter). Two are no
    verdict, even equal ones, or one inside the other: who wrote which is not to be guessed. Nor is an object that the prose
    presents as somebody else's words ('The response says: {...}') or as an example, denies, or contradicts ("Final answer:
    ..."). Prose by itself is never searched for a label: a judge that quotes the response it judges would be read as saying
    what it quotes.

    Args:
        text: The whole reply.
        labels: In lower case.
        quotable: What the judge was shown. Where it holds a "verdict" itself, an object in prose may be a quotation, and is
            none.

    Returns:
        One of the labels; None if there is none, or more than one.
    """
    text = _bare(text)
    if (label := _line_label(text, labels)) is not None:
        return label
    quoted = "verdict" in quotable.casefold()
    if not quoted and (label := _keyed_label(text, labels) or _tagged_label(text, labels)) is not None:
        return label
    whole = _whole(text)
    value = None if whole is None else _member(_unwrapped(whole), "verdict")
    if whole is None and not quoted:
        value = _member_in_prose(text, "verdict", labels)
    label = _label(value) if isinstance(value, str) else ""
    return label if label in labels else None


def numbered_verdicts(text: str, responses: Sequence[str]) -> dict[int, Act]:
    """The verdicts of a reply on several responses, by the responses' numbers, from 1 on.

    Accepted are the JSON object of the schema and the array in it (wrapped as for `choice`), an object of numbers and labels, and
    lines each of which is a number and a label. Nothing is guessed: a number with two verdicts, even equal ones, or with one that
    is no label, has none; where a number is none of the responses', all may be shifted, and no verdict counts. JSON with prose
    around it is read as for `choice`: only if it is the judge's own, and no response holds a "verdict" that it may quote.

    Args:
        text: The whole reply.
        responses: What is judged, in the order of the numbers.

    Returns:
        The acts by number; numbers without a verdict are missing, {} if no verdict is to be read.
    """
    text = _bare(text)
    given = _numbered_lines(text) or _numbered_pairs(_unwrapped(_whole(text), "verdicts"))
    if not given and not any("verdict" in response.casefold() for response in responses):
        given = _numbered_pairs(_in_prose(text))
    numbers = Counter(number for number, _ in given)
    if not numbers.keys() <= set(range(1, len(responses) + 1)):
        return {}
    return {number: label for number, label in given if numbers[number] == 1 and label in ACTS}


def _numbered_lines(text: str) -> list[tuple[int, str]]:
    """Numbers and labels of lines that are nothing else; [] if one line is."""
    lines = [_NUMBERED_LINE.fullmatch(line) for line in text.splitlines() if line.strip()]
    found = [(int(line[1]), _label(line[2])) for line in lines if line]
    return found if len(found) == len(lines) and all(label in ACTS for _, label in found) else []


def _numbered_pairs(value: object) -> list[tuple[int, str]]:
    """Numbers and labels that a JSON value gives, a label that cannot be read as ""; [] unless it is a list of them."""
    if isinstance(value, tuple) and any(_label(key) == "verdicts" for key, _ in value):
        value = _member(value, "verdicts")
    if isinstance(value, tuple):
        pairs = list(value)
    elif isinstance(value, list):
        pairs = [(_member(item, "number"), _member(item, "verdict")) for item in value]
    else:
        return []
    numbers = [_number(number) for number, _ in pairs]
    if None in numbers:  # whose verdict that is, nobody knows
        return []
    labels = [_label(label) if isinstance(label, str) else "" for _, label in pairs]
    return [(number, label) for number, label in zip(numbers, labels, strict=True) if number is not None]


def _number(value: object) -> int | None:
    """A whole number, written as one or as text; None if it is none."""
    if isinstance(value, bool) or not isinstance(value, int | str):
        return None
    return int(value) if re.fullmatch(r"[0-9]{1,4}", str(value)) else None


def _in_prose(text: str) -> object:
    """The one object with a member "verdicts" in prose, as `_whole` gives it; None unless it is the judge's own."""
    keys = list(re.finditer(r"""["']verdicts["']\s*:""", text, re.IGNORECASE))
    if len(keys) != 1:
        return None
    start, end = text.rfind("{", 0, keys[0].start()), text.rfind("}") + 1
    if start < 0 or not is_own(text[:start], text[end:]) or _ANY_LABEL.search(text[end:]):
        return None  # who speaks of labels behind it may take one back
    return _whole(text[start:end])


def _line_label(text: str, labels: tuple[str, ...]) -> str | None:
    """The label that a line consists of, or that it names as its verdict; None if it is no such line."""
    line = _LINE_VERDICT.fullmatch(text)
    word = _BARE_WORD.fullmatch(line["label"] if line else text)
    return label if word and (label := _label(word[1])) in labels else None


def _tagged_label(text: str, labels: tuple[str, ...]) -> str | None:
    """The label of the one element "verdict" in prose or in other elements; None if there is none, or more of any verdict."""
    element = _VERDICT_ELEMENT.search(text)
    if element is None or text.casefold().count("verdict") != 2 or (label := _line_label(element[1], labels)) is None:
        return None
    before, behind = text[: element.start()], text[element.end() :]
    return label if is_own(before, behind) and not gives_other(before, behind, label, labels) else None


def _keyed_label(text: str, labels: tuple[str, ...]) -> str | None:
    """The label of the first or the last of some lines "name: value", if it alone is a verdict; None otherwise."""
    if text.count("\n") > 10 or text.casefold().count("verdict") != 1:
        return None
    lines = [line for line in text.splitlines() if line.strip()]
    if not all(map(_KEYED_LINE.fullmatch, lines)):
        return None
    found = [(place, label) for place, line in enumerate(lines) if (label := _line_label(line, labels))]
    return found[0][1] if len(found) == 1 and found[0][0] in (0, len(lines) - 1) else None


def _label(text: str) -> str:
    """`text` as labels are spelt: "no image" and "No-Image" are "no_image"."""
    return re.sub(r"[ -]", "_", text.strip(_LABEL_MARGIN).casefold())


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
    text = trimmed(final_text(well_formed(text)).answer[:_MOST_CHARS])
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
    for written in (text, text.translate(_QUOTES), *_unescaped(text)):
        for closing in ("", "}"):
            try:
                value = json.loads(written + closing, object_pairs_hook=tuple)
                if isinstance(value, str):
                    value = json.loads(value, object_pairs_hook=tuple)
            except (ValueError, RecursionError):
                continue
            return value if isinstance(value, tuple | list) else None
    return None


def _unescaped(text: str) -> Iterator[str]:
    """An object without the escapes of its quotes, or without the second pair of braces around it."""
    if text.startswith('{\\"'):
        yield text.replace('\\"', '"')
    if text.startswith("{{") and text.endswith("}}"):
        yield text[1:-1]


def _unwrapped(value: object, name: str = "verdict") -> object:
    """What the call of a tool is called with, alone in an array or not: {"name": "judge", "arguments": {...}}.

    name: of the member that is looked for.
    """
    for _ in range(4):
        if isinstance(value, list) and len(value) == 1:
            value = value[0]
            continue
        if not isinstance(value, tuple) or any(_label(key) == name for key, _ in value):
            break
        inner = [member for key, member in value if _label(key) in _CALL_KEYS]
        if len(inner) != 1:
            break
        value = _whole(inner[0]) if isinstance(inner[0], str) else inner[0]
    return value


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
    key = rf"""["']{name}["']\s*[:=]|[{{,]\s*{name}\s*:"""
    keys = list(re.finditer(key, text, re.IGNORECASE))
    if not keys:
        text = text.translate(_QUOTES)
        keys = list(re.finditer(key, text, re.IGNORECASE))
    if len(keys) != 1:
        return None
    start, end = text.rfind("{", 0, keys[0].end()), text.find("}", keys[0].end()) + 1
    value = _loose_member(text, name, keys[0].end())
    if value is None or start < 0 or not end or not is_own(text[:start], text[end:]):
        return None
    said = _label(value)
    if gives_other(text[:start], text[end:], said, labels):
        return None
    others = (_line_label(line, labels) for line in text.splitlines()[:1000])
    return value if all(other in (None, said) for other in others) else None


def _loose_member(text: str, name: str, at: int) -> str | None:
    """The string that the one object in `text` with a member `name` holds under it, with or without quotes; `at`: its place."""
    objects = [value for value in loose_json(text) if isinstance(value, dict) and any(_label(k) == name for k in value)]
    if len(objects) > 1:
        return None
    if objects:
        value = next(member for key, member in objects[0].items() if _label(key) == name)
        return value if isinstance(value, str) else None
    bare = _BARE_VALUE.match(text, at)
    return bare[1] if bare else None
