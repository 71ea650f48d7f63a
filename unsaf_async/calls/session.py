"""Models that are open for calls, with everything that they share, and the layers put together around each.

A session opens in this order: the store of replies, the ledger, the models. It closes in the reverse order, so that a reply
under way finds its ledger and its store open.
"""

from __future__ import annotations

from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field, replace
from functools import partial
from typing import TYPE_CHECKING

from unsaf_async.calls.adapted import Adapted, Adapting
from unsaf_async.calls.backends.http import HttpBackend
from unsaf_async.calls.backends.open import open_backend
from unsaf_async.calls.batches.api import VENDORS
from unsaf_async.calls.batches.batched import Batched
from unsaf_async.calls.batches.batches import Accounts, Batches, Waits
from unsaf_async.calls.batches.open import api_of
from unsaf_async.calls.batches.register import Register
from unsaf_async.calls.books import Coming
from unsaf_async.calls.budget import NANO, Budget
from unsaf_async.calls.cached import Cached, InFlight
from unsaf_async.calls.cost import CostModel, price_or_error
from unsaf_async.calls.dispatched import Dispatched
from unsaf_async.calls.led import Hits, Led
from unsaf_async.calls.ledger import Ledger
from unsaf_async.calls.rate_limit import Pace
from unsaf_async.calls.refusals import Refusals, StopAtRefusals
from unsaf_async.calls.replicas import Replica, Replicas
from unsaf_async.calls.request import ModelClient, RequestBuilder
from unsaf_async.calls.reserve import Reserve
from unsaf_async.calls.retried import Retried, RetryPolicy
from unsaf_async.calls.same_model import StrictModel, is_same_model
from unsaf_async.calls.seal import Seal
from unsaf_async.calls.store import ReplyStore
from unsaf_async.errors import CallError, ProviderDown
from unsaf_async.events import Announce, CallRetried, silent
from unsaf_async.providers.keys import secrets_of_profile
from unsaf_async.providers.redactor import Redactor

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
    from pathlib import Path
    from types import TracebackType
    from typing import Self

    from unsaf_async.calls.books import Attempts, Books, Replies
    from unsaf_async.calls.budget import ImageBudget
    from unsaf_async.calls.provider import Backend, Provider
    from unsaf_async.errors import Fatal
    from unsaf_async.providers.profile import Profile
    from unsaf_async.records import Request, Role


