"""The layer through which calls leave: each attempt is booked once, with what it may have cost, whatever becomes of it."""

from __future__ import annotations

import asyncio
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Self

import pytest
from clock import clocked, now_s, run
from doubles import Function, Listener, Script, disk_of, profile, reply, request, settle

from unsaf_async.calls.budget import NANO, Budget
from unsaf_async.calls.cost import CostModel
from unsaf_async.calls.dispatched import Dispatched
from unsaf_async.calls.ledger import Ledger, read_account
from unsaf_async.calls.rate_limit import Pace
from unsaf_async.calls.replicas import Replica, Replicas
from unsaf_async.errors import Fatal, RateLimited, Rejected, Transient, UserError
from unsaf_async.events import BoundBroken, CallSent, CallSettled, KeyHidden, Paused
from unsaf_async.providers.profile import Limits
from unsaf_async.providers.redactor import Redactor
from unsaf_async.records import Usage

if TYPE_CHECKING:
    from pathlib import Path

WORST = CostModel(profile(), profile().price).worst_nano_usd(request())
COST = 10 * 1_000 + 5 * 10_000
"""What `reply()` costs, in nano-dollars."""


@dataclass
class Layer:
    """A `Dispatched` with real accounts around a double."""

    folder: Path
    backend: Function
    limits: Limits = field(default_factory=Limits)
    cap: int | None = None
    image_worst: int = 10 * WORST
    timeout_s: float = 60.0
    again: bool = False
    secrets: tuple[str, ...] = ()
    events: Listener = field(default_factory=Listener)

    async def __aenter__(self) -> Self:
        self.ledger = Ledger(self.folder / "ledger.jsonl")
        self.budget = Budget(self.cap)
        self.image_budget = self.budget.for_image(self.image_worst)
        self.cost_model = CostModel(profile(), profile().price)
        self.pace = await Pace("double", self.limits, self.events).__aenter__()
        self.dispatched = Dispatched(
            Replicas("double", [Replica("", self.backend, self.pace)], self.events),
            image_budget=self.image_budget,
            ledger=self.ledger,
            cost_model=self.cost_model,
            timeout_s=self.timeout_s,
            again=self.again,
            redact=Redactor(self.secrets),
            announce=self.events,
        )
        return self

    async def __aexit__(self, *_) -> None:
        await self.pace.__aexit__(None, None, None)
        self.ledger.close()

    def ended(self, *, spent: int, unknown: int = 0, left: int = 1) -> None:
        """Everything has ended and the accounts agree: `spent` in all, `left` attempts that left, `unknown` of unknown fate."""
        assert self.image_budget.in_use_nano_usd == 0
        assert self.pace.in_flight == 0
        self.image_budget.close()
        assert (self.budget.spent_nano_usd, self.budget.reserved_nano_usd) == (spent, 0)
        account = self.ledger.account
        assert not account.open
        assert (account.spent_nano_usd, account.unknown, sum(account.made.values())) == (spent, unknown, left)
        assert read_account(self.folder / "ledger.jsonl").spent_nano_usd == spent
        assert len(self.events.of(CallSent)) == len(self.events.of(CallSettled)) == left
        announced_usd = sum(settled.cost_usd for settled in self.events.of(CallSettled))
        assert announced_usd == pytest.approx(spent / NANO, abs=1e-12)  # far less than a nano-dollar


@clocked
async def test_a_reply_is_priced_timed_and_booked(tmp_path):
    async with Layer(tmp_path, Script(reply(), takes_s=2)) as layer:
        came = await layer.dispatched.complete(request())
        assert came.cost_usd == pytest.approx(COST / 1e9)
        assert came.latency_s == pytest.approx(2, abs=0.01)
        layer.ended(spent=COST)
        assert layer.ledger.account.usage == Usage(10, 0, 0, 5, 0)
        assert layer.events.of(CallSent) == [CallSent("answer", "double", WORST / 1e9)]
        assert layer.events.of(CallSettled) == [CallSettled("answer", "double", came, COST / 1e9)]


