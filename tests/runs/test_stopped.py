"""Why a run ended before its last image: its folder says it, and everything that shows the run does."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from shutil import rmtree
from typing import TYPE_CHECKING, Any

import aiohttp
import pytest
from commandline import command
from PIL import Image
from truths import resumed, scripted_model, served_model

from unsaf_async.api import load
from unsaf_async.events import ImageKept
from unsaf_async.report.data import load_run
from unsaf_async.report.page import render
from unsaf_async.report.viewer import Viewer
from unsaf_async.runs.begin import begin
from unsaf_async.runs.folder import read_manifest
from unsaf_async.runs.prepare import prepare
from unsaf_async.runs.runner import Runner
from unsaf_async.runs.saved import SavedRun
from unsaf_async.runs.settings import Settings
from unsaf_async.runs.stopped import STOP_MEANINGS, Stopped
from unsaf_async.simulate.server import Simulator
from unsaf_async.simulate.settings import Simulation

if TYPE_CHECKING:
    from collections.abc import Callable

RUN = Path("runs/r")


async def ran(provider: str, at_image: Callable[[Runner], object] | None = None, **options: Any) -> Runner:
    """The runner of a run that has ended. at_image: called when an image is kept."""
    given: dict[str, Any] = {"questions": 1, "cache": None, "judge": "rules", "out": RUN, **options}
    with begin(await prepare(Settings(provider, **given))) as folder:
        runner = Runner(folder)
        runner.listen(lambda event: at_image(runner) if at_image and isinstance(event, ImageKept) else None)
        await runner.run()
    return runner


def kept() -> Stopped | None:
    """What the run's folder says, in each place alike."""
    stopped = read_manifest(RUN).stopped
    assert load(RUN).findings.stopped == stopped
    return stopped


def listed() -> str:
    """What the viewer's list says of how the run ended."""

    async def state() -> str:
        async with (
            Viewer(RUN.parent) as viewer,
            aiohttp.ClientSession() as session,
            session.get(f"{viewer.url}state") as reply,
        ):
            return str((await reply.json())[0]["cells"][-1]["text"])

    return asyncio.run(state())


def test_a_cap_that_was_reached_is_told_until_a_session_has_ended_otherwise(capsys: pytest.CaptureFixture[str]) -> None:
    scripted_model("dear", input_usd_per_mtok=10)
    asyncio.run(ran("dear", max_cost=0.1))
    stopped = kept()
    assert stopped is not None
    assert (stopped.kind, stopped.early) == ("cap", True)
    warnings = SavedRun(RUN).findings.warnings
    assert any(each.endswith(f"images: stopped early ({stopped.why})") for each in warnings)
    assert not any("or goes on" in each for each in warnings)
    missing = f"{10 - load(RUN).findings.images.done} of 10 images are not done"
    assert f"{missing} (stopped early: {stopped.why})" in (
        shown := command(capsys, "show", str(RUN)).out.replace("\n", " ")
    )
    assert f"`unsaf-async resume {RUN} --max-cost USD` goes on" in shown, "at the same cap it would stop again"
    assert f"{missing}; stopped early: " in render([load_run(RUN)])
    assert listed().startswith("stopped early: ")
    resumed(RUN, max_cost_usd=10.0)
    assert kept() is None
    assert "stopped early" not in render([load_run(RUN)])


def test_an_interrupted_run_says_so_and_one_that_is_killed_says_nothing() -> None:
    scripted_model("free")
    asyncio.run(ran("free", lambda runner: runner.stop()))
    assert kept() == Stopped(kind="interrupted", why="interrupted")
    assert json.loads((RUN / "score.json").read_bytes())["stopped"] == {"kind": "interrupted", "why": "interrupted"}

    async def killed() -> None:
        task = asyncio.current_task()
        assert task is not None
        with pytest.raises(asyncio.CancelledError):
            await ran("free", lambda _: task.cancel())
        task.uncancel()

    asyncio.run(killed())
    assert kept() is None, "of the session before that nothing holds any more"
    assert load(RUN).findings.images.done < 10


def test_a_run_that_knows_enough_has_not_stopped_early() -> None:
    scripted_model("free")
    Path("photos").mkdir()
    for shade in range(40):
        Image.new("RGB", (32, 32), (shade, 0, 0)).save(f"photos/{shade}.png")
    asyncio.run(ran("free", images="photos", until_ci=0.3, questions=6))
    stopped = kept()
    assert stopped is not None
    assert (stopped.kind, stopped.early, stopped.why) == ("until_ci", False, STOP_MEANINGS["until_ci"])
    assert listed() == stopped.why


def test_a_key_that_is_wrong_and_a_server_that_is_gone_are_told_apart() -> None:
    async def of_a_server(simulation: Simulation | None) -> None:
        async with Simulator(simulation) as simulator:
            served_model("simulated", simulator.openai_base, (0, 0), attempts=1)
            if simulation is not None:
                await ran("simulated")
        if simulation is None:
            await ran("simulated")

    for simulation, kind in ((Simulation(api_key="right"), "key"), (None, "unreachable")):
        asyncio.run(of_a_server(simulation))
        stopped = kept()
        assert stopped is not None
        assert stopped.kind == kind, stopped
        rmtree(RUN)
