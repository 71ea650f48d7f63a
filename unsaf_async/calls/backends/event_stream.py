"""A reply that came as a stream of server-sent events, put together into the body that it would have been otherwise.

For endpoints that answer only so, and for gateways that stream although nobody asked. Chunks of OpenAI and whoever speaks
alike (https://platform.openai.com/docs/api-reference/chat-streaming), of Anthropic and of Gemini.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from unsaf_async.calls.backends.wire import json_of, list_of, table_of

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping


def is_event_stream(headers: Mapping[str, str], body: bytes) -> bool:
    """Whether an answer is a stream of server-sent events.

    Args:
        headers: Of the answer, names in lower case.
        body: Of the answer; some gateways name another content type.

    Returns:
        True if it is.
    """
    return "text/event-stream" in headers.get("content-type", "") or body.lstrip().startswith(
        (b"data:", b"event:", b":")
    )


def whole_body(stream: bytes) -> dict[str, Any]:
    """The body that a stream of chunks stands for.

    Args:
        stream: All of its bytes.

    Returns:
        A body in the form of a reply that is not streamed; a body with `error` if the stream tells of one.

    Raises:
        ValueError: It breaks off: neither its last event nor a finish reason came. Or it is no stream of chunks.
    """
    chunks: list[dict[str, Any]] = []
    for event, data in _events(stream):
        if data == b"[DONE]":
            return whole_of(chunks, ended=True)
        chunk = json_of(data)
        if not isinstance(chunk, dict):
            raise ValueError("an event of the stream is no JSON object")
        if event == b"error" or chunk.get("error") or "error" in (chunk.get("type"), chunk.get("object")):
            return {"error": chunk.get("error") or chunk}
        chunks.append(chunk)
    return whole_of(chunks)


def whole_of(chunks: list[dict[str, Any]], *, ended: bool = False) -> dict[str, Any]:
    """The body that chunks stand for, in the form of the vendor that sent them.

    Args:
        chunks: In their order.
        ended: Whether the vendor's last event came.

    Returns:
        The body.

    Raises:
        ValueError: Neither the last event nor a finish reason came.
    """
    if any("candidates" in chunk or "promptFeedback" in chunk for chunk in chunks):
        body, whole = _of_gemini(chunks)
    elif any(chunk.get("type") == "message_start" for chunk in chunks):
        body, whole = _of_anthropic(chunks)
    else:
        body, whole = _of_openai(chunks)
    if not (whole or (ended and chunks)):
        raise ValueError("the stream breaks off")
    return body


def _of_openai(chunks: list[dict[str, Any]]) -> tuple[dict[str, Any], bool]:
    body: dict[str, Any] = {}
    message: dict[str, Any] = {}
    choice: dict[str, Any] = {}
    logprobs: list[Any] = []
    for chunk in chunks:
        body |= {
            name: value for name, value in chunk.items() if name not in ("choices", "object") and value is not None
        }
        for part in list_of(chunk.get("choices"))[:1]:
            part = table_of(part)
            choice |= {name: part[name] for name in ("finish_reason", "error") if part.get(name) is not None}
            logprobs += list_of(table_of(part.get("logprobs")).get("content"))
            # Some servers send the whole message instead of its pieces.
            _add(message, table_of(part.get("delta") or part.get("message")))
    whole = bool(choice.get("finish_reason"))
    if message or choice:
        body["choices"] = [{**choice, "message": message, "logprobs": {"content": logprobs}}]
    return {"choices": [], **body}, whole


def _of_anthropic(chunks: list[dict[str, Any]]) -> tuple[dict[str, Any], bool]:
    """The body, and whether it is whole. Source: https://docs.claude.com/en/docs/build-with-claude/streaming."""
    body: dict[str, Any] = {}
    blocks: dict[Any, dict[str, Any]] = {}
    for chunk in chunks:
        delta = table_of(chunk.get("delta"))
        match chunk.get("type"):
            case "message_start":
                body = dict(table_of(chunk.get("message")))
            case "content_block_start":
                blocks[chunk.get("index")] = dict(table_of(chunk.get("content_block")))
            case "content_block_delta":
                block = blocks.setdefault(chunk.get("index"), {"type": "text"})
                if isinstance(text := delta.get("text"), str):
                    block["text"] = (block.get("text") or "") + text
            case "message_delta":
                body |= delta
                body["usage"] = {**table_of(body.get("usage")), **table_of(chunk.get("usage"))}
    body["content"] = list(blocks.values())
    return body, bool(body.get("stop_reason"))


def _of_gemini(chunks: list[dict[str, Any]]) -> tuple[dict[str, Any], bool]:
    """The body, and whether it is whole. Source: https://ai.google.dev/api/generate-content (streamGenerateContent)."""
    body: dict[str, Any] = {}
    candidate: dict[str, Any] = {}
    parts: list[Any] = []
    for chunk in chunks:
        body |= {name: value for name, value in chunk.items() if name != "candidates"}
        for part in list_of(chunk.get("candidates"))[:1]:
            candidate |= table_of(part)
            parts += list_of(table_of(table_of(part).get("content")).get("parts"))
    if candidate:
        body["candidates"] = [{**candidate, "content": {"role": "model", "parts": parts}}]
    return body, bool(candidate.get("finishReason") or table_of(body.get("promptFeedback")).get("blockReason"))


def _add(message: dict[str, Any], delta: Mapping[str, Any]) -> None:
    for name in ("content", "refusal", "reasoning_content", "reasoning"):
        if isinstance(text := delta.get(name), str):
            message[name] = message.get(name, "") + text


def _events(stream: bytes) -> Iterator[tuple[bytes, bytes]]:
    """The name and the data of each event: lines of data joined, comments and other fields passed over."""
    name = b""
    lines: list[bytes] = []
    for line in stream.replace(b"\r\n", b"\n").replace(b"\r", b"\n").split(b"\n"):
        if line.startswith(b"data:"):
            lines.append(line[5:].removeprefix(b" "))
        elif line.startswith(b"event:"):
            name = line[6:].strip()
        elif not line and lines:
            yield name, b"\n".join(lines)
            name, lines = b"", []
    if lines:
        yield name, b"\n".join(lines)
