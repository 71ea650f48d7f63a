"""Pace: when the next call to one endpoint may leave, and how long all wait after a 429.

One `Pace` an endpoint. It holds four brakes: a ceiling of calls in flight that adapts (additive increase, multiplicative
decrease), limits per minute of requests and tokens, a pause of the endpoint when the provider asks to wait, and a
circuit breaker. Where the provider will tell its limits only in its first reply, one call leaves ahead of all others, as a
scout. Waiting calls leave in the order judge, answer, ask, so that begun images finish first. It knows no money.
"""

from __future__ import annotations

import asyncio
import heapq
from dataclasses import dataclass
from typing import TYPE_CHECKING

from aiolimiter import AsyncLimiter

from unsaf_async.calls.rate_headers import MAX_PATIENCE_S, learned_limits
from unsaf_async.errors import CallError, Fatal, RateLimited, Rejected, Transient
from unsaf_async.events import Announce, Paused, silent
from unsaf_async.text import moment_in

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable, Mapping
    from types import TracebackType
    from typing import Self

    from unsaf_async.providers.profile import Limits
    from unsaf_async.records import Reply, Role

PRIORITY: dict[Role, int] = {
    "judge": 0, "ground": 0, "audit": 0, "confidence": 0, "p-true": 0, "sample": 0, "control": 0, "answer": 1, "choice": 1,
    "ask": 2,
}  # fmt: skip
"""What ends an image goes before what begins one: the fewer are under way, the sooner each is whole."""

BURST_S = 0.1
"""A limiter's window: a tenth of a second's share may leave at once, which keeps the stream steady (a whole minute's
share at once, aiolimiter's default shape, is what provokes 429s)."""

BREAKER_FAILURES = 20
BREAKER_IMAGES = 10
BREAKER_S = 30.0
"""The breaker opens when so many attempts in a row failed, about so many different images where an image may be at fault itself,
and nothing succeeded for so long."""

START_FAILURES = 4
START_S = 10.0
"""Before the first reply of all, fewer failures in a row, about as many different images, and less time are enough: such a start
is hopeless. Failures count only where they are twice as many as the calls that still wait for their answers."""


class Elsewhere(Exception):
    """A waiting call was sent away, since others of the model's endpoints are free."""


SCOUTS = 3
"""So many calls may fail, one after the other, before the rest leave without having heard of a limit."""


@dataclass(frozen=True, slots=True)
class Load:
    """What a call is expected to use of the limits per minute, in tokens."""

    input_tokens: int = 0
    output_tokens: int = 0


USES: dict[str, Callable[[Load], float]] = {
    "requests": lambda _: 1,
    "tokens": lambda load: load.input_tokens + load.output_tokens,
    "input tokens": lambda load: load.input_tokens,
    "output tokens": lambda load: load.output_tokens,
}
"""The limits per minute that there are, and how much of each a call uses."""


@dataclass
class _RateLimit:
    """One limit per minute. paid: what was paid and is not used up yet; it counts for whoever goes next."""

    limiter: AsyncLimiter
    uses: Callable[[Load], float]
    paid: float = 0.0
    payment: asyncio.Task[None] | None = None
    """Under way where the limit makes it wait."""

    def owes(self, load: Load) -> bool:
        return self.paid < self.uses(load)

    def part(self, load: Load) -> float:
        """What can be paid at once: a call larger than the window pays in as many windows as it is worth."""
        return min(self.uses(load) - self.paid, self.limiter.max_rate)

    async def pay(self, part: float) -> None:
        await self.limiter.acquire(part)
        self.paid += part
        self.payment = None

    def use(self, load: Load) -> None:
        self.paid = max(0.0, self.paid - self.uses(load))

    def narrow(self) -> None:
        """Halve the window, down to one call: the endpoint takes fewer at once than left after this process stood still."""
        capacity = max(1.0, self.limiter.max_rate / 2)
        self.limiter = AsyncLimiter(capacity, self.limiter.time_period * capacity / self.limiter.max_rate)


def limiter(per_minute: float) -> AsyncLimiter:
    """A limiter that lets through at most `BURST_S` worth of its units (at least one) at once.

    Args:
        per_minute: Units a minute, > 0.

    Returns:
        The limiter, full.
    """
    per_second = per_minute / 60
    capacity = max(1.0, per_second * BURST_S)
    return AsyncLimiter(capacity, capacity / per_second)


