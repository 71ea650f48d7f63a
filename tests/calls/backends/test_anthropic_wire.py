"""Anthropic's Messages API: what is sent, against what litellm sends, and what bodies mean, against what litellm reads."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import orjson
import pytest
from doubles import IMAGE, request
from hypothesis import given
from hypothesis import strategies as st
from oracle import conversation, differences, oracle, recorded

from unsaf_async.calls.backends.anthropic_wire import AnthropicWire, thinking_of
from unsaf_async.calls.backends.http import HttpBackend
from unsaf_async.prompts import QUESTIONS, VERDICT
from unsaf_async.providers.load_profiles import load_profiles
from unsaf_async.providers.prices import price_map
from unsaf_async.records import Message, Reply, Sampling, Target, Usage
from unsaf_async.simulate.server import Simulator
from unsaf_async.simulate.settings import Simulation

pytestmark = [
    pytest.mark.filterwarnings("ignore::DeprecationWarning:litellm"),
    pytest.mark.filterwarnings("ignore::DeprecationWarning:aiohttp"),
    pytest.mark.filterwarnings("ignore::UserWarning:pydantic"),
]

WIRE = AnthropicWire()
PROFILES = {
    profile.model: profile
    for endpoint in load_profiles([Path(__file__).parents[3] / "providers"])
    if endpoint.vendor == "anthropic"
    for profile in endpoint.profiles()
}
COUNTS = {"input_tokens": 12, "output_tokens": 3, "cache_read_input_tokens": 0, "cache_creation_input_tokens": 0}


def whole(*blocks, **fields):
    body = {
        "id": "msg_01",
        "type": "message",
        "role": "assistant",
        "model": "claude-sonnet-5-5",
        "content": list(blocks) or [{"type": "text", "text": "A cat."}],
        "stop_reason": "end_turn",
        "stop_sequence": None,
        "stop_details": None,
        "usage": COUNTS | {"service_tier": "standard"},
    }
    return body | fields


def text(words):
    return {"type": "text", "text": words}


def target(model="anthropic/claude-sonnet-5-5", **extra):
    return Target("x", model, extra=extra)


# --- what is sent ---


def test_the_model_goes_out_without_litellms_prefix_and_only_without_that() -> None:
    for model, sent in (
        ("anthropic/claude-sonnet-5-5", "claude-sonnet-5-5"),
        ("claude-opus-5", "claude-opus-5"),
        ("gateway/anthropic/claude-opus-5", "gateway/anthropic/claude-opus-5"),
    ):
        assert WIRE.outgoing(request(target=target(model))).body["model"] == sent


def test_the_key_and_the_protocols_version_are_headers() -> None:
    assert WIRE.headers("a-key") == {"anthropic-version": "2023-06-01", "x-api-key": "a-key"}
    assert WIRE.headers(None) == {"anthropic-version": "2023-06-01"}


@pytest.mark.parametrize(
    "endpoint", ["", "https://gateway.example", "https://gateway.example/v1", "https://a.example/v1/"]
)
def test_no_endpoint_gets_the_version_twice(endpoint: str) -> None:
    wire = AnthropicWire(endpoint)
    base = (endpoint or wire.endpoint).rstrip("/")
    assert (base + wire.outgoing(request()).path).count("/v1") == 1
    assert (base + wire.models_path).count("/v1") == 1
    assert (base + wire.outgoing(request()).path).endswith("/v1/messages")


def test_an_image_goes_before_its_text_and_the_system_turn_has_a_place_of_its_own() -> None:
    sent = WIRE.outgoing(
        request(messages=(Message("system", "Be brief."), Message("user", "What is this?", IMAGE)))
    ).body
    source = {"type": "base64", "media_type": "image/jpeg", "data": "/9hpbWFnZQ=="}
    assert sent["messages"] == [
        {"role": "user", "content": [{"type": "image", "source": source}, text("What is this?")]}
    ]
    assert sent["system"] == [text("Be brief.")]


def test_what_the_protocol_does_not_have_and_what_is_none_is_not_sent() -> None:
    given_all = Sampling(max_output_tokens=9, temperature=0.5, top_p=0.9, seed=7, logprobs=True)
    sent = WIRE.outgoing(request(sampling=given_all, target=target())).body
    assert sent.keys() == {"model", "messages", "max_tokens", "temperature", "top_p"}
    sent = WIRE.outgoing(request(sampling=Sampling(max_output_tokens=9), target=target())).body
    assert sent.keys() == {"model", "messages", "max_tokens"}


def test_further_fields_are_merged_into_the_body_as_they_are() -> None:
    extra = {"top_k": 5, "output_config": {"effort": "max"}, "thinking": {"type": "disabled"}}
    call = request(target=target(**extra), schema=VERDICT)
    sent = WIRE.outgoing(call).body
    assert sent["top_k"] == 5
    assert sent["thinking"] == {"type": "disabled"}
    assert sent["output_config"] == {"effort": "max", "format": {"type": "json_schema", "schema": VERDICT.schema}}
    assert call.target.extra == extra, "the request is as it was"
    orjson.dumps(sent)


def test_an_effort_that_nobody_knows_goes_out_and_is_the_services_to_refuse() -> None:
    assert thinking_of("claude-sonnet-5-5", "heroic")["output_config"] == {"effort": "heroic"}
    assert thinking_of("claude-haiku-4-5", "heroic")["output_config"] == {"effort": "heroic"}
    assert "reasoning_effort" not in WIRE.outgoing(request(target=target(reasoning_effort="low"))).body


DIFFERENT_BODIES = {
    "thinking.display": "litellm asks for a summary of the thoughts, which nobody here reads",
}
"""By path in the body. Beside these, litellm sends a schema by its beta name, `output_format`, with a header of the beta; it is
`output_config.format` since, without a header: https://platform.claude.com/docs/en/build-with-claude/structured-outputs"""


