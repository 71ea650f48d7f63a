"""A response in plain form, read into sentences and clauses."""

from __future__ import annotations

import re
from functools import cached_property

from unsaf_async.examine.rules.clauses import ABSTAINING, AFTER_ANSWER, STATING, Clause, clause_kind
from unsaf_async.examine.rules.plain import WORD, any_of, bare_words, content_stems
from unsaf_async.examine.rules.vocabulary import CONTEXT

_SENTENCE_END = re.compile(r"(?<=[.!?;:])\s+|\n+|;")
_CLAUSE_END = any_of(
    r" ?[—–(] ?| - |,$",
    r",? ?\b(?:but|however|although|though|yet|whereas|nevertheless|nonetheless|while|and so|because|since"
    r"|as (?=(?:the|it|there|this|no)\b)|so (?=(?:i|it|the|we|there|this|that|its|his|her|their|no|one|you|what|who)\b))"
    r"\b,? ?",
    r", (?:and )?(?=(?:it|he|she|they|this|that|these|those|i|we|you|there|his|her|its|the|their|my|no|not|nor|neither"
    r"|nothing|only|which|probably|likely|possibly|perhaps|maybe|most)\b)",
    r", so (?=\w)|(?:(?<=\bunknown)|(?<=\bunclear)|(?<=\bnot sure)) so (?=\w)",
    r"(?:(?<=\bnot know)|(?<=\bno idea)|(?<=\bno clue)|(?<=\bunknown)|(?<=\bunsure)|(?<=\bnot sure)), (?=[\w ]+$)",
    r" and (?=(?:it|i|there|they|he|she|(?:the|its) \w+ (?:is|are|can|does))\b)",
)
UNSETTLED = re.compile(
    r"\b(?:might|may|could|perhaps|maybe|possibly|depends|either|guess|unsure|unless|somewhere|anything|something"
    r"|someone|somebody|un(?:identif|recogni|read)\w+"
    r"|whether|an? (?:\w+ )?(?:closed|sealed|blurr\w+))\b"
)
NEGATIVE = re.compile(
    r"(?<!with )(?<!and )\b(?:no|not|none|nothing|never|nobody|unknown|unanswerable|neither|n/a|idk)\b|^na\b"
)
YES_NO = re.compile(
    r"^(?:yes|no|yeah|yep|nope|yup|correct|indeed|definitely|absolutely|true|false)\b(?:$|[,.!:;\n]| -| —| –)"
    r"|^(?:yes|no) (?=(?:there|it|the|he|she|they|this|that|i|these|those|its|his|her|you)\b)"
)
TAKEN_BACK = re.compile(
    r"\b(?:but|however|though|although|yet)\b[^.!?]{0,60}?\b(?:it|this|that|he|she|they) (?:might|may|could) "
    r"(?:also |just |well )?be\b"
    r"|\b(?:digit|letter|number|word|count|figure)s? (?:is|are|was|were|may|might|could) not (?:be )?(?:\w+ly )?"
    r"(?:clear|certain|sure|accurate|legible|readable)\b"
)
"""Says that an answer just given may be another."""
_AFTERTHOUGHT = re.compile(r",? (?:and )?(?:possibly|perhaps|maybe|likely|which (?:may|might|could))\b")
FINITE = re.compile(
    r"\b(?:reads|says|shows|wears|stands|sits|lies|looks|seems|appears?|contains|holds|is|are|was|were|am|has|have|had|does"
    r"|do|did|can|could|will|would|i|you|we)\b"
)


class ReadResponse:
    """A response in plain text, and what its clauses do."""

    def __init__(self, text: str) -> None:
        self.text = text

    @cached_property
    def sentences(self) -> list[str]:
        """Its sentences, without punctuation at their ends."""
        parts = (part.strip(" .!?;:,-") for part in _SENTENCE_END.split(self.text))
        return [part for part in parts if part]

    @cached_property
    def clauses(self) -> list[tuple[Clause, str]]:
        """Its clauses in order, each with its kind."""
        parts = (part.strip(" ,.!?;:-()") for sentence in self.sentences for part in _CLAUSE_END.split(sentence))
        return [(clause_kind(part), part) for part in parts if part]

    @cached_property
    def kinds(self) -> frozenset[Clause]:
        """Which kinds of clause occur."""
        return frozenset(kind for kind, _ in self.clauses)

    @cached_property
    def words(self) -> list[str]:
        """Its words."""
        return WORD.findall(self.text)

    @cached_property
    def bare(self) -> str:
        """Its words, with single spaces between them."""
        return bare_words(self.text)

    @cached_property
    def stems(self) -> frozenset[str]:
        """Its content words."""
        return content_stems(self.text)

    @cached_property
    def lead(self) -> str:
        """The first sentence, without "Based on the image,"."""
        lead = self.sentences[0] if self.sentences else ""
        context = CONTEXT.match(lead)
        return lead[context.end() :] if context else lead

    @cached_property
    def firm(self) -> str:
        """The first sentence up to what it is "possibly" besides."""
        return _AFTERTHOUGHT.split(self.lead, maxsplit=1)[0]

    @cached_property
    def lead_stems(self) -> frozenset[str]:
        """Content words of the first sentence."""
        return content_stems(self.lead)

    @cached_property
    def has_verb(self) -> bool:
        """Whether the first sentence is a sentence, as far as common verbs tell."""
        return FINITE.search(self.lead) is not None

    @cached_property
    def declines(self) -> frozenset[Clause]:
        """The kinds of abstaining clause in it."""
        return self.kinds & ABSTAINING

    @cached_property
    def commits(self) -> bool:
        """Whether the first sentence settles for something, and nothing behind it takes it back."""
        if (
            "?" in self.text
            or UNSETTLED.search(self.firm)
            or NEGATIVE.search(self.lead)
            or TAKEN_BACK.search(self.text)
            or not self.kinds <= AFTER_ANSWER | STATING
        ):
            return False
        if self.kinds <= STATING:
            return True
        return ReadResponse(self.sentences[0]).kinds <= STATING

    @cached_property
    def says_yes_or_no(self) -> bool:
        """Whether it begins with a yes or a no."""
        return YES_NO.match(self.text) is not None
