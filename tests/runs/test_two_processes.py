"""Processes on one cache that are started together pay for each call once, and a killed one leaves its calls to the others."""

from __future__ import annotations

import asyncio
import sys
from typing import TYPE_CHECKING

from driving import draw_images

from unsaf_async.calls.ledger import read_account
from unsaf_async.runs.saved import SavedRun
from unsaf_async.simulate.server import Simulator
from unsaf_async.simulate.settings import Simulation

if TYPE_CHECKING:
    from pathlib import Path

CONCURRENCY = 6
PROFILE = f"""
backend = "openai"
model = "simulated"
[price]
input_usd_per_mtok = 2.5
output_usd_per_mtok = 10
[limits]
concurrency = {CONCURRENCY}
"""
SIMULATION = Simulation(latency=0.1, price=(2.5, 10))
IMAGES = 8


async def _start(folder: Path, simulator: Simulator, out: str, cache: str = "cache") -> asyncio.subprocess.Process:
    (folder / "providers").mkdir(exist_ok=True)
    (folder / "providers" / "sim.toml").write_text(PROFILE)
    draw_images(folder / "images", IMAGES)
    arguments = [
        "run",
        "--provider",
        "sim",
        "--api-base",
        simulator.openai_base,
        "--images",
        "images",
        "--quiet",
        "--no-report",
    ]
    arguments += ["--questions", "3", "--max-cost", "50", "--out", out, "--cache", cache]
    return await asyncio.create_subprocess_exec(
        sys.executable, "-m", "unsaf_async", *arguments, cwd=folder,
        stdout=asyncio.subprocess.DEVNULL, stderr=asyncio.subprocess.PIPE,
    )  # fmt: skip


async def _ended(process: asyncio.subprocess.Process) -> None:
    _, errors = await process.communicate()
    assert process.returncode == 0, errors.decode()


async def _alone(folder: Path) -> tuple[int, float]:
    """How many calls one run makes, and what they cost."""
    async with Simulator(SIMULATION) as simulator:
        await _ended(await _start(folder, simulator, "alone", "alone-cache"))
        return simulator.ledger.requests, float(simulator.ledger.billed_usd)


async def test_two_processes_that_begin_together_pay_what_one_pays(tmp_path: Path) -> None:
    calls, cost_usd = await _alone(tmp_path)
    async with Simulator(SIMULATION) as simulator:
        for process in [await _start(tmp_path, simulator, out) for out in ("one", "two")]:
            await _ended(process)
        assert simulator.ledger.requests == calls
        assert max(entry.seen for entry in simulator.ledger.entries.values()) == 1
    scores = [SavedRun(tmp_path / out).findings for out in ("alone", "one", "two")]
    assert scores[0].counts == scores[1].counts == scores[2].counts
    paid = [read_account(tmp_path / out / "ledger.jsonl").cost_usd for out in ("one", "two")]
    assert abs(sum(paid) - cost_usd) < 1e-6, "what was waited for is on the account of who asked alone"


async def test_a_killed_process_leaves_its_calls_to_the_two_others(tmp_path: Path) -> None:
    calls, _ = await _alone(tmp_path)
    async with Simulator(SIMULATION) as simulator:
        killed, *others = [await _start(tmp_path, simulator, out) for out in ("killed", "one", "two")]
        while simulator.ledger.requests < calls // 3:  # noqa: ASYNC110 - it is another process
            await asyncio.sleep(0.005)
        killed.kill()
        await killed.wait()
        for process in others:
            await _ended(process)
        lost = read_account(tmp_path / "killed" / "ledger.jsonl").unknown
        # A reply that is in the ledger may have been on its way to the store when the process was killed.
        under_way = lost + CONCURRENCY
        assert calls <= simulator.ledger.requests <= calls + under_way, "no more than what was under way is asked again"
    scores = [SavedRun(tmp_path / out).findings for out in ("alone", "one", "two")]
    assert scores[0].counts == scores[1].counts == scores[2].counts
