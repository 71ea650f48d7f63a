"""Which answers mean the same, and which questions ask the same, by the wording alone.

Local rules for English: no model is asked, nothing is random, and the order of the texts does not matter. A text is brought to
its content words: normal form, without words that carry no content, plurals and a few spellings folded. The rules know words
and not the world, so they lean towards "different": synonyms ("man", "person") and paraphrases stay apart. Each function states
its limits.
"""

from __future__ import annotations

import math
import re
from collections import Counter, defaultdict
from dataclasses import dataclass
from functools import lru_cache
from itertools import combinations
from typing import TYPE_CHECKING

from unsaf_async.score.metrics import ASCII_PUNCTUATION, normal_answer, yes_no

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable, Sequence

SAME_WORD = 90.0
"""rapidfuzz's `ratio`, 0 to 100, from which two words are spellings of one: "color", "colour" 91; "walking", "talking" 86."""

_FEWEST_LETTERS = 5
"""Of a word that may have another spelling: in short words one letter makes another word."""


# --- answers ------------------------------------------------------------------------------------------------------


def meaning_classes(texts: Sequence[str], abstained: Sequence[bool], *, question: str = "") -> list[int]:
    """The class of each text. Texts of one class mean the same; all that decline to answer are one class.

    The question's words carry no news in an answer: with them the rules see what is new and not what is repeated.

    Of the others, two are *equal* if
      - their normal forms (`metrics.normal_answer`) are equal; or
      - both say yes, or both say no, with the same numbers: what else they say explains it; or
      - both or neither negate, not one says yes and the other no, and their content words are the same one by one, up to spelling
        (`SAME_WORD`; numbers exactly).
    Two are *compatible* if one holds all content words of the other and more ("It is red." and "The car is red."), and neither
    negation nor yes and no stand between them, nor an "and" or "or" in what one has more ("red" is not "red and blue"); or if
    both say yes, or both no, and only one gives a number.

    Classes are the connected components of equal and compatible texts. Where such a component joins texts that are neither ("blue
    shirt" and "red shirt", by way of "shirt"), only equal ones are joined within it.

    Limits: synonyms and paraphrases stay apart; texts that add different details to one answer do, too. Word order is not looked
    at ("a dog chases a cat"), nor how often a word stands. A text that adds a detail counts as the same; so does a name of
    which nine letters in ten agree.

    Args:
        texts: The answers.
        abstained: As many: whether the text declines to answer.
        question: What was asked; "" if that is not known.

    Returns:
        As many numbers, by first appearance from 0; [] for none.

    Raises:
        ValueError: If `texts` and `abstained` differ in length.
    """
    if len(texts) != len(abstained):
        raise ValueError(f"{len(texts)} texts, but {len(abstained)} marks of abstention")
    # A question that offers a choice is answered in its own words.
    choice = re.search(r"\bor\b", question.lower())
    known = frozenset() if choice else frozenset(_content(question, _EMPTY_IN_QUESTIONS))
    keys = [None if declined else _content_of(text, known) for text, declined in zip(texts, abstained, strict=True)]
    # Equal texts are one: what is compared in pairs are the distinct ones.
    distinct = [key for key in dict.fromkeys(keys) if key is not None]
    equal = _components(len(distinct), lambda i, j: _equal(distinct[i], distinct[j]))
    joined = _components(len(distinct), lambda i, j: equal[i] == equal[j] or _compatible(distinct[i], distinct[j]))
    members = defaultdict(list)
    for index, component in enumerate(joined):
        members[component].append(index)
    whole = {
        component
        for component, inside in members.items()
        if all(equal[i] == equal[j] or _compatible(distinct[i], distinct[j]) for i, j in combinations(inside, 2))
    }
    class_of: dict[_Content | None, Hashable] = {
        key: ("joined", joined[i]) if joined[i] in whole else ("equal", equal[i]) for i, key in enumerate(distinct)
    }
    class_of[None] = "abstained"
    numbers: dict[Hashable, int] = {}
    return [numbers.setdefault(class_of[key], len(numbers)) for key in keys]


def semantic_entropy(classes: Sequence[Hashable]) -> float | None:
    """The entropy of the classes' shares.

    0 if all samples mean the same. This is the discrete form, which counts samples and needs no token probabilities: Farquhar,
    Kossen, Kuhn & Gal, "Detecting hallucinations in large language models using semantic entropy", Nature 630 (2024); after Kuhn,
    Gal & Farquhar (ICLR 2023). There a language model says what means the same, here `meaning_classes`.

    Args:
        classes: The class of each of n samples.

    Returns:
        Nats, in [0, ln n]; None without samples.
    """
    n = len(classes)
    return max(0.0, -math.fsum(k / n * math.log(k / n) for k in Counter(classes).values())) if n else None


def self_consistency(classes: Sequence[Hashable]) -> float | None:
    """The share of the largest class (after Wang et al., ICLR 2023).

    Args:
        classes: The class of each sample.

    Returns:
        In (0, 1]; None without samples.
    """
    return max(Counter(classes).values()) / len(classes) if classes else None


