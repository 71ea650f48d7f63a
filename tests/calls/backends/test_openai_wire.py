"""What the bodies of replies in OpenAI's form mean, as vendors send them, and as nobody should."""

from __future__ import annotations

import json

import orjson
import pytest
from doubles import request
from hypothesis import given
from hypothesis import strategies as st
from oracle import conversation, differences, oracle, recorded

from unsaf_async.calls.backends.openai_wire import OpenAIWire, text_of, usage_of
from unsaf_async.calls.backends.outcome import may_pass, outcome_of
from unsaf_async.errors import CallError
from unsaf_async.prompts import QUESTIONS, VERDICT
from unsaf_async.providers.resolve import all_models
from unsaf_async.records import Reply, Sampling, Target, Usage

WIRE = OpenAIWire()


def whole(message=None, **fields):
    choice = {
        "index": 0,
        "message": {"role": "assistant", "content": "A cat."} if message is None else message,
        "finish_reason": "stop",
    }
    usage = {"prompt_tokens": 12, "completion_tokens": 3, "total_tokens": 15}
    return {"id": "x", "model": "gpt-4o-2024", "choices": [choice | fields.pop("choice", {})], "usage": usage} | fields


def test_a_plain_reply_is_read():
    assert WIRE.reply(whole()) == Reply(
        "ok", "A cat.", finish_reason="stop", usage=Usage(input_tokens=12, output_tokens=3), model="gpt-4o-2024"
    )


@pytest.mark.parametrize(
    ("body", "outcome"),
    [
        (whole(choice={"finish_reason": "length"}), "truncated"),
        (whole({"content": None}, choice={"finish_reason": "length"}), "truncated"),  # the reasoning ate the budget
        (whole({"content": None}, choice={"finish_reason": "content_filter"}), "blocked"),
        (whole(choice={"finish_reason": "content_filter"}), "blocked"),
        (whole({"content": None, "refusal": "I can't help with that."}), "refused"),
        (whole({"content": None}), "unreadable"),
        (whole({"content": " \n"}), "unreadable"),
        (whole({"content": ""}, choice={"finish_reason": "tool_calls"}), "unreadable"),
        (whole(choices=[]), "unreadable"),
        (whole({}), "unreadable"),
        (whole({"content": [{"type": "text", "text": "A "}, {"type": "text", "text": "cat."}]}), "ok"),
        (whole(choice={"finish_reason": None}), "ok"),
    ],
)
def test_how_a_reply_ended_is_its_outcome(body, outcome):
    found = WIRE.reply(body)
    assert found.outcome == outcome
    assert bool(found.detail) == (outcome != "ok")
    assert found.usage == Usage(12, 0, 0, 3, 0)  # all of these were billed


def test_a_refusal_goes_before_a_filter_and_a_filter_before_a_cut():
    assert outcome_of("x", "content_filter", "no")[0] == "refused"
    assert outcome_of("x", "length", "no")[0] == "refused"
    assert outcome_of("x", "stop") == ("ok", "")


def test_parts_without_text_are_passed_over():
    assert text_of([{"type": "text", "text": "a"}, {"type": "image"}, "b", {"text": None}, {"text": "c"}]) == "ac"
    assert text_of(None) == text_of(7) == text_of({"text": "a"}) == ""


def test_half_an_emoji_does_not_reach_a_file():
    """A token limit cuts where it likes; JSON can say half of a surrogate pair, UTF-8 cannot."""
    half = json.loads('"A cat \\ud83d"')
    for content in (half, [{"text": half}]):
        assert text_of(content) == "A cat ?"
    refused = WIRE.reply(whole({"content": None, "refusal": half}))
    orjson.dumps(refused.detail)
    assert text_of("A cat \U0001f600") == "A cat \U0001f600"


def test_thinking_and_cached_tokens_are_counted():
    usage = {"prompt_tokens": 100, "completion_tokens": 50, "prompt_tokens_details": {"cached_tokens": 80},
             "completion_tokens_details": {"reasoning_tokens": 40}}  # fmt: skip
    assert usage_of(usage) == Usage(100, 80, 0, 50, 40)
    assert usage_of({}) == Usage()
    assert usage_of({"prompt_tokens": None, "completion_tokens": 7.0, "prompt_tokens_details": None}) == Usage(
        0, 0, 0, 7, 0
    )


