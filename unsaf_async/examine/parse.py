"""What a model wrote, read: a list of questions, and a judge's verdict. Pure functions of text; none of them raises.

Reading comes in two steps that must not be mixed. `question_items` finds the *items* a model wrote, whatever they say;
`is_question` is the gate that says whether one of them is a question at all. The first decides what is counted, the
second what is asked: an item that fails the gate is malformed, and a model that writes only such items must not look as
if it had written nothing.

JSON is read with a small single-pass reader rather than a repair library: the one repair that is wanted (the whole
items before a cut or a slip) falls out of never needing the closing brackets, and a repaired *half* item would be a
question that nobody wrote. Nothing here knows a provider, an image or a prompt's wording. Time grows linearly with the
text.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, cast

import orjson

from unsaf_async.normalize import without_thoughts
from unsaf_async.records import KINDS, Act, Kind

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

MAX_CHARS = 300
MAX_WORDS = 60
"""Longer than either is no question that one would put to somebody about a picture."""


@dataclass(frozen=True, slots=True)
class Item:
    """One written item.

    text: trimmed, never empty. kind: as named by the model; "other" if it named one that the method does not have; None
    if it named none.
    """

    text: str
    kind: Kind | None = None


def question_items(text: str) -> tuple[Item, ...]:
    """The items of the list in `text`, in order, before any gate or deduplication; () if there is no list.

    Reads JSON (bare, fenced, in prose, several objects, cut off or slightly broken: the whole items are taken) and,
    where there is none, numbered, bulleted, labelled ("Q1:") or plain lists. Thinking blocks, preamble, closing words,
    headings, answers and explanations are no items.
    """
    text = _well_formed(text)
    try:
        whole = orjson.loads(text.strip().removeprefix("\ufeff"))
    except orjson.JSONDecodeError:
        whole = None
    if isinstance(whole, dict | list):
        return tuple(_json_items(whole))
    text = without_thoughts(text)
    items = tuple(item for value in _loose_json(text) for item in _json_items(value))
    if items or _JSON_DEBRIS.match(text):
        return items
    return tuple(_line_items(text))


def is_question(text: str) -> bool:
    """Whether `text` asks something: the gate between what was written and what is put to a model.

    True for what ends in a question mark (of any script), for what starts as a question without one, and for requests
    ("Describe the ..."). False for statements, abstentions ("The image does not show ..."), words about the list
    itself, placeholders, questions with their answer behind them, and what is too long (`MAX_CHARS`, `MAX_WORDS`) or
    too short.
    It judges form only; whether the question is about the image is not decided here.
    """
    if len(text) > 2 * MAX_CHARS:
        return False
    text = _unwrapped(text)
    words = text.split()
    if not words or len(text) > MAX_CHARS or len(words) > MAX_WORDS:
        return False
    letters = [c for c in text if c.isalpha()]
    if len(words) < 2 and (len(letters) < 3 or all(c.isascii() for c in letters)):
        return False
    if len(letters) < 3 or _PLACEHOLDER.fullmatch(text) or text[0] in "{[<" or "\ufffd" in text:
        return False
    plain = _COURTESY.sub("", text.replace("’", "'"))
    if _ABSTENTION.match(plain) or _META.match(plain) or _ANSWER_INSIDE.search(plain):
        return False
    # Context may come before a question, its answer may not come behind it: the last sentence has to ask. Without a
    # question mark the first has to ask too ("It is all right. Give it time." asks for nothing).
    sentences = _SENTENCE_END.split(plain)
    last = sentences[-1].rstrip(_CLOSERS)
    return last.endswith(_QUESTION_MARKS) or (_asks(sentences[0]) and _asks(sentences[-1]))


def verdict(text: str) -> Act | None:
    """The judge's label, or None if the reply is not one label and nothing else; see `choice`."""
    return cast("Act | None", choice(text, _ACTS))


def choice(text: str, labels: tuple[str, ...]) -> str | None:
    """Which of `labels` a reply says, or None if it is not one label and nothing else.

    Accepted are the JSON object of the schema, bare or fenced (further keys do not matter, a repeated "verdict" does),
    and the bare word, in quotes or emphasis or with a full stop. Prose is never searched for a label: a judge that
    quotes the response it judges would be read as saying what it quotes.
    """
    text = _bare(text)
    if (word := _BARE_WORD.fullmatch(text)) and word[1].casefold() in labels:
        return word[1].casefold()
    said = _member(text, "verdict")
    label = said.strip().casefold() if isinstance(said, str) else ""
    return label if label in labels else None


