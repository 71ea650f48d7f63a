"""What tokens cost: a model's price, exact to the nano-dollar, and where prices come from.

Knows the price map file that litellm ships, and reads it without importing litellm (an import takes seconds). Knows no
profile, budget or call.

Prices are US dollars per million tokens, as vendors print them. Amounts are whole nano-dollars (1 USD = 10^9), so that
sums are exact.
"""

from __future__ import annotations

import importlib.util
from datetime import date
from decimal import Decimal
from fractions import Fraction
from functools import lru_cache
from importlib.metadata import PackageNotFoundError, version
from math import lcm
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NamedTuple

import orjson
from pydantic import Field

from unsaf_async.errors import UserError, as_option, setting
from unsaf_async.records import Record
from unsaf_async.text import shorten

if TYPE_CHECKING:
    from collections.abc import Mapping

    from unsaf_async.records import Usage

MAX_PRICE = 1e6
"""USD per million tokens. Nothing costs a dollar a token; above it a call's worst case would be no figure that a file holds."""

Usd = Annotated[float, Field(ge=0, le=MAX_PRICE, allow_inf_nan=False, strict=True)]
"""A price: finite, 0 or above."""

PER_TOKEN_SUSPECT = 0.001
"""USD per million tokens. A price above 0 and below this is taken for a price per token, a slip of 10^6: vendors
ask between 0.02 and 600 per million, which is 0.00000002 to 0.0006 per token."""


class _Rates(NamedTuple):
    """A price as integers: each number / `unit` is nano-dollars per token."""

    fresh: int
    cached: int
    written: int
    written_1h: int
    output: int
    unit: int


@lru_cache(maxsize=1024)
def _rates(
    fresh: float, output: float, cached: float | None, written: float | None, written_1h: float | None
) -> _Rates:
    """The integer rates of a price. `repr` of a float is the shortest decimal that means it: 0.1 is one tenth here."""
    read, write = fresh if cached is None else cached, fresh if written is None else written
    exact = [
        Fraction(Decimal(repr(float(usd)))) * 1000  # USD per 10^6 tokens -> 10^-9 USD per token
        for usd in (fresh, read, write, write if written_1h is None else written_1h, output)
    ]
    unit = lcm(*(rate.denominator for rate in exact))
    in_fresh, in_cached, in_written, in_1h, out = (int(rate * unit) for rate in exact)
    return _Rates(in_fresh, in_cached, in_written, in_1h, out, unit)


