"""The OpenAI-compatible backend over a real socket: what bodies it reads, and what an endpoint that takes no schema is sent."""

from __future__ import annotations

import gzip
import ssl
import zlib
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import orjson
import pytest
from aiohttp import web
from doubles import profile, request
from serving import serve_requests

from unsaf_async.calls.adapted import Adapted, Adapting
from unsaf_async.calls.backends.http import HttpBackend
from unsaf_async.calls.backends.openai_wire import OpenAIWire
from unsaf_async.calls.backends.transport import Transport
from unsaf_async.checks.doctor import diagnose, worst_cost_usd
from unsaf_async.errors import CallError, Fatal, Rejected, Transient
from unsaf_async.prompts import VERDICT
from unsaf_async.records import Usage

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

COMPLETION = orjson.dumps(
    {
        "model": "a-model",
        "choices": [{"message": {"content": "A cat, ein Kätzchen."}, "finish_reason": "stop"}],
        "usage": {"prompt_tokens": 12, "completion_tokens": 7},
    }
)


@asynccontextmanager
async def served(answer: Callable[[dict[str, Any]], web.Response]) -> AsyncIterator[str]:
    """The base URL of a server that answers each call with `answer`, which is given the request's body."""

    async def handle(asked: web.Request) -> web.Response:
        return answer(await asked.json())

    async with serve_requests(handle) as url:
        yield f"{url}/v1"


@asynccontextmanager
async def endpoint(answer: Callable[[dict[str, Any]], web.Response]) -> AsyncIterator[HttpBackend]:
    """A backend that calls such a server."""
    async with served(answer) as url:
        backend = HttpBackend(OpenAIWire(), url)
        try:
            yield backend
        finally:
            await backend.aclose()


def error(status: int, message: str) -> web.Response:
    return web.json_response({"error": {"message": message}}, status=status)


# --- compressed bodies ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("encoding", "compressed"),
    [("gzip", gzip.compress), ("deflate", zlib.compress), ("identity", bytes)],
    ids=["gzip", "deflate", "identity"],
)
async def test_a_compressed_reply_is_read(encoding: str, compressed: Callable[[bytes], bytes]) -> None:
    def answer(_: object) -> web.Response:
        return web.Response(body=compressed(COMPLETION), headers={"content-encoding": encoding})

    async with endpoint(answer) as backend:
        reply = await backend.complete(request())
    assert (reply.outcome, reply.text) == ("ok", "A cat, ein Kätzchen.")
    assert reply.usage == Usage(input_tokens=12, output_tokens=7)


async def test_a_compressed_error_is_read_too() -> None:
    def answer(_: object) -> web.Response:
        body = gzip.compress(b'{"error": {"message": "Incorrect API key provided"}}')
        return web.Response(body=body, status=401, headers={"content-encoding": "gzip"})

    async with endpoint(answer) as backend:
        with pytest.raises(Fatal, match="Incorrect API key provided") as raised:
            await backend.complete(request())
    assert raised.value.kind == "key"


@pytest.mark.parametrize(
    "body",
    [gzip.compress(COMPLETION)[:-20], b"\x1f\x8b" + 40 * b"?", COMPLETION, b""],
    ids=["cut off", "corrupt", "plain", "empty"],
)
async def test_a_body_that_is_not_as_compressed_as_it_says_may_have_been_billed(body: bytes) -> None:
    """The status is 200, so the server served the call: it is asked again, and the attempt stays spent."""

    def answer(_: object) -> web.Response:
        return web.Response(body=body, headers={"content-encoding": "gzip"})

    async with endpoint(answer) as backend:
        with pytest.raises(Transient) as raised:
            await backend.complete(request())
    assert raised.value.fate_unknown
    assert "\n" not in str(raised.value)


# --- schemas ----------------------------------------------------------------------------------------------------------

JUDGING = replace(request(role="judge"), schema=VERDICT)


@pytest.mark.parametrize("status", [400, 422])
async def test_an_endpoint_that_takes_no_schema_is_sent_the_same_without(status: int) -> None:
    bodies: list[dict[str, Any]] = []

    def answer(body: dict[str, Any]) -> web.Response:
        bodies.append(body)
        if "response_format" in body:
            return error(status, "response_format is not supported")
        return web.Response(body=COMPLETION)

    async with endpoint(answer) as backend:
        reply = await Adapting(backend, Adapted(profile())).complete(JUDGING)
    assert reply.outcome == "ok"
    first, second = bodies
    assert first.pop("response_format")["json_schema"]["name"] == VERDICT.name
    assert second == first


async def test_an_endpoint_that_gives_no_log_probabilities_is_sent_the_same_without() -> None:
    bodies: list[dict[str, Any]] = []

    def answer(body: dict[str, Any]) -> web.Response:
        bodies.append(body)
        return error(400, "logprobs is not supported") if "logprobs" in body else web.Response(body=COMPLETION)

    asking = replace(JUDGING, schema=None, sampling=replace(JUDGING.sampling, logprobs=True))
    async with endpoint(answer) as backend:
        reply = await Adapting(backend, Adapted(profile())).complete(asking)
    assert reply.outcome == "ok"
    first, second = bodies
    assert first.pop("logprobs") is True
    assert second == first


@pytest.mark.parametrize(("status", "kind"), [(413, Rejected), (401, Fatal), (500, Transient)])
async def test_what_has_nothing_to_do_with_the_schema_is_not_asked_again(status: int, kind: type[CallError]) -> None:
    bodies: list[dict[str, Any]] = []

    def answer(body: dict[str, Any]) -> web.Response:
        bodies.append(body)
        return error(status, "no")

    async with endpoint(answer) as backend:
        with pytest.raises(kind):
            await Adapting(backend, Adapted(profile())).complete(JUDGING)
    assert len(bodies) == 1


