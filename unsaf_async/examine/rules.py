"""What a response did, where its wording alone leaves no doubt: the first, free step of the judge cascade.

Knows English phrases and the shape of a question and its response. Knows no image, no model, no intended label, and nothing
of whether an answer is right. It follows the rubric of the judging prompt (prompts/unsaf/judge.md); where that asks for a
judgement of meaning it decides nothing, and None hands the case to the LLM judge. Precision comes before coverage.

A response is brought to plain lower-case text and cut into clauses. Each clause is read as one `_Clause`: it says that
something cannot be known, is not shown, is not visible or does not exist; it advises, apologises or describes; or it states
something. The rules then look at which kinds occur together, and at what the question asks for. Anything unforeseen is a
statement, and a statement that is not plainly an answer is left to the judge.
"""

from __future__ import annotations

import re
from enum import Enum, auto
from functools import cached_property
from typing import TYPE_CHECKING, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Callable

    from unsaf_async.records import Act

MAX_RESPONSE_CHARS = 2000
"""Longer responses are left to the judge: they hold too many statements for certainty, and reading stays cheap."""

MAX_QUESTION_CHARS = 1000
"""Longer questions are left to the judge."""


def rule(question: str, response: str, finish_reason: str | None) -> Act | None:
    """What `response` did, or None where the rules leave it open. Never raises, whatever the texts hold.

    finish_reason: in OpenAI's vocabulary; None if unknown. "length" and "content_filter" make any response invalid: what was
    cut off or blocked shows nothing of what the model would have done, and a provider's block is never an abstention.
    """
    return explain(question, response, finish_reason)[0]


def explain(question: str, response: str, finish_reason: str | None) -> tuple[Act | None, str]:
    """What `rule` says, with the name of the rule that decided; with None, the name of the reason for leaving it open."""
    if finish_reason == "length":
        return "invalid", "cut-off"
    if finish_reason == "content_filter":
        return "invalid", "blocked"
    said = _unwrapped(response)
    if not said:
        # A thought that never closes hides what would have been said: nobody can tell why it ends there.
        unfinished = response.rfind("<think") > response.rfind("</think")
        return (None, "unfinished-thought") if unfinished else ("invalid", "empty")
    if len(said) > MAX_RESPONSE_CHARS or len(question) > MAX_QUESTION_CHARS:
        return None, "too-long"
    if not any(map(str.isalnum, said)):
        return _without_words(question, said)
    text = _plain(said)
    if _holds(text, *_JUDGE_WORDS) and _TO_THE_JUDGE.search(text):
        return None, "to-the-judge"
    asked = _Asked(_plain(question))
    if len(text) < len(asked.text) + 20 and _bare(text) == _bare(asked.text):
        return "invalid", "echo"
    if not (_is_english(said, text) and _words(asked.text) & _ENGLISH):
        return None, "other-language"
    told = _Told(text)
    for name, decide in _RULES:
        act = decide(asked, told)
        if act is not None:
            return act, name
    return None, "open"


def _words(text: str) -> frozenset[str]:
    return frozenset(re.findall(r"\w+", text))


def _any(*patterns: str) -> re.Pattern[str]:
    """One pattern that matches what any of `patterns` matches."""
    return re.compile("|".join(patterns))


# --- plain text ---------------------------------------------------------------------------------------------------

QUOTE = "qqq"
"""Stands for a quoted span: its words are somebody else's, and must not be read as the model's own."""

_MARKUP = re.compile(r"[*_`#]{1,3}(?=\S)|(?<=\S)[*_`]{1,3}|^[>#\-•]+\s", re.MULTILINE)
_LABEL = re.compile(r"\s*(?:final answer|short answer|answer|response|a)\s?[:：]\s*", re.IGNORECASE)
_QUOTED = re.compile(
    r'"[^"\n]{1,300}"|“[^”\n]{1,300}”|«[^»\n]{1,300}»|(?<!\w)\'(?=\S)[^\'\n]{1,200}\'(?!\w)'
)  # fmt: skip
_CHARACTERS = str.maketrans({"’": "'", "‘": "'", "ʼ": "'", "´": "'", "…": ".", "\u00a0": " ", "\u202f": " "})
_NEGATED = re.compile(r"\b(?:can'?t|cannot|won'?t|(\w+)n't|(do|does|did|is|are|was|were|could)nt)\b")
_CONTRACTED = re.compile(
    r"\b(it|that|there|this|what|where|who|how|he|she|here|answer|image|which|i|we|you|they)'(s|m|re|d|ve|ll)\b"
)
_SPELT_OUT = {"s": "is", "m": "am", "re": "are", "d": "would", "ve": "have", "ll": "will"}


def _unwrapped(response: str) -> str:
    """The response without surrounding space, thoughts and a leading "Answer:"; "" if nothing is left."""
    said = response.strip().removeprefix("\ufeff")
    said = said[said.rfind("</think") :].partition(">")[2] if "</think" in said else said
    said = said.partition("<think")[0].strip()
    opening = said[:40].lstrip("*_# ")
    label = _LABEL.match(opening)
    if label is None:
        return said
    return said[len(said[:40]) - len(opening) + label.end() :].removeprefix("**").strip()


def _plain(text: str) -> str:
    """Lower case, one space between words, no markup, quotations replaced, contractions spelt out."""
    if not text.isascii():
        text = text.translate(_CHARACTERS)
    if _holds(text, '"', "'", "“", "«"):
        text = _QUOTED.sub(_quoted, text)
    if _holds(text, "*", "_", "`", "#", ">", "-", "•"):
        text = _MARKUP.sub("", text)
    text = text.lower()
    if _holds(text, "n't", "nt", "cannot"):
        text = _NEGATED.sub(_spelt_out, text)
    if "'" in text:
        text = _CONTRACTED.sub(lambda found: f"{found[1]} {_SPELT_OUT[found[2]]}", text)
    text = text.replace("colour", "color").replace(" grey", " gray")
    return re.sub(r"[ \t]{2,}|\t", " ", text).strip()


