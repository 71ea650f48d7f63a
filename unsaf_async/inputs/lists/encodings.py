"""The encoding of a text that is no UTF-8 and says nothing of it: told by its bytes, where these leave hardly a doubt.

A wrong guess would put broken words to a model, so that a text which fits no rule here is in no known encoding. The shares
are those of ordinary prose, where the common characters of a script stand in one part of its table.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

_MOSTLY = 0.9
_CONTROLS = re.compile(rb"[\x00-\x08\x0e-\x1f]")
_HIGH_RUN = re.compile(rb"[\x80-\xff]+")
_PAIRS = re.compile(rb"[\x81-\xfe][\x30-\xfe]")
_LETTERS = frozenset(b"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ")
_SIGNS = frozenset("€–—‘’“”„•…°§«»¿¡©®ªº²³½·´")
_LATIN = frozenset(chr(each) for each in range(0xC0, 0x100) if each not in (0xD7, 0xF7)) | frozenset("ŠšŒœŽžŸ")
_WORDS = frozenset("àÀéÉèÈóÓòùíåÅøØüÜöÖ")
"""Letters that are words by themselves in some language."""
_COMMON_CYRILLIC = "оеаин"
_LEAST_COMMON, _LEAST_KANA = 1 / 3, 0.2
_FEWEST_PAIRS = 3


def encoding_of(data: bytes) -> str:
    """The encoding of a text.

    Args:
        data: Bytes of the text, not UTF-8; from its beginning, of whole lines.

    Returns:
        Python's name: "cp1252" (Latin-1, as Windows has it), "gb18030", "big5", "cp949" (Korean), "cp932" and "euc_jp"
        (Japanese), "cp1251" and "koi8_r" (Russian); "" if the bytes tell none of these.
    """
    if _CONTROLS.search(data):
        return ""
    return next((name for name, fits in _RULES if fits(data, name)), "")


def _decoded(data: bytes, name: str) -> str:
    try:
        return data.decode(name)
    except UnicodeDecodeError:
        return ""


def _is_latin(data: bytes, name: str) -> bool:
    """Whether every byte above ASCII is a letter in a word, or a sign that people write."""
    for run in _HIGH_RUN.finditer(data):
        text = _decoded(run[0], name)
        if not text or len(text) > 3:
            return False
        letters = "".join(each for each in text if each not in _SIGNS)
        beside = data[max(0, run.start() - 1) : run.start()] + data[run.end() : run.end() + 1]
        if not _LATIN.issuperset(letters) or (letters and letters not in _WORDS and _LETTERS.isdisjoint(beside)):
            return False
    return True


def _pairs(data: bytes, name: str) -> list[bytes]:
    """The characters of two bytes of a text, if it is one in this encoding and has some."""
    if not _decoded(data, name):
        return []
    pairs = [each for run in re.findall(rb"(?:[\x81-\xfe][\x30-\xfe])+", data) for each in _PAIRS.findall(run)]
    return pairs if len(pairs) >= _FEWEST_PAIRS else []


def _share(pairs: list[bytes], fits: Callable[[int, int], bool]) -> float:
    return sum(fits(*each) for each in pairs) / len(pairs) if pairs else 0.0


def _is_chinese(data: bytes, name: str) -> bool:
    pairs = _pairs(data, name)
    known = _share(pairs, lambda lead, trail: trail >= 0xA1 and (0xB0 <= lead <= 0xD7 or 0xA1 <= lead <= 0xA3))
    return known >= _MOSTLY and any(each[0] > 0xC8 for each in pairs)


def _is_korean(data: bytes, name: str) -> bool:
    pairs = _pairs(data, name)
    return _share(pairs, lambda lead, trail: trail >= 0xA1 and 0xA1 <= lead <= 0xC8) >= _MOSTLY


def _is_traditional(data: bytes, name: str) -> bool:
    pairs = _pairs(data, name)
    return _share(pairs, lambda lead, _: 0xA1 <= lead <= 0xC6) >= _MOSTLY


def _is_japanese(data: bytes, name: str) -> bool:
    text = [each for each in _decoded(data, name) if ord(each) >= 128]
    if any("\uff61" <= each <= "\uff9f" for each in text):  # half as wide: single bytes, as Latin letters are
        return False
    kana = sum("\u3041" <= each <= "\u30ff" for each in text)
    return len(text) >= _FEWEST_PAIRS and kana >= _LEAST_KANA * len(text)


def _is_russian(data: bytes, name: str) -> bool:
    letters = [each for each in _decoded(data, name) if ord(each) >= 128 and each not in _SIGNS and each != "№"]
    if len(letters) < _FEWEST_PAIRS or not all("а" <= each.lower() <= "я" or each in "ёЁ" for each in letters):
        return False
    small, common = (
        sum(each in of for each in letters) for of in ("абвгдежзийклмнопрстуфхцчшщъыьэюяё", _COMMON_CYRILLIC)
    )
    return small > len(letters) / 2 and common >= _LEAST_COMMON * len(letters)


_RULES: tuple[tuple[str, Callable[[bytes, str], bool]], ...] = (
    ("cp1252", _is_latin),
    ("cp932", _is_japanese),
    ("euc_jp", _is_japanese),
    ("gb18030", _is_chinese),
    ("cp949", _is_korean),
    ("big5", _is_traditional),
    ("cp1251", _is_russian),
    ("koi8_r", _is_russian),
)