@pytest.mark.parametrize("outcome", ["truncated", "refused", "blocked", "unreadable"])
def test_every_whole_reply_is_billed_whatever_it_says(tmp_path, outcome):
    async def main():
        async with Layer(tmp_path, Script(reply("", outcome))) as layer:
            assert (await layer.dispatched.complete(request())).outcome == outcome
            layer.ended(spent=COST)

    run(main())


@clocked
async def test_a_reply_without_any_usage_is_booked_at_its_worst_case(tmp_path):
    async with Layer(tmp_path, Script(reply(usage=Usage()))) as layer:
        assert (await layer.dispatched.complete(request())).cost_usd == pytest.approx(WORST / 1e9)
        layer.ended(spent=WORST)


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
        async with Layer(tmp_path, Script(error)) as layer:
            with pytest.raises(type(error)):
                await layer.dispatched.complete(request())
            layer.ended(spent=spent, unknown=unknown)

    run(main())


@clocked
async def test_no_answer_in_time_is_a_transient_failure_of_unknown_fate(tmp_path):
    async with Layer(tmp_path, Script(reply(), takes_s=1000), timeout_s=30) as layer:
        began_s = now_s()
        with pytest.raises(Transient, match="no answer within 30 s") as error:
            await layer.dispatched.complete(request())
        assert error.value.fate_unknown
        assert now_s() - began_s == pytest.approx(30, abs=0.01)
        layer.ended(spent=WORST, unknown=1)


@clocked
async def test_the_time_limit_is_the_attempts_own_and_not_that_of_the_wait_before_it(tmp_path):
    async with Layer(tmp_path, Script(reply(), takes_s=20), Limits(concurrency=1), timeout_s=30) as layer:
        await asyncio.gather(*(layer.dispatched.complete(request(draw=draw)) for draw in range(5)))
        layer.ended(spent=5 * COST, left=5)


@pytest.mark.parametrize("limits", [Limits(input_tokens_per_minute=75 * 60), Limits(output_tokens_per_minute=50 * 60)])
def test_calls_leave_as_the_limits_of_the_tokens_that_each_is_expected_to_use_allow(tmp_path, limits):
    """`request()` is expected to use 75 tokens in and 50 out."""

    async def main():
        async with Layer(tmp_path, Script(reply()), limits) as layer:
            began_s = now_s()
            await asyncio.gather(*(layer.dispatched.complete(request(draw=draw)) for draw in range(10)))
            assert now_s() - began_s == pytest.approx(10, abs=0.5)

    run(main())


@clocked
async def test_the_pace_hears_of_every_end(tmp_path):
    async with Layer(tmp_path, Script(RateLimited("slow down", retry_after_s=5), reply())) as layer:
        with pytest.raises(RateLimited):
            await layer.dispatched.complete(request())
        began_s = now_s()
        await layer.dispatched.complete(request())
        assert now_s() - began_s == pytest.approx(5, abs=0.01)
        layer.ended(spent=COST, left=2)


@clocked
async def test_once_the_provider_is_down_nothing_leaves_and_nothing_is_held_back(tmp_path):
    async with Layer(tmp_path, Script(Fatal("the key was refused", kind="key"))) as layer:
        for _ in range(3):
            with pytest.raises(Fatal):
                await layer.dispatched.complete(request())
        assert len(layer.backend.requests) == 1
        layer.ended(spent=0)


@clocked
async def test_repetitions_are_marked_in_the_ledger(tmp_path):
    async with Layer(tmp_path, Script(reply()), again=True) as layer:
        await layer.dispatched.complete(request())
        assert layer.ledger.account.retried == 1


@clocked
async def test_no_key_passes_in_an_error(tmp_path):
    error = Fatal("the key was refused: 401 Incorrect API key provided: sk-secret", kind="key")
    async with Layer(tmp_path, Script(error), secrets=("sk-secret",)) as layer:
        with pytest.raises(Fatal) as raised:
            await layer.dispatched.complete(request())
        assert str(raised.value) == "the key was refused: 401 Incorrect API key provided: [key]"
        assert "sk-secret" not in repr(raised.value)
        assert "sk-secret" not in str(layer.pace.down)


