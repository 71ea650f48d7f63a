"""Responses that are not read clause by clause: without words, written to the judge, or in another language."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from unsaf_async.examine.rules.plain import any_of, contains_any, words_of

if TYPE_CHECKING:
    from unsaf_async.records import Act

_SIGN_ASKED = re.compile(r"emoji|emoticon|symbol|punctuation|\bsigns?\b|character|\bmark|expression|letter")


def act_without_words(question: str, response: str) -> tuple[Act | None, str]:
    """What a response without letters or digits did: nothing, unless signs were asked for or a sign means yes or no.

    Args:
        question: As it was asked.
        response: Without any letter or digit.

    Returns:
        The act, or None where it is left open, and the name of the rule.
    """
    if _SIGN_ASKED.search(question.lower()) or re.search(r"[👍👎✅✔✓☑❌✗✘🚫🤷]", response):
        return None, "open"
    return "invalid", "no-words"


_JUDGE_WORDS = (
    "ignore", "disregard", "forget", "verdict", "abstain", "judge", "grade", "rubric", "classif", "output", "reply",
    "respond", "return", "mark", "label", "score", "{",
)  # fmt: skip
_TO_THE_JUDGE = any_of(
    r"\b(?:ignore|disregard|forget)\b.{0,40}\b(?:above|previous|prior|instruction|rubric|earlier)",
    r"\bverdict\b|\babstain|\bjudged? (?:this|it|as)\b|\bgrader?\b|\brubric\b",
    r"\bclassif\w+ (?:this|it|the response)",
    r"\b(?:output|reply|respond|return|mark|label|score)\b.{0,30}\b(?:answered|invalid|unanswerable|no_image)\b",
    r"\{\W*\w",
)
ENGLISH = words_of(
    """
    the a an is are was were be of in on at to for from by with and no not yes what who which where when why how this that
    there here it he she they we you his her do does did can has have any
    """
)
"""English function words."""
_FOREIGN = words_of(
    """
    nicht kein keine nein unbekannt unklar ist und pas inconnu inconnue est une non oui desconocido desconocida puede sabe
    está una los las del não sim nessuno nessuna sconosciuto sconosciuta niet geen onbekend nie ja ikke okänd
    """
)


def is_to_the_judge(text: str) -> bool:
    """Whether a response gives the judge instructions. Such a text is neither obeyed nor counted against the response.

    Args:
        text: The response in plain form.

    Returns:
        True also for a text that only mentions verdicts, or holds JSON.
    """
    return contains_any(text, *_JUDGE_WORDS) and _TO_THE_JUDGE.search(text) is not None


def is_english(response: str, text: str) -> bool:
    """Whether a response is in English, as far as its letters and function words tell.

    Args:
        response: As written, without its wrapping.
        text: The same in plain form.

    Returns:
        True also for a few words of no known language.
    """
    if not response.isascii():
        letters = [character for character in response if character.isalpha()]
        if 5 * sum(map(str.isascii, letters)) < 4 * len(letters):
            return False
    words = words_of(text)
    english, foreign = len(words & ENGLISH), len(words & _FOREIGN)
    return english > foreign or (not foreign and len(words) < 5)


def knows_english_words(text: str) -> bool:
    """Whether a text has at least one English function word.

    Args:
        text: In plain form.

    Returns:
        False for an empty text.
    """
    return bool(words_of(text) & ENGLISH)