def percentage(text: str) -> float | None:
    """The number from 0 to 100 that a reply says, or None if it is not one number and nothing else.

    Accepted are the JSON object of the schema, bare or fenced, and the bare number, with or without a percent sign.
    """
    text = _bare(text)
    if bare := _BARE_NUMBER.fullmatch(text):
        number: object = float(bare[1])
    else:
        number = _member(text, "confidence")
        if isinstance(number, str) and (bare := _BARE_NUMBER.fullmatch(number)):
            number = float(bare[1])
    if isinstance(number, bool) or not isinstance(number, int | float):
        return None
    return float(number) if 0 <= number <= 100 else None  # NaN is not, either


def _bare(text: str) -> str:
    """`text` without thoughts, and without the fence around it."""
    text = without_thoughts(_well_formed(text)).strip()
    fenced = _FENCED.fullmatch(text)
    return fenced[1].strip() if fenced else text


def _member(text: str, name: str) -> object:
    """What the JSON object `text` holds under `name`; None if it is no object, or holds it not once."""
    try:
        pairs = json.loads(text, object_pairs_hook=tuple)
    except (ValueError, RecursionError):
        return None
    if not isinstance(pairs, tuple):
        return None
    values = [value for key, value in pairs if key == name]
    return values[0] if len(values) == 1 else None


_ACTS = ("answered", "abstained", "invalid")
_BARE_WORD = re.compile(r"[\s\"'`*_.!,:“”‘’>-]*([A-Za-z]+)[\s\"'`*_.!,;“”‘’]*")
_BARE_NUMBER = re.compile(r"[\s\"'`*_]*(\d{1,3}(?:\.\d+)?)[\s\"'`*_]*%?[\s\"'`*_.]*")
_FENCED = re.compile(r"```[^\S\n]*\w*[^\S\n]*\n(.*?)\n?\s*```", re.DOTALL)


# --- text ---------------------------------------------------------------------------------------------------------