@pytest.mark.parametrize("tokens", [-1, -0.5, 1.5, "twelve", True, [1], {}, float("1e400"), float("nan")])
@pytest.mark.parametrize("name", ["prompt_tokens", "completion_tokens"])
def test_a_count_that_is_none_leaves_the_reply_and_makes_its_cost_unknown(tokens, name):
    """Unknown is booked at the worst case. A negative count would give money back that was never there."""
    reply = WIRE.reply(whole(usage={"prompt_tokens": 12, "completion_tokens": 7, name: tokens}))
    assert (reply.outcome, reply.text) == ("ok", "A cat.")
    assert reply.usage == Usage()


@pytest.mark.parametrize("odd", [float("nan"), float("inf"), "many", -3, 1.5, [], {}, True])
def test_an_odd_side_field_is_dropped_and_the_reply_kept(odd):
    body = whole(
        choice={"logprobs": {"content": [{"logprob": odd}]}},
        usage={
            "prompt_tokens": "12",
            "completion_tokens": 7.0,
            "total_tokens": odd,
            "prompt_tokens_details": {"cached_tokens": odd, "cache_write_tokens": odd},
            "completion_tokens_details": {"reasoning_tokens": odd},
        },
    )
    reply = WIRE.reply(body)
    assert (reply.outcome, reply.text) == ("ok", "A cat.")
    assert reply.usage == Usage(12, 0, 0, 7, 0)
    assert reply.logprobs == ((-3.0,) if odd == -3 else None)
    for side in ("usage", "model", "system_fingerprint"):
        assert WIRE.reply(whole() | {side: odd}).text == "A cat."


def test_tokens_written_to_a_cache_are_counted():
    """OpenAI has a write price from GPT-5.6 on."""
    details = {"cached_tokens": 20, "cache_write_tokens": 60}
    usage = {"prompt_tokens": 100, "completion_tokens": 5, "prompt_tokens_details": details}
    assert usage_of(usage) == Usage(100, 20, 60, 5, 0)
    assert usage_of(usage | {"prompt_tokens": 7}) == Usage(7, 20, 60, 5, 0)  # a host that leaves them out of the prompt


def test_thinking_that_is_only_in_the_total_is_billed():
    """xAI and Gemini's compatible endpoint leave it out of completion_tokens."""
    usage = {"prompt_tokens": 100, "completion_tokens": 5, "total_tokens": 145}
    assert usage_of(usage).output_tokens == 45


@pytest.mark.parametrize(
    "reason",
    [
        "abort",
        "error",
        "repetition",
        "insufficient_system_resource",
        "network_error",
        "pause_turn",
        "a-new-one",
        "STOPPED",
    ],
)
def test_a_text_that_ended_for_a_reason_not_known_to_be_good_is_not_ok(reason):
    reply = WIRE.reply(whole(choice={"finish_reason": reason}))
    assert (reply.outcome, reply.text, reply.finish_reason) == ("interrupted", "A cat.", reason)
    assert reason in reply.detail
    assert may_pass(reason) == (reason in {"abort", "error", "insufficient_system_resource", "network_error"})


@pytest.mark.parametrize(
    ("reason", "outcome"),
    [("sensitive", "blocked"), ("model_context_window_exceeded", "truncated"), ("model_length", "truncated"),
     ("eos", "ok"), ("STOP", "ok"), ("", "ok")],
)  # fmt: skip
def test_hosts_words_for_known_endings_are_read(reason, outcome):
    assert WIRE.reply(whole(choice={"finish_reason": reason})).outcome == outcome


def test_a_choice_without_a_message_was_filtered_by_azure():
    choice = {"finish_reason": "content_filter", "index": 0, "content_filter_results": {"violence": {"filtered": True}}}
    reply = WIRE.reply({"model": "m", "choices": [choice], "usage": {"prompt_tokens": 9, "completion_tokens": 0}})
    assert (reply.outcome, reply.usage) == ("blocked", Usage(9, 0, 0, 0, 0))


def test_an_answer_that_stands_among_the_thoughts_is_none_and_says_so():
    reply = WIRE.reply(whole({"content": None, "reasoning_content": "It is red."}))
    assert reply.outcome == "unreadable"
    assert "reasoning_content" in reply.detail


def test_a_part_that_is_a_thought_is_no_text():
    parts = [{"type": "thinking", "thinking": [{"type": "text", "text": "Hm."}]}, {"type": "text", "text": "Red."}]
    assert text_of(parts) == "Red."


def test_a_finish_reason_that_is_no_text_is_not_known_to_be_good():
    for odd in (7, {"type": "stop"}, ["stop"], True, 0, []):
        reply = WIRE.reply(whole(choice={"finish_reason": odd}))
        assert (reply.outcome, reply.finish_reason) == ("interrupted", repr(odd))
        orjson.dumps(reply.finish_reason)


