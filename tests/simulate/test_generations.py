"""What each generation of models refuses: words and statuses as the vendors have them, over a socket."""

from __future__ import annotations

import base64
import io
import json
import re
from contextlib import asynccontextmanager
from datetime import UTC, date, datetime, timedelta
from typing import TYPE_CHECKING, Any

import aiohttp
import pytest

from unsaf_async.errors import UserError
from unsaf_async.providers.resolve import all_models
from unsaf_async.simulate.admission import Admission
from unsaf_async.simulate.generations import GENERATIONS, generation_of, names_of
from unsaf_async.simulate.pictures import Pictures
from unsaf_async.simulate.server import Simulator
from unsaf_async.simulate.settings import Simulation

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

HEADERS = {"anthropic-version": "2023-06-01"}
OPEN = {"type": "object", "properties": {"a": {"type": "string"}}, "required": ["a"]}


@asynccontextmanager
async def simulated(**settings: Any) -> AsyncIterator[Any]:
    """A function that posts a request of a vendor's, and gives status and body."""
    async with Simulator(Simulation(**settings)) as simulator, aiohttp.ClientSession(simulator.url) as session:

        async def ask(vendor: str, model: str, **more: Any) -> tuple[int, dict[str, Any]]:
            messages = [{"role": "user", "content": "Question: Who?"}]
            path, body = {
                "openai": ("/v1/chat/completions", {"model": model, "messages": messages}),
                "anthropic": ("/v1/messages", {"model": model, "messages": messages, "max_tokens": 4000}),
                "gemini": (
                    f"/v1beta/models/{model}:generateContent",
                    {"contents": [{"parts": [{"text": "Question: Who?"}]}]},
                ),
            }[vendor]
            data = io.BytesIO(json.dumps(body | more).encode())  # large bodies are not given as bytes
            async with session.post(path, data=data, headers=HEADERS) as response:
                return response.status, await response.json()

        yield ask


def config(**settings: Any) -> dict[str, Any]:
    return {"generationConfig": settings}


def thinking(**settings: Any) -> dict[str, Any]:
    return {"generationConfig": {"thinkingConfig": settings}}


def form(schema: dict[str, Any]) -> dict[str, Any]:
    return {"response_format": {"type": "json_schema", "json_schema": {"name": "it", "strict": True, "schema": schema}}}


