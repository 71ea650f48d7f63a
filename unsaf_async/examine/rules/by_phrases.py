"""What a response in a language other than English did: the same few rules for every language, over the phrases of its pack.

A response is cut into clauses. A clause is an abstention, a refusal, a courtesy and so on only if a phrase of its pack matches
the whole of it; anything else is a statement, and a statement is an answer only in a few plain forms. What is left is the
judge's.
"""

from __future__ import annotations

import re
from functools import cached_property
from typing import TYPE_CHECKING, TypeAlias

from unsaf_async.examine.rules.plain import QUOTE

if TYPE_CHECKING:
    from collections.abc import Callable

    from unsaf_async.examine.rules.language import LanguagePack
    from unsaf_async.records import Act

MAX_CHARS = 400
"""Longer responses are left to the judge: their clauses are too many for certainty."""

_ABSTAINING = frozenset({"declines", "denies", "not_shown", "unseen"})
_BESIDE = frozenset({"doubts", "advises", "courtesy", "reason", "asked", "context"})
"""What may stand beside an abstention without turning it into an answer."""
_ANSWERING = frozenset({"statement", "scene", "context"})
_SENTENCE_END = re.compile(r"[!?;。\n]+|[.:…]+(?=\s|$)")
_EDGES = " ,.、。!?;:…-–—()"
_WORD = re.compile(r"[^\W_]+")


class _Question:
    """A question, and what kind of answer it calls for."""

    def __init__(self, pack: LanguagePack, text: str) -> None:
        self._pack = pack
        self.text = pack.plain(text)
        self.core = _bare(pack, self.text.strip(_EDGES))

    def asks(self, *kinds: str) -> bool:
        """Whether a pattern of the pack's table `questions` is found in it, under any of these keys."""
        return any(self._pack.pattern("questions", kind).search(self.core) for kind in kinds)

    @cached_property
    def choice(self) -> bool:
        """Whether it names alternatives."""
        return self.asks("choice")

    @cached_property
    def polar(self) -> bool:
        """Whether "yes" or "no" answers it."""
        one = self.text.endswith("?") and self.text.count("?") == 1
        return one and not self.choice and not self.asks("wh")

    @cached_property
    def closed(self) -> bool:
        """Whether "yes" or "no" answers it, even if a question word stands in its later part ("can one see who it is")."""
        if self.choice:
            return False
        if not self._pack.spaced:
            return self.asks("closed")
        word = self._pack.pattern("questions", "wh").search(self.core)
        return word is None or self._pack.pattern("questions", "knowable").search(self.core[: word.start()]) is not None

    @cached_property
    def content(self) -> list[str]:
        """Its content words, without what an answer replaces; empty in a language without spaces."""
        if not self._pack.spaced:
            return []
        return self._pack.content(self._pack.pattern("questions", "replaced").sub(" ", self.core))

    def mentions(self, thing: str) -> bool:
        """Whether it names a thing, in whatever form of the word."""
        if not self._pack.spaced:
            return thing in self.core
        named = self._pack.content(self.core)
        words = self._pack.content(thing)
        return bool(words) and all(any(same_word(word, other) for other in named) for word in words)

    def shares(self, clause: str, beyond: str) -> bool:
        """Whether a clause takes up a word of it that another text lacks."""
        if not self._pack.spaced:
            pairs = {self.core[at : at + 2] for at in range(len(self.core) - 1)}
            return any(pair in clause and pair not in beyond for pair in pairs)
        told = self._pack.content(beyond)
        named = [word for word in self._pack.content(self.core) if not any(same_word(word, other) for other in told)]
        return any(same_word(word, other) for word in self._pack.content(clause) for other in named)


