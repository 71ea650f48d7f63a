"""What a call will cost: its worst case before it leaves, its price when it is back. One `CostModel` a model.

It joins the profile's token formulas with the price; it knows no budget.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import orjson

from unsaf_async.errors import UserError, setting
from unsaf_async.providers.profile import OWN_ADDRESSES, canonical_url
from unsaf_async.providers.tokens import expected_input_tokens, worst_input_tokens
from unsaf_async.records import Usage

if TYPE_CHECKING:
    from unsaf_async.providers.prices import Price
    from unsaf_async.providers.profile import Profile
    from unsaf_async.records import Reply, Request, Role


class CostModel:
    """Prices calls to one model."""

    def __init__(self, profile: Profile, price: Price) -> None:
        """Prices before the first call.

        Args:
            profile: The model's; its token formulas are used.
            price: USD per million tokens.
        """
        self._rules = profile.tokens
        self._price = price
        self._inflation = 1.0
        self._may_write_cache = not _writes_only_when_asked(profile)
        self._output: dict[Role, tuple[int, int]] = {}

    @property
    def state(self) -> tuple[float, bool]:
        """What the bounds go by, besides the request: equal states give equal bounds."""
        return self._inflation, self._may_write_cache

    def worst_nano_usd(self, request: Request) -> int:
        """The most that a request can cost: input by the profile's formula, output at its limit.

        Where a call has once cost more than this (a formula too low for the model), all later bounds are raised by the
        worst ratio seen. Input that the provider puts into its cache is dearer with some: that counts unless it is known
        to do so only when asked, and this request does not.

        Args:
            request: The call.

        Returns:
            Nano-dollars, >= 0.
        """
        worst = self._formula_nano_usd(request)
        return worst if self._inflation == 1.0 else int(worst * self._inflation) + 1

    def _formula_nano_usd(self, request: Request) -> int:
        tokens = worst_input_tokens(request.messages, request.schema, self._rules)
        asked, limit = request.prompt_cache, request.sampling.max_output_tokens
        may_write = self._may_write_cache or (asked is not None and asked.writes)
        an_hour = asked is not None and asked.an_hour
        return self._price.worst_nano_usd(tokens, limit, may_write_cache=may_write, kept_an_hour=an_hour)

    def expected_nano_usd(self, request: Request, output_tokens: int) -> int:
        """What a request will probably cost, of several that begin alike on average.

        Args:
            request: The call.
            output_tokens: How many tokens it is expected to bring.

        Returns:
            Nano-dollars, >= 0.
        """
        return self.uncached_nano_usd(request, output_tokens) - self._expected_saving_nano_usd(request)

    def uncached_nano_usd(self, request: Request, output_tokens: int) -> int:
        """What a request would probably cost if its provider had no cache of prompts.

        Args:
            request: The call.
            output_tokens: How many tokens it is expected to bring.

        Returns:
            Nano-dollars, >= 0.
        """
        tokens = expected_input_tokens(request.messages, request.schema, self._rules)
        return self._price.cost_nano_usd(Usage(input_tokens=tokens, output_tokens=output_tokens))

    def _expected_saving_nano_usd(self, request: Request) -> int:
        """Of calls that begin alike the first writes and the others read: what one of them saves on average."""
        asked = request.prompt_cache
        if asked is None or not asked.prefix:
            return 0
        calls, tokens = asked.calls, asked.tokens
        kept = Usage(calls * tokens, (calls - 1) * tokens, tokens if asked.by_mark else 0)
        cost = self._price.cost_nano_usd(kept, kept_an_hour=asked.an_hour)
        return (self._price.cost_nano_usd(Usage(calls * tokens)) - cost) // calls

    def saved_nano_usd(self, request: Request, usage: Usage) -> int:
        """What the provider's cache of prompts saved of a call.

        Args:
            request: The call.
            usage: What was billed for it.

        Returns:
            Nano-dollars; below 0 where only writing was billed.
        """
        if not usage.cached_input_tokens and not usage.cache_write_tokens:
            return 0
        extra = usage.cached_input_tokens + usage.cache_write_tokens > usage.input_tokens  # counted beside the input
        beside = usage.cached_input_tokens + usage.cache_write_tokens if extra else 0
        plain = Usage(usage.input_tokens + beside, output_tokens=usage.output_tokens)
        return self._price.cost_nano_usd(plain) - self._billed_nano_usd(request, usage)

    def _billed_nano_usd(self, request: Request, usage: Usage) -> int:
        asked = request.prompt_cache
        return self._price.cost_nano_usd(usage, kept_an_hour=asked is not None and asked.an_hour)

    def bound_broken(self, request: Request, cost_nano_usd: int) -> None:
        """Raise the bounds of all calls that follow one that cost more than its bound.

        Args:
            request: The call.
            cost_nano_usd: What it cost, in nano-dollars.
        """
        # The greatest ratio, not the product: many calls with the same bound are under way when the first one breaks it.
        self._inflation = max(self._inflation, cost_nano_usd / max(1, self._formula_nano_usd(request)))

    def cost_nano_usd(self, request: Request, reply: Reply) -> tuple[int, Usage]:
        """What a reply cost, and its usage.

        A half of the usage that the provider left out was served all the same: it costs its worst case. The output of a reply
        without text, unless its limit was used up by thoughts, may be 0 where the provider counted the input.

        Args:
            request: The call.
            reply: What it brought.

        Returns:
            (nano-dollars, tokens).
        """
        usage = reply.usage
        asked = request.prompt_cache is not None and request.prompt_cache.writes
        self._may_write_cache = self._may_write_cache or (usage.cache_write_tokens > 0 and not asked)
        counted_input, nothing_came = usage.input_tokens > 0, not reply.text and reply.outcome != "truncated"
        if not counted_input:
            tokens = worst_input_tokens(request.messages, request.schema, self._rules)
            usage = Usage(
                input_tokens=tokens, output_tokens=usage.output_tokens, reasoning_tokens=usage.reasoning_tokens
            )
        if not usage.output_tokens and not (counted_input and nothing_came):
            usage = replace(usage, output_tokens=request.sampling.max_output_tokens)
        calls, tokens = self._output.get(request.role, (0, 0))
        self._output[request.role] = (calls + 1, tokens + usage.output_tokens)
        return self._billed_nano_usd(request, usage), usage

    def cost_without_request(self, reply: Reply, worst_nano_usd: int) -> tuple[int, Usage]:
        """What a reply cost whose request is no longer there.

        Args:
            reply: What came.
            worst_nano_usd: What the call was to cost at worst, which counts where the provider states no usage.

        Returns:
            (nano-dollars, tokens).
        """
        usage = reply.usage
        stated = usage.input_tokens > 0 and (usage.output_tokens > 0 or not reply.text)
        return (self._price.cost_nano_usd(usage) if stated else worst_nano_usd), usage

    def expected_tokens(self, request: Request) -> tuple[int, int]:
        """How many tokens a request will probably use, for the limits per minute.

        Args:
            request: The call.

        Returns:
            (input, output). Output: the mean of this role's replies so far; half the limit before the first one.
        """
        calls, tokens = self._output.get(request.role, (0, 0))
        output = tokens // calls if calls else request.sampling.max_output_tokens // 2
        return expected_input_tokens(request.messages, request.schema, self._rules), output


def _writes_only_when_asked(profile: Profile) -> bool:
    """Whether a model's provider puts nothing into its cache unless a request says `cache_control`.

    So it is with Claude at Anthropic's own address, on Bedrock and on Vertex AI. A gateway may ask on its own.
    https://platform.claude.com/docs/en/build-with-claude/prompt-caching
    """
    is_own = {canonical_url(url) for url in profile.endpoints if url} <= {canonical_url(OWN_ADDRESSES["anthropic"])}
    is_claude = profile.backend == "anthropic" or (profile.backend == "litellm" and "claude" in profile.model)
    return is_own and is_claude and "cache_control" not in orjson.dumps(profile.extra).decode()


def price_or_error(profile: Profile) -> Price:
    """The profile's price. An unknown price is never taken for 0.

    Args:
        profile: The model's.

    Returns:
        USD per million tokens.

    Raises:
        UserError: No price is known.
    """
    if profile.price is None:
        notes = f" ({profile.notes})" if profile.notes else ""
        raise UserError(
            f"{profile.name}: no price is known for {profile.model or profile.name}{notes}; "
            f"give it with {setting('price')} IN,OUT (USD per million tokens; 0,0 for a local model)",
            field="provider",
        )
    return profile.price