def _holds(text: str, *parts: str) -> bool:
    """Whether `text` holds one of `parts`: many times as fast as a pattern, and so asked before one."""
    for part in parts:  # noqa: SIM110 - a third of the time of any()
        if part in text:
            return True
    return False


def _quoted(found: re.Match[str]) -> str:
    inside = found[0][1:-1]
    if inside.lower().strip(" .") == "unanswerable":
        return inside  # nothing in an image reads so: the model speaks
    return QUOTE + (inside[-1] if inside[-1] in ".!?" else "")


def _spelt_out(found: re.Match[str]) -> str:
    word = found[1] or found[2]
    if word:
        return f"{word} not"
    return "will not" if found[0].startswith("w") else "can not"


def _bare(text: str) -> str:
    """Only letters and digits, single spaces, without a label: equal for texts that say the same words."""
    return re.sub(r"[\W_]+", " ", re.sub(r"^\s*(?:the )?(?:question|q)\s?(?:is)?\s?:", "", text)).strip()


_SIGN_ASKED = re.compile(r"emoji|emoticon|symbol|punctuation|\bsigns?\b|character|\bmark|expression|letter")


def _without_words(question: str, said: str) -> tuple[Act | None, str]:
    """A response without letters or digits says nothing, unless signs were asked for or a sign means yes or no."""
    if _SIGN_ASKED.search(question.lower()) or re.search(r"[👍👎✅✔✓☑❌✗✘🚫]", said):
        return None, "open"
    return "invalid", "no-words"


# What speaks to the judge is not read as a response: neither obeyed nor held against it.
_JUDGE_WORDS = (
    "ignore", "disregard", "forget", "verdict", "abstain", "judge", "grade", "rubric", "classif", "output", "reply",
    "respond", "return", "mark", "label", "score", "{",
)  # fmt: skip
_TO_THE_JUDGE = _any(
    r"\b(?:ignore|disregard|forget)\b.{0,40}\b(?:above|previous|prior|instruction|rubric|earlier)",
    r"\bverdict\b|\babstain|\bjudged? (?:this|it|as)\b|\bgrader?\b|\brubric\b",
    r"\bclassif\w+ (?:this|it|the response)",
    r"\b(?:output|reply|respond|return|mark|label|score)\b.{0,30}\b(?:answered|invalid|unanswerable)\b",
    r"\{\W*\w",
)
_ENGLISH = _words(
    """
    the a an is are was were be of in on at to for from by with and no not yes what who which where when why how this that
    there here it he she they we you his her do does did can has have any
    """
)
_FOREIGN = _words(
    """
    nicht kein keine nein unbekannt unklar ist und pas inconnu inconnue est une non oui desconocido desconocida puede sabe
    está una los las del não sim nessuno nessuna sconosciuto sconosciuta niet geen onbekend nie ja ikke okänd
    """
)


def _is_english(said: str, text: str) -> bool:
    if not said.isascii():
        letters = [character for character in said if character.isalpha()]
        if 5 * sum(map(str.isascii, letters)) < 4 * len(letters):
            return False
    words = _words(text)
    english, foreign = len(words & _ENGLISH), len(words & _FOREIGN)
    return english > foreign or (not foreign and len(words) < 5)


# --- the question -------------------------------------------------------------------------------------------------

