"""The first call about an image leaves before those that begin alike, where that makes them hits, and only there."""

from __future__ import annotations

import asyncio

import pytest
from doubles import reply, request

from unsaf_async.calls.led import ENOUGH, Hits, Led
from unsaf_async.errors import Transient
from unsaf_async.records import PromptCache, Usage

READ = reply(usage=Usage(input_tokens=10, cached_input_tokens=8, output_tokens=1))
MISSED = reply(usage=Usage(input_tokens=10, output_tokens=1))


class Held:
    """A provider whose calls end when they are told to."""

    def __init__(self):
        self.under_way = []

    async def complete(self, asked):
        ending = asyncio.get_running_loop().create_future()
        self.under_way.append((asked, ending))
        return await ending

    def end(self, place=0, *, error=None, brought=READ):
        _, ending = self.under_way.pop(place)
        if error:
            ending.set_exception(error)
        else:
            ending.set_result(brought)


def asked(prefix="image:"):
    return request(prompt_cache=PromptCache(prefix, 1044, 12) if prefix is not None else None)


async def begun(led, *requests):
    tasks = [asyncio.ensure_future(led.complete(each)) for each in requests]
    await settled()
    return tasks


async def settled():
    for _ in range(8):
        await asyncio.sleep(0)


async def test_the_others_wait_for_the_first_reply_and_then_leave_together():
    inner = Held()
    tasks = await begun(Led(inner, Hits()), *[asked()] * 4)
    assert len(inner.under_way) == 1
    inner.end()
    await settled()
    assert len(inner.under_way) == 3
    for _ in range(3):
        inner.end()
    assert await asyncio.gather(*tasks) == [READ] * 4


@pytest.mark.parametrize("prefix", [None, ""])
async def test_calls_that_share_nothing_with_others_wait_for_nobody(prefix):
    inner = Held()
    tasks = await begun(Led(inner, Hits()), *[asked(prefix)] * 3)
    assert len(inner.under_way) == 3
    for task in tasks:
        task.cancel()


async def test_calls_that_begin_otherwise_do_not_wait_for_one_another():
    inner = Held()
    tasks = await begun(Led(inner, Hits()), asked("a"), asked("a"), asked("b"))
    assert [each.prompt_cache.prefix for each, _ in inner.under_way] == ["a", "b"]
    for task in tasks:
        task.cancel()


async def test_where_the_first_fails_or_is_cancelled_the_next_goes_first():
    inner = Held()
    tasks = await begun(Led(inner, Hits()), *[asked()] * 4)
    inner.end(error=Transient("no"))
    await settled()
    assert len(inner.under_way) == 1
    tasks[1].cancel()
    await settled()
    inner.under_way.pop(0)
    assert len(inner.under_way) == 1
    inner.end()
    await settled()
    inner.end()
    ends = await asyncio.gather(*tasks, return_exceptions=True)
    assert isinstance(ends[0], Transient)
    assert isinstance(ends[1], asyncio.CancelledError)
    assert ends[2:] == [READ, READ]


async def test_where_hardly_any_that_waited_is_read_from_the_cache_none_waits_any_more():
    hits = Hits()
    for _ in range(ENOUGH):
        hits.add(MISSED)
    inner = Held()
    tasks = await begun(Led(inner, hits), *[asked()] * 3)
    assert len(inner.under_way) == 3
    for task in tasks:
        task.cancel()


def test_a_quarter_of_hits_is_worth_the_wait_and_too_few_calls_tell_nothing():
    hits = Hits()
    for number in range(ENOUGH):
        assert not hits.hopeless
        hits.add(READ if number % 4 == 0 else MISSED)
    assert not hits.hopeless
    hits.add(MISSED)
    assert hits.hopeless
