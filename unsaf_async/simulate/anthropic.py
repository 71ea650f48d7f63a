"""Anthropic's messages."""

from __future__ import annotations

from datetime import UTC, datetime
from math import ceil
from typing import TYPE_CHECKING, Any

import orjson
from typing_extensions import override

from unsaf_async.simulate import wire
from unsaf_async.simulate.generations import FIELDS, generation_of
from unsaf_async.simulate.pictures import PictureError
from unsaf_async.simulate.wire import Answer, Body, Call, Draft, RequestError, Trouble, Wire, need

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from unsaf_async.simulate.limits import Limited, LimitState
    from unsaf_async.simulate.pictures import Picture, Pictures

_VOLATILE = ("metadata", "stream", "service_tier")
_STOP = {
    "stop": "end_turn",
    "length": "max_tokens",
    "safety": "refusal",
    "refusal": "refusal",
    "empty": "end_turn",
    # The vendor has no such words; these are its own that end a reply before its time.
    "abort": "pause_turn",
    "error": "pause_turn",
    "repetition": "model_context_window_exceeded",
    "sensitive": "refusal",
}
LARGEST_IMAGE = 5 * 1024 * 1024
"""Bytes of an image's Base64 text."""


class Anthropic(Wire):
    """POST /v1/messages."""

    name = "anthropic"
    vendor = "anthropic"

    @override
    def key(self, headers: Mapping[str, str], query: Mapping[str, str]) -> str | None:
        # The vendor's own SDK sends the key as a token from its version 2 on.
        scheme, _, token = headers.get("Authorization", "").partition(" ")
        return headers.get("x-api-key") or (token.strip() if scheme.lower() == "bearer" else "") or None

    @override
    def read(self, body: Body, model: str, headers: Mapping[str, str], pictures: Pictures) -> Call:
        need(headers.get("anthropic-version"), "anthropic-version: header is required")
        model = body.get("model") or ""
        need(isinstance(model, str) and model, "model: Field required")
        need(body.get("max_tokens") is not None, "max_tokens: Field required")
        stream = body.get("stream")
        need(stream is None or isinstance(stream, bool), "stream: Input should be a valid boolean")
        messages = wire.array(body.get("messages"), "messages: Field required")
        need(messages, "messages: at least one message is required")
        texts: list[str] = []
        images: list[Picture] = []
        prompt: list[tuple[str | Picture, int, str]] = []
        system = body.get("system")
        for part, mark in _parts(system, "system") if system else []:
            if not isinstance(part, str):
                raise RequestError("system: Input should be text")
            texts.append(part)
            prompt.append((part, 0, mark))
        for place, message in enumerate(messages):
            at = f"messages.{place}"
            message = wire.mapping(message, f"{at}: Input should be an object")
            need(message.get("role") in ("user", "assistant"), f"{at}.role: Input should be 'user' or 'assistant'")
            for part, mark in _parts(message.get("content"), f"{at}.content"):
                if isinstance(part, str):
                    # Source: anthropics/claude-code#59812.
                    need(part, "messages: text content blocks must be non-empty")
                    texts.append(part)
                    prompt.append((part, 0, mark))
                else:
                    images.append(_picture(part, f"{at}.content.{len(texts) + len(images)}", pictures))
                    prompt.append((images[-1], picture_tokens(images[-1]), mark))
        tool, schema = _schema(body)
        thinking = body.get("thinking")
        image_tokens = sum(map(picture_tokens, images))
        turns = len(messages) + bool(system)
        return Call(
            model=model,
            texts=tuple(texts),
            pictures=tuple(images),
            input_tokens=wire.input_tokens(texts, turns, schema) + image_tokens,
            image_tokens=image_tokens,
            digest=wire.digest(self.name, model, body, _VOLATILE),
            schema_name=None if schema is None else "",
            max_output_tokens=wire.whole(body, "max_tokens"),
            temperature=wire.number(body, "temperature", 0, 1),
            tool=tool,
            schema=schema,
            strict=tool is None,
            stream=bool(stream),
            stream_usage=True,
            thinks=isinstance(thinking, dict) and thinking.get("type") in ("enabled", "adaptive"),
            settings=wire.flat(body),
            unknown=tuple(("", name) for name in body if name not in FIELDS["anthropic"]),
            blocks=wire.blocks(schema, prompt),
        )

    @override
    def reply(self, call: Call, draft: Draft) -> Body:
        choice = draft.choices[0]
        content: list[Body] = []
        stop = _STOP[choice.finish]
        if choice.finish not in ("safety", "empty") and choice.text:
            content = [{"type": "text", "text": choice.text}]
        if call.tool is not None and choice.finish in ("stop", "length"):
            # A tool call that the output limit cuts arrives with what could be parsed of its input: nothing.
            content = [
                {
                    "type": "tool_use",
                    "id": f"toolu_{draft.stamp[:24]}",
                    "name": call.tool,
                    "input": _object(choice.text),
                }
            ]
            stop = "tool_use" if choice.finish == "stop" else stop
        if draft.thoughts:
            content.insert(0, {"type": "thinking", "thinking": draft.thoughts, "signature": draft.stamp})
        usage: Body = {"thinking_tokens": draft.thought_tokens}
        written = draft.written_tokens + draft.written_1h_tokens
        return {
            "id": f"msg_{draft.stamp[:24]}",
            "type": "message",
            "role": "assistant",
            "model": draft.model,
            "content": content,
            "stop_reason": stop,
            "stop_sequence": None,
            "usage": {
                "input_tokens": draft.input_tokens - draft.cached_tokens - written,
                "cache_creation_input_tokens": written,
                "cache_read_input_tokens": draft.cached_tokens,
                "cache_creation": {
                    "ephemeral_5m_input_tokens": draft.written_tokens,
                    "ephemeral_1h_input_tokens": draft.written_1h_tokens,
                },
                "output_tokens": draft.output_tokens,
                **({"output_tokens_details": usage} if draft.thought_tokens else {}),
                "service_tier": "standard",
            },
        }

    @override
    def events(self, call: Call, draft: Draft) -> bytes:
        whole = self.reply(call, draft)
        usage = {**whole["usage"], "output_tokens": 1}
        start = {**whole, "content": [], "stop_reason": None, "usage": usage}
        found = [_event("message_start", message=start)]
        for place, block in enumerate(whole["content"]):
            empty, deltas = _deltas(block)
            found.append(_event("content_block_start", index=place, content_block=empty))
            found += [_event("content_block_delta", index=place, delta=delta) for delta in deltas]
            found.append(_event("content_block_stop", index=place))
        ending = {"stop_reason": whole["stop_reason"], "stop_sequence": None}
        found.append(_event("message_delta", delta=ending, usage={"output_tokens": draft.output_tokens}))
        return b"".join([*found, _event("message_stop")])

    @override
    def card(self, model: str) -> Body:
        generation = generation_of("anthropic", model)
        return {
            "type": "model",
            "id": model,
            "display_name": model.replace("-", " ").title(),
            "created_at": "2025-01-01T00:00:00Z",
            "lifecycle": "active",
            "max_input_tokens": generation.context_tokens if generation else None,
            "max_tokens": generation.output_tokens if generation else None,
        }

    @override
    def listing(self, models: Sequence[str], query: Mapping[str, str]) -> Body:
        names, more = wire.page(models, query.get("limit", "20"), query.get("after_id"), 1000)
        first, last = (names[0], names[-1]) if names else (None, None)
        return {"data": [self.card(name) for name in names], "has_more": more, "first_id": first, "last_id": last}

    @override
    def headers(self, standings: Mapping[Limited, LimitState], now: float, stamp: str) -> dict[str, str]:
        headers = {"request-id": f"req_{stamp[:24]}"}
        for limited, standing in standings.items():
            name = f"anthropic-ratelimit-{limited.replace('_', '-')}"
            headers[f"{name}-limit"] = str(standing.limit)
            headers[f"{name}-remaining"] = str(standing.remaining)
            reset = datetime.fromtimestamp(ceil(now + standing.reset_s), UTC)
            headers[f"{name}-reset"] = reset.strftime("%Y-%m-%dT%H:%M:%SZ")
        return headers

    @override
    def error(self, trouble: Trouble, stamp: str) -> Answer:
        status, kind, message = _words(trouble)
        body = {"type": "error", "error": {"type": kind, "message": message}, "request_id": f"req_{stamp[:24]}"}
        return Answer(status, body)


