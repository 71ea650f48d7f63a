"""The items of a list in lines: numbered, bulleted, labelled or plain."""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING

from unsaf_async.examine.parse.gate import CLOSERS, META, QUESTION_MARKS, SENTENCE_END, STARTS, is_question
from unsaf_async.examine.parse.items import Item, annotated_kind, known_kind, trimmed_item, unwrapped

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from unsaf_async.records import Kind

_EMPHASIS = r"(?:\*\*|__|\*|_)?"
_BULLET = re.compile(r"(?:[-*+–—]\s+|[•◦▪‣·●○■□►➤➢▶→✓✔☐⁃∙]\s*)(?:\[[ xX]\]\s*)?")
_NUMBER = re.compile(
    rf"""
    {_EMPHASIS}
    (?: [\[(\#]?\s? \d{{1,3}} (?: \s?[.):\]、．：]+ | \ufe0f?\u20e3 | \s?[-–—](?=\s) ) (?!\d)
      | [①-⑳]
      | \(?[A-Za-z][.)](?=\s) )
    {_EMPHASIS}\s*
    """,
    re.VERBOSE,
)
_LABEL = re.compile(
    rf"""
    {_EMPHASIS}["“]?
    (?: (?:question|query|q)["”]? \s*(?:no\.?|number)?\s* \#?\d{{0,3}}["”]? \s*{_EMPHASIS}
        (?: \s*[:：.)] | \s*[-–—](?=\s) | $ )
      | q\s?\d{{1,3}} (?=\s)
      | [^\W\d_]{{2,12}}\s?\d{{1,3}}\s? {_EMPHASIS} [:：] )   # "Frage 1:"
    {_EMPHASIS}\s*
    """,
    re.IGNORECASE | re.VERBOSE,
)
_NOTE = re.compile(
    r"""
    (?:(?:correct|expected|possible|short|model|sample)\s)?
    (?:answers?|a|ans|explanations?|explain|reason(?:ing)?|why|rationale|notes?|justification|comments?|response|hint
      |evidence|difficulty|because|context|purpose|type|category)
    (?:\s\w+){0,2} \s*[:：]
    | (?:this|the)\ question\ (?:asks|is|can|requires|presupposes|assumes) \b
    """,
    re.IGNORECASE | re.VERBOSE,
)
_NAME = r"[A-Za-z][A-Za-z _-]{2,24}?"
_KIND_WORD = r"(?:kind|type|category|reason)"
_KIND_LINE = re.compile(
    rf"""
    (?P<open>[(\[<]?) {_EMPHASIS} \s* (?P<word>{_KIND_WORD}\s*{_EMPHASIS}\s*[:=]?)? \s*{_EMPHASIS}\s*
    ["'`]? (?P<name>{_NAME}) ["'`]? \s* [)\]>]? \s* (?P<colon>:?) \.?
    """,
    re.IGNORECASE | re.VERBOSE,
)
_KIND_BEHIND = re.compile(
    rf"""
    \s* (?:[-–—|,;]\s*)?
    (?: [(\[<{{*_`]+ \s* (?P<word>{_KIND_WORD}\s*[:=-])? \s* (?P<name>{_NAME}) \s* [)\]>}}*_`]+
      | (?P<word2>{_KIND_WORD}\s*[:=])? \s* (?P<name2>{_NAME}) )
    \s* \.?
    """,
    re.IGNORECASE | re.VERBOSE,
)
_KIND_BEFORE = re.compile(
    rf"""
    [(\[<*_]* \s* (?:kind\s*[:=]\s*)? (?P<name>{_NAME}) \s* (?: [)\]>*_]+\s*[:：–—-]? | [:：–—] | \s-\s ) [*_]* \s*
    """,
    re.IGNORECASE | re.VERBOSE,
)
_BOLD_TITLE = re.compile(r"\*\*[^*?]{1,60}(?:[:：.]\*\*|\*\*\s*[:：–—-])\s*")
_SKIPPED_LINE = re.compile(r"```.*|~~~.*|</?\w+>|[\W_]+")
# Several marked questions in one line: the next mark stands behind a question mark, or behind the colon of a preamble.
_INLINE_MARK = re.compile(
    r"""
    (?<=[?？؟:]) (["”’*)\]]* (?:\ ?[(\[][^()\[\]\n]{1,30}[)\]])?) [^\S\n]+
    (?= (?:\*\*)? (?:(?:Q|Question)\s?)? \d{1,2}[.):]\s | [•▪●]\s )
    """,
    re.VERBOSE,
)
_LEVELS = ("label", "number", "bullet", "plain")


@dataclass(slots=True)
class _Entry:
    level: tuple[int, bool]  # place in _LEVELS, indented
    text: str
    kind: Kind | None


def line_items(text: str) -> Iterator[Item]:
    """The items of a list in lines: those of the level (labelled, numbered, ...; indented or not) that asks most.

    Args:
        text: Without thoughts and without JSON.

    Yields:
        The items in order; none if the text is no list.
    """
    entries = _entries(_INLINE_MARK.sub(r"\1\n", text.strip().removeprefix("\ufeff")).splitlines())
    asking = Counter(entry.level for entry in entries if is_question(entry.text))
    levels = {entry.level for entry in entries}
    if not levels:
        return
    best = min(levels, key=lambda level: (-asking[level], level))
    chosen = [entry for entry in entries if entry.level == best and entry.text]
    if _LEVELS[best[0]] == "plain":
        chosen = _plain_list(chosen)
    for entry in chosen:
        yield from trimmed_item(entry.text, entry.kind)


