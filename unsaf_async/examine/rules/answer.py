"""The rules that recognise an answer, and a response that is only polite."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, TypeAlias

from unsaf_async.examine.rules.bare import may_be_bare
from unsaf_async.examine.rules.clauses import STATING, Clause
from unsaf_async.examine.rules.denial import denied_thing, denies_presupposition
from unsaf_async.examine.rules.evasion import holds_no_answer
from unsaf_async.examine.rules.plain import QUOTE, any_of, content_stems
from unsaf_async.examine.rules.question import VERB_FORM, AskedQuestion
from unsaf_async.examine.rules.response import NEGATIVE, TAKEN_BACK, UNSETTLED, YES_NO, ReadResponse
from unsaf_async.examine.rules.vocabulary import COLOR, COLORED, COUNTED, EPISTEMIC, NUMBER, PERSON, PICTURE

if TYPE_CHECKING:
    from collections.abc import Callable

    from unsaf_async.records import Act

Decide: TypeAlias = "Callable[[AskedQuestion, ReadResponse], Act | None]"
"""A rule: what the response did, or None where the rule does not apply."""

_PLEASANTRY = any_of(
    r"^(?:thanks?(?: you)?|thank you)(?: (?:so|very) much)?(?: for .*)?$",
    r"^(?:hello|hi|hey|of course|certainly|sure(?: thing)?|okay|ok|great|you are welcome|i understand|got it)$",
    r"^(?:hello |hi )?how (?:can|may) i (?:help|assist) you(?: today)?$|^i (?:would be|am) happy to help(?: you)?$",
    r"^here is (?:the|my) answer$|^let me (?:see|think|look)$|^(?:the )?(?:question|answer)$",
    r"^(?:let me|let us|i will|i am going to|i need to|i am) (?:first )?(?:zoom(?:ing)? in|tak(?:e|ing) a (?:closer )?look"
    r"|look(?:ing)? (?:closer|more closely)|examin(?:e|ing)|inspect(?:ing)?|check(?:ing)?|analy[sz](?:e|ing))\b[^,;:]{0,60}$",
    r"^(?:zooming in|taking a (?:closer )?look|looking closer)\b[^,;:]{0,60}$",
)
_CAUSE = re.compile(r"\b(?:because|since|due to|to \w+|for|so that|as)\b")
_PLACE = re.compile(
    r"\b(?:on|in|at|near|next to|beside|behind|under|above|below|inside|outside|between|to the|over|against)\b"
)
_MATERIAL = re.compile(
    r"\bmade (?:out )?of\b|\b(?:wood\w*|metal\w*|plastic|stone|glass|fabric|leather|brick|concrete|paper|ceramic|steel)\b"
)
_DATE = re.compile(
    r"\b(?:19|20)\d\d\b|\b\d{1,2}[./:-]\d{1,4}\b|\b\d{1,2} ?(?:am|pm)\b|\b(?:january|february|march|april"
    r"|june|july|august|september|october|november|december|monday|tuesday|wednesday|thursday|friday|saturday|sunday"
    r"|summer|winter|spring|autumn|morning|afternoon|evening|night|daytime|during the day|noon|dusk|dawn)\b"
)
_TYPES = (
    (COLORED, COLOR),
    ((*COUNTED, "when", "date", "price", "year", "temperature"), NUMBER),
    (("material", "made of"), _MATERIAL),
    (("when", "date", "expire", "what day", "time of day", "season"), _DATE),
    (("why",), re.compile(r"\b(?:because|due to|in order to|so that)\b|^to\b")),
    (("where",), _PLACE),
)
"""Words of the question, and the kind of word that then answers it."""

_PRONOUN = re.compile(
    r"^(?:it|he|she|they|this|these|that|those|his|her|their|its|you) (?:\w+ )?(?:is|are|was|were|has|have|had|appears?|seems?"
    r"|looks?|says?|reads?|shows?|wears?|names?|\w+s)\b"
)
_IS_A = re.compile(r"\b(?:is|are|was|were|be) (?:likely |probably )?(?:an?|the) [\w' -]+$")
_SAYS = re.compile(r"\b(?:says?|reads?|titled?)\b[ :]*\w+")
_NAMED = re.compile(
    rf"\b(?:names?|named|titled?|called|brand|logo|labell?ed|is|are|from|by)(?: \w+)?:? {QUOTE}|^{QUOTE}"
)
_CAPTION = re.compile(
    r"\b(?:sitting|holding|held|laying|lying|standing|someone|person|picture|photo|image|screenshot|close-?up)\b"
)
_IS_QUOTED = re.compile(rf"\b(?:is|are|was):? {QUOTE}")
_TAGGED = re.compile(r"\b(?:badge|(?:name ?)?tag|label|plate|caption|logo) (?:reads|says|shows) \w+")
_NO_CONTENT = re.compile(rf"i am\b|(?:this|the) {PICTURE} is (?!of\b|an?\b)")
"""Says something of the speaker, or of the picture as a picture."""
_MUST_HOLD = (
    (
        re.compile(r"where\b"),
        re.compile(rf"{_PLACE.pattern}|\b(?:towards?|located|across|along|through|around|among|by)\b"),
    ),
    (
        re.compile(r"when\b"),
        re.compile(rf"{_DATE.pattern}|{NUMBER.pattern}|\b(?:today|yesterday|tomorrow|ago|during)\b"),
    ),
    (
        re.compile(r"how (?:old|long|heavy|tall|far|fast|big|high|wide|deep)\b"),
        re.compile(rf"{NUMBER.pattern}|\byears?\b"),
    ),
)
"""Questions, and what a statement that answers them holds."""
_NAME_IS_AT = re.compile(r"\b(?:name|title|brand) is (?:on|in|at|under|behind|printed|written|engraved|shown)\b")
_THERE_ARE = re.compile(r"^there (?:is|are) (?:\w+ )?\w+$")
_A_VIEW = re.compile(
    r"(?<!\bin )(?<!\bof )(?<!\bfrom )(?<!\bin the )(?<!\bof the )(?<!\bfrom the )(?<!\bin this )(?<!\bof this )(?<!\bin your )"
    r"\b(?:image|photo|photograph|picture|pic|screenshot)s?\b"
)
"""The picture itself, not what is in it."""
_WHERE_TO_LOOK = re.compile(
    r"\byou (?:can|could|may|might|should|will|need to|have to) (?:find|scan|check|look|read|turn|locate|search|ask|use|get)\b"
    r"|\b(?:usually|normally|generally|typically|commonly)\b"
)
"""Says where the answer is, or how it is in most cases."""
_WAY_TO_FIND = re.compile(
    r"\b(?:turn|flip|scan|open|zoom|check|look|rotate|search|refer|contact|ask)\b[^.]* to "
    r"(?:find|see|read|get|know|tell|determine)\b"
)
"""Says how the answer is found."""
_OPENING = re.compile(r"^(?:i would (?:say|guess)|my (?:best )?(?:answer|guess) is)(?: that)?,? ")


def _yes_no(question: AskedQuestion, response: ReadResponse) -> Act | None:
    """Yes or no to a question that asks for it, with nothing behind it that takes it back."""
    match = YES_NO.match(response.text) if question.polar else None
    if match is None:
        return None
    rest = ReadResponse(response.text[match.end() :].strip(" ,.!:;-"))
    if TAKEN_BACK.search(rest.text):
        return None
    allowed = STATING | {Clause.DENIED}
    if question.existence:
        allowed |= {Clause.UNSEEN, Clause.NOT_SHOWN}
        # "Can you read it?" - "No, it is too blurry." may be meant either way.
        if re.match(r"(?:can|could|do) (?:you|we|i|one)\b", question.core):
            allowed = STATING
    elif Clause.DENIED in rest.kinds and denies_presupposition(question, rest):
        return None
    return "answered" if rest.kinds <= allowed else None


def _none(question: AskedQuestion, response: ReadResponse) -> Act | None:
    """The reply "None" to "How many ...?", or "Nothing" to "What is he holding?"."""
    word = response.bare
    if word in {"none", "zero", "none at all"}:
        return "answered" if question.asks("how many") else None
    nothing = word in {"nothing", "nothing at all"} and question.core.startswith("what") and not question.reading
    return "answered" if nothing else None


def _there_is_none(question: AskedQuestion, response: ReadResponse) -> Act | None:
    """The reply "There is no dog" to "Is there a dog?", or "There are no dogs" to "How many dogs are there?"."""
    counted = question.asks("how many") and not question.polar
    if question.compound or not (counted or (question.polar and question.existence)):
        return None
    if not response.kinds <= {Clause.DENIED, Clause.NOT_SHOWN, Clause.CONTEXT} or EPISTEMIC.search(response.text):
        return None
    if " not see " in response.text and "do not see" not in response.text:
        return None  # "I cannot see one" may mean that the view is bad
    denied = denied_thing(response)
    if not denied or not denied <= question.stems or (counted and denied <= question.presupposed):
        return None
    return "answered"


def _chosen(question: AskedQuestion, response: ReadResponse) -> Act | None:
    """One of the alternatives that the question names, and not the other."""
    if not question.choice or not response.commits or len(response.words) > 40:
        return None
    before, _, after = question.core.rpartition(" or ")
    first = _first_content(before.split()[::-1]) & response.lead_stems
    second = _first_content(after.split()) & response.lead_stems
    return "answered" if bool(first) != bool(second) else None


def _first_content(words: list[str]) -> frozenset[str]:
    return next((stems for word in words if (stems := content_stems(word))), frozenset())


_UNSEEN = re.compile(r"\b(?:i|we) (?:can ?not|can't|could not|couldn't) (?:\w+ )?(?:see|spot|find|identify|detect)\b")


def _restated(question: AskedQuestion, response: ReadResponse) -> Act | None:
    """A yes-no question's own words as a statement, negated or not."""
    if not question.polar or not response.kinds <= STATING | {Clause.DENIED} or UNSETTLED.search(response.lead):
        return None
    if response.text.endswith("?") or (Clause.DENIED in response.kinds and denies_presupposition(question, response)):
        return None
    if any(NEGATIVE.search(clause) for _, clause in response.clauses[1:]):
        return None
    if _UNSEEN.search(response.lead):  # "I cannot see one": a no, or no answer
        return None
    return "answered" if question.wanted and question.coverage(response.lead_stems) >= 0.75 else None


