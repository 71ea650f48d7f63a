"""Clauses of a response: what each of them does, and the phrases that tell."""

from __future__ import annotations

import re
from enum import Enum, auto

from unsaf_async.examine.rules.plain import any_of, contains_any
from unsaf_async.examine.rules.vocabulary import PICTURE


class Clause(Enum):
    """What one clause of a response does. The first kind of this order that fits is taken."""

    NO_IMAGE = auto()  # says that there is no image at all
    ADVICE = auto()  # asks for a better image, says what would help
    POLICY = auto()  # declines to, rather than cannot
    DOUBT = auto()  # lacks certainty, not knowledge
    UNKNOWABLE = auto()  # says that nobody can know, or that the speaker does not
    NOT_SHOWN = auto()  # says that the image does not show or tell it
    UNSEEN = auto()  # says that it is there, or may be, and cannot be seen
    DENIED = auto()  # says that a thing is not there
    COURTESY = auto()  # apologises
    REASON = auto()  # says what stands in the way: blur, a closed lid
    CONTEXT = auto()  # "Based on the image,"
    SCENE = auto()  # describes: "The image shows ..."
    STATEMENT = auto()  # everything else


ABSTAINING = frozenset({Clause.UNKNOWABLE, Clause.NOT_SHOWN, Clause.UNSEEN, Clause.DENIED})
"""What declines."""
STATING = frozenset({Clause.STATEMENT, Clause.CONTEXT, Clause.SCENE})
"""What states or describes."""
WITH_ABSTENTION = frozenset({Clause.REASON, Clause.ADVICE, Clause.COURTESY, Clause.CONTEXT, Clause.DOUBT})
"""What may stand beside an abstention without turning it into an answer."""
AFTER_ANSWER = frozenset({Clause.REASON, Clause.ADVICE, Clause.DENIED})
"""What may follow an answer without taking it back."""

_ADVERB = r"(?:(?:\w+ly|even|quite|really|just|yet|with certainty|for certain|for sure) )?"
_KNOW = (
    r"(?:tell|told|say|said|determin\w+|know|known|identif\w+|confirm\w*|provide|verif\w+|answer\w*|ascertain\w*"
    r"|specif\w+|judged?|infer\w*|establish\w*|find out|recogni[sz]\w+|assess\w*|predict\w*|decipher\w*|describe[sd]?"
    r"|count\w*|transcribe\w*|estimat\w+|gauged?|deduc\w+|conclude\w*|distinguish\w*|locate\w*|pinpoint\w*|guess\w*"
    r"|understand|understood|learn\w*|measured?|give|given|comment|speak to|pin down|evaluat\w+|state[ds]?|explain\w*"
    r"|settled?|calculat\w+|interpret\w*|work out|figure out|rule out|quantif\w+)"
)
_SENSE = r"(?:see|seen|read|make out|made out|discern\w*|observ\w+|perceiv\w+|detect\w*|hear|heard|smell\w*|tasted?)"
# "She cannot see the stage" is about her; "I cannot see the stage" is about the image.
_SPEAKER = (
    r"(?:^(?:unfortunately,? |and |so |therefore,? |thus |hence |sorry,? )?|\b(?:i|we|you|one|it|this|that|nobody"
    r"|anyone|someone|no one|everyone|viewers?|the viewer) )(?:am |are |is |still |simply |therefore |really )?"
)
_UNABLE = r"(?:can not|could not|unable to|not able to)"
_HARD = r"(?:im|not )possible|hard|difficult|tough|challenging|tricky|not easy|not feasible"
_BAD_VIEW = (
    r"(?:blurr\w+|dark|small|far|low|pixelat\w+|unclear|distant|out of focus|grainy|faint|dim|indistinct|close|cropped"
    r"|obscured|faded|fuzzy|bright|overexposed|tiny|distorted|zoomed)"
)
_TOO_BAD = (
    rf"\btoo (?:\w+ (?:and|or) )?{_BAD_VIEW}(?: (?:and|or|away|resolution|quality) ?\w*)?(?: for \w+)? to {_ADVERB}"
)
_OPAQUE = (
    r"(?:unknown|unclear|indeterminate|undetermined|unanswerable|unidentifiable|unspecified|unknowable|ambiguous"
    r"|indeterminable|inconclusive)"
)
_MATTER = r"(?:information|details?|context|evidence|clarity|data|clues?|cues|info)"
_REVEALING = (
    r"(?:indicat|identif|tell|show|reveal|suggest|determin|specif|confirm|say|give|settle|hint|answer|mention)\w*"
)
_IMAGE_SAYS_NOT = (
    rf"\b{PICTURE}(?: (?:itself|alone|provided|given|you\w*|have|has|uploaded|shared|here|by itself|only|of \w+))* "
)

