"""A model that is open for calls: its profile, backend, pace and prices, and the layers put together around them."""

from __future__ import annotations

from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from unsaf_async.calls.backends.open import open_backend
from unsaf_async.calls.cached import Cached, InFlight
from unsaf_async.calls.cost import CostModel, price_or_error
from unsaf_async.calls.dispatched import Dispatched
from unsaf_async.calls.pace import Pace
from unsaf_async.calls.request import RequestBuilder
from unsaf_async.calls.retried import Retried, RetryPolicy
from unsaf_async.events import Announce, CallRetried

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from unsaf_async.calls.budget import ImageBudget
    from unsaf_async.calls.ledger import Ledger
    from unsaf_async.calls.provider import Backend, Provider
    from unsaf_async.calls.store import ReplyStore
    from unsaf_async.errors import CallError
    from unsaf_async.providers.profile import Profile
    from unsaf_async.records import Request


@dataclass(frozen=True)
class Books:
    """What all models of a run share. store: the replies; flights: requests under way; run_id: whose run it is."""

    ledger: Ledger
    store: ReplyStore
    in_flight: InFlight
    run_id: str
    redact: Callable[[str], str]
    announce: Announce


@dataclass(frozen=True)
class OpenModel:
    """One model, connected. `provider(hold)` puts the layers together for one image's purse."""

    profile: Profile
    builder: RequestBuilder
    cost_model: CostModel
    pace: Pace
    backend: Backend
    books: Books

    def provider(self, hold: ImageBudget) -> Provider:
        """Cached(Retried(Dispatched(backend))): the same protocol three times over, paid from `hold`."""
        books, profile = self.books, self.profile

        def on_retry(request: Request, error: CallError, wait_s: float) -> None:
            books.announce(CallRetried(request.role, error, wait_s))

        policy = RetryPolicy(profile.attempts, profile.deadline_s, profile.retry_wait_s)
        retried = Retried(self.attempt(hold), self.attempt(hold, again=True), policy, on_retry)
        return Cached(retried, books.store, books.in_flight, books.run_id, books.announce, hold.idle)

    def attempt(self, hold: ImageBudget, *, again: bool = False) -> Dispatched:
        """The innermost layer alone: one attempt a call, nothing cached. again: its calls are repetitions."""
        return Dispatched(
            self.backend,
            pace=self.pace,
            hold=hold,
            ledger=self.books.ledger,
            cost_model=self.cost_model,
            timeout_s=self.profile.timeout_s,
            again=again,
            redact=self.books.redact,
            announce=self.books.announce,
        )


@asynccontextmanager
async def open_model(profile: Profile, books: Books, *, questions: int, seed: int) -> AsyncIterator[OpenModel]:
    """`profile`'s model, ready for calls; its connections are closed on leaving."""
    cost_model = CostModel(profile, price_or_error(profile))
    backend = await open_backend(profile)
    try:
        tells_limits = profile.rate_headers != "none"
        async with Pace(profile.name, profile.limits, books.announce, tells_limits=tells_limits) as pace:
            yield OpenModel(profile, RequestBuilder(profile, questions, seed), cost_model, pace, backend, books)
    finally:
        await backend.aclose()
