"""The caching layer: an equal request is paid for once, whoever asks, whenever, and whatever becomes of who asked first."""

from __future__ import annotations

import asyncio
import gc
from contextlib import contextmanager

import orjson
import pytest
from doubles import Function, Listener, Script, reply, request, settle

from unsaf_async.calls.budget import Budget
from unsaf_async.calls.cached import Cached
from unsaf_async.calls.disk import open_cache
from unsaf_async.calls.store import ReplyStore
from unsaf_async.calls.stored_reply import key_of, key_parts, packed
from unsaf_async.errors import BudgetExhausted, Fatal, Rejected, Transient, Unfunded
from unsaf_async.events import CacheHit, Notice
from unsaf_async.records import Usage


@pytest.fixture
def store(tmp_path):
    store = ReplyStore(tmp_path / "cache")
    yield store
    store.close()


class Held(Function):
    """A provider whose calls last until the test ends them: `ends[n]` is the n-th call's end."""

    def __init__(self) -> None:
        self.ends: list[asyncio.Future] = []
        super().__init__(self._wait)

    async def _wait(self, request):
        self.ends.append(asyncio.get_running_loop().create_future())
        return await self.ends[-1]

    async def called(self, times: int) -> None:
        """Wait until so many calls have come."""
        async with asyncio.timeout(5):
            while len(self.requests) < times:  # noqa: ASYNC110 - the store's thread has no event to wait for
                await asyncio.sleep(0)


async def test_the_second_time_a_reply_comes_from_the_store(store):
    inner, events = Script(reply("A cat.", cost_usd=0.5)), Listener()
    cached = Cached(inner, store, {}, "run", events)
    first, second = await cached.complete(request()), await cached.complete(request())
    assert (first.cached, second.cached) == (False, True)
    assert (second.text, second.cost_usd) == ("A cat.", 0.5)
    assert len(inner.requests) == 1
    assert events.events == [CacheHit("answer")]


async def test_what_this_run_has_just_collected_from_a_batch_was_paid_for_once_and_is_no_gift_of_the_cache(store):
    events, key = Listener(), key_of(key_parts(request()))
    await store.put(key, packed(key_parts(request()), reply("A cat.", cost_usd=0.5)))
    cached = Cached(Script(), store, {}, "run", events, collected={key})
    first, second = await cached.complete(request()), await cached.complete(request())
    assert (first.cached, first.cost_usd, second.cached) == (False, 0.5, True)
    assert events.events == [CacheHit("answer", collected=True), CacheHit("answer")]


async def test_another_run_and_another_process_find_it_too(store, tmp_path):
    await Cached(Script(reply()), store, {}, "one").complete(request())
    store.close()
    again = ReplyStore(tmp_path / "cache")
    assert (await Cached(Script(Rejected("never asked")), again, {}, "two").complete(request(role="judge"))).cached
    again.close()


async def test_a_request_that_differs_is_asked(store):
    inner = Script(reply())
    cached = Cached(inner, store, {}, "run")
    await cached.complete(request("What is this?"))
    await cached.complete(request("What is that?"))
    await cached.complete(request("What is this?", draw=1))
    assert len(inner.requests) == 3


@pytest.mark.parametrize("outcome", ["truncated", "refused", "blocked", "unreadable"])
async def test_any_other_whole_reply_is_remembered_for_its_own_run_alone(store, outcome):
    inner = Script(reply("half", outcome), reply("half", outcome), reply("whole"))
    mine, other = Cached(inner, store, {}, "mine"), Cached(inner, store, {}, "other")
    assert not (await mine.complete(request())).cached
    assert (await mine.complete(request())).outcome == outcome
    assert len(inner.requests) == 1
    assert not (await other.complete(request())).cached
    third = Cached(inner, store, {}, "third")
    assert (await third.complete(request())).text == "whole"
    assert (await mine.complete(request())).text == "whole"  # from now on everybody has it


@pytest.mark.parametrize(
    "error", [Transient("broken"), Rejected("bad"), Fatal("key", kind="key"), RuntimeError("a bug")]
)
async def test_a_call_that_failed_is_not_stored(store, error):
    inner = Script(error, reply())
    cached = Cached(inner, store, {}, "run")
    with pytest.raises(type(error)):
        await cached.complete(request())
    assert not (await cached.complete(request())).cached


async def test_equal_requests_under_way_are_one_call(store):
    inner, in_flight, events = Held(), {}, Listener()
    images = [Cached(inner, store, in_flight, "run", events) for _ in range(5)]
    calls = [asyncio.create_task(image.complete(request())) for image in images]
    await inner.called(1)
    await settle()
    assert len(inner.requests) == 1
    inner.ends[0].set_result(reply())
    replies = await asyncio.gather(*calls)
    assert [each.cached for each in replies] == [False, True, True, True, True]
    assert len(events.of(CacheHit)) == 4
    assert not in_flight


