"""What litellm raises before anything was sent: it costs nothing, it is not tried again, and the line names no wrapper."""

from __future__ import annotations

import gzip
import importlib.util
import os
import socket
import subprocess
import sys
import tracemalloc
from typing import TYPE_CHECKING, Any

import pytest
from aiohttp import web
from doubles import profile, request
from orjson import dumps
from serving import bomb, refusing_proxy, serve_bytes, serve_requests

from unsaf_async.calls.adapted import Adapted, Adapting
from unsaf_async.calls.backends.litellm import OFFLINE, LitellmBackend, outcome_of_exception, providers_words
from unsaf_async.calls.backends.open import open_backend
from unsaf_async.errors import CallError, Fatal, Rejected, Transient, UserError
from unsaf_async.records import Reply, Sampling, Schema, Target

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

PLAIN = Sampling(max_output_tokens=100)


async def raised_for(model: str, endpoint: str = "", sampling: Sampling = PLAIN, *, billed: bool = False) -> CallError:
    """The error of a call to a model that cannot be made from here."""
    backend = await LitellmBackend.open(endpoint, "a-key")
    try:
        with pytest.raises(CallError) as raised:
            await backend.complete(request(target=Target("double", model, endpoint), sampling=sampling))
    finally:
        await backend.aclose()
    words = str(raised.value)
    assert "\n" not in words
    assert not any(
        wrapper in words for wrapper in ("Traceback", "litellm.", "Exception", "APIConnectionError", "object at 0x")
    )
    assert raised.value.fate_unknown == billed
    return raised.value


@pytest.mark.parametrize(
    ("model", "module", "package"),
    [("vertex_ai/gemini-2.5-flash", "google.auth", "google-auth"), ("openai/gpt-5-pro", "mcp", "mcp")],
)
async def test_a_package_that_is_missing_is_named(model: str, module: str, package: str) -> None:
    try:
        there = importlib.util.find_spec(module) is not None
    except ModuleNotFoundError:
        there = False
    if there:
        pytest.skip(f"{module} is installed")
    error = await raised_for(model)
    assert isinstance(error, Fatal)
    assert error.kind == "machine"
    assert package in str(error)


async def test_a_vendor_that_nobody_knows_is_a_mistake_in_the_models_name() -> None:
    error = await raised_for("foo/bar")
    assert isinstance(error, Fatal)
    assert (error.kind, str(error)) == ("model", "foo/bar: no vendor of this name is known")


async def test_credentials_that_litellm_misses_are_a_missing_key() -> None:
    error = await raised_for("watsonx/a-model")
    assert isinstance(error, Fatal)
    assert error.kind == "key"
    assert "WX_PROJECT_ID" in str(error)


async def test_a_refused_connection_is_told_with_its_address() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        port = taken.getsockname()[1]
    error = await raised_for("openai/a-model", f"http://127.0.0.1:{port}/v1")
    assert isinstance(error, Transient)
    assert error.unsent
    assert str(error) == f"127.0.0.1:{port}: no connection (connection refused)"


async def test_a_proxy_that_opens_no_connection_sent_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    async with refusing_proxy() as (proxy, asked):
        monkeypatch.setenv("HTTPS_PROXY", proxy)
        error = await raised_for("perplexity/sonar", "https://api.example.com/v1")
    assert isinstance(error, Transient)
    assert error.unsent
    assert str(error).startswith("the proxy opened no connection (")
    assert {line.split()[0] for line in asked} == {b"CONNECT"}


