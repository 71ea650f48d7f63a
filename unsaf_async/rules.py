"""What a response did, where its wording alone leaves no doubt: the first, free step of the judge cascade.

Knows English phrases and the shape of a question and its response. Knows no image, no model, no intended label, and nothing
of whether an answer is right. It follows the rubric of the judging prompt (prompts/unsaf/judge.md) and, where that asks for
a judgement of meaning, decides nothing: None hands the case to the LLM judge. Precision comes before coverage.

A response is brought to plain lower-case text (`_plain`), cut into clauses, and each clause is read as one `_Clause`: it says
that something cannot be known, is not shown, is not visible, does not exist; it only advises, apologises or describes; or it
states something. The rules then look at which kinds occur together. Anything unforeseen is a statement, and a statement next
to an abstention is left to the judge.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from enum import Enum, auto
from functools import cached_property
from typing import Literal

Act = Literal["answered", "abstained", "invalid"]

MAX_RESPONSE_CHARS = 2000
"""Longer responses are left to the judge: they hold too many statements for certainty, and reading stays cheap."""

MAX_QUESTION_CHARS = 1000
"""Longer questions are left to the judge."""


def rule(question: str, response: str, finish_reason: str | None) -> Act | None:
    """What `response` did, or None where the rules leave it open. Never raises, whatever the texts hold.

    finish_reason: in OpenAI's vocabulary; None if unknown. "length" and "content_filter" make any response invalid: what was
    cut off or blocked is no evidence of anything, and a provider's block is never an abstention.
    """
    return explain(question, response, finish_reason)[0]


def explain(question: str, response: str, finish_reason: str | None) -> tuple[Act | None, str]:
    """As `rule`, with the name of the rule that decided, or of the reason for leaving it open ("open" if none applies)."""
    if finish_reason == "length":
        return "invalid", "cut-off"
    if finish_reason == "content_filter":
        return "invalid", "blocked"
    said = _unwrapped(response)
    if not said:
        # An opened and never closed thought hides what would have been said: nobody can tell why it ends there.
        return (None, "unfinished-thought") if "<think" in response else ("invalid", "empty")
    if len(said) > MAX_RESPONSE_CHARS or len(question) > MAX_QUESTION_CHARS:
        return None, "too-long"
    if not any(map(str.isalnum, said)):
        return _wordless(question, said)
    text = _plain(said)
    if _STEERING.search(text):
        return None, "steering"
    asked = _Asked(_plain(question))
    if _bare(text) == _bare(asked.text):
        return "invalid", "echo"
    if not (_is_english(said, text) and _ENGLISH.search(asked.text)):
        return None, "other-language"
    told = _Told(text)
    for name, decide in _RULES:
        act = decide(asked, told)
        if act is not None:
            return act, name
    return None, "open"


# --- plain text ---------------------------------------------------------------------------------------------------

QUOTE = "qqq"
"""Stands for a quoted span: its words are somebody else's, and must not be read as the model's own."""

_MARKUP = re.compile(r"[*_`#]{1,3}(?=\S)|(?<=\S)[*_`]{1,3}|^[>#\-•]+\s", re.MULTILINE)
_LABEL = re.compile(r"\s*(?:final answer|short answer|answer|response|a)\s?[:：]\s*", re.IGNORECASE)
_QUOTED = re.compile(r'"[^"\n]{1,300}"|“[^”\n]{1,300}”|«[^»\n]{1,300}»|(?<![\w])\'(?=\S)[^\'\n]{1,200}\'(?!\w)')
_APOSTROPHES = str.maketrans({"’": "'", "‘": "'", "ʼ": "'", "`": "'", "´": "'", "…": ".", "\u00a0": " ", "\u202f": " "})
_NOT = re.compile(r"\b(?:can'?t|cannot|won'?t|(\w+)n't|(do|does|did|is|are|was|were|could)nt)\b")
_IS = re.compile(
    r"\b(it|that|there|this|what|where|who|how|he|she|here|answer|image|which|i|we|you|they)'(s|m|re|d|ve|ll)\b"
)
_ENDINGS = {"s": "is", "m": "am", "re": "are", "d": "would", "ve": "have", "ll": "will"}
_SPELLING = re.compile(r"\bcolour|\bgrey\b|\bhow color\b")


def _unwrapped(response: str) -> str:
    """The response without surrounding space, thoughts and a leading "Answer:"; "" if nothing is left."""
    said = response.strip()
    while (end := said.find("</think")) >= 0:
        said = said[end:].partition(">")[2].lstrip()
    start = said.find("<think")
    if start >= 0:
        said = said[:start].rstrip()
    said = said.removeprefix("\ufeff").strip()
    label = _LABEL.match(said[:40].lstrip("*_# "))
    if label and len(said) <= MAX_RESPONSE_CHARS:
        said = said.lstrip("*_# ")[label.end() :].strip()
        said = said[2:].strip() if said.startswith("**") else said
    return said


def _plain(text: str) -> str:
    """Lower case, one space between words, no markup, quotations replaced, contractions spelt out."""
    text = text.translate(_APOSTROPHES)
    text = _QUOTED.sub(lambda found: f"{QUOTE}{found[0][-2] if found[0][-2] in '.!?' else ''}", text)
    text = _MARKUP.sub("", text).lower()
    text = _NOT.sub(_negated, text)
    text = _IS.sub(lambda found: f"{found[1]} {_ENDINGS[found[2]]}", text)
    text = _SPELLING.sub(lambda found: "gray" if found[0] == "grey" else found[0].replace("colour", "color"), text)
    return re.sub(r"[ \t]+", " ", text).strip()


def _negated(found: re.Match[str]) -> str:
    word = found[1] or found[2]
    if word:
        return f"{word} not"
    return "will not" if found[0].startswith("w") else "can not"


def _bare(text: str) -> str:
    """Only letters and digits, single spaces, without a label: equal for texts that say the same words."""
    return re.sub(r"[\W_]+", " ", re.sub(r"^\s*(?:the )?(?:question|q)\s?(?:is)?\s?:", "", text)).strip()


def _wordless(question: str, said: str) -> tuple[Act | None, str]:
    """A response without letters or digits says nothing, unless signs were asked for or a sign can mean yes or no."""
    if re.search(r"emoji|emoticon|symbol|punctuation|\bsigns?\b|character|\bmark|expression|letter", question.lower()):
        return None, "open"
    if re.search(r"[👍👎✅✔✓☑❌✗✘🚫]", said):
        return None, "open"
    return "invalid", "no-words"


# What speaks to the judge is not read as a response: neither obeyed nor held against it.
_STEERING = re.compile(
    r"\b(?:ignore|disregard|forget)\b.{0,40}\b(?:above|previous|prior|instruction|rubric|earlier)"
    r"|\bverdict\b|\babstain|\bjudged? (?:this|it|as)\b|\bgrader?\b|\brubric\b|\bclassif\w+ (?:this|it|the response)"
    r"|\b(?:output|reply|respond|return|mark|label|score)\b.{0,30}\b(?:answered|invalid|unanswerable)\b|\{\W*\w"
)

_ENGLISH = re.compile(
    r"\b(?:the|is|are|was|were|of|what|who|which|where|when|why|how|this|that|there|it|does|do|did|can|has|have|with|and|in|on"
    r"|his|her|you|no|not|to|from|for|at|by|an?|any|here)\b"
)
_FOREIGN = re.compile(
    r"\b(?:nicht|kein\w*|nein|unbekannt|unklar|ist|und|pas|inconnue?|est|une|non|oui|desconocid[oa]|puede|sabe|est[aá]|una|los|las|del|não"
    r"|sim|nessun[oa]?|sconosciut[oa]|niet|geen|onbekend|nie|ja|j[eé]n|ikke|okänd)\b"
)


def _is_english(said: str, text: str) -> bool:
    letters = [character for character in said if character.isalpha()]
    if 5 * sum(map(str.isascii, letters)) < 4 * len(letters):
        return False
    return not _FOREIGN.search(text) and (text.count(" ") < 4 or _ENGLISH.search(text) is not None)


# --- the question -------------------------------------------------------------------------------------------------

_PICTURE = (
    r"(?:images?|photos?|photographs?|pictures?|pics?|scenes?|frame|screenshots?|shot|view|snapshot|photo(?:graph)? alone|still|drawing|painting"
    r"|illustration)"
)
_FRAMING = re.compile(
    rf"(?:(?:based (?:up)?on|from|in|looking at|judging (?:by|from)|given|according to|as (?:far as|seen in)|within|for)\b[^,.]{{0,40}}?"
    rf"\b(?:{_PICTURE}|visible|shown|available|see|here|provided|information|appearance)\b[^,.]{{0,25}}?,? )"
)
_ASKING = re.compile(
    r"^(?:hi|hello|hey|please|so|ok(?:ay)?|and|also|again)\b[ ,.!]*|^(?:can|could|would|will) (?:you|somebody|someone|anyone)(?: please)?"
    r" (?:tell|describe|say|identify|read|explain|name|let|give|list|help|guess|estimate)\b(?: (?:me|us|know))?(?: please)? ?"
    r"|^(?:tell|do you know|i (?:want|need|would like) to know)\b(?: me)? ?"
)
_AUX = r"(?:is|are|was|were|do|does|did|can|could|will|would|has|have|had|should|might|may|must|am)"
_POLAR = re.compile(rf"^(?:if|whether)\b|^{_AUX}(?: not)? (?!not\b)\w")
_EXISTENCE = re.compile(
    rf"^{_AUX}(?: not)? (?:there|you|we|i|one|anyone|the {_PICTURE}|this {_PICTURE})\b|\b(?:visible|present|shown|seen|depicted|legible"
    rf"|readable|see|appear|any|anything|anyone|anybody|someone|somebody|something)\b|\bin (?:the|this) {_PICTURE}"
)
_OPEN = re.compile(
    r"^what(?: is|s| are| does)? (?:this|that|it|these|those|the|in|on)?\b ?(?:here|object|item|thing|product|picture|image|photo|subject|exactly)?"
    r"(?: about| show| of| be| and what is that)?[ ?.!]*$"
    r"|^what(?: is|s| are)? (?:this|that|these|those)\b(?: \w+){0,2}[ ?.!]*$|^what (?:is|are|do you see|can you see|can be seen)\b ?(?:in|on|inside)\b|\bdescribe\b|^whats? (?:in|on)\b"
    r"|^what (?:object|item|things?|animals?|objects|items)\b.*\b(?:in|on|visible)\b"
)
_READING = re.compile(
    r"\b(?:say|says|said|saying|read|reads|written|write|text|titled?|words?|label|caption|spell|spelled|letters?|inscription|message|engraved|printed)\b"
)
_SUBJECT = re.compile(rf"\b{_AUX} (.*)")
_DEFINITE = re.compile(r"\b(?:the|this|that|these|those|his|her|their|its|my|your|'s) ((?:[\w-]+ ?){1,3})")
_ABOUT_ABSENCE = re.compile(
    r"\bnot\b|\bunknown|\bmissing|\bhidden|\babsent|\bvisible|\blegible|\breadable|blur|\bunclear|obscured|\bfocus|\bcovered|\black"
    r"|\bempty|\bwrong with|\bcut off|\bcropped|\bcan be seen\b|\bseen\b"
)
_STOP = frozenset(
    [
        "the",
        "a",
        "an",
        "is",
        "are",
        "was",
        "were",
        "be",
        "been",
        "being",
        "do",
        "does",
        "did",
        "of",
        "in",
        "on",
        "at",
        "to",
        "for",
        "with",
        "and",
        "or",
        "by",
        "from",
        "as",
        "into",
        "this",
        "that",
        "these",
        "those",
        "it",
        "its",
        "i",
        "you",
        "he",
        "she",
        "they",
        "we",
        "my",
        "your",
        "his",
        "her",
        "their",
        "our",
        "there",
        "here",
        "what",
        "which",
        "who",
        "whom",
        "whose",
        "where",
        "when",
        "why",
        "how",
        "image",
        "photo",
        "picture",
        "scene",
        "color",
        "kind",
        "type",
        "sort",
        "many",
        "much",
        "doing",
        "like",
        "look",
        "looking",
        "looks",
        "appear",
        "appears",
        "visible",
        "shown",
        "see",
        "show",
        "shows",
        "seen",
        "any",
        "some",
        "please",
        "thank",
        "thanks",
        "can",
        "could",
        "will",
        "would",
        "has",
        "have",
        "had",
        "not",
        "no",
        "just",
        "tell",
        "me",
        "about",
        "currently",
        "right",
        "now",
        "exactly",
        "based",
        "photograph",
        "than",
        "then",
        "so",
        "if",
        "one",
        "also",
        "very",
        "most",
        "more",
    ]
)
_WORD = re.compile(r"[a-z0-9][\w-]*")


def _stem(word: str) -> str:
    for ending in ("ings", "ing", "ies", "es", "ed", "s", "e", "y"):
        if len(word) > len(ending) + 2 and word.endswith(ending):
            return word[: -len(ending)]
    return word


def _stems(text: str) -> frozenset[str]:
    """The content words of `text`, roughly without their endings."""
    return frozenset(_stem(word) for word in _WORD.findall(text.replace("'s", " ")) if word not in _STOP)


_ATTRIBUTE = re.compile(r"^(?:and )?(?:what|which|whose|how) ((?:\w+ ){1,3}?)(?:is|are|was|were|does|do|did|has|have) (?:the|this|that|these|those|it|he|she|they|his|her)\b")
_REPLACED = re.compile(r"^(?:what|which|whose|how many|how much) ((?:\w+ ){1,3}?)(?:is|are|was|were|can|does|do|has|have|appears?)\b")
_VERB = re.compile(r"\b(?!doing|during|being|building|ceiling|evening|morning|painting|clothing|something|anything|nothing|wedding|railing)(\w{2,}ing)\b")
_FULL_VERB = re.compile(r"\b(?:do|does|did|will|would|can|could|should|has|have)\b")


class _Asked:
    """A question in plain text, and what kind of answer it calls for."""

    def __init__(self, text: str) -> None:
        self.text = text
        asking = [sentence for sentence in re.split(r"(?<=[.?!])\s+", text) if sentence.endswith("?")]
        core = asking[0] if len(asking) == 1 else text
        for _ in range(3):
            core = _ASKING.sub("", core, count=1)
        self.core = _FRAMING.sub("", core, count=1) if _FRAMING.match(core) else core
        self.several = text.count("?") > 1

    @cached_property
    def polar(self) -> bool:
        """Whether "yes" or "no" answers it."""
        return bool(_POLAR.match(self.core)) and not self.choice and not self.several

    @cached_property
    def choice(self) -> bool:
        """Whether it names the alternatives."""
        return (
            bool(re.match(rf"^(?:if |whether )?{_AUX}\b", self.core))
            and " or " in self.core
            and " or not" not in self.core
        )

    @cached_property
    def existence(self) -> bool:
        """Whether saying that something is not there is itself an answer."""
        return bool(_EXISTENCE.search(self.core))

    @cached_property
    def open(self) -> bool:
        """Whether any description answers it."""
        return bool(_OPEN.search(self.core))

    @cached_property
    def reading(self) -> bool:
        return bool(_READING.search(self.core))

    @cached_property
    def stems(self) -> frozenset[str]:
        return _stems(self.core)

    @cached_property
    def attribute(self) -> frozenset[str]:
        """What is asked of the subject: "brand" in "What brand is the car?"; none in "What animal is on the sofa?"."""
        found = _ATTRIBUTE.search(self.core)
        return _stems(found[1]) if found else frozenset()

    @cached_property
    def subject_noun(self) -> frozenset[str]:
        """What the answer replaces: "animal" in "What animal is on the sofa?"."""
        found = _REPLACED.search(self.core)
        return _stems(found[1]) - self.attribute if found else frozenset()

    @cached_property
    def predicate(self) -> frozenset[str]:
        """The verb that an answer about this question repeats: "think" in "What is he thinking about?"."""
        found = _VERB.findall(self.core)
        if found:
            return _stems(" ".join(found))
        words = [word for word in self.subject if _stems(word)]
        return _stems(words[-1]) if words and _FULL_VERB.search(self.core) else frozenset()

    @cached_property
    def presupposed(self) -> frozenset[str]:
        """Stems of what the question takes for granted: its definite noun phrases."""
        return _stems(" ".join(_DEFINITE.findall(self.core.replace("'s", " 's"))))

    @cached_property
    def subject(self) -> list[str]:
        """The words behind the verb, in order: what a full-sentence answer begins with."""
        found = _SUBJECT.search(self.core)
        words = _WORD.findall(found[1]) if found else []
        return ["your" if word == "my" else word for word in words]

    def asks(self, *words: str) -> bool:
        return re.search(rf"\b(?:{'|'.join(words)})\b", self.core) is not None


# --- the response -------------------------------------------------------------------------------------------------


class _Clause(Enum):
    """What one clause of a response does."""

    UNKNOWABLE = auto()  # says that nobody can know, or that the speaker does not
    NOT_SHOWN = auto()  # says that the image does not show or tell it
    UNSEEN = auto()  # says that it is there, or may be, and not visible
    DENIED = auto()  # says that a thing is not there
    REASON = auto()  # says what stands in the way: blur, darkness, a closed lid
    ADVICE = auto()  # asks for a better image, offers help
    COURTESY = auto()  # apologises
    FRAME = auto()  # "Based on the image,"
    SCENE = auto()  # describes: "The image shows ..."
    DOUBT = auto()  # lacks certainty, not knowledge
    POLICY = auto()  # declines to, rather than cannot
    NO_IMAGE = auto()  # says that there is no image at all
    STATEMENT = auto()  # everything else


_ADVERB = r"(?:(?:\w+ly|even|quite|really|just|yet|with certainty|for certain|for sure) )?"
_KNOW = (
    r"(?:tell|told|say|said|determin\w+|know|known|identif\w+|make out|made out|discern\w*|confirm\w*|provide|verif\w+|answer\w*"
    r"|ascertain\w*|specif\w+|judged?|infer\w*|establish\w*|find out|recogni[sz]\w+|assess\w*|predict\w*|decipher\w*|describe[sd]?|count\w*"
    r"|transcribe\w*|estimat\w+|gauged?|deduc\w+|conclude\w*|distinguish\w*|locate\w*|pinpoint\w*|guess\w*|understand|understood|learn\w*"
    r"|measured?|read|see|seen|observ\w+|perceiv\w+|give|given|comment|speak to|pin down|be known|be determined|evaluat\w+|inferred|state[ds]?"
    r"|detect\w*|explain\w*|settled?|calculat\w+|interpret\w*|trace[ds]?|work out|figure out|rule out|quantif\w+|hear[d]?|smell\w*|taste[ds]?)"
)
_BAD_VIEW = (
    r"(?:blurr\w+|dark|small|far|low|pixelat\w+|unclear|distant|out of focus|grainy|faint|dim|indistinct|close|cropped|obscured|faded|fuzzy"
    r"|bright|overexposed|tiny|distorted|zoomed)"
)
_PATTERNS: tuple[tuple[_Clause, re.Pattern[str]], ...] = tuple(
    (kind, re.compile(pattern))
    for kind, pattern in (
        (
            _Clause.NO_IMAGE,
            r"\bas an ai\b|\blanguage model\b|\b(?:no|not (?:see|receive|have|find)(?: an| any| the)?) (?:image|picture|photo)s?"
            r"(?: (?:is|was|has been|i can|you))?(?: \w+)? (?:attached|uploaded|provided|received|included|to your|to view|loaded|shared|sent|are referring)"
            r"|\bno (?:image|picture|photo) (?:is|was|has) |\bthere is no (?:image|picture|photo)\b|image description\b",
        ),
        (
            _Clause.ADVICE,
            r"^(?:and |so |then |or |otherwise,? |perhaps |maybe )?(?:please|if you (?:can|could|have|need|provide|would|share|upload|want|were|are able)"
            r"|(?:could|can|would) you (?:please )?(?:provide|share|send|upload|give|clarify|take|specify|try|move)|feel free|let me know|i would be happy"
            r"|i would be glad|i am happy to|(?:an? )?(?:clearer|better|closer|higher|different|sharper)\b|(?:more|additional|further|having) (?:detail\w*|context|information|images?|photos?|views?|angles?)"
            r"|(?:in order )?to (?:determine|know|answer|find out|identify|assist|help|confirm|verify|learn|be sure|get|establish|provide|give)\b|for (?:accurate|more|better|specific|a more)\b|you (?:would|may|might|could|will|should)"
            r" (?:need|have|want|try|consider|like)|i would need|one would (?:need|have)|it would (?:require|need|help|be (?:great|helpful|necessary|useful))"
            r"|this would (?:require|need)|that would (?:require|need)|(?:additional|more|further|other|external|outside) (?:information|context|details?|evidence|data)"
            r"|i can (?:only )?(?:help|describe what)|try (?:to|taking|moving)|retake)",
        ),
        (
            _Clause.POLICY,
            r"\b(?:assist|help|comply|engage|discuss)\b.{0,12}\b(?:with|you|that|identif\w+|this|request)\b(?=.*)(?<!happy to help you)"
            r"|\b(?:guidelines|polic(?:y|ies)|privacy|appropriate|not allowed|permitted|comfortable|ethical|copyright\w*|real people|decline"
            r"|respect)\b",
        ),
        (
            _Clause.DOUBT,
            r"^(?:i am|it is|this is|i)?(?: still)?(?: (?:not|hard|difficult|can not|could not|impossible|tough))(?: to)?(?: be)? ?(?:entirely|completely|fully"
            r"|absolutely|totally|a hundred percent|100%|quite)?(?: be)? ?(?:sure|certain|positive|clear|definite)(?: about (?:it|this|that))?$"
            r"|^(?:it is|this is) (?:hard|difficult|not easy) to (?:be (?:sure|certain|exact|precise)|(?:tell|say|know) (?:exactly|precisely|for sure|for certain"
            r"|with (?:full |complete |absolute )?certainty))$"
            r"|^(?:although |though )?i (?:am|can) not (?:be )?(?:(?:entirely|completely|fully|absolutely|100%) )?(?:sure|certain)$"
            r"|^the image is not (?:entirely|completely|very|perfectly|that) (?:clear|sharp)$",
        ),
        (
            _Clause.UNKNOWABLE,
            rf"\b(?:can|could) not {_ADVERB}(?:be )?{_ADVERB}{_KNOW}\b"
            r"|\b(?:can|could) not (?:be )?(?:sure|certain)\b|\bcan not (?:from|based|without)\b"
            rf"|\b(?:unable|not able) to {_ADVERB}{_KNOW}\b"
            rf"|\b(?:impossible|not possible|not feasible) (?:for \w+ )?to {_ADVERB}(?:be )?(?:{_KNOW}|sure|certain)\b"
            rf"|\b(?:hard|difficult|tough|challenging|tricky|not easy) (?:for \w+ )?to {_ADVERB}(?:be )?(?:{_KNOW}|sure|certain)\b"
            r"|\bno (?:\w+ )?(?:way|means|method) (?:of|to|for|i|we|that|from)\b|\bno way (?:anyone|one|you)\b"
            r"|\b(?:not|is|are) (?:\w+ )?(?:enough|sufficient|insufficient) (?:\w+ ){0,2}(?:information|details?|context|evidence|clarity|data|clues?|cues)\b"
            r"|\binsufficient\b|\black(?:s|ing)? (?:of )?(?:\w+ ){0,2}(?:information|details?|context|clarity|resolution)\b"
            r"|\b(?:is|are|remains?|was|it|that|answer|this) (?:\w+ly |still |left )?(?:unknown|unclear|uncertain|indeterminate|undetermined|unanswerable"
            r"|unidentifiable|unspecified|unknowable|indeterminable|inconclusive)\b|^(?:unknown|unclear|uncertain|unanswerable|indeterminate|indeterminable"
            r"|n/a|cannot (?:say|tell|determine)|unspecified|undetermined|not (?:known|clear|certain|sure|determinable|possible|answerable|applicable"
            r"|enough (?:info\w*|detail|context)))\b"
            r"|\bnot (?:\w+ly )?(?:clear|known|certain|knowable|determinable|answerable|identifiable|determined|ascertainable|inferable|discernible|deducible)\b(?! enough)"
            r"|\bdo not (?:\w+ly )?(?:know|have (?:enough|any|the|sufficient|access))\b|\bhave no (?:idea|way|information|means|knowledge|clue)\b|^no idea\b"
            r"|\bnot sure\b|\bno one (?:can|could) \w+\b|\bnobody (?:can|could) \w+\b|\banyone'?s guess\b|\bno telling\b"
            rf"|\b(?:requires?|needs?|need(?:ing)?) (?:information|knowledge|context|data|details?)\b|\binformation (?:beyond|outside|not)\b"
            rf"|\bbeyond (?:what|the) (?:\w+ ){{0,3}}(?:{_PICTURE}|shown|visible|shows)\b|\b(?:outside|lies outside) (?:of )?what the {_PICTURE}\b"
            rf"|\btoo (?:\w+ (?:and|or) )?{_BAD_VIEW}(?: (?:and|or|away|resolution|quality) ?\w*)?(?: for \w+)? to {_ADVERB}{_KNOW}\b|\bspeculat\w+",
        ),
        (
            _Clause.NOT_SHOWN,
            rf"\b{_PICTURE}(?: (?:itself|alone|provided|given|you\w*|have|has|uploaded|shared|here|by itself|only|of \w+))*"
            r" (?:(?:does|do|did) not|gives? no|provides? no|offers? no|contains? no|holds? no|shows? no|has no|fails? to|lacks|can not|could not) ?\w*"
            r"|\b(?:does|do|did) not (?:\w+ly )?(?:reveal|indicate|specify|provide|convey|disclose|settle|make (?:it )?clear|give|offer)\b"
            r"|\bnothing\b.{0,50}\b(?:indicat\w+|shows?|tells?|suggest\w*|says?|identif\w+|reveals?|specif\w+|gives?|settles?|hints?|answers?|determines?|confirms?)\b"
            r"|\bno (?:\w+ ){0,2}(?:indications?|information|clues?|hints?|details?|cues?|context|evidence|signs?|data|way|indicators?|markings?|references?)"
            r" (?:\w+ )?(?:of|to|about|that|in|on|is|are|as|regarding|which|available|visible|given|provided|for|here|indicat\w+|showing|identif\w+|from|present)\b"
            r"|\bno (?:\w+ ){0,4}(?:that|to|which) (?:would |could |can )?(?:indicat\w+|identif\w+|tells?|shows?|reveals?|suggests?|determines?|specif\w+|confirms?)\b",
        ),
        (
            _Clause.UNSEEN,
            r"\bnot (?:(?:\w+ly|currently|even|itself|fully|actually|\w+ enough) )?(?:visible|shown|seen|in view|in (?:the |this )?(?:image|photo|picture|frame|view|shot)"
            r"|within (?:the )?(?:frame|view)|pictured|depicted|legible|readable|displayed|included|captured|available|provided|given|indicated|stated|specified"
            r"|mentioned|apparent|evident|distinguishable|recogni[sz]able|on display|clear enough|revealed|disclosed|noted|conveyed|described|observable|labell?ed)\b"
            r"|\b(?:illegible|unreadable|indiscernible|indistinguishable)\b|\b(?:can|could) (?:not|hardly|barely) be (?:\w+ly )?(?:seen|read|heard)\b"
            r"|^not (?:visible|shown|stated|specified|mentioned|available|given|in (?:the )?image)\b",
        ),
        (
            _Clause.DENIED,
            r"\bthere (?:is|are|was|were) (?:\w+ly )?(?:no|not (?:a|an|any|one))\b|\bthere do(?:es)? not (?:appear|seem) to be\b"
            r"|\b(?:do|can|could) not (?:\w+ly )?see\b"
            r"|^(?:unfortunately,? |sorry,? )?no [\w' -]{1,50}? (?:is|are|can be|was|were|appears?)\b|^no (?:visible )?\w+(?: \w+)? (?:in|visible|present|shown)\b"
            r"|\bnone of the\b|\b(?:is|are|was|were) not (?:(?:wearing|holding|carrying|using|riding|reading|present)\b|(?:a|an|any) )|\bdo(?:es)? not have\b",
        ),
        (
            _Clause.COURTESY,
            r"^(?:i am |i'm )?(?:so |very )?(?:sorry|unfortunately|my apologies|apologies|i apologi[sz]e)(?: for [\w ]{1,30})?$|^(?:great|good) question$",
        ),
        (
            _Clause.REASON,
            rf"\btoo {_BAD_VIEW}\b|\b(?:is|are|was|quite|very|somewhat|a bit|the) (?:\w+ )?(?:blurr\w+|out of focus|hidden|obscured|cropped|cut off|out of (?:the )?(?:frame|view)"
            r"|covered|blocked|outside|facing away|turned away|closed|sealed|low[- ]resolution|dark|pixelated|off[- ](?:camera|screen|frame)|static|still|partially|partly)\b",
        ),
        (
            _Clause.FRAME,
            r"^(?:based (?:up)?on|from|in|looking at|judging (?:by|from)|given|according to|as (?:far as|seen in)|with|without|due to)\b[\w' ]{0,40}$",
        ),
        (
            _Clause.SCENE,
            rf"^(?:and |as )?(?:it|(?:the|this)(?: \w+)? ?{_PICTURE}|what is (?:shown|visible)|the \w+ (?:shown|visible))(?: (?:provided|you\w*|have|has|uploaded|shared|itself|only|simply|just|appears to|here))*"
            r" (?:only |simply |just )?(?:shows?|depicts?|captures?|is of|presents|displays|features|focuses|contains|includes)\b"
            r"|^(?:we|i|you|one) (?:can )?(?:only |just )?see\b|^(?:there (?:is|are) )?only\b|\b(?:is|are) (?:only )?visible$",
        ),
    )
)
_ABSTAINING = frozenset({_Clause.UNKNOWABLE, _Clause.NOT_SHOWN, _Clause.UNSEEN, _Clause.DENIED})
_STATING = frozenset({_Clause.STATEMENT, _Clause.FRAME, _Clause.SCENE})
_ASIDE = frozenset({_Clause.REASON, _Clause.ADVICE, _Clause.DENIED})
"""What may follow an answer without unsettling it."""
_HARMLESS = frozenset({_Clause.REASON, _Clause.ADVICE, _Clause.COURTESY, _Clause.FRAME, _Clause.DOUBT})

_SENTENCES = re.compile(r"(?<=[.!?;:])\s+|\n+|[.!?;:]+$|;")
_CLAUSES = re.compile(
    r" ?[—–] ?| - |,? ?\b(?:but|however|although|though|yet|whereas|nevertheless|nonetheless|while|and so|because|since|as (?=(?:the|it|there|this|no)\b)"
    r"|so (?=(?:i|it|the|we|there|this|that|its|his|her|their|no|one|you|what|who)\b))\b,? ?"
    r"|, (?:and )?(?=(?:it|he|she|they|this|that|i|we|you|there|his|her|its|the|their|my|no|not|nor|neither|nothing|only|which|probably|likely|possibly|perhaps|maybe|most|these|those)\b)"
    r"|,$| and (?=(?:it|i|there|they|he|she|the \w+ (?:is|are|can|does)|its \w+ (?:is|are|can))\b)"
)
_GUESS = re.compile(
    r"\b(?:likely|probabl[ey]|perhaps|maybe|possibl[ey]|appear\w*|seem\w*|might|may|could|suggest\w*|presumabl[ey]|would (?:guess|say|estimate|assume)|guess"
    r"|looks? like|estimate|around \d|approximately|roughly|if i had|assum\w+|typically|usually|generally|often|plausibl[ey]|hint\w*|impl(?:y|ies))\b"
)
_OPEN_GUESS = re.compile(
    r"\b(?:might|may|could|perhaps|maybe|possibly|depends|either|guess|unsure|unless|somewhere between|anything|whether|if)\b"
)
_NEGATIVE = re.compile(r"(?<!with )(?<!and )\b(?:no|not|none|nothing|never|nobody|unknown|neither|n/a|idk)\b")
_TWO_STATEMENTS = re.compile(
    r"\b(?:is|are|was|were|has|have|shows?|says?|reads?|wears?)\b.*\b(?:and|with|whose|which|who|that)\b|\b(?:which|whose|who|that) (?:\w+ ){0,2}(?:is|are)$"
)
_REPORTED = re.compile(
    r"\b(?:says?|reads?|reading|saying|labell?ed|titled|written|called|states?|text is|word)\b(?! (?:can|could|is|are|not))"
)


def _kind(clause: str) -> _Clause:
    for kind, pattern in _PATTERNS:
        found = pattern.search(clause)
        if found is None:
            continue
        if kind in _ABSTAINING:
            before = clause[: found.start()]
            if _REPORTED.search(before) and not before.startswith(("what", "i can")):
                return _Clause.STATEMENT  # "The sign says you cannot see ...": read out, not said
            if _GUESS.search(before) or (_TWO_STATEMENTS.search(before) and not re.search(_BAD_VIEW, before)):
                return _Clause.STATEMENT
        return kind
    return _Clause.STATEMENT


class _Told:
    """A response in plain text, and what its clauses do."""

    def __init__(self, text: str) -> None:
        self.text = text

    @cached_property
    def sentences(self) -> list[str]:
        return [
            sentence.strip(" .!?;:,-")
            for sentence in _SENTENCES.split(self.text)
            if sentence and re.search(r"\w", sentence)
        ]

    @cached_property
    def clauses(self) -> list[tuple[_Clause, str]]:
        parts = (part.strip(" ,.!?;:-()") for sentence in self.sentences for part in _CLAUSES.split(sentence) if part)
        return [(_kind(part), part) for part in parts if part]

    @cached_property
    def kinds(self) -> frozenset[_Clause]:
        return frozenset(kind for kind, _ in self.clauses)

    @cached_property
    def words(self) -> list[str]:
        return _WORD.findall(self.text)

    @cached_property
    def stems(self) -> frozenset[str]:
        return _stems(self.text)

    @cached_property
    def lead(self) -> str:
        """The first sentence, without "Based on the image,"."""
        lead = self.sentences[0] if self.sentences else ""
        found = _FRAMING.match(lead)
        return lead[found.end() :] if found else lead

    @cached_property
    def committed(self) -> bool:
        """Whether the first sentence settles for something, and nothing behind it takes it back."""
        if _OPEN_GUESS.search(self.lead) or _NEGATIVE.search(self.lead) or not self.kinds <= _ASIDE | _STATING:
            return False
        if self.kinds <= _STATING:
            return True
        return len(self.sentences) > 1 and _Told(self.sentences[0]).kinds <= _STATING


# --- the rules ----------------------------------------------------------------------------------------------------

_PLEASANTRY = re.compile(
    r"^(?:(?:thanks?(?: you)?|thank you)(?: (?:so|very) much)?(?: for .*)?|hello|hi|hey|of course|certainly|sure(?: thing)?|okay|ok|great|you are welcome"
    r"|(?:hello |hi )?how (?:can|may) i (?:help|assist) you(?: today)?|i (?:would be|am) happy to help(?: you)?|here is (?:the|my) answer|let me (?:see|think|look)"
    r"|i understand|got it|the question|question|answer|the answer)$"
)
_YES_NO = re.compile(
    r"^(yes|no|yeah|yep|nope|yup|correct|indeed|definitely|absolutely|true|false)\b(?:$|[,.!:;\n]| -| —| –)"
)
_ATTACHED = re.compile(r"^(?:yes|no) (?=(?:there|it|the|he|she|they|this|that|i|these|those|its|his|her|you)\b)")
_COLOR = re.compile(
    r"\b(?:red|blue|white|black|green|brown|gr[ae]y|yellow|orange|purple|pink|beige|tan|gold(?:en)?|silver\w*|khaki|navy|turquoise|teal|maroon|cream|violet"
    r"|blond\w*|bronze|burgundy|ivory|magenta|cyan|olive|lavender|charcoal|multi-?colou?red|transparent|clear|cobalt|peach|rust|dark|light|color(?:ful|s)?)\b"
)
_NUMBER = re.compile(
    r"\b(?:\d[\d,.]*|zero|one|two|three|four|five|six|seven|eight|nine|ten|eleven|twelve|thirteen|fourteen|fifteen|sixteen|seventeen|eighteen|nineteen"
    r"|twenty|thirty|forty|fifty|hundred|dozen|single|couple|pair|several|half)\b"
)
_CAUSE = re.compile(r"\b(?:because|since|due to|to \w+|for|so that|as)\b")
_PRONOUN = re.compile(
    r"^(?:it|he|she|they|this|these|that|those|his|her|their|its|you) (?:\w+ )?(?:is|are|was|were|has|have|had|appears?|seems?|looks?|says?|reads?|shows?|wears?|names?|\w+s)\b"
)
_IS_A = re.compile(r"\b(?:is|are|was|were|be) (?:an? )?[\w' -]+$")
_SAYS = re.compile(r"\b(?:says?|reads?|titled?)\b[ :]*\w+")
_NAMED = re.compile(rf"\b(?:names?|named|titled?|called|brand|logo|labell?ed|is|are|from|by)(?: \w+)?:? {QUOTE}|^{QUOTE}")
_TYPES = (
    (("color", "colors"), _COLOR),
    (("how many", "how much", "how old", "what time", "number", "when", "date", "price", "year", "temperature"), _NUMBER),
    (("why",), re.compile(r"\b(?:because|due to|in order to|so that)\b|^to\b")),
    (("where",), re.compile(r"\b(?:on|in|at|near|next to|beside|behind|under|above|below|inside|outside|between|to the|over|against)\b")),
)
_FINITE = re.compile(r"\b(?:is|are|was|were|am|has|have|had|does|do|did|can|could|will|would|i|you|we)\b")


def _abstaining(asked: _Asked, told: _Told) -> bool:
    """Whether what the response declines is what the question asks for, as far as its form tells."""
    kinds = told.kinds & _ABSTAINING
    if not kinds or (asked.open and kinds <= {_Clause.DENIED}):
        return False
    if _Clause.UNKNOWABLE not in kinds:
        # "Which wheel is not visible?" or "Is the tail visible?": here the same words are an answer.
        if _ABOUT_ABSENCE.search(asked.core) or ((asked.polar or asked.choice) and asked.existence):
            return False
        if kinds <= {_Clause.DENIED} and not _presupposition_denied(asked, told):
            return False
        if (
            asked.polar
            and kinds <= {_Clause.NOT_SHOWN}
            and not told.kinds & {_Clause.REASON}
            and _NO_SIGN.search(told.text)
        ):
            return False
    elif _ABOUT_ABSENCE.search(asked.core) and asked.asks("not", "unknown", "unclear"):
        return False
    return not _YES_NO.match(told.text) and not _ATTACHED.match(told.text)


_NO_SIGN = re.compile(
    r"\bno (?:\w+ ){0,2}(?:signs?|indications?|evidence|hints?)\b|\bnothing\b|\bnot (?:suggest|indicate)"
)
_DENIED_THING = re.compile(
    r"\b(?:there (?:is|are|was|were)|does not|do not|is|are|was|were) (?:\w+ly )?(?:no|not (?:a|an|any|one))\b ([\w' -]{1,40})"
    r"|\bthere do(?:es)? not (?:appear|seem) to be (?:a|an|any)? ?([\w' -]{1,40})"
    r"|\bnot (?:\w+ly )?see(?:ing)? (?:a|an|any|the)?\b ?([\w' -]{1,40})|^(?:unfortunately,? )?no ([\w' -]{1,40})"
    r"|\bnot (?:show|contain|include|depict|feature|display|have)\w* (?:a|an|any|the)?\b ?([\w' -]{1,40})"
    r"|\bnot (?:wearing|holding|carrying|using|riding|reading) (?:a|an|any)?\b ?([\w' -]{1,40})"
)
_THING_END = re.compile(
    r"\b(?:in|on|at|of|visible|present|shown|is|are|to|that|which|near|with|here|anywhere|being|from|for|depicted|seen|around|can|or|only)\b"
)


def _denied_stems(told: _Told) -> frozenset[str]:
    found = _DENIED_THING.search(told.text)
    if found is None:
        return frozenset()
    thing = next((group for group in found.groups() if group), "")
    return _stems(_THING_END.split(thing, maxsplit=1)[0])


def _presupposition_denied(asked: _Asked, told: _Told) -> bool:
    denied = _denied_stems(told)
    if asked.polar:
        return bool(denied) and denied <= asked.presupposed and bool(denied & _stems(" ".join(asked.subject[:4])))
    if asked.asks("how many") and denied and not denied <= asked.presupposed:
        return False
    return bool(denied) and denied <= asked.presupposed


def _nothing_but_abstention(asked: _Asked, told: _Told) -> Act | None:
    if told.kinds <= _ABSTAINING | _HARMLESS and _abstaining(asked, told):
        return "abstained"
    return None


def _abstention_beside_description(asked: _Asked, told: _Told) -> Act | None:
    """What else the image shows, and that it does not show what was asked for."""
    if asked.open or asked.choice or not told.kinds <= _ABSTAINING | _HARMLESS | {_Clause.SCENE, _Clause.STATEMENT}:
        return None
    described = [clause for kind, clause in told.clauses if kind in (_Clause.SCENE, _Clause.STATEMENT)]
    beside = " ".join(described)
    if (
        not described
        or QUOTE in beside
        or _REPORTED.search(beside)
        or _GUESS.search(beside)
        or not _abstaining(asked, told)
    ):
        return None
    if asked.asks("how many", "what time", "how much", "how old", "number") and _NUMBER.search(beside):
        return None
    if asked.asks("color", "colors") and _COLOR.search(beside):
        return None
    if _Clause.STATEMENT in told.kinds and not _only_leads_up(asked, told, beside):
        return None
    return "abstained"


def _only_leads_up(asked: _Asked, told: _Told, described: str) -> bool:
    """Whether the statements stand before the abstention, and leave open something that the question names."""
    kinds = [kind for kind, _ in told.clauses]
    last_statement = len(kinds) - 1 - kinds[::-1].index(_Clause.STATEMENT)
    declined = [(index, clause) for index, (kind, clause) in enumerate(told.clauses) if kind in _ABSTAINING]
    if declined[0][0] < last_statement or asked.polar or told.kinds & _ABSTAINING <= {_Clause.DENIED}:
        return False
    text = " ".join(clause for _, clause in declined)
    if re.search(
        r"\b(?:exact\w*|precise\w*|specific\w*|definitive\w*|entire\w*|other|rest|more|further|certainty|details?)\b",
        text,
    ):
        return False
    left_open = asked.stems - _stems(described)
    return bool(left_open & _stems(text)) or bool(
        left_open and re.search(r"\b(?:what|who|whose|why|when|where|how|which|whether|this|that)\b", text)
    )


def _bare_doubt(asked: _Asked, told: _Told) -> Act | None:
    return "abstained" if told.kinds == {_Clause.DOUBT} else None


def _doubt_then_answer(asked: _Asked, told: _Told) -> Act | None:
    if len(told.clauses) < 2 or told.clauses[0][0] is not _Clause.DOUBT:
        return None
    rest = ". ".join(clause for kind, clause in told.clauses[1:] if kind is not _Clause.DOUBT)
    rest = re.sub(r"^(?:i would (?:say|guess)|my (?:best )?(?:answer|guess) is)(?: that)?,? ", "", rest)
    answer = _Told(rest)
    if not rest or not answer.committed:
        return None
    return next((act for _, decide in _ANSWERS if (act := decide(asked, answer)) is not None), None)


def _pleasantry(asked: _Asked, told: _Told) -> Act | None:
    if asked.polar or asked.choice or asked.reading or not told.sentences:
        return None
    return "invalid" if all(map(_PLEASANTRY.match, told.sentences)) else None


def _yes_no(asked: _Asked, told: _Told) -> Act | None:
    if not asked.polar:
        return None
    found = _YES_NO.match(told.text) or _ATTACHED.match(told.text)
    if found is None:
        return None
    rest = _Told(told.text[found.end() :].strip(" ,.!:;-"))
    allowed = {_Clause.STATEMENT, _Clause.FRAME, _Clause.SCENE, _Clause.DENIED}
    if asked.existence:
        allowed |= {_Clause.UNSEEN, _Clause.NOT_SHOWN}
        if re.match(r"^(?:can|could|do) (?:you|we|i|one)\b", asked.core) and rest.kinds - {
            _Clause.STATEMENT,
            _Clause.FRAME,
        }:
            return None
    elif _Clause.DENIED in rest.kinds and _presupposition_denied(asked, rest):
        return None
    return "answered" if rest.kinds <= allowed else None


def _says_there_is_none(asked: _Asked, told: _Told) -> Act | None:
    """ "There is no dog." to "Is there a dog?", "There are no dogs." to "How many dogs are there?" """
    counted = asked.asks("how many") and not asked.polar
    if not (counted or (asked.polar and asked.existence)):
        return None
    if not told.kinds <= {_Clause.DENIED, _Clause.NOT_SHOWN, _Clause.FRAME} or (
        _Clause.DENIED not in told.kinds and counted
    ):
        return None
    denied = _denied_stems(told)
    if not denied or not denied <= asked.stems or (counted and denied <= asked.presupposed):
        return None
    return "answered"


def _chosen(asked: _Asked, told: _Told) -> Act | None:
    if not asked.choice or not told.committed:
        return None
    left, _, right = asked.core.rpartition(" or ")
    first = _stems(_last_content(left.split()))
    second = _stems(_last_content(right.split()[::-1]))
    said = _stems(told.lead)
    return "answered" if bool(said & second) != bool(said & first) and len(told.words) <= 40 else None


def _last_content(words: list[str]) -> str:
    return next((word for word in reversed(words) if _stems(word)), "")


def _restated(asked: _Asked, told: _Told) -> Act | None:
    """A yes-no question's own words as a statement, negated or not."""
    if not asked.polar or not told.kinds <= {_Clause.STATEMENT, _Clause.FRAME, _Clause.DENIED, _Clause.SCENE}:
        return None
    if _OPEN_GUESS.search(told.lead) or (_Clause.DENIED in told.kinds and _presupposition_denied(asked, told)):
        return None
    said = _stems(told.lead)
    return "answered" if asked.stems and len(asked.stems & said) >= 0.75 * len(asked.stems) else None


