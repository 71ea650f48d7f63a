"""The pace: how many calls are in flight, in which order they leave, how fast, and when none does any more."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from itertools import pairwise
from random import Random

import pytest
from clock import clocked, now_s, run
from doubles import Listener, reply, settle
from hypothesis import given, settings
from hypothesis import strategies as st

from unsaf_async.calls.rate_limit import BREAKER_FAILURES, BREAKER_S, SCOUTS, START_FAILURES, START_S, Pace
from unsaf_async.errors import CallError, Fatal, RateLimited, Rejected, Transient, UserError
from unsaf_async.events import Paused
from unsaf_async.providers.profile import Limits


def task(coroutine):
    return asyncio.get_running_loop().create_task(coroutine)


def pace(announce=lambda event: None, *, tells_limits=False, **limits):
    return Pace("double", Limits(**limits), announce, tells_limits=tells_limits)


async def eleven_take_s(pacer, *tokens):
    """How long eleven calls of so many tokens take, each ended as soon as it may leave."""
    began_s = now_s()
    for _ in range(11):
        await pacer.enter("answer", *tokens)
        pacer.leave()
    return now_s() - began_s


async def leaves_after_s(pacer, role="answer", tokens=1):
    """How many seconds a call that comes now has to wait."""
    came_s = now_s()
    await pacer.enter(role, tokens)
    pacer.leave()
    return now_s() - came_s


# --- the ceiling


@clocked
async def test_no_more_calls_are_in_flight_than_the_ceiling_allows():
    async with pace(concurrency=3) as pacer:
        most = 0

        async def call():
            nonlocal most
            await pacer.enter("answer", 10)
            most = max(most, pacer.in_flight)
            await asyncio.sleep(1)
            pacer.leave()

        began_s = now_s()
        async with asyncio.TaskGroup() as group:
            for _ in range(30):
                group.create_task(call())
        assert most == 3
        assert now_s() - began_s == pytest.approx(10, abs=0.01)  # and every slot is used
        assert pacer.in_flight == 0


@clocked
async def test_begun_images_finish_first_judge_before_answer_before_ask():
    async with pace(concurrency=1) as pacer:
        await pacer.enter("ask", 1)
        left = []

        async def call(role, number):
            await pacer.enter(role, 1)
            left.append(f"{role} {number}")
            pacer.leave()

        calls = [
            task(call(role, number))
            for role, number in [("ask", 1), ("answer", 1), ("ask", 2), ("judge", 1), ("answer", 2), ("judge", 2)]
        ]
        await settle()
        assert not left
        pacer.leave()
        await asyncio.gather(*calls)
        assert left == ["judge 1", "judge 2", "answer 1", "answer 2", "ask 1", "ask 2"]


@clocked
async def test_a_429_shrinks_the_ceiling_once_a_burst_and_successes_widen_it_again():
    async with pace(concurrency=20) as pacer:
        for _ in range(20):
            pacer.failed(RateLimited("slow down", retry_after_s=1))
        assert pacer.ceiling == pytest.approx(14)
        await asyncio.sleep(2)
        pacer.failed(Transient("overloaded", status=529, overloaded=True))
        assert pacer.ceiling == pytest.approx(9.8)
        await asyncio.sleep(2)
        pacer.failed(Transient("broken", status=500))
        assert pacer.ceiling == pytest.approx(9.8)


@pytest.mark.parametrize("concurrency", [1, 2, 3, 4, 5, 8, 32])
@pytest.mark.parametrize("start", [1.0, 1.4, 1.99, 2.7, 2.9, 3.9])
def test_a_busy_pace_always_finds_back_to_its_full_width(concurrency, start):
    async def main():
        async with pace(concurrency=concurrency) as pacer:
            pacer.ceiling = min(start, float(concurrency))

            async def call():
                await pacer.enter("answer", 1)
                await asyncio.sleep(0.1)
                pacer.succeeded(reply())
                pacer.leave()

            for _ in range(5):
                async with asyncio.TaskGroup() as group:
                    for _ in range(20 * concurrency):
                        group.create_task(call())
            assert int(pacer.ceiling) == concurrency

    run(main())


@clocked
async def test_an_idle_pace_does_not_widen():
    async with pace(concurrency=20) as pacer:
        pacer.failed(RateLimited("slow down", retry_after_s=0.1))
        await asyncio.sleep(1)
        for _ in range(100):
            await pacer.enter("answer", 1)
            pacer.succeeded(reply())
            pacer.leave()
        assert pacer.ceiling == pytest.approx(14)


@clocked
async def test_the_ceiling_never_falls_below_one_call():
    async with pace(concurrency=2) as pacer:
        for _ in range(12):
            pacer.failed(RateLimited("slow down", retry_after_s=0.1))
            await asyncio.sleep(2)
        assert pacer.ceiling == 1.0
        assert await leaves_after_s(pacer) == 0


@clocked
async def test_a_ceiling_that_falls_while_a_call_waits_for_the_limiter_holds_for_that_call_too():
    async with pace(concurrency=2, requests_per_minute=60) as pacer:
        await pacer.enter("answer", 1)
        second = task(pacer.enter("answer", 1))  # waits a second for the limiter
        await asyncio.sleep(0.5)
        pacer.failed(Transient("overloaded", overloaded=True))  # 2 becomes 1.4: one call
        await asyncio.sleep(5)
        assert pacer.in_flight == 1
        pacer.leave()
        await second
        assert pacer.in_flight == 1


# --- cancellation


@clocked
async def test_a_call_cancelled_while_it_waits_takes_no_slot():
    async with pace(concurrency=1) as pacer:
        await pacer.enter("ask", 1)
        waiting = [task(pacer.enter("answer", 1)) for _ in range(3)]
        await settle()
        for call in waiting[:2]:
            call.cancel()
        await settle()
        pacer.leave()
        await waiting[2]
        assert pacer.in_flight == 1


@clocked
async def test_a_call_cancelled_in_the_breath_in_which_it_may_go_gives_the_slot_back():
    async with pace(concurrency=1) as pacer:
        await pacer.enter("ask", 1)
        waiting = task(pacer.enter("answer", 1))
        await settle()
        pacer.leave()
        while not pacer.in_flight:  # noqa: ASYNC110 - to the very turn of the loop
            await asyncio.sleep(0)
        waiting.cancel()
        with suppress(asyncio.CancelledError):
            await waiting
            pacer.leave()
        assert pacer.in_flight == 0
        assert await leaves_after_s(pacer) == 0


@settings(max_examples=60, deadline=None)
@given(
    seed=st.integers(0, 2**32),
    concurrency=st.integers(1, 6),
    rpm=st.sampled_from([None, 60, 600]),
    tpm=st.sampled_from([None, 3000]),
    tells_limits=st.booleans(),
)
def test_whatever_happens_no_slot_is_lost_and_the_ceiling_holds(seed, concurrency, rpm, tpm, tells_limits):
    random = Random(seed)

    async def main():
        limits = {"concurrency": concurrency, "requests_per_minute": rpm, "tokens_per_minute": tpm}
        async with pace(tells_limits=tells_limits, **limits) as pacer:

            async def call():
                await asyncio.sleep(random.random())
                await pacer.enter(random.choice(["ask", "answer", "judge"]), random.randint(0, 200))
                try:
                    assert pacer.in_flight <= concurrency
                    await asyncio.sleep(random.choice([0, 0.1, 1]))
                    match random.randrange(6):
                        case 0:
                            pacer.failed(RateLimited("slow down", retry_after_s=random.choice([None, 0, 0.3])))
                        case 1:
                            pacer.failed(Transient("overloaded", overloaded=True))
                        case 2:
                            pacer.failed(Rejected("bad"))
                        case _:
                            pacer.succeeded(reply())
                finally:
                    pacer.leave()

            calls = [task(call()) for _ in range(25)]
            for victim in random.sample(calls, 8):
                await asyncio.sleep(random.random() / 4)
                victim.cancel()
            for outcome in await asyncio.gather(*calls, return_exceptions=True):
                assert outcome is None or isinstance(outcome, asyncio.CancelledError)
            assert pacer.in_flight == 0
            await pacer.enter("answer", 1)

    run(main())


# --- pauses


@clocked
async def test_a_429_pauses_every_call_of_the_model_for_as_long_as_the_provider_asks():
    events = Listener()
    async with pace(events) as pacer:
        pacer.failed(RateLimited("slow down", retry_after_s=7))
        assert await leaves_after_s(pacer) == pytest.approx(7, abs=0.01)
        assert await leaves_after_s(pacer) == 0
    assert [(event.provider, event.seconds) for event in events.of(Paused)] == [("double", 7)]


@clocked
async def test_a_server_error_with_a_retry_after_pauses_too_and_one_without_does_not():
    async with pace() as pacer:
        pacer.failed(Transient("unavailable", status=503, overloaded=True))
        assert await leaves_after_s(pacer) == 0
        pacer.failed(Transient("unavailable", status=503, retry_after_s=4))
        assert await leaves_after_s(pacer) == pytest.approx(4, abs=0.01)


@clocked
async def test_the_longest_pause_counts():
    async with pace() as pacer:
        pacer.failed(RateLimited("slow down", retry_after_s=9))
        pacer.failed(RateLimited("slow down", retry_after_s=2))
        waiting = task(leaves_after_s(pacer))
        await asyncio.sleep(3)
        pacer.failed(RateLimited("slow down", retry_after_s=10))
        assert await waiting == pytest.approx(13, abs=0.01)


@pytest.mark.parametrize("error", [RateLimited, Transient])
def test_a_wait_that_is_longer_than_a_call_is_tried_stops_the_model_at_once_and_says_until_when(error):
    async def main():
        events = Listener()
        async with Pace("double", Limits(concurrency=1), events, longest_wait_s=600) as pacer:
            pacer.failed(error("slow down", retry_after_s=600))
            assert pacer.down is None
            assert await leaves_after_s(pacer) == pytest.approx(600, abs=0.01)
            began_s = now_s()
            await pacer.enter("ask", 1)
            waiting = task(pacer.enter("ask", 1))
            await settle()
            pacer.failed(error("slow down", retry_after_s=86400))
            with pytest.raises(
                Fatal, match=r"it asks to wait until \d\d:\d\d tomorrow, .* \(600 s\); resume then: slow"
            ):
                await waiting
            assert now_s() - began_s < 1
            assert len(events.of(Paused)) == 1

    run(main())


@pytest.mark.parametrize("silent", [None, 0.0])
def test_a_429_without_a_word_of_how_long_pauses_longer_each_time_until_something_succeeds(silent):
    async def main():
        async with pace() as pacer:
            waits_s = []
            for _ in range(8):
                pacer.failed(RateLimited("slow down", retry_after_s=silent))
                waits_s.append(await leaves_after_s(pacer))
            assert waits_s == pytest.approx([0.5, 1, 2, 4, 8, 16, 30, 30], abs=0.01)
            pacer.succeeded(reply())
            pacer.failed(RateLimited("slow down"))
            assert await leaves_after_s(pacer) == pytest.approx(0.5, abs=0.01)

    run(main())


@clocked
async def test_a_burst_of_429s_is_one_signal_and_one_pause():
    async with pace(concurrency=32) as pacer:
        for _ in range(32):
            pacer.failed(RateLimited("slow down"))
        assert await leaves_after_s(pacer) == pytest.approx(0.5, abs=0.01)


# --- limits


@clocked
async def test_requests_leave_as_a_steady_stream_at_the_limit():
    async with pace(requests_per_minute=600) as pacer:
        left_s = []

        async def call():
            await pacer.enter("answer", 1)
            left_s.append(now_s())
            pacer.leave()

        async with asyncio.TaskGroup() as group:
            for _ in range(101):
                group.create_task(call())
        assert left_s[-1] - left_s[0] == pytest.approx(10, abs=0.02)
        gaps_s = [later - earlier for earlier, later in pairwise(left_s)]
        assert min(gaps_s) > 0.09


@clocked
async def test_fewer_calls_leave_at_once_after_a_429_that_came_in_spite_of_the_limit():
    async with pace(requests_per_minute=2400) as pacer:

        async def at_once():
            """How many of a second's calls leave at once, after this process stood still for a second."""
            await asyncio.sleep(1)
            waits_s = [await leaves_after_s(pacer) for _ in range(40)]
            assert sum(waits_s) == pytest.approx(1, abs=0.11)  # the rate stays
            return next(number for number, wait_s in enumerate(waits_s) if wait_s > 0.001)

        assert await at_once() == 4
        for left in (2, 1, 1):
            pacer.failed(RateLimited("slow down", retry_after_s=0.5))
            assert await at_once() == left


