"""What lists of questions look like in twenty-two languages: the words for a question, an answer, a note; how sentences ask."""

from __future__ import annotations

import re
import tomllib
import unicodedata
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import TYPE_CHECKING, Final, Literal

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

Script = Literal["latin", "han", "kana", "hangul", "cyrillic", "arabic", "devanagari", "thai", "hebrew", "greek"]


@dataclass(frozen=True, slots=True)
class Language:
    """The forms of one language, as regular expressions over `comparable` texts. "": there are none.

    script: of what it is written in. question, answer, note, kind: the words before a colon. answerable, unanswerable: what
    a heading says of its questions; the second is tried first. about: how sentences about the list begin: announcements,
    offers, apologies. declines: how sentences begin that say that the image does not show something. opens: how questions
    begin. asks: what makes a sentence a question wherever it stands. requests: what makes it a request. doubts: what no
    question without a mark holds.
    """

    script: Script
    question: str
    answer: str
    note: str
    kind: str
    answerable: str
    unanswerable: str
    about: str = ""
    declines: str = ""
    opens: str = ""
    asks: str = ""
    requests: str = ""
    doubts: str = ""


def _languages() -> Iterator[Language]:
    text = files("unsaf_async.examine.parse").joinpath("languages.toml").read_text("utf-8")
    for table in tomllib.loads(text).values():
        script = table.pop("script")
        yield Language(script, **{name: "|".join(parts) for name, parts in table.items()})


LANGUAGES: Final = tuple(_languages())
"""English, whose further forms are in `gate`, comes first."""

_VOWEL_SIGNS = re.compile("[\u0640\u064b-\u0652\u200b-\u200f\ufeff]")
_LETTER_OF = re.compile(
    "(?P<kana>[\u3041-\u30ff])|(?P<han>[\u3400-\u9fff])|(?P<hangul>[\uac00-\ud7a3])|(?P<cyrillic>[\u0400-\u04ff])"
    "|(?P<arabic>[\u0620-\u06d3])|(?P<devanagari>[\u0904-\u0939])|(?P<thai>[\u0e01-\u0e30])|(?P<hebrew>[\u05d0-\u05ea])|(?P<greek>[\u0386-\u03ce])"
)


def comparable(text: str) -> str:
    """A text as the expressions of languages expect it: composed, without the optional vowel signs of Arabic.

    Args:
        text: Any text.

    Returns:
        The text; apostrophes are straight, and spaces plain.
    """
    if text.isascii():
        return text
    text = _VOWEL_SIGNS.sub("", unicodedata.normalize("NFC", text))
    return text.replace("’", "'").replace("\xa0", " ").replace("\u202f", " ")


def pattern(*fields: str, english: bool = True) -> str:
    """What the languages have for some things, as one expression.

    Args:
        fields: Names of fields of `Language`.
        english: Whether English is among them.

    Returns:
        A group of alternatives.
    """
    chosen = LANGUAGES if english else LANGUAGES[1:]
    return _alternatives(getattr(language, field) for field in fields for language in chosen)


def _alternatives(expressions: Iterable[str]) -> str:
    return f"(?:{'|'.join(unicodedata.normalize('NFC', each) for each in expressions if each) or '(?!)'})"


@dataclass(frozen=True, slots=True)
class Forms:
    """The forms of all languages of one script, compiled. The fields are those of `Language`; case does not matter."""

    script: Script
    about: re.Pattern[str]
    declines: re.Pattern[str]
    opens: re.Pattern[str]
    asks: re.Pattern[str]
    requests: re.Pattern[str]
    doubts: re.Pattern[str]


def forms_of(text: str) -> Forms:
    """The forms of the script of a text.

    Args:
        text: As `comparable` gives it.

    Returns:
        Those of Latin letters where it has no others.
    """
    scripts = set() if text.isascii() else {str(letter.lastgroup) for letter in _LETTER_OF.finditer(text[:600])}
    return _forms(next((script for script in _PRECEDENCE if script in scripts), "latin"))


_PRECEDENCE: tuple[Script, ...] = (
    "kana",
    "hangul",
    "thai",
    "devanagari",
    "arabic",
    "hebrew",
    "cyrillic",
    "greek",
    "han",
)
"""Japanese and Korean take in Chinese characters, and any language words of another."""


@cache
def _forms(script: Script) -> Forms:
    scripts = {"han", "kana"} if script == "han" else {script}  # short Japanese texts may have no kana
    chosen = [language for language in LANGUAGES if language.script in scripts]

    def compiled(field: str) -> re.Pattern[str]:
        return re.compile(_alternatives(getattr(language, field) for language in chosen), re.IGNORECASE)

    fields = ("about", "declines", "opens", "asks", "requests", "doubts")
    return Forms(script, *map(compiled, fields))
