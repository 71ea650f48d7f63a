"""The account's limits as token buckets. Times are seconds of any steady clock."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from unsaf_async.simulate.settings import ServerLimits

Limited = Literal["requests", "input_tokens", "output_tokens"]


@dataclass(frozen=True, slots=True)
class LimitState:
    """One limit as the rate headers have it. remaining: whole units left. reset_s: until the bucket is full again."""

    limit: int
    remaining: int
    reset_s: float


@dataclass(frozen=True, slots=True)
class Denied:
    """Which limit a request would pass, and in how many seconds it would not."""

    limited: Limited
    retry_after_s: float


class _Bucket:
    def __init__(self, per_minute: float, window_s: float) -> None:
        self.per_minute = per_minute
        self.rate = per_minute / 60.0
        self.capacity = max(1.0, self.rate * window_s)
        self.level = self.capacity
        self.at: float | None = None

    def refill(self, now: float) -> None:
        if self.at is not None:
            self.level = min(self.capacity, self.level + (now - self.at) * self.rate)
        self.at = now

    def wait_s(self, amount: float) -> float:
        """Until `amount` can be taken; more than the bucket can hold needs a full one."""
        missing = min(amount, self.capacity) - self.level
        return missing / self.rate if missing > 1e-9 else 0.0

    def standing(self) -> LimitState:
        return LimitState(
            limit=round(self.per_minute),
            remaining=max(0, int(self.level)),
            reset_s=max(0.0, (self.capacity - self.level) / self.rate),
        )


class RateLimiter:
    """Lets requests in or turns them away. What is turned away takes nothing.

    Args:
        limits: Of the account.
    """

    def __init__(self, limits: ServerLimits) -> None:
        per_minute: dict[Limited, float | None] = {
            "requests": limits.requests_per_minute,
            "input_tokens": limits.input_tokens_per_minute,
            "output_tokens": limits.output_tokens_per_minute,
        }
        self._buckets = {name: _Bucket(rate, limits.window_s) for name, rate in per_minute.items() if rate is not None}

    def admit(self, now: float, input_tokens: int, output_tokens: int) -> Denied | None:
        """Let a request in and count it, or say what keeps it out.

        Args:
            now: Seconds of a steady clock.
            input_tokens: Of the request.
            output_tokens: Of its reply.

        Returns:
            None if it is let in; otherwise the limit with the longest wait.
        """
        if not self._buckets:
            return None
        amounts: dict[Limited, int] = {"requests": 1, "input_tokens": input_tokens, "output_tokens": output_tokens}
        worst: Denied | None = None
        for name, bucket in self._buckets.items():
            bucket.refill(now)
            wait_s = bucket.wait_s(amounts[name])
            if wait_s > 0 and (worst is None or wait_s > worst.retry_after_s):
                worst = Denied(name, wait_s)
        if worst is None:
            for name, bucket in self._buckets.items():
                bucket.level -= amounts[name]
        return worst

    def standings(self, now: float) -> dict[Limited, LimitState]:
        """The state of each limit that there is.

        Args:
            now: Seconds of a steady clock.

        Returns:
            States by the limit's name; {} without a limit.
        """
        for bucket in self._buckets.values():
            bucket.refill(now)
        return {name: bucket.standing() for name, bucket in self._buckets.items()}