async def test_for_every_model_the_body_is_litellms_or_the_difference_is_explained() -> None:
    found = set()
    async with oracle() as litellm:
        for profile in PROFILES.values():
            for schema in (None, VERDICT, QUESTIONS["answerable"], QUESTIONS["unanswerable"]):
                call = conversation(profile, litellm.endpoint, schema)
                await litellm.read(call, whole())
                theirs, ours = litellm.sent, WIRE.outgoing(call)
                if schema:
                    theirs.setdefault("output_config", {})["format"] = theirs.pop("output_format")
                found |= set(differences(theirs, ours.body))
                assert litellm.path == ours.path
                assert WIRE.headers("a-key").items() <= {k.lower(): v for k, v in litellm.headers.items()}.items()
    assert found == set(DIFFERENT_BODIES)


def test_every_word_for_an_effort_is_translated_as_litellm_does_for_every_model_that_it_knows() -> None:
    from unsaf_async.calls.backends.litellm import _import

    litellm = _import()
    models = {model for model, entry in price_map().items() if entry.get("litellm_provider") == "anthropic"}
    thinking = {model for model in models if price_map()[model].get("supports_reasoning") and "/" not in model}
    assert len(thinking) > len(PROFILES)
    for model in thinking:
        for effort in ("none", "minimal", "low", "medium", "high"):
            theirs = litellm.get_optional_params(model=model, custom_llm_provider="anthropic", reasoning_effort=effort)
            theirs = {name: theirs[name] for name in ("thinking", "output_config") if name in theirs}
            theirs.get("thinking", {}).pop("display", None)
            assert thinking_of(model, effort) == theirs, (model, effort)


# --- what comes back ---


def test_a_plain_reply_is_read() -> None:
    assert WIRE.reply(whole()) == Reply(
        "ok",
        "A cat.",
        finish_reason="end_turn",
        usage=Usage(input_tokens=12, output_tokens=3),
        model="claude-sonnet-5-5",
    )


@pytest.mark.parametrize(
    ("body", "outcome"),
    [
        (whole(stop_reason="stop_sequence", stop_sequence="###"), "ok"),
        (whole(stop_reason="tool_use"), "ok"),
        (whole(stop_reason="max_tokens"), "truncated"),
        (whole({"type": "thinking", "thinking": "Hm"}, stop_reason="max_tokens"), "truncated"),
        (whole(stop_reason="model_context_window_exceeded"), "truncated"),
        (whole(stop_reason="refusal"), "refused"),
        (whole(content=[], stop_reason="refusal"), "refused"),
        (whole(content=[]), "unreadable"),
        (whole(text(" \n")), "unreadable"),
        (whole({"type": "tool_use", "id": "t", "name": "f", "input": {}}, stop_reason="tool_use"), "unreadable"),
        (whole({"type": "thinking", "thinking": "A cat."}), "unreadable"),
        (whole(stop_reason="pause_turn"), "interrupted"),
        (whole(stop_reason="something_new"), "interrupted"),
        (whole(stop_reason=None), "interrupted"),
        (whole(stop_reason=7), "interrupted"),
    ],
)
async def test_how_a_reply_ended_is_its_outcome_and_it_is_billed(body, outcome) -> None:
    found = WIRE.reply(body)
    assert found.outcome == outcome
    assert bool(found.detail) == (outcome != "ok")
    assert found.finish_reason == (body["stop_reason"] if isinstance(body["stop_reason"], str) else None)
    assert found.usage == Usage(input_tokens=12, output_tokens=3)


