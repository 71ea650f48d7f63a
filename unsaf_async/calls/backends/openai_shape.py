"""What HTTP answers mean, whoever carried them: error statuses to the error tree, OpenAI-shaped replies to `Reply`.

Pure functions, shared by the backends.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from unsaf_async.calls.rate_headers import error_text, is_exhausted_quota, retry_after_s
from unsaf_async.errors import CallError, Fatal, RateLimited, Rejected, Transient
from unsaf_async.records import Outcome, Reply, Usage
from unsaf_async.text import one_line

if TYPE_CHECKING:
    from collections.abc import Mapping

KEY_WORDS = ("api_key_invalid", "api key not valid", "invalid x-api-key", "invalid_api_key", "incorrect api key")
LOST_BEHIND_A_GATEWAY = (502, 504, 520, 524)
"""Bad gateway, gateway timeout, and Cloudflare's two words for the same."""
POLICY_WORDS = ("content_policy_violation", "content_filter", "safety system", "responsibleaipolicyviolation")


def blocked_reply(status: int | None, body: str) -> Reply | None:
    """The reply that a 400 stands for, if its body says that a filter turned the request away.

    Args:
        status: The answer's; None if there was none.
        body: The answer's.

    Returns:
        A reply with outcome `blocked`; None if it is another error.
    """
    if status == 400 and any(word in body.lower() for word in POLICY_WORDS):
        return Reply("blocked", "", finish_reason="content_filter", detail=error_text(body))
    return None


def error_of(status: int, body: str, headers: Mapping[str, str]) -> CallError:
    """What an answer with an error status means.

    Args:
        status: The answer's.
        body: The answer's.
        headers: The answer's, names in lower case.

    Returns:
        The error.
    """
    text = f"{status} {error_text(body)}".strip()
    patience_s = retry_after_s(headers, body)
    lowered = body.lower()
    if status in (401, 403) or (status == 400 and any(word in lowered for word in KEY_WORDS)):
        return Fatal(f"the key was refused: {text}", kind="key", status=status)
    if status == 402 or (status in (400, 429) and is_exhausted_quota(body)):
        return Fatal(f"the account's quota is used up: {text}", kind="quota", status=status)
    if status == 404:
        return Fatal(f"no such model or address: {text}", kind="model", status=status)
    if status == 429:
        return RateLimited(text, status=status, retry_after_s=patience_s)
    if status in (503, 529) or (status == 500 and "overloaded" in lowered):
        return Transient(text, status=status, retry_after_s=patience_s, overloaded=True)
    if status in (408, 409, 425) or status >= 500:
        # A gateway that lost the server's answer, or tired of waiting for it: the server may have served it all the same.
        fate_unknown = status in LOST_BEHIND_A_GATEWAY
        return Transient(text, status=status, fate_unknown=fate_unknown, retry_after_s=patience_s)
    return Rejected(text, status=status)


def reply_of(body: Mapping[str, Any], headers: Mapping[str, str]) -> Reply:
    """The reply in an OpenAI-shaped body.

    Args:
        body: Parsed JSON.
        headers: The answer's, names in lower case.

    Returns:
        The reply.

    Raises:
        ValueError: It is none.
    """
    choices = body.get("choices")
    if not isinstance(choices, list):
        raise ValueError("the answer holds no choices")
    usage = usage_of(body.get("usage") or {})
    model = str(body.get("model") or "")
    if not choices:
        return Reply("unreadable", "", usage=usage, detail="the answer holds no choice", model=model, headers=headers)
    choice = choices[0]
    message = choice.get("message") or {}
    text = text_of(message.get("content"))
    finish_reason = choice.get("finish_reason")
    if not isinstance(finish_reason, str):
        finish_reason = None
    outcome, detail = outcome_of(text, finish_reason, message.get("refusal"))
    logprobs = (choice.get("logprobs") or {}).get("content")
    return Reply(
        outcome,
        text,
        finish_reason=finish_reason,
        usage=usage,
        detail=detail,
        model=model,
        logprobs=tuple(token["logprob"] for token in logprobs) if logprobs else None,
        headers=headers,
    )


def text_of(content: object) -> str:
    """The text of a message's content.

    Half a surrogate pair, which a token limit may leave of an emoji, becomes "?": no file and no request could hold it.

    Args:
        content: A string, or a list of parts, or None.

    Returns:
        The string, or the text parts of a list joined; "" for None.
    """
    if isinstance(content, list):
        content = "".join(str(part.get("text") or "") for part in content if isinstance(part, dict))
    if not isinstance(content, str):
        return ""
    return content if content.isascii() else content.encode("utf-8", "replace").decode()


def outcome_of(text: str, finish_reason: str | None, refusal: object) -> tuple[Outcome, str]:
    """How a served call ended, and a word on why if it did not end well.

    Args:
        text: The reply's.
        finish_reason: The provider's word for why it stopped.
        refusal: What the model said in declining; None if it did not.

    Returns:
        (outcome, detail); the detail is "" for `ok`.
    """
    if refusal:
        return "refused", one_line(text_of(str(refusal)), 300)
    if finish_reason == "content_filter":
        return "blocked", "the provider's filter stopped the reply"
    if finish_reason == "length":
        return "truncated", "the output limit was reached"
    if not text.strip():
        return "unreadable", "the reply holds no text"
    return "ok", ""


def usage_of(usage: Mapping[str, Any]) -> Usage:
    """Token counts of an OpenAI-shaped usage object.

    Args:
        usage: Parsed JSON; what it leaves out counts 0.

    Returns:
        The counts.

    Raises:
        ValueError: They are no counts.
    """
    prompt = usage.get("prompt_tokens_details") or {}
    completion = usage.get("completion_tokens_details") or {}
    return Usage(
        input_tokens=_count(usage.get("prompt_tokens")),
        cached_input_tokens=_count(prompt.get("cached_tokens")),
        output_tokens=_count(usage.get("completion_tokens")),
        reasoning_tokens=_count(completion.get("reasoning_tokens")),
    )


def _count(value: Any) -> int:
    if value is None:
        return 0
    whole = (isinstance(value, int) and not isinstance(value, bool)) or (
        isinstance(value, float) and value.is_integer()
    )
    if not whole or value < 0:
        raise ValueError(f"{value!r} is no number of tokens")
    return int(value)
