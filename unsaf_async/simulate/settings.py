"""What is simulated: the model, its speed, its limits, its faults and its price. Values only."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from fractions import Fraction
from math import exp, log
from statistics import NormalDist
from typing import TYPE_CHECKING, Literal

from unsaf_async.errors import UserError
from unsaf_async.simulate.faults import BATCH_FAULTS, FAULTS
from unsaf_async.simulate.model import Awareness

if TYPE_CHECKING:
    from collections.abc import Mapping

_NORMAL = NormalDist()

Amount = int | float | str | Decimal | Fraction
"""An amount of money. A float stands for the decimal number that it prints as: 0.15 is 15 cents exactly."""


@dataclass(frozen=True)
class Lognormal:
    """Latency with the median `p50_s` and the 99th percentile `p99_s`, in seconds."""

    p50_s: float
    p99_s: float

    def __post_init__(self) -> None:
        if not 0 < self.p50_s <= self.p99_s:
            raise UserError(f"latency: p50 {self.p50_s} s and p99 {self.p99_s} s; give 0 < p50 <= p99")

    def quantile(self, place: float) -> float:
        """The seconds that a share of all calls stays below.

        Args:
            place: The share, in [0, 1); 0 is taken as 2^-53.

        Returns:
            Seconds, > 0.
        """
        sigma = log(self.p99_s / self.p50_s) / _NORMAL.inv_cdf(0.99)
        return self.p50_s * exp(sigma * _NORMAL.inv_cdf(max(place, 2**-53)))


@dataclass(frozen=True)
class ServerLimits:
    """What the account may do. None is no limit. Enforced as token buckets that refill steadily.

    burst: requests that a full bucket holds; None is a minute's worth. The token buckets hold the same share of a
    minute. OpenAI's format knows one limit for tokens: input and output both count against `input_tokens_per_minute`.
    """

    requests_per_minute: float | None = None
    burst: float | None = None
    input_tokens_per_minute: float | None = None
    output_tokens_per_minute: float | None = None

    def __post_init__(self) -> None:
        for name in ("requests_per_minute", "burst", "input_tokens_per_minute", "output_tokens_per_minute"):
            value = getattr(self, name)
            if value is not None and not value > 0:
                raise UserError(f"limits: {name} is {value}; give a number above 0, or leave it out for no limit")

    @property
    def window_s(self) -> float:
        """Seconds' worth of traffic that a full bucket holds."""
        if self.burst is None or self.requests_per_minute is None:
            return 60.0
        return 60.0 * self.burst / self.requests_per_minute


@dataclass(frozen=True)
class CachePrice:
    """USD per million tokens of input that is read from a cache of prompts, and written into it for a short time and an hour."""

    read: Amount
    write: Amount
    write_1h: Amount


@dataclass(frozen=True)
class BatchRules:
    """How batches are worked off, limited, billed and disturbed. None is the vendor's own limit, or no limit."""

    validate_s: float = 0.02
    """Seconds that a new batch is looked through before its first row."""
    work_s: float = 0.1
    """Seconds from the first row to the last; rows are done little by little."""
    finalize_s: float = 0.02
    """Seconds that the results take to be written after the last row, or after a cancellation."""
    window_s: float | None = None
    """Seconds from creation to expiry. None: 24 hours, at Gemini 48."""
    price_share: Amount = "0.5"
    """What a row costs, as a share of the same request's price online."""
    enqueued_tokens: int | None = None
    """Input tokens of one model in open batches. More: OpenAI's batch fails, Gemini's is a 429."""
    enqueued_requests: int | None = None
    """Rows in open batches. More: Anthropic's batch is a 429."""
    open_batches: int | None = None
    """Batches that are open at once. One more is a 429."""
    max_rows: int | None = None
    """Rows of a batch. None: 50,000 at OpenAI, 100,000 at Anthropic."""
    max_bytes: int | None = None
    """Size of a batch. None: 200 MB at OpenAI, 256 MB at Anthropic; at Gemini 20 MB inline, 2 GB as a file."""
    shuffled: bool = True
    """Whether OpenAI's and Anthropic's results come in another order than the rows. Gemini keeps theirs."""
    faults: Mapping[str, float] = field(default_factory=dict)
    """Probability of each fault of `faults.BATCH_FAULTS`. Rows get those of `Simulation.faults`, too, where one can."""

    def __post_init__(self) -> None:
        for name, probability in self.faults.items():
            if name not in BATCH_FAULTS:
                raise UserError(f"batch faults: {name!r} is none; choose from {', '.join(BATCH_FAULTS)}")
            if not 0 <= probability <= 1:
                raise UserError(f"batch faults: {name} has probability {probability}; give one between 0 and 1")
        for name in ("validate_s", "work_s", "finalize_s"):
            if not getattr(self, name) >= 0:
                raise UserError(f"batches: {name} is {getattr(self, name)}; give 0 or more seconds")
        for name in ("window_s", "enqueued_tokens", "enqueued_requests", "open_batches", "max_rows", "max_bytes"):
            value = getattr(self, name)
            if value is not None and not value > 0:
                raise UserError(f"batches: {name} is {value}; give a number above 0, or leave it out")
        if not 0 <= exact(self.price_share) <= 1:
            raise UserError(f"batches: price_share is {self.price_share}; give a share between 0 and 1")