def test_the_text_is_that_of_the_text_blocks_in_their_order() -> None:
    blocks = (
        {"type": "thinking", "thinking": "It has fur.", "signature": "x"},
        text("A "),
        {"type": "redacted_thinking", "data": "x"},
        {"type": "server_tool_use", "id": "s", "name": "web_search", "input": {}},
        {"type": "something_new", "text": "not this"},
        text("cat."),
        "nor this",
        {"type": "text", "text": None},
    )
    assert WIRE.reply(whole(*blocks)).text == "A cat."


@pytest.mark.parametrize(
    ("details", "said"),
    [
        ({"type": "refusal", "category": "bio", "explanation": "No\nweapons."}, "category bio): No weapons."),
        ({"type": "refusal", "category": "cyber", "explanation": None}, "category cyber)"),
        ({"type": "refusal", "category": None, "explanation": "Not this."}, "refusal): Not this."),
        ({"type": "refusal", "category": None, "explanation": None}, "(stop reason refusal)"),
        (None, "(stop reason refusal)"),
        ("no object", "(stop reason refusal)"),
    ],
)
def test_a_refusal_names_its_category_and_keeps_the_text_before_it(details, said: str) -> None:
    found = WIRE.reply(whole(text("I can"), stop_reason="refusal", stop_details=details))
    assert (found.outcome, found.text) == ("refused", "I can")
    assert said in found.detail
    assert "\n" not in found.detail


def test_all_input_is_counted_wherever_it_came_from() -> None:
    usage = COUNTS | {"cache_read_input_tokens": 100, "cache_creation_input_tokens": 20, "output_tokens": 30}
    usage["output_tokens_details"] = {"thinking_tokens": 25}
    assert WIRE.reply(whole(usage=usage)).usage == Usage(
        input_tokens=132, cached_input_tokens=100, cache_write_tokens=20, output_tokens=30, reasoning_tokens=25
    )


def test_of_several_calls_of_models_for_one_reply_all_are_counted() -> None:
    compaction = COUNTS | {"type": "compaction", "input_tokens": 1000, "cache_creation_input_tokens": 500}
    usage = COUNTS | {"iterations": [compaction, COUNTS | {"type": "message"}]}
    assert WIRE.reply(whole(usage=usage)).usage == Usage(input_tokens=1512, cache_write_tokens=500, output_tokens=6)


@pytest.mark.parametrize("broken", [float("nan"), float("inf"), -1, "many", [], {}, True, 1e400])
def test_a_count_that_is_none_costs_no_reply_and_is_booked_at_the_worst_where_money_rests_on_it(broken) -> None:
    for name in COUNTS:
        found = WIRE.reply(whole(usage=COUNTS | {name: broken}))
        assert (found.outcome, found.text, found.usage) == ("ok", "A cat.", Usage())
    found = WIRE.reply(whole(usage=COUNTS | {"output_tokens_details": {"thinking_tokens": broken}}))
    assert found.usage.output_tokens == 3
    assert found.usage.reasoning_tokens in (0, 1)
    for usage in (broken, {}, None, {"iterations": broken}):
        assert WIRE.reply(whole(usage=usage)) == replace(WIRE.reply(whole()), usage=Usage())
    assert WIRE.reply(whole(usage={"input_tokens": "12", "output_tokens": 3.0, "iterations": broken})).usage == Usage(
        input_tokens=12, output_tokens=3
    )


@pytest.mark.parametrize("body", [{}, {"content": None}, {"content": "A cat."}, {"type": "message"}])
def test_a_body_without_content_is_no_reply(body) -> None:
    with pytest.raises(ValueError, match="no content"):
        WIRE.reply(body)


def test_half_an_emoji_does_not_reach_a_file() -> None:
    found = WIRE.reply(json.loads(json.dumps(whole(text("A cat \ud83d"), model="\ud83d"))))
    assert (found.text, found.model) == ("A cat ?", "?")


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)


@given(st.fixed_dictionaries({}, optional=dict.fromkeys(whole(), JSON)))
def test_whatever_stands_in_a_body_it_is_a_reply_or_none(fields) -> None:
    try:
        found = WIRE.reply(whole() | fields)
    except ValueError:
        assert not isinstance(fields["content"], list)
    else:
        orjson.dumps([found.text, found.detail, found.model, found.finish_reason])
        assert found.outcome != "ok" or found.finish_reason