class Session:
    """Opened models, with their store, ledger, requests in flight, redactor and budget. Use as an async context manager.

    What it holds is there while the session is open.
    """

    store: Replies
    ledger: Attempts
    budget: Budget
    redact: Redactor
    """Hides the models' keys, in every form, in a text."""
    models: dict[str, OpenModel]
    """By the names that `profiles` gives, in its order."""

    def __init__(
        self,
        profiles: Mapping[str, Profile],
        *,
        cache: Path | None = None,
        ledger_file: Path | None = None,
        books: Books | None = None,
        received_file: Path | None = None,
        reserve_file: Path | None = None,
        received_key: bytes | None = None,
        run_id: str,
        max_cost_usd: float | None = None,
        questions: int = 1,
        seed: int = 0,
        strict_model: bool = False,
        adapted: Mapping[str, Mapping[str, str]] | None = None,
        batches_file: Path | None = None,
        batch: bool = False,
        waits: Waits | None = None,
        announce: Announce = silent,
        open_backend: Callable[[Profile], Awaitable[Backend]] = open_backend,
    ) -> None:
        """A session that is not open yet.

        Args:
            profiles: The models to open, by the names under which they are asked for.
            cache: The folder of stored replies; None where `books` are given.
            ledger_file: The account of attempts. What it says was spent counts against the cap. None where `books` are given.
            books: Replies, ledger and money that are open, in place of files of the session's own; None: it opens them.
            received_file: Where replies lie that are not stored yet, for the session that follows a killed one; None for nowhere.
            reserve_file: Takes the room that is kept for replies under way; None: a write that fails is raised where it happens.
            received_key: Marks the replies in that file as this user's; None: what is found there is believed for this run alone.
            run_id: The run for which replies other than `ok` are kept, too.
            max_cost_usd: The cap on what may be spent, in USD; None for none.
            questions: K, which sets the room for a question list.
            seed: The run's.
            strict_model: Whether a reply of another model than the one asked ends the calls to it.
            adapted: Which parameters the models were found not to take, by the names in `profiles`, with the endpoint's words;
                None for none.
            batches_file: Where batches are written down that are with a vendor; None for nowhere, and no batches.
            batch: Whether calls to models that take batches go in them. Batches that an earlier session left are collected in
                any case.
            waits: How long is waited for what of a batch; None: the defaults.
            announce: Receives the calls' events.
            open_backend: Connects to a profile's model.
        """
        self.models = {}
        self.in_flight: InFlight = {}
        self.run_id = run_id
        self.announce = announce
        self.strict_model = strict_model
        self._adapted = adapted or {}
        self._batches_file = batches_file
        self._batch = batch
        self._waits = waits or Waits()
        self._register: Register | None = None
        self._profiles = profiles
        self._cache = cache
        self._ledger_file = ledger_file
        self._books = books
        self._stops: list[Callable[[Fatal], None]] = []
        self._received_file = received_file
        self._reserve_file = reserve_file
        self._received_key = received_key
        self._cap_nano_usd = None if max_cost_usd is None else int(max_cost_usd * NANO)
        self._questions = questions
        self._seed = seed
        self._open_backend = open_backend
        self._exits = AsyncExitStack()

    async def __aenter__(self) -> Self:
        async with AsyncExitStack() as exits:  # closes what is open if the rest cannot be opened
            if self._books is None:
                self._open_books(exits)
            else:
                self.store, self.ledger, self.budget = self._books.store, self._books.ledger, self._books.budget
            if self._batches_file is not None and (self._batch or self._batches_file.exists()):
                self._register = Register(self._batches_file, self._received_key)
                exits.callback(self._register.close)
            self.redact = Redactor(set().union(*map(secrets_of_profile, self._profiles.values())))
            self.models = {
                name: await exits.enter_async_context(self._opened(name, profile))
                for name, profile in self._profiles.items()
            }
            self._exits = exits.pop_all()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._exits.__aexit__(kind, error, trace)

    def _open_books(self, exits: AsyncExitStack) -> None:
        """Replies, ledger and money of the session's own."""
        assert self._cache is not None
        assert self._ledger_file is not None
        reserve = self._kept_room()
        if reserve:
            exits.callback(reserve.close)
        store = ReplyStore(self._cache, self._received_file, reserve, Seal(self.run_id, self._received_key))
        exits.callback(store.close)
        ledger = exits.enter_context(Ledger(self._ledger_file, reserve))
        self.store, self.ledger = store, ledger
        self.budget = Budget(self._cap_nano_usd, ledger.account.spent_nano_usd)

    def _kept_room(self) -> Reserve | None:
        if self._reserve_file is None:
            return None
        calls = sum(profile.limits.concurrency for profile in self._profiles.values())
        return Reserve(self._reserve_file, calls, self.stop)

    @property
    def shares_books(self) -> bool:
        """Whether its replies, ledger and money are kept by somebody else."""
        return self._books is not None

    def stop(self, reason: Fatal) -> None:
        """Let no further call leave. Those under way finish, are paid and stored.

        Args:
            reason: What calls fail with that were to leave.
        """
        for model in self.models.values():
            model.replicas.shut(reason)
        for heed in self._stops:
            heed(reason)

    async def collect_batches(self) -> None:
        """Wait for the batches that earlier sessions left with vendors, and store their replies.

        Raises:
            ProviderDown: A vendor says nothing of them.
        """
        for model in self.models.values():
            if model.batches is not None:
                try:
                    await model.batches.recover()
                except CallError as error:
                    raise ProviderDown(f"{model.profile.name}: {error}") from None

    @property
    def batch(self) -> bool:
        """Whether calls to models that take batches go in them, sooner or later."""
        return self._batch

    def begin_batches(self) -> None:
        """Have all further first attempts at models that take batches go in them."""
        for model in self.models.values():
            if model.batches is not None:
                model.batches.begun = self._batch

    def on_stop(self, heed: Callable[[Fatal], None]) -> None:
        """Have somebody told when no further call may leave: whoever makes calls for this session elsewhere.

        Args:
            heed: Called with the reason; perhaps several times.
        """
        self._stops.append(heed)

    def client(
        self, name: str, image_budget: ImageBudget, calls: Mapping[Role, int] | None = None, *, suspect: bool = False
    ) -> ModelClient:
        """A model as one image's calls reach it.

        Args:
            name: The model's, as `profiles` has it.
            image_budget: What the calls are paid from.
            calls: How many calls about the image the model gets, by role; None where that is not known.
            suspect: Whether the image may be at fault itself where its calls fail, since one failed in an earlier session.

        Returns:
            The client, with layers of its own.
        """
        model = self.models[name]
        builder = replace(model.builder, calls=calls) if calls else model.builder
        return ModelClient(builder, model.provider(image_budget, suspect=suspect), model.adapted)

    @asynccontextmanager
    async def _opened(self, name: str, profile: Profile) -> AsyncIterator[OpenModel]:
        """`profile`'s model, ready for calls; its connections are closed on leaving."""
        cost_model = CostModel(profile, price_or_error(profile))
        async with AsyncExitStack() as exits:
            opened = [
                await exits.enter_async_context(self._replica(each, alone=not profile.replicas))
                for each in profile.at_each_endpoint()
            ]
            replicas = Replicas(profile.name, opened, self.announce)
            batches = await self._opened_batches(exits, name, profile, replicas, opened[0].backend)
            builder = RequestBuilder(profile, self._questions, self._seed)
            adapted = Adapted(profile, self._seed, self._adapted.get(name), self.announce)
            refusals = Refusals(replicas, self.ledger.account.served)
            yield OpenModel(profile, builder, cost_model, replicas, adapted, refusals, self, batches)

    async def _opened_batches(
        self, exits: AsyncExitStack, name: str, profile: Profile, replicas: Replicas, backend: Backend
    ) -> Batches | None:
        """A model's batches; None where its vendor has none, or there is nothing to write them down in."""
        at_batch_price = profile.in_batches
        if self._register is None or at_batch_price is None or profile.backend not in VENDORS:
            return None
        assert isinstance(backend, HttpBackend)
        assert isinstance(self.ledger, Ledger)
        assert isinstance(self.store, ReplyStore)
        batches = Batches(
            name,
            profile.name,
            profile.wire_model,
            api_of(profile.backend, backend),
            backend,
            CostModel(at_batch_price, price_or_error(at_batch_price)),
            Accounts(self.store, self.ledger, self.budget, self._register, self.redact, self.announce, self.run_id),
            self._waits,
            replicas,
        )
        self.on_stop(batches.stop)
        return await exits.enter_async_context(batches)

    @asynccontextmanager
    async def _replica(self, profile: Profile, *, alone: bool) -> AsyncIterator[Replica]:
        """One endpoint of a model. profile: with that endpoint alone. alone: whether it has no other."""
        backend = await self._open_backend(profile)
        try:
            tells_limits = profile.rate_headers != "none"
            name = profile.name if alone else f"{profile.name} at {profile.endpoint}"
            async with Pace(
                name,
                profile.limits,
                self.announce,
                tells_limits=tells_limits,
                longest_wait_s=profile.deadline_s,
                alone=alone,
            ) as pace:
                yield Replica(profile.endpoint, backend, pace)
        finally:
            await backend.aclose()


