"""The simulator over real sockets: three formats, every fault, limits, money."""

from __future__ import annotations

import asyncio
import base64
import io
import json
import re
from contextlib import asynccontextmanager, suppress
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from fractions import Fraction
from pathlib import Path

import aiohttp
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from unsaf_async.errors import UserError
from unsaf_async.prompts import QUESTIONS, load_pack
from unsaf_async.simulate.anthropic import Anthropic
from unsaf_async.simulate.anthropic import picture_tokens as anthropic_tokens
from unsaf_async.simulate.faults import FAULTS, UNBILLED, WHOLE, draw
from unsaf_async.simulate.gemini import Gemini
from unsaf_async.simulate.gemini import picture_tokens as gemini_tokens
from unsaf_async.simulate.limits import Denied, RateLimiter
from unsaf_async.simulate.model import Awareness, respond
from unsaf_async.simulate.openai import OpenAI
from unsaf_async.simulate.openai import picture_tokens as openai_tokens
from unsaf_async.simulate.pictures import Picture, PictureError, Pictures
from unsaf_async.simulate.server import LEDGER, Simulator, application, serve
from unsaf_async.simulate.settings import Lognormal, ServerLimits, Simulation, exact
from unsaf_async.simulate.wire import RequestError, go_duration, retry_headers

PACK = load_pack("unsaf")
WIRES = ("openai", "anthropic", "gemini")
DOCS = Path(__file__).parents[2] / "docs" / "simulator.md"
QUESTION = "What colour is the cup?"
MODELS = {"openai": "gpt-4o", "anthropic": "claude-sonnet-4-5", "gemini": "gemini-2.5-flash"}


def picture(kind: str = "JPEG", size: tuple[int, int] = (64, 48), colour: str = "red") -> bytes:
    stream = io.BytesIO()
    Image.new("RGB", size, colour).save(stream, kind)
    return stream.getvalue()


JPEG = picture()


class Reader:
    """Speaks one format: builds its bodies, finds text and usage in its replies."""

    def __init__(self, wire: str, model: str | None = None) -> None:
        self.wire, self.model = wire, model or MODELS[wire]
        self.path = {
            "openai": "/v1/chat/completions",
            "anthropic": "/v1/messages",
            "gemini": f"/v1beta/models/{self.model}:generateContent",
        }[wire]

    def headers(self, key: str = "key") -> dict[str, str]:
        return {
            "openai": {"Authorization": f"Bearer {key}"},
            "anthropic": {"x-api-key": key, "anthropic-version": "2023-06-01"},
            "gemini": {"x-goog-api-key": key},
        }[self.wire]

    def body(self, text: str, image: bytes | None = JPEG, *, schema=None, max_tokens=1000, media_type="image/jpeg"):
        data = base64.b64encode(image).decode() if image is not None else None
        if self.wire == "openai":
            parts = [{"type": "text", "text": text}]
            if data:
                parts.insert(0, {"type": "image_url", "image_url": {"url": f"data:{media_type};base64,{data}"}})
            body = {"model": self.model, "messages": [{"role": "user", "content": parts}], "max_tokens": max_tokens}
            if schema:
                named = {"name": schema.name, "schema": schema.schema, "strict": True}
                body["response_format"] = {"type": "json_schema", "json_schema": named}
        elif self.wire == "anthropic":
            parts = [{"type": "text", "text": text}]
            if data:
                source = {"type": "base64", "media_type": media_type, "data": data}
                parts.insert(0, {"type": "image", "source": source})
            body = {"model": self.model, "messages": [{"role": "user", "content": parts}], "max_tokens": max_tokens}
            if schema:
                body["output_format"] = {"type": "json_schema", "schema": schema.schema}
        else:
            parts = [{"text": text}]
            if data:
                parts.insert(0, {"inlineData": {"mimeType": media_type, "data": data}})
            body = {"contents": [{"role": "user", "parts": parts}], "generationConfig": {"maxOutputTokens": max_tokens}}
            if schema:
                body["generationConfig"] |= {"responseMimeType": "application/json", "responseSchema": schema.schema}
        return body

    def text(self, body) -> str:
        if self.wire == "openai":
            return body["choices"][0]["message"]["content"]
        if self.wire == "anthropic":
            return body["content"][0]["text"]
        return body["candidates"][0]["content"]["parts"][0]["text"]

    def usage(self, body) -> tuple[int, int]:
        if self.wire == "openai":
            return body["usage"]["prompt_tokens"], body["usage"]["completion_tokens"]
        if self.wire == "anthropic":
            return body["usage"]["input_tokens"], body["usage"]["output_tokens"]
        return body["usageMetadata"]["promptTokenCount"], body["usageMetadata"].get("candidatesTokenCount", 0)


