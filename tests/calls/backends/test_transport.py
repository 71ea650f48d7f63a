"""One exchange with one address, over a real socket: redirects, sizes, streams, bodies that are not quite JSON."""

from __future__ import annotations

import gzip
import time
import tracemalloc
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import orjson
import pytest
from aiohttp import web
from doubles import request
from serving import bomb, refusing_proxy, serve_bytes, serve_requests

from unsaf_async.calls.backends.anthropic_wire import AnthropicWire
from unsaf_async.calls.backends.gemini_wire import GeminiWire
from unsaf_async.calls.backends.http import HttpBackend
from unsaf_async.calls.backends.openai_wire import OpenAIWire
from unsaf_async.errors import CallError, Fatal, Rejected, Transient
from unsaf_async.records import Reply, Usage

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from unsaf_async.calls.backends.wire import Wire

KEY = "sk-test-0123456789abcdef"
COMPLETION = {
    "model": "a-model",
    "choices": [{"message": {"content": "A cat."}, "finish_reason": "stop"}],
    "usage": {"prompt_tokens": 12, "completion_tokens": 7},
}


async def ask(url: str) -> Reply:
    backend = HttpBackend(OpenAIWire(), url, KEY)
    try:
        return await backend.complete(request())
    finally:
        await backend.aclose()


async def ask_for(body: bytes, status: int = 200, headers: dict[str, str] | None = None) -> Reply:
    async with serve_bytes(body, status, headers) as url:
        return await ask(url)


@asynccontextmanager
async def listening() -> AsyncIterator[tuple[str, list[dict[str, str]]]]:
    """A server's address, and the headers of what it is asked."""
    asked: list[dict[str, str]] = []

    async def handle(request: web.Request) -> web.Response:
        asked.append(dict(request.headers))
        return web.json_response(COMPLETION)

    async with serve_requests(handle) as url:
        yield url, asked


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
async def test_a_redirect_is_not_followed_and_the_key_goes_nowhere_else(status: int) -> None:
    async with listening() as (elsewhere, asked):
        with pytest.raises(Fatal, match="moved to") as raised:
            await ask_for(b"", status, {"location": f"{elsewhere}/v1/chat/completions"})
    assert raised.value.kind == "model"
    assert elsewhere in str(raised.value)
    assert asked == []


async def test_no_address_is_read_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    async with listening() as (elsewhere, asked), listening() as (url, asked_here):
        for name in ("OPENAI_BASE_URL", "OPENAI_API_BASE", "OPENAI_API_HOST", "ANTHROPIC_BASE_URL"):
            monkeypatch.setenv(name, elsewhere)
        assert (await ask(url)).outcome == "ok"
    assert (len(asked_here), asked) == (1, [])
    assert asked_here[0]["Authorization"] == f"Bearer {KEY}"


@pytest.mark.parametrize("compressed", [False, True])
async def test_no_answer_is_read_beyond_its_bound(compressed: bool) -> None:
    """A bomb of a thousandth of its size counts by what it becomes. It was served: it may have been billed."""
    body = orjson.dumps(COMPLETION | {"padding": "x" * 2**23})
    headers = {"content-encoding": "gzip"} if compressed else {}
    with pytest.raises(Rejected, match="larger than 4 MB") as raised:
        await ask_for(gzip.compress(body) if compressed else body, 200, headers)
    assert raised.value.fate_unknown


@pytest.mark.parametrize("encoding", ["gzip", "deflate"])
async def test_a_bomb_takes_no_memory(encoding: str) -> None:
    """200 MB of spaces in 0.9 MB."""
    body = bomb(encoding)
    tracemalloc.start()
    try:
        with pytest.raises(Rejected, match="larger than 4 MB"):
            await ask_for(body, 200, {"content-encoding": encoding})
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 32 * 2**20


