"""A written item, its kind, and the text around it."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

from unsaf_async.records import KINDS, Kind, Label

if TYPE_CHECKING:
    from collections.abc import Iterator

Section = Label | Literal["unknown"]
"""What a heading makes of the questions below it; unknown: it follows one that gives a label, and gives none that is known."""


@dataclass(frozen=True, slots=True)
class Item:
    """One written item.

    text: trimmed, never empty. kind: as named by the model; "other" if it named one that the method does not have; None
    if it named none. label: of the heading under which it stands, where the reply has headings for both; None if it stands
    under none. named: whether the model named it a question: it stands under a JSON key such as "question". options: as written
    with it. Two items are equal if text and kind are.
    """

    text: str
    kind: Kind | None = None
    label: Section | None = field(default=None, compare=False)
    named: bool = field(default=False, compare=False)
    options: tuple[str, ...] = field(default=(), compare=False)


_INVISIBLE = "\u200b\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2060\u2066\u2067\u2068\u2069\ufeff"


def trimmed(text: str) -> str:
    """A text without white space and without marks of direction, or of no width, at its ends.

    Args:
        text: Any text.

    Returns:
        "" if nothing else is in it.
    """
    inner = text.strip()
    if inner.isascii() or not (inner[0] in _INVISIBLE or inner[-1] in _INVISIBLE):
        return inner
    return inner.strip(_INVISIBLE + " \t\r\n\x0b\x0c\u3000\xa0\u202f\u2028\u2029")


def trimmed_item(
    text: str, kind: Kind | None, label: Section | None = None, *, named: bool = False, options: tuple[str, ...] = ()
) -> Iterator[Item]:
    """The item that a text is.

    Args:
        text: As written.
        kind: What the model named; None if nothing.
        label: Of its heading; None if there is none.
        named: Whether the model named it a question.
        options: As written with it.

    Yields:
        One item; none if the text is blank.
    """
    if bare := trimmed(text):
        yield Item(bare, kind, label, named, options)


def well_formed(text: str) -> str:
    """A text without lone surrogates, which no file and no socket takes.

    Args:
        text: Any text.

    Returns:
        The text itself if it has none.
    """
    try:
        text.encode()
    except UnicodeEncodeError:
        return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    return text


_WRAPPERS = tuple(
    pair.split()
    for pair in (
        "** **",
        "__ __",
        "` `",
        "* *",
        "_ _",
        '" "',
        "' '",
        "“ ”",
        "‘ ’",
        "« »",
        "「 」",
        "『 』",
        "„ “",
        "《 》",
    )
)


def unwrapped(text: str) -> str:
    """A text without white space, Markdown emphasis and one pair of quotes around it.

    Args:
        text: One item, as written.

    Returns:
        The bare text; "" for white space.
    """
    text = trimmed(text)
    if text[-2:] in ('",', '";', "',"):
        text = text[:-1]
    for _ in range(3):
        before = text
        if text.count("**") % 2:  # half of a pair went with the list marker
            text = text.removeprefix("**") if text.startswith("**") else text.removesuffix("**")
        for opening, closing in _WRAPPERS:
            inner = text[len(opening) : -len(closing)]
            if text.startswith(opening) and text.endswith(closing) and inner and opening not in inner:
                text = trimmed(inner)
        if text == before:
            break
    return text


_SQUEEZED: dict[str, Kind] = {kind.replace("-", ""): kind for kind in KINDS} | {
    "absent": "absent-object",
    "absentobjects": "absent-object",
}
_NO_KIND = frozenset({"", "none", "null", "na", "answerable"})


def known_kind(name: str) -> Kind | None:
    """The kind of a name, whatever its case and hyphens.

    Args:
        name: As written.

    Returns:
        None if it is none of the method's.
    """
    return _SQUEEZED.get(re.sub(r"[\W_]+", "", name.casefold()))


def named_kind(name: str) -> Kind | None:
    """The kind of a name that stands where a kind belongs.

    Args:
        name: As written.

    Returns:
        As `known_kind`, but "other" for an unknown name; None for a word that means no kind.
    """
    return None if re.sub(r"[\W_]+", "", name.casefold()) in _NO_KIND else (known_kind(name) or "other")


def annotated_kind(name: str, label: str | None) -> Kind | None:
    """The kind in an annotation. Behind "kind:" every name is one; elsewhere only the method's words are.

    Args:
        name: The name as written.
        label: The word before it, such as "kind:"; None if there is none.

    Returns:
        None if no kind is meant.
    """
    return named_kind(name) if (label or "").casefold().startswith("kind") else known_kind(name)


_OPTION_KEYS = ("options", "choices", "answers")
_OPTION_MARK = re.compile(r"\(?[A-Ha-h1-8][).:]\s+")


def options_of(members: dict[str, object]) -> tuple[str, ...]:
    """The options that a JSON object offers, without letters or numbers before them.

    Args:
        members: Of the object, keys in lower case.

    Returns:
        () if it offers none.
    """
    found = next((members[key] for key in _OPTION_KEYS if isinstance(members.get(key), list | dict)), [])
    values = list(found.values()) if isinstance(found, dict) else found
    texts = [trimmed(each) for each in values if isinstance(each, str)] if isinstance(values, list) else []
    marked = all(map(_OPTION_MARK.match, texts))
    return tuple(_OPTION_MARK.sub("", text, count=1) if marked else text for text in texts)


def kind_of(members: dict[str, object]) -> Kind | None:
    """The kind that a JSON object names.

    Args:
        members: Of the object, keys in lower case.

    Returns:
        None if it names none.
    """
    named = members.get("kind")
    if named is not None:
        return named_kind(named) if isinstance(named, str) else "other"
    for key in ("type", "category", "reason"):  # these may hold anything, so only the method's words count
        other = members.get(key)
        if isinstance(other, str) and (kind := known_kind(other)):
            return kind
    return None