@asynccontextmanager
async def simulated(**settings):
    async with Simulator(Simulation(**settings)) as simulator, aiohttp.ClientSession(simulator.url) as session:
        yield simulator, session


async def post(session, reader, body, key: str = "key"):
    async with session.post(reader.path, json=body, headers=reader.headers(key)) as response:
        return response.status, response.headers, await response.json()


@pytest.fixture(params=WIRES)
def reader(request) -> Reader:
    return Reader(request.param)


# --- healthy


async def test_an_image_question_is_answered_with_usage_and_dollars(reader):
    async with simulated(price=("0.15", 0.6)) as (simulator, session):
        status, _, body = await post(session, reader, reader.body(PACK.answer(QUESTION)))
        ledger = simulator.ledger
        assert status == 200
        tokens_in, tokens_out = reader.usage(body)
        assert (
            tokens_in
            == len(PACK.answer(QUESTION).encode()) // 4
            + 3
            + {"openai": 255, "anthropic": 6, "gemini": 258}[reader.wire]
        )
        assert tokens_out == len(reader.text(body)) // 4
        assert ledger.billed_usd == ledger.served_usd == Fraction(15 * tokens_in + 60 * tokens_out, 100_000_000)
        (entry,) = ledger.entries.values()
        assert (entry.seen, entry.served, entry.healthy, entry.billed_usd) == (1, 1, 1, ledger.billed_usd)
        assert len(ledger.images) == 1


@pytest.mark.parametrize("text", [PACK.ask("answerable", 6), PACK.ask("unanswerable", 6), PACK.answer(QUESTION)])
@pytest.mark.parametrize("with_schema", [False, True])
async def test_three_wires_and_the_process_say_the_same(text, with_schema):
    awareness = Awareness(messy=0.5, malformed=0.1)
    label = "unanswerable" if "UNANSWERABLE" in text else "answerable"
    schema = QUESTIONS[label] if with_schema and "write" in text else None
    image_id = next(iter(await _image_ids(JPEG)))
    expected = respond(awareness, 7, texts=[text], image_id=image_id, schema_name=schema.name if schema else None).text
    async with simulated(awareness=awareness, seed=7) as (_, session):
        for reader in map(Reader, WIRES):
            _, _, body = await post(session, reader, reader.body(text, schema=schema))
            assert reader.text(body) == expected


async def _image_ids(data: bytes) -> set[str]:
    return {Pictures().read(base64.b64encode(data).decode()).id}


async def test_the_same_request_gets_the_same_reply_from_another_server(reader):
    texts = []
    for _ in range(2):
        async with simulated(seed=3) as (_, session):
            bodies = [reader.body(PACK.answer(f"{QUESTION} {number}")) for number in range(10)]
            texts.append([reader.text((await post(session, reader, body))[2]) for body in bodies])
    assert texts[0] == texts[1]


async def test_the_output_limit_cuts_the_text_and_says_so(reader):
    async with simulated() as (_, session):
        _, _, body = await post(session, reader, reader.body(PACK.ask("answerable", 20), max_tokens=10))
        assert reader.usage(body)[1] == 10
        assert len(reader.text(body)) == 40
        finish = {
            "openai": lambda: body["choices"][0]["finish_reason"] == "length",
            "anthropic": lambda: body["stop_reason"] == "max_tokens",
            "gemini": lambda: body["candidates"][0]["finishReason"] == "MAX_TOKENS",
        }
        assert finish[reader.wire]()


async def test_png_is_read_as_well_as_jpeg(reader):
    async with simulated() as (_, session):
        body = reader.body("Question: Who?", picture("PNG"), media_type="image/png")
        assert (await post(session, reader, body))[0] == 200


async def test_openai_gives_choices_and_a_logprob_for_each_token():
    reader = Reader("openai")
    async with simulated() as (_, session):
        wanted = {"n": 3, "logprobs": True, "top_logprobs": 1, "temperature": 1}
        _, _, body = await post(session, reader, reader.body(PACK.answer(QUESTION)) | wanted)
        assert [choice["index"] for choice in body["choices"]] == [0, 1, 2]
        count = 0
        for choice in body["choices"]:
            content = choice["logprobs"]["content"]
            assert b"".join(bytes(token["bytes"]) for token in content).decode() == choice["message"]["content"]
            assert all(token["logprob"] <= 0 and token["top_logprobs"] for token in content)
            count += len(content)
        assert body["usage"]["completion_tokens"] == count


async def test_openai_counts_low_detail_images_at_their_flat_price():
    reader = Reader("openai")
    async with simulated() as (_, session):
        high, low = reader.body("Question: Who?"), reader.body("Question: Who?")
        low["messages"][0]["content"][0]["image_url"]["detail"] = "low"
        usages = [reader.usage((await post(session, reader, body))[2])[0] for body in (high, low)]
        assert usages[0] - usages[1] == 170