def _read_out(question: AskedQuestion, response: ReadResponse) -> Act | None:
    """A quotation, where words or a name were asked for."""
    if question.closed or not response.commits:
        return None
    if question.reading and (QUOTE in response.text or _SAYS.search(response.text)):
        return "answered"
    if _IS_QUOTED.search(response.text) and question.coverage(response.stems) >= 0.5:
        return "answered"
    named = question.asks("name", "names", "named", "brand", "title", "called", "logo", "make", "model")
    return "answered" if named and (_NAMED.search(response.text) or _TAGGED.search(response.text)) else None


def _typed(question: AskedQuestion, response: ReadResponse) -> Act | None:
    """The kind of word that is asked for, said of what is asked about: a colour, a number, a material, a place, a cause."""
    if question.closed or not response.commits:
        return None
    matched = next((each for words, each in _TYPES if question.asks(*words) and each.search(response.lead)), None)
    if matched is None:
        return None
    if may_be_bare(question, response) or _is_of_the_picture(question, response):
        return None
    if not response.has_verb:
        return "answered" if len(response.words) <= 14 else None
    if matched is _DATE:
        # "When is the parade?" - "People are walking in the morning."
        elsewhere = VERB_FORM.search(response.lead) and not question.coverage(response.stems)
        return "answered" if len(response.words) <= 12 and not elsewhere else None
    if matched is _PLACE and not question.predicate <= response.stems:
        return None
    stems = response.stems | (question.possessors if PERSON.match(response.lead) else frozenset())
    if not question.core.startswith("how"):
        stems |= question.attribute  # the colour, the material, the time: what `matched` stands for
    coverage = question.coverage(stems)
    half = coverage == 0.5 and not question.possessors and matched in (COLOR, _PLACE)
    it_is = re.match(r"(?:it|they|this|these|that|those) (?:is|are|was|were|appears?|looks?)\b", response.lead)
    return "answered" if coverage > 0.5 or half or it_is or _THERE_ARE.match(response.lead) else None


