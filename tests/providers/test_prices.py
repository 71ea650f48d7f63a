"""Prices: exact money, what --price takes, and what litellm's offline map says."""

from __future__ import annotations

import subprocess
import sys
from decimal import ROUND_CEILING, Decimal
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from unsaf_async.cli.spelling import spelled
from unsaf_async.errors import UserError
from unsaf_async.providers.prices import Price, map_entry, parse_price, price_map, price_of
from unsaf_async.records import Usage

usd = st.decimals(min_value=0, max_value=1000, places=6).map(float)
prices = st.builds(
    Price,
    input_usd_per_mtok=usd,
    output_usd_per_mtok=usd,
    cached_input_usd_per_mtok=st.none() | usd,
    cache_write_usd_per_mtok=st.none() | usd,
)
tokens = st.integers(min_value=0, max_value=2_000_000)
usages = st.builds(
    lambda fresh, cached, written, output: Usage(fresh + cached + written, cached, written, output),
    tokens,
    tokens,
    tokens,
    tokens,
)


def price(fresh: float, output: float, cached: float | None = None, written: float | None = None) -> Price:
    return Price(
        input_usd_per_mtok=fresh,
        output_usd_per_mtok=output,
        cached_input_usd_per_mtok=cached,
        cache_write_usd_per_mtok=written,
    )


def test_a_million_tokens_cost_what_the_price_says() -> None:
    gpt = price(2.5, 10)
    assert gpt.cost_nano_usd(Usage(input_tokens=1_000_000)) == 2_500_000_000
    assert gpt.cost_nano_usd(Usage(output_tokens=1_000_000)) == 10_000_000_000


def test_cached_and_written_tokens_have_their_own_price_and_are_part_of_the_input() -> None:
    claude = price(1, 5, cached=0.1, written=1.25)
    usage = Usage(input_tokens=1100, cached_input_tokens=800, cache_write_tokens=100, output_tokens=10)
    assert claude.cost_nano_usd(usage) == 200 * 1000 + 800 * 100 + 100 * 1250 + 10 * 5000


def test_cached_tokens_without_a_price_of_their_own_cost_as_much_as_other_input() -> None:
    assert price(2, 8).cost_nano_usd(Usage(input_tokens=100, cached_input_tokens=60, cache_write_tokens=20)) == 200_000


def test_decimal_prices_leave_no_dust_of_floating_point() -> None:
    """0.1 + 0.2 in floats is above 0.3, which would round up to one nano-dollar more."""
    assert price(0.1, 0.2).cost_nano_usd(Usage(input_tokens=1, output_tokens=1)) == 300


def test_a_fraction_of_a_nano_dollar_is_rounded_up() -> None:
    assert price(0.0001, 0).cost_nano_usd(Usage(input_tokens=1)) == 1
    assert price(0.0001, 0).worst_nano_usd(11, 0) == 2


def test_no_tokens_cost_nothing() -> None:
    assert price(2.5, 10).cost_nano_usd(Usage()) == 0
    assert price(2.5, 10).worst_nano_usd(0, 0) == 0


def test_an_input_count_that_leaves_the_cached_tokens_out_never_makes_a_call_cheaper() -> None:
    usage = Usage(input_tokens=10, cached_input_tokens=1000)
    assert price(1, 5, cached=0.1).cost_nano_usd(usage) == 10 * 1000 + 1000 * 100


def test_a_copied_price_with_another_number_costs_by_that_number() -> None:
    original = price(1, 1)
    assert original.cost_nano_usd(Usage(input_tokens=1)) == 1000
    assert original.model_copy(update={"input_usd_per_mtok": 2.0}).cost_nano_usd(Usage(input_tokens=1)) == 2000


@given(prices, usages)
def test_the_cost_is_the_exact_decimal_sum_rounded_up(price: Price, usage: Usage) -> None:
    def exact(usd_per_mtok: float | None, count: int) -> Decimal:
        chosen = price.input_usd_per_mtok if usd_per_mtok is None else usd_per_mtok
        return Decimal(str(chosen)) * 1000 * count

    total = (
        exact(None, usage.input_tokens - usage.cached_input_tokens - usage.cache_write_tokens)
        + exact(price.cached_input_usd_per_mtok, usage.cached_input_tokens)
        + exact(price.cache_write_usd_per_mtok, usage.cache_write_tokens)
        + exact(price.output_usd_per_mtok, usage.output_tokens)
    )
    assert price.cost_nano_usd(usage) == int(total.to_integral_value(ROUND_CEILING))


@given(prices, usages, usages)
def test_two_calls_cost_as_much_as_one_with_both_their_tokens_up_to_rounding(price: Price, a: Usage, b: Usage) -> None:
    both = Usage(
        a.input_tokens + b.input_tokens,
        a.cached_input_tokens + b.cached_input_tokens,
        a.cache_write_tokens + b.cache_write_tokens,
        a.output_tokens + b.output_tokens,
    )
    assert 0 <= price.cost_nano_usd(a) + price.cost_nano_usd(b) - price.cost_nano_usd(both) <= 1


