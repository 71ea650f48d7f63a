"""Google's generateContent: what is sent, against what litellm sends, and what bodies mean, against what litellm reads."""

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

from unsaf_async.calls.backends.gemini_wire import FINISH_REASONS, GeminiWire, thinking_of
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

WIRE = GeminiWire()
PROFILES = {
    profile.model: profile
    for endpoint in load_profiles([Path(__file__).parents[3] / "providers"])
    if endpoint.vendor == "gemini"
    for profile in endpoint.profiles()
}
COUNTS = {"promptTokenCount": 12, "candidatesTokenCount": 3, "totalTokenCount": 15}


def whole(*parts, **candidate):
    content = {"role": "model", "parts": list(parts) or [{"text": "A cat."}]}
    return {
        "candidates": [{"content": content, "finishReason": "STOP", "index": 0} | candidate],
        "usageMetadata": dict(COUNTS),
        "modelVersion": "gemini-3.8-flash",
        "responseId": "x",
    }


def blocked(reason, **feedback):
    usage = {"promptTokenCount": 12, "totalTokenCount": 12}
    return {
        "promptFeedback": {"blockReason": reason} | feedback,
        "usageMetadata": usage,
        "modelVersion": "gemini-3.8-flash",
    }


def target(model="gemini/gemini-3.8-flash", **extra):
    return Target("x", model, extra=extra)


# --- what is sent ---


@pytest.mark.parametrize(
    ("model", "path"),
    [
        ("gemini/gemini-3.8-flash", "/models/gemini-3.8-flash:generateContent"),
        ("gemini-4-argon", "/models/gemini-4-argon:generateContent"),
        ("models/gemini-4-argon", "/models/gemini-4-argon:generateContent"),
        ("gemini/tunedModels/mine", "/tunedModels/mine:generateContent"),
        ("gemini/a?key=b#c", "/models/a%3Fkey%3Db%23c:generateContent"),
    ],
)
def test_the_model_stands_in_the_path_without_litellms_prefix(model: str, path: str) -> None:
    sent = WIRE.outgoing(request(target=target(model)))
    assert sent.path == path
    assert "model" not in sent.body


def test_the_key_is_a_header_and_nowhere_else() -> None:
    assert WIRE.headers("a-key") == {"x-goog-api-key": "a-key"}
    assert WIRE.headers(None) == {}
    assert "key" not in WIRE.models_path


def test_an_image_goes_before_its_text_and_every_role_has_its_place() -> None:
    turns = (Message("system", "Be brief."), Message("user", "What is this?", IMAGE), Message("assistant", "A cat."))
    sent = WIRE.outgoing(request(messages=turns)).body
    image = {"inlineData": {"mimeType": "image/jpeg", "data": "/9hpbWFnZQ=="}}
    assert sent["contents"] == [
        {"role": "user", "parts": [image, {"text": "What is this?"}]},
        {"role": "model", "parts": [{"text": "A cat."}]},
    ]
    assert sent["systemInstruction"] == {"parts": [{"text": "Be brief."}]}


def test_all_of_the_sampling_is_sent_and_what_is_none_is_not() -> None:
    everything = Sampling(max_output_tokens=9, temperature=0.5, top_p=0.9, seed=7, logprobs=True)
    sent = WIRE.outgoing(request(sampling=everything)).body["generationConfig"]
    assert sent == {"maxOutputTokens": 9, "temperature": 0.5, "topP": 0.9, "seed": 7, "responseLogprobs": True}
    sent = WIRE.outgoing(request(sampling=Sampling(max_output_tokens=9))).body
    assert sent.keys() == {"contents", "generationConfig"}
    assert sent["generationConfig"] == {"maxOutputTokens": 9}


def test_further_fields_are_merged_into_the_body_as_they_are() -> None:
    extra = {"generationConfig": {"topK": 5, "seed": 1}, "safetySettings": [{"category": "x"}]}
    call = request(target=target(reasoning_effort="low", **extra), schema=VERDICT, sampling=Sampling(9, seed=7))
    sent = WIRE.outgoing(call).body
    assert sent["safetySettings"] == extra["safetySettings"]
    assert sent["generationConfig"] == {
        "maxOutputTokens": 9,
        "seed": 1,
        "topK": 5,
        "responseMimeType": "application/json",
        "responseJsonSchema": VERDICT.schema,
        "thinkingConfig": {"thinkingLevel": "low"},
    }
    assert call.target.extra["generationConfig"] == {"topK": 5, "seed": 1}, "the request is as it was"
    assert "reasoning_effort" not in sent
    orjson.dumps(sent)