@dataclass(frozen=True)
class OpenModel:
    """One connected model of a session."""

    profile: Profile
    builder: RequestBuilder
    cost_model: CostModel
    replicas: Replicas
    adapted: Adapted
    refusals: Refusals
    session: Session
    batches: Batches | None = None
    hits: Hits = field(default_factory=Hits)

    @property
    def planned_cost(self) -> CostModel:
        """By which images' worst cases are reckoned: at the prices of batches where calls go in them."""
        return self.batches.cost_model if self.batches is not None and self.batches.begun else self.cost_model

    def provider(self, image_budget: ImageBudget, *, suspect: bool = False) -> Provider:
        """StopAtRefusals(Adapting(Cached(Retried(Led(Dispatched(replicas)))))): one protocol all the way.

        In place of a first attempt alone there may be a place in a batch. A strict session looks at who answered, too.

        Args:
            image_budget: What the calls are paid from.
            suspect: Whether the image may be at fault itself where its calls fail.

        Returns:
            The layers, for one image.
        """
        session, profile = self.session, self.profile

        def on_retry(request: Request, error: CallError, wait_s: float) -> None:
            session.announce(CallRetried(request.role, error, wait_s))

        policy = RetryPolicy(profile.attempts, profile.deadline_s, profile.retry_wait_s)
        # Not around batches: what goes in one batch goes together.
        alone = Led(self.attempt(image_budget, suspect=suspect), self.hits)
        first = alone if self.batches is None else Batched(self.batches, alone, image_budget)
        retried = Retried(first, self.attempt(image_budget, again=True, suspect=suspect), policy, on_retry)
        # An Azure id is a deployment's, and the reply names the model behind it.
        asked = profile.wire_model if session.strict_model and profile.backend != "azure" else ""
        cached = Cached(
            retried,
            session.store,
            session.in_flight,
            session.run_id,
            session.announce,
            image_budget.waiting_elsewhere,
            lambda reply: is_same_model(asked, reply.model),
            lambda: self.replicas.down is not None,
            partial(self._coming, image_budget) if session.shares_books else lambda _: None,
            None if self.batches is None else self.batches.collected,
            self.batches.elsewhere if self.batches is not None and session.batch else lambda: False,
        )
        named_one = StrictModel(cached, asked, self.replicas) if asked else cached
        return StopAtRefusals(Adapting(named_one, self.adapted), self.refusals)

    def _coming(self, image_budget: ImageBudget, request: Request) -> Coming:
        worst = self.cost_model.worst_nano_usd(request)
        return Coming(request.role, worst, image_budget, self.replicas.free_slots)

    def attempt(self, image_budget: ImageBudget, *, again: bool = False, suspect: bool = False) -> Dispatched:
        """The innermost layer alone: one attempt a call, nothing cached.

        Args:
            image_budget: What the calls are paid from.
            again: Whether its calls are repetitions.
            suspect: Whether the image may be at fault itself where its calls fail.

        Returns:
            The layer.
        """
        return Dispatched(
            self.replicas,
            image_budget=image_budget,
            ledger=self.session.ledger,
            cost_model=self.cost_model,
            timeout_s=self.profile.timeout_s,
            again=again,
            suspect=suspect,
            redact=self.session.redact,
            announce=self.session.announce,
        )
