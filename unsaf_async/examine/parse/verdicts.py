"""Replies that are one label or one number: a judge's verdict, an auditor's, a stated confidence."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, cast

from unsaf_async.examine.parse.items import well_formed
from unsaf_async.records import ACTS
from unsaf_async.wrappers import final_text

if TYPE_CHECKING:
    from unsaf_async.records import Act

_BARE_WORD = re.compile(r"[\s\"'`*_.!,:“”‘’>-]*([A-Za-z]+(?:[_ -][A-Za-z]+)?)[\s\"'`*_.!,;“”‘’]*")
_BARE_NUMBER = re.compile(r"[\s\"'`*_]*(\d{1,3}(?:\.\d+)?)[\s\"'`*_]*%?[\s\"'`*_.]*")
_FENCED = re.compile(r"```[^\S\n]*\w*[^\S\n]*\n(.*?)\n?\s*```", re.DOTALL)


def verdict(text: str) -> Act | None:
    """A judge's verdict.

    Args:
        text: The whole reply.

    Returns:
        None if the reply is not one act and nothing else; see `choice`.
    """
    return cast("Act | None", choice(text, ACTS))


def choice(text: str, labels: tuple[str, ...]) -> str | None:
    """The label that a reply consists of.

    Accepted are the JSON object of the schema, bare or fenced (further keys do not matter, a repeated "verdict" does),
    and the bare word, in quotes or emphasis or with a full stop. Prose is never searched for a label: a judge that
    quotes the response it judges would be read as saying what it quotes.

    Args:
        text: The whole reply.
        labels: In lower case.

    Returns:
        One of the labels; None if the reply is not one label and nothing else.
    """
    text = _bare(text)
    if (word := _BARE_WORD.fullmatch(text)) and (label := _label(word[1])) in labels:
        return label
    value = _member(text, "verdict")
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
    """`text` without what a model wraps around it, and without the fence around it."""
    text = final_text(well_formed(text)).answer
    fenced = _FENCED.fullmatch(text)
    return fenced[1].strip() if fenced else text


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
