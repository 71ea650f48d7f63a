"""Anthropic's Messages API.

https://platform.claude.com/docs/en/api/messages
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from unsaf_async.calls.backends.outcome import outcome_of
from unsaf_async.calls.backends.wire import (
    Outgoing,
    count_of,
    list_of,
    listed,
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

    from unsaf_async.records import Message, PromptCache, Request

VERSION = "2023-06-01"
"""Of the protocol. The next one, 2026-10-21, takes no temperature, which the models up to 4.6 are asked with.
https://platform.claude.com/docs/en/api/migration-2026-10-21"""

BUDGETS: dict[str, int] = {"minimal": 1024, "low": 1024, "medium": 2048, "high": 4096, "xhigh": 8192, "max": 16384}
"""Tokens to think for each word of `reasoning_effort`, for a model that takes a budget: litellm's figures."""

_TAKES_A_BUDGET = re.compile(r"claude-(?:instant|[123](?![0-9])|[a-z]+-4(?:[-.][0-5])?(?:[-@]\d{8}|-latest)?$)")
"""Up to Claude 4.5. Later models, and those that nobody here has heard of, take a word for their effort."""


class AnthropicWire:
    """The protocol as one endpoint speaks it."""

    endpoint = OWN_ADDRESSES["anthropic"]

    def __init__(self, endpoint: str = "") -> None:
        """The wire to an endpoint.

        Args:
            endpoint: The base URL that it is used with; "" is the vendor's own. One that ends in /v1 gets no second one.
        """
        version = "" if endpoint.rstrip("/").endswith("/v1") else "/v1"
        self._path = f"{version}/messages"
        self.models_path = f"{version}/models?limit=1000"

    def headers(self, key: str | None) -> dict[str, str]:
        """The protocol's version, and the key.

        Args:
            key: The account's; None for none.

        Returns:
            Headers, names in lower case.
        """
        return {"anthropic-version": VERSION} | ({"x-api-key": key} if key else {})

    def outgoing(self, request: Request) -> Outgoing:
        """What is sent for a call: without seed and log-probabilities, of which this protocol has none.

        Args:
            request: The call. Among the target's further fields, `reasoning_effort` is translated; all others go into the body
                as they are, so they have Anthropic's names.

        Returns:
            The path and the body.
        """
        sampling = request.sampling
        model = request.target.model.removeprefix("anthropic/")
        body: dict[str, Any] = {
            "model": model,
            "max_tokens": sampling.max_output_tokens,
            "messages": [
                {"role": message.role, "content": _blocks(message, request.prompt_cache)}
                for message in request.messages
                if message.role != "system"
            ],
        }
        if system := [block for message in request.messages if message.role == "system" for block in _blocks(message)]:
            body["system"] = system
        for name in ("temperature", "top_p"):
            if (value := getattr(sampling, name)) is not None:
                body[name] = value
        if request.schema:
            body["output_config"] = {"format": {"type": "json_schema", "schema": request.schema.schema}}
        extra = dict(request.target.extra)
        body = merged(body, thinking_of(model, extra.pop("reasoning_effort", None)))
        return Outgoing(self._path, merged(body, extra))

    def reply(self, body: Mapping[str, Any]) -> Reply:
        """The reply in a body.

        Args:
            body: Parsed JSON.

        Returns:
            The reply, without headers; its text is that of the text blocks, without thoughts.

        Raises:
            ValueError: It is no reply.
        """
        if not isinstance(body.get("content"), list):
            raise ValueError("the answer holds no content")
        blocks = [table_of(block) for block in body["content"]]
        text = "".join(string_of(block.get("text")) for block in blocks if block.get("type") == "text")
        reason = word_of(body.get("stop_reason"))
        refusal = _refusal(table_of(body.get("stop_details"))) if reason == "refusal" else ""
        # A whole reply always says why it stopped.
        outcome, detail = outcome_of(text, reason or "missing", refusal)
        return Reply(
            outcome,
            text,
            finish_reason=reason or None,
            usage=_usage(table_of(body.get("usage"))),
            detail=detail,
            model=word_of(body.get("model")),
        )

    def models(self, body: Mapping[str, Any]) -> list[str]:
        """The models' ids.

        Args:
            body: Parsed JSON.

        Returns:
            The ids, in the list's order.

        Raises:
            ValueError: It is no such list.
        """
        return listed(body, "data", "id")


def thinking_of(model: str, effort: object) -> dict[str, Any]:
    """The fields that ask a model for so much thinking.

    https://platform.claude.com/docs/en/build-with-claude/effort. What the model thinks is read by nobody here: a summary of it
    is not asked for.

    Args:
        model: The model's id.
        effort: The word in `reasoning_effort`; None or "none" for the model's own default. A word that is not known goes out
            as it is: the service refuses it by its name.

    Returns:
        Fields of the body.
    """
    if effort is None or effort == "none":
        return {}
    if _TAKES_A_BUDGET.match(model) and str(effort) in BUDGETS:
        return {"thinking": {"type": "enabled", "budget_tokens": BUDGETS[str(effort)]}}
    return {"thinking": {"type": "adaptive"}, "output_config": {"effort": "low" if effort == "minimal" else effort}}


def _blocks(message: Message, cache: PromptCache | None = None) -> list[dict[str, Any]]:
    """A turn's blocks, the image first; marked as the end of what is to be kept where calls that follow begin alike.

    https://platform.claude.com/docs/en/build-with-claude/prompt-caching
    """
    text = {"type": "text", "text": message.text}
    if message.image is None:
        return [text]
    source = {
        "type": "base64",
        "media_type": message.image.media_type,
        "data": message.image.data_url.partition(",")[2],
    }
    image: dict[str, Any] = {"type": "image", "source": source}
    if cache is not None and cache.writes:
        image["cache_control"] = {"type": "ephemeral"} | ({"ttl": "1h"} if cache.an_hour else {})
    return [image, text]


def _refusal(details: Mapping[str, Any]) -> str:
    """Why the model declined, as far as the service says; "" if it does not."""
    category, why = (one_line(string_of(details.get(name)), 200) for name in ("category", "explanation"))
    if not category and not why:
        return ""
    return (
        "the model declined (stop reason refusal"
        + f", category {category}" * bool(category)
        + ")"
        + f": {why}" * bool(why)
    )


def _usage(usage: Mapping[str, Any]) -> Usage:
    """The counts; all 0, which is booked at the worst case, where one of those that are billed is there and is none.

    No count of fresh input is no count of input, whatever stands for the cached: then the input is 0, and booked at its worst.

    Where the service called models several times for one reply, to compact the conversation or to ask another model for advice,
    only the list of those calls is complete.
    """
    parts: list[Mapping[str, Any]] = [part for part in list_of(usage.get("iterations")) if isinstance(part, dict)]
    parts = parts or [usage]
    billed = ("input_tokens", "cache_read_input_tokens", "cache_creation_input_tokens", "output_tokens")
    counts = [sum(count_of(part.get(name)) for part in parts) for name in billed]
    if any(usage_count(part.get(name)) is None for part in parts for name in billed):
        return Usage()
    fresh, cached, written, output = counts
    if any(part.get("input_tokens") is None for part in parts):
        fresh = cached = written = 0
    thought = count_of(table_of(usage.get("output_tokens_details")).get("thinking_tokens"))
    return Usage(fresh + cached + written, cached, written, output, min(thought, output))
