"""Texts brought to one plain form, and their words: what every rule reads."""

from __future__ import annotations

import re
from functools import lru_cache

_WORDS = re.compile(r"\w+")


def words_of(text: str) -> frozenset[str]:
    """The distinct words of a text.

    Args:
        text: Any text; case is kept.

    Returns:
        Runs of letters, digits and underscores; empty if there are none.
    """
    return frozenset(_WORDS.findall(text))


def any_of(*patterns: str) -> re.Pattern[str]:
    """One pattern that matches what any of several patterns matches.

    Args:
        patterns: Regular expressions.

    Returns:
        Their alternation, compiled without flags.
    """
    return re.compile("|".join(patterns))


QUOTE = "qqq"
"""Replaces a quoted span. Its words are somebody else's and must not be read as the model's own."""

_MARKUP = re.compile(r"[*_`#]{1,3}(?=\S)|(?<=\S)[*_`]{1,3}|^[>#\-•]+\s", re.MULTILINE)
_LABEL = re.compile(r"\s*(?:final answer|short answer|answer|response|a)\s?[:：]\s*", re.IGNORECASE)
_QUOTED = re.compile(
    r'"[^"\n]{1,300}"|“[^”\n]{1,300}”|«[^»\n]{1,300}»|(?<!\w)\'(?=\S)[^\'\n]{1,200}\'(?!\w)'
)  # fmt: skip
_CHARACTERS = str.maketrans({"’": "'", "‘": "'", "ʼ": "'", "´": "'", "…": ".", "\u00a0": " ", "\u202f": " "})
_NEGATED = re.compile(r"\b(?:can'?t|cannot|won'?t|(\w+)n't|(do|does|did|is|are|was|were|could)nt)\b")
_CONTRACTED = re.compile(
    r"\b(it|that|there|this|what|where|who|how|he|she|here|answer|image|which|i|we|you|they)'(s|m|re|d|ve|ll)\b"
)
_SPACES = re.compile(r"[ \t]{2,}|\t")
_NO_WORDS = re.compile(r"[\W_]+")
_ITS_LABEL = re.compile(r"^\s*(?:the )?(?:question|q)\s?(?:is)?\s?:")
_SPELT_OUT = {"s": "is", "m": "am", "re": "are", "d": "would", "ve": "have", "ll": "will"}


def without_label(response: str) -> str:
    """A response without a leading "Answer:".

    Args:
        response: Trimmed.

    Returns:
        What remains; "" if nothing does.
    """
    opening = response[:40].lstrip("*_# ")
    label = _LABEL.match(opening)
    if label is None:
        return response
    return response[len(response[:40]) - len(opening) + label.end() :].removeprefix("**").strip()


def plain(text: str) -> str:
    """A text in lower case, one space between words, no markup, quotations replaced, contractions spelt out.

    Args:
        text: A question, or a response as `without_label` returns it.

    Returns:
        The plain text. A quoted span is `QUOTE`.
    """
    if not text.isascii():
        text = text.translate(_CHARACTERS)
    if contains_any(text, '"', "'", "“", "«"):
        text = _QUOTED.sub(_quoted, text)
    text = without_markup(text).lower()
    if contains_any(text, "n't", "nt", "cannot"):
        text = _NEGATED.sub(_spelt_out, text)
    if "'" in text:
        text = _CONTRACTED.sub(lambda match: f"{match[1]} {_SPELT_OUT[match[2]]}", text)
    text = text.replace("colour", "color").replace(" grey", " gray")
    return _SPACES.sub(" ", text).strip()


def without_markup(text: str) -> str:
    """A text without the marks of Markdown.

    Args:
        text: Any text.

    Returns:
        The text without emphasis, code marks, headings, quotes and bullets.
    """
    return _MARKUP.sub("", text) if contains_any(text, "*", "_", "`", "#", ">", "-", "•") else text


def contains_any(text: str, *parts: str) -> bool:
    """Whether a text contains one of several strings. Many times as fast as a pattern, so it is asked first.

    Args:
        text: Any text.
        parts: The strings, compared as they are.

    Returns:
        False without any string.
    """
    for part in parts:  # noqa: SIM110 - a third of the time of any()
        if part in text:
            return True
    return False


def _quoted(match: re.Match[str]) -> str:
    inside = match[0][1:-1]
    if inside.lower().strip(" .") == "unanswerable":
        return inside  # no text in an image reads so: these are the model's own words
    return QUOTE + (inside[-1] if inside[-1] in ".!?" else "")


def _spelt_out(match: re.Match[str]) -> str:
    word = match[1] or match[2]
    if word:
        return f"{word} not"
    return "will not" if match[0].startswith("w") else "can not"


def bare_words(text: str) -> str:
    """A plain text reduced to its words, so that texts of the same words are equal.

    Args:
        text: As `plain` returns it.

    Returns:
        Letters and digits with single spaces, without a label such as "Question:"; "" if nothing remains.
    """
    return _NO_WORDS.sub(" ", _ITS_LABEL.sub("", text)).strip()


_STOP = words_of(
    """
    a an the this that these those some any one most more anyone anybody anything someone somebody something
    i me my we our you your he his she her they their it its there here
    am is are was were be been being do does did doing can could will would has have had
    of in on at to for with and or by from as into about than then so if
    what which who whom whose where when why how many much kind type sort like color
    image photo photograph picture scene look looks looking appear appears visible shown see seen show shows
    no not please thank thanks tell just also very now currently exactly right based
    """
)
"""Words that do not tell what a question is about."""

WORD = re.compile(r"[a-z0-9][\w-]*")
"""One word of a plain text."""

_IRREGULAR = {"children": "child", "people": "person", "men": "man", "women": "woman", "feet": "foot", "worn": "wear"}


@lru_cache(maxsize=4096)  # a run's texts share most of their words
def _stem(word: str) -> str:
    word = _IRREGULAR.get(word, word)
    if word[-1] not in "sgdey":  # most words
        return word
    for ending in ("ings", "ing", "ies", "es", "ed", "s", "e", "y"):
        if len(word) > len(ending) + 2 and word.endswith(ending):
            return word[: -len(ending)]
    return word


def content_stems(text: str) -> frozenset[str]:
    """The content words of a text, roughly without their endings.

    Args:
        text: As `plain` returns it.

    Returns:
        The stems; empty if no word carries content.
    """
    return frozenset(_stem(word) for word in WORD.findall(text.replace("'s", " ")) if word not in _STOP)