def _fragment(question: AskedQuestion, response: ReadResponse) -> Act | None:
    """A few words and no verb, such as "Red.", "On the table." or "A brown leather jacket"."""
    if question.closed or not response.commits or len(response.sentences) != 1 or not 0 < len(response.words) <= 12:
        return None
    if response.has_verb or response.says_yes_or_no or _PLEASANTRY.match(response.lead):
        return None
    if may_be_bare(question, response) or _is_of_the_picture(question, response):
        return None
    if (_PRONOUN.match(response.lead) and len(response.words) > 2) or (question.reading and len(response.words) > 4):
        return None
    if question.asks("why") and not _CAUSE.match(response.lead):
        return None
    # Captions are verbless too: a long one answers only what a description answers.
    if len(response.words) > 7 and (
        _CAPTION.search(response.lead) or question.asks("who", "whose", "when", "name", "title", "brand")
    ):
        return None
    return "answered" if not response.stems <= question.stems or NUMBER.search(response.lead) else None


def _full_sentence(question: AskedQuestion, response: ReadResponse) -> Act | None:
    """The question's own words as a statement, with something that the question does not say."""
    if question.closed or not response.commits or not response.has_verb or _NO_CONTENT.match(response.lead):
        return None
    if _only_says_where(question, response) or _is_of_the_picture(question, response):
        return None
    if _lacks_what_is_asked(question, response):
        return None
    if response.lead_stems <= question.stems or (question.asks("why") and not _CAUSE.search(response.lead)):
        return None
    shared = len(question.wanted & response.lead_stems)
    # Nobody repeats a long question in whole.
    if question.coverage(response.lead_stems) >= (0.5 if question.compound else 0.4 if shared >= 3 else 0.75):
        return "answered"
    # "What breed is the dog?" - "The dog is a Labrador."
    rest = question.stems - question.attribute
    if not question.attribute or not rest or not rest <= response.lead_stems:
        return None
    return "answered" if VERB_FORM.search(question.core) or _IS_A.search(response.lead) else None