async def test_whoever_waits_gets_the_error_of_the_one_call(store):
    inner, in_flight = Held(), {}
    cached = Cached(inner, store, in_flight, "run")
    calls = [asyncio.create_task(cached.complete(request())) for _ in range(3)]
    await inner.called(1)
    inner.ends[0].set_exception(Rejected("too large"))
    for outcome in await asyncio.gather(*calls, return_exceptions=True):
        assert isinstance(outcome, Rejected)
    assert len(inner.requests) == 1
    assert not in_flight


async def test_an_error_that_nobody_else_waits_for_leaves_no_trace(store):
    def reject(_):
        raise Rejected("bad")

    told = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: told.append(context["message"]))
    with pytest.raises(Rejected):
        await Cached(Function(reject), store, {}, "run").complete(request())
    gc.collect()
    await settle()
    assert not told  # such as "Future exception was never retrieved"


async def test_who_waits_makes_the_call_when_the_first_one_is_cancelled(store):
    inner, in_flight = Held(), {}
    cached = Cached(inner, store, in_flight, "run")
    leader, *followers = [asyncio.create_task(cached.complete(request())) for _ in range(3)]
    await inner.called(1)
    leader.cancel()
    await inner.called(2)
    inner.ends[1].set_result(reply())
    replies = await asyncio.gather(*followers)
    assert leader.cancelled()
    assert [each.cached for each in replies] == [False, True]
    assert len(inner.requests) == 2


async def test_who_is_cancelled_while_waiting_leaves_the_call_to_the_others(store):
    inner = Held()
    cached = Cached(inner, store, {}, "run")
    leader, follower = [asyncio.create_task(cached.complete(request())) for _ in range(2)]
    await inner.called(1)
    follower.cancel()
    await settle()
    assert follower.cancelled()
    inner.ends[0].set_result(reply())
    assert not (await leader).cached


async def test_when_all_are_cancelled_at_once_nobody_makes_a_call_any_more(store):
    """A group that ends cancels the first and those who wait in one go: no cancellation may be taken for the other's."""
    inner, in_flight = Held(), {}
    cached = Cached(inner, store, in_flight, "run")
    calls = [asyncio.create_task(cached.complete(request())) for _ in range(3)]
    await inner.called(1)
    await settle()
    for call in calls:
        call.cancel()
    await asyncio.wait(calls, timeout=1)
    assert [call.cancelled() for call in calls] == [True, True, True]
    assert len(inner.requests) == 1
    assert not in_flight


@pytest.mark.parametrize("error", [BudgetExhausted("no money"), Unfunded("no money")])
async def test_who_waits_makes_the_call_with_its_own_money_when_the_first_one_has_none(store, error):
    """Whether an image can pay is its own affair: a funded image must not fail for another one's lack of money."""
    poor, rich, in_flight = Held(), Script(reply()), {}
    leader = asyncio.create_task(Cached(poor, store, in_flight, "run").complete(request()))
    await poor.called(1)
    follower = asyncio.create_task(Cached(rich, store, in_flight, "run").complete(request()))
    await settle()
    poor.ends[0].set_exception(error)
    assert not (await follower).cached
    with pytest.raises(type(error)):
        await leader


async def test_a_reply_that_came_before_the_cancellation_is_stored(store):
    inner = Held()
    cached = Cached(inner, store, {}, "run")
    call = asyncio.create_task(cached.complete(request()))
    await inner.called(1)
    inner.ends[0].set_result(reply())
    await asyncio.sleep(0)  # it is on its way to the disk
    call.cancel()
    with pytest.raises(asyncio.CancelledError):
        await call
    assert (await cached.complete(request())).cached
    assert len(inner.requests) == 1


async def test_waiting_for_another_images_call_is_told_to_the_image_budget(store):
    inner, in_flight, told = Held(), {}, []

    @contextmanager
    def following():
        told.append("begins")
        yield
        told.append("ends")

    calls = [
        asyncio.create_task(Cached(inner, store, in_flight, "run", following=following).complete(request()))
        for _ in range(2)
    ]
    await inner.called(1)
    await settle()
    assert told == ["begins"]
    inner.ends[0].set_result(reply())
    await asyncio.gather(*calls)
    assert told == ["begins", "ends"]


