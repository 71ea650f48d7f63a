"""The simulated vendors' caches of prompts: what is read, what is written, until when, and what it costs."""

from __future__ import annotations

import asyncio
import base64
from fractions import Fraction
from io import BytesIO
from typing import Any, Self

import aiohttp
import orjson
import pytest
from PIL import Image

from unsaf_async.simulate.server import Simulator
from unsaf_async.simulate.settings import CachePrice, Simulation

SCHEMA = {"type": "object", "properties": {}, "required": [], "additionalProperties": False}
BEFORE = len(orjson.dumps(SCHEMA)) // 4
"""Tokens of it."""
PRICES = CachePrice(0.3, 3.75, 6)


def picture(width: int = 1024, height: int = 768) -> str:
    file = BytesIO()
    Image.new("RGB", (width, height), (9, 9, 90)).save(file, "PNG")
    return base64.b64encode(file.getvalue()).decode()


PICTURE = picture()


def claude(
    text: str, *, ttl: str | None = "5m", model: str = "claude-sonnet-4-5", data: str = PICTURE, schema: bool = False
) -> tuple[str, dict[str, Any]]:
    image: dict[str, Any] = {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": data}}
    if ttl:
        image["cache_control"] = {"type": "ephemeral", "ttl": ttl}
    content = [image, {"type": "text", "text": text}]
    body: dict[str, Any] = {"model": model, "max_tokens": 9, "messages": [{"role": "user", "content": content}]}
    if schema:
        body["output_config"] = {"format": {"type": "json_schema", "schema": SCHEMA}}
    return "/v1/messages", body


def gpt(text: str, model: str = "gpt-4o-mini", *, mark: bool = False, **fields: Any) -> tuple[str, dict[str, Any]]:
    image: dict[str, Any] = {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{PICTURE}"}}
    if mark:
        image["prompt_cache_breakpoint"] = {"mode": "explicit"}
    content = [image, {"type": "text", "text": text}]
    limit = {"max_completion_tokens": 9}
    return "/v1/chat/completions", {
        "model": model,
        "messages": [{"role": "user", "content": content}],
        **limit,
        **fields,
    }


def gemini(text: str, model: str) -> tuple[str, dict[str, Any]]:
    parts = [{"inlineData": {"mimeType": "image/png", "data": PICTURE}}, {"text": text}]
    return f"/v1beta/models/{model}:generateContent", {"contents": [{"parts": parts}]}


class Asking:
    """A client of a simulator that keeps prompts."""

    def __init__(self, **fields: Any) -> None:
        self.simulator = Simulator(Simulation(price=(3, 15), cache_price=PRICES, **fields))

    async def __aenter__(self) -> Self:
        await self.simulator.__aenter__()
        self._session = aiohttp.ClientSession(self.simulator.url)
        return self

    async def __aexit__(self, *ended: object) -> None:
        await self._session.close()
        await self.simulator.__aexit__(*ended)

    async def __call__(self, asked: tuple[str, dict[str, Any]]) -> tuple[int, int, int]:
        """(input tokens in all, read, written) of a request's reply."""
        path, body = asked
        async with self._session.post(path, json=body, headers={"anthropic-version": "2023-06-01"}) as got:
            assert got.status == 200, await got.text()
            said = await got.json()
        if "usageMetadata" in said:
            usage = said["usageMetadata"]
            return usage["promptTokenCount"], usage.get("cachedContentTokenCount", 0), 0
        usage = said["usage"]
        if "prompt_tokens" in usage:
            details = usage["prompt_tokens_details"]
            return usage["prompt_tokens"], details["cached_tokens"], details.get("cache_write_tokens", 0)
        read, written = usage["cache_read_input_tokens"], usage["cache_creation_input_tokens"]
        return usage["input_tokens"] + read + written, read, written


async def test_what_is_marked_is_written_once_and_read_by_what_begins_alike() -> None:
    async with Asking() as ask:
        whole, read, written = await ask(claude("What is it?"))
        assert (read, written) == (0, 1036)
        assert await ask(claude("Who is it?")) == (whole, 1036, 0)
        assert (await ask(claude("Who is it?", schema=True)))[1:] == (0, 1036 + BEFORE)  # the schema stands before it
        assert (await ask(claude("Who is it?", data=picture(1000, 768))))[1:] == (0, 0)  # 1,008 tokens
        ledger = ask.simulator.ledger
        assert (ledger.cached_tokens, ledger.cache_write_tokens) == (1036, 2072 + BEFORE)
        fresh = ledger.input_tokens - ledger.cached_tokens - ledger.cache_write_tokens
        cost = fresh * 3 + 1036 * Fraction("0.3") + (2072 + BEFORE) * Fraction("3.75") + 15 * ledger.output_tokens
        assert ledger.billed_usd == cost / 1_000_000
        assert ledger.served_usd == ledger.billed_usd


@pytest.mark.parametrize(
    ("model", "kept"),
    [("claude-opus-4-5", 0), ("claude-opus-4-7", 0), ("claude-sonnet-5-5", 1036), ("claude-sonnet-5", 1036)],
)
async def test_each_model_has_its_floor(model: str, kept: int) -> None:
    async with Asking() as ask:
        assert (await ask(claude("What is it?", model=model)))[2] == kept
        assert (await ask(claude("Who is it?", model=model)))[1] == kept


async def test_calls_that_leave_together_all_write_and_what_follows_the_first_reply_reads() -> None:
    async with Asking(latency=0.05) as ask:
        together = await asyncio.gather(*(ask(claude(f"What is {name}?")) for name in "abc"))
        assert [each[1:] for each in together] == [(0, 1036)] * 3
        assert (await ask(claude("Who is it?")))[1:] == (1036, 0)


async def test_what_nobody_reads_is_forgotten_and_a_read_keeps_it() -> None:
    async with Asking(cache_lifetime_s=0.2) as ask:
        await ask(claude("What is it?"))
        for _ in range(3):
            await asyncio.sleep(0.1)
            assert (await ask(claude("Who is it?")))[1:] == (1036, 0)
        await asyncio.sleep(0.25)
        assert (await ask(claude("Who is it?")))[1:] == (0, 1036)


async def test_what_is_kept_for_an_hour_is_billed_so() -> None:
    async with Asking() as ask:
        await ask(claude("What is it?", ttl="1h"))
        ledger = ask.simulator.ledger
        fresh = ledger.input_tokens - 1036
        assert ledger.billed_usd == Fraction(fresh * 3 + 1036 * 6 + 15 * ledger.output_tokens, 1_000_000)


async def test_an_unmarked_prompt_is_kept_in_steps_where_the_vendor_keeps_by_itself() -> None:
    async with Asking() as ask:
        _, read, written = await ask(gpt("What is it?"))
        assert (read, written) == (0, 0)
        _, read, _ = await ask(gpt("Who is it?"))
        assert read == 1024 + (2833 + 4 * 5667 - 1024) // 128 * 128
        assert (await ask(gpt("What is it?", "gpt-4o")))[1] == (await ask(gpt("Who is it?", "gpt-4o")))[1] == 0
        assert (await ask(claude("What is it?", ttl=None)))[1:] == (await ask(claude("Who?", ttl=None)))[1:] == (0, 0)


async def test_the_models_that_bill_what_they_keep_keep_all_unless_told_to_keep_what_is_marked() -> None:
    long = "What is it? " * 100
    model, only = "gpt-5.6-luna", {"prompt_cache_options": {"mode": "explicit"}}
    async with Asking() as ask:
        whole, read, written = await ask(gpt(long, model))
        assert (read, written) == (0, whole - 3)  # of the turn's own tokens none is kept
        assert (await ask(gpt(f"{long}Who?", model)))[1] == 0
        assert (await ask(gpt(long, model, **only)))[1:] == (0, 0)
        assert (await ask(gpt(long, model, mark=True, **only)))[1:] == (0, 0)  # 922 tokens


@pytest.mark.parametrize(("model", "read"), [("gemini-3-flash-preview", 1024), ("gemini-3.5-flash", 0)])
async def test_gemini_keeps_by_itself_from_its_floor_on(model: str, read: int) -> None:
    async with Asking() as ask:
        await ask(gemini("What is it?", model))
        assert (await ask(gemini("Who is it?", model)))[1] == read


async def test_a_provider_without_a_cache_keeps_nothing() -> None:
    async with Simulator(Simulation()) as simulator, aiohttp.ClientSession(simulator.url) as session:
        for _ in range(2):
            path, body = claude("What is it?")
            async with session.post(path, json=body, headers={"anthropic-version": "2023-06-01"}) as got:
                usage = (await got.json())["usage"]
            assert usage["cache_creation_input_tokens"] == usage["cache_read_input_tokens"] == 0
