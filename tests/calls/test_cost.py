"""What a call will cost, and what it did: exact to the nano-dollar."""

from __future__ import annotations

import pytest
from doubles import profile, reply, request

from unsaf_async.calls.cost import CostModel, price_or_error
from unsaf_async.errors import UserError
from unsaf_async.providers.prices import Price
from unsaf_async.providers.tokens import expected_input_tokens, worst_input_tokens
from unsaf_async.records import Sampling, Schema, Usage

IN, OUT = 1_000, 10_000
"""Nano-dollars a token, in and out, of the double's price."""


@pytest.fixture
def cost_model():
    return CostModel(profile(), profile().price)


RECKONED = (worst_input_tokens, expected_input_tokens)


def tokens(reckon):
    return reckon(request().messages, None, profile().tokens)


def test_the_worst_case_is_the_formulas_input_and_the_whole_output_limit(cost_model):
    assert cost_model.worst_nano_usd(request()) == tokens(worst_input_tokens) * IN + 100 * OUT
    longer = request(sampling=Sampling(max_output_tokens=101))
    assert cost_model.worst_nano_usd(longer) == tokens(worst_input_tokens) * IN + 101 * OUT


def test_the_expectation_counts_the_input_and_the_output_that_is_expected(cost_model):
    assert cost_model.expected_nano_usd(request(), 7) == tokens(expected_input_tokens) * IN + 7 * OUT


def test_a_broken_bound_raises_all_later_ones_by_its_ratio_and_never_lowers_them(cost_model):
    bound = cost_model.worst_nano_usd(request())
    cost_model.bound_broken(request(), 3 * bound)
    assert cost_model.worst_nano_usd(request()) == 3 * bound + 1
    cost_model.bound_broken(request(), 2 * bound)
    assert cost_model.worst_nano_usd(request()) == 3 * bound + 1
    cost_model.bound_broken(request(), 4 * bound)
    assert cost_model.worst_nano_usd(request()) == 4 * bound + 1


def test_a_call_that_was_to_cost_nothing_and_did_is_no_error():
    free = CostModel(profile(), Price(input_usd_per_mtok=0.0, output_usd_per_mtok=0.0))
    assert free.worst_nano_usd(request()) == 0
    free.bound_broken(request(), 5)
    assert free.worst_nano_usd(request()) >= 0


@pytest.mark.parametrize("usage", [Usage(input_tokens=3, output_tokens=4), Usage(30, 20, 5, 4, 1)])
def test_a_stated_usage_is_billed_as_it_is(cost_model, usage):
    cost, billed = cost_model.cost_nano_usd(request(), reply(usage=usage))
    assert (cost, billed) == (usage.input_tokens * IN + usage.output_tokens * OUT, usage)


def test_a_half_of_the_usage_that_is_missing_is_billed_at_its_worst_case(cost_model):
    worst = tokens(worst_input_tokens)
    cost, billed = cost_model.cost_nano_usd(request(), reply(usage=Usage(input_tokens=3)))
    assert (cost, billed) == (3 * IN + 100 * OUT, Usage(input_tokens=3, output_tokens=100))
    cost, billed = cost_model.cost_nano_usd(request(), reply(usage=Usage(output_tokens=4, cached_input_tokens=7)))
    assert (cost, billed) == (worst * IN + 4 * OUT, Usage(input_tokens=worst, output_tokens=4))


@pytest.mark.parametrize("outcome", ["blocked", "refused"])
def test_a_reply_that_never_began_has_no_output_to_bill_where_its_input_is_counted(cost_model, outcome):
    nothing = reply("", outcome, usage=Usage(input_tokens=3))
    assert cost_model.cost_nano_usd(request(), nothing) == (3 * IN, Usage(input_tokens=3))
    begun = reply("A c", outcome, usage=Usage(input_tokens=3))
    assert cost_model.cost_nano_usd(request(), begun)[0] == 3 * IN + 100 * OUT
    uncounted = reply("", outcome, usage=Usage())
    assert cost_model.cost_nano_usd(request(), uncounted)[0] == cost_model.worst_nano_usd(request())


