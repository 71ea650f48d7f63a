"""Texts that look like a short answer and hold none: an idiom that declines, a failed call, a step before the answer."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from unsaf_async.examine.rules.plain import any_of, content_stems
from unsaf_async.examine.rules.vocabulary import COLOR, COLORED, NUMBER, PICTURE

if TYPE_CHECKING:
    from unsaf_async.examine.rules.question import AskedQuestion
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


_VERB = (
    r"(?:is|are|was|were|be|belongs? to|contains?|holds?|shows?|has|have|named|called|reads?|says?|going(?: to)?|goes(?: to)?"
    r"|leads?(?: to)?|lies|sits|stands|owned by)"
)
_OWN = r"(?:an?|the|its|his|her|their|my|our|your|this|that|another|some|any|one|no)"
_VAGUE = (
    r"(?:usual|right|proper|own|other|safe|different|secret|hidden|particular|certain|general|random|specific|private|personal"
    r"|good|open|trick|big|various|several|many|multiple|assorted|unspecified|unnamed|rightful|current|kind of|sort of)"
)
_FILLER = any_of(
    rf"(?:{_OWN} )?(?:{_VAGUE} )*(?:secret|mystery|matter|business|affairs?|question|guess)(?: of (?:\w+ ?){{1,3}})?",
    rf"(?:(?:in|at|on|to|from) )?(?:{_OWN} )(?:{_VAGUE} )*(?:place|spot|location|somewhere)s?(?: or (?:an)?other)?",
    rf"(?:{_VAGUE} |all (?:sorts|kinds) of |some )*(?:things?|stuff|items?|objects?)|some (?:person|people|man|one|reason)",
    rf"(?:{_OWN} )(?:{_VAGUE} )*(?:thing|object|item|owners?|contents?|reasons?|person)",
    r"(?:an?|the) (?:name|number|date|price|title|word|amount)|(?:it|him|her|my|your)self|themselves",
    r"(?:what|where|how|when|who|why)(?:so)?(?:ever)?\b.*",
    rf"(?:somewhere |way |just )?(?:out of|outside|outside of|beyond|off|not in|past) (?:the |this )?"
    rf"(?:{PICTURE}|sight|edge|borders?|camera)|off-?(?:camera|screen|frame)|(?:somewhere )?behind the camera|elsewhere",
    r"(?:up|down) to (?:him|her|them|it|me|us|\w+ \w+)|under wraps|in the (?:dark|air|eye of the beholder)"
    r"|here|there|now|then|so",
    r"confidential|classified|restricted|redacted|withheld|pending|omitted|left out|undisclosed|unlisted|unnamed"
    r"|anonymous|incognito|irrelevant|subjective|relative|variable|concealed|to be \w+|tb[ad]|n ?[./]? ?a\.?|x{2,}|xyz"
    r"|lorem ipsum",
    r"(?:so and so|such and such|this|that|it|them|one of (?:them|these|those|the two)|either(?: one)?|any(?: of (?:them|these"
    r"|those))?)",
    r"[\[<({]+[\w ]*[\])}>]+",
)
"""Words in an answer's place that tell nothing, as the whole of it."""
_NAMES_NOTHING = re.compile(r"(?:the )?(?:same|blank|empty|covered|lost|missing|different|other|both)")
"""The same, where a name or a number is asked for."""
_BEHIND_VERB = re.compile(rf"\b{_VERB} ")
_ANYTHING = any_of(
    r"^any of (?:these|those|them)\b|\b(?:all|anything|everything) (?:is|are) (?:possible|conceivable)\b",
    r"\b(?:whatever|wherever|whoever|whichever|whomever)\b",
    r"\bonly (?:(?:the|his|her|its|their) )?\w+(?: \w+)? (?:knows?|(?:can|could|would) (?:tell|say|know))\b",
    r"^(?:the|this|your) (?:question|task|query)\b|\bis the (?:question|task)\b",
    rf"\b(?:before|after|when) (?:the|this) {PICTURE} was taken\b",
    r"\b(?:that|which) (?:is|are) (?:hard|difficult|tricky|tough|impossible) to"
    r" (?:pin|tell|say|make|determine|identify|know|judge|see|read)\b",
    r"\bthat (?:the|its|his|her) \w+ (?:hides|covers|blocks|conceals|obscures)\b",
    r"\bat some (?:point|time|stage)\b",
)
"""Leaves everything possible, or speaks of the question."""
_WOULD_BE = re.compile(r"\bwould (?:be|stand|appear) (?:on|in|at|inside|under|behind)\b")
"""Tells where an answer would be."""
_ANY_OF = re.compile(r"\bany of (?:these|those|them) (?:\w+ )?(?:could|might|may|is|are|can)\b")
_AS_MUCH = re.compile(r"\bas (?:much|many|old|long|big|tall|far|fast|heavy|often)(?: \w+)? as\b")
_COVERS = re.compile(r"\b(?:cover|hide|block|conceal|obscure|obstruct)(?:s|ing)? ([\w' ]{1,40})")
_OUT_OF_REACH = re.compile(
    r"\b(?:is|are) (?:\w+ly )?(?:locked|closed|shut|sealed|folded|turned (?:around|away|over)|facing away|shown as"
    r"|displayed as|(?:scratched|worn|torn|peeled|cut|rubbed) off|smudged|faded|blurred)\b"
    r"|\bfaces? away\b|\bof some (?:kind|sort)$|\b(?:indeterminate|unspecified)\b"
    r"|\b(?:his|hers?|theirs?) alone\b"
)
"""Tells what stands in the way, or shares nothing."""
_SAYS_LITTLE = content_stems(
    "thing things stuff reason reasons way time times day moment point past future place kind sort type amount number quantity"
    " certain some own affair business matter like likes want wants prefer mix part bit more less usual general various"
    " different other another same person people someone something name word answer question here there good nice tasty"
    " selection collection direction ingredients words artist talent earlier later before"
    " interesting important irrelevant relevant possible full lot lots whole normal ordinary typical particular specific"
)
"""Words that may be all that a sentence adds to its question, and yet tell nothing."""
_EITHER = re.compile(r"\w,? or (?!so\b|more\b|less\b|two\b|three\b|\d)(?:\w+ ?){1,4}$")
"""Leaves a choice at its end."""
_WHAT_IT_IS = re.compile(
    r"\b(?:cook|eat|do|say|see|want|need|get|buy|like|use|be|make|take)s? (?:what|who)(?:ever)? \w+"
)
"""Says that it is what it is."""
_AGENT = re.compile(
    r"(?:the|an?|its|his|her) (?:photographer|cameraman|author|writer|painter|artist|builder|driver|owner|maker|stranger)"
)
"""Who did what was done, in the words of the deed."""


