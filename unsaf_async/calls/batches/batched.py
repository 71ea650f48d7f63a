"""The innermost layer where calls go in batches: money first, then a place in a batch."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from unsaf_async.calls.batches.batches import Batches
    from unsaf_async.calls.budget import ImageBudget
    from unsaf_async.calls.provider import Provider
    from unsaf_async.records import Reply, Request


class Batched:
    """A provider that has calls go with others, at the price of a batch."""

    def __init__(self, batches: Batches, alone: Provider, image_budget: ImageBudget) -> None:
        """A layer for one image's first attempts.

        Args:
            batches: The model's.
            alone: Where calls go before batches begin.
            image_budget: What the calls are paid from.
        """
        self._batches = batches
        self._alone = alone
        self._image_budget = image_budget

    async def complete(self, request: Request) -> Reply:
        """The reply to a call, which may take a day.

        Args:
            request: The call.

        Returns:
            The reply, with its cost.

        Raises:
            CallError: None came.
            BudgetExhausted: There is no money to begin the image, and nothing was sent.
        """
        if not self._batches.begun:
            return await self._alone.complete(request)
        if request.prompt_cache is not None:  # rows are worked on together: what one writes, no other is sure to read
            request = replace(request, prompt_cache=request.prompt_cache.unshared)
        worst = self._batches.cost_model.worst_nano_usd(request)
        return await self._batches.ask(request, await self._image_budget.reserve(worst))
