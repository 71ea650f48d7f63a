"""How a served call ended: the known finish reasons of every vendor, as an allow-list.

Only a reply that is known to be whole is `ok`. A finish reason that nobody here has heard of may stand for half a text, so it
is `interrupted`: counted under that name, never scored.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from unsaf_async.text import one_line

if TYPE_CHECKING:
    from unsaf_async.records import CallRecord, Outcome, Reply

WHOLE = frozenset({"stop", "end_turn", "stop_sequence", "eos", "eos_token", "tool_calls", "tool_use", "function_call"})
"""The model ended its turn itself. In lower case, as all of these.

stop: OpenAI's form, and Gemini's STOP. end_turn, stop_sequence: Anthropic. eos: Together; eos_token: Hugging Face TGI.
tool_calls, function_call, tool_use: the turn ended with a call of a tool, which no request here offers; text before it is whole.
"""

CUT = frozenset({"length", "max_tokens", "model_length", "model_context_window_exceeded", "continuation"})
"""The output limit was reached, or the context's. max_tokens, continuation: Anthropic, Gemini. model_length: Mistral."""

FILTERED = frozenset(
    {
        "content_filter",
        "sensitive",
        "safety",
        "recitation",
        "language",
        "other",
        "blocklist",
        "prohibited_content",
        "spii",
    }
    | {
        "image_safety",
        "image_prohibited_content",
        "image_recitation",
        "image_other",
        "no_image",
        "model_armor",
        "escalation",
    }
)
"""The provider's filter stopped the reply. sensitive: Zhipu. The last ones: Gemini's `FinishReason`, whatever ended a reply
that its own documentation counts among the blocked ones. https://ai.google.dev/api/generate-content#FinishReason"""

DECLINED = frozenset({"refusal"})
"""The model declined, in the provider's own flag: Anthropic."""

PASSING = frozenset(
    {"abort", "aborted", "error", "network_error", "insufficient_system_resource", "overloaded", "timeout"}
)
"""The server lost the reply: another attempt may bring a whole one. abort, error: vLLM and gateways. network_error: Zhipu.
insufficient_system_resource: DeepSeek."""


def outcome_of(text: str, finish_reason: str | None, refusal: str = "") -> tuple[Outcome, str]:
    """How a served call ended, and a word on why if it did not end well.

    Args:
        text: The reply's.
        finish_reason: The provider's word for why it stopped, in any case; None or "" from servers that send none.
        refusal: What the model said in declining; "" if it did not.

    Returns:
        (outcome, detail); the detail is "" for `ok`.
    """
    reason = (finish_reason or "").lower()
    if refusal or reason in DECLINED:
        return "refused", one_line(refusal, 300) or "the model declined (stop reason refusal)"
    if reason in FILTERED:
        return "blocked", f"the provider's filter stopped the reply (finish reason {one_line(finish_reason or '', 60)})"
    if reason in CUT:
        return "truncated", "the output limit was reached"
    known = not reason or reason in WHOLE
    ending = "" if known else f"finish reason {one_line(finish_reason or '', 60)}"
    if not text.strip():
        return "unreadable", "the reply holds no text" + f" ({ending})" * bool(ending)
    return ("ok", "") if known else ("interrupted", f"the reply ended with {ending}")


MOST_CHARACTERS_A_TOKEN = 128
"""The longest token of the public vocabularies, a run of spaces in OpenAI's o200k_base. A usual one has about four."""


def bounded(reply: Reply, max_output_tokens: int) -> Reply:
    """A reply, without its text if that is longer than the limit of tokens can be.

    Args:
        reply: As it was read.
        max_output_tokens: The hard limit that was asked for.

    Returns:
        The reply, or one that is `unreadable`: nothing tells where the model's own answer would have ended.
    """
    size = len(reply.text)
    if size <= 1000 + MOST_CHARACTERS_A_TOKEN * max_output_tokens:
        return reply
    detail = f"the reply has {size:,} characters, more than the limit of {max_output_tokens:,} tokens can hold"
    return replace(reply, outcome="unreadable", text="", logprobs=None, detail=detail)


def may_pass(finish_reason: str | None) -> bool:
    """Whether another attempt may bring the whole of a reply that was interrupted.

    Args:
        finish_reason: The provider's word, in any case; None if there is none.

    Returns:
        True for the reasons in `PASSING`.
    """
    return (finish_reason or "").lower() in PASSING


def is_lost(reply: Reply | CallRecord) -> bool:
    """Whether the server lost a reply on its way, so that it is to be asked for again.

    Args:
        reply: The reply, or the record of it.

    Returns:
        True for what was interrupted, or is unreadable, for a reason that may pass.
    """
    return reply.outcome in ("interrupted", "unreadable") and may_pass(reply.finish_reason)


def is_open(call: CallRecord | None) -> bool:
    """Whether a call beside the answers is still to be made, or to be made again.

    Args:
        call: How it ended; None: it was not made.

    Returns:
        True for one that failed, or whose reply the server lost.
    """
    return call is None or call.outcome == "failed" or is_lost(call)
