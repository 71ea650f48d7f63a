"""Questions with options: what is shown of what a model wrote, and which option an answer chooses. Rules alone, no judge.

"Cannot be determined" is put among the options here, at a random place that the seed and the question decide: a model that wrote
it itself could always put it last. An answer chooses by the option's letter, its text, or both; anything else chooses nothing.
"""

from __future__ import annotations

import json
import re
import unicodedata
from hashlib import sha256
from typing import TYPE_CHECKING

from unsaf_async.examine.rules import rule
from unsaf_async.normalize import normal_form
from unsaf_async.records import Act, Options
from unsaf_async.wrappers import final_text

if TYPE_CHECKING:
    from collections.abc import Sequence

FEWEST, MOST = 2, 6
"""Options that a question has, besides that nothing can be determined."""

MOST_CHARS = 120
"""Of one option."""

LETTERS = "ABCDEFG"

_LETTER = re.compile(
    rf"(?:(?:the )?(?:correct |best |right |final |my )?(?:answer|option|choice)(?: is)?:{{0,2}}\s*)*"
    rf"[(\[]?([{LETTERS}])[)\]]?(?:\s*[.:)\]-]\s*|\s*\Z)(.*)",
    re.IGNORECASE | re.DOTALL,
)
"""A letter, behind which the reply ends, or a mark and perhaps the option's text follow: "A man" begins with none. A word
before it matches in one way alone, or a reply that repeats one takes time without end."""
_WORDS_BEFORE = re.compile(
    r"(?:the )?(?:correct |best |right |final |my )?(?:answer|option|choice)(?: is|:)\s*", re.IGNORECASE
)
_OTHER_WORDS_BEFORE = re.compile(
    r"(?:(?:die|la|el) |l')?(?:richtige |bonne )?"
    r"(?:antwort|respuesta|opción|réponse|正しい答え|答え|正解|回答|選択肢|正确答案|答案|选项|我选|选择|选)"
    r"(?: correcta)?(?: ?(?:lautet|ist|est|es|は|是|为))? ?(?:: ?)?",
    re.IGNORECASE,
)
"""The same in the languages of the shipped packs."""
_SENTENCE_END = re.compile(r"\A([A-G])(?:です)?。?(?=\Z)|\A([A-G])。", re.IGNORECASE)
"""A letter as Japanese and Chinese end a sentence with it, or go on behind it."""


def options_shown(written: Sequence[str], undetermined: str, seed: int, question: str) -> Options | None:
    """The options of a question, as it is put to the model.

    Args:
        written: By the model. Those that say that nothing can be determined are left out.
        undetermined: What says so here.
        seed: The run's.
        question: The question's text.

    Returns:
        The options in the order written, with `undetermined` at a random place; None where they are no 2 to 6 different ones of
        some letters each, so that the item is malformed.
    """
    texts = [" ".join(each.split()) for each in written]
    own = [each for each in texts if not _says_undetermined(question, each, undetermined)]
    forms = {normal_form(each) for each in own}
    if not FEWEST <= len(own) <= MOST or len(forms) < len(own) or "" in forms or max(map(len, own)) > MOST_CHARS:
        return None
    place = int.from_bytes(sha256(f"{seed}\x1f{normal_form(question)}".encode()).digest()[:8]) % (len(own) + 1)
    return Options(texts=(*own[:place], undetermined, *own[place:]), undetermined=place)


def _says_undetermined(question: str, option: str, undetermined: str) -> bool:
    return normal_form(option) == normal_form(undetermined) or rule(question, option, "stop") == "abstained"


def chosen_option(reply: str, options: Options) -> int | None:
    """Which option a reply chooses.

    Args:
        reply: The whole reply.
        options: As they were shown.

    Returns:
        The option's place, from 0; None where the reply names none, or a letter and the text of another option.
    """
    final = final_text(reply)
    if final.unfinished:
        return None
    text = _value(final.answer.strip()).strip().strip("*_`\"' ").strip()
    forms = [normal_form(each) for each in options.texts]
    text = unicodedata.normalize("NFKC", text)  # letters and marks of full width
    bare = _OTHER_WORDS_BEFORE.sub("", text, count=1) if _OTHER_WORDS_BEFORE.match(text) else text
    for each in (text, _WORDS_BEFORE.sub("", text, count=1), bare):
        if (form := normal_form(each)) in forms:
            return forms.index(form)
    letter = _LETTER.match(_SENTENCE_END.sub(r"\1\2. ", bare.replace("**", "")))
    if letter is None:
        return None
    place, rest = LETTERS.index(letter[1].upper()), normal_form(letter[2])
    if place >= len(forms):
        return None
    others = [form for number, form in enumerate(forms) if number != place and form == rest]
    return None if others else place


def _value(text: str) -> str:
    """The one text in a JSON object, such as {"answer": "B"}; any other text as it is."""
    if text.startswith("{"):
        try:
            values = list(json.loads(text).values())
        except (ValueError, RecursionError):
            return text
        if len(values) == 1 and isinstance(values[0], str):
            return values[0]
    return text


def act_by_option(question: str, reply: str, finish_reason: str | None, options: Options) -> Act:
    """What a reply to a question with options did.

    Args:
        question: The question's text.
        reply: The whole reply.
        finish_reason: In OpenAI's vocabulary; None if unknown.
        options: As they were shown.

    Returns:
        abstained: it chose that nothing can be determined. answered: it chose another option. Else refused or no_image where the
        rules say so, and invalid: it chose nothing that can be read.
    """
    place = chosen_option(reply, options)
    if place is not None:
        return "abstained" if place == options.undetermined else "answered"
    act = rule(question, reply, finish_reason)
    return act if act in ("refused", "no_image") else "invalid"
