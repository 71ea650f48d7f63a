"""Secrets kept out of texts, in every form in which a server may send them back.

What is compared are letters and digits alone, in lower case: case, line breaks, dashes, quotes and invisible characters between
them hide nothing. Escapes (percent, HTML, JSON) are undone first, also twice; base64 and hexadecimal are looked for as they are.
A piece of a secret is hidden, too, so that one which is spread over two texts is hidden in both; and what is left of one of
which most is masked.

Replies pass through here on their way in, so what holds no secret is recognised fast: of every run of 15 letters one machine
word of 8 lies whole in an 8-byte word of the text, and the words of all secrets' forms are one set.
"""

from __future__ import annotations

import re
import sys
from base64 import b64encode
from dataclasses import dataclass
from html.entities import html5
from typing import TYPE_CHECKING, Any

from unsaf_async.providers.masked_keys import MARK, MaskedKeys

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

SHORTEST = 6
"""Characters. Shorter secrets are not hidden: "EMPTY", "none" and "test" are no secrets, and would blot out ordinary words."""

FEW = 16
"""Letters and digits. With fewer, and no digit among them, a secret looks like words, such as "not-needed"."""

WORD = 8
"""Bytes of a machine word."""

PIECE = 2 * WORD - 1
"""Letters and digits. A piece of a long secret counts from this length on: no other text has it by chance."""

LEVELS = 3
"""How often escapes within escapes are undone."""

_LOWER = bytes(range(256)).lower()
_NO_LETTERS = bytes(each for each in range(256) if not bytes((each,)).isalnum())
_ESCAPE = re.compile(
    r"%(?P<percent>[0-9a-f]{2})|&\#x(?P<hexadecimal>[0-9a-f]{1,6});?|&\#(?P<decimal>[0-9]{1,7});?|&(?P<name>[a-z]{2,31});"
    r"|\\u\{(?P<braced>[0-9a-f]{1,6})\}|\\u(?P<json>[0-9a-f]{4})|\\x(?P<byte>[0-9a-f]{2})",
    re.IGNORECASE,
)


