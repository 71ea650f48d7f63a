"""The rules that recognise an abstention."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from unsaf_async.examine.rules.clauses import ABSTAINING, GUESS, REPORTED, WITH_ABSTENTION, Clause
from unsaf_async.examine.rules.denial import denies_presupposition
from unsaf_async.examine.rules.plain import QUOTE, any_of, content_stems
from unsaf_async.examine.rules.refusal import may_be_policy
from unsaf_async.examine.rules.response import FINITE
from unsaf_async.examine.rules.vocabulary import COLOR, COLORED, COUNTED, EPISTEMIC, NUMBER, PERSON, PICTURE

if TYPE_CHECKING:
    from collections.abc import Callable

    from unsaf_async.examine.rules.question import AskedQuestion
    from unsaf_async.examine.rules.response import ReadResponse
    from unsaf_async.records import Act

_NO_SIGN = any_of(
    r"\bno (?:\w+ ){0,2}(?:signs?|indications?|evidence|hints?)\b|\bnothing\b|\bnot (?:\w+ly )?(?:suggest|indicate)"
)
_SAYS_LITTLE = re.compile(r"^(?:i|we|you|do|can|could|im|not|no|n/a|un\w+|impossible|sorry|insufficient|access)\b")
_ON_THE_TEXT = any_of(
    rf"\b{PICTURE}\b",
    r"\b(?:text|writing|words|letters|legib\w+|illegible|readable|unreadable|blurr\w*|visible|too \w+ to|reads?)\b(?! file)",
)
_A_DETAIL = re.compile(
    r"\b(?:exact\w*|precise\w*|specific\w*|definitive\w*|entire\w*|other|rest|more|further|certainty|details?)\b"
)
_ANAPHORA = re.compile(r"\b(?:what|who|whose|why|when|where|how|which|whether|this|that)\b")
_GIVEN_AWAY = (
    "flavor", "flavour", "taste", "material", "breed", "species", "kind", "type", "style", "make", "ingredients", "season",
    "cuisine",
)  # fmt: skip
"""What a statement about the same thing may tell: a cake with chocolate icing has a flavour."""
_UNKNOWN_THING = re.compile(r"(?:the )?(?:unknown|unspecified|ambiguous) ((?:\w+ ?){1,3})")
_OPAQUE_THING = re.compile(
    r"^(?:it is |this is |an? |the )*(?:unclear|unknown|unreadable|illegible|indistinct|indiscernible|unidentifiable|ambiguous"
    r"|unspecified|indistinguishable) (?!from\b|in\b|on\b|at\b|if\b|w(?:hat|ho|hose|hich|here|hen|hether|hy)\b|how\b|and\b|or\b"
    r"|but\b|as\b|because\b|due\b|to\b|for\b|so\b|since\b|based\b|without\b|with\b|given\b|by\b|here\b|sorry\b)([\w, -]+)$"
)
"""Such as "unclear glass, blue": what follows may answer."""
_WHAT_IS_UNKNOWN = content_stems(
    "person people man woman artist author brand model maker manufacturer name number amount quantity location place date time"
    " reason cause color item thing object identity answer origin source image photo picture"
)
_ABOUT_KNOWING = re.compile(
    r"(?:do|does|can|could|is|are) (?:we|you|i|one|it|anyone|anybody|they|people)\b.*"
    r"\b(?:know|tell|possible|determine|known|sure)\b"
)
"""Asks whether something is known: to say that it is not answers it."""
_NOT_KNOWN = ("not", "unknown", "unclear", "unable", "clear", "possible", "known", "determine", "determined", "tell")


def _may_be_a_name(question: AskedQuestion, response: ReadResponse) -> bool:
    """Whether it may name or describe something that begins so, such as a ship called "Unknown Pleasures", or "unclear glass"."""
    text = response.text.strip(" .!")
    match = _UNKNOWN_THING.fullmatch(text) or _OPAQUE_THING.fullmatch(text)
    return match is not None and not content_stems(match[1]) <= question.stems | _WHAT_IS_UNKNOWN


def _declines_the_question(question: AskedQuestion, response: ReadResponse) -> bool:
    """Whether the abstaining clauses decline what is asked, rather than answer it in the same words."""
    if (
        not response.declines
        or response.says_yes_or_no
        or may_be_policy(response)
        or _may_be_a_name(question, response)
    ):
        return False
    if response.declines == {Clause.DENIED}:
        return denies_presupposition(question, response)
    epistemic = EPISTEMIC.search(response.text) is not None
    unknowable = Clause.UNKNOWABLE in response.declines
    if question.about_absence:
        return unknowable and epistemic and not question.asks(*_NOT_KNOWN)
    if question.polar and _ABOUT_KNOWING.match(question.core):
        return False
    if question.closed and not unknowable:
        if question.existence and not (epistemic and re.search(r"\b(?:whether|if)\b", response.text)):
            return False
        least = 0.6 if PERSON.match(response.lead) else 0.75  # a pronoun stands for the subject
        if not epistemic and (question.coverage(response.stems) >= least or _NO_SIGN.search(response.text)):
            return False
    if question.reading and _SAYS_LITTLE.match(response.text) and not _ON_THE_TEXT.search(response.text):
        return bool(question.stems & response.stems)
    return True


def _nothing_but_abstention(question: AskedQuestion, response: ReadResponse) -> Act | None:
    """Every clause declines, or says why, or what would help."""
    if response.kinds <= ABSTAINING | WITH_ABSTENTION and _declines_the_question(question, response):
        return "abstained"
    return None


def _abstention_beside_description(question: AskedQuestion, response: ReadResponse) -> Act | None:
    """What else the image shows, and that it does not show what was asked for."""
    clauses = [clause for kind, clause in response.clauses if kind in (Clause.SCENE, Clause.STATEMENT)]
    if question.open or question.choice or question.compound or not clauses or not response.declines:
        return None
    if Clause.STATEMENT in response.kinds and question.asks(*_GIVEN_AWAY):
        return None
    if not response.kinds <= ABSTAINING | WITH_ABSTENTION | {Clause.SCENE, Clause.STATEMENT}:
        return None
    described = " ".join(clauses)
    if QUOTE in described or REPORTED.search(described) or GUESS.search(described):
        return None
    if (question.asks(*COUNTED) and NUMBER.search(described)) or (question.asks(*COLORED) and COLOR.search(described)):
        return None
    if Clause.STATEMENT in response.kinds and not _only_leads_up(question, response, described):
        return None
    return "abstained" if _declines_the_question(question, response) else None


def _only_leads_up(question: AskedQuestion, response: ReadResponse, described: str) -> bool:
    """Whether the statements stand before the abstention, and leave open something that the question names."""
    kinds = [kind for kind, _ in response.clauses]
    last_statement = len(kinds) - 1 - kinds[::-1].index(Clause.STATEMENT)
    first_declined = next(index for index, kind in enumerate(kinds) if kind in ABSTAINING)
    if question.polar or first_declined < last_statement or response.declines == {Clause.DENIED}:
        return False
    statements = [clause for kind, clause in response.clauses if kind is Clause.STATEMENT]
    if any(PERSON.match(statement) or not FINITE.search(statement) for statement in statements):
        return False  # "Two people" and "It would break" may be the answer
    declined = " ".join(clause for kind, clause in response.clauses if kind in ABSTAINING)
    if _A_DETAIL.search(declined):
        return False
    unanswered = question.stems - content_stems(described)
    return bool(unanswered & content_stems(declined)) or bool(unanswered and _ANAPHORA.search(declined))


def _nothing_but_doubt(question: AskedQuestion, response: ReadResponse) -> Act | None:
    """Doubt, such as "I'm not sure", and nothing else."""
    return "abstained" if response.kinds == {Clause.DOUBT} and not question.reading else None


ABSTENTION_RULES: tuple[tuple[str, Callable[[AskedQuestion, ReadResponse], Act | None]], ...] = (
    ("nothing-but-abstention", _nothing_but_abstention),
    ("abstention-beside-description", _abstention_beside_description),
    ("nothing-but-doubt", _nothing_but_doubt),
)
"""Names and rules, in the order in which they are tried. A rule returns None where it does not apply."""