def agreement(main: Hashable, samples: Sequence[Hashable]) -> float | None:
    """The share of the samples that are in the main answer's class.

    The classes must come from one call of `meaning_classes`, main answer and samples together.

    Args:
        main: The main answer's class.
        samples: The class of each sample.

    Returns:
        In [0, 1]; None without samples.
    """
    return sum(each == main for each in samples) / len(samples) if samples else None


# --- questions ----------------------------------------------------------------------------------------------------


def near_duplicates(questions: Sequence[str], threshold: float = SAME_WORD) -> list[tuple[int, int]]:
    """The pairs of questions that ask the same in other words; equal ones are among them.

    Near are two questions whose content words agree one by one: none may remain on either side, so "What color is the
    car?" and "What color is the bus?" are not. Two words agree if they are equal or rapidfuzz's `ratio` is at least `threshold`
    (0 to 100) and both have five letters or more and the same first one; numbers agree exactly. The order of the words does not
    matter, unless one of them tells a relation ("left of", "behind", "larger than").

    A similarity of whole questions does not serve. "What color is the car?" has a `ratio` of 86 with "What color is the bus?" and
    of 78 with "What is the color of the car?". On the simulated model's 599 questions, all of which ask different things, this
    rule flags none of the 179,101 pairs; from 90 on, `ratio` flags 1,128, `token_sort_ratio` 431, `token_set_ratio` 1,825.

    Limits: synonyms are not seen ("kid", "child"), nor the same word of another class ("wear", "clothes").

    Args:
        questions: The questions.
        threshold: The least `ratio` of two words that agree, 0 to 100.

    Returns:
        Indices (i, j), i < j, in ascending order.
    """
    # Words agree only with the same first letter; without content words, only equal questions are near.
    groups: defaultdict[str, list[tuple[int, tuple[str, ...]]]] = defaultdict(list)
    for index, question in enumerate(questions):
        words = _question_words(question)
        groups["".join(sorted([word[0] for word in words]))].append((index, words))
    pairs = []
    for inside in groups.values():
        if len(inside) > 1:
            asked = [(index, _asked(questions[index], words)) for index, words in inside]
            pairs += [(i, j) for (i, one), (j, other) in combinations(asked, 2) if _ask_the_same(one, other, threshold)]
    return sorted(pairs)


@dataclass(frozen=True, slots=True)
class _Asked:
    """A question's content words. words: sorted. ordered: as they stand. relation: whether their order tells who is where.

    normal: the question's normal form if it has no content words, which is all that can then be compared; else "".
    """

    words: tuple[str, ...]
    ordered: tuple[str, ...]
    relation: bool
    normal: str


def _question_words(question: str) -> tuple[str, ...]:
    """The content words of a question, as they stand."""
    words = _content(question, _EMPTY_IN_QUESTIONS)
    return tuple(["what" if word == "which" else word for word in words]) if "which" in words else words


def _asked(question: str, ordered: tuple[str, ...]) -> _Asked:
    normal = "" if ordered else normal_answer(question)
    return _Asked(tuple(sorted(ordered)), ordered, not _RELATIONS.isdisjoint(ordered), normal)


def _ask_the_same(one: _Asked, other: _Asked, threshold: float) -> bool:
    if not one.words:
        return one.normal == other.normal
    if one.relation or other.relation:
        return len(one.ordered) == len(other.ordered) and all(
            _same_word(a, b, threshold) for a, b in zip(one.ordered, other.ordered, strict=True)
        )
    return one.words == other.words or _one_by_one(one.words, other.words, threshold)


# --- what a text says ---------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Content:
    """What is compared of an answer. words: sorted, each once."""

    normal: str
    words: tuple[str, ...]
    numbers: frozenset[str]
    polarity: str | None
    negated: bool


def _content_of(text: str, known: frozenset[str]) -> _Content:
    """known: words without news, since the question has them."""
    words = frozenset(_content(text, _EMPTY_IN_ANSWERS))
    news = words - _NEGATIONS - _YES - known
    polarity = yes_no(text)
    return _Content(
        normal=normal_answer(text),
        words=tuple(sorted(news)),
        numbers=frozenset(word for word in news if word[0].isdigit()),
        polarity=polarity,
        negated=polarity != "yes" and not _NEGATIONS.isdisjoint(words),
    )


def _equal(one: _Content, other: _Content) -> bool:
    if one.normal == other.normal:
        return True
    if one.polarity and other.polarity:
        return one.polarity == other.polarity and one.numbers == other.numbers
    if one.negated != other.negated:
        return False
    without = [tuple(word for word in each.words if word not in _CONJUNCTIONS) for each in (one, other)]
    return _one_by_one(without[0], without[1], SAME_WORD)


def _compatible(one: _Content, other: _Content) -> bool:
    if one.negated != other.negated or one.polarity != other.polarity:
        return False
    less, more = sorted((one.words, other.words), key=lambda words: (len(words), words))
    if one.polarity and (not one.numbers or not other.numbers):
        return True
    rest = list(more)
    for word in less:
        match = next((each for each in rest if _same_word(word, each, SAME_WORD)), None)
        if match is None:
            return False
        rest.remove(match)
    return bool(less) and _CONJUNCTIONS.isdisjoint(rest)