BUDGET = {"thinking": {"type": "enabled", "budget_tokens": 2000}}
REFUSED = [
    ("openai", "gpt-5-mini", {"max_tokens": 9}, 400, "Use 'max_completion_tokens' instead."),
    ("openai", "o3", {"max_tokens": 9}, 400, "Unsupported parameter: 'max_tokens' is not supported with this model."),
    (
        "openai",
        "gpt-5",
        {"temperature": 0},
        400,
        "'temperature' does not support 0 with this model. Only the default (1)",
    ),
    ("openai", "gpt-5-2025-08-07", {"temperature": 0.5}, 400, "'temperature' does not support 0.5 with this model."),
    ("openai", "gpt-5", {"top_p": 0.5}, 400, "'top_p' does not support 0.5"),
    ("openai", "gpt-5.1", {"logprobs": True}, 403, "You are not allowed to request logprobs from this model"),
    ("openai", "gpt-5.4", {"temperature": 0, "reasoning_effort": "low"}, 400, "'temperature' is not supported"),
    ("openai", "gpt-5.4", {"logprobs": True, "reasoning_effort": "low"}, 403, "not allowed to request logprobs"),
    (
        "openai",
        "gpt-5.5",
        {"temperature": 0},
        400,
        "Unsupported parameter: 'temperature' is not supported with this model.",
    ),
    ("openai", "gpt-6.1-sol", {"temperature": 0}, 400, "'temperature' is not supported"),
    ("openai", "gpt-4o", {"reasoning_effort": "low"}, 400, "Unrecognized request argument supplied: reasoning_effort"),
    ("openai", "gpt-4o", {"top_k": 3}, 400, "Unrecognized request argument supplied: top_k"),
    ("openai", "gpt-5-pro", {}, 404, "This is not a chat model"),
    (
        "openai",
        "gpt-4o",
        {"max_tokens": 20_000},
        400,
        "max_tokens is too large: 20000. This model supports at most 16384",
    ),
    (
        "openai",
        "gpt-4o",
        form(OPEN),
        400,
        "Invalid schema for response_format 'it': In context=(), 'additionalProperties'",
    ),
    (
        "openai",
        "gpt-4o",
        form({**OPEN, "additionalProperties": False, "required": []}),
        400,
        "'required' is required to be supplied and to be an array including every key in properties. Missing 'a'.",
    ),
    ("anthropic", "claude-opus-4-7", {"temperature": 1}, 400, "`temperature` is deprecated for this model."),
    ("anthropic", "claude-opus-4-8", {"top_k": 3}, 400, "`top_k` is deprecated for this model."),
    ("anthropic", "claude-sonnet-5", {"temperature": 0}, 400, "`temperature` is deprecated for this model."),
    ("anthropic", "claude-opus-4-7", BUDGET, 400, '"thinking.type.enabled" is not supported for this model.'),
    ("anthropic", "claude-haiku-4-5", {"temperature": 0, "top_p": 0.5}, 400, "cannot both be specified for this model"),
    ("anthropic", "claude-haiku-4-5", {"thinking": {"type": "adaptive"}}, 400, "adaptive thinking is not supported"),
    (
        "anthropic",
        "claude-sonnet-4-6",
        {"thinking": {"type": "enabled", "budget_tokens": 100}},
        400,
        "thinking.enabled.budget_tokens: Input should be greater than or equal to 1024",
    ),
    ("anthropic", "claude-sonnet-4-6", BUDGET | {"max_tokens": 2000}, 400, "`max_tokens` must be greater than"),
    (
        "anthropic",
        "claude-sonnet-4-6",
        BUDGET | {"temperature": 0},
        400,
        "`temperature` may only be set to 1 when thinking",
    ),
    ("anthropic", "claude-sonnet-4-6", {"seed": 1}, 400, "seed: Extra inputs are not permitted"),
    (
        "anthropic",
        "claude-haiku-4-5",
        {"max_tokens": 64_001},
        400,
        "max_tokens: 64001 > 64000, which is the maximum allowed",
    ),
    (
        "anthropic",
        "claude-haiku-4-5",
        {"output_config": {"format": {"type": "json_schema", "schema": OPEN}}},
        400,
        "For 'object' type, 'additionalProperties' must be explicitly set to false",
    ),
    (
        "anthropic",
        "claude-haiku-4-5",
        {"output_config": {"effort": "low"}},
        400,
        "This model does not support the effort parameter.",
    ),
    *(
        (
            "openai",
            model,
            {"reasoning_effort": effort},
            400,
            f"'reasoning_effort' does not support '{effort}' with this model",
        )
        for model, effort in (
            ("o3", "minimal"),
            ("gpt-5", "none"),
            ("gpt-5.1", "minimal"),
            ("gpt-5.1", "xhigh"),
            ("gpt-5.4-mini", "minimal"),
            ("gpt-6-astra", "minimal"),
        )
    ),
    (
        "gemini",
        "gemini-2.5-flash",
        thinking(thinkingLevel="LOW"),
        400,
        "Thinking level is not supported for this model.",
    ),
    (
        "gemini",
        "gemini-2.5-pro",
        thinking(thinkingBudget=0),
        400,
        "Budget 0 is invalid. This model only works in thinking",
    ),
    (
        "gemini",
        "gemma-4-26b-a4b-it",
        thinking(thinkingBudget=512),
        400,
        "Thinking budget is not supported for this model.",
    ),
    (
        "gemini",
        "gemini-3.5-flash",
        thinking(thinkingBudget=512, thinkingLevel="LOW"),
        400,
        "You can only set only one of thinking budget and thinking level.",
    ),
    (
        "gemini",
        "gemini-3.1-pro-preview",
        thinking(thinking_level="minimal"),
        400,
        "Thinking level MINIMAL is not supported",
    ),
    (
        "gemini",
        "gemini-3.5-flash",
        config(responseLogprobs=True),
        400,
        "Logprobs is not enabled for models/gemini-3.5-flash",
    ),
    (
        "gemini",
        "gemini-3.5-flash",
        config(maxOutputTokens=70_000),
        400,
        "supported range is from 1 (inclusive) to 65537",
    ),
    (
        "gemini",
        "gemini-3.5-flash",
        {"seed": 3},
        400,
        'Invalid JSON payload received. Unknown name "seed": Cannot find field.',
    ),
    (
        "gemini",
        "gemini-3.5-flash",
        config(logit_bias={}),
        400,
        "Unknown name \"logit_bias\" at 'generation_config': Cannot find field.",
    ),
]


