"""Texts made comparable: in one normal form."""

from __future__ import annotations

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
    if text.isascii():  # which nothing composes: as below, in one step
        return " ".join(text.lower().translate(_FOLDED_ASCII).split())
    # Folding and dropping can make new composable pairs, so once is not enough; the second round nearly always is.
    for _ in range(8):
        folded = unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", text).casefold())
        folded = " ".join("".join(map(_folded_character, folded)).split())
        if folded == text:
            break
        text = folded
    return text


@lru_cache(maxsize=4096)
def _folded_character(character: str) -> str:
    if character in "'’‘ʼ`´":
        return ""  # "what's" and "whats" are one word
    category = unicodedata.category(character)
    if category == "Cf":
        return ""
    return " " if category[0] in "PZ" or category in ("Cc", "Sk") else character


_FOLDED_ASCII = {number: _folded_character(chr(number)) for number in range(128)}