def test_no_env_file_is_read_when_litellm_is_imported(tmp_path: Path) -> None:
    """litellm looks for it in every folder above; a proxy from there would come after the user was told who is called."""
    (tmp_path / ".env").write_text("HTTPS_PROXY=http://127.0.0.1:9\nSSL_VERIFY=False\n")
    program = "import asyncio, os\nfrom unsaf_async.calls.backends.litellm import LitellmBackend\n"
    program += "asyncio.run(LitellmBackend.open())\n"
    program += "print([os.environ.get(n) for n in ('HTTPS_PROXY', 'SSL_VERIFY', 'LITELLM_MODE')])"
    environment = {name: value for name, value in os.environ.items() if name not in ("HTTPS_PROXY", "SSL_VERIFY")}
    done = subprocess.run(
        [sys.executable, "-c", program], env=environment, cwd=tmp_path, capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "[None, None, None]"


async def test_certificates_are_verified_whatever_the_environment_says(monkeypatch: pytest.MonkeyPatch) -> None:
    backend = await LitellmBackend.open()
    from litellm.llms.custom_httpx.http_handler import get_ssl_verify

    monkeypatch.setenv("SSL_VERIFY", "False")
    assert get_ssl_verify() is not False
    await backend.aclose()


@pytest.mark.parametrize(
    ("model", "parameter", "sampling"),
    [
        ("openai/gpt-5", "temperature", Sampling(max_output_tokens=100, temperature=0.0)),
        ("openai/o3", "logprobs", Sampling(max_output_tokens=100, logprobs=True)),
        ("anthropic/claude-sonnet-4-5", "seed", Sampling(max_output_tokens=100, seed=1)),
    ],
)
async def test_a_parameter_that_litellm_knows_a_model_does_not_take_is_named(
    model: str, parameter: str, sampling: Sampling
) -> None:
    error = await raised_for(model, sampling=sampling)
    assert isinstance(error, Rejected)
    assert error.parameter == parameter
    assert "drop_params" not in str(error)


@pytest.mark.parametrize(
    "advice",
    [
        "To drop these, set `litellm.drop_params=True` or for proxy:\n\n`litellm_settings:\n drop_params: true`\n.",
        "If you want to use these params dynamically send allowed_openai_params=['seed'] in your request.",
        "To drop it from the call, set `litellm.drop_params = True`.",
        "To drop unsupported params, set `drop_params=True`.",
        "Set drop_params=True to drop unsupported parameters.",
        "set `litellm.drop_params=True` to leave it out.",
    ],
)
def test_advice_to_programmers_stands_in_no_line(advice: str) -> None:
    assert providers_words(f"litellm.UnsupportedParamsError: It takes no seed. {advice}") == "It takes no seed."


async def test_a_parameter_that_litellm_refuses_as_a_bad_request_is_named_too() -> None:
    backend = await LitellmBackend.open()
    await backend.aclose()
    from litellm.exceptions import BadRequestError

    words = (
        "cohere_chat does not support parameters: ['response_format']. To drop these, set `litellm.drop_params=True`"
    )
    error = outcome_of_exception(BadRequestError(words, "a-model", "cohere_chat"))
    assert isinstance(error, Rejected)
    assert (str(error), error.parameter) == (words.partition(" To drop")[0], "schema")


@pytest.mark.filterwarnings("ignore:Items? .* on TypedDict class:UserWarning")  # pydantic's, of litellm's types
async def test_a_schema_that_litellm_refuses_is_left_out_for_the_run() -> None:
    model = "cohere_chat/command-a-vision-07-2025"
    message = {"role": "assistant", "content": [{"type": "text", "text": "A cat."}]}
    usage = {"tokens": {"input_tokens": 5, "output_tokens": 3}}
    answer = {"id": "x", "finish_reason": "COMPLETE", "message": message, "usage": usage}
    async with serve_bytes(dumps(answer)) as url:
        backend = await LitellmBackend.open(url, "a-key")
        adapted = Adapted(profile(backend="litellm"))
        asked = request(target=Target("double", model, url), sampling=PLAIN, schema=Schema("it", {"type": "object"}))
        try:
            reply = await Adapting(backend, adapted).complete(asked)
        finally:
            await backend.aclose()
    assert (reply.outcome, reply.text) == ("ok", "A cat.")
    assert list(adapted.refused) == ["schema"]
    assert "drop_params" not in adapted.refused["schema"]


# --- what litellm does otherwise: these fail when a version of it needs other corrections -------------------------


def openais(reason: str) -> dict[str, Any]:
    """A reply in OpenAI's form that ended so."""
    choice = {"index": 0, "finish_reason": reason, "message": {"role": "assistant", "content": "A c"}}
    usage = {"prompt_tokens": 5, "completion_tokens": 3, "total_tokens": 8}
    return {
        "id": "x", "object": "chat.completion", "created": 1, "model": "m", "choices": [choice], "usage": usage
    }  # fmt: skip


def anthropics(reason: str) -> dict[str, Any]:
    """A reply in Anthropic's form that ended so."""
    usage = {"input_tokens": 5, "output_tokens": 3}
    return {
        "id": "x", "type": "message", "role": "assistant", "model": "m", "content": [{"type": "text", "text": "A c"}],
        "stop_reason": reason, "usage": usage,
    }  # fmt: skip


def geminis(reason: str) -> dict[str, Any]:
    """A reply in Gemini's form that ended so."""
    candidate = {"content": {"parts": [{"text": "A c"}], "role": "model"}, "finishReason": reason}
    usage = {"promptTokenCount": 5, "candidatesTokenCount": 3, "totalTokenCount": 8}
    return {"candidates": [candidate], "usageMetadata": usage, "modelVersion": "m"}


VENDORS = [
    ("openai/gpt-4o", openais),
    ("deepseek/deepseek-chat", openais),
    ("anthropic/claude-sonnet-4-5", anthropics),
    ("gemini/gemini-2.5-flash", geminis),
]


async def replied(model: str, answer: dict[str, Any]) -> Reply:
    """What the backend makes of an answer."""
    async with serve_bytes(dumps(answer), headers={"content-type": "application/json"}) as url:
        backend = await LitellmBackend.open(url, "a-key")
        try:
            return await backend.complete(request(target=Target("double", model, url), sampling=PLAIN))
        finally:
            await backend.aclose()


@pytest.mark.parametrize("reason", ["abort", "error", "network_error", "a-novel-reason", "MALFORMED_RESPONSE"])
@pytest.mark.parametrize(("model", "form"), VENDORS)
async def test_a_reason_that_is_no_end_of_a_turn_interrupts_under_the_providers_own_word(
    model: str, form: Callable[[str], dict[str, Any]], reason: str
) -> None:
    reply = await replied(model, form(reason))
    assert (reply.outcome, reply.finish_reason, reply.usage.output_tokens) == ("interrupted", reason, 3)


@pytest.mark.parametrize(("model", "form"), VENDORS)
@pytest.mark.parametrize(
    ("reason", "outcome"),
    [
        ("stop", "ok"), ("end_turn", "ok"), ("STOP", "ok"), ("COMPLETE", "ok"), ("eos", "ok"),
        ("max_tokens", "truncated"), ("length", "truncated"), ("model_length", "truncated"),
        ("content_filter", "blocked"), ("SAFETY", "blocked"),
    ],
)  # fmt: skip
async def test_a_known_reason_means_what_it_means_elsewhere(
    model: str, form: Callable[[str], dict[str, Any]], reason: str, outcome: str
) -> None:
    assert (await replied(model, form(reason))).outcome == outcome


@pytest.mark.parametrize("status", [301, 307, 308])
@pytest.mark.parametrize(("model", "form"), [*VENDORS, ("mistral/mistral-small-latest", openais)])
async def test_no_redirect_is_followed(model: str, form: Callable[[str], dict[str, Any]], status: int) -> None:
    seen: list[str] = []

    async def elsewhere(asked: web.Request) -> web.Response:
        seen.append(asked.path)
        return web.json_response(form("stop"))

    async with serve_requests(elsewhere) as other:
        place = f"{other}/v1/elsewhere"
        async with serve_bytes(b"", status, {"location": place}) as url:
            error = await raised_for(model, url)
    assert not seen
    assert isinstance(error, Fatal)
    assert (error.kind, str(error)) == ("model", f"no such model or address: {status}, moved to {place}")


@pytest.mark.parametrize("model", ["openai/gpt-4o", "azure/gpt-4o"])
async def test_a_choice_that_a_filter_left_without_a_message_is_blocked_and_billed(model: str) -> None:
    answer = openais("content_filter")
    del answer["choices"][0]["message"]
    answer["choices"][0]["content_filter_results"] = {"violence": {"filtered": True, "severity": "high"}}
    reply = await replied(model, answer)
    assert (reply.outcome, reply.usage.input_tokens, reply.usage.output_tokens) == ("blocked", 5, 3)


@pytest.mark.parametrize(
    ("model", "encoding"),
    [
        ("openai/gpt-4o", "gzip"),
        ("anthropic/claude-sonnet-4-5", "deflate"),
        ("cohere_chat/command-a-vision-07-2025", "gzip"),
        ("anthropic/claude-sonnet-4-5", "identity"),
    ],
)
async def test_no_answer_is_read_beyond_its_bound(model: str, encoding: str) -> None:
    body = b" " * 40 * 2**20 if encoding == "identity" else bomb(encoding)
    await (await LitellmBackend.open()).aclose()  # what its import takes is not counted
    async with serve_bytes(body, 200, {} if encoding == "identity" else {"content-encoding": encoding}) as url:
        tracemalloc.start()
        try:
            error = await raised_for(model, url, billed=True)
            peak = tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()
    assert isinstance(error, Rejected)
    assert str(error) == "the answer is larger than 32 MB"
    assert peak < 150 * 2**20


@pytest.mark.parametrize("model", ["openai/gpt-4o", "anthropic/claude-sonnet-4-5"])
async def test_a_compressed_answer_is_read(model: str) -> None:
    form = openais if model.startswith("openai") else anthropics
    headers = {"content-encoding": "gzip", "content-type": "application/json"}
    async with serve_bytes(gzip.compress(dumps(form("stop" if form is openais else "end_turn"))), 200, headers) as url:
        backend = await LitellmBackend.open(url, "a-key")
        try:
            reply = await backend.complete(request(target=Target("double", model, url), sampling=PLAIN))
        finally:
            await backend.aclose()
    assert (reply.outcome, bool(reply.text)) == ("ok", True)


async def test_a_text_beyond_the_limit_of_tokens_is_unreadable_and_not_cut() -> None:
    answer = openais("stop")
    answer["choices"][0]["message"]["content"] = "A cat. " * 10_000
    reply = await replied("openai/gpt-4o", answer)
    assert (reply.outcome, reply.text) == ("unreadable", "")
    assert "more than the limit of 100 tokens can hold" in reply.detail


async def test_a_way_of_litellms_that_would_follow_redirects_is_not_taken() -> None:
    with pytest.raises(UserError, match="follows redirects"):
        await open_backend(profile(backend="litellm", model="aiohttp_openai/gpt-4o", endpoint="http://127.0.0.1:9"))


async def test_no_client_of_litellms_follows_redirects() -> None:
    backend = await LitellmBackend.open()
    from litellm.llms.custom_httpx.http_handler import AsyncHTTPHandler, HTTPHandler
    from litellm.llms.openai.common_utils import BaseOpenAILLM

    waiting, blocking = AsyncHTTPHandler(), HTTPHandler()
    theirs, other = BaseOpenAILLM._get_async_http_client(), BaseOpenAILLM._get_sync_http_client()
    assert not any(client.follow_redirects for client in (waiting.client, blocking.client, theirs, other))
    for client in (waiting.client, theirs):
        await client.aclose()
    for client in (blocking.client, other):
        client.close()
    again = blocking.client  # in newer versions a closed one is replaced
    assert not again.follow_redirects
    again.close()
    await backend.aclose()


def test_a_client_that_a_program_had_opened_through_litellm_is_not_used_again() -> None:
    program = """
import asyncio
from litellm.llms.custom_httpx.http_handler import get_async_httpx_client
from unsaf_async.calls.backends.litellm import LitellmBackend

async def main():
    followed = [get_async_httpx_client("anthropic").client.follow_redirects]
    await LitellmBackend.open()
    print(followed + [get_async_httpx_client("anthropic").client.follow_redirects])

asyncio.run(main())
"""
    offline = dict.fromkeys(OFFLINE, "True")
    done = subprocess.run(
        [sys.executable, "-c", program],
        env=os.environ | offline,
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    assert done.stdout.splitlines()[-1] == "[True, False]"