@pytest.mark.parametrize(("vendor", "model", "more", "status", "words"), REFUSED)
async def test_a_generation_refuses_what_its_vendor_does(vendor, model, more, status, words):
    async with simulated() as ask:
        got, body = await ask(vendor, model, **more)
    assert got == status
    assert words in body["error"]["message"]


@pytest.mark.parametrize(
    ("vendor", "model", "more"),
    [
        ("openai", "gpt-4o", {"temperature": 0, "max_tokens": 9, "seed": 1, "logprobs": True}),
        ("openai", "gpt-5", {"temperature": 1, "max_completion_tokens": 9, "reasoning_effort": "low"}),
        ("openai", "gpt-5.4-mini", {"temperature": 0, "logprobs": True}),
        ("openai", "gpt-5.5", {"temperature": 0, "logprobs": True, "reasoning_effort": "none"}),
        ("openai", "simulated", {"temperature": 0, "max_tokens": 9, "top_k": 3, "chat_template_kwargs": {}}),
        ("openai", "gpt-4o", form({**OPEN, "additionalProperties": False})),
        ("anthropic", "claude-haiku-4-5-20251001", {"temperature": 0}),
        ("openai", "gpt-5.4", {"reasoning_effort": "xhigh"}),
        ("anthropic", "claude-opus-4-5", {"output_config": {"effort": "low"}}),
        ("anthropic", "claude-sonnet-4-6", BUDGET | {"temperature": 1}),
        ("anthropic", "claude-sonnet-5", {"temperature": 1, "thinking": {"type": "adaptive"}}),
        ("anthropic", "simulated", {"seed": 1, "temperature": 0, "top_p": 0.5}),
        ("gemini", "gemini-2.5-flash", thinking(thinkingBudget=0)),
        ("gemini", "gemini-3.5-flash", thinking(thinkingBudget=512)),
        ("gemini", "gemini-3.5-flash", thinking(thinkingLevel="MINIMAL")),
        ("gemini", "simulated", config(responseLogprobs=True, mine=1)),
    ],
)
async def test_what_a_generation_takes_is_answered(vendor, model, more):
    async with simulated() as ask:
        assert (await ask(vendor, model, **more))[0] == 200


async def test_openai_names_the_parameter_and_its_code_and_google_the_fields():
    async with simulated() as ask:
        _, body = await ask("openai", "gpt-5", max_tokens=9)
        assert (body["error"]["param"], body["error"]["code"]) == ("max_tokens", "unsupported_parameter")
        _, body = await ask("openai", "gpt-5", temperature=0)
        assert (body["error"]["param"], body["error"]["code"]) == ("temperature", "unsupported_value")
        _, body = await ask("gemini", "gemini-3.5-flash", stream=True, generationConfig={"mine": 1})
        (detail,) = body["error"]["details"]
        assert [each.get("field") for each in detail["fieldViolations"]] == [None, "generation_config"]


async def test_a_request_beyond_the_context_is_refused_with_both_numbers():
    text = "word " * 170_000
    async with simulated() as ask:
        messages = [{"role": "user", "content": text}]
        status, body = await ask("anthropic", "claude-haiku-4-5", messages=messages)
        assert status == 400
        assert re.fullmatch(r"prompt is too long: 2125\d\d tokens > 200000 maximum", body["error"]["message"])
        status, body = await ask("openai", "gpt-4o", messages=messages)
        assert (status, body["error"]["code"]) == (400, "context_length_exceeded")
        contents = [{"parts": [{"text": text * 5}]}]
        _, body = await ask("gemini", "gemini-3.5-flash", contents=contents)
        assert "exceeds the maximum number of tokens allowed (1048576)" in body["error"]["message"]