async def test_anthropic_answers_a_forced_tool_with_its_input():
    reader = Reader("anthropic")
    tool = {"name": "json_tool_call", "input_schema": QUESTIONS["answerable"].schema}
    forced = {"tools": [tool], "tool_choice": {"type": "tool", "name": "json_tool_call"}}
    async with simulated() as (_, session):
        _, _, body = await post(session, reader, reader.body(PACK.ask("answerable", 4)) | forced)
        (block,) = body["content"]
        assert (block["type"], block["name"], body["stop_reason"]) == ("tool_use", "json_tool_call", "tool_use")
        assert len(block["input"]["questions"]) == 4


async def test_gemini_reads_camel_case_and_snake_case_alike():
    reader = Reader("gemini")
    data = base64.b64encode(JPEG).decode()
    text = PACK.ask("answerable", 4)
    snake = {
        "contents": [
            {"role": "user", "parts": [{"inline_data": {"data": data, "mime_type": "image/jpeg"}}, {"text": text}]}
        ],
        "system_instruction": {"parts": [{"text": "Be brief."}]},
        "generationConfig": {"max_output_tokens": 12, "response_json_schema": QUESTIONS["answerable"].schema},
    }
    async with simulated() as (_, session):
        status, _, body = await post(session, reader, snake)
        assert (status, reader.usage(body)[1]) == (200, 12)


async def test_the_model_list_comes_in_each_format():
    async with simulated(models=("a", "b")) as (_, session):
        async with session.get("/v1/models") as response:
            assert [model["id"] for model in (await response.json())["data"]] == ["a", "b"]
        async with session.get("/v1/models", headers={"anthropic-version": "2023-06-01"}) as response:
            assert (await response.json())["data"][0]["type"] == "model"
        async with session.get("/v1beta/models") as response:
            assert (await response.json())["models"][1]["name"] == "models/b"
        async with session.get("/health") as response:
            assert (await response.json())["simulated"] is True


# --- wrong requests


async def test_a_wrong_key_gets_the_providers_own_words(reader):
    async with simulated(api_key="right") as (simulator, session):
        status, _, body = await post(session, reader, reader.body("Question: Who?"), key="wrong-key-12345")
        assert status == {"openai": 401, "anthropic": 401, "gemini": 400}[reader.wire]
        text = json.dumps(body)
        assert {"openai": "invalid_api_key", "anthropic": "authentication_error", "gemini": "API_KEY_INVALID"}[
            reader.wire
        ] in text
        assert "wrong-key-12345" not in text
        assert (await post(session, reader, reader.body("Question: Who?"), key="right"))[0] == 200
        assert simulator.ledger.by_status == {str(status): 1, "200": 1}


async def test_gemini_takes_its_key_from_the_query_too():
    reader = Reader("gemini")
    async with simulated(api_key="right") as (_, session):
        for query, status in (("?key=right", 200), ("?key=wrong", 400), ("", 403)):
            async with session.post(reader.path + query, json=reader.body("Question: Who?")) as response:
                assert response.status == status


def _without(body, *names):
    return {name: value for name, value in body.items() if name not in names}


@pytest.mark.parametrize(
    ("wire", "change"),
    [
        ("openai", lambda body: _without(body, "messages")),
        ("openai", lambda body: _without(body, "model")),
        ("openai", lambda body: body | {"messages": []}),
        ("openai", lambda body: body | {"messages": [{"role": "robot", "content": "x"}]}),
        ("openai", lambda body: body | {"messages": [{"role": "user", "content": [{"type": "audio"}]}]}),
        ("openai", lambda body: body | {"messages": ["x"]}),
        ("openai", lambda body: body | {"temperature": 3}),
        ("openai", lambda body: body | {"max_tokens": 0}),
        ("openai", lambda body: body | {"max_tokens": "many"}),
        ("openai", lambda body: body | {"n": 1.5}),
        ("openai", lambda body: body | {"response_format": {"type": "json_schema"}}),
        ("openai", lambda body: body | {"response_format": {"type": "xml"}}),
        ("openai", lambda body: body | {"stream": "yes"}),
        ("openai", lambda body: body | {"stream_options": {"include_usage": True}}),
        ("anthropic", lambda body: _without(body, "max_tokens")),
        ("anthropic", lambda body: _without(body, "messages")),
        ("anthropic", lambda body: body | {"messages": [{"role": "system", "content": "x"}]}),
        ("anthropic", lambda body: body | {"messages": [{"role": "user", "content": [{"type": "image"}]}]}),
        ("anthropic", lambda body: body | {"temperature": 1.5}),
        ("anthropic", lambda body: body | {"output_format": {"type": "json_schema"}}),
        ("anthropic", lambda body: body | {"tool_choice": {"type": "tool", "name": "missing"}}),
        ("gemini", lambda body: _without(body, "contents")),
        ("gemini", lambda body: body | {"contents": [{"role": "user", "parts": []}]}),
        ("gemini", lambda body: body | {"contents": [{"role": "robot", "parts": [{"text": "x"}]}]}),
        ("gemini", lambda body: body | {"contents": [{"role": "user", "parts": [{"video": 1}]}]}),
        ("gemini", lambda body: body | {"generationConfig": {"temperature": -1}}),
        *[(wire, lambda _: ["a list"]) for wire in WIRES],
    ],
)
async def test_a_wrong_body_is_a_400_in_the_providers_shape_and_costs_nothing(wire, change):
    reader = Reader(wire)
    async with simulated(price=(1, 1)) as (simulator, session):
        status, _, body = await post(session, reader, change(reader.body("Question: Who?")))
        assert status == 400
        assert body["error"]["message"]
        assert body["error"].get("type", body["error"].get("status")) in ("invalid_request_error", "INVALID_ARGUMENT")
        assert simulator.ledger.billed_usd == 0