@clocked
async def test_tokens_leave_at_the_limit_also_where_a_call_is_larger_than_the_window():
    async with pace(tokens_per_minute=60_000) as pacer:  # 1,000 a second, 100 a window
        began_s = now_s()
        for _ in range(20):
            await pacer.enter("answer", 500)
            pacer.leave()
        assert now_s() - began_s == pytest.approx(10, abs=0.15)


@clocked
async def test_a_small_urgent_call_need_not_wait_until_a_large_one_is_paid_for():
    async with pace(tokens_per_minute=6_000) as pacer:  # 100 a second
        left = []

        async def call(role, tokens):
            await pacer.enter(role, tokens)
            left.append((role, now_s()))
            pacer.leave()

        began_s = now_s()
        large = task(call("ask", 1000))
        await asyncio.sleep(4)  # four tenths of it are paid
        small = task(call("judge", 100))
        await asyncio.gather(large, small)
        assert [role for role, _ in left] == ["judge", "ask"]
        assert left[0][1] - began_s == pytest.approx(4, abs=0.2)
        assert left[1][1] - began_s == pytest.approx(11, abs=0.2)  # nothing is paid twice, and nothing is lost


@pytest.mark.parametrize(
    ("limits", "seconds"),
    [
        ({"tokens_per_minute": 6_000}, 11.0),  # 110 of 100 a second
        ({"input_tokens_per_minute": 6_000}, 10.0),
        ({"output_tokens_per_minute": 600}, 10.0),
        ({"input_tokens_per_minute": 6_000, "output_tokens_per_minute": 300}, 20.0),
        ({"requests_per_minute": 30, "output_tokens_per_minute": 600}, 20.0),
        ({"requests_per_minute": 60, "tokens_per_minute": 6_600}, 10.5),
        (
            {
                "requests_per_minute": 60,
                "tokens_per_minute": 6_600,
                "input_tokens_per_minute": 6_000,
                "output_tokens_per_minute": 600,
            },
            10.5,
        ),
    ],
)
def test_each_limit_counts_what_it_limits_and_the_tightest_sets_the_pace(limits, seconds):
    async def main():
        async with pace(**limits) as pacer:
            assert await eleven_take_s(pacer, 100, 10) == pytest.approx(seconds, rel=0.12)

    run(main())


