"""The items of a list in lines: numbered, bulleted, labelled or plain."""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING

from unsaf_async.examine.parse.gate import (
    SENTENCE_END,
    STARTS,
    is_about_list,
    is_abstention,
    is_marked,
    is_question,
)
from unsaf_async.examine.parse.items import Item, annotated_kind, known_kind, trimmed, trimmed_item, unwrapped
from unsaf_async.examine.parse.languages import forms_of, pattern
from unsaf_async.examine.parse.markup import in_lines
from unsaf_async.examine.parse.sections import Headings, label_of_heading, label_of_name, names_questions

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from unsaf_async.examine.parse.items import Section
    from unsaf_async.records import Kind, Label

_EMPHASIS = r"(?:\*\*|__|\*|_)?"
_BULLET = re.compile(r"(?:[-*+–—]\s+|[•◦▪‣·●○■□►➤➢▶→✓✔☐⁃∙]\s*)(?:\[[ xX]\]\s*)?|\\item\s+")
_PICTURE_BULLET = re.compile(
    "(?:[\u2600-\u2775\u2794-\u27bf\u2b00-\u2bff\U0001f000-\U0001faff][\ufe0f\u200d]*){1,3}\\s*"
)
_CHINESE_NUMBER = "[一二三四五六七八九十百]{1,4}"
_NUMBER = re.compile(
    rf"""
    {_EMPHASIS}
    (?: (?:[\[(\#（【]|№)?\s? \d{{1,3}}
          (?: \s?[.):\]、．：）】,，،۔]+ [º°ª]?-? | [º°ª][.)]? | \ufe0f?\u20e3 | \s?[-–—](?=\s) | 번(?=\s) ) (?!\d)
      | [①-⓿❶-➓㈠-㈩㊀-㊉⑴-⒵]\ufe0f? [.、．]?
      | [（(]\s?{_CHINESE_NUMBER}\s?[)）] | {_CHINESE_NUMBER}\s?[、．.:：]
      | 第\s?(?:\d{{1,3}}|{_CHINESE_NUMBER})\s?(?:[个個]?(?:题|題|问|問|条|條|项|項|問題|问题)目?|[：:、．])\s?[：:、．.]?
      | [Ⅰ-ⅿ]\s?[.)、．）]? | (?:[IVX]{{2,4}}|\(?[ivx]{{2,4}})[.)](?=\s)
      | \(?[^\W\d_][.)）](?=\s) )
    {_EMPHASIS}\s*
    """,
    re.VERBOSE,
)
_ORDINAL = rf"(?:\d{{1,3}}|{_CHINESE_NUMBER}|\s?ال\w{{3,8}}|[IVX]{{1,4}}\b|[A-Z]\b)?"
_QUESTION = pattern("question").replace(" ", r"\ ")
_REMARK = pattern("answer", "note", english=False).replace(" ", r"\ ")
_LABEL = re.compile(
    rf"""
    {_EMPHASIS}["“「【\[]?
    (?: {_QUESTION}["”]? \s*(?:no\.?|number|n\.?\s?[º°]|№)?\s* \#? {_ORDINAL} ["”」】\]]? \s*{_EMPHASIS}
        (?: \s*[:：.)、．=] | \s*[-–—](?=\s) | $ )
      | ask\s?[:：](?=\s)
      | q\s?\d{{1,3}} (?=\s)
      | [^\W\d_]{{2,12}}\s?\d{{1,3}}\s? {_EMPHASIS} [:：] )   # "Aufgabe 1:"
    {_EMPHASIS}\s*
    """,
    re.IGNORECASE | re.VERBOSE,
)
_NOTE = re.compile(
    rf"""
    (?:(?:correct|expected|possible|short|model|sample)\s)?
    (?:answers?|a|ans|explanations?|explain|reason(?:ing)?|why|rationale|notes?|justification|comments?|response|hint
      |evidence|difficulty|because|context|purpose|type|category)
    (?:\s\w+){{0,2}} \s*[:：]
    | {_REMARK} \s*[:：]
    | (?:this|the)\ question\ (?:asks|is|can|requires|presupposes|assumes) \b
    """,
    re.IGNORECASE | re.VERBOSE,
)
_NAME = r"[A-Za-z][A-Za-z _-]{2,24}?"
_KIND_WORD = pattern("kind")
_KIND_LINE = re.compile(
    rf"""
    (?P<open>[(\[<（【]?) {_EMPHASIS} \s* (?P<word>{_KIND_WORD}\s*{_EMPHASIS}\s*[:=：]?)? \s*{_EMPHASIS}\s*
    ["'`]? (?P<name>{_NAME}) ["'`]? \s* [)\]>）】]? \s* (?P<colon>[:：]?) \.?
    """,
    re.IGNORECASE | re.VERBOSE,
)
_KIND_BEHIND = re.compile(
    rf"""
    \s* (?:[-–—|,;]\s*)?
    (?: [(\[<{{*_`（【]+ \s* (?P<word>{_KIND_WORD}\s*[:=：-])? \s* (?P<name>{_NAME}) \s* [)\]>}}*_`）】]+
      | (?P<word2>{_KIND_WORD}\s*[:=：])? \s* (?P<name2>{_NAME}) )
    \s* \.?
    """,
    re.IGNORECASE | re.VERBOSE,
)
_BRACKET_AT_END = re.compile(r"[(\[（【][^()\[\]（）【】]{2,40}[)\]）】]\W{0,4}$")
_KIND_BEFORE = re.compile(
    rf"""
    [(\[<*_]* \s* (?:kind\s*[:=]\s*)? (?P<name>{_NAME}) \s* (?: [)\]>*_]+\s*[:：–—-]? | [:：–—] | \s-\s ) [*_]* \s*
    """,
    re.IGNORECASE | re.VERBOSE,
)
_LABEL_BEFORE = re.compile(
    r"[(\[（【*_]*(?P<name>[^:：()\[\]（）【】?？]{3,60}?)[)\]）】*_]*\s*(?:[:：)\]）】][*_]*)\s*(?=\S)"
)
_LABEL_BEHIND = re.compile(
    r"(?:[(\[（【<{]+|\s[-–—|]\s)[\s*_`\"']*(?P<name>[^()\[\]（）【】<>{}?？؟]{2,60})[)\]）】>}]*[\s*_.]*$"
)
_GREEK_MARK = re.compile("[\u0370-\u03ff];")
_TRANSLATED = re.compile(
    r"""(?P<first>[^?？؟]{3,300}[?？؟;][*_]{0,2}) \s? (?: (?P<open>[*_]{0,2}[(（\[]) | [/／|]\s?|[–—-]\s )
    (?P<second>[^()（）\[\]]{4,300}[?？؟;]["”]?) [*_)）\]]{0,3}""",
    re.VERBOSE,
)
_EMPHASISED = re.compile(r"\*\*.+\*\*|__.+__|【.+】|[-=~—]{2,}\s?\w.*\w\W{0,3}[-=~—]{2,}")
_TITLE_FRAME = ("-=~—【", "-=~—】")
"""What stands before and behind a title."""
_REMARKED = re.compile(
    r"""(?P<first>[^?？؟]{3,300}[?？؟;]["”’*_」』]{0,3}) \s?
    (?: [*_]{0,2}[(（\[](?P<inside>[^()（）\[\]?？؟]{3,300})[)）\]][*_.]{0,3}
      | (?P<sentence>[^?？؟\s(（\[][^?？؟]{3,300}[.。]) )""",
    re.VERBOSE,
)
_BOLD_TITLE = re.compile(r"\*\*[^*?]{1,60}(?:[:：.]\*\*|\*\*\s*[:：–—-])\s*")
_SKIPPED_LINE = re.compile(r"```.*|~~~.*|</?\w+>|[\W_]+")
# Several marked questions in one line: the next mark stands behind a question mark, or behind the colon of a preamble.
_INLINE_MARK = re.compile(
    r"""
    (?: (?<=[?？؟:]) | (?<=[\u0370-\u03ff];) ) (["”’*)\]]* (?:\ ?[(\[][^()\[\]\n]{1,30}[)\]])?) [^\S\n]+
    (?= (?:\*\*)? (?:(?:Q|Question)\s?)? \d{1,2}[.):]\s | [•▪●]\s )
    """,
    re.VERBOSE,
)
_LEVELS = ("label", "number", "bullet", "plain")
_MOST_LINES = 1000
"""Lines, and sentences of a line, that are read: a longer list is no answer to any prompt, and reading it takes long."""


