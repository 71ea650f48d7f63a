"""Headings that say which questions follow: those that the image answers, or those that it does not."""

from __future__ import annotations

import re
from functools import lru_cache
from typing import TYPE_CHECKING

from unsaf_async.examine.parse.languages import comparable, pattern

if TYPE_CHECKING:
    from collections.abc import Sequence

    from unsaf_async.examine.parse.items import Item
    from unsaf_async.records import Label

_LABEL_WORD = re.compile(
    rf"(?P<unanswerable>(?<!\w){pattern('unanswerable')}|{pattern('unanswerable', english=False)})"
    rf"|(?P<answerable>(?<!\w){pattern('answerable')}|{pattern('answerable', english=False)})",
    re.IGNORECASE,
)
_FILL = re.compile(
    rf"(?:the|part|section|list|set|group|only|ones|for|of|from|image|{pattern('question')}|[\W\d_]|\b\w\b)+",
    re.IGNORECASE,
)
_MOST_CHARS = 120
"""A heading is no longer."""


def of_label(items: Sequence[Item], label: Label) -> tuple[tuple[Item, ...], tuple[Item, ...]]:
    """The items of a reply that are of a label, and the others: a reply may hold both sections, each under its heading.

    Args:
        items: Of one reply.
        label: What the reply was asked for.

    Returns:
        (those of the label or of none, those of the other label). Where all are under the heading of the other one, the
        heading is taken for a slip: the instruction is what labels a question.
    """
    own = tuple(item for item in items if item.label in (None, label))
    return (own, tuple(item for item in items if item.label not in (None, label))) if own else (tuple(items), ())


@lru_cache(maxsize=512)
def label_of_name(name: str) -> Label | None:
    """The label that a name stands for: of a JSON key, a tag, a column.

    Args:
        name: As written: "unanswerable_questions".

    Returns:
        None if it stands for none.
    """
    if len(name) > _MOST_CHARS:
        return None
    return _label(comparable(name).replace("_", " "), whole=True)


def label_of_heading(line: str, *, marked: bool) -> Label | None:
    """The label that a heading gives to the questions below it.

    Args:
        line: Without its marks.
        marked: Whether it is marked as a heading: then the words alone suffice. Otherwise it ends in a colon, or says
            nothing else.

    Returns:
        None for any other line, and for a heading that speaks of both.
    """
    line = comparable(line).strip()
    if not line or len(line) > _MOST_CHARS or line[-1] in "?？؟.。":
        return None
    return _label(line, whole=not marked and line[-1] not in ":：")


def _label(text: str, *, whole: bool) -> Label | None:
    """The one label that `text` speaks of. whole: whether it may say nothing else."""
    found = list(_LABEL_WORD.finditer(text))
    labels = {match.lastgroup for match in found}
    if len(labels) != 1:
        return None
    if whole:
        rest = _LABEL_WORD.sub(" ", text)
        if not _FILL.fullmatch(rest):
            return None
    return "unanswerable" if "unanswerable" in labels else "answerable"
