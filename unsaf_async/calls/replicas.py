"""One model at several endpoints, each with its own pace and health: a call goes to the one with the least to do.

An endpoint that refuses its key, or will answer nothing for hours, is left out for the rest of the session. One that is out of
reach, or fails every call while another serves, is left out for now: it is tried again by one call after a pause, which doubles
while it fails. Nothing waits for that but the call. The model is down once no endpoint is left, or none has answered for
`BREAKER_S`. Calls that wait for an endpoint that pauses or dies go to the others.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import TYPE_CHECKING

from unsaf_async.calls.rate_limit import BREAKER_S, Elsewhere
from unsaf_async.errors import CallError, Fatal, RateLimited, Transient
from unsaf_async.events import Announce, EndpointNotice, silent

if TYPE_CHECKING:
    from collections.abc import Hashable, Mapping, Sequence

    from unsaf_async.calls.provider import Backend
    from unsaf_async.calls.rate_limit import Pace
    from unsaf_async.records import Reply, Role

LEFT_OUT_AFTER = 8
"""So many failures in a row at one endpoint, while another serves, show that it is dead; before a first reply `FEW_CALLS` do."""

FEW_CALLS = 4
"""So many calls are given to an endpoint at once before its first reply, and after an attempt without an answer (a timeout, a
broken connection) until the next reply: more would all be lost, and booked at their worst, where it hangs."""

FIRST_REST_S = 1.0
LONGEST_REST_S = 300.0
"""The pause before an endpoint that is left out is tried again, and how far it grows by doubling."""

REST_AFTER_HANGING_S = 30.0
"""The least such a pause where attempts may have been served: each is booked at its worst."""


@dataclass(frozen=True)
class Replica:
    """One endpoint. endpoint: its base URL; "" is the vendor's own."""

    endpoint: str
    backend: Backend
    pace: Pace


@dataclass
class _Rests:
    """The pauses of an endpoint that is left out for now: how many there were, and when the last one began."""

    number: int
    since_s: float