@dataclass(slots=True)
class _Entry:
    level: tuple[int, bool]  # place in _LEVELS, indented
    text: str
    kind: Kind | None
    label: Section | None = None


def line_items(text: str) -> Iterator[Item]:
    """The items of a list in lines: those of the level (labelled, numbered, ...; indented or not) that asks most.

    Args:
        text: Without thoughts and without JSON.

    Yields:
        The items in order; none if the text is no list.
    """
    text = in_lines(text.strip().removeprefix("\ufeff"))
    entries = _evenly_indented(_entries(_INLINE_MARK.sub(r"\1\n", text, count=_MOST_LINES).splitlines()[:_MOST_LINES]))
    asking = Counter(entry.level for entry in entries if is_question(entry.text))
    levels = {entry.level for entry in entries}
    if not levels:
        return
    best = min(levels, key=lambda level: (-asking[level], level))
    chosen = [entry for entry in entries if entry.level == best and entry.text]
    if _LEVELS[best[0]] == "plain":
        chosen = _plain_list(chosen)
    for entry in chosen:
        yield from trimmed_item(entry.text, entry.kind, entry.label)


def _evenly_indented(entries: list[_Entry]) -> list[_Entry]:
    """The entries with the first one as deep as the others of its mark: the text was trimmed at its beginning."""
    if entries:
        place = entries[0].level[0]
        alike = {entry.level for entry in entries[1:] if entry.level[0] == place}
        if alike == {(place, True)} and not any(entry.level == (place, False) for entry in entries[1:]):
            entries[0].level = (place, True)
    return entries