def test_an_effort_that_nobody_knows_goes_out_and_is_the_services_to_refuse() -> None:
    for model in ("gemini-2.5-pro", "gemini-3.8-flash"):
        assert thinking_of(model, "heroic")["generationConfig"]["thinkingConfig"] == {"thinkingLevel": "heroic"}


DIFFERENT_BODIES = {
    "generationConfig.thinkingConfig.includeThoughts": "litellm asks for the thoughts, which nobody here reads",
}
"""By path in the body, with names in camel case: litellm mixes them, and the service takes both."""


async def test_for_every_model_the_body_is_litellms_or_the_difference_is_explained() -> None:
    found = set()
    async with oracle("/v1beta") as litellm:
        for profile in PROFILES.values():
            for schema in (None, VERDICT, QUESTIONS["answerable"], QUESTIONS["unanswerable"]):
                call = conversation(profile, litellm.endpoint, schema)
                await litellm.read(call, whole())
                ours = WIRE.outgoing(call)
                found |= set(differences(litellm.sent, ours.body))
                assert litellm.path == f"/v1beta{ours.path}"
                assert WIRE.headers("a-key").items() <= {k.lower(): v for k, v in litellm.headers.items()}.items()
    assert found == set(DIFFERENT_BODIES)


OTHER_LEVELS = {
    "gemini-flash-latest": "litellm sends minimal, which the model behind that name may refuse; low is taken by all",
    "gemini-flash-lite-latest": "as gemini-flash-latest",
    "gemini-omni-flash-preview": "as gemini-flash-latest",
    "gemini-omni-1.1-flash": "as gemini-flash-latest",
}


def test_every_word_for_an_effort_is_translated_as_litellm_does_for_every_model_that_it_knows() -> None:
    from unsaf_async.calls.backends.litellm import _import

    litellm = _import()
    known = {model for model, entry in price_map().items() if entry.get("litellm_provider") == "gemini"}
    thinking = {model.removeprefix("gemini/") for model in known if price_map()[model].get("supports_reasoning")}
    assert len(thinking) > len(PROFILES)
    otherwise = set()
    for model in thinking:
        for effort in ("none", "disable", "minimal", "low", "medium", "high"):
            theirs = litellm.get_optional_params(model=model, custom_llm_provider="gemini", reasoning_effort=effort)
            theirs = {name: value for name, value in theirs["thinkingConfig"].items() if name != "includeThoughts"}
            ours = thinking_of(model, effort)["generationConfig"]["thinkingConfig"]
            if ours != theirs:
                otherwise.add(model)
                assert (ours, theirs) == ({"thinkingLevel": "low"}, {"thinkingLevel": "minimal"})
    assert otherwise == set(OTHER_LEVELS)


# --- what comes back ---


def test_a_plain_reply_is_read() -> None:
    assert WIRE.reply(whole()) == Reply(
        "ok", "A cat.", finish_reason="STOP", usage=Usage(input_tokens=12, output_tokens=3), model="gemini-3.8-flash"
    )


OUTCOMES = {
    "FINISH_REASON_UNSPECIFIED": "interrupted",
    "STOP": "ok",
    "MAX_TOKENS": "truncated",
    "CONTINUATION": "truncated",
    **dict.fromkeys(
        ["SAFETY", "RECITATION", "LANGUAGE", "OTHER", "BLOCKLIST", "PROHIBITED_CONTENT", "SPII"], "blocked"
    ),
    **dict.fromkeys(["IMAGE_SAFETY", "IMAGE_PROHIBITED_CONTENT", "IMAGE_RECITATION", "IMAGE_OTHER"], "blocked"),
    **dict.fromkeys(["NO_IMAGE", "MODEL_ARMOR", "ESCALATION"], "blocked"),
    **dict.fromkeys(["MALFORMED_FUNCTION_CALL", "UNEXPECTED_TOOL_CALL", "TOO_MANY_TOOL_CALLS"], "interrupted"),
    **dict.fromkeys(["MISSING_THOUGHT_SIGNATURE", "MALFORMED_RESPONSE", "PUP_LIMITED_DISABLED"], "interrupted"),
    "SOMETHING_NEW": "interrupted",
}
"""Every finish reason of google-genai 3.6.1, and one that nobody knows, behind a text."""


