"""The simulator seen by litellm: GPT, Claude and Gemini routes with an image, each in its own wire format."""

from __future__ import annotations

import base64
import io
import json

import pytest
from PIL import Image

from unsaf_async.prompts import QUESTIONS, load_pack
from unsaf_async.simulate.model import respond
from unsaf_async.simulate.pictures import Pictures
from unsaf_async.simulate.server import Simulator
from unsaf_async.simulate.settings import ServerLimits, Simulation

pytestmark = pytest.mark.filterwarnings(
    # Raised by pydantic for litellm's own response types, once, when the first of them is built.
    "ignore:Item '.*' on TypedDict class '.*' is using the `ReadOnly` qualifier:UserWarning",
)

PACK = load_pack("unsaf")
ROUTES = {
    "openai/gpt-4o": "openai_base",
    "anthropic/claude-sonnet-4-5": "anthropic_base",
    "anthropic/claude-3-haiku-20240307": "anthropic_base",  # litellm asks it for JSON through a tool
    "gemini/gemini-2.5-flash": "gemini_base",
    "gemini/gemini-2.0-flash": "gemini_base",  # litellm sends its system message as user text
    "hosted_vllm/any": "openai_base",
}


@pytest.fixture(scope="module")
def litellm():
    with pytest.MonkeyPatch.context() as patch:
        # Both are read at import: no socket is opened for the price map or the header list.
        patch.setenv("LITELLM_LOCAL_MODEL_COST_MAP", "True")
        patch.setenv("LITELLM_LOCAL_ANTHROPIC_BETA_HEADERS", "True")
        module = pytest.importorskip("litellm")
        module.suppress_debug_info = True
        yield module


@pytest.fixture(scope="module")
def image() -> str:
    stream = io.BytesIO()
    Image.new("RGB", (64, 48), "green").save(stream, "JPEG")
    return base64.b64encode(stream.getvalue()).decode()


async def complete(litellm, simulator, route, text, image, **options):
    content = [
        {"type": "image_url", "image_url": {"url": f"data:image/jpeg;base64,{image}"}},
        {"type": "text", "text": text},
    ]
    return await litellm.acompletion(
        model=route,
        api_base=getattr(simulator, ROUTES[route]),
        api_key="key",
        messages=[{"role": "system", "content": "Be brief."}, {"role": "user", "content": content}],
        max_tokens=800,
        max_retries=0,
        timeout=20,
        **options,
    )


@pytest.mark.parametrize("route", ROUTES)
async def test_every_route_brings_the_same_text_and_the_ledgers_usage(litellm, image, route):
    text = PACK.answer("What is the name of the child?")
    image_id = Pictures().read(image).id
    async with Simulator(Simulation(any_model=True)) as simulator:
        got = await complete(litellm, simulator, route, text, image)
        assert (
            got.choices[0].message.content
            == respond(simulator.simulation.awareness, 0, texts=["Be brief.", text], image_id=image_id).text
        )
        assert got.choices[0].finish_reason == "stop"
        ledger = simulator.ledger
        assert (got.usage.prompt_tokens, got.usage.completion_tokens) == (ledger.input_tokens, ledger.output_tokens)
        assert len(ledger.images) == ledger.served == 1


@pytest.mark.parametrize("route", ROUTES)
async def test_every_route_brings_questions_by_their_schema(litellm, image, route):
    schema = QUESTIONS["unanswerable"]
    named = {"name": schema.name, "schema": schema.schema, "strict": True}
    wanted = {"type": "json_schema", "json_schema": named}
    async with Simulator(Simulation(any_model=True)) as simulator:
        got = await complete(
            litellm, simulator, route, PACK.ask("unanswerable", 6), image, response_format=wanted, temperature=0
        )
        written = json.loads(got.choices[0].message.content)["questions"]
        assert len(written) == 6
        expected = respond(
            simulator.simulation.awareness,
            0,
            texts=[PACK.ask("unanswerable", 6)],
            image_id=Pictures().read(image).id,
            schema_name=schema.name,
            temperature=0,
        ).text
        assert written == json.loads(expected)["questions"]


@pytest.mark.parametrize("route", ROUTES)
async def test_a_limit_arrives_as_litellms_rate_limit_error_with_its_wait(litellm, image, route):
    async with Simulator(Simulation(any_model=True, limits=ServerLimits(requests_per_minute=6, burst=1))) as simulator:
        await complete(litellm, simulator, route, "Question: Who?", image)
        with pytest.raises(litellm.RateLimitError) as caught:
            await complete(litellm, simulator, route, "Question: Who?", image)
        if route.startswith("gemini"):
            assert "retryDelay" in str(caught.value)
        else:
            assert 5 < float(caught.value.litellm_response_headers["retry-after"]) <= 10
        assert simulator.ledger.requests == 2


@pytest.mark.parametrize("route", ROUTES)
@pytest.mark.parametrize("fault", ["500", "503", "disconnect_after", "truncated_body", "garbage"])
async def test_a_fault_arrives_as_an_error(litellm, image, route, fault):
    async with Simulator(Simulation(any_model=True, faults={fault: 1.0})) as simulator:
        with pytest.raises(litellm.exceptions.openai.OpenAIError) as caught:
            await complete(litellm, simulator, route, "Question: Who?", image)
        assert type(caught.value).__module__ == "litellm.exceptions"
        assert simulator.ledger.requests == 1


@pytest.mark.parametrize("route", ROUTES)
@pytest.mark.parametrize(("fault", "finish"), [("safety", "content_filter"), ("length", "length"), ("empty", "stop")])
async def test_a_spoilt_reply_keeps_its_finish_reason(litellm, image, route, fault, finish):
    async with Simulator(Simulation(any_model=True, faults={fault: 1.0})) as simulator:
        got = await complete(litellm, simulator, route, PACK.answer("Who owns the bag?"), image)
        assert got.choices[0].finish_reason == finish
        assert bool(got.choices[0].message.content) == (fault == "length")
        assert got.usage.completion_tokens == simulator.ledger.output_tokens


async def test_a_wrong_key_is_litellms_authentication_error(litellm, image):
    async with Simulator(Simulation(any_model=True, api_key="right")) as simulator:
        for route in ROUTES:
            with pytest.raises(litellm.AuthenticationError):
                await complete(litellm, simulator, route, "Question: Who?", image)


async def test_openais_logprobs_arrive(litellm, image):
    async with Simulator(Simulation(any_model=True)) as simulator:
        got = await complete(
            litellm, simulator, "openai/gpt-4o", PACK.answer("Who owns the bag?"), image, logprobs=True
        )
        assert len(got.choices[0].logprobs.content) == got.usage.completion_tokens
