"""A question in plain form, and what kind of answer it calls for."""

from __future__ import annotations

import re
from functools import cached_property

from unsaf_async.examine.rules.plain import WORD, any_of, content_stems
from unsaf_async.examine.rules.vocabulary import CONTEXT, PICTURE

_AUXILIARY = r"(?:is|are|was|were|do|does|did|can|could|will|would|has|have|had|should|might|may|must|am)"
_THE = r"(?:the|this|that|these|those|his|her|their|its|my|your)"
_REQUEST = any_of(
    r"^(?:hi|hello|hey|please|so|ok(?:ay)?|and|also|again)\b[ ,.!]*",
    r"^(?:can|could|would|will) (?:you|somebody|someone|anyone)(?: please)? (?:tell|describe|say|identify|read|explain"
    r"|name|let|give|list|help|guess|estimate)\b(?: (?:me|us|know))?(?: please)? ?",
    r"^(?:tell|do you know|i (?:want|need|would like) to know)\b(?: me)? ?",
)
_POLAR = re.compile(rf"^(?:if|whether)\b|^{_AUXILIARY}(?: not)? (?!not\b)\w")
_OFFERS = re.compile(rf"(?:if |whether )?{_AUXILIARY}\b|which\b[^,]*, ")
_EXISTENCE = any_of(
    rf"^{_AUXILIARY}(?: not)? (?:there|you|we|i|one|anyone|(?:the|this) {PICTURE})\b",
    r"\b(?:visible|present|shown|seen|depicted|legible|readable|see|appear|any|anything|anyone|anybody|someone|somebody"
    r"|something)\b",
    rf"\bin (?:the|this) {PICTURE}",
)
_OPEN = any_of(
    r"^what(?: is|s| are| does)? (?:this|that|it|these|those|the|in|on)?\b ?(?:here|object|item|thing|product|picture"
    r"|image|photo|subject|exactly)?(?: about| show| of| be)?[ ?.!]*$",
    r"^what(?: is|s| are)? (?:this|that|these|those)\b(?: \w+){0,2}[ ?.!]*$",
    r"^what (?:is|are|do you see|can you see|can be seen)\b ?(?:in|on|inside)\b|^whats? (?:in|on)\b",
    r"^what is the (?:main |central |primary )?(?:subject|focus|topic|content)\b",
    r"^what (?:objects?|items?|things?|animals?)\b.*\b(?:in|on|visible)\b",
    r"\bdescribe\b",
)
_READING = re.compile(
    r"\b(?:say|says|said|saying|read|reads|written|writes?|wrote|ticked|circled|typed|entered|answered|chose|shout\w*"
    r"|yell(?:s|ed|ing)?|slogan|motto|text|titled?|words?|label|caption|spell|spelled|letters?"
    r"|inscription|message|engraved|printed)\b"
)
_SUBJECT = re.compile(rf"\b{_AUXILIARY} (.*)")
_DEFINITE = re.compile(rf"(?:\b{_THE}|'s) (?=((?:[\w-]+ ?){{1,3}}))")
_ATTRIBUTE = any_of(
    r"^(?:and )?(?:what|which|whose|how) ((?:\w+ ){1,3}?)(?:is|are|was|were|does|do|did|has|have) "
    rf"(?:{_THE}|it|he|she|they)\b",
    r"^what is the (\w+ )of (?:the|this|that)\b",
)
_REPLACED = re.compile(r"^(?:what|which|whose) ((?:\w+ ){1,3}?)(?:is|are|was|were|can|does|do|has|have|appears?)\b")
_POSSESSOR = re.compile(r"\b([\w-]+)'s\b")
VERB_FORM = re.compile(
    r"\b(?!doing|during|being|building|ceiling|evening|morning|painting|clothing|something|anything|nothing|wedding"
    r"|railing)(\w{2,}ing)\b"
)
_FULL_VERB = re.compile(r"\b(?:do|does|did|will|would|can|could|should|has|have)\b")
_ABOUT_ABSENCE = re.compile(
    r"\bnot\b|\bunknown|\bunable|\bmissing|\bhidden|\babsent|\bvisible|\blegible|\breadable|blur|\bunclear|\bobscured"
    r"|\bfocus|\bcovered|\black|\bempty|\bwrong with|\bcut off|\bcropped|\bseen\b|\bclear\b|\bpossible\b|\bknown\b"
    r"|\bdetermined?\b|\btell\b"
)
_AND_ALSO = re.compile(
    rf"\b(?:and|or) (?:what|which|who|where|when|why|how|{_AUXILIARY} (?:it|they|he|she|there|{_THE}))\b"
)
_A_PICTURE = re.compile(rf"\b{PICTURE}\b")
_IN_THE_PICTURE = re.compile(rf"\b(?:in|from|of|on|about|at|does|is|what) (?:the|this|that|your|my) {PICTURE}\b")