def _entries(lines: Iterable[str]) -> list[_Entry]:
    """Every line that could be an item, with kinds and wrapped lines already joined to the item they belong to."""
    entries: list[_Entry] = []
    group: Kind | None = None  # from a heading, for the items below it
    coming: Kind | None = None  # from a line of its own, for the next item
    gap = True
    for raw in lines:
        line = raw.expandtabs(4)
        stripped = line.strip()
        if not stripped or _SKIPPED_LINE.fullmatch(stripped):
            gap = True
            continue
        indented = len(line) - len(line.lstrip()) >= 2
        heading = stripped.startswith("#")
        level, body = _unmarked(stripped)
        last = entries[-1] if entries else None
        match = _KIND_LINE.fullmatch(unwrapped(body)) if len(body) < 60 else None
        if match and (kind := annotated_kind(match["name"], match["word"])):
            titled = heading or match["colon"] or level == "number" or (gap and not indented and not match["open"])
            if titled and not match["word"]:
                group = kind
            elif last and last.kind is None:
                last.kind = kind
            else:
                coming = kind
        elif _NOTE.match(unwrapped(body)):
            pass
        elif heading and level == "plain":
            group = None
        elif level == "plain" and last and _continues(last, body, gap):
            body, kind = _annotated(body)
            last.text = f"{last.text} {body}" if last.text and not _is_title(last.text, body) else body
            last.kind = kind or last.kind
        else:
            body, kind = _annotated(body)
            place = (_LEVELS.index(level), indented and level != "plain")
            entries.append(_Entry(place, body, kind or coming or group))
            coming = None
        gap = False
    return entries


def _continues(last: _Entry, body: str, gap: bool) -> bool:
    """Whether the unmarked line `body` belongs to `last`: it is wrapped, or the question below a bare mark or title."""
    if not last.text:
        return True
    if last.text[-1] in "?？؟.!。！":
        return False
    marked = _LEVELS[last.level[0]] != "plain"
    return (marked and _is_title(last.text, body)) or (body[:1].islower() and not gap)


def _is_title(text: str, below: str) -> bool:
    return not is_question(text) and is_question(_annotated(below)[0])


def _unmarked(line: str) -> tuple[str, str]:
    """What marks `line` as an item (a name in _LEVELS), and the rest of the line."""
    line = line.lstrip("> ").lstrip("#").lstrip()
    level = "plain"
    for _ in range(3):  # "- 1. Q: What ...?"
        for name, pattern in (("bullet", _BULLET), ("number", _NUMBER), ("label", _LABEL)):
            if match := pattern.match(line):
                level = name if level == "plain" else level
                line = line[match.end() :]
                break
        else:
            break
    return level, line


def _annotated(body: str) -> tuple[str, Kind | None]:
    """An item's text without its kind, and the kind: "[hidden]", "(kind: hidden)" behind it, "Hidden: " before it."""
    kind: Kind | None = None
    body = body.strip()
    end = 1 + max(body.rfind(mark) for mark in "?？؟.!")
    while 0 < end < len(body) and body[end] in '"”’*_':
        end += 1
    behind = _KIND_BEHIND.fullmatch(body, end) if end > 0 and len(body) - end < 60 else None
    if behind and (kind := annotated_kind(behind["name"] or behind["name2"], behind["word"] or behind["word2"])):
        body = body[:end]
    if (match := _KIND_BEFORE.match(body[:60])) and (before := known_kind(match["name"])) and match.end() < len(body):
        body, kind = body[match.end() :], kind or before
    if (title := _BOLD_TITLE.match(body)) and is_question(body[title.end() :]):
        body = body[title.end() :]
    return unwrapped(body), kind


def _plain_list(lines: list[_Entry]) -> list[_Entry]:
    """The items among unmarked lines: from the first that asks to the last; if none asks, all lines, if several."""
    split = [part for line in lines for part in _split(line)]
    split = [line for line in split if not META.match(line.text) and not line.text.endswith((":", "："))]
    asking = [place for place, line in enumerate(split) if is_question(line.text)]
    if asking:
        return split[asking[0] : asking[-1] + 1]
    return split if len(split) > 1 else []


def _split(line: _Entry) -> list[_Entry]:
    """The questions in one line, if there are several; statements between them are their answers."""
    parts: list[str] = []
    for sentence in SENTENCE_END.split(line.text):
        if not sentence.rstrip(CLOSERS).endswith(QUESTION_MARKS):
            continue
        if parts and sentence.isascii() and not STARTS.match(sentence):
            parts[-1] += " " + sentence  # "What sport is it? Tennis or squash?" is one question
        else:
            parts.append(sentence)
    return [_Entry(line.level, part.strip(), line.kind) for part in parts] if len(parts) > 1 else [line]