@clocked
async def test_limits_are_learned_from_a_replys_headers_where_the_profile_has_none():
    async with pace() as pacer:
        for _ in range(5):
            assert await leaves_after_s(pacer) == 0
        pacer.succeeded(reply(headers={"x-ratelimit-limit-requests": "60", "x-ratelimit-limit-tokens": "600000"}))
        assert await eleven_take_s(pacer, 1) == pytest.approx(10, abs=0.05)


@pytest.mark.parametrize(
    ("input_limit", "output_limit", "seconds"),
    [("6000", "6000", 10.0), ("6000", "300", 20.0), ("600000", "600", 10.0)],
)
def test_limits_of_input_and_of_output_tokens_are_learned_apart(input_limit, output_limit, seconds):
    headers = {
        "anthropic-ratelimit-input-tokens-limit": input_limit,
        "anthropic-ratelimit-output-tokens-limit": output_limit,
    }

    async def main():
        async with pace() as pacer:
            pacer.succeeded(reply(headers=headers))
            assert pacer.per_minute == pytest.approx(
                {"input tokens": float(input_limit), "output tokens": float(output_limit)}
            )
            assert await eleven_take_s(pacer, 100, 10) == pytest.approx(seconds, rel=0.12)

    run(main())


@clocked
async def test_the_profiles_own_limits_are_not_overruled_by_headers():
    async with pace(requests_per_minute=600, tokens_per_minute=10**9) as pacer:
        pacer.succeeded(reply(headers={"x-ratelimit-limit-requests": "6", "x-ratelimit-limit-tokens": "6"}))
        assert await eleven_take_s(pacer, 1) == pytest.approx(1, abs=0.05)


