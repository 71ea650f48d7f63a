"""Google's generateContent, as the Gemini API speaks it.

https://ai.google.dev/api/generate-content
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from unsaf_async.calls.backends.outcome import outcome_of
from unsaf_async.calls.backends.wire import (
    Outgoing,
    count_of,
    list_of,
    listed,
    logprobs_of,
    merged,
    string_of,
    table_of,
    usage_count,
    word_of,
)
from unsaf_async.providers.profile import OWN_ADDRESSES
from unsaf_async.records import Reply, Usage
from unsaf_async.text import one_line

if TYPE_CHECKING:
    from collections.abc import Mapping

    from unsaf_async.records import Message, Request

BUDGETS: dict[str, int] = {"disable": 0, "none": 0, "low": 1024, "medium": 2048, "high": 4096}
"""Tokens to think for each word of `reasoning_effort`, for a model that takes a budget: litellm's figures."""

_TAKES_A_BUDGET = re.compile(r"gemini-(?:[12]\b|exp\b)|gemma-")
"""Up to Gemini 2.5. Later models, and those that nobody here has heard of, take a word for their level."""

_TAKES_MINIMAL = re.compile(r"gemini-3(?:\.[0-6])?-flash\b")
"""The Flash models up to 3.6; every model with levels takes "low"."""

FINISH_REASONS = (
    "FINISH_REASON_UNSPECIFIED", "STOP", "MAX_TOKENS", "SAFETY", "RECITATION", "OTHER", "BLOCKLIST", "PROHIBITED_CONTENT",
    "SPII", "MALFORMED_FUNCTION_CALL", "MODEL_ARMOR", "IMAGE_SAFETY", "IMAGE_PROHIBITED_CONTENT", "IMAGE_RECITATION",
    "IMAGE_OTHER", "UNEXPECTED_TOOL_CALL", "NO_IMAGE",
)  # fmt: skip
"""Vertex AI's, by their numbers: some gateways to it write enumerations as numbers. The Gemini API itself writes names.
https://cloud.google.com/python/docs/reference/aiplatform/latest/google.cloud.aiplatform_v1.types.Candidate.FinishReason"""

BLOCK_REASONS = ("BLOCKED_REASON_UNSPECIFIED", "SAFETY", "OTHER", "BLOCKLIST", "PROHIBITED_CONTENT")
"""Those that have one number everywhere."""


class GeminiWire:
    """The protocol."""

    endpoint = OWN_ADDRESSES["gemini"]
    models_path = "/models?pageSize=1000"

    def headers(self, key: str | None) -> dict[str, str]:
        """The key's, or none without a key; it is never in the address.

        Args:
            key: The account's.

        Returns:
            Headers, names in lower case.
        """
        return {"x-goog-api-key": key} if key else {}

    def outgoing(self, request: Request) -> Outgoing:
        """What is sent for a call.

        Args:
            request: The call. Among the target's further fields, `reasoning_effort` is translated; all others go into the body
                as they are, so they have Google's names and places (`generationConfig.topK`).

        Returns:
            The path and the body.
        """
        sampling = request.sampling
        model = request.target.model.removeprefix("gemini/")
        given = {
            "maxOutputTokens": sampling.max_output_tokens,
            "temperature": sampling.temperature,
            "topP": sampling.top_p,
            "seed": sampling.seed,
        }
        config: dict[str, Any] = {name: value for name, value in given.items() if value is not None}
        if sampling.logprobs:
            config["responseLogprobs"] = True
        if request.schema:
            config |= {"responseMimeType": "application/json", "responseJsonSchema": request.schema.schema}
        body: dict[str, Any] = {
            "contents": [
                {"role": "model" if message.role == "assistant" else "user", "parts": _parts(message)}
                for message in request.messages
                if message.role != "system"
            ],
            "generationConfig": config,
        }
        if system := [part for message in request.messages if message.role == "system" for part in _parts(message)]:
            body["systemInstruction"] = {"parts": system}
        extra = dict(request.target.extra)
        body = merged(body, thinking_of(model, extra.pop("reasoning_effort", None)))
        resource = model if "/" in model else f"models/{model}"
        return Outgoing(f"/{quote(resource)}:generateContent", merged(body, extra))

    def reply(self, body: Mapping[str, Any]) -> Reply:
        """The reply in a body.

        Args:
            body: Parsed JSON.

        Returns:
            The reply, without headers; its text is that of the first candidate, without thoughts.

        Raises:
            ValueError: It is no reply.
        """
        candidates = body.get("candidates")
        if not isinstance(candidates, list | None) or not body.keys() & {
            "candidates",
            "promptFeedback",
            "usageMetadata",
        }:
            raise ValueError("the answer holds no candidates")
        usage, model = _usage(table_of(body.get("usageMetadata"))), word_of(body.get("modelVersion"))
        if not candidates:
            feedback = table_of(body.get("promptFeedback"))
            reason = _name(feedback.get("blockReason"), BLOCK_REASONS)
            if not reason:
                return Reply("unreadable", "", usage=usage, detail="the answer holds no candidate", model=model)
            detail = f"the provider's filter blocked the request (block reason {one_line(reason, 60)})"
            detail = _with(detail, feedback.get("blockReasonMessage"))
            return Reply("blocked", "", finish_reason=reason, usage=usage, detail=detail, model=model)
        candidate = table_of(candidates[0])
        parts = [table_of(part) for part in list_of(table_of(candidate.get("content")).get("parts"))]
        text = "".join(string_of(part.get("text")) for part in parts if not part.get("thought"))
        reason = _name(candidate.get("finishReason"), FINISH_REASONS)
        # "If empty, the model has not stopped generating tokens": a whole reply always says why it stopped.
        outcome, detail = outcome_of(text, reason or "missing")
        logprobs = list_of(table_of(candidate.get("logprobsResult")).get("chosenCandidates"))
        return Reply(
            outcome,
            text,
            finish_reason=reason or None,
            usage=usage,
            detail=_with(detail, candidate.get("finishMessage")),
            model=model,
            logprobs=logprobs_of([table_of(token).get("logProbability") for token in logprobs]),
        )

    def models(self, body: Mapping[str, Any]) -> list[str]:
        """The models' ids, without "models/" before them.

        Args:
            body: Parsed JSON.

        Returns:
            The ids, in the list's order.

        Raises:
            ValueError: It is no such list.
        """
        names = [name.removeprefix("models/") for name in listed(body, "models", "name")]
        return [name for name in names if name]


