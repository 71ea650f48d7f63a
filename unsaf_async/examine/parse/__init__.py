"""What a model wrote, read: a list of questions, and a judge's verdict. Pure functions of text; none of them raises.

Reading comes in two steps that must not be mixed. `question_items` returns the *items* a model wrote, whatever they say;
`is_question` is the gate that says whether one of them is a question at all. The first decides what is counted, the
second what is asked: an item that fails the gate is malformed, and a model that writes only such items must not look as
if it had written nothing.

JSON is read with a small single-pass reader rather than a repair library: the one repair that is wanted (the whole
items before a cut or a slip) falls out of never needing the closing brackets, and a repaired *half* item would be a
question that nobody wrote. Nothing here knows a provider, an image or a prompt's wording. Time grows linearly with the
text.
"""

from __future__ import annotations

from itertools import islice

import orjson

from unsaf_async.examine.parse.gate import MAX_CHARS, MAX_WORDS, is_question
from unsaf_async.examine.parse.items import Item, well_formed
from unsaf_async.examine.parse.json_items import JSON_DEBRIS, json_items, loose_json, otherwise_written, without_tuples
from unsaf_async.examine.parse.line_items import line_items
from unsaf_async.examine.parse.markup import with_line_ends
from unsaf_async.examine.parse.sections import of_label
from unsaf_async.examine.parse.verdicts import choice, numbered_verdicts, percentage, verdict
from unsaf_async.wrappers import final_text

__all__ = [
    "MAX_CHARS",
    "MAX_WORDS",
    "Item",
    "choice",
    "is_question",
    "numbered_verdicts",
    "of_label",
    "percentage",
    "question_items",
    "verdict",
]


MOST_ITEMS, MOST_CHARS = 1000, 100_000
"""So many items of a reply are read, and so many characters behind its thoughts: more is no answer to any prompt."""


def question_items(text: str) -> tuple[Item, ...]:
    """The items of the list in a text, before any gate or deduplication.

    Reads JSON (bare, fenced, in prose, several objects, inside a JSON string, escaped, with typographic quotes, cut off or
    slightly broken: the whole items are taken) and, where there is none, numbered, bulleted, labelled ("Q1:") or plain
    lists, tables and lists in tags. Thoughts and other wrappers, preamble, closing words, headings, answers, translations
    and explanations are no items.

    Args:
        text: A whole reply.

    Returns:
        In order, at most `MOST_ITEMS`; () if there is no list.
    """
    text = well_formed(text)
    try:
        whole = orjson.loads(text.strip().removeprefix("\ufeff"))
    except orjson.JSONDecodeError:
        whole = None
    if isinstance(whole, dict | list):
        return tuple(islice(json_items(whole), MOST_ITEMS))
    if isinstance(whole, str):  # JSON inside JSON
        text = well_formed(whole)
    text = without_tuples(final_text(text).text[:MOST_CHARS])
    for written in (text, *otherwise_written(text)):
        items = tuple(islice((item for value in loose_json(written) for item in json_items(value)), MOST_ITEMS))
        if items:
            return items
    return () if JSON_DEBRIS.match(text) else tuple(line_items(with_line_ends(text)))