class Redactor:
    """Hides secrets in texts."""

    def __init__(self, secrets: Iterable[str | None]) -> None:
        """A redactor that knows all forms of some secrets.

        Args:
            secrets: Texts to hide. None, and those of less than `SHORTEST` characters, are passed over. One of less than
                `WORD` letters and digits, or of less than `FEW` and without a digit, looks like words ("not-needed"): it is
                hidden as it stands, in any case, and encoded, and not where its words stand in a sentence.
        """
        self._pieces: dict[int, set[bytes]] = {}
        """Every piece of every form that counts, by its length."""
        self._words: set[int] = set()
        self._anchors: set[bytes] = set()
        """Parts of those forms that are too short for words: wherever one of their pieces stands, one of these does."""
        wordlike, keys = [], []
        for secret in sorted({each for each in secrets if each and len(each) >= SHORTEST}):
            for form in _forms(secret):
                self._learn(form)
            if _is_wordlike(secret):
                self._anchors.add(_letters(secret))
                wordlike.append(re.escape(secret))
            else:
                keys.append(secret)
        self._masked = MaskedKeys(keys)
        wordlike.sort(key=len, reverse=True)  # one may begin with another
        self._as_they_stand = re.compile("|".join(wordlike), re.IGNORECASE) if wordlike else None

    def __call__(self, text: str) -> str:
        """A text with its secrets hidden.

        Args:
            text: Any text, whole: half a secret at the end of one that was cut may be too short to be known.

        Returns:
            The text with `MARK` in place of each secret; the very same object if there is none.
        """
        return text if self._is_clean(text) else self._hidden((text,))[0]

    def each(self, texts: Sequence[str]) -> Sequence[str]:
        """Texts with their secrets hidden, those included that go on from one text to the next.

        Args:
            texts: Any texts.

        Returns:
            As many texts, in order; the very same object if there is no secret.
        """
        return texts if self._is_clean("\n".join(texts)) else self._hidden(texts)

    def within(self, value: Any) -> Any:
        """JSON data with the secrets in its texts hidden.

        Args:
            value: Lists and objects of texts and other values.

        Returns:
            New data of the same shape; names in objects are hidden in, too.
        """
        if isinstance(value, str):
            return self(value)
        if isinstance(value, dict):
            return {self(str(name)): self.within(each) for name, each in value.items()}
        return [self.within(each) for each in value] if isinstance(value, list) else value

    def _learn(self, form: _Form) -> None:
        letters, size = form.letters, form.piece
        self._pieces.setdefault(size, set()).update(_runs(letters, size))
        if size == PIECE:
            self._words.update(int.from_bytes(word, sys.byteorder) for word in _runs(letters, WORD))
        elif size == len(letters):
            self._anchors.add(letters)
        else:
            half = (size + 1) // 2
            self._anchors.update(letters[at : at + half] for at in range(0, len(letters) - half + 1, half))

    def _is_clean(self, text: str) -> bool:
        """Whether no secret is in `text`. Rarely False without one."""
        if not self._pieces:
            return True
        for _ in range(LEVELS + 1):
            letters = _letters(text)
            words = memoryview(letters)[: len(letters) // WORD * WORD].cast("Q")
            if not self._words.isdisjoint(words) or any(anchor in letters for anchor in self._anchors):
                return False
            if self._masked.is_in(text):
                return False
            if not ("%" in text or "&" in text or "\\" in text):
                return True
            plain = _ESCAPE.sub(_character, text)
            if plain == text:
                return True
            text = plain
        return True

    def _hidden(self, texts: Sequence[str]) -> Sequence[str]:
        """`texts`, character by character: which of them belong to a secret?"""
        secret = bytearray(sum(map(len, texts)) + len(texts))
        for start, end in self._found("\n".join(texts)):
            secret[start:end] = b"\1" * (end - start)
        if not any(secret):  # letters alone looked like one: "any text" where "any-text" is the key
            return texts
        hidden, begin = [], 0
        for text in texts:
            marks = secret[begin : begin + len(text)]
            begin += len(text) + 1
            parts, at = [], 0
            for run in re.finditer(b"\1+", marks):
                parts += [text[at : run.start()], MARK]
                at = run.end()
            hidden.append("".join((*parts, text[at:])) if parts else text)
        return hidden

    def _found(self, text: str) -> Iterator[tuple[int, int]]:
        """Where secrets begin and end, in any order, some overlapping."""
        places = [(at, at + 1) for at in range(len(text))]
        for _ in range(LEVELS + 1):
            where = [place for place, each in zip(places, text, strict=True) if each.isascii() and each.isalnum()]
            letters = _letters(text)
            for size, pieces in self._pieces.items():
                for at in range(len(letters) - size + 1):
                    if letters[at : at + size] in pieces:
                        yield where[at][0], where[at + size - 1][1]
            for whole in self._as_they_stand.finditer(text) if self._as_they_stand else ():
                yield places[whole.start()][0], places[whole.end() - 1][1]
            for begin, end in self._masked.found(text):
                yield places[begin][0], places[end - 1][1]
            plain, places_before = [], places
            places, at = [], 0
            for escape in _ESCAPE.finditer(text):
                begin, end = escape.span()
                plain += [text[at:begin], character := _character(escape)]
                places += places_before[at:begin]
                places += [(places_before[begin][0], places_before[end - 1][1])] * len(character)
                at = end
            if not plain:
                return
            text, places = "".join((*plain, text[at:])), places + places_before[at:]


@dataclass(frozen=True, slots=True)
class _Form:
    """A secret, or its encoding. letters: those that are compared. piece: from how many of them on it counts."""

    letters: bytes
    piece: int


def _forms(secret: str) -> Iterator[_Form]:
    """All forms of a secret that are compared letter by letter."""
    plain, data = _letters(secret), secret.encode("utf-8", "surrogatepass")
    if not _is_wordlike(secret):
        halves = FEW <= len(plain) < 2 * PIECE and _has_digit(plain)
        yield _Form(plain, len(plain) // 2 if halves else min(PIECE, len(plain)))
    encodings = [data.hex(), "".join(f"0x{each:02x}" for each in data), " ".join(map(str, data))]
    for before in range(3):  # base64 of a text depends on how many bytes, modulo 3, stand before the secret
        bits = 8 * (before + len(data))
        encodings.append(b64encode(b"\0" * before + data).decode()[-(-8 * before // 6) : bits // 6])
    for letters in map(_letters, encodings):
        if len(letters) >= WORD:
            yield _Form(letters, min(PIECE, len(letters)))


def _is_wordlike(secret: str) -> bool:
    letters = _letters(secret)
    return len(letters) < WORD or (len(letters) < FEW and not _has_digit(letters))


def _has_digit(letters: bytes) -> bool:
    return re.search(rb"[0-9]", letters) is not None


def _letters(text: str) -> bytes:
    """The ASCII letters and digits of a text, in lower case."""
    return text.encode("utf-8", "surrogatepass").translate(_LOWER, _NO_LETTERS)


def _runs(letters: bytes, size: int) -> Iterator[bytes]:
    return (letters[at : at + size] for at in range(len(letters) - size + 1))


def _character(escape: re.Match[str]) -> str:
    """What an escape stands for; the escape itself if it stands for nothing."""
    kind = escape.lastgroup or ""
    if kind == "name":
        return html5.get(f"{escape[kind]};", escape[0])
    number = int(escape[kind], 10 if kind == "decimal" else 16)
    return chr(number) if number <= sys.maxunicode else escape[0]
