"""The door through which calls leave: each attempt is booked once, with what it may have cost, whatever becomes of it."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Self

import pytest
from clock import clocked, now_s, run
from doubles import Function, Listener, Script, disk_of, profile, reply, request, settle

from unsaf_async.calls.budget import Budget
from unsaf_async.calls.cost import CostModel
from unsaf_async.calls.dispatched import Dispatched
from unsaf_async.calls.ledger import Ledger, read_account
from unsaf_async.calls.pace import Pace
from unsaf_async.errors import Fatal, RateLimited, Rejected, Transient, UserError
from unsaf_async.events import BoundBroken, CallSent, CallSettled
from unsaf_async.providers.profile import Limits
from unsaf_async.records import Usage

if TYPE_CHECKING:
    from pathlib import Path

WORST = CostModel(profile(), profile().price).worst_nano_usd(request())
COST = 10 * 1_000 + 5 * 10_000
"""What `reply()` costs, in nano-dollars."""


@dataclass
class Door:
    """A `Dispatched` with real books around a double."""

    folder: Path
    backend: Function
    limits: Limits = field(default_factory=Limits)
    cap: int | None = None
    purse: int = 10 * WORST
    timeout_s: float = 60.0
    again: bool = False
    secrets: tuple[str, ...] = ()

    async def __aenter__(self) -> Self:
        self.events = Listener()
        self.ledger = Ledger(self.folder / "ledger.jsonl")
        self.budget = Budget(self.cap)
        self.hold = self.budget.hold(self.purse)
        self.cost_model = CostModel(profile(), profile().price)
        self.pace = await Pace("double", self.limits, self.events).__aenter__()
        self.door = Dispatched(
            self.backend,
            pace=self.pace,
            hold=self.hold,
            ledger=self.ledger,
            cost_model=self.cost_model,
            timeout_s=self.timeout_s,
            again=self.again,
            redact=self.redact,
            announce=self.events,
        )
        return self

    async def __aexit__(self, *_) -> None:
        await self.pace.__aexit__(None, None, None)
        self.ledger.close()

    def redact(self, text: str) -> str:
        """Without the secrets."""
        for secret in self.secrets:
            text = text.replace(secret, "[key]")
        return text

    def ended(self, *, spent: int, unknown: int = 0, left: int = 1) -> None:
        """Everything has ended and the books agree: `spent` in all, `left` attempts that left, `unknown` of unknown fate."""
        assert self.hold.open_nano_usd == 0
        assert self.pace.in_flight == 0
        self.hold.close()
        assert (self.budget.spent_nano_usd, self.budget.held_nano_usd) == (spent, 0)
        account = self.ledger.account
        assert not account.open
        assert (account.spent_nano_usd, account.unknown, sum(account.made.values())) == (spent, unknown, left)
        assert read_account(self.folder / "ledger.jsonl").spent_nano_usd == spent
        assert len(self.events.of(CallSent)) == len(self.events.of(CallSettled)) == left


@clocked
async def test_a_reply_is_priced_timed_and_booked(tmp_path):
    async with Door(tmp_path, Script(reply(), takes_s=2)) as door:
        came = await door.door.complete(request())
        assert came.cost_usd == pytest.approx(COST / 1e9)
        assert came.latency_s == pytest.approx(2, abs=0.01)
        door.ended(spent=COST)
        assert door.ledger.account.usage == Usage(10, 0, 0, 5, 0)
        assert door.events.of(CallSent) == [CallSent("answer", "double", WORST / 1e9)]
        assert door.events.of(CallSettled) == [CallSettled("answer", "double", came, COST / 1e9)]


@pytest.mark.parametrize("outcome", ["truncated", "refused", "blocked", "unreadable"])
def test_every_whole_reply_is_billed_whatever_it_says(tmp_path, outcome):
    async def main():
        async with Door(tmp_path, Script(reply("", outcome))) as door:
            assert (await door.door.complete(request())).outcome == outcome
            door.ended(spent=COST)

    run(main())


@clocked
async def test_a_reply_without_any_usage_is_booked_at_its_worst_case(tmp_path):
    async with Door(tmp_path, Script(reply(usage=Usage()))) as door:
        assert (await door.door.complete(request())).cost_usd == pytest.approx(WORST / 1e9)
        door.ended(spent=WORST)


@pytest.mark.parametrize(
    ("error", "spent", "unknown"),
    [
        (RateLimited("slow down", status=429), 0, 0),
        (Transient("unavailable", status=503, overloaded=True), 0, 0),
        (Rejected("too large", status=413), 0, 0),
        (Fatal("the key was refused", kind="key", status=401), 0, 0),
        (Transient("the connection broke", fate_unknown=True), WORST, 1),
        (RuntimeError("a bug"), WORST, 1),
    ],
)
def test_a_failed_attempt_costs_nothing_unless_it_may_have_been_served(tmp_path, error, spent, unknown):
    async def main():
        async with Door(tmp_path, Script(error)) as door:
            with pytest.raises(type(error)):
                await door.door.complete(request())
            door.ended(spent=spent, unknown=unknown)

    run(main())


@clocked
async def test_no_answer_in_time_is_a_transient_failure_of_unknown_fate(tmp_path):
    async with Door(tmp_path, Script(reply(), takes_s=1000), timeout_s=30) as door:
        began_s = now_s()
        with pytest.raises(Transient, match="no answer within 30 s") as error:
            await door.door.complete(request())
        assert error.value.fate_unknown
        assert now_s() - began_s == pytest.approx(30, abs=0.01)
        door.ended(spent=WORST, unknown=1)


@clocked
async def test_the_time_limit_is_the_attempts_own_and_not_that_of_the_wait_before_it(tmp_path):
    async with Door(tmp_path, Script(reply(), takes_s=20), Limits(concurrency=1), timeout_s=30) as door:
        await asyncio.gather(*(door.door.complete(request(draw=draw)) for draw in range(5)))
        door.ended(spent=5 * COST, left=5)


@clocked
async def test_the_pace_hears_of_every_end(tmp_path):
    async with Door(tmp_path, Script(RateLimited("slow down", retry_after_s=5), reply())) as door:
        with pytest.raises(RateLimited):
            await door.door.complete(request())
        began_s = now_s()
        await door.door.complete(request())
        assert now_s() - began_s == pytest.approx(5, abs=0.01)
        door.ended(spent=COST, left=2)


@clocked
async def test_once_the_provider_is_down_nothing_leaves_and_nothing_is_held_back(tmp_path):
    async with Door(tmp_path, Script(Fatal("the key was refused", kind="key"))) as door:
        for _ in range(3):
            with pytest.raises(Fatal):
                await door.door.complete(request())
        assert len(door.backend.requests) == 1
        door.ended(spent=0)


@clocked
async def test_repetitions_are_marked_in_the_ledger(tmp_path):
    async with Door(tmp_path, Script(reply()), again=True) as door:
        await door.door.complete(request())
        assert door.ledger.account.retried == 1


@clocked
async def test_no_key_passes_in_an_error(tmp_path):
    error = Fatal("the key was refused: 401 Incorrect API key provided: sk-secret", kind="key")
    async with Door(tmp_path, Script(error), secrets=("sk-secret",)) as door:
        with pytest.raises(Fatal) as raised:
            await door.door.complete(request())
        assert str(raised.value) == "the key was refused: 401 Incorrect API key provided: [key]"
        assert "sk-secret" not in repr(raised.value)
        assert "sk-secret" not in str(door.pace.down)


# --- cancelled, wherever it was


@clocked
async def test_a_call_cancelled_while_it_waits_for_money_has_not_left(tmp_path):
    async with Door(tmp_path, Script(reply()), cap=10 * WORST) as door:
        other = door.budget.hold(WORST)
        held = await other.reserve(WORST)
        call = asyncio.get_running_loop().create_task(door.door.complete(request()))
        await settle()
        assert door.hold.waiting == 1
        call.cancel()
        await asyncio.wait([call])
        held.refund()
        other.close()
        door.ended(spent=0, left=0)


@clocked
async def test_a_call_cancelled_while_it_waits_for_a_slot_has_not_left(tmp_path):
    async with Door(tmp_path, Script(reply(), takes_s=50), Limits(concurrency=1)) as door:
        first = asyncio.get_running_loop().create_task(door.door.complete(request()))
        second = asyncio.get_running_loop().create_task(door.door.complete(request(draw=1)))
        await asyncio.sleep(1)
        second.cancel()
        await first
        assert second.cancelled()
        door.ended(spent=COST, left=1)


@clocked
async def test_a_call_cancelled_after_it_left_stays_spent_at_its_worst_case(tmp_path):
    async with Door(tmp_path, Script(reply(), takes_s=100)) as door:
        call = asyncio.get_running_loop().create_task(door.door.complete(request()))
        await asyncio.sleep(1)
        call.cancel()
        await asyncio.wait([call])
        assert call.cancelled()
        door.ended(spent=WORST, unknown=1)


@pytest.mark.parametrize("turns", range(25))
def test_a_call_cancelled_at_any_turn_of_the_loop_leaves_the_books_in_order(tmp_path, turns):
    """Whichever await it stands at: either it never left, or it is booked whole, or at its worst."""

    async def answer(request):
        for _ in range(5):
            await asyncio.sleep(0)
        return reply()

    async def main():
        async with Door(tmp_path, Function(answer), Limits(requests_per_minute=600_000)) as door:
            call = asyncio.get_running_loop().create_task(door.door.complete(request()))
            await settle(turns)
            call.cancel()
            await asyncio.wait([call])
            left = sum(door.ledger.account.made.values())
            assert left == len(door.backend.requests)
            spent = 0 if not left else WORST if call.cancelled() else COST
            door.ended(spent=spent, unknown=int(call.cancelled() and left), left=left)

    run(main())


# --- bounds


@clocked
async def test_a_call_dearer_than_its_bound_is_booked_in_full_said_and_raises_all_later_bounds(tmp_path):
    dear = reply(usage=Usage(input_tokens=10_000, output_tokens=1_000))
    async with Door(tmp_path, Script(dear)) as door:
        await door.door.complete(request())
        cost = 10_000 * 1_000 + 1_000 * 10_000
        assert door.events.of(BoundBroken) == [BoundBroken("answer", "double", WORST / 1e9, cost / 1e9)]
        assert door.cost_model.worst_nano_usd(request()) == pytest.approx(cost, rel=1e-6)
        assert door.cost_model.worst_nano_usd(request()) >= cost
        door.ended(spent=cost)


@clocked
async def test_many_calls_that_break_the_same_bound_together_raise_it_once(tmp_path):
    """They were all under way with the old bound: their ratios are one finding, and do not multiply."""
    dear = reply(usage=Usage(input_tokens=10_000, output_tokens=1_000))
    async with Door(tmp_path, Script(dear, takes_s=1), purse=100 * WORST) as door:
        await asyncio.gather(*(door.door.complete(request(draw=draw)) for draw in range(20)))
        cost = 10_000 * 1_000 + 1_000 * 10_000
        assert door.cost_model.worst_nano_usd(request()) == pytest.approx(cost, rel=1e-6)


@clocked
async def test_a_full_disk_lets_no_call_leave_unbooked(tmp_path):
    async with Door(tmp_path, Script(reply())) as door:
        size = (tmp_path / "ledger.jsonl").stat().st_size
        with disk_of(size), pytest.raises(UserError, match="cannot be written"):
            await door.door.complete(request())
        assert not door.backend.requests
        door.ended(spent=0, left=0)