class AskedQuestion:
    """A question in plain text, and what kind of answer it calls for."""

    def __init__(self, text: str) -> None:
        self.text = text
        core = text
        mark = text.find("?")
        if mark == text.rfind("?") >= 0:  # the sentence that asks, without what stands around it
            before = max(text.rfind(". ", 0, mark), text.rfind("! ", 0, mark))
            core = text[before + 2 if before >= 0 else 0 : mark + 1]
        while request := _REQUEST.match(core):
            core = core[request.end() :]
        context = CONTEXT.match(core)
        self.core = core[context.end() :] if context else core
        """The question itself: without greetings, "Can you tell me" and "In the image,"."""

    @cached_property
    def polar(self) -> bool:
        """Whether "yes" or "no" answers it."""
        return _POLAR.match(self.core) is not None and not self.choice and self.text.count("?") < 2

    @cached_property
    def choice(self) -> bool:
        """Whether it names the alternatives."""
        return " or " in self.core and " or not" not in self.core and _OFFERS.match(self.core) is not None

    @cached_property
    def compound(self) -> bool:
        """Whether it asks for two things: its main point may be answered in half of its words."""
        return self.text.count("?") > 1 or _AND_ALSO.search(self.core) is not None

    @cached_property
    def closed(self) -> bool:
        """Whether it is one of the two."""
        return self.polar or self.choice

    @cached_property
    def existence(self) -> bool:
        """Whether saying that something is not there, or not visible, is itself an answer."""
        return _EXISTENCE.search(self.core) is not None

    @cached_property
    def open(self) -> bool:
        """Whether any description answers it."""
        return _OPEN.search(self.core) is not None

    @cached_property
    def reading(self) -> bool:
        """Whether it asks for words that stand in the image: any sentence may then be one that is read out."""
        return _READING.search(self.core) is not None

    @cached_property
    def about_absence(self) -> bool:
        """Whether it asks what is absent, hidden or unclear: the words of an abstention may then be an answer."""
        return _ABOUT_ABSENCE.search(self.core) is not None

    @cached_property
    def asks_of_a_picture(self) -> bool:
        """Whether a picture is what it asks about, and not only where the answer is to be looked for."""
        return _A_PICTURE.search(_IN_THE_PICTURE.sub("", self.text)) is not None

    @cached_property
    def stems(self) -> frozenset[str]:
        """What it is about."""
        return content_stems(self.core)

    @cached_property
    def attribute(self) -> frozenset[str]:
        """What is asked of the subject: "brand" in "What brand is the car?"; none in "What animal is on the sofa?"."""
        match = _ATTRIBUTE.search(self.core)
        return content_stems(match[1] or match[2]) if match else frozenset()

    @cached_property
    def wanted(self) -> frozenset[str]:
        """The stems that a whole-sentence answer repeats: all but what it replaces ("animal", in the example above)."""
        match = _REPLACED.search(self.core)
        return self.stems - (content_stems(match[1]) - self.attribute) if match else self.stems

    @cached_property
    def possessors(self) -> frozenset[str]:
        """Those whose something is asked for: "dog" in "the dog's collar". An answer may call them he, she or it."""
        return content_stems(" ".join(_POSSESSOR.findall(self.core)))

    @cached_property
    def predicate(self) -> frozenset[str]:
        """The verb that an answer with a pronoun repeats: "think" in "What is he thinking about?"."""
        match = VERB_FORM.findall(self.core)
        if match:
            return content_stems(" ".join(match))
        words = [word for word in self.subject if content_stems(word)]
        return content_stems(words[-1]) if words and _FULL_VERB.search(self.core) else frozenset()

    @cached_property
    def presupposed(self) -> frozenset[str]:
        """What it takes for granted: its definite noun phrases."""
        return content_stems(" ".join(_DEFINITE.findall(self.core)))

    @cached_property
    def subject(self) -> list[str]:
        """The words behind the first verb, in order."""
        match = _SUBJECT.search(self.core)
        return WORD.findall(match[1]) if match else []

    @cached_property
    def words(self) -> frozenset[str]:
        """Its words."""
        return frozenset(WORD.findall(self.core))

    def asks(self, *words: str) -> bool:
        """Whether one of several words stands in it.

        Args:
            words: Words, or phrases of several words, in plain form.

        Returns:
            False without any word.
        """
        return any(word in self.core if " " in word else word in self.words for word in words)

    def coverage(self, stems: frozenset[str]) -> float:
        """The share of the question's content that a text takes up.

        Args:
            stems: The text's content words.

        Returns:
            In [0, 1]; 1 if the question has no content.
        """
        return len(self.wanted & stems) / len(self.wanted) if self.wanted else 1.0