@dataclass(frozen=True)
class Simulation:
    """A simulated provider. Equal simulations treat equal requests equally.

    Raises UserError for a value that makes no sense.
    """

    awareness: Awareness = field(default_factory=Awareness)
    seed: int = 0
    latency: float | Lognormal = 0.0
    """Seconds from a whole request to its reply; a distribution is drawn anew for each attempt."""
    limits: ServerLimits = field(default_factory=ServerLimits)
    max_concurrency: int | None = None
    """Calls being processed; one more gets the provider's overload answer."""
    faults: Mapping[str, float] = field(default_factory=dict)
    """Probability of each fault of `faults.FAULTS`, per request that passed the limits; together at most 1."""
    fault_seed: int = 0
    retry_after: Literal["seconds", "milliseconds", "date"] = "seconds"
    """How a 429 says when to come back in OpenAI's and Anthropic's headers: `retry-after` in seconds, `retry-after-ms`
    as well, or `retry-after` as HTTP date. Gemini says it in the body (RetryInfo.retryDelay)."""
    retry_after_s: float = 1.0
    """What the fault "429" asks for. A limit asks for what it takes."""
    price: tuple[Amount, Amount] = (0, 0)
    """USD per million tokens, input and output."""
    cache_price: CachePrice | None = None
    """Of what the vendors' caches of prompts hold (`prompt_cache.RULES`). None: they hold nothing."""
    cache_lifetime_s: float | None = None
    """How long they hold what nobody reads; None: as the vendors say."""
    credit_usd: Amount | None = None
    """What the account may spend; a request that finds it spent gets the provider's answer for an exhausted quota."""
    api_key: str | None = field(default=None, repr=False)
    """The only key that is let in; None lets everybody in."""
    models: tuple[str, ...] | None = None
    """The models that there are: what the list of models names, and no others are answered. None: "simulated", and on
    each vendor's route the vendor's models of `generations`, dated names included."""
    any_model: bool = False
    """Answer to every model's name, whatever the list says."""
    refuse: tuple[str, ...] = ()
    """Parameters that every model refuses as its vendor words it, besides those that its generation does: "seed"."""
    substitute: Mapping[str, str] = field(default_factory=dict)
    """Models that others answer for, by the model that is asked: the reply names the other one."""
    expire: Mapping[str, int | datetime] = field(default_factory=dict)
    """Models that are retired: after so many requests, or from a moment on (with its time zone)."""
    stream_only: bool = False
    """Refuse requests on OpenAI's route that ask for no stream."""
    batches: BatchRules = field(default_factory=BatchRules)

    def __post_init__(self) -> None:
        for name, probability in self.faults.items():
            if name not in FAULTS:
                raise UserError(f"faults: {name!r} is none; choose from {', '.join(FAULTS)}")
            if not 0 <= probability <= 1:
                raise UserError(f"faults: {name} has probability {probability}; give one between 0 and 1")
        if sum(self.faults.values()) > 1 + 1e-9:
            raise UserError(f"faults: the probabilities add up to {sum(self.faults.values()):g}; they may reach 1")
        if not isinstance(self.latency, Lognormal) and not self.latency >= 0:
            raise UserError(f"latency: {self.latency} s; give 0 or more")
        if self.max_concurrency is not None and self.max_concurrency < 1:
            raise UserError(f"max_concurrency is {self.max_concurrency}; give at least 1, or leave it out")
        if self.models is not None and not self.models:
            raise UserError("models: empty; name at least one")
        for model, end in self.expire.items():
            if (end.tzinfo is None) if isinstance(end, datetime) else (end < 0):
                raise UserError(f"expire: {model} at {end}; give 0 or more requests, or a moment with its time zone")
        if any(exact(amount) < 0 for amount in self.price):
            raise UserError(f"price: {self.price[0]},{self.price[1]}; give amounts of 0 or more")


def exact(amount: Amount) -> Fraction:
    """An amount of money as a fraction.

    Args:
        amount: A float stands for the decimal number that it prints as.

    Returns:
        The fraction.

    Raises:
        UserError: It is no finite number.
    """
    try:
        return Fraction(str(amount)) if isinstance(amount, float) else Fraction(amount)
    except (ValueError, OverflowError):
        raise UserError(f"{amount!r} is no amount of money; write it like 0.15") from None