@pytest.mark.parametrize(("reason", "outcome"), OUTCOMES.items())
def test_how_a_reply_ended_is_its_outcome_under_its_own_name_and_it_is_billed(reason: str, outcome: str) -> None:
    found = WIRE.reply(whole(finishReason=reason))
    assert (found.outcome, found.finish_reason, found.text) == (outcome, reason, "A cat.")
    assert bool(found.detail) == (outcome != "ok")
    assert found.usage == Usage(input_tokens=12, output_tokens=3)


def test_a_finish_reason_may_be_its_number() -> None:
    assert set(FINISH_REASONS) <= OUTCOMES.keys()
    for number, reason in enumerate(FINISH_REASONS):
        assert WIRE.reply(whole(finishReason=number)) == WIRE.reply(whole(finishReason=reason))
    for number in (-1, len(FINISH_REASONS), True):
        assert WIRE.reply(whole(finishReason=number)).outcome == "interrupted"


def test_a_reply_that_does_not_say_why_it_stopped_is_not_taken_for_whole() -> None:
    body = whole()
    del body["candidates"][0]["finishReason"]
    found = WIRE.reply(body)
    assert (found.outcome, found.finish_reason) == ("interrupted", None)
    assert "missing" in found.detail


def test_what_the_service_says_about_an_ending_is_told() -> None:
    found = WIRE.reply(whole(finishReason="MALFORMED_FUNCTION_CALL", finishMessage="Malformed\ncall: f("))
    assert found.detail.endswith("finish reason MALFORMED_FUNCTION_CALL: Malformed call: f(")
    assert WIRE.reply(whole(finishMessage="Model generated function call(s).")).detail == ""


@pytest.mark.parametrize(
    "reason", ["SAFETY", "OTHER", "PROHIBITED_CONTENT", "IMAGE_SAFETY", "MODEL_ARMOR", "JAILBREAK", "NEW"]
)
def test_a_blocked_request_is_blocked_by_its_reason_and_its_tokens_are_billed(reason: str) -> None:
    body = blocked(reason, blockReasonMessage="Blocked\nby Model Armor.")
    body["usageMetadata"] |= {"thoughtsTokenCount": 40, "cachedContentTokenCount": 5, "totalTokenCount": 52}
    found = WIRE.reply(body)
    assert (found.outcome, found.text, found.finish_reason) == ("blocked", "", reason)
    assert found.detail.endswith(f"(block reason {reason}): Blocked by Model Armor.")
    assert found.usage == Usage(input_tokens=12, cached_input_tokens=5, output_tokens=40, reasoning_tokens=40)
    assert WIRE.reply(body | {"candidates": []}) == found


def test_a_block_reason_may_be_its_number() -> None:
    assert WIRE.reply(blocked(1)).finish_reason == "SAFETY"
    assert WIRE.reply(blocked(99)).finish_reason == "99"


@pytest.mark.parametrize(
    "body",
    [
        {"candidates": [], "usageMetadata": COUNTS},
        {"usageMetadata": COUNTS, "modelVersion": "gemini-3.8-flash"},
        {"candidates": None, "usageMetadata": COUNTS},
        {"promptFeedback": {"safetyRatings": []}, "usageMetadata": COUNTS},
        {"candidates": [{"finishReason": "STOP"}], "usageMetadata": COUNTS},
        {"candidates": [{"content": {"role": "model"}, "finishReason": "STOP"}], "usageMetadata": COUNTS},
        {"candidates": ["A cat."], "usageMetadata": COUNTS},
        whole({"text": " \n"}),
        whole({"text": "It has fur.", "thought": True}),
        whole({"functionCall": {"name": "f", "args": {}}}),
        whole({"functionCall": {"name": "f", "args": {}}}, finishReason="UNEXPECTED_TOOL_CALL"),
    ],
)
def test_a_reply_without_text_is_unreadable_and_billed(body) -> None:
    found = WIRE.reply(body)
    assert found.outcome == "unreadable"
    assert found.detail
    assert found.usage == Usage(input_tokens=12, output_tokens=3)


def test_the_text_is_that_of_the_parts_that_are_no_thoughts() -> None:
    parts = (
        {"text": "It has fur.", "thought": True},
        {"text": "A ", "thoughtSignature": "x"},
        {"executableCode": {"code": "1"}},
        {"inlineData": {"mimeType": "image/png", "data": ""}},
        "nor this",
        {"text": "cat."},
        {"text": None},
        {"text": "", "thoughtSignature": "x"},
    )
    assert WIRE.reply(whole(*parts)).text == "A cat."


