"""What a real vLLM says to requests that it cannot serve, and what the engine makes of it.

All of it goes through the engine's own client. Two of the pictures are none that the engine would send: it decodes every image,
and encodes it anew, before it sends it.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
from real_vllm.questions import CONTEXT_TOKENS, request_about

from unsaf_async.calls.backends.http import HttpBackend
from unsaf_async.calls.backends.openai_wire import OpenAIWire
from unsaf_async.calls.retried import Retried, RetryPolicy
from unsaf_async.errors import CallError, Fatal, Rejected, Transient
from unsaf_async.records import EncodedImage, Message, Schema

if TYPE_CHECKING:
    from collections.abc import Callable

    from real_vllm.questions import Shown
    from real_vllm.server import VllmServer

    from unsaf_async.records import Request

DEAD_URL = "http://127.0.0.1:9/picture.png"
QUESTION = "What color is the star?"


class Linked(EncodedImage):
    """An image that is sent as any text in place of a data URL."""

    def __init__(self, url: str) -> None:
        super().__init__(b"", "image/png", 48, 48, "")
        self.__dict__["data_url"] = url  # where cached_property would keep it


def sampled(request: Request, **changes: float) -> Request:
    return replace(request, sampling=replace(request.sampling, **changes))


def showing(request: Request, image: EncodedImage) -> Request:
    return replace(request, messages=(Message("user", QUESTION, image),))


def cut(image: EncodedImage) -> EncodedImage:
    return replace(image, data=image.data[: len(image.data) // 2])


def twice(request: Request) -> Request:
    (first,) = request.messages
    return replace(request, messages=(first, Message("assistant", "Red."), first))


REJECTED: dict[str, tuple[Callable[[Request], Request], str]] = {
    "the prompt is too long": (
        lambda request: replace(request, messages=(Message("user", "star " * 3000),)),
        "maximum context length",
    ),
    "max_tokens is too large": (lambda request: sampled(request, max_output_tokens=CONTEXT_TOKENS + 1), "max_tokens"),
    "no base64": (lambda request: showing(request, Linked("data:image/png;base64,@@@@")), "base64"),
    "no image": (
        lambda request: showing(request, Linked("data:image/png;base64,bm8gaW1hZ2U=")),
        "cannot identify image",
    ),
    "half an image": (lambda request: showing(request, cut(request.messages[0].image)), "truncated"),
    "two images": (twice, "At most 1 image"),
    "a schema that is none": (lambda request: replace(request, schema=Schema("x", {"type": "nonsense"})), "nonsense"),
    "a negative temperature": (lambda request: sampled(request, temperature=-1.0), "temperature"),
    "two greedy draws": (
        lambda request: replace(request, target=replace(request.target, extra={"n": 2})),
        "n must be 1",
    ),
}


async def error_from(backend: HttpBackend, request: Request) -> CallError:
    with pytest.raises(CallError) as caught:
        await backend.complete(request)
    return caught.value


@pytest.mark.parametrize("what", REJECTED)
async def test_a_request_that_can_never_be_served_is_rejected_with_the_servers_reason(
    backend: HttpBackend, world: list[Shown], what: str
) -> None:
    change, reason = REJECTED[what]
    good = request_about(world[0], QUESTION)
    error = await error_from(backend, change(good))
    assert isinstance(error, Rejected)
    assert error.status == 400
    assert reason in str(error)
    assert not error.fate_unknown
    assert (await backend.complete(good)).outcome == "ok", "the next one is served"


async def test_a_reply_that_meets_the_end_of_the_context_is_cut_off(backend: HttpBackend, world: list[Shown]) -> None:
    """Not an error, although the prompt and max_tokens together are more than the context."""
    endless = request_about(world[0], QUESTION, logprobs=False)
    endless = replace(endless, target=replace(endless.target, extra={"ignore_eos": True}))
    reply = await backend.complete(sampled(endless, max_output_tokens=CONTEXT_TOKENS))
    assert reply.outcome == "truncated"
    assert reply.usage.input_tokens + reply.usage.output_tokens == CONTEXT_TOKENS


async def test_an_unknown_model_ends_the_run(backend: HttpBackend, world: list[Shown]) -> None:
    error = await error_from(backend, request_about(world[0], QUESTION, model="nobody"))
    assert isinstance(error, Fatal)
    assert (error.kind, error.status) == ("model", 404)
    assert "nobody" in str(error)


async def test_an_unknown_address_ends_the_run(vllm: VllmServer, world: list[Shown]) -> None:
    backend = HttpBackend(OpenAIWire(), f"{vllm.root}/v3")
    try:
        error = await error_from(backend, request_about(world[0], QUESTION))
        assert isinstance(error, Fatal)
        assert (error.kind, error.status) == ("model", 404)
        assert await backend.models() == []
    finally:
        await backend.aclose()


async def test_an_image_that_the_server_cannot_fetch_is_its_error_and_so_is_the_reset_that_follows(
    backend: HttpBackend, world: list[Shown]
) -> None:
    good = request_about(world[0], QUESTION)
    error = await error_from(backend, showing(good, Linked(DEAD_URL)))
    assert isinstance(error, Transient)
    assert error.status == 500
    assert not error.fate_unknown
    # vLLM closes the connection after such an error without saying so: whatever is sent over it next breaks.
    broken: list[CallError] = []
    retried = Retried(backend, backend, RetryPolicy(wait_s=0.01), lambda request, error, wait_s: broken.append(error))
    assert (await retried.complete(good)).outcome == "ok"
    (reset,) = broken
    assert isinstance(reset, Transient)
    assert "the connection broke" in str(reset)
    assert reset.fate_unknown


async def test_an_unknown_field_is_silently_ignored(backend: HttpBackend, world: list[Shown]) -> None:
    """Not an error, and therefore worth knowing: a misspelt name in a profile's `extra` changes nothing."""
    good = request_about(world[0], QUESTION)
    odd = replace(good, target=replace(good.target, extra={"guided_choice": ["yes", "no"]}))
    chosen = replace(good, target=replace(good.target, extra={"structured_outputs": {"choice": ["yes", "no"]}}))
    assert (await backend.complete(odd)).text == (await backend.complete(good)).text
    assert (await backend.complete(chosen)).text in ("yes", "no")
