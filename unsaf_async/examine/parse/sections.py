"""Headings that say which questions follow: those that the image answers, or those that it does not."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING

from unsaf_async.examine.parse.gate import is_question
from unsaf_async.examine.parse.languages import comparable, pattern

if TYPE_CHECKING:
    from collections.abc import Sequence

    from unsaf_async.examine.parse.items import Item, Section
    from unsaf_async.records import Label

_UNANSWERABLE, _ANSWERABLE = (
    re.compile(rf"(?<!\w){pattern(field)}|{pattern(field, english=False)}", re.IGNORECASE)
    for field in ("unanswerable", "answerable")
)
_QUESTIONS = rf"(?:questions|queries|{pattern('question', english=False)})"
_NAMES_QUESTIONS = re.compile(rf"\W*(?:\w+\s){{0,2}}(?<!\w){_QUESTIONS}|{_QUESTIONS}[\W\d_]*$", re.IGNORECASE)
_FILL = re.compile(
    rf"(?:the|part|section|list|set|group|only|ones|for|of|from|image|{pattern('question')}|[\W\d_]|\b\w\b)+",
    re.IGNORECASE,
)
_MOST_CHARS = 120
"""A heading is no longer."""
_MOST_WORDS = 6
_SENTENCE_ENDS = ("?", "？", "؟", ".", "。", "!", "！", "।", ";")


def of_label(items: Sequence[Item], label: Label) -> tuple[tuple[Item, ...], tuple[Item, ...]]:
    """The items of a reply that are of a label, and the others: a reply may hold both sections, each under its heading.

    Args:
        items: Of one reply.
        label: What the reply was asked for.

    Returns:
        (those of the label or of none, all others). Where none are, those under a heading that is not known are taken;
        where all are under the heading of the other one, it is taken for a slip: the instruction is what labels a question.
    """
    own: tuple[Item, ...] = ()
    for sections in ((None, label), ("unknown",)):
        own = own or tuple(item for item in items if item.label in sections)
    chosen = {id(item) for item in own}
    return (own, tuple(item for item in items if id(item) not in chosen)) if own else (tuple(items), ())


@dataclass(slots=True)
class Headings:
    """What the headings above a line say of the questions below it.

    label: of the questions that follow; None before the first heading that gives one. A heading that is not known ends the
    section behind its first item, unless it is a topic: it lies deeper ("###" below "##"), or looks like one that stands
    right below the heading of the section.
    """

    label: Section | None = None
    _form: str = ""
    _topic: tuple[str, bool] | None = None
    _items: int = 0

    def known(self, label: Label, form: str) -> None:
        """A heading has given a label.

        Args:
            label: Of the questions below it.
            form: How it is marked.
        """
        self.label, self._form, self._topic, self._items = label, form, None, 0

    def other(self, line: str, form: str) -> None:
        """A heading of a certain form has given none.

        Args:
            line: The heading, without its marks.
            form: How it is marked.
        """
        found = (form, _NAMES_QUESTIONS.search(comparable(line)) is not None)
        if not self._items:
            self._topic = found
        elif self.label and found != self._topic and not ("" < self._form < form and set(form) == {"#"}):
            self.label = "unknown"

    def item(self) -> None:
        """An item stands below the headings."""
        self._items += 1


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
    name = comparable(name)
    return _label(name, whole=not _is_short(name), titled=True)


def _is_short(text: str) -> bool:
    """Whether a text that speaks of a label hardly says more: some six words, or twenty characters of scripts without spaces."""
    text = text.replace("_", " ").strip()
    words = len(text.split())
    return (
        words <= _MOST_WORDS
        and (words > 1 or len(text) <= 20)
        and text[-1:] not in _SENTENCE_ENDS
        and not is_question(text)
    )


def label_of_heading(line: str, *, marked: bool, titled: bool = False, alone: bool = False) -> Label | None:
    """The label that a heading gives to the questions below it.

    Args:
        line: Without its marks.
        marked: Whether it is marked as a heading: then the words alone suffice. Otherwise it ends in a colon, or says
            nothing else.
        titled: Whether it may be a title that names questions and says more of them: no item is marked so.
        alone: Whether it stands by itself: then a short line may say a little more ("Answerable from the photo").

    Returns:
        None for any other line, and for a heading that speaks of both.
    """
    line = comparable(line).strip()
    if not line or len(line) > _MOST_CHARS or line[-1] in "?？؟.。":
        return None
    whole = not (marked or line[-1] in ":：" or (alone and _is_short(line)))
    return _label(line, whole=whole, titled=titled and not is_question(line))


def names_questions(line: str) -> bool:
    """Whether a line is a title that names questions, of whichever label: "Tricky questions".

    Args:
        line: Without its marks.

    Returns:
        False for what asks, for a sentence with its full stop, and for a long line.
    """
    line = comparable(line).strip()
    if not line or len(line) > _MOST_CHARS or line[-1] in "?？؟.!。！।" or is_question(line):
        return False
    return _NAMES_QUESTIONS.search(line) is not None


def _label(text: str, *, whole: bool, titled: bool) -> Label | None:
    """The one label that `text` speaks of. whole: whether it may say nothing else, unless titled: it names questions."""
    rest, unanswerable = _UNANSWERABLE.subn(" ", text.replace("_", " "))
    rest, answerable = _ANSWERABLE.subn(" ", rest)
    if bool(unanswerable) == bool(answerable):
        return None
    if whole and not _FILL.fullmatch(rest) and not (titled and _NAMES_QUESTIONS.search(text)):
        return None
    return "unanswerable" if unanswerable else "answerable"
