"""From a prompt to a request: what a model is sent, and how its calls are written down."""

from __future__ import annotations

from typing import get_args

import pytest
from doubles import IMAGE, Script, profile, reply

from unsaf_async.calls.request import SAMPLE_STEP, ModelClient, RequestBuilder, failed, record_of
from unsaf_async.errors import Transient
from unsaf_async.providers.profile import Takes
from unsaf_async.records import Message, Role, Sampling, Schema, Usage

SCHEMA = Schema("list", {"type": "object"})
EVERYTHING = Takes(json_schema=True, temperature=True, seed=True, logprobs=True)
NOTHING = Takes(json_schema=False, temperature=False, seed=False, logprobs=False)


def builder(takes=EVERYTHING, seed=7):
    return RequestBuilder(profile(takes=takes, extra={"effort": "low"}), 6, seed)


def test_a_request_is_one_fresh_conversation_with_its_image():
    made = builder().request("answer", "What is this?", image=IMAGE)
    assert made.messages == (Message("user", "What is this?", IMAGE),)
    assert (made.role, made.target.provider, made.target.model) == ("answer", "double", "a-model")
    assert (made.target.endpoint, made.target.extra) == (profile().endpoint, {"effort": "low"})


@pytest.mark.parametrize("role", get_args(Role))
def test_questions_and_draws_are_sampled_and_all_else_is_at_temperature_0(role):
    made = builder().request(role, "What is this?")
    sampled = role in ("ask", "sample")
    assert made.sampling.temperature == (None if sampled else 0.0)
    assert made.draw == (7 if sampled else 0)
    assert made.sampling.seed == 7


@pytest.mark.parametrize("role", get_args(Role))
def test_log_probabilities_are_asked_for_answers_and_truth_alone(role):
    asked = builder().request(role, "What is this?").sampling.logprobs
    assert asked == (role in ("answer", "choice", "control", "p-true"))


@pytest.mark.parametrize("role", get_args(Role))
def test_the_output_limit_is_the_profiles_for_the_role_and_the_number_of_questions(role):
    limit = profile().output_tokens.limit
    assert builder().request(role, "What is this?").sampling.max_output_tokens == limit(role, 6)
    few = RequestBuilder(profile(), 1, 0).request(role, "What is this?")
    assert few.sampling.max_output_tokens == limit(role, 1)


def test_what_a_model_does_not_take_is_not_sent_and_every_reply_is_then_a_draw():
    made = builder(NOTHING).request("answer", "What is this?", schema=SCHEMA)
    assert made.schema is None
    assert made.sampling == Sampling(max_output_tokens=made.sampling.max_output_tokens)
    assert made.draw == 7
    assert builder().request("answer", "What is this?", schema=SCHEMA).schema == SCHEMA


def test_each_further_draw_has_a_seed_of_its_own_of_at_most_31_bits():
    draws = [builder().request("sample", "What is this?", sample=number) for number in range(3)]
    assert [made.sampling.seed for made in draws] == [7, 7 + SAMPLE_STEP, 7 + 2 * SAMPLE_STEP]
    assert [made.draw for made in draws] == [7, 7 + SAMPLE_STEP, 7 + 2 * SAMPLE_STEP]
    high = builder(seed=2**31 - 1)
    assert high.request("sample", "What is this?").sampling.seed == 2**31 - 1
    assert high.request("sample", "What is this?", sample=1).sampling.seed == SAMPLE_STEP - 1
    assert high.request("sample", "What is this?", sample=1).draw == SAMPLE_STEP - 1


def test_runs_of_neighbouring_seeds_have_no_draw_in_common():
    draws = [
        builder(seed=seed).request("sample", "What is this?", sample=n).draw for seed in range(50) for n in range(10)
    ]
    assert len(set(draws)) == 500


async def test_a_client_asks_its_provider_for_what_its_builder_builds():
    provider = Script(reply("A dog."))
    client = ModelClient(builder(), provider)
    assert client.name == "double"
    assert (await client.ask("sample", "What?", image=IMAGE, schema=SCHEMA, sample=2)).text == "A dog."
    assert provider.requests == [builder().request("sample", "What?", image=IMAGE, schema=SCHEMA, sample=2)]


def test_a_reply_is_written_down_without_its_text():
    came = reply(
        outcome="truncated",
        cached=True,
        cost_usd=0.25,
        usage=Usage(input_tokens=3, output_tokens=4),
        latency_s=1.23456789,
        finish_reason="length",
        detail="cut",
    )
    assert record_of("judge", came).model_dump() == {
        "role": "judge",
        "outcome": "truncated",
        "cached": True,
        "cost_usd": 0.25,
        "input_tokens": 3,
        "output_tokens": 4,
        "latency_s": 1.234568,
        "finish_reason": "length",
        "detail": "cut",
        "model": "a-model",
    }


def test_a_call_without_a_reply_is_written_down_with_its_reason():
    record = failed("audit", Transient("the connection broke"))
    assert (record.role, record.outcome, record.detail) == ("audit", "failed", "the connection broke")
    assert (record.cached, record.cost_usd) == (False, 0)