def test_the_list_of_models_is_read() -> None:
    body = {
        "data": [{"type": "model", "id": "claude-opus-5"}, {"id": "claude-haiku-5-5"}, {"id": 7}, None],
        "has_more": False,
    }
    assert WIRE.models(body) == ["claude-opus-5", "claude-haiku-5-5"]
    for broken in ({}, {"data": "x"}):
        with pytest.raises(ValueError, match="no models"):
            WIRE.models(broken)


# --- as litellm reads it, as it was recorded ---

READ_OTHERWISE = {
    ("outcome", "refused", "blocked"): "litellm folds a refusal into content_filter and drops the stop reason",
    ("reasoning_tokens",): "where the service does not count the thoughts, litellm counts their summary itself",
}
"""(field, ours, litellm's), or the field alone: why the two differ."""

SHAPES = {
    "plain": whole(),
    "cut": whole(stop_reason="max_tokens"),
    "window": whole(stop_reason="model_context_window_exceeded"),
    "stop sequence": whole(stop_reason="stop_sequence", stop_sequence="###"),
    "thoughts": whole({"type": "thinking", "thinking": "It has fur.", "signature": "x"}, text("A cat.")),
    "counted thoughts": whole(usage=COUNTS | {"output_tokens": 30, "output_tokens_details": {"thinking_tokens": 25}}),
    "cache": whole(usage=COUNTS | {"cache_read_input_tokens": 100, "cache_creation_input_tokens": 20}),
    "refusal": whole(text("I can"), stop_reason="refusal", stop_details={"type": "refusal", "category": "bio"}),
    "paused": whole(stop_reason="pause_turn"),
    "no text": whole(content=[]),
    "several blocks": whole(text("A "), text("cat.")),
}


def read_otherwise(ours: Reply, theirs: Reply) -> set[tuple[str, ...]]:
    """The differences, as `READ_OTHERWISE` has them."""
    counts = ("input_tokens", "cached_input_tokens", "cache_write_tokens", "output_tokens")
    found: set[tuple[str, ...]] = {
        (name,) for name in counts if getattr(ours.usage, name) != getattr(theirs.usage, name)
    }
    found |= {("reasoning_tokens",)} if ours.usage.reasoning_tokens != theirs.usage.reasoning_tokens else set()
    found |= {("outcome", ours.outcome, theirs.outcome)} if ours.outcome != theirs.outcome else set()
    return found | ({("text", ours.outcome)} if ours.text != theirs.text else set())


async def test_litellm_reads_alike_or_the_difference_is_explained() -> None:
    found = set()
    async with oracle() as litellm:
        call = request(target=Target("x", "anthropic/claude-sonnet-5-5", litellm.endpoint), sampling=Sampling(100))
        for name, body in (SHAPES | {row["id"]: row["body"] for row in recorded("anthropic")}).items():
            different = read_otherwise(WIRE.reply(body), await litellm.read(call, body))
            assert different <= READ_OTHERWISE.keys(), name
            found |= different
    assert found == set(READ_OTHERWISE)


@pytest.mark.parametrize("row", recorded("anthropic"), ids=lambda row: row["id"])
def test_a_recorded_answer_is_read_as_documented(row) -> None:
    body, found = row["body"], WIRE.reply(row["body"])
    spoken = "".join(block["text"] for block in body["content"] if block["type"] == "text")
    documented = {"refusal": "refused", "max_tokens": "truncated", "model_context_window_exceeded": "truncated"}
    assert found.text == spoken
    assert found.outcome == documented.get(body["stop_reason"], "ok" if spoken.strip() else "unreadable")
    assert (found.finish_reason, found.model) == (body["stop_reason"], body["model"])
    calls = body["usage"].get("iterations") or [body["usage"]]
    kinds = ("input_tokens", "cache_read_input_tokens", "cache_creation_input_tokens")
    assert found.usage.input_tokens == sum(call.get(kind) or 0 for call in calls for kind in kinds)
    assert found.usage.output_tokens == sum(call["output_tokens"] for call in calls)


# --- over a socket ---


@pytest.mark.parametrize("version", ["", "/v1"])
async def test_the_simulated_service_understands_what_is_sent_and_is_understood(version: str) -> None:
    async with Simulator(Simulation(api_key="a-key")) as simulator:
        endpoint = simulator.anthropic_base + version
        backend = HttpBackend(AnthropicWire(endpoint), endpoint, "a-key")
        try:
            for schema in (None, VERDICT):
                asked = request(target=target(reasoning_effort="low"), schema=schema, sampling=Sampling(100))
                found = await backend.complete(asked)
                assert (found.outcome, found.finish_reason, found.model) == ("ok", "end_turn", "claude-sonnet-5-5")
                assert found.usage.input_tokens
                assert found.usage.output_tokens
            assert await backend.models()
        finally:
            await backend.aclose()