# --- the scout


class Crowd:
    """Many calls that come at once; `ends(number)` ends the call with this number: a Reply or a CallError. Each takes 1 s."""

    def __init__(self, pacer, calls, ends):
        self.left_s = []
        self._began_s = now_s()
        self._pacer = pacer
        self._ends = ends
        self.tasks = [task(self._call()) for _ in range(calls)]

    async def _call(self):
        await self._pacer.enter("ask", 1)
        end = self._ends(len(self.left_s))
        self.left_s.append(round(now_s() - self._began_s, 2))
        await asyncio.sleep(1)
        if isinstance(end, CallError):
            self._pacer.failed(end)
        else:
            self._pacer.succeeded(end)
        self._pacer.leave()


@clocked
async def test_one_call_learns_the_limit_before_the_others_leave():
    async with pace(concurrency=50, tells_limits=True) as pacer:
        crowd = Crowd(pacer, 22, lambda number: reply(headers={"x-ratelimit-limit-requests": "600"}))
        await asyncio.gather(*crowd.tasks)
        assert crowd.left_s[:2] == [0, 1]
        assert crowd.left_s[-1] == pytest.approx(3, abs=0.02)  # ten a second


@clocked
async def test_a_reply_that_states_no_limit_lets_all_others_leave():
    async with pace(concurrency=50, tells_limits=True) as pacer:
        crowd = Crowd(pacer, 31, lambda number: reply())
        await asyncio.gather(*crowd.tasks)
        assert crowd.left_s == [0] + 30 * [1]