class _Response:
    """A response, and what its clauses do."""

    def __init__(self, pack: LanguagePack, text: str) -> None:
        self._pack = pack
        self.text = pack.plain(text)
        self.sentences = [part for part in (part.strip(_EDGES) for part in _SENTENCE_END.split(self.text)) if part]

    @cached_property
    def clauses(self) -> list[tuple[str, str]]:
        """Each clause, without "in the image" and the like, and before it what it does."""
        ends = self._pack.pattern("words", "clause_end")
        parts = (part.strip(_EDGES) for sentence in self.sentences for part in ends.split(sentence) if part)
        return [(self._kind(part), part) for part in (_bare(self._pack, part) for part in parts if part)]

    @cached_property
    def kinds(self) -> frozenset[str]:
        """What its clauses do."""
        return frozenset(kind for kind, _ in self.clauses)

    @cached_property
    def denied(self) -> list[str]:
        """What its clauses say is not there."""
        pattern = dict(self._pack.kinds)["denies"]
        found = [pattern.fullmatch(clause) for kind, clause in self.clauses if kind == "denies"]
        return [next((group for group in match.groups() if group), "") for match in found if match]

    def has(self, words: str, without: str = "doubts") -> bool:
        """Whether a pattern of the pack's table `words` is found in a clause, but for those of one kind."""
        pattern = self._pack.pattern("words", words)
        return any(pattern.search(clause) for kind, clause in self.clauses if kind != without)

    @cached_property
    def says_nothing_is_there(self) -> bool:
        """Whether it says that nothing or nobody is to be seen, which is what the image shows."""
        nothing = self._pack.pattern("words", "nothing")
        return any(nothing.search(clause) for kind, clause in self.clauses if kind in {"denies", "unseen"})

    @cached_property
    def answer(self) -> str:
        """What may be an answer: all of it in one sentence without doubt before it; "" where it is no plain statement."""
        clauses = self.clauses
        doubted = bool(clauses) and clauses[0][0] == "doubts"
        kept = clauses[1:] if doubted else clauses
        if not kept or not {kind for kind, _ in kept} <= _ANSWERING or "?" in self.text or QUOTE in self.text:
            return ""
        if (len(self.sentences) > 1 and not doubted) or self.has("hedge") or self.has("cue"):
            return ""
        return ", ".join(clause for _, clause in kept if clause)

    def _kind(self, clause: str) -> str:
        if not clause:
            return "context"
        return next((kind for kind, pattern in self._pack.kinds if pattern.fullmatch(clause)), "statement")


def _bare(pack: LanguagePack, clause: str) -> str:
    """A clause without "in the image", and without what it begins with, such as "therefore"."""
    space = " " if pack.spaced else ""
    bare = space.join(pack.pattern("words", "context").sub(space, clause).split()).strip(_EDGES)
    opener = pack.pattern("words", "opener")
    while (match := opener.match(bare)) and match.end():
        bare = bare[match.end() :].strip(_EDGES)
    return bare


