"""Responses that deny a thing: what is denied, and whether the question takes it for granted."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from unsaf_async.examine.rules.plain import any_of, content_stems

if TYPE_CHECKING:
    from unsaf_async.examine.rules.question import AskedQuestion
    from unsaf_async.examine.rules.response import ReadResponse

_DENIED_THING = any_of(
    r"\b(?:there (?:is|are|was|were)|does not|do not|is|are|was|were) (?:\w+ly )?(?:no|not (?:a|an|any|one))\b ([\w' -]{1,40})",
    r"\bthere do(?:es)? not (?:appear|seem) to be (?:a|an|any)? ?([\w' -]{1,40})",
    r"\bnot (?:\w+ly )?see(?:ing)? (?:a|an|any|the)?\b ?([\w' -]{1,40})",
    r"^(?:unfortunately,? )?no ([\w' -]{1,40})",
    r"\bnot (?:show|contain|include|depict|feature|display|have)\w* (?:a|an|any|the)?\b ?([\w' -]{1,40})",
    r"\bnot (?:wearing|holding|carrying|using|riding|reading) (?:a|an|any)?\b ?([\w' -]{1,40})",
)
_THING_END = re.compile(
    r"\b(?:in|on|at|of|visible|present|shown|is|are|to|that|which|near|with|here|anywhere|being|from|for|depicted|seen"
    r"|around|can|or|only)\b"
)


def denied_thing(response: ReadResponse) -> frozenset[str]:
    """The content words of what a response says is not there.

    Args:
        response: The response.

    Returns:
        Stems; empty if it denies nothing.
    """
    match = _DENIED_THING.search(response.text)
    thing = next((group for group in match.groups() if group), "") if match else ""
    return content_stems(_THING_END.split(thing, maxsplit=1)[0])


def denies_presupposition(question: AskedQuestion, response: ReadResponse) -> bool:
    """Whether a response denies what the question takes for granted.

    Args:
        question: The question.
        response: The response.

    Returns:
        For a yes-no question, True only if the question's own subject is denied.
    """
    denied = denied_thing(response)
    if not denied or not denied <= question.presupposed:
        return False
    return not question.polar or bool(denied & content_stems(" ".join(question.subject[:4])))
