"""A model that is open for calls: its profile, backend, pace and prices, and the layers put together around them."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING

from unsaf_async.calls import Caller
from unsaf_async.errors import CallError, UserError
from unsaf_async.events import Announce, CallRetried
from unsaf_async.keys import key_of_profile, redactor
from unsaf_async.layers.cached import Cached, Flights
from unsaf_async.layers.dispatched import Dispatched
from unsaf_async.layers.retried import Retried, RetryPolicy
from unsaf_async.meter import Meter
from unsaf_async.pace import Pace

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from unsaf_async.budget import Hold
    from unsaf_async.ledger import Ledger
    from unsaf_async.prices import Price
    from unsaf_async.profiles import Profile
    from unsaf_async.provider import Backend, Provider
    from unsaf_async.records import Request
    from unsaf_async.store import ReplyStore


@dataclass(frozen=True)
class Books:
    """What all models of a run share. store: the replies; flights: requests under way; run_id: whose run it is."""

    ledger: Ledger
    store: ReplyStore
    flights: Flights
    run_id: str
    redact: Callable[[str], str]
    announce: Announce


@dataclass(frozen=True)
class OpenModel:
    """One model, connected. `provider(hold)` puts the layers together for one image's purse."""

    profile: Profile
    caller: Caller
    meter: Meter
    pace: Pace
    backend: Backend
    books: Books

    def provider(self, hold: Hold) -> Provider:
        """Cached(Retried(Dispatched(backend))): the same protocol three times over, paid from `hold`."""
        books, profile = self.books, self.profile

        def on_retry(request: Request, error: CallError, wait_s: float) -> None:
            books.announce(CallRetried(request.role, error, wait_s))

        policy = RetryPolicy(profile.attempts, profile.deadline_s, profile.retry_wait_s)
        retried = Retried(self.door(hold), self.door(hold, again=True), policy, on_retry)
        return Cached(retried, books.store, books.flights, books.run_id, books.announce, hold.idle)

    def door(self, hold: Hold, *, again: bool = False) -> Dispatched:
        """The innermost layer alone: one attempt a call, nothing cached. again: its calls are repetitions."""
        return Dispatched(
            self.backend,
            pace=self.pace,
            hold=hold,
            ledger=self.books.ledger,
            meter=self.meter,
            timeout_s=self.profile.timeout_s,
            again=again,
            redact=self.books.redact,
            announce=self.books.announce,
        )


async def open_backend(profile: Profile) -> Backend:
    """The backend that `profile` names, with the key from its environment variable. Raises UserError if that is missing."""
    key = key_of_profile(profile)
    if profile.backend == "openai":
        from unsaf_async.backends.openai_http import OpenAIBackend

        return OpenAIBackend(profile.endpoint, key)
    if profile.backend == "scripted":
        return _scripted(profile)
    if profile.backend == "tiny":
        from unsaf_async.backends.tiny import TinyBackend
        from unsaf_async.tiny.folders import unchanged

        return TinyBackend(await asyncio.to_thread(unchanged, profile))
    from unsaf_async.backends.litellm import LitellmBackend

    return await LitellmBackend.open(profile.endpoint, key)


def _scripted(profile: Profile) -> Backend:
    from unsaf_async.backends.scripted import ScriptedBackend
    from unsaf_async.scripted import Awareness

    known = {field.name for field in fields(Awareness)} | {"seed", "latency_s"}
    given: dict[str, float] = {}
    for name, value in profile.extra.items():
        if name not in known or isinstance(value, bool) or not isinstance(value, int | float):
            raise UserError(
                f"--provider {profile.name}: extra.{name} is {value!r}; give a number, for one of {', '.join(sorted(known))}"
            )
        given[name] = value
    seed, latency_s = int(given.pop("seed", 0)), given.pop("latency_s", 0.0)
    return ScriptedBackend(Awareness(**given), seed, latency_s)


async def with_model_found(profile: Profile) -> Profile:
    """`profile` with its model's id: for an endpoint that names none, the first that its /models lists; for a tiny model, the
    digest of its weights.

    Raises UserError if the server cannot be reached, refuses the key, or lists no model.
    """
    if profile.backend == "tiny":
        from unsaf_async.tiny.folders import with_weights

        return await asyncio.to_thread(with_weights, profile)
    if profile.model or profile.backend != "openai":
        return profile
    from unsaf_async.backends.openai_http import OpenAIBackend

    key = key_of_profile(profile)
    backend = OpenAIBackend(profile.endpoint, key)
    try:
        async with asyncio.timeout(30):
            models = await backend.models()
    except (CallError, TimeoutError) as error:
        reason = redactor([key])(str(error)) or "no answer within 30 s"
        raise UserError(
            f"--provider {profile.name}: {profile.endpoint}/models: {reason}; check the server, --api-base and the key"
        ) from None
    finally:
        await backend.aclose()
    if not models:
        raise UserError(f"--provider {profile.name}: {profile.endpoint} lists no models; name one with --model")
    return profile.model_copy(update={"model": models[0]})


def price_or_error(profile: Profile) -> Price:
    """The profile's price. Raises UserError if it is not known: an unknown price is never taken for 0."""
    if profile.price is None:
        notes = f" ({profile.notes})" if profile.notes else ""
        raise UserError(
            f"--provider {profile.name}: no price is known for {profile.model or profile.name}{notes}; "
            "give it with --price IN,OUT (USD per million tokens; 0,0 for a local model)"
        )
    return profile.price


@asynccontextmanager
async def open_model(profile: Profile, books: Books, *, questions: int, seed: int) -> AsyncIterator[OpenModel]:
    """`profile`'s model, ready for calls; its connections are closed on leaving."""
    meter = Meter(profile, price_or_error(profile))
    backend = await open_backend(profile)
    try:
        tells_limits = profile.rate_headers != "none"
        async with Pace(profile.name, profile.limits, books.announce, tells_limits=tells_limits) as pace:
            yield OpenModel(profile, Caller(profile, questions, seed), meter, pace, backend, books)
    finally:
        await backend.aclose()