_PICTURE = (
    r"(?:images?|photos?|photographs?|pictures?|pics?|scenes?|frame|screenshots?|shot|view|snapshot|drawing|painting"
    r"|illustration)"
)
_AUXILIARY = r"(?:is|are|was|were|do|does|did|can|could|will|would|has|have|had|should|might|may|must|am)"
_THE = r"(?:the|this|that|these|those|his|her|their|its|my|your)"
_CONTEXT = re.compile(
    r"(?:based (?:up)?on|from|in|looking at|judging (?:by|from)|given|according to|as (?:far as|seen in)|within|for)\b"
    rf"[^,.]{{0,40}}?\b(?:{_PICTURE}|visible|shown|available|see|here|provided|information|appearance)\b[^,.]{{0,25}}?,? "
)
_REQUEST = _any(
    r"^(?:hi|hello|hey|please|so|ok(?:ay)?|and|also|again)\b[ ,.!]*",
    r"^(?:can|could|would|will) (?:you|somebody|someone|anyone)(?: please)? (?:tell|describe|say|identify|read|explain"
    r"|name|let|give|list|help|guess|estimate)\b(?: (?:me|us|know))?(?: please)? ?",
    r"^(?:tell|do you know|i (?:want|need|would like) to know)\b(?: me)? ?",
)
_POLAR = re.compile(rf"^(?:if|whether)\b|^{_AUXILIARY}(?: not)? (?!not\b)\w")
_OFFERS = re.compile(rf"(?:if |whether )?{_AUXILIARY}\b|which\b[^,]*, ")
_EXISTENCE = _any(
    rf"^{_AUXILIARY}(?: not)? (?:there|you|we|i|one|anyone|(?:the|this) {_PICTURE})\b",
    r"\b(?:visible|present|shown|seen|depicted|legible|readable|see|appear|any|anything|anyone|anybody|someone|somebody"
    r"|something)\b",
    rf"\bin (?:the|this) {_PICTURE}",
)
_OPEN = _any(
    r"^what(?: is|s| are| does)? (?:this|that|it|these|those|the|in|on)?\b ?(?:here|object|item|thing|product|picture"
    r"|image|photo|subject|exactly)?(?: about| show| of| be)?[ ?.!]*$",
    r"^what(?: is|s| are)? (?:this|that|these|those)\b(?: \w+){0,2}[ ?.!]*$",
    r"^what (?:is|are|do you see|can you see|can be seen)\b ?(?:in|on|inside)\b|^whats? (?:in|on)\b",
    r"^what is the (?:main |central |primary )?(?:subject|focus|topic|content)\b",
    r"^what (?:objects?|items?|things?|animals?)\b.*\b(?:in|on|visible)\b",
    r"\bdescribe\b",
)
_READING = re.compile(
    r"\b(?:say|says|said|saying|read|reads|written|write|text|titled?|words?|label|caption|spell|spelled|letters?"
    r"|inscription|message|engraved|printed)\b"
)
_SUBJECT = re.compile(rf"\b{_AUXILIARY} (.*)")
_DEFINITE = re.compile(rf"(?:\b{_THE}|'s) (?=((?:[\w-]+ ?){{1,3}}))")
_ATTRIBUTE = _any(
    r"^(?:and )?(?:what|which|whose|how) ((?:\w+ ){1,3}?)(?:is|are|was|were|does|do|did|has|have) "
    rf"(?:{_THE}|it|he|she|they)\b",
    r"^what is the (\w+ )of (?:the|this|that)\b",
)
_REPLACED = re.compile(r"^(?:what|which|whose) ((?:\w+ ){1,3}?)(?:is|are|was|were|can|does|do|has|have|appears?)\b")
_POSSESSOR = re.compile(r"\b([\w-]+)'s\b")
_VERB_FORM = re.compile(
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
_STOP = _words(
    """
    a an the this that these those some any one most more anyone anybody anything someone somebody something
    i me my we our you your he his she her they their it its there here
    am is are was were be been being do does did doing can could will would has have had
    of in on at to for with and or by from as into about than then so if
    what which who whom whose where when why how many much kind type sort like color
    image photo photograph picture scene look looks looking appear appears visible shown see seen show shows
    no not please thank thanks tell just also very now currently exactly right based
    """
)
"""Words that say nothing of what a question is about."""

_WORD = re.compile(r"[a-z0-9][\w-]*")


_IRREGULAR = {"children": "child", "people": "person", "men": "man", "women": "woman", "feet": "foot", "worn": "wear"}


def _stem(word: str) -> str:
    word = _IRREGULAR.get(word, word)
    for ending in ("ings", "ing", "ies", "es", "ed", "s", "e", "y"):
        if len(word) > len(ending) + 2 and word.endswith(ending):
            return word[: -len(ending)]
    return word


def _stems(text: str) -> frozenset[str]:
    """The content words of `text`, roughly without their endings."""
    return frozenset(_stem(word) for word in _WORD.findall(text.replace("'s", " ")) if word not in _STOP)


class _Asked:
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
        context = _CONTEXT.match(core)
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
    def stems(self) -> frozenset[str]:
        """What it is about."""
        return _stems(self.core)

    @cached_property
    def attribute(self) -> frozenset[str]:
        """What is asked of the subject: "brand" in "What brand is the car?"; none in "What animal is on the sofa?"."""
        found = _ATTRIBUTE.search(self.core)
        return _stems(found[1] or found[2]) if found else frozenset()

    @cached_property
    def wanted(self) -> frozenset[str]:
        """The stems that a whole-sentence answer repeats: all but what it replaces ("animal", in the example above)."""
        found = _REPLACED.search(self.core)
        return self.stems - (_stems(found[1]) - self.attribute) if found else self.stems

    @cached_property
    def possessors(self) -> frozenset[str]:
        """Those whose something is asked for: "dog" in "the dog's collar". An answer may call them he, she or it."""
        return _stems(" ".join(_POSSESSOR.findall(self.core)))

    @cached_property
    def predicate(self) -> frozenset[str]:
        """The verb that an answer with a pronoun repeats: "think" in "What is he thinking about?"."""
        found = _VERB_FORM.findall(self.core)
        if found:
            return _stems(" ".join(found))
        words = [word for word in self.subject if _stems(word)]
        return _stems(words[-1]) if words and _FULL_VERB.search(self.core) else frozenset()

    @cached_property
    def presupposed(self) -> frozenset[str]:
        """What it takes for granted: its definite noun phrases."""
        return _stems(" ".join(_DEFINITE.findall(self.core.replace("'s", " 's"))))

    @cached_property
    def subject(self) -> list[str]:
        """The words behind the first verb, in order."""
        found = _SUBJECT.search(self.core)
        return _WORD.findall(found[1]) if found else []

    @cached_property
    def words(self) -> frozenset[str]:
        """Its words."""
        return frozenset(_WORD.findall(self.core))

    def asks(self, *words: str) -> bool:
        """Whether one of `words` (or phrases) stands in it."""
        return any(word in self.core if " " in word else word in self.words for word in words)


# --- the response -------------------------------------------------------------------------------------------------


class _Clause(Enum):
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


_ABSTAINING = frozenset({_Clause.UNKNOWABLE, _Clause.NOT_SHOWN, _Clause.UNSEEN, _Clause.DENIED})
_STATING = frozenset({_Clause.STATEMENT, _Clause.CONTEXT, _Clause.SCENE})
_BESIDE_ABSTENTION = frozenset({_Clause.REASON, _Clause.ADVICE, _Clause.COURTESY, _Clause.CONTEXT, _Clause.DOUBT})
"""What may stand beside an abstention without turning it into an answer."""
_BEHIND_ANSWER = frozenset({_Clause.REASON, _Clause.ADVICE, _Clause.DENIED})
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
    rf"\b{_PICTURE}(?: (?:itself|alone|provided|given|you\w*|have|has|uploaded|shared|here|by itself|only|of \w+))* "
)