def _coverage(asked: _Asked, said: frozenset[str]) -> float:
    """Share of the question's content that the response takes up, in [0, 1]; 1 if it has none."""
    wanted = asked.stems - asked.subject_noun
    return len(wanted & said) / len(wanted) if wanted else 1.0


def _typed(asked: _Asked, told: _Told) -> Act | None:
    """The kind of word that the question asks for: a colour, a number, a place, a cause."""
    if asked.polar or asked.choice or not told.committed:
        return None
    coverage = _coverage(asked, told.stems)
    about_it = bool(_PRONOUN.match(told.lead)) or coverage > 0.5 or (coverage == 0.5 and "'s" not in asked.core)
    if not about_it and (_FINITE.search(told.lead) or len(told.words) > 14):
        return None
    for wanted, given in _TYPES:
        if asked.asks(*wanted) and given.search(told.lead):
            return "answered"
    return None


def _read_out(asked: _Asked, told: _Told) -> Act | None:
    """A quotation, where words or a name were asked for."""
    if asked.polar or asked.choice or not told.committed:
        return None
    if asked.reading and (QUOTE in told.text or _SAYS.search(told.text)):
        return "answered"
    if asked.asks("name", "names", "named", "brand", "title", "called", "logo", "make", "model") and _NAMED.search(told.text):
        return "answered"
    return None