async def test_an_answer_of_other_things_than_text_takes_little_memory() -> None:
    """Empty lists are twenty times as large when they are read."""
    body = orjson.dumps(COMPLETION)[:-1] + b',"more":[' + b"[]," * 10_000_000 + b"[]]}"
    with pytest.raises(Rejected, match="larger than 4 MB"):
        await ask_for(body)


async def test_a_body_of_many_empty_members_is_not_read_to_its_end() -> None:
    """Each costs a copy of the rest: 200,000 of them would take minutes."""
    began = time.process_time()
    with pytest.raises(Transient, match="no whole gzip"):
        await ask_for(gzip.compress(b"") * 150_000, 200, {"content-encoding": "gzip"})
    assert time.process_time() - began < 5


@pytest.mark.parametrize("encoding", ["br", "zstd", "gzip, gzip", "x"])
async def test_an_encoding_that_was_not_asked_for_is_not_read(encoding: str) -> None:
    with pytest.raises(Transient, match="content-encoding"):
        await ask_for(orjson.dumps(COMPLETION), 200, {"content-encoding": encoding})


@pytest.mark.parametrize("size", [20_000, 3_000_000])
async def test_a_text_beyond_the_limit_of_tokens_is_unreadable_and_not_cut(size: int) -> None:
    """100 tokens were the limit: no vocabulary has tokens of 200 characters."""
    message = {"message": {"content": "A cat. " * (size // 7 + 1)}, "finish_reason": "stop"}
    reply = await ask_for(orjson.dumps(COMPLETION | {"choices": [message]}))
    assert (reply.outcome, reply.text, reply.usage) == ("unreadable", "", Usage(12, output_tokens=7))
    assert "more than the limit of 100 tokens can hold" in reply.detail
    message["message"] = {"content": "A cat. " * 100}
    assert (await ask_for(orjson.dumps(COMPLETION | {"choices": [message]}))).outcome == "ok"


async def test_a_proxy_that_opens_no_connection_sent_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    async with refusing_proxy() as (proxy, asked):
        monkeypatch.setenv("HTTPS_PROXY", proxy)
        with pytest.raises(
            Transient, match=r"api\.example\.com: the proxy opened no connection \(it answered 502\)"
        ) as raised:
            await ask("https://api.example.com/v1")
    assert (raised.value.unsent, raised.value.fate_unknown) == (True, False)
    assert asked == [b"CONNECT api.example.com:443 HTTP/1.1"]


async def test_where_nobody_listens_nothing_was_sent() -> None:
    async with listening() as (url, _):
        pass
    with pytest.raises(Transient, match="no connection") as raised:
        await ask(url)
    assert raised.value.unsent
    assert not raised.value.fate_unknown


@pytest.mark.parametrize(
    "body",
    [
        orjson.dumps(COMPLETION).replace(b"12", b"NaN"),
        orjson.dumps(COMPLETION).replace(b"12", b"Infinity"),
        orjson.dumps(COMPLETION).replace(b"12", b"1e999"),
    ],
)
async def test_a_number_that_is_none_costs_no_reply(body: bytes) -> None:
    reply = await ask_for(body)
    assert (reply.outcome, reply.text, reply.usage) in (
        ("ok", "A cat.", Usage()),
        ("ok", "A cat.", Usage(output_tokens=7)),
    )


async def test_half_an_emoji_costs_no_reply() -> None:
    reply = await ask_for(orjson.dumps(COMPLETION).replace(b"A cat.", rb"A cat \ud83d"))
    assert (reply.outcome, reply.text) == ("ok", "A cat ?")


# --- errors with status 200 ---------------------------------------------------------------------------------------


async def test_a_filter_that_answers_200_blocked_the_request() -> None:
    error = {"code": "content_filter", "message": "The response was filtered", "status": 400}
    assert (await ask_for(orjson.dumps({"error": error}))).outcome == "blocked"


@pytest.mark.parametrize("code", [429, "429", 503, 401, None])
async def test_an_error_with_status_200_is_the_error_that_it_says(code: object) -> None:
    with pytest.raises(CallError) as raised:
        await ask_for(orjson.dumps({"error": {"message": "no", "code": code}}))
    assert raised.value.status == (500 if code is None else int(str(code)))


async def test_an_error_beside_a_choice_is_an_error_that_may_have_been_billed() -> None:
    with pytest.raises(Transient, match="gateway") as raised:
        await ask_for(orjson.dumps({**COMPLETION, "error": {"code": 504, "message": "gateway"}}))
    assert raised.value.fate_unknown
    assert (await ask_for(orjson.dumps({**COMPLETION, "error": None}))).outcome == "ok"


async def test_a_missing_finish_reason_is_whole_only_where_a_server_never_sends_one() -> None:
    choices = [{"message": {"content": "A cat."}, "finish_reason": None}]
    answers = [COMPLETION | {"choices": choices}, COMPLETION, COMPLETION | {"choices": choices}]

    async def handle(_: web.Request) -> web.Response:
        return web.json_response(answers.pop(0))

    async with serve_requests(handle) as url:
        backend = HttpBackend(OpenAIWire(), url)
        try:
            outcomes = [(await backend.complete(request())).outcome for _ in range(3)]
        finally:
            await backend.aclose()
    assert outcomes == ["ok", "ok", "interrupted"]


async def test_a_body_of_several_gzip_members_is_read() -> None:
    body = orjson.dumps(COMPLETION)
    members = gzip.compress(body[:40]) + gzip.compress(body[40:])
    assert (await ask_for(members, 200, {"content-encoding": "gzip"})).text == "A cat."


# --- streams ------------------------------------------------------------------------------------------------------


def chunk(delta: dict[str, object], **choice: object) -> bytes:
    return b"data: " + orjson.dumps({"model": "a-model", "choices": [{"index": 0, "delta": delta, **choice}]}) + b"\n\n"


USAGE = b'data: {"model": "a-model", "choices": [], "usage": {"prompt_tokens": 12, "completion_tokens": 7}}\n\n'
DONE = b"data: [DONE]\n\n"
STREAM = (
    b": keep-alive\n\n"
    + chunk({"role": "assistant", "content": ""})
    + chunk({"reasoning_content": "Hm."})
    + chunk({"content": "A "})
    + chunk({"content": "cat."}, logprobs={"content": [{"token": "cat.", "logprob": -0.5}]})
    + chunk({}, finish_reason="stop")
    + USAGE
    + DONE
)


@pytest.mark.parametrize("content_type", ["text/event-stream; charset=utf-8", "application/json", "text/plain"])
@pytest.mark.parametrize("line_end", [b"\n", b"\r\n"])
async def test_a_stream_that_nobody_asked_for_is_read(content_type: str, line_end: bytes) -> None:
    reply = await ask_for(STREAM.replace(b"\n", line_end), 200, {"content-type": content_type})
    assert reply == Reply("ok", "A cat.", "stop", Usage(12, 0, 0, 7, 0), model="a-model", logprobs=(-0.5,))


async def test_a_stream_without_its_last_event_is_whole_where_a_finish_reason_came() -> None:
    assert (await ask_for(STREAM.removesuffix(DONE), 200, {"content-type": "text/event-stream"})).outcome == "ok"


@pytest.mark.parametrize("events", [3, 4])
async def test_a_stream_that_breaks_off_may_have_been_billed(events: int) -> None:
    cut = b"\n\n".join(STREAM.split(b"\n\n")[:events]) + b"\n\n"
    with pytest.raises(Transient, match="breaks off") as raised:
        await ask_for(cut, 200, {"content-type": "text/event-stream"})
    assert raised.value.fate_unknown


@pytest.mark.parametrize(
    "event",
    [
        b'data: {"error": {"code": 503, "message": "overloaded"}}\n\n',
        b'data: {"object": "error", "message": "overloaded", "code": 503}\n\n',
        b'event: error\ndata: {"message": "overloaded", "code": 503}\n\n',
    ],
)
async def test_an_error_inside_a_stream_is_an_error(event: bytes) -> None:
    with pytest.raises(Transient, match="overloaded") as raised:
        await ask_for(chunk({"content": "A "}) + event + DONE, 200, {"content-type": "text/event-stream"})
    assert raised.value.overloaded


async def test_a_number_that_is_none_costs_no_stream() -> None:
    stream = STREAM.replace(b'"model": "a-model"', b'"created": NaN, "model": "a-model"')
    assert (await ask_for(stream, 200, {"content-type": "text/event-stream"})).text == "A cat."


def events(*chunks: dict[str, object]) -> bytes:
    return b"".join(
        f"event: {chunk.get('type', 'x')}\n".encode() + b"data: " + orjson.dumps(chunk) + b"\n\n" for chunk in chunks
    )


MESSAGE = [
    {"type": "message_start", "message": {"model": "claude-x", "content": [], "stop_reason": None,
                                          "usage": {"input_tokens": 12, "output_tokens": 1}}},
    {"type": "content_block_start", "index": 0, "content_block": {"type": "thinking", "thinking": ""}},
    {"type": "content_block_delta", "index": 0, "delta": {"type": "thinking_delta", "thinking": "Hm."}},
    {"type": "content_block_start", "index": 1, "content_block": {"type": "text", "text": ""}},
    {"type": "ping"},
    {"type": "content_block_delta", "index": 1, "delta": {"type": "text_delta", "text": "A "}},
    {"type": "content_block_delta", "index": 1, "delta": {"type": "text_delta", "text": "cat."}},
    {"type": "message_delta", "delta": {"stop_reason": "end_turn"}, "usage": {"output_tokens": 7}},
    {"type": "message_stop"},
]  # fmt: skip
CANDIDATES = [
    {"candidates": [{"content": {"parts": [{"text": "Hm.", "thought": True}, {"text": "A "}]}, "index": 0}], "modelVersion": "g"},
    {"candidates": [{"content": {"parts": [{"text": "cat."}]}, "finishReason": "STOP", "index": 0}],
     "usageMetadata": {"promptTokenCount": 12, "candidatesTokenCount": 7}, "modelVersion": "g"},
]  # fmt: skip


@pytest.mark.parametrize(
    ("wire", "stream", "content_type"),
    [
        (AnthropicWire(), events(*MESSAGE), "text/event-stream"),
        (GeminiWire(), events(*CANDIDATES), "text/event-stream"),
        (GeminiWire(), orjson.dumps(CANDIDATES), "application/json"),
    ],
    ids=["anthropic", "gemini", "gemini, one array"],
)
async def test_the_other_vendors_streams_are_read_too(wire: Wire, stream: bytes, content_type: str) -> None:
    async with serve_bytes(stream, 200, {"content-type": content_type}) as url:
        backend = HttpBackend(wire, url, KEY)
        reply = await backend.complete(request())
        await backend.aclose()
    assert (reply.outcome, reply.text, reply.usage) == ("ok", "A cat.", Usage(12, 0, 0, 7, 0))


@pytest.mark.parametrize(
    ("wire", "stream"), [(AnthropicWire(), events(*MESSAGE[:-2])), (GeminiWire(), events(*CANDIDATES[:-1]))]
)
async def test_the_other_vendors_streams_that_break_off_may_have_been_billed(wire: Wire, stream: bytes) -> None:
    async with serve_bytes(stream, 200, {"content-type": "text/event-stream"}) as url:
        backend = HttpBackend(wire, url, KEY)
        with pytest.raises(Transient, match="breaks off") as raised:
            await backend.complete(request())
        await backend.aclose()
    assert raised.value.fate_unknown


async def test_an_endpoint_that_answers_only_as_a_stream_is_asked_for_one() -> None:
    body = OpenAIWire(stream=True).outgoing(request()).body
    assert body["stream"] is True
    assert body["stream_options"] == {"include_usage": True}
    assert "stream" not in OpenAIWire().outgoing(request()).body
