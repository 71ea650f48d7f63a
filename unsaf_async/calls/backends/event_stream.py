"""A reply that came as a stream of server-sent events, put together into the body that it would have been otherwise.

For endpoints that answer only so, and for gateways that stream although nobody asked. OpenAI's chunks, as its other speakers
send them. https://platform.openai.com/docs/api-reference/chat-streaming
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
    body: dict[str, Any] = {}
    message: dict[str, Any] = {}
    choice: dict[str, Any] = {}
    logprobs: list[Any] = []
    ended = False
    for event, data in _events(stream):
        if data == b"[DONE]":
            ended = True
            break
        chunk = json_of(data)
        if not isinstance(chunk, dict):
            raise ValueError("an event of the stream is no JSON object")
        if event == b"error" or chunk.get("error") or "error" in (chunk.get("type"), chunk.get("object")):
            return {"error": chunk.get("error") or chunk}
        body |= {
            name: value for name, value in chunk.items() if name not in ("choices", "object") and value is not None
        }
        for part in list_of(chunk.get("choices"))[:1]:
            part = table_of(part)
            choice |= {name: part[name] for name in ("finish_reason", "error") if part.get(name) is not None}
            logprobs += list_of(table_of(part.get("logprobs")).get("content"))
            # Some servers send the whole message instead of its pieces.
            _add(message, table_of(part.get("delta") or part.get("message")))
    if not body or not (ended or choice.get("finish_reason")):
        raise ValueError("the stream breaks off")
    if message or choice:
        body["choices"] = [{**choice, "message": message, "logprobs": {"content": logprobs}}]
    return {"choices": [], **body}


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
