"""The gate between what was written and what is put to a model: is it a question at all?"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import TYPE_CHECKING

from unsaf_async.examine.parse.items import unwrapped
from unsaf_async.examine.parse.languages import comparable, forms_of, pattern

if TYPE_CHECKING:
    from unsaf_async.examine.parse.languages import Forms

MAX_CHARS = 300
MAX_WORDS = 60
"""Longer than either is no question that one would put to somebody about a picture."""


QUESTION_MARKS = ("?", "？", "؟", "\u037e", "⸮", "‽", "⁇", "⁈", "﹖", "︖", "፧", "꘏", "꛷", "⳺", "᥅", "⹔")
"""Marks at the end of a question, of any script. Armenian sets its own inside a word, Spanish another in front."""
CLOSERS = "\"'”’»*_)] 」』）】》〉›"
SENTENCE_END = re.compile(
    r"(?<=[?.!؟])\s+|(?<=[?？؟])\s?[;；]\s+|(?<=[\u0370-\u03ff];)\s+|(?<=[？。！।])\s*(?=[^\s\"'”’»*_)\]」』）】》〉›])"
)
_MARK_WITHIN = re.compile(r"՞|¿[^.]*$|[\u0370-\u03ff][^.]*;$")
_STATEMENT_ENDS = (".", "!", "。", "！", "।")
_WIDE = re.compile(r"[\u3041-\u9fff\uac00-\ud7a3]")

_IMAGE = r"(?:image|photo|photograph|picture|scene|frame|figure|screenshot)"
_AUX = (
    r"(?:is|are|was|were|do|does|did|can|could|will|would|shall|should|may|might|must|has|have|had|"
    r"(?:is|are|was|were|do|does|did|ca|could|wo|would|should|has|have|had)n't)"
)
_SUBJECT = (
    r"(?:the|an?|this|that|these|those|there|it|he|she|they|we|you|i|any\w*|some\w*|every\w*|no\w*|"
    r"his|her|their|its|my|your|our|all|both|each|either|more|most|other|only|one|two|three)"
)
_CANNOT = r"(?:cannot|can't|can not|could not|couldn't)"

STARTS = re.compile(
    rf"""
    (?: (?:in|on|at|from|to|based|looking|considering|given|judging|besides|apart|among|of)\b [^,.?!]{{1,80}} ,\s+
      | (?:and|so|also|then) ,?\s+ )?
    (?: (?:what|who|whom|whose|which|when|where|why|how) (?:'?s|'re|'d)? \b
      | (?:in|on|at|to|for|from|of|with|by) \s (?:what|which|whom|whose|how) \b
      | {_AUX} \s {_SUBJECT} \b )
    """,
    re.IGNORECASE | re.VERBOSE,
)
# With a full stop behind it, "When the man came, he sat down." is a statement; word order has to settle it.
_STARTS_INVERTED = re.compile(
    rf"""
    (?:what|who|where|when|why|how) (?: 's\b | \s{_AUX}\b )
    | (?:what|which|whose|how) \s\w+ (?:\s\w+)? \s{_AUX}\b
    | (?:is|are|was|were|do|does|did|can|could|will|would) \s
      (?:the|this|that|these|those|there|it|he|she|they|you|any)\b
    """,
    re.IGNORECASE | re.VERBOSE,
)
_REQUEST = re.compile(
    r"""
    (?:please\s+ (?:explain|describe|elaborate|specify) \b)
    | (?:please\s+)?
    (?:describe|name|list|count|identify|tell|explain|state|find|locate|estimate|compare|read|specify|give|point\ out
      |determine|guess|predict|infer|provide|summari[sz]e|mention|transcribe|classify|say|indicate)
    \s+ (?!of\b) \w
    """,
    re.IGNORECASE | re.VERBOSE,
)
_PLACEHOLDER = re.compile(
    r"[\W\d_]*(?:(?:your|the|an?|first|second|third|another|next|example|sample)?\s*question)?"
    r"[\W\d_]*(?:text|goes)?\s*(?:here)?[\W\d_]*"
    rf"|[\W\d_]*第?[\W\d_一二三四五六七八九十]*{pattern('question')}[\W\d_]*(?:no?\b)?[\W\d_一二三四五六七八九十]*",
    re.IGNORECASE,
)
_ABSTENTION = re.compile(
    rf"""
    (?: (?:unfortunately|sorry) ,?\s+ (?:but\s+)?
      | (?:based\ on|from|in) \s (?:the|this) \s {_IMAGE} (?:\ alone)? ,?\s+ )?
    (?: (?:the|this) \s (?:provided\s|given\s)? {_IMAGE} \s (?:itself\s|alone\s)?
        (?:{_CANNOT}|does\ not|doesn't|is\ not|isn't|(?:provide|give|contain|show)s?\ no|has\ no|lacks|fails)
      | (?:it|this|that|there|he|she|they|the\ (?:answer|question)) (?:'s|\s(?:is|are|was|were|seems))
        \s (?:not|no|nothing|impossible|unclear|unknown|uncertain|unanswerable|indeterminate|insufficient|hard
             |difficult)
      | (?:it|there) \s (?:isn't|aren't)
      | (?:it|this|that|the\ \w+(?:\ \w+)?|what\ \w+\ \w+) \s {_CANNOT} \s be
      | (?:i|we|you|one) \s (?:{_CANNOT}|do\ not|don't|(?:am|are)\ (?:not|unable)) | i'm\ (?:not|unable|sorry)
      | {_CANNOT} \s (?:be|tell|say|see|determine|answer|know) | (?:unable|(?:im|not\ )possible) \s to
      | not\ (?:enough|visible|shown) | no\ information | insufficient | unknown | unclear | unanswerable | n/a
    ) \b
    """,
    re.IGNORECASE | re.VERBOSE,
)
META = re.compile(
    r"""
    (?:sure|certainly|of\ course|absolutely|okay|ok|great|alright) [,.!:]
    | (?: here(?:'s|\ is|\ are) \s (?:the|some|my|your|an?|\w+\ (?:different|more|\w*answerable)?\ ?questions?|\d+)
        | below\ (?:is|are)
        | (?:the\ following|these|those|all|my|your) (?:\s\w+){0,2} \s questions?
        | let\ me\ know | tell\ me\ if\ you | i\ hope | feel\ free | please\ (?:note|let|upload|share) | note\ that | remember
        | (?:would|do) \s you \s (?:like|want|need) \s (?:me|more|another|any|to|further)
        | (?:shall|should) \s i
        | (?:can|could|would|will) \s you \s (?:please\s)? (?:upload|attach|provide|share|resend|send)
        | in\ (?:summary|conclusion) | each\ question | (?:i'?m\ )?sorry
      ) \b
    | (?:questions?|question\ list|note|answers?|explanation|kind|reason) \s* [:：]
    """,
    re.IGNORECASE | re.VERBOSE,
)
_COURTESY = re.compile(
    r"[\s,]{1,3}(?:thank you|thanks|please)(?: so much| very much| in advance)?[\s.!]{0,3}$", re.IGNORECASE
)
_QUOTE_END = r"""\s?["'”’»」』›]"""
_ANSWER_INSIDE = re.compile(
    rf"\b(?:answers?|ans)\s*[:：=](?!{_QUOTE_END})|\?\s?[(\[-]{{0,3}}\s?a\s?[:：]"
    rf"|(?<!\w){pattern('answer', english=False)}\s?[:：](?!{_QUOTE_END})"
    rf"|[?？؟]\s?[(（]?{pattern('note', english=False)}\s?[:：]",
    re.IGNORECASE,
)
_LABELLED_NOTE = re.compile(rf"{pattern('note', 'kind', english=False)}\s?[:：]", re.IGNORECASE)


def is_question(text: str, *, named: bool = False) -> bool:
    """Whether a text asks something.

    True for what ends in a question mark (of any script), for what starts as a question without one, and for requests
    ("Describe the ..."). False for statements, abstentions ("The image does not show ..."), words about the list
    itself, placeholders, questions with their answer behind them, and what is too long (`MAX_CHARS`, `MAX_WORDS`) or
    too short. How questions without a mark look is known of the languages in `languages`.
    It judges form only; whether the question is about the image is not decided here.

    Args:
        text: One written item.
        named: Whether its author named it a question (`Item.named`). Then it needs no form: only what is known to be
            none, such as an abstention or an English sentence with a full stop, is stopped.

    Returns:
        False for an empty text, too.
    """
    return len(text) <= 2 * MAX_CHARS and _is_question(text, named)


@lru_cache(maxsize=512)
def _is_question(text: str, named: bool) -> bool:
    """`is_question` of a text that is not too long. A reader of lists asks about the same line more than once."""
    text = unwrapped(text)
    words = text.split()
    if not words or len(text) > MAX_CHARS or len(words) > MAX_WORDS:
        return False
    letters = [c for c in text if c.isalpha()]
    if len(words) < 2 and (len(letters) < 3 or all(c.isascii() for c in letters)) and not _WIDE.search(text):
        return False
    few = len(letters) < 3 - bool(
        _WIDE.search(text)
    )  # a character of Chinese, Japanese or Korean is a syllable at least
    if few or _PLACEHOLDER.fullmatch(text) or text[0] in "{[<" or "\ufffd" in text:
        return False
    plain = _COURTESY.sub("", comparable(text).replace("’", "'"))
    forms = forms_of(plain)
    if _ABSTENTION.match(plain) or forms.declines.match(plain) or is_about_list(plain) or _ANSWER_INSIDE.search(plain):
        return False
    # Context may come before a question, its answer may not come behind it: the last sentence has to ask. Without a
    # question mark the first has to ask too ("It is all right. Give it time." asks for nothing).
    sentences = SENTENCE_END.split(plain)
    if is_marked(sentences[-1]):
        return True
    if _LABELLED_NOTE.match(plain):
        return False
    if named and len(sentences) > 1 and is_marked(sentences[-2]) and not _asks(sentences[-1].lstrip("→-=> "), forms):
        return sentences[-1].startswith(("(", "[", "（", "【"))
    if named and not (plain.isascii() and plain.endswith(_STATEMENT_ENDS)):
        return True
    return _asks(sentences[-1], forms) and (forms.script != "latin" or _asks(sentences[0], forms))


def is_abstention(text: str) -> bool:
    """Whether a sentence says that the image does not show something, or that something cannot be known.

    Args:
        text: One sentence.

    Returns:
        False for what only might.
    """
    plain = comparable(text.strip()).replace("’", "'")
    return bool(_ABSTENTION.match(plain) or forms_of(plain).declines.match(plain))


def is_about_list(text: str) -> bool:
    """Whether a text speaks about the list of questions, or to its reader: an announcement, an offer, an apology.

    Args:
        text: A line without its marks.

    Returns:
        False for what only might.
    """
    text = comparable(text)
    return bool(META.match(text) or forms_of(text).about.match(text))


def is_marked(sentence: str) -> bool:
    """Whether a sentence has a question mark where it belongs, the semicolon of Greek included.

    Args:
        sentence: Any text.

    Returns:
        False for a mark that stands further before the end.
    """
    bare = sentence.rstrip(CLOSERS)
    return bare.rstrip("!！ ").endswith(QUESTION_MARKS) or _MARK_WITHIN.search(bare) is not None


def _asks(sentence: str, forms: Forms) -> bool:
    """Whether one sentence asks or requests something."""
    sentence = sentence.strip().rstrip(CLOSERS)
    if is_marked(sentence):
        return True
    if sentence.endswith((":", "：", ",", "，", "،", "、")):
        return False
    if _REQUEST.match(sentence) or forms.requests.match(sentence):
        return True
    if forms.script != "latin" and not forms.doubts.search(sentence) and forms.asks.search(sentence):
        return True
    if sentence.endswith(_STATEMENT_ENDS):
        return _STARTS_INVERTED.match(sentence) is not None
    few = len(sentence.split()) < (3 if forms.script == "latin" else 2)
    if few or forms.doubts.search(sentence):
        return False
    return bool(STARTS.match(sentence) or forms.opens.match(sentence) or forms.asks.search(sentence))