@pytest.mark.parametrize("known", [{"tells_limits": False}, {"tells_limits": True, "requests_per_minute": 10**6}])
def test_nobody_waits_for_a_scout_where_nothing_would_be_learned(known):
    async def main():
        async with pace(concurrency=50, **known) as pacer:
            crowd = Crowd(pacer, 31, lambda number: reply())
            await asyncio.gather(*crowd.tasks)
            assert crowd.left_s == 31 * [0]

    run(main())


@clocked
async def test_after_a_scout_that_failed_the_next_call_is_the_next_scout():
    async with pace(concurrency=50, tells_limits=True) as pacer:
        crowd = Crowd(pacer, 31, lambda number: reply() if number else Transient("no answer", fate_unknown=True))
        await asyncio.gather(*crowd.tasks)
        assert crowd.left_s == [0, 1] + 29 * [2]


@clocked
async def test_a_provider_that_is_down_does_not_hold_up_the_calls_one_by_one():
    async with pace(concurrency=50, tells_limits=True) as pacer:
        crowd = Crowd(pacer, 31, lambda number: Transient("no answer", fate_unknown=True))
        await asyncio.gather(*crowd.tasks)
        assert crowd.left_s == [*range(SCOUTS), *(31 - SCOUTS) * [SCOUTS]]


@clocked
async def test_scouts_that_are_told_to_slow_down_are_no_reason_to_send_all():
    async with pace(concurrency=50, tells_limits=True) as pacer:
        crowd = Crowd(pacer, 9, lambda number: reply() if number > 5 else RateLimited("slow down", retry_after_s=4))
        await asyncio.gather(*crowd.tasks)
        assert crowd.left_s == [0, 5, 10, 15, 20, 25, 30, 31, 31]


@clocked
async def test_a_scout_whose_request_is_at_fault_holds_up_nobody():
    async with pace(concurrency=50, tells_limits=True) as pacer:
        crowd = Crowd(pacer, 31, lambda number: Rejected("too large", status=413))
        await asyncio.gather(*crowd.tasks)
        assert crowd.left_s == [0] + 30 * [1]


@clocked
async def test_a_scout_that_is_cancelled_under_way_is_followed_by_another():
    async with pace(concurrency=50, tells_limits=True) as pacer:
        await pacer.enter("ask", 1)
        waiting = [task(pacer.enter("ask", 1)) for _ in range(3)]
        await settle()
        pacer.leave()  # cancelled: neither a success nor a failure
        await settle()
        assert [call.done() for call in waiting] == [True, False, False]
        pacer.succeeded(reply())
        pacer.leave()
        await asyncio.gather(*waiting)
        assert pacer.in_flight == 2


# --- the breaker


