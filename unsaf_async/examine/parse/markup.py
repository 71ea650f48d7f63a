"""Lists that are written as a table or in tags, brought into lines."""

from __future__ import annotations

import csv
import html
import re
from itertools import islice
from typing import TYPE_CHECKING

from unsaf_async.examine.parse.gate import is_question
from unsaf_async.examine.parse.items import known_kind, unwrapped
from unsaf_async.examine.parse.languages import comparable, pattern
from unsaf_async.examine.parse.sections import label_of_heading, label_of_name

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

_QUESTION_NAME = re.compile(
    rf"(?:the |generated )?{pattern('question')}(?: text)?(?:列表)?(?:[ _-]?\d{{1,3}})?", re.IGNORECASE
)
_TAG = re.compile(
    r"""<(?P<end>/)? (?P<name>[^\W\d_][\w.-]{0,39}) (?P<attributes>(?:\s[^<>]{0,200})?) /?>""",
    re.VERBOSE,
)
_KIND_ATTRIBUTE = re.compile(r"""\b(?:kind|type|category)\s?=\s?["']([\w -]{2,30})["']""", re.IGNORECASE)
_TEXT_ATTRIBUTE = re.compile(r"""\b(?:text|question|content|value)\s?=\s?"([^"<>]{3,400})\"""", re.IGNORECASE)
_ITEM_TAGS = frozenset(["li", "dd", "item", "entry", "row"])
_INLINE_TAGS = frozenset(["b", "strong", "i", "em", "u", "span", "mark", "font", "code", "small"])
_BLOCK_TAG = re.compile(r"[uo]l|p|br|div|d[lt]|questions|lists?|items|root|data|response|output|text|content|body|html")
_HEADING_TAG = re.compile(r"h[1-6]|title|heading", re.IGNORECASE)
_CELL_END = re.compile(r"(?<!\\)\|")
_MOST_ROWS = 1000
_MOST_TAGS = 5000
"""More rows or tags are no list of questions; what follows them stays as it is."""
_CDATA = re.compile(r"<!\[CDATA\[([^<>\]]*)\]\]>")
_TABLE_TAG = re.compile(r"<(?P<end>/?)(?P<name>table|thead|tbody|tfoot|tr|td|th)(?:\s[^<>]{0,200})?>\s*", re.IGNORECASE)
_RULE = re.compile(r"\|?\s*:?-{2,}:?\s*(?:\|\s*:?-{2,}:?\s*)*\|?")


def with_line_ends(text: str) -> str:
    r"""A text whose line ends are all escaped ("1. Who is he?\n2. Was it loud?"), with line ends.

    Args:
        text: A reply.

    Returns:
        The text itself if it has several lines.
    """
    return text if "\n" in text else text.replace("\\r", "").replace("\\n", "\n")


def in_lines(text: str) -> str:
    """A text with every table and every list in tags as labelled lines; all else stays.

    Args:
        text: Without thoughts and without JSON.

    Returns:
        The text itself if it has neither.
    """
    if "<" in text:
        text = _html_tables_in_rows(_CDATA.sub(r"\1", text) if "<![" in text else text)
    text = _delimited_in_rows(text)
    if "|" in text:
        text = "\n".join(_without_tables(text.splitlines()[:_MOST_ROWS]))
    return _without_tags(text) if "<" in text and _TAG.search(text) else text


# --- tables ------------------------------------------------------------------------------------------------------------


def _without_tables(lines: Sequence[str]) -> Iterator[str]:
    at = 0
    while at < len(lines):
        rows: list[str] = []
        bare = at + 1 < len(lines) and _is_bare_row(lines[at], lines[at + 1])  # no outer bars
        while at < len(lines) and len(rows) < _MOST_ROWS and (_is_row(lines[at]) or (bare and "|" in lines[at])):
            rows.append(lines[at])
            at += 1
        if len(rows) > 1 and (bare or len(rows) > 2 or any(map(_is_rule, rows))):
            yield ""
            yield from _rows_in_lines(rows)
            yield ""
        else:
            yield from rows
        if at < len(lines):
            yield lines[at]
            at += 1


def _delimited_in_rows(text: str) -> str:
    """A text that is a table with a comma, a semicolon or a tab between its cells, with bars between them.

    It is one if every line has as many cells, and the first column is numbers or in quotes, or the first row names questions.
    """
    lines = [line for line in text.splitlines()[:_MOST_ROWS] if line.strip() and not line.startswith("```")]
    if len(lines) < 2 or "|" in text or any(len(line) > 4000 for line in lines):
        return text
    for delimiter in "\t;,":
        if not all(delimiter in line for line in lines):
            continue
        rows = list(csv.reader(lines, delimiter=delimiter, skipinitialspace=True))
        named = any(_QUESTION_NAME.fullmatch(comparable(cell.strip())) for cell in rows[0])
        first = all(row and row[0].isdecimal() for row in rows[named:]) or all(line.startswith('"') for line in lines)
        if len({len(row) for row in rows}) == 1 < len(rows[0]) and len(rows) == len(lines) and (named or first):
            written = ["| " + " | ".join(cell.replace("\n", " ") for cell in row) + " |" for row in rows]
            return "\n".join([written[0], "|---|---|", *written[1:]] if named else ["| | |", "|---|---|", *written])
    return text