def _entries(lines: Iterable[str]) -> list[_Entry]:
    """Every line that could be an item, with kinds and wrapped lines already joined to the item they belong to."""
    entries: list[_Entry] = []
    group: Kind | None = None  # from a heading, for the items below it
    coming: Kind | None = None  # from a line of its own, for the next item
    headings = Headings()
    gap = True
    for raw in lines:
        line = raw.expandtabs(4)
        stripped = trimmed(line)
        if not stripped or _SKIPPED_LINE.fullmatch(stripped):
            gap = True
            continue
        indented = len(line) - len(line.lstrip()) >= 2
        heading = stripped.startswith("#")
        level, body = _unmarked(stripped)
        marked = heading or _EMPHASISED.fullmatch(stripped) is not None
        own_line = (heading or not indented) and not _NOTE.match(unwrapped(body))
        titled = level == "plain" and own_line
        title = _without_frame(unwrapped(body))
        may_say_more = titled or (own_line and level == "number" and not any(mark in body for mark in "?？؟;"))
        if headed := label_of_heading(title, marked=marked, titled=may_say_more, alone=titled and gap):
            headings.known(headed, stripped[: len(stripped) - len(stripped.lstrip("#"))])
            group, gap = None, True
            continue
        own, body = _own_label(body)
        last = entries[-1] if entries else None
        match = _KIND_LINE.fullmatch(unwrapped(body)) if len(body) < 60 else None
        if match and (kind := annotated_kind(match["name"], match["word"])):
            above = heading or match["colon"] or level == "number" or (gap and not indented and not match["open"])
            if above and not match["word"]:
                group = kind
            elif last and last.kind is None:
                last.kind = kind
            else:
                coming = kind
        elif _NOTE.match(unwrapped(body)):
            pass
        elif titled and not own and (form := _heading_form(stripped, unwrapped(body), gap)):
            headings.other(unwrapped(body), form)
            if heading:
                group = None
            else:
                entries.append(_Entry((_LEVELS.index("plain"), False), *_annotated(body), headings.label))
        elif level == "plain" and last and not own and _continues(last, body, gap):
            body, kind = _annotated(body)
            last.text = f"{last.text} {body}" if last.text and not _is_title(last.text, body) else body
            last.kind = kind or last.kind
        else:
            body, kind = _annotated(body)
            place = (_LEVELS.index(level), indented and level != "plain")
            entries.append(_Entry(place, body, kind or coming or group, own or headings.label))
            headings.item()
            coming = None
        gap = False
    return entries


def _heading_form(line: str, body: str, gap: bool) -> str:
    """How a line is marked as a heading: "##", "**", ":" or, where it stands by itself, by naming questions; "" if it is none.

    line: as written; body: without marks; gap: whether nothing stands above it.
    """
    if line.startswith("#"):
        return line[: len(line) - len(line.lstrip("#"))]
    if is_question(body):
        return ""
    if line.startswith("**") and line.endswith("**"):
        return "**"
    return ":" if body.endswith((":", "：")) else "plain" if gap and names_questions(body) else ""


def _continues(last: _Entry, body: str, gap: bool) -> bool:
    """Whether the unmarked line `body` belongs to `last`: it is wrapped, or the question below a bare mark or title."""
    if not last.text:
        return True
    if last.text[-1] in "?？؟.!。！।" or is_marked(last.text):
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
        for name, mark in (("bullet", _BULLET), ("number", _NUMBER), ("label", _LABEL)):
            if match := mark.match(line):
                level = name if level == "plain" else level
                line = trimmed(line[match.end() :])
                break
        else:
            break
    if level == "plain" and (match := _PICTURE_BULLET.match(line)) and is_question(line[match.end() :]):
        return "bullet", line[match.end() :]
    return level, line