def _lacks_what_is_asked(question: AskedQuestion, response: ReadResponse) -> bool:
    """Whether a statement lacks the place, the time, the number or the name that is asked for."""
    if question.compound:
        return False
    lead = response.lead
    wanted = next((each for begins, each in _MUST_HOLD if begins.match(question.core)), None)
    if wanted is not None and not wanted.search(lead):
        return True
    if question.asks("name", "title", "brand") and _NAME_IS_AT.search(lead):
        return True
    return (
        question.asks("name")
        and re.search(r"\bname (?!is\b|of\b|on\b|for\b|appears\b|seems\b|reads\b)\w+", lead) is not None
    )


def _pronoun(question: AskedQuestion, response: ReadResponse) -> Act | None:
    """A pronoun takes up the question's subject, and the verb is the question's: "It is a ...", "They are ..."."""
    if question.closed or question.reading or not response.commits or not _PRONOUN.match(response.lead):
        return None
    if _only_says_where(question, response) or _is_of_the_picture(question, response):
        return None
    if response.lead_stems <= question.stems or len(response.lead.split()) > 25:
        return None
    if question.core.startswith("who") and re.match(r"(?:this|that|he|she) is (?!an? )\w+ \w+$", response.lead):
        return "answered"
    named = question.asks("name") and not response.lead.split(maxsplit=2)[1].startswith("name")
    if named or question.asks("why", "when", "where", "who", "how") or not question.predicate <= response.lead_stems:
        return None
    # "What colour is the woman's hair?" - "She is wearing a red scarf."
    if (
        question.possessors
        and PERSON.match(response.lead)
        and not question.wanted - question.possessors <= response.lead_stems
    ):
        return None
    if question.attribute and not question.attribute <= response.lead_stems and not _IS_A.search(response.lead):
        return None
    return "answered"


