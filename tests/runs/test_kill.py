"""`kill -9` at any moment: no finished call is paid twice, no finished image is lost, the score is the undisturbed one."""

from __future__ import annotations

import asyncio
import random
import sys
from typing import TYPE_CHECKING

import orjson
import pytest
from driving import draw_images

from unsaf_async.calls.ledger import read_account
from unsaf_async.runs.saved import SavedRun
from unsaf_async.simulate.server import Simulator
from unsaf_async.simulate.settings import Simulation

if TYPE_CHECKING:
    from pathlib import Path

KILLS = 10
FAULTS = {
    "429": 0.03,
    "500": 0.03,
    "503": 0.03,
    "disconnect": 0.03,
    "disconnect_after": 0.03,
    "truncated_body": 0.025,
    "garbage": 0.025,
}
"""20 % in all."""
PROFILE = """
backend = "openai"
model = "simulated"
retry_wait_s = 0.05
attempts = 12
[price]
input_usd_per_mtok = 2.5
output_usd_per_mtok = 10
[limits]
concurrency = 6
"""


async def _start(folder: Path, *arguments: str) -> asyncio.subprocess.Process:
    return await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "unsaf_async",
        *arguments,
        "--quiet",
        cwd=folder,
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.PIPE,
    )


async def _run(folder: Path, out: str, simulator: Simulator, chance: random.Random | None) -> int:
    """One whole run, killed `KILLS` times at random if `chance` is given. Returns how many attempts were under way at a kill."""
    begin = ["run", "--provider", "sim", "--api-base", simulator.openai_base, "--images", "images"]
    begin += ["--questions", "3", "--out", out, "--cache", f"{out}-cache", "--max-cost", "100"]
    in_flight = 0
    for kill in range(KILLS if chance else 0):
        process = await _start(folder, *(begin if kill == 0 else ["resume", out]))
        assert chance is not None
        await _until_it_calls(simulator, process)
        await asyncio.sleep(chance.uniform(0, 0.3))
        assert process.returncode is None, "the run was over before it could be killed: make it longer"
        process.kill()
        await process.wait()
        await _until_idle(simulator)
        in_flight += _under_way(folder / out / "ledger.jsonl")
    process = await _start(folder, *(["resume", out] if chance else begin))
    _, errors = await process.communicate()
    assert process.returncode == 0, errors.decode()
    return in_flight


async def _until_it_calls(simulator: Simulator, process: asyncio.subprocess.Process) -> None:
    before = simulator.ledger.requests
    while simulator.ledger.requests == before and process.returncode is None:  # noqa: ASYNC110 - it is another process
        await asyncio.sleep(0.005)


async def _until_idle(simulator: Simulator) -> None:
    while simulator.ledger.in_flight:  # noqa: ASYNC110 - the server notices by itself that its clients are gone
        await asyncio.sleep(0.005)


def _under_way(ledger: Path) -> int:
    """Attempts of the last session that left and have no second line."""
    open_numbers: set[int] = set()
    data = ledger.read_bytes()
    for line in data[: data.rfind(b"\n") + 1].splitlines():
        entry = orjson.loads(line)
        if entry["what"] == "session":
            open_numbers.clear()
        elif entry["what"] == "sent":
            open_numbers.add(entry["n"])
        elif entry["what"] != "end":
            open_numbers.remove(entry["n"])
    return len(open_numbers)


@pytest.mark.timeout(240)
@pytest.mark.parametrize("seed", [1, 2])
async def test_a_run_killed_ten_times_ends_as_if_nothing_had_happened(seed: int, tmp_path: Path) -> None:
    draw_images(tmp_path / "images", 40)
    (tmp_path / "providers").mkdir()
    (tmp_path / "providers" / "sim.toml").write_text(PROFILE)
    simulation = Simulation(faults=FAULTS, fault_seed=seed, latency=0.1, price=(2.5, 10), retry_after_s=0.05)

    async with Simulator(simulation) as simulator:
        await _run(tmp_path, "undisturbed", simulator, None)
    async with Simulator(simulation) as simulator:
        in_flight = await _run(tmp_path, "killed", simulator, random.Random(seed))
        paid_twice = sum(entry.served - 1 for entry in simulator.ledger.entries.values() if entry.served > 1)
        billed_usd = float(simulator.ledger.billed_usd)

    undisturbed, killed = SavedRun(tmp_path / "undisturbed").findings, SavedRun(tmp_path / "killed").findings
    same = {"counts", "unf1", "unf1_ci", "unf1_bounds", "unscored", "by_kind", "images", "questions"}
    assert killed.model_dump(include=same) == undisturbed.model_dump(include=same)
    assert killed.images.done == 40
    assert paid_twice <= in_flight, f"{paid_twice} requests were served twice, {in_flight} were under way at a kill"
    account = read_account(tmp_path / "killed" / "ledger.jsonl")
    assert account.unknown >= in_flight
    assert account.cost_usd >= billed_usd - 1e-9, (
        "what was under way at a kill may have been billed: it counts as spent"
    )
    print(f"seed {seed}: {KILLS} kills, {in_flight} attempts under way at them, {paid_twice} requests served twice")