def _own_label(body: str) -> tuple[Label | None, str]:
    """The label before an item's text ("Unanswerable: ...?") or behind it ("...? (unanswerable, hidden)"), and the rest.

    None if there is none. A kind beside the label stays behind the text.
    """
    if (match := _LABEL_BEFORE.match(body[:80])) and (label := label_of_name(match["name"].strip())):
        return label, body[match.end() :]
    first = max(0, len(body) - 80)
    if match := _LABEL_BEHIND.search(body[first:]):
        names = re.split(r"\s*[,:;/|，：；、]\s*", match["name"].strip(" *_`\"'"))
        labels = [label for name in names if (label := label_of_name(name))]
        kinds = [kind for name in names if (kind := known_kind(name))]
        if len(labels) == 1 and len(labels) + len(kinds) == len(names) <= 2 and (first + match.start()):
            return labels[0], body[: first + match.start()].rstrip() + "".join(f" [{kind}]" for kind in kinds)
    return None, body


def _annotated(body: str) -> tuple[str, Kind | None]:
    """An item's text without its kind, and the kind: "[hidden]", "(kind: hidden)" behind it, "Hidden: " before it."""
    body, kind = _without_remark(_without_translation(body.strip()))
    end = max([1 + body.rfind(mark) for mark in "?？؟.!。！।"] + [mark.end() for mark in _GREEK_MARK.finditer(body)])
    while 0 < end < len(body) and body[end] in '"”’*_」』':
        end += 1
    if not end and (bracket := _BRACKET_AT_END.search(body[-60:])):
        end = max(0, len(body) - 60) + bracket.start()
    behind = _KIND_BEHIND.fullmatch(body, end) if end > 0 and len(body) - end < 60 else None
    if behind and (own := annotated_kind(behind["name"] or behind["name2"], behind["word"] or behind["word2"])):
        body, kind = body[:end], own
    if (match := _KIND_BEFORE.match(body[:60])) and (before := known_kind(match["name"])) and match.end() < len(body):
        body, kind = body[match.end() :], kind or before
    if (title := _BOLD_TITLE.match(body)) and is_question(body[title.end() :]):
        body = body[title.end() :]
    return unwrapped(body), kind


def _without_remark(body: str) -> tuple[str, Kind | None]:
    """A question without what is said of it behind it, in brackets or in a sentence that declines, and the kind that is named.

    A kind that stands alone in its brackets is left to what reads kinds.
    """
    match = _REMARKED.fullmatch(body) if len(body) < 800 else None
    if match is None or not (is_marked(match["first"]) and is_question(match["first"])):
        return body, None
    if match["inside"] is None:
        return (match["first"], None) if is_abstention(match["sentence"]) else (body, None)
    words = re.split(r"\s*[:：=]\s*", match["inside"].strip())
    if known_kind(words[-1]) or (len(words) == 2 and annotated_kind(words[1], words[0])):
        return body, None
    return match["first"], known_kind(words[0])


def _without_translation(body: str) -> str:
    """A question without the same in another language behind it, in brackets or behind a stroke."""
    match = _TRANSLATED.fullmatch(body) if len(body) < 800 else None
    if not match or match["second"][:1].islower() or not (is_question(match["first"]) and is_question(match["second"])):
        return body
    return match["first"] if match["open"] or match["first"].isascii() != match["second"].isascii() else body


def _plain_list(lines: list[_Entry]) -> list[_Entry]:
    """The items among unmarked lines: from the first that asks to the last; if none asks, all lines, if several."""
    split = [part for line in lines for part in _split(line)][:_MOST_LINES]
    split = [line for line in split if not is_about_list(line.text) and not line.text.endswith((":", "："))]
    asking = [place for place, line in enumerate(split) if is_question(line.text)]
    if asking:
        return split[asking[0] : asking[-1] + 1]
    return split if len(split) > 1 else []


def _split(line: _Entry) -> list[_Entry]:
    """The questions in one line, if there are several; statements between them are their answers."""
    parts: list[str] = []
    for sentence in SENTENCE_END.split(line.text, maxsplit=_MOST_LINES)[:_MOST_LINES]:
        if not is_marked(sentence):
            continue
        if parts and sentence.isascii() and not (STARTS.match(sentence) or forms_of(sentence).opens.match(sentence)):
            parts[-1] += " " + sentence  # "What sport is it? Tennis or squash?" is one question
        else:
            parts.append(sentence)
    return [_Entry(line.level, part.strip(), line.kind, line.label) for part in parts] if len(parts) > 1 else [line]


def _without_frame(title: str) -> str:
    """A title without the lines drawn around it. No pattern: one for both ends would be tried again at every blank inside."""
    inner = title.lstrip(_TITLE_FRAME[0])
    inner = inner if inner == title else inner.lstrip()
    bare = inner.rstrip(_TITLE_FRAME[1])
    return bare if bare == inner else bare.rstrip()
