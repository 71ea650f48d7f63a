"""The vendors' own Python SDKs read everything that the simulator says, into their own classes and without a field left over."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import aiohttp
import pytest
from pydantic import BaseModel
from vendor_sdks import CLAUDE, GEMINI, GPT, QUESTION, leftovers, of_claude, of_gemini, of_gpt, read_strictly, simulated

from unsaf_async.prompts import QUESTIONS, load_pack
from unsaf_async.simulate.faults import FAULTS, WHOLE
from unsaf_async.simulate.server import UNSURE, Simulator

openai = pytest.importorskip("openai")
anthropic = pytest.importorskip("anthropic")
genai = pytest.importorskip("google.genai")

pytestmark = [
    pytest.mark.filterwarnings("ignore:Inheritance class .* from ClientSession is discouraged:DeprecationWarning"),
    pytest.mark.filterwarnings("ignore:.*is deprecated and will reach end-of-life:DeprecationWarning"),
]

PACK = load_pack("unsaf")
UNANSWERED = PACK.ask("unanswerable", 3)
QUESTION_LIST = QUESTIONS["unanswerable"].schema
FOREIGN = {
    "type": "object",
    "properties": {
        "colour": {"type": "string", "enum": ["red", "blue"]},
        "sure": {"type": "boolean"},
        "count": {"type": "integer", "minimum": 3},
        "share": {"type": "number"},
        "parts": {"type": "array", "items": {"$ref": "#/$defs/part"}, "minItems": 2},
        "note": {"anyOf": [{"type": "string"}, {"type": "null"}]},
    },
    "required": ["colour", "sure", "count", "share", "parts", "note"],
    "additionalProperties": False,
    "$defs": {
        "part": {
            "type": "object",
            "properties": {"name": {"type": "string"}},
            "required": ["name"],
            "additionalProperties": False,
        }
    },
}
"""A schema that is none of ours."""


def assert_follows(text: str, schema: dict[str, Any]) -> None:
    import jsonschema  # litellm brings it

    jsonschema.validate(json.loads(text), schema)


# --- replies


async def test_openai_reads_an_answer_about_an_image_with_its_id():
    async with simulated() as to:
        reply = await to.gpt.chat.completions.create(**of_gpt(logprobs=True, top_logprobs=1))
        read_strictly(reply)
        assert reply._request_id.startswith("req_")
        assert reply.choices[0].message.content
        assert len(reply.choices[0].logprobs.content) == reply.usage.completion_tokens
        ledger = to.simulator.ledger
        assert (reply.usage.prompt_tokens, reply.usage.completion_tokens) == (ledger.input_tokens, ledger.output_tokens)


async def test_anthropic_reads_an_answer_about_an_image_with_its_id():
    async with simulated() as to:
        reply = await to.claude.messages.create(**of_claude())
        read_strictly(reply)
        assert reply._request_id.startswith("req_")
        assert reply.content[0].text
        assert reply.usage.output_tokens == to.simulator.ledger.output_tokens


async def test_google_reads_an_answer_about_an_image():
    async with simulated() as to:
        reply = await to.gemini.models.generate_content(**of_gemini())
        read_strictly(reply)
        assert reply.text
        assert reply.model_version == GEMINI
        assert reply.usage_metadata.candidates_token_count == to.simulator.ledger.output_tokens


async def test_googles_class_forbids_what_it_does_not_know_and_takes_our_body():
    body = {"contents": [{"parts": [{"text": QUESTION}]}]}
    async with Simulator() as simulator, aiohttp.ClientSession() as session:
        url = f"{simulator.gemini_base}/models/{GEMINI}:generateContent"
        async with session.post(url, json=body) as response:
            genai.types.GenerateContentResponse.model_validate(await response.json())


@pytest.mark.parametrize("schema", [QUESTION_LIST, FOREIGN], ids=["ours", "foreign"])
async def test_strict_schemas_are_answered_with_json_that_follows_them(schema):
    text = UNANSWERED if schema is QUESTION_LIST else "Describe the image."
    async with simulated() as to:
        named = {"type": "json_schema", "json_schema": {"name": "mine", "strict": True, "schema": schema}}
        gpt = await to.gpt.chat.completions.create(**of_gpt(text, response_format=named))
        assert_follows(gpt.choices[0].message.content, schema)
        form = {"type": "json_schema", "schema": schema}
        claude = await to.claude.messages.create(**of_claude(text, output_config={"format": form}))
        read_strictly(claude)
        assert_follows(claude.content[0].text, schema)
        as_json = {"response_mime_type": "application/json", "response_json_schema": schema}
        gemini = await to.gemini.models.generate_content(**of_gemini(text, **as_json))
        assert_follows(gemini.text, schema)


async def test_each_sdk_parses_a_structured_reply_into_its_own_class():
    class Found(BaseModel):
        names: list[str]
        certain: bool

    async with simulated() as to:
        gpt = await to.gpt.chat.completions.parse(**of_gpt(response_format=Found))
        assert isinstance(gpt.choices[0].message.parsed, Found)
        claude = await to.claude.messages.parse(**of_claude(output_format=Found))
        assert isinstance(claude.parsed_output, Found)
        wanted = {"response_mime_type": "application/json", "response_schema": Found}
        gemini = await to.gemini.models.generate_content(**of_gemini(**wanted))
        assert isinstance(gemini.parsed, Found)


async def test_thoughts_come_as_each_sdk_knows_them_and_are_billed():
    async with simulated(price=(1, 1)) as to:
        gpt = await to.gpt.chat.completions.create(**of_gpt(reasoning_effort="low"))
        read_strictly(gpt)
        assert gpt.usage.completion_tokens > gpt.usage.completion_tokens_details.reasoning_tokens > 0
        claude = await to.claude.messages.create(
            **of_claude(thinking={"type": "enabled", "budget_tokens": 1024}, max_tokens=2000)
        )
        read_strictly(claude)
        assert [block.type for block in claude.content] == ["thinking", "text"]
        assert claude.usage.output_tokens > claude.usage.output_tokens_details.thinking_tokens > 0
        gemini = await to.gemini.models.generate_content(
            **of_gemini(thinking_config={"thinking_level": "LOW", "include_thoughts": True})
        )
        read_strictly(gemini)
        parts = gemini.candidates[0].content.parts
        assert [bool(part.thought) for part in parts] == [True, False]
        usage = gemini.usage_metadata
        assert usage.thoughts_token_count > 0
        spent = gpt.usage.completion_tokens + claude.usage.output_tokens
        spent += usage.thoughts_token_count + usage.candidates_token_count
        assert spent == to.simulator.ledger.output_tokens


async def test_a_stream_of_openais_brings_the_same_text_and_the_usage_in_its_last_chunk():
    async with simulated() as to:
        whole = await to.gpt.chat.completions.create(**of_gpt(UNANSWERED))
        stream = await to.gpt.chat.completions.create(
            **of_gpt(UNANSWERED, stream=True, stream_options={"include_usage": True})
        )
        chunks = [chunk async for chunk in stream]
        for chunk in chunks:
            read_strictly(chunk)
            assert chunk.object == "chat.completion.chunk"
        text = "".join(choice.delta.content or "" for chunk in chunks for choice in chunk.choices)
        assert text == whole.choices[0].message.content
        assert [chunk.usage is not None for chunk in chunks] == [False] * (len(chunks) - 1) + [True]
        assert chunks[-1].choices == []
        assert chunks[-1].usage == whole.usage
        assert [choice.finish_reason for chunk in chunks for choice in chunk.choices][-1] == "stop"
        silent = [chunk async for chunk in await to.gpt.chat.completions.create(**of_gpt(UNANSWERED, stream=True))]
        assert not any(chunk.usage for chunk in silent)
        assert to.simulator.ledger.healthy == 3


async def test_streams_of_anthropics_and_googles_bring_the_same_text():
    async with simulated() as to:
        whole = await to.claude.messages.create(**of_claude(UNANSWERED))
        thinking = {"type": "enabled", "budget_tokens": 1024}
        async with to.claude.messages.stream(**of_claude(UNANSWERED, thinking=thinking, max_tokens=3000)) as stream:
            message = await stream.get_final_message()
        read_strictly(message)
        assert message.content[-1].text == whole.content[0].text
        assert message.content[0].thinking
        assert message.content[0].signature
        assert message.stop_reason == "end_turn"
        whole = await to.gemini.models.generate_content(**of_gemini(UNANSWERED))
        chunks = [chunk async for chunk in await to.gemini.models.generate_content_stream(**of_gemini(UNANSWERED))]
        assert len(chunks) > 1
        assert "".join(chunk.text for chunk in chunks) == whole.text


async def test_models_that_only_stream_refuse_what_asks_for_no_stream():
    async with simulated(stream_only=True) as to:
        with pytest.raises(openai.BadRequestError, match="only support stream mode") as caught:
            await to.gpt.chat.completions.create(**of_gpt())
        assert caught.value.code == "invalid_parameter_error"
        stream = await to.gpt.chat.completions.create(**of_gpt(stream=True))
        assert [chunk async for chunk in stream]


# --- Azure


async def test_azures_deployments_and_its_v1_route_answer_to_openais_sdk():
    async with simulated(api_key="k") as to:
        reply = await to.azure.chat.completions.create(**of_gpt(model="gpt-4o", max_completion_tokens=50))
        assert reply.choices[0].message.content
        assert leftovers(reply) == [".prompt_filter_results", ".choices[0].content_filter_results"]
        base = f"{to.simulator.url}/openai/v1"
        http = openai.DefaultAsyncHttpxClient(verify=False)
        async with openai.AsyncOpenAI(api_key="k", base_url=base, max_retries=0, http_client=http) as client:
            reply = await client.chat.completions.create(**of_gpt())
            assert reply.choices[0].message.content
            assert GPT in [model.id async for model in client.models.list()]


async def test_azures_errors_come_in_azures_words():
    async with simulated(api_key="k") as to:
        with pytest.raises(openai.NotFoundError) as missing:
            await to.azure.chat.completions.create(**of_gpt(model="my-deployment"))
        assert missing.value.code == "DeploymentNotFound"
        with pytest.raises(openai.AuthenticationError, match="invalid subscription key"):
            await to.azure.with_options(api_key="x").chat.completions.create(**of_gpt())
        http = openai.DefaultAsyncHttpxClient(verify=False)
        options = {"base_url": f"{to.simulator.url}/openai/v1", "max_retries": 0, "http_client": http}
        async with openai.AsyncOpenAI(api_key="a-token", **options) as client:
            with pytest.raises(openai.AuthenticationError) as denied:
                await client.chat.completions.create(**of_gpt())
        assert denied.value.code == "PermissionDenied"
        url = f"{to.simulator.url}/openai/deployments/{GPT}/chat/completions"
        async with aiohttp.ClientSession() as session:
            async with session.post(url, json=of_gpt(), headers={"api-key": "k"}) as response:
                assert (response.status, await response.json()) == (
                    404,
                    {"error": {"code": "404", "message": "Resource not found"}},
                )
            async with session.post(url + "?api-version=2024-10-21", json=of_gpt()) as response:
                assert (response.status, (await response.json())["statusCode"]) == (401, 401)


async def test_azures_filter_refuses_a_prompt_and_blocks_a_reply():
    async with simulated(faults={"policy": 1.0}) as to:
        with pytest.raises(openai.BadRequestError) as caught:
            await to.azure.chat.completions.create(**of_gpt())
        assert caught.value.code == "content_filter"
        assert caught.value.body["innererror"]["code"] == "ResponsibleAIPolicyViolation"
    async with simulated(faults={"safety": 1.0}) as to:
        reply = await to.azure.chat.completions.create(**of_gpt())
        assert (reply.choices[0].finish_reason, reply.choices[0].message.content) == ("content_filter", None)
    async with simulated(faults={"429": 1.0}, retry_after_s=26) as to:
        with pytest.raises(openai.RateLimitError, match="retry after 26 seconds") as limited:
            await to.azure.chat.completions.create(**of_gpt())
        assert (limited.value.code, limited.value.response.headers["retry-after"]) == ("429", "26")


# --- models


async def test_each_sdk_lists_the_models_and_reads_one_and_misses_another():
    async with simulated() as to:
        listed = [model async for model in to.gpt.models.list()]
        assert "simulated" in [model.id for model in listed]
        for model in (*listed, await to.gpt.models.retrieve(GPT)):
            read_strictly(model)
        with pytest.raises(openai.NotFoundError) as missing:
            await to.gpt.models.retrieve("gpt-nine")
        assert missing.value.code == "model_not_found"

        page = await to.claude.models.list(limit=2)
        assert (page.has_more, page.first_id, page.last_id) == (True, page.data[0].id, page.data[1].id)
        claudes = [model async for model in to.claude.models.list(limit=2)]
        assert len({model.id for model in claudes}) == len(claudes) > 4
        for model in (*claudes, await to.claude.models.retrieve(CLAUDE)):
            read_strictly(model)
        with pytest.raises(anthropic.NotFoundError, match="claude-nine"):
            await to.claude.models.retrieve("claude-nine")

        pager = await to.gemini.models.list(config={"page_size": 3})
        names = [model.name async for model in pager]
        assert len(set(names)) == len(names) > 4
        model = await to.gemini.models.get(model=GEMINI)
        assert "generateContent" in model.supported_actions
        assert model.input_token_limit == 1_048_576
        with pytest.raises(genai.errors.ClientError, match="404 NOT_FOUND"):
            await to.gemini.models.get(model="gemini-nine")


async def test_an_unknown_model_is_a_404_in_each_vendors_words():
    async with simulated() as to:
        with pytest.raises(openai.NotFoundError, match="does not exist or you do not have access"):
            await to.gpt.chat.completions.create(**of_gpt(model="gpt-nine"))
        with pytest.raises(anthropic.NotFoundError, match="model: claude-nine"):
            await to.claude.messages.create(**of_claude(model="claude-nine"))
        with pytest.raises(genai.errors.ClientError, match="models/gemini-nine is not found for API version"):
            await to.gemini.models.generate_content(**of_gemini() | {"model": "gemini-nine"})
        assert to.simulator.ledger.by_status == {"404": 3}


# --- faults

RAISES = {
    "429": ("RateLimitError", "RateLimitError", 429),
    "500": ("InternalServerError", "InternalServerError", 500),
    "503": ("InternalServerError", "ServiceUnavailableError", 503),
    "529": ("InternalServerError", "OverloadedError", 529),
    "quota": ("RateLimitError", "BadRequestError", 429),
    "policy": ("BadRequestError", "BadRequestError", None),
    "disconnect": ("APIConnectionError", "APIConnectionError", None),
    "disconnect_after": ("APIConnectionError", "APIConnectionError", None),
    "truncated_body": ("APIConnectionError", "APIConnectionError", None),
    "garbage": ("JSONDecodeError", "JSONDecodeError", None),
    "hang": ("APITimeoutError", "APITimeoutError", None),
}
"""What each fault is to OpenAI's and Anthropic's SDK, and its status to Google's."""
FINISHES = {
    "safety": ("content_filter", "refusal", "SAFETY"),
    "refusal": ("stop", "refusal", None),
    "length": ("length", "max_tokens", "MAX_TOKENS"),
    "empty": ("stop", "end_turn", "STOP"),
    "abort": ("abort", "pause_turn", "OTHER"),
    "error": ("error", "pause_turn", "MALFORMED_RESPONSE"),
    "repetition": ("repetition", "model_context_window_exceeded", "RECITATION"),
    "sensitive": ("sensitive", "refusal", "PROHIBITED_CONTENT"),
    "think": ("stop", "end_turn", "STOP"),
}
"""The finish reasons of faults of content."""
FOREIGN_TO_OPENAI = {"abort", "error", "repetition", "sensitive"}
"""Finish reasons of servers that speak OpenAI's format, which its SDK hands on without knowing them."""


