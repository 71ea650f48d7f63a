"""Where every call of a role is refused alike, a run stops, with the provider's words, and nobody is sent to `resume`."""

from __future__ import annotations

import asyncio
from itertools import count
from typing import TYPE_CHECKING, Any

import pytest
from between import Body, between, refusal, run_at
from commandline import process
from doubles import Listener, Script, reply, request
from driving import draw_images

from unsaf_async.calls.rate_limit import Pace
from unsaf_async.calls.refusals import SAME_REFUSALS, Refusals, StopAtRefusals
from unsaf_async.calls.replicas import Replica, Replicas
from unsaf_async.errors import Fatal, Rejected
from unsaf_async.providers.profile import Limits
from unsaf_async.simulate.settings import Simulation

if TYPE_CHECKING:
    from pathlib import Path


def one_endpoint(pace: Pace) -> Replicas:
    """A model at one endpoint."""
    return Replicas("double", [Replica("", Script(), pace)])


async def refused_of(errors: list[Rejected], served: tuple[Any, ...] = ()) -> list[type[Exception]]:
    """How calls end that are refused so, one after the other."""
    async with Pace("double", Limits()) as pace:
        refusals, ended = Refusals(one_endpoint(pace), served), []
        for error in errors:
            try:
                await StopAtRefusals(Script(error), refusals).complete(request())
            except Exception as raised:
                ended.append(type(raised))
        assert (pace.down is not None) == (Fatal in ended)
        return ended


async def test_the_same_refusal_for_the_eighth_time_is_fatal_whatever_numbers_it_holds() -> None:
    errors = [Rejected(f"400 bad field (request {number})", status=400) for number in range(SAME_REFUSALS)]
    assert await refused_of(errors) == (SAME_REFUSALS - 1) * [Rejected] + [Fatal]


async def test_refusals_that_say_different_things_stop_nothing() -> None:
    assert Fatal not in await refused_of([Rejected(f"image {chr(97 + n)} is bad", status=400) for n in range(20)])


async def test_refusals_in_a_role_that_was_served_before_stop_nothing() -> None:
    errors = 20 * [Rejected("too small", status=400)]
    assert Fatal not in await refused_of(errors, served=("answer",))


async def test_one_reply_shows_that_the_role_works() -> None:
    async with Pace("double", Limits()) as pace:
        refusals = Refusals(one_endpoint(pace))
        await StopAtRefusals(Script(reply()), refusals).complete(request())
        for _ in range(20):
            with pytest.raises(Rejected):
                await StopAtRefusals(Script(Rejected("no", status=400)), refusals).complete(request())
        assert (pace.down, refusals.hopeless) == (None, None)


def refuse_answers() -> Any:
    """Refuses every request for free text, each in words of its own number."""
    numbers = count(1)

    def answer(body: Body) -> tuple[int, Any] | None:
        if "response_format" in body:
            return None
        return 400, refusal(f"This model is not served to your tier (request req_{next(numbers)})")

    return answer


async def test_a_run_stops_at_the_same_refusal_with_the_providers_words(tmp_path: Path) -> None:
    async with between(Simulation(), refuse_answers()) as server:
        ended = await run_at(server.base, tmp_path, images=20, concurrency=4, announce=Listener())
        # Each once more without log-probabilities; those under way at the last one, and those that went into their slots.
        assert len(server.refused) <= 2 * (SAME_REFUSALS + 2 * 4)
    assert ended.why_stopped is not None
    assert "requests to answer were refused alike" in ended.why_stopped
    assert "not served to your tier" in ended.why_stopped
    assert ended.refuses == "vllm"


async def test_the_last_line_says_what_to_do_and_names_no_resume(tmp_path: Path) -> None:
    async with between(Simulation(), refuse_answers()) as server:
        images = draw_images(tmp_path / "images", 6)
        ended = await asyncio.to_thread(
            process, "run", "--provider", "vllm", "--model", "simulated", "--api-base", server.base,
            *[part for image in images for part in ("--images", str(image))],
            "--out", str(tmp_path / "run"), "--no-cache", "--no-report",
        )  # fmt: skip
    last = ended.err.strip().splitlines()[-1]
    assert ended.code == 3
    assert "not served to your tier" in last
    assert "doctor --provider vllm" in last
    assert "resume" not in last
