"""Texts that look like a short answer and hold none: an idiom that declines, a failed call, a step before the answer."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from unsaf_async.examine.rules.plain import any_of

if TYPE_CHECKING:
    from unsaf_async.examine.rules.response import ReadResponse

_IDIOM = any_of(
    r"\b(?:is|are|remains?|stays?) (?:\w+ly |still |just |all |quite |really )*(?:an? )?(?:complete |total |bit of an? )?"
    r"(?:mystery|riddle|puzzle|enigma|secret|toss-?up|coin ?(?:toss|flip)|gamble|guessing game|conundrum)$",
    r"\b(?:is|are|remains?|stays?) (?:\w+ly |still |just |being |kept |currently |to be )*(?:private|confidential|classified"
    r"|undisclosed|withheld|redacted|restricted|anonymous|hidden|tba|tbd|determined|announced|confirmed|nondescript)$",
    r"\b(?:eludes?|escapes?|stumps?|beats?|baffles?|puzzles?|defeats?) (?:me|us|one|the viewer|everyone|anyone)\b",
    r"\b(?:left|leaves?|up) (?:\w+ )?to (?:the |your |one's |our )?(?:\w+'s )?"
    r"(?:imaginations?|interpretation|viewers?|reader|you)\b",
    r"\b(?:open|subject) to (?:\w+ )?(?:interpretation|debate|question|discussion|speculation)\b"
    r"|\bup for (?:debate|discussion)\b",
    r"\b(?:beyond|past|above) (?:me|us|what|my|our|recognition|anyone|anybody)\b",
    r"\b(?:any(?:one|body)|who|no ?(?:one|body))'s (?:call|guess)\b|\b(?:i|we) (?:am|are) (?:stumped|lost|at a loss|clueless)\b",
)
"""Declines, in words that state nothing."""
_POOR_VIEW = re.compile(
    r"(?:it is |(?:very|too|so|really|quite|all) )*(?:blurr\w*|fuzzy|foggy|hazy|grainy|pixelat\w+|indistinct|out of focus"
    r"|obscured|hidden|concealed|occluded|cropped(?: out)?|cut[ -]off|off[ -]?(?:screen|camera|frame)|out of (?:frame|view|sight)"
    r"|low (?:res(?:olution)?|quality))"
)
"""Alone, it may say why nothing can be said."""
_MISSPELT = re.compile(r"(?=unk)[unkow]{3,9}|i ?do?nt ?kno\w?|do?nt ?kno|idk\w?|unclea\w?|unsur\w?")
_FAILED = any_of(
    r"\b(?:failed|unable|failure|not able) to \w+(?: \w+){0,2} "
    r"(?:answers?|responses?|results?|replies|reply|outputs?|completions?)\b",
    r"^failed\b|\b(?:request|call|api|query|generation|connection|inference|server|model|job|task)s? (?:\w+ )?"
    r"(?:failed|failure|reset|refused|closed|aborted|cancell?ed|overloaded|unavailable|rejected|blocked|interrupted)\b",
    r"\b(?:service|server|model) (?:\w+ )?unavailable\b|\btoo many requests\b|\bbad (?:gateway|request)\b|\bgateway time-?out\b",
    r"^(?:http )?(?:status )?(?:code )?[45]\d\d (?:[a-z]+ ?){1,4}$|\bhttp [1-5]\d\d\b|\b(?:un|not )authori[sz]ed$|\bforbidden$",
    r"\brate[- ]limit\w*\b|\btime[sd]? out\b|\b(?:content|safety) ?_?filter\w*\b"
    r"|^(?:toolcalls?|recitation|safety|max_?tokens|prohibited_\w+)$",
    r"^generating\b",
)
"""What a program writes in place of a response."""
_CALL = re.compile(r"^[a-z_][\w.]*\(.*\)$|^[a-z]+(?:_[a-z]+)+$|^\w+\(", re.DOTALL)
"""The call of a function, or its name."""
_LOOK = (
    r"(?:look\w*|examin\w+|inspect\w*|check\w*|zoom\w*|analy[sz]\w+|see|find|focus|consider|determin\w+|identify"
    r"|figure|search)"
)
_STEP = any_of(
    rf"^(?:so |first,? |now,? |ok(?:ay)?,? )*(?:i|we|you|one) (?:\w+ )?(?:need|should|must|have|want|ought|will|shall|am going"
    rf"|are going|can try)(?: to)?(?: \w+ly| first)? {_LOOK}\b",
    r"^(?:so |first,? |now,? |ok(?:ay)?,? )*(?:let us|let me|lets|let's) \w+|^(?:zoom\w*|crop|enlarge|magnify|rotate)\b(?! lens)",
    r"\b(?:the user|we are|i am) (?:\w+ )?(?:asks?|asked|asking|wants?)\b|^(?:hmm+|um+|uh+|well|okay|ok)$",
)
"""What comes before an answer."""


def holds_no_answer(response: ReadResponse) -> bool:
    """Whether a response may look like an answer and hold none, so that no rule takes it for one.

    Args:
        response: What came.

    Returns:
        True also for some that answer: those a judge reads.
    """
    text = response.text.strip(" .!")
    if _POOR_VIEW.fullmatch(text) or _MISSPELT.fullmatch(text) or _CALL.match(text) or _FAILED.search(text):
        return True
    return _STEP.search(text) is not None or any(_IDIOM.search(sentence) for sentence in response.sentences)