def test_every_fault_of_the_simulator_is_read_here():
    assert {*RAISES, *FINISHES, "sse"} == set(FAULTS)
    assert {*FINISHES, "sse"} == WHOLE


@pytest.mark.parametrize("fault", RAISES)
async def test_a_fault_is_the_sdks_own_error(fault):
    ours, theirs, status = RAISES[fault]
    async with simulated(timeout_s=0.4 if fault == "hang" else 20, faults={fault: 1.0}) as to:
        for call, name, module in (
            (to.gpt.chat.completions.create(**of_gpt()), ours, openai),
            (to.claude.messages.create(**of_claude()), theirs, anthropic),
        ):
            with pytest.raises((module.APIError, ValueError)) as caught:
                await call
            assert type(caught.value).__name__ == name
            if isinstance(caught.value, module.APIStatusError):
                assert caught.value.body
                assert caught.value.request_id.startswith("req_")
        if fault == "policy":
            reply = await to.gemini.models.generate_content(**of_gemini())
            read_strictly(reply)
            assert reply.prompt_feedback.block_reason == "PROHIBITED_CONTENT"
            return
        with pytest.raises((genai.errors.APIError, aiohttp.ClientError, TimeoutError, ValueError)) as caught:
            await to.gemini.models.generate_content(**of_gemini())
        assert getattr(caught.value, "code", None) == status