async def test_an_image_with_money_does_not_wait_for_ever_for_a_call_of_one_without(store):
    """The new image makes the call, and waits for the money that only the begun image, which waits for that call, can free."""
    budget = Budget(10)
    begun, new = budget.for_image(10), budget.for_image(6)
    in_flight = {}

    def layers(image):
        async def paid(request):
            (await image.reserve(6)).settle(1)
            return reply()

        return Cached(Function(paid), store, in_flight, "run", following=image.waiting_elsewhere)

    (await begun.reserve(1)).settle(1)
    leader = asyncio.create_task(layers(new).complete(request()))
    while not new.waiting:  # noqa: ASYNC110
        await asyncio.sleep(0)
    follower = asyncio.create_task(layers(begun).complete(request()))
    assert (await asyncio.wait_for(follower, 5)).text == "A cat."
    with pytest.raises(BudgetExhausted):
        await leader


async def test_a_planted_reply_is_a_miss_and_is_written_over(store, tmp_path):
    key = key_of(key_parts(request()))
    planter = open_cache(tmp_path / "cache")
    inner = Script(reply())
    cached = Cached(inner, store, {}, "run")
    for planted in (b"nonsense", b"{}", b'{"reply": {"text": 7}}'):
        planter.set(key, planted)
        assert not (await cached.complete(request())).cached
        assert (await cached.complete(request())).cached
    planter.close()


NAN = float("nan")


@pytest.mark.parametrize(
    "broken",
    [
        {"logprobs": (-0.5, None)},
        {"logprobs": (-0.5, "text")},
        {"logprobs": (-0.5, NAN)},
        {"logprobs": (-0.5, 3.0)},
        {"logprobs": (-0.5, True)},
        {"usage": Usage(input_tokens=-1_500_000, output_tokens=5)},
        {"usage": Usage(input_tokens=10, output_tokens=2**63)},
        {"usage": Usage(input_tokens=10, output_tokens=True)},
        {"cost_usd": -3.75},
        {"cost_usd": NAN},
        {"latency_s": -1.0},
        {"headers": {}},
        {"cached": True},
    ],
    ids=str,
)
async def test_a_stored_reply_with_an_impossible_figure_is_told_once_and_asked_for_anew(store, tmp_path, broken):
    """Earlier versions stored them, and every resume of the run ended in a traceback."""
    parts = key_parts(request())
    stored = orjson.loads(packed(parts, reply()))
    stored["reply"] |= broken
    planter = open_cache(tmp_path / "cache")
    planter.set(key_of(parts), orjson.dumps(stored))
    planter.close()
    heard = Listener()
    asked = Script(reply("A cat."))
    assert not (await Cached(asked, store, {}, "run", heard).complete(request())).cached
    (notice,) = heard.of(Notice)
    assert "cache: holds a reply that cannot be used" in notice.text
    assert (await Cached(asked, store, {}, "run", heard).complete(request())).cached
    assert len(asked.requests) == len(heard.of(Notice)) == 1


async def test_a_text_with_any_character_can_be_stored(store):
    text = "\u0000 \u2028 \U0001f600 \ufffd é"
    cached = Cached(Script(reply(text)), store, {}, "run")
    await cached.complete(request(text))
    assert (await cached.complete(request(text))).text == text


# --- finish reasons -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("reason", ["abort", "repetition", "a-new-one"])
async def test_a_reply_stored_as_whole_by_its_text_alone_is_asked_for_anew(store, reason):
    """Earlier versions took every text for a whole one, whatever the finish reason."""
    await Cached(Script(reply("A c", finish_reason=reason)), store, {}, "run").complete(request())
    again = await Cached(Script(reply("A cat.")), store, {}, "run").complete(request())
    assert (again.text, again.cached) == ("A cat.", False)
    assert (await Cached(Script(), store, {}, "other").complete(request())).text == "A cat."


async def test_an_interrupted_reply_is_kept_for_the_run_that_paid_and_for_no_other(store):
    lost = reply("A c", "interrupted", finish_reason="repetition")
    await Cached(Script(lost), store, {}, "run").complete(request())
    assert (await Cached(Script(), store, {}, "run").complete(request())).outcome == "interrupted"
    assert (await Cached(Script(reply("A cat.")), store, {}, "other").complete(request())).text == "A cat."


async def test_a_stored_reply_of_another_model_is_asked_anew_and_overwritten_where_it_is_not_wanted(store):
    def strict(*replies, run="strict"):
        inner = Script(*replies)
        return inner, Cached(inner, store, {}, run, is_wanted=lambda reply: reply.model == "right")

    await Cached(Script(reply("A dog.", model="other")), store, {}, "loose").complete(request())
    inner, cached = strict(reply("", "refused", model="right"))
    assert (await cached.complete(request())).outcome == "refused"
    assert (await cached.complete(request())).outcome == "refused"  # the run's own, behind the other model's
    assert len(inner.requests) == 1
    inner, cached = strict(reply("A cat.", model="right"), run="next")
    assert [(await cached.complete(request())).text for _ in range(2)] == ["A cat.", "A cat."]
    assert len(inner.requests) == 1
    assert (await Cached(Script(), store, {}, "loose").complete(request())).text == "A cat."