def _fragment(asked: _Asked, told: _Told) -> Act | None:
    """A few words and no verb: "Red.", "On the table.", "A brown leather jacket." """
    if asked.polar or asked.choice or not told.committed or len(told.sentences) != 1 or not 0 < len(told.words) <= 8:
        return None
    if _FINITE.search(told.lead) or _YES_NO.match(told.text) or told.text.endswith("?") or _PLEASANTRY.match(told.lead):
        return None
    if told.stems <= asked.stems and not _NUMBER.search(told.lead) or asked.reading and len(told.words) > 4:
        return None
    if asked.asks("why") and not _CAUSE.match(told.lead):
        return None
    return "answered"


def _full_sentence(asked: _Asked, told: _Told) -> Act | None:
    """The question's own words as a statement, with something that the question does not say."""
    if asked.polar or asked.choice or not told.committed or not _FINITE.search(told.lead) or told.lead.startswith("i am"):
        return None
    said = _stems(told.lead)
    if not said - asked.stems or asked.asks("why") and not _CAUSE.search(told.lead):
        return None
    if _coverage(asked, said) >= 0.75:
        return "answered"
    # "What breed is the dog?" - "The dog is a Labrador."
    rest = asked.stems - asked.attribute
    return "answered" if asked.attribute and rest and rest <= said and _IS_A.search(told.lead) else None