def test_all_that_was_read_and_written_is_counted() -> None:
    usage = {"promptTokenCount": 100, "toolUsePromptTokenCount": 20, "cachedContentTokenCount": 60}
    usage |= {"candidatesTokenCount": 3, "thoughtsTokenCount": 40, "totalTokenCount": 163}
    assert WIRE.reply(whole() | {"usageMetadata": usage}).usage == Usage(
        input_tokens=120, cached_input_tokens=60, output_tokens=43, reasoning_tokens=40
    )


@pytest.mark.parametrize("broken", [float("nan"), float("inf"), -1, "many", [], {}, True, 1e400])
def test_a_count_that_is_none_costs_no_reply_and_is_booked_at_the_worst_where_money_rests_on_it(broken) -> None:
    for name in ("promptTokenCount", "candidatesTokenCount", "thoughtsTokenCount", "toolUsePromptTokenCount"):
        found = WIRE.reply(whole() | {"usageMetadata": COUNTS | {name: broken}})
        assert (found.outcome, found.text, found.usage) == ("ok", "A cat.", Usage())
    found = WIRE.reply(
        whole() | {"usageMetadata": COUNTS | {"cachedContentTokenCount": broken, "totalTokenCount": broken}}
    )
    assert found.usage == Usage(input_tokens=12, output_tokens=3)
    for usage in (broken, {}, None):
        assert WIRE.reply(whole() | {"usageMetadata": usage}) == replace(WIRE.reply(whole()), usage=Usage())
    usage = {"promptTokenCount": "12", "candidatesTokenCount": 3.0, "cachedContentTokenCount": 13}
    assert WIRE.reply(whole() | {"usageMetadata": usage}).usage == Usage(input_tokens=12, output_tokens=3)
    assert WIRE.reply(whole(avgLogprobs=broken, safetyRatings=broken, citationMetadata=broken)).outcome == "ok"


def test_log_probabilities_are_those_of_the_tokens_that_were_chosen() -> None:
    chosen = [{"token": "A", "logProbability": -0.1}, {"token": " cat.", "logProbability": -0.2}]
    assert WIRE.reply(whole(logprobsResult={"chosenCandidates": chosen})).logprobs == (-0.1, -0.2)
    for broken in (float("nan"), None, "x"):
        result = {"chosenCandidates": [*chosen, {"token": "!", "logProbability": broken}]}
        assert WIRE.reply(whole(logprobsResult=result)).logprobs is None
    assert WIRE.reply(whole()).logprobs is None


@pytest.mark.parametrize(
    "body", [{}, {"candidates": "A cat."}, {"candidates": {}}, {"modelVersion": "gemini-3.8-flash"}]
)
def test_a_body_without_candidates_or_a_word_on_why_is_no_reply(body) -> None:
    with pytest.raises(ValueError, match="no candidates"):
        WIRE.reply(body)


def test_half_an_emoji_does_not_reach_a_file() -> None:
    found = WIRE.reply(json.loads(json.dumps(whole({"text": "A cat \ud83d"}, finishReason="MAX_TOKENS"))))
    assert found.text == "A cat ?"


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)


@given(
    st.fixed_dictionaries({}, optional=dict.fromkeys([*whole(), "promptFeedback"], JSON)),
    st.fixed_dictionaries(
        {}, optional=dict.fromkeys(["content", "finishReason", "finishMessage", "logprobsResult"], JSON)
    ),
)
def test_whatever_stands_in_a_body_it_is_a_reply_or_none(fields, candidate) -> None:
    try:
        found = WIRE.reply(whole(**candidate) | fields)
    except ValueError:
        assert not isinstance(fields["candidates"], list | None)
    else:
        orjson.dumps([found.text, found.detail, found.model, found.finish_reason])
        assert found.outcome != "ok" or found.finish_reason


def test_the_list_of_models_is_read() -> None:
    body = {"models": [{"name": "models/gemini-3.8-flash"}, {"name": "tunedModels/mine"}, {"name": 7}, None]}
    assert WIRE.models(body) == ["gemini-3.8-flash", "tunedModels/mine"]
    for broken in ({}, {"models": "x"}):
        with pytest.raises(ValueError, match="no models"):
            WIRE.models(broken)


# --- as litellm reads it, as it was recorded ---