class Price(Record):
    """What one model's tokens cost, in US dollars per million tokens."""

    input_usd_per_mtok: Usd
    output_usd_per_mtok: Usd
    """Thinking is billed as output."""
    cached_input_usd_per_mtok: Usd | None = None
    """Input that the provider had in its cache; None: as other input."""
    cache_write_usd_per_mtok: Usd | None = None
    """Input that the provider put into its cache; None: as other input."""
    cache_write_1h_usd_per_mtok: Usd | None = None
    """The same where it was asked to keep it for an hour; None: as `cache_write_usd_per_mtok`."""
    source: str = "profile"
    """Where the figures are from: "profile", "--price" (given by the user), "litellm 1.106.2 offline map"."""

    def cost_nano_usd(self, usage: Usage, *, kept_an_hour: bool = False) -> int:
        """What a call cost, exact in the decimals that the price has.

        Of the input tokens, the cached ones are at the cached price, the written ones at the write price, the rest at
        the input price.

        Args:
            usage: The call's tokens.
            kept_an_hour: Whether the written ones are kept for an hour.

        Returns:
            Nano-dollars, rounded up, >= 0; 0 for no tokens.
        """
        rates = self._rates_now()
        cached, written = usage.cached_input_tokens, usage.cache_write_tokens
        fresh = usage.input_tokens - cached - written
        if fresh < 0:  # this provider's input count leaves the cached tokens out
            fresh = usage.input_tokens
        write = rates.written_1h if kept_an_hour else rates.written
        cost = fresh * rates.fresh + cached * rates.cached + written * write + usage.output_tokens * rates.output
        return -(-cost // rates.unit)

    def worst_nano_usd(
        self, input_tokens: int, output_tokens: int, *, may_write_cache: bool = True, kept_an_hour: bool = False
    ) -> int:
        """The most that so many tokens can cost: all input at its dearest price.

        Args:
            input_tokens: >= 0.
            output_tokens: >= 0, thinking included.
            may_write_cache: Whether the provider may put input into its cache, at a price of its own.
            kept_an_hour: Whether it may do so for an hour.

        Returns:
            Nano-dollars, rounded up, >= 0.
        """
        rates = self._rates_now()
        dearest = max(
            rates.fresh,
            rates.cached,
            rates.written if may_write_cache else 0,
            rates.written_1h if may_write_cache and kept_an_hour else 0,
        )
        return -(-(input_tokens * dearest + output_tokens * rates.output) // rates.unit)

    def times(self, share: float) -> Price:
        """The price of tokens that cost a share of it, as in a batch.

        Args:
            share: In (0, 1].

        Returns:
            The price, each of its figures times the share.
        """
        share_exact = Decimal(repr(float(share)))

        def scaled(usd: float | None) -> float | None:
            return None if usd is None else float(Decimal(repr(float(usd))) * share_exact)

        return self.model_copy(
            update={
                name: scaled(getattr(self, name))
                for name in (
                    "input_usd_per_mtok",
                    "output_usd_per_mtok",
                    "cached_input_usd_per_mtok",
                    "cache_write_usd_per_mtok",
                    "cache_write_1h_usd_per_mtok",
                )
            }
        )

    def _rates_now(self) -> _Rates:
        # Looked up, not stored on the instance: pydantic's model_copy(update=...) would carry a stored value along.
        return _rates(
            self.input_usd_per_mtok,
            self.output_usd_per_mtok,
            self.cached_input_usd_per_mtok,
            self.cache_write_usd_per_mtok,
            self.cache_write_1h_usd_per_mtok,
        )


def parse_price(text: str) -> Price:
    """The price that the setting `price` states.

    Args:
        text: Two or three numbers between commas, in USD per million tokens: input, output, cached input. "2.5,10" is
            2.50 USD per million tokens of input and 10 USD of output.

    Returns:
        The price; without a third number, cached input costs what other input does.

    Raises:
        UserError: The text is anything but two or three finite numbers of at least 0, or a number is so small that it
            must be a price per token.
    """
    advice = f"give USD per million tokens as INPUT,OUTPUT, such as {setting('price')} 2.5,10"
    parts = [part.strip() for part in text.split(",")]
    if not 2 <= len(parts) <= 3:
        content = "nothing" if not text.strip() else "1 number" if len(parts) == 1 else f"{len(parts)} numbers"
        raise UserError(f"{_quoted(text)}: holds {content}; {advice}", field="price")
    numbers = []
    for part in parts:
        try:
            number = float(part) if "_" not in part else None
        except ValueError:
            number = None
        if number is None:
            raise UserError(f"{_quoted(text)}: {_quoted(part)} is no number; {advice}", field="price")
        if not 0 <= number <= MAX_PRICE:  # NaN is in no range
            raise UserError(f"{_quoted(text)}: {_quoted(part)} is no price; {advice}", field="price")
        if 0 < number < PER_TOKEN_SUSPECT:
            raise UserError(f"{_quoted(text)}: {_quoted(part)} looks like a price per token; {advice}", field="price")
        numbers.append(number + 0.0)  # -0.0 + 0.0 is 0.0
    return Price(
        input_usd_per_mtok=numbers[0],
        output_usd_per_mtok=numbers[1],
        cached_input_usd_per_mtok=numbers[2] if len(numbers) == 3 else None,
        source=as_option("price"),
    )


@lru_cache(maxsize=1)
def price_map() -> Mapping[str, dict[str, Any]]:
    """litellm's offline price map: model id -> what litellm knows of it, prices in USD per token. Read once a process.

    Raises:
        UserError: litellm is not installed, or its map cannot be read.
    """
    spec = importlib.util.find_spec("litellm")  # finds the folder, runs nothing
    if spec is None or not spec.submodule_search_locations:
        raise UserError(
            f"litellm is not installed, and prices come from its map; reinstall unsaf-async, or give {setting('price')}"
        )
    file = Path(next(iter(spec.submodule_search_locations))) / "model_prices_and_context_window_backup.json"
    try:
        entries = orjson.loads(file.read_bytes())
    except (OSError, orjson.JSONDecodeError) as error:
        raise UserError(f"{file}: cannot be read ({error}); reinstall litellm, or give {setting('price')}") from None
    return {name: entry for name, entry in entries.items() if isinstance(entry, dict) and name != "sample_spec"}


def map_entry(litellm_id: str) -> dict[str, Any] | None:
    """What the map knows of a model.

    The map lists a vendor's own models without the vendor ("gpt-4o" for "openai/gpt-4o"): so the bare name counts only
    if its entry says that it is this vendor's. "hosted_vllm/gpt-4o" is not OpenAI's model, nor at OpenAI's price.

    Args:
        litellm_id: The model as litellm names it, such as "openai/gpt-4o".

    Returns:
        The map's fields for it, prices in USD per token; None if the map does not list it.

    Raises:
        UserError: See `price_map`.
    """
    entries = price_map()
    if litellm_id in entries:
        return entries[litellm_id]
    vendor, _, name = litellm_id.partition("/")
    entry = entries.get(name)
    owner = entry and _ONE_VENDOR.get(entry.get("litellm_provider", ""), entry.get("litellm_provider"))
    return entry if owner == vendor else None


_ONE_VENDOR = {"bedrock_converse": "bedrock", "vertex_ai-language-models": "vertex_ai"}
"""Names under which the map lists models of a vendor that it calls otherwise, too."""


def price_of(litellm_id: str) -> Price | None:
    """The map's price of a model.

    Where thinking has a price of its own, the dearer of the two is the output price. Not taken into account, because
    our prompts are a few thousand tokens and go as single standard calls: surcharges for long prompts
    (`*_above_200k_tokens`), batch, flex and priority prices.

    Args:
        litellm_id: The model as litellm names it ("openai/gpt-4o", "gpt-4o", "gemini/gemini-2.5-flash").

    Returns:
        The price. None if the map does not know the model, if tokens alone do not settle its price (per image, per
        request, by tiers), or if all its prices are 0, which is how the map writes "not known" for hosted models.

    Raises:
        UserError: See `price_map`.
    """
    entry = map_entry(litellm_id)
    if entry is None:
        return None
    fresh, output = entry.get("input_cost_per_token"), entry.get("output_cost_per_token")
    otherwise_priced = any(entry.get(key) for key in ("input_cost_per_image", "input_cost_per_request"))
    if fresh is None or output is None or otherwise_priced or not (fresh or output):
        return None
    return Price(
        input_usd_per_mtok=_per_mtok(fresh),
        output_usd_per_mtok=max(_per_mtok(output), _per_mtok(entry.get("output_cost_per_reasoning_token") or 0)),
        cached_input_usd_per_mtok=_optional_per_mtok(entry.get("cache_read_input_token_cost")),
        cache_write_usd_per_mtok=_optional_per_mtok(entry.get("cache_creation_input_token_cost")),
        cache_write_1h_usd_per_mtok=_optional_per_mtok(entry.get("cache_creation_input_token_cost_above_1hr")),
        source=f"litellm {_litellm_version()} offline map",
    )


def last_day_of(litellm_id: str) -> date | None:
    """The day on which a model's vendor ends it, by the map.

    Args:
        litellm_id: The model as litellm names it.

    Returns:
        The day; None if the map does not list the model, or names no readable day.

    Raises:
        UserError: See `price_map`.
    """
    try:
        return date.fromisoformat((map_entry(litellm_id) or {})["deprecation_date"])
    except (KeyError, TypeError, ValueError):
        return None


def _per_mtok(usd_per_token: float) -> float:
    return float(Decimal(repr(float(usd_per_token))) * 1_000_000)  # in decimals: 2.5e-06 becomes 2.5 without dust


def _optional_per_mtok(usd_per_token: float | None) -> float | None:
    return None if usd_per_token is None else _per_mtok(usd_per_token)


@lru_cache(maxsize=1)
def _litellm_version() -> str:
    try:
        return version("litellm")
    except PackageNotFoundError:  # importable, yet without metadata: a source tree on the path
        return "(unknown version)"


def _quoted(text: str) -> str:
    """`text` quoted on one line, cut to 40 characters."""
    return repr(shorten(text, 40))