def _it_is(asked: _Asked, told: _Told) -> Act | None:
    """ "It is a ...", "They are ...": a pronoun takes up the question's subject, and the verb is the question's."""
    if asked.polar or asked.choice or not told.committed or not _PRONOUN.match(told.lead):
        return None
    said = _stems(told.lead)
    if asked.reading or not said - asked.stems or asked.asks("why", "when", "who", "name", "how") or len(told.lead.split()) > 25:
        return None
    if asked.attribute and not (asked.attribute <= said or _IS_A.search(told.lead)):
        return None
    return "answered" if asked.predicate <= said else None


def _described(asked: _Asked, told: _Told) -> Act | None:
    """A description, where any description is an answer; what it is "possibly" besides does not unsettle it."""
    if not asked.open or asked.polar or asked.reading or told.text.endswith("?"):
        return None
    firm = re.split(
        r",? (?:possibly|perhaps|maybe|likely|which (?:may|might|could)|and possibly)\b", told.lead, maxsplit=1
    )[0]
    if (
        not told.kinds <= {_Clause.STATEMENT, _Clause.FRAME, _Clause.SCENE}
        or _OPEN_GUESS.search(firm)
        or _NEGATIVE.search(firm)
    ):
        return None
    return "answered" if _stems(firm) - asked.stems else None


_Decide = Callable[[_Asked, _Told], Act | None]

_ANSWERS: tuple[tuple[str, _Decide], ...] = (
    ("yes-no", _yes_no),
    ("none-there", _says_there_is_none),
    ("chosen", _chosen),
    ("restated", _restated),
    ("read-out", _read_out),
    ("typed", _typed),
    ("fragment", _fragment),
    ("full-sentence", _full_sentence),
    ("pronoun", _it_is),
    ("described", _described),
)

_RULES: tuple[tuple[str, _Decide], ...] = (
    ("pleasantry", _pleasantry),
    ("nothing-but-abstention", _nothing_but_abstention),
    ("abstention-beside-description", _abstention_beside_description),
    ("bare-doubt", _bare_doubt),
    ("doubt-then-answer", _doubt_then_answer),
    *_ANSWERS,
)
"""In this order; the first that decides counts."""