READ_OTHERWISE = {
    ("text", "blocked"): "litellm drops the text before the point where a filter stopped it",
    (
        "input_tokens",
    ): "litellm leaves out what a search read, for Google bills a search by the query; here the dearer holds",
    ("output_tokens",): "as input_tokens",
}
"""(field, ours, litellm's), or the field alone: why the two differ."""

SHAPES = {
    "plain": whole(),
    "cut": whole(finishReason="MAX_TOKENS"),
    "cut, by number": whole(finishReason=2) | {"candidates": [{"content": {"role": "model"}, "finishReason": 2}]},
    "thoughts": whole({"text": "It has fur.", "thought": True}, {"text": "A cat.", "thoughtSignature": "x"})
    | {"usageMetadata": COUNTS | {"thoughtsTokenCount": 40, "totalTokenCount": 55}},
    "cache": whole() | {"usageMetadata": COUNTS | {"cachedContentTokenCount": 5}},
    "tools": whole() | {"usageMetadata": COUNTS | {"toolUsePromptTokenCount": 20, "totalTokenCount": 35}},
    "a search": whole(groundingMetadata={"webSearchQueries": ["cats"]})
    | {"usageMetadata": COUNTS | {"toolUsePromptTokenCount": 20, "totalTokenCount": 35}},
    "filtered": whole(finishReason="SAFETY"),
    "armour": whole(finishReason="MODEL_ARMOR"),
    "blocked": blocked("PROHIBITED_CONTENT"),
    "something new": whole(finishReason="SOMETHING_NEW"),
    "no text": whole({"functionCall": {"name": "f", "args": {}}}),
    "several parts": whole({"text": "A "}, {"text": "cat."}),
}


def read_otherwise(ours: Reply, theirs: Reply) -> set[tuple[str, ...]]:
    """The differences, as `READ_OTHERWISE` has them."""
    counts = ("input_tokens", "cached_input_tokens", "output_tokens", "reasoning_tokens")
    found: set[tuple[str, ...]] = {
        (name,) for name in counts if getattr(ours.usage, name) != getattr(theirs.usage, name)
    }
    found |= {("outcome", ours.outcome, theirs.outcome)} if ours.outcome != theirs.outcome else set()
    return found | ({("text", ours.outcome)} if ours.text != theirs.text else set())


async def test_litellm_reads_alike_or_the_difference_is_explained() -> None:
    found = set()
    async with oracle("/v1beta") as litellm:
        call = request(target=Target("x", "gemini/gemini-3.8-flash", litellm.endpoint), sampling=Sampling(100))
        for name, body in (SHAPES | {row["id"]: row["body"] for row in recorded("gemini")}).items():
            different = read_otherwise(WIRE.reply(body), await litellm.read(call, body))
            assert different <= READ_OTHERWISE.keys(), name
            found |= different
    assert found == set(READ_OTHERWISE)


@pytest.mark.parametrize("row", recorded("gemini"), ids=lambda row: row["id"])
def test_a_recorded_answer_is_read_as_documented(row) -> None:
    body, found = row["body"], WIRE.reply(row["body"])
    candidate = body["candidates"][0]
    parts = candidate["content"].get("parts", [])
    spoken = "".join(part.get("text", "") for part in parts if not part.get("thought"))
    reason = candidate["finishReason"]
    assert found.text == spoken
    assert found.outcome == ("truncated" if reason in ("MAX_TOKENS", 2) else "ok" if spoken.strip() else "unreadable")
    assert found.finish_reason == {1: "STOP", 2: "MAX_TOKENS"}.get(reason, reason)
    assert found.model == body["modelVersion"]
    counts = body["usageMetadata"]
    assert found.usage.input_tokens == counts["promptTokenCount"] + counts.get("toolUsePromptTokenCount", 0)
    assert found.usage.input_tokens + found.usage.output_tokens == counts["totalTokenCount"]


# --- over a socket ---


async def test_the_simulated_service_understands_what_is_sent_and_is_understood() -> None:
    async with Simulator(Simulation(api_key="a-key")) as simulator:
        backend = HttpBackend(WIRE, simulator.gemini_base, "a-key")
        try:
            for schema in (None, VERDICT):
                found = await backend.complete(request(target=target(reasoning_effort="low"), schema=schema))
                assert (found.outcome, found.finish_reason, found.model) == ("ok", "STOP", "gemini-3.8-flash")
                assert found.usage.input_tokens
                assert found.usage.output_tokens
            assert await backend.models()
        finally:
            await backend.aclose()