@clocked
async def test_no_key_passes_in_the_pause_that_an_error_asks_for(tmp_path):
    error = RateLimited("slow down, sk-secret", retry_after_s=5)
    async with Layer(tmp_path, Script(error), secrets=("sk-secret",)) as layer:
        with pytest.raises(RateLimited):
            await layer.dispatched.complete(request())
        assert [paused.reason for paused in layer.events.of(Paused)] == ["slow down, [key]"]


# --- cancelled, wherever it was


@clocked
async def test_a_call_cancelled_while_it_waits_for_money_has_not_left(tmp_path):
    async with Layer(tmp_path, Script(reply()), cap=10 * WORST) as layer:
        other = layer.budget.for_image(WORST)
        taken = await other.reserve(WORST)
        call = asyncio.get_running_loop().create_task(layer.dispatched.complete(request()))
        await settle()
        assert layer.image_budget.waiting == 1
        call.cancel()
        await asyncio.wait([call])
        taken.refund()
        other.close()
        layer.ended(spent=0, left=0)


@clocked
async def test_a_call_cancelled_while_it_waits_for_a_slot_has_not_left(tmp_path):
    async with Layer(tmp_path, Script(reply(), takes_s=50), Limits(concurrency=1)) as layer:
        first = asyncio.get_running_loop().create_task(layer.dispatched.complete(request()))
        second = asyncio.get_running_loop().create_task(layer.dispatched.complete(request(draw=1)))
        await asyncio.sleep(1)
        second.cancel()
        await first
        assert second.cancelled()
        layer.ended(spent=COST, left=1)


@clocked
async def test_a_call_cancelled_after_it_left_stays_spent_at_its_worst_case(tmp_path):
    async with Layer(tmp_path, Script(reply(), takes_s=100)) as layer:
        call = asyncio.get_running_loop().create_task(layer.dispatched.complete(request()))
        await asyncio.sleep(1)
        call.cancel()
        await asyncio.wait([call])
        assert call.cancelled()
        layer.ended(spent=WORST, unknown=1)


@pytest.mark.parametrize("turns", range(25))
def test_a_call_cancelled_at_any_turn_of_the_loop_leaves_the_accounts_in_order(tmp_path, turns):
    """Whichever await it stands at: either it never left, or it is booked whole, or at its worst."""

    async def answer(request):
        for _ in range(5):
            await asyncio.sleep(0)
        return reply()

    async def main():
        async with Layer(tmp_path, Function(answer), Limits(requests_per_minute=600_000)) as layer:
            call = asyncio.get_running_loop().create_task(layer.dispatched.complete(request()))
            await settle(turns)
            call.cancel()
            await asyncio.wait([call])
            left = sum(layer.ledger.account.made.values())
            assert left == len(layer.backend.requests)
            spent = 0 if not left else WORST if call.cancelled() else COST
            layer.ended(spent=spent, unknown=int(call.cancelled() and left), left=left)

    run(main())


# --- bounds


@clocked
async def test_a_call_dearer_than_its_bound_is_booked_in_full_said_and_raises_all_later_bounds(tmp_path):
    dear = reply(usage=Usage(input_tokens=10_000, output_tokens=1_000))
    async with Layer(tmp_path, Script(dear)) as layer:
        await layer.dispatched.complete(request())
        cost = 10_000 * 1_000 + 1_000 * 10_000
        assert layer.events.of(BoundBroken) == [BoundBroken("answer", "double", WORST / 1e9, cost / 1e9)]
        assert layer.cost_model.worst_nano_usd(request()) == pytest.approx(cost, rel=1e-6)
        assert layer.cost_model.worst_nano_usd(request()) >= cost
        layer.ended(spent=cost)


@clocked
async def test_a_reply_without_usage_carries_its_worst_case_and_breaks_no_bound(tmp_path):
    async with Layer(tmp_path, Script(reply(usage=Usage()))) as layer:
        came = await layer.dispatched.complete(request())
        assert came.usage.output_tokens == 100
        assert not layer.events.of(BoundBroken)
        layer.ended(spent=WORST)