def _html_tables_in_rows(text: str) -> str:
    """`text` with the rows of HTML tables as rows between bars, the headings with a rule below them."""
    ruled = False

    def written(tag: re.Match[str]) -> str:
        nonlocal ruled
        name = tag["name"].casefold()
        if name in ("td", "th"):
            ruled = ruled or name == "th"
            return " |" if tag["end"] else " "
        if name != "tr":
            return "\n"
        if not tag["end"]:
            return "\n|"
        rule, ruled = "\n|---|---|" if ruled else "", False
        return rule

    return _TABLE_TAG.sub(written, text) if "<td" in text.casefold() else text


def _is_row(line: str) -> bool:
    line = line.strip()
    return line.startswith("|") and line.count("|") > 1 and len(line) < 4000


def _is_bare_row(line: str, below: str) -> bool:
    """Whether `line` is the first row of a table without outer bars: a rule is below it, or a row with as many cells."""
    if "|" not in line or "|" not in below or len(line) > 4000 or len(below) > 4000:
        return False
    return _is_rule(below) or len(_cells(line)) == len(_cells(below)) > 1


def _is_rule(line: str) -> bool:
    return len(line) < 4000 and _RULE.fullmatch(line.strip()) is not None


def _cells(row: str) -> list[str]:
    row = row.strip().removeprefix("|")
    cells = [cell.replace("\\|", "|").replace("<br>", " ").strip() for cell in _CELL_END.split(row)]
    return cells[:-1] if cells and not cells[-1] else cells


def _rows_in_lines(rows: Sequence[str]) -> Iterator[str]:
    """The items of one table, each as a labelled line with its kind behind it."""
    ruled = any(map(_is_rule, rows[:2]))
    table = [_cells(row) for row in rows if not _is_rule(row)]
    ruled = ruled or any(_QUESTION_NAME.fullmatch(comparable(unwrapped(cell))) for cell in (table[0] if table else ()))
    head, body = (table[0], table[1:]) if ruled and table else ([], table)
    by_label = {
        place: label for place, name in enumerate(head) if (label := label_of_heading(unwrapped(name), marked=True))
    }
    if len(set(by_label.values())) > 1:  # a column for either
        for place, label in by_label.items():
            yield f"## {label}"
            yield from (f"Q: {row[place]}" for row in body if place < len(row) and row[place])
        return
    column = _question_column(head, body)
    if column is None:
        yield from (" ".join(row) for row in body)
        return
    last = None
    for row in body:
        if column >= len(row) or not row[column]:
            continue
        others = [unwrapped(cell) for place, cell in enumerate(row) if place != column]
        label = next((found for cell in others if (found := label_of_name(cell))), None)
        if label != last and label:
            yield f"## {label}"
            last = label
        kind = next((cell for cell in others if known_kind(cell)), None)
        yield f"Q: {row[column]}" + (f" [{kind}]" if kind else "")


def _question_column(head: Sequence[str], body: Sequence[Sequence[str]]) -> int | None:
    """The column that is named after questions, or else that asks most; None if none asks."""
    for place, name in enumerate(head):
        if _QUESTION_NAME.fullmatch(comparable(unwrapped(name))):
            return place
    width = min(max(map(len, body), default=0), 12)
    asking = [sum(is_question(row[place]) for row in body[:50] if place < len(row)) for place in range(width)]
    return asking.index(max(asking)) if any(asking) else None


# --- tags --------------------------------------------------------------------------------------------------------------


def _without_tags(text: str) -> str:
    """`text` with the tags of lists as the marks of lines; other tags stay where they are."""
    parts: list[str] = []
    at = 0
    kind = ""
    for tag in islice(_TAG.finditer(text), _MOST_TAGS):
        mark = _mark_of(tag, kind)
        if mark is None:
            continue
        parts += (_unescaped(text[at : tag.start()]), mark)
        at = tag.end()
        attribute = None if tag["end"] else _KIND_ATTRIBUTE.search(tag["attributes"])
        if attribute:
            kind = attribute[1]
        elif tag["end"]:
            kind = ""
    parts.append(_unescaped(text[at:]) if parts else text)
    return "".join(parts)


def _unescaped(text: str) -> str:
    return html.unescape(text) if "&" in text else text


def _mark_of(tag: re.Match[str], kind: str) -> str | None:
    """What stands for a tag; None if it means nothing for a list. kind: by the attribute of the element that it may end."""
    name, ends = tag["name"].casefold(), bool(tag["end"])
    if label := label_of_name(name):
        return "\n" if ends else f"\n## {label}\n"
    if _QUESTION_NAME.fullmatch(name) and not name.endswith("questions"):
        if not ends and tag[0].endswith("/>") and (text := _TEXT_ATTRIBUTE.search(tag["attributes"])):
            own = _KIND_ATTRIBUTE.search(tag["attributes"])
            return f"\nQ: {text[1]} [{own[1]}]\n" if own else f"\nQ: {text[1]}\n"
        return f" [{kind}]\n" if ends and kind else "\n" if ends else "\nQ: "
    if name in _ITEM_TAGS:
        return f" [{kind}]\n" if ends and kind else "\n" if ends else "\n- "
    if name in _INLINE_TAGS:
        return ""
    if _HEADING_TAG.fullmatch(name):
        return "\n" if ends else "\n## "
    if name in ("kind", "type", "category"):
        return "\n" if ends else "\nKind: "
    if name in ("answer", "explanation", "reason", "note"):
        return "\n" if ends else "\nAnswer: "
    return "\n" if _BLOCK_TAG.fullmatch(name) else None
