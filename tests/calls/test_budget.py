"""The budget: never above the cap, whole images, nobody waits for ever, and every dollar comes back."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from random import Random

import pytest
from clock import clocked, run
from doubles import settle
from hypothesis import given, settings
from hypothesis import strategies as st

from unsaf_async.calls.budget import NANO, Budget
from unsaf_async.errors import BudgetExhausted, Unfunded


def task(coroutine):
    return asyncio.get_running_loop().create_task(coroutine)


@clocked
async def test_an_images_first_call_reserves_the_whole_image_and_its_end_gives_the_rest_back():
    budget = Budget(100)
    image = budget.for_image(30)
    assert budget.reserved_nano_usd == 0
    reservation = await image.reserve(10)
    assert budget.reserved_nano_usd == 30
    reservation.settle(4)
    assert (budget.spent_nano_usd, budget.reserved_nano_usd) == (4, 20)
    image.close()
    image.close()
    assert (budget.spent_nano_usd, budget.reserved_nano_usd) == (4, 0)


@clocked
async def test_the_refund_of_a_call_stays_with_its_image():
    budget = Budget(10)
    image = budget.for_image(10)
    (await image.reserve(10)).refund()
    assert budget.reserved_nano_usd == 10
    (await image.reserve(10)).settle(1)
    assert (budget.spent_nano_usd, budget.reserved_nano_usd) == (1, 0)


@clocked
async def test_a_refund_after_the_image_is_closed_is_free_for_all():
    budget = Budget(10)
    image = budget.for_image(10)
    reservation = await image.reserve(4)
    image.close()
    assert budget.reserved_nano_usd == 4
    reservation.refund()
    assert (budget.reserved_nano_usd, image.available_nano_usd) == (0, 0)
    (await budget.for_image(10).reserve(10)).settle(10)


@clocked
async def test_a_reservation_ends_once():
    reservation = await Budget(10).for_image(10).reserve(5)
    reservation.settle(5)
    with pytest.raises(RuntimeError):
        reservation.refund()


@clocked
async def test_without_a_cap_nobody_waits_and_everything_is_counted():
    budget = Budget()
    images = [budget.for_image(10**12) for _ in range(50)]
    for reservation in [await image.reserve(10**9) for image in images]:
        reservation.settle(10**9)
    for image in images:
        image.close()
    assert (budget.spent_nano_usd, budget.reserved_nano_usd) == (50 * 10**9, 0)


@clocked
async def test_an_image_waits_until_another_one_gives_its_money_back():
    budget = Budget(15)
    first, second = budget.for_image(10), budget.for_image(10)
    reservation = await first.reserve(10)
    waiting = task(second.reserve(10))
    await settle()
    assert not waiting.done()
    reservation.settle(3)
    (await waiting).settle(10)
    assert budget.spent_nano_usd == 13


@clocked
async def test_images_begin_in_the_order_in_which_they_came():
    budget = Budget(10)
    reservation = await budget.for_image(10).reserve(10)
    begun = []

    async def begin(name, worst):
        image = budget.for_image(worst)
        taken = await image.reserve(worst)
        begun.append(name)
        taken.settle(0)
        image.close()

    tasks = [task(begin(name, worst)) for name, worst in [("large", 10), ("small", 1), ("middle", 5)]]
    await settle()
    assert not begun  # the small one would fit into nothing, and does not overtake
    reservation.settle(0)
    await asyncio.gather(*tasks)
    assert begun == ["large", "small", "middle"]


@clocked
async def test_a_begun_image_that_needs_more_goes_before_new_ones():
    budget = Budget(20)
    begun, other = budget.for_image(10), budget.for_image(10)
    (await begun.reserve(10)).settle(10)  # of unknown fate: its worst case is gone
    taken = await other.reserve(10)
    new = task(budget.for_image(1).reserve(1))
    more = task(begun.reserve(8))
    await settle()
    assert not new.done()
    assert not more.done()
    taken.settle(2)
    other.close()
    (await more).settle(8)
    assert budget.spent_nano_usd == 20
    begun.close()
    with pytest.raises(BudgetExhausted):
        await new


@clocked
async def test_an_image_that_can_never_be_paid_is_refused_and_one_that_can_is_not():
    """The large one waits first; what is free covers the small one, which must not be told otherwise."""
    budget = Budget(10)
    block = budget.for_image(10)
    reservation = await block.reserve(10)
    large, small = budget.for_image(8), budget.for_image(3)
    waiting = [task(large.reserve(8)), task(small.reserve(3))]
    await settle()
    reservation.settle(5)
    block.close()
    with pytest.raises(BudgetExhausted, match=r"\$0\.0000 is free|raise max_cost"):
        await waiting[0]
    (await waiting[1]).settle(3)
    assert budget.spent_nano_usd == 8


@clocked
async def test_the_refusal_says_what_is_spent_what_is_free_and_what_is_needed():
    budget = Budget(2 * NANO, spent_nano_usd=NANO)
    with pytest.raises(BudgetExhausted) as refusal:
        await budget.for_image(3 * NANO // 2).reserve(NANO)
    text = str(refusal.value)
    for part in ("max_cost 2", "$1.0000 is spent", "$1.0000 is free", "$1.5000", "next image", "raise max_cost"):
        assert part in text
    assert "\n" not in text


@clocked
async def test_the_refusal_counts_what_is_reserved_as_not_free():
    budget = Budget(2 * NANO)
    one, other = budget.for_image(NANO), budget.for_image(NANO)
    for image in (one, other):
        (await image.reserve(7 * NANO // 10)).settle(7 * NANO // 10)  # $0.30 stay reserved
    waiting = [task(image.reserve(NANO // 2)) for image in (one, other)]
    await settle()
    with pytest.raises(Unfunded, match=r"\$1\.4000 is spent and \$0\.0000 is free, less than the \$0\.2000"):
        await waiting[1]
    other.close()
    (await waiting[0]).settle(0)


@clocked
async def test_where_broken_bounds_have_passed_the_cap_nothing_is_free():
    with pytest.raises(BudgetExhausted, match=r"\$2\.5000 is spent and \$0\.0000 is free"):
        await Budget(2 * NANO, spent_nano_usd=5 * NANO // 2).for_image(NANO).reserve(NANO)


@clocked
async def test_what_is_reserved_may_be_used_even_if_a_broken_bound_has_passed_the_cap():
    budget = Budget(20)
    image, other = budget.for_image(10), budget.for_image(10)
    (await image.reserve(6)).settle(6)
    sibling, dear = await image.reserve(4), await other.reserve(10)
    waiting = task(image.reserve(4))
    await settle()
    dear.settle(15)
    other.close()
    assert budget.spent_nano_usd + budget.reserved_nano_usd == 25
    sibling.refund()
    (await waiting).settle(4)


@clocked
async def test_an_image_whose_first_attempt_is_dearer_than_was_planned_reserves_that():
    """A bound that was broken meanwhile has raised all later ones."""
    budget = Budget(10)
    with budget.for_image(5) as image:
        reservation = await image.reserve(8)
        assert (budget.reserved_nano_usd, image.available_nano_usd) == (8, 0)
        reservation.refund()
    with pytest.raises(BudgetExhausted):
        await budget.for_image(5).reserve(11)


@clocked
async def test_a_begun_image_without_money_loses_a_call_and_does_not_stop_the_run():
    budget = Budget(10)
    image = budget.for_image(10)
    (await image.reserve(9)).settle(9)
    with pytest.raises(Unfunded, match="begun image"):
        await image.reserve(5)
    (await image.reserve(1)).settle(1)


@clocked
async def test_what_a_waiting_call_needs_is_reckoned_when_it_goes_and_not_when_it_came():
    """While it waits, a sibling takes what was available: granting the old difference would let more leave than is reserved."""
    budget = Budget(20)
    image, other = budget.for_image(10), budget.for_image(5)
    (await image.reserve(5)).settle(5)  # of unknown fate
    first, second = await other.reserve(5), await budget.for_image(5).reserve(5)
    large = task(image.reserve(8))  # 5 are available, 3 are needed beyond
    await settle()
    sibling = await image.reserve(5)  # takes those 5
    assert budget.reserved_nano_usd >= image.in_use_nano_usd + other.in_use_nano_usd + 5
    first.settle(1)
    other.close()
    await settle()
    assert image.available_nano_usd >= 0
    assert not large.done()
    second.settle(0)
    await settle()
    assert image.available_nano_usd >= 0
    sibling.settle(5)
    with suppress(Unfunded):
        (await large).settle(8)
    assert budget.spent_nano_usd + budget.reserved_nano_usd <= 20


@clocked
async def test_money_that_comes_back_to_the_image_wakes_the_images_own_call():
    """A sibling was turned away (refund): its money stays with the image, and just that was lacking."""
    budget = Budget(20)
    image = budget.for_image(20)
    (await image.reserve(6)).settle(6)
    sibling = await image.reserve(10)
    waiting = task(image.reserve(9))
    await settle()
    assert not waiting.done()
    sibling.refund()
    (await waiting).settle(9)
    assert budget.spent_nano_usd == 15


@clocked
async def test_a_call_whose_money_came_back_to_its_image_goes_before_one_that_needs_more():
    budget = Budget(20)
    poor, image = budget.for_image(10), budget.for_image(10)
    for each in (poor, image):
        (await each.reserve(7)).settle(7)  # 3 are left
    sibling = await image.reserve(3)
    lacking, waiting = task(poor.reserve(5)), task(image.reserve(3))
    await settle()
    sibling.refund()
    (await waiting).settle(3)
    image.close()
    with pytest.raises(Unfunded):
        await lacking


@clocked
async def test_a_refund_that_is_not_enough_ends_the_wait_too():
    budget = Budget(20)
    image = budget.for_image(20)
    (await image.reserve(10)).settle(10)
    sibling = await image.reserve(4)
    waiting = task(image.reserve(15))
    await settle()
    sibling.refund()
    with pytest.raises(Unfunded):
        await waiting


@clocked
async def test_when_all_images_wait_for_more_one_call_yields_and_the_others_finish():
    budget = Budget(20)
    one, other = budget.for_image(10), budget.for_image(10)
    for image in (one, other):
        (await image.reserve(7)).settle(7)
    waiting = [task(one.reserve(5)), task(other.reserve(5))]
    await settle()
    with pytest.raises(Unfunded):
        await waiting[1]
    other.close()
    (await waiting[0]).settle(5)
    one.close()
    assert (budget.spent_nano_usd, budget.reserved_nano_usd) == (19, 0)


@clocked
async def test_a_cancelled_waiter_leaves_the_queue_to_the_next_one():
    budget = Budget(10)
    reservation = await budget.for_image(7).reserve(7)
    large, small = task(budget.for_image(9).reserve(9)), task(budget.for_image(3).reserve(3))
    await settle()
    large.cancel()
    (await small).settle(3)
    assert large.cancelled()
    reservation.settle(7)
    assert (budget.spent_nano_usd, budget.reserved_nano_usd) == (10, 0)


@clocked
async def test_money_granted_to_a_call_that_was_cancelled_in_the_same_breath_comes_back():
    budget = Budget(10)
    blocker = budget.for_image(10)
    reservation = await blocker.reserve(10)
    image = budget.for_image(10)
    waiting = task(image.reserve(10))
    await settle()
    reservation.settle(0)  # grants
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    image.close()
    assert budget.reserved_nano_usd == 0
    (await budget.for_image(10).reserve(10)).settle(10)


@clocked
async def test_a_call_that_was_refused_and_cancelled_in_the_same_breath_is_cancelled():
    budget = Budget(10)
    blocker = budget.for_image(10)
    reservation = await blocker.reserve(10)
    waiting = task(budget.for_image(10).reserve(10))
    await settle()
    reservation.settle(5)
    blocker.close()  # refuses
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    assert (budget.spent_nano_usd, budget.reserved_nano_usd) == (5, 0)


@clocked
async def test_an_image_that_waits_for_another_ones_call_counts_as_waiting():
    """Its money would never come back to the call that it waits for: the two would wait for each other."""
    budget = Budget(10)
    begun, new = budget.for_image(10), budget.for_image(5)
    (await begun.reserve(2)).settle(2)
    leader = task(new.reserve(5))
    await settle()
    assert not leader.done()

    async def follow():
        with begun.waiting_elsewhere():
            await asyncio.wait([leader])

    await asyncio.wait_for(follow(), timeout=10)
    assert isinstance(leader.exception(), BudgetExhausted)
    assert begun.may_give_back


def test_what_is_spent_already_counts_against_the_cap():
    async def main():
        with pytest.raises(BudgetExhausted):
            await Budget(10, spent_nano_usd=6).for_image(5).reserve(1)
        await Budget(10, spent_nano_usd=5).for_image(5).reserve(1)

    run(main())


# --- random histories


class _World:
    """Images whose calls reserve, fail, repeat, are cancelled and cost what they cost; the server's account beside ours."""

    def __init__(self, random: Random, cap: int, unknown: bool, cancel: bool) -> None:
        self.random = random
        self.cap = cap
        self.budget = Budget(cap)
        self.unknown = unknown
        self.cancel = cancel
        self.billed = 0
        self.at_risk = 0
        self.ended: dict[str, int] = {}

    def check(self) -> None:
        budget = self.budget
        assert budget.spent_nano_usd + budget.reserved_nano_usd <= self.cap
        assert budget.reserved_nano_usd >= 0
        assert self.billed + self.at_risk <= self.cap  # the server's worst possible account
        assert self.billed <= budget.spent_nano_usd

    async def pause(self) -> None:
        await asyncio.sleep(self.random.choice([0, 0, 0.01, 0.5]))
        self.check()

    async def attempt(self, image, worst: int) -> None:
        while True:
            reservation = await image.reserve(worst)
            assert image.available_nano_usd >= 0
            self.at_risk += worst
            self.check()
            fate = "ok"
            try:
                await self.pause()
                fate = self.random.choice(["ok", "ok", "ok", "turned away", "unknown" if self.unknown else "ok"])
            except asyncio.CancelledError:
                fate = "cancelled"
                raise
            finally:
                self.at_risk -= worst
                billed = self.random.randint(0, worst) if fate != "turned away" else 0
                self.billed += billed
                if fate == "ok":
                    reservation.settle(billed)
                elif fate == "turned away":
                    reservation.refund()
                else:
                    reservation.settle(worst)
                self.check()
            if fate == "ok":
                return
            await self.pause()

    async def image(self, calls: list[int]) -> str:
        image = self.budget.for_image(sum(calls))
        await self.pause()
        ended = "whole"
        try:
            async with asyncio.TaskGroup() as group:
                for worst in calls:
                    group.create_task(self.attempt(image, worst))
                    await self.pause()
        except* BudgetExhausted:
            assert not image.begun
            ended = "not begun"
        except* Unfunded:
            assert image.begun
            ended = "unfunded"
        finally:
            image.close()
            self.check()
        return ended

    async def live(self, images: list[list[int]]) -> None:
        tasks = [task(self.image(calls)) for calls in images]
        if self.cancel:
            await self.pause()
            for victim in self.random.sample(tasks, len(tasks) // 3):
                await self.pause()
                victim.cancel()
        for outcome in await asyncio.gather(*tasks, return_exceptions=True):
            if isinstance(outcome, BaseException) and not isinstance(outcome, asyncio.CancelledError):
                raise outcome
            self.ended[str(outcome)] = self.ended.get(str(outcome), 0) + 1
        assert self.budget.reserved_nano_usd == 0
        self.check()


@pytest.mark.no_cover
@settings(max_examples=250, deadline=None)
@given(
    seed=st.integers(0, 2**32),
    cap=st.integers(1, 400),
    images=st.lists(st.lists(st.integers(0, 30), min_size=1, max_size=6), min_size=1, max_size=12),
    unknown=st.booleans(),
    cancel=st.booleans(),
)
def test_no_history_passes_the_cap_hangs_or_keeps_money(seed, cap, images, unknown, cancel):
    """`ClockLoop` raises where everybody waits for ever, so that an end is proof that nobody does."""
    world = _World(Random(seed), cap, unknown, cancel)
    run(world.live(images))
    if not unknown:
        assert "unfunded" not in world.ended  # images are whole or not begun
