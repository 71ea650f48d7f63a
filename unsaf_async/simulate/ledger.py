"""What was asked, answered and billed: the server's own account, to hold a client's against.

Dollars are fractions inside, so every sum is exact. Nothing here knows a wire format.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from decimal import Decimal
from fractions import Fraction
from typing import TYPE_CHECKING, Any

from unsaf_async.simulate.settings import exact

if TYPE_CHECKING:
    from unsaf_async.simulate.settings import Amount


@dataclass(slots=True)
class RequestEntry:
    """One request, by its digest.

    seen: how often it came, online or as a row of a batch. bills: how often it was billed. again: how often it came
    although it had been answered well, or stood in an open batch. open_rows: in open batches. served: how often a whole,
    valid 200 left for it, whatever was in it, or a row of a batch succeeded; healthy: those without a fault. faults: how
    often it was given each. Tokens and dollars are what was billed, served or not.
    """

    seen: int = 0
    bills: int = 0
    again: int = 0
    open_rows: int = 0
    served: int = 0
    healthy: int = 0
    faults: Counter[str] = field(default_factory=Counter)
    input_tokens: int = 0
    output_tokens: int = 0
    billed_usd: Fraction = Fraction(0)


@dataclass(slots=True)
class BatchRowEntry:
    """One row of a batch.

    digest: of its request; "" for a row that is none. state: "open", "succeeded", "errored", "canceled" or "expired".
    Tokens and dollars are what was billed, at the batch's price.
    """

    digest: str
    state: str = "open"
    input_tokens: int = 0
    output_tokens: int = 0
    billed_usd: Fraction = Fraction(0)


@dataclass(slots=True)
class BatchEntry:
    """One batch that was accepted. rows: by the row's id, `custom_id` or key. status: in OpenAI's words, at every vendor."""

    vendor: str
    model: str
    status: str = "validating"
    rows: dict[str, BatchRowEntry] = field(default_factory=dict)


class ServerLedger:
    """The account of one simulated provider. Read its attributes while it runs, or `as_json()`.

    Args:
        price: USD per million tokens, input and output.
    """

    def __init__(self, price: tuple[Amount, Amount] = (0, 0)) -> None:
        self._input_usd = exact(price[0]) / 1_000_000
        self._output_usd = exact(price[1]) / 1_000_000
        self.in_flight = 0
        """Model calls that are being processed now."""
        self.reset()

    def reset(self) -> None:
        """Start anew; calls in flight stay in flight."""
        self.entries: dict[str, RequestEntry] = {}
        """By request digest."""
        self.batches: dict[str, BatchEntry] = {}
        """Batches that were accepted, by id, the first one first."""
        self.requests = 0
        """Calls that came, well-formed or not."""
        self.served = 0
        """Whole, valid 200s."""
        self.healthy = 0
        """Whole, valid 200s without a fault."""
        self.by_status: Counter[str] = Counter()
        """Answers by HTTP status; "cut": the connection was cut; "left": the client left before the answer."""
        self.faults: Counter[str] = Counter()
        """Faults given on demand, by name."""
        self.limited = 0
        """429s that the limits, and no fault, gave."""
        self.overloaded = 0
        """Calls turned away by the ceiling of concurrent ones."""
        self.images: set[str] = set()
        """SHA-256 of each different image."""
        self.input_tokens = 0
        self.cached_tokens = 0
        """Part of the input that was read from a cache of prompts."""
        self.cache_write_tokens = 0
        """Part of the input that was written into one."""
        self.output_tokens = 0
        self.billed_usd = Fraction(0)
        """Everything billed, also where no answer arrived."""
        self.served_usd = Fraction(0)
        """Billed for whole, valid 200s."""
        self.peak_in_flight = self.in_flight

    def cost_usd(self, input_tokens: int, output_tokens: int) -> Fraction:
        """Tokens times price.

        Args:
            input_tokens: >= 0.
            output_tokens: >= 0.

        Returns:
            US dollars, exactly.
        """
        return input_tokens * self._input_usd + output_tokens * self._output_usd

    def enter(self) -> None:
        """A call is being processed."""
        self.in_flight += 1
        self.peak_in_flight = max(self.peak_in_flight, self.in_flight)

    def leave(self) -> None:
        """A call is over."""
        self.in_flight -= 1

    def see(self, digest: str) -> RequestEntry:
        """Count another arrival of a request.

        Args:
            digest: The request's.

        Returns:
            The request's entry; a new one the first time.
        """
        entry = self.entries.get(digest)
        if entry is None:
            entry = self.entries[digest] = RequestEntry()
        entry.seen += 1
        if entry.open_rows or entry.healthy:
            entry.again += 1
        return entry

    def fault(self, entry: RequestEntry, name: str) -> None:
        """Count a fault given on demand.

        Args:
            entry: The request's.
            name: The fault's.
        """
        entry.faults[name] += 1
        self.faults[name] += 1

    def bill(
        self, entry: RequestEntry, input_tokens: int, output_tokens: int, share: Fraction = Fraction(1)
    ) -> Fraction:
        """Bill a processed request.

        Args:
            entry: The request's.
            input_tokens: >= 0.
            output_tokens: >= 0.
            share: Of the price that is billed, in [0, 1]; below 1 for rows of batches.

        Returns:
            US dollars, exactly.
        """
        usd = self.cost_usd(input_tokens, output_tokens) * share
        entry.bills += 1
        entry.input_tokens += input_tokens
        entry.output_tokens += output_tokens
        entry.billed_usd += usd
        self.input_tokens += input_tokens
        self.output_tokens += output_tokens
        self.billed_usd += usd
        return usd

    def take_off(self, entry: RequestEntry, cached_tokens: int, written_tokens: int, usd: Fraction) -> None:
        """Bill a processed request less than its tokens, for what a cache of prompts held of it.

        Args:
            entry: The request's, which is billed already.
            cached_tokens: Of its input, read from the cache.
            written_tokens: Of its input, written into it.
            usd: US dollars; below 0 where it costs more.
        """
        entry.billed_usd -= usd
        self.billed_usd -= usd
        self.cached_tokens += cached_tokens
        self.cache_write_tokens += written_tokens

    def serve(self, entry: RequestEntry, usd: Fraction, *, healthy: bool) -> None:
        """Count a whole, valid 200.

        Args:
            entry: The request's.
            usd: What it cost.
            healthy: Whether it had no fault.
        """
        entry.served += 1
        self.served += 1
        self.served_usd += usd
        if healthy:
            entry.healthy += 1
            self.healthy += 1

    def repeated(self) -> list[str]:
        """The digests of requests that came although they had been answered well, or stood in an open batch."""
        return [digest for digest, entry in self.entries.items() if entry.again]

    def totals(self) -> dict[str, Any]:
        """The sums, ready for JSON. Dollars are numbers, each with the same amount as decimal text in `..._exact`."""
        return {
            "requests": self.requests,
            "different_requests": len(self.entries),
            "served": self.served,
            "healthy": self.healthy,
            "by_status": dict(self.by_status),
            "faults": dict(self.faults),
            "status_429": self.by_status["429"],
            "limited": self.limited,
            "overloaded": self.overloaded,
            "billed_usd": float(self.billed_usd),
            "billed_usd_exact": _decimal(self.billed_usd),
            "served_usd": float(self.served_usd),
            "served_usd_exact": _decimal(self.served_usd),
            "input_tokens": self.input_tokens,
            "cached_tokens": self.cached_tokens,
            "cache_write_tokens": self.cache_write_tokens,
            "output_tokens": self.output_tokens,
            "images": len(self.images),
            "batches": len(self.batches),
            "batch_rows": sum(len(batch.rows) for batch in self.batches.values()),
            "in_flight": self.in_flight,
            "peak_in_flight": self.peak_in_flight,
        }

    def as_json(self) -> dict[str, Any]:
        """The whole account, ready for JSON: {"totals": ..., "requests": {digest: ...}, "batches": {id: ...}}."""
        return {
            "totals": self.totals(),
            "requests": {
                digest: {
                    "seen": entry.seen,
                    "bills": entry.bills,
                    "again": entry.again,
                    "served": entry.served,
                    "healthy": entry.healthy,
                    "faults": dict(entry.faults),
                    "input_tokens": entry.input_tokens,
                    "output_tokens": entry.output_tokens,
                    "billed_usd": float(entry.billed_usd),
                    "billed_usd_exact": _decimal(entry.billed_usd),
                }
                for digest, entry in self.entries.items()
            },
            "batches": {
                id_: {
                    "vendor": batch.vendor,
                    "model": batch.model,
                    "status": batch.status,
                    "rows": {
                        key: {
                            "digest": row.digest,
                            "state": row.state,
                            "input_tokens": row.input_tokens,
                            "output_tokens": row.output_tokens,
                            "billed_usd": float(row.billed_usd),
                            "billed_usd_exact": _decimal(row.billed_usd),
                        }
                        for key, row in batch.rows.items()
                    },
                }
                for id_, batch in self.batches.items()
            },
        }


def _decimal(amount: Fraction) -> str:
    """`amount` with all its digits, of which there are finitely many for decimal prices; 28 of them otherwise."""
    return f"{Decimal(amount.numerator) / Decimal(amount.denominator):f}"