def _well_formed(text: str) -> str:
    """`text` without lone surrogates, which no file and no socket takes."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    return text


# --- JSON ---------------------------------------------------------------------------------------------------------

_QUESTION_KEYS = ("question", "question_text", "questiontext", "text", "q", "query", "prompt", "content")
_LIST_KEYS = ("questions", "items", "list", "data", "results")
_NUMBERED_KEY = re.compile(r"(?:q|question)?[\s_#.-]*\d{1,3}", re.IGNORECASE)
_JSON_DEBRIS = re.compile(r"\s*(?:```\w*\s*)?(?:\{|\[\s*[\"'{\[])")
_MAX_DEPTH = 16  # a list of questions has three levels

_TOKEN = re.compile(
    r"""
      \s+ | //[^\n]*
    | (?P<string>  # a quote inside ends the string only where JSON could go on: models forget to escape
          "(?:[^"\\]|\\.|"(?!\s*(?:[,:}\]]|\Z|\n\s*")))*"
        | '(?:[^'\\]|\\.|'(?!\s*(?:[,:}\]]|\Z)))*' )
    | (?P<cut>["'])
    | (?P<mark>[{}\[\]:,])
    | (?P<bare>[^\s{}\[\]:,]+)
    """,
    re.VERBOSE | re.DOTALL,
)
_OPENING = re.compile(r"[{\[]")


def _json_items(value: object, kind: Kind | None = None, depth: int = 0) -> Iterator[Item]:
    """The items inside a JSON value. kind: what the enclosing key said ({"hidden": ["..."]})."""
    if depth > _MAX_DEPTH:
        return
    if isinstance(value, list):
        for element in value:
            if isinstance(element, str):
                yield from _item(element, kind)
            else:
                yield from _json_items(element, kind, depth + 1)
    elif isinstance(value, dict):
        members = {str(key).strip().casefold(): member for key, member in value.items()}
        for key in _QUESTION_KEYS:
            if isinstance(question := members.get(key), str):
                yield from _item(question, _kind_of(members) or kind)
                return
        chosen = [key for key in _LIST_KEYS if isinstance(members.get(key), list | dict)] or list(members)
        for key in chosen:
            member = members[key]
            inner = _known_kind(key) or kind
            if isinstance(member, list | dict):
                yield from _json_items(member, inner, depth + 1)
            elif isinstance(member, str) and _NUMBERED_KEY.fullmatch(key):
                yield from _item(member, kind)


def _item(text: str, kind: Kind | None) -> Iterator[Item]:
    if trimmed := text.strip():
        yield Item(trimmed, kind)


def _loose_json(text: str) -> list[object]:
    """The JSON arrays and objects in `text`, read forgivingly, in order.

    Left out are prose, stray commas, comments and whatever is incomplete at the end; an array, or an object that holds
    others, keeps the whole ones it has.
    """
    found: list[object] = []
    stack: list[_Open] = []
    at = 0
    while at < len(text):
        if not stack:  # prose: its quotes and colons mean nothing
            opening = _OPENING.search(text, at)
            if opening is None:
                break
            at = opening.start()
        token = _TOKEN.match(text, at)
        if token is None or token["cut"]:
            break
        at = token.end()
        mark = token["mark"]
        if mark in ("{", "["):
            if len(stack) > _MAX_DEPTH:
                break
            stack.append(_Open({} if mark == "{" else []))
        elif mark in ("}", "]"):
            closed = stack.pop().value
            stack[-1].take(closed) if stack else found.append(closed)
        elif mark == ":":
            stack[-1].expects_value()
        elif mark == ",":
            stack[-1].separate()
        elif token["string"]:
            stack[-1].take(_string(token["string"]))
        elif token["bare"]:
            stack[-1].bare(token["bare"])
    while stack:
        remains = stack.pop().unfinished()
        stack[-1].take(remains) if stack else found.append(remains)
    return found


class _Open:
    """A container whose closing bracket has not been read yet."""

    __slots__ = ("_fresh", "_key", "_last", "value")

    def __init__(self, value: dict[str, object] | list[object]) -> None:
        self.value = value
        self._key: str | None = None
        self._last: str | None = None  # the last string read where a key may stand
        self._fresh = True  # nothing stands since the last comma

    def expects_value(self) -> None:
        self._key, self._last = self._last, None

    def separate(self) -> None:
        self._key = self._last = None
        self._fresh = True

    def bare(self, word: str) -> None:
        # An unquoted key; elsewhere a number, a literal or prose, none of which is a question.
        self._last, self._fresh = (word if self._key is None else None), False

    def take(self, value: object) -> None:
        if isinstance(self.value, list):
            if self._fresh or not isinstance(value, str):
                self.value.append(value)
        elif self._key is not None:
            self.value[self._key] = value
            self._key = None
        elif isinstance(value, str):
            self._last = value
            return
        self._fresh = False

    def unfinished(self) -> object:
        if isinstance(self.value, list):
            return self.value
        # Without its end an object is no whole item; what it holds may be.
        return {key: value for key, value in self.value.items() if isinstance(value, list | dict)}


def _string(literal: str) -> str:
    inner = literal[1:-1]
    if literal[0] == "'":
        inner = inner.replace("\\'", "'")
    if "\\" not in inner:
        return inner
    try:
        return _well_formed(str(json.loads('"' + re.sub(r'(?<!\\)"', r"\\" + '"', inner) + '"', strict=False)))
    except ValueError:
        return inner.replace('\\"', '"')


# --- kinds --------------------------------------------------------------------------------------------------------

_SQUEEZED: dict[str, Kind] = {kind.replace("-", ""): kind for kind in KINDS} | {
    "absent": "absent-object",
    "absentobjects": "absent-object",
}
_NO_KIND = frozenset({"", "none", "null", "na", "answerable"})


def _known_kind(name: str) -> Kind | None:
    """The kind that `name` means, whatever its case and hyphens; None if it is none of the method's."""
    return _SQUEEZED.get(re.sub(r"[\W_]+", "", name.casefold()))


def _kind(name: str) -> Kind | None:
    """As `_known_kind`, for a name that stood where a kind belongs: an unknown one is "other"."""
    return None if re.sub(r"[\W_]+", "", name.casefold()) in _NO_KIND else (_known_kind(name) or "other")


def _named(name: str, label: str | None) -> Kind | None:
    """The kind in an annotation. Behind "kind:" every name is one; elsewhere only the method's words are."""
    return _kind(name) if (label or "").casefold().startswith("kind") else _known_kind(name)


def _kind_of(members: dict[str, object]) -> Kind | None:
    named = members.get("kind")
    if named is not None:
        return _kind(named) if isinstance(named, str) else "other"
    for key in ("type", "category", "reason"):  # these may hold anything, so only the method's words count
        other = members.get(key)
        if isinstance(other, str) and (kind := _known_kind(other)):
            return kind
    return None


# --- lists without JSON -------------------------------------------------------------------------------------------

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


def _line_items(text: str) -> Iterator[Item]:
    """The items of a list in lines: those of the level (labelled, numbered, ...; indented or not) that asks most."""
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
        yield from _item(entry.text, entry.kind)


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
        found = _KIND_LINE.fullmatch(_unwrapped(body)) if len(body) < 60 else None
        if found and (kind := _named(found["name"], found["word"])):
            titled = heading or found["colon"] or level == "number" or (gap and not indented and not found["open"])
            if titled and not found["word"]:
                group = kind
            elif last and last.kind is None:
                last.kind = kind
            else:
                coming = kind
        elif _NOTE.match(_unwrapped(body)):
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
    """What marks `line` as an item (a name in _LEVELS), and what is left of it."""
    line = line.lstrip("> ").lstrip("#").lstrip()
    level = "plain"
    for _ in range(3):  # "- 1. Q: What ...?"
        for name, pattern in (("bullet", _BULLET), ("number", _NUMBER), ("label", _LABEL)):
            if found := pattern.match(line):
                level = name if level == "plain" else level
                line = line[found.end() :]
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
    if behind and (kind := _named(behind["name"] or behind["name2"], behind["word"] or behind["word2"])):
        body = body[:end]
    if (found := _KIND_BEFORE.match(body[:60])) and (before := _known_kind(found["name"])) and found.end() < len(body):
        body, kind = body[found.end() :], kind or before
    if (title := _BOLD_TITLE.match(body)) and is_question(body[title.end() :]):
        body = body[title.end() :]
    return _unwrapped(body), kind


_WRAPPERS = tuple(
    pair.split() for pair in ("** **", "__ __", "` `", "* *", "_ _", '" "', "' '", "“ ”", "‘ ’", "« »", "「 」", "„ “")
)


def _unwrapped(text: str) -> str:
    """`text` without white space, Markdown emphasis and one pair of quotes around it."""
    text = text.strip()
    if text[-2:] in ('",', '";', "',"):
        text = text[:-1]
    for _ in range(3):
        before = text
        if text.count("**") % 2:  # half of a pair went with the list marker
            text = text.removeprefix("**") if text.startswith("**") else text.removesuffix("**")
        for opening, closing in _WRAPPERS:
            inner = text[len(opening) : -len(closing)]
            if text.startswith(opening) and text.endswith(closing) and inner and opening not in inner:
                text = inner.strip()
        if text == before:
            break
    return text


def _plain_list(lines: list[_Entry]) -> list[_Entry]:
    """The items among unmarked lines: from the first that asks to the last; if none asks, all lines, if several."""
    split = [part for line in lines for part in _split(line)]
    split = [line for line in split if not _META.match(line.text) and not line.text.endswith((":", "："))]
    asking = [place for place, line in enumerate(split) if is_question(line.text)]
    if asking:
        return split[asking[0] : asking[-1] + 1]
    return split if len(split) > 1 else []


def _split(line: _Entry) -> list[_Entry]:
    """The questions in one line, if there are several; statements between them are their answers."""
    parts: list[str] = []
    for sentence in _SENTENCE_END.split(line.text):
        if not sentence.rstrip(_CLOSERS).endswith(_QUESTION_MARKS):
            continue
        if parts and sentence.isascii() and not _STARTS.match(sentence):
            parts[-1] += " " + sentence  # "What sport is it? Tennis or squash?" is one question
        else:
            parts.append(sentence)
    return [_Entry(line.level, part.strip(), line.kind) for part in parts] if len(parts) > 1 else [line]


# --- what asks ----------------------------------------------------------------------------------------------------

_QUESTION_MARKS = ("?", "？", "؟", "\u037e", "՞", "⸮", "‽", "⁇", "⁈")
_CLOSERS = "\"'”’»*_)] "
_SENTENCE_END = re.compile(r"(?<=[?.!؟])\s+|(?<=[？。！])\s*(?=\S)")

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

_STARTS = re.compile(
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
    r"[\W\d_]*(?:text|goes)?\s*(?:here)?[\W\d_]*",
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
_META = re.compile(
    r"""
    (?:sure|certainly|of\ course|absolutely|okay|ok|great|alright) [,.!:]
    | (?: here(?:'s|\ is|\ are) \s (?:the|some|my|your|an?|\w+\ (?:different|more|\w*answerable)?\ ?questions?|\d+)
        | below\ (?:is|are)
        | (?:the\ following|these|those|all|my|your) (?:\s\w+){0,2} \s questions?
        | let\ me\ know | i\ hope | feel\ free | please\ (?:note|let|upload|share) | note\ that | remember
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
_ANSWER_INSIDE = re.compile(r"\b(?:answers?|ans)\s*[:：=]|\?\s?[(\[-]{0,3}\s?a\s?[:：]", re.IGNORECASE)


def _asks(sentence: str) -> bool:
    """Whether one sentence asks or requests something."""
    sentence = sentence.strip()
    if sentence.rstrip(_CLOSERS).endswith(_QUESTION_MARKS):
        return True
    if sentence.endswith((":", "：", ",")):
        return False
    if _REQUEST.match(sentence):
        return True
    if sentence.endswith((".", "!", "。", "！")):
        return _STARTS_INVERTED.match(sentence) is not None
    return len(sentence.split()) > 2 and _STARTS.match(sentence) is not None