@clocked
async def test_the_pace_hears_of_a_success_and_learns_the_limits_that_the_reply_states(tmp_path):
    headers = {"x-ratelimit-limit-requests": "60"}
    async with Layer(tmp_path, Script(reply(headers=headers))) as layer:
        await layer.dispatched.complete(request())
        assert layer.pace.per_minute == {"requests": pytest.approx(60)}
        layer.ended(spent=COST)


@clocked
async def test_many_calls_that_break_the_same_bound_together_raise_it_once(tmp_path):
    """They were all under way with the old bound: their ratios are one finding, and do not multiply."""
    dear = reply(usage=Usage(input_tokens=10_000, output_tokens=1_000))
    async with Layer(tmp_path, Script(dear, takes_s=1), image_worst=100 * WORST) as layer:
        await asyncio.gather(*(layer.dispatched.complete(request(draw=draw)) for draw in range(20)))
        cost = 10_000 * 1_000 + 1_000 * 10_000
        assert layer.cost_model.worst_nano_usd(request()) == pytest.approx(cost, rel=1e-6)


@clocked
async def test_a_full_disk_lets_no_call_leave_unbooked(tmp_path):
    async with Layer(tmp_path, Script(reply())) as layer:
        size = (tmp_path / "ledger.jsonl").stat().st_size
        with disk_of(size), pytest.raises(UserError, match="cannot be written"):
            await layer.dispatched.complete(request())
        assert not layer.backend.requests
        layer.ended(spent=0, left=0)


@clocked
async def test_a_reply_that_a_full_disk_cannot_book_costs_its_worst_case_in_the_ledger_and_in_the_budget(tmp_path):
    with ExitStack() as filled:

        def answer(_):
            filled.enter_context(disk_of((tmp_path / "ledger.jsonl").stat().st_size))
            return reply()

        async with Layer(tmp_path, Function(answer)) as layer:
            with pytest.raises(UserError, match="cannot be written"):
                await layer.dispatched.complete(request())
            filled.close()
            assert layer.budget.spent_nano_usd == read_account(tmp_path / "ledger.jsonl").spent_nano_usd == WORST
            assert layer.image_budget.in_use_nano_usd == layer.pace.in_flight == 0


@clocked
async def test_a_bug_after_a_call_was_booked_books_it_no_second_time(tmp_path):
    class Failing(Listener):
        def __call__(self, event):
            super().__call__(event)
            if isinstance(event, BoundBroken):
                raise ValueError("a bug")

    dear = reply(usage=Usage(input_tokens=10_000, output_tokens=1_000))
    async with Layer(tmp_path, Script(dear), events=Failing()) as layer:
        with pytest.raises(ValueError, match="a bug"):
            await layer.dispatched.complete(request())
        layer.ended(spent=10_000 * 1_000 + 1_000 * 10_000)


KEY = "sk-proj-7Qm2_Xr9tVbK-4hLpZw8NcJ0aYgSdFe61R"


async def test_a_key_in_any_field_of_a_reply_is_hidden_before_anybody_gets_to_know_it(tmp_path):
    came = reply(f"text {KEY} and {KEY[:5]}")
    came = replace(came, finish_reason=KEY[5:], model=f"m {KEY}", detail=KEY.upper(), headers={"x-request-id": KEY})
    async with Layer(tmp_path, Script(came), secrets=(KEY,)) as layer:
        kept = await layer.dispatched.complete(request())
    assert (kept.text, kept.finish_reason, kept.model) == ("text [key] and [key]", "[key]", "m [key]")
    assert (kept.detail, kept.headers) == ("[key]", {"x-request-id": "[key]"})
    assert (kept.outcome, kept.usage) == (came.outcome, came.usage)
    assert len(layer.events.of(KeyHidden)) == 1
    (settled,) = layer.events.of(CallSettled)
    assert settled.reply == kept
