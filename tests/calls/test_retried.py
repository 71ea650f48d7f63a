"""The retrying layer: how often, how long and for what a call is tried again."""

from __future__ import annotations

import asyncio

import pytest
from clock import clocked, now_s, run
from doubles import Script, reply, request

from unsaf_async.calls.retried import Retried, RetryPolicy
from unsaf_async.errors import BudgetExhausted, Fatal, RateLimited, Rejected, Transient, Unfunded


class Retries:
    """A `Retried` over `steps`, with what it announced."""

    def __init__(self, *steps, takes_s=0.0, **policy) -> None:
        self.inner = Script(*steps, takes_s=takes_s)
        self.first = 0
        self.told = []
        self.retried = Retried(self, self.inner, RetryPolicy(**policy), lambda *told: self.told.append(told))

    async def complete(self, request):
        """A call's first attempt."""
        self.first += 1
        return await self.inner.complete(request)

    async def call(self):
        """The layer's reply."""
        return await self.retried.complete(request())

    @property
    def attempts(self) -> int:
        """How many were made."""
        return len(self.inner.requests)

    @property
    def pauses_s(self) -> list[float]:
        """The pauses that were announced."""
        return [wait_s for _, _, wait_s in self.told]


@clocked
async def test_a_call_that_succeeds_is_made_once():
    retries = Retries(reply("yes"))
    assert (await retries.call()).text == "yes"
    assert (retries.first, retries.attempts, retries.told) == (1, 1, [])


@clocked
async def test_a_transient_failure_is_tried_again_and_only_the_first_attempt_is_no_repetition():
    error = Transient("broken")
    retries = Retries(error, error, reply("yes"))
    assert (await retries.call()).text == "yes"
    assert (retries.first, retries.attempts) == (1, 3)
    assert [(told[0], told[1]) for told in retries.told] == [(request(), error)] * 2


@pytest.mark.parametrize("attempts", [1, 2, 6])
def test_a_transient_failure_is_tried_as_often_as_the_policy_says_and_the_last_error_comes_out(attempts):
    async def main():
        errors = [Transient(f"broken {number}") for number in range(attempts + 3)]
        retries = Retries(*errors, attempts=attempts)
        with pytest.raises(Transient, match=f"broken {attempts - 1}"):
            await retries.call()
        assert retries.attempts == attempts
        assert len(retries.told) == attempts - 1

    run(main())


@pytest.mark.parametrize(
    "error",
    [
        Rejected("bad"),
        Fatal("key", kind="key"),
        Unfunded("no money"),
        BudgetExhausted("no money"),
        RuntimeError("a bug"),
    ],
)
def test_what_repeating_cannot_mend_is_not_repeated_first_or_later(error):
    async def main():
        for steps, attempts in (([error], 1), ([Transient("broken"), error], 2), ([RateLimited("slow"), error], 2)):
            retries = Retries(*steps)
            with pytest.raises(type(error)):
                await retries.call()
            assert retries.attempts == attempts

    run(main())


@pytest.mark.parametrize("seed", range(20))
def test_pauses_double_within_their_jitter_and_up_to_the_longest(seed):
    async def main():
        retries = Retries(Transient("broken"), attempts=9, deadline_s=10_000, wait_s=0.5, max_wait_s=8.0)
        began_s = now_s()
        with pytest.raises(Transient):
            await retries.call()
        assert now_s() - began_s == pytest.approx(sum(retries.pauses_s), abs=0.01)
        for number, pause_s in enumerate(retries.pauses_s):
            doubled_s = 0.5 * 2**number
            assert min(doubled_s, 8.0) <= pause_s <= min(doubled_s, 8.0) + 0.5
        return retries.pauses_s

    assert run(main()) != run(main())  # jittered: a thousand calls that fail together do not return together


@clocked
async def test_a_retry_after_lengthens_the_pause_and_never_shortens_it():
    retries = Retries(
        Transient("busy", retry_after_s=20),
        Transient("busy", retry_after_s=0.001),
        Transient("busy"),
        reply(),
        wait_s=1.0,
    )
    await retries.call()
    assert retries.pauses_s[0] == 20
    assert retries.pauses_s[1] >= 2.0


@clocked
async def test_being_turned_away_is_no_failure_and_has_no_pause_of_its_own():
    """The pace holds back every call to the model, this one too."""
    retries = Retries(*[RateLimited("slow down")] * 50, reply("yes"), attempts=2)
    assert (await retries.call()).text == "yes"
    assert retries.attempts == 51
    assert retries.pauses_s == [0.0] * 50


@clocked
async def test_an_overloaded_provider_is_a_wait_and_no_failure_until_the_deadline():
    overloaded = Transient("no room", status=503, overloaded=True)
    retries = Retries(*[overloaded] * 9, reply("yes"), attempts=2, wait_s=0.1, max_wait_s=1.0)
    assert (await retries.call()).text == "yes"
    assert retries.attempts == 10
    retries = Retries(*[overloaded] * 9, reply("yes"), attempts=2, wait_s=1.0, deadline_s=5.0)
    with pytest.raises(Transient, match="no room"):
        await retries.call()


