"""Whatever a provider says, on every wire and through litellm: a reply whose fields are in their bounds, or a CallError."""

from __future__ import annotations

import asyncio
import json
import threading
from contextlib import contextmanager
from copy import deepcopy
from math import isfinite
from typing import TYPE_CHECKING, Any

import pytest
from aiohttp import web
from doubles import profile, request
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from serving import serve_requests

from unsaf_async.calls.backends.anthropic_wire import AnthropicWire
from unsaf_async.calls.backends.gemini_wire import GeminiWire
from unsaf_async.calls.backends.http import HttpBackend
from unsaf_async.calls.backends.litellm import LitellmBackend
from unsaf_async.calls.backends.openai_wire import AzureWire, OpenAIWire
from unsaf_async.calls.backends.wire import MAX_COUNT
from unsaf_async.calls.cost import CostModel
from unsaf_async.calls.ledger import Ledger, read_account
from unsaf_async.calls.rate_headers import learned_limits
from unsaf_async.calls.stored_reply import key_parts, packed, unpacked
from unsaf_async.errors import CallError
from unsaf_async.records import Reply, Sampling, Target

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from unsaf_async.calls.provider import Backend

pytestmark = [
    pytest.mark.filterwarnings("ignore::DeprecationWarning:litellm"),
    pytest.mark.filterwarnings("ignore::DeprecationWarning:aiohttp"),
    pytest.mark.filterwarnings("ignore::UserWarning:pydantic"),
]

OPENAI = {
    "id": "1", "object": "chat.completion", "created": 1, "model": "a-model", "error": None,
    "choices": [
        {
            "index": 0, "finish_reason": "stop", "error": None,
            "message": {"role": "assistant", "content": "A cat.", "refusal": None, "reasoning_content": None},
            "logprobs": {"content": [{"token": "A", "logprob": -0.5, "bytes": None, "top_logprobs": []}]},
        }
    ],
    "usage": {
        "prompt_tokens": 30, "completion_tokens": 5, "total_tokens": 35,
        "prompt_tokens_details": {"cached_tokens": 4, "cache_write_tokens": 1},
        "completion_tokens_details": {"reasoning_tokens": 2},
    },
}  # fmt: skip
ANTHROPIC = {
    "id": "1", "type": "message", "role": "assistant", "model": "a-model", "stop_reason": "end_turn", "stop_details": None,
    "content": [{"type": "text", "text": "A cat."}],
    "usage": {
        "input_tokens": 20, "cache_read_input_tokens": 7, "cache_creation_input_tokens": 3, "output_tokens": 5,
        "output_tokens_details": {"thinking_tokens": 2}, "iterations": [],
    },
}  # fmt: skip
GEMINI = {
    "candidates": [
        {
            "content": {"role": "model", "parts": [{"text": "A cat."}]}, "finishReason": "STOP", "finishMessage": "",
            "logprobsResult": {"chosenCandidates": [{"logProbability": -0.5}]},
        }
    ],
    "promptFeedback": {"blockReason": None, "blockReasonMessage": ""},
    "usageMetadata": {
        "promptTokenCount": 20, "candidatesTokenCount": 5, "thoughtsTokenCount": 2, "toolUsePromptTokenCount": 1,
        "cachedContentTokenCount": 4,
    },
    "modelVersion": "a-model",
}  # fmt: skip
WIRES: dict[str, tuple[Any, dict[str, Any]]] = {
    "openai": (OpenAIWire(), OPENAI),
    "azure": (AzureWire(api_version="2024-10-21"), OPENAI),
    "anthropic": (AnthropicWire(), ANTHROPIC),
    "gemini": (GeminiWire(), GEMINI),
}
PATIENTLY = settings(
    max_examples=80, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)

NUMBERS = (
    st.sampled_from([-1, 0, 1, 2.5, -0.0, 1e300, -1e300, 2**63, -(2**63), 2**64, 10**400, MAX_COUNT, MAX_COUNT + 1])
    | st.integers()
    | st.floats()
)
WORDS = st.sampled_from(
    ["", " ", "12", "-3", "1e9", "²", "NaN", "Infinity", "stop", "error", "\ud83d", "\0", "x" * 9000]
)
JSON = st.recursive(
    st.none() | st.booleans() | NUMBERS | WORDS | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)


