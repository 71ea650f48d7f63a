"""Language packs: what the rules know of a language other than English, as data (`languages/CODE.toml`)."""

from __future__ import annotations

import re
import tomllib
import unicodedata
from dataclasses import dataclass
from functools import cache, cached_property
from pathlib import Path
from typing import Any

from unsaf_async.examine.rules.filters import ENGLISH
from unsaf_async.examine.rules.plain import QUOTE, any_of, without_markup, words_of

LANGUAGES = ("de", "es", "fr", "ja", "zh")
"""The languages that have a pack, as ISO 639-1 codes. English is the rules' own."""

KINDS = (
    "no_image", "refuses", "doubts", "declines", "not_shown", "unseen", "denies", "advises", "courtesy", "pleasantry",
    "reason", "asked", "scene",
)  # fmt: skip
"""What a clause may do, in the order in which a pack's phrases are tried. All else is a statement."""

_QUOTED = re.compile(
    r'"[^"\n]{1,300}"|[“„][^”“\n]{1,300}[”“]|«[^»\n]{1,300}»|‹[^›\n]{1,300}›|「[^」\n]{1,300}」|『[^』\n]{1,300}』'
    r"|《[^》\n]{1,300}》|〈[^〉\n]{1,300}〉|(?<!\w)[‘'](?=\S)[^'’\n]{1,200}['’](?!\w)"
)
_KANA = re.compile(r"[\u3041-\u3096\u30a1-\u30fa]")
_HAN = re.compile(r"[\u3400-\u4dbf\u4e00-\u9fff々]")
_OTHER_LETTER = re.compile(r"[^\W\d_]")


@dataclass(frozen=True)
class LanguagePack:
    """What the rules know of one language."""

    code: str
    """ISO 639-1."""
    data: dict[str, Any]
    """The pack's file."""

    @cached_property
    def leaves_open(self) -> frozenset[str]:
        """The acts of which it is not right often enough: they are left to the judge."""
        return frozenset(self.data["leaves_open"])

    @cached_property
    def spaced(self) -> bool:
        """Whether words have spaces between them."""
        return "words" in self.data["detect"]

    @cached_property
    def words(self) -> frozenset[str]:
        """Function words by which the language is known; none of them is English."""
        return frozenset(self.data["detect"].get("words", ()))

    @cached_property
    def shared(self) -> frozenset[str]:
        """Function words that English has, too."""
        return frozenset(self.data["detect"].get("shared", ()))

    @cached_property
    def own(self) -> frozenset[str]:
        """Both."""
        return self.words | self.shared

    @cached_property
    def neighbours(self) -> frozenset[str]:
        """Words of similar languages: a text that has one is not in this language."""
        return frozenset(self.data["detect"].get("neighbours", ()))

    @cached_property
    def _fold(self) -> dict[int, int]:
        one, other = self.data.get("text", {}).get("fold", ("", ""))
        return str.maketrans(one, other)

    @cached_property
    def _parts(self) -> dict[str, str]:
        parts: dict[str, str] = {}
        for name, pattern in self.data["parts"].items():
            parts[name] = f"(?:{_filled(pattern, parts)})"
        return parts

    @cached_property
    def kinds(self) -> tuple[tuple[str, re.Pattern[str]], ...]:
        """Each kind of clause that the pack has phrases for, with a pattern of the whole clause."""
        phrases = self.data["phrases"]
        return tuple((kind, self._any(phrases[kind])) for kind in KINDS if kind in phrases)

    def pattern(self, table: str, name: str) -> re.Pattern[str]:
        """A pattern of the pack.

        Args:
            table: The table of the file: "words", "questions" or "answers".
            name: The key in it.

        Returns:
            What the key's patterns match, any of them.
        """
        return self._compiled[table, name]

    @cached_property
    def _compiled(self) -> dict[tuple[str, str], re.Pattern[str]]:
        tables = ("words", "questions", "answers")
        return {
            (table, name): self._any(patterns)
            for table in tables
            for name, patterns in self.data.get(table, {}).items()
        }

    def _any(self, patterns: list[str]) -> re.Pattern[str]:
        return any_of(*(_filled(pattern, self._parts) for pattern in patterns))

    @cached_property
    def _stop(self) -> frozenset[str]:
        text = self.data["text"]
        return (self.own | frozenset(text["stop"])) - frozenset(text["keep"])

    def is_function_word(self, word: str) -> bool:
        """Whether a word has no content of its own.

        Args:
            word: In lower case.

        Returns:
            False in a language without spaces.
        """
        return word in self._functional

    @cached_property
    def _functional(self) -> frozenset[str]:
        return self.own | frozenset(self.data.get("text", {}).get("stop", ()))

    def content(self, text: str) -> list[str]:
        """The content words of a plain text.

        Args:
            text: As `plain` returns it.

        Returns:
            Words of three letters or more that are no function words, in order, without accents.
        """
        words = [word for word in re.findall(r"[^\W_]+", text) if len(word) > 2 and word not in self._stop]
        return [unicodedata.normalize("NFD", word).encode("ascii", "ignore").decode() or word for word in words]

    def plain(self, text: str) -> str:
        """A text in one form: compatibility characters and case folded, no markup, quotations replaced.

        Args:
            text: A question or a response.

        Returns:
            The plain text; without spaces where the language has none. A quoted span is `QUOTE`.
        """
        text = without_markup(_QUOTED.sub(f" {QUOTE} ", text))
        text = unicodedata.normalize("NFKC", text).lower().translate(_APOSTROPHES).translate(self._fold)
        return re.sub(r"[ \t]+", " " if self.spaced else "", text).strip()