def picture_tokens(picture: Picture) -> int:
    """Claude's price of an image that is not resized, in tokens: one a patch of 28 pixels.

    Source: platform.claude.com/docs/en/build-with-claude/vision, "Calculate image costs".

    Args:
        picture: The image.

    Returns:
        Tokens, >= 1.
    """
    return ceil(picture.width / 28) * ceil(picture.height / 28)


def _words(trouble: Trouble) -> tuple[int, str, str]:
    """Status, error type and message."""
    match trouble.kind:
        case "bad":
            return 400, "invalid_request_error", trouble.message
        case "key":
            needed = "x-api-key header is required" if trouble.key is None else "invalid x-api-key"
            return 401, "authentication_error", needed
        case "model" | "listed" | "retired":
            return 404, "not_found_error", f"model: {trouble.model}"
        case "refused" if trouble.refusal is not None:
            return trouble.refusal.status, "invalid_request_error", trouble.refusal.message
        case "policy":
            return 400, "invalid_request_error", "Output blocked by content filtering policy"
        case "large":
            return 413, "request_too_large", "Request exceeds the maximum allowed number of bytes."
        case "quota":  # a 400, unlike the others'
            message = (
                "Your credit balance is too low to access the Anthropic API. "
                "Please go to Plans & Billing to upgrade or purchase credits."
            )
            return 400, "invalid_request_error", message
        case "rate":
            limited = trouble.denied.limited.replace("_", " ") if trouble.denied else "requests"
            limit = f"{trouble.standing.limit:,} " if trouble.standing else ""
            message = (
                f"This request would exceed your organization's rate limit of {limit}{limited} per minute (model: "
                f"{trouble.model}). For details, refer to: https://docs.claude.com/en/api/rate-limits."
            )
            return 429, "rate_limit_error", message
        case "500":
            return 500, "api_error", "Internal server error"
        case "503":
            return 503, "api_error", "Service unavailable"
        case _:
            return 529, "overloaded_error", "Overloaded"