@pytest.mark.parametrize("absurd", [10**9, 10**18, 10**40, 1e30])
def test_a_count_that_no_call_can_have_is_none(absurd):
    assert usage_of({"prompt_tokens": 12, "completion_tokens": absurd}) == Usage()
    assert usage_of({"prompt_tokens": 12, "completion_tokens": 7, "total_tokens": absurd}).output_tokens == 7


def test_of_a_reply_that_failed_in_the_middle_what_came_is_booked_and_not_scored():
    """OpenRouter, where the host behind it fails: finish reason `error` may pass at another attempt."""
    failure = {"code": 502, "message": "Upstream error"}
    reply = WIRE.reply(whole({"content": "A c"}, choice={"finish_reason": "stop", "error": failure}))
    assert (reply.outcome, reply.finish_reason, reply.usage.output_tokens) == ("interrupted", "error", 3)
    assert "Upstream error" in reply.detail
    assert WIRE.reply(whole({"content": ""}, choice={"error": failure})).outcome == "unreadable"


def test_log_probabilities_are_read_where_they_are():
    body = whole(
        choice={"logprobs": {"content": [{"token": "A", "logprob": -0.5}, {"token": " cat", "logprob": -9999.0}]}}
    )
    assert WIRE.reply(body).logprobs == (-0.5, -9999.0)
    for none in (None, {}, {"content": None}, {"content": []}):
        assert WIRE.reply(whole(choice={"logprobs": none})).logprobs is None


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["message", "content", "text", "finish_reason"]), inner, max_size=3)
    ),
    max_leaves=6,
)


@given(JSON, JSON, JSON)
def test_whatever_a_body_holds_it_is_a_reply_or_one_of_the_errors_that_the_backends_expect(choices, message, usage):
    for body in (
        {"choices": choices, "usage": usage},
        {"choices": [choices], "usage": usage},
        {"choices": [{"message": message, "finish_reason": choices}], "usage": {"prompt_tokens": usage}},
    ):
        try:
            found = WIRE.reply(body)
        except ValueError:
            continue
        assert isinstance(found.text, str)
        assert found.finish_reason is None or isinstance(found.finish_reason, str)
        assert found.usage.input_tokens >= 0


# --- as litellm reads it, as it was recorded ----------------------------------------------------------------------

DIFFERENT_BODIES = {
    "maxTokens": "litellm keeps the old name for the models that still take it",
    "maxCompletionTokens": "which take this one too: https://platform.openai.com/docs/api-reference/chat/create",
}

READ_OTHERWISE = {
    "text": "litellm takes a thought in the text away; here it is taken away where a response is read, so that it can be seen",
    "error": "litellm fails on parts that are thoughts, on a choice of Azure without a message, and on a null beside them",
}
"""What differs in the reading of a reply, and why."""


async def test_for_every_model_the_body_is_litellms_or_the_difference_is_explained() -> None:
    wire, different = OpenAIWire("max_completion_tokens", vendor="openai"), set()
    profiles = [each.profile for each in all_models() if each.profile.vendor == "openai"]
    assert len(profiles) > 10
    async with oracle("/v1") as litellm:
        for profile in profiles:
            for schema in (None, VERDICT, QUESTIONS["answerable"], QUESTIONS["unanswerable"]):
                call = conversation(profile, litellm.endpoint, schema)
                await litellm.read(call, whole())
                theirs, ours = litellm.sent, wire.outgoing(call)
                different |= set(differences(theirs, ours.body))
                assert litellm.path == f"/v1{ours.path}"
    assert different == set(DIFFERENT_BODIES)
    assert wire.headers("a-key") == {"authorization": litellm.headers["Authorization"]}


@pytest.mark.parametrize("row", recorded("openai"), ids=lambda row: row["id"])
async def test_litellm_reads_a_recorded_answer_alike_or_the_difference_is_explained(row) -> None:
    if not row["body"].get("choices"):
        return  # an error with status 200: the backend's business
    ours = WIRE.reply(row["body"])
    async with oracle("/v1") as litellm:
        call = request(target=Target("x", "openai/gpt-4o", litellm.endpoint), sampling=Sampling(100))
        try:
            theirs = await litellm.read(call, row["body"])
        except CallError:
            assert ours.outcome != "unreadable", "where litellm reads nothing, here something is read"
            return
    assert (ours.outcome, ours.finish_reason, ours.usage) == (theirs.outcome, theirs.finish_reason, theirs.usage)
    assert ours.text == theirs.text or (ours.text.startswith("<think>") and ours.text.endswith(theirs.text))