def test_a_reply_without_usage_is_billed_at_its_worst_case(cost_model):
    cost, billed = cost_model.cost_nano_usd(request(), reply(usage=Usage()))
    assert cost == cost_model.worst_nano_usd(request())
    assert billed == Usage(input_tokens=tokens(worst_input_tokens), output_tokens=100)


def test_the_expected_output_is_half_the_limit_before_the_first_reply_and_then_the_roles_mean(cost_model):
    given = tokens(expected_input_tokens)
    assert cost_model.expected_tokens(request()) == (given, 50)
    for number in (10, 20, 36):
        cost_model.cost_nano_usd(request(), reply(usage=Usage(input_tokens=1, output_tokens=number)))
    assert cost_model.expected_tokens(request()) == (given, 22)
    assert cost_model.expected_tokens(request(role="judge")) == (given, 50)


def test_the_schema_that_a_reply_must_follow_counts_as_input_everywhere(cost_model):
    wanted = request(schema=Schema("list", {"type": "object", "properties": {"a": {"type": "string"}}}))
    worst, expected = (reckon(wanted.messages, wanted.schema, profile().tokens) for reckon in RECKONED)
    assert worst > tokens(worst_input_tokens)
    assert expected > tokens(expected_input_tokens)
    assert cost_model.worst_nano_usd(wanted) == worst * IN + 100 * OUT
    assert cost_model.expected_nano_usd(wanted, 7) == expected * IN + 7 * OUT
    assert cost_model.expected_tokens(wanted) == (expected, 50)
    assert cost_model.cost_nano_usd(wanted, reply(usage=Usage()))[0] == worst * IN + 100 * OUT


def test_the_worst_case_takes_all_input_at_the_dearest_price_that_input_can_have():
    price = Price(input_usd_per_mtok=1.0, output_usd_per_mtok=10.0, cache_write_usd_per_mtok=1.25)
    bound = CostModel(profile(), price).worst_nano_usd(request())
    assert bound == tokens(worst_input_tokens) * 1_250 + 100 * OUT
    written = Usage(input_tokens=tokens(worst_input_tokens), cache_write_tokens=tokens(worst_input_tokens))
    assert CostModel(profile(), price).cost_nano_usd(request(), reply(usage=written))[0] <= bound


WRITING = Price(input_usd_per_mtok=1.0, output_usd_per_mtok=10.0, cache_write_usd_per_mtok=1.25)
OWN = {"backend": "anthropic", "model": "claude-sonnet-5"}


@pytest.mark.parametrize(
    ("fields", "input_nano_usd"),
    [
        (OWN, 1_000),
        (OWN | {"endpoint": "https://api.anthropic.com/"}, 1_000),
        ({"backend": "litellm", "model": "bedrock/anthropic.claude-sonnet-5-v1:0"}, 1_000),
        (OWN | {"endpoint": "https://gateway.example/anthropic"}, 1_250),
        (OWN | {"extra": {"metadata": {"cache_control": {"type": "ephemeral"}}}}, 1_250),
        ({"backend": "litellm", "model": "some/model"}, 1_250),
    ],
)
def test_a_cache_s_write_rate_is_reckoned_unless_nothing_is_written_without_being_asked(fields, input_nano_usd):
    model = CostModel(profile(**fields), WRITING)
    assert model.worst_nano_usd(request()) == tokens(worst_input_tokens) * input_nano_usd + 100 * OUT


def test_a_cache_that_was_written_all_the_same_is_reckoned_from_then_on():
    model = CostModel(profile(**OWN), WRITING)
    model.cost_nano_usd(request(), reply(usage=Usage(input_tokens=10, cache_write_tokens=4, output_tokens=1)))
    assert model.worst_nano_usd(request()) == tokens(worst_input_tokens) * 1_250 + 100 * OUT


def test_an_unknown_price_is_an_error_and_never_0():
    assert price_or_error(profile()) == profile().price
    with pytest.raises(UserError, match="no price is known for a-model") as error:
        price_or_error(profile(price=None, notes="a note"))
    assert "(a note)" in str(error.value)