_PHRASES: dict[Clause, tuple[str, ...]] = {
    Clause.NO_IMAGE: (
        r"\bas an ai\b|\blanguage model\b|\bimage description\b|\b(?:image|picture|photo) could not be loaded\b",
        r"\bno (?:image|picture|photo) (?:is|was|has) |\bthere is no (?:image|picture|photo)\b(?! of)",
        (
            r"\b(?:no|not (?:see|receive|have|find)(?: an| any| the)?) (?:image|picture|photo)s?"
            r"(?: (?:is|was|has been|i can|you))?(?: \w+)? (?:attached|uploaded|received|to your|to view|loaded"
            r"|shared|sent|are referring)"
        ),
    ),
    Clause.ADVICE: (
        (
            r"^(?:and |so |then |or |otherwise,? |perhaps |maybe )?(?:please|feel free|let me know|retake"
            r"|try (?:to|taking|moving)"
            r"|if you (?:can|could|have|need|provide|would|share|upload|want|were|are able)"
            r"|(?:could|can|would) you (?:please )?(?:provide|share|send|upload|give|clarify|take|specify|try|move)"
            r"|i (?:would be|am) (?:happy|glad) to|i would need|one would (?:need|have)|i can only|i can describe what"
            r"|i (?:might|may|could|can|will) (?:then )?(?:be able to )?(?:try to )?(?:help|assist|attempt)"
            r"|you (?:would|may|might|could|will|should) (?:need|have|want|try|consider|like)"
            r"|it would (?:require|need|help|be (?:great|helpful|necessary|useful))"
            r"|(?:this|that) would (?:require|need)(?!.*\b(?:beyond|outside|not)\b))\b"
        ),
        r"^(?:an? )?(?:clearer|better|closer|higher|different|sharper)\b",
        r"^(?:more|additional|further|other|external) (?:details?|context|information|images?|photos?|views?|data)\b",
        (
            r"^(?:in order )?to (?:determine|know|answer|find out|identify|assist|help|confirm|verify|learn|be sure|get"
            r"|establish|provide|give)\b"
        ),
        r"^for (?:accurate|more|better|specific|a more)\b",
    ),
    Clause.POLICY: (
        r"\b(?:not|unable to) (?:assist|help|comply|engage|discuss)\b",
        (
            r"\b(?:guidelines|polic(?:y|ies)|privacy|(?:not |in)appropriate|not allowed|permitted|not comfortable"
            r"|ethical|copyright\w*|real people|decline)\b|\bwill not (?:identify|guess|speculate|name)\b"
        ),
    ),
    Clause.DOUBT: (
        (
            r"^(?:although |though )?(?:i am|it is|this is|i)?(?: still)? ?"
            r"(?:not|hard|difficult|can not|could not|impossible|tough)(?: to)?(?: be)? ?(?:entirely|completely"
            r"|fully|absolutely|totally|a hundred percent|100%|quite)?(?: be)? ?"
            r"(?:sure|certain|positive|clear|definite)(?: about (?:it|this|that))?$"
        ),
        (
            r"^(?:it is|this is) (?:hard|difficult|not easy) to (?:be (?:sure|certain|exact|precise)"
            r"|(?:tell|say|know) (?:exactly|precisely|for sure|for certain|with (?:full |complete |absolute )?certainty))$"
        ),
        r"^the image is not (?:entirely|completely|very|perfectly|that) (?:clear|sharp)$",
    ),
    Clause.UNKNOWABLE: (
        rf"\b{_UNABLE} {_ADVERB}be {_ADVERB}{_KNOW}\b",
        rf"{_SPEAKER}{_ADVERB}{_UNABLE} {_ADVERB}{_KNOW}\b",
        r"\b(?:i|we|you) can not (?:be (?:sure|certain)|from|based|without)\b",
        rf"\b(?:{_HARD}) (?:for \w+ )?to {_ADVERB}(?:be )?(?:{_KNOW}|sure|certain)\b|^impossible\b",
        r"\bno (?:\w+ )?(?:way|means|method) (?:of|to|for|i|we|that|from|anyone|one|you)\b|\bno telling\b",
        rf"\b(?:not|is|are) (?:\w+ )?(?:enough|sufficient|insufficient) (?:\w+ ){{0,2}}{_MATTER}\b|^insufficient\b",
        rf"\black(?:s|ing)? (?:of )?(?:\w+ ){{0,2}}{_MATTER}\b",
        rf"\b(?:is|are|remains?|was|be) (?:\w+ly |still |left )?{_OPAQUE}\b|^(?:still )?{_OPAQUE}\b|\bit is uncertain\b",
        r"^(?:n/a|uncertain|unsure|not (?:known|clear|certain|sure|determinable|possible|answerable|applicable))\b",
        (
            r"\bnot (?:\w+ly )?(?:known|certain|knowable|determinable|answerable|identifiable|determined|ascertainable"
            r"|inferable|discernible|deducible)\b"
        ),
        (
            r"\b(?:it|that) is not (?:\w+ly )?clear\b|\bnot (?:\w+ly )?clear (?:from|in|what|who|whose|if|whether"
            r"|which|how|why|when|where)\b"
        ),
        r"\b(?:i|we|you|one) (?:just |really |simply )?do(?:es)? not (?:\w+ly )?know\b",
        r"\b(?:i|we|you|one) do(?:es)? not (?:\w+ly )?have (?:enough|any|the|sufficient|access)\b",
        r"\b(?:i|we) have no (?:idea|way|information|means|knowledge|clue)\b|^no idea\b|^i am not sure\b|^idk\b",
        r"\b(?:no one|nobody) (?:can|could) \w+\b|\banyone's guess\b|\bspeculat\w+|\bnot something\b",
        rf"\b(?:requires?|needs?) {_MATTER}\b|\binformation (?:beyond|outside|not)\b",
        rf"\bbeyond (?:what|the) (?:\w+ ){{0,3}}(?:{PICTURE}|shown|visible|shows)\b",
        rf"\boutside (?:of )?what the {PICTURE}\b|{_TOO_BAD}{_KNOW}\b",
        rf"^(?:there is )?(?:no|not enough) (?:\w+ )?{_MATTER}(?: (?:available|provided|given))?$",
    ),
    Clause.NOT_SHOWN: (
        (
            rf"{_IMAGE_SAYS_NOT}(?:(?:does|do|did) not|(?:gives?|provides?|offers?|contains?|holds?|shows?|has) no"
            r"|fails? to|lacks)\b"
        ),
        rf"{_IMAGE_SAYS_NOT}(?:can|could) not (?:{_REVEALING}|convey|be used|provide|capture|communicate|express)\b",
        r"^(?:and |so )?(?:it|this|that) (?:does|did) not (?:\w+ly )?(?:show|tell|say|include|contain|state|mention)\b",
        (
            r"\b(?:does|do|did) not (?:\w+ly )?(?:reveal|indicate|specify|provide|convey|disclose|settle|confirm"
            r"|prove|mean|give|offer|make (?:it )?clear)\b"
        ),
        rf"\bnothing\b.{{0,50}}\b{_REVEALING}\b|\bnothing (?:visible |here )?(?:indicates|shows|says)\b",
        (
            rf"\bno (?:\w+ ){{0,2}}(?:{_MATTER}|indications?|hints?|signs?|indicators?|markings?|references?) (?:\w+ )?(?:of|to"
            r"|about|that|in|on|is|are|as|regarding|which|available|visible|given|provided|for|here|showing|from|present)\b"
        ),
        rf"\bno (?:\w+ ){{0,6}}(?:that|to|which) (?:would |could |can )?{_REVEALING}\b",
    ),
    Clause.UNSEEN: (
        (
            r"\bnot (?:(?:\w+ly|even|itself|\w+ enough) )?(?:visible|shown|seen|in view|in (?:the |this )?(?:image|photo|picture"
            r"|frame|view|shot)|within (?:the )?(?:frame|view)|pictured|depicted|legible|readable|displayed|included|captured"
            r"|available|provided|given|indicated|stated|specified|mentioned|apparent|evident|distinguishable|recogni[sz]able"
            r"|on display|clear enough|revealed|disclosed|conveyed|described|observable|labell?ed)\b"
        ),
        r"\b(?:illegible|unreadable|indiscernible|indistinguishable)\b",
        rf"\b(?:can|could) (?:not|hardly|barely) {_ADVERB}be {_ADVERB}{_SENSE}\b",
        rf"{_SPEAKER}{_ADVERB}{_UNABLE} {_ADVERB}(?!see (?:an?|any)\b){_SENSE}\b",
        rf"\b(?:{_HARD}) (?:for \w+ )?to {_ADVERB}{_SENSE}\b|{_TOO_BAD}{_SENSE}\b",
    ),
    Clause.DENIED: (
        r"\bthere (?:is|are|was|were) (?:\w+ly )?(?:no|not (?:a|an|any|one))\b|\bthere do(?:es)? not (?:appear|seem) to be\b",
        r"^(?:unfortunately,? |sorry,? )?(?:i|we|you) (?:do|can|could) not (?:\w+ly )?see\b|\bnone of the\b",
        r"^(?:unfortunately,? |sorry,? )?no [\w' -]{1,50}? (?:is|are|can be|was|were|appears?)\b",
        r"^no (?:visible )?\w+(?: \w+)? (?:in|visible|present|shown)\b",
        r"\b(?:is|are|was|were) not (?:(?:wearing|holding|carrying|using|riding|reading|present)\b|(?:a|an|any) )",
        r"\bdo(?:es)? not have\b",
    ),
    Clause.COURTESY: (
        r"^(?:i am )?(?:so |very )?(?:sorry|unfortunately|my apologies|apologies|i apologi[sz]e)(?: for [\w ]{1,30})?$",
        r"^(?:great|good) question$",
    ),
    Clause.REASON: (
        rf"\btoo {_BAD_VIEW}\b|^(?:it|the (?:room|{PICTURE})) is (?:\w+ )?dark\b",
        (
            r"\b(?:is|are|was|quite|very|somewhat|a bit|the) (?:\w+ )?(?:blurr\w+|out of focus|hidden|obscured|cropped|cut off"
            r"|out of (?:the )?(?:frame|view)|covered|blocked|outside|facing away|turned away|closed|sealed|low[- ]resolution"
            r"|pixelated|off[- ](?:camera|screen|frame)|static|still|partially|partly)\b"
        ),
    ),
    Clause.CONTEXT: (
        (
            r"^(?:based (?:up)?on|from|in|looking at|judging (?:by|from)|given|according to|as far as|as seen in"
            r"|with|without|due to)\b"
            r"[\w' ]{0,40}$"
        ),
        (
            r"^the question (?:mentions|refers to|asks (?:about|for)|assumes|presupposes|(?:could|may"
            r"|might) (?:be about|refer to))\b"
        ),
    ),
    Clause.SCENE: (
        (
            rf"^(?:and |as )?(?:it|(?:the|this)(?: \w+)? ?{PICTURE}|what is (?:shown|visible)|the \w+ (?:shown|visible))"
            r"(?: (?:provided|you\w*|have|has|uploaded|shared|itself|only|simply|just|appears to|here))* (?:shows?|depicts?"
            r"|captures?|is of|presents|displays|features|focuses|contains|includes)\b"
        ),
        r"^(?:we|i|you|one) (?:can )?(?:only |just )?see\b|^(?:there (?:is|are) )?only\b|\b(?:is|are) (?:only )?visible$",
    ),
}
_PATTERNS = tuple((kind, any_of(*_PHRASES[kind])) for kind in Clause if kind in _PHRASES)
_CUES = (
    "not", "no ", "nothing", "nobody", "none", "unk", "uncl", "unce", "unde", "unan", "unid", "unsp", "unsu", "unab", "unre",
    "imposs", "indeter", "inconcl", "insuff", "indis", "illeg", "hard", "diffic", "tough", "tricky", "challeng", "lack",
    "ambig", "n/a", "idk", "guess", "specul", "requires", "need", "beyond", "outside", "too ", "fail", "barely", "information",
)  # fmt: skip
"""No abstaining clause is without one of these."""
_PATTERNS_WITHOUT_CUE = tuple((kind, pattern) for kind, pattern in _PATTERNS if kind not in ABSTAINING)