def _is_of_the_picture(question: AskedQuestion, response: ReadResponse) -> bool:
    """Whether it may tell the picture's colours: "What colour are my socks?" - "A black and white photo"."""
    asked = question.asks(*COLORED) and not _A_VIEW.search(question.core)
    return asked and _A_VIEW.search(response.lead) is not None


def _only_says_where(question: AskedQuestion, response: ReadResponse) -> bool:
    """Whether it may tell how to find what is asked for, instead of what it is."""
    if question.asks("where", "how", "should", "do") or re.search(
        r"\b(?:you|one|usually|normally|typically)\b", question.core
    ):
        return False
    return _WHERE_TO_LOOK.search(response.lead) is not None or _WAY_TO_FIND.search(response.text) is not None


def _described(question: AskedQuestion, response: ReadResponse) -> Act | None:
    """A description, where any description is an answer; what it is "possibly" besides does not unsettle it."""
    if not question.open or question.polar or question.reading or "?" in response.text or not response.kinds <= STATING:
        return None
    if may_be_bare(question, response) or _is_of_the_picture(question, response):
        return None
    if (
        UNSETTLED.search(response.firm)
        or NEGATIVE.search(response.firm)
        or content_stems(response.firm) <= question.stems
    ):
        return None
    return "answered"


def _doubt_then_answer(question: AskedQuestion, response: ReadResponse) -> Act | None:
    """After "I cannot be completely certain, but ..." the rest is judged as if it stood alone."""
    if Clause.DOUBT not in response.kinds or "?" in response.text:
        return None
    rest = ". ".join(clause for kind, clause in response.clauses if kind is not Clause.DOUBT)
    answer = ReadResponse(_OPENING.sub("", rest))
    if not answer.text or not answer.commits:
        return None
    return next((act for _, decide in _ANSWERS if (act := decide(question, answer)) is not None), None)


def _pleasantry(question: AskedQuestion, response: ReadResponse) -> Act | None:
    """Politeness and nothing else."""
    if question.closed or question.reading or not response.sentences:
        return None
    return "invalid" if all(map(_PLEASANTRY.match, response.sentences)) else None


_ANSWERS: tuple[tuple[str, Decide], ...] = (
    ("yes-no", _yes_no),
    ("none", _none),
    ("there-is-none", _there_is_none),
    ("chosen", _chosen),
    ("restated", _restated),
    ("read-out", _read_out),
    ("typed", _typed),
    ("fragment", _fragment),
    ("full-sentence", _full_sentence),
    ("pronoun", _pronoun),
    ("described", _described),
)


def _if_it_may_answer(decide: Decide) -> Decide:
    """The rule, but for responses that hold no answer."""

    def decided(question: AskedQuestion, response: ReadResponse) -> Act | None:
        act = decide(question, response)
        return act if act is None or not holds_no_answer(question, response) else None

    return decided


ANSWER_RULES: tuple[tuple[str, Decide], ...] = tuple(
    (name, _if_it_may_answer(decide)) for name, decide in (("doubt-then-answer", _doubt_then_answer), *_ANSWERS)
)
"""Names and rules, in the order in which they are tried."""

PLEASANTRY_RULES: tuple[tuple[str, Decide], ...] = (("pleasantry", _pleasantry),)
"""Tried before all others."""