def _fills_the_place(question: AskedQuestion, response: ReadResponse) -> bool:
    """Whether words that tell nothing stand where the answer belongs: "The key is in its usual place"."""
    lead = response.lead.strip(" .!")
    if question.open and len(response.words) > 8:  # a description, which may end so
        return False
    ends = [lead, *(lead[verb.end() :] for verb in _BEHIND_VERB.finditer(lead))]
    filled = [_FILLER]
    if question.asks("name", "named", "title", "brand", "number", "date", "price", "called", "year"):
        filled.append(_NAMES_NOTHING)
    if question.core.startswith("who"):
        filled.append(_AGENT)
    ends += [end.removesuffix(" here").removesuffix(" in this context") for end in ends]
    return any(each.fullmatch(end) for each in filled for end in ends)


def _adds_little(question: AskedQuestion, response: ReadResponse) -> bool:
    """Whether a sentence in the question's words adds only words that tell nothing, or leaves a choice."""
    if not question.stems & response.lead_stems or (question.open and len(response.words) > 8):
        return False
    added = response.lead_stems - question.stems
    told = added <= _SAYS_LITTLE and NUMBER.search(response.lead) is None and COLOR.search(response.lead) is None
    choice = _EITHER.search(response.lead.strip(" .!")) if len(response.words) <= 20 else None
    return (
        (bool(added) and told)
        or _WHAT_IT_IS.search(response.lead) is not None
        or bool(choice and not question.asks(*COLORED))
    )


def holds_no_answer(question: AskedQuestion, response: ReadResponse) -> bool:
    """Whether a response may look like an answer and hold none, so that no rule takes it for one.

    Args:
        question: What was asked.
        response: What came.

    Returns:
        True also for some that answer: those a judge reads.
    """
    text = response.text.strip(" .!")
    if _WOULD_BE.search(text) and "would" not in question.words:
        return True
    if not question.closed and not question.reading:
        if _fills_the_place(question, response) or _adds_little(question, response) or _ANYTHING.search(response.lead):
            return True
        covered = _COVERS.search(text)
        if covered and content_stems(covered[1]) & question.stems and not question.open:
            return True
        short = not question.open or len(response.words) <= 10
        if _ANY_OF.search(text) or (short and _OUT_OF_REACH.search(response.lead)):
            return True
        if question.core.startswith("how") and _AS_MUCH.search(text) and not NUMBER.search(text):
            return True
    if _POOR_VIEW.fullmatch(text) or _MISSPELT.fullmatch(text) or _CALL.match(text) or _FAILED.search(text):
        return True
    return _STEP.search(text) is not None or any(_IDIOM.search(sentence) for sentence in response.sentences)