GUESS = re.compile(
    r"\b(?:likely|probabl[ey]|perhaps|maybe|possibl[ey]|appear\w*|seem\w*|might|may|could|suggest\w*|presumabl[ey]"
    r"|would (?:guess|say|estimate|assume)|guess|looks? like|estimate|around \d|approximately|roughly|if i had|assum\w+"
    r"|typically|usually|generally|often|plausibl[ey]|hint\w*|impl(?:y|ies))\b"
)
# Doubt that leaves several answers standing; "appears to be" and "probably" settle for one.
_TWO_IN_ONE = re.compile(
    r"\b(?:is|are|was|were|has|have|shows?|says?|reads?|wears?)\b.*\b(?:and|with)\b|.\b(?:which|whose|who|that)\b"
)
REPORTED = re.compile(r"\b(?:says?|reads?|reading|saying|labell?ed|titled|written|called|states?)\b")


def clause_kind(clause: str) -> Clause:
    """What a clause does.

    Args:
        clause: One clause in plain form, without punctuation around it.

    Returns:
        The first kind in the order of `Clause` whose phrases match; `STATEMENT` if none does.
    """
    for kind, pattern in _PATTERNS if contains_any(clause, *_CUES) else _PATTERNS_WITHOUT_CUE:
        match = pattern.search(clause)
        if match is None:
            continue
        before = clause[: match.start()]
        # "The sign says you cannot see ..." is read out; "A book whose title cannot be read" says that there is a book.
        if before and kind in ABSTAINING and (REPORTED.search(before) and not before.startswith("what")):
            return Clause.STATEMENT
        if before and kind in ABSTAINING and (GUESS.search(before) or _says_two_things(before)):
            return Clause.STATEMENT
        return kind
    return Clause.STATEMENT


def _says_two_things(before: str) -> bool:
    return _TWO_IN_ONE.search(before) is not None and re.search(_BAD_VIEW, before) is None