class Replicas:
    """The endpoints of one model."""

    def __init__(self, name: str, replicas: Sequence[Replica], announce: Announce = silent) -> None:
        """Endpoints that nobody has called yet.

        Args:
            name: The model's, for messages.
            replicas: The endpoints, at least one. Where there are several, their paces know that they are not alone.
            announce: Receives an `EndpointNotice` where one is left out, or answers again.
        """
        self.left_out: dict[str, str] = {}
        """Why endpoints were left out in this session, be it for a while, by their addresses."""
        self.elsewhere = 0
        """Calls that workers have under way."""
        self._name = name
        self._replicas = tuple(replicas)
        self._announce = announce
        self._concurrency = tuple(replica.pace.limits.concurrency for replica in self._replicas)
        self._rests: dict[str, _Rests] = {}
        """Of each endpoint that is left out for now, by its address."""
        self._over: Fatal | None = None
        if len(self._replicas) > 1:
            for replica in self._replicas:
                replica.pace.try_with(FEW_CALLS)

    @property
    def down(self) -> Fatal | None:
        """Why no call to this model can work any more, once that is so at every endpoint."""
        if any(replica.pace.down is None for replica in self._replicas):
            return None
        return self._over or self._replicas[0].pace.down

    @property
    def endpoints(self) -> tuple[str, ...]:
        """Their addresses."""
        return tuple(replica.endpoint for replica in self._replicas)

    @property
    def in_flight(self) -> int:
        """The calls under way, at all endpoints, workers' included."""
        return self.elsewhere + sum(replica.pace.in_flight for replica in self._replicas)

    def why_wait(self) -> str:
        """Why calls wait that are ready to leave.

        Returns:
            In words, of the first endpoint where some wait, by its address where there are several; "" if none waits.
        """
        for replica in self._serving():
            if why := replica.pace.why_wait():
                return why if len(self._replicas) == 1 else f"{replica.endpoint}: {why}"
        return ""

    @property
    def free_slots(self) -> int:
        """How many calls could leave at once."""
        return sum(replica.pace.free_slots for replica in self._serving())

    @property
    def slots(self) -> int:
        """How many calls may be under way at once, at the endpoints that are not left out."""
        return sum(replica.pace.slots for replica in self._serving() or self._replicas)

    @property
    def per_minute(self) -> Mapping[str, float]:
        """The limits per minute in force, summed over the endpoints that are not left out; those that all of them have."""
        limits = [replica.pace.per_minute for replica in self._serving() or self._replicas]
        return {name: sum(each[name] for each in limits) for name in limits[0] if all(name in each for each in limits)}

    async def enter(self, role: Role, input_tokens: int, output_tokens: int = 0) -> Replica:
        """Wait for a slot at the endpoint with the least to do. Every `enter` is followed by one `leave`.

        Args:
            role: What the call is for; sets its priority.
            input_tokens: What the call is expected to use.
            output_tokens: What the call is expected to use.

        Returns:
            The endpoint.

        Raises:
            Fatal: The model is down at every endpoint.
        """
        while True:
            replica = self._next(input_tokens, output_tokens)
            try:
                await replica.pace.enter(role, input_tokens, output_tokens)
                return replica
            except Elsewhere:
                continue
            except Fatal:
                if self.down:
                    raise self.down from None

    def leave(self, replica: Replica) -> None:
        """Give a slot back, and let calls that wait at one endpoint go to others that are free.

        Args:
            replica: Where the call went.
        """
        replica.pace.leave()
        for crowded in self._up() if len(self._replicas) > 1 else ():
            if crowded.pace.waiting:
                crowded.pace.send_away(sum(other.pace.free_slots for other in self._up() if other is not crowded))

    def succeeded(self, replica: Replica, reply: Reply) -> None:
        """A whole reply came: an endpoint that was left out is so no longer.

        Args:
            replica: Where from.
            reply: The reply.
        """
        replica.pace.succeeded(reply)
        rests = self._rests.get(replica.endpoint)
        if rests is not None and _now() - reply.latency_s < rests.since_s:
            replica.pace.try_with(1)  # it was sent before, as a server that is shut down answers what it has
        elif rests is not None:
            del self._rests[replica.endpoint]
            self.left_out[replica.endpoint] += "; it answered again"
            self._announce(EndpointNotice(f"{self._name}: {replica.endpoint} answers again"))

    def failed(self, replica: Replica, error: CallError, about: Hashable = None, *, suspect: bool = False) -> CallError:
        """An attempt failed: its endpoint pauses, shrinks, or is left out, as the error says.

        Args:
            replica: Where it failed.
            error: How it failed.
            about: What tells the image from others; None: it is another one each time.
            suspect: Whether the image may be at fault since a request about it failed in an earlier session.

        Returns:
            What the caller is to raise: the error; a Transient where another endpoint may do better; a Fatal where no other
            attempt can leave.
        """
        pace = replica.pace
        was_up = pace.down is None
        pace.failed(error, about, suspect=suspect)
        if len(self._replicas) > 1 and was_up:
            if pace.down is not None:
                self._rests.pop(replica.endpoint, None)
                self._leave_out(replica, str(pace.down))
            elif isinstance(error, Transient | RateLimited):
                self._look_at(replica, error)
        if self.down is not None:
            return self.down if isinstance(error, Transient | RateLimited) else error
        if isinstance(error, Fatal | RateLimited | Transient) and pace.down is not None:  # it need not be waited for
            return Transient(str(error), status=error.status, fate_unknown=error.fate_unknown)
        return error

    def take_part(self, index: int, count: int) -> None:
        """Keep to one process's part of every endpoint's limits, where several processes call the model.

        Args:
            index: Which of them, from 0.
            count: How many there are, >= 1.
        """
        for replica, slots in zip(self._replicas, self._concurrency, strict=True):
            replica.pace.take_part(1 / count, max(1, slots // count + (index < slots % count)))

    def pause(self, name: str, seconds: float) -> None:
        """Let no call leave for a while, since an endpoint has asked another process to wait.

        Args:
            name: Of the endpoint's pace; another model's is none of these.
            seconds: How long it asked for.
        """
        for replica in self._replicas:
            if replica.pace.name == name:
                replica.pace.pause(seconds)

    def shut(self, error: Fatal) -> None:
        """Let no call leave any more, to whichever endpoint.

        Args:
            error: Why.
        """
        self._over = self._over or error
        for replica in self._replicas:
            replica.pace.failed(error)

    # ------------------------------------------------------------------------------------------------------------

    def _next(self, input_tokens: int, output_tokens: int) -> Replica:
        """Where the next call goes: to one that is due to be tried again, else to where it would wait the shortest.

        Of those where it would not wait, it is the one with the least under way.
        """

        def busy(replica: Replica) -> tuple[float, float]:
            pace = replica.pace
            # What fails in a row counts more and more, since failing leaves an endpoint idle.
            return pace.expected_wait_s(
                input_tokens, output_tokens
            ), pace.load + pace.failures_in_a_row**2 / pace.ceiling

        up = self._up() or list(self._replicas)
        if len(up) == 1:
            return up[0]
        ready = [replica for replica in up if replica.pace.has_place]
        due = next((replica for replica in ready if replica.endpoint in self._rests), None)
        return due or min(ready or up, key=busy)

    def _up(self) -> list[Replica]:
        """Those that are not left out for good."""
        return [replica for replica in self._replicas if replica.pace.down is None]

    def _serving(self) -> list[Replica]:
        """Those that are not left out."""
        return [replica for replica in self._up() if replica.endpoint not in self._rests]

    def _look_at(self, replica: Replica, error: Transient | RateLimited) -> None:
        """Leave an endpoint out for now if it is dead; end all calls if no endpoint is any better."""
        pace = replica.pace
        if error.fate_unknown and error.status is None:
            pace.try_with(FEW_CALLS)
        serves = any((other.pace.last_success_s or 0.0) > pace.failing_since_s for other in self._serving())
        unsent = isinstance(error, Transient) and error.unsent
        enough = FEW_CALLS if pace.last_success_s is None else LEFT_OUT_AFTER
        if unsent or pace.gave_up or (pace.failures_in_a_row >= enough and serves):
            self._let_rest(replica, error)

    def _let_rest(self, replica: Replica, error: CallError) -> None:
        """Leave an endpoint out for now, or for longer if it has been."""
        rests = self._rests.get(replica.endpoint)
        if rests is not None and replica.pace.pauses:
            return  # the call was under way when it was left out
        number = rests.number if rests else 0
        self._rests[replica.endpoint] = _Rests(number + 1, _now())
        first_s = REST_AFTER_HANGING_S if error.fate_unknown else FIRST_REST_S
        replica.pace.try_with(1, rest_s=min(LONGEST_REST_S, first_s * 2 ** min(number, 10)))
        if rests is None:
            self._leave_out(replica, str(error), for_now=True)
        elif not self._serving():
            self._end_if_hopeless(replica, str(error))

    def _leave_out(self, replica: Replica, reason: str, *, for_now: bool = False) -> None:
        """Tells that an endpoint is left out, unless no call can leave any more."""
        self.left_out[replica.endpoint] = reason
        serving = self._serving()
        if not serving and self._end_if_hopeless(replica, reason):
            return
        if serving:
            sound = [
                each for each in serving if each.pace.last_success_s and each.pace.failures_in_a_row < LEFT_OUT_AFTER
            ]
            they = f"{len(serving)} of {len(self._replicas)} endpoints {'go' if len(serving) > 1 else 'goes'} on"
            then = (
                they if sound else f"whether {' or '.join(each.endpoint for each in serving)} answers is not known yet"
            )
        else:
            for other in self._up():  # a long pause has no sense any more
                self._rests[other.endpoint].number = 1
                other.pace.cut_rest(FIRST_REST_S)
            then = f"no other is left, and all are tried for {BREAKER_S:.0f} s"
        now = " for now" if for_now else ""
        self._announce(EndpointNotice(f"{self._name}: {replica.endpoint} is left out{now} ({reason}); {then}"))

    def _end_if_hopeless(self, last: Replica, reason: str) -> bool:
        """End all calls if every endpoint is left out, and none ever answered, or none has for `BREAKER_S`."""
        answers = [at_s for each in self._replicas if (at_s := each.pace.last_success_s) is not None]
        if self._up() and answers and _now() - max(answers) < BREAKER_S:
            return False
        self.left_out[last.endpoint] = reason
        words = "; ".join(f"{each.endpoint} ({self.left_out[each.endpoint]})" for each in self._replicas)
        kinds = {
            each.pace.down.kind if each.pace.down else "down" if answers else "unreachable" for each in self._replicas
        }
        kind = kinds.pop() if len(kinds) == 1 else last.pace.down.kind if last.pace.down else "down"
        self.shut(Fatal(f"none of its {len(self._replicas)} endpoints answers: {words}", kind=kind))
        return True


def _now() -> float:
    return asyncio.get_running_loop().time()