@clocked
async def test_the_breaker_opens_after_twenty_failures_in_a_row_over_thirty_seconds():
    async with pace() as pacer:
        pacer.succeeded(reply())
        for number in range(BREAKER_FAILURES):
            assert pacer.down is None, number
            pacer.failed(Transient("broken"))
            await asyncio.sleep(BREAKER_S / (BREAKER_FAILURES - 1) + 0.01)
        assert pacer.down is not None
        assert pacer.down.kind == "down"
        assert "20 attempts in a row failed over 30 s" in str(pacer.down)
        with pytest.raises(Fatal):
            await pacer.enter("answer", 1)


@clocked
async def test_many_failures_in_a_short_time_are_an_outage_that_may_pass():
    async with pace() as pacer:
        pacer.succeeded(reply())
        for _ in range(500):
            pacer.failed(Transient("broken"))
        await asyncio.sleep(BREAKER_S - 1)
        pacer.failed(Transient("broken"))
        assert pacer.down is None


@clocked
async def test_few_failures_over_a_long_time_do_not_open_the_breaker():
    async with pace() as pacer:
        pacer.succeeded(reply())
        for _ in range(BREAKER_FAILURES - 1):
            pacer.failed(Transient("broken"))
            await asyncio.sleep(100)
        assert pacer.down is None


@clocked
async def test_one_success_starts_the_breakers_count_anew():
    async with pace() as pacer:
        pacer.succeeded(reply())
        for number in range(200):
            pacer.failed(Transient("broken"))
            await asyncio.sleep(3)
            if number % 15 == 0:
                pacer.succeeded(reply())
        assert pacer.down is None


@clocked
async def test_a_few_images_that_fail_for_ever_are_at_fault_themselves():
    async with pace() as pacer:
        pacer.succeeded(reply())
        for number in range(200):
            pacer.failed(Transient("broken"), f"image {number % 9}")
            await asyncio.sleep(3)
        assert pacer.down is None
        pacer.failed(Transient("broken"), "another image")
        assert pacer.down is not None


@clocked
async def test_images_that_failed_while_others_passed_do_not_open_the_breaker():
    async with pace() as pacer:
        pacer.succeeded(reply())
        for number in range(40):
            pacer.failed(Transient("broken"), f"image {number}")
        await asyncio.sleep(1)
        pacer.succeeded(reply())
        for number in range(200):
            await asyncio.sleep(3)
            pacer.failed(Transient("broken"), f"image {number % 40}")
        assert pacer.down is None


@clocked
async def test_images_that_failed_in_an_earlier_session_do_not_open_the_breaker():
    async with pace() as pacer:
        for number in range(200):
            pacer.failed(Transient("broken"), f"image {number}", suspect=True)
            await asyncio.sleep(3)
        assert pacer.down is None


@clocked
async def test_a_connection_that_never_came_about_shuts_at_once_and_one_that_breaks_off_later_does_not():
    async with pace() as pacer:
        pacer.failed(Transient("localhost:1: no connection", unsent=True))
        assert pacer.down is not None
        assert (pacer.down.kind, str(pacer.down)) == ("unreachable", "localhost:1: no connection")
    async with pace() as pacer:
        pacer.succeeded(reply())
        pacer.failed(Transient("localhost:1: no connection", unsent=True))
        assert pacer.down is None
        for _ in range(BREAKER_FAILURES):
            pacer.failed(Transient("localhost:1: no connection", unsent=True), "one image")
            await asyncio.sleep(3)
        assert pacer.down is not None


async def failing_calls(pacer, error, *, calls, takes_s=0.1, pause_s=1.0):
    """Calls about images of their own that are made again until the pace lets none leave; the seconds until then."""
    began_s = now_s()

    async def call(image):
        while True:
            await pacer.enter("ask", 1)
            await asyncio.sleep(takes_s)
            pacer.failed(error, image)
            pacer.leave()
            await asyncio.sleep(pause_s)

    await asyncio.gather(*(task(call(f"image {number}")) for number in range(calls)), return_exceptions=True)
    return now_s() - began_s


