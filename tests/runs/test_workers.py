"""Many images: as many at once as there are workers, each kept once, and a stop that finishes what is under way."""

from __future__ import annotations

import asyncio

import pytest
from clock import clocked, now_s, run
from hypothesis import given, settings
from hypothesis import strategies as st

from unsaf_async.errors import BudgetExhausted, ProviderDown, RunStopped, UserError
from unsaf_async.records import Examination, ImageRecord
from unsaf_async.runs.workers import run as examine_all


def examination(number: int) -> Examination:
    return Examination(image=ImageRecord(id=str(number), path=f"{number}.jpg"))


class Work:
    """Images 0, 1, 2, ...; `ends` says how long each takes, or with what it ends."""

    def __init__(self, number: int, ends=lambda number: 1.0) -> None:
        self.number = number
        self.ends = ends
        self.pulled = 0
        self.begun: list[int] = []
        self.kept: list[int] = []
        self.under_way = self.most_under_way = self.most_ahead = 0

    def images(self):
        """The images, one by one."""
        for number in range(self.number):
            self.pulled += 1
            self.most_ahead = max(self.most_ahead, self.pulled - len(self.kept))
            yield number

    async def examine(self, number: int) -> Examination:
        """One image."""
        self.begun.append(number)
        self.under_way += 1
        self.most_under_way = max(self.most_under_way, self.under_way)
        try:
            end = self.ends(number)
            await asyncio.sleep(end if isinstance(end, float) else 0.5)
            if isinstance(end, BaseException):
                raise end
        finally:
            self.under_way -= 1
        return examination(number)

    def keep(self, kept: Examination) -> None:
        """Note one."""
        self.kept.append(int(kept.image.id))

    async def all(self, width: int, **options) -> None:
        """Run them."""
        await examine_all(self.images(), self.examine, self.keep, width=width, **options)


@settings(max_examples=50, deadline=None)
@given(st.integers(0, 40), st.integers(1, 8), st.lists(st.floats(0, 5), min_size=1, max_size=7))
def test_every_image_is_kept_once_and_the_width_is_respected(number, width, times_s):
    work = Work(number, lambda image: times_s[image % len(times_s)])
    run(work.all(width))
    assert sorted(work.kept) == list(range(number))
    assert work.begun == list(range(number))
    assert work.most_under_way <= width
    assert work.most_ahead <= width  # memory does not grow with the number of images


@clocked
async def test_all_workers_work():
    work = Work(20)
    began_s = now_s()
    await work.all(4)
    assert work.most_under_way == 4
    assert now_s() - began_s == pytest.approx(5, abs=0.01)


@clocked
async def test_a_slow_image_holds_up_its_own_worker_alone():
    work = Work(10, lambda image: 100.0 if image == 0 else 1.0)
    began_s = now_s()
    await work.all(2)
    assert work.kept[-1] == 0
    assert now_s() - began_s == pytest.approx(100, abs=0.1)


@pytest.mark.parametrize("stop", [BudgetExhausted("no money"), ProviderDown("down"), RunStopped("interrupted")])
def test_a_stop_begins_no_further_image_and_finishes_those_under_way(stop):
    async def main():
        work = Work(50, lambda image: stop if image == 5 else 10.0)
        with pytest.raises(type(stop)) as raised:
            await work.all(4)
        assert raised.value is stop
        assert sorted(work.kept) == [number for number in work.begun if number != 5]
        assert max(work.begun) == 7
        assert work.under_way == 0

    run(main())


@clocked
async def test_a_stop_that_comes_once_for_each_call_of_an_image_is_one_stop():
    nested = ExceptionGroup("calls", [ExceptionGroup("inner", [BudgetExhausted("first")]), BudgetExhausted("second")])
    work = Work(10, lambda image: nested if image == 0 else 1.0)
    with pytest.raises(BudgetExhausted, match="first"):
        await work.all(2)
    assert work.kept == [1]


@clocked
async def test_when_several_images_stop_the_first_reason_counts():
    work = Work(10, lambda image: RunStopped(f"reason {image}"))
    with pytest.raises(RunStopped, match="reason 0"):
        await work.all(3)
    assert work.begun == [0, 1, 2]


@clocked
async def test_a_bug_is_no_stop_and_is_not_hidden_by_one():
    mixed = ExceptionGroup("calls", [RunStopped("stop"), KeyError("bug")])
    for error in (KeyError("bug"), mixed):
        work = Work(10, lambda image, error=error: error if image == 1 else 1.0)
        with pytest.raises(BaseExceptionGroup) as raised:
            await work.all(2)
        assert raised.group_contains(KeyError)


@clocked
async def test_an_examination_that_cannot_be_kept_stops_everything():
    work = Work(10)

    def full(kept):
        raise UserError("the disk is full")

    with pytest.raises(BaseExceptionGroup) as raised:
        await examine_all(work.images(), work.examine, full, width=3)
    assert raised.group_contains(UserError)
    assert len(work.begun) <= 6


@clocked
async def test_enough_is_asked_before_each_image_and_ends_the_run_well():
    work = Work(100)
    await work.all(3, enough=lambda: len(work.kept) >= 7)
    assert 7 <= len(work.kept) <= 9
    assert sorted(work.kept) == sorted(work.begun)
    none = Work(100)
    await none.all(3, enough=lambda: True)
    assert none.begun == []


@clocked
async def test_a_cancelled_run_leaves_nothing_running():
    work = Work(100, lambda image: 10.0)
    running = asyncio.get_running_loop().create_task(work.all(4))
    await asyncio.sleep(15)
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    assert work.under_way == 0
    assert sorted(work.kept) == [0, 1, 2, 3]


@clocked
async def test_no_images_are_no_work():
    await Work(0).all(5)


@clocked
async def test_no_more_are_under_way_than_are_wanted_and_one_is_always():
    work = Work(30)
    seen: list[int] = []

    def wanted() -> int:
        seen.append(len(work.kept))
        return 10 - len(work.kept) if len(work.kept) < 10 else 0

    await work.all(100, wanted=wanted, enough=lambda: len(work.kept) >= 14)
    assert work.most_under_way == 10
    assert len(work.kept) == 14, "the first ten together, then one by one until it is enough"
    assert seen == sorted(seen)


@clocked
async def test_a_stop_is_heard_where_only_some_are_wanted():
    work = Work(30, lambda number: RunStopped("enough") if number == 3 else 1.0)
    with pytest.raises(RunStopped):
        await work.all(100, wanted=lambda: 5)
    assert work.begun == [0, 1, 2, 3, 4]
