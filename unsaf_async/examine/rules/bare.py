"""Responses that are one set phrase and nothing else, such as "don't know" and "N/A", as people and programs write them."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from unsaf_async.examine.rules.plain import bare_words, plain

if TYPE_CHECKING:
    from collections.abc import Callable

    from unsaf_async.examine.rules.question import AskedQuestion
    from unsaf_async.examine.rules.response import ReadResponse
    from unsaf_async.records import Act

_A_VIEW = r"(?:image|photo|photograph|picture|pic|screenshot)"
_DECLINED = re.compile(
    r"(?:sorry )?(?:(?:i )?(?:do not|really do not|honestly do not) know|dunno|i dunno|idk|(?:no|not an?) (?:idea|clue)"
    r"|(?:i )?have not (?:a clue|got a clue|the foggiest|the faintest)(?: idea)?|(?:who|god|nobody|no one) knows|beats me"
    r"|search me|(?:the )?answer(?: is)? (?:unknown|not known|unavailable)"
    rf"|(?:your|anyones?|anyone s) guess(?: is as good as mine)?|unsuitable(?: {_A_VIEW})?)(?: sorry)?"
)
_A_POOR_VIEW = re.compile(
    rf"(?:bad|poor|wrong|invalid|unclear|blurry|low quality|poor quality|corrupt(?:ed)?) {_A_VIEW}"
)
"""Declines, but where any description answers."""
_NOT_APPLICABLE = re.compile(
    r"n ?a|not applicable|unknown|unanswerable|(?:uncountable|not countable)|undeterminable|undisclosed|unavailable"
)
"""Words that may also be read off the image, or name what they are asked for."""
_MAY_BE_ITS_NAME = re.compile(
    r"\b(?:elements?|symbols?|formulas?|initials|abbreviations?|acronyms?|codes?|logos?|signs?|keys?|plates?|country|chemical)\b"
)
_NOTHING_CAME = re.compile(r"null|nan|undefined|failed to obtain (?:an )?answer(?: .{0,80})?|no (?:response|output)")
"""What programs write where no response came."""
_IN_MARKS = re.compile(r"[\"'“‘«]([^\"“”«»]{1,60})[\"'”’»]\.?")
_EITHER = re.compile(
    r"pass|skip|tbd|nil|(?:see|same as) above|countless|innumerable|too many(?: to count)?"
    r"|(?:\w+ ){0,2}error(?: .{0,60})?|(?:request|connection) timed out|(?:rate limit|quota) exceeded|timeout"
)
"""May decline or answer, or be what a program wrote in place of a response, or stand on a screen."""
_MEANWHILE = re.compile(
    r"thinking|loading|processing|(?:please )?(?:wait|hold on)|(?:one|just a) moment(?: please)?"
    rf"|(?:looking at|analy[sz]ing|examining|checking|inspecting) (?:the|this|your) {_A_VIEW}"
    r"|let me (?:think|look|see|check)(?: .{0,40})?"
)
"""Says what comes before an answer, or what somebody does."""
_FOREIGN = re.compile(
    r"k a|keine (?:ahnung|angabe)|wei(?:ss|ß) nicht|unbekannt|aucune id[ée]e|inconnue?|je ne sais pas|ni idea|no (?:lo )?s[ée]"
    r"|desconocid[oa]|sin informaci[óo]n|nessuna idea|non lo so|sconosciut[oa]|geen idee|onbekend|n[ãa]o sei"
)
"""Declines, as it seems, in a language that the rules do not speak."""


_PHRASES = (_DECLINED, _A_POOR_VIEW, _NOT_APPLICABLE, _NOTHING_CAME, _EITHER, _MEANWHILE, _FOREIGN)


def _set_phrase(question: AskedQuestion, response: ReadResponse) -> Act | None:
    """A phrase that declines and says nothing else. Where text is asked for, the phrase may be what the text says."""
    said = response.bare
    if question.reading:
        return None
    if _DECLINED.fullmatch(said) or (_A_POOR_VIEW.fullmatch(said) and not question.open):
        return "abstained"
    if not _NOT_APPLICABLE.fullmatch(said) or _MAY_BE_ITS_NAME.search(question.core):
        return None
    if said in {"uncountable", "not countable"}:
        return "abstained" if question.asks("how many") else None
    return None if question.closed and said in {"na", "n a"} else "abstained"  # "Is it on?" - "Na": no, to some


def _nothing_came(question: AskedQuestion, response: ReadResponse) -> Act | None:
    """What a program wrote in place of a response."""
    return "invalid" if not question.reading and _NOTHING_CAME.fullmatch(response.bare) else None


BARE_RULES: tuple[tuple[str, Callable[[AskedQuestion, ReadResponse], Act | None]], ...] = (
    ("set-phrase", _set_phrase),
    ("nothing-came", _nothing_came),
)
"""Names and rules, tried before all others but politeness."""


def may_be_bare(question: AskedQuestion, response: ReadResponse) -> bool:
    """Whether a response is one of these phrases, though it may say something else here: a fragment is no answer then.

    Args:
        question: What was asked.
        response: What came.

    Returns:
        True if no rule may take it for an answer.
    """
    said = response.bare
    named = _MAY_BE_ITS_NAME.search(question.core) and _NOT_APPLICABLE.fullmatch(said)
    return not named and any(each.fullmatch(said) for each in _PHRASES)


def is_quoted_phrase(body: str) -> bool:
    """Whether a response is one of these phrases in quotation marks: a program's string, or what is read off the image.

    Args:
        body: The response, as it was written.

    Returns:
        False for a quotation of anything else.
    """
    match = _IN_MARKS.fullmatch(body.strip())
    said = bare_words(plain(match[1])) if match else ""
    return bool(said) and any(each.fullmatch(said) for each in _PHRASES)