@given(prices, usages, tokens, tokens)
def test_the_worst_case_covers_every_usage_within_its_tokens(price: Price, usage: Usage, more: int, yet: int) -> None:
    bound = price.worst_nano_usd(usage.input_tokens + more, usage.output_tokens + yet)
    assert bound >= price.cost_nano_usd(usage)


@given(prices)
def test_a_price_survives_json_and_costs_the_same(price: Price) -> None:
    again = Price.model_validate_json(price.model_dump_json())
    assert again == price
    usage = Usage(1234, 200, 34, 567)
    assert again.cost_nano_usd(usage) == price.cost_nano_usd(usage)


@pytest.mark.parametrize("bad", [-1, float("nan"), float("inf"), "2", True])
def test_a_price_is_a_finite_number_of_at_least_zero(bad: object) -> None:
    with pytest.raises(ValueError, match="input_usd_per_mtok"):
        Price.model_validate({"input_usd_per_mtok": bad, "output_usd_per_mtok": 1.0})


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("2.5,10", (2.5, 10.0, None)),
        (" 2.5 , 10 ", (2.5, 10.0, None)),
        ("0,0", (0.0, 0.0, None)),
        ("-0,1", (0.0, 1.0, None)),
        ("1,5,0.1", (1.0, 5.0, 0.1)),
        ("1e-2,1", (0.01, 1.0, None)),
    ],
)
def test_the_price_option_takes_two_or_three_numbers(text: str, expected: tuple[float, float, float | None]) -> None:
    found = parse_price(text)
    assert (found.input_usd_per_mtok, found.output_usd_per_mtok, found.cached_input_usd_per_mtok) == expected
    assert found.source == "--price"


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("", "holds nothing"),
        ("5", "holds 1 number"),
        ("1;2", "holds 1 number"),
        ("1,2,3,4", "holds 4 numbers"),
        ("-1,2", "'-1' is no price"),
        ("1,nan", "'nan' is no price"),
        ("inf,1", "'inf' is no price"),
        ("1e400,1", "'1e400' is no price"),
        ("1,1e15", "'1e15' is no price"),
        ("cheap,dear", "'cheap' is no number"),
        ("1,", "'' is no number"),
        ("1_0,2", "'1_0' is no number"),
        ("$1,$2", "'$1' is no number"),
        ("0.0000025,0.00001", "looks like a price per token"),
        ("1,\n2x", "is no number"),
    ],
)
def test_a_wrong_price_option_is_told_in_one_line(text: str, complaint: str) -> None:
    with pytest.raises(UserError) as error:
        parse_price(text)
    assert complaint in str(error.value)
    assert "--price 2.5,10" in error.value.spelled(spelled)
    assert "\n" not in str(error.value)


def test_the_map_is_read_without_importing_litellm() -> None:
    script = (
        "import sys; from unsaf_async.providers.prices import price_of; "
        "assert price_of('openai/gpt-4o'); print('litellm' in sys.modules)"
    )
    checkout = Path(__file__).parents[2]
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True, cwd=checkout)
    assert done.stdout.strip() == "False"


def test_a_vendor_and_a_bare_name_find_the_same_price() -> None:
    found = price_of("openai/gpt-4o")
    assert found is not None
    assert found == price_of("gpt-4o")
    assert (found.input_usd_per_mtok, found.output_usd_per_mtok) == (2.5, 10.0)
    assert found.source.startswith("litellm ")
    assert found.source.endswith(" offline map")


def test_the_map_tells_what_caching_costs() -> None:
    found = price_of("anthropic/claude-haiku-4-5")
    assert found is not None
    assert (found.cached_input_usd_per_mtok, found.cache_write_usd_per_mtok) == (0.1, 1.25)


def test_another_vendors_model_of_the_same_name_has_no_price() -> None:
    assert price_of("hosted_vllm/gpt-4o") is None
    assert price_of("anthropic/gpt-4o") is None


@pytest.mark.parametrize("unknown", ["openai/no-such-model", "", "/", "openai/", "sample_spec"])
def test_an_unknown_model_has_no_price(unknown: str) -> None:
    assert price_of(unknown) is None


def test_a_model_that_is_not_priced_by_its_tokens_has_no_price() -> None:
    per_image = next(
        name
        for name, entry in price_map().items()
        if entry.get("input_cost_per_image")
        and entry.get("input_cost_per_token")
        and entry.get("output_cost_per_token")
    )
    assert map_entry(per_image) is not None
    assert price_of(per_image) is None


def test_every_price_in_the_map_reads_as_a_price() -> None:
    known = [found for name in price_map() if (found := price_of(name)) is not None]
    assert len(known) > 1000
    assert all(found.worst_nano_usd(1000, 100) > 0 for found in known)


def test_thinking_that_costs_more_than_output_sets_the_output_price() -> None:
    name, entry = next(
        (name, entry)
        for name, entry in price_map().items()
        if (entry.get("output_cost_per_reasoning_token") or 0) > (entry.get("output_cost_per_token") or 1)
    )
    found = price_of(name)
    assert found is not None
    assert found.output_usd_per_mtok == pytest.approx(entry["output_cost_per_reasoning_token"] * 1e6)