_APOSTROPHES = str.maketrans({"’": "'", "ʼ": "'", "‘": "'", "´": "'", "¿": " ", "¡": " "})


def _filled(pattern: str, parts: dict[str, str]) -> str:
    """A pattern in one line, with its `<names>` replaced by the parts that they stand for."""
    return re.sub(r"<(\w+)>", lambda match: parts[match[1]], pattern.replace("\n", ""))


@cache
def load_language(code: str) -> LanguagePack:
    """The pack of a language.

    Args:
        code: One of `LANGUAGES`.

    Returns:
        The pack, read once.
    """
    file = Path(__file__).parent / "languages" / f"{code}.toml"
    return LanguagePack(code, tomllib.loads(file.read_text("utf-8")))


@cache
def _spaced_packs() -> tuple[LanguagePack, ...]:
    return tuple(pack for pack in map(load_language, LANGUAGES) if pack.spaced)


@cache
def _only_english() -> frozenset[str]:
    """English function words that no pack shares."""
    return ENGLISH.difference(*(pack.shared for pack in _spaced_packs()))


def language_of(question: str, response: str) -> LanguagePack | None:
    """The language in which something was asked and answered, where a pack knows it.

    Kana tells Japanese, Han without kana Chinese; other languages are known by function words of the question.

    Args:
        question: As it was asked.
        response: As the model wrote it, without its wrapping.

    Returns:
        The pack; None for English, for other languages, for two languages, and where it is not certain.
    """
    asked = words_of(question.lower())
    if question.isascii() and not asked.isdisjoint(_only_english()):
        return None
    if _HAN.search(question) or _KANA.search(question):
        return _of_east_asia(question, response)
    return _of_europe(asked, words_of(response.lower()))


def may_be_another(question: str) -> bool:
    """Whether a question has function words of a pack and none that only English has, so that no English rule may read it.

    Args:
        question: As it was asked.

    Returns:
        True also where no pack is certain.
    """
    asked = words_of(question.lower())
    return asked.isdisjoint(_only_english()) and any(asked & pack.words for pack in _spaced_packs())


def _of_east_asia(question: str, response: str) -> LanguagePack | None:
    asked, said = _letters(question), _letters(response)
    if asked["other"] * 3 > asked["kana"] + asked["han"] or said["other"] > said["kana"] + said["han"]:
        return None
    if asked["kana"]:
        return load_language("ja")
    return load_language("zh") if not said["kana"] else None


def _letters(text: str) -> dict[str, int]:
    kana, han = len(_KANA.findall(text)), len(_HAN.findall(text))
    return {"kana": kana, "han": han, "other": len(_OTHER_LETTER.findall(text)) - kana - han - text.count("ー")}


def _of_europe(asked: frozenset[str], said: frozenset[str]) -> LanguagePack | None:
    """The one pack of which a question has the most function words, if nothing speaks against its response being so."""

    def count(pack: LanguagePack) -> tuple[int, int]:
        return len(asked & pack.own), len(said & pack.own)

    best, *rest = sorted(_spaced_packs(), key=count, reverse=True)
    if not asked & best.words or count(best) == count(rest[0]):
        return None
    english = ENGLISH - best.shared
    if asked & english or (asked | said) & best.neighbours:
        return None
    others = (english, *(pack.own - best.own for pack in rest))
    own, foreign = len(said & best.own), max(sum(len(word) > 1 for word in said & words) for words in others)
    return best if own > foreign or (not foreign and len(said) < 5) else None