def _mark(part: dict[str, Any], at: str) -> str:
    """How long what ends with a part is to be kept, as it says; "" if it does not."""
    control = part.get("cache_control")
    if control is None:
        return ""
    control = wire.mapping(control, f"{at}.cache_control: Input should be an object")
    need(control.get("type") == "ephemeral", f"{at}.cache_control.type: Input should be 'ephemeral'")
    lifetime = str(control.get("ttl", "5m"))
    need(lifetime in ("5m", "1h"), f"{at}.cache_control.ttl: Input should be '5m' or '1h'")
    return lifetime


def _parts(content: object, at: str) -> list[tuple[str | dict[str, Any], str]]:
    """The texts and the image blocks of a message, in order, each with its mark."""
    if isinstance(content, str):
        return [(content, "")]
    parts: list[tuple[str | dict[str, Any], str]] = []
    for place, part in enumerate(wire.array(content, f"{at}: Input should be a valid string or list")):
        part = wire.mapping(part, f"{at}.{place}: Input should be an object")
        kind, mark = part.get("type"), _mark(part, f"{at}.{place}")
        if kind == "text":
            need(isinstance(part.get("text"), str), f"{at}.{place}.text.text: Field required")
            parts.append((part["text"], mark))
        elif kind == "image":
            parts.append((wire.mapping(part.get("source"), f"{at}.{place}.image.source: Field required"), mark))
        else:
            raise RequestError(f"{at}.{place}: Input tag '{kind}' found, expected one of 'image', 'text'")
    return parts


def _picture(source: dict[str, Any], at: str, pictures: Pictures) -> Picture:
    need(source.get("type") == "base64", f"{at}.image.source: only base64 sources are simulated")
    need(isinstance(source.get("data"), str), f"{at}.image.source.base64.data: Field required")
    size = len(source["data"])
    need(
        size <= LARGEST_IMAGE,
        f"{at}.image.source.base64: image exceeds 5 MB maximum: {size} bytes > {LARGEST_IMAGE} bytes",
    )
    try:
        picture = pictures.read(source["data"])
    except PictureError as error:
        raise RequestError(f"{at}.image.source.base64.data: Could not process image ({error})") from None
    need(
        source.get("media_type") == picture.media_type,
        f"{at}.image.source.base64: Image does not match the provided media type {source.get('media_type')}",
    )
    source["data"] = picture.id
    return picture


def _schema(body: Body) -> tuple[str | None, object]:
    """The tool that the reply must call, if any, and the JSON schema that it must follow."""
    choice = body.get("tool_choice")
    if isinstance(choice, dict) and choice.get("type") == "tool":
        for tool in wire.array(body.get("tools"), "tools: Field required with tool_choice"):
            name = tool.get("name") if isinstance(tool, dict) else None
            if isinstance(name, str) and name == choice.get("name"):
                return name, tool.get("input_schema") or {}
        raise RequestError(f"tool_choice.tool.name: Tool '{choice.get('name')}' not found in provided tools")
    config = body.get("output_config")
    wanted = config.get("format") if isinstance(config, dict) else body.get("output_format")
    if wanted is None:
        return None, None
    wanted = wire.mapping(wanted, "output_format: Input should be an object")
    need(wanted.get("type") == "json_schema", "output_format.type: Input should be 'json_schema'")
    return None, wire.mapping(wanted.get("schema"), "output_format.schema: Field required")


def _event(name: str, **data: object) -> bytes:
    return wire.event({"type": name, **data}, name)


def _deltas(block: Body) -> tuple[Body, list[Body]]:
    """A block of content as a stream begins it, and the pieces that follow."""
    match block["type"]:
        case "text":
            deltas: list[Body] = [{"type": "text_delta", "text": piece} for piece in wire.pieces(block["text"])]
            return {"type": "text", "text": ""}, deltas
        case "thinking":
            deltas = [{"type": "thinking_delta", "thinking": piece} for piece in wire.pieces(block["thinking"])]
            deltas.append({"type": "signature_delta", "signature": block["signature"]})
            return {"type": "thinking", "thinking": "", "signature": ""}, deltas
        case _:
            text = orjson.dumps(block["input"]).decode()
            return {**block, "input": {}}, [
                {"type": "input_json_delta", "partial_json": each} for each in wire.pieces(text)
            ]


def _object(text: str) -> object:
    try:
        return orjson.loads(text)
    except orjson.JSONDecodeError:
        return {}
