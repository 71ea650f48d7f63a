"""Texts made comparable: without a model's thoughts, in one normal form."""

from __future__ import annotations

import re
import unicodedata
from functools import lru_cache


def normal_form(text: str) -> str:
    """The form in which two questions are exact duplicates.

    Compatibility characters and case are folded (NFKC, casefold), punctuation and invisible characters go, runs of
    white space become one space. Words stay, articles too: which of them change the meaning is not a matter of form.
    Idempotent.

    Args:
        text: Any text.

    Returns:
        The normal form; "" for text without a letter, digit or symbol.
    """
    # Folding and dropping can make new composable pairs, so once is not enough; the second round nearly always is.
    for _ in range(8):
        folded = unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", text).casefold())
        folded = " ".join("".join(map(_folded_character, folded)).split())
        if folded == text:
            break
        text = folded
    return text


_THINK_OPEN = re.compile(r"<(?:think|thinking|thought|reasoning)>", re.IGNORECASE)

_THINK_CLOSE = re.compile(r"</(?:think|thinking|thought|reasoning)>", re.IGNORECASE)


def without_thoughts(text: str) -> str:
    """A reply's text without its thinking block.

    Args:
        text: As the server sent it. Some servers send only the block's closing tag; a cut reply has only the opening.

    Returns:
        What stands before and after the block; all of `text` if there is none.
    """
    opening = _THINK_OPEN.search(text)
    end = max((close.end() for close in _THINK_CLOSE.finditer(text)), default=0)
    if opening is None:
        return text[end:]
    if opening.start() < end:
        return text[: opening.start()] + text[end:]
    return text[end : opening.start()]


@lru_cache(maxsize=4096)
def _folded_character(character: str) -> str:
    if character in "'’‘ʼ`´":
        return ""  # "what's" and "whats" are one word
    category = unicodedata.category(character)
    if category == "Cf":
        return ""
    return " " if category[0] in "PZ" or category in ("Cc", "Sk") else character