@pytest.mark.parametrize("fault", FINISHES)
async def test_a_fault_of_content_keeps_its_finish_reason(fault):
    ours, theirs, googles = FINISHES[fault]
    async with simulated(faults={fault: 1.0}) as to:
        gpt = await to.gpt.chat.completions.create(**of_gpt())
        claude = await to.claude.messages.create(**of_claude())
        gemini = await to.gemini.models.generate_content(**of_gemini())
    assert gpt.choices[0].finish_reason == ours
    if fault not in FOREIGN_TO_OPENAI:
        read_strictly(gpt)
    assert claude.stop_reason == theirs
    read_strictly(claude)
    read_strictly(gemini)
    if googles is None:
        assert gemini.prompt_feedback.block_reason == "PROHIBITED_CONTENT"
    else:
        assert gemini.candidates[0].finish_reason == googles
    if fault == "refusal":
        assert gpt.choices[0].message.refusal
    if fault == "think":
        for text in (gpt.choices[0].message.content, claude.content[0].text, gemini.text):
            assert text.startswith(UNSURE)
            assert len(text) > len(UNSURE)


@pytest.mark.parametrize("fault", ["safety", "refusal", "empty", "length"])
async def test_a_fault_of_content_leaves_no_count_below_0_of_a_reply_that_was_thought_about(fault):
    async with simulated(faults={fault: 1.0}) as to:
        config = {"thinking_config": {"thinking_level": "LOW", "include_thoughts": True}}
        usage = (await to.gemini.models.generate_content(**of_gemini(**config))).usage_metadata
        assert (usage.candidates_token_count or 0) >= 0
        assert (usage.candidates_token_count or 0) + (usage.thoughts_token_count or 0) == (
            to.simulator.ledger.output_tokens
        )