@pytest.mark.parametrize("concurrency", [1, 2, 4, 64])
def test_a_server_that_never_answered_is_given_up_after_ten_seconds_at_any_concurrency(concurrency):
    async def main():
        async with pace(concurrency=concurrency) as pacer:
            error = Transient("500 broken", status=500)
            assert await failing_calls(pacer, error, calls=max(4, concurrency)) == pytest.approx(START_S, abs=2)
            assert "attempts failed, and none was answered, over 1" in str(pacer.down)

    run(main())


@clocked
async def test_a_server_that_is_overloaded_at_the_start_is_given_thirty_seconds():
    async with pace(concurrency=2) as pacer:
        error = Transient("503 loading", status=503, overloaded=True)
        assert await failing_calls(pacer, error, calls=4) == pytest.approx(BREAKER_S, abs=2)


@clocked
async def test_a_server_that_lets_every_call_time_out_is_given_up_after_one_timeout():
    async with pace(concurrency=8) as pacer:
        error = Transient("no answer within 120 s", fate_unknown=True)
        assert await failing_calls(pacer, error, calls=8, takes_s=120) == pytest.approx(120, abs=2)


@clocked
async def test_some_failures_at_the_start_are_no_dead_server_while_other_calls_wait_for_their_answers():
    async with pace(concurrency=32) as pacer:
        for _ in range(28):
            await pacer.enter("ask", 1)
        for number in range(40):
            pacer.failed(Transient("broken"), f"image {number}")
            await asyncio.sleep(1)
        assert pacer.down is None


@clocked
async def test_fewer_images_than_four_are_at_fault_themselves_at_the_start_too():
    async with pace() as pacer:
        await pacer.enter("ask", 1)
        pacer.leave()
        for number in range(200):
            pacer.failed(Transient("broken"), f"image {number % (START_FAILURES - 1)}")
            await asyncio.sleep(3)
        assert pacer.down is None


@clocked
async def test_rejected_requests_say_nothing_about_the_provider():
    async with pace() as pacer:
        for _ in range(200):
            pacer.failed(Rejected("too large", status=413))
            await asyncio.sleep(1)
        assert pacer.down is None


@clocked
async def test_a_provider_that_only_says_slow_down_is_given_five_minutes():
    async with pace() as pacer:
        began_s = now_s()
        while pacer.down is None:
            pacer.failed(RateLimited("slow down", retry_after_s=5))
            await asyncio.sleep(5)
        assert now_s() - began_s == pytest.approx(10 * BREAKER_S, abs=10)


@clocked
async def test_a_fatal_error_shuts_at_once_and_wakes_all_who_wait():
    async with pace(concurrency=1) as pacer:
        await pacer.enter("ask", 1)
        waiting = [task(pacer.enter(role, 1)) for role in ("ask", "answer", "judge")]
        await settle()
        pacer.failed(Fatal("the key was refused", kind="key", status=401))
        for outcome in await asyncio.gather(*waiting, return_exceptions=True):
            assert isinstance(outcome, Fatal)
            assert outcome.kind == "key"
        assert pacer.in_flight == 1  # the one under way still gives its slot back
        with pytest.raises(Fatal):
            await pacer.enter("judge", 1)
        pacer.failed(Fatal("no such model", kind="model"))
        assert pacer.down is not None
        assert pacer.down.kind == "key"  # the first reason stays


@clocked
async def test_a_fatal_error_wakes_those_who_wait_for_a_pause_or_a_limiter():
    async with pace(requests_per_minute=1) as pacer:
        await pacer.enter("ask", 1)
        pacer.failed(RateLimited("slow down", retry_after_s=3000))
        waiting = task(pacer.enter("answer", 1))
        began_s = now_s()
        await asyncio.sleep(1)
        pacer.failed(Fatal("quota", kind="quota"))
        with pytest.raises(Fatal):
            await waiting
        assert now_s() - began_s == pytest.approx(1, abs=0.01)


# --- as a context


@clocked
async def test_the_bodys_error_comes_out_as_it_is():
    with pytest.raises(UserError, match="the disk is full"):
        async with pace():
            raise UserError("the disk is full")


@clocked
async def test_a_cancelled_body_ends_the_pace():
    async def body():
        async with pace(requests_per_minute=1) as pacer:
            await pacer.enter("ask", 1)
            await pacer.enter("ask", 1)

    running = task(body())
    await asyncio.sleep(1)
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    assert len(asyncio.all_tasks()) == 1