class Pace:
    """The brakes of one endpoint. Use as an async context manager: it runs one task of its own, which lets calls go."""

    def __init__(
        self,
        name: str,
        limits: Limits,
        announce: Announce = silent,
        *,
        tells_limits: bool = False,
        longest_wait_s: float = MAX_PATIENCE_S,
        alone: bool = True,
    ) -> None:
        """The brakes of a model that nobody has called yet.

        Args:
            name: The model's, for messages.
            limits: What the profile says: calls in flight, requests and tokens per minute.
            announce: Receives a `Paused` when the provider asks to wait.
            tells_limits: Whether the provider's replies are expected to state its limits. If so, and `limits` has none for
                requests, calls leave one at a time until the first reply, instead of running into a limit that nobody knows yet.
            longest_wait_s: For so many seconds the model is paused at most because its provider asks to wait. Where it asks for
                more, no call can work before that is over, so that none leaves any more.
            alone: Whether the model has no other endpoint. Else `Replicas` decides what follows where nothing passes any more.
        """
        self.name = name
        self.longest_wait_s = longest_wait_s
        self.limits = limits
        self.ceiling = float(limits.concurrency)
        self.in_flight = 0
        self.down: Fatal | None = None
        """Why no call to this model can work any more, once that is so."""
        self.gave_up: Fatal | None = None
        """Why the breaker is open, until a reply comes; always None where the endpoint is alone, and the breaker shuts it."""
        self._alone = alone
        self._on_trial: int | None = None
        """So many calls may be under way at most until a reply comes; None: as many as there are slots."""
        self._announce = announce
        self._rate_limits: dict[str, _RateLimit] = {}
        self._whole: dict[str, float] = {}
        """The limits per minute as they are given or learned, before they are shared."""
        self._part = 1.0
        given = {
            "requests": limits.requests_per_minute,
            "tokens": limits.tokens_per_minute,
            "input tokens": limits.input_tokens_per_minute,
            "output tokens": limits.output_tokens_per_minute,
        }
        self._limit(given)
        self._limits_requests = "requests" in self._rate_limits
        self._limits_tokens = len(self._rate_limits) > self._limits_requests
        self._scouts = SCOUTS if tells_limits and not self._limits_requests else 0
        self._waiting: list[tuple[int, int, Load, asyncio.Future[None]]] = []
        self._arrivals = 0
        self._moved = asyncio.Event()
        self._paused_until = 0.0
        self._failures = 0
        self._failing: dict[Hashable, float] = {}
        """When a request about each image failed first, of those about which one ever did."""
        self._in_a_row: set[Hashable] = set()
        """The images about which requests failed since the last success."""
        self._pauses_in_vain = 0
        self._last_success: float | None = None
        self._first_call: float | None = None
        self._latency_s = 1.0
        self._first_failure = 0.0
        self._last_cut = float("-inf")
        self._group = asyncio.TaskGroup()

    async def __aenter__(self) -> Self:
        await self._group.__aenter__()
        self._task = self._group.create_task(self._let_go(), name=f"pace {self.name}")
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._task.cancel()
        # The body's own error passes as it is: handed to the group, it would come out wrapped in an ExceptionGroup.
        if kind is None or not issubclass(kind, asyncio.CancelledError):
            kind, error, trace = None, None, None
        await self._group.__aexit__(kind, error, trace)

    @property
    def per_minute(self) -> dict[str, float]:
        """The limits per minute in force, given or learned, by their names in `USES`."""
        return {
            name: 60 * limit.limiter.max_rate / limit.limiter.time_period for name, limit in self._rate_limits.items()
        }

    @property
    def load(self) -> float:
        """The calls under way and waiting, for each slot. 1: all slots are taken."""
        return (self.in_flight + len(self._waiting)) / self._width

    def expected_wait_s(self, input_tokens: int, output_tokens: int = 0) -> float:
        """About how long a call would wait for its turn, by the limits per minute and by how long calls have taken lately.

        Args:
            input_tokens: What the call is expected to use.
            output_tokens: What the call is expected to use.

        Returns:
            Seconds, >= 0; any pause counts.
        """
        loads = [Load(input_tokens, output_tokens), *(load for *_, load, _ in self._waiting)]
        # Counted in whole numbers first, so that the last free slot gives exactly 0.
        queued = (self.in_flight + len(loads)) / self._width - 1
        waits_s = [self._pause_s(), self._latency_s * max(0.0, queued)]
        for limit in self._rate_limits.values():
            uses = sum(map(limit.uses, loads)) - limit.paid
            if not limit.limiter.has_capacity(min(uses, limit.limiter.max_rate)):
                waits_s.append(uses * limit.limiter.time_period / limit.limiter.max_rate)
        return max(waits_s)

    @property
    def waiting(self) -> int:
        """The calls that wait for a slot."""
        return len(self._waiting)

    def why_wait(self) -> str:
        """Why calls wait that are ready to leave, for people. It may be asked from any thread.

        Returns:
            The brake that holds them, in words; "" if none waits, if all slots are busy as they should be, or during a pause.
        """
        if not self._waiting:
            return ""
        if self._scouts:
            return "one call goes ahead: its reply tells the limits"
        if self._free:
            names = [name for name, limit in self._rate_limits.items() if limit.payment]
            each = f", one each {60 / self.per_minute['requests']:.2g} s" if "requests" in names else ""
            return f"the limit of {' and of '.join(names)} is spread over the minute{each}" if names else ""
        if self._on_trial is not None:
            return f"it is tried with {self.slots} at a time, after failures"
        full = int(self.limits.concurrency)
        return f"{self.slots} of {full} slots in use, after it turned calls away" if self.slots < full else ""

    @property
    def free_slots(self) -> int:
        """How many calls could leave at once: 0 while others wait, during a pause, and where the limits allow no request."""
        if self._waiting or self.down or self.expected_wait_s(0):
            return 0
        return self.slots - self.in_flight

    @property
    def slots(self) -> int:
        """How many calls may be under way at once: few while the endpoint is tried."""
        return max(1, int(self._width))

    @property
    def pauses(self) -> bool:
        """Whether no call may leave for a while."""
        return self._pause_s() > 0

    @property
    def has_place(self) -> bool:
        """Whether a call may be given to it. While it is tried: whether one could leave at once."""
        return self._on_trial is None or (not self.pauses and self.in_flight + len(self._waiting) < self.slots)

    @property
    def _width(self) -> float:
        return self.ceiling if self._on_trial is None else min(self.ceiling, self._on_trial)

    @property
    def failures_in_a_row(self) -> int:
        """The failures since the last success, without those that are an image's fault."""
        return self._failures

    @property
    def failing_since_s(self) -> float:
        """When the first of the failures in a row came, by the event loop's clock."""
        return self._first_failure

    @property
    def last_success_s(self) -> float | None:
        """When the last reply came, by the event loop's clock; None: none did."""
        return self._last_success

    async def enter(self, role: Role, input_tokens: int, output_tokens: int = 0) -> None:
        """Wait for a slot. Every `enter` is followed by one `leave`.

        Args:
            role: What the call is for; sets its priority.
            input_tokens: What the call is expected to use.
            output_tokens: What the call is expected to use.

        Raises:
            Fatal: The model is down: no call can work any more.
            Elsewhere: The call was sent away while it waited.
        """
        if self.down:
            raise self.down
        if self._first_call is None:
            self._first_call = self._now()
        if not self._waiting and self._free and not self._rate_limits and not self._pause_s():
            self.in_flight += 1
            return
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        load = Load(input_tokens, output_tokens)
        self._arrivals += 1
        heapq.heappush(self._waiting, (PRIORITY[role], self._arrivals, load, future))
        self._moved.set()
        try:
            await future
        except asyncio.CancelledError:
            if future.done() and not future.cancelled() and future.exception() is None:
                self.leave()  # let go and cancelled at once
            raise

    def take_part(self, part: float, concurrency: int) -> None:
        """Keep to a part of the limits, since other processes call the endpoint, too. It may change at any time.

        Args:
            part: Of the limits per minute, given or learned, in (0, 1].
            concurrency: So many calls may be under way at most, >= 1.
        """
        at_the_top = self.ceiling >= self.limits.concurrency
        self.limits = self.limits.model_copy(update={"concurrency": concurrency})
        self.ceiling = float(concurrency) if at_the_top else min(self.ceiling, float(concurrency))
        if part != self._part:
            self._part = part
            for name, limit in self._rate_limits.items():  # what is paid stays paid
                limit.limiter = limiter(self._whole[name] * part)
        self._moved.set()

    def leave(self) -> None:
        """Give the slot back."""
        self.in_flight -= 1
        self._moved.set()

    def send_away(self, most: int) -> None:
        """Let calls that wait look for another endpoint, the most urgent first.

        Args:
            most: How many at most, >= 0.
        """
        while self._waiting and most > 0:
            *_, future = heapq.heappop(self._waiting)
            if not future.done():
                future.set_exception(Elsewhere())
                most -= 1

    def try_with(self, calls: int, *, rest_s: float = 0.0) -> None:
        """Let few calls leave until a reply comes.

        Args:
            calls: So many at once at most, >= 1; what was said before holds if it is less.
            rest_s: For so many seconds none leaves. Calls that wait look for another endpoint.
        """
        self._on_trial = calls if self._on_trial is None else min(calls, self._on_trial)
        if rest_s:
            self._paused_until = max(self._paused_until, self._now() + rest_s)
            self.send_away(len(self._waiting))

    def pause(self, seconds: float) -> None:
        """Let no call leave for a while. It is not announced.

        Args:
            seconds: From now; a longer pause that holds already stays.
        """
        self._paused_until = max(self._paused_until, self._now() + seconds)

    def cut_rest(self, rest_s: float) -> None:
        """End a pause early.

        Args:
            rest_s: So many seconds are left of it at most.
        """
        self._paused_until = min(self._paused_until, self._now() + rest_s)

    def succeeded(self, reply: Reply) -> None:
        """A whole reply came: the ceiling may rise, and the reply's rate headers are learned from.

        Args:
            reply: The reply.
        """
        self._failures = self._pauses_in_vain = self._scouts = 0
        self._in_a_row.clear()
        self._on_trial = self.gave_up = None
        self._last_success = self._now()
        self._latency_s += 0.1 * (reply.latency_s - self._latency_s)
        if self.in_flight >= 0.8 * int(self.ceiling):  # in whole slots: a ceiling of 2.9 is 2 calls
            self.ceiling = min(float(self.limits.concurrency), self.ceiling + 1 / self.ceiling)
        if reply.headers and not (self._limits_requests and self._limits_tokens):
            self._learn(reply.headers)

    def failed(self, error: CallError, about: Hashable = None, *, suspect: bool = False) -> None:
        """An attempt failed: pause, shrink or open the breaker as the error says.

        Where requests about one image fail while others pass, the image is at fault: the provider is not dead.

        Args:
            error: How it failed.
            about: What tells the image from others; None: it is another one each time.
            suspect: Whether the image may be at fault since a request about it failed in an earlier session.
        """
        now = self._now()
        if isinstance(error, Fatal):
            self._shut(error)
            return
        if isinstance(error, Rejected):  # the request's own fault says nothing about the provider
            self._scouts = 0  # but that it answers: if all requests are at fault, they need not be so one by one
            return
        if self._alone and isinstance(error, Transient) and error.unsent and self._last_success is None:
            self._shut(Fatal(str(error), kind="unreachable"))
            return
        wait_s = error.retry_after_s if isinstance(error, RateLimited | Transient) else None
        if wait_s and wait_s > self.longest_wait_s:
            until = (
                f"it asks to wait until {moment_in(wait_s)}, longer than a call is tried ({self.longest_wait_s:,.0f} s)"
            )
            self._shut(Fatal(f"{until}; resume then: {error}", kind="wait", status=error.status))
            return
        self._count(about, now, suspect=suspect)
        limited, asked = isinstance(error, RateLimited), bool(wait_s)
        if self._scouts and not limited:
            self._scouts -= 1
        if limited and not wait_s and not self._pause_s():
            # It does not say how long: double from half a second while nothing succeeds. One pause for all sent before it.
            wait_s = min(30.0, 0.5 * 2 ** min(self._pauses_in_vain, 6))
            self._pauses_in_vain += 1
        if wait_s:
            self._pause(wait_s, str(error), asked=asked)
        if (limited or (isinstance(error, Transient) and error.overloaded)) and now - self._last_cut >= 1.0:
            self._last_cut = now  # one burst of 429s is one signal
            self.ceiling = max(1.0, self.ceiling * 0.7)
            if limited and (requests := self._rate_limits.get("requests")):
                requests.narrow()
        self._break(error, now)

    # ------------------------------------------------------------------------------------------------------------

    def _count(self, about: Hashable, now: float, *, suspect: bool) -> None:
        """Count a failure among those in a row, unless the image is at fault."""
        about = object() if about is None else about
        first_s = self._failing.setdefault(about, now)
        if suspect or (self._last_success is not None and self._last_success > first_s):
            return
        if not self._failures:
            self._first_failure = now
        self._failures += 1
        self._in_a_row.add(about)

    def _break(self, error: CallError, now: float) -> None:
        """Open the breaker if the provider is dead."""
        limited, overloaded = isinstance(error, RateLimited), isinstance(error, Transient) and error.overloaded
        # Being turned away, or out of reach, has nothing to do with what is asked.
        any_image = limited or overloaded or (isinstance(error, Transient) and error.unsent)
        if self._last_success is None and not limited:
            needed, images, allowed_s = START_FAILURES, START_FAILURES, BREAKER_S if overloaded else START_S
            needed = max(needed, 2 * self.in_flight)
            since_s, what = now - (self._first_call or self._first_failure), "failed, and none was answered,"
        else:
            needed, images, allowed_s = BREAKER_FAILURES, BREAKER_IMAGES, 10 * BREAKER_S if limited else BREAKER_S
            since_s, what = now - max(self._first_failure, self._last_success or 0.0), "in a row failed"
        enough = self._failures >= needed and (any_image or len(self._in_a_row) >= images)
        if enough and since_s >= allowed_s:
            reason = f"{self._failures} attempts {what} over {since_s:.0f} s; the last: {error}"
            self.gave_up = Fatal(reason, kind="down", status=error.status)
            if self._alone:
                self._shut(self.gave_up)

    async def _let_go(self) -> None:
        """Lets waiting calls go one by one, each when every brake allows it."""
        try:
            while True:
                await self._until_clear()
                _, _, load, future = self._waiting[0]
                if unpaid := [limit for limit in self._rate_limits.values() if limit.owes(load)]:
                    await self._pay(unpaid, load)
                    continue  # meanwhile a more urgent call may have come, or a pause
                heapq.heappop(self._waiting)
                for limit in self._rate_limits.values():
                    limit.use(load)
                self.in_flight += 1
                future.set_result(None)
        finally:
            for limit in self._rate_limits.values():
                if limit.payment:
                    limit.payment.cancel()

    async def _pay(self, unpaid: list[_RateLimit], load: Load) -> None:
        """Pay parts of `load`: those that need not wait, or else the first that need not wait any longer.

        The others go on meanwhile: one after the other, two limits would let through less than the tighter one.
        """
        ready = [limit for limit in unpaid if not limit.payment and limit.limiter.has_capacity(limit.part(load))]
        for limit in ready:
            await limit.pay(limit.part(load))
        if ready:
            return
        for limit in unpaid:
            limit.payment = limit.payment or self._group.create_task(limit.pay(limit.part(load)))
        await asyncio.wait([limit.payment for limit in unpaid if limit.payment], return_when=asyncio.FIRST_COMPLETED)

    async def _until_clear(self) -> None:
        """Wait until there is a call to let go, a slot for it, and no pause. Not polling: each sleep has a reason and an end."""
        while True:
            while self._waiting and self._waiting[0][3].done():  # cancelled while waiting
                heapq.heappop(self._waiting)
            if not (self._waiting and self._free):
                self._moved.clear()
                await self._moved.wait()
            elif seconds := self._pause_s():
                await asyncio.sleep(seconds)
            else:
                return

    @property
    def _free(self) -> bool:
        return self.in_flight < (1 if self._scouts else self.slots)

    def _pause_s(self) -> float:
        return max(0.0, self._paused_until - self._now())

    def _pause(self, seconds: float, reason: str, *, asked: bool) -> None:
        until = self._now() + seconds
        if until > self._paused_until:
            self._paused_until = until
            self._announce(Paused(self.name, seconds, reason, asked))

    def _learn(self, headers: Mapping[str, str]) -> None:
        """Take the limits that the headers state, of those kinds (requests, tokens) for which the profile has none."""
        learned = learned_limits(headers)
        if self._limits_requests:
            learned.pop("requests", None)
        if self._limits_tokens:
            learned = {name: rate for name, rate in learned.items() if name == "requests"}
        self._limit(learned)
        self._limits_requests = self._limits_requests or "requests" in learned
        self._limits_tokens = self._limits_tokens or len(learned) > ("requests" in learned)

    def _limit(self, per_minute: Mapping[str, float | None]) -> None:
        for name, rate in per_minute.items():
            if rate:
                self._whole[name] = rate
                self._rate_limits[name] = _RateLimit(limiter(rate * self._part), USES[name])

    def _shut(self, error: Fatal) -> None:
        self.down = self.down or error
        for *_, future in self._waiting:
            if not future.done():
                future.set_exception(self.down)
        self._waiting.clear()

    @staticmethod
    def _now() -> float:
        return asyncio.get_running_loop().time()