@pytest.mark.parametrize(
    "image", [b"GIF89a not an image of these kinds", b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff\xff", b""]
)
async def test_a_broken_image_is_a_400(reader, image):
    async with simulated() as (_, session):
        body = reader.body("Question: Who?", image if image else b" ")
        assert (await post(session, reader, body))[0] == 400


async def test_what_is_no_base64_and_what_is_no_data_url_is_a_400(reader):
    async with simulated() as (_, session):
        whole = json.dumps(reader.body("Question: Who?"))
        data = base64.b64encode(JPEG).decode()
        assert (await post(session, reader, json.loads(whole.replace(data, "!" + data))))[0] == 400
        if reader.wire == "openai":
            linked = whole.replace(f"data:image/jpeg;base64,{data}", "file:///etc/passwd")
            assert (await post(session, reader, json.loads(linked)))[0] == 400


async def test_anthropic_minds_a_wrong_media_type_and_a_missing_version():
    reader = Reader("anthropic")
    async with simulated() as (_, session):
        status, _, body = await post(session, reader, reader.body("Question: Who?", media_type="image/png"))
        assert (status, "media type" in body["error"]["message"]) == (400, True)
        async with session.post(reader.path, json=reader.body("Question: Who?")) as response:
            assert response.status == 400


async def test_what_is_no_json_is_a_400(reader):
    async with (
        simulated() as (_, session),
        session.post(reader.path, data=b'{"model": ', headers=reader.headers()) as response,
    ):
        assert response.status == 400
        assert (await response.json())["error"]["message"]


async def test_an_unknown_model_is_a_404_where_only_the_listed_ones_answer(reader):
    async with simulated(models=("simulated",)) as (_, session):
        status, _, body = await post(session, reader, reader.body("Question: Who?"))
        assert status == 404
        assert reader.model in json.dumps(body)


TOP_FIELDS = (
    "messages", "contents", "system", "systemInstruction", "generationConfig", "response_format", "output_format", "tools",
    "tool_choice", "n", "temperature", "seed",
)  # fmt: skip
INNER_FIELDS = (
    "role", "content", "parts", "text", "type", "image_url", "url", "source", "data", "inlineData", "name", "json_schema",
    "schema", "maxOutputTokens", "temperature",
)  # fmt: skip
JSON_VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-5, 5)
    | st.floats(allow_nan=False)
    | st.sampled_from(["user", "text", "tool"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(INNER_FIELDS), inner, max_size=5),
    max_leaves=12,
)


@pytest.mark.parametrize("wire", [OpenAI(), Anthropic(), Gemini()], ids=WIRES)
@given(body=st.dictionaries(st.sampled_from(TOP_FIELDS), JSON_VALUES))
def test_whatever_json_comes_is_read_or_refused(wire, body):
    body = {"model": "m", "max_tokens": 5, **body}
    with suppress(RequestError):
        assert wire.read(body, "m", {"anthropic-version": "2023-06-01"}, Pictures()).input_tokens >= 0


# --- faults


async def attempt(session, reader, body, timeout_s: float = 10.0):
    """Status, headers and body of an attempt, or the name of the error that it ended in."""
    try:
        async with session.post(
            reader.path, json=body, headers=reader.headers(), timeout=aiohttp.ClientTimeout(total=timeout_s)
        ) as response:
            return response.status, response.headers, await response.read()
    except (aiohttp.ClientError, TimeoutError) as error:
        return type(error).__name__, {}, b""


STATUS = {
    "429": 429,
    "500": 500,
    "503": 503,
    "529": 529,
    "disconnect": "ServerDisconnectedError",
    "disconnect_after": "ServerDisconnectedError",
    "truncated_body": "ClientPayloadError",
    "hang": "TimeoutError",
    "quota": 429,
    "policy": 400,
}