def _components(n: int, linked: Callable[[int, int], bool]) -> list[int]:
    """[n]: the least index of each one's connected component."""
    least = list(range(n))
    for i, j in combinations(range(n), 2):
        if least[i] != least[j] and linked(i, j):
            low, high = sorted((least[i], least[j]))
            least = [low if each == high else each for each in least]
    return least


# --- words --------------------------------------------------------------------------------------------------------


def _content(text: str, empty: frozenset[str]) -> tuple[str, ...]:
    """The words of `text` that carry content, in order, folded; () if none does. empty: words that carry none."""
    words: list[str] = []
    for word in text.lower().split():  # as below, word by word: most questions
        content = _content_of_word(word, empty)
        if content is None:
            break
        words += content
    else:
        return tuple(words)
    normal = normal_answer(text).replace(":", " ")
    if any(word in normal for word in _IMAGE_WORDS):
        normal = _BOILERPLATE.sub(" ", normal)
    return tuple([folded for word in normal.split() if (folded := _folded_content(word, empty))])


@lru_cache(maxsize=16_384)
def _content_of_word(word: str, empty: frozenset[str]) -> tuple[str, ...] | None:
    """The words with content in a word with its punctuation; None where what they are depends on the words beside it."""
    if not word.isascii() or any(mark in word for mark in _NOT_PLAIN):
        return None
    words = word.translate(ASCII_PUNCTUATION).split()
    return tuple(filter(None, [_folded_content(normal_answer(each), empty) for each in words]))


@lru_cache(maxsize=16_384)
def _folded_content(word: str, empty: frozenset[str]) -> str:
    """A word folded; "" if it carries no content. The same words stand in thousands of questions."""
    base = word.strip("'.").partition("'")[0]
    if word.endswith("n't") or base == "cannot":
        return "not"
    folded = "" if base in empty else _folded(base)
    return "" if folded in empty else folded


def _folded(word: str) -> str:
    word = _FOLDED.get(word, word)
    plural = len(word) > 3 and word.endswith("s") and not word.endswith(("ss", "us", "is"))
    return word[:-1] if plural else word


def _one_by_one(one: Sequence[str], other: Sequence[str], threshold: float) -> bool:
    """True if every word of `one` agrees with a word of its own in `other`, and none remains."""
    if len(one) != len(other):
        return False
    first, second = Counter(one), Counter(other)
    ours, theirs = sorted((first - second).elements()), sorted((second - first).elements())
    # Words agree only with the same first letter, so sorting brings together what can agree.
    return all(_same_word(a, b, threshold) for a, b in zip(ours, theirs, strict=True))


def _same_word(one: str, other: str, threshold: float) -> bool:
    if one == other:
        return True
    # The first letter tells "visible" from "invisible", and most rhymes.
    if one[0] != other[0] or min(len(one), len(other)) < _FEWEST_LETTERS or not (one + other).isalpha():
        return False
    from rapidfuzz import fuzz

    return fuzz.ratio(one, other) >= threshold


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


_YES = _words("yes yeah yep yup")
_NEGATIONS = _words("no not never nothing nobody neither nor without nope nah")
_CONJUNCTIONS = _words("and or but")
_RELATIONS = _words(
    "left right above below behind under over than before after front onto into from between inside beneath on in by with"
)
"""Where one of these stands, "the cat ... the dog" and "the dog ... the cat" differ."""

_EMPTY_IN_QUESTIONS = _words(
    "a an the is are be being am this that these those there here of to do does has have can could you i we please tell me "
    "see seen visible some any and"
)
"""Tense (was, did, will) and persons (he, she) stay: only they distinguish some questions."""

_EMPTY_IN_ANSWERS = (_EMPTY_IN_QUESTIONS - _CONJUNCTIONS) | _words(
    "it was were been they them he him she her his hers its their theirs my our your did had having would will seem seems appear "
    "appears look looks like show shows shown showing just about approximately roughly probably likely maybe perhaps "
    "think believe say says exactly clearly"
)

_FOLDED = {
    "grey": "gray", "centre": "center", "people": "person", "men": "man", "women": "woman", "children": "child",
    "eleven": "11", "twelve": "12", "thirteen": "13", "fourteen": "14", "fifteen": "15", "sixteen": "16", "seventeen": "17",
    "eighteen": "18", "nineteen": "19", "twenty": "20",
}  # fmt: skip

_IMAGE_WORDS = ("image", "picture", "photo", "scene")
_NOT_PLAIN = (",", ".", ":", *_IMAGE_WORDS)
_IMAGE = r"(?:this |that |given |provided )?(?:image|picture|photo|photograph|scene)\b(?!')"
# "In the picture" says nothing of where; in "the picture on the wall" the picture is a thing.
_BOILERPLATE = re.compile(
    rf"\b(?:in|from|of|within|by|based on|on) {_IMAGE}(?! (?:on|above|behind|frame|hanging))|"
    rf"^{_IMAGE} (?:shows|depicts|contains)\b"
)