def same_word(one: str, other: str) -> bool:
    """Whether two words are the same but for their endings, as far as their beginnings tell.

    Args:
        one: A word in lower case.
        other: Another.

    Returns:
        True if they share three quarters of the longer one, and three letters at least.
    """
    longer, shorter = sorted((one, other), key=len, reverse=True)
    needed = max(3, -(-3 * len(longer) // 4))
    return one == other or (len(shorter) >= needed and longer[:needed] == shorter[:needed])


Decide: TypeAlias = "Callable[[LanguagePack, _Question, _Response], Act | None]"


def _polite(pack: LanguagePack, question: _Question, response: _Response) -> Act | None:
    """Politeness and nothing else."""
    del pack
    return "invalid" if response.kinds == {"pleasantry"} and not question.asks("reading") else None


def _refuses(pack: LanguagePack, question: _Question, response: _Response) -> Act | None:
    """It declines on policy, and says nothing of what the image shows or lacks."""
    del pack
    if "refuses" not in response.kinds or question.asks("reading"):
        return None
    return "refused" if response.kinds <= {"refuses", "courtesy", "advises", "context"} else None


def _no_image(pack: LanguagePack, question: _Question, response: _Response) -> Act | None:
    """It says that there is no image, and asks for it."""
    del pack
    if "no_image" not in response.kinds or question.asks("reading", "absence", "picture"):
        return None
    return "no_image" if response.kinds <= {"no_image", "courtesy", "advises", "context"} else None


def _declines(pack: LanguagePack, question: _Question, response: _Response) -> Act | None:
    """Every clause declines, or says why, or what would help; what the image shows otherwise may come before."""
    kinds = response.kinds
    if QUOTE in response.text or "?" in response.text or response.has("hedge") or question.asks("absence"):
        return None
    reading = question.asks("reading")
    if (question.closed and question.asks("knowable")) or response.says_nothing_is_there:
        return None  # "no, it cannot" and "nothing" are answers
    if not reading and pack.pattern("answers", "bare_declines").fullmatch(" ".join(_WORD.findall(response.text))):
        return "abstained"
    if kinds == {"doubts"}:
        return None if reading else "abstained"
    if not kinds & _ABSTAINING or not kinds <= _ABSTAINING | _BESIDE | {"scene"}:
        return None
    if "scene" in kinds and not _scene_first(pack, question, response):
        return None
    if reading and "unseen" not in kinds and not {"declines", "not_shown"} <= kinds:
        return None
    if not _declines_rather_than_denies(question, kinds):
        return None
    if "denies" in kinds and (question.asks("open") or not all(map(question.mentions, response.denied))):
        return None
    return "abstained"


def _declines_rather_than_denies(question: _Question, kinds: frozenset[str]) -> bool:
    """Whether the abstaining clauses are no "no" to a yes-no question and no "none" where it was asked how many."""
    if question.closed or question.asks("count"):
        return "declines" in kinds and "denies" not in kinds
    return not question.choice or (bool(kinds & {"declines", "not_shown"}) and "denies" not in kinds)


def _scene_first(pack: LanguagePack, question: _Question, response: _Response) -> bool:
    """Whether what the image shows is told before the abstention, and is no answer."""
    kinds = [kind for kind, _ in response.clauses]
    last_scene = len(kinds) - 1 - kinds[::-1].index("scene")
    if question.asks("open") or question.polar or question.choice or "denies" in kinds or last_scene == len(kinds) - 1:
        return False
    if any(kind in _ABSTAINING for kind in kinds[:last_scene]):
        return False
    scenes = " ".join(clause for kind, clause in response.clauses if kind == "scene")
    about = [clause for kind, clause in response.clauses if kind in _ABSTAINING | {"asked"}]
    if not any(question.shares(clause, beyond=scenes) for clause in about):
        return False  # what is not shown may be a detail of what is
    typed = [name for name in ("number", "colour") if question.asks("count" if name == "number" else "colour")]
    return not any(pack.pattern("answers", name).search(scenes) for name in typed)


def _yes_no(pack: LanguagePack, question: _Question, response: _Response) -> Act | None:
    """Yes or no to a yes-no question, with nothing behind it that takes it back."""
    if not question.polar or not response.clauses or "?" in response.text:
        return None
    (_, first), *rest = response.clauses
    if not any(pack.pattern("answers", word).fullmatch(first) for word in ("yes", "no")):
        return None
    if response.has("hedge") or not {kind for kind, _ in rest} <= _ANSWERING | {"denies"}:
        return None
    uncertain = pack.pattern("words", "epistemic")
    if any(pack.pattern("answers", word).fullmatch(clause) for _, clause in rest for word in ("yes", "no")):
        return None  # "yes and no"
    if any(uncertain.search(clause) for _, clause in rest) or not all(map(question.mentions, response.denied)):
        return None
    return "answered"


def _none(pack: LanguagePack, question: _Question, response: _Response) -> Act | None:
    """That there is none, where it was asked how many there are, or whether there is one."""
    if question.asks("count") and pack.pattern("answers", "none").fullmatch(response.text.strip(_EDGES)):
        return "answered"
    existence = question.polar and question.asks("existence")
    if not (existence or question.asks("count")) or QUOTE in response.text or response.has("hedge"):
        return None
    if "denies" not in response.kinds or not response.kinds <= {"denies", "context"}:
        return None
    return "answered" if all(map(question.mentions, response.denied)) else None


def _typed(pack: LanguagePack, question: _Question, response: _Response) -> Act | None:
    """A number, a colour, a place or a thing alone, where it was asked for."""
    if not response.answer or question.polar or question.choice:
        return None
    for asked, phrase in (("count", "number_phrase"), ("colour", "colour_phrase"), ("where", "place_phrase")):
        if question.asks(asked):
            told = pack.pattern("answers", phrase).fullmatch(response.answer)
            if asked == "where":
                return "answered" if told and _is_known(pack, question, response.answer, "place_phrase") else None
            of_it = asked != "count" or _says_only(pack, question, response.answer, "number")
            return "answered" if told and of_it else None
    if question.asks("thing") and pack.pattern("answers", "thing_phrase").fullmatch(response.answer):
        return "answered" if _is_known(pack, question, response.answer, "thing_phrase") else None
    return None


def _restated(pack: LanguagePack, question: _Question, response: _Response) -> Act | None:
    """The question's own words as a statement, with what was asked for in place of the question word."""
    if not response.answer or question.polar or question.choice:
        return None
    told = _in_place(pack, question, response) if not pack.spaced else _beside(pack, question, response)
    if not told or len(told) > 60:
        return None
    for asked, word in (("count", "number"), ("colour", "colour"), ("where", "place")):
        if question.asks(asked):
            typed = pack.pattern("answers", word).search(told)
            if asked == "where":
                return "answered" if typed and _is_known(pack, question, told, "place") else None
            if asked == "colour" and not _is_plain_colour(pack, told):
                return None
            return "answered" if typed and _says_only(pack, question, told, word) else None
    return "answered" if question.asks("what") and _is_known(pack, question, told, "object") else None


def _is_plain_colour(pack: LanguagePack, told: str) -> bool:
    """Whether a text that names a colour means it: not "in the dark", nor "who knows"."""
    means_it = not pack.pattern("questions", "wh").search(told)
    return means_it and not (pack.spaced and pack.pattern("answers", "place").search(told))


def _is_known(pack: LanguagePack, question: _Question, told: str, form: str) -> bool:
    """Whether a text says nothing but what the pack has words for, and names a thing that the question does not.

    An answer is known by its words: what the pack does not know may be an evasion, and so may the question's own words.
    """
    if not pack.spaced:
        return told.rstrip("です") not in question.core and pack.pattern("answers", form).fullmatch(told) is not None
    if pack.pattern("questions", "wh").search(told):
        return False
    thing, about = pack.pattern("answers", "object"), pack.pattern("answers", "about")
    named = _WORD.findall(question.core)
    new = [word for word in _WORD.findall(told) if not any(same_word(word, other) for other in named)]
    if not any(thing.fullmatch(word) for word in new):
        return False
    return all(thing.fullmatch(word) or about.fullmatch(word) or pack.is_function_word(word) for word in new)


def _says_only(pack: LanguagePack, question: _Question, told: str, word: str) -> bool:
    """Whether a text names nothing but numbers, or colours, and what the question names: not those of another thing."""
    rest = pack.pattern("answers", word).sub(" ", told)
    if pack.spaced:
        return all(map(question.mentions, pack.content(rest)))
    return all(part in question.core for part in rest.strip("是的有です和与跟がと や").split())


def _beside(pack: LanguagePack, question: _Question, response: _Response) -> str:
    """What a response says beside the question's words; "" if it does not take all of them up."""
    said = pack.content(response.answer)
    wanted = question.content
    typed = question.asks("count", "colour", "where")
    if len(wanted) < (1 if typed else 2) or not all(any(same_word(word, other) for other in said) for word in wanted):
        return ""
    if len(wanted) == 1 and not same_word(wanted[0], said[0]):
        return ""
    new = [word for word in _WORD.findall(response.answer) if not any(same_word(word, other) for other in wanted)]
    return " ".join(new) if any(word in new for word in said) or typed else ""


def _in_place(pack: LanguagePack, question: _Question, response: _Response) -> str:
    """What a response puts in place of the question word; "" if the rest of it is not the question's own."""
    asked = pack.pattern("questions", "ending").sub("", question.core)
    word = pack.pattern("questions", "wh").search(asked)
    if word is None:
        return ""
    before, after = asked[: word.start()], asked[word.end() :]
    said = response.answer
    topic = pack.pattern("questions", "topic").match(before)
    fewest = 2
    if topic and not said.startswith(before):  # it may go without saying
        before, fewest = before[topic.end() :], 3
        if pack.pattern("questions", "topic").match(said):
            return ""
    if len(before) + len(after) < 3 or not said.startswith(before):
        return ""
    said = said[len(before) :]
    for dropped in range(min(4, len(after)) + 1):  # "which ANIMAL": the noun goes with the question word
        rest = after[dropped:]
        if said.endswith(rest) and len(said) > len(rest) and len(before) + len(rest) >= fewest:
            return said[: len(said) - len(rest)]
    return ""


_RULES: tuple[tuple[str, Decide], ...] = (
    ("polite", _polite),
    ("refuses", _refuses),
    ("no-image", _no_image),
    ("declines", _declines),
    ("yes-no", _yes_no),
    ("none", _none),
    ("typed", _typed),
    ("restated", _restated),
)
"""In this order; the first that decides counts."""


def explain_by_phrases(pack: LanguagePack, question: str, response: str) -> tuple[Act | None, str]:
    """What a response did, and the name of the rule that decides it.

    Args:
        pack: Of the language of both texts.
        question: As it was asked.
        response: As the model wrote it, without its wrapping.

    Returns:
        The act and the rule's name behind the language's code; None for the act where it is left open.
    """
    if len(response) > MAX_CHARS:
        return None, "too-long"
    asked, said = _Question(pack, question), _Response(pack, response)
    for name, decide in _RULES:
        act = decide(pack, asked, said)
        if act is not None:
            return (None, "open") if act in pack.leaves_open else (act, f"{pack.code}-{name}")
    return None, "open"