@pytest.mark.parametrize("fault", FAULTS)
async def test_each_fault_looks_and_bills_as_it_says(reader, fault, caplog):
    async with simulated(faults={fault: 1.0}, price=(1, 1)) as (simulator, session):
        patience_s = 0.2 if fault == "hang" else 10.0
        status, headers, raw = await attempt(session, reader, reader.body(PACK.answer(QUESTION)), patience_s)
        ledger = simulator.ledger
        expected = STATUS.get(fault, 200)
        if (reader.wire, fault) == ("anthropic", "quota"):
            expected = 400
        if (reader.wire, fault) == ("gemini", "policy"):
            expected = 200
        assert status == expected
        assert not caplog.records
        assert ledger.faults == {fault: 1}
        assert (ledger.billed_usd > 0) == (fault not in UNBILLED)
        assert (ledger.served, ledger.healthy) == (fault in WHOLE, 0)
        if fault in ("safety", "empty"):
            assert ledger.output_tokens == 0
        if fault in WHOLE - {"sse"}:
            body = json.loads(raw)
            assert reader.usage(body) == (ledger.input_tokens, ledger.output_tokens)
            _assert_spoilt(reader.wire, fault, body)
        if fault == "garbage":
            with pytest.raises(ValueError, match="Expecting"):
                json.loads(raw)
        if fault == "429":
            if reader.wire == "gemini":
                assert json.loads(raw)["error"]["details"][-1]["retryDelay"] == "1s"
            else:
                assert headers["retry-after"] == "1"
        if fault == "quota":
            words = {"openai": b"insufficient_quota", "anthropic": b"credit balance is too low", "gemini": b"PerDay"}
            assert words[reader.wire] in raw
            assert b"retryDelay" not in raw


def _assert_spoilt(wire: str, fault: str, body) -> None:
    if wire == "openai":
        choice = body["choices"][0]
        message = choice["message"]
        seen = (choice["finish_reason"], message["content"] is None, message["refusal"] is not None)
        expected = {
            "safety": ("content_filter", True, False),
            "refusal": ("stop", True, True),
            "empty": ("stop", False, False),
            "think": ("stop", False, False),
        }
        assert seen == expected.get(fault, (fault, False, False))
        assert ("error" in choice) == (fault == "error")
        assert (message["content"] or "").startswith("[THINK]I cannot tell.[/THINK]") == (fault == "think")
    elif wire == "anthropic":
        assert (body["stop_reason"], bool(body["content"])) == {
            "safety": ("refusal", False),
            "refusal": ("refusal", True),
            "length": ("max_tokens", True),
            "empty": ("end_turn", False),
            "abort": ("pause_turn", True),
            "error": ("pause_turn", True),
            "repetition": ("model_context_window_exceeded", True),
            "sensitive": ("refusal", True),
            "think": ("end_turn", True),
        }[fault]
    elif fault == "refusal":
        assert body["promptFeedback"]["blockReason"] == "PROHIBITED_CONTENT"
        assert "candidates" not in body
    else:
        candidate = body["candidates"][0]
        finish = {
            "safety": "SAFETY",
            "length": "MAX_TOKENS",
            "empty": "STOP",
            "abort": "OTHER",
            "error": "MALFORMED_RESPONSE",
            "repetition": "RECITATION",
            "sensitive": "PROHIBITED_CONTENT",
            "think": "STOP",
        }[fault]
        assert (candidate["finishReason"], bool(candidate.get("content", {}).get("parts"))) == (
            finish,
            fault not in ("safety", "empty"),
        )


async def test_a_retry_gets_a_new_draw_and_a_second_run_the_same_ones(reader):
    outcomes = []
    for _ in range(2):
        async with simulated(faults={"500": 0.3, "503": 0.3}, fault_seed=5) as (_, session):
            body = reader.body(PACK.answer(QUESTION))
            outcomes.append([(await attempt(session, reader, body))[0] for _ in range(12)])
    assert outcomes[0] == outcomes[1]
    assert set(outcomes[0]) == {200, 500, 503}


def test_faults_come_as_often_as_stated():
    drawn = [draw({"500": 0.2, "hang": 0.1}, 0, f"{number:x}", 1) for number in range(4000)]
    assert drawn.count("500") == pytest.approx(800, abs=100)
    assert drawn.count("hang") == pytest.approx(400, abs=80)
    assert drawn.count(None) == pytest.approx(2800, abs=120)


async def test_a_client_that_leaves_frees_its_place_and_stays_billed(reader):
    async with simulated(latency=30.0, price=(1, 1)) as (simulator, session):
        assert (await attempt(session, reader, reader.body(PACK.answer(QUESTION)), 0.2))[0] == "TimeoutError"
        await _eventually(lambda: simulator.ledger.in_flight == 0)
        assert simulator.ledger.by_status == {"left": 1}
        assert simulator.ledger.billed_usd > 0
        assert simulator.ledger.served == 0