def thinking_of(model: str, effort: object) -> dict[str, Any]:
    """The fields that ask a model for so much thinking.

    https://ai.google.dev/gemini-api/docs/thinking. What the model thinks is read by nobody here: it is not asked for.

    Args:
        model: The model's id.
        effort: The word in `reasoning_effort`; None for the model's own default. From Gemini 3 on thinking cannot be switched
            off: "none" is the least. A word that is not known goes out as it is: the service refuses it by its name.

    Returns:
        Fields of the body.
    """
    if effort is None:
        return {}
    word = str(effort)
    config: dict[str, Any] = {"thinkingLevel": effort}
    if _TAKES_A_BUDGET.match(model):
        budget = _least(model) if word == "minimal" else BUDGETS.get(word)
        if budget is not None:
            config = {"thinkingBudget": budget}
    elif word in ("minimal", "none", "disable"):
        config = {"thinkingLevel": "minimal" if _TAKES_MINIMAL.match(model) else "low"}
    return {"generationConfig": {"thinkingConfig": config}}


def _least(model: str) -> int:
    """The least budget that a model of Gemini 2.5 can think with."""
    if model.startswith("gemini-2.5-flash"):
        return 512 if model.startswith("gemini-2.5-flash-lite") else 1
    return 128


def _parts(message: Message) -> list[dict[str, Any]]:
    text = {"text": message.text}
    if message.image is None:
        return [text]
    data = message.image.data_url.partition(",")[2]
    return [{"inlineData": {"mimeType": message.image.media_type, "data": data}}, text]


def _name(value: object, names: tuple[str, ...]) -> str:
    """The name of an enumeration's member, which may stand there as its number; "" if there is none."""
    if isinstance(value, int) and not isinstance(value, bool):
        return names[value] if 0 <= value < len(names) else one_line(repr(value)[:60])
    return word_of(value)


def _with(detail: str, message: object) -> str:
    """A word on why a reply did not end well, with what the service says about it."""
    said = one_line(string_of(message), 200)
    return f"{detail}: {said}" if detail and said else detail


def _usage(usage: Mapping[str, Any]) -> Usage:
    """The counts; all 0, which is booked at the worst case, where one of those that are billed is there and is none."""
    billed = ("promptTokenCount", "toolUsePromptTokenCount", "candidatesTokenCount", "thoughtsTokenCount")
    if any(usage_count(usage.get(name)) is None for name in billed):
        return Usage()
    prompt, tools, written, thought = (count_of(usage.get(name)) for name in billed)
    if not prompt:  # what tools read is no count of the prompt
        tools = 0
    cached = count_of(usage.get("cachedContentTokenCount"))
    cached = cached if cached <= prompt + tools else 0
    return Usage(prompt + tools, cached, 0, written + thought, thought)