@clocked
async def test_failures_between_429s_are_counted_alone():
    slow, broken = RateLimited("slow down"), Transient("broken")
    retries = Retries(slow, broken, slow, slow, broken, slow, broken, reply(), attempts=3)
    with pytest.raises(Transient):
        await retries.call()
    assert retries.attempts == 7


@clocked
async def test_after_the_deadline_no_new_attempt_is_made():
    retries = Retries(Transient("broken"), takes_s=10, attempts=1000, deadline_s=100, wait_s=1, max_wait_s=1)
    began_s = now_s()
    with pytest.raises(Transient):
        await retries.call()
    assert 90 <= now_s() - began_s <= 10 + 100 + 10


@clocked
async def test_the_deadline_ends_a_series_of_429s_too():
    retries = Retries(RateLimited("slow down"), takes_s=7, attempts=3, deadline_s=60)
    began_s = now_s()
    with pytest.raises(RateLimited):
        await retries.call()
    assert 60 <= now_s() - began_s <= 7 + 60 + 7


@pytest.mark.parametrize("error", [Transient("busy", retry_after_s=3600), RateLimited("slow down", retry_after_s=3600)])
def test_a_pause_that_ends_after_the_deadline_is_not_begun(error):
    async def main():
        retries = Retries(error, deadline_s=600)
        began_s = now_s()
        with pytest.raises(type(error)):
            await retries.call()
        assert now_s() - began_s < 1
        assert (retries.attempts, retries.told) == (1, [])

    run(main())


@clocked
async def test_the_layers_own_pause_is_not_begun_either_if_it_ends_after_the_deadline():
    retries = Retries(Transient("broken"), deadline_s=100, wait_s=50, max_wait_s=50)
    began_s = now_s()
    with pytest.raises(Transient):
        await retries.call()
    assert retries.attempts == 2  # the first pause ends after 50 to 100 s, the second one after 100 to 200 s
    assert now_s() - began_s <= 100.1


@clocked
async def test_a_pause_that_ends_just_at_the_deadline_is_begun():
    await asyncio.sleep(100)  # seconds 1100 to 1700 are floats of one spacing, so that their difference is exact
    retries = Retries(Transient("busy", retry_after_s=600), reply("yes"), deadline_s=600)
    assert (await retries.call()).text == "yes"
    assert retries.pauses_s == [600]


@clocked
async def test_the_deadline_runs_from_the_first_failure_and_not_from_the_start_of_the_first_attempt():
    retries = Retries(Transient("broken"), reply("yes"), takes_s=500, deadline_s=100)
    assert (await retries.call()).text == "yes"
    assert retries.attempts == 2


@clocked
async def test_a_call_cancelled_in_its_pause_makes_no_further_attempt():
    retries = Retries(Transient("broken", retry_after_s=50), reply())
    call = asyncio.get_running_loop().create_task(retries.call())
    await asyncio.sleep(10)
    call.cancel()
    with pytest.raises(asyncio.CancelledError):
        await call
    await asyncio.sleep(100)
    assert retries.attempts == 1


@clocked
async def test_two_calls_of_one_layer_count_their_attempts_apart():
    retries = Retries(Transient("broken"), attempts=3)
    outcomes = await asyncio.gather(*(retries.call() for _ in range(10)), return_exceptions=True)
    assert all(isinstance(outcome, Transient) for outcome in outcomes)
    assert retries.attempts == 30


# --- replies that the server lost ---------------------------------------------------------------------------------


@clocked
async def test_a_reply_that_the_server_lost_is_asked_for_again():
    retries = Retries(
        reply("A c", "interrupted", finish_reason="abort"), reply("", "unreadable", finish_reason="error"), reply("yes")
    )
    assert (await retries.call()).text == "yes"
    assert retries.attempts == 3


@clocked
async def test_of_replies_that_are_all_lost_the_last_one_stands():
    """It was paid for: it is no failed call, and it says how it ended."""
    lost = [reply(f"A c{n}", "interrupted", finish_reason="abort") for n in range(3)]
    retries = Retries(*lost, attempts=3)
    assert await retries.call() == lost[-1]
    assert retries.attempts == 3


@clocked
@pytest.mark.parametrize(
    "ended",
    [
        reply("A c", "interrupted", finish_reason="repetition"),
        reply("A c", "truncated", finish_reason="length"),
        reply("", "unreadable", finish_reason="stop"),
        reply("", "refused", finish_reason="error"),
    ],
)
async def test_a_reply_that_would_end_so_again_is_not_paid_for_twice(ended):
    retries = Retries(ended)
    assert await retries.call() == ended
    assert retries.attempts == 1