async def test_a_hanging_call_does_not_keep_the_server_from_closing():
    reader = Reader("openai")
    async with aiohttp.ClientSession() as session:
        async with Simulator(Simulation(faults={"hang": 1.0})) as simulator:
            call = asyncio.create_task(session.post(simulator.url + reader.path, json=reader.body("Question: Who?")))
            await _eventually(lambda: simulator.ledger.in_flight == 1)
        with pytest.raises(aiohttp.ClientError):
            await call


async def _eventually(condition) -> None:
    async with asyncio.timeout(5):
        while not condition():  # noqa: ASYNC110 - what is waited for happens in the server
            await asyncio.sleep(0.005)


@pytest.mark.skipif(not DOCS.is_file(), reason="only a checkout has the page")
def test_the_simulators_page_names_every_fault():
    named = set(re.findall(r"`(\w+)`", DOCS.read_text("utf-8")))
    assert set(FAULTS) <= named


# --- limits


def test_a_bucket_lets_in_its_rate_and_its_burst_and_no_more():
    gate = RateLimiter(ServerLimits(requests_per_minute=600, burst=5))
    admitted = sum(gate.admit(tick / 1000, 0, 0) is None for tick in range(10_000))
    assert admitted == 5 + 99  # and 10 a second for 9.999 s
    denied = gate.admit(9.999, 0, 0)
    assert denied is not None
    assert 0 < denied.retry_after_s <= 0.1


def test_the_wait_that_is_asked_for_is_long_enough_and_no_longer():
    gate = RateLimiter(ServerLimits(requests_per_minute=60, burst=1))
    assert gate.admit(0.0, 0, 0) is None
    denied = gate.admit(0.25, 0, 0)
    assert denied == Denied("requests", pytest.approx(0.75))
    assert gate.admit(0.98, 0, 0) is not None
    assert gate.admit(1.0, 0, 0) is None


def test_each_kind_of_token_has_its_own_bucket_and_a_huge_request_passes_a_full_one():
    gate = RateLimiter(ServerLimits(input_tokens_per_minute=600, output_tokens_per_minute=60))
    assert gate.admit(0.0, 100_000, 1) is None
    assert gate.admit(1.0, 10, 1) == Denied("input_tokens", pytest.approx(9940.0))
    gate = RateLimiter(ServerLimits(input_tokens_per_minute=600, output_tokens_per_minute=60))
    assert gate.admit(0.0, 10, 60) is None
    assert gate.admit(0.0, 10, 6) == Denied("output_tokens", pytest.approx(6.0))


async def test_past_the_limit_comes_the_providers_429_with_its_headers(reader):
    limits = ServerLimits(
        requests_per_minute=30, burst=2, input_tokens_per_minute=90_000, output_tokens_per_minute=9_000
    )
    async with simulated(limits=limits, price=(1, 1)) as (simulator, session):
        answers = [await post(session, reader, reader.body(f"Question: Who is number {n}?")) for n in range(3)]
        assert [status for status, _, _ in answers] == [200, 200, 429]
        _, headers, body = answers[2]
        names = {name.lower() for name in headers}
        if reader.wire == "openai":
            assert headers["x-ratelimit-limit-requests"] == "30"
            assert headers["x-ratelimit-remaining-requests"] == "0"
            assert re.fullmatch(r"[23](\.\d+)?s|4s", headers["x-ratelimit-reset-requests"])
            assert headers["x-ratelimit-limit-tokens"] == "90000"
            assert (body["error"]["code"], body["error"]["type"]) == ("rate_limit_exceeded", "requests")
            assert 0.5 < float(headers["retry-after"]) <= 2
        elif reader.wire == "anthropic":
            assert headers["anthropic-ratelimit-requests-limit"] == "30"
            assert headers["anthropic-ratelimit-input-tokens-limit"] == "90000"
            assert headers["anthropic-ratelimit-output-tokens-remaining"].isdigit()
            reset = datetime.fromisoformat(headers["anthropic-ratelimit-requests-reset"])
            assert 0 < (reset - datetime.now(UTC)).total_seconds() <= 6
            assert body["error"]["type"] == "rate_limit_error"
            assert 0.5 < float(headers["retry-after"]) <= 2
        else:
            assert not [name for name in names if "ratelimit" in name or "retry" in name]
            details = {detail["@type"].rpartition(".")[2]: detail for detail in body["error"]["details"]}
            assert body["error"]["status"] == "RESOURCE_EXHAUSTED"
            assert details["QuotaFailure"]["violations"][0]["quotaValue"] == "30"
            assert 0.5 < float(details["RetryInfo"]["retryDelay"].removesuffix("s")) <= 2
        ledger = simulator.ledger
        assert (ledger.served, ledger.limited, ledger.by_status["429"]) == (2, 1, 1)
        denied = [entry for entry in ledger.entries.values() if not entry.served]
        assert [entry.billed_usd for entry in denied] == [0]