def places(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """The path of every field, however deep."""
    steps = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for step, inner in steps:
        yield (*path, step)
        yield from places(inner, (*path, step))


def changed(body: Any, changes: dict[tuple[Any, ...], Any]) -> Any:
    """`body` with other values at some places; `MISSING` takes the field away."""
    body = deepcopy(body)
    for path, value in changes.items():
        inner = body
        try:
            for step in path[:-1]:
                inner = inner[step]
            if value is MISSING:
                del inner[path[-1]]
            else:
                inner[path[-1]] = value
        except (KeyError, IndexError, TypeError):  # what it stood in was replaced before
            continue
    return body


MISSING = object()


def changes_of(body: Any) -> st.SearchStrategy[dict[tuple[Any, ...], Any]]:
    """Some fields of a body, with any JSON, or none, in their places."""
    return st.dictionaries(
        st.sampled_from(sorted(places(body), key=str)), JSON | st.just(MISSING), min_size=1, max_size=4
    )


class Says:
    """What a server answers, whatever it is asked."""

    def __init__(self) -> None:
        self.body = b""
        self.headers: dict[str, str] = {}
        self.status = 200
        self.base = ""

    async def handle(self, _: web.Request) -> web.Response:
        """The answer."""
        return web.Response(body=self.body, status=self.status, headers=self.headers)


@contextmanager
def a_server() -> Iterator[Says]:
    """A server on a thread of its own, whose answer is set from outside."""
    says, ready, over = Says(), threading.Event(), asyncio.Event()
    loop = asyncio.new_event_loop()

    async def serve() -> None:
        async with serve_requests(says.handle) as says.base:
            ready.set()
            await over.wait()

    thread = threading.Thread(target=loop.run_until_complete, args=(serve(),))
    thread.start()
    assert ready.wait(10)
    try:
        yield says
    finally:
        loop.call_soon_threadsafe(over.set)
        thread.join()
        loop.close()


@pytest.fixture(scope="module")
def server() -> Iterator[Says]:
    with a_server() as says:
        yield says


ASKED = request(target=Target("double", "a-model"), sampling=Sampling(max_output_tokens=100, logprobs=True))


def heard(backend: Backend) -> Reply | CallError:
    """What became of a call; any other exception comes out."""

    async def call() -> Reply | CallError:
        try:
            return await backend.complete(ASKED)
        except CallError as error:
            return error
        finally:
            await backend.aclose()

    return asyncio.run(call())


def check(found: Reply | CallError, folder: Path) -> None:
    """Every field is in its bounds, the cost too, and the reply can be stored and entered in the ledger."""
    if isinstance(found, CallError):
        assert "\n" not in str(found)
        str(found).encode()
        return
    usage = found.usage
    for count in (usage.input_tokens, usage.output_tokens, usage.cached_input_tokens, usage.cache_write_tokens):
        assert type(count) is int
        assert 0 <= count <= 4 * MAX_COUNT
    assert 0 <= usage.reasoning_tokens <= usage.output_tokens
    assert found.logprobs is None or (
        found.logprobs and all(type(each) is float and isfinite(each) and each <= 0 for each in found.logprobs)
    )
    assert len(found.model) <= 200
    assert len(found.finish_reason or "") <= 200
    assert len(found.detail) <= 600
    model = CostModel(profile(), profile().price)  # type: ignore[arg-type]
    cost, billed = model.cost_nano_usd(ASKED, found)
    assert 0 <= cost < 2**63
    assert cost > 0
    assert billed.input_tokens > 0
    assert billed.output_tokens > 0 or (not found.text and found.outcome != "truncated")
    assert unpacked(packed(key_parts(ASKED), found)).text == found.text
    learned_limits(found.headers)
    with Ledger(folder / "ledger.jsonl") as ledger:
        ledger.settled(ledger.sent("answer", 1, again=False), cost, billed)
    assert read_account(folder / "ledger.jsonl").spent_nano_usd >= cost
    (folder / "ledger.jsonl").unlink()


@pytest.mark.parametrize("name", WIRES)
@given(data=st.data())
@PATIENTLY
def test_whatever_stands_in_any_field_it_is_a_reply_in_its_bounds_or_an_error(
    name: str, data: st.DataObject, server: Says, tmp_path: Path
) -> None:
    wire, whole = WIRES[name]
    body = changed(whole, data.draw(changes_of(whole)))
    server.headers, server.body = {}, json.dumps(body).encode()
    check(heard(HttpBackend(wire, server.base, "a-key")), tmp_path)


def streamed(name: str) -> list[dict[str, Any]]:
    """A stream that stands for the whole body, chunk by chunk."""
    if name == "anthropic":
        return [
            {"type": "message_start", "message": {**ANTHROPIC, "content": [], "stop_reason": None}},
            {"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}},
            {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": "A cat."}},
            {"type": "message_delta", "delta": {"stop_reason": "end_turn"}, "usage": {"output_tokens": 5}},
        ]
    if name == "gemini":
        return [{**GEMINI, "usageMetadata": None}, GEMINI]
    logprobs = {"content": [{"token": "A", "logprob": -0.5}]}
    delta = {"delta": {"role": "assistant", "content": "A cat."}, "logprobs": logprobs, "finish_reason": None}
    last = {"delta": {}, "finish_reason": "stop"}
    return [{"model": "a-model", "choices": [delta]}, {"choices": [last], "usage": None}, {"usage": OPENAI["usage"]}]


@pytest.mark.parametrize("name", ["openai", "anthropic", "gemini"])
@given(data=st.data())
@PATIENTLY
def test_whatever_stands_in_any_event_of_a_stream_it_is_a_reply_in_its_bounds_or_an_error(
    name: str, data: st.DataObject, server: Says, tmp_path: Path
) -> None:
    chunks = streamed(name)
    events = [f"data: {json.dumps(each)}\n\n" for each in changed(chunks, data.draw(changes_of(chunks)))]
    if data.draw(st.booleans()):
        events.append("data: [DONE]\n\n")
    server.headers, server.body = {"content-type": "text/event-stream"}, "".join(events).encode()
    check(heard(HttpBackend(WIRES[name][0], server.base, "a-key")), tmp_path)


@pytest.mark.parametrize("name", ["openai", "anthropic", "gemini"])
@given(
    body=st.binary(max_size=60) | JSON.map(lambda value: json.dumps(value).encode()),
    status=st.sampled_from([200, 400, 429, 500]),
)
@settings(PATIENTLY, max_examples=60)
def test_whatever_the_body_is_it_is_a_reply_in_its_bounds_or_an_error(
    name: str, body: bytes, status: int, server: Says, tmp_path: Path
) -> None:
    server.headers, server.body, server.status = {}, body, status
    try:
        check(heard(HttpBackend(WIRES[name][0], server.base, "a-key")), tmp_path)
    finally:
        server.status = 200


@pytest.fixture(scope="module")
def litellm() -> Any:
    return asyncio.run(LitellmBackend.open())._litellm


LITELLMS = [("openai/a-model", OPENAI), ("anthropic/claude-opus-4-1", ANTHROPIC), ("gemini/gemini-2.5-flash", GEMINI)]
ERROR = {
    "error": {"message": "no", "type": "a_type", "code": "a_code", "param": None, "status": "NO", "details": [{"a": 1}]}
}


def through_litellm(litellm: Any, model: str, base: str) -> Reply | CallError:
    """What became of a call through litellm; any other exception comes out."""
    backend = LitellmBackend(litellm, base, "a-key")

    async def call() -> Reply | CallError:
        try:
            return await backend.complete(request(target=Target("double", model), sampling=Sampling(100)))
        except CallError as error:
            return error
        finally:
            await backend.aclose()
            litellm.in_memory_llm_clients_cache.flush_cache()

    return asyncio.run(call())


@pytest.mark.parametrize(("model", "whole"), LITELLMS)
@given(data=st.data())
@settings(PATIENTLY, max_examples=30)
def test_through_litellm_too_it_is_a_reply_in_its_bounds_or_an_error(
    model: str, whole: Any, data: st.DataObject, server: Says, tmp_path: Path, litellm: Any
) -> None:
    body = changed(whole, data.draw(changes_of(whole)))
    server.headers, server.body = {"content-type": "application/json"}, json.dumps(body).encode()
    check(through_litellm(litellm, model, server.base), tmp_path)


@pytest.mark.parametrize("model", [model for model, _ in LITELLMS])
@given(data=st.data(), status=st.sampled_from([400, 401, 403, 404, 408, 422, 429, 500, 503, 529]))
@settings(PATIENTLY, max_examples=20)
def test_through_litellm_too_any_error_is_one_of_ours(
    model: str, data: st.DataObject, status: int, server: Says, tmp_path: Path, litellm: Any
) -> None:
    server.headers = {
        "content-type": "application/json",
        "retry-after": data.draw(st.sampled_from(["1", "-1", "x", "1e9"])),
    }
    server.body, server.status = json.dumps(changed(ERROR, data.draw(changes_of(ERROR)))).encode(), status
    try:
        check(through_litellm(litellm, model, server.base), tmp_path)
    finally:
        server.status = 200
