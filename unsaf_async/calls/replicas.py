"""One model at several endpoints, each with its own pace and health: a call goes to the one with the least to do.

An endpoint that is dead is left out for the rest of the session, and said to be; the model is down once all are. Calls that
wait for an endpoint that pauses or dies go to the others.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from unsaf_async.calls.rate_limit import Elsewhere
from unsaf_async.errors import CallError, Fatal, RateLimited, Transient
from unsaf_async.events import Announce, Notice, silent

if TYPE_CHECKING:
    from collections.abc import Hashable, Mapping, Sequence

    from unsaf_async.calls.provider import Backend
    from unsaf_async.calls.rate_limit import Pace
    from unsaf_async.records import Role

LEFT_OUT_AFTER = 8
"""So many failures in a row at one endpoint, while another one serves, show that it is dead."""


@dataclass(frozen=True)
class Replica:
    """One endpoint. endpoint: its base URL; "" is the vendor's own."""

    endpoint: str
    backend: Backend
    pace: Pace


class Replicas:
    """The endpoints of one model."""

    def __init__(self, name: str, replicas: Sequence[Replica], announce: Announce = silent) -> None:
        """Endpoints that nobody has called yet.

        Args:
            name: The model's, for messages.
            replicas: The endpoints, at least one.
            announce: Receives a `Notice` where one is left out.
        """
        self._name = name
        self._replicas = tuple(replicas)
        self._announce = announce
        self._last_down: Fatal | None = None

    @property
    def down(self) -> Fatal | None:
        """Why no call to this model can work any more, once that is so at every endpoint."""
        if any(replica.pace.down is None for replica in self._replicas):
            return None
        return self._last_down or self._replicas[0].pace.down

    @property
    def in_flight(self) -> int:
        """The calls under way, at all endpoints."""
        return sum(replica.pace.in_flight for replica in self._replicas)

    @property
    def slots(self) -> int:
        """How many calls may be under way at once, at the endpoints that are not left out."""
        return sum(max(1, int(replica.pace.ceiling)) for replica in self._up() or self._replicas)

    @property
    def per_minute(self) -> Mapping[str, float]:
        """The limits per minute in force, summed over the endpoints that are not left out; those that all of them have."""
        limits = [replica.pace.per_minute for replica in self._up() or self._replicas]
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
            replica = self._least_busy(input_tokens, output_tokens)
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
        others = [other for other in self._up() if other is not replica]
        if others and pace.down is None and _is_dead(pace, error, others):
            pace.failed(Fatal(str(error), kind="down", status=error.status))
        if pace.down is not None:
            self._last_down = pace.down
            if others and was_up:
                left = f"{len(others)} of {len(self._replicas)} endpoints {'go' if len(others) > 1 else 'goes'} on"
                self._announce(Notice(f"{self._name}: {replica.endpoint} is left out ({pace.down}); {left}"))
        if self.down is not None:
            return self.down if isinstance(error, Transient | RateLimited) else error
        if isinstance(error, Fatal | RateLimited | Transient) and pace.down is not None:  # it need not be waited for
            return Transient(str(error), status=error.status, fate_unknown=error.fate_unknown)
        return error

    def shut(self, error: Fatal) -> None:
        """Let no call leave any more, to whichever endpoint.

        Args:
            error: Why.
        """
        for replica in self._replicas:
            replica.pace.failed(error)
        self._last_down = self._last_down or error

    def _least_busy(self, input_tokens: int, output_tokens: int) -> Replica:
        """Where a call would wait the shortest; of those where it would not wait, the one with the least under way."""

        def busy(replica: Replica) -> tuple[float, float]:
            pace = replica.pace
            # What fails in a row counts more and more, since failing leaves an endpoint idle.
            return pace.expected_wait_s(
                input_tokens, output_tokens
            ), pace.load + pace.failures_in_a_row**2 / pace.ceiling

        up = self._up() or list(self._replicas)
        return min(up, key=busy) if len(up) > 1 else up[0]

    def _up(self) -> list[Replica]:
        return [replica for replica in self._replicas if replica.pace.down is None]


def _is_dead(pace: Pace, error: CallError, others: Sequence[Replica]) -> bool:
    """Whether an endpoint is to be left out at once, since others serve."""
    if isinstance(error, Transient) and error.unsent:
        return True
    since_s = pace.failing_since_s
    serves = any((other.pace.last_success_s or 0.0) > since_s for other in others)
    return isinstance(error, Transient) and pace.failures_in_a_row >= LEFT_OUT_AFTER and serves