async def test_healthy_answers_carry_the_rate_headers_too():
    async with simulated(limits=ServerLimits(requests_per_minute=120)) as (_, session):
        _, headers, _ = await post(session, Reader("openai"), Reader("openai").body("Question: Who?"))
        assert (headers["x-ratelimit-limit-requests"], headers["x-ratelimit-remaining-requests"]) == ("120", "119")
        _, headers, _ = await post(session, Reader("anthropic"), Reader("anthropic").body("Question: Who?"))
        assert headers["anthropic-ratelimit-requests-remaining"] == "118"


async def test_a_full_server_says_so_in_the_providers_words(reader):
    async with simulated(max_concurrency=2, latency=0.1) as (simulator, session):
        bodies = [reader.body(f"Question: Who is number {number}?") for number in range(5)]
        answers = await asyncio.gather(*(attempt(session, reader, body) for body in bodies))
        full = {"openai": 503, "anthropic": 529, "gemini": 503}[reader.wire]
        assert sorted(status for status, _, _ in answers) == [200, 200, full, full, full]
        assert (simulator.ledger.peak_in_flight, simulator.ledger.overloaded) == (2, 3)


def test_a_retry_after_comes_in_the_style_that_is_asked_for():
    now = 1_800_000_000.25
    assert retry_headers("seconds", 1.2345, now) == {"retry-after": "1.235"}
    assert retry_headers("milliseconds", 0.25, now) == {"retry-after": "0.25", "retry-after-ms": "250"}
    date = parsedate_to_datetime(retry_headers("date", 2.0, now)["retry-after"])
    assert date.timestamp() == 1_800_000_003


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0.0, "0ms"),
        (0.02, "20ms"),
        (1.5, "1.5s"),
        (60, "1m0s"),
        (360, "6m0s"),
        (3723.004, "1h2m3.004s"),
        (7200, "2h0m0s"),
    ],
)
def test_durations_are_written_as_go_does(seconds, text):
    assert go_duration(seconds) == text


# --- money and the account


async def test_the_account_over_http_adds_up(reader):
    async with simulated(price=("0.1", "0.7"), faults={"500": 0.2, "garbage": 0.2, "safety": 0.2}) as (
        simulator,
        session,
    ):
        bodies = [reader.body(PACK.answer(f"What colour is cup {number}?")) for number in range(20)] * 3
        for body in bodies:
            await attempt(session, reader, body)
        async with session.get("/ledger") as response:
            account = await response.json()
        totals, requests = account["totals"], account["requests"].values()
        assert totals["requests"] == 60 == sum(request["seen"] for request in requests)
        assert totals["different_requests"] == 20
        assert sum(totals["by_status"].values()) == 60
        for name in ("served", "healthy", "input_tokens", "output_tokens"):
            assert totals[name] == sum(request[name] for request in requests) > 0
        assert totals["served"] == totals["healthy"] + totals["faults"]["safety"]
        billed = sum(Fraction(request["billed_usd_exact"]) for request in requests)
        assert billed == Fraction(totals["billed_usd_exact"]) == simulator.ledger.billed_usd
        assert billed == Fraction(totals["input_tokens"] + 7 * totals["output_tokens"], 10_000_000)
        assert Fraction(totals["served_usd_exact"]) < billed
        async with session.get("/ledger?requests=0") as response:
            assert (await response.json()) == {"totals": totals}
        async with session.post("/ledger/reset") as response:
            assert (await response.json())["totals"]["requests"] == 0


async def test_a_request_is_known_again_whatever_does_not_matter_in_it():
    reader = Reader("openai")
    async with simulated() as (simulator, session):
        body = reader.body("Question: Who?")
        for variant in (body, dict(reversed(body.items())), body | {"user": "me", "metadata": {"run": "2"}}):
            await post(session, reader, variant)
        assert [entry.seen for entry in simulator.ledger.entries.values()] == [3]
        for variant in (
            body | {"seed": 1},
            body | {"model": "gpt-4o-mini"},
            reader.body("Question: Who?", picture(colour="blue")),
        ):
            await post(session, reader, variant)
        assert len(simulator.ledger.entries) == 4


async def test_spent_credit_turns_every_further_request_away(reader):
    async with simulated(price=(2000, 2000), credit_usd=1) as (simulator, session):
        statuses = [
            (await attempt(session, reader, reader.body(PACK.answer(f"What colour is cup {number}?"))))[0]
            for number in range(8)
        ]
        exhausted = 400 if reader.wire == "anthropic" else 429
        assert statuses[0] == 200
        assert statuses[-1] == exhausted
        assert simulator.ledger.billed_usd <= 1