async def test_claude_takes_no_image_over_5_mb():
    data = base64.b64encode(b"\xff\xd8\xff" + b"\0" * 4_000_000).decode()
    source = {"type": "base64", "media_type": "image/jpeg", "data": data}
    async with simulated() as ask:
        messages = [{"role": "user", "content": [{"type": "image", "source": source}]}]
        status, body = await ask("anthropic", "claude-haiku-4-5", messages=messages)
    assert status == 400
    assert (
        "messages.0.content.0.image.source.base64: image exceeds 5 MB maximum: 5333340 bytes"
        in body["error"]["message"]
    )


async def test_a_parameter_can_be_refused_by_every_model_in_its_vendors_words():
    async with simulated(refuse=("seed", "temperature")) as ask:
        _, body = await ask("openai", "gpt-4o", seed=1)
        assert body["error"]["message"] == "Unsupported parameter: 'seed' is not supported with this model."
        _, body = await ask("anthropic", "simulated", temperature=1)
        assert body["error"]["message"] == "temperature: Extra inputs are not permitted"
        _, body = await ask("gemini", "gemini-3.5-flash", generationConfig={"seed": 3})
        assert "Unknown name \"seed\" at 'generation_config'" in body["error"]["message"]
        assert (await ask("openai", "gpt-4o"))[0] == 200


async def test_any_model_answers_where_that_is_wished_and_no_other_than_those_that_are_named():
    async with simulated() as ask:
        assert (await ask("openai", "my-model"))[0] == 404
        assert (await ask("openai", "claude-haiku-4-5"))[0] == 404, "another vendor's"
        assert (await ask("openai", "simulated"))[0] == 200
    async with simulated(any_model=True) as ask:
        assert (await ask("openai", "my-model"))[0] == 200
        assert (await ask("gemini", "gemini-1.0-pro"))[0] == 200
    async with simulated(models=("my-model",)) as ask:
        assert (await ask("openai", "my-model"))[0] == 200
        assert (await ask("openai", "gpt-4o"))[0] == 404


async def test_a_model_is_retired_from_a_moment_on():
    now = datetime.now(UTC)
    ends = {"gpt-4o": now - timedelta(seconds=1), "gpt-4.1": now + timedelta(days=1)}
    async with simulated(expire=ends) as ask:
        status, body = await ask("openai", "gpt-4o")
        assert (status, body["error"]["code"]) == (404, "model_not_found")
        assert (await ask("openai", "gpt-4.1"))[0] == 200
    assert "gpt-4o" not in Admission(Simulation(expire=ends)).names("openai")


@pytest.mark.parametrize("end", [-1, datetime(2027, 1, 1)])  # noqa: DTZ001 - the zone is what is missing
def test_an_end_that_makes_no_sense_is_refused(end):
    with pytest.raises(UserError, match="moment with its time zone"):
        Simulation(expire={"gpt-4o": end})


def test_every_model_of_the_provider_files_is_listed_and_takes_the_effort_that_its_file_sends():
    for profile in (listing.profile for listing in all_models(today=date(2026, 11, 27))):
        if profile.vendor in ("openai", "anthropic", "gemini") and profile.model:
            assert profile.name in names_of(profile.vendor)
            generation = generation_of(profile.vendor, profile.name)
            effort = profile.extra.get("reasoning_effort")
            rules = [rule for rule in generation.rules if rule.field == "reasoning_effort"]
            assert not (effort and any(rule.refuses(effort, {}) for rule in rules))


@pytest.mark.parametrize("vendor", ["openai", "anthropic", "gemini"])
def test_every_listed_name_is_of_the_generation_that_lists_it(vendor):
    for generation in GENERATIONS:
        if generation.vendor == vendor:
            assert [generation_of(vendor, name) for name in generation.names] == [generation] * len(generation.names)
    assert len(set(names_of(vendor))) == len(names_of(vendor)) > 5


def test_every_rule_says_where_it_was_seen():
    for generation in GENERATIONS:
        for rule in generation.rules:
            assert rule.source
            rule.message.format(field="f", value="v", VALUE="V", model="m")


def test_pictures_are_known_by_both_alphabets_of_base64_on_googles_route():
    from unsaf_async.simulate.gemini import _picture

    data = b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR\0\0\0\x05\0\0\0\x04" + b"\xff\xfe\xfb" * 20
    pictures = Pictures()
    encoded = [base64.b64encode(data), base64.urlsafe_b64encode(data)]
    assert encoded[0] != encoded[1]
    assert len({_picture({"data": each.decode()}, pictures).id for each in encoded}) == 1