async def test_a_stream_that_nobody_asked_for_is_a_stream_that_the_sdk_can_read():
    async with simulated(faults={"sse": 1.0}) as to:
        raw = await to.gpt.chat.completions.with_raw_response.create(**of_gpt())
        assert raw.headers["content-type"] == "text/event-stream"
        lines = [line.removeprefix("data: ") for line in raw.text.splitlines() if line]
        assert lines.pop() == "[DONE]"
        for line in lines:
            read_strictly(openai.types.chat.ChatCompletionChunk.model_validate_json(line))
        assert to.simulator.ledger.served == 1


# --- rehearsals


async def test_another_model_answers_and_the_reply_says_so():
    others = {GPT: "gpt-4o", CLAUDE: "claude-haiku-5-5", GEMINI: "gemini-4-argon"}
    async with simulated(substitute=others) as to:
        assert (await to.gpt.chat.completions.create(**of_gpt())).model == "gpt-4o"
        assert (await to.claude.messages.create(**of_claude())).model == "claude-haiku-5-5"
        assert (await to.gemini.models.generate_content(**of_gemini())).model_version == "gemini-4-argon"
        assert (await to.gpt.chat.completions.create(**of_gpt(model="gpt-4.1"))).model == "gpt-4.1"


async def test_a_model_is_retired_after_its_requests_and_leaves_the_list():
    async with simulated(expire={GPT: 1, CLAUDE: 1, GEMINI: 1}) as to:
        await asyncio.gather(
            to.gpt.chat.completions.create(**of_gpt()),
            to.claude.messages.create(**of_claude()),
            to.gemini.models.generate_content(**of_gemini()),
        )
        with pytest.raises(openai.NotFoundError, match="has been deprecated"):
            await to.gpt.chat.completions.create(**of_gpt())
        with pytest.raises(anthropic.NotFoundError, match=f"model: {CLAUDE}"):
            await to.claude.messages.create(**of_claude())
        with pytest.raises(genai.errors.ClientError, match="no longer available to new users"):
            await to.gemini.models.generate_content(**of_gemini())
        assert GPT not in [model.id async for model in to.gpt.models.list()]