def test_a_float_price_is_the_decimal_number_that_it_prints_as():
    assert exact(0.15) == exact("0.15") == Fraction(3, 20)
    with pytest.raises(UserError, match="no amount of money"):
        exact("cheap")
    with pytest.raises(UserError, match="no amount of money"):
        exact(float("inf"))


@pytest.mark.parametrize(
    ("width", "height", "openai", "anthropic", "gemini"),
    [
        (512, 512, 255, 361, 258),
        (384, 384, 255, 196, 258),
        (1024, 1024, 765, 1369, 4 * 258),
        (2048, 4096, 1105, 74 * 147, 18 * 258),
        (100, 2000, 85 + 170 * 4, 4 * 72, 3 * 258),
    ],
)
def test_images_cost_what_each_providers_formula_says(width, height, openai, anthropic, gemini):
    image = Picture("id", "image/png", width, height)
    assert (openai_tokens(image), anthropic_tokens(image), gemini_tokens(image)) == (openai, anthropic, gemini)


@pytest.mark.parametrize("kind", ["JPEG", "PNG"])
@pytest.mark.parametrize("size", [(1, 1), (640, 480), (31, 2000)])
def test_the_size_is_read_from_the_files_header(kind, size):
    found = Pictures().read(base64.b64encode(picture(kind, size)).decode())
    assert (found.width, found.height, found.media_type) == (*size, f"image/{kind.lower()}")


def test_a_jpeg_with_long_metadata_and_progressive_scans_is_read_as_well():
    stream = io.BytesIO()
    Image.new("RGB", (70, 50)).save(
        stream, "JPEG", progressive=True, comment=b"x" * 5000, exif=b"Exif\0\0" + b"\0" * 3000
    )
    found = Pictures().read(base64.b64encode(stream.getvalue()).decode())
    assert (found.width, found.height) == (70, 50)


def test_a_header_cut_short_is_no_image():
    for data in (JPEG[:20], picture("PNG")[:20]):
        with pytest.raises(PictureError):
            Pictures().read(base64.b64encode(data).decode())


# --- running it


def test_a_lognormal_latency_has_the_quantiles_that_are_stated():
    latency = Lognormal(p50_s=0.2, p99_s=2.0)
    assert latency.quantile(0.5) == pytest.approx(0.2)
    assert latency.quantile(0.99) == pytest.approx(2.0)
    assert 0 < latency.quantile(0.0) < latency.quantile(0.1) < 0.2


@pytest.mark.parametrize("latency", [0.05, Lognormal(p50_s=0.05, p99_s=0.05)])
async def test_a_reply_takes_its_latency(latency):
    reader = Reader("openai")
    async with simulated(latency=latency) as (_, session):
        began = asyncio.get_running_loop().time()
        await post(session, reader, reader.body("Question: Who?"))
        assert asyncio.get_running_loop().time() - began >= 0.045


async def test_serve_listens_until_it_is_cancelled():
    listening: asyncio.Future[Simulator] = asyncio.get_running_loop().create_future()
    server = asyncio.create_task(serve(Simulation(), ready=listening.set_result))
    simulator = await listening
    async with aiohttp.ClientSession() as session:
        async with session.get(f"{simulator.url}/health") as response:
            assert response.status == 200
        server.cancel()
        with pytest.raises(asyncio.CancelledError):
            await server
        with pytest.raises(aiohttp.ClientConnectionError):
            await session.get(f"{simulator.url}/health")


async def test_a_port_in_use_is_the_users_mistake():
    async with Simulator() as first:
        port = int(first.url.rpartition(":")[2])
        with pytest.raises(UserError, match=f"port {port}"):
            await Simulator(port=port).__aenter__()


def test_an_application_carries_its_account():
    assert application(Simulation())[LEDGER].requests == 0


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"faults": {"502": 0.1}}, "'502' is none; choose from"),
        ({"faults": {"500": 1.1}}, "500 has probability"),
        ({"faults": {"500": 0.6, "503": 0.6}}, "add up to 1.2"),
        ({"latency": -1.0}, "give 0 or more"),
        ({"max_concurrency": 0}, "at least 1"),
        ({"models": ()}, "name at least one"),
        ({"price": (-1, 0)}, "amounts of 0 or more"),
        ({"price": ("x", 0)}, "no amount of money"),
    ],
)
def test_settings_that_make_no_sense_are_refused_in_one_line(settings, words):
    with pytest.raises(UserError, match=words) as caught:
        Simulation(**settings)
    assert "\n" not in str(caught.value)


def test_limits_and_latencies_that_make_no_sense_are_refused():
    with pytest.raises(UserError, match="requests_per_minute is 0"):
        ServerLimits(requests_per_minute=0)
    with pytest.raises(UserError, match="0 < p50 <= p99"):
        Lognormal(p50_s=2, p99_s=1)
