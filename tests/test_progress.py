"""What is shown of a run while it goes on: why calls wait, within 80 columns, and as HTML that a name cannot break."""

from __future__ import annotations

import asyncio
import io
import re
import sys
from typing import TYPE_CHECKING

import pytest
from doubles import reply
from driving import draw_images
from rich.console import Console

from unsaf_async import evaluate
from unsaf_async.calls.budget import Budget
from unsaf_async.calls.rate_limit import Pace
from unsaf_async.errors import RateLimited
from unsaf_async.events import Notice, Paused
from unsaf_async.progress.show import bundle, is_live, panel
from unsaf_async.progress.watch import Watch
from unsaf_async.providers.profile import Limits
from unsaf_async.runs.begin import begin
from unsaf_async.runs.prepare import prepare
from unsaf_async.runs.runner import Runner
from unsaf_async.runs.settings import Settings

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path


LONG = (
    "429 Too Many Requests: you sent more requests than your plan allows in a minute; see your account's page of limits"
)


async def watched(tmp_path: Path) -> AsyncIterator[Watch]:
    prepared = await prepare(Settings("scripted", images=draw_images(tmp_path / "images", 1), out=tmp_path / "run"))
    with begin(prepared) as folder:
        said: list[str] = []
        yield Watch(Runner(folder), said.append)


async def test_a_pause_is_told_with_the_time_of_its_end(tmp_path: Path) -> None:
    async for watch in watched(tmp_path):
        watch.hear(Paused("openai", 75.0, "429 slow down"))
        assert re.fullmatch(r"paused until \d\d:\d\d:\d\d: openai asks for patience \(429 slow down\)", watch.waits())
        assert watch.waits() in watch.line()


async def test_the_display_keeps_to_80_columns_and_shows_all_of_why_it_waits(tmp_path: Path) -> None:
    async for watch in watched(tmp_path):
        watch.hear(Paused("a-model-with-a-rather-long-name", 75.0, LONG))
        screen = io.StringIO()
        Console(file=screen, width=80, color_system=None).print(panel(watch))
        lines = screen.getvalue().splitlines()
        assert max(map(len, lines)) <= 80
        squeezed = "".join(screen.getvalue().split())
        assert "".join(f"paused until {watch.waits()[13:21]}: {watch.waits()[23:]}".split()) in squeezed


async def test_calls_that_wait_say_for_which_brake() -> None:
    async def enter(pace: Pace, calls: int) -> list[asyncio.Task[None]]:
        entered = [asyncio.ensure_future(pace.enter("ask", 1)) for _ in range(calls)]
        for _ in range(3 * calls):
            await asyncio.sleep(0)
        return entered

    async with Pace("openai", Limits(concurrency=9), tells_limits=True) as pace:
        tasks = await enter(pace, 3)
        assert pace.why_wait() == "one call goes ahead: its reply tells the limits"
        pace.succeeded(reply(headers={"x-ratelimit-limit-requests": "1"}))
        pace.leave()
        await asyncio.sleep(0.01)
        assert pace.why_wait() == "the limit of requests is spread over the minute, one each 60 s"
        for task in tasks:
            task.cancel()
    async with Pace("openai", Limits(concurrency=2)) as pace:
        pace.failed(RateLimited("slow down", retry_after_s=0.001))
        await asyncio.sleep(0.002)
        tasks = await enter(pace, 3)
        assert pace.why_wait() == "1 of 2 slots in use, after it turned calls away"
        for task in tasks:
            task.cancel()
    async with Pace("openai", Limits(concurrency=1)) as pace:
        tasks = await enter(pace, 2)
        assert pace.why_wait() == "", "all slots are busy, as they should be"
        for task in tasks:
            task.cancel()


async def test_calls_that_wait_for_money_say_so(tmp_path: Path) -> None:
    budget = Budget(cap_nano_usd=100)
    first, second = budget.for_image(80), budget.for_image(80)
    held = await first.reserve(80)
    waiting = asyncio.ensure_future(second.reserve(80))
    await asyncio.sleep(0)
    async for watch in watched(tmp_path):
        watch.runner.budget = budget
        assert watch.waits() == "1 call waits for money that is held for calls under way"
    held.settle(1)
    first.close()
    (await waiting).refund()
    assert budget.waiting == 0


async def test_a_notebooks_display_escapes_what_others_say(tmp_path: Path) -> None:
    async for watch in watched(tmp_path):
        said: list[str] = []
        watch.say = said.append
        watch.hear(Notice("<script>alert(1)</script>\x1b[31m"))
        watch.hear(Paused("<b>openai</b>", 75.0, "<i>slow down</i>"))
        shown = bundle(watch, said)
        assert "<script>" not in shown["text/html"]
        assert "&lt;script&gt;" in shown["text/html"]
        assert "<b>openai" not in shown["text/html"]
        assert "\x1b" not in "".join(shown.values())
        assert shown["text/plain"].endswith(watch.line())


@pytest.mark.parametrize(("terminal", "live"), [("xterm", True), ("dumb", False), ("unknown", False)])
def test_a_terminal_that_moves_no_cursor_gets_plain_lines(
    terminal: str, live: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Screen(io.StringIO):
        def isatty(self) -> bool:
            return True

    monkeypatch.setenv("TERM", terminal)
    monkeypatch.setattr(sys, "stderr", Screen())
    assert is_live() is live


async def test_progress_is_told_on_stderr_where_nothing_is_live_and_only_if_asked_for(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    images = draw_images(tmp_path / "images", 2)
    await evaluate("scripted", images=images, questions=2, cache=None, out=tmp_path / "quiet")
    assert capsys.readouterr().err == ""
    await evaluate("scripted", images=images, questions=2, cache=None, out=tmp_path / "told", progress=True)
    told = capsys.readouterr()
    assert told.out == ""
    assert "images 2 of 2, UnF1" in told.err
    assert "IPython" not in sys.modules
