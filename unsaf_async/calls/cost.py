"""What a call will cost: its worst case before it leaves, its price when it is back. One `CostModel` a model.

It joins the profile's token formulas with the price; it knows no budget.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from unsaf_async.errors import UserError
from unsaf_async.providers.tokens import expected_input_tokens, worst_input_tokens
from unsaf_async.records import Usage

if TYPE_CHECKING:
    from unsaf_async.providers.prices import Price
    from unsaf_async.providers.profile import Profile
    from unsaf_async.records import Reply, Request, Role


class CostModel:
    """Prices calls to the model of `profile`."""

    def __init__(self, profile: Profile, price: Price) -> None:
        self._rules = profile.tokens
        self._price = price
        self._inflation = 1.0
        self._output: dict[Role, tuple[int, int]] = {}

    def worst_nano_usd(self, request: Request) -> int:
        """The most that `request` can cost, in nano-dollars: input by the profile's formula, output at its limit.

        Where a call has once cost more than this said (a formula too low for the model), all later bounds are raised by the
        worst ratio seen.
        """
        worst = self._formula_nano_usd(request)
        return worst if self._inflation == 1.0 else int(worst * self._inflation) + 1

    def _formula_nano_usd(self, request: Request) -> int:
        tokens = worst_input_tokens(request.messages, request.schema, self._rules)
        return self._price.worst_nano_usd(tokens, request.sampling.max_output_tokens)

    def expected_nano_usd(self, request: Request, output_tokens: int) -> int:
        """What `request` will probably cost, in nano-dollars, if it brings `output_tokens`."""
        tokens = expected_input_tokens(request.messages, request.schema, self._rules)
        return self._price.cost_nano_usd(Usage(input_tokens=tokens, output_tokens=output_tokens))

    def bound_broken(self, request: Request, cost_nano_usd: int) -> None:
        """`request` cost more than its bound: raise the bounds of all that follow."""
        # The greatest ratio, not the product: many calls with the same bound are under way when the first one breaks it.
        self._inflation = max(self._inflation, cost_nano_usd / max(1, self._formula_nano_usd(request)))

    def cost_nano_usd(self, request: Request, reply: Reply) -> tuple[int, Usage]:
        """What `reply` cost in nano-dollars, and its usage.

        A reply without any usage was served all the same: it is booked at its worst case.
        """
        usage = reply.usage
        if not usage.input_tokens and not usage.output_tokens:
            usage = Usage(
                input_tokens=worst_input_tokens(request.messages, request.schema, self._rules),
                output_tokens=request.sampling.max_output_tokens,
            )
        calls, tokens = self._output.get(request.role, (0, 0))
        self._output[request.role] = (calls + 1, tokens + usage.output_tokens)
        return self._price.cost_nano_usd(usage), usage

    def expected_tokens(self, request: Request) -> tuple[int, int]:
        """How many input and output tokens `request` will probably use, for the limits per minute.

        Output: the mean of this role's replies so far; half the limit before the first one.
        """
        calls, tokens = self._output.get(request.role, (0, 0))
        output = tokens // calls if calls else request.sampling.max_output_tokens // 2
        return expected_input_tokens(request.messages, request.schema, self._rules), output


if TYPE_CHECKING:
    from unsaf_async.providers.prices import Price
    from unsaf_async.providers.profile import Profile
    from unsaf_async.records import Request


def price_or_error(profile: Profile) -> Price:
    """The profile's price. Raises UserError if it is not known: an unknown price is never taken for 0."""
    if profile.price is None:
        notes = f" ({profile.notes})" if profile.notes else ""
        raise UserError(
            f"--provider {profile.name}: no price is known for {profile.model or profile.name}{notes}; "
            "give it with --price IN,OUT (USD per million tokens; 0,0 for a local model)"
        )
    return profile.price
