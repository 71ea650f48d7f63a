"""What a call will cost, and what it did: exact to the nano-dollar."""

from __future__ import annotations

import pytest
from doubles import profile, reply, request

from unsaf_async.calls.cost import CostModel, price_or_error
from unsaf_async.errors import UserError
from unsaf_async.providers.tokens import expected_input_tokens, worst_input_tokens
from unsaf_async.records import Sampling, Usage

IN, OUT = 1_000, 10_000
"""Nano-dollars a token, in and out, of the double's price."""


@pytest.fixture
def cost_model():
    return CostModel(profile(), profile().price)


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


@pytest.mark.parametrize(
    "usage", [Usage(input_tokens=3), Usage(output_tokens=4), Usage(input_tokens=3, output_tokens=4)]
)
def test_a_stated_usage_is_billed_as_it_is(cost_model, usage):
    cost, billed = cost_model.cost_nano_usd(request(), reply(usage=usage))
    assert (cost, billed) == (usage.input_tokens * IN + usage.output_tokens * OUT, usage)


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


def test_an_unknown_price_is_an_error_and_never_0():
    assert price_or_error(profile()) == profile().price
    with pytest.raises(UserError, match="no price is known for a-model") as error:
        price_or_error(profile(price=None, notes="a note"))
    assert "(a note)" in str(error.value)