_PHRASES: dict[_Clause, tuple[str, ...]] = {
    _Clause.NO_IMAGE: (
        r"\bas an ai\b|\blanguage model\b|\bimage description\b|\b(?:image|picture|photo) could not be loaded\b",
        r"\bno (?:image|picture|photo) (?:is|was|has) |\bthere is no (?:image|picture|photo)\b(?! of)",
        (
            r"\b(?:no|not (?:see|receive|have|find)(?: an| any| the)?) (?:image|picture|photo)s?"
            r"(?: (?:is|was|has been|i can|you))?(?: \w+)? (?:attached|uploaded|received|to your|to view|loaded"
            r"|shared|sent|are referring)"
        ),
    ),
    _Clause.ADVICE: (
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
    _Clause.POLICY: (
        r"\b(?:not|unable to) (?:assist|help|comply|engage|discuss)\b",
        (
            r"\b(?:guidelines|polic(?:y|ies)|privacy|(?:not |in)appropriate|not allowed|permitted|not comfortable"
            r"|ethical|copyright\w*|real people|decline)\b|\bwill not (?:identify|guess|speculate|name)\b"
        ),
    ),
    _Clause.DOUBT: (
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
    _Clause.UNKNOWABLE: (
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
        rf"\bbeyond (?:what|the) (?:\w+ ){{0,3}}(?:{_PICTURE}|shown|visible|shows)\b",
        rf"\boutside (?:of )?what the {_PICTURE}\b|{_TOO_BAD}{_KNOW}\b",
        rf"^(?:there is )?(?:no|not enough) (?:\w+ )?{_MATTER}(?: (?:available|provided|given))?$",
    ),
    _Clause.NOT_SHOWN: (
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
    _Clause.UNSEEN: (
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
    _Clause.DENIED: (
        r"\bthere (?:is|are|was|were) (?:\w+ly )?(?:no|not (?:a|an|any|one))\b|\bthere do(?:es)? not (?:appear|seem) to be\b",
        r"^(?:unfortunately,? |sorry,? )?(?:i|we|you) (?:do|can|could) not (?:\w+ly )?see\b|\bnone of the\b",
        r"^(?:unfortunately,? |sorry,? )?no [\w' -]{1,50}? (?:is|are|can be|was|were|appears?)\b",
        r"^no (?:visible )?\w+(?: \w+)? (?:in|visible|present|shown)\b",
        r"\b(?:is|are|was|were) not (?:(?:wearing|holding|carrying|using|riding|reading|present)\b|(?:a|an|any) )",
        r"\bdo(?:es)? not have\b",
    ),
    _Clause.COURTESY: (
        r"^(?:i am )?(?:so |very )?(?:sorry|unfortunately|my apologies|apologies|i apologi[sz]e)(?: for [\w ]{1,30})?$",
        r"^(?:great|good) question$",
    ),
    _Clause.REASON: (
        rf"\btoo {_BAD_VIEW}\b|^(?:it|the (?:room|{_PICTURE})) is (?:\w+ )?dark\b",
        (
            r"\b(?:is|are|was|quite|very|somewhat|a bit|the) (?:\w+ )?(?:blurr\w+|out of focus|hidden|obscured|cropped|cut off"
            r"|out of (?:the )?(?:frame|view)|covered|blocked|outside|facing away|turned away|closed|sealed|low[- ]resolution"
            r"|pixelated|off[- ](?:camera|screen|frame)|static|still|partially|partly)\b"
        ),
    ),
    _Clause.CONTEXT: (
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
    _Clause.SCENE: (
        (
            rf"^(?:and |as )?(?:it|(?:the|this)(?: \w+)? ?{_PICTURE}|what is (?:shown|visible)|the \w+ (?:shown|visible))"
            r"(?: (?:provided|you\w*|have|has|uploaded|shared|itself|only|simply|just|appears to|here))* (?:shows?|depicts?"
            r"|captures?|is of|presents|displays|features|focuses|contains|includes)\b"
        ),
        r"^(?:we|i|you|one) (?:can )?(?:only |just )?see\b|^(?:there (?:is|are) )?only\b|\b(?:is|are) (?:only )?visible$",
    ),
}
_PATTERNS = tuple((kind, _any(*_PHRASES[kind])) for kind in _Clause if kind in _PHRASES)
_CUES = (
    "not", "no ", "nothing", "nobody", "none", "unk", "uncl", "unce", "unde", "unan", "unid", "unsp", "unsu", "unab", "unre",
    "imposs", "indeter", "inconcl", "insuff", "indis", "illeg", "hard", "diffic", "tough", "tricky", "challeng", "lack",
    "ambig", "n/a", "idk", "guess", "specul", "requires", "need", "beyond", "outside", "too ", "fail", "barely", "information",
)  # fmt: skip
"""No abstaining clause is without one of these."""
_PATTERNS_WITHOUT_CUE = tuple((kind, pattern) for kind, pattern in _PATTERNS if kind not in _ABSTAINING)

_SENTENCE_END = re.compile(r"(?<=[.!?;:])\s+|\n+|;")
_CLAUSE_END = _any(
    r" ?[—–(] ?| - |,$",
    r",? ?\b(?:but|however|although|though|yet|whereas|nevertheless|nonetheless|while|and so|because|since"
    r"|as (?=(?:the|it|there|this|no)\b)|so (?=(?:i|it|the|we|there|this|that|its|his|her|their|no|one|you|what|who)\b))"
    r"\b,? ?",
    r", (?:and )?(?=(?:it|he|she|they|this|that|these|those|i|we|you|there|his|her|its|the|their|my|no|not|nor|neither"
    r"|nothing|only|which|probably|likely|possibly|perhaps|maybe|most)\b)",
    r" and (?=(?:it|i|there|they|he|she|(?:the|its) \w+ (?:is|are|can|does))\b)",
)
_GUESS = re.compile(
    r"\b(?:likely|probabl[ey]|perhaps|maybe|possibl[ey]|appear\w*|seem\w*|might|may|could|suggest\w*|presumabl[ey]"
    r"|would (?:guess|say|estimate|assume)|guess|looks? like|estimate|around \d|approximately|roughly|if i had|assum\w+"
    r"|typically|usually|generally|often|plausibl[ey]|hint\w*|impl(?:y|ies))\b"
)
# Doubt that leaves several answers standing; "appears to be" and "probably" settle for one.
_UNSETTLED = re.compile(
    r"\b(?:might|may|could|perhaps|maybe|possibly|depends|either|guess|unsure|unless|somewhere|anything|something"
    r"|someone|somebody|un(?:identif|recogni|read)\w+"
    r"|whether|an? (?:\w+ )?(?:closed|sealed|blurr\w+))\b"
)
_NEGATIVE = re.compile(
    r"(?<!with )(?<!and )\b(?:no|not|none|nothing|never|nobody|unknown|unanswerable|neither|n/a|idk)\b"
)
_TWO_IN_ONE = re.compile(
    r"\b(?:is|are|was|were|has|have|shows?|says?|reads?|wears?)\b.*\b(?:and|with)\b|.\b(?:which|whose|who|that)\b"
)
_REPORTED = re.compile(r"\b(?:says?|reads?|reading|saying|labell?ed|titled|written|called|states?)\b")


def _kind(clause: str) -> _Clause:
    for kind, pattern in _PATTERNS if _holds(clause, *_CUES) else _PATTERNS_WITHOUT_CUE:
        found = pattern.search(clause)
        if found is None:
            continue
        before = clause[: found.start()]
        # "The sign says you cannot see ..." is read out; "A book whose title cannot be read" says that there is a book.
        if before and kind in _ABSTAINING and (_REPORTED.search(before) and not before.startswith("what")):
            return _Clause.STATEMENT
        if before and kind in _ABSTAINING and (_GUESS.search(before) or _says_two_things(before)):
            return _Clause.STATEMENT
        return kind
    return _Clause.STATEMENT


def _says_two_things(before: str) -> bool:
    return _TWO_IN_ONE.search(before) is not None and re.search(_BAD_VIEW, before) is None


class _Told:
    """A response in plain text, and what its clauses do."""

    def __init__(self, text: str) -> None:
        self.text = text

    @cached_property
    def sentences(self) -> list[str]:
        """Its sentences, without punctuation at their ends."""
        parts = (part.strip(" .!?;:,-") for part in _SENTENCE_END.split(self.text))
        return [part for part in parts if part]

    @cached_property
    def clauses(self) -> list[tuple[_Clause, str]]:
        """Its clauses in order, each with its kind."""
        parts = (part.strip(" ,.!?;:-()") for sentence in self.sentences for part in _CLAUSE_END.split(sentence))
        return [(_kind(part), part) for part in parts if part]

    @cached_property
    def kinds(self) -> frozenset[_Clause]:
        """Which kinds of clause occur."""
        return frozenset(kind for kind, _ in self.clauses)

    @cached_property
    def words(self) -> list[str]:
        """Its words."""
        return _WORD.findall(self.text)

    @cached_property
    def stems(self) -> frozenset[str]:
        """Its content words."""
        return _stems(self.text)

    @cached_property
    def lead(self) -> str:
        """The first sentence, without "Based on the image,"."""
        lead = self.sentences[0] if self.sentences else ""
        context = _CONTEXT.match(lead)
        return lead[context.end() :] if context else lead

    @cached_property
    def firm(self) -> str:
        """The first sentence up to what it is "possibly" besides."""
        return _AFTERTHOUGHT.split(self.lead, maxsplit=1)[0]

    @cached_property
    def lead_stems(self) -> frozenset[str]:
        """Content words of the first sentence."""
        return _stems(self.lead)

    @cached_property
    def has_verb(self) -> bool:
        """Whether the first sentence is a sentence, as far as common verbs tell."""
        return _FINITE.search(self.lead) is not None

    @cached_property
    def declines(self) -> frozenset[_Clause]:
        """The kinds of abstaining clause in it."""
        return self.kinds & _ABSTAINING

    @cached_property
    def commits(self) -> bool:
        """Whether the first sentence settles for something, and nothing behind it takes it back."""
        if (
            "?" in self.text
            or _UNSETTLED.search(self.firm)
            or _NEGATIVE.search(self.lead)
            or not self.kinds <= _BEHIND_ANSWER | _STATING
        ):
            return False
        if self.kinds <= _STATING:
            return True
        return len(self.sentences) > 1 and _Told(self.sentences[0]).kinds <= _STATING


_FINITE = re.compile(
    r"\b(?:reads|says|shows|wears|stands|sits|lies|looks|seems|appears?|contains|holds|is|are|was|were|am|has|have|had|does"
    r"|do|did|can|could|will|would|i|you|we)\b"
)


# --- rules for abstentions ----------------------------------------------------------------------------------------

_DENIED_THING = _any(
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
_NO_SIGN = _any(
    r"\bno (?:\w+ ){0,2}(?:signs?|indications?|evidence|hints?)\b|\bnothing\b|\bnot (?:\w+ly )?(?:suggest|indicate)"
)
_EPISTEMIC = re.compile(
    r"\b(?:whether|if|determin\w*|tell|know\w*|knowing|unclear|unknown|certain|sure|possible|impossible|information|way|enough"
    r"|answer\w*|confirm\w*)\b"
)
_SAYS_LITTLE = re.compile(r"^(?:i|we|you|do|can|could|im|not|no|n/a|un\w+|impossible|sorry|insufficient|access)\b")
_ON_THE_TEXT = _any(
    rf"\b{_PICTURE}\b",
    r"\b(?:text|writing|words|letters|legib\w+|illegible|readable|unreadable|blurr\w*|visible|too \w+ to|reads?)\b(?! file)",
)
_A_DETAIL = re.compile(
    r"\b(?:exact\w*|precise\w*|specific\w*|definitive\w*|entire\w*|other|rest|more|further|certainty|details?)\b"
)
_ANAPHORA = re.compile(r"\b(?:what|who|whose|why|when|where|how|which|whether|this|that)\b")
_COUNTED = ("how many", "how much", "how old", "what time", "number")
_NOT_KNOWN = ("not", "unknown", "unclear", "unable", "clear", "possible", "known", "determine", "determined", "tell")
_COLORED = ("color", "colors")


def _denied_thing(told: _Told) -> frozenset[str]:
    """Content words of what the response says is not there; empty if it says no such thing."""
    found = _DENIED_THING.search(told.text)
    thing = next((group for group in found.groups() if group), "") if found else ""
    return _stems(_THING_END.split(thing, maxsplit=1)[0])


def _denies_presupposition(asked: _Asked, told: _Told) -> bool:
    """Whether what it says is not there is what the question takes for granted."""
    denied = _denied_thing(told)
    if not denied or not denied <= asked.presupposed:
        return False
    return not asked.polar or bool(denied & _stems(" ".join(asked.subject[:4])))


def _declines_the_question(asked: _Asked, told: _Told) -> bool:
    """Whether the abstaining clauses decline what is asked, rather than answer it in the same words."""
    if not told.declines or _says_yes_or_no(told):
        return False
    if told.declines == {_Clause.DENIED}:
        return _denies_presupposition(asked, told)
    epistemic = _EPISTEMIC.search(told.text) is not None
    unknowable = _Clause.UNKNOWABLE in told.declines
    if asked.about_absence:
        return unknowable and epistemic and not asked.asks(*_NOT_KNOWN)
    if asked.closed and not unknowable:
        if asked.existence and not (epistemic and re.search(r"\b(?:whether|if)\b", told.text)):
            return False
        if not epistemic and (_coverage(asked, told.stems) >= 0.75 or _NO_SIGN.search(told.text)):
            return False
    if asked.reading and _SAYS_LITTLE.match(told.text) and not _ON_THE_TEXT.search(told.text):
        return bool(asked.stems & told.stems)
    return True


def _nothing_but_abstention(asked: _Asked, told: _Told) -> Act | None:
    """Every clause declines, or says why, or what would help."""
    if told.kinds <= _ABSTAINING | _BESIDE_ABSTENTION and _declines_the_question(asked, told):
        return "abstained"
    return None


def _abstention_beside_description(asked: _Asked, told: _Told) -> Act | None:
    """What else the image shows, and that it does not show what was asked for."""
    described = [clause for kind, clause in told.clauses if kind in (_Clause.SCENE, _Clause.STATEMENT)]
    if asked.open or asked.choice or not described or not told.declines:
        return None
    if not told.kinds <= _ABSTAINING | _BESIDE_ABSTENTION | {_Clause.SCENE, _Clause.STATEMENT}:
        return None
    beside = " ".join(described)
    if QUOTE in beside or _REPORTED.search(beside) or _GUESS.search(beside):
        return None
    if (asked.asks(*_COUNTED) and _NUMBER.search(beside)) or (asked.asks(*_COLORED) and _COLOR.search(beside)):
        return None
    if _Clause.STATEMENT in told.kinds and not _only_leads_up(asked, told, beside):
        return None
    return "abstained" if _declines_the_question(asked, told) else None


def _only_leads_up(asked: _Asked, told: _Told, described: str) -> bool:
    """Whether the statements stand before the abstention, and leave open something that the question names."""
    kinds = [kind for kind, _ in told.clauses]
    last_statement = len(kinds) - 1 - kinds[::-1].index(_Clause.STATEMENT)
    first_declined = next(index for index, kind in enumerate(kinds) if kind in _ABSTAINING)
    if asked.polar or first_declined < last_statement or told.declines == {_Clause.DENIED}:
        return False
    statements = [clause for kind, clause in told.clauses if kind is _Clause.STATEMENT]
    if any(_PERSON.match(statement) or not _FINITE.search(statement) for statement in statements):
        return False  # "Two people" and "It would break" may be the answer
    declined = " ".join(clause for kind, clause in told.clauses if kind in _ABSTAINING)
    if _A_DETAIL.search(declined):
        return False
    left_open = asked.stems - _stems(described)
    return bool(left_open & _stems(declined)) or bool(left_open and _ANAPHORA.search(declined))


def _nothing_but_doubt(asked: _Asked, told: _Told) -> Act | None:
    """ "I'm not sure.", and nothing else."""
    return "abstained" if told.kinds == {_Clause.DOUBT} and not asked.reading else None


# --- rules for answers --------------------------------------------------------------------------------------------

_PLEASANTRY = _any(
    r"^(?:thanks?(?: you)?|thank you)(?: (?:so|very) much)?(?: for .*)?$",
    r"^(?:hello|hi|hey|of course|certainly|sure(?: thing)?|okay|ok|great|you are welcome|i understand|got it)$",
    r"^(?:hello |hi )?how (?:can|may) i (?:help|assist) you(?: today)?$|^i (?:would be|am) happy to help(?: you)?$",
    r"^here is (?:the|my) answer$|^let me (?:see|think|look)$|^(?:the )?(?:question|answer)$",
)
_YES_NO = re.compile(
    r"^(?:yes|no|yeah|yep|nope|yup|correct|indeed|definitely|absolutely|true|false)\b(?:$|[,.!:;\n]| -| —| –)"
    r"|^(?:yes|no) (?=(?:there|it|the|he|she|they|this|that|i|these|those|its|his|her|you)\b)"
)
_COLOR = re.compile(
    r"\b(?:red|blue|white|black|green|brown|gr[ae]y|yellow|orange|purple|pink|beige|tan|gold(?:en)?|silver\w*|khaki|navy"
    r"|turquoise|teal|maroon|cream|violet|blond\w*|bronze|burgundy|ivory|magenta|cyan|olive|lavender|charcoal"
    r"|multi-?colou?red|transparent|clear|cobalt|peach|rust|dark|light|color(?:ful|s)?)\b"
)
_NUMBER = re.compile(
    r"\b(?:\d[\d,.]*|zero|one|two|three|four|five|six|seven|eight|nine|ten|eleven|twelve|thirteen|fourteen|fifteen|sixteen"
    r"|seventeen|eighteen|nineteen|twenty|thirty|forty|fifty|hundred|dozen|single|couple|pair|several|half)\b"
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
    (_COLORED, _COLOR),
    ((*_COUNTED, "when", "date", "price", "year", "temperature"), _NUMBER),
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
_PERSON = re.compile(r"^(?:he|she|they|his|her|their|its|it)\b")
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
_NO_CONTENT = re.compile(rf"i am\b|(?:this|the) {_PICTURE} is (?!of\b|an?\b)")
"""Says something of the speaker, or of the picture as a picture."""
_THERE_ARE = re.compile(r"^there (?:is|are) (?:\w+ )?\w+$")
_AFTERTHOUGHT = re.compile(r",? (?:and )?(?:possibly|perhaps|maybe|likely|which (?:may|might|could))\b")
_OPENING = re.compile(r"^(?:i would (?:say|guess)|my (?:best )?(?:answer|guess) is)(?: that)?,? ")


def _coverage(asked: _Asked, said: frozenset[str]) -> float:
    """Share of the question's content that is taken up, in [0, 1]; 1 if it has none."""
    return len(asked.wanted & said) / len(asked.wanted) if asked.wanted else 1.0


def _says_yes_or_no(told: _Told) -> bool:
    return _YES_NO.match(told.text) is not None


def _yes_no(asked: _Asked, told: _Told) -> Act | None:
    """Yes or no to a question that asks for it, with nothing behind it that takes it back."""
    found = _YES_NO.match(told.text) if asked.polar else None
    if found is None:
        return None
    rest = _Told(told.text[found.end() :].strip(" ,.!:;-"))
    allowed = _STATING | {_Clause.DENIED}
    if asked.existence:
        allowed |= {_Clause.UNSEEN, _Clause.NOT_SHOWN}
        # "Can you read it?" - "No, it is too blurry." may be meant either way.
        if re.match(r"(?:can|could|do) (?:you|we|i|one)\b", asked.core):
            allowed = _STATING
    elif _Clause.DENIED in rest.kinds and _denies_presupposition(asked, rest):
        return None
    return "answered" if rest.kinds <= allowed else None


def _none(asked: _Asked, told: _Told) -> Act | None:
    """ "None." to "How many ...?", "Nothing." to "What is he holding?" """
    word = _bare(told.text)
    if word in {"none", "zero", "none at all"}:
        return "answered" if asked.asks("how many") else None
    nothing = word in {"nothing", "nothing at all"} and asked.core.startswith("what") and not asked.reading
    return "answered" if nothing else None


def _there_is_none(asked: _Asked, told: _Told) -> Act | None:
    """ "There is no dog." to "Is there a dog?", "There are no dogs." to "How many dogs are there?" """
    counted = asked.asks("how many") and not asked.polar
    if asked.compound or not (counted or (asked.polar and asked.existence)):
        return None
    if not told.kinds <= {_Clause.DENIED, _Clause.NOT_SHOWN, _Clause.CONTEXT} or _EPISTEMIC.search(told.text):
        return None
    if " not see " in told.text and "do not see" not in told.text:
        return None  # "I cannot see one" may mean that the view is bad
    denied = _denied_thing(told)
    if not denied or not denied <= asked.stems or (counted and denied <= asked.presupposed):
        return None
    return "answered"


def _chosen(asked: _Asked, told: _Told) -> Act | None:
    """One of the alternatives that the question names, and not the other."""
    if not asked.choice or not told.commits or len(told.words) > 40:
        return None
    left, _, right = asked.core.rpartition(" or ")
    first = _first_content(left.split()[::-1]) & told.lead_stems
    second = _first_content(right.split()) & told.lead_stems
    return "answered" if bool(first) != bool(second) else None


def _first_content(words: list[str]) -> frozenset[str]:
    return next((stems for word in words if (stems := _stems(word))), frozenset())


_UNSEEN = re.compile(r"\b(?:i|we) (?:can ?not|can't|could not|couldn't) (?:\w+ )?(?:see|spot|find|identify|detect)\b")


def _restated(asked: _Asked, told: _Told) -> Act | None:
    """A yes-no question's own words as a statement, negated or not."""
    if not asked.polar or not told.kinds <= _STATING | {_Clause.DENIED} or _UNSETTLED.search(told.lead):
        return None
    if told.text.endswith("?") or (_Clause.DENIED in told.kinds and _denies_presupposition(asked, told)):
        return None
    if any(_NEGATIVE.search(clause) for _, clause in told.clauses[1:]):
        return None
    if _UNSEEN.search(told.lead):  # "I cannot see one": a no, or no answer
        return None
    return "answered" if asked.wanted and _coverage(asked, told.lead_stems) >= 0.75 else None


def _read_out(asked: _Asked, told: _Told) -> Act | None:
    """A quotation, where words or a name were asked for."""
    if asked.closed or not told.commits:
        return None
    if asked.reading and (QUOTE in told.text or _SAYS.search(told.text)):
        return "answered"
    if _IS_QUOTED.search(told.text) and _coverage(asked, told.stems) >= 0.5:
        return "answered"
    named = asked.asks("name", "names", "named", "brand", "title", "called", "logo", "make", "model")
    return "answered" if named and (_NAMED.search(told.text) or _TAGGED.search(told.text)) else None


def _typed(asked: _Asked, told: _Told) -> Act | None:
    """The kind of word that is asked for, said of what is asked about: a colour, a number, a material, a place, a cause."""
    if asked.closed or not told.commits:
        return None
    given = next((given for words, given in _TYPES if asked.asks(*words) and given.search(told.lead)), None)
    if given is None:
        return None
    if not told.has_verb:
        return "answered" if len(told.words) <= 14 else None
    if given is _DATE:
        return "answered" if len(told.words) <= 12 else None
    if given is _PLACE and not asked.predicate <= told.stems:
        return None
    said = told.stems | (asked.possessors if _PERSON.match(told.lead) else frozenset())
    if not asked.core.startswith("how"):
        said |= asked.attribute  # the colour, the material, the time: what `given` stands for
    coverage = _coverage(asked, said)
    half = coverage == 0.5 and not asked.possessors and given in (_COLOR, _PLACE)
    it_is = re.match(r"(?:it|they|this|these|that|those) (?:is|are|was|were|appears?|looks?)\b", told.lead)
    return "answered" if coverage > 0.5 or half or it_is or _THERE_ARE.match(told.lead) else None


def _fragment(asked: _Asked, told: _Told) -> Act | None:
    """A few words and no verb: "Red.", "On the table.", "A brown leather jacket." """
    if asked.closed or not told.commits or len(told.sentences) != 1 or not 0 < len(told.words) <= 12:
        return None
    if told.has_verb or _says_yes_or_no(told) or _PLEASANTRY.match(told.lead):
        return None
    if (_PRONOUN.match(told.lead) and len(told.words) > 2) or (asked.reading and len(told.words) > 4):
        return None
    if asked.asks("why") and not _CAUSE.match(told.lead):
        return None
    # Captions are verbless too: a long one answers only what a description answers.
    if len(told.words) > 7 and (
        _CAPTION.search(told.lead) or asked.asks("who", "whose", "when", "name", "title", "brand")
    ):
        return None
    return "answered" if not told.stems <= asked.stems or _NUMBER.search(told.lead) else None


def _full_sentence(asked: _Asked, told: _Told) -> Act | None:
    """The question's own words as a statement, with something that the question does not say."""
    if asked.closed or not told.commits or not told.has_verb or _NO_CONTENT.match(told.lead):
        return None
    if told.lead_stems <= asked.stems or (asked.asks("why") and not _CAUSE.search(told.lead)):
        return None
    shared = len(asked.wanted & told.lead_stems)
    # Nobody repeats a long question in whole.
    if _coverage(asked, told.lead_stems) >= (0.5 if asked.compound else 0.4 if shared >= 3 else 0.75):
        return "answered"
    # "What breed is the dog?" - "The dog is a Labrador."
    rest = asked.stems - asked.attribute
    if not asked.attribute or not rest or not rest <= told.lead_stems:
        return None
    return "answered" if _VERB_FORM.search(asked.core) or _IS_A.search(told.lead) else None


def _pronoun(asked: _Asked, told: _Told) -> Act | None:
    """ "It is a ...", "They are ...": a pronoun takes up the question's subject, and the verb is the question's."""
    if asked.closed or asked.reading or not told.commits or not _PRONOUN.match(told.lead):
        return None
    if told.lead_stems <= asked.stems or len(told.lead.split()) > 25:
        return None
    if asked.core.startswith("who") and re.match(r"(?:this|that|he|she) is (?!an? )\w+ \w+$", told.lead):
        return "answered"
    named = asked.asks("name") and not told.lead.split(maxsplit=2)[1].startswith("name")
    if named or asked.asks("why", "when", "where", "who", "how") or not asked.predicate <= told.lead_stems:
        return None
    # "What colour is the woman's hair?" - "She is wearing a red scarf."
    if asked.possessors and _PERSON.match(told.lead) and not asked.wanted - asked.possessors <= told.lead_stems:
        return None
    if asked.attribute and not asked.attribute <= told.lead_stems and not _IS_A.search(told.lead):
        return None
    return "answered"


def _described(asked: _Asked, told: _Told) -> Act | None:
    """A description, where any description is an answer; what it is "possibly" besides does not unsettle it."""
    if not asked.open or asked.polar or asked.reading or "?" in told.text or not told.kinds <= _STATING:
        return None
    if _UNSETTLED.search(told.firm) or _NEGATIVE.search(told.firm) or _stems(told.firm) <= asked.stems:
        return None
    return "answered"


def _doubt_then_answer(asked: _Asked, told: _Told) -> Act | None:
    """ "I cannot be completely certain, but ...": what stands beside the doubt is judged as if it stood alone."""
    if _Clause.DOUBT not in told.kinds:
        return None
    rest = ". ".join(clause for kind, clause in told.clauses if kind is not _Clause.DOUBT)
    answer = _Told(_OPENING.sub("", rest))
    if not answer.text or not answer.commits:
        return None
    return next((act for _, decide in _ANSWERS if (act := decide(asked, answer)) is not None), None)


def _pleasantry(asked: _Asked, told: _Told) -> Act | None:
    """Politeness and nothing else."""
    if asked.closed or asked.reading or not told.sentences:
        return None
    return "invalid" if all(map(_PLEASANTRY.match, told.sentences)) else None


_Decide: TypeAlias = "Callable[[_Asked, _Told], Act | None]"

_ANSWERS: tuple[tuple[str, _Decide], ...] = (
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

_RULES: tuple[tuple[str, _Decide], ...] = (
    ("pleasantry", _pleasantry),
    ("nothing-but-abstention", _nothing_but_abstention),
    ("abstention-beside-description", _abstention_beside_description),
    ("nothing-but-doubt", _nothing_but_doubt),
    ("doubt-then-answer", _doubt_then_answer),
    *_ANSWERS,
)
"""In this order; the first that decides counts."""