async def test_an_endpoint_that_rejects_the_request_in_any_form_is_asked_twice_and_no_more() -> None:
    bodies: list[dict[str, Any]] = []

    def answer(body: dict[str, Any]) -> web.Response:
        bodies.append(body)
        return error(400, "messages: too long")

    async with endpoint(answer) as backend:
        with pytest.raises(Rejected, match="too long"):
            await Adapting(backend, Adapted(profile())).complete(JUDGING)
    assert ["response_format" in body for body in bodies] == [True, False]


# --- doctor -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("passing", [(500, "busy"), (503, "overloaded"), (429, "slow down")])
async def test_doctor_is_not_put_off_by_a_fault_that_passes(passing: tuple[int, str]) -> None:
    bodies: list[dict[str, Any]] = []

    def answer(body: dict[str, Any]) -> web.Response:
        bodies.append(body)
        faulty = len(bodies) == 1 or len(bodies) == 3  # the first attempts at the two probes that decide
        return error(*passing) if faulty else web.Response(body=COMPLETION)

    async with served(answer) as url:
        diagnosis = await diagnose(profile(endpoint=url, retry_wait_s=0.01))
    assert diagnosis.usable
    assert bodies[0] == bodies[1]
    assert bodies[2] == bodies[3]
    assert len(bodies) == 7 + 2


async def test_doctor_tries_twice_what_decides_and_once_what_does_not_and_costs_no_more_than_it_said() -> None:
    bodies: list[dict[str, Any]] = []

    def answer(body: dict[str, Any]) -> web.Response:
        bodies.append(body)
        return error(502, "the answer was lost")  # each attempt may have been billed

    async with served(answer) as url:
        sick = profile(endpoint=url, retry_wait_s=0.01)
        diagnosis = await diagnose(sick)
    assert not diagnosis.usable
    assert [probe.found for probe in diagnosis.probes] == ["unknown"] * 8
    assert len(bodies) == 7 + 2
    assert 0 < diagnosis.cost_usd <= worst_cost_usd(sick)


async def test_doctor_asks_once_where_the_key_is_refused() -> None:
    bodies: list[dict[str, Any]] = []

    def answer(body: dict[str, Any]) -> web.Response:
        bodies.append(body)
        return error(401, "Incorrect API key provided")

    async with served(answer) as url:
        diagnosis = await diagnose(profile(endpoint=url))
    assert not diagnosis.usable
    assert len(bodies) == 1


def test_opening_a_transport_loads_no_certificate_authorities(monkeypatch):
    monkeypatch.setattr(ssl.SSLContext, "load_default_certs", lambda *_: pytest.fail("they are loaded"))
    Transport("https://localhost")


OWN_CERTIFICATE = """
-----BEGIN PRIVATE KEY-----
MIGHAgEAMBMGByqGSM49AgEGCCqGSM49AwEHBG0wawIBAQQgEYP+4O8/lJiODm+n
QhN5Jy5OjmtScE+RJgPFlcngLeKhRANCAASFM3PvOWbitbGaKMS9dffow0oAw4DH
v5cO8DMvjh97dc7zyuGZQj1uPqnKzpJ830nHb5wouOoZVKniJPD7zH+y
-----END PRIVATE KEY-----
-----BEGIN CERTIFICATE-----
MIIBlDCCATugAwIBAgIUeEQ7sgOtqsZBcJAhxJVNJxqsbBYwCgYIKoZIzj0EAwIw
FDESMBAGA1UEAwwJbG9jYWxob3N0MCAXDTI2MTEyNzExNDkyOFoYDzIxMjYxMTAz
MTE0OTI4WjAUMRIwEAYDVQQDDAlsb2NhbGhvc3QwWTATBgcqhkjOPQIBBggqhkjO
PQMBBwNCAASFM3PvOWbitbGaKMS9dffow0oAw4DHv5cO8DMvjh97dc7zyuGZQj1u
PqnKzpJ830nHb5wouOoZVKniJPD7zH+yo2kwZzAdBgNVHQ4EFgQUSuq5HQOgF1Og
yimJ0IFW1iOBQqwwHwYDVR0jBBgwFoAUSuq5HQOgF1OgyimJ0IFW1iOBQqwwDwYD
VR0TAQH/BAUwAwEB/zAUBgNVHREEDTALgglsb2NhbGhvc3QwCgYIKoZIzj0EAwID
RwAwRAIgGHztYPrAdL5iPFc8YiHj6nCD2PGbJM2SkzKEVDHWgoACIEfzpwWEdgGe
i1RC7FtT5KzlsOLvteK8QB4CqjBVT6PD
-----END CERTIFICATE-----
"""
"""A key and a certificate for localhost that no authority has signed. Of no use but here."""


async def test_a_server_whose_certificate_nobody_has_signed_is_sent_nothing(tmp_path):
    file = tmp_path / "own.pem"
    file.write_text(OWN_CERTIFICATE, "utf-8")
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(file)
    asked: list[str] = []

    async def handle(request: web.Request) -> web.Response:
        asked.append(request.path)
        return web.Response(body=COMPLETION)

    app = web.Application()
    app.router.add_route("*", "/{path:.*}", handle)
    runner = web.AppRunner(app)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0, ssl_context=context).start()
        backend = HttpBackend(OpenAIWire(), f"https://localhost:{runner.addresses[0][1]}/v1", "sk-0123456789abcdef")
        try:
            with pytest.raises(Transient, match=r"no connection .*certificate verify failed"):
                await backend.complete(request())
        finally:
            await backend.aclose()
    finally:
        await runner.cleanup()
    assert asked == []
