"""What VQA's official evaluation script makes of an answer: its form of a text, and its accuracy to the letter.

Written anew after the script's behaviour, oddities included, as published figures come from it. Source: `vqaEval.py`, whose
address is <https://github.com/GT-Vision-Lab/VQA>.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

NUMBERS = {
    word: str(number)
    for number, word in enumerate("zero one two three four five six seven eight nine ten".split())  # noqa: SIM905
} | {"none": "0"}
"""Number words that become digits."""

ARTICLES = frozenset({"a", "an", "the"})
"""Words that go."""

_MARKS = ';/[]"{}()=+\\_-><@`,?!'
_DIGIT_COMMA = re.compile(r"\d,\d")
_STOP = re.compile(r"\.(?!\d)")
_STOPS = 32
"""Full stops that go at most: the script hands `re.UNICODE`, which is 32, to where the number of replacements is expected."""


def script_form(text: str) -> str:
    """The form in which the official script compares texts.

    Each of 21 marks becomes a space; it goes without one where it stands next to a space anywhere in the text, and all do where a
    comma stands between digits. Others stay: "$", "%", "#", "&", "*", "'", ":". Full stops go unless a digit follows. Then: lower
    case, number words as digits, no articles, contractions with their apostrophe. So "red, blue-green" is "red blue green",
    "10-12 - 14" is "1012 14", and "The" is nothing.

    Args:
        text: An answer or a reference.

    Returns:
        The form; "" where nothing is left.
    """
    text = _one_line(text)
    glue = _DIGIT_COMMA.search(text) is not None
    gone = {
        ord(mark): "" if glue or f"{mark} " in text or f" {mark}" in text else " " for mark in _MARKS if mark in text
    }
    words = (NUMBERS.get(word, word) for word in _STOP.sub("", text.translate(gone), count=_STOPS).lower().split())
    return " ".join([CONTRACTIONS.get(word, word) for word in words if word not in ARTICLES])


def script_accuracy(answer: str, answers: Sequence[str]) -> float | None:
    """VQA accuracy as the official script computes it, to the letter.

    The mean, over the ways to leave one reference out, of min(m / 3, 1), where m is how many of the others equal the answer.
    Texts are compared as `script_form`, except where all references are the same text: then nothing is brought to a form, so
    that "Red." is wrong against ten times "red".

    Args:
        answer: What the model answered.
        answers: The references, one an annotator.

    Returns:
        In [0, 1]; None without references.
    """
    texts = [_one_line(each) for each in answers]
    own = _one_line(answer)
    if len(set(texts)) > 1:
        texts, own = [script_form(each) for each in texts], script_form(own)
    return left_one_out(sum(text == own for text in texts), len(texts))


def left_one_out(matches: int, references: int) -> float | None:
    """The mean over the ways to leave one reference out: of n, m leave out a match and n - m do not.

    Args:
        matches: How many references equal the answer.
        references: How many there are.

    Returns:
        In [0, 1]; None without references.
    """
    if not references:
        return None
    return (matches * min((matches - 1) / 3, 1) + (references - matches) * min(matches / 3, 1)) / references


def _one_line(text: str) -> str:
    return text.replace("\n", " ").replace("\t", " ").strip()


def _contractions() -> dict[str, str]:
    """Contractions that lack one of their apostrophes -> with all of them.

    The script's list, with its gaps: "im", "ive" and "shes" are not in it, nor are words that would be others (hell, ill, its).
    """
    parts = {
        "n't": "ai are ca could did does do had has have is might must need ought sha should was were wo would",
        "'ve": "could might must not should they we what where who would you",
        "'re": "there they what why you",
        "'d": "he how it someone something there they where who you",
        "'ll": "how it somebody someone something they what who why you",
        "'s": "he how somebody someone that there what when where who why",
        "n't've": "could had might should would",
        "'d've": "he it she somebody someone something there they we who you y'all",
    }
    whole = ["o'clock", "ma'am", "y'all", "y'all'll", "'twas", "'ow's'at"]
    whole += [base + end for end, bases in parts.items() for base in bases.split()]
    lacking = {
        word[: apostrophe.start()] + word[apostrophe.end() :]: word
        for word in whole
        for apostrophe in re.finditer("'", word)
    }
    return lacking | {"somebody'd": "somebodyd"}


CONTRACTIONS = _contractions()
"""Contractions as the script mends them; the last one it breaks."""
