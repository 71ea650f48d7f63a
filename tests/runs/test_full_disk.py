"""A disk that fills while a run goes on: nothing that was paid for is lost or paid for twice. On real small disks (tmpfs)."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING

import pytest
from driving import draw_images

from unsaf_async.calls.ledger import read_account
from unsaf_async.runs.saved import SavedRun
from unsaf_async.simulate.server import Simulator
from unsaf_async.simulate.settings import Simulation

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

PROFILE = """
backend = "openai"
model = "simulated"
[price]
input_usd_per_mtok = 2.5
output_usd_per_mtok = 10
[limits]
concurrency = 16
"""
DISK_BYTES = 3_000_000
IMAGES = 12


@contextmanager
def small_disk(place: Path) -> Iterator[Path]:
    """A file system of its own at `place`."""
    place.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", f"size={DISK_BYTES}", "tmpfs", str(place)], capture_output=True, check=False
    )
    if mounted.returncode:
        pytest.skip("no file system can be mounted here")
    try:
        yield place
    finally:
        subprocess.run(["umount", "-l", str(place)], check=True)


def fill(disk: Path, but: int = 0) -> None:
    """Take all room on a disk but so many bytes."""
    try:
        with (disk / "filler").open("wb", buffering=0) as filler:
            while filler.write(bytes(4096)):
                pass
    except OSError:
        pass
    with (disk / "filler").open("r+b") as filler:
        filler.truncate((disk / "filler").stat().st_size - but)


async def _ended(folder: Path, *arguments: str) -> tuple[int, str]:
    """How a command ended: its exit code and what it said on stderr, but for who is called where."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "unsaf_async", *arguments, "--quiet", "--no-report", cwd=folder,
        stdout=asyncio.subprocess.DEVNULL, stderr=asyncio.subprocess.PIPE,
    )  # fmt: skip
    _, errors = await process.communicate()
    assert process.returncode is not None
    return process.returncode, "".join(line for line in errors.decode().splitlines(True) if " at http://" not in line)


def _beginning(folder: Path, simulator: Simulator, out: Path, cache: Path) -> list[str]:
    (folder / "providers").mkdir(exist_ok=True)
    (folder / "providers" / "sim.toml").write_text(PROFILE)
    draw_images(folder / "images", IMAGES)
    return [
        "run", "--provider", "sim", "--api-base", simulator.openai_base, "--images", str(folder / "images"),
        "--questions", "3", "--max-cost", "50", "--out", str(out), "--cache", str(cache),
    ]  # fmt: skip


@pytest.mark.parametrize(("on_it", "left"), [("run and cache", 0), ("run", 8192), ("cache", 8192)])
async def test_a_disk_that_fills_ends_a_run_in_one_line_and_resuming_pays_nothing_twice(
    tmp_path: Path, on_it: str, left: int
) -> None:
    with small_disk(tmp_path / "disk") as disk:
        out = (disk if "run" in on_it else tmp_path) / "out"
        cache = (disk if "cache" in on_it else tmp_path) / "cache"
        async with Simulator(Simulation(latency=0.2, price=(2.5, 10))) as simulator:
            running = asyncio.create_task(_ended(tmp_path, *_beginning(tmp_path, simulator, out, cache)))
            while simulator.ledger.served < 40:  # noqa: ASYNC110 - it is another process
                await asyncio.sleep(0.005)
            fill(disk, left)
            code, said = await running
            assert code == 3, said
            assert len(said.splitlines()) == 1, said
            assert "stopped early: " in said
            assert "resume" in said
            at_most = simulator.ledger.requests
            assert at_most < IMAGES * 14, "the run ended before its last image"
            (disk / "filler").unlink()
            assert await _ended(tmp_path, "resume", str(out)) == (0, "")
            assert {entry.served for entry in simulator.ledger.entries.values()} == {1}
            billed_usd = float(simulator.ledger.billed_usd)
        assert SavedRun(out).findings.images.done == IMAGES
        account = read_account(out / "ledger.jsonl")
        assert account.cost_usd >= billed_usd - 1e-9
        assert account.unknown == 0, "the ledger has every end"
        assert not (out / "received.jsonl").exists()
        assert not (out / "reserve").exists()


async def test_a_disk_without_room_for_a_run_is_said_before_anything_is_sent(tmp_path: Path) -> None:
    with small_disk(tmp_path / "disk") as disk:
        fill(disk, 300_000)
        async with Simulator(Simulation(price=(2.5, 10))) as simulator:
            code, said = await _ended(tmp_path, *_beginning(tmp_path, simulator, disk / "out", tmp_path / "cache"))
            assert (code, simulator.ledger.requests) == (2, 0)
        assert "a run keeps 1.0 MB for replies under way" in said
        assert len(said.splitlines()) == 1, said
