"""What a response did, where its wording alone leaves no doubt: the first, free step of the judge cascade.

Knows English phrases and the shape of a question and its response. Knows no image, no model, no intended label, and nothing
of whether an answer is right. It follows the rubric of the judging prompt (prompts/unsaf/judge.md); where that asks for a
judgement of meaning it decides nothing, and None hands the case to the LLM judge. Precision comes before coverage.

A response is brought to plain lower-case text and cut into clauses. Each clause is read as one `Clause`: it says that
something cannot be known, is not shown, is not visible or does not exist; it refuses, or misses the image; it advises,
apologises or describes; or it states something. The rules then look at which kinds occur together, and at what the
question asks for. Anything unforeseen is a statement, and a statement that is not plainly an answer is left to the judge.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from unsaf_async.examine.rules.abstention import ABSTENTION_RULES
from unsaf_async.examine.rules.answer import ANSWER_RULES, PLEASANTRY_RULES
from unsaf_async.examine.rules.bare import BARE_RULES, is_quoted_phrase
from unsaf_async.examine.rules.by_phrases import explain_by_phrases
from unsaf_async.examine.rules.filters import act_without_words, is_english, is_to_the_judge, knows_english_words
from unsaf_async.examine.rules.language import language_of, may_be_another
from unsaf_async.examine.rules.plain import bare_words, plain, without_label
from unsaf_async.examine.rules.question import AskedQuestion
from unsaf_async.examine.rules.refusal import REFUSAL_RULES
from unsaf_async.examine.rules.response import ReadResponse
from unsaf_async.wrappers import final_text, has_marks

if TYPE_CHECKING:
    from unsaf_async.records import Act

_RULES = (*PLEASANTRY_RULES, *BARE_RULES, *REFUSAL_RULES, *ABSTENTION_RULES, *ANSWER_RULES)
"""In this order; the first that decides counts."""

MAX_RESPONSE_CHARS = 2000
"""Longer responses are left to the judge: they hold too many statements for certainty, and reading stays cheap."""

MAX_QUESTION_CHARS = 1000
"""Longer questions are left to the judge."""


def rule(question: str, response: str, finish_reason: str | None) -> Act | None:
    """What a response did, where the rules decide it. Never raises, whatever the texts hold.

    Args:
        question: As it was asked.
        response: As the model wrote it, thoughts included.
        finish_reason: In OpenAI's vocabulary; None if unknown. "length" and "content_filter" make any response invalid:
            what was cut off or blocked shows nothing of what the model would have done, and a provider's block is never
            an abstention.

    Returns:
        The act; None where the rules leave it open.
    """
    return explain(question, response, finish_reason)[0]


def explain(question: str, response: str, finish_reason: str | None) -> tuple[Act | None, str]:
    """What a response did, and the name of the rule that decides it.

    Args:
        question: As for `rule`.
        response: As for `rule`.
        finish_reason: As for `rule`.

    Returns:
        The act and the rule's name; with None for the act, the name of the reason for leaving it open ("open" if no rule
        applies).
    """
    if finish_reason == "length":
        return "invalid", "cut-off"
    if finish_reason == "content_filter":
        return "invalid", "blocked"
    final = final_text(response)
    if final.unfinished:  # it hides what would have been said: nobody can tell why it ends there
        return None, "unfinished-thought"
    body = without_label(final.text)
    if not body:
        return "invalid", "empty"
    if has_marks(body):
        return None, "marks"
    if is_quoted_phrase(body):
        return None, "quoted-phrase"
    if len(body) > MAX_RESPONSE_CHARS or len(question) > MAX_QUESTION_CHARS:
        return None, "too-long"
    if not any(map(str.isalnum, body)):
        return act_without_words(question, body)
    text, asked = plain(body), plain(question)
    if is_to_the_judge(text):
        return None, "to-the-judge"
    if bare_words(text) == bare_words(asked):
        return "invalid", "echo"
    language = language_of(question, body)
    if language is not None:
        return explain_by_phrases(language, question, body)
    if may_be_another(question) or not (is_english(body, text) and knows_english_words(asked)):
        return None, "other-language"
    return _decide(AskedQuestion(asked), ReadResponse(text))


def _decide(question: AskedQuestion, response: ReadResponse) -> tuple[Act | None, str]:
    for name, decide in _RULES:
        act = decide(question, response)
        if act is not None:
            return act, name
    return None, "open"
